/* settings: which nodes are asked and with which token; the second half of cli.h. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/slice.h"
#include "cli.h"
#include "http/url.h"

enum { ERRORS_BYTES_MAX = 1 << 20, PATH_BYTES_MAX = 4096 };

static const char default_node[] = "http://127.0.0.1:9180";

static char *text_in_arena(struct cli *cli, const char *before, const char *after)
{
    size_t n = strlen(before), m = strlen(after);
    char *p = arena_alloc(&cli->arena, n + m + 1);

    if (p == NULL) {
        cli_wrong(cli, "the settings are longer than memory allows");
        return NULL;
    }
    memcpy(p, before, n);
    memcpy(p + n, after, m + 1);
    return p;
}

static const char *from_environment(const char *name)
{
    const char *value = getenv(name);

    return value == NULL || value[0] == '\0' ? NULL : value;
}

/* *out_path is NULL when no home is known: then there is no such file. */
static bool default_config_path(struct cli *cli, const char **out_path)
{
    const char *base = from_environment("XDG_CONFIG_HOME"), *rest = "/selvage.yaml";

    *out_path = NULL;
    if (base == NULL ||
        base[0] != '/') { /* the XDG specification: a relative one is to be ignored */
        base = from_environment("HOME");
        rest = "/.config/selvage.yaml";
    }
    if (base == NULL)
        return true;
    *out_path = text_in_arena(cli, base, rest);
    return *out_path != NULL;
}

static bool load_file(struct cli *cli)
{
    const char *path = cli->config_path;
    struct buf errors;
    enum err e;

    if (path == NULL)
        path = from_environment("SELVAGE_CONFIG");
    if (path == NULL) {
        if (!default_config_path(cli, &path))
            return false;
        if (path == NULL || (access(path, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR)))
            return true; /* nobody asked for it: it need not be there */
    }
    cli->config_path = path;
    buf_init(&errors, ERRORS_BYTES_MAX);
    e = config_cli_load(path, &cli->file, &errors);
    if (e != ERR_OK) {
        if (errors.n > 0)
            fwrite(errors.p, 1, errors.n, stderr);
        if (errors.n == 0)
            fprintf(stderr, "%s: cannot be read: %s\n", path, err_name(e));
    }
    buf_release(&errors);
    return e == ERR_OK;
}

/* A URL of scheme, host and port, as client.c appends paths to it. */
static bool set_node(struct cli *cli, size_t i, struct slice url)
{
    struct url_parts parts;
    char *p;

    url = slice_trim(url);
    while (slice_ends_with(url, SLICE("/")))
        url = slice_head(url, url.n - 1);
    if (url_parse_absolute(url, &parts) != ERR_OK || !slice_eq(parts.target, SLICE("/"))) {
        cli_wrong(cli, "`%.*s` is not the admin address of a node; write it as in %s", (int)url.n,
                  url.p, default_node);
        return false;
    }
    p = arena_text(&cli->arena, url);
    if (p == NULL) {
        cli_wrong(cli, "the settings are longer than memory allows");
        return false;
    }
    cli->nodes[i] = p;
    return true;
}

static bool add_node(struct cli *cli, struct slice url)
{
    if (cli->nodes_count == CLI_NODES_MAX) {
        cli_wrong(cli, "more than %d nodes", CLI_NODES_MAX);
        return false;
    }
    return set_node(cli, cli->nodes_count++, url);
}

static bool nodes_from_list(struct cli *cli, struct slice list)
{
    while (list.n > 0) {
        size_t comma = slice_index(list, ',');

        if (slice_trim(slice_head(list, comma)).n > 0 && !add_node(cli, slice_head(list, comma)))
            return false;
        list = slice_from(list, comma + 1);
    }
    return true;
}

static bool find_nodes(struct cli *cli)
{
    const char *list = from_environment("SELVAGE_NODES");

    for (size_t i = 0; i < cli->nodes_count; i++)
        if (!set_node(cli, i, slice_of(cli->nodes[i])))
            return false;
    if (cli->nodes_count == 0 && list != NULL && !nodes_from_list(cli, slice_of(list)))
        return false;
    if (cli->nodes_count == 0 && cli->file != NULL)
        for (size_t i = 0; i < cli->file->nodes.count; i++)
            if (!add_node(cli, slice_of(cli->file->nodes.item[i])))
                return false;
    return cli->nodes_count > 0 || add_node(cli, slice_of(default_node));
}

static bool read_token_file(struct cli *cli)
{
    char text[CLI_TOKEN_BYTES_MAX + 1];
    FILE *f = fopen(cli->token_file, "re");
    struct slice token;
    size_t n = 0;

    if (f != NULL)
        n = fread(text, 1, sizeof(text), f);
    if (f == NULL || ferror(f)) {
        fprintf(stderr, "selvage: --token-file %s: %s\n", cli->token_file, strerror(errno));
        if (f != NULL)
            fclose(f);
        return false;
    }
    fclose(f);
    token = (struct slice){text, n};
    while (token.n > 0 && isspace((unsigned char)token.p[token.n - 1]))
        token.n--;
    if (n == sizeof(text) || token.n == 0) {
        fprintf(stderr, "selvage: --token-file %s: should hold one token, and is %s\n",
                cli->token_file, token.n == 0 ? "empty" : "too long");
        return false;
    }
    cli->token = arena_text(&cli->arena, token);
    cli->token_source = text_in_arena(cli, "--token-file ", cli->token_file);
    return cli->token != NULL && cli->token_source != NULL;
}

static bool find_token(struct cli *cli)
{
    if (cli->token_file != NULL) {
        if (!read_token_file(cli))
            return false;
    } else if (from_environment("SELVAGE_TOKEN") != NULL) {
        cli->token = from_environment("SELVAGE_TOKEN");
        cli->token_source = "SELVAGE_TOKEN";
    } else if (cli->file != NULL && cli->file->token != NULL) {
        cli->token = cli->file->token;
        cli->token_source = cli->config_path;
    }
    if (cli->token == NULL)
        return true;
    /* It becomes a request field: a line break in it would become another one. */
    for (const char *p = cli->token; *p != '\0'; p++)
        if (!isgraph((unsigned char)*p) || p - cli->token >= CLI_TOKEN_BYTES_MAX) {
            fprintf(stderr,
                    "selvage: the token from %s is not one word of printable ASCII of at most %d "
                    "bytes\n",
                    cli->token_source, CLI_TOKEN_BYTES_MAX);
            return false;
        }
    return true;
}

bool cli_connect_settings(struct cli *cli)
{
    if (!load_file(cli) || !find_nodes(cli) || !find_token(cli))
        return false;
    cli->ca = cli->file == NULL ? NULL : cli->file->ca;
    return true;
}
