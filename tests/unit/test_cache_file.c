/* Unit tests of files of releases: from here, from the store, from the node that publishes. */
#include "cache/cache_priv.h"
#include "cache_world.h"
#include "release/manifest.h"

enum { STORE_BYTES = 32 << 20 };

static struct world w;
static char content[300000];
static unsigned char sha256[DIGEST_SHA256_BYTES];
static char digits[MANIFEST_SHA256_DIGITS + 1];
static struct site from = {
    .name = "releases", .negative_404_s = SITE_UNSET, .negative_5xx_s = SITE_UNSET};
static struct http_field field[] = {{SLICE("content-type"), SLICE("text/css")},
                                    {SLICE("etag"), SLICE("\"of-the-release\"")},
                                    {SLICE("cache-control"), SLICE("no-cache")}};
static const struct http_fields fields = {.item = field, .count = 3, .capacity = 3};
static struct cache_file file;

static void open_world(bool has_files)
{
    for (size_t i = 0; i < sizeof(content); i++)
        content[i] = (char)(i * 7 >> 3);
    digest_sha256((struct slice){content, sizeof(content)}, sha256);
    manifest_sha256_print(sha256, digits);
    file = (struct cache_file){
        .sha256 = sha256, .bytes = sizeof(content), .fields = &fields, .from = &from};
    world_kind = (struct world_kind){.role = &world_role, .has_files = has_files};
    world_open(&w, 1, STORE_BYTES);
    world_asks_for = &file;
}

static int open_follower(void **state)
{
    (void)state;
    open_world(false);
    return 0;
}

static int open_publisher(void **state)
{
    struct pack_piece p = {.bytes = sizeof(content), .data = {content, sizeof(content)}};
    struct buf pack, why;

    (void)state;
    open_world(true);
    memcpy(p.sha256, sha256, sizeof(sha256));
    buf_init(&pack, 1 << 20);
    buf_init(&why, 1024);
    pack_put(&pack, &p);
    assert_int_equal(files_add(w.files, buf_slice(&pack), &why), ERR_OK);
    buf_release(&pack);
    buf_release(&why);
    file.from = NULL;
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    world_asks_for = NULL;
    world_close(&w);
    return 0;
}

static void assert_is_file(const struct asker *a, size_t first, size_t n)
{
    assert_int_equal(a->answer.status, n == sizeof(content) ? 200 : 206);
    assert_string_equal(asker_field(a, "content-type"), "text/css");
    assert_string_equal(asker_field(a, "etag"), "\"of-the-release\"");
    assert_string_equal(asker_field(a, "cache-control"), "no-cache");
    assert_int_equal(a->answer.age_s, -1);
    assert_int_equal(a->body.n, n);
    assert_memory_equal(a->body.p, content + first, n);
    assert_int_equal(a->end, CACHE_BODY_END);
}

static void get_whole(const char *request)
{
    struct asker a;

    ask(&w, 0, &a, "GET", "/style.css", request);
    asker_read(&a);
    assert_is_file(&a, 0, sizeof(content));
    assert_int_equal(a.answer.verdict, VERDICT_HIT);
    asker_release(&a);
}

static void test_what_is_here_is_a_hit(void **state)
{
    struct asker a;
    size_t n, sum = 0;
    char *to = malloc(sizeof(content));

    (void)state;
    get_whole("");
    get_whole("cache-control: no-cache\n"); /* content, not cache */
    get_whole("if-none-match: \"other\"\n");
    ask(&w, 0, &a, "GET", "/style.css", "range: bytes=65500-131100\n");
    asker_read(&a);
    assert_is_file(&a, 65500, 65601);
    asker_release(&a);
    ask(&w, 0, &a, "GET", "/style.css", "if-none-match: \"of-the-release\"\n");
    assert_int_equal(a.answer.status, 304);
    assert_false(a.answer.has_body);
    asker_release(&a);
    ask(&w, 0, &a, "HEAD", "/style.css", "range: bytes=0-9\n");
    assert_int_equal(a.answer.status, 200);
    assert_int_equal(a.answer.body_bytes, sizeof(content));
    assert_false(a.answer.has_body);
    asker_release(&a);
    ask(&w, 0, &a, "GET", "/style.css", "range: bytes=300000-\n");
    assert_int_equal(a.answer.status, 416);
    asker_release(&a);
    ask(&w, 0, &a, "GET", "/style.css", "");
    assert_true(a.answer.may_pull);
    while (sum < sizeof(content)) {
        (void)cache_body_pull(a.x, to + sum, 70000, &n);
        sum += n;
    }
    assert_memory_equal(to, content, sizeof(content));
    asker_release(&a);
    free(to);
    assert_int_equal(fake_fetcher_count(w.origin[0]), 0);
}

static void test_what_is_nowhere_is_an_error(void **state)
{
    unsigned char other[DIGEST_SHA256_BYTES] = {1};
    struct asker a;

    (void)state;
    file.sha256 = other;
    ask(&w, 0, &a, "GET", "/style.css", "");
    assert_int_equal(a.answer.status, 500);
    asker_release(&a);
}

static struct fake_fetch *asked(size_t i)
{
    world_drain(&w);
    assert_int_equal(fake_fetcher_count(w.origin[0]), i + 1);
    return fake_fetcher_at(w.origin[0], i);
}

static void test_it_is_fetched_by_its_hash_and_stored(void **state)
{
    char target[128];
    struct asker a;

    (void)state;
    w.site.rules_count = 1; /* rules of the site are not asked */
    w.rule.cache_off = true;
    ask(&w, 0, &a, "GET", "/style.css", "range: bytes=250000-250009\ncookie: a=b\n");
    snprintf(target, sizeof(target), "/_selvage/files/%s", digits);
    assert_string_equal(fake_fetch_target(asked(0)), target);
    assert_null(fake_fetch_field(asked(0), "range"));
    assert_null(fake_fetch_field(asked(0), "cookie"));
    fake_fetch_is_from_peer(asked(0));
    fake_fetch_head(asked(0), 200,
                    "selvage-checked: fresh\ncache-control: public, max-age=31536000\n",
                    CACHE_LENGTH, sizeof(content));
    fake_fetch_body(asked(0), content, sizeof(content));
    fake_fetch_done(asked(0));
    world_settle(&w);
    asker_read(&a);
    assert_is_file(&a, 250000, 10);
    asker_release(&a);
}

static void own_answer(struct fake_fetch *r, const char *p)
{
    fake_fetch_head(r, 200, "cache-control: public, max-age=31536000\n", CACHE_LENGTH,
                    sizeof(content));
    fake_fetch_body(r, p, 100000);
    world_drain(&w);
    fake_fetch_body(r, p + 100000, sizeof(content) - 100000);
    if (fake_fetch_is_running(r))
        fake_fetch_done(r);
    world_settle(&w);
}

static void test_stored_it_is_a_hit_until_it_is_purged(void **state)
{
    struct asker a;

    (void)state;
    ask(&w, 0, &a, "GET", "/style.css", "");
    own_answer(asked(0), content);
    asker_read(&a);
    assert_is_file(&a, 0, sizeof(content));
    asker_release(&a);
    get_whole("");
    get_whole("cache-control: no-cache\n");
    assert_int_equal(fake_fetcher_count(w.origin[0]), 1);
    world_purge(&w, PURGE_ALL, "", false);
    ask(&w, 0, &a, "GET", "/style.css", "");
    own_answer(asked(1), content);
    asker_read(&a);
    assert_is_file(&a, 0, sizeof(content));
    asker_release(&a);
}

static void test_who_asks_together_asks_once(void **state)
{
    struct asker a, b;

    (void)state;
    ask(&w, 0, &a, "GET", "/style.css", "");
    ask(&w, 0, &b, "GET", "/other-name.css", "");
    own_answer(asked(0), content);
    asker_read(&a);
    asker_read(&b);
    assert_is_file(&a, 0, sizeof(content));
    assert_is_file(&b, 0, sizeof(content));
    asker_release(&a);
    asker_release(&b);
}

static void test_another_hash_is_cut_and_not_stored(void **state)
{
    char *wrong = malloc(sizeof(content));
    struct asker a;

    (void)state;
    memcpy(wrong, content, sizeof(content));
    wrong[sizeof(content) - 1] ^= 1;
    ask(&w, 0, &a, "GET", "/style.css", "");
    own_answer(asked(0), wrong);
    assert_true(fake_fetch_is_cancelled(asked(0)));
    asker_read(&a);
    assert_int_equal(a.end, CACHE_BODY_BROKEN);
    assert_true(a.body.n < sizeof(content));
    asker_release(&a);
    ask(&w, 0, &a, "GET", "/style.css", "");
    own_answer(asked(1), content);
    asker_read(&a);
    assert_is_file(&a, 0, sizeof(content));
    asker_release(&a);
    free(wrong);
}

static void test_another_length_or_status_is_an_error(void **state)
{
    static const struct {
        int status;
        uint64_t bytes;
    } bad[] = {{200, 10}, {404, 3}, {503, 3}, {200, sizeof(content) + 1}};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct asker a;

        ask(&w, 0, &a, "GET", "/style.css", "");
        fake_fetch_head(asked(i), bad[i].status, "cache-control: no-store\n", CACHE_LENGTH,
                        bad[i].bytes);
        if (fake_fetch_is_running(asked(i))) {
            fake_fetch_body(asked(i), "no\n", 3);
            fake_fetch_done(asked(i));
        }
        world_settle(&w);
        assert_true(a.has_answer);
        assert_int_equal(a.answer.status, 502);
        asker_release(&a);
    }
}

static void test_without_a_length_it_is_none(void **state)
{
    struct asker a;

    (void)state;
    ask(&w, 0, &a, "GET", "/style.css", "");
    fake_fetch_head(asked(0), 200, "", CACHE_CHUNKED, 0);
    world_settle(&w);
    assert_int_equal(a.answer.status, 502);
    asker_release(&a);
}

static void test_heads_and_conditions_need_no_content(void **state)
{
    struct asker a;

    (void)state;
    ask(&w, 0, &a, "HEAD", "/style.css", "");
    assert_int_equal(a.answer.body_bytes, sizeof(content));
    asker_release(&a);
    ask(&w, 0, &a, "GET", "/style.css", "if-none-match: W/\"of-the-release\"\n");
    assert_int_equal(a.answer.status, 304);
    asker_release(&a);
    file.bytes = 0;
    ask(&w, 0, &a, "GET", "/style.css", "");
    assert_int_equal(a.answer.status, 200);
    assert_int_equal(a.answer.body_bytes, 0);
    asker_release(&a);
    assert_int_equal(fake_fetcher_count(w.origin[0]), 0);
}

int main(void)
{
#define FOLLOWER(name)  cmocka_unit_test_setup_teardown(name, open_follower, close_world)
#define PUBLISHER(name) cmocka_unit_test_setup_teardown(name, open_publisher, close_world)
    const struct CMUnitTest tests[] = {
        PUBLISHER(test_what_is_here_is_a_hit),
        PUBLISHER(test_what_is_nowhere_is_an_error),
        FOLLOWER(test_it_is_fetched_by_its_hash_and_stored),
        FOLLOWER(test_stored_it_is_a_hit_until_it_is_purged),
        FOLLOWER(test_who_asks_together_asks_once),
        FOLLOWER(test_another_hash_is_cut_and_not_stored),
        FOLLOWER(test_another_length_or_status_is_an_error),
        FOLLOWER(test_without_a_length_it_is_none),
        FOLLOWER(test_heads_and_conditions_need_no_content),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
