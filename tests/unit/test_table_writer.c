/* Unit tests of the write transaction, and of what is counted. */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "table_dir.h"

enum { ONE, TWO, MAP_BYTES = 4 << 20 };

static struct table_write *begin(struct table *t)
{
    struct table_write *w = NULL;

    assert_int_equal(table_write_begin(t, &w), ERR_OK);
    return w;
}

static uint64_t count(struct table *t)
{
    struct table_stat st;

    table_stat(t, &st);
    return st.entries;
}

static void test_a_transaction_sees_its_own_changes_and_others_only_after_commit(void **state)
{
    struct table *t = table_must_open(MAP_BYTES);
    struct table_write *w = begin(t);
    struct slice k, v;

    (void)state;
    assert_int_equal(table_put(w, ONE, SLICE("b"), SLICE("1")), ERR_OK);
    assert_int_equal(table_put(w, ONE, SLICE("a"), SLICE("2")), ERR_OK);
    assert_int_equal(table_write_get(w, ONE, SLICE("b"), &v), ERR_OK);
    assert_true(slice_eq(v, SLICE("1")));
    assert_int_equal(table_write_seek(w, ONE, (struct slice){NULL, 0}, &k, &v), ERR_OK);
    assert_true(slice_eq(k, SLICE("a")));
    assert_int_equal(table_write_last(w, ONE, &k, &v), ERR_OK);
    assert_true(slice_eq(k, SLICE("b")));
    assert_int_equal(table_write_last(w, TWO, &k, &v), ERR_NOT_FOUND);
    assert_int_equal(count(t), 0);
    assert_int_equal(table_commit(&w), ERR_OK);
    assert_int_equal(count(t), 2);
    table_close(t);
}

static void test_an_aborted_transaction_leaves_nothing(void **state)
{
    struct table *t = table_must_open(MAP_BYTES);
    struct table_write *w = begin(t);

    (void)state;
    assert_int_equal(table_put(w, ONE, SLICE("a"), SLICE("1")), ERR_OK);
    table_abort(&w);
    assert_null(w);
    table_abort(&w);
    assert_int_equal(count(t), 0);
    table_close(t);
}

static void test_put_replaces_and_delete_says_when_nothing_was_there(void **state)
{
    struct table *t = table_must_open(MAP_BYTES);
    struct table_write *w = begin(t);
    struct slice v;

    (void)state;
    assert_int_equal(table_put(w, ONE, SLICE("a"), SLICE("1")), ERR_OK);
    assert_int_equal(table_put(w, ONE, SLICE("a"), SLICE("2")), ERR_OK);
    assert_int_equal(table_write_get(w, ONE, SLICE("a"), &v), ERR_OK);
    assert_true(slice_eq(v, SLICE("2")));
    assert_int_equal(table_delete(w, ONE, SLICE("a")), ERR_OK);
    assert_int_equal(table_delete(w, ONE, SLICE("a")), ERR_NOT_FOUND);
    assert_int_equal(table_commit(&w), ERR_OK); /* "not there" spoils nothing */
    table_close(t);
}

static void test_append_wants_the_greatest_key_and_spoils_nothing(void **state)
{
    struct table *t = table_must_open(MAP_BYTES);
    struct table_write *w = begin(t);

    (void)state;
    assert_int_equal(table_append(w, ONE, SLICE("b"), SLICE("1")), ERR_OK);
    assert_int_equal(table_append(w, ONE, SLICE("a"), SLICE("1")), ERR_INVALID);
    assert_int_equal(table_append(w, ONE, SLICE("b"), SLICE("1")), ERR_INVALID);
    assert_int_equal(table_append(w, ONE, SLICE("c"), SLICE("1")), ERR_OK);
    assert_int_equal(table_commit(&w), ERR_OK);
    assert_int_equal(count(t), 2);
    table_close(t);
}

static void test_reserved_room_is_what_was_filled_in(void **state)
{
    struct table *t = table_must_open(MAP_BYTES);
    struct table_write *w = begin(t);
    struct slice v;
    void *to = NULL;

    (void)state;
    assert_int_equal(table_reserve(w, ONE, SLICE("a"), 10000, &to), ERR_OK);
    memset(to, 'q', 10000);
    assert_int_equal(table_write_get(w, ONE, SLICE("a"), &v), ERR_OK);
    assert_int_equal(v.n, 10000);
    assert_int_equal(v.p[9999], 'q');
    assert_int_equal(table_commit(&w), ERR_OK);
    table_close(t);
}

static void test_a_full_map_is_a_limit_and_what_was_there_stays(void **state)
{
    static char body[65520];
    struct table *t = table_must_open(MAP_BYTES);
    struct table_write *w = begin(t);
    enum err e = ERR_OK;
    uint32_t i;

    (void)state;
    assert_int_equal(table_put(w, ONE, SLICE("kept"), SLICE("1")), ERR_OK);
    assert_int_equal(table_commit(&w), ERR_OK);
    w = begin(t);
    for (i = 0; i < 1000 && e == ERR_OK; i++)
        e = table_put(w, ONE, (struct slice){(const char *)&i, sizeof(i)},
                      (struct slice){body, sizeof(body)});
    assert_int_equal(e, ERR_LIMIT);
    assert_in_range(i, 40, 64);
    assert_int_equal(table_commit(&w), ERR_LIMIT); /* the first error, and nothing of it is kept */
    assert_int_equal(count(t), 1);
    w = begin(t);
    assert_int_equal(table_put(w, ONE, SLICE("more"), SLICE("1")), ERR_OK);
    assert_int_equal(table_commit(&w), ERR_OK);
    table_close(t);
}

static void test_used_bytes_follow_what_is_put_and_deleted(void **state)
{
    static char body[65520];
    struct table *t = table_must_open(MAP_BYTES);
    struct table_write *w = begin(t);
    struct table_stat empty, inside, full;

    (void)state;
    table_stat(t, &empty);
    assert_int_equal(empty.bytes_max, MAP_BYTES);
    for (char i = 0; i < 10; i++)
        assert_int_equal(
            table_put(w, TWO, (struct slice){&i, 1}, (struct slice){body, sizeof(body)}), ERR_OK);
    table_write_stat(w, &inside);
    assert_int_equal(table_commit(&w), ERR_OK);
    table_stat(t, &full);
    assert_in_range(full.used_bytes - empty.used_bytes, 10 * 65536, 10 * 65536 + 5 * 4096);
    assert_in_range(inside.used_bytes, full.used_bytes - 2 * 4096, full.used_bytes);
    w = begin(t);
    for (char i = 0; i < 10; i++)
        assert_int_equal(table_delete(w, TWO, (struct slice){&i, 1}), ERR_OK);
    assert_int_equal(table_commit(&w), ERR_OK);
    table_stat(t, &full);
    assert_in_range(full.used_bytes, empty.used_bytes, empty.used_bytes + 5 * 4096);
    table_close(t);
}

/* A limit on the file's size is refused by write(2) as a full disk is. */
static void test_a_disk_that_refuses_is_an_error_that_passes(void **state)
{
    static char body[65520];
    struct table *t = table_must_open(MAP_BYTES);
    struct rlimit old, small;
    struct table_write *w;
    enum err e = ERR_OK;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){.rlim_cur = 256 << 10, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    w = begin(t);
    for (char i = 0; i < 20 && e == ERR_OK; i++)
        e = table_put(w, ONE, (struct slice){&i, 1}, (struct slice){body, sizeof(body)});
    assert_int_equal(e, ERR_OK);
    errno = 0;
    e = table_commit(&w);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(e, ERR_IO);
    assert_int_not_equal(errno, 0);
    assert_int_equal(count(t), 0);
    w = begin(t);
    assert_int_equal(table_put(w, ONE, SLICE("a"), SLICE("1")), ERR_OK);
    assert_int_equal(table_commit(&w), ERR_OK);
    assert_int_equal(table_sync(t), ERR_OK);
    assert_int_equal(count(t), 1);
    table_close(t);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, table_dir_make, table_dir_remove)
    const struct CMUnitTest tests[] = {
        T(test_a_transaction_sees_its_own_changes_and_others_only_after_commit),
        T(test_an_aborted_transaction_leaves_nothing),
        T(test_put_replaces_and_delete_says_when_nothing_was_there),
        T(test_append_wants_the_greatest_key_and_spoils_nothing),
        T(test_reserved_room_is_what_was_filled_in),
        T(test_a_full_map_is_a_limit_and_what_was_there_stays),
        T(test_used_bytes_follow_what_is_put_and_deleted),
        T(test_a_disk_that_refuses_is_an_error_that_passes),
    };

    return cmocka_run_group_tests_name("table/writer", tests, NULL, NULL);
}
