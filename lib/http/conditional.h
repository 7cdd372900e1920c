/* conditional: entity tags and preconditions (RFC 9110 sections 8.8.3 and 13).  Pure. */
#ifndef HTTP_CONDITIONAL_H
#define HTTP_CONDITIONAL_H

#include <stdbool.h>
#include <stdint.h>

#include "http/fields.h"

bool etag_is_weak(struct slice tag);                  /* begins with W/" */
bool etag_is_strong(struct slice tag);                /* a well-formed strong tag */
bool etag_equal_weak(struct slice a, struct slice b); /* section 8.8.3.2 */
bool etag_equal_strong(struct slice a, struct slice b);

/* What the stored response offers to be compared with. */
struct http_validators {
    struct slice etag;          /* p == NULL: none */
    struct slice last_modified; /* as it came; p == NULL: none */
    int64_t last_modified_s;    /* -1: none or not a date */
    int64_t date_s;             /* Date, or the time of receipt */
};

enum http_condition {
    HTTP_CONDITION_NONE,         /* nothing to evaluate: send it whole */
    HTTP_CONDITION_NOT_MODIFIED, /* 304 */
    HTTP_CONDITION_MODIFIED,     /* there was a condition and it does not hold: send it whole */
};

/*
 * Evaluate If-None-Match, else If-Modified-Since, of a GET or HEAD against a stored 200 (RFC 9110
 * section 13.2.2, RFC 9111 section 4.3.2).  If-None-Match compares weakly over all lines, "*"
 * matches anything; malformed tags match only byte for byte.  An invalid or repeated
 * If-Modified-Since is ignored; without a stored Last-Modified, date_s stands in.  One that is
 * stored and is no date is no match.
 */
enum http_condition http_condition_evaluate(const struct http_fields *request,
                                            const struct http_validators *v, int64_t now_s);

/*
 * Does If-None-Match name this tag, on any line, compared weakly?  "*" names none.  `etag` may be
 * nothing: false.
 */
bool http_if_none_match_names(const struct http_fields *request, struct slice etag);

/*
 * May a Range of this request be applied, as far as If-Range goes (RFC 9110 section 13.1.5)?  True
 * without If-Range.  A tag must match strongly; a date must equal Last-Modified exactly and that
 * must be strong (at least 1 s before Date).
 */
bool http_if_range_holds(const struct http_fields *request, const struct http_validators *v,
                         int64_t now_s);

/* Does the request carry If-Match or If-Unmodified-Since?  Those are for the origin
 * (section 13.2.1). */
bool http_has_origin_condition(const struct http_fields *request);

#endif
