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
#include "geo/geo.h"
#include "server/server.h"
#include "site/site.h"
#include "upstream/upstream.h"

struct admin;
struct peer; /* peer.h */
struct cache;
struct cache_worker;
struct purge;
struct request_worker; /* request.h */
struct files;
struct geo_drains;
struct journal;
struct kin;
struct geo_region;
struct releases;
struct store;
struct store_reader;

/* ---- snapshot.c: configuration -> what serving needs ---- */

/* Hangs on struct site's `user`. */
struct snapshot_origin {
    struct upstream_target *target; /* owned */
    struct upstream_route *route;   /* owned; NULL: there are no shields */
    struct slice host_header;       /* p == NULL: the client's host */
    struct slice secret;            /* for shields of a private net; p == NULL: none */
    struct slice sites_hash;        /* of the snapshot: for shields, to compare */
    int64_t shield_first_byte_ms, shield_idle_ms; /* a shield waits so long for this origin */
    bool may_go_direct;             /* past the shields */
};

enum { SITES_HASH_BYTES = 16 };

struct snapshot {
    _Atomic unsigned refs;
    struct config *config;          /* a reference */
    struct site *site;              /* owned; config->sites_count of them */
    struct snapshot_origin *origin; /* owned; beside `site` */
    struct upstream_target **shield; /* owned; nearest group first */
    size_t shields_count;
    struct sites *sites;            /* owned */
    char sites_hash[SITES_HASH_BYTES + 1]; /* config->sites_hash as text */
    struct site files_site;         /* of contents that are had from the journal's owner */
    struct snapshot_origin files_origin;
    const struct site *files_from;  /* files_site; NULL: this node has no owner, and publishes itself */
    struct tls *tls;                /* owned; NULL when no listener has certificates */
    struct geo *geo;                /* owned; NULL without a database */
    struct geo_region *regions;     /* owned */
    size_t regions_count;
    size_t here; /* the region this node is in; SIZE_MAX: none */
};

/* Build from `c` (a reference is taken).  On failure `why` gets the lines for a person. */
NODISCARD enum err snapshot_new(struct config *c, struct snapshot **out, struct buf *why);
struct snapshot *snapshot_ref(struct snapshot *s);
void snapshot_unref(struct snapshot *s); /* NULL is fine; any thread */

/* Let `p` probe the servers that this snapshot goes to.  ERR_NOMEM: it goes on as before. */
NODISCARD enum err snapshot_probe(const struct snapshot *s, struct upstream_prober *p);

/* The largest max_request_body of its sites: libh2o knows one limit for all of them. */
uint64_t snapshot_request_body_max(const struct snapshot *s);

/* ---- tls.c: certificates by name (tls.h) ---- */

struct tls;      /* the certificates of one snapshot, all listeners */
struct tls_cert; /* one certificate with its names; lives as long as its struct tls */

/* Does the certificate cover `host` (RFC 6125 wildcards in the leftmost label)? */
bool tls_cert_covers(const struct tls_cert *cert, struct slice host);

/* ---- conn: one client connection (conn.c) ---- */

/* The last two: of a shield, for peers with a certificate, or plain for those with the secret. */
enum conn_kind { CONN_TLS, CONN_REDIRECT, CONN_PLAIN, CONN_PEER, CONN_PEER_PLAIN };

struct conn_upload; /* one request of HTTP/2 whose head was decoded and which on_req has not seen */

/*
 * The request that an HTTP/1 connection is busy with.  libh2o does not read its socket meanwhile,
 * so nobody but conn.c would notice that the client has left.
 *
 *   left   it has: entirely, or it has closed its side for so long and may yet read an answer.
 *          Ends the request, or leaves it; the connection may be gone afterwards.
 */
struct conn_running {
    void *request; /* NULL: none */
    void (*left)(void *request, bool entirely, int64_t half_closed_ms);
    int64_t since_ms;
    int64_t half_closed_since_ms; /* 0: it has not */
};

struct conn {
    struct worker *worker;
    h2o_socket_t *sock;       /* NULL once closed */
    struct conn *next, *prev; /* of the worker's list */
    enum conn_kind kind;
    bool is_h2;
    bool is_tunnel;            /* no request any more, and nobody's upload */
    bool is_shut;              /* conn_shut() was called: nothing is counted against it any more */
    uint16_t port;             /* of the listener */
    uint16_t https_port;       /* as the listener's */
    struct snapshot *snapshot; /* keeps `cert` alive */
    const struct tls_cert *cert; /* chosen in the handshake; NULL without TLS */
    struct peer *peer;           /* owned; CONN_PEER: whose certificate was shown; NULL: none */
    unsigned refs;               /* the socket and each request */

    char address[46], network[46]; /* of the client, as text; refusal.c, at its first request */
    uint8_t address_bytes, network_bytes;

    struct geo_place place; /* of the client; region.c, when it is first asked for */
    uint64_t place_serial;  /* of the database that said so; 0: nobody has asked */

    int linger_fd; /* -1, or a second name of the socket: conn_linger() was called */
    struct conn_running running;
    uint64_t pushed_bytes;  /* of bodies, handed over and not yet taken; response.c */
    unsigned requests_open; /* on_req called, not disposed */
    uint64_t requests_total;
    int64_t idle_since_ms; /* when `requests_open` became 0 */
    unsigned early_deaths; /* in the present window */
    int64_t early_deaths_at_ms;
    uint64_t early_deaths_total;

    unsigned outputs;         /* responses with bytes handed over and not yet taken */
    bool is_outputs_sampled;  /* a tick has seen `outputs` > 0 and begun a window */
    int64_t outputs_since_ms; /* when that window began */
    uint64_t outputs_bytes;   /* bytes that the peer had acknowledged then */

    h2o_socket_cb read; /* libh2o's own reader, behind ours */
    uint64_t bytes_in;  /* read so far, above TLS; sock->bytes_read is of the last read alone */
    struct conn_upload *uploads; /* newest first */
    uint64_t uploads_bytes;      /* of DATA that they hold */
    uint64_t owed_bytes;         /* of DATA that was thrown away, to the window of the connection */
    uint32_t owed_stream_id;     /* the last such stream, closed by now */
    uint64_t uploads_bytes_total; /* DATA and header blocks ever received */
    uint32_t head_stream_id;      /* of the last HEADERS frame */
    bool head_ends_stream;
    bool is_block_open;    /* its header block goes on */
    unsigned block_frames; /* CONTINUATION frames since then */
    size_t block_bytes;
    int64_t upload_since_ms; /* since when a request is incomplete; 0: none is */
    uint64_t upload_bytes;   /* bytes received then */
};

static inline struct conn *conn_of(h2o_req_t *req)
{
    h2o_socket_t *s = req->conn->callbacks->get_socket(req->conn);

    return s == NULL ? NULL : (struct conn *)s->on_close.data;
}

/* Called by request.c: */

/* First thing in on_req: its body no longer counts as an open upload.  A reference, dropped by
 * conn_request_end(). */
void conn_request_begin(struct conn *c, h2o_req_t *req);

/* Last thing in the pool's disposer.  `ended_by_us`: the final bytes had been handed over; else it
 * is an early death. */
void conn_request_end(struct conn *c, bool ended_by_us);

/* Bytes of one response were handed to libh2o, or pulling began. */
void conn_output_begin(struct conn *c);

/* They were taken (proceed), or the request died: exactly one for each begin. */
void conn_output_end(struct conn *c);

/* shutdown(2): libh2o cleans up along its own error path, in a later turn. */
void conn_shut(struct conn *c);

/* ---- worker ---- */

/* Tunnels of the process, and of each site (tunnel.h). */
struct tunnel_quota {
    pthread_mutex_t lock;
    unsigned open, max;
    struct tunnel_quota_site {
        uint32_t id;
        unsigned open;
    } * site; /* owned; those with open ones */
    size_t sites_count;
};

/* Client connections of the process, all workers together. */
struct conn_quota {
    _Atomic unsigned open;
    unsigned max; /* 90 % of the descriptors */
    struct tunnel_quota tunnels;
};

struct listener;

struct worker {
    struct server *server;
    unsigned index;
    pthread_t thread;
    h2o_globalconf_t conf; /* of its own, so that a reload may change it without a lock */
    h2o_context_t ctx;
    h2o_handler_t *handler;
    struct reactor *reactor; /* over ctx.loop; takes messages from worker_init() on */
    struct upstream
        *upstream; /* made and ended by request_worker_start() and _stop(), as the next two */
    struct cache_worker *cache;
    struct request_worker *request;
    struct upstream_prober *prober; /* of the first worker; NULL in the others */
    struct log_stream *access;
    struct snapshot *snapshot; /* current; swapped by a message */
    struct conn *conns;
    struct tunnel *tunnels;    /* open ones */
    size_t tunnels_a_tick;     /* how many a drain closes in each tick; 0: not known yet */
    struct lingering *lingers; /* linger.c */
    unsigned lingers_count;
    struct conn_quota *quota;   /* shared by all workers */
    struct listener *listeners; /* its own sockets; borrowed */
    size_t listeners_count;
    struct reactor_timer tick;
    void (*requests_tick)(struct worker *w); /* in each tick; of request_worker_start(), or NULL */
    _Atomic unsigned conns_count;
    _Atomic unsigned requests_open; /* of all connections, and tunnels: drain waits for 0 */
    _Atomic int64_t heartbeat_ms;   /* set each tick: the main thread sees a stuck loop */
    bool draining, stopping, is_clean;
};

/* O(1): the context is part of it.  Not for requests of the admin listener. */
static inline struct worker *worker_of(h2o_req_t *req)
{
    return H2O_STRUCT_FROM_MEMBER(struct worker, ctx, req->conn->ctx);
}

/* ---- request.c ---- */

/* The one handler of the one path: everything comes here, on every listener but admin's. */
int request_on_req(h2o_handler_t *self, h2o_req_t *req);

/*
 * On the worker's thread, before its first turn: makes w->upstream, w->cache, w->access.  On
 * failure the worker ends and with it the start of the daemon.  _stop(): after the last connection
 * has gone, while the loop still takes messages; also after a failed start.
 */
NODISCARD enum err request_worker_start(struct worker *w);
void request_worker_stop(struct worker *w);

/*
 * On the main thread: from server_new(), when store and purge are open (calls server_set_cache());
 * and from server_free(), when the workers have ended.  `why` gets a line for a person.  _stop():
 * also after a failed start.
 */
NODISCARD enum err request_server_start(struct server *s, struct buf *why);
void request_server_stop(struct server *s);

/* ---- public state, any thread ---- */

enum server_health {
    SERVER_HEALTHY,
    SERVER_DRAINING,
    SERVER_LAGGING, /* it has just begun, and does not know yet what was purged meanwhile */
    SERVER_STUCK
};
enum server_health server_health(const struct server *s);

struct purge *server_purge(struct server *s);
struct store *server_store(struct server *s);
struct cache *server_cache(struct server *s);
struct journal *server_journal(struct server *s);
struct kin *server_kin(struct server *s);
void server_settled(void *server); /* it lags no longer; any thread */
struct files *server_files(struct server *s);
struct releases *server_releases(struct server *s);
struct geo_drains *server_drains(struct server *s); /* NULL while it starts */
const struct role *server_role(const struct server *s);
const struct config *server_config(const struct server *s); /* the one it started with */
void server_set_cache(struct server *s, struct cache *c);   /* request_server_start() */

#endif
