/* Answers: the head that a client gets, by its own conditions and ranges, whatever the body comes
 * from. */
#include "base/limits.h"
#include "cache/fill.h"
#include "http/conditional.h"
#include "http/date.h"
#include "http/range.h"

/* What an answer is made of. */
struct material {
    const struct head *head;
    uint64_t bytes; /* of the whole body */
    enum body_source source;
    bool as_it_is; /* the origin has looked at conditions and ranges itself */
    int64_t date_s;
};

/* RFC 9211 section 2.3: what is not said is the answer's own. */
static bool is_status_worth_saying(const struct cache_answer *a)
{
    int came = a->cache_status.fwd_status;

    return came != a->status || came >= 500 || came == 206 || came == 304;
}

static void deliver(struct cache_exchange *x, struct cache_answer *a)
{
    x->answered = true;
    x->verdict = a->verdict;
    a->fields = &x->fields;
    a->checked = fence_checked(x);
    a->peer_error = x->peer_error;
    if (a->has_status)
        a->cache_status.name = x->worker->cache->node;
    if (!is_status_worth_saying(a))
        a->cache_status.fwd_status = 0;
    x->client->answer(x->user, a);
}

/* ---- fields ---- */

static bool is_made_for_each_answer(struct slice name)
{
    return slice_eq(name, SLICE("date")) || slice_eq(name, SLICE("age"));
}

/* What a 304 carries (RFC 9110 section 15.4.5); to another node of ours it carries all, to bring
 * its copy up to date. */
static bool belongs_in_304(const struct site *site, struct slice name)
{
    for (size_t i = 0; i < site->targeted_fields.count; i++)
        if (slice_eq(name, slice_of(site->targeted_fields.item[i])))
            return true;
    return slice_eq(name, SLICE("etag")) || slice_eq(name, SLICE("cache-control")) ||
           slice_eq(name, SLICE("vary")) || slice_eq(name, SLICE("expires")) ||
           slice_eq(name, SLICE("content-location")) || slice_eq(name, SLICE("cache-status")) ||
           slice_eq(name, SLICE("cdn-cache-control"));
}

/* A list of our own with room for one more; the bytes stay where they are, or come along when
 * `deep`. */
static bool copy_fields(struct cache_exchange *x, const struct http_fields *from, bool for_304,
                        bool deep)
{
    struct http_fields *to = &x->fields;

    to->count = 0;
    to->capacity = from->count + 1;
    to->item = arena_alloc(x->rq.arena, to->capacity * sizeof(*to->item));
    if (to->item == NULL)
        return false;
    for (size_t i = 0; i < from->count; i++) {
        struct http_field f = from->item[i];

        if (is_made_for_each_answer(f.name) || (for_304 && !belongs_in_304(x->rq.site, f.name)))
            continue;
        if (deep) {
            f.name = arena_dup(x->rq.arena, f.name);
            f.value = arena_dup(x->rq.arena, f.value);
            if (f.name.p == NULL || f.value.p == NULL)
                return false;
        }
        to->item[to->count++] = f;
    }
    return true;
}

static bool add_content_range(struct cache_exchange *x, const char *text, size_t n)
{
    struct slice value = arena_dup(x->rq.arena, (struct slice){text, n});

    if (value.p == NULL)
        return false;
    http_fields_remove(&x->fields, SLICE("content-range"));
    x->fields.item[x->fields.count++] = (struct http_field){SLICE("content-range"), value};
    return true;
}

static void no_room(struct cache_exchange *x)
{
    x->peer_error = "overloaded";
    answer_error(x, 503, "No room for this request.\n", NULL);
}

/* ---- conditions and ranges ---- */

static int64_t date_of(const struct head *h, int64_t now_s)
{
    struct slice date = http_fields_value(&h->fields, SLICE("date"));
    int64_t at_s;

    return date.p != NULL && http_date_parse(date, now_s, &at_s)
               ? at_s
               : h->freshness.received.wall_ms / 1000;
}

static struct http_validators validators_of(const struct material *m, int64_t now_s)
{
    struct http_validators v = {
        .etag = http_fields_value(&m->head->fields, SLICE("etag")),
        .last_modified = http_fields_value(&m->head->fields, SLICE("last-modified")),
        .last_modified_s = -1,
        .date_s = m->date_s,
    };

    if (v.last_modified.p != NULL && !http_date_parse(v.last_modified, now_s, &v.last_modified_s))
        v.last_modified_s = -1;
    return v;
}

/* The ranges that are wanted of a body. */
struct wanted {
    struct http_range range[HTTP_RANGES_MAX];
    size_t count;
};

/* Several ranges of what is still coming are answered with the whole, which RFC 9110 section 14.2
 * allows: they may lie in any order, and bytes that have gone by are not all kept. */
static enum http_range_result ranges_of(const struct cache_exchange *x, const struct material *m,
                                        const struct http_validators *v, int64_t now_s,
                                        struct wanted *out)
{
    const struct http_field *range;
    enum http_range_result result;

    if (!x->asks_range || x->facts.method != METHOD_GET || m->bytes == CACHE_BYTES_UNKNOWN)
        return HTTP_RANGE_IGNORE;
    range = http_fields_find(x->asked, SLICE("range"));
    /* two lines are one list (RFC 9110 section 5.3), and no range */
    if (range == NULL || http_fields_next(x->asked, range) != NULL ||
        !http_if_range_holds(x->asked, v, now_s))
        return HTTP_RANGE_IGNORE;
    result = http_range_parse(range->value, m->bytes, out->range, &out->count);
    if (result == HTTP_RANGE_OK && out->count != 1 && m->source == BODY_FILL)
        return HTTP_RANGE_IGNORE;
    return result;
}

/* ---- the kinds of answer ---- */

static void answer_not_modified(struct cache_exchange *x, struct cache_answer *a,
                                const struct material *m)
{
    if (!copy_fields(x, &m->head->fields, !x->rq.is_peer,
                     m->source == BODY_FILL || m->source == BODY_BLOCKS)) {
        no_room(x);
        return;
    }
    if (m->source == BODY_FILL)
        engine_leave_fill(x); /* it must not wait for one who will not read */
    slices_end(x);
    a->status = 304;
    a->body_bytes = CACHE_BYTES_UNKNOWN;
    deliver(x, a);
}

static void answer_unsatisfiable(struct cache_exchange *x, struct cache_answer *a,
                                 const struct material *m)
{
    char text[HTTP_CONTENT_RANGE_BYTES];
    size_t n = http_content_range_unsatisfied(m->bytes, text);
    static const struct http_fields none = {0};

    if (!copy_fields(x, &none, false, false) || !add_content_range(x, text, n)) {
        no_room(x);
        return;
    }
    if (m->source == BODY_FILL)
        engine_leave_fill(x);
    slices_end(x);
    a->status = 416;
    a->body_bytes = 0;
    a->age_s = -1;
    a->date_s = -1;
    deliver(x, a);
}

static bool may_be_pulled(struct cache_exchange *x)
{
    if (x->source == BODY_INLINE)
        return true;
    return (x->source == BODY_OBJECT || x->source == BODY_FILE) &&
           x->end - x->at <= LIMIT_PULLED_BYTES && body_is_resident(x);
}

/* Of the parts of a body no digest of the whole is right (RFC 9530 section 3). */
static bool copy_fields_of_part(struct cache_exchange *x, const struct material *m)
{
    if (!copy_fields(x, &m->head->fields, false, m->source == BODY_BLOCKS))
        return false;
    http_fields_remove(&x->fields, SLICE("content-digest"));
    return true;
}

/* Several ranges, as multipart/byteranges. */
static void answer_parts(struct cache_exchange *x, struct cache_answer *a, const struct material *m,
                         const struct wanted *w)
{
    struct slice type = {0}, part_type = http_fields_value(&m->head->fields, SLICE("content-type"));
    uint64_t bytes = 0;

    x->parts = parts_new(x->rq.arena, w->range, w->count, m->bytes, part_type, &type, &bytes);
    if (x->parts == NULL || !copy_fields_of_part(x, m)) {
        x->parts = NULL;
        no_room(x);
        return;
    }
    http_fields_remove(&x->fields, SLICE("content-type"));
    http_fields_remove(&x->fields, SLICE("content-range")); /* of a 200 it means nothing */
    x->fields.item[x->fields.count++] = (struct http_field){SLICE("content-type"), type};
    x->source = m->source;
    a->status = 206;
    a->body_bytes = bytes;
    a->has_body = true;
    deliver(x, a);
}

/* The whole, or from first to last of it. */
static void answer_body(struct cache_exchange *x, struct cache_answer *a, const struct material *m,
                        const struct http_range *range)
{
    int status = m->head->status;
    bool bodiless = x->facts.method == METHOD_HEAD || m->source == BODY_NONE || m->bytes == 0;
    char text[HTTP_CONTENT_RANGE_BYTES];
    bool ok =
        range == NULL
            ? copy_fields(x, &m->head->fields, false, m->source == BODY_BLOCKS)
            : copy_fields_of_part(x, m) &&
                  add_content_range(x, text, http_content_range_format(*range, m->bytes, text));

    if (!ok) {
        no_room(x);
        return;
    }
    x->source = bodiless ? BODY_NONE : m->source;
    x->at = 0;
    x->end = m->bytes;
    if (range != NULL) {
        x->at = range->first;
        x->end = range->last + 1;
        if (m->source == BODY_FILL)
            fill_seek(x->reader, x->at);
    }
    a->status = range != NULL ? 206 : status;
    a->body_bytes = status == 204 || status == 304 ? CACHE_BYTES_UNKNOWN
                    : range != NULL                ? x->end - x->at
                                                   : m->bytes;
    a->has_body = !bodiless;
    a->may_pull = !bodiless && may_be_pulled(x);
    deliver(x, a);
}

/* Anything that depends on validators or the length: most requests ask for nothing of the kind. */
static bool has_condition(const struct cache_exchange *x)
{
    return x->asks_range || http_fields_find(x->asked, SLICE("if-none-match")) != NULL ||
           http_fields_find(x->asked, SLICE("if-modified-since")) != NULL;
}

static void answer(struct cache_exchange *x, struct cache_answer *a, const struct material *m,
                   int64_t now_s)
{
    struct http_validators v;
    struct wanted w;

    a->date_s = m->date_s;
    x->head_status = m->head->status;
    if (m->as_it_is || m->head->status != 200 || !has_condition(x)) {
        answer_body(x, a, m, NULL);
        return;
    }
    v = validators_of(m, now_s);
    if (http_condition_evaluate(x->asked, &v, now_s) == HTTP_CONDITION_NOT_MODIFIED) {
        answer_not_modified(x, a, m);
        return;
    }
    switch (ranges_of(x, m, &v, now_s, &w)) {
    case HTTP_RANGE_OK:
        if (w.count == 1)
            answer_body(x, a, m, &w.range[0]);
        else
            answer_parts(x, a, m, &w);
        break;
    case HTTP_RANGE_UNSATISFIABLE:
        answer_unsatisfiable(x, a, m);
        break;
    case HTTP_RANGE_IGNORE:
        answer_body(x, a, m, NULL);
        break;
    }
}

/* What a client learns of a file is what its release says, wherever the content is from. */
static void use_file_head(struct cache_exchange *x, struct cache_answer *a, struct material *m)
{
    m->head = &x->file_head;
    m->as_it_is = false;
    m->date_s = a->date_s = -1;
    a->age_s = -1;
}

bool answer_is_not_modified(struct cache_exchange *x, const struct head *h)
{
    struct material m = {.head = h, .date_s = -1};
    int64_t now_s = clock_now().wall_ms / 1000;
    struct http_validators v;

    if (!has_condition(x))
        return false;
    v = validators_of(&m, now_s);
    return http_condition_evaluate(x->asked, &v, now_s) == HTTP_CONDITION_NOT_MODIFIED;
}

void answer_from_store(struct cache_exchange *x, const struct head *h, enum cache_verdict verdict,
                       const struct cache_status *status)
{
    const struct store_hit *hit = &x->lookup.hit;
    struct clock_moment now = x->now;
    struct material m = {
        .head = h,
        .bytes = hit->body_bytes,
        .source = hit->body_bytes == 0         ? BODY_NONE
                  : hit->inline_body.p != NULL ? BODY_INLINE
                                               : BODY_OBJECT,
        .date_s = date_of(h, now.wall_ms / 1000),
    };
    struct cache_answer a = {
        .age_s = freshness_age_s(&h->freshness, &now),
        .verdict = verdict,
        .has_status = true,
        .cache_status = *status,
    };

    x->inline_body = hit->inline_body;
    if (x->rq.file != NULL)
        use_file_head(x, &a, &m);
    answer(x, &a, &m, now.wall_ms / 1000);
}

void answer_from_file(struct cache_exchange *x, bool has_body)
{
    uint64_t bytes = x->rq.file->bytes;
    struct material m = {.bytes = bytes, .source = has_body && bytes > 0 ? BODY_FILE : BODY_NONE};
    struct cache_answer a = {
        .verdict = VERDICT_HIT,
        .has_status = true,
        .cache_status = {.fwd = FWD_NONE, .ttl_s = CACHE_STATUS_NO_TTL},
    };

    x->reason = REASON_RELEASED;
    a.cache_status.detail = slice_of(reason_token(x->reason));
    use_file_head(x, &a, &m);
    answer(x, &a, &m, clock_now().wall_ms / 1000);
}

/* Age of what came: the origin's own for the one who asked, ours for those who share it. */
static int64_t age_of(const struct cache_exchange *x, const struct fill_result *r,
                      const struct clock_moment *now)
{
    if (!x->leads && r->decision.action == RESPONSE_STORE)
        return freshness_age_s(&r->head.freshness, now);
    return r->facts.has_age ? r->facts.age_s : -1;
}

void answer_from_fill(struct cache_exchange *x, const struct fill_result *r)
{
    struct clock_moment now = clock_now();
    struct material m = {
        .head = x->leads ? &r->head : &r->shared,
        .bytes = r->body_bytes,
        .source = r->has_body ? BODY_FILL : BODY_NONE,
        .as_it_is = x->is_pass,
        .date_s = r->facts.date_s,
    };
    struct cache_answer a = {
        .age_s = age_of(x, r, &now),
        .verdict = x->is_pass ? VERDICT_PASS
                   : x->leads ? VERDICT_MISS
                              : VERDICT_COLLAPSED,
        .is_stream = r->is_stream,
        .has_status = true,
        .cache_status = {.fwd = x->decision.fwd,
                         .fwd_status = r->head.status,
                         .ttl_s = CACHE_STATUS_NO_TTL,
                         .stored = r->is_stored,
                         .collapsed = !x->leads,
                         .waited_in_vain = x->waited_in_vain},
    };

    if (r->is_stored) {
        a.cache_status.ttl_s =
            r->head.freshness.lifetime_s - freshness_age_s(&r->head.freshness, &now);
    } else if (!x->is_pass && r->decision.why.count > 0) {
        x->reason = r->decision.why.item[r->decision.why.count - 1].id;
        a.cache_status.detail = slice_of(reason_token(x->reason));
    }
    if (x->rq.file != NULL)
        use_file_head(x, &a, &m);
    answer(x, &a, &m, now.wall_ms / 1000);
}

void answer_from_blocks(struct cache_exchange *x, const struct head *h, uint64_t bytes,
                        const struct cache_answer *like)
{
    struct clock_moment now = clock_now();
    struct material m = {.head = h, .bytes = bytes, .source = BODY_BLOCKS, .date_s = like->date_s};
    struct cache_answer a = {
        .age_s = like->age_s,
        .verdict = like->verdict,
        .has_status = like->has_status,
        .cache_status = like->cache_status,
    };

    answer(x, &a, &m, now.wall_ms / 1000);
}

void answer_relayed(struct cache_exchange *x, const struct cache_answer *from)
{
    struct cache_answer a = *from;

    x->fields = *from->fields;
    x->source = a.has_body ? BODY_RELAYED : BODY_NONE;
    x->at = 0;
    x->end = CACHE_BYTES_UNKNOWN;
    deliver(x, &a);
}

void answer_error(struct cache_exchange *x, int status, const char *text,
                  const struct cache_status *status_field)
{
    struct cache_answer a = {
        .status = status,
        .has_body = x->facts.method != METHOD_HEAD,
        .may_pull = true,
        .age_s = -1,
        .date_s = -1,
        .verdict = VERDICT_ERROR,
        .has_status = status_field != NULL,
    };

    if (status_field != NULL)
        a.cache_status = *status_field;
    engine_leave_fill(x);
    slices_end(x);
    x->fields = (struct http_fields){.item = x->own_field, .count = 2, .capacity = 3};
    x->own_field[0] =
        (struct http_field){SLICE("content-type"), SLICE("text/plain; charset=utf-8")};
    x->own_field[1] = (struct http_field){SLICE("cache-control"), SLICE("no-store")};
    if (status >= 502 && status <= 504)
        x->own_field[x->fields.count++] = (struct http_field){SLICE("retry-after"), SLICE("1")};
    x->inline_body = slice_of(text);
    x->source = a.has_body ? BODY_INLINE : BODY_NONE;
    x->at = 0;
    x->end = x->inline_body.n;
    a.body_bytes = x->end;
    a.may_pull = a.has_body;
    deliver(x, &a);
}
