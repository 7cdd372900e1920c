/*
 * Input: a target up to a newline, a reference (url_resolve()).  What is resolved may be asked for,
 * holds no dot segments but those of a base whose path stays, and resolves to itself; as an
 * absolute URL it names the same at another host, and behind another scheme nothing.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/limits.h"
#include "http/url.h"

enum { INPUT_BYTES_MAX = 20000, ARENA_BYTES_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static bool has_dots(struct slice path)
{
    while (path.n > 0) {
        struct slice segment = slice_head(path, slice_index(path, '/'));

        if (slice_eq(segment, SLICE(".")) || slice_eq(segment, SLICE("..")))
            return true;
        path = slice_from(path, segment.n + 1);
    }
    return false;
}

/* `prefix` before a target that was resolved: what it names; target.p == NULL: nothing. */
static struct url_parts again(struct slice base, const char *prefix, struct slice target,
                              struct arena *a)
{
    struct url_parts u = {0};
    struct buf b;

    buf_init(&b, 2 * LIMIT_TARGET_BYTES);
    buf_add(&b, slice_of(prefix));
    buf_add(&b, target);
    if (url_resolve(arena_dup(a, buf_slice(&b)), true, SLICE("h.example"), base, a, &u) != ERR_OK)
        u.target.p = NULL;
    buf_release(&b);
    return u;
}

static void check(struct slice base, struct slice reference)
{
    struct url_parts u, v;
    struct slice path;
    struct arena a;

    arena_init(&a, NULL, 0, ARENA_BYTES_MAX);
    if (url_resolve(reference, true, SLICE("h.example"), base, &a, &u) == ERR_OK) {
        path = slice_head(u.target, url_path_bytes(u.target));
        CHECK(url_target_is_valid(u.target) && u.host.n > 0 && u.port > 0);
        CHECK(!has_dots(path) || slice_eq(path, slice_head(base, url_path_bytes(base))));
        v = again(base, "https://Other.example.:8443", u.target, &a);
        CHECK(slice_eq(v.host, SLICE("Other.example.")) && v.port == 8443 && v.is_https);
        CHECK(has_dots(path) || slice_eq(v.target, u.target));
        v = again(base, "mailto:", u.target, &a);
        CHECK(v.target.p == NULL);
    }
    arena_release(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct slice input = {(const char *)data, bytes}, base;

    if (bytes > INPUT_BYTES_MAX)
        return 0;
    base = slice_head(input, slice_index(input, '\n'));
    if (!url_target_is_valid(base))
        base = SLICE("/b/c/d;p?q");
    check(base, slice_from(input, slice_index(input, '\n') + 1));
    return 0;
}
