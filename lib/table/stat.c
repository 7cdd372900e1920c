/* How full it is, without counting. */
#include "base/check.h"
#include "table/table_priv.h"

enum { FREE_DBI, MAIN_DBI, OWN_DBIS }; /* LMDB's own: the list of free pages, the names of tables */

static void add(MDB_txn *txn, MDB_dbi dbi, bool is_own, struct table_stat *out)
{
    MDB_stat st;

    if (mdb_stat(txn, dbi, &st) != MDB_SUCCESS)
        return;
    out->used_bytes +=
        (uint64_t)(st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages) * st.ms_psize;
    if (!is_own)
        out->entries += st.ms_entries;
}

void table__stat(const struct table *t, MDB_txn *txn, struct table_stat *out)
{
    *out = (struct table_stat){.bytes_max = t->bytes_max};
    for (MDB_dbi dbi = 0; dbi < OWN_DBIS; dbi++)
        add(txn, dbi, true, out);
    for (unsigned i = 0; i < t->tables; i++)
        add(txn, t->dbi[i], false, out);
}

void table_stat(struct table *t, struct table_stat *out)
{
    MDB_txn *txn;

    *out = (struct table_stat){.bytes_max = t->bytes_max};
    if (mdb_txn_begin(t->env, NULL, MDB_RDONLY, &txn) != MDB_SUCCESS)
        return;
    table__stat(t, txn, out);
    mdb_txn_abort(txn);
}
