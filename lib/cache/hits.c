/* How often an object has been found, as far as anybody wants to know: LIMIT_AHEAD_HITS times. */
#include <stdlib.h>

#include "base/limits.h"
#include "cache/cache_priv.h"

enum { SLOTS = 65536, COUNT_BITS = 8 };

/* A slot: the object's number, and behind it the count.  An object takes the slot of another. */
struct hits {
    _Atomic uint64_t slot[SLOTS];
};
_Static_assert(LIMIT_AHEAD_HITS < 1 << COUNT_BITS, "the count fits");

enum err hits_new(struct hits **out)
{
    *out = calloc(1, sizeof(**out));
    return *out == NULL ? ERR_NOMEM : ERR_OK;
}

void hits_free(struct hits *h)
{
    free(h);
}

unsigned hits_count(struct hits *h, uint64_t objid)
{
    _Atomic uint64_t *slot = &h->slot[objid % SLOTS];
    /* relaxed: a count that is lost is one hit more to wait for */
    uint64_t was = atomic_load_explicit(slot, memory_order_relaxed);
    unsigned count = (unsigned)(was & ((1u << COUNT_BITS) - 1));

    if (was >> COUNT_BITS != objid << COUNT_BITS >> COUNT_BITS)
        count = 0;
    /* what everybody asks for is not written any more: its line stays with all the processors */
    if (count < LIMIT_AHEAD_HITS)
        atomic_store_explicit(slot, objid << COUNT_BITS | (count + 1), memory_order_relaxed);
    return count;
}
