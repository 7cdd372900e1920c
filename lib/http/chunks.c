#include "http/chunks.h"

enum {
    HEX_DIGITS_MAX = 15,
    PASSED_OVER_MAX = 8192, /* bytes of extensions and trailers of one body */
};

enum state {
    SIZE,
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    LINE, /* the first byte of a trailer line, or of the line that ends the body */
    TRAILER,
    TRAILER_LF,
    LAST_LF,
    DONE,
    BROKEN,
};

static int hex_value(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum state pass_over(struct chunks *c, unsigned char byte, enum state go_on)
{
    if ((byte < 0x20 && byte != '\t') || byte == 0x7f)
        return BROKEN;
    return ++c->passed_over > PASSED_OVER_MAX ? BROKEN : go_on;
}

static enum state on_size(struct chunks *c, unsigned char byte)
{
    int v = hex_value(byte);

    if (v >= 0) {
        c->left = c->left * 16 + (uint64_t)v;
        return ++c->digits > HEX_DIGITS_MAX ? BROKEN : SIZE;
    }
    if (c->digits == 0)
        return BROKEN;
    if (byte == '\r')
        return SIZE_LF;
    return byte == ';' || byte == ' ' || byte == '\t' ? EXTENSION : BROKEN;
}

/* One byte of framing. */
static enum state step(struct chunks *c, unsigned char byte)
{
    switch ((enum state)c->state) {
    case SIZE:
        return on_size(c, byte);
    case EXTENSION:
        return byte == '\r' ? SIZE_LF : pass_over(c, byte, EXTENSION);
    case SIZE_LF:
        c->digits = 0;
        return byte != '\n' ? BROKEN : c->left > 0 ? DATA : LINE;
    case DATA_CR:
        return byte == '\r' ? DATA_LF : BROKEN;
    case DATA_LF:
        return byte == '\n' ? SIZE : BROKEN;
    case LINE:
        return byte == '\r' ? LAST_LF : pass_over(c, byte, TRAILER);
    case TRAILER:
        return byte == '\r' ? TRAILER_LF : pass_over(c, byte, TRAILER);
    case TRAILER_LF:
        return byte == '\n' ? LINE : BROKEN;
    case LAST_LF:
        return byte == '\n' ? DONE : BROKEN;
    case DATA:
    case DONE:
    case BROKEN:
        break;
    }
    return BROKEN;
}

enum chunks_step chunks_next(struct chunks *c, struct slice *in, struct slice *out)
{
    while (in->n > 0 && c->state != DONE && c->state != BROKEN) {
        if (c->state != DATA) {
            c->state = step(c, (unsigned char)in->p[0]);
            *in = slice_from(*in, 1);
            continue;
        }
        *out = slice_head(*in, c->left < in->n ? (size_t)c->left : in->n);
        *in = slice_from(*in, out->n);
        c->left -= out->n;
        if (c->left == 0)
            c->state = DATA_CR;
        return CHUNKS_DATA;
    }
    return c->state == DONE ? CHUNKS_END : c->state == BROKEN ? CHUNKS_BROKEN : CHUNKS_MORE;
}
