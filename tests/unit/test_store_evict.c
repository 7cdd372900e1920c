/* Unit tests of the bound: whatever is put, the store stays below its share of the map, and goes
 * on. */
#include "store_dir.h"

enum { MAP_BYTES = 16 << 20 };

static struct store *s;
static struct store_reader *r;

static int setup(void **state)
{
    if (store_dir_make(state) != 0)
        return -1;
    s = store_must_open(MAP_BYTES);
    r = store_must_read(s);
    return 0;
}

static int teardown(void **state)
{
    store_reader_free(r);
    store_close(s);
    return store_dir_remove(state);
}

static void assert_below_the_bound(void)
{
    struct store_stat st;

    store_stat(s, &st);
    assert_true(st.writable);
    assert_true(st.used_bytes <= (uint64_t)MAP_BYTES / 100 * LIMIT_STORE_USE_PERCENT);
}

static void test_the_first_in_are_the_first_out(void **state)
{
    (void)state;
    for (uint64_t k = 0; k < 40; k++) { /* 40 MiB into 16 */
        store_must_put(s, k, 1, 1 << 20);
        assert_below_the_bound();
        assert_int_equal(store_version(s, r, k), 1);
    }
    for (uint64_t k = 0; k < 25; k++)
        assert_int_equal(store_version(s, r, k), 0);
    for (uint64_t k = 32; k < 40; k++)
        assert_int_equal(store_version(s, r, k), 1);
}

static uint64_t next_random(uint64_t *seed)
{
    *seed = store_mix(*seed + 0x9e3779b97f4a7c15u);
    return *seed;
}

/* Sizes from nothing to two megabytes, most of them small. */
static uint64_t random_size(uint64_t *seed)
{
    unsigned bits = (unsigned)(next_random(seed) % 22);

    return next_random(seed) & ((1ull << bits) - 1);
}

static void test_any_mix_of_sizes_goes_in_and_comes_back_right(void **state)
{
    static struct store_wait ignored = STORE_WAIT_INIT;
    uint64_t seed = 1, total = 0, found = 0;

    (void)state;
    for (uint64_t v = 1; total < 100u << 20; v++) {
        struct store_what o = {.key = next_random(&seed) % 3000, .version = v, .birth = 100};

        o.body_bytes = random_size(&seed);
        total += o.body_bytes;
        store_put_start(s, &o, &ignored, NULL);
        if (v % 97 == 0) {
            store_flush(s);
            assert_below_the_bound();
        }
    }
    store_flush(s);
    assert_below_the_bound();
    assert_int_equal(ignored.e, ERR_OK);
    for (uint64_t k = 0; k < 3000; k++)
        found += store_version(s, r, k) != 0;
    assert_true(found > 50);
}

static void test_more_small_ones_than_fit_go_through(void **state)
{
    static struct store_wait ignored = STORE_WAIT_INIT;
    struct store_stat st;

    (void)state;
    for (uint64_t k = 0; k < 25000; k++) {
        struct store_what o = {.key = k, .version = 1, .birth = 100, .body_bytes = k % 1025};

        store_put_start(s, &o, &ignored, NULL);
        if (k % 5000 == 0) {
            store_flush(s);
            assert_below_the_bound();
        }
    }
    store_flush(s);
    assert_below_the_bound();
    store_stat(s, &st);
    assert_true(st.objects > 5000);
    assert_int_equal(store_version(s, r, 0), 0);
    assert_int_equal(store_version(s, r, 24999), 1);
}

/* From large to small and back: pages freed by one must serve the other. */
static void test_large_after_small_after_large(void **state)
{
    static struct store_wait ignored = STORE_WAIT_INIT;
    struct store_stat st;
    uint64_t key = 0;

    (void)state;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 20; i++, key++) {
            store_must_put(s, key, 1, 2000000);
            assert_below_the_bound();
        }
        /* what is free is used though it lies about in single pages: as much fits as before */
        store_stat(s, &st);
        assert_true(st.objects >= 5);
        for (int i = 0; i < 12000; i++, key++)
            store_put_start(
                s, &(struct store_what){.key = key, .version = 1, .birth = 100, .body_bytes = 1000},
                &ignored, NULL);
        store_flush(s);
        assert_below_the_bound();
    }
}

static void test_what_is_larger_than_the_store_is_refused_and_others_go_on(void **state)
{
    struct store_wait w = STORE_WAIT_INIT;
    struct store_put *p = store_must_begin(s, &w, NULL);

    (void)state;
    for (uint64_t at = 0; at < 3 * (uint64_t)MAP_BYTES; at += LIMIT_CHUNK_BYTES)
        store_put_bytes(p, 1, 1, at, LIMIT_CHUNK_BYTES);
    assert_int_equal(store_wait_done(&w),
                     ERR_LIMIT); /* told before the end: nobody need wait for it */
    store_put_abort(&p);
    store_flush(s);
    assert_int_equal(w.dones, 1);
    for (uint64_t k = 0; k < 20; k++) {
        store_must_put(s, k, 1, 1 << 20);
        assert_below_the_bound();
    }
    assert_int_equal(store_version(s, r, 19), 1);
}

static void test_a_body_that_is_read_survives_eviction(void **state)
{
    struct store_text t;
    struct store_key k = store_key_of(&t, 0, 0);
    struct store_hit h;
    struct arena a;

    (void)state;
    arena_init(&a, NULL, 0, 65536);
    store_must_put(s, 0, 1, 600000);
    assert_int_equal(store_get(r, &k, &a, &h), ERR_OK);
    for (uint64_t i = 1; i < 60; i++) {
        store_must_put(s, i, 1, 1 << 20);
        assert_below_the_bound();
    }
    assert_int_equal(store_version(s, r, 0), 0); /* for others it is gone */
    assert_int_equal(store_compare_body(r, &h, 0, 1, LIMIT_CHUNK_BYTES), ERR_OK);
    store_unpin(s, h.objid);
    arena_release(&a);
}

static void test_pins_that_hold_too_much_are_broken_and_never_give_wrong_bytes(void **state)
{
    enum { HELD = 10 };
    struct store_hit h[HELD];
    struct arena a;
    unsigned gone = 0;

    (void)state;
    arena_init(&a, NULL, 0, 65536);
    for (uint64_t k = 0; k < HELD; k++) {
        struct store_text t;
        struct store_key key = store_key_of(&t, k, 0);

        store_must_put(s, k, 1, 1 << 20);
        assert_int_equal(store_get(r, &key, &a, &h[k]), ERR_OK);
    }
    for (uint64_t k = HELD; k < 80; k++) {
        store_must_put(s, k, 1, 1 << 20); /* goes on although all that it could evict is pinned */
        assert_below_the_bound();
    }
    for (uint64_t k = 0; k < HELD; k++) {
        enum err e = store_compare_body(r, &h[k], k, 1, LIMIT_CHUNK_BYTES);

        assert_true(e == ERR_OK || e == ERR_GONE);
        gone += e == ERR_GONE;
        store_unpin(s, h[k].objid);
    }
    assert_in_range(gone, HELD - 2, HELD);
    arena_release(&a);
}

static void test_a_marker_outlives_its_variants(void **state)
{
    struct store_text t;
    struct store_key base = store_key_of(&t, 1, 0);
    struct store_hit h;
    struct arena a;

    (void)state;
    arena_init(&a, NULL, 0, 1 << 20);
    for (uint64_t v = 1; v <= 2; v++)
        assert_int_equal(
            store_put_all(s,
                          &(struct store_what){
                              .key = 1, .variant = v, .version = v, .birth = 100, .body_bytes = 9},
                          NULL),
            ERR_OK);
    for (uint64_t i = 2; i < 60; i++) {
        struct store_key v2 = base;
        enum err e;

        store_must_put(s, i, 1, 1 << 20);
        v2.variant = 2;
        e = store_get(r, &v2, &a, &h);
        if (e == ERR_OK)
            assert_int_equal(store_get(r, &base, &a, &h), ERR_OK);
    }
    assert_int_equal(store_get(r, &base, &a, &h), ERR_NOT_FOUND);
    arena_release(&a);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_the_first_in_are_the_first_out),
        T(test_any_mix_of_sizes_goes_in_and_comes_back_right),
        T(test_more_small_ones_than_fit_go_through),
        T(test_large_after_small_after_large),
        T(test_what_is_larger_than_the_store_is_refused_and_others_go_on),
        T(test_a_body_that_is_read_survives_eviction),
        T(test_pins_that_hold_too_much_are_broken_and_never_give_wrong_bytes),
        T(test_a_marker_outlives_its_variants),
    };

    return cmocka_run_group_tests_name("store/evict", tests, NULL, NULL);
}
