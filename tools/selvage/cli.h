/*
 * cli: what the command line said, and what the commands of selvage share.
 *
 * A flag wins over the environment, the environment over the configuration file.  The
 * token never comes from the command line, where every user of the machine could read it.
 * One thread.
 */
#ifndef SELVAGE_CLI_H
#define SELVAGE_CLI_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "config/config.h"

#ifndef SELVAGE_VERSION
#define SELVAGE_VERSION "0.1.0"
#endif

/* Exit statuses, promised by selvage(1). */
enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

enum {
    CLI_NODES_MAX = 256,
    CLI_TOKEN_BYTES_MAX = 4096,
    CLI_TIMEOUT_DEFAULT_S = 10,
    CLI_TIMEOUT_MAX_S = 3600,
};

struct cli;

struct cli_command {
    const char *name;
    const char *summary;  /* one line for the list of commands */
    const char *synopsis; /* what follows `selvage [option ...] ` */
    const char *help;     /* the rest of its --help */
    /* argv[0] is the command's name.  Returns the exit status. */
    int (*run)(struct cli *cli, int argc, char **argv);
};

extern const struct cli_command cmd_purge, cmd_status, cmd_check, cmd_pki, cmd_ls, cmd_explain,
    cmd_regions, cmd_publish, cmd_releases, cmd_rollback, cmd_version, cmd_help;

/* All commands in the order of the help text; ends with NULL. */
extern const struct cli_command *const cli_commands[];
const struct cli_command *cli_find_command(const char *name); /* NULL: there is none */

struct cli {
    const struct cli_command *command; /* static; NULL before it is known */

    /* From the command line; pointers into argv. */
    const char *config_path, *token_file;
    long timeout_ms;
    bool json;
    bool only_operands; /* "--" has been read */

    /* Valid after cli_connect_settings(). */
    const char
        *nodes[CLI_NODES_MAX]; /* admin URLs without a slash at the end; as flags until then */
    size_t nodes_count;
    const char *token;        /* NULL: none */
    const char *token_source; /* "--token-file /etc/token", as a message names it */
    const char *ca;           /* NULL: the system's */

    struct config_cli *file; /* owned; NULL: none */
    struct arena arena;      /* texts put together here */
};

void cli_init(struct cli *cli);
void cli_release(struct cli *cli);

/* What cli_next() returns beside the values of a command's own options (which are above 255). */
enum { CLI_END = -1, CLI_OPERAND = 1, CLI_WRONG = '?', CLI_HEADER = 'H' };

/*
 * The next word of a command line: an option of the command, CLI_OPERAND (its text in optarg), in
 * the order they were written.  Options that every command has are taken in here; --help prints and
 * ends the program.
 *
 *   shorts, longs   the command's own; longs ends with a row of zeros and has at most CLI_LONGS_MAX
 * rows before it
 *
 * CLI_WRONG: the mistake has been printed; the caller returns CLI_USAGE.
 */
enum { CLI_LONGS_MAX = 8 };
int cli_next(struct cli *cli, int argc, char **argv, const char *shorts,
             const struct option *longs);

/* The same for the options before the command, ending at the first word that is none; optind is its
 * index. */
int cli_next_global(struct cli *cli, int argc, char **argv);

/*
 * Find out which nodes to ask and with which token: flags, environment, file.  False: the mistake
 * has been printed. Blocks on the disk.
 */
bool cli_connect_settings(struct cli *cli);

/* Print `selvage COMMAND: message` and where help is; returns CLI_USAGE. */
int cli_wrong(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A decimal number from `least` to `most`; false, with a message naming `what`, for anything else.
 */
bool cli_number(const struct cli *cli, const char *what, const char *text, long least, long most,
                long *out);

/* Is `text` an absolute http or https URL?  False, with a message, when not. */
bool cli_is_url(const struct cli *cli, const char *text);

/* The help of one command, or of all (NULL), to stdout. */
void cli_print_help(const struct cli_command *command);

#endif
