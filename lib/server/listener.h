/*
 * listener: the sockets that clients connect to.
 *
 * Each worker has a socket of its own per address (SO_REUSEPORT), so that the kernel spreads
 * connections and no lock is shared.  A port that another program holds is found first, with a
 * socket that does not share. Accepting pauses while the process is at its quota of connections or
 * out of descriptors.
 */
#ifndef SERVER_LISTENER_H
#define SERVER_LISTENER_H

#include <sys/socket.h>

#include "base/buf.h"
#include "base/err.h"
#include "server/server_priv.h"

struct listener {
    int fd;              /* owned until listener_start(), then by `sock`; -1: none */
    const char *address; /* borrowed from the configuration that it was bound with */
    enum conn_kind kind;
    uint16_t port;       /* the real one, when the address said 0 */
    uint16_t https_port; /* CONN_REDIRECT: where its clients are sent; 0: nothing was written */

    /* Of the worker's thread. */
    struct worker *worker;
    h2o_socket_t *sock; /* owned; NULL while not accepting for good */
    h2o_accept_ctx_t accept;
    struct reactor_timer resume;
    int64_t full_told_ms; /* when the log last said that no more fit in; 0: never */
};

/*
 * Bind the addresses of `c` for so many workers: out[worker * c->listen_count + i].
 *
 *   out   owned by the caller, ends with listeners_free(); `c` must live as long
 *
 * ERR_IO: `why` names the address and says what to do.  ERR_NOMEM.
 */
NODISCARD enum err listeners_bind(const struct config *c, unsigned workers, struct listener **out,
                                  struct buf *why);
void listeners_free(struct listener *list,
                    size_t count); /* closes what no worker has taken; NULL is fine */

/* A listening socket for "IP:PORT", not shared with anyone.  As listeners_bind(). */
NODISCARD enum err listener_bind_one(const char *key, const char *address, int *out_fd,
                                     struct buf *why);

/* On the worker's thread. */
void listener_start(struct listener *l, struct worker *w);
void listener_use(struct listener *l,
                  const struct snapshot *s); /* its certificates, from the next connection on */
void listener_stop(
    struct listener *l); /* takes what waits in the queue, then closes; also when not started */

#endif
