/* Who asks, and what they may: tokens, sites, rates; and that no web page asks in their name. */
#include "admin/admin.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "admin/admin_priv.h"
#include "base/arena.h"
#include "base/check.h"
#include "base/log.h"
#include "base/metrics.h"
#include "http/url.h"

enum { HOST_BYTES_MAX = 256, MILLI = 1000 };

/* ---- the configuration ---- */

static struct site_strings strings_of(const struct config_strings *s)
{
    return (struct site_strings){.item = (const char *const *)s->item, .count = s->count};
}

/* Of sites only names, hosts and what they make of a query are asked for here. */
static void set_sites(struct admin *a, const struct config *c)
{
    struct sites *sites = NULL;
    struct site *list = calloc(c->sites_count + 1, sizeof(*list));

    for (size_t i = 0; list != NULL && i < c->sites_count; i++)
        list[i] = (struct site){.name = c->sites[i].name,
                                .id = c->sites[i].id,
                                .hosts = strings_of(&c->sites[i].hosts),
                                .query_keep_none = c->sites[i].query_keep == CONFIG_QUERY_KEEP_NONE,
                                .query_drop_tracking = c->sites[i].query_drop_tracking,
                                .query_keep_names = strings_of(&c->sites[i].query_keep_names),
                                .query_drop_names = strings_of(&c->sites[i].query_drop_names),
                                .query_sort = c->sites[i].query_sort};
    if (list == NULL || sites_new(list, c->sites_count, &sites) != ERR_OK) {
        sites = NULL;
        log_error("admin: no memory for the list of sites: tokens that are restricted to sites are "
                  "refused until the next reload");
    }
    sites_free(a->sites);
    free(a->site_list);
    a->sites = sites;
    a->site_list = list;
}

static const struct admin_token *find_named(const struct admin_token *list, size_t count,
                                            const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i].config->name, name) == 0)
            return &list[i];
    return NULL;
}

/* A reload must not give anyone a new allowance: tokens of the same name keep theirs. */
static struct admin_token *tokens_of(const struct admin *a, const struct config *c)
{
    struct admin_token *list = calloc(c->tokens_count + 1, sizeof(*list));

    for (size_t i = 0; list != NULL && i < c->tokens_count; i++) {
        const struct admin_token *old =
            a->config == NULL ? NULL
                              : find_named(a->tokens, a->config->tokens_count, c->tokens[i].name);

        list[i] = (struct admin_token){.config = &c->tokens[i],
                                       .purges_milli = ADMIN_PURGES_BURST * MILLI,
                                       .refilled_ms = a->now_ms(),
                                       .all_after_ms = INT64_MIN};
        if (old != NULL) {
            list[i].purges_milli = old->purges_milli;
            list[i].refilled_ms = old->refilled_ms;
            list[i].all_after_ms = old->all_after_ms;
        }
        digest_sha256(slice_of(c->tokens[i].secret), list[i].digest);
    }
    return list;
}

void admin_set_config(struct admin *a, struct config *c)
{
    struct admin_token *tokens = tokens_of(a, c);

    if (tokens == NULL) {
        log_error("admin: no memory for the tokens: the ones before stay in use until the next "
                  "reload");
        return;
    }
    config_ref(c);
    free(a->tokens);
    a->tokens = tokens;
    set_sites(a, c);
    config_unref(a->config);
    a->config = c;
}

/* ---- addresses ---- */

/* Without the port: "[::1]:9180" gives "::1". */
static struct slice host_of(struct slice authority, char text[HOST_BYTES_MAX])
{
    size_t end = authority.n;

    text[0] = '\0';
    if (end > 0 && authority.p[0] == '[') {
        authority = slice_from(authority, 1);
        end = slice_index(authority, ']');
    } else {
        end = slice_index(authority, ':');
    }
    if (end < HOST_BYTES_MAX) {
        memcpy(text, authority.p == NULL ? "" : authority.p, end);
        text[end] = '\0';
    }
    return slice_head(authority, end);
}

bool admin_is_loopback(const char *listen)
{
    char text[HOST_BYTES_MAX];
    struct in6_addr ip6;
    struct in_addr ip4;

    (void)host_of(slice_of(listen), text);
    if (inet_pton(AF_INET, text, &ip4) == 1)
        return ntohl(ip4.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, text, &ip6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&ip6) || (IN6_IS_ADDR_V4MAPPED(&ip6) && ip6.s6_addr[12] == 127);
    return false;
}

/* An address, or localhost: names that nobody else's DNS can point here. */
static bool is_own_name(struct slice host_field)
{
    char text[HOST_BYTES_MAX];
    struct in6_addr ip6;
    struct in_addr ip4;
    struct slice host = host_of(host_field, text);

    return slice_eq_nocase(host, SLICE("localhost")) || inet_pton(AF_INET, text, &ip4) == 1 ||
           inet_pton(AF_INET6, text, &ip6) == 1;
}

/* ---- tokens ---- */

static struct admin_token *find_token(struct admin *a, struct slice authorization)
{
    static const struct slice scheme = SLICE("bearer ");
    struct slice secret = slice_trim(slice_from(authorization, scheme.n));
    unsigned char digest[DIGEST_SHA256_BYTES];
    struct admin_token *found = NULL;

    if (!slice_eq_nocase(slice_head(authorization, scheme.n), scheme) || secret.n == 0)
        return NULL;
    digest_sha256(secret, digest);
    /* All of them, whether found or not, and digests of one length: the time tells nothing about a
     * secret. */
    for (size_t i = 0; i < a->config->tokens_count; i++)
        if (digest_equal((struct slice){(const char *)digest, sizeof(digest)},
                         (struct slice){(const char *)a->tokens[i].digest, sizeof(digest)}))
            found = &a->tokens[i];
    return found;
}

bool admin__authenticate(struct admin_call *c)
{
    const struct admin_request *rq = c->request;
    struct admin *a = c->admin;

    /* Only browsers send Origin, and no page of anyone's has business here. */
    if (rq->origin.n > 0) {
        admin__refuse(c, 403, "requests from web pages are refused; use selvage or curl");
        return false;
    }
    if (a->config->tokens_count == 0) {
        /* A page whose name is made to point to 127.0.0.1 counts as same-origin for its browser,
         * but its name is in Host. */
        if (rq->host.n > 0 && !is_own_name(rq->host)) {
            admin__refuse(c, 403,
                          "without tokens only an address or localhost is answered; ask for "
                          "it by address, or configure tokens");
            return false;
        }
        return true;
    }
    c->who.token = find_token(a, rq->authorization);
    if (c->who.token != NULL)
        return true;
    metrics_add(METRIC_ADMIN_UNAUTHORIZED, 1);
    c->response->challenge = "Bearer realm=\"selvage\"";
    admin__refuse(c, 401,
                  rq->authorization.n == 0
                      ? "a token is needed; send the field Authorization: Bearer TOKEN"
                      : "the token is not known here; compare it with the tokens file");
    return false;
}

/* ---- sites ---- */

bool admin__may_touch_all(const struct admin_call *c)
{
    return c->who.token == NULL || c->who.token->config->sites.count == 0;
}

bool admin__may_touch_site(const struct admin_call *c, const char *name)
{
    const struct config_strings *allowed;

    if (admin__may_touch_all(c))
        return true;
    allowed = &c->who.token->config->sites;
    for (size_t i = 0; i < allowed->count; i++)
        if (strcmp(allowed->item[i], name) == 0)
            return true;
    return false;
}

bool admin__may_touch_host(const struct admin_call *c, struct slice host)
{
    const struct site *site;

    if (admin__may_touch_all(c))
        return true;
    site = c->admin->sites == NULL ? NULL : sites_find(c->admin->sites, host);
    return site != NULL && admin__may_touch_site(c, site->name);
}

/* ---- rates ---- */

bool admin__take_purge(struct admin_call *c, unsigned *retry_after_s)
{
    struct admin_token *t = c->who.token;
    int64_t now_ms = c->admin->now_ms(), passed_ms;

    if (t == NULL)
        return true;
    passed_ms = now_ms - t->refilled_ms;
    t->refilled_ms = now_ms;
    if (passed_ms > ADMIN_PURGES_BURST * MILLI / ADMIN_PURGES_PER_S)
        passed_ms = ADMIN_PURGES_BURST * MILLI / ADMIN_PURGES_PER_S;
    if (passed_ms > 0)
        t->purges_milli += passed_ms * ADMIN_PURGES_PER_S;
    if (t->purges_milli > ADMIN_PURGES_BURST * MILLI)
        t->purges_milli = ADMIN_PURGES_BURST * MILLI;
    if (t->purges_milli < MILLI) {
        *retry_after_s = 1; /* ten have come back by then */
        return false;
    }
    t->purges_milli -= MILLI;
    return true;
}

bool admin__may_take_all(const struct admin_call *c, unsigned *retry_after_s)
{
    const struct admin_token *t = c->who.token;
    int64_t now_ms = c->admin->now_ms();

    if (t == NULL || now_ms >= t->all_after_ms)
        return true;
    *retry_after_s = (unsigned)((t->all_after_ms - now_ms + MILLI - 1) / MILLI);
    return false;
}

void admin__take_all(struct admin_call *c)
{
    if (c->who.token != NULL)
        c->who.token->all_after_ms = c->admin->now_ms() + ADMIN_WIDE_EVERY_MS;
}
