#include <stdio.h>

#include "cli.h"

static const struct option none[] = {{0}};

static int run_help(struct cli *cli, int argc, char **argv)
{
    const struct cli_command *about = NULL;
    int c;

    while ((c = cli_next(cli, argc, argv, "", none)) != CLI_END) {
        if (c == CLI_WRONG)
            return CLI_USAGE;
        if (about != NULL)
            return cli_wrong(cli, "one command at a time");
        about = cli_find_command(optarg);
        if (about == NULL)
            return cli_wrong(cli, "there is no command `%s`", optarg);
    }
    cli_print_help(about);
    return CLI_DONE;
}

static int run_version(struct cli *cli, int argc, char **argv)
{
    int c = cli_next(cli, argc, argv, "", none);

    if (c != CLI_END)
        return c == CLI_WRONG ? CLI_USAGE : cli_wrong(cli, "`%s`: takes no words", optarg);
    if (cli->json)
        printf("{\"version\":\"%s\"}\n", SELVAGE_VERSION);
    else
        printf("selvage %s\n", SELVAGE_VERSION);
    return CLI_DONE;
}

const struct cli_command cmd_help = {
    .name = "help",
    .summary = "this text, or more about one command",
    .synopsis = "help [COMMAND]",
    .help = "Describes selvage or one of its commands.\n",
    .run = run_help,
};

const struct cli_command cmd_version = {
    .name = "version",
    .summary = "which version this tool is",
    .synopsis = "version",
    .help = "Prints the version of this tool; `selvage status` shows those of the nodes.\n",
    .run = run_version,
};
