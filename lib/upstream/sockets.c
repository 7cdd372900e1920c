#include "upstream/upstream_priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"

/* A request that must not be sent twice gets only a connection that was in use a moment ago: the
 * shorter it was idle, the less likely the origin closes it at the very time we write. */
enum { UNSAFE_IDLE_MS = 1000 };

static bool is_local_v4(const unsigned char *a)
{
    return a[0] == 0 || a[0] == 127 || (a[0] == 169 && a[1] == 254);
}

/* Loopback, link-local, unspecified; also as IPv4 inside IPv6.  Families we do not know are local.
 */
static bool is_local(const struct curl_sockaddr *to)
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    static const unsigned char zero[12];
    const unsigned char *a;

    if (to->family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)&to->addr;

        return is_local_v4((const unsigned char *)&in->sin_addr);
    }
    if (to->family != AF_INET6)
        return true;
    a = ((const struct sockaddr_in6 *)(const void *)&to->addr)->sin6_addr.s6_addr;
    if (memcmp(a, mapped, sizeof(mapped)) == 0)
        return is_local_v4(a + sizeof(mapped));
    if (memcmp(a, zero, sizeof(zero)) == 0)
        return true; /* ::, ::1 and the IPv4-compatible ones nobody uses */
    return a[0] == 0xfe && (a[1] & 0xc0) == 0x80;
}

static size_t bucket(int number)
{
    return (size_t)number % SOCKET_BUCKETS;
}

/* Out of the tables, and gone; the descriptor is not touched. */
static void forget(struct upstream_sockets *all, struct upstream_socket *s)
{
    struct upstream_socket **at;

    for (at = &all->by_fd[bucket(s->fd)]; *at != s; at = &(*at)->next_fd)
        CHECK(*at != NULL);
    *at = s->next_fd;
    if (s->local_port != 0) {
        for (at = &all->by_port[bucket(s->local_port)]; *at != s; at = &(*at)->next_port)
            CHECK(*at != NULL);
        *at = s->next_port;
    }
    if (s->opener != NULL)
        s->opener->unnamed--;
    if (s->fetch != NULL)
        s->fetch->socket = NULL;
    if (!s->is_tunnel)
        atomic_fetch_sub_explicit(&s->target->sockets, 1, memory_order_relaxed);
    upstream_target_unref(s->target);
    free(s);
}

struct upstream_socket *upstream__socket_by_fd(const struct upstream_sockets *all, int fd)
{
    struct upstream_socket *s = all->by_fd[bucket(fd)];

    while (s != NULL && s->fd != fd)
        s = s->next_fd;
    return s;
}

int upstream__socket_open(struct upstream_sockets *all, struct upstream_fetch *f,
                          const struct curl_sockaddr *to)
{
    bool local = is_local(to);
    struct upstream_socket *s, *old;

    if (local && !f->target->allow_local) {
        f->complaint = "the address is a local one, and allow_local is off";
        return -1;
    }
    s = calloc(1, sizeof(*s));
    if (s == NULL)
        return -1;
    s->fd = socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
    if (s->fd < 0) {
        free(s);
        return -1;
    }
    old = upstream__socket_by_fd(all, s->fd); /* closed without a word to us */
    if (old != NULL)
        forget(all, old);
    s->opener = f;
    f->unnamed++;
    s->is_local = local;
    s->keep_ms = LIMIT_UPSTREAM_IDLE_MS;
    s->target = upstream_target_ref(f->target);
    atomic_fetch_add_explicit(&s->target->sockets, 1, memory_order_relaxed);
    s->next_fd = all->by_fd[bucket(s->fd)];
    all->by_fd[bucket(s->fd)] = s;
    return s->fd;
}

void upstream__socket_close(struct upstream_sockets *all, int fd)
{
    struct upstream_socket *s = upstream__socket_by_fd(all, fd);

    if (s != NULL)
        forget(all, s);
    close(fd);
}

void upstream__sockets_leave(struct upstream_sockets *all, struct upstream_fetch *f)
{
    for (size_t i = 0; i < SOCKET_BUCKETS && f->unnamed > 0; i++) {
        for (struct upstream_socket *s = all->by_fd[i], *next; s != NULL; s = next) {
            next = s->next_fd;
            if (s->opener == f)
                forget(all, s);
        }
    }
    CHECK(f->unnamed == 0);
}

static int port_of(int fd)
{
    struct sockaddr_storage a = {0};
    socklen_t bytes = sizeof(a);

    if (getsockname(fd, (struct sockaddr *)&a, &bytes) != 0)
        return 0;
    if (a.ss_family == AF_INET)
        return ntohs(((struct sockaddr_in *)(void *)&a)->sin_port);
    return a.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)(void *)&a)->sin6_port) : 0;
}

/* Happy eyeballs may have opened several for this fetch; which one was first, the port tells. */
static struct upstream_socket *name_fresh(struct upstream_sockets *all, struct upstream_fetch *f,
                                          const struct upstream_ends *ends)
{
    for (size_t i = 0; i < SOCKET_BUCKETS; i++) {
        for (struct upstream_socket *s = all->by_fd[i]; s != NULL; s = s->next_fd) {
            if (s->opener != f || port_of(s->fd) != ends->local_port)
                continue;
            s->opener->unnamed--;
            s->opener = NULL;
            s->local_port = ends->local_port;
            s->peer_port = ends->peer_port;
            snprintf(s->local_ip, sizeof(s->local_ip), "%s", ends->local_ip);
            snprintf(s->peer_ip, sizeof(s->peer_ip), "%s", ends->peer_ip);
            s->next_port = all->by_port[bucket(s->local_port)];
            all->by_port[bucket(s->local_port)] = s;
            return s;
        }
    }
    return NULL;
}

struct upstream_socket *upstream__socket_find(struct upstream_sockets *all,
                                              struct upstream_fetch *f,
                                              const struct upstream_ends *ends)
{
    struct upstream_socket *s;

    if (ends->local_port <= 0)
        return NULL; /* reset before its name could be asked for */
    for (s = all->by_port[bucket(ends->local_port)]; s != NULL; s = s->next_port) {
        if (s->local_port == ends->local_port && s->peer_port == ends->peer_port &&
            strcmp(s->local_ip, ends->local_ip) == 0 && strcmp(s->peer_ip, ends->peer_ip) == 0)
            return s;
    }
    return name_fresh(all, f, ends);
}

bool upstream__socket_is_fit(const struct upstream_socket *s, bool is_idempotent, int64_t now_ms)
{
    int64_t most_ms = is_idempotent ? LIMIT_UPSTREAM_IDLE_MS : UNSAFE_IDLE_MS;
    char byte;

    if (s->keep_ms < most_ms)
        most_ms = s->keep_ms;
    if (now_ms - s->idle_since_ms >= most_ms)
        return false;
    /* The end, or bytes nobody asked for, which the next request would take for its answer.  (With
     * TLS it may be a late session ticket; then a connection is wasted, and nothing else.) */
    return recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           (errno == EAGAIN || errno == EWOULDBLOCK);
}
