/*
 * libcurl's sockets stand in an epoll set of our own, whose descriptor the reactor watches,
 * together with one timerfd: so libcurl keeps its descriptors to itself, and closes them when it
 * likes.
 *
 * libcurl must not be called from inside its callbacks, and our users' callbacks run there.  So
 * whatever they ask for is noted (upstream__todo) and done by run(), when libcurl is off the stack.
 */
#include "upstream/upstream_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/limits.h"

enum {
    EVENTS_MAX = 64,
    ROUNDS_MAX = 8,     /* of a turn: then the other users of the loop have theirs */
    IDLE_SOCKETS = 256, /* connections libcurl keeps; the oldest is closed */
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_is_there;

static void start_curl(void)
{
    curl_is_there = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *unused)
{
    struct upstream *u = user;
    struct epoll_event v = {.data.fd = fd};

    (void)easy;
    (void)unused;
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(u->epoll, EPOLL_CTL_DEL, fd, NULL); /* fails when it is closed already */
        return 0;
    }
    if ((what & CURL_POLL_IN) != 0)
        v.events |= EPOLLIN;
    if ((what & CURL_POLL_OUT) != 0)
        v.events |= EPOLLOUT;
    if (epoll_ctl(u->epoll, EPOLL_CTL_ADD, fd, &v) == 0)
        return 0;
    return errno == EEXIST && epoll_ctl(u->epoll, EPOLL_CTL_MOD, fd, &v) == 0 ? 0 : -1;
}

/*
 * libcurl moves its deadline several times in a fetch, mostly farther away.  The timer is set only
 * when it would fire too late; when it fires too early, libcurl says for how long it wants to wait
 * still.
 */
static int on_curl_timer(CURLM *multi, long ms, void *user)
{
    struct upstream *u = user;
    struct itimerspec at = {0};
    int64_t due_us;

    (void)multi;
    u->curl_is_due = ms == 0;
    if (ms <= 0)
        return 0;
    due_us = clock_mono_us() + (int64_t)ms * 1000;
    if (u->armed_us != 0 && u->armed_us <= due_us)
        return 0;
    at.it_value.tv_sec = ms / 1000;
    at.it_value.tv_nsec = ms % 1000 * 1000000;
    if (timerfd_settime(u->timer, 0, &at, NULL) != 0)
        return -1;
    u->armed_us = due_us;
    return 0;
}

static void act(struct upstream *u, curl_socket_t fd, int events)
{
    int running;

    CHECK(!u->in_curl);
    u->in_curl = true;
    curl_multi_socket_action(u->multi, fd, events, &running);
    u->in_curl = false;
}

static void drain(struct upstream *u)
{
    struct CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(u->multi, &left)) != NULL) {
        struct upstream_fetch *f = NULL;

        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&f);
        CHECK(f != NULL);
        upstream__fetch_ended(f, m->data.result);
    }
}

static void work(struct upstream *u)
{
    /* What is added meanwhile is for the next round, so that this ends. */
    for (size_t n = u->todo_count; n > 0 && u->todo_count > 0; n--) {
        struct upstream_fetch *f = TAILQ_FIRST(&u->todo);

        upstream__undo(f);
        upstream__fetch_work(f);
    }
}

static void kick(struct upstream *u)
{
    if (u->is_running || u->is_kicked)
        return;
    u->is_kicked = true;
    reactor_timer_start(u->reactor, &u->kick, 0);
}

static void run(struct upstream *u)
{
    CHECK(!u->is_running);
    u->is_running = true;
    for (int round = 0; round < ROUNDS_MAX; round++) {
        work(u);
        if (u->curl_is_due) {
            u->curl_is_due = false;
            act(u, CURL_SOCKET_TIMEOUT, 0);
        }
        drain(u);
        if (u->todo_count == 0 && !u->curl_is_due)
            break;
    }
    u->is_running = false;
    if (u->todo_count > 0 || u->curl_is_due)
        kick(u);
}

static void on_kick(void *user)
{
    struct upstream *u = user;

    u->is_kicked = false;
    run(u);
}

static void on_ready(void *user)
{
    struct upstream *u = user;
    struct epoll_event v[EVENTS_MAX];
    int n = epoll_wait(u->epoll, v, EVENTS_MAX, 0);

    for (int i = 0; i < n; i++) {
        uint64_t times;
        int events = 0;

        if (v[i].data.fd == u->timer) {
            if (read(u->timer, &times, sizeof(times)) == (ssize_t)sizeof(times)) {
                u->armed_us = 0;
                u->curl_is_due = true;
            }
            continue;
        }
        if ((v[i].events & EPOLLIN) != 0)
            events |= CURL_CSELECT_IN;
        if ((v[i].events & EPOLLOUT) != 0)
            events |= CURL_CSELECT_OUT;
        if ((v[i].events & (EPOLLERR | EPOLLHUP)) != 0)
            events |= CURL_CSELECT_ERR;
        act(u, v[i].data.fd, events);
    }
    run(u);
}

void upstream__todo(struct upstream_fetch *f)
{
    struct upstream *u = f->upstream;

    if (!f->is_in_todo) {
        f->is_in_todo = true;
        TAILQ_INSERT_TAIL(&u->todo, f, todo);
        u->todo_count++;
    }
    kick(u);
}

void upstream__undo(struct upstream_fetch *f)
{
    if (!f->is_in_todo)
        return;
    f->is_in_todo = false;
    TAILQ_REMOVE(&f->upstream->todo, f, todo);
    f->upstream->todo_count--;
}

/* One thread, so nothing to lock; TLS sessions would else die with the easy handle that made them.
 */
static enum err share_sessions(struct upstream *u)
{
    u->share = curl_share_init();
    if (u->share == NULL)
        return ERR_NOMEM;
    return curl_share_setopt(u->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) == CURLSHE_OK
               ? ERR_OK
               : ERR_NOMEM;
}

static enum err open_multi(struct upstream *u)
{
    u->multi = curl_multi_init();
    if (u->multi == NULL)
        return ERR_NOMEM;
    curl_multi_setopt(u->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(u->multi, CURLMOPT_SOCKETDATA, u);
    curl_multi_setopt(u->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(u->multi, CURLMOPT_TIMERDATA, u);
    curl_multi_setopt(u->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
    curl_multi_setopt(u->multi, CURLMOPT_MAXCONNECTS, (long)IDLE_SOCKETS);
    return ERR_OK;
}

static enum err open_epoll(struct upstream *u)
{
    struct epoll_event v = {.events = EPOLLIN};

    u->epoll = epoll_create1(EPOLL_CLOEXEC);
    u->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    v.data.fd = u->timer;
    if (u->epoll < 0 || u->timer < 0 || epoll_ctl(u->epoll, EPOLL_CTL_ADD, u->timer, &v) != 0)
        return ERR_IO;
    u->watch = reactor_watch(u->reactor, u->epoll, on_ready, u);
    return ERR_OK;
}

enum err upstream_new(struct reactor *r, struct upstream **out)
{
    struct upstream *u;
    enum err e;

    CHECK(pthread_once(&curl_once, start_curl) == 0);
    u = curl_is_there == CURLE_OK ? calloc(1, sizeof(*u)) : NULL;
    if (u == NULL)
        return ERR_NOMEM;
    u->reactor = r;
    u->kick = (struct reactor_timer){.fire = on_kick, .user = u};
    u->epoll = u->timer = -1;
    TAILQ_INIT(&u->running);
    TAILQ_INIT(&u->todo);
    TAILQ_INIT(&u->spare);
    e = share_sessions(u);
    if (e == ERR_OK)
        e = open_multi(u);
    if (e == ERR_OK)
        e = open_epoll(u);
    if (e != ERR_OK) {
        upstream_free(u);
        return e;
    }
    *out = u;
    return ERR_OK;
}

void upstream_free(struct upstream *u)
{
    struct upstream_fetch *f;

    if (u == NULL)
        return;
    CHECK(!u->in_curl);
    CHECK(!u->is_running);
    while ((f = TAILQ_FIRST(&u->running)) != NULL)
        upstream__fetch_drop(f);
    while ((f = TAILQ_FIRST(&u->spare)) != NULL) {
        TAILQ_REMOVE(&u->spare, f, all);
        upstream__fetch_free(f);
    }
    reactor_timer_stop(u->reactor, &u->kick);
    if (u->multi != NULL)
        curl_multi_cleanup(u->multi); /* and with it the idle connections */
    if (u->share != NULL)
        curl_share_cleanup(u->share);
    if (u->watch != NULL)
        reactor_unwatch(u->reactor, u->watch);
    if (u->timer >= 0)
        close(u->timer);
    if (u->epoll >= 0)
        close(u->epoll);
    free(u);
}
