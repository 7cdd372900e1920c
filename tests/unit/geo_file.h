/* geo_file: a database made of tests/geo/places.tsv, in a directory of its own. */
#ifndef TESTS_GEO_FILE_H
#define TESTS_GEO_FILE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"

static char geo_dir[64], geo_nested[96], geo_flat[96], geo_bad[96];

static inline int geo_build(const char *to, const char *form)
{
    char command[256];

    snprintf(command, sizeof(command),
             "timeout 60 python3 tests/geo/build.py tests/geo/places.tsv %s %s", to, form);
    return system(command);
}

static inline int geo_files_make(void **state)
{
    (void)state;
    snprintf(geo_dir, sizeof(geo_dir), "/tmp/geo-test-XXXXXX");
    if (mkdtemp(geo_dir) == NULL)
        return -1;
    snprintf(geo_nested, sizeof(geo_nested), "%s/nested.mmdb", geo_dir);
    snprintf(geo_flat, sizeof(geo_flat), "%s/flat.mmdb", geo_dir);
    snprintf(geo_bad, sizeof(geo_bad), "%s/bad.mmdb", geo_dir);
    return geo_build(geo_nested, "") + geo_build(geo_flat, "--flat");
}

static inline int geo_files_remove(void **state)
{
    (void)state;
    unlink(geo_nested);
    unlink(geo_flat);
    unlink(geo_bad);
    return rmdir(geo_dir);
}

#endif
