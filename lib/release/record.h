/*
 * record: how the tables of files/ are written; every value with its kind, version and checksum.
 *
 * Numbers are little-endian.  Pure; any thread.
 */
#ifndef RELEASE_RECORD_H
#define RELEASE_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/slice.h"

enum {
    RELEASE_NAME_BYTES = 65, /* of a site or a release, with the NUL */
    RELEASE_FILE_ROW_BYTES = 2 + 4 * 8 + 8,
    RELEASE_ROW_BYTES_MAX = 2 + 1 + 5 * 8 + DIGEST_SHA256_BYTES + 1 + RELEASE_NAME_BYTES + 8,
    RELEASE_STATE_BYTES = 2 + 8 + 8,
    RELEASE_NEWS_BYTES_MAX = RELEASE_ROW_BYTES_MAX + RELEASE_NAME_BYTES + 1,
    RELEASE_KEY_BYTES_MAX = 2 * RELEASE_NAME_BYTES,
};

/* One content. */
struct file_row {
    uint64_t bytes;
    uint64_t have; /* that have come; all of them: and the hash is right */
    uint64_t refs; /* releases' entries, and releases as their manifest */
    int64_t at_ms; /* when the last piece came */
};

static inline bool file_row_is_whole(const struct file_row *r)
{
    return r->have == r->bytes;
}

/* One release of a site. */
struct release_row {
    uint64_t serial; /* of its last activation by a publish: the order of releases */
    int64_t at_ms;   /* of that; wall clock */
    uint64_t files, bytes, manifest_bytes;
    unsigned char manifest[DIGEST_SHA256_BYTES];
    char id[RELEASE_NAME_BYTES];
    bool is_followed; /* another node's: the contents are there */
};

/* Letters, digits, '.', '_', '-', at most 64: the name of a site or of a release. */
bool release_name_is_valid(struct slice s);

void file_row_encode(const struct file_row *r, unsigned char out[RELEASE_FILE_ROW_BYTES]);
NODISCARD enum err file_row_decode(struct slice s, struct file_row *out);

size_t release_row_encode(const struct release_row *r, unsigned char out[RELEASE_ROW_BYTES_MAX]);
NODISCARD enum err release_row_decode(struct slice s, struct release_row *out);

void release_state_encode(uint64_t serial, unsigned char out[RELEASE_STATE_BYTES]);
NODISCARD enum err release_state_decode(struct slice s, uint64_t *out);

/* What a node tells another: this is the release of that site now. */
struct release_news {
    char site[RELEASE_NAME_BYTES];
    struct release_row row;
};
size_t release_news_encode(const struct release_news *n, unsigned char out[RELEASE_NEWS_BYTES_MAX]);
NODISCARD enum err release_news_decode(struct slice s, struct release_news *out);

/* SITE NUL ID; an empty id: the key before all of that site. */
struct slice release_key(const char *site, const char *id, char out[RELEASE_KEY_BYTES_MAX]);
bool release_key_parse(struct slice key, char site[RELEASE_NAME_BYTES],
                       char id[RELEASE_NAME_BYTES]);

/* SHA-256, number of the chunk in big-endian. */
enum { RELEASE_CHUNK_KEY_BYTES = DIGEST_SHA256_BYTES + 4 };
struct slice release_chunk_key(const unsigned char sha256[DIGEST_SHA256_BYTES], uint32_t n,
                               unsigned char out[RELEASE_CHUNK_KEY_BYTES]);

#endif
