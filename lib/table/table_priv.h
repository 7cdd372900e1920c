/* What the files of this folder share. */
#ifndef TABLE_TABLE_PRIV_H
#define TABLE_TABLE_PRIV_H

#include <lmdb.h>

#include "table/table.h"

enum { TABLES_MAX = 8 };

struct table {
    /* Fixed after table_open(). */
    int lock_fd; /* holds LOCK; -1 before */
    MDB_env *env;
    MDB_dbi dbi[TABLES_MAX]; /* in the order of table_options.tables */
    unsigned tables;
    uint64_t bytes_max;
};

/* What LMDB returned, in our words.  errno is set whenever the answer is ERR_IO. */
enum err table__err(int rc);

static inline MDB_val table__val(struct slice s)
{
    /* LMDB's keys and values are not const, but it does not write to what it is handed */
    union {
        const char *from;
        void *to;
    } p = {.from = s.p};

    return (MDB_val){.mv_size = s.n, .mv_data = p.to};
}

static inline struct slice table__slice(MDB_val v)
{
    return (struct slice){v.mv_data, v.mv_size};
}

/* Pages of all tables of a transaction, and of LMDB's own two. */
void table__stat(const struct table *t, MDB_txn *txn, struct table_stat *out);

#endif
