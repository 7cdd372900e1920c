/* Unit tests of HTTP dates (RFC 9110 section 5.6.7). */
#include "http_text.h"

#include "http/date.h"

#define NOW_S INT64_C(1700000000) /* 2023-11-14 */

static void test_three_forms_and_no_other(void **state)
{
    static const struct {
        const char *text;
        int64_t want_s;
    } good[] = {
        {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
        {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
        {"Sun Nov  6 08:49:37 1994", 784111777},
        {"Sun Nov 16 08:49:37 1994", 784975777},
        {"THU, 18 aUG 2050 02:01:18 gMT", 2544400878},
        {"Mon, 06 Nov 1994 08:49:37 GMT", 784111777}, /* it was a Sunday */
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
        {"Wed, 31 Dec 1969 23:59:59 GMT", -1},
        {"Tue, 19 Jan 2038 14:14:08 GMT", 2147523248},
        {"Sat, 20 Nov 2286 17:46:40 GMT", 10000000000},
        {"Tue, 29 Feb 2000 00:00:00 GMT", 951782400},
        {"Sat, 31 Dec 2016 23:59:60 GMT", 1483228800},
        {"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799},
    };
    static const char *const bad[] = {
        "",
        "0",
        "-1",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun 06 Nov 1994 08:49:37 GMT",
        "Sun,  06 Nov 1994 08:49:37 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08.49.37 GMT",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMTx",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 30 Feb 2000 08:49:37 GMT",
        "Sun, 29 Feb 1900 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, +6 Nov 1994 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sun Nov 06 08:49:37 1994 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
    };
    int64_t at_s;

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        at_s = -7;
        if (!http_date_parse(slice_of(good[i].text), NOW_S, &at_s) || at_s != good[i].want_s)
            fail_msg("%s: %lld", good[i].text, (long long)at_s);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        if (http_date_parse(slice_of(bad[i]), NOW_S, &at_s))
            fail_msg("accepted: %s", bad[i]);
}

static int64_t two_digits(const char *year)
{
    char text[] = "Tuesday, 14-Nov-xx 22:13:20 GMT"; /* the time of NOW_S */
    int64_t at_s = 0;

    memcpy(text + 16, year, 2);
    assert_true(http_date_parse(slice_of(text), NOW_S, &at_s));
    return 1970 + at_s / 31556952;
}

static void test_two_digits_mean_at_most_fifty_years_ahead(void **state)
{
    int64_t at_s = 0;

    (void)state;
    assert_int_equal(two_digits("23"), 2023);
    assert_int_equal(two_digits("73"), 2073); /* fifty years to the second */
    assert_int_equal(two_digits("74"), 1974);
    assert_int_equal(two_digits("99"), 1999);
    assert_true(http_date_parse(SLICE("Tuesday, 14-Nov-73 22:13:21 GMT"), NOW_S, &at_s));
    assert_int_equal(at_s, 122163201); /* one second more: 1973 */
}

static void test_formatting(void **state)
{
    static const struct {
        int64_t at_s;
        const char *want;
    } time[] = {
        {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"}, {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {-1, "Wed, 31 Dec 1969 23:59:59 GMT"},        {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
        {INT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"}, {INT64_MIN, "Sat, 01 Jan 0000 00:00:00 GMT"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(time); i++) {
        char text[HTTP_DATE_BYTES];

        http_date_format(time[i].at_s, text);
        assert_text((struct slice){text, sizeof(text)}, time[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_three_forms_and_no_other),
        TEST(test_two_digits_mean_at_most_fifty_years_ahead),
        TEST(test_formatting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
