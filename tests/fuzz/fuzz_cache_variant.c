/*
 * Any bytes as the marker of a key, and any as what is merged into it: never more than the room
 * lent, and what is written is read again with the new list in front.
 *
 * Input: one byte says where the old marker ends.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "cache/variant.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static char out[LIMIT_RECORD_BYTES], twice[LIMIT_RECORD_BYTES];
    struct variant_lists l;
    struct slice old, add;
    uint64_t variant = 0;
    size_t n = 0, m = 0, cut;

    if (bytes < 1)
        return 0;
    cut = (size_t)data[0] * 8 < bytes - 1 ? (size_t)data[0] * 8 : bytes - 1;
    old = (struct slice){(const char *)data + 1, cut};
    add = (struct slice){(const char *)data + 1 + cut, bytes - 1 - cut};
    if (variant_lists_read(old, &l) == ERR_OK) {
        CHECK(l.count >= 1 && l.count <= LIMIT_VARY_LISTS);
        for (size_t i = 0; i < l.count; i++)
            CHECK(l.list[i].p >= old.p && l.list[i].p + l.list[i].n <= old.p + old.n);
    }
    if (add.n < 4 + sizeof(variant))
        return 0;
    memcpy(&variant, add.p, sizeof(variant));
    add = slice_from(add, sizeof(variant));
    if (!variant_merge(old, add, variant, out, sizeof(out), &n) || n == 0)
        return 0;
    CHECK(n <= sizeof(out));
    CHECK(variant_lists_read((struct slice){out, n}, &l) == ERR_OK);
    CHECK(slice_eq(l.list[0], slice_from(add, 4)));
    for (size_t i = 1; i < l.count; i++)
        CHECK(!slice_eq(l.list[i], l.list[0]));
    CHECK(variant_merge((struct slice){out, n}, add, variant, twice, sizeof(twice),
                        &m)); /* who is there may come again */
    CHECK(m == 0);
    return 0;
}
