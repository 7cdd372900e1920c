#include "cache/decide.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>

#include "base/check.h"
#include "http/conditional.h"

static const struct {
    const char *name, *text, *source;
} reason[REASON_COUNT] = {
#define REASON(id, text, source) {#id, text, source},
#include "cache/reason.def"
#undef REASON
};

void reasons_add(struct reasons *r, enum cache_reason id, int64_t number)
{
    if (r->count == REASONS_MAX)
        return;
    r->item[r->count].id = id;
    r->item[r->count].number = number;
    r->count++;
}

bool reasons_have(const struct reasons *r, enum cache_reason id)
{
    for (unsigned i = 0; i < r->count; i++)
        if (r->item[i].id == id)
            return true;
    return false;
}

/* The text of a reason with its number in place of "%lld"; the texts are ours, but a format must be a literal. */
static void add_text(struct buf *out, const char *text, int64_t number)
{
    const char *at = strstr(text, "%lld");

    if (at == NULL) {
        buf_add(out, slice_of(text));
        return;
    }
    buf_add(out, (struct slice){text, (size_t)(at - text)});
    buf_add_i64(out, number);
    buf_add(out, slice_of(at + strlen("%lld")));
}

void reasons_format(const struct reasons *r, struct buf *out)
{
    for (unsigned i = 0; i < r->count; i++) {
        enum cache_reason id = r->item[i].id;

        CHECK(id < REASON_COUNT);
        buf_add(out, SLICE("  "));
        add_text(out, reason[id].text, r->item[i].number);
        buf_addf(out, " (%s)\n", reason[id].source);
    }
}

enum { TOKEN_BYTES = 32 };
static char token[REASON_COUNT][TOKEN_BYTES];
static pthread_once_t token_once = PTHREAD_ONCE_INIT;

static void make_tokens(void)
{
    for (unsigned i = 0; i < REASON_COUNT; i++) {
        CHECK(strlen(reason[i].name) < TOKEN_BYTES);
        for (size_t j = 0; reason[i].name[j] != '\0'; j++)
            token[i][j] = reason[i].name[j] == '_' ? '-' : (char)tolower(reason[i].name[j]);
    }
}

const char *reason_token(enum cache_reason id)
{
    CHECK(id < REASON_COUNT);
    pthread_once(&token_once, make_tokens);
    return token[id];
}

static enum request_method method_of(struct slice m)
{
    if (slice_eq(m, SLICE("GET")))
        return METHOD_GET;
    if (slice_eq(m, SLICE("HEAD")))
        return METHOD_HEAD;
    return slice_eq(m, SLICE("OPTIONS")) || slice_eq(m, SLICE("QUERY")) ? METHOD_SAFE : METHOD_OTHER;
}

/* Ask for each name once: a request has few fields, and most have none of these. */
void request_facts_read(struct request_facts *out, struct slice method, const struct http_fields *fields, bool has_body)
{
    *out = (struct request_facts){.method = method_of(method), .has_content = has_body};
    for (size_t i = 0; i < fields->count; i++) {
        struct slice name = fields->item[i].name;

        switch (name.n) {
        case 5:
            out->has_range |= slice_eq(name, SLICE("range"));
            break;
        case 6:
            out->has_cookie |= slice_eq(name, SLICE("cookie"));
            out->pragma_no_cache |= slice_eq(name, SLICE("pragma")) &&
                                    slice_eq_nocase(fields->item[i].value, SLICE("no-cache"));
            break;
        case 8:
            out->has_origin_condition |= slice_eq(name, SLICE("if-match"));
            break;
        case 13:
            out->has_authorization |= slice_eq(name, SLICE("authorization"));
            out->cc.present |= slice_eq(name, SLICE("cache-control"));
            break;
        case 19:
            out->has_origin_condition |= slice_eq(name, SLICE("if-unmodified-since"));
            break;
        default:
            break;
        }
    }
    if (out->cc.present)
        cache_control_parse(fields, &out->cc);
    else
        out->cc.max_age_s = out->cc.max_stale_s = out->cc.min_fresh_s = out->cc.s_maxage_s = CC_ABSENT;
    out->pragma_no_cache &= !out->cc.present;
}
