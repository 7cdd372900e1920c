#include "server/worker.h"

#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/metrics.h"
#include "server/chunked.h"
#include "server/conn.h"
#include "server/guards.h"
#include "server/linger.h"
#include "server/listener.h"
#include "server/reactor_h2o.h"

enum {
    STOP_TURNS_MS = 1000, /* what shutdown(2) has cut is gone long before */
    HTTP1_TIMEOUT_MS =
        24 * 3600 *
        1000, /* libh2o's limit on head and body together: our own clocks are the real ones */
};

/* ---- libh2o's configuration: one host, one path, one handler ---- */

static int on_req(h2o_handler_t *self, h2o_req_t *req)
{
    if (conn_body_is_refused(conn_of(req), req)) {
        h2o_send_error_generic(req, 413, "Content Too Large", "", 0);
        return 0;
    }
    return request_on_req(self, req);
}

static void configure(struct worker *w)
{
    h2o_hostconf_t *host;
    h2o_pathconf_t *path;

    h2o_config_init(&w->conf);
    w->conf.server_name = h2o_iovec_init(NULL, 0);
    w->conf.handshake_timeout = LIMIT_HANDSHAKE_MS;
    w->conf.http1.req_timeout = HTTP1_TIMEOUT_MS;
    w->conf.http1.upgrade_to_http2 = 0;
    w->conf.http2.idle_timeout = LIMIT_IDLE_MS;
    w->conf.http2.max_concurrent_requests_per_connection = LIMIT_STREAMS;
    w->conf.max_request_entity_size = snapshot_request_body_max(w->snapshot);
    host = h2o_config_register_host(&w->conf, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    path = h2o_config_register_path(host, "/", 0);
    chunked_register(path);
    w->handler = h2o_create_handler(path, sizeof(*w->handler));
    w->handler->on_req = on_req;
}

enum err worker_init(struct worker *w, const struct worker_options *opt)
{
    enum err e;

    memset(w, 0, sizeof(*w));
    w->server = opt->server;
    w->index = opt->index;
    w->quota = opt->quota;
    w->listeners = opt->listeners;
    w->listeners_count = opt->listeners_count;
    w->is_clean = true;
    e = reactor_h2o_new(&w->reactor);
    if (e != ERR_OK)
        return e;
    w->snapshot = snapshot_ref(opt->snapshot);
    configure(w);
    return ERR_OK;
}

/* ---- the thread ---- */

static void on_tick(void *user)
{
    struct worker *w = user;
    int64_t now_ms = reactor_now_ms(w->reactor);

    if (w->requests_tick != NULL)
        w->requests_tick(w);
    conn_tick(w, now_ms);
    /* relaxed: a time by itself, that orders nothing */
    atomic_store_explicit(&w->heartbeat_ms, now_ms, memory_order_relaxed);
    reactor_timer_start(w->reactor, &w->tick, WORKER_TICK_MS);
}

static void stop_listening(struct worker *w)
{
    for (size_t i = 0; i < w->listeners_count; i++)
        listener_stop(&w->listeners[i]);
}

/* Cut every connection, and give libh2o the turns to notice. */
static void end_connections(struct worker *w)
{
    int64_t until_ms = clock_mono_ms() + STOP_TURNS_MS;

    stop_listening(w);
    conn_shut_all(w);
    while (w->conns != NULL && clock_mono_ms() < until_ms)
        reactor_h2o_turn(w->reactor, 10);
    w->is_clean = w->conns == NULL;
    linger_tick(w, clock_mono_ms());
}

struct start {
    struct worker *worker;
    sem_t ready;
    enum err result;
};

static void *run(void *user)
{
    struct start *start = user;
    struct worker *w = start->worker;
    enum err e;

    pthread_setname_np(pthread_self(), "worker"); /* for top -H and debuggers */
    metrics_thread_start();
    h2o_context_init(&w->ctx, h2o_evloop_create(), &w->conf);
    reactor_h2o_attach(w->reactor, w->ctx.loop);
    w->tick = (struct reactor_timer){.fire = on_tick, .user = w};
    on_tick(w);
    e = request_worker_start(w);
    if (e == ERR_OK) {
        for (size_t i = 0; i < w->listeners_count; i++)
            listener_start(&w->listeners[i], w);
    }
    start->result = e;
    sem_post(&start->ready); /* `start` is gone from here on */
    while (e == ERR_OK && !w->stopping)
        reactor_h2o_turn(w->reactor, WORKER_TICK_MS);
    end_connections(w);
    if (!w->is_clean)
        return NULL; /* requests wait for upstreams: taking their floor away is worse than leaving
                        it */
    request_worker_stop(w);
    reactor_timer_stop(w->reactor, &w->tick);
    reactor_h2o_end(w->reactor, &w->ctx);
    return NULL;
}

enum err worker_start(struct worker *w)
{
    struct start start = {.worker = w};

    CHECK(sem_init(&start.ready, 0, 0) == 0);
    if (pthread_create(&w->thread, NULL, run, &start) != 0) {
        sem_destroy(&start.ready);
        return ERR_IO;
    }
    while (sem_wait(&start.ready) != 0)
        continue; /* EINTR */
    sem_destroy(&start.ready);
    if (start.result != ERR_OK)
        pthread_join(w->thread, NULL);
    return start.result;
}

void worker_release(struct worker *w)
{
    if (!w->is_clean || w->reactor == NULL)
        return;
    reactor_h2o_free(w->reactor);
    h2o_config_dispose(&w->conf);
    snapshot_unref(w->snapshot);
    w->reactor = NULL;
}

/* ---- messages ---- */

struct message {
    struct reactor_message super;
    struct worker *worker;
    struct snapshot *snapshot; /* owned */
};

static void on_use(struct reactor_message *super)
{
    struct message *m = (struct message *)super;
    struct worker *w = m->worker;
    struct snapshot *old = w->snapshot;

    w->snapshot = m->snapshot;
    /* in force at once, for bodies that are on their way too: libh2o looks at each frame */
    w->conf.max_request_entity_size = snapshot_request_body_max(w->snapshot);
    for (size_t i = 0; i < w->listeners_count; i++)
        listener_use(&w->listeners[i], w->snapshot);
    conn_shut_revoked(w);
    if (w->prober != NULL && snapshot_probe(w->snapshot, w->prober) != ERR_OK)
        log_error("no memory for the probes of the new configuration: those of the old one go on");
    snapshot_unref(old);
    free(m);
}

static void on_drain(struct reactor_message *super)
{
    struct message *m = (struct message *)super;

    m->worker->draining = true;
    stop_listening(m->worker);
    h2o_context_request_shutdown(&m->worker->ctx);
    free(m);
}

static void on_stop(struct reactor_message *super)
{
    struct message *m = (struct message *)super;

    m->worker->stopping = true;
    free(m);
}

static struct message *message_new(struct worker *w, void (*run_it)(struct reactor_message *))
{
    struct message *m = calloc(1, sizeof(*m));

    if (m != NULL) {
        m->super.run = run_it;
        m->worker = w;
    }
    return m;
}

enum err worker_use(struct worker *w, struct snapshot *s)
{
    struct message *m = message_new(w, on_use);

    if (m == NULL)
        return ERR_NOMEM;
    m->snapshot = snapshot_ref(s);
    reactor_post(w->reactor, &m->super);
    return ERR_OK;
}

void worker_drain(struct worker *w)
{
    struct message *m = message_new(w, on_drain);

    CHECK(m != NULL); /* the process is ending, and must */
    reactor_post(w->reactor, &m->super);
}

void worker_stop(struct worker *w)
{
    struct message *m = message_new(w, on_stop);

    CHECK(m != NULL);
    reactor_post(w->reactor, &m->super);
}
