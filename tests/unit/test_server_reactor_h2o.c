#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/reactor_h2o.h"

/* libh2o keeps a few buffers per thread for the next one, and never frees them. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libh2o";
}

static struct reactor *r;
static h2o_globalconf_t conf;
static h2o_context_t ctx;

static int setup(void **state)
{
    (void)state;
    h2o_config_init(&conf);
    h2o_config_register_path(
        h2o_config_register_host(&conf, h2o_iovec_init(H2O_STRLIT("default")), 65535), "/", 0);
    h2o_context_init(&ctx, h2o_evloop_create(), &conf);
    if (reactor_h2o_new(&r) != ERR_OK)
        return 1;
    reactor_h2o_attach(r, ctx.loop);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    reactor_h2o_end(r, &ctx);
    reactor_h2o_free(r);
    h2o_config_dispose(&conf);
    return 0;
}

/* ---- timers ---- */

struct ring {
    struct reactor_timer timer;
    int number;
    int64_t at_ms;
};

static int order[8], rung;

static void on_ring(void *user)
{
    struct ring *g = user;

    order[rung++] = g->number;
    g->at_ms = clock_mono_ms();
}

static void test_timers_fire_in_their_order_and_not_before_their_time(void **state)
{
    struct ring g[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
    static const int64_t after_ms[] = {30, 10, 20};
    int64_t begin_ms = clock_mono_ms();

    (void)state;
    rung = 0;
    for (int i = 0; i < 3; i++) {
        g[i].timer = (struct reactor_timer){.fire = on_ring, .user = &g[i]};
        reactor_timer_start(r, &g[i].timer, after_ms[i]);
    }
    while (rung < 3)
        reactor_h2o_turn(r, 1000);
    assert_int_equal(order[0], 1);
    assert_int_equal(order[1], 2);
    assert_int_equal(order[2], 0);
    for (int i = 0; i < 3; i++)
        assert_true(g[i].at_ms - begin_ms >= after_ms[i]);
}

static void test_a_stopped_timer_stays_silent_and_a_moved_one_fires_once(void **state)
{
    struct ring g[2] = {{.number = 0}, {.number = 1}};

    (void)state;
    rung = 0;
    for (int i = 0; i < 2; i++)
        g[i].timer = (struct reactor_timer){.fire = on_ring, .user = &g[i]};
    reactor_timer_start(r, &g[0].timer, 1);
    reactor_timer_start(r, &g[1].timer, 1);
    reactor_timer_start(r, &g[1].timer, 20);
    reactor_timer_stop(r, &g[0].timer);
    reactor_timer_stop(r, &g[0].timer);
    while (rung < 1)
        reactor_h2o_turn(r, 1000);
    reactor_h2o_turn(r, 5);
    assert_int_equal(rung, 1);
    assert_int_equal(order[0], 1);
}

static void on_again(void *user)
{
    struct ring *g = user;

    g->number++;
    reactor_timer_start(r, &g->timer, 0);
}

static void test_a_timer_that_starts_itself_at_once_leaves_the_turn(void **state)
{
    struct ring g = {.number = 0};

    (void)state;
    g.timer = (struct reactor_timer){.fire = on_again, .user = &g};
    reactor_timer_start(r, &g.timer, 0);
    while (g.number < 3)
        reactor_h2o_turn(r, 1000);
    assert_int_equal(g.number, 3);
    reactor_timer_stop(r, &g.timer);
}

struct written {
    struct reactor_timer timer;
    h2o_socket_t *sock;
    bool is_told;
};

static void on_told(h2o_socket_t *sock, const char *err)
{
    struct written *w = sock->data;

    assert_null(err);
    w->is_told = true;
}

static void on_write(void *user)
{
    struct written *w = user;
    h2o_iovec_t v = h2o_iovec_init(H2O_STRLIT("x"));

    h2o_socket_write(w->sock, &v, 1, on_told);
}

static void test_what_a_timer_has_written_is_told_without_a_sleep(void **state)
{
    enum { LONG_MS = 20000 };
    struct written w = {.is_told = false};
    int64_t begin_ms = clock_mono_ms();
    int fd[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
    w.sock = h2o_evloop_socket_create(ctx.loop, fd[0], 0);
    w.sock->data = &w;
    w.timer = (struct reactor_timer){.fire = on_write, .user = &w};
    reactor_timer_start(r, &w.timer, 0);
    while (!w.is_told)
        reactor_h2o_turn(r, LONG_MS);
    assert_true(clock_mono_ms() - begin_ms < LONG_MS);
    h2o_socket_close(w.sock);
    close(fd[1]);
}

static void test_the_clock_is_read_after_the_loop_has_slept(void **state)
{
    struct ring g = {.number = 0};
    int64_t before_ms = reactor_now_ms(r);

    (void)state;
    rung = 0;
    g.timer = (struct reactor_timer){.fire = on_ring, .user = &g};
    reactor_timer_start(r, &g.timer, 30);
    while (rung == 0)
        reactor_h2o_turn(r, 1000);
    assert_true(reactor_now_ms(r) - before_ms >= 30);
}

/* ---- messages ---- */

enum { SENDERS = 4, MESSAGES = 5000 };

struct letter {
    struct reactor_message super;
    int sender, number;
};

static int last[SENDERS], received;

static void on_letter(struct reactor_message *m)
{
    struct letter *l = (struct letter *)m;

    assert_int_equal(l->number, last[l->sender] + 1);
    last[l->sender] = l->number;
    received++;
    free(l);
}

static void *send_all(void *user)
{
    int sender = (int)(intptr_t)user;

    for (int i = 1; i <= MESSAGES; i++) {
        struct letter *l = calloc(1, sizeof(*l));

        *l = (struct letter){.super = {.run = on_letter}, .sender = sender, .number = i};
        reactor_post(r, &l->super);
    }
    return NULL;
}

static void test_messages_of_many_threads_arrive_all_and_in_order(void **state)
{
    pthread_t t[SENDERS];

    (void)state;
    for (int i = 0; i < SENDERS; i++)
        pthread_create(&t[i], NULL, send_all, (void *)(intptr_t)i);
    while (received < SENDERS * MESSAGES)
        reactor_h2o_turn(r, 60000); /* a lost wake-up would hang here */
    for (int i = 0; i < SENDERS; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(received, SENDERS * MESSAGES);
}

static void test_messages_may_come_before_the_loop(void **state)
{
    struct reactor *early;
    h2o_context_t other;
    struct letter *l = calloc(1, sizeof(*l));

    (void)state;
    received = last[0] = 0;
    assert_int_equal(reactor_h2o_new(&early), ERR_OK);
    *l = (struct letter){.super = {.run = on_letter}, .number = 1};
    reactor_post(early, &l->super);
    h2o_context_init(&other, h2o_evloop_create(), &conf);
    reactor_h2o_attach(early, other.loop);
    while (received == 0)
        reactor_h2o_turn(early, 60000);
    reactor_h2o_end(early, &other);
    reactor_h2o_free(early);
}

/* What they hold would be lost: a place under a ceiling, a snapshot, a pinned body. */
static void test_messages_of_the_last_turn_are_run_at_the_end(void **state)
{
    struct reactor *late;
    h2o_context_t other;

    (void)state;
    received = last[0] = 0;
    assert_int_equal(reactor_h2o_new(&late), ERR_OK);
    h2o_context_init(&other, h2o_evloop_create(), &conf);
    reactor_h2o_attach(late, other.loop);
    for (int i = 1; i <= 3; i++) {
        struct letter *l = calloc(1, sizeof(*l));

        *l = (struct letter){.super = {.run = on_letter}, .number = i};
        reactor_post(late, &l->super);
    }
    reactor_h2o_end(late, &other);
    assert_int_equal(received, 3);
    reactor_h2o_free(late);
}

/* ---- descriptors ---- */

struct pipe_watch {
    int fd[2];
    struct reactor_watch *watch;
    int calls, stop_after;
};

static void on_pipe(void *user)
{
    struct pipe_watch *p = user;

    p->calls++;
    if (p->calls == p->stop_after) {
        reactor_unwatch(r, p->watch);
        p->watch = NULL;
    }
}

static void test_a_watch_calls_as_long_as_there_is_something_to_read(void **state)
{
    struct pipe_watch p = {.stop_after = 3};
    char c;

    (void)state;
    assert_int_equal(pipe(p.fd), 0);
    p.watch = reactor_watch(r, p.fd[0], on_pipe, &p);
    reactor_h2o_turn(r, 5);
    assert_int_equal(p.calls, 0);
    assert_int_equal(write(p.fd[1], "x", 1), 1);
    while (p.watch != NULL)
        reactor_h2o_turn(r, 1000);
    reactor_h2o_turn(r, 5);
    assert_int_equal(p.calls, 3);
    assert_int_equal(read(p.fd[0], &c, 1), 1); /* it is still ours, and open */
    close(p.fd[0]);
    close(p.fd[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timers_fire_in_their_order_and_not_before_their_time),
        cmocka_unit_test(test_a_stopped_timer_stays_silent_and_a_moved_one_fires_once),
        cmocka_unit_test(test_a_timer_that_starts_itself_at_once_leaves_the_turn),
        cmocka_unit_test(test_what_a_timer_has_written_is_told_without_a_sleep),
        cmocka_unit_test(test_the_clock_is_read_after_the_loop_has_slept),
        cmocka_unit_test(test_messages_of_many_threads_arrive_all_and_in_order),
        cmocka_unit_test(test_messages_may_come_before_the_loop),
        cmocka_unit_test(test_messages_of_the_last_turn_are_run_at_the_end),
        cmocka_unit_test(test_a_watch_calls_as_long_as_there_is_something_to_read),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
