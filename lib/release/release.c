#include "release/release.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/log.h"

#define INDEX SLICE("index.html")

enum { WHY_BYTES = 1024 };

struct release {
    _Atomic unsigned refs;
    char site[RELEASE_NAME_BYTES];
    struct release_row row;
    struct manifest *manifest; /* owned */
};

struct releases {
    struct files *files;
    struct files_reader *reader; /* owned; of the thread that changes */
    _Atomic uint64_t version;

    pthread_mutex_t lock;  /* a leaf */
    struct release **used; /* owned; references */
    size_t count, capacity;
};

struct release *release_ref(struct release *r)
{
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    return r;
}

void release_unref(struct release *r)
{
    /* release what this thread did with it, before the last one frees it (acquire) */
    if (r == NULL || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
        return;
    manifest_free(r->manifest);
    free(r);
}

const char *release_id(const struct release *r)
{
    return r->row.id;
}

const struct release_row *release_row_of(const struct release *r)
{
    return &r->row;
}

/* ---- loading ---- */

static enum err make(struct releases *rs, const char *site, const struct release_row *row,
                     struct release **out)
{
    struct release *r = calloc(1, sizeof(*r));
    struct buf text, why;
    enum err e;

    if (r == NULL)
        return ERR_NOMEM;
    atomic_init(&r->refs, 1);
    memcpy(r->site, site, strlen(site) + 1);
    r->row = *row;
    buf_init(&text, LIMIT_MANIFEST_BYTES);
    buf_init(&why, WHY_BYTES);
    e = files_read_all(rs->reader, row->manifest, LIMIT_MANIFEST_BYTES, &text);
    if (e == ERR_OK)
        e = manifest_parse(buf_slice(&text), &r->manifest, &why);
    if (e != ERR_OK)
        log_error("%s: the release %s cannot be read and is not served: %s %.*s", site, row->id,
                  err_name(e), (int)why.n, why.p == NULL ? "" : why.p);
    buf_release(&text);
    buf_release(&why);
    if (e != ERR_OK) {
        release_unref(r);
        return e;
    }
    *out = r;
    return ERR_OK;
}

/* Under the lock: where the site's is, or would be. */
static size_t place_of(const struct releases *rs, const char *site)
{
    size_t i = 0;

    while (i < rs->count && strcmp(rs->used[i]->site, site) != 0)
        i++;
    return i;
}

static bool has_room(struct releases *rs)
{
    size_t capacity = rs->capacity == 0 ? 8 : 2 * rs->capacity;
    struct release **used;

    if (rs->count < rs->capacity)
        return true;
    used = realloc(rs->used, capacity * sizeof(struct release *));
    if (used == NULL)
        return false;
    rs->used = used;
    rs->capacity = capacity;
    return true;
}

static enum err use(struct releases *rs, struct release *r)
{
    struct release *old = NULL;
    bool ok;
    size_t i;

    pthread_mutex_lock(&rs->lock);
    i = place_of(rs, r->site);
    ok = i < rs->count || has_room(rs);
    if (ok && i < rs->count)
        old = rs->used[i];
    else if (ok)
        rs->count++;
    if (ok)
        rs->used[i] = r;
    pthread_mutex_unlock(&rs->lock);
    if (ok)
        atomic_fetch_add_explicit(&rs->version, 1, memory_order_release);
    release_unref(ok ? old : r);
    return ok ? ERR_OK : ERR_NOMEM;
}

enum err releases_load(struct releases *rs, const char *site, const struct release_row *row)
{
    struct release *r;
    enum err e = make(rs, site, row, &r);

    return e == ERR_OK ? use(rs, r) : e;
}

struct loading {
    struct releases *releases;
    enum err e;
};

static bool load_one(void *user, const char *site, const struct release_row *row)
{
    struct loading *l = user;

    l->e = releases_load(l->releases, site, row);
    if (l->e == ERR_CORRUPT || l->e == ERR_NOT_FOUND || l->e == ERR_INVALID)
        l->e = ERR_OK; /* the others are well */
    return l->e == ERR_OK;
}

enum err releases_new(struct files *f, struct releases **out)
{
    struct releases *rs = calloc(1, sizeof(*rs));
    struct loading l = {.releases = rs};
    enum err e;

    if (rs == NULL)
        return ERR_NOMEM;
    rs->files = f;
    pthread_mutex_init(&rs->lock, NULL);
    e = files_reader_new(f, &rs->reader);
    if (e == ERR_OK)
        e = files_walk_used(f, load_one, &l);
    if (e == ERR_OK)
        e = l.e;
    if (e != ERR_OK) {
        releases_free(rs);
        return e;
    }
    *out = rs;
    return ERR_OK;
}

void releases_free(struct releases *rs)
{
    if (rs == NULL)
        return;
    for (size_t i = 0; i < rs->count; i++)
        release_unref(rs->used[i]);
    free(rs->used);
    files_reader_free(rs->reader);
    pthread_mutex_destroy(&rs->lock);
    free(rs);
}

struct release *releases_find(struct releases *rs, const char *site)
{
    struct release *r = NULL;
    size_t i;

    pthread_mutex_lock(&rs->lock);
    i = place_of(rs, site);
    if (i < rs->count)
        r = release_ref(rs->used[i]);
    pthread_mutex_unlock(&rs->lock);
    return r;
}

uint64_t releases_version(const struct releases *rs)
{
    return atomic_load_explicit(&rs->version, memory_order_acquire);
}

/* No lock while it is told: a reference of each is taken first, one after the other. */
void releases_tell(struct releases *rs, void (*each)(void *user, struct slice news), void *user)
{
    for (size_t i = 0;; i++) {
        unsigned char bytes[RELEASE_NEWS_BYTES_MAX];
        struct release_news news;
        struct release *r = NULL;

        pthread_mutex_lock(&rs->lock);
        if (i < rs->count)
            r = release_ref(rs->used[i]);
        pthread_mutex_unlock(&rs->lock);
        if (r == NULL)
            return;
        memcpy(news.site, r->site, sizeof(news.site));
        news.row = r->row;
        each(user, (struct slice){(const char *)bytes, release_news_encode(&news, bytes)});
        release_unref(r);
    }
}

/* ---- a request ---- */

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/*
 * The path without its first '/', decoded, with room for "/index.html" behind it.  False: no file
 * can have that name, or there is no room.
 */
static bool decode(struct slice target, struct arena *a, char **out, size_t *out_bytes)
{
    struct slice path = slice_from(slice_head(target, slice_index(target, '?')), 1);
    char *to = arena_alloc(a, path.n + 2 * INDEX.n + 1);
    size_t n = 0;

    if (to == NULL)
        return false;
    for (size_t i = 0; i < path.n; i++) {
        char c = path.p[i];

        if (c == '%') {
            int high = i + 2 < path.n ? hex(path.p[i + 1]) : -1;
            int low = i + 2 < path.n ? hex(path.p[i + 2]) : -1;

            if (high < 0 || low < 0 || (c = (char)(high << 4 | low)) == '/')
                return false; /* an escaped '/' is a part of a name, and no name has one */
            i += 2;
        }
        to[n++] = c;
    }
    *out = to;
    *out_bytes = n;
    return true;
}

enum release_match release_match(const struct release *r, struct slice target, struct arena *a,
                                 struct release_hit *out)
{
    struct slice path;
    char *p;
    size_t n;

    if (!slice_starts_with(target, SLICE("/")) || !decode(target, a, &p, &n))
        return RELEASE_NOTHING;
    if (n == 0 || p[n - 1] == '/') {
        memcpy(p + n, INDEX.p, INDEX.n);
        n += INDEX.n;
    }
    path = (struct slice){p, n};
    if (manifest_find(r->manifest, path, &out->entry)) {
        out->has_hash = manifest_name_has_hash(out->entry.path);
        return RELEASE_FILE;
    }
    p[n] = '/';
    memcpy(p + n + 1, INDEX.p, INDEX.n);
    path.n += 1 + INDEX.n;
    return slice_ends_with(slice_head(path, n), INDEX) ||
                   !manifest_find(r->manifest, path, &out->entry)
               ? RELEASE_NOTHING
               : RELEASE_DIRECTORY;
}
