/* Unit tests of config_load(): what a node's file means, and what is told about wrong ones. */
#include <fcntl.h>
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
#include "base/limits.h"
#include "base/log.h"
#include "config/config.h"

#define LISTEN "listen: [{address: \"0.0.0.0:80\"}]\n"
#define STORE  "store: {directory: cache, size: 16MiB}\n"
#define SITES  "sites: [{name: www, hosts: [a.example], origin: {servers: [http://192.0.2.1]}}]\n"
#define REST   LISTEN STORE SITES
#define SECRET "0123456789abcdef"

enum { ERRORS_BYTES_MAX = 1 << 20 };

static char dir[64];

/* All files of a test are in the current directory, so messages name them without it. */
static int enter_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/config-test-XXXXXX");
    return mkdtemp(dir) == NULL ? -1 : chdir(dir);
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

static void write_file(const char *name, const char *text)
{
    assert_int_equal(file_write_atomic(name, slice_of(text)), ERR_OK);
}

static struct config *load(const char *text)
{
    struct config *c = NULL;
    struct buf errors;
    enum err e;

    write_file("edge.yaml", text);
    buf_init(&errors, ERRORS_BYTES_MAX);
    e = config_load("edge.yaml", &c, &errors);
    if (e != ERR_OK)
        fail_msg("%.*s", (int)errors.n, errors.p);
    assert_int_equal(errors.n, 0);
    buf_release(&errors);
    return c;
}

/* `want` is all that is told, line by line. */
static void assert_errors(const char *text, const char *want)
{
    struct config *c = NULL;
    struct buf errors;

    write_file("edge.yaml", text);
    buf_init(&errors, ERRORS_BYTES_MAX);
    assert_int_equal(config_load("edge.yaml", &c, &errors), ERR_INVALID);
    assert_null(c);
    buf_add_char(&errors, '\0');
    assert_string_equal(errors.p, want);
    buf_release(&errors);
}

static void test_what_is_not_written_has_its_default(void **state)
{
    struct config *c = load(REST);

    (void)state;
    assert_string_equal(c->file, "edge.yaml");
    assert_int_equal(c->listen_count, 1);
    assert_string_equal(c->listen[0].address, "0.0.0.0:80");
    assert_null(c->listen[0].certificates);
    assert_false(c->listen[0].redirect);
    assert_string_equal(c->admin_listen, "127.0.0.1:9180");
    assert_int_equal(c->tokens_count, 0);
    assert_string_equal(c->store_directory, "cache");
    assert_int_equal(c->store_size, 16 * MIB);
    assert_null(c->error_log);
    assert_null(c->access_log);
    assert_int_equal(c->log_level, LOG_LEVEL_INFO);
    assert_int_equal(c->workers, 0);
    assert_string_equal(c->node, "selvage");
    assert_int_equal(c->drain_ms, LIMIT_DRAIN_MS);
    assert_int_equal(c->sites_count, 1);
    assert_null(c->sites_file);
    config_unref(c);
}

static void test_everything_that_is_written_arrives(void **state)
{
    struct config *c;

    (void)state;
    write_file("cert.pem", "x");
    c = load("listen:\n"
             "- {address: \"[::]:443\", tls: {certificates: cert.pem}}\n"
             "- {address: \"0.0.0.0:80\", redirect: https}\n"
             "admin: {listen: \"127.0.0.1:9999\"}\n"
             "store: {directory: /var/cache/x, size: 2TiB}\n"
             "logs: {error: /var/log/e, access: a.log, level: debug}\n"
             "workers: 3\nnode: fra-1\ndrain: 1500ms\n" SITES);
    assert_int_equal(c->listen_count, 2);
    assert_string_equal(c->listen[0].certificates, "cert.pem");
    assert_false(c->listen[0].redirect);
    assert_true(c->listen[1].redirect);
    assert_string_equal(c->admin_listen, "127.0.0.1:9999");
    assert_string_equal(c->store_directory, "/var/cache/x");
    assert_int_equal(c->store_size, 2048 * GIB);
    assert_string_equal(c->error_log, "/var/log/e");
    assert_string_equal(c->access_log, "a.log");
    assert_int_equal(c->log_level, LOG_LEVEL_DEBUG);
    assert_int_equal(c->workers, 3);
    assert_string_equal(c->node, "fra-1");
    assert_int_equal(c->drain_ms, 1500);
    config_unref(c);
}

static void test_a_dash_is_standard_output_for_requests_alone(void **state)
{
    struct config *c = load("logs: {access: \"-\"}\n" REST);

    (void)state;
    assert_string_equal(c->access_log, "-");
    config_unref(c);
}

static void test_file_names_are_relative_to_the_file_they_stand_in(void **state)
{
    struct config *c = NULL;
    struct buf errors;

    (void)state;
    assert_int_equal(file_make_dir("etc"), ERR_OK);
    assert_int_equal(file_make_dir("etc/sites"), ERR_OK);
    write_file("etc/edge.yaml", LISTEN STORE "sites: sites/all.yaml\nadmin: {tokens: t.yaml}\n");
    write_file("etc/t.yaml", "tokens: [{name: a, secret: " SECRET ", kinds: [read]}]\n");
    write_file("etc/sites/ca.pem", "x");
    write_file("etc/sites/all.yaml", "sites: [{name: www, hosts: [a.example], origin: {servers: "
                                     "[https://192.0.2.1], ca: ca.pem}}]\n");
    buf_init(&errors, ERRORS_BYTES_MAX);
    assert_int_equal(config_load("etc/edge.yaml", &c, &errors), ERR_OK);
    assert_string_equal(c->sites_file, "etc/sites/all.yaml");
    assert_string_equal(c->store_directory, "etc/cache");
    assert_string_equal(c->sites[0].origin.ca, "etc/sites/ca.pem");
    assert_int_equal(c->tokens_count, 1);
    buf_release(&errors);
    config_unref(c);
}

static void test_a_configuration_lives_as_long_as_its_last_reference(void **state)
{
    struct config *c = load(REST), *d = config_ref(c);

    (void)state;
    assert_ptr_equal(c, d);
    config_unref(c);
    assert_string_equal(d->sites[0].name, "www");
    config_unref(d);
    config_unref(NULL);
}

#define PEER "peer: {certificate: peer.pem, ca: peer.pem}\n"

/* Whose purges hold would hang on which shield is nearest; and a shield must know its nodes. */
static void test_several_shields_want_an_owner_named(void **state)
{
    static const struct {
        const char *text, *want;
    } row[] = {
        {"upstream: {shields: [[https://a]]}\n" PEER, ""},
        {"upstream: {shields: [[https://a], [https://b]]}\njournal: {owner: https://b}\n" PEER, ""},
        {"upstream: {shields: [[https://a], [https://b]]}\n" PEER,
         "edge.yaml:4:21: upstream.shields: warning: several shields, and no journal.owner: this "
         "node takes the first, 'https://a', for the owner of the purge journal; write "
         "journal.owner, the same on all nodes\n"},
        {"upstream: {shields: [[https://a, http://b]]}\njournal: {owner: https://a}\n",
         "edge.yaml:4:23: upstream.shields[0][0]: warning: 'https://a' refuses nodes that show no "
         "certificate; write peer.certificate and peer.ca, which `selvage pki` makes\n"
         "edge.yaml:4:34: upstream.shields[0][1]: warning: 'http://b' refuses nodes that do not "
         "know its secret; write peer.secret\n"},
    };

    (void)state;
    write_file("peer.pem", "whatever\n"); /* who reads it is the daemon */
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct config *c = NULL;
        struct buf said;
        char text[1024];

        snprintf(text, sizeof(text), "%s%s", REST, row[i].text);
        write_file("edge.yaml", text);
        buf_init(&said, ERRORS_BYTES_MAX);
        assert_int_equal(config_load("edge.yaml", &c, &said), ERR_OK);
        buf_add_char(&said, '\0');
        assert_string_equal(said.p, row[i].want);
        buf_release(&said);
        config_unref(c);
    }
}

static uint64_t hash_of(const char *sites)
{
    char text[1024];
    struct config *c;
    uint64_t hash;

    snprintf(text, sizeof(text), LISTEN STORE "%s", sites);
    c = load(text);
    hash = c->sites_hash;
    config_unref(c);
    return hash;
}

/* Nodes compare it: how the list is laid out does not matter, and what it says does. */
static void test_the_hash_of_the_sites(void **state)
{
    static const char one[] =
        "sites: [{name: a, hosts: [a.test], origin: {servers: [\"http://10.0.0.1\"]}}]\n";
    uint64_t hash = hash_of(one);
    struct buf errors;
    struct config *c;

    (void)state;
    assert_int_equal(hash_of("sites: # ours\n  - name: 'a'\n    hosts:\n      - a.test\n"
                             "    origin: {servers: [http://10.0.0.1]}\n"),
                     hash);
    write_file("s.yaml", one);
    assert_int_equal(hash_of("sites: s.yaml\n"), hash);
    buf_init(&errors, ERRORS_BYTES_MAX);
    assert_int_equal(config_load_sites("s.yaml", &c, &errors), ERR_OK);
    assert_int_equal(c->sites_hash, hash);
    config_unref(c);
    buf_release(&errors);
    assert_int_not_equal(hash_of("sites: [{name: a, hosts: [a.test, b.test], origin: {servers: "
                                 "[\"http://10.0.0.1\"]}}]\n"),
                         hash);
    assert_int_not_equal(hash_of("sites: [{name: a, hosts: [a.test], origin: {servers: "
                                 "[\"http://10.0.0.2\"]}}]\n"),
                         hash);
    assert_int_not_equal(hash_of("sites: [{name: a, hosts: [a.test], origin: {servers: "
                                 "[\"http://10.0.0.1\"]}, rules: [{path: \"*\", ttl: 1s}]}]\n"),
                         hash);
}

static void test_each_mistake_is_told_with_its_place(void **state)
{
    static const struct {
        const char *text, *want;
    } wrong[] = {
        {"lisen: []\n" STORE SITES, "edge.yaml:1:1: lisen: unknown key; did you mean 'listen'?\n"},
        {"colour: red\n" REST,
         "edge.yaml:1:1: colour: unknown key; known here are listen, admin, store, sites, logs, "
         "workers, node, drain, upstream, peer, journal, explain, geo\n"},
        {REST "upstream: {shields: []}\n",
         "edge.yaml:4:21: upstream.shields: expected groups of shields, such as "
         "[[https://fra1.internal:8443]]\n"},
        {REST "upstream: {shields: [https://a]}\n",
         "edge.yaml:4:22: upstream.shields[0]: a group is a list, such as "
         "[https://fra1.internal:8443]\n"},
        {REST "upstream: {direct: never, shields: [[http://a/x, https://b], [https://b]]}\n",
         "edge.yaml:4:20: upstream.direct: 'never' is not known here; write allowed or refused\n"
         "edge.yaml:4:38: upstream.shields[0][0]: 'http://a/x' has a path; write scheme, host and "
         "port alone, such as https://10.0.0.5:8443\n"
         "edge.yaml:4:63: upstream.shields[1][0]: 'https://b' is a shield in line 4 too\n"},
        {REST "upstream: {shields: [[https://a]], connections: 0}\n",
         "edge.yaml:4:49: upstream.connections: '0' is too small; at least 1\n"},
        {REST "geo: {}\n",
         "edge.yaml:4:6: geo.database: is missing; write a MaxMind DB file of cities or countries, "
         "such as /usr/share/GeoIP/city.mmdb\n"},
        {STORE SITES, "edge.yaml:1:1: listen: is missing; write at least one address, such as "
                      "listen: [{address: \"0.0.0.0:80\"}]\n"},
        {LISTEN SITES,
         "edge.yaml:1:1: store: is missing; write store: {directory: /var/lib/selvage, size: "
         "100GiB}\n"},
        {LISTEN STORE, "edge.yaml:1:1: sites: is missing; write the sites file, such as "
                       "sites.yaml, or the list of sites itself\n"},
        {LISTEN STORE "sites: []\n", "edge.yaml:3:8: sites: is empty; write at least one site\n"},
        {REST "workers: 2\nworkers: 3\n",
         "edge.yaml:5:1: workers: is written twice; the first is in line 4\n"},
        {"listen: 80\n" STORE SITES,
         "edge.yaml:1:9: listen: expected a list: '- ' lines with blocks of keys\n"},
        {"listen: [80]\n" STORE SITES, "edge.yaml:1:10: listen[0]: expected a block of keys: "
                                       "'key: value' lines or {key: value}\n"},
        {"listen: []\n" STORE SITES, "edge.yaml:1:9: listen: is empty; write at least one "
                                     "address, such as listen: [{address: \"0.0.0.0:80\"}]\n"},
        {"listen: [{}]\n" STORE SITES, "edge.yaml:1:10: listen[0].address: is missing; write IP "
                                       "and port, such as 0.0.0.0:443 or \"[::]:443\"\n"},
        {"listen: [{address: \"www:443\"}]\n" STORE SITES,
         "edge.yaml:1:20: listen[0].address: 'www:443' is no IP address with port; write it as "
         "0.0.0.0:443 or \"[::]:443\"\n"},
        {"listen: [{address: \"0.0.0.0:80\"}, {address: \"0.0.0.0:80\"}]\n" STORE SITES,
         "edge.yaml:1:45: listen[1].address: '0.0.0.0:80' is taken by line 1\n"},
        {"listen: [{address: \"0.0.0.0:80\", redirect: http}]\n" STORE SITES,
         "edge.yaml:1:44: listen[0].redirect: 'http' is not known here; write https\n"},
        {"listen: [{address: \"0.0.0.0:443\", tls: {}}]\n" STORE SITES,
         "edge.yaml:1:40: listen[0].tls.certificates: is missing; write a PEM file, or a folder "
         "of NAME.pem (chain and key) or NAME.crt and NAME.key\n"},
        {"admin: {listen: \"127.0.0.1\"}\n" REST,
         "edge.yaml:1:17: admin.listen: '127.0.0.1' has no port; write it as 0.0.0.0:443 or "
         "\"[::]:443\"\n"},
        {"admin: {listen: \"0.0.0.0:9180\"}\n" REST,
         "edge.yaml:1:17: admin.listen: needs admin.tokens, since others reach '0.0.0.0:9180'; "
         "name a tokens file, or listen on 127.0.0.1:9180\n"},
        {"admin: {listen: \"127.0.0.1:80\"}\nlisten: [{address: \"127.0.0.1:80\"}]\n" STORE SITES,
         "edge.yaml:2:20: listen[0].address: '127.0.0.1:80' is the admin address\n"},
        {LISTEN SITES "store: {directory: x, size: 1MiB}\n",
         "edge.yaml:3:29: store.size: '1MiB' is too small; at least 16MiB\n"},
        {LISTEN SITES "store: {directory: x, size: 100GB}\n",
         "edge.yaml:3:29: store.size: '100GB' is not a size, such as 64KiB, 10MiB, 100GiB\n"},
        {LISTEN SITES "store: {directory: x, size: 99999999999999999999GiB}\n",
         "edge.yaml:3:29: store.size: '99999999999999999999GiB' is not a size, such as 64KiB, "
         "10MiB, 100GiB\n"},
        {LISTEN SITES "store: {directory: , size: 1GiB}\n",
         "edge.yaml:3:20: store.directory: has no value; write the name of a file, or leave the "
         "key out\n"},
        {REST "drain: 10\n", "edge.yaml:4:8: drain: '10' is not a duration, such as 500ms, 10s, "
                             "5m, 1h, 7d\n"},
        {REST "drain: 2h\n", "edge.yaml:4:8: drain: '2h' is too large; at most 1h\n"},
        {REST "workers: -1\n", "edge.yaml:4:10: workers: '-1' is not a whole number\n"},
        {REST "workers: 2.5\n", "edge.yaml:4:10: workers: '2.5' is not a whole number\n"},
        {REST "node: ~\n",
         "edge.yaml:4:7: node: has no value; write one word or text, or leave the key out\n"},
        {REST "node: \"\"\n",
         "edge.yaml:4:7: node: is empty; write one word or text, or leave the key out\n"},
        {REST "node: [a]\n", "edge.yaml:4:7: node: expected one word or text\n"},
        {REST "node: a b\n", "edge.yaml:4:7: node: 'a b' is no name; write up to 64 letters, "
                             "digits, '-', '_' and '.'\n"},
        {REST "logs: {level: loud}\n", "edge.yaml:4:15: logs.level: 'loud' is not known here; "
                                       "write error or warn or info or debug\n"},
        {REST "admin:\n", "edge.yaml:4:7: admin: expected a block of keys: 'key: value' lines or "
                          "{key: value}\n"},
        {LISTEN STORE "sites: none.yaml\n",
         "edge.yaml:3:8: sites: 'none.yaml' cannot be read: No such file or directory\n"},
        {REST "admin: {tokens: none.yaml}\n",
         "edge.yaml:4:17: admin.tokens: 'none.yaml' cannot be read: No such file or directory\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_errors(wrong[i].text, wrong[i].want);
}

static void test_all_mistakes_of_all_files_are_told_at_once(void **state)
{
    (void)state;
    write_file("s.yaml", "sites:\n- name: www\n  hosts: 7\n  origin: {servers: [ftp://x]}\n");
    write_file("t.yaml", "tokens:\n- {name: x, secret: short, kinds: [fly]}\n");
    assert_errors(
        "listen: []\nadmin: {tokens: t.yaml}\nstore: {size: 1MiB}\nsites: s.yaml\n",
        "edge.yaml:1:9: listen: is empty; write at least one address, such as listen: [{address: "
        "\"0.0.0.0:80\"}]\n"
        "t.yaml:2:21: tokens[0].secret: the secret is too short; at least 16 bytes, such as from "
        "`openssl rand -hex 24`\n"
        "t.yaml:2:36: tokens[0].kinds[0]: 'fly' is not known here; write purge, read, wide, "
        "regions or publish\n"
        "edge.yaml:3:15: store.size: '1MiB' is too small; at least 16MiB\n"
        "edge.yaml:3:8: store.directory: is missing; write where objects are kept, such as "
        "/var/lib/selvage\n"
        "s.yaml:3:10: sites[0].hosts: expected a list, such as [a, b]\n"
        "s.yaml:4:22: sites[0].origin.servers[0]: 'ftp://x' does not begin with http:// or "
        "https://; write it as https://10.0.0.5:8443\n");
}

static void test_after_a_hundred_mistakes_the_rest_is_left_out(void **state)
{
    struct config *c = NULL;
    struct buf text, errors;
    size_t lines = 0;

    (void)state;
    buf_init(&text, ERRORS_BYTES_MAX);
    for (int i = 0; i < 5000; i++)
        buf_addf(&text, "nonsense%d: 1\n", i);
    buf_add_char(&text, '\0');
    write_file("edge.yaml", text.p);
    buf_init(&errors, ERRORS_BYTES_MAX);
    assert_int_equal(config_load("edge.yaml", &c, &errors), ERR_INVALID);
    for (size_t i = 0; i < errors.n; i++)
        lines += errors.p[i] == '\n';
    assert_int_equal(lines, 101);
    buf_release(&text);
    buf_release(&errors);
}

static void test_certificates_must_be_there_and_readable(void **state)
{
    static const char text[] =
        "listen: [{address: \"0.0.0.0:443\", tls: {certificates: tls}}]\n" STORE SITES;
    struct config *c;

    (void)state;
    assert_errors(text, "edge.yaml:1:55: listen[0].tls.certificates: 'tls' cannot be read: No "
                        "such file or directory\n");
    assert_int_equal(file_make_dir("tls"), ERR_OK);
    assert_errors(text, "edge.yaml:1:55: listen[0].tls.certificates: 'tls' holds no certificate; "
                        "put NAME.pem or NAME.crt and NAME.key there\n");
    write_file("tls/a.crt", "x");
    assert_errors(text, "edge.yaml:1:55: listen[0].tls.certificates: 'tls/a.key' cannot be read: "
                        "No such file or directory\n");
    write_file("tls/a.key", "x");
    c = load(text);
    assert_string_equal(c->listen[0].certificates, "tls");
    config_unref(c);
    assert_int_equal(symlink("nowhere", "tls/b.pem"), 0);
    assert_errors(text, "edge.yaml:1:55: listen[0].tls.certificates: 'tls/b.pem' cannot be read: "
                        "No such file or directory\n");
}

static void test_redirect_and_tls_exclude_each_other(void **state)
{
    (void)state;
    write_file("c.pem", "x");
    assert_errors("listen: [{address: \"0.0.0.0:443\", redirect: https, tls: {certificates: "
                  "c.pem}}]\n" STORE SITES,
                  "edge.yaml:1:45: listen[0].redirect: goes with a plain address; remove tls, or "
                  "redirect\n");
}

static void test_a_public_admin_address_is_fine_with_tokens(void **state)
{
    struct config *c;

    (void)state;
    write_file("t.yaml", "tokens:\n"
                         "- {name: ci, secret: " SECRET ", kinds: [purge], sites: [www]}\n"
                         "- {name: op, secret: " SECRET "x, kinds: [purge, read, wide]}\n");
    c = load("admin: {listen: \"0.0.0.0:9180\", tokens: t.yaml}\n" REST);
    assert_int_equal(c->tokens_count, 2);
    assert_string_equal(c->tokens[0].name, "ci");
    assert_string_equal(c->tokens[0].secret, SECRET);
    assert_true(c->tokens[0].may_purge && !c->tokens[0].may_read && !c->tokens[0].may_purge_wide);
    assert_int_equal(c->tokens[0].sites.count, 1);
    assert_string_equal(c->tokens[0].sites.item[0], "www");
    assert_true(c->tokens[1].may_purge && c->tokens[1].may_read && c->tokens[1].may_purge_wide);
    assert_int_equal(c->tokens[1].sites.count, 0);
    config_unref(c);
}

static void test_tokens_are_kept_from_others(void **state)
{
    (void)state;
    write_file("t.yaml", "tokens: [{name: ci, secret: " SECRET ", kinds: [purge]}]\n");
    assert_int_equal(chmod("t.yaml", 0640), 0);
    assert_errors("admin: {tokens: t.yaml}\n" REST,
                  "edge.yaml:1:17: admin.tokens: 't.yaml' holds secrets and is open to others "
                  "(mode 0640); chmod 600 it\n");
}

static void test_mistakes_in_tokens_are_told_without_the_secret(void **state)
{
    static const struct {
        const char *text, *want;
    } wrong[] = {
        {"{name: a, secret: hunter2, kinds: [read]}",
         "t.yaml:2:21: tokens[0].secret: the secret is too short; at least 16 bytes, such as from "
         "`openssl rand -hex 24`\n"},
        {"{name: a, secret: hunter2 hunter2 hunter2, kinds: [read]}",
         "t.yaml:2:21: tokens[0].secret: the secret must be one word of printable ASCII: it "
         "travels in a request field\n"},
        {"{name: a, secret: " SECRET ", kinds: []}",
         "t.yaml:2:46: tokens[0].kinds: expected a list of purge, read, wide, regions and publish, "
         "such as "
         "[purge]\n"},
        {"{name: a, secret: " SECRET ", kinds: [wide]}",
         "t.yaml:2:46: tokens[0].kinds: wide (purges of hosts and of everything) needs purge "
         "beside it\n"},
        {"{name: a, secret: " SECRET ", kinds: [read], sites: [www, other]}",
         "t.yaml:2:67: tokens[0].sites[1]: 'other' is the name of no site\n"},
        {"{name: a, secret: " SECRET ", kinds: [read]}\n"
         "- {name: a, secret: " SECRET "x, kinds: [read]}",
         "t.yaml:3:10: tokens[1].name: 'a' is the name of the token in line 2 too\n"},
        {"{name: a, secret: " SECRET ", kinds: [read]}\n"
         "- {name: b, secret: " SECRET ", kinds: [read]}",
         "t.yaml:3:21: tokens[1].secret: is the secret of the token in line 2 too\n"},
    };
    char text[512];

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        snprintf(text, sizeof(text), "tokens:\n- %s\n", wrong[i].text);
        write_file("t.yaml", text);
        assert_errors("admin: {tokens: t.yaml}\n" REST, wrong[i].want);
    }
}

static void test_what_is_shown_cannot_move_the_cursor(void **state)
{
    (void)state;
    assert_errors(REST "node: \"\\e[31m\\u009b\\n\"\n",
                  "edge.yaml:4:7: node: '?[31m?\?' is no name; write up to 64 letters, digits, "
                  "'-', '_' and '.'\n");
    assert_errors(REST "\"\\e[2J\": 1\n",
                  "edge.yaml:4:1: ?[2J: unknown key; known here are listen, admin, store, sites, "
                  "logs, workers, node, drain, upstream, peer, journal, explain, geo\n");
}

static void test_a_file_that_is_not_there_or_too_large_is_told(void **state)
{
    struct config *c = NULL;
    struct buf errors;
    int fd;

    (void)state;
    buf_init(&errors, ERRORS_BYTES_MAX);
    assert_int_equal(config_load("none.yaml", &c, &errors), ERR_INVALID);
    fd = open("large.yaml", O_WRONLY | O_CREAT, 0600);
    assert_int_equal(ftruncate(fd, (4 << 20) + 1), 0);
    close(fd);
    assert_int_equal(config_load("large.yaml", &c, &errors), ERR_INVALID);
    buf_add_char(&errors, '\0');
    assert_string_equal(errors.p, "none.yaml: cannot be read: No such file or directory\n"
                                  "large.yaml: cannot be read: it is larger than 4MiB\n");
    buf_release(&errors);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, enter_dir, leave_dir)
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_not_written_has_its_default),
        TEST(test_everything_that_is_written_arrives),
        TEST(test_a_dash_is_standard_output_for_requests_alone),
        TEST(test_file_names_are_relative_to_the_file_they_stand_in),
        TEST(test_a_configuration_lives_as_long_as_its_last_reference),
        TEST(test_several_shields_want_an_owner_named),
        TEST(test_the_hash_of_the_sites),
        TEST(test_each_mistake_is_told_with_its_place),
        TEST(test_all_mistakes_of_all_files_are_told_at_once),
        TEST(test_after_a_hundred_mistakes_the_rest_is_left_out),
        TEST(test_certificates_must_be_there_and_readable),
        TEST(test_redirect_and_tls_exclude_each_other),
        TEST(test_a_public_admin_address_is_fine_with_tokens),
        TEST(test_tokens_are_kept_from_others),
        TEST(test_mistakes_in_tokens_are_told_without_the_secret),
        TEST(test_what_is_shown_cannot_move_the_cursor),
        TEST(test_a_file_that_is_not_there_or_too_large_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
