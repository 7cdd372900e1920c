/* Up and down with hysteresis, the slow start of what came back, and the breaker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "upstream/breaker.h"
#include "upstream/health.h"

static void test_down_after_three_up_after_two(void **state)
{
    /* g: a good probe, b: a bad one; the state after each */
    static const struct {
        const char *probes, *down;
    } row[] = {
        {"gggg", "...."},        {"bb", ".."},
        {"bbb", "..D"},          {"bbgbbgbb", "........"},
        {"bbbb", "..DD"},        {"bbbg", "..DD"},
        {"bbbgg", "..DD."},      {"bbbgbg", "..DDDD"},
        {"bbbgbgg", "..DDDD."},  {"bbbggbb", "..DD..."},
        {"bbbggbbb", "..DD...D"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct health h = {0};

        for (size_t j = 0; row[i].down[j] != '\0'; j++) {
            bool was = h.is_down, changed = health_probed(&h, row[i].probes[j] == 'g');

            assert_int_equal(h.is_down, row[i].down[j] == 'D');
            assert_int_equal(changed, h.is_down != was);
        }
    }
}

static void test_what_came_back_gets_twice_as_much_again_and_again(void **state)
{
    static const struct {
        unsigned most;
        int64_t after_ms;
        unsigned want;
    } row[] = {
        {64, 0, 1},      {64, 4999, 1},   {64, 5000, 2},   {64, 10000, 4},   {64, 25000, 32},
        {64, 29999, 32}, {64, 30000, 64}, {64, 99999, 64}, {1, 0, 1},        {2, 0, 1},
        {2, 29999, 1},   {2, 30000, 2},   {100, 0, 1},     {100, 29999, 64}, {64, -5, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++)
        assert_int_equal(health_room(row[i].most, 1000, 1000 + row[i].after_ms), row[i].want);
    assert_int_equal(health_room(64, 0, 5), 64); /* it was never down */
}

static void test_the_breaker_opens_after_ten_in_a_row(void **state)
{
    struct breaker b = {0};

    (void)state;
    for (int i = 1; i < LIMIT_BREAKER_FAILURES; i++) {
        assert_false(breaker_failed(&b, 1000));
        assert_true(breaker_may_pass(&b, 1000));
    }
    assert_true(breaker_failed(&b, 1000));
    assert_false(breaker_may_pass(&b, 1000));
    assert_false(breaker_failed(&b, 2000)); /* one that was under way */
    assert_false(breaker_may_pass(&b, 1000 + LIMIT_BREAKER_OPEN_MS - 1));
}

static void test_an_answer_in_between_counts_anew(void **state)
{
    struct breaker b = {0};

    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_false(breaker_failed(&b, 1000));
        if (i % (LIMIT_BREAKER_FAILURES - 1) == LIMIT_BREAKER_FAILURES - 2)
            assert_false(breaker_worked(&b));
    }
    assert_true(breaker_may_pass(&b, 1000));
}

static void test_failures_far_apart_do_not_open_it(void **state)
{
    struct breaker b = {0};

    (void)state;
    for (int64_t i = 0; i < 100; i++)
        assert_false(breaker_failed(&b, i * (LIMIT_BREAKER_WINDOW_MS + 1)));
}

static void test_an_open_one_lets_one_through_at_a_time(void **state)
{
    struct breaker b = {0};
    int64_t now_ms = 1000;

    (void)state;
    for (int i = 0; i < LIMIT_BREAKER_FAILURES; i++)
        (void)breaker_failed(&b, now_ms);
    for (int i = 0; i < 3; i++) {
        now_ms += LIMIT_BREAKER_OPEN_MS;
        assert_true(breaker_may_pass(&b, now_ms));
        assert_false(breaker_may_pass(&b, now_ms));
        assert_false(breaker_failed(&b, now_ms));
        assert_false(breaker_may_pass(&b, now_ms + LIMIT_BREAKER_OPEN_MS - 1));
    }
    assert_true(breaker_worked(&b));
    assert_true(breaker_may_pass(&b, now_ms));
    assert_false(breaker_failed(&b, now_ms)); /* from the beginning */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_down_after_three_up_after_two),
        cmocka_unit_test(test_what_came_back_gets_twice_as_much_again_and_again),
        cmocka_unit_test(test_the_breaker_opens_after_ten_in_a_row),
        cmocka_unit_test(test_an_answer_in_between_counts_anew),
        cmocka_unit_test(test_failures_far_apart_do_not_open_it),
        cmocka_unit_test(test_an_open_one_lets_one_through_at_a_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
