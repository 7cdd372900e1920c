/*
 * Any bytes at all where the store expects its own: what decodes must encode to the same bytes
 * again.  The first byte says what they are taken for; with its high bit set the checksum is put
 * right first, so that the fuzzer gets behind it.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "store/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static char again[LIMIT_RECORD_BYTES];

static void check_same(struct slice value, size_t n)
{
    CHECK(slice_eq(value, (struct slice){again, n}));
}

static void seal_first(char *p, size_t n)
{
    uint64_t sum;

    if (n < sizeof(sum))
        return;
    sum = digest_64((struct slice){p + sizeof(sum), n - sizeof(sum)});
    memcpy(p, &sum, sizeof(sum));
}

static void seal_last(char *p, size_t n)
{
    uint64_t sum;

    if (n < sizeof(sum))
        return;
    sum = digest_64((struct slice){p, n - sizeof(sum)});
    memcpy(p + n - sizeof(sum), &sum, sizeof(sum));
}

static bool is_inside(struct slice part, struct slice all)
{
    return part.n == 0 || (part.p >= all.p && part.p + part.n <= all.p + all.n);
}

static void try_object(struct slice value)
{
    struct store_object o;

    if (store_object_decode(value, &o) != ERR_OK)
        return;
    CHECK(is_inside(o.key.host, value) && is_inside(o.key.text, value) && is_inside(o.head, value));
    CHECK(is_inside(o.stamp.purge_url, value) && is_inside(o.body, value));
    CHECK(o.body.n == 0 || o.body.n == o.body_bytes);
    CHECK(!o.is_marker || o.body_bytes == 0);
    CHECK(store_object_bytes(&o) == value.n);
    store_object_encode(&o, again);
    check_same(value, value.n);
}

static void try_small(struct slice value)
{
    struct store_queued q;
    struct store_state s;
    struct store_format f;
    uint64_t count;

    if (store_queued_decode(value, &q) == ERR_OK) {
        store_queued_encode(&q, again);
        check_same(value, STORE_QUEUED_BYTES);
    }
    if (store_state_decode(value, &s) == ERR_OK) {
        store_state_encode(&s, again);
        check_same(value, STORE_STATE_BYTES);
    }
    if (store_format_decode(value, &f) == ERR_OK) {
        store_format_encode(&f, again);
        check_same(value, STORE_FORMAT_BYTES);
    }
    if (store_count_decode(value, &count) == ERR_OK) {
        store_count_encode(count, again);
        check_same(value, STORE_COUNT_BYTES);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char *copy;

    if (bytes == 0)
        return 0;
    copy = malloc(bytes); /* of exactly this size: what reads past its end is seen */
    CHECK(copy != NULL);
    memcpy(copy, data + 1, bytes - 1);
    if ((data[0] & 1) == 0) {
        if ((data[0] & 0x80) != 0)
            seal_first(copy, bytes - 1);
        try_object((struct slice){copy, bytes - 1});
    } else {
        if ((data[0] & 0x80) != 0)
            seal_last(copy, bytes - 1);
        try_small((struct slice){copy, bytes - 1});
    }
    free(copy);
    return 0;
}
