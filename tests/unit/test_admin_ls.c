/* Unit tests of GET /ls: one line of it, its parameters, and a listing of a real store. */
#include "admin_world.h"

#include "base/arena.h"

static struct admin_backend backend(void)
{
    return (struct admin_backend){.head_facts = world_head_facts};
}

static struct store_row row(struct slice key)
{
    return (struct store_row){.key = {.host = SLICE("h.example"), .text = key},
                              .stamp = {.purge_url = SLICE("h.example/a")},
                              .verdict = STORE_USABLE,
                              .head = SLICE("7 53 200"),
                              .body_bytes = 1234};
}

static void must_be_line(const struct store_row *r, const char *want)
{
    struct admin_backend b = backend();
    struct buf out;

    buf_init(&out, 4096);
    assert_int_equal(admin__ls_line(&b, r, &out), want != NULL);
    if (want != NULL && !slice_eq(buf_slice(&out), slice_of(want)))
        fail_msg("said %.*s", (int)out.n, out.p);
    buf_release(&out);
}

/* The key is made by who makes it for the store, so that this fails when the two forms drift apart.
 */
static void test_a_line_shows_the_url_as_it_was_asked_for(void **state)
{
    char room[1024];
    struct arena arena;
    struct site site = {0};
    struct store_row r;

    (void)state;
    arena_init(&arena, room, sizeof(room), sizeof(room));
    r = row(site_key(&site, true, SLICE("h.example"), SLICE("/%61?q=\"1\""), &arena));
    must_be_line(&r, "{\"url\":\"https://h.example/%61?q=\\\"1\\\"\",\"age_s\":7,\"ttl_s\":53,"
                     "\"size\":1234,\"status\":200,\"state\":\"fresh\",\"variant\":null}\n");
    r = row(site_key(&site, false, SLICE("h.example"), SLICE("/"), &arena));
    must_be_line(&r, "{\"url\":\"http://h.example/\",\"age_s\":7,\"ttl_s\":53,"
                     "\"size\":1234,\"status\":200,\"state\":\"fresh\",\"variant\":null}\n");
    r = row(SLICE("of another version"));
    must_be_line(&r, "{\"url\":\"h.example/a\",\"age_s\":7,\"ttl_s\":53,"
                     "\"size\":1234,\"status\":200,\"state\":\"fresh\",\"variant\":null}\n");
    arena_release(&arena);
}

static void test_state_and_variant_are_shown(void **state)
{
    struct store_row r = row(SLICE("x"));

    (void)state;
    r.key.variant = 0xabc;
    r.head = SLICE("60 0 404");
    must_be_line(&r,
                 "{\"url\":\"h.example/a\",\"age_s\":60,\"ttl_s\":0,\"size\":1234,\"status\":404,"
                 "\"state\":\"stale\",\"variant\":\"0000000000000abc\"}\n");
    r.head = SLICE("1 9 200");
    r.verdict = STORE_STALE;
    must_be_line(&r,
                 "{\"url\":\"h.example/a\",\"age_s\":1,\"ttl_s\":9,\"size\":1234,\"status\":200,"
                 "\"state\":\"stale\",\"variant\":\"0000000000000abc\"}\n");
    r.verdict = STORE_DEAD;
    must_be_line(&r,
                 "{\"url\":\"h.example/a\",\"age_s\":1,\"ttl_s\":9,\"size\":1234,\"status\":200,"
                 "\"state\":\"purged\",\"variant\":\"0000000000000abc\"}\n");
}

static void test_markers_and_foreign_heads_are_no_lines(void **state)
{
    struct store_row r = row(SLICE("x"));

    (void)state;
    r.is_marker = true;
    must_be_line(&r, NULL);
    r = row(SLICE("x"));
    r.head = SLICE("not a head");
    must_be_line(&r, NULL);
}

static void test_query_values_are_found_and_decoded(void **state)
{
    static const struct {
        const char *query, *value; /* of "p" */
        enum err result;
    } q[] = {
        {"p=a%2Fb%3f", "a/b?", ERR_OK}, {"x=1&p=a+b", "a+b", ERR_OK}, {"pp=1&p=2", "2", ERR_OK},
        {"p=1&p=2", "1", ERR_OK},       {"p=", "", ERR_OK},           {"p", "", ERR_OK},
        {"x=1", "", ERR_NOT_FOUND},     {"", "", ERR_NOT_FOUND},      {"p=%", "", ERR_INVALID},
        {"p=%2", "", ERR_INVALID},      {"p=%g0", "", ERR_INVALID},   {"p=%2g", "", ERR_INVALID},
        {"p=1234567", "", ERR_INVALID},
    };
    struct buf out;

    (void)state;
    for (size_t i = 0; i < sizeof(q) / sizeof(q[0]); i++) {
        buf_init(&out, 6);
        assert_int_equal(admin__query_value(slice_of(q[i].query), SLICE("p"), &out), q[i].result);
        if (q[i].result == ERR_OK)
            assert_true(slice_eq(buf_slice(&out), slice_of(q[i].value)));
        buf_release(&out);
    }
}

static void on_done(void *user, enum err e)
{
    *(enum err *)user = e;
}

static void store_one(const char *target, uint64_t variant)
{
    static const struct store_put_events events = {.done = on_done};
    char room[1024];
    struct arena arena;
    struct site site = {0};
    struct store_put *put = NULL;
    enum err done = ERR_AGAIN;
    struct store_record rec = {.head = SLICE("1 9 200"), .body = SLICE("body")};

    arena_init(&arena, room, sizeof(room), sizeof(room));
    rec.key.host = SLICE("two.example");
    rec.key.text = site_key(&site, true, rec.key.host, slice_of(target), &arena);
    rec.key.variant = variant;
    rec.stamp.birth = purge_head(world.purge);
    rec.stamp.purge_url = site_purge_url(&(struct site){0}, rec.key.host, slice_of(target), &arena);
    if (variant != 0)
        rec.marker = SLICE("x");
    assert_int_equal(store_put_begin(world.store, &events, &done, &put), ERR_OK);
    store_put_publish(&put, &rec, rec.body.n);
    store_flush(world.store);
    assert_int_equal(done, ERR_OK);
    arena_release(&arena);
}

static size_t lines(void)
{
    size_t n = 0;

    for (size_t i = 0; i < world.answer.body.n; i++)
        n += world.answer.body.p[i] == '\n';
    return n;
}

static void test_a_listing_shows_what_is_under_the_prefix(void **state)
{
    (void)state;
    world_configure(0);
    store_one("/a/1", 0);
    store_one("/a/2", 0);
    store_one("/b", 0);
    store_one("/a/3", 5);
    assert_int_equal(world_ask(NULL, "GET", "/ls?prefix=https%3A%2F%2Ftwo.example%2Fa%2F", NULL),
                     200);
    assert_string_equal(world.answer.content_type, "application/x-ndjson");
    assert_int_equal(lines(), 3);
    assert_true(world_says("https://two.example/a/1\""));
    assert_true(world_says("https://two.example/a/2\""));
    assert_true(world_says("\"variant\":\"0000000000000005\""));
    assert_false(world_says("/b"));
    assert_int_equal(world_ask(NULL, "GET", "/ls?prefix=two.example", NULL), 200);
    assert_int_equal(lines(), 4);
    assert_int_equal(world_ask(NULL, "GET", "/ls?prefix=two.example&limit=2", NULL), 200);
    assert_int_equal(lines(), 2);
    assert_int_equal(world_ask(NULL, "GET", "/ls?prefix=nobody.example", NULL), 200);
    assert_int_equal(lines(), 0);
}

static void test_a_listing_shows_what_a_purge_did(void **state)
{
    (void)state;
    world_configure(0);
    store_one("/a", 0);
    assert_int_equal(world_ask(NULL, "POST", "/purge",
                               "{\"scopes\":[{\"url\":\"two.example/a\"}],\"soft\":true}"),
                     200);
    assert_int_equal(world_ask(NULL, "GET", "/ls?prefix=two.example/a", NULL), 200);
    assert_true(world_says("\"state\":\"stale\""));
}

static void test_wrong_parameters_are_refused(void **state)
{
    static const char *const bad[] = {
        "/ls",
        "/ls?prefix=",
        "/ls?prefix=%zz",
        "/ls?prefix=two.example&limit=0",
        "/ls?prefix=two.example&limit=100001",
        "/ls?prefix=two.example&limit=x",
        "/ls?prefix=two.example&limit=",
        "/ls?prefix=two.example&limit=%3",
        "/ls?prefix=https://",
    };

    (void)state;
    world_configure(0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (world_ask(NULL, "GET", bad[i], NULL) != 400)
            fail_msg("accepted: %s", bad[i]);
}

static void test_a_token_for_some_sites_lists_no_others(void **state)
{
    (void)state;
    world_configure(4);
    assert_int_equal(world_ask("secret-of-one-only", "GET", "/ls?prefix=two.example/", NULL), 403);
    assert_int_equal(world_ask("secret-of-one-only", "GET", "/ls?prefix=www.one.example/", NULL),
                     200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_shows_the_url_as_it_was_asked_for),
        cmocka_unit_test(test_state_and_variant_are_shown),
        cmocka_unit_test(test_markers_and_foreign_heads_are_no_lines),
        cmocka_unit_test(test_query_values_are_found_and_decoded),
        IN_WORLD(test_a_listing_shows_what_is_under_the_prefix),
        IN_WORLD(test_a_listing_shows_what_a_purge_did),
        IN_WORLD(test_wrong_parameters_are_refused),
        IN_WORLD(test_a_token_for_some_sites_lists_no_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
