/*
 * Input: lines of values, each both a Cache-Control line and one of a targeted field.  Numbers stay
 * in their range and lists within the input; capitals, unknown directives and the division into
 * lines change nothing; a targeted field that is refused leaves nothing behind.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "http/cache_control.h"
#include "http_lines.h"

enum { INPUT_BYTES_MAX = 4096, ARENA_BYTES_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static bool is_seconds(int64_t s)
{
    return s == CC_ABSENT || s == CC_INVALID || (s >= 0 && s <= CC_MAX_S);
}

static void check_ranges(const struct cache_control *c)
{
    CHECK(is_seconds(c->max_age_s) && is_seconds(c->s_maxage_s));
    CHECK(is_seconds(c->stale_while_revalidate_s) && is_seconds(c->stale_if_error_s));
    CHECK(is_seconds(c->max_stale_s) && is_seconds(c->min_fresh_s));
    CHECK(!c->no_cache || c->no_cache_fields.p == NULL);
    CHECK(!c->is_private || c->private_fields.p == NULL);
    CHECK(!c->max_stale_any || c->max_stale_s == CC_ABSENT || !c->present);
}

static void check_same(const struct cache_control *a, const struct cache_control *b)
{
    CHECK(a->no_store == b->no_store && a->no_cache == b->no_cache);
    CHECK(a->is_private == b->is_private && a->is_public == b->is_public);
    CHECK(a->must_revalidate == b->must_revalidate && a->proxy_revalidate == b->proxy_revalidate);
    CHECK(a->must_understand == b->must_understand && a->immutable == b->immutable);
    CHECK(a->no_transform == b->no_transform && a->only_if_cached == b->only_if_cached);
    CHECK(a->max_stale_any == b->max_stale_any && a->bad == b->bad && a->present == b->present);
    CHECK(a->max_age_s == b->max_age_s && a->s_maxage_s == b->s_maxage_s);
    CHECK(a->stale_while_revalidate_s == b->stale_while_revalidate_s);
    CHECK(a->stale_if_error_s == b->stale_if_error_s);
    CHECK(a->max_stale_s == b->max_stale_s && a->min_fresh_s == b->min_fresh_s);
    CHECK(slice_eq_nocase(a->no_cache_fields, b->no_cache_fields));
    CHECK(slice_eq_nocase(a->private_fields, b->private_fields));
}

static void check_is_inside(struct slice part, struct slice text)
{
    CHECK(part.p == NULL || (part.p >= text.p && part.p + part.n <= text.p + text.n && part.n > 0));
}

static void add_upper(struct http_fields *f, struct arena *a, struct slice value)
{
    char *p = arena_text(a, value);

    CHECK(p != NULL);
    for (size_t i = 0; i < value.n; i++)
        if (p[i] >= 'a' && p[i] <= 'z')
            p[i] = (char)(p[i] - 0x20);
    add_line(f, a, SLICE("cache-control"), (struct slice){p, value.n});
}

/* The same directives in capitals, each on a line of its own, an unknown one in front. */
static void divide(const struct http_fields *f, struct arena *a, struct http_fields *out)
{
    add_line(out, a, SLICE("cache-control"), SLICE("x-unknown=\"max-age=1, no-store\""));
    for (size_t i = 0; i < f->count; i++) {
        struct slice rest = f->item[i].value, member;

        while (http_list_next(&rest, &member, NULL))
            add_upper(out, a, member);
    }
}

static void check_targeted(const struct http_fields *f, struct slice text)
{
    struct cache_control c, none;
    struct http_fields empty = {0};

    CHECK(!cache_control_parse_targeted(&empty, SLICE("cdn-cache-control"), &none));
    if (!cache_control_parse_targeted(f, SLICE("cdn-cache-control"), &c)) {
        check_same(&c, &none);
        return;
    }
    CHECK(c.present && !c.bad && !c.max_stale_any);
    check_ranges(&c);
    check_is_inside(c.no_cache_fields, text);
    check_is_inside(c.private_fields, text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct slice text = {(const char *)data, bytes}, rest = text, line;
    struct http_fields plain = {0}, targeted = {0}, divided = {0};
    struct cache_control c, d;
    struct arena a;

    if (bytes > INPUT_BYTES_MAX)
        return 0;
    arena_init(&a, NULL, 0, ARENA_BYTES_MAX);
    while (next_line(&rest, &line)) {
        add_line(&plain, &a, SLICE("cache-control"), line);
        add_line(&targeted, &a, SLICE("cdn-cache-control"), line);
    }
    cache_control_parse(&plain, &c);
    CHECK(c.present == (plain.count > 0));
    check_ranges(&c);
    check_is_inside(c.no_cache_fields, text);
    check_is_inside(c.private_fields, text);
    divide(&plain, &a, &divided);
    if (plain.count > 0 && divided.count < HTTP_LINES_MAX) {
        cache_control_parse(&divided, &d);
        check_same(&c, &d);
    }
    check_targeted(&targeted, text);
    arena_release(&a);
    return 0;
}
