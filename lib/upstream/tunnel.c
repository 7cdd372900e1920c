/*
 * Requests for another protocol.  libcurl connects and verifies, and keeps the connection; what
 * goes over it is written and read here, by curl_easy_send() and curl_easy_recv(), since libcurl
 * has no way to go on after a 101.
 *
 * Users' callbacks run as if inside of libcurl (upstream->in_curl): whatever they ask for is done
 * when they have returned.
 */
#include "upstream/upstream_priv.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/metrics.h"

/* Of the head, or of a body of which all that was read at once waits. */
#define IN_BYTES_MAX (LIMIT_RESPONSE_HEAD_BYTES + LIMIT_TUNNEL_BYTES)

static bool is_live(const struct upstream_fetch *f)
{
    return f->state == FETCH_RUNNING;
}

static void end(struct upstream_fetch *f, CURLcode result)
{
    upstream__fetch_ended(f, result);
}

static void end_for(struct upstream_fetch *f, enum upstream_failure failure, const char *complaint)
{
    f->failure = failure;
    f->complaint = complaint;
    end(f, CURLE_RECV_ERROR);
}

/* All that was to come has come. */
static void end_whole(struct upstream_fetch *f)
{
    f->is_whole = true;
    end(f, CURLE_OK);
}

void upstream__tunnel_release(struct upstream_fetch *f)
{
    struct upstream_tunnel *t = &f->tunnel;

    if (t->events != 0)
        epoll_ctl(f->upstream->epoll, EPOLL_CTL_DEL, t->fd, NULL);
    free(t->out);
    buf_release(&t->in);
    *t = (struct upstream_tunnel){.phase = t->phase, .fd = -1};
}

/* What we wait for.  Who waits for nothing is taken out: the end of a connection is told to all. */
static bool watch(struct upstream_fetch *f)
{
    struct upstream_tunnel *t = &f->tunnel;
    uint32_t events =
        (f->is_paused ? 0 : (uint32_t)EPOLLIN) | (t->out_from < t->out_to ? (uint32_t)EPOLLOUT : 0);
    struct epoll_event v = {.events = events,
                            .data.u64 = upstream__epoll_tag(WATCHER_OPEN_TUNNEL, t->fd)};
    int op = events == 0 ? EPOLL_CTL_DEL : t->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;

    if (events == t->events)
        return true;
    t->events = events;
    return epoll_ctl(f->upstream->epoll, op, t->fd, &v) == 0;
}

/* ---- out ---- */

static CURLcode send_some(struct upstream_fetch *f)
{
    struct upstream_tunnel *t = &f->tunnel;
    CURLcode rc = CURLE_OK;

    while (t->out_from < t->out_to && rc == CURLE_OK) {
        size_t n = 0;

        rc = curl_easy_send(f->easy, t->out + t->out_from, t->out_to - t->out_from, &n);
        t->out_from += rc == CURLE_OK ? n : 0;
    }
    if (t->out != NULL && t->out_from == t->out_to) {
        free(t->out);
        t->out = NULL;
        t->out_from = t->out_to = t->out_capacity = 0;
    }
    return rc == CURLE_AGAIN ? CURLE_OK : rc;
}

/* False: the connection has broken, and the fetch may be gone. */
static bool flush(struct upstream_fetch *f)
{
    CURLcode rc = send_some(f);

    if (rc != CURLE_OK)
        end(f, rc);
    return rc == CURLE_OK;
}

static void tell_room(struct upstream_fetch *f)
{
    struct upstream_tunnel *t = &f->tunnel;

    if (!t->wants_room || t->out != NULL)
        return;
    t->wants_room = false;
    if (f->events.room == NULL)
        return;
    f->upstream->in_curl = true;
    f->events.room(f->user);
    f->upstream->in_curl = false;
}

/* The user hears of it from the loop. */
static void fail_later(struct upstream_fetch *f, enum upstream_failure failure,
                       const char *complaint)
{
    f->failure = failure;
    f->complaint = complaint;
    upstream__todo(f);
}

size_t upstream_send(struct upstream_fetch *f, const char *p, size_t n)
{
    struct upstream_tunnel *t = &f->tunnel;

    CHECK(f->is_upgrade && t->phase == TUNNEL_OPEN);
    if (n > upstream_room(f))
        n = upstream_room(f);
    if (f->state != FETCH_RUNNING || n == 0)
        return n; /* to nobody, when it has been cancelled */
    if (t->out == NULL)
        t->out = malloc(LIMIT_TUNNEL_BYTES);
    if (t->out == NULL) {
        fail_later(f, UPSTREAM_FAILED_OVERLOAD, "out of memory");
        return n;
    }
    t->out_capacity = LIMIT_TUNNEL_BYTES;
    memcpy(t->out + t->out_to, p, n);
    t->out_to += n;
    if (!f->upstream->in_curl && t->out_to == n && send_some(f) != CURLE_OK)
        fail_later(f, UPSTREAM_FAILED_TRUNCATED, "the connection broke");
    if (t->out == NULL) /* the ordinary case: it is sent */
        return n;
    t->wants_room = true;
    upstream__todo(f);
    return n;
}

size_t upstream_room(const struct upstream_fetch *f)
{
    return f->tunnel.out == NULL ? LIMIT_TUNNEL_BYTES : f->tunnel.out_capacity - f->tunnel.out_to;
}

size_t upstream_unsent(const struct upstream_fetch *f)
{
    return f->tunnel.out_to - f->tunnel.out_from;
}

/* ---- the request ---- */

static size_t line_bytes(const struct curl_slist *l)
{
    return strlen(l->data) + 2;
}

/* libcurl's own ways to write an empty field, and one that is not to be sent, are not HTTP's. */
static void add_field(char **at, const char *line)
{
    size_t n = strlen(line);

    if (line[n - 1] == ':')
        return;
    memcpy(*at, line, n);
    *at += n;
    if (line[n - 1] == ';' && strchr(line, ':') == NULL)
        (*at)[-1] = ':';
    memcpy(*at, "\r\n", 2);
    *at += 2;
}

static bool write_request(struct upstream_fetch *f)
{
    const struct curl_slist *fields = f->target->is_peer ? f->peer_fields : f->origin_fields;
    size_t bytes = strlen(f->method) + strlen(f->request_target) + strlen(f->upgrade) + 64;
    struct upstream_tunnel *t = &f->tunnel;
    char *at;

    for (const struct curl_slist *l = fields; l != NULL; l = l->next)
        bytes += line_bytes(l);
    t->out = at = malloc(bytes);
    if (at == NULL)
        return false;
    at += sprintf(at, "%s %s HTTP/1.1\r\n", f->method, f->request_target);
    for (const struct curl_slist *l = fields; l != NULL; l = l->next)
        add_field(&at, l->data);
    at += sprintf(at, "Connection: Upgrade\r\nUpgrade: %s\r\n\r\n", f->upgrade);
    t->out_to = (size_t)(at - t->out);
    t->out_capacity = bytes;
    CHECK(t->out_to < bytes);
    return true;
}

void upstream__tunnel_connected(struct upstream_fetch *f)
{
    struct upstream_tunnel *t = &f->tunnel;
    struct upstream *u = f->upstream;
    curl_socket_t fd = CURL_SOCKET_BAD;

    t->phase = TUNNEL_ASKING;
    if (u->scratch == NULL)
        u->scratch = malloc(LIMIT_TUNNEL_BYTES);
    buf_init(&t->in, IN_BYTES_MAX);
    curl_easy_getinfo(f->easy, CURLINFO_ACTIVESOCKET, &fd);
    if (fd == CURL_SOCKET_BAD) {
        end_for(f, UPSTREAM_FAILED_CLOSED, "the connection was gone as soon as it was made");
        return;
    }
    t->fd = fd;
    if (u->scratch == NULL || !write_request(f)) {
        end_for(f, UPSTREAM_FAILED_OVERLOAD, "out of memory");
        return;
    }
    upstream__todo(f);
}

/* ---- what comes ---- */

/* Tell the user of bytes of a body, or of a tunnel.  False: he has cancelled. */
static bool give(struct upstream_fetch *f, struct slice s)
{
    enum upstream_flow flow;

    f->moved_ms = reactor_now_ms(f->upstream->reactor);
    f->upstream->in_curl = true;
    flow = f->events.body(f->user, s.p, s.n);
    f->upstream->in_curl = false;
    f->is_paused = flow == UPSTREAM_PAUSE;
    f->wants_resume = false;
    return is_live(f);
}

/* The next piece of a body.  False: nothing is to be given now, or ever. */
static bool next_piece(struct upstream_fetch *f, struct slice *rest, struct slice *out,
                       enum chunks_step *step)
{
    *step = CHUNKS_MORE;
    if (f->framing.kind == UPSTREAM_CHUNKED) {
        *step = chunks_next(&f->tunnel.chunks, rest, out);
        return *step == CHUNKS_DATA;
    }
    *out = *rest;
    if (f->framing.kind == UPSTREAM_LENGTH)
        *out = slice_head(*rest, (size_t)(f->framing.body_bytes - f->body_received < rest->n
                                              ? f->framing.body_bytes - f->body_received
                                              : rest->n));
    *rest = slice_from(*rest, out->n);
    return out->n > 0;
}

static bool has_whole_body(const struct upstream_fetch *f)
{
    return f->framing.kind == UPSTREAM_NO_BODY ||
           (f->framing.kind == UPSTREAM_LENGTH && f->body_received == f->framing.body_bytes);
}

/* What waits in `in` belongs to the body of an answer.  False: the fetch may be gone. */
static bool take_body(struct upstream_fetch *f)
{
    struct upstream_tunnel *t = &f->tunnel;
    struct slice rest = slice_from(buf_slice(&t->in), t->in_from), piece;
    enum chunks_step step = CHUNKS_MORE;

    while (!f->is_paused && !has_whole_body(f) && next_piece(f, &rest, &piece, &step)) {
        f->body_received += piece.n;
        metrics_add(METRIC_UPSTREAM_BYTES, (int64_t)piece.n);
        if (!give(f, piece))
            return false;
    }
    t->in_from = t->in.n - rest.n;
    if (rest.n == 0)
        t->in.n = t->in_from = 0;
    if (step == CHUNKS_BROKEN) {
        end_for(f, UPSTREAM_FAILED_TRUNCATED, "the body's chunks are malformed");
        return false;
    }
    if (has_whole_body(f) || step == CHUNKS_END) {
        end_whole(f);
        return false;
    }
    return true;
}

/* All of `in` goes through the tunnel. */
static bool take_tunnel(struct upstream_fetch *f)
{
    struct upstream_tunnel *t = &f->tunnel;
    struct slice rest = slice_from(buf_slice(&t->in), t->in_from);
    bool is_there = rest.n == 0 || give(f, rest);

    if (is_there) {
        buf_release(&t->in); /* from now on nothing waits here */
        buf_init(&t->in, IN_BYTES_MAX);
        t->in_from = 0;
    }
    return is_there;
}

static bool on_head(struct upstream_fetch *f)
{
    bool goes_on;

    f->tunnel.phase = f->head.status == 101 ? TUNNEL_OPEN : TUNNEL_ANSWER;
    if (f->tunnel.phase == TUNNEL_OPEN)
        upstream__fetch_settle(f);
    f->upstream->in_curl = true;
    goes_on = upstream__fetch_head(f);
    f->upstream->in_curl = false;
    if (!is_live(f))
        return false;
    if (!goes_on) {
        end(f, CURLE_OK);
        return false;
    }
    return f->tunnel.phase == TUNNEL_OPEN ? take_tunnel(f) : take_body(f);
}

/* What waits in `in` are lines of a head. */
static bool take_head(struct upstream_fetch *f)
{
    struct upstream_tunnel *t = &f->tunnel;

    for (;;) {
        struct slice rest = slice_from(buf_slice(&t->in), t->in_from);
        size_t lf = slice_index(rest, '\n');

        if (lf == rest.n)
            break;
        t->in_from += lf + 1;
        switch (head_line(&f->head, slice_head(rest, lf + 1))) {
        case HEAD_MORE:
        case HEAD_INTERIM: /* nothing that a client who wants a tunnel waits for */
            continue;
        case HEAD_GARBAGE:
            end_for(f, UPSTREAM_FAILED_GARBAGE, f->head.complaint);
            return false;
        case HEAD_COMPLETE:
            return on_head(f);
        }
    }
    if (t->in.n <= LIMIT_RESPONSE_HEAD_BYTES)
        return true;
    end_for(f, UPSTREAM_FAILED_GARBAGE, "the head is too large");
    return false;
}

/* False: the fetch may be gone. */
static bool take(struct upstream_fetch *f, struct slice s)
{
    struct upstream_tunnel *t = &f->tunnel;

    if (t->phase == TUNNEL_OPEN)
        return give(f, s);
    buf_add(&t->in, s);
    if (t->in.failed) {
        end_for(f, UPSTREAM_FAILED_OVERLOAD, "out of memory");
        return false;
    }
    return t->phase == TUNNEL_ANSWER ? take_body(f) : take_head(f);
}

/* The other side has closed: cleanly, or not.  The fetch is gone. */
static void on_eof(struct upstream_fetch *f, CURLcode rc)
{
    bool is_clean = rc == CURLE_OK;

    if (f->tunnel.phase == TUNNEL_OPEN ||
        (f->tunnel.phase == TUNNEL_ANSWER && f->framing.kind == UPSTREAM_TO_CLOSE)) {
        if (is_clean)
            end_whole(f);
        else
            end_for(f, UPSTREAM_FAILED_TRUNCATED, "the connection broke");
        return;
    }
    end_for(f, f->has_head ? UPSTREAM_FAILED_TRUNCATED : UPSTREAM_FAILED_CLOSED,
            f->has_head ? "the body is shorter than it should be"
                        : "the connection ended before the head was complete");
}

/*
 * Read until there is nothing more: under TLS a record that libcurl has decrypted, and not yet
 * given out, is seen by no epoll.  At most one buffer a turn, so that others have theirs.  False:
 * the fetch may be gone.
 */
static bool read_some(struct upstream_fetch *f)
{
    char *to = f->upstream->scratch;
    CURLcode rc = CURLE_OK;
    size_t n = 0, got = 1;

    while (n < LIMIT_TUNNEL_BYTES && rc == CURLE_OK && got > 0) {
        got = 0;
        rc = curl_easy_recv(f->easy, to + n, LIMIT_TUNNEL_BYTES - n, &got);
        n += rc == CURLE_OK ? got : 0;
    }
    if (n > 0 && !take(f, (struct slice){to, n}))
        return false;
    if (f->is_paused) /* an end is still there when it goes on */
        return true;
    if (n == LIMIT_TUNNEL_BYTES) {
        upstream__todo(f);
        return true;
    }
    if (rc == CURLE_AGAIN)
        return true;
    on_eof(f, rc);
    return false;
}

/* ---- turns ---- */

static void work(struct upstream_fetch *f, bool reads)
{
    struct upstream_tunnel *t = &f->tunnel;

    if (f->failure != UPSTREAM_OK) {
        end(f, CURLE_SEND_ERROR);
        return;
    }
    if (!flush(f))
        return;
    tell_room(f);
    if (!is_live(f))
        return;
    if (reads && !f->is_paused && t->phase == TUNNEL_ANSWER && t->in.n > 0 && !take_body(f))
        return;
    if (reads && !f->is_paused && !read_some(f))
        return;
    if (!watch(f))
        end_for(f, UPSTREAM_FAILED_OVERLOAD, "no room among the descriptors that are watched");
}

void upstream__tunnel_ready(struct upstream_fetch *f, uint32_t events)
{
    work(f, (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0);
}

void upstream__tunnel_work(struct upstream_fetch *f)
{
    f->wants_resume = false;
    if (f->tunnel.phase != TUNNEL_CONNECTING)
        work(f, true);
}
