/*
 * Slices: an object in blocks, each looked up, fetched, collapsed, validated
 * and stored by itself, so that a seek in a large video costs a block.
 *
 * An answer in blocks is made of exchanges, one after the other, each for one
 * block.  The first one says of which version the object is: its strong entity
 * tag and its length.  Every other must be of the same, or the answer is cut,
 * never a mixture; then all blocks are dropped, and the next request begins
 * anew.  What turns out to be no block (the origin gives no ranges, or no
 * strong tag, or an error) is the whole answer, or is asked for as if there
 * were no slices.
 */
#include "base/check.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "cache/cache_priv.h"
#include "http/conditional.h"
#include "http/range.h"
#include "purge/purge.h"

enum { BLOCK_ARENA_MAX = 4 * LIMIT_RECORD_BYTES };

struct slices {
    struct cache_exchange *outer;
    struct block_of version; /* of the answer; etag in the outer's arena */
    int64_t began_ms;        /* monotonic */

    /* The block in hand. */
    uint64_t index;
    struct cache_exchange *inner; /* NULL: none */
    struct arena arena;           /* its exchange's */
    struct cache_answer answer;
    bool has_answer;
    bool is_starting; /* an answer from inside is looked at when the start has
                         returned */
    bool is_read;     /* its body is where the outer's is */
    uint64_t next_at; /* and the byte of the object that comes next from it */
    bool is_broken;   /* of another version, or it failed */
};

bool slices_is_block(const struct block_of *block, int status, const struct http_fields *fields,
                     uint64_t *total)
{
    const struct http_field *f = http_fields_find(fields, SLICE("content-range"));
    uint64_t first = block->index * block->bytes, last;
    struct http_range r;

    if (status != 206 || f == NULL || http_fields_next(fields, f) != NULL ||
        !http_content_range_parse(f->value, &r, total) || *total == UINT64_MAX || first >= *total)
        return false;
    last = *total - first < block->bytes ? *total - 1 : first + block->bytes - 1;
    return r.first == first && r.last == last &&
           etag_is_strong(http_fields_value(fields, SLICE("etag")));
}

static bool is_known_against(const struct cache_exchange *x)
{
    return recent_has(x->worker->recent, RECENT_NOT_SLICED, x->lookup.text,
                      purge_head(x->worker->cache->purge), reactor_now_ms(x->worker->reactor));
}

bool slices_are_wanted(const struct cache_exchange *x)
{
    return x->rule.rule != NULL && x->rule.rule->slice_bytes > 0 && x->rq.file == NULL &&
           x->rq.upgrade == NULL && !x->is_pass && x->facts.method == METHOD_GET &&
           x->block.bytes == 0 && !x->lookup.found && !x->fence.is_alone && !x->fence.is_lagging &&
           !is_known_against(x);
}

/* ---- the block in hand ---- */

static void let_go(struct slices *s)
{
    if (s->inner != NULL)
        cache_end(s->inner);
    if (s->inner != NULL || s->has_answer)
        arena_release(&s->arena);
    s->inner = NULL;
    s->has_answer = s->is_read = false;
}

static void take_answer(struct slices *s);

static void on_answer(void *user, const struct cache_answer *a)
{
    struct slices *s = user;

    s->answer = *a;
    s->has_answer = true;
    if (!s->is_starting)
        take_answer(s);
}

static void on_ready(void *user)
{
    struct slices *s = user;

    body_ready(s->outer);
}

/* Of the first block, before the head of the answer. */
static void on_interim(void *user, int status, const struct http_fields *fields)
{
    struct cache_exchange *x = ((struct slices *)user)->outer;

    if (!x->answered && x->client->interim != NULL)
        x->client->interim(x->user, status, fields);
}

static const struct cache_client block_client = {
    .answer = on_answer, .ready = on_ready, .interim = on_interim};

/* False when there is no room. */
static bool ask_for(struct slices *s, uint64_t index)
{
    struct cache_request rq = s->outer->rq;
    struct block_of block = s->version;

    let_go(s);
    block.index = s->index = index;
    arena_init(&s->arena, NULL, 0, BLOCK_ARENA_MAX);
    rq.arena = &s->arena;
    s->is_starting = true;
    s->inner = engine_start_block(s->outer->worker, &rq, &block, &block_client, s);
    s->is_starting = false;
    if (s->inner == NULL) {
        arena_release(&s->arena);
        return false;
    }
    return true;
}

struct cache_exchange *slices_block(const struct cache_exchange *x)
{
    return x->slices->inner;
}

void slices_end(struct cache_exchange *x)
{
    if (x->slices != NULL)
        let_go(x->slices);
}

/* ---- the first one: the head of the answer ---- */

/* As if the rule had not said it, for a while. */
static void go_without(struct slices *s)
{
    struct cache_exchange *x = s->outer;

    recent_note(x->worker->recent, RECENT_NOT_SLICED, x->lookup.text,
                purge_head(x->worker->cache->purge), reactor_now_ms(x->worker->reactor));
    let_go(s);
    x->slices = NULL;
    miss_begin(x);
}

/* A block that nobody may keep makes a request of each block: better one for
 * all. */
static bool is_kept(const struct cache_answer *a)
{
    return (a->verdict != VERDICT_MISS && a->verdict != VERDICT_COLLAPSED) ||
           a->cache_status.stored;
}

static void begin_answer(struct slices *s, uint64_t total)
{
    struct cache_exchange *x = s->outer;
    const struct http_fields *from = s->answer.fields;
    struct http_field *item = arena_alloc(x->rq.arena, (from->count + 1) * sizeof(*item));
    struct head head = {.status = 200};

    s->version.etag = arena_dup(x->rq.arena, http_fields_value(from, SLICE("etag")));
    s->version.total = total;
    if (item == NULL || s->version.etag.p == NULL) {
        answer_error(x, 503, "No room for this request.\n", NULL);
        return;
    }
    head.fields = (struct http_fields){.item = item, .capacity = from->count + 1};
    /* what the origin says of the block's bytes is not true of all (RFC 9530 section 2) */
    for (size_t i = 0; i < from->count; i++)
        if (!slice_eq(from->item[i].name, SLICE("content-range")) &&
            !slice_eq(from->item[i].name, SLICE("content-digest")))
            item[head.fields.count++] = from->item[i];
    x->now = s->inner->now;
    x->reason = s->inner->reason;
    answer_from_blocks(x, &head, total, &s->answer);
}

static void take_first(struct slices *s)
{
    struct cache_exchange *x = s->outer;
    const struct cache_answer *a = &s->answer;
    struct block_of asked = {.bytes = s->version.bytes, .index = s->index};
    int status = s->inner->head_status;
    uint64_t total;

    if (status == 206 && slices_is_block(&asked, status, a->fields, &total) && is_kept(a)) {
        begin_answer(s, total);
        return;
    }
    /* of an empty object no range can be had; and behind its end If-Range would
     * have counted first
     */
    if (status == 206 ||
        (status == 416 &&
         (!x->asks_range || http_fields_find(x->rq.fields, SLICE("if-range")) != NULL))) {
        go_without(s);
        return;
    }
    if (status == 200) /* it is on its way, whole: who comes next need not ask for blocks */
        recent_note(x->worker->recent, RECENT_NOT_SLICED, x->lookup.text,
                    purge_head(x->worker->cache->purge), reactor_now_ms(x->worker->reactor));
    x->reason = s->inner->reason;
    x->peer_error = s->inner->peer_error;
    answer_relayed(x, a);
}

/* ---- those that follow ---- */

/* What was stored before this answer began has been dropped by another one, or
 * is by this. */
static void drop_all(struct slices *s)
{
    struct cache_exchange *x = s->outer;

    metrics_add(METRIC_SLICE_CHANGES, 1);
    log_info("%s: an object changed between two of its blocks; the answer is "
             "cut, and its blocks "
             "are dropped",
             x->rq.site->name);
    if (!outdated_is(x->worker->cache->outdated, x->lookup.text, s->began_ms))
        invalidate_blocks(x->worker->cache, x->worker->reader, &x->lookup, s->version.bytes,
                          s->version.total);
}

static void take_next(struct slices *s)
{
    const struct cache_answer *a = &s->answer;
    struct block_of asked = s->version;
    uint64_t total;

    asked.index = s->index;
    if (s->inner->head_status == 206 && slices_is_block(&asked, 206, a->fields, &total)) {
        if (total == s->version.total &&
            slice_eq(http_fields_value(a->fields, SLICE("etag")), s->version.etag))
            return;
        drop_all(s);
    } else if (s->inner->head_status == 200) {
        drop_all(s);
    }
    s->is_broken = true;
}

static void take_answer(struct slices *s)
{
    if (!s->outer->answered) {
        take_first(s);
        return;
    }
    take_next(s);
    body_ready(s->outer);
}

/* ---- the body ---- */

/* Let the block's body begin where the outer one is. */
static void align(struct slices *s)
{
    struct cache_exchange *x = s->outer, *in = s->inner;
    uint64_t offset = x->at - s->index * s->version.bytes;

    s->is_read = true;
    s->next_at = x->at;
    if (offset > 0)
        body_skip(in, offset);
}

enum cache_body slices_next(struct cache_exchange *x, size_t max, struct cache_piece *out)
{
    struct slices *s = x->slices;
    uint64_t index = x->at / s->version.bytes, left = x->end - x->at;
    enum cache_body b;

    if (s->is_broken)
        return CACHE_BODY_BROKEN;
    if (s->inner == NULL || s->index != index || (s->is_read && s->next_at != x->at)) {
        if (!ask_for(s, index))
            return CACHE_BODY_BROKEN;
        if (s->has_answer)
            take_next(s);
    }
    if (s->is_broken)
        return CACHE_BODY_BROKEN;
    if (!s->has_answer)
        return CACHE_BODY_WAIT;
    if (!s->is_read)
        align(s);
    b = cache_body_next(s->inner, max < left ? max : (size_t)left, out);
    if (b == CACHE_BODY_WAIT || b == CACHE_BODY_BROKEN)
        return b;
    x->at += out->n;
    s->next_at = x->at;
    if (x->at == x->end)
        return CACHE_BODY_END;
    /* a block that ends early is not what its head said */
    if (b == CACHE_BODY_END && x->at % s->version.bytes != 0)
        return CACHE_BODY_BROKEN;
    return CACHE_BODY_MORE;
}

/* ---- the beginning ---- */

/* How long the object is nobody knows yet. */
uint64_t slices_first_index(struct slice value, uint64_t block_bytes)
{
    const uint64_t far = (uint64_t)INT64_MAX;
    struct http_range range[HTTP_RANGES_MAX];
    size_t count = 0;

    /* of this length a suffix lies at the end: then the first block says where
     * that is */
    if (value.p == NULL || http_range_parse(value, far, range, &count) != HTTP_RANGE_OK ||
        count == 0 || range[0].first >= far / 2)
        return 0;
    return range[0].first / block_bytes;
}

void slices_begin(struct cache_exchange *x)
{
    struct slices *s = arena_zalloc(x->rq.arena, sizeof(*s));

    if (s != NULL) {
        x->slices = s;
        s->outer = x;
        s->version.bytes = x->rule.rule->slice_bytes;
        s->began_ms = clock_mono_ms();
    }
    if (s == NULL || !ask_for(s, slices_first_index(http_fields_value(x->rq.fields, SLICE("range")),
                                                    s->version.bytes))) {
        answer_error(x, 503, "No room for this request.\n", NULL);
        return;
    }
    if (s->has_answer)
        take_first(s);
}
