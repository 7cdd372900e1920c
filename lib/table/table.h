/*
 * table: an LMDB environment, and nothing of what is in it.
 *
 * The only folder that knows LMDB.  It opens one directory, hands out the named
 * tables in it, and gives each reader a transaction for one call and the one
 * writer thread a transaction for one batch.  What keys and values mean is the
 * business of store, purge and release.
 *
 * Invariants
 *   - One process has a directory open at a time, also across containers that share
 *     it: LOCK is held by flock(2) from open to close.  (LMDB's own lock goes by
 *     process id, and two containers may both be process 1.)
 *   - The map size is the hard bound of the file; it is set at open and never
 *     changed while open.
 *   - Memory of ours never reaches the file: pages are cleared before use, so
 *     MDB_NOMEMINIT is never set.
 *
 * Threads
 *   Open and close: main thread.  Reads: any thread, without a lock, each with a
 *   table_reader of its own.  Writes: one thread at a time.  No read outlives the
 *   function that began it: a reader that sleeps keeps freed pages from being
 *   reused, and the file grows without end.
 */
#ifndef TABLE_TABLE_H
#define TABLE_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct table;        /* one environment: one directory, one writer */
struct table_reader; /* one thread's read transaction, renewed for each read */
struct table_write;  /* the one write transaction */

enum table_sync {
    TABLE_DURABLE,      /* a commit that returned is on the disk: ctl, files */
    TABLE_MAY_LOSE_ONE, /* power loss may take the last commit, never the rest: store */
};

struct table_options {
    const char *dir;           /* borrowed during table_open(); must exist */
    uint64_t bytes_max;        /* size of the map: the whole file, bytes; rounded down to pages */
    const char *const *tables; /* names, ending with NULL; made where missing; `which` below counts them from 0 */
    enum table_sync sync;
};

/*
 * Open the environment in `opt->dir`, creating its files where there are none.
 *
 *   out_table   owned by the caller, who ends it with table_close()
 *
 * Returns ERR_OK, ERR_NOMEM, ERR_IO (errno says why), ERR_BUSY when another process has the directory (table_holder()
 * tells which), or ERR_CORRUPT when the files are not LMDB's or of another format.
 * Blocks on disk; nothing is scanned: the cost does not grow with the content.
 */
NODISCARD enum err table_open(const struct table_options *opt, struct table **out_table);

/* Close and free.  NULL and half-opened are fine.  No reader may be inside; readers must have been freed. */
void table_close(struct table *t);

/* Who holds the LOCK of `dir`, as that process wrote it: "pid 123 on host NAME"; empty when unknown.  `out` gets a NUL. */
void table_holder(const char *dir, char *out, size_t out_bytes);

/* Flush everything committed so far to the disk (mdb_env_sync with force). */
NODISCARD enum err table_sync(struct table *t);

struct table_stat {
    uint64_t used_bytes;    /* pages of all tables, in bytes: O(1) */
    uint64_t bytes_max;     /* the map */
    uint64_t entries;       /* of all tables */
};
void table_stat(struct table *t, struct table_stat *out);

/* ---- reading: begin, get or walk, end, all in one function ---- */

NODISCARD enum err table_reader_new(struct table *t, struct table_reader **out);
void table_reader_free(struct table_reader *r); /* NULL is fine */

/* Renew the snapshot.  ERR_LIMIT when all reader slots are taken, ERR_IO. */
NODISCARD enum err table_read_begin(struct table_reader *r);
void table_read_end(struct table_reader *r); /* everything borrowed below dies here */

/* Find `key` exactly.  `out` is borrowed until table_read_end().  ERR_OK, ERR_NOT_FOUND, ERR_IO, ERR_CORRUPT. */
NODISCARD enum err table_get(struct table_reader *r, unsigned which, struct slice key, struct slice *out);

/* The first entry at or after `key` (empty: the first of all); then one by one.  ERR_NOT_FOUND at the end. Byte order of keys. */
NODISCARD enum err table_seek(struct table_reader *r, unsigned which, struct slice key, struct slice *out_key, struct slice *out_value);
NODISCARD enum err table_next(struct table_reader *r, unsigned which, struct slice *out_key, struct slice *out_value);

/*
 * Copy out of the map under the SIGBUS guard: a disk that fails under a mapped page gives ERR_IO instead of a dead process.
 * `from` was borrowed from this reader.  table_guard_install() must have been called once.
 */
NODISCARD enum err table_copy(void *to, struct slice from);
void table_guard_install(void);

/* Are the pages behind `s` in memory now (mincore)?  A hint. */
bool table_is_resident(struct slice s);

/* ---- writing: the one writer thread ---- */

NODISCARD enum err table_write_begin(struct table *t, struct table_write **out);
/* Put, replacing.  ERR_LIMIT when the map is full or the transaction too large. */
NODISCARD enum err table_put(struct table_write *w, unsigned which, struct slice key, struct slice value);
/* Put `bytes` to be filled in by the caller at once, before the next call on `w`. */
NODISCARD enum err table_reserve(struct table_write *w, unsigned which, struct slice key, size_t bytes, void **out);
/* Append at the end of a table whose keys only grow: as table_put(), cheaper.  ERR_INVALID when `key` is not the greatest. */
NODISCARD enum err table_append(struct table_write *w, unsigned which, struct slice key, struct slice value);
NODISCARD enum err table_delete(struct table_write *w, unsigned which, struct slice key); /* ERR_NOT_FOUND when not there */
/* As their sisters above, seeing this transaction's own changes; borrowed until the next change or the end. */
NODISCARD enum err table_write_get(struct table_write *w, unsigned which, struct slice key, struct slice *out);
NODISCARD enum err table_write_seek(struct table_write *w, unsigned which, struct slice key, struct slice *out_key, struct slice *out_value);
NODISCARD enum err table_write_last(struct table_write *w, unsigned which, struct slice *out_key, struct slice *out_value);
/* As table_stat(), with this transaction's own changes. */
void table_write_stat(struct table_write *w, struct table_stat *out);
/* Commit, or on any error abort; *w is NULL afterwards.  ERR_LIMIT: the map is full; ERR_IO: the disk (errno ENOSPC when it is full). */
NODISCARD enum err table_commit(struct table_write **w);
void table_abort(struct table_write **w); /* NULL inside is fine */

#endif
