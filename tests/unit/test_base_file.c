/* Unit tests of reading and replacing whole files. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"

enum { PATH_BYTES = 128, LARGE_BYTES = 100000 };

static char dir[64], path[PATH_BYTES];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/file-test-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/it", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    if (unlink(path) != 0)
        rmdir(path);
    return rmdir(dir); /* fails when a temporary file was left behind */
}

static void assert_holds(struct slice want)
{
    char *p = NULL;
    size_t n = 0;

    assert_int_equal(file_read_all(path, want.n, &p, &n), ERR_OK);
    assert_int_equal(n, want.n);
    assert_memory_equal(p, want.p, n + 1); /* the NUL too */
    free(p);
}

static void test_reads_back_what_was_written(void **state)
{
    static char large[LARGE_BYTES + 1];

    (void)state;
    memset(large, 'x', LARGE_BYTES);
    assert_int_equal(file_write_atomic(path, SLICE("one\0two")), ERR_OK);
    assert_holds(SLICE("one\0two"));
    assert_int_equal(file_write_atomic(path, (struct slice){large, LARGE_BYTES}), ERR_OK);
    assert_holds((struct slice){large, LARGE_BYTES});
    assert_int_equal(file_write_atomic(path, SLICE("")), ERR_OK);
    assert_holds(SLICE(""));
}

static void test_one_byte_over_the_ceiling_is_refused(void **state)
{
    static const size_t bytes[] = {1, 4094, 4095, 4096, 8190, LARGE_BYTES};
    static char large[LARGE_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
        char *p = NULL;
        size_t n = 7;

        assert_int_equal(file_write_atomic(path, (struct slice){large, bytes[i]}), ERR_OK);
        assert_int_equal(file_read_all(path, bytes[i] - 1, &p, &n), ERR_LIMIT);
        assert_null(p);
        assert_int_equal(n, 7);
        assert_int_equal(file_read_all(path, bytes[i], &p, &n), ERR_OK);
        assert_int_equal(n, bytes[i]);
        free(p);
    }
}

static void test_what_is_not_there_is_told_from_what_cannot_be_read(void **state)
{
    char *p = NULL;
    size_t n;

    (void)state;
    assert_int_equal(file_read_all(path, 100, &p, &n), ERR_NOT_FOUND);
    errno = 0;
    assert_int_equal(file_read_all(dir, 100, &p, &n), ERR_IO);
    assert_int_equal(errno, EISDIR);
}

static void test_a_file_is_its_owners_alone(void **state)
{
    struct stat st;

    (void)state;
    assert_int_equal(file_write_atomic(path, SLICE("secret")), ERR_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_a_write_that_fails_leaves_nothing_behind(void **state)
{
    char nowhere[PATH_BYTES];

    (void)state;
    snprintf(nowhere, sizeof(nowhere), "%s/none/it", dir);
    errno = 0;
    assert_int_equal(file_write_atomic(nowhere, SLICE("x")), ERR_IO);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(file_make_dir(path), ERR_OK);
    errno = 0;
    assert_int_equal(file_write_atomic(path, SLICE("x")), ERR_IO); /* a directory is in the way */
    assert_int_equal(errno, EISDIR);
}

static void test_a_directory_is_made_once(void **state)
{
    struct stat st;

    (void)state;
    assert_int_equal(file_make_dir(path), ERR_OK);
    assert_int_equal(file_make_dir(path), ERR_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0700);
}

static void test_something_else_in_the_place_of_a_directory_is_an_error(void **state)
{
    (void)state;
    assert_int_equal(file_write_atomic(path, SLICE("x")), ERR_OK);
    errno = 0;
    assert_int_equal(file_make_dir(path), ERR_IO);
    assert_int_equal(errno, ENOTDIR);
}

static void test_names_without_a_directory_are_of_the_current_one(void **state)
{
    char before[4096];

    (void)state;
    assert_non_null(getcwd(before, sizeof(before)));
    assert_int_equal(chdir(dir), 0);
    assert_int_equal(file_write_atomic("it", SLICE("here")), ERR_OK);
    assert_int_equal(chdir(before), 0);
    assert_holds(SLICE("here"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)
    const struct CMUnitTest tests[] = {
        TEST(test_reads_back_what_was_written),
        TEST(test_one_byte_over_the_ceiling_is_refused),
        TEST(test_what_is_not_there_is_told_from_what_cannot_be_read),
        TEST(test_a_file_is_its_owners_alone),
        TEST(test_a_write_that_fails_leaves_nothing_behind),
        TEST(test_a_directory_is_made_once),
        TEST(test_something_else_in_the_place_of_a_directory_is_an_error),
        TEST(test_names_without_a_directory_are_of_the_current_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
