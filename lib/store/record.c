#include "store/record.h"

#include "base/check.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers lie on disk as in memory");

enum { FLAG_MARKER = 1, FLAG_TAGS_OVERFLOW = 2, FLAGS_KNOWN = 3 };

struct fixed {
    uint64_t checksum; /* of everything behind it */
    uint8_t version, flags;
    uint16_t host_bytes;
    uint32_t text_bytes, url_bytes, tags_count, head_bytes, inline_bytes, site, all_bytes;
    uint64_t objid, birth, variant, body_bytes;
};

_Static_assert(sizeof(struct fixed) == STORE_FIXED_BYTES,
               "no holes: what is written is all defined");
_Static_assert(STORE_FIXED_BYTES % 8 == 0, "tags follow, aligned");

static char *add(char *at, const void *p, size_t n)
{
    if (n > 0)
        memcpy(at, p, n);
    return at + n;
}

/* ---- objects ---- */

size_t store_object_bytes(const struct store_object *o)
{
    return sizeof(struct fixed) + (size_t)o->stamp.tags_count * sizeof(uint64_t) + o->key.host.n +
           o->key.text.n + o->stamp.purge_url.n + o->head.n + o->body.n;
}

void store_object_encode(const struct store_object *o, char *out)
{
    size_t all = store_object_bytes(o);
    struct fixed f = {
        .version = STORE_FORMAT,
        .flags = (uint8_t)((o->is_marker ? FLAG_MARKER : 0) |
                           (o->stamp.tags_overflow ? FLAG_TAGS_OVERFLOW : 0)),
        .host_bytes = (uint16_t)o->key.host.n,
        .text_bytes = (uint32_t)o->key.text.n,
        .url_bytes = (uint32_t)o->stamp.purge_url.n,
        .tags_count = o->stamp.tags_count,
        .head_bytes = (uint32_t)o->head.n,
        .inline_bytes = (uint32_t)o->body.n,
        .site = o->stamp.site,
        .all_bytes = (uint32_t)all,
        .objid = o->objid,
        .birth = o->stamp.birth,
        .variant = o->key.variant,
        .body_bytes = o->body_bytes,
    };
    char *at = out + sizeof(f);

    CHECK(all <= LIMIT_RECORD_BYTES && o->key.host.n <= UINT16_MAX);
    CHECK(o->body.n == 0 || o->body.n == o->body_bytes);
    CHECK(!o->is_marker || o->body_bytes == 0);
    at = add(at, o->stamp.tags, o->stamp.tags_count * sizeof(uint64_t));
    at = add(at, o->key.host.p, o->key.host.n);
    at = add(at, o->key.text.p, o->key.text.n);
    at = add(at, o->stamp.purge_url.p, o->stamp.purge_url.n);
    at = add(at, o->head.p, o->head.n);
    at = add(at, o->body.p, o->body.n);
    CHECK(at == out + all);
    memcpy(out, &f, sizeof(f));
    f.checksum = digest_64((struct slice){out + sizeof(f.checksum), all - sizeof(f.checksum)});
    memcpy(out, &f.checksum, sizeof(f.checksum));
}

static struct slice take(const char **at, size_t n)
{
    struct slice s = {*at, n};

    *at += n;
    return s;
}

enum err store_object_decode(struct slice bytes, struct store_object *out)
{
    const char *at = bytes.p + sizeof(struct fixed);
    const uint64_t *tags;
    struct fixed f;

    if (bytes.n < sizeof(f) || bytes.n > LIMIT_RECORD_BYTES)
        return ERR_CORRUPT;
    CHECK((uintptr_t)bytes.p % sizeof(uint64_t) == 0);
    memcpy(&f, bytes.p, sizeof(f));
    if (f.checksum != digest_64(slice_from(bytes, sizeof(f.checksum))))
        return ERR_CORRUPT;
    if (f.version != STORE_FORMAT || (f.flags & ~FLAGS_KNOWN) != 0 || f.all_bytes != bytes.n)
        return ERR_CORRUPT;
    if (sizeof(f) + (uint64_t)f.tags_count * sizeof(uint64_t) + f.host_bytes +
            (uint64_t)f.text_bytes + f.url_bytes + (uint64_t)f.head_bytes + f.inline_bytes !=
        bytes.n)
        return ERR_CORRUPT;
    if (f.inline_bytes != 0 && f.inline_bytes != f.body_bytes)
        return ERR_CORRUPT;
    if ((f.flags & FLAG_MARKER) != 0 && f.body_bytes != 0)
        return ERR_CORRUPT;

    tags = (const uint64_t *)(const void *)at;
    at += f.tags_count * sizeof(uint64_t);
    *out = (struct store_object){
        .objid = f.objid,
        .is_marker = (f.flags & FLAG_MARKER) != 0,
        .body_bytes = f.body_bytes,
        .stamp = {.birth = f.birth,
                  .site = f.site,
                  .tags = f.tags_count == 0 ? NULL : tags,
                  .tags_count = f.tags_count,
                  .tags_overflow = (f.flags & FLAG_TAGS_OVERFLOW) != 0},
    };
    out->key.host = take(&at, f.host_bytes);
    out->key.text = take(&at, f.text_bytes);
    out->key.variant = f.variant;
    out->stamp.purge_url = take(&at, f.url_bytes);
    out->head = take(&at, f.head_bytes);
    if (f.inline_bytes > 0)
        out->body = take(&at, f.inline_bytes);
    return ERR_OK;
}

uint64_t store_object_id(struct slice start)
{
    uint64_t objid;

    CHECK(start.n >= sizeof(struct fixed));
    memcpy(&objid, start.p + offsetof(struct fixed, objid), sizeof(objid));
    return objid;
}

/* ---- keys ---- */

static void put_be64(char *out, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(out, &v, sizeof(v));
}

static void put_be32(char *out, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(out, &v, sizeof(v));
}

struct slice store_host_key(const struct digest_secret *secret, struct slice host,
                            char out[STORE_HOST_KEY_BYTES])
{
    put_be32(out, (uint32_t)digest_64_secret(secret, host));
    return (struct slice){out, STORE_HOST_KEY_BYTES};
}

struct slice store_row_key(const struct digest_secret *secret, const struct store_key *key,
                           char out[STORE_ROW_KEY_BYTES])
{
    struct digest_128 h = digest_128_secret(secret, key->text);

    store_host_key(secret, key->host, out);
    memcpy(out + 4, &h.high, 8);
    memcpy(out + 12, &h.low, 4);
    put_be64(out + 16, key->variant);
    return (struct slice){out, STORE_ROW_KEY_BYTES};
}

struct slice store_id_key(uint64_t objid, char out[STORE_ID_KEY_BYTES])
{
    put_be64(out, objid);
    return (struct slice){out, STORE_ID_KEY_BYTES};
}

struct slice store_chunk_key(uint64_t objid, uint32_t n, char out[STORE_CHUNK_KEY_BYTES])
{
    put_be64(out, objid);
    put_be32(out + 8, n);
    return (struct slice){out, STORE_CHUNK_KEY_BYTES};
}

struct slice store_part_key(uint64_t objid, uint32_t n, unsigned part,
                            char out[STORE_PART_KEY_BYTES])
{
    store_chunk_key(objid, n, out);
    out[STORE_CHUNK_KEY_BYTES] = (char)part;
    return (struct slice){out, STORE_PART_KEY_BYTES};
}

bool store_id_parse(struct slice key, uint64_t *out)
{
    if (key.n < STORE_ID_KEY_BYTES)
        return false;
    memcpy(out, key.p, sizeof(*out));
    *out = __builtin_bswap64(*out);
    return true;
}

/* ---- values that end with their checksum ---- */

static void seal(char *value, size_t bytes)
{
    size_t n = bytes - STORE_CHECKSUM_BYTES;
    uint64_t sum = digest_64((struct slice){value, n});

    memcpy(value + n, &sum, sizeof(sum));
}

static bool is_sealed(struct slice value, size_t bytes)
{
    uint64_t sum;

    if (value.n != bytes)
        return false;
    memcpy(&sum, value.p + bytes - STORE_CHECKSUM_BYTES, sizeof(sum));
    return sum == digest_64(slice_head(value, bytes - STORE_CHECKSUM_BYTES));
}

void store_queued_encode(const struct store_queued *q, char out[STORE_QUEUED_BYTES])
{
    uint64_t flags = q->is_marker ? FLAG_MARKER : 0;
    char *at = add(add(out, q->row, sizeof(q->row)), &q->body_bytes, sizeof(q->body_bytes));

    add(at, &flags, sizeof(flags));
    seal(out, STORE_QUEUED_BYTES);
}

enum err store_queued_decode(struct slice bytes, struct store_queued *out)
{
    uint64_t flags;

    if (!is_sealed(bytes, STORE_QUEUED_BYTES))
        return ERR_CORRUPT;
    memcpy(out->row, bytes.p, sizeof(out->row));
    bytes = slice_from(bytes, sizeof(out->row));
    memcpy(&out->body_bytes, bytes.p, sizeof(out->body_bytes));
    memcpy(&flags, bytes.p + sizeof(out->body_bytes), sizeof(flags));
    out->is_marker = (flags & FLAG_MARKER) != 0;
    return flags > FLAG_MARKER ? ERR_CORRUPT : ERR_OK;
}

void store_count_encode(uint64_t bytes, char out[STORE_COUNT_BYTES])
{
    add(out, &bytes, sizeof(bytes));
    seal(out, STORE_COUNT_BYTES);
}

enum err store_count_decode(struct slice bytes, uint64_t *out)
{
    if (!is_sealed(bytes, STORE_COUNT_BYTES))
        return ERR_CORRUPT;
    memcpy(out, bytes.p, sizeof(*out));
    return ERR_OK;
}

void store_format_encode(const struct store_format *f, char out[STORE_FORMAT_BYTES])
{
    uint32_t version = STORE_FORMAT, chunk = LIMIT_CHUNK_BYTES;
    char *at = add(add(out, &version, sizeof(version)), &chunk, sizeof(chunk));

    add(add(at, &f->ctl_id, sizeof(f->ctl_id)), &f->secret, sizeof(f->secret));
    seal(out, STORE_FORMAT_BYTES);
}

enum err store_format_decode(struct slice bytes, struct store_format *out)
{
    uint32_t version, chunk;

    if (bytes.n < sizeof(version) + sizeof(chunk))
        return ERR_CORRUPT;
    memcpy(&version, bytes.p, sizeof(version));
    memcpy(&chunk, bytes.p + sizeof(version), sizeof(chunk));
    if (version != STORE_FORMAT || chunk != LIMIT_CHUNK_BYTES)
        return ERR_INVALID;
    if (!is_sealed(bytes, STORE_FORMAT_BYTES))
        return ERR_CORRUPT;
    bytes = slice_from(bytes, sizeof(version) + sizeof(chunk));
    memcpy(&out->ctl_id, bytes.p, sizeof(out->ctl_id));
    memcpy(&out->secret, bytes.p + sizeof(out->ctl_id), sizeof(out->secret));
    return ERR_OK;
}

void store_state_encode(const struct store_state *s, char out[STORE_STATE_BYTES])
{
    const uint64_t all[] = {s->birth, s->next_objid, s->objects, s->gc_bytes};

    _Static_assert(sizeof(all) + STORE_CHECKSUM_BYTES == STORE_STATE_BYTES, "all of it");
    add(out, all, sizeof(all));
    seal(out, STORE_STATE_BYTES);
}

enum err store_state_decode(struct slice bytes, struct store_state *out)
{
    uint64_t all[4];

    if (!is_sealed(bytes, STORE_STATE_BYTES))
        return ERR_CORRUPT;
    memcpy(all, bytes.p, sizeof(all));
    *out = (struct store_state){
        .birth = all[0], .next_objid = all[1], .objects = all[2], .gc_bytes = all[3]};
    return ERR_OK;
}
