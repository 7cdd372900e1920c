/* A head has come: what follows from it for readers and for the store. */
#include "base/check.h"
#include "base/digest.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "cache/fill_priv.h"
#include "cache/tags.h"
#include "cache/variant.h"
#include "http/conditional.h"
#include "purge/purge.h"

/*
 * An origin that codes without saying so in Vary would give one client's coding to another: a coded
 * response counts as varying by Accept-Encoding, and says so from here on.
 */
static enum err add_missing_vary(struct http_fields *fields, struct arena *a)
{
    if (http_fields_find(fields, SLICE("content-encoding")) == NULL ||
        http_fields_has_token(fields, SLICE("vary"), SLICE("accept-encoding")) ||
        http_fields_has_token(fields, SLICE("vary"), SLICE("*")))
        return ERR_OK;
    return http_fields_add(fields, a, LIMIT_RESPONSE_FIELDS + 1, SLICE("vary"),
                           SLICE("accept-encoding"));
}

/*
 * Does it take part in the decision who may have a response, and for how long?  Such fields go on
 * to other nodes though Connection nominates them: without them an edge would take what is private
 * for anybody's.
 */
static bool is_decided_by(const void *site, struct slice name)
{
    static const char *const names[] = {
        "cache-control", "cdn-cache-control", "expires",   "date",
        "vary",          "set-cookie",        "etag",      "last-modified",
        "location",      "surrogate-key",     "cache-tag", "content-type"};
    const struct site_strings *targeted = &((const struct site *)site)->targeted_fields;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (slice_eq(name, slice_of(names[i])))
            return true;
    for (size_t i = 0; i < targeted->count; i++)
        if (slice_eq(name, slice_of(targeted->item[i])))
            return true;
    return false;
}

/* Fields of one hop, and those that are made anew for each answer. */
static void keep_end_to_end(struct fill *f, struct http_fields *fields)
{
    if (f->cache->role.faces_public)
        http_fields_remove_hop_by_hop(fields);
    else
        http_fields_remove_hop_by_hop_but(fields, is_decided_by, f->rq.site);
    http_fields_remove(fields, SLICE("content-length"));
    http_fields_remove(fields, SLICE("age"));
    http_fields_remove(fields, SLICE("selvage-error")); /* of the answer, not of what it carries */
    if (f->cache->role.strips_tags) {
        http_fields_remove(fields, SLICE("surrogate-key"));
        http_fields_remove(fields, SLICE("cache-tag"));
    }
    http_fields_remove(fields, SLICE("selvage-checked"));
    http_fields_remove(fields, SLICE("selvage-differs"));
}

/*
 * RFC 9110 section 15.2: for the one whose request it answers, and nobody else: it is not stored,
 * not kept for those who wait, and none of its fields is the final answer's.  Its reader is on this
 * thread, so it is still there when the lock is not held any more.
 */
void fill__on_interim(void *user, int status, const struct http_fields *fields)
{
    struct fill *f = user;
    struct http_fields told = *fields; /* whoever told it will not look again */
    struct fill_reader *r;

    pthread_mutex_lock(&f->lock);
    r = f->has_result ? NULL : f->readers;
    while (r != NULL && r->interim == NULL)
        r = r->next;
    pthread_mutex_unlock(&f->lock);
    if (r == NULL)
        return;
    keep_end_to_end(f, &told);
    r->interim(r->user, status, &told);
}

static uint64_t length_said(const struct cache_fetch_head *h)
{
    uint64_t n;

    return slice_to_u64(http_fields_value(h->fields, SLICE("content-length")), &n)
               ? n
               : CACHE_BYTES_UNKNOWN;
}

static void read_lengths(struct fill *f, const struct cache_fetch_head *h, struct fill_result *r)
{
    bool bodiless = f->facts.method == METHOD_HEAD || h->status == 204 || h->status == 304;

    r->has_body = !bodiless && h->framing != CACHE_NO_BODY &&
                  !(h->framing == CACHE_LENGTH && h->body_bytes == 0);
    if (bodiless)
        r->body_bytes = length_said(h);
    else
        r->body_bytes = h->framing == CACHE_LENGTH    ? h->body_bytes
                        : h->framing == CACHE_NO_BODY ? 0
                                                      : CACHE_BYTES_UNKNOWN;
}

static enum err read_stamp(struct fill *f, const struct cache_fetch_head *h, struct fill_result *r)
{
    const uint64_t *tags;
    uint32_t count;
    bool overflow;
    enum err e = tags_read(h->fields, &f->arena, &tags, &count, &overflow);

    if (e != ERR_OK)
        return e;
    r->stamp = (struct store_stamp){.birth = f->birth,
                                    .site = f->rq.site->id,
                                    .purge_url = f->purge_url,
                                    .tags = tags,
                                    .tags_count = count,
                                    .tags_overflow = overflow};
    if (overflow)
        metrics_add(METRIC_TAGS_OVERFLOW, 1);
    return ERR_OK;
}

/* Is what is stored, once it is brought up to date, for other requests than before? */
static enum err compare_vary(struct fill *f, struct http_fields *both, struct fill_result *r)
{
    struct slice list;
    bool star = false;
    enum err e = add_missing_vary(both, &f->arena);

    if (e == ERR_OK)
        e = vary_list(both, &f->arena, &list, &star);
    if (e != ERR_OK && e != ERR_INVALID)
        return e;
    r->changes_vary = e == ERR_INVALID || star || !slice_eq(list, f->lookup.head.vary);
    return ERR_OK;
}

/* Does this answer to a HEAD speak of the stored response at all (RFC 9111 section 4.3.5)? */
static bool is_head_of_stored(const struct fill *f, const struct cache_fetch_head *h)
{
    return f->facts.method == METHOD_HEAD && h->status == 200 && !fill__is_pass(f) &&
           f->lookup.found && f->lookup.head.status == 200;
}

static bool updates_stored(const struct fill *f, const struct cache_fetch_head *h)
{
    if (h->status == 304)
        return f->action == REQUEST_VALIDATE && f->lookup.found;
    return is_head_of_stored(f, h) &&
           head_agrees(&f->lookup.head.fields, f->lookup.hit.body_bytes, h->fields);
}

/* Of a length that nobody knows before its end it may be short. */
static bool is_whole_block(const struct fill *f, const struct cache_fetch_head *h)
{
    uint64_t first = f->block.index * f->block.bytes, total;

    if (f->block.bytes == 0 || h->framing != CACHE_LENGTH ||
        !slices_is_block(&f->block, h->status, h->fields, &total))
        return false;
    return h->body_bytes == (total - first < f->block.bytes ? total - first : f->block.bytes);
}

/* A 304 changes what it names and the rest stands: both together are judged (RFC 9111
 * section 4.3.4).  So does a HEAD. */
static enum err read_facts(struct fill *f, const struct cache_fetch_head *h,
                           struct clock_moment now, struct fill_result *r)
{
    const struct http_fields *said = &r->head.fields;
    struct http_fields both;

    if (updates_stored(f, h)) {
        enum err e = head_freshen(&f->lookup.head.fields, said, f->rq.site->set_cookie_rfc,
                                  &f->arena, &both);

        if (e == ERR_OK)
            e = compare_vary(f, &both, r);
        if (e != ERR_OK)
            return e;
        said = &both;
    }
    response_facts_read(&r->facts, f->rq.site, h->status, said, h->framing == CACHE_TO_CLOSE,
                        f->rq.host, f->rq.target, now, now.mono_ms - h->sent_mono_ms);
    r->facts.is_block = is_whole_block(f, h);
    if (r->facts.is_block)
        r->facts.status =
            200; /* a part that is whole: it is decided about as the object would be */
    return ERR_OK;
}

/* Everything that follows from the head alone. */
static enum err read_head(struct fill *f, const struct cache_fetch_head *h, struct fill_result *r)
{
    struct buf scratch;
    bool star = false;
    enum err e;
    struct clock_moment now = clock_now();

    e = fill__copy_fields(&f->arena, h->fields, &r->head.fields);
    if (e != ERR_OK)
        return e;
    read_lengths(f, h, r);
    e = read_facts(f, h, now, r);
    if (e == ERR_OK)
        e = read_stamp(f, h, r);
    if (e == ERR_OK)
        e = add_missing_vary(&r->head.fields, &f->arena);
    if (e == ERR_OK)
        e = vary_list(&r->head.fields, &f->arena, &r->head.vary, &star);
    if (e == ERR_INVALID) {
        star = true;
        e = ERR_OK;
    }
    if (e != ERR_OK)
        return e;
    r->facts.vary_star |= star;
    buf_init(&scratch, 4 * LIMIT_HEAD_BYTES);
    /* beside variants, one without Vary is one more, by the empty list: put in the marker's place,
     * an error page would orphan them all */
    r->variant = r->head.vary.n == 0 && !f->lookup.has_variants
                     ? 0
                     : variant_of(r->head.vary, f->rq.fields, &scratch);
    if (scratch.failed)
        r->facts.vary_star = true;
    buf_release(&scratch);
    r->head.status = h->status;
    keep_end_to_end(f, &r->head.fields);
    return ERR_OK;
}

/* The same for a URL at this node whenever it comes, and another at the next node. */
static unsigned jitter_of(const struct fill *f)
{
    uint64_t h = digest_64(f->purge_url) ^ digest_64(f->cache->node);

    return (unsigned)(h % (LIMIT_JITTER_PERMILLE + 1));
}

/* Other HEADs may have what a GET would have been given to share. */
static void share_head(const struct response_case *head, struct response_decision *out)
{
    struct request_facts get = *head->request;
    struct response_case c = *head;
    struct response_decision d;

    get.method = METHOD_GET;
    c.request = &get;
    decide_response(&c, &d);
    if (d.action != RESPONSE_STORE || !d.may_share)
        return;
    out->may_share = true;
    out->freshness = d.freshness;
}

/*
 * Does this 304 leave open what it speaks of?  The origin was asked about what the client has, too,
 * and says no tag, though it gives them: taken for ours, what it has replaced would be fresh again.
 */
static bool is_ambiguous_304(const struct fill *f, const struct fill_result *r)
{
    struct slice ours = http_fields_value(&f->lookup.head.fields, SLICE("etag"));

    return f->asks_for_client && ours.p != NULL &&
           http_fields_find(&r->head.fields, SLICE("etag")) == NULL &&
           request_asks_for_others(f->rq.fields, ours);
}

/* A range was asked for, and the origin knows none. */
static bool brings_the_whole(const struct fill *f, const struct cache_fetch_head *h)
{
    return f->action == REQUEST_RANGE_PASS && f->facts.method == METHOD_GET && h->status == 200;
}

static void decide(struct fill *f, const struct cache_fetch_head *h, struct fill_result *r,
                   bool alone)
{
    bool is_304 = r->facts.status == 304 && f->lookup.found;
    struct slice type =
        http_fields_value(is_304 ? &f->lookup.head.fields : &r->head.fields, SLICE("content-type"));
    struct rule_facts rule = {
        .site = f->rq.site,
        .rule = site_rule_for_response(f->rq.site, f->rq.method, f->lookup.target, type)};
    struct response_case c = {
        .request = &f->facts,
        .stored = &f->lookup.facts,
        .rule = &rule,
        .response = &r->facts,
        .was_pass = fill__is_pass(f) && !brings_the_whole(f, h),
        .was_conditional = f->action == REQUEST_VALIDATE,
        .is_for_block = f->block.bytes > 0,
        .is_other_304 = is_304 && (!head_is_meant(&f->lookup.head.fields, &r->head.fields) ||
                                   is_ambiguous_304(f, r)),
        .is_clients_304 =
            is_304 && http_if_none_match_names(f->rq.fields,
                                               http_fields_value(&r->head.fields, SLICE("etag"))),
        .jitter_permille = jitter_of(f),
        .changes_vary = r->changes_vary,
        .is_head_of_stored = is_head_of_stored(f, h),
        .agrees = updates_stored(f, h),
        .alone = alone,
        .now = r->facts.received,
    };

    decide_response(&c, &r->decision);
    if (f->facts.method == METHOD_HEAD && !c.stored->present && !c.was_pass)
        share_head(&c, &r->decision);
    r->head.freshness = r->decision.freshness;
    r->head.no_cache = r->decision.no_cache;
    r->head.forbids_stale = r->decision.forbids_stale;
    r->head.is_immutable = r->decision.is_immutable;
    r->head.lifetime_by = r->decision.lifetime_by;
    r->head.rule_line = rule.rule == NULL ? 0 : rule.rule->line;
    r->is_stream = r->facts.is_event_stream || (rule.rule != NULL && rule.rule->stream);
}

struct store_key fill__key_of(const struct fill *f, uint64_t variant)
{
    return (struct store_key){.host = f->lookup.host, .text = f->lookup.text, .variant = variant};
}

static void on_committed(void *user, uint64_t body_bytes)
{
    struct fill *f = user;

    pthread_mutex_lock(&f->lock);
    f->bytes_committed = body_bytes;
    fill__trim(f);
    if (f->is_paused)
        fill__post_control(f);
    pthread_mutex_unlock(&f->lock);
}

static void on_stored(void *user, enum err e)
{
    struct fill *f = user;
    bool was_whole;

    if (e == ERR_LIMIT)
        metrics_add(METRIC_NOT_STORED_VARIANTS, 1);
    else if (e == ERR_GONE)
        metrics_add(METRIC_NOT_STORED_PURGED, 1);
    pthread_mutex_lock(&f->lock);
    f->put_is_over = true;
    was_whole = f->state == FILL_WHOLE;
    if (was_whole)
        f->state = FILL_STORED;
    else
        fill__post_control(
            f); /* it refused while bytes still come: what is in memory is all there is */
    pthread_mutex_unlock(&f->lock);
    if (was_whole) {
        if (e == ERR_OK && fill__is_outdated(f)) { /* since it was queued */
            struct store_key key = fill__key_of(f, f->result.variant);

            store_remove(f->cache->store, &key, f->result.objid);
        }
        /* pairs with the acquire in engine_look() */
        atomic_fetch_add_explicit(&f->cache->stored, 1, memory_order_release);
        fill__leave_table(f);
    }
    fill__unref(f);
}

static void drop_stored(struct fill *f)
{
    struct store_key key = fill__key_of(f, f->lookup.variant);

    store_remove(f->cache->store, &key, f->lookup.hit.objid);
}

void fill__too_large(struct fill *f, const struct response_decision *d)
{
    metrics_add(METRIC_NOT_STORED_TOO_LARGE, 1);
    if (d->outdates_stored)
        drop_stored(f);
}

static void begin_put(struct fill *f, struct fill_result *r)
{
    static const struct store_put_events events = {.committed = on_committed, .done = on_stored};

    if (r->body_bytes != CACHE_BYTES_UNKNOWN && r->body_bytes > f->cache->object_bytes_max) {
        fill__too_large(f, &r->decision);
        return;
    }
    if (store_put_begin(f->cache->store, &events, f, &f->put) != ERR_OK) {
        f->put = NULL;
        metrics_add(METRIC_NOT_STORED_BUSY, 1);
        return;
    }
    fill__ref(f);
    r->objid = store_put_objid(f->put);
    store_pin(
        f->cache->store,
        r->objid); /* readers may lag behind the publishing, and eviction must wait for them */
    r->is_stored = true;
}

static void on_refreshed(void *user, enum err e)
{
    on_stored(user, e == ERR_NOT_FOUND ? ERR_GONE : e);
}

/* A 304: the stored head, brought up to date, is what readers and store get (RFC 9111
 * section 4.3.4). */
static enum err freshen(struct fill *f, struct fill_result *r)
{
    const struct lookup *l = &f->lookup;
    struct http_fields update = r->head.fields;
    enum err e = head_freshen(&l->head.fields, &update, true, &f->arena, &r->head.fields);

    /* under set_cookie: safe its cookie is for the one who asked */
    if (e == ERR_OK)
        e = head_freshen(&l->head.fields, &update, f->rq.site->set_cookie_rfc, &f->arena,
                         &r->shared.fields);
    if (e == ERR_OK)
        e = add_missing_vary(&r->head.fields, &f->arena);
    if (e == ERR_OK)
        e = add_missing_vary(&r->shared.fields, &f->arena);
    if (e == ERR_OK)
        e = tags_join(l->hit.stamp.tags, l->hit.stamp.tags_count, r->stamp.tags,
                      r->stamp.tags_count, &f->arena, &r->stamp.tags, &r->stamp.tags_count,
                      &r->stamp.tags_overflow);
    if (e != ERR_OK)
        return e;
    r->stamp.tags_overflow |= l->hit.stamp.tags_overflow;
    r->is_freshened = true;
    r->objid = l->hit.objid;
    r->head.status = l->head.status;
    r->head.vary = l->head.vary;
    r->variant = l->variant;
    r->body_bytes = l->hit.body_bytes;
    r->has_body = false; /* none comes by this fill */
    return ERR_OK;
}

static bool is_named(struct slice list, struct slice name)
{
    struct slice member;

    while (http_list_next(&list, &member, NULL))
        if (slice_eq_nocase(member, name))
            return true;
    return false;
}

/* no-cache="a, b": the rest may be used again, these may not (RFC 9111 section 5.2.2.4). */
static enum err make_shared(struct fill *f, struct fill_result *r)
{
    struct http_fields mine = r->is_freshened ? r->shared.fields : r->head.fields;
    const struct http_fields *all = &mine;
    struct http_field *items;

    r->shared = r->head;
    r->shared.fields = mine;
    if (r->facts.cc.no_cache_fields.p == NULL)
        return ERR_OK;
    items = arena_alloc(&f->arena, (all->count + 1) * sizeof(*items));
    if (items == NULL)
        return ERR_LIMIT;
    r->shared.fields = (struct http_fields){.item = items, .capacity = all->count + 1};
    for (size_t i = 0; i < all->count; i++)
        if (!is_named(r->facts.cc.no_cache_fields, all->item[i].name))
            items[r->shared.fields.count++] = all->item[i];
    return ERR_OK;
}

/* False when there is nothing to keep. */
bool fill__store_freshened(struct fill *f)
{
    struct fill_result *r = &f->result;
    struct store_key key = fill__key_of(f, f->lookup.variant);
    struct buf head;
    bool ok;

    if (r->decision.drops_stored) {
        store_remove(f->cache->store, &key, r->objid);
        return false;
    }
    if (r->is_passing)
        return false;
    buf_init(&head, LIMIT_RECORD_BYTES);
    head_encode(&r->shared, clock_boot(), &head);
    ok = !head.failed;
    if (ok) {
        fill__ref(f);
        store_refresh(f->cache->store, &key, r->objid, &r->stamp, buf_slice(&head), on_refreshed,
                      f);
    }
    buf_release(&head);
    return ok;
}

/* A 304 that speaks of nothing we have: once more, without conditions (the only request ever sent
 * twice after an answer). */
static void repeat(struct fill *f)
{
    f->worker->fetcher.cancel(f->fetch);
    f->fetch = NULL;
    f->action = REQUEST_FETCH;
    f->asks_for_client = false;
    reactor_timer_start(f->worker->reactor, &f->start,
                        0); /* not from inside the callback of the first one */
}

/* A peer's answer that cannot be used: once more, from somebody else; else it has failed. */
static void leave_peer(struct fill *f)
{
    enum request_action action = f->action;

    metrics_add(METRIC_FENCE_BROKEN, 1);
    log_debug("%s: a shield's answer does not say that it heeds this node's purges; asking the "
              "origin instead",
              f->rq.site->name);
    if (f->is_direct) {
        f->worker->fetcher.cancel(f->fetch);
        fill__give_up(f, RESPONSE_GARBAGE);
        return;
    }
    f->is_direct = true;
    repeat(f);
    f->action = action; /* as it was: a condition speaks of what this node has stored itself */
}

/* What is known of an answer that is not kept, for those who wonder why. */
static void say_why_not(struct fill *f, const struct fill_result *r)
{
    struct memo_entry e = {
        .at_s = r->facts.received.wall_ms / 1000, .status = r->head.status, .why = r->decision.why};

    if (reasons_have(&r->decision.why, REASON_UNFRAMED))
        metrics_add(METRIC_NOT_STORED_UNFRAMED, 1);
    if (reasons_have(&r->decision.why, REASON_DECEPTION))
        metrics_add(METRIC_NOT_STORED_DECEPTION, 1);
    if (reasons_have(&r->decision.why, REASON_REDIRECT_LOOP)) {
        metrics_add(METRIC_NOT_STORED_REDIRECT_LOOP, 1);
        log_warn("%s: the origin redirects to the same URL: let it look at X-Forwarded-Proto",
                 f->rq.site->name);
    }
    if (!fill__is_pass(f) && f->facts.method == METHOD_GET)
        memo_put(f->cache->memo, f->lookup.text, &e);
}

static void publish_result(struct fill *f, const struct fill_result *r, bool is_backed)
{
    pthread_mutex_lock(&f->lock);
    f->result = *r;
    f->has_result = true;
    f->is_backed = is_backed;
    f->state = FILL_STREAMING;
    fill__wake_all(f);
    pthread_mutex_unlock(&f->lock);
}

/* For a range it was to be fetched whole, if it is not much; what has no length may be. */
static bool is_too_much(const struct fill *f, const struct fill_result *r)
{
    return f->bytes_max > 0 && !r->is_freshened && r->head.status == 200 &&
           (r->body_bytes == CACHE_BYTES_UNKNOWN || r->body_bytes > f->bytes_max);
}

/*
 * Hit-for-miss: who comes next need not wait to hear that he cannot have it.  Said by requests
 * alone of which all that the origin may look at is in the key: with a cookie, anybody could switch
 * off collapsing for a URL that everybody wants.
 */
static void note_recent(struct fill *f, const struct fill_result *r)
{
    uint64_t head = purge_head(f->cache->purge);

    if (fill__is_pass(f) || f->facts.method != METHOD_GET)
        return;
    if (r->decision.may_share || r->decision.action != RESPONSE_RELAY)
        recent_forget(f->worker->recent, RECENT_NOT_SHARED, f->key);
    else if (r->facts.status != 304 && !f->facts.has_cookie && !f->facts.has_authorization &&
             !f->facts.cc.no_store)
        recent_note(f->worker->recent, RECENT_NOT_SHARED, f->key, head,
                    reactor_now_ms(f->worker->reactor));
}

/* No block, but all that there is.  Who would join looks at the key, too. */
static void take_as_whole(struct fill *f)
{
    pthread_mutex_lock(&f->lock);
    f->lookup.text = site_key_whole(f->lookup.text);
    pthread_mutex_unlock(&f->lock);
}

void fill__on_head(void *user, const struct cache_fetch_head *h)
{
    struct fill *f = user;
    struct fill_result r = {0};
    enum fence_verdict fence;
    unsigned readers;
    enum err e;

    pthread_mutex_lock(&f->lock);
    readers = f->readers_count;
    pthread_mutex_unlock(&f->lock);
    e = read_head(f, h, &r);
    fence = e == ERR_OK ? fence_judge(f, h, &r) : FENCE_HOLDS;
    if (fence == FENCE_BROKEN) {
        leave_peer(f);
        return;
    }
    r.is_passing = fence == FENCE_NOT_STORED;
    if (e == ERR_OK) {
        decide(f, h, &r, readers <= 1);
        if (r.decision.action == RESPONSE_REPEAT) {
            repeat(f);
            return;
        }
        if (r.decision.action == RESPONSE_FRESHEN)
            e = freshen(f, &r);
        if (e == ERR_OK)
            e = make_shared(f, &r);
    }
    if (e == ERR_OK && f->rq.file != NULL && !fill__begin_hash(f, h, &r)) {
        f->worker->fetcher.cancel(f->fetch);
        fill__give_up(f, RESPONSE_BROKEN);
        return;
    }
    if (e != ERR_OK) {
        log_error("%s: the origin's head is too large to keep", f->rq.site->name);
        f->worker->fetcher.cancel(f->fetch);
        fill__give_up(f, RESPONSE_GARBAGE);
        return;
    }
    if (r.decision.action == RESPONSE_RELAY && r.decision.drops_stored && f->lookup.found)
        drop_stored(f);
    if (f->facts.method == METHOD_OTHER && h->status >= 200 && h->status < 400)
        invalidate(f->cache, f->worker->reader, &f->rq, &r.head.fields);
    if (f->block.bytes > 0 && !r.facts.is_block && !r.is_freshened)
        take_as_whole(f);
    if (is_too_much(f, &r)) {
        f->worker->fetcher.cancel(f->fetch);
        fill__give_up(f, RESPONSE_TOO_MUCH);
        return;
    }
    if (r.decision.action == RESPONSE_STORE && !r.is_passing)
        begin_put(f, &r);
    else if (!r.is_freshened)
        say_why_not(f, &r);
    note_recent(f, &r);
    if (f->is_background && !r.is_stored && !r.is_freshened && readers == 0) {
        f->worker->fetcher.cancel(f->fetch); /* nobody wants it */
        fill__give_up(f, RESPONSE_UNREACHABLE);
        return;
    }
    publish_result(f, &r, r.is_stored);
    if (!r.decision.may_share)
        fill__leave_table(f); /* later requests need not wait for what they cannot have */
}
