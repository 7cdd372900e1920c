/* A request: pass it, answer it from the store, or send it on to the miss. */
#include "base/clock.h"
#include "base/metrics.h"
#include "cache/fill.h"

/* The last reason found is the one that settled it. */
static void settle_reason(struct cache_exchange *x)
{
    if (x->decision.why.count > 0)
        x->reason = x->decision.why.item[x->decision.why.count - 1].id;
}

enum err engine_look(struct cache_exchange *x)
{
    struct cache *c = x->worker->cache;
    enum err e;

    lookup_release(c, &x->lookup);
    fence_note(x);
    x->stored_before = atomic_load_explicit(&c->stored, memory_order_acquire);
    /* rule 13: who is behind uses no copy of its own */
    e = x->fence.is_alone || x->fence.is_lagging
            ? lookup_names(x->rq.site, x->rq.is_https, x->rq.host, x->rq.target, x->rq.fields,
                           &x->block, x->rq.arena, &x->lookup)
            : lookup_run(c, x->worker->reader, x->rq.site, x->rq.is_https, x->rq.host, x->rq.target,
                         x->rq.fields, &x->block, x->rq.arena, &x->lookup);
    x->now = clock_now();
    /* what a file's hash names is the same whatever has been purged since; a hard purge of the copy
     * here is heeded all the same */
    if (x->lookup.found && x->rq.file == NULL && !lease_covers(c, &x->lookup.head, x->now.mono_ms))
        x->lookup.facts.is_unleased = true;
    if (x->lookup.found)
        x->lookup.facts.hits = hits_count(c->hits, x->lookup.hit.objid);
    decide_request(&x->facts, &x->lookup.facts, &x->rule, c->role.may_serve_swr, &x->now,
                   &x->decision);
    settle_reason(x);
    return e;
}

int64_t engine_ttl_s(const struct cache_exchange *x)
{
    bool is_out_of_use = x->lookup.facts.soft_purged || x->lookup.facts.is_unleased;

    return is_out_of_use && x->decision.ttl_s > 0 ? 0 : x->decision.ttl_s;
}

void engine_answer_stored(struct cache_exchange *x)
{
    int64_t ttl_s = engine_ttl_s(x);
    bool is_fresh = ttl_s > 0;
    struct cache_status status = {.fwd = FWD_NONE, .ttl_s = ttl_s};

    if (!is_fresh)
        status.detail = slice_of(reason_token(x->reason));
    answer_from_store(x, &x->lookup.head, is_fresh ? VERDICT_HIT : VERDICT_STALE, &status);
}

static void act(struct cache_exchange *x)
{
    switch (x->decision.action) {
    case REQUEST_ANSWER:
        engine_answer_stored(x);
        return;
    case REQUEST_ANSWER_REFRESH:
        miss_refresh(x);
        metrics_add(x->reason == REASON_AHEAD ? METRIC_REFRESH_AHEAD : METRIC_STALE_REFRESH, 1);
        engine_answer_stored(x);
        return;
    case REQUEST_REFUSE:
        answer_error(x, 504,
                     "Nothing usable is stored, and the request wants nothing from the origin "
                     "(only-if-cached).\n",
                     NULL);
        return;
    case REQUEST_VALIDATE:
    case REQUEST_FETCH:
    case REQUEST_PASS:
    case REQUEST_RANGE_PASS:
        break;
    }
    miss_begin(x);
}

void engine_begin(struct cache_exchange *x)
{
    const struct cache_request *rq = &x->rq;
    enum err e;

    if (x->worker->cache->on_journal_lost == CACHE_LOST_FAIL &&
        lease_is_lost(x->worker->cache, clock_mono_ms())) {
        answer_error(x, 503,
                     "This node has lost its purge journal, and is told to serve nothing then.\n",
                     NULL);
        return;
    }
    x->is_pass = decide_pass(&x->facts, &x->rule, &x->decision);
    if (x->is_pass) {
        settle_reason(x);
        e = lookup_names(rq->site, rq->is_https, rq->host, rq->target, rq->fields, &x->block,
                         rq->arena, &x->lookup);
    } else {
        e = engine_look(x);
    }
    if (e != ERR_OK)
        answer_error(x, 503, "No room for this request.\n", NULL);
    else if (slices_are_wanted(x))
        slices_begin(x);
    else
        act(x);
}

void engine_go_on(struct cache_exchange *x)
{
    if (x->rq.file != NULL)
        file_begin(x);
    else
        engine_begin(x);
}

static struct cache_exchange *start(struct cache_worker *w, const struct cache_request *rq,
                                    const struct block_of *block, const struct cache_client *client,
                                    void *user)
{
    struct cache_exchange *x = arena_zalloc(rq->arena, sizeof(*x));
    struct slice which;

    if (x == NULL)
        return NULL;
    x->worker = w;
    x->rq = *rq;
    x->client = client;
    x->user = user;
    x->block = *block;
    x->asked = rq->fields;
    request_facts_read(&x->facts, rq->method, rq->fields, rq->has_body);
    x->facts.is_upgrade = rq->upgrade != NULL;
    x->asks_range = x->facts.has_range;
    if (block->bytes > 0)
        x->facts.has_range = false;
    x->rule.site = rq->site;
    x->rule.rule = site_rule_for_request(rq->site, rq->method, rq->target);
    x->rule.bypass_cookie = x->facts.has_cookie && x->rule.rule != NULL &&
                            site_rule_bypasses(x->rule.rule, rq->fields, &which);
    switch (fence_start(x)) {
    case FENCE_GO_ON:
        engine_go_on(x);
        break;
    case FENCE_REFUSED:
        answer_error(x, 400, "Selvage-Position is no position of a purge journal.\n", NULL);
        break;
    case FENCE_WAITS:
        break;
    }
    return x;
}

struct cache_exchange *cache_start(struct cache_worker *w, const struct cache_request *rq,
                                   const struct cache_client *client, void *user)
{
    static const struct block_of all = {0};

    return start(w, rq, &all, client, user);
}

struct cache_exchange *engine_start_block(struct cache_worker *w, const struct cache_request *rq,
                                          const struct block_of *block,
                                          const struct cache_client *client, void *user)
{
    return start(w, rq, block, client, user);
}

void engine_leave_fill(struct cache_exchange *x)
{
    if (x->reader == NULL)
        return;
    if (!x->leads)
        metrics_add(METRIC_WAITERS, -1);
    fill_detach(x->reader);
    x->reader = NULL;
    x->leads = false;
}

void cache_end(struct cache_exchange *x)
{
    fence_end(x);
    engine_leave_fill(x);
    slices_end(x);
    body_release(x);
    lookup_release(x->worker->cache, &x->lookup);
}
