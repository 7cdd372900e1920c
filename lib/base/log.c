#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/metrics.h"

enum {
    LINE_BYTES = 2048,
    LINES_BYTES =
        256 * 1024, /* error lines that wait, twice: one half fills while the other is written */
    STREAM_BYTES = 1024 * 1024, /* access lines of one thread that wait */
    DRAIN_MS = 100,
    STUCK_MS = 1000, /* how long a non-blocking pipe may take nothing before lines are dropped */
    CACHE_LINE = 64,
    REFUSED_BYTES = 4096,
};

/* A file lines go to.  `fd` belongs to whoever drains; `next_fd` waits under `lock` to be adopted.
 */
struct sink {
    char *path; /* owned by the main thread; NULL: `fd` is not ours and is never opened anew */
    int fd;     /* -1: none */
    int next_fd;
    bool is_torn; /* the last line was cut: it needs an end before the next begins */
};

/*
 * A ring that one thread fills and the log thread empties.  Its pages are mapped twice in a
 * row, so that a line which crosses the end is still one run of bytes.  Positions only grow.
 */
struct log_stream {
    /* Fixed at birth. */
    char *ring;
    struct log_stream *next; /* changed by the log thread alone, under `lock` */

    /* Of the thread that writes. */
    alignas(CACHE_LINE) _Atomic uint64_t head; /* end of the whole lines */
    uint64_t tail_seen;                        /* `tail` as last looked up */
    size_t begun_bytes;

    /* Of the log thread. */
    alignas(CACHE_LINE) _Atomic uint64_t tail; /* start of what is not written yet */
    atomic_bool is_hurried;                    /* over half full, and the log thread was told */
    atomic_bool is_freed;                      /* to be freed once it is empty */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool is_running;            /* under `lock` */
static char lines[2][LINES_BYTES]; /* under `lock`: the half that `filling` names */
static unsigned filling;           /* under `lock` */
static size_t lines_bytes;         /* under `lock` */
static struct log_stream *streams; /* under `lock`; newest first */

static const struct sink no_error_file = {.fd = STDERR_FILENO, .next_fd = -1};
static const struct sink no_access_file = {.fd = -1, .next_fd = -1};

/* Of the log thread; of whoever holds `lock` while there is none. */
static struct sink error_sink = {.fd = STDERR_FILENO, .next_fd = -1};
static struct sink access_sink = {.fd = -1, .next_fd = -1};

static char refused[REFUSED_BYTES]; /* main thread: of log_refused() */

static atomic_int level_max = LOG_LEVEL_INFO;
static atomic_bool has_access;
static atomic_bool is_stopping;
static pthread_t thread;

/* Posted when there is something to write before the next round is due.  Never destroyed: any
 * thread may be about to post. */
static sem_t wake;
static pthread_once_t wake_once = PTHREAD_ONCE_INIT;

static void count_dropped(const char *p, size_t n)
{
    int64_t dropped = 0;

    for (const char *end; (end = memchr(p, '\n', n)) != NULL;
         n -= (size_t)(end + 1 - p), p = end + 1)
        dropped++;
    metrics_add(METRIC_LOG_DROPPED, dropped);
}

/* May block: only for the log thread, and for log_line() while there is none. */
static void sink_write(struct sink *sink, const char *p, size_t n)
{
    static const char newline = '\n';

    if (sink->fd < 0 || n == 0)
        return;
    if (sink->is_torn && write(sink->fd, &newline, 1) == 1)
        sink->is_torn = false;
    while (n > 0) {
        ssize_t put = write(sink->fd, p, n);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0 && errno == EAGAIN) {
            struct pollfd ready = {.fd = sink->fd, .events = POLLOUT};

            if (poll(&ready, 1, STUCK_MS) > 0)
                continue;
        }
        if (put <
            0) { /* a full disk stays full for a while: these lines are lost, the next may not be */
            count_dropped(p, n);
            return;
        }
        p += put;
        n -= (size_t)put;
        sink->is_torn = p[-1] != '\n';
    }
}

static int sink_open(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    int why = errno;

    if (fd < 0)
        snprintf(refused, sizeof(refused), "%s", path);
    errno = why;
    return fd;
}

const char *log_refused(void)
{
    return refused;
}

/* Under `lock`.  The descriptor to be closed, or -1. */
static int sink_adopt(struct sink *sink)
{
    int old = sink->fd;

    if (sink->next_fd < 0)
        return -1;
    sink->fd = sink->next_fd;
    sink->next_fd = -1;
    sink->is_torn = false;
    return old;
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

static void stream_destroy(struct log_stream *s)
{
    munmap(s->ring, 2 * (size_t)STREAM_BYTES);
    free(s);
}

/* Under `lock`. */
static void unlink_stream(struct log_stream *s)
{
    struct log_stream **at = &streams;

    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
}

static void drain_stream(struct log_stream *s)
{
    uint64_t tail = atomic_load_explicit(&s->tail, memory_order_relaxed);
    uint64_t head;

    /* before `head`: whoever fills the rest of the ring after this asks for another round */
    atomic_store_explicit(&s->is_hurried, false, memory_order_relaxed);
    head = atomic_load_explicit(&s->head, memory_order_acquire); /* pairs with log_stream_end() */
    CHECK(head - tail <= STREAM_BYTES);
    if (head == tail)
        return;
    sink_write(&access_sink, s->ring + tail % STREAM_BYTES, head - tail);
    /* pairs with the acquire in log_stream_begin(): the bytes have been read, they may be
     * overwritten */
    atomic_store_explicit(&s->tail, head, memory_order_release);
}

/* One round.  Nothing is written under `lock`: those who hand over lines take it too. */
static void drain(void)
{
    struct log_stream *s, *next;
    unsigned full;
    size_t n;
    int old_error, old_access;

    pthread_mutex_lock(&lock);
    old_error = sink_adopt(&error_sink);
    old_access = sink_adopt(&access_sink);
    full = filling;
    n = lines_bytes;
    filling = 1 - filling;
    lines_bytes = 0;
    s = streams; /* newer ones come before it, and only this thread removes */
    pthread_mutex_unlock(&lock);

    close_fd(old_error);
    close_fd(old_access);
    sink_write(&error_sink, lines[full], n);
    for (; s != NULL; s = next) {
        /* pairs with log_stream_free(), and comes before `head` is read: what was written last is
         * seen */
        bool is_freed = atomic_load_explicit(&s->is_freed, memory_order_acquire);

        next = s->next;
        drain_stream(s);
        if (is_freed) {
            pthread_mutex_lock(&lock);
            unlink_stream(s);
            pthread_mutex_unlock(&lock);
            stream_destroy(s);
        }
    }
}

static void wait_for_work(void)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += DRAIN_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    if (sem_clockwait(&wake, CLOCK_MONOTONIC, &until) != 0)
        return;
    while (sem_trywait(&wake) == 0)
        ; /* one round does for all who called */
}

static void *run(void *arg)
{
    (void)arg;
    while (!atomic_load_explicit(&is_stopping, memory_order_relaxed)) {
        wait_for_work();
        drain();
    }
    return NULL;
}

static void make_wake(void)
{
    CHECK(sem_init(&wake, 0, 0) == 0); /* fails for a value that is too large only */
}

static enum err start_thread(void)
{
    sigset_t all, before;
    int rc;

    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&thread, NULL, run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = rc;
    return rc == 0 ? ERR_OK : ERR_IO;
}

static void sink_release(struct sink *sink)
{
    int why = errno;

    if (sink->path != NULL)
        close_fd(sink->fd);
    close_fd(sink->next_fd);
    free(sink->path);
    errno = why;
}

static enum err sink_init(struct sink *sink, const char *path)
{
    if (path == NULL)
        return ERR_OK;
    sink->path = strdup(path);
    if (sink->path == NULL)
        return ERR_NOMEM;
    sink->fd = sink_open(path);
    return sink->fd < 0 ? ERR_IO : ERR_OK;
}

enum err log_open(const struct log_options *opt)
{
    bool to_stdout = opt->access_file != NULL && strcmp(opt->access_file, "-") == 0;
    struct sink error = no_error_file, access = no_access_file;
    enum err e;

    CHECK(!is_running); /* one thread opens and closes */
    refused[0] = '\0';
    pthread_once(&wake_once, make_wake);
    e = sink_init(&error, opt->error_file);
    if (e == ERR_OK && to_stdout)
        access.fd = STDOUT_FILENO;
    else if (e == ERR_OK)
        e = sink_init(&access, opt->access_file);

    pthread_mutex_lock(&lock); /* the thread's first round waits for it too */
    if (e == ERR_OK) {
        atomic_store_explicit(&is_stopping, false, memory_order_relaxed);
        e = start_thread();
    }
    if (e == ERR_OK) {
        error_sink = error;
        access_sink = access;
        is_running = true;
        atomic_store_explicit(&has_access, access.fd >= 0, memory_order_relaxed);
        log_set_level(opt->level);
    }
    pthread_mutex_unlock(&lock);
    if (e != ERR_OK) {
        sink_release(&error);
        sink_release(&access);
    }
    return e;
}

enum err log_reopen(void)
{
    struct sink *const sink[] = {&error_sink, &access_sink};
    int fresh[2] = {-1, -1}, why;

    for (size_t i = 0; i < 2; i++) {
        if (sink[i]->path == NULL)
            continue;
        fresh[i] = sink_open(sink[i]->path);
        if (fresh[i] < 0) {
            why = errno;
            close_fd(fresh[0]);
            errno = why;
            return ERR_IO;
        }
    }
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < 2 && is_running; i++) {
        int unused = sink[i]->next_fd; /* of a reopening that the log thread has not come to */

        sink[i]->next_fd = fresh[i];
        fresh[i] = unused;
    }
    pthread_mutex_unlock(&lock);
    close_fd(fresh[0]);
    close_fd(fresh[1]);
    return ERR_OK;
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&level_max, level, memory_order_relaxed); /* orders nothing else */
}

/* Under `lock`.  After the last round of the log thread: is there more, handed over meanwhile? */
static bool has_leftovers(void)
{
    for (const struct log_stream *s = streams; s != NULL; s = s->next)
        if (atomic_load_explicit(&s->is_freed, memory_order_relaxed))
            return true;
    return lines_bytes > 0;
}

void log_close(void)
{
    bool done;

    pthread_mutex_lock(&lock);
    done = !is_running;
    pthread_mutex_unlock(&lock);
    if (done)
        return;
    atomic_store_explicit(&is_stopping, true, memory_order_relaxed);
    sem_post(&wake);
    pthread_join(thread, NULL); /* this thread drains from here on */
    while (!done) {
        drain();
        pthread_mutex_lock(&lock);
        done = !has_leftovers();
        if (done) { /* lines go to stderr from here on */
            is_running = false;
            atomic_store_explicit(&has_access, false, memory_order_relaxed);
            sink_release(&error_sink);
            sink_release(&access_sink);
            error_sink = no_error_file;
            access_sink = no_access_file;
        }
        pthread_mutex_unlock(&lock);
    }
}

/* A line break in what a stranger sent would be a line of his own making. */
static void defuse(char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f)
            p[i] = '?';
}

static size_t format_prefix(char *to, enum log_level level)
{
    static const char *const name[] = {"error", "warn", "info", "debug"};
    struct timespec now;
    struct tm tm;
    size_t n;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    n = strftime(to, LINE_BYTES, "%Y-%m-%dT%H:%M:%S", &tm);
    return n + (size_t)snprintf(to + n, LINE_BYTES - n, ".%03ldZ %s ", now.tv_nsec / 1000000,
                                name[level]);
}

static void hand_over(const char *line, size_t n)
{
    pthread_mutex_lock(&lock);
    if (!is_running) {
        sink_write(&error_sink, line, n);
    } else if (n > LINES_BYTES - lines_bytes) {
        metrics_add(METRIC_LOG_DROPPED, 1);
    } else {
        memcpy(lines[filling] + lines_bytes, line, n);
        if (lines_bytes == 0)
            sem_post(&wake);
        lines_bytes += n;
    }
    pthread_mutex_unlock(&lock);
}

void log_line(enum log_level level, const char *format, ...)
{
    char line[LINE_BYTES];
    size_t prefix, room;
    va_list ap;
    int n;

    if ((int)level > atomic_load_explicit(&level_max, memory_order_relaxed))
        return;
    prefix = format_prefix(line, level);
    room = sizeof(line) - prefix;
    va_start(ap, format);
    n = vsnprintf(line + prefix, room, format, ap);
    va_end(ap);
    if (n < 0)
        return;
    if ((size_t)n > room - 1)
        n = (int)(room - 1);
    defuse(line + prefix, (size_t)n);
    line[prefix + (size_t)n] = '\n'; /* in the place of the NUL */
    hand_over(line, prefix + (size_t)n + 1);
}

void log_lines(enum log_level level, const char *what, struct slice text)
{
    while (text.n > 0) {
        struct slice line = slice_head(text, slice_index(text, '\n'));

        if (line.n > 0)
            log_line(level, "%s: %.*s", what, (int)line.n, line.p);
        text = slice_from(text, line.n + 1);
    }
}

/* STREAM_BYTES of memory, visible at two addresses in a row.  NULL when it cannot be had. */
static char *map_ring(void)
{
    int fd = memfd_create("log", MFD_CLOEXEC);
    char *both = MAP_FAILED;

    if (fd < 0)
        return NULL;
    if (ftruncate(fd, STREAM_BYTES) == 0)
        both = mmap(NULL, 2 * (size_t)STREAM_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; i < 2 && both != MAP_FAILED; i++)
        if (mmap(both + i * STREAM_BYTES, STREAM_BYTES, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
            munmap(both, 2 * (size_t)STREAM_BYTES);
            both = MAP_FAILED;
        }
    close(fd);
    return both == MAP_FAILED ? NULL : both;
}

struct log_stream *log_stream_new(void)
{
    struct log_stream *s = aligned_alloc(CACHE_LINE, sizeof(*s));

    if (s == NULL)
        return NULL;
    memset(s, 0, sizeof(*s));
    pthread_once(&wake_once, make_wake);
    s->ring = map_ring();
    if (s->ring == NULL) {
        free(s);
        return NULL;
    }
    pthread_mutex_lock(&lock);
    s->next = streams;
    streams = s;
    pthread_mutex_unlock(&lock);
    return s;
}

void log_stream_free(struct log_stream *s)
{
    bool is_ours;

    if (s == NULL)
        return;
    pthread_mutex_lock(&lock);
    is_ours = !is_running; /* nobody else would come by */
    if (is_ours)
        unlink_stream(s);
    else
        atomic_store_explicit(&s->is_freed, true, memory_order_release); /* pairs with drain() */
    pthread_mutex_unlock(&lock);
    if (is_ours)
        stream_destroy(s);
}

char *log_stream_begin(struct log_stream *s, size_t bytes)
{
    uint64_t head = atomic_load_explicit(&s->head, memory_order_relaxed); /* ours */

    if (bytes > STREAM_BYTES - (head - s->tail_seen)) {
        s->tail_seen =
            atomic_load_explicit(&s->tail, memory_order_acquire); /* pairs with drain_stream() */
        if (bytes > STREAM_BYTES - (head - s->tail_seen)) {
            metrics_add(METRIC_LOG_DROPPED, 1);
            return NULL;
        }
    }
    s->begun_bytes = bytes;
    return s->ring + head % STREAM_BYTES;
}

/* The log thread comes every DRAIN_MS; a busy thread would fill its ring sooner. */
static void hurry(struct log_stream *s, uint64_t head)
{
    s->tail_seen =
        atomic_load_explicit(&s->tail, memory_order_acquire); /* as in log_stream_begin() */
    if (head - s->tail_seen <= STREAM_BYTES / 2)
        return;
    if (!atomic_exchange_explicit(&s->is_hurried, true, memory_order_relaxed))
        sem_post(&wake);
}

void log_stream_end(struct log_stream *s, size_t used)
{
    uint64_t head = atomic_load_explicit(&s->head, memory_order_relaxed) + used; /* ours */

    CHECK(used <= s->begun_bytes);
    s->begun_bytes = 0;
    atomic_store_explicit(&s->head, head, memory_order_release); /* pairs with drain_stream() */
    if (head - s->tail_seen > STREAM_BYTES / 2)
        hurry(s, head);
}

bool log_has_access(void)
{
    return atomic_load_explicit(&has_access, memory_order_relaxed);
}
