/*
 * decide_request: what to do with a request, given what is stored (RFC 9111 section 4).  Pure.
 */
#ifndef CACHE_DECIDE_REQUEST_H
#define CACHE_DECIDE_REQUEST_H

#include "cache/decide.h"
#include "http/cache_status.h"

enum request_action {
    REQUEST_ANSWER,         /* from the store */
    REQUEST_ANSWER_REFRESH, /* from the store, stale or soon to be; and validate in the background */
    REQUEST_VALIDATE,       /* ask the origin about what is stored */
    REQUEST_FETCH,          /* nothing usable: fetch, share, perhaps store */
    REQUEST_PASS,           /* straight through: not looked up, not shared, not stored */
    REQUEST_RANGE_PASS,     /* as PASS: a range of what is not stored */
    REQUEST_REFUSE,         /* 504: only-if-cached */
};

struct request_decision {
    enum request_action action;
    enum cache_status_fwd fwd; /* for Cache-Status; FWD_NONE for answers from the store */
    bool may_serve_stale;      /* if the fetch fails, the stored one may be looked at again */
    int64_t ttl_s;             /* lifetime left, negative when stale; CACHE_STATUS_NO_TTL when nothing is stored */
    struct reasons why;
};

/* Must it go through without a look at the store?  True: `out` is the whole decision. */
bool decide_pass(const struct request_facts *rq, const struct rule_facts *rule, struct request_decision *out);

/*
 * Decide about a request that decide_pass() let by.
 *
 *   may_serve_swr  the role's: a shield validates instead
 */
void decide_request(const struct request_facts *rq, const struct stored_facts *stored, const struct rule_facts *rule,
                    bool may_serve_swr, const struct clock_moment *now, struct request_decision *out);

#endif
