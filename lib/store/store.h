/*
 * store: keeps cached objects across restarts; knows bytes, not HTTP.
 *
 * An object is a record (key, stamp, one opaque head) and a body (a run of bytes).
 * Bodies of at most LIMIT_INLINE_BODY_BYTES live in the record, longer ones as
 * checksummed chunks of LIMIT_CHUNK_BYTES.  Callers see neither hashes nor pages.
 * Everything here may be thrown away and fetched again: what must not be lost
 * lives in purge and release.
 *
 * Invariants
 *   - A reader sees a complete object or none: an object becomes visible in the
 *     transaction that commits its record, after its body.
 *   - What store_options.judge calls dead is neither published nor returned,
 *     whichever of the two came first.
 *   - An object never changes, but for its head and stamp, which store_refresh()
 *     replaces as a whole.  A pinned body stays until it is unpinned, whatever is
 *     purged, replaced or evicted meanwhile, unless the pin is broken (over an hour
 *     old, or pins hold over 5 % of the store): then a read says ERR_GONE.
 *   - Bytes used never exceed store_options.bytes_max; making room is the writer's
 *     job, not the reader's.
 *   - Object ids only grow and are never used again.
 *   - Opening costs the same for ten objects as for ten million.
 *
 * Threads
 *   Lookups and reads run on any thread, each with a store_reader of its own, and take
 *   no lock but the pins'.  Changes are messages to the one writer thread that the store
 *   starts, over a bounded queue; callbacks named `done` run on that thread, must not
 *   block and must not call the store, but for store_unpin() and store_remove().  No transaction, and no pointer into the map,
 *   outlives the call that got it.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/block.h"
#include "base/err.h"
#include "base/slice.h"

struct store;        /* one directory on disk */
struct store_reader; /* one thread's way to read it */
struct store_put;    /* one object on its way in */

/* Who is asked for; the store hashes it with a secret of its own and compares the whole of it on a hit. */
struct store_key {
    struct slice host;   /* rows of one host stand together */
    struct slice text;   /* host, target and whatever else makes requests differ, as cache/key wrote it */
    uint64_t variant;    /* 0: the base: the only one, or the marker of several */
};

/* What a purge can cover; kept in every object. */
struct store_stamp {
    uint64_t birth;          /* position read before the request was sent upstream */
    uint32_t site;           /* hash of the site's name */
    struct slice purge_url;  /* normal form of host and target, shared by all variants */
    const uint64_t *tags;    /* hashes */
    uint32_t tags_count;
    bool tags_overflow;      /* had more tags than are kept: every tag purge of the site covers it */
};

enum store_verdict {
    STORE_USABLE, /* no purge covers it */
    STORE_STALE,  /* a soft purge covers it: usable, not fresh */
    STORE_DEAD,   /* a hard purge covers it */
};

/* Purges are not the store's business, so it asks.  Any thread; must not block. */
struct store_judge {
    enum store_verdict (*judge)(void *user, const struct store_stamp *stamp);
    /*
     * Moves when old purges are retired.  Read it before and after judge(): unequal, ask again.  What was born below it
     * is neither published nor returned.
     */
    uint64_t (*floor)(void *user);
    uint64_t (*head)(void *user); /* birth >= head: no purge can cover it, and judge() need not be asked */
    void *user;                   /* borrowed until store_close() */
};

/*
 * Several variants of one key: the base row holds a marker, whose bytes only the cache understands.  The writer merges a
 * new variant into it, inside the publishing transaction, so that two publishing at once do not lose each other.
 *
 *   old      head of the present base row, or empty when there is none or it is a whole object
 *   out      room for at most `out_max` bytes; *out_bytes 0: the marker stays as it is
 *
 * False: at the cap, do not publish (its done() says ERR_LIMIT).  Writer thread; pure.
 */
typedef bool store_merge_fn(struct slice old, struct slice add, uint64_t variant, char *out, size_t out_max, size_t *out_bytes);

struct store_options {
    const char *dir;    /* borrowed during store_open(); made when missing, its parent is not */
    uint64_t bytes_max; /* the whole store on disk, bytes */
    uint32_t boot;      /* 24 bits, counted durably elsewhere; part of every object id */
    uint64_t ctl_id;    /* of the ctl that the births in here refer to */
    uint64_t head;      /* of that ctl now: a store that has births beyond it is emptied (ctl was set back) */
    struct store_judge judge;
    store_merge_fn *merge;
};

/*
 * Open the store in `opt->dir`, creating its files where there are none.  A store of another format version, of another
 * ctl, or with births beyond `head` is renamed aside, removed in the background, and begun anew; *out_why then says why
 * (static text), else it is NULL.
 *
 *   out_store   owned by the caller, who ends it with store_close()
 *
 * Returns ERR_OK, ERR_NOMEM, ERR_IO (errno says why) or ERR_BUSY when another process has it (table_holder()).
 * Blocks on disk; call it before serving.
 */
NODISCARD enum err store_open(const struct store_options *opt, struct store **out_store, const char **out_why);

/* Commit what is queued, stop the writer thread, and free.  NULL is fine.  No reader, pin or put may be left. */
void store_close(struct store *s);

NODISCARD enum err store_reader_new(struct store *s, struct store_reader **out);
void store_reader_free(struct store_reader *r);

/* ---- reading ---- */

struct store_hit {
    uint64_t objid;
    struct store_stamp stamp; /* in the arena */
    bool is_stale;            /* a soft purge covers it */
    bool is_marker;           /* a base row that leads to variants; no body */
    bool is_dead;             /* with ERR_NOT_FOUND: a purge covers what lies there, whose stamp this is; nothing else is set */
    struct slice head;        /* in the arena */
    struct slice inline_body; /* in the arena; p == NULL: the body is in chunks, or there is none */
    uint64_t body_bytes;
    bool pinned;              /* end it with store_unpin(): true for bodies in chunks */
};

/*
 * Find the object stored under `key`, judge it, copy it out, and pin its body.
 *
 * Returns ERR_OK, ERR_NOT_FOUND (the ordinary miss; also: dead, queued for removal), ERR_CORRUPT (a checksum failed; queued for removal),
 * ERR_LIMIT (the arena is full) or ERR_IO.  Cost: one B-tree descent, a copy and a checksum.
 */
NODISCARD enum err store_get(struct store_reader *r, const struct store_key *key, struct arena *a, struct store_hit *out);

/*
 * Copy body bytes of a pinned or just written object from `offset`; at most to the end of one chunk per call.
 *
 * Returns ERR_OK with *out_bytes > 0, ERR_GONE when the pin has been broken or the chunk is not there (yet), ERR_CORRUPT
 * or ERR_IO.  May wait for the disk unless store_is_resident().  Checksums are compared on every read.
 */
NODISCARD enum err store_read(struct store_reader *r, uint64_t objid, uint64_t offset, void *to, size_t to_bytes, size_t *out_bytes);

/* Are all pages of the `bytes` from `offset` in memory now?  A hint: one may be lost meanwhile. */
bool store_is_resident(struct store_reader *r, uint64_t objid, uint64_t offset, uint64_t bytes);

/* Pin an object that is being put, before it can be evicted: its writer's readers may lag behind.  Any thread. */
void store_pin(struct store *s, uint64_t objid);
void store_unpin(struct store *s, uint64_t objid); /* any thread */

/* ---- writing: any thread may begin; then one thread per put, until publish or abort ---- */

/* Progress of a put, told on the writer thread.  Must not block. */
struct store_put_events {
    void (*committed)(void *user, uint64_t body_bytes); /* so many bytes from the start can be read by store_read() now */
    void (*done)(void *user, enum err e);               /* once, last: ERR_OK published; ERR_GONE purged meanwhile; ERR_LIMIT no room or
                                                           at the variants' cap; ERR_IO; not called after abort */
};

/*
 * Begin a put.  ERR_LIMIT when the queue holds LIMIT_FILL_BYTES already; ERR_IO while the disk refuses (full): the object is then served
 * without being stored.
 */
NODISCARD enum err store_put_begin(struct store *s, const struct store_put_events *ev, void *user, struct store_put **out);
uint64_t store_put_objid(const struct store_put *p);

struct store_piece {
    struct block *block; /* a reference of the store's own is taken */
    const char *p;       /* inside the block */
    size_t n;
};

/*
 * Hand over the next bytes of the body: exactly LIMIT_CHUNK_BYTES in all pieces together, but for the last call before
 * publish.  Any number of pieces, copied as a list.
 */
void store_put_chunk(struct store_put *p, const struct store_piece *pieces, size_t count);

/* What is to be published.  All borrowed for the call. */
struct store_record {
    struct store_key key;
    struct store_stamp stamp;
    struct slice head;
    struct slice body;        /* whole, when no chunk was handed over and it is at most LIMIT_INLINE_BODY_BYTES */
    struct slice marker;      /* what to merge into the base row: for variant != 0 only */
};

/*
 * Publish: make the object visible in place of what was there.  `body_bytes` must be the sum of what was handed over.
 * The put is taken; done() follows.  Judged again inside the transaction: dead or born below the floor is not published;
 * a present object with a greater birth is not replaced (done(): ERR_GONE).  The removed predecessor is deleted in the same transaction, its chunks when unpinned.
 */
void store_put_publish(struct store_put **p, const struct store_record *rec, uint64_t body_bytes);

/* Give up; chunks already written are removed.  done() is not called any more once this returns. */
void store_put_abort(struct store_put **p);

/*
 * Replace head and stamp of the object `objid` under `key` (a validation succeeded, or it is to be marked stale), if it is
 * still there, still usable, and the birth does not fall.  done may be NULL.
 */
void store_refresh(struct store *s, const struct store_key *key, uint64_t objid, const struct store_stamp *stamp,
                   struct slice head, void (*done)(void *user, enum err e), void *user);

/* Remove the object `objid` under `key`, if it is still that one.  No look-up finds it from here on. */
void store_remove(struct store *s, const struct store_key *key, uint64_t objid);

/* ---- looking around ---- */

struct store_row {
    struct store_key key; /* borrowed for the call, as all of this */
    uint64_t objid;
    struct store_stamp stamp;
    enum store_verdict verdict;
    bool is_marker;
    struct slice head;
    uint64_t body_bytes;
};

/*
 * Walk the rows of one host in short transactions (at most 1,000 rows each); return false from `row` to stop.
 * Order is by hash.  For people, not for serving: the cost grows with the host's rows.
 */
NODISCARD enum err store_walk(struct store_reader *r, struct slice host, bool (*row)(void *user, const struct store_row *), void *user);

struct store_stat {
    uint64_t objects, used_bytes, bytes_max, queue_bytes;
    bool writable; /* false while commits fail */
};
void store_stat(struct store *s, struct store_stat *out);

/* Wait until everything queued before is committed.  Tests and shutdown; blocks. */
void store_flush(struct store *s);

#endif
