/* What comes back: heads, framing, and everything that is no HTTP or contradicts itself. */
#include "upstream_world.h"

#include "base/limits.h"

struct bytes {
    const char *p;
    size_t n;
    bool resets; /* at the end */
};

/* One answer for each connection, then the end of it. */
static void serve_once(struct origin_conn *c, void *user)
{
    const struct bytes *b = user;

    if (!origin_read(c))
        return;
    origin_send(c, b->p, b->n);
    if (b->resets)
        origin_reset(c);
}

static void ask_for(struct client *c, const struct bytes *b, struct upstream_request rq)
{
    world_start(serve_once, (void *)(uintptr_t)b);
    ask(c, rq);
    world_stop();
}

static void ask_text(struct client *c, const char *text)
{
    struct bytes b = {.p = text, .n = strlen(text)};

    ask_for(c, &b, get_request("/"));
}

static void test_framings_are_told_apart(void **state)
{
    static const struct {
        const char *text;
        enum upstream_framing want;
        uint64_t bytes;
        const char *body;
    } row[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", UPSTREAM_LENGTH, 5, "hello"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", UPSTREAM_LENGTH, 0, ""},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", UPSTREAM_LENGTH, 5, "hello"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", UPSTREAM_LENGTH,
         5, "hello"},
        {"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n",
         UPSTREAM_CHUNKED, 0, "hello"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", UPSTREAM_CHUNKED, 0, ""},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Late: 1\r\n\r\n",
         UPSTREAM_CHUNKED, 0, "hi"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: "
         "chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
         UPSTREAM_CHUNKED, 0, "hi"},
        {"HTTP/1.1 200 OK\r\n\r\nhello", UPSTREAM_TO_CLOSE, 0, "hello"},
        {"HTTP/1.1 200 OK\r\n\r\n", UPSTREAM_TO_CLOSE, 0, ""},
        {"HTTP/1.0 200 OK\r\nServer: old\r\n\r\nhello", UPSTREAM_TO_CLOSE, 0, "hello"},
        {"HTTP/1.1 204 No Content\r\n\r\n", UPSTREAM_NO_BODY, 0, ""},
        {"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", UPSTREAM_NO_BODY, 0, ""},
        {"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", UPSTREAM_LENGTH, 2, "hi"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct client c = {0};

        ask_text(&c, row[i].text);
        must_be(&c, UPSTREAM_OK);
        if (c.framing != row[i].want ||
            (c.framing == UPSTREAM_LENGTH && c.body_bytes != row[i].bytes))
            fail_msg("framing %d of %s", (int)c.framing, row[i].text);
        must_have_body(&c, row[i].body);
        if (c.fields.n > 0 && memmem(c.fields.p, c.fields.n, "x-late", 6) != NULL)
            fail_msg("a trailer among the fields");
        client_release(&c);
    }
}

static void test_fields_come_lower_case_and_as_they_are(void **state)
{
    struct client c = {0};

    (void)state;
    ask_text(
        &c,
        "HTTP/1.1 299 Odd\r\nX-One:  a, b \t\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nX-Empty:\r\n"
        "Connection: keep-alive\r\nX-8: \xfe\xff\r\nContent-Length: 0\r\n\r\n");
    must_be(&c, UPSTREAM_OK);
    assert_int_equal(c.status, 299);
    buf_add_char(&c.fields, '\0');
    assert_string_equal(c.fields.p, "x-one: a, b\nset-cookie: a=1\nset-cookie: b=2\nx-empty: \n"
                                    "connection: keep-alive\nx-8: \xfe\xff\ncontent-length: 0\n");
    client_release(&c);
}

static void test_interim_heads_are_told_with_their_fields(void **state)
{
    struct client c = {0};

    (void)state;
    ask_text(&c, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
                 "HTTP/1.1 102 Processing\r\n\r\n"
                 "HTTP/1.1 103 Early Hints\r\nLink: </b>\r\nX: early\r\n\r\n"
                 "HTTP/1.1 200 OK\r\nX: final\r\nContent-Length: 1\r\n\r\n!");
    must_be(&c, UPSTREAM_OK);
    assert_int_equal(c.status, 200);
    buf_add_char(&c.fields, '\0');
    assert_string_equal(c.fields.p, "x: final\ncontent-length: 1\n");
    buf_add_char(&c.interims, '\0');
    assert_string_equal(c.interims.p, "103\nlink: </a>\n102\n103\nlink: </b>\nx: early\n");
    must_have_body(&c, "!");
    client_release(&c);
}

static void test_a_folded_field_is_one_value(void **state)
{
    struct client c = {0};

    (void)state;
    ask_text(&c, "HTTP/1.1 200 OK\r\nX: a\r\n\t b\r\n  c\r\nContent-Length: 0\r\n\r\n");
    must_be(&c, UPSTREAM_OK);
    must_have_field(&c, "x: a b c\n");
    client_release(&c);
}

static void test_redirects_are_not_followed(void **state)
{
    struct client c = {0};
    char text[200];

    (void)state;
    world_start(serve_text, text);
    snprintf(text, sizeof(text),
             "HTTP/1.1 302 Found\r\nLocation: %s/other\r\nContent-Length: 0\r\n\r\n",
             origin_url(world.origin));
    /* it takes the origin's lock, and so the text is the origin's from here on */
    assert_int_equal(origin_requests(world.origin), 0);
    ask(&c, get_request("/first"));
    must_be(&c, UPSTREAM_OK);
    assert_int_equal(c.status, 302);
    world_pass(50);
    assert_int_equal(origin_requests(world.origin), 1);
    client_release(&c);
    world_stop();
}

static void test_contradictions_and_junk_are_refused(void **state)
{
#define ROW(text)                                                                                  \
    {                                                                                              \
        "" text, sizeof(text) - 1, false                                                           \
    }
    static const struct bytes row[] = {
        ROW("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
        ROW("HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello!"),
        ROW("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello"),
        ROW("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello"),
        ROW("HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\nhello"),
        ROW("HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello"),
        ROW("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhello"),
        ROW("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nhello"),
        ROW("HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\nhello"),
        ROW("HTTP/1.1 304 Not Modified\r\nContent-Length: x\r\n\r\n"),
        ROW("HTTP/1.1 200 OK\r\nContent-Length:\r\n 5\r\n\r\nhello"),
        ROW("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        ROW("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
        ROW("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
            "chunked\r\n\r\n0\r\n\r\n"),
        ROW("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nhi"),
        ROW("HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\nContent-Length: 2\r\n\r\nhi"),
        ROW("HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
        ROW("HTTP/1.1 200 OK\r\nTransfer-Encoding: \x0b"
            "chunked\r\n\r\n0\r\n\r\n"),
        ROW("HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\nContent-Length: 2\r\n\r\nhi"),
        ROW("HTTP/1.1 200 OK\r\nX Y: 1\r\nContent-Length: 2\r\n\r\nhi"),
        ROW("HTTP/1.1 200 OK\r\n X: 1\r\nContent-Length: 2\r\n\r\nhi"),
        ROW("HTTP/1.1 200 OK\r\nno colon here\r\nContent-Length: 2\r\n\r\nhi"),
        ROW("HTTP/1.1 200 OK\r\n: nameless\r\nContent-Length: 2\r\n\r\nhi"),
        ROW("HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nhi"),
        ROW("HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nhi"),
        ROW("HTTP/1.1 200 OK\r\nX: a\x01"
            "b\r\nContent-Length: 2\r\n\r\nhi"),
        ROW("HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nhi"),
        ROW("HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nhi"),
        ROW("HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nhi"),
        ROW("HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\nhi"),
        ROW("HTTP/2 200\r\nContent-Length: 2\r\n\r\nhi"),
        ROW("HTTP/3.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
        ROW("http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
        ROW("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
        ROW("ICY 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
        ROW("RTSP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
        ROW("<html>HTTP/0.9 speaks so</html>\r\n\r\n"),
        ROW("\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
        ROW("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\n"),
        ROW("220 smtp.example.com ESMTP\r\n"),
    };
#undef ROW

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct client c = {0};

        ask_for(&c, &row[i], get_request("/"));
        if (c.failure != UPSTREAM_FAILED_GARBAGE || c.has_head || c.received > 0)
            fail_msg("%s (%s), head %d: row %zu: %s", upstream_failure_name(c.failure), c.text,
                     c.has_head, i, row[i].p);
        client_release(&c);
    }
}

/* A chunk size that is none is found out when the head has been told. */
static void test_broken_chunks_break_the_body(void **state)
{
    static const char *const row[] = {
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nhello\r\n0\r\n\r\n",
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: "
         "chunked\r\n\r\nffffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct client c = {0};

        ask_text(&c, row[i]);
        must_be(&c, UPSTREAM_FAILED_TRUNCATED);
        client_release(&c);
    }
}

static void test_truncation_is_seen_in_both_framings(void **state)
{
    static const struct {
        const char *text;
        enum upstream_failure want;
    } row[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello", UPSTREAM_FAILED_TRUNCATED},
        {"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", UPSTREAM_FAILED_TRUNCATED},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello",
         UPSTREAM_FAILED_TRUNCATED},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
         UPSTREAM_FAILED_TRUNCATED},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
         UPSTREAM_FAILED_TRUNCATED},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0",
         UPSTREAM_FAILED_TRUNCATED},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", UPSTREAM_FAILED_TRUNCATED},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
         UPSTREAM_FAILED_TRUNCATED},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n",
         UPSTREAM_FAILED_TRUNCATED},
        {"HTTP/1.1 200 OK\r\nX: y\r\n", UPSTREAM_FAILED_CLOSED},
        {"HTTP/1.1 200 OK\r\nX: ", UPSTREAM_FAILED_CLOSED},
        {"HTTP/1.1 200", UPSTREAM_FAILED_CLOSED},
        {"HTT", UPSTREAM_FAILED_CLOSED},
        {"HTTP/1.1 103 Early Hints\r\n\r\n", UPSTREAM_FAILED_CLOSED},
    };

    (void)state;
    for (size_t i = 0; i < 2 * sizeof(row) / sizeof(row[0]); i++) {
        struct bytes b = {.p = row[i / 2].text, .n = strlen(row[i / 2].text), .resets = i % 2 == 1};
        struct client c = {0};

        ask_for(&c, &b, get_request("/"));
        /* a reset may overtake what was sent, the head too */
        if (c.failure != row[i / 2].want &&
            !(b.resets && !c.has_head && c.failure == UPSTREAM_FAILED_CLOSED))
            fail_msg("%s (%s): row %zu: %s", upstream_failure_name(c.failure), c.text, i, b.p);
        client_release(&c);
    }
}

/* A body that only the end of the connection ends is not whole when that end is a reset. */
static void serve_to_close_then_reset(struct origin_conn *c, void *user)
{
    (void)user;
    if (origin_read(c) && origin_say(c, "HTTP/1.1 200 OK\r\n\r\nhello") && origin_wait_gate(c))
        origin_reset(c);
}

static void test_a_reset_ends_no_body(void **state)
{
    struct client c = {0};

    (void)state;
    world_start(serve_to_close_then_reset, NULL);
    assert_int_equal(client_start(&c, get_request("/")), ERR_OK);
    client_wait_head(&c);
    origin_open_gate(world.origin);
    client_wait(&c);
    must_be(&c, UPSTREAM_FAILED_TRUNCATED);
    client_release(&c);
    world_stop();
}

enum { BIG_HEAD = 4 * LIMIT_RESPONSE_HEAD_BYTES };

static void ask_for_big_head(struct client *c, size_t fields, size_t value_bytes)
{
    char *p = malloc(BIG_HEAD + fields * (value_bytes + 16));
    size_t n = (size_t)sprintf(p, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n");
    struct bytes b;

    for (size_t i = 0; i < fields; i++) {
        n += (size_t)sprintf(p + n, "x-%zu: ", i);
        memset(p + n, 'v', value_bytes);
        n += value_bytes;
        n += (size_t)sprintf(p + n, "\r\n");
    }
    n += (size_t)sprintf(p + n, "\r\n");
    b = (struct bytes){.p = p, .n = n};
    ask_for(c, &b, get_request("/"));
    free(p);
}

static void test_heads_have_a_ceiling(void **state)
{
    static const struct {
        size_t fields, value_bytes;
        enum upstream_failure want;
    } row[] = {
        {LIMIT_RESPONSE_FIELDS - 1, 100, UPSTREAM_OK},
        {LIMIT_RESPONSE_FIELDS, 1, UPSTREAM_FAILED_GARBAGE},
        {1, LIMIT_RESPONSE_HEAD_BYTES - 100, UPSTREAM_OK},
        {1, LIMIT_RESPONSE_HEAD_BYTES, UPSTREAM_FAILED_GARBAGE},
        {4, LIMIT_RESPONSE_HEAD_BYTES / 4, UPSTREAM_FAILED_GARBAGE},
        {1, 3 * LIMIT_RESPONSE_HEAD_BYTES,
         UPSTREAM_FAILED_GARBAGE}, /* above libcurl's own 100 KiB a line */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct client c = {0};

        ask_for_big_head(&c, row[i].fields, row[i].value_bytes);
        if (c.failure != row[i].want)
            fail_msg("%s: row %zu: %s", upstream_failure_name(c.failure), i, c.text);
        client_release(&c);
    }
}

static void serve_endless(struct origin_conn *c, void *user)
{
    if (!origin_read(c) || !origin_say(c, "HTTP/1.1 103 Early Hints\r\n"))
        return;
    while (origin_say(c, user))
        continue;
}

static void test_a_head_without_end_ends(void **state)
{
    static const char *const row[] = {"x: y\r\n", "xxxxxxxxxxxxxxxx",
                                      "\r\nHTTP/1.1 103 Early Hints\r\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct client c = {0};

        world_start(serve_endless, (void *)(uintptr_t)row[i]);
        ask(&c, get_request("/"));
        must_be(&c, UPSTREAM_FAILED_GARBAGE);
        client_release(&c);
        world_stop();
    }
}

/* What is more than the length is never given, and never taken for the next answer. */
static void serve_surplus(struct origin_conn *c, void *user)
{
    while (origin_read(c) && origin_say(c, user))
        continue;
}

static void test_surplus_bytes_cost_the_connection(void **state)
{
    static const struct {
        const char *text, *body;
    } row[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: "
         "4\r\n\r\nevil",
         "hi"},
        {"HTTP/1.1 304 Not Modified\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", ""},
        {"HTTP/1.1 204 No Content\r\nContent-Length: 44\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: "
         "4\r\n\r\nevil",
         ""},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nHTTP/1.1 200 "
         "OK\r\nContent-Length: "
         "4\r\n\r\nevil",
         "hi"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: "
         "4\r\n\r\nevil",
         ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        world_start(serve_surplus, (void *)(uintptr_t)row[i].text);
        for (unsigned n = 1; n <= 3; n++) {
            struct client c = {0};

            ask(&c, get_request("/"));
            must_be(&c, UPSTREAM_OK);
            must_have_body(&c, row[i].body);
            client_release(&c);
            if (origin_connections(world.origin) != n)
                fail_msg("row %zu: %u connections for %u requests", i,
                         origin_connections(world.origin), n);
        }
        world_stop();
    }
}

static void test_head_has_no_body_whatever_it_says(void **state)
{
    static const char *const row[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct bytes b = {.p = row[i], .n = strlen(row[i])};
        struct upstream_request rq = get_request("/");
        struct client c = {0};

        rq.method = SLICE("HEAD");
        ask_for(&c, &b, rq);
        must_be(&c, UPSTREAM_OK);
        assert_int_equal(c.framing, UPSTREAM_NO_BODY);
        assert_int_equal(c.received, 0);
        client_release(&c);
    }
}

static void test_content_codings_pass_untouched(void **state)
{
    struct client c = {0};

    (void)state;
    ask_text(&c, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\n\r\nno gzip");
    must_be(&c, UPSTREAM_OK);
    must_have_body(&c, "no gzip");
    client_release(&c);
}

static void test_a_large_body_comes_whole(void **state)
{
    size_t bytes = 3 << 20;
    char *p = malloc(bytes + 100);
    size_t n = (size_t)sprintf(p, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", bytes);
    struct bytes b = {.p = p, .n = n + bytes};
    struct client c = {0};

    (void)state;
    for (size_t i = 0; i < bytes; i++)
        p[n + i] = (char)(i * 2654435761u >> 24);
    ask_for(&c, &b, get_request("/"));
    must_be(&c, UPSTREAM_OK);
    assert_int_equal(c.received, bytes);
    assert_memory_equal(c.body.p, p + n, bytes);
    client_release(&c);
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_framings_are_told_apart),
        cmocka_unit_test(test_fields_come_lower_case_and_as_they_are),
        cmocka_unit_test(test_interim_heads_are_told_with_their_fields),
        cmocka_unit_test(test_a_folded_field_is_one_value),
        cmocka_unit_test(test_redirects_are_not_followed),
        cmocka_unit_test(test_contradictions_and_junk_are_refused),
        cmocka_unit_test(test_broken_chunks_break_the_body),
        cmocka_unit_test(test_truncation_is_seen_in_both_framings),
        cmocka_unit_test(test_a_reset_ends_no_body),
        cmocka_unit_test(test_heads_have_a_ceiling),
        cmocka_unit_test(test_a_head_without_end_ends),
        cmocka_unit_test(test_surplus_bytes_cost_the_connection),
        cmocka_unit_test(test_head_has_no_body_whatever_it_says),
        cmocka_unit_test(test_content_codings_pass_untouched),
        cmocka_unit_test(test_a_large_body_comes_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
