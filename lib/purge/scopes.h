/*
 * scopes: scope -> how far it has been purged, in memory, read without locks.
 *
 * A hash table of ids (64 bits; two scopes that fall on one id are purged together, which costs a
 * fetch and nothing else), with what has no id beside it: everything, any tag, and the lengths
 * that prefixes have.  It knows neither texts nor the disk.
 *
 * Invariants
 *   - A mark only grows until scopes_restart().
 *   - What scopes_raise() put in is seen by everyone who has read, with acquire, something that
 *     the writer stored with release afterwards: the head.
 *   - Tables only grow, each twice its predecessor; old ones stay until the end, since readers
 *     say nobody when they leave.  So all of them together are at most twice the last.
 *
 * Threads: one writer; any number of readers.
 */
#ifndef PURGE_SCOPES_H
#define PURGE_SCOPES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "purge/purge.h"

enum { SCOPES_LENGTH_WORDS = PURGE_TEXT_BYTES_MAX / 64 + 1 };

struct scopes_mark {
    uint64_t hard, soft; /* positions of the last purges; 0: never */
};

struct scopes_slot {
    _Atomic uint64_t id; /* 0: free */
    _Atomic uint64_t hard, soft;
};

struct scopes_table;

struct scopes {
    _Atomic(struct scopes_table *) live;          /* owned, with its predecessors */
    struct scopes_slot all, any_tag;              /* without ids */
    _Atomic uint64_t length[SCOPES_LENGTH_WORDS]; /* bit n: some prefix has n bytes */
    _Atomic uint64_t count; /* of the table's ids, those of scopes_raise_prefix() left out */
};

NODISCARD enum err scopes_init(struct scopes *s);
void scopes_release(struct scopes *s); /* a half-made one is fine */

/* ---- the writer ---- */

/* Make room for `more` ids, so that raising them cannot fail.  ERR_NOMEM: as before. */
NODISCARD enum err scopes_reserve(struct scopes *s, size_t more);

/* Raise the marks of `id` to those of `m` where they are lower.  scopes_reserve() has made room. */
void scopes_raise(struct scopes *s, uint64_t id, struct scopes_mark m);
void scopes_raise_slot(struct scopes_slot *slot, struct scopes_mark m);

/* Remember that host `host_id` (not 0; of no scope) has prefixes of `bytes` bytes.  Room for one
 * id. */
void scopes_add_length(struct scopes *s, uint64_t host_id, size_t bytes);

/*
 * Forget everything but `all`.  Readers may find nothing of what was there from now on: a floor
 * above all of it must have been stored, with release, before; and a reader compares the floor
 * before with the floor after (rule 6).
 */
void scopes_restart(struct scopes *s);

/* ---- any thread ---- */

struct scopes_mark scopes_find(const struct scopes *s, uint64_t id);
struct scopes_mark scopes_mark_of(const struct scopes_slot *slot);
uint64_t scopes_count(const struct scopes *s);

/*
 * The next length above `from` that a prefix of this host may have, at most `max`; 0: none.  `mask`
 * is what scopes_lengths() said of the host.
 */
uint64_t scopes_lengths(const struct scopes *s, uint64_t host_id);
size_t scopes_next_length(const struct scopes *s, uint64_t mask, size_t from, size_t max);

#endif
