/* Unit tests of what the node tells about itself: /readyz, /status, /metrics, /explain. */
#include "admin_world.h"

#include <jansson.h>

static json_t *status_of(const char *secret)
{
    json_t *root;

    assert_int_equal(world_ask(secret, "GET", "/status", NULL), 200);
    assert_string_equal(world.answer.content_type, "application/json");
    root = json_loadb(world.answer.body.p, world.answer.body.n, 0, NULL);
    assert_non_null(root);
    return root;
}

static void test_readyz_says_what_the_daemon_says(void **state)
{
    (void)state;
    world_configure(0);
    assert_int_equal(world_ask(NULL, "GET", "/readyz", NULL), 200);
    world_must_say_all("ready\n");
    world.ready = false;
    assert_int_equal(world_ask(NULL, "GET", "/readyz", NULL), 503);
    world_must_say_all("draining\n");
}

static void test_status_is_complete(void **state)
{
    const char *version, *node, *config, *sites_hash, *text;
    json_int_t epoch, n, first, scopes, objects, used, size, queue, uptime;
    int writable, ready, follows;
    json_t *root, *sites;

    (void)state;
    world_configure(0);
    assert_int_equal(
        world_ask(NULL, "POST", "/purge", "{\"scopes\":[{\"tag\":\"t\"},{\"all\":true}]}"), 200);
    world.now_ms += 12999;
    root = status_of(NULL);
    assert_int_equal(
        json_unpack(
            root,
            "{s:s,s:s,s:s,s:s,s:{s:I,s:I,s:I},s:I,s:b,s:{s:I,s:I,s:I,s:b,s:I},s:b,s:s,s:I,s:o!}",
            "version", &version, "node", &node, "config", &config, "sites_hash", &sites_hash,
            "positions", "epoch", &epoch, "n", &n, "first", &first, "scopes", &scopes, "follows",
            &follows, "store", "objects", &objects, "used_bytes", &used, "size_bytes", &size,
            "writable", &writable, "queue_bytes", &queue, "ready", &ready, "ready_text", &text,
            "uptime_s", &uptime, "sites", &sites),
        0);
    assert_string_equal(version, "1.2.3");
    assert_string_equal(node, "edge \"7\"");
    assert_string_equal(config, "/etc/selvage/edge.yaml");
    assert_int_equal(strlen(sites_hash), 16);
    assert_true(epoch == 1 && n == 2 && first == 1 && scopes == 2);
    assert_true(objects == 0 && size > 0 && used <= size && queue == 0 && writable && ready);
    assert_false(follows);
    assert_string_equal(text, "ready\n");
    assert_int_equal(uptime, 12);
    assert_int_equal(json_array_size(sites), 2);
    assert_string_equal(json_string_value(json_array_get(sites, 1)), "two");
    json_decref(root);
}

static void test_a_token_for_some_sites_sees_no_others(void **state)
{
    json_t *root, *sites;

    (void)state;
    world_configure(4);
    root = status_of("secret-of-one-only");
    sites = json_object_get(root, "sites");
    assert_int_equal(json_array_size(sites), 1);
    assert_string_equal(json_string_value(json_array_get(sites, 0)), "one");
    json_decref(root);
}

static void test_metrics_end_with_what_purge_and_store_know(void **state)
{
    static const char *const line[] = {
        "\nselvage_purges_total{scope=\"tag\"} ",
        "\nselvage_store_objects 0\n",
        "\nselvage_store_used_bytes ",
        "\nselvage_store_size_bytes ",
        "\nselvage_store_writable 1\n",
        "\nselvage_purge_position_n 1\n",
        "\nselvage_purge_epoch 1\n",
        "\nselvage_purge_scopes 1\n",
        "\nselvage_build_info{version=\"1.2.3\"} 1\n",
    };

    (void)state;
    world_configure(0);
    assert_int_equal(world_ask(NULL, "POST", "/purge", "{\"scopes\":[{\"tag\":\"t\"}]}"), 200);
    assert_int_equal(world_ask(NULL, "GET", "/metrics", NULL), 200);
    assert_string_equal(world.answer.content_type, "text/plain; version=0.0.4; charset=utf-8");
    for (size_t i = 0; i < sizeof(line) / sizeof(line[0]); i++)
        if (!world_says(line[i]))
            fail_msg("missing: %s", line[i]);
}

static int explain(const char *secret, const char *body)
{
    world.explained[0] = '\0';
    return world_ask(secret, "POST", "/explain", body);
}

static void test_explain_hands_on_the_url_and_the_fields(void **state)
{
    (void)state;
    world_configure(0);
    assert_int_equal(explain(NULL, "{\"url\":\"https://two.example/a\",\"fields\":"
                                   "[\"accept-encoding: br\",\"cookie: a=b\"]}"),
                     200);
    world_must_say_all("because\n");
    assert_string_equal(world.answer.content_type, "text/plain; charset=utf-8");
    assert_string_equal(world.explained,
                        "https://two.example/a|accept-encoding: br\ncookie: a=b\n");
    assert_int_equal(explain(NULL, "{\"url\":\"https://two.example/a\"}"), 200);
    assert_string_equal(world.explained, "https://two.example/a|");
}

static void test_explain_says_what_is_wrong(void **state)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"url\":7}",
        "{\"url\":\"\"}",
        "{\"url\":\"https://h/\",\"fields\":\"a: b\"}",
        "{\"url\":\"https://h/\",\"fields\":[7]}",
        "{\"url\":\"https://h/\",\"fields\":[\"no colon\"]}",
        "{\"url\":\"https://h/\",\"fields\":[\"a: b\\nc: d\"]}",
    };

    (void)state;
    world_configure(0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(explain(NULL, bad[i]), 400);
        assert_string_equal(world.explained, "");
    }
    world.explain_result = ERR_NOT_FOUND;
    assert_int_equal(explain(NULL, "{\"url\":\"https://nobody.example/\"}"), 404);
    assert_true(world_says("{\"error\":\"no site has this host"));
    assert_false(world_says("because")); /* nothing of a half-written answer */
    world.explain_result = ERR_INVALID;
    assert_int_equal(explain(NULL, "{\"url\":\"nonsense\"}"), 400);
    world.explain_result = ERR_NOMEM;
    assert_int_equal(explain(NULL, "{\"url\":\"https://two.example/\"}"), 503);
}

static void test_explain_keeps_a_token_to_its_sites(void **state)
{
    (void)state;
    world_configure(4);
    assert_int_equal(explain("secret-of-one-only", "{\"url\":\"https://two.example/\"}"), 403);
    assert_int_equal(explain("secret-of-one-only", "{\"url\":\"nonsense#\"}"), 403);
    assert_string_equal(world.explained, "");
    assert_int_equal(explain("secret-of-one-only", "{\"url\":\"https://www.one.example/\"}"), 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(test_readyz_says_what_the_daemon_says),
        IN_WORLD(test_status_is_complete),
        IN_WORLD(test_a_token_for_some_sites_sees_no_others),
        IN_WORLD(test_metrics_end_with_what_purge_and_store_know),
        IN_WORLD(test_explain_hands_on_the_url_and_the_fields),
        IN_WORLD(test_explain_says_what_is_wrong),
        IN_WORLD(test_explain_keeps_a_token_to_its_sites),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
