#include "role.h"

const struct role shield_role = {
    .name = "shield",
    .faces_public = false,
    .may_serve_swr = false, /* its clients are caches: a stale answer would be stale twice */
    .strips_tags = false,   /* edges need them: a purge by tag holds there too */
    .trusts_peers = true,
    .owns_journal = true,
};
