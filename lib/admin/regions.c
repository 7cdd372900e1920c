/*
 * GET /regions: the regions of the fleet as this node has them.
 * POST /regions: {"name": "fra", "drain": true}: from now on no client is sent there; false: again.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "admin/admin_priv.h"
#include "base/log.h"
#include "geo/regions.h"

static void add_text(struct buf *out, const char *key, const char *text)
{
    buf_addf(out, "\"%s\":\"", key);
    buf_add_json(out, slice_of(text));
    buf_add(out, SLICE("\","));
}

static bool is_drained_by_command(const struct admin *a, const char *name)
{
    return a->opt.drains != NULL && geo_drains_has(a->opt.drains, name);
}

static void add_region(struct buf *out, const struct admin *a, const struct config_region *r)
{
    const char *here = a->config->geo_here;

    buf_add_char(out, '{');
    add_text(out, "name", r->name);
    add_text(out, "hostname", r->hostname);
    buf_addf(out, "\"latitude\":%.4f,\"longitude\":%.4f,\"here\":%s,\"drained\":", r->latitude,
             r->longitude, here != NULL && strcmp(here, r->name) == 0 ? "true" : "false");
    if (is_drained_by_command(a, r->name))
        buf_add(out, SLICE("\"command\"}"));
    else
        buf_add(out, r->drain ? SLICE("\"file\"}") : SLICE("null}"));
}

void admin__regions(struct admin_call *c)
{
    const struct config *config = c->admin->config;
    struct buf *out = &c->response->body;

    c->response->content_type = "application/json";
    buf_add(out, SLICE("{\"regions\":["));
    for (size_t i = 0; i < config->regions_count; i++) {
        if (i > 0)
            buf_add_char(out, ',');
        add_region(out, c->admin, &config->regions[i]);
    }
    buf_add(out, SLICE("]}\n"));
}

static const struct config_region *find(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->regions_count; i++)
        if (strcmp(c->regions[i].name, name) == 0)
            return &c->regions[i];
    return NULL;
}

static void set_drain(struct admin_call *c, const char *name, bool drain)
{
    struct admin *a = c->admin;
    const struct config_region *r = find(a->config, name);
    enum err e;

    /* one that the file has lost may still be undrained: else its name would stay for ever */
    if (a->opt.drains == NULL || (r == NULL && (drain || !geo_drains_has(a->opt.drains, name)))) {
        admin__refuse(c, 404, "there is no region %.64s; GET /regions lists them", name);
        return;
    }
    e = geo_drains_set(a->opt.drains, name, drain);
    if (e != ERR_OK) {
        admin__refuse(c, 503, "nothing has changed: %s",
                      e == ERR_IO ? strerror(errno) : err_name(e));
        return;
    }
    log_info("admin: region %s: %s by %s", name, drain ? "drained" : "undrained",
             c->who.token == NULL ? "anyone on this machine" : c->who.token->config->name);
    c->response->content_type = "application/json";
    buf_add_char(&c->response->body, '{');
    add_text(&c->response->body, "name", name);
    buf_addf(&c->response->body, "\"drained\":%s}\n",
             drain                   ? "\"command\""
             : r != NULL && r->drain ? "\"file\""
                                     : "null");
}

void admin__regions_drain(struct admin_call *c)
{
    json_error_t error;
    json_t *root = json_loadb(c->request->body.p == NULL ? "" : c->request->body.p,
                              c->request->body.n, JSON_REJECT_DUPLICATES, &error);
    const char *name = json_string_value(json_object_get(root, "name"));
    json_t *drain = json_object_get(root, "drain");

    if (!admin__may_touch_all(c))
        admin__refuse(c, 403, "regions are of all sites, and the token is restricted to some");
    else if (name == NULL || !json_is_boolean(drain) || json_object_size(root) != 2)
        admin__refuse(c, 400, "write {\"name\": \"fra\", \"drain\": true}, or false");
    else
        set_drain(c, name, json_is_true(drain));
    json_decref(root);
}
