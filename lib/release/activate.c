/* Releases: made, switched to, listed.  Each change is one transaction. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "release/files_priv.h"
#include "release/manifest.h"

#define KEY_SERIAL SLICE("serial")

static struct slice bytes_of(const unsigned char *p, size_t n)
{
    return (struct slice){(const char *)p, n};
}

/* ---- rows ---- */

static enum err next_serial(struct table_write *w, uint64_t *out)
{
    unsigned char value[RELEASE_STATE_BYTES];
    struct slice s;
    enum err e = table_write_get(w, FILES_STATE, KEY_SERIAL, &s);

    *out = 0;
    if (e == ERR_OK)
        e = release_state_decode(s, out);
    else if (e == ERR_NOT_FOUND)
        e = ERR_OK;
    if (e != ERR_OK)
        return e;
    release_state_encode(++*out, value);
    return table_put(w, FILES_STATE, KEY_SERIAL, bytes_of(value, sizeof(value)));
}

static enum err get_release(struct table_write *w, const char *site, const char *id,
                            struct release_row *out)
{
    char key[RELEASE_KEY_BYTES_MAX];
    struct slice value;
    enum err e = table_write_get(w, FILES_RELEASE, release_key(site, id, key), &value);

    return e == ERR_OK ? release_row_decode(value, out) : e;
}

static enum err put_release(struct table_write *w, const char *site, const struct release_row *row)
{
    unsigned char value[RELEASE_ROW_BYTES_MAX];
    char key[RELEASE_KEY_BYTES_MAX];

    return table_put(w, FILES_RELEASE, release_key(site, row->id, key),
                     bytes_of(value, release_row_encode(row, value)));
}

static enum err get_used(struct table_write *w, const char *site, struct release_row *out)
{
    struct slice value;
    enum err e = table_write_get(w, FILES_USED, slice_of(site), &value);

    return e == ERR_OK ? release_row_decode(value, out) : e;
}

/* The switch. */
static enum err put_used(struct table_write *w, const char *site, const struct release_row *row)
{
    unsigned char value[RELEASE_ROW_BYTES_MAX];

    return table_put(w, FILES_USED, slice_of(site),
                     bytes_of(value, release_row_encode(row, value)));
}

/* Of one site, each; behind `*count` of them. */
static enum err next_of(struct table_write *w, const char *site, struct release_row *at,
                        bool is_first)
{
    char key[RELEASE_KEY_BYTES_MAX + 1], found_site[RELEASE_NAME_BYTES], id[RELEASE_NAME_BYTES];
    struct slice from = release_key(site, is_first ? "" : at->id, key), found, value;
    enum err e;

    if (!is_first)
        key[from.n++] = '\0'; /* the key behind */
    e = table_write_seek(w, FILES_RELEASE, from, &found, &value);
    if (e != ERR_OK)
        return e;
    if (!release_key_parse(found, found_site, id))
        return ERR_CORRUPT;
    return strcmp(found_site, site) == 0 ? release_row_decode(value, at) : ERR_NOT_FOUND;
}

/* How many there are, and the last that was published before `serial`. */
static enum err look_through(struct table_write *w, const char *site, uint64_t serial,
                             size_t *count, struct release_row *before)
{
    struct release_row row;
    bool is_first = true;
    enum err e;

    *count = 0;
    before->serial = 0;
    for (; (e = next_of(w, site, &row, is_first)) == ERR_OK; is_first = false) {
        ++*count;
        if (!row.is_followed && row.serial < serial && row.serial > before->serial)
            *before = row;
    }
    return e == ERR_NOT_FOUND ? ERR_OK : e;
}

static enum err finish(enum err e, struct table_write **w, struct buf *why)
{
    if (e == ERR_OK)
        e = table_commit(w);
    else
        table_abort(w);
    if (e != ERR_OK)
        files__explain(e, why);
    return e;
}

/* ---- publishing ---- */

static enum err read_manifest(struct files *f, const unsigned char *sha256, struct manifest **out,
                              uint64_t *out_bytes, struct buf *why)
{
    struct buf text;
    enum err e;

    buf_init(&text, LIMIT_MANIFEST_BYTES);
    e = files_read_all(f->reader, sha256, LIMIT_MANIFEST_BYTES, &text);
    if (e == ERR_NOT_FOUND)
        buf_addf(why, "the manifest has not been uploaded");
    else if (e == ERR_LIMIT)
        buf_addf(why, "the manifest is larger than %llu bytes", LIMIT_MANIFEST_BYTES);
    if (e == ERR_OK)
        e = manifest_parse(buf_slice(&text), out, why);
    *out_bytes = text.n;
    buf_release(&text);
    if (e != ERR_OK)
        files__explain(e, why);
    return e;
}

static enum err refer_all(struct table_write *w, const struct manifest *m,
                          const struct release_row *row, struct buf *why)
{
    enum err e = files__refer(w, row->manifest, row->manifest_bytes);

    for (size_t i = 0; e == ERR_OK && i < manifest_count(m); i++) {
        struct manifest_entry entry;

        manifest_at(m, i, &entry);
        e = files__refer(w, entry.sha256, entry.bytes);
        if (e == ERR_NOT_FOUND)
            buf_addf(why, "%.*s: its content has not been uploaded, or has another length",
                     (int)entry.path.n, entry.path.p);
    }
    return e;
}

/* What is new in it, and the switch. */
static enum err write_release(struct table_write *w, const char *site, const struct manifest *m,
                              struct release_row *row, struct buf *why)
{
    struct release_row there, before;
    size_t count;
    bool is_new;
    enum err e = get_release(w, site, row->id, &there);

    is_new = e == ERR_NOT_FOUND || (e == ERR_OK && there.is_followed);
    if (e == ERR_OK && !is_new &&
        memcmp(there.manifest, row->manifest, sizeof(row->manifest)) != 0) {
        buf_addf(why,
                 "there is a release %s of the site %s already, and with other files: choose "
                 "another name",
                 row->id, site);
        return ERR_BUSY;
    }
    if (e == ERR_OK || e == ERR_NOT_FOUND)
        e = look_through(w, site, UINT64_MAX, &count, &before);
    if (e == ERR_OK && is_new && count >= LIMIT_RELEASES) {
        buf_addf(why, "the site %s has %d releases already", site, LIMIT_RELEASES);
        return ERR_LIMIT;
    }
    if (e == ERR_OK && is_new)
        e = refer_all(w, m, row, why);
    if (e == ERR_OK)
        e = next_serial(w, &row->serial);
    if (e == ERR_OK)
        e = put_release(w, site, row);
    return e == ERR_OK ? put_used(w, site, row) : e;
}

/* Beside the way: it must not keep anybody from publishing. */
static void sweep(struct files *f)
{
    struct table_write *w;
    bool more;

    if (table_write_begin(f->table, &w) != ERR_OK)
        return;
    if (files__sweep(w, clock_now().wall_ms - LIMIT_LOOSE_MS, &more) != ERR_OK ||
        table_commit(&w) != ERR_OK)
        table_abort(&w);
}

enum err files_publish(struct files *f, const char *site, const char *id,
                       const unsigned char sha256[DIGEST_SHA256_BYTES], struct release_row *out,
                       struct buf *why)
{
    struct release_row row = {.at_ms = clock_now().wall_ms};
    struct manifest *m = NULL;
    struct table_write *w;
    enum err e;

    CHECK(release_name_is_valid(slice_of(site)) && release_name_is_valid(slice_of(id)));
    e = read_manifest(f, sha256, &m, &row.manifest_bytes, why);
    if (e != ERR_OK)
        return e;
    memcpy(row.manifest, sha256, sizeof(row.manifest));
    memcpy(row.id, id, strlen(id) + 1);
    row.files = manifest_count(m);
    row.bytes = manifest_bytes(m);
    e = table_write_begin(f->table, &w);
    if (e == ERR_OK)
        e = finish(write_release(w, site, m, &row, why), &w, why);
    else
        files__explain(e, why);
    manifest_free(m);
    if (e != ERR_OK)
        return e;
    sweep(f);
    *out = row;
    return ERR_OK;
}

/* ---- switching ---- */

static enum err choose(struct table_write *w, const char *site, const char *id,
                       struct release_row *out, struct buf *why)
{
    struct release_row used;
    size_t count;
    enum err e;

    if (id != NULL) {
        e = get_release(w, site, id, out);
        if (e == ERR_OK && out->is_followed)
            e = ERR_NOT_FOUND;
        if (e == ERR_NOT_FOUND)
            buf_addf(why, "the site %s has no release %s; `selvage releases` lists them", site, id);
        return e;
    }
    e = get_used(w, site, &used);
    if (e == ERR_NOT_FOUND)
        buf_addf(why, "nothing has been published for the site %s", site);
    if (e != ERR_OK)
        return e;
    e = look_through(w, site, used.serial, &count, out);
    if (e == ERR_OK && out->serial == 0) {
        buf_addf(why, "the site %s has no release from before %s", site, used.id);
        e = ERR_NOT_FOUND;
    }
    return e;
}

enum err files_activate(struct files *f, const char *site, const char *id, struct release_row *out,
                        struct buf *why)
{
    struct release_row row;
    struct table_write *w;
    enum err e = table_write_begin(f->table, &w);

    CHECK(release_name_is_valid(slice_of(site)));
    if (e != ERR_OK) {
        files__explain(e, why);
        return e;
    }
    e = choose(w, site, id, &row, why);
    if (e == ERR_OK)
        e = put_used(w, site, &row);
    e = finish(e, &w, why);
    if (e == ERR_OK)
        *out = row;
    return e;
}

/* ---- following ---- */

/* What was followed before goes; what was published here stays. */
static enum err forget_followed(struct table_write *w, const char *site)
{
    char key[RELEASE_KEY_BYTES_MAX];
    struct release_row used, row;
    struct file_row file;
    enum err e = get_used(w, site, &used);

    if (e == ERR_OK)
        e = get_release(w, site, used.id, &row);
    if (e != ERR_OK || !row.is_followed)
        return e == ERR_NOT_FOUND ? ERR_OK : e;
    e = table_delete(w, FILES_RELEASE, release_key(site, row.id, key));
    if (e == ERR_OK)
        e = files__get(w, row.manifest, &file);
    if (e != ERR_OK)
        return e == ERR_NOT_FOUND ? ERR_CORRUPT : e;
    file.refs -= file.refs > 0;
    return file.refs == 0 ? files__delete(w, row.manifest, &file)
                          : files__put(w, row.manifest, &file);
}

enum err files_follow(struct files *f, const char *site, const struct release_row *row,
                      struct slice manifest)
{
    struct release_row followed = *row, there;
    struct file_row file;
    struct table_write *w;
    struct buf why;
    enum err e = table_write_begin(f->table, &w);

    if (e != ERR_OK)
        return e;
    e = forget_followed(w, site);
    if (e == ERR_OK)
        e = files__put_content(w, row->manifest, manifest, &file);
    if (e == ERR_OK) {
        file.refs++;
        e = files__put(w, row->manifest, &file);
    }
    followed.is_followed = true;
    if (e == ERR_OK)
        e = get_release(w, site, row->id, &there);
    if (e == ERR_NOT_FOUND || (e == ERR_OK && there.is_followed))
        e = put_release(w, site, &followed);
    if (e == ERR_OK)
        e = put_used(w, site, &followed);
    buf_init(&why, 1024);
    e = finish(e, &w, &why);
    buf_release(&why);
    return e;
}

/* ---- lists ---- */

/* A copy of one row and its key, so that nothing is borrowed while `each` runs. */
static enum err walk_next(struct files_reader *r, unsigned which, struct buf *from, struct buf *key,
                          struct release_row *row)
{
    unsigned char copy[RELEASE_ROW_BYTES_MAX];
    struct slice k, v;
    enum err e = table_read_begin(r->reader);

    if (e != ERR_OK)
        return e;
    e = table_seek(r->reader, which, buf_slice(from), &k, &v);
    if (e == ERR_OK && (k.n > RELEASE_KEY_BYTES_MAX || v.n > sizeof(copy)))
        e = ERR_CORRUPT;
    key->n = 0;
    if (e == ERR_OK)
        e = table_copy(copy, v);
    if (e == ERR_OK)
        buf_add(key, k);
    table_read_end(r->reader);
    if (e != ERR_OK)
        return e;
    from->n = 0;
    buf_add(from, buf_slice(key));
    buf_add_char(from, '\0'); /* the key behind it */
    if (from->failed || key->failed)
        return ERR_NOMEM;
    return release_row_decode(bytes_of(copy, v.n), row);
}

static bool is_used(struct files *f, const char *site, const struct release_row *row)
{
    unsigned char copy[RELEASE_ROW_BYTES_MAX];
    struct release_row used;
    struct slice v = {NULL, 0};
    enum err e = table_read_begin(f->reader->reader);

    if (e != ERR_OK)
        return false;
    e = table_get(f->reader->reader, FILES_USED, slice_of(site), &v);
    if (e == ERR_OK)
        e = v.n > sizeof(copy) ? ERR_CORRUPT : table_copy(copy, v);
    table_read_end(f->reader->reader);
    return e == ERR_OK && release_row_decode(bytes_of(copy, v.n), &used) == ERR_OK &&
           strcmp(used.id, row->id) == 0;
}

enum err files_walk(struct files *f, const char *site,
                    bool (*each)(void *user, const char *site, const struct release_row *row,
                                 bool is_in_use),
                    void *user)
{
    char first[RELEASE_KEY_BYTES_MAX], of[RELEASE_NAME_BYTES], id[RELEASE_NAME_BYTES];
    struct release_row row;
    struct buf from, key;
    bool goes_on = true;
    enum err e = ERR_OK;

    buf_init(&from, RELEASE_KEY_BYTES_MAX + 1);
    buf_init(&key, RELEASE_KEY_BYTES_MAX);
    if (site != NULL)
        buf_add(&from, release_key(site, "", first));
    while (goes_on && e == ERR_OK &&
           (e = walk_next(f->reader, FILES_RELEASE, &from, &key, &row)) == ERR_OK) {
        if (!release_key_parse(buf_slice(&key), of, id))
            e = ERR_CORRUPT;
        else
            goes_on = (site == NULL || strcmp(site, of) == 0) &&
                      each(user, of, &row, is_used(f, of, &row));
    }
    buf_release(&from);
    buf_release(&key);
    return e == ERR_NOT_FOUND ? ERR_OK : e;
}

enum err files_walk_used(struct files *f,
                         bool (*each)(void *user, const char *site, const struct release_row *row),
                         void *user)
{
    char site[RELEASE_NAME_BYTES];
    struct release_row row;
    struct buf from, key;
    bool goes_on = true;
    enum err e = ERR_OK;

    buf_init(&from, RELEASE_KEY_BYTES_MAX + 1);
    buf_init(&key, RELEASE_KEY_BYTES_MAX);
    while (goes_on && e == ERR_OK &&
           (e = walk_next(f->reader, FILES_USED, &from, &key, &row)) == ERR_OK) {
        if (!release_name_is_valid(buf_slice(&key))) {
            e = ERR_CORRUPT;
        } else {
            memcpy(site, key.p, key.n);
            site[key.n] = '\0';
            goes_on = each(user, site, &row);
        }
    }
    buf_release(&from);
    buf_release(&key);
    return e == ERR_NOT_FOUND ? ERR_OK : e;
}
