/* A table that forgets: one slot a hash and kind, the newest stays. */
#include <stdlib.h>

#include "base/digest.h"
#include "base/limits.h"
#include "cache/cache_priv.h"

struct recent {
    struct digest_secret secret; /* or a stranger's URL could fall upon a hot one's slot */
    struct {
        uint64_t hash; /* 0: empty */
        uint64_t head;
        int64_t until_ms;
    } slot[LIMIT_HIT_FOR_MISS_SLOTS];
};

enum err recent_new(struct recent **out)
{
    *out = calloc(1, sizeof(**out)); /* pages that nobody touched cost nothing */
    if (*out == NULL)
        return ERR_NOMEM;
    digest_random(&(*out)->secret, sizeof((*out)->secret));
    return ERR_OK;
}

void recent_free(struct recent *r)
{
    free(r);
}

static uint64_t hash_of(const struct recent *r, enum recent_kind k, struct slice key)
{
    uint64_t h = digest_64_secret(&r->secret, key) + (uint64_t)k;

    return h == 0 ? 1 : h;
}

void recent_note(struct recent *r, enum recent_kind k, struct slice key, uint64_t head,
                 int64_t now_ms)
{
    uint64_t h = hash_of(r, k, key);
    size_t i = h % LIMIT_HIT_FOR_MISS_SLOTS;

    r->slot[i].hash = h;
    r->slot[i].head = head;
    r->slot[i].until_ms = now_ms + LIMIT_HIT_FOR_MISS_MS;
}

bool recent_has(const struct recent *r, enum recent_kind k, struct slice key, uint64_t head,
                int64_t now_ms)
{
    uint64_t h = hash_of(r, k, key);
    size_t i = h % LIMIT_HIT_FOR_MISS_SLOTS;

    return r->slot[i].hash == h && r->slot[i].head == head && now_ms < r->slot[i].until_ms;
}

void recent_forget(struct recent *r, enum recent_kind k, struct slice key)
{
    uint64_t h = hash_of(r, k, key);
    size_t i = h % LIMIT_HIT_FOR_MISS_SLOTS;

    if (r->slot[i].hash == h)
        r->slot[i].hash = 0;
}
