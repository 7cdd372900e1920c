#include "http/range.h"

#include <stdio.h>

#include "http/fields.h"

/* Digits only; what 64 bits cannot hold is UINT64_MAX. */
static bool read_position(struct slice s, uint64_t *out)
{
    if (slice_to_u64(s, out))
        return true;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    *out = UINT64_MAX;
    return s.n > 0;
}

/* One range-spec; IGNORE when it is malformed. */
static enum http_range_result read_spec(struct slice spec, uint64_t length, struct http_range *out)
{
    size_t dash = slice_index(spec, '-');
    struct slice first = slice_head(spec, dash), last = slice_from(spec, dash + 1);
    uint64_t bytes;

    if (dash == spec.n)
        return HTTP_RANGE_IGNORE;
    if (first.n == 0) {
        if (!read_position(last, &bytes))
            return HTTP_RANGE_IGNORE;
        if (bytes == 0)
            return HTTP_RANGE_UNSATISFIABLE;
        if (length == 0) /* satisfiable, says the RFC, but no Content-Range can tell of it */
            return HTTP_RANGE_IGNORE;
        *out = (struct http_range){bytes < length ? length - bytes : 0, length - 1};
        return HTTP_RANGE_OK;
    }
    out->last = UINT64_MAX;
    if (!read_position(first, &out->first) || (last.n > 0 && !read_position(last, &out->last)) ||
        out->first > out->last)
        return HTTP_RANGE_IGNORE;
    if (out->first >= length)
        return HTTP_RANGE_UNSATISFIABLE;
    if (out->last >= length)
        out->last = length - 1;
    return HTTP_RANGE_OK;
}

/* Do the parts together exceed twice the body? */
static bool is_waste(const struct http_range *part, size_t count, uint64_t length)
{
    uint64_t over = 0, left = length;

    for (size_t i = 0; i < count; i++) {
        uint64_t bytes = part[i].last - part[i].first + 1; /* at most `length` */

        if (bytes > left) {
            bytes -= left;
            left = length;
            over++;
        }
        left -= bytes;
    }
    return over > 2 || (over == 2 && left < length);
}

enum http_range_result http_range_parse(struct slice value, uint64_t length,
                                        struct http_range out[HTTP_RANGES_MAX], size_t *out_count)
{
    struct slice unit = SLICE("bytes="), rest = slice_from(value, unit.n), spec;
    size_t specs = 0, count = 0;

    *out_count = 0;
    if (value.n < unit.n || !slice_eq_nocase(slice_head(value, unit.n), unit))
        return HTTP_RANGE_IGNORE;
    while (http_list_next(&rest, &spec, NULL)) {
        struct http_range part = {0};
        enum http_range_result r = read_spec(spec, length, &part);

        if (r == HTTP_RANGE_IGNORE || ++specs > HTTP_RANGES_MAX)
            return HTTP_RANGE_IGNORE;
        if (r == HTTP_RANGE_OK)
            out[count++] = part;
    }
    if (specs == 0 || is_waste(out, count, length))
        return HTTP_RANGE_IGNORE;
    *out_count = count;
    return count == 0 ? HTTP_RANGE_UNSATISFIABLE : HTTP_RANGE_OK;
}

size_t http_content_range_format(struct http_range r, uint64_t length,
                                 char out[HTTP_CONTENT_RANGE_BYTES])
{
    int n;

    if (length == UINT64_MAX)
        n = snprintf(out, HTTP_CONTENT_RANGE_BYTES, "bytes %llu-%llu/*",
                     (unsigned long long)r.first, (unsigned long long)r.last);
    else
        n = snprintf(out, HTTP_CONTENT_RANGE_BYTES, "bytes %llu-%llu/%llu",
                     (unsigned long long)r.first, (unsigned long long)r.last,
                     (unsigned long long)length);
    return (size_t)n;
}

size_t http_content_range_unsatisfied(uint64_t length, char out[HTTP_CONTENT_RANGE_BYTES])
{
    return (size_t)snprintf(out, HTTP_CONTENT_RANGE_BYTES, "bytes */%llu",
                            (unsigned long long)length);
}

bool http_content_range_parse(struct slice value, struct http_range *out, uint64_t *out_length)
{
    struct slice unit = SLICE("bytes "), rest = slice_from(value, unit.n), length;
    size_t dash = slice_index(rest, '-'), slash = slice_index(rest, '/');
    struct http_range r;
    uint64_t n = UINT64_MAX;

    if (value.n < unit.n || !slice_eq_nocase(slice_head(value, unit.n), unit) || dash >= slash ||
        slash == rest.n)
        return false;
    length = slice_from(rest, slash + 1);
    if (!slice_to_u64(slice_head(rest, dash), &r.first) ||
        !slice_to_u64(slice_from(slice_head(rest, slash), dash + 1), &r.last) ||
        (!slice_eq(length, SLICE("*")) && (!slice_to_u64(length, &n) || n == UINT64_MAX)))
        return false;
    if (r.first > r.last || r.last >= n)
        return false;
    *out = r;
    *out_length = n;
    return true;
}
