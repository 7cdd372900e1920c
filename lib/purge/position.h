/*
 * position: a point on the purge clock, and the birth of an object.
 *
 * One u64: epoch (16 bits) over n (48 bits), compared as a whole.  Epochs only grow,
 * so a birth of a lower epoch is dead by that alone.
 */
#ifndef PURGE_POSITION_H
#define PURGE_POSITION_H

#include <stdint.h>

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

#endif
