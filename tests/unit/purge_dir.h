/* purge_dir: a directory for one test, with short ways to purge and to judge. */
#ifndef TESTS_PURGE_DIR_H
#define TESTS_PURGE_DIR_H

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

#include "purge/purge_priv.h"

static char purge_root[64], purge_dir[80];

static inline int purge_dir_make(void **state)
{
    (void)state;
    snprintf(purge_root, sizeof(purge_root), "/tmp/purge-test-XXXXXX");
    if (mkdtemp(purge_root) == NULL)
        return -1;
    snprintf(purge_dir, sizeof(purge_dir), "%s/ctl", purge_root);
    return 0;
}

static inline int purge_dir_remove_one(const char *path, const struct stat *st, int type,
                                       struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

static inline int purge_dir_remove(void **state)
{
    (void)state;
    return nftw(purge_root, purge_dir_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline struct purge_limits purge_small_limits(void)
{
    return (struct purge_limits){.scopes_max = 1000,
                                 .records_max = 100000,
                                 .journal_bytes_max = 16 << 20,
                                 .map_bytes = 64 << 20,
                                 .boots_max = (1 << 24) - 1};
}

static inline struct purge *purge_must_open(const struct purge_limits *limits)
{
    struct purge *p = NULL;

    assert_int_equal(purge__open(purge_dir, limits, &p), ERR_OK);
    return p;
}

static inline struct purge *purge_open_small(void)
{
    struct purge_limits limits = purge_small_limits();

    return purge_must_open(&limits);
}

/* Purge one scope; its position. */
static inline uint64_t purge_one(struct purge *p, enum purge_kind kind, const char *text, bool soft)
{
    struct purge_scope scope = {.kind = kind, .text = slice_of(text)};
    uint64_t head = 0;

    assert_int_equal(purge_append(p, &scope, 1, soft, (struct slice){NULL, 0}, &head), ERR_OK);
    return head;
}

static inline enum purge_verdict purge_ask(const struct purge *p, uint64_t birth, const char *url)
{
    struct purge_subject s = {.birth = birth, .purge_url = slice_of(url)};

    return purge_judge(p, &s);
}

#endif
