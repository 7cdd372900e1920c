/* Unit tests of the heap of timers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/timers.h"

enum { MANY = 1000 };

static struct timers timers;
static int64_t last_due_ms;
static unsigned fired;

static int start(void **state)
{
    (void)state;
    last_due_ms = INT64_MIN;
    fired = 0;
    return 0;
}

static int stop(void **state)
{
    (void)state;
    timers_release(&timers);
    return 0;
}

static void on_fire(void *user)
{
    struct reactor_timer *t = user;

    assert_true(t->due_ms >= last_due_ms);
    assert_int_equal(t->slot, 0);
    last_due_ms = t->due_ms;
    fired++;
}

static void on_fire_start_again(void *user)
{
    fired++;
    timers_start(&timers, user, ((struct reactor_timer *)user)->due_ms + 10);
}

static void on_fire_stop_user(void *user)
{
    fired++;
    timers_stop(&timers, user);
}

static void test_they_fire_in_order_and_once(void **state)
{
    static struct reactor_timer t[MANY];

    (void)state;
    for (size_t i = 0; i < MANY; i++) {
        t[i] = (struct reactor_timer){.fire = on_fire, .user = &t[i]};
        timers_start(&timers, &t[i], (int64_t)(i * 7919 % 500));
    }
    for (size_t i = 0; i < MANY; i += 3) /* move */
        timers_start(&timers, &t[i], (int64_t)(i * 104729 % 500));
    for (size_t i = 1; i < MANY; i += 3)
        timers_stop(&timers, &t[i]);
    timers_stop(&timers, &t[1]); /* again: nothing */
    assert_int_equal(timers.count, MANY - MANY / 3);
    timers_fire(&timers, 249);
    assert_true(fired > 0 && last_due_ms <= 249);
    assert_true(timers_wait_ms(&timers, 249, 1000) > 0);
    timers_fire(&timers, 499);
    assert_int_equal(fired, MANY - MANY / 3);
    timers_fire(&timers, INT64_MAX);
    assert_int_equal(fired, MANY - MANY / 3);
    assert_int_equal(timers.count, 0);
}

static void test_how_long_to_wait(void **state)
{
    struct reactor_timer t = {.fire = on_fire, .user = &t};

    (void)state;
    assert_int_equal(timers_wait_ms(&timers, 5, 1000), 1000);
    timers_start(&timers, &t, 100);
    assert_int_equal(timers_wait_ms(&timers, 40, 1000), 60);
    assert_int_equal(timers_wait_ms(&timers, 40, 50), 50);
    assert_int_equal(timers_wait_ms(&timers, 100, 50), 0);
    assert_int_equal(timers_wait_ms(&timers, 400, 50), 0); /* late, not negative */
    timers_fire(&timers, 99);
    assert_int_equal(fired, 0);
    timers_fire(&timers, 100);
    assert_int_equal(fired, 1);
}

static void test_what_fires_may_start_and_stop(void **state)
{
    struct reactor_timer again = {.fire = on_fire_start_again, .user = &again};
    struct reactor_timer victim = {.fire = on_fire, .user = &victim};
    struct reactor_timer killer = {.fire = on_fire_stop_user, .user = &victim};

    (void)state;
    timers_start(&timers, &again, 10);
    timers_fire(&timers, 35);
    assert_int_equal(fired, 3); /* 10, 20, 30 */
    timers_stop(&timers, &again);
    timers_start(&timers, &killer, 40);
    timers_start(&timers, &victim, 41);
    timers_fire(&timers, 50);
    assert_int_equal(fired, 4);
    assert_int_equal(timers.count, 0);
}

static void test_release_stops_all(void **state)
{
    struct reactor_timer t = {.fire = on_fire, .user = &t};

    (void)state;
    timers_start(&timers, &t, 10);
    timers_release(&timers);
    assert_int_equal(t.slot, 0);
    timers_stop(&timers, &t);
    timers_start(&timers, &t, 20); /* and both may be used again */
    timers_fire(&timers, 20);
    assert_int_equal(fired, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_they_fire_in_order_and_once, start, stop),
        cmocka_unit_test_setup_teardown(test_how_long_to_wait, start, stop),
        cmocka_unit_test_setup_teardown(test_what_fires_may_start_and_stop, start, stop),
        cmocka_unit_test_setup_teardown(test_release_stops_all, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
