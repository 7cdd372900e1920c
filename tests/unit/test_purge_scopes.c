/* Unit tests of the table of scopes in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "purge/scopes.h"

static struct scopes table;

static int make(void **state)
{
    (void)state;
    return scopes_init(&table) == ERR_OK ? 0 : -1;
}

static int drop(void **state)
{
    (void)state;
    scopes_release(&table);
    return 0;
}

static void raise_id(uint64_t id, uint64_t hard, uint64_t soft)
{
    assert_int_equal(scopes_reserve(&table, 1), ERR_OK);
    scopes_raise(&table, id, (struct scopes_mark){.hard = hard, .soft = soft});
}

static void test_what_was_never_raised_has_no_marks(void **state)
{
    struct scopes_mark m = scopes_find(&table, 7);

    (void)state;
    assert_int_equal(m.hard, 0);
    assert_int_equal(m.soft, 0);
}

static void test_marks_only_grow_and_do_not_mix(void **state)
{
    struct scopes_mark m;

    (void)state;
    raise_id(7, 5, 0);
    raise_id(7, 3, 4);
    m = scopes_find(&table, 7);
    assert_int_equal(m.hard, 5);
    assert_int_equal(m.soft, 4);
    assert_int_equal(scopes_count(&table), 1);
}

/* Ids that fall on one another's slots, at the end of the table too. */
static void test_ids_that_collide_are_told_apart(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 100; i++)
        raise_id(1023 + i * 1024, i + 1, 0);
    for (uint64_t i = 0; i < 100; i++)
        assert_int_equal(scopes_find(&table, 1023 + i * 1024).hard, i + 1);
    assert_int_equal(scopes_find(&table, 1023 + 100 * 1024).hard, 0);
}

static void test_growth_keeps_every_mark_and_the_count(void **state)
{
    enum { MANY = 100000 };

    (void)state;
    for (uint64_t i = 1; i <= MANY; i++)
        raise_id(i * UINT64_C(0x9e3779b97f4a7c15), i, i / 2);
    assert_int_equal(scopes_count(&table), MANY);
    for (uint64_t i = 1; i <= MANY; i++) {
        struct scopes_mark m = scopes_find(&table, i * UINT64_C(0x9e3779b97f4a7c15));

        assert_int_equal(m.hard, i);
        assert_int_equal(m.soft, i / 2);
    }
}

static void test_lengths_are_found_in_order_and_only_those_of_the_host(void **state)
{
    static const size_t length[] = {3, 63, 64, 65, 200, PURGE_TEXT_BYTES_MAX};
    uint64_t mask;
    size_t n = 0;

    (void)state;
    assert_int_equal(scopes_reserve(&table, 2), ERR_OK);
    for (size_t i = 0; i < sizeof(length) / sizeof(length[0]); i++)
        scopes_add_length(&table, 77, length[i]);
    scopes_add_length(&table, 78, 12);

    mask = scopes_lengths(&table, 77);
    for (size_t i = 0; i < sizeof(length) / sizeof(length[0]); i++) {
        n = scopes_next_length(&table, mask, n, PURGE_TEXT_BYTES_MAX + 1);
        assert_int_equal(n, length[i]);
    }
    assert_int_equal(scopes_next_length(&table, mask, n, SIZE_MAX), 0);
    assert_int_equal(scopes_next_length(&table, mask, 65, 199), 0);
    assert_int_equal(scopes_next_length(&table, scopes_lengths(&table, 78), 0, 100), 12);
    assert_int_equal(scopes_lengths(&table, 79), 0);
    assert_int_equal(scopes_count(&table), 0);
}

static void test_a_restart_forgets_all_but_everything(void **state)
{
    (void)state;
    raise_id(7, 5, 6);
    assert_int_equal(scopes_reserve(&table, 1), ERR_OK);
    scopes_add_length(&table, 77, 12);
    scopes_raise_slot(&table.any_tag, (struct scopes_mark){.hard = 5});
    scopes_raise_slot(&table.all, (struct scopes_mark){.hard = 8});
    scopes_restart(&table);
    assert_int_equal(scopes_find(&table, 7).hard, 0);
    assert_int_equal(scopes_find(&table, 7).soft, 0);
    assert_int_equal(scopes_lengths(&table, 77), 0);
    assert_int_equal(scopes_mark_of(&table.any_tag).hard, 0);
    assert_int_equal(scopes_mark_of(&table.all).hard, 8);
    assert_int_equal(scopes_count(&table), 0);
    raise_id(7, 2, 0); /* lower than before: nothing of the old mark is left */
    assert_int_equal(scopes_find(&table, 7).hard, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_was_never_raised_has_no_marks, make, drop),
        cmocka_unit_test_setup_teardown(test_marks_only_grow_and_do_not_mix, make, drop),
        cmocka_unit_test_setup_teardown(test_ids_that_collide_are_told_apart, make, drop),
        cmocka_unit_test_setup_teardown(test_growth_keeps_every_mark_and_the_count, make, drop),
        cmocka_unit_test_setup_teardown(test_lengths_are_found_in_order_and_only_those_of_the_host,
                                        make, drop),
        cmocka_unit_test_setup_teardown(test_a_restart_forgets_all_but_everything, make, drop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
