/* Unit tests of the pins. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "store/pins.h"

static struct pins *p;

static int setup(void **state)
{
    (void)state;
    return pins_new(&p) == ERR_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    pins_free(p);
    return 0;
}

static void test_what_is_pinned_twice_is_unpinned_twice(void **state)
{
    int64_t since = 0;

    (void)state;
    assert_true(pins_is_free(p, 5, &since));
    pins_add(p, 5, 10);
    pins_add(p, 5, 20);
    assert_false(pins_is_free(p, 5, &since));
    assert_int_equal(since, 20);
    assert_true(pins_is_free(p, 6, &since));
    pins_drop(p, 5);
    assert_false(pins_is_free(p, 5, &since));
    pins_drop(p, 5);
    assert_true(pins_is_free(p, 5, &since));
    pins_drop(p, 5); /* one too many hurts nobody */
}

static void test_a_broken_pin_holds_nothing_and_ends_with_its_holders(void **state)
{
    int64_t since;

    (void)state;
    pins_add(p, 5, 10);
    pins_break(p, 5);
    assert_true(pins_is_free(p, 5, &since));
    pins_drop(p, 5);
    pins_add(p, 5, 10);
    assert_false(pins_is_free(p, 5, &since));
    pins_break(p, 7);
    assert_true(pins_is_free(p, 7, &since));
    pins_drop(p, 5);
}

/* Against a plain count: runs of slots are closed up rightly when one is taken out of their middle.
 */
static void test_thousands_of_pins_in_any_order(void **state)
{
    enum { IDS = 3000 };
    static unsigned count[IDS];
    uint64_t seed = 1;
    int64_t since;

    (void)state;
    for (int i = 0; i < 200000; i++) {
        uint64_t id;

        seed = seed * 6364136223846793005u + 1442695040888963407u;
        id = seed >> 33;
        if (id % 5 < 2 && count[id / 5 % IDS] > 0) {
            count[id / 5 % IDS]--;
            pins_drop(p, 1 + id / 5 % IDS);
        } else if (count[id / 5 % IDS] < 3) {
            count[id / 5 % IDS]++;
            pins_add(p, 1 + id / 5 % IDS, 1);
        }
        if (i % 1000 == 0)
            for (uint64_t k = 0; k < IDS; k++)
                assert_int_equal(pins_is_free(p, 1 + k, &since), count[k] == 0);
    }
}

static void *add_and_drop(void *user)
{
    uint64_t id = (uint64_t)(uintptr_t)user;
    int64_t since;

    for (int i = 0; i < 20000; i++) {
        uint64_t k = id + (uint64_t)i % 100;

        pins_add(p, k, i);
        assert_false(pins_is_free(p, k, &since));
        pins_drop(p, k);
    }
    return NULL;
}

static void test_threads_do_not_lose_each_others_pins(void **state)
{
    pthread_t thread[3];
    int64_t since;

    (void)state;
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(
            pthread_create(&thread[i], NULL, add_and_drop, (void *)(uintptr_t)(1 + 30 * i)), 0);
    for (size_t i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    for (uint64_t k = 1; k < 200; k++)
        assert_true(pins_is_free(p, k, &since));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_what_is_pinned_twice_is_unpinned_twice),
        T(test_a_broken_pin_holds_nothing_and_ends_with_its_holders),
        T(test_thousands_of_pins_in_any_order),
        T(test_threads_do_not_lose_each_others_pins),
    };

    return cmocka_run_group_tests_name("store/pins", tests, NULL, NULL);
}
