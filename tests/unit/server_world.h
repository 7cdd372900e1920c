/*
 * A worker in this process, and clients of it, for the tests of lib/server: real sockets on ports
 * that the kernel picks, a configuration made by hand, and in place of request.c a handler that
 * answers by path:
 *
 *   /           200 "ok"
 *   /echo       200, the body that came, and how many bytes
 *   /target     200, method, target and Host as the handler sees them
 *   /big        200, 64 MiB, pulled
 *   /hold       nothing, until world_release()
 *   /404        404 in two pieces, of unknown length
 *   /covers?H   200, whether the certificate of this connection covers H
 *   /cut        500, one piece of unknown length, then an error
 */
#ifndef TESTS_SERVER_WORLD_H
#define TESTS_SERVER_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "server/guards.h"
#include "server/listener.h"
#include "server/worker.h"

enum { WORLD_BIG_BYTES = 64 << 20, WORLD_WAIT_MS = 30000, WORLD_BODY_MAX = 100000 };

static struct world {
    struct config config;
    struct config_listen listen[2];
    struct config_site site;
    struct snapshot *snapshot;
    struct conn_quota quota;
    struct listener *listeners;
    struct worker worker;
    bool is_running;
    _Atomic unsigned requests; /* that reached the handler */
    _Atomic bool is_released;
} world;

/* Called before the worker's thread starts, when it has read what it takes from all sites. */
static void (*world_prepare)(struct snapshot *s);

/* libh2o keeps a few buffers per thread for the next one, and never frees them. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libh2o";
}

/* ---- the handler ---- */

#ifndef WORLD_HAS_REQUESTS /* else request.c is there */

struct world_request {
    h2o_generator_t generator;
    h2o_req_t *req;
    struct conn *conn;
    bool ended, is_output;
    uint64_t sent;
    struct reactor_timer retry;
};

static void world_died(void *p)
{
    struct world_request *r = p;

    reactor_timer_stop(r->conn->worker->reactor, &r->retry);
    if (r->is_output)
        conn_output_end(r->conn);
    conn_request_end(r->conn, r->ended);
}

static void world_answer(struct world_request *r, int status, const char *text)
{
    r->ended = true;
    r->req->res.status = status;
    r->req->res.reason = "Reason";
    r->req->res.content_length = strlen(text);
    h2o_send_inline(r->req, text, strlen(text));
}

static h2o_send_state_t world_pull(h2o_generator_t *g, h2o_req_t *req, h2o_iovec_t *buf)
{
    struct world_request *r = (struct world_request *)g;
    uint64_t left = WORLD_BIG_BYTES - r->sent;

    (void)req;
    if (buf->len > left)
        buf->len = left;
    memset(buf->base, 'b', buf->len);
    r->sent += buf->len;
    r->ended = r->sent == WORLD_BIG_BYTES;
    return r->ended ? H2O_SEND_STATE_FINAL : H2O_SEND_STATE_IN_PROGRESS;
}

static void world_second_piece(h2o_generator_t *g, h2o_req_t *req)
{
    struct world_request *r = (struct world_request *)g;
    h2o_iovec_t piece = h2o_iovec_init(H2O_STRLIT("found\n"));
    bool is_cut = req->res.status == 500;

    r->ended = true;
    h2o_send(req, &piece, is_cut ? 0 : 1, is_cut ? H2O_SEND_STATE_ERROR : H2O_SEND_STATE_FINAL);
}

static void world_pieces(struct world_request *r, int status)
{
    h2o_iovec_t piece = h2o_iovec_init(H2O_STRLIT("not "));

    r->req->res.status = status;
    r->req->res.reason = "Reason";
    r->generator.proceed = world_second_piece;
    h2o_start_response(r->req, &r->generator);
    h2o_send(r->req, &piece, 1, H2O_SEND_STATE_IN_PROGRESS);
}

static void world_hold(void *user)
{
    struct world_request *r = user;

    if (world.is_released)
        world_answer(r, 200, "released");
    else
        reactor_timer_start(r->conn->worker->reactor, &r->retry, 5);
}

static bool world_path_is(h2o_req_t *req, const char *path)
{
    size_t bytes = req->query_at == SIZE_MAX ? req->path.len : req->query_at;

    return h2o_memis(req->path.base, bytes, path, strlen(path));
}

int request_on_req(h2o_handler_t *self, h2o_req_t *req)
{
    struct world_request *r = h2o_mem_alloc_shared(&req->pool, sizeof(*r), world_died);
    char *text = h2o_mem_alloc_pool(&req->pool, WORLD_BODY_MAX + 1000);

    (void)self;
    *r = (struct world_request){.req = req, .conn = conn_of(req)};
    r->retry = (struct reactor_timer){.fire = world_hold, .user = r};
    conn_request_begin(r->conn, req);
    atomic_fetch_add(&world.requests, 1);
    if (world_path_is(req, "/echo")) {
        size_t shown = req->entity.len < WORLD_BODY_MAX ? req->entity.len : WORLD_BODY_MAX;

        sprintf(text, "%zu bytes: %.*s", req->entity.len, (int)shown,
                req->entity.base == NULL ? "" : req->entity.base);
        world_answer(r, 200, text);
    } else if (world_path_is(req, "/target") || world_path_is(req, "*")) {
        int n = sprintf(text, "%.*s %.*s %.*s", (int)req->method.len, req->method.base,
                        (int)req->path.len, req->path.base, (int)req->authority.len,
                        req->authority.base);

        for (size_t i = 0; i < req->headers.size; i++)
            n += sprintf(text + n, " %.*s=%.*s", (int)req->headers.entries[i].name->len,
                         req->headers.entries[i].name->base, (int)req->headers.entries[i].value.len,
                         req->headers.entries[i].value.base);
        world_answer(r, 200, text);
    } else if (world_path_is(req, "/covers")) {
        struct slice host = {req->path.base + req->query_at + 1, req->path.len - req->query_at - 1};

        world_answer(r, 200, tls_cert_covers(r->conn->cert, host) ? "yes" : "no");
    } else if (world_path_is(req, "/big")) {
        req->res.status = 200;
        req->res.content_length = WORLD_BIG_BYTES;
        h2o_start_response(req, &r->generator);
        conn_output_begin(r->conn);
        r->is_output = true;
        req->_ostr_top->start_pull(req->_ostr_top, world_pull);
    } else if (world_path_is(req, "/hold")) {
        reactor_timer_start(r->conn->worker->reactor, &r->retry, 5);
    } else if (world_path_is(req, "/404")) {
        world_pieces(r, 404);
    } else if (world_path_is(req, "/cut")) {
        world_pieces(r, 500);
    } else {
        world_answer(r, 200, "ok");
    }
    return 0;
}

enum err request_worker_start(struct worker *w)
{
    (void)w;
    return ERR_OK;
}

void request_worker_stop(struct worker *w)
{
    (void)w;
}

#endif

/* ---- life ---- */

static bool world_redirects; /* the first listener does; set before world_start() */
static unsigned world_connections_max = 1000; /* set before world_start() */

static inline uint16_t world_port(size_t listener)
{
    return world.listeners[listener].port;
}

/*   certificates   file or directory for a second listener; NULL: none */
static inline void world_start(const char *certificates)
{
    static char address[2][32] = {"127.0.0.1:0", "127.0.0.1:0"};
    static char name[] = "test", host[] = "a.test", *hosts[] = {host};
    static char server[] = "http://127.0.0.1:9", *servers[] = {server};
    struct worker_options opt = {.index = 0};
    struct buf why;

    signal(SIGPIPE, SIG_IGN);
    guards_check();
    memset(&world, 0, sizeof(world));
    world.listen[0] = (struct config_listen){.address = address[0], .redirect = world_redirects};
    world.listen[1] = (struct config_listen){.address = address[1],
                                             .certificates = (char *)(uintptr_t)certificates};
    world.site =
        (struct config_site){.name = name, .hosts = {hosts, 1}, .max_request_body = 1 << 20};
    world.site.origin.servers = (struct config_strings){servers, 1};
    world.site.origin.connections = 1;
    world.site.origin.connect_ms = world.site.origin.first_byte_ms = world.site.origin.idle_ms =
        1000;
    atomic_init(&world.config.refs, 1000); /* never freed */
    world.config.listen = world.listen;
    world.config.listen_count = certificates == NULL ? 1 : 2;
    world.config.sites = &world.site;
    world.config.sites_count = 1;
    world.quota.max = world_connections_max;
    buf_init(&why, 1000);
    if (snapshot_new(&world.config, &world.snapshot, &why) != ERR_OK ||
        listeners_bind(&world.config, 1, &world.listeners, &why) != ERR_OK)
        fail_msg("%.*s", (int)why.n, why.p);
    buf_release(&why);
    opt.snapshot = world.snapshot;
    opt.quota = &world.quota;
    opt.listeners = world.listeners;
    opt.listeners_count = world.config.listen_count;
    assert_int_equal(worker_init(&world.worker, &opt), ERR_OK);
    if (world_prepare != NULL)
        world_prepare(world.snapshot);
    assert_int_equal(worker_start(&world.worker), ERR_OK);
    world.is_running = true;
}

static inline void world_end(void)
{
    if (!world.is_running)
        return;
    world.is_released = true;
    worker_stop(&world.worker);
    pthread_join(world.worker.thread, NULL);
    assert_true(world.worker.is_clean);
    assert_int_equal(world.worker.conns_count, 0);
    assert_int_equal(world.worker.requests_open, 0);
    assert_int_equal(world.quota.open, 0);
    worker_release(&world.worker);
    listeners_free(world.listeners, world.config.listen_count);
    snapshot_unref(world.snapshot);
    world.is_running = false;
}

/* ---- clients ---- */

static inline int client_connect(size_t listener)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(world_port(listener))};
    struct timeval limit = {.tv_sec = WORLD_WAIT_MS / 1000};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    return fd;
}

static inline void client_send(int fd, const void *p, size_t bytes)
{
    const char *at = p;

    while (bytes > 0) {
        ssize_t n = send(fd, at, bytes, MSG_NOSIGNAL);

        if (n <= 0)
            return; /* the server has closed: what it said before counts */
        at += n;
        bytes -= (size_t)n;
    }
}

static inline void client_say(int fd, const char *text)
{
    client_send(fd, text, strlen(text));
}

/* Read until the server closes, or `until` has come (NULL: nothing but the close). */
static inline size_t client_read(int fd, char *out, size_t out_bytes, const char *until)
{
    size_t n = 0;

    out[0] = '\0';
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t r;

        if (poll(&p, 1, WORLD_WAIT_MS) != 1)
            fail_msg("nothing came for %d ms; so far: %s", WORLD_WAIT_MS, out);
        r = recv(fd, out + n, out_bytes - 1 - n, 0);
        if (r <= 0)
            return n;
        n += (size_t)r;
        out[n] = '\0';
        if ((until != NULL && strstr(out, until) != NULL) || n == out_bytes - 1)
            return n;
    }
}

/* One request on a connection of its own, to the end of the connection. */
static inline void ask(const char *request, char *out, size_t out_bytes)
{
    int fd = client_connect(0);

    client_say(fd, request);
    shutdown(fd, SHUT_WR);
    client_read(fd, out, out_bytes, NULL);
    close(fd);
}

/* Wait for a state that can be seen, in turns that the server's own clock sets. */
#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        int64_t until_ms = clock_mono_ms() + WORLD_WAIT_MS;                                        \
        while (!(condition)) {                                                                     \
            if (clock_mono_ms() > until_ms)                                                        \
                fail_msg("never came: %s", #condition);                                            \
            poll(NULL, 0, 2);                                                                      \
        }                                                                                          \
    } while (0)

#endif
