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

bool site_field_goes_upstream(const struct site *s, struct slice name)
{
    if (slice_index(name, '_') < name.n && !s->underscores)
        return false;
    return bsearch(&name, dropped, sizeof(dropped) / sizeof(dropped[0]), sizeof(dropped[0]),
                   compare) == NULL;
}
