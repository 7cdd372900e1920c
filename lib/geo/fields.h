/* fields: X-Geo-Country and X-Geo-Continent of a request.  Pure. */
#ifndef GEO_FIELDS_H
#define GEO_FIELDS_H

#include "base/arena.h"
#include "geo/geo.h"
#include "http/fields.h"

/*
 * Remove every X-Geo-* field, also those written with '_', since nobody but us may say where a
 * client is.  Then add what is known of `place`; NULL: nothing.
 *
 * ERR_LIMIT as http_fields_add().
 */
NODISCARD enum err geo_fields_set(struct http_fields *f, struct arena *a, size_t max,
                                  const struct geo_place *place);

/*
 * As above where the fields came from a node of our own: a country that is one stays, and what else
 * there is is made of it.
 */
NODISCARD enum err geo_fields_keep(struct http_fields *f, struct arena *a, size_t max);

#endif
