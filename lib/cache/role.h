/*
 * role: what a daemon is, as a dozen policies: data, and no code.
 *
 * The engine asks the role and never "am I an edge?".
 */
#ifndef CACHE_ROLE_H
#define CACHE_ROLE_H

#include <stdbool.h>

struct role {
    const char *name;    /* the label of every metric */
    bool faces_public;   /* drop what strangers may not say */
    bool may_serve_swr;  /* a shield validates instead */
    bool strips_tags;    /* Surrogate-Key and Cache-Tag stay inside the fleet */
    bool trusts_peers;   /* X-Forwarded-* of authenticated peers */
    bool owns_journal;   /* true where a node stands alone */
};

#endif
