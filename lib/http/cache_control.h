/*
 * cache_control: the directives of Cache-Control (RFC 9111 section 5.2) and of its targeted sisters
 * (RFC 9213), as plain values.  Pure.
 */
#ifndef HTTP_CACHE_CONTROL_H
#define HTTP_CACHE_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "http/fields.h"

#define CC_ABSENT INT64_C(-1) /* the directive was not there */
#define CC_INVALID                                                                                 \
    INT64_C(-2) /* it was there with an argument that is no number: RFC 9111 section 4.2.1 wants   \
                   stale */
#define CC_MAX_S (INT64_C(1) << 31) /* larger values saturate here (section 1.2.2) */

struct cache_control {
    bool present; /* there was a field at all */
    bool bad;     /* an unterminated quote: nothing after it could be read */
    bool no_store, no_cache, is_private, is_public, must_revalidate, proxy_revalidate;
    bool must_understand, immutable, no_transform, only_if_cached;
    bool max_stale_any;            /* max-stale without an argument (request) */
    int64_t max_age_s, s_maxage_s; /* CC_ABSENT, CC_INVALID or 0..CC_MAX_S */
    int64_t stale_while_revalidate_s, stale_if_error_s;
    int64_t max_stale_s, min_fresh_s; /* request */
    struct slice no_cache_fields; /* the list of no-cache="a, b", unquoted as it stands; else p ==
                                     NULL.  no_cache is then false. */
    struct slice private_fields;  /* the same of private="a"; is_private is then false */
};

/*
 * Read all Cache-Control lines of a message as one list.  Names without case; the first of several
 * equal directives counts, except that two of no-cache, or of private, are the unqualified one;
 * unknown ones are skipped; a quoted number is accepted; space around '=' is not (the directive is
 * CC_INVALID).  A flag with an argument is the flag. The slices in `out` are borrowed from the
 * fields.
 */
void cache_control_parse(const struct http_fields *f, struct cache_control *out);

/*
 * Read a targeted field `name` (CDN-Cache-Control) as a Structured Fields Dictionary (RFC 9213
 * section 2.1, RFC 9651), strictly. False, with `out` all absent, when the field is missing, empty
 * or does not parse as a whole: then Cache-Control counts. A known member of the wrong type is
 * CC_INVALID (numbers) and never coerced; a flag of the wrong type is set where that restricts and
 * not where it allows.  The last of several equal keys counts.
 */
bool cache_control_parse_targeted(const struct http_fields *f, struct slice name,
                                  struct cache_control *out);

#endif
