/*
 * pins: which bodies somebody still reads, by object id.
 *
 * A pin is a courtesy and not a safeguard: ids are never given twice, so a body whose pin was lost
 * is gone for its reader, and never another one's.  That is why running out of memory here may lose
 * a pin.  Any thread; the locks are leaves, sixty-four of them.
 */
#ifndef STORE_PINS_H
#define STORE_PINS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct pins;

NODISCARD enum err pins_new(struct pins **out);
void pins_free(struct pins *p); /* NULL is fine */

void pins_add(struct pins *p, uint64_t objid, int64_t now_ms);
void pins_drop(struct pins *p, uint64_t objid);

/* Not pinned, or the pin was broken.  *out_since_ms: when it was last pinned; only when pinned. */
bool pins_is_free(struct pins *p, uint64_t objid, int64_t *out_since_ms);

/* The body may be deleted although it is pinned. */
void pins_break(struct pins *p, uint64_t objid);

#endif
