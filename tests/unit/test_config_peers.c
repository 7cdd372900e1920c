/* Unit tests of peer, peers.yaml and listeners for peers: what they mean, and what is told. */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "config/config.h"

#define REST                                                                                       \
    "store: {directory: s, size: 16MiB}\n"                                                         \
    "sites: [{name: w, hosts: [w.test], origin: {servers: [http://192.0.2.1]}}]\n"
#define TLS  "listen: [{address: \"127.0.0.1:1\", peers: certificate}]\n"
#define PEER "peer: {certificate: p.pem, ca: ca.pem, secret: secret, peers: peers.yaml}\n"

enum { ERRORS_BYTES_MAX = 1 << 20 };

static char dir[64];

static void write_file(const char *name, const char *text)
{
    assert_int_equal(file_write_atomic(name, slice_of(text)), ERR_OK);
}

static int enter_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/config-test-XXXXXX");
    if (mkdtemp(dir) == NULL || chdir(dir) != 0)
        return -1;
    write_file("p.pem", "x");
    write_file("ca.pem", "x");
    write_file("secret", "  0123456789abcdef\r\n\n");
    write_file("peers.yaml", "revoked: [{name: edge1}, {serial: AB0}]\n");
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static int leave_dir(void **state)
{
    (void)state;
    if (chdir("/") != 0)
        return -1;
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static enum err load(const char *text, struct config **out, char *told, size_t room)
{
    struct buf errors;
    enum err e;

    write_file("n.yaml", text);
    buf_init(&errors, ERRORS_BYTES_MAX);
    e = config_load("n.yaml", out, &errors);
    snprintf(told, room, "%.*s", (int)errors.n, errors.n == 0 ? "" : errors.p);
    buf_release(&errors);
    return e;
}

static struct config *loaded(const char *text)
{
    struct config *c = NULL;
    char told[4000];

    if (load(text, &c, told, sizeof(told)) != ERR_OK)
        fail_msg("%s", told);
    return c;
}

static void assert_told(const char *text, const char *says)
{
    struct config *c;
    char told[4000];

    assert_int_equal(load(text, &c, told, sizeof(told)), ERR_INVALID);
    if (strstr(told, says) == NULL)
        fail_msg("%s", told);
}

static void test_peers_are_loaded(void **state)
{
    struct config *c = loaded(TLS PEER REST);

    (void)state;
    assert_int_equal(c->listen[0].peers, CONFIG_PEERS_CERTIFICATE);
    assert_string_equal(c->listen[0].certificates, "p.pem");
    assert_string_equal(c->peer.ca, "ca.pem");
    assert_string_equal(c->peer.secret, "0123456789abcdef");
    assert_int_equal(c->peer.revoked_count, 2);
    assert_string_equal(c->peer.revoked[0].name, "edge1");
    assert_null(c->peer.revoked[0].serial);
    assert_string_equal(c->peer.revoked[1].serial, "ab0");
    config_unref(c);
}

static void test_an_edge_may_have_a_certificate_and_listens_for_clients(void **state)
{
    struct config *c = loaded("listen: [{address: \"127.0.0.1:1\"}]\n"
                              "peer: {certificate: p.pem, ca: ca.pem}\n" REST);

    (void)state;
    assert_int_equal(c->listen[0].peers, CONFIG_PEERS_NONE);
    assert_null(c->listen[0].certificates);
    assert_string_equal(c->peer.certificate, "p.pem");
    assert_null(c->peer.secret);
    assert_int_equal(c->peer.revoked_count, 0);
    config_unref(c);
}

static void test_listeners_for_clients_and_for_peers_do_not_mix(void **state)
{
    (void)state;
    assert_told("listen:\n- {address: \"127.0.0.1:1\", peers: certificate}\n"
                "- {address: \"127.0.0.1:2\"}\n" PEER REST,
                "n.yaml:3:13: listen[1].address: a node listens for clients or for peers, and line "
                "2 says otherwise");
    assert_told("listen: [{address: \"127.0.0.1:1\", peers: secret, redirect: https}]\n" PEER REST,
                "listen[0].peers: goes without tls and redirect");
    assert_told(
        "listen: [{address: \"127.0.0.1:1\", peers: secret, tls: {certificates: p.pem}}]\n" PEER
            REST,
        "listen[0].peers: goes without tls and redirect");
    assert_told("listen: [{address: \"127.0.0.1:1\", peers: all}]\n" PEER REST,
                "listen[0].peers: 'all' is not known here; write certificate or secret");
}

static void test_what_a_listener_for_peers_needs(void **state)
{
    (void)state;
    assert_told(TLS REST, "listen[0].peers: needs peer.certificate and peer.ca");
    assert_told(TLS "peer: {certificate: p.pem}\n" REST, "needs peer.certificate and peer.ca");
    assert_told("listen: [{address: \"127.0.0.1:1\", peers: secret}]\n"
                "peer: {certificate: p.pem, ca: ca.pem}\n" REST,
                "listen[0].peers: needs peer.secret");
    assert_told(TLS "peer: {certificate: p.pem, ca: nowhere.pem}\n" REST,
                "peer.ca: 'nowhere.pem' cannot be read");
}

static void test_the_secret_is_one_good_line_for_its_owner_alone(void **state)
{
    (void)state;
    write_file("secret", "short\n");
    assert_told(TLS PEER REST, "peer.secret: 'secret': the secret is too short");
    write_file("secret", "0123456789 abcdef0123\n");
    assert_told(TLS PEER REST, "the secret must be one word");
    write_file("secret", "");
    assert_told(TLS PEER REST, "the secret is too short");
    write_file("secret", "0123456789abcdef");
    assert_int_equal(chmod("secret", 0640), 0);
    assert_told(TLS PEER REST, "peer.secret: 'secret' holds secrets and is open to others");
    assert_int_equal(unlink("secret"), 0);
    assert_told(TLS PEER REST, "peer.secret: 'secret' cannot be read");
}

static void test_a_line_of_peers_names_one_thing(void **state)
{
    (void)state;
    write_file("peers.yaml", "revoked: [{name: a}, {name: b, serial: ab}]\n");
    assert_told(TLS PEER REST, "entry 2 of revoked: write either a name or a serial number");
    write_file("peers.yaml", "revoked: [{}]\n");
    assert_told(TLS PEER REST, "entry 1 of revoked: write either a name or a serial number");
    write_file("peers.yaml", "revoked: [{serial: 00ab}]\n");
    assert_told(TLS PEER REST, "peers.yaml:1:20: revoked[0].serial: '00ab' is no serial number");
    write_file("peers.yaml", "revoked: [{serial: \"ab:cd\"}]\n");
    assert_told(TLS PEER REST, "is no serial number");
    write_file("peers.yaml", "{}\n");
    assert_told(TLS PEER REST, "revoked: is missing");
    write_file("peers.yaml", "revoked: []\n");
    config_unref(loaded(TLS PEER REST));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, enter_dir, leave_dir)
    const struct CMUnitTest tests[] = {
        TEST(test_peers_are_loaded),
        TEST(test_an_edge_may_have_a_certificate_and_listens_for_clients),
        TEST(test_listeners_for_clients_and_for_peers_do_not_mix),
        TEST(test_what_a_listener_for_peers_needs),
        TEST(test_the_secret_is_one_good_line_for_its_owner_alone),
        TEST(test_a_line_of_peers_names_one_thing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
