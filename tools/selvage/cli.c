#include "cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/slice.h"
#include "http/url.h"

enum { CLI_ARENA_BYTES = 1 << 20, GLOBAL_OPTIONS = 6 };

enum {
    OPTION_NODE = 256,
    OPTION_CONFIG,
    OPTION_TOKEN_FILE,
    OPTION_JSON,
    OPTION_TIMEOUT,
    OPTION_HELP
};

static const struct option global_options[GLOBAL_OPTIONS + 1] = {
    {"node", required_argument, NULL, OPTION_NODE},
    {"config", required_argument, NULL, OPTION_CONFIG},
    {"token-file", required_argument, NULL, OPTION_TOKEN_FILE},
    {"json", no_argument, NULL, OPTION_JSON},
    {"timeout", required_argument, NULL, OPTION_TIMEOUT},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};

static const char global_help[] =
    "Options of every command:\n"
    "  --node URL         admin address of a node; repeat it for more than one\n"
    "  --config FILE      nodes and token; default ~/.config/selvage.yaml\n"
    "  --token-file FILE  the admin token is the content of FILE\n"
    "  --json             answers as JSON, one line each\n"
    "  --timeout SECONDS  how long to wait for a node; default 10\n"
    "  --help             this text\n"
    "\n"
    "Environment: SELVAGE_NODES (separated by commas), SELVAGE_TOKEN, SELVAGE_CONFIG.\n"
    "Exit status: 0 done, 1 a node or a check failed, 2 wrong usage.\n";

const struct cli_command *const cli_commands[] = {
    &cmd_purge,    &cmd_status, &cmd_ls,  &cmd_explain, &cmd_regions, &cmd_publish, &cmd_releases,
    &cmd_rollback, &cmd_check,  &cmd_pki, &cmd_version, &cmd_help,    NULL,
};

const struct cli_command *cli_find_command(const char *name)
{
    for (size_t i = 0; cli_commands[i] != NULL; i++)
        if (strcmp(cli_commands[i]->name, name) == 0)
            return cli_commands[i];
    return NULL;
}

void cli_init(struct cli *cli)
{
    *cli = (struct cli){.timeout_ms = CLI_TIMEOUT_DEFAULT_S * 1000L};
    arena_init(&cli->arena, NULL, 0, CLI_ARENA_BYTES);
}

void cli_release(struct cli *cli)
{
    config_cli_free(cli->file);
    arena_release(&cli->arena);
}

void cli_print_help(const struct cli_command *command)
{
    if (command != NULL) {
        printf("usage: selvage [option ...] %s\n\n%s\n%s", command->synopsis, command->help,
               global_help);
        return;
    }
    printf("usage: selvage [option ...] command [argument ...]\n\n"
           "Purges, shows and explains what Selvage nodes keep.\n\nCommands:\n");
    for (size_t i = 0; cli_commands[i] != NULL; i++)
        printf("  %-8s  %s\n", cli_commands[i]->name, cli_commands[i]->summary);
    printf("\n`selvage help COMMAND` says more about one.\n\n%s", global_help);
}

int cli_wrong(const struct cli *cli, const char *format, ...)
{
    const char *space = cli->command == NULL ? "" : " ";
    const char *name = cli->command == NULL ? "" : cli->command->name;
    va_list ap;

    fprintf(stderr, "selvage%s%s: ", space, name);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fprintf(stderr, "\nTry `selvage%s%s --help`.\n", space, name);
    return CLI_USAGE;
}

bool cli_number(const struct cli *cli, const char *what, const char *text, long least, long most,
                long *out)
{
    uint64_t n;

    if (!slice_to_u64(slice_of(text), &n) || n < (uint64_t)least || n > (uint64_t)most) {
        cli_wrong(cli, "%s must be a number from %ld to %ld, not `%s`", what, least, most, text);
        return false;
    }
    *out = (long)n;
    return true;
}

bool cli_is_url(const struct cli *cli, const char *text)
{
    struct url_parts parts;

    if (url_parse_absolute(slice_of(text), &parts) == ERR_OK)
        return true;
    cli_wrong(cli, "`%s` is not a URL; write it whole, as in https://www.example.com/a.css", text);
    return false;
}

static int take_global(struct cli *cli, int option)
{
    long seconds;

    switch (option) {
    case OPTION_NODE:
        if (cli->nodes_count == CLI_NODES_MAX) {
            cli_wrong(cli, "more than %d nodes", CLI_NODES_MAX);
            return CLI_WRONG;
        }
        cli->nodes[cli->nodes_count++] = optarg;
        return option;
    case OPTION_CONFIG:
        cli->config_path = optarg;
        return option;
    case OPTION_TOKEN_FILE:
        cli->token_file = optarg;
        return option;
    case OPTION_JSON:
        cli->json = true;
        return option;
    case OPTION_TIMEOUT:
        if (!cli_number(cli, "--timeout", optarg, 1, CLI_TIMEOUT_MAX_S, &seconds))
            return CLI_WRONG;
        cli->timeout_ms = seconds * 1000L;
        return option;
    default:
        CHECK(option == OPTION_HELP);
        cli_print_help(cli->command);
        exit(CLI_DONE);
    }
}

/* One step of getopt_long(), whose own messages would name the command instead of the program. */
static int next_word(struct cli *cli, int argc, char **argv, const char *shorts,
                     const struct option *longs)
{
    int c = getopt_long(argc, argv, shorts, longs, NULL);

    if (c == ':') {
        cli_wrong(cli, "%s wants a value", argv[optind - 1]);
        return CLI_WRONG;
    }
    if (c == '?') {
        if (optopt > 0 && optopt < 256)
            cli_wrong(cli, "there is no option -%c", optopt);
        else if (optopt != 0)
            cli_wrong(cli, "%s: this option takes no value", argv[optind - 1]);
        else
            cli_wrong(cli, "there is no option %s", argv[optind - 1]);
        return CLI_WRONG;
    }
    return c;
}

int cli_next(struct cli *cli, int argc, char **argv, const char *shorts, const struct option *longs)
{
    struct option all[GLOBAL_OPTIONS + CLI_LONGS_MAX + 1] = {0};
    char all_shorts[16];
    size_t n = 0;
    int c = CLI_END;

    while (longs[n].name != NULL)
        n++;
    CHECK(n <= CLI_LONGS_MAX);
    CHECK(strlen(shorts) + sizeof("-:") <= sizeof(all_shorts));
    memcpy(all, global_options, GLOBAL_OPTIONS * sizeof(*all));
    memcpy(all + GLOBAL_OPTIONS, longs, n * sizeof(*all));
    /* '-': operands in their place among the options, which is what they mean; ':': a missing value
     * is told apart. */
    snprintf(all_shorts, sizeof(all_shorts), "-:%s", shorts);
    if (!cli->only_operands)
        do {
            c = next_word(cli, argc, argv, all_shorts, all);
            if (c >= OPTION_NODE && c <= OPTION_HELP)
                c = take_global(cli, c);
        } while (c >= OPTION_NODE && c <= OPTION_HELP);
    if (c == CLI_END && optind < argc) { /* getopt_long() must not see it again: it would permute */
        cli->only_operands = true;
        optarg = argv[optind++];
        return CLI_OPERAND;
    }
    return c;
}

int cli_next_global(struct cli *cli, int argc, char **argv)
{
    int c = next_word(cli, argc, argv, "+:", global_options);

    return c == CLI_END || c == CLI_WRONG ? c : take_global(cli, c);
}
