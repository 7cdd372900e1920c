#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { FIRST_BYTES = 256, DIGITS_MAX = 20 };

void buf_init(struct buf *b, size_t bytes_max)
{
    *b = (struct buf){.bytes_max = bytes_max};
}

void buf_release(struct buf *b)
{
    free(b->p);
    *b = (struct buf){0};
}

bool buf_reserve(struct buf *b, size_t bytes)
{
    size_t want;
    char *p;

    if (b->failed)
        return false;
    if (bytes <= b->capacity - b->n)
        return true;
    if (bytes > b->bytes_max - b->n) {
        b->failed = true;
        return false;
    }
    want = b->capacity == 0 ? FIRST_BYTES : b->capacity;
    while (want < b->n + bytes)
        want *= 2;
    if (want > b->bytes_max)
        want = b->bytes_max;
    p = realloc(b->p, want);
    if (p == NULL) {
        b->failed = true;
        return false;
    }
    b->p = p;
    b->capacity = want;
    return true;
}

void buf_add(struct buf *b, struct slice s)
{
    if (s.n > 0 && buf_reserve(b, s.n)) {
        memcpy(b->p + b->n, s.p, s.n);
        b->n += s.n;
    }
}

void buf_add_char(struct buf *b, char c)
{
    buf_add(b, (struct slice){&c, 1});
}

void buf_add_u64(struct buf *b, uint64_t v)
{
    char text[DIGITS_MAX];
    size_t at = sizeof(text);

    do {
        text[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    buf_add(b, (struct slice){text + at, sizeof(text) - at});
}

void buf_add_i64(struct buf *b, int64_t v)
{
    if (v < 0)
        buf_add_char(b, '-');
    buf_add_u64(b, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void buf_addf(struct buf *b, const char *format, ...)
{
    va_list ap;
    int n;

    va_start(ap, format);
    n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    if (n < 0 || !buf_reserve(b, (size_t)n + 1))
        return;
    va_start(ap, format);
    vsnprintf(b->p + b->n, (size_t)n + 1, format, ap);
    va_end(ap);
    b->n += (size_t)n;
}

/* Bytes of the UTF-8 sequence at `s`, or 0 when it is not one (RFC 3629). */
static size_t utf8_bytes(struct slice s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    unsigned char low = 0x80, high = 0xbf;
    size_t n;

    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (s.n < n || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    return n;
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

void buf_add_json(struct buf *b, struct slice s)
{
    while (s.n > 0) {
        size_t run = 0;

        while (run < s.n && is_plain((unsigned char)s.p[run]))
            run++;
        buf_add(b, slice_head(s, run));
        s = slice_from(s, run);
        if (s.n == 0)
            return;
        if (s.p[0] == '"' || s.p[0] == '\\') {
            buf_add_char(b, '\\');
            buf_add_char(b, s.p[0]);
            run = 1;
        } else if ((unsigned char)s.p[0] < 0x20 || s.p[0] == 0x7f) {
            buf_addf(b, "\\u%04x", (unsigned)(unsigned char)s.p[0]);
            run = 1;
        } else {
            run = utf8_bytes(s);
            buf_add(b, run == 0 ? SLICE("\\ufffd") : slice_head(s, run));
            run = run == 0 ? 1 : run;
        }
        s = slice_from(s, run);
    }
}
