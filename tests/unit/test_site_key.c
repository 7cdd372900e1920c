/* Unit tests of what is the same request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "site/site.h"

#define WORDS(...)                                                                                 \
    {                                                                                              \
        .item = (const char *const[]){__VA_ARGS__},                                                \
        .count = sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *)                 \
    }

static struct arena arena;

static int open_arena(void **state)
{
    (void)state;
    arena_init(&arena, NULL, 0, 1 << 20);
    return 0;
}

static int close_arena(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static void assert_slice(struct slice got, const char *want)
{
    if (!slice_eq(got, slice_of(want)))
        fail_msg("'%.*s' is not '%s'", (int)got.n, got.p, want);
}

static void test_what_is_dropped_leaves_all_else_as_it_was(void **state)
{
    const struct site site = {.query_drop_tracking = true, .query_drop_names = WORDS("sid", "x_*")};
    static const struct {
        const char *target, *want;
    } request[] = {
        {"/a?utm_source=1", "/a"},
        {"/a?utm_source=1&b=2", "/a?b=2"},
        {"/a?b=2&utm_source=1", "/a?b=2"},
        {"/a?b=2&fbclid=x&a=1&gclid=y&c", "/a?b=2&a=1&c"},
        {"/a?sid", "/a"},
        {"/a?sid=", "/a"},
        {"/a?sid=1&sid=2&z", "/a?z"},
        {"/a?x_=1&x_y=1&xy=1", "/a?xy=1"},
        {"/a?&sid=1&", "/a?&"},
        {"/a?sid=1&&b", "/a?&b"},
        {"/a?b=%26sid=1&sid=1", "/a?b=%26sid=1"},
        {"/a?c=?sid=1&sid=2", "/a?c=?sid=1"},
        {"/sid=1?sid=1", "/sid=1"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(request) / sizeof(request[0]); i++)
        assert_slice(site_target(&site, slice_of(request[i].target), &arena), request[i].want);
}

static void test_a_target_with_nothing_to_drop_is_the_same_bytes(void **state)
{
    const struct site drops = {.query_drop_tracking = true, .query_drop_names = WORDS("sid")};
    static const struct site keeps = {0}, none = {.query_keep_none = true};
    static const char *const target[] = {"/",          "/a",         "/a?",
                                         "/a?&",       "/a?b&&c=%2", "/a?SID=1",
                                         "/a?si%64=1", "/a?=sid",    "/sid=1&sid=2"};

    (void)state;
    for (size_t i = 0; i < sizeof(target) / sizeof(target[0]); i++) {
        struct slice got = site_target(&drops, slice_of(target[i]), &arena);

        assert_ptr_equal(got.p, target[i]);
        assert_slice(got, target[i]);
    }
    assert_slice(site_target(&keeps, SLICE("/a?utm_source=1"), &arena), "/a?utm_source=1");
    assert_slice(site_target(&none, SLICE("/a"), &arena), "/a");
    assert_int_equal(arena.bytes, 0);
}

static void test_a_query_can_be_dropped_whole(void **state)
{
    static const struct site site = {.query_keep_none = true};

    (void)state;
    assert_slice(site_target(&site, SLICE("/a?b=1&c"), &arena), "/a");
    assert_slice(site_target(&site, SLICE("/a?"), &arena), "/a");
}

static void test_only_what_is_named_is_kept(void **state)
{
    const struct site site = {.query_keep_names = WORDS("q", "p_*")};
    static const struct {
        const char *target, *want;
    } request[] = {
        {"/a?q=1", "/a?q=1"},
        {"/a?q", "/a?q"},
        {"/a?evil=1", "/a"},
        {"/a?evil=1&q=1&p_x=2&q=3", "/a?q=1&p_x=2&q=3"},
        {"/a?Q=1", "/a"},
        {"/a?q%5B%5D=1", "/a"},
        {"/a?x=1;q=2", "/a"},
        {"/a?q=1;x=2", "/a?q=1;x=2"}, /* who takes ';' for '&' sees what the key holds */
        {"/a?", "/a"},
        {"/a?&q=1", "/a?q=1"},
    };
    const struct site both = {.query_keep_names = WORDS("q*"), .query_drop_names = WORDS("qx")};

    (void)state;
    for (size_t i = 0; i < sizeof(request) / sizeof(request[0]); i++)
        assert_slice(site_target(&site, slice_of(request[i].target), &arena), request[i].want);
    assert_slice(site_target(&both, SLICE("/a?qx=1&qy=2&z=3"), &arena), "/a?qy=2");
}

static void test_parameters_are_sorted_by_name_alone(void **state)
{
    const struct site site = {.query_sort = true, .query_drop_names = WORDS("sid")};
    static const struct {
        const char *target, *want;
    } request[] = {
        {"/a?b=1&a=2", "/a?a=2&b=1"},
        {"/a?b=2&a=1&b=1", "/a?a=1&b=2&b=1"}, /* the order of one name has a meaning */
        {"/a?b=22&a=1&b=1", "/a?a=1&b=22&b=1"},
        {"/a?b&sid=1&a", "/a?a&b"},
        {"/a?ab=1&a=2", "/a?a=2&ab=1"},
        {"/a?b=1&&a=1", "/a?&a=1&b=1"},
        {"/a?a=1&b=1", "/a?a=1&b=1"},
        {"/b?", "/b?"},
        {"/b&a", "/b&a"},
    };
    static char many[4096];
    size_t n = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(request) / sizeof(request[0]); i++)
        assert_slice(site_target(&site, slice_of(request[i].target), &arena), request[i].want);
    n = (size_t)snprintf(many, sizeof(many), "/?");
    for (int i = 0; i < 600; i++) /* more than are sorted: as it came */
        n += (size_t)snprintf(many + n, sizeof(many) - n, "%s%d", i == 0 ? "" : "&", 999 - i);
    assert_slice(site_target(&site, slice_of(many), &arena), many);
}

static void test_tracking_parameters_are_known(void **state)
{
    static const struct site site = {.query_drop_tracking = true};
    static const char *const dropped[] = {
        "/?utm_source=1", "/?utm_x",    "/?gclid=1", "/?fbclid=1", "/?msclkid=1",
        "/?mc_cid=1",     "/?mc_eid=1", "/?_ga=1",   "/?gbraid=1", "/?ttclid=1"};
    static const char *const kept[] = {"/?utm=1", "/?id=1", "/?page=2", "/?q=gclid", "/?GCLID=1"};

    (void)state;
    for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++)
        assert_slice(site_target(&site, slice_of(dropped[i]), &arena), "/");
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        assert_slice(site_target(&site, slice_of(kept[i]), &arena), kept[i]);
}

static void test_requests_that_differ_have_keys_that_differ(void **state)
{
    static const struct {
        bool is_https;
        const char *host, *target;
    } request[] = {
        {true, "a.example", "/"},     {false, "a.example", "/"},    {true, "a.example", "/?"},
        {true, "b.example", "/"},     {true, "a.example", "//"},    {true, "a.example", "*"},
        {true, "a.example", "/a"},    {true, "a.example", "/A"},    {true, "a.example", "/%61"},
        {true, "a.example", "/?a&b"}, {true, "a.example", "/?b&a"}, {true, "a.example/", ""},
    };
    static const struct site site;
    struct slice key[sizeof(request) / sizeof(request[0])];

    (void)state;
    for (size_t i = 0; i < sizeof(request) / sizeof(request[0]); i++) {
        key[i] = site_key(&site, request[i].is_https, slice_of(request[i].host),
                          slice_of(request[i].target), &arena);
        for (size_t j = 0; j < i; j++)
            assert_false(slice_eq(key[i], key[j]));
    }
    assert_slice(key[0],
                 "1 https a.example /"); /* stored keys say it so: a change is a new version */
}

static void test_a_country_is_part_of_the_key_where_it_is_sent(void **state)
{
    static const struct site sends = {.sends_country = true}, silent;
    const struct site_country *de = site_country_find(SLICE("DE"));

    (void)state;
    assert_slice(site_key_of_country(&sends, true, SLICE("a"), SLICE("/x"), de, &arena),
                 "1 https a /x DE");
    assert_slice(site_key_of_country(&sends, true, SLICE("a"), SLICE("/x"), NULL, &arena),
                 "1 https a /x --");
    assert_slice(site_key_of_country(&silent, true, SLICE("a"), SLICE("/x"), de, &arena),
                 "1 https a /x");
}

static void test_what_all_countries_share_of_a_key(void **state)
{
    static const char *const target[] = {"/", "/x", "/xy", "/a/b?c=d", "*", "/--", "/DE"};
    static const struct site sends = {.sends_country = true};

    (void)state;
    for (size_t i = 0; i < sizeof(target) / sizeof(target[0]); i++) {
        struct slice t = slice_of(target[i]), all = site_key(&sends, false, SLICE("a"), t, &arena);

        assert_true(slice_eq(site_key_of_all(all), all));
        for (size_t j = 0; j <= SITE_COUNTRIES; j++)
            assert_true(slice_eq(site_key_of_all(site_key_of_country(
                                     &sends, false, SLICE("a"), t,
                                     j == SITE_COUNTRIES ? NULL : &site_countries[j], &arena)),
                                 all));
    }
    assert_int_equal(site_key_of_all(SLICE("")).n, 0);
}

static void test_blocks_share_the_key_of_the_whole(void **state)
{
    static const char *const key[] = {"1 https a /x", "1 https a /x DE", "1 http a /",
                                      "1 http a *"};

    (void)state;
    for (size_t i = 0; i < sizeof(key) / sizeof(key[0]); i++) {
        struct slice k = slice_of(key[i]), block = site_key_of_block(k, 7, 65512, &arena);

        assert_false(slice_eq(block, k));
        assert_false(slice_eq(block, site_key_of_block(k, 8, 65512, &arena)));
        assert_false(slice_eq(block, site_key_of_block(k, 7, 131024, &arena)));
        assert_slice(site_key_whole(block), key[i]);
        assert_slice(site_key_whole(k), key[i]);
        assert_true(slice_eq(site_key_of_all(block), site_key_of_all(k)));
    }
    assert_slice(site_key_whole(site_key_of_block(SLICE("k"), UINT64_MAX, UINT64_MAX, &arena)),
                 "k");
    assert_int_equal(site_key_whole(SLICE("")).n, 0);
}

static void test_purge_urls_are_in_normal_form(void **state)
{
    const struct site plain = {0};

    (void)state;
    assert_slice(site_purge_url(&plain, SLICE("a.example"), SLICE("/%66oo/./b"), &arena),
                 "a.example/foo/b");
    assert_slice(site_purge_url(&plain, SLICE("a.example"), SLICE("/a?b=%2f"), &arena),
                 "a.example/a?b=%2F");
}

static void test_what_the_site_makes_one_has_one_purge_url(void **state)
{
    const struct site site = {
        .query_sort = true, .query_drop_tracking = true, .query_drop_names = WORDS("sid")};
    static const char *const same[] = {"/a?b=1&a=2", "/a?a=2&b=1", "/a?%62=1&a=2",
                                       "/./a?%62=1&%61=2&sid=3", "/a?sid&b=1&utm_source=%2f&a=2"};

    (void)state;
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
        assert_slice(site_purge_url(&site, SLICE("a.example"), slice_of(same[i]), &arena),
                     "a.example/a?a=2&b=1");
    assert_slice(site_purge_url(&site, SLICE("a.example"), SLICE("/a?sid=1"), &arena),
                 "a.example/a");
}

static void test_a_purge_url_has_room_for_every_escape(void **state)
{
    static char target[8192];
    const struct site plain = {0};
    struct slice url;

    (void)state;
    memset(target, 0xff, sizeof(target));
    target[0] = '/';
    url =
        site_purge_url(&plain, SLICE("a.example"), (struct slice){target, sizeof(target)}, &arena);
    assert_int_equal(url.n, 9 + 1 + 3 * 8191);
}

static void test_no_room_is_told(void **state)
{
    static const struct site site = {.query_drop_tracking = true};
    struct arena none;

    (void)state;
    arena_init(&none, NULL, 0, 0);
    assert_null(site_target(&site, SLICE("/?gclid=1"), &none).p);
    assert_null(site_key(&site, true, SLICE("a"), SLICE("/"), &none).p);
    assert_null(site_purge_url(&site, SLICE("a"), SLICE("/"), &none).p);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_arena, close_arena)
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_dropped_leaves_all_else_as_it_was),
        TEST(test_a_target_with_nothing_to_drop_is_the_same_bytes),
        TEST(test_a_query_can_be_dropped_whole),
        TEST(test_only_what_is_named_is_kept),
        TEST(test_parameters_are_sorted_by_name_alone),
        TEST(test_tracking_parameters_are_known),
        TEST(test_blocks_share_the_key_of_the_whole),
        TEST(test_requests_that_differ_have_keys_that_differ),
        TEST(test_a_country_is_part_of_the_key_where_it_is_sent),
        TEST(test_what_all_countries_share_of_a_key),
        TEST(test_purge_urls_are_in_normal_form),
        TEST(test_what_the_site_makes_one_has_one_purge_url),
        TEST(test_a_purge_url_has_room_for_every_escape),
        TEST(test_no_room_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
