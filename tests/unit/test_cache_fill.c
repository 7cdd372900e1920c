/* Fills: bytes on their way to readers and to the store, at whose pace, and how they end. */
#include "cache_world.h"

enum {
    PIECE = 16384,
    MB = 1 << 20,
    LARGE = 24 * MB,
    TOO_LARGE = 80 * MB /* over a tenth of the store */
};
#define FRESH  "cache-control: max-age=60\n"
#define SECRET "cache-control: no-store\n"

static char *pattern;

static int up(void **state)
{
    struct world *w = malloc(sizeof(*w));

    world_open(w, 2, 600ull << 20);
    *state = w;
    return 0;
}

static int down(void **state)
{
    world_close(*state);
    free(*state);
    return 0;
}

/* Send until paused, cancelled, or `bytes` are out; how many were. */
static size_t send_some(struct fake_fetch *f, size_t from, size_t bytes)
{
    size_t sum = 0;

    while (sum < bytes && fake_fetch_is_running(f) && !fake_fetch_is_paused(f)) {
        size_t n = bytes - sum < PIECE ? bytes - sum : PIECE;

        fake_fetch_body(f, pattern + from + sum, n);
        sum += n;
    }
    return sum;
}

static void body_is(const struct asker *a, size_t bytes)
{
    assert_int_equal(a->body.n, bytes);
    assert_memory_equal(a->body.p, pattern, bytes);
}

static void test_event_streams_pass_as_they_come(void **state)
{
    struct world *w = *state;
    struct asker a;
    struct fake_fetch *f;

    ask(w, 0, &a, "GET", "/events", "");
    a.reads = true;
    world_drain(w);
    f = world_last(w, 0);
    fake_fetch_head(f, 200, "content-type: text/event-stream\n", CACHE_CHUNKED, 0);
    world_drain(w);
    assert_true(a.has_answer); /* before the first byte */
    assert_true(a.answer.is_stream);
    assert_int_equal(a.answer.body_bytes, CACHE_BYTES_UNKNOWN);
    asker_read(&a);
    for (int i = 0; i < 100; i++) {
        fake_fetch_body(f, "data: x\n\n", 9);
        world_drain(w);
        assert_int_equal(a.body.n, 9 * (i + 1));
    }
    assert_true(block_bytes_in_use() < MB);
    asker_release(&a);
    world_drain(w);
    assert_true(fake_fetch_is_cancelled(f));
}

static void test_each_piece_goes_on_at_once(void **state)
{
    struct world *w = *state;
    struct asker a, b;
    struct fake_fetch *f;

    ask(w, 0, &a, "GET", "/a", "");
    ask(w, 1, &b, "GET", "/a", "");
    a.reads = b.reads = true;
    world_drain(w);
    f = world_last(w, 0);
    fake_fetch_head(f, 200, FRESH, CACHE_LENGTH, 10 * PIECE);
    world_drain(w);
    assert_false(
        a.has_answer); /* it is stored: a failure before the first byte costs nobody anything */
    for (size_t i = 0; i < 10; i++) {
        fake_fetch_body(f, pattern + i * PIECE, PIECE);
        world_drain(w);
        assert_true(a.has_answer && b.has_answer);
        assert_int_equal(a.answer.body_bytes, 10 * PIECE);
        if (i == 0) {
            asker_read(&a);
            asker_read(&b);
        }
        assert_int_equal(a.body.n, (i + 1) * PIECE);
        assert_int_equal(b.body.n, (i + 1) * PIECE);
    }
    fake_fetch_done(f);
    world_drain(w);
    assert_int_equal(a.end, CACHE_BODY_END);
    assert_int_equal(b.end, CACHE_BODY_END);
    body_is(&a, 10 * PIECE);
    body_is(&b, 10 * PIECE);
    asker_release(&a);
    asker_release(&b);
}

/* A whole body of unknown length, in odd pieces, across blocks and chunks. */
static void test_unknown_length_is_stored_right(void **state)
{
    struct world *w = *state;
    static const size_t step[] = {1, 16383, 16384, 49128, 7, 65512, 65513, 3, 131024};
    struct asker a;
    size_t at = 0;

    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    fake_fetch_head(world_last(w, 0), 200, FRESH, CACHE_CHUNKED, 0);
    for (size_t i = 0; i < 3 * sizeof(step) / sizeof(step[0]); i++) {
        size_t n = step[i % (sizeof(step) / sizeof(step[0]))];

        fake_fetch_body(world_last(w, 0), pattern + at, n);
        at += n;
    }
    fake_fetch_done(world_last(w, 0));
    world_drain(w);
    asker_read(&a);
    body_is(&a, at);
    asker_release(&a);
    world_settle(w);
    ask(w, 1, &a, "GET", "/a", "");
    assert_int_equal(a.answer.verdict, VERDICT_HIT);
    asker_read(&a);
    body_is(&a, at);
    asker_release(&a);
}

static void test_a_backed_fill_does_not_wait_for_its_readers(void **state)
{
    struct world *w = *state;
    struct asker a, b, c;
    struct fake_fetch *f;
    size_t sent = 0;

    ask(w, 0, &a, "GET", "/a", "");
    ask(w, 1, &b, "GET", "/a", "");
    world_drain(w);
    f = world_last(w, 0);
    fake_fetch_head(f, 200, FRESH, CACHE_LENGTH, LARGE);
    while (sent < LARGE) {
        sent += send_some(f, sent, MB < LARGE - sent ? MB : LARGE - sent);
        store_flush(w->store); /* so that what lies behind can be given up */
        assert_false(fake_fetch_is_paused(f));
        assert_true(block_bytes_in_use() < 18 * MB);
    }
    world_drain(w);
    asker_read_some(&b, 100); /* far behind: from the store */
    ask(w, 1, &c, "GET", "/a", "range: bytes=1000000-1000099\n");
    fake_fetch_done(f);
    world_drain(w);
    asker_read(&a);
    asker_read(&b);
    body_is(&a, LARGE);
    body_is(&b, LARGE);
    asker_read(&c);
    assert_int_equal(c.answer.status == 206 ? c.body.n : 100, 100);
    asker_release(&a);
    asker_release(&b);
    asker_release(&c);
    world_settle(w);
    assert_true(block_bytes_in_use() < MB);
}

static void test_an_unbacked_fill_goes_at_its_readers_pace(void **state)
{
    struct world *w = *state;
    struct asker a, b;
    struct fake_fetch *f;
    size_t sent, more;

    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    f = world_last(w, 0);
    fake_fetch_head(f, 200, SECRET, CACHE_LENGTH, LARGE);
    sent = send_some(f, 0, LARGE);
    assert_true(fake_fetch_is_paused(f));
    assert_true(sent >= MB && sent < MB + 2 * PIECE);
    world_drain(w);
    fake_reactor_advance(w->reactor[0], 3 * LIMIT_SLOW_READER_MS);
    assert_true(fake_fetch_is_paused(f)); /* nobody else waits: it is not cut */
    while (sent < LARGE) {
        asker_read_some(&a, 5 * PIECE);
        world_drain(w);
        assert_false(fake_fetch_is_paused(f));
        more = send_some(f, sent, LARGE - sent);
        assert_true(more > 0);
        sent += more;
        assert_true(block_bytes_in_use() < 3 * MB);
    }
    fake_fetch_done(f);
    asker_read(&a);
    assert_int_equal(a.end, CACHE_BODY_END);
    body_is(&a, LARGE);
    asker_release(&a);
    ask(w, 0, &b, "GET", "/a", "");
    world_drain(w);
    asker_release(&b);
}

/* Answers that may be shared and are not stored: an error, say. */
static void test_who_holds_up_others_is_cut(void **state)
{
    struct world *w = *state;
    struct asker a, slow;
    struct fake_fetch *f;
    size_t sent = 0;
    int64_t began;

    ask(w, 0, &a, "GET", "/a", "");
    ask(w, 1, &slow, "GET", "/a", "");
    world_drain(w);
    f = world_last(w, 0);
    fake_fetch_head(f, 503, "x: y\n", CACHE_LENGTH, LARGE);
    began = reactor_now_ms(w->reactor[0]);
    world_drain(w);
    while (sent < LARGE && reactor_now_ms(w->reactor[0]) - began < 4 * LIMIT_SLOW_READER_MS) {
        sent += send_some(f, sent, LARGE - sent);
        asker_read_some(&a, UINT64_MAX / 2);
        if (!slow.is_over)
            asker_read_some(&slow, 10); /* it creeps on */
        world_drain(w);
        fake_reactor_advance(w->reactor[0], 100);
    }
    assert_int_equal(sent, LARGE);
    assert_true(reactor_now_ms(w->reactor[0]) - began < 2 * LIMIT_SLOW_READER_MS);
    fake_fetch_done(f);
    world_drain(w);
    asker_read(&a);
    body_is(&a, LARGE);
    asker_read(&slow);
    assert_int_equal(slow.end, CACHE_BODY_BROKEN); /* never a clean end */
    asker_release(&a);
    asker_release(&slow);
}

static void test_nobody_joins_when_the_first_byte_has_gone(void **state)
{
    struct world *w = *state;
    struct asker a, b, c;
    struct fake_fetch *f;
    size_t sent = 0;

    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    f = world_last(w, 0);
    fake_fetch_head(f, 200, FRESH, CACHE_LENGTH, TOO_LARGE);
    sent += send_some(f, sent, MB / 2);
    ask(w, 1, &b, "GET", "/a", "");
    world_drain(w);
    assert_int_equal(world_requests(w), 1); /* all is still there */
    while (sent < 3 * MB) {
        asker_read_some(&a, UINT64_MAX / 2);
        asker_read_some(&b, UINT64_MAX / 2);
        world_drain(w);
        sent += send_some(f, sent, 3 * MB - sent);
    }
    ask(w, 1, &c, "GET", "/a", "");
    world_drain(w);
    assert_int_equal(world_requests(w), 2);
    asker_release(&a);
    asker_release(&b);
    asker_release(&c);
}

static void test_a_truncated_body_is_cut_and_not_stored(void **state)
{
    struct world *w = *state;
    struct asker a, b;

    for (int known = 0; known < 2; known++) {
        size_t before = world_requests(w);

        ask(w, 0, &a, "GET", "/a", "");
        ask(w, 1, &b, "GET", "/a", "");
        a.reads = true;
        world_drain(w);
        fake_fetch_head(world_last(w, 0), 200, FRESH, known ? CACHE_LENGTH : CACHE_CHUNKED,
                        known ? 10 : 0);
        fake_fetch_body(world_last(w, 0), pattern, 5);
        world_drain(w);
        asker_read(&a);
        assert_int_equal(a.end, CACHE_BODY_WAIT);
        fake_fetch_fail(world_last(w, 0), RESPONSE_CAME);
        world_drain(w);
        assert_int_equal(a.end, CACHE_BODY_BROKEN);
        body_is(&a, 5);
        asker_read(&b);
        assert_int_equal(b.end, CACHE_BODY_BROKEN);
        asker_release(&a);
        asker_release(&b);
        world_settle(w);
        ask(w, 0, &a, "GET", "/a", "");
        world_drain(w);
        assert_int_equal(world_requests(w), before + 2);
        asker_release(&a);
        world_drain(w);
    }
}

static void test_a_failure_before_the_first_byte_is_an_error(void **state)
{
    struct world *w = *state;
    struct asker a;

    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    fake_fetch_head(world_last(w, 0), 200, FRESH, CACHE_LENGTH, 10);
    fake_fetch_fail(world_last(w, 0), RESPONSE_CAME);
    world_drain(w);
    assert_int_equal(a.answer.status, 502);
    asker_release(&a);
}

static void test_what_is_too_much_belongs_to_nobody(void **state)
{
    struct world *w = *state;
    struct asker a;

    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    fake_fetch_head(world_last(w, 0), 200, FRESH, CACHE_LENGTH, 5);
    fake_fetch_body(world_last(w, 0), "hello, and more", 15);
    fake_fetch_body(world_last(w, 0), "more", 4);
    fake_fetch_done(world_last(w, 0));
    world_drain(w);
    asker_got(&a, 200, "hello");
    asker_release(&a);
}

static void test_what_the_last_reader_leaves(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *fields;
        size_t bytes, sent;
        bool goes_on;
    } row[] = {
        {FRESH, 8 * MB, 1 * MB, false},
        {FRESH, 8 * MB, 5 * MB, true}, /* more than half */
        {FRESH, 1 * MB, 1000, true},   /* little is missing */
        {SECRET, 1 * MB, 1000, false}, /* nobody will have it */
    };
    struct asker a;

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        char target[16];
        struct fake_fetch *f;

        snprintf(target, sizeof(target), "/%zu", i);
        ask(w, 1, &a, "GET", target, "");
        world_drain(w);
        f = world_last(w, 1);
        fake_fetch_head(f, 200, row[i].fields, CACHE_LENGTH, row[i].bytes);
        assert_int_equal(send_some(f, 0, row[i].sent), row[i].sent);
        world_drain(w);
        asker_release(&a);
        world_drain(w);
        assert_int_equal(fake_fetch_is_running(f), row[i].goes_on);
        if (!row[i].goes_on)
            continue;
        send_some(f, row[i].sent, row[i].bytes - row[i].sent);
        fake_fetch_done(f);
        world_settle(w);
        ask(w, 0, &a, "GET", target, "");
        assert_int_equal(a.answer.verdict, VERDICT_HIT);
        asker_read(&a);
        body_is(&a, row[i].bytes);
        asker_release(&a);
    }
}

static void test_too_large_is_served_and_not_stored(void **state)
{
    struct world *w = *state;
    struct world small;
    struct asker a;
    size_t sent = 0;

    (void)w;
    world_open(&small, 1, 64ull << 20); /* a tenth is 6.4 MiB */
    for (int known = 0; known < 2; known++) {
        ask(&small, 0, &a, "GET", "/a", "");
        world_drain(&small);
        sent = 0;
        fake_fetch_head(world_last(&small, 0), 200, FRESH, known ? CACHE_LENGTH : CACHE_CHUNKED,
                        known ? 8 * MB : 0);
        while (sent < 8 * MB) {
            sent += send_some(world_last(&small, 0), sent, 8 * MB - sent);
            world_drain(&small);
            asker_read_some(&a, UINT64_MAX / 2);
            world_drain(&small);
        }
        fake_fetch_done(world_last(&small, 0));
        world_settle(&small);
        asker_read(&a);
        body_is(&a, 8 * MB);
        asker_release(&a);
        world_settle(&small);
    }
    assert_int_equal(world_requests(&small), 2);
    world_close(&small);
}

/* What it was to replace is a thing of the past all the same; what broke off says nothing. */
static void test_what_a_too_large_one_outdates_goes(void **state)
{
    static const char stale[] =
        "cache-control: max-age=10, stale-while-revalidate=600\nage: 15\netag: \"1\"\n";
    static const struct {
        const char *old;
        enum cache_framing framing;
        bool breaks, want;
    } row[] = {
        {stale, CACHE_LENGTH, false, false},
        {stale, CACHE_CHUNKED, false, false},
        {"cache-control: max-age=60\netag: \"1\"\n", CACHE_LENGTH, false, true},
        {stale, CACHE_LENGTH, true, true},
    };
    struct world *w = *state;
    struct world small;
    struct asker a;
    char target[8];

    (void)w;
    world_open(&small, 1, 64ull << 20); /* a tenth is 6.4 MiB */
    small.site.client_reload = SITE_RELOAD_HONOUR;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        size_t bytes = row[i].breaks ? 1 * MB : 8 * MB, sent = 0;

        snprintf(target, sizeof(target), "/%zu", i);
        world_put(&small, target, "", 200, row[i].old, "old");
        ask(&small, 0, &a, "GET", target, "cache-control: no-cache\n");
        world_drain(&small);
        assert_string_equal(fake_fetch_field(world_last(&small, 0), "if-none-match"), "\"1\"");
        fake_fetch_head(world_last(&small, 0), 200, FRESH "etag: \"2\"\n", row[i].framing,
                        row[i].framing == CACHE_LENGTH ? bytes : 0);
        while (sent < bytes - row[i].breaks) {
            sent += send_some(world_last(&small, 0), sent, bytes - row[i].breaks - sent);
            world_drain(&small);
            asker_read_some(&a, UINT64_MAX / 2);
            world_drain(&small);
        }
        if (row[i].breaks)
            fake_fetch_fail(world_last(&small, 0), RESPONSE_CLOSED);
        else
            fake_fetch_done(world_last(&small, 0));
        world_settle(&small);
        asker_release(&a);
        world_settle(&small);
        ask(&small, 0, &a, "GET", target, "");
        world_drain(&small);
        if (row[i].want)
            asker_got(&a, 200, "old");
        assert_int_equal(a.has_answer, row[i].want);
        asker_release(&a);
        world_settle(&small);
    }
    world_close(&small);
}

static void test_a_range_of_a_body_that_comes(void **state)
{
    struct world *w = *state;
    struct asker a, b;

    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    fake_fetch_answer(world_last(w, 0), 200, "cache-control: max-age=10\nage: 15\netag: \"1\"\n",
                      "0123456789");
    world_settle(w);
    asker_release(&a);
    ask(w, 0, &a, "GET", "/a", "range: bytes=4-6\n");
    world_drain(w);
    fake_fetch_head(world_last(w, 0), 200, "cache-control: max-age=60\netag: \"2\"\n", CACHE_LENGTH,
                    10);
    fake_fetch_body(world_last(w, 0), "ab", 2);
    world_drain(w);
    asker_read(&a);
    assert_int_equal(a.answer.status, 206);
    assert_int_equal(a.end, CACHE_BODY_WAIT); /* not there yet */
    ask(w, 1, &b, "GET", "/a", "");
    fake_fetch_body(world_last(w, 0), "cdefghij", 8);
    world_drain(w);
    asker_got(&a, 206, "efg");
    fake_fetch_done(world_last(w, 0));
    world_drain(w);
    asker_got(&b, 200, "abcdefghij");
    asker_release(&a);
    asker_release(&b);
}

static void test_a_worker_that_stops_fails_its_fills(void **state)
{
    struct world *w = *state;
    struct asker a, b;
    struct fake_fetch *f;

    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    ask(w, 1, &b, "GET", "/a", "");
    world_drain(w);
    f = world_last(w, 0);
    fake_fetch_head(f, 200, FRESH, CACHE_LENGTH, 100);
    fake_fetch_body(f, pattern, 10);
    world_drain(w);
    asker_read(&b);
    asker_release(&a);
    cache_worker_free(w->worker[0]);
    assert_true(fake_fetch_is_cancelled(f));
    {
        struct cache_fetcher face = fake_fetcher_face(w->origin[0]);

        world_drain(w);
        asker_read(&b);
        assert_int_equal(b.end, CACHE_BODY_BROKEN);
        asker_release(&b);
        assert_int_equal(cache_worker_new(w->cache, w->reactor[0], &face, &w->worker[0]), ERR_OK);
    }
}

#define WORLD(f) cmocka_unit_test_setup_teardown(f, up, down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD(test_event_streams_pass_as_they_come),
        WORLD(test_each_piece_goes_on_at_once),
        WORLD(test_unknown_length_is_stored_right),
        WORLD(test_a_backed_fill_does_not_wait_for_its_readers),
        WORLD(test_an_unbacked_fill_goes_at_its_readers_pace),
        WORLD(test_who_holds_up_others_is_cut),
        WORLD(test_nobody_joins_when_the_first_byte_has_gone),
        WORLD(test_a_truncated_body_is_cut_and_not_stored),
        WORLD(test_a_failure_before_the_first_byte_is_an_error),
        WORLD(test_what_is_too_much_belongs_to_nobody),
        WORLD(test_what_the_last_reader_leaves),
        WORLD(test_too_large_is_served_and_not_stored),
        WORLD(test_what_a_too_large_one_outdates_goes),
        WORLD(test_a_range_of_a_body_that_comes),
        WORLD(test_a_worker_that_stops_fails_its_fills),
    };

    pattern = malloc(LARGE);
    assert_non_null(pattern);
    for (size_t i = 0; i < LARGE; i++)
        pattern[i] = (char)(i * 31 + i / 65512 * 7 + i / 251);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
