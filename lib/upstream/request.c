#include "upstream/upstream_priv.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

enum { METHOD_BYTES_MAX = 64, HOST_FIELD_BYTES_MAX = 300 };

static bool is_target(struct slice s)
{
    if (s.n == 0 || s.n > LIMIT_TARGET_BYTES || (s.p[0] != '/' && !slice_eq(s, SLICE("*"))))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c <= ' ' || c == 0x7f)
            return false;
    }
    return true;
}

/*
 * Said by us or by libcurl, so never taken from the list: the message is framed anew, and a body
 * that is here in whole asks for no 100 first.
 */
static bool is_ours(struct slice name)
{
    static const struct slice ours[] = {
        {"host", 4},   {"content-length", 14},    {"connection", 10},
        {"expect", 6}, {"transfer-encoding", 17},
    };

    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        if (slice_eq_nocase(name, ours[i]))
            return true;
    }
    return false;
}

/* libcurl writes "Name: value" as it stands, "Name;" as an empty field, and "Name:" means: do not
 * add it yourself. */
static enum err add_line(struct upstream_fetch *f, struct curl_slist ***end, struct slice name,
                         struct slice between, struct slice value)
{
    struct curl_slist *item = arena_zalloc(&f->arena, sizeof(*item));
    char *p = arena_alloc(&f->arena, name.n + between.n + value.n + 1);

    if (item == NULL || p == NULL)
        return ERR_NOMEM;
    item->data = p;
    memcpy(p, name.p, name.n);
    p += name.n;
    memcpy(p, between.p, between.n);
    p += between.n;
    if (value.n > 0)
        memcpy(p, value.p, value.n);
    p[value.n] = '\0';
    **end = item;
    *end = &item->next;
    return ERR_OK;
}

static enum err add_fields(struct upstream_fetch *f, struct curl_slist ***end,
                           const struct http_fields *fields)
{
    enum err e = ERR_OK;

    for (size_t i = 0; e == ERR_OK && fields != NULL && i < fields->count; i++) {
        const struct http_field *x = &fields->item[i];
        struct slice value = slice_trim(x->value);

        if (!http_is_token(x->name) || !http_is_field_value(x->value))
            return ERR_INVALID;
        if (!is_ours(x->name))
            e = add_line(f, end, x->name, value.n > 0 ? SLICE(": ") : SLICE(";"), value);
    }
    return e;
}

static bool is_given(const struct http_fields *fields, struct slice name)
{
    for (size_t i = 0; fields != NULL && i < fields->count; i++)
        if (slice_eq_nocase(fields->item[i].name, name))
            return true;
    return false;
}

/* What goes to every target. */
static enum err add_common(struct upstream_fetch *f, struct curl_slist **end,
                           const struct http_fields *fields)
{
    static const char *const unwanted[] = {"Accept", "Content-Type", "Expect", "User-Agent"};
    enum err e = add_fields(f, &end, fields);

    for (size_t i = 0; e == ERR_OK && i < sizeof(unwanted) / sizeof(unwanted[0]); i++) {
        struct slice name = slice_of(unwanted[i]);

        /* what is_ours() drops does not count as given */
        if (is_ours(name) || !is_given(fields, name))
            e = add_line(f, &end, name, SLICE(":"), (struct slice){NULL, 0});
    }
    return e;
}

/* Host, and the fields for one kind of target, before those for all. */
static enum err add_head(struct upstream_fetch *f, struct curl_slist **begin, struct slice host,
                         const struct http_fields *own, struct curl_slist *common)
{
    struct curl_slist **end = begin;
    enum err e = add_line(f, &end, SLICE("Host"), SLICE(": "), host);

    if (e == ERR_OK)
        e = add_fields(f, &end, own);
    *end = common;
    return e;
}

static bool asks_peers(const struct upstream_request *rq)
{
    return rq->route != NULL || rq->target->is_peer;
}

static enum err copy_fields(struct upstream_fetch *f, const struct upstream_request *rq,
                            struct slice origin_host)
{
    struct curl_slist *common = NULL;
    enum err e = add_common(f, &common, rq->fields);

    if (e == ERR_OK)
        e = add_head(f, &f->origin_fields, origin_host, rq->origin_fields, common);
    if (e == ERR_OK && asks_peers(rq))
        e = add_head(f, &f->peer_fields, rq->host, rq->peer_fields, common);
    return e;
}

/*
 * name[:port] or [address][:port], and nothing that would be userinfo, a path or a query in the URL
 * that libcurl gets: it would add Authorization, or verify another name.
 */
static bool is_host(struct slice s)
{
    size_t end = s.n > 0 && s.p[0] == '[' ? slice_index(s, ']') : slice_index(s, ':');
    struct slice port;

    if (s.n == 0 || s.n > HOST_FIELD_BYTES_MAX || (s.p[0] == '[' && end == s.n))
        return false;
    end += s.p[0] == '[';
    for (size_t i = 0; i < end; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c <= ' ' || c >= 0x7f || strchr("/?#@\\\"<>^`{|}%", c) != NULL)
            return false;
    }
    port = slice_from(s, end);
    if (end == 0 || (port.n > 0 && port.p[0] != ':'))
        return false;
    for (size_t i = 1; i < port.n; i++)
        if (port.p[i] < '0' || port.p[i] > '9')
            return false;
    return true;
}

/* The name the certificate must be for: Host without its port. */
static struct slice name_of(struct slice host)
{
    size_t end = slice_index(host, ']');

    end = end == host.n ? 0 : end;
    return slice_head(host, end + slice_index(slice_from(host, end), ':'));
}

enum err upstream__request_copy(struct upstream_fetch *f, const struct upstream_request *rq)
{
    struct slice origin_host = rq->origin_host.p != NULL ? rq->origin_host : rq->host;

    if (!http_is_token(rq->method) || rq->method.n > METHOD_BYTES_MAX ||
        !is_target(rq->request_target) || !is_host(rq->host) || !is_host(origin_host))
        return ERR_INVALID;
    f->is_head = slice_eq(rq->method, SLICE("HEAD"));
    f->has_body = rq->has_body;
    f->is_stream = rq->stream;
    f->peer_first_byte_ms = rq->peer_first_byte_ms;
    f->peer_idle_ms = rq->peer_idle_ms;
    f->is_idempotent = rq->is_idempotent;
    f->is_upgrade = rq->upgrade.p != NULL;
    if (f->is_upgrade && (!http_is_token(rq->upgrade) || rq->has_body))
        return ERR_INVALID;
    f->upgrade = f->is_upgrade ? arena_text(&f->arena, rq->upgrade) : NULL;
    if (f->is_upgrade && f->upgrade == NULL)
        return ERR_NOMEM;
    f->method = arena_text(&f->arena, rq->method);
    f->request_target = arena_text(&f->arena, rq->request_target);
    f->host_name = arena_text(&f->arena, name_of(origin_host));
    if (f->method == NULL || f->request_target == NULL || f->host_name == NULL)
        return ERR_NOMEM;
    if (rq->has_body) {
        f->body =
            malloc(rq->body.n + 1); /* never NULL: libcurl takes NULL for "read it from stdin" */
        if (f->body == NULL)
            return ERR_NOMEM;
        if (rq->body.n > 0)
            memcpy(f->body, rq->body.p, rq->body.n);
        f->body_bytes = rq->body.n;
    }
    return copy_fields(f, rq, origin_host);
}
