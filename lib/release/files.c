/* Opening, and reading: any thread. */
#include "release/files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/limits.h"
#include "release/files_priv.h"

static const char *const table_names[] = {"state", "file",  "chunk", "release",
                                          "used",  "loose", NULL};

/* What has been loose for long, however much: before anybody asks for anything. */
static enum err sweep(struct files *f)
{
    int64_t before_ms = clock_now().wall_ms - LIMIT_LOOSE_MS;
    bool more = true;
    enum err e = ERR_OK;

    while (e == ERR_OK && more) {
        struct table_write *w;

        e = table_write_begin(f->table, &w);
        if (e != ERR_OK)
            return e;
        e = files__sweep(w, before_ms, &more);
        if (e == ERR_OK)
            e = table_commit(&w);
        else
            table_abort(&w);
    }
    return e;
}

enum err files_open(const struct files_options *opt, struct files **out)
{
    struct table_options table = {
        .dir = opt->dir, .bytes_max = opt->bytes_max, .tables = table_names, .sync = TABLE_DURABLE};
    struct files *f = calloc(1, sizeof(*f));
    enum err e;

    if (f == NULL)
        return ERR_NOMEM;
    f->bytes_max = opt->bytes_max / 100 * LIMIT_FILES_USE_PERCENT;
    e = file_make_dir(opt->dir);
    if (e == ERR_OK)
        e = table_open(&table, &f->table);
    if (e == ERR_OK)
        e = file_sync_dir(opt->dir);
    /* after kill -9 between a commit's write and its flush, the page cache alone has it */
    if (e == ERR_OK)
        e = table_sync(f->table);
    if (e == ERR_OK)
        e = files_reader_new(f, &f->reader);
    if (e == ERR_OK)
        e = sweep(f);
    /* a disk that is full, or a map: what is there can still be served */
    if (e == ERR_LIMIT || (e == ERR_IO && errno == ENOSPC))
        e = ERR_OK;
    if (e != ERR_OK) {
        files_close(f);
        return e;
    }
    *out = f;
    return ERR_OK;
}

void files_close(struct files *f)
{
    if (f == NULL)
        return;
    files_reader_free(f->reader);
    table_close(f->table);
    free(f);
}

void files_stat(struct files *f, struct files_stat *out)
{
    struct table_stat stat;

    table_stat(f->table, &stat);
    *out = (struct files_stat){.used_bytes = stat.used_bytes, .bytes_max = stat.bytes_max};
}

/* ---- reading ---- */

enum err files_reader_new(struct files *f, struct files_reader **out)
{
    struct files_reader *r = calloc(1, sizeof(*r));
    enum err e;

    if (r == NULL)
        return ERR_NOMEM;
    e = table_reader_new(f->table, &r->reader);
    if (e != ERR_OK) {
        free(r);
        return e;
    }
    *out = r;
    return ERR_OK;
}

void files_reader_free(struct files_reader *r)
{
    if (r == NULL)
        return;
    table_reader_free(r->reader);
    free(r);
}

static enum err look(struct files_reader *r, const unsigned char *sha256, uint64_t *out_bytes)
{
    unsigned char copy[RELEASE_FILE_ROW_BYTES];
    struct file_row row;
    struct slice value;
    enum err e = table_get(r->reader, FILES_FILE, files__sha(sha256), &value);

    if (e == ERR_OK && value.n != sizeof(copy))
        e = ERR_CORRUPT;
    if (e == ERR_OK)
        e = table_copy(copy, value);
    if (e == ERR_OK)
        e = file_row_decode((struct slice){(const char *)copy, sizeof(copy)}, &row);
    if (e == ERR_OK && !file_row_is_whole(&row))
        e = ERR_NOT_FOUND;
    if (e == ERR_OK)
        *out_bytes = row.bytes;
    return e;
}

enum err files_look(struct files_reader *r, const unsigned char sha256[DIGEST_SHA256_BYTES],
                    uint64_t *out_bytes)
{
    enum err e = table_read_begin(r->reader);

    if (e != ERR_OK)
        return e;
    e = look(r, sha256, out_bytes);
    table_read_end(r->reader);
    return e;
}

enum err files_find(struct files *f, const unsigned char sha256[DIGEST_SHA256_BYTES],
                    uint64_t *out_bytes)
{
    return files_look(f->reader, sha256, out_bytes);
}

static enum err get_chunk(struct files_reader *r, const unsigned char *sha256, uint64_t offset,
                          struct slice *out)
{
    unsigned char key[RELEASE_CHUNK_KEY_BYTES];
    uint32_t n = (uint32_t)(offset / LIMIT_CHUNK_BYTES);
    enum err e = table_get(r->reader, FILES_CHUNK, release_chunk_key(sha256, n, key), out);

    if (e == ERR_OK && (out->n <= FILES_CHECKSUM_BYTES || out->n > LIMIT_CHUNK_VALUE_BYTES))
        e = ERR_CORRUPT;
    return e;
}

/* A whole chunk straight to where it goes, or a part of one by way of a copy: the checksum is of
 * all of it. */
static enum err copy_chunk(struct slice chunk, uint64_t offset, void *to, size_t to_bytes,
                           size_t *out_bytes)
{
    static _Thread_local char part[LIMIT_CHUNK_BYTES];
    size_t within = (size_t)(offset % LIMIT_CHUNK_BYTES), n = chunk.n - FILES_CHECKSUM_BYTES;
    bool is_whole = within == 0 && to_bytes >= n;
    char *copy = is_whole ? to : part;
    uint64_t sum;
    enum err e;

    if (within >= n)
        return ERR_CORRUPT;
    e = table_copy(&sum, slice_head(chunk, sizeof(sum)));
    if (e == ERR_OK)
        e = table_copy(copy, slice_from(chunk, sizeof(sum)));
    if (e != ERR_OK)
        return e;
    if (digest_64((struct slice){copy, n}) != sum)
        return ERR_CORRUPT;
    *out_bytes = n - within < to_bytes ? n - within : to_bytes;
    if (!is_whole)
        memcpy(to, part + within, *out_bytes);
    return ERR_OK;
}

enum err files_read(struct files_reader *r, const unsigned char sha256[DIGEST_SHA256_BYTES],
                    uint64_t offset, void *to, size_t to_bytes, size_t *out_bytes)
{
    struct slice chunk;
    enum err e;

    CHECK(to_bytes > 0);
    e = table_read_begin(r->reader);
    if (e != ERR_OK)
        return e;
    e = get_chunk(r, sha256, offset, &chunk);
    if (e == ERR_OK)
        e = copy_chunk(chunk, offset, to, to_bytes, out_bytes);
    table_read_end(r->reader);
    return e;
}

bool files_is_resident(struct files_reader *r, const unsigned char sha256[DIGEST_SHA256_BYTES],
                       uint64_t offset, uint64_t bytes)
{
    uint64_t end = offset + bytes;
    bool is = true;

    if (table_read_begin(r->reader) != ERR_OK)
        return false;
    for (uint64_t at = offset - offset % LIMIT_CHUNK_BYTES; is && at < end;
         at += LIMIT_CHUNK_BYTES) {
        struct slice chunk;

        is = get_chunk(r, sha256, at, &chunk) == ERR_OK && table_is_resident(chunk);
    }
    table_read_end(r->reader);
    return is;
}

enum err files_read_all(struct files_reader *r, const unsigned char sha256[DIGEST_SHA256_BYTES],
                        uint64_t bytes_max, struct buf *out)
{
    uint64_t bytes = 0;
    enum err e = files_look(r, sha256, &bytes);

    if (e != ERR_OK)
        return e;
    if (bytes > bytes_max)
        return ERR_LIMIT;
    if (!buf_reserve(out, (size_t)bytes))
        return ERR_NOMEM;
    for (uint64_t at = 0; e == ERR_OK && at < bytes;) {
        size_t n = 0;

        e = files_read(r, sha256, at, out->p + out->n, (size_t)(bytes - at), &n);
        out->n += e == ERR_OK ? n : 0;
        at += n;
    }
    return e;
}
