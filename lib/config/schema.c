/* The keys of all files, and what they mean; conf/ shows them in use. */
#include "base/limits.h"
#include "base/log.h"
#include "config/config_priv.h"

enum {
    SECONDS_MAX = 10 * 365 * 86400,
    LISTEN_MAX = 64,
    SITES_MAX = 4096,
    HOSTS_MAX = 1000,
    SERVERS_MAX = LIMIT_SERVERS,
    SHIELDS_MAX = 16, /* of a group */
    RULES_MAX = 1000,
    TARGETED_MAX = 4,
    FIELDS_ALSO_MAX = 64,
    WORDS_MAX = 256, /* methods, types, cookies, parameters */
    TOKENS_MAX = 1000,
    NODES_MAX = 256,
    REVOKED_MAX = 10000,
};

#define STORE_BYTES_MIN (16 * MIB)
#define STORE_BYTES_MAX (1024 * 1024 * GIB)
#define TIMEOUT_MS_MAX  3600000

#define AT(type, field) .offset = offsetof(struct type, field)
#define IN_BLOCK        .offset = 0 /* the block's keys are fields of the struct around it */
#define ITEMS(type, field, count, item)                                                            \
    .offset = offsetof(struct type, field), .count_offset = offsetof(struct type, count),          \
    .item_bytes = sizeof(struct item)
#define END                                                                                        \
    {                                                                                              \
        .name = NULL                                                                               \
    }

static const struct config_word yes_no[] = {{"yes", 1, false},
                                            {"no", 0, false},
                                            {"true", 1, true},
                                            {"false", 0, true},
                                            {"on", 1, true},
                                            {"off", 0, true},
                                            {0}};
static const struct config_word on_off[] = {
    {"on", CONFIG_ON, false}, {"off", CONFIG_OFF, false}, {0}};
static const struct config_word https_word[] = {{"https", 1, false}, {0}};
static const struct config_word levels[] = {{"error", LOG_LEVEL_ERROR, false},
                                            {"warn", LOG_LEVEL_WARN, false},
                                            {"info", LOG_LEVEL_INFO, false},
                                            {"debug", LOG_LEVEL_DEBUG, false},
                                            {0}};
static const struct config_word reloads[] = {{"limit", CONFIG_RELOAD_LIMIT, false},
                                             {"honour", CONFIG_RELOAD_HONOUR, false},
                                             {"ignore", CONFIG_RELOAD_IGNORE, false},
                                             {0}};
static const struct config_word set_cookies[] = {
    {"safe", CONFIG_SET_COOKIE_SAFE, false}, {"rfc", CONFIG_SET_COOKIE_RFC, false}, {0}};
static const struct config_word geos[] = {{"off", CONFIG_GEO_OFF, false},
                                          {"header", CONFIG_GEO_HEADER, false},
                                          {"redirect", CONFIG_GEO_REDIRECT, false},
                                          {"no", CONFIG_GEO_OFF, true},
                                          {0}};
static const struct config_word range_words[] = {{"pass", 0, false}, {"whole", 1, false}, {0}};
static const struct config_word logs[] = {{"short", 0, false}, {"full", 1, false}, {0}};
static const struct config_word balances[] = {
    {"least", CONFIG_BALANCE_LEAST, false}, {"hash", CONFIG_BALANCE_HASH, false}, {0}};
static const struct config_word directs[] = {{"allowed", 1, false}, {"refused", 0, false}, {0}};
static const struct config_word losts[] = {{"revalidate", CONFIG_LOST_REVALIDATE, false},
                                           {"serve", CONFIG_LOST_SERVE, false},
                                           {"fail", CONFIG_LOST_FAIL, false},
                                           {0}};
static const struct config_word peers[] = {
    {"certificate", CONFIG_PEERS_CERTIFICATE, false}, {"secret", CONFIG_PEERS_SECRET, false}, {0}};
static const struct config_word request_fields[] = {{"known", 0, false}, {"strict", 1, false}, {0}};
static const struct config_word underscores[] = {{"drop", 0, false}, {"allow", 1, false}, {0}};

/* ---- a site ---- */

static const struct config_key health_keys[] = {
    {"path", CONFIG_TEXT, .is_required = true, AT(config_health, path),
     .check = config__check_probe_path,
     .means = "write what to ask for, such as /up: a status of 2xx or 3xx means up"},
    {"every", CONFIG_MS, AT(config_health, every_ms), .min = 100, .max = TIMEOUT_MS_MAX,
     .means = "from probe to probe; default: 1s"},
    {"host", CONFIG_TEXT, AT(config_health, host), .check = config__check_authority,
     .means = "the Host of probes; default: host_header, or the site's first host"},
    END};

static const struct config_key origin_keys[] = {
    {"servers", CONFIG_TEXTS, .is_required = true, AT(config_origin, servers), .min = 1,
     .max = SERVERS_MAX, .check = config__check_server,
     .means = "write the origin's addresses, such as [https://10.0.0.5:8443]"},
    {"host_header", CONFIG_TEXT, AT(config_origin, host_header), .check = config__check_authority,
     .means = "the Host the origin is asked for; default: the client's"},
    {"sni", CONFIG_TEXT, AT(config_origin, sni), .check = config__check_name,
     .means = "the name in the TLS handshake, which the certificate must cover; default: as Host"},
    {"ca", CONFIG_PATH, AT(config_origin, ca),
     .means = "a PEM file of who may sign the origin's certificate; default: the system's"},
    {"verify", CONFIG_BOOL, AT(config_origin, verify), .words = yes_no,
     .means = "check the origin's certificate; default: yes"},
    {"allow_local", CONFIG_BOOL, AT(config_origin, allow_local), .words = yes_no,
     .means = "let servers be loopback or link-local addresses; default: no"},
    {"connections", CONFIG_COUNT, AT(config_origin, connections), .min = 1, .max = 65536,
     .means = "most connections of this node to the origin; default: 64"},
    {"queue", CONFIG_COUNT, AT(config_origin, queue), .max = 1048576,
     .means = "most requests that wait for one of them; the next gets 503; default: 64"},
    {"connect_timeout", CONFIG_MS, AT(config_origin, connect_ms), .min = 1, .max = TIMEOUT_MS_MAX,
     .means = "for connection and handshake; default: 3s"},
    {"first_byte_timeout", CONFIG_MS, AT(config_origin, first_byte_ms), .min = 1,
     .max = TIMEOUT_MS_MAX, .means = "from the request to the response's head; default: 30s"},
    {"idle_timeout", CONFIG_MS, AT(config_origin, idle_ms), .min = 1, .max = TIMEOUT_MS_MAX,
     .means = "without a byte in the response's body; default: 30s"},
    {"weights", CONFIG_TEXTS, AT(config_origin, weights), .min = 1, .max = SERVERS_MAX,
     .check = config__check_weight,
     .means = "how much each server gets, such as [3, 1]; default: equal parts"},
    {"balance", CONFIG_WORD, AT(config_origin, balance), .words = balances,
     .means = "least: to the server with the fewest requests; hash: each object to one server; "
              "default: least"},
    {"health", CONFIG_BLOCK, AT(config_origin, health), .inside = health_keys,
     .means = "probes of the servers, such as {path: /up, every: 2s}; default: none"},
    END};

static const struct config_key rule_keys[] = {
    {"path", CONFIG_TEXT, AT(config_rule, path), .check = config__check_path_glob,
     .means = "a glob over the path: '*' any bytes, '?' one; default: \"*\""},
    {"methods", CONFIG_TEXTS, AT(config_rule, methods), .min = 1, .max = WORDS_MAX,
     .check = config__check_method,
     .means = "write methods, such as [GET] (holds for HEAD too); default: all"},
    {"types", CONFIG_TEXTS, AT(config_rule, types), .is_lower = true, .min = 1, .max = WORDS_MAX,
     .check = config__check_type_glob,
     .means = "write content types of the response, such as [\"image/*\"]; default: all"},
    {"cache", CONFIG_WORD, AT(config_rule, cache), .words = on_off,
     .means = "off: passed to the origin, never stored; default: on"},
    {"stream", CONFIG_BOOL, AT(config_rule, stream), .words = yes_no,
     .means = "pass events and long polls as they come, without idle limits; default: no"},
    {"slice", CONFIG_BYTES, AT(config_rule, slice_bytes), .min = 64 * KIB, .max = 64 * MIB,
     .means = "keep large objects in blocks of about that size, fetched when they are asked for, "
              "such as 1MiB; default: whole"},
    {"range", CONFIG_BOOL, AT(config_rule, range_whole), .words = range_words,
     .means = "whole: a range of what is not stored fetches all of it, if that is at most 8MiB; "
              "pass: the range alone, which is not stored; default: pass"},
    {"websocket", CONFIG_BOOL, AT(config_rule, websocket), .words = yes_no,
     .means = "let clients open WebSockets here; default: no"},
    {"ttl", CONFIG_SECONDS, AT(config_rule, ttl_s), .max = SECONDS_MAX,
     .means = "lifetime, in place of the origin's; default: the origin's"},
    {"default_ttl", CONFIG_SECONDS, AT(config_rule, default_ttl_s), .max = SECONDS_MAX,
     .means = "lifetime where the origin names none; default: by RFC 9111"},
    {"stale_while_revalidate", CONFIG_SECONDS, AT(config_rule, stale_while_revalidate_s),
     .max = SECONDS_MAX,
     .means = "how long past its lifetime an object is served while it is fetched anew; default: "
              "the origin's"},
    {"stale_if_error", CONFIG_SECONDS, AT(config_rule, stale_if_error_s), .max = SECONDS_MAX,
     .means = "how long past its lifetime an object is served when the origin fails; default: 1d"},
    {"bypass_cookies", CONFIG_TEXTS, AT(config_rule, bypass_cookies), .min = 1, .max = WORDS_MAX,
     .check = config__check_word_glob,
     .means = "write names of cookies, such as [sessionid]: a request that has one is passed; "
              "default: none"},
    END};

static void begin_rule(void *item, const struct config_node *n)
{
    static char everything[] = "*";

    *(struct config_rule *)item = (struct config_rule){
        .path = everything,
        .ttl_s = CONFIG_UNSET,
        .default_ttl_s = CONFIG_UNSET,
        .stale_while_revalidate_s = CONFIG_UNSET,
        .stale_if_error_s = CONFIG_UNSET,
        .line = n->line,
    };
}

const struct config_key config__query_names_key = {"drop",
                                                   CONFIG_TEXTS,
                                                   AT(config_site, query_drop_names),
                                                   .min = 1,
                                                   .max = WORDS_MAX,
                                                   .check = config__check_word_glob,
                                                   .means = "write names, such as [sid]"};

const struct config_key config__query_keep_key = {"keep",
                                                  CONFIG_TEXTS,
                                                  AT(config_site, query_keep_names),
                                                  .min = 1,
                                                  .max = WORDS_MAX,
                                                  .check = config__check_word_glob,
                                                  .means = "write names, such as [page, q]"};

static const struct config_key query_keys[] = {
    {"keep", CONFIG_CUSTOM, .load = config__load_query_keep,
     .means = "none: the whole query is dropped from key and request; a list of names and globs: "
              "all others are; default: all"},
    {"sort", CONFIG_BOOL, AT(config_site, query_sort), .words = yes_no,
     .means = "order the parameters by name, in key and request; default: no"},
    {"drop", CONFIG_CUSTOM, .load = config__load_query_drop,
     .means = "parameters dropped from key and request: tracking, or a list of names and globs; "
              "default: none"},
    END};

static const struct config_key negative_keys[] = {
    {"404", CONFIG_SECONDS, AT(config_site, negative_404_s), .max = SECONDS_MAX,
     .means = "lifetime of 404; default: as the response says"},
    {"5xx", CONFIG_SECONDS, AT(config_site, negative_5xx_s), .max = SECONDS_MAX,
     .means = "lifetime of server errors; default: as the response says"},
    END};

static const struct config_key files_lifetime_keys[] = {
    {"hashed", CONFIG_SECONDS, AT(config_site, files_hashed_s), .max = SECONDS_MAX,
     .means = "of names that carry a hash of the content, such as app.8f3c2a1b.js; default: 1y"},
    {"others", CONFIG_SECONDS, AT(config_site, files_others_s), .max = SECONDS_MAX,
     .means = "of all others; 0s: validated each time; default: 0s"},
    {"names", CONFIG_TEXTS, AT(config_site, files_names), .min = 1, .max = WORDS_MAX,
     .check = config__check_path_glob,
     .means = "write globs over paths, such as [\"/assets/*\"]: these carry a hash too; default: "
              "none"},
    END};

static const struct config_key site_keys[] = {
    {"name", CONFIG_TEXT, .is_required = true, AT(config_site, name), .check = config__check_label,
     .means = "write a short name; metrics, logs and tokens use it"},
    {"hosts", CONFIG_TEXTS, .is_required = true, AT(config_site, hosts), .is_lower = true, .min = 1,
     .max = HOSTS_MAX, .check = config__check_host,
     .means = "write the names it answers to, such as [www.example.com, \"*.cdn.example.com\"]"},
    {"origin", CONFIG_BLOCK, .is_required = true, .unless = "files", AT(config_site, origin),
     .inside = origin_keys,
     .means = "write where it comes from, such as origin: {servers: [https://10.0.0.5:8443]}"},
    {"rules", CONFIG_LIST, ITEMS(config_site, rules, rules_count, config_rule), .max = RULES_MAX,
     .inside = rule_keys, .begin = begin_rule,
     .means = "the first that matches holds; default: none, RFC 9111 to the letter"},
    {"query", CONFIG_BLOCK, IN_BLOCK, .inside = query_keys,
     .means = "what of the query is the same request"},
    {"negative_ttl", CONFIG_BLOCK, IN_BLOCK, .inside = negative_keys,
     .means = "lifetimes of errors"},
    {"client_reload", CONFIG_WORD, AT(config_site, client_reload), .words = reloads,
     .means = "no-cache of a request: limit (one validation per object and second), honour or "
              "ignore; default: limit"},
    {"deception_guard", CONFIG_BOOL, AT(config_site, deception_guard), .words = yes_no,
     .means = "do not store what has another content type than its path's extension says; default: "
              "yes"},
    {"set_cookie", CONFIG_WORD, AT(config_site, set_cookie), .words = set_cookies,
     .means = "safe: a response that sets a cookie is stored only when public; rfc: as RFC 9111 "
              "allows; default: safe"},
    {"targeted_fields", CONFIG_TEXTS, AT(config_site, targeted_fields), .is_lower = true,
     .max = TARGETED_MAX, .check = config__check_field,
     .means = "response fields that stand above CDN-Cache-Control, such as [My-CDN-Cache-Control]"},
    {"max_request_body", CONFIG_BYTES, AT(config_site, max_request_body),
     .max = LIMIT_REQUEST_BODY_CEILING, .means = "larger ones get 413; default: 1MiB"},
    {"tunnels", CONFIG_COUNT, AT(config_site, tunnels), .max = LIMIT_TUNNELS,
     .means = "most WebSockets at once through this node; the next gets 503; default: 1024"},
    {"tunnel_idle", CONFIG_MS, AT(config_site, tunnel_idle_ms), .min = 1000,
     .max = TIMEOUT_MS_MAX * 24,
     .means = "a WebSocket without a byte for so long is closed; default: 1h"},
    {"hsts", CONFIG_SECONDS, AT(config_site, hsts_s), .max = SECONDS_MAX,
     .means = "Strict-Transport-Security for that long; default: none"},
    {"log", CONFIG_BOOL, AT(config_site, log_full), .words = logs,
     .means = "full: whole client addresses and query values in the access log; default: short"},
    {"request_fields", CONFIG_BOOL, AT(config_site, strict_fields), .words = request_fields,
     .means =
         "strict: the origin gets the fields of the standards, and those of request_fields_also, "
         "and no others; default: known: all but those that origins are known to act on"},
    {"request_fields_also", CONFIG_TEXTS, AT(config_site, fields_also), .is_lower = true,
     .max = FIELDS_ALSO_MAX, .check = config__check_field,
     .means = "names that go to the origin besides, with request_fields: strict"},
    {"underscores", CONFIG_BOOL, AT(config_site, underscores), .words = underscores,
     .means = "request fields with '_' in their names; default: drop"},
    {"geo", CONFIG_WORD, AT(config_site, geo), .words = geos,
     .means = "header: X-Geo-Country goes to the origin and into the key; redirect: clients are "
              "sent to a much nearer region; default: off"},
    {"geo_redirect", CONFIG_BLOCK, IN_BLOCK, .inside = config__geo_redirect_keys,
     .means = "which answers are worth a redirect"},
    {"files", CONFIG_BOOL, AT(config_site, files), .words = yes_no,
     .means = "yes: what `selvage publish` has put there is answered first; default: no"},
    {"files_lifetime", CONFIG_BLOCK, IN_BLOCK, .inside = files_lifetime_keys,
     .means = "how long clients may keep published files"},
    END};

static void begin_site(void *item, const struct config_node *n)
{
    (void)n;
    *(struct config_site *)item = (struct config_site){
        .origin = {.verify = true,
                   .connections = LIMIT_CONNECTIONS,
                   .queue = LIMIT_QUEUE,
                   .connect_ms = LIMIT_CONNECT_ORIGIN_MS,
                   .first_byte_ms = LIMIT_FIRST_BYTE_MS,
                   .idle_ms = LIMIT_BODY_IDLE_MS,
                   .health = {.every_ms = LIMIT_HEALTH_MS}},
        .negative_404_s = CONFIG_UNSET,
        .negative_5xx_s = CONFIG_UNSET,
        .deception_guard = true,
        .max_request_body = LIMIT_REQUEST_BODY_BYTES,
        .tunnels = LIMIT_TUNNELS_SITE,
        .tunnel_idle_ms = LIMIT_STREAM_IDLE_MS,
        .geo_min_size = LIMIT_GEO_REDIRECT_BYTES,
        .files_hashed_s = LIMIT_FILES_HASHED_S,
    };
}

const struct config_key config__sites_keys[] = {
    {"sites", CONFIG_LIST, .is_required = true, ITEMS(config, sites, sites_count, config_site),
     .min = 1, .max = SITES_MAX, .inside = site_keys, .begin = begin_site,
     .means = "write at least one site"},
    END};

/* ---- tokens ---- */

static const struct config_key token_keys[] = {
    {"name", CONFIG_TEXT, .is_required = true, AT(config_token, name), .check = config__check_label,
     .means = "write who holds it; the audit log names it"},
    {"secret", CONFIG_TEXT, .is_required = true, .is_secret = true, AT(config_token, secret),
     .check = config__check_secret,
     .means = "write at least 16 bytes, such as from `openssl rand -hex 24`"},
    {"kinds", CONFIG_CUSTOM, .is_required = true, .load = config__load_kinds,
     .means = "write what it allows: purge, read (status, lists, explain), wide (purges of hosts "
              "and of everything), regions (drain and undrain them), publish (releases of sites "
              "with files: yes)"},
    {"sites", CONFIG_TEXTS, AT(config_token, sites), .min = 1, .max = SITES_MAX,
     .check = config__check_label, .means = "write names of sites it is good for; default: all"},
    END};

const struct config_key config__tokens_keys[] = {
    {"tokens", CONFIG_LIST, .is_required = true, ITEMS(config, tokens, tokens_count, config_token),
     .min = 1, .max = TOKENS_MAX, .inside = token_keys, .means = "write at least one token"},
    END};

/* ---- the node ---- */

static const struct config_key tls_keys[] = {
    {"certificates", CONFIG_PATH, .is_required = true, AT(config_listen, certificates),
     .means = "write a PEM file, or a folder of NAME.pem (chain and key) or NAME.crt and NAME.key"},
    END};

static const struct config_key listen_keys[] = {
    {"address", CONFIG_TEXT, .is_required = true, AT(config_listen, address),
     .check = config__check_address,
     .means = "write IP and port, such as 0.0.0.0:443 or \"[::]:443\""},
    {"tls", CONFIG_BLOCK, IN_BLOCK, .inside = tls_keys,
     .means = "HTTP/2 and HTTP/1.1 over TLS; default: plain HTTP/1.1"},
    {"redirect", CONFIG_BOOL, AT(config_listen, redirect), .words = https_word,
     .means = "https: everything is redirected there; default: no"},
    {"redirect_port", CONFIG_COUNT, AT(config_listen, redirect_port), .min = 1, .max = 65535,
     .means =
         "the port where clients find it, such as 443 before a container that listens on 8443; "
         "default: the port of an address with tls"},
    {"peers", CONFIG_WORD, AT(config_listen, peers), .words = peers,
     .means = "a shield's listener, for edges: certificate (TLS, with that of peer), or secret "
              "(plain, on a private net); default: for clients"},
    END};

static const struct config_key peer_keys[] = {
    {"certificate", CONFIG_PATH, AT(config_peer, certificate),
     .means = "a PEM file of this node's certificate and key, which other nodes are shown"},
    {"ca", CONFIG_PATH, AT(config_peer, ca),
     .means = "a PEM file of who signs the nodes' certificates: the fleet's own CA"},
    {"secret", CONFIG_CUSTOM, IN_BLOCK, .load = config__load_secret_file,
     .means = "a file of one line, the secret that nodes of a private net share; default: none"},
    {"peers", CONFIG_CUSTOM, IN_BLOCK, .load = config__load_peers,
     .means = "a file of certificates that are revoked; default: none"},
    END};

static const struct config_key journal_keys[] = {
    {"owner", CONFIG_TEXT, AT(config_journal, owner), .check = config__check_server,
     .means =
         "the shield that owns the purge journal, such as https://fra1.internal:8443; default: "
         "the first of upstream.shields, and without them this node itself"},
    {"grace", CONFIG_MS, AT(config_journal, grace_ms), .min = 1000, .max = TIMEOUT_MS_MAX,
     .means = "how long this node goes on as usual without its owner; default: 1m"},
    {"on_journal_lost", CONFIG_WORD, AT(config_journal, on_lost), .words = losts,
     .means = "after that: revalidate (serve what was validated since), serve (purges may be "
              "missed) or fail (503); default: revalidate"},
    END};

static const struct config_key revoked_keys[] = {
    {"name", CONFIG_TEXT, AT(config_revoked, name), .check = config__check_label,
     .means = "a node, with all its certificates"},
    {"serial", CONFIG_TEXT, .is_lower = true, AT(config_revoked, serial),
     .check = config__check_serial, .means = "one certificate, by its serial number"},
    END};

const struct config_key config__peers_keys[] = {
    {"revoked", CONFIG_LIST, .is_required = true,
     ITEMS(config_peer, revoked, revoked_count, config_revoked), .max = REVOKED_MAX,
     .inside = revoked_keys, .means = "write a list, such as [{name: edge-fra1}]"},
    END};

static const struct config_key admin_keys[] = {
    {"listen", CONFIG_TEXT, AT(config, admin_listen), .check = config__check_address,
     .means = "address of the admin interface; default: 127.0.0.1:9180"},
    {"tokens", CONFIG_CUSTOM, .load = config__load_tokens,
     .means = "the file of tokens; default: none, which only a loopback address may do without"},
    END};

static const struct config_key store_keys[] = {
    {"directory", CONFIG_PATH, .is_required = true, AT(config, store_directory),
     .means = "write where objects are kept, such as /var/lib/selvage"},
    {"size", CONFIG_BYTES, .is_required = true, AT(config, store_size), .min = STORE_BYTES_MIN,
     .max = STORE_BYTES_MAX, .means = "write how much of the disk is used, such as 100GiB"},
    {"files", CONFIG_BYTES, AT(config, files_size), .min = STORE_BYTES_MIN, .max = STORE_BYTES_MAX,
     .means = "room for published releases, beside size; default: 10GiB"},
    END};

static const struct config_key log_keys[] = {
    {"error", CONFIG_PATH, AT(config, error_log), .means = "file of errors; default: stderr"},
    {"access", CONFIG_CUSTOM, .load = config__load_access_log,
     .means = "file of requests, or \"-\" for stdout; default: none"},
    {"level", CONFIG_WORD, AT(config, log_level), .words = levels,
     .means = "error, warn, info or debug; default: info"},
    END};

const struct config_key config__shield_group_key = {"group",
                                                    CONFIG_TEXTS,
                                                    AT(config_group, shields),
                                                    .min = 1,
                                                    .max = SHIELDS_MAX,
                                                    .check = config__check_server,
                                                    .means = "write at least one shield"};

static const struct config_key upstream_keys[] = {
    {"shields", CONFIG_CUSTOM, .is_required = true, .load = config__load_shields,
     .means = "write groups of shields, nearest first, such as [[https://fra1.internal:8443, "
              "https://fra2.internal:8443], [https://iad1.internal:8443]]"},
    {"direct", CONFIG_BOOL, AT(config, direct), .words = directs,
     .means = "allowed: when no shield can be asked, the origin is; refused: it is not; default: "
              "allowed"},
    {"connections", CONFIG_COUNT, AT(config, shield_connections), .min = 1, .max = 65536,
     .means =
         "most connections of this node to one shield; requests wait for one, and get 503 when "
         "that takes too long; default: 1024"},
    END};

static const struct config_key explain_keys[] = {
    {"secret", CONFIG_CUSTOM, IN_BLOCK, .load = config__load_explain_secret,
     .means =
         "a file of one line: who signs a request's Selvage-Debug with it is told in the answer "
         "why it is as it is; default: nobody is"},
    END};

const struct config_key config__edge_keys[] = {
    {"listen", CONFIG_LIST, .is_required = true, ITEMS(config, listen, listen_count, config_listen),
     .min = 1, .max = LISTEN_MAX, .inside = listen_keys,
     .means = "write at least one address, such as listen: [{address: \"0.0.0.0:80\"}]"},
    {"admin", CONFIG_BLOCK, IN_BLOCK, .inside = admin_keys, .means = "the admin interface"},
    {"store", CONFIG_BLOCK, .is_required = true, IN_BLOCK, .inside = store_keys,
     .means = "write store: {directory: /var/lib/selvage, size: 100GiB}"},
    {"sites", CONFIG_CUSTOM, .is_required = true, .load = config__load_sites,
     .means = "write the sites file, such as sites.yaml, or the list of sites itself"},
    {"logs", CONFIG_BLOCK, IN_BLOCK, .inside = log_keys, .means = "where lines go"},
    {"workers", CONFIG_COUNT, AT(config, workers), .max = 1024,
     .means = "threads that serve; default: 0, one per core"},
    {"node", CONFIG_TEXT, AT(config, node), .check = config__check_label,
     .means = "this node's name in Via and Cache-Status; default: selvage"},
    {"drain", CONFIG_MS, AT(config, drain_ms), .max = TIMEOUT_MS_MAX,
     .means = "how long running requests may take after SIGTERM; default: 30s"},
    {"upstream", CONFIG_BLOCK, IN_BLOCK, .inside = upstream_keys,
     .means = "the shields between this node and the origins; default: none"},
    {"peer", CONFIG_BLOCK, AT(config, peer), .inside = peer_keys,
     .means = "this node among the nodes of the fleet"},
    {"journal", CONFIG_BLOCK, AT(config, journal), .inside = journal_keys,
     .means = "whose purges this node heeds"},
    {"explain", CONFIG_BLOCK, IN_BLOCK, .inside = explain_keys, .means = "answers that say why"},
    {"geo", CONFIG_BLOCK, IN_BLOCK, .inside = config__geo_keys, .means = "where clients are"},
    END};

/* ---- the command line tool ---- */

const struct config_key config__cli_keys[] = {
    {"nodes", CONFIG_TEXTS, AT(config_cli, nodes), .min = 1, .max = NODES_MAX,
     .check = config__check_node,
     .means = "write admin addresses, such as [http://127.0.0.1:9180]"},
    {"token", CONFIG_TEXT, .is_secret = true, AT(config_cli, token), .check = config__check_token,
     .means = "the secret of a token; default: none"},
    {"ca", CONFIG_PATH, AT(config_cli, ca),
     .means = "a PEM file of who signs the nodes' certificates; default: the system's"},
    END};

void config__set_defaults(struct config *c)
{
    static char admin_listen[] = "127.0.0.1:9180", node[] = "selvage";

    c->admin_listen = admin_listen;
    c->node = node;
    c->log_level = LOG_LEVEL_INFO;
    c->drain_ms = LIMIT_DRAIN_MS;
    c->direct = true;
    c->shield_connections = LIMIT_SHIELD_CONNECTIONS;
    c->journal.grace_ms = LIMIT_JOURNAL_GRACE_MS;
    c->files_size = LIMIT_FILES_BYTES;
}
