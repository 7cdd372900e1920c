/*
 * config: the configuration files as one plain, immutable struct.
 *
 * The only folder that knows YAML.  Every error names file, line, column and key.
 * Times are milliseconds or seconds as the name says, sizes bytes.  The meaning of
 * each key stands in schema.c beside its name; `selvage check FILE` and the daemons
 * use the same loader.
 *
 * A struct config never changes after config_load(); it is counted, and swapped whole
 * on reload.  Any thread may read it.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define CONFIG_UNSET INT64_C(-1) /* the key was not written: the rule does not speak of it */

struct config_strings {
    char **item;
    size_t count;
};

/* Who may ask here: clients, or nodes of the fleet that show a certificate, or the secret. */
enum config_peers { CONFIG_PEERS_NONE, CONFIG_PEERS_CERTIFICATE, CONFIG_PEERS_SECRET };

struct config_listen {
    char *address;      /* "0.0.0.0:443", "[::]:443" */
    char *certificates; /* tls.certificates: a PEM file, or a directory of NAME.pem (chain and key) or NAME.crt + NAME.key; NULL: no TLS.  With peers: certificate, peer.certificate */
    int peers;          /* enum config_peers; all listeners of a shield have it, those of an edge never */
    bool redirect;      /* redirect: https */
    uint64_t redirect_port; /* where clients are sent; 0: to the port of an address with TLS */
};

enum config_switch { CONFIG_SWITCH_UNSET, CONFIG_OFF, CONFIG_ON };

/* One rule: the first that matches decides; a key it does not write is not decided by a later rule. */
struct config_rule {
    char *path;                    /* glob; default "*" */
    struct config_strings methods; /* empty: all */
    struct config_strings types;   /* content types of the response, globs; empty: all */
    enum config_switch cache;      /* off: pass */
    bool stream;                   /* passed as it comes */
    bool range_whole;              /* range: whole */
    uint64_t slice_bytes;          /* slice: 1MiB; 0: none */
    bool websocket;                /* may be asked for */
    int64_t ttl_s, default_ttl_s;
    int64_t stale_while_revalidate_s, stale_if_error_s;
    struct config_strings bypass_cookies; /* names, globs */
    unsigned line;                 /* where it stands in the sites file: explain names it */
};

enum config_balance { CONFIG_BALANCE_LEAST, CONFIG_BALANCE_HASH };

/* Probes of an origin's servers. */
struct config_health {
    char *path;        /* NULL: none */
    char *host;        /* NULL: host_header, or the site's first host */
    uint64_t every_ms;
};

struct config_origin {
    struct config_strings servers; /* absolute http(s) URLs without path; empty: there is no origin, files alone */
    struct config_strings weights; /* empty, or a number from 1 to 100 for each server */
    enum config_balance balance;
    struct config_health health;
    char *host_header;             /* NULL: the client's host */
    char *sni;                     /* NULL: as Host */
    char *ca;                      /* PEM file; NULL: the system's */
    bool verify;                   /* default true */
    bool allow_local;              /* default false: loopback and link-local addresses are refused */
    uint64_t connections, queue;   /* ceilings, per node */
    uint64_t connect_ms, first_byte_ms, idle_ms;
};

enum config_query_keep { CONFIG_QUERY_KEEP_ALL, CONFIG_QUERY_KEEP_NONE };
enum config_reload { CONFIG_RELOAD_LIMIT, CONFIG_RELOAD_HONOUR, CONFIG_RELOAD_IGNORE };
enum config_geo { CONFIG_GEO_OFF, CONFIG_GEO_HEADER, CONFIG_GEO_REDIRECT };
enum config_set_cookie { CONFIG_SET_COOKIE_SAFE, CONFIG_SET_COOKIE_RFC };

struct config_site {
    char *name;
    uint32_t id; /* hash of the name: kept in stored objects */
    struct config_strings hosts; /* exact, or "*.example.com" */
    struct config_origin origin;
    struct config_rule *rules;
    size_t rules_count;
    enum config_query_keep query_keep;
    struct config_strings query_keep_names; /* query.keep: [names and globs]; the others are dropped */
    bool query_sort;
    bool query_drop_tracking;              /* query.drop: tracking */
    struct config_strings query_drop_names; /* query.drop: [names and globs] */
    int64_t negative_404_s, negative_5xx_s; /* CONFIG_UNSET: as the response says */
    enum config_reload client_reload;
    bool deception_guard;      /* default true */
    enum config_set_cookie set_cookie;
    struct config_strings targeted_fields; /* lower-case names of response fields */
    uint64_t max_request_body;
    uint64_t tunnels;          /* WebSockets at once, per node */
    uint64_t tunnel_idle_ms;
    uint64_t hsts_s;           /* 0: none */
    bool log_full;             /* log: full */
    bool strict_fields;        /* request_fields: strict */
    struct config_strings fields_also; /* lower-case names of request fields that go upstream then */
    bool underscores;          /* request_fields with '_' are let through */
    enum config_geo geo;
    uint64_t geo_min_size;     /* geo_redirect: of a stored object that is worth it */
    struct config_strings geo_paths; /* globs; worth it whatever their size */
    bool geo_credentials;      /* requests with Cookie or Authorization may be redirected */
    bool files;                /* published releases answer first */
    int64_t files_hashed_s, files_others_s; /* files_lifetime: of names with a hash, and of others */
    struct config_strings files_names;      /* globs over paths: these have a hash too */
};

/* One line of peers.yaml: a name or a serial number, the other is NULL. */
struct config_revoked {
    char *name;   /* every certificate of that node */
    char *serial; /* one certificate: lower-case hex digits without leading zeros */
};

/* This node among the others: what it shows them, and whom it believes. */
struct config_peer {
    char *certificate; /* PEM: certificate, chain and key; NULL: none */
    char *ca;          /* PEM: who signs the nodes' certificates; NULL: none */
    char *secret;      /* what nodes of a private net share; NULL: none */
    struct config_revoked *revoked; /* of peers.yaml */
    size_t revoked_count;
};

enum config_journal_lost { CONFIG_LOST_REVALIDATE, CONFIG_LOST_SERVE, CONFIG_LOST_FAIL };

/* Whose purges this node heeds. */
struct config_journal {
    char *owner;       /* URL of a node's listener for peers; NULL: upstream.shields decides, config_journal_owner() */
    uint64_t grace_ms; /* so long without its owner a node goes on as usual */
    int on_lost;       /* enum config_journal_lost: what it does then */
};

/* One line of regions.yaml, which is the same on all nodes. */
struct config_region {
    char *name;
    char *hostname;            /* lower-case, with port if written */
    double latitude, longitude; /* degrees */
    struct config_strings addresses;
    bool drain;                /* no client is sent there */
};

/* Shields that stand side by side: each object has its place at one of them. */
struct config_group {
    struct config_strings shields; /* absolute http(s) URLs without path */
};

struct config_token {
    char *name;
    char *secret;              /* at least 16 bytes */
    bool may_purge, may_read;  /* kinds: */
    bool may_purge_wide;       /* --all and --host */
    bool may_regions;          /* drain and undrain regions */
    bool may_publish;          /* publish releases and roll back */
    struct config_strings sites; /* empty: all */
};

struct config {
    _Atomic unsigned refs;
    char *file;
    struct config_listen *listen;
    size_t listen_count;
    struct config_peer peer;
    struct config_journal journal;
    struct config_group *groups; /* of shields, nearest first */
    size_t groups_count;         /* 0: the origins are asked directly */
    bool direct;                 /* when no shield can be asked, the origin may be */
    uint64_t shield_connections; /* of this node to one shield, at most */
    char *admin_listen;        /* default 127.0.0.1:9180 */
    struct config_token *tokens;
    size_t tokens_count;
    char *store_directory;
    uint64_t store_size;
    uint64_t files_size;       /* of published releases, beside store_size */
    char *error_log, *access_log; /* NULL: stderr, none */
    int log_level;             /* enum log_level */
    uint64_t workers;          /* 0: one per core */
    char *node;                /* name in Via and Cache-Status; default "selvage" */
    uint64_t drain_ms;
    struct config_site *sites;
    size_t sites_count;
    char *sites_file;
    uint64_t sites_hash;       /* of the list of sites as it is written, comments and layout aside: nodes compare it */
    char *explain_secret;      /* of signed Selvage-Debug fields; NULL: nobody is told by an answer */
    char *geo_database, *geo_database6; /* NULL: none */
    char *geo_here;            /* name of the region this node is in; NULL: unsaid */
    struct config_region *regions;
    size_t regions_count;
    char *regions_file;        /* NULL: none */
    void *memory;              /* private to lib/config */
};

/*
 * Load `file` (edge.yaml) and the files it names: sites (or an inline list), tokens.
 *
 *   errors   gets one line per error, "FILE:LINE:COLUMN: KEY: what is wrong", also for all errors after the first,
 *            and one per warning, "FILE:LINE:COLUMN: KEY: warning: ...", also with ERR_OK
 *
 * ERR_OK: *out is a reference, dropped with config_unref().  ERR_INVALID: `errors` says why.  ERR_NOMEM.
 */
NODISCARD enum err config_load(const char *file, struct config **out, struct buf *errors);

/* Load a sites file alone; for `selvage check` on one.  The result has sites only. */
NODISCARD enum err config_load_sites(const char *file, struct config **out, struct buf *errors);

/* The node whose purge journal this one follows: what is written, else the first shield; NULL: it has its own. */
const char *config_journal_owner(const struct config *c);

struct config *config_ref(struct config *c);
void config_unref(struct config *c); /* NULL is fine */

/* The nodes and tokens of the command line tool: ~/.config/selvage.yaml. */
struct config_cli {
    struct config_strings nodes; /* admin URLs */
    char *token;                 /* NULL: none */
    char *ca;                    /* PEM file for https admin URLs; NULL: the system's */
    void *memory;
};
NODISCARD enum err config_cli_load(const char *file, struct config_cli **out, struct buf *errors);
void config_cli_free(struct config_cli *c);

#endif
