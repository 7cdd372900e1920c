#include "server_world.h"

static const struct {
    const char *name, *request, *status;
} cases[] = {
    {"plain", "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", "200"},
    {"http/1.0 without host", "GET / HTTP/1.0\r\n\r\n", "200"},
    {"empty line in front", "\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "200"},
    {"bare LF", "GET / HTTP/1.1\nHost: a\n\n", "400"},
    {"bare LF in one line", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", "400"},
    {"fold", "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", "400"},
    {"space before colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400"},
    {"no colon", "GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n", "400"},
    {"name is no token", "GET / HTTP/1.1\r\nHost: a\r\nX(y): z\r\n\r\n", "400"},
    {"control in value", "GET / HTTP/1.1\r\nHost: a\r\nX: \001\r\n\r\n", "400"},
    {"bare CR in value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", "400"},
    {"two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
     "400"},
    {"length with sign", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx", "400"},
    {"length list", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx", "400"},
    {"length empty", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nx", "400"},
    {"length and chunks",
     "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: "
     "chunked\r\n\r\n0\r\n\r\n",
     "400"},
    {"gzip, chunked",
     "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "400"},
    {"two codings",
     "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: "
     "chunked\r\n\r\n0\r\n\r\n",
     "400"},
    {"chunks in 1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     "400"},
    {"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400"},
    {"no host", "GET / HTTP/1.1\r\n\r\n", "400"},
    {"http/1.9", "GET / HTTP/1.9\r\nHost: a\r\n\r\n", "400"},
    {"http/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "400"},
    {"two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
    {"tab for space", "GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n", "400"},
    {"method no token", "G@T / HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
    {"no slash", "GET index HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
    {"ftp target", "GET ftp://a/x HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
    {"absolute, other host", "GET http://b/target HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
    {"star for GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
    {"preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"},
};

static void test_only_heads_to_the_letter_reach_the_handler(void **state)
{
    char out[4096], want[32];

    (void)state;
    world_start(NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unsigned before = world.requests;

        ask(cases[i].request, out, sizeof(out));
        snprintf(want, sizeof(want), "HTTP/1.1 %s ", cases[i].status);
        if (strncmp(out, want, strlen(want)) != 0)
            fail_msg("%s: %s", cases[i].name, out);
        assert_int_equal(world.requests - before, cases[i].status[0] == '2');
    }
    world_end();
}

static void test_absolute_form_becomes_origin_form(void **state)
{
    char out[4096];

    (void)state;
    world_start(NULL);
    ask("GET http://A.test/target?q=1 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", out,
        sizeof(out));
    assert_non_null(strstr(out, "GET /target?q=1 a.test"));
    ask("GET http://a.test HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", out,
        sizeof(out));
    assert_non_null(strstr(out, "\r\n\r\nok"));
    ask("OPTIONS * HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", out, sizeof(out));
    assert_non_null(strstr(out, "OPTIONS * a.test"));
    world_end();
}

static void test_a_head_may_have_100_fields_and_16_kib(void **state)
{
    static char request[40000], out[40000];
    char *at;

    (void)state;
    world_start(NULL);
    for (int fields = 100; fields <= 101; fields++) {
        at = request + sprintf(request, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
        for (int i = 2; i < fields; i++)
            at += sprintf(at, "X-%d: y\r\n", i);
        strcpy(at, "\r\n");
        ask(request, out, sizeof(out));
        assert_memory_equal(out, fields == 100 ? "HTTP/1.1 200" : "HTTP/1.1 431", 12);
    }
    for (size_t bytes = 16384; bytes <= 16385; bytes++) {
        at = request + sprintf(request, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: ");
        memset(at, 'x', sizeof(request) - (size_t)(at - request));
        strcpy(request + bytes - 4, "\r\n\r\n");
        ask(request, out, sizeof(out));
        assert_memory_equal(out, bytes == 16384 ? "HTTP/1.1 200" : "HTTP/1.1 431", 12);
    }
    /* one that never ends is refused as soon as it is too long */
    at = request + sprintf(request, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
    memset(at, 'x', sizeof(request) - (size_t)(at - request));
    request[17000] = '\0';
    ask(request, out, sizeof(out));
    assert_memory_equal(out, "HTTP/1.1 431", 12);
    /* and the next is told what is wrong with it */
    ask("GET / HTTP/1.1\r\nHost : a\r\n\r\n", out, sizeof(out));
    assert_memory_equal(out, "HTTP/1.1 400", 12);
    world_end();
}

static void test_chunks_are_decoded_to_the_letter(void **state)
{
    static const struct {
        const char *body, *answer;
    } chunked[] = {
        {"3\r\nabc\r\n0\r\n\r\n", "3 bytes: abc"},
        {"3\r\nabc\r\nA\r\n0123456789\r\n0\r\nX: y\r\nZ:\r\n\r\n", "13 bytes: abc0123456789"},
        {"0\r\n\r\n", "0 bytes: "},
        {"3;x=1\r\nabc\r\n0\r\n\r\n", NULL},
        {"3\nabc\r\n0\r\n\r\n", NULL},
        {"3\r\nabc\n0\r\n\r\n", NULL},
        {"3\r\nabcd\r\n0\r\n\r\n", NULL},
        {"\r\nabc\r\n0\r\n\r\n", NULL},
        {"3 \r\nabc\r\n0\r\n\r\n", NULL},
        {"0\r\n\n", NULL},
        {"0\r\nX: \001\r\n\r\n", NULL},
        {"0\r\n X: y\r\n\r\n", NULL},
        {"1234567890123456\r\n", NULL},
        {"0x3\r\nabc\r\n0\r\n\r\n", NULL},
    };
    char request[1000], out[4096];

    (void)state;
    world_start(NULL);
    for (size_t i = 0; i < sizeof(chunked) / sizeof(chunked[0]); i++) {
        sprintf(request,
                "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: "
                "close\r\n\r\n%s",
                chunked[i].body);
        ask(request, out, sizeof(out));
        if (strstr(out, chunked[i].answer == NULL ? "HTTP/1.1 400" : chunked[i].answer) == NULL)
            fail_msg("%s: %s", chunked[i].body, out);
    }
    world_end();
}

static void test_chunks_may_come_byte_by_byte_with_a_request_behind(void **state)
{
    static const char text[] =
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n5\r\ndefgh\r\n0\r\nT: v\r\n\r\n"
        "GET /target HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n";
    char out[4096];
    int fd;

    (void)state;
    world_start(NULL);
    fd = client_connect(0);
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        client_send(fd, text + i, 1);
        poll(NULL, 0, i % 10 == 0); /* so that they really arrive apart */
    }
    client_read(fd, out, sizeof(out), NULL);
    assert_non_null(strstr(out, "8 bytes: abcdefgh"));
    assert_non_null(strstr(out, "GET /target b"));
    close(fd);
    world_end();
}

static void test_a_body_over_the_limit_is_told_so(void **state)
{
    char out[4096];

    (void)state;
    world_start(NULL);
    ask("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n", out, sizeof(out));
    assert_memory_equal(out, "HTTP/1.1 413", 12);
    assert_non_null(strstr(out, "limit of 1048576 bytes"));
    assert_int_equal(metrics_get(METRIC_GUARD_BODY_SIZE), 1);
    world_end();
}

static void test_every_status_of_unknown_length_is_chunked(void **state)
{
    char out[4096];
    int fd;

    (void)state;
    world_start(NULL);
    fd = client_connect(0);
    client_say(fd, "GET /404 HTTP/1.1\r\nHost: a\r\n\r\n");
    client_read(fd, out, sizeof(out), "0\r\n\r\n");
    assert_memory_equal(out, "HTTP/1.1 404", 12);
    assert_non_null(strcasestr(out, "transfer-encoding: chunked"));
    assert_non_null(strstr(out, "4\r\nnot \r\n6\r\nfound\n\r\n0\r\n\r\n"));
    client_say(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client_read(fd, out, sizeof(out), "\r\n\r\nok");
    assert_non_null(strstr(out, "\r\n\r\nok")); /* the connection lives on */
    client_say(fd, "GET /cut HTTP/1.1\r\nHost: a\r\n\r\n");
    client_read(fd, out, sizeof(out), NULL); /* and this one ends it, without a last chunk */
    assert_non_null(strstr(out, "4\r\nnot \r\n"));
    assert_null(strstr(out, "0\r\n\r\n"));
    close(fd);
    world_end();
}

static void test_one_counter_tells_what_was_refused(void **state)
{
    char out[4096];
    uint64_t before = metrics_get(METRIC_GUARD_H1);

    (void)state;
    world_start(NULL);
    ask("GET / HTTP/1.1\n\n", out, sizeof(out));
    assert_int_equal(metrics_get(METRIC_GUARD_H1), before + 1);
    world_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_heads_to_the_letter_reach_the_handler),
        cmocka_unit_test(test_absolute_form_becomes_origin_form),
        cmocka_unit_test(test_a_head_may_have_100_fields_and_16_kib),
        cmocka_unit_test(test_chunks_are_decoded_to_the_letter),
        cmocka_unit_test(test_chunks_may_come_byte_by_byte_with_a_request_behind),
        cmocka_unit_test(test_a_body_over_the_limit_is_told_so),
        cmocka_unit_test(test_every_status_of_unknown_length_is_chunked),
        cmocka_unit_test(test_one_counter_tells_what_was_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
