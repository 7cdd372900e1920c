/* Unit tests of our member of Cache-Status (RFC 9211). */
#include "http_text.h"

#include "http/cache_status.h"
#include "http/sfield.h"

static struct slice format(struct cache_status s)
{
    static char text[CACHE_STATUS_BYTES];

    return (struct slice){text, cache_status_format(&s, text)};
}

static void test_hits_and_forwards(void **state)
{
    const struct slice name = SLICE("selvage");

    (void)state;
    assert_text(format((struct cache_status){.name = name, .ttl_s = CACHE_STATUS_NO_TTL}),
                "selvage; hit");
    assert_text(format((struct cache_status){.name = name, .ttl_s = 376}), "selvage; hit; ttl=376");
    assert_text(format((struct cache_status){.name = name, .ttl_s = -5}), "selvage; hit; ttl=-5");
    assert_text(
        format((struct cache_status){
            .name = name, .fwd = FWD_URI_MISS, .ttl_s = 60, .stored = true, .collapsed = true}),
        "selvage; fwd=uri-miss; ttl=60; stored; collapsed");
    assert_text(format((struct cache_status){.name = name,
                                             .fwd = FWD_VARY_MISS,
                                             .ttl_s = 60,
                                             .stored = true,
                                             .waited_in_vain = true}),
                "selvage; fwd=vary-miss; ttl=60; stored; collapsed=?0");
    assert_text(format((struct cache_status){.name = name,
                                             .fwd = FWD_STALE,
                                             .fwd_status = 503,
                                             .ttl_s = CACHE_STATUS_NO_TTL,
                                             .detail = SLICE("origin-connect")}),
                "selvage; fwd=stale; fwd-status=503; detail=origin-connect");
}

static void test_a_hit_says_nothing_of_forwarding(void **state)
{
    (void)state;
    assert_text(
        format((struct cache_status){
            .name = SLICE("a"), .fwd_status = 200, .ttl_s = 0, .stored = true, .collapsed = true}),
        "a; hit; ttl=0");
    assert_text(format((struct cache_status){
                    .name = SLICE("a"), .ttl_s = CACHE_STATUS_NO_TTL, .waited_in_vain = true}),
                "a; hit");
}

static void test_each_reason_has_the_name_of_the_rfc(void **state)
{
    static const char *const want[] = {"hit",  "bypass",  "method", "uri-miss", "vary-miss",
                                       "miss", "request", "stale",  "partial"};

    (void)state;
    for (unsigned i = 0; i < COUNT(want); i++)
        assert_string_equal(cache_status_fwd_name(i), want[i]);
}

static void test_what_is_no_token_is_quoted(void **state)
{
    static const struct {
        const char *name, *want;
    } cache[] = {
        {"edge-1.example/a:b", "edge-1.example/a:b; hit"},
        {"*", "*; hit"},
        {"*a", "*a; hit"},
        {"1a", "\"1a\"; hit"},
        {"", "\"\"; hit"},
        {"a b", "\"a b\"; hit"},
        {"a\"b\\", "\"a\\\"b\\\\\"; hit"},
        {"\xc3\xbc\n", "\"???\"; hit"},
        {"a,b;c", "\"a,b;c\"; hit"},
        {"[a", "\"[a\"; hit"},
        {"{a", "\"{a\"; hit"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cache); i++)
        assert_text(format((struct cache_status){.name = slice_of(cache[i].name),
                                                 .ttl_s = CACHE_STATUS_NO_TTL}),
                    cache[i].want);
}

/* Read with the name as a key's value, since we read Dictionaries only. */
static void assert_is_well_formed(struct slice text)
{
    char field[CACHE_STATUS_BYTES + 2] = "k=";
    struct slice rest = {field, text.n + 2};
    struct sfield_member m;
    bool bad = false;

    memcpy(field + 2, text.p, text.n);
    assert_true(sfield_dictionary_next(&rest, &m, &bad));
    assert_false(sfield_dictionary_next(&rest, &m, &bad));
    assert_false(bad);
}

static void test_what_does_not_fit_is_cut(void **state)
{
    static const char fill[] = {'a', '"', '\\', ' '};
    char longer[600];

    (void)state;
    for (size_t i = 0; i < COUNT(fill); i++)
        for (size_t n = 0; n < sizeof(longer); n += 7) {
            struct cache_status s = {
                .name = {longer, n},
                .fwd = FWD_VARY_MISS,
                .fwd_status = INT32_MIN,
                .ttl_s = INT64_MIN + 1,
                .stored = true,
                .waited_in_vain = true,
                .detail = {longer, n},
            };
            struct slice text;

            memset(longer, fill[i], sizeof(longer));
            text = format(s);
            assert_true(text.n <= CACHE_STATUS_BYTES);
            assert_is_well_formed(text);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_hits_and_forwards),
        TEST(test_a_hit_says_nothing_of_forwarding),
        TEST(test_each_reason_has_the_name_of_the_rfc),
        TEST(test_what_is_no_token_is_quoted),
        TEST(test_what_does_not_fit_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
