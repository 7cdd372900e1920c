#include "server/conn.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/metrics.h"
#include "server/guards.h"
#include "server/linger.h"
#include "server/peer.h"

enum {
    BLOCK_FRAMES_MAX = 32,   /* a block is 16 KiB: who needs more pieces wants something else */
    BLOCK_SLACK_BYTES = 512, /* padding and priority of a HEADERS frame */
    EARLY_DEATHS_OF = 200,   /* from so many requests on, half of them dead is too many */
    PINGED_IDLE_FACTOR = 2,  /* libh2o closes idle HTTP/2 itself, but any PING keeps it open */
    IDLE_SHORT_FROM_PERCENT = 80, /* of the quota: then */
    IDLE_SHORT_MS = 10000,
    IDLE_DRAIN_MS = 1000, /* a request may be on its way */
    LOOK_MS = 500,        /* how old a request is when its client is looked at, and how often */
};

#define PROGRESS_BYTES_MIN ((uint64_t)LIMIT_PROGRESS_BYTES * LIMIT_PROGRESS_MS / 1000)

/* Hangs on the request's pool, so it ends with the request, on whatever path. */
struct conn_upload {
    struct conn *conn; /* NULL once the body has arrived */
    struct conn_upload *next, *prev;
    h2o_req_t *request;
    uint32_t stream_id;
    bool is_refused; /* answered while it comes: `bytes` are thrown away */
    uint64_t bytes;
};

static _Thread_local struct conn *reading;

struct conn *conn_reading(void)
{
    return reading;
}

/* ---- life ---- */

static void conn_unref(struct conn *c)
{
    CHECK(c->refs > 0);
    if (--c->refs > 0)
        return;
    CHECK(c->requests_open == 0);
    snapshot_unref(c->snapshot);
    peer_free(c->peer);
    free(c);
}

static void on_close(void *data)
{
    struct conn *c = data;
    struct worker *w = c->worker;

    c->sock = NULL;
    linger_begin(w, c->linger_fd, reactor_now_ms(w->reactor));
    LIST_REMOVE(w->conns, c);
    atomic_fetch_sub_explicit(&w->conns_count, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&w->quota->open, 1, memory_order_relaxed);
    metrics_add(METRIC_CONNECTIONS, -1);
    conn_unref(c);
}

enum err conn_new(struct worker *w, h2o_socket_t *sock, enum conn_kind kind, uint16_t port,
                  uint16_t https_port)
{
    struct conn *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return ERR_NOMEM;
    c->worker = w;
    c->sock = sock;
    c->kind = kind;
    c->port = port;
    c->https_port = https_port;
    c->snapshot = snapshot_ref(w->snapshot);
    c->refs = 1;
    c->linger_fd = -1;
    c->idle_since_ms = reactor_now_ms(w->reactor);
    LIST_PUSH(w->conns, c);
    sock->on_close.cb = on_close;
    sock->on_close.data = c;
    atomic_fetch_add_explicit(&w->conns_count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->quota->open, 1, memory_order_relaxed);
    metrics_add(METRIC_CONNECTIONS, 1);
    metrics_add(METRIC_CONNECTIONS_ACCEPTED, 1);
    return ERR_OK;
}

/* Sockets of ours alone have this callback: listeners, pipes and the admin's clients are not looked
 * at. */
static struct conn *conn_of_socket(const h2o_socket_t *sock)
{
    return sock->on_close.cb == on_close ? sock->on_close.data : NULL;
}

struct conn *conn_of_ssl(const SSL *ssl)
{
    BIO *bio = SSL_get_rbio(ssl);
    h2o_socket_t *sock = bio == NULL ? NULL : BIO_get_data(bio);

    return sock == NULL ? NULL : conn_of_socket(sock);
}

void conn_shut(struct conn *c)
{
    if (c->sock == NULL || c->is_shut)
        return;
    c->is_shut = true;
    shutdown(h2o_socket_get_fd(c->sock), SHUT_RDWR);
}

void conn_shut_revoked(struct worker *w)
{
    for (struct conn *c = w->conns; c != NULL; c = c->next)
        if (c->peer != NULL && peer_is_revoked(c->peer, &w->snapshot->config->peer))
            conn_shut(c);
}

void conn_linger(struct conn *c)
{
    if (c->sock != NULL && c->linger_fd < 0)
        c->linger_fd = linger_hold(c->worker, h2o_socket_get_fd(c->sock));
}

static void shut_for(struct conn *c, enum metric guard)
{
    if (c->is_shut)
        return;
    metrics_add(guard, 1);
    conn_shut(c);
}

void conn_shut_all(struct worker *w)
{
    struct conn *next;

    for (struct conn *c = w->conns; c != NULL; c = next) {
        next = c->next;
        conn_shut(c);
        if (c->running.request != NULL)
            c->running.left(c->running.request, true, 0);
    }
}

/* ---- what is read: libh2o's readers run behind ours ---- */

static uint64_t uploads_max(const struct conn *c)
{
    uint64_t twice = 2 * snapshot_request_body_max(c->worker->snapshot);

    return twice > LIMIT_OPEN_BODY_BYTES ? twice : LIMIT_OPEN_BODY_BYTES;
}

/* Bytes of requests that have not arrived whole, and that nobody but libh2o knows of. */
static uint64_t open_bytes(const struct conn *c)
{
    if (c->is_h2)
        return c->uploads_bytes;
    if (c->is_tunnel)
        return 0;
    return c->requests_open == 0 ? c->sock->input->size : 0;
}

static struct conn *read_begin(struct conn *c)
{
    c->refs++; /* libh2o may close it while it parses */
    reading = c;
    return c;
}

void conn_read_end(struct conn *c)
{
    if (c == NULL)
        return;
    reading = NULL;
    /* not left to the tick: a fast client sends a hundred megabytes until then */
    if (c->sock != NULL && open_bytes(c) > uploads_max(c))
        shut_for(c, METRIC_GUARD_OPEN_UPLOADS);
    conn_unref(c);
}

struct conn *conn_accept_begin(h2o_socket_t *sock, bool is_h2)
{
    struct conn *c = conn_of_socket(sock);

    if (c == NULL)
        return NULL;
    c->is_h2 = is_h2;
    c->bytes_in += sock->input->size;
    return read_begin(c);
}

static void on_read(h2o_socket_t *sock, const char *err)
{
    struct conn *c = read_begin(conn_of_socket(sock));

    c->bytes_in += sock->bytes_read;
    c->read(sock, err);
    conn_read_end(c);
}

typedef void read_start_fn(h2o_socket_t *sock, h2o_socket_cb cb);
static read_start_fn *original_read_start;

/* Found before main(): reactors without connections come through here too. */
__attribute__((constructor)) static void find_original(void)
{
    original_read_start = (read_start_fn *)guard_original("h2o_socket_read_start");
}

/* Comes in front of libh2o's (guards.h): the one place that sees every reader of a connection. */
void h2o_socket_read_start(h2o_socket_t *sock, h2o_socket_cb cb)
{
    struct conn *c = conn_of_socket(sock);

    if (c != NULL) {
        c->read = cb;
        cb = on_read;
    }
    original_read_start(sock, cb);
}

void conn_check(void)
{
    guard_check_one("h2o_socket_read_start", (void *)h2o_socket_read_start);
}

/* ---- uploads of HTTP/2 ---- */

static void upload_end(struct conn_upload *u)
{
    struct conn *c = u->conn;

    if (!u->is_refused) {
        CHECK(c->uploads_bytes >= u->bytes);
        c->uploads_bytes -= u->bytes;
    }
    LIST_REMOVE(c->uploads, u);
    u->conn = NULL;
}

static struct conn_upload *upload_of(struct conn *c, const h2o_req_t *req)
{
    struct conn_upload *u = c->uploads;

    while (u != NULL && u->request != req)
        u = u->next;
    return u;
}

static void early_death(struct conn *c)
{
    int64_t now_ms = reactor_now_ms(c->worker->reactor);

    if (now_ms - c->early_deaths_at_ms > LIMIT_EARLY_DEATHS_MS) {
        c->early_deaths_at_ms = now_ms;
        c->early_deaths = 0;
    }
    c->early_deaths++;
    c->early_deaths_total++;
    if (c->early_deaths > LIMIT_EARLY_DEATHS ||
        (c->requests_total >= EARLY_DEATHS_OF && c->early_deaths_total > c->requests_total / 2))
        shut_for(c, METRIC_GUARD_EARLY_DEATHS);
}

static void on_upload_died(void *p)
{
    struct conn_upload *u = p;
    struct conn *c = u->conn;

    if (c == NULL)
        return;
    upload_end(u);
    if (u->is_refused) {
        c->owed_stream_id = u->stream_id;
        c->owed_bytes += u->bytes;
    } else {
        early_death(c);
    }
}

void conn_h2_head(struct conn *c, h2o_req_t *req, bool is_refused)
{
    struct conn_upload *u;

    if (c->head_ends_stream)
        return;
    u = h2o_mem_alloc_shared(&req->pool, sizeof(*u), on_upload_died);
    *u = (struct conn_upload){
        .conn = c, .request = req, .stream_id = c->head_stream_id, .is_refused = is_refused};
    LIST_PUSH(c->uploads, u);
}

bool conn_body_is_refused(struct conn *c, const h2o_req_t *req)
{
    const struct conn_upload *u = upload_of(c, req);

    return u != NULL && u->is_refused;
}

static enum conn_frame on_data(struct conn *c, uint32_t stream_id, size_t bytes)
{
    struct conn_upload *u = c->uploads;

    c->uploads_bytes_total += bytes;
    while (u != NULL && u->stream_id != stream_id)
        u = u->next;
    if (u == NULL)
        return CONN_FRAME_TAKE;
    if (u->is_refused) {
        u->bytes += bytes;
        return CONN_FRAME_SWALLOW;
    }
    if (u->bytes + bytes > c->worker->conf.max_request_entity_size) {
        c->uploads_bytes -= u->bytes;
        u->is_refused = true;
        u->bytes = bytes;
        return CONN_FRAME_END;
    }
    u->bytes += bytes;
    c->uploads_bytes += bytes;
    return CONN_FRAME_TAKE;
}

enum conn_frame conn_h2_frame(struct conn *c, unsigned type, unsigned flags, uint32_t stream_id,
                              size_t bytes)
{
    enum { DATA = 0, HEADERS = 1, CONTINUATION = 9, END_STREAM = 1, END_HEADERS = 4 };

    switch (type) {
    case DATA:
        return on_data(c, stream_id, bytes);
    case HEADERS:
        c->head_stream_id = stream_id;
        c->head_ends_stream = (flags & END_STREAM) != 0;
        c->block_frames = 0;
        c->block_bytes = 0;
        break;
    case CONTINUATION:
        c->block_frames++;
        break;
    default:
        return CONN_FRAME_TAKE;
    }
    c->is_block_open = (flags & END_HEADERS) == 0;
    c->block_bytes += bytes;
    c->uploads_bytes_total += bytes;
    return c->block_frames <= BLOCK_FRAMES_MAX &&
                   c->block_bytes <= LIMIT_HEAD_BYTES + BLOCK_SLACK_BYTES
               ? CONN_FRAME_TAKE
               : CONN_FRAME_TOO_LARGE;
}

size_t conn_h2_owed(struct conn *c, uint32_t *out_stream_id)
{
    /* a length has 24 bits */
    size_t bytes = c->owed_bytes < 0xffffff ? (size_t)c->owed_bytes : 0xffffff;

    if (c->is_block_open)
        return 0; /* nothing may come between its frames */
    c->owed_bytes -= bytes;
    *out_stream_id = c->owed_stream_id;
    return bytes;
}

/* ---- requests ---- */

void conn_request_begin(struct conn *c, h2o_req_t *req)
{
    struct conn_upload *u = upload_of(c, req);

    if (u != NULL)
        upload_end(u);
    if (!c->is_h2)
        c->upload_since_ms = 0; /* the next one begins anew */
    c->running.since_ms = reactor_now_ms(c->worker->reactor);
    c->running.half_closed_since_ms = 0;
    c->refs++;
    c->requests_open++;
    c->requests_total++;
    atomic_fetch_add_explicit(&c->worker->requests_open, 1, memory_order_relaxed);
}

void conn_request_end(struct conn *c, bool ended_by_us)
{
    CHECK(c->requests_open > 0);
    c->requests_open--;
    atomic_fetch_sub_explicit(&c->worker->requests_open, 1, memory_order_relaxed);
    if (c->requests_open == 0)
        c->idle_since_ms = reactor_now_ms(c->worker->reactor);
    if (!ended_by_us)
        early_death(c);
    conn_unref(c);
}

void conn_output_begin(struct conn *c)
{
    c->outputs++;
}

void conn_output_end(struct conn *c)
{
    CHECK(c->outputs > 0);
    if (--c->outputs == 0)
        c->is_outputs_sampled = false;
}

/* ---- time ---- */

/*
 * What the peer has acknowledged.  sock->bytes_written will not do: it counts what was handed over,
 * and a piece of 64 KiB takes a client of 2 KiB/s half a minute.
 */
static uint64_t acknowledged_bytes(const struct conn *c)
{
    struct tcp_info info = {0};
    socklen_t bytes = sizeof(info);

    if (getsockopt(h2o_socket_get_fd(c->sock), IPPROTO_TCP, TCP_INFO, &info, &bytes) != 0)
        return 0;
    return info.tcpi_bytes_acked;
}

static void check_outputs(struct conn *c, int64_t now_ms)
{
    uint64_t bytes;

    if (c->outputs == 0 ||
        (c->is_outputs_sampled && now_ms - c->outputs_since_ms < LIMIT_PROGRESS_MS))
        return;
    bytes = acknowledged_bytes(c);
    if (c->is_outputs_sampled && bytes - c->outputs_bytes < PROGRESS_BYTES_MIN) {
        shut_for(c, METRIC_GUARD_SLOW_READER);
        return;
    }
    c->is_outputs_sampled = true;
    c->outputs_since_ms = now_ms;
    c->outputs_bytes = bytes;
}

static void check_upload(struct conn *c, int64_t now_ms)
{
    bool is_open = c->is_h2 ? c->uploads != NULL || c->is_block_open : open_bytes(c) > 0;
    uint64_t bytes = c->is_h2 ? c->uploads_bytes_total : c->bytes_in;

    if (!is_open) {
        c->upload_since_ms = 0;
        return;
    }
    if (c->upload_since_ms != 0 && now_ms - c->upload_since_ms < LIMIT_PROGRESS_MS)
        return;
    if (c->upload_since_ms != 0 && bytes - c->upload_bytes < PROGRESS_BYTES_MIN) {
        shut_for(c, METRIC_GUARD_SLOW_BODY);
        return;
    }
    c->upload_since_ms = now_ms;
    c->upload_bytes = bytes;
}

static int64_t idle_max_ms(const struct worker *w)
{
    unsigned open = atomic_load_explicit(&w->quota->open, memory_order_relaxed);

    return (uint64_t)open * 100 > (uint64_t)w->quota->max * IDLE_SHORT_FROM_PERCENT ? IDLE_SHORT_MS
                                                                                    : LIMIT_IDLE_MS;
}

static void check_idle(struct conn *c, int64_t now_ms, int64_t max_ms)
{
    if (c->requests_open > 0 || c->upload_since_ms != 0 || c->is_tunnel)
        return;
    if (c->worker->draining && !c->is_h2)
        max_ms = IDLE_DRAIN_MS; /* libh2o says GOAWAY to HTTP/2 only */
    else if (c->is_h2 && max_ms == LIMIT_IDLE_MS)
        max_ms *= PINGED_IDLE_FACTOR;
    if (now_ms - c->idle_since_ms >= max_ms)
        conn_shut(c);
}

/*
 * Has the client of HTTP/1 left?  Not by reading: under TLS, a goodbye that nobody has read stands
 * before the end.  The connection may be gone afterwards.
 */
static void check_client(struct conn *c, int64_t now_ms)
{
    struct pollfd p = {.fd = -1, .events = POLLRDHUP};
    struct conn_running *run = &c->running;
    int64_t half_closed_ms;

    if (run->request == NULL || c->sock == NULL || now_ms - run->since_ms < LOOK_MS)
        return;
    run->since_ms = now_ms;
    p.fd = h2o_socket_get_fd(c->sock);
    if (poll(&p, 1, 0) != 1 || (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) == 0)
        return;
    if (run->half_closed_since_ms == 0)
        run->half_closed_since_ms = now_ms;
    half_closed_ms = now_ms - run->half_closed_since_ms;
    run->left(run->request, (p.revents & (POLLHUP | POLLERR)) != 0, half_closed_ms);
}

static void check_clients(struct worker *w, int64_t now_ms)
{
    struct conn *next;

    for (struct conn *c = w->conns; c != NULL; c = next) {
        next = c->next;
        check_client(c, now_ms);
    }
}

void conn_tick(struct worker *w, int64_t now_ms)
{
    int64_t idle_ms = idle_max_ms(w);
    uint64_t total = 0, most = 0;
    struct conn *largest = NULL;

    for (struct conn *c = w->conns; c != NULL; c = c->next) {
        if (c->is_shut)
            continue;
        check_outputs(c, now_ms);
        check_upload(c, now_ms);
        check_idle(c, now_ms, idle_ms);
        if (c->is_shut)
            continue;
        total += open_bytes(c);
        if (open_bytes(c) > most) {
            most = open_bytes(c);
            largest = c;
        }
    }
    if (largest != NULL && total > LIMIT_OPEN_BODY_WORKER * uploads_max(largest))
        shut_for(largest, METRIC_GUARD_OPEN_UPLOADS);
    check_clients(w, now_ms);
    linger_tick(w, now_ms);
}
