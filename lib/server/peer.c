#include "server/peer.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "server/conn.h"

enum { SITES_MAX = 1000 };

/* URI names of a node's certificate, as `selvage pki node` writes them. */
#define REGION_URI "urn:selvage:region:"
#define SITE_URI   "urn:selvage:site:"

static enum peer_verdict verdict_of(int result)
{
    switch (result) {
    case X509_V_OK:
        return PEER_ACCEPTED;
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return PEER_EXPIRED;
    default:
        return PEER_FOREIGN;
    }
}

/* "" when there is none, or none that is a name. */
static void read_name(X509 *x, char out[PEER_NAME_BYTES])
{
    int n =
        X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, out, PEER_NAME_BYTES);

    if (n <= 0 || strlen(out) != (size_t)n)
        out[0] = '\0';
    for (char *p = out; *p != '\0'; p++)
        if (*p <= ' ' || *p > '~')
            *p = '?'; /* it goes into logs */
}

static void read_serial(X509 *x, char out[PEER_SERIAL_BYTES])
{
    BIGNUM *n = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), NULL);
    char *hex = n == NULL ? NULL : BN_bn2hex(n), *digits = hex;

    out[0] = '\0';
    while (digits != NULL && *digits == '0')
        digits++;
    if (digits != NULL && strlen(digits) < PEER_SERIAL_BYTES)
        for (size_t i = 0; i == 0 || digits[i - 1] != '\0'; i++)
            out[i] = digits[i] >= 'A' && digits[i] <= 'F' ? (char)(digits[i] | 0x20) : digits[i];
    OPENSSL_free(hex);
    BN_free(n);
}

static bool read_uri(struct peer *p, struct slice uri)
{
    struct slice region = SLICE(REGION_URI), site = SLICE(SITE_URI);
    char **sites;

    if (slice_starts_with(uri, region) && p->region == NULL) {
        p->region = strndup(uri.p + region.n, uri.n - region.n);
        return p->region != NULL;
    }
    if (!slice_starts_with(uri, site) || p->sites_count == SITES_MAX)
        return true;
    sites = realloc(p->sites, (p->sites_count + 1) * sizeof(*sites));
    if (sites == NULL)
        return false;
    p->sites = sites;
    p->sites[p->sites_count] = strndup(uri.p + site.n, uri.n - site.n);
    return p->sites[p->sites_count] != NULL && ++p->sites_count > 0;
}

static bool read_uris(struct peer *p, X509 *x)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    bool ok = true;

    for (int i = 0; ok && i < sk_GENERAL_NAME_num(all); i++) {
        const GENERAL_NAME *n = sk_GENERAL_NAME_value(all, i);

        if (n->type == GEN_URI)
            ok = read_uri(
                p,
                (struct slice){(const char *)ASN1_STRING_get0_data(n->d.uniformResourceIdentifier),
                               (size_t)ASN1_STRING_length(n->d.uniformResourceIdentifier)});
    }
    GENERAL_NAMES_free(all);
    return ok;
}

struct peer *peer_new(X509 *certificate, int result)
{
    struct peer *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return NULL;
    p->verdict = verdict_of(result);
    read_name(certificate, p->name);
    read_serial(certificate, p->serial);
    if (!read_uris(p, certificate)) {
        peer_free(p);
        return NULL;
    }
    return p;
}

void peer_free(struct peer *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < p->sites_count; i++)
        free(p->sites[i]);
    free(p->sites);
    free(p->region);
    free(p);
}

bool peer_is_revoked(const struct peer *p, const struct config_peer *c)
{
    for (size_t i = 0; i < c->revoked_count; i++) {
        const struct config_revoked *r = &c->revoked[i];

        if (strcmp(r->name != NULL ? r->name : r->serial, r->name != NULL ? p->name : p->serial) ==
            0)
            return true;
    }
    return false;
}

bool peer_may_ask_for(const struct peer *p, const char *site)
{
    for (size_t i = 0; i < p->sites_count; i++)
        if (strcmp(p->sites[i], site) == 0)
            return true;
    return p->sites_count == 0;
}

static const struct {
    const char *token, *text;
} verdicts[] = {
    [PEER_ACCEPTED] = {"accepted", ""},
    [PEER_NO_CERTIFICATE] = {"peer-no-certificate",
                             "this listener is for nodes of the fleet: show a certificate "
                             "(peer.certificate, from `selvage pki node`)\n"},
    [PEER_FOREIGN] = {"peer-foreign", "this certificate is not from the CA of this fleet\n"},
    [PEER_EXPIRED] = {"peer-expired", "this certificate has expired, or is not valid yet: have "
                                      "`selvage pki node` make a new one\n"},
    [PEER_REVOKED] = {"peer-revoked", "this certificate is revoked in peers.yaml\n"},
    [PEER_BAD_SECRET] = {"peer-bad-secret",
                         "this listener is for nodes of the fleet: their secret (peer.secret) is "
                         "missing or another\n"},
    [PEER_OTHER_SITE] = {"peer-other-site", "this certificate is for other sites\n"},
};

const char *peer_verdict_text(enum peer_verdict v)
{
    return verdicts[v].text;
}

const char *peer_verdict_token(enum peer_verdict v)
{
    return verdicts[v].token;
}

bool peer_certificate_ends(const char *file, int64_t *out_s)
{
    BIO *b = BIO_new_file(file, "r");
    X509 *x = b == NULL ? NULL : PEM_read_bio_X509(b, NULL, NULL, NULL);
    struct tm tm;
    bool ok = x != NULL && ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) == 1;

    if (ok)
        *out_s = (int64_t)timegm(&tm);
    X509_free(x);
    BIO_free(b);
    ERR_clear_error();
    return ok;
}

/* ---- the handshake ---- */

/*
 * In place of OpenSSL's own: a certificate that is not good for anything is answered with 403, not
 * with an alert that says as much as a dead line.  That its holder has the key is checked after
 * this, and does end the handshake.
 */
static int on_verify(X509_STORE_CTX *store, void *user)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    X509 *x = X509_STORE_CTX_get0_cert(store);
    struct conn *c = ssl == NULL ? NULL : conn_of_ssl(ssl);
    int result = X509_V_OK;

    (void)user;
    if (c == NULL || x == NULL)
        return 0;
    if (X509_verify_cert(store) != 1) {
        result = X509_STORE_CTX_get_error(store);
        if (result == X509_V_OK)
            result = X509_V_ERR_UNSPECIFIED;
        ERR_clear_error();
    }
    peer_free(c->peer);
    c->peer = peer_new(x, result);
    return c->peer != NULL;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_bytes,
                   const unsigned char *in, unsigned in_bytes, void *user)
{
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen;

    (void)ssl;
    (void)user;
    if (SSL_select_next_proto(&chosen, out_bytes, ours, sizeof(ours) - 1, in, in_bytes) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

enum err peer_require(SSL_CTX *ctx, const char *ca_file, struct buf *why)
{
    STACK_OF(X509_NAME) * names;
    const char *reason;

    ERR_clear_error();
    names = SSL_load_client_CA_file(ca_file);
    if (names == NULL || SSL_CTX_load_verify_file(ctx, ca_file) != 1) {
        reason = ERR_reason_error_string(ERR_peek_error());
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        ERR_clear_error();
        buf_addf(why,
                 "peer.ca: %s: cannot read a certificate: %s: give the PEM file that `selvage pki "
                 "init` made",
                 ca_file, reason == NULL ? "unknown error" : reason);
        return ERR_INVALID;
    }
    SSL_CTX_set_client_CA_list(ctx, names);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, on_verify, NULL);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    /* a session that is resumed has shown no certificate: one that was revoked would go on */
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    return SSL_CTX_set_num_tickets(ctx, 0) == 1 ? ERR_OK : ERR_NOMEM;
}
