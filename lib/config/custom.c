#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/limits.h"
#include "config/config_priv.h"

enum {
    SECRET_FILE_BYTES_MAX = 4096,
    SITES_BYTES_MAX = 2 * CONFIG_FILE_BYTES_MAX + 32 * CONFIG_NODES_MAX
};

/* A list says what is kept, a word whether anything is. */
void config__load_query_keep(struct config_loader *l, const struct config_node *n, void *site)
{
    struct config_site *s = site;

    if (n->type != CONFIG_NODE_TEXT) {
        config__load_value(l, n, &config__query_keep_key, s);
        return;
    }
    s->query_keep =
        slice_eq(n->text, SLICE("none")) ? CONFIG_QUERY_KEEP_NONE : CONFIG_QUERY_KEEP_ALL;
    if (!slice_eq(n->text, SLICE("none")) && !slice_eq(n->text, SLICE("all")))
        config__error(l, n, "%s is not known here; write all, none, or a list of names",
                      config__quote(n->text).text);
}

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
        config__error(l, n, "expected a list of purge, read, wide, regions and publish, such as [purge]");
        return;
    }
    for (const struct config_node *v = n->first; v != NULL; v = v->next) {
        if (slice_eq(v->text, SLICE("purge")))
            t->may_purge = true;
        else if (slice_eq(v->text, SLICE("read")))
            t->may_read = true;
        else if (slice_eq(v->text, SLICE("wide")))
            t->may_purge_wide = true;
        else if (slice_eq(v->text, SLICE("regions")))
            t->may_regions = true;
        else if (slice_eq(v->text, SLICE("publish")))
            t->may_publish = true;
        else
            config__error(l, v, "%s is not known here; write purge, read, wide, regions or publish",
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

/* A file of one line into *field. */
static void load_secret(struct config_loader *l, const struct config_node *n, char **field)
{
    char *file = config__load_path(l, n), *text = NULL;
    const char *why;
    struct slice secret;
    size_t bytes = 0;
    enum err e;

    config__remember(l, field, n);
    if (file == NULL || l->is_alone)
        return;
    check_mode(l, n, file);
    e = file_read_all(file, SECRET_FILE_BYTES_MAX, &text, &bytes);
    if (e == ERR_NOMEM)
        l->is_out_of_memory = true;
    if (e != ERR_OK) {
        config__error(l, n, "%s cannot be read: %s", config__quote(slice_of(file)).text,
                      e == ERR_LIMIT ? "it is too large for one line" : strerror(errno));
        return;
    }
    secret = slice_trim((struct slice){text, bytes});
    while (secret.n > 0 && (secret.p[secret.n - 1] == '\n' || secret.p[secret.n - 1] == '\r'))
        secret.n--;
    why = config__check_secret(secret);
    if (why != NULL)
        config__error(l, n, "%s: %s", config__quote(slice_of(file)).text, why);
    else if ((*field = arena_text(l->arena, secret)) == NULL)
        l->is_out_of_memory = true;
    free(text);
}

void config__load_secret_file(struct config_loader *l, const struct config_node *n, void *peer)
{
    load_secret(l, n, &((struct config_peer *)peer)->secret);
}

void config__load_explain_secret(struct config_loader *l, const struct config_node *n, void *config)
{
    load_secret(l, n, &((struct config *)config)->explain_secret);
}

void config__load_peers(struct config_loader *l, const struct config_node *n, void *peer)
{
    struct config_peer *p = peer;
    struct config_node *root;
    char *file = config__load_path(l, n);

    if (file == NULL || l->is_alone)
        return;
    root = config__read_file(l, file, n);
    if (root != NULL)
        config__load_block(l, root, config__peers_keys, p);
    for (size_t i = 0; i < p->revoked_count; i++)
        if ((p->revoked[i].name == NULL) == (p->revoked[i].serial == NULL))
            config__error(l, n, "%s: entry %zu of revoked: write either a name or a serial number",
                          config__quote(slice_of(file)).text, i + 1);
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

/* Lengths before texts, so that no two trees look the same. */
static void write_tree(const struct config_node *n, struct buf *out)
{
    buf_addf(out, "%d %zu:", (int)n->type, n->key.n);
    buf_add(out, n->key);
    buf_addf(out, "%zu:", n->text.n);
    buf_add(out, n->text);
    buf_addf(out, "%zu\n", n->count);
    for (const struct config_node *v = n->first; v != NULL; v = v->next)
        write_tree(v, out);
}

/* Of the list `sites`; `n` is the list, or the block that has it. */
void config__hash_sites(struct config_loader *l, const struct config_node *n, struct config *c)
{
    struct buf text;

    if (n->type == CONFIG_NODE_BLOCK) {
        for (n = n->first; n != NULL && !slice_eq(n->key, SLICE("sites"));)
            n = n->next;
        if (n == NULL)
            return;
    }
    buf_init(&text, SITES_BYTES_MAX);
    write_tree(n, &text);
    c->sites_hash = digest_64(buf_slice(&text));
    l->is_out_of_memory = l->is_out_of_memory || text.failed;
    buf_release(&text);
}

void config__load_sites(struct config_loader *l, const struct config_node *n, void *config)
{
    struct config *c = config;
    struct config_node *root;

    if (n->type == CONFIG_NODE_LIST) {
        config__load_value(l, n, &config__sites_keys[0], c);
        config__hash_sites(l, n, c);
        return;
    }
    c->sites_file = config__load_path(l, n);
    if (c->sites_file == NULL || l->is_alone)
        return;
    root = config__read_file(l, c->sites_file, n);
    if (root == NULL)
        return;
    config__load_block(l, root, config__sites_keys, c);
    config__hash_sites(l, root, c);
}

/* A list of lists: groups, nearest first. */
void config__load_shields(struct config_loader *l, const struct config_node *n, void *config)
{
    struct config *c = config;
    struct config_group *groups;
    size_t shields = 0;

    config__remember(l, &c->groups, n);
    if (n->type != CONFIG_NODE_LIST || n->count == 0) {
        config__error(l, n, "expected groups of shields, such as [[https://fra1.internal:8443]]");
        return;
    }
    groups = config__alloc(l, n->count, sizeof(*groups));
    if (groups == NULL)
        return;
    for (const struct config_node *v = n->first; v != NULL; v = v->next) {
        if (v->type != CONFIG_NODE_LIST)
            config__error(l, v, "a group is a list, such as [https://fra1.internal:8443]");
        else
            config__load_value(l, v, &config__shield_group_key, &groups[v->index]);
        shields += groups[v->index].shields.count;
    }
    if (shields >= LIMIT_HOPS) {
        config__error(l, n, "has %zu shields; at most %d", shields, LIMIT_HOPS - 1);
        return;
    }
    c->groups = groups;
    c->groups_count = n->count;
}
