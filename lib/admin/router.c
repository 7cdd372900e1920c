/* From method and path to a handler; and what all answers have in common. */
#include "admin/admin.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "admin/admin_priv.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/limits.h"
#include "http/url.h"

enum { SENTENCE_BYTES = 1024 };

enum need { NEED_NOTHING, NEED_READ, NEED_PURGE, NEED_REGIONS, NEED_PUBLISH };

static const struct route {
    struct slice method, path;
    enum need need;
    bool wants_json;
    void (*handle)(struct admin_call *c);
} routes[] = {
    {SLICE("GET"), SLICE("/healthz"), NEED_NOTHING, false, admin__healthz},
    {SLICE("GET"), SLICE("/readyz"), NEED_READ, false, admin__readyz},
    {SLICE("GET"), SLICE("/status"), NEED_READ, false, admin__status},
    {SLICE("GET"), SLICE("/members"), NEED_PURGE, false, admin__members},
    {SLICE("GET"), SLICE("/metrics"), NEED_READ, false, admin__metrics},
    {SLICE("GET"), SLICE("/ls"), NEED_READ, false, admin__ls},
    {SLICE("POST"), SLICE("/explain"), NEED_READ, true, admin__explain},
    {SLICE("POST"), SLICE("/purge"), NEED_PURGE, true, admin__purge},
    {SLICE("GET"), SLICE("/regions"), NEED_READ, false, admin__regions},
    {SLICE("POST"), SLICE("/regions"), NEED_REGIONS, true, admin__regions_drain},
    {SLICE("GET"), SLICE("/releases"), NEED_READ, false, admin__releases},
    {SLICE("POST"), SLICE("/releases/missing"), NEED_PUBLISH, true, admin__releases_missing},
    {SLICE("POST"), SLICE("/releases/files"), NEED_PUBLISH, false, admin__releases_files},
    {SLICE("POST"), SLICE("/releases/publish"), NEED_PUBLISH, true, admin__releases_publish},
    {SLICE("POST"), SLICE("/releases/rollback"), NEED_PUBLISH, true, admin__releases_rollback},
};

void admin__refuse(struct admin_call *c, int status, const char *format, ...)
{
    char sentence[SENTENCE_BYTES];
    struct buf *body = &c->response->body;
    va_list ap;

    va_start(ap, format);
    vsnprintf(sentence, sizeof(sentence), format, ap);
    va_end(ap);
    body->n = 0; /* what a handler had begun to write */
    body->failed = false;
    c->response->status = status;
    c->response->content_type = "application/json";
    buf_add(body, SLICE("{\"error\":\""));
    buf_add_json(body, slice_of(sentence));
    buf_add(body, SLICE("\"}\n"));
}

/* Its URL, for who sits before another machine; or nothing, where it listens for its own alone. */
static void add_way(struct buf *out, struct slice host, struct slice admin)
{
    struct slice at = admin;
    size_t colon = admin.n;

    while (colon > 0 && admin.p[colon - 1] != ':')
        colon--;
    at.n = colon == 0 ? 0 : colon - 1;
    if (slice_eq(at, SLICE("0.0.0.0")) || slice_eq(at, SLICE("[::]")))
        buf_addf(out, "run it with --node http://%.*s:%.*s", (int)host.n, host.p,
                 (int)(admin.n - colon), admin.p + colon);
    else
        buf_addf(out, "run it with --node http://%.*s", (int)admin.n, admin.p);
}

void admin__refuse_for_owner(struct admin_call *c, const char *what)
{
    const char *url = config_journal_owner(c->admin->config);
    const struct admin_backend *b = &c->admin->opt.backend;
    struct slice node, admin;
    struct url_parts parts = {0};
    char text[SENTENCE_BYTES];
    struct buf way;

    b->owner(b->user, &node, &admin);
    if (url == NULL || url_parse_absolute(slice_of(url), &parts) != ERR_OK || admin.n == 0) {
        admin__refuse(
            c, 421,
            "this node follows the purge journal of %s (its address for nodes), which has "
            "not been heard since this one started: %s there, with --node and the "
            "admin.listen of that node's file",
            url == NULL ? "another node" : url, what);
        return;
    }
    snprintf(text, sizeof(text), "%.*s", (int)admin.n, admin.p);
    buf_init(&way, SENTENCE_BYTES);
    if (admin_is_loopback(text))
        buf_addf(
            &way,
            "log in on %.*s, since its admin interface is for that machine alone (%s), and run "
            "it there with --node http://%s",
            (int)parts.host.n, parts.host.p, text, text);
    else
        add_way(&way, parts.host, admin);
    admin__refuse(
        c, 421, "this node follows the purge journal of %.*s (%s), which is the one to %s: %.*s",
        (int)node.n, node.n == 0 ? "" : node.p, url, what, (int)way.n, way.p == NULL ? "" : way.p);
    buf_release(&way);
}

static bool is_allowed(const struct admin_call *c, enum need need)
{
    const struct config_token *token = c->who.token == NULL ? NULL : c->who.token->config;

    if (token == NULL || need == NEED_NOTHING)
        return true;
    return need == NEED_READ      ? token->may_read
           : need == NEED_REGIONS ? token->may_regions
           : need == NEED_PUBLISH ? token->may_publish
                                  : token->may_purge;
}

static const char *kind_of(enum need need)
{
    static const char *const kind[] = {[NEED_READ] = "read",
                                       [NEED_PURGE] = "purge",
                                       [NEED_REGIONS] = "regions",
                                       [NEED_PUBLISH] = "publish"};

    return kind[need];
}

static bool has_json(const struct admin_request *rq)
{
    struct slice type = slice_head(rq->content_type, slice_index(rq->content_type, ';'));

    return slice_eq_nocase(slice_trim(type), SLICE("application/json"));
}

static void run(struct admin_call *c, const struct route *r)
{
    if (!is_allowed(c, r->need))
        admin__refuse(c, 403,
                      "the token %s may not do this; give it the kind %s in the tokens file",
                      c->who.token->config->name, kind_of(r->need));
    else if (c->request->body.n > LIMIT_REQUEST_BODY_BYTES)
        admin__refuse(c, 413, "the body has more than %llu bytes; send it in several requests",
                      LIMIT_REQUEST_BODY_BYTES);
    else if (r->wants_json && !has_json(c->request))
        admin__refuse(c, 415, "send JSON, with the field Content-Type: application/json");
    else
        r->handle(c);
}

static void route(struct admin_call *c)
{
    const struct admin_request *rq = c->request;
    const char *allow = NULL;

    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        const struct route *r = &routes[i];

        if (!slice_eq(rq->path, r->path))
            continue;
        if (!slice_eq(rq->method, r->method)) {
            allow = allow == NULL ? r->method.p : "GET, POST"; /* no path has more */
            continue;
        }
        run(c, r);
        return;
    }
    if (allow == NULL) {
        admin__refuse(
            c, 404,
            "there is nothing here; ask /status, /members, /metrics, /readyz, /healthz, /ls, "
            "/explain, /purge, /regions or /releases");
        return;
    }
    c->response->allow = allow;
    admin__refuse(c, 405, "use %s here", allow);
}

void admin_handle(struct admin *a, const struct admin_request *rq, struct admin_response *out)
{
    struct admin_call c = {.admin = a, .request = rq, .response = out};

    *out = (struct admin_response){.status = 200, .content_type = "text/plain; charset=utf-8"};
    buf_init(&out->body, ADMIN_ANSWER_BYTES_MAX);
    if (slice_eq(rq->path, SLICE("/healthz")) && slice_eq(rq->method, SLICE("GET")))
        admin__healthz(&c); /* for load balancers, which have no token */
    else if (a->config == NULL)
        admin__refuse(&c, 503, "no configuration is loaded yet; try again in a second");
    else if (admin__authenticate(&c))
        route(&c);
    if (out->body.failed)
        admin__refuse(&c, 503, "the answer does not fit into memory; ask for less");
}

enum err admin_new(const struct admin_options *opt, struct admin **out)
{
    struct admin *a = calloc(1, sizeof(*a));
    enum err e;

    CHECK(opt->purge != NULL);
    CHECK(opt->store != NULL);
    if (a == NULL)
        return ERR_NOMEM;
    a->opt = *opt;
    a->now_ms = clock_mono_ms;
    a->started_ms = clock_mono_ms();
    e = store_reader_new(opt->store, &a->reader);
    if (e != ERR_OK) {
        admin_free(a);
        return e;
    }
    *out = a;
    return ERR_OK;
}

void admin_free(struct admin *a)
{
    if (a == NULL)
        return;
    store_reader_free(a->reader);
    sites_free(a->sites);
    free(a->site_list);
    free(a->tokens);
    config_unref(a->config);
    free(a);
}
