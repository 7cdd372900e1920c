/* What a GET would meet, and why, for a person: by the same look-up and the
 * same decisions that serve. */
#include <inttypes.h>

#include "base/clock.h"
#include "base/limits.h"
#include "cache/cache_priv.h"
#include "cache/judge.h"
#include "cache/variant.h"

enum { ARENA_BYTES_MAX = 4 * LIMIT_RECORD_BYTES };

/* What the text is made from. */
struct question {
    struct cache *cache;
    struct store_reader *reader;
    const struct site *site;
    const struct http_fields *fields;
    struct slice method;
    struct arena arena;
    struct request_facts facts;
    struct rule_facts rule;
    struct lookup lookup;
    struct block_of block; /* all zero: the whole object */
    struct clock_moment now;
    struct buf *out;
};

static void say_reasons(struct question *q, const struct reasons *why)
{
    reasons_format(why, q->out);
}

/* ---- purges ---- */

static void say_purge(struct question *q, const struct store_stamp *stamp, const char *what)
{
    struct purge_subject subject = cache_subject(stamp);
    char text[PURGE_TEXT_BYTES_MAX + 1];
    enum purge_kind kind;
    uint64_t position;
    bool soft;

    if (!purge_explain(q->cache->purge, &subject, &kind, text, sizeof(text), &position, &soft))
        return;
    buf_addf(q->out, "  %s by a %s purge of %s%s%s, position %u-%" PRIu64 " (selvage purge)\n",
             what, soft ? "soft" : "hard", purge_kind_name(kind), text[0] == '\0' ? "" : " ", text,
             position_epoch(position), position_n(position));
}

/* ---- what is stored ---- */

static void add_seconds(struct buf *out, int64_t ms)
{
    buf_addf(out, "%" PRId64 ".%03" PRId64 " s", ms / 1000, ms % 1000);
}

/* RFC 9111 section 4.2: the sums that the decision rests on, with their terms.
 */
static void say_arithmetic(struct question *q)
{
    const struct freshness *f = &q->lookup.head.freshness;
    int64_t age_s = freshness_age_s(f, &q->now), left_s = f->lifetime_s - age_s;
    int64_t since_ms = q->now.wall_ms - f->received.wall_ms;

    if (f->received.mono_ms != FRESHNESS_ABSENT && q->now.mono_ms - f->received.mono_ms > since_ms)
        since_ms = q->now.mono_ms - f->received.mono_ms;
    buf_add(q->out, SLICE("  age: "));
    add_seconds(q->out, f->initial_age_ms);
    buf_add(q->out, SLICE(" when it came (Age, and the wait for it) + "));
    add_seconds(q->out, since_ms < 0 ? 0 : since_ms);
    buf_addf(q->out, " since = %" PRId64 " s (RFC 9111 section 4.2.3)\n", age_s);
    buf_addf(q->out,
             "  lifetime %" PRId64 " s - age %" PRId64 " s = %" PRId64
             " s: %s (RFC 9111 section 4.2)\n",
             f->lifetime_s, age_s, left_s, left_s > 0 ? "fresh" : "stale");
}

static void say_vary(struct question *q)
{
    struct store_key key = {.host = q->lookup.host, .text = q->lookup.text};
    struct store_hit hit;
    struct variant_lists lists;

    if (store_get(q->reader, &key, &q->arena, &hit) != ERR_OK)
        return;
    if (hit.pinned)
        store_unpin(q->cache->store, hit.objid);
    if (!hit.is_marker || variant_lists_read(hit.head, &lists) != ERR_OK)
        return;
    for (size_t i = 0; i < lists.count; i++)
        buf_addf(q->out, "  variants by: %.*s (Vary of the stored responses)\n",
                 lists.list[i].n == 0 ? 9 : (int)lists.list[i].n,
                 lists.list[i].n == 0 ? "(nothing)" : lists.list[i].p);
}

static void say_stored(struct question *q)
{
    const struct lookup *l = &q->lookup;
    const struct head *h = &l->head;
    struct reasons lifetime = {0};

    buf_addf(q->out,
             "stored: status %d, %" PRIu64 " bytes, age %" PRId64 " s of a lifetime of %" PRId64
             " s, born at position %u-%" PRIu64 "\n",
             h->status, l->hit.body_bytes, freshness_age_s(&h->freshness, &q->now),
             h->freshness.lifetime_s, position_epoch(l->hit.stamp.birth),
             position_n(l->hit.stamp.birth));
    reasons_add(&lifetime, h->lifetime_by, h->freshness.lifetime_s);
    say_reasons(q, &lifetime);
    if (h->rule_line != 0)
        buf_addf(q->out, "  the rule in line %" PRIu32 " matched the response\n", h->rule_line);
    say_arithmetic(q);
    if (h->vary.n > 0)
        buf_addf(q->out, "  for requests that agree in: %.*s (Vary)\n", (int)h->vary.n, h->vary.p);
    if (h->freshness.swr_s > 0 || h->freshness.sie_s > 0)
        buf_addf(q->out,
                 "  stale windows: %" PRId64 " s while revalidating, %" PRId64
                 " s on errors (RFC 5861)\n",
                 h->freshness.swr_s, h->freshness.sie_s);
    if (l->hit.is_stale)
        say_purge(q, &l->hit.stamp, "made stale");
}

static void say_last_answer(struct question *q)
{
    struct memo_entry e;

    if (!memo_find(q->cache->memo, q->lookup.text, &e))
        return;
    buf_addf(q->out, "last answer of the origin: status %d, %" PRId64 " s ago, not stored\n",
             e.status, q->now.wall_ms / 1000 - e.at_s);
    say_reasons(q, &e.why);
}

/* ---- what would be done ---- */

static const char *action_text(enum request_action a)
{
    switch (a) {
    case REQUEST_ANSWER:
        return "answer from the store";
    case REQUEST_ANSWER_REFRESH:
        return "answer from the store, stale, and validate in the background";
    case REQUEST_VALIDATE:
        return "ask the origin whether what is stored is still right";
    case REQUEST_FETCH:
        return "fetch from the origin";
    case REQUEST_PASS:
    case REQUEST_RANGE_PASS:
        return "pass to the origin, without the store";
    case REQUEST_REFUSE:
        return "refuse with 504";
    }
    return "";
}

static void say_decision(struct question *q, const struct request_decision *d)
{
    buf_addf(q->out, "decision: %s\n", action_text(d->action));
    say_reasons(q, &d->why);
    if (d->may_serve_stale)
        buf_add(q->out, SLICE("  if the origin fails, what is stored may stand in "
                              "(stale_if_error)\n"));
}

/* Where the rule slices, what counts is the block in which the answer begins.
 */
static enum err look_for_block(struct question *q, bool is_https, struct slice host,
                               struct slice target)
{
    uint64_t bytes = q->rule.rule == NULL ? 0 : q->rule.rule->slice_bytes;

    if (bytes == 0 || q->facts.method != METHOD_GET)
        return ERR_OK;
    q->block = (struct block_of){
        .bytes = bytes,
        .index = slices_first_index(http_fields_value(q->fields, SLICE("range")), bytes)};
    q->facts.has_range = false; /* the block's is our own */
    buf_addf(q->out, "slice: block %" PRIu64 ", of %" PRIu64 " bytes (rules.slice)\n",
             q->block.index, bytes);
    return lookup_run(q->cache, q->reader, q->site, is_https, host, target, q->fields, &q->block,
                      &q->arena, &q->lookup);
}

static void say_all(struct question *q, bool is_https, struct slice host, struct slice target)
{
    struct request_decision d;

    buf_addf(q->out, "%.*s %s://%.*s%.*s\nsite: %s\n", (int)q->method.n, q->method.p,
             is_https ? "https" : "http", (int)host.n, host.p, (int)target.n, target.p,
             q->site->name);
    if (q->rule.rule != NULL)
        buf_addf(q->out, "rule: line %u, path %s\n", q->rule.rule->line, q->rule.rule->path);
    if (q->cache->on_journal_lost == CACHE_LOST_FAIL && lease_is_lost(q->cache, q->now.mono_ms)) {
        buf_add(q->out, SLICE("decision: refuse with 503\n  the purge journal is out of reach, and "
                              "this node is told to serve nothing then (journal.on_journal_lost: "
                              "fail)\n"));
        return;
    }
    if (decide_pass(&q->facts, &q->rule, &d)) {
        say_decision(q, &d);
        return;
    }
    if (lookup_names(q->site, is_https, host, target, q->fields, &q->block, &q->arena,
                     &q->lookup) != ERR_OK) {
        buf_add(q->out, SLICE("no room to look it up\n"));
        return;
    }
    buf_addf(q->out, "key: %.*s\n", (int)q->lookup.text.n, q->lookup.text.p);
    if (lookup_run(q->cache, q->reader, q->site, is_https, host, target, q->fields, &q->block,
                   &q->arena, &q->lookup) != ERR_OK) {
        buf_add(q->out, SLICE("no room to look it up\n"));
        return;
    }
    if (!q->lookup.found && look_for_block(q, is_https, host, target) != ERR_OK) {
        buf_add(q->out, SLICE("no room to look it up\n"));
        return;
    }
    if (q->lookup.found && !lease_covers(q->cache, &q->lookup.head, q->now.mono_ms))
        q->lookup.facts.is_unleased = true;
    if (q->lookup.found)
        say_stored(q);
    else if (q->lookup.is_purged)
        say_purge(q, &q->lookup.purged, "what was stored has been purged");
    if (!q->lookup.found)
        buf_add(q->out, q->lookup.is_purged ? SLICE("stored: nothing usable\n")
                                            : SLICE("stored: nothing for this request\n"));
    if (q->lookup.vary_missed)
        say_vary(q);
    decide_request(&q->facts, &q->lookup.facts, &q->rule, q->cache->role.may_serve_swr, &q->now,
                   &d);
    say_decision(q, &d);
    if (!q->lookup.found)
        say_last_answer(q);
}

static void explain(struct question *q, bool is_https, struct slice host, struct slice target)
{
    struct slice which;

    arena_init(&q->arena, NULL, 0, ARENA_BYTES_MAX);
    request_facts_read(&q->facts, q->method, q->fields, false);
    q->rule.site = q->site;
    q->rule.rule = site_rule_for_request(q->site, q->method, target);
    q->rule.bypass_cookie = q->rule.rule != NULL && q->facts.has_cookie &&
                            site_rule_bypasses(q->rule.rule, q->fields, &which);
    say_all(q, is_https, host, target);
    lookup_release(q->cache, &q->lookup);
    arena_release(&q->arena);
}

void cache_explain(struct cache *c, struct store_reader *r, const struct site *site, bool is_https,
                   struct slice host, struct slice target, const struct http_fields *fields,
                   struct buf *out)
{
    struct question q = {.cache = c,
                         .reader = r,
                         .site = site,
                         .fields = fields,
                         .method = SLICE("GET"),
                         .now = clock_now(),
                         .out = out};

    explain(&q, is_https, host, target);
}

void cache_explain_request(struct cache_worker *w, const struct cache_request *rq, struct buf *out)
{
    struct question q = {.cache = w->cache,
                         .reader = w->reader,
                         .site = rq->site,
                         .fields = rq->fields,
                         .method = rq->method,
                         .now = clock_now(),
                         .out = out};

    explain(&q, rq->is_https, rq->host, rq->target);
}

bool cache_head_facts(struct slice bytes, int64_t *age_s, int64_t *ttl_s, int *status)
{
    char room[4096];
    struct arena arena;
    struct head h;
    struct clock_moment now = clock_now();
    bool ok;

    arena_init(&arena, room, sizeof(room), LIMIT_RECORD_BYTES);
    ok = head_decode(bytes, clock_boot(), &arena, &h) == ERR_OK;
    if (ok) {
        *age_s = freshness_age_s(&h.freshness, &now);
        *ttl_s = h.freshness.lifetime_s - *age_s;
        *status = h.status;
    }
    arena_release(&arena);
    return ok;
}
