#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "cli.h"
#include "report.h"
#include "text.h"

enum { ERRORS_BYTES_MAX = 1 << 20, SUMMARY_BYTES_MAX = 65536, NAMES_MAX = 10, LINE_BYTES = 256 };

/* Does `line` begin a key at the left edge?  Then *out is its name, without quotes. */
static bool top_level_key(const char *line, struct slice *out)
{
    const char *end = strchr(line, ':');
    struct slice key;

    if (end == NULL || line[0] == '#' || line[0] == '-' || isspace((unsigned char)line[0]))
        return false;
    key = slice_trim((struct slice){line, (size_t)(end - line)});
    if (key.n > 1 && (key.p[0] == '"' || key.p[0] == '\'') && key.p[key.n - 1] == key.p[0])
        key = (struct slice){key.p + 1, key.n - 2};
    *out = key;
    return true;
}

/*
 * A sites file has no top-level key but `sites`, and a node's file cannot do without others.
 * Reading lines is enough to choose the loader; whether the file is sound is the loader's to say.
 */
static bool is_sites_file(FILE *f)
{
    char line[LINE_BYTES];
    bool at_start = true, has_sites = false, has_other = false;
    struct slice key;

    while (fgets(line, sizeof(line), f) != NULL) {
        if (at_start && top_level_key(line, &key)) {
            has_sites = has_sites || slice_eq(key, SLICE("sites"));
            has_other = has_other || !slice_eq(key, SLICE("sites"));
        }
        at_start = strchr(line, '\n') != NULL; /* the rest of a long line is not a line */
    }
    return has_sites && !has_other;
}

static const char *plural(size_t n)
{
    return n == 1 ? "" : "s";
}

static void add_listen(struct buf *b, const struct config *c)
{
    buf_add(b, SLICE("Listens on "));
    for (size_t i = 0; i < c->listen_count; i++) {
        const struct config_listen *l = &c->listen[i];

        buf_addf(b, "%s%s%s",
                 i == 0                     ? ""
                 : i + 1 == c->listen_count ? " and "
                                            : ", ",
                 l->address,
                 l->peers == CONFIG_PEERS_CERTIFICATE ? " (peers with certificates)"
                 : l->peers == CONFIG_PEERS_SECRET    ? " (peers with the secret)"
                 : l->certificates != NULL            ? " (TLS)"
                 : l->redirect                        ? " (redirects to https)"
                                                      : " (plain)");
    }
    buf_addf(b, "; admin on %s with %zu token%s", c->admin_listen, c->tokens_count,
             plural(c->tokens_count));
}

static void add_sites(struct buf *b, const struct config *c)
{
    size_t hosts = 0, rules = 0;

    for (size_t i = 0; i < c->sites_count; i++) {
        hosts += c->sites[i].hosts.count;
        rules += c->sites[i].rules_count;
    }
    buf_addf(b, "%zu site%s with %zu host%s and %zu rule%s", c->sites_count, plural(c->sites_count),
             hosts, plural(hosts), rules, plural(rules));
    for (size_t i = 0; i < c->sites_count && i < NAMES_MAX; i++)
        buf_addf(b, "%s%s", i == 0 ? ": " : ", ", c->sites[i].name);
    buf_add(b, c->sites_count > NAMES_MAX ? SLICE(" ...") : SLICE(""));
    buf_add(b, SLICE(".\n"));
}

static void print_summary(const char *file, const struct config *c, bool sites_only)
{
    char size[TEXT_NUMBER_BYTES];
    struct buf b;

    buf_init(&b, SUMMARY_BYTES_MAX);
    if (!sites_only) {
        add_listen(&b, c);
        buf_addf(&b, "; store in %s, %s; ", c->store_directory, text_size(size, c->store_size));
    }
    add_sites(&b, c);
    printf("%s: ok\n", file);
    fwrite(b.p, 1, b.n, stdout);
    buf_release(&b);
}

/* ---- beside what nodes have ---- */

struct comparison {
    uint64_t sites_hash;
    bool differs;
};

static bool read_hash(const struct client_answer *a, uint64_t *out)
{
    json_t *root = report_object(a);
    const char *text = json_string_value(json_object_get(root, "sites_hash"));
    char *end = NULL;

    if (text != NULL)
        *out = strtoull(text, &end, 16);
    end = text == NULL || end == text || *end != '\0' ? NULL : end;
    json_decref(root);
    return end != NULL;
}

static bool print_comparison(const struct cli *cli, const struct client_answer *a, const void *user)
{
    const struct comparison *c = user;
    uint64_t hash;

    (void)cli;
    if (!read_hash(a, &hash))
        return false;
    printf("%s  %s\n", a->node,
           hash == c->sites_hash ? "has the same sites"
                                 : "has OTHER sites: give it the same file, and reload it");
    return true;
}

static void compare(const struct cli *cli, const struct client_answer *a, void *user)
{
    struct comparison *c = user;
    uint64_t hash;

    (void)cli;
    c->differs = c->differs || !read_hash(a, &hash) || hash != c->sites_hash;
}

static int check_against(struct cli *cli, uint64_t sites_hash)
{
    static const struct client_request request = {.path = "/status",
                                                  .answer_bytes_max = CLIENT_ANSWER_BYTES_MAX};
    struct comparison c = {.sites_hash = sites_hash};
    struct report report = {
        .print = print_comparison, .user = &c, .seen = compare, .seen_user = &c};
    int status;

    if (!cli_connect_settings(cli))
        return CLI_USAGE;
    status = report_ask(cli, &request, &report);
    return c.differs ? CLI_FAILED : status;
}

static int check(struct cli *cli, const char *file, bool against)
{
    struct config *c = NULL;
    int status = CLI_DONE;
    struct buf errors;
    bool sites_only;
    enum err e;
    FILE *f = fopen(file, "re");

    if (f == NULL) {
        fprintf(stderr, "%s: %s\n", file, strerror(errno));
        return CLI_FAILED;
    }
    sites_only = is_sites_file(f);
    fclose(f);
    buf_init(&errors, ERRORS_BYTES_MAX);
    e = sites_only ? config_load_sites(file, &c, &errors) : config_load(file, &c, &errors);
    if (errors.n > 0)
        fwrite(errors.p, 1, errors.n, stderr);
    if (e != ERR_OK && errors.n == 0)
        fprintf(stderr, "%s: %s\n", file, err_name(e));
    buf_release(&errors);
    if (e != ERR_OK)
        return CLI_FAILED;
    if (cli->json)
        printf("{\"ok\":true}\n");
    else
        print_summary(file, c, sites_only);
    if (against)
        status = check_against(cli, c->sites_hash);
    config_unref(c);
    return status;
}

static int run_check(struct cli *cli, int argc, char **argv)
{
    enum { OPTION_AGAINST = 1000 }; /* beside those that every command has */
    static const struct option longs[] = {{"against", required_argument, NULL, OPTION_AGAINST},
                                          {0}};
    const char *file = NULL;
    bool against = false;
    int c;

    while ((c = cli_next(cli, argc, argv, "", longs)) != CLI_END) {
        if (c == CLI_WRONG)
            return CLI_USAGE;
        if (c == OPTION_AGAINST) {
            if (cli->nodes_count == CLI_NODES_MAX)
                return cli_wrong(cli, "too many nodes");
            cli->nodes[cli->nodes_count++] = optarg;
            against = true;
        } else if (file != NULL) {
            return cli_wrong(cli, "one file at a time");
        } else {
            file = optarg;
        }
    }
    return file == NULL ? cli_wrong(cli, "a file is missing") : check(cli, file, against);
}

const struct cli_command cmd_check = {
    .name = "check",
    .summary = "check a configuration file before a node reads it",
    .synopsis = "check FILE [--against NODE]",
    .help = "Reads FILE, and the files it names, as the daemons would, and prints everything that\n"
            "is wrong.  FILE is a node's file or a sites file.  What is in certificates and geo\n"
            "databases `selvage-edge --check` looks at.  Asks no node, but for:\n"
            "  --against NODE   an admin URL, and again: has that node the same sites?  Before a\n"
            "                   roll-out, and after it\n",
    .run = run_check,
};
