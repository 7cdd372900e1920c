/*
 * client: one HTTP request to the admin interface of every node, all at once.
 *
 * Knows HTTP and libcurl, not what the answers mean.  What it sends may be sent twice:
 * every request here is idempotent (purges carry an id), so one whose connection ended
 * without an answer is tried once more.  Redirects are not followed and proxies not used:
 * the token is for the node alone.
 *
 * Blocks until every node has answered, failed or run out of time.  One thread.
 */
#ifndef SELVAGE_CLIENT_H
#define SELVAGE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "cli.h"

enum { CLIENT_ANSWER_BYTES_MAX = 1 << 20, CLIENT_LIST_BYTES_MAX = 64 << 20 };

struct client_request {
    const char *path; /* with query */
    const char *body; /* JSON: a POST; NULL: a GET, unless there is data */
    size_t answer_bytes_max;
    struct slice data;     /* bytes instead: a POST; p == NULL: none */
    const char *data_type; /* their content type */
};

struct client_answer {
    const char *node; /* borrowed from the settings */
    bool ok;          /* status 200, whole */
    long status;      /* 0: there was no answer */
    int64_t ms;       /* from the start to the last byte or the failure */
    struct buf body;  /* owned */
    char error[1024]; /* why not ok, and what to do about it; one line of printable ASCII */
};

/*
 * Ask every node of `cli`, whose settings have been found.
 *
 *   out_answers   cli->nodes_count of them, in the order of the nodes; owned by the caller, ends
 * with client_free()
 *
 * ERR_NOMEM: nothing was asked.  Failures of single nodes are in their answers.
 */
NODISCARD enum err client_ask(const struct cli *cli, const struct client_request *request,
                              struct client_answer **out_answers);
void client_free(const struct cli *cli, struct client_answer *answers); /* NULL is fine */

/* `s` as the value of a query parameter: what is not unreserved (RFC 3986 section 2.3) becomes %XX.
 */
void client_add_query(struct buf *b, struct slice s);

#endif
