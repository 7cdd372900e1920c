/*
 * HTTP/2 from outside libh2o: frames, header blocks and pseudo-fields.
 *
 * - A header block is refused before it is decoded when it is too long or has too many fields:
 * one-byte references to the dynamic table decode to a hundred times their size.  Connection error,
 * ENHANCE_YOUR_CALM.
 * - Continuations are counted: libh2o takes empty ones without end, and loops for ever over one
 * that comes after the second GOAWAY of a drain.
 * - Frame types that libh2o does not know are swallowed; it writes a line to stderr for each, and
 * browsers send them.
 * - The decoded head is held to RFC 9113 section 8.3: what is wrong gets a 400, 413 or 431 on its
 * stream, with a reason.  libh2o itself answers a body over the limit with REFUSED_STREAM, which
 * clients repeat.
 * - Age, Cache-Status and the request id of a response go out as literals that are not indexed: in
 * the dynamic table they would push out what repeats, and libh2o walks all of it for each field.
 * - Cookie crumbs are joined (section 8.2.3); fields in trailers are dropped, as they could not be
 * told apart from those of the head.
 */
#include <string.h>

#include "base/limits.h"
#include "base/metrics.h"
#include "base/slice.h"
#include "http/fields.h"
#include "server/accesslog.h"
#include "server/guards.h"

/* As in h2o/http2_internal.h, which cannot be included: it needs a header that is not packaged. */
struct h2_frame {
    uint32_t length;
    uint8_t type;
    uint8_t flags;
    uint32_t stream_id;
    const uint8_t *payload;
};

enum { FRAME_DATA = 0, FRAME_GOAWAY = 7, FRAME_CONTINUATION = 9, FRAME_LAST_KNOWN = 9 };
enum { FRAME_END_STREAM = 1, FRAME_END_HEADERS = 4, FRAME_HEAD_BYTES = 9 };
enum { LENGTH_BYTE_MAX = 127 }; /* below it, a string's length is one byte of HPACK */

typedef ssize_t frame_fn(struct h2_frame *frame, const uint8_t *src, size_t len,
                         const void *host_settings, const char **err_desc);
typedef int headers_fn(h2o_req_t *req, void *table, const uint8_t *src, size_t len,
                       int *pseudo_header_exists_map, size_t *content_length, void *digests,
                       const char **err_desc);
typedef void accept_fn(h2o_accept_ctx_t *ctx, h2o_socket_t *sock, struct timeval connected_at);
typedef void error_fn(h2o_req_t *req, int status, const char *reason, const char *body, int flags);
typedef void flatten_fn(h2o_buffer_t **buf, void *table, uint32_t stream_id, size_t max_frame_size,
                        h2o_res_t *res, h2o_timestamp_t *ts, const h2o_iovec_t *server_name,
                        size_t content_length);
flatten_fn h2o_hpack_flatten_response;
frame_fn h2o_http2_decode_frame;
headers_fn h2o_hpack_parse_headers;
accept_fn h2o_http2_accept;

static frame_fn *original_frame;
static headers_fn *original_headers;
static accept_fn *original_accept;
static error_fn *original_error;
static flatten_fn *original_flatten;

/* Told apart by address in h2o_send_error_generic(). */
static const char too_large[] = "the request body is larger than the limit\n";
static const char too_many[] = "the request has more than 100 header fields\n";

void h2o_http2_accept(h2o_accept_ctx_t *ctx, h2o_socket_t *sock, struct timeval connected_at)
{
    /* libh2o parses here what came with the last flight of the handshake */
    struct conn *c = conn_accept_begin(sock, true);

    original_accept(ctx, sock, connected_at);
    conn_read_end(c);
}

/* A frame that does nothing: a GOAWAY from a client only stops pushes, and we push nothing. */
static void make_nothing(struct h2_frame *frame)
{
    static const uint8_t nothing[8];

    *frame = (struct h2_frame){sizeof(nothing), FRAME_GOAWAY, 0, 0, nothing};
}

ssize_t h2o_http2_decode_frame(struct h2_frame *frame, const uint8_t *src, size_t len,
                               const void *host_settings, const char **err_desc)
{
    struct conn *c = conn_reading();
    uint32_t owed_stream_id = 0;
    size_t owed = c == NULL ? 0 : conn_h2_owed(c, &owed_stream_id);
    ssize_t bytes;

    if (c != NULL && c->is_shut) {
        /* one read may hold a thousand requests more */
        *err_desc = "connection shut";
        return H2O_HTTP2_ERROR_ENHANCE_YOUR_CALM;
    }
    if (owed > 0) {
        /* late DATA of a closed stream, of which nothing is read but the length; no input is used
         * up */
        *frame = (struct h2_frame){(uint32_t)owed, FRAME_DATA, 0, owed_stream_id, src};
        return 0;
    }
    bytes = original_frame(frame, src, len, host_settings, err_desc);
    if (bytes < 0)
        return bytes;
    switch (c == NULL
                ? CONN_FRAME_TAKE
                : conn_h2_frame(c, frame->type, frame->flags, frame->stream_id, frame->length)) {
    case CONN_FRAME_TOO_LARGE:
        metrics_add(METRIC_GUARD_HEADER_BLOCK, 1);
        *err_desc = "header block too large";
        return H2O_HTTP2_ERROR_ENHANCE_YOUR_CALM;
    case CONN_FRAME_SWALLOW:
        make_nothing(frame);
        break;
    case CONN_FRAME_END:
        frame->length = 0;
        frame->flags = FRAME_END_STREAM;
        break;
    case CONN_FRAME_TAKE:
        if (frame->type > FRAME_LAST_KNOWN)
            make_nothing(frame);
        break;
    }
    return bytes;
}

/* An integer of RFC 7541 section 5.1; SIZE_MAX when it does not end, or is beyond all use. */
static size_t skip_int(const uint8_t **p, const uint8_t *end, unsigned bits)
{
    size_t v = *(*p)++ & ((1u << bits) - 1);

    if (v != (1u << bits) - 1)
        return v;
    for (unsigned shift = 0; *p < end && shift < 28; shift += 7) {
        uint8_t b = *(*p)++;

        v += (size_t)(b & 0x7f) << shift;
        if ((b & 0x80) == 0)
            return v;
    }
    return SIZE_MAX;
}

static bool skip_strings(const uint8_t **p, const uint8_t *end, int count)
{
    for (; count > 0; count--) {
        size_t bytes;

        if (*p >= end)
            return false;
        bytes = skip_int(p, end, 7);
        if (bytes > (size_t)(end - *p))
            return false;
        *p += bytes;
    }
    return true;
}

/* Fields in a block, not decoding them; SIZE_MAX when it is malformed: then the library says so. */
static size_t count_fields(const uint8_t *p, size_t bytes)
{
    const uint8_t *end = p + bytes;
    size_t fields = 0;

    while (p < end) {
        bool is_indexed = (*p & 0x80) != 0, is_size_update = (*p & 0xe0) == 0x20;
        size_t index = skip_int(&p, end, is_indexed ? 7 : is_size_update ? 5 : *p & 0x40 ? 6 : 4);

        if (index == SIZE_MAX)
            return SIZE_MAX;
        if (is_size_update)
            continue;
        if (!is_indexed && !skip_strings(&p, end, index == 0 ? 2 : 1))
            return SIZE_MAX;
        fields++;
    }
    return fields;
}

static struct slice slice_of_iovec(h2o_iovec_t v)
{
    return (struct slice){v.base, v.len};
}

/* All cookies in one field, "; " between them. */
static h2o_iovec_t join_cookies(h2o_req_t *req, size_t bytes)
{
    char *p = h2o_mem_alloc_pool(&req->pool, bytes), *at = p;

    for (size_t i = 0; i < req->headers.size; i++) {
        h2o_header_t *field = &req->headers.entries[i];

        if (field->name != &H2O_TOKEN_COOKIE->buf)
            continue;
        if (at != p) {
            *at++ = ';';
            *at++ = ' ';
        }
        memcpy(at, field->value.base, field->value.len);
        at += field->value.len;
    }
    return h2o_iovec_init(p, (size_t)(at - p));
}

/*
 * Take Host out of the list, which guard_h2_check() made libh2o put there, and join the cookies.
 *
 *   out_hosts   how many Host fields there were; *out_host is the last
 */
static void settle_fields(h2o_req_t *req, struct slice *out_host, size_t *out_hosts)
{
    size_t kept = 0, cookies = 0, cookie_bytes = 0, first_cookie = 0;
    h2o_iovec_t joined;

    *out_hosts = 0;
    *out_host = (struct slice){NULL, 0};
    for (size_t i = 0; i < req->headers.size; i++) {
        if (req->headers.entries[i].name == &H2O_TOKEN_COOKIE->buf) {
            cookies++;
            cookie_bytes += req->headers.entries[i].value.len + 2;
        }
    }
    if (cookies > 1)
        joined = join_cookies(req, cookie_bytes);
    for (size_t i = 0; i < req->headers.size; i++) {
        h2o_header_t *field = &req->headers.entries[i];

        if (field->name == &H2O_TOKEN_HOST->buf) {
            *out_host = slice_of_iovec(field->value);
            ++*out_hosts;
            continue;
        }
        if (cookies > 1 && field->name == &H2O_TOKEN_COOKIE->buf) {
            if (first_cookie++ > 0)
                continue;
            field->value = joined;
        }
        req->headers.entries[kept++] = *field;
    }
    req->headers.size = kept;
}

static bool path_is_sound(struct slice method, struct slice path)
{
    if (slice_eq(path, SLICE("*")))
        return slice_eq(method, SLICE("OPTIONS"));
    if (path.n == 0 || path.p[0] != '/')
        return false;
    for (size_t i = 0; i < path.n; i++)
        if ((unsigned char)path.p[i] <= ' ' || path.p[i] == 0x7f)
            return false;
    return true;
}

/* What is wrong with the pseudo-fields and Host, or NULL. */
static const char *pseudo_error(h2o_req_t *req, struct slice host, size_t hosts)
{
    struct slice method = slice_of_iovec(req->input.method);
    struct slice authority = slice_of_iovec(req->input.authority);

    if (!http_is_token(method))
        return ":method is no token\n";
    if (!path_is_sound(method, slice_of_iovec(req->input.path)))
        return ":path is malformed\n";
    if (req->input.scheme != &H2O_URL_SCHEME_HTTPS)
        return ":scheme is not https\n"; /* HTTP/2 is spoken over TLS alone */
    if (hosts > 1)
        return "more than one host field\n";
    if (authority.p == NULL && hosts == 1) {
        req->input.authority = h2o_iovec_init(host.p, host.n);
        return host.n > 0 ? NULL : "the host field is empty\n";
    }
    if (authority.n == 0)
        return ":authority is missing\n";
    if (hosts == 1 && !slice_eq_nocase(authority, host))
        return ":authority and host differ\n";
    return NULL;
}

/* What is wrong with a decoded head, or NULL. */
static const char *head_error(struct conn *c, h2o_req_t *req, size_t content_length)
{
    struct slice host;
    size_t hosts;
    const char *error;

    settle_fields(req, &host, &hosts);
    if (req->headers.size > LIMIT_FIELDS) {
        metrics_add(METRIC_GUARD_HEADER_BLOCK, 1);
        return too_many;
    }
    if (content_length != SIZE_MAX &&
        content_length > req->conn->ctx->globalconf->max_request_entity_size)
        return too_large;
    error = pseudo_error(req, host, hosts);
    /* RFC 9113 section 8.1.1; bodies that do come are counted by libh2o */
    if (error == NULL && c != NULL && c->head_ends_stream && content_length != SIZE_MAX &&
        content_length != 0)
        error = "content-length does not match the body\n";
    if (error != NULL)
        metrics_add(METRIC_GUARD_PSEUDO_FIELDS, 1);
    return error;
}

static int parse_trailers(h2o_req_t *req, void *table, const uint8_t *src, size_t len,
                          size_t *content_length, const char **err_desc)
{
    size_t fields = req->headers.size;
    int rc = original_headers(req, table, src, len, NULL, content_length, NULL, err_desc);

    req->headers.size = fields;
    /* a number of libh2o's own, which it would send to the client as it is */
    return rc == H2O_HTTP2_ERROR_INVALID_HEADER_CHAR ? H2O_HTTP2_ERROR_PROTOCOL : rc;
}

int h2o_hpack_parse_headers(h2o_req_t *req, void *table, const uint8_t *src, size_t len,
                            int *pseudo_header_exists_map, size_t *content_length, void *digests,
                            const char **err_desc)
{
    struct conn *c = conn_reading();
    size_t fields = len > LIMIT_HEAD_BYTES ? 0 : count_fields(src, len);
    const char *error;
    int rc;

    if (len > LIMIT_HEAD_BYTES || (fields != SIZE_MAX && fields > LIMIT_FIELDS_HPACK)) {
        metrics_add(METRIC_GUARD_HEADER_BLOCK, 1);
        *err_desc = "header block too large";
        return H2O_HTTP2_ERROR_ENHANCE_YOUR_CALM;
    }
    if (pseudo_header_exists_map == NULL)
        return parse_trailers(req, table, src, len, content_length, err_desc);
    rc = original_headers(req, table, src, len, pseudo_header_exists_map, content_length, digests,
                          err_desc);
    /* without one of the three the library resets the stream */
    if (rc != 0 || req->input.method.base == NULL || req->input.path.base == NULL ||
        req->input.scheme == NULL)
        return rc;
    error = head_error(c, req, *content_length);
    if (c != NULL)
        conn_h2_head(c, req, error != NULL);
    if (error == NULL)
        return 0;
    *err_desc = error;
    return H2O_HTTP2_ERROR_INVALID_HEADER_CHAR; /* answered at once, not waiting for the body */
}

/* Of fields that are ours; what differs from answer to answer. */
static bool differs_each_time(struct slice name)
{
    return slice_eq(name, SLICE("age")) || slice_eq(name, SLICE("cache-status")) ||
           slice_eq(name, SLICE("x-request-id"));
}

/* Append a field to the header block that begins at `at` and ends the buffer. */
static void append_literal(h2o_buffer_t **buf, size_t at, uint32_t stream_id, size_t max_frame_size,
                           struct slice name, struct slice value)
{
    size_t bytes = 3 + name.n + value.n, length;
    uint8_t *frame, *to = (uint8_t *)h2o_buffer_reserve(buf, FRAME_HEAD_BYTES + bytes).base;

    for (;; at += FRAME_HEAD_BYTES + length) { /* the last of HEADERS and its CONTINUATIONs */
        frame = (uint8_t *)(*buf)->bytes + at;
        length = (size_t)frame[0] << 16 | (size_t)frame[1] << 8 | frame[2];
        if ((frame[4] & FRAME_END_HEADERS) != 0)
            break;
    }
    if (length + bytes > max_frame_size) {
        frame[4] = (uint8_t)(frame[4] & ~FRAME_END_HEADERS);
        frame = to;
        length = 0;
        frame[3] = FRAME_CONTINUATION;
        frame[4] = FRAME_END_HEADERS;
        for (unsigned i = 0; i < 4; i++)
            frame[5 + i] = (uint8_t)(stream_id >> (24 - 8 * i));
        to += FRAME_HEAD_BYTES;
    }
    length += bytes;
    for (unsigned i = 0; i < 3; i++)
        frame[i] = (uint8_t)(length >> (16 - 8 * i));
    *to++ = 0; /* RFC 7541 section 6.2.2 */
    *to++ = (uint8_t)name.n;
    memcpy(to, name.p, name.n);
    to += name.n;
    *to++ = (uint8_t)value.n;
    memcpy(to, value.p, value.n);
    (*buf)->size = (size_t)((char *)to + value.n - (*buf)->bytes);
}

void h2o_hpack_flatten_response(h2o_buffer_t **buf, void *table, uint32_t stream_id,
                                size_t max_frame_size, h2o_res_t *res, h2o_timestamp_t *ts,
                                const h2o_iovec_t *server_name, size_t content_length)
{
    enum { HELD_MAX = 3 };
    size_t at = (*buf)->size, kept = 0, held_count = 0;
    h2o_header_t held[HELD_MAX];

    for (size_t i = 0; i < res->headers.size; i++) {
        h2o_header_t *f = &res->headers.entries[i];

        if (held_count < HELD_MAX && f->value.len < LENGTH_BYTE_MAX &&
            differs_each_time(slice_of_iovec(*f->name)))
            held[held_count++] = *f;
        else
            res->headers.entries[kept++] = *f;
    }
    res->headers.size = kept;
    original_flatten(buf, table, stream_id, max_frame_size, res, ts, server_name, content_length);
    for (size_t i = 0; i < held_count; i++) {
        append_literal(buf, at, stream_id, max_frame_size, slice_of_iovec(*held[i].name),
                       slice_of_iovec(held[i].value));
        res->headers.entries[res->headers.size++] = held[i];
    }
}

static struct slice or_dash(h2o_iovec_t v)
{
    return v.base == NULL || v.len == 0 ? SLICE("-") : slice_of_iovec(v);
}

static void log_refusal(struct conn *c, const h2o_req_t *req, int status, size_t bytes)
{
    struct accesslog_line line = {
        .method = or_dash(req->input.method),
        .host = or_dash(req->input.authority),
        .target = or_dash(req->input.path),
        .protocol = req->version < 0x200 ? "http/1.1" : "h2",
        .status = status,
        .bytes = bytes,
        .reason = status == 413   ? "body-too-large"
                  : status == 431 ? "too-many-fields"
                                  : "malformed",
    };

    guard_log_refusal(c, &line);
}

void h2o_send_error_generic(h2o_req_t *req, int status, const char *reason, const char *body,
                            int flags)
{
    enum { TEXT_BYTES = 96 };

    if (body == too_many) {
        status = 431;
        reason = "Request Header Fields Too Large";
    }
    if (body == too_large || status == 413) {
        char *text = h2o_mem_alloc_pool(&req->pool, TEXT_BYTES);

        metrics_add(METRIC_GUARD_BODY_SIZE, 1);
        snprintf(text, TEXT_BYTES, "the request body is larger than the limit of %zu bytes\n",
                 req->conn->ctx->globalconf->max_request_entity_size);
        status = 413;
        reason = "Content Too Large";
        body = text;
    }
    if (conn_reading() != NULL)
        log_refusal(conn_reading(), req, status, strlen(body));
    if (req->version < 0x200 && conn_reading() != NULL)
        conn_linger(conn_reading());
    original_error(req, status, reason, body, flags);
}

void guard_h2_check(void)
{
    guard_check_one("h2o_http2_accept", (void *)h2o_http2_accept);
    guard_check_one("h2o_http2_decode_frame", (void *)h2o_http2_decode_frame);
    guard_check_one("h2o_hpack_parse_headers", (void *)h2o_hpack_parse_headers);
    guard_check_one("h2o_send_error_generic", (void *)h2o_send_error_generic);
    guard_check_one("h2o_hpack_flatten_response", (void *)h2o_hpack_flatten_response);
    original_accept = (accept_fn *)guard_original("h2o_http2_accept");
    original_frame = (frame_fn *)guard_original("h2o_http2_decode_frame");
    original_headers = (headers_fn *)guard_original("h2o_hpack_parse_headers");
    original_error = (error_fn *)guard_original("h2o_send_error_generic");
    original_flatten = (flatten_fn *)guard_original("h2o_hpack_flatten_response");
    /* libh2o skips Host in HTTP/2; then nobody could compare it with :authority */
    H2O_TOKEN_HOST->http2_should_reject = 0;
}
