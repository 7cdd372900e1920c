/*
 * Connections that were answered before all of their request was there.
 *
 * A socket that closes with unread bytes in it resets the connection, and the reset may overtake
 * the answer: who sends 2 MiB would read "connection reset" and no 413.  So the descriptor is kept
 * by a second name: the answer ends with a FIN, and what still comes is thrown away for a while.
 */
#include "server/linger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/list.h"

enum {
    LINGER_MS = 30000,           /* as long as the longest that users of nginx are used to */
    LINGER_IDLE_MS = 5000,       /* without a byte */
    LINGER_TICK_BYTES = 1 << 20, /* at most so much a tick: a flood gets no more of our time */
    LINGERS_MAX = 256,           /* of a worker; the next ones are closed at once */
};

struct lingering {
    struct lingering *next, *prev;
    int fd;
    int64_t until_ms, idle_until_ms;
};

int linger_hold(const struct worker *w, int fd)
{
    return w->lingers_count < LINGERS_MAX ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
}

void linger_begin(struct worker *w, int fd, int64_t now_ms)
{
    struct lingering *l;

    if (fd < 0)
        return;
    shutdown(fd, SHUT_WR);
    l = w->lingers_count < LINGERS_MAX ? malloc(sizeof(*l)) : NULL;
    if (l == NULL) {
        close(fd);
        return;
    }
    *l = (struct lingering){
        .fd = fd, .until_ms = now_ms + LINGER_MS, .idle_until_ms = now_ms + LINGER_IDLE_MS};
    LIST_PUSH(w->lingers, l);
    w->lingers_count++;
}

/* True when the client has said all, or is gone, or says nothing. */
static bool is_read_out(struct lingering *l, int64_t now_ms)
{
    char room[16 * KIB];
    ssize_t n = 1;
    size_t bytes = 0;

    for (; bytes < LINGER_TICK_BYTES && n > 0; bytes += n > 0 ? (size_t)n : 0)
        n = recv(l->fd, room, sizeof(room), MSG_DONTWAIT);
    if (bytes > 0)
        l->idle_until_ms = now_ms + LINGER_IDLE_MS;
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) || now_ms >= l->idle_until_ms;
}

void linger_tick(struct worker *w, int64_t now_ms)
{
    struct lingering *next;

    for (struct lingering *l = w->lingers; l != NULL; l = next) {
        next = l->next;
        if (now_ms < l->until_ms && !w->stopping && !is_read_out(l, now_ms))
            continue;
        close(l->fd);
        LIST_REMOVE(w->lingers, l);
        w->lingers_count--;
        free(l);
    }
}
