/*
 * release_follow: the releases that the publishing node has in use, learned and kept here.
 *
 * The stream of the journal says which release each site has; its manifest is fetched as the
 * content that it is, its hash is compared, and the site switches here in one transaction.  The
 * files themselves come when they are asked for.
 *
 * Threads: ctl's, as all that changes files.
 */
#ifndef SERVER_RELEASE_FOLLOW_H
#define SERVER_RELEASE_FOLLOW_H

#include "base/reactor.h"
#include "release/release.h"
#include "upstream/upstream.h"

struct release_follow;

struct release_follow_options { /* all borrowed until release_follow_free() */
    struct files *files;
    struct releases *releases;
    struct reactor *reactor;
    struct upstream *upstream;
    struct upstream_target *target; /* the publishing node */
    const char *host;               /* of its URL */
    const char *secret;             /* of a private net; NULL: none */
    void (*switched)(void *user);   /* a site has switched */
    void (*settled)(void *user);    /* all that was told is in use, or cannot be had now */
    void *user;
};

NODISCARD enum err release_follow_new(const struct release_follow_options *opt,
                                      struct release_follow **out);
void release_follow_free(struct release_follow *f); /* NULL is fine */

/* The bytes of a struct release_news. */
void release_follow_take(struct release_follow *f, struct slice news);

/* Is nothing on its way that could be had? */
bool release_follow_is_settled(const struct release_follow *f);

#endif
