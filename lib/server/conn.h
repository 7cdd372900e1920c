/*
 * conn: the budgets of a connection, for those who make connections and let time pass.
 *
 * One connection is a hundred requests, so what clients may use up belongs to it: open uploads,
 * requests that die early, progress in both directions.  What request.c calls stands in
 * server_priv.h, what the guards call in guards.h.  All on the worker's thread.
 */
#ifndef SERVER_CONN_H
#define SERVER_CONN_H

#include "server/server_priv.h"

/*
 * Hang a new struct conn on `sock`, whose on_close it takes; the quota has been counted by the
 * caller.  ERR_NOMEM. It ends by itself when the socket has closed and its requests have died.
 */
NODISCARD enum err conn_new(struct worker *w, h2o_socket_t *sock, enum conn_kind kind,
                            uint16_t port, uint16_t https_port);

/* The connection of a TLS handshake that runs now; NULL when the socket is none of a worker's. */
struct conn *conn_of_ssl(const SSL *ssl);

/* Look at all connections of the worker: once in 100 ms. */
void conn_tick(struct worker *w, int64_t now_ms);

/* Shut all connections; they are gone a few turns later, but for those whose request waits for an
 * upstream. */
void conn_shut_all(struct worker *w);

/* Shut the connections of peers that the worker's snapshot has revoked. */
void conn_shut_revoked(struct worker *w);

/* conn.c finds the original of what it interposes, and checks that it is in force. */
void conn_check(void);

#endif
