/* Unit tests of reading: snapshots, walking, the guard. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "table_dir.h"

enum { ONE, TWO, MAP_BYTES = 16 << 20 };

static void put(struct table *t, unsigned which, const char *key, struct slice value)
{
    struct table_write *w = NULL;

    assert_int_equal(table_write_begin(t, &w), ERR_OK);
    assert_int_equal(table_put(w, which, slice_of(key), value), ERR_OK);
    assert_int_equal(table_commit(&w), ERR_OK);
    assert_null(w);
}

static struct table_reader *reader(struct table *t)
{
    struct table_reader *r = NULL;

    assert_int_equal(table_reader_new(t, &r), ERR_OK);
    return r;
}

static void assert_get(struct table_reader *r, const char *key, const char *want)
{
    struct slice v;

    assert_int_equal(table_get(r, ONE, slice_of(key), &v), ERR_OK);
    assert_true(slice_eq(v, slice_of(want)));
}

static void test_what_was_put_is_found_in_its_own_table_only(void **state)
{
    struct table *t = table_must_open(MAP_BYTES);
    struct table_reader *r = reader(t);
    struct slice v;

    (void)state;
    put(t, ONE, "key", SLICE("value"));
    assert_int_equal(table_read_begin(r), ERR_OK);
    assert_get(r, "key", "value");
    assert_int_equal(table_get(r, ONE, SLICE("ke"), &v), ERR_NOT_FOUND);
    assert_int_equal(table_get(r, TWO, SLICE("key"), &v), ERR_NOT_FOUND);
    table_read_end(r);
    table_reader_free(r);
    table_close(t);
}

static void test_a_read_sees_one_moment_and_the_next_read_the_next(void **state)
{
    struct table *t = table_must_open(MAP_BYTES);
    struct table_reader *r = reader(t);

    (void)state;
    put(t, ONE, "key", SLICE("old"));
    assert_int_equal(table_read_begin(r), ERR_OK);
    put(t, ONE, "key", SLICE("new"));
    assert_get(r, "key", "old");
    table_read_end(r);
    assert_int_equal(table_read_begin(r), ERR_OK);
    assert_get(r, "key", "new");
    table_read_end(r);
    table_reader_free(r);
    table_close(t);
}

static void test_a_walk_goes_in_the_order_of_bytes_and_ends(void **state)
{
    static const char *const order[] = {"a", "aa", "b", "\xff"};
    struct table *t = table_must_open(MAP_BYTES);
    struct table_reader *r = reader(t);
    struct slice k, v;

    (void)state;
    for (size_t i = 4; i-- > 0;)
        put(t, ONE, order[i], slice_of(order[i]));
    for (int round = 0; round < 2; round++) { /* the second on a renewed cursor */
        assert_int_equal(table_read_begin(r), ERR_OK);
        assert_int_equal(table_seek(r, ONE, (struct slice){NULL, 0}, &k, &v), ERR_OK);
        for (size_t i = 0; i < 4; i++) {
            assert_true(slice_eq(k, slice_of(order[i])) && slice_eq(v, slice_of(order[i])));
            assert_int_equal(table_next(r, ONE, &k, &v), i < 3 ? ERR_OK : ERR_NOT_FOUND);
        }
        assert_int_equal(table_seek(r, ONE, SLICE("ab"), &k, &v), ERR_OK);
        assert_true(slice_eq(k, SLICE("b")));
        assert_int_equal(table_seek(r, TWO, (struct slice){NULL, 0}, &k, &v), ERR_NOT_FOUND);
        table_read_end(r);
    }
    table_reader_free(r);
    table_close(t);
}

static void test_more_readers_than_slots_are_refused(void **state)
{
    struct table *t = table_must_open(MAP_BYTES);
    struct table_reader *r[1024];
    size_t n = 0;
    enum err e = ERR_OK;

    (void)state;
    while (n < 1024 && (e = table_reader_new(t, &r[n])) == ERR_OK)
        n++;
    assert_int_equal(e, ERR_LIMIT);
    assert_true(n >= 500);
    table_reader_free(r[--n]); /* and a slot given back can be had again */
    assert_int_equal(table_reader_new(t, &r[n]), ERR_OK);
    for (size_t i = 0; i <= n; i++)
        table_reader_free(r[i]);
    table_close(t);
}

static void cut_file(const char *name)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", table_dir, name);
    assert_int_equal(truncate(path, 8192), 0);
}

/* Pages that are gone from under the map fault as those of a broken disk do. */
static void test_a_page_that_cannot_be_read_is_an_error_not_a_death(void **state)
{
    struct table *t = table_must_open(MAP_BYTES);
    struct table_reader *r = reader(t);
    size_t bytes = 1 << 20;
    char *body = calloc(1, bytes), *to = malloc(bytes);
    struct slice k, v;

    (void)state;
    assert_non_null(body);
    assert_non_null(to);
    table_guard_install();
    put(t, ONE, "key", (struct slice){body, bytes});
    assert_int_equal(table_read_begin(r), ERR_OK);
    assert_int_equal(table_get(r, ONE, SLICE("key"), &v), ERR_OK);
    assert_int_equal(table_copy(to, v), ERR_OK);
    cut_file("data.mdb");
    for (int i = 0; i < 3; i++) /* the guard is up again after a fault */
        assert_int_equal(table_copy(to, v), ERR_IO);
    assert_int_equal(table_get(r, ONE, SLICE("key"), &v), ERR_IO);
    assert_int_equal(table_seek(r, ONE, SLICE("key"), &k, &v), ERR_IO);
    table_read_end(r);
    table_reader_free(r);
    table_close(t);
    free(body);
    free(to);
}

static void test_what_was_dropped_from_memory_is_not_resident(void **state)
{
    struct table *t = table_must_open(MAP_BYTES);
    struct table_reader *r = reader(t);
    size_t bytes = 4 << 20;
    char *body = malloc(bytes);
    char path[128];
    struct slice v;
    int fd;

    (void)state;
    assert_non_null(body);
    memset(body, 'x', bytes);
    put(t, ONE, "key", (struct slice){body, bytes});
    assert_int_equal(table_read_begin(r), ERR_OK);
    assert_int_equal(table_get(r, ONE, SLICE("key"), &v), ERR_OK);
    assert_int_equal(table_copy(body, v), ERR_OK);
    assert_true(table_is_resident(v));
    assert_true(table_is_resident((struct slice){v.p, 0}));

    /* one page in the middle taken away is enough */
    snprintf(path, sizeof(path), "%s/data.mdb", table_dir);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(fsync(fd), 0);
    assert_int_equal(
        madvise((void *)(((uintptr_t)v.p + bytes / 2) & ~(uintptr_t)4095), 4096, MADV_DONTNEED), 0);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    close(fd);
    assert_false(table_is_resident(v));
    table_read_end(r);
    table_reader_free(r);
    table_close(t);
    free(body);
}

struct race {
    struct table *table;
    _Atomic bool is_over;
};

/* Two values that are always written together must always be read together. */
static void *read_pairs(void *user)
{
    struct race *race = user;
    struct table_reader *r = reader(race->table);
    uint64_t a, b;
    struct slice v;

    while (!atomic_load(&race->is_over)) {
        assert_int_equal(table_read_begin(r), ERR_OK);
        assert_int_equal(table_get(r, ONE, SLICE("a"), &v), ERR_OK);
        assert_int_equal(table_copy(&a, v), ERR_OK);
        assert_int_equal(table_get(r, ONE, SLICE("b"), &v), ERR_OK);
        assert_int_equal(table_copy(&b, v), ERR_OK);
        assert_int_equal(a, b);
        table_read_end(r);
    }
    table_reader_free(r);
    return NULL;
}

static void write_pair(struct table *t, uint64_t n)
{
    struct table_write *w = NULL;
    struct slice v = {(const char *)&n, sizeof(n)};

    assert_int_equal(table_write_begin(t, &w), ERR_OK);
    assert_int_equal(table_put(w, ONE, SLICE("a"), v), ERR_OK);
    assert_int_equal(table_put(w, ONE, SLICE("b"), v), ERR_OK);
    assert_int_equal(table_commit(&w), ERR_OK);
}

static void test_readers_on_threads_never_see_half_a_transaction(void **state)
{
    struct race race = {.table = table_must_open(MAP_BYTES)};
    pthread_t thread[3];

    (void)state;
    write_pair(race.table, 0);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, read_pairs, &race), 0);
    for (uint64_t n = 1; n < 300; n++)
        write_pair(race.table, n);
    atomic_store(&race.is_over, true);
    for (size_t i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    table_close(race.table);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, table_dir_make, table_dir_remove)
    const struct CMUnitTest tests[] = {
        T(test_what_was_put_is_found_in_its_own_table_only),
        T(test_a_read_sees_one_moment_and_the_next_read_the_next),
        T(test_a_walk_goes_in_the_order_of_bytes_and_ends),
        T(test_more_readers_than_slots_are_refused),
        T(test_a_page_that_cannot_be_read_is_an_error_not_a_death),
        T(test_what_was_dropped_from_memory_is_not_resident),
        T(test_readers_on_threads_never_see_half_a_transaction),
    };

    return cmocka_run_group_tests_name("table/read", tests, NULL, NULL);
}
