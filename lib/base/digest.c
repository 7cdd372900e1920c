#include "base/digest.h"

#include <sys/random.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/check.h"

enum { HMAC_BLOCK_BYTES = 64 }; /* of SHA-256 */

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

/* Looked up once: OpenSSL would do it anew for each digest, which costs more than a short one. */
static EVP_MD *sha256;
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

static void find_sha256(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    CHECK(sha256 != NULL);
}

void digest_sha256(struct slice s, unsigned char out[DIGEST_SHA256_BYTES])
{
    unsigned n = 0;

    pthread_once(&sha256_once, find_sha256);
    CHECK(EVP_Digest(s.p, s.n, out, &n, sha256, NULL) == 1);
    CHECK(n == DIGEST_SHA256_BYTES);
}

/* OpenSSL's own context: one allocation, and no struct of ours around it. */
struct digest_run *digest_run_new(void)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    if (ctx != NULL)
        CHECK(EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1);
    return (struct digest_run *)ctx;
}

void digest_run_add(struct digest_run *r, struct slice s)
{
    if (s.n > 0)
        CHECK(EVP_DigestUpdate((EVP_MD_CTX *)r, s.p, s.n) == 1);
}

void digest_run_end(struct digest_run *r, unsigned char out[DIGEST_SHA256_BYTES])
{
    unsigned n = 0;

    if (r != NULL && out != NULL)
        CHECK(EVP_DigestFinal_ex((EVP_MD_CTX *)r, out, &n) == 1 && n == DIGEST_SHA256_BYTES);
    EVP_MD_CTX_free((EVP_MD_CTX *)r);
}

static void sha256_parts(const unsigned char block[HMAC_BLOCK_BYTES], const struct slice *part,
                         size_t count, unsigned char out[DIGEST_SHA256_BYTES])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned n = 0;
    bool ok = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
              EVP_DigestUpdate(ctx, block, HMAC_BLOCK_BYTES) == 1;

    for (size_t i = 0; ok && i < count; i++)
        ok = EVP_DigestUpdate(ctx, part[i].p, part[i].n) == 1;
    CHECK(ok && EVP_DigestFinal_ex(ctx, out, &n) == 1 && n == DIGEST_SHA256_BYTES);
    EVP_MD_CTX_free(ctx);
}

void digest_hmac_sha256(struct slice secret, const struct slice *part, size_t count,
                        unsigned char out[DIGEST_SHA256_BYTES])
{
    unsigned char key[HMAC_BLOCK_BYTES] = {0}, block[HMAC_BLOCK_BYTES], inner[DIGEST_SHA256_BYTES];
    struct slice sum = {(const char *)inner, sizeof(inner)};

    if (secret.n > sizeof(key))
        digest_sha256(secret, key);
    else if (secret.n > 0)
        memcpy(key, secret.p, secret.n);
    for (size_t i = 0; i < sizeof(key); i++)
        block[i] = key[i] ^ 0x36;
    sha256_parts(block, part, count, inner);
    for (size_t i = 0; i < sizeof(key); i++)
        block[i] = key[i] ^ 0x5c;
    sha256_parts(block, &sum, 1, out);
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
