/* table_dir: a directory for one test, and short ways to say bytes. */
#ifndef TESTS_TABLE_DIR_H
#define TESTS_TABLE_DIR_H

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "table/table.h"

static char table_dir[64];

static inline int table_dir_make(void **state)
{
    (void)state;
    snprintf(table_dir, sizeof(table_dir), "/tmp/table-test-XXXXXX");
    return mkdtemp(table_dir) == NULL ? -1 : 0;
}

static inline int table_dir_remove_one(const char *path, const struct stat *st, int type,
                                       struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

static inline int table_dir_remove(void **state)
{
    (void)state;
    return nftw(table_dir, table_dir_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline struct table *table_must_open(uint64_t bytes_max)
{
    static const char *const names[] = {"one", "two", NULL};
    struct table_options opt = {
        .dir = table_dir, .bytes_max = bytes_max, .tables = names, .sync = TABLE_MAY_LOSE_ONE};
    struct table *t = NULL;

    assert_int_equal(table_open(&opt, &t), ERR_OK);
    return t;
}

#endif
