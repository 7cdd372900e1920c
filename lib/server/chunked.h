/*
 * chunked: chunked framing for every status of unknown length.
 *
 * libh2o chunks 200s alone and ends all others by closing the connection: a body that was cut could
 * then not be told from one that is whole, and every such answer would cost the client a
 * connection.
 */
#ifndef SERVER_CHUNKED_H
#define SERVER_CHUNKED_H

#include <h2o.h>

/* Register once per path, before a context is made. */
void chunked_register(h2o_pathconf_t *path);

#endif
