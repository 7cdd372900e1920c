#include "server/reactor_h2o.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/timers.h"

struct reactor_h2o {
    struct reactor reactor;
    int wake_fd; /* owned: the eventfd */

    /* Shared, under `lock`. */
    pthread_mutex_t lock;
    struct reactor_message *first, **last;

    /* Of the loop's thread. */
    h2o_loop_t *loop;
    struct timers timers;
    struct reactor_watch *wake;
    int64_t now_ms; /* 0: the loop has slept since it was read */
};

struct reactor_watch {
    h2o_socket_t *sock; /* owned: on a duplicate, since libh2o closes what it wraps */
    void (*readable)(void *user);
    void *user;
};

static struct reactor_h2o *of(struct reactor *r)
{
    return (struct reactor_h2o *)r;
}

/* Read once a turn, and only when somebody asks: the loop may sleep long before its first callback.
 */
static int64_t now_ms(struct reactor *r)
{
    if (of(r)->now_ms == 0)
        of(r)->now_ms = clock_mono_ms();
    return of(r)->now_ms;
}

static void timer_start(struct reactor *r, struct reactor_timer *t, int64_t after_ms)
{
    /* at least 1 ms: what starts itself again at once must not keep the loop from its sockets */
    timers_start(&of(r)->timers, t, now_ms(r) + (after_ms < 1 ? 1 : after_ms));
}

static void timer_stop(struct reactor *r, struct reactor_timer *t)
{
    timers_stop(&of(r)->timers, t);
}

static void post(struct reactor *r, struct reactor_message *m)
{
    struct reactor_h2o *h = of(r);
    uint64_t one = 1;
    bool was_empty;

    m->next = NULL;
    pthread_mutex_lock(&h->lock);
    was_empty = h->first == NULL;
    *h->last = m;
    h->last = &m->next;
    pthread_mutex_unlock(&h->lock);
    if (was_empty)
        CHECK(write(h->wake_fd, &one, sizeof(one)) == sizeof(one));
}

/* False when there was none. */
static bool run_messages(struct reactor_h2o *h)
{
    struct reactor_message *m;
    bool some;

    pthread_mutex_lock(&h->lock);
    m = h->first;
    h->first = NULL;
    h->last = &h->first;
    pthread_mutex_unlock(&h->lock);
    some = m != NULL;
    while (m != NULL) {
        struct reactor_message *next = m->next;

        m->run(m);
        m = next;
    }
    return some;
}

static void on_wake(void *user)
{
    struct reactor_h2o *h = user;
    uint64_t count;

    /* before the list is taken: a message posted in between wakes the loop once more, and none is
     * lost */
    if (read(h->wake_fd, &count, sizeof(count)) < 0)
        CHECK(errno == EAGAIN || errno == EINTR);
    (void)run_messages(h);
}

static void on_readable(h2o_socket_t *sock, const char *err)
{
    struct reactor_watch *w = sock->data;

    (void)err; /* the watcher reads the descriptor itself, and sees what is wrong with it */
    w->readable(w->user);
}

static struct reactor_watch *watch(struct reactor *r, int fd, void (*readable)(void *), void *user)
{
    struct reactor_watch *w = calloc(1, sizeof(*w));
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

    /* callers come at start-up or under the ceiling of descriptors: what they lose here would hang
     * for ever */
    CHECK(w != NULL);
    CHECK(copy >= 0);
    w->readable = readable;
    w->user = user;
    w->sock = h2o_evloop_socket_create(of(r)->loop, copy, H2O_SOCKET_FLAG_DONT_READ);
    w->sock->data = w;
    h2o_socket_read_start(w->sock, on_readable);
    return w;
}

static void unwatch(struct reactor *r, struct reactor_watch *w)
{
    (void)r;
    h2o_socket_close(w->sock);
    free(w);
}

static const struct reactor_ops h2o_ops = {now_ms, timer_start, timer_stop, post, watch, unwatch};

enum err reactor_h2o_new(struct reactor **out)
{
    struct reactor_h2o *h = calloc(1, sizeof(*h));

    if (h == NULL)
        return ERR_NOMEM;
    h->reactor.ops = &h2o_ops;
    h->last = &h->first;
    h->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (h->wake_fd < 0) {
        free(h);
        return ERR_IO;
    }
    CHECK(pthread_mutex_init(&h->lock, NULL) == 0);
    *out = &h->reactor;
    return ERR_OK;
}

void reactor_h2o_free(struct reactor *r)
{
    if (r == NULL)
        return;
    CHECK(of(r)->wake == NULL);
    close(of(r)->wake_fd);
    pthread_mutex_destroy(&of(r)->lock);
    free(of(r));
}

void reactor_h2o_attach(struct reactor *r, h2o_loop_t *loop)
{
    CHECK(of(r)->loop == NULL);
    of(r)->loop = loop;
    of(r)->wake = watch(r, of(r)->wake_fd, on_wake, of(r));
}

void reactor_h2o_end(struct reactor *r, h2o_context_t *ctx)
{
    h2o_loop_t *loop = of(r)->loop;

    while (run_messages(of(r))) /* each holds something, such as a place under a ceiling */
        continue;
    unwatch(r, of(r)->wake);
    of(r)->wake = NULL;
    of(r)->loop = NULL;
    timers_release(&of(r)->timers);
    /* a drain that ended within its second has left this behind */
    h2o_timeout_unlink(&ctx->http2._graceful_shutdown_timeout);
    h2o_context_dispose(ctx);
    (void)h2o_evloop_run(loop, 0); /* closed sockets are freed at the beginning of a turn */
    h2o_evloop_destroy(loop);
}

void reactor_h2o_turn(struct reactor *r, int64_t max_wait_ms)
{
    int64_t wait_ms = timers_wait_ms(&of(r)->timers, clock_mono_ms(), max_wait_ms);

    /* What a timer has written is told to its writer in the next turn, and libh2o would sleep first
     */
    if (of(r)->loop->_pending_as_server != NULL || of(r)->loop->_pending_as_client != NULL)
        wait_ms = 0;
    of(r)->now_ms = 0;
    /* -1 is a signal (EINTR): the next turn does what this one did not */
    (void)h2o_evloop_run(of(r)->loop, (int32_t)wait_ms);
    of(r)->now_ms = 0; /* callbacks may have taken long */
    timers_fire(&of(r)->timers, now_ms(r));
    of(r)->now_ms = 0; /* nor is it true between two turns */
}
