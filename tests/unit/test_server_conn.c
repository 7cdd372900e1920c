#include <sys/ioctl.h>

#include <semaphore.h>

#include "server/conn.h"
#include "base/limits.h"
#include "server_h2.h"

/* What a test does or looks at on the worker's thread. */
struct later {
    struct reactor_message super;
    int64_t ms;
    bool anew; /* forget what earlier ticks have seen of the newest connection's progress */
    uint64_t bytes_in;
    sem_t done;
};

static void on_later(struct reactor_message *m)
{
    struct later *l = (struct later *)m;

    if (l->anew && world.worker.conns != NULL)
        world.worker.conns->is_outputs_sampled = false;
    if (l->ms >= 0)
        conn_tick(&world.worker, clock_mono_ms() + l->ms);
    l->bytes_in = world.worker.conns == NULL ? 0 : world.worker.conns->bytes_in;
    sem_post(&l->done);
}

static void run_later(struct later *l)
{
    l->super.run = on_later;
    sem_init(&l->done, 0, 0);
    reactor_post(world.worker.reactor, &l->super);
    while (sem_wait(&l->done) != 0)
        continue;
    sem_destroy(&l->done);
}

/* The worker's tick at another time: its clock is an argument. */
static void tick_in(int64_t ms)
{
    struct later l = {.ms = ms};

    run_later(&l);
}

/* Progress is counted from now on: the worker's own ticks have looked before the stall. */
static void tick_anew(void)
{
    struct later l = {.ms = 0, .anew = true};

    run_later(&l);
}

/* What the newest connection has read. */
static uint64_t bytes_in(void)
{
    struct later l = {.ms = -1};

    run_later(&l);
    return l.bytes_in;
}

static bool is_closed(int fd)
{
    char c;
    struct pollfd p = {.fd = fd, .events = POLLIN};

    while (poll(&p, 1, WORLD_WAIT_MS) == 1)
        if (recv(fd, &c, 1, 0) <= 0)
            return true;
    return false;
}

/* Wait until the sender's and our buffers are full: nothing moves for a while. */
static void wait_for_stall(int fd)
{
    int before = -1, now = 0, still = 0;

    while (still < 20) {
        ioctl(fd, FIONREAD, &now);
        still = now == before && now > 0 ? still + 1 : 0;
        before = now;
        poll(NULL, 0, 5);
    }
}

static void read_bytes(int fd, size_t bytes)
{
    static char p[65536];

    while (bytes > 0) {
        ssize_t n = recv(fd, p, bytes < sizeof(p) ? bytes : sizeof(p), 0);

        assert_true(n > 0);
        bytes -= (size_t)n;
    }
}

static void test_a_client_that_does_not_read_is_cut_after_10_s(void **state)
{
    int fd;

    (void)state;
    world_start(NULL);
    fd = client_connect(0);
    client_say(fd, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for_stall(fd);
    tick_anew();
    tick_in(5000);
    assert_int_equal(metrics_get(METRIC_GUARD_SLOW_READER), 0);
    assert_int_equal(world.worker.requests_open, 1);
    tick_in(11000);
    assert_int_equal(metrics_get(METRIC_GUARD_SLOW_READER), 1);
    assert_true(is_closed(fd));
    WAIT_FOR(world.worker.requests_open == 0);
    close(fd);
    world_end();
}

static void test_a_client_that_reads_slowly_is_not_cut(void **state)
{
    int fd;

    (void)state;
    world_start(NULL);
    fd = client_connect(0);
    client_say(fd, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for_stall(fd);
    tick_in(0);
    for (int i = 1; i <= 3; i++) {
        read_bytes(fd, 4 << 20);
        wait_for_stall(fd);
        tick_in(i * 11000);
    }
    assert_int_equal(world.worker.requests_open, 1);
    close(fd);
    world_end();
}

static void test_half_a_head_is_cut_after_10_s(void **state)
{
    uint64_t before = metrics_get(METRIC_GUARD_SLOW_BODY);
    int fd;

    (void)state;
    world_start(NULL);
    fd = client_connect(0);
    client_say(fd, "GET / HTTP/1.1\r\nHo");
    WAIT_FOR(bytes_in() == 18);
    tick_in(0);
    client_say(fd, "st: a\r\nX: "); /* 10 bytes in 10 s are not enough */
    WAIT_FOR(bytes_in() == 28);
    tick_in(9000);
    assert_int_equal(metrics_get(METRIC_GUARD_SLOW_BODY), before);
    tick_in(11000);
    assert_int_equal(metrics_get(METRIC_GUARD_SLOW_BODY), before + 1);
    assert_true(is_closed(fd));
    close(fd);
    world_end();
}

static void test_a_body_of_more_than_1_kib_a_second_is_waited_for(void **state)
{
    static char part[20000], out[200000];
    uint64_t before = metrics_get(METRIC_GUARD_SLOW_BODY), sent;
    int fd;

    (void)state;
    world_start(NULL);
    fd = client_connect(0);
    memset(part, 'p', sizeof(part));
    client_say(
        fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 80000\r\nConnection: close\r\n\r\n");
    WAIT_FOR(bytes_in() > 0);
    sent = bytes_in();
    for (int i = 0; i < 4; i++) {
        tick_in(i * 11000);
        client_send(fd, part, sizeof(part));
        WAIT_FOR(world.requests == 1 || bytes_in() >= sent + (uint64_t)(i + 1) * sizeof(part));
    }
    client_read(fd, out, sizeof(out), NULL);
    assert_non_null(strstr(out, "80000 bytes"));
    assert_int_equal(metrics_get(METRIC_GUARD_SLOW_BODY), before);
    close(fd);
    world_end();
}

static void test_idle_connections_are_closed_after_60_s(void **state)
{
    char out[1000];
    int fd;

    (void)state;
    world_start(NULL);
    fd = client_connect(0);
    client_say(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client_read(fd, out, sizeof(out), "\r\n\r\nok");
    WAIT_FOR(world.worker.requests_open == 0);
    tick_in(59000);
    client_say(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client_read(fd, out, sizeof(out), "\r\n\r\nok");
    WAIT_FOR(world.worker.requests_open == 0);
    tick_in(61000);
    assert_true(is_closed(fd));
    close(fd);
    world_end();
}

static void test_a_connection_is_idle_sooner_when_descriptors_are_short(void **state)
{
    int fd;

    (void)state;
    world_connections_max = 1;
    world_start(NULL);
    world_connections_max = 1000;
    fd = client_connect(0);
    WAIT_FOR(world.worker.conns_count == 1);
    tick_in(11000);
    assert_true(is_closed(fd));
    close(fd);
    world_end();
}

static void test_a_waiting_request_is_not_idle(void **state)
{
    char out[1000];
    int fd;

    (void)state;
    world_start(NULL);
    fd = client_connect(0);
    client_say(fd, "GET /hold HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    WAIT_FOR(world.requests == 1);
    tick_in(3600000);
    world.is_released = true;
    client_read(fd, out, sizeof(out), NULL);
    assert_non_null(strstr(out, "released"));
    close(fd);
    world_end();
}

static void test_rapid_resets_cost_the_connection(void **state)
{
    struct h2 h;
    struct h2_block b;
    struct h2_answer a;

    (void)state;
    h2_start(&h);
    h2_request(&b, "GET", "/hold");
    for (int i = 0; i < 2000; i++) {
        uint32_t stream = h2_ask(&h, &b, H2_END_STREAM);

        h2_frame(&h, H2_RST_STREAM, 0, stream, "\0\0\0\x08", 4);
    }
    h2_wait(&h, 99999, &a);
    assert_int_equal(a.type, 99);
    assert_int_equal(metrics_get(METRIC_GUARD_EARLY_DEATHS), 1);
    assert_true(world.requests <= LIMIT_EARLY_DEATHS + 1); /* whatever came in one read */
    h2_end(&h);
}

static void test_resets_that_we_are_made_to_send_count_too(void **state)
{
    uint64_t before = metrics_get(METRIC_GUARD_EARLY_DEATHS);
    struct h2 h;
    struct h2_block b;
    struct h2_answer a;

    (void)state;
    h2_start(&h);
    h2_request(&b, "GET", "/hold");
    for (int i = 0; i < 2000; i++) {
        uint32_t stream = h2_ask(&h, &b, H2_END_STREAM);

        h2_frame(&h, H2_WINDOW_UPDATE, 0, stream, "\0\0\0\0", 4);
    }
    h2_wait(&h, 99999, &a);
    assert_int_equal(metrics_get(METRIC_GUARD_EARLY_DEATHS), before + 1);
    h2_end(&h);
}

static void test_a_few_resets_cost_nothing(void **state)
{
    struct h2 h;
    struct h2_block b;
    struct h2_answer a;

    (void)state;
    h2_start(&h);
    for (int i = 0; i < 100; i++) {
        uint32_t stream;

        h2_request(&b, "GET", "/hold");
        stream = h2_ask(&h, &b, H2_END_STREAM);
        h2_frame(&h, H2_RST_STREAM, 0, stream, "\0\0\0\x08", 4);
    }
    h2_request(&b, "GET", "/");
    h2_wait(&h, h2_ask(&h, &b, H2_END_STREAM), &a);
    assert_string_equal(a.status, "200");
    h2_end(&h);
}

static void test_unfinished_uploads_of_a_connection_are_bounded(void **state)
{
    static char part[16000];
    uint64_t before = metrics_get(METRIC_GUARD_OPEN_UPLOADS);
    struct h2 h;
    struct h2_block b;
    struct h2_answer a;
    uint64_t sent = 0;

    (void)state;
    h2_start(&h);
    h2_request(&b, "POST", "/echo");
    for (int stream = 1; metrics_get(METRIC_GUARD_OPEN_UPLOADS) == before && stream < 200;
         stream += 2) {
        h2_ask(&h, &b, 0);
        for (int i = 0; i < 60; i++, sent += sizeof(part))
            h2_frame(&h, H2_DATA, 0, (uint32_t)stream, part, sizeof(part));
    }
    h2_wait(&h, 99999, &a);
    assert_int_equal(a.type, 99);
    assert_int_equal(metrics_get(METRIC_GUARD_OPEN_UPLOADS), before + 1);
    assert_true(sent > 4 << 20);
    assert_int_equal(world.requests, 0);
    h2_end(&h);
}

static void test_finished_and_given_up_uploads_do_not_add_up(void **state)
{
    static char part[16000];
    struct h2 h;
    struct h2_block b;
    struct h2_answer a = {.type = 0};

    (void)state;
    h2_start(&h);
    for (int n = 0; n < 12; n++) { /* of 960 KB each */
        uint32_t stream;

        h2_request(&b, "POST", "/echo");
        stream = h2_ask(&h, &b, 0);
        for (int i = 0; i < 60; i++)
            h2_frame(&h, H2_DATA, i == 59 && n % 2 == 0 ? H2_END_STREAM : 0, stream, part,
                     sizeof(part));
        if (n % 2 == 0)
            h2_wait(&h, stream, &a);
        else
            h2_frame(&h, H2_RST_STREAM, 0, stream, "\0\0\0\x08", 4);
    }
    assert_string_equal(a.status, "200");
    assert_memory_equal(a.body, "960000 bytes", 12);
    h2_end(&h);
}

static void test_unfinished_uploads_of_a_worker_are_bounded(void **state)
{
    enum { CLIENTS = 75, BYTES = 1000000 };
    static char part[BYTES];
    uint64_t before = metrics_get(METRIC_GUARD_OPEN_UPLOADS);
    int fd[CLIENTS];

    (void)state;
    world_start(NULL);
    for (int i = 0; i < CLIENTS; i++) {
        fd[i] = client_connect(0);
        client_say(fd[i], "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n");
        client_send(fd[i], part, sizeof(part));
    }
    /* 75 MB are open and 64 MiB allowed: one tick shuts one */
    WAIT_FOR(metrics_get(METRIC_GUARD_OPEN_UPLOADS) >= before + (75000000 - (64 << 20)) / 1100000);
    for (int i = 0; i < CLIENTS; i++)
        close(fd[i]);
    world_end();
}

static void test_an_upload_that_stops_is_cut_in_http2_too(void **state)
{
    uint64_t before = metrics_get(METRIC_GUARD_SLOW_BODY);
    struct h2 h;
    struct h2_block b;
    struct h2_answer a;

    (void)state;
    h2_start(&h);
    h2_request(&b, "POST", "/echo");
    h2_ask(&h, &b, 0);
    h2_frame(&h, H2_DATA, 0, 1, "abc", 3);
    h2_request(&b, "GET", "/");
    h2_wait(&h, h2_ask(&h, &b, H2_END_STREAM), &a); /* so that the first one has arrived */
    assert_string_equal(a.status, "200");
    tick_in(0);
    tick_in(9000);
    assert_int_equal(metrics_get(METRIC_GUARD_SLOW_BODY), before);
    tick_in(11000);
    h2_wait(&h, 1, &a);
    assert_int_equal(a.type, 99);
    assert_int_equal(metrics_get(METRIC_GUARD_SLOW_BODY), before + 1);
    h2_end(&h);
}

static void test_a_closed_window_of_http2_is_no_progress(void **state)
{
    uint64_t before = metrics_get(METRIC_GUARD_SLOW_READER);
    struct h2 h;
    struct h2_block b;
    struct h2_answer a;

    (void)state;
    h2_start(&h);
    h2_request(&b, "GET", "/big");
    h2_ask(&h, &b, H2_END_STREAM); /* 64 KiB come, and no window update follows */
    WAIT_FOR(world.requests == 1);
    wait_for_stall(h.fd);
    tick_anew();
    tick_in(11000);
    h2_wait(&h, 1, &a);
    assert_int_equal(a.type, 99);
    assert_int_equal(metrics_get(METRIC_GUARD_SLOW_READER), before + 1);
    h2_end(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_client_that_does_not_read_is_cut_after_10_s),
        cmocka_unit_test(test_a_client_that_reads_slowly_is_not_cut),
        cmocka_unit_test(test_half_a_head_is_cut_after_10_s),
        cmocka_unit_test(test_a_body_of_more_than_1_kib_a_second_is_waited_for),
        cmocka_unit_test(test_idle_connections_are_closed_after_60_s),
        cmocka_unit_test(test_a_connection_is_idle_sooner_when_descriptors_are_short),
        cmocka_unit_test(test_a_waiting_request_is_not_idle),
        cmocka_unit_test(test_rapid_resets_cost_the_connection),
        cmocka_unit_test(test_resets_that_we_are_made_to_send_count_too),
        cmocka_unit_test(test_a_few_resets_cost_nothing),
        cmocka_unit_test(test_unfinished_uploads_of_a_connection_are_bounded),
        cmocka_unit_test(test_finished_and_given_up_uploads_do_not_add_up),
        cmocka_unit_test(test_unfinished_uploads_of_a_worker_are_bounded),
        cmocka_unit_test(test_an_upload_that_stops_is_cut_in_http2_too),
        cmocka_unit_test(test_a_closed_window_of_http2_is_no_progress),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, certs_setup, certs_teardown);
}
