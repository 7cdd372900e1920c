#include "server/tls.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "server/conn.h"
#include "server/peer.h"

enum {
    CERTS_MAX = 10000, /* of one directory */
    NAMES_MAX = 1000,  /* of one certificate */
    NAME_BYTES_MAX = 253,
    TICKET_NAME_BYTES = 16,
    TICKET_KEY_BYTES = 32,
    TICKET_LIFE_MS =
        12 * 3600 * 1000,      /* a key makes tickets for so long, and opens them twice as long */
    END_IS_NEAR_PART = 5,      /* of a certificate's life */
    TLSEXT_STATUS_REQUEST = 5, /* in the extension that says "must staple" (RFC 7633) */
};

struct tls_cert {
    char *file;   /* owned: for messages */
    SSL_CTX *ctx; /* owned */
    char **names; /* owned; lower-case, wildcards as they are */
    size_t names_count;
    int64_t begins_s, ends_s; /* of its life, since 1970 */
};

struct name {
    const char *text; /* borrowed from the certificate */
    const struct tls_cert *cert;
    size_t rank; /* of the certificate among the files */
};

/* What one listener has. */
struct tls_set {
    char *address;           /* owned */
    struct tls_cert **certs; /* owned; by file name */
    size_t certs_count;
    struct name *names; /* owned; sorted; the first certificate that has a name keeps it */
    size_t names_count;
    bool is_for_peers;
};

struct tls {
    struct tls_set *sets; /* owned */
    size_t sets_count;
};

/* ---- ticket keys: one pair for the whole process ---- */

struct ticket_key {
    unsigned char name[TICKET_NAME_BYTES], cipher[TICKET_KEY_BYTES], mac[TICKET_KEY_BYTES];
    int64_t made_ms; /* 0: none */
};

static struct {
    pthread_mutex_t lock;
    struct ticket_key current, previous;
} tickets = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* With the lock held; false when there is no randomness to be had. */
static bool tickets_rotate(int64_t now_ms)
{
    struct ticket_key fresh = {.made_ms = now_ms};

    if (tickets.current.made_ms != 0 && now_ms - tickets.current.made_ms < TICKET_LIFE_MS)
        return true;
    if (RAND_bytes(fresh.name, sizeof(fresh.name)) != 1 ||
        RAND_priv_bytes(fresh.cipher, sizeof(fresh.cipher)) != 1 ||
        RAND_priv_bytes(fresh.mac, sizeof(fresh.mac)) != 1)
        return false;
    tickets.previous = tickets.current;
    if (now_ms - tickets.previous.made_ms >= 2 * (int64_t)TICKET_LIFE_MS)
        tickets.previous = (struct ticket_key){.made_ms = 0};
    tickets.current = fresh;
    return true;
}

/* The key for a new ticket, or for one of that name: 1, 2 when it should be renewed, 0 when there
 * is none. */
static int ticket_key_find(const unsigned char *name, struct ticket_key *out)
{
    int found = 0;

    pthread_mutex_lock(&tickets.lock);
    if (!tickets_rotate(clock_mono_ms() + 1)) {
        found = 0;
    } else if (name == NULL || memcmp(name, tickets.current.name, TICKET_NAME_BYTES) == 0) {
        *out = tickets.current;
        found = 1;
    } else if (tickets.previous.made_ms != 0 &&
               memcmp(name, tickets.previous.name, TICKET_NAME_BYTES) == 0) {
        *out = tickets.previous;
        found = 2;
    }
    pthread_mutex_unlock(&tickets.lock);
    return found;
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int is_new)
{
    struct ticket_key key;
    int found = ticket_key_find(is_new ? NULL : name, &key);
    OSSL_PARAM params[] = {OSSL_PARAM_END, OSSL_PARAM_END, OSSL_PARAM_END};
    char digest[] = "SHA256";

    (void)ssl;
    if (found == 0)
        return is_new ? -1 : 0;
    params[0] = OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key.mac, sizeof(key.mac));
    params[1] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0);
    if (EVP_MAC_CTX_set_params(mac, params) != 1)
        return -1;
    if (is_new) {
        memcpy(name, key.name, TICKET_NAME_BYTES);
        if (RAND_bytes(iv, EVP_MAX_IV_LENGTH) != 1 ||
            EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.cipher, iv) != 1)
            return -1;
    } else if (EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.cipher, iv) != 1) {
        return -1;
    }
    OPENSSL_cleanse(&key, sizeof(key));
    return found;
}

/* ---- which certificate ---- */

static int text_order(const void *a, const void *b)
{
    return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

static int name_order(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    int order = text_order(a, b);

    return order != 0 ? order : (x->rank > y->rank) - (x->rank < y->rank);
}

static const struct tls_cert *find_exactly(const struct tls_set *s, const char *text)
{
    struct name key = {text, NULL, 0}, *at;

    if (s->names_count == 0)
        return NULL;
    at = bsearch(&key, s->names, s->names_count, sizeof(key), text_order);
    return at == NULL ? NULL : at->cert;
}

static const struct tls_cert *find_cert(const struct tls_set *s, const char *sni)
{
    char name[NAME_BYTES_MAX + 2];
    size_t bytes = sni == NULL ? 0 : strlen(sni);
    const struct tls_cert *found;
    const char *dot;

    if (bytes == 0 || bytes > NAME_BYTES_MAX)
        return s->certs[0];
    for (size_t i = 0; i <= bytes; i++)
        name[i] = sni[i] >= 'A' && sni[i] <= 'Z' ? (char)(sni[i] + ('a' - 'A')) : sni[i];
    found = find_exactly(s, name);
    dot = strchr(name, '.');
    if (found == NULL && dot != NULL && dot != name) {
        /* the leftmost label, whole, gives way to '*': never longer than what was there */
        char *wildcard = name + (dot - name) - 1;

        *wildcard = '*';
        found = find_exactly(s, wildcard);
    }
    return found != NULL ? found : s->certs[0];
}

static bool name_covers(struct slice name, struct slice host)
{
    size_t dot = slice_index(host, '.');

    if (slice_eq_nocase(name, host))
        return true;
    return slice_starts_with(name, SLICE("*.")) && dot > 0 && dot < host.n &&
           slice_eq_nocase(slice_from(name, 1), slice_from(host, dot));
}

bool tls_cert_covers(const struct tls_cert *cert, struct slice host)
{
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = slice_head(slice_from(host, 1), host.n - 2);
    for (size_t i = 0; i < cert->names_count; i++)
        if (name_covers(slice_of(cert->names[i]), host))
            return true;
    return false;
}

/* Called for every handshake, with a name or without. */
static int on_servername(SSL *ssl, int *alert, void *set)
{
    const struct tls_cert *cert =
        find_cert(set, SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
    struct conn *c = conn_of_ssl(ssl);

    if (SSL_get_SSL_CTX(ssl) != cert->ctx && SSL_set_SSL_CTX(ssl, cert->ctx) == NULL) {
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    if (c != NULL)
        c->cert = cert;
    return SSL_TLSEXT_ERR_OK;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_bytes,
                   const unsigned char *in, unsigned in_bytes, void *user)
{
    static const unsigned char ours[] = "\x02h2\x08http/1.1\x08http/1.0";
    unsigned char *chosen;

    (void)ssl;
    (void)user;
    if (SSL_select_next_proto(&chosen, out_bytes, ours, sizeof(ours) - 1, in, in_bytes) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/*
 * libh2o throws away what OpenSSL has to say about a handshake that fails, and clients see a
 * connection that ends for no reason.  Until the ServerHello an alert is not encrypted, so it can
 * be sent from here.
 */
static void on_info(const SSL *ssl, int where, int level_and_alert)
{
    unsigned char record[] = {SSL3_RT_ALERT,
                              3,
                              3,
                              0,
                              2,
                              (unsigned char)(level_and_alert >> 8),
                              (unsigned char)level_and_alert};
    struct conn *c = conn_of_ssl(ssl);

    if ((where & SSL_CB_WRITE_ALERT) != SSL_CB_WRITE_ALERT || c == NULL ||
        level_and_alert >> 8 != SSL3_AL_FATAL)
        return;
    if (SSL_get_state(ssl) == TLS_ST_SR_CLNT_HELLO)
        (void)send(h2o_socket_get_fd(c->sock), record, sizeof(record), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* ---- loading ---- */

static void cert_free(struct tls_cert *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->names_count; i++)
        free(c->names[i]);
    free(c->names);
    SSL_CTX_free(c->ctx);
    free(c->file);
    free(c);
}

/* The first complaint of OpenSSL, as text: later ones only say who passed it on.  Its queue is left
 * empty. */
static const char *openssl_reason(void)
{
    unsigned long e = ERR_peek_error();
    const char *text =
        ERR_SYSTEM_ERROR(e) ? strerror(ERR_GET_REASON(e)) : ERR_reason_error_string(e);

    ERR_clear_error();
    return text == NULL ? "unknown error" : text;
}

/* A key with a password would be asked for on the terminal. */
static int no_password(char *buf, int bytes, int is_writing, void *user)
{
    (void)buf;
    (void)bytes;
    (void)is_writing;
    (void)user;
    return -1;
}

static SSL_CTX *context_new(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    if (ctx == NULL)
        return NULL;
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS); /* idle connections cost 32 KiB less */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(ctx, TICKET_LIFE_MS / 1000);
    SSL_CTX_set_default_passwd_cb(ctx, no_password);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    SSL_CTX_set_info_callback(ctx, on_info);
    if (SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1 ||
        SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket) != 1) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

static bool demands_stapling(X509 *x)
{
    TLS_FEATURE *features = X509_get_ext_d2i(x, NID_tlsfeature, NULL, NULL);
    bool found = false;

    for (int i = 0; i < sk_ASN1_INTEGER_num(features); i++)
        found =
            found || ASN1_INTEGER_get(sk_ASN1_INTEGER_value(features, i)) == TLSEXT_STATUS_REQUEST;
    TLS_FEATURE_free(features);
    return found;
}

/* Take over `text` (of malloc); NULL is out of memory. */
static bool add_name(struct tls_cert *c, char *text)
{
    char **names = text == NULL ? NULL : realloc(c->names, (c->names_count + 1) * sizeof(*names));

    if (names == NULL) {
        free(text);
        return false;
    }
    for (char *p = text; *p != '\0'; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p + ('a' - 'A'));
    c->names = names;
    c->names[c->names_count++] = text;
    return true;
}

static char *text_of_string(const ASN1_STRING *s)
{
    size_t bytes = (size_t)ASN1_STRING_length(s);
    const char *p = (const char *)ASN1_STRING_get0_data(s);

    /* a NUL inside would make one name look like another */
    return memchr(p, '\0', bytes) != NULL ? strdup("") : strndup(p, bytes);
}

static char *text_of_address(const ASN1_STRING *s)
{
    char text[INET6_ADDRSTRLEN] = "";
    int family = ASN1_STRING_length(s) == 4 ? AF_INET : AF_INET6;

    if (ASN1_STRING_length(s) == 4 || ASN1_STRING_length(s) == 16)
        (void)inet_ntop(family, ASN1_STRING_get0_data(s), text, sizeof(text));
    return strdup(text);
}

/* Names of the subjectAltName; of a certificate without any, the common name. */
static bool read_names(struct tls_cert *c, X509 *x)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    bool ok = true;

    for (int i = 0; ok && i < sk_GENERAL_NAME_num(all) && i < NAMES_MAX; i++) {
        const GENERAL_NAME *n = sk_GENERAL_NAME_value(all, i);

        if (n->type == GEN_DNS)
            ok = add_name(c, text_of_string(n->d.dNSName));
        else if (n->type == GEN_IPADD)
            ok = add_name(c, text_of_address(n->d.iPAddress));
    }
    if (ok && all == NULL) {
        X509_NAME *subject = X509_get_subject_name(x);
        int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

        if (at >= 0)
            ok = add_name(
                c, text_of_string(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at))));
    }
    GENERAL_NAMES_free(all);
    return ok;
}

/* Who starts us may have reasons, so it is no error; but nobody wants it unknowingly. */
static void look_at_mode(const char *key_file)
{
    struct stat st;

    if (stat(key_file, &st) == 0 && (st.st_mode & S_IROTH) != 0)
        log_warn("%s: every user of this machine can read this private key; chmod o-r it",
                 key_file);
}

static int64_t seconds_of(const ASN1_TIME *t)
{
    struct tm tm;

    return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static enum err load_files(struct tls_cert *c, const char *key_file, struct buf *why)
{
    X509 *x;

    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(c->ctx, c->file) != 1) {
        buf_addf(why,
                 "%s: cannot read a certificate: %s: give a PEM file with the certificate first, "
                 "then its chain",
                 c->file, openssl_reason());
        return ERR_INVALID;
    }
    if (SSL_CTX_use_PrivateKey_file(c->ctx, key_file, SSL_FILETYPE_PEM) != 1) {
        buf_addf(why,
                 "%s: cannot read the private key of %s: %s: give a PEM key without a password "
                 "that belongs to this certificate",
                 key_file, c->file, openssl_reason());
        return ERR_INVALID;
    }
    if (SSL_CTX_check_private_key(c->ctx) != 1) {
        buf_addf(why, "%s: the private key does not belong to the certificate in %s", key_file,
                 c->file);
        ERR_clear_error();
        return ERR_INVALID;
    }
    look_at_mode(key_file);
    x = SSL_CTX_get0_certificate(c->ctx);
    if (demands_stapling(x)) {
        buf_addf(why,
                 "%s: this certificate demands OCSP stapling (must-staple), which public CAs have "
                 "ended: "
                 "have it issued anew without",
                 c->file);
        return ERR_INVALID;
    }
    c->begins_s = seconds_of(X509_get0_notBefore(x));
    c->ends_s = seconds_of(X509_get0_notAfter(x));
    return read_names(c, x) ? ERR_OK : ERR_NOMEM;
}

static enum err cert_new(const char *file, const char *key_file, struct tls_cert **out,
                         struct buf *why)
{
    struct tls_cert *c = calloc(1, sizeof(*c));
    enum err e = ERR_NOMEM;

    if (c == NULL)
        return ERR_NOMEM;
    c->file = strdup(file);
    c->ctx = context_new();
    if (c->file != NULL && c->ctx != NULL)
        e = load_files(c, key_file, why);
    if (e != ERR_OK) {
        cert_free(c);
        return e;
    }
    *out = c;
    return ERR_OK;
}

static enum err add_cert(struct tls_set *s, const char *file, const char *key_file, struct buf *why)
{
    struct tls_cert **certs = realloc(s->certs, (s->certs_count + 1) * sizeof(struct tls_cert *));
    enum err e;

    if (certs == NULL)
        return ERR_NOMEM;
    s->certs = certs;
    e = cert_new(file, key_file, &s->certs[s->certs_count], why);
    if (e == ERR_OK)
        s->certs_count++;
    return e;
}

static bool ends_with(const char *name, const char *suffix)
{
    return slice_ends_with(slice_of(name), slice_of(suffix));
}

static int is_certificate(const struct dirent *d)
{
    return d->d_name[0] != '.' && (ends_with(d->d_name, ".pem") || ends_with(d->d_name, ".crt"));
}

static enum err add_file_of_dir(struct tls_set *s, const char *dir, const char *name,
                                struct buf *why)
{
    char *file = NULL, *key_file = NULL;
    size_t stem = strlen(name) - 4;
    enum err e = ERR_NOMEM;

    if (asprintf(&file, "%s/%s", dir, name) < 0)
        return ERR_NOMEM;
    if (ends_with(name, ".pem"))
        key_file = strdup(file);
    else if (asprintf(&key_file, "%s/%.*s.key", dir, (int)stem, name) < 0)
        key_file = NULL;
    if (key_file != NULL)
        e = add_cert(s, file, key_file, why);
    free(file);
    free(key_file);
    return e;
}

static enum err load_dir(struct tls_set *s, const char *dir, struct buf *why)
{
    struct dirent **entries;
    int count = scandir(dir, &entries, is_certificate, alphasort);
    enum err e = ERR_OK;

    if (count < 0) {
        buf_addf(why, "%s: cannot read the directory of certificates: %s", dir, strerror(errno));
        return ERR_INVALID;
    }
    if (count == 0 || count > CERTS_MAX) {
        buf_addf(why, "%s: %s: put NAME.pem (chain and key), or NAME.crt and NAME.key, there", dir,
                 count == 0 ? "no certificate in this directory" : "too many certificates");
        e = ERR_INVALID;
    }
    for (int i = 0; i < count; i++) {
        if (e == ERR_OK)
            e = add_file_of_dir(s, dir, entries[i]->d_name, why);
        free(entries[i]);
    }
    free(entries);
    return e;
}

static enum err index_names(struct tls_set *s)
{
    size_t total = 0, kept = 0;

    for (size_t i = 0; i < s->certs_count; i++)
        total += s->certs[i]->names_count;
    s->names = calloc(total + 1, sizeof(*s->names));
    if (s->names == NULL)
        return ERR_NOMEM;
    total = 0;
    for (size_t i = 0; i < s->certs_count; i++)
        for (size_t n = 0; n < s->certs[i]->names_count; n++)
            s->names[total++] = (struct name){s->certs[i]->names[n], s->certs[i], i};
    qsort(s->names, total, sizeof(*s->names), name_order);
    /* of several certificates with one name the first by file name keeps it */
    for (size_t i = 0; i < total; i++)
        if (kept == 0 || strcmp(s->names[kept - 1].text, s->names[i].text) != 0)
            s->names[kept++] = s->names[i];
    s->names_count = kept;
    return ERR_OK;
}

static enum err load_set(struct tls_set *s, const struct config_listen *l, struct buf *why)
{
    struct stat st;
    enum err e;

    s->address = strdup(l->address);
    if (s->address == NULL)
        return ERR_NOMEM;
    if (stat(l->certificates, &st) != 0) {
        buf_addf(why, "%s: cannot read the certificates of %s: %s", l->certificates, l->address,
                 strerror(errno));
        return ERR_INVALID;
    }
    e = S_ISDIR(st.st_mode) ? load_dir(s, l->certificates, why)
                            : add_cert(s, l->certificates, l->certificates, why);
    if (e == ERR_OK)
        e = index_names(s);
    for (size_t i = 0; e == ERR_OK && i < s->certs_count; i++) {
        SSL_CTX_set_tlsext_servername_callback(s->certs[i]->ctx, on_servername);
        SSL_CTX_set_tlsext_servername_arg(s->certs[i]->ctx, s);
    }
    return e;
}

enum err tls_require_peers(struct tls *t, const char *address, const char *ca_file, struct buf *why)
{
    enum err e = ERR_OK;

    for (size_t i = 0; i < t->sets_count; i++) {
        struct tls_set *s = &t->sets[i];

        if (strcmp(s->address, address) != 0)
            continue;
        s->is_for_peers = true;
        for (size_t n = 0; n < s->certs_count && e == ERR_OK; n++)
            e = peer_require(s->certs[n]->ctx, ca_file, why);
    }
    return e;
}

/* Most are renewed with a third of their life left. */
static void tell_end(const struct tls_cert *c, int64_t now_s)
{
    int64_t left_s = c->ends_s - now_s;

    if (left_s < 0)
        log_warn("%s: this certificate has expired, and clients refuse it: renew it, then reload",
                 c->file);
    else if (c->begins_s > now_s)
        log_warn("%s: this certificate is not valid yet: is the clock right?", c->file);
    else if (left_s < (c->ends_s - c->begins_s) / END_IS_NEAR_PART)
        log_warn("%s: this certificate expires in %lld days: renew it, then reload", c->file,
                 (long long)(left_s / 86400));
}

/* Has a listener before it the same files? */
static bool is_told(const struct tls *t, size_t set, const char *file)
{
    for (size_t i = 0; i < set; i++)
        for (size_t n = 0; n < t->sets[i].certs_count; n++)
            if (!t->sets[i].is_for_peers && strcmp(t->sets[i].certs[n]->file, file) == 0)
                return true;
    return false;
}

int64_t tls_watch(const struct tls *t, int64_t now_s)
{
    int64_t first_s = 0;

    for (size_t i = 0; t != NULL && i < t->sets_count; i++)
        for (size_t n = 0; !t->sets[i].is_for_peers && n < t->sets[i].certs_count; n++) {
            const struct tls_cert *c = t->sets[i].certs[n];

            if (!is_told(t, i, c->file))
                tell_end(c, now_s);
            if (first_s == 0 || c->ends_s < first_s)
                first_s = c->ends_s;
        }
    return first_s;
}

enum err tls_new(const struct config_listen *listen, size_t count, struct tls **out,
                 struct buf *why)
{
    struct tls *t = calloc(1, sizeof(*t));
    enum err e = ERR_OK;

    if (t == NULL)
        return ERR_NOMEM;
    t->sets = calloc(count + 1, sizeof(*t->sets));
    if (t->sets == NULL)
        e = ERR_NOMEM;
    for (size_t i = 0; e == ERR_OK && i < count; i++)
        if (listen[i].certificates != NULL)
            e = load_set(&t->sets[t->sets_count++], &listen[i], why);
    if (e == ERR_OK)
        *out = t;
    else
        tls_free(t);
    return e;
}

void tls_free(struct tls *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->sets_count; i++) {
        struct tls_set *s = &t->sets[i];

        for (size_t n = 0; n < s->certs_count; n++)
            cert_free(s->certs[n]);
        free(s->certs);
        free(s->names);
        free(s->address);
    }
    free(t->sets);
    free(t);
}

SSL_CTX *tls_context(const struct tls *t, const char *address)
{
    for (size_t i = 0; t != NULL && i < t->sets_count; i++)
        if (strcmp(t->sets[i].address, address) == 0)
            return t->sets[i].certs[0]->ctx;
    return NULL;
}
