/* Appending: one durable transaction, then memory, then the head. */
#include "purge/purge.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "purge/purge_priv.h"

enum {
    TRIM_STEP = 64, /* records beside those that the append itself adds: it may take a little
                       longer, not a lot */
    TRIM_AHEAD_STEP = 4096, /* where the bytes ran away: a transaction of its own */
    SWEEP_STEP = 256,       /* rows of the older generation */
    PAGE_BYTES = 4096,
    OVERFLOW_BYTES = 2000, /* about: larger values get pages of their own */
    NODE_BYTES = 32,       /* key and bookkeeping of a smaller one */
};

/* One append on its way. */
struct append {
    const struct purge_scope *scopes;
    size_t count;
    bool soft;
    bool restart; /* `scopes` is everything, and the table starts anew */
    struct slice request_id;
    uint64_t fingerprint;
    struct purge_clock clock;            /* as it will be */
    const struct purge_record *received; /* of another node, one per scope; NULL: they are ours */
    uint64_t ids[PURGE_SCOPES_MAX];      /* of the records */
};

const char *purge_kind_name(enum purge_kind k)
{
    static const char *const name[PURGE_KINDS] = {"url", "prefix", "host", "tag", "all"};

    CHECK((unsigned)k < PURGE_KINDS);
    return name[k];
}

uint64_t purge__record_cost(size_t value_bytes)
{
    if (value_bytes < OVERFLOW_BYTES)
        return value_bytes + NODE_BYTES;
    return (value_bytes + NODE_BYTES + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES + NODE_BYTES;
}

static bool is_valid(const struct purge_scope *scopes, size_t count, struct slice request_id)
{
    if (count == 0 || count > PURGE_SCOPES_MAX || request_id.n > PURGE_REQUEST_ID_BYTES_MAX)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!purge_scope_is_valid(&scopes[i]))
            return false;
    return true;
}

static uint64_t fingerprint_of(const struct purge_scope *scopes, size_t count, bool soft)
{
    uint64_t part[3] = {soft, 0, 0};

    for (size_t i = 0; i < count; i++) {
        part[0] = digest_64((struct slice){(const char *)part, sizeof(part)});
        part[1] = (uint64_t)scopes[i].kind;
        part[2] = digest_64(scopes[i].text);
    }
    return digest_64((struct slice){(const char *)part, sizeof(part)});
}

static uint64_t id_of(const struct purge *p, const struct purge_scope *s)
{
    return purge__scope_id(p, s->kind, s->text);
}

static bool is_new_scope(const struct purge *p, const struct purge_scope *s)
{
    struct scopes_mark m;

    if (s->kind == PURGE_ALL)
        return false;
    m = scopes_find(&p->scopes, id_of(p, s));
    return m.hard == 0 && m.soft == 0;
}

/* Would the table be over its limit?  A scope named twice counts twice: that errs on the side of
 * starting anew. */
static bool is_over_limit(const struct purge *p, const struct purge_scope *scopes, size_t count)
{
    uint64_t more = 0;

    for (size_t i = 0; i < count; i++)
        more += is_new_scope(p, &scopes[i]);
    return scopes_count(&p->scopes) + more > p->limits.scopes_max;
}

static struct purge_row row_of(const struct purge *p, const struct purge_scope *s,
                               struct scopes_mark m)
{
    return (struct purge_row){
        .id = id_of(p, s),
        .host_id = s->kind == PURGE_PREFIX ? purge__host_prefixes_id(p, purge_host_of(s->text)) : 0,
        .hard = m.hard,
        .soft = m.soft,
        .text_bytes = (uint16_t)s->text.n,
        .kind = s->kind,
        .label = s->kind == PURGE_TAG ? slice_head(s->text, PURGE_LABEL_BYTES_MAX)
                                      : (struct slice){NULL, 0},
    };
}

static struct scopes_mark mark_of(const struct append *a, size_t index, uint64_t position)
{
    bool soft = a->received != NULL ? a->received[index].soft : a->soft;

    return soft ? (struct scopes_mark){.soft = position} : (struct scopes_mark){.hard = position};
}

void purge__raise(struct purge *p, const struct purge_row *row)
{
    struct scopes_mark m = {.hard = row->hard, .soft = row->soft};

    if (row->kind == PURGE_ALL) {
        scopes_raise_slot(&p->scopes.all, m);
        return;
    }
    if (row->kind == PURGE_TAG)
        scopes_raise_slot(&p->scopes.any_tag, m);
    scopes_raise(&p->scopes, row->id, m);
    if (row->kind == PURGE_PREFIX) /* after the mark: who sees the length finds it */
        scopes_add_length(&p->scopes, row->host_id, row->text_bytes);
}

static enum err put_record(struct append *a, struct table_write *w, size_t index)
{
    unsigned char key[PURGE_JOURNAL_KEY_BYTES], value[PURGE_RECORD_BYTES_MAX];
    const struct purge_scope *s = &a->scopes[index];
    uint64_t n = a->clock.head_n - a->count + 1 + index;
    struct purge_record record = {.position = position_make(a->clock.epoch, n),
                                  .answer = position_make(a->clock.epoch, a->clock.head_n),
                                  .fingerprint = a->fingerprint,
                                  .at_ms = clock_now().wall_ms,
                                  .kind = s->kind,
                                  .soft = a->soft,
                                  .request_id = a->request_id,
                                  .text = s->text};
    size_t bytes;
    enum err e;

    if (a->received != NULL)
        record = a->received[index];
    else
        digest_random(&record.nonce, sizeof(record.nonce));
    a->ids[index] = a->clock.head_id = record.nonce;
    bytes = purge_record_encode(&record, value);
    a->clock.journal_bytes += purge__record_cost(bytes);
    e = table_append(w, PURGE_TABLE_JOURNAL, purge_journal_key(record.position, key),
                     (struct slice){(const char *)value, bytes});
    /* Open has seen that the journal ends with the head; what stands behind it now is not ours. */
    return e == ERR_INVALID ? ERR_CORRUPT : e;
}

/*
 * The row's marks so far, as this transaction sees them: an earlier record of the same batch may
 * have been of the same scope, and memory does not know of that yet.
 */
static enum err marks_so_far(struct table_write *w, struct slice key, struct scopes_mark *out)
{
    unsigned char bytes[PURGE_ROW_BYTES_MAX];
    struct slice value;
    struct purge_row row;
    enum err e = table_write_get(w, PURGE_TABLE_ROWS, key, &value);

    *out = (struct scopes_mark){0, 0};
    if (e == ERR_NOT_FOUND)
        return ERR_OK;
    if (e == ERR_OK)
        e = value.n > sizeof(bytes) ? ERR_CORRUPT : table_copy(bytes, value);
    if (e == ERR_OK)
        e = purge_row_decode((struct slice){(const char *)bytes, value.n}, &row);
    if (e == ERR_OK)
        *out = (struct scopes_mark){.hard = row.hard, .soft = row.soft};
    return e;
}

static enum err put_row(const struct purge *p, const struct append *a, struct table_write *w,
                        size_t index)
{
    unsigned char key[PURGE_ROW_KEY_BYTES], value[PURGE_ROW_BYTES_MAX];
    const struct purge_scope *s = &a->scopes[index];
    uint64_t n = a->clock.head_n - a->count + 1 + index;
    struct scopes_mark m, raised = mark_of(a, index, position_make(a->clock.epoch, n));
    struct slice at = purge_row_key(a->clock.generation, id_of(p, s), key);
    struct purge_row row;
    size_t bytes;
    enum err e = marks_so_far(w, at, &m);

    if (e != ERR_OK)
        return e;
    if (raised.hard != 0)
        m.hard = raised.hard;
    else
        m.soft = raised.soft;
    row = row_of(p, s, m);
    bytes = purge_row_encode(&row, value);
    return table_put(w, PURGE_TABLE_ROWS, at, (struct slice){(const char *)value, bytes});
}

static bool is_journal_over(const struct purge *p, const struct purge_clock *c)
{
    return c->first_n <= c->head_n && (c->head_n - c->first_n + 1 > p->limits.records_max ||
                                       c->journal_bytes > p->limits.journal_bytes_max);
}

/* Delete the oldest records while the journal is over its limits, at most `steps`. */
static enum err trim(const struct purge *p, struct purge_clock *c, struct table_write *w,
                     size_t steps)
{
    for (; steps > 0 && is_journal_over(p, c); steps--) {
        unsigned char key[PURGE_JOURNAL_KEY_BYTES];
        struct slice k = purge_journal_key(position_make(c->epoch, c->first_n), key), value;
        uint64_t cost;
        enum err e = table_write_get(w, PURGE_TABLE_JOURNAL, k, &value);

        if (e != ERR_OK)
            return e == ERR_NOT_FOUND ? ERR_CORRUPT : e;
        cost = purge__record_cost(value.n);
        e = table_delete(w, PURGE_TABLE_JOURNAL, k);
        if (e != ERR_OK)
            return e;
        c->first_n++;
        c->journal_bytes -= cost < c->journal_bytes ? cost : c->journal_bytes;
    }
    if (c->first_n > c->head_n)
        c->journal_bytes = 0; /* a sum that went wrong ends here */
    return ERR_OK;
}

/*
 * Delete records below the first, which a jump has left behind, at most `steps`; *more says whether
 * some may be left.
 */
static enum err sweep_records(const struct purge_clock *c, struct table_write *w, size_t steps,
                              bool *more)
{
    *more = true;
    for (; steps > 0; steps--) {
        unsigned char own[PURGE_JOURNAL_KEY_BYTES]; /* the map's key dies with the change */
        struct slice key, value;
        uint64_t at;
        enum err e =
            table_write_seek(w, PURGE_TABLE_JOURNAL, (struct slice){NULL, 0}, &key, &value);

        if (e != ERR_OK && e != ERR_NOT_FOUND)
            return e;
        if (e == ERR_OK && !purge_journal_key_parse(key, &at))
            return ERR_CORRUPT;
        if (e == ERR_NOT_FOUND || at >= position_make(c->epoch, c->first_n)) {
            *more = false;
            return ERR_OK;
        }
        e = table_delete(w, PURGE_TABLE_JOURNAL, purge_journal_key(at, own));
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

/* Delete rows of older generations, at most `steps`; *more says whether some may be left. */
static enum err sweep_rows(const struct append *a, struct table_write *w, size_t steps, bool *more)
{
    *more = true;
    for (; steps > 0; steps--) {
        unsigned char own[PURGE_ROW_KEY_BYTES]; /* the map's key dies with the change */
        struct slice key, value;
        uint32_t generation;
        uint64_t id;
        enum err e = table_write_seek(w, PURGE_TABLE_ROWS, (struct slice){NULL, 0}, &key, &value);

        if (e != ERR_OK && e != ERR_NOT_FOUND)
            return e;
        if (e == ERR_OK && !purge_row_key_parse(key, &generation, &id))
            return ERR_CORRUPT;
        if (e == ERR_NOT_FOUND || generation >= a->clock.generation) {
            *more = false;
            return ERR_OK;
        }
        e = table_delete(w, PURGE_TABLE_ROWS, purge_row_key(generation, id, own));
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

/* Bytes that ran away are trimmed before, on their own: one large request must not fill the map. */
static enum err trim_ahead(struct purge *p)
{
    while (p->clock.journal_bytes > p->limits.journal_bytes_max + p->limits.journal_bytes_max / 8) {
        struct purge_clock clock = p->clock;
        struct table_write *w = NULL;
        enum err e = table_write_begin(p->table, &w);

        if (e == ERR_OK)
            e = trim(p, &clock, w, TRIM_AHEAD_STEP);
        if (e == ERR_OK)
            e = purge__put_clock(w, &clock);
        if (e == ERR_OK)
            e = table_commit(&w);
        else
            table_abort(&w);
        if (e != ERR_OK)
            return e;
        p->clock = clock;
        atomic_store_explicit(&p->first, position_make(clock.epoch, clock.first_n),
                              memory_order_relaxed);
    }
    return ERR_OK;
}

/* Everything of this append in one transaction, on the disk when it returns ERR_OK. */
static enum err write_down(struct purge *p, struct append *a, bool *more_garbage,
                           bool *more_records)
{
    struct table_write *w = NULL;
    enum err e = table_write_begin(p->table, &w);

    for (size_t i = 0; i < a->count && e == ERR_OK; i++) {
        e = put_record(a, w, i);
        if (e == ERR_OK)
            e = put_row(p, a, w, i);
    }
    if (e == ERR_OK)
        e = trim(p, &a->clock, w, a->count + TRIM_STEP);
    *more_records = false;
    if (e == ERR_OK && p->has_old_records)
        e = sweep_records(&a->clock, w, a->count + SWEEP_STEP, more_records);
    *more_garbage = false;
    if (e == ERR_OK && (p->has_garbage || a->restart))
        e = sweep_rows(a, w, a->count + SWEEP_STEP, more_garbage);
    if (e == ERR_OK)
        e = purge__put_clock(w, &a->clock);
    if (e == ERR_OK)
        return table_commit(&w);
    table_abort(&w);
    return e;
}

void purge__show_clock(struct purge *p, const struct purge_clock *clock, const uint64_t *ids,
                       size_t ids_count)
{
    p->clock = *clock;
    atomic_store_explicit(&p->first, position_make(clock->epoch, clock->first_n),
                          memory_order_relaxed);
    /* Release: pairs with purge_head(); whoever sees the new head finds its scopes in the table. */
    atomic_store_explicit(&p->head, position_make(clock->epoch, clock->head_n),
                          memory_order_release);
    /* Behind the head: who reads this position and judges afterwards judges up to it. */
    pthread_mutex_lock(&p->position_lock);
    if (ids_count == 0)
        p->ids_from = clock->head_n;
    for (size_t i = 0; i < ids_count; i++)
        p->ids[(clock->head_n - ids_count + 1 + i) % PURGE_IDS] = ids[i];
    p->ids[clock->head_n % PURGE_IDS] = clock->head_id;
    p->position = (struct purge_position){.cluster = p->identity.cluster_id,
                                          .epoch = clock->epoch,
                                          .epoch_tag = clock->epoch_tag,
                                          .n = clock->head_n,
                                          .id = clock->head_id};
    pthread_mutex_unlock(&p->position_lock);
    if (p->on_head != NULL)
        p->on_head(p->on_head_user);
}

/*
 * Rule 1: what is on the disk comes into force: the table first, the head last.  Nothing here can
 * fail: between the commit and the head there is no way back.
 */
static void put_in_force(struct purge *p, const struct append *a)
{
    static const enum metric counter[PURGE_KINDS] = {METRIC_PURGES_URL, METRIC_PURGES_PREFIX,
                                                     METRIC_PURGES_HOST, METRIC_PURGES_TAG,
                                                     METRIC_PURGES_ALL};

    for (size_t i = 0; i < a->count; i++) {
        uint64_t position = position_make(a->clock.epoch, a->clock.head_n - a->count + 1 + i);
        struct purge_row row = row_of(p, &a->scopes[i], mark_of(a, i, position));

        purge__raise(p, &row);
        if (a->received != NULL)
            continue;
        recent_add(&p->recent, a->request_id, a->fingerprint,
                   position_make(a->clock.epoch, a->clock.head_n));
        metrics_add(counter[a->scopes[i].kind], 1);
    }
    if (a->restart) {
        /* Release: pairs with purge_floor(); whoever misses a scope that is taken out below sees
         * the floor moved. */
        atomic_store_explicit(&p->floor, a->clock.floor, memory_order_release);
        scopes_restart(&p->scopes);
        atomic_store_explicit(&p->generation, a->clock.generation, memory_order_relaxed);
    }
    purge__show_clock(p, &a->clock, a->ids, a->count);
}

static enum err append(struct purge *p, struct append *a)
{
    static const struct purge_scope everything = {.kind = PURGE_ALL};
    bool more_garbage, more_records;
    enum err e;

    if (POSITION_N_MAX - p->clock.head_n < a->count)
        return ERR_LIMIT;
    a->restart = a->received == NULL && is_over_limit(p, a->scopes, a->count);
    if (a->restart) {
        a->scopes = &everything;
        a->count = 1;
        a->soft = false; /* hard ones are forgotten, so what takes their place is hard */
    }
    e = scopes_reserve(&p->scopes, 2 * a->count); /* a prefix takes two */
    if (e == ERR_OK)
        e = trim_ahead(p);
    if (e != ERR_OK)
        return e;
    a->clock = p->clock;
    a->clock.head_n += a->count;
    if (a->restart) {
        a->clock.generation++;
        a->clock.floor = position_make(a->clock.epoch, a->clock.head_n);
    }
    e = write_down(p, a, &more_garbage, &more_records);
    if (e != ERR_OK)
        return e;
    put_in_force(p, a);
    p->has_garbage = more_garbage;
    p->has_old_records = more_records;
    if (a->restart)
        log_warn(
            "purge: more than %llu scopes: everything has been purged instead, and the table of "
            "scopes starts anew; purge by tag or prefix rather than by single URLs",
            (unsigned long long)p->limits.scopes_max);
    return ERR_OK;
}

enum err purge_append(struct purge *p, const struct purge_scope *scopes, size_t count, bool soft,
                      struct slice request_id, uint64_t *out_head)
{
    struct append a = {.scopes = scopes, .count = count, .soft = soft, .request_id = request_id};
    enum err e = ERR_INVALID;

    CHECK(!p->clock.follows); /* positions are the owner's to give */
    if (is_valid(scopes, count, request_id)) {
        a.fingerprint = fingerprint_of(scopes, count, soft);
        if (recent_find(&p->recent, request_id, a.fingerprint, out_head))
            return ERR_OK;
        e = append(p, &a);
    }
    if (e != ERR_OK) {
        metrics_add(METRIC_PURGE_FAILURES, 1);
        return e;
    }
    *out_head = position_make(a.clock.epoch, a.clock.head_n);
    return ERR_OK;
}

bool purge_is_repeated(const struct purge *p, const struct purge_scope *scopes, size_t count,
                       bool soft, struct slice request_id)
{
    return recent_find(&p->recent, request_id, fingerprint_of(scopes, count, soft), &(uint64_t){0});
}

enum err purge__append_received(struct purge *p, const struct purge_record *records, size_t count)
{
    struct purge_scope *scopes;
    struct append a = {.received = records, .count = count};
    enum err e;

    CHECK(count > 0 && count <= PURGE_SCOPES_MAX);
    scopes = malloc(count * sizeof(*scopes));
    if (scopes == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++)
        scopes[i] = (struct purge_scope){.kind = records[i].kind, .text = records[i].text};
    a.scopes = scopes;
    e = append(p, &a);
    free(scopes);
    return e;
}

bool purge__is_over_limit(const struct purge *p, const struct purge_record *records, size_t count)
{
    uint64_t more = 0;

    for (size_t i = 0; i < count; i++) {
        struct purge_scope s = {.kind = records[i].kind, .text = records[i].text};

        more += is_new_scope(p, &s);
    }
    return scopes_count(&p->scopes) + more > p->limits.scopes_max;
}
