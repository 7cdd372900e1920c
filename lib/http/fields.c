#include "http/fields.h"

#include <stdint.h>

enum { FIRST_FIELDS = 16 };

static bool make_room(struct http_fields *f, struct arena *a, size_t max)
{
    size_t capacity = f->count < FIRST_FIELDS ? FIRST_FIELDS : f->count * 2;
    struct http_field *item;

    if (capacity > max)
        capacity = max;
    item = arena_alloc(a, capacity * sizeof(*item));
    if (item == NULL)
        return false;
    if (f->count > 0)
        memcpy(item, f->item, f->count * sizeof(*item));
    f->item = item;
    f->capacity = capacity;
    return true;
}

enum err http_fields_add(struct http_fields *f, struct arena *a, size_t max, struct slice name,
                         struct slice value)
{
    if (f->count >= max || (f->count >= f->capacity && !make_room(f, a, max)))
        return ERR_LIMIT;
    if (value.p == NULL)
        value = SLICE(""); /* p == NULL says absent wherever a value is asked for */
    f->item[f->count++] = (struct http_field){name, value};
    return ERR_OK;
}

static const struct http_field *find_from(const struct http_fields *f, size_t from,
                                          struct slice name)
{
    for (size_t i = from; i < f->count; i++)
        if (slice_eq(f->item[i].name, name))
            return &f->item[i];
    return NULL;
}

const struct http_field *http_fields_find(const struct http_fields *f, struct slice name)
{
    return find_from(f, 0, name);
}

const struct http_field *http_fields_next(const struct http_fields *f, const struct http_field *at)
{
    return find_from(f, (size_t)(at - f->item) + 1, at->name);
}

struct slice http_fields_value(const struct http_fields *f, struct slice name)
{
    const struct http_field *at = http_fields_find(f, name);

    return at == NULL ? (struct slice){0} : at->value;
}

struct slice http_fields_joined(const struct http_fields *f, struct arena *a, struct slice name)
{
    const struct http_field *first = http_fields_find(f, name), *at;
    size_t bytes = 0, n = 0;
    char *p;

    if (first == NULL)
        return (struct slice){0};
    if (http_fields_next(f, first) == NULL)
        return first->value;
    for (at = first; at != NULL; at = http_fields_next(f, at))
        bytes += at->value.n + 2;
    p = arena_alloc(a, bytes);
    if (p == NULL)
        return (struct slice){0};
    for (at = first; at != NULL; at = http_fields_next(f, at)) {
        if (at != first) {
            p[n++] = ',';
            p[n++] = ' ';
        }
        if (at->value.n > 0)
            memcpy(p + n, at->value.p, at->value.n);
        n += at->value.n;
    }
    return (struct slice){p, n};
}

size_t http_fields_remove(struct http_fields *f, struct slice name)
{
    size_t kept = 0, before = f->count;

    for (size_t i = 0; i < before; i++)
        if (!slice_eq(f->item[i].name, name))
            f->item[kept++] = f->item[i];
    f->count = kept;
    return before - kept;
}

bool http_fields_has_token(const struct http_fields *f, struct slice name, struct slice token)
{
    const struct http_field *at = http_fields_find(f, name);

    for (; at != NULL; at = http_fields_next(f, at)) {
        struct slice rest = at->value, member;

        while (http_list_next(&rest, &member, NULL))
            if (slice_eq_nocase(member, token))
                return true;
    }
    return false;
}

static bool is_hop_by_hop(struct slice name)
{
    static const char *const hop[] = {"keep-alive",
                                      "proxy-connection",
                                      "te",
                                      "trailer",
                                      "transfer-encoding",
                                      "upgrade",
                                      "proxy-authenticate",
                                      "proxy-authentication-info",
                                      "proxy-authorization"};

    for (size_t i = 0; i < sizeof(hop) / sizeof(hop[0]); i++)
        if (slice_eq(name, slice_of(hop[i])))
            return true;
    return false;
}

static bool nothing_stays(const void *user, struct slice name)
{
    (void)user;
    (void)name;
    return false;
}

void http_fields_remove_hop_by_hop(struct http_fields *f)
{
    http_fields_remove_hop_by_hop_but(f, nothing_stays, NULL);
}

void http_fields_remove_hop_by_hop_but(struct http_fields *f,
                                       bool (*stays)(const void *user, struct slice name),
                                       const void *user)
{
    struct slice connection = SLICE("connection");
    bool nominates = http_fields_find(f, connection) != NULL;
    size_t kept = 0;

    /* Connection itself stays until all of its nominations have been looked up. */
    for (size_t i = 0; i < f->count; i++) {
        struct slice *name = &f->item[i].name;

        if (slice_eq(*name, connection))
            continue;
        if (is_hop_by_hop(*name) ||
            (nominates && http_fields_has_token(f, connection, *name) && !stays(user, *name)))
            name->n = 0;
    }
    for (size_t i = 0; i < f->count; i++)
        if (f->item[i].name.n > 0 && !slice_eq(f->item[i].name, connection))
            f->item[kept++] = f->item[i];
    f->count = kept;
}

static bool is_token_byte(unsigned char c)
{
    switch (c) {
    case '!':
    case '#':
    case '$':
    case '%':
    case '&':
    case '\'':
    case '*':
    case '+':
    case '-':
    case '.':
    case '^':
    case '_':
    case '`':
    case '|':
    case '~':
        return true;
    default:
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    }
}

bool http_is_token(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_token_byte((unsigned char)s.p[i]))
            return false;
    return s.n > 0;
}

bool http_is_field_value(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

void http_lower(char *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (p[i] >= 'A' && p[i] <= 'Z')
            p[i] = (char)(p[i] | 0x20);
}

/* Bytes up to the first comma that divides, or all. */
static size_t member_bytes(struct slice s, bool *bad)
{
    bool is_quoted = false;
    size_t i;

    for (i = 0; i < s.n; i++) {
        if (s.p[i] == '"')
            is_quoted = !is_quoted;
        else if (is_quoted && s.p[i] == '\\')
            i++; /* whatever it escapes ends no string */
        else if (!is_quoted && s.p[i] == ',')
            return i;
    }
    if (is_quoted && bad != NULL)
        *bad = true;
    return s.n;
}

bool http_list_next(struct slice *rest, struct slice *member, bool *bad)
{
    while (rest->n > 0) {
        size_t end = member_bytes(*rest, bad);

        *member = slice_trim(slice_head(*rest, end));
        *rest = slice_from(*rest, end + 1);
        if (member->n > 0)
            return true;
    }
    return false;
}
