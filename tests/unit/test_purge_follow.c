/* Unit tests of tiers: an owner, followers, and what goes wrong between them; no sockets. */
#include "purge_dir.h"

#include "purge/follow.h"
#include "purge/serve.h"
#include "purge/stream.h"

#define NO_ID ((struct slice){NULL, 0})

enum { NOW_MS = 1000, GRACE_MS = 100 };

/* ---- nodes ---- */

static struct purge *open_node(const char *name, bool follows, const struct purge_limits *limits)
{
    struct purge *p = NULL;
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", purge_root, name);
    assert_int_equal(purge__open_as(path, limits, follows, &p), ERR_OK);
    return p;
}

static struct purge *owner(void)
{
    struct purge_limits limits = purge_small_limits();

    return open_node("owner", false, &limits);
}

static struct purge *follower(const char *name)
{
    struct purge_limits limits = purge_small_limits();

    return open_node(name, true, &limits);
}

static struct purge_position at(struct purge *p)
{
    struct purge_position out;

    purge_position(p, &out);
    return out;
}

/* One connection: what serve says now, in pieces of `piece` bytes, to where `to` is. */
static enum follow_end connect_in_pieces(struct purge *from, struct purge *to, size_t piece,
                                         enum serve_start *start)
{
    struct purge_position where = at(to);
    enum follow_end end = FOLLOW_GOES_ON;
    struct serve *serve = NULL;
    struct follow *follow = NULL;
    bool more = true;

    assert_int_equal(serve_new(from, &where, start, &serve), ERR_OK);
    if (*start != SERVE_STREAM)
        return FOLLOW_GOES_ON;
    assert_int_equal(follow_new(to, &follow), ERR_OK);
    while (more && end == FOLLOW_GOES_ON) {
        struct buf out;

        buf_init(&out, 1 << 20);
        assert_int_equal(serve_next(serve, &out, 1 << 12, &more), ERR_OK);
        for (size_t i = 0; i < out.n && end == FOLLOW_GOES_ON; i += piece)
            end = follow_feed(follow, slice_head(slice_from(buf_slice(&out), i), piece), NOW_MS);
        buf_release(&out);
    }
    follow_free(follow);
    serve_free(serve);
    return end;
}

static void must_catch_up(struct purge *from, struct purge *to)
{
    enum serve_start start;
    struct purge_position a, b;

    assert_int_equal(connect_in_pieces(from, to, 1 << 20, &start), FOLLOW_GOES_ON);
    assert_int_equal(start, SERVE_STREAM);
    a = at(from);
    b = at(to);
    assert_true(purge_position_eq(&a, &b));
    assert_int_equal(purge_head(from), purge_head(to));
}

/* ---- the ordinary ---- */

static void test_a_follower_has_what_its_owner_has(void **state)
{
    struct purge *o = owner(), *f = follower("edge");
    uint64_t before;

    (void)state;
    assert_int_equal(purge_head(f), 0);
    assert_false(purge_was_heard(f));
    must_catch_up(o, f);
    assert_true(purge_was_heard(f));
    before = purge_head(f);
    purge_one(o, PURGE_URL, "h/a", false);
    purge_one(o, PURGE_TAG, "t", true);
    purge_one(o, PURGE_PREFIX, "h/p/", false);
    assert_int_equal(purge_ask(f, before, "h/a"), PURGE_USABLE);
    must_catch_up(o, f);
    assert_int_equal(purge_ask(f, before, "h/a"), PURGE_DEAD);
    assert_int_equal(purge_ask(f, before, "h/p/x"), PURGE_DEAD);
    assert_int_equal(purge_ask(f, before, "h/b"), PURGE_USABLE);
    purge_close(f);
    f = follower("edge"); /* and durably */
    assert_int_equal(purge_ask(f, before, "h/a"), PURGE_DEAD);
    assert_int_equal(purge_cluster_id(f), purge_cluster_id(o));
    assert_false(purge_was_heard(f));
    must_catch_up(o, f);
    purge_close(f);
    purge_close(o);
}

static void test_bytes_may_come_in_any_pieces(void **state)
{
    struct purge *o = owner(), *f = follower("edge");
    enum serve_start start;

    (void)state;
    must_catch_up(o, f);
    for (int i = 0; i < 20; i++)
        purge_one(o, PURGE_URL, "h/a", false);
    assert_int_equal(connect_in_pieces(o, f, 1, &start), FOLLOW_GOES_ON);
    assert_int_equal(purge_head(f), purge_head(o));
    purge_close(f);
    purge_close(o);
}

static void test_a_thousand_purges_are_caught_up_with(void **state)
{
    static char text[1000][16];
    static struct purge_scope scope[1000];
    struct purge *o = owner(), *f = follower("edge");
    uint64_t head;

    (void)state;
    must_catch_up(o, f);
    head = purge_head(f);
    for (int i = 0; i < 1000; i++) {
        snprintf(text[i], sizeof(text[i]), "h/%d", i);
        scope[i] = (struct purge_scope){PURGE_URL, slice_of(text[i])};
    }
    purge_close(f);
    assert_int_equal(purge_append(o, scope, 1000, false, NO_ID, &(uint64_t){0}), ERR_OK);
    f = follower("edge");
    must_catch_up(o, f);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(purge_ask(f, head, text[i]), PURGE_DEAD);
    purge_close(f);
    purge_close(o);
}

/* What one batch says of one scope lies in one row: the later record must not write the earlier
 * one's mark away. */
static void test_a_hard_purge_survives_a_soft_one_of_its_batch(void **state)
{
    struct purge *o = owner(), *f = follower("edge");
    uint64_t before, between;

    (void)state;
    must_catch_up(o, f);
    before = purge_head(f);
    between = purge_one(o, PURGE_URL, "h/a", false);
    purge_one(o, PURGE_URL, "h/a", true);
    purge_one(o, PURGE_TAG, "t", true);
    purge_one(o, PURGE_TAG, "t", false);
    purge_one(o, PURGE_ALL, "", true);
    must_catch_up(o, f);
    assert_int_equal(purge_ask(f, before, "h/a"), PURGE_DEAD);
    purge_close(f);
    f = follower("edge");
    assert_int_equal(purge_ask(f, before, "h/a"), PURGE_DEAD);
    assert_int_equal(purge_ask(f, between, "h/a"), PURGE_SOFT);
    purge_close(f);
    purge_close(o);
}

/* A follower may serve another: the records are the same. */
static void test_a_chain_of_three(void **state)
{
    struct purge *o = owner(), *s = follower("shield"), *e = follower("edge");
    uint64_t before;

    (void)state;
    must_catch_up(o, s);
    must_catch_up(s, e);
    before = purge_head(e);
    purge_one(o, PURGE_HOST, "h", false);
    must_catch_up(o, s);
    must_catch_up(s, e);
    assert_int_equal(purge_ask(e, before, "h/x"), PURGE_DEAD);
    must_catch_up(o, e); /* and whom it asks makes no difference */
    purge_close(e);
    purge_close(s);
    purge_close(o);
}

/* ---- joining ---- */

static void test_what_was_born_before_joining_is_dead(void **state)
{
    struct purge *o = owner(), *f = follower("edge");
    uint64_t before = purge_head(f);

    (void)state;
    assert_int_equal(purge_ask(f, before, "h/a"), PURGE_USABLE);
    must_catch_up(o, f);
    assert_int_equal(purge_ask(f, before, "h/a"), PURGE_DEAD);
    purge_close(f);
    purge_close(o);
}

static void test_a_node_that_owned_its_journal_begins_anew(void **state)
{
    struct purge_limits limits = purge_small_limits();
    struct purge *o = owner(), *n = open_node("edge", false, &limits);
    uint64_t ctl = purge_ctl_id(n), cluster = purge_cluster_id(n);

    (void)state;
    for (int i = 0; i < 5; i++)
        purge_one(n, PURGE_URL, "h/a", false);
    purge_one(o, PURGE_URL, "h/b", false);
    purge_close(n);
    n = open_node("edge", true, &limits);
    assert_true(purge_ctl_id(n) != ctl); /* so the store does */
    assert_int_equal(purge_head(n), 0);
    must_catch_up(o, n);
    purge_close(n);
    n = open_node("edge", false, &limits); /* and back: a cluster of its own, later than all */
    assert_true(purge_cluster_id(n) != cluster && purge_cluster_id(n) != purge_cluster_id(o));
    assert_true(position_epoch(purge_head(n)) > position_epoch(purge_head(o)));
    purge_one(n, PURGE_URL, "h/a", false);
    purge_close(n);
    n = open_node("edge", false, &limits);
    assert_int_equal(position_n(purge_head(n)), 1);
    purge_close(n);
    purge_close(o);
}

static void test_another_cluster_is_refused_by_both_sides(void **state)
{
    struct purge_limits limits = purge_small_limits();
    struct purge *o = owner(), *other = open_node("other", false, &limits), *f = follower("edge");
    struct purge_position here, foreign;
    enum serve_start start;
    struct follow *follow;
    struct buf out;

    (void)state;
    must_catch_up(o, f);
    here = at(f);
    assert_int_equal(connect_in_pieces(other, f, 100, &start), FOLLOW_GOES_ON);
    assert_int_equal(start, SERVE_FOREIGN);
    foreign = at(other);
    foreign.epoch = 9;
    foreign.n = 7;
    buf_init(&out, 4096);
    stream_put_position(&out, 'H', &foreign);
    stream_put_position(&out, 'F', &foreign);
    assert_int_equal(follow_new(f, &follow), ERR_OK);
    assert_int_equal(follow_feed(follow, buf_slice(&out), NOW_MS), FOLLOW_FOREIGN);
    follow_free(follow);
    buf_release(&out);
    foreign = at(f);
    assert_true(purge_position_eq(&here, &foreign));
    purge_close(f);
    purge_close(other);
    purge_close(o);
}

/* ---- journals that do not reach back, or were set back ---- */

static void test_a_truncated_journal_drops_all(void **state)
{
    struct purge_limits limits = purge_small_limits();
    struct purge *o, *f = follower("edge");
    uint64_t before;

    (void)state;
    limits.records_max = 3;
    o = open_node("owner", false, &limits);
    purge_one(o, PURGE_URL, "h/z", false);
    must_catch_up(o, f);
    before = purge_head(f);
    for (int i = 0; i < 10; i++)
        purge_one(o, PURGE_URL, i == 0 ? "h/a" : "h/b", false);
    must_catch_up(o, f);
    assert_int_equal(purge_ask(f, before, "h/a"), PURGE_DEAD);
    assert_int_equal(purge_ask(f, before, "h/never"), PURGE_DEAD);
    assert_int_equal(purge_ask(f, purge_head(f), "h/never"), PURGE_USABLE);
    before = purge_head(f);
    purge_close(f);
    f = follower("edge");
    assert_int_equal(purge_head(f), before);
    purge_one(o, PURGE_URL, "h/c", false); /* and it goes on by records */
    must_catch_up(o, f);
    assert_int_equal(purge_ask(f, before, "h/never"), PURGE_USABLE);
    assert_int_equal(purge_ask(f, before, "h/c"), PURGE_DEAD);
    purge_close(f);
    purge_close(o);
}

/* The owner's machine was set back: number 2 is given again. */
static void test_a_number_given_twice_is_seen(void **state)
{
    struct purge_limits limits = purge_small_limits();
    struct purge *o = owner(), *f = follower("edge");
    uint64_t before;
    enum serve_start start;
    char copy[256];

    (void)state;
    purge_one(o, PURGE_URL, "h/1", false);
    purge_close(o);
    snprintf(copy, sizeof(copy), "cp -r %s/owner %s/back", purge_root, purge_root);
    assert_int_equal(system(copy), 0);
    o = owner();
    purge_one(o, PURGE_URL, "h/a", false);
    must_catch_up(o, f);
    before = purge_head(f);
    purge_close(o);
    o = open_node("back", false, &limits);
    assert_int_equal(connect_in_pieces(o, f, 1 << 20, &start), FOLLOW_GOES_ON);
    assert_int_equal(start, SERVE_DIVERGED); /* 2 is not there yet */
    purge_one(o, PURGE_URL, "h/other", false);
    assert_int_equal(purge_head(o), purge_head(f));
    assert_int_equal(connect_in_pieces(o, f, 1 << 20, &start), FOLLOW_GOES_ON);
    assert_int_equal(start, SERVE_DIVERGED); /* and now another 2 is */
    purge_one(o, PURGE_URL, "h/third", false);
    assert_int_equal(connect_in_pieces(o, f, 1 << 20, &start), FOLLOW_GOES_ON);
    assert_int_equal(start, SERVE_DIVERGED);
    assert_int_equal(purge_open_epoch(o), ERR_OK);
    must_catch_up(o, f);
    assert_int_equal(purge_ask(f, before, "h/never"), PURGE_DEAD);
    assert_int_equal(purge_ask(o, before, "h/never"), PURGE_DEAD);
    purge_one(o, PURGE_URL, "h/x", false);
    purge_close(o);
    o = open_node("back", false, &limits);
    assert_int_equal(purge_head(o), position_make(2, 1));
    must_catch_up(o, f);
    purge_close(f);
    purge_close(o);
}

static void test_a_stream_that_meets_a_new_epoch_goes_on(void **state)
{
    struct purge *o = owner(), *f = follower("edge");
    struct purge_position where;
    enum serve_start start;
    struct serve *serve;
    struct follow *follow;
    struct buf out;
    bool more;

    (void)state;
    must_catch_up(o, f);
    where = at(f);
    assert_int_equal(serve_new(o, &where, &start, &serve), ERR_OK);
    assert_int_equal(follow_new(f, &follow), ERR_OK);
    buf_init(&out, 1 << 16);
    assert_int_equal(serve_next(serve, &out, 1 << 12, &more), ERR_OK);
    assert_int_equal(purge_open_epoch(o), ERR_OK);
    purge_one(o, PURGE_URL, "h/a", false);
    assert_int_equal(serve_next(serve, &out, 1 << 12, &more), ERR_OK);
    assert_int_equal(follow_feed(follow, buf_slice(&out), NOW_MS), FOLLOW_GOES_ON);
    assert_int_equal(purge_head(f), position_make(2, 1));
    buf_release(&out);
    follow_free(follow);
    serve_free(serve);
    purge_close(f);
    purge_close(o);
}

static void test_a_smaller_epoch_changes_nothing(void **state)
{
    struct purge *o = owner(), *f = follower("edge");
    struct purge_position old = at(o), now;
    enum serve_start start;
    struct serve *serve;
    struct follow *follow;
    struct buf out;

    (void)state;
    assert_int_equal(purge_open_epoch(o), ERR_OK);
    must_catch_up(o, f);
    buf_init(&out, 4096);
    stream_put_position(&out, 'H', &old);
    assert_int_equal(follow_new(f, &follow), ERR_OK);
    assert_int_equal(follow_feed(follow, buf_slice(&out), NOW_MS + 500), FOLLOW_SMALLER);
    assert_false(purge_has_lease(f, NOW_MS + 500, GRACE_MS)); /* nor is it a sign of life */
    follow_free(follow);
    buf_release(&out);
    now = at(f);
    now.epoch++;
    assert_int_equal(serve_new(o, &now, &start, &serve), ERR_OK);
    assert_int_equal(start, SERVE_HIGHER); /* and the owner gives none to who has seen more */
    purge_close(f);
    purge_close(o);
}

/* ---- garbage ---- */

static enum follow_end feed(struct purge *f, const struct buf *bytes)
{
    struct follow *follow;
    enum follow_end end;

    assert_int_equal(follow_new(f, &follow), ERR_OK);
    end = follow_feed(follow, buf_slice(bytes), NOW_MS);
    follow_free(follow);
    return end;
}

static void put_record(struct buf *out, uint64_t position)
{
    unsigned char bytes[PURGE_RECORD_BYTES_MAX];
    struct purge_record r = {
        .position = position, .answer = position, .nonce = 1, .kind = PURGE_ALL};

    stream_put_record(out, (struct slice){(const char *)bytes, purge_record_encode(&r, bytes)});
}

static void test_gaps_repeats_and_garbage_are_refused(void **state)
{
    struct purge *o = owner(), *f = follower("edge");
    struct purge_position here;
    struct buf out;
    uint64_t head;

    (void)state;
    purge_one(o, PURGE_URL, "h/a", false);
    must_catch_up(o, f);
    here = at(o);
    head = purge_head(f);
    buf_init(&out, 1 << 16);
    stream_put_position(&out, 'H', &here);
    put_record(&out, head + 2);
    assert_int_equal(feed(f, &out), FOLLOW_DIVERGED);
    out.n = 0;
    stream_put_position(&out, 'H', &here);
    put_record(&out, head);
    assert_int_equal(feed(f, &out), FOLLOW_DIVERGED);
    out.n = 0;
    stream_put_position(&out, 'H', &here);
    stream_put_position(&out, 'F', &here); /* back to where it is: births of here would live on */
    assert_int_equal(feed(f, &out), FOLLOW_DIVERGED);
    out.n = 0;
    put_record(&out, head + 1); /* whose? */
    assert_int_equal(feed(f, &out), FOLLOW_GARBAGE);
    out.n = 0;
    stream_put_position(&out, 'H', &here);
    buf_add(&out, SLICE("x\1\0\0\0?")); /* of a later version: skipped */
    put_record(&out, head + 1);
    assert_int_equal(feed(f, &out), FOLLOW_GOES_ON);
    assert_int_equal(purge_head(f), head + 1);
    out.n = 0;
    buf_add(&out, SLICE("HTTP/1.1 200 OK\r\n\r\n"));
    assert_int_equal(feed(f, &out), FOLLOW_GARBAGE);
    assert_int_equal(purge_head(f), head + 1);
    buf_release(&out);
    purge_close(f);
    purge_close(o);
}

/* ---- the lease, and what is known ---- */

static void test_a_lease_is_renewed_by_a_head_that_is_reached(void **state)
{
    struct purge *o = owner(), *f = follower("edge");
    struct purge_position ahead;
    struct buf out;

    (void)state;
    assert_true(purge_has_lease(o, 1 << 30, GRACE_MS));
    assert_false(purge_has_lease(f, NOW_MS, GRACE_MS));
    assert_false(purge_has_lease(f, GRACE_MS - 1, GRACE_MS)); /* of a machine that has just begun */
    must_catch_up(o, f);
    assert_true(purge_has_lease(f, NOW_MS + GRACE_MS, GRACE_MS));
    assert_false(purge_has_lease(f, NOW_MS + GRACE_MS + 1, GRACE_MS));
    purge_close(f);
    f = follower("edge"); /* a process that never had contact has none */
    assert_false(purge_has_lease(f, NOW_MS, GRACE_MS));
    ahead = at(o);
    ahead.n++;
    buf_init(&out, 4096);
    stream_put_position(&out, 'H', &ahead);
    assert_int_equal(feed(f, &out), FOLLOW_GOES_ON); /* records would follow */
    assert_false(purge_was_heard(f));
    buf_release(&out);
    purge_close(f);
    purge_close(o);
}

static void test_what_a_node_knows_of_a_position(void **state)
{
    struct purge *o = owner(), *f = follower("edge");
    struct purge_position p;

    (void)state;
    p = at(f);
    assert_int_equal(purge_knows(o, &p), PURGE_UNKNOWN); /* epoch 0 */
    must_catch_up(o, f);
    p = at(f);
    assert_int_equal(purge_knows(o, &p), PURGE_HAS);
    purge_one(o, PURGE_URL, "h/a", false);
    assert_int_equal(purge_knows(o, &p), PURGE_HAS);
    p = at(o);
    assert_int_equal(purge_knows(f, &p), PURGE_IS_BEHIND);
    must_catch_up(o, f);
    assert_int_equal(purge_knows(f, &p), PURGE_HAS);
    purge_one(o, PURGE_URL, "h/b", false);
    assert_int_equal(purge_knows(o, &p), PURGE_HAS);
    p.id ^= 1; /* the same number, another record */
    assert_int_equal(purge_knows(o, &p), PURGE_UNKNOWN);
    p = at(o);
    p.epoch_tag ^= 1;
    assert_int_equal(purge_knows(o, &p), PURGE_UNKNOWN);
    p = at(o);
    p.cluster ^= 1;
    assert_int_equal(purge_knows(o, &p), PURGE_UNKNOWN);
    purge_close(f);
    purge_close(o);
}

static void test_positions_as_text(void **state)
{
    static const char *const bad[] = {
        "",
        "0123456789abcdef-1-0000000000000001-9223372036854775808-0000000000000005", /* 2^63 */
        "0123456789abcdef-1-0000000000000001-281474976710656-0000000000000005",     /* 2^48 */
        "0123456789abcdef-65536-0000000000000001-1-0000000000000005",
        "0123456789abcdef-01-0000000000000001-1-0000000000000005",
        "0123456789abcdef-1-0000000000000001-1-000000000000005",
        "0123456789ABCDEF-1-0000000000000001-1-0000000000000005",
        "0123456789abcdef-1-0000000000000001-1-0000000000000005 ",
        "0123456789abcdef-1-0000000000000001-1-0000000000000005-",
        "0123456789abcdef-1-0000000000000001--1-0000000000000005",
        "0123456789abcdef-1-0000000000000001-0-0000000000000005",
        "0123456789abcdef-0-0000000000000001-1-0000000000000005",
        "0123456789abcdef-1-0000000000000001-1",
    };
    char text[PURGE_POSITION_TEXT_BYTES];
    struct purge_position p, q = {.cluster = UINT64_MAX,
                                  .epoch_tag = UINT64_MAX,
                                  .epoch = UINT16_MAX,
                                  .n = POSITION_N_MAX,
                                  .id = UINT64_MAX};

    (void)state;
    purge_position_print(&q, text);
    assert_int_equal(strlen(text), PURGE_POSITION_TEXT_BYTES - 1);
    assert_int_equal(purge_position_parse(slice_of(text), &p), ERR_OK);
    assert_true(purge_position_eq(&p, &q));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(purge_position_parse(slice_of(bad[i]), &p), ERR_INVALID);
}

static void test_more_scopes_than_a_follower_holds(void **state)
{
    struct purge_limits limits = purge_small_limits();
    struct purge *o = owner(), *f;
    uint64_t before;
    char text[16];

    (void)state;
    limits.scopes_max = 5;
    f = open_node("edge", true, &limits);
    must_catch_up(o, f);
    before = purge_head(f);
    for (int i = 0; i < 9; i++) {
        snprintf(text, sizeof(text), "h/%d", i);
        purge_one(o, PURGE_URL, text, false);
    }
    must_catch_up(o, f);
    assert_int_equal(purge_ask(f, before, "h/0"), PURGE_DEAD);
    assert_int_equal(purge_ask(f, before, "h/never"), PURGE_DEAD);
    purge_close(f);
    purge_close(o);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, purge_dir_make, purge_dir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_follower_has_what_its_owner_has),
        TEST(test_bytes_may_come_in_any_pieces),
        TEST(test_a_thousand_purges_are_caught_up_with),
        TEST(test_a_hard_purge_survives_a_soft_one_of_its_batch),
        TEST(test_a_chain_of_three),
        TEST(test_what_was_born_before_joining_is_dead),
        TEST(test_a_node_that_owned_its_journal_begins_anew),
        TEST(test_another_cluster_is_refused_by_both_sides),
        TEST(test_a_truncated_journal_drops_all),
        TEST(test_a_number_given_twice_is_seen),
        TEST(test_a_stream_that_meets_a_new_epoch_goes_on),
        TEST(test_a_smaller_epoch_changes_nothing),
        TEST(test_gaps_repeats_and_garbage_are_refused),
        TEST(test_a_lease_is_renewed_by_a_head_that_is_reached),
        TEST(test_what_a_node_knows_of_a_position),
        TEST(test_more_scopes_than_a_follower_holds),
        cmocka_unit_test(test_positions_as_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
