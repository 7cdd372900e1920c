/* tags: the surrogate keys of a response: Surrogate-Key (by spaces) and Cache-Tag (by commas).  Pure. */
#ifndef CACHE_TAGS_H
#define CACHE_TAGS_H

#include "base/arena.h"
#include "base/err.h"
#include "http/fields.h"

/*
 * Hash the tags of a response into the arena.  Above LIMIT_TAGS, LIMIT_TAGS_BYTES or LIMIT_TAG_BYTES *overflow is set and
 * the rest is left out.  ERR_LIMIT when the arena is full.
 */
NODISCARD enum err tags_read(const struct http_fields *fields, struct arena *a, const uint64_t **out, uint32_t *count, bool *overflow);

/*
 * The union of both, as store_stamp wants it.  *overflow comes in as true when one of them has lost tags already; it is never
 * cleared.
 */
NODISCARD enum err tags_join(const uint64_t *a_tags, uint32_t a_count, const uint64_t *b_tags, uint32_t b_count, struct arena *a,
                             const uint64_t **out, uint32_t *count, bool *overflow);

#endif
