#include "cache/decide_response.h"

#include "base/check.h"
#include "base/limits.h"
#include "http/date.h"
#include "http/media.h"
#include "http/url.h"

/* ---- reading ---- */

static int64_t date_field(const struct http_fields *f, struct slice name, int64_t now_s, int64_t absent, int64_t invalid)
{
    struct slice v = http_fields_value(f, name);
    int64_t at;

    if (v.p == NULL)
        return absent;
    if (!http_date_parse(v, now_s, &at))
        return invalid;
    return at == FRESHNESS_ABSENT ? at - 1 : at; /* 31 Dec 1969 23:59:59: seen where "-1" was meant */
}

/* RFC 9111 section 5.1: the first member of the first line; what is no number is ignored; too large saturates. */
static int64_t age_field(const struct http_fields *f)
{
    struct slice v = http_fields_value(f, SLICE("age"));
    uint64_t s;

    v = slice_trim(slice_head(v, slice_index(v, ',')));
    if (v.n == 0)
        return 0;
    for (size_t i = 0; i < v.n; i++)
        if (v.p[i] < '0' || v.p[i] > '9')
            return 0;
    return slice_to_u64(v, &s) && s < (uint64_t)FRESHNESS_MAX_S ? (int64_t)s : FRESHNESS_MAX_S;
}

/* "*", or what each request upstream gets anew from us, whatever the client's own says: it is for nobody else. */
static bool vary_has_star(const struct http_fields *f)
{
    struct slice vary = SLICE("vary");

    return http_fields_has_token(f, vary, SLICE("*")) || http_fields_has_token(f, vary, SLICE("x-forwarded-for")) ||
           http_fields_has_token(f, vary, SLICE("x-request-id"));
}

/*
 * Origins behind a proxy that they do not know see http and send to https: the same URL, for ever.  Ports and dropped
 * parameters are in no key, so what differs in them alone is the same, too.
 */
static bool redirects_to_itself(const struct site *site, int status, const struct http_fields *f, struct slice host,
                                struct slice target)
{
    struct slice location = http_fields_value(f, SLICE("location"));
    struct url_parts u;
    struct arena a;
    bool is_same;

    if (status < 300 || status > 399 || status == 304 || location.p == NULL)
        return false;
    arena_init(&a, NULL, 0, 4 * LIMIT_HEAD_BYTES);
    is_same = url_resolve(location, true, host, target, &a, &u) == ERR_OK;
    if (is_same && slice_ends_with(u.host, SLICE(".")))
        u.host.n--;
    is_same = is_same && slice_eq_nocase(u.host, host) &&
              slice_eq(site_target(site, u.target, &a), site_target(site, target, &a));
    arena_release(&a);
    return is_same;
}

/* RFC 9213 section 2.2: the first field of the target list that is valid and not empty. */
static bool read_targeted(const struct site *site, const struct http_fields *fields, struct cache_control *out)
{
    for (size_t i = 0; i < site->targeted_fields.count; i++)
        if (cache_control_parse_targeted(fields, slice_of(site->targeted_fields.item[i]), out))
            return true;
    return cache_control_parse_targeted(fields, SLICE("cdn-cache-control"), out);
}

void response_facts_read(struct response_facts *out, const struct site *site, int status, const struct http_fields *fields,
                         bool is_unframed, struct slice host, struct slice target, struct clock_moment now, int64_t waited_ms)
{
    int64_t now_s = now.wall_ms / 1000;
    struct slice type = http_fields_value(fields, SLICE("content-type"));

    *out = (struct response_facts){
        .status = status,
        .has_set_cookie = http_fields_find(fields, SLICE("set-cookie")) != NULL,
        .has_etag = http_fields_find(fields, SLICE("etag")) != NULL,
        .has_age = http_fields_find(fields, SLICE("age")) != NULL,
        .vary_star = vary_has_star(fields),
        .is_event_stream = slice_eq_nocase(slice_trim(slice_head(type, slice_index(type, ';'))), SLICE("text/event-stream")),
        .is_unframed = is_unframed,
        .is_stand_in = http_fields_find(fields, SLICE("selvage-error")) != NULL,
        .is_redirect_loop = redirects_to_itself(site, status, fields, host, target),
        .is_other_type = status >= 200 && status <= 299 &&
                         !http_type_fits_path(slice_head(target, url_path_bytes(target)), type),
        .date_s = date_field(fields, SLICE("date"), now_s, now_s, now_s),
        .expires_s = date_field(fields, SLICE("expires"), now_s, FRESHNESS_ABSENT, 0),
        .last_modified_s = date_field(fields, SLICE("last-modified"), now_s, FRESHNESS_ABSENT, FRESHNESS_ABSENT),
        .age_s = age_field(fields),
        .received = now,
        .waited_ms = waited_ms,
    };
    out->is_targeted = read_targeted(site, fields, &out->cc);
    if (out->is_targeted)
        out->expires_s = FRESHNESS_ABSENT; /* RFC 9213 section 2.2 */
    else
        cache_control_parse(fields, &out->cc);
}

/* ---- lifetime ---- */

/* RFC 9110 section 15.1. */
static bool is_heuristic_status(int status)
{
    switch (status) {
    case 200: case 203: case 204: case 300: case 301: case 308: case 404: case 405: case 410: case 414: case 501:
        return true;
    default:
        return false;
    }
}

/* Statuses whose caching rules are implemented here (RFC 9111 section 5.2.2.3). */
static bool is_understood(int status)
{
    return is_heuristic_status(status) || status == 302 || status == 303 || status == 307;
}

static bool has_explicit_lifetime(const struct response_facts *r)
{
    return r->cc.s_maxage_s != CC_ABSENT || r->cc.max_age_s != CC_ABSENT || r->expires_s != FRESHNESS_ABSENT;
}

static int64_t or_zero(int64_t s)
{
    return s > 0 ? s : 0;
}

static int64_t negative_s(const struct rule_facts *rule, int status)
{
    if (status == 404)
        return rule->site->negative_404_s;
    return status >= 500 && status <= 599 ? rule->site->negative_5xx_s : SITE_UNSET;
}

/* May a rule lengthen the life of this response?  Never against the origin's word on who may have it. */
static bool rule_may_speak(const struct response_case *c)
{
    return (!c->response->has_set_cookie || c->response->cc.is_public) && !c->request->has_authorization;
}

/*
 * The lifetime and who decided it: the operator's rule, then the response (RFC 9111 section 4.2.1: a present but
 * invalid directive means stale, and does not fall through), then the heuristic.
 */
static void lifetime(const struct response_case *c, struct freshness_facts *f, enum cache_reason *by)
{
    const struct response_facts *r = c->response;
    const struct site_rule *rule = c->rule->rule;
    int64_t fixed_s = SITE_UNSET;

    if (rule != NULL && rule->ttl_s != SITE_UNSET && rule_may_speak(c)) {
        fixed_s = rule->ttl_s;
        *by = REASON_LIFETIME_RULE_TTL;
    } else if (has_explicit_lifetime(r)) {
        f->s_maxage_s = r->cc.s_maxage_s == CC_INVALID ? 0 : r->cc.s_maxage_s;
        f->max_age_s = r->cc.max_age_s == CC_INVALID ? 0 : r->cc.max_age_s;
        f->expires_at = r->expires_s;
        *by = r->is_targeted                  ? REASON_LIFETIME_TARGETED
              : r->cc.s_maxage_s != CC_ABSENT ? REASON_LIFETIME_S_MAXAGE
              : r->cc.max_age_s != CC_ABSENT  ? REASON_LIFETIME_MAX_AGE
                                              : REASON_LIFETIME_EXPIRES;
        return;
    } else if (negative_s(c->rule, r->status) != SITE_UNSET && rule_may_speak(c)) {
        fixed_s = negative_s(c->rule, r->status);
        *by = REASON_LIFETIME_NEGATIVE;
    } else if (rule != NULL && rule->default_ttl_s != SITE_UNSET && rule_may_speak(c) && is_heuristic_status(r->status)) {
        fixed_s = rule->default_ttl_s;
        *by = REASON_LIFETIME_RULE_DEFAULT;
    } else if (r->last_modified_s != FRESHNESS_ABSENT && (is_heuristic_status(r->status) || r->cc.is_public)) {
        f->last_modified_at = r->last_modified_s;
        *by = REASON_LIFETIME_HEURISTIC;
        return;
    } else {
        *by = REASON_LIFETIME_NONE;
        return;
    }
    f->s_maxage_s = fixed_s;
}

static void keep_freshness(const struct response_case *c, struct response_decision *out)
{
    const struct response_facts *r = c->response;
    const struct site_rule *rule = c->rule->rule;
    bool stale_allowed_by_name = r->cc.stale_while_revalidate_s > 0 || r->cc.stale_if_error_s > 0;
    int64_t left_s;
    struct freshness_facts f = {
        .received = r->received,
        .waited_ms = r->waited_ms,
        .date_at = r->date_s,
        .expires_at = FRESHNESS_ABSENT,
        .last_modified_at = FRESHNESS_ABSENT,
        .age_s = r->age_s,
        .s_maxage_s = FRESHNESS_ABSENT,
        .max_age_s = FRESHNESS_ABSENT,
        .swr_s = or_zero(r->cc.stale_while_revalidate_s),
        .sie_s = or_zero(r->cc.stale_if_error_s),
    };

    lifetime(c, &f, &out->lifetime_by);
    out->no_cache = r->cc.no_cache;
    out->is_immutable = r->cc.immutable;
    /*
     * RFC 9111 section 5.2.2.10 lets s-maxage forbid stale answers.  An origin that sends stale-while-revalidate
     * beside it has asked for them by name, so we follow the more specific wish.
     */
    out->forbids_stale = r->cc.must_revalidate || r->cc.proxy_revalidate || r->cc.no_cache ||
                         (r->cc.s_maxage_s != CC_ABSENT && !stale_allowed_by_name);
    f.must_revalidate = out->forbids_stale;
    /* what the operator's rule says about stale answers is kept beside what the origin says, the larger one counts */
    if (rule != NULL && rule->stale_while_revalidate_s != SITE_UNSET)
        f.swr_s = rule->stale_while_revalidate_s;
    if (rule != NULL && rule->stale_if_error_s != SITE_UNSET)
        f.sie_s = rule->stale_if_error_s;
    freshness_init(&out->freshness, &f);
    reasons_add(&out->why, out->lifetime_by, out->freshness.lifetime_s);
    /* of what is left: what comes old from the tier above would be stale on arrival, each time it is asked for */
    left_s = out->freshness.lifetime_s - out->freshness.initial_age_ms / 1000;
    if (left_s > LIMIT_JITTER_FROM_S && c->jitter_permille > 0) {
        reasons_add(&out->why, REASON_JITTER, left_s * c->jitter_permille / 1000);
        out->freshness.lifetime_s -= left_s * c->jitter_permille / 1000;
    }
}

/* ---- storing ---- */

/* An s-maxage that cannot be read gives nobody a permission. */
static bool is_marked_as_shared(const struct cache_control *cc)
{
    return cc->is_public || cc->s_maxage_s >= 0;
}

static bool forbid(struct response_decision *out, enum cache_reason why, int64_t number)
{
    reasons_add(&out->why, why, number);
    return false;
}

/* Who may have it at all: only then is it stored or shared. */
static bool is_for_everyone(const struct response_case *c, struct response_decision *out)
{
    const struct response_facts *r = c->response;
    bool understood = r->cc.must_understand && is_understood(r->status);

    if (r->cc.bad)
        return forbid(out, REASON_NO_STORE, 0);
    if (r->cc.no_store && !understood)
        return forbid(out, REASON_NO_STORE, 0);
    if (r->cc.must_understand && !understood)
        return forbid(out, REASON_MUST_UNDERSTAND, 0);
    /* a list of fields for one user only: this cache does not take fields apart, so all of it counts (section 5.2.2.7) */
    if (r->cc.is_private || r->cc.private_fields.p != NULL)
        return forbid(out, REASON_PRIVATE, 0);
    if (c->request->has_authorization && !is_marked_as_shared(&r->cc) && !r->cc.must_revalidate)
        return forbid(out, REASON_AUTHORIZATION, 0);
    if (r->has_set_cookie && !c->rule->site->set_cookie_rfc && !is_marked_as_shared(&r->cc) && !r->is_targeted)
        return forbid(out, REASON_SET_COOKIE, 0);
    return true;
}

static bool may_store(const struct response_case *c, struct response_decision *out)
{
    const struct response_facts *r = c->response;
    bool by_rule, has_validator = r->has_etag || r->last_modified_s != FRESHNESS_ABSENT;

    if (c->request->method != METHOD_GET)
        return forbid(out, REASON_NOT_GET, 0);
    if (r->status == 206 || (r->status == 416 && c->is_for_block))
        return forbid(out, REASON_PARTIAL, 0);
    if (r->vary_star)
        return forbid(out, REASON_VARY_STAR, 0);
    if (r->is_event_stream)
        return forbid(out, REASON_EVENT_STREAM, 0);
    if (r->is_unframed)
        return forbid(out, REASON_UNFRAMED, 0);
    if (r->is_redirect_loop)
        return forbid(out, REASON_REDIRECT_LOOP, 0);
    if (r->is_other_type && c->rule->site->has_deception_guard)
        return forbid(out, REASON_DECEPTION, 0);
    if (c->request->cc.no_store && c->alone)
        return forbid(out, REASON_REQUEST_NO_STORE, 0);
    keep_freshness(c, out);
    by_rule = out->lifetime_by == REASON_LIFETIME_RULE_TTL || out->lifetime_by == REASON_LIFETIME_RULE_DEFAULT ||
              out->lifetime_by == REASON_LIFETIME_NEGATIVE;
    if (c->request->has_cookie && !has_explicit_lifetime(r) && !by_rule)
        return forbid(out, REASON_COOKIE_HEURISTIC, 0);
    if (out->freshness.lifetime_s > 0)
        return true;
    if (!has_explicit_lifetime(r) && !r->cc.no_cache && !is_heuristic_status(r->status))
        return forbid(out, REASON_STATUS, r->status);
    /* a lifetime of 0 is worth keeping when it can be validated, or may be served stale */
    if (has_validator || out->freshness.swr_s > 0 || out->freshness.sie_s > 0)
        return true;
    return forbid(out, REASON_NO_LIFETIME, 0);
}

/* ---- failing ---- */

/* Why a stored answer may not stand in for a failure; REASON_STALE_IF_ERROR when it may, with what is left in *left_s. */
static enum cache_reason stale_stands_in(const struct response_case *c, int64_t *left_s)
{
    const struct freshness *f = &c->stored->freshness;
    const struct site_rule *rule = c->rule->rule;
    int64_t left_ms = freshness_left_ms(f, &c->now);
    int64_t window_s = f->sie_s;

    if (c->stored->forbids_stale)
        return REASON_STALE_FORBIDDEN;
    if (rule != NULL && rule->stale_if_error_s != SITE_UNSET)
        window_s = rule->stale_if_error_s;
    else if (c->failure != RESPONSE_CAME && window_s < LIMIT_STALE_IF_ERROR_S)
        window_s = LIMIT_STALE_IF_ERROR_S; /* the last good copy: an unreachable origin has not said no */
    if (c->request->cc.stale_if_error_s > window_s)
        window_s = c->request->cc.stale_if_error_s;
    left_ms = window_s * 1000 + (left_ms < 0 ? left_ms : 0);
    *left_s = left_ms / 1000;
    return window_s > 0 && left_ms >= 0 ? REASON_STALE_IF_ERROR : REASON_STALE_TOO_OLD;
}

static bool is_error_status(int status)
{
    return status == 500 || status == 502 || status == 503 || status == 504;
}

static bool try_stale(const struct response_case *c, struct response_decision *out)
{
    int64_t left_s = 0;
    enum cache_reason why;

    if (!c->stored->present || c->was_pass)
        return false;
    why = stale_stands_in(c, &left_s);
    reasons_add(&out->why, why, left_s);
    if (why != REASON_STALE_IF_ERROR)
        return false;
    out->action = RESPONSE_STALE;
    return true;
}

static void decide_failure(const struct response_case *c, struct response_decision *out)
{
    reasons_add(&out->why, REASON_ORIGIN_FAILED, 0);
    out->may_share = true;
    if (try_stale(c, out))
        return;
    out->action = RESPONSE_FAIL;
    /* a stored answer that must not be served stale asks for 504 (RFC 9111 section 5.2.2.2) */
    if (c->stored->present)
        out->fail_status = 504;
    else if (c->failure == RESPONSE_CLOSED && c->request->method == METHOD_OTHER)
        out->fail_status = 502; /* it may have been carried out: nothing that says "send it again" */
    else
        out->fail_status = failure_words(c->failure)->status;
}

/* ---- the decision ---- */

/* Is the stored one past its time, so that news of another may take its place? */
static bool is_past(const struct response_case *c)
{
    const struct stored_facts *s = c->stored;

    return s->soft_purged || s->is_unleased || s->no_cache || freshness_state(&s->freshness, &c->now) != FRESHNESS_FRESH;
}

/*
 * The stored response goes on under its own status: what a 304 may do is no question here (RFC 9111 section 4.3.4).
 */
static void freshen(const struct response_case *c, struct response_decision *out)
{
    struct response_facts both = *c->response;
    struct response_case updated = *c;

    both.status = c->stored->status;
    updated.response = &both;
    keep_freshness(&updated, out);
    out->action = RESPONSE_FRESHEN;
    out->may_share = is_for_everyone(&updated, out);
    if (c->changes_vary) {
        /* it lies under the variant that it was: good for the one who asked, no longer to be found by the right ones */
        reasons_add(&out->why, REASON_VARY_CHANGED, 0);
        out->may_share = false;
    }
    out->drops_stored = !out->may_share;
}

static void decide_304(const struct response_case *c, struct response_decision *out)
{
    if (!c->was_conditional || (c->is_other_304 && c->is_clients_304)) {
        reasons_add(&out->why, REASON_RELAYED_304, 0);
        out->action = RESPONSE_RELAY;
        out->drops_stored = c->was_conditional && is_past(c); /* it is the client's that is current */
        return;
    }
    if (!c->stored->present || c->is_other_304) {
        reasons_add(&out->why, REASON_NOT_OURS_304, 0);
        out->action = RESPONSE_REPEAT;
        return;
    }
    reasons_add(&out->why, REASON_FRESHENED, 0);
    freshen(c, out);
}

/* What a HEAD says of the body that is stored: that it is still that, or that it is not (RFC 9111 section 4.3.5). */
static void decide_head(const struct response_case *c, struct response_decision *out)
{
    reasons_add(&out->why, c->agrees ? REASON_HEAD_FRESHENED : REASON_HEAD_DIFFERS, 0);
    if (c->agrees)
        freshen(c, out);
    else
        out->drops_stored = true;
}

/*
 * Does an answer that is not stored show that the stored one is a thing of the past?  Then it must not be served for
 * want of a better one later.  What is fresh stays so whatever a reload brings; 401, 403, 429 and their like are about the
 * client that asked; and a HEAD that asked without conditions says nothing about the body.
 */
static bool outdates_stored(const struct response_case *c)
{
    const struct stored_facts *s = c->stored;

    if (!s->present || c->response->status >= 500 || !is_understood(c->response->status))
        return false;
    if (c->request->method != METHOD_GET && !c->was_conditional)
        return false;
    return is_past(c);
}

void decide_response(const struct response_case *c, struct response_decision *out)
{
    const struct response_facts *r = c->response;

    *out = (struct response_decision){.action = RESPONSE_RELAY};
    CHECK((r == NULL) == (c->failure != RESPONSE_CAME));
    if (r == NULL) {
        decide_failure(c, out);
        return;
    }
    if (r->status == 304) {
        decide_304(c, out);
        return;
    }
    if (c->was_pass)
        return;
    if (r->is_stand_in) {
        /* it says nothing new about what is stored here, and is not to be taken for fresh news elsewhere */
        out->may_share = is_for_everyone(c, out);
        reasons_add(&out->why, REASON_STAND_IN, 0);
        return;
    }
    if (c->is_head_of_stored) {
        decide_head(c, out);
        return;
    }
    if (is_error_status(r->status)) {
        reasons_add(&out->why, REASON_ORIGIN_FAILED, 0);
        if (try_stale(c, out)) {
            out->may_share = true;
            return;
        }
    }
    if (!is_for_everyone(c, out)) {
        /* 401 and 403 are about the one who asked */
        out->drops_stored = outdates_stored(c);
        return;
    }
    if (!may_store(c, out)) {
        /* an error, or a redirect loop, costs the origin one request, however many wait; what is a matter of each request is asked for each */
        out->may_share = is_error_status(r->status);
        out->drops_stored = outdates_stored(c);
        return;
    }
    out->action = RESPONSE_STORE;
    out->outdates_stored = outdates_stored(c);
    reasons_add(&out->why, REASON_STORED, 0);
    out->may_share = out->freshness.lifetime_s > out->freshness.initial_age_ms / 1000 && !out->no_cache;
}
