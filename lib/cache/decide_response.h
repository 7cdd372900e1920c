/*
 * decide_response: what to do with what the upstream answered, or failed to (RFC 9111 sections 3, 4.2, 4.3; RFC 5861).  Pure.
 */
#ifndef CACHE_DECIDE_RESPONSE_H
#define CACHE_DECIDE_RESPONSE_H

#include "cache/decide.h"
#include "cache/decide_request.h"
#include "cache/failure.h"

/* What matters of a response. */
struct response_facts {
    int status;
    struct cache_control cc; /* of Cache-Control, or of the targeted field that stands above it */
    bool is_targeted;
    bool has_set_cookie, has_etag, has_age, vary_star, is_event_stream, is_unframed;
    bool is_stand_in;        /* a shield's own stale copy, in place of what the origin would have said */
    bool is_redirect_loop;   /* a 3xx to the request's own URL, scheme aside */
    bool is_block;           /* a 206 of exactly the block that was asked for, bound to the others by a strong tag: its status is said to be 200 */
    bool is_other_type;      /* a 2xx with another content type than the path's extension says */
    int64_t date_s;          /* Date, or the second of receipt */
    int64_t expires_s;       /* FRESHNESS_ABSENT; 0 when it was no date */
    int64_t last_modified_s; /* FRESHNESS_ABSENT when there was none or it was no date */
    int64_t age_s;           /* Age, 0 when there was none or it was no number */
    struct clock_moment received;
    int64_t waited_ms;       /* from sending the request to its head */
};

/*
 *   site                  for the names of its targeted fields
 *   host, target          of the request, for the redirect loop
 *   now                   when the head had arrived
 */
void response_facts_read(struct response_facts *out, const struct site *site, int status, const struct http_fields *fields,
                         bool is_unframed, struct slice host, struct slice target, struct clock_moment now, int64_t waited_ms);

enum response_action {
    RESPONSE_STORE,    /* relay and store */
    RESPONSE_FRESHEN,  /* a 304 about what is stored: update it and answer from it */
    RESPONSE_RELAY,    /* relay and forget */
    RESPONSE_STALE,    /* answer with what is stored, stale */
    RESPONSE_REPEAT,   /* ask again, once, without conditions */
    RESPONSE_FAIL,     /* nothing to give: 502, 503 or 504 */
};

struct response_decision {
    enum response_action action;
    bool may_share;      /* with requests that waited for the same fetch */
    bool drops_stored;   /* what is stored is outdated and must go */
    bool outdates_stored; /* with STORE: the same, should this one be too large for the store */
    int fail_status;     /* with RESPONSE_FAIL */
    /* with STORE and FRESHEN: what to keep */
    struct freshness freshness;
    bool no_cache, forbids_stale, is_immutable;
    enum cache_reason lifetime_by;
    struct reasons why;
};

struct response_case {
    const struct request_facts *request;
    const struct stored_facts *stored;
    const struct rule_facts *rule;         /* of the response: its content type counts */
    const struct response_facts *response; /* NULL after a failure */
    enum response_failure failure;
    bool was_pass;         /* the request was passed: nothing is stored or shared; not for a range that brought a 200 */
    bool was_conditional;  /* we asked with the stored validators */
    bool is_for_block;     /* we asked for one block of it */
    bool is_other_304;     /* it is a 304, and names another validator than the stored one (head_is_meant()) */
    bool is_clients_304;   /* it is a 304, and names an entity tag that the client asked about */
    bool is_head_of_stored; /* it is a 200 to a HEAD, and a 200 is stored for such requests */
    bool agrees;            /* and what it says of length and validators is true of that (head_agrees()) */
    bool changes_vary;     /* what is stored, brought up to date by it, would be for other requests than before */
    unsigned jitter_permille; /* by how much long lifetimes are shortened; of URL and node */
    bool alone;            /* nobody else waits for it */
    struct clock_moment now;
};

void decide_response(const struct response_case *c, struct response_decision *out);

#endif
