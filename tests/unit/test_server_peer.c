/* Unit tests of peers: what a certificate says of its node, and what becomes of it. */
#include "server/peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

/*
 * A certificate with that common name, serial number (hex) and subjectAltName.
 *
 *   names   NULL: none
 */
static X509 *certificate(const char *name, int name_bytes, const char *serial, const char *names)
{
    X509 *x = X509_new();
    BIGNUM *n = NULL;

    assert_non_null(x);
    assert_true(BN_hex2bn(&n, serial) > 0);
    assert_non_null(BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)));
    BN_free(n);
    if (name != NULL)
        assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                                                    (const unsigned char *)name, name_bytes, -1, 0),
                         1);
    if (names != NULL) {
        X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);

        assert_non_null(e);
        assert_int_equal(X509_add_ext(x, e, -1), 1);
        X509_EXTENSION_free(e);
    }
    return x;
}

static struct peer *peer_with(const char *name, int name_bytes, const char *serial,
                              const char *names, int result)
{
    X509 *x = certificate(name, name_bytes, serial, names);
    struct peer *p = peer_new(x, result);

    assert_non_null(p);
    X509_free(x);
    return p;
}

static void test_a_certificate_names_node_region_and_sites(void **state)
{
    struct peer *p = peer_with("edge-fra1", -1, "0AB0",
                               "DNS:edge-fra1,URI:urn:selvage:region:fra,"
                               "URI:urn:selvage:site:www,URI:urn:other:site:no,"
                               "URI:urn:selvage:site:shop,IP:10.0.0.1",
                               X509_V_OK);

    (void)state;
    assert_int_equal(p->verdict, PEER_ACCEPTED);
    assert_string_equal(p->name, "edge-fra1");
    assert_string_equal(p->serial, "ab0");
    assert_string_equal(p->region, "fra");
    assert_int_equal(p->sites_count, 2);
    assert_true(peer_may_ask_for(p, "www"));
    assert_true(peer_may_ask_for(p, "shop"));
    assert_false(peer_may_ask_for(p, "ww"));
    assert_false(peer_may_ask_for(p, "www2"));
    assert_false(peer_may_ask_for(p, "no"));
    peer_free(p);
}

static void test_one_that_names_no_sites_is_good_for_all(void **state)
{
    struct peer *p = peer_with("a", -1, "1", "DNS:a", X509_V_OK);

    (void)state;
    assert_true(peer_may_ask_for(p, "www"));
    assert_null(p->region);
    peer_free(p);
}

static void test_the_judgement_of_the_chain_is_kept(void **state)
{
    static const struct {
        int result;
        enum peer_verdict verdict;
    } cases[] = {
        {X509_V_OK, PEER_ACCEPTED},
        {X509_V_ERR_CERT_HAS_EXPIRED, PEER_EXPIRED},
        {X509_V_ERR_CERT_NOT_YET_VALID, PEER_EXPIRED},
        {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, PEER_FOREIGN},
        {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, PEER_FOREIGN},
        {X509_V_ERR_INVALID_PURPOSE, PEER_FOREIGN},
        {X509_V_ERR_CERT_SIGNATURE_FAILURE, PEER_FOREIGN},
        {X509_V_ERR_UNSPECIFIED, PEER_FOREIGN},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct peer *p = peer_with("a", -1, "1", NULL, cases[i].result);

        assert_int_equal(p->verdict, cases[i].verdict);
        peer_free(p);
    }
}

static void test_a_name_with_a_nul_or_without_end_is_none(void **state)
{
    char longest[PEER_NAME_BYTES]; /* X.509 allows no more */
    struct peer *p;

    (void)state;
    p = peer_with("edge1\0.evil", 11, "1", NULL, X509_V_OK);
    assert_string_equal(p->name, "");
    peer_free(p);
    p = peer_with(NULL, 0, "1", NULL, X509_V_OK);
    assert_string_equal(p->name, "");
    peer_free(p);
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    p = peer_with(longest, -1, "1", NULL, X509_V_OK);
    assert_string_equal(p->name, longest);
    peer_free(p);
}

static void test_what_goes_into_logs_cannot_forge_lines(void **state)
{
    struct peer *p = peer_with("a\nb\x1b[2J", -1, "1", NULL, X509_V_OK);

    (void)state;
    assert_string_equal(p->name, "a?b?[2J");
    peer_free(p);
}

static void test_revoked_by_name_or_by_number(void **state)
{
    char name[] = "edge1", serial[] = "ab0";
    struct config_revoked by_name = {.name = name}, by_serial = {.serial = serial};
    struct config_peer names = {.revoked = &by_name, .revoked_count = 1},
                       serials = {.revoked = &by_serial, .revoked_count = 1}, none = {0};
    struct peer *p = peer_with("edge1", -1, "AB0", NULL, X509_V_OK);
    struct peer *anew = peer_with("edge1", -1, "AB1", NULL, X509_V_OK);
    struct peer *other = peer_with("edge11", -1, "AB00", NULL, X509_V_OK);
    struct peer *named_so = peer_with("ab0", -1, "1", NULL, X509_V_OK);

    (void)state;
    assert_false(peer_is_revoked(p, &none));
    assert_true(peer_is_revoked(p, &names));
    assert_true(peer_is_revoked(anew, &names));
    assert_false(peer_is_revoked(other, &names));
    assert_true(peer_is_revoked(p, &serials));
    assert_false(peer_is_revoked(anew, &serials));
    assert_false(peer_is_revoked(other, &serials));
    assert_false(peer_is_revoked(named_so, &serials));
    peer_free(p);
    peer_free(anew);
    peer_free(other);
    peer_free(named_so);
}

static void test_each_refusal_has_a_word_and_a_sentence(void **state)
{
    (void)state;
    for (int v = PEER_NO_CERTIFICATE; v <= PEER_OTHER_SITE; v++) {
        const char *text = peer_verdict_text((enum peer_verdict)v);

        assert_int_equal(strncmp(peer_verdict_token((enum peer_verdict)v), "peer-", 5), 0);
        assert_true(strlen(text) > 20 && text[strlen(text) - 1] == '\n');
    }
}

static void test_a_file_that_holds_no_ca_is_told(void **state)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    char path[] = "/tmp/peer-test-XXXXXX";
    int fd = mkstemp(path);
    struct buf why;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "no certificate\n", 15), 15);
    close(fd);
    buf_init(&why, 4000);
    assert_int_equal(peer_require(ctx, path, &why), ERR_INVALID);
    buf_add_char(&why, '\0');
    assert_non_null(strstr(why.p, path));
    assert_non_null(strstr(why.p, "selvage pki init"));
    why.n = 0;
    unlink(path);
    assert_int_equal(peer_require(ctx, path, &why), ERR_INVALID);
    buf_release(&why);
    SSL_CTX_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_certificate_names_node_region_and_sites),
        cmocka_unit_test(test_one_that_names_no_sites_is_good_for_all),
        cmocka_unit_test(test_the_judgement_of_the_chain_is_kept),
        cmocka_unit_test(test_a_name_with_a_nul_or_without_end_is_none),
        cmocka_unit_test(test_what_goes_into_logs_cannot_forge_lines),
        cmocka_unit_test(test_revoked_by_name_or_by_number),
        cmocka_unit_test(test_each_refusal_has_a_word_and_a_sentence),
        cmocka_unit_test(test_a_file_that_holds_no_ca_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
