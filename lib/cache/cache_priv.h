/*
 * cache_priv: what the files of lib/cache share.
 *
 * Lock order: the collapse table's lock, then a fill's.  No other locks are held together.
 */
#ifndef CACHE_CACHE_PRIV_H
#define CACHE_CACHE_PRIV_H

#include <pthread.h>

#include "base/list.h"
#include "cache/cache.h"
#include "cache/head.h"
#include "store/store.h"

struct collapse;
struct cold;
struct fill;
struct fill_reader;

struct cache {
    struct role role;
    struct slice node;  /* owned text */
    struct store *store;
    struct purge *purge;
    uint64_t object_bytes_max;
    struct collapse *collapse;
    struct cold *cold;
};

struct cache_worker {
    struct cache *cache;
    struct reactor *reactor;
    struct cache_fetcher fetcher;
    struct store_reader *reader;
    struct fill *fills; /* led by this worker */
};

/* ---- lookup.c: what is stored for a request ---- */

struct lookup {
    struct slice text;        /* the key's text */
    struct slice target;      /* as key and upstream see it */
    struct slice host;
    uint64_t variant;         /* that was found, or under which to fetch */
    bool found, vary_missed;
    struct store_hit hit;     /* when found; pinned as it says */
    struct head head;         /* decoded */
    struct stored_facts facts;
};

/*
 * Find what is stored for a request.  ERR_OK whether found or not; ERR_LIMIT when the arena is full.  A pinned hit is the
 * caller's to unpin (lookup_release()).
 */
NODISCARD enum err lookup_run(struct cache *c, struct store_reader *r, const struct site *site, bool is_https,
                              struct slice host, struct slice target, const struct http_fields *fields, struct arena *a, struct lookup *out);
void lookup_release(struct cache *c, struct lookup *l);

/* ---- the exchange ---- */

enum body_source { BODY_NONE, BODY_INLINE, BODY_OBJECT, BODY_FILL };

struct cache_exchange {
    struct cache_worker *worker;
    struct cache_request rq;
    const struct cache_client *client;
    void *user;

    struct request_facts facts;
    struct rule_facts rule;
    struct lookup lookup;
    struct request_decision decision;
    bool answered;
    unsigned attempts;  /* fills that were joined and could not be shared */

    struct fill_reader *reader; /* attached to a fill */
    bool leads;                 /* that fill is ours */

    /* the body on its way out */
    enum body_source source;
    uint64_t at, end;           /* bytes of the whole body; end CACHE_BYTES_UNKNOWN while unknown */
    struct slice inline_body;
    struct cold_read *cold_read; /* running, or NULL */

    enum cache_verdict verdict;
    enum cache_reason reason;
};

/* answer.c: from a head and a body source to one struct cache_answer: conditions, ranges, HEAD. */
void answer_from_store(struct cache_exchange *x, const struct head *h, enum cache_verdict verdict, const struct cache_status *status);
void answer_from_fill(struct cache_exchange *x);
/* An answer made here: status, one line of text, no Cache-Status when it has nothing to say. */
void answer_error(struct cache_exchange *x, int status, const char *text, const struct cache_status *status_field);

/* engine_miss.c */
void miss_begin(struct cache_exchange *x);   /* fetch, validate or pass, as x->decision says */
void miss_refresh(struct cache_exchange *x); /* validate in the background */
void miss_ready(void *user);                 /* the fill has news */

/* request_fields.c: what goes upstream, in the arena. */
NODISCARD enum err request_fields_make(struct cache *c, const struct cache_request *rq, const struct lookup *l, bool is_pass,
                                       bool is_validation, struct arena *a, struct http_fields *out);

#endif
