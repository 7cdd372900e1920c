/* Keys of `geo`, of regions.yaml, and of a site's geo_redirect; and what they need of each other.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "config/config_priv.h"

enum { REGIONS_MAX = 256, ADDRESSES_MAX = 64, PATHS_MAX = 256, DEGREES_BYTES_MAX = 24 };

#define AT(type, field) .offset = offsetof(struct type, field)

/* Told at the value of `field`. */
#define ERROR_AT(l, field, ...)                                                                    \
    do {                                                                                           \
        const struct config_node *at = config__place(l, field);                                    \
        if (at != NULL)                                                                            \
            config__error(l, at, __VA_ARGS__);                                                     \
    } while (0)

/* ---- regions.yaml ---- */

/* strtod() knows inf, nan, hex and the locale's comma: none of these. */
static bool is_decimal(struct slice s)
{
    size_t digits = 0, points = 0;

    for (size_t i = s.n > 0 && s.p[0] == '-' ? 1 : 0; i < s.n; i++) {
        digits += s.p[i] >= '0' && s.p[i] <= '9';
        points += s.p[i] == '.';
    }
    return digits > 0 && points <= 1 && s.n < DEGREES_BYTES_MAX &&
           digits + points + (s.p[0] == '-') == s.n;
}

/* Exact to the last digit for what people write; strtod() asks the locale what a point is. */
static double decimal(struct slice s)
{
    double v = 0, scale = 0;

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '.')
            scale = 1;
        else if (s.p[i] != '-') {
            v = v * 10 + (s.p[i] - '0');
            scale *= 10;
        }
    }
    v = scale > 0 ? v / scale : v;
    return s.p[0] == '-' ? -v : v;
}

static void load_degrees(struct config_loader *l, const struct config_node *n, double most,
                         double *to)
{
    double v;

    if (n->type != CONFIG_NODE_TEXT || !is_decimal(n->text)) {
        config__error(l, n, "%s is no number of degrees; write it as 50.11 or -8.68",
                      config__quote(n->text).text);
        return;
    }
    v = decimal(n->text);
    if (v > most || v < -most)
        config__error(l, n, "%s is beyond the globe; write -%g to %g", config__quote(n->text).text,
                      most, most);
    else
        *to = v;
}

static void load_latitude(struct config_loader *l, const struct config_node *n, void *region)
{
    load_degrees(l, n, 90, &((struct config_region *)region)->latitude);
}

static void load_longitude(struct config_loader *l, const struct config_node *n, void *region)
{
    load_degrees(l, n, 180, &((struct config_region *)region)->longitude);
}

static const char *check_hostname(struct slice s)
{
    return slice_index(s, '[') < s.n ? "is no host name; write it as fra.cdn.example.com"
                                     : config__check_authority(s);
}

static const char *check_ip(struct slice s)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr ip;

    if (s.n < sizeof(text)) {
        memcpy(text, s.p, s.n);
        text[s.n] = '\0';
        if (inet_pton(AF_INET, text, &ip) == 1 || inet_pton(AF_INET6, text, &ip) == 1)
            return NULL;
    }
    return "is no IP address";
}

static const struct config_word yes_no[] = {
    {"yes", 1, false}, {"no", 0, false}, {"true", 1, true}, {"false", 0, true}, {0}};

static const struct config_key region_keys[] = {
    {"name", CONFIG_TEXT, .is_required = true, AT(config_region, name),
     .check = config__check_label, .means = "write a short name, such as fra"},
    {"hostname", CONFIG_TEXT, .is_required = true, .is_lower = true, AT(config_region, hostname),
     .check = check_hostname,
     .means = "write the name that leads to this region alone, such as fra.cdn.example.com"},
    {"latitude", CONFIG_CUSTOM, .is_required = true, .load = load_latitude,
     .means = "write degrees, north positive, such as 50.11"},
    {"longitude", CONFIG_CUSTOM, .is_required = true, .load = load_longitude,
     .means = "write degrees, east positive, such as 8.68"},
    {"addresses", CONFIG_TEXTS, AT(config_region, addresses), .max = ADDRESSES_MAX,
     .check = check_ip, .means = "IP addresses of its edges, for DNS; default: none"},
    {"drain", CONFIG_BOOL, AT(config_region, drain), .words = yes_no,
     .means = "yes: no client is sent there; default: no"},
    {.name = NULL}};

const struct config_key config__regions_keys[] = {
    {"regions", CONFIG_LIST, .is_required = true, .offset = offsetof(struct config, regions),
     .count_offset = offsetof(struct config, regions_count),
     .item_bytes = sizeof(struct config_region), .min = 1, .max = REGIONS_MAX,
     .inside = region_keys, .means = "write at least one region"},
    {.name = NULL}};

static void load_regions(struct config_loader *l, const struct config_node *n, void *config)
{
    struct config *c = config;
    struct config_node *root;

    config__remember(l, &c->regions_file, n);
    c->regions_file = config__load_path(l, n);
    if (c->regions_file == NULL || l->is_alone)
        return;
    root = config__read_file(l, c->regions_file, n);
    if (root != NULL)
        config__load_block(l, root, config__regions_keys, c);
}

const struct config_key config__geo_keys[] = {
    {"database", CONFIG_PATH, .is_required = true, AT(config, geo_database),
     .means = "write a MaxMind DB file of cities or countries, such as /usr/share/GeoIP/city.mmdb"},
    {"database6", CONFIG_PATH, AT(config, geo_database6),
     .means = "a second one, where IPv6 is in a file of its own; default: none"},
    {"regions", CONFIG_CUSTOM, .load = load_regions,
     .means = "the file of the fleet's regions; default: none"},
    {"here", CONFIG_TEXT, AT(config, geo_here), .check = config__check_label,
     .means = "the region that this node is in"},
    {.name = NULL}};

/* ---- of a site ---- */

const struct config_key config__geo_redirect_keys[] = {
    {"min_size", CONFIG_BYTES, AT(config_site, geo_min_size), .min = 1, .max = 1024 * GIB,
     .means = "a stored object so large is worth a redirect; default: 1MiB"},
    {"paths", CONFIG_TEXTS, AT(config_site, geo_paths), .min = 1, .max = PATHS_MAX,
     .check = config__check_path_glob,
     .means = "write globs, such as [\"/iso/*\"]: worth it whatever their size; default: none"},
    {"credentials", CONFIG_BOOL, AT(config_site, geo_credentials), .words = yes_no,
     .means = "yes: requests with Cookie or Authorization too, which must hold for all regions; "
              "default: no"},
    {.name = NULL}};

/* ---- together ---- */

static void check_file(struct config_loader *l, char *const *field)
{
    if (*field != NULL && !l->is_alone && access(*field, R_OK) != 0)
        ERROR_AT(l, field, "%s cannot be read: %s", config__quote(slice_of(*field)).text,
                 strerror(errno));
}

static struct slice host_of(const char *authority)
{
    struct slice s = slice_of(authority);

    return slice_head(s, slice_index(s, ':'));
}

static void check_regions(struct config_loader *l, const struct config *c)
{
    bool is_here = false;

    for (size_t i = 0; i < c->regions_count; i++) {
        struct config_region *r = &c->regions[i];

        for (size_t j = 0; j < i; j++) {
            const struct config_region *s = &c->regions[j];

            if (r->name != NULL && s->name != NULL && strcmp(r->name, s->name) == 0)
                ERROR_AT(l, &r->name, "'%s' is the name of another region too", r->name);
            if (r->hostname != NULL && s->hostname != NULL && strcmp(r->hostname, s->hostname) == 0)
                ERROR_AT(l, &r->hostname, "'%s' is the hostname of another region too",
                         r->hostname);
        }
        is_here = is_here ||
                  (r->name != NULL && c->geo_here != NULL && strcmp(r->name, c->geo_here) == 0);
    }
    if (c->geo_here != NULL && c->regions_count > 0 && !is_here)
        ERROR_AT(l, &c->geo_here, "'%s' is the name of no region in %s", c->geo_here,
                 c->regions_file);
}

/* Is `host` one of the site's names, exactly or by "*.example.com"? */
static bool has_host(const struct config_site *s, struct slice host)
{
    for (size_t i = 0; i < s->hosts.count; i++) {
        struct slice mine = slice_of(s->hosts.item[i]);

        if (slice_eq(mine, host) ||
            (slice_starts_with(mine, SLICE("*.")) && slice_ends_with(host, slice_from(mine, 1))))
            return true;
    }
    return false;
}

/* Who is sent to a region must be answered there, by this site, under its first name. */
static void check_redirect(struct config_loader *l, const struct config *c,
                           const struct config_site *s)
{
    if (c->geo_database == NULL || c->regions_count == 0 || c->geo_here == NULL) {
        ERROR_AT(l, &s->geo, "redirect needs geo: {database, regions, here} in the node's file");
        return;
    }
    if (s->hosts.count > 0 && slice_starts_with(slice_of(s->hosts.item[0]), SLICE("*."))) {
        ERROR_AT(l, &s->hosts.item[0],
                 "the first of the hosts is what regions answer for, so with geo: redirect it is a "
                 "whole name; put '%s' behind one",
                 s->hosts.item[0]);
        return;
    }
    for (size_t i = 0; i < c->regions_count; i++)
        if (c->regions[i].hostname != NULL && !has_host(s, host_of(c->regions[i].hostname)))
            ERROR_AT(l, &s->geo,
                     "redirect needs the regions' hostnames among the hosts of the site, and '%s' "
                     "is not",
                     c->regions[i].hostname);
}

void config__check_geo(struct config_loader *l, const struct config *c)
{
    bool is_shield = c->listen_count > 0 && c->listen[0].peers != CONFIG_PEERS_NONE;

    check_file(l, &c->geo_database);
    check_file(l, &c->geo_database6);
    check_regions(l, c);
    for (size_t i = 0; i < c->sites_count && !is_shield && !l->is_alone; i++) {
        const struct config_site *s = &c->sites[i];

        if (s->geo == CONFIG_GEO_REDIRECT)
            check_redirect(l, c, s);
        else if (s->geo == CONFIG_GEO_HEADER && c->geo_database == NULL)
            ERROR_AT(l, &s->geo, "header needs geo: {database} in the node's file");
    }
}
