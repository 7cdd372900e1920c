#include "http/vary.h"

#include <stdlib.h>

/* Of one field; a browser sends ten.  Longer lists are compared in the order they came in. */
enum { PREFERENCES_MAX = 64, Q_MAX = 1000 };

/* ---- the list of a response ---- */

static int compare_names(const void *a, const void *b)
{
    const struct slice *x = a, *y = b;
    size_t n = x->n < y->n ? x->n : y->n;
    int order = n == 0 ? 0 : memcmp(x->p, y->p, n);

    return order != 0 ? order : (x->n > y->n) - (x->n < y->n);
}

/* Count the members, and hand them out if there is room for them (out != NULL). */
static size_t members_of(const struct http_fields *f, struct slice *out)
{
    const struct http_field *at = http_fields_find(f, SLICE("vary"));
    size_t count = 0;

    for (; at != NULL; at = http_fields_next(f, at)) {
        struct slice rest = at->value, member;

        while (http_list_next(&rest, &member, NULL)) {
            if (out != NULL)
                out[count] = member;
            count++;
        }
    }
    return count;
}

static bool lower_names(struct slice *name, size_t count, struct arena *a)
{
    for (size_t i = 0; i < count; i++) {
        char *p = arena_text(a, name[i]);

        if (p == NULL)
            return false;
        http_lower(p, name[i].n);
        name[i].p = p;
    }
    return true;
}

/* Room for all names and a comma behind each must be there. */
static size_t join(const struct slice *name, size_t count, char *out)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        if (slice_eq(name[i], SLICE("*")) || (i > 0 && slice_eq(name[i], name[i - 1])))
            continue;
        if (n > 0)
            out[n++] = ',';
        memcpy(out + n, name[i].p, name[i].n);
        n += name[i].n;
    }
    return n;
}

enum err vary_list(const struct http_fields *response, struct arena *a, struct slice *out,
                   bool *star)
{
    size_t count = members_of(response, NULL), bytes = 0;
    struct slice *name;
    char *p;

    *star = false;
    *out = SLICE("");
    if (count == 0)
        return ERR_OK;
    name = arena_alloc(a, count * sizeof(*name));
    if (name == NULL)
        return ERR_LIMIT;
    members_of(response, name);
    for (size_t i = 0; i < count; i++) {
        *star |= slice_eq(name[i], SLICE("*"));
        if (!http_is_token(name[i]))
            return ERR_INVALID;
        bytes += name[i].n + 1;
    }
    p = arena_alloc(a, bytes);
    if (p == NULL || !lower_names(name, count, a))
        return ERR_LIMIT;
    qsort(name, count, sizeof(*name), compare_names);
    *out = (struct slice){p, join(name, count, p)};
    return ERR_OK;
}

/* ---- what a request says: any field ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* Empty members stay: whether the field is a list at all only its reader knows. */
static void add_value(struct buf *out, const struct http_fields *f, const struct http_field *at)
{
    const struct http_field *first = at;
    size_t from = out->n; /* what stands before is not ours to trim */
    bool is_quoted = false;

    for (; at != NULL; at = http_fields_next(f, at)) {
        struct slice v = at->value;

        if (at != first) {
            buf_add(out, is_quoted ? SLICE(", ") : SLICE(","));
            from = out->n;
        }
        for (size_t i = 0; i < v.n; i++) {
            if (v.p[i] == ',' && !is_quoted) {
                while (out->n > from && is_space(out->p[out->n - 1]))
                    out->n--;
                while (i + 1 < v.n && is_space(v.p[i + 1]))
                    i++;
                buf_add_char(out, ',');
                from = out->n;
                continue;
            }
            buf_add_char(out, v.p[i]);
            if (v.p[i] == '"')
                is_quoted = !is_quoted;
            else if (v.p[i] == '\\' && is_quoted && i + 1 < v.n)
                buf_add_char(out, v.p[++i]);
        }
    }
}

/* ---- what a request says: preferences ---- */

static bool is_preference(struct slice name)
{
    return slice_eq(name, SLICE("accept-language")) || slice_eq(name, SLICE("accept-encoding")) ||
           slice_eq(name, SLICE("accept")) || slice_eq(name, SLICE("accept-charset"));
}

/* A weight in thousandths (RFC 9110 section 12.4.2); false when it is none. */
static bool read_q(struct slice s, unsigned *out)
{
    unsigned scale = Q_MAX;

    if (s.n == 0 || s.n > 5 || (s.p[0] != '0' && s.p[0] != '1') || (s.n > 1 && s.p[1] != '.'))
        return false;
    *out = s.p[0] == '1' ? Q_MAX : 0;
    for (size_t i = 2; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        scale /= 10;
        *out += scale * (unsigned)(s.p[i] - '0');
    }
    return *out <= Q_MAX;
}

/* Bytes up to the first ';' outside quotes. */
static size_t parameter_bytes(struct slice s)
{
    bool is_quoted = false;
    size_t i = 0;

    for (; i < s.n && (is_quoted || s.p[i] != ';'); i++) {
        if (s.p[i] == '"')
            is_quoted = !is_quoted;
        else if (s.p[i] == '\\' && is_quoted)
            i++;
    }
    return i < s.n ? i : s.n;
}

/* In lower case and without spaces, except what is quoted. */
static void add_folded(struct buf *out, struct slice s)
{
    bool is_quoted = false;

    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (!is_quoted && is_space(c))
            continue;
        if (!is_quoted)
            http_lower(&c, 1);
        buf_add_char(out, c);
        if (c == '"')
            is_quoted = !is_quoted;
        else if (c == '\\' && is_quoted && i + 1 < s.n)
            buf_add_char(out, s.p[++i]);
    }
}

/* "range;thousandths".  A weight that is none stays part of the range. */
static void add_preference(struct buf *out, struct slice member)
{
    struct slice rest = member;
    unsigned q = Q_MAX;
    bool is_first = true;

    while (is_first || rest.n > 0) {
        size_t end = parameter_bytes(rest);
        struct slice part = slice_trim(slice_head(rest, end));
        size_t equals = slice_index(part, '=');
        bool is_q = !is_first &&
                    slice_eq_nocase(slice_trim(slice_head(part, equals)), SLICE("q")) &&
                    read_q(slice_trim(slice_from(part, equals + 1)), &q);

        if (!is_first && !is_q)
            buf_add_char(out, ';');
        if (!is_q)
            add_folded(out, part);
        is_first = false;
        rest = slice_from(rest, end + 1);
    }
    buf_add_char(out, ';');
    buf_add_u64(out, q);
}

/* The pieces of out from `from` on, `end[i]` behind each, sorted and each once. */
static void sort_pieces(struct buf *out, size_t from, const size_t *end, size_t count)
{
    struct slice piece[PREFERENCES_MAX];
    size_t sorted = out->n;

    if (!buf_reserve(out, out->n - from + count)) /* so that the pieces stay where they are */
        return;
    for (size_t i = 0; i < count; i++) {
        size_t begin = i == 0 ? from : end[i - 1];

        piece[i] = (struct slice){out->p + begin, end[i] - begin};
    }
    qsort(piece, count, sizeof(piece[0]), compare_names);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && slice_eq(piece[i], piece[i - 1]))
            continue;
        if (i > 0)
            buf_add_char(out, ',');
        buf_add(out, piece[i]);
    }
    memmove(out->p + from, out->p + sorted, out->n - sorted);
    out->n = from + (out->n - sorted);
}

/* False when there are too many to be sorted; then nothing is added. */
static bool add_preferences(struct buf *out, const struct http_fields *f,
                            const struct http_field *at)
{
    size_t end[PREFERENCES_MAX], count = 0, from = out->n;

    for (; at != NULL; at = http_fields_next(f, at)) {
        struct slice rest = at->value, member;

        while (http_list_next(&rest, &member, NULL)) {
            if (count == PREFERENCES_MAX) {
                out->n = from;
                return false;
            }
            add_preference(out, member);
            end[count++] = out->n;
        }
    }
    if (count > 0 && !out->failed)
        sort_pieces(out, from, end, count);
    return true;
}

void vary_selecting_text(struct slice list, const struct http_fields *request, struct buf *out)
{
    while (list.n > 0) {
        size_t end = slice_index(list, ',');
        struct slice name = slice_head(list, end);
        const struct http_field *first = http_fields_find(request, name);

        list = slice_from(list, end + 1);
        buf_add(out, name);
        if (first != NULL) {
            buf_add_char(out, ':'); /* in no name, so an empty value differs from none */
            if (!is_preference(name) || !add_preferences(out, request, first))
                add_value(out, request, first);
        }
        buf_add_char(out, '\n');
    }
}
