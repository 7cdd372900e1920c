/*
 * Input: a field value up to a newline, a path.  Nothing but what was made for
 * this path with this secret is valid, and that until its expiry.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "http/debug_field.h"

#define SECRET SLICE("a secret of 16 bytes and more")

enum { NOW_S = 1700000000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct slice input = {(const char *)data, bytes};
    struct slice value = slice_head(input, slice_index(input, '\n')),
                 path = slice_from(input, value.n + 1);
    char made[HTTP_DEBUG_FIELD_BYTES];
    size_t n = http_debug_field_make(path, SECRET, NOW_S + 5, made);
    bool same;

    CHECK(n <= sizeof(made));
    CHECK(http_debug_field_is_valid((struct slice){made, n}, path, SECRET, NOW_S));
    CHECK(!http_debug_field_is_valid((struct slice){made, n}, path, SECRET, NOW_S + 6));
    same = value.n == n && memcmp(value.p, made, n) == 0;
    CHECK(http_debug_field_is_valid(value, path, SECRET, NOW_S) == same);
    CHECK(!http_debug_field_is_valid(value, path, SLICE("another secret, as long"), NOW_S) || same);
    return 0;
}
