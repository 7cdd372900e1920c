#include "release/pack.h"

#include <string.h>

#include "base/limits.h"

static void put(struct buf *out, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        buf_add_char(out, (char)(unsigned char)(v >> 8 * i));
}

void pack_put(struct buf *out, const struct pack_piece *p)
{
    buf_add(out, (struct slice){(const char *)p->sha256, sizeof(p->sha256)});
    put(out, p->bytes, 8);
    put(out, p->offset, 8);
    put(out, p->data.n, 4);
    buf_add(out, p->data);
}

static uint64_t take(const char *p, size_t bytes)
{
    uint64_t v = 0;

    for (size_t i = 0; i < bytes; i++)
        v |= (uint64_t)(unsigned char)p[i] << 8 * i;
    return v;
}

enum err pack_next(struct slice *in, struct pack_piece *out)
{
    const char *p = in->p;
    uint64_t n;

    if (in->n == 0)
        return ERR_NOT_FOUND;
    if (in->n < PACK_HEAD_BYTES)
        return ERR_INVALID;
    memcpy(out->sha256, p, DIGEST_SHA256_BYTES);
    p += DIGEST_SHA256_BYTES;
    out->bytes = take(p, 8);
    out->offset = take(p + 8, 8);
    n = take(p + 16, 4);
    if (n > in->n - PACK_HEAD_BYTES || out->bytes > LIMIT_RELEASE_FILE_BYTES ||
        out->offset > out->bytes || n > out->bytes - out->offset)
        return ERR_INVALID;
    if (out->offset % LIMIT_CHUNK_BYTES != 0 ||
        (n % LIMIT_CHUNK_BYTES != 0 && out->offset + n != out->bytes) ||
        (n == 0 && out->bytes != 0))
        return ERR_INVALID;
    out->data = (struct slice){in->p + PACK_HEAD_BYTES, (size_t)n};
    *in = slice_from(*in, PACK_HEAD_BYTES + (size_t)n);
    return ERR_OK;
}
