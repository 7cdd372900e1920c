/* Any lines of surrogate keys: at most LIMIT_TAGS, none twice, and nothing left out without saying
 * so. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "cache/tags.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct slice text = {(const char *)data, bytes};
    const uint64_t *hash, *joined;
    uint32_t count, both;
    bool overflow, lost;
    struct http_fields f = {0};
    struct arena a;

    arena_init(&a, NULL, 0, 1 << 20);
    while (text.n > 0 && f.count < LIMIT_RESPONSE_FIELDS) {
        struct slice line = slice_head(text, slice_index(text, '\n'));
        struct slice name = line.n % 2 == 0 ? SLICE("surrogate-key") : SLICE("cache-tag");

        CHECK(http_fields_add(&f, &a, LIMIT_RESPONSE_FIELDS, name, slice_trim(line)) == ERR_OK);
        text = slice_from(text, line.n + 1);
    }
    CHECK(tags_read(&f, &a, &hash, &count, &overflow) == ERR_OK);
    CHECK(count <= LIMIT_TAGS);
    for (uint32_t i = 0; i < count && count <= 64; i++)
        for (uint32_t j = 0; j < i; j++)
            CHECK(hash[i] != hash[j]);
    lost = overflow;
    CHECK(tags_join(hash, count, hash, count, &a, &joined, &both, &lost) == ERR_OK);
    CHECK(both == count && lost == overflow);
    arena_release(&a);
    return 0;
}
