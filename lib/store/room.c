/*
 * Making room: first in, first out; and deleting what nobody reads any more.
 *
 * Chunks are never deleted in the transaction that takes their object away: they are parked in
 * `gc`, and deleted by a later one.  So a reader that pins an id, and then still finds its object
 * in a fresh snapshot, cannot lose the body: whoever deletes it looks at the pins after that
 * snapshot.
 */
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "store/store_priv.h"

enum {
    PAGE_BYTES = 4096,
    ROW_COST = 2 * PAGE_BYTES,  /* of a row anywhere: its leaf, and a share of the branches */
    NEAR_COST = PAGE_BYTES / 4, /* of one that stands near the one before */
    PIN_MS_MAX = 3600 * 1000,
    PINNED_PERCENT_MAX = 5, /* of the map, held by pins alone */
    GC_ROWS_AT_ONCE = 16384,
    LEFTOVERS_AT_ONCE = 256,
};

static uint64_t freed_bytes_max(const struct store *s)
{
    uint64_t max = (uint64_t)LIMIT_STORE_FREED_PAGES * PAGE_BYTES;

    /* somewhat more than is written, so that it keeps pace */
    return s->batch_now / 2 * 3 < max ? s->batch_now / 2 * 3 : max;
}

enum err store__read_row(struct store_tx *tx, struct slice row, char *buffer,
                         struct store_object *out)
{
    struct slice value;
    enum err e = table_write_get(tx->w, STORE_TABLE_OBJ, row, &value);

    if (e != ERR_OK)
        return e;
    if (value.n > LIMIT_RECORD_BYTES)
        return ERR_CORRUPT;
    memcpy(buffer, value.p, value.n);
    return store_object_decode((struct slice){buffer, value.n}, out);
}

/* ---- parking and collecting ---- */

enum err store__park(struct store_tx *tx, uint64_t objid, uint64_t bytes)
{
    char key[STORE_ID_KEY_BYTES], value[STORE_COUNT_BYTES];

    store_count_encode(bytes, value);
    tx->state.gc_bytes += bytes;
    tx->cost += NEAR_COST;
    tx->has_progress = true;
    return table_put(tx->w, STORE_TABLE_GC, store_id_key(objid, key),
                     (struct slice){value, sizeof(value)});
}

enum err store__drop(struct store_tx *tx, uint64_t objid)
{
    char key[STORE_ID_KEY_BYTES];
    struct slice k = store_id_key(objid, key), value;
    struct store_queued q = {.body_bytes = 1}; /* unreadable: chunks may be there */
    enum err e = table_write_get(tx->w, STORE_TABLE_QUEUE, k, &value);

    if (e == ERR_NOT_FOUND)
        return ERR_OK;
    if (e != ERR_OK)
        return e;
    if (store_queued_decode(value, &q) != ERR_OK)
        tx->corrupt++;
    e = table_delete(tx->w, STORE_TABLE_QUEUE, k);
    tx->cost += NEAR_COST;
    tx->is_changed = true;
    if (!q.is_marker && tx->state.objects > 0)
        tx->state.objects--;
    if (e == ERR_OK && q.body_bytes > 0)
        e = store__park(tx, objid, store__pages_bytes(q.body_bytes));
    return e;
}

/* Delete chunks while the budget lasts; *out_all: none is left. */
static enum err delete_chunks(struct store_tx *tx, uint64_t objid, uint64_t *out_freed,
                              bool *out_all)
{
    char from[STORE_CHUNK_KEY_BYTES], own[STORE_PART_KEY_BYTES];
    uint64_t id;

    *out_freed = 0;
    *out_all = false;
    while (tx->freed < freed_bytes_max(tx->store)) {
        struct slice key, value;
        uint64_t bytes;
        enum err e = table_write_seek(tx->w, STORE_TABLE_CHUNK, store_chunk_key(objid, 0, from),
                                      &key, &value);

        if (e == ERR_NOT_FOUND || (e == ERR_OK && (!store_id_parse(key, &id) || id != objid))) {
            *out_all = true;
            return ERR_OK;
        }
        if (e != ERR_OK)
            return e;
        if (key.n > sizeof(own))
            return ERR_CORRUPT;
        memcpy(own, key.p, key.n);
        bytes = (value.n + 16 + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
        e = table_delete(tx->w, STORE_TABLE_CHUNK, (struct slice){own, key.n});
        if (e != ERR_OK)
            return e;
        *out_freed += bytes;
        tx->freed += bytes;
        tx->cost += NEAR_COST;
        tx->is_changed = tx->has_progress = true;
    }
    return ERR_OK;
}

static enum err collect_one(struct store_tx *tx, uint64_t objid, uint64_t bytes)
{
    char key[STORE_ID_KEY_BYTES], value[STORE_COUNT_BYTES];
    struct slice k = store_id_key(objid, key);
    uint64_t freed, left;
    bool all;
    enum err e = delete_chunks(tx, objid, &freed, &all);

    if (e != ERR_OK)
        return e;
    left = all || freed > bytes ? 0 : bytes - freed;
    tx->state.gc_bytes -= bytes - left < tx->state.gc_bytes ? bytes - left : tx->state.gc_bytes;
    tx->cost += NEAR_COST;
    tx->is_changed = true;
    if (all) {
        tx->store->gc_at = objid + 1;
        return table_delete(tx->w, STORE_TABLE_GC, k);
    }
    tx->store->gc_is_busy = true;
    tx->store->gc_at = objid;
    store_count_encode(left, value);
    return table_put(tx->w, STORE_TABLE_GC, k, (struct slice){value, sizeof(value)});
}

struct pinned {
    uint64_t bytes, oldest;
    int64_t oldest_ms;
};

/* A pin of over an hour is broken; and when pins hold too much, the oldest. */
static void note_pinned(struct store *s, struct pinned *all, uint64_t objid, uint64_t bytes,
                        int64_t since_ms)
{
    if (clock_mono_ms() - since_ms > PIN_MS_MAX) {
        pins_break(s->pins, objid);
        return;
    }
    all->bytes += bytes;
    if (all->oldest == 0 || since_ms < all->oldest_ms) {
        all->oldest = objid;
        all->oldest_ms = since_ms;
    }
}

static void break_oldest(struct store_tx *tx, const struct pinned *all)
{
    struct store *s = tx->store;

    if (all->bytes <= s->opt.bytes_max / 100 * PINNED_PERCENT_MAX)
        return;
    pins_break(s->pins, all->oldest);
    s->gc_at = all->oldest;
    s->gc_is_busy = tx->has_progress = true;
}

/* The next row of `gc` from gc_at on, going around once. ERR_NOT_FOUND when that was done. */
static enum err next_parked(struct store_tx *tx, uint64_t start, bool *wrapped, uint64_t *out_objid,
                            uint64_t *out_bytes)
{
    struct store *s = tx->store;
    char from[STORE_ID_KEY_BYTES];
    struct slice key, value;
    enum err e =
        table_write_seek(tx->w, STORE_TABLE_GC, store_id_key(s->gc_at, from), &key, &value);

    if (e == ERR_NOT_FOUND && !*wrapped) {
        *wrapped = true;
        s->gc_at = 0;
        e = table_write_seek(tx->w, STORE_TABLE_GC, store_id_key(0, from), &key, &value);
    }
    if (e != ERR_OK)
        return e;
    if (!store_id_parse(key, out_objid))
        return ERR_CORRUPT;
    if (*wrapped && *out_objid >= start)
        return ERR_NOT_FOUND;
    *out_bytes = 0;
    if (store_count_decode(value, out_bytes) != ERR_OK)
        tx->corrupt++;
    return ERR_OK;
}

enum err store__collect(struct store_tx *tx)
{
    struct store *s = tx->store;
    struct pinned pinned = {0};
    uint64_t start = s->gc_at, objid, bytes;
    bool wrapped = start == 0;
    enum err e = ERR_OK;

    if (wrapped)
        start = UINT64_MAX;
    s->gc_is_busy = false;
    for (unsigned i = 0; i < GC_ROWS_AT_ONCE; i++) {
        int64_t since_ms;

        e = next_parked(tx, start, &wrapped, &objid, &bytes);
        if (e != ERR_OK)
            break;
        if (!pins_is_free(s->pins, objid, &since_ms)) {
            note_pinned(s, &pinned, objid, bytes, since_ms);
            s->gc_at = objid + 1;
            continue;
        }
        if (tx->freed >= freed_bytes_max(s)) {
            s->gc_is_busy = true;
            break;
        }
        e = collect_one(tx, objid, bytes);
        if (e != ERR_OK)
            break;
    }
    if (e != ERR_OK && e != ERR_NOT_FOUND)
        return e;
    tx->pinned = pinned.bytes;
    break_oldest(tx, &pinned);
    return ERR_OK;
}

/* What a process was putting when it died: the only recovery there is. */
enum err store__take_leftovers(struct store_tx *tx)
{
    struct store *s = tx->store;

    for (unsigned i = 0; s->has_leftovers && i < LEFTOVERS_AT_ONCE; i++) {
        char own[STORE_ID_KEY_BYTES];
        struct slice key, value;
        uint64_t objid, bytes = 0;
        enum err e = table_write_seek(tx->w, STORE_TABLE_INFLIGHT, SLICE(""), &key, &value);

        if (e != ERR_OK && e != ERR_NOT_FOUND)
            return e;
        if (e == ERR_OK && !store_id_parse(key, &objid))
            return ERR_CORRUPT;
        if (e == ERR_NOT_FOUND || objid >= s->first_objid) {
            s->has_leftovers = false;
            break;
        }
        if (store_count_decode(value, &bytes) != ERR_OK)
            tx->corrupt++;
        e = table_delete(tx->w, STORE_TABLE_INFLIGHT, store_id_key(objid, own));
        if (e == ERR_OK)
            e = store__park(tx, objid, bytes);
        if (e != ERR_OK)
            return e;
        tx->is_changed = true;
    }
    return ERR_OK;
}

/* ---- eviction ---- */

enum err store__evict_one(struct store_tx *tx)
{
    struct store *s = tx->store;
    struct store_queued q;
    struct store_object o;
    struct slice key, value;
    uint64_t objid;
    enum err e = table_write_seek(tx->w, STORE_TABLE_QUEUE, SLICE(""), &key, &value);

    if (e != ERR_OK)
        return e;
    if (!store_id_parse(key, &objid))
        return ERR_CORRUPT;
    if (store_queued_decode(value, &q) == ERR_OK) {
        struct slice row = {q.row, sizeof(q.row)};

        e = store__read_row(tx, row, s->scratch, &o);
        if (e == ERR_CORRUPT || (e == ERR_OK && o.objid == objid)) {
            e = table_delete(tx->w, STORE_TABLE_OBJ, row);
            tx->cost += ROW_COST;
        }
        if (e != ERR_OK && e != ERR_NOT_FOUND)
            return e;
    }
    tx->evicted++;
    tx->has_progress = true;
    return store__drop(tx, objid);
}

enum store_step store__make_room(struct store_tx *tx, uint64_t need, enum err *out_err)
{
    struct store *s = tx->store;
    struct table_stat st;
    uint64_t reserve = 2 * s->batch_bytes;

    for (;;) {
        /* what is parked and not pinned is as good as free */
        uint64_t gc = tx->state.gc_bytes -
                      (tx->pinned < tx->state.gc_bytes ? tx->pinned : tx->state.gc_bytes);
        uint64_t live;
        enum err e;

        table_write_stat(tx->w, &st);
        live = st.used_bytes > gc ? st.used_bytes - gc : 0;
        if (live + need + reserve <= s->limit_bytes || tx->cost >= s->batch_now)
            break;
        e = store__evict_one(tx);
        if (e == ERR_NOT_FOUND)
            break;
        if (e != ERR_OK) {
            *out_err = e;
            return STEP_FAILED;
        }
    }
    *out_err = ERR_OK;
    if (st.used_bytes + need <= s->limit_bytes)
        return STEP_DONE;
    /* What was parked here is deleted by the next transaction; and as long as there is something to
     * throw away, there is hope. */
    if (!tx->has_progress && !tx->is_changed)
        *out_err = store__evict_one(tx) == ERR_NOT_FOUND ? ERR_LIMIT : ERR_OK;
    return STEP_FULL;
}
