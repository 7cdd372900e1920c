/*
 * slice: borrowed bytes with a length.  Not ended by NUL, may hold any byte.
 *
 * A slice owns nothing: what it points to belongs to whoever the comment of the
 * function or field names.  The empty slice may have p == NULL.  Pure; any thread.
 */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const char *p;
    size_t n; /* bytes */
};

#define SLICE(literal) ((struct slice){"" literal, sizeof(literal) - 1})

static inline struct slice slice_of(const char *text)
{
    return (struct slice){text, text == NULL ? 0 : strlen(text)};
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Letters of ASCII compare without case, all other bytes as they are. */
bool slice_eq_nocase(struct slice a, struct slice b);

bool slice_starts_with(struct slice s, struct slice prefix);
bool slice_ends_with(struct slice s, struct slice suffix);

/* The part from `from` on; empty when `from` lies behind the end. */
static inline struct slice slice_from(struct slice s, size_t from)
{
    if (s.n == 0) /* C has no NULL + 0 */
        return s;
    return from >= s.n ? (struct slice){s.p + s.n, 0} : (struct slice){s.p + from, s.n - from};
}

static inline struct slice slice_head(struct slice s, size_t bytes)
{
    return (struct slice){s.p, bytes < s.n ? bytes : s.n};
}

/* Index of the first byte `c`, or s.n. */
static inline size_t slice_index(struct slice s, char c)
{
    const char *at = s.n == 0 ? NULL : memchr(s.p, c, s.n);

    return at == NULL ? s.n : (size_t)(at - s.p);
}

/* Is there a byte below `c`, which is 128 at most?  A few instructions for eight bytes. */
bool slice_has_below(struct slice s, unsigned char c);

/* Are all of its bytes printable ASCII, and none of them '"' or '\\'?  As fast. */
bool slice_is_plain(struct slice s);

/* Without spaces and tabs at both ends (OWS, RFC 9110 section 5.6.3). */
struct slice slice_trim(struct slice s);

/* Decimal digits only, all of `s`, no sign; false on anything else and on overflow. */
bool slice_to_u64(struct slice s, uint64_t *out);

#endif
