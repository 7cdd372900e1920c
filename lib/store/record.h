/*
 * record: what the store keeps on disk, from and to bytes.
 *
 * Little-endian, with a version and a checksum in each value.  Keys are big-endian, so that their
 * byte order is their number's.  A value that is not exactly what was written does not decode.
 * Pure; any thread.  README.md has the whole picture.
 */
#ifndef STORE_RECORD_H
#define STORE_RECORD_H

#include "base/digest.h"
#include "base/limits.h"
#include "store/store.h"

enum {
    STORE_FORMAT = 1, /* of everything below; another one begins the store anew */
    STORE_ROW_KEY_BYTES = 24,
    STORE_ID_KEY_BYTES = 8,
    STORE_CHUNK_KEY_BYTES = 12,
    STORE_PART_KEY_BYTES = 13,
    STORE_PART_BYTES = 4080, /* a page less LMDB's header of it */
    STORE_PARTS_MAX = (LIMIT_CHUNK_VALUE_BYTES + STORE_PART_BYTES - 1) / STORE_PART_BYTES,
    STORE_CHECKSUM_BYTES = 8,
    STORE_FIXED_BYTES = 72, /* of a record, checksum included */
    STORE_QUEUED_BYTES = STORE_ROW_KEY_BYTES + 16 + STORE_CHECKSUM_BYTES,
    STORE_COUNT_BYTES = 8 + STORE_CHECKSUM_BYTES,
    STORE_FORMAT_BYTES = 4 + 4 + 8 + DIGEST_SECRET_BYTES + STORE_CHECKSUM_BYTES,
    STORE_STATE_BYTES = 5 * 8,
};

/* ---- a row of `obj`: one object or marker ---- */

/* All slices and the tags are borrowed: from the caller when encoding, from the bytes when decoded.
 */
struct store_object {
    uint64_t objid;
    struct store_key key;
    struct store_stamp stamp;
    bool is_marker; /* of several variants; `head` is the marker, and there is no body */
    struct slice head;
    struct slice body; /* inline; empty when it is in chunks, or when there is none */
    uint64_t body_bytes;
};

static inline bool store_has_chunks(const struct store_object *o)
{
    return o->body_bytes > 0 && o->body.n == 0;
}

/* Bytes that store_object_encode() will write; more than LIMIT_RECORD_BYTES must not be encoded. */
size_t store_object_bytes(const struct store_object *o);
void store_object_encode(const struct store_object *o, char *out);

/* `bytes` must be aligned to 8: tags are used where they lie.  ERR_CORRUPT when they are not what
 * was written. */
NODISCARD enum err store_object_decode(struct slice bytes, struct store_object *out);

/* The id in the first STORE_FIXED_BYTES of a row, which nothing has checked. */
uint64_t store_object_id(struct slice start);

struct slice store_row_key(const struct digest_secret *secret, const struct store_key *key,
                           char out[STORE_ROW_KEY_BYTES]);
/* The first bytes of the keys of all rows of a host. */
enum { STORE_HOST_KEY_BYTES = 4 };
struct slice store_host_key(const struct digest_secret *secret, struct slice host,
                            char out[STORE_HOST_KEY_BYTES]);

/* ---- keys of the other tables ---- */

struct slice store_id_key(uint64_t objid, char out[STORE_ID_KEY_BYTES]);
struct slice store_chunk_key(uint64_t objid, uint32_t n, char out[STORE_CHUNK_KEY_BYTES]);
/* A chunk whose value lies in several rows, for want of sixteen free pages in a row. */
struct slice store_part_key(uint64_t objid, uint32_t n, unsigned part,
                            char out[STORE_PART_KEY_BYTES]);
NODISCARD bool store_id_parse(struct slice key, uint64_t *out); /* of the first 8 bytes */

/* ---- values of the other tables ---- */

/* A row of `q`: where the object of this id stands, and how much its body is. */
struct store_queued {
    char row[STORE_ROW_KEY_BYTES];
    uint64_t body_bytes; /* in chunks; 0: inline, or none */
    bool is_marker;
};
void store_queued_encode(const struct store_queued *q, char out[STORE_QUEUED_BYTES]);
NODISCARD enum err store_queued_decode(struct slice bytes, struct store_queued *out);

/* A row of `inflight` or `gc`: about how many bytes the chunks of this id take. */
void store_count_encode(uint64_t bytes, char out[STORE_COUNT_BYTES]);
NODISCARD enum err store_count_decode(struct slice bytes, uint64_t *out);

/* Written once. */
struct store_format {
    uint64_t ctl_id;
    struct digest_secret secret; /* of the hashes in the keys of rows */
};
void store_format_encode(const struct store_format *f, char out[STORE_FORMAT_BYTES]);
/* ERR_INVALID: another version.  ERR_CORRUPT. */
NODISCARD enum err store_format_decode(struct slice bytes, struct store_format *out);

/* Written with each transaction. */
struct store_state {
    uint64_t birth;      /* the greatest ever published */
    uint64_t next_objid; /* ids below have been given out */
    uint64_t objects;    /* rows of `q` that are no markers */
    uint64_t gc_bytes;   /* the sum of the rows of `gc` */
};
void store_state_encode(const struct store_state *s, char out[STORE_STATE_BYTES]);
NODISCARD enum err store_state_decode(struct slice bytes, struct store_state *out);

#endif
