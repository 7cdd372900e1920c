/*
 * Interim responses (RFC 9110 section 15.2, RFC 8297) on their way to the client.
 *
 * libh2o 2.2.5 has no call for them.  HTTP/1: a head is written to the socket between the request
 * and the answer, as libh2o itself writes 100; it takes one write at a time, so an answer that
 * comes before the write is over waits for it.  HTTP/2: a HEADERS frame that does not end its
 * stream is put where libh2o puts those of answers.
 */
#include "server/request.h"

#include <h2o/http2.h>
#include <h2o/http2_scheduler.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/limits.h"

enum { INTERIMS_MAX = 16 }; /* of one request */

/* ---- HTTP/1 ---- */

static void write_text(struct server_request *r, struct slice text);

/* The answer that came meanwhile.  The request may be gone afterwards. */
static void go_on(struct server_request *r)
{
    struct local_answer local = r->interim.local;

    switch (r->interim.before) {
    case INTERIM_BEFORE_NOTHING:
        break;
    case INTERIM_BEFORE_ANSWER:
        response_begin(r);
        break;
    case INTERIM_BEFORE_LOCAL:
        response_local(r, &local);
        break;
    }
}

/* A write that failed is not told here: libh2o learns of it by the answer's. */
static void on_written(h2o_socket_t *sock, const char *err)
{
    struct conn *c = sock->on_close.data;
    struct server_request *r = c->running.request;
    struct slice next;

    CHECK(r != NULL && r->interim.is_writing); /* it ends with its connection, and then this too */
    next = r->interim.next;
    r->interim.is_writing = false;
    r->interim.next = (struct slice){0};
    if (err == NULL && next.n > 0) {
        write_text(r, next);
        return;
    }
    response_output_end(r);
    go_on(r);
}

static void write_text(struct server_request *r, struct slice text)
{
    h2o_iovec_t iov = h2o_iovec_init(text.p, text.n);

    r->interim.is_writing = true;
    response_output_begin(r);
    h2o_socket_write(r->conn->sock, &iov, 1, on_written);
}

/* p == NULL: no room for it. */
static struct slice head_of(struct server_request *r, struct slice before, int status,
                            const struct http_fields *fields)
{
    struct slice text = {0};
    struct buf b;

    buf_init(&b, LIMIT_RESPONSE_HEAD_BYTES + 1024);
    buf_add(&b, before);
    buf_addf(&b, "HTTP/1.1 %d %s\r\n", status, response_reason(status));
    for (size_t i = 0; i < fields->count; i++) {
        buf_add(&b, fields->item[i].name);
        buf_add(&b, SLICE(": "));
        buf_add(&b, fields->item[i].value);
        buf_add(&b, SLICE("\r\n"));
    }
    buf_add(&b, SLICE("\r\n"));
    if (!b.failed)
        text = arena_dup(&r->arena, buf_slice(&b));
    buf_release(&b);
    return text;
}

static void relay_h1(struct server_request *r, int status, const struct http_fields *fields)
{
    struct slice text = head_of(r, r->interim.next, status, fields);

    if (text.p == NULL || r->conn->sock == NULL)
        return;
    if (r->interim.is_writing)
        r->interim.next = text;
    else
        write_text(r, text);
}

bool interim_holds_answer(struct server_request *r)
{
    if (r->interim.is_writing)
        r->interim.before = INTERIM_BEFORE_ANSWER;
    return r->interim.is_writing;
}

bool interim_holds_local(struct server_request *r, const struct local_answer *a)
{
    if (r->interim.is_writing) {
        r->interim.before = INTERIM_BEFORE_LOCAL;
        r->interim.local = *a;
    }
    return r->interim.is_writing;
}

/* ---- HTTP/2 ---- */

/* As in h2o/http2_internal.h, which cannot be included: it needs a header that is not packaged. */

struct h2_table {
    void *entries;
    size_t num_entries, entry_capacity, entry_start_index;
    size_t size, capacity, max_capacity;
};

struct h2_counts {
    uint32_t open, half_closed, send_body;
};

enum { H2_IS_CLOSING = 2 };

struct h2_conn {
    h2o_conn_t super;
    h2o_socket_t *sock;
    h2o_http2_settings_t peer_settings;
    void *streams;
    uint32_t pull_max_open, pull_max_processed, push_max_open;
    struct h2_counts counts[3];
    h2o_http2_scheduler_node_t scheduler;
    int state;
    h2o_linklist_t conns;
    void *read_expect;
    h2o_buffer_t *http1_input;
    struct h2_table input_table;
    ssize_t input_window;
    struct h2_table output_table;
    h2o_linklist_t pending;
    h2o_timeout_entry_t timeout;
    h2o_buffer_t *headers_unparsed;
    h2o_buffer_t *write_buf;
};

struct h2_stream {
    uint32_t stream_id;
    h2o_ostream_t ostr_final;
    int state;
    ssize_t output_window, input_window;
    h2o_http2_priority_t priority;
    h2o_buffer_t *req_body;
    size_t expected_content_length;
    H2O_VECTOR(h2o_iovec_t) data;
    h2o_ostream_pull_cb pull_cb;
    struct h2_counts *counts;
    void *cache_digests;
    uint32_t of_push, of_promise;
    h2o_linklist_t link;
    h2o_http2_scheduler_openref_t scheduler;
    h2o_send_state_t send_state;
    h2o_req_t req;
};

/* The guard of guard_h2.c, and behind it libh2o's. */
void h2o_hpack_flatten_response(h2o_buffer_t **buf, void *table, uint32_t stream_id,
                                size_t max_frame_size, h2o_res_t *res, h2o_timestamp_t *ts,
                                const h2o_iovec_t *server_name, size_t content_length);
void h2o_http2_conn_request_write(void *conn);

static void relay_h2(struct server_request *r, int status, const struct http_fields *fields)
{
    struct h2_conn *c = (struct h2_conn *)r->req->conn;
    struct h2_stream *s = H2O_STRUCT_FROM_MEMBER(struct h2_stream, req, r->req);
    h2o_res_t res = {.status = status, .content_length = SIZE_MAX};
    h2o_timestamp_t ts;

    CHECK(c->sock == r->conn->sock && s->stream_id % 2 == 1 && s->stream_id <= c->pull_max_open);
    if (c->state >= H2_IS_CLOSING)
        return;
    for (size_t i = 0; i < fields->count; i++) {
        const struct http_field *f = &fields->item[i];

        h2o_add_header_by_str(&r->req->pool, &res.headers, f->name.p, f->name.n, 1, NULL,
                              f->value.p, f->value.n);
    }
    h2o_get_timestamp(r->req->conn->ctx, &r->req->pool, &ts);
    h2o_hpack_flatten_response(&c->write_buf, &c->output_table, s->stream_id,
                               c->peer_settings.max_frame_size, &res, &ts,
                               &r->req->conn->ctx->globalconf->server_name, SIZE_MAX);
    h2o_http2_conn_request_write(c);
}

/* ---- both ---- */

void interim_relay(void *request, int status, const struct http_fields *fields)
{
    struct server_request *r = request;

    if (r->is_answered || r->is_sent || r->tunnel != NULL || r->req->version < 0x101 ||
        r->interim.count >= INTERIMS_MAX)
        return;
    r->interim.count++;
    if (r->req->version >= 0x200)
        relay_h2(r, status, fields);
    else
        relay_h1(r, status, fields);
}
