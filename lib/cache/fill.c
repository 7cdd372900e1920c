/* The life of a fill: born with its request, fetched, decided, stored, forgotten. */
#include <stdlib.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "cache/fill_priv.h"
#include "cache/tags.h"
#include "cache/variant.h"
#include "purge/purge.h"

enum {
    ARENA_BYTES_MAX =
        512 * 1024,            /* request, response head and what is made of them, without bodies */
    FIRST_BLOCK_BYTES = 16384, /* of a body whose length nobody knows */
    SMALL_BLOCK_BYTES = 4096,  /* of what comes in small pieces and is not stored: event streams */
    RECHECK_MS = 20,           /* while the store's writer is behind */
    STUCK_MS = 2000,           /* behind for so long: go on without it */
    RECHECK_READERS_MS = 1000,
    BEHIND_BYTES = LIMIT_UNBACKED_BYTES * 3 / 4,
};

/* ---- birth and death ---- */

static void free_fill(struct fill *f)
{
    for (size_t i = f->first_piece; i < f->pieces_count; i++)
        block_unref(f->piece[i].block);
    free(f->piece);
    if (f->result.objid != 0 && f->is_backed)
        store_unpin(f->cache->store, f->result.objid);
    f->hold.unref(f->hold.p);
    arena_release(&f->arena);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

static void ref(struct fill *f)
{
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
}

void fill__unref(struct fill *f)
{
    /* release: our writes are over before the last holder frees; acquire pairs with it */
    if (atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) == 1)
        free_fill(f);
}

static bool copy(struct arena *a, struct slice *s)
{
    if (s->p == NULL)
        return true;
    *s = arena_dup(a, *s);
    return s->p != NULL;
}

static enum err copy_fields(struct arena *a, const struct http_fields *from, struct http_fields *to)
{
    *to = (struct http_fields){0};
    for (size_t i = 0; i < from->count; i++) {
        struct http_field field = from->item[i];

        if (!copy(a, &field.name) || !copy(a, &field.value) ||
            http_fields_add(to, a, LIMIT_RESPONSE_FIELDS, field.name, field.value) != ERR_OK)
            return ERR_LIMIT;
    }
    return ERR_OK;
}

/* The request outlives its client: everything it points to moves into the arena. */
static enum err copy_request(struct fill *f, const struct cache_request *rq)
{
    struct http_fields *fields = arena_alloc(&f->arena, sizeof(*fields));

    f->rq = *rq;
    f->rq.arena = &f->arena;
    if (fields == NULL || copy_fields(&f->arena, rq->fields, fields) != ERR_OK)
        return ERR_LIMIT;
    f->rq.fields = fields;
    return copy(&f->arena, &f->rq.method) && copy(&f->arena, &f->rq.host) &&
                   copy(&f->arena, &f->rq.target) && copy(&f->arena, &f->rq.body) &&
                   copy(&f->arena, &f->rq.client) && copy(&f->arena, &f->rq.id)
               ? ERR_OK
               : ERR_LIMIT;
}

/* What is validated: its fields, its stamp, its id.  The body stays the readers' business. */
static enum err copy_lookup(struct fill *f, const struct lookup *l)
{
    uint64_t *tags;

    f->lookup = *l;
    f->lookup.hit.pinned = false;
    f->lookup.hit.head = f->lookup.hit.inline_body = (struct slice){0};
    if (!copy(&f->arena, &f->lookup.text) || !copy(&f->arena, &f->lookup.target) ||
        !copy(&f->arena, &f->lookup.host))
        return ERR_LIMIT;
    if (!l->found)
        return ERR_OK;
    tags = arena_alloc(&f->arena, (l->hit.stamp.tags_count + 1) * sizeof(*tags));
    if (tags == NULL)
        return ERR_LIMIT;
    if (l->hit.stamp.tags_count > 0)
        memcpy(tags, l->hit.stamp.tags, l->hit.stamp.tags_count * sizeof(*tags));
    f->lookup.hit.stamp.tags = tags;
    return copy(&f->arena, &f->lookup.hit.stamp.purge_url) && copy(&f->arena, &f->lookup.head.vary)
               ? copy_fields(&f->arena, &l->head.fields, &f->lookup.head.fields)
               : ERR_LIMIT;
}

static void on_start(void *user);
static void on_recheck(void *user);
static void on_control(struct reactor_message *m);

static enum err fill_new(struct cache_worker *w, const struct fill_plan *plan, struct slice key,
                         struct fill **out)
{
    struct fill *f = calloc(1, sizeof(*f));
    enum err e;

    if (f == NULL)
        return ERR_NOMEM;
    *f = (struct fill){.refs = 1,
                       .cache = w->cache,
                       .worker = w,
                       .hold = plan->rq->hold,
                       .key = key,
                       .facts = *plan->facts,
                       .request_rule = plan->rule->rule,
                       .action = plan->action,
                       .is_shared = plan->is_shared,
                       .is_background = plan->is_background,
                       .born_ms = clock_mono_ms(),
                       .start = {.fire = on_start, .user = f},
                       .recheck = {.fire = on_recheck, .user = f},
                       .control = {.run = on_control}};
    f->hold.ref(f->hold.p);
    pthread_mutex_init(&f->lock, NULL);
    arena_init(&f->arena, NULL, 0, ARENA_BYTES_MAX + plan->rq->body.n);
    e = copy_request(f, plan->rq);
    if (e == ERR_OK)
        e = copy_lookup(f, plan->lookup);
    if (e == ERR_OK && !copy(&f->arena, &f->key))
        e = ERR_LIMIT;
    if (e == ERR_OK) {
        f->purge_url = site_purge_url(f->lookup.host, f->lookup.target, &f->arena);
        e = f->purge_url.p == NULL ? ERR_LIMIT : ERR_OK;
    }
    if (e != ERR_OK) {
        fill__unref(f);
        return e;
    }
    /* purge-protocol rule 4: before the request is sent */
    f->birth = purge_head(w->cache->purge);
    LIST_PUSH(w->fills, f);
    reactor_timer_start(w->reactor, &f->start,
                        0); /* a request that is reset in the same read costs no fetch */
    *out = f;
    return ERR_OK;
}

/* ---- the table ---- */

static void leave_table(struct fill *f)
{
    bool was_there;

    if (!f->is_shared)
        return;
    was_there = collapse_lock(f->cache->collapse, f->key) == f;
    if (was_there && collapse_set(f->cache->collapse, f->key, NULL) != ERR_OK)
        CHECK(false);
    collapse_unlock(f->cache->collapse, f->key);
    if (was_there) {
        metrics_add(METRIC_FILLS, -1);
        fill__unref(f);
    }
}

/* Has a purge come since it was asked for, as far as that is known yet? */
static bool is_purged(const struct fill *f)
{
    struct purge_subject s = {.birth = f->birth, .site = f->rq.site->id, .purge_url = f->purge_url};

    if (f->has_result) {
        s.tags = f->result.stamp.tags;
        s.tags_count = f->result.stamp.tags_count;
        s.tags_overflow = f->result.stamp.tags_overflow;
    }
    return purge_judge(f->cache->purge, &s) != PURGE_USABLE;
}

/* Has an unsafe request changed it since it was asked for? */
static bool is_outdated(const struct fill *f)
{
    return outdated_is(f->cache->outdated, f->lookup.text, f->born_ms);
}

/* Under the fill's lock. */
static bool may_join(const struct fill *f)
{
    bool ok = f->state == FILL_OPEN ||
              ((f->state == FILL_STREAMING || f->state == FILL_WHOLE) &&
               f->result.decision.may_share && (f->is_backed || f->bytes_kept_from == 0));

    return ok && !is_purged(f) && !is_outdated(f);
}

/*
 * Under the table's lock: join what is there, if it may be joined.  One hold of the fill's lock, so
 * that it is not given up between looking and joining.
 */
static enum err join(struct fill *f, const struct fill_plan *plan, struct cache_worker *w,
                     void (*ready)(void *), void *user, struct fill_reader **out)
{
    enum err e = ERR_NOT_FOUND;

    if (f == NULL)
        return e;
    pthread_mutex_lock(&f->lock);
    if (plan->is_background) {
        if (may_join(f) || (f->is_background && f->state == FILL_FAILED))
            e = ERR_OK; /* it runs, or has just failed */
    } else if (may_join(f)) {
        *out = fill__attach(f, w, ready, user);
        e = *out == NULL ? ERR_NOMEM : ERR_OK;
    }
    pthread_mutex_unlock(&f->lock);
    return e;
}

/* Under the table's lock: take the place of `old`, which goes on for those who read it. */
static enum err take_place(struct fill *f, struct fill *old)
{
    enum err e = collapse_set(f->cache->collapse, f->key, f);

    if (e != ERR_OK)
        return e;
    ref(f);
    if (old != NULL)
        fill__unref(old);
    else
        metrics_add(METRIC_FILLS, 1);
    return ERR_OK;
}

/* variant and text make the key: a fill of one variant is none of another. */
static struct slice table_key(const struct lookup *l, struct arena *a)
{
    char *p = arena_alloc(a, l->text.n + sizeof(l->variant));

    if (p == NULL)
        return (struct slice){0};
    memcpy(p, &l->variant, sizeof(l->variant));
    memcpy(p + sizeof(l->variant), l->text.p, l->text.n);
    return (struct slice){p, l->text.n + sizeof(l->variant)};
}

static void end_now(struct fill *f, enum response_failure failure);

static enum err attach_leader(struct fill *f, struct cache_worker *w, void (*ready)(void *),
                              void *user, struct fill_reader **out)
{
    pthread_mutex_lock(&f->lock);
    *out = fill__attach(f, w, ready, user);
    pthread_mutex_unlock(&f->lock);
    return *out == NULL ? ERR_NOMEM : ERR_OK;
}

/* Join, or put `f` there: *out_leads.  `f` NULL: join only. */
static enum err join_or_lead(struct cache_worker *w, const struct fill_plan *plan, struct slice key,
                             struct fill *f, void (*ready)(void *user), void *user,
                             struct fill_reader **out, bool *out_leads)
{
    struct fill *there = collapse_lock(w->cache->collapse, key);
    enum err e = join(there, plan, w, ready, user, out);

    if (e == ERR_NOT_FOUND && f != NULL) {
        e = take_place(f, there);
        *out_leads = e == ERR_OK;
    }
    collapse_unlock(w->cache->collapse, key);
    return e;
}

enum err fill_enter(struct cache_worker *w, const struct fill_plan *plan, void (*ready)(void *user),
                    void *user, struct fill_reader **out, bool *out_leads)
{
    struct slice key = table_key(plan->lookup, plan->rq->arena);
    struct fill *f;
    enum err e;

    *out = NULL;
    *out_leads = false;
    if (key.p == NULL)
        return ERR_LIMIT;
    if (plan->is_shared) {
        e = join_or_lead(w, plan, key, NULL, ready, user, out, out_leads);
        if (e != ERR_NOT_FOUND)
            return e;
    }
    e = fill_new(w, plan, key, &f);
    if (e != ERR_OK)
        return e;
    if (plan->is_shared)
        e = join_or_lead(w, plan, key, f, ready, user, out,
                         out_leads); /* somebody may have been quicker */
    else
        *out_leads = true;
    if (*out_leads && !plan->is_background)
        e = attach_leader(f, w, ready, user, out);
    if (!*out_leads || e != ERR_OK)
        end_now(f, RESPONSE_OVERLOADED);
    return e;
}

/* ---- the end, on the leading worker ---- */

/* Nothing more will come: the leader lets go of it. */
static void leader_leaves(struct fill *f)
{
    CHECK(!f->is_over);
    f->is_over = true;
    f->fetch = NULL;
    reactor_timer_stop(f->worker->reactor, &f->start);
    reactor_timer_stop(f->worker->reactor, &f->recheck);
    LIST_REMOVE(f->worker->fills, f);
    fill__unref(f);
}

static void set_state(struct fill *f, enum fill_state s, enum response_failure failure)
{
    pthread_mutex_lock(&f->lock);
    f->state = s;
    f->failure = failure;
    fill__wake_all(f);
    pthread_mutex_unlock(&f->lock);
}

static void abort_put(struct fill *f)
{
    bool is_over;

    if (f->put == NULL)
        return;
    store_put_abort(&f->put);
    pthread_mutex_lock(&f->lock);
    is_over = f->put_is_over;
    pthread_mutex_unlock(&f->lock);
    if (!is_over)
        fill__unref(f); /* the put's own reference: nobody will be told any more */
}

static void end_now(struct fill *f, enum response_failure failure)
{
    abort_put(f);
    set_state(f, FILL_FAILED, failure);
    leave_table(f);
    leader_leaves(f);
}

/*
 * End it without an answer, or without the rest of one.  A refresh that failed rests in the table
 * for a moment: each hit on the stale answer would begin the next one.
 */
static void give_up(struct fill *f, enum response_failure failure)
{
    if (!f->is_background) {
        end_now(f, failure);
        return;
    }
    abort_put(f);
    set_state(f, FILL_FAILED, failure);
    f->fetch = NULL;
    f->is_resting = true;
    reactor_timer_stop(f->worker->reactor, &f->recheck);
    reactor_timer_start(f->worker->reactor, &f->start, LIMIT_CLIENT_RELOAD_MS);
}

/* Fail it when nobody reads, in one hold of the lock, so that nobody joins what is being given up.
 */
static bool abandon(struct fill *f)
{
    bool none;

    pthread_mutex_lock(&f->lock);
    none = f->readers_count == 0 && !f->is_background;
    if (none)
        f->state = FILL_FAILED;
    pthread_mutex_unlock(&f->lock);
    return none;
}

void fill_stop_all(struct cache_worker *w)
{
    while (w->fills != NULL) {
        struct fill *f = w->fills;

        if (f->fetch != NULL)
            w->fetcher.cancel(f->fetch);
        end_now(f, RESPONSE_OVERLOADED);
    }
}

/* ---- the fetch ---- */

static void on_head(void *user, const struct cache_fetch_head *h);
static bool on_body(void *user, const char *p, size_t n);
static void on_done(void *user, enum response_failure failure, bool whole, const char *text);

static bool is_pass(const struct fill *f)
{
    return f->action == REQUEST_PASS || f->action == REQUEST_RANGE_PASS;
}

static void send_request(struct fill *f)
{
    static const struct cache_fetch_events events = {
        .head = on_head, .body = on_body, .done = on_done};
    struct http_fields fields;
    struct cache_fetch_request rq = {
        .site = f->rq.site,
        .method = f->rq.method,
        .target = f->lookup.target,
        .host = f->rq.host,
        .fields = &fields,
        .body = f->rq.body,
        .has_body = f->rq.has_body,
        .is_stream = f->request_rule != NULL && f->request_rule->stream,
        .is_idempotent = f->facts.method != METHOD_OTHER || slice_eq(f->rq.method, SLICE("PUT")) ||
                         slice_eq(f->rq.method, SLICE("DELETE")),
    };
    enum err e = request_fields_make(f->cache, &f->rq, &f->lookup, is_pass(f),
                                     f->action == REQUEST_VALIDATE, &f->arena, &fields);

    if (e == ERR_OK)
        e = f->worker->fetcher.start(f->worker->fetcher.user, &rq, &events, f, &f->fetch);
    if (e != ERR_OK) {
        log_error("%s: cannot ask the origin: %s", f->rq.site->name, err_name(e));
        give_up(f, RESPONSE_OVERLOADED);
    }
}

static void on_start(void *user)
{
    struct fill *f = user;

    if (f->is_resting) {
        leave_table(f);
        leader_leaves(f);
    } else if (abandon(f)) {
        end_now(f, RESPONSE_OVERLOADED);
    } else {
        send_request(f);
    }
}

/* ---- the head ---- */

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

/* Fields of one hop, and those that are made anew for each answer. */
static void keep_end_to_end(struct fill *f, struct http_fields *fields)
{
    http_fields_remove_hop_by_hop(fields);
    http_fields_remove(fields, SLICE("content-length"));
    http_fields_remove(fields, SLICE("age"));
    if (f->cache->role.strips_tags) {
        http_fields_remove(fields, SLICE("surrogate-key"));
        http_fields_remove(fields, SLICE("cache-tag"));
    }
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

/* A 304 changes what it names and the rest stands: both together are judged (RFC 9111
 * section 4.3.4). */
static enum err read_facts(struct fill *f, const struct cache_fetch_head *h,
                           struct clock_moment now, struct fill_result *r)
{
    const struct http_fields *said = &r->head.fields;
    struct http_fields both;

    if (h->status == 304 && f->action == REQUEST_VALIDATE && f->lookup.found) {
        enum err e = head_freshen(&f->lookup.head.fields, said, &f->arena, &both);

        if (e != ERR_OK)
            return e;
        said = &both;
    }
    response_facts_read(&r->facts, h->status, said, h->framing == CACHE_TO_CLOSE, f->rq.host,
                        f->rq.target, now, now.mono_ms - h->sent_mono_ms);
    return ERR_OK;
}

/* Everything that follows from the head alone. */
static enum err read_head(struct fill *f, const struct cache_fetch_head *h, struct fill_result *r)
{
    struct buf scratch;
    bool star = false;
    enum err e;
    struct clock_moment now = clock_now();

    e = copy_fields(&f->arena, h->fields, &r->head.fields);
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
    r->variant = r->head.vary.n == 0 ? 0 : variant_of(r->head.vary, f->rq.fields, &scratch);
    if (scratch.failed)
        r->facts.vary_star = true;
    buf_release(&scratch);
    r->head.status = h->status;
    keep_end_to_end(f, &r->head.fields);
    return ERR_OK;
}

static void decide(struct fill *f, struct fill_result *r, bool alone)
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
        .was_pass = is_pass(f),
        .was_conditional = f->action == REQUEST_VALIDATE,
        .is_other_304 = is_304 && !head_is_meant(&f->lookup.head.fields, &r->head.fields),
        .alone = alone,
        .now = r->facts.received,
    };

    decide_response(&c, &r->decision);
    r->head.freshness = r->decision.freshness;
    r->head.no_cache = r->decision.no_cache;
    r->head.forbids_stale = r->decision.forbids_stale;
    r->head.is_immutable = r->decision.is_immutable;
    r->head.lifetime_by = r->decision.lifetime_by;
    r->head.rule_line = rule.rule == NULL ? 0 : rule.rule->line;
    r->is_stream = r->facts.is_event_stream || (rule.rule != NULL && rule.rule->stream);
}

static struct store_key key_of(const struct fill *f, uint64_t variant)
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
        if (e == ERR_OK && is_outdated(f)) { /* since it was queued */
            struct store_key key = key_of(f, f->result.variant);

            store_remove(f->cache->store, &key, f->result.objid);
        }
        /* pairs with the acquire in engine_look() */
        atomic_fetch_add_explicit(&f->cache->stored, 1, memory_order_release);
        leave_table(f);
    }
    fill__unref(f);
}

static void begin_put(struct fill *f, struct fill_result *r)
{
    static const struct store_put_events events = {.committed = on_committed, .done = on_stored};

    if (r->body_bytes != CACHE_BYTES_UNKNOWN && r->body_bytes > f->cache->object_bytes_max) {
        metrics_add(METRIC_NOT_STORED_TOO_LARGE, 1);
        return;
    }
    if (store_put_begin(f->cache->store, &events, f, &f->put) != ERR_OK) {
        f->put = NULL;
        metrics_add(METRIC_NOT_STORED_BUSY, 1);
        return;
    }
    ref(f);
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
    enum err e = head_freshen(&l->head.fields, &update, &f->arena, &r->head.fields);

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

/* False when there is nothing to keep. */
static bool store_freshened(struct fill *f)
{
    struct fill_result *r = &f->result;
    struct store_key key = key_of(f, f->lookup.variant);
    struct buf head;
    bool ok;

    if (r->decision.drops_stored) {
        store_remove(f->cache->store, &key, r->objid);
        return false;
    }
    buf_init(&head, LIMIT_RECORD_BYTES);
    head_encode(&r->head, clock_boot(), &head);
    ok = !head.failed;
    if (ok) {
        ref(f);
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
    reactor_timer_start(f->worker->reactor, &f->start,
                        0); /* not from inside the callback of the first one */
}

/* What is known of an answer that is not kept, for those who wonder why. */
static void say_why_not(struct fill *f, const struct fill_result *r)
{
    struct memo_entry e = {
        .at_s = r->facts.received.wall_ms / 1000, .status = r->head.status, .why = r->decision.why};

    if (reasons_have(&r->decision.why, REASON_UNFRAMED))
        metrics_add(METRIC_NOT_STORED_UNFRAMED, 1);
    if (reasons_have(&r->decision.why, REASON_REDIRECT_LOOP)) {
        metrics_add(METRIC_NOT_STORED_REDIRECT_LOOP, 1);
        log_warn("%s: the origin redirects to the same URL: let it look at X-Forwarded-Proto",
                 f->rq.site->name);
    }
    if (!is_pass(f) && f->facts.method == METHOD_GET)
        memo_put(f->cache->memo, f->lookup.text, &e);
}

static void drop_stored(struct fill *f)
{
    struct store_key key = key_of(f, f->lookup.variant);

    store_remove(f->cache->store, &key, f->lookup.hit.objid);
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

static void on_head(void *user, const struct cache_fetch_head *h)
{
    struct fill *f = user;
    struct fill_result r = {0};
    unsigned readers;
    enum err e;

    pthread_mutex_lock(&f->lock);
    readers = f->readers_count;
    pthread_mutex_unlock(&f->lock);
    e = read_head(f, h, &r);
    if (e == ERR_OK) {
        decide(f, &r, readers <= 1);
        if (r.decision.action == RESPONSE_REPEAT) {
            repeat(f);
            return;
        }
        if (r.decision.action == RESPONSE_FRESHEN)
            e = freshen(f, &r);
    }
    if (e != ERR_OK) {
        log_error("%s: the origin's head is too large to keep", f->rq.site->name);
        f->worker->fetcher.cancel(f->fetch);
        give_up(f, RESPONSE_UNREACHABLE);
        return;
    }
    if (f->facts.method == METHOD_OTHER && h->status >= 200 && h->status < 400)
        invalidate(f->cache, f->worker->reader, &f->rq, &r.head.fields);
    if (r.decision.action == RESPONSE_STORE)
        begin_put(f, &r);
    else if (!r.is_freshened)
        say_why_not(f, &r);
    if (r.decision.action == RESPONSE_RELAY && r.decision.drops_stored && f->lookup.found)
        drop_stored(f);
    if (f->is_background && !r.is_stored && !r.is_freshened && readers == 0) {
        f->worker->fetcher.cancel(f->fetch); /* nobody wants it */
        give_up(f, RESPONSE_UNREACHABLE);
        return;
    }
    publish_result(f, &r, r.is_stored);
    if (!r.decision.may_share)
        leave_table(f); /* later requests need not wait for what they cannot have */
}

/* ---- the body ---- */

static bool add_piece(struct fill *f, struct block *b)
{
    if (f->pieces_count == f->pieces_capacity) {
        size_t capacity = f->pieces_capacity == 0 ? 8 : f->pieces_capacity * 2;
        struct fill_piece *p = realloc(f->piece, capacity * sizeof(*p));

        if (p == NULL)
            return false;
        f->piece = p;
        f->pieces_capacity = capacity;
    }
    f->piece[f->pieces_count++] = (struct fill_piece){.block = b, .at = f->bytes_in};
    return true;
}

/* Blocks never straddle the store's chunks, so that a chunk is made of whole pieces. */
static size_t block_bytes(const struct fill *f, size_t coming)
{
    size_t chunk_left = LIMIT_CHUNK_BYTES - f->chunk_bytes;
    uint64_t left = f->result.body_bytes == CACHE_BYTES_UNKNOWN
                        ? UINT64_MAX
                        : f->result.body_bytes - f->bytes_in;

    if (!f->is_backed) {
        size_t want = coming < SMALL_BLOCK_BYTES ? SMALL_BLOCK_BYTES : coming;

        return want < LIMIT_CHUNK_BYTES ? want : LIMIT_CHUNK_BYTES;
    }
    if (left < chunk_left)
        return (size_t)left;
    if (left == UINT64_MAX && f->bytes_in == 0)
        return FIRST_BLOCK_BYTES;
    return chunk_left;
}

/* Take as many of the bytes as one piece holds; 0 when out of memory.  Only the leader appends, so
 * only its end needs the lock. */
static size_t append_some(struct fill *f, const char *p, size_t n)
{
    struct fill_piece *last =
        f->pieces_count > f->first_piece ? &f->piece[f->pieces_count - 1] : NULL;
    size_t room = last == NULL ? 0 : last->block->capacity - last->bytes;
    bool is_new = false;

    if (room == 0) {
        struct block *b = block_new(block_bytes(f, n));
        bool ok;

        if (b == NULL)
            return 0;
        pthread_mutex_lock(&f->lock);
        ok = add_piece(f, b);
        pthread_mutex_unlock(&f->lock);
        if (!ok) {
            block_unref(b);
            return 0;
        }
        room = b->capacity;
        is_new = true;
    }
    n = n < room ? n : room;
    pthread_mutex_lock(&f->lock);
    last = &f->piece[f->pieces_count - 1];
    memcpy(last->block->data + last->bytes, p, n);
    if (f->put != NULL) {
        if (is_new || f->chunk_pieces == 0) {
            CHECK(f->chunk_pieces < FILL_PIECES_OF_CHUNK);
            f->chunk[f->chunk_pieces++] =
                (struct store_piece){.block = last->block, .p = last->block->data + last->bytes};
        }
        f->chunk[f->chunk_pieces - 1].n += n;
        f->chunk_bytes += n;
    }
    last->bytes += n;
    f->bytes_in += n;
    fill__wake_all(f);
    fill__trim(f);
    pthread_mutex_unlock(&f->lock);
    return n;
}

static void hand_over_chunk(struct fill *f)
{
    store_put_chunk(f->put, f->chunk, f->chunk_pieces);
    f->chunk_pieces = 0;
    f->chunk_bytes = 0;
}

/* From now on memory is all there is; readers behind what has left it are cut. */
static void stop_storing(struct fill *f)
{
    abort_put(f);
    pthread_mutex_lock(&f->lock);
    f->is_backed = false;
    store_unpin(f->cache->store, f->result.objid);
    f->chunk_pieces = 0;
    f->chunk_bytes = 0;
    pthread_mutex_unlock(&f->lock);
}

/* Must upstream wait?  Under the lock. */
static bool should_pause(const struct fill *f)
{
    if (f->is_backed)
        return block_bytes_in_use() > LIMIT_FILL_BYTES &&
               f->bytes_in > f->bytes_committed + LIMIT_UNBACKED_BYTES;
    return f->readers_count > 0 && f->bytes_in - fill__slowest(f) >= LIMIT_UNBACKED_BYTES;
}

/*
 * Cut those who hold up others: nearly a window behind for LIMIT_SLOW_READER_MS, however they creep
 * on.  A reader alone sets its own pace, and the connection's progress clock watches it.  Under the
 * lock.
 */
static void watch_readers(struct fill *f)
{
    int64_t now_ms = reactor_now_ms(f->worker->reactor);
    bool others = false, cut = false;

    for (struct fill_reader *r = f->readers; r != NULL; r = r->next) {
        if (fill__lag(f, r) < BEHIND_BYTES) {
            r->behind_since_ms = 0;
            others |= !r->is_cut;
        } else if (r->behind_since_ms == 0) {
            r->behind_since_ms = now_ms;
        }
    }
    for (struct fill_reader *r = f->readers; r != NULL && others; r = r->next)
        if (!r->is_cut && r->behind_since_ms != 0 &&
            now_ms - r->behind_since_ms >= LIMIT_SLOW_READER_MS)
            cut = r->is_cut = r->is_waiting = true;
    if (cut)
        fill__wake_all(f);
}

static int64_t recheck_ms(const struct fill *f)
{
    return f->is_backed ? RECHECK_MS : RECHECK_READERS_MS;
}

static bool on_body(void *user, const char *p, size_t n)
{
    struct fill *f = user;
    bool pause;

    /* exactly as many as the head said: what is too much belongs to nobody */
    if (f->result.body_bytes != CACHE_BYTES_UNKNOWN && n > f->result.body_bytes - f->bytes_in)
        n = (size_t)(f->result.body_bytes - f->bytes_in);
    while (n > 0) {
        size_t took = append_some(f, p, n);

        if (took == 0) {
            log_error("%s: out of memory for a body", f->rq.site->name);
            f->worker->fetcher.cancel(f->fetch);
            give_up(f, RESPONSE_UNREACHABLE);
            return true;
        }
        if (f->put != NULL && f->chunk_bytes == LIMIT_CHUNK_BYTES)
            hand_over_chunk(f);
        p += took;
        n -= took;
    }
    if (f->put != NULL && f->bytes_in > f->cache->object_bytes_max) {
        metrics_add(METRIC_NOT_STORED_TOO_LARGE, 1);
        stop_storing(f);
    }
    pthread_mutex_lock(&f->lock);
    if (!f->is_backed)
        watch_readers(f);
    pause = f->is_paused = should_pause(f);
    pthread_mutex_unlock(&f->lock);
    f->stuck_ms = 0;
    if (pause)
        reactor_timer_start(f->worker->reactor, &f->recheck, recheck_ms(f));
    return !pause;
}

/* ---- the end of the body ---- */

/* no-cache="a, b": the rest may be used again, these may not (RFC 9111 section 5.2.2.4).  *items is
 * the caller's to free. */
static bool without_no_cache_fields(const struct fill_result *r, struct head *out,
                                    struct http_field **items)
{
    struct slice rest = r->facts.cc.no_cache_fields, name;

    *out = r->head;
    *items = NULL;
    if (rest.p == NULL)
        return true;
    *items = malloc((r->head.fields.count + 1) * sizeof(**items));
    if (*items == NULL)
        return false;
    out->fields.count = 0;
    out->fields.item = *items;
    for (size_t i = 0; i < r->head.fields.count; i++) {
        bool named = false;

        rest = r->facts.cc.no_cache_fields;
        while (http_list_next(&rest, &name, NULL))
            named |= slice_eq_nocase(name, r->head.fields.item[i].name);
        if (!named)
            (*items)[out->fields.count++] = r->head.fields.item[i];
    }
    return true;
}

/* False when it cannot be stored after all. */
static bool publish(struct fill *f)
{
    struct fill_result *r = &f->result;
    struct head stored;
    struct http_field *items;
    struct buf head, marker;
    struct store_record rec = {.key = key_of(f, r->variant), .stamp = r->stamp};
    bool ok;

    buf_init(&head, LIMIT_RECORD_BYTES);
    buf_init(&marker, LIMIT_HEAD_BYTES);
    ok = without_no_cache_fields(r, &stored, &items);
    if (ok)
        head_encode(&stored, clock_boot(), &head);
    free(items);
    if (r->variant != 0)
        variant_marker(r->head.vary, r->facts.received.wall_ms / 1000, &marker);
    if (f->bytes_in > 0 && f->bytes_in <= LIMIT_INLINE_BODY_BYTES) {
        /* the first block holds more than an inline body, so it is one piece */
        CHECK(f->chunk_pieces == 1);
        rec.body = (struct slice){f->chunk[0].p, f->chunk[0].n};
    } else if (f->chunk_bytes > 0) {
        hand_over_chunk(f);
    }
    rec.head = buf_slice(&head);
    rec.marker = buf_slice(&marker);
    ok = ok && !head.failed && !marker.failed;
    if (ok)
        store_put_publish(&f->put, &rec, f->bytes_in);
    else
        stop_storing(f);
    buf_release(&marker);
    buf_release(&head);
    return ok;
}

/* All bytes are in: readers may go on, and so may newcomers until the store has it. */
static void finish(struct fill *f)
{
    bool refused, outdated, queued;

    pthread_mutex_lock(&f->lock);
    f->state = FILL_WHOLE;
    refused = f->put_is_over; /* the store says it once: before this, or to a fill that is whole */
    fill__wake_all(f);
    pthread_mutex_unlock(&f->lock);
    outdated = is_outdated(f);
    if ((refused || outdated) && f->put != NULL)
        stop_storing(f);
    queued =
        f->put != NULL ? publish(f) : f->result.is_freshened && !outdated && store_freshened(f);
    if (!queued) {
        set_state(f, FILL_STORED, RESPONSE_CAME);
        leave_table(f);
    }
    leader_leaves(f);
}

static void on_done(void *user, enum response_failure failure, bool whole, const char *text)
{
    struct fill *f = user;

    f->fetch = NULL;
    if (whole) {
        finish(f);
        return;
    }
    log_warn("%s: %.*s: %s", f->rq.site->name, (int)(f->rq.target.n < 200 ? f->rq.target.n : 200),
             f->rq.target.p, text);
    give_up(f, failure == RESPONSE_CAME ? RESPONSE_UNREACHABLE : failure);
}

/* ---- news from readers and from the store ---- */

void fill__post_control(struct fill *f)
{
    /* later the leader may have left, and its worker with it */
    if (f->is_posted || f->state >= FILL_WHOLE)
        return;
    f->is_posted = true;
    ref(f);
    reactor_post(f->worker->reactor, &f->control);
}

/* Nobody reads any more: worth finishing only when it is stored, and more than half or nearly all
 * is in. */
static bool is_worth_finishing(const struct fill *f)
{
    uint64_t all = f->result.body_bytes;

    if (f->is_background || f->readers_count > 0)
        return true;
    if (!f->has_result || !f->is_backed || all == CACHE_BYTES_UNKNOWN)
        return false;
    return f->bytes_in > all / 2 || all - f->bytes_in < LIMIT_UNBACKED_BYTES;
}

static void on_control(struct reactor_message *m)
{
    struct fill *f = (struct fill *)((char *)m - offsetof(struct fill, control));
    bool refused, go_on, resume = false;

    pthread_mutex_lock(&f->lock);
    f->is_posted = false;
    refused = f->put_is_over && f->put != NULL;
    pthread_mutex_unlock(&f->lock);
    if (refused)
        stop_storing(f);
    pthread_mutex_lock(&f->lock);
    go_on = f->is_over || f->is_resting || f->state >= FILL_WHOLE || is_worth_finishing(f);
    if (!go_on) {
        f->state = FILL_FAILED; /* at once, so that nobody joins what is being given up */
    } else if (f->is_paused && f->state < FILL_WHOLE && !should_pause(f)) {
        f->is_paused = false;
        resume = true;
    }
    pthread_mutex_unlock(&f->lock);
    if (!go_on) {
        if (f->fetch != NULL)
            f->worker->fetcher.cancel(f->fetch);
        end_now(f, RESPONSE_UNREACHABLE);
    } else if (resume && f->fetch != NULL) {
        reactor_timer_stop(f->worker->reactor, &f->recheck);
        f->worker->fetcher.resume(f->fetch);
    }
    fill__unref(f);
}

static void on_recheck(void *user)
{
    struct fill *f = user;
    bool resume;

    f->stuck_ms += RECHECK_MS;
    if (f->put != NULL && f->stuck_ms >= STUCK_MS) {
        metrics_add(METRIC_NOT_STORED_BUSY, 1);
        stop_storing(f);
    }
    pthread_mutex_lock(&f->lock);
    if (!f->is_backed)
        watch_readers(f);
    resume = f->is_paused && !should_pause(f);
    if (resume)
        f->is_paused = false;
    pthread_mutex_unlock(&f->lock);
    if (resume)
        f->worker->fetcher.resume(f->fetch);
    else
        reactor_timer_start(f->worker->reactor, &f->recheck, recheck_ms(f));
}
