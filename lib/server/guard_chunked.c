/*
 * Chunked bodies to the letter (RFC 9112 section 7.1), in place of the decoder of 2018 in libh2o,
 * which takes line ends without CR, control bytes in extensions and more: every laxness is a chance
 * that another proxy in front of us sees other borders than we do.  Extensions are refused too:
 * nobody uses them, and their bytes would not count as body.  Trailers are read, checked and
 * dropped.
 *
 * Same contract as the decoder it replaces: decodes in place; -2 to be continued, -1 malformed,
 * else the number of bytes behind the body.  The state lives in that decoder's struct.
 */
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include "base/limits.h"
#include "base/metrics.h"
#include "server/guards.h"

enum { HEX_DIGITS_MAX = 15, TRAILER_BYTES_MAX = 8192, MALFORMED = -1, TO_BE_CONTINUED = -2 };

/* The layout of picohttpparser.h as libh2o was built with it; zeroed by libh2o at the start of a
 * body. */
struct phr_chunked_decoder {
    size_t bytes_left_in_chunk; /* in trailers: how many bytes of them there were */
    char consume_trailer;
    char _hex_count;
    char _state;
};

enum state {
    SIZE,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    LINE, /* the first byte of a trailer line, or of the line that ends the body */
    FIELD,
    FIELD_LF,
    LAST_LF,
    DONE,
    BROKEN,
};

ssize_t phr_decode_chunked(struct phr_chunked_decoder *d, char *buf, size_t *bufsz);

static int hex_value(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum state on_size(struct phr_chunked_decoder *d, unsigned char c)
{
    int v = hex_value(c);

    if (v < 0)
        return c == '\r' && d->_hex_count > 0 ? SIZE_LF : BROKEN;
    if (++d->_hex_count > HEX_DIGITS_MAX)
        return BROKEN;
    d->bytes_left_in_chunk = d->bytes_left_in_chunk * 16 + (size_t)v;
    return SIZE;
}

static enum state on_trailer_byte(struct phr_chunked_decoder *d, unsigned char c)
{
    if (c == '\r')
        return FIELD_LF;
    if ((c < 0x20 && c != '\t') || c == 0x7f)
        return BROKEN;
    return ++d->bytes_left_in_chunk > TRAILER_BYTES_MAX ? BROKEN : FIELD;
}

static enum state on_line(struct phr_chunked_decoder *d, unsigned char c)
{
    if (c == '\r')
        return LAST_LF;
    return c == ' ' || c == '\t' ? BROKEN : on_trailer_byte(d, c);
}

/* One byte of framing. */
static enum state step(struct phr_chunked_decoder *d, unsigned char c)
{
    switch ((enum state)d->_state) {
    case SIZE:
        return on_size(d, c);
    case SIZE_LF:
        d->_hex_count = 0;
        return c != '\n' ? BROKEN : d->bytes_left_in_chunk > 0 ? DATA : LINE;
    case DATA_CR:
        return c == '\r' ? DATA_LF : BROKEN;
    case DATA_LF:
        return c == '\n' ? SIZE : BROKEN;
    case LINE:
        return on_line(d, c);
    case FIELD:
        return on_trailer_byte(d, c);
    case FIELD_LF:
        return c == '\n' ? LINE : BROKEN;
    case LAST_LF:
        return c == '\n' ? DONE : BROKEN;
    case DATA:
    case DONE:
    case BROKEN:
        break;
    }
    return BROKEN;
}

ssize_t phr_decode_chunked(struct phr_chunked_decoder *d, char *buf, size_t *bufsz)
{
    size_t in = 0, out = 0, bytes = *bufsz;

    while (in < bytes && d->_state != DONE && d->_state != BROKEN) {
        if (d->_state == DATA) {
            size_t n = bytes - in < d->bytes_left_in_chunk ? bytes - in : d->bytes_left_in_chunk;

            memmove(buf + out, buf + in, n);
            in += n;
            out += n;
            d->bytes_left_in_chunk -= n;
            if (d->bytes_left_in_chunk == 0)
                d->_state = DATA_CR;
        } else {
            d->_state = (char)step(d, (unsigned char)buf[in++]);
        }
    }
    *bufsz = out;
    if (d->_state == BROKEN) {
        metrics_add(METRIC_GUARD_CHUNKED, 1);
        return MALFORMED;
    }
    if (d->_state != DONE)
        return TO_BE_CONTINUED;
    memmove(buf + out, buf + in, bytes - in); /* a pipelined request */
    return (ssize_t)(bytes - in);
}

void guard_chunked_check(void)
{
    guard_check_one("phr_decode_chunked", (void *)phr_decode_chunked);
}
