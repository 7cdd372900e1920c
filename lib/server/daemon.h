/*
 * daemon: main() of both daemons: options, configuration, logs, server.
 *
 * What tells an edge from a shield is in struct daemon, and mostly in its role.  Main thread.
 */
#ifndef SERVER_DAEMON_H
#define SERVER_DAEMON_H

#include "cache/role.h"

struct daemon {              /* static text */
    const char *name;        /* of the program, for messages */
    const char *config_file; /* the default of --config */
    const struct role *role;
};

/* Runs it; the status of the process.  Ends the process itself for --help, --version and what is no
 * option. */
int daemon_main(const struct daemon *d, int argc, char **argv);

#endif
