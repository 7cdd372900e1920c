/* Unit tests of the hash table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/map.h"

enum { MANY = 5000 };

static struct map *map;
static int value[MANY];

static int make(void **state)
{
    (void)state;
    return map_new(&map) == ERR_OK ? 0 : -1;
}

static int drop(void **state)
{
    (void)state;
    map_free(map);
    return 0;
}

static struct slice key_of(int i, char text[16])
{
    return (struct slice){text, (size_t)snprintf(text, 16, "key %d", i)};
}

static void test_what_was_put_is_found(void **state)
{
    char text[16];

    (void)state;
    for (int i = 0; i < MANY; i++)
        assert_int_equal(map_put(map, key_of(i, text), &value[i]), ERR_OK);
    assert_int_equal(map_count(map), MANY);
    for (int i = 0; i < MANY; i += 2)
        assert_ptr_equal(map_remove(map, key_of(i, text)), &value[i]);
    assert_int_equal(map_count(map), MANY / 2);
    for (int i = 0; i < MANY; i++)
        assert_ptr_equal(map_find(map, key_of(i, text)), i % 2 == 0 ? NULL : &value[i]);
    assert_null(map_remove(map, SLICE("key 0")));
}

static void test_putting_again_replaces(void **state)
{
    char key[] = "a";

    (void)state;
    assert_int_equal(map_put(map, slice_of(key), &value[0]), ERR_OK);
    key[0] = 'b'; /* the map has a copy */
    assert_int_equal(map_put(map, SLICE("a"), &value[1]), ERR_OK);
    assert_int_equal(map_count(map), 1);
    assert_ptr_equal(map_find(map, SLICE("a")), &value[1]);
    assert_null(map_find(map, SLICE("b")));
}

static void test_keys_are_bytes(void **state)
{
    static const struct slice key[] = {{"", 0}, {"\0", 1}, {"\0\0", 2}, {"a", 1}, {"a\0", 2}};

    (void)state;
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(map_put(map, key[i], &value[i]), ERR_OK);
    assert_int_equal(map_count(map), 5);
    for (size_t i = 0; i < 5; i++)
        assert_ptr_equal(map_find(map, key[i]), &value[i]);
}

static void test_an_empty_map(void **state)
{
    (void)state;
    assert_int_equal(map_count(map), 0);
    assert_null(map_find(map, SLICE("a")));
    assert_null(map_remove(map, SLICE("a")));
    map_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_was_put_is_found, make, drop),
        cmocka_unit_test_setup_teardown(test_putting_again_replaces, make, drop),
        cmocka_unit_test_setup_teardown(test_keys_are_bytes, make, drop),
        cmocka_unit_test_setup_teardown(test_an_empty_map, make, drop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
