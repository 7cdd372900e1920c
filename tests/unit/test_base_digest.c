/* Unit tests of hashes and of comparing secrets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/digest.h"

static void test_sha256_is_the_standards(void **state)
{
    static const unsigned char abc[DIGEST_SHA256_BYTES] = {
        0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
        0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
        0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    static const unsigned char empty[4] = {0xe3, 0xb0, 0xc4, 0x42};
    unsigned char got[DIGEST_SHA256_BYTES];

    (void)state;
    digest_sha256(SLICE("abc"), got);
    assert_memory_equal(got, abc, sizeof(abc));
    digest_sha256((struct slice){0}, got);
    assert_memory_equal(got, empty, sizeof(empty));
}

/* Checksums lie on disk: another value for the same bytes would make every object damaged. */
static void test_checksums_stay_what_they_are(void **state)
{
    (void)state;
    assert_true(digest_64(SLICE("")) == UINT64_C(0x2d06800538d394c2));
    assert_true(digest_64(SLICE("abc")) == UINT64_C(0x78af5f94892f3950));
    assert_true(digest_64(SLICE("abd")) != digest_64(SLICE("abc")));
}

static void test_a_secret_changes_everything(void **state)
{
    struct digest_secret a, b;
    struct digest_128 x, y, z;
    struct slice s = SLICE("some input");

    (void)state;
    digest_random(&a, sizeof(a));
    digest_random(&b, sizeof(b));
    assert_memory_not_equal(&a, &b, sizeof(a));
    assert_true(digest_64_secret(&a, s) == digest_64_secret(&a, s));
    assert_true(digest_64_secret(&a, s) != digest_64_secret(&b, s));
    assert_true(digest_64_secret(&a, s) != digest_64(s));
    x = digest_128_secret(&a, s);
    y = digest_128_secret(&a, s);
    z = digest_128_secret(&b, s);
    assert_true(x.high == y.high && x.low == y.low);
    assert_true(x.high != z.high && x.low != z.low);
}

static void test_secrets_are_compared_whole(void **state)
{
    (void)state;
    assert_true(digest_equal(SLICE("abc"), SLICE("abc")));
    assert_false(digest_equal(SLICE("abc"), SLICE("abd")));
    assert_false(digest_equal(SLICE("abc"), SLICE("xbc")));
    assert_false(digest_equal(SLICE("abc"), SLICE("ab")));
    assert_false(digest_equal(SLICE("a\0c"), SLICE("a\0d")));
    assert_true(digest_equal((struct slice){0}, SLICE("")));
}

static void test_randomness_fills_all_bytes(void **state)
{
    unsigned char bytes[512] = {0}, seen[512] = {0};

    (void)state;
    for (int round = 0; round < 8; round++) {
        digest_random(bytes, sizeof(bytes));
        for (size_t i = 0; i < sizeof(bytes); i++)
            seen[i] |= bytes[i];
    }
    for (size_t i = 0; i < sizeof(seen); i++)
        assert_int_not_equal(seen[i], 0); /* 2^-64 each */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256_is_the_standards),
        cmocka_unit_test(test_checksums_stay_what_they_are),
        cmocka_unit_test(test_a_secret_changes_everything),
        cmocka_unit_test(test_secrets_are_compared_whole),
        cmocka_unit_test(test_randomness_fills_all_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
