#include "cache/decide_request.h"

#include "base/limits.h"

static const int64_t second_ms = 1000;

static void pass(struct request_decision *out, enum cache_status_fwd fwd, enum cache_reason why, int64_t number)
{
    out->action = REQUEST_PASS;
    out->fwd = fwd;
    reasons_add(&out->why, why, number);
}

bool decide_pass(const struct request_facts *rq, const struct rule_facts *rule, struct request_decision *out)
{
    int64_t line = rule->rule == NULL ? 0 : rule->rule->line;

    *out = (struct request_decision){.ttl_s = CACHE_STATUS_NO_TTL};
    if (rq->method != METHOD_GET && rq->method != METHOD_HEAD)
        pass(out, FWD_METHOD, REASON_METHOD, 0);
    else if (rq->is_upgrade)
        pass(out, FWD_BYPASS, REASON_UPGRADE, 0);
    else if (rq->has_content)
        pass(out, FWD_BYPASS, REASON_HAS_CONTENT, 0);
    else if (rule->rule != NULL && rule->rule->cache_off)
        pass(out, FWD_BYPASS, REASON_RULE_CACHE_OFF, line);
    else if (rule->rule != NULL && rule->rule->stream)
        pass(out, FWD_BYPASS, REASON_RULE_STREAM, line);
    else if (rule->bypass_cookie)
        pass(out, FWD_BYPASS, REASON_BYPASS_COOKIE, line);
    else if (rq->has_origin_condition)
        pass(out, FWD_REQUEST, REASON_ORIGIN_CONDITION, 0);
    if (out->why.count > 0 && rq->cc.only_if_cached && rq->method != METHOD_OTHER &&
        rq->method != METHOD_SAFE) {
        reasons_add(&out->why, REASON_ONLY_IF_CACHED, 0);
        out->action = REQUEST_REFUSE;
    }
    return out->why.count > 0;
}

/* The stale window of the operator's rule is his explicit permission, where the origin does not forbid. */
static int64_t swr_s(const struct stored_facts *stored, const struct rule_facts *rule)
{
    int64_t s = stored->freshness.swr_s;

    if (rule->rule != NULL && rule->rule->stale_while_revalidate_s != SITE_UNSET)
        s = rule->rule->stale_while_revalidate_s;
    return stored->forbids_stale ? 0 : s;
}

/* May a stored response of this age answer, as far as the client's own directives go (RFC 9111 section 5.2.1)? */
static bool client_accepts(const struct request_facts *rq, const struct stored_facts *stored, const struct rule_facts *rule,
                           const struct clock_moment *now, struct reasons *why)
{
    int64_t left_ms = freshness_left_ms(&stored->freshness, now);
    /* a list of fields has a meaning in responses only */
    bool no_cache = rq->cc.no_cache || rq->cc.no_cache_fields.p != NULL || rq->pragma_no_cache;
    bool reload = no_cache || rq->cc.max_age_s == 0 || rq->cc.max_age_s == CC_INVALID;
    enum site_reload policy = rule->site->client_reload;

    /* RFC 8246: what says it will not change need not be asked for by a reload */
    if (stored->is_immutable && left_ms > 0 && !no_cache)
        reload = false;
    if (reload) {
        if (policy == SITE_RELOAD_IGNORE) {
            reasons_add(why, REASON_RELOAD_IGNORED, 0);
        } else if (policy == SITE_RELOAD_LIMIT &&
                   now->wall_ms - stored->freshness.received.wall_ms < LIMIT_CLIENT_RELOAD_MS) {
            reasons_add(why, REASON_RELOAD_LIMITED, 0);
        } else {
            reasons_add(why, REASON_CLIENT_RELOAD, 0);
            return false;
        }
    } else if (rq->cc.max_age_s > 0 && freshness_age_ms(&stored->freshness, now) > rq->cc.max_age_s * second_ms) {
        reasons_add(why, REASON_CLIENT_MAX_AGE, rq->cc.max_age_s);
        return false;
    }
    if (rq->cc.min_fresh_s > 0 && left_ms < rq->cc.min_fresh_s * second_ms) {
        reasons_add(why, REASON_CLIENT_MIN_FRESH, rq->cc.min_fresh_s);
        return false;
    }
    return true;
}

static bool max_stale_allows(const struct request_facts *rq, const struct stored_facts *stored, int64_t left_ms)
{
    if (stored->forbids_stale || stored->no_cache || stored->soft_purged ||
        stored->is_unleased)
        return false;
    return rq->cc.max_stale_any || (rq->cc.max_stale_s >= 0 && -left_ms <= rq->cc.max_stale_s * second_ms);
}

/*
 * What many ask for is validated shortly before its end, so that nobody waits then.  The part counts from what was left to it
 * when it came: what comes old from the tier above would be asked about at every hit.
 */
static bool is_worth_refreshing_ahead(const struct stored_facts *stored, int64_t left_ms)
{
    int64_t came_with_ms = stored->freshness.lifetime_s * second_ms - stored->freshness.initial_age_ms;

    return stored->has_validator && stored->hits >= LIMIT_AHEAD_HITS && left_ms * LIMIT_AHEAD_PART <= came_with_ms;
}

static void forward(struct request_decision *out, enum request_action action, enum cache_status_fwd fwd)
{
    out->action = action;
    out->fwd = fwd;
}

static void decide_nothing_stored(const struct request_facts *rq, const struct stored_facts *stored,
                                  struct request_decision *out)
{
    reasons_add(&out->why,
                stored->is_purged     ? REASON_PURGED
                : stored->vary_missed ? REASON_VARY_MISMATCH
                                      : REASON_NOT_STORED,
                0);
    forward(out, REQUEST_FETCH, stored->vary_missed ? FWD_VARY_MISS : FWD_URI_MISS);
    if (rq->has_range) {
        /* fetching the whole for each small range is an amplification attack */
        reasons_add(&out->why, REASON_RANGE_ON_MISS, 0);
        out->action = REQUEST_RANGE_PASS;
    }
}

/* Stored but neither fresh nor allowed to answer as it is. */
static void decide_validation(const struct stored_facts *stored, enum cache_status_fwd fwd, struct request_decision *out)
{
    out->may_serve_stale = !stored->forbids_stale;
    forward(out, stored->has_validator ? REQUEST_VALIDATE : REQUEST_FETCH, fwd);
}

static void decide_stored(const struct request_facts *rq, const struct stored_facts *stored, const struct rule_facts *rule,
                          bool may_serve_swr, const struct clock_moment *now, struct request_decision *out)
{
    int64_t ttl_s = stored->freshness.lifetime_s - freshness_age_s(&stored->freshness, now);
    int64_t left_ms = freshness_left_ms(&stored->freshness, now);
    bool clock_back = now->wall_ms < stored->freshness.received.wall_ms - FRESHNESS_CLOCK_SLACK_MS;
    bool fresh = freshness_state(&stored->freshness, now) == FRESHNESS_FRESH && !stored->soft_purged &&
                 !stored->is_unleased;
    int64_t window_s = may_serve_swr ? swr_s(stored, rule) : 0;

    out->ttl_s = ttl_s;
    if (stored->no_cache) {
        reasons_add(&out->why, REASON_NO_CACHE, 0);
        decide_validation(stored, FWD_STALE, out);
        return;
    }
    if (stored->soft_purged)
        reasons_add(&out->why, REASON_SOFT_PURGED, 0);
    else if (stored->is_unleased)
        reasons_add(&out->why, REASON_JOURNAL_LOST, 0);
    else if (clock_back)
        reasons_add(&out->why, REASON_CLOCK_SET_BACK, 0);
    else
        reasons_add(&out->why, fresh ? REASON_FRESH : REASON_STALE, fresh ? ttl_s : -ttl_s);
    if (!client_accepts(rq, stored, rule, now, &out->why)) {
        decide_validation(stored, fresh ? FWD_REQUEST : FWD_STALE, out);
        return;
    }
    if (fresh) {
        out->action = REQUEST_ANSWER;
        if (is_worth_refreshing_ahead(stored, left_ms)) {
            reasons_add(&out->why, REASON_AHEAD, stored->hits);
            out->action = REQUEST_ANSWER_REFRESH;
        }
        return;
    }
    if (!clock_back && max_stale_allows(rq, stored, left_ms)) {
        reasons_add(&out->why, REASON_CLIENT_MAX_STALE, -ttl_s);
        out->action = REQUEST_ANSWER;
        return;
    }
    /* a soft purge starts the stale window anew: its moment is not known here, so the window counts from the lifetime's end or now */
    if (!clock_back && window_s > 0 && (stored->soft_purged || -left_ms <= window_s * second_ms) && rq->cc.min_fresh_s <= 0) {
        reasons_add(&out->why, REASON_SWR, stored->soft_purged ? window_s : window_s + ttl_s);
        out->action = REQUEST_ANSWER_REFRESH;
        return;
    }
    if (stored->forbids_stale)
        reasons_add(&out->why, REASON_MUST_REVALIDATE, 0);
    decide_validation(stored, FWD_STALE, out);
}

void decide_request(const struct request_facts *rq, const struct stored_facts *stored, const struct rule_facts *rule,
                    bool may_serve_swr, const struct clock_moment *now, struct request_decision *out)
{
    *out = (struct request_decision){.ttl_s = CACHE_STATUS_NO_TTL};
    if (stored->present)
        decide_stored(rq, stored, rule, may_serve_swr, now, out);
    else
        decide_nothing_stored(rq, stored, out);
    if (rq->cc.only_if_cached && out->fwd != FWD_NONE) {
        reasons_add(&out->why, REASON_ONLY_IF_CACHED, 0);
        out->action = REQUEST_REFUSE;
    }
}
