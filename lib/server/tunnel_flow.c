/* What goes through a tunnel, both ways, and the Close frames that end it. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/metrics.h"
#include "server/tunnel_priv.h"

static void moved(struct tunnel *t)
{
    t->moved_ms = reactor_now_ms(t->worker->reactor);
}

/* Both ends have closed, or answered our Close: nothing of worth is on its way.  True: it is gone.
 */
static bool has_ended(struct tunnel *t)
{
    bool client_done = t->has_client_ended || (t->is_closing && t->up.has_close);
    bool upstream_done = t->upstream == NULL || (t->is_closing && t->down.has_close);
    bool is_flushed = t->out == NULL && (t->upstream == NULL || upstream_unsent(t->upstream) == 0);

    if (t->has_client_ended && t->upstream != NULL && upstream_unsent(t->upstream) == 0) {
        tunnel__end(t, TUNNEL_BY_CLIENT);
        return true;
    }
    if (t->upstream == NULL && t->out == NULL) {
        tunnel__end(t, TUNNEL_BY_UPSTREAM);
        return true;
    }
    if (!t->is_closing || !client_done || !upstream_done || !is_flushed || !t->is_down_shut ||
        !t->is_up_shut)
        return false;
    tunnel__end(t, t->end);
    return true;
}

/* It is gone; what is being written may still arrive. */
static void lose_upstream(struct tunnel *t)
{
    t->upstream = NULL;
    if (t->state != TUNNEL_OPEN)
        return; /* tunnel__flow() sees it */
    tunnel__close_soon(t);
    (void)has_ended(t);
}

/* ---- down ---- */

static void on_written(h2o_socket_t *sock, const char *err);

static void write_down(struct tunnel *t)
{
    h2o_iovec_t v = h2o_iovec_init(t->out, t->out_bytes);

    CHECK(!t->is_writing);
    t->is_writing = true;
    t->down_bytes += t->out_bytes;
    metrics_add(METRIC_TUNNEL_DOWN_BYTES, (int64_t)t->out_bytes);
    h2o_socket_write(t->sock, &v, 1, on_written);
}

/* Put a Close behind what waits, if a frame ends there. */
static void shut_down(struct tunnel *t)
{
    char *more;

    if (t->is_down_shut || t->is_writing || !websocket_is_between(&t->down))
        return;
    t->is_down_shut = true;
    if (t->down.has_close) /* the upstream has said it itself */
        return;
    more = realloc(t->out, t->out_bytes + WEBSOCKET_CLOSE_BYTES);
    if (more == NULL)
        return; /* the end comes without it */
    t->out = more;
    t->out_bytes += websocket_close(t->out + t->out_bytes, WEBSOCKET_GOING_AWAY, false);
}

static void on_written(h2o_socket_t *sock, const char *err)
{
    struct tunnel *t = sock->data;

    t->is_writing = false;
    free(t->out);
    t->out = NULL;
    t->out_bytes = 0;
    if (err != NULL) {
        tunnel__end(t, TUNNEL_BY_CLIENT);
        return;
    }
    moved(t);
    if (t->is_closing)
        shut_down(t);
    if (t->out != NULL) {
        write_down(t);
        return;
    }
    if (!has_ended(t) && t->upstream != NULL)
        upstream_resume(t->upstream);
}

static enum upstream_flow on_down(void *user, const char *p, size_t n)
{
    struct tunnel *t = user;
    size_t taken;

    moved(t);
    if (t->is_down_shut) { /* it may still answer our Close */
        (void)websocket_frames_pass(&t->down, p, n, false);
        (void)has_ended(t);
        return UPSTREAM_GO_ON;
    }
    CHECK(t->out == NULL);
    taken = websocket_frames_pass(&t->down, p, n, t->is_closing);
    t->out = malloc(taken);
    if (t->out == NULL) {
        upstream_cancel(t->upstream);
        lose_upstream(t);
        return UPSTREAM_PAUSE;
    }
    memcpy(t->out, p, taken);
    t->out_bytes = taken;
    if (t->is_closing)
        shut_down(t);
    if (taken < n) /* behind our Close */
        (void)websocket_frames_pass(&t->down, p + taken, n - taken, false);
    if (t->state == TUNNEL_OPEN)
        write_down(t);
    return UPSTREAM_PAUSE;
}

/* ---- up ---- */

/* True: there is a Close on its way, or need not be. */
static bool shut_up(struct tunnel *t)
{
    char frame[WEBSOCKET_CLOSE_BYTES];

    if (t->is_up_shut || t->upstream == NULL)
        return true;
    if (!websocket_is_between(&t->up) || upstream_room(t->upstream) < sizeof(frame))
        return false;
    t->is_up_shut = true;
    if (!t->up.has_close)
        (void)upstream_send(t->upstream, frame, websocket_close(frame, WEBSOCKET_GOING_AWAY, true));
    return true;
}

/* Give back what a burst has taken: a thousand idle tunnels need no buffers. */
static void consume(h2o_socket_t *sock, size_t n)
{
    h2o_buffer_consume(&sock->input, n);
    if (sock->input->size > 0 || sock->input->capacity <= 2 * H2O_SOCKET_INITIAL_INPUT_BUFFER_SIZE)
        return;
    h2o_buffer_dispose(&sock->input);
    h2o_buffer_init(&sock->input, &h2o_socket_buffer_prototype);
}

static void on_client(h2o_socket_t *sock, const char *err);

static void pump_up(struct tunnel *t)
{
    h2o_socket_t *sock = t->sock;

    while (sock->input->size > 0 && !t->is_up_shut && t->upstream != NULL) {
        size_t n = upstream_room(t->upstream);

        n = n < sock->input->size ? n : sock->input->size;
        if (n == 0)
            break;
        n = websocket_frames_pass(&t->up, sock->input->bytes, n, t->is_closing);
        n = upstream_send(t->upstream, sock->input->bytes, n);
        t->up_bytes += n;
        metrics_add(METRIC_TUNNEL_UP_BYTES, (int64_t)n);
        consume(sock, n);
        if (t->is_closing && shut_up(t))
            break;
    }
    if (t->is_up_shut && sock->input->size > 0) { /* it may still answer our Close */
        (void)websocket_frames_pass(&t->up, sock->input->bytes, sock->input->size, false);
        consume(sock, sock->input->size);
    }
    if (has_ended(t))
        return;
    if (sock->input->size > 0 || t->has_client_ended)
        h2o_socket_read_stop(sock);
    else if (!h2o_socket_is_reading(sock))
        h2o_socket_read_start(sock, on_client);
}

static void on_client(h2o_socket_t *sock, const char *err)
{
    struct tunnel *t = sock->data;

    moved(t);
    if (err != NULL) {
        t->has_client_ended = true;
        tunnel__close_soon(t);
    }
    pump_up(t);
}

static void on_room(void *user)
{
    struct tunnel *t = user;

    if (t->state != TUNNEL_OPEN)
        return;
    moved(t);
    if (t->is_closing)
        (void)shut_up(t);
    pump_up(t);
}

/* ---- both ---- */

static void on_upstream_end(void *user, enum upstream_failure f, const char *text)
{
    (void)f;
    (void)text;
    lose_upstream(user);
}

static void on_second_head(void *user, const struct upstream_head *h)
{
    (void)user;
    (void)h;
    CHECK(false); /* there is one head */
}

const struct upstream_events tunnel__events = {on_second_head, on_down, on_upstream_end, on_room,
                                               NULL};

void tunnel__send_close(struct tunnel *t)
{
    (void)shut_up(t);
    shut_down(t);
    if (t->out != NULL && !t->is_writing)
        write_down(t);
    if (!has_ended(t) && t->is_up_shut)
        pump_up(t); /* reads on, to hear the answer */
}

void tunnel__flow(struct tunnel *t)
{
    if (t->out != NULL)
        write_down(t);
    if (t->upstream == NULL)
        tunnel__close_soon(t);
    pump_up(t);
}
