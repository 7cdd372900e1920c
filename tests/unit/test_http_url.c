/* Unit tests of hosts, targets, purge forms and globs. */
#include "http_text.h"

#include "base/limits.h"
#include "http/url.h"

static void test_hosts_are_put_into_one_form(void **state)
{
    static const struct {
        const char *authority, *host;
        uint16_t port;
    } good[] = {
        {"WWW.Example.COM", "www.example.com", 0},
        {"www.example.com.", "www.example.com", 0},
        {"www.example.com.:8080", "www.example.com", 8080},
        {"a:1", "a", 1},
        {"a:0065535", "a", 65535},
        {"a:", "a", 0},
        {"192.0.2.1:80", "192.0.2.1", 80},
        {"[2001:DB8::1]", "[2001:db8::1]", 0},
        {"[::1]:443", "[::1]", 443},
        {"a_b-c~d.e", "a_b-c~d.e", 0},
    };
    static const char *const bad[] = {
        "",       ".",       "..",     ":80",  "a..",    "a..b",     ".a",
        "u@a",    "u:p@a",   "a b",    " a",   "a\t",    "a\x7f",    "\xc3\xbc.example",
        "a:0",    "a:65536", "a:x",    "a:+1", "a: 1",   "a:1:2",    "a:99999999999999999999999",
        "a/b",    "a?b",     "a#b",    "a%41", "a,b",    "[::1",     "[::1]x",
        "[::g]",  "[]",      "[1.2]",  "::1",  "[::1].", "[::1]:x",  "[fe80::1%25eth0]",
        "[::1]]", "a[",      "*.a.de", "a\\b", "\"a\"",  "[v1.fe80]"};
    struct slice host;
    uint16_t port;

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        port = 7;
        assert_int_equal(url_host(slice_of(good[i].authority), &arena, &host, &port), ERR_OK);
        assert_text(host, good[i].host);
        assert_int_equal(port, good[i].port);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        if (url_host(slice_of(bad[i]), &arena, &host, &port) != ERR_INVALID)
            fail_msg("accepted: %s", bad[i]);
    assert_int_equal(url_host(SLICE("a\0b"), &arena, &host, &port), ERR_INVALID);
}

static void test_a_host_has_253_bytes_at_most(void **state)
{
    char text[256];
    struct slice host;
    struct arena none;
    uint16_t port;

    (void)state;
    memset(text, 'a', sizeof(text));
    text[253] = '.';
    assert_int_equal(url_host((struct slice){text, 253}, &arena, &host, &port), ERR_OK);
    assert_int_equal(url_host((struct slice){text, 254}, &arena, &host, &port), ERR_OK);
    text[253] = 'a';
    assert_int_equal(url_host((struct slice){text, 254}, &arena, &host, &port), ERR_INVALID);
    arena_init(&none, NULL, 0, 0);
    assert_int_equal(url_host(SLICE("a"), &none, &host, &port), ERR_LIMIT);
}

static void test_targets_that_may_go_on(void **state)
{
    static const char *const good[] = {
        "/",    "//",     "/a/../b",           "/%00",    "/?",    "/a?b?c/",
        "/[1]", "/a;b=c", "/:@!$&'()*+,-._~=", "/%fF%20", "/\xff", "/a?%23"};
    static const char *const bad[] = {"",    "a",     "*",   "?a",   "/#",       "/a b",  "/a\tb",
                                      "/\\", "/%",    "/%4", "/%4g", "/%g4",     "/a%%4", "/<",
                                      "/>",  "/\"",   "/{",  "/}",   "/|",       "/^",    "/`",
                                      "/\n", "/\x7f", "/?#", "/? ",  "http://a/"};
    static char text[LIMIT_TARGET_BYTES + 1];

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++)
        if (!url_target_is_valid(slice_of(good[i])))
            fail_msg("refused: %s", good[i]);
    for (size_t i = 0; i < COUNT(bad); i++)
        if (url_target_is_valid(slice_of(bad[i])))
            fail_msg("accepted: %s", bad[i]);
    assert_false(url_target_is_valid(SLICE("/a\0b")));
    memset(text, 'a', sizeof(text));
    text[0] = '/';
    assert_true(url_target_is_valid((struct slice){text, LIMIT_TARGET_BYTES}));
    assert_false(url_target_is_valid((struct slice){text, LIMIT_TARGET_BYTES + 1}));
}

static void test_the_path_ends_at_the_first_question_mark(void **state)
{
    (void)state;
    assert_int_equal(url_path_bytes(SLICE("/a")), 2);
    assert_int_equal(url_path_bytes(SLICE("/a?")), 2);
    assert_int_equal(url_path_bytes(SLICE("/a?b?c")), 2);
    assert_int_equal(url_path_bytes(SLICE("/a%3Fb")), 6);
}

static void test_purge_forms(void **state)
{
    static const struct {
        const char *target, *want;
    } form[] = {
        {"/", "h/"},
        {"", "h/"},
        {"?a", "h/?a"},
        {"/foo", "h/foo"},
        {"/%66oo", "h/foo"},
        {"/%66%6F%6f", "h/foo"},
        {"/./foo", "h/foo"},
        {"/a/./b/../c", "h/a/c"},
        {"/a/%2e%2E/b", "h/b"},
        {"/../../b", "h/b"},
        {"/a/..", "h/"},
        {"/a/.", "h/a/"},
        {"/a/b/..", "h/a/"},
        {"//a///b//", "h/a/b/"},
        {"/a//../b", "h/b"},
        {"/...", "h/..."},
        {"/.a/b.", "h/.a/b."},
        {"/a%2fb", "h/a%2Fb"},
        {"/a%2F..%2fb", "h/a%2F..%2Fb"},
        {"/%2541", "h/%2541"}, /* decoded once, not twice */
        {"/%", "h/%25"},
        {"/%4", "h/%254"},
        {"/%zz", "h/%25zz"},
        {"/\xc3\xbc", "h/%C3%BC"},
        {"/%c3%bc", "h/%C3%BC"},
        {"/a b\"<>", "h/a%20b%22%3C%3E"},
        {"/[x]", "h/%5Bx%5D"},
        {"/a;b=c,d:e@f!$&'()*+", "h/a;b=c,d:e@f!$&'()*+"},
        {"/%3b", "h/%3B"}, /* reserved: not the same as ';' */
        {"/%7Ea%2d%2e%5f", "h/~a-._"},
        {"/a?", "h/a?"},
        {"/a?b=%7e&c=/../d?e", "h/a?b=~&c=/../d?e"},
        {"/a?b[]=1", "h/a?b%5B%5D=1"},
        {"/a?//./", "h/a?//./"},
        {"/a%3fb", "h/a%3Fb"},
        {"*", "h/*"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(form); i++) {
        struct slice target = slice_of(form[i].target);
        struct buf b;

        buf_init(&b, 1 + 3 * target.n + 1); /* what callers reckon with */
        url_purge_form(SLICE("h"), target, &b);
        assert_false(b.failed);
        assert_text(buf_slice(&b), form[i].want);
        buf_release(&b);
    }
}

static void test_a_purge_form_has_the_ceiling_of_its_buf(void **state)
{
    struct buf b;

    (void)state;
    for (size_t max = 0; max < 8; max++) {
        buf_init(&b, max);
        url_purge_form(SLICE("h"), SLICE("/abc?d=e"), &b);
        assert_true(b.failed);
        assert_true(b.n <= max);
        buf_release(&b);
    }
}

static void test_absolute_urls(void **state)
{
    static const struct {
        const char *url;
        bool is_https;
        const char *host;
        uint16_t port;
        bool has_port;
        const char *target;
    } good[] = {
        {"http://a.example", false, "a.example", 80, false, "/"},
        {"https://A.Example/b?c", true, "A.Example", 443, false, "/b?c"},
        {"HTTPS://a:8443/", true, "a", 8443, true, "/"},
        {"http://[::1]:81/x", false, "[::1]", 81, true, "/x"},
        {"http://a.:80//", false, "a.", 80, true, "//"},
        {"http://a:/", false, "a", 80, false, "/"},
    };
    static const char *const bad[] = {
        "",           "a",           "/a",         "http:/a",    "http://",      "http:///a",
        "ftp://a/",   "http://u@a/", "http://a#b", "http://a/#", "http://a/b c", "http://a?b",
        "http://a:x", "//a/b",       "https//a",   " http://a",  "http://a/\n",  "http://a\\b"};
    struct url_parts p;

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_int_equal(url_parse_absolute(slice_of(good[i].url), &p), ERR_OK);
        assert_int_equal(p.is_https, good[i].is_https);
        assert_text(p.host, good[i].host);
        assert_int_equal(p.port, good[i].port);
        assert_int_equal(p.has_port, good[i].has_port);
        assert_text(p.target, good[i].target);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        if (url_parse_absolute(slice_of(bad[i]), &p) != ERR_INVALID)
            fail_msg("accepted: %s", bad[i]);
}

/* RFC 3986 section 5.4, as far as it is about http; of http://a/b/c/d;p?q. */
static void test_references(void **state)
{
    static const struct {
        const char *reference, *host, *target;
        bool is_http;
        uint16_t port;
    } good[] = {
        {"g", "a", "/b/c/g", true, 80},
        {"./g", "a", "/b/c/g", true, 80},
        {"g/", "a", "/b/c/g/", true, 80},
        {"/g", "a", "/g", true, 80},
        {"//g", "g", "/", true, 80},
        {"//g:81/h", "g", "/h", true, 81},
        {"?y", "a", "/b/c/d;p?y", true, 80},
        {"g?y", "a", "/b/c/g?y", true, 80},
        {"#s", "a", "/b/c/d;p?q", true, 80},
        {"g#s", "a", "/b/c/g", true, 80},
        {"g?y#s", "a", "/b/c/g?y", true, 80},
        {";x", "a", "/b/c/;x", true, 80},
        {"", "a", "/b/c/d;p?q", true, 80},
        {".", "a", "/b/c/", true, 80},
        {"..", "a", "/b/", true, 80},
        {"../g", "a", "/b/g", true, 80},
        {"../..", "a", "/", true, 80},
        {"../../g", "a", "/g", true, 80},
        {"../../../../g", "a", "/g", true, 80},
        {"/./g", "a", "/g", true, 80},
        {"/../g", "a", "/g", true, 80},
        {"g.", "a", "/b/c/g.", true, 80},
        {"..g", "a", "/b/c/..g", true, 80},
        {"./g/.", "a", "/b/c/g/", true, 80},
        {"g/../h?x/../y", "a", "/b/c/h?x/../y", true, 80},
        {"g?a:b", "a", "/b/c/g?a:b", true, 80},
        {"./g:h", "a", "/b/c/g:h", true, 80},
        {"HTTPS://G/x/../y?z#s", "G", "/y?z", false, 443},
        {"http://g", "g", "/", true, 80},
    };
    static const char *const bad[] = {"//",     "mailto:a", "g:h", "ftp://a/",
                                      "http:g", "//u@a/",   "g h", "g\\h"};
    struct url_parts p;
    struct arena none;

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        enum err e = url_resolve(slice_of(good[i].reference), false, SLICE("a"),
                                 SLICE("/b/c/d;p?q"), &arena, &p);

        if (e != ERR_OK || !slice_eq(p.host, slice_of(good[i].host)) ||
            !slice_eq(p.target, slice_of(good[i].target)) || p.is_https == good[i].is_http ||
            p.port != good[i].port)
            fail_msg("%s: %d, %.*s", good[i].reference, (int)e, (int)p.target.n, p.target.p);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        if (url_resolve(slice_of(bad[i]), false, SLICE("a"), SLICE("/b"), &arena, &p) !=
            ERR_INVALID)
            fail_msg("accepted: %s", bad[i]);
    arena_init(&none, NULL, 0, 0);
    assert_int_equal(url_resolve(SLICE("g"), true, SLICE("a"), SLICE("/b"), &none, &p), ERR_LIMIT);
    assert_int_equal(url_resolve(SLICE("//g"), true, SLICE("a"), SLICE("/b"), &none, &p),
                     ERR_LIMIT);
    assert_int_equal(url_resolve(SLICE("/b/../c"), true, SLICE("a"), SLICE("/b"), &none, &p),
                     ERR_LIMIT);
}

static void test_globs(void **state)
{
    static const struct {
        const char *glob, *path;
        bool want;
    } match[] = {
        {"", "", true},
        {"", "/", false},
        {"*", "", true},
        {"*", "/a/b", true},
        {"/a", "/a", true},
        {"/a", "/ab", false},
        {"/ab", "/a", false},
        {"/a", "/A", false},
        {"/a*", "/a", true},
        {"/a/*", "/a", false},
        {"/a/*", "/a/b/c", true},
        {"*.css", "/x/y.css", true},
        {"*.css", "/x.css/y", false},
        {"/?", "/a", true},
        {"/?", "/", false},
        {"/?", "//", true},
        {"*a*b*c", "xaxbxbxc", true},
        {"*a*b*c", "xaxcxb", false},
        {"*ab", "aab", true},
        {"a**b", "ab", true},
        {"*?", "", false},
        {"/[a]", "/a", false},
        {"/[a]", "/[a]", true},
        {"/\\*", "/\\x", true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(match); i++)
        if (url_glob_matches(slice_of(match[i].glob), slice_of(match[i].path)) != match[i].want)
            fail_msg("%s and %s", match[i].glob, match[i].path);
}

/* Each star of the glob would multiply the time of a matcher that tries again from every star. */
static void test_a_glob_of_stars_ends(void **state)
{
    static char path[LIMIT_TARGET_BYTES];

    (void)state;
    memset(path, 'a', sizeof(path));
    assert_false(
        url_glob_matches(SLICE("*a*a*a*a*a*a*a*a*a*a*a*a*b"), (struct slice){path, sizeof(path)}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_hosts_are_put_into_one_form),
        TEST(test_a_host_has_253_bytes_at_most),
        TEST(test_targets_that_may_go_on),
        TEST(test_the_path_ends_at_the_first_question_mark),
        TEST(test_purge_forms),
        TEST(test_a_purge_form_has_the_ceiling_of_its_buf),
        TEST(test_absolute_urls),
        TEST(test_references),
        TEST(test_globs),
        TEST(test_a_glob_of_stars_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
