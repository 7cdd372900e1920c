/*
 * fake_reactor: a reactor for unit tests, with the hand on its clock or with the real one.
 *
 * Descriptors, messages and timers are real in both modes; only with FAKE_CLOCK_BY_HAND time stands
 * still until fake_reactor_advance().  Callbacks run only inside the functions below, on the thread
 * that calls them; reactor_post() may come from any thread.
 */
#ifndef TESTS_FAKE_REACTOR_H
#define TESTS_FAKE_REACTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/reactor.h"

enum fake_clock {
    FAKE_CLOCK_BY_HAND, /* begins at 1,000,000 ms, so that a 0 that slipped in shows */
    FAKE_CLOCK_REAL,
};

/* Owned by the caller, ends with fake_reactor_free(); aborts when out of memory. */
struct reactor *fake_reactor_new(enum fake_clock clock);

/* Messages that were posted and not run are dropped.  CHECKs that no watch is left. */
void fake_reactor_free(struct reactor *r);

/* Turn until there is nothing to do now; how many callbacks ran. */
size_t fake_reactor_drain(struct reactor *r);

/*
 * By hand only: let `ms` pass.  Timers fire in order, each at its own time, and everything that
 * follows from one happens before the clock moves on.
 */
void fake_reactor_advance(struct reactor *r, int64_t ms);

/*
 * Turn until `*flag`, waiting for descriptors and messages (and, on the real clock, timers); false
 * when that took longer than `timeout_ms` of real time.  The flag is set by a callback.
 */
bool fake_reactor_run_until(struct reactor *r, const bool *flag, int timeout_ms);

/* Timers running now. */
size_t fake_reactor_timers(const struct reactor *r);

#endif
