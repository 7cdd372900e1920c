/*
 * position: a point on the purge clock, and the birth of an object.
 *
 * A birth is one u64: epoch (16 bits) over n (48 bits), compared as a whole.  Epochs only grow,
 * so a birth of a lower epoch is dead by that alone.
 *
 * Between nodes a position says more: which cluster's clock, who opened the epoch, and the random
 * id of record n.  Two nodes are at the same point only when all of it agrees: a number alone may
 * have been given twice, by a machine that was set back.
 */
#ifndef PURGE_POSITION_H
#define PURGE_POSITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define POSITION_N_BITS 48
#define POSITION_N_MAX  ((UINT64_C(1) << POSITION_N_BITS) - 1)

static inline uint64_t position_make(uint16_t epoch, uint64_t n)
{
    return (uint64_t)epoch << POSITION_N_BITS | (n & POSITION_N_MAX);
}

static inline uint16_t position_epoch(uint64_t p)
{
    return (uint16_t)(p >> POSITION_N_BITS);
}

static inline uint64_t position_n(uint64_t p)
{
    return p & POSITION_N_MAX;
}

struct purge_position {
    uint64_t cluster;
    uint64_t epoch_tag; /* random, of whoever opened the epoch */
    uint64_t n;
    uint64_t id;    /* of record n; 0 for n = 0 */
    uint16_t epoch; /* 0: of a follower that has never met its cluster */
};

static inline uint64_t purge_position_birth(const struct purge_position *p)
{
    return position_make(p->epoch, p->n);
}

/* Is it the same epoch of the same clock: can the numbers be compared? */
static inline bool purge_position_is_of(const struct purge_position *a,
                                        const struct purge_position *b)
{
    return a->cluster == b->cluster && a->epoch == b->epoch && a->epoch_tag == b->epoch_tag;
}

static inline bool purge_position_eq(const struct purge_position *a, const struct purge_position *b)
{
    return purge_position_is_of(a, b) && a->n == b->n && a->id == b->id;
}

enum {
    PURGE_POSITION_TEXT_BYTES = 16 * 3 + 5 + 15 + 4 + 1, /* with the NUL */
    PURGE_POSITION_BYTES = 2 + 2 + 2 + 4 * 8 + 8,        /* with the checksum */
};

/*
 * As text: CLUSTER-EPOCH-TAG-N-ID, cluster, tag and id as 16 lower-case hexadecimal digits, epoch
 * and n as decimal numbers.  This is the value of the fields Selvage-Position and Selvage-Checked.
 * One position has one text.  Pure; any thread.
 */
void purge_position_print(const struct purge_position *p, char out[PURGE_POSITION_TEXT_BYTES]);
NODISCARD enum err purge_position_parse(struct slice text, struct purge_position *out);

/* As bytes with version and checksum: in the stream (stream.h). */
void purge_position_encode(const struct purge_position *p, unsigned char out[PURGE_POSITION_BYTES]);
NODISCARD enum err purge_position_decode(struct slice bytes, struct purge_position *out);

#endif
