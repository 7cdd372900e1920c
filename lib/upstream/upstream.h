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
struct upstream_target; /* an origin, or a shield: servers, TLS, ceilings; of all workers, counted
                         */
struct upstream_route;  /* targets in the order in which a request may try them; counted */
struct upstream_prober; /* asks servers whether they are well; one a process */

enum upstream_balance {
    UPSTREAM_LEAST, /* the server with the fewest requests for its weight */
    UPSTREAM_HASH,  /* the server that has the request's key */
};

struct upstream_probe {
    const char *path;             /* NULL: no probes, every server counts as up */
    const char *host;             /* the Host field */
    int64_t every_ms, timeout_ms; /* timeout_ms: for the connection, and for the head */
};

struct upstream_target_options { /* borrowed for the call */
    const char *name;            /* of the site: for logs */
    const char *const *servers;  /* scheme://host[:port]; at most LIMIT_SERVERS */
    size_t servers_count;
    const unsigned *weights; /* of the servers, at least 1 each; NULL: equal ones */
    enum upstream_balance balance;
    const char *sni; /* NULL: the request's Host */
    const char *ca;  /* PEM file, or NULL: the system's */
    const char
        *certificate; /* PEM file of chain and key that is shown to the servers; NULL: none */
    bool verify;
    bool allow_local;
    bool is_peer; /* a shield: its URL names it, it is believed, and may be left for the next hop */
    unsigned connections, queue; /* ceilings of the node: over all workers */
    int64_t connect_ms, first_byte_ms, idle_ms;
    struct upstream_probe probe; /* by a prober, if there is one */
};

/* ERR_INVALID: a server that is no URL.  ERR_NOMEM. */
NODISCARD enum err upstream_target_new(const struct upstream_target_options *opt,
                                       struct upstream_target **out);
struct upstream_target *upstream_target_ref(struct upstream_target *t);
void upstream_target_unref(struct upstream_target *t);

/*
 * A request goes to the nearest group that is well, and in it to the target that has its key.  It
 * leaves a shield for another target only
 *   - when no connection can be had in time,
 *   - when the connection ends before a byte of the answer, and the request is idempotent,
 *   - when probes say that the shield is down and no byte of the answer has come,
 *   - when the shield says Selvage-Error: draining, overloaded or refused (it does not take us for
 * a node of its fleet): never because it is slow, or answers with an error.  Nothing leaves an
 * origin.
 */
struct upstream_hop {
    struct upstream_target *target;
    unsigned group; /* 0 is tried first; the origin's is the last */
};

/* At most LIMIT_HOPS; references are taken.  ERR_NOMEM. */
NODISCARD enum err upstream_route_new(const struct upstream_hop *hops, size_t n,
                                      struct upstream_route **out);
struct upstream_route *upstream_route_ref(struct upstream_route *r);
void upstream_route_unref(struct upstream_route *r); /* NULL is fine */

NODISCARD enum err upstream_new(struct reactor *r, struct upstream **out);
void upstream_free(struct upstream *u); /* cancels what runs; NULL is fine */

enum upstream_failure {
    UPSTREAM_OK,
    UPSTREAM_FAILED_RESOLVE,
    UPSTREAM_FAILED_CONNECT,      /* refused, unreachable */
    UPSTREAM_FAILED_CONNECT_TIME, /* no connection within connect_ms */
    UPSTREAM_FAILED_TLS,
    UPSTREAM_FAILED_TIMEOUT,   /* no first byte, no complete head within first_byte_ms, or an idle
                                  body */
    UPSTREAM_FAILED_CLOSED,    /* ended or reset before the head was complete */
    UPSTREAM_FAILED_GARBAGE,   /* not HTTP, a head too large, framing that contradicts itself */
    UPSTREAM_FAILED_TRUNCATED, /* ended or reset in the body */
    UPSTREAM_FAILED_OVERLOAD,  /* the ceiling and its queue are full */
    UPSTREAM_FAILED_DOWN,      /* probes say so of all that may be asked */
    UPSTREAM_FAILED_BREAKER,   /* it failed every time of late; nobody was asked */
    UPSTREAM_FAILED_AWAY, /* the shield wants nothing of us (draining, overloaded, refused), and no
                             other is left */
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
    int status; /* final: 1xx come by interim() */
    struct http_fields
        fields; /* lower-case names, all lines, hop-by-hop ones too; borrowed for the call */
    enum upstream_framing framing;
    uint64_t body_bytes;  /* with UPSTREAM_LENGTH */
    int64_t sent_mono_ms; /* when the request was handed to a connection */
    bool is_peer;         /* a shield's: its Selvage-* fields may be believed */
};

/*
 * Tunnels.  A request with `upgrade` goes out on a connection of its own.  When it is answered by
 * anything but 101, that is an answer like all others.  A head of status 101 makes it a tunnel:
 * what comes is given to body(), upstream_send() is the other way, done() is its end (UPSTREAM_OK:
 * the other side has closed it).  It holds no place under the ceiling of its target any more, and
 * has no idle limit: who has opened it sees to both.
 */

enum upstream_flow { UPSTREAM_GO_ON, UPSTREAM_PAUSE /* after taking these bytes */ };

struct upstream_events {
    void (*head)(void *user, const struct upstream_head *h);
    enum upstream_flow (*body)(void *user, const char *p, size_t n); /* borrowed for the call */
    void (*done)(void *user, enum upstream_failure f,
                 const char *text); /* last; the fetch is gone when this returns */
    void (*room)(void *user); /* of a tunnel: all that upstream_send() had taken is on its way; NULL
                                 is fine */
    /* An interim response of status 102 to 199, before head(); fields as there.  NULL is fine. */
    void (*interim)(void *user, int status, const struct http_fields *fields);
};

struct upstream_request { /* borrowed for the call */
    struct upstream_target *target;
    struct upstream_route *route; /* not NULL: this, and not `target` */
    uint64_t key;                 /* a hash of what is asked for: the same on all nodes */
    struct slice method;
    struct slice request_target; /* path and query, byte for byte */
    struct slice host;           /* the Host field */
    struct slice origin_host;    /* p != NULL: the Host field for a target that is no peer */
    const struct http_fields
        *fields; /* all that goes out but Host, Content-Length and Connection */
    const struct http_fields *peer_fields, *origin_fields; /* and these, by what the target is;
                                                              NULL: none */
    /* What a peer that is asked for this waits for itself: it is given at least so long.  0: what
     * its target says. */
    int64_t peer_first_byte_ms, peer_idle_ms;
    struct slice body;  /* copied */
    bool has_body;      /* also an empty one: then Content-Length: 0 */
    bool stream;        /* no idle limit under LIMIT_STREAM_IDLE_MS */
    bool is_idempotent; /* may be sent again when the connection ends without a byte */
    struct slice upgrade; /* p != NULL: the protocol that is asked for, for Upgrade; no body then */
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

/* From now on these events are told, to this user.  Also from inside a callback. */
void upstream_hand_over(struct upstream_fetch *f, const struct upstream_events *ev, void *user);

/*
 * Of a tunnel: copy from `p` what there is room for, at most LIMIT_TUNNEL_BYTES in all, and send it
 * as it can be sent.  How many bytes were taken: `n`, if upstream_room() said so much before.  When
 * not all of it is sent at once, as upstream_unsent() tells, room() is called once it is.
 */
size_t upstream_send(struct upstream_fetch *f, const char *p, size_t n);
size_t upstream_room(const struct upstream_fetch *f);
size_t upstream_unsent(const struct upstream_fetch *f); /* bytes that were taken and not yet sent */

/*
 * Probes run on the thread of `u`, which must outlive the prober.  Any number of targets; those
 * without a probe are skipped.  What servers of the same URL were found to be before holds on.
 * References are taken.  ERR_NOMEM: it goes on with the old ones.
 */
NODISCARD enum err upstream_prober_new(struct upstream *u, struct upstream_prober **out);
NODISCARD enum err upstream_prober_use(struct upstream_prober *p,
                                       struct upstream_target *const *targets, size_t n);
void upstream_prober_free(struct upstream_prober *p); /* NULL is fine */

#endif
