/*
 * tls: certificates by name, for all listeners of one snapshot.
 *
 * A listener's certificates are one PEM file, or a directory of NAME.pem (chain and key) or
 * NAME.crt with NAME.key.  The client's SNI chooses: exact names before wildcards, and the first
 * certificate (by file name) when nothing fits or nothing was asked for.  TLS 1.2 with ECDHE and
 * AEAD, and TLS 1.3; ALPN h2, http/1.1 and http/1.0, no overlap ends the handshake (RFC 7301
 * section 3.2). Sessions are resumed by tickets, whose keys are the process's own, shared by
 * workers and reloads and changed twice a day.
 *
 * Immutable; any thread.  Connections keep the snapshot, and so this, alive.
 */
#ifndef SERVER_TLS_H
#define SERVER_TLS_H

#include <openssl/ssl.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "config/config.h"

struct tls;
struct tls_cert;

/*
 * Load what `listen` names.  ERR_INVALID: a file is missing, unreadable, no certificate, does not
 * fit its key, or demands OCSP stapling: `why` gets a line that names it and says what to do.
 * ERR_NOMEM.
 */
NODISCARD enum err tls_new(const struct config_listen *listen, size_t count, struct tls **out,
                           struct buf *why);

/* Have the listener of that address ask its clients for certificates (peer_require()). */
NODISCARD enum err tls_require_peers(struct tls *t, const char *address, const char *ca_file,
                                     struct buf *why);
void tls_free(struct tls *t); /* NULL is fine */

/*
 * Log which certificates for clients have ended, are not valid yet, or have so little of their life
 * left that renewing must have failed.  When the first of all ends, in seconds since 1970; 0: there
 * is none.
 */
int64_t tls_watch(const struct tls *t, int64_t now_s);

/* What a handshake on the listener of that address begins with; NULL when it has no certificates.
 */
SSL_CTX *tls_context(const struct tls *t, const char *address);

#endif
