#include "release/record.h"

#include <string.h>

#include "base/check.h"
#include "base/limits.h"

enum {
    VERSION = 1,
    CHECKSUM_BYTES = 8,
    FLAG_FOLLOWED = 1,
    NAME_BYTES_MAX = RELEASE_NAME_BYTES - 1
};

/* In the first byte of each value, so that one never passes for another. */
enum { KIND_FILE = 'F', KIND_RELEASE = 'R', KIND_STATE = 'T' };

static unsigned char *put(unsigned char *at, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        *at++ = (unsigned char)(v >> 8 * i);
    return at;
}

static uint64_t take(const unsigned char **at, size_t bytes)
{
    uint64_t v = 0;

    for (size_t i = 0; i < bytes; i++)
        v |= (uint64_t) * (*at)++ << 8 * i;
    return v;
}

static size_t end(unsigned char *out, unsigned char *at)
{
    size_t n = (size_t)(at - out);

    return (size_t)(put(at, digest_64((struct slice){(const char *)out, n}), CHECKSUM_BYTES) - out);
}

/* Kind, version and checksum of a value of at least `least` bytes; what stands between them. */
static bool begin(struct slice s, size_t least, unsigned char kind, const unsigned char **at)
{
    const unsigned char *sum;

    if (s.n < least)
        return false;
    *at = (const unsigned char *)s.p;
    sum = *at + s.n - CHECKSUM_BYTES;
    if (take(&sum, CHECKSUM_BYTES) != digest_64(slice_head(s, s.n - CHECKSUM_BYTES)))
        return false;
    return take(at, 1) == kind && take(at, 1) == VERSION;
}

bool release_name_is_valid(struct slice s)
{
    if (s.n == 0 || s.n > NAME_BYTES_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              c == '.' || c == '_' || c == '-'))
            return false;
    }
    return true;
}

/* ---- contents ---- */

void file_row_encode(const struct file_row *r, unsigned char out[RELEASE_FILE_ROW_BYTES])
{
    unsigned char *at = put(put(out, KIND_FILE, 1), VERSION, 1);

    at = put(at, r->bytes, 8);
    at = put(at, r->have, 8);
    at = put(at, r->refs, 8);
    at = put(at, (uint64_t)r->at_ms, 8);
    CHECK(end(out, at) == RELEASE_FILE_ROW_BYTES);
}

enum err file_row_decode(struct slice s, struct file_row *out)
{
    const unsigned char *at;

    if (s.n != RELEASE_FILE_ROW_BYTES || !begin(s, s.n, KIND_FILE, &at))
        return ERR_CORRUPT;
    *out = (struct file_row){.bytes = take(&at, 8)};
    out->have = take(&at, 8);
    out->refs = take(&at, 8);
    out->at_ms = (int64_t)take(&at, 8);
    return out->have <= out->bytes && out->bytes <= LIMIT_RELEASE_FILE_BYTES ? ERR_OK : ERR_CORRUPT;
}

/* ---- releases ---- */

size_t release_row_encode(const struct release_row *r, unsigned char out[RELEASE_ROW_BYTES_MAX])
{
    size_t id_bytes = strlen(r->id);
    unsigned char *at = put(put(out, KIND_RELEASE, 1), VERSION, 1);

    at = put(at, r->is_followed ? FLAG_FOLLOWED : 0, 1);
    at = put(at, r->serial, 8);
    at = put(at, (uint64_t)r->at_ms, 8);
    at = put(at, r->files, 8);
    at = put(at, r->bytes, 8);
    at = put(at, r->manifest_bytes, 8);
    memcpy(at, r->manifest, sizeof(r->manifest));
    at = put(at + sizeof(r->manifest), id_bytes, 1);
    memcpy(at, r->id, id_bytes);
    return end(out, at + id_bytes);
}

enum err release_row_decode(struct slice s, struct release_row *out)
{
    enum { FIXED_BYTES = 2 + 1 + 5 * 8 + DIGEST_SHA256_BYTES + 1 + CHECKSUM_BYTES };
    struct release_row d = {0};
    const unsigned char *at;
    uint64_t flags;
    size_t id_bytes;

    if (!begin(s, FIXED_BYTES, KIND_RELEASE, &at))
        return ERR_CORRUPT;
    flags = take(&at, 1);
    d.is_followed = flags == FLAG_FOLLOWED;
    d.serial = take(&at, 8);
    d.at_ms = (int64_t)take(&at, 8);
    d.files = take(&at, 8);
    d.bytes = take(&at, 8);
    d.manifest_bytes = take(&at, 8);
    memcpy(d.manifest, at, sizeof(d.manifest));
    at += sizeof(d.manifest);
    id_bytes = (size_t)take(&at, 1);
    if (flags > FLAG_FOLLOWED || s.n != FIXED_BYTES + id_bytes ||
        d.manifest_bytes > LIMIT_MANIFEST_BYTES ||
        !release_name_is_valid((struct slice){(const char *)at, id_bytes}))
        return ERR_CORRUPT;
    memcpy(d.id, at, id_bytes);
    *out = d;
    return ERR_OK;
}

void release_state_encode(uint64_t serial, unsigned char out[RELEASE_STATE_BYTES])
{
    CHECK(end(out, put(put(put(out, KIND_STATE, 1), VERSION, 1), serial, 8)) ==
          RELEASE_STATE_BYTES);
}

enum err release_state_decode(struct slice s, uint64_t *out)
{
    const unsigned char *at;

    if (s.n != RELEASE_STATE_BYTES || !begin(s, s.n, KIND_STATE, &at))
        return ERR_CORRUPT;
    *out = take(&at, 8);
    return ERR_OK;
}

/* ---- news ---- */

size_t release_news_encode(const struct release_news *n, unsigned char out[RELEASE_NEWS_BYTES_MAX])
{
    size_t bytes = strlen(n->site);

    out[0] = (unsigned char)bytes;
    memcpy(out + 1, n->site, bytes);
    return 1 + bytes + release_row_encode(&n->row, out + 1 + bytes);
}

enum err release_news_decode(struct slice s, struct release_news *out)
{
    size_t bytes = s.n == 0 ? 0 : (unsigned char)s.p[0];
    struct slice site = slice_head(slice_from(s, 1), bytes);
    enum err e;

    if (site.n != bytes || !release_name_is_valid(site))
        return ERR_CORRUPT;
    e = release_row_decode(slice_from(s, 1 + bytes), &out->row);
    if (e != ERR_OK)
        return e;
    memcpy(out->site, site.p, site.n);
    out->site[site.n] = '\0';
    return ERR_OK;
}

/* ---- keys ---- */

struct slice release_key(const char *site, const char *id, char out[RELEASE_KEY_BYTES_MAX])
{
    size_t n = strlen(site) + 1, m = strlen(id);

    memcpy(out, site, n);
    memcpy(out + n, id, m);
    return (struct slice){out, n + m};
}

bool release_key_parse(struct slice key, char site[RELEASE_NAME_BYTES], char id[RELEASE_NAME_BYTES])
{
    size_t n = slice_index(key, '\0');

    if (n == key.n || n > NAME_BYTES_MAX || key.n - n - 1 > NAME_BYTES_MAX)
        return false;
    memcpy(site, key.p, n + 1);
    memcpy(id, key.p + n + 1, key.n - n - 1);
    id[key.n - n - 1] = '\0';
    return true;
}

struct slice release_chunk_key(const unsigned char sha256[DIGEST_SHA256_BYTES], uint32_t n,
                               unsigned char out[RELEASE_CHUNK_KEY_BYTES])
{
    memcpy(out, sha256, DIGEST_SHA256_BYTES);
    for (size_t i = 0; i < 4; i++)
        out[DIGEST_SHA256_BYTES + i] = (unsigned char)(n >> 8 * (3 - i));
    return (struct slice){(const char *)out, RELEASE_CHUNK_KEY_BYTES};
}
