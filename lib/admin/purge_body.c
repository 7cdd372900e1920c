#include "admin/purge_body.h"

#include <jansson.h>

#include "base/limits.h"
#include "http/url.h"

enum { ID_BYTES_MAX = 64, SHOWN_BYTES = 100 };

#define EXAMPLE "; write {\"scopes\":[{\"url\":\"https://example.com/a\"}]}"

/* "host/path": the part before the first '/' must not be a scheme with its ':'. */
static enum err split_url(struct slice url, struct slice *authority, struct slice *target)
{
    size_t slash = slice_index(url, '/');
    struct url_parts parts;

    if (slash > 0 && slash + 1 < url.n && url.p[slash - 1] == ':' && url.p[slash + 1] == '/') {
        if (url_parse_absolute(url, &parts) != ERR_OK)
            return ERR_INVALID;
        *authority = parts.host;
        *target = parts.target;
        return ERR_OK;
    }
    *authority = slice_head(url, slash);
    *target = slash < url.n ? slice_from(url, slash) : SLICE("/");
    return ERR_OK;
}

static enum err parse_url(struct slice url, struct arena *a, struct slice *out_host,
                          struct slice *out_target, struct slice *out_form)
{
    struct slice authority, target, host;
    struct buf form;
    uint16_t port;
    enum err e = split_url(url, &authority, &target);

    if (e == ERR_OK)
        e = url_host(authority, a, &host, &port);
    if (e != ERR_OK)
        return e;
    if (target.n > LIMIT_TARGET_BYTES)
        return ERR_LIMIT;
    if (!url_target_is_valid(target))
        return ERR_INVALID;
    buf_init(&form, PURGE_TEXT_BYTES_MAX);
    url_purge_form(host, target, &form);
    if (!form.failed)
        *out_form = arena_dup(a, buf_slice(&form));
    e = form.failed || out_form->p == NULL ? ERR_LIMIT : ERR_OK;
    buf_release(&form);
    if (e == ERR_OK) {
        *out_host = host;
        *out_target = target;
    }
    return e;
}

enum err purge_body_url(struct slice url, struct arena *a, struct slice *out_host,
                        struct slice *out_form)
{
    struct slice target;

    return parse_url(url, a, out_host, &target, out_form);
}

bool purge_body_is_whole_host(struct slice form)
{
    return form.n > 0 && slice_index(form, '/') == form.n - 1;
}

static struct slice text_of(const json_t *value)
{
    return (struct slice){json_string_value(value), json_string_length(value)};
}

/* What was sent, cut and without bytes that would disturb a terminal. */
static void show(struct buf *why, struct slice text)
{
    buf_add_char(why, '\'');
    for (size_t i = 0; i < text.n && i < SHOWN_BYTES; i++)
        buf_add_char(why, text.p[i] < 0x20 || text.p[i] == 0x7f ? '?' : text.p[i]);
    buf_add(why, text.n > SHOWN_BYTES ? SLICE("...'") : SLICE("'"));
}

static enum err refuse(struct buf *why, const char *what, struct slice text, const char *advice)
{
    buf_addf(why, "%s ", what);
    show(why, text);
    buf_addf(why, " %s", advice);
    return ERR_INVALID;
}

static enum err read_url(struct slice text, const char *kind, struct arena *a,
                         struct purge_scope *out, struct slice *out_target, struct buf *why)
{
    struct slice host, target;
    enum err e = parse_url(text, a, &host, &target, &out->text);

    if (e == ERR_INVALID)
        return refuse(
            why, kind, text,
            "is no URL; write it as https://host/path, with %XX for what a URL cannot hold");
    if (e == ERR_OK)
        *out_target = arena_dup(a, target); /* the JSON goes */
    if (e == ERR_OK && out_target->p == NULL)
        e = ERR_LIMIT;
    /* Each byte may become three; a shorter one can only have met a full arena. */
    if (e == ERR_LIMIT && text.n > PURGE_TEXT_BYTES_MAX / 3)
        return refuse(why, kind, text, "is too long; purge a prefix of it");
    return e;
}

static enum err read_host(struct slice text, struct arena *a, struct purge_scope *out,
                          struct buf *why)
{
    uint16_t port;
    enum err e = url_host(text, a, &out->text, &port);

    if (e == ERR_INVALID)
        return refuse(why, "host", text, "is no host name; write it as in www.example.com");
    return e;
}

static enum err read_tag(struct slice text, struct arena *a, struct purge_scope *out,
                         struct buf *why)
{
    bool is_printable = text.n > 0 && text.n <= LIMIT_TAG_BYTES;

    for (size_t i = 0; i < text.n && is_printable; i++)
        is_printable = (unsigned char)text.p[i] >= 0x20 && text.p[i] != 0x7f;
    if (!is_printable)
        return refuse(why, "tag", text,
                      "is no tag; write 1 to 256 bytes without control characters");
    out->text = arena_dup(a, text);
    return out->text.p == NULL ? ERR_LIMIT : ERR_OK;
}

static enum err read_scope(json_t *item, struct arena *a, struct purge_scope *out,
                           struct slice *out_target, struct buf *why)
{
    void *member =
        json_is_object(item) && json_object_size(item) == 1 ? json_object_iter(item) : NULL;
    const char *key = member == NULL ? "" : json_object_iter_key(member);
    json_t *value = member == NULL ? NULL : json_object_iter_value(member);

    for (unsigned k = 0; k < PURGE_KINDS; k++) {
        if (strcmp(key, purge_kind_name(k)) != 0)
            continue;
        *out = (struct purge_scope){.kind = k};
        if (k == PURGE_ALL && json_is_true(value))
            return ERR_OK;
        if (k == PURGE_ALL || !json_is_string(value))
            break;
        if (k == PURGE_HOST)
            return read_host(text_of(value), a, out, why);
        if (k == PURGE_TAG)
            return read_tag(text_of(value), a, out, why);
        return read_url(text_of(value), key, a, out, out_target, why);
    }
    buf_addf(why, "a scope must have exactly one of url, prefix, host and tag with a text, or "
                  "all with true" EXAMPLE);
    return ERR_INVALID;
}

static enum err read_scopes(json_t *list, struct arena *a, struct purge_body *out, struct buf *why)
{
    size_t count = json_array_size(list);
    enum err e = ERR_OK;

    if (!json_is_array(list) || count == 0 || count > PURGE_SCOPES_MAX) {
        buf_addf(why, "scopes must be a list of 1 to %d" EXAMPLE, PURGE_SCOPES_MAX);
        return ERR_INVALID;
    }
    out->scopes = arena_alloc(a, count * sizeof(*out->scopes));
    out->targets = arena_zalloc(a, count * sizeof(*out->targets));
    if (out->scopes == NULL || out->targets == NULL)
        return ERR_LIMIT;
    out->count = count;
    for (size_t i = 0; i < count && e == ERR_OK; i++)
        e = read_scope(json_array_get(list, i), a, &out->scopes[i], &out->targets[i], why);
    return e;
}

static enum err read_id(json_t *value, struct arena *a, struct purge_body *out, struct buf *why)
{
    struct slice id = text_of(value);
    bool is_good = json_is_string(value) && id.n <= ID_BYTES_MAX;

    for (size_t i = 0; i < id.n && is_good; i++)
        is_good = id.p[i] > ' ' && id.p[i] < 0x7f;
    if (!is_good) {
        buf_addf(why,
                 "id must be at most %d printable characters without spaces; a random one will do",
                 ID_BYTES_MAX);
        return ERR_INVALID;
    }
    out->id = arena_dup(a, id);
    return out->id.p == NULL ? ERR_LIMIT : ERR_OK;
}

static enum err read_root(json_t *root, struct arena *a, struct purge_body *out, struct buf *why)
{
    json_t *soft = json_object_get(root, "soft"), *id = json_object_get(root, "id"), *value;
    const char *key;
    enum err e;

    /* A member that was meant to narrow the purge and is not understood must not be passed over. */
    json_object_foreach(root, key, value)
    {
        if (strcmp(key, "scopes") != 0 && strcmp(key, "soft") != 0 && strcmp(key, "id") != 0)
            return refuse(why, "the member", slice_of(key),
                          "is not known; there are scopes, soft and id");
    }
    if (soft != NULL && !json_is_boolean(soft)) {
        buf_addf(why, "soft must be true or false");
        return ERR_INVALID;
    }
    out->soft = json_is_true(soft);
    e = id == NULL ? ERR_OK : read_id(id, a, out, why);
    return e == ERR_OK ? read_scopes(json_object_get(root, "scopes"), a, out, why) : e;
}

enum err purge_body_parse(struct slice json, struct arena *a, struct purge_body *out,
                          struct buf *why)
{
    struct purge_body body = {0};
    json_error_t error;
    json_t *root = json_loadb(json.n == 0 ? "" : json.p, json.n, JSON_REJECT_DUPLICATES, &error);
    enum err e = ERR_INVALID;

    if (root == NULL)
        buf_addf(why, "the body is not JSON (line %d, column %d: %s)" EXAMPLE, error.line,
                 error.column, error.text);
    else if (!json_is_object(root))
        buf_addf(why, "the body must be a JSON object" EXAMPLE);
    else
        e = read_root(root, a, &body, why);
    json_decref(root);
    if (e == ERR_OK)
        *out = body;
    return e;
}
