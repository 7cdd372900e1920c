/*
 * What needs more than one value, or a look at the disk.  Values that were refused before are NULL
 * here, so that each mistake is told once.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/map.h"
#include "config/config_priv.h"

enum { FILES_MAX = 10000, FILE_NAME_BYTES = 4096 };

/* Told at the value of `field`. */
#define ERROR_AT(l, field, ...)                                                                    \
    do {                                                                                           \
        const struct config_node *at = config__place(l, field);                                    \
        if (at != NULL)                                                                            \
            config__error(l, at, __VA_ARGS__);                                                     \
    } while (0)

static unsigned line_of(const struct config_loader *l, const void *field)
{
    const struct config_node *n = config__place(l, field);

    return n == NULL ? 0 : n->line;
}

/* ---- files that are named ---- */

static bool is_readable(struct config_loader *l, const void *field, const char *file)
{
    if (access(file, R_OK) == 0)
        return true;
    ERROR_AT(l, field, "%s cannot be read: %s", config__quote(slice_of(file)).text,
             strerror(errno));
    return false;
}

static void check_file(struct config_loader *l, char *const *field)
{
    struct stat st;

    if (*field == NULL || !is_readable(l, field, *field))
        return;
    if (stat(*field, &st) == 0 && S_ISDIR(st.st_mode))
        ERROR_AT(l, field, "%s is a folder; name a PEM file", config__quote(slice_of(*field)).text);
}

/* Is `name` a certificate of the folder?  If so, is what belongs to it readable too? */
static bool check_folder_entry(struct config_loader *l, char *const *field, struct slice name)
{
    bool is_pair = slice_ends_with(name, SLICE(".crt"));
    char path[FILE_NAME_BYTES];
    int n;

    if (name.p[0] == '.' || !(is_pair || slice_ends_with(name, SLICE(".pem"))))
        return false;
    n = snprintf(path, sizeof(path), "%s/%s", *field, name.p);
    if (n < 0 || (size_t)n >= sizeof(path))
        return false;
    if (is_readable(l, field, path) && is_pair) {
        memcpy(path + n - 4, ".key", 4);
        is_readable(l, field, path);
    }
    return true;
}

static void check_folder(struct config_loader *l, char *const *field)
{
    DIR *d = opendir(*field);
    struct dirent *e;
    size_t found = 0;

    if (d == NULL) {
        ERROR_AT(l, field, "%s cannot be read: %s", config__quote(slice_of(*field)).text,
                 strerror(errno));
        return;
    }
    while ((e = readdir(d)) != NULL && found < FILES_MAX)
        found += check_folder_entry(l, field, slice_of(e->d_name));
    closedir(d);
    if (found == 0)
        ERROR_AT(l, field, "%s holds no certificate; put NAME.pem or NAME.crt and NAME.key there",
                 config__quote(slice_of(*field)).text);
}

static void check_certificates(struct config_loader *l, char *const *field)
{
    struct stat st;

    if (*field == NULL || !is_readable(l, field, *field))
        return;
    if (stat(*field, &st) == 0 && S_ISDIR(st.st_mode))
        check_folder(l, field);
}

/* ---- addresses ---- */

static void check_listen(struct config_loader *l, const struct config *c)
{
    for (size_t i = 0; i < c->listen_count; i++) {
        struct config_listen *a = &c->listen[i];

        if (a->certificates != NULL && a->redirect)
            ERROR_AT(l, &a->redirect, "goes with a plain address; remove tls, or redirect");
        if (a->redirect_port != 0 && !a->redirect)
            ERROR_AT(l, &a->redirect_port, "goes with redirect: https; add that, or remove this");
        if (!l->is_alone)
            check_certificates(l, &a->certificates);
        if (a->address == NULL || slice_ends_with(slice_of(a->address), SLICE(":0")))
            continue;
        for (size_t j = 0; j < i; j++)
            if (c->listen[j].address != NULL && strcmp(c->listen[j].address, a->address) == 0) {
                ERROR_AT(l, &a->address, "'%s' is taken by line %u", a->address,
                         line_of(l, &c->listen[j].address));
                break;
            }
    }
}

/* A node is an edge or a shield: who may ask is the same for all its listeners. */
static void check_peers(struct config_loader *l, struct config *c)
{
    for (size_t i = 0; i < c->listen_count; i++) {
        struct config_listen *a = &c->listen[i];

        if ((a->peers == CONFIG_PEERS_NONE) != (c->listen[0].peers == CONFIG_PEERS_NONE))
            ERROR_AT(l, &a->address,
                     "a node listens for clients or for peers, and line %u says "
                     "otherwise; move one of them to a node of its own",
                     line_of(l, &c->listen[0].address));
        if (a->peers == CONFIG_PEERS_NONE)
            continue;
        if (a->certificates != NULL || a->redirect)
            ERROR_AT(l, &a->peers, "goes without tls and redirect; remove them");
        if (a->peers == CONFIG_PEERS_SECRET && config__place(l, &c->peer.secret) == NULL)
            ERROR_AT(l, &a->peers,
                     "needs peer.secret, a file of one line such as from `openssl "
                     "rand -hex 24`");
        if (a->peers != CONFIG_PEERS_CERTIFICATE)
            continue;
        if (c->peer.certificate == NULL || c->peer.ca == NULL)
            ERROR_AT(l, &a->peers, "needs peer.certificate and peer.ca; `selvage pki` makes them");
        a->certificates = c->peer.certificate;
    }
    if (!l->is_alone) {
        check_file(l, &c->peer.certificate);
        check_file(l, &c->peer.ca);
    }
}

static void check_admin(struct config_loader *l, const struct config *c)
{
    if (c->admin_listen == NULL)
        return;
    if (config__place(l, &c->tokens) == NULL &&
        !config__address_is_loopback(slice_of(c->admin_listen)))
        ERROR_AT(l, &c->admin_listen,
                 "needs admin.tokens, since others reach '%s'; name a tokens file, or listen on "
                 "127.0.0.1:9180",
                 c->admin_listen);
    if (slice_ends_with(slice_of(c->admin_listen), SLICE(":0")))
        return;
    for (size_t i = 0; i < c->listen_count; i++)
        if (c->listen[i].address != NULL && strcmp(c->listen[i].address, c->admin_listen) == 0) {
            ERROR_AT(l, &c->listen[i].address, "'%s' is the admin address", c->admin_listen);
            break;
        }
}

/* ---- tokens ---- */

static bool is_site(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->sites_count; i++)
        if (c->sites[i].name != NULL && strcmp(c->sites[i].name, name) == 0)
            return true;
    return false;
}

static void check_tokens(struct config_loader *l, const struct config *c)
{
    for (size_t i = 0; i < c->tokens_count; i++) {
        struct config_token *t = &c->tokens[i];

        for (size_t j = 0; j < i; j++) {
            struct config_token *u = &c->tokens[j];

            if (t->name != NULL && u->name != NULL && strcmp(t->name, u->name) == 0) {
                ERROR_AT(l, &t->name, "'%s' is the name of the token in line %u too", t->name,
                         line_of(l, &u->name));
                break;
            }
            if (t->secret != NULL && u->secret != NULL && strcmp(t->secret, u->secret) == 0) {
                ERROR_AT(l, &t->secret, "is the secret of the token in line %u too",
                         line_of(l, &u->secret));
                break;
            }
        }
        for (size_t j = 0; j < t->sites.count && c->sites_count > 0; j++)
            if (!is_site(c, t->sites.item[j]))
                ERROR_AT(l, &t->sites.item[j], "'%s' is the name of no site", t->sites.item[j]);
    }
}

/* ---- sites ---- */

static void check_rule(struct config_loader *l, const struct config_rule *r)
{
    const int64_t *const lifetime[] = {&r->ttl_s, &r->default_ttl_s, &r->stale_while_revalidate_s,
                                       &r->stale_if_error_s};

    if (r->cache != CONFIG_OFF)
        return;
    for (size_t i = 0; i < sizeof(lifetime) / sizeof(lifetime[0]); i++)
        if (*lifetime[i] != CONFIG_UNSET)
            ERROR_AT(l, lifetime[i], "has no effect beside cache: off; remove one of them");
}

/* A rule without conditions ends the list: what stands behind it is a mistake in the order. */
static void check_rules(struct config_loader *l, const struct config_site *s)
{
    const struct config_rule *last = NULL;

    for (size_t i = 0; i < s->rules_count; i++) {
        const struct config_rule *r = &s->rules[i];

        check_rule(l, r);
        if (last != NULL) {
            const struct config_node *list = config__place(l, &s->rules), *n = list->first;

            while (n->index != i)
                n = n->next;
            config__error(l, n,
                          "is never reached: the rule in line %u matches everything; move it "
                          "to the end",
                          last->line);
            return;
        }
        if (r->path != NULL && strcmp(r->path, "*") == 0 && config__place(l, &r->methods) == NULL &&
            config__place(l, &r->types) == NULL)
            last = r;
    }
}

static void check_origin(struct config_loader *l, const struct config_origin *o)
{
    const struct config_node *weights = config__place(l, &o->weights);

    if (weights != NULL && weights->count != o->servers.count && o->servers.count > 0)
        config__error(l, weights, "has %zu entries for %zu servers", weights->count,
                      o->servers.count);
    if (!l->is_alone)
        check_file(l, &o->ca);
    for (size_t i = 0; i < o->servers.count && !o->allow_local; i++)
        if (config__server_is_local(slice_of(o->servers.item[i])))
            ERROR_AT(l, &o->servers.item[i],
                     "'%s' is this machine or its link; write allow_local: yes if that is meant",
                     o->servers.item[i]);
}

/* `field` claims its text; told when another has it already. */
static void claim(struct config_loader *l, struct map *taken, char *const *field, struct slice key,
                  const char *of_whom)
{
    const struct config_node *other, *mine = config__place(l, field);

    if (*field == NULL || mine == NULL)
        return;
    other = map_find(taken, key);
    if (other != NULL)
        config__error(l, mine, "'%s' is %s in line %u too", *field, of_whom, other->line);
    else if (map_put(taken, key, (void *)(uintptr_t)mine) != ERR_OK)
        l->is_out_of_memory = true;
}

/* The same shield twice would be tried twice. */
static void check_shields(struct config_loader *l, const struct config *c)
{
    struct map *taken = NULL;

    if (map_new(&taken) != ERR_OK) {
        l->is_out_of_memory = true;
        return;
    }
    for (size_t i = 0; i < c->groups_count; i++)
        for (size_t j = 0; j < c->groups[i].shields.count; j++)
            claim(l, taken, &c->groups[i].shields.item[j], slice_of(c->groups[i].shields.item[j]),
                  "a shield");
    map_free(taken);
    for (size_t i = 0; i < c->groups_count && c->listen_count > 0; i++)
        if (c->listen[0].peers != CONFIG_PEERS_NONE) {
            ERROR_AT(l, &c->groups, "is for edges; a shield asks the origin");
            break;
        }
}

/* Whose purges hold must not hang on which shield is nearest: two nodes could take two owners. */
static void check_owner(struct config_loader *l, const struct config *c)
{
    bool is_one = c->groups_count == 1 && c->groups[0].shields.count == 1;

    if (l->errors_count > 0 || c->groups_count == 0 || is_one || c->journal.owner != NULL)
        return;
    config__warn(l, config__place(l, &c->groups),
                 "several shields, and no journal.owner: this node takes the first, %s, for the "
                 "owner of the purge journal; write journal.owner, the same on all nodes",
                 config__quote(slice_of(config_journal_owner(c))).text);
}

/* A shield believes nobody without one of the two, and the edge would go past it for ever. */
static void check_is_known(struct config_loader *l, const struct config *c)
{
    for (size_t i = 0; i < c->groups_count && l->errors_count == 0; i++)
        for (size_t j = 0; j < c->groups[i].shields.count; j++) {
            char *const *url = &c->groups[i].shields.item[j];
            bool is_tls = slice_starts_with(slice_of(*url), SLICE("https://"));

            if (is_tls ? c->peer.certificate != NULL : config__place(l, &c->peer.secret) != NULL)
                continue;
            config__warn(l, config__place(l, url), "%s refuses nodes %s",
                         config__quote(slice_of(*url)).text,
                         is_tls ? "that show no certificate; write peer.certificate and peer.ca, "
                                  "which `selvage pki` makes"
                                : "that do not know its secret; write peer.secret");
        }
}

static void check_names(struct config_loader *l, const struct config *c, struct map *names,
                        struct map *hosts, struct map *ids)
{
    for (size_t i = 0; i < c->sites_count; i++) {
        struct config_site *s = &c->sites[i];
        struct slice id = {(const char *)&s->id, sizeof(s->id)};

        for (size_t j = 0; j < s->hosts.count; j++)
            claim(l, hosts, &s->hosts.item[j], slice_of(s->hosts.item[j]), "a host of the site");
        if (s->name == NULL)
            continue;
        if (map_find(names, slice_of(s->name)) == NULL)
            claim(l, ids, &s->name, id, "to the store the same as the name of the site");
        claim(l, names, &s->name, slice_of(s->name), "the name of the site");
    }
}

/* An origin, or files, or both. */
static void check_has_answers(struct config_loader *l, const struct config_site *s)
{
    const struct config_node *files = config__place(l, &s->files);

    if (files != NULL && !s->files && config__place(l, &s->origin.servers) == NULL)
        config__error(l, files, "nothing is served without an origin: write one, or files: yes");
}

void config__check_sites(struct config_loader *l, const struct config *c)
{
    struct map *names = NULL, *hosts = NULL, *ids = NULL;

    if (map_new(&names) != ERR_OK || map_new(&hosts) != ERR_OK || map_new(&ids) != ERR_OK)
        l->is_out_of_memory = true;
    else
        check_names(l, c, names, hosts, ids);
    map_free(names);
    map_free(hosts);
    map_free(ids);
    for (size_t i = 0; i < c->sites_count; i++) {
        check_origin(l, &c->sites[i].origin);
        check_has_answers(l, &c->sites[i]);
        check_rules(l, &c->sites[i]);
    }
}

void config__check(struct config_loader *l, struct config *c)
{
    check_listen(l, c);
    check_peers(l, c);
    check_shields(l, c);
    check_owner(l, c);
    check_is_known(l, c);
    check_admin(l, c);
    check_tokens(l, c);
    config__check_sites(l, c);
    config__check_geo(l, c);
}
