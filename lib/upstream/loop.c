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
    ROUNDS_MAX = 8, /* of a turn: then the other users of the loop have theirs */
    /*
     * Connections of a worker that libcurl keeps, those in use among them: were it fewer than a
     * thousand event streams take, each answer beside them would end its connection.
     */
    SOCKETS_MAX = 4096,
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_is_there;

static void start_curl(void)
{
    curl_is_there = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *unused)
{
    struct upstream_multi *m = user;
    struct upstream *u = m->upstream;
    struct epoll_event v = {
        .data.u64 = upstream__epoll_tag(
            m->which == UPSTREAM_FETCHES ? WATCHER_FETCHES : WATCHER_TUNNELS, fd)};

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
    struct upstream_multi *m = user;
    struct upstream *u = m->upstream;
    struct itimerspec at = {0};
    int64_t due_us;

    (void)multi;
    m->is_due = ms == 0;
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

static void act(struct upstream_multi *of, curl_socket_t fd, int events)
{
    struct upstream *u = of->upstream;
    int running;

    CHECK(!u->in_curl);
    u->in_curl = true;
    curl_multi_socket_action(of->multi, fd, events, &running);
    u->in_curl = false;
}

static void drain(struct upstream_multi *of)
{
    struct CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(of->multi, &left)) != NULL) {
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

static bool has_work(const struct upstream *u)
{
    return u->todo_count > 0 || u->multi[UPSTREAM_FETCHES].is_due ||
           u->multi[UPSTREAM_TUNNELS].is_due;
}

static void run(struct upstream *u)
{
    CHECK(!u->is_running);
    u->is_running = true;
    for (int round = 0; round < ROUNDS_MAX; round++) {
        work(u);
        for (int i = 0; i < UPSTREAM_MULTIS; i++) {
            if (u->multi[i].is_due) {
                u->multi[i].is_due = false;
                act(&u->multi[i], CURL_SOCKET_TIMEOUT, 0);
            }
            drain(&u->multi[i]);
        }
        if (!has_work(u))
            break;
    }
    u->is_running = false;
    if (has_work(u))
        kick(u);
}

static void on_kick(void *user)
{
    struct upstream *u = user;

    u->is_kicked = false;
    run(u);
}

static void on_timer(struct upstream *u)
{
    uint64_t times;

    if (read(u->timer, &times, sizeof(times)) != (ssize_t)sizeof(times))
        return;
    u->armed_us = 0;
    for (int i = 0; i < UPSTREAM_MULTIS; i++)
        u->multi[i].is_due = true;
}

/* It may have ended in this very turn, and its number have another owner. */
static void on_tunnel(struct upstream *u, int fd, uint32_t events)
{
    struct upstream_socket *s = upstream__socket_by_fd(&u->sockets, fd);
    struct upstream_fetch *f = s == NULL ? NULL : s->fetch;

    if (f != NULL && f->is_upgrade && f->state == FETCH_RUNNING && f->tunnel.fd == fd)
        upstream__tunnel_ready(f, events);
}

static int curl_events(uint32_t events)
{
    return ((events & EPOLLIN) != 0 ? CURL_CSELECT_IN : 0) |
           ((events & EPOLLOUT) != 0 ? CURL_CSELECT_OUT : 0) |
           ((events & (EPOLLERR | EPOLLHUP)) != 0 ? CURL_CSELECT_ERR : 0);
}

static void on_ready(void *user)
{
    struct upstream *u = user;
    struct epoll_event v[EVENTS_MAX];
    int n = epoll_wait(u->epoll, v, EVENTS_MAX, 0);

    for (int i = 0; i < n; i++) {
        int fd = (int)(uint32_t)v[i].data.u64;

        switch ((enum upstream_watcher)(v[i].data.u64 >> 32)) {
        case WATCHER_FETCHES:
            act(&u->multi[UPSTREAM_FETCHES], fd, curl_events(v[i].events));
            break;
        case WATCHER_TUNNELS:
            act(&u->multi[UPSTREAM_TUNNELS], fd, curl_events(v[i].events));
            break;
        case WATCHER_TIMER:
            on_timer(u);
            break;
        case WATCHER_OPEN_TUNNEL:
            on_tunnel(u, fd, v[i].events);
            break;
        }
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

static enum err open_multi(struct upstream *u, enum upstream_which which)
{
    struct upstream_multi *m = &u->multi[which];

    m->upstream = u;
    m->which = which;
    m->multi = curl_multi_init();
    if (m->multi == NULL)
        return ERR_NOMEM;
    curl_multi_setopt(m->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(m->multi, CURLMOPT_SOCKETDATA, m);
    curl_multi_setopt(m->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(m->multi, CURLMOPT_TIMERDATA, m);
    curl_multi_setopt(m->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
    curl_multi_setopt(m->multi, CURLMOPT_MAXCONNECTS,
                      which == UPSTREAM_FETCHES ? (long)SOCKETS_MAX : (long)LIMIT_TUNNELS);
    return ERR_OK;
}

static enum err open_epoll(struct upstream *u)
{
    struct epoll_event v = {.events = EPOLLIN};

    u->epoll = epoll_create1(EPOLL_CLOEXEC);
    u->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    v.data.u64 = upstream__epoll_tag(WATCHER_TIMER, u->timer);
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
        e = open_multi(u, UPSTREAM_FETCHES);
    if (e == ERR_OK)
        e = open_multi(u, UPSTREAM_TUNNELS);
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
    for (int i = 0; i < UPSTREAM_MULTIS; i++)
        if (u->multi[i].multi != NULL)
            curl_multi_cleanup(u->multi[i].multi); /* and with it the idle connections */
    free(u->scratch);
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
