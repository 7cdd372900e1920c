#include "upstream/upstream_priv.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/metrics.h"

enum {
    SERVER_REST_MS =
        5000,             /* one whose connection failed is passed over, but for one try, so long */
    HOST_BYTES_MAX = 255, /* a DNS name, RFC 1035 section 2.3.4 */
};

static bool is_host_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_';
}

static bool is_host(struct slice s)
{
    bool is_v6 = s.n > 2 && s.p[0] == '[' && s.p[s.n - 1] == ']';

    if (s.n == 0 || s.n > HOST_BYTES_MAX)
        return false;
    for (size_t i = is_v6; i < s.n - is_v6; i++) {
        if (is_v6 ? strchr("0123456789abcdefABCDEF:.", s.p[i]) == NULL : !is_host_byte(s.p[i]))
            return false;
    }
    return true;
}

static void gate_init(struct upstream_gate *g, unsigned running_max, unsigned queue_max)
{
    *g = (struct upstream_gate){.running_max = running_max, .queue_max = queue_max};
    TAILQ_INIT(&g->queue);
}

/* scheme://host[:port], nothing more but one slash. */
static enum err server_init(struct upstream_server *s, struct slice text)
{
    const struct slice http = SLICE("http://"), https = SLICE("https://");
    struct slice host, port;
    uint64_t number;
    size_t end, bytes;

    gate_init(&s->connecting, LIMIT_CONNECTING, UINT_MAX); /* who waits has a place */
    s->is_tls = slice_eq_nocase(slice_head(text, https.n), https);
    if (!s->is_tls && !slice_eq_nocase(slice_head(text, http.n), http))
        return ERR_INVALID;
    text = slice_from(text, s->is_tls ? https.n : http.n);
    if (slice_ends_with(text, SLICE("/")))
        text.n--;
    end = slice_index(text, ']');
    end = end == text.n ? 0 : end; /* colons inside brackets belong to the address */
    end += slice_index(slice_from(text, end), ':');
    host = slice_head(text, end);
    port = end == text.n ? (s->is_tls ? SLICE("443") : SLICE("80")) : slice_from(text, end + 1);
    if (!is_host(host) || !slice_to_u64(port, &number) || number == 0 || number > 65535)
        return ERR_INVALID;
    bytes = https.n + host.n + 8;
    s->url = malloc(bytes);
    s->connect_to.data = malloc(bytes);
    if (s->url == NULL || s->connect_to.data == NULL)
        return ERR_NOMEM;
    snprintf(s->url, bytes, "http%s://%.*s:%u", s->is_tls ? "s" : "", (int)host.n, host.p,
             (unsigned)number);
    snprintf(s->connect_to.data, bytes, "::%.*s:%u", (int)host.n, host.p, (unsigned)number);
    s->port = strrchr(s->url, ':') + 1;
    s->id = choice_id(slice_of(s->url));
    return ERR_OK;
}

static void target_free(struct upstream_target *t)
{
    for (size_t i = 0; i < t->servers_count; i++) {
        free(t->server[i].url);
        free(t->server[i].connect_to.data);
    }
    free(t->server);
    free(t->name);
    free(t->sni);
    free(t->ca);
    free(t->certificate);
    free((char *)(uintptr_t)t->probe.path);
    free((char *)(uintptr_t)t->probe.host);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static bool copy_text(char **to, const char *text)
{
    *to = text == NULL ? NULL : strdup(text);
    return text == NULL || *to != NULL;
}

static bool copy_texts(struct upstream_target *t, const struct upstream_target_options *opt)
{
    char *path = NULL, *host = NULL;
    bool ok = copy_text(&t->name, opt->name) && copy_text(&t->sni, opt->sni) &&
              copy_text(&t->ca, opt->ca) && copy_text(&t->certificate, opt->certificate) &&
              copy_text(&path, opt->probe.path) && copy_text(&host, opt->probe.host);

    t->probe = opt->probe;
    t->probe.path = path;
    t->probe.host = host;
    return ok;
}

enum err upstream_target_new(const struct upstream_target_options *opt,
                             struct upstream_target **out)
{
    struct upstream_target *t;
    enum err e = ERR_OK;

    CHECK(opt->servers_count > 0 && opt->servers_count <= LIMIT_SERVERS);
    CHECK(opt->connections > 0);
    CHECK(opt->connect_ms > 0 && opt->first_byte_ms > 0 && opt->idle_ms > 0);
    t = calloc(1, sizeof(*t));
    if (t == NULL)
        return ERR_NOMEM;
    pthread_mutex_init(&t->lock, NULL);
    atomic_init(&t->refs, 1);
    gate_init(&t->places, opt->connections, opt->queue);
    t->verify = opt->verify;
    t->allow_local = opt->allow_local;
    t->is_peer = opt->is_peer;
    t->balance = opt->balance;
    t->connections_max = opt->connections;
    t->connect_ms = opt->connect_ms;
    t->first_byte_ms = opt->first_byte_ms;
    t->idle_ms = opt->idle_ms;
    t->server = calloc(opt->servers_count, sizeof(t->server[0]));
    if (t->server == NULL || !copy_texts(t, opt))
        e = ERR_NOMEM;
    if (e == ERR_OK && t->sni != NULL && !is_host(slice_of(t->sni)))
        e = ERR_INVALID;
    for (; e == ERR_OK && t->servers_count < opt->servers_count; t->servers_count++) {
        t->server[t->servers_count].weight =
            opt->weights != NULL ? opt->weights[t->servers_count] : 1;
        e = server_init(&t->server[t->servers_count], slice_of(opt->servers[t->servers_count]));
    }
    if (e != ERR_OK) {
        target_free(t);
        return e;
    }
    *out = t;
    return ERR_OK;
}

struct upstream_target *upstream_target_ref(struct upstream_target *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void upstream_target_unref(struct upstream_target *t)
{
    if (t == NULL)
        return;
    /* release: what this thread did to it comes before the free; acquire: of all other threads too
     */
    if (atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) > 1)
        return;
    CHECK(t->places.running == 0);
    CHECK(TAILQ_EMPTY(&t->places.queue));
    for (size_t i = 0; i < t->servers_count; i++)
        CHECK(t->server[i].connecting.running == 0);
    target_free(t);
}

/* ---- gates ---- */

static void gate_leave(struct upstream_target *t, struct upstream_gate *g)
{
    struct upstream_ticket *k;

    pthread_mutex_lock(&t->lock);
    CHECK(g->running > 0);
    k = TAILQ_FIRST(&g->queue);
    if (k != NULL) { /* the place goes from hand to hand: nobody can come in between */
        TAILQ_REMOVE(&g->queue, k, link);
        g->queued--;
        k->is_called = true;
    } else {
        g->running--;
    }
    pthread_mutex_unlock(&t->lock);
    if (k != NULL) {
        metrics_add(METRIC_UPSTREAM_QUEUED, -1);
        reactor_post(k->reactor, &k->message);
    }
}

/* On the worker that waits. */
static void on_turn(struct reactor_message *m)
{
    struct upstream_ticket *k = (struct upstream_ticket *)(void *)m;

    if (k->fetch != NULL)
        upstream__fetch_turn(k->fetch, k->failure);
    else if (k->failure == UPSTREAM_OK)
        gate_leave(k->target, k->gate); /* it gave up meanwhile: to the next */
    upstream_target_unref(k->target);
    free(k);
}

/* With the lock. */
static enum upstream_turn gate_enter(struct upstream_target *t, struct upstream_gate *g,
                                     struct upstream_fetch *f, struct reactor *r,
                                     struct upstream_ticket **out)
{
    struct upstream_ticket *k;

    if (g->running < g->running_max) { /* then nobody waits */
        g->running++;
        return UPSTREAM_TURN_NOW;
    }
    if (g->queued >= g->queue_max || (k = calloc(1, sizeof(*k))) == NULL)
        return UPSTREAM_TURN_NEVER;
    g->queued++;
    TAILQ_INSERT_TAIL(&g->queue, k, link);
    k->message.run = on_turn;
    k->target = upstream_target_ref(t);
    k->gate = g;
    k->reactor = r;
    k->fetch = f;
    *out = k;
    metrics_add(METRIC_UPSTREAM_QUEUED, 1);
    return UPSTREAM_TURN_LATER;
}

enum upstream_turn upstream__target_enter(struct upstream_target *t, struct upstream_fetch *f,
                                          struct reactor *r, struct upstream_ticket **out)
{
    enum upstream_turn turn = UPSTREAM_TURN_BREAKER;

    pthread_mutex_lock(&t->lock);
    if (breaker_may_pass(&t->breaker, reactor_now_ms(r))) {
        retry_count_request(&t->budget, reactor_now_ms(r));
        turn = gate_enter(t, &t->places, f, r, out);
    }
    pthread_mutex_unlock(&t->lock);
    return turn;
}

void upstream__target_leave(struct upstream_target *t)
{
    gate_leave(t, &t->places);
}

enum upstream_turn upstream__connect_enter(struct upstream_target *t, struct upstream_server *s,
                                           struct upstream_fetch *f, struct reactor *r,
                                           struct upstream_ticket **out)
{
    enum upstream_turn turn;

    pthread_mutex_lock(&t->lock);
    turn = gate_enter(t, &s->connecting, f, r, out);
    pthread_mutex_unlock(&t->lock);
    return turn;
}

void upstream__connect_leave(struct upstream_target *t, struct upstream_server *s)
{
    gate_leave(t, &s->connecting);
}

/* Nobody gets a turn: who waits hears of the failure. */
static void gate_shut(struct upstream_target *t, struct upstream_gate *g,
                      enum upstream_failure failure)
{
    struct upstream_ticket *k;

    for (;;) {
        pthread_mutex_lock(&t->lock);
        k = TAILQ_FIRST(&g->queue);
        if (k != NULL) {
            TAILQ_REMOVE(&g->queue, k, link);
            g->queued--;
            k->is_called = true;
            k->failure = failure;
        }
        pthread_mutex_unlock(&t->lock);
        if (k == NULL)
            return;
        metrics_add(METRIC_UPSTREAM_QUEUED, -1);
        reactor_post(k->reactor, &k->message);
    }
}

void upstream__ticket_drop(struct upstream_ticket *k)
{
    struct upstream_target *t = k->target;
    bool is_called;

    k->fetch = NULL;
    pthread_mutex_lock(&t->lock);
    is_called = k->is_called;
    if (!is_called) {
        TAILQ_REMOVE(&k->gate->queue, k, link);
        k->gate->queued--;
    }
    pthread_mutex_unlock(&t->lock);
    if (is_called)
        return; /* on_turn() finds nobody */
    metrics_add(METRIC_UPSTREAM_QUEUED, -1);
    upstream_target_unref(t);
    free(k);
}

/* ---- ---- */

bool upstream__target_take_retry(struct upstream_target *t, int64_t now_ms)
{
    bool taken;

    pthread_mutex_lock(&t->lock);
    taken = retry_take(&t->budget, now_ms);
    pthread_mutex_unlock(&t->lock);
    return taken;
}

/* After its rest a server gets one request; the others pass it over until that one has said how it
 * went. */
static bool take_try(struct upstream_server *s, int64_t now_ms)
{
    int64_t until_ms = atomic_load_explicit(&s->rests_until_ms, memory_order_relaxed);

    if (until_ms == 0)
        return true;
    return until_ms <= now_ms && atomic_compare_exchange_strong_explicit(
                                     &s->rests_until_ms, &until_ms, now_ms + SERVER_REST_MS,
                                     memory_order_relaxed, memory_order_relaxed);
}

static bool is_down(const struct upstream_server *s)
{
    return atomic_load_explicit(&s->is_down, memory_order_relaxed);
}

static bool rests(const struct upstream_server *s, int64_t now_ms)
{
    return atomic_load_explicit(&s->rests_until_ms, memory_order_relaxed) > now_ms;
}

static bool has_room(const struct upstream_target *t, struct upstream_server *s, int64_t now_ms)
{
    int64_t up_since_ms = atomic_load_explicit(&s->up_since_ms, memory_order_relaxed);

    return up_since_ms == 0 || atomic_load_explicit(&s->running, memory_order_relaxed) <
                                   health_room(t->connections_max, up_since_ms, now_ms);
}

static size_t choose(const struct upstream_target *t, const struct choice_server *c, uint64_t key,
                     uint64_t turn)
{
    return t->balance == UPSTREAM_HASH ? choice_hash(c, t->servers_count, key)
                                       : choice_least(c, t->servers_count, turn);
}

/* In the first round only what is well; in the second, since refusing would be no better than
 * trying, whatever is not down. */
static void read_choices(struct upstream_target *t, const struct upstream_server *failed, int round,
                         int64_t now_ms, struct choice_server *out)
{
    for (size_t i = 0; i < t->servers_count; i++) {
        struct upstream_server *s = &t->server[i];

        out[i] = (struct choice_server){
            .id = s->id,
            .weight = s->weight,
            .running = atomic_load_explicit(&s->running, memory_order_relaxed),
            .is_fit = s != failed && !is_down(s) &&
                      (round > 0 || (!rests(s, now_ms) && has_room(t, s, now_ms))),
        };
    }
}

struct upstream_server *upstream__target_pick(struct upstream_target *t,
                                              const struct upstream_server *failed, uint64_t key,
                                              int64_t now_ms)
{
    uint64_t turn = atomic_fetch_add_explicit(&t->turn, 1, memory_order_relaxed);
    struct choice_server c[LIMIT_SERVERS];

    failed = t->servers_count > 1 ? failed : NULL;
    for (int round = 0; round < 2; round++) {
        read_choices(t, failed, round, now_ms, c);
        for (;;) {
            size_t at = choose(t, c, key, turn);

            if (at == CHOICE_NONE)
                break;
            if (round > 0 || take_try(&t->server[at], now_ms))
                return &t->server[at];
            c[at].is_fit = false;
        }
    }
    return failed != NULL ? upstream__target_pick(t, NULL, key, now_ms) : NULL;
}

bool upstream__target_is_down(const struct upstream_target *t)
{
    for (size_t i = 0; i < t->servers_count; i++)
        if (!is_down(&t->server[i]))
            return false;
    return true;
}

struct choice_hop upstream__target_as_hop(struct upstream_target *t, unsigned group, bool may_rest,
                                          int64_t now_ms)
{
    struct choice_hop h = {.id = t->server[0].id, .group = group};

    for (size_t i = 0; i < t->servers_count; i++) {
        struct upstream_server *s = &t->server[i];
        bool is_up = !is_down(s) && (may_rest || !t->is_peer || !rests(s, now_ms));

        h.is_up = h.is_up || is_up;
        h.has_room = h.has_room || (is_up && has_room(t, s, now_ms));
    }
    return h;
}

void upstream__target_worked(struct upstream_target *t)
{
    bool was_open;

    if (!atomic_load_explicit(&t->has_failed, memory_order_relaxed))
        return;
    pthread_mutex_lock(&t->lock);
    atomic_store_explicit(&t->has_failed, false, memory_order_relaxed);
    was_open = breaker_worked(&t->breaker);
    pthread_mutex_unlock(&t->lock);
    if (was_open)
        log_warn("%s: the origin answers again", t->name != NULL ? t->name : "-");
}

void upstream__target_failed(struct upstream_target *t, int64_t now_ms)
{
    bool opened;

    if (t->is_peer || t->is_unbroken)
        return;
    pthread_mutex_lock(&t->lock);
    atomic_store_explicit(&t->has_failed, true, memory_order_relaxed);
    opened = breaker_failed(&t->breaker, now_ms);
    pthread_mutex_unlock(&t->lock);
    if (opened) {
        metrics_add(METRIC_UPSTREAM_BREAKER_OPENED, 1);
        log_warn("%s: the origin has failed %d times in a row: it is left alone, and asked once "
                 "every %d s",
                 t->name != NULL ? t->name : "-", LIMIT_BREAKER_FAILURES,
                 LIMIT_BREAKER_OPEN_MS / 1000);
    }
}

void upstream__server_failed(struct upstream_target *t, struct upstream_server *s,
                             enum upstream_failure failure, int64_t since_ms, int64_t now_ms)
{
    atomic_store_explicit(&s->rests_until_ms, now_ms + SERVER_REST_MS, memory_order_relaxed);
    /* else it is slow, or that one had bad luck */
    if (atomic_load_explicit(&s->connected_ms, memory_order_relaxed) < since_ms)
        gate_shut(t, &s->connecting, failure);
}

void upstream__server_connected(struct upstream_server *s, int64_t now_ms)
{
    atomic_store_explicit(&s->connected_ms, now_ms, memory_order_relaxed);
}

void upstream__server_works(struct upstream_server *s)
{
    if (atomic_load_explicit(&s->rests_until_ms, memory_order_relaxed) != 0)
        atomic_store_explicit(&s->rests_until_ms, 0, memory_order_relaxed);
}
