/* What is asked of the writer, from any thread. */
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "store/store_priv.h"

enum { REMOVALS_MAX = 16384 /* queued at once; the next look-up asks again */ };

void store__send(struct store *s, struct store_message *m)
{
    m->next = NULL;
    if (m->bytes > 0) {
        atomic_fetch_add_explicit(&s->queue_bytes, m->bytes, memory_order_relaxed);
        metrics_add(METRIC_STORE_QUEUE_BYTES, (int64_t)m->bytes);
    }
    pthread_mutex_lock(&s->lock);
    *s->last = m;
    s->last = &m->next;
    if (s->is_waiting)
        pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

/* Everything but what is part of its put. */
void store__message_free(struct store_message *m)
{
    for (size_t i = 0; i < m->pieces_count; i++)
        block_unref(m->pieces[i].block);
    free(m->object);
    if (m->kind == STORE_PUBLISH || m->kind == STORE_ABORT) {
        pthread_mutex_destroy(&m->put->lock);
        free(m->put);
    } else {
        free(m);
    }
}

/* ---- puts ---- */

enum err store_put_begin(struct store *s, const struct store_put_events *ev, void *user,
                         struct store_put **out)
{
    struct store_put *p;

    if (!atomic_load_explicit(&s->is_writable, memory_order_relaxed))
        return ERR_IO;
    if (atomic_load_explicit(&s->queue_bytes, memory_order_relaxed) >= LIMIT_FILL_BYTES)
        return ERR_LIMIT;
    p = calloc(1, sizeof(*p));
    if (p == NULL)
        return ERR_NOMEM;
    p->store = s;
    p->events = ev;
    p->user = user;
    p->objid = atomic_fetch_add_explicit(&s->next_objid, 1, memory_order_relaxed);
    pthread_mutex_init(&p->lock, NULL);
    *out = p;
    return ERR_OK;
}

uint64_t store_put_objid(const struct store_put *p)
{
    return p->objid;
}

void store_put_chunk(struct store_put *p, const struct store_piece *pieces, size_t count)
{
    struct store_message *m = NULL;

    if (!p->is_out_of_memory)
        m = calloc(1, sizeof(*m) + count * sizeof(*pieces));
    p->is_out_of_memory = m == NULL;
    if (m == NULL)
        return;
    *m = (struct store_message){.kind = STORE_CHUNK,
                                .put = p,
                                .objid = p->objid,
                                .pieces = (struct store_piece *)(m + 1),
                                .pieces_count = count};
    for (size_t i = 0; i < count; i++) {
        m->pieces[i] = pieces[i];
        block_ref(pieces[i].block);
        m->body_bytes += pieces[i].n;
    }
    CHECK(m->body_bytes > 0 && m->body_bytes <= LIMIT_CHUNK_BYTES);
    CHECK(p->bytes_in % LIMIT_CHUNK_BYTES == 0); /* only the last one may be shorter */
    p->bytes_in += m->body_bytes;
    m->bytes = m->body_bytes;
    store__send(p->store, m);
}

/* The record and the marker to merge in one piece of memory; ERR_LIMIT, ERR_NOMEM. */
static enum err encode(struct store_message *m, const struct store_object *o, struct slice marker)
{
    size_t bytes = store_object_bytes(o);
    size_t padded = (bytes + 7) / 8 * 8;

    if (bytes > LIMIT_RECORD_BYTES || o->key.host.n > UINT16_MAX || marker.n > LIMIT_RECORD_BYTES)
        return ERR_LIMIT;
    m->object = malloc(padded + marker.n);
    if (m->object == NULL)
        return ERR_NOMEM;
    m->object_bytes = bytes;
    store_object_encode(o, m->object);
    m->marker = (struct slice){m->object + padded, marker.n};
    if (marker.n > 0)
        memcpy(m->object + padded, marker.p, marker.n);
    m->bytes = padded + marker.n;
    return ERR_OK;
}

void store_put_publish(struct store_put **put, const struct store_record *rec, uint64_t body_bytes)
{
    struct store_put *p = *put;
    struct store *s = p->store;
    struct store_message *m = &p->end;
    struct store_key base = rec->key;
    struct store_object o = {.objid = p->objid,
                             .key = rec->key,
                             .stamp = rec->stamp,
                             .head = rec->head,
                             .body = rec->body,
                             .body_bytes = body_bytes};

    *put = NULL;
    CHECK(p->is_out_of_memory || body_bytes == p->bytes_in + rec->body.n);
    CHECK(rec->body.n == 0 || (p->bytes_in == 0 && rec->body.n <= LIMIT_INLINE_BODY_BYTES));
    *m =
        (struct store_message){.kind = STORE_PUBLISH, .put = p, .objid = p->objid, .has_row = true};
    store_row_key(&s->secret, &rec->key, m->row);
    base.variant = 0;
    store_row_key(&s->secret, &base, m->base_row);
    m->result = p->is_out_of_memory
                    ? ERR_NOMEM
                    : encode(m, &o, rec->key.variant == 0 ? SLICE("") : rec->marker);
    m->is_failed = m->result != ERR_OK;
    store__send(s, m);
}

void store_put_abort(struct store_put **put)
{
    struct store_put *p = *put;

    *put = NULL;
    if (p == NULL)
        return;
    pthread_mutex_lock(&p->lock);
    p->is_aborted = true;
    pthread_mutex_unlock(&p->lock);
    p->end = (struct store_message){.kind = STORE_ABORT, .put = p, .objid = p->objid};
    store__send(p->store, &p->end);
}

/* ---- the rest ---- */

void store_refresh(struct store *s, const struct store_key *key, uint64_t objid,
                   const struct store_stamp *stamp, struct slice head,
                   void (*done)(void *user, enum err e), void *user)
{
    struct store_message *m = calloc(1, sizeof(*m));
    struct store_object o = {.objid = objid, .key = *key, .stamp = *stamp, .head = head};

    if (m == NULL) {
        if (done != NULL)
            done(user, ERR_NOMEM);
        return;
    }
    *m = (struct store_message){
        .kind = STORE_REFRESH, .objid = objid, .has_row = true, .done = done, .user = user};
    store_row_key(&s->secret, key, m->row);
    m->result = encode(m, &o, SLICE(""));
    m->is_failed = m->result != ERR_OK;
    store__send(s, m);
}

static void send_removal(struct store *s, const char *row, uint64_t objid)
{
    struct store_message *m;

    if (atomic_load_explicit(&s->queue_removals, memory_order_relaxed) >= REMOVALS_MAX)
        return;
    m = calloc(1, sizeof(*m));
    if (m == NULL)
        return;
    m->kind = STORE_REMOVE;
    m->objid = objid;
    m->has_row = row != NULL;
    if (row != NULL)
        memcpy(m->row, row, sizeof(m->row));
    atomic_fetch_add_explicit(&s->queue_removals, 1, memory_order_relaxed);
    store__send(s, m);
}

/* A dead object that is asked for a thousand times is removed once. */
void store__ask_removal(struct store *s, const char *row, uint64_t objid)
{
    _Atomic uint64_t *slot = &s->asked[objid % STORE_ASKED_SLOTS];

    if (objid == 0 || atomic_exchange_explicit(slot, objid, memory_order_relaxed) != objid)
        send_removal(s, row, objid);
}

bool store__is_asked(struct store *s, uint64_t objid)
{
    return atomic_load_explicit(&s->asked[objid % STORE_ASKED_SLOTS], memory_order_relaxed) ==
           objid;
}

void store_remove(struct store *s, const struct store_key *key, uint64_t objid)
{
    char row[STORE_ROW_KEY_BYTES];

    store_row_key(&s->secret, key, row);
    store__ask_removal(s, row, objid); /* nobody is to meet it until it is gone */
}

void store_pin(struct store *s, uint64_t objid)
{
    pins_add(s->pins, objid, clock_mono_ms());
}

void store_unpin(struct store *s, uint64_t objid)
{
    pins_drop(s->pins, objid);
}

/* ---- waiting ---- */

struct flush {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool is_over;
};

static void on_flushed(void *user, enum err e)
{
    struct flush *f = user;

    (void)e;
    pthread_mutex_lock(&f->lock);
    f->is_over = true;
    pthread_cond_signal(&f->wake);
    pthread_mutex_unlock(&f->lock);
}

void store_flush(struct store *s)
{
    struct flush f = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};
    struct store_message *m = calloc(1, sizeof(*m));

    if (m == NULL)
        return;
    *m = (struct store_message){.kind = STORE_FLUSH, .done = on_flushed, .user = &f};
    store__send(s, m);
    pthread_mutex_lock(&f.lock);
    while (!f.is_over)
        pthread_cond_wait(&f.wake, &f.lock);
    pthread_mutex_unlock(&f.lock);
    pthread_mutex_destroy(&f.lock);
    pthread_cond_destroy(&f.wake);
}
