#include "server/ctl.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/admin.h"
#include "base/check.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/metrics.h"
#include "cache/cache.h"
#include "http/url.h"
#include "purge/purge.h"
#include "server/follower.h"
#include "server/journal.h"
#include "server/kin.h"
#include "server/listener.h"
#include "server/reactor_h2o.h"
#include "server/release.h"
#include "store/store.h"

enum {
    TURN_MS = 1000,
    CLIENTS_MAX = 64,
    REQUEST_TIMEOUT_MS = 30000, /* head and body together */
    EXPLAIN_BYTES_MAX = 256 << 10,
};

/* One connection; hangs on its socket. */
struct client {
    struct ctl *ctl;
    h2o_socket_t *sock;
    struct client *next, *prev;
};

struct ctl {
    struct ctl_options opt;
    struct admin *admin;         /* owned */
    struct store_reader *reader; /* owned */
    struct reactor *reactor;     /* owned */
    int fd;                      /* owned until the thread runs */
    uint16_t port;
    pthread_t thread;
    bool is_started;

    /* Of its thread. */
    h2o_globalconf_t conf;
    h2o_context_t ctx;
    h2o_accept_ctx_t accept;
    h2o_socket_t *listener;
    struct snapshot *snapshot; /* a reference */
    struct client *clients;
    unsigned clients_count;
    bool stopping;
    struct follower *follower; /* owned; NULL: this node owns its journal */
    struct epoch {
        struct reactor_message super;
        struct ctl *ctl;
        _Atomic bool is_posted;
        _Atomic uint16_t seen; /* the epoch that must end */
    } epoch;
    struct joined {
        struct reactor_message super;
        struct ctl *ctl;
        _Atomic bool is_posted;
    } joined;
};

/* ---- what lib/admin asks ---- */

static bool on_ready(void *user, struct buf *out)
{
    struct ctl *c = user;
    enum server_health health = server_health(c->opt.server);
    struct store_stat stat;

    store_stat(server_store(c->opt.server), &stat);
    buf_addf(out, "%s\n",
             health == SERVER_HEALTHY    ? "serving"
             : health == SERVER_DRAINING ? "draining: no new connections are accepted"
             : health == SERVER_LAGGING  ? "lagging: catching up with what was purged meanwhile"
                                         : "stuck: a worker has not moved for 5 seconds");
    if (!stat.writable)
        buf_add(out, SLICE("store: commits fail (is the disk full?); objects are served without "
                           "being stored\n"));
    if (!purge_has_lease(server_purge(c->opt.server), clock_mono_ms(),
                         (int64_t)server_config(c->opt.server)->journal.grace_ms))
        buf_add(out, SLICE("journal: its owner is out of reach (journal.on_journal_lost)\n"));
    kin_say(server_kin(c->opt.server), clock_mono_ms(), out);
    return health == SERVER_HEALTHY;
}

static void on_members(void *user, struct buf *out)
{
    struct ctl *c = user;

    journal_list(server_journal(c->opt.server), out);
}

static void on_owner(void *user, struct slice *node, struct slice *admin)
{
    struct ctl *c = user;

    *node = *admin = (struct slice){0};
    if (c->follower != NULL)
        follower_owner(c->follower, node, admin);
}

static void on_released(void *user)
{
    struct ctl *c = user;

    journal_tell(server_journal(c->opt.server));
}

/* "name: value" lines, as people paste them; names are folded in a copy. */
static enum err parse_fields(struct slice text, struct arena *a, struct http_fields *out)
{
    while (text.n > 0) {
        struct slice line = slice_head(text, slice_index(text, '\n'));
        size_t colon = slice_index(line, ':');
        char *name;
        enum err e;

        text = slice_from(text, line.n + 1);
        if (slice_trim(line).n == 0)
            continue;
        if (colon == line.n || !http_is_token(slice_head(line, colon)))
            return ERR_INVALID;
        name = arena_text(a, slice_head(line, colon));
        if (name == NULL)
            return ERR_LIMIT;
        http_lower(name, colon);
        line = slice_from(line, colon + 1);
        if (slice_ends_with(line, SLICE("\r")))
            line.n--;
        e = http_fields_add(out, a, LIMIT_FIELDS, (struct slice){name, colon}, slice_trim(line));
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

static enum err explain_in(struct ctl *c, struct arena *a, struct slice url, struct slice text,
                           struct buf *out)
{
    struct url_parts parts;
    struct http_fields fields = {0};
    const struct site *site;
    struct slice host;
    uint16_t port;

    if (url_parse_absolute(url, &parts) != ERR_OK || !url_target_is_valid(parts.target) ||
        url_host(parts.host, a, &host, &port) != ERR_OK || parse_fields(text, a, &fields) != ERR_OK)
        return ERR_INVALID;
    site = sites_find(c->snapshot->sites, host);
    if (site == NULL)
        return ERR_NOT_FOUND;
    if (release_explain(server_releases(c->opt.server), site, parts.target, a, out))
        return ERR_OK;
    cache_explain(server_cache(c->opt.server), c->reader, site, parts.is_https, host, parts.target,
                  &fields, out);
    return ERR_OK;
}

static enum err on_explain(void *user, struct slice url, struct slice fields, struct buf *out)
{
    struct arena a;
    enum err e;

    arena_init(&a, NULL, 0, EXPLAIN_BYTES_MAX);
    e = explain_in(user, &a, url, fields, out);
    arena_release(&a);
    return e;
}

static bool on_head_facts(void *user, struct slice head, int64_t *age_s, int64_t *ttl_s,
                          int *status)
{
    (void)user;
    return cache_head_facts(head, age_s, ttl_s, status);
}

/* ---- requests ---- */

static struct slice slice_of_iovec(h2o_iovec_t v)
{
    return (struct slice){v.base, v.len};
}

static struct slice field(const h2o_req_t *req, const char *name)
{
    ssize_t at = h2o_find_header_by_str(&req->headers, name, strlen(name), -1);

    return at < 0 ? (struct slice){NULL, 0} : slice_of_iovec(req->headers.entries[at].value);
}

static void add_field(h2o_req_t *req, const char *name, const char *value)
{
    if (value == NULL)
        return;
    h2o_add_header_by_str(&req->pool, &req->res.headers, name, strlen(name), 1, NULL, value,
                          strlen(value));
}

/* For people who look at the wire; never NULL. */
static const char *reason_of(int status)
{
    static const struct {
        int status;
        const char *reason;
    } known[] = {
        {200, "OK"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {421, "Misdirected Request"},
        {409, "Conflict"},
        {429, "Too Many Requests"},
        {507, "Insufficient Storage"},
        {503, "Service Unavailable"},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (known[i].status == status)
            return known[i].reason;
    return status < 400 ? "OK" : "Error";
}

static void answer(h2o_req_t *req, const struct admin_response *a)
{
    bool is_head = h2o_memis(req->method.base, req->method.len, H2O_STRLIT("HEAD"));
    char *seconds;

    req->res.status = a->status;
    req->res.reason = reason_of(a->status);
    req->res.content_length = a->body.n;
    add_field(req, "content-type", a->content_type);
    add_field(req, "location", a->location);
    add_field(req, "allow", a->allow);
    add_field(req, "www-authenticate", a->challenge);
    add_field(req, "cache-control", "no-store");
    if (a->retry_after_s > 0) {
        seconds = h2o_mem_alloc_pool(&req->pool, 16);
        snprintf(seconds, 16, "%u", a->retry_after_s);
        add_field(req, "retry-after", seconds);
    }
    h2o_send_inline(req, a->body.p, is_head ? 0 : a->body.n);
}

static int on_req(h2o_handler_t *self, h2o_req_t *req)
{
    struct ctl *c = H2O_STRUCT_FROM_MEMBER(struct ctl, ctx, req->conn->ctx);
    struct slice target = slice_of_iovec(req->path);
    size_t path_bytes = slice_index(target, '?');
    struct admin_request rq = {
        .method = slice_of_iovec(req->method),
        .path = slice_head(target, path_bytes),
        .query = slice_from(target, path_bytes + 1),
        .authorization = field(req, "authorization"),
        .content_type = field(req, "content-type"),
        .host = slice_of_iovec(req->input.authority),
        .origin = field(req, "origin"),
        .body = slice_of_iovec(req->entity),
    };
    struct admin_response response;

    (void)self;
    admin_handle(c->admin, &rq, &response);
    answer(req, &response);
    buf_release(&response.body);
    return 0;
}

static void on_close(void *data)
{
    struct client *client = data;

    LIST_REMOVE(client->ctl->clients, client);
    client->ctl->clients_count--;
    free(client);
}

static void on_acceptable(h2o_socket_t *listener, const char *err)
{
    struct ctl *c = listener->data;
    h2o_socket_t *sock = h2o_evloop_socket_accept(listener);
    struct client *client =
        sock == NULL || c->clients_count >= CLIENTS_MAX ? NULL : calloc(1, sizeof(*client));

    (void)err;
    if (client == NULL) {
        if (sock != NULL)
            h2o_socket_close(sock);
        return;
    }
    client->ctl = c;
    client->sock = sock;
    LIST_PUSH(c->clients, client);
    c->clients_count++;
    sock->on_close.cb = on_close;
    sock->on_close.data = client;
    h2o_accept(&c->accept, sock);
}

/* ---- the thread ---- */

static void configure(struct ctl *c)
{
    h2o_hostconf_t *host;

    h2o_config_init(&c->conf);
    c->conf.server_name = h2o_iovec_init(NULL, 0);
    c->conf.http1.req_timeout = REQUEST_TIMEOUT_MS;
    c->conf.http1.upgrade_to_http2 = 0;
    c->conf.max_request_entity_size = LIMIT_REQUEST_BODY_BYTES;
    host = h2o_config_register_host(&c->conf, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    h2o_create_handler(h2o_config_register_path(host, "/", 0), sizeof(h2o_handler_t))->on_req =
        on_req;
}

static void on_switched(void *server)
{
    journal_tell(server_journal(server)); /* of nodes that follow this one */
}

static void follow(struct ctl *c)
{
    struct follower_options opt = {
        .purge = server_purge(c->opt.server),
        .config = server_config(c->opt.server),
        .reactor = c->reactor,
        .files = server_files(c->opt.server),
        .releases = server_releases(c->opt.server),
        .switched = on_switched,
        .settled = server_settled,
        .user = c->opt.server,
    };

    if (purge_follows(opt.purge) && follower_new(&opt, &c->follower) != ERR_OK)
        log_error("journal: out of memory: this node does not hear of purges; start it again");
}

static void *run(void *user)
{
    struct ctl *c = user;

    metrics_thread_start();
    h2o_context_init(&c->ctx, h2o_evloop_create(), &c->conf);
    c->accept = (h2o_accept_ctx_t){.ctx = &c->ctx, .hosts = c->conf.hosts};
    reactor_h2o_attach(c->reactor, c->ctx.loop);
    follow(c);
    c->listener = h2o_evloop_socket_create(c->ctx.loop, c->fd, H2O_SOCKET_FLAG_DONT_READ);
    c->fd = -1;
    c->listener->data = c;
    h2o_socket_read_start(c->listener, on_acceptable);
    while (!c->stopping)
        reactor_h2o_turn(c->reactor, TURN_MS);
    follower_free(c->follower);
    h2o_socket_close(c->listener);
    for (struct client *client = c->clients; client != NULL; client = client->next)
        shutdown(h2o_socket_get_fd(client->sock), SHUT_RDWR);
    /* answers are given at once, so each of them is reading or writing, and sees it */
    while (c->clients != NULL)
        reactor_h2o_turn(c->reactor, TURN_MS);
    reactor_h2o_end(c->reactor, &c->ctx);
    return NULL;
}

static void on_epoch(struct reactor_message *super)
{
    struct epoch *m = (struct epoch *)super;
    struct purge *p = server_purge(m->ctl->opt.server);

    atomic_store(&m->is_posted, false);
    if (!purge_follows(p) && position_epoch(purge_head(p)) == atomic_load(&m->seen) &&
        purge_open_epoch(p) != ERR_OK)
        log_error("purge: the next epoch cannot be opened; a follower waits for it");
}

static void on_joined(struct reactor_message *super)
{
    struct joined *m = (struct joined *)super;

    atomic_store(&m->is_posted, false);
    journal_keep(server_journal(m->ctl->opt.server));
}

/* ---- life ---- */

enum err ctl_new(const struct ctl_options *opt, struct ctl **out, struct buf *why)
{
    struct ctl *c = calloc(1, sizeof(*c));
    struct admin_options admin = {
        .purge = server_purge(opt->server),
        .store = server_store(opt->server),
        .drains = server_drains(opt->server),
        .files = server_files(opt->server),
        .releases = server_releases(opt->server),
        .backend = {on_ready, on_explain, on_head_facts, on_members, on_owner, on_released, c},
        .version = opt->version,
    };
    struct sockaddr_storage sa;
    socklen_t bytes = sizeof(sa);
    enum err e;

    if (c == NULL)
        return ERR_NOMEM;
    c->opt = *opt;
    c->snapshot = snapshot_ref(opt->snapshot);
    c->fd = -1;
    c->epoch.super.run = on_epoch;
    c->epoch.ctl = c;
    c->joined.super.run = on_joined;
    c->joined.ctl = c;
    configure(c);
    e = listener_bind_one("admin.listen", opt->snapshot->config->admin_listen, &c->fd, why);
    if (e == ERR_OK && getsockname(c->fd, (struct sockaddr *)&sa, &bytes) == 0)
        c->port = ntohs(sa.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&sa)->sin6_port
                                                 : ((struct sockaddr_in *)&sa)->sin_port);
    if (e == ERR_OK)
        e = store_reader_new(admin.store, &c->reader);
    if (e == ERR_OK)
        e = admin_new(&admin, &c->admin);
    if (e == ERR_OK)
        e = reactor_h2o_new(&c->reactor);
    if (e != ERR_OK) {
        ctl_free(c);
        return e;
    }
    admin_set_config(c->admin, opt->snapshot->config);
    *out = c;
    return ERR_OK;
}

enum err ctl_start(struct ctl *c)
{
    c->is_started = pthread_create(&c->thread, NULL, run, c) == 0;
    return c->is_started ? ERR_OK : ERR_IO;
}

uint16_t ctl_port(const struct ctl *c)
{
    return c->port;
}

struct message {
    struct reactor_message super;
    struct ctl *ctl;
    struct snapshot *snapshot; /* owned; NULL: stop */
};

static void on_message(struct reactor_message *super)
{
    struct message *m = (struct message *)super;
    struct ctl *c = m->ctl;

    if (m->snapshot == NULL) {
        c->stopping = true;
    } else {
        admin_set_config(c->admin, m->snapshot->config);
        snapshot_unref(c->snapshot);
        c->snapshot = m->snapshot;
    }
    free(m);
}

static enum err post(struct ctl *c, struct snapshot *s)
{
    struct message *m = calloc(1, sizeof(*m));

    if (m == NULL)
        return ERR_NOMEM;
    *m = (struct message){.super = {.run = on_message}, .ctl = c, .snapshot = s};
    reactor_post(c->reactor, &m->super);
    return ERR_OK;
}

enum err ctl_use(struct ctl *c, struct snapshot *s)
{
    enum err e = post(c, snapshot_ref(s));

    if (e != ERR_OK)
        snapshot_unref(s);
    return e;
}

void ctl_open_epoch(struct ctl *c, uint16_t epoch)
{
    atomic_store(&c->epoch.seen, epoch);
    if (!atomic_exchange(&c->epoch.is_posted, true))
        reactor_post(c->reactor, &c->epoch.super);
}

void ctl_keep_members(struct ctl *c)
{
    if (!atomic_exchange(&c->joined.is_posted, true))
        reactor_post(c->reactor, &c->joined.super);
}

void ctl_stop(struct ctl *c)
{
    if (c == NULL || !c->is_started)
        return;
    CHECK(post(c, NULL) == ERR_OK);
    pthread_join(c->thread, NULL);
    c->is_started = false;
}

void ctl_free(struct ctl *c)
{
    if (c == NULL)
        return;
    ctl_stop(c);
    if (c->fd >= 0)
        close(c->fd);
    admin_free(c->admin);
    store_reader_free(c->reader);
    reactor_h2o_free(c->reactor);
    snapshot_unref(c->snapshot);
    h2o_config_dispose(&c->conf);
    free(c);
}
