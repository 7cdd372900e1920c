/* Contents coming in: piece by piece, and in use only when their hash is right. */
#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/limits.h"
#include "release/files_priv.h"
#include "release/manifest.h"

enum {
    SWEEP_STEP = 64, /* contents in one transaction, while their chunks allow it */
    SWEEP_CHUNKS = 2048,
    SPARE_BYTES = 256 << 10, /* what a transaction copies of the trees beside its values */
    LOOSE_BYTES = 8,
};

static enum err get_row(struct slice value, struct file_row *out)
{
    return file_row_decode(value, out);
}

enum err files__get(struct table_write *w, const unsigned char *sha256, struct file_row *out)
{
    struct slice value;
    enum err e = table_write_get(w, FILES_FILE, files__sha(sha256), &value);

    return e == ERR_OK ? get_row(value, out) : e;
}

enum err files__put(struct table_write *w, const unsigned char *sha256, const struct file_row *row)
{
    unsigned char value[RELEASE_FILE_ROW_BYTES];

    file_row_encode(row, value);
    return table_put(w, FILES_FILE, files__sha(sha256),
                     (struct slice){(const char *)value, sizeof(value)});
}

static enum err put_chunk(struct table_write *w, const unsigned char *sha256, uint32_t n,
                          struct slice data)
{
    unsigned char key[RELEASE_CHUNK_KEY_BYTES];
    uint64_t sum = digest_64(data);
    void *to;
    enum err e = table_reserve(w, FILES_CHUNK, release_chunk_key(sha256, n, key),
                               FILES_CHECKSUM_BYTES + data.n, &to);

    if (e != ERR_OK)
        return e;
    memcpy(to, &sum, sizeof(sum));
    memcpy((char *)to + sizeof(sum), data.p, data.n);
    return ERR_OK;
}

/* `offset` begins a chunk. */
static enum err put_chunks(struct table_write *w, const unsigned char *sha256, uint64_t offset,
                           struct slice data)
{
    enum err e = ERR_OK;

    for (uint32_t n = (uint32_t)(offset / LIMIT_CHUNK_BYTES); e == ERR_OK && data.n > 0; n++) {
        struct slice one = slice_head(data, LIMIT_CHUNK_BYTES);

        e = put_chunk(w, sha256, n, one);
        data = slice_from(data, one.n);
    }
    return e;
}

static enum err put_loose(struct table_write *w, const unsigned char *sha256, int64_t at_ms)
{
    return table_put(w, FILES_LOOSE, files__sha(sha256),
                     (struct slice){(const char *)&at_ms, LOOSE_BYTES});
}

static enum err not_loose(struct table_write *w, const unsigned char *sha256)
{
    enum err e = table_delete(w, FILES_LOOSE, files__sha(sha256));

    return e == ERR_NOT_FOUND ? ERR_OK : e;
}

enum err files__delete(struct table_write *w, const unsigned char *sha256,
                       const struct file_row *row)
{
    uint32_t chunks = files__chunks(row->have, LIMIT_CHUNK_BYTES);
    unsigned char key[RELEASE_CHUNK_KEY_BYTES];
    enum err e = ERR_OK;

    for (uint32_t n = 0; e == ERR_OK && n < chunks; n++)
        e = table_delete(w, FILES_CHUNK, release_chunk_key(sha256, n, key));
    if (e == ERR_OK)
        e = table_delete(w, FILES_FILE, files__sha(sha256));
    if (e == ERR_NOT_FOUND)
        e = ERR_CORRUPT;
    return e == ERR_OK ? not_loose(w, sha256) : e;
}

enum err files__put_content(struct table_write *w, const unsigned char *sha256,
                            struct slice content, struct file_row *out)
{
    enum err e = files__get(w, sha256, out);

    if (e == ERR_OK && file_row_is_whole(out))
        return ERR_OK;
    if (e == ERR_OK) /* a part of it had come by another way */
        e = files__delete(w, sha256, out);
    if (e != ERR_OK && e != ERR_NOT_FOUND)
        return e;
    *out = (struct file_row){.bytes = content.n, .have = content.n, .at_ms = clock_now().wall_ms};
    return put_chunks(w, sha256, 0, content);
}

enum err files__refer(struct table_write *w, const unsigned char *sha256, uint64_t bytes)
{
    struct file_row row;
    enum err e = files__get(w, sha256, &row);

    if (e != ERR_OK)
        return e;
    if (!file_row_is_whole(&row) || row.bytes != bytes)
        return ERR_NOT_FOUND;
    row.refs++;
    e = files__put(w, sha256, &row);
    return e == ERR_OK && row.refs == 1 ? not_loose(w, sha256) : e;
}

/* ---- what nobody came to use ---- */

enum err files__sweep(struct table_write *w, int64_t before_ms, bool *more)
{
    unsigned char at[DIGEST_SHA256_BYTES + 1] = {0};
    struct slice from = {NULL, 0}, key, value;
    uint32_t chunks = 0;
    enum err e;

    *more = false;
    for (unsigned steps = 0;
         (e = table_write_seek(w, FILES_LOOSE, from, &key, &value)) == ERR_OK;) {
        struct file_row row;
        int64_t at_ms;

        if (key.n != DIGEST_SHA256_BYTES || value.n != LOOSE_BYTES)
            return ERR_CORRUPT;
        memcpy(at, key.p, DIGEST_SHA256_BYTES); /* what is borrowed dies with the change */
        memcpy(&at_ms, value.p, sizeof(at_ms));
        from = (struct slice){(const char *)at, sizeof(at)}; /* behind it */
        if (at_ms >= before_ms)
            continue;
        if (steps++ == SWEEP_STEP || chunks > SWEEP_CHUNKS) {
            *more = true;
            return ERR_OK;
        }
        e = files__get(w, at, &row);
        if (e == ERR_OK && row.refs == 0) {
            chunks += files__chunks(row.have, LIMIT_CHUNK_BYTES);
            e = files__delete(w, at, &row);
        } else if (e == ERR_OK || e == ERR_NOT_FOUND) {
            e = not_loose(w, at);
        }
        if (e != ERR_OK)
            return e;
    }
    return e == ERR_NOT_FOUND ? ERR_OK : e;
}

/* ---- adding ---- */

void files__explain(enum err e, struct buf *why)
{
    if (why->n > 0)
        return;
    if (e == ERR_LIMIT)
        buf_addf(why, "there is no room left for published files; give them more (store.files)");
    else if (e == ERR_IO)
        buf_addf(why, "the disk refused: %s", strerror(errno));
    else
        buf_addf(why, "the published files cannot be changed: %s", err_name(e));
}

/* The hash of what is there, this transaction's own changes included. */
static enum err hash_of(struct table_write *w, const struct pack_piece *p,
                        unsigned char out[DIGEST_SHA256_BYTES])
{
    struct digest_run *run;
    unsigned char key[RELEASE_CHUNK_KEY_BYTES];
    enum err e = ERR_OK;

    if (p->data.n == p->bytes) {
        digest_sha256(p->data, out);
        return ERR_OK;
    }
    run = digest_run_new();
    if (run == NULL)
        return ERR_NOMEM;
    for (uint32_t n = 0; e == ERR_OK && n < files__chunks(p->bytes, LIMIT_CHUNK_BYTES); n++) {
        struct slice value;

        e = table_write_get(w, FILES_CHUNK, release_chunk_key(p->sha256, n, key), &value);
        if (e == ERR_OK)
            digest_run_add(run, slice_from(value, FILES_CHECKSUM_BYTES));
    }
    digest_run_end(run, out);
    return e == ERR_NOT_FOUND ? ERR_CORRUPT : e;
}

/* All of it has come.  *right: it stays. */
static enum err settle(struct table_write *w, const struct pack_piece *p, struct file_row *row,
                       bool *right)
{
    unsigned char is[DIGEST_SHA256_BYTES];
    enum err e = hash_of(w, p, is);

    if (e != ERR_OK)
        return e;
    *right = memcmp(is, p->sha256, sizeof(is)) == 0;
    if (*right)
        return ERR_OK;
    e = files__put(w, p->sha256, row);
    return e == ERR_OK ? files__delete(w, p->sha256, row) : e;
}

static void say_piece(struct buf *why, const struct pack_piece *p, const char *what)
{
    char digits[MANIFEST_SHA256_DIGITS + 1];

    manifest_sha256_print(p->sha256, digits);
    if (why->n == 0)
        buf_addf(why, "%s: %s", digits, what);
}

/* The row as it is before this piece; one that begins begins anew. */
static enum err row_before(struct table_write *w, const struct pack_piece *p, struct file_row *row,
                           struct buf *why)
{
    enum err e = files__get(w, p->sha256, row);

    if (e == ERR_OK && file_row_is_whole(row))
        return ERR_OK;
    if (e == ERR_OK && p->offset == 0)
        e = files__delete(w, p->sha256, row);
    else if (e == ERR_OK && (row->bytes != p->bytes || row->have != p->offset))
        e = ERR_INVALID;
    else if (e == ERR_NOT_FOUND && p->offset != 0)
        e = ERR_INVALID;
    else if (e == ERR_OK)
        return ERR_OK;
    if (e == ERR_INVALID)
        say_piece(why, p, "this piece does not follow what has come; send the file from its begin");
    if (e != ERR_OK && e != ERR_NOT_FOUND)
        return e;
    *row = (struct file_row){.bytes = p->bytes};
    return ERR_NOT_FOUND;
}

static enum err add_piece(struct files *f, struct table_write *w, const struct pack_piece *p,
                          bool *right, struct buf *why)
{
    struct table_stat stat;
    struct file_row row;
    enum err e = row_before(w, p, &row, why);

    *right = true;
    if (e == ERR_OK && file_row_is_whole(&row))
        return ERR_OK; /* it is there already */
    if (e != ERR_OK && e != ERR_NOT_FOUND)
        return e;
    table_write_stat(w, &stat);
    if (stat.used_bytes + p->data.n + SPARE_BYTES > f->bytes_max)
        return ERR_LIMIT;
    e = put_chunks(w, p->sha256, p->offset, p->data);
    row.have = p->offset + p->data.n;
    row.at_ms = clock_now().wall_ms;
    if (e == ERR_OK && file_row_is_whole(&row))
        e = settle(w, p, &row, right);
    if (e != ERR_OK || !*right)
        return e;
    e = files__put(w, p->sha256, &row);
    return e == ERR_OK ? put_loose(w, p->sha256, row.at_ms) : e;
}

enum err files_add(struct files *f, struct slice pack, struct buf *why)
{
    struct table_write *w;
    struct pack_piece p;
    bool all_right = true;
    enum err e = table_write_begin(f->table, &w), next;

    if (e != ERR_OK) {
        files__explain(e, why);
        return e;
    }
    while (e == ERR_OK && (next = pack_next(&pack, &p)) != ERR_NOT_FOUND) {
        bool right = true;

        e = next == ERR_OK ? add_piece(f, w, &p, &right, why) : next;
        if (!right)
            say_piece(why, &p, "the bytes that came do not have this SHA-256");
        all_right = all_right && right;
    }
    if (e == ERR_INVALID && why->n == 0)
        buf_addf(why, "the pieces break their form, or belong to a file larger than 1 GiB");
    if (e == ERR_OK)
        e = table_commit(&w);
    else
        table_abort(&w);
    if (e != ERR_OK)
        files__explain(e, why);
    return e == ERR_OK && !all_right ? ERR_CORRUPT : e;
}
