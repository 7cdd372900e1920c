/* The readers of a fill: attach, follow, leave. */
#include <stdlib.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/metrics.h"
#include "cache/fill_priv.h"

/* A backed fill keeps this much in memory for readers close behind; the rest comes from the store.
 */
enum { RETAIN_BYTES = 16 * 1024 * 1024 };

static void on_message(struct reactor_message *m)
{
    struct fill_reader *r =
        (struct fill_reader *)((char *)m - offsetof(struct fill_reader, message));
    bool detached;

    pthread_mutex_lock(&r->fill->lock);
    r->is_posted = false;
    detached = r->is_detached;
    pthread_mutex_unlock(&r->fill->lock);
    if (detached) {
        fill__unref(r->fill);
        free(r);
        return;
    }
    r->ready(r->user);
}

static void wake(struct fill_reader *r)
{
    if (!r->is_waiting || r->is_posted)
        return;
    r->is_waiting = false;
    r->is_posted = true;
    reactor_post(r->worker->reactor, &r->message);
}

void fill__wake_all(struct fill *f)
{
    for (struct fill_reader *r = f->readers; r != NULL; r = r->next)
        wake(r);
}

struct fill_reader *fill__attach(struct fill *f, struct cache_worker *w, void (*ready)(void *),
                                 void *user)
{
    struct fill_reader *r = calloc(1, sizeof(*r));

    if (r == NULL)
        return NULL;
    *r = (struct fill_reader){
        .fill = f, .worker = w, .ready = ready, .user = user, .message = {.run = on_message}};
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    LIST_PUSH(f->readers, r);
    f->readers_count++;
    r->is_waiting = true;
    if (f->state != FILL_OPEN)
        wake(r);
    return r;
}

void fill_detach(struct fill_reader *r)
{
    struct fill *f;
    bool posted;

    if (r == NULL)
        return;
    f = r->fill;
    pthread_mutex_lock(&f->lock);
    LIST_REMOVE(f->readers, r);
    f->readers_count--;
    r->is_detached = true;
    posted = r->is_posted; /* then the message frees it */
    if (f->state < FILL_WHOLE && (f->readers_count == 0 || f->is_paused))
        fill__post_control(f);
    pthread_mutex_unlock(&f->lock);
    if (!posted) {
        fill__unref(f);
        free(r);
    }
}

/*
 * The head of what is stored is held back until a byte follows: a fetch that breaks before has cost
 * its clients nothing, and a stored answer may still stand in.  What only passes through goes at
 * once.
 */
static bool may_answer(const struct fill *f)
{
    return f->has_result && (f->bytes_in > 0 || f->state != FILL_STREAMING || !f->result.has_body ||
                             !f->result.is_stored);
}

void fill_look(struct fill_reader *r, struct fill_view *out)
{
    struct fill *f = r->fill;

    pthread_mutex_lock(&f->lock);
    *out = (struct fill_view){.state = f->state,
                              .has_result = f->has_result,
                              .may_answer = may_answer(f),
                              .failure = f->failure,
                              .result = f->has_result ? &f->result : NULL};
    if (f->state == FILL_FAILED && f->bytes_in == 0)
        out->has_result = out->may_answer = false;
    r->is_waiting = !out->may_answer && f->state != FILL_FAILED;
    pthread_mutex_unlock(&f->lock);
}

void fill_seek(struct fill_reader *r, uint64_t offset)
{
    pthread_mutex_lock(&r->fill->lock);
    r->at = offset;
    pthread_mutex_unlock(&r->fill->lock);
}

uint64_t fill__slowest(const struct fill *f)
{
    uint64_t low = f->bytes_in;

    for (const struct fill_reader *r = f->readers; r != NULL; r = r->next)
        if (!r->is_cut && r->at < low)
            low = r->at;
    return low;
}

static void drop_first(struct fill *f)
{
    struct fill_piece *p = &f->piece[f->first_piece++];

    f->bytes_kept_from = p->at + p->bytes;
    block_unref(p->block);
    if (f->first_piece < f->pieces_count - f->first_piece)
        return;
    /* half of the array is behind us: move the rest to the front */
    f->pieces_count -= f->first_piece;
    memmove(f->piece, f->piece + f->first_piece, f->pieces_count * sizeof(*f->piece));
    f->first_piece = 0;
}

/*
 * Memory of a backed fill may go once the store has it and it is over RETAIN_BYTES, or less while
 * memory is short; that of an unbacked one once every reader is past it and it is over the window
 * (until then, newcomers may still join at byte 0).
 */
void fill__trim(struct fill *f)
{
    uint64_t keep = f->is_backed && block_bytes_in_use() <= LIMIT_FILL_BYTES ? RETAIN_BYTES
                                                                             : LIMIT_UNBACKED_BYTES;
    uint64_t limit;

    if (f->bytes_in - f->bytes_kept_from <= keep)
        return;
    limit = f->is_backed ? f->bytes_committed : fill__slowest(f);
    /* the last piece is still being written to */
    while (f->pieces_count - f->first_piece > 1 && f->bytes_in - f->bytes_kept_from > keep) {
        const struct fill_piece *p = &f->piece[f->first_piece];

        if (p->at + p->bytes > limit)
            break;
        drop_first(f);
    }
}

static const struct fill_piece *piece_at(const struct fill *f, uint64_t at)
{
    size_t low = f->first_piece, high = f->pieces_count;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (f->piece[middle].at <= at)
            low = middle;
        else
            high = middle;
    }
    CHECK(at >= f->piece[low].at && at < f->piece[low].at + f->piece[low].bytes);
    return &f->piece[low];
}

static bool is_end(const struct fill *f, uint64_t at)
{
    return at == f->bytes_in && f->state >= FILL_WHOLE && f->state != FILL_FAILED;
}

/* Bytes that have left memory: copied from the store into a block of the reader's own.  Without the
 * lock. */
static enum cache_body read_store(struct fill_reader *r, size_t max, struct cache_piece *out)
{
    struct fill *f = r->fill;
    struct block *b = block_new(max < LIMIT_CHUNK_BYTES ? max : LIMIT_CHUNK_BYTES);
    size_t n;
    enum err e;

    if (b == NULL)
        return CACHE_BODY_BROKEN;
    e = store_read(r->worker->reader, f->result.objid, r->at, b->data, b->capacity, &n);
    if (e != ERR_OK) {
        block_unref(b);
        return CACHE_BODY_BROKEN;
    }
    *out = (struct cache_piece){.block = b, .p = b->data, .n = n};
    return CACHE_BODY_MORE;
}

/* Under the lock. */
static enum cache_body read_memory(struct fill_reader *r, size_t max, struct cache_piece *out)
{
    struct fill *f = r->fill;
    const struct fill_piece *p;

    if (is_end(f, r->at))
        return CACHE_BODY_END;
    if (r->at == f->bytes_in) {
        if (f->state == FILL_FAILED)
            return CACHE_BODY_BROKEN;
        r->is_waiting = true;
        return CACHE_BODY_WAIT;
    }
    p = piece_at(f, r->at);
    out->block = block_ref(p->block);
    out->p = p->block->data + (r->at - p->at);
    out->n = p->bytes - (size_t)(r->at - p->at);
    if (out->n > max)
        out->n = max;
    return CACHE_BODY_MORE;
}

enum cache_body fill_read(struct fill_reader *r, size_t max, struct cache_piece *out)
{
    struct fill *f = r->fill;
    enum cache_body b;
    bool from_store;

    *out = (struct cache_piece){0};
    pthread_mutex_lock(&f->lock);
    from_store = r->at < f->bytes_kept_from;
    b = r->is_cut || (from_store && !f->is_backed) ? CACHE_BODY_BROKEN
        : from_store                               ? CACHE_BODY_MORE
        : r->at > f->bytes_in ? (f->state == FILL_FAILED ? CACHE_BODY_BROKEN : CACHE_BODY_WAIT)
                              : read_memory(r, max, out);
    if (b == CACHE_BODY_WAIT)
        r->is_waiting = true;
    pthread_mutex_unlock(&f->lock);
    if (from_store && b == CACHE_BODY_MORE)
        b = read_store(r, max, out);
    if (b != CACHE_BODY_MORE)
        return b;

    pthread_mutex_lock(&f->lock);
    r->at += out->n;
    if (is_end(f, r->at))
        b = CACHE_BODY_END;
    if (f->is_paused)
        fill__post_control(f);
    fill__trim(f);
    pthread_mutex_unlock(&f->lock);
    return b;
}
