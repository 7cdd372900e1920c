#include "server_world.h"

#include <sys/resource.h>

static enum err bind_text(const char *address, struct listener **out, struct buf *why)
{
    static struct config_listen listen;
    static struct config config;

    listen = (struct config_listen){.address = (char *)(uintptr_t)address};
    config.listen = &listen;
    config.listen_count = 1;
    buf_init(why, 1000);
    return listeners_bind(&config, 2, out, why);
}

static void assert_bind_fails(const char *address, const char *says)
{
    struct listener *list;
    struct buf why;

    assert_int_not_equal(bind_text(address, &list, &why), ERR_OK);
    buf_add_char(&why, '\0');
    if (strstr(why.p, address) == NULL || strstr(why.p, says) == NULL)
        fail_msg("%s", why.p);
    buf_release(&why);
}

static void test_a_taken_port_is_told_also_when_its_holder_shares_it(void **state)
{
    struct listener *list;
    struct buf why;
    char address[40];

    (void)state;
    assert_int_equal(bind_text("127.0.0.1:0", &list, &why), ERR_OK);
    buf_release(&why);
    snprintf(address, sizeof(address), "127.0.0.1:%u", list[0].port);
    assert_bind_fails(address, "is taken by another program");
    listeners_free(list, 2);
    assert_int_equal(bind_text(address, &list, &why), ERR_OK);
    buf_release(&why);
    listeners_free(list, 2);
}

static void test_an_address_of_another_machine_is_told(void **state)
{
    (void)state;
    assert_bind_fails("192.0.2.1:8080", "no address of this machine");
}

static void test_ipv4_and_ipv6_take_the_same_port(void **state)
{
    struct listener *four, *six;
    struct buf why;
    char address[40];

    (void)state;
    assert_int_equal(bind_text("0.0.0.0:0", &four, &why), ERR_OK);
    buf_release(&why);
    snprintf(address, sizeof(address), "[::]:%u", four[0].port);
    if (bind_text(address, &six, &why) != ERR_OK) {
        buf_release(&why);
        listeners_free(four, 2);
        skip(); /* a machine without IPv6 */
    }
    buf_release(&why);
    listeners_free(four, 2);
    listeners_free(six, 2);
}

static void test_accepting_pauses_at_the_quota_and_goes_on_below_it(void **state)
{
    char out[1000];
    int first, second;

    (void)state;
    world_connections_max = 1;
    world_start(NULL);
    world_connections_max = 1000;
    first = client_connect(0);
    WAIT_FOR(world.worker.conns_count == 1);
    second = client_connect(0); /* the kernel has it, we have not */
    client_say(second, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    WAIT_FOR(metrics_get(METRIC_GUARD_DESCRIPTORS) > 0);
    assert_int_equal(world.requests, 0);
    close(first);
    client_read(second, out, sizeof(out), NULL);
    assert_non_null(strstr(out, "\r\n\r\nok"));
    close(second);
    world_end();
}

static void test_running_out_of_descriptors_does_not_spin_and_passes(void **state)
{
    struct rlimit had, few;
    uint64_t before = metrics_get(METRIC_GUARD_DESCRIPTORS), rounds;
    char out[1000];
    int fd;

    (void)state;
    world_start(NULL);
    fd = client_connect(0);
    WAIT_FOR(world.worker.conns_count == 1);
    close(fd);
    WAIT_FOR(world.worker.conns_count == 0);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    getrlimit(RLIMIT_NOFILE, &had);
    few = had;
    few.rlim_cur = (rlim_t)fd + 1;
    setrlimit(RLIMIT_NOFILE, &few);
    {
        struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(world_port(0))};

        sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    }
    WAIT_FOR(metrics_get(METRIC_GUARD_DESCRIPTORS) > before + 1);
    rounds = metrics_get(METRIC_GUARD_DESCRIPTORS) - before;
    assert_true(rounds < 10); /* one in 100 ms, not one a turn */
    setrlimit(RLIMIT_NOFILE, &had);
    client_say(fd, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client_read(fd, out, sizeof(out), NULL);
    assert_non_null(strstr(out, "\r\n\r\nok"));
    close(fd);
    world_end();
}

static void test_a_drain_answers_what_is_open_and_takes_nothing_new(void **state)
{
    char out[1000];
    int open_fd, idle_fd, late_fd;
    struct sockaddr_in sa = {.sin_family = AF_INET};

    (void)state;
    world_start(NULL);
    idle_fd = client_connect(0);
    client_say(idle_fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client_read(idle_fd, out, sizeof(out), "\r\n\r\nok");
    open_fd = client_connect(0);
    client_say(open_fd, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    WAIT_FOR(world.requests == 2);
    worker_drain(&world.worker);
    assert_int_equal(client_read(idle_fd, out, sizeof(out), NULL), 0); /* closed, a second later */
    late_fd = socket(AF_INET, SOCK_STREAM, 0);
    sa.sin_port = htons(world_port(0));
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(late_fd, (struct sockaddr *)&sa, sizeof(sa)), -1);
    assert_int_equal(world.worker.requests_open, 1);
    world.is_released = true;
    client_read(open_fd, out, sizeof(out), NULL);
    assert_non_null(strstr(out, "released"));
    WAIT_FOR(world.worker.conns_count == 0);
    close(idle_fd);
    close(open_fd);
    close(late_fd);
    world_end();
}

static void test_a_new_limit_is_in_force_after_a_swap(void **state)
{
    char out[4000];
    struct config config;
    struct config_site site;
    struct snapshot *fresh;
    struct buf why;

    (void)state;
    world_start(NULL);
    config = world.config;
    site = world.site;
    site.max_request_body = 10;
    config.sites = &site;
    buf_init(&why, 1000);
    assert_int_equal(snapshot_new(&config, &fresh, &why), ERR_OK);
    buf_release(&why);
    assert_int_equal(worker_use(&world.worker, fresh), ERR_OK);
    do
        ask("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nConnection: "
            "close\r\n\r\n12345678901",
            out, sizeof(out));
    while (strstr(out, "11 bytes") != NULL);
    assert_non_null(strstr(out, "limit of 10 bytes"));
    world_end();
    snapshot_unref(fresh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_taken_port_is_told_also_when_its_holder_shares_it),
        cmocka_unit_test(test_an_address_of_another_machine_is_told),
        cmocka_unit_test(test_ipv4_and_ipv6_take_the_same_port),
        cmocka_unit_test(test_accepting_pauses_at_the_quota_and_goes_on_below_it),
        cmocka_unit_test(test_running_out_of_descriptors_does_not_spin_and_passes),
        cmocka_unit_test(test_a_drain_answers_what_is_open_and_takes_nothing_new),
        cmocka_unit_test(test_a_new_limit_is_in_force_after_a_swap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
