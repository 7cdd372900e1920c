/*
 * Probes: a request of our own to each server, over and over; three that fail mean down, two that
 * succeed mean up (health.h).
 *
 * A probe is an ordinary fetch, over a target of its own with that one server: so the ceilings and
 * the budget of the real one know nothing of it.
 */
#include "upstream/upstream_priv.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/metrics.h"

enum { SPREAD_MS = 37 }; /* so that not all begin in the same turn */

struct probe {
    struct upstream_prober *prober;
    struct upstream_target *target; /* counted: whose server it is */
    struct upstream_server *server; /* inside */
    struct upstream_target *own;    /* counted: what it asks */
    struct health health;
    struct reactor_timer timer;
    struct upstream_fetch *fetch; /* NULL between two probes */
    int64_t began_ms;
    bool is_good; /* the head has come, and says so */
};

struct upstream_prober {
    struct upstream *upstream;
    struct probe **probe; /* owned */
    size_t count;
};

static int64_t now_ms(const struct upstream_prober *p)
{
    return reactor_now_ms(p->upstream->reactor);
}

static void set_down(struct probe *b, bool is_down)
{
    if (atomic_load_explicit(&b->server->is_down, memory_order_relaxed) == is_down)
        return;
    if (!is_down)
        atomic_store_explicit(&b->server->up_since_ms, now_ms(b->prober), memory_order_relaxed);
    atomic_store_explicit(&b->server->is_down, is_down, memory_order_relaxed);
    metrics_add(METRIC_UPSTREAM_SERVERS_DOWN, is_down ? 1 : -1);
}

static void report(struct probe *b, bool is_good, const char *why)
{
    metrics_add(is_good ? METRIC_UPSTREAM_PROBES_OK : METRIC_UPSTREAM_PROBES_FAILED, 1);
    if (!health_probed(&b->health, is_good))
        return;
    set_down(b, b->health.is_down);
    if (is_good) {
        upstream__server_works(b->server); /* what it failed at before is past */
        upstream__target_worked(b->target);
        log_info("%s: %s is up again", b->target->name, b->server->url);
    } else {
        log_warn("%s: %s is down: %d probes have failed, the last one: %s", b->target->name,
                 b->server->url, LIMIT_HEALTH_DOWN, why);
    }
}

/* A shield answers 200 when it is well; an origin's page may also redirect. */
static void on_head(void *user, const struct upstream_head *h)
{
    struct probe *b = user;

    b->is_good = h->status >= 200 && h->status < (b->target->is_peer ? 201 : 400);
}

static enum upstream_flow on_body(void *user, const char *p, size_t n)
{
    (void)user;
    (void)p;
    (void)n;
    return UPSTREAM_GO_ON;
}

static void again(struct probe *b)
{
    int64_t due_ms = b->began_ms + b->target->probe.every_ms - now_ms(b->prober);

    reactor_timer_start(b->prober->upstream->reactor, &b->timer, due_ms > 0 ? due_ms : 0);
}

static void on_done(void *user, enum upstream_failure failure, const char *text)
{
    struct probe *b = user;

    b->fetch = NULL;
    report(b, b->is_good, failure != UPSTREAM_OK ? text : "its status");
    again(b);
}

static void on_timer(void *user)
{
    static const struct upstream_events events = {on_head, on_body, on_done, NULL, NULL};
    struct probe *b = user;
    struct upstream_request rq = {
        .target = b->own,
        .method = SLICE("GET"),
        .request_target = slice_of(b->target->probe.path),
        .host = slice_of(b->target->probe.host),
        .is_idempotent = true,
    };

    b->began_ms = now_ms(b->prober);
    b->is_good = false;
    if (upstream_fetch(b->prober->upstream, &rq, &events, b, &b->fetch) != ERR_OK) {
        b->fetch = NULL; /* no memory says nothing about the server */
        again(b);
    }
}

static void probe_free(struct probe *b)
{
    if (b == NULL)
        return;
    reactor_timer_stop(b->prober->upstream->reactor, &b->timer);
    if (b->fetch != NULL)
        upstream_cancel(b->fetch);
    if (b->server != NULL && atomic_load_explicit(&b->server->is_down, memory_order_relaxed))
        metrics_add(METRIC_UPSTREAM_SERVERS_DOWN, -1);
    upstream_target_unref(b->own);
    upstream_target_unref(b->target);
    free(b);
}

static void probes_free(struct probe **probe, size_t n)
{
    for (size_t i = 0; i < n; i++)
        probe_free(probe[i]);
    free(probe);
}

static enum err make_own(struct probe *b)
{
    const struct upstream_target *t = b->target;
    const char *url = b->server->url;
    struct upstream_target_options opt = {
        .name = t->name,
        .servers = &url,
        .servers_count = 1,
        .sni = t->sni,
        .ca = t->ca,
        .certificate = t->certificate,
        .verify = t->verify,
        .allow_local = t->allow_local,
        .is_peer = t->is_peer,
        .connections = 1,
        .connect_ms = t->probe.timeout_ms,
        .first_byte_ms = t->probe.timeout_ms,
        .idle_ms = t->probe.timeout_ms,
    };
    enum err e;

    e = upstream_target_new(&opt, &b->own);
    if (e == ERR_OK)
        b->own->is_unbroken = true;
    return e;
}

/* What was probed before this, if it was. */
static const struct probe *same_as(const struct upstream_prober *p, const struct probe *b)
{
    for (size_t i = 0; i < p->count; i++)
        if (strcmp(p->probe[i]->server->url, b->server->url) == 0 &&
            strcmp(p->probe[i]->target->probe.path, b->target->probe.path) == 0)
            return p->probe[i];
    return NULL;
}

static struct probe *probe_new(struct upstream_prober *p, struct upstream_target *t,
                               struct upstream_server *s)
{
    struct probe *b = calloc(1, sizeof(*b));

    if (b == NULL)
        return NULL;
    b->prober = p;
    b->timer = (struct reactor_timer){.fire = on_timer, .user = b};
    b->target = upstream_target_ref(t);
    b->server = s;
    if (make_own(b) != ERR_OK) {
        probe_free(b);
        return NULL;
    }
    return b;
}

static size_t count_servers(struct upstream_target *const *t, size_t n)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        count += t[i]->probe.path != NULL ? t[i]->servers_count : 0;
    return count;
}

static void start(struct upstream_prober *p, struct probe *b, size_t number)
{
    const struct probe *old = same_as(p, b);
    int64_t every_ms = b->target->probe.every_ms;

    if (old != NULL) {
        b->health = old->health;
        set_down(b, old->health.is_down);
    }
    reactor_timer_start(p->upstream->reactor, &b->timer,
                        (int64_t)number * SPREAD_MS % (every_ms > 0 ? every_ms : 1));
}

enum err upstream_prober_use(struct upstream_prober *p, struct upstream_target *const *targets,
                             size_t n)
{
    size_t room = count_servers(targets, n), count = 0;
    struct probe **probe = calloc(room + 1, sizeof(struct probe *));

    if (probe == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; targets[i]->probe.path != NULL && j < targets[i]->servers_count; j++) {
            probe[count] = probe_new(p, targets[i], &targets[i]->server[j]);
            if (probe[count] == NULL) {
                probes_free(probe, count);
                return ERR_NOMEM;
            }
            count++;
        }
    for (size_t i = 0; i < count; i++)
        start(p, probe[i], i);
    probes_free(p->probe, p->count);
    p->probe = probe;
    p->count = count;
    return ERR_OK;
}

enum err upstream_prober_new(struct upstream *u, struct upstream_prober **out)
{
    struct upstream_prober *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return ERR_NOMEM;
    p->upstream = u;
    *out = p;
    return ERR_OK;
}

void upstream_prober_free(struct upstream_prober *p)
{
    if (p == NULL)
        return;
    probes_free(p->probe, p->count);
    free(p);
}
