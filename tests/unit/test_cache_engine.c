/* The engine with one client at a time: hits, conditions, ranges, passes, errors. */
#include "cache/head.h"
#include "cache_world.h"

#define MIB64 (64ull << 20)

static int up(void **state)
{
    struct world *w = malloc(sizeof(*w));

    world_open(w, 1, MIB64);
    *state = w;
    return 0;
}

static int down(void **state)
{
    world_close(*state);
    free(*state);
    return 0;
}

static void test_miss_then_hit(void **state)
{
    struct world *w = *state;
    struct asker a;

    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    assert_int_equal(world_requests(w), 1);
    fake_fetch_answer(
        world_last(w, 0), 200,
        "cache-control: max-age=60\ncontent-type: text/plain\nx-own: 1\nsurrogate-key: s1\n",
        "hello");
    world_drain(w);
    asker_got(&a, 200, "hello");
    assert_int_equal(a.answer.verdict, VERDICT_MISS);
    assert_true(a.answer.cache_status.stored);
    assert_int_equal(a.answer.cache_status.fwd, FWD_URI_MISS);
    assert_int_equal(a.answer.age_s, -1);
    assert_null(asker_field(&a, "surrogate-key"));
    asker_release(&a);
    world_settle(w);

    ask(w, 0, &a, "GET", "/a", "");
    assert_true(a.has_answer); /* from inside cache_start() */
    asker_got(&a, 200, "hello");
    assert_int_equal(a.answer.verdict, VERDICT_HIT);
    assert_int_equal(a.answer.cache_status.fwd, FWD_NONE);
    assert_true(a.answer.cache_status.ttl_s > 50);
    assert_true(a.answer.may_pull);
    assert_true(a.answer.age_s >= 0 && a.answer.age_s < 10);
    assert_true(a.answer.date_s > 1700000000);
    assert_string_equal(asker_field(&a, "x-own"), "1");
    assert_string_equal(cache_reason(a.x), "fresh");
    asker_release(&a);
    assert_int_equal(world_requests(w), 1);
}

static void test_large_hit_is_pulled_and_pushed_alike(void **state)
{
    struct world *w = *state;
    enum { BYTES = 300000, PULL = 16384 };
    char *body = malloc(BYTES + 1), *got = malloc(BYTES + PULL);
    struct asker a;
    size_t sum = 0, n;
    enum cache_body e = CACHE_BODY_MORE;

    for (size_t i = 0; i < BYTES; i++)
        body[i] = (char)('a' + i * 7 % 26 + (i / 65512) % 3);
    body[BYTES] = '\0';
    world_put(w, "/big", "", 200, "cache-control: max-age=60\n", body);
    ask(w, 0, &a, "GET", "/big", "");
    assert_true(a.answer.may_pull);
    while (e == CACHE_BODY_MORE) {
        e = cache_body_pull(a.x, got + sum, PULL, &n);
        assert_true(n > 0 && n <= PULL && sum + n <= BYTES);
        sum += n;
    }
    assert_int_equal(e, CACHE_BODY_END);
    assert_int_equal(sum, BYTES);
    assert_memory_equal(got, body, BYTES);
    asker_release(&a);
    ask(w, 0, &a, "GET", "/big", "");
    asker_got(&a, 200, body);
    asker_release(&a);
    free(body);
    free(got);
}

static void test_head_from_a_stored_get(void **state)
{
    struct world *w = *state;
    struct asker a, get;

    world_put(w, "/a", "", 200,
              "cache-control: max-age=60\netag: \"1\"\ncontent-type: text/plain\n"
              "content-encoding: x\ncontent-language: de\nrepr-digest: y\nlink: a\nlink: b\n",
              "hello");
    ask(w, 0, &a, "HEAD", "/a", "");
    asker_got(&a, 200, "");
    assert_false(a.answer.has_body);
    assert_int_equal(a.answer.body_bytes, 5);
    assert_int_equal(a.answer.verdict, VERDICT_HIT);
    ask(w, 0, &get, "GET", "/a", "");
    assert_int_equal(a.fields.count, get.fields.count);
    for (size_t i = 0; i < get.fields.count; i++) {
        assert_true(slice_eq(a.fields.item[i].name, get.fields.item[i].name));
        assert_true(slice_eq(a.fields.item[i].value, get.fields.item[i].value));
    }
    assert_int_equal(a.answer.date_s, get.answer.date_s);
    asker_release(&a);
    asker_release(&get);
}

static void test_head_on_a_miss_is_forwarded_and_not_stored(void **state)
{
    struct world *w = *state;
    struct asker a, b;

    ask(w, 0, &a, "HEAD", "/a", "");
    world_drain(w);
    assert_string_equal(fake_fetch_method(world_last(w, 0)), "HEAD");
    ask(w, 0, &b, "GET", "/a", "");
    world_drain(w);
    assert_int_equal(world_requests(w), 2); /* a GET waits for no HEAD */
    fake_fetch_head(fake_fetcher_at(w->origin[0], 0), 200,
                    "cache-control: max-age=60\ncontent-length: 5\n", CACHE_NO_BODY, 0);
    fake_fetch_done(fake_fetcher_at(w->origin[0], 0));
    world_drain(w);
    asker_got(&a, 200, "");
    assert_int_equal(a.answer.body_bytes, 5);
    fake_fetch_answer(fake_fetcher_at(w->origin[0], 1), 200, "cache-control: max-age=60\n",
                      "hello");
    world_drain(w);
    asker_got(&b, 200, "hello");
    asker_release(&a);
    asker_release(&b);
}

static void test_conditions(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *request;
        int want;
    } row[] = {
        {"if-none-match: \"1\"\n", 304},
        {"if-none-match: \"0\", W/\"1\"\n", 304},
        {"if-none-match: *\n", 304},
        {"if-none-match: \"2\"\n", 200},
        {"if-none-match: \"2\"\nif-modified-since: Fri, 01 Jan 2027 00:00:00 GMT\n", 200},
        {"if-modified-since: Thu, 01 Jan 2015 00:00:00 GMT\n", 304},
        {"if-modified-since: Wed, 31 Dec 2014 23:59:59 GMT\n", 200},
    };
    struct asker a;

    world_put(
        w, "/a", "", 200,
        "cache-control: max-age=60\netag: \"1\"\nlast-modified: Thu, 01 Jan 2015 00:00:00 GMT\n"
        "content-type: text/plain\nset-cookie: a=b\ncache-control: public\n",
        "hello");
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        ask(w, 0, &a, i % 2 == 0 ? "GET" : "HEAD", "/a", row[i].request);
        assert_int_equal(a.answer.status, row[i].want);
        assert_string_equal(asker_field(&a, "etag"), "\"1\"");
        if (row[i].want == 304) {
            assert_false(a.answer.has_body);
            assert_int_equal(a.answer.body_bytes, CACHE_BYTES_UNKNOWN);
            assert_null(asker_field(&a, "content-type"));
            assert_null(asker_field(&a, "set-cookie"));
            assert_string_equal(asker_field(&a, "cache-control"), "max-age=60");
            assert_true(a.answer.age_s >= 0);
        }
        asker_release(&a);
    }
    assert_int_equal(world_requests(w), 1);
}

static void test_a_condition_on_a_miss_is_answered_from_what_comes(void **state)
{
    struct world *w = *state;
    struct asker a;

    ask(w, 0, &a, "GET", "/a", "if-none-match: \"1\"\n");
    world_drain(w);
    assert_string_equal(fake_fetch_field(world_last(w, 0), "if-none-match"), "\"1\"");
    fake_fetch_answer(world_last(w, 0), 200, "cache-control: max-age=60\netag: \"1\"\n", "hello");
    world_drain(w);
    asker_got(&a, 304, "");
    assert_string_equal(asker_field(&a, "etag"), "\"1\"");
    asker_release(&a);
    world_settle(w);
    ask(w, 0, &a, "GET", "/a", "");
    asker_got(&a, 200, "hello");
    assert_int_equal(a.answer.verdict, VERDICT_HIT);
    asker_release(&a);
}

static void test_conditions_are_not_for_other_statuses(void **state)
{
    struct world *w = *state;
    struct asker a;

    world_put(w, "/gone", "", 404, "cache-control: max-age=60\netag: \"1\"\n", "no");
    ask(w, 0, &a, "GET", "/gone", "if-none-match: \"1\"\nrange: bytes=0-0\n");
    asker_got(&a, 404, "no");
    asker_release(&a);
}

static void test_ranges(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *request;
        int want;
        const char *body, *content_range;
    } row[] = {
        {"range: bytes=0-1\n", 206, "he", "bytes 0-1/5"},
        {"range: bytes=1-\n", 206, "ello", "bytes 1-4/5"},
        {"range: bytes=-1\n", 206, "o", "bytes 4-4/5"},
        {"range: bytes=3-99\n", 206, "lo", "bytes 3-4/5"},
        {"range: bytes=5-\n", 416, "", "bytes */5"},
        {"range: bytes=2-1\n", 200, "hello", NULL},
        {"range: lines=0-1\n", 200, "hello", NULL},
        {"range: bytes=0-0,0-4,0-4\n", 200, "hello", NULL}, /* more than twice the body */
        {"range: bytes=0-1\nif-range: \"1\"\n", 206, "he", "bytes 0-1/5"},
        {"range: bytes=0-1\nif-range: \"2\"\n", 200, "hello", NULL},
        {"range: bytes=0-1\nif-range: W/\"1\"\n", 200, "hello", NULL},
        {"range: bytes=0-1\nif-none-match: \"1\"\n", 304, "", NULL},
        {"range: bytes=0-1\nif-none-match: \"2\"\n", 206, "he", "bytes 0-1/5"},
        {"range: bytes=9-\nif-none-match: \"1\"\n", 304, "", NULL},
        {"range: bytes=9-\nif-range: \"2\"\n", 200, "hello", NULL},
        {"if-range: \"1\"\n", 200, "hello", NULL},
        {"if-range: \"2\"\n", 200, "hello", NULL},
        {"range: bytes=0-0, 9-\n", 206, "h", "bytes 0-0/5"},
        {"range: bytes=0-1\nrange: bytes=2-3\n", 200, "hello", NULL},
    };
    struct asker a;

    world_put(w, "/a", "", 200,
              "cache-control: max-age=60\netag: \"1\"\nx-own: 1\nrepr-digest: all\n"
              "content-digest: all\n",
              "hello");
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        ask(w, 0, &a, "GET", "/a", row[i].request);
        asker_got(&a, row[i].want, row[i].body);
        assert_true(a.answer.verdict == VERDICT_HIT);
        if (row[i].content_range == NULL)
            assert_null(asker_field(&a, "content-range"));
        else
            assert_string_equal(asker_field(&a, "content-range"), row[i].content_range);
        if (row[i].want == 206) {
            assert_int_equal(a.answer.body_bytes, strlen(row[i].body));
            assert_string_equal(asker_field(&a, "x-own"), "1");
            /* RFC 9530: of the representation it is still true, of this content not */
            assert_string_equal(asker_field(&a, "repr-digest"), "all");
            assert_null(asker_field(&a, "content-digest"));
        } else if (row[i].want == 200) {
            assert_string_equal(asker_field(&a, "content-digest"), "all");
        }
        asker_release(&a);
    }
    ask(w, 0, &a, "HEAD", "/a", "range: bytes=0-1\n"); /* RFC 9110 section 14.2: for GET only */
    asker_got(&a, 200, "");
    asker_release(&a);
    assert_int_equal(world_requests(w), 1);
}

/* RFC 9110 section 14.6; in the order that was asked for. */
static void test_several_ranges(void **state)
{
    static const char want[] = "\r\n--%.16s\r\nContent-Type: text/plain\r\n"
                               "Content-Range: bytes 4-4/5\r\n\r\no"
                               "\r\n--%.16s\r\nContent-Type: text/plain\r\n"
                               "Content-Range: bytes 0-1/5\r\n\r\nhe"
                               "\r\n--%.16s--\r\n";
    static const char type[] = "multipart/byteranges; boundary=";
    struct world *w = *state;
    char text[sizeof(want) + 64];
    const char *got, *boundary;
    struct asker a, b;

    world_put(w, "/a", "", 200,
              "cache-control: max-age=60\ncontent-type: text/plain\ncontent-digest: x\n"
              "content-range: bytes 1-2/3\n",
              "hello");
    ask(w, 0, &a, "GET", "/a", "range: bytes=-1, 0-1, 9-\n");
    got = asker_field(&a, "content-type");
    assert_int_equal(strncmp(got, type, sizeof(type) - 1), 0);
    boundary = got + sizeof(type) - 1;
    assert_int_equal(strlen(boundary), 16);
    snprintf(text, sizeof(text), want, boundary, boundary, boundary);
    assert_null(asker_field(&a, "content-range"));
    assert_null(asker_field(&a, "content-digest"));
    assert_false(a.answer.may_pull);
    /* asker_got() reads in pieces; a byte at a time gives the same */
    ask(w, 0, &b, "GET", "/a", "range: bytes=-1, 0-1, 9-\n");
    asker_got(&a, 206, text);
    while (!b.is_over)
        asker_read_some(&b, 1);
    assert_int_equal(b.body.n, a.body.n);
    assert_int_equal(b.end, CACHE_BODY_END);
    assert_string_not_equal(asker_field(&b, "content-type"), asker_field(&a, "content-type"));
    asker_release(&a);
    asker_release(&b);
}

static void test_a_range_across_chunks(void **state)
{
    struct world *w = *state;
    enum { BYTES = 140000 };
    char *body = malloc(BYTES + 1), part[20001];
    struct asker a;
    enum cache_body e = CACHE_BODY_MORE;
    size_t sum = 0, n;

    for (size_t i = 0; i < BYTES; i++)
        body[i] = (char)('A' + i % 57);
    body[BYTES] = '\0';
    world_put(w, "/big", "", 200, "cache-control: max-age=60\n", body);
    ask(w, 0, &a, "GET", "/big", "range: bytes=60000-79999\n");
    memcpy(part, body + 60000, 20000);
    part[20000] = '\0';
    asker_got(&a, 206, part);
    asker_release(&a);
    ask(w, 0, &a, "GET", "/big", "range: bytes=60000-79999\n");
    assert_true(a.answer.may_pull);
    while (e == CACHE_BODY_MORE) {
        e = cache_body_pull(a.x, part + sum, sizeof(part) - sum, &n);
        sum += n;
    }
    assert_int_equal(sum, 20000); /* and not one more, however much room there is */
    assert_memory_equal(part, body + 60000, 20000);
    asker_release(&a);
    free(body);
}

static void test_a_range_on_a_miss_is_passed(void **state)
{
    struct world *w = *state;
    struct asker a, b;

    ask(w, 0, &a, "GET", "/a", "range: bytes=0-1\nif-range: \"1\"\n");
    ask(w, 0, &b, "GET", "/a", "range: bytes=0-1\n");
    world_drain(w);
    assert_int_equal(world_requests(w), 2);
    assert_string_equal(fake_fetch_field(fake_fetcher_at(w->origin[0], 0), "range"), "bytes=0-1");
    assert_string_equal(fake_fetch_field(fake_fetcher_at(w->origin[0], 0), "if-range"), "\"1\"");
    fake_fetch_answer(fake_fetcher_at(w->origin[0], 0), 206,
                      "cache-control: max-age=60\ncontent-range: bytes 0-1/5\n", "he");
    fake_fetch_answer(fake_fetcher_at(w->origin[0], 1), 206,
                      "cache-control: max-age=60\ncontent-range: bytes 0-1/5\n", "he");
    world_drain(w);
    asker_got(&a, 206, "he");
    asker_got(&b, 206, "he");
    assert_int_equal(a.answer.verdict, VERDICT_PASS);
    assert_false(a.answer.cache_status.stored);
    asker_release(&a);
    asker_release(&b);
    world_settle(w);
    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    assert_int_equal(world_requests(w), 3); /* nothing was stored */
    asker_release(&a);
}

/* An origin that knows no ranges sends it whole: then it is there for everybody. */
static void test_a_range_that_brings_the_whole_stores_it(void **state)
{
    static const struct {
        const char *method;
        int status;
        const char *fields;
        bool want;
    } row[] = {
        {"GET", 200, "cache-control: max-age=60\n", true},
        {"GET", 200, "cache-control: private, max-age=60\n", false},
        {"GET", 404, "cache-control: max-age=60\n", false},
        {"HEAD", 200, "cache-control: max-age=60\n", false},
    };
    struct world *w = *state;
    char target[16];
    struct asker a;

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        bool is_head = row[i].method[0] == 'H';

        snprintf(target, sizeof(target), "/r%zu", i);
        ask(w, 0, &a, row[i].method, target, "range: bytes=0-1\n");
        world_drain(w);
        fake_fetch_answer(world_last(w, 0), row[i].status, row[i].fields, is_head ? "" : "hello");
        world_drain(w);
        asker_got(&a, row[i].status, is_head ? "" : "hello");
        assert_int_equal(a.answer.cache_status.stored, row[i].want);
        asker_release(&a);
        world_settle(w);
        ask(w, 0, &a, "GET", target, "range: bytes=1-2\n");
        world_drain(w);
        if (row[i].want)
            asker_got(&a, 206, "el");
        assert_int_equal(a.has_answer, row[i].want);
        asker_release(&a);
        world_drain(w);
    }
}

static void test_passes(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *method, *request;
    } row[] = {
        {"POST", ""},
        {"DELETE", ""},
        {"M-SEARCH", ""},
        {"OPTIONS", ""},
        {"GET", "if-match: \"1\"\n"},
        {"GET", "cookie: sessionid=1\n"},
    };
    static const char *const names[] = {"sessionid"};
    struct asker a;

    w->site.rules_count = 1;
    w->rule.bypass_cookies = (struct site_strings){names, 1};
    world_put(w, "/a", "", 200, "cache-control: max-age=60\n", "old");
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        ask(w, 0, &a, row[i].method, "/a", row[i].request);
        world_drain(w);
        assert_int_equal(world_requests(w), 2 + i);
        assert_string_equal(fake_fetch_method(world_last(w, 0)), row[i].method);
        fake_fetch_answer(world_last(w, 0), 404, "cache-control: max-age=60\n", "passed");
        world_drain(w);
        asker_got(&a, 404, "passed");
        assert_int_equal(a.answer.verdict, VERDICT_PASS);
        asker_release(&a);
        world_settle(w);
        ask(w, 0, &a, "GET", "/a", "");
        asker_got(&a, 200, "old");
        asker_release(&a);
    }
}

/* ---- invalidation: RFC 9111 section 4.4 ---- */

/* Times are compared in ms, and "in the same one" counts as before. */
static void next_ms(void)
{
    int64_t now = clock_mono_ms();

    while (clock_mono_ms() == now)
        ;
}

static bool is_hit(struct world *w, const char *target, const char *fields)
{
    struct asker a;
    bool hit;

    ask(w, 0, &a, "GET", target, fields);
    hit = a.has_answer && a.answer.verdict == VERDICT_HIT;
    asker_release(&a);
    world_drain(w);
    return hit;
}

static bool count_row(void *user, const struct store_row *row)
{
    *(unsigned *)user += !row->is_marker && slice_eq(row->stamp.purge_url, SLICE(HOST "/a"));
    return true;
}

/* Rows of /a, its marker aside. */
static unsigned rows_of_a(struct world *w)
{
    struct store_reader *r;
    unsigned rows = 0;

    assert_int_equal(store_reader_new(w->store, &r), ERR_OK);
    assert_int_equal(store_walk(r, SLICE(HOST), count_row, &rows), ERR_OK);
    store_reader_free(r);
    return rows;
}

static void change(struct world *w, const char *method, int status, const char *fields)
{
    struct asker a;

    next_ms();
    ask(w, 0, &a, method, "/a", "");
    world_drain(w);
    fake_fetch_answer(world_last(w, 0), status, fields, status == 204 ? "" : "changed");
    world_drain(w);
    asker_got(&a, status, status == 204 ? "" : "changed");
    next_ms();
    asker_release(&a);
}

static void test_unsafe_methods_invalidate(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *method;
        int status;
        const char *fields;
        bool a, b;
    } row[] = {
        {"POST", 200, "x: y\n", false, true},
        {"PUT", 201, "location: /b\n", false, false},
        {"M-SEARCH", 302, "location: https://" HOST "/b\n", false, false},
        {"DELETE", 200, "content-location: /b\n", false, false},
        {"PATCH", 200, "location: https://other.example/b\n", false, true},
        {"PATCH", 200, "location: http://" HOST "/b\n", false, true},
        {"PATCH", 200, "location: https://" HOST ":8443/b\n", false, true},
        {"PUT", 201, "location: b\n", false, false},
        {"PUT", 201, "location: //" HOST ".:443/x/../b#part\n", false, false},
        {"POST", 303, "content-location: ./b?\nlocation: mailto:b\n", false, true},
        {"POST", 200, "location: /c\ncontent-location: x/.././b\n", false, false},
        {"POST", 500, "location: /b\n", true, true},
        {"POST", 404, "location: /b\n", true, true},
        {"OPTIONS", 200, "location: /b\n", true, true},
        {"QUERY", 200, "location: /b\n", true, true},
    };

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        world_put(w, "/a", "accept-language: de\n", 200,
                  "cache-control: max-age=60\nvary: accept-language\n", "a");
        world_put(w, "/a", "accept-language: en\n", 200,
                  "cache-control: max-age=60\nvary: accept-language\n", "a");
        world_put(w, "/b", "", 200, "cache-control: max-age=60\n", "b");
        change(w, row[i].method, row[i].status, row[i].fields);
        for (int settled = 0; settled < 2; settled++) { /* at once, and when the rows are gone */
            assert_int_equal(is_hit(w, "/a", "accept-language: de\n"), row[i].a);
            assert_int_equal(is_hit(w, "/a", "accept-language: en\n"), row[i].a);
            assert_int_equal(is_hit(w, "/b", ""), row[i].b);
            world_settle(w);
        }
        assert_int_equal(rows_of_a(w), row[i].a ? 2 : 0);
        world_purge(w, PURGE_ALL, "", false);
    }
}

static void test_what_was_on_its_way_is_not_stored_after_a_change(void **state)
{
    struct world *w = *state;
    struct asker a, b;
    struct fake_fetch *f;

    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    f = world_last(w, 0);
    change(w, "POST", 204, "x: y\n");
    ask(w, 0, &b, "GET", "/a", "");
    world_drain(w);
    assert_int_equal(world_requests(w), 3); /* it does not join */
    fake_fetch_answer(f, 200, "cache-control: max-age=60\n", "old");
    world_settle(w);
    assert_int_equal(rows_of_a(w), 0); /* nor left for a process that has not seen the change */
    asker_got(&a, 200, "old");
    asker_release(&a);
    asker_release(&b);
    world_drain(w);
    assert_false(is_hit(w, "/a", ""));
    world_put(w, "/a", "", 200, "cache-control: max-age=60\n", "new");
    assert_true(is_hit(w, "/a", ""));
}

static void test_only_if_cached(void **state)
{
    struct world *w = *state;
    struct asker a;

    ask(w, 0, &a, "GET", "/a", "cache-control: only-if-cached\n");
    assert_int_equal(a.answer.status, 504);
    assert_false(a.answer.has_status);
    asker_read(&a);
    assert_true(a.body.n > 0);
    assert_int_equal(a.body.n, a.answer.body_bytes);
    asker_release(&a);
    assert_int_equal(world_requests(w), 0);
}

/* RFC 9111 section 5.2.1.7: also where the store is not even looked at. */
static void test_only_if_cached_of_what_is_passed(void **state)
{
    struct world *w = *state;
    struct asker a;

    w->rule.cache_off = true;
    w->site.rules_count = 1;
    ask(w, 0, &a, "GET", "/a", "cache-control: only-if-cached\n");
    assert_int_equal(a.answer.status, 504);
    asker_release(&a);
    ask(w, 0, &a, "POST", "/a", "cache-control: only-if-cached\n"); /* about stored answers alone */
    world_drain(w);
    assert_int_equal(world_requests(w), 1);
    asker_release(&a);
    world_settle(w);
}

/* Web cache deception: one user's page under a name that looks like everybody's. */
static void test_what_is_not_what_its_extension_says_is_not_stored(void **state)
{
    static const struct {
        const char *target, *type;
        int status;
        bool guard, hit;
    } row[] = {
        {"/account/a.css", "text/html", 200, true, false},
        {"/account/a.css?x=y", "text/html", 200, true, false},
        {"/b.css", "text/css", 200, true, true},
        {"/c?x=.css", "text/html", 200, true, true},
        {"/d.css", "text/html", 404, true, true}, /* an error page is what it is */
        {"/e.css", "text/html", 200, false, true},
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        char fields[200];
        struct asker a;

        w->site.has_deception_guard = row[i].guard;
        snprintf(fields, sizeof(fields), "cache-control: public, max-age=60\ncontent-type: %s\n",
                 row[i].type);
        world_put(w, row[i].target, "", row[i].status, fields, "x");
        ask(w, 0, &a, "GET", row[i].target, "");
        world_drain(w);
        assert_int_equal(a.has_answer && a.answer.verdict == VERDICT_HIT, row[i].hit);
        if (!a.has_answer)
            fake_fetch_answer(world_last(w, 0), row[i].status, fields, "x");
        world_drain(w);
        if (!row[i].hit)
            assert_string_equal(cache_reason(a.x), "deception");
        asker_release(&a);
        world_settle(w);
    }
}

static void test_a_range_may_fetch_the_whole(void **state)
{
    struct world *w = *state;
    struct asker a;

    w->rule.range_whole = true;
    w->site.rules_count = 1;
    ask(w, 0, &a, "GET", "/a", "range: bytes=1-2\n");
    world_drain(w);
    assert_null(fake_fetch_field(world_last(w, 0), "range"));
    fake_fetch_answer(world_last(w, 0), 200, "cache-control: max-age=60\n", "hello");
    world_drain(w);
    asker_got(&a, 206, "el");
    asker_release(&a);
    world_settle(w);
    ask(w, 0, &a, "GET", "/a", "");
    asker_got(&a, 200, "hello");
    asker_release(&a);
    assert_int_equal(world_requests(w), 1);
}

/* Nobody makes this node fetch a large file for a byte of it. */
static void test_a_range_does_not_fetch_what_is_large(void **state)
{
    static const struct {
        enum cache_framing framing;
        uint64_t bytes;
    } row[] = {{CACHE_LENGTH, LIMIT_RANGE_WHOLE_BYTES + 1}, {CACHE_CHUNKED, 0}};
    struct world *w = *state;

    w->rule.range_whole = true;
    w->site.rules_count = 1;
    for (size_t i = 0; i < 2; i++) {
        char target[8];
        struct asker a, all;
        size_t before = world_requests(w);

        snprintf(target, sizeof(target), "/%zu", i);
        ask(w, 0, &a, "GET", target, "range: bytes=1-2\n");
        ask(w, 0, &all, "GET", target, ""); /* waits for the same, and then has its own */
        world_drain(w);
        assert_int_equal(world_requests(w), before + 1);
        fake_fetch_head(world_last(w, 0), 200, "cache-control: max-age=60\n", row[i].framing,
                        row[i].bytes);
        world_drain(w);
        assert_true(fake_fetch_is_cancelled(fake_fetcher_at(w->origin[0], before)));
        assert_int_equal(world_requests(w), before + 3);
        asker_release(&a);
        asker_release(&all);
        world_settle(w);
        ask(w, 0, &a, "GET", target, "range: bytes=3-4\n"); /* it is remembered */
        world_drain(w);
        assert_string_equal(fake_fetch_field(world_last(w, 0), "range"), "bytes=3-4");
        asker_release(&a);
        world_settle(w);
    }
}

/* RFC 9211 section 2.3: fwd-status is by default the answer's own status; another one is said. */
static void test_cache_status_says_what_came_where_the_answer_is_another(void **state)
{
    static const struct {
        const char *method, *request;
        int came, status, said;
    } row[] = {
        {"GET", "", 200, 200, 0},
        {"GET", "", 404, 404, 0},
        {"GET", "if-none-match: \"1\"\n", 200, 304, 200},
        {"GET", "if-none-match: \"1\"\n", 304, 304, 304},
        {"HEAD", "if-none-match: \"1\"\n", 200, 304, 200},
        {"GET", "range: bytes=1-2\n", 206, 206, 206},
        {"GET", "", 503, 503, 503},
        {"GET", "", 501, 501, 501},
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        char target[8];
        struct asker a;

        snprintf(target, sizeof(target), "/%zu", i);
        ask(w, 0, &a, row[i].method, target, row[i].request);
        world_drain(w);
        fake_fetch_head(world_last(w, 0), row[i].came, "etag: \"1\"\ncache-control: max-age=60\n",
                        CACHE_NO_BODY, 0);
        fake_fetch_done(world_last(w, 0));
        world_drain(w);
        assert_int_equal(a.answer.status, row[i].status);
        assert_int_equal(a.answer.cache_status.fwd, FWD_URI_MISS);
        if (a.answer.cache_status.fwd_status != row[i].said)
            fail_msg("row %zu: %d", i, a.answer.cache_status.fwd_status);
        asker_release(&a);
        world_settle(w);
    }
    w->rule.range_whole = true;
    w->site.rules_count = 1;
    for (size_t i = 0; i < 2; i++) {
        struct asker a;

        ask(w, 0, &a, "GET", i == 0 ? "/w" : "/x",
            i == 0 ? "range: bytes=1-2\n" : "range: bytes=9-\n");
        world_drain(w);
        fake_fetch_answer(world_last(w, 0), 200, "cache-control: max-age=60\n", "hello");
        world_drain(w);
        assert_int_equal(a.answer.status, i == 0 ? 206 : 416);
        assert_int_equal(a.answer.cache_status.fwd_status, 200);
        asker_release(&a);
        world_settle(w);
    }
}

/* Members of the caches before us stay, byte for byte; ours is made anew each time. */
static void test_cache_status_of_others_is_kept(void **state)
{
    struct world *w = *state;
    const struct http_field *f;
    struct asker a;

    world_put(w, "/a", "", 200,
              "cache-control: max-age=60\netag: \"1\"\ncache-status: Origin; hit, \"b\"; fwd=miss\n"
              "cache-status: c;hit\n",
              "hello");
    for (size_t i = 0; i < 2; i++) {
        ask(w, 0, &a, "GET", "/a", i == 0 ? "" : "if-none-match: \"1\"\n");
        f = http_fields_find(&a.fields, SLICE("cache-status"));
        assert_non_null(f);
        assert_true(slice_eq(f->value, SLICE("Origin; hit, \"b\"; fwd=miss")));
        f = http_fields_next(&a.fields, f);
        assert_true(f != NULL && slice_eq(f->value, SLICE("c;hit")));
        assert_null(http_fields_next(&a.fields, f)); /* ours is told apart */
        assert_true(a.answer.has_status && a.answer.cache_status.fwd == FWD_NONE);
        asker_release(&a);
    }
}

/* RFC 9110 section 7.6.1: Connection's nominations go, but count for the decision. */
static void test_what_connection_nominates_still_counts(void **state)
{
    static const struct {
        const char *nominated, *fields;
        bool stored;
    } row[] = {
        {"cache-control, x-hop", "cache-control: max-age=60\nx-hop: 1\n", true},
        {"cache-control", "cache-control: no-store\nexpires: Fri, 01 Jan 2100 00:00:00 GMT\n",
         false},
        {"cache-control, set-cookie", "cache-control: max-age=60\nset-cookie: a=b\n", false},
        {"vary", "cache-control: max-age=60\nvary: *\n", false},
        {"age, cache-control", "cache-control: max-age=60\nage: 60\n", false},
    };
    static const char *const names[] = {"connection", "cache-control", "x-hop", "set-cookie",
                                        "vary"};
    struct world *w = *state;

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        char target[8], fields[200];
        struct asker a;

        snprintf(target, sizeof(target), "/%zu", i);
        snprintf(fields, sizeof(fields), "connection: %s\n%s", row[i].nominated, row[i].fields);
        ask(w, 0, &a, "GET", target, "");
        world_drain(w);
        fake_fetch_answer(world_last(w, 0), 200, fields, "hello");
        world_drain(w);
        for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++)
            if ((n == 0 || strstr(row[i].nominated, names[n]) != NULL) &&
                asker_field(&a, names[n]) != NULL)
                fail_msg("row %zu: %s", i, names[n]);
        asker_release(&a);
        world_settle(w);
        if (is_hit(w, target, "") != row[i].stored)
            fail_msg("row %zu", i);
    }
    /* and it is found by what it varies by, though nobody is told */
    world_put(w, "/v", "foo: 1\n", 200, "connection: vary\nvary: foo\ncache-control: max-age=60\n",
              "hello");
    assert_true(is_hit(w, "/v", "foo: 1\n"));
    assert_false(is_hit(w, "/v", "foo: 2\n"));
}

static void test_failures_with_nothing_stored(void **state)
{
    struct world *w = *state;
    static const struct {
        enum response_failure failure;
        int get, post; /* one that may have been carried out must not look like one to repeat */
        const char *detail;
    } row[] = {
        {RESPONSE_UNREACHABLE, 503, 503, "connect-refused"},
        {RESPONSE_CLOSED, 503, 502, "closed"},
        {RESPONSE_GARBAGE, 502, 502, "garbage"},
        {RESPONSE_TLS, 502, 502, "tls-failed"},
        {RESPONSE_TIMED_OUT, 504, 504, "timeout"},
        {RESPONSE_OVERLOADED, 503, 503, "overloaded"},
    };
    struct asker a;

    for (size_t i = 0; i < 2 * sizeof(row) / sizeof(row[0]); i++) {
        ask(w, 0, &a, i % 2 == 0 ? "GET" : "POST", "/a", "");
        world_drain(w);
        fake_fetch_fail(world_last(w, 0), row[i / 2].failure);
        world_drain(w);
        assert_int_equal(a.answer.status, i % 2 == 0 ? row[i / 2].get : row[i / 2].post);
        assert_int_equal(a.answer.verdict, VERDICT_ERROR);
        assert_true(slice_eq(a.answer.cache_status.detail, slice_of(row[i / 2].detail)));
        assert_string_equal(asker_field(&a, "content-type"), "text/plain; charset=utf-8");
        if (a.answer.status == 503)
            assert_non_null(asker_field(&a, "retry-after"));
        asker_read(&a);
        assert_int_equal(a.end, CACHE_BODY_END);
        assert_int_equal(a.body.n, a.answer.body_bytes);
        /* for who comes after us */
        assert_string_equal(asker_field(&a, "cache-control"), "no-store");
        asker_release(&a);
    }
}

/* What is left of the lifetime of a long-lived page, as this node reckons it. */
static int64_t ttl_of(struct world *w, const char *target)
{
    struct asker a;
    int64_t ttl_s;

    world_put(w, target, "", 200, "cache-control: max-age=1000000\n", "x");
    ask(w, 0, &a, "GET", target, "");
    assert_int_equal(a.answer.verdict, VERDICT_HIT);
    ttl_s = a.answer.cache_status.ttl_s;
    asker_release(&a);
    return ttl_s;
}

/* http-caching.md section 14: what was fetched at one time does not end at one time. */
static void test_lifetimes_are_spread_by_url_and_node(void **state)
{
    enum { URLS = 20, SECONDS = 20 };
    struct world *w = *state, other;
    int64_t least = INT64_MAX, most = 0;
    int nodes = 0;

    world_kind.node = "another";
    world_open(&other, 1, MIB64);
    world_kind.node = NULL;
    for (int i = 0; i < URLS; i++) {
        char target[8];
        int64_t here, again, there;

        snprintf(target, sizeof(target), "/%d", i);
        here = ttl_of(w, target);
        there = ttl_of(&other, target);
        assert_true(here >= 950000 - SECONDS && here <= 1000000);
        assert_true(there >= 950000 - SECONDS && there <= 1000000);
        world_purge(w, PURGE_ALL, "", false);
        again = ttl_of(w, target);
        assert_true(again - here < SECONDS && here - again < SECONDS);
        least = here < least ? here : least;
        most = here > most ? here : most;
        nodes += here - there >= 1000 - SECONDS || there - here >= 1000 - SECONDS;
    }
    world_close(&other);
    assert_true(most - least > 10000);
    assert_true(nodes > URLS / 2);
}

/* What is made here is nobody's word, least of all the origin's, whatever a site says of errors. */
static void test_what_is_made_here_is_not_stored(void **state)
{
    struct world *w = *state;
    struct asker a;

    w->site.negative_5xx_s = 60;
    for (size_t i = 0; i < 2; i++) {
        ask(w, 0, &a, "GET", "/a", "");
        world_drain(w);
        assert_int_equal(world_requests(w), 1 + i);
        fake_fetch_fail(world_last(w, 0), RESPONSE_TIMED_OUT);
        world_drain(w);
        assert_int_equal(a.answer.status, 504);
        asker_release(&a);
        world_settle(w);
    }
    world_put(w, "/a", "", 503, "x: y\n", "busy"); /* that is the origin's */
    assert_true(is_hit(w, "/a", ""));
}

static void test_a_fetch_that_cannot_begin(void **state)
{
    struct world *w = *state;
    struct asker a;

    fake_fetcher_refuse(w->origin[0], 1);
    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    assert_int_equal(a.answer.status, 503);
    asker_release(&a);
}

static void test_a_loop_is_cut(void **state)
{
    struct world *w = *state;
    struct asker a;
    char fields[64];

    snprintf(fields, sizeof(fields), "cdn-loop: other; v=1, %016llx\n",
             (unsigned long long)purge_cluster_id(w->purge));
    ask(w, 0, &a, "GET", "/a", fields);
    assert_int_equal(a.answer.status, 508);
    asker_release(&a);
    assert_int_equal(world_requests(w), 0);
    ask(w, 0, &a, "GET", "/a", "cdn-loop: other\n");
    world_drain(w);
    assert_int_equal(world_requests(w), 1);
    asker_release(&a);
}

static void test_what_goes_upstream(void **state)
{
    struct world *w = *state;
    struct fake_fetch *f;
    struct asker a;

    ask(w, 0, &a, "GET", "/a?b=1",
        "x-forwarded-for: 1.2.3.4\nx-forwarded-host: evil\nconnection: x-hop\nx-hop: 1\nproxy: "
        "p\naccept: */*\nauthorization: me\nexpect: 100-continue\n");
    world_drain(w);
    f = world_last(w, 0);
    assert_string_equal(fake_fetch_target(f), "/a?b=1");
    assert_string_equal(fake_fetch_field(f, "x-forwarded-for"), "192.0.2.1");
    assert_string_equal(fake_fetch_field(f, "x-forwarded-host"), HOST);
    assert_string_equal(fake_fetch_field(f, "x-forwarded-proto"), "https");
    assert_string_equal(fake_fetch_field(f, "via"), "1.1 selvage-test");
    assert_string_equal(fake_fetch_field(f, "accept"), "*/*");
    assert_string_equal(fake_fetch_field(f, "authorization"), "me");
    assert_non_null(fake_fetch_field(f, "cdn-loop"));
    assert_null(fake_fetch_field(f, "x-hop"));
    assert_null(fake_fetch_field(f, "connection"));
    assert_null(fake_fetch_field(f, "proxy"));
    assert_null(fake_fetch_field(f, "expect"));
    asker_release(&a);
}

static void test_what_is_not_stored(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *request;
        int status;
        const char *fields, *why;
    } row[] = {
        {"", 200, "cache-control: no-store, max-age=60\n", "no-store"},
        {"", 200, "cache-control: private, max-age=60\n", "private"},
        {"authorization: me\n", 200, "cache-control: max-age=60\n", "authorization"},
        {"", 200, "cache-control: max-age=60\nset-cookie: a=b\n", "set-cookie"},
        {"", 200, "cache-control: max-age=60\nvary: *\n", "vary-star"},
        {"", 301, "cache-control: max-age=60\nlocation: https://" HOST "/x5\n", "redirect-loop"},
    };
    struct asker a;
    char target[16];

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        snprintf(target, sizeof(target), "/x%zu", i);
        ask(w, 0, &a, "GET", target, row[i].request);
        world_drain(w);
        fake_fetch_answer(world_last(w, 0), row[i].status, row[i].fields, "secret");
        world_drain(w);
        asker_got(&a, row[i].status, "secret");
        assert_false(a.answer.cache_status.stored);
        assert_string_equal(cache_reason(a.x), row[i].why);
        asker_release(&a);
        world_settle(w);
        ask(w, 0, &a, "GET", target, "");
        world_drain(w);
        assert_false(a.has_answer);
        asker_release(&a);
        world_drain(w);
    }
}

static void test_a_body_that_only_the_close_ends_is_not_stored(void **state)
{
    struct world *w = *state;
    struct asker a;

    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    fake_fetch_head(world_last(w, 0), 200, "cache-control: max-age=60\n", CACHE_TO_CLOSE, 0);
    fake_fetch_body(world_last(w, 0), "half", 4);
    fake_fetch_done(world_last(w, 0));
    world_drain(w);
    asker_got(&a, 200, "half");
    asker_release(&a);
    world_settle(w);
    ask(w, 0, &a, "GET", "/a", "");
    world_drain(w);
    assert_int_equal(world_requests(w), 2);
    asker_release(&a);
}

static void test_qualified_no_cache_keeps_the_rest(void **state)
{
    struct world *w = *state;
    struct asker a;

    world_put(w, "/a", "", 200,
              "cache-control: max-age=60, no-cache=\"x-own\"\nx-own: 1\nx-other: 2\n", "hello");
    ask(w, 0, &a, "GET", "/a", "");
    asker_got(&a, 200, "hello");
    assert_null(asker_field(&a, "x-own"));
    assert_string_equal(asker_field(&a, "x-other"), "2");
    asker_release(&a);
}

/* Who waited is not the one for whom the origin wrote them; nor is who comes after a 304 that
 * brought them again. */
static void test_qualified_no_cache_is_for_the_first_alone(void **state)
{
    static const char fields[] = "cache-control: max-age=60, no-cache=\"x-own\"\netag: \"1\"\n"
                                 "x-own: 1\nx-other: 2\n";
    struct world *w = *state;
    struct asker a, b;

    ask(w, 0, &a, "GET", "/a", "");
    ask(w, 0, &b, "GET", "/a", "");
    world_drain(w);
    assert_int_equal(world_requests(w), 1);
    fake_fetch_answer(world_last(w, 0), 200, fields, "hello");
    world_drain(w);
    asker_got(&a, 200, "hello");
    asker_got(&b, 200, "hello");
    assert_string_equal(asker_field(&a, "x-own"), "1");
    assert_null(asker_field(&b, "x-own"));
    assert_string_equal(asker_field(&b, "x-other"), "2");
    asker_release(&a);
    asker_release(&b);
    world_settle(w);

    world_put(w, "/b", "", 200, "cache-control: max-age=10\nage: 15\netag: \"1\"\n", "hello");
    ask(w, 0, &a, "GET", "/b", "");
    ask(w, 0, &b, "GET", "/b", "");
    world_drain(w);
    assert_int_equal(world_requests(w), 3);
    fake_fetch_answer(world_last(w, 0), 304, fields, "");
    world_drain(w);
    asker_got(&a, 200, "hello");
    asker_got(&b, 200, "hello");
    assert_string_equal(asker_field(&a, "x-own"), "1");
    assert_null(asker_field(&b, "x-own"));
    asker_release(&a);
    asker_release(&b);
    world_settle(w);
    ask(w, 0, &a, "GET", "/b", "");
    asker_got(&a, 200, "hello");
    assert_null(asker_field(&a, "x-own"));
    assert_string_equal(asker_field(&a, "x-other"), "2");
    asker_release(&a);
}

static void test_variants_side_by_side(void **state)
{
    struct world *w = *state;
    struct asker a;

    world_put(w, "/a", "accept-language: de\n", 200,
              "cache-control: max-age=60\nvary: accept-language\n", "hallo");
    world_put(w, "/a", "accept-language: en\n", 200,
              "cache-control: max-age=60\nvary: accept-language\n", "hello");
    ask(w, 0, &a, "GET", "/a", "accept-language: de\n");
    asker_got(&a, 200, "hallo");
    asker_release(&a);
    ask(w, 0, &a, "GET", "/a", "accept-language: en\n");
    asker_got(&a, 200, "hello");
    asker_release(&a);
    ask(w, 0, &a, "GET", "/a", "accept-language: fr\n");
    world_drain(w);
    assert_false(a.has_answer);
    fake_fetch_answer(world_last(w, 0), 200, "cache-control: max-age=60\nvary: accept-language\n",
                      "bonjour");
    world_drain(w);
    asker_got(&a, 200, "bonjour");
    assert_int_equal(a.answer.cache_status.fwd, FWD_VARY_MISS);
    asker_release(&a);
    assert_int_equal(world_requests(w), 3);
}

/* By two lists both are for this request: the newer one has it (RFC 9111 section 4.1). */
static void test_of_two_lists_that_match_the_newest_counts(void **state)
{
    static const char by_a[] = "cache-control: max-age=60\nvary: a\n",
                      by_b[] = "cache-control: max-age=60\nvary: b\n";
    struct world *w = *state;
    struct asker a;

    world_put(w, "/a", "a: 1\nb: 2\n", 200, by_a, "by a");
    world_put(w, "/a", "a: 2\nb: 1\n", 200, by_b, "by b");
    ask(w, 0, &a, "GET", "/a", "a: 1\nb: 1\n");
    asker_got(&a, 200, "by b");
    asker_release(&a);
    world_put(w, "/a", "a: 3\nb: 3\n", 200, by_a, "by a again");
    ask(w, 0, &a, "GET", "/a", "a: 1\nb: 1\n");
    asker_got(&a, 200, "by a");
    asker_release(&a);
    assert_int_equal(world_requests(w), 3);
}

/* Origins send Vary on some answers only; an error page is one variant more. */
static void test_an_answer_without_vary_orphans_no_variant(void **state)
{
    static const char varied[] = "cache-control: max-age=60\nvary: accept-language\n";
    struct world *w = *state;
    struct asker a;

    world_put(w, "/a", "accept-language: de\n", 200, varied, "hallo");
    world_put(w, "/a", "accept-language: en\n", 200, varied, "hello");
    world_put(w, "/a", "accept-language: fr\n", 404, "cache-control: max-age=0\netag: \"1\"\n",
              "none");
    world_put(w, "/a", "accept-language: fr\n", 200, varied,
              "salut"); /* the newest list is theirs again */
    ask(w, 0, &a, "GET", "/a", "accept-language: de\n");
    asker_got(&a, 200, "hallo");
    assert_int_equal(a.answer.verdict, VERDICT_HIT);
    asker_release(&a);
    ask(w, 0, &a, "GET", "/a", "accept-language: en\n");
    asker_got(&a, 200, "hello");
    asker_release(&a);
    assert_int_equal(world_requests(w), 4);
    change(w, "POST", 204, "x: y\n"); /* reaches all that the marker knows */
    world_settle(w);
    assert_int_equal(rows_of_a(w), 0);
}

/* An origin that codes and does not say so in Vary. */
static void test_a_coding_is_for_those_who_take_it(void **state)
{
    struct world *w = *state;
    struct asker a;

    world_put(w, "/a", "accept-encoding: gzip\n", 200,
              "cache-control: max-age=60\ncontent-encoding: gzip\n", "coded");
    ask(w, 0, &a, "GET", "/a", "");
    assert_false(a.has_answer);
    asker_release(&a);
    ask(w, 0, &a, "GET", "/a", "accept-encoding: gzip\n");
    asker_got(&a, 200, "coded");
    assert_string_equal(asker_field(&a, "vary"), "accept-encoding");
    asker_release(&a);
}

static void test_204_and_empty(void **state)
{
    struct world *w = *state;
    struct asker a;

    world_put(w, "/204", "", 204, "cache-control: max-age=60\n", "");
    world_put(w, "/empty", "", 200, "cache-control: max-age=60\n", "");
    ask(w, 0, &a, "GET", "/204", "");
    asker_got(&a, 204, "");
    assert_false(a.answer.has_body);
    assert_int_equal(a.answer.body_bytes, CACHE_BYTES_UNKNOWN);
    asker_release(&a);
    ask(w, 0, &a, "GET", "/empty", "");
    asker_got(&a, 200, "");
    assert_false(a.answer.has_body);
    assert_int_equal(a.answer.body_bytes, 0);
    asker_release(&a);
    assert_int_equal(world_requests(w), 2);
}

static void test_ending_in_every_phase(void **state)
{
    struct world *w = *state;
    struct asker a;

    ask(w, 0, &a, "GET", "/a", ""); /* before the request is sent: none is */
    asker_release(&a);
    world_drain(w);
    assert_int_equal(world_requests(w), 0);

    ask(w, 0, &a, "GET", "/a", ""); /* while waiting for the head */
    world_drain(w);
    asker_release(&a);
    world_drain(w);
    assert_true(fake_fetch_is_cancelled(world_last(w, 0)));

    ask(w, 0, &a, "GET", "/a", ""); /* from inside answer() */
    a.leaves_at_answer = true;
    world_drain(w);
    fake_fetch_head(world_last(w, 0), 200, "cache-control: no-store\n", CACHE_LENGTH, 100);
    world_drain(w);
    assert_true(a.has_answer);
    assert_null(a.x);
    assert_true(fake_fetch_is_cancelled(world_last(w, 0)));
    asker_release(&a);

    ask(w, 0, &a, "GET", "/a", ""); /* from inside ready() */
    a.leaves_at_ready = true;
    world_drain(w);
    fake_fetch_head(world_last(w, 0), 200, "cache-control: no-store\n", CACHE_LENGTH, 100);
    world_drain(w);
    asker_read(&a);
    assert_int_equal(a.end, CACHE_BODY_WAIT);
    fake_fetch_body(world_last(w, 0), "x", 1);
    world_drain(w);
    assert_null(a.x);
    assert_true(fake_fetch_is_cancelled(world_last(w, 0)));
    asker_release(&a);

    ask(w, 0, &a, "GET", "/a", ""); /* with news on the way */
    world_drain(w);
    fake_fetch_head(world_last(w, 0), 200, "cache-control: no-store\n", CACHE_LENGTH, 100);
    asker_release(&a);
    world_drain(w);
    assert_false(a.has_answer);

    ask(w, 0, &a, "GET", "/a", ""); /* after the end */
    world_drain(w);
    fake_fetch_answer(world_last(w, 0), 200, "cache-control: no-store\n", "all");
    world_drain(w);
    asker_got(&a, 200, "all");
    asker_release(&a);
    world_drain(w);
}

/* ---- explain ---- */

static void explain(struct world *w, const char *target, const char *field, const char *value,
                    struct buf *out)
{
    struct store_reader *r;
    struct http_field item = {slice_of(field), slice_of(value)};
    struct http_fields fields = {.item = &item, .count = value[0] == '\0' ? 0 : 1, .capacity = 1};

    out->n = 0;
    assert_int_equal(store_reader_new(w->store, &r), ERR_OK);
    cache_explain(w->cache, r, &w->site, true, SLICE(HOST), slice_of(target), &fields, out);
    store_reader_free(r);
    buf_add_char(out, '\0');
    assert_false(out->failed);
}

static void says(const struct buf *b, const char *what)
{
    if (strstr(b->p, what) == NULL)
        fail_msg("\"%s\" is not in:\n%s", what, b->p);
}

static void test_explain(void **state)
{
    struct world *w = *state;
    struct asker a;
    struct buf out;

    buf_init(&out, 1 << 20);
    explain(w, "/nothing", "", "", &out);
    says(&out, "decision: fetch from the origin");
    says(&out, "nothing is stored under this key (RFC 9111 section 4)");

    world_put(w, "/a", "", 200, "cache-control: max-age=60\n", "hello");
    explain(w, "/a", "", "", &out);
    says(&out, "decision: answer from the store\n  fresh for another ");
    says(&out, "lifetime 60 s by max-age (RFC 9111 section 5.2.2.1)");
    says(&out, "stored: status 200, 5 bytes, age 0 s of a lifetime of 60 s");
    says(&out, "when it came (Age, and the wait for it) + ");
    says(&out, "  lifetime 60 s - age 0 s = 60 s: fresh (RFC 9111 section 4.2)\n");

    world_put(w, "/old", "", 200, "cache-control: max-age=10\nage: 15\netag: \"1\"\n", "hello");
    explain(w, "/old", "", "", &out);
    says(&out, "decision: ask the origin whether what is stored is still right\n  stale since 5 s "
               "(RFC 9111 section 4.2)");
    says(&out, "  age: 15.0");
    says(&out, "  lifetime 10 s - age 15 s = -5 s: stale (RFC 9111 section 4.2)\n");

    world_put(w, "/v", "accept-language: de\n", 200,
              "cache-control: max-age=60\nvary: accept-language\n", "hallo");
    explain(w, "/v", "accept-language", "fr", &out);
    says(&out, "what is stored varies by fields in which this request differs");
    says(&out, "variants by: accept-language");
    explain(w, "/v", "accept-language", "de", &out);
    says(&out, "for requests that agree in: accept-language");
    says(&out, "decision: answer from the store");

    ask(w, 0, &a, "GET", "/private", "");
    world_drain(w);
    fake_fetch_answer(world_last(w, 0), 200, "cache-control: private\n", "mine");
    world_drain(w);
    asker_release(&a);
    explain(w, "/private", "", "", &out);
    says(&out, "last answer of the origin: status 200, ");
    says(&out, "private (RFC 9111 section 5.2.2.7)");

    world_purge(w, PURGE_PREFIX, HOST "/a", false);
    explain(w, "/a", "", "", &out);
    says(&out, "what was stored has been purged by a hard purge of prefix " HOST "/a, position ");
    says(&out,
         "decision: fetch from the origin\n  what was stored has been purged (selvage purge)");
    world_purge(w, PURGE_URL, HOST "/v", true);
    explain(w, "/v", "accept-language", "de", &out);
    says(&out, "made stale by a soft purge of url " HOST "/v");

    w->site.rules_count = 1;
    w->rule.cache_off = true;
    explain(w, "/a", "", "", &out);
    says(&out, "the rule in line 7 says cache: off");
    says(&out, "decision: pass to the origin");
    w->rule.cache_off = false;
    w->rule.ttl_s = 30;
    world_put(w, "/r", "", 200, "x: y\n", "hello");
    explain(w, "/r", "", "", &out);
    says(&out, "lifetime 30 s by the rule's ttl");
    buf_release(&out);
}

static void test_head_facts(void **state)
{
    struct head h = {
        .status = 203,
        .freshness = {.received = clock_now(), .initial_age_ms = 7000, .lifetime_s = 60}};
    struct buf b;
    int64_t age_s, ttl_s;
    int status;

    (void)state;
    buf_init(&b, 4096);
    head_encode(&h, clock_boot(), &b);
    assert_true(cache_head_facts(buf_slice(&b), &age_s, &ttl_s, &status));
    assert_int_equal(status, 203);
    assert_true(age_s >= 7 && age_s < 20);
    assert_int_equal(ttl_s, 60 - age_s);
    assert_false(cache_head_facts(slice_head(buf_slice(&b), 20), &age_s, &ttl_s, &status));
    assert_false(cache_head_facts(SLICE("a marker"), &age_s, &ttl_s, &status));
    buf_release(&b);
}

#define WORLD(f) cmocka_unit_test_setup_teardown(f, up, down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD(test_miss_then_hit),
        WORLD(test_large_hit_is_pulled_and_pushed_alike),
        WORLD(test_head_from_a_stored_get),
        WORLD(test_head_on_a_miss_is_forwarded_and_not_stored),
        WORLD(test_conditions),
        WORLD(test_a_condition_on_a_miss_is_answered_from_what_comes),
        WORLD(test_conditions_are_not_for_other_statuses),
        WORLD(test_ranges),
        WORLD(test_several_ranges),
        WORLD(test_a_range_across_chunks),
        WORLD(test_a_range_on_a_miss_is_passed),
        WORLD(test_a_range_that_brings_the_whole_stores_it),
        WORLD(test_passes),
        WORLD(test_unsafe_methods_invalidate),
        WORLD(test_what_was_on_its_way_is_not_stored_after_a_change),
        WORLD(test_only_if_cached),
        WORLD(test_only_if_cached_of_what_is_passed),
        WORLD(test_what_is_not_what_its_extension_says_is_not_stored),
        WORLD(test_a_range_may_fetch_the_whole),
        WORLD(test_a_range_does_not_fetch_what_is_large),
        WORLD(test_cache_status_says_what_came_where_the_answer_is_another),
        WORLD(test_cache_status_of_others_is_kept),
        WORLD(test_what_connection_nominates_still_counts),
        WORLD(test_failures_with_nothing_stored),
        WORLD(test_lifetimes_are_spread_by_url_and_node),
        WORLD(test_what_is_made_here_is_not_stored),
        WORLD(test_a_fetch_that_cannot_begin),
        WORLD(test_a_loop_is_cut),
        WORLD(test_what_goes_upstream),
        WORLD(test_what_is_not_stored),
        WORLD(test_a_body_that_only_the_close_ends_is_not_stored),
        WORLD(test_qualified_no_cache_keeps_the_rest),
        WORLD(test_qualified_no_cache_is_for_the_first_alone),
        WORLD(test_variants_side_by_side),
        WORLD(test_of_two_lists_that_match_the_newest_counts),
        WORLD(test_an_answer_without_vary_orphans_no_variant),
        WORLD(test_a_coding_is_for_those_who_take_it),
        WORLD(test_204_and_empty),
        WORLD(test_ending_in_every_phase),
        WORLD(test_explain),
        cmocka_unit_test(test_head_facts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
