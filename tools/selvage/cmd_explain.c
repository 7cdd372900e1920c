#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "cli.h"
#include "http/debug_field.h"
#include "http/url.h"
#include "report.h"

enum {
    FIELDS_MAX = 100,
    SECRET_BYTES_MAX = 4096,
    SIGNED_FOR_S = 600,
    SIGNED_FOR_S_MAX = HTTP_DEBUG_DAYS_MAX * 86400,
    OPTION_SIGN = 300, /* those of all commands are below */
    OPTION_FOR,
};

struct words {
    const char *url, *secret_file;
    long signed_for_s;
    json_t *fields; /* owned */
};

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

/* The field that makes an answer explain itself, for curl and browsers. */
static int print_signed(struct cli *cli, const struct words *w)
{
    char *text = NULL, field[HTTP_DEBUG_FIELD_BYTES];
    struct url_parts url;
    struct slice secret, path;
    size_t bytes = 0;

    if (url_parse_absolute(slice_of(w->url), &url) != ERR_OK)
        return cli_wrong(cli, "`%s` is no URL; write it as https://host/path", w->url);
    if (file_read_all(w->secret_file, SECRET_BYTES_MAX, &text, &bytes) != ERR_OK) {
        fprintf(stderr, "selvage: %s cannot be read; it is the file of explain.secret\n",
                w->secret_file);
        return CLI_FAILED;
    }
    secret = slice_trim((struct slice){text, bytes});
    while (secret.n > 0 && (secret.p[secret.n - 1] == '\n' || secret.p[secret.n - 1] == '\r'))
        secret.n--;
    path = slice_head(url.target, url_path_bytes(url.target));
    bytes =
        http_debug_field_make(path, secret, clock_now().wall_ms / 1000 + w->signed_for_s, field);
    printf("Selvage-Debug: %.*s\n", (int)bytes, field);
    free(text);
    return CLI_DONE;
}

static bool read_seconds(const struct cli *cli, const char *text, long *out)
{
    char *end;

    *out = strtol(text, &end, 10);
    if (*text >= '0' && *text <= '9' && *end == '\0' && *out >= 1 && *out <= SIGNED_FOR_S_MAX)
        return true;
    cli_wrong(cli, "--for %s is no number of seconds from 1 to %d", text, SIGNED_FOR_S_MAX);
    return false;
}

static bool read_words(struct cli *cli, int argc, char **argv, struct words *w)
{
    static const struct option options[] = {{"header", required_argument, NULL, CLI_HEADER},
                                            {"sign", required_argument, NULL, OPTION_SIGN},
                                            {"for", required_argument, NULL, OPTION_FOR},
                                            {0}};
    int c;

    while ((c = cli_next(cli, argc, argv, "H:", options)) != CLI_END) {
        if (c == CLI_WRONG)
            return false;
        if (c == CLI_HEADER) {
            if (!add_field(cli, w->fields, optarg))
                return false;
        } else if (c == OPTION_SIGN) {
            w->secret_file = optarg;
        } else if (c == OPTION_FOR) {
            if (!read_seconds(cli, optarg, &w->signed_for_s))
                return false;
        } else if (w->url != NULL) {
            cli_wrong(cli, "one URL at a time");
            return false;
        } else {
            w->url = optarg;
        }
    }
    if (w->url == NULL)
        cli_wrong(cli, "a URL is missing");
    return w->url != NULL && cli_is_url(cli, w->url);
}

static int run_explain(struct cli *cli, int argc, char **argv)
{
    struct words w = {.signed_for_s = SIGNED_FOR_S, .fields = json_array()};
    int status = CLI_USAGE;

    if (w.fields != NULL && read_words(cli, argc, argv, &w)) {
        if (w.secret_file != NULL)
            status = print_signed(cli, &w);
        else if (cli_connect_settings(cli))
            status = ask(cli, w.url, w.fields);
    }
    json_decref(w.fields);
    return status;
}

const struct cli_command cmd_explain = {
    .name = "explain",
    .summary = "say what a node would do with a request, and why",
    .synopsis = "explain URL [-H 'FIELD: VALUE'] ...\n"
                "       selvage explain --sign FILE [--for SECONDS] URL",
    .help = "Says what each node would do with a GET of the URL and why: the "
            "site and the rule, the\n"
            "key, the stored object, what the origin said about it, and the "
            "decision.  Nothing is\n"
            "fetched and nothing changes.\n"
            "\n"
            "  -H, --header 'FIELD: VALUE'  a field of the request; repeat it "
            "for more\n"
            "\n"
            "With --sign no node is asked: what is printed is a request field "
            "that makes an answer for\n"
            "this path say the same in Selvage-Explain.  FILE holds the node's "
            "explain.secret.\n"
            "\n"
            "  --sign FILE                  print a signed Selvage-Debug\n"
            "  --for SECONDS                how long it is good; default: 600, "
            "at most a week\n",
    .run = run_explain,
};
