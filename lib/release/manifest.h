/*
 * manifest: what a release is: which path has which content, and of which type.
 *
 * A text, so that a person can read it; one text for one release, so that its SHA-256 names it:
 *
 *   selvage-manifest 1
 *   SHA256 <tab> BYTES <tab> TYPE <tab> PATH     one line a file, sorted by the bytes of the path
 *
 * SHA256 has 64 lower-case hexadecimal digits, BYTES is decimal without leading zeros, TYPE is the
 * value of Content-Type, PATH is relative, UTF-8, without empty, "." and ".." segments and without
 * control characters.  Every line ends with a line feed.  Whatever breaks the form is refused as a
 * whole: a manifest comes from outside.
 *
 * Immutable once parsed; any thread.
 */
#ifndef RELEASE_MANIFEST_H
#define RELEASE_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/slice.h"

struct manifest;

enum { MANIFEST_SHA256_DIGITS = 2 * DIGEST_SHA256_BYTES };

struct manifest_entry {
    struct slice path, type; /* borrowed from the manifest */
    uint64_t bytes;
    unsigned char sha256[DIGEST_SHA256_BYTES];
};

/*
 * Parse a copy of `text`.
 *
 *   out   owned by the caller, ends with manifest_free()
 *   why   with ERR_INVALID: one sentence with the line
 *
 * ERR_INVALID, ERR_LIMIT (LIMIT_MANIFEST_BYTES, LIMIT_RELEASE_FILES), ERR_NOMEM.
 */
NODISCARD enum err manifest_parse(struct slice text, struct manifest **out, struct buf *why);
void manifest_free(struct manifest *m); /* NULL is fine */

size_t manifest_count(const struct manifest *m);
uint64_t manifest_bytes(const struct manifest *m); /* of all files together */
void manifest_at(const struct manifest *m, size_t index, struct manifest_entry *out);

/* By path, exactly; O(log n). */
bool manifest_find(const struct manifest *m, struct slice path, struct manifest_entry *out);

/* Writing one: the head, then entries in the order of their paths (which the writer sees to). */
void manifest_put_head(struct buf *out);
void manifest_put(struct buf *out, const struct manifest_entry *e);

/* What is wrong with a path: static text, to be read behind the path; NULL: nothing. */
const char *manifest_path_fault(struct slice path);

/*
 * Does the file's name carry a hash of its content, as bundlers write it: app.8f3c2a1b.js,
 * index-BYk3x9aZ.css, chunk-XTQ2ZKQM.js?  Such a name never has another content, so it may be kept
 * for good.  Errs on the side of no: digits alone are a date, letters alone a word.
 */
bool manifest_name_has_hash(struct slice path);

/* 64 digits and back; false when they are none. */
void manifest_sha256_print(const unsigned char sha256[DIGEST_SHA256_BYTES],
                           char out[MANIFEST_SHA256_DIGITS + 1]);
bool manifest_sha256_parse(struct slice text, unsigned char out[DIGEST_SHA256_BYTES]);

#endif
