/* Bytes come: into blocks, to readers and to the store, at the pace that both
 * allow; and their end.
 */
#include <stdlib.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "cache/fill_priv.h"
#include "cache/variant.h"

enum {
    FIRST_BLOCK_BYTES = 16384, /* of a body whose length nobody knows */
    SMALL_BLOCK_BYTES = 4096,  /* of what comes in small pieces and is not stored: event streams */
    RECHECK_READERS_MS = 1000,
    BEHIND_BYTES = LIMIT_UNBACKED_BYTES * 3 / 4,
    TARGET_LOGGED_BYTES = 200,
};

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

/* Blocks never straddle the store's chunks, so that a chunk is made of whole
 * pieces. */
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

/* Only the leader appends, but readers and the store's writer move the pieces to the front. */
static size_t room_in_last(struct fill *f)
{
    size_t room = 0;

    pthread_mutex_lock(&f->lock);
    if (f->pieces_count > f->first_piece) {
        const struct fill_piece *last = &f->piece[f->pieces_count - 1];

        room = last->block->capacity - last->bytes;
    }
    pthread_mutex_unlock(&f->lock);
    return room;
}

/* Take as many of the bytes as one piece holds; 0 when out of memory. */
static size_t append_some(struct fill *f, const char *p, size_t n)
{
    struct fill_piece *last;
    size_t room = room_in_last(f);
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

/* From now on memory is all there is; readers behind what has left it are cut.
 */
void fill__stop_storing(struct fill *f)
{
    fill__abort_put(f);
    pthread_mutex_lock(&f->lock);
    f->is_backed = false;
    store_unpin(f->cache->store, f->result.objid);
    f->chunk_pieces = 0;
    f->chunk_bytes = 0;
    pthread_mutex_unlock(&f->lock);
}

/* Must upstream wait?  Under the lock. */
bool fill__should_pause(const struct fill *f)
{
    if (f->is_backed)
        return block_bytes_in_use() > LIMIT_FILL_BYTES &&
               f->bytes_in > f->bytes_committed + LIMIT_UNBACKED_BYTES;
    return f->readers_count > 0 && f->bytes_in - fill__slowest(f) >= LIMIT_UNBACKED_BYTES;
}

/*
 * Cut those who hold up others: nearly a window behind for
 * LIMIT_SLOW_READER_MS, however they creep on.  A reader alone sets its own
 * pace, and the connection's progress clock watches it.  Under the lock.
 */
void fill__watch_readers(struct fill *f)
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

int64_t fill__recheck_ms(const struct fill *f)
{
    return f->is_backed ? FILL_RECHECK_MS : RECHECK_READERS_MS;
}

/* ---- contents of files ---- */

static void tell_bad(const struct fill *f, const char *what)
{
    metrics_add(METRIC_FILES_BAD_PEER, 1);
    log_error("%s: %.*s: what the publishing node sent %s: it is thrown away", f->rq.site->name,
              (int)slice_head(f->rq.target, TARGET_LOGGED_BYTES).n, f->rq.target.p, what);
}

bool fill__begin_hash(struct fill *f, const struct cache_fetch_head *h, const struct fill_result *r)
{
    if (h->status != 200)
        return true; /* no content, and not stored as one */
    if (h->framing != CACHE_LENGTH ||
        (f->file.bytes != CACHE_BYTES_UNKNOWN && f->file.bytes != r->body_bytes)) {
        tell_bad(f, "has another length");
        return false;
    }
    f->hash = digest_run_new();
    return f->hash != NULL;
}

/*
 * The last bytes go to nobody before the hash of all is right: readers of a wrong content are cut,
 * and nothing of it is stored.
 */
static bool is_as_hashed(struct fill *f, const char *p, size_t n)
{
    unsigned char is[DIGEST_SHA256_BYTES];

    if (f->hash == NULL)
        return true;
    digest_run_add(f->hash, (struct slice){p, n});
    if (f->bytes_in + n < f->result.body_bytes)
        return true;
    digest_run_end(f->hash, is);
    f->hash = NULL;
    if (memcmp(is, f->file.sha256, sizeof(is)) == 0)
        return true;
    tell_bad(f, "does not have that hash");
    return false;
}

bool fill__on_body(void *user, const char *p, size_t n)
{
    struct fill *f = user;
    bool pause;

    /* exactly as many as the head said: what is too much belongs to nobody */
    if (f->result.body_bytes != CACHE_BYTES_UNKNOWN && n > f->result.body_bytes - f->bytes_in)
        n = (size_t)(f->result.body_bytes - f->bytes_in);
    if (n > 0 && !is_as_hashed(f, p, n)) {
        f->worker->fetcher.cancel(f->fetch);
        fill__give_up(f, RESPONSE_BROKEN);
        return true;
    }
    while (n > 0) {
        size_t took = append_some(f, p, n);

        if (took == 0) {
            log_error("%s: out of memory for a body", f->rq.site->name);
            f->worker->fetcher.cancel(f->fetch);
            fill__give_up(f, RESPONSE_OVERLOADED);
            return true;
        }
        if (f->put != NULL && f->chunk_bytes == LIMIT_CHUNK_BYTES)
            hand_over_chunk(f);
        p += took;
        n -= took;
    }
    if (f->put != NULL && f->bytes_in > f->cache->object_bytes_max) {
        fill__stop_storing(f);
        fill__too_large(f, &f->result.decision);
    }
    pthread_mutex_lock(&f->lock);
    if (!f->is_backed)
        fill__watch_readers(f);
    pause = f->is_paused = fill__should_pause(f);
    pthread_mutex_unlock(&f->lock);
    f->stuck_ms = 0;
    if (pause)
        reactor_timer_start(f->worker->reactor, &f->recheck, fill__recheck_ms(f));
    return !pause;
}

/* ---- the end of the body ---- */

/* False when it cannot be stored after all. */
static bool publish(struct fill *f)
{
    struct fill_result *r = &f->result;
    struct buf head, marker;
    struct store_record rec = {.key = fill__key_of(f, r->variant), .stamp = r->stamp};
    bool ok;

    buf_init(&head, LIMIT_RECORD_BYTES);
    buf_init(&marker, LIMIT_HEAD_BYTES);
    head_encode(&r->shared, clock_boot(), &head);
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
    ok = !head.failed && !marker.failed;
    if (ok)
        store_put_publish(&f->put, &rec, f->bytes_in);
    else
        fill__stop_storing(f);
    buf_release(&marker);
    buf_release(&head);
    return ok;
}

/* The answer to a HEAD is stored nowhere, and remembered for a second, for
 * HEADs. */
static bool rests_as_head(const struct fill *f)
{
    return f->is_shared && f->facts.method == METHOD_HEAD && f->result.decision.may_share &&
           !f->result.is_freshened;
}

/* All bytes are in: readers may go on, and so may newcomers until the store has
 * it. */
static void finish(struct fill *f)
{
    bool refused, outdated, queued;

    pthread_mutex_lock(&f->lock);
    f->state = FILL_WHOLE;
    refused = f->put_is_over; /* the store says it once: before this, or to a fill
                                 that is whole */
    fill__wake_all(f);
    pthread_mutex_unlock(&f->lock);
    outdated = fill__is_outdated(f);
    if ((refused || outdated) && f->put != NULL)
        fill__stop_storing(f);
    queued = f->put != NULL ? publish(f)
                            : f->result.is_freshened && !outdated && fill__store_freshened(f);
    if (!queued && rests_as_head(f)) {
        f->fetch = NULL;
        f->is_resting = true;
        reactor_timer_start(f->worker->reactor, &f->start, LIMIT_CLIENT_RELOAD_MS);
        return;
    }
    if (!queued) {
        fill__set_state(f, FILL_STORED, RESPONSE_CAME);
        fill__leave_table(f);
    }
    fill__leader_leaves(f);
}

void fill__on_done(void *user, enum response_failure failure, bool whole, const char *text)
{
    struct fill *f = user;

    f->fetch = NULL;
    if (whole) {
        finish(f);
        return;
    }
    /* without the query, in which secrets may be */
    log_warn("%s: %.*s: %s", f->rq.site->name,
             (int)slice_index(slice_head(f->rq.target, TARGET_LOGGED_BYTES), '?'), f->rq.target.p,
             text);
    fill__give_up(f, failure == RESPONSE_CAME ? RESPONSE_BROKEN : failure);
}
