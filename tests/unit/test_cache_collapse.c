/* One fetch for everybody: who shares it, who may not, and what happens when it
 * fails or is purged.
 */
#include "cache_world.h"

enum { MANY = 50 };
#define MIB64 (64ull << 20)
#define FRESH "cache-control: max-age=60\n"

static int up(void **state)
{
    struct world *w = malloc(sizeof(*w));

    world_open(w, 3, MIB64);
    *state = w;
    return 0;
}

static int down(void **state)
{
    world_close(*state);
    free(*state);
    return 0;
}

static void test_many_clients_cost_one_fetch(void **state)
{
    struct world *w = *state;
    static struct asker a[MANY];

    for (unsigned i = 0; i < MANY; i++)
        ask(w, i % w->workers, &a[i], "GET", "/a", "");
    world_drain(w);
    assert_int_equal(world_requests(w), 1);
    fake_fetch_answer(world_last(w, 0), 200, FRESH, "hello");
    world_drain(w);
    for (unsigned i = 0; i < MANY; i++) {
        asker_got(&a[i], 200, "hello");
        assert_int_equal(a[i].answer.verdict, i == 0 ? VERDICT_MISS : VERDICT_COLLAPSED);
        assert_int_equal(a[i].answer.cache_status.collapsed, i != 0);
        asker_release(&a[i]);
    }
    world_settle(w);
    assert_int_equal(world_requests(w), 1);
}

/* RFC 9110 section 15.2. */
static void test_interim_responses_are_for_the_one_who_asked(void **state)
{
    struct world *w = *state;
    struct asker a, b, later;

    ask(w, 0, &a, "GET", "/a", "");
    ask(w, 1, &b, "GET", "/a", "");
    world_drain(w);
    fake_fetch_interim(world_last(w, 0), 103,
                       "connection: x-hop\nx-hop: 1\nage: 3\nlink: </x>\nselvage-error: y\n");
    assert_string_equal(a.interim, "103 link: </x>");
    fake_fetch_interim(world_last(w, 0), 102, "");
    fake_fetch_answer(world_last(w, 0), 200, FRESH, "hello");
    world_drain(w);
    assert_string_equal(a.interim, "102");
    assert_int_equal(a.interims, 2);
    assert_int_equal(b.interims, 0);
    asker_got(&a, 200, "hello");
    asker_got(&b, 200, "hello");
    assert_null(http_fields_find(&a.fields, SLICE("link")));
    asker_release(&a);
    asker_release(&b);
    world_settle(w);
    ask(w, 0, &later, "GET", "/a", "");
    asker_got(&later, 200, "hello");
    assert_int_equal(later.interims, 0);
    assert_null(http_fields_find(&later.fields, SLICE("link")));
    asker_release(&later);
}

static void test_nobody_hears_what_was_for_one_who_has_left(void **state)
{
    struct world *w = *state;
    struct asker a, b;

    ask(w, 0, &a, "GET", "/a", "");
    ask(w, 0, &b, "GET", "/a", "");
    world_drain(w);
    asker_release(&a);
    fake_fetch_interim(world_last(w, 0), 103, "link: </x>\n");
    fake_fetch_answer(world_last(w, 0), 200, FRESH, "hello");
    world_drain(w);
    asker_got(&b, 200, "hello");
    assert_int_equal(b.interims, 0);
    asker_release(&b);
    world_settle(w);
}

static void test_keys_do_not_meet(void **state)
{
    struct world *w = *state;
    struct asker a, b;

    ask(w, 0, &a, "GET", "/a?x=1", "");
    ask(w, 0, &b, "GET", "/a?x=2", "");
    world_drain(w);
    assert_int_equal(world_requests(w), 2);
    asker_release(&a);
    asker_release(&b);
}

static void test_the_leader_leaves_and_the_waiters_stay(void **state)
{
    struct world *w = *state;
    struct asker a, b, c;

    ask(w, 0, &a, "GET", "/a", "");
    ask(w, 1, &b, "GET", "/a", "");
    asker_release(&a); /* before the request is out */
    world_drain(w);
    assert_int_equal(world_requests(w), 1);
    ask(w, 2, &c, "GET", "/a", "");
    asker_release(&b);
    world_drain(w);
    assert_false(fake_fetch_is_cancelled(world_last(w, 0)));
    fake_fetch_head(world_last(w, 0), 200, FRESH, CACHE_LENGTH, 5);
    fake_fetch_body(world_last(w, 0), "he", 2);
    world_drain(w);
    assert_true(c.has_answer);
    fake_fetch_body(world_last(w, 0), "llo", 3);
    fake_fetch_done(world_last(w, 0));
    world_drain(w);
    asker_got(&c, 200, "hello");
    asker_release(&c);
}

static void test_one_that_comes_when_the_last_has_left_is_served(void **state)
{
    struct world *w = *state;
    struct asker a, b;

    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    asker_release(&a); /* the leader's worker has not heard of it */
    ask(w, 1, &b, "GET", "/a", "");
    world_drain(w);
    assert_false(b.has_answer);
    fake_fetch_answer(fake_fetch_is_cancelled(fake_fetcher_at(w->origin[0], 0)) ? world_last(w, 1)
                                                                                : world_last(w, 0),
                      200, FRESH, "hello");
    world_drain(w);
    asker_got(&b, 200, "hello");
    asker_release(&b);
}

static void test_between_the_last_byte_and_the_commit(void **state)
{
    struct world *w = *state;
    struct asker a, b;

    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    fake_fetch_answer(world_last(w, 0), 200, FRESH, "hello");
    ask(w, 1, &b, "GET", "/a", ""); /* the commit takes 100 ms */
    world_drain(w);
    asker_got(&b, 200, "hello");
    assert_int_equal(world_requests(w), 1);
    asker_release(&a);
    asker_release(&b);
}

/* http-caching: reusable by the very next request, whatever it asks for of it.
 */
static void test_a_part_and_a_head_between_the_last_byte_and_the_commit(void **state)
{
    struct world *w = *state;
    struct asker a, part, head;

    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    fake_fetch_answer(world_last(w, 0), 200, FRESH, "hello");
    ask(w, 1, &part, "GET", "/a", "range: bytes=1-3\n");
    ask(w, 1, &head, "HEAD", "/a", "");
    world_drain(w);
    asker_got(&part, 206, "ell");
    asker_got(&head, 200, "");
    assert_int_equal(world_requests(w), 1);
    asker_release(&a);
    asker_release(&part);
    asker_release(&head);
}

/* RFC 9111 section 5.2.2.4: those who waited for a validation have its result;
 * a later request wants one of its own, though the first is not committed yet.
 */
static void test_what_must_be_validated_is_not_joined_after_its_head(void **state)
{
    static const char no_cache[] = "cache-control: no-cache, max-age=60\netag: \"1\"\n";
    struct world *w = *state;
    struct asker a, waiter, late;

    world_put(w, "/a", "", 200, no_cache, "hello");
    ask(w, 0, &a, "GET", "/a", "");
    ask(w, 1, &waiter, "GET", "/a", "");
    world_drain(w);
    assert_int_equal(world_requests(w), 2);
    fake_fetch_answer(world_last(w, 0), 304, no_cache, "");
    ask(w, 1, &late, "GET", "/a", "");
    world_drain(w);
    asker_got(&a, 200, "hello");
    asker_got(&waiter, 200, "hello");
    assert_int_equal(world_requests(w), 3);
    fake_fetch_answer(world_last(w, 1), 304, no_cache, "");
    world_drain(w);
    asker_got(&late, 200, "hello");
    asker_release(&a);
    asker_release(&waiter);
    asker_release(&late);
}

/* While bytes still come, a part is asked of the origin: the whole may be long.
 */
static void test_a_part_of_what_is_still_coming_is_passed(void **state)
{
    struct world *w = *state;
    struct asker a, part;

    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    ask(w, 0, &part, "GET", "/a", "range: bytes=1-3\n");
    world_drain(w);
    assert_int_equal(world_requests(w), 2);
    asker_release(&a);
    asker_release(&part);
}

static void test_waiters_of_another_variant_fetch_theirs_once(void **state)
{
    struct world *w = *state;
    struct asker a, b, c, d, e;

    ask(w, 0, &a, "GET", "/a", "accept-language: de\n");
    ask(w, 1, &b, "GET", "/a", "accept-language: en\n");
    ask(w, 2, &c, "GET", "/a", "accept-language: en\n");
    ask(w, 1, &d, "GET", "/a", "accept-language: de\n");
    ask(w, 2, &e, "GET", "/a", "");
    world_drain(w);
    assert_int_equal(world_requests(w), 1);
    fake_fetch_answer(world_last(w, 0), 200, FRESH "vary: accept-language\n", "hallo");
    world_drain(w);
    asker_got(&a, 200, "hallo");
    asker_got(&d, 200, "hallo");
    assert_true(d.answer.cache_status.collapsed && !d.answer.cache_status.waited_in_vain);
    assert_false(b.has_answer);
    assert_false(c.has_answer);
    assert_false(e.has_answer);
    assert_int_equal(world_requests(w), 3);
    for (unsigned i = 1; i < 3; i++) {
        struct fake_fetch *f = world_last(w, i);

        fake_fetch_answer(f, 200, FRESH "vary: accept-language\n",
                          fake_fetch_field(f, "accept-language") != NULL ? "hello" : "any");
    }
    world_drain(w);
    asker_got(&b, 200, "hello");
    asker_got(&c, 200, "hello");
    asker_got(&e, 200, "any");
    asker_release(&a);
    asker_release(&b);
    asker_release(&c);
    asker_release(&d);
    asker_release(&e);
    world_settle(w);
    ask(w, 0, &a, "GET", "/a", "accept-language: en\n");
    asker_got(&a, 200, "hello");
    asker_release(&a);
    assert_int_equal(world_requests(w), 3);
}

static void test_private_answers_are_not_shared(void **state)
{
    struct world *w = *state;
    static const char *const secret[] = {
        "cache-control: private, max-age=60\n",
        "cache-control: no-store\n",
        "cache-control: max-age=60\nset-cookie: s=1\n",
        "cache-control: max-age=60\nvary: *\n",
        "x: no lifetime\n",
    };
    struct asker a, b, c;

    for (size_t i = 0; i < sizeof(secret) / sizeof(secret[0]); i++) {
        size_t before = world_requests(w);
        char target[16];

        snprintf(target, sizeof(target), "/%zu", i);
        ask(w, 0, &a, "GET", target, "");
        ask(w, 1, &b, "GET", target, "");
        ask(w, 2, &c, "GET", target, "");
        world_drain(w);
        assert_int_equal(world_requests(w), before + 1);
        fake_fetch_answer(world_last(w, 0), 200, secret[i], "for a");
        world_drain(w);
        asker_got(&a, 200, "for a");
        assert_false(b.has_answer);
        assert_false(c.has_answer);
        assert_int_equal(world_requests(w), before + 3); /* at once, not one after the other */
        fake_fetch_answer(world_last(w, 1), 200, secret[i], "for b");
        fake_fetch_answer(world_last(w, 2), 200, secret[i], "for c");
        world_drain(w);
        asker_got(&b, 200, "for b");
        asker_got(&c, 200, "for c");
        /* RFC 9211 section 2.6: tried, and in vain */
        assert_false(a.answer.cache_status.waited_in_vain);
        assert_true(b.answer.cache_status.waited_in_vain && !b.answer.cache_status.collapsed);
        asker_release(&a);
        asker_release(&b);
        asker_release(&c);
        world_settle(w);
    }
}

static void head_is(const struct asker *a, enum cache_verdict verdict)
{
    assert_true(a->has_answer);
    assert_int_equal(a->answer.status, 200);
    assert_int_equal(a->answer.body_bytes, 5);
    assert_int_equal(a->answer.verdict, verdict);
}

/* production: a HEAD miss goes as HEAD, is shared among HEADs, and remembered
 * for a second for them. */
static void test_heads_share_with_heads_alone(void **state)
{
    struct world *w = *state;
    struct asker a, b, get, late;

    ask(w, 0, &a, "HEAD", "/a", "");
    ask(w, 1, &b, "HEAD", "/a", "");
    ask(w, 0, &get, "GET", "/a", "");
    world_drain(w);
    assert_int_equal(world_requests(w), 2);
    assert_string_equal(fake_fetch_method(fake_fetcher_at(w->origin[0], 0)), "HEAD");
    assert_string_equal(fake_fetch_method(world_last(w, 0)), "GET");
    fake_fetch_head(fake_fetcher_at(w->origin[0], 0), 200, FRESH "content-length: 5\n",
                    CACHE_NO_BODY, 0);
    fake_fetch_done(fake_fetcher_at(w->origin[0], 0));
    world_drain(w);
    head_is(&a, VERDICT_MISS);
    head_is(&b, VERDICT_COLLAPSED);
    assert_false(get.has_answer);
    asker_release(&a);
    asker_release(&b);
    asker_release(&get);
    world_settle(w);

    ask(w, 1, &late, "HEAD", "/a", "");
    world_drain(w);
    head_is(&late, VERDICT_COLLAPSED);
    asker_release(&late);
    assert_int_equal(world_requests(w), 2);
    ask(w, 0, &get, "GET", "/a", "");
    world_drain(w);
    assert_int_equal(world_requests(w), 3);
    asker_release(&get);
    world_drain(w);
    fake_reactor_advance(w->reactor[0], LIMIT_CLIENT_RELOAD_MS);
    ask(w, 1, &late, "HEAD", "/a", "");
    world_drain(w);
    assert_int_equal(world_requests(w), 4);
    asker_release(&late);
    world_settle(w);
}

static void test_heads_of_what_is_private_are_not_shared(void **state)
{
    struct world *w = *state;
    struct asker a, b;

    ask(w, 0, &a, "HEAD", "/a", "");
    ask(w, 0, &b, "HEAD", "/a", "");
    world_drain(w);
    assert_int_equal(world_requests(w), 1);
    fake_fetch_head(world_last(w, 0), 200, "cache-control: private\n", CACHE_NO_BODY, 0);
    fake_fetch_done(world_last(w, 0));
    world_drain(w);
    assert_true(a.has_answer);
    assert_false(b.has_answer);
    assert_int_equal(world_requests(w), 2);
    asker_release(&a);
    asker_release(&b);
    world_settle(w);
}

/* Hit-for-miss: who comes after what could not be shared does not wait to hear
 * it again. */
static void test_what_could_not_be_shared_is_not_waited_for(void **state)
{
    static const char private[] = "cache-control: private\n";
    struct world *w = *state;
    struct asker a, b;

    world_put(w, "/a", "", 200, private, "x");
    ask(w, 0, &a, "GET", "/a", "");
    ask(w, 0, &b, "GET", "/a", "");
    world_drain(w);
    assert_int_equal(world_requests(w), 3); /* both at once */
    fake_fetch_answer(fake_fetcher_at(w->origin[0], 1), 200, FRESH,
                      "y"); /* it stores all the same */
    fake_fetch_answer(fake_fetcher_at(w->origin[0], 2), 200, FRESH, "y");
    world_drain(w);
    asker_release(&a);
    asker_release(&b);
    world_settle(w);
    ask(w, 0, &a, "GET", "/a", "");
    asker_got(&a, 200, "y");
    assert_int_equal(a.answer.verdict, VERDICT_HIT);
    asker_release(&a);

    world_put(w, "/b", "", 200, private, "x");
    world_purge(w, PURGE_TAG, "t", false); /* any purge makes it forgotten */
    ask(w, 0, &a, "GET", "/b", "");
    ask(w, 0, &b, "GET", "/b", "");
    world_drain(w);
    assert_int_equal(world_requests(w), 5);
    asker_release(&a);
    asker_release(&b);
    world_settle(w);
}

/* ... until something comes that can be shared, or for ten seconds. */
static void test_what_can_be_shared_again_is_waited_for(void **state)
{
    static const char private[] = "cache-control: private\n";
    struct world *w = *state;

    for (int i = 0; i < 3; i++) {
        char target[8];
        struct asker a, b;
        size_t before;

        snprintf(target, sizeof(target), "/%d", i);
        world_put(w, target, "", 200, private, "x");
        if (i == 0) /* stale on arrival, and still everybody's */
            world_put(w, target, "", 200, "cache-control: max-age=10\nage: 15\netag: \"1\"\n", "y");
        else
            fake_reactor_advance(w->reactor[0], LIMIT_HIT_FOR_MISS_MS - (i == 1 ? 0 : 1));
        before = world_requests(w);
        ask(w, 0, &a, "GET", target, "");
        ask(w, 0, &b, "GET", target, "");
        world_drain(w);
        assert_int_equal(world_requests(w), before + (i == 2 ? 2 : 1));
        asker_release(&a);
        asker_release(&b);
        world_settle(w);
    }
}

/* Or anybody could have all others ask for a hot URL one by one. */
static void test_a_strangers_cookie_does_not_switch_collapsing_off(void **state)
{
    static const char *const stranger[] = {"cookie: a=b\n", "authorization: x\n",
                                           "cache-control: no-store\n"};
    struct world *w = *state;

    for (size_t i = 0; i < sizeof(stranger) / sizeof(stranger[0]); i++) {
        char target[8];
        struct asker a, b;
        size_t before;

        snprintf(target, sizeof(target), "/%zu", i);
        world_put(w, target, stranger[i], 200, "cache-control: private\n", "x");
        before = world_requests(w);
        ask(w, 0, &a, "GET", target, "");
        ask(w, 0, &b, "GET", target, "");
        world_drain(w);
        assert_int_equal(world_requests(w), before + 1);
        asker_release(&a);
        asker_release(&b);
        world_settle(w);
    }
}

static void test_authorization_is_not_shared(void **state)
{
    struct world *w = *state;
    struct asker a, b;

    ask(w, 0, &a, "GET", "/a", "authorization: me\n");
    ask(w, 1, &b, "GET", "/a", "");
    world_drain(w);
    fake_fetch_answer(world_last(w, 0), 200, FRESH, "mine");
    world_drain(w);
    asker_got(&a, 200, "mine");
    assert_false(b.has_answer);
    assert_null(fake_fetch_field(world_last(w, 1), "authorization"));
    fake_fetch_answer(world_last(w, 1), 401, "x: y\n", "who?");
    world_drain(w);
    asker_got(&b, 401, "who?");
    asker_release(&a);
    asker_release(&b);
}

static void test_a_waiter_has_its_own_conditions(void **state)
{
    struct world *w = *state;
    struct asker a, b, c;

    ask(w, 0, &a, "GET", "/a", "if-none-match: \"1\"\n");
    ask(w, 1, &b, "GET", "/a", "if-none-match: \"2\"\n");
    ask(w, 2, &c, "GET", "/a", "");
    world_drain(w);
    fake_fetch_answer(world_last(w, 0), 200, FRESH "etag: \"1\"\n", "hello");
    world_drain(w);
    asker_got(&a, 304, "");
    asker_got(&b, 200, "hello");
    asker_got(&c, 200, "hello");
    assert_int_equal(world_requests(w), 1);
    asker_release(&a);
    asker_release(&b);
    asker_release(&c);
}

static void test_a_failure_is_everybodys(void **state)
{
    struct world *w = *state;
    static struct asker a[MANY];

    for (unsigned i = 0; i < MANY; i++)
        ask(w, i % w->workers, &a[i], "GET", "/a", "");
    world_drain(w);
    fake_fetch_fail(world_last(w, 0), RESPONSE_UNREACHABLE);
    world_drain(w);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(a[i].answer.status, 503);
        assert_int_equal(a[i].answer.cache_status.collapsed, i != 0);
        asker_release(&a[i]);
    }
    assert_int_equal(world_requests(w), 1);
}

static void test_an_error_of_the_origin_is_everybodys(void **state)
{
    struct world *w = *state;
    struct asker a, b;

    ask(w, 0, &a, "GET", "/a", "");
    ask(w, 1, &b, "GET", "/a", "");
    world_drain(w);
    fake_fetch_answer(world_last(w, 0), 503, "retry-after: 9\n", "busy");
    world_drain(w);
    asker_got(&a, 503, "busy");
    asker_got(&b, 503, "busy");
    assert_int_equal(world_requests(w), 1);
    asker_release(&a);
    asker_release(&b);
}

/* ---- purges ---- */

static void test_a_purge_in_flight_is_not_published(void **state)
{
    struct world *w = *state;
    struct asker a, b;

    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    world_purge(w, PURGE_URL, HOST "/a", false);
    fake_fetch_answer(world_last(w, 0), 200, FRESH, "old");
    world_drain(w);
    asker_got(&a, 200, "old"); /* its request began before the purge */
    asker_release(&a);
    world_settle(w);
    ask(w, 1, &b, "GET", "/a", "");
    world_drain(w);
    assert_false(b.has_answer);
    fake_fetch_answer(world_last(w, 1), 200, FRESH, "new");
    world_drain(w);
    asker_got(&b, 200, "new");
    asker_release(&b);
}

/* The birth is the position before the request goes out: a purge between the
 * two is after it. */
static void purge_now(void *user)
{
    world_purge(user, PURGE_URL, HOST "/a", false);
}

static void test_the_birth_is_read_before_the_send(void **state)
{
    struct world *w = *state;
    struct asker a;

    fake_fetcher_on_start(w->origin[0], purge_now, w);
    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    fake_fetcher_on_start(w->origin[0], NULL, NULL);
    fake_fetch_answer(world_last(w, 0), 200, FRESH, "old");
    world_drain(w);
    asker_release(&a);
    world_settle(w);
    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    assert_false(a.has_answer);
    assert_int_equal(world_requests(w), 2);
    asker_release(&a);
}

static void test_who_comes_after_a_purge_does_not_join(void **state)
{
    struct world *w = *state;
    struct asker a, b, c;

    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    world_purge(w, PURGE_URL, HOST "/a", false);
    ask(w, 1, &b, "GET", "/a", "");
    ask(w, 2, &c, "GET", "/a", "");
    world_drain(w);
    assert_int_equal(world_requests(w), 2); /* the purge has replaced the fill in the table */
    fake_fetch_answer(world_last(w, 1), 200, FRESH, "new");
    fake_fetch_answer(world_last(w, 0), 200, FRESH, "old");
    world_drain(w);
    asker_got(&a, 200, "old");
    asker_got(&b, 200, "new");
    asker_got(&c, 200, "new");
    asker_release(&a);
    asker_release(&b);
    asker_release(&c);
    world_settle(w);
    ask(w, 0, &a, "GET", "/a", "");
    asker_got(&a, 200, "new");
    asker_release(&a);
}

/* Only the head says which tags it has: a waiter is judged then. */
static void test_a_waiter_is_judged_by_tags_at_head_time(void **state)
{
    struct world *w = *state;
    struct asker a, b;

    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    world_purge(w, PURGE_TAG, "t1", false);
    ask(w, 1, &b, "GET", "/a", ""); /* joins: nobody knows the tags */
    world_drain(w);
    assert_int_equal(world_requests(w), 1);
    fake_fetch_answer(world_last(w, 0), 200, FRESH "cache-tag: t0, t1\n", "old");
    world_drain(w);
    asker_got(&a, 200, "old");
    assert_false(b.has_answer);
    assert_int_equal(world_requests(w), 2);
    fake_fetch_answer(world_last(w, 1), 200, FRESH "cache-tag: t0, t1\n", "new");
    world_drain(w);
    asker_got(&b, 200, "new");
    asker_release(&a);
    asker_release(&b);
    world_settle(w);
    ask(w, 0, &a, "GET", "/a", "");
    asker_got(&a, 200, "new");
    asker_release(&a);
}

static void test_each_kind_of_purge_holds(void **state)
{
    struct world *w = *state;
    static const struct {
        enum purge_kind kind;
        const char *text;
    } row[] = {
        {PURGE_URL, HOST "/foo"}, {PURGE_PREFIX, HOST "/f"}, {PURGE_HOST, HOST},
        {PURGE_TAG, "t1"},        {PURGE_ALL, ""},
    };
    struct asker a;

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        world_put(w, "/%66oo", "", 200, FRESH "surrogate-key: t0 t1\n", "old");
        ask(w, 0, &a, "GET", "/%66oo", "");
        assert_true(a.has_answer);
        asker_release(&a);
        world_purge(w, row[i].kind, row[i].text, false);
        ask(w, 0, &a, "GET", "/%66oo", "");
        assert_false(a.has_answer);
        asker_release(&a);
        world_settle(w);
    }
}

#define WORLD(f) cmocka_unit_test_setup_teardown(f, up, down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD(test_many_clients_cost_one_fetch),
        WORLD(test_interim_responses_are_for_the_one_who_asked),
        WORLD(test_nobody_hears_what_was_for_one_who_has_left),
        WORLD(test_keys_do_not_meet),
        WORLD(test_the_leader_leaves_and_the_waiters_stay),
        WORLD(test_one_that_comes_when_the_last_has_left_is_served),
        WORLD(test_between_the_last_byte_and_the_commit),
        WORLD(test_a_part_and_a_head_between_the_last_byte_and_the_commit),
        WORLD(test_a_part_of_what_is_still_coming_is_passed),
        WORLD(test_what_must_be_validated_is_not_joined_after_its_head),
        WORLD(test_waiters_of_another_variant_fetch_theirs_once),
        WORLD(test_private_answers_are_not_shared),
        WORLD(test_authorization_is_not_shared),
        WORLD(test_heads_share_with_heads_alone),
        WORLD(test_heads_of_what_is_private_are_not_shared),
        WORLD(test_what_could_not_be_shared_is_not_waited_for),
        WORLD(test_what_can_be_shared_again_is_waited_for),
        WORLD(test_a_strangers_cookie_does_not_switch_collapsing_off),
        WORLD(test_a_waiter_has_its_own_conditions),
        WORLD(test_a_failure_is_everybodys),
        WORLD(test_an_error_of_the_origin_is_everybodys),
        WORLD(test_a_purge_in_flight_is_not_published),
        WORLD(test_the_birth_is_read_before_the_send),
        WORLD(test_who_comes_after_a_purge_does_not_join),
        WORLD(test_a_waiter_is_judged_by_tags_at_head_time),
        WORLD(test_each_kind_of_purge_holds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
