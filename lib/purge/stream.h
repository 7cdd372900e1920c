/*
 * stream: how a journal travels: frames, one after the other, until one side closes.
 *
 *   frame      type (1 byte), length of the payload (4 bytes, little-endian), payload
 *   'H' head   a position: the sender has sent all up to here.  The first frame of a stream (what
 *              is the clock?), then after each batch of records, and at least once a second
 *   'F' flush  a position: the journal does not reach back to where the receiver is.  All it holds
 *              is dead; it goes on from here
 *   'R' record the next record, exactly as the journal keeps it (record.h)
 *
 *   'a' announcement: state that is no purge, whole each time: bytes that others understand
 *
 * Unknown types in lower case are skipped, others are an error: so a later version may say more.
 * Pure; one thread at a time.
 */
#ifndef PURGE_STREAM_H
#define PURGE_STREAM_H

#include "base/buf.h"
#include "purge/record.h"

enum { STREAM_FRAME_HEAD_BYTES = 5, STREAM_PAYLOAD_BYTES_MAX = PURGE_RECORD_BYTES_MAX };

void stream_put_position(struct buf *out, char type, const struct purge_position *p);
void stream_put_record(struct buf *out, struct slice encoded);
void stream_put_announcement(struct buf *out, struct slice bytes);

struct stream_frame {
    char type; /* 'H', 'F', 'R', 'a' */
    struct purge_position position;
    struct purge_record record; /* borrows from the bytes that were read */
    struct slice announcement;  /* borrowed likewise */
};

/*
 * The next frame of `*in`, which then begins behind it.  ERR_AGAIN: it is not whole yet, `*in`
 * stays. ERR_CORRUPT: it is none.
 */
NODISCARD enum err stream_next(struct slice *in, struct stream_frame *out);

#endif
