/*
 * kin: nodes of the fleet that are told otherwise than this one.
 *
 * Keys and lifetimes agree between tiers only where all have the same sites, and a purge reaches
 * all only where they heed the same journal.  A shield compares what an edge says of both with each
 * request, and says in its answer what differs, so that both ends warn whoever looks.
 *
 * Any thread; takes a lock, and only when something differs.
 */
#ifndef SERVER_KIN_H
#define SERVER_KIN_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

struct kin;

enum kin_matter { KIN_SITES = 1, KIN_JOURNAL = 2 }; /* bits */

NODISCARD enum err kin_new(struct kin **out);
void kin_free(struct kin *k); /* NULL is fine */

/* `node` differs in these matters: counted, and logged once a minute for each node. */
void kin_differs(struct kin *k, struct slice node, unsigned matters, int64_t now_ms);

/* A line for each node that differed of late; for /readyz and `selvage status`. */
void kin_say(struct kin *k, int64_t now_ms, struct buf *out);

/* The value of Selvage-Differs: what differs, and who says so.  Appends; reads the same again. */
void kin_print(unsigned matters, struct slice node, struct buf *out);
unsigned kin_parse(struct slice value, struct slice *out_node); /* 0: it says nothing */

#endif
