#include "base/buf.h"
#include "http/url.h"
#include "site/site.h"

enum { TYPE_BYTES_MAX = 255 }; /* RFC 6838 section 4.2: 127 bytes on each side of the slash */

/*
 * Methods are compared with case (RFC 9110 section 9.1).  A rule for GET holds for HEAD too: a HEAD
 * is answered from what a GET has stored, and would live by other rules than the object it
 * describes.
 */
static bool method_matches(const struct site_rule *r, struct slice method)
{
    if (slice_eq(method, SLICE("HEAD")))
        for (size_t i = 0; i < r->methods.count; i++)
            if (slice_eq(slice_of(r->methods.item[i]), SLICE("GET")))
                return true;
    for (size_t i = 0; i < r->methods.count; i++)
        if (slice_eq(slice_of(r->methods.item[i]), method))
            return true;
    return r->methods.count == 0;
}

static bool any_matches(const struct site_strings *globs, struct slice s)
{
    for (size_t i = 0; i < globs->count; i++)
        if (url_glob_matches(slice_of(globs->item[i]), s))
            return true;
    return false;
}

/* Types compare without case (RFC 9110 section 8.3.1); those of a rule are lower-case already. */
static bool type_matches(const struct site_rule *r, struct slice content_type)
{
    struct slice type = slice_trim(slice_head(content_type, slice_index(content_type, ';')));
    char lower[TYPE_BYTES_MAX];

    if (r->types.count == 0)
        return true;
    if (type.n > sizeof(lower))
        return false;
    if (type.n > 0)
        memcpy(lower, type.p, type.n);
    http_lower(lower, type.n);
    return any_matches(&r->types, (struct slice){lower, type.n});
}

static bool request_matches(const struct site_rule *r, struct slice method, struct slice path)
{
    return method_matches(r, method) && url_glob_matches(slice_of(r->path), path);
}

/* Could the path be written in another way?  Almost none can. */
static bool is_plain(struct slice path)
{
    for (size_t i = 0; i < path.n; i++)
        if (path.p[i] == '%' || (unsigned char)path.p[i] >= 0x80 ||
            (path.p[i] == '/' && i + 1 < path.n && (path.p[i + 1] == '/' || path.p[i + 1] == '.')))
            return false;
    return true;
}

/*
 * The path as rules see it: in the normal form of purge URLs, so that `/%61ccount/me` and
 * `/x/../account/me` do not get past a rule for `/account/` to an origin that decodes them.  `b`
 * holds it, if need be; without memory the path stays as it is.
 */
static struct slice path_of(struct slice target, struct buf *b)
{
    struct slice path = slice_head(target, url_path_bytes(target));

    buf_init(b, 3 * path.n + 1); /* at most each byte becomes %XX, and an empty path "/" */
    if (is_plain(path))
        return path;
    url_purge_form(SLICE(""), path, b);
    return b->failed ? path : buf_slice(b);
}

const struct site_rule *site_rule_for_request(const struct site *s, struct slice method,
                                              struct slice target)
{
    const struct site_rule *found = NULL;
    struct buf b;
    struct slice path = path_of(target, &b);

    for (size_t i = 0; i < s->rules_count && found == NULL; i++)
        if (s->rules[i].types.count == 0 && request_matches(&s->rules[i], method, path))
            found = &s->rules[i];
    buf_release(&b);
    return found;
}

const struct site_rule *site_rule_for_response(const struct site *s, struct slice method,
                                               struct slice target, struct slice content_type)
{
    const struct site_rule *found = NULL;
    struct buf b;
    struct slice path = path_of(target, &b);

    for (size_t i = 0; i < s->rules_count && found == NULL; i++)
        if (request_matches(&s->rules[i], method, path) && type_matches(&s->rules[i], content_type))
            found = &s->rules[i];
    buf_release(&b);
    return found;
}

/* The name of the next cookie in the value of a Cookie field (RFC 6265 section 5.4); one without
 * '=' is all name. */
static bool next_cookie(struct slice *rest, struct slice *name)
{
    while (rest->n > 0) {
        size_t end = slice_index(*rest, ';');
        struct slice pair = slice_trim(slice_head(*rest, end));

        *rest = slice_from(*rest, end + 1);
        if (pair.n == 0)
            continue;
        *name = slice_trim(slice_head(pair, slice_index(pair, '=')));
        return true;
    }
    return false;
}

bool site_rule_bypasses(const struct site_rule *r, const struct http_fields *request,
                        struct slice *which)
{
    const struct http_field *f;

    if (r->bypass_cookies.count == 0)
        return false;
    for (f = http_fields_find(request, SLICE("cookie")); f != NULL;
         f = http_fields_next(request, f)) {
        struct slice rest = f->value, name;

        while (next_cookie(&rest, &name))
            if (any_matches(&r->bypass_cookies, name)) {
                *which = name;
                return true;
            }
    }
    return false;
}
