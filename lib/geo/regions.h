/*
 * regions: from a place to the region that should serve it.
 *
 * Pure, but for the set of drained regions, which a command changes and a small file keeps.
 */
#ifndef GEO_REGIONS_H
#define GEO_REGIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

enum { GEO_REGIONS_MAX = 256 };

/* Great-circle distance of two points in degrees, on a sphere of 6371 km. */
double geo_distance_km(double latitude_a, double longitude_a, double latitude_b,
                       double longitude_b);

struct geo_region { /* texts borrowed as long as it lives */
    const char *name;
    const char *hostname; /* "sin.cdn.example.com" or with ":PORT"; a URL is made of this alone */
    double latitude, longitude;
    bool drained; /* by the file */
};

struct geo_drains;

/*
 * The region nearest to the point that is not drained; of two equally near the first.
 *
 *   drains   drained by command; NULL: none
 *
 * SIZE_MAX: all are drained, or there is none.
 */
size_t geo_nearest(const struct geo_region *region, size_t count, struct geo_drains *drains,
                   double latitude, double longitude, double *out_km);

/*
 * Is it worth a round trip and a cold connection to leave a region `here_km` away for one `best_km`
 * away?  DNS and this file disagree a little about everybody, so only a clear difference counts:
 * more than 1000 km, and less than 0.6 of the distance.
 */
bool geo_is_worth(double here_km, double best_km);

/*
 * "https://" + hostname + target, in the arena.  p == NULL when the target is none that may stand
 * in Location: it must begin with one '/', and hold no space, control byte, backslash, quote or
 * angle bracket; or when there is no room.
 */
struct slice geo_location(const char *hostname, struct slice target, struct arena *a);

/* ---- regions drained by command; any thread ---- */

/*
 *   path   the file that keeps them; borrowed; it need not be there
 *
 * ERR_INVALID or ERR_IO: `why` gets a line for a person.
 */
NODISCARD enum err geo_drains_open(const char *path, struct geo_drains **out, struct buf *why);
void geo_drains_free(struct geo_drains *d); /* NULL is fine */

bool geo_drains_has(struct geo_drains *d, const char *name);

/* From one thread.  At ERR_OK it holds, and is on the disk.  ERR_LIMIT: GEO_REGIONS_MAX are. ERR_IO
 * (errno), ERR_NOMEM, ERR_INVALID (too long a name): nothing has changed.  Blocks on the disk. */
NODISCARD enum err geo_drains_set(struct geo_drains *d, const char *name, bool drained);

#endif
