#include "upstream/upstream_priv.h"

#include <stdlib.h>

#include "base/check.h"

enum err upstream_route_new(const struct upstream_hop *hops, size_t n, struct upstream_route **out)
{
    struct upstream_route *r;

    CHECK(n > 0 && n <= LIMIT_HOPS);
    r = malloc(sizeof(*r) + n * sizeof(r->hop[0]));
    if (r == NULL)
        return ERR_NOMEM;
    atomic_init(&r->refs, 1);
    r->count = n;
    for (size_t i = 0; i < n; i++) {
        r->hop[i] = hops[i];
        (void)upstream_target_ref(hops[i].target);
    }
    *out = r;
    return ERR_OK;
}

struct upstream_route *upstream_route_ref(struct upstream_route *r)
{
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    return r;
}

void upstream_route_unref(struct upstream_route *r)
{
    /* release: what this thread did with it comes before the free; acquire: of all others too */
    if (r == NULL || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < r->count; i++)
        upstream_target_unref(r->hop[i].target);
    free(r);
}

size_t upstream__route_next(const struct upstream_route *r, uint64_t key, uint64_t tried,
                            int64_t now_ms)
{
    struct choice_hop h[LIMIT_HOPS];
    size_t at = CHOICE_NONE;

    /* One whose connection failed a moment ago is asked only when there is nobody else. */
    for (int may_rest = 0; may_rest < 2 && at == CHOICE_NONE; may_rest++) {
        for (size_t i = 0; i < r->count; i++) {
            h[i] =
                upstream__target_as_hop(r->hop[i].target, r->hop[i].group, may_rest != 0, now_ms);
            h[i].was_tried = (tried >> i & 1) != 0;
        }
        at = choice_route(h, r->count, key);
    }
    return at;
}
