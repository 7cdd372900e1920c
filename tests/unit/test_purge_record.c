/* Unit tests of what purge keeps on disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "purge/record.h"

static unsigned char bytes[PURGE_RECORD_BYTES_MAX];

static struct slice value(size_t n)
{
    return (struct slice){(const char *)bytes, n};
}

static struct purge_record record(void)
{
    return (struct purge_record){.position = position_make(1, 41),
                                 .answer = position_make(1, 43),
                                 .nonce = UINT64_C(0xfedcba9876543210),
                                 .fingerprint = 99,
                                 .at_ms = 1700000000000,
                                 .kind = PURGE_PREFIX,
                                 .soft = true,
                                 .request_id = SLICE("deploy-7"),
                                 .text = SLICE("www.example.com/news/")};
}

static struct purge_row row(void)
{
    return (struct purge_row){.id = 5,
                              .hard = position_make(1, 3),
                              .soft = position_make(1, 9),
                              .text_bytes = 200,
                              .kind = PURGE_TAG,
                              .label = SLICE("article-17")};
}

static void test_a_record_comes_back_as_it_went(void **state)
{
    struct purge_record in = record(), out;
    size_t n = purge_record_encode(&in, bytes);

    (void)state;
    assert_int_equal(purge_record_decode(value(n), &out), ERR_OK);
    assert_true(out.position == in.position && out.answer == in.answer && out.nonce == in.nonce);
    assert_true(out.fingerprint == in.fingerprint && out.at_ms == in.at_ms);
    assert_true(out.kind == in.kind && out.soft == in.soft);
    assert_true(slice_eq(out.request_id, in.request_id) && slice_eq(out.text, in.text));
}

static void test_the_longest_record_fits(void **state)
{
    char *text = malloc(PURGE_TEXT_BYTES_MAX);
    char id[PURGE_REQUEST_ID_BYTES_MAX];
    struct purge_record in = record(), out;
    size_t n;

    (void)state;
    assert_non_null(text);
    memset(text, 'a', PURGE_TEXT_BYTES_MAX);
    memset(id, 'i', sizeof(id));
    text[1] = '/';
    in.text = (struct slice){text, PURGE_TEXT_BYTES_MAX};
    in.request_id = (struct slice){id, sizeof(id)};
    n = purge_record_encode(&in, bytes);
    assert_int_equal(n, PURGE_RECORD_BYTES_MAX);
    assert_int_equal(purge_record_decode(value(n), &out), ERR_OK);
    assert_true(slice_eq(out.text, in.text));
    free(text);
}

/* Any byte of it wrong, any byte missing, and it is no record. */
static void test_a_damaged_record_does_not_decode(void **state)
{
    struct purge_record in = record(), out;
    size_t n = purge_record_encode(&in, bytes);

    (void)state;
    for (size_t i = 0; i < n; i++) {
        bytes[i] ^= 0x10;
        assert_int_equal(purge_record_decode(value(n), &out), ERR_CORRUPT);
        bytes[i] ^= 0x10;
        assert_int_equal(purge_record_decode(value(i), &out), ERR_CORRUPT);
    }
}

static void test_a_row_comes_back_and_damage_is_seen(void **state)
{
    struct purge_row in = row(), out;
    size_t n = purge_row_encode(&in, bytes);

    (void)state;
    assert_int_equal(purge_row_decode(value(n), &out), ERR_OK);
    assert_true(out.id == in.id && out.host_id == 0 && out.hard == in.hard && out.soft == in.soft);
    assert_true(out.text_bytes == in.text_bytes && out.kind == in.kind);
    assert_true(slice_eq(out.label, in.label));
    for (size_t i = 0; i < n; i++) {
        bytes[i] ^= 0x10;
        assert_int_equal(purge_row_decode(value(n), &out), ERR_CORRUPT);
        bytes[i] ^= 0x10;
        assert_int_equal(purge_row_decode(value(i), &out), ERR_CORRUPT);
    }
}

static void test_a_row_that_says_nothing_does_not_decode(void **state)
{
    struct purge_row in = row(), out;

    (void)state;
    in.hard = in.soft = 0;
    assert_int_equal(purge_row_decode(value(purge_row_encode(&in, bytes)), &out), ERR_CORRUPT);
    in = row();
    in.kind = PURGE_PREFIX; /* a prefix without its host would never be looked for */
    assert_int_equal(purge_row_decode(value(purge_row_encode(&in, bytes)), &out), ERR_CORRUPT);
}

static void test_identity_and_clock_come_back_and_damage_is_seen(void **state)
{
    struct purge_identity identity = {.cluster_id = 1, .ctl_id = 2}, who;
    struct purge_clock clock = {.epoch = 1,
                                .boot = 7,
                                .generation = 3,
                                .first_n = 5,
                                .head_n = 9,
                                .floor = position_make(1, 9),
                                .journal_bytes = 1234},
                       when;

    (void)state;
    memset(&identity.secret, 's', sizeof(identity.secret));
    purge_identity_encode(&identity, bytes);
    assert_int_equal(purge_identity_decode(value(PURGE_IDENTITY_BYTES), &who), ERR_OK);
    assert_memory_equal(&who, &identity, sizeof(who));
    bytes[20] ^= 1;
    assert_int_equal(purge_identity_decode(value(PURGE_IDENTITY_BYTES), &who), ERR_CORRUPT);

    purge_clock_encode(&clock, bytes);
    assert_int_equal(purge_identity_decode(value(PURGE_CLOCK_BYTES), &who), ERR_CORRUPT);
    assert_int_equal(purge_clock_decode(value(PURGE_CLOCK_BYTES), &when), ERR_OK);
    assert_true(when.epoch == 1 && when.boot == 7 && when.generation == 3 && when.first_n == 5);
    assert_true(when.head_n == 9 && when.floor == clock.floor && when.journal_bytes == 1234);
    bytes[4] ^= 1;
    assert_int_equal(purge_clock_decode(value(PURGE_CLOCK_BYTES), &when), ERR_CORRUPT);
    clock.floor++; /* nothing can have been retired above the head */
    purge_clock_encode(&clock, bytes);
    assert_int_equal(purge_clock_decode(value(PURGE_CLOCK_BYTES), &when), ERR_CORRUPT);
}

static void test_keys_sort_as_their_numbers(void **state)
{
    static const uint64_t number[] = {1, 255, 256, UINT64_C(1) << 48, UINT64_MAX};
    unsigned char a[PURGE_JOURNAL_KEY_BYTES], b[PURGE_JOURNAL_KEY_BYTES];

    (void)state;
    for (size_t i = 0; i + 1 < sizeof(number) / sizeof(number[0]); i++) {
        uint64_t back;

        purge_journal_key(number[i], a);
        assert_true(memcmp(a, purge_journal_key(number[i + 1], b).p, sizeof(a)) < 0);
        assert_true(purge_journal_key_parse((struct slice){(const char *)a, sizeof(a)}, &back));
        assert_int_equal(back, number[i]);
    }
}

static void test_scopes_that_break_their_form_are_seen(void **state)
{
    static const struct {
        enum purge_kind kind;
        const char *text;
        bool valid;
    } scope[] = {
        {PURGE_URL, "h/", true},         {PURGE_URL, "h/a?b=%2F", true},
        {PURGE_URL, "h", false},         {PURGE_URL, "/a", false},
        {PURGE_URL, "H/a", false},       {PURGE_URL, "h/a\n", false},
        {PURGE_URL, "", false},          {PURGE_PREFIX, "h/news/", true},
        {PURGE_PREFIX, "h", false},      {PURGE_HOST, "www.example.com", true},
        {PURGE_HOST, "[::1]", true},     {PURGE_HOST, "", false},
        {PURGE_HOST, "h/", false},       {PURGE_HOST, "a b", false},
        {PURGE_TAG, "article 17", true}, {PURGE_TAG, "", false},
        {PURGE_TAG, "a\x7f", false},     {PURGE_ALL, "", true},
        {PURGE_ALL, "x", false},         {PURGE_KINDS, "", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(scope) / sizeof(scope[0]); i++) {
        struct purge_scope s = {.kind = scope[i].kind, .text = slice_of(scope[i].text)};

        assert_int_equal(purge_scope_is_valid(&s), scope[i].valid);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_record_comes_back_as_it_went),
        cmocka_unit_test(test_the_longest_record_fits),
        cmocka_unit_test(test_a_damaged_record_does_not_decode),
        cmocka_unit_test(test_a_row_comes_back_and_damage_is_seen),
        cmocka_unit_test(test_a_row_that_says_nothing_does_not_decode),
        cmocka_unit_test(test_identity_and_clock_come_back_and_damage_is_seen),
        cmocka_unit_test(test_keys_sort_as_their_numbers),
        cmocka_unit_test(test_scopes_that_break_their_form_are_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
