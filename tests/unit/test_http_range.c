/* Unit tests of Range and Content-Range (RFC 9110 section 14). */
#include "http_text.h"

#include "base/buf.h"
#include "http/range.h"

static void test_ranges(void **state)
{
    static const struct {
        const char *value;
        uint64_t length;
        const char *want; /* the parts, or "200", or "416" */
    } range[] = {
        {"bytes=0-1", 10, "0-1 "},
        {"bytes=1-", 10, "1-9 "},
        {"bytes=-1", 10, "9-9 "},
        {"bytes=-10", 10, "0-9 "},
        {"bytes=-11", 10, "0-9 "},
        {"bytes=0-99", 10, "0-9 "},
        {"bytes=9-9", 10, "9-9 "},
        {"BYTES=0-0", 10, "0-0 "},
        {"bytes=007-0008", 10, "7-8 "},
        {"bytes=10-", 10, "416"},
        {"bytes=10-20", 10, "416"},
        {"bytes=-0", 10, "416"},
        {"bytes=0-", 0, "416"},
        {"bytes=-1", 0, "200"},
        {"bytes=-0", 0, "416"},
        {"bytes=0-99999999999999999999999", 10, "0-9 "},
        {"bytes=-99999999999999999999999", 10, "0-9 "},
        {"bytes=99999999999999999999999-", 10, "416"},
        {"bytes=99999999999999999999998-99999999999999999999999", 10, "416"},
        {"bytes=99999999999999999999999-5", 10, "200"},
        {"bytes=18446744073709551615-", UINT64_MAX - 1, "416"},
        {"bytes=0-", UINT64_MAX - 1, "0-18446744073709551613 "},
        {"bytes=0-0,2-3, 5-", 10, "0-0 2-3 5-9 "},
        {"bytes=5-6, 0-1", 10, "5-6 0-1 "},
        {"bytes= 0-0 ,,\t1-1,", 10, "0-0 1-1 "},
        {"bytes=0-0,20-", 10, "0-0 "},
        {"bytes=20-,30-", 10, "416"},
        {"bytes=0-9,0-9", 10, "0-9 0-9 "}, /* twice the body, no more */
        {"bytes=0-9,0-9,0-0", 10, "200"},
        {"bytes=0-,0-,0-,0-", 10, "200"},
        {"bytes=5-2", 10, "200"},
        {"bytes=0-1,5-2", 10, "200"},
        {"bytes=", 10, "200"},
        {"bytes=,", 10, "200"},
        {"bytes=-", 10, "200"},
        {"bytes=1", 10, "200"},
        {"bytes=a-b", 10, "200"},
        {"bytes=0-1x", 10, "200"},
        {"bytes=0 -1", 10, "200"},
        {"bytes=+0-1", 10, "200"},
        {"bytes=0--1", 10, "200"},
        {"bytes=0-1-2", 10, "200"},
        {"bytes =0-1", 10, "200"},
        {"bytes0-1", 10, "200"},
        {"bytes", 10, "200"},
        {"lines=0-1", 10, "200"},
        {"0-1", 10, "200"},
        {"", 10, "200"},
        {NULL, 10, "200"},
        {"bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8,9-9,10-10,11-11,12-12,13-13,14-14,15-15", 99,
         "0-0 1-1 2-2 3-3 4-4 5-5 6-6 7-7 8-8 9-9 10-10 11-11 12-12 13-13 14-14 15-15 "},
        {"bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8,9-9,10-10,11-11,12-12,13-13,14-14,15-15,-1", 99,
         "200"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(range); i++) {
        struct http_range part[HTTP_RANGES_MAX];
        size_t count = 99;
        enum http_range_result r =
            http_range_parse(slice_of(range[i].value), range[i].length, part, &count);
        struct buf got;

        buf_init(&got, 1000);
        for (size_t j = 0; j < count; j++) {
            buf_add_u64(&got, part[j].first);
            buf_add_char(&got, '-');
            buf_add_u64(&got, part[j].last);
            buf_add_char(&got, ' ');
        }
        if (r != HTTP_RANGE_OK) {
            assert_int_equal(count, 0);
            buf_add(&got, r == HTTP_RANGE_IGNORE ? SLICE("200") : SLICE("416"));
        }
        if (!slice_eq(buf_slice(&got), slice_of(range[i].want)))
            fail_msg("%s of %llu", range[i].value, (unsigned long long)range[i].length);
        buf_release(&got);
    }
}

static void test_formatting(void **state)
{
    char text[HTTP_CONTENT_RANGE_BYTES];
    struct http_range r = {0, 4}, large = {UINT64_MAX - 2, UINT64_MAX - 2};

    (void)state;
    assert_text((struct slice){text, http_content_range_format(r, 10, text)}, "bytes 0-4/10");
    assert_text((struct slice){text, http_content_range_format(r, UINT64_MAX, text)},
                "bytes 0-4/*");
    assert_text((struct slice){text, http_content_range_format(large, UINT64_MAX - 1, text)},
                "bytes 18446744073709551613-18446744073709551613/18446744073709551614");
    assert_text((struct slice){text, http_content_range_unsatisfied(10, text)}, "bytes */10");
    assert_text((struct slice){text, http_content_range_unsatisfied(UINT64_MAX, text)},
                "bytes */18446744073709551615");
}

static void test_content_ranges(void **state)
{
    static const struct {
        const char *value;
        uint64_t first, last, length;
    } good[] = {
        {"bytes 0-4/10", 0, 4, 10},
        {"Bytes 9-9/10", 9, 9, 10},
        {"bytes 0-4/*", 0, 4, UINT64_MAX},
        {"bytes 0-18446744073709551613/18446744073709551614", 0, UINT64_MAX - 2, UINT64_MAX - 1},
    };
    static const char *const bad[] = {"",
                                      "bytes",
                                      "bytes ",
                                      "bytes */10",
                                      "bytes 4-0/10",
                                      "bytes 0-10/10",
                                      "bytes 0-4/4",
                                      "bytes 0-4",
                                      "bytes 0-4/",
                                      "bytes 0-/10",
                                      "bytes -4/10",
                                      "bytes=0-4/10",
                                      "lines 0-4/10",
                                      "bytes  0-4/10",
                                      "bytes 0-4/10 ",
                                      "bytes 0 - 4/10",
                                      "bytes 0-4/-10",
                                      "bytes 0-4/1-0",
                                      "bytes 0-4/10, bytes 0-4/10",
                                      "bytes 0-4/99999999999999999999999",
                                      "bytes 0-99999999999999999999999/*",
                                      "bytes 0-4/18446744073709551615",
                                      "bytes 0-18446744073709551615/*"};
    struct http_range r;
    uint64_t length;

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_true(http_content_range_parse(slice_of(good[i].value), &r, &length));
        assert_true(r.first == good[i].first && r.last == good[i].last);
        assert_true(length == good[i].length);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        if (http_content_range_parse(slice_of(bad[i]), &r, &length))
            fail_msg("accepted: %s", bad[i]);
    assert_false(http_content_range_parse((struct slice){0}, &r, &length));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ranges),
        TEST(test_formatting),
        TEST(test_content_ranges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
