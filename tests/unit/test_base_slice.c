/* Unit tests of slices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/slice.h"

static const struct slice nothing;

static void test_parts(void **state)
{
    struct slice s = SLICE("abc");

    (void)state;
    assert_true(slice_eq(slice_from(s, 1), SLICE("bc")));
    assert_int_equal(slice_from(s, 3).n, 0);
    assert_ptr_equal(slice_from(s, 99).p, s.p + 3); /* never behind the end */
    assert_true(slice_eq(slice_head(s, 2), SLICE("ab")));
    assert_true(slice_eq(slice_head(s, 99), s));
    assert_int_equal(slice_index(s, 'c'), 2);
    assert_int_equal(slice_index(s, 'x'), 3);
    assert_int_equal(slice_index(nothing, 'x'), 0);
    assert_int_equal(slice_from(nothing, 1).n, 0);
    assert_int_equal(slice_of(NULL).n, 0);
}

static void test_comparing(void **state)
{
    (void)state;
    assert_true(slice_eq(nothing, SLICE("")));
    assert_false(slice_eq(SLICE("a"), SLICE("A")));
    assert_false(slice_eq(SLICE("a\0b"), SLICE("a\0c")));
    assert_true(slice_eq_nocase(SLICE("aZ-9"), SLICE("Az-9")));
    assert_false(slice_eq_nocase(SLICE("@"), SLICE("`"))); /* as far apart as 'A' and 'a' */
    assert_false(slice_eq_nocase(SLICE("["), SLICE("{")));
    assert_false(slice_eq_nocase(SLICE("\xc3\x84"), SLICE("\xc3\xa4")));
    assert_false(slice_eq_nocase(SLICE("a"), SLICE("ab")));
    assert_true(slice_starts_with(SLICE("abc"), SLICE("ab")));
    assert_true(slice_starts_with(SLICE("abc"), nothing));
    assert_false(slice_starts_with(SLICE("a"), SLICE("ab")));
    assert_true(slice_ends_with(SLICE("abc"), SLICE("bc")));
    assert_true(slice_ends_with(SLICE("abc"), nothing));
    assert_false(slice_ends_with(SLICE("c"), SLICE("bc")));
}

static void test_trimming(void **state)
{
    (void)state;
    assert_true(slice_eq(slice_trim(SLICE(" \ta b\t ")), SLICE("a b")));
    assert_true(slice_eq(slice_trim(SLICE("\na\r")), SLICE("\na\r"))); /* no OWS */
    assert_int_equal(slice_trim(SLICE(" \t ")).n, 0);
    assert_int_equal(slice_trim(nothing).n, 0);
}

static void test_numbers(void **state)
{
    static const char *const bad[] = {"",
                                      " 1",
                                      "1 ",
                                      "+1",
                                      "-1",
                                      "1x",
                                      "0x1",
                                      ":",
                                      "/",
                                      "18446744073709551616",
                                      "99999999999999999999"};
    uint64_t v = 7;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (slice_to_u64(slice_of(bad[i]), &v))
            fail_msg("accepted: %s", bad[i]);
    assert_int_equal(v, 7);
    assert_true(slice_to_u64(SLICE("18446744073709551615"), &v) && v == UINT64_MAX);
    assert_true(slice_to_u64(SLICE("000000000000000000000042"), &v) && v == 42);
    assert_false(slice_to_u64(nothing, &v));
}

/* Each byte at each place of texts of each length, the others being what both let pass. */
static void test_bytes_of_a_kind(void **state)
{
    char text[20];

    (void)state;
    memset(text, 'a', sizeof(text));
    for (size_t n = 1; n <= sizeof(text); n++) {
        for (size_t at = 0; at < n; at++) {
            for (unsigned c = 0; c < 256; c++) {
                struct slice s = {text, n};
                bool is_plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';

                text[at] = (char)c;
                if (slice_is_plain(s) != is_plain)
                    fail_msg("byte %u at %zu of %zu: plain is wrong", c, at, n);
                if (slice_has_below(s, 14) != (c < 14) ||
                    slice_has_below(s, 128) != (n > 1 || c < 128))
                    fail_msg("byte %u at %zu of %zu: below is wrong", c, at, n);
                text[at] = 'a';
            }
        }
    }
    assert_false(slice_has_below(SLICE("\x80\xff\x80\xff\x80\xff\x80\xff\x80"), 128));
    assert_true(slice_is_plain(nothing));
    assert_false(slice_has_below(nothing, 128));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),           cmocka_unit_test(test_comparing),
        cmocka_unit_test(test_trimming),        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_bytes_of_a_kind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
