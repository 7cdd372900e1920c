/*
 * worker: one thread, one libh2o loop, and everything that lives on it.
 *
 * Life: worker_init() on the main thread, then others may send messages; worker_start() begins the
 * thread; worker_drain(), worker_use() and worker_stop() are messages; when the thread has ended,
 * worker_release().
 */
#ifndef SERVER_WORKER_H
#define SERVER_WORKER_H

#include "server/server_priv.h"

enum { WORKER_TICK_MS = 100 };

struct worker_options {
    struct server *server; /* borrowed, for request.c */
    unsigned index;
    struct snapshot *snapshot;  /* a reference is taken */
    struct conn_quota *quota;   /* borrowed */
    struct listener *listeners; /* borrowed */
    size_t listeners_count;
};

NODISCARD enum err worker_init(struct worker *w, const struct worker_options *opt);

/*
 * Start the thread and wait until it serves.  ERR_NOMEM, ERR_IO: it does not, and has ended;
 * worker_release() is still due.
 */
NODISCARD enum err worker_start(struct worker *w);

/* Use this snapshot from the next turn on; a reference is taken.  ERR_NOMEM: it goes on with the
 * old one.  Any thread. */
NODISCARD enum err worker_use(struct worker *w, struct snapshot *s);

/* Accept no more, ask clients to leave.  Any thread, once. */
void worker_drain(struct worker *w);

/* End the thread in a few turns, whatever is open.  Any thread, once. */
void worker_stop(struct worker *w);

/*
 * After the thread has ended: free what it had.  When it was not clean (w->is_clean: requests were
 * still waiting for an upstream), nothing is freed: the process is about to end.
 */
void worker_release(struct worker *w);

#endif
