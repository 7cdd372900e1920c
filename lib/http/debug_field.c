#include "http/debug_field.h"

#include <stdio.h>

#include "base/check.h"
#include "base/digest.h"

enum { DAY_S = 86400, DIGITS_MAX = 15 };

size_t http_debug_field_make(struct slice path, struct slice secret, int64_t expiry_s,
                             char out[HTTP_DEBUG_FIELD_BYTES])
{
    static const char hex[] = "0123456789abcdef";
    char head[64];
    unsigned char sum[DIGEST_SHA256_BYTES];
    struct slice part[2] = {{head, 0}, path};
    size_t n;

    CHECK(expiry_s >= 0);
    part[0].n = (size_t)snprintf(head, sizeof(head), "selvage-debug %lld ", (long long)expiry_s);
    digest_hmac_sha256(secret, part, 2, sum);
    n = (size_t)snprintf(out, HTTP_DEBUG_FIELD_BYTES, "%lld.", (long long)expiry_s);
    for (size_t i = 0; i < sizeof(sum); i++) {
        out[n++] = hex[sum[i] >> 4];
        out[n++] = hex[sum[i] & 15];
    }
    return n;
}

bool http_debug_field_is_valid(struct slice value, struct slice path, struct slice secret,
                               int64_t now_s)
{
    struct slice digits = slice_head(value, slice_index(value, '.'));
    char want[HTTP_DEBUG_FIELD_BYTES];
    uint64_t expiry_s;
    size_t n;

    if (digits.n == 0 || digits.n > DIGITS_MAX || digits.n == value.n ||
        !slice_to_u64(digits, &expiry_s))
        return false;
    if ((int64_t)expiry_s < now_s || (int64_t)expiry_s - now_s > HTTP_DEBUG_DAYS_MAX * DAY_S)
        return false;
    n = http_debug_field_make(path, secret, (int64_t)expiry_s, want);
    return digest_equal(value, (struct slice){want, n});
}
