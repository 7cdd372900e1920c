/* What was acknowledged holds after kill -9; what failed on the disk was never in force. */
#include "purge_dir.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define BASE position_make(1, 0)

enum { ROUNDS = 25, URL_BYTES = 32 };

static void url_of(char out[URL_BYTES], uint64_t position)
{
    snprintf(out, URL_BYTES, "h/%llu", (unsigned long long)position_n(position));
}

/* Purge URL after URL, and say each position once it is acknowledged; until killed. */
static _Noreturn void purge_until_killed(int out)
{
    struct purge_limits limits = purge_small_limits();
    struct purge *p;

    limits.scopes_max = 100000;
    if (purge__open(purge_dir, &limits, &p) != ERR_OK)
        _exit(1);
    for (;;) {
        char url[URL_BYTES];
        struct purge_scope scope = {.kind = PURGE_URL};
        uint64_t head;

        url_of(url, purge_head(p) + 1);
        scope.text = slice_of(url);
        if (purge_append(p, &scope, 1, false, (struct slice){NULL, 0}, &head) != ERR_OK)
            _exit(2);
        if (write(out, &head, sizeof(head)) != (ssize_t)sizeof(head))
            _exit(3);
    }
}

/* Kill the child as soon as it has acknowledged `count` purges; the last position that it got out.
 */
static uint64_t kill_after(unsigned count)
{
    uint64_t position = 0, last = 0;
    int pipes[2], status;
    pid_t child;

    assert_int_equal(pipe(pipes), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(pipes[0]);
        purge_until_killed(pipes[1]);
    }
    close(pipes[1]);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(read(pipes[0], &position, sizeof(position)), sizeof(position));
        last = position;
    }
    assert_int_equal(kill(child, SIGKILL), 0);
    while (read(pipes[0], &position, sizeof(position)) == (ssize_t)sizeof(position))
        last = position;
    close(pipes[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    return last;
}

static void test_what_was_acknowledged_holds_after_kill_9(void **state)
{
    struct purge_limits limits = purge_small_limits();
    uint64_t acknowledged = BASE;

    (void)state;
    limits.scopes_max = 100000;
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t before = acknowledged;
        struct purge *p;

        acknowledged = kill_after(1 + round % 7);
        assert_true(acknowledged > before); /* never given twice */
        p = purge_must_open(&limits);
        /* One more may have reached the disk than its acknowledgement the pipe; that one holds as
         * well. */
        assert_true(purge_head(p) >= acknowledged && purge_head(p) <= acknowledged + 1);
        for (uint64_t at = BASE + 1; at <= purge_head(p); at++) {
            char url[URL_BYTES];

            url_of(url, at);
            assert_int_equal(purge_ask(p, at - 1, url), PURGE_DEAD);
            assert_int_equal(purge_ask(p, at, url), PURGE_USABLE);
        }
        purge_close(p);
    }
}

/* In a child whose files may not grow: append until the disk refuses.  0 when all was as it must
 * be. */
static int append_until_refused(struct purge *p)
{
    static char text[8000];
    struct purge_scope scope[] = {{.kind = PURGE_URL, .text = {text, sizeof(text)}},
                                  {.kind = PURGE_ALL}};
    uint64_t head, before = 0;
    enum err e = ERR_OK;

    memset(text, 'a', sizeof(text));
    text[1] = '/';
    for (int i = 0; i < 1000; i++) {
        before = purge_head(p);
        e = purge_append(p, scope, 1, false, (struct slice){NULL, 0}, &head);
        if (e != ERR_OK)
            break;
    }
    if (e != ERR_IO && e != ERR_LIMIT)
        return 10;
    if (purge_append(p, scope, 2, false, (struct slice){NULL, 0}, &head) == ERR_OK)
        return 11;
    if (purge_head(p) != before)
        return 12;
    if (purge_ask(p, before - 1, "other/") != PURGE_USABLE)
        return 13;
    return 0;
}

static void test_a_disk_that_refuses_leaves_nothing_in_force(void **state)
{
    struct purge *p = purge_open_small();
    struct stat st;
    char data[128];
    int status;
    pid_t child;

    (void)state;
    purge_one(p, PURGE_URL, "h/before", false);
    purge_close(p);
    snprintf(data, sizeof(data), "%s/data.mdb", purge_dir);
    assert_int_equal(stat(data, &st), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit limit = {(rlim_t)st.st_size + 65536, (rlim_t)st.st_size + 65536};
        struct purge_limits limits = purge_small_limits();
        int rc;

        signal(SIGXFSZ, SIG_IGN);
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0 || purge__open(purge_dir, &limits, &p) != ERR_OK)
            _exit(9);
        rc = append_until_refused(p);
        purge_close(p);
        _exit(rc);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);

    p = purge_open_small(); /* with room again it goes on where it was */
    assert_int_equal(purge_ask(p, BASE, "h/before"), PURGE_DEAD);
    assert_int_equal(purge_ask(p, BASE, "other/"), PURGE_USABLE);
    status = (int)position_n(purge_head(p));
    assert_int_equal(purge_one(p, PURGE_ALL, "", false), position_make(1, (uint64_t)status + 1));
    purge_close(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_was_acknowledged_holds_after_kill_9,
                                        purge_dir_make, purge_dir_remove),
        cmocka_unit_test_setup_teardown(test_a_disk_that_refuses_leaves_nothing_in_force,
                                        purge_dir_make, purge_dir_remove),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
