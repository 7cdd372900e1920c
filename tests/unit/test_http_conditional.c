/* Unit tests of entity tags and preconditions (RFC 9110 sections 8.8.3 and 13). */
#include "http_text.h"

#include "http/conditional.h"

#define NOW_S INT64_C(1700000000)
#define LM    "Sun, 06 Nov 1994 08:49:37 GMT"
#define LM_S  INT64_C(784111777)

static void test_equality_of_tags(void **state)
{
    static const struct {
        const char *a, *b;
        bool weak, strong;
    } pair[] = {
        {"\"1\"", "\"1\"", true, true},
        {"W/\"1\"", "W/\"1\"", true, false},
        {"W/\"1\"", "\"1\"", true, false},
        {"W/\"1\"", "W/\"2\"", false, false},
        {"\"1\"", "\"2\"", false, false},
        {"\"\"", "\"\"", true, true},
        {"\"a\"", "\"A\"", false, false},
        {"\"\xff\\\"", "\"\xff\\\"", true, true},
        {"1", "1", true, false},
        {"1", "\"1\"", false, false},
        {"w/\"1\"", "w/\"1\"", true, false},
        {"w/\"1\"", "\"1\"", false, false},
        {"W\"1\"", "\"1\"", false, false},
        {"W/1", "W/1", true, false},
        {"W/1", "1", false, false},
        {"\"a b\"", "\"a b\"", true, false},
        {"W/\"a b\"", "\"a b\"", false, false},
        {"\"", "\"", true, false},
        {"", "", false, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(pair); i++) {
        struct slice a = slice_of(pair[i].a), b = slice_of(pair[i].b);

        if (etag_equal_weak(a, b) != pair[i].weak || etag_equal_weak(b, a) != pair[i].weak ||
            etag_equal_strong(a, b) != pair[i].strong || etag_equal_strong(b, a) != pair[i].strong)
            fail_msg("%s and %s", pair[i].a, pair[i].b);
    }
    assert_true(etag_is_weak(SLICE("W/\"1\"")));
    assert_false(etag_is_weak(SLICE("\"1\"")));
    assert_false(etag_is_weak(SLICE("w/\"1\"")));
    assert_true(etag_is_strong(SLICE("\"1\"")));
    assert_false(etag_is_strong(SLICE("W/\"1\"")));
    assert_false(etag_is_strong(SLICE("\"1")));
    assert_false(etag_is_strong(SLICE("\"a\"b\"")));
    assert_false(etag_is_strong(SLICE("\"")));
    assert_false(etag_is_strong((struct slice){0}));
}

#define NONE  HTTP_CONDITION_NONE
#define SAME  HTTP_CONDITION_NOT_MODIFIED
#define OTHER HTTP_CONDITION_MODIFIED

static void test_conditions(void **state)
{
    static const struct {
        const char *request, *etag;
        enum http_condition want;
    } c[] = {
        {"", "\"a\"", NONE},
        {"if-none-match: \"a\"", "\"a\"", SAME},
        {"if-none-match: W/\"a\"", "\"a\"", SAME},
        {"if-none-match: \"a\"", "W/\"a\"", SAME},
        {"if-none-match: \"b\"", "\"a\"", OTHER},
        {"if-none-match: \"a\", \"b\",\"c\"", "\"a\"", SAME},
        {"if-none-match: \"a\", \"b\",\"c\"", "\"b\"", SAME},
        {"if-none-match: \"a\" ,, \"b\"\t,\"c\"", "\"c\"", SAME},
        {"if-none-match: \"a\"|if-none-match: \"b\"", "\"b\"", SAME},
        {"if-none-match: \"a,b\", \"c\"", "\"a,b\"", SAME},
        {"if-none-match: \"a,b\"", "\"a\"", OTHER},
        {"if-none-match: \"a\\\", \"b\"", "\"b\"", SAME}, /* a backslash escapes nothing here */
        {"if-none-match: \"a\\\", \"b\"", "\"a\\\"", SAME},
        {"if-none-match: *", "\"a\"", SAME},
        {"if-none-match: *", "", SAME},
        {"if-none-match: \"*\"", "\"a\"", OTHER},
        {"if-none-match:", "", OTHER},
        {"if-none-match: \"a\"", "", OTHER},
        {"if-none-match: abc", "abc", SAME},
        {"if-none-match: abc", "\"abc\"", OTHER},
        {"if-none-match: \"abc\"", "abc", OTHER},
        {"if-none-match: a,b", "a,b", SAME},
        {"if-none-match: w/\"a\"", "w/\"a\"", SAME},
        {"if-none-match: W\\\"a\"", "W\\\"a\"", SAME},
        {"if-none-match: \"b\"|if-modified-since: " LM, "\"a\"", OTHER},
        {"if-none-match: \"a\"|if-modified-since: Sun, 06 Nov 1994 08:49:36 GMT", "\"a\"", SAME},
        {"if-modified-since: " LM, "\"a\"", SAME},
        {"if-modified-since: Sun, 06 Nov 1994 08:49:38 GMT", "", SAME},
        {"if-modified-since: Sun, 06 Nov 1994 08:49:36 GMT", "", OTHER},
        {"if-modified-since: Sunday, 06-Nov-94 08:49:37 GMT", "", SAME},
        {"if-modified-since: Sun Nov  6 08:49:37 1994", "", SAME},
        {"if-modified-since: yesterday", "", NONE},
        {"if-modified-since:", "", NONE},
        {"if-modified-since: " LM "|if-modified-since: " LM, "", NONE},
        {"if-modified-since: " LM ", " LM, "", NONE},
        {"if-match: \"b\"", "\"a\"", NONE}, /* the origin's */
    };

    (void)state;
    for (size_t i = 0; i < COUNT(c); i++) {
        struct http_fields f = fields_of(c[i].request);
        const struct http_validators v = {.etag = slice_of(c[i].etag),
                                          .last_modified = SLICE(LM),
                                          .last_modified_s = LM_S,
                                          .date_s = NOW_S};

        if (http_condition_evaluate(&f, &v, NOW_S) != c[i].want)
            fail_msg("%s against %s", c[i].request, c[i].etag);
    }
}

static void test_date_stands_in_for_last_modified(void **state)
{
    struct http_fields f = fields_of("if-modified-since: " LM);
    struct http_validators v = {.last_modified_s = -1, .date_s = LM_S};

    (void)state;
    assert_int_equal(http_condition_evaluate(&f, &v, NOW_S), SAME);
    v.date_s = LM_S + 1;
    assert_int_equal(http_condition_evaluate(&f, &v, NOW_S), OTHER);
    v.date_s = LM_S;
    v.last_modified = SLICE("yesterday");
    assert_int_equal(http_condition_evaluate(&f, &v, NOW_S), OTHER);
}

static void test_if_range(void **state)
{
    static const struct {
        const char *request, *etag;
        int64_t date_s;
        bool want;
    } c[] = {
        {"", "\"a\"", NOW_S, true},
        {"if-range: \"a\"", "\"a\"", NOW_S, true},
        {"if-range: \"b\"", "\"a\"", NOW_S, false},
        {"if-range: W/\"a\"", "W/\"a\"", NOW_S, false},
        {"if-range: \"a\"", "W/\"a\"", NOW_S, false},
        {"if-range: W/\"a\"", "\"a\"", NOW_S, false},
        {"if-range: \"a\"", "", NOW_S, false},
        {"if-range: a", "a", NOW_S, false},
        {"if-range: \"a\", \"b\"", "\"a\"", NOW_S, false},
        {"if-range: *", "\"a\"", NOW_S, false},
        {"if-range:", "", NOW_S, false},
        {"if-range: \"a\"|if-range: \"a\"", "\"a\"", NOW_S, false},
        {"if-range: " LM, "\"a\"", NOW_S, true},
        {"if-range: " LM, "", LM_S + 1, true},
        {"if-range: " LM, "", LM_S, false}, /* not strong */
        {"if-range: " LM, "", LM_S - 5, false},
        {"if-range: Sun, 06 Nov 1994 08:49:38 GMT", "", NOW_S, false},
        {"if-range: Sun, 06 Nov 1994 08:49:36 GMT", "", NOW_S, false},
        {"if-range: yesterday", "", NOW_S, false},
    };
    struct http_fields since = fields_of("if-range: Wed, 31 Dec 1969 23:59:59 GMT");
    struct http_validators none = {.last_modified_s = -1, .date_s = NOW_S};

    (void)state;
    for (size_t i = 0; i < COUNT(c); i++) {
        struct http_fields f = fields_of(c[i].request);
        const struct http_validators v = {.etag = slice_of(c[i].etag),
                                          .last_modified = SLICE(LM),
                                          .last_modified_s = LM_S,
                                          .date_s = c[i].date_s};

        if (http_if_range_holds(&f, &v, NOW_S) != c[i].want)
            fail_msg("%zu: %s", i, c[i].request);
    }
    assert_false(http_if_range_holds(&since, &none, NOW_S)); /* -1 is no date */
}

static void test_conditions_for_the_origin(void **state)
{
    struct http_fields a = fields_of("if-match: *"), b = fields_of("if-unmodified-since: " LM),
                       c = fields_of("if-none-match: *|if-modified-since: " LM "|if-range: \"a\"");

    (void)state;
    assert_true(http_has_origin_condition(&a));
    assert_true(http_has_origin_condition(&b));
    assert_false(http_has_origin_condition(&c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_equality_of_tags),
        TEST(test_conditions),
        TEST(test_date_stands_in_for_last_modified),
        TEST(test_if_range),
        TEST(test_conditions_for_the_origin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
