#include "server/journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/log.h"
#include "base/metrics.h"
#include "purge/serve.h"
#include "purge/stream.h"
#include "release/release.h"
#include "server/peer.h"
#include "server/request.h"

enum {
    MEMBERS_MAX = 400, /* each stream is a reader of the journal, and LMDB has 512 places */
    NAME_BYTES = 65,
    ID_DIGITS = 16,
    SEND_BYTES = 64 << 10,   /* of one writing */
    OUT_BYTES_MAX = 2 << 20, /* with a release of each site, of 4,096 at most */
    GRACES_OF_A_MEMBER = 10,
    GRACE_MS_MAX = 3600000,
    /* a follower that has not heard its own owner for so long lends no lease */
    RELAY_SILENT_MS = 3 * LIMIT_JOURNAL_HEARTBEAT_MS,
    LINE_BYTES_MAX = ID_DIGITS + NAME_BYTES + 40, /* of the file of members */
};

/* A follower, by what it says of itself. */
struct member {
    uint64_t id;
    char name[NAME_BYTES];
    enum config_journal_lost lost;
    int64_t grace_ms;
    struct purge_position applied;
    int64_t heard_ms; /* monotonic */
    unsigned streams; /* open now */
};

/* One running stream; on the pool of its request. */
struct stream {
    struct journal *journal;
    struct server_request *r;
    struct stream *next, *prev; /* of its worker's */
    struct reactor_timer beat;
    struct serve *serve;
    struct buf out; /* on its way */
    uint64_t member;
    uint64_t releases; /* releases_version() of what it has been told */
    bool is_due;       /* there may be news, and bytes are still on their way */
};

/* What a worker has; its message is posted when the head has moved. */
struct station {
    struct reactor_message message;
    struct worker *worker;
    struct stream *streams; /* the worker's */
    _Atomic bool is_posted;
};

struct journal {
    struct journal_options opt;
    struct station *station; /* owned */

    pthread_mutex_t lock; /* a leaf: of the members */
    struct member member[MEMBERS_MAX];
    size_t members;
};

/* ---- members ---- */

/* Under the lock.  NULL: there are too many. */
static struct member *member_of(struct journal *j, uint64_t id, bool is_new)
{
    int64_t now_ms = clock_mono_ms();

    for (size_t i = 0; i < j->members; i++)
        if (j->member[i].id == id)
            return &j->member[i];
    for (size_t i = j->members; i-- > 0;)
        if (j->member[i].streams == 0 &&
            now_ms - j->member[i].heard_ms > GRACES_OF_A_MEMBER * j->member[i].grace_ms)
            j->member[i] = j->member[--j->members];
    if (!is_new || j->members == MEMBERS_MAX)
        return NULL;
    j->member[j->members] = (struct member){.id = id};
    return &j->member[j->members++];
}

/* What its query says of a follower. */
struct query {
    uint64_t id;
    struct slice name;
    enum config_journal_lost lost;
    int64_t grace_ms;
    struct purge_position position;
};

static bool read_id(struct slice s, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
            return false;
        *out = *out << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return s.n == ID_DIGITS;
}

static bool read_lost(struct slice s, enum config_journal_lost *out)
{
    *out = slice_eq(s, SLICE("serve"))  ? CONFIG_LOST_SERVE
           : slice_eq(s, SLICE("fail")) ? CONFIG_LOST_FAIL
                                        : CONFIG_LOST_REVALIDATE;
    return *out != CONFIG_LOST_REVALIDATE || slice_eq(s, SLICE("revalidate"));
}

static bool read_name(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || s.p[i] == '"' || s.p[i] == '\\')
            return false;
    return s.n > 0 && s.n < NAME_BYTES;
}

/* All five, each once. */
static bool read_query(struct slice query, struct query *out)
{
    unsigned seen = 0;
    uint64_t n;

    for (*out = (struct query){0}; query.n > 0;) {
        struct slice part = slice_head(query, slice_index(query, '&'));
        struct slice key = slice_head(part, slice_index(part, '='));
        struct slice value = slice_from(part, key.n + 1);
        unsigned bit = 0;

        query = slice_from(query, part.n + 1);
        if (slice_eq(key, SLICE("id")) && read_id(value, &out->id))
            bit = 1;
        else if (slice_eq(key, SLICE("node")) && read_name(value))
            bit = 2;
        else if (slice_eq(key, SLICE("lost")) && read_lost(value, &out->lost))
            bit = 4;
        else if (slice_eq(key, SLICE("grace")) && slice_to_u64(value, &n) && n <= GRACE_MS_MAX)
            bit = 8;
        else if (slice_eq(key, SLICE("position")) &&
                 purge_position_parse(value, &out->position) == ERR_OK)
            bit = 16;
        if (bit == 2)
            out->name = value;
        if (bit == 8)
            out->grace_ms = (int64_t)n;
        if (bit == 0 || (seen & bit) != 0)
            return false;
        seen |= bit;
    }
    return seen == 31;
}

/* `streams`: one begins, or none does. */
static bool note_member(struct journal *j, const struct server_request *r, const struct query *q,
                        unsigned streams)
{
    const struct peer *p = r->conn->peer;
    struct slice name = p != NULL && p->name[0] != '\0' ? slice_of(p->name) : q->name;
    bool is_news = false;
    struct member *m;

    pthread_mutex_lock(&j->lock);
    m = member_of(j, q->id, true);
    if (m != NULL) {
        is_news =
            !slice_eq(slice_of(m->name), name) || m->lost != q->lost || m->grace_ms != q->grace_ms;
        memcpy(m->name, name.p, name.n);
        m->name[name.n] = '\0';
        m->lost = q->lost;
        m->grace_ms = q->grace_ms;
        m->applied = q->position;
        m->heard_ms = clock_mono_ms();
        m->streams += streams;
    }
    pthread_mutex_unlock(&j->lock);
    if (is_news)
        j->opt.joined(j->opt.user);
    return m != NULL;
}

static void note_end(struct journal *j, uint64_t id)
{
    struct member *m;

    pthread_mutex_lock(&j->lock);
    m = member_of(j, id, false);
    if (m != NULL && m->streams > 0)
        m->streams--;
    pthread_mutex_unlock(&j->lock);
}

static const char *name_of_lost(enum config_journal_lost lost)
{
    static const char *const name[] = {[CONFIG_LOST_REVALIDATE] = "revalidate",
                                       [CONFIG_LOST_SERVE] = "serve",
                                       [CONFIG_LOST_FAIL] = "fail"};

    return name[lost];
}

/* ---- over a restart ---- */

void journal_keep(struct journal *j)
{
    struct buf text;
    enum err e;

    buf_init(&text, MEMBERS_MAX * LINE_BYTES_MAX);
    pthread_mutex_lock(&j->lock);
    for (size_t i = 0; i < j->members; i++) {
        const struct member *m = &j->member[i];

        buf_addf(&text, "%016llx %lld %s %s\n", (unsigned long long)m->id, (long long)m->grace_ms,
                 name_of_lost(m->lost), m->name);
    }
    pthread_mutex_unlock(&j->lock);
    e = text.failed ? ERR_NOMEM : file_write_atomic(j->opt.members_file, buf_slice(&text));
    if (e != ERR_OK)
        log_warn("%s: cannot be written: %s: after a restart a receipt may leave out nodes that "
                 "have not come back",
                 j->opt.members_file, e == ERR_IO ? strerror(errno) : err_name(e));
    buf_release(&text);
}

static struct slice next_word(struct slice *line)
{
    struct slice word = slice_head(*line, slice_index(*line, ' '));

    *line = slice_from(*line, word.n + 1);
    return word;
}

static bool read_line(struct slice line, struct member *out)
{
    uint64_t grace_ms;

    *out = (struct member){.heard_ms = clock_mono_ms()};
    if (!read_id(next_word(&line), &out->id) || !slice_to_u64(next_word(&line), &grace_ms) ||
        grace_ms > GRACE_MS_MAX || !read_lost(next_word(&line), &out->lost) || line.n == 0 ||
        line.n >= NAME_BYTES)
        return false;
    out->grace_ms = (int64_t)grace_ms;
    memcpy(out->name, line.p, line.n);
    return true;
}

/* They count as heard now: whoever is still there comes back before they are forgotten. */
static void load_members(struct journal *j)
{
    char *text = NULL;
    size_t bytes = 0;
    enum err e = file_read_all(j->opt.members_file, MEMBERS_MAX * LINE_BYTES_MAX, &text, &bytes);
    struct slice rest = {text, e == ERR_OK ? bytes : 0};
    bool ok = e == ERR_OK || e == ERR_NOT_FOUND;

    while (ok && rest.n > 0 && j->members < MEMBERS_MAX) {
        struct slice line = slice_head(rest, slice_index(rest, '\n'));

        rest = slice_from(rest, line.n + 1);
        ok = read_line(line, &j->member[j->members]);
        j->members += ok;
    }
    if (!ok)
        log_warn("%s: is no list of nodes, or cannot be read: a receipt leaves out nodes that have "
                 "not come back",
                 j->opt.members_file);
    free(text);
}

void journal_list(struct journal *j, struct buf *out)
{
    char text[PURGE_POSITION_TEXT_BYTES];
    struct purge_position now;
    int64_t now_ms = clock_mono_ms();

    purge_position(j->opt.purge, &now);
    purge_position_print(&now, text);
    buf_addf(out, "{\"position\":\"%s\",\"epoch\":%u,\"n\":%llu,\"members\":[", text, now.epoch,
             (unsigned long long)now.n);
    pthread_mutex_lock(&j->lock);
    (void)member_of(j, 0, false); /* who was silent for too long is forgotten */
    for (size_t i = 0; i < j->members; i++) {
        const struct member *m = &j->member[i];

        buf_addf(out, "%s{\"node\":\"", i == 0 ? "" : ",");
        buf_add_json(out, slice_of(m->name)); /* a certificate's may have quotes in it */
        buf_addf(out,
                 "\",\"id\":\"%016llx\",\"connected\":%s,\"silent_ms\":%lld,"
                 "\"grace_ms\":%lld,\"on_journal_lost\":\"%s\",\"same_epoch\":%s,\"n\":%llu}",
                 (unsigned long long)m->id, m->streams > 0 ? "true" : "false",
                 (long long)(now_ms - m->heard_ms), (long long)m->grace_ms, name_of_lost(m->lost),
                 purge_position_is_of(&m->applied, &now) ? "true" : "false",
                 (unsigned long long)m->applied.n);
    }
    pthread_mutex_unlock(&j->lock);
    buf_add(out, SLICE("]}\n"));
}

/* ---- streams, each on its worker's thread ---- */

static void end_stream(struct stream *s)
{
    struct server_request *r = s->r;

    if (r->is_sending || r->is_over)
        return; /* it is looked at again when the bytes are gone */
    r->is_over = true;
    reactor_timer_stop(r->worker->reactor, &s->beat);
    h2o_send(r->req, NULL, 0, H2O_SEND_STATE_FINAL);
}

static bool must_end(const struct stream *s)
{
    const struct purge *p = s->journal->opt.purge;

    return s->r->worker->draining || !purge_has_lease(p, clock_mono_ms(), RELAY_SILENT_MS);
}

/* ---- releases: which each site has, all of them each time ---- */

static void add_release(void *out, struct slice news)
{
    stream_put_announcement(out, news);
}

static void tell_releases(void *user, struct buf *out)
{
    struct stream *s = user;

    if (s->journal->opt.releases == NULL)
        return;
    /* before they are read: one that comes meanwhile is told again */
    s->releases = releases_version(s->journal->opt.releases);
    releases_tell(s->journal->opt.releases, add_release, out);
}

static bool has_release_news(const struct stream *s)
{
    return s->journal->opt.releases != NULL &&
           releases_version(s->journal->opt.releases) != s->releases;
}

static void go_on(struct stream *s)
{
    struct server_request *r = s->r;
    h2o_iovec_t iov;
    bool more = false;
    enum err e;

    if (r->is_over)
        return;
    s->is_due = r->is_sending;
    if (r->is_sending)
        return;
    if (must_end(s)) {
        end_stream(s);
        return;
    }
    s->out.n = 0;
    e = serve_next(s->serve, &s->out, SEND_BYTES, &more);
    if (e != ERR_OK) {
        log_error("the purge journal cannot be read for a follower: %s", err_name(e));
        end_stream(s);
        return;
    }
    if (has_release_news(s))
        tell_releases(s, &s->out);
    if (s->out.failed) {
        log_error("journal: out of memory for a follower");
        end_stream(s);
        return;
    }
    s->is_due = more;
    r->is_sending = true;
    r->body_bytes += s->out.n;
    iov = h2o_iovec_init(s->out.p, s->out.n);
    h2o_send(r->req, &iov, 1, H2O_SEND_STATE_IN_PROGRESS);
}

static void on_beat(void *user)
{
    struct stream *s = user;

    reactor_timer_start(s->r->worker->reactor, &s->beat, LIMIT_JOURNAL_HEARTBEAT_MS);
    go_on(s);
}

static struct stream *stream_of(struct server_request *r)
{
    return r->journal_stream;
}

static void on_proceed(h2o_generator_t *g, h2o_req_t *req)
{
    struct server_request *r = (struct server_request *)g;
    struct stream *s = stream_of(r);

    (void)req;
    r->is_sending = false;
    if (s->is_due || must_end(s))
        go_on(s);
}

static void on_gone(void *p)
{
    struct stream *s = p;
    struct server_request *r = s->r;
    struct station *at = &s->journal->station[r->worker->index];

    reactor_timer_stop(r->worker->reactor, &s->beat);
    LIST_REMOVE(at->streams, s);
    note_end(s->journal, s->member);
    serve_free(s->serve);
    buf_release(&s->out);
}

static void begin_stream(struct journal *j, struct server_request *r, const struct query *q,
                         struct serve *serve)
{
    struct station *at = &j->station[r->worker->index];
    struct stream *s = h2o_mem_alloc_shared(&r->req->pool, sizeof(*s), on_gone);
    const struct config *c =
        server_config(r->worker->server); /* what is listened on: no reload's */
    h2o_req_t *req = r->req;

    *s = (struct stream){.journal = j, .r = r, .serve = serve, .member = q->id};
    buf_init(&s->out, OUT_BYTES_MAX);
    serve_on_begin(serve, tell_releases, s);
    s->beat = (struct reactor_timer){.fire = on_beat, .user = s};
    LIST_PUSH(at->streams, s);
    r->journal_stream = s;
    r->generator.proceed = on_proceed;
    r->verdict = REQUEST_LOCAL;
    r->reason = "journal";
    r->is_stream = r->is_sent = true;
    r->status = req->res.status = 200;
    r->first_us = clock_mono_us();
    req->res.reason = response_reason(200);
    req->res.content_length = SIZE_MAX;
    response_field_add(req, SLICE("content-type"), SLICE("application/vnd.selvage.journal"));
    response_field_add(req, SLICE("cache-control"), SLICE("no-store"));
    /* for operators who ask the follower to do what is the owner's to do */
    response_field_add(req, SLICE("selvage-node"), slice_of(c->node));
    response_field_add(req, SLICE("selvage-admin"), slice_of(c->admin_listen));
    log_info("journal: %.*s follows from %u-%llu", (int)q->name.n, q->name.p, q->position.epoch,
             (unsigned long long)q->position.n);
    h2o_start_response(req, &r->generator);
    reactor_timer_start(r->worker->reactor, &s->beat, LIMIT_JOURNAL_HEARTBEAT_MS);
    go_on(s);
}

static void refuse(struct server_request *r, int status, const char *reason, const char *text)
{
    metrics_add(METRIC_JOURNAL_REFUSED, 1);
    response_local(r, &(struct local_answer){.status = status,
                                             .reason = reason,
                                             .text = text,
                                             .retry_after = status == 503 ? "1" : NULL,
                                             .verdict = REQUEST_REFUSED});
}

static void start(struct journal *j, struct server_request *r, const struct query *q)
{
    struct serve *serve = NULL;
    enum serve_start how;

    if (!purge_has_lease(j->opt.purge, clock_mono_ms(), RELAY_SILENT_MS)) {
        refuse(r, 503, "no-lease", "this node has lost the journal that it follows itself\n");
        return;
    }
    if (serve_new(j->opt.purge, &q->position, &how, &serve) != ERR_OK) {
        refuse(r, 503, "unreadable", "the journal cannot be read now\n");
        return;
    }
    switch (how) {
    case SERVE_STREAM:
        if (note_member(j, r, q, 1)) {
            begin_stream(j, r, q, serve);
            return;
        }
        serve_free(serve);
        refuse(r, 503, "too-many", "too many nodes follow this journal\n");
        return;
    case SERVE_FOREIGN:
        refuse(r, 409, "foreign", "this is the journal of another cluster\n");
        return;
    case SERVE_HIGHER:
        log_error("journal: %.*s has seen epoch %u, and this node's is smaller: somebody else has "
                  "become the owner, or this node's disk was set back",
                  (int)q->name.n, q->name.p, q->position.epoch);
        metrics_add(METRIC_JOURNAL_BAD_POSITIONS, 1);
        refuse(r, 409, "higher-epoch", "that is a higher epoch than this journal's\n");
        return;
    case SERVE_DIVERGED:
        log_error("journal: %.*s has purges of epoch %u that this node's journal does not hold: "
                  "was its disk set back?",
                  (int)q->name.n, q->name.p, q->position.epoch);
        metrics_add(METRIC_JOURNAL_BAD_POSITIONS, 1);
        j->opt.diverged(j->opt.user, q->position.epoch);
        refuse(r, 503, "diverged", "another epoch must begin; ask again\n");
        return;
    }
}

bool journal_takes(struct journal *j, struct server_request *r)
{
    struct slice target = {r->req->input.path.base, r->req->input.path.len};
    struct slice path = slice_head(target, slice_index(target, '?'));
    struct slice method = {r->req->input.method.base, r->req->input.method.len};
    bool is_stream = slice_eq(path, SLICE(JOURNAL_PATH));
    struct query q;

    if (!is_stream && !slice_eq(path, SLICE(JOURNAL_PATH "/applied")))
        return false;
    if (!slice_eq(method, is_stream ? SLICE("GET") : SLICE("POST"))) {
        refuse(r, 405, "method", is_stream ? "use GET\n" : "use POST\n");
    } else if (!read_query(slice_from(target, path.n + 1), &q)) {
        metrics_add(METRIC_JOURNAL_BAD_POSITIONS, 1);
        refuse(r, 400, "bad-position",
               "say id, node, lost, grace and position; a position is CLUSTER-EPOCH-TAG-N-ID\n");
    } else if (is_stream) {
        start(j, r, &q);
    } else {
        (void)note_member(j, r, &q, 0);
        response_local(r, &(struct local_answer){
                              .status = 204, .reason = "journal", .verdict = REQUEST_LOCAL});
    }
    return true;
}

static void on_news(struct reactor_message *m)
{
    struct station *at = (struct station *)m;

    /* before looking: what comes afterwards posts again */
    atomic_store_explicit(&at->is_posted, false, memory_order_seq_cst);
    for (struct stream *s = at->streams, *next; s != NULL; s = next) {
        next = s->next;
        go_on(s);
    }
}

void journal_tell(void *journal)
{
    struct journal *j = journal;

    for (unsigned i = 0; i < j->opt.workers_count; i++) {
        struct station *at = &j->station[i];

        if (!atomic_exchange_explicit(&at->is_posted, true, memory_order_seq_cst))
            reactor_post(at->worker->reactor, &at->message);
    }
}

enum err journal_new(const struct journal_options *opt, struct journal **out)
{
    struct journal *j = calloc(1, sizeof(*j));

    if (j == NULL)
        return ERR_NOMEM;
    j->opt = *opt;
    pthread_mutex_init(&j->lock, NULL);
    load_members(j);
    j->station = calloc(opt->workers_count, sizeof(*j->station));
    if (j->station == NULL) {
        journal_free(j);
        return ERR_NOMEM;
    }
    for (unsigned i = 0; i < opt->workers_count; i++) {
        j->station[i].message.run = on_news;
        j->station[i].worker = &opt->workers[i];
    }
    *out = j;
    return ERR_OK;
}

void journal_free(struct journal *j)
{
    if (j == NULL)
        return;
    pthread_mutex_destroy(&j->lock);
    free(j->station);
    free(j);
}
