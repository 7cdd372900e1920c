/* Unit tests of text that is put together piece by piece. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

static void assert_buf(struct buf *b, const char *want)
{
    assert_false(b->failed);
    if (!slice_eq(buf_slice(b), slice_of(want)))
        fail_msg("'%.*s' is not '%s'", (int)b->n, b->p, want);
    b->n = 0;
}

static void test_pieces(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    buf_add(&b, SLICE("a"));
    buf_add(&b, (struct slice){0});
    buf_add_char(&b, '\t');
    assert_buf(&b, "a\t");
    buf_add_u64(&b, 0);
    buf_add_u64(&b, UINT64_MAX);
    assert_buf(&b, "018446744073709551615");
    buf_add_i64(&b, INT64_MIN);
    buf_add_i64(&b, INT64_MAX);
    buf_add_i64(&b, -1);
    assert_buf(&b, "-92233720368547758089223372036854775807-1");
    buf_addf(&b, "%s-%d%%", "x", 7);
    assert_buf(&b, "x-7%");
    buf_release(&b);
}

static void test_json_strings(void **state)
{
    static const struct {
        const char *in, *want;
    } text[] = {
        {"a b", "a b"},
        {"\"\\/", "\\\"\\\\/"},
        {"\t\n\x01\x7f", "\\u0009\\u000a\\u0001\\u007f"},
        {"\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"\xff", "\\ufffd"},
        {"\xc3", "\\ufffd"},
        {"\xc3(", "\\ufffd("},
        {"\xc0\xaf", "\\ufffd\\ufffd"},
        {"\xe0\x80\x80", "\\ufffd\\ufffd\\ufffd"},
        {"\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd"},
        {"\xf4\x90\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd"},
        {"", ""},
    };
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++) {
        buf_add_json(&b, slice_of(text[i].in));
        assert_buf(&b, text[i].want);
    }
    buf_add_json(&b, SLICE("a\0b"));
    assert_buf(&b, "a\\u0000b");
    buf_release(&b);
}

static void test_it_grows_up_to_its_ceiling_and_then_stays_failed(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    for (size_t i = 0; i < 1000; i++)
        buf_add_char(&b, 'x');
    assert_false(b.failed);
    assert_int_equal(b.n, 1000);
    buf_add_char(&b, 'y');
    assert_true(b.failed);
    b.n = 0;
    buf_add_char(&b, 'z'); /* there would be room now, but something is missing before it */
    assert_int_equal(b.n, 0);
    assert_false(buf_reserve(&b, 0));
    buf_release(&b);
    assert_null(b.p);
}

static void test_what_does_not_fit_is_left_out_whole(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 4);
    buf_add(&b, SLICE("abc"));
    buf_add(&b, SLICE("de"));
    assert_true(b.failed);
    assert_int_equal(b.n, 3);
    buf_release(&b);
    buf_init(&b, 4);
    buf_addf(&b, "%s", "abcde");
    assert_true(b.failed);
    assert_int_equal(b.n, 0);
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_json_strings),
        cmocka_unit_test(test_it_grows_up_to_its_ceiling_and_then_stays_failed),
        cmocka_unit_test(test_what_does_not_fit_is_left_out_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
