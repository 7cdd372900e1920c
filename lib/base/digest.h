/*
 * digest: hashes, and comparing secrets.  Any thread; pure but for digest_random().
 */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum { DIGEST_SECRET_BYTES = 192, DIGEST_SHA256_BYTES = 32, DIGEST_SHA1_BYTES = 20 };

/* XXH3 is fast and not collision-resistant: with a secret where strangers choose the input. */
struct digest_secret {
    unsigned char bytes[DIGEST_SECRET_BYTES];
};

struct digest_128 {
    uint64_t high, low;
};

uint64_t digest_64(struct slice s); /* no secret: checksums of what we wrote ourselves */
uint64_t digest_64_secret(const struct digest_secret *secret, struct slice s);
struct digest_128 digest_128_secret(const struct digest_secret *secret, struct slice s);

void digest_sha256(struct slice s, unsigned char out[DIGEST_SHA256_BYTES]);
void digest_sha1(struct slice s, unsigned char out[DIGEST_SHA1_BYTES]); /* where a protocol says so */

/* SHA-256 of what comes in pieces.  NULL when out of memory; end() frees it, `out` NULL: unread. */
struct digest_run;
struct digest_run *digest_run_new(void);
void digest_run_add(struct digest_run *r, struct slice s);
void digest_run_end(struct digest_run *r,
                    unsigned char out[DIGEST_SHA256_BYTES]); /* NULL is fine */

/* HMAC (RFC 2104) of `count` parts as if they were one. */
void digest_hmac_sha256(struct slice secret, const struct slice *part, size_t count,
                        unsigned char out[DIGEST_SHA256_BYTES]);

/* Takes as long for equal as for different ones of the same length. */
bool digest_equal(struct slice a, struct slice b);

/* From the kernel; aborts when it has none, which only a broken machine does. */
void digest_random(void *to, size_t bytes);

#endif
