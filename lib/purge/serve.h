/*
 * serve: an owner's side of a stream: where a follower is, and what it needs to hear.
 *
 * One struct serve a stream; it reads the journal on whatever thread calls it.
 */
#ifndef PURGE_SERVE_H
#define PURGE_SERVE_H

#include "base/buf.h"
#include "purge/purge.h"

struct serve;

enum serve_start {
    SERVE_STREAM,   /* it may begin: with the records behind `from`, or with a flush */
    SERVE_FOREIGN,  /* `from` is of another cluster: refused */
    SERVE_HIGHER,   /* `from` is of a higher epoch: refused, and somebody should look */
    SERVE_DIVERGED, /* `from` is a point of this epoch that this journal does not have: the owner
                       must open an epoch (purge_open_epoch()), then it may ask again */
};

/*
 * Begin a stream to a follower that is at `from`.  *out is made with SERVE_STREAM alone.
 * ERR_NOMEM, ERR_LIMIT (readers), ERR_IO, ERR_CORRUPT.
 */
NODISCARD enum err serve_new(struct purge *p, const struct purge_position *from,
                             enum serve_start *out_start, struct serve **out);
void serve_free(struct serve *s); /* NULL is fine */

/* Call this right behind the first head, so that what it adds comes before the follower has caught
 * up. */
void serve_on_begin(struct serve *s, void (*call)(void *user, struct buf *out), void *user);

/*
 * Append the next frames to `out`, a little more than `bytes_max` at most.  Once there is nothing
 * more to tell, a head ends them; *out_more says that it was cut before.  Called again at each news
 * (purge_on_head()), and each second, so that the follower hears that this node lives.
 */
NODISCARD enum err serve_next(struct serve *s, struct buf *out, size_t bytes_max, bool *out_more);

#endif
