/*
 * server: the daemon, whatever its role: sockets, TLS, threads, guards, requests.
 *
 * The only folder that knows libh2o and OpenSSL's TLS.  One worker thread per core, each with
 * a libh2o loop of its own; the ctl thread with the admin listener and the purge
 * journal; the main thread for signals, reload and drain.
 *
 * Life: server_prepare() before any other thread; server_new() checks everything and binds (so that
 * a wrong file or a taken port is told before anything runs), server_run() starts the threads and
 * returns after SIGTERM or SIGINT and the drain.
 */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include "base/buf.h"
#include "base/err.h"
#include "cache/role.h"
#include "config/config.h"

struct server;

struct server_options {
    const struct role *role;
    const char *config_file; /* read again at SIGHUP; borrowed */
    struct config *config;   /* a reference is taken */
    const char *version;
};

/* Block the signals that server_run() waits for, in this thread and all that it will start; ignore
 * SIGPIPE. */
void server_prepare(void);

/*
 * Check what server_new() would need of `c` beyond its grammar: certificates, origins, and
 * what does not go with the role.  For
 * --check. ERR_INVALID: `why` gets a line for a person.  ERR_NOMEM.
 */
NODISCARD enum err server_check(const struct role *role, struct config *c, struct buf *why);

/*
 * Open `ctl` and the store, load certificates, probe and bind all listeners.  On failure `why` gets
 * one line for a person, saying what to do.
 */
NODISCARD enum err server_new(const struct server_options *opt, struct server **out,
                              struct buf *why);

/*
 * Serve until SIGTERM or SIGINT, then drain.  0, or 1 when a thread could not be started.
 *
 * When the drain's deadline passes with requests still open, or a worker has lost its way, this
 * ends the process with status 0 instead of returning: nothing may be freed under them, and what is
 * queued for the disk has been written.
 */
int server_run(struct server *s);

void server_free(struct server *s); /* NULL is fine */

#endif
