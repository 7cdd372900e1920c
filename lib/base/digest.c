#include "base/digest.h"

#include <sys/random.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/check.h"

_Static_assert(DIGEST_SECRET_BYTES >= XXH3_SECRET_SIZE_MIN, "XXH3 wants a longer secret");

uint64_t digest_64(struct slice s)
{
    return XXH3_64bits(s.p, s.n);
}

uint64_t digest_64_secret(const struct digest_secret *secret, struct slice s)
{
    return XXH3_64bits_withSecret(s.p, s.n, secret->bytes, sizeof(secret->bytes));
}

struct digest_128 digest_128_secret(const struct digest_secret *secret, struct slice s)
{
    XXH128_hash_t h = XXH3_128bits_withSecret(s.p, s.n, secret->bytes, sizeof(secret->bytes));

    return (struct digest_128){.high = h.high64, .low = h.low64};
}

void digest_sha256(struct slice s, unsigned char out[DIGEST_SHA256_BYTES])
{
    unsigned n = 0;

    CHECK(EVP_Digest(s.p, s.n, out, &n, EVP_sha256(), NULL) == 1);
    CHECK(n == DIGEST_SHA256_BYTES);
}

void digest_sha1(struct slice s, unsigned char out[DIGEST_SHA1_BYTES])
{
    unsigned n = 0;

    CHECK(EVP_Digest(s.p, s.n, out, &n, EVP_sha1(), NULL) == 1);
    CHECK(n == DIGEST_SHA1_BYTES);
}

bool digest_equal(struct slice a, struct slice b)
{
    return a.n == b.n && CRYPTO_memcmp(a.p, b.p, a.n) == 0;
}

void digest_random(void *to, size_t bytes)
{
    char *at = to;

    while (bytes > 0) {
        ssize_t n = getrandom(at, bytes, 0);

        CHECK(n > 0);
        at += n;
        bytes -= (size_t)n;
    }
}
