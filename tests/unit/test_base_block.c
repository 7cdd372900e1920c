/* Unit tests of counted buffers. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/block.h"

enum { THREADS = 4, ROUNDS = 20000 };

static void test_the_last_reference_frees(void **state)
{
    size_t before = block_bytes_in_use();
    struct block *b = block_new(1000), *c = block_new(0);

    (void)state;
    assert_int_equal(b->capacity, 1000);
    assert_int_equal(block_bytes_in_use(), before + 1000);
    assert_ptr_equal(block_ref(b), b);
    block_unref(b);
    assert_int_equal(block_bytes_in_use(), before + 1000);
    memset(b->data, 1, 1000); /* still ours */
    block_unref(b);
    block_unref(c);
    block_unref(NULL);
    assert_int_equal(block_bytes_in_use(), before);
}

static void *hold_and_drop(void *user)
{
    struct block *b = user;

    for (size_t i = 0; i < ROUNDS; i++)
        block_unref(block_ref(b));
    block_unref(b);
    return NULL;
}

static void test_threads_share_one(void **state)
{
    size_t before = block_bytes_in_use();
    struct block *b = block_new(64);
    pthread_t thread[THREADS];

    (void)state;
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, hold_and_drop, block_ref(b)), 0);
    block_unref(b);
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(block_bytes_in_use(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_last_reference_frees),
        cmocka_unit_test(test_threads_share_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
