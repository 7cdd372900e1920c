/* Unit tests of the clocks: only what holds on any machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"

static void test_the_wall_clock_is_the_systems(void **state)
{
    time_t before = time(NULL);
    struct clock_moment m = clock_now();

    (void)state;
    assert_in_range(m.wall_ms / 1000, before - 1, before + 60);
}

static void test_monotonic_time_does_not_go_back(void **state)
{
    int64_t last_us = clock_mono_us(), last_ms = clock_mono_ms();

    (void)state;
    for (int i = 0; i < 10000; i++) {
        int64_t us = clock_mono_us(), ms = clock_mono_ms();

        assert_true(us >= last_us && ms >= last_ms);
        last_us = us;
        last_ms = ms;
    }
}

static void test_both_units_are_of_one_clock(void **state)
{
    int64_t us = clock_mono_us(), ms = clock_mono_ms(), moment_ms = clock_now().mono_ms;

    (void)state;
    assert_in_range(ms - us / 1000, 0, 60000);
    assert_in_range(moment_ms - ms, 0, 60000);
}

static void test_a_boot_has_one_number(void **state)
{
    (void)state;
    assert_int_equal(clock_boot(), clock_boot());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_wall_clock_is_the_systems),
        cmocka_unit_test(test_monotonic_time_does_not_go_back),
        cmocka_unit_test(test_both_units_are_of_one_clock),
        cmocka_unit_test(test_a_boot_has_one_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
