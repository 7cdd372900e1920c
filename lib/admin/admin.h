/*
 * admin: the admin interface: a router, tokens, and one file per resource.
 *
 * Plain requests in, plain responses out: it knows no sockets and no libh2o.  The
 * server calls admin_handle() on the ctl thread; a handler may block on the disk.
 *
 * Every path but /healthz and, when no token is configured, everything on a loopback listener, needs
 * a bearer token (RFC 6750), compared in constant time.
 */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "config/config.h"

struct files;
struct geo_drains;
struct purge;
struct releases;
struct store;
struct store_reader;

struct admin_request { /* borrowed for the call */
    struct slice method, path, query;
    struct slice authorization; /* value of the field, or empty */
    struct slice content_type, host, origin; /* Host and Origin fields: cross-site requests from a browser are refused */
    struct slice body;
};

struct admin_response {
    int status;
    const char *content_type; /* static */
    const char *location;     /* static or NULL */
    const char *allow;        /* value of the field Allow; static or NULL */
    const char *challenge;    /* value of the field WWW-Authenticate; static or NULL */
    unsigned retry_after_s;   /* value of the field Retry-After; 0: none */
    struct buf body;          /* owned by the caller, initialised by admin_handle(), ends with buf_release() */
};

/* What the rest of the daemon tells; filled by the server, by fakes in tests.  All on the ctl thread. */
struct admin_backend {
    /* Text of /readyz and whether it is ready. */
    bool (*ready)(void *user, struct buf *out);
    /*
     * Explain a GET of `url` (absolute) with request fields `fields` ("name: value" lines, may be empty): text into `out`.
     * ERR_NOT_FOUND: no site has that host.  ERR_INVALID: no URL.
     */
    enum err (*explain)(void *user, struct slice url, struct slice fields, struct buf *out);
    /* One line of `ls` about a stored head: age and lifetime left in seconds (negative when stale), status. False when it is none of ours. */
    bool (*head_facts)(void *user, struct slice head, int64_t *age_s, int64_t *ttl_s, int *status);
    /* The journal's position and the nodes that follow it, as a JSON object. */
    void (*members)(void *user, struct buf *out);
    /* Of a node that follows: the owner's name, and the address of its admin interface, as it said.  Empty: it has not been heard. */
    void (*owner)(void *user, struct slice *node, struct slice *admin);
    /* A site has switched to another release: nodes that follow must hear of it. */
    void (*released)(void *user);
    void *user;
};

struct admin;

struct admin_options {
    struct purge *purge;         /* borrowed until admin_free() */
    struct store *store;         /* borrowed until admin_free() */
    struct files *files;         /* borrowed until admin_free(); NULL: nothing can be published */
    struct releases *releases;   /* borrowed until admin_free(); with `files` */
    struct geo_drains *drains;   /* borrowed until admin_free(); NULL: regions cannot be drained */
    struct admin_backend backend;
    const char *version;
};

NODISCARD enum err admin_new(const struct admin_options *opt, struct admin **out);
void admin_free(struct admin *a); /* NULL is fine */

/* Use the tokens, sites and names of this configuration from now on; a reference is taken.  Ctl thread. */
void admin_set_config(struct admin *a, struct config *c);

/* Handle one request; the response is always filled in.  Ctl thread. */
void admin_handle(struct admin *a, const struct admin_request *rq, struct admin_response *out);

/* Is `listen` ("127.0.0.1:9180") a loopback address?  Others need a token before the daemon starts. */
bool admin_is_loopback(const char *listen);

#endif
