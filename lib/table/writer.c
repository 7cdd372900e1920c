/* The one write transaction. */
#include <stdlib.h>

#include "base/check.h"
#include "table/table_priv.h"

enum { KEY_BYTES_MAX = 511 };

struct table_write {
    struct table *table; /* borrowed */
    MDB_txn *txn;        /* owned */
    /* Made when first needed; LMDB frees them with the transaction. */
    MDB_cursor *cursor[TABLES_MAX];
    /* The first error after which LMDB lets a transaction only be aborted; what table_commit() says
     * then. */
    enum err failed;
};

/* An error other than "not there" leaves a transaction that must not be committed. */
static enum err result(struct table_write *w, int rc)
{
    enum err e = table__err(rc);

    if (e != ERR_OK && e != ERR_NOT_FOUND && e != ERR_INVALID && w->failed == ERR_OK)
        w->failed = e;
    return e;
}

enum err table_write_begin(struct table *t, struct table_write **out)
{
    struct table_write *w = calloc(1, sizeof(*w));
    int rc;

    if (w == NULL)
        return ERR_NOMEM;
    w->table = t;
    rc = mdb_txn_begin(t->env, NULL, 0, &w->txn);
    if (rc != MDB_SUCCESS) {
        free(w);
        return table__err(rc);
    }
    *out = w;
    return ERR_OK;
}

static MDB_dbi dbi_of(const struct table_write *w, unsigned which)
{
    CHECK(which < w->table->tables);
    return w->table->dbi[which];
}

static enum err put(struct table_write *w, unsigned which, struct slice key, MDB_val *value,
                    unsigned flags)
{
    MDB_val k = table__val(key);

    CHECK(key.n > 0 && key.n <= KEY_BYTES_MAX);
    return result(w, mdb_put(w->txn, dbi_of(w, which), &k, value, flags));
}

enum err table_put(struct table_write *w, unsigned which, struct slice key, struct slice value)
{
    MDB_val v = table__val(value);

    return put(w, which, key, &v, 0);
}

enum err table_reserve(struct table_write *w, unsigned which, struct slice key, size_t bytes,
                       void **out)
{
    MDB_val v = {.mv_size = bytes};
    enum err e = put(w, which, key, &v, MDB_RESERVE);

    if (e == ERR_OK)
        *out = v.mv_data;
    return e;
}

enum err table_append(struct table_write *w, unsigned which, struct slice key, struct slice value)
{
    MDB_val v = table__val(value);

    return put(w, which, key, &v, MDB_APPEND);
}

enum err table_delete(struct table_write *w, unsigned which, struct slice key)
{
    MDB_val k = table__val(key);

    return result(w, mdb_del(w->txn, dbi_of(w, which), &k, NULL));
}

enum err table_write_get(struct table_write *w, unsigned which, struct slice key, struct slice *out)
{
    MDB_val k = table__val(key), v;
    enum err e = result(w, mdb_get(w->txn, dbi_of(w, which), &k, &v));

    if (e == ERR_OK)
        *out = table__slice(v);
    return e;
}

static enum err move(struct table_write *w, unsigned which, MDB_val k, MDB_cursor_op op,
                     struct slice *out_key, struct slice *out_value)
{
    MDB_dbi dbi = dbi_of(w, which);
    MDB_val v;
    enum err e = ERR_OK;

    if (w->cursor[which] == NULL)
        e = result(w, mdb_cursor_open(w->txn, dbi, &w->cursor[which]));
    if (e == ERR_OK)
        e = result(w, mdb_cursor_get(w->cursor[which], &k, &v, op));
    if (e == ERR_OK) {
        *out_key = table__slice(k);
        *out_value = table__slice(v);
    }
    return e;
}

enum err table_write_seek(struct table_write *w, unsigned which, struct slice key,
                          struct slice *out_key, struct slice *out_value)
{
    return move(w, which, table__val(key), key.n == 0 ? MDB_FIRST : MDB_SET_RANGE, out_key,
                out_value);
}

enum err table_write_last(struct table_write *w, unsigned which, struct slice *out_key,
                          struct slice *out_value)
{
    return move(w, which, (MDB_val){0}, MDB_LAST, out_key, out_value);
}

void table_write_stat(struct table_write *w, struct table_stat *out)
{
    table__stat(w->table, w->txn, out);
}

enum err table_commit(struct table_write **w)
{
    struct table_write *own = *w;
    enum err e = own->failed;

    *w = NULL;
    if (e == ERR_OK)
        e = table__err(mdb_txn_commit(own->txn));
    else
        mdb_txn_abort(own->txn);
    free(own);
    return e;
}

void table_abort(struct table_write **w)
{
    if (*w == NULL)
        return;
    mdb_txn_abort((*w)->txn);
    free(*w);
    *w = NULL;
}
