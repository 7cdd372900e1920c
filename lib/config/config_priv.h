/*
 * config_priv: what the files of lib/config share.
 *
 * A file becomes a tree of nodes that know where they stand (tree.c); a table of keys (schema.c)
 * says what may stand there, and load.c fills the structs from both; check.c looks at what needs
 * more than one value.  Nothing stops at the first error: what is wrong is told, left at its
 * default, and the rest is read.
 */
#ifndef CONFIG_CONFIG_PRIV_H
#define CONFIG_CONFIG_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "config/config.h"

enum {
    CONFIG_FILE_BYTES_MAX = 4 << 20,
    CONFIG_NODES_MAX = 131072, /* of one file */
    CONFIG_DEPTH_MAX = 16,     /* the keys need 6 */
    CONFIG_ARENA_BYTES_MAX = 64 << 20,
    CONFIG_ERRORS_MAX = 100, /* told; the rest follows from them more often than not */
    CONFIG_QUOTE_BYTES = 96,
};

/* ---- tree.c: a file as nodes; the only file that knows libyaml ---- */

enum config_node_type { CONFIG_NODE_TEXT, CONFIG_NODE_LIST, CONFIG_NODE_BLOCK };

struct config_node {
    enum config_node_type type;
    bool is_plain;         /* text without quotes */
    unsigned line, column; /* from 1 */
    unsigned key_line, key_column;
    const char *file;  /* as it was named; lives as long as the loader */
    struct slice key;  /* in a block: under which key; else p == NULL */
    size_t index;      /* in a list: which */
    struct slice text; /* ends with a NUL */
    struct config_node *parent, *next;
    struct config_node *first, *last; /* of its children */
    size_t count;
};

/* One loading.  Nodes and places live as long as it; what goes into the result is in `arena`. */
struct config_loader {
    struct arena *arena; /* borrowed */
    struct arena scratch;
    struct buf *errors; /* borrowed */
    size_t errors_count;
    bool is_out_of_memory;
    bool is_alone; /* a text without a file: no other file is looked at */
    struct config_place *places;
    size_t places_count, places_capacity;
    bool is_sorted; /* all places are known */
};

/* Where the value of a field was written. */
struct config_place {
    const void *field;
    const struct config_node *node;
};

/*
 * The tree of `text`; NULL when an error was told or memory is short.
 *
 *   file   for messages; borrowed as long as the loader
 */
struct config_node *config__tree_parse(struct config_loader *l, const char *file,
                                       struct slice text);

/* ---- error.c: what is wrong, and where ---- */

/*
 * One line "FILE:LINE:COLUMN: KEY.PATH: ...": at a value, at its key, at key `name` that is missing
 * in block `n`; of a place in the text that is no value; of a file as a whole.
 */
void config__error(struct config_loader *l, const struct config_node *n, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same, of what may be meant: the file is loaded all the same. */
void config__warn(struct config_loader *l, const struct config_node *n, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void config__key_error(struct config_loader *l, const struct config_node *n, const char *format,
                       ...) __attribute__((format(printf, 3, 4)));
void config__missing_error(struct config_loader *l, const struct config_node *n, const char *name,
                           const char *why);
void config__text_error(struct config_loader *l, const char *file, unsigned line, unsigned column,
                        const char *format, ...) __attribute__((format(printf, 5, 6)));
void config__file_error(struct config_loader *l, const char *file, const char *why);

/* What somebody wrote, fit for a message: in quotes, cut, without control characters. */
struct config_quote {
    char text[CONFIG_QUOTE_BYTES];
};
struct config_quote config__quote(struct slice s);

/* ---- load.c: nodes -> structs ---- */

enum config_kind {
    CONFIG_TEXT,    /* char * */
    CONFIG_PATH,    /* char *: a file name, relative to the folder of the file it is written in */
    CONFIG_TEXTS,   /* struct config_strings */
    CONFIG_WORD,    /* int or enum: one of `words` */
    CONFIG_BOOL,    /* bool: one of `words` */
    CONFIG_COUNT,   /* uint64_t */
    CONFIG_MS,      /* uint64_t: a duration */
    CONFIG_SECONDS, /* int64_t or uint64_t: a duration of whole seconds */
    CONFIG_BYTES,   /* uint64_t */
    CONFIG_BLOCK,   /* a struct: `inside` */
    CONFIG_LIST,    /* a pointer to structs, and their count */
    CONFIG_CUSTOM,  /* what `load` makes of it */
    CONFIG_LATER,   /* a key of the design that this version does not have */
};

struct config_word {
    const char *word; /* NULL ends the table */
    int value;
    bool is_unsaid; /* understood, but not what messages recommend */
};

struct config_key {
    const char *name; /* NULL ends the table */
    enum config_kind kind;
    bool is_required;
    const char *unless;  /* another key of the block, beside which this one is not required */
    bool is_lower;       /* CONFIG_TEXT, CONFIG_TEXTS: without case, kept in lower-case */
    bool is_secret;      /* CONFIG_TEXT: never shown */
    size_t offset;       /* of the field; CONFIG_BLOCK: of the struct */
    size_t count_offset; /* CONFIG_LIST */
    uint64_t min, max;   /* numbers in the field's unit; entries of lists */
    const struct config_word *words;
    const struct config_key *inside; /* CONFIG_BLOCK, CONFIG_LIST */
    size_t item_bytes;               /* CONFIG_LIST */
    const char *means;               /* one line: messages and people read it */

    /* CONFIG_LIST: fills in the defaults of an entry; may be NULL. */
    void (*begin)(void *item, const struct config_node *n);

    /* Texts: what is wrong with it, static, or NULL; may be NULL. */
    const char *(*check)(struct slice s);

    /* CONFIG_CUSTOM. */
    void (*load)(struct config_loader *l, const struct config_node *n, void *base);
};

void config__load_block(struct config_loader *l, const struct config_node *n,
                        const struct config_key *keys, void *base);
void config__load_value(struct config_loader *l, const struct config_node *n,
                        const struct config_key *k, void *base);

/*
 * The tree of a file that must be a block; NULL when an error was told.
 *
 *   from   where the file is named; NULL for the first
 */
struct config_node *config__read_file(struct config_loader *l, const char *file,
                                      const struct config_node *from);

/* `n` as a file name, in the result; NULL when it is none (told) or memory is short. */
char *config__load_path(struct config_loader *l, const struct config_node *n);

/* While loading: `field` was written at `n`.  Then, once sorted: where it was, NULL for nowhere. */
void config__remember(struct config_loader *l, const void *field, const struct config_node *n);
void config__sort_places(struct config_loader *l);
const struct config_node *config__place(const struct config_loader *l, const void *field);

/* Cleared, in the result; NULL without memory. */
void *config__alloc(struct config_loader *l, size_t count, size_t each);

/* ---- schema.c ---- */

extern const struct config_key config__edge_keys[], config__sites_keys[], config__tokens_keys[],
    config__cli_keys[], config__peers_keys[];
extern const struct config_key config__geo_keys[], config__geo_redirect_keys[], config__regions_keys[]; /* geo.c */
extern const struct config_key config__query_names_key, config__query_keep_key; /* query.drop as a list */
extern const struct config_key config__shield_group_key; /* one of upstream.shields */

void config__set_defaults(struct config *c);

/* ---- custom.c: values of a form of their own ---- */

void config__load_query_keep(struct config_loader *l, const struct config_node *n, void *site);
void config__load_query_drop(struct config_loader *l, const struct config_node *n, void *site);
void config__load_kinds(struct config_loader *l, const struct config_node *n, void *token);
void config__load_access_log(struct config_loader *l, const struct config_node *n, void *config);
void config__load_tokens(struct config_loader *l, const struct config_node *n, void *config);
void config__load_sites(struct config_loader *l, const struct config_node *n, void *config);
void config__hash_sites(struct config_loader *l, const struct config_node *n, struct config *c);
void config__load_shields(struct config_loader *l, const struct config_node *n, void *config);
void config__load_explain_secret(struct config_loader *l, const struct config_node *n, void *config);
void config__load_secret_file(struct config_loader *l, const struct config_node *n, void *peer);
void config__load_peers(struct config_loader *l, const struct config_node *n, void *peer);

/* ---- check.c ---- */

void config__check(struct config_loader *l, struct config *c); /* and what follows from it */
void config__check_sites(struct config_loader *l, const struct config *c);
void config__check_geo(struct config_loader *l, const struct config *c); /* geo.c */

/* ---- names.c: grammars of single values; NULL or what is wrong ---- */

const char *config__check_host(struct slice s);      /* of a site: exact or "*.example.com" */
const char *config__check_name(struct slice s);      /* a host name, for SNI */
const char *config__check_authority(struct slice s); /* host or host:port */
const char *config__check_address(struct slice s);   /* IP:PORT */
const char *config__check_server(struct slice s);    /* http(s)://host:port */
const char *config__check_weight(struct slice s);    /* 1 to 100 */
const char *config__check_probe_path(struct slice s);
const char *config__check_field(struct slice s);     /* the name of a field of HTTP */
const char *config__check_label(struct slice s);     /* a name of ours, in metrics and logs */
const char *config__check_method(struct slice s);
const char *config__check_path_glob(struct slice s);
const char *config__check_type_glob(struct slice s);
const char *config__check_word_glob(struct slice s); /* of cookies and query parameters */
const char *config__check_secret(struct slice s);
const char *config__check_token(struct slice s); /* a secret as its holder has it */
const char *config__check_serial(struct slice s); /* of a certificate, in hex */
const char *config__check_node(struct slice s);  /* an admin URL */

/* Of a valid address; of a valid server: loopback, link-local or unspecified, as written. */
bool config__address_is_loopback(struct slice s);
bool config__server_is_local(struct slice s);

/* ---- config.c ---- */

/* As config_load(), of a text that is in memory and may name no file. */
NODISCARD enum err config__load_text(struct slice text, struct config **out, struct buf *errors);

#endif
