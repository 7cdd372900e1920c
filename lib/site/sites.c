#include <stdlib.h>

#include "site/site.h"

/* One claim on hosts: an exact name, or of "*.example.com" the ".example.com". */
struct claim {
    struct slice name;
    const struct site *site;
};

/* Sorted by name, so that strangers who choose the host can make a look-up no longer than log n. */
struct claims {
    struct claim *item;
    size_t count;
};

struct sites {
    struct claims exact, wild;
    struct claim room[]; /* what both point into */
};

static int compare_names(struct slice a, struct slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n == 0 ? 0 : memcmp(a.p, b.p, n);

    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

static int compare_claims(const void *a, const void *b)
{
    return compare_names(((const struct claim *)a)->name, ((const struct claim *)b)->name);
}

static bool is_wild(const char *host)
{
    return host[0] == '*' && host[1] == '.';
}

static void collect(struct claims *to, const struct site *list, size_t count, bool wild)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < list[i].hosts.count; j++) {
            const char *host = list[i].hosts.item[j];

            if (is_wild(host) == wild)
                to->item[to->count++] = (struct claim){slice_of(host + (wild ? 1 : 0)), &list[i]};
        }
    if (to->count > 0)
        qsort(to->item, to->count, sizeof(*to->item), compare_claims);
}

static bool has_twins(const struct claims *c)
{
    for (size_t i = 1; i < c->count; i++)
        if (slice_eq(c->item[i - 1].name, c->item[i].name))
            return true;
    return false;
}

enum err sites_new(const struct site *list, size_t count, struct sites **out)
{
    struct sites *s;
    size_t hosts = 0;

    for (size_t i = 0; i < count; i++)
        hosts += list[i].hosts.count;
    s = malloc(sizeof(*s) + hosts * sizeof(s->room[0]));
    if (s == NULL)
        return ERR_NOMEM;
    s->exact = (struct claims){.item = s->room};
    collect(&s->exact, list, count, false);
    s->wild = (struct claims){.item = s->room + s->exact.count};
    collect(&s->wild, list, count, true);
    if (has_twins(&s->exact) || has_twins(&s->wild)) {
        sites_free(s);
        return ERR_INVALID;
    }
    *out = s;
    return ERR_OK;
}

void sites_free(struct sites *s)
{
    free(s);
}

static const struct site *find(const struct claims *c, struct slice name)
{
    struct claim wanted = {.name = name}, *at = NULL;

    if (c->count > 0)
        at = bsearch(&wanted, c->item, c->count, sizeof(*c->item), compare_claims);
    return at == NULL ? NULL : at->site;
}

const struct site *sites_find(const struct sites *s, struct slice host)
{
    const struct site *site = find(&s->exact, host);

    /* From the left, so that the longest suffix comes first; the '*' stands for at least one byte.
     */
    for (size_t i = 1; i < host.n && site == NULL; i++)
        if (host.p[i] == '.')
            site = find(&s->wild, slice_from(host, i));
    return site;
}
