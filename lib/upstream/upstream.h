/*
 * upstream: the next hop.  Fetch this; tell me head, body, end; cancel.
 *
 * HTTP/1.1 over libcurl's multi interface, inside the worker's loop.  The request goes out byte for
 * byte; TLS is verified; connections are kept and counted under a ceiling per target; answers come
 * with backpressure.  One per worker; a fetch belongs to its worker.
 *
 * Callbacks never come from inside upstream_fetch(), upstream_resume() or upstream_cancel().  From
 * inside a callback everything but upstream_free() may be called; upstream_cancel() of the fetch
 * itself too.
 */
#ifndef UPSTREAM_UPSTREAM_H
#define UPSTREAM_UPSTREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/reactor.h"
#include "http/fields.h"

struct upstream;        /* one per worker */
struct upstream_fetch;  /* one request on its way */
struct upstream_target; /* an origin: servers, TLS, ceilings; shared by all workers, counted */

struct upstream_target_options { /* borrowed for the call */
    const char *name;            /* of the site: for logs */
    const char *const *servers;  /* scheme://host[:port], tried in turn */
    size_t servers_count;
    const char *sni; /* NULL: the request's Host */
    const char *ca;  /* PEM file, or NULL: the system's */
    bool verify;
    bool allow_local;
    unsigned connections, queue; /* ceilings of the node: over all workers */
    int64_t connect_ms, first_byte_ms, idle_ms;
};

/* ERR_INVALID: a server that is no URL.  ERR_NOMEM. */
NODISCARD enum err upstream_target_new(const struct upstream_target_options *opt,
                                       struct upstream_target **out);
struct upstream_target *upstream_target_ref(struct upstream_target *t);
void upstream_target_unref(struct upstream_target *t);

NODISCARD enum err upstream_new(struct reactor *r, struct upstream **out);
void upstream_free(struct upstream *u); /* cancels what runs; NULL is fine */

enum upstream_failure {
    UPSTREAM_OK,
    UPSTREAM_FAILED_RESOLVE,
    UPSTREAM_FAILED_CONNECT, /* refused, unreachable, no connection within connect_ms */
    UPSTREAM_FAILED_TLS,
    UPSTREAM_FAILED_TIMEOUT,   /* no first byte, no complete head within first_byte_ms, or an idle
                                  body */
    UPSTREAM_FAILED_CLOSED,    /* ended or reset before the head was complete */
    UPSTREAM_FAILED_GARBAGE,   /* not HTTP, a head too large, framing that contradicts itself */
    UPSTREAM_FAILED_TRUNCATED, /* ended or reset in the body */
    UPSTREAM_FAILED_OVERLOAD,  /* the ceiling and its queue are full */
};

const char *upstream_failure_name(
    enum upstream_failure f); /* "connect-refused"... as in detail= of Cache-Status: a token */

enum upstream_framing {
    UPSTREAM_NO_BODY,
    UPSTREAM_LENGTH, /* body_bytes is known */
    UPSTREAM_CHUNKED,
    UPSTREAM_TO_CLOSE, /* only the end of the connection ends it: relay, never store */
};

struct upstream_head {
    int status; /* final: 1xx are skipped */
    struct http_fields
        fields; /* lower-case names, all lines, hop-by-hop ones too; borrowed for the call */
    enum upstream_framing framing;
    uint64_t body_bytes;  /* with UPSTREAM_LENGTH */
    int64_t sent_mono_ms; /* when the request was handed to a connection */
};

enum upstream_flow { UPSTREAM_GO_ON, UPSTREAM_PAUSE /* after taking these bytes */ };

struct upstream_events {
    void (*head)(void *user, const struct upstream_head *h);
    enum upstream_flow (*body)(void *user, const char *p, size_t n); /* borrowed for the call */
    void (*done)(void *user, enum upstream_failure f,
                 const char *text); /* last; the fetch is gone when this returns */
};

struct upstream_request { /* borrowed for the call */
    struct upstream_target *target;
    struct slice method;
    struct slice request_target; /* path and query, byte for byte */
    struct slice host;           /* the Host field */
    const struct http_fields
        *fields;        /* all that goes out but Host, Content-Length and Connection */
    struct slice body;  /* copied */
    bool has_body;      /* also an empty one: then Content-Length: 0 */
    bool stream;        /* no idle limit under LIMIT_STREAM_IDLE_MS */
    bool is_idempotent; /* may be sent again when the connection ends without a byte */
};

/* Start.  ERR_NOMEM, ERR_INVALID (a field or target that cannot be sent). Failures of the network
 * come by done(). */
NODISCARD enum err upstream_fetch(struct upstream *u, const struct upstream_request *rq,
                                  const struct upstream_events *ev, void *user,
                                  struct upstream_fetch **out);
void upstream_resume(
    struct upstream_fetch *f); /* after UPSTREAM_PAUSE; nothing when it is not paused */
void upstream_cancel(
    struct upstream_fetch *f); /* no callback comes any more; its connection is closed */

#endif
