/*
 * Invalidation: what an unsafe method has changed is not answered from the store any more (RFC 9111
 * section 4.4).
 *
 * Rows that lie there are removed, by the store's writer, a moment later.  Until then, and for
 * fetches that are on their way, a table in memory says when a key was last invalidated: what came
 * before is not used, and what was asked for before is not stored.  The table forgets when another
 * key falls into the same slot; by then the rows are gone.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/limits.h"
#include "cache/cache_priv.h"
#include "cache/variant.h"
#include "http/range.h"
#include "http/url.h"

enum { SLOTS = 65536, MS_BITS = 40 };

/* A slot: the upper bits of the key's hash, and the monotonic ms; 0: nothing. */
struct outdated {
    _Atomic uint64_t slot[SLOTS];
};

#define MS_MASK ((UINT64_C(1) << MS_BITS) - 1)

enum err outdated_new(struct outdated **out)
{
    *out = calloc(1, sizeof(**out));
    return *out == NULL ? ERR_NOMEM : ERR_OK;
}

void outdated_free(struct outdated *o)
{
    free(o);
}

static void mark(struct outdated *o, struct slice text, int64_t now_ms)
{
    uint64_t h = digest_64(site_key_of_all(text));

    /* release: pairs with outdated_is(); whoever sees it looks at what came later */
    atomic_store_explicit(&o->slot[h % SLOTS], (h & ~MS_MASK) | ((uint64_t)now_ms & MS_MASK),
                          memory_order_release);
}

bool outdated_is(struct outdated *o, struct slice text, int64_t since_ms)
{
    uint64_t h = digest_64(site_key_of_all(text));
    uint64_t slot = atomic_load_explicit(&o->slot[h % SLOTS], memory_order_acquire);

    return slot != 0 && ((slot ^ h) & ~MS_MASK) == 0 && since_ms <= (int64_t)(slot & MS_MASK);
}

/* One row, if it is there and is a whole object. */
static void remove_row(struct cache *c, const struct store_key *key, const struct store_hit *hit)
{
    if (hit->pinned)
        store_unpin(c->store, hit->objid);
    store_remove(c->store, key, hit->objid);
}

static void remove_all(struct cache *c, struct store_reader *r, const struct lookup *l,
                       struct arena *a)
{
    struct store_key key = {.host = l->host, .text = l->text};
    uint64_t variant[LIMIT_VARIANTS];
    struct store_hit hit;
    size_t count;

    if (store_get(r, &key, a, &hit) != ERR_OK)
        return;
    if (!hit.is_marker) {
        remove_row(c, &key, &hit);
        return;
    }
    count = variant_numbers_read(hit.head, variant);
    for (size_t i = 0; i < count; i++) {
        key.variant = variant[i];
        if (store_get(r, &key, a, &hit) == ERR_OK)
            remove_row(c, &key, &hit);
    }
}

/* What one client has changed has changed for all: the rows of every country, asked for one by one,
 * since nobody keeps a list (about 0.3 ms). */
static void remove_countries(struct cache *c, struct store_reader *r,
                             const struct cache_request *rq, struct slice target)
{
    for (size_t i = 0; i <= SITE_COUNTRIES; i++) {
        const struct site_country *country = i == SITE_COUNTRIES ? NULL : &site_countries[i];
        struct lookup l = {.host = rq->host};
        struct arena arena;

        arena_init(&arena, NULL, 0, 2 * LIMIT_VARIANTS * (size_t)LIMIT_RECORD_BYTES);
        l.target = site_target(rq->site, target, &arena);
        if (l.target.p != NULL)
            l.text =
                site_key_of_country(rq->site, rq->is_https, rq->host, l.target, country, &arena);
        if (l.text.p != NULL)
            remove_all(c, r, &l, &arena);
        arena_release(&arena);
    }
}

/* Of so many blocks; the others, of objects beyond 4 GiB and more, are out of use by the table
 * alone. */
enum { BLOCKS_MAX = 4096 };

static bool remove_block(struct cache *c, struct store_reader *r, const struct lookup *l,
                         uint64_t index, uint64_t block_bytes, uint64_t *total)
{
    struct lookup block = *l;
    struct arena arena;
    struct store_hit hit;
    struct store_key key;
    struct head head;
    bool found = false;

    arena_init(&arena, NULL, 0, 2 * LIMIT_VARIANTS * (size_t)LIMIT_RECORD_BYTES);
    block.text = site_key_of_block(site_key_whole(l->text), index, block_bytes, &arena);
    key = (struct store_key){.host = l->host, .text = block.text};
    if (block.text.p != NULL && store_get(r, &key, &arena, &hit) == ERR_OK) {
        struct http_range range;

        found = true;
        if (total != NULL && !hit.is_marker &&
            head_decode(hit.head, clock_boot(), &arena, &head) == ERR_OK)
            http_content_range_parse(http_fields_value(&head.fields, SLICE("content-range")),
                                     &range, total);
        if (hit.pinned)
            store_unpin(c->store, hit.objid);
        remove_all(c, r, &block, &arena);
    }
    arena_release(&arena);
    return found;
}

void invalidate_blocks(struct cache *c, struct store_reader *r, const struct lookup *l,
                       uint64_t block_bytes, uint64_t total)
{
    uint64_t count = (total + block_bytes - 1) / block_bytes;

    mark(c->outdated, l->text, clock_mono_ms());
    for (uint64_t i = 0; i < count && i < BLOCKS_MAX; i++)
        remove_block(c, r, l, i, block_bytes, NULL);
}

/* How many there are the first one says. */
static void remove_known_blocks(struct cache *c, struct store_reader *r,
                                const struct cache_request *rq, const struct lookup *l)
{
    const struct site_rule *rule = site_rule_for_request(rq->site, SLICE("GET"), l->target);
    uint64_t total = 0;

    if (rule != NULL && rule->slice_bytes > 0 &&
        remove_block(c, r, l, 0, rule->slice_bytes, &total) && total != UINT64_MAX)
        invalidate_blocks(c, r, l, rule->slice_bytes, total);
}

static void invalidate_target(struct cache *c, struct store_reader *r,
                              const struct cache_request *rq, struct slice target)
{
    static const struct block_of all = {0};
    struct arena arena; /* every variant passes through here */
    struct lookup l;

    arena_init(&arena, NULL, 0, 2 * LIMIT_VARIANTS * (size_t)LIMIT_RECORD_BYTES);
    if (lookup_names(rq->site, rq->is_https, rq->host, target, rq->fields, &all, &arena, &l) ==
        ERR_OK) {
        mark(c->outdated, l.text, clock_mono_ms());
        remove_all(c, r, &l, &arena);
        remove_known_blocks(c, r, rq, &l);
    }
    arena_release(&arena);
    if (rq->site->sends_country)
        remove_countries(c, r, rq, target);
}

/* Location and Content-Location, where they lead to the same origin: others must not be touched. */
static void invalidate_named(struct cache *c, struct store_reader *r,
                             const struct cache_request *rq, struct slice reference)
{
    struct url_parts u;
    struct arena arena;

    if (reference.p == NULL)
        return;
    arena_init(&arena, NULL, 0, 4 * LIMIT_HEAD_BYTES);
    if (url_resolve(reference, rq->is_https, rq->host, rq->target, &arena, &u) == ERR_OK) {
        if (slice_ends_with(u.host, SLICE(".")))
            u.host.n--;
        if (u.is_https == rq->is_https && u.port == (u.is_https ? 443 : 80) &&
            slice_eq_nocase(u.host, rq->host))
            invalidate_target(c, r, rq, u.target);
    }
    arena_release(&arena);
}

void invalidate(struct cache *c, struct store_reader *r, const struct cache_request *rq,
                const struct http_fields *response)
{
    invalidate_target(c, r, rq, rq->target);
    invalidate_named(c, r, rq, http_fields_value(response, SLICE("location")));
    invalidate_named(c, r, rq, http_fields_value(response, SLICE("content-location")));
}
