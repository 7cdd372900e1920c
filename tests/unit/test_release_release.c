/* Unit tests of releases in memory: which file a request means, and who holds what. */
#include "release_dir.h"

enum { MAP_BYTES = 16 << 20 };

static struct releases *must_load(struct files *f)
{
    struct releases *rs = NULL;

    assert_int_equal(releases_new(f, &rs), ERR_OK);
    return rs;
}

static enum release_match match(const struct release *r, const char *target, char path[64])
{
    struct release_hit hit = {0};
    enum release_match m;
    struct arena a;

    arena_init(&a, NULL, 0, 1 << 16);
    m = release_match(r, slice_of(target), &a, &hit);
    if (m == RELEASE_FILE)
        snprintf(path, 64, "%.*s%s", (int)hit.entry.path.n, hit.entry.path.p,
                 hit.has_hash ? " hashed" : "");
    arena_release(&a);
    return m;
}

static void test_what_a_request_means(void **state)
{
    static const struct {
        const char *target, *path;
        enum release_match match;
    } cases[] = {
        {"/", "index.html", RELEASE_FILE},
        {"/?a=/b", "index.html", RELEASE_FILE},
        {"/index.html", "index.html", RELEASE_FILE},
        {"/blog/", "blog/index.html", RELEASE_FILE},
        {"/blog", NULL, RELEASE_DIRECTORY},
        {"/blog?x", NULL, RELEASE_DIRECTORY},
        {"/%62log", NULL, RELEASE_DIRECTORY},
        {"/app.8f3c2a1b.js", "app.8f3c2a1b.js hashed", RELEASE_FILE},
        {"/a%20b", "a b", RELEASE_FILE},
        {"/%C3%a9", "\xc3\xa9", RELEASE_FILE},
        {"/\xc3\xa9", "\xc3\xa9", RELEASE_FILE},
        {"/blog%2Findex.html", NULL, RELEASE_NOTHING},
        {"//index.html", NULL, RELEASE_NOTHING},
        {"//blog", NULL, RELEASE_NOTHING},
        {"/blog//", NULL, RELEASE_NOTHING},
        {"/../index.html", NULL, RELEASE_NOTHING},
        {"/blog/index.html/", NULL, RELEASE_NOTHING},
        {"/nothing", NULL, RELEASE_NOTHING},
        {"/nothing/", NULL, RELEASE_NOTHING},
        {"/%", NULL, RELEASE_NOTHING},
        {"/%0", NULL, RELEASE_NOTHING},
        {"/index.html%00", NULL, RELEASE_NOTHING},
        {"", NULL, RELEASE_NOTHING},
        {"*", NULL, RELEASE_NOTHING},
    };
    struct release_what what[] = {
        {"a b", SLICE("1")},
        {"app.8f3c2a1b.js", SLICE("2")},
        {"blog/index.html", SLICE("3")},
        {"index.html", SLICE("4")},
        {"\xc3\xa9", SLICE("5")},
    };
    struct files *f = release_must_open(MAP_BYTES);
    struct releases *rs;
    struct release *r;
    struct release_row row;

    (void)state;
    assert_int_equal(release_publish(f, "www", "r", what, 5, &row), ERR_OK);
    rs = must_load(f);
    r = releases_find(rs, "www");
    assert_non_null(r);
    assert_null(releases_find(rs, "other"));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char path[64] = "";

        if (match(r, cases[i].target, path) != cases[i].match ||
            (cases[i].path != NULL && strcmp(cases[i].path, path) != 0))
            fail_msg("%s: %s", cases[i].target, path);
    }
    release_unref(r);
    releases_free(rs);
    files_close(f);
}

static void count(void *user, struct slice news)
{
    struct release_news n;
    unsigned *count_of = user;

    assert_int_equal(release_news_decode(news, &n), ERR_OK);
    ++*count_of;
}

static void test_who_holds_one_goes_on_with_it(void **state)
{
    struct release_what what[] = {{"a", SLICE("one")}};
    struct files *f = release_must_open(MAP_BYTES);
    struct release *old, *new;
    struct releases *rs;
    struct release_row row;
    uint64_t version;
    unsigned told = 0;
    char path[64];

    (void)state;
    assert_int_equal(release_publish(f, "www", "one", what, 1, &row), ERR_OK);
    assert_int_equal(release_publish(f, "other", "x", what, 1, &row), ERR_OK);
    rs = must_load(f);
    old = releases_find(rs, "www");
    version = releases_version(rs);
    what[0] = (struct release_what){"b", SLICE("two")};
    assert_int_equal(release_publish(f, "www", "two", what, 1, &row), ERR_OK);
    assert_int_equal(releases_load(rs, "www", &row), ERR_OK);
    assert_true(releases_version(rs) > version);
    new = releases_find(rs, "www");
    assert_string_equal(release_id(old), "one");
    assert_string_equal(release_id(new), "two");
    assert_int_equal(match(old, "/a", path), RELEASE_FILE);
    assert_int_equal(match(new, "/a", path), RELEASE_NOTHING);
    releases_tell(rs, count, &told);
    assert_int_equal(told, 2);
    releases_free(rs);
    assert_int_equal(match(old, "/a", path), RELEASE_FILE);
    release_unref(old);
    release_unref(new);
    files_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_a_request_means, release_dir_make,
                                        release_dir_remove),
        cmocka_unit_test_setup_teardown(test_who_holds_one_goes_on_with_it, release_dir_make,
                                        release_dir_remove),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
