#include "release/manifest.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

#define HEAD SLICE("selvage-manifest 1\n")

enum { TYPE_BYTES_MAX = 127, SHOWN_BYTES = 80, HASH_BYTES_MIN = 8, MIXED_BYTES = 8 };

struct row {
    uint32_t line, path, end; /* offsets into the text; `end`: of the line feed */
};

struct manifest {
    char *text;      /* owned */
    struct row *row; /* owned */
    size_t count, capacity;
    uint64_t bytes;
};

/* ---- digits ---- */

void manifest_sha256_print(const unsigned char sha256[DIGEST_SHA256_BYTES],
                           char out[MANIFEST_SHA256_DIGITS + 1])
{
    static const char hex[] = "0123456789abcdef";

    for (size_t i = 0; i < DIGEST_SHA256_BYTES; i++) {
        *out++ = hex[sha256[i] >> 4];
        *out++ = hex[sha256[i] & 15];
    }
    *out = '\0';
}

static int digit_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool manifest_sha256_parse(struct slice text, unsigned char out[DIGEST_SHA256_BYTES])
{
    if (text.n != MANIFEST_SHA256_DIGITS)
        return false;
    for (size_t i = 0; i < DIGEST_SHA256_BYTES; i++) {
        int high = digit_of(text.p[2 * i]), low = digit_of(text.p[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        out[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

/* ---- paths ---- */

/* The length of the UTF-8 character (RFC 3629) that `s` begins with; 0: it is none. */
static size_t character(struct slice s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

    if (n == 0 || p[0] > 0xf4 || s.n < n)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    /* overlong forms, surrogates, what lies beyond the last character */
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

static const char *text_fault(struct slice s)
{
    while (s.n > 0) {
        size_t n = character(s);

        if (n == 0)
            return "is not UTF-8";
        if ((unsigned char)s.p[0] < 0x20 || s.p[0] == 0x7f)
            return "has control characters in it";
        s = slice_from(s, n);
    }
    return NULL;
}

const char *manifest_path_fault(struct slice path)
{
    const char *fault = text_fault(path);

    if (fault != NULL)
        return fault;
    if (path.n == 0)
        return "is empty";
    if (path.n > LIMIT_RELEASE_PATH_BYTES)
        return "is longer than 1024 bytes";
    if (path.p[0] == '/')
        return "is an absolute name";
    for (;;) {
        struct slice segment = slice_head(path, slice_index(path, '/'));

        if (segment.n == 0)
            return "has an empty segment";
        if (slice_eq(segment, SLICE("..")))
            return "leads out of the release by `..`";
        if (slice_eq(segment, SLICE(".")))
            return "has a segment `.`";
        if (segment.n == path.n)
            return NULL;
        path = slice_from(path, segment.n + 1);
    }
}

/* ---- names with a hash ---- */

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* One word between dots and dashes. */
static bool is_hash(struct slice s)
{
    size_t digits = 0, hex = 0, lower = 0, upper = 0;

    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        digits += c >= '0' && c <= '9';
        hex += c >= 'a' && c <= 'f';
        lower += c >= 'a' && c <= 'z';
        upper += c >= 'A' && c <= 'Z';
    }
    if (s.n < HASH_BYTES_MIN || digits == 0)
        return false;
    if (digits + hex == s.n)
        return hex > 0;
    /* base 32, and base 62 with both cases: of exactly eight, as esbuild and Rollup write them */
    return s.n == MIXED_BYTES && digits + upper + lower == s.n && upper > 1 &&
           (lower == 0 || lower > 1);
}

bool manifest_name_has_hash(struct slice path)
{
    struct slice name = path;
    size_t at;

    while ((at = slice_index(name, '/')) < name.n)
        name = slice_from(name, at + 1);
    if (slice_ends_with(name, SLICE(".html")) || slice_ends_with(name, SLICE(".htm")))
        return false; /* what links lead to keeps its name */
    for (size_t i = 0; i < name.n;) {
        size_t n = 0;

        while (i + n < name.n && is_alnum(name.p[i + n]))
            n++;
        /* not the whole name, and not what follows the last dot: that is its kind */
        if (i > 0 && i + n < name.n && is_hash((struct slice){name.p + i, n}))
            return true;
        if (i == 0 && i + n < name.n && n >= 2 * MIXED_BYTES && is_hash((struct slice){name.p, n}))
            return true; /* webpack's assets: HASH.png */
        i += n + 1;
    }
    return false;
}

/* ---- reading ---- */

static struct slice line_of(const struct manifest *m, const struct row *r)
{
    return (struct slice){m->text + r->line, r->end - r->line};
}

static struct slice path_of(const struct manifest *m, size_t i)
{
    return (struct slice){m->text + m->row[i].path, m->row[i].end - m->row[i].path};
}

static bool is_type(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x20 || s.p[i] == 0x7f)
            return false; /* a char above 0x7e is negative, or DEL */
    return s.n > 0 && s.n <= TYPE_BYTES_MAX && slice_index(s, '/') < s.n &&
           slice_eq(slice_trim(s), s);
}

static struct slice cut(struct slice *rest)
{
    struct slice field = slice_head(*rest, slice_index(*rest, '\t'));

    *rest = slice_from(*rest, field.n + 1);
    return field;
}

/* NULL: it is an entry; else what is wrong with it. */
static const char *read_line(struct slice line, struct manifest_entry *out)
{
    struct slice rest = line, sha = cut(&rest), bytes = cut(&rest);

    out->type = cut(&rest);
    out->path = rest;
    if (!manifest_sha256_parse(sha, out->sha256))
        return "does not begin with a SHA-256 of 64 lower-case digits";
    if (!slice_to_u64(bytes, &out->bytes) || (bytes.n > 1 && bytes.p[0] == '0'))
        return "has no number of bytes";
    if (out->bytes > LIMIT_RELEASE_FILE_BYTES)
        return "is a file larger than 1 GiB";
    if (!is_type(out->type))
        return "has no content type";
    return manifest_path_fault(out->path);
}

static int compare(struct slice a, struct slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n == 0 ? 0 : memcmp(a.p, b.p, n);

    return c != 0 ? c : (a.n > b.n) - (a.n < b.n);
}

static enum err add_row(struct manifest *m, struct slice line, struct slice path)
{
    if (m->count == LIMIT_RELEASE_FILES)
        return ERR_LIMIT;
    if (m->count == m->capacity) {
        size_t capacity = m->capacity == 0 ? 64 : 2 * m->capacity;
        struct row *row = realloc(m->row, capacity * sizeof(*row));

        if (row == NULL)
            return ERR_NOMEM;
        m->row = row;
        m->capacity = capacity;
    }
    m->row[m->count++] = (struct row){.line = (uint32_t)(line.p - m->text),
                                      .path = (uint32_t)(path.p - m->text),
                                      .end = (uint32_t)(line.p + line.n - m->text)};
    return ERR_OK;
}

static enum err invalid(struct buf *why, size_t line, struct slice text, const char *fault)
{
    buf_addf(why, "line %zu of the manifest: %.*s %s", line,
             (int)(text.n < SHOWN_BYTES ? text.n : SHOWN_BYTES), text.p == NULL ? "" : text.p,
             fault);
    return ERR_INVALID;
}

static enum err read_lines(struct manifest *m, struct slice rest, struct buf *why)
{
    for (size_t line = 2; rest.n > 0; line++) {
        struct slice text = slice_head(rest, slice_index(rest, '\n'));
        struct manifest_entry entry;
        const char *fault;
        enum err e;

        if (text.n == rest.n)
            return invalid(why, line, SLICE("the last line"), "does not end: something is missing");
        fault = read_line(text, &entry);
        if (fault != NULL)
            return invalid(why, line, entry.path, fault);
        if (m->count > 0 && compare(path_of(m, m->count - 1), entry.path) >= 0)
            return invalid(why, line, entry.path, "is not behind the path before it");
        e = add_row(m, text, entry.path);
        if (e == ERR_LIMIT)
            buf_addf(why, "the release has more than %u files", LIMIT_RELEASE_FILES);
        if (e != ERR_OK)
            return e;
        m->bytes += entry.bytes;
        rest = slice_from(rest, text.n + 1);
    }
    return ERR_OK;
}

enum err manifest_parse(struct slice text, struct manifest **out, struct buf *why)
{
    struct manifest *m;
    enum err e;

    if (text.n > LIMIT_MANIFEST_BYTES) {
        buf_addf(why, "the manifest is larger than %llu bytes", LIMIT_MANIFEST_BYTES);
        return ERR_LIMIT;
    }
    if (!slice_starts_with(text, HEAD)) {
        buf_addf(why, "this is no manifest: it does not begin with `selvage-manifest 1`");
        return ERR_INVALID;
    }
    m = calloc(1, sizeof(*m));
    if (m == NULL)
        return ERR_NOMEM;
    m->text = malloc(text.n);
    if (m->text == NULL) {
        manifest_free(m);
        return ERR_NOMEM;
    }
    memcpy(m->text, text.p, text.n);
    e = read_lines(m, slice_from((struct slice){m->text, text.n}, HEAD.n), why);
    if (e != ERR_OK) {
        manifest_free(m);
        return e;
    }
    *out = m;
    return ERR_OK;
}

void manifest_free(struct manifest *m)
{
    if (m == NULL)
        return;
    free(m->row);
    free(m->text);
    free(m);
}

size_t manifest_count(const struct manifest *m)
{
    return m->count;
}

uint64_t manifest_bytes(const struct manifest *m)
{
    return m->bytes;
}

void manifest_at(const struct manifest *m, size_t index, struct manifest_entry *out)
{
    (void)read_line(line_of(m, &m->row[index]), out); /* it was one when it was parsed */
}

bool manifest_find(const struct manifest *m, struct slice path, struct manifest_entry *out)
{
    size_t low = 0, high = m->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int c = compare(path_of(m, middle), path);

        if (c == 0) {
            manifest_at(m, middle, out);
            return true;
        }
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* ---- writing ---- */

void manifest_put_head(struct buf *out)
{
    buf_add(out, HEAD);
}

void manifest_put(struct buf *out, const struct manifest_entry *e)
{
    char digits[MANIFEST_SHA256_DIGITS + 1];

    manifest_sha256_print(e->sha256, digits);
    buf_add(out, (struct slice){digits, MANIFEST_SHA256_DIGITS});
    buf_add_char(out, '\t');
    buf_add_u64(out, e->bytes);
    buf_add_char(out, '\t');
    buf_add(out, e->type);
    buf_add_char(out, '\t');
    buf_add(out, e->path);
    buf_add_char(out, '\n');
}
