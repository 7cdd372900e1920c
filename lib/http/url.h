/* url: request targets, authorities and their normal forms (RFC 3986, RFC 9110 section 7.1, RFC
 * 9112 section 3.2).  Pure. */
#ifndef HTTP_URL_H
#define HTTP_URL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

/*
 * The host of a Host field or :authority: lower-case, without port and trailing dot, in the arena;
 * IPv6 in brackets stays so.  ERR_INVALID for userinfo, any byte that RFC 3986 does not call
 * unreserved (escapes too: they would be a second spelling), empty labels, empty or over 253 bytes,
 * a port that is none (an empty one is no port); ERR_LIMIT when the arena is full.  *out_port is 0
 * when there was none.
 */
NODISCARD enum err url_host(struct slice authority, struct arena *a, struct slice *out_host,
                            uint16_t *out_port);

/*
 * A request target in origin form as it may go on: begins with '/', no fragment, no control bytes,
 * space, backslash or bytes that RFC 3986 forbids ('<', '>', '"', '{', '}', '|', '^', '`') other
 * than as %XX; bytes >= 0x80 are let through.  `%` must be followed by two hex digits. At most
 * LIMIT_TARGET_BYTES.  Nothing is changed: keys and upstream see the raw bytes.
 */
bool url_target_is_valid(struct slice target);

/* Length of the path: up to '?' or the end. */
size_t url_path_bytes(struct slice target);

/*
 * Append the purge URL of host and target: host, then path and query in RFC 3986 normal form:
 * escapes of unreserved bytes decoded, hex upper-case, other bytes escaped where they must be, dot
 * segments and empty segments removed (empty ones first).  Idempotent; at most host.n + 3 *
 * target.n + 1 bytes, also on the way.  `out` fails at its own ceiling.
 */
void url_purge_form(struct slice host, struct slice target, struct buf *out);

/*
 * The parts of an absolute http or https URL as operators write it; slices into `url`.  The host is
 * one that url_host() takes.  ERR_INVALID for anything else, "http://host?query" included: its
 * target would begin with no '/'.
 */
struct url_parts {
    bool is_https;
    struct slice host; /* as written, without port */
    uint16_t port;     /* as written, or 80/443 */
    bool has_port;
    struct slice target; /* path and query; "/" when there was none; a fragment is ERR_INVALID */
};
NODISCARD enum err url_parse_absolute(struct slice url, struct url_parts *out);

/*
 * Where a reference in an answer to `target` at `host` leads (RFC 3986 section 5.2): Location,
 * Content-Location.  The fragment is gone, and dot segments of the path are.  `host` of the result
 * is as url_host() makes it for what names none, as written otherwise.  Slices into what was given,
 * or in the arena.  ERR_INVALID for what is no http or https URL, or has a target that could not be
 * asked for; ERR_LIMIT when the arena is full.
 */
NODISCARD enum err url_resolve(struct slice reference, bool is_https, struct slice host,
                               struct slice target, struct arena *a, struct url_parts *out);

/* Does `path` match the glob: '*' any run of bytes, '?' any one byte, all else itself, the whole
 * path? Linear in practice; no recursion. */
bool url_glob_matches(struct slice glob, struct slice path);

#endif
