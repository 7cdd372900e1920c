/*
 * Request heads of HTTP/1.x to the letter, before libh2o decides where the body ends.
 *
 * libh2o's parser takes bare LF, folded lines, several lengths, a length beside chunks and more;
 * each of these is a way to make two parsers see two different requests (RFC 9112 section 11.2).
 * What is refused here gets libh2o's own 400, or a 431 when it is too large, and the connection is
 * closed.
 */
#include <stdbool.h>
#include <string.h>

#include "base/limits.h"
#include "base/metrics.h"
#include "base/slice.h"
#include "http/fields.h"
#include "server/accesslog.h"
#include "server/guards.h"

enum { MALFORMED = -1, TO_BE_CONTINUED = -2 };

/* As in picohttpparser.h. */
struct phr_header {
    const char *name;
    size_t name_len;
    const char *value;
    size_t value_len;
};

typedef int parse_fn(const char *buf, size_t len, const char **method, size_t *method_len,
                     const char **path, size_t *path_len, int *minor_version,
                     struct phr_header *headers, size_t *num_headers, size_t last_len);
parse_fn phr_parse_request;

static parse_fn *original;

/* What a head says that decides about its framing. */
struct head {
    struct slice method, target, host;
    bool is_11;
    unsigned hosts, lengths, codings;
    bool is_chunked; /* the last Transfer-Encoding said exactly that */
    size_t fields;
};

static bool has_control(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return true;
    }
    return false;
}

/* METHOD SP target SP HTTP/1.[01], nothing more (RFC 9112 section 3). */
static bool read_request_line(struct head *h, struct slice line)
{
    static const struct slice version = SLICE(" HTTP/1.");
    size_t method_bytes = slice_index(line, ' ');
    struct slice end;

    if (line.n < method_bytes + 2 + version.n)
        return false;
    end = slice_from(line, line.n - version.n - 1);
    if (!slice_starts_with(end, version) || (end.p[version.n] != '0' && end.p[version.n] != '1'))
        return false;
    h->is_11 = end.p[version.n] == '1';
    h->method = slice_head(line, method_bytes);
    h->target = (struct slice){line.p + method_bytes + 1, line.n - method_bytes - 1 - end.n};
    return http_is_token(h->method) && h->target.n > 0 &&
           slice_index(h->target, ' ') == h->target.n &&
           slice_index(h->target, '\t') == h->target.n;
}

static bool is_all_digits(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return s.n > 0;
}

static bool read_field(struct head *h, struct slice line)
{
    size_t colon = slice_index(line, ':');
    struct slice name = slice_head(line, colon), value;

    /* a token: so no fold (it begins with a space) and no space before the colon */
    if (colon == line.n || !http_is_token(name) || ++h->fields > LIMIT_FIELDS)
        return false;
    value = slice_trim(slice_from(line, colon + 1));
    if (slice_eq_nocase(name, SLICE("host"))) {
        h->hosts++;
        h->host = value;
    } else if (slice_eq_nocase(name, SLICE("content-length"))) {
        h->lengths++;
        return is_all_digits(value);
    } else if (slice_eq_nocase(name, SLICE("transfer-encoding"))) {
        h->codings++;
        h->is_chunked = slice_eq_nocase(value, SLICE("chunked"));
    }
    return true;
}

static bool framing_is_sound(const struct head *h)
{
    if (h->hosts > 1 || (h->is_11 && h->hosts == 0))
        return false;
    if (h->lengths > 1 || h->codings > 1 || (h->lengths > 0 && h->codings > 0))
        return false;
    return h->codings == 0 || (h->is_chunked && h->is_11);
}

/* Read the head in `p`, which ends with its empty line. */
static bool read_head(struct head *h, struct slice p)
{
    bool is_first = true;

    *h = (struct head){0};
    while (p.n > 0) {
        size_t lf = slice_index(p, '\n');
        struct slice line;

        if (lf == p.n || lf == 0 || p.p[lf - 1] != '\r')
            return false;
        line = slice_head(p, lf - 1);
        p = slice_from(p, lf + 1);
        if (line.n == 0) {
            if (!is_first)
                break;
            continue; /* RFC 9112 section 2.2: an empty line in front of the request */
        }
        if (has_control(line) || !(is_first ? read_request_line(h, line) : read_field(h, line)))
            return false;
        is_first = false;
    }
    return !is_first && framing_is_sound(h);
}

/*
 * Which form the target has, and whether the method may have it (RFC 9112 section 3.2).  Absolute
 * form, which every server must take, becomes origin form; its authority must be the one of Host.
 */
static bool settle_target(const struct head *h, struct slice *out)
{
    struct slice authority, rest;
    size_t at;

    *out = h->target;
    if (slice_eq_nocase(h->method, SLICE("CONNECT")))
        return slice_index(h->target, '/') ==
               h->target.n; /* the method is refused later, with a 405 */
    if (slice_eq(h->target, SLICE("*")))
        return slice_eq(h->method, SLICE("OPTIONS"));
    if (h->target.p[0] == '/')
        return true;
    if (h->target.n > 8 && slice_eq_nocase(slice_head(h->target, 8), SLICE("https://")))
        rest = slice_from(h->target, 8);
    else if (h->target.n > 7 && slice_eq_nocase(slice_head(h->target, 7), SLICE("http://")))
        rest = slice_from(h->target, 7);
    else
        return false;
    at = slice_index(rest, '/');
    authority = slice_head(rest, at);
    *out = at < rest.n ? slice_from(rest, at) : SLICE("/");
    /* a query behind an empty path would need bytes that are not in the buffer; nobody sends it */
    return authority.n > 0 && slice_index(authority, '?') == authority.n &&
           slice_eq_nocase(authority, h->host);
}

/* Between a refusal and the answer to it, which libh2o writes at once. */
static _Thread_local bool refused_for_size;

typedef void write_fn(h2o_socket_t *sock, h2o_iovec_t *bufs, size_t count, h2o_socket_cb cb);
static write_fn *original_write;

/* Found before main(): other sockets than a worker's write through here too. */
__attribute__((constructor)) static void find_original_write(void)
{
    original_write = (write_fn *)guard_original("h2o_socket_write");
}

/* libh2o has one answer for all that its parser refuses, and writes it by itself. */
void h2o_socket_write(h2o_socket_t *sock, h2o_iovec_t *bufs, size_t count, h2o_socket_cb cb)
{
    static const char too_large[] =
        "HTTP/1.1 431 Request Header Fields Too Large\r\n"
        "Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length: 68\r\n\r\n"
        "the request head is larger than 16 KiB, or has more than 100 fields\n";
    h2o_iovec_t other = h2o_iovec_init(too_large, sizeof(too_large) - 1);

    if (refused_for_size) {
        refused_for_size = false;
        bufs = &other;
        count = 1;
    }
    original_write(sock, bufs, count, cb);
}

typedef void accept_fn(h2o_accept_ctx_t *ctx, h2o_socket_t *sock, struct timeval connected_at);
static accept_fn *original_accept;
accept_fn h2o_http1_accept;

void h2o_http1_accept(h2o_accept_ctx_t *ctx, h2o_socket_t *sock, struct timeval connected_at)
{
    /* libh2o parses here what came with the last flight of the handshake */
    struct conn *c = conn_accept_begin(sock, false);

    original_accept(ctx, sock, connected_at);
    conn_read_end(c);
}

/* More bytes than a head may have, or more fields. */
static bool is_too_large(struct slice p)
{
    size_t lines = 0;

    if (p.n > LIMIT_HEAD_BYTES)
        return true;
    while (p.n > 0) {
        size_t lf = slice_index(p, '\n');

        if (lf <= 1 && lines > 0)
            break; /* the end of the head */
        p = slice_from(p, lf + 1);
        lines++;
    }
    return lines > LIMIT_FIELDS + 1;
}

/* Of what could not be read as a request, not much is known. */
static void log_refusal(struct conn *c, struct slice method, struct slice target)
{
    struct accesslog_line line = {
        .method = method,
        .host = SLICE("-"),
        .target = target,
        .protocol = "http/1.1",
        .status = refused_for_size ? 431 : 400,
        .reason = refused_for_size ? "head-too-large" : "malformed",
    };

    guard_log_refusal(c, &line);
}

int phr_parse_request(const char *buf, size_t len, const char **method, size_t *method_len,
                      const char **path, size_t *path_len, int *minor_version,
                      struct phr_header *headers, size_t *num_headers, size_t last_len)
{
    struct head h;
    struct slice target;
    int bytes = original(buf, len, method, method_len, path, path_len, minor_version, headers,
                         num_headers, last_len);

    if (bytes == TO_BE_CONTINUED && len <= LIMIT_HEAD_BYTES)
        return bytes;
    if (bytes <= 0 || (size_t)bytes > LIMIT_HEAD_BYTES ||
        !read_head(&h, (struct slice){buf, (size_t)bytes}) || !settle_target(&h, &target)) {
        metrics_add(METRIC_GUARD_H1, 1);
        refused_for_size = is_too_large((struct slice){buf, bytes > 0 ? (size_t)bytes : len});
        if (conn_reading() != NULL) {
            log_refusal(conn_reading(),
                        bytes > 0 ? (struct slice){*method, *method_len} : SLICE("-"),
                        bytes > 0 ? (struct slice){*path, *path_len} : SLICE("-"));
            conn_linger(conn_reading());
        }
        return MALFORMED;
    }
    *path = target.p;
    *path_len = target.n;
    return bytes;
}

void guard_h1_check(void)
{
    guard_check_one("phr_parse_request", (void *)phr_parse_request);
    guard_check_one("h2o_socket_write", (void *)h2o_socket_write);
    guard_check_one("h2o_http1_accept", (void *)h2o_http1_accept);
    original_accept = (accept_fn *)guard_original("h2o_http1_accept");
    original = (parse_fn *)guard_original("phr_parse_request");
}
