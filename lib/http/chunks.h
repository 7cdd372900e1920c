/*
 * chunks: a body in chunks, taken apart as it comes (RFC 9112 section 7.1).
 *
 * For answers that libcurl does not read.  Line ends are CRLF; extensions and trailers are passed
 * over, and both have an end.  Pure; one thread.
 */
#ifndef HTTP_CHUNKS_H
#define HTTP_CHUNKS_H

#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* Zeroed at the beginning of a body. */
struct chunks {
    uint64_t left; /* of this chunk; while its size is read: so far */
    unsigned digits, passed_over;
    unsigned state; /* of chunks.c */
};

enum chunks_step {
    CHUNKS_MORE,   /* all bytes were used */
    CHUNKS_DATA,   /* here is a piece of the body; there may be more bytes */
    CHUNKS_END,    /* the body has ended; what is left in `in` is none of it */
    CHUNKS_BROKEN, /* malformed */
};

/* Take from the front of *in up to the next piece, which *out points to.  Not after END, BROKEN. */
enum chunks_step chunks_next(struct chunks *c, struct slice *in, struct slice *out);

#endif
