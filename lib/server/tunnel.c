/* The beginning and the end of a tunnel; what is between them is in tunnel_flow.c. */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <h2o.h>
#include <h2o/http1.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/metrics.h"
#include "server/guards.h"
#include "server/tunnel_priv.h"
#include "server/worker.h"

enum { DRAIN_PART = 3 }; /* of the drain's time, over which tunnels are closed */

/* ---- references ---- */

struct tunnel *tunnel_ref(struct tunnel *t)
{
    t->refs++;
    return t;
}

void tunnel_unref(struct tunnel *t)
{
    if (t == NULL || --t->refs > 0)
        return;
    CHECK(t->upstream == NULL && t->sock == NULL && t->request == NULL);
    tunnel__quota_give(&t->worker->quota->tunnels, t->site->id);
    snapshot_unref(t->snapshot);
    free(t->out);
    free(t->texts);
    free(t);
}

/* ---- the request ---- */

bool tunnel_is_asked(const struct server_request *r)
{
    return slice_eq_nocase((struct slice){r->req->upgrade.base, r->req->upgrade.len},
                           SLICE("websocket"));
}

/* What came behind the head may be meant for another protocol, so it is not read as a request. */
static bool refuse(struct server_request *r, const struct local_answer *a)
{
    r->req->http1_is_persistent = 0;
    response_local(r, a);
    return false;
}

static bool refuse_handshake(struct server_request *r, const char *text)
{
    return refuse(r, &(struct local_answer){.status = 400,
                                            .reason = "websocket-handshake",
                                            .text = text,
                                            .websocket_version = "13",
                                            .verdict = REQUEST_REFUSED});
}

static bool refuse_for_now(struct server_request *r, const char *reason, const char *text)
{
    return refuse(r, &(struct local_answer){.status = 503,
                                            .reason = reason,
                                            .text = text,
                                            .retry_after = "10",
                                            .peer_error = r->is_peer ? "overloaded" : NULL,
                                            .verdict = REQUEST_REFUSED});
}

static bool is_allowed(const struct server_request *r)
{
    const struct site_rule *rule = site_rule_for_request(
        r->site, (struct slice){r->req->input.method.base, r->req->input.method.len},
        (struct slice){r->req->input.path.base, r->req->input.path.len});

    return rule != NULL && rule->websocket && r->site->has_origin;
}

static struct tunnel *tunnel_new(struct server_request *r, struct slice key)
{
    struct tunnel *t = calloc(1, sizeof(*t));

    if (t == NULL)
        return NULL;
    t->refs = 1;
    t->worker = r->worker;
    t->snapshot = snapshot_ref(r->snapshot);
    t->site = r->site;
    t->request = r;
    t->idle_ms = r->site->tunnel_idle_ms;
    memcpy(t->key, key.p, sizeof(t->key));
    return t;
}

bool tunnel_begin(struct server_request *r)
{
    struct tunnel_quota *quota = &r->worker->quota->tunnels;
    struct slice key;

    if (!is_allowed(r))
        return refuse(r, &(struct local_answer){.status = 501,
                                                .reason = "websocket",
                                                .text = "WebSocket is not served at this path\n",
                                                .verdict = REQUEST_REFUSED});
    if (r->req->version != 0x101 || r->req->entity.len > 0 ||
        !h2o_memis(r->req->input.method.base, r->req->input.method.len, H2O_STRLIT("GET")))
        return refuse_handshake(r, "a WebSocket begins with a GET of HTTP/1.1 without content\n");
    switch (websocket_read_request(&r->fields, &key)) {
    case WEBSOCKET_OTHER_VERSION:
        return refuse_handshake(r, "Sec-WebSocket-Version must be 13\n");
    case WEBSOCKET_NO_KEY:
        return refuse_handshake(r, "Sec-WebSocket-Key must be 16 bytes in base64\n");
    case WEBSOCKET_ASKED:
        break;
    }
    if (r->worker->draining)
        return refuse_for_now(r, "draining", "this server is about to stop\n");
    if (!tunnel__quota_take(quota, r->site->id, r->site->tunnels_max)) {
        metrics_add(METRIC_TUNNELS_REFUSED, 1);
        return refuse_for_now(r, "too-many-tunnels",
                              "too many WebSockets are open through this server\n");
    }
    r->tunnel = tunnel_new(r, key);
    if (r->tunnel != NULL)
        return true;
    tunnel__quota_give(quota, r->site->id);
    return refuse_for_now(r, "out-of-memory", "this server is out of memory\n");
}

bool tunnel_request_died(struct tunnel *t)
{
    bool is_tunnel = t->state != TUNNEL_ASKED;

    t->request = NULL;
    tunnel_unref(t);
    return is_tunnel;
}

/* ---- the access log ---- */

/* The line outlives the request whose texts it names. */
static bool keep_line(struct tunnel *t, const struct server_request *r)
{
    struct slice *text[] = {&t->line.client, &t->line.method, &t->line.host,
                            &t->line.target, &t->line.site,   &t->line.id};
    size_t bytes = 1, at = 0;

    request_log_line(r, &t->line);
    for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++)
        bytes += text[i]->n;
    t->texts = malloc(bytes);
    if (t->texts == NULL)
        return false;
    for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++) {
        if (text[i]->n > 0)
            memcpy(t->texts + at, text[i]->p, text[i]->n);
        text[i]->p = t->texts + at;
        at += text[i]->n;
    }
    t->line.status = 101;
    t->line.verdict = "tunnel";
    t->line.is_tunnel = true;
    return true;
}

static const char *name_of(enum tunnel_end by)
{
    static const char *const names[] = {
        [TUNNEL_BY_CLIENT] = "client",
        [TUNNEL_BY_UPSTREAM] = "upstream",
        [TUNNEL_BY_IDLENESS] = "idle",
        [TUNNEL_BY_DRAIN] = "drain",
    };

    return names[by];
}

static void tell_end(struct tunnel *t, enum tunnel_end by)
{
    static const enum metric ended[] = {
        [TUNNEL_BY_CLIENT] = METRIC_TUNNEL_CLIENT_ENDED,
        [TUNNEL_BY_UPSTREAM] = METRIC_TUNNEL_UPSTREAM_ENDED,
        [TUNNEL_BY_IDLENESS] = METRIC_TUNNEL_IDLE,
        [TUNNEL_BY_DRAIN] = METRIC_TUNNEL_DRAINED,
    };
    char *room;

    metrics_add(ended[by], 1);
    metrics_add(METRIC_REQUESTS_TUNNEL, 1);
    room = log_has_access() ? log_stream_begin(t->worker->access, ACCESSLOG_BYTES) : NULL;
    if (room == NULL)
        return;
    t->line.reason = name_of(by);
    t->line.bytes = t->down_bytes;
    t->line.received = t->up_bytes;
    t->line.total_us = clock_mono_us() - t->began_us;
    log_stream_end(t->worker->access, accesslog_format(&t->line, room));
}

/* ---- the end ---- */

static void leave_worker(struct tunnel *t)
{
    LIST_REMOVE(t->worker->tunnels, t);
    atomic_fetch_sub_explicit(&t->worker->requests_open, 1, memory_order_relaxed);
    metrics_add(METRIC_TUNNELS, -1);
    reactor_timer_stop(t->worker->reactor, &t->timer);
}

static void close_client(struct tunnel *t)
{
    h2o_socket_t *sock = t->sock;
    struct conn *c = t->conn;

    t->sock = NULL;
    t->conn = NULL;
    c->is_tunnel = false;
    c->running.request = NULL;
    c->idle_since_ms = reactor_now_ms(t->worker->reactor);
    if (!t->has_client_ended) /* what it still sends must not turn our last bytes into a reset */
        conn_linger(c);
    h2o_socket_close(sock);
}

void tunnel__end(struct tunnel *t, enum tunnel_end by)
{
    if (t->state == TUNNEL_ENDED)
        return;
    if (t->state == TUNNEL_OPEN)
        leave_worker(t);
    t->state = TUNNEL_ENDED;
    if (t->upstream != NULL)
        upstream_cancel(t->upstream);
    t->upstream = NULL;
    if (t->sock != NULL)
        close_client(t);
    tell_end(t, t->is_closing ? t->end : by);
    tunnel_unref(t);
}

static void on_timer(void *user);

static void set_timer(struct tunnel *t)
{
    int64_t now_ms = reactor_now_ms(t->worker->reactor);
    int64_t due_ms = t->close_by_ms != 0 ? t->close_by_ms : t->moved_ms + t->idle_ms;

    reactor_timer_start(t->worker->reactor, &t->timer, due_ms > now_ms ? due_ms - now_ms : 0);
}

void tunnel__close_soon(struct tunnel *t)
{
    if (t->close_by_ms != 0)
        return;
    t->close_by_ms = reactor_now_ms(t->worker->reactor) + LIMIT_TUNNEL_CLOSE_MS;
    set_timer(t);
}

static void close_for(struct tunnel *t, enum tunnel_end by)
{
    if (t->is_closing)
        return;
    t->is_closing = true;
    t->end = by;
    tunnel__close_soon(t);
    tunnel__send_close(t); /* it may be gone now */
}

static void on_timer(void *user)
{
    struct tunnel *t = user;
    int64_t now_ms = reactor_now_ms(t->worker->reactor);

    if (t->close_by_ms != 0 && now_ms >= t->close_by_ms)
        tunnel__end(t, t->upstream == NULL ? TUNNEL_BY_UPSTREAM : TUNNEL_BY_CLIENT);
    else if (t->close_by_ms == 0 && now_ms - t->moved_ms >= t->idle_ms)
        close_for(t, TUNNEL_BY_IDLENESS);
    else
        set_timer(t);
}

/* A client that has closed his side is read to the end, unless the origin takes nothing of it
 * (struct conn_running). */
static void on_left(void *user, bool entirely, int64_t half_closed_ms)
{
    struct tunnel *t = user;
    int64_t still_ms = reactor_now_ms(t->worker->reactor) - t->moved_ms;

    if (entirely || (half_closed_ms >= LIMIT_TUNNEL_CLOSE_MS && still_ms >= LIMIT_TUNNEL_CLOSE_MS))
        tunnel__end(t, TUNNEL_BY_CLIENT);
}

/* ---- the switch ---- */

static void on_upgraded(void *user, h2o_socket_t *sock, size_t head_bytes)
{
    struct tunnel *t = user;
    struct worker *w = t->worker;
    int room = LIMIT_TUNNEL_READ_BYTES;
    struct conn *c;

    if (sock == NULL) {
        tunnel__end(t, TUNNEL_BY_CLIENT);
        return;
    }
    c = sock->on_close.data;
    t->state = TUNNEL_OPEN;
    t->sock = sock;
    t->conn = c;
    t->moved_ms = reactor_now_ms(w->reactor);
    t->timer = (struct reactor_timer){.fire = on_timer, .user = t};
    sock->data = t;
    c->is_tunnel = true;
    c->running = (struct conn_running){.request = t, .left = on_left, .since_ms = t->moved_ms};
    LIST_PUSH(w->tunnels, t);
    atomic_fetch_add_explicit(&w->requests_open, 1, memory_order_relaxed);
    metrics_add(METRIC_TUNNELS, 1);
    h2o_buffer_consume(&sock->input, head_bytes);
    /* libh2o reads all that the kernel has, so what the kernel may have is the limit */
    (void)setsockopt(h2o_socket_get_fd(sock), SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
    set_timer(t);
    tunnel__flow(t);
}

bool tunnel_take(struct tunnel *t, struct upstream_fetch *f, const struct upstream_head *h)
{
    struct server_request *r = t->request;

    CHECK(t->state == TUNNEL_ASKED);
    if (r != NULL && r->is_sent)
        return false; /* its client has left a moment ago, and 499 is on its way */
    if (r == NULL || !websocket_is_accepted(&h->fields, (struct slice){t->key, sizeof(t->key)}))
        return false;
    if (!keep_line(t, r))
        return false;
    upstream_hand_over(f, &tunnel__events, t);
    t->upstream = f;
    t->state = TUNNEL_SWITCHING;
    t->began_us = r->began_us;
    tunnel_ref(t);
    cache_end(r->exchange);
    r->exchange = NULL;
    response_fields_switch(r, &h->fields);
    r->is_sent = r->is_over = true;
    r->status = 101;
    h2o_http1_upgrade(r->req, NULL, 0, on_upgraded, t);
    return true;
}

/* ---- the drain ---- */

static void plan_drain(struct worker *w)
{
    uint64_t turns = w->snapshot->config->drain_ms / DRAIN_PART / WORKER_TICK_MS;

    w->tunnels_a_tick = 1;
    for (struct tunnel *t = w->tunnels; t != NULL; t = t->next)
        w->tunnels_a_tick++;
    if (turns > 1)
        w->tunnels_a_tick = w->tunnels_a_tick / (size_t)turns + 1;
}

void tunnels_tick(struct worker *w)
{
    struct tunnel *next;
    size_t left;

    if (!w->draining)
        return;
    if (w->tunnels_a_tick == 0)
        plan_drain(w);
    left = w->tunnels_a_tick;
    for (struct tunnel *t = w->tunnels; t != NULL && left > 0; t = next) {
        next = t->next;
        if (t->is_closing)
            continue;
        close_for(t, TUNNEL_BY_DRAIN);
        left--;
    }
}
