/* Large objects in blocks: each fetched when it is asked for, all of one version. */
#include "cache/cache_priv.h"
#include "cache_world.h"

#define MIB64 (64ull << 20)

enum { BLOCK = 65512, BYTES = 200000, BLOCKS = 4 };

static char body[BYTES + 1];

static int up(void **state)
{
    struct world *w = malloc(sizeof(*w));

    world_open(w, 1, MIB64);
    w->rule.slice_bytes = BLOCK;
    w->site.rules_count = 1;
    for (size_t i = 0; i < BYTES; i++)
        body[i] = (char)('a' + i * 7 % 26 + (i / BLOCK) % 3);
    *state = w;
    return 0;
}

static int down(void **state)
{
    world_close(*state);
    free(*state);
    return 0;
}

/* Answer a request for a block with that block of `body` in this version. */
static void give_block(struct fake_fetch *f, const char *etag, const char *more)
{
    unsigned long long first, last;
    char fields[600];

    assert_non_null(fake_fetch_field(f, "range"));
    assert_int_equal(sscanf(fake_fetch_field(f, "range"), "bytes=%llu-%llu", &first, &last), 2);
    assert_int_equal(first % BLOCK, 0);
    assert_int_equal(last, first + BLOCK - 1);
    if (last >= BYTES)
        last = BYTES - 1;
    snprintf(fields, sizeof(fields),
             "cache-control: max-age=60\ncontent-type: video/mp4\netag: %s\n"
             "content-range: bytes %llu-%llu/%d\n%s",
             etag, first, last, BYTES, more);
    fake_fetch_head(f, 206, fields, CACHE_LENGTH, last - first + 1);
    fake_fetch_body(f, body + first, last - first + 1);
    fake_fetch_done(f);
}

/* Turn the world until the answer is over; blocks are given as they are asked for. */
static void serve(struct world *w, struct asker *a, const char *etag)
{
    a->reads = true;
    for (size_t given = world_requests(w) - (fake_fetch_is_running(world_last(w, 0)) ? 1 : 0);;) {
        world_drain(w);
        if (a->has_answer && !a->is_over)
            asker_read(a);
        world_drain(w);
        if (given == world_requests(w))
            break;
        give_block(fake_fetcher_at(w->origin[0], given++), etag, "");
    }
    world_settle(w);
}

static void store_all(struct world *w, const char *etag)
{
    struct asker a;

    ask(w, 0, &a, "GET", "/v", "");
    world_drain(w);
    serve(w, &a, etag);
    asker_got(&a, 200, body);
    asker_release(&a);
}

static void must_be(const struct asker *a, size_t first, size_t bytes)
{
    assert_int_equal(a->body.n, bytes);
    assert_memory_equal(a->body.p, body + first, bytes);
    assert_int_equal(a->end, CACHE_BODY_END);
}

static void test_the_whole_is_fetched_and_stored_block_by_block(void **state)
{
    struct world *w = *state;
    struct asker a;

    ask(w, 0, &a, "GET", "/v", "");
    world_drain(w);
    assert_int_equal(world_requests(w), 1); /* no block before it is its turn */
    serve(w, &a, "\"1\"");
    asker_got(&a, 200, body);
    assert_int_equal(a.answer.body_bytes, BYTES);
    assert_null(asker_field(&a, "content-range"));
    assert_string_equal(asker_field(&a, "content-type"), "video/mp4");
    assert_int_equal(world_requests(w), BLOCKS);
    asker_release(&a);

    ask(w, 0, &a, "GET", "/v", "");
    assert_true(a.has_answer);
    asker_got(&a, 200, body);
    assert_int_equal(a.answer.verdict, VERDICT_HIT);
    assert_int_equal(world_requests(w), BLOCKS);
    asker_release(&a);
}

/* RFC 9530: what the origin says of the bytes of a block it does not say of all of them. */
static void test_a_digest_of_a_block_is_not_that_of_the_whole(void **state)
{
    static const char digests[] = "content-digest: of this block\nrepr-digest: of all\n";
    struct world *w = *state;

    for (int i = 0; i < 4; i++) {
        struct asker a;

        ask(w, 0, &a, "GET", "/v", i % 2 == 0 ? "" : "range: bytes=0-9\n");
        world_drain(w);
        if (i == 0)
            give_block(world_last(w, 0), "\"1\"", digests);
        world_drain(w);
        assert_int_equal(a.answer.status, i % 2 == 0 ? 200 : 206);
        assert_null(asker_field(&a, "content-digest"));
        assert_string_equal(asker_field(&a, "repr-digest"), "of all");
        asker_release(&a);
        world_settle(w);
    }
}

/* RFC 9110 section 15.2: whoever asked hears of them, until the answer has begun. */
static void test_interim_responses_come_before_the_first_block(void **state)
{
    struct world *w = *state;
    struct asker a;

    ask(w, 0, &a, "GET", "/v", "");
    world_drain(w);
    fake_fetch_interim(world_last(w, 0), 103, "link: </x>\n");
    assert_string_equal(a.interim, "103 link: </x>");
    give_block(world_last(w, 0), "\"1\"", "");
    world_drain(w);
    a.reads = true;
    asker_read(&a);
    world_drain(w);
    assert_int_equal(world_requests(w), 2);
    fake_fetch_interim(world_last(w, 0), 103, "link: </y>\n");
    assert_int_equal(a.interims, 1);
    asker_release(&a);
    world_settle(w);
}

static void test_a_seek_costs_a_block(void **state)
{
    struct world *w = *state;
    struct asker a;

    ask(w, 0, &a, "GET", "/v", "range: bytes=140000-150000\n");
    world_drain(w);
    assert_int_equal(world_requests(w), 1);
    assert_string_equal(fake_fetch_field(world_last(w, 0), "range"), "bytes=131024-196535");
    serve(w, &a, "\"1\"");
    assert_int_equal(a.answer.status, 206);
    assert_string_equal(asker_field(&a, "content-range"), "bytes 140000-150000/200000");
    must_be(&a, 140000, 10001);
    assert_int_equal(world_requests(w), 1);
    asker_release(&a);

    ask(w, 0, &a, "GET", "/v", "range: bytes=131024-131024\n"); /* of the same block */
    asker_read(&a);
    must_be(&a, 131024, 1);
    assert_int_equal(a.answer.verdict, VERDICT_HIT);
    assert_int_equal(world_requests(w), 1);
    asker_release(&a);
}

static void test_ranges_of_blocks(void **state)
{
    static const struct {
        const char *range;
        size_t first, bytes;
    } row[] = {
        {"bytes=0-0", 0, 1},
        {"bytes=65511-65512", 65511, 2},
        {"bytes=65512-", 65512, BYTES - 65512},
        {"bytes=-1", BYTES - 1, 1},
        {"bytes=-70000", BYTES - 70000, 70000},
        {"bytes=199999-", BYTES - 1, 1},
        {"bytes=100-99999999999999999999", 100, BYTES - 100},
    };
    struct world *w = *state;
    struct asker a;

    store_all(w, "\"1\"");
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        char fields[80];

        snprintf(fields, sizeof(fields), "range: %s\n", row[i].range);
        ask(w, 0, &a, "GET", "/v", fields);
        assert_int_equal(a.answer.status, 206);
        assert_int_equal(a.answer.body_bytes, row[i].bytes);
        asker_read(&a);
        must_be(&a, row[i].first, row[i].bytes);
        asker_release(&a);
    }
    assert_int_equal(world_requests(w), BLOCKS);
}

static void test_several_ranges_of_blocks(void **state)
{
    struct world *w = *state;
    struct asker a;

    store_all(w, "\"1\"");
    ask(w, 0, &a, "GET", "/v", "range: bytes=150000-150001, 10-11, 10-10\n");
    assert_int_equal(a.answer.status, 206);
    asker_read(&a);
    assert_int_equal(a.end, CACHE_BODY_END);
    assert_int_equal(a.body.n, a.answer.body_bytes);
    assert_non_null(memmem(a.body.p, a.body.n, body + 150000, 2));
    assert_non_null(memmem(a.body.p, a.body.n, "Content-Range: bytes 150000-150001/200000", 41));
    assert_non_null(memmem(a.body.p, a.body.n, "Content-Range: bytes 10-10/200000", 33));
    asker_release(&a);
}

static void test_conditions_are_about_the_whole(void **state)
{
    static const struct {
        const char *fields;
        int status;
    } row[] = {
        {"if-none-match: \"1\"\n", 304},
        {"if-none-match: \"2\"\n", 200},
        {"range: bytes=0-9\nif-range: \"1\"\n", 206},
        {"range: bytes=0-9\nif-range: \"2\"\n", 200},
        {"range: bytes=5-4\n", 200},
        {"range: bytes=0-9\nif-none-match: \"1\"\n", 304},
    };
    struct world *w = *state;
    struct asker a;

    store_all(w, "\"1\"");
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        ask(w, 0, &a, "GET", "/v", row[i].fields);
        assert_true(a.has_answer);
        assert_int_equal(a.answer.status, row[i].status);
        asker_release(&a);
    }
    assert_int_equal(world_requests(w), BLOCKS);
}

static void test_behind_the_end(void **state)
{
    struct world *w = *state;
    struct asker a;

    ask(w, 0, &a, "GET", "/v", "range: bytes=300000-\n");
    world_drain(w);
    fake_fetch_answer(world_last(w, 0), 416,
                      "content-range: bytes */200000\ncache-control: max-age=60\n", "");
    world_drain(w);
    assert_int_equal(a.answer.status, 416);
    assert_string_equal(asker_field(&a, "content-range"), "bytes */200000");
    asker_release(&a);
    world_settle(w);
    store_all(w, "\"1\"");                                /* nothing of it was kept as the object */
    ask(w, 0, &a, "GET", "/v", "range: bytes=200000-\n"); /* the last block knows */
    assert_int_equal(a.answer.status, 416);
    assert_string_equal(asker_field(&a, "content-range"), "bytes */200000");
    asker_release(&a);
    assert_int_equal(world_requests(w), 1 + BLOCKS);
}

/* Never a mixture: the answer is cut, and the next one is of the new version alone. */
static void test_another_version_cuts_the_answer(void **state)
{
    struct world *w = *state;
    struct asker a;

    ask(w, 0, &a, "GET", "/v", "");
    world_drain(w);
    give_block(world_last(w, 0), "\"1\"", "");
    world_drain(w);
    a.reads = true;
    asker_read(&a);
    world_drain(w);
    assert_int_equal(world_requests(w), 2);
    give_block(world_last(w, 0), "\"2\"", "");
    world_drain(w);
    assert_int_equal(a.end, CACHE_BODY_BROKEN);
    assert_int_equal(a.body.n, BLOCK);
    asker_release(&a);
    world_settle(w);

    ask(w, 0, &a, "GET", "/v", "");
    world_drain(w);
    assert_false(a.has_answer); /* the first block is not answered from the store */
    serve(w, &a, "\"2\"");
    asker_got(&a, 200, body);
    assert_string_equal(asker_field(&a, "etag"), "\"2\"");
    asker_release(&a);
}

static void test_another_length_cuts_the_answer(void **state)
{
    struct world *w = *state;
    struct asker a;

    ask(w, 0, &a, "GET", "/v", "");
    world_drain(w);
    give_block(world_last(w, 0), "\"1\"", "");
    world_drain(w);
    a.reads = true;
    asker_read(&a);
    world_drain(w);
    fake_fetch_head(world_last(w, 0), 206,
                    "cache-control: max-age=60\netag: \"1\"\n"
                    "content-range: bytes 65512-131023/300000\n",
                    CACHE_LENGTH, BLOCK);
    fake_fetch_body(world_last(w, 0), body, BLOCK);
    fake_fetch_done(world_last(w, 0));
    world_drain(w);
    assert_int_equal(a.end, CACHE_BODY_BROKEN);
    asker_release(&a);
    world_settle(w);
}

/* What is stored of an older version than the answer's is fetched anew, and nothing is cut. */
static void test_stored_blocks_of_another_version_are_not_used(void **state)
{
    struct world *w = *state;
    struct asker a;

    ask(w, 0, &a, "GET", "/v", "range: bytes=140000-140000\n");
    world_drain(w);
    serve(w, &a, "\"1\"");
    asker_release(&a);
    ask(w, 0, &a, "GET", "/v", "");
    world_drain(w);
    serve(w, &a, "\"2\"");
    asker_got(&a, 200, body);
    asker_release(&a);
    assert_int_equal(world_requests(w), 1 + BLOCKS);
}

static void test_a_200_is_the_whole(void **state)
{
    struct world *w = *state;
    struct asker a;

    ask(w, 0, &a, "GET", "/v", "range: bytes=1-3\n");
    world_drain(w);
    assert_string_equal(fake_fetch_field(world_last(w, 0), "range"), "bytes=0-65511");
    fake_fetch_answer(world_last(w, 0), 200, "cache-control: max-age=60\netag: \"1\"\n", body);
    world_drain(w);
    assert_int_equal(a.answer.status, 206);
    assert_string_equal(asker_field(&a, "content-range"), "bytes 1-3/200000");
    asker_read(&a);
    must_be(&a, 1, 3);
    asker_release(&a);
    world_settle(w);
    ask(w, 0, &a, "GET", "/v", "");
    asker_got(&a, 200, body);
    assert_int_equal(a.answer.verdict, VERDICT_HIT);
    asker_release(&a);
    assert_int_equal(world_requests(w), 1);
}

/* While it comes, others do not ask for it once for each block. */
static void test_a_200_is_fetched_once(void **state)
{
    struct world *w = *state;
    struct asker a, b;

    ask(w, 0, &a, "GET", "/v", "");
    world_drain(w);
    fake_fetch_head(world_last(w, 0), 200, "cache-control: max-age=60\netag: \"1\"\n", CACHE_LENGTH,
                    BYTES);
    fake_fetch_body(world_last(w, 0), body, 1000);
    world_drain(w);
    assert_int_equal(a.answer.status, 200);
    ask(w, 0, &b, "GET", "/v", "range: bytes=140000-140000\n");
    world_drain(w);
    assert_int_equal(world_requests(w), 2);
    assert_string_equal(fake_fetch_field(world_last(w, 0), "range"), "bytes=140000-140000");
    asker_release(&b);
    asker_release(&a);
    world_settle(w);
}

static void test_without_a_strong_tag_there_are_no_slices(void **state)
{
    static const char *const tag[] = {"etag: W/\"1\"\n", "", "etag: nonsense\n"};
    struct world *w = *state;

    for (size_t i = 0; i < sizeof(tag) / sizeof(tag[0]); i++) {
        char target[8], fields[200];
        struct asker a;

        snprintf(target, sizeof(target), "/%zu", i);
        snprintf(fields, sizeof(fields),
                 "cache-control: max-age=60\ncontent-range: bytes 0-65511/200000\n%s", tag[i]);
        ask(w, 0, &a, "GET", target, "");
        world_drain(w);
        fake_fetch_head(world_last(w, 0), 206, fields, CACHE_LENGTH, BLOCK);
        world_drain(w);
        assert_false(a.has_answer);
        assert_true(fake_fetch_is_running(world_last(w, 0)));
        assert_null(fake_fetch_field(world_last(w, 0), "range")); /* all of it */
        fake_fetch_answer(world_last(w, 0), 200, "cache-control: max-age=60\n", body);
        world_drain(w);
        asker_got(&a, 200, body);
        asker_release(&a);
        world_settle(w);
    }
}

/* A request for each block of what nobody may keep would be no gain. */
static void test_what_is_not_stored_is_not_sliced(void **state)
{
    struct world *w = *state;
    struct asker a;

    ask(w, 0, &a, "GET", "/v", "range: bytes=0-9\n");
    world_drain(w);
    fake_fetch_head(world_last(w, 0), 206,
                    "cache-control: private\netag: \"1\"\ncontent-range: bytes 0-65511/200000\n",
                    CACHE_LENGTH, BLOCK);
    world_drain(w);
    assert_string_equal(fake_fetch_field(world_last(w, 0), "range"), "bytes=0-9");
    fake_fetch_head(world_last(w, 0), 206,
                    "cache-control: private\netag: \"1\"\ncontent-range: bytes 0-9/200000\n",
                    CACHE_LENGTH, 10);
    fake_fetch_body(world_last(w, 0), body, 10);
    fake_fetch_done(world_last(w, 0));
    world_drain(w);
    asker_read(&a);
    must_be(&a, 0, 10);
    asker_release(&a);
    world_settle(w);
}

static void test_a_block_that_is_not_what_was_asked_for(void **state)
{
    static const struct {
        const char *range;
        uint64_t bytes;
    } row[] = {
        {"bytes 0-65511/200000", 65511},      {"bytes 0-65510/200000", 65511},
        {"bytes 1-65511/200000", 65511},      {"bytes 0-65511/*", 65512},
        {"bytes 65512-131023/200000", 65512}, {"nonsense", 65512},
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        char target[8], fields[200];
        struct asker a;

        snprintf(target, sizeof(target), "/%zu", i);
        snprintf(fields, sizeof(fields),
                 "cache-control: max-age=60\netag: \"1\"\ncontent-range: %s\n", row[i].range);
        ask(w, 0, &a, "GET", target, "");
        world_drain(w);
        fake_fetch_head(world_last(w, 0), 206, fields, CACHE_LENGTH, row[i].bytes);
        world_drain(w);
        assert_false(a.has_answer);
        assert_null(fake_fetch_field(world_last(w, 0), "range"));
        asker_release(&a);
        world_settle(w);
    }
}

static void test_collapse_is_per_block(void **state)
{
    struct world *w = *state;
    struct asker a, b, c;

    ask(w, 0, &a, "GET", "/v", "range: bytes=0-9\n");
    ask(w, 0, &b, "GET", "/v", "range: bytes=20-29\n");
    ask(w, 0, &c, "GET", "/v", "range: bytes=70000-70009\n");
    world_drain(w);
    assert_int_equal(world_requests(w), 2);
    give_block(fake_fetcher_at(w->origin[0], 0), "\"1\"", "");
    give_block(fake_fetcher_at(w->origin[0], 1), "\"1\"", "");
    world_drain(w);
    asker_read(&a);
    asker_read(&b);
    asker_read(&c);
    must_be(&a, 0, 10);
    must_be(&b, 20, 10);
    must_be(&c, 70000, 10);
    asker_release(&a);
    asker_release(&b);
    asker_release(&c);
    world_settle(w);
}

static void test_stale_blocks_are_validated_one_by_one(void **state)
{
    struct world *w = *state;
    struct asker a;

    store_all(w, "\"1\"");
    world_purge(w, PURGE_URL, HOST "/v", true);
    ask(w, 0, &a, "GET", "/v", "range: bytes=0-9\n");
    world_drain(w);
    assert_int_equal(world_requests(w), BLOCKS + 1);
    assert_string_equal(fake_fetch_field(world_last(w, 0), "if-none-match"), "\"1\"");
    assert_string_equal(fake_fetch_field(world_last(w, 0), "range"), "bytes=0-65511");
    fake_fetch_answer(world_last(w, 0), 304, "etag: \"1\"\ncache-control: max-age=60\n", "");
    world_drain(w);
    assert_int_equal(a.answer.status, 206);
    asker_read(&a);
    must_be(&a, 0, 10);
    assert_int_equal(a.answer.verdict, VERDICT_REVALIDATED);
    asker_release(&a);
    world_settle(w);
}

static void test_a_purge_covers_all_blocks(void **state)
{
    struct world *w = *state;
    struct asker a;

    store_all(w, "\"1\"");
    world_purge(w, PURGE_URL, HOST "/v", false);
    ask(w, 0, &a, "GET", "/v", "range: bytes=140000-140000\n");
    world_drain(w);
    assert_false(a.has_answer);
    assert_int_equal(world_requests(w), BLOCKS + 1);
    asker_release(&a);
    world_settle(w);
}

static void test_a_post_invalidates_all_blocks(void **state)
{
    struct world *w = *state;
    struct asker a;

    store_all(w, "\"1\"");
    ask(w, 0, &a, "POST", "/v", "");
    world_drain(w);
    fake_fetch_answer(world_last(w, 0), 204, "", "");
    world_drain(w);
    asker_release(&a);
    world_settle(w);
    for (int i = 0; i < BLOCKS; i++) {
        struct store_reader *r = w->worker[0]->reader;
        struct store_key key = {.host = SLICE(HOST)};
        struct store_hit hit;
        struct arena arena;

        arena_init(&arena, NULL, 0, 1 << 20);
        key.text = site_key_of_block(SLICE("1 https " HOST " /v"), (uint64_t)i, BLOCK, &arena);
        assert_int_equal(store_get(r, &key, &arena, &hit), ERR_NOT_FOUND);
        arena_release(&arena);
    }
}

static void test_who_leaves_ends_the_fetch_of_his_block(void **state)
{
    struct world *w = *state;
    struct asker a;

    ask(w, 0, &a, "GET", "/v", "");
    world_drain(w);
    asker_release(&a);
    world_drain(w);
    assert_true(fake_fetch_is_cancelled(world_last(w, 0)));
}

static void test_a_failure_is_told(void **state)
{
    struct world *w = *state;
    struct asker a;

    ask(w, 0, &a, "GET", "/v", "");
    world_drain(w);
    fake_fetch_fail(world_last(w, 0), RESPONSE_UNREACHABLE);
    world_drain(w);
    assert_int_equal(a.answer.status, 503);
    asker_release(&a);
    ask(w, 0, &a, "GET", "/w", "");
    world_drain(w);
    give_block(world_last(w, 0), "\"1\"", "");
    world_drain(w);
    a.reads = true;
    asker_read(&a);
    world_drain(w);
    fake_fetch_fail(world_last(w, 0), RESPONSE_UNREACHABLE);
    world_drain(w);
    assert_int_equal(a.end, CACHE_BODY_BROKEN);
    asker_release(&a);
    world_settle(w);
}

static void test_errors_are_the_whole_answer(void **state)
{
    struct world *w = *state;
    struct asker a;

    ask(w, 0, &a, "GET", "/v", "range: bytes=0-9\n");
    world_drain(w);
    fake_fetch_answer(world_last(w, 0), 404, "cache-control: max-age=60\n", "none");
    world_drain(w);
    asker_got(&a, 404, "none");
    asker_release(&a);
    world_settle(w);
    ask(w, 0, &a, "GET", "/v", "");
    asker_got(&a, 404, "none"); /* stored as that of the object */
    asker_release(&a);
    assert_int_equal(world_requests(w), 1);
}

static void test_a_head_and_other_requests_are_as_ever(void **state)
{
    struct world *w = *state;
    struct asker a;

    ask(w, 0, &a, "HEAD", "/v", "");
    world_drain(w);
    assert_null(fake_fetch_field(world_last(w, 0), "range"));
    asker_release(&a);
    ask(w, 0, &a, "POST", "/v", "");
    world_drain(w);
    assert_null(fake_fetch_field(world_last(w, 0), "range"));
    asker_release(&a);
    world_settle(w);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, up, down)
    const struct CMUnitTest tests[] = {
        TEST(test_the_whole_is_fetched_and_stored_block_by_block),
        TEST(test_a_digest_of_a_block_is_not_that_of_the_whole),
        TEST(test_interim_responses_come_before_the_first_block),
        TEST(test_a_seek_costs_a_block),
        TEST(test_ranges_of_blocks),
        TEST(test_several_ranges_of_blocks),
        TEST(test_conditions_are_about_the_whole),
        TEST(test_behind_the_end),
        TEST(test_another_version_cuts_the_answer),
        TEST(test_another_length_cuts_the_answer),
        TEST(test_stored_blocks_of_another_version_are_not_used),
        TEST(test_a_200_is_the_whole),
        TEST(test_a_200_is_fetched_once),
        TEST(test_without_a_strong_tag_there_are_no_slices),
        TEST(test_what_is_not_stored_is_not_sliced),
        TEST(test_a_block_that_is_not_what_was_asked_for),
        TEST(test_collapse_is_per_block),
        TEST(test_stale_blocks_are_validated_one_by_one),
        TEST(test_a_purge_covers_all_blocks),
        TEST(test_a_post_invalidates_all_blocks),
        TEST(test_who_leaves_ends_the_fetch_of_his_block),
        TEST(test_a_failure_is_told),
        TEST(test_errors_are_the_whole_answer),
        TEST(test_a_head_and_other_requests_are_as_ever),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
