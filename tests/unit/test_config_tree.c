/* Unit tests of the reading of YAML: what of it is refused, and where that is said to stand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "config/config_priv.h"

#define NOTHING "t.yaml:1:1: the file is empty or no block of keys; write 'key: value' lines\n"

enum { ERRORS_BYTES_MAX = 1 << 16 };

struct reading {
    struct config_loader l;
    struct buf errors;
    struct config_node *root;
};

static void read_text(struct reading *r, struct slice text)
{
    *r = (struct reading){.l = {.errors = &r->errors}};
    buf_init(&r->errors, ERRORS_BYTES_MAX);
    arena_init(&r->l.scratch, NULL, 0, CONFIG_ARENA_BYTES_MAX);
    r->root = config__tree_parse(&r->l, "t.yaml", text);
}

static void end(struct reading *r)
{
    arena_release(&r->l.scratch);
    buf_release(&r->errors);
}

static void test_nodes_know_what_they_are_and_where(void **state)
{
    const struct config_node *a, *b;
    struct reading r;

    (void)state;
    read_text(&r, SLICE("# c\na: 1\n\"b c\":\n  - \"x\"\n  - {y: ~}\n"));
    assert_non_null(r.root);
    assert_int_equal(r.root->type, CONFIG_NODE_BLOCK);
    assert_int_equal(r.root->count, 2);
    a = r.root->first;
    assert_int_equal(a->type, CONFIG_NODE_TEXT);
    assert_string_equal(a->key.p, "a");
    assert_string_equal(a->text.p, "1");
    assert_true(a->is_plain);
    assert_int_equal(a->line, 2);
    assert_int_equal(a->column, 4);
    b = a->next;
    assert_ptr_equal(b, r.root->last);
    assert_string_equal(b->key.p, "b c");
    assert_int_equal(b->key_line, 3);
    assert_int_equal(b->key_column, 1);
    assert_int_equal(b->type, CONFIG_NODE_LIST);
    assert_int_equal(b->count, 2);
    assert_false(b->first->is_plain);
    assert_int_equal(b->first->index, 0);
    assert_null(b->first->key.p);
    assert_int_equal(b->last->index, 1);
    assert_ptr_equal(b->last->parent, b);
    assert_int_equal(b->last->first->line, 5);
    assert_int_equal(b->last->first->column, 9);
    assert_null(b->next);
    assert_null(r.root->parent);
    end(&r);
}

static void test_what_is_refused_is_told_with_its_place(void **state)
{
    static const struct {
        struct slice text;
        const char *want;
    } wrong[] = {
        {SLICE(""), NOTHING},
        {SLICE("# nothing\n"), NOTHING},
        {SLICE("word\n"), NOTHING},
        {SLICE("- a\n"), NOTHING},
        {SLICE("a: &x 1\n"),
         "t.yaml:1:4: anchors (&name) are not supported; write the value out\n"},
        {SLICE("a: &x [1]\n"),
         "t.yaml:1:4: anchors (&name) are not supported; write the value out\n"},
        {SLICE("a: &x {b: 1}\n"),
         "t.yaml:1:4: anchors (&name) are not supported; write the value out\n"},
        {SLICE("a: 1\nb: *x\n"),
         "t.yaml:2:4: aliases (*name) are not supported; write the value out\n"},
        {SLICE("a: !!int 1\n"), "t.yaml:1:4: tags (!name) are not supported; write the value "
                                "alone\n"},
        {SLICE("a: !include x\n"), "t.yaml:1:4: tags (!name) are not supported; write the value "
                                   "alone\n"},
        {SLICE("a: 1\n---\nb: 2\n"), "t.yaml:2:1: a second document begins; one a file\n"},
        {SLICE("[a]: 1\n"), "t.yaml:1:1: a key must be one word\n"},
        {SLICE("a: 1\n? [b]\n: 1\n"), "t.yaml:2:3: a key must be one word\n"},
        {SLICE("? {b: 1}\n: 1\n"), "t.yaml:1:3: a key must be one word\n"},
        {SLICE("a: \"x\\0y\"\n"), "t.yaml:1:4: the value holds a NUL byte\n"},
        {SLICE("a: [1\n"), "t.yaml:2:1: not valid YAML: did not find expected ',' or ']' while "
                           "parsing a flow sequence\n"},
        {SLICE("a: @\n"), "t.yaml:1:4: not valid YAML: found character that cannot start any token "
                          "while scanning for the next token\n"},
        {SLICE("a: 1\nb: \xff\n"), "t.yaml:2:4: not valid YAML: invalid leading UTF-8 octet\n"},
        {SLICE("a: \x01\n"), "t.yaml:1:4: not valid YAML: control characters are not allowed\n"},
    };
    struct reading r;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        read_text(&r, wrong[i].text);
        buf_add_char(&r.errors, '\0');
        assert_string_equal(r.errors.p, wrong[i].want);
        assert_null(r.root);
        end(&r);
    }
}

static void test_depth_is_bounded(void **state)
{
    struct reading r;

    (void)state;
    read_text(&r, SLICE("a: [[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]\n")); /* 15 in the block */
    assert_non_null(r.root);
    end(&r);
    read_text(&r, SLICE("a: [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]\n"));
    assert_null(r.root);
    buf_add_char(&r.errors, '\0');
    assert_string_equal(r.errors.p, "t.yaml:1:19: lists and blocks inside each other too deeply\n");
    end(&r);
}

static void test_the_number_of_values_is_bounded(void **state)
{
    struct reading r;
    struct buf text;

    (void)state;
    buf_init(&text, CONFIG_FILE_BYTES_MAX);
    buf_add(&text, SLICE("a: ["));
    for (int i = 0; i < CONFIG_NODES_MAX - 2; i++) /* block and list count too */
        buf_add(&text, SLICE("1,"));
    buf_add(&text, SLICE("]\n"));
    read_text(&r, buf_slice(&text));
    assert_non_null(r.root);
    end(&r);
    text.n -= 2;
    buf_add(&text, SLICE("1]\n"));
    read_text(&r, buf_slice(&text));
    assert_null(r.root);
    assert_true(r.errors.n > 0);
    assert_false(r.l.is_out_of_memory);
    end(&r);
    buf_release(&text);
}

static void test_short_memory_is_not_called_a_mistake_in_the_file(void **state)
{
    struct reading r = {.l = {.errors = &r.errors}};

    (void)state;
    buf_init(&r.errors, ERRORS_BYTES_MAX);
    arena_init(&r.l.scratch, NULL, 0, 0);
    assert_null(config__tree_parse(&r.l, "t.yaml", SLICE("a: 1\n")));
    assert_true(r.l.is_out_of_memory);
    assert_int_equal(r.errors.n, 0);
    end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nodes_know_what_they_are_and_where),
        cmocka_unit_test(test_what_is_refused_is_told_with_its_place),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_the_number_of_values_is_bounded),
        cmocka_unit_test(test_short_memory_is_not_called_a_mistake_in_the_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
