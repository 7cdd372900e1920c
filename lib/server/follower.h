/*
 * follower: the client of the owner's journal, on the ctl thread.
 *
 * Keeps one stream open (purge/follow.h applies what it brings), says by requests beside it what
 * has been applied, and begins anew, a little later each time, when the stream ends or is silent.
 */
#ifndef SERVER_FOLLOWER_H
#define SERVER_FOLLOWER_H

#include "config/config.h"
#include "purge/purge.h"
#include "server/server_priv.h"

struct follower;

struct follower_options {
    struct purge *purge;         /* borrowed; of a follower */
    const struct config *config; /* borrowed: with an owner */
    struct reactor *reactor;     /* borrowed */
    struct files *files;         /* borrowed; and what is in use of them: */
    struct releases *releases;
    void (*switched)(void *user); /* a site has another release */
    /* It has caught up for the first time, or there is nobody to catch up with. */
    void (*settled)(void *user);
    void *user;
};

/* Begin.  On the reactor's thread, as all that follows. */
NODISCARD enum err follower_new(const struct follower_options *opt, struct follower **out);
void follower_free(struct follower *f); /* NULL is fine */

/* What the owner has last said of itself: its name, and where its admin interface listens.  Borrowed until the loop goes on; empty:
 * it has not been heard. */
void follower_owner(const struct follower *f, struct slice *out_node, struct slice *out_admin);

#endif
