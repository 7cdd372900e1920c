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

/* The range is of what the answer will be made of, and If-Range is asked of that. */
static void test_if_range_is_judged_when_the_validation_is_over(void **state)
{
    static const struct {
        const char *request;
        int came;
        const char *fields, *body;
        int want;
        const char *got;
    } row[] = {
        {"range: bytes=1-2\nif-range: \"1\"\n", 304, "x: y\n", "", 206, "el"},
        {"range: bytes=1-2\nif-range: \"2\"\n", 304, "x: y\n", "", 200, "hello"},
        {"range: bytes=1-2\nif-range: \"1\"\n", 200, "etag: \"2\"\n", "world", 200, "world"},
        {"range: bytes=1-2\nif-range: \"2\"\n", 200, "etag: \"2\"\n", "world", 206, "or"},
        {"range: bytes=1-2\nif-none-match: \"1\"\n", 304, "etag: \"1\"\n", "", 304, ""},
        {"range: bytes=1-2\nif-none-match: \"1\"\n", 200, "etag: \"2\"\n", "world", 206, "or"},
        {"range: bytes=7-\n", 200, "etag: \"2\"\n", "a long body", 206, "body"},
        {"range: bytes=9-\n", 200, "etag: \"2\"\n", "world", 416, ""},
        {"range: bytes=9-\n", 404, "x: y\n", "none", 404, "none"},
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        char target[8], fields[80];
        struct asker a;

        snprintf(target, sizeof(target), "/%zu", i);
        snprintf(fields, sizeof(fields), "cache-control: max-age=60\n%s", row[i].fields);
        world_put(w, target, "", 200, STALE "etag: \"1\"\n", "hello");
        ask(w, 0, &a, "GET", target, row[i].request);
        world_drain(w);
        assert_null(fake_fetch_field(world_last(w, 0), "range"));
        assert_null(fake_fetch_field(world_last(w, 0), "if-range"));
        fake_fetch_answer(world_last(w, 0), row[i].came, fields, row[i].body);
        world_drain(w);
        asker_got(&a, row[i].want, row[i].got);
        if (a.answer.cache_status.fwd_status !=
            (row[i].came == row[i].want && row[i].came != 304 ? 0 : row[i].came))
            fail_msg("row %zu: fwd-status %d", i, a.answer.cache_status.fwd_status);
        asker_release(&a);
        world_settle(w);
    }
}

/* RFC 9111 section 4.3.5: a 200 to a HEAD is about what is stored, other answers are not. */
static void test_a_head_speaks_of_the_stored_page(void **state)
{
    static const struct {
        const char *stored;
        int came;
        const char *fields;
        enum { FRESHENS, DROPS, LEAVES } what;
    } row[] = {
        {"etag: \"1\"\n", 200, "etag: \"1\"\ncontent-length: 5\n", FRESHENS},
        {"etag: \"1\"\n", 200, "x: y\n", FRESHENS},
        {"", 200, "content-length: 5\n", FRESHENS},
        {"etag: \"1\"\n", 304, "etag: \"1\"\ncontent-length: 9\n", FRESHENS},
        {"etag: \"1\"\n", 200, "etag: \"2\"\ncontent-length: 5\n", DROPS},
        {"etag: \"1\"\n", 200, "etag: \"1\"\ncontent-length: 6\n", DROPS},
        {"", 200, "etag: \"1\"\n", DROPS},
        {"", 200, "last-modified: Thu, 01 Jan 2015 00:00:00 GMT\n", DROPS},
        {"", 410, "content-length: 6\n", LEAVES},
        {"etag: \"1\"\n", 403, "content-length: 5\n", LEAVES},
        {"etag: \"1\"\n", 503, "content-length: 5\n", LEAVES},
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        char target[8], fields[200];
        bool asks_again;
        struct asker a;

        snprintf(target, sizeof(target), "/%zu", i);
        snprintf(fields, sizeof(fields), STALE "x-own: 1\n%s", row[i].stored);
        world_put(w, target, "", 200, fields, "hello");
        ask(w, 0, &a, "HEAD", target, "");
        world_drain(w);
        assert_string_equal(fake_fetch_method(world_last(w, 0)), "HEAD");
        snprintf(fields, sizeof(fields), "cache-control: max-age=60\nx-own: 2\n%s", row[i].fields);
        fake_fetch_head(world_last(w, 0), row[i].came, fields, CACHE_NO_BODY, 0);
        fake_fetch_done(world_last(w, 0));
        world_settle(w);
        asker_got(&a, row[i].came == 304 ? 200 : row[i].came, "");
        assert_string_equal(asker_field(&a, "x-own"), "2");
        asker_release(&a);

        ask(w, 0, &a, "GET", target, "");
        world_drain(w);
        asks_again = !a.has_answer;
        if (asks_again != (row[i].what != FRESHENS))
            fail_msg("row %zu: asked again: %d", i, asks_again);
        if (row[i].what == FRESHENS) {
            asker_got(&a, 200, "hello");
            assert_string_equal(asker_field(&a, "x-own"), "2");
        } else { /* does the last good copy stand in? */
            fake_fetch_fail(world_last(w, 0), RESPONSE_UNREACHABLE);
            world_drain(w);
            if ((a.answer.status == 200) != (row[i].what == LEAVES))
                fail_msg("row %zu: then %d", i, a.answer.status);
        }
        asker_release(&a);
        world_settle(w);
    }
}

/* http-caching, small print: what may not be stored shows that what is stored is of the past. */
static void test_a_200_that_may_not_be_stored_drops_the_stale_one(void **state)
{
    static const char *const row[] = {"cache-control: no-store\n", "cache-control: private\n",
                                      "vary: *\ncache-control: max-age=60\n", "x: y\n"};
    struct world *w = *state;

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        char target[8];
        struct asker a;

        snprintf(target, sizeof(target), "/%zu", i);
        world_put(w, target, "", 200, STALE "etag: \"1\"\n", "hello");
        ask(w, 0, &a, "GET", target, "");
        world_drain(w);
        fake_fetch_answer(world_last(w, 0), 200, row[i], "world");
        world_settle(w);
        asker_got(&a, 200, "world");
        asker_release(&a);
        ask(w, 0, &a, "GET", target, "");
        world_drain(w);
        assert_null(fake_fetch_field(world_last(w, 0), "if-none-match"));
        fake_fetch_fail(world_last(w, 0), RESPONSE_UNREACHABLE);
        world_drain(w);
        assert_int_equal(a.answer.status, 503);
        asker_release(&a);
    }
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
    assert_int_equal(a.answer.cache_status.fwd_status, 0); /* that of the answer */
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
            i == 1 ? "authorization: me\ncache-control: no-store\nrange: bytes=0-4\n"
                   : "authorization: me\ncache-control: no-store\nif-none-match: \"0\"\n");
        assert_true(a.has_answer);
        assert_int_equal(a.answer.verdict, VERDICT_STALE);
        assert_int_equal(a.answer.cache_status.fwd, FWD_NONE);
        assert_true(a.answer.cache_status.ttl_s < 0);
        asker_got(&a, i == 1 ? 206 : 200, i % 3 == 0 ? "" : "hello");
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

/* For everybody, whole, and about what is stored alone, whoever was there when it was due. */
static void test_a_refresh_has_no_wishes_of_a_client(void **state)
{
    static const char *const wishes[] = {"range: bytes=1-2\nif-range: \"1\"\n",
                                         "if-none-match: \"0\"\n",
                                         "if-modified-since: Thu, 01 Jan 2015 00:00:00 GMT\n"};
    struct world *w = *state;

    for (size_t i = 0; i < 2 * sizeof(wishes) / sizeof(wishes[0]); i++) {
        char target[8];
        const char *tag;
        struct asker a;

        snprintf(target, sizeof(target), "/%zu", i);
        world_put(w, target, "", 200, i % 2 == 0 ? STALE_SWR "etag: \"1\"\n" : STALE_SWR, "hello");
        ask(w, 0, &a, "GET", target, wishes[i / 2]);
        assert_true(a.has_answer);
        world_drain(w);
        assert_null(fake_fetch_field(world_last(w, 0), "range"));
        assert_null(fake_fetch_field(world_last(w, 0), "if-range"));
        assert_null(fake_fetch_field(world_last(w, 0), "if-modified-since"));
        tag = fake_fetch_field(world_last(w, 0), "if-none-match");
        if (i % 2 == 0)
            assert_string_equal(tag, "\"1\"");
        else
            assert_null(tag);
        asker_release(&a);
        fake_fetch_answer(world_last(w, 0), 200, "cache-control: max-age=60\n", "world");
        world_settle(w);
        ask(w, 0, &a, "GET", target, "");
        asker_got(&a, 200, "world");
        asker_release(&a);
    }
}

/* What one user's Authorization brings could not be stored, and would take away what everybody has.
 */
static void test_a_refresh_asks_as_the_stored_one_was_asked_for(void **state)
{
    static const struct {
        const char *stored, *request;
        bool authorization;
    } row[] = {
        {"", "", false},
        {"cache-control: public\n", "", true},
        {"cache-control: public\n", "authorization: me\n", true},
        {"cache-control: must-revalidate\ncdn-cache-control: max-age=10, "
         "stale-while-revalidate=600\n",
         "", true},
        {"cdn-cache-control: max-age=10, stale-while-revalidate=600, public\n", "", true},
        {"cdn-cache-control: max-age=10, stale-while-revalidate=600\n", "", false},
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        char target[8], fields[200];
        struct asker a;

        snprintf(target, sizeof(target), "/%zu", i);
        snprintf(fields, sizeof(fields), STALE_SWR "etag: \"1\"\n%s", row[i].stored);
        world_put(w, target, row[i].request, 200, fields, "hello");
        ask(w, 0, &a, "GET", target, "authorization: me\nx-own: 1\n");
        asker_got(&a, 200, "hello");
        asker_release(&a);
        world_drain(w);
        assert_string_equal(fake_fetch_field(world_last(w, 0), "x-own"), "1");
        if ((fake_fetch_field(world_last(w, 0), "authorization") != NULL) != row[i].authorization)
            fail_msg("row %zu", i);
        fake_fetch_answer(world_last(w, 0), 200,
                          row[i].authorization ? "cache-control: max-age=60, public\n"
                                               : "cache-control: max-age=60\n",
                          "world");
        world_settle(w);
        ask(w, 0, &a, "GET", target, "");
        asker_got(&a, 200, "world");
        asker_release(&a);
    }
}

/* RFC 5861 section 3: what comes takes the place of what is stored, whatever it says. */
static void test_what_a_refresh_brings_replaces(void **state)
{
    static const struct {
        int came;
        const char *fields;
        enum { HIT, VALIDATES, GONE, STAYS } then;
    } row[] = {
        {200, "cache-control: max-age=60\n", HIT},
        {200, "cache-control: no-cache\netag: \"2\"\n", VALIDATES},
        {200, "cache-control: no-store\n", GONE},
        {200, "cache-control: private\n", GONE},
        {200, "x: y\n", GONE},
        {404, "cache-control: max-age=60\n", HIT},
        {404, "x: y\n", GONE},
        {403, "x: y\n", STAYS},
        {500, "x: y\n", STAYS},
        {304, "cache-control: private\n", GONE},
        {304, "cache-control: no-cache, max-age=60\n", VALIDATES},
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        char target[8];
        struct asker a;

        snprintf(target, sizeof(target), "/%zu", i);
        world_put(w, target, "", 200, STALE_SWR "etag: \"1\"\n", "hello");
        ask(w, 0, &a, "GET", target, "");
        asker_got(&a, 200, "hello");
        asker_release(&a);
        world_drain(w);
        fake_fetch_answer(world_last(w, 0), row[i].came, row[i].fields,
                          row[i].came == 304 ? "" : "world");
        world_settle(w);
        fake_reactor_advance(w->reactor[0], LIMIT_CLIENT_RELOAD_MS + 1);
        ask(w, 0, &a, "GET", target, "");
        if (row[i].then == HIT)
            asker_got(&a, row[i].came, "world");
        else if (row[i].then == STAYS)
            asker_got(&a, 200, "hello");
        else
            assert_false(a.has_answer);
        world_drain(w);
        if (row[i].then == VALIDATES || row[i].then == GONE)
            assert_int_equal(fake_fetch_field(world_last(w, 0), "if-none-match") != NULL,
                             row[i].then == VALIDATES);
        asker_release(&a);
        world_settle(w);
    }
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
        {"cache-control: max-age=10, proxy-revalidate\nage: 15\n", 0, 504, NULL},
        {"cache-control: s-maxage=10\nage: 15\n", 0, 504, NULL},
        {"cache-control: s-maxage=10, stale-if-error=600\nage: 15\n", 0, 200, "hello"},
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
            assert_null(asker_field(&a, "warning")); /* RFC 9111 section 5.5: of the past */
            assert_int_equal(a.answer.cache_status.fwd_status, row[i].came);
            assert_true(a.answer.cache_status.ttl_s < 0);
        }
        if (row[i].body != NULL)
            asker_got(&a, row[i].want, row[i].body);
        if (row[i].want == 504) { /* no field of what is stored */
            assert_null(asker_field(&a, "etag"));
            assert_string_equal(asker_field(&a, "cache-control"), "no-store");
            assert_int_equal(a.answer.age_s, -1);
        }
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
    fake_fetch_fail(world_last(w, 0), RESPONSE_UNREACHABLE);
    world_drain(w);
    asker_got(&a, 200, "hello");
    assert_int_equal(a.answer.verdict, VERDICT_STALE);
    assert_int_equal(a.answer.cache_status.ttl_s, 0); /* whatever there was left of it */
    asker_release(&a);
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
        WORLD(test_if_range_is_judged_when_the_validation_is_over),
        WORLD(test_a_head_speaks_of_the_stored_page),
        WORLD(test_a_200_that_may_not_be_stored_drops_the_stale_one),
        WORLD(test_a_304_that_says_private_is_for_one_and_drops),
        WORLD(test_a_304_about_another_is_asked_again),
        WORLD(test_a_304_of_another_date_is_asked_again),
        WORLD(test_a_304_without_date),
        WORLD(test_no_validator_is_fetched_whole),
        WORLD(test_swr_answers_at_once_and_refreshes_once),
        WORLD(test_a_refresh_has_no_wishes_of_a_client),
        WORLD(test_a_refresh_asks_as_the_stored_one_was_asked_for),
        WORLD(test_what_a_refresh_brings_replaces),
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
