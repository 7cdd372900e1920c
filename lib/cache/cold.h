/*
 * cold: reads that may wait for the disk, off the event loops.
 *
 * Two threads, each with readers of its own.  A read is asked for by one worker and told to the same
 * one.
 */
#ifndef CACHE_COLD_H
#define CACHE_COLD_H

#include "base/block.h"
#include "base/err.h"
#include "base/reactor.h"
#include "release/files.h"
#include "store/store.h"

struct cold;
struct cold_read; /* one read on its way */

/* `f` NULL: no files are read. */
NODISCARD enum err cold_new(struct store *s, struct files *f, struct cold **out);
void cold_free(struct cold *c); /* no read may be on its way; NULL is fine */

/*
 * Read up to one chunk of a pinned object from `offset`; it is pinned once more meanwhile.  `done`
 * is called on the reactor's thread: with a block whose reference is the callee's and the bytes in
 * it, or with NULL.  NULL when out of memory.
 */
struct cold_read *cold_start(struct cold *c, struct reactor *r, uint64_t objid, uint64_t offset,
                             size_t bytes, void (*done)(void *user, struct block *b, size_t bytes),
                             void *user);

/* The same of a published content, which stays where it is. */
struct cold_read *cold_start_file(struct cold *c, struct reactor *r,
                                  const unsigned char sha256[DIGEST_SHA256_BYTES], uint64_t offset,
                                  size_t bytes,
                                  void (*done)(void *user, struct block *b, size_t bytes),
                                  void *user);

/* No callback comes after.  Asking worker only. */
void cold_cancel(struct cold_read *r);

/*
 * The worker of this reactor leaves, and all its reads have been cancelled: those that have not
 * begun are given up, and what is on the disk's way is waited for, so that nothing is posted to
 * the reactor after this.  May take as long as the disk.
 */
void cold_leave(struct cold *c, struct reactor *r);

#endif
