/* When a request may be sent once more, and what the budget allows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "upstream/retry.h"

static void test_who_may_be_sent_again(void **state)
{
    static const struct {
        enum upstream_failure failure;
        bool is_idempotent, was_sent, has_answer;
        unsigned retries;
        size_t servers;
        bool want;
    } row[] = {
        {UPSTREAM_FAILED_CLOSED, true, true, false, 0, 1, true},
        {UPSTREAM_FAILED_CLOSED, false, true, false, 0, 1, false},
        {UPSTREAM_FAILED_CLOSED, false, false, false, 0, 1, true},
        {UPSTREAM_FAILED_CLOSED, true, true, true, 0, 1, false},
        {UPSTREAM_FAILED_CLOSED, true, true, false, 1, 1, false},
        {UPSTREAM_FAILED_CLOSED, true, true, false, 1, 9, false},
        {UPSTREAM_FAILED_CONNECT, true, false, false, 0, 1, false},
        {UPSTREAM_FAILED_CONNECT, false, false, false, 0, 2, true},
        {UPSTREAM_FAILED_CONNECT, false, true, false, 0, 2, false},
        {UPSTREAM_FAILED_RESOLVE, false, false, false, 0, 2, true},
        {UPSTREAM_FAILED_TLS, false, false, false, 0, 2, true},
        {UPSTREAM_FAILED_TLS, false, false, false, 0, 1, false},
        {UPSTREAM_FAILED_TIMEOUT, true, true, false, 0, 2, false},
        {UPSTREAM_FAILED_GARBAGE, true, true, false, 0, 2, false},
        {UPSTREAM_FAILED_TRUNCATED, true, true, true, 0, 2, false},
        {UPSTREAM_FAILED_OVERLOAD, true, false, false, 0, 2, false},
        {UPSTREAM_OK, true, true, true, 0, 2, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct retry_facts f = {.failure = row[i].failure,
                                .is_idempotent = row[i].is_idempotent,
                                .was_sent = row[i].was_sent,
                                .has_answer = row[i].has_answer,
                                .retries = row[i].retries,
                                .servers_count = row[i].servers};

        if (retry_may(&f) != row[i].want)
            fail_msg("row %zu", i);
    }
}

static unsigned take_all(struct retry_budget *b, int64_t now_ms)
{
    unsigned n = 0;

    while (n < 100000 && retry_take(b, now_ms))
        n++;
    return n;
}

static void test_a_tenth_of_ten_seconds(void **state)
{
    struct retry_budget b = {0};
    int64_t now_ms = 1000000;

    (void)state;
    assert_int_equal(take_all(&b, now_ms), RETRY_ALWAYS); /* a quiet site may retry too */
    for (int i = 0; i < 1000; i++)
        retry_count_request(&b, now_ms + i * 9);
    assert_int_equal(take_all(&b, now_ms + 9000), 1000 * LIMIT_RETRY_PERCENT / 100 - RETRY_ALWAYS);
    assert_int_equal(take_all(&b, now_ms + 9999), 0);
    /* what was taken 10 s ago no longer counts, nor do the requests of then */
    assert_int_equal(take_all(&b, now_ms + 30000), RETRY_ALWAYS);
}

static void test_a_clock_that_is_a_turn_behind(void **state)
{
    struct retry_budget b = {0};

    (void)state;
    for (int i = 0; i < 100; i++)
        retry_count_request(&b, 50000);
    retry_count_request(&b, 39999); /* another worker's clock: the same slot */
    assert_int_equal(take_all(&b, 50000), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_may_be_sent_again),
        cmocka_unit_test(test_a_tenth_of_ten_seconds),
        cmocka_unit_test(test_a_clock_that_is_a_turn_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
