/* report: what all commands say about nodes: answers on stdout, failures on stderr, and the exit
 * status. */
#ifndef SELVAGE_REPORT_H
#define SELVAGE_REPORT_H

#include <jansson.h>
#include <stdbool.h>

#include "client.h"
#include "text.h"

/*
 * Ask all nodes and hand each answer to `print`, in the order of the nodes; failures are printed
 * here. With --json `print_json` is used instead: one JSON object a line, with the node's admin URL
 * as "admin" first.
 *
 *   print        false: the answer made no sense, which counts as a failure of that node
 *   print_json   NULL: the answer is one JSON object
 *
 * Returns the exit status.
 */
struct report {
    bool (*print)(const struct cli *cli, const struct client_answer *a, const void *user);
    bool (*print_json)(const struct client_answer *a);
    const void *user; /* for `print` */
    /* Called for each answer that is ok, printed either way; NULL: nobody wants it. */
    void (*seen)(const struct cli *cli, const struct client_answer *a, void *seen_user);
    void *seen_user;
};
int report_ask(struct cli *cli, const struct client_request *request, const struct report *report);

/* Print `row` as one line, "admin" first.  False when `row` is no object. */
bool report_json_row(const struct client_answer *a, json_t *row);

/* The body as a JSON object; NULL when it is none.  The caller owns it. */
json_t *report_object(const struct client_answer *a);

/* A heading when there is more than one node to tell apart. */
void report_heading(const struct cli *cli, const struct client_answer *a);

/* Print foreign words, made safe for a terminal.  False when memory ran out. */
bool report_safe(struct slice s, enum text_shape shape);

#endif
