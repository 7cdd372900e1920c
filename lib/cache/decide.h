/*
 * decide: what the two decisions share: facts in, reasons out.
 *
 * cache/decide_request and cache/decide_response are pure: no I/O, no clock of their own.  The engine, `selvage explain`,
 * tests and fuzzers call these same two, so an explanation cannot drift from behaviour.
 */
#ifndef CACHE_DECIDE_H
#define CACHE_DECIDE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "cache/freshness.h"
#include "http/cache_control.h"
#include "http/fields.h"
#include "site/site.h"

enum cache_reason {
#define REASON(id, text, source) REASON_##id,
#include "cache/reason.def"
#undef REASON
    REASON_COUNT
};

enum { REASONS_MAX = 12 };

/* Why, in the order in which it was found.  Plain data. */
struct reasons {
    unsigned count;
    struct {
        enum cache_reason id;
        int64_t number;
    } item[REASONS_MAX];
};

void reasons_add(struct reasons *r, enum cache_reason id, int64_t number);
bool reasons_have(const struct reasons *r, enum cache_reason id);

/* One line each: "  text (source)". */
void reasons_format(const struct reasons *r, struct buf *out);

/* The bare name of a reason in lower case with '-', as detail= of Cache-Status and in the access log: "no-store". */
const char *reason_token(enum cache_reason id);

/* METHOD_SAFE: OPTIONS and QUERY, which are passed and change nothing. */
enum request_method { METHOD_GET, METHOD_HEAD, METHOD_SAFE, METHOD_OTHER };

/* What matters of a request. */
struct request_facts {
    enum request_method method;
    bool is_upgrade;          /* asks for another protocol */
    bool has_content;         /* a body, or a Content-Length other than 0 */
    bool has_authorization, has_cookie, has_range;
    bool has_origin_condition; /* If-Match, If-Unmodified-Since */
    struct cache_control cc;
    bool pragma_no_cache;     /* and no Cache-Control (RFC 9111 section 5.4) */
};

void request_facts_read(struct request_facts *out, struct slice method, const struct http_fields *fields, bool has_body);

/* What is known of the stored response; present == false: all else is nothing. */
struct stored_facts {
    bool present;
    bool vary_missed;          /* something is stored under the key, but not for such a request */
    bool is_purged;            /* not present: what is stored is dead by a purge */
    bool soft_purged;
    bool is_unleased;          /* the purge journal is out of reach, and it was not validated since */
    bool no_cache;             /* validate each time */
    bool forbids_stale;        /* must-revalidate and its like */
    bool has_validator;
    bool is_immutable;
    unsigned hits;             /* since it was stored; LIMIT_AHEAD_HITS stands for all more */
    int status;
    struct freshness freshness;
};

/* What the site's rule says, and the site. */
struct rule_facts {
    const struct site *site;
    const struct site_rule *rule; /* NULL: none matched */
    bool bypass_cookie;           /* the request has a cookie that the rule names */
};

#endif
