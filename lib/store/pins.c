#include "store/pins.h"

#include <pthread.h>
#include <stdlib.h>

enum { SHARDS = 64, FIRST_SLOTS = 32 };

struct pin {
    uint64_t objid; /* 0: free */
    int64_t since_ms;
    uint32_t count;
    bool is_broken;
};

/* Open addressing with linear probing; at most half full.  A line of its own for each lock. */
struct shard {
    _Alignas(64) pthread_mutex_t lock;
    struct pin *slot; /* owned; NULL before the first pin */
    size_t slots, used;
};

struct pins {
    struct shard shard[SHARDS];
};

static uint64_t mix(uint64_t objid)
{
    return objid * 0x9e3779b97f4a7c15u;
}

static struct shard *lock_shard(struct pins *p, uint64_t objid)
{
    struct shard *s = &p->shard[mix(objid) >> 58];

    pthread_mutex_lock(&s->lock);
    return s;
}

static size_t home(const struct shard *s, uint64_t objid)
{
    return (size_t)(mix(objid) >> 20) & (s->slots - 1);
}

/* The pin of `objid`, or the free slot where it would go.  There is always a free one. */
static struct pin *find(const struct shard *s, uint64_t objid)
{
    size_t i = home(s, objid);

    while (s->slot[i].objid != 0 && s->slot[i].objid != objid)
        i = (i + 1) & (s->slots - 1);
    return &s->slot[i];
}

static bool grow(struct shard *s)
{
    struct shard bigger = {.slots = s->slots == 0 ? FIRST_SLOTS : s->slots * 2};

    if (s->used * 2 < s->slots)
        return true;
    bigger.slot = calloc(bigger.slots, sizeof(*bigger.slot));
    if (bigger.slot == NULL)
        return s->used + 1 < s->slots;
    for (size_t i = 0; i < s->slots; i++)
        if (s->slot[i].objid != 0)
            *find(&bigger, s->slot[i].objid) = s->slot[i];
    free(s->slot);
    s->slot = bigger.slot;
    s->slots = bigger.slots;
    return true;
}

/* Move those back that were pushed behind the freed slot. */
static void erase(struct shard *s, struct pin *pin)
{
    size_t hole = (size_t)(pin - s->slot), i = hole;

    for (;;) {
        i = (i + 1) & (s->slots - 1);
        if (s->slot[i].objid == 0)
            break;
        if (((i - home(s, s->slot[i].objid)) & (s->slots - 1)) >= ((i - hole) & (s->slots - 1))) {
            s->slot[hole] = s->slot[i];
            hole = i;
        }
    }
    s->slot[hole] = (struct pin){0};
    s->used--;
}

enum err pins_new(struct pins **out)
{
    struct pins *p = aligned_alloc(64, sizeof(*p));

    if (p == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < SHARDS; i++) {
        p->shard[i] = (struct shard){.slots = 0};
        pthread_mutex_init(&p->shard[i].lock, NULL);
    }
    *out = p;
    return ERR_OK;
}

void pins_free(struct pins *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_destroy(&p->shard[i].lock);
        free(p->shard[i].slot);
    }
    free(p);
}

void pins_add(struct pins *p, uint64_t objid, int64_t now_ms)
{
    struct shard *s = lock_shard(p, objid);

    if (grow(s)) {
        struct pin *pin = find(s, objid);

        if (pin->objid == 0) {
            *pin = (struct pin){.objid = objid};
            s->used++;
        }
        pin->count++;
        pin->since_ms = now_ms;
    }
    pthread_mutex_unlock(&s->lock);
}

void pins_drop(struct pins *p, uint64_t objid)
{
    struct shard *s = lock_shard(p, objid);
    struct pin *pin = s->slots == 0 ? NULL : find(s, objid);

    if (pin != NULL && pin->objid != 0 && --pin->count == 0)
        erase(s, pin);
    pthread_mutex_unlock(&s->lock);
}

bool pins_is_free(struct pins *p, uint64_t objid, int64_t *out_since_ms)
{
    struct shard *s = lock_shard(p, objid);
    const struct pin *pin = s->slots == 0 ? NULL : find(s, objid);
    bool is_free = pin == NULL || pin->objid == 0 || pin->is_broken;

    if (!is_free)
        *out_since_ms = pin->since_ms;
    pthread_mutex_unlock(&s->lock);
    return is_free;
}

void pins_break(struct pins *p, uint64_t objid)
{
    struct shard *s = lock_shard(p, objid);
    struct pin *pin = s->slots == 0 ? NULL : find(s, objid);

    if (pin != NULL && pin->objid != 0)
        pin->is_broken = true;
    pthread_mutex_unlock(&s->lock);
}
