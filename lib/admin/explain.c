/* POST /explain: what would be done with a request, and why. */
#include <jansson.h>

#include "admin/admin_priv.h"
#include "admin/purge_body.h"
#include "base/arena.h"
#include "base/limits.h"

enum { ARENA_BYTES_MAX = 128 << 10 };

#define EXAMPLE "; write {\"url\":\"https://example.com/a\",\"fields\":[\"accept-encoding: br\"]}"

/* The list of fields as lines. */
static bool read_fields(json_t *list, struct buf *out)
{
    if (list == NULL)
        return true;
    if (!json_is_array(list) || json_array_size(list) > LIMIT_FIELDS)
        return false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *item = json_array_get(list, i);
        struct slice line = {json_string_value(item), json_string_length(item)};

        if (!json_is_string(item) || slice_index(line, ':') == line.n ||
            slice_index(line, '\n') < line.n || slice_index(line, '\r') < line.n)
            return false;
        buf_add(out, line);
        buf_add_char(out, '\n');
    }
    return !out->failed;
}

static bool may_ask(struct admin_call *c, struct slice url)
{
    struct arena arena;
    struct slice host, form;
    bool ok;

    if (admin__may_touch_all(c))
        return true;
    arena_init(&arena, NULL, 0, ARENA_BYTES_MAX);
    ok = purge_body_url(url, &arena, &host, &form) == ERR_OK && admin__may_touch_host(c, host);
    arena_release(&arena);
    if (!ok)
        admin__refuse(c, 403, "the token %s is not for this site; use one that is",
                      c->who.token->config->name);
    return ok;
}

static void ask(struct admin_call *c, struct slice url, struct slice fields)
{
    const struct admin_backend *b = &c->admin->opt.backend;

    switch (b->explain(b->user, url, fields, &c->response->body)) {
    case ERR_OK:
        break;
    case ERR_NOT_FOUND:
        admin__refuse(c, 404,
                      "no site has this host; compare the URL with the hosts in the sites file");
        break;
    case ERR_INVALID:
        admin__refuse(c, 400, "this is no URL; write it as https://host/path");
        break;
    default:
        admin__refuse(c, 503, "there is no room to explain this now; try again");
        break;
    }
}

void admin__explain(struct admin_call *c)
{
    struct slice body = c->request->body, url;
    json_t *root = json_loadb(body.n == 0 ? "" : body.p, body.n, JSON_REJECT_DUPLICATES, NULL);
    json_t *text = json_object_get(root, "url");
    struct buf fields;

    buf_init(&fields, LIMIT_HEAD_BYTES);
    url = (struct slice){json_string_value(text), json_string_length(text)};
    if (!json_is_string(text) || url.n == 0)
        admin__refuse(c, 400, "the body must be a JSON object with a url" EXAMPLE);
    else if (!read_fields(json_object_get(root, "fields"), &fields))
        admin__refuse(c, 400,
                      "fields must be at most %d texts in the form name: value, together at "
                      "most %u bytes" EXAMPLE,
                      LIMIT_FIELDS, LIMIT_HEAD_BYTES);
    else if (may_ask(c, url))
        ask(c, url, buf_slice(&fields));
    buf_release(&fields);
    json_decref(root);
}
