/* The files in conf/: they load, what they call a default is one, and no key is missing from them.
 */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "config/config_priv.h"

enum { BYTES_MAX = 1 << 20 };

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/config-test-XXXXXX");
    return mkdtemp(dir) == NULL ? -1 : 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static int remove_dir(void **state)
{
    (void)state;
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* `text` with `to` in all places of `from`; owned by the caller. */
static char *replaced(char *text, const char *from, const char *to)
{
    struct buf b;
    char *rest = text, *at;

    buf_init(&b, BYTES_MAX);
    while ((at = strstr(rest, from)) != NULL) {
        buf_add(&b, (struct slice){rest, (size_t)(at - rest)});
        buf_add(&b, slice_of(to));
        rest = at + strlen(from);
    }
    buf_add(&b, slice_of(rest));
    buf_add_char(&b, '\0');
    assert_false(b.failed);
    free(text);
    return b.p;
}

static char *example(const char *name)
{
    char path[128], *text = NULL;
    size_t n;

    snprintf(path, sizeof(path), "conf/%s", name);
    if (file_read_all(path, BYTES_MAX, &text, &n) != ERR_OK)
        fail_msg("%s cannot be read; run the test at the root of the tree", path);
    return text;
}

/* Put the example into the directory, with what an installation has put in the place of what it
 * names. */
static void install(const char *name, bool with_defaults)
{
    char path[128], *text = example(name);

    text = replaced(text, "/etc/selvage/", "");
    text = replaced(text, "CHANGE-ME-TOO", "0123456789abcdef0");
    text = replaced(text, "CHANGE-ME", "0123456789abcdef1");
    if (with_defaults) { /* the commented-out keys, which begin right after "# " */
        static const char *const key[] = {"logs:",
                                          "  error:",
                                          "  access:",
                                          "  level:",
                                          "workers:",
                                          "node:",
                                          "drain:",
                                          "listen:",
                                          "sni:",
                                          "ca:",
                                          "verify:",
                                          "allow_local:",
                                          "connections:",
                                          "queue:",
                                          "connect_timeout:",
                                          "first_byte_timeout:",
                                          "idle_timeout:",
                                          "sort:",
                                          "deception_guard:",
                                          "client_reload:",
                                          "set_cookie:",
                                          "max_request_body:",
                                          "log:",
                                          "request_fields:",
                                          "request_fields_also:",
                                          "underscores:",
                                          "  files:",
                                          "files: no",
                                          "files_lifetime:",
                                          "  hashed:",
                                          "  others:",
                                          "  names:"};
        char commented[64];

        for (size_t i = 0; i < sizeof(key) / sizeof(key[0]); i++) {
            snprintf(commented, sizeof(commented), "# %s", key[i]);
            text = replaced(text, commented, key[i]);
        }
    }
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(file_write_atomic(path, slice_of(text)), ERR_OK);
    free(text);
}

static struct config *load(const char *name)
{
    struct config *c = NULL;
    struct buf errors;
    char path[128];
    enum err e;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    buf_init(&errors, BYTES_MAX);
    e = config_load(path, &c, &errors);
    if (e != ERR_OK)
        fail_msg("%.*s", (int)errors.n, errors.p);
    buf_release(&errors);
    return c;
}

static void install_all(bool with_defaults)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/tls", dir);
    assert_int_equal(file_make_dir(path), ERR_OK);
    snprintf(path, sizeof(path), "%s/tls/www.pem", dir);
    assert_int_equal(file_write_atomic(path, SLICE("x")), ERR_OK);
    snprintf(path, sizeof(path), "%s/origin-ca.pem", dir);
    assert_int_equal(file_write_atomic(path, SLICE("x")), ERR_OK);
    install("edge.yaml", with_defaults);
    install("sites.yaml", with_defaults);
    install("tokens.yaml", with_defaults);
    snprintf(path, sizeof(path), "%s/peer.pem", dir);
    assert_int_equal(file_write_atomic(path, SLICE("x")), ERR_OK);
    snprintf(path, sizeof(path), "%s/fleet-ca.pem", dir);
    assert_int_equal(file_write_atomic(path, SLICE("x")), ERR_OK);
    install("shield.yaml", with_defaults);
    install("peers.yaml", with_defaults);
}

static void test_the_smallest_example_loads(void **state)
{
    struct config *c;

    (void)state;
    install("minimal.yaml", false);
    c = load("minimal.yaml");
    assert_int_equal(c->sites_count, 1);
    config_unref(c);
}

static void test_the_full_example_loads(void **state)
{
    struct config *c;

    (void)state;
    install_all(false);
    c = load("edge.yaml");
    assert_int_equal(c->listen_count, 3);
    assert_int_equal(c->tokens_count, 2);
    assert_int_equal(c->sites[0].rules_count, 7);
    config_unref(c);
}

static void test_the_shield_of_the_example_loads(void **state)
{
    struct config *c;

    (void)state;
    install_all(false);
    c = load("shield.yaml");
    assert_int_equal(c->listen_count, 1);
    assert_int_equal(c->listen[0].peers, CONFIG_PEERS_CERTIFICATE);
    assert_string_equal(c->listen[0].certificates, c->peer.certificate);
    assert_non_null(c->peer.ca);
    assert_int_equal(c->peer.revoked_count, 0);
    assert_null(c->peer.secret);
    config_unref(c);
}

static void test_the_secrets_of_the_example_are_refused(void **state)
{
    struct config *c = NULL;
    struct buf errors;
    char path[128], *text = example("tokens.yaml");

    (void)state;
    install_all(false);
    snprintf(path, sizeof(path), "%s/tokens.yaml", dir);
    assert_int_equal(file_write_atomic(path, slice_of(text)), ERR_OK);
    snprintf(path, sizeof(path), "%s/edge.yaml", dir);
    buf_init(&errors, BYTES_MAX);
    assert_int_equal(config_load(path, &c, &errors), ERR_INVALID);
    buf_release(&errors);
    free(text);
}

/* What stands behind '#' as a key is the default, so writing it changes nothing. */
static void test_what_is_called_a_default_is_one(void **state)
{
    struct config *plain, *full;
    const struct config_site *a, *b;

    (void)state;
    install_all(false);
    plain = load("edge.yaml");
    install_all(true);
    full = load("edge.yaml");
    assert_non_null(full->error_log); /* they were written this time */
    assert_non_null(full->access_log);
    assert_non_null(full->sites[0].origin.ca);
    assert_string_equal(plain->admin_listen, full->admin_listen);
    assert_int_equal(plain->log_level, full->log_level);
    assert_int_equal(plain->workers, full->workers);
    assert_string_equal(plain->node, full->node);
    assert_int_equal(plain->drain_ms, full->drain_ms);
    a = plain->sites;
    b = full->sites;
    assert_int_equal(a->origin.verify, b->origin.verify);
    assert_int_equal(a->origin.allow_local, b->origin.allow_local);
    assert_int_equal(a->origin.connections, b->origin.connections);
    assert_int_equal(a->origin.queue, b->origin.queue);
    assert_int_equal(a->origin.connect_ms, b->origin.connect_ms);
    assert_int_equal(a->origin.first_byte_ms, b->origin.first_byte_ms);
    assert_int_equal(a->origin.idle_ms, b->origin.idle_ms);
    assert_int_equal(a->client_reload, b->client_reload);
    assert_int_equal(a->set_cookie, b->set_cookie);
    assert_int_equal(a->max_request_body, b->max_request_body);
    assert_int_equal(a->log_full, b->log_full);
    assert_int_equal(a->strict_fields, b->strict_fields);
    assert_int_equal(b->fields_also.count, 1); /* shown as an example */
    assert_int_equal(a->underscores, b->underscores);
    assert_int_equal(plain->files_size, full->files_size);
    assert_int_equal(a->files, b->files);
    assert_int_equal(b->files_names.count, 1); /* shown as an example */
    assert_int_equal(a->files_hashed_s, b->files_hashed_s);
    assert_int_equal(a->files_others_s, b->files_others_s);
    config_unref(plain);
    config_unref(full);
}

/* One file shows a node that clients talk to, the other one that edges talk to. */
static char *examples_of_a_node(void)
{
    char *edge = example("edge.yaml"), *shield = example("shield.yaml");
    struct buf b;

    buf_init(&b, BYTES_MAX);
    buf_addf(&b, "%s%s", edge, shield);
    buf_add_char(&b, '\0');
    assert_false(b.failed);
    free(edge);
    free(shield);
    return b.p;
}

static void assert_shown(const char *text, const struct config_key *keys)
{
    char key[64];

    for (const struct config_key *k = keys; k->name != NULL; k++) {
        if (k->kind == CONFIG_LATER)
            continue;
        snprintf(key, sizeof(key), "%s:", k->name);
        if (strstr(text, key) == NULL)
            fail_msg("key '%s' is in no example", k->name);
        if (k->inside != NULL)
            assert_shown(text, k->inside);
    }
}

static void test_every_key_is_in_an_example(void **state)
{
    char *node = examples_of_a_node(), *sites = example("sites.yaml"),
         *tokens = example("tokens.yaml"), *peers = example("peers.yaml"),
         *regions = example("regions.yaml");

    (void)state;
    assert_shown(node, config__edge_keys);
    assert_shown(sites, config__sites_keys);
    assert_shown(tokens, config__tokens_keys);
    assert_shown(peers, config__peers_keys);
    assert_shown(regions, config__regions_keys);
    free(regions);
    free(peers);
    free(node);
    free(sites);
    free(tokens);
}

/*
 * The first cells of README's tables, or what the manual lists as keys: `begins` begins a line of
 * those, and the cell ends at `ends`.  The caller owns it.
 */
static char *keys_in(const char *file, const char *begins, char ends)
{
    char *text = NULL, *save = NULL;
    struct buf b;
    size_t n;

    if (file_read_all(file, BYTES_MAX, &text, &n) != ERR_OK)
        fail_msg("%s cannot be read; run the test at the root of the tree", file);
    buf_init(&b, BYTES_MAX);
    for (char *line = strtok_r(text, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        if (strncmp(line, begins, strlen(begins)) != 0)
            continue;
        line += strlen(begins);
        buf_addf(&b, " %.*s ", (int)strcspn(line, (char[]){ends, '\0'}), line);
    }
    buf_add_char(&b, '\0');
    assert_false(b.failed);
    free(text);
    return b.p;
}

static bool has_word(const char *text, const char *word)
{
    static const char of_words[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
    size_t n = strlen(word);

    for (const char *at = text; (at = strstr(at, word)) != NULL; at += n)
        if (strchr(of_words, at[-1]) == NULL && strchr(of_words, at[n]) == NULL)
            return true;
    return false;
}

static void assert_told(const char *file, const char *text, const struct config_key *keys)
{
    for (const struct config_key *k = keys; k->name != NULL; k++) {
        if (k->kind == CONFIG_LATER)
            continue;
        if (k->inside != NULL)
            assert_told(file, text, k->inside);
        else if (!has_word(text, k->name))
            fail_msg("key '%s' is not told of in %s", k->name, file);
    }
}

static void test_every_key_is_in_readme_and_manual(void **state)
{
    static const struct {
        const char *file, *begins;
        char ends;
    } place[] = {{"README.md", "| `", '|'}, {"edge/selvage-edge.yaml.5", ".It Cm ", '\0'}};

    (void)state;
    for (size_t i = 0; i < sizeof(place) / sizeof(place[0]); i++) {
        char *text = keys_in(place[i].file, place[i].begins, place[i].ends);

        assert_told(place[i].file, text, config__edge_keys);
        assert_told(place[i].file, text, config__sites_keys);
        assert_told(place[i].file, text, config__tokens_keys);
        assert_told(place[i].file, text, config__regions_keys);
        free(text);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)
    const struct CMUnitTest tests[] = {
        TEST(test_the_smallest_example_loads),
        TEST(test_the_full_example_loads),
        TEST(test_the_shield_of_the_example_loads),
        TEST(test_the_secrets_of_the_example_are_refused),
        TEST(test_what_is_called_a_default_is_one),
        TEST(test_every_key_is_in_an_example),
        TEST(test_every_key_is_in_readme_and_manual),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
