/*
 * purge: what has been purged, up to where; durable before it is acknowledged.
 *
 * Owns `ctl/`: the journal, the table of scopes, and the node's small durable state.
 * A purge is one record with the next position and one row per scope; an object is
 * judged when it is looked up, published or swept, by its birth alone: so a purge is
 * O(1) in the number of objects and covers fetches in flight.
 *
 * A node owns the journal and gives positions (purge_append()), or follows: it applies what the
 * owner's journal says, in order, position and effect in one transaction (follow.h).
 *
 * Invariants
 *   - No birth, and no answer, ever carries a position whose record is not on disk.
 *   - Positions are contiguous in their epoch and never given twice.
 *   - Scopes only grow in position; nothing here ever makes a dead object alive.
 *
 * Threads
 *   Open, close, append: one thread at a time (ctl); append blocks on the disk.
 *   Judging and reading the head: any thread, never blocks on the disk.
 */
#ifndef PURGE_PURGE_H
#define PURGE_PURGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "purge/position.h"

struct purge;

/*
 * Open `dir` (made when missing, its parent is not), creating the state of a new node where there is none: cluster id, ctl id, epoch 1.  Syncs before
 * the head is read (a record that only the page cache holds must not be built upon).  Counts the boot, durably.
 *
 * ERR_OK, ERR_NOMEM, ERR_IO (errno), ERR_BUSY (table_holder()), ERR_CORRUPT: not ours or of another version; it is never recreated by itself.
 */
NODISCARD enum err purge_open(const char *dir, struct purge **out);
/*
 * The same for a node that follows another's journal.  One that owned its journal so far begins anew, under another ctl id; so does purge_open() of one
 * that followed.  Until it has met its owner its epoch is 0, and what is born then is dead afterwards.
 */
NODISCARD enum err purge_open_follower(const char *dir, struct purge **out);
bool purge_follows(const struct purge *p);
void purge_close(struct purge *p);

uint64_t purge_cluster_id(const struct purge *p);
uint64_t purge_ctl_id(const struct purge *p);
uint32_t purge_boot(const struct purge *p); /* 24 bits; grows with each open */

/* The last position that is durable.  Acquire: what it covers is in the table.  Read it before a request is sent: its birth. */
uint64_t purge_head(const struct purge *p);
uint64_t purge_floor(const struct purge *p);

/* The head with what makes it comparable between nodes.  What it says is in force: who reads it and judges afterwards judges up to it.  Any thread. */
void purge_position(struct purge *p, struct purge_position *out);

/* What does this node know of the point `theirs`?  Any thread, without the disk. */
enum purge_knows {
    PURGE_HAS,       /* all that is covered there is in force here */
    PURGE_IS_BEHIND, /* same clock; this node has not come so far */
    PURGE_UNKNOWN,   /* another clock, another epoch, or a record that is not ours or too old to tell */
};
enum purge_knows purge_knows(struct purge *p, const struct purge_position *theirs);

/* Called on the thread that appends, after each change of the head.  Set before it can change. */
void purge_on_head(struct purge *p, void (*call)(void *user), void *user);

/*
 * Owner: open the next epoch, so that everything born before is dead here and at each node that hears of it.  For a journal that was set back: a peer has
 * records which it no longer holds, and their numbers must not be given again in the same epoch.  Errors as purge_append().
 */
NODISCARD enum err purge_open_epoch(struct purge *p);

/* ---- the lease of a follower ---- */

/* The owner's head has been heard, and all up to it is applied.  Monotonic ms.  An owner has its lease always.  Any thread. */
void purge_heard(struct purge *p, int64_t now_ms);
bool purge_was_heard(const struct purge *p);                                         /* since the start of the process */
bool purge_has_lease(const struct purge *p, int64_t now_ms, int64_t grace_ms);

enum purge_kind { PURGE_URL, PURGE_PREFIX, PURGE_HOST, PURGE_TAG, PURGE_ALL, PURGE_KINDS };

const char *purge_kind_name(enum purge_kind k); /* "url" ... "all" */

enum { PURGE_TEXT_BYTES_MAX = 16384, PURGE_SCOPES_MAX = 1000 /* of one request */ };

struct purge_scope {
    enum purge_kind kind;
    struct slice text; /* URL and prefix: in the form of url_purge_form(); host: lower-case; tag: as sent; all: empty */
};

/*
 * Append one record per scope, in one transaction; durable, and in force, when this returns ERR_OK.
 *
 *   request_id   at most 64 bytes; the same id within the last 1,000 records gives the first answer again (idempotent); may be empty
 *   out_head     the position of the last of them
 *
 * ERR_INVALID: a scope that breaks its form.  ERR_IO, ERR_LIMIT: the disk refused or is full; nothing holds, nothing was acknowledged.
 * Scopes above LIMIT_PURGE_SCOPES: everything is purged instead and the table starts anew (logged; the promise is kept).
 */
NODISCARD enum err purge_append(struct purge *p, const struct purge_scope *scopes, size_t count, bool soft,
                                struct slice request_id, uint64_t *out_head);

/* Would purge_append() give the answer that this request has had?  The thread that appends. */
bool purge_is_repeated(const struct purge *p, const struct purge_scope *scopes, size_t count, bool soft, struct slice request_id);

enum purge_verdict { PURGE_USABLE, PURGE_SOFT, PURGE_DEAD };

struct purge_subject {
    uint64_t birth;
    uint32_t site;
    struct slice purge_url; /* its host is what stands before the first '/' */
    const uint64_t *tags;   /* purge_tag_hash() of each */
    size_t tags_count;
    bool tags_overflow;
};

/* Does a purge cover it?  O(1) in objects and in scopes; reads the head before the table. */
enum purge_verdict purge_judge(const struct purge *p, const struct purge_subject *s);

/* The same, saying which scope it was: kind, text (into `text`, at most text_bytes, with NUL) and position.  For explain; may read the disk.  False when usable. */
bool purge_explain(struct purge *p, const struct purge_subject *s, enum purge_kind *kind, char *text, size_t text_bytes, uint64_t *position, bool *soft);

/* Stable over time and across nodes: stored in objects. */
uint64_t purge_tag_hash(struct slice tag);

struct purge_stat {
    uint64_t head, first; /* positions in the journal */
    uint64_t scopes;      /* in the table */
};
void purge_stat(struct purge *p, struct purge_stat *out);

#endif
