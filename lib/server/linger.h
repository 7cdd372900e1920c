/* linger: a connection that is closed before its request was read ends without a reset.  On the
 * worker's thread. */
#ifndef SERVER_LINGER_H
#define SERVER_LINGER_H

#include "server/server_priv.h"

/* A second descriptor of the connection, for linger_begin() once libh2o has closed the first; -1
 * when there are too many. */
int linger_hold(const struct worker *w, int fd);

/* Takes `fd`: end our side, and read on in linger_tick() until the client ends his.  -1 is fine. */
void linger_begin(struct worker *w, int fd, int64_t now_ms);

/* Once in 100 ms; closes all of them when the worker stops. */
void linger_tick(struct worker *w, int64_t now_ms);

#endif
