/*
 * timers: a heap of struct reactor_timer, for those who implement a reactor.
 *
 * One thread.  The heap borrows the timers: each stays where it is until it has fired or been stopped.
 */
#ifndef BASE_TIMERS_H
#define BASE_TIMERS_H

#include "base/reactor.h"

struct timers {
    struct reactor_timer **heap; /* owned; [1..count] */
    size_t count, capacity;
};

void timers_release(struct timers *t);

/* Start, or move when it runs already.  Aborts when out of memory: a lost timer would be a hung request. */
void timers_start(struct timers *t, struct reactor_timer *timer, int64_t due_ms);
void timers_stop(struct timers *t, struct reactor_timer *timer);

/* Milliseconds until the next is due, at least 0; `max_ms` when none is due before. */
int64_t timers_wait_ms(const struct timers *t, int64_t now_ms, int64_t max_ms);

/*
 * Fire all that are due at `now_ms`.  One that starts itself again with 0 ms must do so with a due
 * time after now_ms, or this never ends: a reactor adds at least 1 ms.
 */
void timers_fire(struct timers *t, int64_t now_ms);

#endif
