#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "report.h"

enum { FIELDS_MAX = 100 };

/* "name: value" as a request would have it (RFC 9110 sections 5.1 and 5.5). */
static bool is_field(const char *text)
{
    size_t name = strspn(text, "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               "abcdefghijklmnopqrstuvwxyz");

    return name > 0 && text[name] == ':' && strpbrk(text, "\r\n") == NULL;
}

static bool add_field(const struct cli *cli, json_t *fields, const char *text)
{
    if (json_array_size(fields) == FIELDS_MAX) {
        cli_wrong(cli, "more than %d fields", FIELDS_MAX);
        return false;
    }
    if (!is_field(text)) {
        cli_wrong(cli, "`%s` is not a field; write it as in -H 'accept-language: de'", text);
        return false;
    }
    if (json_array_append_new(fields, json_string(text)) != 0) {
        cli_wrong(cli, "`%s` is not UTF-8", text);
        return false;
    }
    return true;
}

static bool print_explanation(const struct cli *cli, const struct client_answer *a,
                              const void *user)
{
    (void)user;
    report_heading(cli, a);
    if (!report_safe(buf_slice(&a->body), TEXT_LINES))
        return false;
    if (a->body.n > 0 && a->body.p[a->body.n - 1] != '\n')
        printf("\n");
    return a->body.n > 0;
}

static bool print_json(const struct client_answer *a)
{
    json_t *row = json_pack("{s:s#}", "text", a->body.p == NULL ? "" : a->body.p, (int)a->body.n);
    bool ok = report_json_row(a, row);

    json_decref(row);
    return ok;
}

static int ask(struct cli *cli, const char *url, json_t *fields)
{
    static const struct report report = {.print = print_explanation, .print_json = print_json};
    json_t *root = json_pack("{s:s,s:O}", "url", url, "fields", fields);
    char *body = root == NULL ? NULL : json_dumps(root, JSON_COMPACT);
    struct client_request request = {
        .path = "/explain", .body = body, .answer_bytes_max = CLIENT_ANSWER_BYTES_MAX};
    int status = body == NULL ? cli_wrong(cli, "the URL is not UTF-8; write other bytes as %%XX")
                              : report_ask(cli, &request, &report);

    free(body);
    json_decref(root);
    return status;
}

static bool read_words(struct cli *cli, int argc, char **argv, const char **url, json_t *fields)
{
    static const struct option options[] = {{"header", required_argument, NULL, CLI_HEADER}, {0}};
    int c;

    while ((c = cli_next(cli, argc, argv, "H:", options)) != CLI_END) {
        if (c == CLI_WRONG)
            return false;
        if (c == CLI_HEADER) {
            if (!add_field(cli, fields, optarg))
                return false;
        } else if (*url != NULL) {
            cli_wrong(cli, "one URL at a time");
            return false;
        } else {
            *url = optarg;
        }
    }
    if (*url == NULL)
        cli_wrong(cli, "a URL is missing");
    return *url != NULL && cli_is_url(cli, *url);
}

static int run_explain(struct cli *cli, int argc, char **argv)
{
    json_t *fields = json_array();
    const char *url = NULL;
    int status = CLI_USAGE;

    if (fields != NULL && read_words(cli, argc, argv, &url, fields) && cli_connect_settings(cli))
        status = ask(cli, url, fields);
    json_decref(fields);
    return status;
}

const struct cli_command cmd_explain = {
    .name = "explain",
    .summary = "say what a node would do with a request, and why",
    .synopsis = "explain URL [-H 'FIELD: VALUE'] ...",
    .help =
        "Says what each node would do with a GET of the URL and why: the site and the rule, the\n"
        "key, the stored object, what the origin said about it, and the decision.  Nothing is\n"
        "fetched and nothing changes.\n"
        "\n"
        "  -H, --header 'FIELD: VALUE'  a field of the request; repeat it for more\n",
    .run = run_explain,
};
