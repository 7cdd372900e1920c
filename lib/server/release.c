#include "server/release.h"

#include <string.h>

#include "base/limits.h"
#include "base/metrics.h"
#include "http/url.h"

enum { FIELDS = 4, AGE_BYTES = 64 };

static struct slice method_of(const struct server_request *r)
{
    return (struct slice){r->req->input.method.base, r->req->input.method.len};
}

static struct slice target_of(const struct server_request *r)
{
    return (struct slice){r->req->input.path.base, r->req->input.path.len};
}

/* ---- the answer's fields ---- */

/* A strong validator: the content's own hash. */
static struct slice etag_of(const unsigned char *sha256, struct arena *a)
{
    char text[MANIFEST_SHA256_DIGITS + 3] = "\"";

    manifest_sha256_print(sha256, text + 1);
    text[MANIFEST_SHA256_DIGITS + 1] = '"';
    return arena_dup(a, (struct slice){text, MANIFEST_SHA256_DIGITS + 2});
}

/* Does a glob of the operator's say that this name never has another content? */
static bool is_named(const struct site *s, struct slice path)
{
    char text[LIMIT_RELEASE_PATH_BYTES + 1] = "/";

    memcpy(text + 1, path.p, path.n);
    for (size_t i = 0; i < s->files_names.count; i++)
        if (url_glob_matches(slice_of(s->files_names.item[i]), (struct slice){text, path.n + 1}))
            return true;
    return false;
}

static struct slice lifetime_of(const struct site *s, const struct release_hit *hit,
                                struct arena *a)
{
    bool is_hashed = hit->has_hash || is_named(s, hit->entry.path);
    int64_t seconds = is_hashed ? s->files_hashed_s : s->files_others_s;
    char text[AGE_BYTES];

    if (seconds <= 0)
        return SLICE("no-cache");
    snprintf(text, sizeof(text), "public, max-age=%lld%s", (long long)seconds,
             is_hashed ? ", immutable" : "");
    return arena_dup(a, slice_of(text));
}

static bool add(struct server_request *r, struct slice name, struct slice value)
{
    return value.p != NULL &&
           http_fields_add(&r->file_fields, &r->arena, FIELDS, name, value) == ERR_OK;
}

static enum release_answer out_of_memory(struct server_request *r)
{
    response_local(r, &(struct local_answer){.status = 503,
                                             .reason = "out-of-memory",
                                             .text = "this server is out of memory\n",
                                             .retry_after = "1"});
    return RELEASE_IS_ANSWERED;
}

/* ---- of clients ---- */

static bool is_get(const struct server_request *r)
{
    return r->is_head || slice_eq(method_of(r), SLICE("GET"));
}

/* The site has no origin, so nobody else is asked. */
static enum release_answer not_here(struct server_request *r)
{
    static const struct local_answer unknown = {.status = 503,
                                                .reason = "no-release",
                                                .text = "no release of this site is known here "
                                                        "yet\n",
                                                .retry_after = "1",
                                                .verdict = REQUEST_LOCAL};
    static const struct local_answer nothing = {.status = 404,
                                                .reason = "no-release",
                                                .text = "nothing has been published for this site "
                                                        "yet\n",
                                                .verdict = REQUEST_LOCAL};
    static const struct local_answer no_file = {.status = 404,
                                                .reason = "not-in-release",
                                                .text = "there is no such file\n",
                                                .verdict = REQUEST_LOCAL};
    static const struct local_answer method = {.status = 405,
                                               .reason = "method",
                                               .text = "published files are for GET and HEAD\n",
                                               .allow = "GET, HEAD",
                                               .verdict = REQUEST_REFUSED};

    if (r->site->has_origin)
        return RELEASE_IS_NOT_FOR_US;
    if (!is_get(r))
        response_local(r, &method);
    else if (r->release != NULL)
        response_local(r, &no_file);
    else
        response_local(r, r->snapshot->files_from != NULL ? &unknown : &nothing);
    return RELEASE_IS_ANSWERED;
}

/* A name that is a folder's: relative links in its index.html start from inside it. */
static enum release_answer to_folder(struct server_request *r)
{
    struct slice target = target_of(r), path = slice_head(target, slice_index(target, '?'));
    char *to = h2o_mem_alloc_pool(&r->req->pool, target.n + 2);

    memcpy(to, path.p, path.n);
    to[path.n] = '/';
    memcpy(to + path.n + 1, path.p + path.n, target.n - path.n);
    to[target.n + 1] = '\0';
    response_local(r, &(struct local_answer){.status = 308,
                                             .reason = "folder",
                                             .location = to,
                                             .is_not_kept = true, /* the next release may differ */
                                             .verdict = REQUEST_LOCAL});
    return RELEASE_IS_ANSWERED;
}

static enum release_answer use(struct server_request *r, const struct release_hit *hit)
{
    if (!add(r, SLICE("content-type"), hit->entry.type) ||
        !add(r, SLICE("etag"), etag_of(hit->entry.sha256, &r->arena)) ||
        !add(r, SLICE("cache-control"), lifetime_of(r->site, hit, &r->arena)) ||
        !add(r, SLICE("accept-ranges"), SLICE("bytes")))
        return out_of_memory(r);
    memcpy(r->file_sha256, hit->entry.sha256, sizeof(r->file_sha256));
    r->file = (struct cache_file){.sha256 = r->file_sha256,
                                  .bytes = hit->entry.bytes,
                                  .fields = &r->file_fields,
                                  .from = r->snapshot->files_from};
    return RELEASE_IS_FILE;
}

enum release_answer release_settle(struct server_request *r)
{
    struct release_hit hit;

    r->release = releases_find(server_releases(r->worker->server), r->site->name);
    if (r->release == NULL || !is_get(r) || r->req->entity.len > 0)
        return not_here(r);
    switch (release_match(r->release, target_of(r), &r->arena, &hit)) {
    case RELEASE_FILE:
        return use(r, &hit);
    case RELEASE_DIRECTORY:
        return to_folder(r);
    case RELEASE_NOTHING:
        break;
    }
    return not_here(r);
}

bool release_explain(struct releases *rs, const struct site *site, struct slice target,
                     struct arena *a, struct buf *out)
{
    struct release *r = site->has_files ? releases_find(rs, site->name) : NULL;
    char digits[MANIFEST_SHA256_DIGITS + 1];
    struct release_hit hit;
    bool is = r != NULL && release_match(r, target, a, &hit) == RELEASE_FILE;

    if (is) {
        manifest_sha256_print(hit.entry.sha256, digits);
        buf_addf(out, "GET %.*s\nsite: %s\nrelease: %s\nfile: %.*s, %llu bytes, SHA-256 %s\n",
                 (int)target.n, target.p, site->name, release_id(r), (int)hit.entry.path.n,
                 hit.entry.path.p, (unsigned long long)hit.entry.bytes, digits);
        buf_addf(out, "decision: answer from the release\n"
                      "  what is published goes before the origin (files: yes)\n");
    }
    release_unref(r);
    return is;
}

/* ---- of peers ---- */

static enum release_answer refuse(struct server_request *r, int status, const char *text)
{
    response_local(r, &(struct local_answer){.status = status,
                                             .reason = "files",
                                             .text = text,
                                             .allow = status == 405 ? "GET" : NULL,
                                             .verdict = REQUEST_REFUSED});
    return RELEASE_IS_ANSWERED;
}

/* Immutable by its very name; an etag, so that it can be validated in a year. */
static bool add_peer_fields(struct server_request *r)
{
    return add(r, SLICE("content-type"), SLICE("application/octet-stream")) &&
           add(r, SLICE("etag"), etag_of(r->file_sha256, &r->arena)) &&
           add(r, SLICE("cache-control"), SLICE("public, max-age=31536000, immutable"));
}

enum release_answer release_settle_peer(struct server_request *r)
{
    /* a content is no site's: many may have it */
    static const struct site contents = {
        .name = "releases", .negative_404_s = SITE_UNSET, .negative_5xx_s = SITE_UNSET};
    const struct site *from = r->snapshot->files_from;
    struct slice target = target_of(r);
    uint64_t bytes = CACHE_BYTES_UNKNOWN;
    enum err e;

    if (!slice_starts_with(target, SLICE(RELEASE_FILES_PATH)))
        return RELEASE_IS_NOT_FOR_US;
    if (!slice_eq(method_of(r), SLICE("GET")) || r->req->entity.len > 0)
        return refuse(r, 405, "use GET\n");
    if (!manifest_sha256_parse(slice_from(target, sizeof(RELEASE_FILES_PATH) - 1), r->file_sha256))
        return refuse(r, 400, "a content is named by 64 lower-case hexadecimal digits\n");
    e = cache_look_file(r->worker->cache, r->file_sha256, &bytes);
    if (e == ERR_NOT_FOUND && from == NULL)
        return refuse(r, 404, "no such content has been published here\n");
    if (e != ERR_OK && e != ERR_NOT_FOUND)
        return refuse(r, 503, "the published files cannot be read now\n");
    if (!add_peer_fields(r))
        return out_of_memory(r);
    r->site = &contents;
    r->file = (struct cache_file){.sha256 = r->file_sha256,
                                  .bytes = bytes,
                                  .fields = &r->file_fields,
                                  .from = e == ERR_OK ? NULL : from};
    return RELEASE_IS_FILE;
}
