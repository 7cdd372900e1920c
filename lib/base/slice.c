#include "base/slice.h"

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

bool slice_eq_nocase(struct slice a, struct slice b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    return true;
}

bool slice_starts_with(struct slice s, struct slice prefix)
{
    return s.n >= prefix.n && slice_eq(slice_head(s, prefix.n), prefix);
}

bool slice_ends_with(struct slice s, struct slice suffix)
{
    return s.n >= suffix.n && slice_eq(slice_from(s, s.n - suffix.n), suffix);
}

/*
 * Eight bytes at a time, where all that counts is whether there is one of a kind at all: a borrow
 * from one byte into the next can only follow a byte of the kind.
 */
#define EACH(c)            (UINT64_C(0x0101010101010101) * (c))
#define HAS_BELOW(word, c) (((word)-EACH(c)) & ~(word)&EACH(0x80))
#define HAS(word, c)       HAS_BELOW((word) ^ EACH(c), 1)

/* Cut the next eight bytes off; the last ones are filled up with `filler`. */
static inline uint64_t take_word(struct slice *s, uint64_t filler)
{
    uint64_t word = filler;

    if (s->n < sizeof(word)) {
        memcpy(&word, s->p, s->n);
        s->n = 0;
        return word;
    }
    memcpy(&word, s->p, sizeof(word));
    *s = (struct slice){s->p + sizeof(word), s->n - sizeof(word)};
    return word;
}

bool slice_has_below(struct slice s, unsigned char c)
{
    while (s.n > 0) {
        uint64_t word = take_word(&s, EACH(0x80));

        if (HAS_BELOW(word, c) != 0)
            return true;
    }
    return false;
}

bool slice_is_plain(struct slice s)
{
    while (s.n > 0) {
        uint64_t word = take_word(&s, EACH(' '));
        uint64_t from_del = ((word + EACH(1)) | word) & EACH(0x80);

        if ((from_del | HAS_BELOW(word, ' ') | HAS(word, '"') | HAS(word, '\\')) != 0)
            return false;
    }
    return true;
}

struct slice slice_trim(struct slice s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

bool slice_to_u64(struct slice s, uint64_t *out)
{
    uint64_t v = 0;

    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        uint64_t digit = (uint64_t)(unsigned char)s.p[i] - '0';

        if (digit > 9 || v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *out = v;
    return true;
}
