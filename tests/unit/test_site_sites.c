/* Unit tests of finding the site of a host. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "site/site.h"

#define HOSTS(...)                                                                                 \
    {                                                                                              \
        .item = (const char *const[]){__VA_ARGS__},                                                \
        .count = sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *)                 \
    }

static const char *name_of(const struct sites *s, const char *host)
{
    const struct site *site = sites_find(s, slice_of(host));

    return site == NULL ? "none" : site->name;
}

static void test_exact_names_win_and_long_wildcards_come_first(void **state)
{
    const struct site list[] = {
        {.name = "short", .hosts = HOSTS("*.example.com")},
        {.name = "exact", .hosts = HOSTS("www.example.com", "example.com", "[2001:db8::1]")},
        {.name = "long", .hosts = HOSTS("*.cdn.example.com")},
    };
    static const struct {
        const char *host, *want;
    } look_up[] = {
        {"www.example.com", "exact"},
        {"example.com", "exact"},
        {"[2001:db8::1]", "exact"},
        {"a.example.com", "short"},
        {"a.b.example.com", "short"},
        {"cdn.example.com", "short"},
        {"a.cdn.example.com", "long"},
        {"a.b.cdn.example.com", "long"},
        {"www.example.com.evil", "none"},
        {"aexample.com", "none"},
        {".example.com", "none"},
        {"*.example.com", "short"}, /* a name like another: no pattern is looked up as such */
        {"com", "none"},
        {"", "none"},
    };
    struct sites *s = NULL;

    (void)state;
    assert_int_equal(sites_new(list, 3, &s), ERR_OK);
    for (size_t i = 0; i < sizeof(look_up) / sizeof(look_up[0]); i++)
        assert_string_equal(name_of(s, look_up[i].host), look_up[i].want);
    sites_free(s);
    sites_free(NULL);
}

static void test_no_sites_find_nothing(void **state)
{
    struct sites *s = NULL;

    (void)state;
    assert_int_equal(sites_new(NULL, 0, &s), ERR_OK);
    assert_null(sites_find(s, SLICE("www.example.com")));
    sites_free(s);
}

static void test_one_host_of_two_sites_is_refused(void **state)
{
    const struct site exact[] = {
        {.name = "a", .hosts = HOSTS("x.example", "b.example")},
        {.name = "b", .hosts = HOSTS("a.example", "x.example")},
    };
    const struct site wild[] = {
        {.name = "a", .hosts = HOSTS("*.x.example")},
        {.name = "b", .hosts = HOSTS("*.x.example")},
    };
    const struct site both[] = {
        {.name = "a", .hosts = HOSTS("x.example")},
        {.name = "b", .hosts = HOSTS("*.x.example", "*.example")},
    };
    struct sites *s = NULL;

    (void)state;
    assert_int_equal(sites_new(exact, 2, &s), ERR_INVALID);
    assert_int_equal(sites_new(wild, 2, &s), ERR_INVALID);
    assert_null(s);
    assert_int_equal(sites_new(both, 2, &s), ERR_OK);
    sites_free(s);
}

static void test_each_of_many_hosts_is_found(void **state)
{
    enum { COUNT = 1000 };
    static char text[COUNT][32];
    static const char *host[COUNT];
    static struct site list[COUNT];
    struct sites *s = NULL;

    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(text[i], sizeof(text[i]), "h%zu.example", i * 7919 % COUNT);
        host[i] = text[i];
        list[i] = (struct site){.name = text[i], .hosts = {&host[i], 1}};
    }
    assert_int_equal(sites_new(list, COUNT, &s), ERR_OK);
    for (size_t i = 0; i < COUNT; i++)
        assert_ptr_equal(sites_find(s, slice_of(text[i])), &list[i]);
    sites_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_names_win_and_long_wildcards_come_first),
        cmocka_unit_test(test_no_sites_find_nothing),
        cmocka_unit_test(test_one_host_of_two_sites_is_refused),
        cmocka_unit_test(test_each_of_many_hosts_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
