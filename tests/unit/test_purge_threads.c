/* Judging on many threads while another appends: what an append has returned is seen by everyone.
 */
#include "purge_dir.h"

#include <pthread.h>

#include "base/log.h"

enum { JUDGES = 3, URLS = 64, APPENDS = 400 };

static struct purge *node;
/* The last acknowledged purge of each URL, as a server would know it from its answers. */
static _Atomic uint64_t acknowledged[URLS];
static _Atomic bool stop;

static const char *url_of(unsigned i, char out[16])
{
    snprintf(out, 16, "h%u/a", i);
    return out;
}

struct judge_count {
    unsigned long wrong;
};

static void *judge(void *user)
{
    struct judge_count *count = user;
    char url[16];

    while (!atomic_load(&stop))
        for (unsigned i = 0; i < URLS; i++) {
            uint64_t purged = atomic_load(&acknowledged[i]);
            struct purge_subject s = {.birth = purged - 1, .purge_url = slice_of(url_of(i, url))};

            if (purged == 0)
                continue;
            /* Born before a purge that had been acknowledged when we looked: dead, whatever happens
             * meanwhile. */
            count->wrong += purge_judge(node, &s) != PURGE_DEAD;
            /* Born at the head, which has not moved since: nothing can cover it. */
            s.birth = purge_head(node);
            count->wrong += purge_judge(node, &s) != PURGE_USABLE && purge_head(node) == s.birth;
        }
    return NULL;
}

/* The n-th purge of a test is of this URL. */
static unsigned nth(uint64_t n)
{
    return (unsigned)(n * 7 % URLS);
}

static void append_all(unsigned appends)
{
    static const enum purge_kind kind[] = {PURGE_URL, PURGE_HOST, PURGE_PREFIX};
    char text[16];

    for (unsigned n = 1; n <= appends; n++) {
        enum purge_kind k = kind[n % 3];
        uint64_t head;

        url_of(nth(n), text);
        if (k == PURGE_HOST)
            *strchr(text, '/') = '\0';
        head = purge_one(node, k, text, false);
        atomic_store(&acknowledged[nth(n)], head);
    }
}

/* Wait for each new head, and ask at once for what it purged. */
static void *watch(void *user)
{
    struct judge_count *count = user;
    uint64_t seen = purge_head(node);
    char url[16];

    while (!atomic_load(&stop)) {
        uint64_t head = purge_head(node);
        struct purge_subject s = {.birth = head - 1};

        if (head == seen)
            continue;
        seen = head;
        s.purge_url = slice_of(url_of(nth(position_n(head)), url));
        count->wrong += purge_judge(node, &s) != PURGE_DEAD;
    }
    return NULL;
}

/* All are joined before anything is asserted: a failed test must not leave threads to the next one.
 */
static void join(pthread_t thread[JUDGES], const struct judge_count count[JUDGES])
{
    unsigned long wrong = 0;

    for (int i = 0; i < JUDGES; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        wrong += count[i].wrong;
    }
    assert_int_equal(wrong, 0);
}

static void run(void *(*look)(void *), uint64_t scopes_max)
{
    struct purge_limits limits = purge_small_limits();
    struct judge_count count[JUDGES] = {{0}};
    pthread_t thread[JUDGES];

    limits.scopes_max = scopes_max;
    node = purge_must_open(&limits);
    atomic_store(&stop, false);
    for (unsigned i = 0; i < URLS; i++)
        atomic_store(&acknowledged[i], 0);
    for (int i = 0; i < JUDGES; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, look, &count[i]), 0);
    append_all(APPENDS);
    atomic_store(&stop, true);
    join(thread, count);
    purge_close(node);
}

static void test_no_judge_finds_usable_what_was_purged_before_it_asked(void **state)
{
    (void)state;
    run(judge, 100000);
}

static void test_whoever_sees_a_head_finds_its_purge(void **state)
{
    (void)state;
    run(watch, 100000);
}

/* The table starts anew every few purges, under the hands of those who read it. */
static void test_nor_while_the_table_starts_anew(void **state)
{
    (void)state;
    run(judge, 5);
}

/* The same without a disk, so that the table grows and starts anew a thousand times a second. */
static void *find(void *user)
{
    struct judge_count *count = user;
    struct scopes *s = &node->scopes;

    while (!atomic_load(&stop)) {
        uint64_t top = purge_head(node), floor, id = top % 1000 + 1;
        struct scopes_mark m;

        do {
            floor = purge_floor(node);
            m = scopes_find(s, id);
        } while (floor != purge_floor(node));
        count->wrong += m.hard < top && floor <= top - 1; /* id was raised to top before head was */
    }
    return NULL;
}

static void test_growth_and_restarts_of_the_table_hide_nothing(void **state)
{
    struct judge_count count[JUDGES] = {{0}};
    pthread_t thread[JUDGES];

    (void)state;
    node = calloc(1, sizeof(*node));
    assert_non_null(node);
    assert_int_equal(scopes_init(&node->scopes), ERR_OK);
    atomic_store(&stop, false);
    for (uint64_t top = 1; top <= 200000; top++) {
        if (top == 2)
            for (int i = 0; i < JUDGES; i++)
                assert_int_equal(pthread_create(&thread[i], NULL, find, &count[i]), 0);
        assert_int_equal(scopes_reserve(&node->scopes, 1), ERR_OK);
        if (top % 5000 == 0) {
            atomic_store_explicit(&node->floor, top, memory_order_release);
            scopes_restart(&node->scopes);
        }
        scopes_raise(&node->scopes, top % 1000 + 1, (struct scopes_mark){.hard = top});
        atomic_store_explicit(&node->head, top, memory_order_release);
    }
    atomic_store(&stop, true);
    join(thread, count);
    scopes_release(&node->scopes);
    free(node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_no_judge_finds_usable_what_was_purged_before_it_asked,
                                        purge_dir_make, purge_dir_remove),
        cmocka_unit_test_setup_teardown(test_whoever_sees_a_head_finds_its_purge, purge_dir_make,
                                        purge_dir_remove),
        cmocka_unit_test_setup_teardown(test_nor_while_the_table_starts_anew, purge_dir_make,
                                        purge_dir_remove),
        cmocka_unit_test(test_growth_and_restarts_of_the_table_hide_nothing),
    };

    log_set_level(LOG_LEVEL_ERROR); /* the table starts anew all the time here */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
