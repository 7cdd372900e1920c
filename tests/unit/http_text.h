/* http_text: what the tests of lib/http share: fields written as text, texts compared. */
#ifndef TESTS_HTTP_TEXT_H
#define TESTS_HTTP_TEXT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "http/fields.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct arena arena;

static inline int open_arena(void **state)
{
    (void)state;
    arena_init(&arena, NULL, 0, 1 << 20);
    return 0;
}

static inline int close_arena(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_arena, close_arena)

/* "name: value|name: value"; the names are lower-case already. */
static inline struct http_fields fields_of(const char *text)
{
    struct slice rest = slice_of(text);
    struct http_fields f = {0};

    while (rest.n > 0) {
        struct slice line = slice_head(rest, slice_index(rest, '|'));
        size_t colon = slice_index(line, ':');

        assert_true(colon < line.n);
        assert_int_equal(http_fields_add(&f, &arena, 100, slice_head(line, colon),
                                         slice_trim(slice_from(line, colon + 1))),
                         ERR_OK);
        rest = slice_from(rest, line.n + 1);
    }
    return f;
}

static inline void assert_text(struct slice got, const char *want)
{
    if (!slice_eq(got, slice_of(want)))
        fail_msg("'%.*s' is not '%s'", (int)got.n, got.p, want);
}

#endif
