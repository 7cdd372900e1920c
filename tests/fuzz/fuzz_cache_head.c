/*
 * Any bytes as a stored head: refused, or read into something all users can bear and that is
 * written again as the same thing.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "cache/head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { BOOT = 0x01020304 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct clock_moment now = {.wall_ms = 1700000000000, .mono_ms = 500000};
    struct head h, again;
    struct http_fields both;
    struct stored_facts facts;
    struct arena a;
    struct buf b;

    arena_init(&a, NULL, 0, 4 << 20);
    buf_init(&b, 1 << 20);
    if (head_decode((struct slice){(const char *)data, bytes}, BOOT, &a, &h) == ERR_OK) {
        (void)freshness_state(&h.freshness, &now);
        CHECK(freshness_age_s(&h.freshness, &now) >= 0);
        head_facts(&h, false, &facts);
        CHECK(facts.present);
        head_encode(&h, BOOT, &b);
        CHECK(!b.failed && b.n == bytes);
        CHECK(head_decode(buf_slice(&b), BOOT, &a, &again) == ERR_OK);
        CHECK(again.status == h.status && again.fields.count == h.fields.count &&
              slice_eq(again.vary, h.vary));
        for (size_t i = 0; i < h.fields.count; i++)
            CHECK(slice_eq(h.fields.item[i].name, again.fields.item[i].name) &&
                  slice_eq(h.fields.item[i].value, again.fields.item[i].value));
        if (head_freshen(&h.fields, &again.fields, bytes % 2 == 0, &a, &both) == ERR_OK)
            CHECK(both.count == h.fields.count ||
                  http_fields_find(&h.fields, SLICE("transfer-encoding")) != NULL ||
                  both.count <= LIMIT_RESPONSE_FIELDS);
        (void)head_is_meant(&h.fields, &again.fields);
    }
    buf_release(&b);
    arena_release(&a);
    return 0;
}
