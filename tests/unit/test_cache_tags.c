/* Surrogate keys of a response. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/limits.h"
#include "cache/tags.h"
#include "purge/purge.h"

static struct arena arena;
static const uint64_t *hash;
static uint32_t count;
static bool overflow;

static int begin(void **state)
{
    (void)state;
    arena_init(&arena, NULL, 0, 1 << 20);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static void add(struct http_fields *f, const char *name, struct slice value)
{
    assert_int_equal(http_fields_add(f, &arena, 300, slice_of(name), value), ERR_OK);
}

static void read_one(const char *name, struct slice value)
{
    struct http_fields f = {0};

    add(&f, name, value);
    overflow = true;
    count = 99;
    assert_int_equal(tags_read(&f, &arena, &hash, &count, &overflow), ERR_OK);
}

static bool has(const char *tag)
{
    uint64_t want = purge_tag_hash(slice_of(tag));

    for (uint32_t i = 0; i < count; i++)
        if (hash[i] == want)
            return true;
    return false;
}

static void test_by_spaces_and_by_commas(void **state)
{
    (void)state;
    read_one("surrogate-key", SLICE("  a b,c   A a "));
    assert_int_equal(count, 3);
    assert_true(has("a") && has("b,c") && has("A") && !overflow);
    read_one("cache-tag", SLICE("a, b c ,,d,a"));
    assert_int_equal(count, 3);
    assert_true(has("a") && has("b c") && has("d") && !overflow);
    read_one("x-tags", SLICE("a"));
    assert_int_equal(count, 0);
    read_one("cache-tag", SLICE(""));
    assert_int_equal(count, 0);
    assert_false(overflow);
}

static void test_a_tab_divides_as_a_space_does(void **state)
{
    (void)state;
    read_one("surrogate-key", SLICE("\tred\tgreen \tblue\t"));
    assert_int_equal(count, 3);
    assert_true(has("red") && has("green") && has("blue"));
    read_one("cache-tag", SLICE("dark\tgreen,\tblue"));
    assert_int_equal(count, 2);
    assert_true(has("dark\tgreen") && has("blue"));
}

static void test_all_lines_of_both_names(void **state)
{
    struct http_fields f = {0};

    (void)state;
    add(&f, "cache-tag", SLICE("one"));
    add(&f, "surrogate-key", SLICE("two one"));
    add(&f, "cache-tag", SLICE("three"));
    assert_int_equal(tags_read(&f, &arena, &hash, &count, &overflow), ERR_OK);
    assert_int_equal(count, 3);
    assert_true(has("one") && has("two") && has("three"));
}

static struct slice many(unsigned from, unsigned n, const char *format)
{
    char *p = arena_alloc(&arena, n * 300u), *at = p;

    for (unsigned i = 0; i < n; i++)
        at += sprintf(at, format, from + i);
    return (struct slice){p, (size_t)(at - p)};
}

static void test_ceilings_are_told(void **state)
{
    char long_tag[LIMIT_TAG_BYTES + 2];

    (void)state;
    read_one("surrogate-key", many(0, LIMIT_TAGS, "%u "));
    assert_int_equal(count, LIMIT_TAGS);
    assert_false(overflow);
    read_one("surrogate-key", many(0, LIMIT_TAGS + 1, "%u "));
    assert_int_equal(count, LIMIT_TAGS);
    assert_true(overflow);
    memset(long_tag, 't', sizeof(long_tag));
    read_one("cache-tag", (struct slice){long_tag, LIMIT_TAG_BYTES});
    assert_int_equal(count, 1);
    assert_false(overflow);
    read_one("cache-tag", (struct slice){long_tag, LIMIT_TAG_BYTES + 1});
    assert_int_equal(count, 0);
    assert_true(overflow);
    read_one("surrogate-key", many(0, 200, "%0200u "));
    assert_int_equal(count, LIMIT_TAGS_BYTES / 200);
    assert_true(overflow);
}

static void test_a_full_arena_is_no_response_without_tags(void **state)
{
    struct http_fields f = {0};
    struct arena small;

    (void)state;
    add(&f, "cache-tag", SLICE("one"));
    arena_init(&small, NULL, 0, 64);
    assert_int_equal(tags_read(&f, &small, &hash, &count, &overflow), ERR_LIMIT);
    arena_release(&small);
}

static void test_the_union(void **state)
{
    const uint64_t a[] = {1, 2, 3}, b[] = {3, 4, 1};
    static uint64_t full[LIMIT_TAGS], more[2] = {5, UINT64_MAX};

    (void)state;
    overflow = false;
    assert_int_equal(tags_join(a, 3, b, 3, &arena, &hash, &count, &overflow), ERR_OK);
    assert_int_equal(count, 4);
    assert_false(overflow);
    assert_int_equal(tags_join(a, 3, NULL, 0, &arena, &hash, &count, &overflow), ERR_OK);
    assert_int_equal(count, 3);
    assert_int_equal(tags_join(NULL, 0, NULL, 0, &arena, &hash, &count, &overflow), ERR_OK);
    assert_int_equal(count, 0);
    for (uint64_t i = 0; i < LIMIT_TAGS; i++)
        full[i] = i;
    assert_int_equal(tags_join(full, LIMIT_TAGS, more, 1, &arena, &hash, &count, &overflow),
                     ERR_OK);
    assert_false(overflow);
    assert_int_equal(tags_join(full, LIMIT_TAGS, more, 2, &arena, &hash, &count, &overflow),
                     ERR_OK);
    assert_int_equal(count, LIMIT_TAGS);
    assert_true(overflow);
}

/* What one of the two has lost already stays lost: the caller says so by *overflow. */
static void test_the_union_forgets_no_overflow(void **state)
{
    const uint64_t a[] = {1};

    (void)state;
    overflow = true;
    assert_int_equal(tags_join(a, 1, NULL, 0, &arena, &hash, &count, &overflow), ERR_OK);
    assert_true(overflow);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_by_spaces_and_by_commas, begin, end),
        cmocka_unit_test_setup_teardown(test_a_tab_divides_as_a_space_does, begin, end),
        cmocka_unit_test_setup_teardown(test_all_lines_of_both_names, begin, end),
        cmocka_unit_test_setup_teardown(test_ceilings_are_told, begin, end),
        cmocka_unit_test_setup_teardown(test_a_full_arena_is_no_response_without_tags, begin, end),
        cmocka_unit_test_setup_teardown(test_the_union, begin, end),
        cmocka_unit_test_setup_teardown(test_the_union_forgets_no_overflow, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
