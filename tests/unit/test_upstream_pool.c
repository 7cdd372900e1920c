/* Connections kept, retries and their budget, the ceiling with its queue, cancelling, several
 * servers. */
#include "upstream_world.h"

#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/metrics.h"
#include "upstream/upstream_priv.h"

static const char *const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

static void must_get(const char *target, unsigned connections)
{
    struct client c = {0};

    ask(&c, get_request(target));
    must_be(&c, UPSTREAM_OK);
    client_release(&c);
    assert_int_equal(origin_connections(world.origin), connections);
}

static void test_connections_are_kept(void **state)
{
    static const char *const row[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nKeep-Alive: timeout=5\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        world_start(serve_text, (void *)(uintptr_t)row[i]);
        for (int n = 0; n < 5; n++)
            must_get("/", 1);
        world_stop();
    }
}

static void test_connections_are_not_kept(void **state)
{
    static const char *const row[] = {
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: "
         "chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nKeep-Alive: max=5, TIMEOUT=0\r\nContent-Length: 2\r\n\r\nhi",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        world_start(serve_text, (void *)(uintptr_t)row[i]);
        must_get("/", 1);
        must_get("/", 2);
        world_stop();
    }
}

/* The first connection answers once, waits until the second request is on it, and ends without a
 * byte. */
static void serve_once_then_drop(struct origin_conn *c, void *user)
{
    (void)user;
    if (origin_read(c))
        origin_say(c, ok);
    if (!origin_read(c) || origin_number(c) == 0)
        return;
    origin_say(c, ok);
    origin_wait_end(c);
}

static void test_an_idle_connection_that_ended_is_asked_for_again_once(void **state)
{
    uint64_t retries = metrics_get(METRIC_UPSTREAM_RETRIES);

    (void)state;
    world_start(serve_once_then_drop, NULL);
    must_get("/1", 1);
    must_get("/2", 2);
    assert_int_equal(origin_requests(world.origin), 3);
    assert_int_equal(metrics_get(METRIC_UPSTREAM_RETRIES) - retries, 1);
    world_stop();
}

static void test_what_is_not_idempotent_is_sent_once(void **state)
{
    struct upstream_request rq = get_request("/2");
    struct client c = {0};

    (void)state;
    world_start(serve_once_then_drop, NULL);
    must_get("/1", 1);
    rq.method = SLICE("POST");
    rq.has_body = true;
    rq.body = SLICE("pay");
    rq.is_idempotent = false;
    ask(&c, rq);
    must_be(&c, UPSTREAM_FAILED_CLOSED);
    assert_int_equal(origin_requests(world.origin), 2);
    client_release(&c);
    world_stop();
}

/* Closed while idle, and nobody has asked yet: seen before the request is written, so it costs no
 * retry. */
static void serve_once(struct origin_conn *c, void *user)
{
    (void)user;
    if (origin_read(c))
        origin_say(c, ok);
}

static void test_an_ended_connection_is_not_used(void **state)
{
    struct upstream_request rq = get_request("/");

    (void)state;
    world_start(serve_once, NULL);
    rq.method = SLICE("POST");
    rq.has_body = true;
    for (unsigned i = 1; i <= 4; i++) {
        struct client c = {0};

        ask(&c, rq);
        must_be(&c, UPSTREAM_OK);
        client_release(&c);
        assert_int_equal(origin_connections(world.origin), i);
        world_pass(30); /* the end arrives */
    }
    world_stop();
}

/* Bytes nobody has asked for, on an idle connection: `user` says how many connections may. */
static void serve_and_babble(struct origin_conn *c, void *user)
{
    const atomic_uint *babblers = user;

    if (!origin_read(c) || !origin_say(c, ok))
        return;
    for (int i = 0; i < PATIENCE_MS && atomic_load(babblers) <= origin_number(c); i++)
        usleep(1000);
    origin_say(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    origin_wait_end(c);
}

/* Until bytes lie in the socket that was opened last; libcurl has told of the end of those before.
 */
static void wait_for_bytes(void)
{
    struct pollfd p = {.fd = -1, .events = POLLIN};

    for (size_t i = 0; i < SOCKET_BUCKETS; i++)
        for (struct upstream_socket *s = world.upstream->sockets.by_fd[i]; s != NULL;
             s = s->next_fd)
            p.fd = s->fd;
    assert_true(p.fd >= 0);
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
}

static void test_stray_bytes_are_nobodys_answer(void **state)
{
    atomic_uint babblers = 0;

    (void)state;
    world_start(serve_and_babble, &babblers);
    for (unsigned i = 1; i <= 3; i++) {
        struct client c = {0};

        ask(&c, get_request("/"));
        must_be(&c, UPSTREAM_OK);
        must_have_body(&c, "hi");
        client_release(&c);
        assert_int_equal(atomic_load(&world.target->sockets), 1);
        atomic_store(&babblers, i);
        wait_for_bytes();
    }
    assert_int_equal(origin_connections(world.origin), 3);
    world_stop();
}

static void serve_two(struct origin_conn *c, void *user)
{
    (void)user;
    if (origin_read(c) && origin_wait_gate(c) && origin_say(c, ok) && origin_read(c))
        origin_say(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nho");
    origin_wait_end(c);
}

/* libcurl gives a connection on before we hear that the fetch that had it has ended. */
static void test_a_connection_goes_straight_to_the_next(void **state)
{
    struct client first = {0}, second = {0};
    struct pollfd answer;

    (void)state;
    world_start(serve_two, NULL);
    assert_int_equal(client_start(&first, get_request("/1")), ERR_OK);
    world_wait_requests(1);
    origin_open_gate(world.origin);
    answer = (struct pollfd){.fd = world.upstream->epoll, .events = POLLIN};
    assert_int_equal(poll(&answer, 1, PATIENCE_MS), 1);
    assert_int_equal(client_start(&second, get_request("/2")), ERR_OK);
    client_wait(&first);
    client_wait(&second);
    must_be(&first, UPSTREAM_OK);
    must_be(&second, UPSTREAM_OK);
    must_have_body(&second, "ho");
    assert_int_equal(origin_connections(world.origin), 1);
    assert_int_equal(atomic_load(&world.target->sockets), 0);
    client_release(&first);
    client_release(&second);
    world_stop();
}

static void serve_nothing(struct origin_conn *c, void *user)
{
    origin_read(c);
    if (user != NULL)
        origin_reset(c);
}

static void test_no_answer_at_all(void **state)
{
    (void)state;
    for (int resets = 0; resets < 2; resets++) {
        struct client c = {0};

        world_start(serve_nothing, resets ? &world : NULL);
        ask(&c, get_request("/"));
        must_be(&c, UPSTREAM_FAILED_CLOSED);
        assert_int_equal(origin_requests(world.origin), 2); /* one retry, and no more */
        client_release(&c);
        world_stop();
    }
}

/* Ten per cent of ten seconds; three are always there. */
static void test_retries_have_a_budget(void **state)
{
    enum { ASKED = 20 };
    struct upstream_target *t;

    (void)state;
    world_start(serve_nothing, NULL);
    world.opt.connections = 1;
    assert_int_equal(upstream_target_new(&world.opt, &world.target), ERR_OK);
    world.target->is_unbroken = true; /* else it would refuse before the budget is spent */
    for (int i = 0; i < ASKED; i++) {
        struct client c = {0};

        ask(&c, get_request("/"));
        must_be(&c, UPSTREAM_FAILED_CLOSED);
        client_release(&c);
    }
    assert_int_equal(origin_requests(world.origin), ASKED + RETRY_ALWAYS);
    /* a budget is a target's own */
    assert_int_equal(upstream_target_new(&world.opt, &t), ERR_OK);
    {
        struct upstream_request rq = get_request("/");
        struct client c = {0};

        rq.target = t;
        ask(&c, rq);
        client_release(&c);
    }
    assert_int_equal(origin_requests(world.origin), ASKED + RETRY_ALWAYS + 2);
    upstream_target_unref(t);
    world_stop();
}

static void test_a_body_that_breaks_is_not_asked_for_again(void **state)
{
    struct client c = {0};

    (void)state;
    world_start(serve_text,
                (void *)(uintptr_t) "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n");
    ask(&c, get_request("/"));
    must_be(&c, UPSTREAM_FAILED_TRUNCATED);
    world_pass(30);
    assert_int_equal(origin_requests(world.origin), 1);
    client_release(&c);
    world_stop();
}

/* A 5xx is an answer. */
static void test_an_error_is_not_asked_for_again(void **state)
{
    (void)state;
    world_start(serve_text, (void *)(uintptr_t) "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
    must_get("/", 1);
    world_pass(30);
    assert_int_equal(origin_requests(world.origin), 1);
    world_stop();
}

static int closed_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&at, bytes), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &bytes), 0);
    close(fd);
    return ntohs(at.sin_port);
}

static void test_a_refused_connection(void **state)
{
    struct client c = {0};
    char url[64];

    (void)state;
    snprintf(url, sizeof(url), "http://127.0.0.1:%d", closed_port());
    world_start(NULL, NULL);
    world.servers[0] = url;
    ask(&c, get_request("/"));
    must_be(&c, UPSTREAM_FAILED_CONNECT);
    assert_non_null(strstr(c.text, url)); /* people need the address */
    assert_non_null(strstr(c.text, "www: "));
    client_release(&c);
    world_stop();
}

static void test_a_name_that_is_none(void **state)
{
    struct client c = {0};

    (void)state;
    world_start(NULL, NULL);
    world.servers[0] = "http://no-such-name.invalid:80";
    ask(&c, get_request("/"));
    must_be(&c, UPSTREAM_FAILED_RESOLVE);
    client_release(&c);
    world_stop();
}

/* The next server is tried at once, POST or not: nothing has been sent. */
static void test_another_server_is_tried(void **state)
{
    char url[64];

    (void)state;
    snprintf(url, sizeof(url), "http://127.0.0.1:%d", closed_port());
    world_start(serve_text, (void *)(uintptr_t)ok);
    world.servers[1] = url;
    world.opt.servers_count = 2;
    for (int i = 0; i < 6; i++) {
        struct upstream_request rq = get_request("/");
        struct client c = {0};

        rq.method = SLICE("POST");
        rq.has_body = true;
        rq.is_idempotent = false;
        ask(&c, rq);
        must_be(&c, UPSTREAM_OK);
        client_release(&c);
    }
    assert_int_equal(origin_requests(world.origin), 6);
    world_stop();
}

static void test_local_addresses_need_permission(void **state)
{
    static const char *const row[] = {
        "http://127.0.0.1:%d",       "http://127.1.2.3:%d", "http://localhost:%d",
        "http://[::1]:%d",           "http://0.0.0.0:%d",   "http://[::ffff:127.0.0.1]:%d",
        "http://169.254.169.254:%d", "http://[fe80::1]:%d", "http://2130706433:%d"};

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct client c = {0};
        char url[64];

        world_start(serve_text, (void *)(uintptr_t)ok);
        snprintf(url, sizeof(url), row[i], origin_port(world.origin));
        world.servers[0] = url;
        world.opt.allow_local = false;
        ask(&c, get_request("/"));
        must_be(&c, UPSTREAM_FAILED_CONNECT);
        if (strstr(c.text, "allow_local") == NULL)
            fail_msg("%s", c.text);
        client_release(&c);
        assert_int_equal(origin_connections(world.origin), 0);
        world_stop();
    }
}

/* A target that may not go there does not get the idle connection of one that may. */
static void test_permission_is_not_shared_by_reuse(void **state)
{
    struct upstream_request rq = get_request("/");
    struct upstream_target *strict;
    struct client c = {0};

    (void)state;
    world_start(serve_text, (void *)(uintptr_t)ok);
    must_get("/", 1);
    world.opt.allow_local = false;
    assert_int_equal(upstream_target_new(&world.opt, &strict), ERR_OK);
    rq.target = strict;
    ask(&c, rq);
    must_be(&c, UPSTREAM_FAILED_CONNECT);
    assert_int_equal(origin_requests(world.origin), 1);
    client_release(&c);
    upstream_target_unref(strict);
    world_stop();
}

/* ---- the ceiling ---- */

static void serve_after_gate(struct origin_conn *c, void *user)
{
    (void)user;
    while (origin_read(c) && origin_wait_gate(c))
        origin_say(c, ok);
}

static void test_the_ceiling_and_its_queue(void **state)
{
    struct client c[5] = {0};

    (void)state;
    world_start(serve_after_gate, NULL);
    world.opt.connections = 2;
    world.opt.queue = 2;
    for (int i = 0; i < 5; i++)
        assert_int_equal(client_start(&c[i], get_request("/")), ERR_OK);
    assert_false(c[4].is_done); /* never from inside upstream_fetch() */
    client_wait(&c[4]);
    must_be(&c[4], UPSTREAM_FAILED_OVERLOAD);
    world_wait_requests(2);
    world_pass(100);
    assert_int_equal(origin_connections(world.origin), 2);
    assert_int_equal(origin_requests(world.origin), 2);
    origin_open_gate(world.origin);
    for (int i = 0; i < 4; i++) {
        client_wait(&c[i]);
        must_be(&c[i], UPSTREAM_OK);
    }
    assert_int_equal(origin_connections(world.origin), 2);
    assert_int_equal(origin_requests(world.origin), 4);
    for (int i = 0; i < 5; i++)
        client_release(&c[i]);
    world_stop();
}

static void test_who_waits_too_long_goes(void **state)
{
    struct client first = {0}, second = {0}, third = {0};

    (void)state;
    world_start(serve_after_gate, NULL);
    world.opt.connections = 1;
    world.opt.first_byte_ms = 300;
    assert_int_equal(client_start(&first, get_request("/1")), ERR_OK);
    assert_int_equal(client_start(&second, get_request("/2")), ERR_OK);
    assert_int_equal(client_start(&third, get_request("/3")), ERR_OK);
    upstream_cancel(third.fetch);
    third.fetch = NULL;
    client_wait(&first);
    must_be(&first, UPSTREAM_FAILED_TIMEOUT);
    client_wait(&second); /* in the queue, or on the connection that was its turn at last */
    assert_true(second.failure == UPSTREAM_FAILED_OVERLOAD ||
                second.failure == UPSTREAM_FAILED_TIMEOUT);
    client_release(&first);
    client_release(&second);
    client_release(&third);
    world_stop();
}

/* Two loops, one ceiling: a place given back by one goes to the other. */
static void test_the_ceiling_is_of_the_node(void **state)
{
    struct client here = {0}, there = {0};
    struct upstream_request rq = get_request("/");
    struct reactor *r2 = fake_reactor_new(FAKE_CLOCK_REAL);
    struct upstream *u2;

    (void)state;
    world_start(serve_after_gate, NULL);
    world.opt.connections = 1;
    assert_int_equal(upstream_new(r2, &u2), ERR_OK);
    assert_int_equal(client_start(&here, rq), ERR_OK);
    world_wait_requests(1);
    rq.target = world.target;
    buf_init(&there.fields, 65536);
    buf_init(&there.body, 65536);
    assert_int_equal(upstream_fetch(u2, &rq, &client_events, &there, &there.fetch), ERR_OK);
    for (int i = 0; i < 5; i++)
        fake_reactor_drain(r2);
    assert_int_equal(origin_requests(world.origin), 1);
    origin_open_gate(world.origin);
    client_wait(&here);
    must_be(&here, UPSTREAM_OK);
    assert_true(fake_reactor_run_until(r2, &there.is_done, PATIENCE_MS));
    must_be(&there, UPSTREAM_OK);
    client_release(&here);
    client_release(&there);
    upstream_free(u2);
    fake_reactor_drain(r2);
    fake_reactor_free(r2);
    world_stop();
}

/* ---- cancelling ---- */

static void cancel(struct client *c)
{
    upstream_cancel(c->fetch);
    c->fetch = NULL;
}

static void serve_in_steps(struct origin_conn *c, void *user)
{
    (void)user;
    while (origin_read(c)) {
        origin_say(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhi");
        if (!origin_wait_gate(c))
            return;
        origin_say(c, "ho");
    }
}

/* After each of them the target is whole: its places are all free again. */
static void must_work_still(void)
{
    struct client c = {0};

    origin_open_gate(world.origin);
    ask(&c, get_request("/after"));
    must_be(&c, UPSTREAM_OK);
    must_have_body(&c, "hiho");
    client_release(&c);
    assert_int_equal(metrics_get(METRIC_UPSTREAM_RUNNING), 0);
    assert_int_equal(metrics_get(METRIC_UPSTREAM_QUEUED), 0);
}

static void test_cancelling_in_every_phase(void **state)
{
    (void)state;
    for (int phase = 0; phase < 7; phase++) {
        struct client c = {0}, other = {0};

        world_start(serve_in_steps, NULL);
        world.opt.connections = 1;
        world.opt.queue = 1;
        c.pauses = phase == 6;
        if (phase == 4 || phase == 5) { /* somebody else has the only place */
            assert_int_equal(client_start(&other, get_request("/other")), ERR_OK);
            client_wait_head(&other);
        }
        assert_int_equal(client_start(&c, get_request("/")), ERR_OK);
        if (phase == 1) /* given to libcurl, connecting */
            fake_reactor_drain(world.reactor);
        if (phase == 2) /* sent */
            world_wait_requests(1);
        if (phase == 3 || phase == 6) /* in the body, in a pause of it */
            client_wait_head(&c);
        if (phase == 6 && !fake_reactor_run_until(world.reactor, &c.is_paused, PATIENCE_MS))
            fail_msg("no pause in time");
        if (phase == 5) /* called up, the message is under way */
            cancel(&other);
        cancel(&c);
        if (phase == 4)
            cancel(&other);
        world_pass(50);
        assert_false(c.is_done || other.is_done);
        must_work_still();
        client_release(&c);
        client_release(&other);
        world_stop();
    }
}

static void test_cancelling_what_is_refused(void **state)
{
    struct client c[3] = {0};

    (void)state;
    world_start(serve_in_steps, NULL);
    world.opt.connections = world.opt.queue = 1;
    for (int i = 0; i < 3; i++)
        assert_int_equal(client_start(&c[i], get_request("/")), ERR_OK);
    for (int i = 2; i >= 0; i--)
        cancel(&c[i]);
    world_pass(30);
    must_work_still();
    for (int i = 0; i < 3; i++)
        client_release(&c[i]);
    world_stop();
}

static void test_cancelling_from_inside(void **state)
{
    (void)state;
    for (int where = 0; where < 3; where++) {
        struct client c = {.cancels_in_head = where == 0,
                           .cancels_in_body = where == 1,
                           .cancels_in_done = where == 2};

        world_start(serve_in_steps, NULL);
        world.opt.connections = 1;
        assert_int_equal(client_start(&c, get_request("/")), ERR_OK);
        client_wait_head(&c);
        if (where == 2)
            origin_open_gate(world.origin);
        world_pass(60);
        assert_int_equal(c.is_done, where == 2);
        must_work_still();
        client_release(&c);
        world_stop();
    }
}

static struct client *victim, *follower;

static void cancel_and_follow(struct client *c)
{
    (void)c;
    cancel(victim);
    assert_int_equal(client_start(follower, get_request("/next")), ERR_OK);
}

/* The first connection never comes to its end. */
static void serve_but_the_first(struct origin_conn *c, void *user)
{
    if (origin_number(c) > 0) {
        serve_in_steps(c, user);
        return;
    }
    if (origin_read(c))
        origin_say(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhi");
    origin_wait_end(c);
}

/* From inside done(): another fetch is cancelled, and a new one begun. */
static void test_everything_else_works_from_inside(void **state)
{
    struct client c = {.in_done = cancel_and_follow}, v = {0}, n = {0};

    (void)state;
    victim = &v;
    follower = &n;
    world_start(serve_but_the_first, NULL);
    assert_int_equal(client_start(&v, get_request("/victim")), ERR_OK);
    client_wait_head(&v);
    assert_int_equal(client_start(&c, get_request("/")), ERR_OK);
    client_wait_head(&c);
    origin_open_gate(world.origin);
    client_wait(&c);
    must_be(&c, UPSTREAM_OK);
    client_wait(&n);
    must_be(&n, UPSTREAM_OK);
    must_work_still();
    client_release(&c);
    client_release(&v);
    client_release(&n);
    world_stop();
}

static void test_the_end_of_all_cancels_what_runs(void **state)
{
    struct client c[4] = {0};

    (void)state;
    world_start(serve_in_steps, NULL);
    world.opt.connections = 2;
    for (int i = 0; i < 4; i++)
        assert_int_equal(client_start(&c[i], get_request("/")), ERR_OK);
    client_wait_head(&c[0]);
    world_stop();
    for (int i = 0; i < 4; i++) {
        assert_false(c[i].is_done);
        c[i].fetch = NULL;
        client_release(&c[i]);
    }
}

static void test_many_at_once_and_again(void **state)
{
    enum { AT_ONCE = 60 };
    static struct client c[AT_ONCE];

    (void)state;
    world_start(serve_text, (void *)(uintptr_t)ok);
    world.opt.connections = 10;
    world.opt.queue = AT_ONCE;
    for (int round = 0; round < 3; round++) {
        memset(c, 0, sizeof(c));
        for (int i = 0; i < AT_ONCE; i++)
            assert_int_equal(client_start(&c[i], get_request("/")), ERR_OK);
        for (int i = 0; i < AT_ONCE; i++) {
            client_wait(&c[i]);
            must_be(&c[i], UPSTREAM_OK);
            must_have_body(&c[i], "hi");
            client_release(&c[i]);
        }
    }
    assert_true(origin_connections(world.origin) <= 10);
    assert_int_equal(metrics_get(METRIC_UPSTREAM_RUNNING), 0);
    world_stop();
}

/* Accepts, and does not say a word: of TLS neither. */
static void serve_silence(struct origin_conn *c, void *user)
{
    (void)user;
    origin_wait_gate(c);
}

enum { HERD = LIMIT_CONNECTING + 40 };

/* A herd towards a server that is silent: so many knock, and the others hear of what came of that.
 */
static void test_so_many_connect_at_once(void **state)
{
    static struct client c[HERD];
    char url[64];

    (void)state;
    memset(c, 0, sizeof(c));
    world_start(serve_silence, NULL);
    snprintf(url, sizeof(url), "https%s", strchr(origin_url(world.origin), ':'));
    world.servers[0] = url;
    world.opt.connections = HERD;
    world.opt.connect_ms = 1500;
    for (int i = 0; i < HERD; i++)
        assert_int_equal(client_start(&c[i], get_request("/")), ERR_OK);
    while (origin_connections(world.origin) < LIMIT_CONNECTING)
        world_pass(5);
    assert_int_equal(metrics_get(METRIC_UPSTREAM_QUEUED), HERD - LIMIT_CONNECTING);
    upstream_cancel(c[HERD - 1].fetch); /* in the queue, and among those that knock */
    upstream_cancel(c[0].fetch);
    world_pass(20);
    assert_int_equal(metrics_get(METRIC_UPSTREAM_QUEUED), HERD - LIMIT_CONNECTING - 2);
    for (int i = 1; i < HERD - 1; i++) {
        client_wait(&c[i]);
        must_be(&c[i], UPSTREAM_FAILED_CONNECT_TIME);
    }
    assert_true(origin_connections(world.origin) <= LIMIT_CONNECTING + 1);
    assert_int_equal(metrics_get(METRIC_UPSTREAM_QUEUED), 0);
    c[0].fetch = c[HERD - 1].fetch = NULL;
    for (int i = 0; i < HERD; i++)
        client_release(&c[i]);
    origin_open_gate(world.origin);
    world_stop();
}

/* Where connections come about, all have their turn; then an idle one needs none. */
static void test_a_herd_gets_through(void **state)
{
    static struct client c[HERD];

    (void)state;
    memset(c, 0, sizeof(c));
    world_start(serve_after_gate, NULL);
    world.opt.connections = HERD;
    for (int i = 0; i < HERD; i++)
        assert_int_equal(client_start(&c[i], get_request("/")), ERR_OK);
    world_wait_requests(HERD);
    assert_int_equal(origin_connections(world.origin), HERD);
    origin_open_gate(world.origin);
    for (int i = 0; i < HERD; i++) {
        client_wait(&c[i]);
        must_be(&c[i], UPSTREAM_OK);
        client_release(&c[i]);
    }
    assert_int_equal(metrics_get(METRIC_UPSTREAM_QUEUED), 0);
    world_stop();
}

/* What nobody could connect to is left, by those too that have not tried. */
static void test_a_herd_goes_to_another_server(void **state)
{
    static struct client c[HERD];
    struct origin *silent = origin_start(serve_silence, NULL, NULL, NULL);
    char url[64];

    (void)state;
    memset(c, 0, sizeof(c));
    world_start(serve_text, (void *)(uintptr_t)ok);
    snprintf(url, sizeof(url), "https%s", strchr(origin_url(silent), ':'));
    world.servers[1] = world.servers[0];
    world.servers[0] = url;
    world.opt.servers_count = 2;
    world.opt.weights = (const unsigned[]){100, 1};
    world.opt.connections = HERD;
    world.opt.connect_ms = 1000;
    for (int i = 0; i < HERD; i++)
        assert_int_equal(client_start(&c[i], get_request("/")), ERR_OK);
    for (int i = 0; i < HERD; i++) {
        client_wait(&c[i]);
        client_release(&c[i]);
    }
    /* retries have a budget: the others are told of the failure, at the same time */
    assert_true(origin_connections(silent) <= LIMIT_CONNECTING);
    assert_true(origin_requests(world.origin) > 0);
    origin_open_gate(silent);
    world_stop();
    origin_stop(silent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connections_are_kept),
        cmocka_unit_test(test_connections_are_not_kept),
        cmocka_unit_test(test_an_idle_connection_that_ended_is_asked_for_again_once),
        cmocka_unit_test(test_what_is_not_idempotent_is_sent_once),
        cmocka_unit_test(test_an_ended_connection_is_not_used),
        cmocka_unit_test(test_stray_bytes_are_nobodys_answer),
        cmocka_unit_test(test_a_connection_goes_straight_to_the_next),
        cmocka_unit_test(test_no_answer_at_all),
        cmocka_unit_test(test_retries_have_a_budget),
        cmocka_unit_test(test_a_body_that_breaks_is_not_asked_for_again),
        cmocka_unit_test(test_an_error_is_not_asked_for_again),
        cmocka_unit_test(test_a_refused_connection),
        cmocka_unit_test(test_a_name_that_is_none),
        cmocka_unit_test(test_another_server_is_tried),
        cmocka_unit_test(test_local_addresses_need_permission),
        cmocka_unit_test(test_permission_is_not_shared_by_reuse),
        cmocka_unit_test(test_the_ceiling_and_its_queue),
        cmocka_unit_test(test_who_waits_too_long_goes),
        cmocka_unit_test(test_the_ceiling_is_of_the_node),
        cmocka_unit_test(test_cancelling_in_every_phase),
        cmocka_unit_test(test_cancelling_what_is_refused),
        cmocka_unit_test(test_cancelling_from_inside),
        cmocka_unit_test(test_everything_else_works_from_inside),
        cmocka_unit_test(test_the_end_of_all_cancels_what_runs),
        cmocka_unit_test(test_many_at_once_and_again),
        cmocka_unit_test(test_so_many_connect_at_once),
        cmocka_unit_test(test_a_herd_gets_through),
        cmocka_unit_test(test_a_herd_goes_to_another_server),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
