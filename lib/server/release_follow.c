#include "server/release_follow.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "server/release.h"

enum { RETRY_MS = 1000, NEWS_MAX = 4096 /* sites of a configuration */ };

struct release_follow {
    struct release_follow_options opt;
    struct release_news *news; /* owned; what is not in use yet, one a site; the first is fetched */
    size_t count, capacity;
    struct upstream_fetch *fetch; /* of the first one's manifest; NULL: none runs */
    bool is_wanted;               /* its head was as it must be */
    bool has_failed;              /* what is waited for could not be had when it was tried last */
    struct buf manifest;
    struct reactor_timer retry;
};

static void go_on(struct release_follow *f);

/* ---- what is to come ---- */

static bool is_in_use(struct release_follow *f, const struct release_news *n)
{
    struct release *r = releases_find(f->opt.releases, n->site);
    const struct release_row *row = r == NULL ? NULL : release_row_of(r);
    bool is = row != NULL && row->serial == n->row.serial && strcmp(row->id, n->row.id) == 0 &&
              memcmp(row->manifest, n->row.manifest, sizeof(row->manifest)) == 0;

    release_unref(r);
    return is;
}

static void drop_first(struct release_follow *f)
{
    f->count--;
    memmove(f->news, f->news + 1, f->count * sizeof(*f->news));
}

static bool add(struct release_follow *f, const struct release_news *n)
{
    if (f->count == f->capacity) {
        size_t capacity = f->capacity == 0 ? 8 : 2 * f->capacity;
        struct release_news *more =
            f->count == NEWS_MAX ? NULL : realloc(f->news, capacity * sizeof(*more));

        if (more == NULL)
            return false;
        f->news = more;
        f->capacity = capacity;
    }
    f->news[f->count++] = *n;
    return true;
}

/* ---- a manifest ---- */

/* The next one first: that one may be had. */
static void later(struct release_follow *f)
{
    struct release_news first = f->news[0];

    memmove(f->news, f->news + 1, (f->count - 1) * sizeof(*f->news));
    f->news[f->count - 1] = first;
    f->has_failed = true;
    reactor_timer_start(f->opt.reactor, &f->retry, RETRY_MS);
    f->opt.settled(f->opt.user);
}

/* The site switches: on the disk first, then for who asks. */
static void use(struct release_follow *f, struct slice manifest)
{
    struct release_news n = f->news[0];
    enum err e = files_follow(f->opt.files, n.site, &n.row, manifest);

    if (e == ERR_OK)
        e = releases_load(f->opt.releases, n.site, &n.row);
    if (e != ERR_OK) {
        metrics_add(METRIC_RELEASES_REFUSED, 1);
        log_error("releases: %s: %s cannot be kept: %s", n.site, n.row.id, err_name(e));
        later(f);
        return;
    }
    metrics_add(METRIC_RELEASES_FOLLOWED, 1);
    log_info("releases: %s: %s is in use", n.site, n.row.id);
    f->has_failed = false;
    drop_first(f);
    f->opt.switched(f->opt.user);
    go_on(f);
}

static void tell_bad(const struct release_follow *f, const char *what)
{
    metrics_add(METRIC_FILES_BAD_PEER, 1);
    if (f->has_failed)
        return; /* said once is enough */
    log_error("releases: %s: the manifest of %s %s; trying again", f->news[0].site,
              f->news[0].row.id, what);
}

static void on_head(void *user, const struct upstream_head *h)
{
    struct release_follow *f = user;

    f->is_wanted = h->status == 200 && h->framing == UPSTREAM_LENGTH &&
                   h->body_bytes == f->news[0].row.manifest_bytes;
    if (h->status == 200 && !f->is_wanted)
        tell_bad(f, "has another length than was told");
    else if (!f->is_wanted && !f->has_failed)
        log_warn("releases: %s: the publishing node answers %d for the manifest of %s; trying "
                 "again",
                 f->news[0].site, h->status, f->news[0].row.id);
}

static enum upstream_flow on_body(void *user, const char *p, size_t n)
{
    struct release_follow *f = user;

    if (f->is_wanted)
        buf_add(&f->manifest, (struct slice){p, n});
    return UPSTREAM_GO_ON;
}

static bool is_right(const struct release_follow *f)
{
    unsigned char is[DIGEST_SHA256_BYTES];

    digest_sha256(buf_slice(&f->manifest), is);
    return memcmp(is, f->news[0].row.manifest, sizeof(is)) == 0;
}

static void on_done(void *user, enum upstream_failure failure, const char *text)
{
    struct release_follow *f = user;

    f->fetch = NULL;
    if (failure != UPSTREAM_OK && !f->has_failed)
        log_warn("releases: %s: the manifest of %s did not come: %s; trying again", f->news[0].site,
                 f->news[0].row.id, text == NULL ? upstream_failure_name(failure) : text);
    if (failure != UPSTREAM_OK || !f->is_wanted || f->manifest.failed) {
        later(f);
    } else if (!is_right(f)) {
        tell_bad(f, "does not have the hash that was told");
        later(f);
    } else {
        use(f, buf_slice(&f->manifest));
    }
}

static void fetch(struct release_follow *f)
{
    static const struct upstream_events ev = {.head = on_head, .body = on_body, .done = on_done};
    char path[sizeof(RELEASE_FILES_PATH) + MANIFEST_SHA256_DIGITS] = RELEASE_FILES_PATH;
    struct http_field secret = {SLICE("selvage-secret"), slice_of(f->opt.secret)};
    struct http_fields fields = {.item = &secret, .count = f->opt.secret != NULL, .capacity = 1};
    struct upstream_request rq = {
        .target = f->opt.target,
        .method = SLICE("GET"),
        .host = slice_of(f->opt.host),
        .fields = &fields,
        .is_idempotent = true,
    };

    manifest_sha256_print(f->news[0].row.manifest, path + sizeof(RELEASE_FILES_PATH) - 1);
    rq.request_target = slice_of(path);
    f->is_wanted = false;
    f->manifest.n = 0;
    f->manifest.failed = false;
    if (upstream_fetch(f->opt.upstream, &rq, &ev, f, &f->fetch) != ERR_OK) {
        f->fetch = NULL;
        later(f);
    }
}

/* One after the other: what is small and rare need not be quick. */
static void go_on(struct release_follow *f)
{
    struct files_reader *r = NULL;
    bool is_here = false;

    if (f->fetch != NULL)
        return;
    reactor_timer_stop(f->opt.reactor, &f->retry);
    if (f->count == 0) {
        f->opt.settled(f->opt.user);
        return;
    }
    f->manifest.n = 0;
    f->manifest.failed = false;
    if (files_reader_new(f->opt.files, &r) == ERR_OK)
        is_here = files_read_all(r, f->news[0].row.manifest, LIMIT_MANIFEST_BYTES, &f->manifest) ==
                  ERR_OK; /* another site has the same, or it is in use here already */
    files_reader_free(r);
    if (is_here && is_right(f))
        use(f, buf_slice(&f->manifest));
    else
        fetch(f);
}

static void on_retry(void *user)
{
    go_on(user);
}

void release_follow_take(struct release_follow *f, struct slice bytes)
{
    struct release_news n;
    size_t i = f->fetch != NULL ? 1 : 0; /* the first one's is on its way: it ends as it began */

    if (release_news_decode(bytes, &n) != ERR_OK) {
        metrics_add(METRIC_RELEASES_REFUSED, 1);
        log_error("releases: the publishing node told of one that is none; is it of another "
                  "version?");
        return;
    }
    while (i < f->count && strcmp(f->news[i].site, n.site) != 0)
        i++;
    if (i < f->count) {
        f->news[i] = n;
    } else if (f->count == 0 && is_in_use(f, &n)) {
        return;
    } else if (!add(f, &n)) {
        metrics_add(METRIC_RELEASES_REFUSED, 1);
        log_error("releases: %s: no memory to learn of %s", n.site, n.row.id);
        return;
    }
    go_on(f);
}

bool release_follow_is_settled(const struct release_follow *f)
{
    return f->count == 0 || f->has_failed;
}

/* ---- life ---- */

enum err release_follow_new(const struct release_follow_options *opt, struct release_follow **out)
{
    struct release_follow *f = calloc(1, sizeof(*f));

    if (f == NULL)
        return ERR_NOMEM;
    f->opt = *opt;
    buf_init(&f->manifest, LIMIT_MANIFEST_BYTES);
    f->retry = (struct reactor_timer){.fire = on_retry, .user = f};
    *out = f;
    return ERR_OK;
}

void release_follow_free(struct release_follow *f)
{
    if (f == NULL)
        return;
    reactor_timer_stop(f->opt.reactor, &f->retry);
    if (f->fetch != NULL)
        upstream_cancel(f->fetch);
    buf_release(&f->manifest);
    free(f->news);
    free(f);
}
