/* Which server, and which hop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "upstream/choice.h"

enum { KEYS = 20000 };

static uint64_t key_of(uint64_t i)
{
    return choice_id((struct slice){(const char *)&i, sizeof(i)});
}

static void test_least_takes_the_one_with_the_fewest_for_its_weight(void **state)
{
    static const struct {
        struct choice_server s[3];
        uint64_t turn;
        size_t want;
    } row[] = {
        {{{1, 1, 5, true}, {2, 1, 4, true}, {3, 1, 6, true}}, 0, 1},
        {{{1, 1, 5, true}, {2, 1, 0, false}, {3, 1, 6, true}}, 0, 0},
        {{{1, 1, 5, true}, {2, 3, 12, true}, {3, 1, 6, true}}, 0, 1}, /* 4 for each of its weight */
        {{{1, 1, 0, false}, {2, 1, 0, false}, {3, 1, 0, false}}, 0, CHOICE_NONE},
        {{{1, 1, 0, true}, {2, 1, 0, true}, {3, 1, 0, true}}, 7, 1}, /* equal: by turns */
        {{{1, 1, 0, true}, {2, 1, 0, false}, {3, 1, 0, true}}, 7, 2},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++)
        assert_int_equal(choice_least(row[i].s, 3, row[i].turn), row[i].want);
}

static void test_turns_are_as_the_weights(void **state)
{
    const struct choice_server s[] = {
        {1, 1, 0, true}, {2, 3, 0, true}, {3, 9, 0, false}, {4, 2, 0, true}};
    unsigned count[4] = {0};

    (void)state;
    for (uint64_t turn = 0; turn < 600; turn++)
        count[choice_least(s, 4, turn)]++;
    assert_int_equal(count[0], 100);
    assert_int_equal(count[1], 300);
    assert_int_equal(count[2], 0);
    assert_int_equal(count[3], 200);
}

static void test_keys_are_spread_as_the_weights(void **state)
{
    const struct choice_server s[] = {
        {key_of(1), 1, 9, true}, {key_of(2), 2, 0, true}, {key_of(3), 1, 0, true}};
    unsigned count[3] = {0};

    (void)state;
    for (uint64_t i = 0; i < KEYS; i++)
        count[choice_hash(s, 3, key_of(100 + i))]++;
    assert_in_range(count[0], KEYS / 4 - KEYS / 50, KEYS / 4 + KEYS / 50);
    assert_in_range(count[1], KEYS / 2 - KEYS / 50, KEYS / 2 + KEYS / 50);
    assert_in_range(count[2], KEYS / 4 - KEYS / 50, KEYS / 4 + KEYS / 50);
}

static void test_who_leaves_takes_no_other_key_along(void **state)
{
    struct choice_server s[] = {{key_of(1), 1, 0, true},
                                {key_of(2), 1, 0, true},
                                {key_of(3), 1, 0, true},
                                {key_of(4), 1, 0, true}};
    unsigned moved[4] = {0};

    (void)state;
    for (uint64_t i = 0; i < KEYS; i++) {
        size_t before, after;

        s[2].is_fit = true;
        before = choice_hash(s, 4, key_of(100 + i));
        s[2].is_fit = false;
        after = choice_hash(s, 4, key_of(100 + i));
        if (before != 2)
            assert_int_equal(after, before);
        else
            moved[after]++;
    }
    assert_int_equal(moved[2], 0);
    for (int i = 0; i < 4; i++)
        if (i != 2)
            assert_in_range(moved[i], KEYS / 12 - KEYS / 50, KEYS / 12 + KEYS / 50);
}

/* Two near shields, two far ones, and the origin. */
static struct choice_hop *hops(const char *what)
{
    static struct choice_hop h[5];

    for (size_t i = 0; i < 5; i++) {
        h[i] = (struct choice_hop){.id = key_of(i),
                                   .group = i < 2   ? 0
                                            : i < 4 ? 1
                                                    : 2,
                                   .is_up = true,
                                   .has_room = true};
        h[i].is_up = what[i] != 'd';
        h[i].has_room = what[i] != 'f';
        h[i].was_tried = what[i] == 't';
    }
    return h;
}

static void test_the_nearest_group_that_is_left(void **state)
{
    static const struct {
        const char *what; /* u: up, d: down, f: no room, t: was tried */
        unsigned group;
    } row[] = {
        {"uuuuu", 0}, {"duuuu", 0}, {"tuuuu", 0}, {"dduuu", 1}, {"ttuuu", 1}, {"dtuuu", 1},
        {"fduuu", 0}, {"ffuuu", 0}, {"ddddu", 2}, {"ddttu", 2}, {"dddut", 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++)
        for (uint64_t k = 0; k < 50; k++) {
            size_t at = choice_route(hops(row[i].what), 5, key_of(k));

            assert_int_equal(hops(row[i].what)[at].group, row[i].group);
            assert_true(row[i].what[at] == 'u' || row[i].what[at] == 'f');
        }
    assert_true(choice_route(hops("dtddt"), 5, 1) == CHOICE_NONE);
    assert_true(choice_route(NULL, 0, 1) == CHOICE_NONE);
}

static void test_inside_a_group_the_key_decides(void **state)
{
    unsigned count[5] = {0};

    (void)state;
    for (uint64_t i = 0; i < KEYS; i++) {
        uint64_t key = key_of(100 + i);
        size_t at = choice_route(hops("uuuuu"), 5, key);

        count[at]++;
        assert_int_equal(choice_route(hops("uuuuu"), 5, key), at);
        /* without room the other one has it, and only then */
        assert_int_equal(choice_route(hops(at == 0 ? "fuuuu" : "ufuuu"), 5, key), 1 - at);
        assert_int_equal(choice_route(hops("ffuuu"), 5, key), at);
    }
    assert_in_range(count[0], KEYS / 2 - KEYS / 50, KEYS / 2 + KEYS / 50);
    assert_int_equal(count[0] + count[1], KEYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_least_takes_the_one_with_the_fewest_for_its_weight),
        cmocka_unit_test(test_turns_are_as_the_weights),
        cmocka_unit_test(test_keys_are_spread_as_the_weights),
        cmocka_unit_test(test_who_leaves_takes_no_other_key_along),
        cmocka_unit_test(test_the_nearest_group_that_is_left),
        cmocka_unit_test(test_inside_a_group_the_key_decides),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
