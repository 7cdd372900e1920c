/*
 * receipt: where a purge holds: at each node that follows the journal of the one that took it.
 */
#ifndef SELVAGE_RECEIPT_H
#define SELVAGE_RECEIPT_H

#include <stdint.h>

#include "cli.h"
#include "client.h"

struct receipt; /* positions of one purge, at each node that was asked */

/* Owned by the caller; NULL when out of memory. */
struct receipt *receipt_new(const struct cli *cli);
void receipt_free(struct receipt *r); /* NULL is fine */

/* The answer of a node to the purge. */
void receipt_note(const struct cli *cli, const struct client_answer *a, void *receipt);

/*
 * Ask until all members have applied it, at most `timeout_ms`, and print a line for each.  The
 * exit status: CLI_DONE when it holds everywhere.
 */
int receipt_wait(struct cli *cli, struct receipt *r, int64_t timeout_ms);

#endif
