/*
 * follow: a follower's side of a stream: bytes of an owner's journal in, purges in force.
 *
 * Records are applied in order, a batch and its position in one durable transaction.  What does not
 * continue where this node is, or comes from another cluster or a smaller epoch, changes nothing.
 *
 * Threads: the one that appends (ctl).
 */
#ifndef PURGE_FOLLOW_H
#define PURGE_FOLLOW_H

#include "purge/purge.h"

struct follow; /* one stream, from its first byte to its last */

NODISCARD enum err follow_new(struct purge *p, struct follow **out);
void follow_free(struct follow *f); /* NULL is fine */

/* Call for each announcement (stream.h) of an owner that was believed so far; the bytes are borrowed
 * for the call. */
void follow_on_announcement(struct follow *f, void (*call)(void *user, struct slice bytes),
                            void *user);

enum follow_end {
    FOLLOW_GOES_ON,
    FOLLOW_FOREIGN,  /* of another cluster than the one this node has joined */
    FOLLOW_SMALLER,  /* of a smaller epoch: an owner that was replaced */
    FOLLOW_DIVERGED, /* it does not go on where this node is: ask again, saying where */
    FOLLOW_GARBAGE,  /* no stream of ours */
    FOLLOW_FAILED,   /* memory or disk */
};

/* A sentence for logs. */
const char *follow_end_text(enum follow_end end);

/*
 * The next bytes.  Anything but FOLLOW_GOES_ON ends the stream: what was applied before holds, the
 * rest is lost with the stream.  When a head comes that is this node's own, the lease is renewed as
 * of `now_ms` (monotonic).
 */
enum follow_end follow_feed(struct follow *f, struct slice bytes, int64_t now_ms);

#endif
