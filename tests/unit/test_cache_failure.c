/* Of each failure the client, Cache-Status and the next tier are told what it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cache/failure.h"
#include "http/fields.h"

static void test_an_edge_is_told_which_failure_its_shield_met(void **state)
{
    (void)state;
    for (unsigned i = RESPONSE_CAME + 1; i < RESPONSE_FAILURES; i++)
        assert_int_equal(failure_of_mark(slice_of(failure_words(i)->mark)), i);
}

static void test_a_mark_that_is_not_known_is_a_failure(void **state)
{
    (void)state;
    assert_int_not_equal(failure_of_mark(SLICE("origin-is-on-holiday")), RESPONSE_CAME);
    assert_int_not_equal(failure_of_mark(SLICE("")), RESPONSE_CAME);
}

static void test_details_are_tokens_and_tell_failures_apart(void **state)
{
    (void)state;
    for (unsigned i = 0; i < RESPONSE_FAILURES; i++) {
        const struct failure_words *w = failure_words(i);

        assert_true(http_is_token(slice_of(w->detail)) && http_is_token(slice_of(w->mark)));
        assert_true(w->text[strlen(w->text) - 1] == '\n');
        assert_true(w->status >= 502 && w->status <= 504);
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(w->detail, failure_words(j)->detail);
    }
}

/* 503 says "try again": nobody has begun with the request. */
static void test_statuses(void **state)
{
    static const struct {
        enum response_failure failure;
        int status;
    } row[] = {
        {RESPONSE_UNREACHABLE, 503},
        {RESPONSE_UNRESOLVED, 503},
        {RESPONSE_CLOSED, 503},
        {RESPONSE_OVERLOADED, 503},
        {RESPONSE_DOWN, 503},
        {RESPONSE_BREAKER, 503},
        {RESPONSE_TLS, 502},
        {RESPONSE_GARBAGE, 502},
        {RESPONSE_BROKEN, 502},
        {RESPONSE_TIMED_OUT, 504},
        {RESPONSE_CONNECT_TIMED_OUT, 504},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++)
        assert_int_equal(failure_words(row[i].failure)->status, row[i].status);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_edge_is_told_which_failure_its_shield_met),
        cmocka_unit_test(test_a_mark_that_is_not_known_is_a_failure),
        cmocka_unit_test(test_details_are_tokens_and_tell_failures_apart),
        cmocka_unit_test(test_statuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
