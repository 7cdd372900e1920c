/* fill_priv: the inside of a fill, for fill.c (life and fetch) and fill_read.c (readers). */
#ifndef CACHE_FILL_PRIV_H
#define CACHE_FILL_PRIV_H

#include <stdatomic.h>

#include "cache/fill.h"

enum {
    FILL_PIECES_OF_CHUNK = 4,
    FILL_RECHECK_MS = 20, /* while the store's writer is behind */
};

struct fill_piece {
    struct block *block; /* a reference */
    uint64_t at;         /* its first byte in the body */
    size_t bytes;        /* filled so far */
};

struct fill_reader {
    /* Fixed. */
    struct fill *fill; /* a reference */
    struct cache_worker *worker;
    void (*ready)(void *user);
    void (*interim)(void *user, int status, const struct http_fields *fields); /* the leader's */
    void *user;

    /* Under the fill's lock. */
    struct fill_reader *next, *prev;
    uint64_t at;
    int64_t behind_since_ms; /* nearly a whole window behind an unbacked fill; 0: not.  The leader's
                                clock */
    bool is_waiting;         /* wake it at the next news */
    bool is_posted;          /* the message is on its way */
    bool is_detached;        /* freed by the message */
    bool is_cut;             /* held up others for too long */

    struct reactor_message message;
};

struct fill {
    /* Fixed at birth, any thread may read. */
    _Atomic unsigned refs;
    struct cache *cache;
    struct cache_worker *worker; /* leads */
    struct cache_hold hold;
    struct slice key;        /* in the collapse table; in the arena */
    struct cache_request rq; /* copied into the arena */
    struct request_facts facts;
    struct site_rule const *request_rule;
    struct lookup lookup; /* what is validated; not pinned, and without its body */
    struct block_of block;
    uint64_t bytes_max; /* as in struct fill_plan */
    enum request_action action;
    bool is_shared, is_background;
    bool asks_for_client; /* the leader's: until it asks again */
    int64_t born_ms; /* monotonic */
    uint64_t birth;  /* read before the request was sent: purge-protocol rule 4 */
    struct purge_position sent; /* what the last request said */
    bool is_direct;             /* a peer's answer could not be used */
    struct slice purge_url;
    struct cache_file file; /* a content, whose hash must be right; rq.file points here */

    /* Shared, under `lock`. */
    pthread_mutex_t lock;
    enum fill_state state;
    bool in_table;
    bool has_result;
    enum response_failure failure;
    struct fill_result result; /* fixed once has_result */
    struct fill_reader *readers;
    unsigned readers_count;
    struct fill_piece *piece; /* owned array; pieces [first_piece, pieces_count) */
    size_t first_piece, pieces_count, pieces_capacity;
    uint64_t bytes_in;        /* of the body, so far */
    uint64_t bytes_kept_from; /* what lies before has left memory */
    uint64_t bytes_committed; /* readable from the store */
    bool is_backed;
    bool put_is_over; /* the store has said how it went; early when it refused */
    bool is_paused;   /* upstream waits for readers or the store */
    bool is_posted;   /* control message on its way to the leader */
    struct reactor_message control;

    /* Owned by the leading worker. */
    struct fill *next, *prev; /* of worker->fills */
    struct arena arena;       /* written until the result is there, then fixed */
    void *fetch;              /* running; NULL before and after */
    bool is_over;             /* done came, or it was given up */
    bool is_resting;  /* a failed refresh, kept in the table so that the next hit does not ask at
                         once; or the head of a HEAD, for the next ones */
    int64_t stuck_ms; /* how long the store's writer has kept it waiting */
    struct digest_run *hash; /* of a file's content, so far; NULL: none, or compared */
    struct store_put *put;                          /* NULL when nothing is to be stored */
    struct store_piece chunk[FILL_PIECES_OF_CHUNK]; /* of the chunk that is filling */
    size_t chunk_pieces;
    size_t chunk_bytes;
    struct reactor_timer start, recheck;
};

void fill__ref(struct fill *f);
void fill__unref(struct fill *f);

/* It will not be stored, for its size.  What it was to replace is outdated all the same. */
void fill__too_large(struct fill *f, const struct response_decision *d);

/* Under the lock: wake every reader that waits. */
void fill__wake_all(struct fill *f);

/* Under the lock: tell the leader that a reader left or moved on. */
void fill__post_control(struct fill *f);

/* Under the lock: the place of the slowest reader; bytes_in when there is none. */
uint64_t fill__slowest(const struct fill *f);

/* Under the lock: by how many bytes the reader is behind. */
static inline uint64_t fill__lag(const struct fill *f, const struct fill_reader *r)
{
    return r->at < f->bytes_in ? f->bytes_in - r->at : 0;
}

/* Under the lock: give up memory that nobody needs, or that the store can give again. */
void fill__trim(struct fill *f);

/* Under the lock: attach.  NULL when out of memory. */
struct fill_reader *fill__attach(struct fill *f, struct cache_worker *w, void (*ready)(void *),
                                 void *user);

/* ---- fill.c, for the leading worker ---- */

NODISCARD enum err fill__copy_fields(struct arena *a, const struct http_fields *from,
                                     struct http_fields *to);
bool fill__is_pass(const struct fill *f);
/* Has an unsafe request changed it since it was asked for?  Any thread. */
bool fill__is_outdated(const struct fill *f);
void fill__set_state(struct fill *f, enum fill_state s, enum response_failure failure);
/* Any thread. */
void fill__leave_table(struct fill *f);
/* Nothing more will come: the leader lets go of it. */
void fill__leader_leaves(struct fill *f);
void fill__abort_put(struct fill *f);
/* End it without an answer, or without the rest of one.  The fetch is over or cancelled. */
void fill__give_up(struct fill *f, enum response_failure failure);

/* ---- fill_head.c ---- */

struct store_key fill__key_of(const struct fill *f, uint64_t variant);
void fill__on_interim(void *user, int status, const struct http_fields *fields);
void fill__on_head(void *user, const struct cache_fetch_head *h);
/* Bring the stored head up to date; false when there is nothing to keep. */
bool fill__store_freshened(struct fill *f);

/* ---- fence.c ---- */

enum fence_verdict {
    FENCE_HOLDS,      /* r->stamp.birth is as old as it must be */
    FENCE_NOT_STORED, /* good for those who wait, no longer */
    FENCE_BROKEN,     /* it may be a purged copy: ask somebody else */
};
struct slice fence_position(struct fill *f); /* what the next request says; in the arena */
enum fence_verdict fence_judge(const struct fill *f, const struct cache_fetch_head *h,
                               struct fill_result *r);

/* ---- fill_body.c ---- */

/* A head for the content of a file: is it as long as it must be?  Begins its hash.  False: end it. */
bool fill__begin_hash(struct fill *f, const struct cache_fetch_head *h, const struct fill_result *r);
bool fill__on_body(void *user, const char *p, size_t n);
void fill__on_done(void *user, enum response_failure failure, bool whole, const char *text);
/* From now on memory is all there is; readers behind what has left it are cut. */
void fill__stop_storing(struct fill *f);
/* Under the lock: must upstream wait? */
bool fill__should_pause(const struct fill *f);
/* Under the lock: cut those who hold up others. */
void fill__watch_readers(struct fill *f);
/* How long to wait before looking again. */
int64_t fill__recheck_ms(const struct fill *f);

#endif
