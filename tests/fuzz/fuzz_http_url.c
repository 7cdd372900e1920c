/*
 * Input: an authority (or a glob) up to a newline, a target.  A purge form is its own purge form,
 * the same for a target that spells its letters as escapes, and holds neither dot segments nor
 * empty ones; a host is its own host; a glob matches what a table of all prefixes says it does;
 * where a reference leads is its own reference.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/limits.h"
#include "http/url.h"

enum { INPUT_BYTES_MAX = 20000, ARENA_BYTES_MAX = 1 << 20, GLOB_BYTES_MAX = 48 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static bool holds(struct slice s, struct slice part)
{
    for (size_t i = 0; i + part.n <= s.n; i++)
        if (slice_eq(slice_head(slice_from(s, i), part.n), part))
            return true;
    return false;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

/* Letters, digits and dots as %XX; what is an escape already stays. */
static void spell_otherwise(struct slice target, struct buf *out)
{
    for (size_t i = 0; i < target.n; i++) {
        char c = target.p[i];

        if (c == '%' && i + 2 < target.n && is_hex(target.p[i + 1]) && is_hex(target.p[i + 2])) {
            buf_add(out, slice_head(slice_from(target, i), 3));
            i += 2;
        } else if (c == '.' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z')) {
            buf_addf(out, "%%%02x", (unsigned)c);
        } else {
            buf_add_char(out, c);
        }
    }
}

static void check_form(struct slice target)
{
    struct slice host = SLICE("h.example"), form, path;
    struct buf first, second, third, other;

    buf_init(&first, host.n + 3 * target.n + 1);
    buf_init(&second, host.n + 3 * target.n + 1);
    buf_init(&third, host.n + 3 * target.n + 1);
    buf_init(&other, 4 * target.n + 1);
    url_purge_form(host, target, &first);
    CHECK(!first.failed);
    form = slice_from(buf_slice(&first), host.n);
    CHECK(slice_starts_with(buf_slice(&first), SLICE("h.example/")));
    path = slice_head(form, url_path_bytes(form));
    CHECK(!holds(path, SLICE("//")) && !holds(path, SLICE("/./")) && !holds(path, SLICE("/../")));
    CHECK(!slice_ends_with(path, SLICE("/.")) && !slice_ends_with(path, SLICE("/..")));
    CHECK(form.n > LIMIT_TARGET_BYTES || url_target_is_valid(form));

    url_purge_form(host, form, &second);
    CHECK(slice_eq(buf_slice(&first), buf_slice(&second)));

    spell_otherwise(target, &other);
    CHECK(!other.failed);
    url_purge_form(host, buf_slice(&other), &third);
    CHECK(slice_eq(buf_slice(&first), buf_slice(&third)));
    buf_release(&first);
    buf_release(&second);
    buf_release(&third);
    buf_release(&other);
}

static void check_host(struct slice authority)
{
    struct slice host, again;
    struct url_parts parts;
    struct buf url;
    uint16_t port, none;
    struct arena a;

    arena_init(&a, NULL, 0, ARENA_BYTES_MAX);
    buf_init(&url, INPUT_BYTES_MAX + 16);
    buf_addf(&url, "http://");
    buf_add(&url, authority);
    if (url_host(authority, &a, &host, &port) == ERR_OK) {
        CHECK(host.n > 0 && host.n <= authority.n);
        for (size_t i = 0; i < host.n; i++)
            CHECK(host.p[i] > ' ' && !(host.p[i] >= 'A' && host.p[i] <= 'Z') && host.p[i] != '@');
        CHECK(url_host(host, &a, &again, &none) == ERR_OK && none == 0 && slice_eq(host, again));
        CHECK(url_parse_absolute(buf_slice(&url), &parts) == ERR_OK);
        CHECK(parts.port == (port == 0 ? 80 : port) && slice_eq(parts.target, SLICE("/")));
    } else if (url_parse_absolute(buf_slice(&url), &parts) == ERR_OK) {
        CHECK(parts.target.n > 1 || slice_ends_with(authority, SLICE("/")));
        CHECK(url_host(parts.host, &a, &host, &none) == ERR_OK && none == 0);
    }
    buf_release(&url);
    arena_release(&a);
}

/* matches[p]: does what was read of the glob match the first p bytes? */
static void check_glob(struct slice glob, struct slice path)
{
    bool matches[GLOB_BYTES_MAX + 1] = {true};

    glob = slice_head(glob, GLOB_BYTES_MAX);
    path = slice_head(path, GLOB_BYTES_MAX);
    for (size_t g = 0; g < glob.n; g++) {
        if (glob.p[g] == '*') {
            for (size_t p = 1; p <= path.n; p++)
                matches[p] = matches[p] || matches[p - 1];
            continue;
        }
        for (size_t p = path.n; p > 0; p--)
            matches[p] = matches[p - 1] && (glob.p[g] == '?' || glob.p[g] == path.p[p - 1]);
        matches[0] = false;
    }
    CHECK(url_glob_matches(glob, path) == matches[path.n]);
}

/* What a reference leads to may be asked for, has no dot segments, and leads to itself. */
static void check_reference(struct slice reference)
{
    struct slice host = SLICE("h.example"), base = SLICE("/a/b?c"), path;
    struct url_parts parts, again;
    struct arena a;

    arena_init(&a, NULL, 0, ARENA_BYTES_MAX);
    if (url_resolve(reference, true, host, base, &a, &parts) == ERR_OK) {
        path = slice_head(parts.target, url_path_bytes(parts.target));
        CHECK(url_target_is_valid(parts.target));
        CHECK(!holds(path, SLICE("/./")) && !holds(path, SLICE("/../")));
        CHECK(!slice_ends_with(path, SLICE("/.")) && !slice_ends_with(path, SLICE("/..")));
        if (!slice_starts_with(path, SLICE("//"))) /* that would be a host */
            CHECK(url_resolve(parts.target, true, host, base, &a, &again) == ERR_OK &&
                  slice_eq(again.target, parts.target));
    }
    arena_release(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct slice input = {(const char *)data, bytes}, first, target;
    struct url_parts parts;

    if (bytes > INPUT_BYTES_MAX)
        return 0;
    first = slice_head(input, slice_index(input, '\n'));
    target = slice_from(input, first.n + 1);
    check_form(target);
    check_host(first);
    check_glob(first, target);
    check_reference(first);
    check_reference(target);
    if (url_parse_absolute(target, &parts) == ERR_OK) {
        CHECK(parts.host.n > 0 && parts.port > 0 && parts.target.p[0] == '/');
        check_host(parts.host);
    }
    return 0;
}
