/*
 * recent: the answers to the last requests, by their ids: a request that is sent again counts once.
 *
 * Filled from the journal at open, record by record, so that it survives a restart.  One thread.
 */
#ifndef PURGE_RECENT_H
#define PURGE_RECENT_H

#include "purge/record.h"

enum { RECENT_RECORDS = 1000 };

struct recent_entry {
    uint64_t fingerprint, answer;
    size_t id_bytes; /* 0: the request had no id */
    char id[PURGE_REQUEST_ID_BYTES_MAX];
};

struct recent {
    struct recent_entry ring[RECENT_RECORDS];
    size_t at; /* the oldest: the next to be replaced */
};

void recent_add(struct recent *r, struct slice id, uint64_t fingerprint, uint64_t answer);

/* False for an empty id, and for one that came with other scopes: that is another request, and must
 * hold too. */
bool recent_find(const struct recent *r, struct slice id, uint64_t fingerprint,
                 uint64_t *out_answer);

#endif
