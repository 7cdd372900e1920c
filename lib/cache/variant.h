/*
 * variant: several responses under one key, told apart by the request fields that Vary names (RFC 9111 section 4.1).
 *
 * The base row of such a key holds a marker: up to LIMIT_VARY_LISTS distinct Vary lists, newest first, and the hashes of at most
 * LIMIT_VARIANTS variants with the time they were last stored.  At the cap a new variant is not stored, unless the oldest was last stored over an hour ago:
 * so strangers cannot fill the store with one key, and variants long evicted do not count for ever.  A look-up tries each list.  A response without Vary is one of them (the empty list): origins send
 * Vary on some answers only, and an error page must not orphan the variants.  Pure.
 */
#ifndef CACHE_VARIANT_H
#define CACHE_VARIANT_H

#include "base/arena.h"
#include "base/err.h"
#include "http/fields.h"
#include "http/vary.h"

struct variant_lists {
    struct slice list[8]; /* newest first; slices into the marker */
    size_t count;
};

/* ERR_CORRUPT when it is no marker. */
NODISCARD enum err variant_lists_read(struct slice marker, struct variant_lists *out);

/* The variants that a marker knows, at most LIMIT_VARIANTS; how many.  0 when it is no marker. */
size_t variant_numbers_read(struct slice marker, uint64_t *out);

/* The store's variant number of a request under a Vary list; never 0.  `scratch` is emptied and used. */
uint64_t variant_of(struct slice list, const struct http_fields *request, struct buf *scratch);

/* What to hand to the store as store_record.marker: `list` seen at `now_s`.  Appended to `out`. */
void variant_marker(struct slice list, int64_t now_s, struct buf *out);

/* The merge, as store_options.merge wants it; `add` is what variant_marker() wrote. */
bool variant_merge(struct slice old, struct slice add, uint64_t variant, char *out, size_t out_max, size_t *out_bytes);

#endif
