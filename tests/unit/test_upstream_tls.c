/* TLS to the origin: verified, by the right name, with the right trust. */
#include "upstream_world.h"

#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

static char dir[] = "/tmp/selvage-upstream-XXXXXX";
static char cert[64], key[64], other[64], other_key[64], expired[64], expired_key[64], early[64],
    early_key[64];

/* A certificate that signed itself, valid from now + `from_s` to now + `until_s`. */
static void write_certificate(const char *cert_path, const char *key_path, long from_s,
                              long until_s)
{
    EVP_PKEY *k = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509_NAME *subject = X509_get_subject_name(x);
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name,
                                                "DNS:www.example.com,DNS:*.shop.example");
    FILE *f;

    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), from_s);
    X509_gmtime_adj(X509_getm_notAfter(x), until_s);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)cert_path, -1,
                               -1, 0);
    X509_set_issuer_name(x, subject);
    X509_set_pubkey(x, k);
    X509_add_ext(x, names, -1);
    X509_sign(x, k, EVP_sha256());
    f = fopen(cert_path, "w");
    assert_non_null(f);
    PEM_write_X509(f, x);
    fclose(f);
    f = fopen(key_path, "w");
    assert_non_null(f);
    PEM_write_PrivateKey(f, k, NULL, NULL, 0, NULL, NULL);
    fclose(f);
    X509_EXTENSION_free(names);
    X509_free(x);
    EVP_PKEY_free(k);
}

static int setup(void **state)
{
    (void)state;
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(cert, sizeof(cert), "%s/cert.pem", dir);
    snprintf(key, sizeof(key), "%s/key.pem", dir);
    snprintf(other, sizeof(other), "%s/other.pem", dir);
    snprintf(other_key, sizeof(other_key), "%s/other-key.pem", dir);
    snprintf(expired, sizeof(expired), "%s/expired.pem", dir);
    snprintf(expired_key, sizeof(expired_key), "%s/expired-key.pem", dir);
    snprintf(early, sizeof(early), "%s/early.pem", dir);
    snprintf(early_key, sizeof(early_key), "%s/early-key.pem", dir);
    write_certificate(cert, key, -3600, 3600);
    write_certificate(other, other_key, -3600, 3600);
    write_certificate(expired, expired_key, -7200, -3600);
    write_certificate(early, early_key, 3600, 7200);
    return 0;
}

static int teardown(void **state)
{
    const char *const all[] = {cert, key, other, other_key, expired, expired_key, early, early_key};

    (void)state;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        unlink(all[i]);
    return rmdir(dir);
}

/* Answers with the name that the client has asked for in TLS. */
static void serve_sni(struct origin_conn *c, void *user)
{
    char text[400];

    (void)user;
    while (origin_read(c)) {
        snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
                 strlen(origin_sni(c)), origin_sni(c));
        origin_say(c, text);
    }
}

static void tls_start(const char *cert_path, const char *key_path, const char *ca)
{
    world_start(NULL, NULL);
    world.origin = origin_start(serve_sni, NULL, cert_path, key_path);
    world.servers[0] = origin_url(world.origin);
    world.opt.ca = ca;
}

static void test_a_verified_origin_answers(void **state)
{
    struct client c = {0};

    (void)state;
    tls_start(cert, key, cert);
    ask(&c, get_request("/a?b"));
    must_be(&c, UPSTREAM_OK);
    must_have_body(&c, "www.example.com"); /* the Host is the name asked for */
    assert_string_equal(origin_request(world.origin, 0),
                        "GET /a?b HTTP/1.1\r\nHost: www.example.com\r\n\r\n");
    client_release(&c);
    world_stop();
}

static void test_the_port_of_host_is_no_name(void **state)
{
    struct upstream_request rq = get_request("/");
    struct client c = {0};

    (void)state;
    tls_start(cert, key, cert);
    rq.host = SLICE("www.example.com:8443");
    ask(&c, rq);
    must_be(&c, UPSTREAM_OK);
    must_have_body(&c, "www.example.com");
    assert_string_equal(origin_request(world.origin, 0),
                        "GET / HTTP/1.1\r\nHost: www.example.com:8443\r\n\r\n");
    client_release(&c);
    world_stop();
}

static void test_sni_may_differ_from_host(void **state)
{
    struct upstream_request rq = get_request("/");
    struct client c = {0};

    (void)state;
    tls_start(cert, key, cert);
    world.opt.sni = "a.shop.example";
    rq.host = SLICE("public.example.net");
    ask(&c, rq);
    must_be(&c, UPSTREAM_OK);
    must_have_body(&c, "a.shop.example");
    assert_string_equal(origin_request(world.origin, 0),
                        "GET / HTTP/1.1\r\nHost: public.example.net\r\n\r\n");
    client_release(&c);
    world_stop();
}

static void must_not_trust(const char *cert_path, const char *key_path, const char *ca,
                           const char *host)
{
    struct upstream_request rq = get_request("/");
    struct client c = {0};

    tls_start(cert_path, key_path, ca);
    rq.host = slice_of(host);
    ask(&c, rq);
    must_be(&c, UPSTREAM_FAILED_TLS);
    assert_false(c.has_head);
    client_release(&c);
    assert_int_equal(origin_requests(world.origin), 0); /* not a byte of the request */
    world_stop();
}

static void test_what_cannot_be_verified_is_told_nothing(void **state)
{
    (void)state;
    must_not_trust(cert, key, cert, "other.example.com");
    must_not_trust(cert, key, cert, "example.com");
    must_not_trust(cert, key, cert, "a.b.shop.example");
    must_not_trust(cert, key, cert, "127.0.0.1");
    must_not_trust(expired, expired_key, expired, "www.example.com");
    must_not_trust(early, early_key, early, "www.example.com");
    must_not_trust(cert, key, other, "www.example.com"); /* an authority of ours, but another one */
    must_not_trust(cert, key, NULL, "www.example.com");  /* the system's */
}

static void test_no_verification_only_when_asked_for(void **state)
{
    struct upstream_request rq = get_request("/");
    struct upstream_target *strict;
    struct client c = {0}, again = {0};

    (void)state;
    tls_start(expired, expired_key, NULL);
    world.opt.verify = false;
    rq.host = SLICE("whoever.example");
    ask(&c, rq);
    must_be(&c, UPSTREAM_OK);
    must_have_body(&c, "whoever.example");
    /* and its idle connection is not for a target that verifies */
    world.opt.verify = true;
    assert_int_equal(upstream_target_new(&world.opt, &strict), ERR_OK);
    rq.target = strict;
    ask(&again, rq);
    must_be(&again, UPSTREAM_FAILED_TLS);
    assert_int_equal(origin_requests(world.origin), 1);
    client_release(&c);
    client_release(&again);
    upstream_target_unref(strict);
    world_stop();
}

/* Nor is the connection of one name for another. */
static void test_connections_are_kept_by_name(void **state)
{
    static const char *const hosts[] = {"www.example.com", "a.shop.example", "www.example.com",
                                        "b.shop.example", "a.shop.example"};

    (void)state;
    tls_start(cert, key, cert);
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        struct upstream_request rq = get_request("/");
        struct client c = {0};

        rq.host = slice_of(hosts[i]);
        ask(&c, rq);
        must_be(&c, UPSTREAM_OK);
        must_have_body(&c, hosts[i]);
        client_release(&c);
    }
    assert_int_equal(origin_connections(world.origin), 3);
    world_stop();
}

static void serve_garbage(struct origin_conn *c, void *user)
{
    (void)user;
    origin_say(c, "SSH-2.0-OpenSSH_9.2\r\n");
    origin_wait_end(c);
}

static void test_an_origin_that_speaks_no_tls(void **state)
{
    struct client c = {0};
    char url[64];

    (void)state;
    world_start(serve_garbage, NULL);
    snprintf(url, sizeof(url), "https://127.0.0.1:%d", origin_port(world.origin));
    world.servers[0] = url;
    ask(&c, get_request("/"));
    must_be(&c, UPSTREAM_FAILED_TLS);
    client_release(&c);
    world_stop();
}

static void serve_silence(struct origin_conn *c, void *user)
{
    (void)user;
    origin_wait_end(c);
}

static void test_a_handshake_that_hangs(void **state)
{
    struct client c = {0};
    char url[64];

    (void)state;
    world_start(serve_silence, NULL);
    snprintf(url, sizeof(url), "https://127.0.0.1:%d", origin_port(world.origin));
    world.servers[0] = url;
    world.opt.connect_ms = 200;
    ask(&c, get_request("/"));
    must_be(&c, UPSTREAM_FAILED_CONNECT_TIME);
    client_release(&c);
    world_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_verified_origin_answers),
        cmocka_unit_test(test_the_port_of_host_is_no_name),
        cmocka_unit_test(test_sni_may_differ_from_host),
        cmocka_unit_test(test_what_cannot_be_verified_is_told_nothing),
        cmocka_unit_test(test_no_verification_only_when_asked_for),
        cmocka_unit_test(test_connections_are_kept_by_name),
        cmocka_unit_test(test_an_origin_that_speaks_no_tls),
        cmocka_unit_test(test_a_handshake_that_hangs),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
