/*
 * reactor_h2o: base/reactor.h over a libh2o loop.
 *
 * libh2o's own timers have one duration each and follow the wall clock; ours are a heap on the
 * monotonic clock, so the owner of the loop runs it through reactor_h2o_turn().  Messages wait in a
 * list under a lock, with an eventfd to wake the loop: unlike libh2o's queue it can take them
 * before the loop's thread runs.
 *
 * Life: _new() on any thread; _attach() on the loop's thread, before the first turn; _detach()
 * there, after the last; _free() on any thread.
 */
#ifndef SERVER_REACTOR_H2O_H
#define SERVER_REACTOR_H2O_H

#include <h2o.h>

#include "base/err.h"
#include "base/reactor.h"

NODISCARD enum err reactor_h2o_new(struct reactor **out); /* ERR_NOMEM, ERR_IO (errno) */
void reactor_h2o_free(struct reactor *r); /* what is posted after the end is not run; NULL is fine */

void reactor_h2o_attach(struct reactor *r, h2o_loop_t *loop);

/*
 * Run the messages that have been posted, detach, and dispose of the context and its loop.  Its
 * connections must be gone, as must be timers and watches.
 */
void reactor_h2o_end(struct reactor *r, h2o_context_t *ctx);

/* One turn: wait at most `max_wait_ms` for sockets, messages and timers, and handle what there is.
 */
void reactor_h2o_turn(struct reactor *r, int64_t max_wait_ms);

#endif
