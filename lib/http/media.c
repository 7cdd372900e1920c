#include "http/media.h"

#include <string.h>

#include "http/fields.h"

enum { EXTENSION_BYTES_MAX = 8, TYPE_BYTES_MAX = 255 };

enum kind {
    KIND_STYLE = 1,
    KIND_SCRIPT = 2,
    KIND_IMAGE = 4,
    KIND_FONT = 8,
    KIND_SOUND = 16,
    KIND_ARCHIVE = 32,
    KIND_DOCUMENT = 64,
    KIND_DATA = 128,
    KIND_TEXT = 256,
};

/* What proxies and browsers take for a file that is the same for everybody. */
static const struct {
    const char *extension;
    unsigned kinds;
} known[] = {
    {"css", KIND_STYLE},     {"js", KIND_SCRIPT},     {"mjs", KIND_SCRIPT},
    {"map", KIND_DATA},      {"wasm", KIND_SCRIPT},   {"png", KIND_IMAGE},
    {"jpg", KIND_IMAGE},     {"jpeg", KIND_IMAGE},    {"gif", KIND_IMAGE},
    {"webp", KIND_IMAGE},    {"avif", KIND_IMAGE},    {"jxl", KIND_IMAGE},
    {"bmp", KIND_IMAGE},     {"ico", KIND_IMAGE},     {"tif", KIND_IMAGE},
    {"tiff", KIND_IMAGE},    {"svg", KIND_IMAGE},     {"svgz", KIND_IMAGE},
    {"woff", KIND_FONT},     {"woff2", KIND_FONT},    {"ttf", KIND_FONT},
    {"otf", KIND_FONT},      {"eot", KIND_FONT},      {"mp3", KIND_SOUND},
    {"m4a", KIND_SOUND},     {"aac", KIND_SOUND},     {"flac", KIND_SOUND},
    {"wav", KIND_SOUND},     {"ogg", KIND_SOUND},     {"opus", KIND_SOUND},
    {"mid", KIND_SOUND},     {"midi", KIND_SOUND},    {"mp4", KIND_SOUND},
    {"m4v", KIND_SOUND},     {"webm", KIND_SOUND},    {"mkv", KIND_SOUND},
    {"mov", KIND_SOUND},     {"avi", KIND_SOUND},     {"swf", KIND_ARCHIVE},
    {"zip", KIND_ARCHIVE},   {"gz", KIND_ARCHIVE},    {"tgz", KIND_ARCHIVE},
    {"bz2", KIND_ARCHIVE},   {"xz", KIND_ARCHIVE},    {"zst", KIND_ARCHIVE},
    {"7z", KIND_ARCHIVE},    {"rar", KIND_ARCHIVE},   {"tar", KIND_ARCHIVE},
    {"jar", KIND_ARCHIVE},   {"iso", KIND_ARCHIVE},   {"dmg", KIND_ARCHIVE},
    {"exe", KIND_ARCHIVE},   {"msi", KIND_ARCHIVE},   {"apk", KIND_ARCHIVE},
    {"deb", KIND_ARCHIVE},   {"rpm", KIND_ARCHIVE},   {"bin", KIND_ARCHIVE},
    {"pdf", KIND_DOCUMENT},  {"ps", KIND_DOCUMENT},   {"eps", KIND_DOCUMENT | KIND_IMAGE},
    {"doc", KIND_DOCUMENT},  {"docx", KIND_DOCUMENT}, {"xls", KIND_DOCUMENT},
    {"xlsx", KIND_DOCUMENT}, {"ppt", KIND_DOCUMENT},  {"pptx", KIND_DOCUMENT},
    {"odt", KIND_DOCUMENT},  {"csv", KIND_TEXT},      {"txt", KIND_TEXT},
};

/* Globs with one '*' at the end. */
static const struct {
    const char *type;
    unsigned kinds;
} types[] = {
    {"text/css", KIND_STYLE},
    {"text/javascript", KIND_SCRIPT},
    {"application/javascript", KIND_SCRIPT},
    {"application/x-javascript", KIND_SCRIPT},
    {"application/ecmascript", KIND_SCRIPT},
    {"text/ecmascript", KIND_SCRIPT},
    {"application/wasm", KIND_SCRIPT},
    {"application/json", KIND_DATA},
    {"application/source-map*", KIND_DATA},
    {"image/*", KIND_IMAGE},
    {"font/*", KIND_FONT},
    {"application/font*", KIND_FONT},
    {"application/x-font*", KIND_FONT},
    {"application/vnd.ms-fontobject*", KIND_FONT},
    {"audio/*", KIND_SOUND},
    {"video/*", KIND_SOUND},
    {"application/ogg", KIND_SOUND},
    {"application/mp4", KIND_SOUND},
    {"application/pdf", KIND_DOCUMENT},
    {"application/postscript", KIND_DOCUMENT},
    {"application/msword", KIND_DOCUMENT},
    {"application/vnd.*", KIND_DOCUMENT | KIND_ARCHIVE},
    {"application/zip", KIND_ARCHIVE | KIND_DOCUMENT},
    {"application/gzip", KIND_ARCHIVE},
    {"application/zstd", KIND_ARCHIVE},
    {"application/java-archive", KIND_ARCHIVE},
    {"application/x-*", KIND_ARCHIVE},
    /* the servers that do not know better */
    {"text/plain", KIND_STYLE | KIND_SCRIPT | KIND_DATA | KIND_TEXT | KIND_ARCHIVE},
    {"text/csv", KIND_TEXT},
    {"text/comma-separated-values", KIND_TEXT},
};

static bool is_nothing(struct slice type)
{
    return type.n == 0 || slice_eq(type, SLICE("application/octet-stream")) ||
           slice_eq(type, SLICE("binary/octet-stream"));
}

/* Bytes of the extension of the last segment, lower-case, in `out`; 0 when it has none. */
static size_t read_extension(struct slice path, char out[EXTENSION_BYTES_MAX])
{
    size_t n = 0, at = path.n;

    while (at > 0 && n <= EXTENSION_BYTES_MAX) {
        char c = path.p[at - 1];

        if (c == '.')
            break;
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')))
            return 0;
        /* "%2E" is a dot too: its last two bytes look like a part of the extension */
        if (at >= 3 && path.p[at - 3] == '%' && path.p[at - 2] == '2' && (c == 'E' || c == 'e'))
            break;
        n++;
        at--;
    }
    if (at == 0 || n == 0 || n > EXTENSION_BYTES_MAX)
        return 0;
    memcpy(out, path.p + path.n - n, n);
    http_lower(out, n);
    return n;
}

static unsigned kinds_of_path(struct slice path)
{
    char text[EXTENSION_BYTES_MAX];
    struct slice extension = {text, read_extension(path, text)};

    for (size_t i = 0; extension.n > 0 && i < sizeof(known) / sizeof(known[0]); i++)
        if (slice_eq(extension, slice_of(known[i].extension)))
            return known[i].kinds;
    return 0;
}

static unsigned kinds_of_type(struct slice type)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct slice glob = slice_of(types[i].type);
        bool is_open = slice_ends_with(glob, SLICE("*"));

        if (is_open ? slice_starts_with(type, slice_head(glob, glob.n - 1)) : slice_eq(type, glob))
            return types[i].kinds;
    }
    return 0;
}

bool http_type_fits_path(struct slice path, struct slice content_type)
{
    struct slice type = slice_trim(slice_head(content_type, slice_index(content_type, ';')));
    unsigned promised = kinds_of_path(path);
    char lower[TYPE_BYTES_MAX];

    if (promised == 0)
        return true;
    if (type.n > sizeof(lower))
        return false;
    if (type.n > 0)
        memcpy(lower, type.p, type.n);
    http_lower(lower, type.n);
    type = (struct slice){lower, type.n};
    return is_nothing(type) || (kinds_of_type(type) & promised) != 0;
}
