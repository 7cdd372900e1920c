#include "server_h2.h"

static void test_an_ordinary_request_is_answered(void **state)
{
    struct h2 h;
    struct h2_block b;
    struct h2_answer a;

    (void)state;
    h2_start(&h);
    h2_request(&b, "GET", "/target?x=1");
    h2_field(&b, "accept", "*/*");
    h2_wait(&h, h2_ask(&h, &b, H2_END_STREAM), &a);
    assert_string_equal(a.status, "200");
    assert_string_equal(a.body, "GET /target?x=1 a.test accept=*/*");
    h2_end(&h);
}

/* `field` takes the place of the pseudo-field of its name; "" leaves it out. */
static void build(struct h2_block *b, const char *name, const char *value)
{
    static const char *const usual[][2] = {
        {":method", "GET"}, {":scheme", "https"}, {":authority", "a.test"}, {":path", "/target"}};

    b->n = 0;
    for (size_t i = 0; i < 4; i++) {
        bool is_it = strcmp(usual[i][0], name) == 0;

        if (!is_it || value[0] != '\0')
            h2_field(b, usual[i][0], is_it ? value : usual[i][1]);
    }
}

static void test_pseudo_fields_are_held_to_the_letter(void **state)
{
    static const struct {
        const char *name, *value, *extra_name, *extra_value, *status;
    } cases[] = {
        {":path", "/target", NULL, NULL, "200"},
        {":path", "/with space", NULL, NULL, "400"},
        {":path", "/tab\there", NULL, NULL, "400"},
        {":path", "no-slash", NULL, NULL, "400"},
        {":path", "*", NULL, NULL, "400"},
        {":method", "G T", NULL, NULL, "400"},
        {":scheme", "http", NULL, NULL, "400"},
        {":scheme", "ftp", NULL, NULL, "400"},
        {":authority", "", NULL, NULL, "400"},
        {":authority", "", "host", "a.test", "200"},
        {":authority", "a.test", "host", "A.test", "200"},
        {":authority", "a.test", "host", "b.test", "400"},
        {":path", "/target", "content-length", "5", "400"}, /* and no body comes */
        {":path", "/target", "content-length", "0", "200"},
    };
    struct h2 h;
    struct h2_block b;
    struct h2_answer a;

    (void)state;
    h2_start(&h);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        build(&b, cases[i].name, cases[i].value);
        if (cases[i].extra_name != NULL)
            h2_field(&b, cases[i].extra_name, cases[i].extra_value);
        h2_wait(&h, h2_ask(&h, &b, H2_END_STREAM), &a);
        if (strcmp(a.status, cases[i].status) != 0)
            fail_msg("%s %s: %s (frame %u, error %u)", cases[i].name, cases[i].value, a.status,
                     a.type, a.error);
    }
    h2_end(&h);
}

static void test_two_hosts_are_refused_and_one_is_not_a_field(void **state)
{
    struct h2 h;
    struct h2_block b;
    struct h2_answer a;

    (void)state;
    h2_start(&h);
    build(&b, ":authority", "");
    h2_field(&b, "host", "a.test");
    h2_wait(&h, h2_ask(&h, &b, H2_END_STREAM), &a);
    assert_string_equal(a.body, "GET /target a.test");
    h2_field(&b, "host", "a.test");
    h2_wait(&h, h2_ask(&h, &b, H2_END_STREAM), &a);
    assert_string_equal(a.status, "400");
    h2_end(&h);
}

static void test_cookie_crumbs_are_joined_and_count_once(void **state)
{
    struct h2 h;
    struct h2_block b;
    struct h2_answer a;

    (void)state;
    h2_start(&h);
    h2_request(&b, "GET", "/target");
    h2_field(&b, "cookie", "a=1");
    h2_field(&b, "accept", "x");
    h2_field(&b, "cookie", "b=2");
    h2_field(&b, "cookie", "c=3");
    h2_wait(&h, h2_ask(&h, &b, H2_END_STREAM), &a);
    assert_string_equal(a.body, "GET /target a.test cookie=a=1; b=2; c=3 accept=x");
    for (int i = 0; i < 240; i++)
        h2_field(&b, "cookie", "d=4");
    h2_wait(&h, h2_ask(&h, &b, H2_END_STREAM), &a);
    assert_string_equal(a.status, "200");
    h2_end(&h);
}

static void test_more_than_100_fields_get_a_431_on_their_stream(void **state)
{
    struct h2 h;
    struct h2_block b;
    struct h2_answer a;

    (void)state;
    h2_start(&h);
    for (int fields = 100; fields <= 101; fields++) {
        h2_request(&b, "GET", "/");
        for (int i = 0; i < fields; i++)
            h2_field(&b, "x", "y");
        h2_wait(&h, h2_ask(&h, &b, H2_END_STREAM), &a);
        assert_string_equal(a.status, fields == 100 ? "200" : "431");
    }
    h2_end(&h);
}

static void assert_calmed(const struct h2_block *b)
{
    struct h2 h;
    struct h2_answer a;
    uint64_t before = metrics_get(METRIC_GUARD_HEADER_BLOCK);

    h2_start(&h);
    h2_wait(&h, h2_ask(&h, b, H2_END_STREAM), &a);
    assert_int_equal(a.type, H2_GOAWAY);
    assert_int_equal(a.error, 11);
    assert_int_equal(world.requests, 0);
    assert_int_equal(metrics_get(METRIC_GUARD_HEADER_BLOCK), before + 1);
    h2_end(&h);
}

static void test_header_bombs_are_refused_before_they_are_decoded(void **state)
{
    struct h2_block b;

    (void)state;
    h2_request(&b, "GET", "/");
    memset(b.p + b.n, 0x90, 10000); /* one-byte references */
    b.n += 10000;
    assert_calmed(&b);
    h2_request(&b, "GET", "/");
    for (int i = 0; i < 300; i++)
        h2_field(&b, "x", "y");
    assert_calmed(&b);
}

static void test_a_block_in_too_many_pieces_is_refused(void **state)
{
    struct h2 h;
    struct h2_block b;
    struct h2_answer a;

    (void)state;
    h2_start(&h);
    h2_request(&b, "GET", "/");
    h2_frame(&h, H2_HEADERS, H2_END_STREAM, 1, b.p, b.n);
    for (int i = 0; i < 33; i++)
        h2_frame(&h, H2_CONTINUATION, 0, 1, NULL, 0);
    h2_wait(&h, 1, &a);
    assert_int_equal(a.type, H2_GOAWAY);
    assert_int_equal(a.error, 11);
    h2_end(&h);
}

static void test_a_block_of_17_kib_is_refused_while_it_comes(void **state)
{
    static char p[16000];
    struct h2 h;
    struct h2_answer a;

    (void)state;
    h2_start(&h);
    h2_frame(&h, H2_HEADERS, H2_END_STREAM, 1, p, sizeof(p));
    h2_frame(&h, H2_CONTINUATION, 0, 1, p, 1000);
    h2_wait(&h, 1, &a);
    assert_int_equal(a.type, H2_GOAWAY);
    assert_int_equal(a.error, 11);
    h2_end(&h);
}

static void test_a_block_in_few_pieces_is_taken(void **state)
{
    struct h2 h;
    struct h2_block b;
    struct h2_answer a;

    (void)state;
    h2_start(&h);
    h2_request(&b, "GET", "/");
    h2_frame(&h, H2_HEADERS, H2_END_STREAM, 1, b.p, 10);
    for (size_t i = 10; i < b.n; i += 10)
        h2_frame(&h, H2_CONTINUATION, i + 10 >= b.n ? H2_END_HEADERS : 0, 1, b.p + i,
                 b.n - i < 10 ? b.n - i : 10);
    h2_wait(&h, 1, &a);
    assert_string_equal(a.status, "200");
    h2_end(&h);
}

static void test_a_length_over_the_limit_gets_a_413_and_the_connection_lives_on(void **state)
{
    struct h2 h;
    struct h2_block b;
    struct h2_answer a;

    (void)state;
    h2_start(&h);
    h2_request(&b, "POST", "/echo");
    h2_field(&b, "content-length", "1048577");
    h2_wait(&h, h2_ask(&h, &b, 0), &a);
    assert_string_equal(a.status, "413");
    assert_non_null(strstr(a.body, "limit of 1048576 bytes"));
    h2_request(&b, "GET", "/");
    h2_wait(&h, h2_ask(&h, &b, H2_END_STREAM), &a);
    assert_string_equal(a.status, "200");
    h2_end(&h);
}

/* All frames in one write, so that the body has arrived before the answer is out. */
static void test_a_413_survives_the_body_that_comes_with_its_head(void **state)
{
    static char p[100000];
    struct h2 h;
    struct h2_block b;
    struct h2_answer a;
    size_t n = 0;

    (void)state;
    h2_start(&h);
    for (int round = 0; round < 3; round++) {
        uint32_t stream = h.next_stream;

        h2_request(&b, "POST", "/echo");
        h2_field(&b, "content-length", "1048577");
        n = h2_put(p, H2_HEADERS, H2_END_HEADERS, stream, b.p, b.n);
        for (int i = 0; i < 5;
             i++) /* 50,000 of the 65,535 that the connection's window has at first */
            n += h2_put(p + n, H2_DATA, 0, stream, NULL, 10000);
        h.next_stream += 2;
        SSL_write(h.ssl, p, (int)n);
        h2_wait(&h, stream, &a);
        assert_string_equal(a.status, "413");
        assert_non_null(strstr(a.body, "limit of 1048576 bytes"));
    }
    assert_int_equal(world.requests, 0);
    h2_end(&h);
}

static void test_what_was_thrown_away_is_given_back_to_the_window(void **state)
{
    static char p[100000];
    struct h2 h;
    struct h2_block b;
    unsigned char head[9], payload[20000];
    size_t n;

    (void)state;
    h2_start(&h);
    h2_request(&b, "POST", "/echo");
    h2_field(&b, "content-length", "1048577");
    /* one TLS record, so one read */
    n = h2_put(p, H2_HEADERS, H2_END_HEADERS, 1, b.p, b.n);
    n += h2_put(p + n, H2_DATA, 0, 1, NULL, 15000);
    SSL_write(h.ssl, p, (int)n);
    do { /* WINDOW_UPDATE of the connection, to 16 MiB, with the first frame after stream 1 has died
          */
        h2_frame(&h, H2_PING, 0, 0, "12345678",
                 8); /* is answered, so there is always one to read */
        assert_true(h2_read(&h, head, sizeof(head)));
        assert_true(h2_read(&h, payload, ((size_t)head[1] << 8) | head[2]));
    } while (head[3] != H2_WINDOW_UPDATE);
    assert_memory_equal(head + 5, "\0\0\0\0", 4);
    assert_int_equal(((uint32_t)payload[0] << 24) | ((uint32_t)payload[1] << 16) |
                         ((uint32_t)payload[2] << 8) | payload[3],
                     (16 << 20) - 65535 + 15000);
    h2_end(&h);
}

static void test_a_body_without_a_length_gets_its_413_at_the_limit(void **state)
{
    static char part[16000];
    struct h2 h;
    struct h2_block b;
    struct h2_answer a;
    uint32_t stream;

    (void)state;
    h2_start(&h);
    h2_request(&b, "POST", "/echo");
    stream = h2_ask(&h, &b, 0);
    for (int i = 0; i < 70; i++)
        h2_frame(&h, H2_DATA, i == 69 ? H2_END_STREAM : 0, stream, part, sizeof(part));
    h2_wait(&h, stream, &a);
    if (strcmp(a.status, "413") != 0)
        fail_msg("%s: frame %u, error %u", a.status, a.type, a.error);
    stream = h2_ask(&h, &b, 0);
    for (int i = 0; i < 65; i++)
        h2_frame(&h, H2_DATA, i == 64 ? H2_END_STREAM : 0, stream, part, sizeof(part));
    h2_wait(&h, stream, &a);
    assert_memory_equal(a.body, "1040000 bytes", 13);
    assert_int_equal(world.requests, 1);
    h2_end(&h);
}

static void test_trailers_do_not_become_fields(void **state)
{
    struct h2 h;
    struct h2_block b, trailers = {.n = 0};
    struct h2_answer a;
    uint32_t stream;

    (void)state;
    h2_start(&h);
    h2_request(&b, "POST", "/target");
    h2_field(&b, "x-head", "yes");
    stream = h2_ask(&h, &b, 0);
    h2_frame(&h, H2_DATA, 0, stream, "abc", 3);
    h2_field(&trailers, "x-trailer", "no");
    h2_frame(&h, H2_HEADERS, H2_END_STREAM | H2_END_HEADERS, stream, trailers.p, trailers.n);
    h2_wait(&h, stream, &a);
    assert_string_equal(a.body, "POST /target a.test x-head=yes");
    h2_end(&h);
}

static void test_unknown_frames_are_swallowed_in_silence(void **state)
{
    struct h2 h;
    struct h2_block b;
    struct h2_answer a;
    char path[300], line[100] = "";
    int saved = dup(2);
    FILE *f;

    (void)state;
    h2_start(&h);
    snprintf(path, sizeof(path), "%s", certs_path("stderr"));
    assert_non_null(freopen(path, "w", stderr));
    h2_frame(&h, 0x10, 0, 0, "\0\0\0\1u=3", 7); /* PRIORITY_UPDATE: Chrome and Firefox */
    h2_frame(&h, 0xba, 0xff, 77, "grease", 6);
    h2_frame(&h, 0x0b, 0, 1, NULL, 0);
    h2_request(&b, "GET", "/");
    h2_wait(&h, h2_ask(&h, &b, H2_END_STREAM), &a);
    fflush(stderr);
    dup2(saved, 2);
    close(saved);
    assert_string_equal(a.status, "200");
    f = fopen(path, "r");
    assert_null(fgets(line, sizeof(line), f));
    fclose(f);
    h2_end(&h);
}

static void test_a_continuation_after_the_drain_does_not_catch_the_loop(void **state)
{
    struct h2 h;
    struct h2_block b;
    struct h2_answer a;
    int64_t beat;

    (void)state;
    h2_start(&h);
    h2_request(&b, "GET", "/hold");
    h2_ask(&h, &b, H2_END_STREAM); /* keeps the connection open */
    WAIT_FOR(world.requests == 1);
    h2_request(&b, "GET", "/");
    h2_frame(&h, H2_HEADERS, H2_END_STREAM, 3, b.p, b.n);
    worker_drain(&world.worker);
    beat = clock_mono_ms() + 1300; /* the second GOAWAY comes after a second */
    WAIT_FOR(world.worker.heartbeat_ms > beat);
    h2_frame(&h, H2_CONTINUATION, 0, 3, NULL, 0);
    h2_wait(&h, 3, &a);
    assert_true(a.type == 99 || a.type == H2_GOAWAY);
    beat = world.worker.heartbeat_ms;
    WAIT_FOR(world.worker.heartbeat_ms > beat);
    h2_end(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_ordinary_request_is_answered),
        cmocka_unit_test(test_pseudo_fields_are_held_to_the_letter),
        cmocka_unit_test(test_two_hosts_are_refused_and_one_is_not_a_field),
        cmocka_unit_test(test_cookie_crumbs_are_joined_and_count_once),
        cmocka_unit_test(test_more_than_100_fields_get_a_431_on_their_stream),
        cmocka_unit_test(test_header_bombs_are_refused_before_they_are_decoded),
        cmocka_unit_test(test_a_block_in_too_many_pieces_is_refused),
        cmocka_unit_test(test_a_block_of_17_kib_is_refused_while_it_comes),
        cmocka_unit_test(test_a_block_in_few_pieces_is_taken),
        cmocka_unit_test(test_a_length_over_the_limit_gets_a_413_and_the_connection_lives_on),
        cmocka_unit_test(test_a_413_survives_the_body_that_comes_with_its_head),
        cmocka_unit_test(test_what_was_thrown_away_is_given_back_to_the_window),
        cmocka_unit_test(test_a_body_without_a_length_gets_its_413_at_the_limit),
        cmocka_unit_test(test_trailers_do_not_become_fields),
        cmocka_unit_test(test_unknown_frames_are_swallowed_in_silence),
        cmocka_unit_test(test_a_continuation_after_the_drain_does_not_catch_the_loop),
    };

    return cmocka_run_group_tests(tests, certs_setup, certs_teardown);
}
