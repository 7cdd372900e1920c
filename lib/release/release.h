/*
 * release: the releases in use, in memory, and which file of one a request means.
 *
 * A struct release is one manifest, immutable and counted: whoever has a reference goes on with it
 * while the site has long switched to another.
 *
 * Threads: opened and changed by the thread that changes files (files.h); everything else from any
 * thread.  The lock is a leaf.
 */
#ifndef RELEASE_RELEASE_H
#define RELEASE_RELEASE_H

#include "base/arena.h"
#include "release/files.h"
#include "release/manifest.h"

struct release;
struct releases;

/* Load those in use.  One whose manifest is damaged is left out, and said in the log.  `f` is
 * borrowed.  ERR_NOMEM, ERR_IO, ERR_CORRUPT. */
NODISCARD enum err releases_new(struct files *f, struct releases **out);
void releases_free(struct releases *rs); /* NULL is fine; references may outlive it */

/* The site's release in use, a reference; NULL: it has none. */
struct release *releases_find(struct releases *rs, const char *site);
struct release *release_ref(struct release *r);
void release_unref(struct release *r); /* NULL is fine */

/* The site has switched: load what files.h says now.  As releases_new(); what was in use stays. */
NODISCARD enum err releases_load(struct releases *rs, const char *site,
                                 const struct release_row *row);

/* Moves with each switch, so that one may see that there was one. */
uint64_t releases_version(const struct releases *rs);

/* Those in use, to be told to another node: calls `each` with the bytes of a struct release_news.
 */
void releases_tell(struct releases *rs, void (*each)(void *user, struct slice news), void *user);

const char *release_id(const struct release *r);
const struct release_row *release_row_of(const struct release *r);

/* ---- a request ---- */

enum release_match {
    RELEASE_NOTHING,
    RELEASE_FILE,
    RELEASE_DIRECTORY, /* PATH/index.html is there: the name wants a '/' at its end */
};

struct release_hit {
    struct manifest_entry entry; /* borrowed from the release */
    bool has_hash;               /* in its name */
};

/* What the target (origin form, as received) means: escapes are decoded, the query is not looked
 * at, a path that ends with '/' means its index.html.  `a` gives room for the path. */
enum release_match release_match(const struct release *r, struct slice target, struct arena *a,
                                 struct release_hit *out);

#endif
