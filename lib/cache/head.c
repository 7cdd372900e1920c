#include "cache/head.h"

#include "base/limits.h"
#include "http/conditional.h"

enum { VERSION = 1 };

enum { FLAG_NO_CACHE = 1, FLAG_FORBIDS_STALE = 2, FLAG_IMMUTABLE = 4 };

/* Little-endian as every machine we run on; the record that holds it is checksummed by the store. */
struct fixed {
    uint8_t version, flags;
    uint16_t status;
    uint32_t boot;
    int64_t received_wall_ms, received_mono_ms;
    int64_t initial_age_ms;
    int64_t lifetime_s, swr_s, sie_s;
    uint32_t rule_line;
    uint16_t lifetime_by;
    uint16_t fields_count;
    uint32_t vary_bytes;
    uint32_t pad;
};
_Static_assert(sizeof(struct fixed) == 72, "the layout is the format");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is little-endian");

struct field_bytes {
    uint16_t name;
    uint16_t pad;
    uint32_t value;
};
_Static_assert(sizeof(struct field_bytes) == 8, "the layout is the format");

void head_encode(const struct head *h, uint32_t boot, struct buf *out)
{
    struct fixed f = {
        .version = VERSION,
        .flags = (uint8_t)((h->no_cache ? FLAG_NO_CACHE : 0) | (h->forbids_stale ? FLAG_FORBIDS_STALE : 0) |
                           (h->is_immutable ? FLAG_IMMUTABLE : 0)),
        .status = (uint16_t)h->status,
        .boot = boot,
        .received_wall_ms = h->freshness.received.wall_ms,
        .received_mono_ms = h->freshness.received.mono_ms,
        .initial_age_ms = h->freshness.initial_age_ms,
        .lifetime_s = h->freshness.lifetime_s,
        .swr_s = h->freshness.swr_s,
        .sie_s = h->freshness.sie_s,
        .rule_line = h->rule_line,
        .lifetime_by = (uint16_t)h->lifetime_by,
        .fields_count = (uint16_t)h->fields.count,
        .vary_bytes = (uint32_t)h->vary.n,
    };

    buf_add(out, (struct slice){(const char *)&f, sizeof(f)});
    for (size_t i = 0; i < h->fields.count; i++) {
        struct field_bytes b = {.name = (uint16_t)h->fields.item[i].name.n,
                                .value = (uint32_t)h->fields.item[i].value.n};

        buf_add(out, (struct slice){(const char *)&b, sizeof(b)});
    }
    buf_add(out, h->vary);
    for (size_t i = 0; i < h->fields.count; i++) {
        buf_add(out, h->fields.item[i].name);
        buf_add(out, h->fields.item[i].value);
    }
}

static bool take(struct slice *rest, size_t n, struct slice *out)
{
    if (n > rest->n)
        return false;
    *out = slice_head(*rest, n);
    *rest = slice_from(*rest, n);
    return true;
}

static enum err decode_fields(struct slice lengths, struct slice rest, size_t count, struct arena *a, struct http_fields *out)
{
    out->item = arena_alloc(a, count * sizeof(*out->item));
    if (out->item == NULL)
        return ERR_LIMIT;
    out->count = out->capacity = count;
    for (size_t i = 0; i < count; i++) {
        struct field_bytes b;

        memcpy(&b, lengths.p + i * sizeof(b), sizeof(b));
        if (!take(&rest, b.name, &out->item[i].name) || !take(&rest, b.value, &out->item[i].value))
            return ERR_CORRUPT;
    }
    return rest.n == 0 ? ERR_OK : ERR_CORRUPT;
}

static bool in_range(int64_t v, int64_t max)
{
    return v >= 0 && v <= max;
}

/* Far beyond any clock, and small enough that no sum of two overflows. */
static const int64_t clock_max_ms = INT64_C(1) << 53;

enum err head_decode(struct slice bytes, uint32_t boot, struct arena *a, struct head *out)
{
    struct fixed f;
    struct slice rest = bytes, fixed, lengths;

    if (!take(&rest, sizeof(f), &fixed))
        return ERR_CORRUPT;
    memcpy(&f, fixed.p, sizeof(f));
    if (f.version != VERSION || f.status < 100 || f.status > 999 || f.lifetime_by >= REASON_COUNT)
        return ERR_CORRUPT;
    if (!in_range(f.initial_age_ms, FRESHNESS_MAX_S * 1000) || !in_range(f.lifetime_s, FRESHNESS_MAX_S) ||
        !in_range(f.swr_s, FRESHNESS_MAX_S) || !in_range(f.sie_s, FRESHNESS_MAX_S))
        return ERR_CORRUPT;
    if (!in_range(f.received_wall_ms, clock_max_ms) ||
        (f.received_mono_ms != FRESHNESS_ABSENT && !in_range(f.received_mono_ms, clock_max_ms)))
        return ERR_CORRUPT;
    *out = (struct head){
        .status = f.status,
        .freshness = {.received = {.wall_ms = f.received_wall_ms,
                                   .mono_ms = f.boot == boot ? f.received_mono_ms : FRESHNESS_ABSENT},
                      .initial_age_ms = f.initial_age_ms,
                      .lifetime_s = f.lifetime_s,
                      .swr_s = f.swr_s,
                      .sie_s = f.sie_s},
        .no_cache = (f.flags & FLAG_NO_CACHE) != 0,
        .forbids_stale = (f.flags & FLAG_FORBIDS_STALE) != 0,
        .is_immutable = (f.flags & FLAG_IMMUTABLE) != 0,
        .lifetime_by = (enum cache_reason)f.lifetime_by,
        .rule_line = f.rule_line,
    };
    if (!take(&rest, f.fields_count * sizeof(struct field_bytes), &lengths) || !take(&rest, f.vary_bytes, &out->vary))
        return ERR_CORRUPT;
    return decode_fields(lengths, rest, f.fields_count, a, &out->fields);
}

void head_facts(const struct head *h, bool soft_purged, struct stored_facts *out)
{
    *out = (struct stored_facts){
        .present = true,
        .soft_purged = soft_purged,
        .no_cache = h->no_cache,
        .forbids_stale = h->forbids_stale,
        .is_immutable = h->is_immutable,
        .status = h->status,
        .freshness = h->freshness,
    };
    for (size_t i = 0; i < h->fields.count; i++) {
        struct slice name = h->fields.item[i].name;

        out->has_validator |= slice_eq(name, SLICE("etag")) || slice_eq(name, SLICE("last-modified"));
    }
}

bool head_is_meant(const struct http_fields *stored, const struct http_fields *update)
{
    struct slice ours = http_fields_value(stored, SLICE("etag")), theirs = http_fields_value(update, SLICE("etag"));
    struct slice our_date = http_fields_value(stored, SLICE("last-modified"));
    struct slice their_date = http_fields_value(update, SLICE("last-modified"));

    if (theirs.p != NULL && ours.p != NULL)
        return slice_eq(ours, theirs) || etag_equal_weak(ours, theirs);
    if (our_date.p != NULL && their_date.p != NULL)
        return slice_eq(our_date, their_date);
    return theirs.p == NULL; /* a tag that nothing stored has */
}

bool head_agrees(const struct http_fields *stored, uint64_t body_bytes, const struct http_fields *update)
{
    struct slice etag = http_fields_value(update, SLICE("etag"));
    struct slice modified = http_fields_value(update, SLICE("last-modified"));
    struct slice length = http_fields_value(update, SLICE("content-length"));
    struct slice ours = http_fields_value(stored, SLICE("last-modified"));
    uint64_t n;

    if (etag.p != NULL && !etag_equal_weak(etag, http_fields_value(stored, SLICE("etag"))))
        return false;
    if (modified.p != NULL && (ours.p == NULL || !slice_eq(modified, ours))) /* none is not an empty one */
        return false;
    return length.p == NULL || (slice_to_u64(length, &n) && n == body_bytes);
}

/* RFC 9111 section 3.2: what the stored bytes depend on. */
static bool stays_as_stored(struct slice name, bool takes_cookies)
{
    return slice_eq(name, SLICE("content-length")) || slice_eq(name, SLICE("content-encoding")) ||
           slice_eq(name, SLICE("content-range")) || slice_eq(name, SLICE("transfer-encoding")) ||
           (!takes_cookies && slice_eq(name, SLICE("set-cookie")));
}

enum err head_freshen(const struct http_fields *stored, const struct http_fields *update, bool takes_cookies, struct arena *a,
                      struct http_fields *out)
{
    enum err e = ERR_OK;

    *out = (struct http_fields){0};
    for (size_t i = 0; i < stored->count && e == ERR_OK; i++) {
        struct http_field f = stored->item[i];

        if (slice_eq(f.name, SLICE("date"))) /* without one it is from when the update came (RFC 9110 section 6.6.1) */
            continue;
        if (stays_as_stored(f.name, takes_cookies) || http_fields_find(update, f.name) == NULL)
            e = http_fields_add(out, a, LIMIT_RESPONSE_FIELDS, f.name, f.value);
    }
    for (size_t i = 0; i < update->count && e == ERR_OK; i++) {
        struct http_field f = update->item[i];

        if (!stays_as_stored(f.name, takes_cookies))
            e = http_fields_add(out, a, LIMIT_RESPONSE_FIELDS, f.name, f.value);
    }
    return e;
}
