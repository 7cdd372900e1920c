/* One message, put into the open transaction. */
#include "base/check.h"
#include "base/metrics.h"
#include "store/store_priv.h"

enum {
    PAGE_BYTES = 4096,
    ROW_COST = 2 * PAGE_BYTES,
    NEAR_COST = PAGE_BYTES / 4,
    INLINE_VALUE_BYTES = 2000
};

static uint64_t row_cost(size_t bytes)
{
    /* larger values leave their leaf for pages of their own */
    return ROW_COST + (bytes > INLINE_VALUE_BYTES
                           ? (bytes + 16 + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES
                           : 0);
}

static enum store_step step_of(enum err e, enum err *out_err)
{
    *out_err = e;
    return e == ERR_OK ? STEP_DONE : STEP_FAILED;
}

/* ---- chunks ---- */

static void fill_value(char *value, const struct store_message *m)
{
    char *at = value + STORE_CHECKSUM_BYTES;
    uint64_t sum;

    for (size_t i = 0; i < m->pieces_count; i++) {
        memcpy(at, m->pieces[i].p, m->pieces[i].n);
        at += m->pieces[i].n;
    }
    sum = digest_64((struct slice){value + STORE_CHECKSUM_BYTES, m->body_bytes});
    memcpy(value, &sum, sizeof(sum));
}

static enum err put_whole(struct store_tx *tx, const struct store_message *m)
{
    char key[STORE_CHUNK_KEY_BYTES];
    void *value;
    enum err e =
        table_reserve(tx->w, STORE_TABLE_CHUNK, store_chunk_key(m->objid, m->put->tx_chunks, key),
                      STORE_CHECKSUM_BYTES + m->body_bytes, &value);

    if (e == ERR_OK)
        fill_value(value, m);
    return e;
}

/* The same bytes in rows of a page each, which find their place wherever one page is free. */
static enum err put_parts(struct store_tx *tx, const struct store_message *m)
{
    struct slice rest = {tx->store->scratch, STORE_CHECKSUM_BYTES + m->body_bytes};
    enum err e = ERR_OK;

    fill_value(tx->store->scratch, m);
    for (unsigned i = 0; e == ERR_OK && rest.n > 0; i++) {
        char key[STORE_PART_KEY_BYTES];

        e = table_put(tx->w, STORE_TABLE_CHUNK, store_part_key(m->objid, m->put->tx_chunks, i, key),
                      slice_head(rest, STORE_PART_BYTES));
        rest = slice_from(rest, STORE_PART_BYTES);
    }
    return e;
}

static enum err put_chunk(struct store_tx *tx, const struct store_message *m, uint64_t pages_bytes)
{
    char id[STORE_ID_KEY_BYTES], count[STORE_COUNT_BYTES];
    struct store_put *p = m->put;
    enum err e = tx->store->is_scattered ? put_parts(tx, m) : put_whole(tx, m);

    if (e != ERR_OK)
        return e;
    p->tx_chunks++;
    p->tx_body_bytes += m->body_bytes;
    p->tx_pages_bytes += pages_bytes;
    p->last_chunk = m;
    store_count_encode(p->tx_pages_bytes, count);
    return table_put(tx->w, STORE_TABLE_INFLIGHT, store_id_key(p->objid, id),
                     (struct slice){count, sizeof(count)});
}

static enum store_step apply_chunk(struct store_tx *tx, struct store_message *m, enum err *out_err)
{
    /* one page more when it goes in by parts */
    uint64_t pages_bytes =
        store__pages_bytes(m->body_bytes) + (tx->store->is_scattered ? PAGE_BYTES : 0);
    enum store_step step;

    if (m->put->failed != ERR_OK)
        return STEP_DONE;
    step = store__make_room(tx, pages_bytes + 2 * ROW_COST, out_err);
    if (step == STEP_FULL && *out_err == ERR_LIMIT) {
        m->put->failed = ERR_LIMIT; /* larger than everything that could be thrown away */
        return STEP_DONE;
    }
    if (step != STEP_DONE)
        return step;
    tx->cost += pages_bytes + 2 * NEAR_COST;
    tx->is_changed = true;
    return step_of(put_chunk(tx, m, pages_bytes), out_err);
}

/* ---- ends of puts ---- */

/* The chunks of a put that comes to nothing. */
static enum err give_up(struct store_tx *tx, struct store_put *p)
{
    char key[STORE_ID_KEY_BYTES];
    enum err e;

    if (p->tx_pages_bytes == 0)
        return ERR_OK;
    e = table_delete(tx->w, STORE_TABLE_INFLIGHT, store_id_key(p->objid, key));
    tx->is_changed = true;
    return e == ERR_OK ? store__park(tx, p->objid, p->tx_pages_bytes) : e;
}

static enum err put_object(struct store_tx *tx, struct slice row, struct slice bytes,
                           const struct store_object *o)
{
    char key[STORE_ID_KEY_BYTES], value[STORE_QUEUED_BYTES];
    struct store_queued q = {.body_bytes = store_has_chunks(o) ? o->body_bytes : 0,
                             .is_marker = o->is_marker};
    struct slice k = store_id_key(o->objid, key), v = {value, sizeof(value)};
    enum err e = table_put(tx->w, STORE_TABLE_OBJ, row, bytes);

    if (e != ERR_OK)
        return e;
    memcpy(q.row, row.p, sizeof(q.row));
    store_queued_encode(&q, value);
    /* mostly the newest: packed tight; else where it belongs */
    e = table_append(tx->w, STORE_TABLE_QUEUE, k, v);
    if (e == ERR_INVALID)
        e = table_put(tx->w, STORE_TABLE_QUEUE, k, v);
    if (!o->is_marker)
        tx->state.objects++;
    if (o->stamp.birth > tx->state.birth)
        tx->state.birth = o->stamp.birth;
    tx->cost += row_cost(bytes.n) + NEAR_COST;
    tx->is_changed = true;
    return e;
}

/*
 * The base row of a key with variants.  ERR_LIMIT: at the cap; ERR_GONE: what stands there was born
 * later.  Then nothing was changed.  `fatal`: it is the table that failed.
 */
static enum err merge_marker(struct store_tx *tx, const struct store_message *m,
                             const struct store_object *o, bool *fatal)
{
    struct store *s = tx->store;
    struct slice row = {m->base_row, sizeof(m->base_row)};
    struct store_object old = {0}, marker = {.is_marker = true, .key = o->key, .stamp = o->stamp};
    char *merged = s->scratch;
    size_t merged_bytes = 0;
    enum err e = store__read_row(tx, row, s->old_base, &old);
    bool is_there = e == ERR_OK;

    if (e != ERR_OK && e != ERR_NOT_FOUND && e != ERR_CORRUPT) {
        *fatal = true;
        return e;
    }
    if (is_there && !old.is_marker && old.stamp.birth > o->stamp.birth)
        return ERR_GONE;
    if (!s->opt.merge(is_there && old.is_marker ? old.head : SLICE(""), m->marker, o->key.variant,
                      merged, LIMIT_RECORD_BYTES / 2, &merged_bytes))
        return ERR_LIMIT;
    marker.head = merged_bytes > 0            ? (struct slice){merged, merged_bytes}
                  : is_there && old.is_marker ? old.head
                                              : SLICE("");
    if (marker.head.n == 0)
        return ERR_OK;
    /* Judged as all its variants are: dead when the youngest of them is.  Tags are the variants'
     * own. */
    marker.key.variant = 0;
    marker.stamp.tags = NULL;
    marker.stamp.tags_count = 0;
    marker.stamp.tags_overflow = false;
    if (is_there && old.is_marker && old.stamp.birth > marker.stamp.birth)
        marker.stamp.birth = old.stamp.birth;
    marker.objid = atomic_fetch_add_explicit(&s->next_objid, 1, memory_order_relaxed);
    if (store_object_bytes(&marker) > LIMIT_RECORD_BYTES / 2)
        return ERR_LIMIT;
    *fatal = true;
    /* written anew each time, so that it leaves the queue after its variants */
    store_object_encode(&marker, s->scratch + LIMIT_RECORD_BYTES / 2);
    e = is_there ? store__drop(tx, old.objid) : ERR_OK;
    if (e == ERR_OK)
        e = put_object(
            tx, row,
            (struct slice){s->scratch + LIMIT_RECORD_BYTES / 2, store_object_bytes(&marker)},
            &marker);
    *fatal = e != ERR_OK;
    return e;
}

static enum err replace(struct store_tx *tx, const struct store_message *m,
                        const struct store_object *o, bool has_old, uint64_t old_objid)
{
    char key[STORE_ID_KEY_BYTES];
    enum err e = ERR_OK;

    if (has_old) {
        e = store__drop(tx, old_objid);
        tx->removed++;
    }
    if (e == ERR_OK)
        e = put_object(tx, (struct slice){m->row, sizeof(m->row)},
                       (struct slice){m->object, m->object_bytes}, o);
    if (e == ERR_OK && m->put->tx_pages_bytes > 0)
        e = table_delete(tx->w, STORE_TABLE_INFLIGHT, store_id_key(o->objid, key));
    return e;
}

/* m->result says what became of it; what is returned is an error of the table. */
static enum err publish(struct store_tx *tx, struct store_message *m)
{
    struct store *s = tx->store;
    struct store_object o, old = {0};
    bool fatal = false;
    enum err e = store_object_decode((struct slice){m->object, m->object_bytes}, &o);

    CHECK(e == ERR_OK);
    m->result = ERR_GONE;
    /* here, in the transaction: what was asked before it was queued may have been purged since */
    if (store__verdict(s, &o.stamp) == STORE_DEAD)
        return give_up(tx, m->put);
    e = store__read_row(tx, (struct slice){m->row, sizeof(m->row)}, s->old_row, &old);
    if (e != ERR_OK && e != ERR_NOT_FOUND && e != ERR_CORRUPT)
        return e;
    if (e == ERR_OK && old.stamp.birth > o.stamp.birth)
        return give_up(tx, m->put);
    if (o.key.variant != 0) {
        m->result = merge_marker(tx, m, &o, &fatal);
        if (m->result != ERR_OK)
            return fatal ? m->result : give_up(tx, m->put);
    }
    m->result = ERR_OK;
    tx->published++;
    return replace(tx, m, &o, e == ERR_OK, old.objid);
}

static enum store_step apply_publish(struct store_tx *tx, struct store_message *m,
                                     enum err *out_err)
{
    struct store_put *p = m->put;
    enum store_step step;

    if (p->failed != ERR_OK) {
        m->result = p->failed;
        m->is_failed = true;
    }
    if (m->is_failed)
        return step_of(give_up(tx, p), out_err);
    step = store__make_room(tx, row_cost(m->object_bytes) + row_cost(m->marker.n) + 4 * ROW_COST,
                            out_err);
    if (step == STEP_FULL && *out_err == ERR_LIMIT) {
        m->result = ERR_LIMIT;
        m->is_failed = true;
        return step_of(give_up(tx, p), out_err);
    }
    if (step != STEP_DONE)
        return step;
    return step_of(publish(tx, m), out_err);
}

/* ---- changes of what is there ---- */

static enum err refresh(struct store_tx *tx, struct store_message *m)
{
    struct store *s = tx->store;
    struct slice row = {m->row, sizeof(m->row)};
    struct store_object o, old;
    enum err e = store_object_decode((struct slice){m->object, m->object_bytes}, &o);

    CHECK(e == ERR_OK);
    m->result = ERR_NOT_FOUND;
    e = store__read_row(tx, row, s->old_row, &old);
    if (e == ERR_NOT_FOUND || e == ERR_CORRUPT)
        return ERR_OK;
    if (e != ERR_OK)
        return e;
    if (old.objid != o.objid || old.is_marker)
        return ERR_OK;
    m->result = ERR_GONE;
    /* a purged copy is never a validator: no 304 makes it good again */
    if (store__verdict(s, &old.stamp) == STORE_DEAD || store__verdict(s, &o.stamp) == STORE_DEAD ||
        o.stamp.birth < old.stamp.birth)
        return ERR_OK;
    o.body = old.body;
    o.body_bytes = old.body_bytes;
    m->result = ERR_LIMIT;
    if (store_object_bytes(&o) > LIMIT_RECORD_BYTES)
        return ERR_OK;
    store_object_encode(&o, s->scratch);
    m->result = ERR_OK;
    if (o.stamp.birth > tx->state.birth)
        tx->state.birth = o.stamp.birth;
    tx->cost += row_cost(store_object_bytes(&o));
    tx->is_changed = true;
    return table_put(tx->w, STORE_TABLE_OBJ, row,
                     (struct slice){s->scratch, store_object_bytes(&o)});
}

static enum store_step apply_refresh(struct store_tx *tx, struct store_message *m,
                                     enum err *out_err)
{
    enum store_step step;

    if (m->is_failed)
        return STEP_DONE;
    step = store__make_room(tx, row_cost(LIMIT_RECORD_BYTES), out_err);
    if (step == STEP_FULL && *out_err == ERR_LIMIT) {
        m->result = ERR_LIMIT;
        return STEP_DONE;
    }
    if (step != STEP_DONE)
        return step;
    return step_of(refresh(tx, m), out_err);
}

/* Where the object of an id stands, by the queue. */
static enum err find_row(struct store_tx *tx, struct store_message *m)
{
    char key[STORE_ID_KEY_BYTES];
    struct store_queued q;
    struct slice value;
    enum err e = table_write_get(tx->w, STORE_TABLE_QUEUE, store_id_key(m->objid, key), &value);

    if (e == ERR_OK)
        e = store_queued_decode(value, &q) == ERR_OK ? ERR_OK : ERR_NOT_FOUND;
    if (e == ERR_OK)
        memcpy(m->row, q.row, sizeof(m->row));
    m->has_row = e == ERR_OK;
    return e;
}

static enum err remove_object(struct store_tx *tx, struct store_message *m)
{
    struct store *s = tx->store;
    struct slice row = {m->row, sizeof(m->row)};
    struct store_object old;
    enum err e = m->has_row ? ERR_OK : find_row(tx, m);

    if (e == ERR_OK)
        e = store__read_row(tx, row, s->old_row, &old);
    if (e == ERR_NOT_FOUND || (e == ERR_OK && old.objid != m->objid))
        return ERR_OK;
    if (e != ERR_OK && e != ERR_CORRUPT)
        return e;
    /* of an unreadable row the id is not known: its place in the queue is found empty when its turn
     * comes */
    if (e == ERR_OK)
        e = store__drop(tx, m->objid);
    else
        e = m->objid == 0 ? ERR_OK : store__drop(tx, m->objid);
    if (e == ERR_OK)
        e = table_delete(tx->w, STORE_TABLE_OBJ, row);
    tx->removed++;
    tx->cost += ROW_COST;
    tx->is_changed = true;
    return e;
}

enum store_step store__apply(struct store_tx *tx, struct store_message *m, enum err *out_err)
{
    *out_err = ERR_OK;
    switch (m->kind) {
    case STORE_CHUNK:
        return apply_chunk(tx, m, out_err);
    case STORE_PUBLISH:
        return apply_publish(tx, m, out_err);
    case STORE_ABORT:
        return step_of(give_up(tx, m->put), out_err);
    case STORE_REFRESH:
        return apply_refresh(tx, m, out_err);
    case STORE_REMOVE:
        return step_of(remove_object(tx, m), out_err);
    case STORE_FLUSH:
        break;
    }
    return STEP_DONE;
}
