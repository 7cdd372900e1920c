/* Signed debug fields: who may see why, of which path, and for how long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/digest.h"
#include "http/debug_field.h"

#define SECRET SLICE("0123456789abcdef")

enum { NOW_S = 1700000000 };

static struct slice made(const char *path, struct slice secret, int64_t expiry_s)
{
    static char out[HTTP_DEBUG_FIELD_BYTES];

    return (struct slice){out, http_debug_field_make(slice_of(path), secret, expiry_s, out)};
}

static void test_what_is_signed_is_valid_until_it_expires(void **state)
{
    struct slice v = made("/a/b", SECRET, NOW_S + 60);

    (void)state;
    assert_true(http_debug_field_is_valid(v, SLICE("/a/b"), SECRET, NOW_S));
    assert_true(http_debug_field_is_valid(v, SLICE("/a/b"), SECRET, NOW_S + 60));
    assert_false(http_debug_field_is_valid(v, SLICE("/a/b"), SECRET, NOW_S + 61));
    assert_false(http_debug_field_is_valid(v, SLICE("/a/c"), SECRET, NOW_S));
    assert_false(http_debug_field_is_valid(v, SLICE("/a/b"), SLICE("0123456789abcdeg"), NOW_S));
    /* nobody signs for ever */
    v = made("/a/b", SECRET, NOW_S + HTTP_DEBUG_DAYS_MAX * 86400 + 1);
    assert_false(http_debug_field_is_valid(v, SLICE("/a/b"), SECRET, NOW_S));
}

static void test_every_byte_counts(void **state)
{
    struct slice v = made("/a", SECRET, NOW_S + 60);
    char copy[HTTP_DEBUG_FIELD_BYTES];

    (void)state;
    for (size_t i = 0; i < v.n; i++) {
        memcpy(copy, v.p, v.n);
        copy[i] = copy[i] == '0' ? '1' : '0';
        assert_false(
            http_debug_field_is_valid((struct slice){copy, v.n}, SLICE("/a"), SECRET, NOW_S));
        assert_false(http_debug_field_is_valid(slice_head(v, i), SLICE("/a"), SECRET, NOW_S));
    }
}

static void test_what_is_no_field_of_that_form(void **state)
{
    static const char *const bad[] = {"",
                                      ".",
                                      "x.y",
                                      "-1.00",
                                      "1700000060",
                                      "1e9.0",
                                      "1700000060.",
                                      " 1700000060.0",
                                      "99999999999999999999999999.0"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(http_debug_field_is_valid(slice_of(bad[i]), SLICE("/a"), SECRET, NOW_S));
}

/* RFC 4231, test case 2, and one with a key longer than a block (case 6). */
static void test_the_hmac_is_the_standards(void **state)
{
    static const unsigned char want[] = {0x5b, 0xdc, 0xc1, 0x46},
                               want_long[] = {0x60, 0xe4, 0x31, 0x59};
    struct slice part[] = {SLICE("what do ya want "), SLICE("for nothing?")};
    struct slice text = SLICE("Test Using Larger Than Block-Size Key - Hash Key First");
    unsigned char sum[DIGEST_SHA256_BYTES];
    char key[131];

    (void)state;
    digest_hmac_sha256(SLICE("Jefe"), part, 2, sum);
    assert_memory_equal(sum, want, sizeof(want));
    for (size_t i = 0; i < sizeof(key); i++)
        key[i] = (char)0xaa;
    digest_hmac_sha256((struct slice){key, sizeof(key)}, &text, 1, sum);
    assert_memory_equal(sum, want_long, sizeof(want_long));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_signed_is_valid_until_it_expires),
        cmocka_unit_test(test_every_byte_counts),
        cmocka_unit_test(test_what_is_no_field_of_that_form),
        cmocka_unit_test(test_the_hmac_is_the_standards),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
