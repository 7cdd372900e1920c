/*
 * The fence (purge-protocol rules 13 to 16): a request between nodes says up to where its sender
 * has heard of purges, and the answer up to where it was judged.  So it does not matter in which
 * order nodes hear of a purge.
 */
#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "cache/fill_priv.h"
#include "purge/purge.h"

enum { LOOK_MS = 5 }; /* how often a node that is behind looks whether it has caught up */

/* What was fetched for this request alone, after it came, by a node that cannot compare positions.
 */
#define CHECKED_FRESH SLICE("fresh")

/* ---- the side that is asked ---- */

static void settle(struct cache_exchange *x, enum purge_knows knows)
{
    struct fence *f = &x->fence;

    f->is_alone = knows != PURGE_HAS;
    f->is_unknown = knows == PURGE_UNKNOWN;
    if (f->is_alone)
        metrics_add(METRIC_FENCE_ALONE, 1);
}

/* With what is known by now: at once, or when this node has caught up with who asks. */
static enum fence_start compare(struct cache_exchange *x);

static bool is_lagging(const struct cache_exchange *x)
{
    return atomic_load_explicit(&x->worker->cache->is_lagging, memory_order_acquire);
}

/* What is stored may have been purged while this node was off. */
static void on_lag(void *user)
{
    struct cache_exchange *x = user;
    struct fence *f = &x->fence;

    if (is_lagging(x) && reactor_now_ms(x->worker->reactor) < f->lag_until_ms) {
        reactor_timer_start(x->worker->reactor, &f->timer, LOOK_MS);
        return;
    }
    f->is_lagging = is_lagging(x);
    if (compare(x) == FENCE_GO_ON)
        engine_go_on(x);
}

static void on_look(void *user)
{
    struct cache_exchange *x = user;
    struct fence *f = &x->fence;
    enum purge_knows knows = purge_knows(x->worker->cache->purge, &f->theirs);

    if (knows == PURGE_IS_BEHIND && reactor_now_ms(x->worker->reactor) < f->until_ms) {
        reactor_timer_start(x->worker->reactor, &f->timer, LOOK_MS);
        return;
    }
    settle(x, knows);
    engine_go_on(x);
}

enum fence_start fence_start(struct cache_exchange *x)
{
    struct cache *c = x->worker->cache;
    struct fence *f = &x->fence;
    const struct http_field *field = NULL;

    f->is_asked = x->rq.is_peer && c->role.trusts_peers;
    if (f->is_asked)
        field = http_fields_find(x->rq.fields, SLICE("selvage-position"));
    f->has_position = field != NULL; /* else it does not keep what it gets, or has no purges */
    if (field != NULL && purge_position_parse(field->value, &f->theirs) != ERR_OK) {
        metrics_add(METRIC_JOURNAL_BAD_POSITIONS, 1);
        return FENCE_REFUSED;
    }
    if (!is_lagging(x) || x->facts.method == METHOD_OTHER || x->rq.file != NULL)
        return compare(x);
    f->timer = (struct reactor_timer){.fire = on_lag, .user = x};
    f->lag_until_ms = reactor_now_ms(x->worker->reactor) + LIMIT_LAG_WAIT_MS;
    reactor_timer_start(x->worker->reactor, &f->timer, LOOK_MS);
    return FENCE_WAITS;
}

static enum fence_start compare(struct cache_exchange *x)
{
    struct cache *c = x->worker->cache;
    struct fence *f = &x->fence;
    enum purge_knows knows;

    if (f->is_asked)
        purge_position(c->purge, &f->checked);
    if (!f->has_position)
        return FENCE_GO_ON;
    knows = purge_knows(c->purge, &f->theirs);
    if (knows == PURGE_IS_BEHIND && !purge_follows(c->purge)) {
        metrics_add(METRIC_JOURNAL_BAD_POSITIONS, 1); /* this node's journal was set back */
        knows = PURGE_UNKNOWN;
    }
    if (knows == PURGE_IS_BEHIND) {
        f->timer = (struct reactor_timer){.fire = on_look, .user = x};
        f->until_ms = reactor_now_ms(x->worker->reactor) + LIMIT_FENCE_WAIT_MS;
        reactor_timer_start(x->worker->reactor, &f->timer, LOOK_MS);
        return FENCE_WAITS;
    }
    settle(x, knows);
    return FENCE_GO_ON;
}

void fence_end(struct cache_exchange *x)
{
    if (x->fence.until_ms != 0 || x->fence.lag_until_ms != 0)
        reactor_timer_stop(x->worker->reactor, &x->fence.timer);
}

void fence_note(struct cache_exchange *x)
{
    if (x->fence.is_asked)
        purge_position(x->worker->cache->purge, &x->fence.checked);
}

/*
 * Rule 14: what was fetched for it alone was asked for after the request came, and so after every
 * purge that its sender knew of.
 */
struct slice fence_checked(struct cache_exchange *x)
{
    struct fence *f = &x->fence;

    if (!f->is_asked)
        return (struct slice){0};
    if (f->is_unknown)
        return CHECKED_FRESH;
    purge_position_print(f->is_alone ? &f->theirs : &f->checked, f->text);
    return slice_of(f->text);
}

/* ---- the side that asks ---- */

struct slice fence_position(struct fill *f)
{
    char text[PURGE_POSITION_TEXT_BYTES];

    if (f->facts.method == METHOD_OTHER)
        return (struct slice){0};
    purge_position(f->cache->purge, &f->sent);
    purge_position_print(&f->sent, text);
    return arena_dup(&f->arena, slice_of(text));
}

/* Rule 15: can this node show itself that nothing in (checked, own] covers it? */
static bool is_alive_since(const struct fill *f, const struct fill_result *r, uint64_t checked)
{
    struct purge_subject s = {.birth = checked,
                              .site = r->stamp.site,
                              .purge_url = r->stamp.purge_url,
                              .tags = r->stamp.tags,
                              .tags_count = r->stamp.tags_count,
                              .tags_overflow = r->stamp.tags_overflow};

    return purge_judge(f->cache->purge, &s) != PURGE_DEAD &&
           checked >= purge_floor(f->cache->purge);
}

enum fence_verdict fence_judge(const struct fill *f, const struct cache_fetch_head *h,
                               struct fill_result *r)
{
    struct slice text = http_fields_value(h->fields, SLICE("selvage-checked"));
    struct purge_position checked;
    uint64_t birth;

    if (!h->is_peer || f->facts.method == METHOD_OTHER)
        return FENCE_HOLDS;
    if (slice_eq(text, CHECKED_FRESH))
        return FENCE_NOT_STORED; /* rule 30 */
    if (purge_position_parse(text, &checked) != ERR_OK || !purge_position_is_of(&checked, &f->sent))
        return FENCE_BROKEN;
    birth = purge_position_birth(&checked);
    if (checked.n < f->sent.n && !is_alive_since(f, r, birth))
        return FENCE_BROKEN;
    if (birth < r->stamp.birth) /* rule 16 */
        r->stamp.birth = birth;
    return FENCE_HOLDS;
}

/* ---- the lease (purge-protocol section 6) ---- */

bool lease_is_lost(const struct cache *c, int64_t now_ms)
{
    return !purge_has_lease(c->purge, now_ms, c->journal_grace_ms);
}

bool lease_covers(const struct cache *c, const struct head *h, int64_t now_ms)
{
    int64_t received_ms = h->freshness.received.mono_ms;

    if (c->on_journal_lost == CACHE_LOST_SERVE || !lease_is_lost(c, now_ms))
        return true;
    return received_ms != FRESHNESS_ABSENT && now_ms - received_ms <= c->journal_grace_ms;
}
