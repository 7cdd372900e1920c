/* store_dir: a store in a directory of its own, a judge that does as it is told, and objects that
 * prove themselves. */
#ifndef TESTS_STORE_DIR_H
#define TESTS_STORE_DIR_H

#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/digest.h"
#include "base/limits.h"
#include "store/store.h"
#include "table/table.h"

static char store_root[256], store_path[300];

/* What is purged: everything born below `dead_below`, or of the site `dead_site`. */
static struct {
    _Atomic uint64_t head, floor, dead_below, stale_below;
    _Atomic unsigned asked;
} store_judge_says;

static inline enum store_verdict store_fake_judge(void *user, const struct store_stamp *stamp)
{
    (void)user;
    atomic_fetch_add(&store_judge_says.asked, 1);
    if (stamp->birth < atomic_load(&store_judge_says.dead_below))
        return STORE_DEAD;
    return stamp->birth < atomic_load(&store_judge_says.stale_below) ? STORE_STALE : STORE_USABLE;
}

static inline uint64_t store_fake_floor(void *user)
{
    (void)user;
    return atomic_load(&store_judge_says.floor);
}

static inline uint64_t store_fake_head(void *user)
{
    (void)user;
    return atomic_load(&store_judge_says.head);
}

/* The marker is the list of variants' numbers, a byte each; at most 3. */
static inline bool store_fake_merge(struct slice old, struct slice add, uint64_t variant, char *out,
                                    size_t out_max, size_t *out_bytes)
{
    (void)add;
    (void)out_max;
    *out_bytes = 0;
    if (old.n > 0 && memchr(old.p, (int)variant, old.n) != NULL)
        return true;
    if (old.n >= 3)
        return false;
    if (old.n > 0)
        memcpy(out, old.p, old.n);
    out[old.n] = (char)variant;
    *out_bytes = old.n + 1;
    return true;
}

/* In memory where there is room: thousands of commits need not wait for a disk. */
static inline const char *store_dir_parent(void)
{
    struct statvfs st;

    if (getenv("TMPDIR") != NULL)
        return getenv("TMPDIR");
    if (access("/dev/shm", W_OK) == 0 && statvfs("/dev/shm", &st) == 0 &&
        (uint64_t)st.f_bavail * st.f_frsize > 256 * MIB)
        return "/dev/shm";
    return "/tmp";
}

static inline int store_dir_make(void **state)
{
    (void)state;
    store_judge_says.head = 100;
    store_judge_says.floor = 0;
    store_judge_says.dead_below = 0;
    store_judge_says.stale_below = 0;
    store_judge_says.asked = 0;
    snprintf(store_root, sizeof(store_root), "%s/store-test-XXXXXX", store_dir_parent());
    if (mkdtemp(store_root) == NULL)
        return -1;
    snprintf(store_path, sizeof(store_path), "%s/store-0", store_root);
    return 0;
}

static inline int store_dir_remove_one(const char *path, const struct stat *st, int type,
                                       struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

static inline int store_dir_remove(void **state)
{
    (void)state;
    return nftw(store_root, store_dir_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline struct store_options store_options_of(uint64_t bytes_max)
{
    return (struct store_options){
        .dir = store_path,
        .bytes_max = bytes_max,
        .boot = 1,
        .ctl_id = 77,
        .head = atomic_load(&store_judge_says.head),
        .judge = {.judge = store_fake_judge, .floor = store_fake_floor, .head = store_fake_head},
        .merge = store_fake_merge,
    };
}

static inline struct store *store_must_open_with(const struct store_options *opt, const char **why)
{
    struct store *s = NULL;

    table_guard_install();
    assert_int_equal(store_open(opt, &s, why), ERR_OK);
    return s;
}

static inline struct store *store_must_open(uint64_t bytes_max)
{
    struct store_options opt = store_options_of(bytes_max);
    const char *why = "";
    struct store *s = store_must_open_with(&opt, &why);

    assert_null(why);
    return s;
}

static inline struct store_reader *store_must_read(struct store *s)
{
    struct store_reader *r = NULL;

    assert_int_equal(store_reader_new(s, &r), ERR_OK);
    return r;
}

/* ---- bodies that say whose they are ---- */

static inline uint64_t store_mix(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdu;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53u;
    return x ^ x >> 33;
}

static inline void store_body_fill(char *to, uint64_t key, uint64_t version, uint64_t offset,
                                   size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t at = offset + i;

        to[i] = (char)(store_mix(key * 1000003 + version * 31 + at / 8) >> at % 8 * 8);
    }
}

/* ---- waiting for the end of a put, with a limit ---- */

struct store_wait {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool is_over;
    enum err e;
    unsigned dones;
    uint64_t committed;
};

#define STORE_WAIT_INIT                                                                            \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER                        \
    }

static inline void store_on_committed(void *user, uint64_t bytes)
{
    struct store_wait *w = user;

    pthread_mutex_lock(&w->lock);
    w->committed = bytes;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

static inline void store_on_done(void *user, enum err e)
{
    struct store_wait *w = user;

    pthread_mutex_lock(&w->lock);
    w->is_over = true;
    w->dones++;
    w->e = e;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

static const struct store_put_events store_events = {.committed = store_on_committed,
                                                     .done = store_on_done};

static inline struct timespec store_deadline(void)
{
    struct timespec at;

    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_sec += 60;
    return at;
}

static inline enum err store_wait_done(struct store_wait *w)
{
    struct timespec at = store_deadline();

    pthread_mutex_lock(&w->lock);
    while (!w->is_over)
        assert_int_equal(pthread_cond_timedwait(&w->wake, &w->lock, &at), 0);
    pthread_mutex_unlock(&w->lock);
    return w->e;
}

static inline void store_wait_committed(struct store_wait *w, uint64_t bytes)
{
    struct timespec at = store_deadline();

    pthread_mutex_lock(&w->lock);
    while (w->committed < bytes)
        assert_int_equal(pthread_cond_timedwait(&w->wake, &w->lock, &at), 0);
    pthread_mutex_unlock(&w->lock);
}

/* ---- putting and getting ---- */

struct store_text {
    char text[64], url[64], head[64];
};

static inline struct store_key store_key_of(struct store_text *t, uint64_t key, uint64_t variant)
{
    snprintf(t->text, sizeof(t->text), "https example.com/%llu", (unsigned long long)key);
    snprintf(t->url, sizeof(t->url), "example.com/%llu", (unsigned long long)key);
    return (struct store_key){
        .host = SLICE("example.com"), .text = slice_of(t->text), .variant = variant};
}

/* Hand over `n` bytes from `offset` on, as the fill does: blocks within chunks. */
static inline void store_put_bytes(struct store_put *p, uint64_t key, uint64_t version,
                                   uint64_t from, uint64_t n)
{
    while (n > 0) {
        size_t bytes = n < LIMIT_CHUNK_BYTES ? (size_t)n : LIMIT_CHUNK_BYTES;
        struct block *b = block_new(bytes);
        size_t half = bytes / 2;
        struct store_piece pieces[2];

        assert_non_null(b);
        store_body_fill(b->data, key, version, from, bytes);
        pieces[0] = (struct store_piece){.block = b, .p = b->data, .n = half};
        pieces[1] = (struct store_piece){.block = b, .p = b->data + half, .n = bytes - half};
        if (half == 0)
            store_put_chunk(p, pieces + 1, 1);
        else
            store_put_chunk(p, pieces, 2);
        block_unref(b);
        from += bytes;
        n -= bytes;
    }
}

struct store_what {
    uint64_t key, variant, version, birth, body_bytes;
    bool in_chunks; /* although it would fit into the record */
};

static inline void store_publish(struct store_put **p, const struct store_what *o)
{
    char body[LIMIT_INLINE_BODY_BYTES];
    struct store_text t;
    struct store_record rec = {.key = store_key_of(&t, o->key, o->variant),
                               .stamp = {.birth = o->birth, .site = 3}};

    rec.stamp.purge_url = slice_of(t.url);
    snprintf(t.head, sizeof(t.head), "%llu %llu %llu", (unsigned long long)o->key,
             (unsigned long long)o->version, (unsigned long long)o->body_bytes);
    rec.head = slice_of(t.head);
    if (o->variant != 0)
        rec.marker = SLICE("m");
    if (o->body_bytes <= sizeof(body) && o->body_bytes > 0 && !o->in_chunks) {
        store_body_fill(body, o->key, o->version, 0, (size_t)o->body_bytes);
        rec.body = (struct slice){body, (size_t)o->body_bytes};
    }
    store_put_publish(p, &rec, o->body_bytes);
}

static inline bool store_is_inline(const struct store_what *o)
{
    return o->body_bytes <= LIMIT_INLINE_BODY_BYTES && !o->in_chunks;
}

/* Begin, waiting while the queue is full: the writer is slower than a test. */
static inline struct store_put *store_must_begin(struct store *s, struct store_wait *w,
                                                 uint64_t *objid)
{
    struct store_put *p = NULL;
    enum err e = store_put_begin(s, &store_events, w, &p);

    if (e == ERR_LIMIT) {
        store_flush(s);
        e = store_put_begin(s, &store_events, w, &p);
    }
    assert_int_equal(e, ERR_OK);
    if (objid != NULL)
        *objid = store_put_objid(p);
    return p;
}

static inline void store_put_start(struct store *s, const struct store_what *o,
                                   struct store_wait *w, uint64_t *objid)
{
    struct store_put *p = store_must_begin(s, w, objid);

    if (!store_is_inline(o))
        store_put_bytes(p, o->key, o->version, 0, o->body_bytes);
    store_publish(&p, o);
}

static inline enum err store_put_all(struct store *s, const struct store_what *o, uint64_t *objid)
{
    struct store_wait w = STORE_WAIT_INIT;

    store_put_start(s, o, &w, objid);
    return store_wait_done(&w);
}

static inline void store_must_put(struct store *s, uint64_t key, uint64_t version, uint64_t bytes)
{
    struct store_what o = {.key = key, .version = version, .birth = 100, .body_bytes = bytes};

    assert_int_equal(store_put_all(s, &o, NULL), ERR_OK);
}

/* Read the body of a hit and compare every byte; stops at the first error. */
static inline enum err store_compare_body(struct store_reader *r, const struct store_hit *h,
                                          uint64_t key, uint64_t version, size_t piece)
{
    static _Thread_local char got[LIMIT_CHUNK_BYTES], want[LIMIT_CHUNK_BYTES];
    uint64_t at = 0;

    if (h->inline_body.p != NULL) {
        assert_int_equal(h->inline_body.n, h->body_bytes);
        store_body_fill(want, key, version, 0, h->inline_body.n);
        assert_memory_equal(h->inline_body.p, want, h->inline_body.n);
        return ERR_OK;
    }
    while (at < h->body_bytes) {
        size_t n = 0;
        enum err e = store_read(r, h->objid, at, got, piece, &n);

        if (e != ERR_OK)
            return e;
        assert_in_range(n, 1, piece);
        store_body_fill(want, key, version, at, n);
        assert_memory_equal(got, want, n);
        at += n;
    }
    assert_int_equal(at, h->body_bytes);
    return ERR_OK;
}

/* Look up and compare whatever is there; *out_version: what it said it was. */
static inline enum err store_get_and_check(struct store *s, struct store_reader *r, uint64_t key,
                                           size_t piece, uint64_t *out_version)
{
    char room[8192];
    unsigned long long got_key = 0, version = 0, bytes = 0;
    struct store_text t;
    struct store_key k = store_key_of(&t, key, 0);
    struct store_hit h;
    struct arena a;
    enum err e;

    arena_init(&a, room, sizeof(room), 256 * 1024);
    e = store_get(r, &k, &a, &h);
    if (e == ERR_OK) {
        assert_true(h.head.n < sizeof(t.head));
        memcpy(t.head, h.head.p, h.head.n);
        t.head[h.head.n] = '\0';
        assert_int_equal(sscanf(t.head, "%llu %llu %llu", &got_key, &version, &bytes), 3);
        assert_int_equal(got_key, key);
        assert_int_equal(bytes, h.body_bytes);
        e = store_compare_body(r, &h, key, version, piece);
        if (h.pinned)
            store_unpin(s, h.objid);
        *out_version = version;
    }
    arena_release(&a);
    return e;
}

/* The version that is found; 0: a miss. */
static inline uint64_t store_version(struct store *s, struct store_reader *r, uint64_t key)
{
    uint64_t version = 0;
    enum err e = store_get_and_check(s, r, key, LIMIT_CHUNK_BYTES, &version);

    assert_true(e == ERR_OK || e == ERR_NOT_FOUND);
    return e == ERR_OK ? version : 0;
}

#endif
