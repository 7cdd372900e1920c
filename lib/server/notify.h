/*
 * notify: what the service manager hears of this process: the datagrams of sd_notify(3), without
 * libsystemd.
 *
 * Where NOTIFY_SOCKET is not in the environment (no manager, or one that does not want to know) all
 * of it does nothing.  Nothing here fails: a manager that cannot be told is one line in the log.  A
 * call waits NOTIFY_WAIT_MS at most.  Main thread.
 */
#ifndef SERVER_NOTIFY_H
#define SERVER_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { NOTIFY_WAIT_MS = 1000 };

struct notify {
    int fd; /* -1: nobody wants to know */
    bool has_failed;
    socklen_t to_bytes;
    struct sockaddr_un to;
    int64_t watchdog_ms; /* the manager ends who is silent for so long; 0: it does not */
};

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. */
void notify_init(struct notify *n);

void notify_release(struct notify *n);

/* Serving, at the start and after a reload.  `status` is a line for a person. */
void notify_ready(struct notify *n, const char *status);

void notify_reloading(struct notify *n);

/* Ending; the manager is asked for `within_ms` before it uses force. */
void notify_stopping(struct notify *n, int64_t within_ms);

/* A sign of life, for the watchdog if there is one. */
void notify_alive(struct notify *n);

/* How long to wait until the next notify_alive(): half of what the watchdog allows, and `most_ms`
 * where that is longer or there is none. */
int64_t notify_interval_ms(const struct notify *n, int64_t most_ms);

#endif
