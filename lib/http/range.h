/* range: Range and Content-Range in bytes (RFC 9110 section 14).  Pure. */
#ifndef HTTP_RANGE_H
#define HTTP_RANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum { HTTP_RANGES_MAX = 16, HTTP_CONTENT_RANGE_BYTES = 80 };

struct http_range {
    uint64_t first, last; /* inclusive; first <= last < complete length */
};

enum http_range_result {
    HTTP_RANGE_IGNORE, /* absent, another unit, malformed, or too many: answer 200 */
    HTTP_RANGE_OK, /* one or more satisfiable parts, clamped to the length, in the order asked */
    HTTP_RANGE_UNSATISFIABLE, /* 416 */
};

/*
 * Parse a Range value against a body of `length` bytes.  At most HTTP_RANGES_MAX parts, else
 * IGNORE; overlapping parts that together exceed the body twice are IGNOREd as well (RFC 9110
 * section 17.15), and so is a suffix of an empty body, of which no Content-Range could tell.  Parts
 * that lie behind the end are left out while another one is satisfiable.  Digits beyond 64 bits: as
 * a last position clamped, as a first one unsatisfiable.
 */
enum http_range_result http_range_parse(struct slice value, uint64_t length,
                                        struct http_range out[HTTP_RANGES_MAX], size_t *out_count);

/* "bytes 0-4/10"; `length` UINT64_MAX for "*".  Returns the bytes written. */
size_t http_content_range_format(struct http_range r, uint64_t length,
                                 char out[HTTP_CONTENT_RANGE_BYTES]);

/* "bytes * / length" of a 416. */
size_t http_content_range_unsatisfied(uint64_t length, char out[HTTP_CONTENT_RANGE_BYTES]);

/* Parse Content-Range of a response: unit bytes, first <= last < length; `*out_length` UINT64_MAX
 * when "*".  False else. */
bool http_content_range_parse(struct slice value, struct http_range *out, uint64_t *out_length);

#endif
