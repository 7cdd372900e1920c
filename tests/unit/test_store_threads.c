/* Unit tests with many threads: whoever reads while others write gets one whole object, right to
 * the last byte. */
#include "store_dir.h"

enum { MAP_BYTES = 48 << 20, OBJECTS = 2000, WRITERS = 2, READERS = 2, ROUNDS = 2 };

static struct store *s;
static _Atomic uint64_t newest[OBJECTS]; /* what done() said is stored */
static _Atomic bool is_over;
static _Atomic uint64_t hits, misses;

struct one_put {
    uint64_t key, version;
};

static void on_done(void *user, enum err e)
{
    struct one_put *p = user;

    assert_true(e == ERR_OK || e == ERR_GONE);
    if (e == ERR_OK)
        atomic_store(&newest[p->key], p->version);
    free(p);
}

static const struct store_put_events events = {.done = on_done};

static uint64_t size_of(uint64_t key, uint64_t version)
{
    uint64_t x = store_mix(key * 31 + version);

    return x % 16 == 0 ? x / 16 % 300000 : x / 16 % 3000;
}

/* Each writer has keys of its own, so that versions of one key go in in order. */
static void *write_all(void *user)
{
    uint64_t me = (uint64_t)(uintptr_t)user;

    for (uint64_t v = 1; v <= ROUNDS; v++)
        for (uint64_t k = me; k < OBJECTS; k += WRITERS) {
            struct store_what o = {
                .key = k, .version = v, .birth = 100, .body_bytes = size_of(k, v)};
            struct one_put *one = malloc(sizeof(*one));
            struct store_put *p = NULL;

            assert_non_null(one);
            *one = (struct one_put){k, v};
            while (store_put_begin(s, &events, one, &p) == ERR_LIMIT)
                store_flush(s);
            assert_non_null(p);
            if (!store_is_inline(&o))
                store_put_bytes(p, k, v, 0, o.body_bytes);
            if (k % 50 == 49) {
                store_put_abort(&p);
                free(one);
            } else {
                store_publish(&p, &o);
            }
        }
    return NULL;
}

static void *read_all(void *user)
{
    struct store_reader *r = store_must_read(s);
    uint64_t seed = (uint64_t)(uintptr_t)user + 99;

    while (!atomic_load(&is_over)) {
        uint64_t key = (seed = store_mix(seed + 1)) % OBJECTS, version = 0;
        uint64_t at_least = atomic_load(&newest[key]);
        enum err e =
            store_get_and_check(s, r, key, seed % 2 == 0 ? LIMIT_CHUNK_BYTES : 10000, &version);

        assert_true(e == ERR_OK || e == ERR_NOT_FOUND || e == ERR_GONE);
        if (e == ERR_OK)
            assert_true(version >= at_least);
        atomic_fetch_add(e == ERR_OK ? &hits : &misses, 1);
    }
    store_reader_free(r);
    return NULL;
}

static void run(uint64_t bytes_max)
{
    pthread_t writer[WRITERS], reader[READERS];

    is_over = false;
    hits = misses = 0;
    for (size_t i = 0; i < OBJECTS; i++)
        newest[i] = 0;
    s = store_must_open(bytes_max);
    for (size_t i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&writer[i], NULL, write_all, (void *)(uintptr_t)i), 0);
    for (size_t i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&reader[i], NULL, read_all, (void *)(uintptr_t)i), 0);
    for (size_t i = 0; i < WRITERS; i++)
        pthread_join(writer[i], NULL);
    store_flush(s);
    atomic_store(&is_over, true);
    for (size_t i = 0; i < READERS; i++)
        pthread_join(reader[i], NULL);
}

static void test_two_thousand_objects_replaced_while_they_are_read(void **state)
{
    struct store_reader *r;

    (void)state;
    run(MAP_BYTES);
    r = store_must_read(s);
    for (uint64_t k = 0; k < OBJECTS; k++)
        assert_int_equal(store_version(s, r, k), k % 50 == 49 ? 0 : ROUNDS);
    assert_true(hits > 0);
    store_reader_free(r);
    store_close(s);
}

static void test_the_same_while_most_of_it_is_evicted(void **state)
{
    struct store_stat st;

    (void)state;
    run(16 << 20);
    store_stat(s, &st);
    assert_true(st.used_bytes <= (16ull << 20) / 100 * LIMIT_STORE_USE_PERCENT);
    store_close(s);
}

/* ---- an abort is the last word ---- */

static void *abort_some(void *user)
{
    (void)user;
    for (int i = 0; i < 300; i++) {
        struct store_wait *w = calloc(1, sizeof(*w));
        struct store_put *p = NULL;

        assert_non_null(w);
        pthread_mutex_init(&w->lock, NULL);
        pthread_cond_init(&w->wake, NULL);
        while (store_put_begin(s, &store_events, w, &p) == ERR_LIMIT)
            store_flush(s);
        assert_non_null(p);
        store_put_bytes(p, 1, 1, 0, 2 * LIMIT_CHUNK_BYTES);
        store_put_abort(&p);
        /* nobody calls it any more: a sanitizer would see who does */
        pthread_mutex_destroy(&w->lock);
        pthread_cond_destroy(&w->wake);
        free(w);
    }
    return NULL;
}

static void test_nothing_is_told_after_an_abort(void **state)
{
    pthread_t thread[2];

    (void)state;
    s = store_must_open(MAP_BYTES);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, abort_some, NULL), 0);
    for (size_t i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    store_close(s);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, store_dir_make, store_dir_remove)
    const struct CMUnitTest tests[] = {
        T(test_two_thousand_objects_replaced_while_they_are_read),
        T(test_the_same_while_most_of_it_is_evicted),
        T(test_nothing_is_told_after_an_abort),
    };

    return cmocka_run_group_tests_name("store/threads", tests, NULL, NULL);
}
