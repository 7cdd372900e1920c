/*
 * site: host -> site -> rule -> key and purge URL; pure, and the same for both daemons.
 *
 * Says what is the same request.  Built from plain options (the server fills them from the
 * configuration), immutable afterwards, counted with the configuration it came from.
 */
#ifndef SITE_SITE_H
#define SITE_SITE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "http/fields.h"
#include "site/country.h"

#define SITE_UNSET INT64_C(-1)

struct site_strings {
    const char *const *item;
    size_t count;
};

enum site_reload { SITE_RELOAD_LIMIT, SITE_RELOAD_HONOUR, SITE_RELOAD_IGNORE };

struct site_rule {
    const char *path;
    struct site_strings methods, types, bypass_cookies;
    bool cache_off, stream, websocket;
    bool range_whole;     /* a range of what is not stored fetches all of it, if that is not much */
    uint64_t slice_bytes; /* large objects are kept in blocks of so many bytes; 0: whole */
    int64_t ttl_s, default_ttl_s, stale_while_revalidate_s, stale_if_error_s; /* SITE_UNSET: not spoken of */
    unsigned line;
};

/* One site; everything borrowed from the configuration for as long as the sites live. */
struct site {
    const char *name;
    uint32_t id;
    struct site_strings hosts;
    const struct site_rule *rules;
    size_t rules_count;
    bool query_keep_none, query_drop_tracking, query_sort;
    struct site_strings query_keep_names, query_drop_names; /* empty: all are kept, none dropped */
    int64_t negative_404_s, negative_5xx_s;
    enum site_reload client_reload;
    struct site_strings targeted_fields; /* lower-case names that stand above CDN-Cache-Control, in this order */
    bool set_cookie_rfc;
    bool has_deception_guard; /* what has another content type than its path's extension says is not stored */
    bool strict_fields; /* only request fields that are known to be harmless go upstream, and: */
    struct site_strings fields_also; /* lower-case names */
    bool underscores;
    uint64_t max_request_body;
    uint64_t tunnels_max; /* at once, of the process */
    int64_t tunnel_idle_ms;
    uint64_t hsts_s;
    bool log_full;
    bool has_files;     /* published releases answer first */
    int64_t files_hashed_s, files_others_s; /* how long clients may keep a file: name with a hash, others */
    struct site_strings files_names;        /* globs over paths: these count as with a hash */
    bool has_origin;    /* else files are all there is */
    bool sends_country; /* X-Geo-Country goes upstream, so the country is part of the key */
    void *user; /* the server's own: origin and so on */
};

struct sites; /* looked up by host */

/*   list   borrowed as long as the result lives.  ERR_INVALID when two sites claim one host; ERR_NOMEM. */
NODISCARD enum err sites_new(const struct site *list, size_t count, struct sites **out);
void sites_free(struct sites *s);

/* `host` in the form of url_host().  Exact names win over wildcards, longer wildcards over shorter ones.  NULL: unknown. */
const struct site *sites_find(const struct sites *s, struct slice host);

/*
 * The first rule that matches path and method of a request; rules with `types` are left out, since those wait for the response.  NULL: none.
 * Paths are matched in the normal form of purge URLs, and a rule for GET holds for HEAD.  Globs are in that form, types lower-case.
 */
const struct site_rule *site_rule_for_request(const struct site *s, struct slice method, struct slice target);

/* The first rule that matches path, method and the content type of the response (parameters are cut off).  NULL: none. */
const struct site_rule *site_rule_for_response(const struct site *s, struct slice method, struct slice target, struct slice content_type);

/* Does the request carry a cookie that the rule names?  The name is written to *which (borrowed). */
bool site_rule_bypasses(const struct site_rule *r, const struct http_fields *request, struct slice *which);

/*
 * The target as key and upstream both see it: what `query` drops is gone from it, its parameters are in the order of their names where
 * the site sorts them, all other bytes are untouched.
 * Points to `target` itself when nothing is dropped, else into the arena; p == NULL when there is no room.
 */
struct slice site_target(const struct site *s, struct slice target, struct arena *a);

/* The text of the cache key: version, scheme, host, target.  In the arena; p == NULL when there is no room. */
struct slice site_key(const struct site *s, bool is_https, struct slice host, struct slice target, struct arena *a);

/*
 * The same for a client of that country; NULL: unknown, which is a key of its own where the site sends countries.  Elsewhere all countries
 * have site_key()'s.
 */
struct slice site_key_of_country(const struct site *s, bool is_https, struct slice host, struct slice target, const struct site_country *country, struct arena *a);

/* The key of one block of an object that is kept in blocks of so many bytes.  In the arena; p == NULL when there is no room. */
struct slice site_key_of_block(struct slice key, uint64_t index, uint64_t bytes, struct arena *a);

/* The key of the whole object, of one of its blocks or of itself.  Points into `key`. */
struct slice site_key_whole(struct slice key);

/* The part of a key that all countries and blocks share: version, scheme, host, target.  Points into `key`. */
struct slice site_key_of_all(struct slice key);

/*
 * Its purge URL: url_purge_form() of site_target(), with the parameters in the order of their names in
 * normal form where the site sorts them.  So all spellings of what the site makes one request have
 * one.  In the arena; p == NULL when there is no room.
 */
struct slice site_purge_url(const struct site *s, struct slice host, struct slice target,
                            struct arena *a);

/*
 * May this request field (lower-case name) go upstream?  http-caching: who is asking, another URL than the key's, '_' as '-', Proxy.
 * `is_unsafe`: the method is none of GET, HEAD and OPTIONS; then another one may be named.
 */
bool site_field_goes_upstream(const struct site *s, struct slice name, bool is_unsafe);

#endif
