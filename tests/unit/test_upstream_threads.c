/* Several workers, one target: the ceiling is of the node, and places go from one loop to another.
 */
#include "upstream_world.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/check.h"
#include "base/metrics.h"

enum { WORKERS = 3, FETCHES = 40, CEILING = 2 };

static atomic_int at_once, most;

static void serve_and_count(struct origin_conn *c, void *user)
{
    (void)user;
    while (origin_read(c)) {
        int now = atomic_fetch_add(&at_once, 1) + 1, seen = atomic_load(&most);

        while (now > seen && !atomic_compare_exchange_weak(&most, &seen, now))
            continue;
        atomic_fetch_sub(&at_once, 1); /* before the answer, which frees the place */
        if (!origin_say(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"))
            return;
    }
}

struct worker {
    pthread_t thread;
    struct upstream_target *target;
    struct client client[FETCHES];
    unsigned done;
};

/* No assertions of cmocka here: they belong to the main thread. */
static void *work(void *user)
{
    struct worker *w = user;
    struct reactor *r = fake_reactor_new(FAKE_CLOCK_REAL);
    struct upstream *u;

    CHECK(upstream_new(r, &u) == ERR_OK);
    for (int i = 0; i < FETCHES; i++) {
        struct upstream_request rq = get_request("/");
        struct client *c = &w->client[i];

        rq.target = w->target;
        buf_init(&c->fields, 65536);
        buf_init(&c->body, 65536);
        CHECK(upstream_fetch(u, &rq, &client_events, c, &c->fetch) == ERR_OK);
        if (i % 5 == 4) { /* some give up, wherever they are */
            upstream_cancel(c->fetch);
            c->fetch = NULL;
            c->is_done = true;
        }
    }
    for (int i = 0; i < FETCHES; i++)
        if (fake_reactor_run_until(r, &w->client[i].is_done, PATIENCE_MS))
            w->done++;
    upstream_free(u);
    fake_reactor_drain(r);
    fake_reactor_free(r);
    return NULL;
}

static void test_workers_share_one_ceiling(void **state)
{
    static struct worker worker[WORKERS];

    (void)state;
    world_start(serve_and_count, NULL);
    world.opt.connections = CEILING;
    world.opt.queue = WORKERS * FETCHES;
    assert_int_equal(upstream_target_new(&world.opt, &world.target), ERR_OK);
    for (int i = 0; i < WORKERS; i++) {
        worker[i].target = world.target;
        assert_int_equal(pthread_create(&worker[i].thread, NULL, work, &worker[i]), 0);
    }
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(worker[i].thread, NULL);
        assert_int_equal(worker[i].done, FETCHES);
        for (int j = 0; j < FETCHES; j++) {
            struct client *c = &worker[i].client[j];

            if (j % 5 != 4) {
                must_be(c, UPSTREAM_OK);
                must_have_body(c, "hi");
            }
            client_release(c);
        }
    }
    assert_true(atomic_load(&most) >= 1 && atomic_load(&most) <= CEILING);
    assert_int_equal(metrics_get(METRIC_UPSTREAM_RUNNING), 0);
    assert_int_equal(metrics_get(METRIC_UPSTREAM_QUEUED), 0);
    world_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_workers_share_one_ceiling),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
