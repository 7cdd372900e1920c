/* Unit tests of manifests: what is one, what is none, and what is found in it. */
#include "release_dir.h"

#include "release/manifest.h"

#define SHA  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define HEAD "selvage-manifest 1\n"

static enum err parse(const char *text, struct manifest **m, char *said, size_t said_bytes)
{
    struct buf why;
    enum err e;

    buf_init(&why, 1024);
    e = manifest_parse(slice_of(text), m, &why);
    snprintf(said, said_bytes, "%.*s", (int)why.n, why.n == 0 ? "" : why.p);
    buf_release(&why);
    return e;
}

static void test_entries_are_found_by_path(void **state)
{
    struct manifest_entry e;
    struct manifest *m;
    struct buf again;
    char said[256];

    (void)state;
    assert_int_equal(parse(HEAD SHA "\t3\ttext/html; charset=utf-8\ta b.html\n" SHA
                                    "\t0\timage/png\timg/x.png\n" SHA
                                    "\t1073741824\tvideo/mp4\t\xc3\xa9\n",
                           &m, said, sizeof(said)),
                     ERR_OK);
    assert_int_equal(manifest_count(m), 3);
    assert_int_equal(manifest_bytes(m), 1073741827);
    assert_true(manifest_find(m, SLICE("a b.html"), &e));
    assert_true(slice_eq(e.type, SLICE("text/html; charset=utf-8")));
    assert_int_equal(e.bytes, 3);
    assert_true(manifest_find(m, SLICE("\xc3\xa9"), &e));
    for (size_t i = 0; i < 5; i++) {
        static const char *const none[] = {"", "a", "a b.htm", "a b.html2", "zzz"};

        assert_false(manifest_find(m, slice_of(none[i]), &e));
    }
    buf_init(&again, 4096);
    manifest_put_head(&again);
    for (size_t i = 0; i < 3; i++) {
        manifest_at(m, i, &e);
        manifest_put(&again, &e);
    }
    manifest_free(m);
    assert_int_equal(manifest_parse(buf_slice(&again), &m, &again), ERR_OK);
    buf_release(&again);
    manifest_free(m);
}

static void test_an_empty_one_is_one(void **state)
{
    struct manifest_entry e;
    struct manifest *m;
    char said[256];

    (void)state;
    assert_int_equal(parse(HEAD, &m, said, sizeof(said)), ERR_OK);
    assert_false(manifest_find(m, SLICE("index.html"), &e));
    manifest_free(m);
}

static void test_what_is_none(void **state)
{
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"", "no manifest"},
        {"selvage-manifest 2\n", "no manifest"},
        {HEAD "x", "does not end"},
        {HEAD "x\n", "SHA-256"},
        {HEAD SHA "\n", "number of bytes"},
        {HEAD SHA "\t-1\ta/b\tp\n", "number of bytes"},
        {HEAD SHA "\t01\ta/b\tp\n", "number of bytes"},
        {HEAD SHA "\t1073741825\ta/b\tp\n", "1 GiB"},
        {HEAD SHA "\t1\t\tp\n", "content type"},
        {HEAD SHA "\t1\ttext\tp\n", "content type"},
        {HEAD SHA "\t1\t a/b\tp\n", "content type"},
        {HEAD SHA "\t1\ta/b\r\tp\n", "content type"},
        {HEAD SHA "\t1\ta/b\t\n", "empty"},
        {HEAD SHA "\t1\ta/b\tp\tq\n", "control"},
        {HEAD SHA "\t1\ta/b\t..\n", "leads out"},
        {HEAD SHA "\t1\ta/b\tx/../../y\n", "leads out"},
        {HEAD SHA "\t1\ta/b\tx/./y\n", "`.`"},
        {HEAD SHA "\t1\ta/b\t/x\n", "absolute"},
        {HEAD SHA "\t1\ta/b\tx//y\n", "empty segment"},
        {HEAD SHA "\t1\ta/b\tx/\n", "empty segment"},
        {HEAD SHA "\t1\ta/b\t\xc0\xaf\n", "UTF-8"},
        {HEAD SHA "\t1\ta/b\t\xed\xa0\x80\n", "UTF-8"},
        {HEAD SHA "\t1\ta/b\t\xf4\x90\x80\x80\n", "UTF-8"},
        {HEAD SHA "\t1\ta/b\tx\xe2\x82\n", "UTF-8"},
        {HEAD SHA "\t1\ta/b\tp\n" SHA "\t1\ta/b\tp\n", "not behind"},
        {HEAD SHA "\t1\ta/b\tq\n" SHA "\t1\ta/b\tp\n", "not behind"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct manifest *m = NULL;
        char said[512];

        assert_int_equal(parse(bad[i].text, &m, said, sizeof(said)), ERR_INVALID);
        if (strstr(said, bad[i].why) == NULL)
            fail_msg("%s: %s", bad[i].text, said);
        assert_null(m);
    }
}

static void test_what_is_too_much(void **state)
{
    char name[1026];
    struct manifest *m;
    struct buf text, why;

    (void)state;
    memset(name, 'x', sizeof(name));
    name[1024] = '\0';
    assert_null(manifest_path_fault(slice_of(name)));
    name[1024] = 'x';
    name[1025] = '\0';
    assert_non_null(manifest_path_fault(slice_of(name)));
    buf_init(&text, LIMIT_MANIFEST_BYTES + 1);
    buf_init(&why, 1024);
    manifest_put_head(&text);
    for (unsigned i = 0; i <= LIMIT_RELEASE_FILES; i++)
        buf_addf(&text, SHA "\t1\ta/b\t%08u\n", i);
    assert_int_equal(manifest_parse(buf_slice(&text), &m, &why), ERR_LIMIT);
    while (text.n <= LIMIT_MANIFEST_BYTES)
        buf_add_char(&text, 'x');
    assert_int_equal(manifest_parse(buf_slice(&text), &m, &why), ERR_LIMIT);
    buf_release(&text);
    buf_release(&why);
}

static void test_names_that_carry_a_hash(void **state)
{
    static const char *const with[] = {
        "app.8f3c2a1b.js",
        "assets/index-BYk3x9aZ.css",
        "chunk-XTQ2ZKQM.js",
        "js/main.0123456789abcdef0123.js",
        "a/b/2f54a0d1c3b2a4958f3c2a1b00112233.png",
        "app_8f3c2a1b.js",
        "font.8f3c2a1b.woff2.gz",
    };
    static const char *const without[] = {
        "app.js",          "article-20240101.html", "20240101.png",
        "settings.js",     "app-settings.js",       "image-portrait1.jpg",
        "8f3c2a1b/app.js", "app.8f3c2a1b",          "app.8f3c2a1b.html",
        "deadbeef.js",     "app.deadbeef.js",       "x-8f3c2a1.js",
        "index.html",      "MyWidget-Example1.js",  "README",
        "v12345678.js",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(with) / sizeof(with[0]); i++)
        if (!manifest_name_has_hash(slice_of(with[i])))
            fail_msg("%s", with[i]);
    for (size_t i = 0; i < sizeof(without) / sizeof(without[0]); i++)
        if (manifest_name_has_hash(slice_of(without[i])))
            fail_msg("%s", without[i]);
}

static void test_digits(void **state)
{
    unsigned char sha256[DIGEST_SHA256_BYTES];
    char text[MANIFEST_SHA256_DIGITS + 1];

    (void)state;
    assert_true(manifest_sha256_parse(SLICE(SHA), sha256));
    manifest_sha256_print(sha256, text);
    assert_string_equal(text, SHA);
    assert_false(manifest_sha256_parse(SLICE("BA7816"), sha256));
    text[5] = 'A';
    assert_false(manifest_sha256_parse(slice_of(text), sha256));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries_are_found_by_path),
        cmocka_unit_test(test_an_empty_one_is_one),
        cmocka_unit_test(test_what_is_none),
        cmocka_unit_test(test_what_is_too_much),
        cmocka_unit_test(test_names_that_carry_a_hash),
        cmocka_unit_test(test_digits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
