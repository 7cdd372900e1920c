/*
 * cache: the HTTP cache: a request goes in, an answer and a body come out.
 *
 * The interface to the server.  One struct cache a process, one struct cache_worker a worker
 * thread, one struct cache_exchange a request.  The engine decides (decide_request,
 * decide_response), looks up (store), collapses (one fetch per key in the process), and hands out
 * bodies.  It knows no sockets: a fetch is asked for through struct cache_fetcher.
 *
 * Invariants
 *   - Every exchange gets exactly one answer, unless it is cancelled first.
 *   - A body ends with CACHE_BODY_END only when all of it was given; else with CACHE_BODY_BROKEN.
 *   - What a purge acknowledged before an exchange began is not in its answer.
 *
 * Threads: an exchange belongs to its worker; every call and every callback is on that thread.
 */
#ifndef CACHE_CACHE_H
#define CACHE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/block.h"
#include "base/err.h"
#include "base/reactor.h"
#include "cache/decide_response.h"
#include "cache/role.h"
#include "http/cache_status.h"
#include "site/site.h"

struct cache;
struct cache_worker;
struct cache_exchange;
struct files;
struct purge;
struct store;

/* ---- what the server gives: fetches ---- */

/* What keeps the configuration alive that a request's site belongs to: a fill may outlive its
 * client. */
struct cache_hold {
    void *p;
    void (*ref)(void *p);   /* any thread */
    void (*unref)(void *p); /* any thread */
};

struct cache_fetch_request { /* borrowed for the call */
    const struct site *site;
    struct slice method, target, host;
    const struct http_fields *fields; /* all but Host, Content-Length and Connection */
    struct slice body;
    bool has_body, is_stream, is_idempotent;
    struct slice position; /* value of Selvage-Position, for a peer alone; p == NULL: none */
    const char *upgrade; /* as in struct cache_request */
    void *upgrade_user;
    bool is_direct; /* not from a peer: one has given what cannot be used.  ERR_NOT_FOUND from
                       start() when there is no other way */
};

enum cache_framing { CACHE_NO_BODY, CACHE_LENGTH, CACHE_CHUNKED, CACHE_TO_CLOSE };

struct cache_fetch_head {
    int status;
    const struct http_fields *fields; /* borrowed for the call */
    enum cache_framing framing;
    uint64_t body_bytes;  /* with CACHE_LENGTH */
    int64_t sent_mono_ms; /* when the request went out */
    bool is_peer;         /* a node of the fleet says it */
};

struct cache_fetch_events {
    /* An interim response (1xx), before the head; as it came, borrowed for the call. */
    void (*interim)(void *user, int status, const struct http_fields *fields);
    void (*head)(void *user, const struct cache_fetch_head *h);
    bool (*body)(void *user, const char *p,
                 size_t n); /* false: pause after these bytes, until resume */
    void (*done)(void *user, enum response_failure f, bool whole,
                 const char *text); /* last; whole: all of the body came */
};

/* Filled by the server over lib/upstream, by fakes in tests; all on the worker.  No callback comes
 * from inside these. */
struct cache_fetcher {
    enum err (*start)(void *user, const struct cache_fetch_request *rq,
                      const struct cache_fetch_events *ev, void *fill, void **out_fetch);
    void (*resume)(void *fetch);
    void (*cancel)(void *fetch); /* no callback comes after */
    void *user;
};

/* ---- set up ---- */

/* What a follower does once it has not heard its owner's head for the grace period. */
enum cache_journal_lost {
    CACHE_LOST_REVALIDATE, /* serve what was validated or fetched within the last grace period */
    CACHE_LOST_SERVE,
    CACHE_LOST_FAIL, /* 503 */
};

struct cache_options {
    const struct role *role;
    const char *node;     /* in Cache-Status and Via */
    struct store *store;  /* borrowed */
    struct purge *purge;  /* borrowed */
    struct files *files;  /* borrowed; published contents that are here.  NULL: none */
    uint64_t store_bytes; /* objects over a tenth of it are not stored */
    int64_t journal_grace_ms; /* of a follower */
    enum cache_journal_lost on_journal_lost;
};

NODISCARD enum err cache_new(const struct cache_options *opt, struct cache **out);
void cache_free(struct cache *c); /* after its workers; NULL is fine */

/*
 * A node that has been off does not know what was purged meanwhile.  While it lags, requests wait
 * for LIMIT_LAG_WAIT_MS at most, and are then fetched without using what is stored; that still
 * stands in when the fetch fails.  Any thread; a new cache does not lag.
 */
void cache_lags(struct cache *c, bool lags);

NODISCARD enum err cache_worker_new(struct cache *c, struct reactor *r,
                                    const struct cache_fetcher *f, struct cache_worker **out);
/* Cancels what runs.  No exchange may be left.  Call it from the worker's thread, while its loop
 * still takes messages. */
void cache_worker_free(struct cache_worker *w);

/* Is the content of that hash in the files of the options?  ERR_OK, ERR_NOT_FOUND, ERR_IO ...  The
 * worker's thread. */
NODISCARD enum err cache_look_file(struct cache_worker *w, const unsigned char *sha256,
                                   uint64_t *out_bytes);

/* ---- a request ---- */

/*
 * A file of a release.  Its content is in `files` of the options, or is had from the node that
 * publishes: then it is stored as any other object, under its hash, once the hash is right.
 */
struct cache_file { /* borrowed until the exchange is over */
    const unsigned char *sha256;      /* of its content */
    uint64_t bytes;                   /* CACHE_BYTES_UNKNOWN: nobody has said */
    const struct http_fields *fields; /* of the answer: Content-Type, ETag, Cache-Control ... */
    const struct site *from; /* where contents are had that are not here; NULL: nowhere */
};

struct cache_request { /* all of it borrowed until the exchange is over, but the struct itself */
    const struct site *site;
    struct cache_hold hold;
    const struct cache_file *file; /* a GET or HEAD of it; NULL: of what the origin has */
    struct slice method, host, target; /* host: in the form of url_host(); target: as received */
    bool is_https;
    bool is_peer; /* from a node of the fleet, which has looked for loops */
    const struct http_fields *fields; /* as received */
    struct slice body;
    bool has_body;
    struct slice client; /* address, for X-Forwarded-For */
    struct slice id;     /* X-Request-Id */
    const char *via;     /* "1.1" or "2": the version of this request, for Via */
    struct arena *arena; /* lives as long as the exchange */

    /* The protocol that it asks for, static text; NULL: none.  Then it is passed, and the fetcher is
     * told, with upgrade_user.  If the upstream agrees, the fetcher sees to the end of the exchange,
     * and tells the cache nothing of that answer. */
    const char *upgrade;
    void *upgrade_user;
};

enum cache_verdict {
    VERDICT_HIT,
    VERDICT_STALE,
    VERDICT_REVALIDATED,
    VERDICT_MISS,
    VERDICT_COLLAPSED,
    VERDICT_PASS,
    VERDICT_ERROR
};

#define CACHE_BYTES_UNKNOWN UINT64_MAX

struct cache_answer { /* borrowed for the call; field values live as long as the exchange */
    int status;
    const struct http_fields *fields; /* end-to-end ones; Content-Length is not among them */
    uint64_t body_bytes;              /* what Content-Length should say; CACHE_BYTES_UNKNOWN */
    bool has_body;  /* bytes follow: cache_body_next() or, when may_pull, cache_body_pull() */
    bool may_pull;  /* whole and resident: pulling never waits */
    bool is_stream; /* an event stream or the like: idle for long */
    int64_t age_s;  /* -1: no Age of ours */
    int64_t date_s; /* of the stored response, for Date; -1: now */
    enum cache_verdict verdict;
    bool has_status; /* a Cache-Status member of ours: */
    struct cache_status cache_status;
    struct slice checked; /* value of Selvage-Checked, to a peer; p == NULL: none.  Lives as long as
                             the exchange */
    const char *peer_error; /* what a shield's client must know of how it came about, for Selvage-Error:
                               static; NULL: nothing */
};

struct cache_client {
    void (*answer)(void *user,
                   const struct cache_answer *a); /* once; may come from inside cache_start() */
    void (*ready)(
        void *user); /* after CACHE_BODY_WAIT: ask again; never from inside cache_body_next() */
    /* The upstream has sent an interim response (1xx) to the request of this very exchange; before
     * answer(), never from inside cache_start().  End-to-end fields; borrowed for the call.  NULL:
     * not wanted. */
    void (*interim)(void *user, int status, const struct http_fields *fields);
};

/* Begin.  NULL when out of memory.  The exchange ends with cache_end(), whatever happens. */
struct cache_exchange *cache_start(struct cache_worker *w, const struct cache_request *rq,
                                   const struct cache_client *client, void *user);

/* End, in any phase: the client has left or has everything.  No callback comes after. */
void cache_end(struct cache_exchange *x);

enum cache_body {
    CACHE_BODY_MORE,   /* here is a piece; there is more */
    CACHE_BODY_END,    /* here is the last piece (perhaps empty) */
    CACHE_BODY_WAIT,   /* nothing now; ready() will be called */
    CACHE_BODY_BROKEN, /* cut: reset or close, never a clean end */
};

struct cache_piece {
    struct block *block; /* a reference, owned by the caller: holds what p points to */
    const char *p;
    size_t n;
};

/* The next piece of at most `max` bytes. */
enum cache_body cache_body_next(struct cache_exchange *x, size_t max, struct cache_piece *out);

/* Copy the next bytes, at least 1 and at most `bytes`.  MORE, END or BROKEN. */
enum cache_body cache_body_pull(struct cache_exchange *x, char *to, size_t bytes,
                                size_t *out_bytes);

const char *cache_verdict_name(enum cache_verdict v);

/* The bare name of the reason behind the verdict, for the access log: "not-stored", "no-store". */
const char *cache_reason(const struct cache_exchange *x);

/* ---- saying why (any thread with a reader of its own) ---- */

struct store_reader;

/* What a GET of host and target with these fields would meet now, as text for a person. */
void cache_explain(struct cache *c, struct store_reader *r, const struct site *site, bool is_https,
                   struct slice host, struct slice target, const struct http_fields *fields,
                   struct buf *out);

/* The same of a request that is about to begin, on its worker. */
void cache_explain_request(struct cache_worker *w, const struct cache_request *rq, struct buf *out);

/* Age and lifetime left of a stored head; false when it is none of ours. */
bool cache_head_facts(struct slice head, int64_t *age_s, int64_t *ttl_s, int *status);

#endif
