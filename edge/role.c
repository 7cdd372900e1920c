#include "role.h"

const struct role edge_role = {
    .name = "edge",
    .faces_public = true,
    .may_serve_swr = true,
    .strips_tags = true,
    .trusts_peers = false,
    .owns_journal = true, /* as long as there is no tier above it to follow */
};
