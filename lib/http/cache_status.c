#include "http/cache_status.h"

#include "base/check.h"
#include "http/fields.h"

/* What is not name or detail needs at most 96 bytes, so a detail has 64 at least. */
enum { NAME_BYTES_MAX = 96 };

/* The range of an Integer (RFC 9651 section 3.3.1). */
#define INTEGER_MAX INT64_C(999999999999999)

const char *cache_status_fwd_name(enum cache_status_fwd f)
{
    switch (f) {
    case FWD_NONE:
        return "hit";
    case FWD_BYPASS:
        return "bypass";
    case FWD_METHOD:
        return "method";
    case FWD_URI_MISS:
        return "uri-miss";
    case FWD_VARY_MISS:
        return "vary-miss";
    case FWD_MISS:
        return "miss";
    case FWD_REQUEST:
        return "request";
    case FWD_STALE:
        return "stale";
    case FWD_PARTIAL:
        return "partial";
    }
    CHECK(false);
    return "";
}

struct text {
    char *p;
    size_t n, max;
};

static void add(struct text *t, struct slice s)
{
    CHECK(s.n <= t->max - t->n);
    if (s.n > 0)
        memcpy(t->p + t->n, s.p, s.n);
    t->n += s.n;
}

static void add_number(struct text *t, struct slice key, int64_t v)
{
    char digits[24];
    size_t at = sizeof(digits);
    uint64_t rest;

    v = v > INTEGER_MAX ? INTEGER_MAX : v < -INTEGER_MAX ? -INTEGER_MAX : v;
    rest = v < 0 ? (uint64_t)-v : (uint64_t)v;
    do { /* every hit has one: printf costs more than the rest of the field */
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (v < 0)
        digits[--at] = '-';
    add(t, key);
    add(t, (struct slice){digits + at, sizeof(digits) - at});
}

/* RFC 9651 section 3.3.4. */
static bool is_token(struct slice s)
{
    if (s.n == 0 || !((s.p[0] | 0x20) >= 'a' && (s.p[0] | 0x20) <= 'z') || s.p[0] < 'A')
        return s.n > 0 && s.p[0] == '*' && (s.n == 1 || http_is_token(s));
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != ':' && s.p[i] != '/' && !http_is_token((struct slice){s.p + i, 1}))
            return false;
    return true;
}

/* As a Token, else as a String, in at most `bytes` bytes. */
static void add_text(struct text *t, struct slice s, size_t bytes)
{
    size_t n = 0;

    if (is_token(s)) {
        add(t, slice_head(s, bytes));
        return;
    }
    add(t, SLICE("\""));
    bytes -= 2;
    for (size_t i = 0; i < s.n; i++) {
        bool is_escaped = s.p[i] == '"' || s.p[i] == '\\';
        char c = s.p[i];

        n += is_escaped ? 2 : 1;
        if (n > bytes)
            break;
        if (is_escaped)
            add(t, SLICE("\\"));
        if (c < 0x20 || c > 0x7e) /* a String holds nothing else; chars may be signed or not */
            c = '?';
        add(t, (struct slice){&c, 1});
    }
    add(t, SLICE("\""));
}

size_t cache_status_format(const struct cache_status *s, char out[CACHE_STATUS_BYTES])
{
    struct text t = {.p = out, .max = CACHE_STATUS_BYTES};

    add_text(&t, s->name, NAME_BYTES_MAX);
    if (s->fwd == FWD_NONE) {
        add(&t, SLICE("; hit"));
    } else {
        add(&t, SLICE("; fwd="));
        add(&t, slice_of(cache_status_fwd_name(s->fwd)));
        if (s->fwd_status != 0)
            add_number(&t, SLICE("; fwd-status="), s->fwd_status);
    }
    if (s->ttl_s != CACHE_STATUS_NO_TTL)
        add_number(&t, SLICE("; ttl="), s->ttl_s);
    if (s->fwd != FWD_NONE && s->stored)
        add(&t, SLICE("; stored"));
    if (s->fwd != FWD_NONE && (s->collapsed || s->waited_in_vain))
        add(&t, s->collapsed ? SLICE("; collapsed") : SLICE("; collapsed=?0"));
    if (s->detail.n > 0) {
        add(&t, SLICE("; detail="));
        add_text(&t, s->detail, t.max - t.n);
    }
    return t.n;
}
