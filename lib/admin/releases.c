/*
 * GET /releases[?site=NAME]: what has been published, and what is in use.
 * POST /releases/missing: {"sha256": [...]} -> those whose content is not here.
 * POST /releases/files: contents (release/pack.h).
 * POST /releases/publish: {"site", "release", "manifest"}: the site switches to it.
 * POST /releases/rollback: {"site"[, "release"]}: the site switches back.
 */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "admin/admin_priv.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "release/release.h"

enum { ASKED_MAX = 10000, WHY_BYTES_MAX = 2048 };

static const char *who(const struct admin_call *c)
{
    return c->who.token == NULL ? "anyone on this machine" : c->who.token->config->name;
}

static bool has_files(struct admin_call *c)
{
    if (c->admin->opt.files != NULL)
        return true;
    admin__refuse(c, 503, "this node keeps no published files");
    return false;
}

/* A node that follows has what its owner publishes. */
static bool may_change(struct admin_call *c)
{
    if (!has_files(c))
        return false;
    if (!purge_follows(c->admin->opt.purge))
        return true;
    admin__refuse_for_owner(c, "publish");
    return false;
}

static int status_of(enum err e)
{
    switch (e) {
    case ERR_INVALID:
    case ERR_CORRUPT:
        return 400;
    case ERR_NOT_FOUND:
        return 404;
    case ERR_BUSY:
        return 409;
    case ERR_LIMIT:
        return 507;
    default:
        return 503;
    }
}

static void refuse(struct admin_call *c, enum err e, const struct buf *why)
{
    metrics_add(METRIC_RELEASES_REFUSED, 1);
    log_warn("releases: refused for %s: %.*s", who(c), (int)why->n, why->p == NULL ? "" : why->p);
    admin__refuse(c, status_of(e), "%.*s", (int)why->n, why->p == NULL ? err_name(e) : why->p);
}

/* ---- lists ---- */

static const struct config_site *site_of(const struct admin *a, const char *name)
{
    for (size_t i = 0; i < a->config->sites_count; i++)
        if (strcmp(a->config->sites[i].name, name) == 0)
            return &a->config->sites[i];
    return NULL;
}

struct list {
    struct admin_call *call;
    struct buf *out;
    bool is_first;
};

static bool list_one(void *user, const char *site, const struct release_row *row, bool is_in_use)
{
    struct list *l = user;
    char digits[MANIFEST_SHA256_DIGITS + 1];

    if (!admin__may_touch_site(l->call, site))
        return true;
    manifest_sha256_print(row->manifest, digits);
    buf_addf(l->out,
             "%s{\"site\":\"%s\",\"release\":\"%s\",\"in_use\":%s,\"serial\":%llu,\"at_ms\":%lld,"
             "\"files\":%llu,\"bytes\":%llu,\"manifest\":\"%s\"}",
             l->is_first ? "" : ",", site, row->id, is_in_use ? "true" : "false",
             (unsigned long long)row->serial, (long long)row->at_ms, (unsigned long long)row->files,
             (unsigned long long)row->bytes, digits);
    l->is_first = false;
    return !l->out->failed;
}

static void list(struct admin_call *c, const char *site)
{
    struct list l = {.call = c, .out = &c->response->body, .is_first = true};
    struct files_stat stat;
    enum err e;

    c->response->content_type = "application/json";
    l.out->bytes_max = ADMIN_LIST_BYTES_MAX;
    files_stat(c->admin->opt.files, &stat);
    buf_addf(l.out, "{\"used_bytes\":%llu,\"bytes_max\":%llu,\"releases\":[",
             (unsigned long long)stat.used_bytes, (unsigned long long)stat.bytes_max);
    e = files_walk(c->admin->opt.files, site, list_one, &l);
    if (e == ERR_OK && site != NULL && l.is_first &&
        (site_of(c->admin, site) == NULL || !admin__may_touch_site(c, site)))
        admin__refuse(c, 404, "this node has no site %.64s; look at its sites file", site);
    else if (e == ERR_OK)
        buf_add(l.out, SLICE("]}\n"));
    else
        admin__refuse(c, 503, "the releases cannot be read: %s", err_name(e));
}

void admin__releases(struct admin_call *c)
{
    struct buf site;
    enum err e;

    if (!has_files(c))
        return;
    buf_init(&site, RELEASE_NAME_BYTES);
    e = admin__query_value(c->request->query, SLICE("site"), &site);
    buf_add_char(&site, '\0');
    if (e == ERR_NOT_FOUND)
        list(c, NULL);
    else if (e != ERR_OK || site.failed || !release_name_is_valid(slice_of(site.p)))
        admin__refuse(c, 400, "site= is no name of a site");
    else
        list(c, site.p);
    buf_release(&site);
}

/* ---- contents ---- */

static json_t *body_of(const struct admin_call *c)
{
    return json_loadb(c->request->body.p == NULL ? "" : c->request->body.p, c->request->body.n,
                      JSON_REJECT_DUPLICATES, NULL);
}

/* False: refused. */
static bool add_missing(struct admin_call *c, const json_t *one, bool *is_first)
{
    struct slice digits = {json_string_value(one), json_string_length(one)};
    unsigned char sha256[DIGEST_SHA256_BYTES];
    uint64_t bytes;
    enum err e;

    if (!manifest_sha256_parse(digits, sha256)) {
        admin__refuse(c, 400, "each entry is a SHA-256: 64 lower-case hexadecimal digits");
        return false;
    }
    e = files_find(c->admin->opt.files, sha256, &bytes);
    if (e == ERR_NOT_FOUND) {
        buf_addf(&c->response->body, "%s\"%.*s\"", *is_first ? "" : ",", (int)digits.n, digits.p);
        *is_first = false;
    } else if (e != ERR_OK) {
        admin__refuse(c, 503, "the published files cannot be read: %s", err_name(e));
    }
    return e == ERR_OK || e == ERR_NOT_FOUND;
}

static void missing(struct admin_call *c, const json_t *asked)
{
    bool is_first = true, ok = true;
    const json_t *one;
    size_t i;

    c->response->content_type = "application/json";
    buf_add(&c->response->body, SLICE("{\"missing\":["));
    json_array_foreach(asked, i, one) ok = ok && add_missing(c, one, &is_first);
    if (ok)
        buf_add(&c->response->body, SLICE("]}\n"));
}

void admin__releases_missing(struct admin_call *c)
{
    json_t *root, *asked;

    if (!may_change(c))
        return;
    root = body_of(c);
    asked = json_object_get(root, "sha256");
    if (!json_is_array(asked) || json_object_size(root) != 1 || json_array_size(asked) > ASKED_MAX)
        admin__refuse(c, 400, "write {\"sha256\": [\"...\"]}, at most %d of them", ASKED_MAX);
    else
        missing(c, asked);
    json_decref(root);
}

void admin__releases_files(struct admin_call *c)
{
    struct buf why;
    enum err e;

    if (!may_change(c))
        return;
    buf_init(&why, WHY_BYTES_MAX);
    e = files_add(c->admin->opt.files, c->request->body, &why);
    if (e == ERR_CORRUPT)
        metrics_add(METRIC_FILES_BAD_UPLOAD, 1);
    c->response->content_type = "application/json";
    if (e == ERR_OK)
        buf_add(&c->response->body, SLICE("{}\n"));
    else
        refuse(c, e, &why);
    buf_release(&why);
}

/* ---- switching ---- */

/* May this caller change what this site serves, and does it serve releases?  Else it is refused. */
static bool is_for_site(struct admin_call *c, const char *name)
{
    const struct config_site *s = site_of(c->admin, name);

    if (!admin__may_touch_site(c, name)) {
        admin__refuse(c, 403, "the token %s is not for the site %.64s; use one that is", who(c),
                      name);
        return false;
    }
    if (s == NULL) {
        admin__refuse(c, 404, "this node has no site %.64s; look at its sites file", name);
        return false;
    }
    if (!s->files) {
        admin__refuse(c, 409,
                      "the site %.64s serves no releases; write files: yes into the sites file, on "
                      "every node",
                      name);
        return false;
    }
    return true;
}

static bool is_name(const json_t *j)
{
    return json_is_string(j) &&
           release_name_is_valid((struct slice){json_string_value(j), json_string_length(j)});
}

static void switched(struct admin_call *c, const char *site, const struct release_row *row,
                     const char *what)
{
    enum err e = releases_load(c->admin->opt.releases, site, row);

    if (e != ERR_OK) { /* on the disk it is; a start finds it */
        admin__refuse(c, 503,
                      "the release %s is on the disk, and could not be loaded (%s): restart the "
                      "node",
                      row->id, err_name(e));
        return;
    }
    log_info("releases: %s: %s %s by %s", site, what, row->id, who(c));
    c->admin->opt.backend.released(c->admin->opt.backend.user);
    c->response->content_type = "application/json";
    buf_addf(&c->response->body,
             "{\"site\":\"%s\",\"release\":\"%s\",\"serial\":%llu,\"files\":%llu,\"bytes\":%llu}\n",
             site, row->id, (unsigned long long)row->serial, (unsigned long long)row->files,
             (unsigned long long)row->bytes);
}

static void publish(struct admin_call *c, const char *site, const char *id, const char *digits)
{
    unsigned char manifest[DIGEST_SHA256_BYTES];
    struct release_row row;
    struct buf why;
    enum err e;

    if (!manifest_sha256_parse(slice_of(digits), manifest)) {
        admin__refuse(c, 400, "manifest is no SHA-256 of 64 lower-case hexadecimal digits");
        return;
    }
    buf_init(&why, WHY_BYTES_MAX);
    errno = 0;
    e = files_publish(c->admin->opt.files, site, id, manifest, &row, &why);
    if (e == ERR_OK) {
        metrics_add(METRIC_RELEASES_PUBLISHED, 1);
        switched(c, site, &row, "published");
    } else {
        refuse(c, e, &why);
    }
    buf_release(&why);
}

void admin__releases_publish(struct admin_call *c)
{
    json_t *root, *site, *id, *manifest;

    if (!may_change(c))
        return;
    root = body_of(c);
    site = json_object_get(root, "site");
    id = json_object_get(root, "release");
    manifest = json_object_get(root, "manifest");
    if (!is_name(site) || !is_name(id) || !json_is_string(manifest) || json_object_size(root) != 3)
        admin__refuse(c, 400,
                      "write {\"site\": \"www\", \"release\": \"r1\", \"manifest\": SHA256}; names "
                      "are up to 64 letters, digits, '-', '_' and '.'");
    else if (is_for_site(c, json_string_value(site)))
        publish(c, json_string_value(site), json_string_value(id), json_string_value(manifest));
    json_decref(root);
}

static void roll_back(struct admin_call *c, const char *site, const char *id)
{
    struct release_row row;
    struct buf why;
    enum err e;

    buf_init(&why, WHY_BYTES_MAX);
    errno = 0;
    e = files_activate(c->admin->opt.files, site, id, &row, &why);
    if (e == ERR_OK) {
        metrics_add(METRIC_RELEASES_ROLLED_BACK, 1);
        switched(c, site, &row, "rolled back to");
    } else {
        refuse(c, e, &why);
    }
    buf_release(&why);
}

void admin__releases_rollback(struct admin_call *c)
{
    json_t *root, *site, *id;

    if (!may_change(c))
        return;
    root = body_of(c);
    site = json_object_get(root, "site");
    id = json_object_get(root, "release");
    if (!is_name(site) || (id != NULL && !is_name(id)) ||
        json_object_size(root) != (id == NULL ? 1 : 2))
        admin__refuse(c, 400, "write {\"site\": \"www\"}, or with \"release\": \"r1\" beside it");
    else if (is_for_site(c, json_string_value(site)))
        roll_back(c, json_string_value(site), json_string_value(id));
    json_decref(root);
}
