#include "server/tls.h"

#include <openssl/err.h>

#include "server_h2.h"

/* ---- loading ---- */

static enum err load(const char *path, struct tls **out, char *why_text, size_t bytes)
{
    struct config_listen listen = {.address = (char *)(uintptr_t) "127.0.0.1:443",
                                   .certificates = (char *)(uintptr_t)path};
    struct buf why;
    enum err e;

    buf_init(&why, 4000);
    e = tls_new(&listen, 1, out, &why);
    snprintf(why_text, bytes, "%.*s", (int)why.n, why.n > 0 ? why.p : "");
    buf_release(&why);
    return e;
}

static void assert_refused(const char *path, const char *names_file, const char *says)
{
    struct tls *t;
    char why[4000];

    assert_int_equal(load(path, &t, why, sizeof(why)), ERR_INVALID);
    if (strstr(why, names_file) == NULL || strstr(why, says) == NULL || strchr(why, '\n') != NULL)
        fail_msg("%s", why);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    fputs(text, f);
    fclose(f);
}

static void test_what_is_wrong_with_a_certificate_is_said_with_its_file(void **state)
{
    char dir[300];

    (void)state;
    snprintf(dir, sizeof(dir), "%s", certs_path("bad"));
    assert_refused(certs_path("missing.pem"), "missing.pem", "No such file");
    write_file(certs_path("junk.pem"), "no certificate");
    assert_refused(certs_path("junk.pem"), "junk.pem", "cannot read a certificate");
    certs_write(certs_path("only.pem"), certs_path("only.key"), "DNS:a", false);
    assert_refused(certs_path("only.pem"), "only.pem", "cannot read the private key");
    certs_write(certs_path("staple.pem"), certs_path("staple.pem"), "DNS:a", true);
    assert_refused(certs_path("staple.pem"), "staple.pem", "must-staple");

    mkdir(dir, 0700);
    assert_refused(dir, "bad", "no certificate in this directory");
    certs_write(certs_path("bad/x.crt"), certs_path("other.key"), "DNS:a", false);
    assert_refused(dir, "bad/x.key", "No such file");
    certs_write(certs_path("other.crt"), certs_path("bad/x.key"), "DNS:a", false);
    assert_refused(dir, "bad/x.key", "key values mismatch");
}

static void test_a_key_with_a_password_is_refused_and_nobody_is_asked(void **state)
{
    EVP_PKEY *k = EVP_EC_gen("P-256");
    FILE *f;
    char password[] = "secret";

    (void)state;
    certs_write(certs_path("locked.pem"), certs_path("locked.key"), "DNS:a", false);
    f = fopen(certs_path("locked.pem"), "a");
    PEM_write_PKCS8PrivateKey(f, k, EVP_aes_128_cbc(), password, 6, NULL, NULL);
    fclose(f);
    EVP_PKEY_free(k);
    assert_refused(certs_path("locked.pem"), "locked.pem", "without a password");
}

/* ---- choosing: through real handshakes ---- */

struct seen {
    bool ok;
    char subject[300]; /* the certificate's names, as far as it matters: its file's SAN text */
    char alpn[20], version[20];
    bool is_resumed;
    unsigned long error;
};

static SSL_SESSION *kept;

static int keep_session(SSL *ssl, SSL_SESSION *s)
{
    (void)ssl;
    SSL_SESSION_free(kept);
    kept = s;
    return 1;
}

static void first_name(X509 *x, char *out, size_t bytes)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);

    snprintf(out, bytes, "none");
    if (sk_GENERAL_NAME_num(names) > 0 && sk_GENERAL_NAME_value(names, 0)->type == GEN_DNS)
        snprintf(out, bytes, "%s",
                 (const char *)ASN1_STRING_get0_data(sk_GENERAL_NAME_value(names, 0)->d.dNSName));
    GENERAL_NAMES_free(names);
}

struct wish {
    const char *sni, *alpn; /* alpn: in wire form */
    int max_version;
    const char *ciphers;
    SSL_SESSION *session;
};

static void shake(const struct wish *w, struct seen *s)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl;
    int fd = client_connect(1);
    char answer[4000] = "";
    const unsigned char *alpn;
    unsigned alpn_bytes;

    memset(s, 0, sizeof(*s));
    ERR_clear_error();
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, keep_session);
    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
    if (w->max_version != 0)
        SSL_CTX_set_max_proto_version(ctx, w->max_version);
    if (w->ciphers != NULL)
        SSL_CTX_set_cipher_list(ctx, w->ciphers);
    ssl = SSL_new(ctx);
    SSL_set_fd(ssl, fd);
    if (w->sni != NULL)
        SSL_set_tlsext_host_name(ssl, w->sni);
    if (w->alpn != NULL)
        SSL_set_alpn_protos(ssl, (const unsigned char *)w->alpn, (unsigned)strlen(w->alpn));
    if (w->session != NULL)
        SSL_set_session(ssl, w->session);
    s->ok = SSL_connect(ssl) == 1;
    s->error = ERR_peek_last_error();
    if (s->ok) {
        first_name(SSL_get0_peer_certificate(ssl), s->subject, sizeof(s->subject));
        SSL_get0_alpn_selected(ssl, &alpn, &alpn_bytes);
        snprintf(s->alpn, sizeof(s->alpn), "%.*s", (int)alpn_bytes,
                 alpn_bytes > 0 ? (const char *)alpn : "");
        snprintf(s->version, sizeof(s->version), "%s", SSL_get_version(ssl));
        s->is_resumed = SSL_session_reused(ssl) == 1;
        if (strcmp(s->alpn, "h2") != 0) {
            SSL_write(ssl, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 46);
            for (int n = 0, r; (r = SSL_read(ssl, answer + n, (int)sizeof(answer) - 1 - n)) > 0;)
                n += r;
            assert_non_null(strstr(answer, "\r\n\r\nok"));
        }
    }
    SSL_set_shutdown(ssl,
                     SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* or the session is thrown away */
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(fd);
}

static void start_with_directory(void)
{
    mkdir(certs_path("tls"), 0700);
    certs_write(certs_path("tls/1.pem"), certs_path("tls/1.pem"), "DNS:first.test,IP:127.0.0.1",
                false);
    certs_write(certs_path("tls/2.crt"), certs_path("tls/2.key"), "DNS:exact.wild.test", false);
    certs_write(certs_path("tls/3.pem"), certs_path("tls/3.pem"), "DNS:*.wild.test", false);
    certs_write(certs_path("tls/4.pem"), certs_path("tls/4.pem"), "DNS:late.test,DNS:first.test",
                false);
    world_start(certs_path("tls"));
}

static void test_the_name_that_is_asked_for_chooses_the_certificate(void **state)
{
    static const struct {
        const char *sni, *first_name;
    } cases[] = {
        {"first.test", "first.test"},
        {"FIRST.test", "first.test"},
        {"exact.wild.test", "exact.wild.test"},
        {"other.wild.test", "*.wild.test"},
        {"two.deep.wild.test", "first.test"},
        {"wild.test", "first.test"},
        {"late.test", "late.test"},
        {"unknown.test", "first.test"},
        {NULL, "first.test"},
    };
    struct seen s;

    (void)state;
    start_with_directory();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct wish w = {.sni = cases[i].sni};

        shake(&w, &s);
        assert_true(s.ok);
        assert_string_equal(s.subject, cases[i].first_name);
    }
    world_end();
}

static void test_alpn_is_agreed_or_the_handshake_ends(void **state)
{
    struct seen s;

    (void)state;
    start_with_directory();
    shake(&(struct wish){.alpn = "\x02h2\x08http/1.1"}, &s);
    assert_string_equal(s.alpn, "h2");
    shake(&(struct wish){.alpn = "\x08http/1.1"}, &s);
    assert_string_equal(s.alpn, "http/1.1");
    shake(&(struct wish){.alpn = NULL}, &s);
    assert_true(s.ok);
    shake(&(struct wish){.alpn = "\x03"
                                 "foo"},
          &s);
    assert_false(s.ok);
    assert_int_equal(ERR_GET_REASON(s.error),
                     SSL_AD_REASON_OFFSET + SSL_AD_NO_APPLICATION_PROTOCOL);
    world_end();
}

static void test_only_tls_12_with_ecdhe_and_aead_and_tls_13(void **state)
{
    struct seen s;

    (void)state;
    start_with_directory();
    shake(&(struct wish){.max_version = 0}, &s);
    assert_string_equal(s.version, "TLSv1.3");
    shake(&(struct wish){.max_version = TLS1_2_VERSION}, &s);
    assert_string_equal(s.version, "TLSv1.2");
    shake(&(struct wish){.max_version = TLS1_1_VERSION}, &s);
    assert_false(s.ok);
    shake(&(struct wish){.max_version = TLS1_2_VERSION, .ciphers = "ECDHE-ECDSA-AES128-SHA256"},
          &s);
    assert_false(s.ok);
    world_end();
}

static void test_sessions_are_resumed_also_after_a_reload(void **state)
{
    struct seen s;
    struct snapshot *fresh;
    struct buf why;

    (void)state;
    start_with_directory();
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        shake(&(struct wish){.sni = "late.test", .max_version = version}, &s);
        assert_false(s.is_resumed);
        buf_init(&why, 1000);
        assert_int_equal(snapshot_new(&world.config, &fresh, &why), ERR_OK);
        assert_int_equal(worker_use(&world.worker, fresh), ERR_OK);
        snapshot_unref(fresh);
        buf_release(&why);
        shake(&(struct wish){.sni = "late.test", .max_version = version, .session = kept}, &s);
        assert_true(s.is_resumed);
        assert_string_equal(s.subject, "late.test");
    }
    SSL_SESSION_free(kept);
    kept = NULL;
    world_end();
}

static void test_a_reload_brings_the_new_certificate(void **state)
{
    struct seen s;
    struct snapshot *fresh;
    struct buf why;
    struct wish w = {.sni = "first.test"};

    (void)state;
    start_with_directory();
    certs_write(certs_path("tls/0.pem"), certs_path("tls/0.pem"), "DNS:renewed.test,DNS:first.test",
                false);
    buf_init(&why, 1000);
    assert_int_equal(snapshot_new(&world.config, &fresh, &why), ERR_OK);
    assert_int_equal(worker_use(&world.worker, fresh), ERR_OK);
    snapshot_unref(fresh);
    buf_release(&why);
    do /* in force from the worker's next turn on */
        shake(&w, &s);
    while (strcmp(s.subject, "renewed.test") != 0);
    unlink(certs_path("tls/0.pem"));
    world_end();
}

static void test_a_certificate_covers_its_names_only(void **state)
{
    static const struct {
        const char *host;
        bool covered;
    } cases[] = {
        {"a.test", true},        {"A.TEST", true},      {"x.b.test", true},  {"b.test", false},
        {"x.y.b.test", false},   {".b.test", false},    {"127.0.0.1", true}, {"127.0.0.2", false},
        {"[2001:db8::1]", true}, {"other.test", false}, {"", false},
    };
    struct h2 h;
    struct h2_block b;
    struct h2_answer a;

    (void)state;
    certs_write(certs_path("c.pem"), certs_path("c.pem"),
                "DNS:a.test,DNS:*.b.test,IP:127.0.0.1,IP:2001:db8::1", false);
    world_start(certs_path("c.pem"));
    h2_open(&h, 1, "a.test");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char path[100];

        snprintf(path, sizeof(path), "/covers?%s", cases[i].host);
        h2_request(&b, "GET", path);
        h2_wait(&h, h2_ask(&h, &b, H2_END_STREAM), &a);
        if (strcmp(a.body, cases[i].covered ? "yes" : "no") != 0)
            fail_msg("%s: %s", cases[i].host, a.body);
    }
    h2_close(&h);
    world_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_wrong_with_a_certificate_is_said_with_its_file),
        cmocka_unit_test(test_a_key_with_a_password_is_refused_and_nobody_is_asked),
        cmocka_unit_test(test_the_name_that_is_asked_for_chooses_the_certificate),
        cmocka_unit_test(test_alpn_is_agreed_or_the_handshake_ends),
        cmocka_unit_test(test_only_tls_12_with_ecdhe_and_aead_and_tls_13),
        cmocka_unit_test(test_sessions_are_resumed_also_after_a_reload),
        cmocka_unit_test(test_a_reload_brings_the_new_certificate),
        cmocka_unit_test(test_a_certificate_covers_its_names_only),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, certs_setup, certs_teardown);
}
