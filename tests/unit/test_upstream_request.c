/* What goes out: byte for byte what was asked for, and nothing of libcurl's. */
#include "upstream_world.h"

static const char *const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

static struct http_fields fields_of(struct arena *a, const char *const (*pairs)[2], size_t n)
{
    struct http_fields f = {0};

    for (size_t i = 0; i < n; i++)
        assert_int_equal(http_fields_add(&f, a, 100, slice_of(pairs[i][0]), slice_of(pairs[i][1])),
                         ERR_OK);
    return f;
}

static void must_ask(struct upstream_request rq, const char *want)
{
    struct client c = {0};
    unsigned before;

    before = origin_requests(world.origin);
    ask(&c, rq);
    must_be(&c, UPSTREAM_OK);
    assert_string_equal(origin_request(world.origin, before), want);
    client_release(&c);
}

static void test_a_request_is_bytes_and_no_more(void **state)
{
    (void)state;
    world_start(serve_text, (void *)(uintptr_t)ok);
    must_ask(get_request("/a//b/../%7e?x=1&&y"),
             "GET /a//b/../%7e?x=1&&y HTTP/1.1\r\nHost: www.example.com\r\n\r\n");
    must_ask(get_request("/./#%zz?\xc3\xa9"),
             "GET /./#%zz?\xc3\xa9 HTTP/1.1\r\nHost: www.example.com\r\n\r\n");
    world_stop();
}

static void test_fields_go_out_as_they_are_in_order(void **state)
{
    static const char *const pairs[][2] = {
        {"x-b", "1"},        {"x-a", " two \t"}, {"x-empty", ""},    {"x-b", "2, \"q;\""},
        {"user-agent", "u"}, {"accept", "*/*"},  {"x-8bit", "\xff"}, {"cookie", "a=b; c"}};
    struct upstream_request rq = get_request("/");
    struct http_fields f;
    struct arena a;

    (void)state;
    arena_init(&a, NULL, 0, 65536);
    f = fields_of(&a, pairs, 8);
    rq.fields = &f;
    world_start(serve_text, (void *)(uintptr_t)ok);
    must_ask(rq, "GET / HTTP/1.1\r\nHost: www.example.com\r\nx-b: 1\r\nx-a: two\r\nx-empty:\r\n"
                 "x-b: 2, \"q;\"\r\nuser-agent: u\r\naccept: */*\r\nx-8bit: \xff\r\n"
                 "cookie: a=b; c\r\n\r\n");
    world_stop();
    arena_release(&a);
}

static void test_framing_and_expect_are_not_the_callers(void **state)
{
    static const char *const pairs[][2] = {
        {"content-length", "7"}, {"transfer-encoding", "chunked"},
        {"connection", "close"}, {"expect", "100-continue"},
        {"host", "other"},       {"x", "1"}};
    struct upstream_request rq = get_request("/");
    struct http_fields f;
    struct arena a;

    (void)state;
    arena_init(&a, NULL, 0, 65536);
    f = fields_of(&a, pairs, 6);
    rq.fields = &f;
    world_start(serve_text, (void *)(uintptr_t)ok);
    must_ask(rq, "GET / HTTP/1.1\r\nHost: www.example.com\r\nx: 1\r\n\r\n");
    world_stop();
    arena_release(&a);
}

static void test_bodies_go_up_with_their_length(void **state)
{
    struct upstream_request rq = get_request("/up");

    (void)state;
    world_start(serve_text, (void *)(uintptr_t)ok);
    rq.method = SLICE("POST");
    rq.has_body = true;
    rq.body = SLICE("a=1\r\n\r\n&b");
    must_ask(rq, "POST /up HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 9\r\n\r\n"
                 "a=1\r\n\r\n&b");
    rq.body = (struct slice){0};
    must_ask(rq, "POST /up HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 0\r\n\r\n");
    rq.method = SLICE("M-SEARCH");
    rq.body = SLICE("x");
    must_ask(rq, "M-SEARCH /up HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 1\r\n\r\nx");
    rq.method = SLICE("DELETE");
    rq.has_body = false;
    must_ask(rq, "DELETE /up HTTP/1.1\r\nHost: www.example.com\r\n\r\n");
    rq.method = SLICE("OPTIONS");
    rq.request_target = SLICE("*");
    must_ask(rq, "OPTIONS * HTTP/1.1\r\nHost: www.example.com\r\n\r\n");
    world_stop();
}

/* libcurl would ask for 100 first, and wait a second. */
static void test_a_large_body_expects_nothing(void **state)
{
    struct upstream_request rq = get_request("/up");
    struct client c = {0};
    size_t bytes = 3 << 20;
    char *body = malloc(bytes);
    const char *got,
        *want = "PUT /up HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 3145728\r\n\r\nb";

    (void)state;
    assert_non_null(body);
    memset(body, 'b', bytes);
    world_start(serve_text, (void *)(uintptr_t)ok);
    rq.method = SLICE("PUT");
    rq.has_body = true;
    rq.body = (struct slice){body, bytes};
    ask(&c, rq);
    must_be(&c, UPSTREAM_OK);
    got = origin_request(world.origin, 0);
    assert_memory_equal(got, want, strlen(want));
    assert_int_equal(strlen(strstr(got, "\r\n\r\n") + 4), bytes);
    client_release(&c);
    world_stop();
    free(body);
}

static void serve_by_method(struct origin_conn *c, void *user)
{
    const char *const *answer = user;

    for (unsigned i = 0; answer[i] != NULL && origin_read(c); i++)
        origin_say(c, answer[i]);
    origin_wait_end(c);
}

/* One easy handle serves all methods in turn: none may leave anything behind. */
static void test_methods_do_not_rub_off(void **state)
{
    static const char *const answer[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npost",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nget",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nput",
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ndelete",
        NULL,
    };
    static const struct {
        const char *method, *body, *want;
    } step[] = {{"HEAD", NULL, ""},   {"POST", "b", "post"}, {"HEAD", NULL, ""},
                {"GET", NULL, "get"}, {"PUT", "bb", "put"},  {"DELETE", NULL, "delete"}};

    (void)state;
    world_start(serve_by_method, (void *)(uintptr_t)answer);
    for (size_t i = 0; i < sizeof(step) / sizeof(step[0]); i++) {
        struct upstream_request rq = get_request("/");
        struct client c = {0};

        rq.method = slice_of(step[i].method);
        rq.has_body = step[i].body != NULL;
        rq.body = slice_of(step[i].body);
        ask(&c, rq);
        must_be(&c, UPSTREAM_OK);
        must_have_body(&c, step[i].want);
        assert_int_equal(c.framing, i == 0 || i == 2 ? UPSTREAM_NO_BODY : UPSTREAM_LENGTH);
        client_release(&c);
    }
    assert_int_equal(origin_connections(world.origin), 1);
    world_stop();
}

/* libcurl knows no HEAD with a body and would wait for the answer's. */
static void test_head_with_a_body_ends_with_its_head(void **state)
{
    struct upstream_request rq = get_request("/");
    struct client c = {0};

    (void)state;
    world_start(serve_text, (void *)(uintptr_t) "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n");
    rq.method = SLICE("HEAD");
    rq.has_body = true;
    rq.body = SLICE("x");
    ask(&c, rq);
    must_be(&c, UPSTREAM_OK);
    assert_int_equal(c.framing, UPSTREAM_NO_BODY);
    assert_int_equal(c.received, 0);
    client_release(&c);
    world_stop();
}

static void test_what_cannot_be_sent_is_refused(void **state)
{
    static const char *const pairs[][2] = {{"x", "a\nb"}, {"x y", "1"}, {"", "1"}, {"x", "a\rb"}};
    static const char *const targets[] = {"", "a", "/a b", "/a\r\nX: 1", "/a\x7f", "http://x/"};
    static const char *const hosts[] = {"",    "a b",  "a\nb", "u@h", "u:p@h", "a/b",   "a?b",
                                        "a#b", "a\\b", "[::1", "a:b", "a:1:2", "[::1]x"};
    struct upstream_request rq;
    struct client c = {0};
    struct arena a;

    (void)state;
    arena_init(&a, NULL, 0, 65536);
    world_start(serve_text, (void *)(uintptr_t)ok);
    for (size_t i = 0; i < 4; i++) {
        struct http_fields f = {0};

        assert_int_equal(http_fields_add(&f, &a, 9, slice_of(pairs[i][0]), slice_of(pairs[i][1])),
                         ERR_OK);
        rq = get_request("/");
        rq.fields = &f;
        assert_int_equal(client_start(&c, rq), ERR_INVALID);
        client_reset(&c);
    }
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        assert_int_equal(client_start(&c, get_request(targets[i])), ERR_INVALID);
        client_reset(&c);
    }
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        rq = get_request("/");
        rq.host = slice_of(hosts[i]);
        assert_int_equal(client_start(&c, rq), ERR_INVALID);
        client_reset(&c);
    }
    rq = get_request("/");
    rq.method = SLICE("GET /x HTTP/1.1\r\nX: 1\r\n\r\nGET");
    assert_int_equal(client_start(&c, rq), ERR_INVALID);
    client_reset(&c);
    rq.method = SLICE("");
    assert_int_equal(client_start(&c, rq), ERR_INVALID);
    client_release(&c);
    assert_int_equal(origin_connections(world.origin), 0);
    world_stop();
    arena_release(&a);
}

static void test_servers_that_are_no_urls_are_refused(void **state)
{
    static const char *const bad[] = {"",           "10.0.0.1",   "ftp://a",        "http://",
                                      "http://a:",  "http://a:0", "http://a:65536", "http://a/x",
                                      "http://u@a", "http://a b", "http://[::1",    "http://a?x"};
    struct upstream_target *t = NULL;

    (void)state;
    world_start(NULL, NULL);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        world.servers[0] = bad[i];
        assert_int_equal(upstream_target_new(&world.opt, &t), ERR_INVALID);
    }
    world.servers[0] = "https://[2001:db8::1]:8443/";
    assert_int_equal(upstream_target_new(&world.opt, &t), ERR_OK);
    upstream_target_unref(t);
    world_stop();
}

/* A proxy of the environment would see everything. */
static void test_the_environment_does_not_count(void **state)
{
    (void)state;
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    world_start(serve_text, (void *)(uintptr_t)ok);
    must_ask(get_request("/"), "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n");
    world_stop();
    unsetenv("http_proxy");
    unsetenv("ALL_PROXY");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request_is_bytes_and_no_more),
        cmocka_unit_test(test_fields_go_out_as_they_are_in_order),
        cmocka_unit_test(test_framing_and_expect_are_not_the_callers),
        cmocka_unit_test(test_bodies_go_up_with_their_length),
        cmocka_unit_test(test_a_large_body_expects_nothing),
        cmocka_unit_test(test_methods_do_not_rub_off),
        cmocka_unit_test(test_head_with_a_body_ends_with_its_head),
        cmocka_unit_test(test_what_cannot_be_sent_is_refused),
        cmocka_unit_test(test_servers_that_are_no_urls_are_refused),
        cmocka_unit_test(test_the_environment_does_not_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
