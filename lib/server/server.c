#include "server/server.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/metrics.h"
#include "cache/cache.h"
#include "cache/judge.h"
#include "cache/variant.h"
#include "geo/regions.h"
#include "purge/purge.h"
#include "release/release.h"
#include "server/conn.h"
#include "server/ctl.h"
#include "server/guards.h"
#include "server/journal.h"
#include "server/kin.h"
#include "server/listener.h"
#include "server/memory.h"
#include "server/notify.h"
#include "server/peer.h"
#include "server/tls.h"
#include "server/tunnel.h"
#include "server/worker.h"
#include "store/store.h"
#include "table/table.h"

enum {
    WATCH_MS = 1000, /* how often the workers' heartbeats are looked at */
    STUCK_MS = 5000, /* a worker that has not ticked for so long */
    DRAIN_LOOK_MS = 50,
    DRAIN_GOAWAY_MS = 2000, /* libh2o says GOAWAY twice, a second apart; then clients leave */
    JOIN_MS = 3000,
    CLOSE_MS = 10000, /* after the drain: what is queued for the disk is written */
    ERRORS_BYTES_MAX = 64 << 10,
    PATH_BYTES_MAX = 4096,
    PEER_WARN_DAYS = 30,
    DAY_MS = 86400 * 1000,
    MS_PER_S = 1000,
    DESCRIPTORS_PERCENT = 90,
    TUNNELS_PART = 4,       /* of client connections: each tunnel is one, and one upstream */
    DESCRIPTORS_OURS = 256, /* files, loops, admin: not for clients, even when the limit is low */
};

struct server {
    struct server_options opt;
    struct config
        *config;         /* a reference: the one it started with, that listeners and store are of */
    struct purge *purge; /* owned */
    struct store *store; /* owned */
    struct cache *cache; /* of request.c */
    struct files *files; /* owned */
    struct releases *releases;  /* owned */
    struct geo_drains *drains;  /* owned */
    struct kin *kin;            /* owned */
    char *drains_file;          /* owned */
    char *members_file;         /* owned */
    struct journal *journal;    /* owned */
    struct ctl *ctl;            /* owned */
    struct listener *listeners; /* owned; of all workers */
    struct worker *workers;     /* owned */
    unsigned workers_count, workers_started;
    bool is_request_started;
    struct conn_quota quota;
    struct snapshot *snapshot; /* a reference; the current one, main thread only */
    struct notify notify;      /* main thread */
    struct memory memory;      /* main thread */

    /* Any thread. */
    _Atomic bool is_draining, is_stuck, is_lagging;
    int64_t began_ms;

    /* Main thread: as the metrics show them, and when they are looked at again. */
    int64_t peer_ends_s, ends_s, certificates_at_ms;
};

enum server_health server_health(const struct server *s)
{
    if (atomic_load_explicit(&s->is_draining, memory_order_relaxed))
        return SERVER_DRAINING;
    /* who cannot catch up serves as a node without its journal does */
    if (atomic_load_explicit(&s->is_lagging, memory_order_relaxed) &&
        clock_mono_ms() - s->began_ms < (int64_t)s->config->journal.grace_ms)
        return SERVER_LAGGING;
    return atomic_load_explicit(&s->is_stuck, memory_order_relaxed) ? SERVER_STUCK : SERVER_HEALTHY;
}

struct purge *server_purge(struct server *s)
{
    return s->purge;
}

struct store *server_store(struct server *s)
{
    return s->store;
}

struct cache *server_cache(struct server *s)
{
    return s->cache;
}

struct journal *server_journal(struct server *s)
{
    return s->journal;
}

void server_settled(void *server)
{
    struct server *s = server;

    atomic_store_explicit(&s->is_lagging, false, memory_order_relaxed);
    cache_lags(s->cache, false);
}

struct files *server_files(struct server *s)
{
    return s->files;
}

struct releases *server_releases(struct server *s)
{
    return s->releases;
}

struct geo_drains *server_drains(struct server *s)
{
    return s->drains;
}

struct kin *server_kin(struct server *s)
{
    return s->kin;
}

void server_set_cache(struct server *s, struct cache *c)
{
    s->cache = c;
    if (c != NULL)
        cache_lags(c, s->is_lagging);
}

const struct role *server_role(const struct server *s)
{
    return s->opt.role;
}

const struct config *server_config(const struct server *s)
{
    return s->config;
}

/* ---- opening ---- */

static void signals_of_ours(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    sigaddset(set, SIGUSR1);
}

void server_prepare(void)
{
    sigset_t set;

    signals_of_ours(&set);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    signal(SIGPIPE, SIG_IGN);
}

/* Strangers are an edge's to serve, and believing them is a shield's to refuse. */
static enum err check_role(const struct role *role, const struct config *c, struct buf *why)
{
    bool is_for_peers = c->listen_count > 0 && c->listen[0].peers != CONFIG_PEERS_NONE;

    if (is_for_peers != role->faces_public)
        return ERR_OK;
    if (is_for_peers)
        buf_addf(why,
                 "%s: listen: %s is for peers, and this is an edge: remove peers, or start "
                 "selvage-shield with this file",
                 c->file, c->listen[0].address);
    else
        buf_addf(why,
                 "%s: listen: %s is for clients, and this is a shield: write peers: certificate "
                 "there, or start selvage-edge with this file",
                 c->file, c->listen[0].address);
    return ERR_INVALID;
}

enum err server_check(const struct role *role, struct config *c, struct buf *why)
{
    struct snapshot *s;
    enum err e = check_role(role, c, why);

    if (e == ERR_OK)
        e = snapshot_new(c, &s, why);
    if (e == ERR_OK) {
        (void)tls_watch(s->tls, clock_now().wall_ms / MS_PER_S);
        snapshot_unref(s);
    }
    return e;
}

/* Take all the descriptors we may have, and say what they are good for. */
static void settle_descriptors(struct conn_quota *q)
{
    struct rlimit r;
    rlim_t room;

    CHECK(getrlimit(RLIMIT_NOFILE, &r) == 0);
    r.rlim_cur = r.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &r); /* what was in force before does as well */
    CHECK(getrlimit(RLIMIT_NOFILE, &r) == 0);
    room = r.rlim_cur / 100 * DESCRIPTORS_PERCENT;
    if (room > r.rlim_cur - DESCRIPTORS_OURS && r.rlim_cur > 2 * DESCRIPTORS_OURS)
        room = r.rlim_cur - DESCRIPTORS_OURS;
    q->max = room > UINT32_MAX ? UINT32_MAX : (unsigned)room;
    tunnel_quota_init(&q->tunnels, q->max / TUNNELS_PART < LIMIT_TUNNELS ? q->max / TUNNELS_PART
                                                                         : LIMIT_TUNNELS);
    log_info("descriptors: %llu allowed, so at most %u client connections at once (LimitNOFILE, "
             "ulimit -n)",
             (unsigned long long)r.rlim_cur, q->max);
}

static void explain_open(struct buf *why, const char *dir, const char *what, enum err e)
{
    char holder[256];

    switch (e) {
    case ERR_BUSY:
        table_holder(dir, holder, sizeof(holder));
        buf_addf(why,
                 "store.directory: %s is in use%s%s: stop that process, or give this one a "
                 "directory of its own",
                 dir, holder[0] == '\0' ? "" : " by ", holder);
        break;
    case ERR_CORRUPT:
        buf_addf(why,
                 "store.directory: %s: %s is damaged or of another version: restore it from a "
                 "backup, or move it away to begin anew (without a journal all stored objects are "
                 "dropped; without published files, publish again)",
                 dir, what);
        break;
    case ERR_IO:
        buf_addf(why, "store.directory: %s: cannot open %s: %s%s", dir, what, strerror(errno),
                 errno == ENOSPC || errno == EDQUOT ? ": make room on its disk"
                 : errno == EIO                     ? ": the disk fails"
                                                    : ": check that this user may write there");
        break;
    default:
        buf_addf(why, "store.directory: %s: cannot open %s: %s", dir, what, err_name(e));
        break;
    }
}

static enum err open_store(struct server *s, const char *dir, struct buf *why)
{
    const char *emptied;
    struct store_options opt = {
        .dir = dir,
        .bytes_max = s->config->store_size,
        .boot = purge_boot(s->purge),
        .ctl_id = purge_ctl_id(s->purge),
        .head = purge_head(s->purge),
        .judge = cache_judge(s->purge),
        .merge = variant_merge,
    };
    enum err e = store_open(&opt, &s->store, &emptied);

    if (e != ERR_OK)
        explain_open(why, dir, "the store", e);
    else if (emptied != NULL)
        log_warn("store: %s: begun anew: %s", dir, emptied);
    return e;
}

static enum err open_files(struct server *s, const char *dir, struct buf *why)
{
    struct files_options opt = {.dir = dir, .bytes_max = s->config->files_size};
    enum err e = files_open(&opt, &s->files);

    if (e == ERR_OK)
        e = releases_new(s->files, &s->releases);
    if (e != ERR_OK)
        explain_open(why, dir, "what is published", e);
    return e;
}

static enum err open_drains(struct server *s, const char *dir, struct buf *why)
{
    if (asprintf(&s->drains_file, "%s/drained-regions", dir) < 0) {
        s->drains_file = NULL;
        return ERR_NOMEM;
    }
    return geo_drains_open(s->drains_file, &s->drains, why);
}

/* Said while there is still time: the disk would be full before the store is. */
static void compare_with_disk(const struct config *c, const char *dir)
{
    char path[PATH_BYTES_MAX];
    struct statvfs fs;
    struct stat st = {0};
    uint64_t room;

    if (statvfs(dir, &fs) != 0)
        return;
    if (snprintf(path, sizeof(path), "%s/store-0/data.mdb", dir) < (int)sizeof(path))
        (void)stat(path, &st); /* none yet: all of it is to come */
    room = (uint64_t)fs.f_bavail * fs.f_frsize + (uint64_t)st.st_blocks * 512;
    if (room < c->store_size)
        log_warn("store.size: %llu MiB are more than the disk of %s has left, %llu MiB: lower "
                 "store.size, or give it a larger disk",
                 (unsigned long long)(c->store_size >> 20), dir, (unsigned long long)(room >> 20));
}

/* ctl first: what the store holds is judged by it. */
static enum err open_disk(struct server *s, struct buf *why)
{
    char path[PATH_BYTES_MAX];
    const char *dir = s->config->store_directory;
    enum err e = file_make_dir(dir);

    if (e != ERR_OK) {
        buf_addf(why, "store.directory: %s: cannot make it: %s: create it and give it to this user",
                 dir, strerror(errno));
        return e;
    }
    compare_with_disk(s->config, dir);
    table_guard_install();
    if (snprintf(path, sizeof(path), "%s/store-0", dir) >= (int)sizeof(path)) {
        buf_addf(why, "store.directory: the path is too long");
        return ERR_LIMIT;
    }
    snprintf(path, sizeof(path), "%s/ctl", dir);
    e = open_drains(s, dir, why);
    if (e != ERR_OK)
        return e;
    s->is_lagging = config_journal_owner(s->config) != NULL;
    e = s->is_lagging ? purge_open_follower(path, &s->purge) : purge_open(path, &s->purge);
    if (e != ERR_OK) {
        explain_open(why, path, "the purge journal", e);
        return e;
    }
    if (!s->is_lagging && !s->opt.role->faces_public)
        log_info("this node owns the journal of purges: name it as journal.owner on all other "
                 "nodes of the fleet");
    snprintf(path, sizeof(path), "%s/files", dir);
    e = open_files(s, path, why);
    if (e != ERR_OK)
        return e;
    snprintf(path, sizeof(path), "%s/store-0", dir);
    return open_store(s, path, why);
}

static unsigned cores(void)
{
    cpu_set_t set;
    int count;

    /* not all of the machine's: a container may have fewer */
    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        return 1;
    count = CPU_COUNT(&set);
    return count < 1 ? 1 : (unsigned)count;
}

static enum err make_workers(struct server *s, struct buf *why)
{
    unsigned count = s->config->workers != 0 ? (unsigned)s->config->workers : cores();
    size_t listens = s->config->listen_count;
    enum err e = listeners_bind(s->config, count, &s->listeners, why);

    if (e != ERR_OK)
        return e;
    s->workers_count = count; /* listeners_free() counts by it */
    s->workers = calloc(count, sizeof(*s->workers));
    if (s->workers == NULL)
        return ERR_NOMEM;
    for (unsigned i = 0; e == ERR_OK && i < count; i++) {
        struct worker_options opt = {
            .server = s,
            .index = i,
            .snapshot = s->snapshot,
            .quota = &s->quota,
            .listeners = &s->listeners[i * listens],
            .listeners_count = listens,
        };

        e = worker_init(&s->workers[i], &opt);
    }
    return e;
}

static void on_diverged(void *user, uint16_t epoch)
{
    struct server *s = user;

    ctl_open_epoch(s->ctl, epoch);
}

static void on_joined(void *user)
{
    struct server *s = user;

    ctl_keep_members(s->ctl);
}

static enum err make_journal(struct server *s)
{
    struct journal_options opt = {.purge = s->purge,
                                  .releases = s->releases,
                                  .workers = s->workers,
                                  .workers_count = s->workers_count,
                                  .diverged = on_diverged,
                                  .joined = on_joined,
                                  .user = s};
    enum err e;

    if (asprintf(&s->members_file, "%s/members", s->config->store_directory) < 0) {
        s->members_file = NULL;
        return ERR_NOMEM;
    }
    opt.members_file = s->members_file;
    e = journal_new(&opt, &s->journal);

    if (e == ERR_OK)
        purge_on_head(s->purge, journal_tell, s->journal);
    return e;
}

/* The fleet falls apart on the day that its certificates end: said in time. */
static void watch_peer_certificate(struct server *s)
{
    const struct config *c = s->snapshot->config;
    int64_t ends_s = 0, left_s;

    if (c->peer.certificate != NULL && peer_certificate_ends(c->peer.certificate, &ends_s)) {
        left_s = ends_s - clock_now().wall_ms / 1000;
        if (left_s < PEER_WARN_DAYS * INT64_C(86400))
            log_warn("peer.certificate: %s %s: make a new one with `selvage pki node`",
                     c->peer.certificate,
                     left_s < 0 ? "has expired" : "expires in less than 30 days");
    }
    metrics_add(METRIC_PEER_CERTIFICATE_ENDS, ends_s - s->peer_ends_s);
    s->peer_ends_s = ends_s;
}

/* At start, after a reload, and once a day: a node may run for a year. */
static void watch_certificates(struct server *s)
{
    int64_t ends_s = tls_watch(s->snapshot->tls, clock_now().wall_ms / MS_PER_S);

    metrics_add(METRIC_CERTIFICATE_ENDS, ends_s - s->ends_s);
    s->ends_s = ends_s;
    watch_peer_certificate(s);
    s->certificates_at_ms = clock_mono_ms() + DAY_MS;
}

static enum err open_all(struct server *s, struct buf *why)
{
    struct ctl_options ctl = {.server = s, .version = s->opt.version};
    enum err e;

    guards_check();
    conn_check();
    settle_descriptors(&s->quota);
    e = check_role(s->opt.role, s->config, why);
    if (e == ERR_OK)
        e = kin_new(&s->kin);
    if (e == ERR_OK)
        e = snapshot_new(s->config, &s->snapshot, why);
    if (e == ERR_OK) {
        watch_certificates(s);
        e = open_disk(s, why);
    }
    if (e == ERR_OK)
        e = make_workers(s, why);
    if (e == ERR_OK)
        e = make_journal(s);
    if (e == ERR_OK) {
        s->is_request_started = true;
        e = request_server_start(s, why);
    }
    ctl.snapshot = s->snapshot;
    if (e == ERR_OK)
        e = ctl_new(&ctl, &s->ctl, why);
    return e;
}

enum err server_new(const struct server_options *opt, struct server **out, struct buf *why)
{
    struct server *s = calloc(1, sizeof(*s));
    enum err e;

    if (s == NULL)
        return ERR_NOMEM;
    s->opt = *opt;
    s->began_ms = clock_mono_ms();
    s->config = config_ref(opt->config);
    notify_init(&s->notify);
    e = open_all(s, why);
    if (e != ERR_OK) {
        if (why->n == 0)
            buf_addf(why, "cannot start: %s", err_name(e));
        server_free(s);
        return e;
    }
    *out = s;
    return ERR_OK;
}

void server_free(struct server *s)
{
    if (s == NULL)
        return;
    ctl_free(s->ctl);
    for (unsigned i = 0; s->workers != NULL && i < s->workers_count; i++)
        worker_release(&s->workers[i]);
    free(s->workers);
    listeners_free(s->listeners, s->workers_count * s->config->listen_count);
    if (s->is_request_started)
        request_server_stop(s);
    journal_free(s->journal);
    store_close(s->store);
    if (s->purge != NULL)
        purge_close(s->purge);
    releases_free(s->releases);
    files_close(s->files);
    tunnel_quota_release(&s->quota.tunnels);
    geo_drains_free(s->drains);
    kin_free(s->kin);
    free(s->drains_file);
    free(s->members_file);
    snapshot_unref(s->snapshot);
    config_unref(s->config);
    notify_release(&s->notify);
    free(s);
}

/* ---- reload ---- */

static bool same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool listens_differ(const struct config *a, const struct config *b)
{
    bool differ = a->listen_count != b->listen_count;

    for (size_t i = 0; !differ && i < a->listen_count; i++)
        differ = !same(a->listen[i].address, b->listen[i].address) ||
                 a->listen[i].redirect != b->listen[i].redirect ||
                 a->listen[i].redirect_port != b->listen[i].redirect_port ||
                 a->listen[i].peers != b->listen[i].peers ||
                 (a->listen[i].certificates == NULL) != (b->listen[i].certificates == NULL);
    return differ;
}

/* What the new file says and a running process cannot do. */
static void tell_what_needs_a_restart(const struct config *old, const struct config *new)
{
    const struct {
        const char *key;
        bool differs;
    } keys[] = {
        {"listen", listens_differ(old, new)},
        {"admin.listen", !same(old->admin_listen, new->admin_listen)},
        {"store.directory", !same(old->store_directory, new->store_directory)},
        {"store.size", old->store_size != new->store_size},
        {"store.files", old->files_size != new->files_size},
        {"workers", old->workers != new->workers},
        {"journal", !same(config_journal_owner(old), config_journal_owner(new)) ||
                        old->journal.grace_ms != new->journal.grace_ms ||
                        old->journal.on_lost != new->journal.on_lost},
        {"node", !same(old->node, new->node)},
        {"logs.error", !same(old->error_log, new->error_log)},
        {"logs.access", !same(old->access_log, new->access_log)},
    };

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (keys[i].differs)
            log_warn("reload: %s has changed; that needs a restart", keys[i].key);
}

/* Listeners stay as they are, so each that speaks TLS must find its certificates in the new file.
 */
static enum err check_certificates(const struct server *s, const struct snapshot *new,
                                   struct buf *why)
{
    for (size_t i = 0; i < s->config->listen_count; i++) {
        const struct config_listen *l = &s->config->listen[i];

        if (l->certificates != NULL && tls_context(new->tls, l->address) == NULL) {
            buf_addf(why,
                     "listen: %s is in use with TLS and has no certificates in this file: changing "
                     "listeners "
                     "needs a restart",
                     l->address);
            return ERR_INVALID;
        }
    }
    return ERR_OK;
}

static enum err load_again(const struct server *s, struct snapshot **out, struct buf *why)
{
    struct config *c;
    enum err e = config_load(s->opt.config_file, &c, why);

    if (e != ERR_OK)
        return e;
    e = check_role(s->opt.role, c, why);
    if (e == ERR_OK)
        e = snapshot_new(c, out, why);
    config_unref(c);
    if (e == ERR_OK) {
        e = check_certificates(s, *out, why);
        if (e != ERR_OK)
            snapshot_unref(*out);
    }
    return e;
}

static void use_everywhere(struct server *s, struct snapshot *new)
{
    enum err e = ctl_use(s->ctl, new);

    for (unsigned i = 0; i < s->workers_started; i++)
        if (worker_use(&s->workers[i], new) != ERR_OK)
            e = ERR_NOMEM;
    if (e != ERR_OK)
        log_error(
            "reload: out of memory: not every thread has the new configuration; reload again");
    snapshot_unref(s->snapshot);
    s->snapshot = new;
}

static void reload(struct server *s)
{
    struct snapshot *new;
    struct buf why;
    enum err e;

    notify_reloading(&s->notify);
    buf_init(&why, ERRORS_BYTES_MAX);
    e = load_again(s, &new, &why);
    if (e == ERR_OK) {
        log_lines(LOG_LEVEL_WARN, "reload", buf_slice(&why));
        tell_what_needs_a_restart(s->config, new->config);
        log_set_level((enum log_level) new->config->log_level);
        use_everywhere(s, new);
        watch_certificates(s);
        metrics_add(METRIC_RELOADS_OK, 1);
        log_info("reload: %s is in force", s->opt.config_file);
        notify_ready(&s->notify, "serving");
    } else {
        log_lines(LOG_LEVEL_ERROR, "reload", buf_slice(&why));
        metrics_add(METRIC_RELOADS_FAILED, 1);
        log_error("reload: failed (%s); the old configuration stays in force", err_name(e));
        notify_ready(&s->notify,
                     "serving; the last reload has failed, the old configuration is in force");
    }
    buf_release(&why);
}

/* ---- running ---- */

static enum err start_workers(struct server *s)
{
    for (unsigned i = 0; i < s->workers_count; i++) {
        enum err e = worker_start(&s->workers[i]);

        if (e != ERR_OK) {
            log_error("worker %u cannot be started: %s", i, err_name(e));
            return e;
        }
        s->workers_started++;
    }
    return ERR_OK;
}

/* -1 when none came in time. */
static int wait_signal(int64_t ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    sigset_t set;

    signals_of_ours(&set);
    return sigtimedwait(&set, NULL, &t);
}

static void watch_workers(struct server *s)
{
    int64_t now_ms = clock_mono_ms();
    bool is_stuck = false;

    for (unsigned i = 0; i < s->workers_started; i++) {
        int64_t beat_ms = atomic_load_explicit(&s->workers[i].heartbeat_ms, memory_order_relaxed);

        is_stuck = is_stuck || now_ms - beat_ms > STUCK_MS;
    }
    /* nothing but a new process helps a worker that does not come back */
    if (!is_stuck)
        notify_alive(&s->notify);
    if (is_stuck == atomic_load_explicit(&s->is_stuck, memory_order_relaxed))
        return;
    if (is_stuck)
        log_error("a worker has not moved for %d s: the health check says so to load balancers",
                  STUCK_MS / 1000);
    else
        log_warn("all workers move again");
    atomic_store_explicit(&s->is_stuck, is_stuck, memory_order_relaxed);
}

static void count_open(const struct server *s, unsigned *connections, unsigned *requests)
{
    *connections = *requests = 0;
    for (unsigned i = 0; i < s->workers_started; i++) {
        *connections += atomic_load_explicit(&s->workers[i].conns_count, memory_order_relaxed);
        *requests += atomic_load_explicit(&s->workers[i].requests_open, memory_order_relaxed);
    }
}

static void give_back_memory(struct server *s)
{
    int64_t now_ms = clock_mono_ms();
    unsigned connections, requests;

    if (!memory_is_due(&s->memory, now_ms))
        return;
    count_open(s, &connections, &requests);
    if (requests == 0)
        (void)memory_look(&s->memory, now_ms);
}

static void serve(struct server *s)
{
    for (;;) {
        int sig = wait_signal(notify_interval_ms(&s->notify, WATCH_MS));

        if (sig == SIGTERM || sig == SIGINT)
            return;
        if (sig == SIGHUP)
            reload(s);
        else if (sig == SIGUSR1 && log_reopen() != ERR_OK)
            log_error("%s cannot be opened anew: %s; the old log files stay in use", log_refused(),
                      strerror(errno));
        watch_workers(s);
        give_back_memory(s);
        if (clock_mono_ms() >= s->certificates_at_ms)
            watch_certificates(s);
    }
}

/*
 * Until clients have left, nothing is asked any more, or the deadline has passed.  Only counters
 * are read: a worker that has lost its way cannot keep the process alive.
 */
static void drain(struct server *s)
{
    int64_t now_ms = clock_mono_ms(), since_ms = now_ms;
    int64_t until_ms = now_ms + (int64_t)s->snapshot->config->drain_ms;
    unsigned connections, requests;

    atomic_store_explicit(&s->is_draining, true, memory_order_relaxed);
    notify_stopping(&s->notify, (int64_t)s->snapshot->config->drain_ms + CLOSE_MS);
    count_open(s, &connections, &requests);
    log_info("draining: %u connections, %u requests open; at most %lld s", connections, requests,
             (long long)s->snapshot->config->drain_ms / 1000);
    for (unsigned i = 0; i < s->workers_started; i++)
        worker_drain(&s->workers[i]);
    do {
        int sig = wait_signal(DRAIN_LOOK_MS);

        if (sig == SIGTERM || sig == SIGINT)
            break; /* asked twice: now */
        count_open(s, &connections, &requests);
        now_ms = clock_mono_ms();
        if (connections == 0 || (requests == 0 && now_ms - since_ms >= DRAIN_GOAWAY_MS))
            break;
    } while (now_ms < until_ms);
    log_info("drained: %u connections, %u requests left", connections, requests);
}

/* False when one had to be left behind. */
static bool stop_workers(struct server *s)
{
    struct timespec until;
    bool is_clean = true;

    for (unsigned i = 0; i < s->workers_started; i++)
        worker_stop(&s->workers[i]);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += JOIN_MS / 1000;
    for (unsigned i = 0; i < s->workers_started; i++)
        if (pthread_timedjoin_np(s->workers[i].thread, NULL, &until) != 0 ||
            !s->workers[i].is_clean)
            is_clean = false;
    return is_clean;
}

static void tell_addresses(const struct server *s)
{
    for (size_t i = 0; i < s->config->listen_count; i++)
        log_info("listening on %s (port %u)", s->listeners[i].address, s->listeners[i].port);
    log_info("serving with %u workers; admin on %s (port %u)", s->workers_count,
             s->config->admin_listen, ctl_port(s->ctl));
}

int server_run(struct server *s)
{
    enum err e = ctl_start(s->ctl);

    if (e == ERR_OK)
        e = start_workers(s);
    if (e == ERR_OK) {
        tell_addresses(s);
        notify_ready(&s->notify, "serving");
        serve(s);
        drain(s);
    }
    if (!stop_workers(s)) {
        log_warn("ending with requests open: their clients see a closed connection");
        store_flush(s->store);
        log_close();
        _exit(0);
    }
    ctl_stop(s->ctl);
    return e == ERR_OK ? 0 : 1;
}
