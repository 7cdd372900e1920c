#include <stdio.h>
#include <string.h>

#include "cli.h"

static int run(struct cli *cli, int argc, char **argv)
{
    const struct cli_command *command;
    int c;

    while ((c = cli_next_global(cli, argc, argv)) != CLI_END)
        if (c == CLI_WRONG)
            return CLI_USAGE;
    if (optind >= argc)
        return cli_wrong(cli, "a command is missing");
    argc -= optind;
    argv += optind;
    command = cli_find_command(argv[0]);
    if (command == NULL)
        return cli_wrong(cli, "there is no command `%s`", argv[0]);
    cli->command = command;
    optind = 0; /* getopt_long() starts anew, in the order that cli_next() asks for */
    return command->run(cli, argc, argv);
}

int main(int argc, char **argv)
{
    struct cli cli;
    int status;

    cli_init(&cli);
    status = run(&cli, argc, argv);
    cli_release(&cli);
    /* A receipt that could not be written, say to a full disk, was not given. */
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == CLI_DONE) {
        perror("selvage: writing the output");
        status = CLI_FAILED;
    }
    return status;
}
