/*
 * memory: what malloc keeps after a crowd has left goes back to the system.
 *
 * glibc has an arena for each thread, and of what is freed in it gives back only what lies at its
 * end: a thousand clients that were here for a minute leave tens of megabytes in small pieces.  So
 * the main thread looks once in a while, and has all of it given back when it has become much and
 * no request runs: an arena is locked meanwhile, for about 1 ms a megabyte where the kernel is slow.
 */
#ifndef SERVER_MEMORY_H
#define SERVER_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

struct memory {
    int64_t looked_ms; /* monotonic */
};

/* Bytes in memory that nobody has allocated, about. */
uint64_t memory_kept(void);

/* Is it LIMIT_MEMORY_LOOK_MS since the last look? */
bool memory_is_due(const struct memory *m, int64_t now_ms);

/* Look, and give back what is too much; true when there was.  One thread. */
bool memory_look(struct memory *m, int64_t now_ms);

#endif
