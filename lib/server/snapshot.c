#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "server/region.h"
#include "server/server_priv.h"
#include "server/tls.h"

static struct site_strings strings_of(const struct config_strings *s)
{
    return (struct site_strings){(const char *const *)s->item, s->count};
}

static enum site_reload reload_of(enum config_reload r)
{
    switch (r) {
    case CONFIG_RELOAD_LIMIT:
        return SITE_RELOAD_LIMIT;
    case CONFIG_RELOAD_HONOUR:
        return SITE_RELOAD_HONOUR;
    case CONFIG_RELOAD_IGNORE:
        return SITE_RELOAD_IGNORE;
    }
    CHECK(false);
    return SITE_RELOAD_LIMIT;
}

/* A snapshot's rules are told from the configuration's by one thing: who may read them. */
static struct site_rule *rules_of(const struct config_site *from)
{
    struct site_rule *rules = calloc(from->rules_count + 1, sizeof(*rules));

    for (size_t i = 0; rules != NULL && i < from->rules_count; i++) {
        const struct config_rule *r = &from->rules[i];

        rules[i] = (struct site_rule){
            .path = r->path,
            .methods = strings_of(&r->methods),
            .types = strings_of(&r->types),
            .bypass_cookies = strings_of(&r->bypass_cookies),
            .cache_off = r->cache == CONFIG_OFF,
            .stream = r->stream,
            .range_whole = r->range_whole,
            /* whole chunks of the store */
            .slice_bytes = r->slice_bytes / LIMIT_CHUNK_BYTES * LIMIT_CHUNK_BYTES,
            .websocket = r->websocket,
            .ttl_s = r->ttl_s,
            .default_ttl_s = r->default_ttl_s,
            .stale_while_revalidate_s = r->stale_while_revalidate_s,
            .stale_if_error_s = r->stale_if_error_s,
            .line = r->line,
        };
    }
    return rules;
}

/* The Host of probes. */
static const char *probe_host(const struct config_site *c)
{
    const struct config_origin *o = &c->origin;

    return o->health.host != NULL   ? o->health.host
           : o->host_header != NULL ? o->host_header
                                    : c->hosts.item[0];
}

static void read_weights(const struct config_strings *from, unsigned *to)
{
    uint64_t n = 1;

    for (size_t i = 0; i < from->count; i++)
        to[i] = slice_to_u64(slice_of(from->item[i]), &n) ? (unsigned)n : 1;
}

/* Behind shields the origin is the last resort, of many edges at once: each takes a part of it, and
 * leaves probing to the shields. */
static enum err make_target(const struct snapshot *s, const struct config_site *c,
                            struct snapshot_origin *out, struct buf *why)
{
    const struct config *all = s->config;
    const struct config_origin *o = &c->origin;
    bool is_last = all->groups_count > 0;
    uint64_t connections = is_last ? o->connections / LIMIT_DIRECT_PART : o->connections;
    unsigned weights[LIMIT_SERVERS];
    struct upstream_target_options opt = {
        .name = c->name,
        .servers = (const char *const *)o->servers.item,
        .servers_count = o->servers.count,
        .weights = o->weights.count > 0 ? weights : NULL,
        .balance = o->balance == CONFIG_BALANCE_HASH ? UPSTREAM_HASH : UPSTREAM_LEAST,
        .sni = o->sni,
        .ca = o->ca,
        .verify = o->verify,
        .allow_local = o->allow_local,
        .connections = connections > 0 ? (unsigned)connections : 1,
        .queue = (unsigned)o->queue,
        .connect_ms = (int64_t)o->connect_ms,
        .first_byte_ms = (int64_t)o->first_byte_ms,
        .idle_ms = (int64_t)o->idle_ms,
        .probe = {.path = is_last ? NULL : o->health.path,
                  .host = probe_host(c),
                  .every_ms = (int64_t)o->health.every_ms,
                  .timeout_ms = LIMIT_PROBE_ORIGIN_MS},
    };
    enum err e;

    read_weights(&o->weights, weights);
    e = upstream_target_new(&opt, &out->target);
    out->host_header = slice_of(o->host_header);
    out->secret = slice_of(all->peer.secret);
    out->sites_hash = (struct slice){s->sites_hash, SITES_HASH_BYTES};
    out->may_go_direct = all->direct;
    out->shield_first_byte_ms = (int64_t)o->first_byte_ms + LIMIT_SHIELD_MARGIN_MS;
    out->shield_idle_ms = (int64_t)o->idle_ms + LIMIT_SHIELD_MARGIN_MS;
    if (e == ERR_INVALID)
        buf_addf(why,
                 "site %s: origin.servers: one of them is no URL of the form http(s)://HOST[:PORT]",
                 c->name);
    return e;
}

/* The operator names shields in the node's own file, so any address will do. */
static enum err make_shield(const struct config *c, const char *url, struct upstream_target **out)
{
    const char *host = strstr(url, "//") + 2;
    struct upstream_target_options opt = {
        .name = "shield",
        .servers = &url,
        .servers_count = 1,
        .ca = c->peer.ca,
        .certificate = c->peer.certificate,
        .verify = true,
        .allow_local = true,
        .is_peer = true,
        .connections = (unsigned)c->shield_connections,
        .queue = LIMIT_SHIELD_QUEUE,
        .connect_ms = LIMIT_CONNECT_SHIELD_MS,
        .first_byte_ms = LIMIT_SHIELD_FIRST_BYTE_MS,
        .idle_ms = LIMIT_BODY_IDLE_MS,
        .probe = {.path = "/.well-known/selvage/health",
                  .host = host,
                  .every_ms = LIMIT_HEALTH_MS,
                  .timeout_ms = LIMIT_HEALTH_MS},
    };

    return upstream_target_new(&opt, out);
}

static enum err make_shields(struct snapshot *s, struct buf *why)
{
    const struct config *c = s->config;

    s->shield = calloc(LIMIT_HOPS, sizeof(*s->shield));
    if (s->shield == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < c->groups_count; i++)
        for (size_t j = 0; j < c->groups[i].shields.count; j++) {
            const char *url = c->groups[i].shields.item[j];
            enum err e = make_shield(c, url, &s->shield[s->shields_count]);

            if (e == ERR_INVALID)
                buf_addf(why, "upstream.shields: %s is no URL of the form http(s)://HOST[:PORT]",
                         url);
            if (e != ERR_OK)
                return e;
            s->shields_count++;
        }
    return ERR_OK;
}

/* The shield of that URL, a reference: it is probed already, and has connections.  NULL: none is.
 */
static struct upstream_target *shield_of(const struct snapshot *s, const char *url)
{
    const struct config *c = s->config;
    size_t at = 0;

    for (size_t i = 0; i < c->groups_count; i++)
        for (size_t j = 0; j < c->groups[i].shields.count; j++, at++)
            if (strcmp(c->groups[i].shields.item[j], url) == 0)
                return upstream_target_ref(s->shield[at]);
    return NULL;
}

/* Contents of releases come from where purges do: the node that publishes. */
static enum err make_files_site(struct snapshot *s, struct buf *why)
{
    const char *owner = config_journal_owner(s->config);
    enum err e = ERR_OK;

    if (owner == NULL)
        return ERR_OK;
    s->files_origin.target = shield_of(s, owner);
    if (s->files_origin.target == NULL)
        e = make_shield(s->config, owner, &s->files_origin.target);
    if (e == ERR_INVALID)
        buf_addf(why, "journal.owner: %s is no URL of the form http(s)://HOST[:PORT]", owner);
    if (e != ERR_OK)
        return e;
    s->files_origin.secret = slice_of(s->config->peer.secret);
    s->files_origin.sites_hash = (struct slice){s->sites_hash, SITES_HASH_BYTES};
    s->files_site = (struct site){
        .name = "releases",
        .negative_404_s = SITE_UNSET,
        .negative_5xx_s = SITE_UNSET,
        .has_origin = true,
        .user = &s->files_origin,
    };
    s->files_from = &s->files_site;
    return ERR_OK;
}

/* All shields, and behind them the origin, if it may be asked. */
static enum err make_route(const struct snapshot *s, struct snapshot_origin *o)
{
    const struct config *c = s->config;
    struct upstream_hop hop[LIMIT_HOPS];
    size_t count = 0;

    if (s->shields_count == 0)
        return ERR_OK;
    for (size_t i = 0; i < c->groups_count; i++)
        for (size_t j = 0; j < c->groups[i].shields.count; j++) {
            hop[count] = (struct upstream_hop){s->shield[count], (unsigned)i};
            count++;
        }
    if (c->direct)
        hop[count++] = (struct upstream_hop){o->target, (unsigned)c->groups_count};
    return upstream_route_new(hop, count, &o->route);
}

enum err snapshot_probe(const struct snapshot *s, struct upstream_prober *p)
{
    size_t sites = s->config->sites_count, count = 0;
    struct upstream_target **t =
        calloc(s->shields_count + sites + 1, sizeof(struct upstream_target *));
    enum err e;

    if (t == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < s->shields_count; i++)
        t[count++] = s->shield[i];
    for (size_t i = 0; i < sites; i++)
        if (s->origin[i].target != NULL)
            t[count++] = s->origin[i].target;
    e = upstream_prober_use(p, t, count);
    free(t);
    return e;
}

static enum err fill_site(struct snapshot *all, struct site *s, struct snapshot_origin *origin,
                          const struct config_site *c, struct buf *why)
{
    struct site_rule *rules = rules_of(c);
    enum err e;

    if (rules == NULL)
        return ERR_NOMEM;
    *s = (struct site){
        .name = c->name,
        .id = c->id,
        .hosts = strings_of(&c->hosts),
        .rules = rules,
        .rules_count = c->rules_count,
        .query_keep_none = c->query_keep == CONFIG_QUERY_KEEP_NONE,
        .query_drop_tracking = c->query_drop_tracking,
        .query_keep_names = strings_of(&c->query_keep_names),
        .query_drop_names = strings_of(&c->query_drop_names),
        .query_sort = c->query_sort,
        .has_deception_guard = c->deception_guard,
        .negative_404_s = c->negative_404_s,
        .negative_5xx_s = c->negative_5xx_s,
        .client_reload = reload_of(c->client_reload),
        .targeted_fields = strings_of(&c->targeted_fields),
        .set_cookie_rfc = c->set_cookie == CONFIG_SET_COOKIE_RFC,
        .strict_fields = c->strict_fields,
        .fields_also = strings_of(&c->fields_also),
        .underscores = c->underscores,
        .max_request_body = c->max_request_body,
        .tunnels_max = c->tunnels,
        .tunnel_idle_ms = (int64_t)c->tunnel_idle_ms,
        .hsts_s = c->hsts_s,
        .log_full = c->log_full,
        .has_files = c->files,
        .files_hashed_s = c->files_hashed_s,
        .files_others_s = c->files_others_s,
        .files_names = strings_of(&c->files_names),
        .has_origin = c->origin.servers.count > 0,
        .sends_country = c->geo == CONFIG_GEO_HEADER,
        .user = origin,
    };
    if (c->origin.servers.count == 0)
        return ERR_OK; /* nothing is ever asked for */
    e = make_target(all, c, origin, why);
    return e == ERR_OK ? make_route(all, origin) : e;
}

static void snapshot_free(struct snapshot *s)
{
    size_t count = s->config->sites_count;

    tls_free(s->tls);
    region_unload(s);
    sites_free(s->sites);
    for (size_t i = 0; s->origin != NULL && i < count; i++) {
        upstream_route_unref(s->origin[i].route);
        if (s->origin[i].target != NULL)
            upstream_target_unref(s->origin[i].target);
    }
    if (s->files_origin.target != NULL)
        upstream_target_unref(s->files_origin.target);
    for (size_t i = 0; i < s->shields_count; i++)
        upstream_target_unref(s->shield[i]);
    free(s->shield);
    for (size_t i = 0; s->site != NULL && i < count; i++)
        free((void *)s->site[i].rules);
    free(s->origin);
    free(s->site);
    config_unref(s->config);
    free(s);
}

static enum err fill(struct snapshot *s, struct buf *why)
{
    const struct config *c = s->config;
    bool has_tls = false;
    enum err e = ERR_OK;

    s->site = calloc(c->sites_count + 1, sizeof(*s->site));
    s->origin = calloc(c->sites_count + 1, sizeof(*s->origin));
    if (s->site == NULL || s->origin == NULL)
        return ERR_NOMEM;
    e = make_shields(s, why);
    if (e == ERR_OK)
        e = make_files_site(s, why);
    for (size_t i = 0; e == ERR_OK && i < c->sites_count; i++)
        e = fill_site(s, &s->site[i], &s->origin[i], &c->sites[i], why);
    if (e == ERR_OK) {
        e = sites_new(s->site, c->sites_count, &s->sites);
        if (e == ERR_INVALID)
            buf_addf(why, "%s: two sites have the same host", c->file);
    }
    for (size_t i = 0; i < c->listen_count; i++)
        has_tls = has_tls || c->listen[i].certificates != NULL;
    if (e == ERR_OK && has_tls)
        e = tls_new(c->listen, c->listen_count, &s->tls, why);
    if (e == ERR_OK)
        e = region_load(s, why);
    for (size_t i = 0; e == ERR_OK && i < c->listen_count; i++)
        if (c->listen[i].peers == CONFIG_PEERS_CERTIFICATE)
            e = tls_require_peers(s->tls, c->listen[i].address, c->peer.ca, why);
    return e;
}

enum err snapshot_new(struct config *c, struct snapshot **out, struct buf *why)
{
    struct snapshot *s = calloc(1, sizeof(*s));
    enum err e;

    if (s == NULL)
        return ERR_NOMEM;
    atomic_init(&s->refs, 1);
    s->config = config_ref(c);
    snprintf(s->sites_hash, sizeof(s->sites_hash), "%016llx", (unsigned long long)c->sites_hash);
    e = fill(s, why);
    if (e == ERR_OK)
        *out = s;
    else
        snapshot_free(s);
    return e;
}

struct snapshot *snapshot_ref(struct snapshot *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void snapshot_unref(struct snapshot *s)
{
    /* release what this thread did with it, before the last one frees it (acquire) */
    if (s != NULL && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1)
        snapshot_free(s);
}

uint64_t snapshot_request_body_max(const struct snapshot *s)
{
    uint64_t most = 0;

    for (size_t i = 0; i < s->config->sites_count; i++)
        if (s->config->sites[i].max_request_body > most)
            most = s->config->sites[i].max_request_body;
    return most;
}
