/* Unit tests of the forms on disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "store/record.h"

static const uint64_t tags[] = {1, UINT64_MAX};

static struct store_object object(void)
{
    return (struct store_object){
        .objid = 0x0102030405060708,
        .key = {.host = SLICE("example.com"), .text = SLICE("https example.com/"), .variant = 9},
        .stamp = {.birth = 77,
                  .site = 5,
                  .purge_url = SLICE("example.com/"),
                  .tags = tags,
                  .tags_count = 2,
                  .tags_overflow = true},
        .head = SLICE("head"),
        .body = SLICE("body"),
        .body_bytes = 4,
    };
}

static char bytes[1024] __attribute__((aligned(8)));

static size_t encode(const struct store_object *o)
{
    size_t n = store_object_bytes(o);

    assert_true(n <= sizeof(bytes));
    store_object_encode(o, bytes);
    return n;
}

static void test_an_object_comes_back_as_it_went(void **state)
{
    struct store_object o = object(), back;
    size_t n = encode(&o);

    (void)state;
    assert_int_equal(store_object_decode((struct slice){bytes, n}, &back), ERR_OK);
    assert_int_equal(back.objid, o.objid);
    assert_true(slice_eq(back.key.host, o.key.host) && slice_eq(back.key.text, o.key.text));
    assert_int_equal(back.key.variant, 9);
    assert_int_equal(back.stamp.birth, 77);
    assert_int_equal(back.stamp.site, 5);
    assert_true(slice_eq(back.stamp.purge_url, o.stamp.purge_url));
    assert_int_equal(back.stamp.tags_count, 2);
    assert_memory_equal(back.stamp.tags, tags, sizeof(tags));
    assert_true(back.stamp.tags_overflow);
    assert_true(slice_eq(back.head, o.head) && slice_eq(back.body, o.body));
    assert_int_equal(back.body_bytes, 4);
    assert_false(back.is_marker);
    assert_int_equal(store_object_id((struct slice){bytes, n}), o.objid);
}

static void test_any_bit_that_flips_is_seen(void **state)
{
    struct store_object o = object(), back;
    size_t n = encode(&o);

    (void)state;
    for (size_t i = 0; i < n * 8; i++) {
        bytes[i / 8] = (char)(bytes[i / 8] ^ 1 << i % 8);
        assert_int_equal(store_object_decode((struct slice){bytes, n}, &back), ERR_CORRUPT);
        bytes[i / 8] = (char)(bytes[i / 8] ^ 1 << i % 8);
    }
    for (size_t i = 0; i < n; i++)
        assert_int_equal(store_object_decode((struct slice){bytes, i}, &back), ERR_CORRUPT);
    assert_int_equal(store_object_decode((struct slice){bytes, n}, &back), ERR_OK);
}

static void test_a_body_in_chunks_has_only_its_length_here(void **state)
{
    struct store_object o = object(), back;
    size_t n;

    (void)state;
    o.body = SLICE("");
    o.body_bytes = 1ull << 40;
    n = encode(&o);
    assert_int_equal(store_object_decode((struct slice){bytes, n}, &back), ERR_OK);
    assert_null(back.body.p);
    assert_true(store_has_chunks(&back));
    assert_int_equal(back.body_bytes, 1ull << 40);
}

/* What a number would sort as, its key does. */
static void test_keys_sort_as_their_numbers(void **state)
{
    static const uint64_t id[] = {1, 255, 256, 1ull << 40, 1ull << 63};
    char a[STORE_CHUNK_KEY_BYTES], b[STORE_CHUNK_KEY_BYTES];
    uint64_t back;

    (void)state;
    for (size_t i = 0; i + 1 < 5; i++) {
        store_id_key(id[i], a);
        store_id_key(id[i + 1], b);
        assert_true(memcmp(a, b, STORE_ID_KEY_BYTES) < 0);
        assert_true(store_id_parse((struct slice){a, 8}, &back));
        assert_int_equal(back, id[i]);
        store_chunk_key(id[i], UINT32_MAX, a);
        store_chunk_key(id[i + 1], 0, b);
        assert_true(memcmp(a, b, sizeof(a)) < 0);
        store_chunk_key(id[i], 256, a);
        store_chunk_key(id[i], 257, b);
        assert_true(memcmp(a, b, sizeof(a)) < 0);
    }
    assert_false(store_id_parse((struct slice){a, 7}, &back));
}

static void test_rows_of_a_host_stand_together_and_variants_side_by_side(void **state)
{
    struct digest_secret secret;
    struct store_key k = {.host = SLICE("h"), .text = SLICE("one")};
    char host[STORE_HOST_KEY_BYTES], a[STORE_ROW_KEY_BYTES], b[STORE_ROW_KEY_BYTES];

    (void)state;
    digest_random(&secret, sizeof(secret));
    store_host_key(&secret, k.host, host);
    store_row_key(&secret, &k, a);
    assert_memory_equal(a, host, sizeof(host));
    k.variant = 1;
    store_row_key(&secret, &k, b);
    assert_memory_equal(a, b, 16);
    assert_true(memcmp(a, b, sizeof(a)) < 0);
    k.text = SLICE("two");
    store_row_key(&secret, &k, b);
    assert_memory_equal(b, host, sizeof(host));
    assert_memory_not_equal(a, b, 16);
    /* another store, other places: nobody can aim */
    k.variant = 0;
    k.text = SLICE("one");
    digest_random(&secret, sizeof(secret));
    store_row_key(&secret, &k, b);
    assert_memory_not_equal(a, b, 16);
}

static void test_the_small_values_come_back_and_damage_is_seen(void **state)
{
    struct store_queued q = {.row = "0123456789abcdefghijklm", .body_bytes = 99, .is_marker = true},
                        q2;
    struct store_state st = {.birth = 1, .next_objid = 2, .objects = 3, .gc_bytes = 4}, st2;
    struct store_format f = {.ctl_id = 5}, f2;
    char v[512];
    uint64_t count;

    (void)state;
    store_queued_encode(&q, v);
    assert_int_equal(store_queued_decode((struct slice){v, STORE_QUEUED_BYTES}, &q2), ERR_OK);
    assert_memory_equal(q2.row, q.row, sizeof(q.row));
    assert_true(q2.body_bytes == 99 && q2.is_marker);
    v[3]++;
    assert_int_equal(store_queued_decode((struct slice){v, STORE_QUEUED_BYTES}, &q2), ERR_CORRUPT);

    store_state_encode(&st, v);
    assert_int_equal(store_state_decode((struct slice){v, STORE_STATE_BYTES}, &st2), ERR_OK);
    assert_memory_equal(&st, &st2, sizeof(st));
    assert_int_equal(store_state_decode((struct slice){v, STORE_STATE_BYTES - 1}, &st2),
                     ERR_CORRUPT);
    v[0]++;
    assert_int_equal(store_state_decode((struct slice){v, STORE_STATE_BYTES}, &st2), ERR_CORRUPT);

    store_count_encode(7, v);
    assert_int_equal(store_count_decode((struct slice){v, STORE_COUNT_BYTES}, &count), ERR_OK);
    assert_int_equal(count, 7);

    digest_random(&f.secret, sizeof(f.secret));
    store_format_encode(&f, v);
    assert_int_equal(store_format_decode((struct slice){v, STORE_FORMAT_BYTES}, &f2), ERR_OK);
    assert_int_equal(f2.ctl_id, 5);
    assert_memory_equal(&f.secret, &f2.secret, sizeof(f.secret));
    v[20]++;
    assert_int_equal(store_format_decode((struct slice){v, STORE_FORMAT_BYTES}, &f2), ERR_CORRUPT);
    v[0]++; /* another version is known as such, whatever follows */
    assert_int_equal(store_format_decode((struct slice){v, 8}, &f2), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_object_comes_back_as_it_went),
        cmocka_unit_test(test_any_bit_that_flips_is_seen),
        cmocka_unit_test(test_a_body_in_chunks_has_only_its_length_here),
        cmocka_unit_test(test_keys_sort_as_their_numbers),
        cmocka_unit_test(test_rows_of_a_host_stand_together_and_variants_side_by_side),
        cmocka_unit_test(test_the_small_values_come_back_and_damage_is_seen),
    };

    return cmocka_run_group_tests_name("store/record", tests, NULL, NULL);
}
