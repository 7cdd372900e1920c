/*
 * media: does a content type fit what a path's extension promises?  Pure.
 *
 * Against web cache deception: an origin that answers `/account/x.css` with the page `/account`
 * sends what belongs to one user under a name that looks like everybody's.
 */
#ifndef HTTP_MEDIA_H
#define HTTP_MEDIA_H

#include <stdbool.h>

#include "base/slice.h"

/*
 * False when the last segment of `path` (as received, without query) ends with the extension of a
 * static file, without case and also when written as %2Ecss, and `content_type` (p == NULL: none;
 * parameters are cut off) is of another kind.  Unknown extensions, no type, and types that say
 * nothing (application/octet-stream) fit.
 */
bool http_type_fits_path(struct slice path, struct slice content_type);

#endif
