/*
 * files: published contents by their SHA-256, the releases made of them, and which is in use.
 *
 * One durable environment, `files/`: what is in it is content and not cache.  Nothing is evicted,
 * no purge reaches it, and the bound of the store does not count it.  A release comes with one
 * transaction, and so does a switch: after a crash at any moment the old or the new one is in use,
 * whole.
 *
 * Invariants
 *   - A content that is whole has the SHA-256 it is filed under: it was computed here.
 *   - A release that is listed has all its contents.
 *   - Contents never change; nobody deletes one that a release refers to.
 *
 * Threads: changes and lists come from one thread at a time (main until the daemon runs, then ctl)
 * and block on the disk.  Reading: any thread, each with a files_reader of its own.
 */
#ifndef RELEASE_FILES_H
#define RELEASE_FILES_H

#include "base/buf.h"
#include "base/err.h"
#include "release/pack.h"
#include "release/record.h"

struct files;
struct files_reader;

struct files_options {
    const char *dir;    /* borrowed for the call; made when missing, its parent is not */
    uint64_t bytes_max; /* the file on the disk */
};

/* Open, and remove contents that no release came to use within LIMIT_LOOSE_MS.  ERR_NOMEM, ERR_IO
 * (errno), ERR_BUSY (table_holder()), ERR_CORRUPT: not ours, or of another version: never begun
 * anew by itself. */
NODISCARD enum err files_open(const struct files_options *opt, struct files **out);
void files_close(struct files *f); /* NULL is fine */

/* ---- contents ---- */

/* Is it there, whole?  ERR_OK or ERR_NOT_FOUND; ERR_IO, ERR_CORRUPT. */
NODISCARD enum err files_find(struct files *f, const unsigned char sha256[DIGEST_SHA256_BYTES],
                              uint64_t *out_bytes);

/*
 * Add pieces (pack.h), all in one transaction; durable at ERR_OK.  What is there already is passed
 * over.  With each error `why` gets a sentence:
 *   ERR_INVALID   the form, or a piece that does not follow the one before
 *   ERR_CORRUPT   a content does not have its hash: what came of it is gone, the rest was taken
 *   ERR_LIMIT     no room left (store.files);  ERR_IO: the disk; nothing was taken
 */
NODISCARD enum err files_add(struct files *f, struct slice pack, struct buf *why);

/* ---- releases ---- */

/*
 * Make the manifest (a content that is there) the release `id` of `site`, and switch to it.  One
 * that is there already with this very manifest is switched to.  `why` gets a sentence:
 *   ERR_INVALID   the manifest breaks its form
 *   ERR_NOT_FOUND it, or one of its contents, is not there
 *   ERR_BUSY      there is a release of that id with another manifest
 *   ERR_LIMIT     too many releases, or no room;  ERR_IO, ERR_CORRUPT: the disk.  Nothing changed.
 */
NODISCARD enum err files_publish(struct files *f, const char *site, const char *id,
                                 const unsigned char manifest[DIGEST_SHA256_BYTES],
                                 struct release_row *out, struct buf *why);

/* Switch to a release that is there; `id` NULL: to the one published before the one in use.
 * ERR_NOT_FOUND (with a sentence), ERR_LIMIT, ERR_IO, ERR_CORRUPT: nothing changed. */
NODISCARD enum err files_activate(struct files *f, const char *site, const char *id,
                                  struct release_row *out, struct buf *why);

/* Another node's release is in use from now on: its manifest's text, and nothing more, is kept, in
 * place of the one that was followed before.  ERR_LIMIT, ERR_IO, ERR_CORRUPT, ERR_NOMEM. */
NODISCARD enum err files_follow(struct files *f, const char *site, const struct release_row *row,
                                struct slice manifest);

/* Each release, by site and id; of one site, or of all (NULL).  false from `each` ends it. */
NODISCARD enum err files_walk(struct files *f, const char *site,
                              bool (*each)(void *user, const char *site,
                                           const struct release_row *row, bool is_in_use),
                              void *user);

/* Those in use, by site. */
NODISCARD enum err files_walk_used(struct files *f,
                                   bool (*each)(void *user, const char *site,
                                                const struct release_row *row),
                                   void *user);

struct files_stat {
    uint64_t used_bytes, bytes_max;
};
void files_stat(struct files *f, struct files_stat *out);

/* ---- reading ---- */

NODISCARD enum err files_reader_new(struct files *f, struct files_reader **out);
void files_reader_free(struct files_reader *r); /* NULL is fine */

/* As files_find(). */
NODISCARD enum err files_look(struct files_reader *r,
                              const unsigned char sha256[DIGEST_SHA256_BYTES], uint64_t *out_bytes);

/* Copy bytes of a whole content from `offset`, at most to the end of one chunk.  ERR_OK with
 * *out_bytes > 0; ERR_NOT_FOUND, ERR_CORRUPT (a checksum), ERR_IO.  May wait for the disk unless
 * files_is_resident(). */
NODISCARD enum err files_read(struct files_reader *r,
                              const unsigned char sha256[DIGEST_SHA256_BYTES], uint64_t offset,
                              void *to, size_t to_bytes, size_t *out_bytes);
bool files_is_resident(struct files_reader *r, const unsigned char sha256[DIGEST_SHA256_BYTES],
                       uint64_t offset, uint64_t bytes);

/* All of a content, which is at most `bytes_max` long, appended to `out`. */
NODISCARD enum err files_read_all(struct files_reader *r,
                                  const unsigned char sha256[DIGEST_SHA256_BYTES],
                                  uint64_t bytes_max, struct buf *out);

#endif
