#include "cache/tags.h"

#include "base/limits.h"
#include "purge/purge.h"

struct tags {
    uint64_t *hash;
    uint32_t count;
    size_t bytes;
    bool overflow;
};

static void add_hash(struct tags *t, uint64_t h)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (t->hash[i] == h)
            return;
    if (t->count == LIMIT_TAGS) {
        t->overflow = true;
        return;
    }
    t->hash[t->count++] = h;
}

static void add(struct tags *t, struct slice tag)
{
    if (tag.n == 0)
        return;
    t->bytes += tag.n;
    if (tag.n > LIMIT_TAG_BYTES || t->bytes > LIMIT_TAGS_BYTES) {
        t->overflow = true;
        return;
    }
    add_hash(t, purge_tag_hash(tag));
}

/* Where a field's white space divides tags, a tab does too (RFC 9110 section 5.6.3). */
static size_t next_divider(struct slice value, char divider)
{
    size_t end = slice_index(value, divider);

    return divider == ' ' ? slice_index(slice_head(value, end), '\t') : end;
}

static void add_all(struct tags *t, struct slice value, char divider)
{
    while (value.n > 0) {
        size_t end = next_divider(value, divider);

        add(t, slice_trim(slice_head(value, end)));
        value = slice_from(value, end + 1);
    }
}

static char divider_of(struct slice name)
{
    if (slice_eq(name, SLICE("surrogate-key")))
        return ' ';
    return slice_eq(name, SLICE("cache-tag")) ? ',' : '\0';
}

enum err tags_read(const struct http_fields *fields, struct arena *a, const uint64_t **out, uint32_t *count, bool *overflow)
{
    struct tags t = {0};

    for (size_t i = 0; i < fields->count; i++) {
        char divider = divider_of(fields->item[i].name);

        if (divider == '\0')
            continue;
        if (t.hash == NULL && (t.hash = arena_alloc(a, LIMIT_TAGS * sizeof(*t.hash))) == NULL)
            return ERR_LIMIT;
        add_all(&t, fields->item[i].value, divider);
    }
    *out = t.hash;
    *count = t.count;
    *overflow = t.overflow;
    return ERR_OK;
}

enum err tags_join(const uint64_t *a_tags, uint32_t a_count, const uint64_t *b_tags, uint32_t b_count, struct arena *a,
                   const uint64_t **out, uint32_t *count, bool *overflow)
{
    struct tags t = {.hash = arena_alloc(a, LIMIT_TAGS * sizeof(*t.hash))};

    if (t.hash == NULL)
        return ERR_LIMIT;
    for (uint32_t i = 0; i < a_count; i++)
        add_hash(&t, a_tags[i]);
    for (uint32_t i = 0; i < b_count; i++)
        add_hash(&t, b_tags[i]);
    *out = t.hash;
    *count = t.count;
    *overflow |= t.overflow;
    return ERR_OK;
}
