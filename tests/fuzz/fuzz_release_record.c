/*
 * Any bytes at all as a row of files/, as news of a release, as pieces of an upload: what decodes
 * encodes to the same bytes.  With the high bit of the first byte set the checksum is put right
 * first.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "release/pack.h"
#include "release/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { CHECKSUM_BYTES = 8 };

static void check_same(struct slice s, const unsigned char *p, size_t n)
{
    CHECK(slice_eq(s, (struct slice){(const char *)p, n}));
}

static void try_rows(struct slice s)
{
    unsigned char again[RELEASE_NEWS_BYTES_MAX];
    struct file_row file;
    struct release_row row;
    struct release_news news;
    uint64_t serial;

    if (file_row_decode(s, &file) == ERR_OK) {
        file_row_encode(&file, again);
        check_same(s, again, RELEASE_FILE_ROW_BYTES);
    }
    if (release_row_decode(s, &row) == ERR_OK) {
        CHECK(release_name_is_valid(slice_of(row.id)));
        check_same(s, again, release_row_encode(&row, again));
    }
    if (release_news_decode(s, &news) == ERR_OK) {
        CHECK(release_name_is_valid(slice_of(news.site)));
        check_same(s, again, release_news_encode(&news, again));
    }
    if (release_state_decode(s, &serial) == ERR_OK) {
        release_state_encode(serial, again);
        check_same(s, again, RELEASE_STATE_BYTES);
    }
}

static void try_key(struct slice s)
{
    char site[RELEASE_NAME_BYTES], id[RELEASE_NAME_BYTES], key[RELEASE_KEY_BYTES_MAX];

    if (release_key_parse(s, site, id) && strlen(id) == s.n - strlen(site) - 1)
        CHECK(slice_eq(release_key(site, id, key), s));
}

static void try_pack(struct slice s)
{
    struct slice rest = s;
    struct pack_piece p;
    struct buf again;
    enum err e;

    buf_init(&again, s.n + 1);
    while ((e = pack_next(&rest, &p)) == ERR_OK) {
        CHECK(p.offset % LIMIT_CHUNK_BYTES == 0 && p.offset + p.data.n <= p.bytes);
        CHECK(p.data.n % LIMIT_CHUNK_BYTES == 0 || p.offset + p.data.n == p.bytes);
        pack_put(&again, &p);
    }
    CHECK(slice_eq(buf_slice(&again), slice_head(s, s.n - rest.n)));
    buf_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    unsigned char *copy;
    struct slice s;

    if (bytes == 0)
        return 0;
    copy = malloc(bytes);
    CHECK(copy != NULL);
    memcpy(copy, data + 1, bytes - 1);
    s = (struct slice){(const char *)copy, bytes - 1};
    if ((data[0] & 0x80) != 0 && s.n > CHECKSUM_BYTES) {
        size_t from = (data[0] & 0x40) != 0 ? 1 + (size_t)copy[0] : 0; /* news: behind the site */
        struct slice row = slice_from(s, from);

        if (row.n > CHECKSUM_BYTES) {
            uint64_t sum = digest_64(slice_head(row, row.n - CHECKSUM_BYTES));

            for (size_t i = 0; i < CHECKSUM_BYTES; i++)
                copy[s.n - CHECKSUM_BYTES + i] = (unsigned char)(sum >> 8 * i);
        }
    }
    try_rows(s);
    try_key(s);
    try_pack(s);
    free(copy);
    return 0;
}
