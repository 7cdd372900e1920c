/*
 * Input: a path up to a newline, a content type.  Any bytes; case and parameters never change the
 * answer, a path without a dot fits everything, and a type that says nothing fits every path.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/check.h"
#include "http/fields.h"
#include "http/media.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct slice input = {(const char *)data, bytes},
                 path = slice_head(input, slice_index(input, '\n'));
    struct slice type = slice_from(input, path.n + 1);
    bool fits = http_type_fits_path(path, type);
    char *lower = malloc(bytes + 1);

    CHECK(lower != NULL);
    if (bytes > 0)
        memcpy(lower, data, bytes);
    http_lower(lower, bytes);
    input = (struct slice){lower, bytes};
    CHECK(http_type_fits_path(slice_head(input, path.n), slice_from(input, path.n + 1)) == fits);
    CHECK(http_type_fits_path(path, slice_head(type, slice_index(type, ';'))) == fits);
    CHECK(http_type_fits_path(path, SLICE("Application/Octet-Stream; x=y")));
    if (slice_index(path, '.') == path.n && slice_index(path, '%') == path.n)
        CHECK(fits);
    free(lower);
    return 0;
}
