#include "server/chunked.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

enum { PIECES_MAX = 16 };

struct encoder {
    h2o_ostream_t super;
    char size[24]; /* lives as long as the request, as what is sent must */
};

static void on_send(h2o_ostream_t *super, h2o_req_t *req, h2o_iovec_t *in, size_t count,
                    h2o_send_state_t state)
{
    struct encoder *self = (struct encoder *)super;
    h2o_iovec_t out[PIECES_MAX + 2];
    size_t bytes = 0, n = 0;

    CHECK(count <= PIECES_MAX);
    for (size_t i = 0; i < count; i++)
        bytes += in[i].len;
    req->bytes_sent += bytes;
    if (bytes > 0) {
        int digits = snprintf(self->size, sizeof(self->size), "%zx\r\n", bytes);

        out[n++] = h2o_iovec_init(self->size, (size_t)digits);
        memcpy(out + n, in, count * sizeof(*in));
        n += count;
        out[n++] = state == H2O_SEND_STATE_FINAL ? h2o_iovec_init(H2O_STRLIT("\r\n0\r\n\r\n"))
                                                 : h2o_iovec_init(H2O_STRLIT("\r\n"));
    } else if (state == H2O_SEND_STATE_FINAL) {
        out[n++] = h2o_iovec_init(H2O_STRLIT("0\r\n\r\n"));
    } else if (state == H2O_SEND_STATE_IN_PROGRESS) {
        /* the head alone; without a piece, be it empty, libh2o would wait for one */
        out[n++] = h2o_iovec_init(H2O_STRLIT(""));
    }
    /* on an error the last chunk is missing and the connection closes: nobody takes it for whole */
    h2o_ostream_send_next(&self->super, req, out, n, state);
}

/* A body of which nobody knows the length. */
static bool is_open_ended(const h2o_req_t *req)
{
    int status = req->res.status;

    if (req->res.content_length != SIZE_MAX || status < 200 || status == 204 || status == 304)
        return false;
    return !h2o_memis(req->input.method.base, req->input.method.len, H2O_STRLIT("HEAD"));
}

static void on_setup(h2o_filter_t *self, h2o_req_t *req, h2o_ostream_t **slot)
{
    struct encoder *e;

    (void)self;
    if (req->version != 0x101 || !is_open_ended(req)) {
        /* 1.0 knows no chunks: there the end of the connection is the end, whatever was asked for
         */
        if (req->version < 0x101 && is_open_ended(req))
            req->http1_is_persistent = 0;
        h2o_setup_next_ostream(req, slot);
        return;
    }
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_TRANSFER_ENCODING, NULL,
                   H2O_STRLIT("chunked"));
    req->bytes_counted_by_ostream = 1;
    e = (struct encoder *)h2o_add_ostream(req, sizeof(*e), slot);
    e->super.do_send = on_send;
    h2o_setup_next_ostream(req, &e->super.next);
}

/*
 * In the place of libh2o's own, which every path begins with: that one leaves other statuses to the
 * closing of the connection, and keeps back a head that has no byte of its body behind it yet.
 */
void chunked_register(h2o_pathconf_t *path)
{
    CHECK(path->filters.size == 1);
    path->filters.entries[0]->on_setup_ostream = on_setup;
}
