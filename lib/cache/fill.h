/*
 * fill: the only way in: one fetch, its readers, and the store.
 *
 * A fill is led by one worker, which runs its fetch; readers may be on any worker.  What
 * comes goes at once to every reader and, when it may be stored, to the store's writer.
 *
 * Life of a fill
 *   OPEN       asked for, or about to be; readers may attach, no head yet
 *   STREAMING  head decided; bytes grow, never shrink; readers follow
 *   WHOLE      all bytes in, publish queued; still joined and served
 *   STORED     over: the store answers from now on (or nobody, when it was not to be stored)
 *   FAILED     the fetch broke; readers that sent nothing get another try, others are cut
 * OPEN -> STREAMING -> WHOLE -> STORED | FAILED, FAILED from each.  Never back.
 * The collapse table forgets it at STORED or FAILED; a purge replaces it there.
 *
 * Backed by the store it runs as fast as upstream sends, and readers take what lies far behind from
 * the store. Unbacked it keeps LIMIT_UNBACKED_BYTES and runs at the pace of its slowest reader; one
 * that holds up others for LIMIT_SLOW_READER_MS is cut.
 *
 * Threads: functions say whose.  A fill's result never changes once the state is past OPEN.
 */
#ifndef CACHE_FILL_H
#define CACHE_FILL_H

#include "cache/cache_priv.h"

enum fill_state { FILL_OPEN, FILL_STREAMING, FILL_WHOLE, FILL_STORED, FILL_FAILED };

/* What came; fixed once the state is past OPEN, but for FAILED from OPEN, which has none. */
struct fill_result {
    bool is_freshened; /* a 304: `head` is the stored one brought up to date, for the object `objid`
                        */
    uint64_t objid;
    struct head head;    /* status, fields, freshness */
    struct head shared;  /* the same less what no-cache="a, b" names, and without a 304's
                           Set-Cookie under set_cookie: safe: for all but who asked first */
    uint64_t body_bytes; /* CACHE_BYTES_UNKNOWN */
    bool has_body;
    bool is_stored; /* it goes to the store */
    bool is_passing; /* it must not: the peer that gave it cannot compare its purges with ours */
    bool is_stream;
    uint64_t variant; /* under which its request falls by its own Vary */
    bool changes_vary; /* is_freshened: by Vary it would now be for other requests than it was stored for */
    struct response_facts facts;
    struct response_decision decision;
    struct store_stamp stamp; /* with the tags that came */
};

/* A reader's view at one moment. */
struct fill_view {
    enum fill_state state;
    bool has_result;
    bool may_answer; /* a byte is there, or the end, or none will come for long: time to send the
                        head */
    enum response_failure failure;    /* of FAILED */
    const struct fill_result *result; /* as long as the reader is attached */
};

struct fill_plan { /* borrowed for the call */
    const struct cache_request *rq;
    const struct request_facts *facts;
    const struct rule_facts *rule;
    const struct lookup *lookup;
    const struct block_of *block;
    enum request_action action;
    uint64_t bytes_max; /* more is not fetched: RESPONSE_TOO_MUCH; 0: no matter */
    bool is_shared;   /* in the collapse table; else for one reader only */
    bool is_head;     /* shared with HEADs alone */
    bool joins_whole; /* though not shared, may have what has come whole and waits for its commit */
    bool is_background; /* runs without a reader */
    bool asks_for_client; /* the origin is also asked whether what the client has is still good */
    /* Of the one who leads: what the upstream says before its answer.  As in struct cache_client. */
    void (*interim)(void *user, int status, const struct http_fields *fields);
};

/*
 * Join the fill of this key, or begin one.  *out_leads says which.  `ready` is called on the
 * reader's worker whenever there may be news, never from inside; *out is detached with
 * fill_detach().  With plan->is_background there is no reader, and nothing to detach: ERR_OK also
 * when one runs already. ERR_NOMEM, ERR_LIMIT.  Any worker.
 */
NODISCARD enum err fill_enter(struct cache_worker *w, const struct fill_plan *plan,
                              void (*ready)(void *user), void *user, struct fill_reader **out,
                              bool *out_leads);

/* Leave; no callback comes after.  NULL is fine.  Reader's worker. */
void fill_detach(struct fill_reader *r);

void fill_look(struct fill_reader *r, struct fill_view *out);

/* From which byte of the body to read; before the first fill_read(). */
void fill_seek(struct fill_reader *r, uint64_t offset);

/* The next piece of at most `max` bytes.  Reader's worker. */
enum cache_body fill_read(struct fill_reader *r, size_t max, struct cache_piece *out);

/* Cancel and fail every fill that this worker leads. */
void fill_stop_all(struct cache_worker *w);

/* ---- collapse.c: key -> the one fill of it in the process ---- */

NODISCARD enum err collapse_new(struct collapse **out);
void collapse_free(struct collapse *c);

/* Lock the part of the table that `key` falls into; the fill there, or NULL. */
struct fill *collapse_lock(struct collapse *c, struct slice key);
/* While locked: put `f` there (replacing), or with NULL remove what is there. ERR_NOMEM. */
NODISCARD enum err collapse_set(struct collapse *c, struct slice key, struct fill *f);
void collapse_unlock(struct collapse *c, struct slice key);

#endif
