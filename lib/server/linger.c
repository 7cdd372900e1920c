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
    LINGER_MS = 2000,
    LINGER_TICK_BYTES = 1 << 20, /* at most so much a tick: a flood gets no more of our time */
    LINGERS_MAX = 256,           /* of a worker; the next ones are closed at once */
};

struct lingering {
    struct lingering *next, *prev;
    int fd;
    int64_t until_ms;
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
    *l = (struct lingering){.fd = fd, .until_ms = now_ms + LINGER_MS};
    LIST_PUSH(w->lingers, l);
    w->lingers_count++;
}

/* True when the client has said all, or is gone. */
static bool is_read_out(int fd)
{
    char room[16 * KIB];
    ssize_t n = 1;

    for (size_t bytes = 0; bytes < LINGER_TICK_BYTES && n > 0; bytes += (size_t)n) {
        n = recv(fd, room, sizeof(room), MSG_DONTWAIT);
        if (n < 0)
            return errno != EAGAIN && errno != EINTR;
    }
    return n == 0;
}

void linger_tick(struct worker *w, int64_t now_ms)
{
    struct lingering *next;

    for (struct lingering *l = w->lingers; l != NULL; l = next) {
        next = l->next;
        if (now_ms < l->until_ms && !w->stopping && !is_read_out(l->fd))
            continue;
        close(l->fd);
        LIST_REMOVE(w->lingers, l);
        w->lingers_count--;
        free(l);
    }
}
