/*
 * Input: a byte that says how it is cut, frames.  However they are cut, frames end at the same
 * bytes, and no more is passed than there is; a chunked body comes out the same as well.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/digest.h"
#include "http/chunks.h"
#include "http/websocket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* A digest of where frames end. */
static uint64_t ends(const char *p, size_t n, size_t piece)
{
    struct websocket_frames f = {.has_close = false};
    uint64_t sum = 0;
    size_t at = 0;

    while (at < n) {
        size_t some = n - at < piece ? n - at : piece;
        size_t passed = websocket_frames_pass(&f, p + at, some, true);

        CHECK(passed > 0 && passed <= some);
        CHECK(passed == some || websocket_is_between(&f));
        at += passed;
        if (websocket_is_between(&f))
            sum = digest_64((struct slice){(const char *)&at, sizeof(at)}) ^ (sum << 1);
    }
    return sum ^ (uint64_t)f.has_close ^ (uint64_t)f.is_broken << 1;
}

static uint64_t body(const char *p, size_t n, size_t piece)
{
    struct chunks c = {0};
    enum chunks_step step = CHUNKS_MORE;
    uint64_t sum = 0, count = 0;
    size_t at = 0;

    while (at < n && step == CHUNKS_MORE) {
        struct slice in = {p + at, n - at < piece ? n - at : piece}, out;

        at += in.n;
        while ((step = chunks_next(&c, &in, &out)) == CHUNKS_DATA) {
            CHECK(out.n > 0);
            count += out.n;
            for (size_t i = 0; i < out.n; i++)
                sum = sum * 31 + (unsigned char)out.p[i];
        }
        at -= step == CHUNKS_MORE ? 0 : in.n;
    }
    CHECK(count <= n);
    return step == CHUNKS_BROKEN ? 1 : sum ^ count ^ (uint64_t)at << 32 ^ (uint64_t)step << 62;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const char *p = (const char *)data;
    size_t piece;

    if (bytes < 2)
        return 0;
    piece = data[0] + 1u;
    CHECK(ends(p + 1, bytes - 1, piece) == ends(p + 1, bytes - 1, SIZE_MAX));
    CHECK(body(p + 1, bytes - 1, piece) == body(p + 1, bytes - 1, SIZE_MAX));
    return 0;
}
