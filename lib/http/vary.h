/* vary: the list of Vary and the normal form of what it selects by (RFC 9111 section 4.1, RFC 9110
 * section 12.5.5).  Pure. */
#ifndef HTTP_VARY_H
#define HTTP_VARY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "http/fields.h"

/*
 * The names of all Vary lines of a response: lower-case, sorted, without duplicates, joined with
 * ','; in the arena.  Empty (p != NULL, n == 0) when there is no Vary.  *star is set when any
 * member is '*' anywhere: then nothing ever matches, and the list holds the other names. ERR_LIMIT
 * when the arena is full; ERR_INVALID when a member is no token (treat it as '*').
 */
NODISCARD enum err vary_list(const struct http_fields *response, struct arena *a, struct slice *out,
                             bool *star);

/*
 * Append to `out` what the request says for `list` (as vary_list() wrote it): for each name a line
 * that tells absent from empty, and the value in normal form: lines joined, OWS around commas
 * removed; Accept-Language, Accept-Encoding, Accept and Accept-Charset in lower case, without
 * spaces and as a sorted set of (range, q in thousandths); a q that is none stays part of its
 * range, and more than 64 members are compared as they came.  Equal text means same variant.
 */
void vary_selecting_text(struct slice list, const struct http_fields *request, struct buf *out);

#endif
