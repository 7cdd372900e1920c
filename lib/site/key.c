#include "base/buf.h"
#include "http/url.h"
#include "site/site.h"

/* A change of what makes two requests the same is a new version: old objects are not found any
 * more, rather than wrongly. */
#define KEY_VERSION "1"

/* Added to links by mailers, ad networks and analytics, and read by scripts in the browser: no
 * origin answers differently for them. */
static const char *const tracking[] = {
    "utm_*",
    "gclid",
    "gclsrc",
    "dclid",
    "gbraid",
    "wbraid",
    "gad_source",
    "gad_campaignid",
    "srsltid",
    "fbclid",
    "fb_action_ids",
    "fb_action_types",
    "fb_source",
    "msclkid",
    "mc_cid",
    "mc_eid",
    "yclid",
    "ysclid",
    "_openstat",
    "twclid",
    "ttclid",
    "li_fat_id",
    "igshid",
    "igsh",
    "epik",
    "rdt_cid",
    "ScCid",
    "_ga",
    "_gl",
    "_hsenc",
    "_hsmi",
    "__hssc",
    "__hstc",
    "__hsfp",
    "hsCtaTracking",
    "mkt_tok",
    "vero_id",
    "vero_conv",
    "oly_enc_id",
    "oly_anon_id",
    "_kx",
    "mtm_*",
    "matomo_*",
    "pk_campaign",
    "pk_kwd",
    "pk_keyword",
    "pk_source",
    "pk_medium",
    "pk_content",
    "pk_cid",
    "piwik_*",
    "_bta_tid",
    "_bta_c",
    "s_kwcid",
    "_branch_match_id",
};

static bool is_dropped(const struct site *s, struct slice parameter)
{
    struct slice name = slice_head(parameter, slice_index(parameter, '='));

    for (size_t i = 0; s->query_drop_tracking && i < sizeof(tracking) / sizeof(tracking[0]); i++)
        if (url_glob_matches(slice_of(tracking[i]), name))
            return true;
    for (size_t i = 0; i < s->query_drop_names.count; i++)
        if (url_glob_matches(slice_of(s->query_drop_names.item[i]), name))
            return true;
    return false;
}

/* Cut the first parameter and its '&' off *rest; false when there is none left. */
static bool next_parameter(struct slice *rest, bool *is_more, struct slice *out)
{
    size_t end = slice_index(*rest, '&');

    if (!*is_more)
        return false;
    *is_more = end < rest->n;
    *out = slice_head(*rest, end);
    *rest = slice_from(*rest, end + 1);
    return true;
}

static bool drops_any(const struct site *s, struct slice query)
{
    struct slice parameter;
    bool is_more = true;

    if (s->query_keep_none)
        return true;
    if (!s->query_drop_tracking && s->query_drop_names.count == 0)
        return false;
    while (next_parameter(&query, &is_more, &parameter))
        if (is_dropped(s, parameter))
            return true;
    return false;
}

struct slice site_target(const struct site *s, struct slice target, struct arena *a)
{
    size_t path_bytes = url_path_bytes(target), n = path_bytes;
    struct slice query = slice_from(target, path_bytes + 1), parameter;
    bool is_more = !s->query_keep_none;
    char *p;

    if (path_bytes == target.n || !drops_any(s, query))
        return target;
    p = arena_alloc(a, target.n);
    if (p == NULL)
        return (struct slice){0};
    memcpy(p, target.p, path_bytes);
    while (next_parameter(&query, &is_more, &parameter)) {
        if (is_dropped(s, parameter))
            continue;
        p[n] = n == path_bytes ? '?' : '&'; /* a query of which nothing stays goes with its '?' */
        n++;
        if (parameter.n > 0)
            memcpy(p + n, parameter.p, parameter.n);
        n += parameter.n;
    }
    return (struct slice){p, n};
}

/* Neither version, scheme, a valid host nor a valid target holds a space, so the text falls apart
 * in one way only. */
static struct slice make_key(bool is_https, struct slice host, struct slice target,
                             struct slice country, struct arena *a)
{
    struct slice prefix = is_https ? SLICE(KEY_VERSION " https ") : SLICE(KEY_VERSION " http ");
    size_t n = prefix.n + host.n + 1 + target.n + country.n;
    char *p = arena_alloc(a, n);

    if (p == NULL)
        return (struct slice){0};
    memcpy(p, prefix.p, prefix.n);
    memcpy(p + prefix.n, host.p, host.n);
    p[prefix.n + host.n] = ' ';
    memcpy(p + prefix.n + host.n + 1, target.p, target.n);
    memcpy(p + n - country.n, country.p, country.n);
    return (struct slice){p, n};
}

struct slice site_key(const struct site *s, bool is_https, struct slice host, struct slice target,
                      struct arena *a)
{
    (void)s; /* it follows from the host; `target` is site_target()'s already */
    return make_key(is_https, host, target, SLICE(""), a);
}

struct slice site_key_of_country(const struct site *s, bool is_https, struct slice host,
                                 struct slice target, const struct site_country *country,
                                 struct arena *a)
{
    char suffix[] = {' ', '-', '-'};

    if (!s->sends_country)
        return site_key(s, is_https, host, target, a);
    if (country != NULL)
        memcpy(suffix + 1, country->code, SITE_COUNTRY_BYTES);
    return make_key(is_https, host, target, (struct slice){suffix, sizeof(suffix)}, a);
}

/* A target of two bytes stands behind a space too, but begins with '/'. */
struct slice site_key_of_all(struct slice key)
{
    bool has_country =
        key.n > SITE_COUNTRY_BYTES && key.p[key.n - 3] == ' ' && key.p[key.n - 2] != '/';

    return slice_head(key, has_country ? key.n - 3 : key.n);
}

struct slice site_purge_url(struct slice host, struct slice target, struct arena *a)
{
    struct slice url = {0};
    struct buf b;

    buf_init(&b,
             host.n + 3 * target.n + 1); /* at most each byte becomes %XX, and an empty path "/" */
    url_purge_form(host, target, &b);
    if (!b.failed)
        url = arena_dup(a, buf_slice(&b));
    buf_release(&b);
    return url;
}
