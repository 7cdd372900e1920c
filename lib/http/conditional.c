#include "http/conditional.h"

#include "http/date.h"

static const struct slice weak_prefix = {"W/", 2};

bool etag_is_weak(struct slice tag)
{
    return slice_starts_with(tag, SLICE("W/\""));
}

bool etag_is_strong(struct slice tag)
{
    if (tag.n < 2 || tag.p[0] != '"' || tag.p[tag.n - 1] != '"')
        return false;
    for (size_t i = 1; i < tag.n - 1; i++) {
        unsigned char c = (unsigned char)tag.p[i];

        if (c <= ' ' || c == '"' || c == 0x7f)
            return false;
    }
    return true;
}

/* The opaque-tag of a well-formed tag, or all of a malformed one. */
static struct slice opaque(struct slice tag)
{
    struct slice inner = etag_is_weak(tag) ? slice_from(tag, weak_prefix.n) : tag;

    return etag_is_strong(inner) ? inner : tag;
}

bool etag_equal_weak(struct slice a, struct slice b)
{
    return a.n > 0 && slice_eq(opaque(a), opaque(b));
}

bool etag_equal_strong(struct slice a, struct slice b)
{
    return etag_is_strong(a) && slice_eq(a, b);
}

/*
 * As http_list_next(), except that a backslash inside a tag is a byte like any other (RFC 9110
 * section 8.8.3): "a\" is whole.
 */
static bool next_tag(struct slice *rest, struct slice *out)
{
    while (rest->n > 0) {
        bool is_quoted = false;
        size_t end = 0;

        for (; end < rest->n && (is_quoted || rest->p[end] != ','); end++)
            if (rest->p[end] == '"')
                is_quoted = !is_quoted;
        *out = slice_trim(slice_head(*rest, end));
        *rest = slice_from(*rest, end + 1);
        if (out->n > 0)
            return true;
    }
    return false;
}

static bool line_names(struct slice line, struct slice etag)
{
    struct slice tag;

    if (etag.n == 0)
        return false;
    if (slice_eq(line, etag)) /* a malformed tag may hold a comma, and then is found only here */
        return true;
    while (next_tag(&line, &tag))
        if (etag_equal_weak(etag, tag))
            return true;
    return false;
}

bool http_if_none_match_names(const struct http_fields *request, struct slice etag)
{
    const struct http_field *at = http_fields_find(request, SLICE("if-none-match"));

    for (; at != NULL; at = http_fields_next(request, at))
        if (line_names(at->value, etag))
            return true;
    return false;
}

/* The one date of that field; false when there is none, or none that counts. */
static bool only_date(const struct http_fields *f, struct slice name, int64_t now_s, int64_t *out_s)
{
    const struct http_field *at = http_fields_find(f, name);

    return at != NULL && http_fields_next(f, at) == NULL &&
           http_date_parse(at->value, now_s, out_s);
}

static bool is_modified_since(const struct http_validators *v, int64_t since_s)
{
    if (v->last_modified_s != -1)
        return v->last_modified_s > since_s;
    return v->last_modified.p != NULL ||
           v->date_s > since_s; /* one that is no date tells nothing */
}

enum http_condition http_condition_evaluate(const struct http_fields *request,
                                            const struct http_validators *v, int64_t now_s)
{
    const struct http_field *at = http_fields_find(request, SLICE("if-none-match"));
    int64_t since_s;

    if (at != NULL) {
        for (; at != NULL; at = http_fields_next(request, at))
            if (slice_eq(at->value, SLICE("*")))
                return HTTP_CONDITION_NOT_MODIFIED;
        return http_if_none_match_names(request, v->etag) ? HTTP_CONDITION_NOT_MODIFIED
                                                          : HTTP_CONDITION_MODIFIED;
    }
    if (!only_date(request, SLICE("if-modified-since"), now_s, &since_s))
        return HTTP_CONDITION_NONE;
    return is_modified_since(v, since_s) ? HTTP_CONDITION_MODIFIED : HTTP_CONDITION_NOT_MODIFIED;
}

bool http_if_range_holds(const struct http_fields *request, const struct http_validators *v,
                         int64_t now_s)
{
    struct slice name = SLICE("if-range");
    const struct http_field *at = http_fields_find(request, name);
    int64_t at_s;

    if (at == NULL)
        return true;
    if (http_fields_next(request, at) != NULL)
        return false;
    if (etag_is_strong(at->value))
        return etag_equal_strong(at->value, v->etag);
    /* RFC 9110 section 8.8.2.2: in its second of birth it may have changed once more */
    return only_date(request, name, now_s, &at_s) && v->last_modified_s != -1 &&
           at_s == v->last_modified_s && v->date_s > v->last_modified_s;
}

bool http_has_origin_condition(const struct http_fields *request)
{
    return http_fields_find(request, SLICE("if-match")) != NULL ||
           http_fields_find(request, SLICE("if-unmodified-since")) != NULL;
}
