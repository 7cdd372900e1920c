/* struct cache_fetcher over lib/upstream: the two know nothing of each other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/digest.h"
#include "base/limits.h"
#include "base/log.h"
#include "server/kin.h"
#include "server/request.h"
#include "server/tunnel.h"

enum { SAID_BYTES = 1024 };

struct fetch {
    struct worker *worker;
    struct upstream_fetch *upstream; /* NULL: a tunnel has it now */
    struct tunnel *tunnel;           /* a reference: a WebSocket is asked for; else NULL */
    const struct cache_fetch_events *events;
    void *fill;
    bool is_ending; /* done() is on the stack, and frees it */
};

static enum cache_framing framing_of(enum upstream_framing f)
{
    switch (f) {
    case UPSTREAM_NO_BODY:
        return CACHE_NO_BODY;
    case UPSTREAM_LENGTH:
        return CACHE_LENGTH;
    case UPSTREAM_CHUNKED:
        return CACHE_CHUNKED;
    case UPSTREAM_TO_CLOSE:
        break;
    }
    return CACHE_TO_CLOSE;
}

static enum response_failure failure_of(enum upstream_failure f)
{
    static const enum response_failure ours[] = {
        [UPSTREAM_OK] = RESPONSE_CAME,
        [UPSTREAM_FAILED_RESOLVE] = RESPONSE_UNRESOLVED,
        [UPSTREAM_FAILED_CONNECT] = RESPONSE_UNREACHABLE,
        [UPSTREAM_FAILED_CONNECT_TIME] = RESPONSE_CONNECT_TIMED_OUT,
        [UPSTREAM_FAILED_TLS] = RESPONSE_TLS,
        [UPSTREAM_FAILED_TIMEOUT] = RESPONSE_TIMED_OUT,
        [UPSTREAM_FAILED_CLOSED] = RESPONSE_CLOSED,
        [UPSTREAM_FAILED_GARBAGE] = RESPONSE_GARBAGE,
        [UPSTREAM_FAILED_TRUNCATED] = RESPONSE_BROKEN,
        [UPSTREAM_FAILED_OVERLOAD] = RESPONSE_OVERLOADED,
        [UPSTREAM_FAILED_AWAY] = RESPONSE_OVERLOADED,
        [UPSTREAM_FAILED_DOWN] = RESPONSE_DOWN,
        [UPSTREAM_FAILED_BREAKER] = RESPONSE_BREAKER,
    };

    CHECK((size_t)f < sizeof(ours) / sizeof(ours[0]));
    return ours[f];
}

/* Marked, and no answer in itself: an error of the shield's making, or a 304 that means its stale
 * copy, which is not news about ours. */
static bool is_failure_told(const struct upstream_head *h, struct slice *out_mark)
{
    *out_mark = http_fields_value(&h->fields, SLICE("selvage-error"));
    return h->is_peer && out_mark->p != NULL && (h->status >= 500 || h->status == 304);
}

static void fetch_free(struct fetch *f)
{
    tunnel_unref(f->tunnel);
    free(f);
}

static bool is_of_fleet(struct slice name)
{
    return slice_starts_with(name, SLICE("selvage-"));
}

static void end_told(struct fetch *f, struct slice mark)
{
    /* it is to us as if the origin had failed here */
    enum response_failure failure = failure_of_mark(mark);

    log_debug("upstream: the shield says %.*s", (int)mark.n, mark.p);
    upstream_cancel(f->upstream);
    f->is_ending = true;
    f->events->done(f->fill, failure, false, "told-by-shield");
    fetch_free(f);
}

/* What we asked for cannot be had from that, whatever it is. */
static void end_unfit(struct fetch *f)
{
    upstream_cancel(f->upstream);
    f->is_ending = true;
    f->events->done(f->fill, RESPONSE_GARBAGE, false,
                    "garbage: a 101 that does not answer this request");
    fetch_free(f);
}

/* The shield has compared what this node said of itself. */
static void look_for_differences(const struct fetch *f, const struct upstream_head *h)
{
    struct slice text = http_fields_value(&h->fields, SLICE("selvage-differs")), node;
    unsigned matters = kin_parse(text, &node);

    if (matters != 0)
        kin_differs(server_kin(f->worker->server), node, matters,
                    reactor_now_ms(f->worker->reactor));
}

static void on_head(void *user, const struct upstream_head *h)
{
    struct fetch *f = user;
    struct http_fields fields = h->fields;
    struct slice mark;
    struct cache_fetch_head head = {
        .status = h->status,
        .fields = &fields,
        .framing = framing_of(h->framing),
        .body_bytes = h->body_bytes,
        .sent_mono_ms = h->sent_mono_ms,
        .is_peer = h->is_peer,
    };

    if (h->is_peer)
        look_for_differences(f, h);
    if (h->status == 101) {
        if (tunnel_take(f->tunnel, f->upstream, h))
            f->upstream = NULL; /* the exchange has ended, and cancels this */
        else
            end_unfit(f);
        return;
    }
    if (is_failure_told(h, &mark)) {
        end_told(f, mark);
        return;
    }
    if (!h->is_peer) { /* an origin does not speak for the fleet */
        fields.count = 0;
        for (size_t i = 0; i < h->fields.count; i++)
            if (!is_of_fleet(h->fields.item[i].name))
                fields.item[fields.count++] = h->fields.item[i];
    }
    f->events->head(f->fill, &head); /* may cancel, and so free it */
}

static void on_interim(void *user, int status, const struct http_fields *fields)
{
    struct fetch *f = user;

    f->events->interim(f->fill, status, fields); /* may cancel, and so free it */
}

static enum upstream_flow on_body(void *user, const char *p, size_t n)
{
    struct fetch *f = user;

    return f->events->body(f->fill, p, n) ? UPSTREAM_GO_ON : UPSTREAM_PAUSE;
}

static void on_done(void *user, enum upstream_failure failure, const char *text)
{
    struct fetch *f = user;
    const char *name = text == NULL ? NULL : strstr(text, ": ");
    char said[SAID_BYTES];

    /* for the log: whoever looks after the origin has to know what is wrong with it; the site's
     * name, which `text` begins with, stands there already */
    snprintf(said, sizeof(said), "%s%s", upstream_failure_name(failure), name == NULL ? "" : name);
    f->is_ending = true;
    f->events->done(f->fill, failure_of(failure), failure == UPSTREAM_OK, said);
    fetch_free(f);
}

/* Room for the fields of a request, and our own. */
enum { FIELDS_MAX = LIMIT_FIELDS + 32 };

struct sorted {
    struct http_fields all, peers, origin;
    struct http_field all_item[FIELDS_MAX], peers_item[FIELDS_MAX], origin_item[1];
};

/*
 * What is for shields alone, for the origin alone, and for both.  The mark against loops is set by
 * the node that leaves the fleet (RFC 8586): ours is the last line of CDN-Loop.
 */
static enum err sort_fields(const struct cache_fetch_request *rq, const struct snapshot_origin *o,
                            struct sorted *to)
{
    const struct http_fields *from = rq->fields;
    size_t loop = from->count;

    if (from->count + 3 > FIELDS_MAX)
        return ERR_LIMIT;
    to->all = (struct http_fields){.item = to->all_item};
    to->peers = (struct http_fields){.item = to->peers_item};
    to->origin = (struct http_fields){.item = to->origin_item};
    for (size_t i = 0; i < from->count; i++)
        if (slice_eq(from->item[i].name, SLICE("cdn-loop")))
            loop = i;
    for (size_t i = 0; i < from->count; i++) {
        if (is_of_fleet(from->item[i].name))
            to->peers_item[to->peers.count++] = from->item[i];
        else if (i == loop)
            to->origin_item[to->origin.count++] = from->item[i];
        else
            to->all_item[to->all.count++] = from->item[i];
    }
    if (rq->position.p != NULL)
        to->peers_item[to->peers.count++] =
            (struct http_field){SLICE("selvage-position"), rq->position};
    to->peers_item[to->peers.count++] = (struct http_field){SLICE("selvage-sites"), o->sites_hash};
    if (o->secret.p != NULL)
        to->peers_item[to->peers.count++] = (struct http_field){SLICE("selvage-secret"), o->secret};
    return ERR_OK;
}

/* All nodes agree on it, whatever their keys are made of besides. */
static uint64_t key_of(const struct cache_fetch_request *rq)
{
    return digest_64(rq->target) ^ (digest_64(rq->host) << 1);
}

static enum err start(void *user, const struct cache_fetch_request *rq,
                      const struct cache_fetch_events *events, void *fill, void **out_fetch)
{
    static const struct upstream_events ours = {on_head, on_body, on_done, NULL, on_interim};
    struct worker *w = user;
    const struct snapshot_origin *origin = rq->site->user;
    struct sorted fields;
    struct upstream_request request = {
        .target = origin->target,
        .route = rq->is_direct ? NULL : origin->route,
        .key = key_of(rq),
        .method = rq->method,
        .request_target = rq->target,
        .host = rq->host,
        .origin_host = origin->host_header,
        .fields = &fields.all,
        .peer_fields = &fields.peers,
        .origin_fields = &fields.origin,
        .peer_first_byte_ms = origin->shield_first_byte_ms,
        .peer_idle_ms = origin->shield_idle_ms,
        .body = rq->body,
        .has_body = rq->has_body,
        .stream = rq->is_stream,
        .is_idempotent = rq->is_idempotent,
        .upgrade = slice_of(rq->upgrade),
    };
    struct fetch *f;
    enum err e = sort_fields(rq, origin, &fields);

    if (rq->is_direct && origin->route != NULL && !origin->may_go_direct)
        return ERR_NOT_FOUND;
    if (e != ERR_OK)
        return e;
    f = calloc(1, sizeof(*f));
    if (f == NULL)
        return ERR_NOMEM;
    f->worker = w;
    f->events = events;
    f->fill = fill;
    f->tunnel = rq->upgrade == NULL ? NULL : tunnel_ref(rq->upgrade_user);
    e = upstream_fetch(w->upstream, &request, &ours, f, &f->upstream);
    if (e == ERR_OK)
        *out_fetch = f;
    else
        fetch_free(f);
    return e;
}

static void resume(void *fetch)
{
    struct fetch *f = fetch;

    upstream_resume(f->upstream);
}

static void cancel(void *fetch)
{
    struct fetch *f = fetch;

    if (f->is_ending)
        return;
    if (f->upstream != NULL)
        upstream_cancel(f->upstream);
    fetch_free(f);
}

void fetcher_init(struct cache_fetcher *f, struct worker *w)
{
    *f = (struct cache_fetcher){start, resume, cancel, w};
}
