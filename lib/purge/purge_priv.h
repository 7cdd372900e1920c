/* What the files of this folder share.  Tests use purge__open() to reach limits that are far away.
 */
#ifndef PURGE_PURGE_PRIV_H
#define PURGE_PURGE_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "purge/recent.h"
#include "purge/record.h"
#include "purge/scopes.h"
#include "table/table.h"

enum { PURGE_TABLE_STATE, PURGE_TABLE_JOURNAL, PURGE_TABLE_ROWS };

/* Ids of the last records that are kept in memory: so far may a peer be behind and still be known
 * to have what we have.  A power of two. */
enum { PURGE_IDS = 16384 };

struct purge_limits {
    uint64_t scopes_max;
    uint64_t records_max;
    uint64_t journal_bytes_max;
    uint64_t map_bytes;
    uint32_t boots_max; /* below 2^24: object ids have 24 bits for it */
};

struct purge {
    /* Fixed after open. */
    struct purge_identity identity;
    struct purge_limits limits;
    bool follows;
    struct table *table;

    /* The writer's (ctl). */
    struct purge_clock clock; /* as on disk */
    struct recent recent;
    bool has_garbage;     /* rows of an older generation may still be there */
    bool has_old_records; /* records below the journal's first may still be there */
    void (*on_head)(void *user);
    void *on_head_user;

    /* Everyone's. */
    struct scopes scopes;
    _Atomic uint64_t head, floor, first;
    _Atomic uint32_t generation;
    _Atomic uint64_t cluster;
    _Atomic int64_t heard_ms; /* monotonic; 0: never */

    /* A leaf.  Moved after the head: what it says is judged by the table. */
    pthread_mutex_t position_lock;
    struct purge_position position;
    uint64_t ids[PURGE_IDS]; /* of record n at n % PURGE_IDS */
    uint64_t ids_from;       /* lower n are not among them */
};

NODISCARD enum err purge__open(const char *dir, const struct purge_limits *limits,
                               struct purge **out);
NODISCARD enum err purge__open_as(const char *dir, const struct purge_limits *limits, bool follows,
                                  struct purge **out);

/* Not 0.  Of a tag: of its hash alone, since that is all that objects keep of it. */
uint64_t purge__scope_id(const struct purge *p, enum purge_kind kind, struct slice text);
uint64_t purge__tag_id(uint64_t tag_hash);
uint64_t purge__host_prefixes_id(const struct purge *p, struct slice host);

/* Put one row's marks in force; scopes_reserve() has made room for two ids. */
void purge__raise(struct purge *p, const struct purge_row *row);

/* What a record takes in the file, about: LMDB gives large values whole pages. */
uint64_t purge__record_cost(size_t value_bytes);

NODISCARD enum err purge__put_clock(struct table_write *w, const struct purge_clock *c);
NODISCARD enum err purge__put_identity(struct table_write *w, const struct purge_identity *i);

/* From a change on, memory says as `clock` does: position and head.  The table and the floor first.
 */
void purge__show_clock(struct purge *p, const struct purge_clock *clock, const uint64_t *ids,
                       size_t ids_count);

/* ---- follow.c ---- */

/* What is held is dead from here on: go on at `to`, which is later.  As purge_append() fails. */
NODISCARD enum err purge__jump(struct purge *p, const struct purge_position *to);

/* ---- journal.c ---- */

/* Append what the owner has: contiguous behind the head. */
NODISCARD enum err purge__append_received(struct purge *p, const struct purge_record *records,
                                          size_t count);
/* Would these take the table over its limit? */
bool purge__is_over_limit(const struct purge *p, const struct purge_record *records, size_t count);

#endif
