/*
 * server_priv: what the files of lib/server share.
 *
 * A connection (struct conn) hangs on its socket, a request (struct server_request, request.c) on
 * libh2o's request.  Both belong to their worker's thread.  A struct snapshot is what one
 * loading of the configuration came to; workers swap to a new one between two
 * turns of their loop, requests keep the one they began with.
 */
#ifndef SERVER_SERVER_PRIV_H
#define SERVER_SERVER_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <h2o.h>
#include <openssl/ssl.h>

#include "base/log.h"
#include "base/reactor.h"
#include "cache/role.h"
#include "config/config.h"
#include "server/server.h"
#include "site/site.h"
#include "upstream/upstream.h"

struct admin;
struct cache;
struct cache_worker;
struct purge;
struct store;
struct store_reader;

/* ---- snapshot.c: configuration -> what serving needs ---- */

/* Hangs on struct site's `user`. */
struct snapshot_origin {
    struct upstream_target *target; /* owned */
    struct slice host_header;       /* p == NULL: the client's host */
};

struct snapshot {
    _Atomic unsigned refs;
    struct config *config;   /* a reference */
    struct site *site;       /* owned; config->sites_count of them */
    struct snapshot_origin *origin; /* owned; beside `site` */
    struct sites *sites;     /* owned */
    struct tls *tls;         /* owned; NULL when no listener has certificates */
};

/* Build from `c` (a reference is taken).  On failure `why` gets the lines for a person. */
NODISCARD enum err snapshot_new(struct config *c, struct snapshot **out, struct buf *why);
struct snapshot *snapshot_ref(struct snapshot *s);
void snapshot_unref(struct snapshot *s); /* NULL is fine; any thread */

/* ---- tls.c: certificates by name ---- */

struct tls;      /* the certificates of one snapshot, all listeners */
struct tls_cert; /* one certificate with its names; lives as long as its struct tls */

/* Does the certificate cover `host` (RFC 6125 wildcards in the leftmost label)? */
bool tls_cert_covers(const struct tls_cert *cert, struct slice host);

/* ---- conn: one client connection (conn.c) ---- */

enum conn_kind { CONN_TLS, CONN_REDIRECT, CONN_PLAIN };

struct conn {
    struct worker *worker;
    h2o_socket_t *sock;          /* NULL once closed */
    struct conn *next, *prev;    /* of the worker's list */
    enum conn_kind kind;
    uint16_t port;               /* of the listener */
    struct snapshot *snapshot;   /* keeps `cert` alive */
    const struct tls_cert *cert; /* chosen in the handshake; NULL without TLS */
    unsigned refs;               /* the socket and each request */

    unsigned requests_open;      /* on_req called, not disposed */
    uint64_t requests_total;
    unsigned early_deaths;       /* in the present window */
    int64_t early_deaths_at_ms;

    unsigned outputs;            /* responses with bytes handed over and not yet taken */
    int64_t outputs_since_ms;    /* since when `outputs` has been > 0 */
    uint64_t outputs_bytes;      /* sock->bytes_written then */
    uint64_t body_bytes_accounted; /* request heads and bodies that reached on_req */
    int64_t upload_since_ms;     /* since when bytes are unaccounted; 0: none */
    uint64_t upload_bytes;       /* sock->bytes_read then */
};

static inline struct conn *conn_of(h2o_req_t *req)
{
    h2o_socket_t *s = req->conn->callbacks->get_socket(req->conn);

    return s == NULL ? NULL : (struct conn *)s->on_close.data;
}

/* Called by request.c: */
void conn_request_begin(struct conn *c, h2o_req_t *req);      /* first thing in on_req: accounts its bytes */
void conn_request_end(struct conn *c, bool ended_by_us);      /* from the pool's disposer; `ended_by_us`: the final bytes had been handed over */
void conn_output_begin(struct conn *c);                       /* bytes of one response were handed to libh2o, or pulling began */
void conn_output_end(struct conn *c);                         /* taken (proceed), or the request died */
void conn_shut(struct conn *c);                               /* shutdown(2): libh2o cleans up along its own error path */

/* ---- worker ---- */

struct worker {
    struct server *server;
    unsigned index;
    pthread_t thread;
    h2o_context_t ctx;
    h2o_handler_t *handler;
    struct reactor *reactor;     /* over ctx.loop */
    struct upstream *upstream;
    struct cache_worker *cache;
    struct log_stream *access;
    struct snapshot *snapshot;   /* current; swapped by a message */
    struct conn *conns;
    _Atomic unsigned conns_count;
    _Atomic unsigned requests_open; /* of all connections: drain waits for 0 */
    _Atomic int64_t heartbeat_ms; /* set each tick: the main thread sees a stuck loop */
    bool draining;
};

struct worker *worker_of(h2o_req_t *req); /* O(1): from the context */

/* ---- request.c ---- */

/* The one handler of the one path: everything comes here, on every listener but admin's. */
int request_on_req(h2o_handler_t *self, h2o_req_t *req);

/* ---- public state, any thread ---- */

enum server_health { SERVER_HEALTHY, SERVER_DRAINING, SERVER_STUCK };
enum server_health server_health(const struct server *s);

struct purge *server_purge(struct server *s);
struct store *server_store(struct server *s);
struct cache *server_cache(struct server *s);
const struct role *server_role(const struct server *s);

#endif
