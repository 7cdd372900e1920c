#include "cache/cold.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/metrics.h"

enum { THREADS = 2 };

struct cold_read {
    struct reactor_message message; /* first: the way back */
    struct cold_read *next;
    struct cold *cold;
    struct reactor *reactor;
    uint64_t objid, offset;
    size_t bytes;
    struct block *block;
    bool is_cancelled; /* set and read on the asking worker only */
    void (*done)(void *user, struct block *b, size_t bytes);
    void *user;
};

struct cold {
    struct store *store;
    pthread_t thread[THREADS];
    unsigned threads;

    /* Shared, under `lock`. */
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct cold_read *first, **last;
    bool is_stopping;
};

static void on_answer(struct reactor_message *m)
{
    struct cold_read *r = (struct cold_read *)m;

    store_unpin(r->cold->store, r->objid);
    if (r->is_cancelled)
        block_unref(r->block);
    else
        r->done(r->user, r->block, r->bytes);
    free(r);
}

static void read_one(struct cold_read *r, struct store_reader *reader)
{
    size_t n;

    r->block = block_new(r->bytes);
    if (r->block == NULL)
        return;
    if (store_read(reader, r->objid, r->offset, r->block->data, r->bytes, &n) == ERR_OK) {
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
    }
    pthread_mutex_unlock(&c->lock);
    return r;
}

static void *run(void *user)
{
    struct cold *c = user;
    struct store_reader *reader;
    struct cold_read *r;

    metrics_thread_start();
    if (store_reader_new(c->store, &reader) != ERR_OK)
        reader = NULL;
    while ((r = take(c)) != NULL) {
        if (reader != NULL)
            read_one(r, reader);
        reactor_post(r->reactor, &r->message);
    }
    store_reader_free(reader);
    return NULL;
}

enum err cold_new(struct store *s, struct cold **out)
{
    struct cold *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return ERR_NOMEM;
    c->store = s;
    c->last = &c->first;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->work, NULL);
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
    pthread_cond_destroy(&c->work);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

struct cold_read *cold_start(struct cold *c, struct reactor *r, uint64_t objid, uint64_t offset,
                             size_t bytes, void (*done)(void *user, struct block *b, size_t bytes),
                             void *user)
{
    struct cold_read *read = calloc(1, sizeof(*read));

    if (read == NULL)
        return NULL;
    *read = (struct cold_read){.message = {.run = on_answer},
                               .cold = c,
                               .reactor = r,
                               .objid = objid,
                               .offset = offset,
                               .bytes = bytes,
                               .done = done,
                               .user = user};
    store_pin(c->store, objid); /* its own: the asker may leave first */
    pthread_mutex_lock(&c->lock);
    *c->last = read;
    c->last = &read->next;
    pthread_cond_signal(&c->work);
    pthread_mutex_unlock(&c->lock);
    return read;
}

void cold_cancel(struct cold_read *r)
{
    r->is_cancelled = true;
}
