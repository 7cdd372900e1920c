/*
 * head: what is kept of a response beside its body: status, fields, and the arithmetic of its freshness.
 *
 * The opaque `head` of the store's objects.  Bytes read back are from the disk and may be anything: decoding checks every
 * length.  Pure.
 */
#ifndef CACHE_HEAD_H
#define CACHE_HEAD_H

#include "base/arena.h"
#include "base/err.h"
#include "cache/decide.h"

struct head {
    int status;
    struct freshness freshness;
    bool no_cache, forbids_stale, is_immutable;
    enum cache_reason lifetime_by;
    uint32_t rule_line;       /* of the rule that gave the lifetime; 0: none */
    struct slice vary;        /* as vary_list() wrote it; empty: none */
    struct http_fields fields; /* end-to-end ones, without Age */
};

/* Append the encoding to `out`, which fails at its ceiling.  `boot` is clock_boot(). */
void head_encode(const struct head *h, uint32_t boot, struct buf *out);

/*
 * Decode; slices point into `bytes`, the field list lies in the arena.  A head of another boot has
 * freshness.received.mono_ms == FRESHNESS_ABSENT.  ERR_CORRUPT, ERR_LIMIT (the arena is full).
 */
NODISCARD enum err head_decode(struct slice bytes, uint32_t boot, struct arena *a, struct head *out);

/* What decide_request() wants to know of it. */
void head_facts(const struct head *h, bool soft_purged, struct stored_facts *out);

/*
 * Does a 304 with the fields `update` speak of the stored response (RFC 9111 section 4.3.4)?  Not when it names another entity
 * tag; compared weakly, since a server may send the tag of what it would send either way.  Where one of the two has no tag,
 * Last-Modified decides, byte for byte; a 304 with neither speaks of what was asked about.
 */
bool head_is_meant(const struct http_fields *stored, const struct http_fields *update);

/*
 * Does the answer to a HEAD, with the fields `update`, describe what is stored (RFC 9111 section 4.3.5)?  Each of ETag,
 * Last-Modified and Content-Length that it has must be that of the stored response.
 */
bool head_agrees(const struct http_fields *stored, uint64_t body_bytes, const struct http_fields *update);

/*
 * Bring a stored head up to date with the fields of a 304 (RFC 9111 section 3.2): every name in the 304 replaces all lines
 * of that name, but Content-Length, Content-Encoding, Content-Range and Transfer-Encoding stay as stored, and Set-Cookie too
 * unless `takes_cookies`: one that comes with a 304 is for the client that asked.  The stored Date always goes.  The result's list lies in the arena and
 * borrows from both.  ERR_LIMIT.
 */
NODISCARD enum err head_freshen(const struct http_fields *stored, const struct http_fields *update, bool takes_cookies,
                                struct arena *a, struct http_fields *out);

#endif
