#include "purge/serve.h"

#include <stdlib.h>

#include "base/check.h"
#include "purge/purge_priv.h"
#include "purge/stream.h"

struct serve {
    struct purge *purge;
    struct table_reader *reader; /* owned */
    struct purge_position at;    /* the follower has, or has been sent, all up to here */
    bool has_begun, needs_flush;
    void (*on_begin)(void *user, struct buf *out); /* NULL: none */
    void *user;
};

/* The id of record n of the present epoch, as the journal keeps it. */
static enum err read_record(struct serve *s, uint64_t position, unsigned char *bytes,
                            struct slice *out)
{
    unsigned char key[PURGE_JOURNAL_KEY_BYTES];
    struct slice value;
    enum err e =
        table_get(s->reader, PURGE_TABLE_JOURNAL, purge_journal_key(position, key), &value);

    if (e == ERR_OK && value.n > PURGE_RECORD_BYTES_MAX)
        e = ERR_CORRUPT;
    if (e == ERR_OK)
        e = table_copy(bytes, value);
    if (e == ERR_OK)
        *out = (struct slice){(const char *)bytes, value.n};
    return e;
}

/* Rule 26: does the journal hold this very record?  ERR_NOT_FOUND: it no longer reaches back. */
static enum err has_record(struct serve *s, const struct purge_position *from, bool *out)
{
    unsigned char bytes[PURGE_RECORD_BYTES_MAX];
    struct purge_record record;
    struct slice value;
    enum err e = table_read_begin(s->reader);

    if (e != ERR_OK)
        return e;
    e = read_record(s, purge_position_birth(from), bytes, &value);
    if (e == ERR_OK)
        e = purge_record_decode(value, &record);
    table_read_end(s->reader);
    if (e == ERR_OK)
        *out = record.nonce == from->id;
    return e;
}

static enum err look_at(struct serve *s, const struct purge_position *from, enum serve_start *out)
{
    struct purge_position ours;
    bool has = true;
    enum err e = ERR_OK;

    purge_position(s->purge, &ours);
    *out = SERVE_STREAM;
    if (from->epoch == 0) {
        s->needs_flush = true;
    } else if (from->cluster != ours.cluster) {
        *out = SERVE_FOREIGN;
    } else if (from->epoch != ours.epoch) {
        *out = from->epoch > ours.epoch ? SERVE_HIGHER : SERVE_STREAM;
        s->needs_flush = true;
    } else if (from->epoch_tag != ours.epoch_tag || from->n > ours.n) {
        *out = SERVE_DIVERGED;
    } else if (from->n == ours.n) {
        has = from->id == ours.id;
    } else if (from->n == 0) {
        uint64_t first = atomic_load_explicit(&s->purge->first, memory_order_relaxed);

        s->needs_flush = position_n(first) > 1;
    } else {
        e = has_record(s, from, &has);
        if (e == ERR_NOT_FOUND) {
            s->needs_flush = true;
            e = ERR_OK;
        }
    }
    if (!has)
        *out = SERVE_DIVERGED;
    return e;
}

enum err serve_new(struct purge *p, const struct purge_position *from, enum serve_start *out_start,
                   struct serve **out)
{
    struct serve *s = calloc(1, sizeof(*s));
    enum err e;

    if (s == NULL)
        return ERR_NOMEM;
    s->purge = p;
    s->at = *from;
    e = table_reader_new(p->table, &s->reader);
    if (e == ERR_OK)
        e = look_at(s, from, out_start);
    if (e != ERR_OK || *out_start != SERVE_STREAM)
        serve_free(s);
    else
        *out = s;
    return e;
}

void serve_free(struct serve *s)
{
    if (s == NULL)
        return;
    table_reader_free(s->reader);
    free(s);
}

void serve_on_begin(struct serve *s, void (*call)(void *user, struct buf *out), void *user)
{
    s->on_begin = call;
    s->user = user;
}

/* Records behind s->at up to `head`.  ERR_NOT_FOUND: they have been trimmed away meanwhile. */
static enum err put_records(struct serve *s, const struct purge_position *head, struct buf *out,
                            size_t bytes_max)
{
    unsigned char bytes[PURGE_RECORD_BYTES_MAX];
    struct purge_record record;
    struct slice value;
    enum err e = table_read_begin(s->reader);

    if (e != ERR_OK)
        return e;
    while (e == ERR_OK && s->at.n < head->n && out->n < bytes_max) {
        e = read_record(s, purge_position_birth(&s->at) + 1, bytes, &value);
        if (e == ERR_OK)
            e = purge_record_decode(value, &record);
        if (e == ERR_OK) {
            stream_put_record(out, value);
            s->at.n++;
            s->at.id = record.nonce;
        }
    }
    table_read_end(s->reader);
    return e;
}

enum err serve_next(struct serve *s, struct buf *out, size_t bytes_max, bool *out_more)
{
    struct purge_position head;
    enum err e = ERR_OK;

    *out_more = false;
    purge_position(s->purge, &head); /* what it covers is durable, and in the journal */
    if (!s->has_begun) {
        stream_put_position(out, 'H', &head);
        if (s->on_begin != NULL)
            s->on_begin(s->user, out);
    }
    s->has_begun = true;
    if (!s->needs_flush && purge_position_is_of(&s->at, &head)) {
        e = put_records(s, &head, out, bytes_max);
        if (e == ERR_NOT_FOUND) {
            s->needs_flush = true;
            e = ERR_OK;
        }
    } else {
        s->needs_flush = true; /* or the epoch has changed under it */
    }
    if (e != ERR_OK)
        return e;
    if (s->needs_flush) {
        stream_put_position(out, 'F', &head);
        s->needs_flush = false;
        s->at = head;
    }
    *out_more = s->at.n < head.n;
    if (!*out_more)
        stream_put_position(out, 'H', &s->at);
    return out->failed ? ERR_NOMEM : ERR_OK;
}
