#include "server/daemon.h"

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/log.h"
#include "config/config.h"
#include "server/server.h"

#ifndef SELVAGE_VERSION
#define SELVAGE_VERSION "0.1.0"
#endif

enum { EXIT_USAGE = 2, MESSAGES_BYTES_MAX = 64 << 10 };

struct options {
    const char *file;
    bool check, debug;
};

static void print_help(const struct daemon *d, FILE *to)
{
    fprintf(to,
            "usage: %s [--config FILE] [--check] [--debug]\n"
            "  --config FILE  the configuration; default %s\n"
            "  --check        say what is wrong with it, and exit: 0 nothing, 1 something\n"
            "  --debug        log at level debug, and let core dumps be written\n"
            "  --version      print the version\n"
            "  --help         print this\n"
            "signals: TERM, INT: drain and end; HUP: load the configuration again; USR1: open the "
            "logs anew\n",
            d->name, d->config_file);
}

/* Ends the process for --help, --version and what is no option. */
static struct options read_options(const struct daemon *d, int argc, char **argv)
{
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'}, {"check", no_argument, NULL, 'k'},
        {"debug", no_argument, NULL, 'd'},        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
    };
    struct options o = {.file = d->config_file};
    int c;

    while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (c) {
        case 'c':
            o.file = optarg;
            break;
        case 'k':
            o.check = true;
            break;
        case 'd':
            o.debug = true;
            break;
        case 'v':
            printf("%s %s\n", d->name, SELVAGE_VERSION);
            exit(0);
        case 'h':
            print_help(d, stdout);
            exit(0);
        default:
            print_help(d, stderr);
            exit(EXIT_USAGE);
        }
    }
    if (optind < argc) {
        print_help(d, stderr);
        exit(EXIT_USAGE);
    }
    return o;
}

static int complain(const struct daemon *d, const struct buf *why)
{
    fprintf(stderr, "%s: %.*s%s", d->name, (int)why->n, why->p,
            why->n > 0 && why->p[why->n - 1] == '\n' ? "" : "\n");
    return 1;
}

static int check(const struct daemon *d, struct config *c, const char *file, struct buf *why)
{
    fprintf(stderr, "%.*s", (int)why->n, why->n > 0 ? why->p : ""); /* warnings */
    why->n = 0;
    if (server_check(d->role, c, why) != ERR_OK)
        return complain(d, why);
    printf("%s: nothing wrong\n", file);
    return 0;
}

static int open_log(const struct daemon *d, const struct config *c, bool debug)
{
    struct log_options opt = {
        .error_file = c->error_log,
        .access_file = c->access_log,
        .level = debug ? LOG_LEVEL_DEBUG : (enum log_level)c->log_level,
    };
    enum err e = log_open(&opt);

    if (e == ERR_OK)
        return 0;
    if (log_refused()[0] != '\0')
        fprintf(stderr,
                "%s: %s: logs: cannot open %s: %s: its folder must be there, and this user be "
                "allowed to write it\n",
                d->name, c->file, log_refused(), strerror(errno));
    else
        fprintf(stderr, "%s: the logs cannot be opened: %s\n", d->name, err_name(e));
    return 1;
}

static int serve(const struct daemon *d, struct config *c, const struct options *o, struct buf *why)
{
    struct server_options opt = {
        .role = d->role,
        .config_file = o->file,
        .config = c,
        .version = SELVAGE_VERSION,
    };
    struct server *server;
    int status;

    if (open_log(d, c, o->debug) != 0)
        return 1;
    log_lines(LOG_LEVEL_WARN, "config", buf_slice(why));
    why->n = 0;
    if (server_new(&opt, &server, why) == ERR_OK) {
        log_info("%s %s", d->name, SELVAGE_VERSION);
        status = server_run(server);
        server_free(server);
    } else {
        log_error("%.*s", (int)why->n, why->p);
        /* who starts it by hand should not have to look into the log */
        status = c->error_log == NULL ? 1 : complain(d, why);
    }
    log_close();
    return status;
}

int daemon_main(const struct daemon *d, int argc, char **argv)
{
    struct options o = read_options(d, argc, argv);
    struct config *c;
    struct buf why;
    int status;

    /* keys, tokens and clients' data are in memory: not for core files, nor for other processes of
     * this user */
    if (!o.debug)
        prctl(PR_SET_DUMPABLE, 0);
    server_prepare();
    buf_init(&why, MESSAGES_BYTES_MAX);
    if (config_load(o.file, &c, &why) != ERR_OK) {
        status = complain(d, &why);
    } else {
        status = o.check ? check(d, c, o.file, &why) : serve(d, c, &o, &why);
        config_unref(c);
    }
    buf_release(&why);
    return status;
}
