/* Unit tests of POST /purge. */
#include "admin_world.h"
#include "purge/purge_priv.h"

#define BASE position_make(1, 0)

static enum purge_verdict judge(const char *url, uint64_t birth)
{
    struct purge_subject s = {.birth = birth, .purge_url = slice_of(url)};

    return purge_judge(world.purge, &s);
}

static int purge_with(const char *secret, const char *body)
{
    return world_ask(secret, "POST", "/purge", body);
}

static void test_the_answer_carries_the_position_and_the_purge_is_in_force(void **state)
{
    (void)state;
    world_configure(0);
    assert_int_equal(purge_with(NULL, "{\"scopes\":[{\"url\":\"https://two.example/a\"},"
                                      "{\"prefix\":\"two.example/b\"}]}"),
                     200);
    world_must_say_all("{\"position\":{\"epoch\":1,\"n\":2},\"scopes\":2,\"soft\":false}\n");
    assert_string_equal(world.answer.content_type, "application/json");
    assert_int_equal(judge("two.example/a", BASE), PURGE_DEAD);
    assert_int_equal(judge("two.example/bc", BASE), PURGE_DEAD);
    assert_int_equal(judge("two.example/c", BASE), PURGE_USABLE);
}

static void test_soft_is_soft(void **state)
{
    (void)state;
    world_configure(0);
    assert_int_equal(purge_with(NULL, "{\"scopes\":[{\"host\":\"two.example\"}],\"soft\":true}"),
                     200);
    world_must_say_all("{\"position\":{\"epoch\":1,\"n\":1},\"scopes\":1,\"soft\":true}\n");
    assert_int_equal(judge("two.example/a", BASE), PURGE_SOFT);
}

static void test_a_request_sent_twice_gets_the_first_answer(void **state)
{
    static const char *const body = "{\"scopes\":[{\"all\":true}],\"id\":\"7\"}";

    (void)state;
    world_configure(0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(purge_with(NULL, body), 200);
        world_must_say_all("{\"position\":{\"epoch\":1,\"n\":1},\"scopes\":1,\"soft\":false}\n");
    }
}

static void test_a_body_that_is_wrong_purges_nothing(void **state)
{
    (void)state;
    world_configure(0);
    assert_int_equal(
        purge_with(NULL, "{\"scopes\":[{\"url\":\"two.example/\"},{\"url\":\"nonsense#\"}]}"), 400);
    assert_true(world_says("nonsense#"));
    assert_int_equal(purge_head(world.purge), BASE);
}

/* As a browser shows it, and as the site keeps it: one purge, of both. */
static void test_a_url_is_purged_as_the_site_keeps_it(void **state)
{
    struct config_site *two = &world_sites[1], before = *two;
    char body[65536] = "{\"scopes\":[";
    size_t n = strlen(body);

    (void)state;
    two->query_sort = two->query_drop_tracking = true;
    world_configure(0);
    assert_int_equal(
        purge_with(NULL, "{\"scopes\":[{\"url\":\"https://two.example/a?c=1&utm_id=7&%62=2\"}]}"),
        200);
    world_must_say_all("{\"position\":{\"epoch\":1,\"n\":2},\"scopes\":1,\"soft\":false}\n");
    assert_int_equal(judge("two.example/a?b=2&c=1", BASE), PURGE_DEAD);
    assert_int_equal(judge("two.example/a?c=1&utm_id=7&b=2", BASE), PURGE_DEAD);
    assert_int_equal(judge("two.example/a", BASE), PURGE_USABLE);
    for (int i = 0; i < 600; i++)
        n +=
            (size_t)sprintf(body + n, "%s{\"url\":\"two.example/b?y&x=%d\"}", i == 0 ? "" : ",", i);
    strcpy(body + n, "]}");
    assert_int_equal(purge_with(NULL, body), 400);
    assert_true(world_says("these are 1200 scopes"));
    assert_int_equal(position_n(purge_head(world.purge)), 2);
    *two = before;
}

static void test_whole_hosts_and_everything_want_the_kind_wide(void **state)
{
    static const char *const wide[] = {
        "{\"scopes\":[{\"all\":true}]}",
        "{\"scopes\":[{\"host\":\"two.example\"}]}",
        "{\"scopes\":[{\"tag\":\"t\"},{\"host\":\"two.example\"}]}",
        "{\"scopes\":[{\"prefix\":\"https://two.example/\"}]}",
        "{\"scopes\":[{\"prefix\":\"https://two.example/a/..\"}]}",
    };

    (void)state;
    world_configure(4);
    for (size_t i = 0; i < sizeof(wide) / sizeof(wide[0]); i++) {
        assert_int_equal(purge_with("secret-of-purger", wide[i]), 403);
        assert_int_equal(position_n(purge_head(world.purge)), 0);
    }
    for (size_t i = 1; i < sizeof(wide) / sizeof(wide[0]); i++)
        assert_int_equal(purge_with("secret-of-everything", wide[i]), 200);
    assert_int_equal(
        purge_with("secret-of-purger", "{\"scopes\":[{\"prefix\":\"two.example/a\"}]}"), 200);
}

static void test_a_token_for_some_sites_reaches_no_others(void **state)
{
    static const char *const allowed[] = {
        "{\"scopes\":[{\"url\":\"https://www.one.example/a\"}]}",
        "{\"scopes\":[{\"prefix\":\"any.one.example/a\"}]}",
        "{\"scopes\":[{\"host\":\"www.one.example\"}]}",
    };
    static const char *const refused[] = {
        "{\"scopes\":[{\"url\":\"https://two.example/a\"}]}",
        /* site two has this name of its own, though the wildcard of site one would cover it */
        "{\"scopes\":[{\"url\":\"https://two.one.example/a\"}]}",
        "{\"scopes\":[{\"prefix\":\"nobody.example/a\"}]}",
        "{\"scopes\":[{\"host\":\"one.example\"}]}",
        "{\"scopes\":[{\"tag\":\"t\"}]}",
        "{\"scopes\":[{\"all\":true}]}",
        "{\"scopes\":[{\"url\":\"www.one.example/a\"},{\"url\":\"two.example/a\"}]}",
    };

    (void)state;
    world_configure(4);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        assert_int_equal(purge_with("secret-of-one-only", refused[i]), 403);
    assert_int_equal(purge_head(world.purge), BASE);
    for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
        assert_int_equal(purge_with("secret-of-one-only", allowed[i]), 200);
}

static void test_a_token_has_a_burst_and_then_ten_purges_a_second(void **state)
{
    static const char *const body = "{\"scopes\":[{\"tag\":\"t\"}]}";

    (void)state;
    world_configure(4);
    for (int i = 0; i < ADMIN_PURGES_BURST; i++)
        assert_int_equal(purge_with("secret-of-purger", body), 200);
    assert_int_equal(purge_with("secret-of-purger", body), 429);
    assert_int_equal(world.answer.retry_after_s, 1);
    assert_int_equal(purge_with("secret-of-everything", body), 200); /* each its own */
    world.now_ms += 99;
    assert_int_equal(purge_with("secret-of-purger", body), 429);
    world.now_ms += 1;
    assert_int_equal(purge_with("secret-of-purger", body), 200);
    assert_int_equal(purge_with("secret-of-purger", body), 429);
    world.now_ms += 1000;
    for (int i = 0; i < 10; i++)
        assert_int_equal(purge_with("secret-of-purger", body), 200);
    assert_int_equal(purge_with("secret-of-purger", body), 429);
    world.now_ms += 3600000; /* an hour saves up no more than the burst */
    for (int i = 0; i < ADMIN_PURGES_BURST; i++)
        assert_int_equal(purge_with("secret-of-purger", body), 200);
    assert_int_equal(purge_with("secret-of-purger", body), 429);
}

static void test_everything_can_be_purged_once_a_minute(void **state)
{
    static const char *const body = "{\"scopes\":[{\"all\":true}]}";

    (void)state;
    world_configure(4);
    assert_int_equal(purge_with("secret-of-everything", body), 200);
    world.now_ms += 59001;
    assert_int_equal(purge_with("secret-of-everything", body), 429);
    assert_int_equal(world.answer.retry_after_s, 1);
    assert_int_equal(purge_with("secret-of-everything", "{\"scopes\":[{\"tag\":\"t\"}]}"), 200);
    world.now_ms += 999;
    assert_int_equal(purge_with("secret-of-everything", body), 200);
}

/* Only the owner of the journal gives positions. */
static void test_a_node_that_follows_names_its_owner(void **state)
{
    static char owner[] = "https://fra1.internal:8443";
    static const char *const way[][2] = {
        {"127.0.0.1:9180", "log in on fra1.internal, "},
        {"[::1]:9180", "run it there with --node http://[::1]:9180"},
        {"10.0.0.2:9180", "run it with --node http://10.0.0.2:9180"},
        {"0.0.0.0:9181", "run it with --node http://fra1.internal:9181"},
        {"[::]:9181", "run it with --node http://fra1.internal:9181"},
    };

    (void)state;
    world_configure(0);
    world.config[(world.configured - 1) % 2].journal.owner = owner;
    world.purge->follows = true;
    assert_int_equal(world_ask(NULL, "POST", "/purge", "{\"scopes\":[{\"tag\":\"t\"}]}"), 421);
    assert_true(world_says(owner));
    assert_true(world_says("admin.listen")); /* that URL takes no purges: what to do */
    world.owner_node = "fra1";
    for (size_t i = 0; i < sizeof(way) / sizeof(way[0]); i++) {
        world.owner_admin = way[i][0];
        assert_int_equal(world_ask(NULL, "POST", "/purge", "{\"scopes\":[{\"tag\":\"t\"}]}"), 421);
        assert_true(world_says("fra1 (https://fra1.internal:8443)"));
        assert_true(world_says(way[i][1]));
    }
    assert_int_equal(purge_head(world.purge), position_make(1, 0));
}

/* What did not come about, or was had already, was not had twice. */
static void test_only_what_holds_counts_as_purging_everything(void **state)
{
    static const char *const body = "{\"scopes\":[{\"all\":true}],\"id\":\"once\"}";

    (void)state;
    world_configure(1);
    world.purge->clock.head_n = POSITION_N_MAX; /* no number is left: it fails */
    assert_int_equal(purge_with("secret-of-everything", body), 503);
    world.purge->clock.head_n = 0;
    assert_int_equal(purge_with("secret-of-everything", body), 200);
    assert_int_equal(purge_with("secret-of-everything", body), 200);
    world_must_say_all("{\"position\":{\"epoch\":1,\"n\":1},\"scopes\":1,\"soft\":false}\n");
    assert_int_equal(purge_with("secret-of-everything", "{\"scopes\":[{\"all\":true}]}"), 429);
}

static void test_members_are_for_those_who_purge(void **state)
{
    (void)state;
    world_configure(0);
    assert_int_equal(world_ask(NULL, "GET", "/members", NULL), 200);
    assert_true(world_says("\"members\":[]"));
    assert_int_equal(world_ask(NULL, "POST", "/members", "{}"), 405);
}

static void test_a_thousand_long_urls_go_in_one_request(void **state)
{
    struct buf json;

    (void)state;
    world_configure(0);
    buf_init(&json, 1 << 20);
    buf_add(&json, SLICE("{\"scopes\":["));
    for (int i = 0; i < 1000; i++)
        buf_addf(&json, "%s{\"url\":\"https://two.example/%0900d\"}", i == 0 ? "" : ",", i);
    buf_add(&json, SLICE("]}"));
    buf_add_char(&json, '\0');
    assert_false(json.failed);
    assert_int_equal(purge_with(NULL, json.p), 200);
    assert_int_equal(position_n(purge_head(world.purge)), 1000);
    buf_release(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(test_the_answer_carries_the_position_and_the_purge_is_in_force),
        IN_WORLD(test_soft_is_soft),
        IN_WORLD(test_a_request_sent_twice_gets_the_first_answer),
        IN_WORLD(test_a_body_that_is_wrong_purges_nothing),
        IN_WORLD(test_a_url_is_purged_as_the_site_keeps_it),
        IN_WORLD(test_whole_hosts_and_everything_want_the_kind_wide),
        IN_WORLD(test_a_token_for_some_sites_reaches_no_others),
        IN_WORLD(test_a_token_has_a_burst_and_then_ten_purges_a_second),
        IN_WORLD(test_everything_can_be_purged_once_a_minute),
        IN_WORLD(test_only_what_holds_counts_as_purging_everything),
        IN_WORLD(test_a_node_that_follows_names_its_owner),
        IN_WORLD(test_members_are_for_those_who_purge),
        IN_WORLD(test_a_thousand_long_urls_go_in_one_request),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
