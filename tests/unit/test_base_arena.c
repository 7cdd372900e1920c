/* Unit tests of arenas. */
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"

static void test_the_lent_block_comes_first(void **state)
{
    alignas(16) char first[64];
    struct arena a;
    char *p;

    (void)state;
    arena_init(&a, first + 1, 48, 1 << 16); /* 16 bytes from first + 16 on: 15 are skew */
    p = arena_alloc(&a, 20);
    assert_ptr_equal(p, first + 16);
    assert_int_equal(a.bytes, 0);
    p = arena_alloc(&a, 1);
    assert_true(p < first || p >= first + sizeof(first));
    assert_true(a.bytes > 0);
    arena_release(&a);
}

static void test_pieces_are_aligned_and_apart(void **state)
{
    struct arena a;
    char *p[100];

    (void)state;
    arena_init(&a, NULL, 0, 1 << 20);
    for (size_t i = 0; i < 100; i++) {
        p[i] = arena_alloc(&a, i * 37);
        assert_non_null(p[i]);
        assert_int_equal((uintptr_t)p[i] % 16, 0);
        memset(p[i], (int)i, i * 37);
    }
    for (size_t i = 1; i < 100; i++)
        for (size_t j = 0; j < i * 37; j++)
            assert_int_equal(p[i][j], (char)i);
    arena_release(&a);
}

static void test_the_ceiling_holds(void **state)
{
    struct arena a;
    size_t count = 0;

    (void)state;
    arena_init(&a, NULL, 0, 100000);
    while (arena_alloc(&a, 1000) != NULL)
        count++;
    assert_in_range(count, 80, 100);
    assert_true(a.bytes <= 100000);
    assert_null(arena_alloc(&a, 100001));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX - 16));
    arena_release(&a);
    assert_null(arena_alloc(&a, 1)); /* released: nothing until it is initialised again */
}

static void test_copies_end_with_a_nul(void **state)
{
    struct slice with_nul = SLICE("a\0b"), copy;
    struct arena a;
    char *zero;

    (void)state;
    arena_init(&a, NULL, 0, 1 << 16);
    copy = arena_dup(&a, with_nul);
    assert_true(slice_eq(copy, with_nul) && copy.p != with_nul.p && copy.p[3] == '\0');
    copy = arena_dup(&a, (struct slice){0});
    assert_non_null(copy.p); /* empty, not absent */
    assert_int_equal(copy.n, 0);
    assert_string_equal(arena_text(&a, SLICE("abc")), "abc");
    zero = arena_zalloc(&a, 500);
    for (size_t i = 0; i < 500; i++)
        assert_int_equal(zero[i], 0);
    arena_release(&a);
    arena_init(&a, NULL, 0, 0);
    assert_null(arena_dup(&a, with_nul).p);
    assert_int_equal(arena_dup(&a, with_nul).n, 0);
    assert_null(arena_text(&a, with_nul));
    assert_null(arena_zalloc(&a, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_lent_block_comes_first),
        cmocka_unit_test(test_pieces_are_aligned_and_apart),
        cmocka_unit_test(test_the_ceiling_holds),
        cmocka_unit_test(test_copies_end_with_a_nul),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
