/* Bodies that are not in memory: read off the loop, in order, and given up when nobody waits. */
#include <dirent.h>
#include <fcntl.h>

#include "cache/cache_priv.h"
#include "cache/cold.h"
#include "cache_world.h"

enum { BYTES = 400000 };

static char *body;

static int up(void **state)
{
    struct world *w = malloc(sizeof(*w));

    world_open(w, 1, 64ull << 20);
    world_put(w, "/big", "", 200, "cache-control: max-age=60\n", body);
    *state = w;
    return 0;
}

static int down(void **state)
{
    world_close(*state);
    free(*state);
    return 0;
}

/* Ask the kernel to forget the store's pages; it may decline. */
static void forget_pages(const struct world *w)
{
    char dir[80], path[400];
    struct dirent *e;
    DIR *d;

    snprintf(dir, sizeof(dir), "%s/store-0", w->dir);
    d = opendir(dir);
    assert_non_null(d);
    while ((e = readdir(d)) != NULL) {
        int fd;

        snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        (void)fsync(fd);
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
    closedir(d);
}

struct got {
    bool is_there;
    struct block *block;
    size_t bytes;
};

static void on_read(void *user, struct block *b, size_t bytes)
{
    struct got *g = user;

    *g = (struct got){true, b, bytes};
}

static void test_a_read_brings_its_bytes(void **state)
{
    struct world *w = *state;
    struct asker a;
    struct got g = {0};

    ask(w, 0, &a, "GET", "/big", "");
    assert_non_null(
        cold_start(w->cache->cold, w->reactor[0], a.x->lookup.hit.objid, 1000, 5000, on_read, &g));
    assert_true(fake_reactor_run_until(w->reactor[0], &g.is_there, WAIT_MS));
    assert_non_null(g.block);
    assert_int_equal(g.bytes, 5000);
    assert_memory_equal(g.block->data, body + 1000, 5000);
    block_unref(g.block);
    g = (struct got){0};
    assert_non_null(cold_start(w->cache->cold, w->reactor[0], a.x->lookup.hit.objid + 1000, 0, 5000,
                               on_read, &g));
    assert_true(fake_reactor_run_until(w->reactor[0], &g.is_there, WAIT_MS));
    assert_null(g.block); /* there is no such object */
    asker_release(&a);
}

static void test_no_callback_after_cancel(void **state)
{
    struct world *w = *state;
    struct asker a;
    struct got first = {0};
    struct cold_read *r;
    int64_t until_ms = clock_mono_ms() + WAIT_MS;
    size_t came = 0;

    ask(w, 0, &a, "GET", "/big", "");
    for (int i = 0; i < 100; i++) {
        r = cold_start(w->cache->cold, w->reactor[0], a.x->lookup.hit.objid, 0, 5000, on_read,
                       &first);
        assert_non_null(r);
        cold_cancel(r);
    }
    asker_release(&a); /* each read has a pin of its own */
    /* all hundred come back to the loop, and none goes on from there */
    while (came < 100 && clock_mono_ms() < until_ms)
        came += fake_reactor_drain(w->reactor[0]);
    assert_int_equal(came, 100);
    assert_false(first.is_there);
}

/* Its loop ends with it, and the threads go on for others. */
static void test_nothing_is_told_to_a_worker_that_has_left(void **state)
{
    struct world *w = *state;
    struct asker a;
    struct got got = {0};

    ask(w, 0, &a, "GET", "/big", "");
    for (int i = 0; i < 300; i++) {
        struct cold_read *r = cold_start(w->cache->cold, w->reactor[0], a.x->lookup.hit.objid, 0,
                                         65512, on_read, &got);

        assert_non_null(r);
        cold_cancel(r);
    }
    asker_release(&a);
    cache_worker_free(w->worker[0]);
    w->worker[0] = NULL;
    fake_reactor_drain(w->reactor[0]); /* the last turn */
    cache_free(w->cache);              /* the threads have ended */
    w->cache = NULL;
    assert_int_equal(fake_reactor_drain(w->reactor[0]), 0);
    assert_false(got.is_there);
}

static void test_a_cold_body_is_pushed(void **state)
{
    struct world *w = *state;
    struct asker a;

    forget_pages(w);
    ask(w, 0, &a, "GET", "/big", "");
    a.reads = true;
    if (a.answer.may_pull) {
        asker_release(&a);
        print_message("the kernel has kept the pages\n");
        skip();
    }
    asker_read(&a);
    assert_true(a.is_over || a.end == CACHE_BODY_WAIT);
    assert_true(a.is_over || fake_reactor_run_until(w->reactor[0], &a.is_over, WAIT_MS));
    assert_int_equal(a.end, CACHE_BODY_END);
    assert_int_equal(a.body.n, BYTES);
    assert_memory_equal(a.body.p, body, BYTES);
    assert_true(a.readies > 0);
    asker_release(&a);

    forget_pages(w);
    ask(w, 0, &a, "GET", "/big", ""); /* and one that leaves while the disk works */
    if (!a.answer.may_pull)
        asker_read(&a);
    asker_release(&a);
}

#define WORLD(f) cmocka_unit_test_setup_teardown(f, up, down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD(test_a_read_brings_its_bytes),
        WORLD(test_no_callback_after_cancel),
        WORLD(test_nothing_is_told_to_a_worker_that_has_left),
        WORLD(test_a_cold_body_is_pushed),
    };

    body = malloc(BYTES + 1);
    assert_non_null(body);
    for (size_t i = 0; i < BYTES; i++)
        body[i] = (char)('a' + i * 7 % 26 * ((i / 65512) % 2 + 1) % 26);
    body[BYTES] = '\0';
    return cmocka_run_group_tests(tests, NULL, NULL);
}
