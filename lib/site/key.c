#include <stdio.h>

#include "base/buf.h"
#include "http/url.h"
#include "site/site.h"

/* A change of what makes two requests the same is a new version: old objects are not found any
 * more, rather than wrongly. */
#define KEY_VERSION "1"

enum { BLOCK_SUFFIX_BYTES = 48 };

/* Neither version, scheme, a valid host nor a valid target holds a space, so the text falls apart
 * in one way only. */
static struct slice make_key(bool is_https, struct slice host, struct slice target,
                             struct slice country, struct arena *a)
{
    struct slice prefix = is_https ? SLICE(KEY_VERSION " https ") : SLICE(KEY_VERSION " http ");
    size_t n = prefix.n + host.n + 1 + target.n + country.n;
    char *p = arena_alloc(a, n);

    if (p == NULL)
        return (struct slice){0};
    memcpy(p, prefix.p, prefix.n);
    memcpy(p + prefix.n, host.p, host.n);
    p[prefix.n + host.n] = ' ';
    memcpy(p + prefix.n + host.n + 1, target.p, target.n);
    memcpy(p + n - country.n, country.p, country.n);
    return (struct slice){p, n};
}

struct slice site_key(const struct site *s, bool is_https, struct slice host, struct slice target,
                      struct arena *a)
{
    (void)s; /* it follows from the host; `target` is site_target()'s already */
    return make_key(is_https, host, target, SLICE(""), a);
}

struct slice site_key_of_country(const struct site *s, bool is_https, struct slice host,
                                 struct slice target, const struct site_country *country,
                                 struct arena *a)
{
    char suffix[] = {' ', '-', '-'};

    if (!s->sends_country)
        return site_key(s, is_https, host, target, a);
    if (country != NULL)
        memcpy(suffix + 1, country->code, SITE_COUNTRY_BYTES);
    return make_key(is_https, host, target, (struct slice){suffix, sizeof(suffix)}, a);
}

struct slice site_key_of_block(struct slice key, uint64_t index, uint64_t bytes, struct arena *a)
{
    char suffix[BLOCK_SUFFIX_BYTES];
    int n = snprintf(suffix, sizeof(suffix), " #%llu:%llu", (unsigned long long)index,
                     (unsigned long long)bytes);
    char *p = arena_alloc(a, key.n + (size_t)n);

    if (p == NULL)
        return (struct slice){0};
    memcpy(p, key.p, key.n);
    memcpy(p + key.n, suffix, (size_t)n);
    return (struct slice){p, key.n + (size_t)n};
}

/* What stands behind the last space, if it begins with '#', which no target does. */
struct slice site_key_whole(struct slice key)
{
    size_t at = key.n;

    while (at > 0 && key.n - at < BLOCK_SUFFIX_BYTES && key.p[at - 1] != ' ')
        at--;
    return at > 0 && at < key.n && key.p[at - 1] == ' ' && key.p[at] == '#'
               ? slice_head(key, at - 1)
               : key;
}

/* A target of two bytes stands behind a space too, but begins with '/'. */
struct slice site_key_of_all(struct slice key)
{
    bool has_country;

    key = site_key_whole(key);
    has_country = key.n > SITE_COUNTRY_BYTES && key.p[key.n - 3] == ' ' && key.p[key.n - 2] != '/';
    return slice_head(key, has_country ? key.n - 3 : key.n);
}

/* Once more by the names as they are in normal form; what is dropped is told by those that came. */
static struct slice sorted_again(const struct site *s, struct slice url, size_t host_bytes,
                                 struct arena *a)
{
    const struct site sorts = {.query_sort = s->query_sort};
    struct slice target = slice_from(url, host_bytes), sorted = site_target(&sorts, target, a);

    if (sorted.p == NULL)
        return sorted;
    if (sorted.p != target.p)
        memcpy((char *)(uintptr_t)target.p, sorted.p, sorted.n); /* the arena's, and as long */
    return url;
}

struct slice site_purge_url(const struct site *s, struct slice host, struct slice target,
                            struct arena *a)
{
    struct slice url = {0};
    struct buf b;

    target = site_target(s, target, a);
    if (target.p == NULL)
        return url;
    buf_init(&b,
             host.n + 3 * target.n + 1); /* at most each byte becomes %XX, and an empty path "/" */
    url_purge_form(host, target, &b);
    if (!b.failed)
        url = arena_dup(a, buf_slice(&b));
    buf_release(&b);
    return url.p == NULL ? url : sorted_again(s, url, host.n, a);
}
