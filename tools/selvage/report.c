#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *report_object(const struct client_answer *a)
{
    json_t *root = json_loadb(a->body.p == NULL ? "" : a->body.p, a->body.n, 0, NULL);

    if (json_is_object(root))
        return root;
    json_decref(root);
    return NULL;
}

bool report_json_row(const struct client_answer *a, json_t *row)
{
    json_t *line;
    bool ok;

    if (!json_is_object(row))
        return false;
    line = json_pack("{s:s}", "admin", a->node);
    ok = line != NULL && json_object_update(line, row) == 0 &&
         json_dumpf(line, stdout, JSON_COMPACT) == 0 && putchar('\n') != EOF;
    json_decref(line);
    return ok;
}

static bool print_object(const struct client_answer *a)
{
    json_t *root = report_object(a);
    bool ok = report_json_row(a, root);

    json_decref(root);
    return ok;
}

void report_heading(const struct cli *cli, const struct client_answer *a)
{
    if (cli->nodes_count > 1)
        printf("%s%s\n", a->node == cli->nodes[0] ? "" : "\n", a->node);
}

bool report_safe(struct slice s, enum text_shape shape)
{
    struct buf safe;
    bool ok;

    buf_init(&safe, TEXT_SAFE_BYTES(s.n));
    text_add_safe(&safe, s, shape);
    ok = !safe.failed;
    if (ok && safe.n > 0)
        fwrite(safe.p, 1, safe.n, stdout);
    buf_release(&safe);
    return ok;
}

/* With --json to stdout as well: a script that reads lines gets one for every node. */
static void print_failure(const struct cli *cli, const struct client_answer *a, const char *error)
{
    json_t *line;

    fflush(stdout); /* on a terminal the lines stay in the order of the nodes */
    fprintf(stderr, "%s  FAILED: %s\n", a->node, error);
    if (!cli->json)
        return;
    line = json_pack("{s:s,s:s}", "admin", a->node, "error", error);
    if (line != NULL && json_dumpf(line, stdout, JSON_COMPACT) == 0)
        putchar('\n');
    json_decref(line);
}

int report_ask(struct cli *cli, const struct client_request *request, const struct report *report)
{
    struct client_answer *answers = NULL;
    int status = CLI_DONE;

    if (client_ask(cli, request, &answers) != ERR_OK) {
        fprintf(stderr, "selvage: out of memory; nothing was asked\n");
        return CLI_FAILED;
    }
    for (size_t i = 0; i < cli->nodes_count; i++) {
        const struct client_answer *a = &answers[i];
        bool ok = a->ok;

        if (!a->ok)
            print_failure(cli, a, a->error);
        else if (!cli->json)
            ok = report->print(cli, a, report->user);
        else
            ok = report->print_json == NULL ? print_object(a) : report->print_json(a);
        if (a->ok && !ok)
            print_failure(cli, a, "its answer cannot be understood; is it the same version?");
        if (!ok)
            status = CLI_FAILED;
        else if (report->seen != NULL)
            report->seen(cli, a, report->seen_user);
    }
    client_free(cli, answers);
    return status;
}
