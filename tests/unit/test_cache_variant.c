/* Markers: which Vary lists and variants a key has, and how they are held to their ceilings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/limits.h"
#include "cache/variant.h"

enum { NOW_S = 1700000000, OUT_MAX = 32768, HOUR = 3600 };

static char marker[2][OUT_MAX];
static struct slice current;

static int begin(void **state)
{
    (void)state;
    current = (struct slice){0};
    return 0;
}

/* The store's part: merge, and keep what came out.  False: not to be stored. */
static bool see(const char *list, uint64_t variant, int64_t now_s)
{
    char *out = current.p == marker[0] ? marker[1] : marker[0];
    size_t n = 99;
    struct buf b;
    bool ok;

    buf_init(&b, 65536);
    variant_marker(slice_of(list), now_s, &b);
    assert_false(b.failed);
    ok = variant_merge(current, buf_slice(&b), variant, out, OUT_MAX, &n);
    buf_release(&b);
    if (ok && n > 0)
        current = (struct slice){out, n};
    return ok;
}

static void must_list(const char *const *want, size_t n)
{
    struct variant_lists l;

    assert_int_equal(variant_lists_read(current, &l), ERR_OK);
    assert_int_equal(l.count, n);
    for (size_t i = 0; i < n; i++)
        if (!slice_eq(l.list[i], slice_of(want[i])))
            fail_msg("list %zu is \"%.*s\", not \"%s\"", i, (int)l.list[i].n, l.list[i].p, want[i]);
}

static void test_lists_are_kept_newest_first(void **state)
{
    (void)state;
    assert_true(see("accept", 1, NOW_S));
    must_list((const char *const[]){"accept"}, 1);
    assert_true(see("", 2, NOW_S));
    must_list((const char *const[]){"", "accept"}, 2);
    assert_true(see("accept", 3, NOW_S));
    must_list((const char *const[]){"accept", ""}, 2);
    assert_true(see("b", 4, NOW_S));
    assert_true(see("c", 5, NOW_S));
    must_list((const char *const[]){"c", "b", "accept", ""}, 4);
    assert_true(see("d", 6, NOW_S)); /* a fifth drops the oldest */
    must_list((const char *const[]){"d", "c", "b", "accept"}, LIMIT_VARY_LISTS);
}

static void test_a_variant_known_under_the_newest_list_changes_nothing(void **state)
{
    struct slice before;

    (void)state;
    assert_true(see("accept", 1, NOW_S));
    before = current;
    assert_true(see("accept", 1, NOW_S + 1));
    assert_ptr_equal(before.p, current.p);
    assert_true(see("b", 1, NOW_S));
    assert_true(see("accept", 1, NOW_S)); /* another list comes to the front */
    must_list((const char *const[]){"accept", "b"}, 2);
}

static void fill_up(void)
{
    for (uint64_t v = 1; v <= LIMIT_VARIANTS; v++)
        assert_true(see("accept", v * 1000, NOW_S + (int64_t)v));
}

static void test_strangers_do_not_push_variants_out(void **state)
{
    (void)state;
    fill_up();
    assert_false(see("accept", 7, NOW_S + 100));
    assert_false(see("accept", 7, NOW_S + 1 + HOUR));
    assert_true(see("accept", 1000, NOW_S + 100)); /* who is there may come again */
    assert_true(see("accept", 64000, NOW_S + 100));
}

static void test_one_that_came_over_an_hour_ago_goes(void **state)
{
    (void)state;
    fill_up();
    assert_true(see("accept", 7, NOW_S + 2 + HOUR)); /* in the place of the oldest */
    assert_false(see("accept", 8, NOW_S + 2 + HOUR));
    assert_false(see("accept", 1000, NOW_S + 2 + HOUR)); /* that was it */
    assert_true(see("accept", 2000, NOW_S + 2 + HOUR));
}

/* One that is asked for, and so stored again and again, is not the oldest. */
static void test_who_comes_again_is_not_old(void **state)
{
    (void)state;
    fill_up();
    assert_true(see("accept", 1000, NOW_S + HOUR - 60));
    assert_false(see("accept", 7, NOW_S + 2 + HOUR)); /* 1000 was, and is not any more */
    assert_true(see("accept", 7, NOW_S + 3 + HOUR)); /* in the place of 2000, now the oldest */
    assert_true(see("accept", 1000, NOW_S + 3 + HOUR));
    assert_false(see("accept", 2000, NOW_S + 3 + HOUR));
}

/* A clock set back makes nobody old. */
static void test_a_clock_set_back(void **state)
{
    (void)state;
    fill_up();
    assert_false(see("accept", 7, NOW_S - 10 * HOUR));
}

static void test_damage_begins_anew(void **state)
{
    static const char *const bad[] = {"x", "\x01", "\x02\x05\x00\x00", "\x01\x01\x00\x00\x00\x00",
                                      "a whole object"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        current = slice_of(bad[i]);
        assert_true(see("accept", 1, NOW_S));
        must_list((const char *const[]){"accept"}, 1);
    }
}

/* Each byte of a marker changed, and each of its beginnings: refused or read, and merged within its
 * room. */
static void test_damaged_markers_do_no_harm(void **state)
{
    static char copy[OUT_MAX];
    struct variant_lists l;
    struct slice good;

    (void)state;
    assert_true(see("accept,accept-language", 1, NOW_S));
    assert_true(see("", 2, NOW_S));
    assert_true(see("b", 3, NOW_S));
    good = current;
    for (size_t n = 0; n < good.n; n++)
        assert_int_equal(variant_lists_read(slice_head(good, n), &l), ERR_CORRUPT);
    for (size_t at = 0; at < good.n; at++) {
        for (int v = 0; v < 256; v++) {
            memcpy(copy, good.p, good.n);
            copy[at] = (char)v;
            current = (struct slice){copy, good.n};
            if (variant_lists_read(current, &l) == ERR_OK)
                assert_true(l.count > 0 && l.count <= LIMIT_VARY_LISTS);
            (void)see("new", 9, NOW_S + 5);
        }
    }
}

/* A list longer than any we write would not fit the room that the store lends. */
static void test_a_list_beyond_measure(void **state)
{
    static char text[20000], big[3 * 20000];
    struct variant_lists l;
    size_t n = 4;

    (void)state;
    memset(text, 'a', sizeof(text) - 1);
    assert_false(see(text, 1, NOW_S));
    text[4096] = '\0';
    assert_true(see(text, 1, NOW_S));
    memcpy(big, "\x02\x03\x00\x00", 4);
    for (int i = 0; i < 3; i++) {
        uint16_t bytes = 16000;

        memcpy(big + n, &bytes, sizeof(bytes));
        memset(big + n + 2, 'a' + i, bytes);
        n += 2 + bytes;
    }
    current = (struct slice){big, n};
    assert_int_equal(variant_lists_read(current, &l), ERR_CORRUPT);
    assert_true(see("accept", 1, NOW_S));
    must_list((const char *const[]){"accept"}, 1);
}

static void test_the_number_of_a_variant(void **state)
{
    struct http_field de[] = {{SLICE("accept-language"), SLICE("de")}, {SLICE("x"), SLICE("1")}},
                      de_too[] = {{SLICE("x"), SLICE("2")},
                                  {SLICE("accept-language"), SLICE(" DE ")}},
                      en[] = {{SLICE("accept-language"), SLICE("en")}},
                      empty[] = {{SLICE("accept-language"), SLICE("")}};
    struct http_fields none = {0}, f_de = {de, 2, 2}, f_de_too = {de_too, 2, 2}, f_en = {en, 1, 1},
                       f_empty = {empty, 1, 1};
    struct slice list = SLICE("accept-language");
    struct buf scratch;
    uint64_t v;

    (void)state;
    buf_init(&scratch, 65536);
    v = variant_of(list, &f_de, &scratch);
    assert_true(v != 0);
    assert_true(variant_of(list, &f_de_too, &scratch) == v); /* other fields do not count */
    assert_true(variant_of(list, &f_en, &scratch) != v);
    assert_true(variant_of(list, &none, &scratch) != variant_of(list, &f_empty, &scratch));
    assert_true(variant_of(SLICE("x"), &none, &scratch) != variant_of(list, &none, &scratch));
    buf_release(&scratch);
}

/* Of one length, so many that they meet wherever numbers are remembered; and ones too long for that. */
static void test_each_value_has_its_own_number(void **state)
{
    enum { VALUES = 2000, LONG = 200 };
    static uint64_t number[VALUES];
    struct buf scratch;

    (void)state;
    buf_init(&scratch, 65536);
    for (int again = 0; again < 2; again++) {
        for (int i = 0; i < VALUES; i++) {
            char value[LONG + 1];
            struct http_field f = {SLICE("x"), {value, i % 10 == 0 ? LONG : 4}};
            struct http_fields request = {&f, 1, 1};
            uint64_t v;

            memset(value, 'a', LONG);
            snprintf(value + f.value.n - 4, 5, "%04d", i);
            v = variant_of(SLICE("x"), &request, &scratch);
            if (again)
                assert_true(number[i] == v);
            for (int j = 0; j < i; j++)
                assert_true(number[j] != v);
            number[i] = v;
        }
    }
    buf_release(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_lists_are_kept_newest_first, begin),
        cmocka_unit_test_setup(test_a_variant_known_under_the_newest_list_changes_nothing, begin),
        cmocka_unit_test_setup(test_strangers_do_not_push_variants_out, begin),
        cmocka_unit_test_setup(test_one_that_came_over_an_hour_ago_goes, begin),
        cmocka_unit_test_setup(test_who_comes_again_is_not_old, begin),
        cmocka_unit_test_setup(test_a_clock_set_back, begin),
        cmocka_unit_test_setup(test_damage_begins_anew, begin),
        cmocka_unit_test_setup(test_damaged_markers_do_no_harm, begin),
        cmocka_unit_test_setup(test_a_list_beyond_measure, begin),
        cmocka_unit_test_setup(test_the_number_of_a_variant, begin),
        cmocka_unit_test(test_each_value_has_its_own_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
