#include <stdlib.h>

#include "site/site.h"

/*
 * What origins act on though it is no part of the key: one stranger could choose what everyone else
 * is shown.  Either a name of who is asking, which we set anew where it is true, or another URL,
 * host, scheme or method than the key's.  Sorted; '*' stands at the end only.
 */
static const char *const dropped[] = {
    "base-url",
    "cf-connecting-ip",
    "fastly-client-ip",
    "forwarded",
    "front-end-https",
    "proxy", /* HTTP_PROXY of a CGI program */
    "request-uri",
    "selvage-*",
    "true-client-ip",
    "x-backend-host",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded-*",
    "x-host",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-invoke-*",
    "x-method-override",
    "x-middleware-*",
    "x-original-host",
    "x-original-uri",
    "x-original-url",
    "x-originating-ip",
    "x-override-url",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-request-id",
    "x-rewrite-url",
    "x-scheme",
    "x-url-scheme",
};

/*
 * Of these, what makes another method of a POST, for clients that know two: no answer to it is
 * stored, and no key is left out.  Sorted.
 */
static const char *const overrides[] = {
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
};

/*
 * What a strict site lets through: fields that the standards give a meaning which is in the key, or
 * is no business of a shared answer.  Sorted as above.
 */
static const char *const standard[] = {
    "accept",
    "accept-*",
    "access-control-request-*",
    "authorization",
    "available-dictionary",
    "cache-control",
    "cdn-loop",
    "content-*",
    "cookie",
    "dictionary-id",
    "dnt",
    "if-*",
    "max-forwards",
    "origin",
    "pragma",
    "prefer",
    "priority",
    "range",
    "referer",
    "save-data",
    "sec-*",
    "traceparent",
    "tracestate",
    "upgrade-insecure-requests",
    "user-agent",
    "via",
};

/* CGI, WSGI and Rack hand '-' and '_' on as one and the same byte, so both are '-' here. */
static unsigned char folded(char c)
{
    return c == '_' ? '-' : (unsigned char)c;
}

static int compare(const void *name, const void *entry)
{
    struct slice have = *(const struct slice *)name;
    const char *want = *(const char *const *)entry;
    size_t i = 0;

    for (; i < have.n && want[i] != '\0' && want[i] != '*'; i++)
        if (folded(have.p[i]) != (unsigned char)want[i])
            return folded(have.p[i]) - (unsigned char)want[i];
    if (want[i] == '*')
        return 0;
    return (i < have.n) - (want[i] != '\0');
}

#define IS_IN(name, table)                                                                         \
    (bsearch(&(name), (table), sizeof(table) / sizeof((table)[0]), sizeof((table)[0]), compare) != \
     NULL)

static bool is_let_through(const struct site *s, struct slice name)
{
    if (IS_IN(name, standard))
        return true;
    for (size_t i = 0; i < s->fields_also.count; i++)
        if (slice_eq(name, slice_of(s->fields_also.item[i])))
            return true;
    /* the client's own have been replaced by what we know */
    return s->sends_country && slice_starts_with(name, SLICE("x-geo-"));
}

bool site_field_goes_upstream(const struct site *s, struct slice name, bool is_unsafe)
{
    if (slice_index(name, '_') < name.n && !s->underscores)
        return false;
    if (IS_IN(name, dropped) && !(is_unsafe && IS_IN(name, overrides)))
        return false;
    return !s->strict_fields || is_let_through(s, name);
}
