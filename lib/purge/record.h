/*
 * record: what purge keeps on disk, from and to bytes.
 *
 * Little-endian, with a version and a checksum in each value; a value that is not exactly what
 * was written does not decode.  Keys are big-endian, so that their byte order is their number's.
 * Pure; any thread.
 */
#ifndef PURGE_RECORD_H
#define PURGE_RECORD_H

#include "base/digest.h"
#include "purge/purge.h"

enum {
    PURGE_REQUEST_ID_BYTES_MAX = 64,
    PURGE_LABEL_BYTES_MAX = 64,
    PURGE_RECORD_FIXED_BYTES = 56, /* with the checksum */
    PURGE_RECORD_BYTES_MAX =
        PURGE_RECORD_FIXED_BYTES + PURGE_REQUEST_ID_BYTES_MAX + PURGE_TEXT_BYTES_MAX,
    PURGE_ROW_FIXED_BYTES = 48,
    PURGE_ROW_BYTES_MAX = PURGE_ROW_FIXED_BYTES + PURGE_LABEL_BYTES_MAX,
    PURGE_IDENTITY_BYTES = 4 + 16 + DIGEST_SECRET_BYTES + 8,
    PURGE_CLOCK_BYTES = 4 + 2 + 4 + 4 + 8 * 7,
    PURGE_CLOCK_BYTES_1 = 4 + 2 + 4 + 4 + 8 * 5, /* of version 1, which had neither tag nor id */
    PURGE_JOURNAL_KEY_BYTES = 8,
    PURGE_ROW_KEY_BYTES = 12,
};

/* One purged scope, as the journal keeps it. */
struct purge_record {
    uint64_t position;
    uint64_t answer;      /* position of the last record of its request */
    uint64_t nonce;       /* random: tells two records apart that a lying disk gave one position */
    uint64_t fingerprint; /* of all scopes of its request: the same id with others is another one */
    int64_t at_ms;        /* wall clock, for people */
    enum purge_kind kind;
    bool soft;
    struct slice request_id; /* may be empty; borrowed, as is `text` */
    struct slice text;
};

size_t purge_record_encode(const struct purge_record *r, unsigned char out[PURGE_RECORD_BYTES_MAX]);
NODISCARD enum err purge_record_decode(struct slice bytes, struct purge_record *out);

/* How far one scope has been purged.  Its text is not kept: who asks has it, but for tags. */
struct purge_row {
    uint64_t id;         /* purge__scope_id() */
    uint64_t host_id;    /* of a prefix: the id of its host; else 0 */
    uint64_t hard, soft; /* 0: never */
    uint16_t text_bytes; /* of the whole text: the length of a prefix */
    enum purge_kind kind;
    struct slice label; /* of a tag: its first bytes; borrowed */
};

size_t purge_row_encode(const struct purge_row *r, unsigned char out[PURGE_ROW_BYTES_MAX]);
NODISCARD enum err purge_row_decode(struct slice bytes, struct purge_row *out);

/* What is drawn once, when the node is new. */
struct purge_identity {
    uint64_t cluster_id, ctl_id;
    struct digest_secret
        secret; /* of the hashes of scopes: purgers must not be able to aim at each other */
};

void purge_identity_encode(const struct purge_identity *i, unsigned char out[PURGE_IDENTITY_BYTES]);
NODISCARD enum err purge_identity_decode(struct slice bytes, struct purge_identity *out);

/* What moves with each transaction. */
struct purge_clock {
    uint16_t epoch; /* 0: of a follower that has never met its cluster */
    bool follows;   /* positions are another node's to give */
    uint32_t boot;
    uint32_t
        generation; /* of the table of scopes: rows of lower ones are only waiting to be deleted */
    uint64_t first_n; /* oldest record of the journal; head_n + 1 when it is empty */
    uint64_t head_n;
    uint64_t floor;         /* a position: what was born below it is dead */
    uint64_t journal_bytes; /* what the records take in the file, about */
    uint64_t epoch_tag;
    uint64_t head_id; /* of record head_n; 0 when that is 0 */
};

void purge_clock_encode(const struct purge_clock *c, unsigned char out[PURGE_CLOCK_BYTES]);
/* Of version 1 too: its tag and id are 0 then. */
NODISCARD enum err purge_clock_decode(struct slice bytes, struct purge_clock *out);

struct slice purge_journal_key(uint64_t position, unsigned char out[PURGE_JOURNAL_KEY_BYTES]);
struct slice purge_row_key(uint32_t generation, uint64_t id,
                           unsigned char out[PURGE_ROW_KEY_BYTES]);

/* False when it is no such key. */
bool purge_journal_key_parse(struct slice key, uint64_t *out_position);
bool purge_row_key_parse(struct slice key, uint32_t *out_generation, uint64_t *out_id);

/* Does the scope have the form that purge.h asks for? */
bool purge_scope_is_valid(const struct purge_scope *s);

/* The host of a URL, a prefix or a purge URL: what stands before the first '/'. */
static inline struct slice purge_host_of(struct slice text)
{
    return slice_head(text, slice_index(text, '/'));
}

#endif
