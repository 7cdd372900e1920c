/* Unit tests of the fence between an edge and a shield, and of an edge without its journal. */
#include "base/clock.h"
#include "cache/cache_priv.h"
#include "cache_world.h"
#include "purge/follow.h"
#include "purge/purge_priv.h"
#include "purge/serve.h"

#define MIB_8 (8 << 20)

static const struct role shield_role = {.name = "shield", .trusts_peers = true};

/* An owner of the journal, a shield, an edge: each with what it has heard so far. */
static char owner_dir[64];
static struct purge *owner;
static struct world shield, edge;

static int tiers_open(void **state)
{
    char ctl[80];

    (void)state;
    snprintf(owner_dir, sizeof(owner_dir), "/tmp/cache-test-XXXXXX");
    assert_non_null(mkdtemp(owner_dir));
    snprintf(ctl, sizeof(ctl), "%s/ctl", owner_dir);
    assert_int_equal(purge_open(ctl, &owner), ERR_OK);
    world_kind = (struct world_kind){
        .role = &shield_role, .follows = true, .has_peers = true, .grace_ms = 0};
    world_open(&shield, 1, MIB_8);
    world_kind = (struct world_kind){.role = &world_role, .follows = true, .grace_ms = 0};
    world_open(&edge, 1, MIB_8);
    return 0;
}

static int tiers_close(void **state)
{
    (void)state;
    world_close(&edge);
    world_close(&shield);
    purge_close(owner);
    nftw(owner_dir, world_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

/* It hears all that the owner has to say; and keeps its lease until told otherwise. */
static void hears(struct world *w)
{
    struct purge_position at;
    enum serve_start start;
    struct serve *s;
    struct follow *f;
    struct buf out;
    bool more;

    purge_position(w->purge, &at);
    assert_int_equal(serve_new(owner, &at, &start, &s), ERR_OK);
    assert_int_equal(start, SERVE_STREAM);
    assert_int_equal(follow_new(w->purge, &f), ERR_OK);
    buf_init(&out, 1 << 20);
    assert_int_equal(serve_next(s, &out, 1 << 20, &more), ERR_OK);
    assert_int_equal(follow_feed(f, buf_slice(&out), INT64_MAX / 2), FOLLOW_GOES_ON);
    assert_int_equal(purge_head(w->purge), purge_head(owner));
    buf_release(&out);
    follow_free(f);
    serve_free(s);
}

static void purge_at_owner(const char *url)
{
    struct purge_scope scope = {.kind = PURGE_URL, .text = slice_of(url)};
    uint64_t head;

    assert_int_equal(purge_append(owner, &scope, 1, false, (struct slice){NULL, 0}, &head), ERR_OK);
}

static const char *position_of(struct purge *p)
{
    static char text[4][PURGE_POSITION_TEXT_BYTES];
    static unsigned at;
    struct purge_position now;

    at = (at + 1) % 4;
    purge_position(p, &now);
    purge_position_print(&now, text[at]);
    return text[at];
}

static void ask_shield(struct asker *a, const char *target, const char *position)
{
    static char fields[200];

    snprintf(fields, sizeof(fields), "selvage-position: %s\n", position);
    ask(&shield, 0, a, "GET", target, fields);
    fake_reactor_drain(shield.reactor[0]);
}

static bool is_checked(const struct asker *a, const char *text)
{
    return slice_eq(a->answer.checked, slice_of(text));
}

#define FRESH "cache-control: max-age=600\netag: \"1\"\n"

/* A copy at the shield, from its origin. */
static void shield_has(const char *target, const char *body)
{
    world_put(&shield, target, "", 200, FRESH, body);
}

/* ---- the shield's side ---- */

static void test_a_shield_that_has_heard_answers_from_its_store(void **state)
{
    struct asker a;

    (void)state;
    hears(&shield);
    shield_has("/a", "one");
    ask_shield(&a, "/a", position_of(shield.purge));
    asker_got(&a, 200, "one");
    assert_int_equal(a.answer.verdict, VERDICT_HIT);
    assert_true(is_checked(&a, position_of(shield.purge)));
    asker_release(&a);
    purge_at_owner(HOST "/b");
    hears(&shield);
    ask_shield(&a, "/a", position_of(shield.purge));
    assert_int_equal(a.answer.verdict, VERDICT_HIT);
    assert_true(is_checked(&a, position_of(shield.purge)));
    asker_release(&a);
}

static void test_clients_are_told_nothing(void **state)
{
    struct asker a;

    (void)state;
    hears(&shield);
    shield_has("/a", "one");
    shield.has_peers = false;
    ask_shield(&a, "/a", "whatever a stranger says");
    asker_got(&a, 200, "one");
    assert_null(a.answer.checked.p);
    asker_release(&a);
}

static void test_what_is_no_position_is_refused(void **state)
{
    struct asker a;

    (void)state;
    hears(&shield);
    ask_shield(&a, "/a",
               "0123456789abcdef-1-0000000000000001-9223372036854775808-0000000000000005");
    assert_int_equal(a.answer.status, 400);
    asker_release(&a);
    ask_shield(&a, "/a", "");
    assert_int_equal(a.answer.status, 400);
    asker_release(&a);
    assert_int_equal(world_requests(&shield), 0);
}

/* The refill race: the edge has heard of the purge, the shield has not. */
static void test_a_shield_behind_uses_neither_its_copy_nor_fills_in_flight(void **state)
{
    struct asker before, after;

    (void)state;
    hears(&shield);
    shield_has("/a", "old");
    ask(&shield, 0, &before, "GET", "/b", ""); /* a fetch on its way */
    world_drain(&shield);
    assert_int_equal(world_requests(&shield), 2);
    purge_at_owner(HOST "/a");
    purge_at_owner(HOST "/b");
    ask_shield(&after, "/a", position_of(owner));
    fake_reactor_advance(shield.reactor[0], LIMIT_FENCE_WAIT_MS - 10);
    fake_reactor_drain(shield.reactor[0]);
    assert_int_equal(world_requests(&shield), 2); /* it waits for the journal first */
    fake_reactor_advance(shield.reactor[0], 20);
    world_drain(&shield);
    assert_int_equal(world_requests(&shield), 3);
    fake_fetch_answer(world_last(&shield, 0), 200, FRESH, "new");
    world_drain(&shield);
    asker_got(&after, 200, "new");
    assert_true(is_checked(&after, position_of(owner))); /* rule 14 */
    asker_release(&after);
    ask_shield(&after, "/b", position_of(owner));
    fake_reactor_advance(shield.reactor[0], LIMIT_FENCE_WAIT_MS + 10);
    world_drain(&shield);
    assert_int_equal(world_requests(&shield), 4); /* not the one on its way */
    fake_fetch_answer(fake_fetcher_at(shield.origin[0], 1), 200, FRESH, "old");
    fake_fetch_answer(world_last(&shield, 0), 200, FRESH, "new");
    world_drain(&shield);
    asker_got(&after, 200, "new");
    asker_got(&before, 200, "old");
    asker_release(&after);
    asker_release(&before);
    world_settle(&shield);
}

static void test_a_shield_that_catches_up_in_time_answers_as_usual(void **state)
{
    struct asker a, b;

    (void)state;
    hears(&shield);
    shield_has("/a", "old");
    shield_has("/c", "c");
    purge_at_owner(HOST "/a");
    ask_shield(&a, "/a", position_of(owner));
    ask_shield(&b, "/c", position_of(owner));
    assert_false(a.has_answer || b.has_answer);
    hears(&shield);
    fake_reactor_advance(shield.reactor[0], 10);
    world_drain(&shield);
    asker_got(&b, 200, "c");
    assert_int_equal(b.answer.verdict, VERDICT_HIT);
    assert_int_equal(world_requests(&shield), 3);
    fake_fetch_answer(world_last(&shield, 0), 200, FRESH, "new");
    world_drain(&shield);
    asker_got(&a, 200, "new");
    asker_release(&a);
    asker_release(&b);
    ask_shield(&a, "/a", position_of(owner)); /* leaving while it waits */
    asker_release(&a);
    purge_at_owner(HOST "/a");
    ask_shield(&a, "/a", position_of(owner));
    asker_release(&a);
    world_settle(&shield);
}

static void test_a_shield_that_cannot_compare_says_so(void **state)
{
    struct asker a;

    (void)state;
    hears(&shield);
    shield_has("/a", "old");
    ask_shield(&a, "/a", "0123456789abcdef-1-0000000000000001-7-0000000000000005");
    world_drain(&shield);
    assert_int_equal(world_requests(&shield), 2);
    fake_fetch_answer(world_last(&shield, 0), 200, FRESH, "new");
    world_drain(&shield);
    asker_got(&a, 200, "new");
    assert_true(is_checked(&a, "fresh"));
    asker_release(&a);
    world_settle(&shield);
}

/* ---- the edge's side ---- */

/* Ask the edge; what it asks then. */
static struct fake_fetch *ask_edge(struct asker *a, const char *target)
{
    ask(&edge, 0, a, "GET", target, "");
    world_drain(&edge);
    return world_last(&edge, 0);
}

static void peer_says(struct fake_fetch *r, const char *checked, const char *body)
{
    char fields[300];

    snprintf(fields, sizeof(fields), FRESH "%s%s%s",
             checked == NULL ? "" : "selvage-checked: ", checked == NULL ? "" : checked,
             checked == NULL ? "" : "\n");
    fake_fetch_is_from_peer(r);
    if (fake_fetch_is_running(r))
        fake_fetch_head(r, 200, fields, CACHE_LENGTH, strlen(body));
    fake_fetch_body(r, body, strlen(body));
    fake_fetch_done(r);
    world_settle(&edge);
}

static void test_an_edge_says_what_it_knows(void **state)
{
    struct asker a;
    struct fake_fetch *r;

    (void)state;
    hears(&edge);
    purge_at_owner(HOST "/x");
    hears(&edge);
    r = ask_edge(&a, "/a");
    assert_string_equal(fake_fetch_position(r), position_of(owner));
    assert_false(fake_fetch_is_direct(r));
    peer_says(r, position_of(owner), "one");
    asker_got(&a, 200, "one");
    assert_null(asker_field(&a, "selvage-checked"));
    asker_release(&a);
    (void)ask_edge(&a, "/a");
    assert_int_equal(a.answer.verdict, VERDICT_HIT);
    asker_release(&a);
    ask(&edge, 0, &a, "POST", "/a", "");
    world_drain(&edge);
    assert_string_equal(fake_fetch_position(world_last(&edge, 0)), "");
    fake_fetch_answer(world_last(&edge, 0), 200, "", "");
    world_drain(&edge);
    asker_release(&a);
}

static void must_ask_the_origin(const char *target, const char *checked)
{
    struct asker a;
    struct fake_fetch *r = ask_edge(&a, target);
    size_t before = world_requests(&edge);

    peer_says(r, checked, "old");
    assert_false(a.has_answer);
    assert_int_equal(world_requests(&edge), before + 1);
    assert_true(fake_fetch_is_direct(world_last(&edge, 0)));
    fake_fetch_answer(world_last(&edge, 0), 200, FRESH, "new");
    world_settle(&edge);
    asker_got(&a, 200, "new");
    asker_release(&a);
}

static void test_an_answer_that_was_not_checked_is_neither_stored_nor_served(void **state)
{
    char behind[PURGE_POSITION_TEXT_BYTES];
    struct asker a;

    (void)state;
    hears(&edge);
    snprintf(behind, sizeof(behind), "%s", position_of(owner));
    purge_at_owner(HOST "/a");
    purge_at_owner(HOST "/b");
    purge_at_owner(HOST "/c");
    purge_at_owner(HOST "/d");
    hears(&edge);
    must_ask_the_origin("/a", behind); /* the parent ignores the fence */
    must_ask_the_origin("/b", NULL);
    must_ask_the_origin("/c", "no position");
    must_ask_the_origin("/d", "0123456789abcdef-1-0000000000000001-7-0000000000000005");
    /* nothing between the two covers this one */
    peer_says(ask_edge(&a, "/e"), behind, "e");
    asker_got(&a, 200, "e");
    asker_release(&a);
    (void)ask_edge(&a, "/e");
    assert_int_equal(a.answer.verdict, VERDICT_HIT);
    asker_release(&a);
}

static void test_who_cannot_help_twice_has_failed(void **state)
{
    struct asker a;

    (void)state;
    hears(&edge);
    peer_says(ask_edge(&a, "/a"), NULL, "old");
    peer_says(world_last(&edge, 0), NULL, "old"); /* though asked for somebody else */
    assert_true(a.has_answer);
    assert_int_equal(a.answer.status, 502);
    assert_int_equal(world_requests(&edge), 2);
    asker_release(&a);
}

static void test_what_is_fresh_for_one_is_not_stored(void **state)
{
    struct asker a;

    (void)state;
    hears(&edge);
    peer_says(ask_edge(&a, "/a"), "fresh", "one");
    asker_got(&a, 200, "one");
    asker_release(&a);
    peer_says(ask_edge(&a, "/a"), position_of(owner), "two");
    asker_got(&a, 200, "two");
    assert_int_equal(world_requests(&edge), 2);
    asker_release(&a);
}

/* Nor is it said to be. */
static void test_what_a_304_freshens_for_one_is_not_stored(void **state)
{
    struct fake_fetch *r;
    struct asker a;

    (void)state;
    hears(&edge);
    fake_fetch_answer(ask_edge(&a, "/a"), 200, "cache-control: max-age=10\nage: 15\netag: \"1\"\n",
                      "one");
    world_settle(&edge);
    asker_release(&a);
    for (int i = 0; i < 2; i++) {
        r = ask_edge(&a, "/a");
        assert_string_equal(fake_fetch_field(r, "if-none-match"), "\"1\"");
        fake_fetch_is_from_peer(r);
        fake_fetch_head(r, 304, FRESH "selvage-checked: fresh\n", CACHE_NO_BODY, 0);
        fake_fetch_done(r);
        world_settle(&edge);
        asker_got(&a, 200, "one");
        assert_int_equal(a.answer.cache_status.fwd_status, 304);
        assert_false(a.answer.cache_status.stored);
        asker_release(&a);
    }
}

/* Before it knows its owner: nothing of then is used afterwards. */
static void test_what_an_edge_got_before_it_joined_is_dead(void **state)
{
    struct asker a;

    (void)state;
    peer_says(ask_edge(&a, "/a"), "fresh", "one");
    asker_release(&a);
    fake_fetch_answer(ask_edge(&a, "/b"), 200, FRESH, "one"); /* directly: stored */
    world_settle(&edge);
    asker_release(&a);
    hears(&edge);
    fake_fetch_answer(ask_edge(&a, "/b"), 200, FRESH, "two");
    world_settle(&edge);
    asker_got(&a, 200, "two");
    asker_release(&a);
}

/* ---- the lease ---- */

static void let_a_millisecond_pass(void)
{
    int64_t now_ms = clock_mono_ms();

    while (clock_mono_ms() <= now_ms + 1)
        ;
}

static void test_without_its_journal_an_edge_validates(void **state)
{
    struct asker a;
    struct fake_fetch *r;

    (void)state;
    hears(&edge);
    fake_fetch_answer(ask_edge(&a, "/a"), 200, FRESH, "one");
    world_settle(&edge);
    asker_release(&a);
    let_a_millisecond_pass();
    (void)ask_edge(&a, "/a");
    assert_int_equal(a.answer.verdict, VERDICT_HIT);
    asker_release(&a);
    purge_heard(edge.purge, 1); /* long ago */
    r = ask_edge(&a, "/a");
    assert_false(a.has_answer);
    assert_string_equal(fake_fetch_field(r, "if-none-match"), "\"1\"");
    fake_fetch_answer(r, 304, "etag: \"1\"\ncache-control: max-age=600\n", "");
    world_settle(&edge);
    asker_got(&a, 200, "one");
    asker_release(&a);
    let_a_millisecond_pass();
    r = ask_edge(&a,
                 "/a"); /* the origin is out of reach too: what is there is better than nothing */
    fake_fetch_fail(r, RESPONSE_UNREACHABLE);
    world_drain(&edge);
    asker_got(&a, 200, "one");
    assert_int_equal(a.answer.verdict, VERDICT_STALE);
    asker_release(&a);
    purge_heard(edge.purge, INT64_MAX / 2);
    (void)ask_edge(&a, "/a");
    assert_int_equal(a.answer.verdict, VERDICT_HIT);
    asker_release(&a);
}

static void must_explain(const char *want)
{
    struct http_fields none = {0};
    struct store_reader *r;
    struct buf out;

    buf_init(&out, 1 << 20);
    assert_int_equal(store_reader_new(edge.store, &r), ERR_OK);
    cache_explain(edge.cache, r, &edge.site, true, SLICE(HOST), SLICE("/a"), &none, &out);
    store_reader_free(r);
    buf_add_char(&out, '\0');
    assert_false(out.failed);
    if (strstr(out.p, want) == NULL)
        fail_msg("\"%s\" is not in:\n%s", want, out.p);
    buf_release(&out);
}

/* It has been off: its copy may have been purged, and equal validators would bring it back. */
static void test_a_node_that_lags_waits_and_uses_no_copy(void **state)
{
    struct asker a, b;
    struct fake_fetch *r;

    (void)state;
    hears(&edge);
    fake_fetch_answer(ask_edge(&a, "/a"), 200, FRESH, "one");
    world_settle(&edge);
    asker_release(&a);
    cache_lags(edge.cache, true);
    ask(&edge, 0, &a, "GET", "/a", "");
    world_drain(&edge);
    assert_false(a.has_answer);
    assert_int_equal(world_requests(&edge), 1);
    ask(&edge, 0, &b, "GET", "/a", "");
    world_drain(&edge);
    asker_release(&b); /* one that leaves meanwhile */
    cache_lags(edge.cache, false);
    fake_reactor_advance(edge.reactor[0], 10);
    world_drain(&edge);
    asker_got(&a, 200, "one");
    assert_int_equal(a.answer.verdict, VERDICT_HIT);
    asker_release(&a);

    cache_lags(edge.cache, true); /* for too long: without what is stored */
    purge_heard(edge.purge, 1);
    ask(&edge, 0, &a, "GET", "/a", "");
    world_drain(&edge);
    fake_reactor_advance(edge.reactor[0], LIMIT_LAG_WAIT_MS + 10);
    world_drain(&edge);
    assert_int_equal(world_requests(&edge), 2);
    r = world_last(&edge, 0);
    assert_null(fake_fetch_field(r, "if-none-match"));
    fake_fetch_fail(r, RESPONSE_UNREACHABLE); /* and still better than nothing */
    world_drain(&edge);
    asker_got(&a, 200, "one");
    assert_int_equal(a.answer.verdict, VERDICT_STALE);
    asker_release(&a);
    cache_lags(edge.cache, false);
}

/* explain and the engine go by the same lease. */
static void test_explain_knows_of_the_lease(void **state)
{
    struct asker a;

    (void)state;
    hears(&edge);
    fake_fetch_answer(ask_edge(&a, "/a"), 200, FRESH, "one");
    world_settle(&edge);
    asker_release(&a);
    must_explain("decision: answer from the store");
    let_a_millisecond_pass();
    purge_heard(edge.purge, 1);
    must_explain("decision: ask the origin whether what is stored is still right\n"
                 "  the purge journal is out of reach, and this was not validated since");
    edge.cache->on_journal_lost = CACHE_LOST_SERVE;
    must_explain("decision: answer from the store");
    edge.cache->on_journal_lost = CACHE_LOST_FAIL;
    must_explain("decision: refuse with 503\n  the purge journal is out of reach");
}

static void test_what_was_validated_within_the_grace_period_is_served(void **state)
{
    struct asker a;

    (void)state;
    edge.cache->journal_grace_ms = 60000;
    hears(&edge);
    fake_fetch_answer(ask_edge(&a, "/a"), 200, FRESH, "one");
    world_settle(&edge);
    asker_release(&a);
    purge_heard(edge.purge, clock_mono_ms() - 60001);
    (void)ask_edge(&a, "/a");
    assert_int_equal(a.answer.verdict, VERDICT_HIT);
    assert_int_equal(world_requests(&edge), 1);
    asker_release(&a);
}

static void test_policies_without_a_journal(void **state)
{
    struct asker a;

    (void)state;
    hears(&edge);
    fake_fetch_answer(ask_edge(&a, "/a"), 200, FRESH, "one");
    world_settle(&edge);
    asker_release(&a);
    let_a_millisecond_pass();
    purge_heard(edge.purge, 1);
    edge.cache->on_journal_lost = CACHE_LOST_SERVE;
    (void)ask_edge(&a, "/a");
    assert_int_equal(a.answer.verdict, VERDICT_HIT);
    asker_release(&a);
    edge.cache->on_journal_lost = CACHE_LOST_FAIL;
    (void)ask_edge(&a, "/a");
    assert_int_equal(a.answer.status, 503);
    assert_int_equal(world_requests(&edge), 1);
    asker_release(&a);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, tiers_open, tiers_close)

/*
 * http-caching.md section 18: what the decision was made by goes on to the edge, though the
 * origin's Connection nominates it; else the edge would decide without it.
 */
static void test_what_decides_goes_on_to_the_edge(void **state)
{
    static const struct {
        const char *nominated, *fields, *name, *value;
    } row[] = {
        {"Cache-Control, x-hop", "cache-control: private\nx-hop: 1\n", "cache-control", "private"},
        {"vary", "cache-control: max-age=60\nvary: cookie\n", "vary", "cookie"},
        {"set-cookie", "cache-control: max-age=60\nset-cookie: a=b\n", "set-cookie", "a=b"},
        {"surrogate-key", "cache-control: max-age=60\nsurrogate-key: k\n", "surrogate-key", "k"},
        {"my-control", "cache-control: max-age=60\nmy-control: no-store\n", "my-control",
         "no-store"},
    };
    static const char *const targeted[] = {"my-control"};
    char fields[200];

    (void)state;
    hears(&shield);
    shield.site.targeted_fields = (struct site_strings){targeted, 1};
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        char target[8];
        struct asker a;

        snprintf(target, sizeof(target), "/%zu", i);
        snprintf(fields, sizeof(fields), "connection: %s\n%s", row[i].nominated, row[i].fields);
        ask(&shield, 0, &a, "GET", target, "");
        world_drain(&shield);
        fake_fetch_answer(world_last(&shield, 0), 200, fields, "hello");
        world_drain(&shield);
        asker_got(&a, 200, "hello");
        assert_non_null(asker_field(&a, row[i].name));
        assert_string_equal(asker_field(&a, row[i].name), row[i].value);
        assert_null(asker_field(&a, "connection"));
        assert_null(asker_field(&a, "x-hop"));
        asker_release(&a);
        world_settle(&shield);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_shield_that_has_heard_answers_from_its_store),
        TEST(test_clients_are_told_nothing),
        TEST(test_what_decides_goes_on_to_the_edge),
        TEST(test_what_is_no_position_is_refused),
        TEST(test_a_shield_behind_uses_neither_its_copy_nor_fills_in_flight),
        TEST(test_a_shield_that_catches_up_in_time_answers_as_usual),
        TEST(test_a_shield_that_cannot_compare_says_so),
        TEST(test_an_edge_says_what_it_knows),
        TEST(test_an_answer_that_was_not_checked_is_neither_stored_nor_served),
        TEST(test_who_cannot_help_twice_has_failed),
        TEST(test_what_is_fresh_for_one_is_not_stored),
        TEST(test_what_a_304_freshens_for_one_is_not_stored),
        TEST(test_what_an_edge_got_before_it_joined_is_dead),
        TEST(test_without_its_journal_an_edge_validates),
        TEST(test_a_node_that_lags_waits_and_uses_no_copy),
        TEST(test_explain_knows_of_the_lease),
        TEST(test_what_was_validated_within_the_grace_period_is_served),
        TEST(test_policies_without_a_journal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
