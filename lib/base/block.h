/*
 * block: a counted buffer of body bytes, shared by threads without copying.
 *
 * One writer appends (bytes grow, never shrink, never move); others read what was
 * there when they were told.  Who tells them (a lock, a message) orders the bytes;
 * the count alone is atomic.  Any thread may hold and drop references.
 */
#ifndef BASE_BLOCK_H
#define BASE_BLOCK_H

#include <stdatomic.h>
#include <stddef.h>

struct block {
    _Atomic unsigned refs;
    size_t capacity;
    char data[];
};

/* One reference, owned by the caller.  NULL when out of memory. */
struct block *block_new(size_t capacity);
struct block *block_ref(struct block *b);
void block_unref(struct block *b); /* NULL is fine */

/* Bytes held by all blocks of the process: what the fill budget compares. */
size_t block_bytes_in_use(void);

#endif
