/*
 * peer: who is at the other end of a connection of a shield's listener.
 *
 * A node shows a certificate that the fleet's own CA has signed, or, on a private network, names
 * the secret that all of them know.  Strangers get through the handshake, so that what is wrong can
 * be told in words: 403, a line in the log, a counter.  Nothing that they send is believed.
 *
 * A struct peer is immutable and lives as long as its connection; any thread.
 */
#ifndef SERVER_PEER_H
#define SERVER_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "config/config.h"

enum { PEER_NAME_BYTES = 65, PEER_SERIAL_BYTES = 41 };

/* What becomes of somebody who asks. */
enum peer_verdict {
    PEER_ACCEPTED,
    PEER_NO_CERTIFICATE,
    PEER_FOREIGN, /* signed by somebody else, or not for this use */
    PEER_EXPIRED, /* or not valid yet */
    PEER_REVOKED,
    PEER_BAD_SECRET,
    PEER_OTHER_SITE, /* its certificate names others */
};

struct peer {
    enum peer_verdict verdict;      /* of the certificate: ACCEPTED, FOREIGN or EXPIRED */
    char name[PEER_NAME_BYTES];     /* the common name; "" when it has none */
    char serial[PEER_SERIAL_BYTES]; /* lower-case hex, without leading zeros */
    char *region;                   /* owned; NULL: not named */
    char **sites;                   /* owned; names of the sites that it may ask for */
    size_t sites_count;             /* 0: all */
};

/* Read a certificate whose chain was judged with this result (X509_V_OK ...).  NULL without memory.
 */
struct peer *peer_new(X509 *certificate, int result);
void peer_free(struct peer *p); /* NULL is fine */

/* Has peers.yaml a line about it? */
bool peer_is_revoked(const struct peer *p, const struct config_peer *c);

bool peer_may_ask_for(const struct peer *p, const char *site);

/* What to tell somebody, and the word for logs; static. */
const char *peer_verdict_text(enum peer_verdict v);
const char *peer_verdict_token(enum peer_verdict v);

/*
 * When the first certificate in the file ends, in seconds since 1970.  False when there is none.
 * Blocks on the disk.
 */
bool peer_certificate_ends(const char *file, int64_t *out_s);

/*
 * Have connections that begin with `ctx` asked for a certificate, and judged by the CAs in
 * `ca_file`: their struct conn gets a struct peer, whatever the judgement.  HTTP/1.1 alone, no
 * tickets.
 *
 * ERR_INVALID: `why` gets a line that names the file.  ERR_NOMEM.
 */
NODISCARD enum err peer_require(SSL_CTX *ctx, const char *ca_file, struct buf *why);

#endif
