/*
 * file: whole small files, read at once and replaced so that a crash leaves the old or the new one.
 *
 * Not for bodies or logs: everything here blocks on the disk.  Any thread.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stddef.h>

#include "base/err.h"
#include "base/slice.h"

/*
 * Read all of `path`, a regular file or a pipe.
 *
 *   out   owned by the caller, ends with free(); a NUL that is not counted follows the last byte
 *
 * ERR_NOT_FOUND, ERR_LIMIT (more than `bytes_max`), ERR_NOMEM, or ERR_IO: errno says why.
 */
NODISCARD enum err file_read_all(const char *path, size_t bytes_max, char **out, size_t *out_bytes);

/*
 * Replace `path` by `bytes`, readable by its owner alone; on the disk, name and all, at ERR_OK.
 *
 * ERR_IO: errno says why; `path` is as it was, unless its directory could not be synced. ERR_NOMEM.
 */
NODISCARD enum err file_write_atomic(const char *path, struct slice bytes);

/*
 * Create the directory when it is missing, mode 0700.
 *
 * ERR_IO: errno says why; ENOTDIR when there is something else.
 */
NODISCARD enum err file_make_dir(const char *path);

/* What was made or renamed in the directory is on the disk, names and all.  ERR_IO: errno says why.
 */
NODISCARD enum err file_sync_dir(const char *path);

#endif
