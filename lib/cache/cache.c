/* The process's cache and its workers: made and ended. */
#include "cache/cache.h"

#include <stdlib.h>

#include "base/check.h"
#include "cache/cold.h"
#include "cache/fill.h"

/* Larger objects would push out too much of what others ask for. */
enum { OBJECTS_OF_A_STORE = 10 };

enum err cache_new(const struct cache_options *opt, struct cache **out)
{
    struct cache *c = calloc(1, sizeof(*c));
    char *node;
    enum err e;

    if (c == NULL)
        return ERR_NOMEM;
    c->role = *opt->role;
    c->store = opt->store;
    c->purge = opt->purge;
    c->files = opt->files;
    c->journal_grace_ms = opt->journal_grace_ms;
    c->on_journal_lost = opt->on_journal_lost;
    c->object_bytes_max = opt->store_bytes / OBJECTS_OF_A_STORE;
    node = strdup(opt->node);
    c->node = slice_of(node);
    e = node == NULL ? ERR_NOMEM : collapse_new(&c->collapse);
    if (e == ERR_OK)
        e = outdated_new(&c->outdated);
    if (e == ERR_OK)
        e = hits_new(&c->hits);
    if (e == ERR_OK)
        e = memo_new(&c->memo);
    if (e == ERR_OK)
        e = cold_new(c->store, c->files, &c->cold);
    if (e != ERR_OK) {
        cache_free(c);
        return e;
    }
    *out = c;
    return ERR_OK;
}

void cache_free(struct cache *c)
{
    if (c == NULL)
        return;
    cold_free(c->cold);
    /* what was being published when the workers left still knows the table */
    if (c->collapse != NULL)
        store_flush(c->store);
    collapse_free(c->collapse);
    outdated_free(c->outdated);
    hits_free(c->hits);
    memo_free(c->memo);
    free((void *)(uintptr_t)c->node.p);
    free(c);
}

void cache_lags(struct cache *c, bool lags)
{
    /* release: what was caught up with is in force; pairs with the acquire in fence.c */
    atomic_store_explicit(&c->is_lagging, lags, memory_order_release);
}

enum err cache_worker_new(struct cache *c, struct reactor *r, const struct cache_fetcher *f,
                          struct cache_worker **out)
{
    struct cache_worker *w = calloc(1, sizeof(*w));
    enum err e;

    if (w == NULL)
        return ERR_NOMEM;
    *w = (struct cache_worker){.cache = c, .reactor = r, .fetcher = *f};
    e = recent_new(&w->recent);
    if (e == ERR_OK)
        e = store_reader_new(c->store, &w->reader);
    if (e == ERR_OK && c->files != NULL)
        e = files_reader_new(c->files, &w->files);
    if (e != ERR_OK) {
        store_reader_free(w->reader);
        recent_free(w->recent);
        free(w);
        return e;
    }
    *out = w;
    return ERR_OK;
}

void cache_worker_free(struct cache_worker *w)
{
    if (w == NULL)
        return;
    fill_stop_all(w);
    cold_leave(w->cache->cold, w->reactor);
    store_reader_free(w->reader);
    files_reader_free(w->files);
    recent_free(w->recent);
    free(w);
}

const char *cache_verdict_name(enum cache_verdict v)
{
    static const char *const name[] = {
        [VERDICT_HIT] = "hit",
        [VERDICT_STALE] = "stale",
        [VERDICT_REVALIDATED] = "revalidated",
        [VERDICT_MISS] = "miss",
        [VERDICT_COLLAPSED] = "collapsed",
        [VERDICT_PASS] = "pass",
        [VERDICT_ERROR] = "error",
    };

    CHECK((size_t)v < sizeof(name) / sizeof(name[0]));
    return name[v];
}

const char *cache_reason(const struct cache_exchange *x)
{
    return reason_token(x->reason);
}
