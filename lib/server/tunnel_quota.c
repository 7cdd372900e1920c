/* How many tunnels are open, of the process and of each site: a site keeps its count over reloads.
 */
#include <stdlib.h>

#include "base/check.h"
#include "server/tunnel_priv.h"

void tunnel_quota_init(struct tunnel_quota *q, unsigned max)
{
    pthread_mutex_init(&q->lock, NULL);
    q->max = max;
}

void tunnel_quota_release(struct tunnel_quota *q)
{
    free(q->site);
    pthread_mutex_destroy(&q->lock);
}

/* Under the lock: the count of this site, a new one if need be.  NULL when out of memory. */
static struct tunnel_quota_site *find(struct tunnel_quota *q, uint32_t id)
{
    struct tunnel_quota_site *more;

    for (size_t i = 0; i < q->sites_count; i++)
        if (q->site[i].id == id)
            return &q->site[i];
    more = realloc(q->site, (q->sites_count + 1) * sizeof(*more));
    if (more == NULL)
        return NULL;
    q->site = more;
    q->site[q->sites_count] = (struct tunnel_quota_site){.id = id};
    return &q->site[q->sites_count++];
}

bool tunnel__quota_take(struct tunnel_quota *q, uint32_t site, uint64_t site_max)
{
    struct tunnel_quota_site *s;
    bool ok;

    pthread_mutex_lock(&q->lock);
    s = q->open < q->max ? find(q, site) : NULL;
    ok = s != NULL && s->open < site_max;
    if (ok) {
        s->open++;
        q->open++;
    }
    pthread_mutex_unlock(&q->lock);
    return ok;
}

void tunnel__quota_give(struct tunnel_quota *q, uint32_t site)
{
    struct tunnel_quota_site *s;

    pthread_mutex_lock(&q->lock);
    s = find(q, site);
    CHECK(s != NULL && s->open > 0 && q->open > 0);
    s->open--;
    q->open--;
    if (s->open == 0)
        *s = q->site[--q->sites_count];
    pthread_mutex_unlock(&q->lock);
}
