/* POST /purge. */
#include <errno.h>
#include <string.h>

#include "admin/admin_priv.h"
#include "admin/purge_body.h"
#include "base/limits.h"
#include "base/log.h"

/*
 * A body of 1 MiB becomes at most three times that in normal form (each byte %XX), twice, where the
 * sites know it by another name, with what it takes to make those, the scopes beside it, and what
 * blocks of the arena leave unused.
 */
enum { ARENA_BYTES_MAX = 24 << 20, WHY_BYTES_MAX = 1024, LINE_BYTES = 1800, UNKNOWN_MAX = 10 };

static const char *token_name(const struct admin_call *c)
{
    return c->who.token == NULL ? "-" : c->who.token->config->name;
}

static bool is_wide(const struct purge_scope *s)
{
    return s->kind == PURGE_ALL || s->kind == PURGE_HOST ||
           (s->kind == PURGE_PREFIX && purge_body_is_whole_host(s->text));
}

/* The host that a scope is about; tags and everything have none. */
static bool host_of(const struct purge_scope *s, struct slice *out)
{
    *out = slice_head(s->text, slice_index(s->text, '/'));
    return s->kind != PURGE_TAG && s->kind != PURGE_ALL;
}

static bool may_purge(struct admin_call *c, const struct purge_scope *s)
{
    struct slice host;

    if (is_wide(s) && c->who.token != NULL && !c->who.token->config->may_purge_wide) {
        admin__refuse(c, 403,
                      "the token %s may not purge whole hosts or everything; give it the kind "
                      "wide, or purge URLs, prefixes or tags",
                      token_name(c));
        return false;
    }
    if (!host_of(s, &host)) {
        if (admin__may_touch_all(c))
            return true;
        admin__refuse(c, 403,
                      "the token %s is for some sites only, and tags and all reach every site; "
                      "purge URLs or prefixes",
                      token_name(c));
        return false;
    }
    if (admin__may_touch_host(c, host))
        return true;
    admin__refuse(c, 403, "the token %s is not for the site of %.*s; use one that is",
                  token_name(c), (int)(host.n < 256 ? host.n : 256), host.p);
    return false;
}

static bool is_allowed(struct admin_call *c, const struct purge_body *body)
{
    for (size_t i = 0; i < body->count; i++)
        if (!may_purge(c, &body->scopes[i]))
            return false;
    return true;
}

/* Who asks again for what he has had, or did not get it, has not had it twice. */
static bool takes_all(const struct admin_call *c, const struct purge_body *body)
{
    bool has_all = false;

    for (size_t i = 0; i < body->count; i++)
        has_all = has_all || body->scopes[i].kind == PURGE_ALL;
    return has_all &&
           !purge_is_repeated(c->admin->opt.purge, body->scopes, body->count, body->soft, body->id);
}

static void refuse_for_memory(struct admin_call *c)
{
    admin__refuse(c, 413, "the scopes take too much memory; send them in several requests");
}

/* ---- by what other names it is kept ---- */

/* Where the regions of a site share one copy it lies under the first of the hosts (server/region).
 */
static struct slice kept_host(const struct admin *a, const struct site *s, struct slice host)
{
    const struct config_site *c = &a->config->sites[s - a->site_list];

    for (size_t i = 0; c->geo == CONFIG_GEO_REDIRECT && i < a->config->regions_count; i++) {
        struct slice name = slice_of(a->config->regions[i].hostname);

        if (slice_eq(slice_head(name, slice_index(name, ':')), host))
            return slice_of(c->hosts.item[0]);
    }
    return host;
}

/*
 * The scope as the site it belongs to keeps it, in the arena; as it is when there is no such site.
 * text.p == NULL: no room.
 */
static struct purge_scope as_kept(const struct admin *a, const struct purge_scope *s,
                                  struct slice target, struct arena *arena)
{
    struct purge_scope kept = *s;
    struct slice named, host, rest;
    const struct site *site;
    char *p;

    if (!host_of(s, &named) || a->sites == NULL || (site = sites_find(a->sites, named)) == NULL)
        return kept;
    host = kept_host(a, site, named);
    if (s->kind == PURGE_URL) {
        kept.text = site_purge_url(site, host, target, arena);
        return kept;
    }
    rest = slice_from(s->text, named.n);
    p = arena_alloc(arena, host.n + rest.n);
    if (p != NULL) {
        memcpy(p, host.p, host.n);
        memcpy(p + host.n, rest.p == NULL ? "" : rest.p, rest.n);
    }
    kept.text = (struct slice){p, host.n + rest.n};
    return kept;
}

/*
 * What a person names is what a browser shows: with parameters that the site drops, in another
 * order than it sorts them, under the name of a region.  Both are purged: a node may have older
 * copies, or another sites file.
 */
static enum err add_kept(const struct admin *a, struct purge_body *body, struct arena *arena)
{
    struct purge_scope *all = arena_alloc(arena, 2 * body->count * sizeof(*all));
    size_t count = body->count;

    if (all == NULL)
        return ERR_LIMIT;
    memcpy(all, body->scopes, count * sizeof(*all));
    for (size_t i = 0; i < body->count; i++) {
        struct purge_scope kept = as_kept(a, &body->scopes[i], body->targets[i], arena);

        if (kept.kind != PURGE_ALL && kept.text.p == NULL)
            return ERR_LIMIT;
        if (!slice_eq(kept.text, body->scopes[i].text))
            all[count++] = kept;
    }
    body->scopes = all;
    body->count = count;
    return ERR_OK;
}

/* ---- the answer ---- */

static void write_audit(const struct admin_call *c, bool soft, uint64_t position, struct buf *line)
{
    log_info("purge by token %s up to %u-%llu%s: %.*s", token_name(c), position_epoch(position),
             (unsigned long long)position_n(position), soft ? ", soft" : "", (int)line->n,
             line->n == 0 ? "" : line->p);
    line->n = 0;
}

/* Who purged what, in as few lines of the log as hold it; a text that is longer than a line is cut.
 */
static void audit(const struct admin_call *c, const struct purge_body *body, uint64_t position)
{
    struct buf line;

    buf_init(&line, 2 * LINE_BYTES);
    for (size_t i = 0; i < body->count; i++) {
        struct slice text = slice_head(body->scopes[i].text, LINE_BYTES);

        if (line.n > 0 && line.n + text.n > LINE_BYTES)
            write_audit(c, body->soft, position, &line);
        buf_addf(&line, "%s%s%s", line.n == 0 ? "" : ", ", purge_kind_name(body->scopes[i].kind),
                 text.n == 0 ? "" : " ");
        buf_add(&line, text);
    }
    write_audit(c, body->soft, position, &line);
    buf_release(&line);
}

/* It holds all the same, for a site that comes or went; but most often a host was misspelt. */
static void add_unknown_hosts(struct admin_call *c, const struct purge_body *body)
{
    struct buf *out = &c->response->body;
    struct slice host, last = SLICE("");
    unsigned told = 0;

    for (size_t i = 0; i < body->count && c->admin->sites != NULL && told < UNKNOWN_MAX; i++) {
        if (!host_of(&body->scopes[i], &host) || slice_eq(host, last) ||
            sites_find(c->admin->sites, host) != NULL)
            continue;
        buf_add(out, told++ == 0 ? SLICE(",\"no_site_has\":[\"") : SLICE("\",\""));
        buf_add_json(out, host);
        last = host;
    }
    if (told > 0)
        buf_add(out, SLICE("\"]"));
}

static void answer(struct admin_call *c, struct purge_body *body, struct arena *arena)
{
    unsigned *retry = &c->response->retry_after_s;
    uint64_t position = 0;
    size_t asked = body->count;
    bool has_all;
    enum err e = add_kept(c->admin, body, arena);

    if (e == ERR_OK && body->count > PURGE_SCOPES_MAX) {
        admin__refuse(c, 400,
                      "these are %zu scopes with those under which the sites keep them (query, "
                      "regions), and one request may have %d; send them in two",
                      body->count, PURGE_SCOPES_MAX);
        return;
    }
    if (e != ERR_OK) {
        refuse_for_memory(c);
        return;
    }
    has_all = takes_all(c, body);
    if (has_all && !admin__may_take_all(c, retry)) {
        admin__refuse(c, 429, "a token may purge everything once a minute; try again in %u s",
                      *retry);
        return;
    }
    errno = 0;
    e = purge_append(c->admin->opt.purge, body->scopes, body->count, body->soft, body->id,
                     &position);
    if (e == ERR_OK) {
        if (has_all)
            admin__take_all(c);
        audit(c, body, position);
        c->response->content_type = "application/json";
        buf_addf(&c->response->body,
                 "{\"position\":{\"epoch\":%u,\"n\":%llu},\"scopes\":%zu,\"soft\":%s",
                 position_epoch(position), (unsigned long long)position_n(position), asked,
                 body->soft ? "true" : "false");
        add_unknown_hosts(c, body);
        buf_add(&c->response->body, SLICE("}\n"));
        return;
    }
    if (e == ERR_INVALID) {
        admin__refuse(c, 400, "a scope is no URL, prefix, host or tag; look at its form");
        return;
    }
    log_error("purge by token %s failed: %s%s%s", token_name(c), err_name(e),
              errno == 0 ? "" : ": ", errno == 0 ? "" : strerror(errno));
    c->response->retry_after_s = 5;
    admin__refuse(c, 503,
                  "the purge could not be written to disk (%s) and does not hold; make room on "
                  "the disk of the store, then send it again",
                  err_name(e));
}

void admin__purge(struct admin_call *c)
{
    struct purge_body body;
    struct arena arena;
    struct buf why;
    enum err e;

    if (purge_follows(c->admin->opt.purge)) {
        admin__refuse_for_owner(c, "purge");
        return;
    }
    if (!admin__take_purge(c, &c->response->retry_after_s)) {
        admin__refuse(c, 429,
                      "a token may send %d purges a second; try again in a second, or put more "
                      "scopes into one request",
                      ADMIN_PURGES_PER_S);
        return;
    }
    arena_init(&arena, NULL, 0, ARENA_BYTES_MAX);
    buf_init(&why, WHY_BYTES_MAX);
    e = purge_body_parse(c->request->body, &arena, &body, &why);
    if (e == ERR_INVALID)
        admin__refuse(c, 400, "%.*s", (int)why.n, why.n == 0 ? "" : why.p);
    else if (e != ERR_OK)
        refuse_for_memory(c);
    else if (is_allowed(c, &body))
        answer(c, &body, &arena);
    buf_release(&why);
    arena_release(&arena);
}
