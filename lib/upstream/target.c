#include "upstream/upstream_priv.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
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

/* scheme://host[:port], nothing more but one slash. */
static enum err server_init(struct upstream_server *s, struct slice text)
{
    const struct slice http = SLICE("http://"), https = SLICE("https://");
    struct slice host, port;
    uint64_t number;
    size_t end, bytes;

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
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static bool copy_text(char **to, const char *text)
{
    *to = text == NULL ? NULL : strdup(text);
    return text == NULL || *to != NULL;
}

enum err upstream_target_new(const struct upstream_target_options *opt,
                             struct upstream_target **out)
{
    struct upstream_target *t;
    enum err e = ERR_OK;

    CHECK(opt->servers_count > 0);
    CHECK(opt->connections > 0);
    CHECK(opt->connect_ms > 0 && opt->first_byte_ms > 0 && opt->idle_ms > 0);
    t = calloc(1, sizeof(*t));
    if (t == NULL)
        return ERR_NOMEM;
    pthread_mutex_init(&t->lock, NULL);
    atomic_init(&t->refs, 1);
    TAILQ_INIT(&t->queue);
    t->verify = opt->verify;
    t->allow_local = opt->allow_local;
    t->connections_max = opt->connections;
    t->queue_max = opt->queue;
    t->connect_ms = opt->connect_ms;
    t->first_byte_ms = opt->first_byte_ms;
    t->idle_ms = opt->idle_ms;
    t->server = calloc(opt->servers_count, sizeof(t->server[0]));
    if (t->server == NULL || !copy_text(&t->name, opt->name) || !copy_text(&t->sni, opt->sni) ||
        !copy_text(&t->ca, opt->ca))
        e = ERR_NOMEM;
    if (e == ERR_OK && t->sni != NULL && !is_host(slice_of(t->sni)))
        e = ERR_INVALID;
    for (; e == ERR_OK && t->servers_count < opt->servers_count; t->servers_count++)
        e = server_init(&t->server[t->servers_count], slice_of(opt->servers[t->servers_count]));
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
    CHECK(t->running == 0);
    CHECK(TAILQ_EMPTY(&t->queue));
    target_free(t);
}

/* On the worker that waits. */
static void on_turn(struct reactor_message *m)
{
    struct upstream_ticket *k = (struct upstream_ticket *)(void *)m;

    if (k->fetch != NULL)
        upstream__fetch_turn(k->fetch);
    else
        upstream__target_leave(k->target); /* it gave up meanwhile: to the next */
    upstream_target_unref(k->target);
    free(k);
}

enum upstream_turn upstream__target_enter(struct upstream_target *t, struct upstream_fetch *f,
                                          struct reactor *r, struct upstream_ticket **out)
{
    enum upstream_turn turn = UPSTREAM_TURN_NEVER;
    struct upstream_ticket *k = NULL;

    pthread_mutex_lock(&t->lock);
    retry_count_request(&t->budget, reactor_now_ms(r));
    if (t->running < t->connections_max) { /* then nobody waits */
        t->running++;
        turn = UPSTREAM_TURN_NOW;
    } else if (t->queued < t->queue_max && (k = calloc(1, sizeof(*k))) != NULL) {
        t->queued++;
        TAILQ_INSERT_TAIL(&t->queue, k, link);
        k->message.run = on_turn;
        k->target = upstream_target_ref(t);
        k->reactor = r;
        k->fetch = f;
        turn = UPSTREAM_TURN_LATER;
    }
    pthread_mutex_unlock(&t->lock);
    if (k != NULL) {
        metrics_add(METRIC_UPSTREAM_QUEUED, 1);
        *out = k;
    }
    return turn;
}

void upstream__target_leave(struct upstream_target *t)
{
    struct upstream_ticket *k;

    pthread_mutex_lock(&t->lock);
    CHECK(t->running > 0);
    k = TAILQ_FIRST(&t->queue);
    if (k != NULL) { /* the place goes from hand to hand: nobody can come in between */
        TAILQ_REMOVE(&t->queue, k, link);
        t->queued--;
        k->is_called = true;
    } else {
        t->running--;
    }
    pthread_mutex_unlock(&t->lock);
    if (k != NULL) {
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
        TAILQ_REMOVE(&t->queue, k, link);
        t->queued--;
    }
    pthread_mutex_unlock(&t->lock);
    if (is_called)
        return; /* on_turn() finds nobody */
    metrics_add(METRIC_UPSTREAM_QUEUED, -1);
    upstream_target_unref(t);
    free(k);
}

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
static bool may_try(struct upstream_server *s, int64_t now_ms)
{
    int64_t until_ms = atomic_load_explicit(&s->rests_until_ms, memory_order_relaxed);

    if (until_ms == 0)
        return true;
    return until_ms <= now_ms && atomic_compare_exchange_strong_explicit(
                                     &s->rests_until_ms, &until_ms, now_ms + SERVER_REST_MS,
                                     memory_order_relaxed, memory_order_relaxed);
}

struct upstream_server *upstream__target_pick(struct upstream_target *t,
                                              const struct upstream_server *failed, int64_t now_ms)
{
    size_t first = failed != NULL ? (size_t)(failed - t->server) + 1
                                  : atomic_fetch_add_explicit(&t->turn, 1, memory_order_relaxed);
    size_t tries = failed != NULL && t->servers_count > 1 ? t->servers_count - 1 : t->servers_count;

    for (size_t i = 0; i < tries; i++) {
        struct upstream_server *s = &t->server[(first + i) % t->servers_count];

        if (may_try(s, now_ms))
            return s;
    }
    return &t->server[first %
                      t->servers_count]; /* all rest: refusing would be no better than trying */
}

void upstream__server_failed(struct upstream_server *s, int64_t now_ms)
{
    atomic_store_explicit(&s->rests_until_ms, now_ms + SERVER_REST_MS, memory_order_relaxed);
}

void upstream__server_works(struct upstream_server *s)
{
    if (atomic_load_explicit(&s->rests_until_ms, memory_order_relaxed) != 0)
        atomic_store_explicit(&s->rests_until_ms, 0, memory_order_relaxed);
}
