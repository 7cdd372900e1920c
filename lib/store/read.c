/* Looking up and reading: any thread. */
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "store/store_priv.h"

enum {
    KEPT_CHUNKS = 8, /* checked copies that a reader keeps: bodies are read in pieces */
    ROUNDS_MAX = 16, /* a look-up that is overtaken so often is a miss */
    WALK_ROWS_AT_ONCE = 1000,
};

struct kept_chunk {
    uint64_t objid; /* 0: none */
    uint32_t n;
    size_t bytes;
    char *p; /* owned; LIMIT_CHUNK_VALUE_BYTES, made when first needed */
};

struct store_reader {
    struct store *store; /* borrowed */
    struct table_reader *table;
    struct kept_chunk kept[KEPT_CHUNKS];
    char *row; /* owned; of a walk: LIMIT_RECORD_BYTES */
};

enum err store_reader_new(struct store *s, struct store_reader **out)
{
    struct store_reader *r = calloc(1, sizeof(*r));
    enum err e;

    if (r == NULL)
        return ERR_NOMEM;
    r->store = s;
    e = table_reader_new(s->table, &r->table);
    if (e != ERR_OK) {
        free(r);
        return e;
    }
    *out = r;
    return ERR_OK;
}

void store_reader_free(struct store_reader *r)
{
    if (r == NULL)
        return;
    table_reader_free(r->table);
    for (size_t i = 0; i < KEPT_CHUNKS; i++)
        free(r->kept[i].p);
    free(r->row);
    free(r);
}

/* ---- looking up ---- */

static void count_corrupt(void)
{
    metrics_add(METRIC_STORE_CORRUPT, 1);
}

/* The row as it stands, copied into the arena. */
static enum err copy_row(struct store_reader *r, struct slice row, struct arena *a,
                         struct slice *out)
{
    struct slice value;
    enum err e = table_read_begin(r->table);
    char *p;

    if (e != ERR_OK)
        return e;
    e = table_get(r->table, STORE_TABLE_OBJ, row, &value);
    if (e == ERR_OK && value.n > LIMIT_RECORD_BYTES)
        e = ERR_CORRUPT;
    if (e == ERR_OK) {
        p = arena_alloc(a, value.n);
        e = p == NULL ? ERR_LIMIT : table_copy(p, value);
        *out = (struct slice){p, value.n};
    }
    table_read_end(r->table);
    return e;
}

/* Is the object of this id still the one of the row?  In a snapshot that begins after it was
 * pinned. */
static bool is_still_there(struct store_reader *r, struct slice row, uint64_t objid)
{
    char start[STORE_FIXED_BYTES];
    struct slice value;
    uint64_t now = 0;

    if (table_read_begin(r->table) != ERR_OK)
        return false;
    if (table_get(r->table, STORE_TABLE_OBJ, row, &value) == ERR_OK && value.n >= sizeof(start) &&
        table_copy(start, slice_head(value, sizeof(start))) == ERR_OK)
        now = store_object_id((struct slice){start, sizeof(start)});
    table_read_end(r->table);
    return now == objid;
}

static void give(const struct store_object *o, enum store_verdict v, struct store_hit *out)
{
    *out = (struct store_hit){
        .objid = o->objid,
        .stamp = o->stamp,
        .is_stale = v == STORE_STALE,
        .is_marker = o->is_marker,
        .head = o->head,
        .inline_body = o->body,
        .body_bytes = o->body_bytes,
        .pinned = store_has_chunks(o),
    };
}

/* ERR_AGAIN: it was replaced meanwhile. */
static enum err get_once(struct store_reader *r, const struct store_key *key, struct slice row,
                         struct arena *a, struct store_hit *out)
{
    struct store *s = r->store;
    struct store_object o;
    enum store_verdict v;
    struct slice bytes;
    uint64_t floor = s->opt.judge.floor(s->opt.judge.user); /* before the row is looked at */
    enum err e = copy_row(r, row, a, &bytes);

    if (e == ERR_OK)
        e = store_object_decode(bytes, &o);
    if (e == ERR_CORRUPT) {
        count_corrupt();
        store__ask_removal(s, row.p, 0);
    }
    if (e != ERR_OK)
        return e;
    /* two keys whose hashes are equal: the other one is not ours */
    if (!slice_eq(o.key.text, key->text) || !slice_eq(o.key.host, key->host) ||
        o.key.variant != key->variant)
        return ERR_NOT_FOUND;
    /* found broken or dead before: it goes, and nobody else is to meet it until it is gone */
    if (store__is_asked(s, o.objid))
        return ERR_NOT_FOUND;
    if (store_has_chunks(&o)) {
        store_pin(s, o.objid);
        if (!is_still_there(r, row, o.objid)) {
            store_unpin(s, o.objid);
            return ERR_AGAIN;
        }
    }
    v = store__verdict(s, &o.stamp);
    /* purge-protocol rule 6: between copying the row and judging it, its purge may have been
     * retired */
    e = floor != s->opt.judge.floor(s->opt.judge.user) ? ERR_AGAIN
        : v == STORE_DEAD                              ? ERR_NOT_FOUND
                                                       : ERR_OK;
    if (e != ERR_OK && store_has_chunks(&o))
        store_unpin(s, o.objid);
    if (v == STORE_DEAD && e != ERR_AGAIN) {
        store__ask_removal(s, row.p, o.objid);
        *out = (struct store_hit){.is_dead = true, .stamp = o.stamp};
    }
    if (e == ERR_OK)
        give(&o, v, out);
    return e;
}

enum err store_get(struct store_reader *r, const struct store_key *key, struct arena *a,
                   struct store_hit *out)
{
    char bytes[STORE_ROW_KEY_BYTES];
    struct slice row = store_row_key(&r->store->secret, key, bytes);
    enum err e = ERR_AGAIN;

    *out = (struct store_hit){0};
    for (int i = 0; i < ROUNDS_MAX && e == ERR_AGAIN; i++)
        e = get_once(r, key, row, a, out);
    return e == ERR_AGAIN ? ERR_NOT_FOUND : e;
}

/* ---- bodies ---- */

/* Find a chunk in the open transaction; its payload and its checksum, still in the map.
 * ERR_NOT_FOUND: not in one piece. */
static enum err find_chunk(struct store_reader *r, uint64_t objid, uint32_t n, struct slice *out,
                           uint64_t *out_sum)
{
    char key[STORE_CHUNK_KEY_BYTES];
    struct slice value;
    enum err e = table_get(r->table, STORE_TABLE_CHUNK, store_chunk_key(objid, n, key), &value);

    if (e != ERR_OK)
        return e;
    if (value.n <= STORE_CHECKSUM_BYTES || value.n > LIMIT_CHUNK_VALUE_BYTES)
        return ERR_CORRUPT;
    *out = slice_from(value, STORE_CHECKSUM_BYTES);
    return table_copy(out_sum, slice_head(value, STORE_CHECKSUM_BYTES));
}

/* Each part of a chunk, in order; ERR_GONE when there is none. */
static enum err each_part(struct store_reader *r, uint64_t objid, uint32_t n,
                          enum err (*f)(void *user, struct slice part), void *user)
{
    char want[STORE_PART_KEY_BYTES];
    struct slice key, value;
    enum err e = ERR_OK;
    unsigned i;

    for (i = 0; e == ERR_OK && i < STORE_PARTS_MAX; i++) {
        struct slice k = store_part_key(objid, n, i, want);

        e = i == 0 ? table_seek(r->table, STORE_TABLE_CHUNK, k, &key, &value)
                   : table_next(r->table, STORE_TABLE_CHUNK, &key, &value);
        if (e == ERR_NOT_FOUND || (e == ERR_OK && !slice_eq(key, k)))
            break;
        if (e == ERR_OK)
            e = f(user, value);
    }
    if (e == ERR_OK || e == ERR_NOT_FOUND)
        return i == 0 ? ERR_GONE : ERR_OK;
    return e;
}

struct gathered {
    char *to;
    size_t bytes;
};

static enum err gather(void *user, struct slice part)
{
    struct gathered *g = user;
    enum err e;

    if (part.n > LIMIT_CHUNK_VALUE_BYTES - g->bytes)
        return ERR_CORRUPT;
    e = table_copy(g->to + g->bytes, part);
    g->bytes += part.n;
    return e;
}

static enum err compare(const char *p, size_t n, uint64_t sum)
{
    return digest_64((struct slice){p, n}) == sum ? ERR_OK : ERR_CORRUPT;
}

/* Copy the value, check it and keep it. */
static enum err keep_chunk(struct store_reader *r, struct kept_chunk *k, uint64_t objid, uint32_t n,
                           struct slice value)
{
    struct gathered g;
    uint64_t sum;
    enum err e;

    if (k->p == NULL)
        k->p = malloc(LIMIT_CHUNK_VALUE_BYTES);
    if (k->p == NULL)
        return ERR_IO;
    k->objid = 0;
    g = (struct gathered){.to = k->p};
    e = value.p != NULL ? gather(&g, value) : each_part(r, objid, n, gather, &g);
    if (e != ERR_OK)
        return e;
    if (g.bytes <= sizeof(sum))
        return ERR_CORRUPT;
    memcpy(&sum, k->p, sizeof(sum));
    k->bytes = g.bytes - sizeof(sum);
    e = compare(k->p + sizeof(sum), k->bytes, sum);
    if (e != ERR_OK)
        return e;
    k->objid = objid;
    k->n = n;
    return ERR_OK;
}

/* A whole chunk goes straight where it is wanted; of a part, the whole is copied, checked and kept.
 */
static enum err read_chunk(struct store_reader *r, struct kept_chunk *k, uint64_t objid, uint32_t n,
                           size_t at, void *to, size_t to_bytes, size_t *out_bytes)
{
    struct slice payload;
    uint64_t sum;
    enum err e = find_chunk(r, objid, n, &payload, &sum);

    *out_bytes = 0;
    if (e == ERR_NOT_FOUND)
        return keep_chunk(r, k, objid, n, (struct slice){NULL, 0});
    if (e != ERR_OK)
        return e;
    if (at >= payload.n)
        return ERR_GONE;
    if (at > 0 || to_bytes < payload.n)
        return keep_chunk(
            r, k, objid, n,
            (struct slice){payload.p - STORE_CHECKSUM_BYTES, payload.n + STORE_CHECKSUM_BYTES});
    e = table_copy(to, payload);
    if (e == ERR_OK)
        e = compare(to, payload.n, sum);
    if (e == ERR_OK)
        *out_bytes = payload.n;
    return e;
}

enum err store_read(struct store_reader *r, uint64_t objid, uint64_t offset, void *to,
                    size_t to_bytes, size_t *out_bytes)
{
    uint64_t n = offset / LIMIT_CHUNK_BYTES;
    size_t at = (size_t)(offset % LIMIT_CHUNK_BYTES), left;
    struct kept_chunk *k = &r->kept[(objid + n) % KEPT_CHUNKS];
    enum err e = ERR_OK;

    *out_bytes = 0;
    CHECK(to_bytes > 0);
    if (n > UINT32_MAX)
        return ERR_GONE;
    if (k->objid != objid || k->n != n) {
        e = table_read_begin(r->table);
        if (e != ERR_OK)
            return e;
        e = read_chunk(r, k, objid, (uint32_t)n, at, to, to_bytes, out_bytes);
        table_read_end(r->table);
    }
    if (e == ERR_CORRUPT) {
        count_corrupt();
        store__ask_removal(r->store, NULL, objid);
    }
    if (e != ERR_OK || *out_bytes > 0)
        return e;
    if (at >= k->bytes)
        return ERR_GONE;
    left = k->bytes - at;
    *out_bytes = left < to_bytes ? left : to_bytes;
    memcpy(to, k->p + STORE_CHECKSUM_BYTES + at, *out_bytes);
    return ERR_OK;
}

static bool is_kept(const struct store_reader *r, uint64_t objid, uint64_t n)
{
    const struct kept_chunk *k = &r->kept[(objid + n) % KEPT_CHUNKS];

    return k->objid == objid && k->n == n;
}

static enum err in_memory(void *user, struct slice part)
{
    (void)user;
    return table_is_resident(part) ? ERR_OK : ERR_AGAIN;
}

bool store_is_resident(struct store_reader *r, uint64_t objid, uint64_t offset, uint64_t bytes)
{
    uint64_t n = offset / LIMIT_CHUNK_BYTES, last;
    bool resident = true;

    if (bytes == 0)
        return true;
    last = (offset + bytes - 1) / LIMIT_CHUNK_BYTES;
    if (last > UINT32_MAX || (n == last && is_kept(r, objid, n)))
        return last <= UINT32_MAX;
    if (table_read_begin(r->table) != ERR_OK)
        return false;
    for (; resident && n <= last; n++) {
        char key[STORE_CHUNK_KEY_BYTES];
        struct slice value;
        enum err e;

        if (is_kept(r, objid, n))
            continue;
        e = table_get(r->table, STORE_TABLE_CHUNK, store_chunk_key(objid, (uint32_t)n, key),
                      &value);
        resident = e == ERR_OK ? table_is_resident(value)
                               : e == ERR_NOT_FOUND &&
                                     each_part(r, objid, (uint32_t)n, in_memory, NULL) == ERR_OK;
    }
    table_read_end(r->table);
    return resident;
}

/* ---- walking ---- */

struct walk {
    struct slice host;
    bool (*row)(void *user, const struct store_row *);
    void *user;
    char at[STORE_ROW_KEY_BYTES]; /* the last row seen */
    bool has_at;
};

/* False to stop.  Rows that cannot be read, and those of another host with the same hash, are
 * passed over. */
static bool show(struct store_reader *r, struct walk *w, struct slice value)
{
    struct store_object o;
    struct store_row row;

    if (value.n > LIMIT_RECORD_BYTES || table_copy(r->row, value) != ERR_OK ||
        store_object_decode((struct slice){r->row, value.n}, &o) != ERR_OK ||
        !slice_eq(o.key.host, w->host))
        return true;
    row = (struct store_row){.key = o.key,
                             .objid = o.objid,
                             .stamp = o.stamp,
                             .verdict = store__verdict(r->store, &o.stamp),
                             .is_marker = o.is_marker,
                             .head = o.head,
                             .body_bytes = o.body_bytes};
    return w->row(w->user, &row);
}

/* Some rows in one transaction; ERR_NOT_FOUND when that was all. */
static enum err walk_some(struct store_reader *r, struct walk *w, struct slice host_key)
{
    struct slice key, value;
    enum err e =
        table_seek(r->table, STORE_TABLE_OBJ,
                   w->has_at ? (struct slice){w->at, sizeof(w->at)} : host_key, &key, &value);

    if (e == ERR_OK && w->has_at && slice_eq(key, (struct slice){w->at, sizeof(w->at)}))
        e = table_next(r->table, STORE_TABLE_OBJ, &key, &value);
    for (int i = 0; e == ERR_OK && i < WALK_ROWS_AT_ONCE; i++) {
        if (key.n != sizeof(w->at) || !slice_starts_with(key, host_key))
            return ERR_NOT_FOUND;
        memcpy(w->at, key.p, sizeof(w->at));
        w->has_at = true;
        if (!show(r, w, value))
            return ERR_NOT_FOUND;
        e = table_next(r->table, STORE_TABLE_OBJ, &key, &value);
    }
    return e;
}

enum err store_walk(struct store_reader *r, struct slice host,
                    bool (*row)(void *user, const struct store_row *), void *user)
{
    char host_bytes[STORE_HOST_KEY_BYTES];
    struct slice host_key = store_host_key(&r->store->secret, host, host_bytes);
    struct walk w = {.host = host, .row = row, .user = user};
    enum err e = ERR_OK;

    if (r->row == NULL)
        r->row = malloc(LIMIT_RECORD_BYTES);
    if (r->row == NULL)
        return ERR_NOMEM;
    while (e == ERR_OK) {
        e = table_read_begin(r->table);
        if (e != ERR_OK)
            return e;
        e = walk_some(r, &w, host_key);
        table_read_end(r->table);
    }
    return e == ERR_NOT_FOUND ? ERR_OK : e;
}
