/* Whatever a peer sends as a journal, or as a position, is read within its bounds, and what is read
 * is exactly what would be written. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "purge/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void try_text(struct slice s)
{
    char text[PURGE_POSITION_TEXT_BYTES];
    struct purge_position p;

    if (purge_position_parse(s, &p) != ERR_OK)
        return;
    CHECK(p.n <= POSITION_N_MAX);
    purge_position_print(&p, text);
    CHECK(slice_eq(s, slice_of(text)));
}

static void write_again(const struct stream_frame *f, struct buf *out)
{
    unsigned char bytes[PURGE_RECORD_BYTES_MAX];

    if (f->type == 'R')
        stream_put_record(
            out, (struct slice){(const char *)bytes, purge_record_encode(&f->record, bytes)});
    else if (f->type == 'a')
        stream_put_announcement(out, f->announcement);
    else
        stream_put_position(out, f->type, &f->position);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char *copy = malloc(bytes + 1); /* its end is watched */
    struct slice in = {copy, bytes}, before = in;
    struct stream_frame frame;

    CHECK(copy != NULL);
    if (bytes > 0)
        memcpy(copy, data, bytes);
    try_text(in);
    for (; stream_next(&in, &frame) == ERR_OK; before = in) {
        struct buf again;

        CHECK(in.n < before.n);
        buf_init(&again, 2 * STREAM_PAYLOAD_BYTES_MAX);
        write_again(&frame, &again);
        /* skipped frames stand before it */
        CHECK(slice_ends_with(slice_head(before, before.n - in.n), buf_slice(&again)));
        buf_release(&again);
    }
    CHECK(in.n <= before.n);
    free(copy);
    return 0;
}
