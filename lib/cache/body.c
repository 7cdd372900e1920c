/* A body on its way out: from memory, from the store, from a fill. */
#include "base/check.h"
#include "base/limits.h"
#include "cache/cold.h"
#include "cache/fill.h"

static size_t smaller(uint64_t a, uint64_t b)
{
    return (size_t)(a < b ? a : b);
}

/* Account for what is given out: MORE, or END when that was all. */
static enum cache_body gave(struct cache_exchange *x, size_t n)
{
    x->at += n;
    return x->at == x->end ? CACHE_BODY_END : CACHE_BODY_MORE;
}

static enum cache_body next_inline(struct cache_exchange *x, size_t max, struct cache_piece *out)
{
    size_t n = smaller(max, x->end - x->at);
    struct block *b = block_new(n);

    if (b == NULL)
        return CACHE_BODY_BROKEN;
    memcpy(b->data, x->inline_body.p + x->at, n);
    *out = (struct cache_piece){.block = b, .p = b->data, .n = n};
    return gave(x, n);
}

/* ---- from the store ---- */

static void on_cold(void *user, struct block *b, size_t bytes)
{
    struct cache_exchange *x = user;

    x->cold_read = NULL;
    x->cold_failed = b == NULL;
    if (b != NULL)
        x->cold = (struct cache_piece){.block = b, .p = b->data, .n = bytes};
    body_ready(x);
}

static bool is_resident(struct cache_exchange *x, uint64_t bytes)
{
    return x->source == BODY_FILE
               ? files_is_resident(x->worker->files, x->rq.file->sha256, x->at, bytes)
               : store_is_resident(x->worker->reader, x->lookup.hit.objid, x->at, bytes);
}

static enum err read_now(struct cache_exchange *x, uint64_t at, char *to, size_t bytes, size_t *got)
{
    return x->source == BODY_FILE
               ? files_read(x->worker->files, x->rq.file->sha256, at, to, bytes, got)
               : store_read(x->worker->reader, x->lookup.hit.objid, at, to, bytes, got);
}

/* Off the loop: the pages are not in memory. */
static enum cache_body read_cold(struct cache_exchange *x)
{
    size_t n = smaller(LIMIT_CHUNK_BYTES, x->end - x->at);
    struct cold *cold = x->worker->cache->cold;

    x->cold_read =
        x->source == BODY_FILE
            ? cold_start_file(cold, x->worker->reactor, x->rq.file->sha256, x->at, n, on_cold, x)
            : cold_start(cold, x->worker->reactor, x->lookup.hit.objid, x->at, n, on_cold, x);
    return x->cold_read == NULL ? CACHE_BODY_BROKEN : CACHE_BODY_WAIT;
}

/* From what a cold read brought; the last piece takes its reference along. */
static enum cache_body give_cold(struct cache_exchange *x, size_t max, struct cache_piece *out)
{
    size_t n = smaller(max, x->cold.n);

    *out = (struct cache_piece){.block = x->cold.block, .p = x->cold.p, .n = n};
    x->cold.p += n;
    x->cold.n -= n;
    if (x->cold.n == 0)
        x->cold.block = NULL;
    else
        block_ref(out->block);
    return gave(x, n);
}

static enum cache_body next_object(struct cache_exchange *x, size_t max, struct cache_piece *out)
{
    size_t n = smaller(smaller(max, LIMIT_CHUNK_BYTES), x->end - x->at), got;
    struct block *b;

    if (x->cold_read != NULL)
        return CACHE_BODY_WAIT;
    if (x->cold_failed)
        return CACHE_BODY_BROKEN;
    if (x->cold.block != NULL)
        return give_cold(x, max, out);
    if (!is_resident(x, n))
        return read_cold(x);
    b = block_new(n);
    if (b == NULL)
        return CACHE_BODY_BROKEN;
    if (read_now(x, x->at, b->data, n, &got) != ERR_OK) {
        block_unref(b);
        return CACHE_BODY_BROKEN;
    }
    *out = (struct cache_piece){.block = b, .p = b->data, .n = got};
    return gave(x, got);
}

/* ---- from a fill ---- */

static enum cache_body next_fill(struct cache_exchange *x, size_t max, struct cache_piece *out)
{
    enum cache_body b;

    if (x->end != CACHE_BYTES_UNKNOWN)
        max = smaller(max, x->end - x->at);
    b = fill_read(x->reader, max, out);
    x->at += out->n;
    /* a range ends before the body does */
    if (b == CACHE_BODY_MORE && x->at == x->end)
        return CACHE_BODY_END;
    return b;
}

void body_skip(struct cache_exchange *x, uint64_t bytes)
{
    x->at += bytes;
    if (x->source == BODY_FILL)
        fill_seek(x->reader, x->at);
}

enum cache_body body_next_of_source(struct cache_exchange *x, size_t max, struct cache_piece *out)
{
    enum cache_body b = CACHE_BODY_END;

    switch (x->source) {
    case BODY_INLINE:
        b = next_inline(x, max, out);
        break;
    case BODY_OBJECT:
    case BODY_FILE:
        b = next_object(x, max, out);
        break;
    case BODY_FILL:
        b = next_fill(x, max, out);
        break;
    case BODY_BLOCKS:
        b = slices_next(x, max, out);
        break;
    case BODY_RELAYED:
        b = cache_body_next(slices_block(x), max, out);
        break;
    case BODY_NONE:
        break;
    }
    return b;
}

enum cache_body cache_body_next(struct cache_exchange *x, size_t max, struct cache_piece *out)
{
    enum cache_body b;

    CHECK(x->answered && max > 0);
    *out = (struct cache_piece){0};
    if (x->parts != NULL)
        b = parts_next(x, max, out);
    else if (x->source == BODY_NONE || x->at == x->end)
        b = CACHE_BODY_END;
    else
        b = body_next_of_source(x, max, out);
    x->waits = b == CACHE_BODY_WAIT;
    return b;
}

enum cache_body cache_body_pull(struct cache_exchange *x, char *to, size_t bytes, size_t *out_bytes)
{
    size_t n = smaller(bytes, x->end - x->at), got, sum = 0;

    if (x->source == BODY_RELAYED)
        return cache_body_pull(slices_block(x), to, bytes, out_bytes);
    CHECK(x->source == BODY_INLINE || x->source == BODY_OBJECT || x->source == BODY_FILE);
    *out_bytes = 0;
    if (x->source == BODY_INLINE) {
        memcpy(to, x->inline_body.p + x->at, n);
        *out_bytes = n;
        return gave(x, n);
    }
    /* a read ends with its chunk, and a frame may take more */
    while (sum < n && read_now(x, x->at + sum, to + sum, n - sum, &got) == ERR_OK)
        sum += got;
    if (sum == 0 && n > 0)
        return CACHE_BODY_BROKEN;
    *out_bytes = sum;
    return gave(x, sum);
}

void body_ready(struct cache_exchange *x)
{
    if (!x->waits)
        return;
    x->waits = false;
    x->client->ready(x->user);
}

bool body_is_resident(struct cache_exchange *x)
{
    return is_resident(x, x->end - x->at);
}

void body_release(struct cache_exchange *x)
{
    if (x->cold_read != NULL)
        cold_cancel(x->cold_read);
    block_unref(x->cold.block);
    x->cold_read = NULL;
    x->cold.block = NULL;
}
