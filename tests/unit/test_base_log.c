/* Unit tests of the log: what was handed over is written, once, whole and in order, and nobody
 * waits for it. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/log.h"
#include "base/metrics.h"

enum { PATH_BYTES = 128, FILE_BYTES_MAX = 64 << 20, THREADS = 4, LINES = 20000 };

static char dir[64], error_path[PATH_BYTES], access_path[PATH_BYTES], other_path[PATH_BYTES];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/log-test-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(error_path, sizeof(error_path), "%s/error.log", dir);
    snprintf(access_path, sizeof(access_path), "%s/access.log", dir);
    snprintf(other_path, sizeof(other_path), "%s/other.log", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    log_close();
    unlink(error_path);
    unlink(access_path);
    unlink(other_path);
    return rmdir(dir);
}

static void open_log(const char *error, const char *access)
{
    struct log_options opt = {.error_file = error, .access_file = access, .level = LOG_LEVEL_INFO};

    assert_int_equal(log_open(&opt), ERR_OK);
}

static char *text_of(const char *path)
{
    char *p = NULL;
    size_t n;

    assert_int_equal(file_read_all(path, FILE_BYTES_MAX, &p, &n), ERR_OK);
    return p;
}

static void assert_file(const char *path, const char *want)
{
    char *got = text_of(path);

    assert_string_equal(got, want);
    free(got);
}

static void assert_matches(const char *text, const char *pattern)
{
    regex_t r;

    assert_int_equal(regcomp(&r, pattern, REG_EXTENDED | REG_NOSUB), 0);
    if (regexec(&r, text, 0, NULL, 0) != 0)
        fail_msg("'%s' does not match '%s'", text, pattern);
    regfree(&r);
}

/* True when the line went in. */
static bool put(struct log_stream *s, const char *line)
{
    size_t n = strlen(line);
    char *to = log_stream_begin(s, n + 100);

    if (to == NULL)
        return false;
    memcpy(to, line, n);
    log_stream_end(s, n);
    return true;
}

/* Standard error (or output) goes to `path` until the descriptor is given back. */
static int redirect(int fd, const char *path)
{
    int kept = dup(fd), to = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(kept >= 0 && to >= 0);
    assert_int_equal(dup2(to, fd), fd);
    close(to);
    return kept;
}

static void give_back(int fd, int kept)
{
    assert_int_equal(dup2(kept, fd), fd);
    close(kept);
}

static void test_a_line_has_time_level_and_text(void **state)
{
    char *text;

    (void)state;
    open_log(error_path, NULL);
    log_error("store %s: %d", "full", 7);
    log_close();
    text = text_of(error_path);
    assert_matches(text, "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z error "
                         "store full: 7\n$");
    free(text);
}

static void test_lines_above_the_level_are_left_out(void **state)
{
    char *text;

    (void)state;
    open_log(error_path, NULL);
    log_debug("one");
    log_info("two");
    log_set_level(LOG_LEVEL_ERROR);
    log_warn("three");
    log_error("four");
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("five");
    log_close();
    log_set_level(LOG_LEVEL_INFO);
    text = text_of(error_path);
    assert_matches(text, "^[^\n]+ info two\n[^\n]+ error four\n[^\n]+ debug five\n$");
    free(text);
}

static void test_what_a_stranger_sent_cannot_begin_a_line(void **state)
{
    char *text;

    (void)state;
    open_log(error_path, NULL);
    log_error("a\nb\rc\x1b[31m\x7f");
    log_close();
    text = text_of(error_path);
    assert_matches(text, "^[^\n]+ error a\\?b\\?c\\?\\[31m\\?\n$");
    free(text);
}

static void test_a_long_line_is_cut_and_still_ends(void **state)
{
    static char word[5000];
    char *text;

    (void)state;
    memset(word, 'x', sizeof(word) - 1);
    open_log(error_path, NULL);
    log_error("%s", word);
    log_error("next");
    log_close();
    text = text_of(error_path);
    assert_int_equal(strcspn(text, "\n"), 2047);
    assert_matches(text, "xxx\n[^\n]+ error next\n$");
    free(text);
}

static void test_without_an_open_log_lines_go_to_stderr_at_once(void **state)
{
    int kept = redirect(STDERR_FILENO, other_path);
    char *before, *after;

    (void)state;
    log_error("before");
    before = text_of(other_path);
    open_log(error_path, NULL);
    log_error("meanwhile");
    log_close();
    log_error("after");
    give_back(STDERR_FILENO, kept);
    after = text_of(other_path);
    assert_matches(before, "^[^\n]+ error before\n$");
    assert_matches(after, "^[^\n]+ error before\n[^\n]+ error after\n$");
    free(before);
    free(after);
}

static void test_a_file_that_cannot_be_opened_is_an_error_with_its_reason(void **state)
{
    struct log_options opt = {.error_file = error_path, .access_file = "/nowhere/access.log"};

    (void)state;
    errno = 0;
    assert_int_equal(log_open(&opt), ERR_IO);
    assert_int_equal(errno, ENOENT);
    assert_string_equal(log_refused(), "/nowhere/access.log");
    assert_false(log_has_access());
    open_log(error_path, NULL); /* and nothing of the first try is left */
    log_close();
}

static void test_there_is_an_access_log_only_between_open_and_close(void **state)
{
    (void)state;
    assert_false(log_has_access());
    open_log(error_path, access_path);
    assert_true(log_has_access());
    log_close();
    assert_false(log_has_access());
    open_log(error_path, NULL);
    assert_false(log_has_access());
}

static void test_access_lines_go_to_stdout_for_a_dash(void **state)
{
    struct log_stream *s = log_stream_new();
    int kept;

    (void)state;
    assert_non_null(s);
    fflush(stdout);
    kept = redirect(STDOUT_FILENO, other_path);
    open_log(error_path, "-");
    put(s, "one\n");
    assert_int_equal(log_reopen(), ERR_OK); /* there is nothing to open anew */
    put(s, "two\n");
    log_close();
    give_back(STDOUT_FILENO, kept);
    log_stream_free(s);
    assert_file(other_path, "one\ntwo\n");
}

static void test_only_the_bytes_used_are_written(void **state)
{
    struct log_stream *s = log_stream_new();
    char *to;

    (void)state;
    open_log(error_path, access_path);
    to = log_stream_begin(s, 1000);
    memset(to, 'x', 1000);
    log_stream_end(s, 0); /* thought better of it */
    put(s, "GET /\n");
    log_close();
    log_stream_free(s);
    assert_file(access_path, "GET /\n");
}

static void test_a_freed_stream_is_still_written(void **state)
{
    struct log_stream *first = log_stream_new(), *second = log_stream_new(), *third;

    (void)state;
    open_log(error_path, access_path);
    third = log_stream_new();
    put(second, "last words\n");
    log_stream_free(second);
    log_stream_free(NULL);
    log_close();
    assert_file(access_path, "last words\n");
    log_stream_free(first);
    log_stream_free(third);
}

static void test_no_room_is_said_and_counted_and_nobody_waits(void **state)
{
    struct log_stream *s = log_stream_new();
    uint64_t before = metrics_get(METRIC_LOG_DROPPED);

    (void)state;
    /* nobody drains: the log is not open */
    assert_null(log_stream_begin(s, (1 << 20) + 1));
    assert_non_null(log_stream_begin(s, 1 << 20));
    log_stream_end(s, 1 << 20);
    assert_null(log_stream_begin(s, 1));
    assert_int_equal(metrics_get(METRIC_LOG_DROPPED) - before, 2);
    log_stream_free(s);
}

/* Reads a pipe to its end. */
static void *read_pipe(void *fd)
{
    static char text[FILE_BYTES_MAX / 8];
    size_t n = 0;
    ssize_t got;

    while (n < sizeof(text) - 1 && (got = read(*(int *)fd, text + n, sizeof(text) - 1 - n)) > 0)
        n += (size_t)got;
    text[n] = '\0';
    return text;
}

static void test_a_reader_that_stands_still_costs_lines_and_no_time(void **state)
{
    struct log_stream *s = log_stream_new();
    uint64_t before = metrics_get(METRIC_LOG_DROPPED);
    char line[64], *text;
    unsigned in = 0, at = 0;
    pthread_t reader;
    int fd;

    (void)state;
    assert_int_equal(mkfifo(access_path, 0600), 0);
    fd = open(access_path, O_RDONLY | O_NONBLOCK);
    fcntl(fd, F_SETFL, 0);
    open_log(error_path, access_path);
    for (; in < 200000; in++) { /* more than pipe and ring hold */
        snprintf(line, sizeof(line), "GET /%u and some more\n", in);
        if (!put(s, line))
            break;
    }
    assert_in_range(in, 1000, 199999);
    assert_int_equal(metrics_get(METRIC_LOG_DROPPED) - before, 1);
    pthread_create(&reader, NULL, read_pipe, &fd);
    log_close();
    pthread_join(reader, (void **)&text);
    close(fd);
    log_stream_free(s);
    for (char *rest = text; (text = strsep(&rest, "\n")) != NULL && text[0] != '\0'; at++) {
        snprintf(line, sizeof(line), "GET /%u and some more", at);
        assert_string_equal(text, line);
    }
    assert_int_equal(at, in);
}

static void test_lines_for_a_full_disk_are_counted(void **state)
{
    struct log_stream *s = log_stream_new();
    uint64_t before = metrics_get(METRIC_LOG_DROPPED);

    (void)state;
    open_log("/dev/full", "/dev/full");
    log_error("one");
    put(s, "two\n");
    put(s, "three\n");
    log_close();
    log_stream_free(s);
    assert_int_equal(metrics_get(METRIC_LOG_DROPPED) - before, 3);
}

static void test_reopening_leaves_the_renamed_file_alone(void **state)
{
    struct log_stream *s = log_stream_new();

    (void)state;
    open_log(error_path, access_path);
    put(s, "old\n");
    log_close(); /* written for certain */
    open_log(error_path, access_path);
    assert_int_equal(rename(access_path, other_path), 0);
    assert_int_equal(log_reopen(), ERR_OK);
    assert_int_equal(log_reopen(), ERR_OK); /* even before the log thread has come to the first */
    put(s, "new\n");
    log_close();
    log_stream_free(s);
    assert_file(other_path, "old\n");
    assert_file(access_path, "new\n");
}

static void test_a_reopening_that_fails_keeps_the_old_files(void **state)
{
    char moved[PATH_BYTES], inside[2 * PATH_BYTES];
    char *text;

    (void)state;
    open_log(error_path, NULL);
    snprintf(moved, sizeof(moved), "%s.moved", dir);
    snprintf(inside, sizeof(inside), "%s/error.log", moved);
    assert_int_equal(rename(dir, moved), 0);
    errno = 0;
    assert_int_equal(log_reopen(), ERR_IO);
    assert_int_equal(errno, ENOENT);
    assert_string_equal(log_refused(), error_path);
    log_error("still here");
    log_close();
    text = text_of(inside);
    assert_matches(text, "^[^\n]+ error still here\n$");
    free(text);
    assert_int_equal(rename(moved, dir), 0);
}

static atomic_uint refused;

/* Lines "THREAD NUMBER", with a gap in the numbers wherever one was refused. */
static void *write_access(void *number)
{
    struct log_stream *s = log_stream_new();
    char line[128];

    for (unsigned i = 0; i < LINES; i++) {
        snprintf(line, sizeof(line), "%u %u %.*s\n", *(unsigned *)number, i, (int)(i % 90),
                 "................................................................................"
                 "..........");
        if (!put(s, line))
            atomic_fetch_add(&refused, 1);
    }
    log_stream_free(s);
    return NULL;
}

static void *write_errors(void *number)
{
    for (unsigned i = 0; i < LINES / 100; i++)
        log_info("%u %u", *(unsigned *)number, i);
    return NULL;
}

/* How many lines there are; fails unless each thread's numbers grow and each line is whole. */
static unsigned count_lines(const char *path, const char *skip_to)
{
    long last[THREADS];
    char *text = text_of(path), *rest = text, *line;
    unsigned n = 0;

    memset(last, -1, sizeof(last));
    for (; (line = strsep(&rest, "\n")) != NULL && rest != NULL; n++) {
        unsigned thread, i;

        if (skip_to != NULL)
            assert_non_null(line = strstr(line, skip_to));
        line += skip_to == NULL ? 0 : strlen(skip_to);
        assert_int_equal(sscanf(line, "%u %u", &thread, &i), 2);
        assert_in_range(thread, 0, THREADS - 1);
        assert_true((long)i > last[thread]);
        last[thread] = i;
        if (skip_to == NULL)
            assert_int_equal(strspn(strrchr(line, ' ') + 1, "."), i % 90);
    }
    free(text);
    return n;
}

static void test_threads_write_whole_lines_in_order(void **state)
{
    static unsigned number[THREADS];
    uint64_t before = metrics_get(METRIC_LOG_DROPPED);
    pthread_t thread[2 * THREADS];

    (void)state;
    open_log(error_path, access_path);
    atomic_store(&refused, 0);
    for (unsigned i = 0; i < THREADS; i++) {
        number[i] = i;
        pthread_create(&thread[2 * i], NULL, write_access, &number[i]);
        pthread_create(&thread[2 * i + 1], NULL, write_errors, &number[i]);
    }
    assert_int_equal(log_reopen(), ERR_OK);
    for (unsigned i = 0; i < 2 * THREADS; i++)
        pthread_join(thread[i], NULL);
    log_close();
    assert_int_equal(metrics_get(METRIC_LOG_DROPPED) - before, atomic_load(&refused));
    assert_int_equal(count_lines(access_path, NULL), THREADS * LINES - atomic_load(&refused));
    assert_int_equal(count_lines(error_path, " info "), THREADS * LINES / 100);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)
    const struct CMUnitTest tests[] = {
        TEST(test_a_line_has_time_level_and_text),
        TEST(test_lines_above_the_level_are_left_out),
        TEST(test_what_a_stranger_sent_cannot_begin_a_line),
        TEST(test_a_long_line_is_cut_and_still_ends),
        TEST(test_without_an_open_log_lines_go_to_stderr_at_once),
        TEST(test_a_file_that_cannot_be_opened_is_an_error_with_its_reason),
        TEST(test_there_is_an_access_log_only_between_open_and_close),
        TEST(test_access_lines_go_to_stdout_for_a_dash),
        TEST(test_only_the_bytes_used_are_written),
        TEST(test_a_freed_stream_is_still_written),
        TEST(test_no_room_is_said_and_counted_and_nobody_waits),
        TEST(test_a_reader_that_stands_still_costs_lines_and_no_time),
        TEST(test_lines_for_a_full_disk_are_counted),
        TEST(test_reopening_leaves_the_renamed_file_alone),
        TEST(test_a_reopening_that_fails_keeps_the_old_files),
        TEST(test_threads_write_whole_lines_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
