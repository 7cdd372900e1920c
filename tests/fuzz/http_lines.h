/* Fields from the text of a fuzzer's input: "name: value" lines. */
#ifndef TESTS_HTTP_LINES_H
#define TESTS_HTTP_LINES_H

#include "base/arena.h"
#include "http/fields.h"

enum { HTTP_LINES_MAX = 64 };

/* Cut a line off, without its '\n'; false at the end. */
static inline bool next_line(struct slice *rest, struct slice *line)
{
    if (rest->n == 0)
        return false;
    *line = slice_head(*rest, slice_index(*rest, '\n'));
    *rest = slice_from(*rest, line->n + 1);
    return true;
}

/* Add one line; what no message could hold is left out. */
static inline void add_line(struct http_fields *f, struct arena *a, struct slice name,
                            struct slice value)
{
    struct slice lower = arena_dup(a, name);
    union {
        const char *in;
        char *out;
    } p = {lower.p};

    if (lower.p == NULL || !http_is_token(name) || !http_is_field_value(value))
        return;
    http_lower(p.out, lower.n);
    if (http_fields_add(f, a, HTTP_LINES_MAX, lower, slice_trim(value)) != ERR_OK)
        return;
}

static inline void read_lines(struct slice text, struct arena *a, struct http_fields *f)
{
    struct slice line;

    while (next_line(&text, &line)) {
        size_t colon = slice_index(line, ':');

        if (colon < line.n)
            add_line(f, a, slice_head(line, colon), slice_from(line, colon + 1));
    }
}

#endif
