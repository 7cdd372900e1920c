#include <jansson.h>
#include <stdio.h>

#include "cli.h"
#include "report.h"

static void print_text(const char *label, json_t *value)
{
    const char *s = json_string_value(value);

    printf("  %-8s", label);
    (void)report_safe(slice_of(s == NULL ? "?" : s), TEXT_ONE_LINE);
}

static long long number(json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

static void print_node(json_t *root)
{
    char up[TEXT_NUMBER_BYTES];

    print_text("node", json_object_get(root, "node"));
    printf(", selvage ");
    (void)report_safe(slice_of(json_string_value(json_object_get(root, "version"))), TEXT_ONE_LINE);
    printf(", up %s\n", text_duration(up, number(root, "uptime_s")));
}

static void print_ready(json_t *root)
{
    struct slice text = slice_of(json_string_value(json_object_get(root, "ready_text")));

    printf("  ready   %s", json_is_true(json_object_get(root, "ready")) ? "yes" : "NO");
    while (text.n > 0 && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == ' '))
        text.n--;
    if (text.n > 0)
        printf(": ");
    while (text.n > 0) { /* later lines stand below the first */
        size_t end = slice_index(text, '\n');

        (void)report_safe(slice_head(text, end), TEXT_ONE_LINE);
        text = slice_from(text, end + 1);
        if (text.n > 0)
            printf("\n          ");
    }
    printf("\n");
}

static void print_purges(json_t *root)
{
    json_t *p = json_object_get(root, "positions");

    printf("  purges  up to %lld-%lld, journal from %lld, %lld scopes\n", number(p, "epoch"),
           number(p, "n"), number(p, "first"), number(root, "scopes"));
}

static void print_store(json_t *root)
{
    json_t *s = json_object_get(root, "store");
    char used[TEXT_NUMBER_BYTES], size[TEXT_NUMBER_BYTES], queue[TEXT_NUMBER_BYTES];

    printf("  store   %lld objects, %s of %s, %s, %s waiting to be written\n", number(s, "objects"),
           text_size(used, (uint64_t)number(s, "used_bytes")),
           text_size(size, (uint64_t)number(s, "size_bytes")),
           json_is_true(json_object_get(s, "writable")) ? "writable" : "NOT WRITABLE",
           text_size(queue, (uint64_t)number(s, "queue_bytes")));
}

/* A site is its name, or an object that has one. */
static void print_sites(json_t *root)
{
    json_t *sites = json_object_get(root, "sites"), *site;
    size_t i;

    printf("  sites   ");
    json_array_foreach(sites, i, site)
    {
        const char *name =
            json_string_value(json_is_object(site) ? json_object_get(site, "name") : site);

        printf("%s", i == 0 ? "" : ", ");
        (void)report_safe(slice_of(name == NULL ? "?" : name), TEXT_ONE_LINE);
    }
    printf("%s\n", json_array_size(sites) == 0 ? "none" : "");
}

static bool print_status(const struct cli *cli, const struct client_answer *a, const void *user)
{
    json_t *root = report_object(a);
    bool ok = json_is_string(json_object_get(root, "version")) &&
              json_is_object(json_object_get(root, "positions")) &&
              json_is_object(json_object_get(root, "store"));

    (void)user;
    if (ok) {
        printf("%s%s  (%lld ms)\n", a->node == cli->nodes[0] ? "" : "\n", a->node,
               (long long)a->ms);
        print_node(root);
        print_ready(root);
        print_purges(root);
        print_store(root);
        print_sites(root);
    }
    json_decref(root);
    return ok;
}

static int run_status(struct cli *cli, int argc, char **argv)
{
    static const struct option none[] = {{0}};
    static const struct report report = {.print = print_status};
    static const struct client_request request = {
        .path = "/status", .body = NULL, .answer_bytes_max = CLIENT_ANSWER_BYTES_MAX};
    int c = cli_next(cli, argc, argv, "", none);

    if (c != CLI_END)
        return c == CLI_WRONG ? CLI_USAGE : cli_wrong(cli, "`%s`: takes no words", optarg);
    return cli_connect_settings(cli) ? report_ask(cli, &request, &report) : CLI_USAGE;
}

const struct cli_command cmd_status = {
    .name = "status",
    .summary = "how nodes are: ready, purges, store, sites",
    .synopsis = "status",
    .help = "Shows for every node its name and version, whether it is ready, up to which position\n"
            "it has purged, how full its store is, and its sites.\n",
    .run = run_status,
};
