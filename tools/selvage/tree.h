/*
 * tree: the files of a folder, as a release has them: read, hashed, named.
 *
 * What cannot be published is told on stderr, all of it: names that are not UTF-8, links that lead
 * out of the folder, what is neither file nor folder, what is too large.  One thread; blocks.
 */
#ifndef SELVAGE_TREE_H
#define SELVAGE_TREE_H

#include <stdbool.h>

#include "base/buf.h"
#include "cli.h"
#include "release/manifest.h"

struct tree_file {
    char *path; /* owned; inside the folder */
    char *from; /* owned; as it is opened */
    char *type; /* owned */
    uint64_t bytes;
    unsigned char sha256[DIGEST_SHA256_BYTES];
};

struct tree {
    struct tree_file *file; /* owned; sorted by path */
    size_t count, capacity;
    uint64_t bytes;
};

/* Read the folder.  False: told on stderr. */
bool tree_read(const struct cli *cli, const char *dir, struct tree *out);
void tree_release(struct tree *t);

/* Its manifest.  False: no memory. */
bool tree_manifest(const struct tree *t, struct buf *out);

/*
 * Read a file again, in pieces of `bytes` (the last one is shorter; an empty file is one empty
 * piece), and compare: `each` gets the last piece only when all of it is as it was.
 *
 * False: told on stderr (it has changed, cannot be read), or `each` said so.
 */
bool tree_read_file(const struct cli *cli, const struct tree_file *f, size_t bytes,
                    bool (*each)(void *user, uint64_t offset, struct slice piece), void *user);

#endif
