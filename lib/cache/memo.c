/* A table that forgets: one slot per hash, the newest stays. */
#include <stdlib.h>

#include "base/digest.h"
#include "cache/cache_priv.h"

enum { SLOTS = 1024 };

struct memo {
    pthread_mutex_t lock;
    struct {
        uint64_t hash; /* 0: empty */
        struct memo_entry entry;
    } slot[SLOTS];
};

enum err memo_new(struct memo **out)
{
    struct memo *m = calloc(1, sizeof(*m));

    if (m == NULL)
        return ERR_NOMEM;
    pthread_mutex_init(&m->lock, NULL);
    *out = m;
    return ERR_OK;
}

void memo_free(struct memo *m)
{
    if (m == NULL)
        return;
    pthread_mutex_destroy(&m->lock);
    free(m);
}

void memo_put(struct memo *m, struct slice key, const struct memo_entry *e)
{
    uint64_t h = digest_64(key);

    pthread_mutex_lock(&m->lock);
    m->slot[h % SLOTS].hash = h;
    m->slot[h % SLOTS].entry = *e;
    pthread_mutex_unlock(&m->lock);
}

bool memo_find(struct memo *m, struct slice key, struct memo_entry *out)
{
    uint64_t h = digest_64(key);
    bool found;

    pthread_mutex_lock(&m->lock);
    found = m->slot[h % SLOTS].hash == h;
    if (found)
        *out = m->slot[h % SLOTS].entry;
    pthread_mutex_unlock(&m->lock);
    return found;
}
