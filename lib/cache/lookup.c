/* What is stored for a request: the base row, or the variant that it leads to; judged, decoded, and
 * ready to be decided about. */
#include "base/clock.h"
#include "base/limits.h"
#include "cache/cache_priv.h"
#include "cache/variant.h"

/* A damaged head is a miss: the store's checksum held, so it was written by another version of this
 * code. */
static enum err take_hit(struct cache *c, struct lookup *l, uint64_t variant, struct arena *a)
{
    enum err e = head_decode(l->hit.head, clock_boot(), a, &l->head);

    if (e != ERR_OK)
        return e;
    if (l->head.freshness.received.mono_ms != FRESHNESS_ABSENT &&
        outdated_is(c->outdated, l->text, l->head.freshness.received.mono_ms))
        return ERR_NOT_FOUND; /* it is on its way out */
    l->found = true;
    l->variant = variant;
    head_facts(&l->head, l->hit.is_stale, &l->facts);
    return ERR_OK;
}

static enum err get(struct cache *c, struct store_reader *r, struct lookup *l, uint64_t variant,
                    struct arena *a)
{
    struct store_key key = {.host = l->host, .text = l->text, .variant = variant};
    enum err e = store_get(r, &key, a, &l->hit);

    if (e == ERR_NOT_FOUND && l->hit.is_dead) {
        l->is_purged = true;
        l->purged = l->hit.stamp;
    }
    if (e == ERR_OK && !l->hit.is_marker) {
        e = take_hit(c, l, variant, a);
        if (e != ERR_OK && l->hit.pinned)
            store_unpin(c->store, l->hit.objid);
    }
    return e;
}

/* Of several lists the newest that matches (RFC 9111 section 4.1). */
static enum err find_variant(struct cache *c, struct store_reader *r, struct lookup *l,
                             const struct http_fields *fields, struct arena *a)
{
    struct variant_lists lists;
    struct buf scratch;
    enum err e = variant_lists_read(l->hit.head, &lists);
    uint64_t newest = 0;

    if (e != ERR_OK)
        return ERR_NOT_FOUND;
    buf_init(&scratch, 4 * LIMIT_HEAD_BYTES);
    e = ERR_NOT_FOUND;
    for (size_t i = 0; i < lists.count && e != ERR_OK && e != ERR_LIMIT; i++) {
        uint64_t v = variant_of(lists.list[i], fields, &scratch);

        if (i == 0)
            newest = v;
        e = get(c, r, l, v, a);
    }
    buf_release(&scratch);
    if (e != ERR_OK) {
        l->vary_missed = lists.count > 0;
        l->variant = newest;
    }
    return e;
}

enum err lookup_names(const struct site *site, bool is_https, struct slice host,
                      struct slice target, const struct http_fields *fields,
                      const struct block_of *block, struct arena *a, struct lookup *out)
{
    const struct site_country *country = NULL;

    *out = (struct lookup){.host = host};
    out->target = site_target(site, target, a);
    if (out->target.p == NULL)
        return ERR_LIMIT;
    if (site->sends_country)
        country = site_country_find(http_fields_value(fields, SLICE("x-geo-country")));
    out->text = site_key_of_country(site, is_https, host, out->target, country, a);
    if (block->bytes > 0 && out->text.p != NULL)
        out->text = site_key_of_block(out->text, block->index, block->bytes, a);
    return out->text.p == NULL ? ERR_LIMIT : ERR_OK;
}

/* A block of another version is as good as none: what is fetched takes its place. */
static void drop_other_version(struct cache *c, struct lookup *l, const struct block_of *block)
{
    uint64_t total;

    if (!l->found || block->bytes == 0)
        return;
    if (slices_is_block(block, l->head.status, &l->head.fields, &total) &&
        (block->etag.p == NULL ||
         (total == block->total &&
          slice_eq(http_fields_value(&l->head.fields, SLICE("etag")), block->etag))))
        return;
    lookup_release(c, l);
    l->found = false;
    l->facts = (struct stored_facts){0};
}

enum err lookup_run(struct cache *c, struct store_reader *r, const struct site *site, bool is_https,
                    struct slice host, struct slice target, const struct http_fields *fields,
                    const struct block_of *block, struct arena *a, struct lookup *out)
{
    enum err e = lookup_names(site, is_https, host, target, fields, block, a, out);

    if (e != ERR_OK)
        return e;
    e = get(c, r, out, 0, a);
    out->has_variants = e == ERR_OK && out->hit.is_marker;
    if (out->has_variants)
        e = find_variant(c, r, out, fields, a);
    drop_other_version(c, out, block);
    out->facts.vary_missed = out->vary_missed;
    out->is_purged = out->is_purged && !out->found;
    out->facts.is_purged = out->is_purged;
    /* damaged and unreadable objects are misses: the origin has them */
    return e == ERR_LIMIT ? ERR_LIMIT : ERR_OK;
}

void lookup_release(struct cache *c, struct lookup *l)
{
    if (l->found && l->hit.pinned)
        store_unpin(c->store, l->hit.objid);
    l->hit.pinned = false;
}
