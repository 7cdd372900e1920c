/* Unit tests of what the service manager is told. */
#include "server/notify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64], heard[1024];
static int manager;

/* Bind the manager's socket at `path`, '@' for an abstract name. */
static void listen_at(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t bytes = strlen(path);
    const struct timeval wait = {.tv_sec = 10};

    memcpy(a.sun_path, path, bytes);
    if (path[0] == '@')
        a.sun_path[0] = '\0';
    manager = socket(AF_UNIX, SOCK_DGRAM, 0);
    assert_true(manager >= 0);
    assert_int_equal(bind(manager, (const struct sockaddr *)&a,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes)),
                     0);
    setsockopt(manager, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    setenv("NOTIFY_SOCKET", path, 1);
}

static const char *hear(void)
{
    ssize_t n = recv(manager, heard, sizeof(heard) - 1, 0);

    assert_true(n >= 0);
    heard[n] = '\0';
    return heard;
}

static void assert_silence(void)
{
    assert_int_equal(recv(manager, heard, sizeof(heard), MSG_DONTWAIT), -1);
}

static int set_up(void **state)
{
    char path[80];

    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/notify-test-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/notify", dir);
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    listen_at(path);
    return 0;
}

static int tear_down(void **state)
{
    char path[80];

    (void)state;
    close(manager);
    snprintf(path, sizeof(path), "%s/notify", dir);
    unlink(path);
    return rmdir(dir);
}

static void test_a_life_is_told(void **state)
{
    struct notify n;

    (void)state;
    notify_init(&n);
    notify_ready(&n, "serving");
    assert_string_equal(hear(), "READY=1\nSTATUS=serving");
    notify_reloading(&n);
    assert_memory_equal(hear(), "RELOADING=1\nMONOTONIC_USEC=", 27);
    assert_true(strtoll(heard + 27, NULL, 10) > 0);
    notify_stopping(&n, 40000);
    assert_string_equal(hear(), "STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=40000000");
    notify_release(&n);
}

static void test_abstract_names(void **state)
{
    char name[80];
    struct notify n;

    (void)state;
    close(manager);
    snprintf(name, sizeof(name), "@%s", dir);
    listen_at(name);
    notify_init(&n);
    notify_ready(&n, "serving");
    assert_string_equal(hear(), "READY=1\nSTATUS=serving");
    notify_release(&n);
}

static void test_without_a_manager_nothing_happens(void **state)
{
    static const char *const none[] = {"", "tcp:1", "/", "@"};
    struct notify n;

    (void)state;
    for (size_t i = 0; i <= sizeof(none) / sizeof(none[0]); i++) {
        if (i == 0)
            unsetenv("NOTIFY_SOCKET");
        else
            setenv("NOTIFY_SOCKET", none[i - 1], 1);
        notify_init(&n);
        assert_int_equal(n.fd, -1);
        notify_ready(&n, "serving");
        notify_alive(&n);
        notify_release(&n);
    }
    assert_silence();
}

static void test_an_address_that_is_too_long_is_none(void **state)
{
    char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
    struct notify n;

    (void)state;
    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[sizeof(path) - 1] = '\0';
    setenv("NOTIFY_SOCKET", path, 1);
    notify_init(&n);
    assert_int_equal(n.fd, -1);
}

static void test_a_manager_that_is_gone_hurts_nobody(void **state)
{
    struct notify n;

    (void)state;
    notify_init(&n);
    close(manager);
    notify_ready(&n, "serving");
    assert_true(n.has_failed);
    notify_ready(&n, "serving");
    notify_release(&n);
}

static void test_signs_of_life_are_for_a_watchdog(void **state)
{
    char pid[32];
    struct notify n;

    (void)state;
    notify_init(&n);
    notify_alive(&n);
    assert_silence();
    assert_int_equal(notify_interval_ms(&n, 1000), 1000);
    notify_release(&n);

    setenv("WATCHDOG_USEC", "20000000", 1);
    snprintf(pid, sizeof(pid), "%ld", (long)getpid());
    setenv("WATCHDOG_PID", pid, 1);
    notify_init(&n);
    notify_alive(&n);
    assert_string_equal(hear(), "WATCHDOG=1");
    assert_int_equal(notify_interval_ms(&n, 1000), 1000);
    assert_int_equal(notify_interval_ms(&n, 60000), 10000);
    notify_release(&n);

    setenv("WATCHDOG_USEC", "500000", 1);
    unsetenv("WATCHDOG_PID");
    notify_init(&n);
    assert_int_equal(notify_interval_ms(&n, 1000), 250);
    notify_release(&n);
}

static void test_the_watchdog_of_another_process(void **state)
{
    static const char *const bad[] = {"", "0", "-1", "1x", "99999999999999999999999", "nan"};
    struct notify n;

    (void)state;
    setenv("WATCHDOG_USEC", "20000000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    notify_init(&n);
    assert_int_equal(n.watchdog_ms, 0);
    notify_alive(&n);
    assert_silence();
    notify_release(&n);

    unsetenv("WATCHDOG_PID");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        setenv("WATCHDOG_USEC", bad[i], 1);
        notify_init(&n);
        assert_int_equal(n.watchdog_ms, 0);
        notify_release(&n);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_a_life_is_told),
        TEST(test_abstract_names),
        TEST(test_without_a_manager_nothing_happens),
        TEST(test_an_address_that_is_too_long_is_none),
        TEST(test_a_manager_that_is_gone_hurts_nobody),
        TEST(test_signs_of_life_are_for_a_watchdog),
        TEST(test_the_watchdog_of_another_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
