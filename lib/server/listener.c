#include "server/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "server/conn.h"
#include "server/tls.h"

enum {
    BACKLOG = 1024,
    ACCEPTS_A_TURN = 16, /* so that a burst of connections does not keep requests waiting */
    ACCEPTS_AT_STOP = 1024,
    PAUSE_MS = 100,
    TELL_MS = 60 * 1000,
};

/* "1.2.3.4:80" or "[::1]:80"; the configuration has checked it. */
static bool parse_address(const char *text, struct sockaddr_storage *out, socklen_t *out_bytes)
{
    const char *colon = strrchr(text, ':');
    char host[INET6_ADDRSTRLEN + 2];
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    size_t bytes;
    uint64_t port;

    memset(out, 0, sizeof(*out));
    if (colon == NULL || !slice_to_u64(slice_of(colon + 1), &port) || port > UINT16_MAX)
        return false;
    bytes = (size_t)(colon - text);
    if (bytes >= sizeof(host))
        return false;
    memcpy(host, text, bytes);
    host[bytes] = '\0';
    if (bytes > 2 && host[0] == '[' && host[bytes - 1] == ']') {
        host[bytes - 1] = '\0';
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        *out_bytes = sizeof(*v6);
        return inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1;
    }
    v4->sin_family = AF_INET;
    v4->sin_port = htons((uint16_t)port);
    *out_bytes = sizeof(*v4);
    return inet_pton(AF_INET, host, &v4->sin_addr) == 1;
}

/* -1, with errno, when it cannot be bound. */
static int bind_fd(const struct sockaddr_storage *sa, socklen_t bytes, bool is_shared)
{
    int fd = socket(sa->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1, saved;

    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
        (!is_shared || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0) &&
        /* [::] beside 0.0.0.0, not instead of it */
        (sa->ss_family != AF_INET6 ||
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == 0) &&
        bind(fd, (const struct sockaddr *)sa, bytes) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static void explain(struct buf *why, const char *key, const char *address)
{
    switch (errno) {
    case EADDRINUSE:
        buf_addf(why,
                 "%s: %s is taken by another program: stop that program, or choose another port",
                 key, address);
        break;
    case EACCES:
        buf_addf(why,
                 "%s: %s: not allowed to bind: ports below 1024 need the capability "
                 "CAP_NET_BIND_SERVICE",
                 key, address);
        break;
    case EADDRNOTAVAIL:
        buf_addf(why, "%s: %s is no address of this machine", key, address);
        break;
    default:
        buf_addf(why, "%s: cannot bind %s: %s", key, address, strerror(errno));
        break;
    }
}

enum err listener_bind_one(const char *key, const char *address, int *out_fd, struct buf *why)
{
    struct sockaddr_storage sa;
    socklen_t bytes;

    if (!parse_address(address, &sa, &bytes)) {
        buf_addf(why, "%s: %s is no IP address with a port", key, address);
        return ERR_INVALID;
    }
    *out_fd = bind_fd(&sa, bytes, false);
    if (*out_fd >= 0)
        return ERR_OK;
    explain(why, key, address);
    return ERR_IO;
}

static uint16_t port_of(const struct sockaddr_storage *sa)
{
    return ntohs(sa->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)sa)->sin6_port
                                           : ((const struct sockaddr_in *)sa)->sin_port);
}

static enum conn_kind kind_of(const struct config_listen *l)
{
    if (l->peers != CONFIG_PEERS_NONE)
        return l->peers == CONFIG_PEERS_CERTIFICATE ? CONN_PEER : CONN_PEER_PLAIN;
    return l->certificates != NULL ? CONN_TLS : l->redirect ? CONN_REDIRECT : CONN_PLAIN;
}

static bool has_tls(const struct listener *l)
{
    return l->kind == CONN_TLS || l->kind == CONN_PEER;
}

/* One address for all workers. */
static enum err bind_listen(const struct config_listen *listen, struct listener *first,
                            size_t stride, unsigned workers, struct buf *why)
{
    struct sockaddr_storage sa;
    socklen_t bytes;
    int probe;
    enum err e = listener_bind_one("listen", listen->address, &probe, why);

    if (e != ERR_OK)
        return e;
    /* with port 0 the probe has chosen one */
    bytes = sizeof(sa);
    e = getsockname(probe, (struct sockaddr *)&sa, &bytes) == 0 ? ERR_OK : ERR_IO;
    close(probe);
    for (unsigned w = 0; e == ERR_OK && w < workers; w++) {
        struct listener *l = &first[w * stride];

        l->address = listen->address;
        l->kind = kind_of(listen);
        l->port = port_of(&sa);
        l->https_port = (uint16_t)listen->redirect_port;
        l->fd = bind_fd(&sa, bytes, true);
        if (l->fd < 0)
            e = ERR_IO;
    }
    if (e != ERR_OK)
        explain(why, "listen", listen->address);
    return e;
}

enum err listeners_bind(const struct config *c, unsigned workers, struct listener **out,
                        struct buf *why)
{
    size_t count = c->listen_count * workers;
    struct listener *list = calloc(count + 1, sizeof(*list));
    enum err e = ERR_OK;

    if (list == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++)
        list[i].fd = -1;
    for (size_t i = 0; e == ERR_OK && i < c->listen_count; i++)
        e = bind_listen(&c->listen[i], &list[i], c->listen_count, workers, why);
    if (e == ERR_OK)
        *out = list;
    else
        listeners_free(list, count);
    return e;
}

void listeners_free(struct listener *list, size_t count)
{
    if (list == NULL)
        return;
    for (size_t i = 0; i < count; i++)
        if (list[i].fd >= 0)
            close(list[i].fd);
    free(list);
}

/* ---- on the worker's thread ---- */

static bool is_quota_full(const struct conn_quota *q)
{
    return atomic_load_explicit(&q->open, memory_order_relaxed) >= q->max;
}

/* False when there was none to take. */
static bool accept_one(struct listener *l)
{
    h2o_socket_t *sock = h2o_evloop_socket_accept(l->sock);

    if (sock == NULL)
        return false;
    if (conn_new(l->worker, sock, l->kind, l->port, l->https_port) != ERR_OK) {
        h2o_socket_close(sock);
        return true;
    }
    h2o_accept(&l->accept, sock);
    return true;
}

/* The socket stays ready while nobody accepts, and would keep the loop spinning. */
static void pause_accepting(struct listener *l)
{
    int64_t now_ms = reactor_now_ms(l->worker->reactor);

    metrics_add(METRIC_GUARD_DESCRIPTORS, 1);
    if (l->full_told_ms == 0 || now_ms - l->full_told_ms >= TELL_MS) {
        l->full_told_ms = now_ms;
        log_warn("%s: %u client connections are open, and no more fit into the limit of open "
                 "files: new ones wait (LimitNOFILE, ulimit -n)",
                 l->address, atomic_load_explicit(&l->worker->quota->open, memory_order_relaxed));
    }
    h2o_socket_read_stop(l->sock);
    reactor_timer_start(l->worker->reactor, &l->resume, PAUSE_MS);
}

static void on_acceptable(h2o_socket_t *sock, const char *err)
{
    struct listener *l = sock->data;

    (void)err;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        if (is_quota_full(l->worker->quota)) {
            pause_accepting(l);
            return;
        }
        errno = 0;
        if (!accept_one(l)) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                pause_accepting(l);
            return;
        }
    }
}

static void on_resume(void *user)
{
    struct listener *l = user;

    h2o_socket_read_start(l->sock, on_acceptable);
}

void listener_start(struct listener *l, struct worker *w)
{
    l->worker = w;
    l->accept.ctx = &w->ctx;
    l->accept.hosts = w->conf.hosts;
    l->resume = (struct reactor_timer){.fire = on_resume, .user = l};
    listener_use(l, w->snapshot);
    l->sock = h2o_evloop_socket_create(w->ctx.loop, l->fd, H2O_SOCKET_FLAG_DONT_READ);
    l->fd = -1;
    l->sock->data = l;
    h2o_socket_read_start(l->sock, on_acceptable);
}

void listener_use(struct listener *l, const struct snapshot *s)
{
    SSL_CTX *ctx = has_tls(l) ? tls_context(s->tls, l->address) : NULL;

    /* a listener that lost its certificates keeps the old ones: the reload has said that it needs a
     * restart */
    if (ctx != NULL)
        l->accept.ssl_ctx = ctx;
    CHECK(!has_tls(l) || l->accept.ssl_ctx != NULL);
}

void listener_stop(struct listener *l)
{
    if (l->sock == NULL)
        return;
    /* closing the socket would reset what the kernel has already accepted for us */
    for (int i = 0; i < ACCEPTS_AT_STOP && !is_quota_full(l->worker->quota) && accept_one(l); i++)
        continue;
    reactor_timer_stop(l->worker->reactor, &l->resume);
    h2o_socket_close(l->sock);
    l->sock = NULL;
}
