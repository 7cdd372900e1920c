/* The life of a fill: born with its request, joined, ended, forgotten. */
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "cache/fill_priv.h"
#include "purge/purge.h"

enum {
    ARENA_BYTES_MAX = 512 * 1024, /* request, response head and what is made of
                                     them, without bodies */
    STUCK_MS = 2000,              /* the store's writer is behind for so long: go on without it */
};

/* ---- birth and death ---- */

static void free_fill(struct fill *f)
{
    for (size_t i = f->first_piece; i < f->pieces_count; i++)
        block_unref(f->piece[i].block);
    free(f->piece);
    digest_run_end(f->hash, NULL);
    if (f->result.objid != 0 && f->is_backed)
        store_unpin(f->cache->store, f->result.objid);
    f->hold.unref(f->hold.p);
    arena_release(&f->arena);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

void fill__ref(struct fill *f)
{
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
}

void fill__unref(struct fill *f)
{
    /* release: our writes are over before the last holder frees; acquire pairs
     * with it */
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

enum err fill__copy_fields(struct arena *a, const struct http_fields *from, struct http_fields *to)
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

/* The request outlives its client: everything it points to moves into the
 * arena. */
static enum err copy_request(struct fill *f, const struct cache_request *rq)
{
    struct http_fields *fields = arena_alloc(&f->arena, sizeof(*fields));

    f->rq = *rq;
    f->rq.arena = &f->arena;
    if (fields == NULL || fill__copy_fields(&f->arena, rq->fields, fields) != ERR_OK)
        return ERR_LIMIT;
    f->rq.fields = fields;
    if (rq->file != NULL) {
        f->file = (struct cache_file){.bytes = rq->file->bytes};
        f->file.sha256 =
            (const unsigned char *)arena_dup(
                &f->arena, (struct slice){(const char *)rq->file->sha256, DIGEST_SHA256_BYTES})
                .p;
        f->rq.file = &f->file;
        if (f->file.sha256 == NULL)
            return ERR_LIMIT;
    }
    return copy(&f->arena, &f->rq.method) && copy(&f->arena, &f->rq.host) &&
                   copy(&f->arena, &f->rq.target) && copy(&f->arena, &f->rq.body) &&
                   copy(&f->arena, &f->rq.client) && copy(&f->arena, &f->rq.id)
               ? ERR_OK
               : ERR_LIMIT;
}

/* What is validated: its fields, its stamp, its id.  The body stays the
 * readers' business. */
static enum err copy_lookup(struct fill *f, const struct lookup *l)
{
    uint64_t *tags;

    f->lookup = *l;
    f->lookup.hit.pinned = false;
    f->lookup.hit.head = f->lookup.hit.inline_body = (struct slice){0};
    f->lookup.purged = (struct store_stamp){0};
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
               ? fill__copy_fields(&f->arena, &l->head.fields, &f->lookup.head.fields)
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
                       .block = *plan->block,
                       .bytes_max = plan->bytes_max,
                       .is_shared = plan->is_shared,
                       .is_background = plan->is_background,
                       .asks_for_client = plan->asks_for_client,
                       .born_ms = clock_mono_ms(),
                       .start = {.fire = on_start, .user = f},
                       .recheck = {.fire = on_recheck, .user = f},
                       .control = {.run = on_control}};
    f->hold.ref(f->hold.p);
    pthread_mutex_init(&f->lock, NULL);
    arena_init(&f->arena, NULL, 0, ARENA_BYTES_MAX + plan->rq->body.n);
    f->block.etag = (struct slice){0}; /* what comes is compared by those who read it */
    e = copy_request(f, plan->rq);
    if (e == ERR_OK)
        e = copy_lookup(f, plan->lookup);
    if (e == ERR_OK && !copy(&f->arena, &f->key))
        e = ERR_LIMIT;
    if (e == ERR_OK) {
        f->purge_url = site_purge_url(f->rq.site, f->lookup.host, f->lookup.target, &f->arena);
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

void fill__leave_table(struct fill *f)
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
bool fill__is_outdated(const struct fill *f)
{
    return outdated_is(f->cache->outdated, f->lookup.text, f->born_ms);
}

/* Would it answer from the store?  Who comes after the head comes too late to
 * have asked for it. */
static bool is_reusable(const struct head *h)
{
    struct clock_moment now = clock_now();

    return !h->no_cache && freshness_state(&h->freshness, &now) == FRESHNESS_FRESH;
}

/* Under the fill's lock. */
static bool may_join(const struct fill *f)
{
    bool ok =
        f->state == FILL_OPEN ||
        ((f->state == FILL_STREAMING || f->state == FILL_WHOLE) && f->result.decision.may_share &&
         is_reusable(&f->result.head) && (f->is_backed || f->bytes_kept_from == 0));

    return ok && !is_purged(f) && !fill__is_outdated(f);
}

/*
 * Under the table's lock: join what is there, if it may be joined.  One hold of
 * the fill's lock, so that it is not given up between looking and joining.
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
    } else if (may_join(f) && (plan->is_shared || f->state == FILL_WHOLE)) {
        *out = fill__attach(f, w, ready, user);
        e = *out == NULL ? ERR_NOMEM : ERR_OK;
    }
    pthread_mutex_unlock(&f->lock);
    return e;
}

/* Under the table's lock: take the place of `old`, which goes on for those who
 * read it. */
static enum err take_place(struct fill *f, struct fill *old)
{
    enum err e = collapse_set(f->cache->collapse, f->key, f);

    if (e != ERR_OK)
        return e;
    fill__ref(f);
    if (old != NULL)
        fill__unref(old);
    else
        metrics_add(METRIC_FILLS, 1);
    return ERR_OK;
}

/* variant and text make the key: a fill of one variant is none of another.
 * Behind them is room for what sets HEADs apart. */
static struct slice table_key(const struct lookup *l, struct arena *a)
{
    char *p = arena_alloc(a, l->text.n + sizeof(l->variant) + 1);

    if (p == NULL)
        return (struct slice){0};
    memcpy(p, &l->variant, sizeof(l->variant));
    memcpy(p + sizeof(l->variant), l->text.p, l->text.n);
    p[l->text.n + sizeof(l->variant)] = '\n'; /* in no text */
    return (struct slice){p, l->text.n + sizeof(l->variant)};
}

static void end_now(struct fill *f, enum response_failure failure);

static enum err attach_leader(struct fill *f, struct cache_worker *w, const struct fill_plan *plan,
                              void (*ready)(void *), void *user, struct fill_reader **out)
{
    pthread_mutex_lock(&f->lock);
    *out = fill__attach(f, w, ready, user);
    if (*out != NULL)
        (*out)->interim = plan->interim;
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

/* A range or a HEAD: what they ask of may be there whole, though the store does
 * not show it yet. */
static enum err join_whole(struct cache_worker *w, const struct fill_plan *plan, struct slice key,
                           void (*ready)(void *user), void *user, struct fill_reader **out)
{
    struct fill_plan whole = *plan;
    bool leads;

    whole.is_shared = false;
    return join_or_lead(w, &whole, key, NULL, ready, user, out, &leads);
}

enum err fill_enter(struct cache_worker *w, const struct fill_plan *wanted,
                    void (*ready)(void *user), void *user, struct fill_reader **out,
                    bool *out_leads)
{
    struct slice key = table_key(wanted->lookup, wanted->rq->arena);
    struct fill_plan own = *wanted;
    const struct fill_plan *plan = &own;
    struct fill *f;
    enum err e;

    *out = NULL;
    *out_leads = false;
    if (key.p == NULL)
        return ERR_LIMIT;
    if (own.is_shared && !own.is_background &&
        recent_has(w->recent, RECENT_NOT_SHARED, key, purge_head(w->cache->purge),
                   reactor_now_ms(w->reactor))) {
        metrics_add(METRIC_HIT_FOR_MISS, 1);
        own.is_shared = false;
    }
    if (plan->joins_whole) {
        e = join_whole(w, plan, key, ready, user, out);
        if (e != ERR_NOT_FOUND)
            return e;
    }
    if (plan->is_head)
        key.n++;
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
        e = attach_leader(f, w, plan, ready, user, out);
    if (!*out_leads || e != ERR_OK)
        end_now(f, RESPONSE_OVERLOADED);
    return e;
}

/* ---- the end, on the leading worker ---- */

/* Nothing more will come: the leader lets go of it. */
void fill__leader_leaves(struct fill *f)
{
    CHECK(!f->is_over);
    f->is_over = true;
    f->fetch = NULL;
    reactor_timer_stop(f->worker->reactor, &f->start);
    reactor_timer_stop(f->worker->reactor, &f->recheck);
    LIST_REMOVE(f->worker->fills, f);
    fill__unref(f);
}

void fill__set_state(struct fill *f, enum fill_state s, enum response_failure failure)
{
    pthread_mutex_lock(&f->lock);
    f->state = s;
    f->failure = failure;
    fill__wake_all(f);
    pthread_mutex_unlock(&f->lock);
}

void fill__abort_put(struct fill *f)
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
    fill__abort_put(f);
    fill__set_state(f, FILL_FAILED, failure);
    fill__leave_table(f);
    fill__leader_leaves(f);
}

/*
 * End it without an answer, or without the rest of one.  A refresh that failed
 * rests in the table for a moment: each hit on the stale answer would begin the
 * next one.
 */
void fill__give_up(struct fill *f, enum response_failure failure)
{
    if (!f->is_background) {
        end_now(f, failure);
        return;
    }
    fill__abort_put(f);
    fill__set_state(f, FILL_FAILED, failure);
    f->fetch = NULL;
    f->is_resting = true;
    reactor_timer_stop(f->worker->reactor, &f->recheck);
    reactor_timer_start(f->worker->reactor, &f->start, LIMIT_CLIENT_RELOAD_MS);
}

/* Fail it when nobody reads, in one hold of the lock, so that nobody joins what
 * is being given up.
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

bool fill__is_pass(const struct fill *f)
{
    return f->action == REQUEST_PASS || f->action == REQUEST_RANGE_PASS;
}

static enum request_conditions conditions_of(const struct fill *f)
{
    if (fill__is_pass(f))
        return CONDITIONS_AS_THEY_CAME;
    if (f->action == REQUEST_VALIDATE)
        return f->asks_for_client ? CONDITIONS_BOTH : CONDITIONS_STORED;
    return f->asks_for_client && !f->lookup.found ? CONDITIONS_CLIENTS : CONDITIONS_NONE;
}

static void send_request(struct fill *f)
{
    static const struct cache_fetch_events events = {
        .interim = fill__on_interim,
        .head = fill__on_head,
        .body = fill__on_body,
        .done = fill__on_done,
    };
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
        .position = fence_position(f),
        .upgrade = f->rq.upgrade,
        .upgrade_user = f->rq.upgrade_user,
        .is_direct = f->is_direct,
        .is_idempotent = f->facts.method != METHOD_OTHER || slice_eq(f->rq.method, SLICE("PUT")) ||
                         slice_eq(f->rq.method, SLICE("DELETE")),
    };
    enum err e = request_fields_make(f->cache, &f->rq, &f->lookup, &f->block, conditions_of(f),
                                     &f->arena, &fields);

    if (e == ERR_OK)
        e = f->worker->fetcher.start(f->worker->fetcher.user, &rq, &events, f, &f->fetch);
    if (e != ERR_OK) {
        log_error("%s: cannot ask the origin: %s", f->rq.site->name, err_name(e));
        fill__give_up(f, RESPONSE_OVERLOADED);
    }
}

static void on_start(void *user)
{
    struct fill *f = user;

    if (f->is_resting) {
        if (f->state == FILL_WHOLE)
            fill__set_state(f, FILL_STORED, RESPONSE_CAME);
        fill__leave_table(f);
        fill__leader_leaves(f);
    } else if (abandon(f)) {
        end_now(f, RESPONSE_OVERLOADED);
    } else {
        send_request(f);
    }
}

/* ---- news from readers and from the store ---- */

void fill__post_control(struct fill *f)
{
    /* later the leader may have left, and its worker with it */
    if (f->is_posted || f->state >= FILL_WHOLE)
        return;
    f->is_posted = true;
    fill__ref(f);
    reactor_post(f->worker->reactor, &f->control);
}

/* Nobody reads any more: worth finishing only when it is stored, and more than
 * half or nearly all is in. */
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
        fill__stop_storing(f);
    pthread_mutex_lock(&f->lock);
    go_on = f->is_over || f->is_resting || f->state >= FILL_WHOLE || is_worth_finishing(f);
    if (!go_on) {
        f->state = FILL_FAILED; /* at once, so that nobody joins what is being given up */
    } else if (f->is_paused && f->state < FILL_WHOLE && !fill__should_pause(f)) {
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

    f->stuck_ms += FILL_RECHECK_MS;
    if (f->put != NULL && f->stuck_ms >= STUCK_MS) {
        metrics_add(METRIC_NOT_STORED_BUSY, 1);
        fill__stop_storing(f);
    }
    pthread_mutex_lock(&f->lock);
    if (!f->is_backed)
        fill__watch_readers(f);
    resume = f->is_paused && !fill__should_pause(f);
    if (resume)
        f->is_paused = false;
    pthread_mutex_unlock(&f->lock);
    if (resume)
        f->worker->fetcher.resume(f->fetch);
    else
        reactor_timer_start(f->worker->reactor, &f->recheck, fill__recheck_ms(f));
}
