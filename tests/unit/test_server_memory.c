/* What a crowd leaves behind is given back, and what is in use is left alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "server/memory.h"

enum { PIECE_BYTES = 2000, PIECES = 80 << 10 };

static char *piece[PIECES];

static void test_what_a_crowd_has_left_is_given_back(void **state)
{
    struct memory m = {.looked_ms = 0};

    (void)state;
    for (int i = 0; i < PIECES; i++) {
        piece[i] = malloc(PIECE_BYTES);
        assert_non_null(piece[i]);
        memset(piece[i], i, PIECE_BYTES);
    }
    if (mallinfo2().uordblks + mallinfo2().hblkhd < (size_t)PIECES * PIECE_BYTES)
        skip(); /* an allocator that is not glibc's, such as a sanitizer's */
    assert_true(memory_kept() < LIMIT_MEMORY_KEPT_BYTES);
    assert_false(memory_look(&m, LIMIT_MEMORY_LOOK_MS));
    for (int i = 0; i < PIECES - 1; i++) /* the last one lies at the end */
        free(piece[i]);
    assert_true(memory_kept() >= LIMIT_MEMORY_KEPT_BYTES);
    assert_true(memory_look(&m, 2 * LIMIT_MEMORY_LOOK_MS));
    assert_true(memory_kept() < LIMIT_MEMORY_KEPT_BYTES / 4);
    assert_false(memory_look(&m, 3 * LIMIT_MEMORY_LOOK_MS));
    free(piece[PIECES - 1]);
}

static void test_a_look_is_due_once_in_a_while(void **state)
{
    struct memory m = {.looked_ms = 0};

    (void)state;
    assert_false(memory_is_due(&m, LIMIT_MEMORY_LOOK_MS - 1));
    assert_true(memory_is_due(&m, LIMIT_MEMORY_LOOK_MS));
    (void)memory_look(&m, LIMIT_MEMORY_LOOK_MS);
    assert_false(memory_is_due(&m, 2 * LIMIT_MEMORY_LOOK_MS - 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_crowd_has_left_is_given_back),
        cmocka_unit_test(test_a_look_is_due_once_in_a_while),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
