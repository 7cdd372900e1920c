#include "base/block.h"

#include <stdlib.h>

static _Atomic size_t in_use;

struct block *block_new(size_t capacity)
{
    struct block *b = malloc(sizeof(*b) + capacity);

    if (b == NULL)
        return NULL;
    atomic_init(&b->refs, 1);
    b->capacity = capacity;
    atomic_fetch_add_explicit(&in_use, capacity, memory_order_relaxed);
    return b;
}

struct block *block_ref(struct block *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void block_unref(struct block *b)
{
    /* release: our reads are over before the last holder frees; acquire pairs with it */
    if (b == NULL || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
        return;
    atomic_fetch_sub_explicit(&in_use, b->capacity, memory_order_relaxed);
    free(b);
}

size_t block_bytes_in_use(void)
{
    return atomic_load_explicit(&in_use, memory_order_relaxed);
}
