/*
 * cache_world: a cache with its real store and purge table in a directory of its own, workers on
 * reactors turned by hand, origins that answer when told, and clients that keep what they got.
 */
#ifndef TESTS_CACHE_WORLD_H
#define TESTS_CACHE_WORLD_H

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/limits.h"
#include "cache/cache.h"
#include "cache/judge.h"
#include "cache/variant.h"
#include "fake_fetcher.h"
#include "fake_reactor.h"
#include "http/url.h"
#include "release/files.h"

enum { WORKERS_MAX = 4, WAIT_MS = 20000 };

#define HOST "www.example.com"

struct world {
    char dir[64];
    struct purge *purge;
    struct store *store;
    struct files *files; /* NULL: nothing is published here */
    struct cache *cache;
    unsigned workers;
    bool has_peers;
    struct reactor *reactor[WORKERS_MAX];
    struct fake_fetcher *origin[WORKERS_MAX];
    struct cache_worker *worker[WORKERS_MAX];
    struct site site;
    struct site_rule rule; /* site.rules_count 1 switches it on */
    _Atomic int holds;
};

static const struct role world_role = {.name = "edge",
                                       .faces_public = true,
                                       .may_serve_swr = true,
                                       .strips_tags = true,
                                       .owns_journal = true};

/* What world_open() makes; a test sets it before. */
struct world_kind {
    const struct role *role;
    bool follows, has_peers; /* its purge journal; its clients */
    bool has_files;          /* it publishes */
    int64_t grace_ms;
    enum cache_journal_lost on_journal_lost;
    const char *node; /* NULL: "selvage-test" */
};

static struct world_kind world_kind = {.role = &world_role};

static inline void world_ref(void *p)
{
    atomic_fetch_add(&((struct world *)p)->holds, 1);
}

static inline void world_unref(void *p)
{
    atomic_fetch_sub(&((struct world *)p)->holds, 1);
}

static inline int world_remove_one(const char *path, const struct stat *st, int type,
                                   struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static inline void world_open(struct world *w, unsigned workers, uint64_t store_bytes)
{
    char ctl[80], dir[80];
    const char *why;
    static const char *const hosts[] = {HOST};

    memset(w, 0, sizeof(*w));
    snprintf(w->dir, sizeof(w->dir), "/tmp/cache-test-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(ctl, sizeof(ctl), "%s/ctl", w->dir);
    snprintf(dir, sizeof(dir), "%s/store-0", w->dir);
    w->has_peers = world_kind.has_peers;
    assert_int_equal(world_kind.follows ? purge_open_follower(ctl, &w->purge)
                                        : purge_open(ctl, &w->purge),
                     ERR_OK);
    {
        struct store_options opt = {.dir = dir,
                                    .bytes_max = store_bytes,
                                    .boot = purge_boot(w->purge),
                                    .ctl_id = purge_ctl_id(w->purge),
                                    .head = purge_head(w->purge),
                                    .judge = cache_judge(w->purge),
                                    .merge = variant_merge};
        assert_int_equal(store_open(&opt, &w->store, &why), ERR_OK);
    }
    if (world_kind.has_files) {
        struct files_options opt = {.dir = dir, .bytes_max = 64 << 20};

        snprintf(dir, sizeof(dir), "%s/files", w->dir);
        assert_int_equal(files_open(&opt, &w->files), ERR_OK);
    }
    {
        struct cache_options opt = {.role = world_kind.role,
                                    .journal_grace_ms = world_kind.grace_ms,
                                    .on_journal_lost = world_kind.on_journal_lost,
                                    .node =
                                        world_kind.node == NULL ? "selvage-test" : world_kind.node,
                                    .store = w->store,
                                    .purge = w->purge,
                                    .files = w->files,
                                    .store_bytes = store_bytes};
        assert_int_equal(cache_new(&opt, &w->cache), ERR_OK);
    }
    w->rule = (struct site_rule){.path = "*",
                                 .ttl_s = SITE_UNSET,
                                 .default_ttl_s = SITE_UNSET,
                                 .stale_while_revalidate_s = SITE_UNSET,
                                 .stale_if_error_s = SITE_UNSET,
                                 .line = 7};
    w->site = (struct site){.name = "www",
                            .id = 1,
                            .hosts = {hosts, 1},
                            .rules = &w->rule,
                            .negative_404_s = SITE_UNSET,
                            .negative_5xx_s = SITE_UNSET};
    w->workers = workers;
    for (unsigned i = 0; i < workers; i++) {
        struct cache_fetcher face;

        w->reactor[i] = fake_reactor_new(FAKE_CLOCK_BY_HAND);
        w->origin[i] = fake_fetcher_new();
        face = fake_fetcher_face(w->origin[i]);
        assert_int_equal(cache_worker_new(w->cache, w->reactor[i], &face, &w->worker[i]), ERR_OK);
    }
}

/* Until no worker has anything to do now. */
static inline void world_drain(struct world *w)
{
    size_t count;

    do {
        count = 0;
        for (unsigned i = 0; i < w->workers; i++)
            count += fake_reactor_drain(w->reactor[i]);
    } while (count > 0);
}

/* What is being stored is stored, and told. */
static inline void world_settle(struct world *w)
{
    world_drain(w);
    store_flush(w->store);
    world_drain(w);
}

static inline void world_close(struct world *w)
{
    for (unsigned i = 0; i < w->workers; i++)
        cache_worker_free(w->worker[i]);
    world_drain(w);
    cache_free(w->cache);
    for (unsigned i = 0; i < w->workers; i++) {
        assert_int_equal(fake_reactor_timers(w->reactor[i]), 0);
        fake_reactor_free(w->reactor[i]);
        fake_fetcher_free(w->origin[i]);
    }
    store_close(w->store);
    files_close(w->files);
    purge_close(w->purge);
    assert_int_equal(atomic_load(&w->holds), 0); /* every fill is gone */
    nftw(w->dir, world_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline uint64_t world_purge(struct world *w, enum purge_kind kind, const char *text,
                                   bool soft)
{
    struct purge_scope scope = {.kind = kind, .text = slice_of(text)};
    uint64_t head = 0;

    assert_int_equal(purge_append(w->purge, &scope, 1, soft, (struct slice){NULL, 0}, &head),
                     ERR_OK);
    return head;
}

/* ---- clients ---- */

struct asker {
    struct world *world;
    unsigned worker;
    struct arena arena;
    struct cache_exchange *x; /* NULL: not begun, or ended */
    struct http_fields request;
    struct http_fields fields; /* copied */
    struct cache_answer answer;
    bool has_answer, is_over;
    bool leaves_at_answer, leaves_at_ready; /* from inside the callback */
    bool reads;                             /* goes on reading when ready */
    enum cache_body end;
    struct buf body;
    uint64_t body_got;
    unsigned readies;
    unsigned interims;
    char interim[200]; /* the last one, as "status name: value ..." */
};

static inline void asker_end(struct asker *a)
{
    if (a->x != NULL)
        cache_end(a->x);
    a->x = NULL;
}

static inline void asker_read_some(struct asker *a, uint64_t bytes)
{
    struct cache_piece p;
    uint64_t until = a->body_got + bytes;

    while (a->body_got < until) {
        size_t max = until - a->body_got < 16384 ? (size_t)(until - a->body_got) : 16384;

        a->end = cache_body_next(a->x, max, &p);
        assert_true(p.n <= max);
        buf_add(&a->body, (struct slice){p.p, p.n});
        a->body_got += p.n;
        block_unref(p.block);
        if (a->end != CACHE_BODY_MORE) {
            a->is_over = a->end != CACHE_BODY_WAIT;
            return;
        }
        assert_true(p.n > 0);
    }
}

static inline void asker_read(struct asker *a)
{
    if (a->answer.has_body && !a->is_over)
        asker_read_some(a, UINT64_MAX / 2);
}

static inline void asker_on_answer(void *user, const struct cache_answer *an)
{
    struct asker *a = user;

    assert_false(a->has_answer);
    a->answer = *an;
    a->has_answer = true;
    for (size_t i = 0; i < an->fields->count; i++)
        assert_int_equal(http_fields_add(&a->fields, &a->arena, 500, an->fields->item[i].name,
                                         an->fields->item[i].value),
                         ERR_OK);
    if (a->leaves_at_answer && a->x != NULL)
        asker_end(a);
}

static inline void asker_on_ready(void *user)
{
    struct asker *a = user;

    assert_non_null(a->x);
    a->readies++;
    if (a->leaves_at_ready)
        asker_end(a);
    else if (a->reads)
        asker_read(a);
}

static inline void asker_on_interim(void *user, int status, const struct http_fields *fields)
{
    struct asker *a = user;
    int n = snprintf(a->interim, sizeof(a->interim), "%d", status);

    assert_false(a->has_answer);
    a->interims++;
    for (size_t i = 0; i < fields->count; i++)
        n += snprintf(a->interim + n, sizeof(a->interim) - (size_t)n, " %.*s: %.*s",
                      (int)fields->item[i].name.n, fields->item[i].name.p,
                      (int)fields->item[i].value.n, fields->item[i].value.p);
}

static const struct cache_client asker_client = {
    .answer = asker_on_answer, .ready = asker_on_ready, .interim = asker_on_interim};

/* The file of a release that the next requests mean; NULL: none. */
static const struct cache_file *world_asks_for;

/* `fields` as "name: value\n" lines. */
static inline void ask(struct world *w, unsigned worker, struct asker *a, const char *method,
                       const char *target, const char *fields)
{
    struct cache_request rq = {.site = &w->site,
                               .hold = {w, world_ref, world_unref},
                               .file = world_asks_for,
                               .method = slice_of(method),
                               .host = SLICE(HOST),
                               .target = slice_of(target),
                               .is_https = true,
                               .is_peer = w->has_peers,
                               .fields = &a->request,
                               .client = SLICE("192.0.2.1"),
                               .id = SLICE("id-1"),
                               .via = "1.1",
                               .arena = &a->arena};
    struct slice text;

    memset(a, 0, sizeof(*a));
    a->world = w;
    a->worker = worker;
    arena_init(&a->arena, NULL, 0, 2 << 20);
    rq.target = arena_dup(&a->arena, rq.target); /* borrowed until the end */
    text = arena_dup(&a->arena, slice_of(fields));
    buf_init(&a->body, 256 << 20);
    while (text.n > 0) {
        struct slice line = slice_head(text, slice_index(text, '\n'));
        size_t colon = slice_index(line, ':');

        assert_int_equal(http_fields_add(&a->request, &a->arena, 100, slice_head(line, colon),
                                         slice_trim(slice_from(line, colon + 1))),
                         ERR_OK);
        text = slice_from(text, line.n + 1);
    }
    a->x = cache_start(w->worker[worker], &rq, &asker_client, a);
    assert_non_null(a->x);
}

static inline void asker_release(struct asker *a)
{
    asker_end(a);
    buf_release(&a->body);
    arena_release(&a->arena);
}

static inline const char *asker_field(const struct asker *a, const char *name)
{
    struct slice v = http_fields_value(&a->fields, slice_of(name));
    static char text[4][512];
    static unsigned at;

    if (v.p == NULL)
        return NULL;
    at = (at + 1) % 4;
    snprintf(text[at], sizeof(text[at]), "%.*s", (int)v.n, v.p);
    return text[at];
}

/* The whole answer is there, and it is this body. */
static inline void asker_got(struct asker *a, int status, const char *body)
{
    assert_true(a->has_answer);
    assert_int_equal(a->answer.status, status);
    asker_read(a);
    if (a->answer.has_body)
        assert_int_equal(a->end, CACHE_BODY_END);
    assert_int_equal(a->body.n, strlen(body));
    assert_memory_equal(a->body.p == NULL ? "" : a->body.p, body, a->body.n);
    if (a->answer.body_bytes != CACHE_BYTES_UNKNOWN && a->answer.has_body)
        assert_int_equal(a->answer.body_bytes, a->body.n);
}

/* Store one thing: a miss from beginning to end. */
static inline void world_put(struct world *w, const char *target, const char *request, int status,
                             const char *fields, const char *body)
{
    struct asker a;

    ask(w, 0, &a, "GET", target, request);
    world_drain(w);
    fake_fetch_answer(fake_fetcher_at(w->origin[0], fake_fetcher_count(w->origin[0]) - 1), status,
                      fields, body);
    world_drain(w);
    asker_got(&a, status, body);
    asker_release(&a);
    world_settle(w);
}

static inline struct fake_fetch *world_last(struct world *w, unsigned worker)
{
    return fake_fetcher_at(w->origin[worker], fake_fetcher_count(w->origin[worker]) - 1);
}

static inline size_t world_requests(const struct world *w)
{
    size_t n = 0;

    for (unsigned i = 0; i < w->workers; i++)
        n += fake_fetcher_count(w->origin[i]);
    return n;
}

#endif
