/* Unit tests of which request fields an origin gets to see. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "site/site.h"

static const struct site usual, lenient = {.underscores = true};

/* One of each kind, and the first and last of the table. */
static const char *const dropped[] = {
    "base-url",
    "cf-connecting-ip",
    "fastly-client-ip",
    "forwarded",
    "front-end-https",
    "proxy",
    "request-uri",
    "selvage-",
    "selvage-anything",
    "true-client-ip",
    "x-backend-host",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-anything",
    "x-host",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-invoke-path",
    "x-method-override",
    "x-middleware-subrequest",
    "x-original-host",
    "x-original-uri",
    "x-original-url",
    "x-originating-ip",
    "x-override-url",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-request-id",
    "x-rewrite-url",
    "x-scheme",
    "x-url-scheme",
};

static void test_what_is_no_part_of_the_key_is_dropped(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++)
        if (site_field_goes_upstream(&usual, slice_of(dropped[i]), false) ||
            site_field_goes_upstream(&lenient, slice_of(dropped[i]), false))
            fail_msg("%s is let through", dropped[i]);
}

static void test_an_underscore_is_no_way_around_it(void **state)
{
    char name[64];

    (void)state;
    for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++) {
        size_t n = 0;

        for (; dropped[i][n] != '\0'; n++)
            name[n] = dropped[i][n] == '-' ? '_' : dropped[i][n];
        if (site_field_goes_upstream(&lenient, (struct slice){name, n}, false))
            fail_msg("%s is let through with '_'", dropped[i]);
    }
    assert_false(site_field_goes_upstream(&lenient, SLICE("x-forwarded_for"), false));
}

/* A POST that says PUT is in no key; what says who asks, or for which URL, has no business there
 * either. */
static void test_a_method_may_be_named_where_nothing_is_stored(void **state)
{
    static const char *const overrides[] = {"x-http-method", "x-http-method-override",
                                            "x-method-override"};
    const struct site strict = {.strict_fields = true};

    (void)state;
    for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++) {
        bool want = false;

        for (size_t k = 0; k < sizeof(overrides) / sizeof(overrides[0]); k++)
            want |= slice_eq(slice_of(dropped[i]), slice_of(overrides[k]));
        if (site_field_goes_upstream(&usual, slice_of(dropped[i]), true) != want ||
            site_field_goes_upstream(&strict, slice_of(dropped[i]), true))
            fail_msg("%s", dropped[i]);
    }
}

static void test_all_else_goes_upstream(void **state)
{
    static const char *const kept[] = {
        "accept",
        "authorization",
        "a",
        "b",
        "base-ur",
        "base-urls",
        "content-type",
        "cookie",
        "forward",
        "forwarded-for",
        "prox",
        "proxy-x",
        "selvage",
        "x-forwarded",
        "x-hosts",
        "x-http-method-o",
        "x-invoke",
        "x-real-ip2",
        "x-unknown",
        "x-url-schemes",
        "x-url-schem",
        "zz",
        "",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        if (!site_field_goes_upstream(&usual, slice_of(kept[i]), false))
            fail_msg("%s is dropped", kept[i]);
}

static void test_names_with_an_underscore_need_the_sites_leave(void **state)
{
    (void)state;
    assert_false(site_field_goes_upstream(&usual, SLICE("my_field"), false));
    assert_false(site_field_goes_upstream(&usual, SLICE("_"), false));
    assert_true(site_field_goes_upstream(&lenient, SLICE("my_field"), false));
    assert_true(site_field_goes_upstream(&usual, SLICE("my-field"), false));
}

static void test_a_strict_site_lets_only_the_standards_through(void **state)
{
    static const char *const also[] = {"x-app"};
    static const char *const kept[] = {"accept",
                                       "accept-language",
                                       "access-control-request-method",
                                       "authorization",
                                       "content-type",
                                       "cookie",
                                       "if-none-match",
                                       "range",
                                       "sec-fetch-site",
                                       "user-agent",
                                       "via",
                                       "x-app"};
    static const char *const gone[] = {
        "x-unknown",     "accep",   "acceptable", "x-app2", "x-forwarded-for",
        "x-geo-country", "viaduct", "a",          "zz",     ""};
    struct site s = {.strict_fields = true, .fields_also = {also, 1}};

    (void)state;
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        if (!site_field_goes_upstream(&s, slice_of(kept[i]), false))
            fail_msg("%s is dropped", kept[i]);
    for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
        if (site_field_goes_upstream(&s, slice_of(gone[i]), false))
            fail_msg("%s is let through", gone[i]);
    s.sends_country = true; /* then the key has it, and the client's own was replaced */
    assert_true(site_field_goes_upstream(&s, SLICE("x-geo-country"), false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_no_part_of_the_key_is_dropped),
        cmocka_unit_test(test_an_underscore_is_no_way_around_it),
        cmocka_unit_test(test_a_method_may_be_named_where_nothing_is_stored),
        cmocka_unit_test(test_all_else_goes_upstream),
        cmocka_unit_test(test_names_with_an_underscore_need_the_sites_leave),
        cmocka_unit_test(test_a_strict_site_lets_only_the_standards_through),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
