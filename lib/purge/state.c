/* Opening: the node's identity, the boot counter, and what memory holds of the disk. */
#include "purge/purge.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "purge/purge_priv.h"

#define KEY_IDENTITY SLICE("identity")
#define KEY_CLOCK    SLICE("clock")

enum { BOOTS_MAX = (1 << 24) - 1, FIRST_EPOCH = 1 };

static const char *const table_names[] = {"state", "journal", "rows", NULL};

/* The journal gets less than half of the map: rows of two generations stand beside it after a
 * restart of the table. */
static const struct purge_limits default_limits = {
    .scopes_max = LIMIT_PURGE_SCOPES,
    .records_max = LIMIT_JOURNAL_RECORDS,
    .journal_bytes_max = LIMIT_CTL_MAP_BYTES / 8 * 3,
    .map_bytes = LIMIT_CTL_MAP_BYTES,
    .boots_max = BOOTS_MAX,
};

/* The directory's own entry for a new file must be on the disk before a record in that file is
 * acknowledged. */
static enum err sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum err e;

    if (fd < 0)
        return ERR_IO;
    e = fsync(fd) == 0 ? ERR_OK : ERR_IO;
    close(fd);
    return e;
}

static enum err sync_parent(const char *dir)
{
    size_t n = strlen(dir);
    char *parent = malloc(n + sizeof("/.."));
    enum err e;

    if (parent == NULL)
        return ERR_NOMEM;
    memcpy(parent, dir, n);
    memcpy(parent + n, "/..", sizeof("/.."));
    e = sync_dir(parent);
    free(parent);
    return e;
}

static enum err open_table(struct purge *p, const char *dir)
{
    struct table_options opt = {
        .dir = dir, .bytes_max = p->limits.map_bytes, .tables = table_names, .sync = TABLE_DURABLE};
    enum err e = file_make_dir(dir);

    if (e == ERR_OK)
        e = table_open(&opt, &p->table);
    if (e == ERR_OK)
        e = sync_dir(dir);
    if (e == ERR_OK)
        e = sync_parent(dir);
    /*
     * After kill -9 between a commit's write and its flush the last record is in the page cache
     * only.  Births must not be built on it: with the power gone, its position would be given to
     * another purge.
     */
    if (e == ERR_OK)
        e = table_sync(p->table);
    return e;
}

enum err purge__put_identity(struct table_write *w, const struct purge_identity *identity)
{
    unsigned char value[PURGE_IDENTITY_BYTES];

    purge_identity_encode(identity, value);
    return table_put(w, PURGE_TABLE_STATE, KEY_IDENTITY,
                     (struct slice){(const char *)value, sizeof(value)});
}

enum err purge__put_clock(struct table_write *w, const struct purge_clock *c)
{
    unsigned char value[PURGE_CLOCK_BYTES];

    purge_clock_encode(c, value);
    return table_put(w, PURGE_TABLE_STATE, KEY_CLOCK,
                     (struct slice){(const char *)value, sizeof(value)});
}

/* A value out of the map, under the guard; larger than anything that was written is not ours. */
static enum err copy_out(void *to, size_t to_bytes, struct slice from, struct slice *out)
{
    enum err e = from.n > to_bytes ? ERR_CORRUPT : table_copy(to, from);

    if (e == ERR_OK)
        *out = (struct slice){to, from.n};
    return e;
}

static enum err draw_identity(struct purge *p, struct table_write *w)
{
    static const unsigned all[] = {PURGE_TABLE_STATE, PURGE_TABLE_JOURNAL, PURGE_TABLE_ROWS};
    struct slice key, value;

    /* No identity beside records or rows is a loss, not a new node: positions would be given again.
     */
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        enum err e = table_write_seek(w, all[i], (struct slice){NULL, 0}, &key, &value);

        if (e != ERR_NOT_FOUND)
            return e == ERR_OK ? ERR_CORRUPT : e;
    }
    digest_random(&p->identity, sizeof(p->identity));
    p->clock = (struct purge_clock){.epoch = FIRST_EPOCH, .first_n = 1};
    return purge__put_identity(w, &p->identity);
}

static enum err read_state(struct purge *p, struct table_write *w)
{
    unsigned char bytes[PURGE_IDENTITY_BYTES];
    struct slice value;
    enum err e = table_write_get(w, PURGE_TABLE_STATE, KEY_IDENTITY, &value);

    if (e == ERR_NOT_FOUND)
        return draw_identity(p, w);
    if (e == ERR_OK)
        e = copy_out(bytes, sizeof(bytes), value, &value);
    if (e == ERR_OK)
        e = purge_identity_decode(value, &p->identity);
    if (e == ERR_OK)
        e = table_write_get(w, PURGE_TABLE_STATE, KEY_CLOCK, &value);
    if (e == ERR_OK)
        e = copy_out(bytes, sizeof(bytes), value, &value);
    if (e == ERR_OK)
        e = purge_clock_decode(value, &p->clock);
    return e == ERR_NOT_FOUND ? ERR_CORRUPT : e;
}

/* All records, in one transaction: a journal is deleted whole, or not. */
static enum err clear_journal(struct table_write *w)
{
    for (;;) {
        unsigned char own[PURGE_JOURNAL_KEY_BYTES]; /* the map's key dies with the change */
        struct slice key, value;
        uint64_t at;
        enum err e =
            table_write_seek(w, PURGE_TABLE_JOURNAL, (struct slice){NULL, 0}, &key, &value);

        if (e != ERR_OK)
            return e == ERR_NOT_FOUND ? ERR_OK : e;
        if (!purge_journal_key_parse(key, &at))
            return ERR_CORRUPT;
        e = table_delete(w, PURGE_TABLE_JOURNAL, purge_journal_key(at, own));
        if (e != ERR_OK)
            return e;
    }
}

/*
 * A node that owned its journal is to follow another's, or the other way round.  Its numbers would
 * mean other things from now on, so nothing of them stays: under another ctl id the store begins
 * anew.  A follower begins in epoch 0: what it fetches before it meets its owner is dead once it
 * does.  Who stops following does not go on with the owner's numbers: it is a cluster of its own.
 */
static enum err change_sides(struct purge *p, struct table_write *w)
{
    struct purge_clock *c = &p->clock;
    bool was_used = c->head_n > 0 || c->boot > 0;
    enum err e;

    if (was_used)
        log_warn("purge: this node %s; its journal and its store begin anew",
                 c->follows ? "owns its journal from now on" : "follows another node's journal");
    digest_random(&p->identity, sizeof(p->identity));
    *c = (struct purge_clock){.epoch = c->follows ? (uint16_t)(c->epoch + 1) : 0,
                              .follows = !c->follows,
                              .boot = c->boot,
                              .generation = c->generation + 1,
                              .first_n = 1};
    c->floor = position_make(c->epoch, 0);
    if (c->epoch == 0 && !c->follows)
        return ERR_LIMIT; /* 65,535 epochs have been used up */
    e = clear_journal(w);
    return e == ERR_OK ? purge__put_identity(w, &p->identity) : e;
}

static enum err count_boot(struct purge *p, bool follows)
{
    struct table_write *w = NULL;
    enum err e = table_write_begin(p->table, &w);

    if (e == ERR_OK)
        e = read_state(p, w);
    if (e == ERR_OK && p->clock.boot >= p->limits.boots_max) {
        /* Object ids would come again; under another ctl id the store begins anew, and they may. */
        p->clock.boot = 0;
        digest_random(&p->identity.ctl_id, sizeof(p->identity.ctl_id));
        e = purge__put_identity(w, &p->identity);
    }
    if (e == ERR_OK && p->clock.follows != follows)
        e = change_sides(p, w);
    if (e == ERR_OK) {
        if (p->clock.epoch_tag == 0 && !follows)
            digest_random(&p->clock.epoch_tag, sizeof(p->clock.epoch_tag));
        p->clock.boot++;
        e = purge__put_clock(w, &p->clock);
    }
    if (e == ERR_OK)
        return table_commit(&w);
    table_abort(&w);
    return e;
}

static enum err load_row(struct purge *p, struct slice key, struct slice value)
{
    unsigned char bytes[PURGE_ROW_BYTES_MAX];
    struct purge_row row;
    uint32_t generation;
    uint64_t id;
    enum err e;

    if (!purge_row_key_parse(key, &generation, &id) || generation > p->clock.generation)
        return ERR_CORRUPT;
    e = copy_out(bytes, sizeof(bytes), value, &value);
    if (e == ERR_OK)
        e = purge_row_decode(value, &row);
    if (e == ERR_OK && (row.id != id || row.hard > p->head || row.soft > p->head))
        e = ERR_CORRUPT;
    if (e == ERR_OK)
        e = scopes_reserve(&p->scopes, 2);
    if (e == ERR_OK)
        purge__raise(p, &row);
    return e;
}

static enum err load_rows(struct purge *p, struct table_reader *r)
{
    unsigned char first[PURGE_ROW_KEY_BYTES];
    struct slice key, value;
    enum err e =
        table_seek(r, PURGE_TABLE_ROWS, purge_row_key(p->clock.generation, 0, first), &key, &value);

    while (e == ERR_OK) {
        e = load_row(p, key, value);
        if (e == ERR_OK)
            e = table_next(r, PURGE_TABLE_ROWS, &key, &value);
    }
    return e == ERR_NOT_FOUND ? ERR_OK : e;
}

static enum err load_record(struct purge *p, uint64_t position, struct slice key,
                            struct slice value)
{
    unsigned char bytes[PURGE_RECORD_BYTES_MAX];
    struct purge_record record;
    uint64_t at;
    enum err e;

    if (!purge_journal_key_parse(key, &at) || at != position)
        return ERR_CORRUPT;
    e = copy_out(bytes, sizeof(bytes), value, &value);
    if (e == ERR_OK)
        e = purge_record_decode(value, &record);
    if (e == ERR_OK && record.position != position)
        e = ERR_CORRUPT;
    /* a follower may have the first half of a request: the answer lies ahead then */
    if (e == ERR_OK && record.answer > p->head && !p->clock.follows)
        e = ERR_CORRUPT;
    if (e == ERR_OK && position == p->head) {
        if (p->clock.head_id == 0)
            p->clock.head_id = record.nonce; /* the clock is of version 1 */
        if (p->clock.head_id != record.nonce)
            e = ERR_CORRUPT;
    }
    if (e == ERR_OK)
        p->ids[position_n(position) % PURGE_IDS] = record.nonce;
    if (e == ERR_OK)
        recent_add(&p->recent, record.request_id, record.fingerprint, record.answer);
    return e;
}

/* The end of the journal, which must be contiguous up to the head and end there. */
static enum err load_records(struct purge *p, struct table_reader *r)
{
    unsigned char from[PURGE_JOURNAL_KEY_BYTES];
    uint64_t n = p->clock.first_n, head_n = p->clock.head_n;
    struct slice key, value;
    enum err e;

    if (head_n - n >= RECENT_RECORDS && n <= head_n)
        n = head_n - RECENT_RECORDS + 1;
    p->ids_from = n <= head_n ? n : head_n;
    e = table_seek(r, PURGE_TABLE_JOURNAL,
                   purge_journal_key(position_make(p->clock.epoch, n), from), &key, &value);
    for (; n <= head_n && e == ERR_OK; n++) {
        e = load_record(p, position_make(p->clock.epoch, n), key, value);
        if (e == ERR_OK)
            e = table_next(r, PURGE_TABLE_JOURNAL, &key, &value);
    }
    /* The end of the table must come with the head: not before, not behind. */
    if (e == ERR_NOT_FOUND && n == head_n + 1)
        return ERR_OK;
    return e == ERR_OK || e == ERR_NOT_FOUND ? ERR_CORRUPT : e;
}

static enum err load(struct purge *p)
{
    struct table_reader *r = NULL;
    enum err e = table_reader_new(p->table, &r);

    if (e == ERR_OK)
        e = table_read_begin(r);
    if (e == ERR_OK) {
        e = load_rows(p, r);
        if (e == ERR_OK)
            e = load_records(p, r);
        table_read_end(r);
    }
    table_reader_free(r);
    return e;
}

enum err purge__open(const char *dir, const struct purge_limits *limits, struct purge **out)
{
    return purge__open_as(dir, limits, false, out);
}

enum err purge__open_as(const char *dir, const struct purge_limits *limits, bool follows,
                        struct purge **out)
{
    struct purge *p = calloc(1, sizeof(*p));
    enum err e;

    CHECK(dir != NULL);
    CHECK(limits->boots_max > 0 && limits->boots_max <= BOOTS_MAX);
    CHECK(limits->scopes_max > 0 && limits->records_max > 0);
    if (p == NULL)
        return ERR_NOMEM;
    p->limits = *limits;
    pthread_mutex_init(&p->position_lock, NULL);
    p->follows = follows;
    p->has_garbage = p->has_old_records = true; /* looked for at the first append */
    e = scopes_init(&p->scopes);
    if (e == ERR_OK)
        e = open_table(p, dir);
    if (e == ERR_OK)
        e = count_boot(p, follows);
    if (e == ERR_OK) {
        p->head = position_make(p->clock.epoch, p->clock.head_n);
        p->first = position_make(p->clock.epoch, p->clock.first_n);
        p->floor = p->clock.floor;
        p->generation = p->clock.generation;
        p->cluster = p->identity.cluster_id;
        e = load(p);
    }
    if (e != ERR_OK) {
        purge_close(p);
        return e;
    }
    p->ids[p->clock.head_n % PURGE_IDS] = p->clock.head_id;
    p->position = (struct purge_position){.cluster = p->identity.cluster_id,
                                          .epoch = p->clock.epoch,
                                          .epoch_tag = p->clock.epoch_tag,
                                          .n = p->clock.head_n,
                                          .id = p->clock.head_id};
    *out = p;
    return ERR_OK;
}

enum err purge_open_follower(const char *dir, struct purge **out)
{
    return purge__open_as(dir, &default_limits, true, out);
}

enum err purge_open(const char *dir, struct purge **out)
{
    return purge__open(dir, &default_limits, out);
}

void purge_close(struct purge *p)
{
    if (p == NULL)
        return;
    table_close(p->table);
    scopes_release(&p->scopes);
    pthread_mutex_destroy(&p->position_lock);
    free(p);
}

uint64_t purge_cluster_id(const struct purge *p)
{
    return atomic_load_explicit(&p->cluster, memory_order_relaxed);
}

uint64_t purge_ctl_id(const struct purge *p)
{
    return p->identity.ctl_id;
}

uint32_t purge_boot(const struct purge *p)
{
    return p->clock.boot;
}

uint64_t purge_head(const struct purge *p)
{
    /* Acquire: pairs with the release at the end of an append; the table holds all up to here. */
    return atomic_load_explicit(&p->head, memory_order_acquire);
}

uint64_t purge_floor(const struct purge *p)
{
    /* Acquire: pairs with the release when the table starts anew. */
    return atomic_load_explicit(&p->floor, memory_order_acquire);
}

bool purge_follows(const struct purge *p)
{
    return p->follows;
}

void purge_position(struct purge *p, struct purge_position *out)
{
    pthread_mutex_lock(&p->position_lock);
    *out = p->position;
    pthread_mutex_unlock(&p->position_lock);
}

enum purge_knows purge_knows(struct purge *p, const struct purge_position *theirs)
{
    enum purge_knows knows = PURGE_UNKNOWN;

    pthread_mutex_lock(&p->position_lock);
    if (theirs->epoch == 0 || !purge_position_is_of(theirs, &p->position))
        knows = PURGE_UNKNOWN;
    else if (theirs->n > p->position.n)
        knows = PURGE_IS_BEHIND;
    else if (theirs->n == 0 || (theirs->n >= p->ids_from && p->position.n - theirs->n < PURGE_IDS &&
                                p->ids[theirs->n % PURGE_IDS] == theirs->id))
        knows = PURGE_HAS;
    pthread_mutex_unlock(&p->position_lock);
    return knows;
}

void purge_on_head(struct purge *p, void (*call)(void *user), void *user)
{
    p->on_head = call;
    p->on_head_user = user;
}

void purge_heard(struct purge *p, int64_t now_ms)
{
    /* Release: pairs with purge_has_lease(); what was applied before is seen with it. */
    atomic_store_explicit(&p->heard_ms, now_ms > 0 ? now_ms : 1, memory_order_release);
}

bool purge_was_heard(const struct purge *p)
{
    return !p->follows || atomic_load_explicit(&p->heard_ms, memory_order_acquire) != 0;
}

bool purge_has_lease(const struct purge *p, int64_t now_ms, int64_t grace_ms)
{
    int64_t heard_ms = atomic_load_explicit(&p->heard_ms, memory_order_acquire);

    return !p->follows || (heard_ms != 0 && now_ms - heard_ms <= grace_ms);
}

void purge_stat(struct purge *p, struct purge_stat *out)
{
    struct scopes_mark all = scopes_mark_of(&p->scopes.all);

    out->head = purge_head(p);
    out->first = atomic_load_explicit(&p->first, memory_order_relaxed);
    out->scopes = scopes_count(&p->scopes) + (all.hard != 0 || all.soft != 0);
}
