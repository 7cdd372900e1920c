#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "cli.h"
#include "report.h"

enum { LIMIT_DEFAULT = 1000, LIMIT_MAX = 100000, PATH_BYTES_MAX = 65536, OPTION_LIMIT = 512 };

static const struct option options[] = {
    {"limit", required_argument, NULL, OPTION_LIMIT},
    {0},
};

/* Hand each line of the answer to `row`; false at the first that it does not understand. */
static bool each_row(const struct client_answer *a,
                     bool (*row)(const struct client_answer *a, json_t *object), long *out_rows)
{
    struct slice rest = buf_slice(&a->body);

    *out_rows = 0;
    while (rest.n > 0) {
        size_t end = slice_index(rest, '\n');
        json_t *object = end == 0 ? NULL : json_loadb(rest.p, end, 0, NULL);
        bool ok = end == 0 || (json_is_object(object) && row(a, object));

        json_decref(object);
        if (!ok)
            return false;
        *out_rows += end > 0;
        rest = slice_from(rest, end + 1);
    }
    return true;
}

static bool print_row(const struct client_answer *a, json_t *object)
{
    char age[TEXT_NUMBER_BYTES], ttl[TEXT_NUMBER_BYTES], size[TEXT_NUMBER_BYTES];
    json_int_t age_s, ttl_s, bytes, status;
    const char *state, *url;

    (void)a;
    if (json_unpack(object, "{s:I,s:I,s:I,s:I,s:s,s:s}", "age_s", &age_s, "ttl_s", &ttl_s, "size",
                    &bytes, "status", &status, "state", &state, "url", &url) != 0)
        return false;
    printf("%5s  %5s  %7s  %6lld  ", text_duration(age, age_s), text_duration(ttl, ttl_s),
           text_size(size, (uint64_t)bytes), (long long)status);
    (void)report_safe(slice_of(state), TEXT_ONE_LINE);
    printf("%*s", (int)(strlen(state) < 10 ? 10 - strlen(state) : 0) + 2, "");
    (void)report_safe(slice_of(url), TEXT_ONE_LINE);
    printf("\n");
    return true;
}

static bool print_list(const struct cli *cli, const struct client_answer *a, const void *user)
{
    const long *limit = user;
    long rows;

    report_heading(cli, a);
    printf("%5s  %5s  %7s  %6s  %-10s  %s\n", "AGE", "TTL", "SIZE", "STATUS", "STATE", "URL");
    if (!each_row(a, print_row, &rows))
        return false;
    fflush(stdout);
    if (rows >= *limit)
        fprintf(stderr, "%s  lists only the first %ld; --limit shows more\n", a->node, *limit);
    return true;
}

static bool print_list_json(const struct client_answer *a)
{
    long rows;

    return each_row(a, report_json_row, &rows);
}

static int ask(struct cli *cli, const char *prefix, long limit)
{
    const struct report report = {
        .print = print_list, .print_json = print_list_json, .user = &limit};
    struct client_request request = {
        .path = NULL, .body = NULL, .answer_bytes_max = CLIENT_LIST_BYTES_MAX};
    struct buf path;
    int status;

    buf_init(&path, PATH_BYTES_MAX);
    buf_add(&path, SLICE("/ls?prefix="));
    client_add_query(&path, slice_of(prefix));
    buf_addf(&path, "&limit=%ld", limit);
    buf_add_char(&path, '\0');
    request.path = path.p;
    status =
        path.failed ? cli_wrong(cli, "the prefix is too long") : report_ask(cli, &request, &report);
    buf_release(&path);
    return status;
}

static int run_ls(struct cli *cli, int argc, char **argv)
{
    const char *prefix = NULL;
    long limit = LIMIT_DEFAULT;
    int c;

    while ((c = cli_next(cli, argc, argv, "", options)) != CLI_END) {
        if (c == CLI_WRONG)
            return CLI_USAGE;
        if (c == OPTION_LIMIT) {
            if (!cli_number(cli, "--limit", optarg, 1, LIMIT_MAX, &limit))
                return CLI_USAGE;
        } else if (prefix != NULL) {
            return cli_wrong(cli, "one prefix at a time");
        } else {
            prefix = optarg;
        }
    }
    if (prefix == NULL)
        return cli_wrong(cli, "a URL is missing; everything under it is listed");
    if (!cli_is_url(cli, prefix) || !cli_connect_settings(cli))
        return CLI_USAGE;
    return ask(cli, prefix, limit);
}

const struct cli_command cmd_ls = {
    .name = "ls",
    .summary = "list stored objects under a URL",
    .synopsis = "ls URL-PREFIX [--limit N]",
    .help = "Lists what nodes hold under a URL: age, lifetime, size, status, state and URL.\n"
            "\n"
            "  --limit N  at most N objects of each node; default 1000\n",
    .run = run_ls,
};
