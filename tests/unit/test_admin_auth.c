/* Unit tests of who is let in, and where to. */
#include "admin_world.h"

#define TAG "{\"scopes\":[{\"tag\":\"t\"}]}"

static void test_nothing_but_healthz_is_answered_before_a_configuration(void **state)
{
    (void)state;
    assert_int_equal(world_ask(NULL, "GET", "/healthz", NULL), 200);
    world_must_say_all("ok\n");
    assert_int_equal(world_ask(NULL, "GET", "/status", NULL), 503);
}

static void test_without_tokens_everything_is_allowed(void **state)
{
    (void)state;
    world_configure(0);
    assert_int_equal(world_ask(NULL, "GET", "/status", NULL), 200);
    assert_int_equal(world_ask(NULL, "POST", "/purge", "{\"scopes\":[{\"all\":true}]}"), 200);
    assert_int_equal(world_ask(NULL, "POST", "/purge", "{\"scopes\":[{\"all\":true}]}"), 200);
}

static void test_with_tokens_all_but_healthz_wants_one(void **state)
{
    static const char *const paths[] = {"/status", "/metrics", "/readyz", "/ls?prefix=h/", "/x"};

    (void)state;
    world_configure(4);
    assert_int_equal(world_ask(NULL, "GET", "/healthz", NULL), 200);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        assert_int_equal(world_ask(NULL, "GET", paths[i], NULL), 401);
        assert_non_null(world.answer.challenge);
        assert_int_equal(world_ask("secret-of-nobody", "GET", paths[i], NULL), 401);
    }
    assert_int_equal(world_ask(NULL, "POST", "/purge", TAG), 401);
    assert_int_equal(purge_head(world.purge), position_make(1, 0));
}

static void test_parts_of_a_secret_are_no_secret(void **state)
{
    (void)state;
    world_configure(4);
    assert_int_equal(world_ask("secret-of-reader", "GET", "/status", NULL), 200);
    assert_int_equal(world_ask("secret-of-reade", "GET", "/status", NULL), 401);
    assert_int_equal(world_ask("secret-of-readers", "GET", "/status", NULL), 401);
    assert_int_equal(world_ask("Secret-of-reader", "GET", "/status", NULL), 401);
    assert_int_equal(world_ask("", "GET", "/status", NULL), 401);
}

static int ask_with(const char *authorization, const char *host, const char *origin)
{
    struct admin_request rq = {.method = SLICE("GET"),
                               .path = SLICE("/status"),
                               .authorization = slice_of(authorization),
                               .host = slice_of(host),
                               .origin = slice_of(origin)};

    buf_release(&world.answer.body);
    admin_handle(world.admin, &rq, &world.answer);
    return world.answer.status;
}

static void test_the_scheme_is_bearer_in_any_case(void **state)
{
    (void)state;
    world_configure(4);
    assert_int_equal(ask_with("bearer secret-of-reader", "h", NULL), 200);
    assert_int_equal(ask_with("BEARER  secret-of-reader ", "h", NULL), 200);
    assert_int_equal(ask_with("Basic secret-of-reader", "h", NULL), 401);
    assert_int_equal(ask_with("Bearer", "h", NULL), 401);
    assert_int_equal(ask_with("secret-of-reader", "h", NULL), 401);
}

static void test_pages_of_a_browser_are_refused(void **state)
{
    static const char *const own[] = {"127.0.0.1:9180", "127.0.0.1", "localhost", "LocalHost:9180",
                                      "[::1]:9180",     "10.1.2.3",  ""};
    static const char *const foreign[] = {"evil.example", "evil.example:9180",
                                          "localhost.evil.example", "127.0.0.1.evil.example",
                                          "[evil]"};

    (void)state;
    world_configure(0);
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        assert_int_equal(ask_with(NULL, own[i], NULL), 200);
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
        assert_int_equal(ask_with(NULL, foreign[i], NULL), 403);
    assert_int_equal(ask_with(NULL, "127.0.0.1", "http://127.0.0.1"), 403);
    assert_int_equal(ask_with(NULL, "127.0.0.1", "null"), 403);
    world_configure(4); /* a token says more than a name */
    assert_int_equal(ask_with("Bearer secret-of-reader", "edge.example", NULL), 200);
    assert_int_equal(ask_with("Bearer secret-of-reader", "edge.example", "https://x"), 403);
}

static void test_a_kind_that_a_token_lacks_is_refused(void **state)
{
    (void)state;
    world_configure(4);
    assert_int_equal(world_ask("secret-of-reader", "POST", "/purge", TAG), 403);
    assert_int_equal(world_ask("secret-of-purger", "GET", "/status", NULL), 403);
    assert_int_equal(world_ask("secret-of-purger", "POST", "/explain", "{\"url\":\"https://h/\"}"),
                     403);
    assert_int_equal(world_ask("secret-of-purger", "POST", "/purge", TAG), 200);
    assert_int_equal(position_n(purge_head(world.purge)), 1);
}

static void test_the_wrong_method_path_type_and_size_are_told_apart(void **state)
{
    struct admin_request rq = {.method = SLICE("POST"),
                               .path = SLICE("/purge"),
                               .content_type = SLICE("text/plain"),
                               .body = SLICE(TAG)};
    char *large = calloc(1, (1 << 20) + 1);

    (void)state;
    assert_non_null(large);
    world_configure(0);
    assert_int_equal(world_ask(NULL, "GET", "/nothing", NULL), 404);
    assert_int_equal(world_ask(NULL, "GET", "/statu", NULL), 404);
    assert_int_equal(world_ask(NULL, "GET", "/purge", NULL), 405);
    assert_string_equal(world.answer.allow, "POST");
    assert_int_equal(world_ask(NULL, "POST", "/status", "{}"), 405);
    assert_string_equal(world.answer.allow, "GET");
    buf_release(&world.answer.body);
    admin_handle(world.admin, &rq, &world.answer);
    assert_int_equal(world.answer.status, 415);
    rq.content_type = SLICE("Application/JSON ; charset=utf-8");
    buf_release(&world.answer.body);
    admin_handle(world.admin, &rq, &world.answer);
    assert_int_equal(world.answer.status, 200);
    rq.body = (struct slice){large, (1 << 20) + 1};
    buf_release(&world.answer.body);
    admin_handle(world.admin, &rq, &world.answer);
    assert_int_equal(world.answer.status, 413);
    free(large);
}

static void test_errors_are_json_with_one_sentence(void **state)
{
    (void)state;
    world_configure(0);
    assert_int_equal(world_ask(NULL, "GET", "/purge", NULL), 405);
    assert_string_equal(world.answer.content_type, "application/json");
    world_must_say_all("{\"error\":\"use POST here\"}\n");
}

static void test_a_reload_changes_tokens_and_keeps_what_they_used_up(void **state)
{
    (void)state;
    world_configure(2);
    for (int i = 0; i < ADMIN_PURGES_BURST; i++)
        assert_int_equal(world_ask("secret-of-purger", "POST", "/purge", TAG), 200);
    assert_int_equal(world_ask("secret-of-reader", "GET", "/status", NULL), 401);
    world_configure(4);
    assert_int_equal(world_ask("secret-of-reader", "GET", "/status", NULL), 200);
    assert_int_equal(world_ask("secret-of-purger", "POST", "/purge", TAG), 429);
    world_configure(1);
    assert_int_equal(world_ask("secret-of-purger", "POST", "/purge", TAG), 401);
}

static void test_loopback_addresses(void **state)
{
    static const struct {
        const char *listen;
        bool is_loopback;
    } address[] = {
        {"127.0.0.1:9180", true},      {"127.200.0.9:1", true},
        {"[::1]:9180", true},          {"[::ffff:127.0.0.1]:1", true},
        {"0.0.0.0:9180", false},       {"[::]:9180", false},
        {"10.0.0.1:9180", false},      {"128.0.0.1:9180", false},
        {"127.evil.example:1", false}, {"", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(address) / sizeof(address[0]); i++)
        assert_int_equal(admin_is_loopback(address[i].listen), address[i].is_loopback);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(test_nothing_but_healthz_is_answered_before_a_configuration),
        IN_WORLD(test_without_tokens_everything_is_allowed),
        IN_WORLD(test_with_tokens_all_but_healthz_wants_one),
        IN_WORLD(test_parts_of_a_secret_are_no_secret),
        IN_WORLD(test_the_scheme_is_bearer_in_any_case),
        IN_WORLD(test_pages_of_a_browser_are_refused),
        IN_WORLD(test_a_kind_that_a_token_lacks_is_refused),
        IN_WORLD(test_the_wrong_method_path_type_and_size_are_told_apart),
        IN_WORLD(test_errors_are_json_with_one_sentence),
        IN_WORLD(test_a_reload_changes_tokens_and_keeps_what_they_used_up),
        cmocka_unit_test(test_loopback_addresses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
