#include "server/region.h"

#include "base/limits.h"
#include "base/metrics.h"
#include "geo/fields.h"
#include "geo/geo.h"
#include "geo/regions.h"
#include "http/url.h"

/* ---- where a client is ---- */

/* Once a connection, and again when the database is another. */
static const struct geo_place *place_of(struct server_request *r)
{
    const struct geo *g = r->snapshot->geo;
    struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
    struct conn *c = r->conn;

    if (g == NULL)
        return NULL;
    if (c->place_serial != geo_serial(g)) {
        (void)r->req->conn->callbacks->get_peername(r->req->conn, (void *)&sa);
        geo_find(g, (void *)&sa, &c->place);
        c->place_serial = geo_serial(g);
    }
    return &c->place;
}

enum err region_settle_fields(struct server_request *r)
{
    enum { FIELDS_MAX = LIMIT_FIELDS + 2 };

    if (!r->site->sends_country)
        return geo_fields_set(&r->fields, &r->arena, FIELDS_MAX, NULL);
    if (r->is_peer)
        return geo_fields_keep(&r->fields, &r->arena, FIELDS_MAX);
    return geo_fields_set(&r->fields, &r->arena, FIELDS_MAX, place_of(r));
}

/* ---- names ---- */

static const struct config_site *config_of(const struct server_request *r)
{
    return &r->snapshot->config->sites[r->site - r->snapshot->site];
}

static bool is_redirecting(const struct server_request *r)
{
    return config_of(r)->geo == CONFIG_GEO_REDIRECT && r->snapshot->here != SIZE_MAX && !r->is_peer;
}

static bool is_region_host(const struct server_request *r, struct slice host)
{
    for (size_t i = 0; i < r->snapshot->regions_count; i++) {
        struct slice name = slice_of(r->snapshot->regions[i].hostname);

        if (slice_eq(slice_head(name, slice_index(name, ':')), host))
            return true;
    }
    return false;
}

void region_settle_host(struct server_request *r, struct slice *host)
{
    if (!is_redirecting(r) || !is_region_host(r, *host))
        return;
    r->is_at_region = true;
    *host = slice_of(config_of(r)->hosts.item[0]);
}

/* ---- redirects ---- */

static bool has(const struct server_request *r, const char *name)
{
    return http_fields_find(&r->fields, slice_of(name)) != NULL;
}

/*
 * Never who asked for a region by its name: that alone makes loops impossible.  Nor under another
 * of the site's hosts, which the regions do not answer for; nor another node; nor who continues a
 * download that another region began, or has credentials that may not hold there.
 */
static bool may_redirect(const struct server_request *r, struct slice host)
{
    const struct config_site *s = config_of(r);
    struct slice method = {r->req->input.method.base, r->req->input.method.len};

    if (!is_redirecting(r) || r->is_at_region || !slice_eq(host, slice_of(s->hosts.item[0])))
        return false;
    if (!r->is_head && !slice_eq(method, SLICE("GET")))
        return false;
    if (has(r, "via") || has(r, "cdn-loop") || has(r, "range") || has(r, "if-range"))
        return false;
    return s->geo_credentials || (!has(r, "cookie") && !has(r, "authorization"));
}

/* The URL at a region that is much nearer to the client; NULL: there is none. */
static const char *better_location(struct server_request *r)
{
    const struct snapshot *s = r->snapshot;
    const struct geo_region *here = &s->regions[s->here];
    const struct geo_place *place = place_of(r);
    struct slice target = {r->req->input.path.base, r->req->input.path.len};
    double km = 0;
    size_t best;

    if (!place->has_point)
        return NULL;
    best = geo_nearest(s->regions, s->regions_count, server_drains(r->worker->server),
                       place->latitude, place->longitude, &km);
    if (best == SIZE_MAX || best == s->here ||
        !geo_is_worth(
            geo_distance_km(place->latitude, place->longitude, here->latitude, here->longitude),
            km))
        return NULL;
    return geo_location(s->regions[best].hostname, target, &r->arena).p;
}

void region_redirect(struct server_request *r)
{
    metrics_add(METRIC_GEO_REDIRECTS, 1);
    /* 307 and not to be kept: who moves, or whose region comes back, asks here again */
    response_local(r, &(struct local_answer){.status = 307,
                                             .reason = "region",
                                             .location = r->region_location,
                                             .is_not_kept = true,
                                             .is_for_any_origin = true,
                                             .verdict = REQUEST_LOCAL});
}

static bool has_path(const struct server_request *r)
{
    const struct config_strings *paths = &config_of(r)->geo_paths;
    struct slice target = {r->req->input.path.base, r->req->input.path.len};
    struct slice path = slice_head(target, url_path_bytes(target));

    for (size_t i = 0; i < paths->count; i++)
        if (url_glob_matches(slice_of(paths->item[i]), path))
            return true;
    return false;
}

bool region_redirects_request(struct server_request *r, struct slice host)
{
    if (!may_redirect(r, host))
        return false;
    r->region_location = better_location(r);
    if (r->region_location == NULL || !has_path(r))
        return false;
    region_redirect(r);
    return true;
}

bool region_is_worth_it(const struct server_request *r, const struct cache_answer *a)
{
    bool is_stored = a->verdict == VERDICT_HIT || a->verdict == VERDICT_STALE;

    return r->region_location != NULL && is_stored && a->status == 200 &&
           a->body_bytes != CACHE_BYTES_UNKNOWN && a->body_bytes >= config_of(r)->geo_min_size;
}

void region_answer_fields(struct server_request *r, const struct cache_answer *a)
{
    struct slice type = http_fields_value(a->fields, SLICE("content-type"));
    struct slice target = {r->req->input.path.base, r->req->input.path.len};
    struct slice url;

    if (!r->is_at_region || !slice_eq_nocase(slice_head(type, 9), SLICE("text/html")))
        return;
    response_field_add(r->req, SLICE("x-robots-tag"), SLICE("noindex"));
    url = geo_location(config_of(r)->hosts.item[0], target, &r->arena);
    if (url.p != NULL) {
        size_t room = url.n + sizeof("<>; rel=\"canonical\"");
        char *text = h2o_mem_alloc_pool(&r->req->pool, room);

        response_field_add(
            r->req, SLICE("link"),
            (struct slice){text, (size_t)snprintf(text, room, "<%s>; rel=\"canonical\"", url.p)});
    }
}
