#include "cache/cold.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/list.h"
#include "base/metrics.h"

enum { THREADS = 2 };

struct cold_read {
    struct reactor_message message; /* first: the way back */
    struct cold_read *next, *prev;  /* prev: of `running` */
    struct cold *cold;
    struct reactor *reactor;
    bool is_file; /* of a published content, not of an object */
    unsigned char sha256[DIGEST_SHA256_BYTES];
    uint64_t objid, offset;
    size_t bytes;
    struct block *block;
    bool is_cancelled; /* set and read on the asking worker only */
    void (*done)(void *user, struct block *b, size_t bytes);
    void *user;
};

struct cold {
    struct store *store;
    struct files *files;
    pthread_t thread[THREADS];
    unsigned threads;

    /* Shared, under `lock`. */
    pthread_mutex_t lock;
    pthread_cond_t work, told; /* told: a read has been posted back */
    struct cold_read *first, **last;
    struct cold_read *running; /* by a thread, and not posted yet */
    bool is_stopping;
};

static void on_answer(struct reactor_message *m)
{
    struct cold_read *r = (struct cold_read *)m;

    if (!r->is_file)
        store_unpin(r->cold->store, r->objid);
    if (r->is_cancelled)
        block_unref(r->block);
    else
        r->done(r->user, r->block, r->bytes);
    free(r);
}

/* What a thread reads with. */
struct readers {
    struct store_reader *store; /* NULL: there was no memory for it */
    struct files_reader *files;
};

static enum err read_from(const struct cold_read *r, const struct readers *from, size_t *n)
{
    if (r->is_file)
        return from->files == NULL
                   ? ERR_NOMEM
                   : files_read(from->files, r->sha256, r->offset, r->block->data, r->bytes, n);
    return from->store == NULL
               ? ERR_NOMEM
               : store_read(from->store, r->objid, r->offset, r->block->data, r->bytes, n);
}

static void read_one(struct cold_read *r, const struct readers *from)
{
    size_t n;

    r->block = block_new(r->bytes);
    if (r->block == NULL)
        return;
    if (read_from(r, from, &n) == ERR_OK) {
        r->bytes = n;
        return;
    }
    block_unref(r->block);
    r->block = NULL;
}

static struct cold_read *take(struct cold *c)
{
    struct cold_read *r;

    pthread_mutex_lock(&c->lock);
    while (c->first == NULL && !c->is_stopping)
        pthread_cond_wait(&c->work, &c->lock);
    r = c->first;
    if (r != NULL) {
        c->first = r->next;
        if (c->first == NULL)
            c->last = &c->first;
        LIST_PUSH(c->running, r);
    }
    pthread_mutex_unlock(&c->lock);
    return r;
}

/* Under the lock, so that a reactor that is about to go has it before it goes. */
static void tell(struct cold *c, struct cold_read *r)
{
    pthread_mutex_lock(&c->lock);
    LIST_REMOVE(c->running, r);
    reactor_post(r->reactor, &r->message);
    pthread_cond_broadcast(&c->told);
    pthread_mutex_unlock(&c->lock);
}

static void *run(void *user)
{
    struct cold *c = user;
    struct readers from = {NULL, NULL};
    struct cold_read *r;

    metrics_thread_start();
    if (store_reader_new(c->store, &from.store) != ERR_OK)
        from.store = NULL;
    if (c->files == NULL || files_reader_new(c->files, &from.files) != ERR_OK)
        from.files = NULL;
    while ((r = take(c)) != NULL) {
        read_one(r, &from);
        tell(c, r);
    }
    store_reader_free(from.store);
    files_reader_free(from.files);
    return NULL;
}

enum err cold_new(struct store *s, struct files *f, struct cold **out)
{
    struct cold *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return ERR_NOMEM;
    c->store = s;
    c->files = f;
    c->last = &c->first;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->work, NULL);
    pthread_cond_init(&c->told, NULL);
    for (; c->threads < THREADS; c->threads++) {
        if (pthread_create(&c->thread[c->threads], NULL, run, c) != 0) {
            cold_free(c);
            return ERR_NOMEM;
        }
    }
    *out = c;
    return ERR_OK;
}

void cold_free(struct cold *c)
{
    if (c == NULL)
        return;
    pthread_mutex_lock(&c->lock);
    c->is_stopping = true;
    pthread_cond_broadcast(&c->work);
    pthread_mutex_unlock(&c->lock);
    for (unsigned i = 0; i < c->threads; i++)
        pthread_join(c->thread[i], NULL);
    pthread_cond_destroy(&c->told);
    pthread_cond_destroy(&c->work);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static struct cold_read *queue(struct cold *c, const struct cold_read *what)
{
    struct cold_read *read = calloc(1, sizeof(*read));

    if (read == NULL)
        return NULL;
    *read = *what;
    read->message.run = on_answer;
    read->cold = c;
    if (!read->is_file)
        store_pin(c->store, read->objid); /* its own: the asker may leave first */
    pthread_mutex_lock(&c->lock);
    *c->last = read;
    c->last = &read->next;
    pthread_cond_signal(&c->work);
    pthread_mutex_unlock(&c->lock);
    return read;
}

struct cold_read *cold_start(struct cold *c, struct reactor *r, uint64_t objid, uint64_t offset,
                             size_t bytes, void (*done)(void *user, struct block *b, size_t bytes),
                             void *user)
{
    return queue(c, &(struct cold_read){.reactor = r,
                                        .objid = objid,
                                        .offset = offset,
                                        .bytes = bytes,
                                        .done = done,
                                        .user = user});
}

struct cold_read *cold_start_file(struct cold *c, struct reactor *r,
                                  const unsigned char sha256[DIGEST_SHA256_BYTES], uint64_t offset,
                                  size_t bytes,
                                  void (*done)(void *user, struct block *b, size_t bytes),
                                  void *user)
{
    struct cold_read what = {.reactor = r,
                             .is_file = true,
                             .offset = offset,
                             .bytes = bytes,
                             .done = done,
                             .user = user};

    memcpy(what.sha256, sha256, sizeof(what.sha256));
    return queue(c, &what);
}

void cold_cancel(struct cold_read *r)
{
    r->is_cancelled = true;
}

static bool is_running_for(const struct cold *c, const struct reactor *r)
{
    for (const struct cold_read *read = c->running; read != NULL; read = read->next)
        if (read->reactor == r)
            return true;
    return false;
}

/* Under the lock: out of the queue with those of `r`. */
static struct cold_read *take_queued(struct cold *c, const struct reactor *r)
{
    struct cold_read *taken = NULL, **at = &c->first;

    while (*at != NULL) {
        struct cold_read *read = *at;

        if (read->reactor != r) {
            at = &read->next;
            continue;
        }
        *at = read->next;
        read->next = taken;
        taken = read;
    }
    c->last = at;
    return taken;
}

void cold_leave(struct cold *c, struct reactor *r)
{
    struct cold_read *queued, *next;

    pthread_mutex_lock(&c->lock);
    queued = take_queued(c, r);
    while (is_running_for(c, r))
        pthread_cond_wait(&c->told, &c->lock);
    pthread_mutex_unlock(&c->lock);
    for (; queued != NULL; queued = next) {
        next = queued->next;
        CHECK(queued->is_cancelled);
        on_answer(&queued->message);
    }
}
