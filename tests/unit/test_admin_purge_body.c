/* Unit tests of the JSON of POST /purge. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "admin/purge_body.h"
#include "purge/record.h"

#define ID_TOO_LONG                                                                                \
    "{\"scopes\":[{\"tag\":\"t\"}],\"id\":\""                                                      \
    "0123456789012345678901234567890123456789012345678901234567890123x\"}"

static struct arena arena;
static struct buf why;

static int make(void **state)
{
    (void)state;
    arena_init(&arena, NULL, 0, 8 << 20);
    buf_init(&why, 1024);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    arena_release(&arena);
    buf_release(&why);
    return 0;
}

static enum err parse(const char *json, struct purge_body *out)
{
    *out = (struct purge_body){0};
    why.n = 0;
    return purge_body_parse(slice_of(json), &arena, out, &why);
}

static void test_every_kind_is_read_and_put_into_purge_form(void **state)
{
    static const struct {
        enum purge_kind kind;
        const char *text;
    } want[] = {
        {PURGE_URL, "www.example.com/a?b=c"},
        {PURGE_URL, "www.example.com/~a/%2F"},
        {PURGE_URL, "www.example.com/"},
        {PURGE_URL, "h.example/p?u=http://x/"},
        {PURGE_PREFIX, "h.example/news/"},
        {PURGE_PREFIX, "h.example/"},
        {PURGE_HOST, "www.example.com"},
        {PURGE_TAG, "article 17"},
        {PURGE_ALL, ""},
    };
    struct purge_body b;

    (void)state;
    assert_int_equal(parse("{\"scopes\":[{\"url\":\"https://WWW.example.com:443/a?b=c\"},"
                           "{\"url\":\"HTTP://www.example.com./%7ea/./x/../%2f\"},"
                           "{\"url\":\"https://www.example.com\"},"
                           "{\"url\":\"h.example/p?u=http://x/\"},"
                           "{\"prefix\":\"http://h.example/news/\"},"
                           "{\"prefix\":\"h.example\"},"
                           "{\"host\":\"WWW.Example.com:8443\"},"
                           "{\"tag\":\"article 17\"},"
                           "{\"all\":true}],\"soft\":true,\"id\":\"deploy-7\"}",
                           &b),
                     ERR_OK);
    assert_int_equal(b.count, sizeof(want) / sizeof(want[0]));
    for (size_t i = 0; i < b.count; i++) {
        assert_int_equal(b.scopes[i].kind, want[i].kind);
        if (!slice_eq(b.scopes[i].text, slice_of(want[i].text)))
            fail_msg("%zu: %.*s", i, (int)b.scopes[i].text.n, b.scopes[i].text.p);
        assert_true(purge_scope_is_valid(&b.scopes[i]));
    }
    assert_true(b.soft);
    assert_true(slice_eq(b.id, SLICE("deploy-7")));
}

static void test_soft_and_id_may_be_left_out(void **state)
{
    struct purge_body b;

    (void)state;
    assert_int_equal(parse("{\"scopes\":[{\"tag\":\"t\"}]}", &b), ERR_OK);
    assert_false(b.soft);
    assert_int_equal(b.id.n, 0);
}

static void test_what_is_no_purge_is_refused_with_a_sentence(void **state)
{
    static const char *const bad[] = {
        "",
        "x",
        "[]",
        "{}",
        "{\"scopes\":[]}",
        "{\"scopes\":{\"tag\":\"t\"}}",
        "{\"scopes\":[\"t\"]}",
        "{\"scopes\":[{}]}",
        "{\"scopes\":[{\"tag\":\"t\",\"host\":\"h\"}]}",
        "{\"scopes\":[{\"tags\":\"t\"}]}",
        "{\"scopes\":[{\"tag\":7}]}",
        "{\"scopes\":[{\"tag\":\"\"}]}",
        "{\"scopes\":[{\"tag\":\"a\\nb\"}]}",
        "{\"scopes\":[{\"tag\":\"a\\u0000b\"}]}",
        "{\"scopes\":[{\"all\":false}]}",
        "{\"scopes\":[{\"all\":\"true\"}]}",
        "{\"scopes\":[{\"url\":\"\"}]}",
        "{\"scopes\":[{\"url\":\"/only/a/path\"}]}",
        "{\"scopes\":[{\"url\":\"ftp://h/a\"}]}",
        "{\"scopes\":[{\"url\":\"https://h/a b\"}]}",
        "{\"scopes\":[{\"url\":\"https://h/a\\\\b\"}]}",
        "{\"scopes\":[{\"url\":\"https://h/a#b\"}]}",
        "{\"scopes\":[{\"url\":\"https://user@h/a\"}]}",
        "{\"scopes\":[{\"prefix\":\"https:///a\"}]}",
        "{\"scopes\":[{\"host\":\"h/a\"}]}",
        "{\"scopes\":[{\"host\":\"\"}]}",
        "{\"scopes\":[{\"tag\":\"t\"}],\"soft\":1}",
        "{\"scopes\":[{\"tag\":\"t\"}],\"id\":7}",
        "{\"scopes\":[{\"tag\":\"t\"}],\"id\":\"a b\"}",
        ID_TOO_LONG,
        "{\"scopes\":[{\"tag\":\"t\"}],\"sites\":[\"one\"]}",
        "{\"scopes\":[{\"tag\":\"t\"}],\"scopes\":[{\"tag\":\"u\"}]}",
    };
    struct purge_body b;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (parse(bad[i], &b) != ERR_INVALID)
            fail_msg("accepted: %s", bad[i]);
        assert_true(why.n > 0 && !why.failed);
        assert_int_equal(b.count, 0);
    }
}

static char *json_of(size_t scopes)
{
    struct buf json;

    buf_init(&json, 1 << 20);
    buf_add(&json, SLICE("{\"scopes\":["));
    for (size_t i = 0; i < scopes; i++)
        buf_addf(&json, "%s{\"tag\":\"t%zu\"}", i == 0 ? "" : ",", i);
    buf_add(&json, SLICE("]}"));
    buf_add_char(&json, '\0');
    assert_false(json.failed);
    return json.p;
}

static void test_a_thousand_scopes_are_taken_and_one_more_is_not(void **state)
{
    struct purge_body b;
    char *json = json_of(1000);

    (void)state;
    assert_int_equal(parse(json, &b), ERR_OK);
    assert_int_equal(b.count, 1000);
    assert_true(slice_eq(b.scopes[999].text, SLICE("t999")));
    free(json);
    json = json_of(1001);
    assert_int_equal(parse(json, &b), ERR_INVALID);
    free(json);
}

static void test_a_full_arena_is_a_limit(void **state)
{
    struct arena small;
    struct purge_body b;

    (void)state;
    arena_init(&small, NULL, 0, 0);
    assert_int_equal(purge_body_parse(SLICE("{\"scopes\":[{\"tag\":\"t\"}]}"), &small, &b, &why),
                     ERR_LIMIT);
    arena_release(&small);
}

static void test_a_prefix_without_a_path_is_a_whole_host(void **state)
{
    (void)state;
    assert_true(purge_body_is_whole_host(SLICE("h/")));
    assert_false(purge_body_is_whole_host(SLICE("h/a")));
    assert_false(purge_body_is_whole_host(SLICE("h/a/")));
    assert_false(purge_body_is_whole_host(SLICE("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_kind_is_read_and_put_into_purge_form, make,
                                        drop),
        cmocka_unit_test_setup_teardown(test_soft_and_id_may_be_left_out, make, drop),
        cmocka_unit_test_setup_teardown(test_what_is_no_purge_is_refused_with_a_sentence, make,
                                        drop),
        cmocka_unit_test_setup_teardown(test_a_thousand_scopes_are_taken_and_one_more_is_not, make,
                                        drop),
        cmocka_unit_test_setup_teardown(test_a_full_arena_is_a_limit, make, drop),
        cmocka_unit_test(test_a_prefix_without_a_path_is_a_whole_host),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
