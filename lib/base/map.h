/*
 * map: bytes -> pointer, for tables whose keys strangers choose.
 *
 * A hash table with a random key of its own, so that nobody can aim at one bucket.  It owns copies
 * of its keys and borrows the values.  One thread, or a lock of the caller's.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stddef.h>

#include "base/err.h"
#include "base/slice.h"

struct map;

NODISCARD enum err map_new(struct map **out);
void map_free(struct map *m); /* NULL is fine; the values are not touched */

/* The value under `key`, or NULL. */
void *map_find(const struct map *m, struct slice key);

/* Put, replacing.  `value` must not be NULL.  ERR_NOMEM. */
NODISCARD enum err map_put(struct map *m, struct slice key, void *value);

/* Remove `key`; NULL when it was not there, else its value. */
void *map_remove(struct map *m, struct slice key);

size_t map_count(const struct map *m);

#endif
