/* role: what a shield is: the daemon between the edges and the origin. */
#ifndef ORIGIN_SHIELD_ROLE_H
#define ORIGIN_SHIELD_ROLE_H

#include "cache/role.h"

extern const struct role shield_role;

#endif
