/* POST /purge. */
#include <errno.h>
#include <string.h>

#include "admin/admin_priv.h"
#include "admin/purge_body.h"
#include "base/limits.h"
#include "base/log.h"

/*
 * A body of 1 MiB becomes at most three times that in normal form (each byte %XX), the scopes
 * beside it, and what blocks of the arena leave unused.
 */
enum { ARENA_BYTES_MAX = 8 << 20, WHY_BYTES_MAX = 1024, LINE_BYTES = 1800, UNKNOWN_MAX = 10 };

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
    bool has_all = false;
    unsigned *retry = &c->response->retry_after_s;

    for (size_t i = 0; i < body->count; i++) {
        if (!may_purge(c, &body->scopes[i]))
            return false;
        has_all = has_all || body->scopes[i].kind == PURGE_ALL;
    }
    if (!has_all || admin__take_all(c, retry))
        return true;
    admin__refuse(c, 429, "a token may purge everything once a minute; try again in %u s", *retry);
    return false;
}

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

static void answer(struct admin_call *c, const struct purge_body *body)
{
    uint64_t position = 0;
    enum err e;

    errno = 0;
    e = purge_append(c->admin->opt.purge, body->scopes, body->count, body->soft, body->id,
                     &position);
    if (e == ERR_OK) {
        audit(c, body, position);
        c->response->content_type = "application/json";
        buf_addf(&c->response->body,
                 "{\"position\":{\"epoch\":%u,\"n\":%llu},\"scopes\":%zu,\"soft\":%s",
                 position_epoch(position), (unsigned long long)position_n(position), body->count,
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
        const char *owner = config_journal_owner(c->admin->config);

        admin__refuse(c, 421,
                      "this node follows the purge journal of %s (its address for nodes): run "
                      "selvage purge there, or with --node and the admin address of that node "
                      "(admin.listen in its file)",
                      owner == NULL ? "another node" : owner);
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
        admin__refuse(c, 413, "the scopes take too much memory; send them in several requests");
    else if (is_allowed(c, &body))
        answer(c, &body);
    buf_release(&why);
    arena_release(&arena);
}
