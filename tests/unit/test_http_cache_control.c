/* Unit tests of Cache-Control (RFC 9111 section 5.2) and CDN-Cache-Control (RFC 9213). */
#include "http_text.h"

#include "http/cache_control.h"

static struct cache_control parse(const char *fields)
{
    struct http_fields f = fields_of(fields);
    struct cache_control c;

    memset(&c, 0x55, sizeof(c));
    cache_control_parse(&f, &c);
    return c;
}

static bool targeted(const char *fields, struct cache_control *c)
{
    struct http_fields f = fields_of(fields);

    memset(c, 0x55, sizeof(*c));
    return cache_control_parse_targeted(&f, SLICE("cdn-cache-control"), c);
}

static void test_seconds(void **state)
{
    static const struct {
        const char *field;
        int64_t max_age_s;
    } response[] = {
        {"cache-control: max-age=3600", 3600},
        {"cache-control: MaX-aGe=3600", 3600},
        {"cache-control: max-age=003600", 3600},
        {"cache-control: max-age=0", 0},
        {"cache-control: max-age=\"3600\"", 3600},
        {"cache-control: max-age=2147483647", 2147483647},
        {"cache-control: max-age=2147483648", CC_MAX_S},
        {"cache-control: max-age=2147483649", CC_MAX_S},
        {"cache-control: max-age=99999999999", CC_MAX_S},
        {"cache-control: max-age=99999999999999999999999999999999", CC_MAX_S},
        {"cache-control: foobar, max-age=5", 5},
        {"cache-control: foo=bar, , max-age=5 ,", 5},
        {"cache-control: x=\"max-age=3600\", max-age=1", 1},
        {"cache-control: max-age=1, x=\"max-age=3600\"", 1},
        {"cache-control: x=\"a\\\", max-age=3600\", max-age=1", 1},
        {"cache-control: max-age=1, max-age=3600", 1},
        {"cache-control: max-age=3600|cache-control: max-age=1", 3600},
        {"cache-control: max-age=x, max-age=1", CC_INVALID},
        {"cache-control: no-transform|cache-control: max-age=7", 7},
        {"cache-control: max-age=-3600", CC_INVALID},
        {"cache-control: max-age='3600'", CC_INVALID},
        {"cache-control: max-age=3600.0", CC_INVALID},
        {"cache-control: max-age=3600.5", CC_INVALID},
        {"cache-control: max-age=a3600", CC_INVALID},
        {"cache-control: max-age=3600a", CC_INVALID},
        {"cache-control: max-age=+1", CC_INVALID},
        {"cache-control: max-age", CC_INVALID},
        {"cache-control: max-age=", CC_INVALID},
        {"cache-control: max-age=\"\"", CC_INVALID},
        {"cache-control: max-age=\"1", CC_ABSENT}, /* bad: nothing of it could be read */
        {"cache-control: max-age =3600", CC_INVALID},
        {"cache-control: max-age= 3600", CC_INVALID},
        {"cache-control: max-age=1 2", CC_INVALID},
        {"cache-control: max-age=\" 1\"", CC_INVALID},
        {"cache-control: xmax-age=1", CC_ABSENT},
        {"cache-control:", CC_ABSENT},
        {"pragma: max-age=1", CC_ABSENT},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(response); i++) {
        struct cache_control c = parse(response[i].field);

        if (c.max_age_s != response[i].max_age_s)
            fail_msg("%s: %lld", response[i].field, (long long)c.max_age_s);
    }
}

static void test_each_directive_has_its_place(void **state)
{
    struct cache_control c = parse("cache-control: s-maxage=1, stale-while-revalidate=2, "
                                   "stale-if-error=3, max-stale=4, min-fresh=5, max-age=6");

    (void)state;
    assert_int_equal(c.s_maxage_s, 1);
    assert_int_equal(c.stale_while_revalidate_s, 2);
    assert_int_equal(c.stale_if_error_s, 3);
    assert_int_equal(c.max_stale_s, 4);
    assert_int_equal(c.min_fresh_s, 5);
    assert_int_equal(c.max_age_s, 6);
    assert_true(c.present && !c.bad && !c.no_store && !c.no_cache && !c.is_private);
    assert_false(c.is_public || c.must_revalidate || c.proxy_revalidate || c.must_understand ||
                 c.immutable || c.no_transform || c.only_if_cached || c.max_stale_any);
    assert_true(parse("cache-control: No-StOrE").no_store);
    assert_true(parse("cache-control: no-store=x").no_store);
    assert_true(parse("cache-control: No-CaChE").no_cache);
    assert_true(parse("cache-control: private").is_private);
    assert_true(parse("cache-control: public").is_public);
    assert_true(parse("cache-control: must-revalidate").must_revalidate);
    assert_true(parse("cache-control: proxy-revalidate").proxy_revalidate);
    assert_true(parse("cache-control: must-understand").must_understand);
    assert_true(parse("cache-control: immutable=1").immutable);
    assert_true(parse("cache-control: no-transform").no_transform);
    assert_true(parse("cache-control: only-if-cached").only_if_cached);
    assert_false(parse("cache-control: nothing-to-see-here").no_store);
    assert_false(parse("x: y").present);
    assert_true(parse("cache-control:").present);
    assert_int_equal(parse("x: y").min_fresh_s, CC_ABSENT);
}

static void test_max_stale_without_an_argument(void **state)
{
    struct cache_control c = parse("cache-control: max-stale");

    (void)state;
    assert_true(c.max_stale_any);
    assert_int_equal(c.max_stale_s, CC_ABSENT);
    c = parse("cache-control: max-stale, max-stale=5");
    assert_true(c.max_stale_any);
    assert_int_equal(c.max_stale_s, CC_ABSENT);
    c = parse("cache-control: max-stale=");
    assert_false(c.max_stale_any);
    assert_int_equal(c.max_stale_s, CC_INVALID);
}

static void test_lists_of_fields(void **state)
{
    static const struct {
        const char *field, *fields;
        bool is_whole;
    } response[] = {
        {"cache-control: no-cache=\"A, b\"", "A, b", false},
        {"cache-control: no-cache=a", "a", false},
        {"cache-control: NO-CACHE=\"a\"", "a", false},
        {"cache-control: no-cache=\"\"", "", true},
        {"cache-control: no-cache=", "", true},
        {"cache-control: no-cache =a", "", true},
        {"cache-control: no-cache= a", "", true},
        {"cache-control: no-cache=\"a\"x", "", true},
        {"cache-control: no-cache=\"a\\\"b\"", "", true},
        {"cache-control: no-cache=\"a\", no-cache", "", true},
        {"cache-control: no-cache, no-cache=\"a\"", "", true},
        {"cache-control: no-cache=\"a\"|cache-control: no-cache=\"b\"", "", true},
    };
    struct cache_control c;

    (void)state;
    for (size_t i = 0; i < COUNT(response); i++) {
        c = parse(response[i].field);
        if (c.no_cache != response[i].is_whole)
            fail_msg("%s", response[i].field);
        assert_text(c.no_cache_fields, response[i].fields);
        assert_int_equal(c.no_cache_fields.p == NULL, response[i].is_whole);
        assert_false(c.is_private);
    }
    c = parse("cache-control: private=\"Set-Cookie\"");
    assert_false(c.is_private);
    assert_text(c.private_fields, "Set-Cookie");
}

static void test_an_open_quote_ends_the_reading(void **state)
{
    struct cache_control c = parse("cache-control: max-age=1, x=\"y, s-maxage=2|"
                                   "cache-control: min-fresh=3");

    (void)state;
    assert_true(c.bad);
    assert_int_equal(c.max_age_s, 1);
    assert_int_equal(c.s_maxage_s, CC_ABSENT);
    assert_int_equal(c.min_fresh_s, CC_ABSENT);
    c = parse("cache-control: max-age=1|cache-control: no-cache=\"a");
    assert_true(c.bad);
    assert_null(c.no_cache_fields.p);
}

static void test_a_targeted_field_is_read_strictly(void **state)
{
    static const char *const refused[] = {
        "x: y",
        "cdn-cache-control:",
        "cdn-cache-control: max-age=10000, &&&&&",
        "cdn-cache-control: MaX-aGe=3600",
        "cdn-cache-control: max-age =100",
        "cdn-cache-control: max-age= 100",
        "cdn-cache-control: max-age=100,",
        "cdn-cache-control: max-age='100'",
        "cdn-cache-control: max-age=1000000000000000",
        "cdn-cache-control: max-age=1|cdn-cache-control:",
        "cdn-cache-control:|cdn-cache-control: max-age=1",
        "cdn-cache-control: no-cache=\"a|cdn-cache-control: b\"",
        "cdn-cache-control: max-age=1|cdn-cache-control: No-Store",
    };
    struct cache_control c;

    (void)state;
    for (size_t i = 0; i < COUNT(refused); i++) {
        if (targeted(refused[i], &c))
            fail_msg("accepted: %s", refused[i]);
        assert_false(c.present);
        assert_int_equal(c.max_age_s, CC_ABSENT);
    }
}

static void test_members_of_a_targeted_field(void **state)
{
    static const struct {
        const char *field;
        int64_t max_age_s;
    } response[] = {
        {"cdn-cache-control: max-age=3600", 3600},
        {"cdn-cache-control: max-age=3600;x=y", 3600},
        {"cdn-cache-control: foobar, max-age=3600", 3600},
        {"cdn-cache-control: foobar", CC_ABSENT},
        {"cdn-cache-control: max-age=1, max-age=2", 2},
        {"cdn-cache-control: max-age=1|cdn-cache-control: max-age=2", 2},
        {"cdn-cache-control: max-age=\"x\", max-age=2", 2},
        {"cdn-cache-control: max-age=2, max-age", CC_INVALID},
        {"cdn-cache-control: max-age=2147483648", CC_MAX_S},
        {"cdn-cache-control: max-age=99999999999", CC_MAX_S},
        {"cdn-cache-control: max-age=-1", CC_INVALID},
        {"cdn-cache-control: max-age=\"10000\"", CC_INVALID},
        {"cdn-cache-control: max-age=3600.5", CC_INVALID},
        {"cdn-cache-control: max-age=(1)", CC_INVALID},
        {"cdn-cache-control: max-age=?1", CC_INVALID},
        {"cdn-cache-control: max-age=@7", CC_INVALID},
        {"cache-control: no-store|cdn-cache-control: max-age=5", 5},
    };
    struct cache_control c;

    (void)state;
    for (size_t i = 0; i < COUNT(response); i++) {
        assert_true(targeted(response[i].field, &c));
        if (c.max_age_s != response[i].max_age_s)
            fail_msg("%s: %lld", response[i].field, (long long)c.max_age_s);
        assert_true(c.present);
        assert_false(c.bad || c.no_store);
    }
}

/* A wrong type never allows more than silence would. */
static void test_flags_of_a_targeted_field(void **state)
{
    struct cache_control c;

    (void)state;
    assert_true(targeted("cdn-cache-control: no-store, public, immutable, must-understand", &c));
    assert_true(c.no_store && c.is_public && c.immutable && c.must_understand);
    assert_true(targeted("cdn-cache-control: no-store=1, public=1, immutable=1, "
                         "must-understand=\"x\", private=1, no-cache=(a)",
                         &c));
    assert_true(c.no_store && c.is_private && c.no_cache);
    assert_false(c.is_public || c.immutable || c.must_understand);
    assert_true(targeted("cdn-cache-control: no-store, no-store=?0, private=?0", &c));
    assert_false(c.no_store || c.is_private);
    assert_true(targeted("cdn-cache-control: no-cache, no-cache=\"a, b\", private=c", &c));
    assert_false(c.no_cache || c.is_private);
    assert_text(c.no_cache_fields, "a, b");
    assert_text(c.private_fields, "c");
    assert_true(targeted("cdn-cache-control: no-cache=\"a\", no-cache, private=\"\"", &c));
    assert_true(c.no_cache && c.is_private && c.no_cache_fields.p == NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_seconds),
        TEST(test_each_directive_has_its_place),
        TEST(test_max_stale_without_an_argument),
        TEST(test_lists_of_fields),
        TEST(test_an_open_quote_ends_the_reading),
        TEST(test_a_targeted_field_is_read_strictly),
        TEST(test_members_of_a_targeted_field),
        TEST(test_flags_of_a_targeted_field),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
