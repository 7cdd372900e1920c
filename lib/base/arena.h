/*
 * arena: memory that dies together, in one step.
 *
 * Used for what lives as long as a request or a loaded file.  It starts in a
 * block lent by the caller, so that an ordinary request asks malloc for nothing.
 * It has a ceiling: past it, allocations fail and the request is refused.
 * One thread at a time.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

#include "base/slice.h"

struct arena_block;

struct arena {
    struct arena_block *more; /* owned; blocks beyond the lent one, newest first */
    char *at, *end;           /* free room in the current block */
    size_t bytes;             /* taken from malloc so far */
    size_t bytes_max;
};

/*
 *   first   borrowed until arena_release(); may be NULL with first_bytes 0
 */
void arena_init(struct arena *a, void *first, size_t first_bytes, size_t bytes_max);

/* 16-byte aligned, not cleared.  NULL at the ceiling or out of memory. */
void *arena_alloc(struct arena *a, size_t bytes);

/* As arena_alloc(), cleared. */
void *arena_zalloc(struct arena *a, size_t bytes);

/* A copy that ends with an extra NUL; p == NULL when there is no room. */
struct slice arena_dup(struct arena *a, struct slice s);

/* The same as text, for interfaces that want a C string; NULL when there is no room. */
char *arena_text(struct arena *a, struct slice s);

/* Free everything; the arena may be initialised again. */
void arena_release(struct arena *a);

#endif
