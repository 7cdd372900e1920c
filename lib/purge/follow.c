#include "purge/follow.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/metrics.h"
#include "purge/purge_priv.h"
#include "purge/stream.h"

enum {
    BATCH_RECORDS = 256, /* of one transaction */
    /* whole frames of one reading and the beginning of the next */
    KEPT_BYTES_MAX = 1 << 20,
};

struct follow {
    struct purge *purge;
    struct buf kept; /* what came and is not a whole frame yet */
    bool has_begun;  /* the first head has come */
    struct purge_record batch[BATCH_RECORDS];
    size_t batched;
    void (*announced)(void *user, struct slice bytes); /* NULL: nobody wants to know */
    void *user;
};

/* ---- jumping ---- */

/* One transaction: the clock, and everything as the only scope of a new table. */
static enum err write_jump(struct purge *p, const struct purge_clock *c,
                           const struct purge_identity *identity, const struct purge_row *row)
{
    unsigned char key[PURGE_ROW_KEY_BYTES], value[PURGE_ROW_BYTES_MAX];
    size_t bytes = purge_row_encode(row, value);
    struct table_write *w = NULL;
    enum err e = table_write_begin(p->table, &w);

    if (e == ERR_OK)
        e = table_put(w, PURGE_TABLE_ROWS, purge_row_key(c->generation, row->id, key),
                      (struct slice){(const char *)value, bytes});
    if (e == ERR_OK && identity->cluster_id != p->identity.cluster_id)
        e = purge__put_identity(w, identity);
    if (e == ERR_OK)
        e = purge__put_clock(w, c);
    if (e == ERR_OK)
        return table_commit(&w);
    table_abort(&w);
    return e;
}

enum err purge__jump(struct purge *p, const struct purge_position *to)
{
    uint64_t at = purge_position_birth(to);
    struct purge_identity identity = p->identity;
    struct purge_clock c = p->clock;
    struct purge_row row = {.id = purge__scope_id(p, PURGE_ALL, (struct slice){NULL, 0}),
                            .hard = at,
                            .kind = PURGE_ALL};
    enum err e;

    CHECK(at > position_make(p->clock.epoch, p->clock.head_n));
    c.epoch = to->epoch;
    c.epoch_tag = to->epoch_tag;
    c.head_n = to->n;
    c.head_id = to->id;
    c.first_n = to->n + 1;
    c.journal_bytes = 0;
    c.generation++;
    c.floor = at;
    identity.cluster_id = to->cluster;
    e = write_jump(p, &c, &identity, &row);
    if (e != ERR_OK)
        return e;
    /* Rule 1: the table first, the head last; the floor before anything is taken out (rule 9). */
    purge__raise(p, &row);
    atomic_store_explicit(&p->floor, c.floor, memory_order_release);
    scopes_restart(&p->scopes);
    atomic_store_explicit(&p->generation, c.generation, memory_order_relaxed);
    p->identity = identity;
    atomic_store_explicit(&p->cluster, identity.cluster_id, memory_order_relaxed);
    p->has_garbage = p->has_old_records = true;
    purge__show_clock(p, &c, NULL, 0);
    return ERR_OK;
}

enum err purge_open_epoch(struct purge *p)
{
    struct purge_position to = {.cluster = p->identity.cluster_id,
                                .epoch = (uint16_t)(p->clock.epoch + 1)};
    enum err e;

    CHECK(!p->clock.follows);
    if (to.epoch == 0)
        return ERR_LIMIT;
    digest_random(&to.epoch_tag, sizeof(to.epoch_tag));
    e = purge__jump(p, &to);
    if (e == ERR_OK)
        log_warn("purge: epoch %u begins: everything stored before it is dead", to.epoch);
    return e;
}

/* ---- a stream ---- */

const char *follow_end_text(enum follow_end end)
{
    static const char *const text[] = {
        [FOLLOW_GOES_ON] = "it goes on",
        [FOLLOW_FOREIGN] = "it is the journal of another cluster: this node has joined one already",
        [FOLLOW_SMALLER] = "it is of a smaller epoch than this node has seen",
        [FOLLOW_DIVERGED] = "it does not go on where this node is",
        [FOLLOW_GARBAGE] = "it is no journal, or another version of one",
        [FOLLOW_FAILED] = "it could not be written to the disk",
    };

    CHECK((size_t)end < sizeof(text) / sizeof(text[0]));
    return text[end];
}

enum err follow_new(struct purge *p, struct follow **out)
{
    struct follow *f = calloc(1, sizeof(*f));

    CHECK(p->clock.follows);
    if (f == NULL)
        return ERR_NOMEM;
    f->purge = p;
    buf_init(&f->kept, KEPT_BYTES_MAX);
    *out = f;
    return ERR_OK;
}

void follow_free(struct follow *f)
{
    if (f == NULL)
        return;
    buf_release(&f->kept);
    free(f);
}

void follow_on_announcement(struct follow *f, void (*call)(void *user, struct slice bytes),
                            void *user)
{
    f->announced = call;
    f->user = user;
}

static enum follow_end end_of(enum err e)
{
    if (e == ERR_OK)
        return FOLLOW_GOES_ON;
    log_error("purge: what the owner purged cannot be applied: %s", err_name(e));
    return FOLLOW_FAILED;
}

static enum follow_end apply(struct follow *f)
{
    struct purge *p = f->purge;
    size_t count = f->batched;
    enum err e;

    f->batched = 0;
    if (count == 0)
        return FOLLOW_GOES_ON;
    if (purge__is_over_limit(p, f->batch, count)) {
        const struct purge_record *last = &f->batch[count - 1];
        struct purge_position to = p->position;

        log_warn("purge: too many scopes: everything here is dropped instead, and the table of "
                 "scopes starts anew");
        to.n = position_n(last->position);
        to.id = last->nonce;
        e = purge__jump(p, &to);
    } else {
        e = purge__append_received(p, f->batch, count);
    }
    if (e == ERR_OK)
        metrics_add(METRIC_JOURNAL_APPLIED, (int64_t)count);
    return end_of(e);
}

/* Rule 25: contiguous, in the epoch that this node is in. */
static enum follow_end take_record(struct follow *f, const struct purge_record *r)
{
    const struct purge_clock *c = &f->purge->clock;

    if (r->position != position_make(c->epoch, c->head_n + f->batched + 1) || c->epoch == 0)
        return FOLLOW_DIVERGED;
    f->batch[f->batched++] = *r;
    return f->batched == BATCH_RECORDS ? apply(f) : FOLLOW_GOES_ON;
}

/* Whose clock is it?  An epoch that was never joined takes any. */
static enum follow_end look_at(const struct follow *f, const struct purge_position *theirs)
{
    const struct purge_position *ours = &f->purge->position;

    if (ours->epoch == 0)
        return theirs->epoch == 0 ? FOLLOW_GARBAGE : FOLLOW_GOES_ON;
    if (theirs->cluster != ours->cluster)
        return FOLLOW_FOREIGN;
    if (theirs->epoch < ours->epoch) /* rule 31: never back */
        return FOLLOW_SMALLER;
    return FOLLOW_GOES_ON;
}

static enum follow_end take_flush(struct follow *f, const struct purge_position *to)
{
    const struct purge_position *ours = &f->purge->position;
    enum follow_end end = look_at(f, to);

    if (end != FOLLOW_GOES_ON)
        return end;
    /* births up to where this node is would outlive a jump to a smaller number of the same epoch */
    if (purge_position_birth(to) <= purge_position_birth(ours) ||
        (to->epoch == ours->epoch && to->epoch_tag != ours->epoch_tag))
        return FOLLOW_DIVERGED;
    if (ours->epoch == 0)
        log_info("purge: this node has joined the cluster %016llx at %u-%llu",
                 (unsigned long long)to->cluster, to->epoch, (unsigned long long)to->n);
    else
        log_warn("purge: the owner's journal does not reach back to where this node is, %u-%llu: "
                 "all it holds is dropped; it goes on from %u-%llu",
                 ours->epoch, (unsigned long long)ours->n, to->epoch, (unsigned long long)to->n);
    metrics_add(METRIC_JOURNAL_FLUSHES, 1);
    return end_of(purge__jump(f->purge, to));
}

static enum follow_end take_head(struct follow *f, const struct purge_position *head,
                                 int64_t now_ms)
{
    const struct purge_position *ours = &f->purge->position;
    enum follow_end end = look_at(f, head);
    bool is_first = !f->has_begun;

    f->has_begun = true;
    if (end != FOLLOW_GOES_ON)
        return end;
    if (purge_position_eq(head, ours)) {
        purge_heard(f->purge, now_ms);
        return FOLLOW_GOES_ON;
    }
    /* the first says which clock it is; records or a flush follow */
    return is_first ? FOLLOW_GOES_ON : FOLLOW_DIVERGED;
}

static enum follow_end take(struct follow *f, const struct stream_frame *frame, int64_t now_ms)
{
    enum follow_end end;

    if (frame->type == 'R')
        return f->has_begun ? take_record(f, &frame->record) : FOLLOW_GARBAGE;
    if (frame->type == 'a') {
        if (f->has_begun && f->announced != NULL)
            f->announced(f->user, frame->announcement);
        return f->has_begun ? FOLLOW_GOES_ON : FOLLOW_GARBAGE;
    }
    end = apply(f);
    if (end != FOLLOW_GOES_ON)
        return end;
    if (frame->type == 'F')
        return f->has_begun ? take_flush(f, &frame->position) : FOLLOW_GARBAGE;
    return take_head(f, &frame->position, now_ms);
}

enum follow_end follow_feed(struct follow *f, struct slice bytes, int64_t now_ms)
{
    enum follow_end end = FOLLOW_GOES_ON;
    struct stream_frame frame;
    struct slice rest;
    enum err e = ERR_OK;

    buf_add(&f->kept, bytes);
    if (f->kept.failed)
        return FOLLOW_FAILED;
    rest = buf_slice(&f->kept);
    while (end == FOLLOW_GOES_ON && (e = stream_next(&rest, &frame)) == ERR_OK)
        end = take(f, &frame, now_ms);
    if (end == FOLLOW_GOES_ON) /* records of the batch borrow from what is moved below */
        end = apply(f);
    if (end != FOLLOW_GOES_ON)
        return end;
    if (e != ERR_AGAIN)
        return FOLLOW_GARBAGE;
    if (rest.n > 0)
        memmove(f->kept.p, rest.p, rest.n);
    f->kept.n = rest.n;
    return FOLLOW_GOES_ON;
}
