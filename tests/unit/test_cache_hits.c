/* How often an object has been found, up to where nobody counts any more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "cache/cache_priv.h"

static void test_each_find_is_counted_up_to_the_limit(void **state)
{
    struct hits *h;

    (void)state;
    assert_int_equal(hits_new(&h), ERR_OK);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(hits_count(h, 7), i < LIMIT_AHEAD_HITS ? i : LIMIT_AHEAD_HITS);
    assert_int_equal(hits_count(h, 8), 0);
    assert_int_equal(hits_count(h, 7 + 65536), 0); /* the same slot: it begins anew, and takes it */
    assert_int_equal(hits_count(h, 7), 0);
    hits_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_find_is_counted_up_to_the_limit)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
