#include "base/map.h"

#include <stdlib.h>

#include "base/digest.h"

/* uthash keeps no state of its own to seed, so the seed stands in a variable made at the first table. */
static struct digest_secret seed;

#define HASH_FUNCTION(key, bytes, hash)                                                            \
    ((hash) = (unsigned)digest_64_secret(&seed, (struct slice){(const char *)(key), (bytes)}))
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(entry) ((entry)->failed = true)
#include <uthash.h>

struct entry {
    UT_hash_handle hh;
    void *value;
    bool failed;
    size_t key_bytes;
    char key[];
};

struct map {
    struct entry *head;
};

static void make_seed(void) __attribute__((constructor));
static void make_seed(void)
{
    digest_random(&seed, sizeof(seed));
}

enum err map_new(struct map **out)
{
    struct map *m = calloc(1, sizeof(*m));

    if (m == NULL)
        return ERR_NOMEM;
    *out = m;
    return ERR_OK;
}

void map_free(struct map *m)
{
    struct entry *e, *next;

    if (m == NULL)
        return;
    HASH_ITER(hh, m->head, e, next)
    {
        HASH_DEL(m->head, e);
        free(e);
    }
    free(m);
}

static struct entry *find(const struct map *m, struct slice key)
{
    struct entry *e;

    HASH_FIND(hh, m->head, key.p, key.n, e);
    return e;
}

void *map_find(const struct map *m, struct slice key)
{
    struct entry *e = find(m, key);

    return e == NULL ? NULL : e->value;
}

enum err map_put(struct map *m, struct slice key, void *value)
{
    struct entry *e = find(m, key);

    if (e != NULL) {
        e->value = value;
        return ERR_OK;
    }
    e = calloc(1, sizeof(*e) + key.n);
    if (e == NULL)
        return ERR_NOMEM;
    e->value = value;
    e->key_bytes = key.n;
    memcpy(e->key, key.p, key.n);
    HASH_ADD_KEYPTR(hh, m->head, e->key, e->key_bytes, e);
    if (e->failed) {
        free(e);
        return ERR_NOMEM;
    }
    return ERR_OK;
}

void *map_remove(struct map *m, struct slice key)
{
    struct entry *e = find(m, key);
    void *value;

    if (e == NULL)
        return NULL;
    value = e->value;
    HASH_DEL(m->head, e);
    free(e);
    return value;
}

size_t map_count(const struct map *m)
{
    return HASH_COUNT(m->head);
}
