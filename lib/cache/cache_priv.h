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
#include "purge/position.h"
#include "release/files.h"
#include "store/store.h"

struct collapse;
struct cold;
struct cold_read;
struct fill;
struct fill_reader;
struct fill_result;
struct hits;
struct memo;
struct parts;
struct recent;
struct slices;
struct outdated;

struct cache {
    struct role role;
    struct slice node; /* owned text */
    struct store *store;
    struct purge *purge;
    struct files *files; /* NULL: none */
    uint64_t object_bytes_max;
    int64_t journal_grace_ms;
    enum cache_journal_lost on_journal_lost;
    struct collapse *collapse;
    struct cold *cold;
    struct outdated *outdated;
    struct hits *hits;
    struct memo *memo;       /* why what came last was not stored, for explain */
    _Atomic bool is_lagging; /* cache_lags() */

    /*
     * How many fills the store has taken.  Who found nothing stored and then no fill to join
     * compares it with what it was before its look-up: moved, the fill may have ended in between,
     * and the store may have it now.  Counted with release before the fill leaves the table; pairs
     * with the acquire in engine_look().
     */
    _Atomic uint64_t stored;
};

struct cache_worker {
    struct cache *cache;
    struct reactor *reactor;
    struct cache_fetcher fetcher;
    struct store_reader *reader;
    struct files_reader *files; /* NULL: nothing is published here */
    struct recent *recent;
    struct fill *fills; /* led by this worker */
};

/* Which block of an object is asked for; bytes 0: all of it. */
struct block_of {
    uint64_t bytes, index;
    struct slice etag; /* of the version that the others are of; p == NULL: any */
    uint64_t total;    /* bytes of that version */
};

/* ---- lookup.c: what is stored for a request ---- */

struct lookup {
    struct slice text;   /* the key's text */
    struct slice target; /* as key and upstream see it */
    struct slice host;
    uint64_t variant; /* that was found, or under which to fetch */
    bool found, vary_missed;
    bool is_purged;            /* not found: what lies there is dead */
    struct store_stamp purged; /* of that; in the arena of the look-up */
    bool has_variants;    /* the key has a marker: what comes without Vary is one variant more */
    struct store_hit hit; /* when found; pinned as it says */
    struct head head;     /* decoded */
    struct stored_facts facts;
};

/*
 * The names alone: what a request that is passed needs.  Which country the key is of, where the
 * site sends countries upstream, is read from the same field that the upstream is sent: the two
 * cannot differ.  ERR_LIMIT when the arena is full.
 */
NODISCARD enum err lookup_names(const struct site *site, bool is_https, struct slice host,
                                struct slice target, const struct http_fields *fields,
                                const struct block_of *block, struct arena *a, struct lookup *out);

/*
 * Find what is stored for a request.  ERR_OK whether found or not; ERR_LIMIT when the arena is
 * full.  A pinned hit is the caller's to unpin (lookup_release()).
 */
NODISCARD enum err lookup_run(struct cache *c, struct store_reader *r, const struct site *site,
                              bool is_https, struct slice host, struct slice target,
                              const struct http_fields *fields, const struct block_of *block,
                              struct arena *a, struct lookup *out);
void lookup_release(struct cache *c, struct lookup *l);

/* ---- the exchange ---- */

enum body_source {
    BODY_NONE,
    BODY_INLINE,
    BODY_OBJECT,
    BODY_FILE,
    BODY_FILL,
    BODY_BLOCKS,  /* one after the other */
    BODY_RELAYED, /* of the exchange for a block: it is the whole answer */
};

/* What a request of another node brings, and what it is told. */
struct fence {
    bool is_asked; /* it is from a peer */
    bool has_position;
    bool is_alone;   /* nothing stored and no fill of others: this node is behind, or cannot tell */
    bool is_unknown; /* their position cannot be compared with ours */
    struct purge_position theirs;
    struct purge_position checked; /* ours, read before the last look-up */
    bool is_lagging;            /* this node does not know yet what was purged while it was off */
    struct reactor_timer timer; /* while it waits to catch up */
    int64_t lag_until_ms, until_ms; /* 0: it never waited */
    char text[PURGE_POSITION_TEXT_BYTES];
};

/* Lies in its request's arena.  Whoever calls the client touches it no more: the client may end it
 * from inside. */
struct cache_exchange {
    struct cache_worker *worker;
    struct cache_request rq;
    const struct cache_client *client;
    void *user;

    struct request_facts facts;
    const struct http_fields *asked; /* the client's conditions and ranges are among them */
    bool asks_range; /* facts.has_range is not for the exchange of a block: its range is its own */
    struct head file_head; /* of a file */
    struct rule_facts rule;
    struct lookup lookup;
    struct request_decision decision;
    struct clock_moment now; /* of the last look-up: an answer from the store is as old as then */
    uint64_t stored_before;  /* cache->stored when the look-up began */
    bool is_pass;
    bool answered;
    unsigned attempts;   /* fills that were joined and could not be shared */
    bool waited_in_vain; /* for one of them, begun by another request */
    struct fence fence;
    struct block_of block;
    struct slices *slices; /* answered block by block; NULL: not */

    struct fill_reader *reader; /* attached to a fill */
    bool leads;                 /* that fill is ours */

    /* the answer's own */
    int head_status; /* of what it is made of, before conditions and ranges; 0: made here */
    struct http_fields fields;
    struct http_field own_field[3]; /* of errors, which need no arena */

    /* the body on its way out */
    enum body_source source;
    uint64_t at, end;         /* bytes of the whole body; end CACHE_BYTES_UNKNOWN while unknown */
    struct parts *parts;      /* several ranges: at and end are of the present one; NULL: not */
    struct slice inline_body; /* the whole body */
    struct cold_read *cold_read; /* running, or NULL */
    struct cache_piece cold;     /* came from the disk, not given out yet */
    bool cold_failed;
    bool waits; /* was told CACHE_BODY_WAIT */

    enum cache_verdict verdict;
    enum cache_reason reason;
    const char *peer_error; /* as in struct cache_answer */
};

/* ---- engine.c ---- */

/* Find out what to do, and do it: at once, or when the fence lets it. */
void engine_begin(struct cache_exchange *x);

/* The fence lets it: a file, or what the origin has. */
void engine_go_on(struct cache_exchange *x);

/* As cache_start(), for one block; without `rq`'s Range. */
struct cache_exchange *engine_start_block(struct cache_worker *w, const struct cache_request *rq,
                                          const struct block_of *block,
                                          const struct cache_client *client, void *user);

/* Look up, judged anew, and decide; what was found before is given back.  ERR_LIMIT when the arena
 * is full: nothing is found then. */
NODISCARD enum err engine_look(struct cache_exchange *x);

/* Answer with what is stored, as x->decision allows. */
void engine_answer_stored(struct cache_exchange *x);

/* What is left of the stored one's lifetime: of none that a purge, or a lost journal, has ended. */
int64_t engine_ttl_s(const struct cache_exchange *x);

/* Leave the fill, if there is one. */
void engine_leave_fill(struct cache_exchange *x);

/* ---- fence.c ---- */

enum fence_start {
    FENCE_GO_ON,
    FENCE_WAITS,   /* engine_go_on() is called later */
    FENCE_REFUSED, /* what it says is no position */
};
enum fence_start fence_start(struct cache_exchange *x);
void fence_end(struct cache_exchange *x);  /* in any phase */
void fence_note(struct cache_exchange *x); /* before what is stored is judged */
struct slice fence_checked(struct cache_exchange *x);

/* Has this follower not heard its owner for too long?  May a copy with this head be used as if it
 * had? */
bool lease_is_lost(const struct cache *c, int64_t now_ms);
bool lease_covers(const struct cache *c, const struct head *h, int64_t now_ms);

/* ---- answer.c: from a head and a body to one struct cache_answer: conditions, ranges, HEAD ----
 */

/* `status` is what Cache-Status says; its name is filled in.  `age_s` -1: none. */
void answer_from_store(struct cache_exchange *x, const struct head *h, enum cache_verdict verdict,
                       const struct cache_status *status);
/* With what came: `r` as long as the reader is attached. */
void answer_from_fill(struct cache_exchange *x, const struct fill_result *r);
/* A file whose content is here, or none of whose content is asked for (`has_body` false). */
void answer_from_file(struct cache_exchange *x, bool has_body);
/* An answer made here: status and one line of text (static).  `status_field` NULL: no Cache-Status.
 */
void answer_error(struct cache_exchange *x, int status, const char *text,
                  const struct cache_status *status_field);

/* Does the client have it already?  Then no content is needed. */
bool answer_is_not_modified(struct cache_exchange *x, const struct head *h);

/* ---- file.c: requests for files of releases ---- */

void file_begin(struct cache_exchange *x); /* instead of engine_begin() */
/* What came for its content is none. */
void file_failed(struct cache_exchange *x);

/* With blocks: `h` is what the whole would have, of `bytes`; `like` says age, verdict and status.
 */
void answer_from_blocks(struct cache_exchange *x, const struct head *h, uint64_t bytes,
                        const struct cache_answer *like);
/* With what the exchange of a block was answered: it is no block. */
void answer_relayed(struct cache_exchange *x, const struct cache_answer *from);

/* ---- parts.c: several ranges in one body (RFC 9110 section 14.6) ---- */

struct http_range;

/* The body of these ranges of `bytes`; *type for Content-Type.  In the arena; NULL when it is full.
 */
struct parts *parts_new(struct arena *a, const struct http_range *range, size_t count,
                        uint64_t bytes, struct slice part_type, struct slice *type,
                        uint64_t *out_bytes);
enum cache_body parts_next(struct cache_exchange *x, size_t max, struct cache_piece *out);

/* ---- slices.c: an object in blocks, each stored by itself ---- */

/* Does the rule want it in blocks, and is nothing known against it? */
bool slices_are_wanted(const struct cache_exchange *x);
/* The block in which the answer to this Range will probably begin; value.p == NULL: no Range. */
uint64_t slices_first_index(struct slice value, uint64_t block_bytes);
void slices_begin(struct cache_exchange *x);
enum cache_body slices_next(struct cache_exchange *x, size_t max, struct cache_piece *out);
struct cache_exchange *slices_block(const struct cache_exchange *x); /* in hand; NULL: none */
void slices_end(struct cache_exchange *x);

/* Is it the block that was asked for, and is it bound to others by a strong tag?  *total: of all.
 */
bool slices_is_block(const struct block_of *block, int status, const struct http_fields *fields,
                     uint64_t *total);

/* ---- recent.c: what was met of late under a key, for some seconds; a worker's own ---- */

enum recent_kind {
    RECENT_NOT_SHARED, /* hit-for-miss: not to be waited for */
    RECENT_NOT_SLICED, /* the origin gives no blocks */
    RECENT_NOT_WHOLE,  /* too much to be fetched for a range */
};
NODISCARD enum err recent_new(struct recent **out);
void recent_free(struct recent *r); /* NULL is fine */
/* Any purge (`head` moves) makes all of it forgotten. */
void recent_note(struct recent *r, enum recent_kind k, struct slice key, uint64_t head,
                 int64_t now_ms);
bool recent_has(const struct recent *r, enum recent_kind k, struct slice key, uint64_t head,
                int64_t now_ms);
void recent_forget(struct recent *r, enum recent_kind k, struct slice key);

/* ---- engine_miss.c ---- */

void miss_begin(struct cache_exchange *x);   /* fetch, validate or pass, as x->decision says */
void miss_refresh(struct cache_exchange *x); /* validate in the background */

/* ---- body.c ---- */

/* Leave out the first bytes of a body of which nothing has been given yet. */
void body_skip(struct cache_exchange *x, uint64_t bytes);

/* cache_body_next() from x->at to x->end, without parts. */
enum cache_body body_next_of_source(struct cache_exchange *x, size_t max, struct cache_piece *out);

void body_ready(
    struct cache_exchange *x); /* there is news for one that waits; may call the client */
void body_release(struct cache_exchange *x);
bool body_is_resident(struct cache_exchange *x); /* of the store or of files: what is left of it */

/* ---- invalidate.c: RFC 9111 section 4.4 ---- */

NODISCARD enum err outdated_new(struct outdated **out);
void outdated_free(struct outdated *o);
/* Was the key of this text invalidated at or after the monotonic time `since_ms`?  Any thread; no
 * lock. */
bool outdated_is(struct outdated *o, struct slice text, int64_t since_ms);
/* All blocks of the object that `l` names are of a version that is no more: they are `total` bytes.
 */
void invalidate_blocks(struct cache *c, struct store_reader *r, const struct lookup *l,
                       uint64_t block_bytes, uint64_t total);
/* An unsafe request has succeeded: its target, and what Location and Content-Location name, are to
 * be fetched anew. */
void invalidate(struct cache *c, struct store_reader *r, const struct cache_request *rq,
                const struct http_fields *response);

/* ---- memo.c: the last responses that were not stored, and why: for people, so a slot may be lost
 * to another key ---- */

struct memo_entry {
    int64_t at_s;
    int status;
    struct reasons why;
};
NODISCARD enum err memo_new(struct memo **out);
void memo_free(struct memo *m);
void memo_put(struct memo *m, struct slice key, const struct memo_entry *e); /* any thread */
bool memo_find(struct memo *m, struct slice key, struct memo_entry *out);    /* any thread */

/* ---- hits.c: how often an object has been found since it was stored ---- */

NODISCARD enum err hits_new(struct hits **out); /* ERR_NOMEM */
void hits_free(struct hits *h);
/* One more; how often it was before, LIMIT_AHEAD_HITS at most.  A guess that errs on the side of
 * fewer: slots are shared by many objects, and nobody locks.  Any thread. */
unsigned hits_count(struct hits *h, uint64_t objid);

/* ---- request_fields.c: what goes upstream, in the arena ---- */

enum request_conditions {
    CONDITIONS_AS_THEY_CAME, /* it is passed: the client's own, ranges too */
    CONDITIONS_NONE,         /* the whole, for everybody */
    CONDITIONS_STORED,       /* the validators of what is stored */
    CONDITIONS_BOTH,         /* and the entity tags that the client asks about */
    CONDITIONS_CLIENTS, /* nothing is stored: If-None-Match and If-Modified-Since as they came */
};
NODISCARD enum err request_fields_make(struct cache *c, const struct cache_request *rq,
                                       const struct lookup *l, const struct block_of *block,
                                       enum request_conditions conditions, struct arena *a,
                                       struct http_fields *out);

/* With CONDITIONS_BOTH: will the origin be asked about other tags than `etag`? */
bool request_asks_for_others(const struct http_fields *request, struct slice etag);

#endif
