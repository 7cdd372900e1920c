/*
 * Any bytes at all as a manifest: what parses is written again to the same bytes, its paths are in
 * order and stay inside, each is found, and no type would break a head.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "release/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check_entry(const struct manifest *m, size_t i)
{
    struct manifest_entry e, found;

    manifest_at(m, i, &e);
    CHECK(manifest_find(m, e.path, &found) && slice_eq(found.path, e.path));
    CHECK(manifest_path_fault(e.path) == NULL);
    CHECK(e.path.n > 0 && e.path.p[0] != '/' && slice_index(e.path, '\n') == e.path.n);
    CHECK(!slice_eq(e.path, SLICE("..")) && !slice_starts_with(e.path, SLICE("../")) &&
          !slice_ends_with(e.path, SLICE("/..")));
    CHECK(e.bytes <= LIMIT_RELEASE_FILE_BYTES);
    for (size_t j = 0; j < e.type.n; j++)
        CHECK(e.type.p[j] >= 0x20 && e.type.p[j] != 0x7f);
    (void)manifest_name_has_hash(e.path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct slice text = {(const char *)data, bytes};
    struct manifest *m = NULL;
    struct buf why, again;
    enum err e;

    buf_init(&why, 4096);
    e = manifest_parse(text, &m, &why);
    CHECK(e == ERR_OK || why.n > 0);
    if (e == ERR_OK) {
        buf_init(&again, bytes + 1);
        manifest_put_head(&again);
        for (size_t i = 0; i < manifest_count(m); i++) {
            struct manifest_entry entry;

            check_entry(m, i);
            manifest_at(m, i, &entry);
            manifest_put(&again, &entry);
        }
        CHECK(slice_eq(buf_slice(&again), text));
        buf_release(&again);
    }
    manifest_free(m);
    buf_release(&why);
    return 0;
}
