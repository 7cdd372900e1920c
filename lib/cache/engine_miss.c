/* What the store cannot answer: join or begin a fill, and judge what it brings
 * for each of those who wait. */
#include <stdio.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "cache/fill.h"
#include "cache/judge.h"
#include "cache/variant.h"

/* Fills that a waiter tries to share, one after the other, before it fetches
 * for itself alone. */
enum { ATTEMPTS_MAX = 3 };

static void on_ready(void *user);

/* Of a request that was sent on, as far as it is known now. */
static struct cache_status status_of(const struct cache_exchange *x)
{
    return (struct cache_status){.fwd = x->decision.fwd,
                                 .ttl_s = CACHE_STATUS_NO_TTL,
                                 .collapsed = x->reader != NULL && !x->leads,
                                 .waited_in_vain = x->waited_in_vain};
}

static void no_room(struct cache_exchange *x)
{
    struct cache_status status = status_of(x);

    status.detail = SLICE("overloaded");
    x->peer_error = "overloaded";
    answer_error(x, 503, "No room for this request now.\n",
                 x->decision.fwd == FWD_NONE ? NULL : &status);
}

/*
 * Shall the origin be asked about what the client has, too (RFC 9111 section 4.3.2)?  A 304 to that
 * is worth much to this client and nothing to the next one: so not for those who waited for one
 * already, nor for what has been answered so a moment ago.
 */
static bool asks_for_client(struct cache_exchange *x)
{
    struct memo_entry last;

    if (x->attempts > 0 || x->block.bytes > 0) /* of a block, the client has nothing */
        return false;
    return x->lookup.found || !memo_find(x->worker->cache->memo, x->lookup.text, &last) ||
           !reasons_have(&last.why, REASON_RELAYED_304) ||
           x->now.wall_ms / 1000 - last.at_s > LIMIT_CLIENTS_304_S;
}

/* A range of what is not stored, where the rule says `range: whole`. */
static bool whole_for_range(const struct cache_exchange *x)
{
    return x->decision.action == REQUEST_RANGE_PASS && x->rule.rule != NULL &&
           x->rule.rule->range_whole && x->facts.method == METHOD_GET && !x->fence.is_alone &&
           !x->fence.is_lagging && x->attempts == 0 &&
           !recent_has(x->worker->recent, RECENT_NOT_WHOLE, x->lookup.text,
                       purge_head(x->worker->cache->purge), reactor_now_ms(x->worker->reactor));
}

static void on_interim(void *user, int status, const struct http_fields *fields)
{
    struct cache_exchange *x = user;

    if (!x->answered && x->client->interim != NULL)
        x->client->interim(x->user, status, fields);
}

static void enter(struct cache_exchange *x, bool is_shared)
{
    bool fetches_whole = whole_for_range(x);
    bool is_pass =
        (x->decision.action == REQUEST_PASS || x->decision.action == REQUEST_RANGE_PASS) &&
        !fetches_whole;
    bool is_head = x->facts.method == METHOD_HEAD;
    /* HEADs of what is not there share one with each other; one that validates
     * speaks of a GET's */
    bool may_share = is_shared && !is_pass &&
                     (!is_head || (x->decision.action == REQUEST_FETCH && !x->lookup.found));
    struct fill_plan plan = {
        .rq = &x->rq,
        .facts = &x->facts,
        .rule = &x->rule,
        .lookup = &x->lookup,
        .block = &x->block,
        .action = fetches_whole ? REQUEST_FETCH : x->decision.action,
        .bytes_max = fetches_whole ? LIMIT_RANGE_WHOLE_BYTES : 0,
        .is_shared = may_share,
        .asks_for_client = asks_for_client(x),
        .is_head = is_head,
        /* a range, or a HEAD: what they ask of is there, though the store does
           not show it yet */
        .joins_whole = is_shared && (!may_share || is_head) && x->decision.action != REQUEST_PASS,
        .interim = on_interim,
    };

    x->is_pass = is_pass;
    if (x->fence.is_alone) /* rule 13: no fill in flight may be used */
        plan.is_shared = false;
    if (fill_enter(x->worker, &plan, on_ready, x, &x->reader, &x->leads) != ERR_OK) {
        x->reader = NULL;
        no_room(x);
        return;
    }
    if (!x->leads) {
        x->is_pass = false;
        metrics_add(METRIC_WAITERS, 1);
        return;
    }
    /* the fill that we would have joined may have ended between our look-up and
     * now */
    if (!plan.is_shared ||
        x->stored_before == atomic_load_explicit(&x->worker->cache->stored, memory_order_acquire))
        return;
    if (engine_look(x) == ERR_OK && x->decision.action == REQUEST_ANSWER) {
        engine_leave_fill(x);
        engine_answer_stored(x);
    }
}

/* Our own mark in CDN-Loop: this request has been here (RFC 8586). */
static bool came_from_us(const struct cache_exchange *x)
{
    char id[17];
    const struct http_field *f = http_fields_find(x->rq.fields, SLICE("cdn-loop"));

    if (f == NULL)
        return false;
    snprintf(id, sizeof(id), "%016llx",
             (unsigned long long)purge_cluster_id(x->worker->cache->purge));
    for (; f != NULL; f = http_fields_next(x->rq.fields, f)) {
        struct slice rest = f->value, member;

        while (http_list_next(&rest, &member, NULL))
            if (slice_eq(slice_trim(slice_head(member, slice_index(member, ';'))), slice_of(id)))
                return true;
    }
    return false;
}

void miss_begin(struct cache_exchange *x)
{
    if (!x->rq.is_peer && came_from_us(x)) {
        metrics_add(METRIC_ORIGIN_LOOPS, 1);
        log_warn("%s: a request has come back to this node: its origin leads here",
                 x->rq.site->name);
        answer_error(x, 508,
                     "This request has been here before: its origin leads back to "
                     "this node.\n",
                     NULL);
        return;
    }
    enter(x, true);
}

static bool lets_authorization_share(const struct cache_control *cc)
{
    return cc->is_public || cc->must_revalidate || cc->s_maxage_s >= 0;
}

/* Else it was got without Authorization, or it would not be stored (RFC 9111 section 3.5). */
static bool may_come_of_authorization(const struct cache_exchange *x)
{
    const struct http_fields *f = &x->lookup.head.fields;
    const struct site_strings *names = &x->rq.site->targeted_fields;
    struct cache_control cc;
    bool may;

    cache_control_parse(f, &cc);
    may = lets_authorization_share(&cc);
    for (size_t i = 0; i < names->count && !may; i++)
        may = cache_control_parse_targeted(f, slice_of(names->item[i]), &cc) &&
              lets_authorization_share(&cc);
    return may || (cache_control_parse_targeted(f, SLICE("cdn-cache-control"), &cc) &&
                   lets_authorization_share(&cc));
}

/* The fields of the request but Authorization; all of them when there is no room. */
static void leave_out_authorization(struct cache_request *rq, struct http_fields *own)
{
    size_t count = rq->fields->count;

    own->item = arena_alloc(rq->arena, count * sizeof(*own->item));
    if (own->item == NULL)
        return;
    memcpy(own->item, rq->fields->item, count * sizeof(*own->item));
    own->count = own->capacity = count;
    http_fields_remove(own, SLICE("authorization"));
    rq->fields = own;
}

/*
 * What is stored is brought up to date for everybody: a GET, without this client's own wishes; and
 * without its Authorization where that did not bring it, since what comes of that could not be
 * kept.
 */
void miss_refresh(struct cache_exchange *x)
{
    struct cache_request rq = x->rq;
    struct http_fields own = {0};
    struct request_facts facts = x->facts;
    struct fill_reader *none;
    bool leads;
    struct fill_plan plan = {
        .rq = &rq,
        .facts = &facts,
        .rule = &x->rule,
        .lookup = &x->lookup,
        .block = &x->block,
        .action = x->lookup.facts.has_validator ? REQUEST_VALIDATE : REQUEST_FETCH,
        .is_shared = true,
        .is_background = true,
    };

    rq.method = SLICE("GET");
    facts.method = METHOD_GET;
    facts.cc.no_store = false;
    if (facts.has_authorization && !may_come_of_authorization(x)) {
        leave_out_authorization(&rq, &own);
        facts.has_authorization = http_fields_find(rq.fields, SLICE("authorization")) != NULL;
    }
    if (fill_enter(x->worker, &plan, NULL, NULL, &none, &leads) != ERR_OK)
        log_warn("%s: no room to refresh what is stale", x->rq.site->name);
}

/* ---- what came cannot be shared with this one ---- */

/* Look again, and fetch if that does not help; what could not be shared once is
 * not waited for for ever. */
static void try_again(struct cache_exchange *x, bool is_shared, uint64_t variant)
{
    x->waited_in_vain |= !x->leads;
    engine_leave_fill(x);
    x->attempts++;
    if (engine_look(x) != ERR_OK) {
        no_room(x);
        return;
    }
    if (x->decision.action == REQUEST_ANSWER || x->decision.action == REQUEST_ANSWER_REFRESH) {
        engine_answer_stored(x);
        return;
    }
    if (!x->lookup.found && variant != 0)
        x->lookup.variant = variant;
    enter(x, is_shared && x->attempts < ATTEMPTS_MAX);
}

/*
 * May this waiter have what another request's fetch brought?  By all purge
 * scopes and the final birth, at this time (purge-protocol rule 17), and by its
 * own fields (RFC 9111 section 4.1). *variant: its own, when only that differs.
 */
static bool may_have(struct cache_exchange *x, const struct fill_result *r, uint64_t *variant)
{
    struct purge_subject subject = cache_subject(&r->stamp);
    struct buf scratch;
    bool failed;

    *variant = 0;
    if (!r->decision.may_share || purge_judge(x->worker->cache->purge, &subject) != PURGE_USABLE)
        return false;
    if (r->head.vary.n == 0)
        return true;
    buf_init(&scratch, 4 * LIMIT_HEAD_BYTES);
    *variant = variant_of(r->head.vary, x->rq.fields, &scratch);
    failed = scratch.failed;
    buf_release(&scratch);
    if (failed)
        *variant = 0;
    return !failed && *variant == r->variant;
}

/* ---- failures ---- */

/* Does something stored stand in for this failure?  Each looks for itself,
 * judged now (purge-protocol rules 22, 23). */
static bool stands_in(struct cache_exchange *x, const struct fill_result *r,
                      enum response_failure failure, struct response_decision *out)
{
    struct rule_facts rule = x->rule;
    struct response_case c = {
        .request = &x->facts,
        .stored = &x->lookup.facts,
        .rule = &rule,
        .response = r == NULL ? NULL : &r->facts,
        .failure = failure,
        .was_pass = x->is_pass,
        .was_conditional = x->decision.action == REQUEST_VALIDATE,
        .now = clock_now(),
    };

    if (!x->is_pass && engine_look(x) != ERR_OK) {
        x->lookup.found = false;
        x->lookup.facts = (struct stored_facts){0};
    }
    if (r != NULL)
        rule.rule =
            site_rule_for_response(x->rq.site, x->rq.method, x->lookup.target,
                                   http_fields_value(&r->head.fields, SLICE("content-type")));
    decide_response(&c, out);
    return x->lookup.found &&
           (x->decision.action == REQUEST_ANSWER || out->action == RESPONSE_STALE);
}

static void answer_instead(struct cache_exchange *x, struct cache_status status)
{
    /* of a fresh answer that a reload wanted validated, nobody shall say that it
     * is stale */
    status.fwd = x->decision.fwd == FWD_NONE ? FWD_STALE : x->decision.fwd;
    status.ttl_s = engine_ttl_s(x);
    if (x->decision.action == REQUEST_ANSWER) { /* somebody has stored a fresh one meanwhile */
        x->peer_error = NULL;
        engine_answer_stored(x);
        return;
    }
    metrics_add(METRIC_STALE_ON_ERROR, 1);
    x->reason = REASON_STALE_IF_ERROR;
    status.detail = slice_of(reason_token(x->reason));
    answer_from_store(x, &x->lookup.head, VERDICT_STALE, &status);
}

/* `range: whole`, of something large: as if the rule had not said it, for a
 * while.  Who waited for all of it asks for all of it. */
static void fetch_range_alone(struct cache_exchange *x)
{
    recent_note(x->worker->recent, RECENT_NOT_WHOLE, x->lookup.text,
                purge_head(x->worker->cache->purge), reactor_now_ms(x->worker->reactor));
    x->attempts++;
    enter(x, true);
}

static void failed(struct cache_exchange *x, enum response_failure failure)
{
    const struct failure_words *said = failure_words(failure);
    struct cache_status status = status_of(x);
    struct response_decision d;

    engine_leave_fill(x);
    if (failure == RESPONSE_TOO_MUCH && x->attempts < ATTEMPTS_MAX) {
        fetch_range_alone(x);
        return;
    }
    x->peer_error = said->mark;
    x->fence.is_lagging =
        false; /* what may have been purged is better than nothing: a stale copy */
    if (stands_in(x, NULL, failure, &d)) {
        answer_instead(x, status);
        return;
    }
    status.detail = slice_of(said->detail);
    x->reason = d.why.count > 0 ? d.why.item[d.why.count - 1].id : REASON_ORIGIN_FAILED;
    answer_error(x, d.fail_status, said->text, status.fwd == FWD_NONE ? NULL : &status);
}

/* ---- what came ---- */

/* A 304: the stored body with the head that is up to date. */
static void from_freshened(struct cache_exchange *x, const struct fill_result *r)
{
    struct clock_moment now = clock_now();
    struct cache_status status = status_of(x);

    if (status.fwd == FWD_NONE)
        status.fwd = FWD_STALE;
    status.fwd_status = r->facts.status;
    /* a waiter may have nothing but what has been purged: looked up anew, that is
     * not found */
    if (!x->leads && engine_look(x) != ERR_OK)
        x->lookup.found = false;
    if (!x->lookup.found || x->lookup.hit.objid != r->objid) {
        try_again(x, false, 0);
        return;
    }
    status.ttl_s = r->head.freshness.lifetime_s - freshness_age_s(&r->head.freshness, &now);
    status.stored = !r->decision.drops_stored && !r->is_passing;
    x->now = now;
    x->reason = REASON_FRESHENED;
    answer_from_store(x, x->leads ? &r->head : &r->shared, VERDICT_REVALIDATED, &status);
}

static void came(struct cache_exchange *x, const struct fill_result *r)
{
    struct response_decision d;
    uint64_t variant;

    if (!x->leads && !may_have(x, r, &variant)) {
        /* a 304 for the copy of the one who asked says nothing against sharing what comes next */
        try_again(x, variant != 0 || reasons_have(&r->decision.why, REASON_RELAYED_304), variant);
        return;
    }
    if (r->is_freshened) {
        from_freshened(x, r);
        return;
    }
    if (r->head.status >= 500 && !x->is_pass && x->lookup.found &&
        stands_in(x, r, RESPONSE_CAME, &d)) {
        struct cache_status status = status_of(x);

        status.fwd_status = r->head.status;
        engine_leave_fill(x);
        x->peer_error = "origin-error";
        answer_instead(x, status);
        return;
    }
    if (x->rq.file != NULL && r->head.status != 200)
        file_failed(x);
    else
        answer_from_fill(x, r);
}

static void on_ready(void *user)
{
    struct cache_exchange *x = user;
    struct fill_view v;

    if (x->answered) {
        body_ready(x);
        return;
    }
    fill_look(x->reader, &v);
    if (v.state == FILL_FAILED)
        failed(x, v.failure);
    else if (v.may_answer)
        came(x, v.result);
}
