/* What of the query makes another request: the rest is dropped from key and request alike. */
#include <stdlib.h>

#include "http/url.h"
#include "site/site.h"

/* A query of more parameters is sorted by nobody: it stays in its order. */
enum { SORTED_MAX = 512 };

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

static bool is_any_of(const struct site_strings *globs, struct slice name)
{
    for (size_t i = 0; i < globs->count; i++)
        if (url_glob_matches(slice_of(globs->item[i]), name))
            return true;
    return false;
}

static struct slice name_of(struct slice parameter)
{
    return slice_head(parameter, slice_index(parameter, '='));
}

static bool is_dropped(const struct site *s, struct slice parameter)
{
    struct slice name = name_of(parameter);

    if (s->query_keep_names.count > 0 && !is_any_of(&s->query_keep_names, name))
        return true;
    for (size_t i = 0; s->query_drop_tracking && i < sizeof(tracking) / sizeof(tracking[0]); i++)
        if (url_glob_matches(slice_of(tracking[i]), name))
            return true;
    return is_any_of(&s->query_drop_names, name);
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
    if (!s->query_drop_tracking && s->query_drop_names.count == 0 && s->query_keep_names.count == 0)
        return false;
    while (next_parameter(&query, &is_more, &parameter))
        if (is_dropped(s, parameter))
            return true;
    return false;
}

/* By name; of one name in the order in which they came, since origins read meaning into that. */
static int compare_parameters(const void *a, const void *b)
{
    const struct slice *x = a, *y = b;
    struct slice m = name_of(*x), n = name_of(*y);
    size_t both = m.n < n.n ? m.n : n.n;
    int order = both == 0 ? 0 : memcmp(m.p, n.p, both);

    if (order == 0)
        order = (m.n > n.n) - (m.n < n.n);
    return order != 0 ? order : (x->p > y->p) - (x->p < y->p);
}

/* Sort the parameters; what there is no room for stays as it is. */
static struct slice sorted(struct slice target, size_t path_bytes, struct arena *a)
{
    struct slice query = slice_from(target, path_bytes + 1), part[SORTED_MAX];
    size_t count = 0, n = path_bytes + 1;
    bool is_more = true, in_order = true;
    char *p;

    while (count < SORTED_MAX && next_parameter(&query, &is_more, &part[count])) {
        in_order =
            in_order && (count == 0 || compare_parameters(&part[count - 1], &part[count]) < 0);
        count++;
    }
    if (is_more || in_order)
        return target;
    p = arena_alloc(a, target.n);
    if (p == NULL)
        return (struct slice){0};
    qsort(part, count, sizeof(part[0]), compare_parameters);
    memcpy(p, target.p, n);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            p[n++] = '&';
        if (part[i].n > 0)
            memcpy(p + n, part[i].p, part[i].n);
        n += part[i].n;
    }
    return (struct slice){p, n};
}

static struct slice without_dropped(const struct site *s, struct slice target, size_t path_bytes,
                                    struct arena *a)
{
    struct slice query = slice_from(target, path_bytes + 1), parameter;
    bool is_more = !s->query_keep_none;
    size_t n = path_bytes;
    char *p;

    if (!drops_any(s, query))
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

struct slice site_target(const struct site *s, struct slice target, struct arena *a)
{
    size_t path_bytes = url_path_bytes(target);

    if (path_bytes == target.n)
        return target;
    target = without_dropped(s, target, path_bytes, a);
    if (target.p == NULL || !s->query_sort || path_bytes == target.n)
        return target;
    return sorted(target, path_bytes, a);
}
