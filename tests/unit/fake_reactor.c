#include "fake_reactor.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/timers.h"

enum { WATCHES_MAX = 64 };

struct reactor_watch {
    int fd; /* -1: unwatched, freed at the end of the turn */
    void (*readable)(void *user);
    void *user;
};

struct fake {
    struct reactor base;

    /* The loop's thread. */
    enum fake_clock clock;
    int64_t now_ms;
    /* Started with 0 ms they wait in `soon`, so that one that starts itself again cannot keep a
     * turn from ending; `firing` holds those of the turn that is on. */
    struct timers later, soon, firing;
    struct reactor_watch *watch[WATCHES_MAX];
    size_t watches_count;

    /* Shared, under `lock`. */
    pthread_mutex_t lock;
    struct reactor_message *first, **last;
    int wake; /* eventfd; written under no lock */
};

static struct fake *fake_of(struct reactor *r)
{
    return (struct fake *)(void *)r;
}

static int64_t on_now(struct reactor *r)
{
    return fake_of(r)->now_ms;
}

static void on_timer_stop(struct reactor *r, struct reactor_timer *t)
{
    struct fake *f = fake_of(r);
    struct timers *const all[] = {&f->later, &f->soon, &f->firing};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]) && t->slot != 0; i++) {
        if (t->slot <= all[i]->count && all[i]->heap[t->slot] == t)
            timers_stop(all[i], t);
    }
    CHECK(t->slot == 0); /* it was in one of the heaps */
}

static void on_timer_start(struct reactor *r, struct reactor_timer *t, int64_t after_ms)
{
    struct fake *f = fake_of(r);

    on_timer_stop(r, t);
    timers_start(after_ms > 0 ? &f->later : &f->soon, t, f->now_ms + after_ms);
}

static void on_post(struct reactor *r, struct reactor_message *m)
{
    struct fake *f = fake_of(r);

    m->next = NULL;
    pthread_mutex_lock(&f->lock);
    *f->last = m;
    f->last = &m->next;
    pthread_mutex_unlock(&f->lock);
    CHECK(eventfd_write(f->wake, 1) == 0);
}

static struct reactor_watch *on_watch(struct reactor *r, int fd, void (*readable)(void *),
                                      void *user)
{
    struct fake *f = fake_of(r);
    struct reactor_watch *w = malloc(sizeof(*w));

    CHECK(w != NULL);
    CHECK(fd >= 0);
    CHECK(f->watches_count < WATCHES_MAX);
    *w = (struct reactor_watch){.fd = fd, .readable = readable, .user = user};
    f->watch[f->watches_count++] = w;
    return w;
}

static void on_unwatch(struct reactor *r, struct reactor_watch *w)
{
    (void)r;
    CHECK(w->fd >= 0);
    w->fd = -1;
}

static const struct reactor_ops ops = {
    .now_ms = on_now,
    .timer_start = on_timer_start,
    .timer_stop = on_timer_stop,
    .post = on_post,
    .watch = on_watch,
    .unwatch = on_unwatch,
};

struct reactor *fake_reactor_new(enum fake_clock clock)
{
    struct fake *f = calloc(1, sizeof(*f));

    CHECK(f != NULL);
    f->base.ops = &ops;
    f->clock = clock;
    f->now_ms = clock == FAKE_CLOCK_REAL ? clock_mono_ms() : 1000000;
    f->last = &f->first;
    f->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(f->wake >= 0);
    CHECK(pthread_mutex_init(&f->lock, NULL) == 0);
    return &f->base;
}

static void forget_unwatched(struct fake *f)
{
    size_t kept = 0;

    for (size_t i = 0; i < f->watches_count; i++) {
        if (f->watch[i]->fd >= 0)
            f->watch[kept++] = f->watch[i];
        else
            free(f->watch[i]);
    }
    f->watches_count = kept;
}

void fake_reactor_free(struct reactor *r)
{
    struct fake *f = fake_of(r);

    forget_unwatched(f);
    CHECK(f->watches_count == 0);
    timers_release(&f->later);
    timers_release(&f->soon);
    timers_release(&f->firing);
    close(f->wake);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

static size_t run_messages(struct fake *f)
{
    struct reactor_message *m;
    eventfd_t ignored;
    size_t count = 0;

    (void)eventfd_read(f->wake, &ignored); /* EAGAIN when nobody posted */
    pthread_mutex_lock(&f->lock);
    m = f->first;
    f->first = NULL;
    f->last = &f->first;
    pthread_mutex_unlock(&f->lock);
    for (; m != NULL; count++) {
        struct reactor_message *next = m->next; /* gone once run() has been entered */

        m->run(m);
        m = next;
    }
    return count;
}

static size_t fire_all(struct timers *t, int64_t now_ms)
{
    size_t count = 0;

    while (t->count > 0 && t->heap[1]->due_ms <= now_ms) {
        struct reactor_timer *timer = t->heap[1];

        timers_stop(t, timer);
        timer->fire(timer->user);
        count++;
    }
    return count;
}

static size_t fire_timers(struct fake *f)
{
    struct timers empty = f->firing;

    CHECK(empty.count == 0);
    f->firing = f->soon;
    f->soon = empty;
    return fire_all(&f->firing, INT64_MAX) + fire_all(&f->later, f->now_ms);
}

/* One turn of the loop: wait at most `wait_ms` of real time; how many callbacks ran. */
static size_t turn(struct fake *f, int wait_ms)
{
    struct pollfd set[WATCHES_MAX + 1];
    size_t polled = f->watches_count, count = 0;

    set[0] = (struct pollfd){.fd = f->wake, .events = POLLIN};
    for (size_t i = 0; i < polled; i++)
        set[i + 1] = (struct pollfd){.fd = f->watch[i]->fd, .events = POLLIN};
    if (poll(set, polled + 1, wait_ms) < 0)
        return 0;
    if (f->clock == FAKE_CLOCK_REAL)
        f->now_ms = clock_mono_ms();
    for (size_t i = 0; i < polled; i++) {
        struct reactor_watch *w = f->watch[i];

        if (set[i + 1].revents != 0 && w->fd >= 0) {
            w->readable(w->user);
            count++;
        }
    }
    count += run_messages(f);
    count += fire_timers(f);
    forget_unwatched(f);
    return count;
}

size_t fake_reactor_drain(struct reactor *r)
{
    size_t count, sum = 0;

    while ((count = turn(fake_of(r), 0)) > 0)
        sum += count;
    return sum;
}

void fake_reactor_advance(struct reactor *r, int64_t ms)
{
    struct fake *f = fake_of(r);
    int64_t until_ms = f->now_ms + ms;

    CHECK(f->clock == FAKE_CLOCK_BY_HAND);
    fake_reactor_drain(r);
    while (f->now_ms < until_ms) {
        f->now_ms += timers_wait_ms(&f->later, f->now_ms, until_ms - f->now_ms);
        fake_reactor_drain(r);
    }
}

bool fake_reactor_run_until(struct reactor *r, const bool *flag, int timeout_ms)
{
    struct fake *f = fake_of(r);
    int64_t until_ms = clock_mono_ms() + timeout_ms;

    while (!*flag) {
        int64_t left_ms = until_ms - clock_mono_ms();

        if (left_ms <= 0)
            return false;
        if (f->soon.count > 0)
            left_ms = 0;
        else if (f->clock == FAKE_CLOCK_REAL)
            left_ms = timers_wait_ms(&f->later, clock_mono_ms(), left_ms);
        turn(f, (int)left_ms);
    }
    return true;
}

size_t fake_reactor_timers(const struct reactor *r)
{
    const struct fake *f = (const struct fake *)(const void *)r;

    return f->later.count + f->soon.count + f->firing.count;
}
