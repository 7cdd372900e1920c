/* Requests of clients: refused, answered here, or handed to the cache. */
#include "server/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/limits.h"
#include "base/metrics.h"
#include "http/debug_field.h"
#include "http/url.h"
#include "purge/purge.h"
#include "server/accesslog.h"
#include "server/guards.h"
#include "server/journal.h"
#include "server/kin.h"
#include "server/listener.h"
#include "server/peer.h"
#include "server/region.h"
#include "server/release.h"
#include "server/tunnel.h"

enum {
    HALF_CLOSED_MS = 5000, /* who has closed his side may still read; for so long */
    HTTPS_PORT = 443,
    PEER_TOLD_MS = 1000,
    CLUSTER_DIGITS = 16, /* that a position begins with */
};

#define HEALTH_PATH "/.well-known/selvage/health"
#define METHODS     "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

static struct slice slice_of_iovec(h2o_iovec_t v)
{
    return (struct slice){v.base, v.len};
}

static struct slice method_of(const struct server_request *r)
{
    return slice_of_iovec(r->req->input.method);
}

static struct slice target_of(const struct server_request *r)
{
    return slice_of_iovec(r->req->input.path);
}

/* ---- the access log and the counters ---- */

static const char *protocol_of(const h2o_req_t *req)
{
    return req->version >= 0x200 ? "h2" : req->version == 0x101 ? "http/1.1" : "http/1.0";
}

static const char *verdict_of(const struct server_request *r)
{
    switch (r->verdict) {
    case REQUEST_REFUSED:
        return "refused";
    case REQUEST_LOCAL:
        return "local";
    case REQUEST_OF_CACHE:
        break;
    }
    /* who left before there was an answer got none */
    return r->is_answered ? cache_verdict_name(r->cache_verdict) : "error";
}

static const char *reason_of(const struct server_request *r)
{
    if (r->reason != NULL)
        return r->reason;
    return !r->is_answered ? "client-left" : cache_reason(r->exchange);
}

static enum metric metric_of(const struct server_request *r)
{
    static const enum metric of_cache[] = {
        [VERDICT_HIT] = METRIC_REQUESTS_HIT,
        [VERDICT_STALE] = METRIC_REQUESTS_STALE,
        [VERDICT_REVALIDATED] = METRIC_REQUESTS_REVALIDATED,
        [VERDICT_MISS] = METRIC_REQUESTS_MISS,
        [VERDICT_COLLAPSED] = METRIC_REQUESTS_COLLAPSED,
        [VERDICT_PASS] = METRIC_REQUESTS_PASS,
        [VERDICT_ERROR] = METRIC_REQUESTS_ERROR,
    };

    switch (r->verdict) {
    case REQUEST_REFUSED:
        return METRIC_REQUESTS_REFUSED;
    case REQUEST_LOCAL:
        return METRIC_REQUESTS_LOCAL;
    case REQUEST_OF_CACHE:
        break;
    }
    return r->is_answered ? of_cache[r->cache_verdict] : METRIC_REQUESTS_ERROR;
}

void request_log_line(const struct server_request *r, struct accesslog_line *out)
{
    bool is_full = r->site != NULL && r->site->log_full;
    int64_t now_us = clock_mono_us();

    *out = (struct accesslog_line){
        .wall_ms = clock_now().wall_ms - (now_us - r->began_us) / 1000,
        .client = is_full ? r->client : r->client_network,
        .method = method_of(r),
        .host = slice_of_iovec(r->req->input.authority),
        .target = target_of(r),
        .site = r->site == NULL ? SLICE("-") : slice_of(r->site->name),
        .id = {r->id, sizeof(r->id)},
        .protocol = protocol_of(r->req),
        .verdict = verdict_of(r),
        .reason = reason_of(r),
        .status = r->status,
        .bytes = r->body_bytes,
        .total_us = now_us - r->began_us,
        .first_us = r->first_us == 0 ? -1 : r->first_us - r->began_us,
        .is_full = is_full,
    };
}

static void log_access(const struct server_request *r)
{
    struct accesslog_line line;
    char *room;

    if (!log_has_access())
        return;
    room = log_stream_begin(r->worker->access, ACCESSLOG_BYTES);
    if (room == NULL)
        return;
    request_log_line(r, &line);
    log_stream_end(r->worker->access, accesslog_format(&line, room));
}

/* ---- life ---- */

/* Whatever ended the request; libh2o's own memory of it is still there. */
static void on_died(void *p)
{
    struct server_request *r = p;
    struct conn *c = r->conn;

    if (r->tunnel == NULL || !tunnel_request_died(r->tunnel)) {
        metrics_add(metric_of(r), 1);
        log_access(r);
    }
    response_release(r);
    if (r->exchange != NULL)
        cache_end(r->exchange);
    arena_release(&r->arena);
    release_unref(r->release);
    snapshot_unref(r->snapshot);
    if (c->running.request == r)
        c->running.request = NULL;
    conn_request_end(c, r->is_over);
}

static bool is_for_long(const struct server_request *r)
{
    const struct site_rule *rule;

    if (r->is_stream)
        return true;
    rule = r->site == NULL ? NULL : site_rule_for_request(r->site, method_of(r), target_of(r));
    return rule != NULL && rule->stream;
}

/* A client of HTTP/1 has left while its request was running (struct
 * conn_running). */
static void on_left(void *request, bool entirely, int64_t half_closed_ms)
{
    struct server_request *r = request;

    if (!entirely && half_closed_ms < HALF_CLOSED_MS && !is_for_long(r))
        return;
    conn_shut(r->conn);
    if (r->is_over || r->is_sending || r->may_pull)
        return; /* a write is open, and fails now */
    if (r->is_sent) {
        response_cut(r);
        return;
    }
    /* nobody waits for it any more: an answer of the cache would be a second one */
    if (r->exchange != NULL)
        cache_end(r->exchange);
    r->exchange = NULL;
    r->req->http1_is_persistent = 0;
    /* a write that fails is how libh2o learns of it; 499 is for the log, as other
     * servers have it
     */
    response_local(r, &(struct local_answer){.status = 499, .reason = "client-left"});
}

static void make_id(struct server_request *r)
{
    static const char hex[] = "0123456789abcdef";
    struct request_worker *rw = r->worker->request;
    uint64_t x = rw->id_base + ++rw->id_count * UINT64_C(0x9e3779b97f4a7c15);

    /* splitmix64: neighbours look nothing alike, and none comes twice */
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    x ^= x >> 31;
    for (int i = REQUEST_ID_BYTES - 1; i >= 0; i--, x >>= 4)
        r->id[i] = hex[x & 15];
}

static struct server_request *request_new(h2o_req_t *req)
{
    struct server_request *r = h2o_mem_alloc_shared(&req->pool, sizeof(*r), on_died);
    struct conn *c = conn_of(req);
    struct worker *w = worker_of(req);

    memset(r, 0, offsetof(struct server_request, lent));
    r->req = req;
    r->conn = c;
    r->worker = w;
    r->snapshot = snapshot_ref(w->snapshot);
    r->is_head = slice_eq(method_of(r), SLICE("HEAD"));
    r->date_s = -1;
    r->began_us = clock_mono_us();
    arena_init(&r->arena, r->lent, sizeof(r->lent), REQUEST_ARENA_MAX);
    make_id(r);
    conn_know_address(c);
    r->client = (struct slice){c->address, c->address_bytes};
    r->client_network = (struct slice){c->network, c->network_bytes};
    r->is_https = c->kind == CONN_TLS || c->kind == CONN_PEER;
    conn_request_begin(c, req);
    if (req->version < 0x200) {
        c->running.request = r;
        c->running.left = on_left;
    }
    return r;
}

/* ---- refusals ---- */

static void refuse(struct server_request *r, int status, const char *reason, const char *text)
{
    if (status == 400) /* who sends that may mean something else by the bytes
                          behind it too */
        r->req->http1_is_persistent = 0;
    response_local(r, &(struct local_answer){
                          .status = status,
                          .reason = reason,
                          .text = text,
                          .allow = status == 405 ? METHODS : NULL,
                          .verdict = REQUEST_REFUSED,
                      });
}

static bool is_health(const struct server_request *r)
{
    struct slice target = target_of(r);

    return slice_starts_with(target, SLICE(HEALTH_PATH)) &&
           (target.n == sizeof(HEALTH_PATH) - 1 || target.p[sizeof(HEALTH_PATH) - 1] == '?');
}

/* For load balancers: before host match and redirect, on every public listener.
 */
static void answer_health(struct server_request *r)
{
    static const struct local_answer answers[] = {
        [SERVER_HEALTHY] = {200, "health", "ok\n", .verdict = REQUEST_LOCAL},
        [SERVER_DRAINING] = {503, "health", "draining\n", .verdict = REQUEST_LOCAL},
        [SERVER_LAGGING] = {503, "health", "lagging\n", .verdict = REQUEST_LOCAL},
        [SERVER_STUCK] = {503, "health", "stuck\n", .verdict = REQUEST_LOCAL},
    };

    if (!r->is_head && !slice_eq(method_of(r), SLICE("GET"))) {
        response_local(r, &(struct local_answer){.status = 405,
                                                 .reason = "method",
                                                 .text = "GET or HEAD\n",
                                                 .allow = "GET, HEAD",
                                                 .verdict = REQUEST_REFUSED});
        return;
    }
    response_local(r, &answers[server_health(r->worker->server)]);
}

/* Where clients of port 80 are sent: as written, or to a listener of ours; 0: there is none. */
static uint16_t https_port(const struct conn *c)
{
    const struct worker *w = c->worker;
    uint16_t port = c->https_port;

    for (size_t i = 0; c->https_port == 0 && i < w->listeners_count; i++)
        if (w->listeners[i].kind == CONN_TLS && (port == 0 || w->listeners[i].port == HTTPS_PORT))
            port = w->listeners[i].port;
    return port;
}

/* 301 as everybody has it; 308 where the method and its body must stay what
 * they are. */
static void redirect(struct server_request *r, struct slice host)
{
    struct slice target = target_of(r);
    uint16_t port = https_port(r->conn);
    bool is_safe = r->is_head || slice_eq(method_of(r), SLICE("GET"));
    size_t room = host.n + target.n + 32;
    char *url = h2o_mem_alloc_pool(&r->req->pool, room);

    if (port == 0 || port == HTTPS_PORT)
        snprintf(url, room, "https://%.*s%.*s", (int)host.n, host.p, (int)target.n, target.p);
    else
        snprintf(url, room, "https://%.*s:%u%.*s", (int)host.n, host.p, port, (int)target.n,
                 target.p);
    response_local(r, &(struct local_answer){.status = is_safe ? 301 : 308,
                                             .reason = "redirect",
                                             .location = url,
                                             .verdict = REQUEST_LOCAL});
}

/* ---- fields ---- */

/* False when it was refused. */
static bool read_fields(struct server_request *r)
{
    const h2o_headers_t *from = &r->req->headers;

    for (size_t i = 0; i < from->size; i++) {
        const h2o_header_t *h = &from->entries[i];
        enum err e = http_fields_add(&r->fields, &r->arena, LIMIT_FIELDS,
                                     (struct slice){h->name->base, h->name->len},
                                     slice_trim(slice_of_iovec(h->value)));

        if (e != ERR_OK) {
            refuse(r, 431, "too-many-fields", "the request has more than 100 header fields\n");
            return false;
        }
    }
    return true;
}

/* ---- peers: a shield's clients ---- */

static bool is_for_peers(const struct conn *c)
{
    return c->kind == CONN_PEER || c->kind == CONN_PEER_PLAIN;
}

/* A line a second: whoever reaches this port may try as often as he likes. */
static void tell_refused(const struct server_request *r, enum peer_verdict v)
{
    struct request_worker *rw = r->worker->request;
    int64_t now_ms = reactor_now_ms(r->worker->reactor);
    const struct peer *p = r->conn->peer;
    char others[64] = "";

    if (rw->peer_told_ms != 0 && now_ms - rw->peer_told_ms < PEER_TOLD_MS) {
        rw->peers_untold++;
        return;
    }
    if (rw->peers_untold > 0)
        snprintf(others, sizeof(others), " (and %llu others since the last such line)",
                 (unsigned long long)rw->peers_untold);
    log_warn("peer %.*s: %s%s%s%s%s%s", (int)r->client.n, r->client.p, peer_verdict_token(v),
             p == NULL ? "" : ": name ", p == NULL ? "" : p->name, p == NULL ? "" : ", serial ",
             p == NULL ? "" : p->serial, others);
    rw->peer_told_ms = now_ms;
    rw->peers_untold = 0;
}

static void refuse_peer(struct server_request *r, enum peer_verdict v)
{
    metrics_add(METRIC_PEERS_REFUSED, 1);
    tell_refused(r, v);
    r->req->http1_is_persistent = 0;
    /* for a node of ours whose certificate has ended: as if the handshake had
     * failed */
    response_local(r, &(struct local_answer){.status = 403,
                                             .reason = peer_verdict_token(v),
                                             .text = peer_verdict_text(v),
                                             .peer_error = "refused",
                                             .verdict = REQUEST_REFUSED});
}

/* An edge that asks again elsewhere loses nothing: this request has not begun.
 */
static void answer_draining(struct server_request *r)
{
    r->req->http1_is_persistent = 0;
    response_local(r, &(struct local_answer){.status = 503,
                                             .reason = "draining",
                                             .text = "this shield is draining\n",
                                             .retry_after = "1",
                                             .peer_error = "draining",
                                             .verdict = REQUEST_LOCAL});
}

/* As of this request: the certificate of a connection that is open may have
 * been revoked since. */
static enum peer_verdict judge_peer(const struct server_request *r)
{
    const struct config_peer *c = &r->snapshot->config->peer;
    const struct peer *p = r->conn->peer;

    if (r->conn->kind == CONN_PEER_PLAIN) {
        struct slice secret = http_fields_value(&r->fields, SLICE("selvage-secret"));

        return c->secret != NULL && digest_equal(secret, slice_of(c->secret)) ? PEER_ACCEPTED
                                                                              : PEER_BAD_SECRET;
    }
    if (p == NULL)
        return PEER_NO_CERTIFICATE;
    if (p->verdict == PEER_ACCEPTED && peer_is_revoked(p, c))
        return PEER_REVOKED;
    return p->verdict;
}

/* The address that the node next to the client has seen. */
static void believe_address(struct server_request *r)
{
    struct slice text = http_fields_value(&r->fields, SLICE("x-forwarded-for"));
    struct sockaddr_storage sa;
    char *to;

    if (!accesslog_parse(text, &sa))
        return;
    to = arena_alloc(&r->arena, 2 * (size_t)ACCESSLOG_ADDRESS_BYTES);
    if (to == NULL)
        return;
    r->client = (struct slice){to, accesslog_address((void *)&sa, to)};
    to += ACCESSLOG_ADDRESS_BYTES;
    r->client_network = (struct slice){to, accesslog_network((void *)&sa, to)};
}

static bool is_id(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
            return false;
    return s.n == REQUEST_ID_BYTES;
}

/* What the node next to the client says of it, in place of what this connection
 * would say. */
static void believe(struct server_request *r)
{
    struct slice id = http_fields_value(&r->fields, SLICE("x-request-id"));

    believe_address(r);
    r->is_https =
        !slice_eq(http_fields_value(&r->fields, SLICE("x-forwarded-proto")), SLICE("http"));
    if (is_id(id))
        memcpy(r->id, id.p, REQUEST_ID_BYTES);
}

/* Is it of the same clock as ours?  Who has not met its cluster yet, and says epoch 0, is. */
static bool is_of_our_journal(const struct server_request *r, struct slice position)
{
    char cluster[CLUSTER_DIGITS + 1];
    struct purge_position ours;

    purge_position(server_purge(r->worker->server), &ours);
    if (position.n <= CLUSTER_DIGITS || ours.epoch == 0 ||
        slice_starts_with(slice_from(position, CLUSTER_DIGITS), SLICE("-0-")))
        return true;
    snprintf(cluster, sizeof(cluster), "%016llx", (unsigned long long)ours.cluster);
    return memcmp(position.p, cluster, CLUSTER_DIGITS) == 0;
}

/* Nodes that are told different things are a mistake that nothing else would show. */
static void compare_peer(struct server_request *r)
{
    struct slice sites = http_fields_value(&r->fields, SLICE("selvage-sites"));
    const struct peer *p = r->conn->peer;

    if (sites.p != NULL && !slice_eq(sites, slice_of(r->snapshot->sites_hash)))
        r->differs |= KIN_SITES;
    if (!is_of_our_journal(r, http_fields_value(&r->fields, SLICE("selvage-position"))))
        r->differs |= KIN_JOURNAL;
    if (r->differs != 0)
        kin_differs(server_kin(r->worker->server),
                    p != NULL && p->name[0] != '\0' ? slice_of(p->name)
                                                    : slice_of(r->conn->address),
                    r->differs, reactor_now_ms(r->worker->reactor));
}

/* Is it from a node of the fleet?  Else it is refused. */
static bool admit_peer(struct server_request *r)
{
    enum peer_verdict v = judge_peer(r);

    if (v != PEER_ACCEPTED) {
        refuse_peer(r, v);
        return false;
    }
    r->is_peer = server_role(r->worker->server)->trusts_peers;
    if (r->is_peer) {
        believe(r);
        compare_peer(r);
    }
    return true;
}

/* Whom the client asked: a peer may have been told to call the origin by
 * another name. */
static struct slice authority_of(const struct server_request *r)
{
    struct slice told = {0};

    if (r->is_peer)
        told = http_fields_value(&r->fields, SLICE("x-forwarded-host"));
    return told.p != NULL ? told : slice_of_iovec(r->req->input.authority);
}

/* ---- sites ---- */

/* Is it for a site of ours, on a connection that may ask for it?  Else it is
 * refused.
 *
 * An unknown host and one that the certificate does not cover look alike: which
 * sites there are is for holders of an admin token. */
static bool find_site(struct server_request *r, struct slice *out_host)
{
    struct slice authority = authority_of(r);
    uint16_t port;

    if (url_host(authority, &r->arena, out_host, &port) != ERR_OK) {
        refuse(r, 400, "malformed-host", "the Host field is malformed\n");
        return false;
    }
    r->site = sites_find(r->snapshot->sites, *out_host);
    if (r->site == NULL) {
        refuse(r, 421, "unknown-host", NULL);
        return false;
    }
    if (r->conn->kind == CONN_TLS &&
        (r->conn->cert == NULL || !tls_cert_covers(r->conn->cert, *out_host))) {
        refuse(r, 421, "not-covered", NULL);
        return false;
    }
    if (r->conn->peer != NULL && !peer_may_ask_for(r->conn->peer, r->site->name)) {
        refuse_peer(r, PEER_OTHER_SITE);
        return false;
    }
    return true;
}

static bool method_is_refused(struct server_request *r)
{
    struct slice method = method_of(r);

    if (!slice_eq(method, SLICE("TRACE")) && !slice_eq(method, SLICE("CONNECT")))
        return false;
    refuse(r, 405, "method", "TRACE and CONNECT are not served here\n");
    return true;
}

static bool target_is_refused(struct server_request *r)
{
    struct slice target = target_of(r);

    if (target.n > LIMIT_TARGET_BYTES) {
        refuse(r, 414, "target-too-long", "the request target is longer than 8192 bytes\n");
        return true;
    }
    if (slice_eq(target, SLICE("*"))) { /* the guards let it come with OPTIONS only */
        response_local(
            r, &(struct local_answer){
                   .status = 204, .reason = "options", .allow = METHODS, .verdict = REQUEST_LOCAL});
        return true;
    }
    if (url_target_is_valid(target))
        return false;
    refuse(r, 400, "malformed-target", "the request target is malformed\n");
    return true;
}

static bool body_is_refused(struct server_request *r)
{
    enum { TEXT_BYTES = 96 };
    char *text;

    if (r->req->entity.len <= r->site->max_request_body)
        return false;
    text = h2o_mem_alloc_pool(&r->req->pool, TEXT_BYTES);
    snprintf(text, TEXT_BYTES, "the request body is larger than the limit of %llu bytes\n",
             (unsigned long long)r->site->max_request_body);
    refuse(r, 413, "body-too-large", text);
    return true;
}

static bool fields_are_refused(struct server_request *r)
{
    struct slice type = http_fields_value(&r->fields, SLICE("content-type"));

    if (slice_eq_nocase(slice_head(type, 16), SLICE("application/grpc"))) {
        refuse(r, 501, "grpc", "gRPC is not served here: it needs trailers\n");
        return true;
    }
    return false;
}

/* RFC 9110 section 7.6.2: who asks for the options of a hop counts down to it.  True: it is us. */
static bool max_forwards_ends(struct server_request *r)
{
    struct http_field *f = NULL;
    struct buf text;
    uint64_t hops;

    if (!slice_eq(method_of(r), SLICE("OPTIONS")))
        return false;
    for (size_t i = 0; i < r->fields.count && f == NULL; i++)
        if (slice_eq(r->fields.item[i].name, SLICE("max-forwards")))
            f = &r->fields.item[i];
    if (f == NULL || !slice_to_u64(f->value, &hops))
        return false;
    if (hops == 0) {
        response_local(
            r, &(struct local_answer){
                   .status = 204, .reason = "options", .allow = METHODS, .verdict = REQUEST_LOCAL});
        return true;
    }
    buf_init(&text, 32);
    buf_addf(&text, "%llu", (unsigned long long)hops - 1);
    if (!text.failed)
        f->value = arena_dup(&r->arena, buf_slice(&text));
    if (f->value.p == NULL)
        f->value = SLICE("0"); /* no room: one hop more is not worth an error */
    buf_release(&text);
    return false;
}

/* ---- to the cache ---- */

static void hold_ref(void *p)
{
    (void)snapshot_ref(p);
}

static void hold_unref(void *p)
{
    snapshot_unref(p);
}

static bool expects_content(struct slice method)
{
    return slice_eq(method, SLICE("POST")) || slice_eq(method, SLICE("PUT")) ||
           slice_eq(method, SLICE("PATCH"));
}

static void refuse_for_memory(struct server_request *r)
{
    response_local(r, &(struct local_answer){.status = 503,
                                             .reason = "out-of-memory",
                                             .text = "this server is out of memory\n",
                                             .retry_after = "1"});
}

/* The holder of a signed field is told why: as of now, by the functions that
 * answer. */
static void explain(struct server_request *r, const struct cache_request *rq)
{
    const char *secret = r->snapshot->config->explain_secret;
    struct slice field = http_fields_value(&r->fields, SLICE("selvage-debug"));
    struct buf text;

    if (secret == NULL || field.p == NULL || !server_role(r->worker->server)->faces_public ||
        !http_debug_field_is_valid(field, slice_head(rq->target, url_path_bytes(rq->target)),
                                   slice_of(secret), clock_now().wall_ms / 1000))
        return;
    buf_init(&text, LIMIT_HEAD_BYTES);
    cache_explain_request(r->worker->cache, rq, &text);
    if (!text.failed)
        r->explanation = arena_dup(&r->arena, buf_slice(&text));
    buf_release(&text);
}

static void ask_cache(struct server_request *r, struct slice host)
{
    struct slice body = slice_of_iovec(r->req->entity);
    struct cache_request rq = {
        .site = r->site,
        .hold = {r->snapshot, hold_ref, hold_unref},
        .file = r->file.fields == NULL ? NULL : &r->file,
        .method = method_of(r),
        .host = host,
        .target = target_of(r),
        .is_https = r->is_https,
        .is_peer = r->is_peer,
        .fields = &r->fields,
        .body = body,
        .has_body = body.n > 0 || expects_content(method_of(r)),
        .client = r->client,
        .id = {r->id, sizeof(r->id)},
        .via = r->req->version >= 0x200   ? "2"
               : r->req->version == 0x101 ? "1.1"
                                          : "1.0",
        .arena = &r->arena,
    };

    /* What Connection names does not reach the origin, so it must not choose a
     * variant either: else anybody could have the answer to a request without
     * Accept-Language stored as the one in German. */
    http_fields_remove_hop_by_hop(&r->fields);
    if (tunnel_is_asked(r)) {
        if (!tunnel_begin(r))
            return;
        rq.upgrade = "websocket";
        rq.upgrade_user = r->tunnel;
        r->req->http1_is_persistent = 0; /* should it be refused: what follows are no requests */
    }
    if (region_settle_fields(r) != ERR_OK) {
        refuse_for_memory(r);
        return;
    }
    explain(r, &rq);
    r->exchange = cache_start(r->worker->cache, &rq, &response_client, r);
    if (r->exchange == NULL) {
        refuse_for_memory(r);
        return;
    }
    if (r->is_answered)
        response_begin(r);
}

int request_on_req(h2o_handler_t *self, h2o_req_t *req)
{
    struct server_request *r = request_new(req);
    struct slice host;

    (void)self;
    if (is_health(r)) {
        answer_health(r);
        return 0;
    }
    if (r->worker->draining && is_for_peers(r->conn)) {
        answer_draining(r);
        return 0;
    }
    if (method_is_refused(r) || target_is_refused(r))
        return 0;
    if (is_for_peers(r->conn) &&
        (!read_fields(r) || !admit_peer(r) || journal_takes(server_journal(r->worker->server), r)))
        return 0;
    if (is_for_peers(r->conn)) {
        switch (release_settle_peer(r)) {
        case RELEASE_IS_FILE:
            ask_cache(r, SLICE(""));
            return 0;
        case RELEASE_IS_ANSWERED:
            return 0;
        case RELEASE_IS_NOT_FOR_US:
            break;
        }
    }
    if (!find_site(r, &host))
        return 0;
    if (r->conn->kind == CONN_REDIRECT) {
        redirect(r, host);
        return 0;
    }
    if (body_is_refused(r) || (!is_for_peers(r->conn) && !read_fields(r)) || fields_are_refused(r))
        return 0;
    if (max_forwards_ends(r))
        return 0;
    region_settle_host(r, &host);
    /* clients of WebSockets follow no redirects, and want no files */
    if (!tunnel_is_asked(r) && (region_redirects_request(r, host) ||
                                (r->site->has_files && release_settle(r) == RELEASE_IS_ANSWERED)))
        return 0;
    ask_cache(r, host);
    return 0;
}

/* ---- workers and the server ---- */

static bool make_via(struct request_worker *rw, const char *node)
{
    size_t bytes = strlen(node) + sizeof("1.1 ") - 1;
    char *text = malloc(bytes + 1);

    if (text != NULL)
        snprintf(text, bytes + 1, "1.1 %s", node);
    rw->via = (struct slice){text, bytes};
    return text != NULL;
}

enum err request_worker_start(struct worker *w)
{
    enum err e;

    w->request = calloc(1, sizeof(*w->request));
    w->access = log_stream_new();
    if (w->request == NULL || w->access == NULL ||
        !make_via(w->request, server_config(w->server)->node))
        return ERR_NOMEM;
    w->request->worker = w;
    digest_random(&w->request->id_base, sizeof(w->request->id_base));
    e = upstream_new(w->reactor, &w->upstream);
    if (e != ERR_OK)
        return e;
    if (w->index == 0) {
        e = upstream_prober_new(w->upstream, &w->prober);
        if (e == ERR_OK)
            e = snapshot_probe(w->snapshot, w->prober);
        if (e != ERR_OK)
            return e;
    }
    w->requests_tick = tunnels_tick;
    fetcher_init(&w->request->fetcher, w);
    return cache_worker_new(server_cache(w->server), w->reactor, &w->request->fetcher, &w->cache);
}

void request_worker_stop(struct worker *w)
{
    if (w->cache != NULL)
        cache_worker_free(w->cache);
    upstream_prober_free(w->prober);
    upstream_free(w->upstream);
    log_stream_free(w->access);
    if (w->request != NULL) {
        if (w->request->date != NULL)
            h2o_mem_release_shared(w->request->date);
        free((char *)(uintptr_t)w->request->via.p);
    }
    free(w->request);
    w->cache = NULL;
    w->prober = NULL;
    w->upstream = NULL;
    w->access = NULL;
    w->request = NULL;
}

static enum cache_journal_lost lost_policy(const struct config *c)
{
    return c->journal.on_lost == CONFIG_LOST_SERVE  ? CACHE_LOST_SERVE
           : c->journal.on_lost == CONFIG_LOST_FAIL ? CACHE_LOST_FAIL
                                                    : CACHE_LOST_REVALIDATE;
}

enum err request_server_start(struct server *s, struct buf *why)
{
    const struct config *c = server_config(s);
    struct cache_options opt = {
        .role = server_role(s),
        .node = c->node,
        .store = server_store(s),
        .purge = server_purge(s),
        .files = server_files(s),
        .store_bytes = c->store_size,
        .journal_grace_ms = (int64_t)c->journal.grace_ms,
        .on_journal_lost = lost_policy(c),
    };
    struct cache *cache;
    enum err e = cache_new(&opt, &cache);

    if (e == ERR_OK)
        server_set_cache(s, cache);
    else
        buf_addf(why, "the cache cannot be started: %s", err_name(e));
    return e;
}

void request_server_stop(struct server *s)
{
    cache_free(server_cache(s));
    server_set_cache(s, NULL);
}
