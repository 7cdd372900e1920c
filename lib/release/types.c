#include "release/types.h"

#include <string.h>

enum { EXTENSION_BYTES_MAX = 32 };

static const struct {
    const char *extension, *type;
} known[] = {
#include "release/types.inc"
};

/* Sorted by bytes, as the generator leaves it. */
static const char *find(const char *extension)
{
    size_t low = 0, high = sizeof(known) / sizeof(known[0]);

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int c = strcmp(known[middle].extension, extension);

        if (c == 0)
            return known[middle].type;
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static const char *find_lower(struct slice s)
{
    char lower[EXTENSION_BYTES_MAX];

    if (s.n == 0 || s.n >= sizeof(lower))
        return NULL;
    for (size_t i = 0; i < s.n; i++)
        lower[i] = (char)(s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] - 'A' + 'a' : s.p[i]);
    lower[s.n] = '\0';
    return find(lower);
}

const char *types_of_path(struct slice path)
{
    size_t at;

    while ((at = slice_index(path, '/')) < path.n)
        path = slice_from(path, at + 1);
    while ((at = slice_index(path, '.')) < path.n) {
        const char *type;

        path = slice_from(path, at + 1);
        type = find_lower(path);
        if (type != NULL)
            return type;
    }
    return "application/octet-stream";
}

bool types_wants_charset(const char *type)
{
    return strncmp(type, "text/", 5) == 0;
}
