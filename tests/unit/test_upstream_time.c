/* Time-outs in every phase, and pauses that hold memory down. */
#include "upstream_world.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "upstream/upstream_priv.h"

enum { SHORT_MS = 150 };

/* Says what it has to say, and then nothing more until the client goes. */
static void serve_then_hang(struct origin_conn *c, void *text)
{
    if (origin_read(c))
        origin_say(c, text);
    origin_wait_end(c);
}

static void hang_after(const char *text, int64_t first_byte_ms, int64_t idle_ms, struct client *c)
{
    int64_t began_ms = clock_mono_ms();

    world_start(serve_then_hang, (void *)(uintptr_t)text);
    world.opt.first_byte_ms = first_byte_ms;
    world.opt.idle_ms = idle_ms;
    ask(c, get_request("/"));
    must_be(c, UPSTREAM_FAILED_TIMEOUT);
    assert_true(clock_mono_ms() - began_ms >= SHORT_MS - 10);
    world_stop();
}

static void test_silence_before_and_in_the_head(void **state)
{
    static const char *const row[] = {"", "HTTP", "HTTP/1.1 200 OK\r\n",
                                      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
                                      "HTTP/1.1 103 Early Hints\r\n\r\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct client c = {0};

        hang_after(row[i], SHORT_MS, PATIENCE_MS, &c);
        assert_false(c.has_head);
        client_release(&c);
    }
}

/* A shield waits for its origin as long as the site says, whatever others wait for a shield. */
static void test_a_peer_is_given_the_time_that_it_takes_itself(void **state)
{
    static const char *const row[] = {"", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell"};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct upstream_request rq;
        struct client c = {0};
        int64_t began_ms, took_ms;

        world_start(serve_then_hang, (void *)(uintptr_t)row[i % 2]);
        world.opt.first_byte_ms = world.opt.idle_ms = SHORT_MS;
        world.opt.is_peer = i < 2;
        rq = get_request("/");
        rq.peer_first_byte_ms = rq.peer_idle_ms = 4 * SHORT_MS;
        began_ms = clock_mono_ms();
        ask(&c, rq);
        must_be(&c, UPSTREAM_FAILED_TIMEOUT);
        took_ms = clock_mono_ms() - began_ms;
        assert_true(took_ms >= (i < 2 ? 4 : 1) * SHORT_MS - 10);
        client_release(&c);
        world_stop();
    }
}

static void test_silence_in_the_body(void **state)
{
    static const char *const row[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n",
        "HTTP/1.1 200 OK\r\n\r\nhello",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct client c = {0};

        hang_after(row[i], PATIENCE_MS, SHORT_MS, &c);
        assert_true(c.has_head);
        client_release(&c);
    }
}

static void serve_head_by_drops(struct origin_conn *c, void *user)
{
    (void)user;
    if (!origin_read(c))
        return;
    origin_say(c, "HTTP/1.1 200 OK\r\n");
    while (origin_say(c, "x: y\r\n"))
        usleep(20000);
}

/* Drops of a head are no progress: the limit is for all of it. */
static void test_a_head_that_drips_is_cut(void **state)
{
    struct client c = {0};

    (void)state;
    world_start(serve_head_by_drops, NULL);
    world.opt.first_byte_ms = SHORT_MS;
    ask(&c, get_request("/"));
    must_be(&c, UPSTREAM_FAILED_TIMEOUT);
    client_release(&c);
    world_stop();
}

static void serve_body_by_drops(struct origin_conn *c, void *user)
{
    (void)user;
    if (!origin_read(c))
        return;
    origin_say(c, "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n");
    for (int i = 0; i < 12; i++) {
        usleep(60000);
        origin_say(c, "x");
    }
    origin_wait_end(c);
}

static void test_a_body_that_moves_lives_on(void **state)
{
    struct client c = {0};

    (void)state;
    world_start(serve_body_by_drops, NULL);
    world.opt.first_byte_ms = 2000;
    world.opt.idle_ms = 600; /* in all it takes 720 */
    ask(&c, get_request("/"));
    must_be(&c, UPSTREAM_OK);
    must_have_body(&c, "xxxxxxxxxxxx");
    client_release(&c);
    world_stop();
}

static void test_a_stream_may_be_idle(void **state)
{
    struct upstream_request rq = get_request("/");
    struct client c = {0};

    (void)state;
    world_start(serve_then_hang, (void *)(uintptr_t) "HTTP/1.1 200 OK\r\n\r\ndata: 1\n\n");
    world.opt.idle_ms = 50;
    rq.stream = true;
    assert_int_equal(client_start(&c, rq), ERR_OK);
    client_wait_head(&c);
    world_pass(300);
    assert_false(c.is_done);
    must_have_body(&c, "data: 1\n\n");
    upstream_cancel(c.fetch);
    c.fetch = NULL;
    client_release(&c);
    world_stop();
}

/* A listener whose queue is full answers no SYN. */
static void test_a_connection_that_is_not_made(void **state)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0), full[4];
    struct client c = {0};
    char url[64];

    (void)state;
    assert_int_equal(bind(fd, (struct sockaddr *)&at, bytes), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &bytes), 0);
    for (size_t i = 0; i < 4; i++) {
        full[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(full[i], (struct sockaddr *)&at, bytes);
    }
    snprintf(url, sizeof(url), "http://127.0.0.1:%d", ntohs(at.sin_port));
    world_start(NULL, NULL);
    world.servers[0] = url;
    world.opt.connect_ms = SHORT_MS;
    ask(&c, get_request("/"));
    must_be(&c, UPSTREAM_FAILED_CONNECT_TIME);
    client_release(&c);
    /* libcurl does not tell that it closes what was never connected */
    assert_int_equal(atomic_load(&world.target->sockets), 0);
    world_stop();
    for (size_t i = 0; i < 4; i++)
        close(full[i]);
    close(fd);
}

/* Room for a large answer that is never built: the same block again and again. */
enum { BLOCK_BYTES = 65536 };

static void serve_blocks(struct origin_conn *c, void *user)
{
    uint64_t bytes = *(const uint64_t *)user;
    char *block = calloc(1, BLOCK_BYTES), head[100];

    if (block == NULL)
        return;
    while (origin_read(c)) {
        snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\n\r\n",
                 (unsigned long long)bytes);
        origin_say(c, head);
        for (uint64_t at = 0; at < bytes; at += BLOCK_BYTES)
            if (!origin_send(c, block, BLOCK_BYTES))
                break;
    }
    free(block);
}

static long resident_kib(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    long size = 0, resident = 0;

    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &size, &resident), 2);
    fclose(f);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void test_paused_fetches_hold_little(void **state)
{
    uint64_t bytes = 64ull << 20;
    struct client c[8] = {0};
    long before;

    (void)state;
    world_start(serve_blocks, &bytes);
    world.opt.idle_ms = 50; /* a pause is not idleness */
    before = resident_kib();
    for (int i = 0; i < 8; i++) {
        c[i].pauses = true;
        assert_int_equal(client_start(&c[i], get_request("/")), ERR_OK);
    }
    for (int i = 0; i < 8; i++) {
        client_wait_head(&c[i]);
        if (!fake_reactor_run_until(world.reactor, &c[i].is_paused, PATIENCE_MS))
            fail_msg("no body in time");
    }
    world_pass(400);
    for (int i = 0; i < 8; i++) {
        assert_false(c[i].is_done);
        assert_true(c[i].received > 0 && c[i].received <= 2 * BLOCK_BYTES);
    }
    assert_true(resident_kib() - before < 32 * 1024); /* of 512 MiB */
    for (int i = 0; i < 8; i++) {
        upstream_cancel(c[i].fetch);
        c[i].fetch = NULL;
        client_release(&c[i]);
    }
    world_stop();
}

/* Each piece is paused and resumed: all of them come, in order, none while paused. */
static void serve_counting(struct origin_conn *c, void *user)
{
    char text[64];

    if (!origin_read(c))
        return;
    if (*(const bool *)user) {
        origin_say(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (int i = 0; i < 20000; i++) {
            snprintf(text, sizeof(text), "8\r\n%07d,\r\n", i);
            origin_say(c, text);
        }
        origin_say(c, "0\r\n\r\n");
    } else {
        origin_say(c, "HTTP/1.1 200 OK\r\nContent-Length: 160000\r\n\r\n");
        for (int i = 0; i < 20000; i++) {
            snprintf(text, sizeof(text), "%07d,", i);
            origin_say(c, text);
        }
    }
    origin_wait_end(c);
}

static void test_pausing_at_each_piece_loses_nothing(void **state)
{
    char want[16];

    (void)state;
    for (int chunked = 0; chunked < 2; chunked++) {
        bool is_chunked = chunked == 1;
        struct client c = {.pauses = true};
        unsigned resumed = 0;

        world_start(serve_counting, &is_chunked);
        assert_int_equal(client_start(&c, get_request("/")), ERR_OK);
        while (!c.is_done) {
            bool flag = false;

            c.flag = &flag;
            if (!fake_reactor_run_until(world.reactor, &flag, PATIENCE_MS))
                fail_msg("nothing came in time, after %u pieces", resumed);
            if (c.is_paused && !c.is_done) {
                if (resumed % 3 == 0) /* sometimes more has come meanwhile */
                    world_pass(2);
                c.is_paused = false;
                resumed++;
                upstream_resume(c.fetch);
                upstream_resume(c.fetch);
            }
        }
        must_be(&c, UPSTREAM_OK);
        assert_true(resumed > 1);
        assert_int_equal(c.received, 160000);
        for (int i = 0; i < 20000; i++) {
            snprintf(want, sizeof(want), "%07d,", i);
            assert_memory_equal(c.body.p + i * 8, want, 8);
        }
        client_release(&c);
        world_stop();
    }
}

/* The end of the connection, truncation too, is told only when the pause is over. */
static void serve_and_end(struct origin_conn *c, void *text)
{
    if (origin_read(c))
        origin_say(c, text);
}

static void test_an_end_while_paused_waits(void **state)
{
    static const struct {
        const char *text;
        enum upstream_failure want;
    } row[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", UPSTREAM_OK},
        {"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello", UPSTREAM_FAILED_TRUNCATED},
        {"HTTP/1.1 200 OK\r\n\r\nhello", UPSTREAM_OK},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
         UPSTREAM_OK},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
         UPSTREAM_FAILED_TRUNCATED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct client c = {.pauses = true};

        world_start(serve_and_end, (void *)(uintptr_t)row[i].text);
        assert_int_equal(client_start(&c, get_request("/")), ERR_OK);
        if (!fake_reactor_run_until(world.reactor, &c.is_paused, PATIENCE_MS))
            fail_msg("no body in time");
        world_pass(50);
        assert_false(c.is_done);
        c.is_paused = c.pauses = false;
        upstream_resume(c.fetch);
        client_wait(&c);
        must_be(&c, row[i].want);
        must_have_body(&c, "hello");
        client_release(&c);
        world_stop();
    }
}

/* Reads late, so that the upload fills all buffers first. */
static void serve_slow_reader(struct origin_conn *c, void *user)
{
    (void)user;
    usleep(400000);
    if (origin_read(c))
        origin_say(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    origin_wait_end(c);
}

static void test_an_upload_that_stalls_is_cut(void **state)
{
    struct upstream_request rq = get_request("/");
    size_t bytes = 7 << 20;
    char *body = calloc(1, bytes);

    (void)state;
    assert_non_null(body);
    rq.method = SLICE("PUT");
    rq.has_body = true;
    rq.body = (struct slice){body, bytes};
    for (int i = 0; i < 2; i++) {
        struct client c = {0};

        world_start(i == 0 ? serve_slow_reader : serve_then_hang, (void *)(uintptr_t) "");
        world.opt.first_byte_ms = i == 0 ? PATIENCE_MS : SHORT_MS;
        ask(&c, rq);
        must_be(&c, i == 0 ? UPSTREAM_OK : UPSTREAM_FAILED_TIMEOUT);
        client_release(&c);
        world_stop();
    }
    free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_silence_before_and_in_the_head),
        cmocka_unit_test(test_a_peer_is_given_the_time_that_it_takes_itself),
        cmocka_unit_test(test_silence_in_the_body),
        cmocka_unit_test(test_a_head_that_drips_is_cut),
        cmocka_unit_test(test_a_body_that_moves_lives_on),
        cmocka_unit_test(test_a_stream_may_be_idle),
        cmocka_unit_test(test_a_connection_that_is_not_made),
        cmocka_unit_test(test_paused_fetches_hold_little),
        cmocka_unit_test(test_pausing_at_each_piece_loses_nothing),
        cmocka_unit_test(test_an_end_while_paused_waits),
        cmocka_unit_test(test_an_upload_that_stalls_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
