/* What the files of this folder share: one struct, one route table, one file per resource. */
#ifndef ADMIN_ADMIN_PRIV_H
#define ADMIN_ADMIN_PRIV_H

#include "admin/admin.h"
#include "base/digest.h"
#include "purge/purge.h"
#include "site/site.h"
#include "store/store.h"

enum {
    ADMIN_ANSWER_BYTES_MAX = 1 << 20,
    ADMIN_LIST_BYTES_MAX = 32 << 20, /* of `ls`: what lies beyond is cut after a whole line */
    ADMIN_PURGES_BURST = 100,        /* of one token */
    ADMIN_PURGES_PER_S = 10,
    ADMIN_WIDE_EVERY_MS = 60000, /* purges of everything, of one token */
};

/* One configured token, and what it has used up. */
struct admin_token {
    const struct config_token *config;         /* borrowed from admin.config */
    unsigned char digest[DIGEST_SHA256_BYTES]; /* of its secret */
    int64_t purges_milli; /* thousandths of a purge that it may still ask for */
    int64_t refilled_ms;
    int64_t all_after_ms; /* not another purge of everything before */
};

struct admin {
    struct admin_options opt;
    struct store_reader *reader;
    int64_t started_ms;
    int64_t (*now_ms)(void); /* tests turn it by hand */

    /* Of the configuration: changed as a whole by admin_set_config(). */
    struct config *config; /* a reference; NULL before the first */
    struct sites *sites;   /* NULL when memory was short: then restricted tokens may nothing */
    struct site *site_list;
    struct admin_token *tokens;
};

/* Who asks, of the request now handled. */
struct admin_caller {
    struct admin_token *token; /* NULL: no tokens are configured, everything is allowed */
};

/* A request as the handlers see it. */
struct admin_call {
    struct admin *admin;
    const struct admin_request *request;
    struct admin_caller who;
    struct admin_response *response;
};

/* ---- answers ---- */

/* Answer with `status` and {"error": ...}: one sentence that says what to do. */
void admin__refuse(struct admin_call *c, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* 421: this node follows, and `what` (such as "purge") is its owner's to do; where, and how. */
void admin__refuse_for_owner(struct admin_call *c, const char *what);

/* ---- who may what (auth.c) ---- */

/* Look at Origin, Host and Authorization.  False: refused, the answer is written. */
bool admin__authenticate(struct admin_call *c);

/* Is `host` (as url_host() wrote it) one of a site that the caller may touch? */
bool admin__may_touch_host(const struct admin_call *c, struct slice host);
bool admin__may_touch_site(const struct admin_call *c, const char *name);
bool admin__may_touch_all(const struct admin_call *c); /* not restricted to sites */

/* Take one purge from the caller's rate; false: `*retry_after_s` says when there will be one. */
bool admin__take_purge(struct admin_call *c, unsigned *retry_after_s);
/* The same for a purge of everything, which is taken once it holds. */
bool admin__may_take_all(const struct admin_call *c, unsigned *retry_after_s);
void admin__take_all(struct admin_call *c);

/* ---- resources, one file each ---- */

void admin__healthz(struct admin_call *c);
void admin__readyz(struct admin_call *c);
void admin__status(struct admin_call *c);
void admin__members(struct admin_call *c);
void admin__metrics(struct admin_call *c);
void admin__purge(struct admin_call *c);
void admin__ls(struct admin_call *c);
void admin__regions(struct admin_call *c);
void admin__regions_drain(struct admin_call *c);
void admin__explain(struct admin_call *c);
void admin__releases(struct admin_call *c);
void admin__releases_missing(struct admin_call *c);
void admin__releases_files(struct admin_call *c);
void admin__releases_publish(struct admin_call *c);
void admin__releases_rollback(struct admin_call *c);

/*
 * Append one line of `ls`: the object under `row` as JSON.  False when it is nothing to list: a
 * marker, or a head that is none of ours.
 */
bool admin__ls_line(const struct admin_backend *backend, const struct store_row *row,
                    struct buf *out);

/*
 * The value of `name` in a query string, with %XX decoded, appended to `out`.  ERR_NOT_FOUND: it is
 * not there.  ERR_INVALID: a bad escape, or too long.
 */
NODISCARD enum err admin__query_value(struct slice query, struct slice name, struct buf *out);

#endif
