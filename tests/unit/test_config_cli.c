/* Unit tests of config_cli_load(): the file of the command line tool. */
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
#include "config/config.h"

enum { ERRORS_BYTES_MAX = 1 << 16 };

static char dir[64], before[4096];

static int enter_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/config-test-XXXXXX");
    if (getcwd(before, sizeof(before)) == NULL || mkdtemp(dir) == NULL)
        return -1;
    return chdir(dir);
}

static int leave_dir(void **state)
{
    (void)state;
    unlink("c.yaml");
    return chdir(before) != 0 ? -1 : rmdir(dir);
}

static enum err load(const char *text, struct config_cli **c, struct buf *errors)
{
    enum err e;

    assert_int_equal(file_write_atomic("c.yaml", slice_of(text)), ERR_OK);
    buf_init(errors, ERRORS_BYTES_MAX);
    e = config_cli_load("c.yaml", c, errors);
    buf_add_char(errors, '\0');
    return e;
}

static void test_nodes_token_and_ca_arrive(void **state)
{
    struct config_cli *c = NULL;
    struct buf errors;

    (void)state;
    assert_int_equal(load("nodes: [http://127.0.0.1:9180, \"https://a.example/\"]\n"
                          "token: secret\nca: /etc/ca.pem\n",
                          &c, &errors),
                     ERR_OK);
    assert_int_equal(c->nodes.count, 2);
    assert_string_equal(c->nodes.item[0], "http://127.0.0.1:9180");
    assert_string_equal(c->nodes.item[1], "https://a.example/");
    assert_string_equal(c->token, "secret");
    assert_string_equal(c->ca, "/etc/ca.pem");
    buf_release(&errors);
    config_cli_free(c);
}

static void test_no_key_is_required(void **state)
{
    struct config_cli *c = NULL;
    struct buf errors;

    (void)state;
    assert_int_equal(load("ca: ca.pem\n", &c, &errors), ERR_OK);
    assert_int_equal(c->nodes.count, 0);
    assert_null(c->token);
    assert_string_equal(c->ca, "ca.pem");
    buf_release(&errors);
    config_cli_free(c);
    config_cli_free(NULL);
}

static void test_mistakes_are_told_and_never_the_token(void **state)
{
    static const struct {
        const char *text, *want;
    } wrong[] = {
        {"node: [x]\n", "c.yaml:1:1: node: unknown key; did you mean 'nodes'?\n"},
        {"nodes: http://a\n", "c.yaml:1:8: nodes: expected a list, such as [a, b]\n"},
        {"nodes: [\"http://a/status\"]\n",
         "c.yaml:1:9: nodes[0]: 'http://a/status' has a path; write scheme, host and port alone, "
         "such as https://10.0.0.5:8443\n"},
        {"token: hunter two\n", "c.yaml:1:8: token: the token must be one word of printable "
                                "ASCII\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct config_cli *c = NULL;
        struct buf errors;

        assert_int_equal(load(wrong[i].text, &c, &errors), ERR_INVALID);
        assert_null(c);
        assert_string_equal(errors.p, wrong[i].want);
        buf_release(&errors);
    }
}

static void test_a_missing_file_is_told_by_name(void **state)
{
    struct config_cli *c = NULL;
    struct buf errors;

    (void)state;
    buf_init(&errors, ERRORS_BYTES_MAX);
    assert_int_equal(config_cli_load("none.yaml", &c, &errors), ERR_INVALID);
    buf_add_char(&errors, '\0');
    assert_string_equal(errors.p, "none.yaml: cannot be read: No such file or directory\n");
    buf_release(&errors);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, enter_dir, leave_dir)
    const struct CMUnitTest tests[] = {
        TEST(test_nodes_token_and_ca_arrive),
        TEST(test_no_key_is_required),
        TEST(test_mistakes_are_told_and_never_the_token),
        TEST(test_a_missing_file_is_told_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
