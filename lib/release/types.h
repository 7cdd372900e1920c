/*
 * types: which content type a file has, by its name: shared-mime-info's table, compiled in.
 *
 * types.inc is made by tools/mimetypes.sh.  Pure; any thread.
 */
#ifndef RELEASE_TYPES_H
#define RELEASE_TYPES_H

#include <stdbool.h>

#include "base/slice.h"

/* By the longest known extension ("tar.gz" before "gz"), whatever its case; static text, without
 * parameters.  application/octet-stream where nothing is known. */
const char *types_of_path(struct slice path);

/* Is it text whose coding a reader would have to guess: does "; charset=utf-8" belong behind it? */
bool types_wants_charset(const char *type);

#endif
