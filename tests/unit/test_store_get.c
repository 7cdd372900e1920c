/* Unit tests of putting and getting, judging, variants, refreshing, removing, walking. */
#include "store_dir.h"

enum { MAP_BYTES = 64 << 20 };

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

static enum err get(uint64_t key, uint64_t variant, struct arena *a, struct store_hit *h)
{
    struct store_text t;
    struct store_key k = store_key_of(&t, key, variant);

    return store_get(r, &k, a, h);
}

static void test_objects_of_all_sizes_come_back_as_they_went(void **state)
{
    static const uint64_t size[] = {0,
                                    1,
                                    1023,
                                    LIMIT_INLINE_BODY_BYTES,
                                    LIMIT_INLINE_BODY_BYTES + 1,
                                    5000,
                                    LIMIT_CHUNK_BYTES - 1,
                                    LIMIT_CHUNK_BYTES,
                                    LIMIT_CHUNK_BYTES + 1,
                                    3 * LIMIT_CHUNK_BYTES,
                                    10 * LIMIT_CHUNK_BYTES + 17};
    static const size_t piece[] = {LIMIT_CHUNK_BYTES, 16384, 777};

    (void)state;
    for (size_t i = 0; i < sizeof(size) / sizeof(size[0]); i++)
        store_must_put(s, i, i + 1, size[i]);
    for (size_t i = 0; i < sizeof(size) / sizeof(size[0]); i++)
        for (size_t j = 0; j < 3; j++) {
            uint64_t version = 0;

            assert_int_equal(store_get_and_check(s, r, i, piece[j], &version), ERR_OK);
            assert_int_equal(version, i + 1);
        }
}

static void test_everything_that_was_said_is_said_again(void **state)
{
    static const uint64_t tags[] = {5, UINT64_MAX, 7};
    struct store_wait w = STORE_WAIT_INIT;
    struct store_put *p = store_must_begin(s, &w, NULL);
    struct store_record rec = {
        .key = {.host = SLICE("h.example"), .text = SLICE("the text"), .variant = 0},
        .stamp = {.birth = 42,
                  .site = 9,
                  .purge_url = SLICE("h.example/u"),
                  .tags = tags,
                  .tags_count = 3,
                  .tags_overflow = true},
        .head = SLICE("head \0 head"),
        .body = SLICE("inline")};
    uint64_t objid = store_put_objid(p);
    struct store_hit h;
    struct arena a;

    (void)state;
    store_put_publish(&p, &rec, 6);
    assert_null(p);
    assert_int_equal(store_wait_done(&w), ERR_OK);
    arena_init(&a, NULL, 0, 65536);
    assert_int_equal(store_get(r, &rec.key, &a, &h), ERR_OK);
    assert_int_equal(h.objid, objid);
    assert_int_equal(h.stamp.birth, 42);
    assert_int_equal(h.stamp.site, 9);
    assert_true(slice_eq(h.stamp.purge_url, rec.stamp.purge_url));
    assert_int_equal(h.stamp.tags_count, 3);
    assert_memory_equal(h.stamp.tags, tags, sizeof(tags));
    assert_true(h.stamp.tags_overflow);
    assert_true(slice_eq(h.head, rec.head));
    assert_true(slice_eq(h.inline_body, rec.body));
    assert_int_equal(h.body_bytes, 6);
    assert_false(h.is_stale || h.is_marker || h.pinned);

    rec.key.text = SLICE("another text");
    assert_int_equal(store_get(r, &rec.key, &a, &h), ERR_NOT_FOUND);
    rec.key.text = SLICE("the text");
    rec.key.host = SLICE("i.example");
    assert_int_equal(store_get(r, &rec.key, &a, &h), ERR_NOT_FOUND);
    arena_release(&a);
}

static void test_a_full_arena_is_a_limit(void **state)
{
    struct store_hit h;
    struct arena a;
    char room[64];

    (void)state;
    store_must_put(s, 1, 1, 100);
    arena_init(&a, room, sizeof(room), 0);
    assert_int_equal(get(1, 0, &a, &h), ERR_LIMIT);
    arena_release(&a);
}

/* ---- the judge ---- */

static void test_what_is_purged_is_not_returned_and_goes(void **state)
{
    struct store_what o = {.key = 1, .version = 1, .birth = 50, .body_bytes = 100000};
    struct store_stat st;

    (void)state;
    assert_int_equal(store_put_all(s, &o, NULL), ERR_OK);
    assert_int_equal(store_version(s, r, 1), 1);
    store_judge_says.dead_below = 51;
    assert_int_equal(store_version(s, r, 1), 0);
    store_flush(s);
    store_judge_says.dead_below = 0; /* it was not only hidden */
    assert_int_equal(store_version(s, r, 1), 0);
    store_stat(s, &st);
    assert_int_equal(st.objects, 0);
}

static void test_what_was_purged_meanwhile_is_not_published(void **state)
{
    struct store_what o = {.key = 1, .version = 1, .birth = 50, .body_bytes = 100000};

    (void)state;
    store_judge_says.dead_below = 51;
    assert_int_equal(store_put_all(s, &o, NULL), ERR_GONE);
    store_judge_says.dead_below = 0;
    assert_int_equal(store_version(s, r, 1), 0);
}

static void test_what_was_born_below_the_floor_is_neither_published_nor_returned(void **state)
{
    struct store_what o = {.key = 1, .version = 1, .birth = 50, .body_bytes = 10};

    (void)state;
    assert_int_equal(store_put_all(s, &o, NULL), ERR_OK);
    store_judge_says.floor = 51;
    assert_int_equal(store_version(s, r, 1), 0);
    o.key = 2;
    assert_int_equal(store_put_all(s, &o, NULL), ERR_GONE);
}

static void test_what_is_purged_softly_is_stale(void **state)
{
    struct store_what o = {.key = 1, .version = 1, .birth = 50, .body_bytes = 10};
    struct store_hit h;
    struct arena a;

    (void)state;
    assert_int_equal(store_put_all(s, &o, NULL), ERR_OK);
    store_judge_says.stale_below = 51;
    arena_init(&a, NULL, 0, 65536);
    assert_int_equal(get(1, 0, &a, &h), ERR_OK);
    assert_true(h.is_stale);
    arena_release(&a);
}

static void test_what_was_born_at_the_head_need_not_be_asked_about(void **state)
{
    (void)state;
    store_must_put(s, 1, 1, 10); /* born at 100 */
    assert_int_equal(store_version(s, r, 1), 1);
    assert_int_equal(store_judge_says.asked, 0);
    store_judge_says.head = 101;
    assert_int_equal(store_version(s, r, 1), 1);
    assert_true(store_judge_says.asked > 0);
}

static unsigned floors_to_move;

static enum store_verdict judge_that_moves_the_floor(void *user, const struct store_stamp *stamp)
{
    (void)user;
    /* the purge that covers it is retired just while it is judged: the table is empty, the floor
     * says so */
    if (floors_to_move > 0) {
        floors_to_move--;
        store_judge_says.floor = stamp->birth + 1;
    }
    return STORE_USABLE;
}

static void test_a_purge_retired_while_judging_still_counts(void **state)
{
    struct store_what o = {.key = 1, .version = 1, .birth = 50, .body_bytes = 10};
    struct store_options opt = store_options_of(MAP_BYTES);
    const char *why;

    (void)state;
    assert_int_equal(store_put_all(s, &o, NULL), ERR_OK);
    store_reader_free(r);
    store_close(s);
    opt.judge.judge = judge_that_moves_the_floor;
    s = store_must_open_with(&opt, &why);
    r = store_must_read(s);
    floors_to_move = 1;
    assert_int_equal(store_version(s, r, 1), 0);
    store_judge_says.floor = 0;
    floors_to_move = 1;
    o.key = 2;
    assert_int_equal(store_put_all(s, &o, NULL), ERR_GONE);
}

/* ---- replacing ---- */

static void test_a_later_birth_replaces_and_an_earlier_one_does_not(void **state)
{
    struct store_what o = {.key = 1, .version = 1, .birth = 50, .body_bytes = 70000};
    struct store_stat st;

    (void)state;
    assert_int_equal(store_put_all(s, &o, NULL), ERR_OK);
    o = (struct store_what){.key = 1, .version = 2, .birth = 49, .body_bytes = 70000};
    assert_int_equal(store_put_all(s, &o, NULL), ERR_GONE);
    assert_int_equal(store_version(s, r, 1), 1);
    o = (struct store_what){.key = 1, .version = 3, .birth = 50, .body_bytes = 10};
    assert_int_equal(store_put_all(s, &o, NULL), ERR_OK);
    assert_int_equal(store_version(s, r, 1), 3);
    store_stat(s, &st);
    assert_int_equal(st.objects, 1);
}

static void test_a_body_that_is_read_survives_being_replaced(void **state)
{
    struct store_reader *other;
    struct store_hit h;
    struct arena a;
    char byte;
    size_t n;

    (void)state;
    arena_init(&a, NULL, 0, 65536);
    store_must_put(s, 1, 1, 300000);
    assert_int_equal(get(1, 0, &a, &h), ERR_OK);
    assert_true(h.pinned);
    for (uint64_t v = 2; v < 6; v++) {
        store_must_put(s, 1, v, 300000);
        store_flush(s);
        assert_int_equal(store_compare_body(r, &h, 1, 1, 16384), ERR_OK);
    }
    assert_int_equal(store_version(s, r, 1), 5);
    store_unpin(s, h.objid);
    /* any transaction collects what nobody reads any more */
    store_must_put(s, 2, 1, 1);
    store_must_put(s, 2, 2, 1);
    other = store_must_read(s); /* this one has no copies of its own */
    assert_int_equal(store_read(other, h.objid, 4 * LIMIT_CHUNK_BYTES, &byte, 1, &n), ERR_GONE);
    store_reader_free(other);
    arena_release(&a);
}

static void test_what_nobody_reads_gives_its_room_back(void **state)
{
    struct store_stat before, after;

    (void)state;
    store_must_put(s, 1, 1, 1);
    store_stat(s, &before);
    for (uint64_t v = 1; v < 20; v++)
        store_must_put(s, 2, v, 2000000);
    store_must_put(s, 2, 20, 1);
    for (uint64_t v = 2; v < 10; v++)
        store_must_put(s, 1, v, 1);
    store_stat(s, &after);
    assert_in_range(after.used_bytes, before.used_bytes, before.used_bytes + 65536);
}

/* ---- puts in parts ---- */

static void test_committed_bytes_can_be_read_before_the_object_is_there(void **state)
{
    struct store_wait w = STORE_WAIT_INIT;
    uint64_t objid, bytes = 5 * LIMIT_CHUNK_BYTES;
    struct store_put *p = store_must_begin(s, &w, &objid);
    struct store_hit h = {.objid = objid, .body_bytes = bytes};
    char byte;
    size_t n;

    (void)state;
    store_pin(s, objid);
    store_put_bytes(p, 1, 1, 0, bytes);
    store_wait_committed(&w, bytes);
    assert_int_equal(store_compare_body(r, &h, 1, 1, 20000), ERR_OK);
    assert_int_equal(store_read(r, objid, bytes, &byte, 1, &n), ERR_GONE);
    assert_int_equal(store_version(s, r, 1), 0);
    store_publish(&p,
                  &(struct store_what){.key = 1, .version = 1, .birth = 100, .body_bytes = bytes});
    assert_int_equal(store_wait_done(&w), ERR_OK);
    assert_int_equal(w.dones, 1);
    assert_int_equal(store_version(s, r, 1), 1);
    store_unpin(s, objid);
}

static void test_an_aborted_put_leaves_nothing_and_tells_nothing(void **state)
{
    struct store_wait w = STORE_WAIT_INIT;
    struct store_stat before, after;
    struct store_put *p;

    (void)state;
    store_must_put(s, 9, 1, 1);
    store_stat(s, &before);
    p = store_must_begin(s, &w, NULL);
    store_put_bytes(p, 1, 1, 0, 5 * LIMIT_CHUNK_BYTES);
    store_wait_committed(&w, 5 * LIMIT_CHUNK_BYTES);
    store_put_abort(&p);
    assert_null(p);
    store_put_abort(&p);
    store_flush(s);
    store_must_put(s, 9, 2, 1); /* the transaction that collects */
    store_must_put(s, 9, 3, 1);
    assert_int_equal(w.dones, 0);
    store_stat(s, &after);
    assert_in_range(after.used_bytes, before.used_bytes, before.used_bytes + 65536);
    assert_int_equal(after.queue_bytes, 0);
}

static void test_a_rejected_body_stays_for_those_who_read_it(void **state)
{
    struct store_wait w = STORE_WAIT_INIT;
    uint64_t objid, bytes = 3 * LIMIT_CHUNK_BYTES;
    struct store_put *p = store_must_begin(s, &w, &objid);
    struct store_hit h = {.objid = objid, .body_bytes = bytes};

    (void)state;
    store_pin(s, objid);
    store_put_bytes(p, 1, 1, 0, bytes);
    store_judge_says.head = 101;
    store_judge_says.dead_below = 101;
    store_publish(&p,
                  &(struct store_what){.key = 1, .version = 1, .birth = 100, .body_bytes = bytes});
    assert_int_equal(store_wait_done(&w), ERR_GONE);
    store_flush(s);
    store_flush(s);
    assert_int_equal(store_compare_body(r, &h, 1, 1, 20000), ERR_OK);
    store_unpin(s, objid);
}

static void test_a_record_over_the_limit_is_refused(void **state)
{
    static char head[LIMIT_RECORD_BYTES];
    struct store_wait w = STORE_WAIT_INIT;
    struct store_put *p = store_must_begin(s, &w, NULL);
    struct store_text t;
    struct store_record rec = {
        .key = store_key_of(&t, 1, 0), .stamp = {.birth = 100}, .head = {head, sizeof(head)}};

    (void)state;
    store_put_publish(&p, &rec, 0);
    assert_int_equal(store_wait_done(&w), ERR_LIMIT);
    assert_int_equal(store_version(s, r, 1), 0);
}

/* ---- variants ---- */

static void test_variants_stand_side_by_side_under_a_marker(void **state)
{
    struct store_hit h;
    struct store_stat st;
    struct arena a;

    (void)state;
    arena_init(&a, NULL, 0, 65536);
    for (uint64_t v = 1; v <= 4; v++) {
        struct store_what o = {
            .key = 1, .variant = v, .version = v, .birth = 100, .body_bytes = 70000 + v};

        assert_int_equal(store_put_all(s, &o, NULL), v <= 3 ? ERR_OK : ERR_LIMIT);
    }
    assert_int_equal(get(1, 0, &a, &h), ERR_OK);
    assert_true(h.is_marker);
    assert_true(slice_eq(h.head, SLICE("\1\2\3")));
    assert_int_equal(h.body_bytes, 0);
    for (uint64_t v = 1; v <= 3; v++) {
        assert_int_equal(get(1, v, &a, &h), ERR_OK);
        assert_false(h.is_marker);
        assert_int_equal(store_compare_body(r, &h, 1, v, LIMIT_CHUNK_BYTES), ERR_OK);
        store_unpin(s, h.objid);
    }
    assert_int_equal(get(1, 4, &a, &h), ERR_NOT_FOUND);
    store_stat(s, &st);
    assert_int_equal(st.objects, 3);
    arena_release(&a);
}

static void test_a_marker_takes_the_place_of_an_object_unless_that_is_younger(void **state)
{
    struct store_what o = {.key = 1, .version = 9, .birth = 50, .body_bytes = 70000};
    struct store_what v = {.key = 1, .variant = 2, .version = 2, .birth = 49, .body_bytes = 10};
    struct store_hit h;
    struct arena a;

    (void)state;
    arena_init(&a, NULL, 0, 65536);
    assert_int_equal(store_put_all(s, &o, NULL), ERR_OK);
    assert_int_equal(store_put_all(s, &v, NULL), ERR_GONE);
    assert_int_equal(store_version(s, r, 1), 9);
    v.birth = 50;
    assert_int_equal(store_put_all(s, &v, NULL), ERR_OK);
    assert_int_equal(get(1, 0, &a, &h), ERR_OK);
    assert_true(h.is_marker);
    o.version = 10;
    assert_int_equal(store_put_all(s, &o, NULL), ERR_OK); /* and back */
    assert_int_equal(store_version(s, r, 1), 10);
    arena_release(&a);
}

static void test_a_marker_is_dead_when_its_youngest_variant_is(void **state)
{
    struct store_hit h;
    struct arena a;

    (void)state;
    arena_init(&a, NULL, 0, 65536);
    for (uint64_t v = 1; v <= 2; v++) {
        struct store_what o = {
            .key = 1, .variant = v, .version = v, .birth = 60 - v, .body_bytes = 1};

        assert_int_equal(store_put_all(s, &o, NULL), ERR_OK);
    }
    store_judge_says.dead_below = 59; /* the second, born at 58 */
    assert_int_equal(get(1, 0, &a, &h), ERR_OK);
    assert_int_equal(get(1, 1, &a, &h), ERR_OK);
    assert_int_equal(get(1, 2, &a, &h), ERR_NOT_FOUND);
    store_judge_says.dead_below = 60;
    assert_int_equal(get(1, 0, &a, &h), ERR_NOT_FOUND);
    arena_release(&a);
}

/* ---- refresh, remove ---- */

static enum err refresh(uint64_t key, uint64_t objid, uint64_t birth, struct slice head)
{
    struct store_wait w = STORE_WAIT_INIT;
    struct store_text t;
    struct store_key k = store_key_of(&t, key, 0);
    struct store_stamp stamp = {.birth = birth, .site = 3, .purge_url = slice_of(t.url)};

    store_refresh(s, &k, objid, &stamp, head, store_on_done, &w);
    return store_wait_done(&w);
}

static void test_a_refresh_changes_head_and_stamp_and_keeps_the_body(void **state)
{
    static const uint64_t size[] = {0, 900, 200000};

    (void)state;
    for (uint64_t k = 0; k < 3; k++) {
        struct store_what o = {.key = k, .version = 1, .birth = 50, .body_bytes = size[k]};
        char head[64];
        uint64_t objid, version;
        struct store_hit h;
        struct arena a;

        arena_init(&a, NULL, 0, 65536);
        assert_int_equal(store_put_all(s, &o, &objid), ERR_OK);
        snprintf(head, sizeof(head), "%llu 1 %llu and more", (unsigned long long)k,
                 (unsigned long long)size[k]);
        assert_int_equal(refresh(k, objid, 60, slice_of(head)), ERR_OK);
        assert_int_equal(store_get_and_check(s, r, k, 5000, &version), ERR_OK);
        assert_int_equal(get(k, 0, &a, &h), ERR_OK);
        assert_true(slice_eq(h.head, slice_of(head)));
        assert_int_equal(h.stamp.birth, 60);
        assert_int_equal(h.objid, objid);
        if (h.pinned)
            store_unpin(s, h.objid);
        arena_release(&a);
    }
}

static void test_a_refresh_never_touches_another_object_nor_wakes_a_dead_one(void **state)
{
    struct store_what o = {.key = 1, .version = 1, .birth = 50, .body_bytes = 10};
    uint64_t objid;

    (void)state;
    assert_int_equal(store_put_all(s, &o, &objid), ERR_OK);
    assert_int_equal(refresh(1, objid + 1, 60, SLICE("1 7 10")), ERR_NOT_FOUND);
    assert_int_equal(refresh(2, objid, 60, SLICE("1 7 10")), ERR_NOT_FOUND);
    assert_int_equal(refresh(1, objid, 49, SLICE("1 7 10")), ERR_GONE);
    store_judge_says.dead_below = 51;
    assert_int_equal(refresh(1, objid, 60, SLICE("1 7 10")), ERR_GONE);
    store_judge_says.dead_below = 0;
    assert_int_equal(store_version(s, r, 1), 1);
}

static void test_a_removal_takes_only_the_object_it_names(void **state)
{
    struct store_what o = {.key = 1, .version = 1, .birth = 50, .body_bytes = 100000};
    struct store_text t;
    struct store_key k = store_key_of(&t, 1, 0);
    uint64_t objid;

    (void)state;
    assert_int_equal(store_put_all(s, &o, &objid), ERR_OK);
    store_remove(s, &k, objid + 1);
    store_flush(s);
    assert_int_equal(store_version(s, r, 1), 1);
    store_remove(s, &k, objid);
    store_flush(s);
    assert_int_equal(store_version(s, r, 1), 0);
}

static void test_ids_only_grow(void **state)
{
    struct store_wait w = STORE_WAIT_INIT;
    uint64_t last = 0;

    (void)state;
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 5; i++) {
            uint64_t objid;
            struct store_put *p = store_must_begin(s, &w, &objid);

            assert_true(objid > last);
            last = objid;
            store_put_abort(&p);
        }
        /* also of one boot, opened twice; also of what left nothing behind */
        store_reader_free(r);
        store_close(s);
        s = store_must_open(MAP_BYTES);
        r = store_must_read(s);
    }
}

/* ---- walking ---- */

struct seen {
    unsigned rows, markers, dead;
    unsigned stop_after;
    unsigned char key[4096];
};

static bool on_row(void *user, const struct store_row *row)
{
    struct seen *seen = user;
    unsigned key = 0;
    char url[64];

    assert_true(slice_eq(row->key.host, SLICE("example.com")));
    seen->rows++;
    seen->markers += row->is_marker;
    seen->dead += row->verdict == STORE_DEAD;
    if (!row->is_marker) {
        snprintf(url, sizeof(url), "%.*s", (int)row->stamp.purge_url.n, row->stamp.purge_url.p);
        assert_int_equal(sscanf(url, "example.com/%u", &key), 1);
        assert_true(key < sizeof(seen->key));
        seen->key[key]++;
    }
    return seen->rows != seen->stop_after;
}

static void test_a_walk_meets_each_row_of_its_host_once(void **state)
{
    static struct store_wait waits[2500];
    static struct seen seen;

    (void)state;
    for (uint64_t k = 0; k < 2500; k++) {
        struct store_what o = {
            .key = k, .version = 1, .birth = k % 2 == 0 ? 100 : 10, .body_bytes = 5};

        waits[k] = (struct store_wait)STORE_WAIT_INIT;
        store_put_start(s, &o, &waits[k], NULL);
    }
    store_flush(s);
    store_judge_says.dead_below = 50;
    assert_int_equal(store_walk(r, SLICE("example.com"), on_row, &seen), ERR_OK);
    assert_int_equal(seen.rows, 2500);
    for (size_t i = 0; i < 2500; i++)
        assert_int_equal(seen.key[i], 1);
    store_judge_says.head = 101;
    seen = (struct seen){0};
    assert_int_equal(store_walk(r, SLICE("example.com"), on_row, &seen), ERR_OK);
    assert_int_equal(seen.dead, 1250);
    seen = (struct seen){.stop_after = 3};
    assert_int_equal(store_walk(r, SLICE("example.com"), on_row, &seen), ERR_OK);
    assert_int_equal(seen.rows, 3);
    seen = (struct seen){0};
    assert_int_equal(store_walk(r, SLICE("other.example"), on_row, &seen), ERR_OK);
    assert_int_equal(seen.rows, 0);
}

static void test_bodies_just_written_are_resident(void **state)
{
    struct store_hit h;
    struct arena a;

    (void)state;
    arena_init(&a, NULL, 0, 65536);
    store_must_put(s, 1, 1, 1000000);
    assert_int_equal(get(1, 0, &a, &h), ERR_OK);
    assert_int_equal(store_compare_body(r, &h, 1, 1, LIMIT_CHUNK_BYTES), ERR_OK);
    assert_true(store_is_resident(r, h.objid, 0, 1000000));
    assert_true(store_is_resident(r, h.objid, 999999, 1));
    assert_false(store_is_resident(r, h.objid, 0, 2000000)); /* there is no such chunk */
    store_unpin(s, h.objid);
    arena_release(&a);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_objects_of_all_sizes_come_back_as_they_went),
        T(test_everything_that_was_said_is_said_again),
        T(test_a_full_arena_is_a_limit),
        T(test_what_is_purged_is_not_returned_and_goes),
        T(test_what_was_purged_meanwhile_is_not_published),
        T(test_what_was_born_below_the_floor_is_neither_published_nor_returned),
        T(test_what_is_purged_softly_is_stale),
        T(test_what_was_born_at_the_head_need_not_be_asked_about),
        T(test_a_purge_retired_while_judging_still_counts),
        T(test_a_later_birth_replaces_and_an_earlier_one_does_not),
        T(test_a_body_that_is_read_survives_being_replaced),
        T(test_what_nobody_reads_gives_its_room_back),
        T(test_committed_bytes_can_be_read_before_the_object_is_there),
        T(test_an_aborted_put_leaves_nothing_and_tells_nothing),
        T(test_a_rejected_body_stays_for_those_who_read_it),
        T(test_a_record_over_the_limit_is_refused),
        T(test_variants_stand_side_by_side_under_a_marker),
        T(test_a_marker_takes_the_place_of_an_object_unless_that_is_younger),
        T(test_a_marker_is_dead_when_its_youngest_variant_is),
        T(test_a_refresh_changes_head_and_stamp_and_keeps_the_body),
        T(test_a_refresh_never_touches_another_object_nor_wakes_a_dead_one),
        T(test_a_removal_takes_only_the_object_it_names),
        T(test_ids_only_grow),
        T(test_a_walk_meets_each_row_of_its_host_once),
        T(test_bodies_just_written_are_resident),
    };

    return cmocka_run_group_tests_name("store/get", tests, NULL, NULL);
}
