#include "upstream/upstream_priv.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"

enum {
    REQUEST_BYTES_MAX = 256 * 1024, /* of the arena: our copy of a head, which h2o has limited */
    READ_BYTES = 65536,             /* what libcurl holds of a body at most, paused or not */
    DNS_KEPT_S = 30,
    HEALTH_LOOK_MS = 250, /* how often a fetch without a byte looks whether its server is down */
};

const char *upstream_failure_name(enum upstream_failure f)
{
    static const char *const name[] = {
        [UPSTREAM_OK] = "ok",
        [UPSTREAM_FAILED_RESOLVE] = "resolve-failed",
        [UPSTREAM_FAILED_CONNECT] = "connect-refused",
        [UPSTREAM_FAILED_CONNECT_TIME] = "connect-timeout",
        [UPSTREAM_FAILED_TLS] = "tls-failed",
        [UPSTREAM_FAILED_TIMEOUT] = "timeout",
        [UPSTREAM_FAILED_CLOSED] = "closed",
        [UPSTREAM_FAILED_GARBAGE] = "garbage",
        [UPSTREAM_FAILED_TRUNCATED] = "truncated",
        [UPSTREAM_FAILED_OVERLOAD] = "overload",
        [UPSTREAM_FAILED_DOWN] = "down",
        [UPSTREAM_FAILED_BREAKER] = "breaker-open",
        [UPSTREAM_FAILED_AWAY] = "away",
    };

    CHECK((size_t)f < sizeof(name) / sizeof(name[0]));
    return name[f];
}

static void count_failure(enum upstream_failure f)
{
    static const enum metric metric[] = {
        [UPSTREAM_FAILED_RESOLVE] = METRIC_UPSTREAM_RESOLVE,
        [UPSTREAM_FAILED_CONNECT] = METRIC_UPSTREAM_CONNECT,
        [UPSTREAM_FAILED_CONNECT_TIME] = METRIC_UPSTREAM_CONNECT,
        [UPSTREAM_FAILED_TLS] = METRIC_UPSTREAM_TLS,
        [UPSTREAM_FAILED_TIMEOUT] = METRIC_UPSTREAM_TIMEOUT,
        [UPSTREAM_FAILED_CLOSED] = METRIC_UPSTREAM_CLOSED,
        [UPSTREAM_FAILED_GARBAGE] = METRIC_UPSTREAM_GARBAGE,
        [UPSTREAM_FAILED_TRUNCATED] = METRIC_UPSTREAM_TRUNCATED,
        [UPSTREAM_FAILED_OVERLOAD] = METRIC_UPSTREAM_OVERLOAD,
        [UPSTREAM_FAILED_DOWN] = METRIC_UPSTREAM_DOWN,
        [UPSTREAM_FAILED_BREAKER] = METRIC_UPSTREAM_BREAKER,
        [UPSTREAM_FAILED_AWAY] = METRIC_UPSTREAM_AWAY,
    };

    if (f != UPSTREAM_OK)
        metrics_add(metric[f], 1);
}

static int64_t now_ms(const struct upstream_fetch *f)
{
    return reactor_now_ms(f->upstream->reactor);
}

/* Say what is wrong; libcurl then ends the transfer and closes the connection. */
static void fail(struct upstream_fetch *f, enum upstream_failure failure, const char *complaint)
{
    f->failure = failure;
    f->complaint = complaint;
}

/* Time.  One timer, which is moved only when it would fire too late. */

/* A shield waits for its origin as the site says; to give up before it does helps nobody. */
static int64_t patience_ms(const struct upstream_fetch *f, int64_t of_target, int64_t of_peer)
{
    return f->target->is_peer && of_peer > of_target ? of_peer : of_target;
}

static int64_t first_byte_ms(const struct upstream_fetch *f)
{
    return patience_ms(f, f->target->first_byte_ms, f->peer_first_byte_ms);
}

static bool is_open_tunnel(const struct upstream_fetch *f)
{
    return f->is_upgrade && f->tunnel.phase == TUNNEL_OPEN;
}

static int64_t due_ms(const struct upstream_fetch *f)
{
    switch (f->state) {
    case FETCH_WAITING:
    case FETCH_GATED:
        return f->started_ms + first_byte_ms(f);
    case FETCH_STARTING:
    case FETCH_RUNNING:
        if (f->is_paused || is_open_tunnel(f))
            return INT64_MAX;
        if (f->has_head)
            return f->moved_ms + (f->is_stream
                                      ? LIMIT_STREAM_IDLE_MS
                                      : patience_ms(f, f->target->idle_ms, f->peer_idle_ms));
        return f->sent_ms != 0 ? f->sent_ms + first_byte_ms(f)
                               : f->started_ms + f->target->connect_ms;
    case FETCH_SPARE:
    case FETCH_FAILING:
    case FETCH_DEAD:
    case FETCH_ENDING:
        break;
    }
    return INT64_MAX;
}

/* Is there something to do about a server that goes down while we wait for it? */
static bool watches_health(const struct upstream_fetch *f)
{
    return f->target->probe.path != NULL && !f->has_head &&
           (f->route != NULL || f->target->servers_count > 1);
}

static void watch_time(struct upstream_fetch *f)
{
    int64_t due = due_ms(f);

    if (due != INT64_MAX && watches_health(f) && due > now_ms(f) + HEALTH_LOOK_MS)
        due = now_ms(f) + HEALTH_LOOK_MS;
    if (due == INT64_MAX || (f->timer_due_ms != 0 && f->timer_due_ms <= due))
        return;
    f->timer_due_ms = due;
    reactor_timer_start(f->upstream->reactor, &f->timer, due - now_ms(f));
}

static void stop_time(struct upstream_fetch *f)
{
    f->timer_due_ms = 0;
    reactor_timer_stop(f->upstream->reactor, &f->timer);
}

/* The end of a fetch. */

static void forget_connection(struct upstream_fetch *f)
{
    if (f->socket == NULL)
        return;
    CHECK(f->socket->fetch == f);
    f->socket->fetch = NULL;
    f->socket->idle_since_ms = now_ms(f);
    f->socket = NULL;
}

static CURLM *multi_of(const struct upstream_fetch *f)
{
    return f->upstream->multi[f->is_upgrade ? UPSTREAM_TUNNELS : UPSTREAM_FETCHES].multi;
}

void upstream__fetch_connected(struct upstream_fetch *f)
{
    if (!f->may_connect)
        return;
    f->may_connect = false;
    upstream__connect_leave(f->target, f->server);
}

static void leave_curl(struct upstream_fetch *f)
{
    struct upstream *u = f->upstream;

    CHECK(!u->in_curl);
    if (f->is_upgrade)
        upstream__tunnel_release(f);
    u->in_curl = true; /* closing a socket calls us */
    curl_multi_remove_handle(multi_of(f), f->easy);
    u->in_curl = false;
    upstream__sockets_leave(&u->sockets, f);
    forget_connection(f);
    upstream__fetch_connected(f);
}

/* `s` has this attempt now; NULL: no server has. */
static void set_load(struct upstream_fetch *f, struct upstream_server *s)
{
    if (f->loaded != NULL)
        atomic_fetch_sub_explicit(&f->loaded->running, 1, memory_order_relaxed);
    if (s != NULL)
        atomic_fetch_add_explicit(&s->running, 1, memory_order_relaxed);
    f->loaded = s;
}

/* Give back what others of this target wait for. */
static void leave_target(struct upstream_fetch *f)
{
    set_load(f, NULL);
    upstream__fetch_connected(f);
    if (f->ticket != NULL)
        upstream__ticket_drop(f->ticket);
    f->ticket = NULL;
    if (f->has_place) {
        f->has_place = false;
        metrics_add(METRIC_UPSTREAM_RUNNING, -1);
        upstream__target_leave(f->target);
    }
    upstream__undo(f);
    stop_time(f);
}

/* Before the user hears of the end. */
static void let_go(struct upstream_fetch *f)
{
    if (f->state == FETCH_RUNNING || f->state == FETCH_DEAD)
        leave_curl(f);
    leave_target(f);
    f->state = FETCH_ENDING;
}

static void release_request(struct upstream_fetch *f)
{
    curl_easy_setopt(f->easy, CURLOPT_HTTPHEADER, NULL); /* borrowed from what goes now */
    curl_easy_setopt(f->easy, CURLOPT_POSTFIELDS, NULL);
    curl_easy_setopt(f->easy, CURLOPT_CONNECT_TO, NULL);
    arena_release(&f->arena);
    free(f->body);
    f->body = NULL;
    f->body_bytes = 0;
    f->origin_fields = f->peer_fields = NULL;
    upstream_target_unref(f->target);
    upstream_route_unref(f->route);
    f->target = NULL;
    f->route = NULL;
}

static void make_spare(struct upstream_fetch *f)
{
    struct upstream *u = f->upstream;

    release_request(f);
    TAILQ_REMOVE(&u->running, f, all);
    f->state = FETCH_SPARE;
    /* libcurl keeps in its handle that this one is for connecting alone */
    if (f->is_upgrade || u->spare_count >= SPARE_MAX) {
        upstream__fetch_free(f);
        return;
    }
    TAILQ_INSERT_HEAD(&u->spare, f, all);
    u->spare_count++;
}

static void finish(struct upstream_fetch *f, enum upstream_failure failure, const char *what)
{
    char text[CURL_ERROR_SIZE + 512];

    snprintf(text, sizeof(text), "%s: %s: %s", f->target->name != NULL ? f->target->name : "-",
             f->server != NULL ? f->server->url : "-", what);
    let_go(f);
    count_failure(failure);
    f->events.done(f->user, failure, text);
    make_spare(f);
}

void upstream__fetch_drop(struct upstream_fetch *f)
{
    let_go(f);
    make_spare(f);
}

void upstream__fetch_settle(struct upstream_fetch *f)
{
    leave_target(f);
    if (f->socket == NULL || f->socket->is_tunnel)
        return;
    f->socket->is_tunnel = true;
    atomic_fetch_sub_explicit(&f->target->sockets, 1, memory_order_relaxed);
}

/* The head of an answer. */

/* A shield that wants nothing of us has not begun with the request. */
static bool sends_away(const struct upstream_fetch *f)
{
    struct slice said;

    if (!f->target->is_peer)
        return false;
    said = http_fields_value(&f->head.fields, SLICE("selvage-error"));
    return slice_eq(said, SLICE("draining")) || slice_eq(said, SLICE("overloaded")) ||
           slice_eq(said, SLICE("refused"));
}

/* What comes after this head, and may the connection be used again? */
static bool read_framing(struct upstream_fetch *f)
{
    int64_t keep_ms;

    if (f->head.status == 101) { /* head.c takes it only where it was asked for */
        f->framing = (struct head_framing){.kind = UPSTREAM_NO_BODY};
        return true;
    }
    if (head_framing(&f->head, f->is_head, &f->framing) != ERR_OK) {
        fail(f, UPSTREAM_FAILED_GARBAGE, f->head.complaint);
        return false;
    }
    keep_ms = head_keep_alive_ms(&f->head.fields);
    if (keep_ms >= 0 && f->socket != NULL)
        f->socket->keep_ms =
            keep_ms - 1000; /* what is sent in the last second may find it closed */
    /* More sockets than the ceiling are idle ones of all workers together: this one need not join
     * them. */
    if (!f->framing.may_reuse || atomic_load_explicit(&f->target->sockets, memory_order_relaxed) >
                                     f->target->connections_max)
        curl_easy_setopt(f->easy, CURLOPT_FORBID_REUSE, 1L);
    if (f->framing.kind == UPSTREAM_NO_BODY || f->framing.kind == UPSTREAM_CHUNKED ||
        (f->framing.kind == UPSTREAM_LENGTH && f->framing.body_bytes == 0))
        curl_easy_setopt(f->easy, CURLOPT_VERBOSE, 1L); /* for on_debug() */
    return true;
}

bool upstream__fetch_head(struct upstream_fetch *f)
{
    struct upstream_head told;

    if (!read_framing(f))
        return false;
    upstream__target_worked(f->target);
    if (sends_away(f)) {
        fail(f, UPSTREAM_FAILED_AWAY,
             "the shield drains, is overloaded, or does not know this node");
        return false;
    }
    f->has_head = true;
    f->moved_ms = now_ms(f);
    watch_time(f);
    told = (struct upstream_head){.status = f->head.status,
                                  .fields = f->head.fields,
                                  .framing = f->framing.kind,
                                  .body_bytes = f->framing.body_bytes,
                                  .sent_mono_ms = f->sent_ms,
                                  .is_peer = f->target->is_peer};
    f->events.head(f->user, &told);
    if (f->state != FETCH_RUNNING)
        return false;
    /* libcurl knows no HEAD with a body and would wait for the answer's */
    f->is_whole = f->is_head && f->has_body;
    return !f->is_whole;
}

/* What libcurl calls. */

static bool tell_interim(struct upstream_fetch *f)
{
    f->moved_ms = now_ms(f);
    if (f->events.interim != NULL)
        f->events.interim(f->user, f->head.status, &f->head.fields);
    return f->state == FETCH_RUNNING;
}

static size_t on_header(char *p, size_t one, size_t n, void *user)
{
    struct upstream_fetch *f = user;

    (void)one;
    if (f->state != FETCH_RUNNING)
        return 0;
    if (f->has_head)
        return n; /* trailers: nobody has asked for them */
    switch (head_line(&f->head, (struct slice){p, n})) {
    case HEAD_MORE:
        return n;
    case HEAD_INTERIM:
        return tell_interim(f) ? n : 0;
    case HEAD_GARBAGE:
        fail(f, UPSTREAM_FAILED_GARBAGE, f->head.complaint);
        return 0;
    case HEAD_COMPLETE:
        break;
    }
    return upstream__fetch_head(f) ? n : 0;
}

static size_t on_body(char *p, size_t one, size_t n, void *user)
{
    struct upstream_fetch *f = user;
    size_t mine = n;

    (void)one;
    if (f->state != FETCH_RUNNING)
        return 0;
    if (f->is_paused) /* the rest of one read comes in pieces, whatever we said to the first: keep
                         it */
        return CURL_WRITEFUNC_PAUSE;
    if (!f->has_head || f->framing.kind == UPSTREAM_NO_BODY) {
        fail(f, UPSTREAM_FAILED_GARBAGE, "bytes where no body may be");
        return 0;
    }
    if (f->framing.kind == UPSTREAM_LENGTH && mine > f->framing.body_bytes - f->body_received)
        mine = (size_t)(f->framing.body_bytes - f->body_received);
    f->body_received += mine;
    f->moved_ms = now_ms(f);
    metrics_add(METRIC_UPSTREAM_BYTES, (int64_t)mine);
    if (mine == 0 || f->events.body(f->user, p, mine) == UPSTREAM_GO_ON)
        return f->state == FETCH_RUNNING ? n : 0;
    if (f->state != FETCH_RUNNING)
        return 0;
    f->is_paused = true;
    f->wants_resume = false;
    curl_easy_pause(f->easy, CURLPAUSE_RECV); /* the one call that is allowed in here */
    return n;
}

/*
 * libcurl swallows what follows a body-less answer or a last chunk in the same read, says so here
 * and nowhere else, and keeps the connection.  What else the origin sends would be the next
 * request's answer.
 */
static int on_debug(CURL *easy, curl_infotype type, char *p, size_t n, void *user)
{
    struct slice text = {p, n};

    (void)user;
    if (type == CURLINFO_TEXT && (slice_starts_with(text, SLICE("Excess found")) ||
                                  slice_starts_with(text, SLICE("Leftovers after chunking"))))
        curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
    return 0;
}

static curl_socket_t on_open(void *user, curlsocktype purpose, struct curl_sockaddr *to)
{
    struct upstream_fetch *f = user;

    (void)purpose;
    return upstream__socket_open(&f->upstream->sockets, f, to);
}

static int on_close(void *user, curl_socket_t fd)
{
    struct upstream *u = user;

    upstream__socket_close(&u->sockets, fd);
    return 0;
}

static bool take_retry(struct upstream_fetch *f, enum upstream_failure failure)
{
    struct retry_facts facts = {
        .failure = failure,
        .is_idempotent = f->is_idempotent,
        .was_sent = f->sent > 0,
        .has_answer = f->head.bytes > 0,
        .retries = f->retries,
        .servers_count = f->target->servers_count,
    };

    if (!retry_may(&facts) || !upstream__target_take_retry(f->target, now_ms(f)))
        return false;
    f->retries++;
    f->sends_granted = f->sent + 1;
    metrics_add(METRIC_UPSTREAM_RETRIES, 1);
    return true;
}

/*
 * A connection is there, and the request is about to be written to it: the one place where libcurl
 * asks each time, also when it tries again by itself because a kept connection had ended.
 */
static int on_request(void *user, char *peer_ip, char *local_ip, int peer_port, int local_port)
{
    struct upstream_fetch *f = user;
    struct upstream_ends ends = {local_ip, peer_ip, local_port, peer_port};
    struct upstream_socket *s;

    if (f->state != FETCH_RUNNING)
        return CURL_PREREQFUNC_ABORT;
    forget_connection(f);
    s = upstream__socket_find(&f->upstream->sockets, f, &ends);
    if (s == NULL) {
        fail(f, UPSTREAM_FAILED_CONNECT, "the connection was reset as soon as it was made");
        return CURL_PREREQFUNC_ABORT;
    }
    /* libcurl gives a connection on as soon as an answer is whole, before we hear that its fetch
     * has ended */
    if (s->fetch != NULL)
        forget_connection(s->fetch);
    if (f->sent >= f->sends_granted && !take_retry(f, UPSTREAM_FAILED_CLOSED)) {
        fail(f, UPSTREAM_FAILED_CLOSED, "the connection ended without an answer");
        return CURL_PREREQFUNC_ABORT;
    }
    if (s->was_used && (f->sent > 0 || (s->is_local && !f->target->allow_local) ||
                        !upstream__socket_is_fit(s, f->is_idempotent, now_ms(f)))) {
        f->is_refused = true;
        return CURL_PREREQFUNC_ABORT;
    }
    if (!s->was_used) {
        metrics_add(METRIC_UPSTREAM_CONNECTIONS, 1);
        upstream__server_connected(f->server, now_ms(f));
    }
    upstream__fetch_connected(f);
    s->was_used = true;
    s->keep_ms = LIMIT_UPSTREAM_IDLE_MS;
    s->fetch = f;
    f->socket = s;
    f->sent++;
    f->sent_ms = now_ms(f);
    f->uploaded = 0;
    watch_time(f);
    upstream__server_works(f->server);
    metrics_add(METRIC_UPSTREAM_REQUESTS, 1);
    return CURL_PREREQFUNC_OK;
}

/* From libcurl's code to ours. */

static enum upstream_failure failure_of(const struct upstream_fetch *f, CURLcode result)
{
    switch (result) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return UPSTREAM_FAILED_RESOLVE;
    case CURLE_COULDNT_CONNECT:
        return UPSTREAM_FAILED_CONNECT;
    case CURLE_OPERATION_TIMEDOUT:
        return f->sent > 0 ? UPSTREAM_FAILED_TIMEOUT : UPSTREAM_FAILED_CONNECT_TIME;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_ENGINE_INITFAILED:
        return UPSTREAM_FAILED_TLS;
    case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9, or nothing like HTTP */
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
        return UPSTREAM_FAILED_GARBAGE;
    case CURLE_OUT_OF_MEMORY: /* also: a line above libcurl's own ceiling, a head that begins folded
                               */
    case CURLE_BAD_FUNCTION_ARGUMENT:
        return f->has_head    ? UPSTREAM_FAILED_TRUNCATED
               : f->sent == 0 ? UPSTREAM_FAILED_OVERLOAD
                              : UPSTREAM_FAILED_GARBAGE;
    default:
        return f->has_head ? UPSTREAM_FAILED_TRUNCATED : UPSTREAM_FAILED_CLOSED;
    }
}

/* libcurl is content with a head that ends in the middle, and knows nothing of our reading of its
 * length. */
static enum upstream_failure judge(struct upstream_fetch *f, CURLcode result)
{
    if (f->failure != UPSTREAM_OK)
        return f->failure;
    if (f->is_whole)
        return UPSTREAM_OK;
    if (result != CURLE_OK)
        return failure_of(f, result);
    if (!f->has_head) {
        f->complaint = "the connection ended in the head";
        return UPSTREAM_FAILED_CLOSED;
    }
    if (f->framing.kind == UPSTREAM_LENGTH && f->body_received != f->framing.body_bytes) {
        f->complaint = "the body is shorter than its length";
        return UPSTREAM_FAILED_TRUNCATED;
    }
    return UPSTREAM_OK;
}

/* Attempts. */

static void attempt(struct upstream_fetch *f)
{
    f->state = FETCH_STARTING;
    f->started_ms = now_ms(f);
    f->sent_ms = 0;
    f->is_refused = false;
    f->failure = UPSTREAM_OK;
    f->complaint = NULL;
    f->error[0] = '\0';
    f->tunnel = (struct upstream_tunnel){.phase = TUNNEL_CONNECTING, .fd = -1};
    head_restart(&f->head);
    stop_time(f);
    watch_time(f);
    upstream__todo(f);
}

/* upstream.h says when a request leaves a shield.  One that was sent moves on once: that is the one
 * retry. */
static bool may_leave(const struct upstream_fetch *f, enum upstream_failure failure)
{
    bool may_repeat = f->sent == 0 || (f->is_idempotent && f->retries == 0);

    if (f->route == NULL || !f->target->is_peer)
        return false;
    switch (failure) {
    case UPSTREAM_FAILED_RESOLVE:
    case UPSTREAM_FAILED_CONNECT:
    case UPSTREAM_FAILED_CONNECT_TIME:
    case UPSTREAM_FAILED_TLS:
    case UPSTREAM_FAILED_CLOSED:
    case UPSTREAM_FAILED_DOWN:
        return may_repeat && f->head.bytes == 0;
    case UPSTREAM_FAILED_AWAY:
        return true;
    case UPSTREAM_OK:
    case UPSTREAM_FAILED_TIMEOUT:
    case UPSTREAM_FAILED_GARBAGE:
    case UPSTREAM_FAILED_TRUNCATED:
    case UPSTREAM_FAILED_OVERLOAD:
    case UPSTREAM_FAILED_BREAKER:
        break;
    }
    return false;
}

static void enter(struct upstream_fetch *f);

static void use_hop(struct upstream_fetch *f, size_t at)
{
    f->tried |= UINT64_C(1) << at;
    f->target = upstream_target_ref(f->route->hop[at].target);
    f->server = NULL;
    f->sent = 0;
    f->sends_granted = 1;
    if (!f->target->is_peer && f->route->count > 1)
        metrics_add(METRIC_UPSTREAM_DIRECT, 1);
}

/* To the next hop, if there is one.  libcurl does not have the fetch. */
static bool move_on(struct upstream_fetch *f, enum upstream_failure failure)
{
    size_t at = may_leave(f, failure) ? upstream__route_next(f->route, f->key, f->tried, now_ms(f))
                                      : CHOICE_NONE;

    if (at == CHOICE_NONE)
        return false;
    log_debug("upstream: %s: %s: to %s", upstream_failure_name(failure), f->target->server[0].url,
              f->route->hop[at].target->server[0].url);
    leave_target(f);
    if (f->sent > 0 && failure != UPSTREAM_FAILED_AWAY)
        f->retries++;
    upstream_target_unref(f->target);
    use_hop(f, at);
    f->wants_fresh = false;
    metrics_add(METRIC_UPSTREAM_MOVED, 1);
    enter(f);
    return true;
}

/* No connection could be had, so the request has not been sent. */
static bool is_unconnected(enum upstream_failure failure)
{
    return failure == UPSTREAM_FAILED_RESOLVE || failure == UPSTREAM_FAILED_CONNECT ||
           failure == UPSTREAM_FAILED_CONNECT_TIME || failure == UPSTREAM_FAILED_TLS;
}

/* Does the origin, or its net, look broken by this? */
static bool is_for_breaker(const struct upstream_fetch *f, enum upstream_failure failure)
{
    return is_unconnected(failure) || failure == UPSTREAM_FAILED_CLOSED ||
           (failure == UPSTREAM_FAILED_TIMEOUT && !f->has_head);
}

/* At the next hop, or once more here.  libcurl does not have the fetch. */
static bool try_elsewhere(struct upstream_fetch *f, enum upstream_failure failure)
{
    if (move_on(f, failure))
        return true;
    if (!take_retry(f, failure))
        return false;
    f->server = upstream__target_pick(f->target, f->server, f->key, now_ms(f));
    f->wants_fresh = true;
    attempt(f);
    return true;
}

void upstream__fetch_ended(struct upstream_fetch *f, CURLcode result)
{
    enum upstream_failure failure;

    if (f->state == FETCH_DEAD) {
        upstream__fetch_drop(f);
        return;
    }
    CHECK(f->state == FETCH_RUNNING);
    if (f->is_upgrade && f->tunnel.phase == TUNNEL_CONNECTING && result == CURLE_OK &&
        f->failure == UPSTREAM_OK && !f->is_refused) {
        upstream__server_connected(f->server, now_ms(f));
        upstream__fetch_connected(f);
        upstream__tunnel_connected(f);
        return;
    }
    failure = f->is_refused ? UPSTREAM_OK : judge(f, result);
    if (is_unconnected(failure)) /* before somebody gets its turn to connect */
        upstream__server_failed(f->target, f->server, failure, f->started_ms, now_ms(f));
    leave_curl(f);
    f->state = FETCH_STARTING; /* libcurl does not have it any more */
    if (f->is_refused) {
        f->wants_fresh = true;
        attempt(f);
        return;
    }
    if (is_for_breaker(f, failure))
        upstream__target_failed(f->target, now_ms(f));
    if (failure != UPSTREAM_OK && try_elsewhere(f, failure))
        return;
    /* it has been sent: what came of that is not known, and not that nobody took it */
    if (is_unconnected(failure) && f->sent > 0)
        failure = UPSTREAM_FAILED_CLOSED;
    finish(f, failure,
           f->complaint != NULL  ? f->complaint
           : f->error[0] != '\0' ? f->error
                                 : curl_easy_strerror(result));
}

/* The server has gone down, and no byte has come: there is a better place to wait. */
static bool leave_what_is_down(struct upstream_fetch *f)
{
    struct retry_facts facts = {
        .failure = UPSTREAM_FAILED_DOWN,
        .is_idempotent = f->is_idempotent,
        .was_sent = f->sent > 0,
        .has_answer = f->head.bytes > 0,
        .retries = f->retries,
        .servers_count = f->target->servers_count,
    };

    if (!watches_health(f) || f->head.bytes > 0)
        return false;
    if (f->server == NULL || f->state != FETCH_RUNNING)
        return upstream__target_is_down(f->target) && move_on(f, UPSTREAM_FAILED_DOWN);
    if (!atomic_load_explicit(&f->server->is_down, memory_order_relaxed))
        return false;
    if (!retry_may(&facts) &&
        (!may_leave(f, UPSTREAM_FAILED_DOWN) ||
         upstream__route_next(f->route, f->key, f->tried, now_ms(f)) == CHOICE_NONE))
        return false;
    fail(f, UPSTREAM_FAILED_DOWN, "the server is down, as its probes say");
    upstream__fetch_ended(f, CURLE_OPERATION_TIMEDOUT);
    return true;
}

static void on_time(void *user)
{
    struct upstream_fetch *f = user;
    int64_t due = due_ms(f);
    curl_off_t uploaded = 0;

    f->timer_due_ms = 0;
    if (leave_what_is_down(f))
        return;
    if (due > now_ms(f)) {
        watch_time(f);
        return;
    }
    if (f->state == FETCH_WAITING) {
        finish(f, UPSTREAM_FAILED_OVERLOAD,
               f->target->is_peer ? "waited too long for one of upstream.connections"
                                  : "waited too long for one of origin.connections");
        return;
    }
    if (f->state == FETCH_GATED) {
        finish(f, UPSTREAM_FAILED_OVERLOAD, "waited too long for its turn to connect");
        return;
    }
    if (f->sent_ms == 0) {
        fail(f, UPSTREAM_FAILED_CONNECT_TIME, "no connection in time");
        if (f->state == FETCH_RUNNING)
            upstream__fetch_ended(f, CURLE_OPERATION_TIMEDOUT);
        else
            finish(f, f->failure, f->complaint);
        return;
    }
    curl_easy_getinfo(f->easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
    if (!f->has_head && uploaded > f->uploaded) { /* it is still taking the request */
        f->uploaded = uploaded;
        f->moved_ms = now_ms(f);
        f->timer_due_ms = f->moved_ms + first_byte_ms(f);
        reactor_timer_start(f->upstream->reactor, &f->timer, first_byte_ms(f));
        return;
    }
    if (is_for_breaker(f, UPSTREAM_FAILED_TIMEOUT))
        upstream__target_failed(f->target, now_ms(f));
    finish(f, UPSTREAM_FAILED_TIMEOUT,
           f->has_head ? "nothing more of the body for too long" : "no complete head in time");
}

/* What stays the same for all requests. */
static void set_constants(struct upstream_fetch *f)
{
    CURL *e = f->easy;

    curl_easy_setopt(e, CURLOPT_PRIVATE, f);
    curl_easy_setopt(e, CURLOPT_SHARE, f->upstream->share);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, f->error);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L); /* the program ignores SIGPIPE; no alarm() for DNS */
    curl_easy_setopt(e, CURLOPT_QUICK_EXIT,
                     1L);                   /* else cancelling waits for the resolver's thread */
    curl_easy_setopt(e, CURLOPT_PROXY, ""); /* http_proxy of the environment must not count */
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_HTTP09_ALLOWED, 0L);
    curl_easy_setopt(e, CURLOPT_HTTP_CONTENT_DECODING, 0L);
    curl_easy_setopt(e, CURLOPT_HTTP_TRANSFER_DECODING, 1L);
    curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(e, CURLOPT_CAPATH, NULL); /* a target's `ca` is the only one, not one more */
    curl_easy_setopt(e, CURLOPT_DNS_CACHE_TIMEOUT, (long)DNS_KEPT_S);
    curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, LIMIT_UPSTREAM_IDLE_MS / 1000L);
    curl_easy_setopt(e, CURLOPT_MAXLIFETIME_CONN, LIMIT_UPSTREAM_LIFE_MS / 1000L);
    curl_easy_setopt(e, CURLOPT_BUFFERSIZE, (long)READ_BYTES);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, f);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, f);
    curl_easy_setopt(e, CURLOPT_DEBUGFUNCTION, on_debug);
    curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_request);
    curl_easy_setopt(e, CURLOPT_PREREQDATA, f);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, f);
    curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, f->upstream); /* sockets outlive fetches */
}

/* Of TLS the name in the URL is the one that the certificate must bear, so the address of an
 * origin's server goes elsewhere; a shield is who its URL says. */
static CURLcode set_server(struct upstream_fetch *f)
{
    const struct upstream_target *t = f->target;
    char url[1024];
    CURLcode rc;

    if (!f->server->is_tls) {
        curl_easy_setopt(f->easy, CURLOPT_CONNECT_TO, NULL);
        return curl_easy_setopt(f->easy, CURLOPT_URL, f->server->url);
    }
    if (t->is_peer)
        snprintf(url, sizeof(url), "%s", f->server->url);
    else
        snprintf(url, sizeof(url), "https://%s:%s", t->sni != NULL ? t->sni : f->host_name,
                 f->server->port);
    rc = curl_easy_setopt(f->easy, CURLOPT_URL, url);
    if (rc == CURLE_OK)
        rc = curl_easy_setopt(f->easy, CURLOPT_CAINFO, t->ca != NULL ? t->ca : f->upstream->ca);
    if (rc == CURLE_OK)
        rc = curl_easy_setopt(f->easy, CURLOPT_SSLCERT, t->certificate); /* and the key in it */
    curl_easy_setopt(f->easy, CURLOPT_CONNECT_TO, t->is_peer ? NULL : &f->server->connect_to);
    curl_easy_setopt(f->easy, CURLOPT_SSL_VERIFYPEER, t->verify ? 1L : 0L);
    curl_easy_setopt(f->easy, CURLOPT_SSL_VERIFYHOST, t->verify ? 2L : 0L);
    return rc;
}

static CURLcode set_request(struct upstream_fetch *f)
{
    CURL *e = f->easy;
    CURLcode rc = curl_easy_setopt(e, CURLOPT_REQUEST_TARGET, f->request_target);

    /*
     * Each of these sets libcurl's idea of the method; the last one wins.  HTTPGET alone also takes
     * back the NOBODY of an earlier HEAD.
     */
    curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
    if (f->has_body) {
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, f->body);
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)f->body_bytes);
    }
    if (f->is_head && !f->has_body)
        curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
    if (rc == CURLE_OK)
        rc = curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, f->method);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, f->target->is_peer ? f->peer_fields : f->origin_fields);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)f->target->connect_ms);
    curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, f->wants_fresh ? 1L : 0L);
    curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 0L);
    curl_easy_setopt(e, CURLOPT_VERBOSE, 0L);
    curl_easy_setopt(e, CURLOPT_CONNECT_ONLY, f->is_upgrade ? 1L : 0L);
    return rc;
}

/* May a connection be made, should it take one?  If not it waits. */
static bool may_connect(struct upstream_fetch *f)
{
    if (f->may_connect)
        return true;
    switch (upstream__connect_enter(f->target, f->server, f, f->upstream->reactor, &f->ticket)) {
    case UPSTREAM_TURN_NOW:
        f->may_connect = true;
        return true;
    case UPSTREAM_TURN_LATER:
        f->state = FETCH_GATED;
        watch_time(f);
        return false;
    case UPSTREAM_TURN_NEVER:
    case UPSTREAM_TURN_BREAKER:
        break;
    }
    finish(f, UPSTREAM_FAILED_OVERLOAD, "out of memory");
    return false;
}

static void start(struct upstream_fetch *f)
{
    struct upstream *u = f->upstream;
    CURLMcode mc;

    if (f->server == NULL)
        f->server = upstream__target_pick(f->target, NULL, f->key, now_ms(f));
    if (f->server == NULL) {
        if (!move_on(f, UPSTREAM_FAILED_DOWN))
            finish(f, UPSTREAM_FAILED_DOWN, "every server is down, as its probes say");
        return;
    }
    set_load(f, f->server);
    if (!may_connect(f))
        return;
    if (set_server(f) != CURLE_OK || set_request(f) != CURLE_OK) {
        finish(f, UPSTREAM_FAILED_OVERLOAD, "out of memory");
        return;
    }
    u->in_curl = true;
    mc = curl_multi_add_handle(multi_of(f), f->easy);
    u->in_curl = false;
    if (mc != CURLM_OK) {
        finish(f, UPSTREAM_FAILED_OVERLOAD, curl_multi_strerror(mc));
        return;
    }
    f->state = FETCH_RUNNING;
}

void upstream__fetch_work(struct upstream_fetch *f)
{
    switch (f->state) {
    case FETCH_STARTING:
        start(f);
        return;
    case FETCH_FAILING:
        finish(f, f->failure, f->complaint);
        return;
    case FETCH_DEAD:
        upstream__fetch_drop(f);
        return;
    case FETCH_RUNNING:
        if (f->is_upgrade) {
            upstream__tunnel_work(f);
            return;
        }
        CHECK(f->wants_resume);
        f->wants_resume = false;
        f->upstream->in_curl = true; /* it hands over what it has kept */
        curl_easy_pause(f->easy, CURLPAUSE_CONT);
        f->upstream->in_curl = false;
        return;
    case FETCH_SPARE:
    case FETCH_WAITING:
    case FETCH_GATED:
    case FETCH_ENDING:
        break;
    }
    CHECK(f->state == FETCH_RUNNING); /* the others have nothing to do */
}

/* While it waited for its turn to connect somebody else has tried, and could not. */
static void connect_turn(struct upstream_fetch *f, enum upstream_failure failure)
{
    f->state = FETCH_STARTING;
    if (failure == UPSTREAM_OK) {
        f->may_connect = true;
        f->started_ms = now_ms(f);
        watch_time(f);
        upstream__todo(f);
    } else if (!try_elsewhere(f, failure)) {
        finish(f, failure, "nobody could connect to it");
    }
}

void upstream__fetch_turn(struct upstream_fetch *f, enum upstream_failure failure)
{
    f->ticket = NULL; /* freed by who calls */
    if (f->state == FETCH_GATED) {
        connect_turn(f, failure);
        return;
    }
    CHECK(f->state == FETCH_WAITING && failure == UPSTREAM_OK);
    f->has_place = true;
    metrics_add(METRIC_UPSTREAM_RUNNING, 1);
    attempt(f);
}

static void give_up(struct upstream_fetch *f, enum upstream_failure failure, const char *complaint)
{
    fail(f, failure, complaint);
    f->state = FETCH_FAILING;
    upstream__todo(f);
}

static void enter(struct upstream_fetch *f)
{
    f->started_ms = now_ms(f);
    f->sent_ms = 0;
    head_restart(&f->head);
    switch (upstream__target_enter(f->target, f, f->upstream->reactor, &f->ticket)) {
    case UPSTREAM_TURN_NOW:
        f->has_place = true;
        metrics_add(METRIC_UPSTREAM_RUNNING, 1);
        attempt(f);
        break;
    case UPSTREAM_TURN_LATER:
        f->state = FETCH_WAITING;
        watch_time(f);
        break;
    case UPSTREAM_TURN_NEVER:
        give_up(f, UPSTREAM_FAILED_OVERLOAD,
                f->target->is_peer
                    ? "all of upstream.connections are taken, and too many requests wait for one"
                    : "all of origin.connections are taken, and origin.queue is full");
        break;
    case UPSTREAM_TURN_BREAKER:
        give_up(f, UPSTREAM_FAILED_BREAKER, "it failed every time of late");
        break;
    }
}

/* Birth and public face. */

enum err upstream__fetch_new(struct upstream *u, struct upstream_fetch **out)
{
    struct upstream_fetch *f = TAILQ_FIRST(&u->spare);

    if (f != NULL) {
        TAILQ_REMOVE(&u->spare, f, all);
        u->spare_count--;
        *out = f;
        return ERR_OK;
    }
    f = calloc(1, sizeof(*f));
    if (f == NULL)
        return ERR_NOMEM;
    f->easy = curl_easy_init();
    if (f->easy == NULL) {
        free(f);
        return ERR_NOMEM;
    }
    f->upstream = u;
    f->timer = (struct reactor_timer){.fire = on_time, .user = f};
    head_init(&f->head);
    if (u->ca == NULL)
        curl_easy_getinfo(f->easy, CURLINFO_CAINFO, &u->ca);
    set_constants(f);
    *out = f;
    return ERR_OK;
}

void upstream__fetch_free(struct upstream_fetch *f)
{
    CHECK(f->state == FETCH_SPARE);
    CHECK(f->tunnel.out == NULL && f->tunnel.in.p == NULL);
    curl_easy_cleanup(f->easy);
    head_release(&f->head);
    free(f);
}

static void reset(struct upstream_fetch *f)
{
    arena_init(&f->arena, f->lent, sizeof(f->lent), REQUEST_BYTES_MAX);
    f->server = NULL;
    f->socket = NULL;
    f->loaded = NULL;
    f->route = NULL;
    f->tried = 0;
    f->wants_fresh = f->may_connect = false;
    f->tunnel = (struct upstream_tunnel){.phase = TUNNEL_CONNECTING, .fd = -1};
    f->sent = f->retries = 0;
    f->sends_granted = 1;
    f->has_head = f->is_whole = f->is_paused = f->wants_resume = false;
    f->body_received = 0;
    f->sent_ms = 0;
    f->started_ms = now_ms(f);
}

enum err upstream_fetch(struct upstream *u, const struct upstream_request *rq,
                        const struct upstream_events *ev, void *user, struct upstream_fetch **out)
{
    size_t first = CHOICE_NONE;
    struct upstream_fetch *f;
    enum err e = upstream__fetch_new(u, &f);

    if (e != ERR_OK)
        return e;
    reset(f);
    TAILQ_INSERT_TAIL(&u->running, f, all);
    f->key = rq->key;
    if (rq->route != NULL) {
        f->route = upstream_route_ref(rq->route);
        first = upstream__route_next(f->route, f->key, 0, now_ms(f));
        use_hop(f, first == CHOICE_NONE ? 0 : first);
    } else {
        f->target = upstream_target_ref(rq->target);
    }
    f->events = *ev;
    f->user = user;
    e = upstream__request_copy(f, rq);
    f->head.takes_101 = f->is_upgrade;
    if (e != ERR_OK) {
        make_spare(f);
        return e;
    }
    if (rq->route != NULL && first == CHOICE_NONE)
        give_up(f, UPSTREAM_FAILED_DOWN, "every hop is down, as its probes say");
    else
        enter(f);
    *out = f;
    return ERR_OK;
}

void upstream_resume(struct upstream_fetch *f)
{
    if (!f->is_paused || f->state != FETCH_RUNNING)
        return;
    f->is_paused = false;
    f->wants_resume = true;
    f->moved_ms = now_ms(f);
    watch_time(f);
    upstream__todo(f);
}

void upstream_hand_over(struct upstream_fetch *f, const struct upstream_events *ev, void *user)
{
    CHECK(f->state == FETCH_RUNNING);
    f->events = *ev;
    f->user = user;
}

void upstream_cancel(struct upstream_fetch *f)
{
    if (f->state == FETCH_ENDING || f->state == FETCH_DEAD)
        return; /* from inside its own done(): it goes anyway */
    if (f->upstream->in_curl && f->state == FETCH_RUNNING) {
        f->state = FETCH_DEAD;
        upstream__todo(f);
        return;
    }
    upstream__fetch_drop(f);
}
