/* Unit tests of which rule speaks for a request, a response, a cookie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "site/site.h"

#define WORDS(...)                                                                                 \
    {                                                                                              \
        .item = (const char *const[]){__VA_ARGS__},                                                \
        .count = sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *)                 \
    }

static const struct site_rule rules[] = {
    {.line = 1, .path = "/api/*", .methods = WORDS("POST", "M-SEARCH")},
    {.line = 2, .path = "/api/*", .types = WORDS("image/*", "text/html")},
    {.line = 3, .path = "/api/*", .methods = WORDS("GET")},
    {.line = 4, .path = "/exact"},
    {.line = 5, .path = "*", .types = WORDS("application/json")},
    {.line = 6, .path = "*", .methods = WORDS("HEAD", "PUT")},
};
static const struct site site = {.rules = rules, .rules_count = sizeof(rules) / sizeof(rules[0])};

static unsigned line_of(const struct site_rule *r)
{
    return r == NULL ? 0 : r->line;
}

static void test_the_first_rule_that_matches_the_request_speaks(void **state)
{
    static const struct {
        const char *method, *target;
        unsigned want;
    } request[] = {
        {"POST", "/api/x", 1},    {"M-SEARCH", "/api/", 1},
        {"post", "/api/x", 0}, /* methods have case */
        {"GET", "/api/x", 3},  /* not 2: it waits for the response */
        {"HEAD", "/api/x", 3}, /* answered from what GET stores */
        {"DELETE", "/api/x", 0},  {"DELETE", "/exact", 4},
        {"GET", "/exact?q=1", 4}, /* the path alone counts */
        {"GET", "/exact/", 0},    {"HEAD", "/other", 6},
        {"GET", "/other", 0}, /* HEAD is no GET */
        {"PUT", "/x?/api/y", 6},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(request) / sizeof(request[0]); i++)
        assert_int_equal(line_of(site_rule_for_request(&site, slice_of(request[i].method),
                                                       slice_of(request[i].target))),
                         request[i].want);
}

static void test_a_path_written_in_another_way_is_the_same_to_a_rule(void **state)
{
    static const char *const target[] = {"/%65xact", "//exact", "/./exact", "/x/../exact",
                                         "/x/%2e%2E/exact?q"};
    static const struct site_rule odd[] = {{.line = 1, .path = "/%C3%BC"},
                                           {.line = 2, .path = "/.a"}};
    static const struct site odd_site = {.rules = odd, .rules_count = 2};

    (void)state;
    for (size_t i = 0; i < sizeof(target) / sizeof(target[0]); i++) {
        assert_int_equal(line_of(site_rule_for_request(&site, SLICE("GET"), slice_of(target[i]))),
                         4);
        assert_int_equal(
            line_of(site_rule_for_response(&site, SLICE("GET"), slice_of(target[i]), SLICE(""))),
            4);
    }
    assert_int_equal(line_of(site_rule_for_request(&odd_site, SLICE("GET"), SLICE("/\xc3\xbc"))),
                     1);
    assert_int_equal(line_of(site_rule_for_request(&odd_site, SLICE("GET"), SLICE("/%c3%bc"))), 1);
    assert_int_equal(line_of(site_rule_for_request(&odd_site, SLICE("GET"), SLICE("/.a"))), 2);
}

static void test_types_are_compared_without_case_and_parameters(void **state)
{
    static const struct {
        const char *target, *type;
        unsigned want;
    } response[] = {
        {"/api/x", "image/png", 2},
        {"/api/x", "IMAGE/PNG", 2},
        {"/api/x", "text/html; charset=utf-8", 2},
        {"/api/x", " Text/HTML ;charset=utf-8", 2},
        {"/api/x", "text/htmlx", 3},
        {"/api/x", "", 3},
        {"/x", "application/json", 5},
        {"/x", "application/json+x", 0},
        {"/x", "", 0},
        {"/exact", "application/json", 4},
    };
    static char long_type[5000];

    (void)state;
    for (size_t i = 0; i < sizeof(response) / sizeof(response[0]); i++)
        assert_int_equal(
            line_of(site_rule_for_response(&site, SLICE("GET"), slice_of(response[i].target),
                                           slice_of(response[i].type))),
            response[i].want);
    memset(long_type, 'x', sizeof(long_type));
    memcpy(long_type, "image/", 6);
    assert_int_equal(line_of(site_rule_for_response(&site, SLICE("GET"), SLICE("/api/x"),
                                                    (struct slice){long_type, sizeof(long_type)})),
                     3);
}

static void test_without_types_request_and_response_agree(void **state)
{
    static const char *const target[] = {"/exact", "/exact?x"};

    (void)state;
    for (size_t i = 0; i < 2; i++)
        assert_ptr_equal(
            site_rule_for_request(&site, SLICE("GET"), slice_of(target[i])),
            site_rule_for_response(&site, SLICE("GET"), slice_of(target[i]), SLICE("text/plain")));
}

static void test_a_site_without_rules_has_none(void **state)
{
    static const struct site bare;

    (void)state;
    assert_null(site_rule_for_request(&bare, SLICE("GET"), SLICE("/")));
    assert_null(site_rule_for_response(&bare, SLICE("GET"), SLICE("/"), SLICE("text/html")));
}

static void test_cookies_are_found_by_name_wherever_they_stand(void **state)
{
    const struct site_rule r = {.bypass_cookies = WORDS("sid", "wp_*")};
    static const struct {
        const char *cookie, *want; /* NULL: none of the rule's */
    } request[] = {
        {"sid=1", "sid"},
        {"a=1; sid=2", "sid"},
        {"a=1;sid=2", "sid"},
        {"a=1; wp_user=x; sid=1", "wp_user"},
        {"sid", "sid"},
        {" sid =1", "sid"},
        {"sid=", "sid"},
        {"a=sid", NULL},
        {"xsid=1; sidx=1; SID=1", NULL},
        {"a=\"; b", NULL},
        {"=sid", NULL},
        {";;", NULL},
        {"", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(request) / sizeof(request[0]); i++) {
        struct http_field f[] = {{SLICE("host"), SLICE("sid=1")},
                                 {SLICE("cookie"), slice_of(request[i].cookie)}};
        struct http_fields fields = {.item = f, .count = 2, .capacity = 2};
        struct slice which = {0};

        assert_int_equal(site_rule_bypasses(&r, &fields, &which), request[i].want != NULL);
        if (request[i].want != NULL)
            assert_true(slice_eq(which, slice_of(request[i].want)));
    }
}

static void test_every_cookie_field_is_looked_at(void **state)
{
    const struct site_rule r = {.bypass_cookies = WORDS("sid")}, none = {0};
    struct http_field f[] = {{SLICE("cookie"), SLICE("a=1")}, {SLICE("cookie"), SLICE("sid=1")}};
    struct http_fields fields = {.item = f, .count = 2, .capacity = 2};
    struct slice which;

    (void)state;
    assert_true(site_rule_bypasses(&r, &fields, &which));
    assert_false(site_rule_bypasses(&none, &fields, &which));
    fields.count = 1;
    assert_false(site_rule_bypasses(&r, &fields, &which));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_rule_that_matches_the_request_speaks),
        cmocka_unit_test(test_a_path_written_in_another_way_is_the_same_to_a_rule),
        cmocka_unit_test(test_types_are_compared_without_case_and_parameters),
        cmocka_unit_test(test_without_types_request_and_response_agree),
        cmocka_unit_test(test_a_site_without_rules_has_none),
        cmocka_unit_test(test_cookies_are_found_by_name_wherever_they_stand),
        cmocka_unit_test(test_every_cookie_field_is_looked_at),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
