/*
 * buf: owned bytes that grow up to a ceiling; for text that is put together piece by piece.
 *
 * Once a piece did not fit, the buf stays `failed` and further pieces are dropped,
 * so a writer checks once, at the end.  One thread at a time.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct buf {
    char *p; /* owned; ends with buf_release() */
    size_t n, capacity, bytes_max;
    bool failed; /* a piece did not fit, or there was no memory */
};

void buf_init(struct buf *b, size_t bytes_max);
void buf_release(struct buf *b);

/* Make room for `bytes` more; false (and failed) when it cannot be had. */
bool buf_reserve(struct buf *b, size_t bytes);

void buf_add(struct buf *b, struct slice s);
void buf_add_char(struct buf *b, char c);
void buf_add_u64(struct buf *b, uint64_t v);
void buf_add_i64(struct buf *b, int64_t v);
void buf_addf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* `s` as the inside of a JSON string (RFC 8259 section 7), without the quotes; bytes that are not UTF-8 become U+FFFD. */
void buf_add_json(struct buf *b, struct slice s);

static inline struct slice buf_slice(const struct buf *b)
{
    return (struct slice){b->p, b->n};
}

#endif
