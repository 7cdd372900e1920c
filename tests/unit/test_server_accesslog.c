#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "server/accesslog.h"

static struct accesslog_line ordinary(void)
{
    return (struct accesslog_line){
        .wall_ms = INT64_C(1764113928007),
        .client = SLICE("192.0.2.0"),
        .method = SLICE("GET"),
        .host = SLICE("a.test"),
        .target = SLICE("/x"),
        .site = SLICE("www"),
        .id = SLICE("0123456789abcdef"),
        .protocol = "h2",
        .verdict = "hit",
        .reason = "fresh",
        .status = 200,
        .bytes = 1234,
        .total_us = 1005,
        .first_us = 42,
    };
}

/* One line, and JSON; the caller drops it. */
static json_t *format(const struct accesslog_line *l)
{
    char *out = malloc(ACCESSLOG_BYTES);
    size_t n = accesslog_format(l, out);
    json_t *j;

    assert_true(n > 0 && n <= ACCESSLOG_BYTES);
    assert_int_equal(out[n - 1], '\n');
    assert_null(memchr(out, '\n', n - 1));
    j = json_loadb(out, n, JSON_ALLOW_NUL, NULL);
    if (j == NULL)
        fail_msg("%.*s", (int)n, out);
    free(out);
    return j;
}

static const char *text(json_t *j, const char *key)
{
    const char *s = json_string_value(json_object_get(j, key));

    assert_non_null(s);
    return s;
}

static void test_a_tunnel_has_bytes_both_ways(void **state)
{
    struct accesslog_line l = ordinary();
    json_t *j = format(&l);

    (void)state;
    assert_null(json_object_get(j, "received"));
    json_decref(j);
    l.is_tunnel = true;
    l.received = 77;
    j = format(&l);
    assert_int_equal(json_integer_value(json_object_get(j, "received")), 77);
    assert_int_equal(json_integer_value(json_object_get(j, "bytes")), 1234);
    json_decref(j);
}

static void test_a_line_says_what_happened(void **state)
{
    struct accesslog_line l = ordinary();
    json_t *j = format(&l);

    (void)state;
    assert_string_equal(text(j, "time"), "2025-11-25T23:38:48.007Z");
    assert_string_equal(text(j, "client"), "192.0.2.0");
    assert_string_equal(text(j, "site"), "www");
    assert_string_equal(text(j, "protocol"), "h2");
    assert_string_equal(text(j, "method"), "GET");
    assert_string_equal(text(j, "host"), "a.test");
    assert_string_equal(text(j, "path"), "/x");
    assert_string_equal(text(j, "verdict"), "hit");
    assert_string_equal(text(j, "reason"), "fresh");
    assert_string_equal(text(j, "id"), "0123456789abcdef");
    assert_int_equal(json_integer_value(json_object_get(j, "status")), 200);
    assert_int_equal(json_integer_value(json_object_get(j, "bytes")), 1234);
    assert_true(json_real_value(json_object_get(j, "ms")) > 1.0049 &&
                json_real_value(json_object_get(j, "ms")) < 1.0051);
    assert_true(json_real_value(json_object_get(j, "first_ms")) > 0.0419);
    json_decref(j);
    l.first_us = -1;
    j = format(&l);
    assert_null(json_object_get(j, "first_ms"));
    json_decref(j);
}

static void test_secrets_in_the_query_are_not_logged(void **state)
{
    static const struct {
        const char *target, *logged;
    } cases[] = {
        {"/a?token=hunter2", "/a?token=-"},
        {"/a?x=1&sig=abc&y=2", "/a?x=1&sig=-&y=2"},
        {"/a?signature=a;key=b", "/a?signature=-;key=-"},
        {"/a?CODE=1&Password=2&eMail=a@b", "/a?CODE=-&Password=-&eMail=-"},
        {"/a?access_token=1&X-Amz-Signature=2&api.key=3&user[email]=4",
         "/a?access_token=-&X-Amz-Signature=-&api.key=-&user[email]=-"},
        {"/a?%74oken=hunter2&t%6Fke%6e=x", "/a?%74oken=-&t%6Fke%6e=-"},
        {"/a?monkey=1&keys=2&tokens=3", "/a?monkey=1&keys=2&tokens=3"},
        {"/a?token", "/a?token"},
        {"/a?token=", "/a?token=-"},
        {"/a?", "/a?"},
        {"/a?=&&%&%7", "/a?=&&%&%7"},
        {"/token=x", "/token=x"},
    };
    struct accesslog_line l = ordinary();

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *j;

        l.target = slice_of(cases[i].target);
        l.is_full = false;
        j = format(&l);
        assert_string_equal(text(j, "path"), cases[i].logged);
        json_decref(j);
        l.is_full = true;
        j = format(&l);
        assert_string_equal(text(j, "path"), cases[i].target);
        json_decref(j);
    }
}

static void test_any_byte_makes_one_line_of_json(void **state)
{
    struct accesslog_line l = ordinary();
    char all[256];
    json_t *j;

    (void)state;
    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    l.method = l.host = l.site = l.client = l.id = (struct slice){all, 128};
    l.target = (struct slice){all + 1, 255};
    json_decref(format(&l));
    l.target = SLICE("/\"\\\n\x01");
    j = format(&l);
    assert_string_equal(text(j, "path"), "/\"\\\n\x01");
    json_decref(j);
}

static void test_what_is_too_long_is_cut(void **state)
{
    static char longest[20000];
    struct accesslog_line l = ordinary();
    json_t *j;

    (void)state;
    for (int byte = 0; byte < 2; byte++) {
        memset(longest, byte == 0 ? 'a' : '\x01', sizeof(longest));
        longest[0] = '/';
        for (int query = 0; query < 2; query++) {
            longest[1] = query ? '?' : 'a';
            l.target = l.method = l.host = l.site = l.client = l.id =
                (struct slice){longest, sizeof(longest)};
            j = format(&l);
            assert_non_null(strstr(text(j, "path"), "..."));
            json_decref(j);
        }
    }
}

static void assert_address(const char *address, const char *network)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    const struct sockaddr *sa = (const struct sockaddr *)&v4;
    char out[ACCESSLOG_ADDRESS_BYTES];

    if (inet_pton(AF_INET6, address, &v6.sin6_addr) == 1)
        sa = (const struct sockaddr *)&v6;
    else
        assert_int_equal(inet_pton(AF_INET, address, &v4.sin_addr), 1);
    out[accesslog_address(sa, out)] = '\0';
    assert_string_equal(out, address);
    out[accesslog_network(sa, out)] = '\0';
    assert_string_equal(out, network);
}

static void test_a_network_is_24_or_48_bits(void **state)
{
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    char out[ACCESSLOG_ADDRESS_BYTES];

    (void)state;
    assert_address("203.0.113.77", "203.0.113.0");
    assert_address("2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff", "2001:db8:aaaa::");
    assert_address("::1", "::");
    assert_int_equal(accesslog_network(&none, out), 1);
    assert_int_equal(out[0], '-');
}

static void test_an_address_is_read_as_it_was_written(void **state)
{
    static const char *const good[] = {"203.0.113.77", "2001:db8::1", "::1", "::ffff:10.0.0.1"};
    static const char *const bad[] = {
        "",          "-",       "203.0.113.77, 10.0.0.1",
        "10.0.0",    "[::1]",   "203.0.113.77:80",
        "10.0.0.1 ", "unknown", "2001:0db8:0000:0000:0000:0000:0000:0001:0000:0000:0000"};
    struct sockaddr_storage sa;
    char out[ACCESSLOG_ADDRESS_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(accesslog_parse(slice_of(good[i]), &sa));
        out[accesslog_address((const struct sockaddr *)&sa, out)] = '\0';
        assert_string_equal(out, good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(accesslog_parse(slice_of(bad[i]), &sa));
    assert_false(accesslog_parse((struct slice){0}, &sa));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_says_what_happened),
        cmocka_unit_test(test_a_tunnel_has_bytes_both_ways),
        cmocka_unit_test(test_secrets_in_the_query_are_not_logged),
        cmocka_unit_test(test_any_byte_makes_one_line_of_json),
        cmocka_unit_test(test_what_is_too_long_is_cut),
        cmocka_unit_test(test_an_address_is_read_as_it_was_written),
        cmocka_unit_test(test_a_network_is_24_or_48_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
