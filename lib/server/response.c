/* An answer on its way to the client. */
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/metrics.h"
#include "http/date.h"
#include "server/region.h"
#include "server/request.h"

enum {
    PUSHED_BYTES_MAX = 256 * 1024, /* on the way to one connection, before pieces become small */
    PUSH_SMALL_BYTES = 8192,       /* then: its streams go on, and what they pin stays bounded */
};

/* ---- the moment of sending ---- */

/*
 * libh2o writes Date itself, always of now.  A stored answer has the Date of its origin: libh2o's
 * cached text is exchanged while the head is flattened, which is inside the first send.
 */
struct sending {
    struct worker *worker;
    h2o_timestamp_string_t *now; /* libh2o's; NULL: not exchanged */
};

static struct sending sending_begin(struct server_request *r)
{
    struct request_worker *rw = r->worker->request;
    h2o_context_t *ctx = &r->worker->ctx;
    struct sending s = {.worker = r->worker};

    r->is_sent = true;
    r->status = r->req->res.status;
    r->first_us = clock_mono_us();
    if (r->date_s < 0 || r->date_s == h2o_get_timestamp(ctx, NULL, NULL)->tv_sec)
        return s;
    if (rw->date == NULL || rw->date_s != r->date_s) {
        if (rw->date != NULL)
            h2o_mem_release_shared(rw->date);
        rw->date = h2o_mem_alloc_shared(NULL, sizeof(*rw->date), NULL);
        memset(rw->date, 0, sizeof(*rw->date));
        http_date_format(r->date_s, rw->date->rfc1123);
        rw->date_s = r->date_s;
    }
    s.now = ctx->_timestamp_cache.value;
    ctx->_timestamp_cache.value = rw->date;
    return s;
}

static void sending_end(struct sending s)
{
    if (s.now != NULL)
        s.worker->ctx._timestamp_cache.value = s.now;
}

void response_output_begin(struct server_request *r)
{
    if (r->is_output)
        return;
    r->is_output = true;
    conn_output_begin(r->conn);
}

void response_output_end(struct server_request *r)
{
    if (!r->is_output)
        return;
    r->is_output = false;
    conn_output_end(r->conn);
}

static void count_body(struct server_request *r, size_t bytes)
{
    r->body_bytes += bytes;
    metrics_add(METRIC_CLIENT_BYTES, (int64_t)bytes);
    if (r->left != CACHE_BYTES_UNKNOWN)
        r->left -= bytes;
}

/* ---- pulled: libh2o asks whenever it has room ---- */

static h2o_send_state_t pulled_over(struct server_request *r, h2o_send_state_t state)
{
    r->is_over = true;
    return state;
}

static h2o_send_state_t on_pull(h2o_generator_t *g, h2o_req_t *req, h2o_iovec_t *buf)
{
    struct server_request *r = (struct server_request *)g;
    size_t want = buf->len < r->left ? buf->len : (size_t)r->left;
    enum cache_body got = CACHE_BODY_MORE;

    (void)req;
    /* never more than Content-Length in all: libh2o has no room for it */
    for (buf->len = 0; buf->len < want && got == CACHE_BODY_MORE;) {
        size_t n = 0;

        got = cache_body_pull(r->exchange, buf->base + buf->len, want - buf->len, &n);
        if (got == CACHE_BODY_BROKEN)
            return pulled_over(r, H2O_SEND_STATE_ERROR);
        buf->len += n;
    }
    count_body(r, buf->len);
    if (r->left == 0)
        return pulled_over(r, H2O_SEND_STATE_FINAL);
    /* it ended before its length: never a clean end */
    return got == CACHE_BODY_END ? pulled_over(r, H2O_SEND_STATE_ERROR)
                                 : H2O_SEND_STATE_IN_PROGRESS;
}

/* ---- pushed: a few counted blocks, and on when they were taken ---- */

static void release_held(struct server_request *r)
{
    for (unsigned i = 0; i < r->held_count; i++)
        block_unref(r->held[i]);
    CHECK(r->conn->pushed_bytes >= r->held_bytes);
    r->conn->pushed_bytes -= r->held_bytes;
    r->held_count = 0;
    r->held_bytes = 0;
}

/* Take what is there, up to one push.  WAIT and BROKEN are said only when nothing came before. */
static enum cache_body gather(struct server_request *r, h2o_iovec_t iov[REQUEST_PIECES_MAX])
{
    size_t max = r->conn->pushed_bytes + LIMIT_PUSH_BYTES <= PUSHED_BYTES_MAX ? LIMIT_PUSH_BYTES
                                                                              : PUSH_SMALL_BYTES;
    enum cache_body got = CACHE_BODY_MORE;

    while (got == CACHE_BODY_MORE && r->held_bytes < max && r->held_count < REQUEST_PIECES_MAX) {
        struct cache_piece piece = {0};

        got = cache_body_next(r->exchange, max - r->held_bytes, &piece);
        if (got == CACHE_BODY_WAIT || got == CACHE_BODY_BROKEN)
            break;
        if (piece.n == 0) {
            block_unref(piece.block);
            continue;
        }
        iov[r->held_count] = h2o_iovec_init(piece.p, piece.n);
        r->held[r->held_count++] = piece.block;
        r->held_bytes += piece.n;
    }
    r->conn->pushed_bytes += r->held_bytes;
    if (r->left != CACHE_BYTES_UNKNOWN &&
        (r->held_bytes > r->left || (got == CACHE_BODY_END && r->held_bytes < r->left))) {
        release_held(r); /* not the length that was promised */
        return CACHE_BODY_BROKEN;
    }
    r->is_broken = got == CACHE_BODY_BROKEN;
    return r->held_count > 0 && got != CACHE_BODY_END ? CACHE_BODY_MORE : got;
}

/* HTTP/1.0 without a length: there, closing is how a body ends. */
static void reset_on_close(struct server_request *r)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    if (r->req->version < 0x101 && r->req->res.content_length == SIZE_MAX && r->conn->sock != NULL)
        (void)setsockopt(h2o_socket_get_fd(r->conn->sock), SOL_SOCKET, SO_LINGER, &now,
                         sizeof(now));
}

void response_cut(struct server_request *r)
{
    r->is_over = true;
    reset_on_close(r);
    h2o_send(r->req, NULL, 0, H2O_SEND_STATE_ERROR);
}

static void push(struct server_request *r)
{
    h2o_iovec_t iov[REQUEST_PIECES_MAX];
    enum cache_body got;

    CHECK(!r->is_sending);
    got = r->is_broken ? CACHE_BODY_BROKEN : gather(r, iov);
    if (got == CACHE_BODY_WAIT)
        return; /* response_client.ready comes */
    if (got == CACHE_BODY_BROKEN) {
        response_cut(r);
        return;
    }
    count_body(r, r->held_bytes);
    response_output_begin(r);
    r->is_sending = true;
    r->is_over = got == CACHE_BODY_END;
    h2o_send(r->req, iov, r->held_count,
             r->is_over ? H2O_SEND_STATE_FINAL : H2O_SEND_STATE_IN_PROGRESS);
}

static void on_proceed(h2o_generator_t *g, h2o_req_t *req)
{
    struct server_request *r = (struct server_request *)g;

    (void)req;
    r->is_sending = false;
    response_output_end(r);
    release_held(r);
    push(r);
}

static void push_first(struct server_request *r)
{
    h2o_iovec_t iov[REQUEST_PIECES_MAX];
    enum cache_body got = gather(r, iov);
    struct sending s;

    if (got == CACHE_BODY_BROKEN) {
        static const struct local_answer bad_gateway = {
            .status = 502, .reason = "broken", .text = "the origin's answer broke off\n"};

        response_local(r, &bad_gateway);
        return;
    }
    r->generator.proceed = on_proceed;
    count_body(r, r->held_bytes);
    response_output_begin(r);
    r->is_sending = true;
    r->is_over = got == CACHE_BODY_END;
    s = sending_begin(r);
    h2o_start_response(r->req, &r->generator);
    /* with nothing to send yet, this sends the head alone */
    h2o_send(r->req, iov, r->held_count,
             r->is_over ? H2O_SEND_STATE_FINAL : H2O_SEND_STATE_IN_PROGRESS);
    sending_end(s);
}

/* ---- the answer ---- */

static void send_head_alone(struct server_request *r)
{
    struct sending s = sending_begin(r);

    r->is_over = true;
    response_output_begin(r);
    h2o_start_response(r->req, &r->generator);
    h2o_send(r->req, NULL, 0, H2O_SEND_STATE_FINAL);
    sending_end(s);
}

static void pull(struct server_request *r)
{
    struct sending s = sending_begin(r);
    h2o_ostream_t *top;

    response_output_begin(r);
    h2o_start_response(r->req, &r->generator);
    top = r->req->_ostr_top;
    CHECK(top->start_pull !=
          NULL); /* NULL where a filter is on top, and none is for known lengths */
    top->start_pull(top, on_pull);
    sending_end(s);
}

void response_begin(struct server_request *r)
{
    if (interim_holds_answer(r))
        return;
    if (r->is_moved)
        region_redirect(r);
    else if (!r->has_body || r->left == 0)
        send_head_alone(r);
    else if (r->may_pull && r->left != CACHE_BYTES_UNKNOWN)
        pull(r);
    else
        push_first(r);
}

static void on_answer(void *user, const struct cache_answer *a)
{
    struct server_request *r = user;

    CHECK(!r->is_answered);
    r->is_answered = true;
    r->has_body = a->has_body && !r->is_head;
    r->may_pull = a->may_pull;
    r->is_stream = a->is_stream;
    r->left = a->body_bytes;
    r->date_s = a->date_s;
    r->cache_verdict = a->verdict;
    r->is_moved = region_is_worth_it(r, a);
    response_fields_set(r, a);
    if (r->exchange != NULL) /* else request.c goes on when cache_start() has returned */
        response_begin(r);
}

static void on_ready(void *user)
{
    struct server_request *r = user;

    if (r->is_sent && !r->is_sending && !r->is_over)
        push(r);
}

const struct cache_client response_client = {on_answer, on_ready, interim_relay};

/* ---- answers of our own ---- */

static void add_text(struct server_request *r, struct slice name, const char *value)
{
    if (value != NULL)
        response_field_add(r->req, name, slice_of(value));
}

void response_local(struct server_request *r, const struct local_answer *a)
{
    h2o_req_t *req = r->req;
    size_t bytes = a->text == NULL ? 0 : strlen(a->text);

    if (interim_holds_local(r, a))
        return;
    r->verdict = a->verdict;
    r->cache_verdict = VERDICT_ERROR;
    r->reason = a->reason;
    req->res.status = a->status;
    req->res.reason = response_reason(a->status);
    req->res.content_length = a->status == 204 ? SIZE_MAX : bytes;
    req->res.headers.size = 0; /* of an answer that broke off before it began */
    add_text(r, SLICE("location"), a->location);
    add_text(r, SLICE("allow"), a->allow);
    add_text(r, SLICE("retry-after"), a->retry_after);
    add_text(r, SLICE("sec-websocket-version"), a->websocket_version);
    add_text(r, SLICE("selvage-error"), a->peer_error);
    if (bytes > 0)
        response_field_add(req, SLICE("content-type"), SLICE("text/plain; charset=utf-8"));
    if (a->is_for_any_origin)
        response_field_add(req, SLICE("access-control-allow-origin"), SLICE("*"));
    if (a->location == NULL || a->is_not_kept) /* a redirect may be kept, as its status says */
        response_field_add(req, SLICE("cache-control"), SLICE("no-store"));
    response_fields_local(r);
    r->is_sent = r->is_over = true;
    r->status = a->status;
    r->first_us = clock_mono_us();
    response_output_begin(r);
    if (!r->is_head)
        r->body_bytes = bytes;
    h2o_send_inline(req, a->text == NULL ? "" : a->text, r->is_head ? 0 : bytes);
}

void response_release(struct server_request *r)
{
    release_held(r);
    response_output_end(r);
}
