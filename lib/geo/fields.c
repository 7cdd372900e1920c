#include "geo/fields.h"

static bool is_geo(struct slice name)
{
    static const char prefix[] = "x-geo-";

    if (name.n < sizeof(prefix) - 1)
        return false;
    for (size_t i = 0; i < sizeof(prefix) - 1; i++)
        if (name.p[i] != prefix[i] && !(name.p[i] == '_' && prefix[i] == '-'))
            return false;
    return true;
}

static void remove_all(struct http_fields *f)
{
    size_t kept = 0;

    for (size_t i = 0; i < f->count; i++)
        if (!is_geo(f->item[i].name))
            f->item[kept++] = f->item[i];
    f->count = kept;
}

enum err geo_fields_set(struct http_fields *f, struct arena *a, size_t max,
                        const struct geo_place *place)
{
    enum err e;

    remove_all(f);
    if (place == NULL || place->country == NULL)
        return ERR_OK;
    e = http_fields_add(f, a, max, SLICE("x-geo-country"), slice_of(place->country->code));
    return e != ERR_OK ? e
                       : http_fields_add(f, a, max, SLICE("x-geo-continent"),
                                         slice_of(place->country->continent));
}

enum err geo_fields_keep(struct http_fields *f, struct arena *a, size_t max)
{
    struct geo_place place = {.country =
                                  site_country_find(http_fields_value(f, SLICE("x-geo-country")))};

    return geo_fields_set(f, a, max, &place);
}
