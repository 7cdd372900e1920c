/* Certificates for tests: made here, signed by themselves, written as PEM files. */
#ifndef TESTS_SERVER_CERTS_H
#define TESTS_SERVER_CERTS_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static char certs_dir[] = "/tmp/selvage-server-XXXXXX";

static inline const char *certs_path(const char *name)
{
    static char path[4][300];
    static unsigned turn;
    char *p = path[turn++ % 4];

    snprintf(p, sizeof(path[0]), "%s/%s", certs_dir, name);
    return p;
}

static inline void certs_extend(X509 *x, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *e;

    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
}

/*
 * Write the certificate to `cert` and its key to `key`; equal names: both into one file.
 *
 *   names   "DNS:a.test,DNS:*.b.test,IP:127.0.0.1"; NULL: only the common name a.test
 */
static inline void certs_write(const char *cert, const char *key, const char *names,
                               bool must_staple)
{
    EVP_PKEY *k = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509_NAME *subject = X509_get_subject_name(x);
    FILE *f;

    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)"a.test", -1, -1,
                               0);
    X509_set_issuer_name(x, subject);
    X509_set_pubkey(x, k);
    if (names != NULL)
        certs_extend(x, NID_subject_alt_name, names);
    if (must_staple)
        certs_extend(x, NID_tlsfeature, "status_request");
    X509_sign(x, k, EVP_sha256());
    f = fopen(cert, "w");
    PEM_write_X509(f, x);
    fclose(f);
    f = fopen(key, strcmp(cert, key) == 0 ? "a" : "w");
    PEM_write_PrivateKey(f, k, NULL, NULL, 0, NULL, NULL);
    fclose(f);
    X509_free(x);
    EVP_PKEY_free(k);
}

static inline int certs_setup(void **state)
{
    (void)state;
    return mkdtemp(certs_dir) == NULL;
}

static inline int certs_teardown(void **state)
{
    char command[400];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", certs_dir);
    return system(command);
}

#endif
