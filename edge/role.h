/* role: what an edge is: the daemon that the public talks to. */
#ifndef EDGE_ROLE_H
#define EDGE_ROLE_H

#include "cache/role.h"

extern const struct role edge_role;

#endif
