/* Unit tests of the table of countries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "site/country.h"

static void test_every_country_is_found_and_has_a_continent(void **state)
{
    (void)state;
    for (size_t i = 0; i < SITE_COUNTRIES; i++) {
        const struct site_country *c = &site_countries[i];

        assert_ptr_equal(site_country_find(slice_of(c->code)), c);
        assert_non_null(strstr("AF AN AS EU NA OC SA", c->continent));
        if (i > 0)
            assert_true(strcmp(site_countries[i - 1].code, c->code) < 0);
    }
}

static void test_nothing_else_is_a_country(void **state)
{
    static const char *const no[] = {"", "D", "de", "DEU", "ZZ", "A1", "--", "EU", "U\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
        assert_null(site_country_find(slice_of(no[i])));
    assert_null(site_country_find((struct slice){0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_country_is_found_and_has_a_continent),
        cmocka_unit_test(test_nothing_else_is_a_country),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
