/*
 * ctl: the thread of the admin listener: purges are appended to the journal here, one at a time.
 *
 * It has a loop of its own, so that a purge that waits for the disk keeps no client waiting, and a
 * flood of clients no operator.  Requests and responses of lib/admin are plain; this file carries
 * them over HTTP/1.1.
 */
#ifndef SERVER_CTL_H
#define SERVER_CTL_H

#include "server/server_priv.h"

struct ctl;

struct ctl_options {
    struct server *server;     /* borrowed until ctl_free() */
    struct snapshot *snapshot; /* a reference is taken */
    const char *version;       /* borrowed until ctl_free() */
};

/* Bind the admin address of the snapshot's configuration.  On failure `why` gets a line for a
 * person. */
NODISCARD enum err ctl_new(const struct ctl_options *opt, struct ctl **out, struct buf *why);
NODISCARD enum err ctl_start(struct ctl *c); /* ERR_IO: no thread */

/* Use these tokens and sites from now on; a reference is taken.  ERR_NOMEM: it goes on with the old
 * ones.  Main thread. */
NODISCARD enum err ctl_use(struct ctl *c, struct snapshot *s);

/* A follower has records of `epoch` that this node's journal does not: the next begins, unless it
 * has.  Any thread. */
void ctl_open_epoch(struct ctl *c, uint16_t epoch);

/* A node follows this one's journal for the first time: that is written down.  Any thread. */
void ctl_keep_members(struct ctl *c);

/* End the thread, if it was started; and free.  NULL is fine. */
void ctl_stop(struct ctl *c);
void ctl_free(struct ctl *c);

uint16_t ctl_port(const struct ctl *c); /* the real one, when the address said 0 */

#endif
