/* selvage releases, selvage rollback. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cli.h"
#include "release/record.h"
#include "report.h"

enum { PATH_BYTES = 64 + RELEASE_NAME_BYTES, MISDIRECTED = 421 };

static void print_time(int64_t at_ms)
{
    time_t at = (time_t)(at_ms / 1000);
    char text[32] = "?";
    struct tm tm;

    if (gmtime_r(&at, &tm) != NULL)
        strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%SZ", &tm);
    printf("%s", text);
}

static bool print_releases(const struct cli *cli, const struct client_answer *a, const void *user)
{
    json_t *root = report_object(a), *list = json_object_get(root, "releases"), *one;
    bool ok = json_is_array(list);
    char size[TEXT_NUMBER_BYTES];
    size_t i;

    (void)user;
    if (ok)
        report_heading(cli, a);
    if (ok && json_array_size(list) == 0)
        printf("nothing has been published; `selvage publish DIR --site NAME` does\n");
    json_array_foreach(list, i, one)
    {
        const char *site = json_string_value(json_object_get(one, "site"));
        const char *id = json_string_value(json_object_get(one, "release"));

        printf("%s ", json_is_true(json_object_get(one, "in_use")) ? "*" : " ");
        (void)report_safe(slice_of(site == NULL ? "?" : site), TEXT_ONE_LINE);
        printf("  ");
        (void)report_safe(slice_of(id == NULL ? "?" : id), TEXT_ONE_LINE);
        printf("  ");
        print_time(json_integer_value(json_object_get(one, "at_ms")));
        printf("  %lld files, %s\n", (long long)json_integer_value(json_object_get(one, "files")),
               text_size(size, (uint64_t)json_integer_value(json_object_get(one, "bytes"))));
    }
    json_decref(root);
    return ok;
}

static int run_releases(struct cli *cli, int argc, char **argv)
{
    enum { OPTION_SITE = 400 };
    static const struct option longs[] = {{"site", required_argument, NULL, OPTION_SITE}, {0}};
    static const struct report report = {.print = print_releases};
    char path[PATH_BYTES] = "/releases";
    struct client_request request = {.path = path, .answer_bytes_max = CLIENT_LIST_BYTES_MAX};
    int c;

    while ((c = cli_next(cli, argc, argv, "", longs)) != CLI_END) {
        if (c == CLI_WRONG)
            return CLI_USAGE;
        if (c != OPTION_SITE)
            return cli_wrong(cli, "`%s`: takes no words; write --site NAME", optarg);
        if (!release_name_is_valid(slice_of(optarg)))
            return cli_wrong(cli, "`%s` is no name of a site", optarg);
        snprintf(path, sizeof(path), "/releases?site=%s", optarg);
    }
    return cli_connect_settings(cli) ? report_ask(cli, &request, &report) : CLI_USAGE;
}

const struct cli_command cmd_releases = {
    .name = "releases",
    .summary = "list what has been published",
    .synopsis = "releases [--site NAME]",
    .help = "Lists the releases of every node, the one in use with a star.  A node that follows\n"
            "another has the ones in use alone.\n",
    .run = run_releases,
};

/* ---- rollback ---- */

/* On every node that publishes; others hear of it. */
static int roll_back(const struct cli *cli, const struct client_request *request)
{
    size_t done = 0, failed = 0;

    for (size_t i = 0; i < cli->nodes_count; i++) {
        struct cli one = *cli;
        struct client_answer *answer;
        json_t *root;
        const char *site, *id;

        one.nodes[0] = cli->nodes[i];
        one.nodes_count = 1;
        if (client_ask(&one, request, &answer) != ERR_OK) {
            fprintf(stderr, "selvage rollback: out of memory\n");
            return CLI_FAILED;
        }
        root = answer->ok ? report_object(answer) : NULL;
        site = json_string_value(json_object_get(root, "site"));
        id = json_string_value(json_object_get(root, "release"));
        if (site != NULL && id != NULL && cli->json)
            (void)report_json_row(answer, root);
        else if (site != NULL && id != NULL)
            printf("%s  %s serves %s\n", answer->node, site, id);
        else
            fprintf(stderr, "selvage rollback: %s: %s\n", answer->node,
                    answer->ok ? "the answer makes no sense" : answer->error);
        done += site != NULL && id != NULL;
        failed += (site == NULL || id == NULL) && answer->status != MISDIRECTED;
        json_decref(root);
        client_free(&one, answer);
    }
    return done > 0 && failed == 0 ? CLI_DONE : CLI_FAILED;
}

static int run_rollback(struct cli *cli, int argc, char **argv)
{
    enum { OPTION_SITE = 400 };
    static const struct option longs[] = {{"site", required_argument, NULL, OPTION_SITE}, {0}};
    const char *site = NULL, *id = NULL;
    struct client_request request = {.path = "/releases/rollback",
                                     .answer_bytes_max = CLIENT_ANSWER_BYTES_MAX};
    json_t *root;
    char *body;
    int c, status = CLI_USAGE;

    while ((c = cli_next(cli, argc, argv, "", longs)) != CLI_END) {
        if (c == CLI_WRONG)
            return CLI_USAGE;
        if (c == OPTION_SITE)
            site = optarg;
        else if (id != NULL)
            return cli_wrong(cli, "`%s`: one release at a time", optarg);
        else
            id = optarg;
    }
    if (site == NULL)
        return cli_wrong(cli, "for which site? Write --site NAME, as in the sites file");
    if (!release_name_is_valid(slice_of(site)))
        return cli_wrong(cli, "`%s` is no name of a site", site);
    if (id != NULL && !release_name_is_valid(slice_of(id)))
        return cli_wrong(cli, "`%s` is no name of a release; `selvage releases` lists them", id);
    root = id == NULL ? json_pack("{s:s}", "site", site)
                      : json_pack("{s:s, s:s}", "site", site, "release", id);
    request.body = body = root == NULL ? NULL : json_dumps(root, JSON_COMPACT);
    json_decref(root);
    if (body != NULL && cli_connect_settings(cli))
        status = roll_back(cli, &request);
    free(body);
    return status;
}

const struct cli_command cmd_rollback = {
    .name = "rollback",
    .summary = "let a site go back to an earlier release",
    .synopsis = "rollback --site NAME [ID]",
    .help =
        "The site serves the release ID again, or, without one, the release that was published\n"
        "before the one in use.  Nothing is sent: its files are still there.\n",
    .run = run_rollback,
};
