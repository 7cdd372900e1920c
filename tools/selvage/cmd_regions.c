#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "report.h"

static bool print_regions(const struct cli *cli, const struct client_answer *a, const void *user)
{
    json_t *root = report_object(a), *list = json_object_get(root, "regions"), *region;
    bool ok = json_is_array(list);
    size_t i;

    (void)user;
    if (ok)
        report_heading(cli, a);
    if (ok && json_array_size(list) == 0)
        printf("no regions; name a file: geo: {regions: FILE}\n");
    json_array_foreach(list, i, region)
    {
        const char *name = json_string_value(json_object_get(region, "name"));
        const char *hostname = json_string_value(json_object_get(region, "hostname"));
        const char *drained = json_string_value(json_object_get(region, "drained"));

        (void)report_safe(slice_of(name == NULL ? "?" : name), TEXT_ONE_LINE);
        printf("  ");
        (void)report_safe(slice_of(hostname == NULL ? "?" : hostname), TEXT_ONE_LINE);
        printf("  %.4f %.4f", json_number_value(json_object_get(region, "latitude")),
               json_number_value(json_object_get(region, "longitude")));
        if (drained != NULL) {
            printf("  drained by ");
            (void)report_safe(slice_of(drained), TEXT_ONE_LINE);
        }
        printf("%s\n", json_is_true(json_object_get(region, "here")) ? "  (here)" : "");
    }
    json_decref(root);
    return ok;
}

static bool print_drain(const struct cli *cli, const struct client_answer *a, const void *user)
{
    json_t *root = report_object(a), *drained = json_object_get(root, "drained");
    bool ok = json_is_string(drained) || json_is_null(drained);

    (void)cli;
    if (ok)
        printf("%s  %s is %s\n", a->node, (const char *)user,
               json_is_null(drained)                                ? "in use"
               : strcmp(json_string_value(drained), "command") == 0 ? "drained"
                                                                    : "drained by the file");
    json_decref(root);
    return ok;
}

static int change(struct cli *cli, const char *name, bool drain)
{
    json_t *root = json_pack("{s:s, s:b}", "name", name, "drain", (int)drain);
    char *body = root == NULL ? NULL : json_dumps(root, JSON_COMPACT);
    struct client_request request = {
        .path = "/regions", .body = body, .answer_bytes_max = CLIENT_ANSWER_BYTES_MAX};
    struct report report = {.print = print_drain, .user = name};
    int status = CLI_USAGE;

    json_decref(root);
    if (body == NULL)
        return cli_wrong(cli, "`%s` is no name of a region", name);
    if (cli_connect_settings(cli))
        status = report_ask(cli, &request, &report);
    free(body);
    return status;
}

static int list(struct cli *cli)
{
    static const struct report report = {.print = print_regions};
    static const struct client_request request = {
        .path = "/regions", .body = NULL, .answer_bytes_max = CLIENT_ANSWER_BYTES_MAX};

    return cli_connect_settings(cli) ? report_ask(cli, &request, &report) : CLI_USAGE;
}

static int run_regions(struct cli *cli, int argc, char **argv)
{
    static const struct option none[] = {{0}};
    const char *word[2] = {NULL, NULL};
    size_t count = 0;
    int c;

    while ((c = cli_next(cli, argc, argv, "", none)) != CLI_END) {
        if (c == CLI_WRONG)
            return CLI_USAGE;
        if (count == 2)
            return cli_wrong(cli, "`%s`: one region at a time", optarg);
        word[count++] = optarg;
    }
    if (count == 0)
        return list(cli);
    if (strcmp(word[0], "drain") != 0 && strcmp(word[0], "undrain") != 0)
        return cli_wrong(cli, "`%s`: write drain NAME or undrain NAME, or nothing to list them",
                         word[0]);
    if (count == 1)
        return cli_wrong(cli, "which region? Write %s NAME; `selvage regions` lists them", word[0]);
    return change(cli, word[1], word[0][0] == 'd');
}

const struct cli_command cmd_regions = {
    .name = "regions",
    .summary = "list the regions, or take one out of use",
    .synopsis = "regions [drain NAME | undrain NAME]",
    .help = "Without words: lists the regions as every node has them.\n"
            "drain: no node sends clients to that region from now on; it stays so over restarts.\n"
            "undrain: they may be sent there again.  The region's own edges serve whoever comes.\n",
    .run = run_regions,
};
