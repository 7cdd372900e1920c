/* release_dir: files/ in a directory of its own, and short ways to publish. */
#ifndef TESTS_RELEASE_DIR_H
#define TESTS_RELEASE_DIR_H

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/limits.h"
#include "release/release.h"
#include "table/table.h"

static char release_root[64], release_dir[80];

static inline int release_dir_make(void **state)
{
    (void)state;
    snprintf(release_root, sizeof(release_root), "/tmp/release-test-XXXXXX");
    if (mkdtemp(release_root) == NULL)
        return -1;
    snprintf(release_dir, sizeof(release_dir), "%s/files", release_root);
    return 0;
}

static inline int release_dir_remove_one(const char *path, const struct stat *st, int type,
                                         struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

static inline int release_dir_remove(void **state)
{
    (void)state;
    return nftw(release_root, release_dir_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline struct files *release_must_open(uint64_t bytes_max)
{
    struct files_options opt = {.dir = release_dir, .bytes_max = bytes_max};
    struct files *f = NULL;

    table_guard_install();
    assert_int_equal(files_open(&opt, &f), ERR_OK);
    return f;
}

/* ---- contents ---- */

static inline void release_sha(struct slice s, unsigned char out[DIGEST_SHA256_BYTES])
{
    digest_sha256(s, out);
}

/* `n` bytes that say whose they are. */
static inline struct slice release_body(char *to, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (char)((i * 2654435761u + seed * 40503u) >> 7);
    return (struct slice){to, n};
}

static inline enum err release_add(struct files *f, struct slice content, struct buf *why)
{
    struct pack_piece p = {.bytes = content.n};
    struct buf pack;
    enum err e = ERR_OK;

    release_sha(content, p.sha256);
    buf_init(&pack, 8 << 20);
    do {
        pack.n = 0;
        p.data = slice_head(slice_from(content, (size_t)p.offset),
                            PACK_PIECE_CHUNKS * LIMIT_CHUNK_BYTES);
        pack_put(&pack, &p);
        assert_false(pack.failed);
        e = files_add(f, buf_slice(&pack), why);
        p.offset += p.data.n;
    } while (e == ERR_OK && p.offset < content.n);
    buf_release(&pack);
    return e;
}

static inline void release_must_add(struct files *f, struct slice content)
{
    struct buf why;

    buf_init(&why, 1024);
    assert_int_equal(release_add(f, content, &why), ERR_OK);
    buf_release(&why);
}

/* ---- releases ---- */

struct release_what {
    const char *path;
    struct slice content;
};

/* Of files that are sorted by path. */
static inline void release_manifest(const struct release_what *what, size_t count, struct buf *out)
{
    manifest_put_head(out);
    for (size_t i = 0; i < count; i++) {
        struct manifest_entry e = {.path = slice_of(what[i].path),
                                   .type = SLICE("text/plain"),
                                   .bytes = what[i].content.n};

        release_sha(what[i].content, e.sha256);
        manifest_put(out, &e);
    }
    assert_false(out->failed);
}

static inline enum err release_publish(struct files *f, const char *site, const char *id,
                                       const struct release_what *what, size_t count,
                                       struct release_row *row)
{
    unsigned char sha256[DIGEST_SHA256_BYTES];
    struct buf text, why;
    enum err e;

    buf_init(&text, 1 << 20);
    buf_init(&why, 1024);
    for (size_t i = 0; i < count; i++)
        release_must_add(f, what[i].content);
    release_manifest(what, count, &text);
    release_must_add(f, buf_slice(&text));
    release_sha(buf_slice(&text), sha256);
    e = files_publish(f, site, id, sha256, row, &why);
    buf_release(&text);
    buf_release(&why);
    return e;
}

#endif
