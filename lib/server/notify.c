#include "server/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

enum { MESSAGE_BYTES_MAX = 512 };

/* A number of the environment; -1 when it is none. */
static int64_t number(const char *name)
{
    const char *text = getenv(name);
    char *end;
    long long value;

    if (text == NULL || text[0] < '0' || text[0] > '9')
        return -1;
    errno = 0;
    value = strtoll(text, &end, 10);
    return errno != 0 || *end != '\0' ? -1 : value;
}

/* A path, or with '@' a name of the abstract kind; false for what is neither. */
static bool parse_address(struct notify *n, const char *text)
{
    size_t bytes = strlen(text);

    if ((text[0] != '/' && text[0] != '@') || bytes < 2 || bytes >= sizeof(n->to.sun_path))
        return false;
    n->to = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(n->to.sun_path, text, bytes);
    if (text[0] == '@')
        n->to.sun_path[0] = '\0'; /* the length, and no zero byte, ends such a name */
    n->to_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes);
    return true;
}

static void read_watchdog(struct notify *n)
{
    int64_t us = number("WATCHDOG_USEC");

    /* the variables of a parent that is watched itself are not for us */
    if (us > 0 && (getenv("WATCHDOG_PID") == NULL || number("WATCHDOG_PID") == getpid()))
        n->watchdog_ms = us < 2000 ? 1 : us / 1000;
}

void notify_init(struct notify *n)
{
    const struct timeval wait = {.tv_sec = NOTIFY_WAIT_MS / 1000};
    const char *text = getenv("NOTIFY_SOCKET");

    *n = (struct notify){.fd = -1};
    if (text == NULL || text[0] == '\0')
        return;
    if (!parse_address(n, text)) {
        log_warn("NOTIFY_SOCKET: '%.100s' is no address of a local socket: the service manager is "
                 "told nothing",
                 text);
        return;
    }
    n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (n->fd < 0) {
        log_warn("NOTIFY_SOCKET: no socket: %s: the service manager is told nothing",
                 strerror(errno));
        return;
    }
    /* it may be slow when the machine starts, and a lost READY=1 would be a failed start */
    (void)setsockopt(n->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    read_watchdog(n);
}

void notify_release(struct notify *n)
{
    if (n->fd >= 0)
        close(n->fd);
    n->fd = -1;
}

__attribute__((format(printf, 2, 3))) static void send_line(struct notify *n, const char *format,
                                                            ...)
{
    char text[MESSAGE_BYTES_MAX];
    va_list args;
    int bytes;

    if (n->fd < 0)
        return;
    va_start(args, format);
    bytes = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (bytes < 0)
        return;
    if ((size_t)bytes >= sizeof(text))
        bytes = sizeof(text) - 1;
    if (sendto(n->fd, text, (size_t)bytes, MSG_NOSIGNAL, (const struct sockaddr *)&n->to,
               n->to_bytes) >= 0) {
        n->has_failed = false;
        return;
    }
    if (!n->has_failed)
        log_warn("the service manager cannot be told at NOTIFY_SOCKET: %s", strerror(errno));
    n->has_failed = true;
}

void notify_ready(struct notify *n, const char *status)
{
    send_line(n, "READY=1\nSTATUS=%s", status);
}

void notify_reloading(struct notify *n)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    send_line(n, "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
              (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

void notify_stopping(struct notify *n, int64_t within_ms)
{
    send_line(n, "STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=%" PRId64, within_ms * 1000);
}

void notify_alive(struct notify *n)
{
    if (n->watchdog_ms > 0)
        send_line(n, "WATCHDOG=1");
}

int64_t notify_interval_ms(const struct notify *n, int64_t most_ms)
{
    int64_t half_ms = n->watchdog_ms / 2;

    if (n->watchdog_ms == 0 || half_ms > most_ms)
        return most_ms;
    return half_ms < 1 ? 1 : half_ms;
}
