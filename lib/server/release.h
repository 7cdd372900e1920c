/*
 * release: published files and the requests that mean them.
 *
 * Of clients: what the site's release in use has goes before the origin.  Of peers:
 *   GET /_selvage/files/SHA256    a content, for a node that follows
 *
 * Threads: requests on their worker's.
 */
#ifndef SERVER_RELEASE_H
#define SERVER_RELEASE_H

#include "base/buf.h"
#include "release/release.h"
#include "server/request.h"

#define RELEASE_FILES_PATH "/_selvage/files/"

enum release_answer {
    RELEASE_IS_NOT_FOR_US, /* the origin may have it */
    RELEASE_IS_ANSWERED,   /* refused, or redirected */
    RELEASE_IS_FILE,       /* r->file says which: the cache answers */
};

/* What the request means, of a site with files.  r->release is held from here on. */
enum release_answer release_settle(struct server_request *r);

/* Is it a peer's request for a content?  Then r->file says which, or it was refused. */
enum release_answer release_settle_peer(struct server_request *r);

/* What a GET of the target would meet, as text for a person; false: no file of a release. */
bool release_explain(struct releases *rs, const struct site *site, struct slice target,
                     struct arena *a, struct buf *out);

#endif
