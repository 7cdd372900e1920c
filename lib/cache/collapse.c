/* The table only; whether a fill may be joined is fill.c's business. */
#include <stdlib.h>

#include "base/check.h"
#include "base/digest.h"
#include "base/map.h"
#include "cache/fill.h"

/* Enough that two workers seldom meet. */
enum { SHARDS = 64 };

struct collapse {
    struct {
        pthread_mutex_t lock;
        struct map *fills;
    } shard[SHARDS];
};

enum err collapse_new(struct collapse **out)
{
    struct collapse *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return ERR_NOMEM;
    for (unsigned i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&c->shard[i].lock, NULL);
        if (map_new(&c->shard[i].fills) != ERR_OK) {
            collapse_free(c);
            return ERR_NOMEM;
        }
    }
    *out = c;
    return ERR_OK;
}

void collapse_free(struct collapse *c)
{
    if (c == NULL)
        return;
    for (unsigned i = 0; i < SHARDS; i++) {
        map_free(c->shard[i].fills);
        pthread_mutex_destroy(&c->shard[i].lock);
    }
    free(c);
}

static unsigned shard_of(struct slice key)
{
    return (unsigned)(digest_64(key) % SHARDS);
}

struct fill *collapse_lock(struct collapse *c, struct slice key)
{
    unsigned i = shard_of(key);

    pthread_mutex_lock(&c->shard[i].lock);
    return map_find(c->shard[i].fills, key);
}

enum err collapse_set(struct collapse *c, struct slice key, struct fill *f)
{
    unsigned i = shard_of(key);

    if (f != NULL)
        return map_put(c->shard[i].fills, key, f);
    map_remove(c->shard[i].fills, key);
    return ERR_OK;
}

void collapse_unlock(struct collapse *c, struct slice key)
{
    pthread_mutex_unlock(&c->shard[shard_of(key)].lock);
}
