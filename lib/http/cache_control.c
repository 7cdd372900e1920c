#include "http/cache_control.h"

#include <stddef.h>

#include "http/sfield.h"

enum kind { KIND_FLAG, KIND_SECONDS, KIND_FIELDS };

/* What an argument of a wrong type makes of a flag: whichever is the more careful reading. */
static const struct directive {
    struct slice name;
    enum kind kind;
    size_t at;     /* of the bool, the number, or the bool of an unqualified list */
    size_t fields; /* KIND_FIELDS: of the slice */
    bool loosens;  /* KIND_FLAG: it allows more than silence would */
} directives[] = {
#define FLAG(text, member, loose)                                                                  \
    {                                                                                              \
        {text, sizeof(text) - 1}, KIND_FLAG, offsetof(struct cache_control, member), 0, loose      \
    }
#define SECONDS(text, member)                                                                      \
    {                                                                                              \
        {text, sizeof(text) - 1}, KIND_SECONDS, offsetof(struct cache_control, member), 0, false   \
    }
#define FIELDS(text, member, list)                                                                 \
    {                                                                                              \
        {text, sizeof(text) - 1}, KIND_FIELDS, offsetof(struct cache_control, member),             \
            offsetof(struct cache_control, list), false                                            \
    }
    FIELDS("no-cache", no_cache, no_cache_fields),
    FIELDS("private", is_private, private_fields),
    FLAG("no-store", no_store, false),
    FLAG("public", is_public, true),
    FLAG("must-revalidate", must_revalidate, false),
    FLAG("proxy-revalidate", proxy_revalidate, false),
    FLAG("must-understand", must_understand, true),
    FLAG("immutable", immutable, true),
    FLAG("no-transform", no_transform, false),
    FLAG("only-if-cached", only_if_cached, false),
    SECONDS("max-age", max_age_s),
    SECONDS("s-maxage", s_maxage_s),
    SECONDS("stale-while-revalidate", stale_while_revalidate_s),
    SECONDS("stale-if-error", stale_if_error_s),
    SECONDS("max-stale", max_stale_s),
    SECONDS("min-fresh", min_fresh_s),
};

static bool *bool_at(struct cache_control *c, size_t offset)
{
    return (bool *)((char *)c + offset);
}

static int64_t *number_at(struct cache_control *c, size_t offset)
{
    return (int64_t *)(void *)((char *)c + offset);
}

static struct slice *slice_at(struct cache_control *c, size_t offset)
{
    return (struct slice *)(void *)((char *)c + offset);
}

static void clear(struct cache_control *c)
{
    *c = (struct cache_control){
        .max_age_s = CC_ABSENT,
        .s_maxage_s = CC_ABSENT,
        .stale_while_revalidate_s = CC_ABSENT,
        .stale_if_error_s = CC_ABSENT,
        .max_stale_s = CC_ABSENT,
        .min_fresh_s = CC_ABSENT,
    };
}

static const struct directive *find(struct slice name)
{
    for (size_t i = 0; i < sizeof(directives) / sizeof(directives[0]); i++)
        if (slice_eq_nocase(name, directives[i].name))
            return &directives[i];
    return NULL;
}

static int64_t saturate(uint64_t s)
{
    return s < (uint64_t)CC_MAX_S ? (int64_t)s : CC_MAX_S;
}

/* ---- Cache-Control ---- */

/* What stands between the quotes, or the token itself; n == 0 for anything else. */
static struct slice unquote(struct slice argument)
{
    struct slice none = {0};

    if (argument.n == 0 || argument.p[0] != '"')
        return http_is_token(argument) ? argument : none;
    argument = slice_from(argument, 1);
    if (slice_index(argument, '"') + 1 != argument.n) /* an escaped one is in no field name */
        return none;
    return slice_head(argument, argument.n - 1);
}

/* RFC 9111 section 1.2.2; `argument` n == 0: there was none. */
static int64_t seconds_of(struct slice argument)
{
    struct slice digits = unquote(argument);
    uint64_t s;

    if (digits.n == 0)
        return CC_INVALID;
    for (size_t i = 0; i < digits.n; i++)
        if (digits.p[i] < '0' || digits.p[i] > '9')
            return CC_INVALID;
    return slice_to_u64(digits, &s) ? saturate(s) : CC_MAX_S;
}

/* Two lists together, or a list and none, are the whole: leaving one out could leak a field. */
static void set_fields(struct cache_control *c, const struct directive *d, struct slice list)
{
    struct slice *fields = slice_at(c, d->fields);
    bool *is_whole = bool_at(c, d->at);

    if (*is_whole || list.n == 0 || fields->p != NULL) {
        *is_whole = true;
        *fields = (struct slice){0};
    } else {
        *fields = list;
    }
}

static void set_seconds(struct cache_control *c, const struct directive *d, bool has_argument,
                        struct slice argument)
{
    int64_t *seconds = number_at(c, d->at);
    bool is_max_stale = d->at == offsetof(struct cache_control, max_stale_s);

    if (*seconds != CC_ABSENT || (is_max_stale && c->max_stale_any))
        return;
    if (is_max_stale && !has_argument)
        c->max_stale_any = true;
    else
        *seconds = seconds_of(argument);
}

static void read_directive(struct cache_control *c, struct slice member)
{
    size_t equals = slice_index(member, '=');
    struct slice name = slice_trim(slice_head(member, equals));
    struct slice argument = slice_from(member, equals + 1);
    const struct directive *d = find(name);

    if (d == NULL)
        return;
    if (name.n != equals)
        argument.n = 0; /* "max-age =1": so no number */
    switch (d->kind) {
    case KIND_FLAG:
        *bool_at(c, d->at) = true;
        break;
    case KIND_SECONDS:
        set_seconds(c, d, equals < member.n, argument);
        break;
    case KIND_FIELDS:
        set_fields(c, d, unquote(argument));
        break;
    }
}

void cache_control_parse(const struct http_fields *f, struct cache_control *out)
{
    const struct http_field *at = http_fields_find(f, SLICE("cache-control"));

    clear(out);
    out->present = at != NULL;
    for (; at != NULL && !out->bad; at = http_fields_next(f, at)) {
        struct slice rest = at->value, member;

        /* the member with the bad quote is the last one, of all lines: it swallows what follows */
        while (http_list_next(&rest, &member, &out->bad))
            if (!out->bad)
                read_directive(out, member);
    }
}

/* ---- targeted fields ---- */

/* The last of several equal keys counts, so each overwrites what was there. */
static void read_member(struct cache_control *c, const struct sfield_member *m)
{
    const struct directive *d = find(m->key);
    bool is_list = m->type == SFIELD_STRING || m->type == SFIELD_TOKEN;

    if (d == NULL)
        return;
    switch (d->kind) {
    case KIND_FLAG:
        *bool_at(c, d->at) = m->type == SFIELD_BOOLEAN ? m->integer == 1 : !d->loosens;
        break;
    case KIND_SECONDS:
        *number_at(c, d->at) = m->type == SFIELD_INTEGER && m->integer >= 0
                                   ? saturate((uint64_t)m->integer)
                                   : CC_INVALID;
        break;
    case KIND_FIELDS:
        *slice_at(c, d->fields) = is_list && m->text.n > 0 ? m->text : (struct slice){0};
        *bool_at(c, d->at) =
            slice_at(c, d->fields)->p == NULL && (m->type != SFIELD_BOOLEAN || m->integer == 1);
        break;
    }
}

bool cache_control_parse_targeted(const struct http_fields *f, struct slice name,
                                  struct cache_control *out)
{
    const struct http_field *first = http_fields_find(f, name), *at;
    bool is_bad = false;

    clear(out);
    for (at = first; at != NULL && !is_bad; at = http_fields_next(f, at)) {
        struct slice rest = at->value;
        struct sfield_member m;
        size_t members = 0;

        for (; sfield_dictionary_next(&rest, &m, &is_bad); members++)
            read_member(out, &m);
        is_bad |= members == 0; /* alone it is empty; among others it is a comma too many */
    }
    if (first != NULL && !is_bad) {
        out->present = true;
        return true;
    }
    clear(out);
    return false;
}
