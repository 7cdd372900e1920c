#include <sys/stat.h>

#include "config/config_priv.h"

/* The word `tracking`, alone or among the names, stands for the table of tracking parameters. */
void config__load_query_drop(struct config_loader *l, const struct config_node *n, void *site)
{
    struct config_site *s = site;
    struct config_strings *names = &s->query_drop_names;
    size_t kept = 0;

    if (n->type == CONFIG_NODE_TEXT) {
        s->query_drop_tracking = slice_eq(n->text, SLICE("tracking"));
        if (!s->query_drop_tracking)
            config__error(l, n, "%s is not known here; write tracking, or a list of names",
                          config__quote(n->text).text);
        return;
    }
    config__load_value(l, n, &config__query_names_key, s);
    for (size_t i = 0; i < names->count; i++) {
        if (slice_eq(slice_of(names->item[i]), SLICE("tracking")))
            s->query_drop_tracking = true;
        else
            names->item[kept++] = names->item[i];
    }
    names->count = kept;
}

void config__load_kinds(struct config_loader *l, const struct config_node *n, void *token)
{
    struct config_token *t = token;

    if (n->type != CONFIG_NODE_LIST || n->count == 0) {
        config__error(l, n, "expected a list of purge, read and wide, such as [purge]");
        return;
    }
    for (const struct config_node *v = n->first; v != NULL; v = v->next) {
        if (slice_eq(v->text, SLICE("purge")))
            t->may_purge = true;
        else if (slice_eq(v->text, SLICE("read")))
            t->may_read = true;
        else if (slice_eq(v->text, SLICE("wide")))
            t->may_purge_wide = true;
        else
            config__error(l, v, "%s is not known here; write purge, read or wide",
                          config__quote(v->text).text);
    }
    if (t->may_purge_wide && !t->may_purge)
        config__error(l, n, "wide (purges of hosts and of everything) needs purge beside it");
}

void config__load_access_log(struct config_loader *l, const struct config_node *n, void *config)
{
    struct config *c = config;

    if (n->type == CONFIG_NODE_TEXT && slice_eq(n->text, SLICE("-"))) {
        c->access_log = arena_text(l->arena, n->text); /* standard output, not a file */
        l->is_out_of_memory = l->is_out_of_memory || c->access_log == NULL;
    } else {
        c->access_log = config__load_path(l, n);
    }
}

/* Whoever can read the secrets can purge the cache. */
static void check_mode(struct config_loader *l, const struct config_node *n, const char *file)
{
    struct stat st;

    if (stat(file, &st) == 0 && (st.st_mode & 077) != 0)
        config__error(l, n, "%s holds secrets and is open to others (mode %04o); chmod 600 it",
                      config__quote(slice_of(file)).text, (unsigned)st.st_mode & 07777);
}

void config__load_tokens(struct config_loader *l, const struct config_node *n, void *config)
{
    struct config *c = config;
    struct config_node *root;
    char *file = config__load_path(l, n);

    config__remember(l, &c->tokens, n);
    if (file == NULL || l->is_alone)
        return;
    check_mode(l, n, file);
    root = config__read_file(l, file, n);
    if (root != NULL)
        config__load_block(l, root, config__tokens_keys, c);
}

void config__load_sites(struct config_loader *l, const struct config_node *n, void *config)
{
    struct config *c = config;
    struct config_node *root;

    if (n->type == CONFIG_NODE_LIST) {
        config__load_value(l, n, &config__sites_keys[0], c);
        return;
    }
    c->sites_file = config__load_path(l, n);
    if (c->sites_file == NULL || l->is_alone)
        return;
    root = config__read_file(l, c->sites_file, n);
    if (root != NULL)
        config__load_block(l, root, config__sites_keys, c);
}
