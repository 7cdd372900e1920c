/*
 * Any bytes at all under a key of ctl: what decodes must encode to the same bytes again, and be a
 * scope that could have been appended.  The first byte says what the bytes are taken for; with its
 * high bit set the checksum is put right first, so that the fuzzer gets behind it.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "purge/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { CHECKSUM_BYTES = 8 };

static unsigned char again[PURGE_RECORD_BYTES_MAX];

static void check_same(struct slice value, size_t n)
{
    CHECK(slice_eq(value, (struct slice){(const char *)again, n}));
}

static void try_record(struct slice value)
{
    struct purge_record r;
    struct purge_scope scope;

    if (purge_record_decode(value, &r) != ERR_OK)
        return;
    scope = (struct purge_scope){.kind = r.kind, .text = r.text};
    CHECK(purge_scope_is_valid(&scope));
    CHECK(r.answer >= r.position);
    check_same(value, purge_record_encode(&r, again));
}

static void try_row(struct slice value)
{
    struct purge_row r;

    if (purge_row_decode(value, &r) != ERR_OK)
        return;
    CHECK(r.hard != 0 || r.soft != 0);
    CHECK(r.text_bytes <= PURGE_TEXT_BYTES_MAX);
    check_same(value, purge_row_encode(&r, again));
}

static void try_state(struct slice value)
{
    struct purge_identity identity;
    struct purge_clock clock;

    if (purge_identity_decode(value, &identity) == ERR_OK) {
        purge_identity_encode(&identity, again);
        check_same(value, PURGE_IDENTITY_BYTES);
    }
    if (purge_clock_decode(value, &clock) == ERR_OK) {
        CHECK(clock.first_n <= clock.head_n + 1);
        CHECK(clock.floor <= position_make(clock.epoch, clock.head_n));
        purge_clock_encode(&clock, again);
        if (value.n == PURGE_CLOCK_BYTES) /* the first version had less */
            check_same(value, PURGE_CLOCK_BYTES);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    unsigned char *copy;
    struct slice value;

    if (bytes == 0)
        return 0;
    copy = malloc(bytes);
    CHECK(copy != NULL);
    memcpy(copy, data + 1, bytes - 1);
    value = (struct slice){(const char *)copy, bytes - 1};
    if ((data[0] & 0x80) != 0 && value.n >= CHECKSUM_BYTES) {
        uint64_t sum = digest_64(slice_head(value, value.n - CHECKSUM_BYTES));

        for (size_t i = 0; i < CHECKSUM_BYTES; i++)
            copy[value.n - CHECKSUM_BYTES + i] = (unsigned char)(sum >> 8 * i);
    }
    switch (data[0] & 3) {
    case 0:
        try_record(value);
        break;
    case 1:
        try_row(value);
        break;
    default:
        try_state(value);
        break;
    }
    free(copy);
    return 0;
}
