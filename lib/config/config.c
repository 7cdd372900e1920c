#include "config/config.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/digest.h"
#include "config/config_priv.h"

/* The arena that `memory` of a result points to; NULL when out of memory. */
static struct arena *new_memory(void)
{
    struct arena *a = malloc(sizeof(*a));

    if (a != NULL)
        arena_init(a, NULL, 0, CONFIG_ARENA_BYTES_MAX);
    return a;
}

static void free_memory(struct arena *a)
{
    if (a == NULL)
        return;
    arena_release(a);
    free(a);
}

static void loader_init(struct config_loader *l, struct arena *a, struct buf *errors)
{
    *l = (struct config_loader){.arena = a, .errors = errors};
    arena_init(&l->scratch, NULL, 0, CONFIG_ARENA_BYTES_MAX);
}

/* Ends the loader; how it went. */
static enum err loader_end(struct config_loader *l)
{
    arena_release(&l->scratch);
    return l->is_out_of_memory ? ERR_NOMEM : l->errors_count > 0 ? ERR_INVALID : ERR_OK;
}

/* Objects keep the number; 0 is no site's. */
static void set_ids(struct config *c)
{
    for (size_t i = 0; i < c->sites_count; i++)
        if (c->sites[i].name != NULL) {
            c->sites[i].id = (uint32_t)digest_64(slice_of(c->sites[i].name));
            c->sites[i].id += c->sites[i].id == 0;
        }
}

struct source {
    const char *file;
    struct slice text; /* p == NULL: what `file` holds */
    const struct config_key *keys;
    bool is_sites; /* a sites file alone */
};

static void fill(struct config_loader *l, const struct source *from, struct config *c)
{
    struct config_node *root = from->text.p == NULL ? config__read_file(l, from->file, NULL)
                                                    : config__tree_parse(l, from->file, from->text);

    if (root == NULL)
        return;
    config__load_block(l, root, from->keys, c);
    if (from->is_sites)
        config__hash_sites(l, root, c);
    set_ids(c);
    config__sort_places(l);
    if (from->is_sites)
        config__check_sites(l, c);
    else
        config__check(l, c);
}

static enum err load(const struct source *from, struct config **out, struct buf *errors)
{
    struct arena *a = new_memory();
    struct config_loader l;
    struct config *c;
    enum err e;

    if (a == NULL)
        return ERR_NOMEM;
    loader_init(&l, a, errors);
    l.is_alone = from->text.p != NULL;
    c = config__alloc(&l, 1, sizeof(*c));
    if (c != NULL) {
        atomic_init(&c->refs, 1);
        c->memory = a;
        c->file = arena_text(a, slice_of(from->file));
        l.is_out_of_memory = c->file == NULL;
        if (!from->is_sites)
            config__set_defaults(c);
        fill(&l, from, c);
    }
    e = loader_end(&l);
    if (e != ERR_OK) {
        free_memory(a);
        return e;
    }
    *out = c;
    return ERR_OK;
}

enum err config_load(const char *file, struct config **out, struct buf *errors)
{
    struct source from = {.file = file, .keys = config__edge_keys};

    return load(&from, out, errors);
}

enum err config_load_sites(const char *file, struct config **out, struct buf *errors)
{
    struct source from = {.file = file, .keys = config__sites_keys, .is_sites = true};

    return load(&from, out, errors);
}

enum err config__load_text(struct slice text, struct config **out, struct buf *errors)
{
    struct source from = {.file = "-", .text = text, .keys = config__edge_keys};

    CHECK(text.p != NULL);
    return load(&from, out, errors);
}

struct config *config_ref(struct config *c)
{
    atomic_fetch_add_explicit(&c->refs, 1,
                              memory_order_relaxed); /* whoever refs holds one already */
    return c;
}

void config_unref(struct config *c)
{
    /* release: our reads come before; acquire: those of all others come before the freeing */
    if (c != NULL && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
        free_memory(c->memory);
}

enum err config_cli_load(const char *file, struct config_cli **out, struct buf *errors)
{
    struct arena *a = new_memory();
    struct config_loader l;
    struct config_node *root;
    struct config_cli *c;
    enum err e;

    if (a == NULL)
        return ERR_NOMEM;
    loader_init(&l, a, errors);
    c = config__alloc(&l, 1, sizeof(*c));
    root = c == NULL ? NULL : config__read_file(&l, file, NULL);
    if (root != NULL) {
        c->memory = a;
        config__load_block(&l, root, config__cli_keys, c);
    }
    e = loader_end(&l);
    if (e != ERR_OK) {
        free_memory(a);
        return e;
    }
    *out = c;
    return ERR_OK;
}

void config_cli_free(struct config_cli *c)
{
    if (c != NULL)
        free_memory(c->memory);
}

const char *config_journal_owner(const struct config *c)
{
    if (c->journal.owner != NULL)
        return c->journal.owner;
    return c->groups_count > 0 ? c->groups[0].shields.item[0] : NULL;
}
