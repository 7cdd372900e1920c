/*
 * pack: how contents travel to a node: pieces, one after the other.
 *
 *   piece   SHA-256 of the whole file (32 bytes), its length (8), where this piece begins (8),
 *           bytes in it (4), the bytes; numbers are little-endian
 *
 * Pieces of one file come in order; each but the last is whole chunks (LIMIT_CHUNK_BYTES) long, so
 * that it can be written as it comes.  A file of no bytes is one empty piece.  Pure.
 */
#ifndef RELEASE_PACK_H
#define RELEASE_PACK_H

#include <stdint.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/slice.h"

enum {
    PACK_HEAD_BYTES = DIGEST_SHA256_BYTES + 8 + 8 + 4,
    PACK_PIECE_CHUNKS = 15, /* of one piece at most: with its head it fits a request of 1 MiB */
};

struct pack_piece {
    unsigned char sha256[DIGEST_SHA256_BYTES];
    uint64_t bytes;    /* of the file */
    uint64_t offset;   /* of this piece */
    struct slice data; /* borrowed from what was read */
};

void pack_put(struct buf *out, const struct pack_piece *p);

/* The next piece of `*in`, which then begins behind it.  ERR_NOT_FOUND: there is none left.
 * ERR_INVALID: it breaks the form. */
NODISCARD enum err pack_next(struct slice *in, struct pack_piece *out);

#endif
