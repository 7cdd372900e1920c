/* Unit tests of what lies in files/ and of what travels: there and back, and every flipped bit. */
#include "release_dir.h"

#include "release/pack.h"
#include "release/record.h"

static struct release_row a_row(void)
{
    struct release_row row = {.serial = 7,
                              .at_ms = 1234567,
                              .files = 3,
                              .bytes = 99,
                              .manifest_bytes = 55,
                              .is_followed = true};

    memset(row.manifest, 0xab, sizeof(row.manifest));
    snprintf(row.id, sizeof(row.id), "r-1_2.x");
    return row;
}

static void test_rows_come_back(void **state)
{
    struct file_row file = {.bytes = 100, .have = 50, .refs = 3, .at_ms = 9}, file2;
    struct release_news news = {.site = "www", .row = a_row()}, news2;
    unsigned char bytes[RELEASE_NEWS_BYTES_MAX], file_bytes[RELEASE_FILE_ROW_BYTES];
    unsigned char state_bytes[RELEASE_STATE_BYTES];
    uint64_t serial;
    size_t n;

    (void)state;
    file_row_encode(&file, file_bytes);
    assert_int_equal(
        file_row_decode((struct slice){(const char *)file_bytes, sizeof(file_bytes)}, &file2),
        ERR_OK);
    assert_memory_equal(&file, &file2, sizeof(file));
    assert_false(file_row_is_whole(&file2));
    n = release_news_encode(&news, bytes);
    assert_int_equal(release_news_decode((struct slice){(const char *)bytes, n}, &news2), ERR_OK);
    assert_string_equal(news2.site, "www");
    assert_string_equal(news2.row.id, news.row.id);
    assert_int_equal(news2.row.serial, 7);
    assert_int_equal(news2.row.manifest_bytes, 55);
    assert_true(news2.row.is_followed);
    release_state_encode(12, state_bytes);
    assert_int_equal(release_state_decode(
                         (struct slice){(const char *)state_bytes, sizeof(state_bytes)}, &serial),
                     ERR_OK);
    assert_int_equal(serial, 12);
}

static void test_each_flipped_bit_is_noticed(void **state)
{
    struct release_row row = a_row(), out;
    unsigned char bytes[RELEASE_ROW_BYTES_MAX];
    size_t n = release_row_encode(&row, bytes);

    (void)state;
    for (size_t i = 0; i < 8 * n; i++) {
        bytes[i / 8] ^= (unsigned char)(1 << i % 8);
        assert_int_equal(release_row_decode((struct slice){(const char *)bytes, n}, &out),
                         ERR_CORRUPT);
        bytes[i / 8] ^= (unsigned char)(1 << i % 8);
    }
    for (size_t i = 0; i < n; i++)
        assert_int_equal(release_row_decode((struct slice){(const char *)bytes, i}, &out),
                         ERR_CORRUPT);
}

static void test_names(void **state)
{
    char long_name[67];

    (void)state;
    memset(long_name, 'x', 65);
    long_name[64] = '\0';
    assert_true(release_name_is_valid(slice_of(long_name)));
    long_name[64] = 'x';
    long_name[65] = '\0';
    assert_false(release_name_is_valid(slice_of(long_name)));
    assert_true(release_name_is_valid(SLICE("r-1_2.X")));
    assert_false(release_name_is_valid(SLICE("")));
    assert_false(release_name_is_valid(SLICE("a/b")));
    assert_false(release_name_is_valid(SLICE("a\0b")));
}

static void test_keys_sort_by_site_then_id(void **state)
{
    char a[RELEASE_KEY_BYTES_MAX], b[RELEASE_KEY_BYTES_MAX], site[RELEASE_NAME_BYTES],
        id[RELEASE_NAME_BYTES];
    struct slice k = release_key("www", "r1", a), other = release_key("www-2", "a", b);

    (void)state;
    assert_true(memcmp(k.p, other.p, 5) < 0);
    assert_true(release_key_parse(k, site, id));
    assert_string_equal(site, "www");
    assert_string_equal(id, "r1");
    assert_false(release_key_parse(SLICE("no-nul"), site, id));
}

static void test_pieces(void **state)
{
    static char data[LIMIT_CHUNK_BYTES + 10];
    struct pack_piece p = {.bytes = sizeof(data), .data = {data, LIMIT_CHUNK_BYTES}}, q;
    struct slice rest;
    struct buf pack;

    (void)state;
    buf_init(&pack, 1 << 20);
    pack_put(&pack, &p);
    p.offset = LIMIT_CHUNK_BYTES;
    p.data = (struct slice){data, 10};
    pack_put(&pack, &p);
    rest = buf_slice(&pack);
    assert_int_equal(pack_next(&rest, &q), ERR_OK);
    assert_int_equal(q.data.n, LIMIT_CHUNK_BYTES);
    assert_int_equal(pack_next(&rest, &q), ERR_OK);
    assert_int_equal(q.offset, LIMIT_CHUNK_BYTES);
    assert_int_equal(pack_next(&rest, &q), ERR_NOT_FOUND);
    for (size_t cut = 1; cut < PACK_HEAD_BYTES; cut++) {
        rest = slice_head(buf_slice(&pack), cut);
        assert_int_equal(pack_next(&rest, &q), ERR_INVALID);
    }
    rest =
        slice_head(buf_slice(&pack), PACK_HEAD_BYTES + 5); /* not whole chunks, and not the end */
    assert_int_equal(pack_next(&rest, &q), ERR_INVALID);
    pack.n = 0;
    p = (struct pack_piece){.bytes = 0};
    pack_put(&pack, &p);
    rest = buf_slice(&pack);
    assert_int_equal(pack_next(&rest, &q), ERR_OK);
    pack.n = 0;
    p = (struct pack_piece){.bytes = LIMIT_RELEASE_FILE_BYTES + 1,
                            .data = {data, LIMIT_CHUNK_BYTES}};
    pack_put(&pack, &p);
    rest = buf_slice(&pack);
    assert_int_equal(pack_next(&rest, &q), ERR_INVALID);
    buf_release(&pack);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_come_back), cmocka_unit_test(test_each_flipped_bit_is_noticed),
        cmocka_unit_test(test_names),          cmocka_unit_test(test_keys_sort_by_site_then_id),
        cmocka_unit_test(test_pieces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
