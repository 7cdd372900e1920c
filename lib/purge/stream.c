#include "purge/stream.h"

static void put_frame(struct buf *out, char type, struct slice payload)
{
    unsigned char head[STREAM_FRAME_HEAD_BYTES] = {(unsigned char)type};

    for (size_t i = 0; i < 4; i++)
        head[1 + i] = (unsigned char)(payload.n >> 8 * i);
    buf_add(out, (struct slice){(const char *)head, sizeof(head)});
    buf_add(out, payload);
}

void stream_put_position(struct buf *out, char type, const struct purge_position *p)
{
    unsigned char bytes[PURGE_POSITION_BYTES];

    purge_position_encode(p, bytes);
    put_frame(out, type, (struct slice){(const char *)bytes, sizeof(bytes)});
}

void stream_put_record(struct buf *out, struct slice encoded)
{
    put_frame(out, 'R', encoded);
}

void stream_put_announcement(struct buf *out, struct slice bytes)
{
    put_frame(out, 'a', bytes);
}

static enum err read_payload(struct slice payload, struct stream_frame *out)
{
    switch (out->type) {
    case 'H':
    case 'F':
        return purge_position_decode(payload, &out->position);
    case 'R':
        return purge_record_decode(payload, &out->record);
    case 'a':
        out->announcement = payload;
        return ERR_OK;
    default:
        return ERR_CORRUPT;
    }
}

/* One that is whole; ERR_NOT_FOUND: to be skipped. */
static enum err next(struct slice *in, struct stream_frame *out)
{
    size_t bytes = 0;
    char type;
    enum err e;

    if (in->n < STREAM_FRAME_HEAD_BYTES)
        return ERR_AGAIN;
    type = in->p[0];
    for (size_t i = 0; i < 4; i++)
        bytes |= (size_t)(unsigned char)in->p[1 + i] << 8 * i;
    if (bytes > STREAM_PAYLOAD_BYTES_MAX)
        return ERR_CORRUPT;
    if (in->n < STREAM_FRAME_HEAD_BYTES + bytes)
        return ERR_AGAIN;
    *out = (struct stream_frame){.type = type};
    e = type > 'a' && type <= 'z'
            ? ERR_NOT_FOUND
            : read_payload((struct slice){in->p + STREAM_FRAME_HEAD_BYTES, bytes}, out);
    if (e == ERR_OK || e == ERR_NOT_FOUND)
        *in = slice_from(*in, STREAM_FRAME_HEAD_BYTES + bytes);
    return e;
}

enum err stream_next(struct slice *in, struct stream_frame *out)
{
    enum err e;

    do
        e = next(in, out);
    while (e == ERR_NOT_FOUND);
    return e;
}
