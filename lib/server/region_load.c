#include <stdlib.h>

#include "geo/regions.h"
#include "server/region.h"

enum err region_load(struct snapshot *s, struct buf *why)
{
    const struct config *c = s->config;
    const char *files[GEO_FILES_MAX] = {c->geo_database, c->geo_database6};

    s->here = SIZE_MAX;
    if (c->geo_database == NULL)
        return ERR_OK;
    s->regions = calloc(c->regions_count + 1, sizeof(*s->regions));
    if (s->regions == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < c->regions_count; i++) {
        const struct config_region *r = &c->regions[i];

        s->regions[i] = (struct geo_region){.name = r->name,
                                            .hostname = r->hostname,
                                            .latitude = r->latitude,
                                            .longitude = r->longitude,
                                            .drained = r->drain};
        if (c->geo_here != NULL && strcmp(c->geo_here, r->name) == 0)
            s->here = i;
    }
    s->regions_count = c->regions_count;
    return geo_open(files, c->geo_database6 == NULL ? 1 : 2, &s->geo, why);
}

void region_unload(struct snapshot *s)
{
    geo_close(s->geo);
    free(s->regions);
}
