#include "purge/record.h"

#include "base/check.h"
#include "base/limits.h"

enum {
    VERSION = 1,
    CLOCK_VERSION = 2,
    CHECKSUM_BYTES = 8,
    HOST_BYTES_MAX = 253,
    FLAG_SOFT = 1,
    FLAG_FOLLOWS = 1,
};

/* What kinds of value there are: in the first bytes of each, so that one never passes for another.
 */
enum {
    TYPE_RECORD = 'R',
    TYPE_ROW = 'S',
    TYPE_IDENTITY = 'I',
    TYPE_CLOCK = 'C',
    TYPE_POSITION = 'P'
};

struct writer {
    unsigned char *at;
};

static void put(struct writer *w, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        *w->at++ = (unsigned char)(v >> 8 * i);
}

static void put_bytes(struct writer *w, const void *p, size_t bytes)
{
    if (bytes > 0)
        memcpy(w->at, p, bytes);
    w->at += bytes;
}

static void put_type(struct writer *w, unsigned char type)
{
    put(w, type, 1);
    put(w, VERSION, 1);
}

/* The checksum of all before it ends a value; returns how long the value has become. */
static size_t put_checksum(struct writer *w, const unsigned char *from)
{
    size_t bytes = (size_t)(w->at - from);

    put(w, digest_64((struct slice){(const char *)from, bytes}), CHECKSUM_BYTES);
    return bytes + CHECKSUM_BYTES;
}

struct reader {
    const unsigned char *at;
};

static uint64_t take(struct reader *r, size_t bytes)
{
    uint64_t v = 0;

    for (size_t i = 0; i < bytes; i++)
        v |= (uint64_t)*r->at++ << 8 * i;
    return v;
}

static struct slice take_bytes(struct reader *r, size_t bytes)
{
    struct slice s = {(const char *)r->at, bytes};

    r->at += bytes;
    return s;
}

/* Type, version and checksum of a value of at least `fixed` bytes. */
static bool take_version(struct reader *r, struct slice bytes, size_t fixed, unsigned char type,
                         unsigned version)
{
    struct reader end;

    if (bytes.n < fixed)
        return false;
    r->at = (const unsigned char *)bytes.p;
    end.at = r->at + bytes.n - CHECKSUM_BYTES;
    if (take(&end, CHECKSUM_BYTES) != digest_64(slice_head(bytes, bytes.n - CHECKSUM_BYTES)))
        return false;
    return take(r, 1) == type && take(r, 1) == version;
}

static bool take_type(struct reader *r, struct slice bytes, size_t fixed, unsigned char type)
{
    return take_version(r, bytes, fixed, type, VERSION);
}

size_t purge_record_encode(const struct purge_record *r, unsigned char out[PURGE_RECORD_BYTES_MAX])
{
    struct writer w = {out};

    CHECK(r->request_id.n <= PURGE_REQUEST_ID_BYTES_MAX);
    CHECK(r->text.n <= PURGE_TEXT_BYTES_MAX);
    put_type(&w, TYPE_RECORD);
    put(&w, (uint64_t)r->kind, 1);
    put(&w, r->soft ? FLAG_SOFT : 0, 1);
    put(&w, r->position, 8);
    put(&w, r->answer, 8);
    put(&w, r->nonce, 8);
    put(&w, r->fingerprint, 8);
    put(&w, (uint64_t)r->at_ms, 8);
    put(&w, r->request_id.n, 2);
    put(&w, r->text.n, 2);
    put_bytes(&w, r->request_id.p, r->request_id.n);
    put_bytes(&w, r->text.p, r->text.n);
    return put_checksum(&w, out);
}

enum err purge_record_decode(struct slice bytes, struct purge_record *out)
{
    struct purge_record d;
    struct purge_scope scope;
    struct reader r;
    uint64_t kind, flags, id_bytes, text_bytes;

    if (!take_type(&r, bytes, PURGE_RECORD_FIXED_BYTES, TYPE_RECORD))
        return ERR_CORRUPT;
    kind = take(&r, 1);
    flags = take(&r, 1);
    d = (struct purge_record){.position = take(&r, 8)};
    d.answer = take(&r, 8);
    d.nonce = take(&r, 8);
    d.fingerprint = take(&r, 8);
    d.at_ms = (int64_t)take(&r, 8);
    id_bytes = take(&r, 2);
    text_bytes = take(&r, 2);
    if (kind >= PURGE_KINDS || (flags & ~(uint64_t)FLAG_SOFT) != 0 ||
        id_bytes > PURGE_REQUEST_ID_BYTES_MAX || text_bytes > PURGE_TEXT_BYTES_MAX ||
        bytes.n != PURGE_RECORD_FIXED_BYTES + id_bytes + text_bytes)
        return ERR_CORRUPT;
    d.kind = (enum purge_kind)kind;
    d.soft = flags == FLAG_SOFT;
    d.request_id = take_bytes(&r, id_bytes);
    d.text = take_bytes(&r, text_bytes);
    scope = (struct purge_scope){.kind = d.kind, .text = d.text};
    if (!purge_scope_is_valid(&scope) || position_epoch(d.answer) != position_epoch(d.position) ||
        d.answer < d.position || d.answer - d.position >= PURGE_SCOPES_MAX)
        return ERR_CORRUPT;
    *out = d;
    return ERR_OK;
}

size_t purge_row_encode(const struct purge_row *r, unsigned char out[PURGE_ROW_BYTES_MAX])
{
    struct writer w = {out};

    CHECK(r->label.n <= PURGE_LABEL_BYTES_MAX);
    CHECK(r->text_bytes <= PURGE_TEXT_BYTES_MAX);
    put_type(&w, TYPE_ROW);
    put(&w, (uint64_t)r->kind, 1);
    put(&w, r->label.n, 1);
    put(&w, r->text_bytes, 2);
    put(&w, 0, 2);
    put(&w, r->id, 8);
    put(&w, r->host_id, 8);
    put(&w, r->hard, 8);
    put(&w, r->soft, 8);
    put_bytes(&w, r->label.p, r->label.n);
    return put_checksum(&w, out);
}

enum err purge_row_decode(struct slice bytes, struct purge_row *out)
{
    struct purge_row d;
    struct reader r;
    uint64_t kind, label_bytes;

    if (!take_type(&r, bytes, PURGE_ROW_FIXED_BYTES, TYPE_ROW))
        return ERR_CORRUPT;
    kind = take(&r, 1);
    label_bytes = take(&r, 1);
    d = (struct purge_row){.text_bytes = (uint16_t)take(&r, 2)};
    if (take(&r, 2) != 0)
        return ERR_CORRUPT;
    d.id = take(&r, 8);
    d.host_id = take(&r, 8);
    d.hard = take(&r, 8);
    d.soft = take(&r, 8);
    if (kind >= PURGE_KINDS || label_bytes > PURGE_LABEL_BYTES_MAX ||
        d.text_bytes > PURGE_TEXT_BYTES_MAX || bytes.n != PURGE_ROW_FIXED_BYTES + label_bytes)
        return ERR_CORRUPT;
    d.kind = (enum purge_kind)kind;
    d.label = take_bytes(&r, label_bytes);
    if ((d.hard == 0 && d.soft == 0) || (d.kind == PURGE_TAG) != (d.label.n > 0) ||
        (d.kind == PURGE_PREFIX) != (d.host_id != 0) || d.id == 0)
        return ERR_CORRUPT;
    *out = d;
    return ERR_OK;
}

void purge_identity_encode(const struct purge_identity *i, unsigned char out[PURGE_IDENTITY_BYTES])
{
    struct writer w = {out};

    put_type(&w, TYPE_IDENTITY);
    put(&w, 0, 2);
    put(&w, i->cluster_id, 8);
    put(&w, i->ctl_id, 8);
    put_bytes(&w, i->secret.bytes, sizeof(i->secret.bytes));
    CHECK(put_checksum(&w, out) == PURGE_IDENTITY_BYTES);
}

enum err purge_identity_decode(struct slice bytes, struct purge_identity *out)
{
    struct purge_identity d;
    struct reader r;

    if (bytes.n != PURGE_IDENTITY_BYTES ||
        !take_type(&r, bytes, PURGE_IDENTITY_BYTES, TYPE_IDENTITY) || take(&r, 2) != 0)
        return ERR_CORRUPT;
    d.cluster_id = take(&r, 8);
    d.ctl_id = take(&r, 8);
    memcpy(d.secret.bytes, take_bytes(&r, sizeof(d.secret.bytes)).p, sizeof(d.secret.bytes));
    *out = d;
    return ERR_OK;
}

void purge_clock_encode(const struct purge_clock *c, unsigned char out[PURGE_CLOCK_BYTES])
{
    struct writer w = {out};

    put(&w, TYPE_CLOCK, 1);
    put(&w, CLOCK_VERSION, 1);
    put(&w, c->follows ? FLAG_FOLLOWS : 0, 2);
    put(&w, c->epoch, 2);
    put(&w, c->boot, 4);
    put(&w, c->generation, 4);
    put(&w, c->first_n, 8);
    put(&w, c->head_n, 8);
    put(&w, c->floor, 8);
    put(&w, c->journal_bytes, 8);
    put(&w, c->epoch_tag, 8);
    put(&w, c->head_id, 8);
    CHECK(put_checksum(&w, out) == PURGE_CLOCK_BYTES);
}

enum err purge_clock_decode(struct slice bytes, struct purge_clock *out)
{
    bool is_first = bytes.n == PURGE_CLOCK_BYTES_1;
    struct purge_clock d;
    struct reader r;
    uint64_t flags;

    if ((bytes.n != PURGE_CLOCK_BYTES && !is_first) ||
        !take_version(&r, bytes, bytes.n, TYPE_CLOCK, is_first ? 1 : CLOCK_VERSION))
        return ERR_CORRUPT;
    flags = take(&r, 2);
    d.follows = flags == FLAG_FOLLOWS;
    d.epoch = (uint16_t)take(&r, 2);
    d.boot = (uint32_t)take(&r, 4);
    d.generation = (uint32_t)take(&r, 4);
    d.first_n = take(&r, 8);
    d.head_n = take(&r, 8);
    d.floor = take(&r, 8);
    d.journal_bytes = take(&r, 8);
    d.epoch_tag = is_first ? 0 : take(&r, 8);
    d.head_id = is_first ? 0 : take(&r, 8);
    if ((flags != 0 && (flags != FLAG_FOLLOWS || is_first)) ||
        (d.epoch == 0 && (!d.follows || d.head_n != 0)) || (d.head_n == 0 && d.head_id != 0) ||
        d.head_n > POSITION_N_MAX || d.first_n == 0 || d.first_n > d.head_n + 1 ||
        d.floor > position_make(d.epoch, d.head_n))
        return ERR_CORRUPT;
    *out = d;
    return ERR_OK;
}

void purge_position_encode(const struct purge_position *p, unsigned char out[PURGE_POSITION_BYTES])
{
    struct writer w = {out};

    put_type(&w, TYPE_POSITION);
    put(&w, 0, 2);
    put(&w, p->epoch, 2);
    put(&w, p->cluster, 8);
    put(&w, p->epoch_tag, 8);
    put(&w, p->n, 8);
    put(&w, p->id, 8);
    CHECK(put_checksum(&w, out) == PURGE_POSITION_BYTES);
}

enum err purge_position_decode(struct slice bytes, struct purge_position *out)
{
    struct purge_position d;
    struct reader r;

    if (bytes.n != PURGE_POSITION_BYTES ||
        !take_type(&r, bytes, PURGE_POSITION_BYTES, TYPE_POSITION) || take(&r, 2) != 0)
        return ERR_CORRUPT;
    d.epoch = (uint16_t)take(&r, 2);
    d.cluster = take(&r, 8);
    d.epoch_tag = take(&r, 8);
    d.n = take(&r, 8);
    d.id = take(&r, 8);
    if (d.n > POSITION_N_MAX || (d.n == 0 && d.id != 0) || (d.epoch == 0 && d.n != 0))
        return ERR_CORRUPT;
    *out = d;
    return ERR_OK;
}

static void put_big(unsigned char *out, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        out[i] = (unsigned char)(v >> 8 * (bytes - 1 - i));
}

static uint64_t take_big(const char *p, size_t bytes)
{
    uint64_t v = 0;

    for (size_t i = 0; i < bytes; i++)
        v = v << 8 | (unsigned char)p[i];
    return v;
}

struct slice purge_journal_key(uint64_t position, unsigned char out[PURGE_JOURNAL_KEY_BYTES])
{
    put_big(out, position, 8);
    return (struct slice){(const char *)out, PURGE_JOURNAL_KEY_BYTES};
}

struct slice purge_row_key(uint32_t generation, uint64_t id, unsigned char out[PURGE_ROW_KEY_BYTES])
{
    put_big(out, generation, 4);
    put_big(out + 4, id, 8);
    return (struct slice){(const char *)out, PURGE_ROW_KEY_BYTES};
}

bool purge_journal_key_parse(struct slice key, uint64_t *out_position)
{
    if (key.n != PURGE_JOURNAL_KEY_BYTES)
        return false;
    *out_position = take_big(key.p, 8);
    return true;
}

bool purge_row_key_parse(struct slice key, uint32_t *out_generation, uint64_t *out_id)
{
    if (key.n != PURGE_ROW_KEY_BYTES)
        return false;
    *out_generation = (uint32_t)take_big(key.p, 4);
    *out_id = take_big(key.p + 4, 8);
    return true;
}

static bool has_control(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return true;
    return false;
}

/* As url_host() writes it; only what would make two scopes of one host is looked at here. */
static bool is_host(struct slice s)
{
    if (s.n == 0 || s.n > HOST_BYTES_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || s.p[i] == '/' || (s.p[i] >= 'A' && s.p[i] <= 'Z'))
            return false;
    return true;
}

bool purge_scope_is_valid(const struct purge_scope *s)
{
    switch (s->kind) {
    case PURGE_URL:
    case PURGE_PREFIX:
        return s->text.n <= PURGE_TEXT_BYTES_MAX && slice_index(s->text, '/') < s->text.n &&
               is_host(purge_host_of(s->text)) && !has_control(s->text);
    case PURGE_HOST:
        return is_host(s->text);
    case PURGE_TAG:
        return s->text.n > 0 && s->text.n <= LIMIT_TAG_BYTES && !has_control(s->text);
    case PURGE_ALL:
        return s->text.n == 0;
    case PURGE_KINDS:
        break;
    }
    return false;
}
