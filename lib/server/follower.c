#include "server/follower.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "purge/follow.h"
#include "server/journal.h"
#include "server/release_follow.h"

enum {
    WATCH_MS = 500,
    SILENT_MS = 5 * LIMIT_JOURNAL_HEARTBEAT_MS, /* a stream without a sign of life */
    RETRY_FIRST_MS = 50,
    RETRY_MOST_MS = 2000,
    FIRST_BYTE_MS = 5000,
    FAILURES_TO_SETTLE = 3, /* then there is nobody to wait for */
    CONNECTIONS = 4,
    SAID_BYTES = 256,
    TOLD_BYTES = 128,
    PATH_BYTES = 512,
};

struct follower {
    struct follower_options opt;
    struct upstream *upstream;               /* owned */
    struct upstream_target *target;          /* a reference */
    struct upstream_fetch *stream, *applied; /* running, or NULL */
    struct follow *follow;                   /* of the stream, from its head on */
    struct release_follow *releases;         /* owned */
    struct reactor_timer retry, watch;
    int64_t retry_ms, heard_ms;
    unsigned failures;  /* one after the other */
    int64_t watched_ms; /* when on_watch() was last called */
    int64_t awake_ms;   /* the same, but for the first time after a stop: all that had come by then
                           has been read */
    struct purge_position told; /* what the owner has been told last; all zero: nothing it took */
    bool was_told;              /* it has taken what is being told */
    bool is_settled, is_silent; /* silent: it has not been heard since it failed */
    char said[SAID_BYTES];      /* why, as it was last logged */
    char owner_node[TOLD_BYTES], owner_admin[TOLD_BYTES]; /* as it has last said; "": it has not */
};

static void settle(struct follower *f)
{
    if (!f->is_settled)
        f->opt.settled(f->opt.user);
    f->is_settled = true;
}

/* It has caught up with the owner's purges; with its releases too, as far as they can be had? */
static void settle_both(struct follower *f)
{
    if (purge_was_heard(f->opt.purge) && release_follow_is_settled(f->releases))
        settle(f);
}

static void on_releases_settled(void *user)
{
    settle_both(user);
}

static void on_switched(void *user)
{
    struct follower *f = user;

    f->opt.switched(f->opt.user);
}

static void on_announcement(void *user, struct slice bytes)
{
    struct follower *f = user;

    release_follow_take(f->releases, bytes);
}

/* ---- requests ---- */

static const char *lost_text(const struct config *c)
{
    return c->journal.on_lost == CONFIG_LOST_SERVE  ? "serve"
           : c->journal.on_lost == CONFIG_LOST_FAIL ? "fail"
                                                    : "revalidate";
}

static enum err send_request(struct follower *f, bool is_stream, const struct upstream_events *ev,
                             struct upstream_fetch **out)
{
    const struct config *c = f->opt.config;
    const char *owner = config_journal_owner(c), *host = strstr(owner, "//") + 2;
    struct http_field secret = {SLICE("selvage-secret"), slice_of(c->peer.secret)};
    struct http_fields fields = {.item = &secret, .count = c->peer.secret != NULL, .capacity = 1};
    struct purge_position at;
    char position[PURGE_POSITION_TEXT_BYTES], path[PATH_BYTES];
    struct upstream_request rq = {
        .target = f->target,
        .method = is_stream ? SLICE("GET") : SLICE("POST"),
        .host = slice_of(host),
        .fields = &fields,
        .has_body = !is_stream,
        .stream = is_stream,
        .is_idempotent = true,
    };

    purge_position(f->opt.purge, &at);
    purge_position_print(&at, position);
    snprintf(path, sizeof(path),
             JOURNAL_PATH "%s?id=%016llx&node=%s&lost=%s&grace=%llu&position=%s",
             is_stream ? "" : "/applied", (unsigned long long)purge_ctl_id(f->opt.purge), c->node,
             lost_text(c), (unsigned long long)c->journal.grace_ms, position);
    rq.request_target = slice_of(path);
    f->told = at;
    return upstream_fetch(f->upstream, &rq, ev, f, out);
}

/* ---- what has been applied ---- */

static void tell(struct follower *f);

static void on_told_head(void *user, const struct upstream_head *h)
{
    struct follower *f = user;

    f->was_told = h->status == 204;
}

static enum upstream_flow on_told_body(void *user, const char *p, size_t n)
{
    (void)user;
    (void)p;
    (void)n;
    return UPSTREAM_GO_ON;
}

static void on_told(void *user, enum upstream_failure failure, const char *text)
{
    struct follower *f = user;

    (void)text;
    f->applied = NULL;
    if (failure == UPSTREAM_OK && f->was_told)
        tell(f);
    else
        f->told = (struct purge_position){0}; /* again, with the next sign of life */
}

/* One at a time; what came meanwhile goes with the next. */
static void tell(struct follower *f)
{
    static const struct upstream_events ev = {on_told_head, on_told_body, on_told, NULL, NULL};
    struct purge_position now;

    purge_position(f->opt.purge, &now);
    if (f->applied != NULL || f->follow == NULL || purge_position_eq(&now, &f->told))
        return;
    f->was_told = false;
    if (send_request(f, false, &ev, &f->applied) != ERR_OK) {
        f->applied = NULL;
        f->told = (struct purge_position){0};
    }
}

/* ---- the stream ---- */

static void forget_stream(struct follower *f)
{
    if (f->stream != NULL)
        metrics_add(METRIC_JOURNAL_FOLLOWING, -1);
    f->stream = NULL;
}

static void end_stream(struct follower *f)
{
    if (f->stream != NULL)
        upstream_cancel(f->stream);
    forget_stream(f);
    follow_free(f->follow);
    f->follow = NULL;
}

/* Also of an owner that answers, and does not give its journal: nobody waits for it for ever. */
static void try_later(struct follower *f)
{
    end_stream(f);
    f->failures++;
    if (f->failures >= FAILURES_TO_SETTLE)
        settle(f);
    f->retry_ms = f->retry_ms == 0 ? RETRY_FIRST_MS : 2 * f->retry_ms;
    if (f->retry_ms > RETRY_MOST_MS)
        f->retry_ms = RETRY_MOST_MS;
    reactor_timer_start(f->opt.reactor, &f->retry, f->retry_ms);
}

/* Once for each time that it was heard before, and when the reason becomes another: an owner that
 * refuses this node has most often been out of reach before. */
static void say_lost(struct follower *f, const char *why)
{
    metrics_add(METRIC_JOURNAL_STREAMS_FAILED, 1);
    if (!f->is_silent || strncmp(f->said, why, sizeof(f->said) - 1) != 0)
        log_warn("journal: %s: %s; trying again", config_journal_owner(f->opt.config), why);
    f->is_silent = true;
    snprintf(f->said, sizeof(f->said), "%s", why);
}

/* It is shown to operators. */
static void take_told(const struct upstream_head *h, struct slice name, char out[TOLD_BYTES])
{
    struct slice told = http_fields_value(&h->fields, name);

    if (told.n >= TOLD_BYTES)
        told.n = 0;
    for (size_t i = 0; i < told.n; i++)
        if (told.p[i] <= ' ' || told.p[i] >= 0x7f)
            told.n = 0;
    if (told.n > 0)
        memcpy(out, told.p, told.n);
    out[told.n] = '\0';
}

void follower_owner(const struct follower *f, struct slice *out_node, struct slice *out_admin)
{
    *out_node = slice_of(f->owner_node);
    *out_admin = slice_of(f->owner_admin);
}

static void on_head(void *user, const struct upstream_head *h)
{
    struct follower *f = user;

    f->heard_ms = clock_mono_ms();
    if (h->status == 200) {
        take_told(h, SLICE("selvage-node"), f->owner_node);
        take_told(h, SLICE("selvage-admin"), f->owner_admin);
    }
    if (h->status == 200 && follow_new(f->opt.purge, &f->follow) == ERR_OK) {
        follow_on_announcement(f->follow, on_announcement, f);
        return;
    }
    if (h->status == 409) {
        metrics_add(METRIC_JOURNAL_REFUSED, 1);
        say_lost(f, "it refuses this node: it is of another cluster, or of a smaller epoch than "
                    "this node has seen");
        f->retry_ms = RETRY_MOST_MS;
        settle(f);
    } else {
        say_lost(f, h->status == 403 ? "it refuses this node's certificate or secret"
                                     : "it does not give its journal now");
        if (h->status == 403)
            settle(f);
    }
    try_later(f);
}

static void count_end(enum follow_end end)
{
    if (end == FOLLOW_SMALLER)
        metrics_add(METRIC_JOURNAL_SMALLER_EPOCH, 1);
    else if (end == FOLLOW_FOREIGN)
        metrics_add(METRIC_JOURNAL_FOREIGN, 1);
}

static enum upstream_flow on_body(void *user, const char *p, size_t n)
{
    struct follower *f = user;
    enum follow_end end;

    f->heard_ms = clock_mono_ms();
    /*
     * What is read now came since the loop has turned last: of a process that was stopped, long
     * ago, and the owner may have given up since.  A lease begins no later than its head was sent.
     */
    end = follow_feed(f->follow, (struct slice){p, n}, f->awake_ms);
    if (end != FOLLOW_GOES_ON) {
        count_end(end);
        say_lost(f, follow_end_text(end));
        if (end != FOLLOW_DIVERGED)
            settle(f);
        try_later(f);
        return UPSTREAM_GO_ON;
    }
    f->retry_ms = 0;
    if (purge_was_heard(f->opt.purge)) {
        if (f->is_silent || !f->is_settled)
            log_info("journal: following %s", config_journal_owner(f->opt.config));
        f->is_silent = false;
        f->failures = 0;
        settle_both(f);
    }
    tell(f);
    return UPSTREAM_GO_ON;
}

/* Upstream's text says whom it asked, and so does the line that it is to stand in. */
static const char *without_owner(const struct follower *f, const char *text)
{
    const char *owner = config_journal_owner(f->opt.config), *at = strstr(text, owner);
    size_t n = strlen(owner);

    return at != NULL && strncmp(at + n, ": ", 2) == 0 ? at + n + 2 : text;
}

static void on_done(void *user, enum upstream_failure failure, const char *text)
{
    struct follower *f = user;

    forget_stream(f);
    say_lost(f, failure == UPSTREAM_OK ? "it has ended the stream"
                : text == NULL         ? upstream_failure_name(failure)
                                       : without_owner(f, text));
    try_later(f);
}

static void begin(void *user)
{
    static const struct upstream_events ev = {on_head, on_body, on_done, NULL, NULL};
    struct follower *f = user;

    f->heard_ms = clock_mono_ms();
    if (send_request(f, true, &ev, &f->stream) == ERR_OK) {
        metrics_add(METRIC_JOURNAL_FOLLOWING, 1);
        return;
    }
    f->stream = NULL;
    say_lost(f, "out of memory");
    try_later(f);
}

/* A stopped owner ends nothing: its silence does. */
static void on_watch(void *user)
{
    struct follower *f = user;

    int64_t now_ms = clock_mono_ms();

    reactor_timer_start(f->opt.reactor, &f->watch, WATCH_MS);
    /* after a stop timers may have their turn before sockets, which still hold what came meanwhile
     */
    if (now_ms - f->watched_ms < 2 * WATCH_MS)
        f->awake_ms = now_ms;
    f->watched_ms = now_ms;
    if (f->follow != NULL && now_ms - f->heard_ms > SILENT_MS) {
        say_lost(f, "it is silent");
        settle(f);
        try_later(f);
    }
}

/* ---- life ---- */

static enum err make_target(const struct config *c, struct upstream_target **out)
{
    const char *owner = config_journal_owner(c);
    struct upstream_target_options opt = {
        .name = "journal",
        .servers = &owner,
        .servers_count = 1,
        .ca = c->peer.ca,
        .certificate = c->peer.certificate,
        .verify = true,
        .allow_local = true,
        .is_peer = true,
        .connections = CONNECTIONS,
        .queue = CONNECTIONS,
        .connect_ms = LIMIT_CONNECT_SHIELD_MS,
        .first_byte_ms = FIRST_BYTE_MS,
        .idle_ms = LIMIT_BODY_IDLE_MS,
    };

    return upstream_target_new(&opt, out);
}

static enum err make_releases(struct follower *f)
{
    struct release_follow_options opt = {
        .files = f->opt.files,
        .releases = f->opt.releases,
        .reactor = f->opt.reactor,
        .upstream = f->upstream,
        .target = f->target,
        .host = strstr(config_journal_owner(f->opt.config), "//") + 2,
        .secret = f->opt.config->peer.secret,
        .switched = on_switched,
        .settled = on_releases_settled,
        .user = f,
    };

    return release_follow_new(&opt, &f->releases);
}

enum err follower_new(const struct follower_options *opt, struct follower **out)
{
    struct follower *f = calloc(1, sizeof(*f));
    enum err e;

    if (f == NULL)
        return ERR_NOMEM;
    f->opt = *opt;
    f->retry = (struct reactor_timer){.fire = begin, .user = f};
    f->watch = (struct reactor_timer){.fire = on_watch, .user = f};
    e = upstream_new(opt->reactor, &f->upstream);
    if (e == ERR_OK)
        e = make_target(opt->config, &f->target);
    if (e == ERR_OK)
        e = make_releases(f);
    if (e != ERR_OK) {
        follower_free(f);
        return e;
    }
    reactor_timer_start(opt->reactor, &f->retry, 0);
    f->awake_ms = f->watched_ms = clock_mono_ms();
    reactor_timer_start(opt->reactor, &f->watch, WATCH_MS);
    *out = f;
    return ERR_OK;
}

void follower_free(struct follower *f)
{
    if (f == NULL)
        return;
    reactor_timer_stop(f->opt.reactor, &f->retry);
    reactor_timer_stop(f->opt.reactor, &f->watch);
    end_stream(f);
    if (f->applied != NULL)
        upstream_cancel(f->applied);
    release_follow_free(f->releases);
    upstream_free(f->upstream);
    upstream_target_unref(f->target);
    free(f);
}
