#include "geo/regions.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/file.h"

#define EARTH_KM     6371.0
#define WORTH_KM     1000.0
#define WORTH_PART   0.6
#define RADIANS(deg) ((deg) * (M_PI / 180))

enum { NAME_BYTES = 64, FILE_BYTES_MAX = GEO_REGIONS_MAX * NAME_BYTES };

/* Haversines: exact for small distances too, where the cosine of the angle is 1. */
double geo_distance_km(double latitude_a, double longitude_a, double latitude_b, double longitude_b)
{
    double up = sin(RADIANS(latitude_b - latitude_a) / 2);
    double along = sin(RADIANS(longitude_b - longitude_a) / 2);
    double h = up * up + cos(RADIANS(latitude_a)) * cos(RADIANS(latitude_b)) * along * along;

    return 2 * EARTH_KM * asin(sqrt(h > 1 ? 1 : h));
}

size_t geo_nearest(const struct geo_region *region, size_t count, struct geo_drains *drains,
                   double latitude, double longitude, double *out_km)
{
    size_t best = SIZE_MAX;

    for (size_t i = 0; i < count; i++) {
        double km = geo_distance_km(latitude, longitude, region[i].latitude, region[i].longitude);

        if (region[i].drained || (best != SIZE_MAX && km >= *out_km) ||
            (drains != NULL && geo_drains_has(drains, region[i].name)))
            continue;
        best = i;
        *out_km = km;
    }
    return best;
}

bool geo_is_worth(double here_km, double best_km)
{
    return here_km - best_km > WORTH_KM && best_km < WORTH_PART * here_km;
}

static bool may_stand_in_location(struct slice target)
{
    if (target.n == 0 || target.p[0] != '/' || (target.n > 1 && target.p[1] == '/'))
        return false;
    for (size_t i = 0; i < target.n; i++) {
        unsigned char c = (unsigned char)target.p[i];

        if (c <= ' ' || c >= 0x7f || strchr("\\\"<>^`{|}#", c) != NULL)
            return false;
    }
    return true;
}

struct slice geo_location(const char *hostname, struct slice target, struct arena *a)
{
    struct slice scheme = SLICE("https://"), host = slice_of(hostname);
    char *p;

    if (!may_stand_in_location(target))
        return (struct slice){0};
    p = arena_alloc(a, scheme.n + host.n + target.n + 1);
    if (p == NULL)
        return (struct slice){0};
    memcpy(p, scheme.p, scheme.n);
    memcpy(p + scheme.n, host.p, host.n);
    memcpy(p + scheme.n + host.n, target.p, target.n);
    p[scheme.n + host.n + target.n] = '\0';
    return (struct slice){p, scheme.n + host.n + target.n};
}

/* ---- drained by command ---- */

struct geo_drains {
    const char *path; /* borrowed */
    pthread_mutex_t lock;

    /* Under `lock`; the count is read without it, to see that there are none. */
    char name[GEO_REGIONS_MAX][NAME_BYTES];
    _Atomic unsigned count;
};

static unsigned count_of(struct geo_drains *d)
{
    /* a worker may learn of a drain a moment late; the names are read under the lock */
    return atomic_load_explicit(&d->count, memory_order_relaxed);
}

static unsigned find(struct geo_drains *d, struct slice name)
{
    unsigned i = 0;

    while (i < count_of(d) && !slice_eq(slice_of(d->name[i]), name))
        i++;
    return i;
}

static enum err put(struct geo_drains *d, struct slice name)
{
    unsigned count = count_of(d);

    if (name.n == 0 || name.n >= NAME_BYTES)
        return ERR_INVALID;
    if (count == GEO_REGIONS_MAX)
        return ERR_LIMIT;
    memcpy(d->name[count], name.p, name.n);
    d->name[count][name.n] = '\0';
    atomic_store_explicit(&d->count, count + 1, memory_order_relaxed);
    return ERR_OK;
}

static void take_out(struct geo_drains *d, unsigned at)
{
    unsigned last = count_of(d) - 1;

    memmove(d->name[at], d->name[last], NAME_BYTES);
    atomic_store_explicit(&d->count, last, memory_order_relaxed);
}

static enum err read_names(struct geo_drains *d, struct slice text)
{
    enum err e = ERR_OK;

    while (e == ERR_OK && text.n > 0) {
        struct slice line = slice_head(text, slice_index(text, '\n'));

        if (line.n > 0 && find(d, line) == count_of(d))
            e = put(d, line);
        text = slice_from(text, line.n + 1);
    }
    return e;
}

enum err geo_drains_open(const char *path, struct geo_drains **out, struct buf *why)
{
    struct geo_drains *d = calloc(1, sizeof(*d));
    char *text = NULL;
    size_t n = 0;
    enum err e;

    if (d == NULL)
        return ERR_NOMEM;
    d->path = path;
    CHECK(pthread_mutex_init(&d->lock, NULL) == 0);
    e = file_read_all(path, FILE_BYTES_MAX, &text, &n);
    if (e == ERR_OK)
        e = read_names(d, (struct slice){text, n});
    else if (e == ERR_NOT_FOUND)
        e = ERR_OK;
    else if (e == ERR_IO)
        buf_addf(why, "%s: cannot be read: %s", path, strerror(errno));
    if (e == ERR_INVALID || e == ERR_LIMIT)
        buf_addf(
            why,
            "%s: is no list of drained regions: remove it, and drain those again that shall be",
            path);
    free(text);
    if (e == ERR_OK)
        *out = d;
    else
        geo_drains_free(d);
    return e;
}

void geo_drains_free(struct geo_drains *d)
{
    if (d == NULL)
        return;
    CHECK(pthread_mutex_destroy(&d->lock) == 0);
    free(d);
}

bool geo_drains_has(struct geo_drains *d, const char *name)
{
    bool has;

    if (count_of(d) == 0)
        return false;
    CHECK(pthread_mutex_lock(&d->lock) == 0);
    has = find(d, slice_of(name)) < count_of(d);
    CHECK(pthread_mutex_unlock(&d->lock) == 0);
    return has;
}

/* All names but `without`, and `with`; both may be NULL. */
static enum err write_names(struct geo_drains *d, const char *without, const char *with)
{
    struct buf text;
    enum err e;

    buf_init(&text, FILE_BYTES_MAX + NAME_BYTES);
    for (unsigned i = 0; i < count_of(d); i++)
        if (without == NULL || strcmp(d->name[i], without) != 0)
            buf_addf(&text, "%s\n", d->name[i]);
    if (with != NULL)
        buf_addf(&text, "%s\n", with);
    e = text.failed ? ERR_NOMEM : file_write_atomic(d->path, buf_slice(&text));
    buf_release(&text);
    return e;
}

/* One command at a time (the ctl thread), so the names stand still while the file is written:
 * readers need not wait for the disk. */
enum err geo_drains_set(struct geo_drains *d, const char *name, bool drained)
{
    unsigned at = find(d, slice_of(name)), count = count_of(d);
    enum err e;

    if (strlen(name) >= NAME_BYTES)
        return ERR_INVALID;
    if ((at < count) == drained)
        return ERR_OK;
    if (drained && count == GEO_REGIONS_MAX)
        return ERR_LIMIT;
    e = write_names(d, drained ? NULL : name, drained ? name : NULL);
    if (e != ERR_OK)
        return e;
    CHECK(pthread_mutex_lock(&d->lock) == 0);
    if (drained)
        e = put(d, slice_of(name));
    else
        take_out(d, at);
    CHECK(pthread_mutex_unlock(&d->lock) == 0);
    return e;
}
