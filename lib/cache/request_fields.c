/* What a request says to the upstream: its own fields, less what belongs to this hop or is not to
 * be believed, plus what we know. */
#include "cache/cache_priv.h"

#include "base/limits.h"
#include "purge/purge.h"

/* Room for the fields that are added here. */
enum { FIELDS_MAX = LIMIT_FIELDS + 16 };

/* A fetch that may be stored or shared asks for the whole; whether what its client has is still
 * good it may ask too. */
static bool is_left_out(struct slice name, enum request_conditions conditions)
{
    if (conditions == CONDITIONS_AS_THEY_CAME)
        return false;
    if (slice_eq(name, SLICE("if-none-match")) || slice_eq(name, SLICE("if-modified-since")))
        return conditions != CONDITIONS_CLIENTS;
    return slice_eq(name, SLICE("if-range")) || slice_eq(name, SLICE("range"));
}

/* Framing and routing are made anew for the next hop; Expect is answered here. */
static bool is_made_anew(struct slice name)
{
    return slice_eq(name, SLICE("host")) || slice_eq(name, SLICE("content-length")) ||
           slice_eq(name, SLICE("expect"));
}

static struct slice arena_print(struct arena *a, struct buf *b)
{
    struct slice s = b->failed ? (struct slice){0} : arena_dup(a, buf_slice(b));

    b->n = 0;
    return s;
}

static enum err add(struct http_fields *out, struct arena *a, struct slice name, struct slice value)
{
    return value.p == NULL ? ERR_LIMIT : http_fields_add(out, a, FIELDS_MAX, name, value);
}

/* Via and CDN-Loop are lists: a line of our own behind theirs says the same as joining. */
static enum err add_our_own(struct cache *c, const struct cache_request *rq, struct arena *a,
                            struct http_fields *out)
{
    struct buf b;
    enum err e;

    buf_init(&b, LIMIT_HEAD_BYTES);
    buf_addf(&b, "%s %.*s", rq->via, (int)c->node.n, c->node.p);
    e = add(out, a, SLICE("via"), arena_print(a, &b));
    if (e == ERR_OK) {
        buf_addf(&b, "%016llx", (unsigned long long)purge_cluster_id(c->purge));
        e = add(out, a, SLICE("cdn-loop"), arena_print(a, &b));
    }
    buf_release(&b);
    if (e == ERR_OK)
        e = add(out, a, SLICE("x-forwarded-for"), rq->client);
    if (e == ERR_OK)
        e = add(out, a, SLICE("x-forwarded-proto"), rq->is_https ? SLICE("https") : SLICE("http"));
    if (e == ERR_OK)
        e = add(out, a, SLICE("x-forwarded-host"), rq->host);
    if (e == ERR_OK)
        e = add(out, a, SLICE("x-request-id"), rq->id);
    return e;
}

/* Does this line ask about anything but `etag`? */
static bool asks_for_others(struct slice line, struct slice etag)
{
    return !slice_eq(line, SLICE("*")) && !slice_eq(line, etag);
}

bool request_asks_for_others(const struct http_fields *request, struct slice etag)
{
    const struct http_field *at = http_fields_find(request, SLICE("if-none-match"));

    for (; at != NULL; at = http_fields_next(request, at))
        if (asks_for_others(at->value, etag))
            return true;
    return false;
}

/* What the client asks about, behind what is stored: one 304 can answer both (RFC 9111
 * section 4.3.2). */
static enum err add_clients_tags(const struct cache_request *rq, struct slice etag, struct arena *a,
                                 struct http_fields *out)
{
    const struct http_field *at = http_fields_find(rq->fields, SLICE("if-none-match"));
    enum err e = ERR_OK;

    for (; at != NULL && e == ERR_OK; at = http_fields_next(rq->fields, at))
        if (asks_for_others(at->value, etag))
            e = add(out, a, SLICE("if-none-match"), at->value);
    return e;
}

/*
 * The stored validators, byte for byte (RFC 9111 section 4.3.1).  The client's date says nothing
 * beside a tag, and another date than ours would be another question.
 */
static enum err add_validators(const struct cache_request *rq, const struct lookup *l,
                               enum request_conditions conditions, struct arena *a,
                               struct http_fields *out)
{
    struct slice etag = http_fields_value(&l->head.fields, SLICE("etag"));
    struct slice modified = http_fields_value(&l->head.fields, SLICE("last-modified"));
    enum err e = ERR_OK;

    if (etag.p != NULL)
        e = add(out, a, SLICE("if-none-match"), etag);
    if (e == ERR_OK && etag.p != NULL && conditions == CONDITIONS_BOTH)
        e = add_clients_tags(rq, etag, a, out);
    if (e == ERR_OK && modified.p != NULL)
        e = add(out, a, SLICE("if-modified-since"), modified);
    return e;
}

static enum err add_range(const struct block_of *block, struct arena *a, struct http_fields *out)
{
    uint64_t first = block->index * block->bytes;
    struct buf b;
    enum err e;

    buf_init(&b, 64);
    buf_addf(&b, "bytes=%llu-%llu", (unsigned long long)first,
             (unsigned long long)(first + block->bytes - 1));
    e = add(out, a, SLICE("range"), arena_print(a, &b));
    buf_release(&b);
    return e;
}

enum err request_fields_make(struct cache *c, const struct cache_request *rq,
                             const struct lookup *l, const struct block_of *block,
                             enum request_conditions conditions, struct arena *a,
                             struct http_fields *out)
{
    struct http_fields own = {0};
    bool is_unsafe = !slice_eq(rq->method, SLICE("GET")) && !slice_eq(rq->method, SLICE("HEAD")) &&
                     !slice_eq(rq->method, SLICE("OPTIONS"));
    enum err e = ERR_OK;

    /* first by Connection's own list, and on a copy: the caller's are still needed */
    for (size_t i = 0; i < rq->fields->count && e == ERR_OK; i++)
        e = http_fields_add(&own, a, FIELDS_MAX, rq->fields->item[i].name,
                            rq->fields->item[i].value);
    http_fields_remove_hop_by_hop(&own);
    *out = (struct http_fields){0};
    for (size_t i = 0; i < own.count && e == ERR_OK; i++) {
        struct slice name = own.item[i].name;

        if (is_made_anew(name) || is_left_out(name, conditions) ||
            !site_field_goes_upstream(rq->site, name, is_unsafe))
            continue;
        e = http_fields_add(out, a, FIELDS_MAX, name, own.item[i].value);
    }
    if (e == ERR_OK && (conditions == CONDITIONS_STORED || conditions == CONDITIONS_BOTH))
        e = add_validators(rq, l, conditions, a, out);
    if (e == ERR_OK && block->bytes > 0 && conditions != CONDITIONS_AS_THEY_CAME)
        e = add_range(block, a, out);
    return e == ERR_OK ? add_our_own(c, rq, a, out) : e;
}
