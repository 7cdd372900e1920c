/*
 * purge_body: the JSON of POST /purge as scopes in the form that purge_append() wants.  Pure.
 */
#ifndef ADMIN_PURGE_BODY_H
#define ADMIN_PURGE_BODY_H

#include "base/arena.h"
#include "base/buf.h"
#include "purge/purge.h"

struct purge_body {
    struct purge_scope *scopes; /* in the arena, as all text */
    struct slice *targets;      /* of each that is a URL: its path and query as they were written */
    size_t count;
    bool soft;
    struct slice id; /* empty: none */
};

/*
 * Read `json`.  ERR_INVALID: `why` has one sentence for the sender.  ERR_LIMIT: the arena is full.
 */
NODISCARD enum err purge_body_parse(struct slice json, struct arena *a, struct purge_body *out,
                                    struct buf *why);

/*
 * The host and purge form of an absolute URL, or of one without its scheme ("host/path"), in the
 * arena.  ERR_INVALID: it is none.  ERR_LIMIT: the arena is full, or it is too long.
 */
NODISCARD enum err purge_body_url(struct slice url, struct arena *a, struct slice *out_host,
                                  struct slice *out_form);

/* Does the prefix `form` cover a whole host ("host/")? */
bool purge_body_is_whole_host(struct slice form);

#endif
