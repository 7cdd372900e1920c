/* Validation, and stale answers: asked about, refreshed behind the client's back, or standing in
 * for a failure. */
#include "cache_world.h"

#define MIB64 (64ull << 20)
/* Stale since 5 s when it comes. */
#define STALE     "cache-control: max-age=10\nage: 15\n"
#define STALE_SWR "cache-control: max-age=10, stale-while-revalidate=600\nage: 15\n"

static int up(void **state)
{
    struct world *w = malloc(sizeof(*w));

    world_open(w, 2, MIB64);
    *state = w;
    return 0;
}

static int down(void **state)
{
    world_close(*state);
    free(*state);
    return 0;
}

static void test_304_freshens_what_is_stored(void **state)
{
    struct world *w = *state;
    struct asker a, b;

    world_put(w, "/a", "", 200,
              STALE "etag: \"1\"\nlast-modified: Thu, 01 Jan 2015 00:00:00 GMT\nx-own: 1\n",
              "hello");
    ask(w, 0, &a, "GET", "/a", "");
    ask(w, 1, &b, "GET", "/a", "if-none-match: \"1\"\n");
    world_drain(w);
    assert_int_equal(world_requests(w), 2);
    assert_string_equal(fake_fetch_field(world_last(w, 0), "if-none-match"), "\"1\"");
    assert_string_equal(fake_fetch_field(world_last(w, 0), "if-modified-since"),
                        "Thu, 01 Jan 2015 00:00:00 GMT");
    fake_fetch_answer(world_last(w, 0), 304,
                      "cache-control: max-age=60\netag: \"1\"\nx-own: 2\ncontent-length: 0\n"
                      "connection: x-hop\nx-hop: 1\nkeep-alive: timeout=5\n",
                      "");
    world_drain(w);
    asker_got(&a, 200, "hello");
    assert_string_equal(asker_field(&a, "x-own"), "2");
    assert_null(asker_field(&a, "x-hop")); /* the 304's own hop is over (section 3.1) */
    assert_null(asker_field(&a, "keep-alive"));
    assert_string_equal(asker_field(&a, "cache-control"), "max-age=60");
    assert_int_equal(a.answer.verdict, VERDICT_REVALIDATED);
    assert_int_equal(a.answer.cache_status.fwd, FWD_STALE);
    assert_int_equal(a.answer.cache_status.fwd_status, 304);
    assert_true(a.answer.age_s >= 0 && a.answer.age_s < 10);
    asker_got(&b, 304, "");
    asker_release(&a);
    asker_release(&b);
    world_settle(w);
    ask(w, 0, &a, "GET", "/a", "");
    asker_got(&a, 200, "hello");
    assert_int_equal(a.answer.verdict, VERDICT_HIT);
    assert_string_equal(asker_field(&a, "x-own"), "2");
    asker_release(&a);
    assert_int_equal(world_requests(w), 2);
}

static void test_304_answers_a_range(void **state)
{
    struct world *w = *state;
    struct asker a;

    world_put(w, "/a", "", 200, STALE "etag: \"1\"\n", "hello");
    ask(w, 0, &a, "GET", "/a", "range: bytes=1-2\n");
    world_drain(w);
    assert_null(fake_fetch_field(world_last(w, 0), "range"));
    fake_fetch_answer(world_last(w, 0), 304, "x: y\n", "");
    world_drain(w);
    asker_got(&a, 206, "el");
    asker_release(&a);
}

static void test_200_answers_a_range_and_replaces(void **state)
{
    struct world *w = *state;
    struct asker a;

    world_put(w, "/a", "", 200, STALE "etag: \"1\"\n", "hello");
    ask(w, 0, &a, "GET", "/a", "range: bytes=1-3\n");
    world_drain(w);
    fake_fetch_answer(world_last(w, 0), 200, "cache-control: max-age=60\netag: \"2\"\n", "world");
    world_drain(w);
    asker_got(&a, 206, "orl");
    assert_string_equal(asker_field(&a, "content-range"), "bytes 1-3/5");
    asker_release(&a);
    world_settle(w);
    ask(w, 0, &a, "GET", "/a", "");
    asker_got(&a, 200, "world");
    asker_release(&a);
}

static void test_a_304_that_says_private_is_for_one_and_drops(void **state)
{
    struct world *w = *state;
    struct asker a, b;

    world_put(w, "/a", "", 200, STALE "etag: \"1\"\n", "hello");
    ask(w, 0, &a, "GET", "/a", "");
    ask(w, 1, &b, "GET", "/a", "");
    world_drain(w);
    fake_fetch_answer(world_last(w, 0), 304, "cache-control: private\n", "");
    world_drain(w);
    asker_got(&a, 200, "hello");
    assert_false(b.has_answer);
    asker_release(&a);
    asker_release(&b);
    world_settle(w);
    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    assert_null(fake_fetch_field(world_last(w, 0), "if-none-match"));
    asker_release(&a);
}

static void test_a_304_about_another_is_asked_again(void **state)
{
    struct world *w = *state;
    struct asker a;

    world_put(w, "/a", "", 200, STALE "etag: \"1\"\n", "hello");
    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    fake_fetch_head(world_last(w, 0), 304, "etag: \"2\"\n", CACHE_NO_BODY, 0);
    assert_true(fake_fetch_is_cancelled(world_last(w, 0)));
    world_drain(w);
    assert_int_equal(world_requests(w), 3);
    assert_null(fake_fetch_field(world_last(w, 0), "if-none-match"));
    fake_fetch_answer(world_last(w, 0), 200, "cache-control: max-age=60\netag: \"2\"\n", "world");
    world_drain(w);
    asker_got(&a, 200, "world");
    asker_release(&a);
}

/* "Not modified since", and yet another: the file that lay there before has been put back. */
static void test_a_304_of_another_date_is_asked_again(void **state)
{
    struct world *w = *state;
    struct asker a;

    world_put(w, "/a", "", 200, STALE "last-modified: Thu, 01 Jan 2015 00:00:00 GMT\n", "hello");
    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    fake_fetch_head(world_last(w, 0), 304, "last-modified: Wed, 01 Jan 2014 00:00:00 GMT\n",
                    CACHE_NO_BODY, 0);
    world_drain(w);
    assert_int_equal(world_requests(w), 3);
    assert_null(fake_fetch_field(world_last(w, 0), "if-modified-since"));
    fake_fetch_answer(world_last(w, 0), 200,
                      "cache-control: max-age=60\nlast-modified: Wed, 01 Jan 2014 00:00:00 GMT\n",
                      "world");
    world_drain(w);
    asker_got(&a, 200, "world");
    asker_release(&a);
}

/* Its Expires counts from when it came, and not from the Date of what it freshens. */
static void test_a_304_without_date(void **state)
{
    struct world *w = *state;
    struct asker a;

    world_put(w, "/a", "", 200,
              "date: Thu, 01 Jan 2015 00:00:00 GMT\nexpires: Thu, 01 Jan 2015 00:00:00 GMT\n"
              "etag: \"1\"\n",
              "hello");
    for (int n = 2; n < 4; n++) {
        ask(w, 0, &a, "GET", "/a", "");
        world_drain(w);
        assert_int_equal(world_requests(w), n);
        fake_fetch_answer(world_last(w, 0), 304,
                          "etag: \"1\"\nexpires: Fri, 02 Jan 2015 00:00:00 GMT\n", "");
        world_drain(w);
        asker_got(&a, 200, "hello");
        assert_true(a.answer.date_s > 1700000000);
        asker_release(&a);
        world_settle(w);
    }
}

static void test_no_validator_is_fetched_whole(void **state)
{
    struct world *w = *state;
    struct asker a;

    world_put(w, "/a", "", 200, STALE, "hello");
    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    assert_null(fake_fetch_field(world_last(w, 0), "if-none-match"));
    fake_fetch_answer(world_last(w, 0), 200, "cache-control: max-age=60\n", "world");
    world_drain(w);
    asker_got(&a, 200, "world");
    assert_int_equal(a.answer.cache_status.fwd, FWD_STALE);
    asker_release(&a);
}

/* ---- stale-while-revalidate ---- */

static void test_swr_answers_at_once_and_refreshes_once(void **state)
{
    struct world *w = *state;
    struct asker a;

    world_put(w, "/a", "", 200, STALE_SWR "etag: \"1\"\n", "hello");
    for (int i = 0; i < 10; i++) {
        ask(w, (unsigned)i % 2, &a, i % 3 == 0 ? "HEAD" : "GET", "/a",
            "authorization: me\ncache-control: no-store\n");
        assert_true(a.has_answer);
        assert_int_equal(a.answer.verdict, VERDICT_STALE);
        assert_int_equal(a.answer.cache_status.fwd, FWD_NONE);
        assert_true(a.answer.cache_status.ttl_s < 0);
        asker_got(&a, 200, i % 3 == 0 ? "" : "hello");
        asker_release(&a);
        world_drain(w);
    }
    assert_int_equal(world_requests(w), 2);
    assert_string_equal(fake_fetch_method(world_last(w, 0)), "GET");
    assert_string_equal(fake_fetch_field(world_last(w, 0), "if-none-match"), "\"1\"");
    fake_fetch_answer(world_last(w, 0), 200, "cache-control: max-age=60, public\n", "world");
    world_settle(w);
    ask(w, 1, &a, "GET", "/a", "");
    asker_got(&a, 200, "world");
    assert_int_equal(a.answer.verdict, VERDICT_HIT);
    asker_release(&a);
    assert_int_equal(world_requests(w), 2);
}

static void test_a_failed_refresh_leaves_the_entry_and_rests(void **state)
{
    struct world *w = *state;
    struct asker a;

    world_put(w, "/a", "", 200, STALE_SWR "etag: \"1\"\n", "hello");
    for (int i = 0; i < 4; i++) {
        ask(w, 0, &a, "GET", "/a", "");
        asker_got(&a, 200, "hello");
        asker_release(&a);
        world_drain(w);
        if (i == 0) {
            fake_fetch_fail(world_last(w, 0), RESPONSE_UNREACHABLE);
            world_drain(w);
        }
    }
    assert_int_equal(world_requests(w), 2); /* no tight loop */
    fake_reactor_advance(w->reactor[0], LIMIT_CLIENT_RELOAD_MS + 1);
    ask(w, 1, &a, "GET", "/a", "");
    asker_got(&a, 200, "hello");
    asker_release(&a);
    world_drain(w);
    assert_int_equal(world_requests(w), 3);
    fake_fetch_answer(world_last(w, 1), 503, "x: y\n", "busy");
    world_drain(w);
    ask(w, 0, &a, "GET", "/a", "");
    asker_got(&a, 200, "hello");
    asker_release(&a);
    world_drain(w);
    assert_int_equal(world_requests(w), 3);
}

/* ---- failures ---- */

static void test_stale_stands_in_for_a_failure(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *stored;
        int came; /* 0: nothing */
        int want;
        const char *body;
    } row[] = {
        {STALE, 0, 200, "hello"},  /* the last good copy */
        {STALE, 503, 503, "busy"}, /* the origin has said what it wants said */
        {"cache-control: max-age=10, stale-if-error=600\nage: 15\n", 503, 200, "hello"},
        {"cache-control: max-age=10, stale-if-error=600\nage: 15\n", 404, 404, "busy"},
        {"cache-control: max-age=10, stale-if-error=2\nage: 15\n", 503, 503, "busy"},
        {"cache-control: max-age=10, must-revalidate\nage: 15\n", 0, 504, NULL},
        {"cache-control: s-maxage=10\nage: 15\n", 0, 504, NULL},
        {"cache-control: no-cache\n", 0, 504, NULL},
        {"cache-control: max-age=10\nage: 100000\n", 0, 503, NULL}, /* over a day */
    };
    struct asker a, b;

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        char target[16], stored[200];

        snprintf(target, sizeof(target), "/%zu", i);
        snprintf(stored, sizeof(stored), "%setag: \"1\"\n", row[i].stored);
        world_put(w, target, "", 200, stored, "hello");
        ask(w, 0, &a, "GET", target, "");
        ask(w, 1, &b, "GET", target, "");
        world_drain(w);
        if (row[i].came == 0)
            fake_fetch_fail(world_last(w, 0), RESPONSE_UNREACHABLE);
        else
            fake_fetch_answer(world_last(w, 0), row[i].came, "x: y\n", "busy");
        world_drain(w);
        if (i == sizeof(row) / sizeof(row[0]) - 1)
            assert_true(a.answer.status == 503 || a.answer.status == 504);
        else
            assert_int_equal(a.answer.status, row[i].want);
        if (row[i].want == 200) {
            assert_int_equal(a.answer.verdict, VERDICT_STALE);
            assert_int_equal(a.answer.cache_status.fwd, FWD_STALE);
            assert_true(a.answer.age_s >= 15);
            assert_int_equal(b.answer.verdict, VERDICT_STALE);
            asker_got(&b, 200, "hello");
        }
        if (row[i].body != NULL)
            asker_got(&a, row[i].want, row[i].body);
        if (row[i].want == 504)
            assert_null(asker_field(&a, "etag")); /* no field of what is stored */
        asker_release(&a);
        asker_release(&b);
        world_settle(w);
    }
}

/* Fresh, but too old for this client: Cache-Status does not call it stale (RFC 9211 section 2.2).
 */
static void test_what_stands_in_though_fresh_was_forwarded_for_the_request(void **state)
{
    struct world *w = *state;
    struct asker a;

    world_put(w, "/a", "", 200, "cache-control: max-age=100\nage: 15\netag: \"1\"\n", "hello");
    ask(w, 0, &a, "GET", "/a", "cache-control: max-age=5\n");
    world_drain(w);
    assert_int_equal(world_requests(w), 2);
    fake_fetch_fail(world_last(w, 0), RESPONSE_UNREACHABLE);
    world_drain(w);
    asker_got(&a, 200, "hello");
    assert_int_equal(a.answer.cache_status.fwd, FWD_REQUEST);
    assert_true(a.answer.cache_status.ttl_s > 0);
    asker_release(&a);
}

/* purge-protocol rules 20, 22, 23 */
static void test_a_purged_copy_is_no_validator_and_no_stale_answer(void **state)
{
    struct world *w = *state;
    struct asker a;

    world_put(w, "/a", "", 200, STALE_SWR "etag: \"1\"\n", "hello");
    world_purge(w, PURGE_URL, HOST "/a", false);
    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    assert_null(fake_fetch_field(world_last(w, 0), "if-none-match"));
    fake_fetch_fail(world_last(w, 0), RESPONSE_UNREACHABLE);
    world_drain(w);
    assert_int_equal(a.answer.status, 503);
    asker_release(&a);
}

static void test_a_waiter_after_the_purge_gets_no_fallback_of_the_leader(void **state)
{
    struct world *w = *state;
    struct asker a, b;

    world_put(w, "/a", "", 200, STALE "etag: \"1\"\ncache-tag: t1\n", "hello");
    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    world_purge(w, PURGE_TAG, "t1", false);
    ask(w, 1, &b, "GET", "/a", ""); /* an error has no tags: it joins */
    world_drain(w);
    for (unsigned i = 0; i < 2; i++)
        if (fake_fetcher_count(w->origin[i]) > 0 && fake_fetch_is_running(world_last(w, i)))
            fake_fetch_fail(world_last(w, i), RESPONSE_UNREACHABLE);
    world_drain(w);
    assert_int_equal(b.answer.status, 503);
    assert_int_equal(a.answer.status, 503); /* judged when it is served: rule 22 */
    asker_release(&a);
    asker_release(&b);
}

static void test_a_304_does_not_revive_what_is_purged(void **state)
{
    struct world *w = *state;
    struct asker a, b;

    world_put(w, "/a", "", 200, STALE "etag: \"1\"\ncache-tag: t1\n", "old");
    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    world_purge(w, PURGE_TAG, "t1", false);
    ask(w, 1, &b, "GET", "/a", "");
    world_drain(w);
    fake_fetch_answer(fake_fetcher_at(w->origin[0], 1), 304,
                      "cache-control: max-age=60\netag: \"1\"\n", "");
    world_settle(w);
    assert_false(b.has_answer);
    assert_null(fake_fetch_field(world_last(w, 1), "if-none-match"));
    fake_fetch_answer(world_last(w, 1), 200,
                      "cache-control: max-age=60\netag: \"1\"\ncache-tag: t1\n", "new");
    world_settle(w);
    asker_got(&b, 200, "new");
    asker_release(&a);
    asker_release(&b);
    ask(w, 0, &a, "GET", "/a", "");
    asker_got(&a, 200, "new");
    asker_release(&a);
}

static void purge_now(void *user)
{
    world_purge(user, PURGE_URL, HOST "/a", false);
}

static void test_the_birth_of_a_validation_is_read_before_the_send(void **state)
{
    struct world *w = *state;
    struct asker a;

    world_put(w, "/a", "", 200, STALE "etag: \"1\"\n", "old");
    fake_fetcher_on_start(w->origin[0], purge_now, w);
    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    fake_fetcher_on_start(w->origin[0], NULL, NULL);
    fake_fetch_answer(world_last(w, 0), 304, "cache-control: max-age=60\n", "");
    world_settle(w);
    asker_release(&a);
    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    assert_false(a.has_answer);
    asker_release(&a);
}

static void test_a_soft_purge_makes_stale(void **state)
{
    struct world *w = *state;
    struct asker a;

    world_put(w, "/a", "", 200, "cache-control: max-age=60\netag: \"1\"\n", "hello");
    world_purge(w, PURGE_URL, HOST "/a", true);
    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    assert_false(a.has_answer);
    assert_string_equal(fake_fetch_field(world_last(w, 0), "if-none-match"), "\"1\"");
    fake_fetch_answer(world_last(w, 0), 304, "x: y\n", "");
    world_settle(w);
    asker_got(&a, 200, "hello");
    asker_release(&a);
    ask(w, 0, &a, "GET", "/a", "");
    assert_int_equal(a.answer.verdict, VERDICT_HIT);
    asker_release(&a);
}

static void test_401_leaves_the_entry_alone(void **state)
{
    struct world *w = *state;
    struct asker a;

    world_put(w, "/a", "", 200, STALE "cache-control: public\netag: \"1\"\n", "hello");
    ask(w, 0, &a, "GET", "/a", "authorization: wrong\n");
    world_drain(w);
    fake_fetch_answer(world_last(w, 0), 401, "x: y\n", "who?");
    world_settle(w);
    asker_got(&a, 401, "who?");
    asker_release(&a);
    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    assert_string_equal(fake_fetch_field(world_last(w, 0), "if-none-match"), "\"1\"");
    asker_release(&a);
}

/* The origin was asked about two tags: what the client has is current, what is stored is not. */
static void test_a_304_to_two_tags_that_names_none_is_asked_again(void **state)
{
    struct world *w = *state;
    struct asker a, b;

    world_put(w, "/a", "", 200, STALE "etag: \"1\"\n", "old");
    ask(w, 0, &a, "GET", "/a", "if-none-match: \"2\"\n");
    world_drain(w);
    fake_fetch_answer(world_last(w, 0), 304, "cache-control: max-age=60\n", "");
    world_drain(w);
    assert_int_equal(world_requests(w), 3);
    assert_null(fake_fetch_field(world_last(w, 0), "if-none-match"));
    ask(w, 1, &b, "GET", "/a", "");
    fake_fetch_answer(world_last(w, 0), 200, "cache-control: max-age=60\netag: \"2\"\n", "new");
    world_settle(w);
    asker_got(&a, 304, "");
    asker_got(&b, 200, "new");
    asker_release(&a);
    asker_release(&b);

    world_put(w, "/b", "", 200, STALE "etag: \"1\"\n", "same"); /* asked about that alone */
    ask(w, 0, &a, "GET", "/b", "if-none-match: \"1\"\n");
    world_drain(w);
    fake_fetch_answer(world_last(w, 0), 304, "cache-control: max-age=60\n", "");
    world_settle(w);
    asker_got(&a, 304, "");
    asker_release(&a);
    assert_int_equal(world_requests(w), 5);
}

#define WORLD(f) cmocka_unit_test_setup_teardown(f, up, down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD(test_304_freshens_what_is_stored),
        WORLD(test_304_answers_a_range),
        WORLD(test_200_answers_a_range_and_replaces),
        WORLD(test_a_304_that_says_private_is_for_one_and_drops),
        WORLD(test_a_304_about_another_is_asked_again),
        WORLD(test_a_304_of_another_date_is_asked_again),
        WORLD(test_a_304_without_date),
        WORLD(test_no_validator_is_fetched_whole),
        WORLD(test_swr_answers_at_once_and_refreshes_once),
        WORLD(test_a_failed_refresh_leaves_the_entry_and_rests),
        WORLD(test_stale_stands_in_for_a_failure),
        WORLD(test_what_stands_in_though_fresh_was_forwarded_for_the_request),
        WORLD(test_a_purged_copy_is_no_validator_and_no_stale_answer),
        WORLD(test_a_waiter_after_the_purge_gets_no_fallback_of_the_leader),
        WORLD(test_a_304_does_not_revive_what_is_purged),
        WORLD(test_the_birth_of_a_validation_is_read_before_the_send),
        WORLD(test_a_soft_purge_makes_stale),
        WORLD(test_401_leaves_the_entry_alone),
        WORLD(test_a_304_to_two_tags_that_names_none_is_asked_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
