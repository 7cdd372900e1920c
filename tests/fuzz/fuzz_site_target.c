/*
 * Input: one byte of options, a list of names up to a newline, a target.  Whatever is dropped: the
 * path stays, the parameters that stay are some of those that came, in their order and byte for
 * byte, dropping again changes nothing, and no two targets that differ share a key.  Sorted ones
 * are a permutation, and sorting again changes nothing.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/check.h"
#include "http/url.h"
#include "site/site.h"

enum { NAMES_MAX = 8, ARENA_BYTES_MAX = 1 << 22, INPUT_BYTES_MAX = 65536 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static size_t split_names(struct slice list, const char **out, struct arena *a)
{
    size_t count = 0;

    while (list.n > 0 && count < NAMES_MAX) {
        size_t end = slice_index(list, ',');

        out[count++] = arena_text(a, slice_head(list, end));
        list = slice_from(list, end + 1);
    }
    return count;
}

/* Cut one parameter off; false at the end.  A query without '&' is one parameter. */
static bool next(struct slice *rest, bool *is_more, struct slice *out)
{
    size_t end = slice_index(*rest, '&');
    bool was_more = *is_more;

    *out = slice_head(*rest, end);
    *is_more = end < rest->n;
    *rest = slice_from(*rest, end + 1);
    return was_more;
}

static void check_is_part(struct slice whole, struct slice part)
{
    size_t path = url_path_bytes(whole);
    struct slice from = slice_from(whole, path + 1), to = slice_from(part, path + 1), have, want;
    bool more_from = path < whole.n, more_to = path < part.n;

    CHECK(part.n >= path && slice_eq(slice_head(whole, path), slice_head(part, path)));
    CHECK(path == part.n || part.p[path] == '?');
    while (next(&to, &more_to, &want))
        do
            CHECK(next(&from, &more_from, &have));
        while (!slice_eq(have, want));
}

static uint64_t byte_sum(struct slice s)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < s.n; i++)
        sum += (unsigned char)s.p[i];
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const char *name[NAMES_MAX];
    struct slice input = {(const char *)data, bytes}, list, target, once, twice, key, key_of_target;
    struct site site = {0};
    struct site_strings *names;
    bool is_keep_list;
    struct arena a;

    if (bytes == 0 || bytes > INPUT_BYTES_MAX)
        return 0;
    site.query_drop_tracking = (data[0] & 1) != 0;
    site.query_keep_none = (data[0] & 2) != 0;
    is_keep_list = (data[0] & 4) != 0;
    list = slice_head(slice_from(input, 1), slice_index(slice_from(input, 1), '\n'));
    target = slice_from(input, 1 + list.n + 1);
    arena_init(&a, NULL, 0, ARENA_BYTES_MAX);
    names = is_keep_list ? &site.query_keep_names : &site.query_drop_names;
    names->count = split_names(list, name, &a);
    names->item = name;

    once = site_target(&site, target, &a);
    CHECK(once.p != NULL);
    check_is_part(target, once);
    twice = site_target(&site, once, &a);
    CHECK(slice_eq(once, twice));

    site.query_sort = true;
    twice = site_target(&site, target, &a);
    CHECK(twice.p != NULL && twice.n == once.n);
    CHECK(byte_sum(twice) == byte_sum(once));
    CHECK(slice_eq(site_target(&site, twice, &a), twice));

    key = site_key(&site, true, SLICE("a.example"), once, &a);
    key_of_target = site_key(&site, true, SLICE("a.example"), target, &a);
    CHECK(slice_eq(key, key_of_target) == slice_eq(once, target));
    arena_release(&a);
    return 0;
}
