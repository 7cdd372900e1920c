/* What the files of this folder share. */
#ifndef RELEASE_FILES_PRIV_H
#define RELEASE_FILES_PRIV_H

#include "release/files.h"
#include "table/table.h"

enum { FILES_STATE, FILES_FILE, FILES_CHUNK, FILES_RELEASE, FILES_USED, FILES_LOOSE };

enum { FILES_CHECKSUM_BYTES = 8 };

struct files {
    struct table *table;         /* owned */
    struct files_reader *reader; /* owned; of the thread that changes */
    uint64_t bytes_max;          /* for contents: less than the map */
};

struct files_reader {
    struct table_reader *reader;
};

static inline struct slice files__sha(const unsigned char sha256[DIGEST_SHA256_BYTES])
{
    return (struct slice){(const char *)sha256, DIGEST_SHA256_BYTES};
}

static inline uint32_t files__chunks(uint64_t bytes, uint64_t chunk_bytes)
{
    return (uint32_t)((bytes + chunk_bytes - 1) / chunk_bytes);
}

/* ---- contents, inside a transaction (contents.c) ---- */

NODISCARD enum err files__get(struct table_write *w, const unsigned char *sha256,
                              struct file_row *out);
NODISCARD enum err files__put(struct table_write *w, const unsigned char *sha256,
                              const struct file_row *row);
/* Whole, in one call; refs 0 when it is new. */
NODISCARD enum err files__put_content(struct table_write *w, const unsigned char *sha256,
                                      struct slice content, struct file_row *out);
NODISCARD enum err files__delete(struct table_write *w, const unsigned char *sha256,
                                 const struct file_row *row);
/* One more that refers to it. */
NODISCARD enum err files__refer(struct table_write *w, const unsigned char *sha256, uint64_t bytes);
/* Remove what has been loose since before `ms` (wall clock), some of it: *more. */
NODISCARD enum err files__sweep(struct table_write *w, int64_t before_ms, bool *more);

/* What an error of a write comes to, for a person; the transaction is over. */
void files__explain(enum err e, struct buf *why);

#endif
