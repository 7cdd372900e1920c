/*
 * reactor: an event loop, as the rest of us needs it.
 *
 * "Tell me when this descriptor is readable", "wake me in n ms", "run this on your
 * thread".  lib/server implements it over libh2o's loop; tests have one whose clock
 * they turn by hand.  All functions but reactor_post() belong to the loop's thread.
 * Callbacks run on the loop's thread, never from inside these functions.
 */
#ifndef BASE_REACTOR_H
#define BASE_REACTOR_H

#include <stddef.h>
#include <stdint.h>

struct reactor;

/* Embedded in what waits.  Zeroed, with `fire` and `user` set, before its first start. */
struct reactor_timer {
    void (*fire)(void *user);
    void *user;
    int64_t due_ms; /* kept by the reactor */
    size_t slot;    /* kept by the reactor; 0: not running */
};

/* Embedded in what is posted; free to be reused or freed once `run` has been entered. */
struct reactor_message {
    void (*run)(struct reactor_message *m);
    struct reactor_message *next; /* kept by the reactor */
};

struct reactor_watch; /* one watched descriptor */

struct reactor_ops {
    int64_t (*now_ms)(struct reactor *r);
    void (*timer_start)(struct reactor *r, struct reactor_timer *t, int64_t after_ms);
    void (*timer_stop)(struct reactor *r, struct reactor_timer *t);
    void (*post)(struct reactor *r, struct reactor_message *m);
    struct reactor_watch *(*watch)(struct reactor *r, int fd, void (*readable)(void *), void *user);
    void (*unwatch)(struct reactor *r, struct reactor_watch *w);
};

struct reactor {
    const struct reactor_ops *ops; /* first member of the implementation's struct */
};

/* Monotonic milliseconds, as of the beginning of this turn of the loop. */
static inline int64_t reactor_now_ms(struct reactor *r)
{
    return r->ops->now_ms(r);
}

/* Start, or start again.  0 ms fires in the next turn. */
static inline void reactor_timer_start(struct reactor *r, struct reactor_timer *t, int64_t after_ms)
{
    r->ops->timer_start(r, t, after_ms);
}

/* Stop; nothing happens when it does not run. */
static inline void reactor_timer_stop(struct reactor *r, struct reactor_timer *t)
{
    r->ops->timer_stop(r, t);
}

/* Run `m->run` on the loop's thread, in the order of posting.  Any thread. */
static inline void reactor_post(struct reactor *r, struct reactor_message *m)
{
    r->ops->post(r, m);
}

/* `readable` is called as long as there is something to read.  The descriptor stays the caller's. */
static inline struct reactor_watch *reactor_watch(struct reactor *r, int fd,
                                                  void (*readable)(void *), void *user)
{
    return r->ops->watch(r, fd, readable, user);
}

static inline void reactor_unwatch(struct reactor *r, struct reactor_watch *w)
{
    r->ops->unwatch(r, w);
}

#endif
