/* Unit tests of the grammars of single values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "config/config_priv.h"

#define LABEL63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HOST253                                                                                    \
    LABEL63 "." LABEL63 "." LABEL63 "."                                                            \
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

typedef const char *check_fn(struct slice s);

/* Ends with NULL. */
static void assert_all(check_fn *check, bool good, const char *const *text)
{
    for (; *text != NULL; text++)
        if ((check(slice_of(*text)) == NULL) != good)
            fail_msg("'%s' should %sbe good", *text, good ? "" : "not ");
}

static void test_hosts(void **state)
{
    static const char *const good[] = {"a",
                                       "www.example.com",
                                       "*.example.com",
                                       "a_b.example",
                                       "192.0.2.1",
                                       "[2001:db8::1]",
                                       "xn--bcher-kva.example",
                                       LABEL63 ".example",
                                       HOST253,
                                       NULL};
    static const char *const bad[] = {".",
                                      "a.",
                                      ".a",
                                      "a..b",
                                      "-a.example",
                                      "a-.example",
                                      "a b",
                                      "a:80",
                                      "a/b",
                                      "*",
                                      "*.",
                                      "**.a",
                                      "a.*",
                                      "*a.example",
                                      "[::1",
                                      "[]",
                                      "[1.2.3.4]",
                                      "::1",
                                      "b\xc3\xbc"
                                      "cher.example",
                                      LABEL63 "a",
                                      HOST253 "a",
                                      NULL};

    (void)state;
    assert_all(config__check_host, true, good);
    assert_all(config__check_host, false, bad);
}

static void test_a_name_for_tls_is_no_pattern(void **state)
{
    (void)state;
    assert_null(config__check_name(SLICE("www.example.com")));
    assert_non_null(config__check_name(SLICE("*.example.com")));
    assert_non_null(config__check_name(SLICE("[::1]")));
}

static void test_addresses(void **state)
{
    static const char *const good[] = {"0.0.0.0:443", "127.0.0.1:0", "[::]:443", "[::1]:65535",
                                       NULL};
    static const char *const bad[] = {
        "0.0.0.0",  ":443",          "443",          "localhost:80",      "1.2.3:80",
        "1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:+1",   "1.2.3.4:000080",    "::1:80",
        "[::1]",    "[::1]80",       "[1.2.3.4]:80", "[fe80::1%eth0]:80", NULL};

    (void)state;
    assert_all(config__check_address, true, good);
    assert_all(config__check_address, false, bad);
}

static void test_loopback_addresses_are_known(void **state)
{
    (void)state;
    assert_true(config__address_is_loopback(SLICE("127.0.0.1:80")));
    assert_true(config__address_is_loopback(SLICE("127.9.9.9:80")));
    assert_true(config__address_is_loopback(SLICE("[::1]:80")));
    assert_false(config__address_is_loopback(SLICE("0.0.0.0:80")));
    assert_false(config__address_is_loopback(SLICE("[::]:80")));
    assert_false(config__address_is_loopback(SLICE("10.0.0.1:80")));
    assert_false(config__address_is_loopback(SLICE("[::ffff:10.0.0.1]:80")));
}

static void test_servers(void **state)
{
    static const char *const good[] = {"http://a", "https://a.example:8443", "http://10.0.0.5",
                                       "https://[2001:db8::1]:1", NULL};
    static const char *const bad[] = {"",           "http://",    "https://:80", "HTTP://a",
                                      "ftp://a",    "//a",        "a",           "http://a/",
                                      "http://a?b", "http://u@a", "http://a:b",  "http://a:0",
                                      "http://a b", "http://*.a", "http://[::1", NULL};

    (void)state;
    assert_all(config__check_server, true, good);
    assert_all(config__check_server, false, bad);
}

static void test_servers_on_this_machine_or_its_link_are_known(void **state)
{
    static const char *const local[] = {"http://127.0.0.1",
                                        "https://127.8.9.1:80",
                                        "http://0.0.0.0",
                                        "http://169.254.169.254",
                                        "http://localhost",
                                        "http://LocalHost:80",
                                        "http://[::1]",
                                        "http://[::]:80",
                                        "http://[fe80::1]",
                                        "http://[::ffff:127.0.0.1]",
                                        NULL};
    static const char *const other[] = {"http://10.0.0.1",          "http://169.253.0.1",
                                        "http://128.0.0.1",         "http://[2001:db8::1]",
                                        "http://[fd00::1]",         "http://localhost.example",
                                        "http://[::ffff:10.0.0.1]", NULL};

    (void)state;
    for (size_t i = 0; local[i] != NULL; i++)
        assert_true(config__server_is_local(slice_of(local[i])));
    for (size_t i = 0; other[i] != NULL; i++)
        assert_false(config__server_is_local(slice_of(other[i])));
}

static void test_the_other_grammars(void **state)
{
    static const char *const authorities[] = {"a.example", "a.example:80", "[::1]", "[::1]:80",
                                              NULL};
    static const char *const no_authorities[] = {"a/", "a:", "a:0", "http://a", "*.a", NULL};
    static const char *const labels[] = {"www", "a-b_c.d", "7", NULL};
    static const char *const no_labels[] = {"a b", "a/b", "a\"b", LABEL63 "aa", NULL};
    static const char *const methods[] = {"GET", "M-SEARCH", "*", NULL};
    static const char *const no_methods[] = {"get", "G T", "G\tT", "GET,", NULL};
    static const char *const types[] = {"text/html", "image/*", "*", "*+json", NULL};
    static const char *const no_types[] = {"html", "text/html; charset=utf-8", "text /html", NULL};
    static const char *const words[] = {"sid", "a*", "__Host-x", NULL};
    static const char *const no_words[] = {"a=b", "a;b", "a&b", "a b", "\xc3\xbc", NULL};

    (void)state;
    assert_all(config__check_authority, true, authorities);
    assert_all(config__check_authority, false, no_authorities);
    assert_all(config__check_label, true, labels);
    assert_all(config__check_label, false, no_labels);
    assert_all(config__check_method, true, methods);
    assert_all(config__check_method, false, no_methods);
    assert_all(config__check_type_glob, true, types);
    assert_all(config__check_type_glob, false, no_types);
    assert_all(config__check_word_glob, true, words);
    assert_all(config__check_word_glob, false, no_words);
}

static void test_path_globs_are_in_the_form_they_are_compared_in(void **state)
{
    static const char *const good[] = {"*",   "/",         "/a/*",   "*.jpg",
                                       "/a?", "/%C3%BC/*", "/a%2Fb", "/.well-known/*",
                                       "/a.", "/..a",      NULL};
    static const char *const bad[] = {"a",    "?",       "/a b",  "/\xc3\xbc", "/%c3%bc", "/%61",
                                      "/%7E", "/%",      "/%4",   "/%zz",      "//a",     "/a//b",
                                      "/./a", "/a/../b", "/a/..", "/a/.",      NULL};

    (void)state;
    assert_all(config__check_path_glob, true, good);
    assert_all(config__check_path_glob, false, bad);
}

static void test_secrets_are_long_and_one_word(void **state)
{
    static const char *const good[] = {"0123456789abcdef", "!~\"'\\;=0123456789", NULL};
    static const char *const bad[] = {"0123456789abcde", "0123456789 abcdef",
                                      "0123456789abcde\xc3\xbc", "0123456789abcdef\n", NULL};
    char long_one[257];

    (void)state;
    assert_all(config__check_secret, true, good);
    assert_all(config__check_secret, false, bad);
    memset(long_one, 'x', sizeof(long_one));
    assert_null(config__check_secret((struct slice){long_one, 256}));
    assert_non_null(config__check_secret((struct slice){long_one, 257}));
}

static void test_a_quote_is_short_and_harmless(void **state)
{
    static char long_one[1000];

    (void)state;
    assert_string_equal(config__quote(SLICE("abc")).text, "'abc'");
    assert_string_equal(config__quote(SLICE("")).text, "''");
    assert_string_equal(config__quote(SLICE("a\033b\177c\302\205d\303\274")).text,
                        "'a?b?c?d\303\274'");
    memset(long_one, 'x', sizeof(long_one));
    assert_true(strlen(config__quote((struct slice){long_one, sizeof(long_one)}).text) <
                CONFIG_QUOTE_BYTES);
    assert_non_null(
        strstr(config__quote((struct slice){long_one, sizeof(long_one)}).text, "x...'"));
    assert_string_equal(config__quote(SLICE("a\xc3")).text, "'a\xc3'"); /* cut off, not read past */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_a_name_for_tls_is_no_pattern),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_loopback_addresses_are_known),
        cmocka_unit_test(test_servers),
        cmocka_unit_test(test_servers_on_this_machine_or_its_link_are_known),
        cmocka_unit_test(test_the_other_grammars),
        cmocka_unit_test(test_path_globs_are_in_the_form_they_are_compared_in),
        cmocka_unit_test(test_secrets_are_long_and_one_word),
        cmocka_unit_test(test_a_quote_is_short_and_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
