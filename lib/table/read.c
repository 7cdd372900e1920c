/*
 * Reading: one renewed transaction per reader, and the guard.
 *
 * A disk that fails under a mapped page is told by SIGBUS, to whoever touches the page.  Looking up
 * and copying out happen under a guard: the handler jumps back, and the call says ERR_IO.  LMDB's
 * read path holds no lock and owns nothing, so that it may be left in the middle.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "table/table_priv.h"

enum { RESIDENT_PAGES = 256 /* asked about per call of mincore() */ };

struct table_reader {
    struct table *table; /* borrowed */
    MDB_txn *txn;        /* owned; reset between reads: its slot stays ours */
    bool is_open;
    MDB_cursor *cursor[TABLES_MAX]; /* owned; made when first needed, renewed once per read */
    bool is_renewed[TABLES_MAX];
};

/* ---- the guard ---- */

static _Thread_local sigjmp_buf guard_back;
static _Thread_local volatile sig_atomic_t guard_is_up;

static void on_sigbus(int sig)
{
    sigset_t own;

    if (guard_is_up) {
        guard_is_up = 0;
        /* we leave by a jump, and saving the mask at each read would cost a system call */
        sigemptyset(&own);
        sigaddset(&own, sig);
        pthread_sigmask(SIG_UNBLOCK, &own, NULL);
        siglongjmp(guard_back, 1);
    }
    /* not ours: the instruction runs again, and this time it kills */
    signal(sig, SIG_DFL);
}

void table_guard_install(void)
{
    struct sigaction sa = {.sa_handler = on_sigbus};

    sigemptyset(&sa.sa_mask);
    CHECK(sigaction(SIGBUS, &sa, NULL) == 0);
}

/* True when the guarded part was left by a fault.  Expands to sigsetjmp(), which no function may
 * wrap. */
#define GUARD_FAULTED() (guard_is_up = 1, sigsetjmp(guard_back, 0) != 0)

static void guard_down(void)
{
    /* what was guarded must not move behind this */
    atomic_signal_fence(memory_order_seq_cst);
    guard_is_up = 0;
}

static enum err fault(void)
{
    errno = EIO;
    return ERR_IO;
}

enum err table_copy(void *to, struct slice from)
{
    if (from.n == 0)
        return ERR_OK;
    if (GUARD_FAULTED())
        return fault();
    memcpy(to, from.p, from.n);
    guard_down();
    return ERR_OK;
}

/* ---- reading ---- */

enum err table_reader_new(struct table *t, struct table_reader **out)
{
    struct table_reader *r = calloc(1, sizeof(*r));
    int rc;

    if (r == NULL)
        return ERR_NOMEM;
    r->table = t;
    rc = mdb_txn_begin(t->env, NULL, MDB_RDONLY, &r->txn);
    if (rc != MDB_SUCCESS) {
        free(r);
        return table__err(rc);
    }
    mdb_txn_reset(r->txn);
    *out = r;
    return ERR_OK;
}

void table_reader_free(struct table_reader *r)
{
    if (r == NULL)
        return;
    CHECK(!r->is_open);
    for (unsigned i = 0; i < TABLES_MAX; i++)
        if (r->cursor[i] != NULL)
            mdb_cursor_close(r->cursor[i]);
    mdb_txn_abort(r->txn);
    free(r);
}

enum err table_read_begin(struct table_reader *r)
{
    int rc;

    CHECK(!r->is_open);
    rc = mdb_txn_renew(r->txn);
    if (rc != MDB_SUCCESS)
        return table__err(rc);
    r->is_open = true;
    memset(r->is_renewed, 0, sizeof(r->is_renewed));
    return ERR_OK;
}

void table_read_end(struct table_reader *r)
{
    CHECK(r->is_open);
    mdb_txn_reset(r->txn);
    r->is_open = false;
}

enum err table_get(struct table_reader *r, unsigned which, struct slice key, struct slice *out)
{
    MDB_val k = table__val(key), v;
    int rc;

    CHECK(r->is_open && which < r->table->tables);
    if (GUARD_FAULTED())
        return fault();
    rc = mdb_get(r->txn, r->table->dbi[which], &k, &v);
    guard_down();
    if (rc != MDB_SUCCESS)
        return table__err(rc);
    *out = table__slice(v);
    return ERR_OK;
}

static enum err cursor_of(struct table_reader *r, unsigned which)
{
    int rc = MDB_SUCCESS;

    CHECK(r->is_open && which < r->table->tables);
    if (r->cursor[which] == NULL)
        rc = mdb_cursor_open(r->txn, r->table->dbi[which], &r->cursor[which]);
    else if (!r->is_renewed[which])
        rc = mdb_cursor_renew(r->txn, r->cursor[which]);
    r->is_renewed[which] = rc == MDB_SUCCESS;
    return table__err(rc);
}

static enum err move(struct table_reader *r, unsigned which, MDB_val k, MDB_cursor_op op,
                     struct slice *out_key, struct slice *out_value)
{
    MDB_val v;
    int rc;

    if (GUARD_FAULTED())
        return fault();
    rc = mdb_cursor_get(r->cursor[which], &k, &v, op);
    guard_down();
    if (rc != MDB_SUCCESS)
        return table__err(rc);
    *out_key = table__slice(k);
    *out_value = table__slice(v);
    return ERR_OK;
}

enum err table_seek(struct table_reader *r, unsigned which, struct slice key, struct slice *out_key,
                    struct slice *out_value)
{
    enum err e = cursor_of(r, which);

    if (e != ERR_OK)
        return e;
    return move(r, which, table__val(key), key.n == 0 ? MDB_FIRST : MDB_SET_RANGE, out_key,
                out_value);
}

enum err table_next(struct table_reader *r, unsigned which, struct slice *out_key,
                    struct slice *out_value)
{
    CHECK(r->is_open && which < r->table->tables && r->is_renewed[which]); /* after table_seek() */
    return move(r, which, (MDB_val){0}, MDB_NEXT, out_key, out_value);
}

bool table_is_resident(struct slice s)
{
    unsigned char in_memory[RESIDENT_PAGES];
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t at = (uintptr_t)s.p & ~(page - 1), end = (uintptr_t)s.p + s.n;

    while (at < end) {
        size_t pages = (end - at + page - 1) / page;

        if (pages > RESIDENT_PAGES)
            pages = RESIDENT_PAGES;
        if (mincore((void *)at, pages * page, in_memory) != 0)
            return false;
        for (size_t i = 0; i < pages; i++)
            if ((in_memory[i] & 1) == 0)
                return false;
        at += pages * page;
    }
    return true;
}
