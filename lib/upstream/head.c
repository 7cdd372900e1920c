#include "upstream/head.h"

#include <limits.h>

#include "base/check.h"
#include "base/limits.h"

enum { ARENA_BYTES_MAX = 65536 }; /* the list of LIMIT_RESPONSE_FIELDS, and what it outgrew */

_Static_assert(LIMIT_RESPONSE_FIELDS * sizeof(struct http_field) * 4 <= ARENA_BYTES_MAX,
               "a list that doubles must find room up to its last field");

void head_init(struct head *h)
{
    buf_init(&h->text, LIMIT_RESPONSE_HEAD_BYTES + 1);
    arena_init(&h->arena, h->lent, sizeof(h->lent), ARENA_BYTES_MAX);
    h->takes_101 = false;
    head_restart(h);
}

void head_release(struct head *h)
{
    buf_release(&h->text);
    arena_release(&h->arena);
}

static void forget_fields(struct head *h)
{
    arena_release(&h->arena);
    arena_init(&h->arena, h->lent, sizeof(h->lent), ARENA_BYTES_MAX);
    h->fields = (struct http_fields){0};
}

void head_restart(struct head *h)
{
    forget_fields(h);
    h->status = h->minor = 0;
    h->complaint = NULL;
    h->in_fields = false;
    h->bytes = h->lines = h->last_at = 0;
    h->text.n = 0;
    h->text.failed = false;
}

static enum head_step refuse(struct head *h, const char *complaint)
{
    h->complaint = complaint;
    return HEAD_GARBAGE;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* HTTP-version SP 3DIGIT [SP reason] (RFC 9112 section 4); the reason is dropped. */
static enum head_step status_line(struct head *h, struct slice s)
{
    if (s.n < 12 || !slice_starts_with(s, SLICE("HTTP/1.")) || !is_digit(s.p[7]) || s.p[8] != ' ')
        return refuse(h, "the status line is not HTTP/1");
    if (!is_digit(s.p[9]) || !is_digit(s.p[10]) || !is_digit(s.p[11]) ||
        (s.n > 12 && s.p[12] != ' '))
        return refuse(h, "the status is not three digits");
    h->minor = s.p[7] - '0';
    h->status = (s.p[9] - '0') * 100 + (s.p[10] - '0') * 10 + (s.p[11] - '0');
    if (h->status < 100)
        return refuse(h, "the status is below 100");
    if (h->status == 101 && !h->takes_101)
        return refuse(h, "switches protocols, which was not asked for");
    if (h->fields.count > 0) /* of an interim head */
        forget_fields(h);
    h->in_fields = true;
    h->lines = 0;
    h->text.n = 0;
    return HEAD_MORE;
}

static struct slice name_of(const struct head *h)
{
    struct slice line = slice_from(buf_slice(&h->text), h->last_at);

    return slice_head(line, slice_index(line, ':'));
}

/*
 * RFC 9112 section 5.2: a continued line is one value with a space.  Of the fields that frame the
 * message it is refused: libcurl reads their first line alone, and we must not understand more than
 * it does.
 */
static enum head_step continued(struct head *h, struct slice s)
{
    if (h->lines == 0)
        return refuse(h, "the first field is a continuation");
    if (slice_eq_nocase(name_of(h), SLICE("content-length")) ||
        slice_eq_nocase(name_of(h), SLICE("transfer-encoding")) ||
        slice_eq_nocase(name_of(h), SLICE("connection")))
        return refuse(h, "a field that frames the message is folded");
    h->text.n--; /* the LF */
    while (h->text.p[h->text.n - 1] == ' ' || h->text.p[h->text.n - 1] == '\t')
        h->text.n--;
    buf_add_char(&h->text, ' ');
    buf_add(&h->text, slice_trim(s));
    buf_add_char(&h->text, '\n');
    return h->text.failed ? refuse(h, "the head is too large") : HEAD_MORE;
}

static enum head_step field_line(struct head *h, struct slice s)
{
    size_t colon = slice_index(s, ':');

    if (colon == s.n)
        return refuse(h, "a field line without a colon");
    if (!http_is_token(slice_head(s, colon))) /* also a space before the colon */
        return refuse(h, "a field name that is none");
    if (++h->lines > LIMIT_RESPONSE_FIELDS)
        return refuse(h, "too many fields");
    h->last_at = h->text.n;
    buf_add(&h->text, s);
    buf_add_char(&h->text, '\n');
    return h->text.failed ? refuse(h, "the head is too large") : HEAD_MORE;
}

static enum head_step complete(struct head *h, enum head_step step)
{
    char *p = h->text.p, *end;

    if (h->lines == 0)
        return step;
    end = p + h->text.n;
    while (p < end) {
        char *lf = memchr(p, '\n', (size_t)(end - p));
        char *colon = memchr(p, ':', (size_t)(end - p));
        struct slice value;

        CHECK(lf != NULL);
        CHECK(colon != NULL && colon < lf);
        http_lower(p, (size_t)(colon - p));
        value = slice_trim((struct slice){colon + 1, (size_t)(lf - colon - 1)});
        if (!http_is_field_value(value))
            return refuse(h, "a control byte in a field value");
        if (http_fields_add(&h->fields, &h->arena, LIMIT_RESPONSE_FIELDS,
                            (struct slice){p, (size_t)(colon - p)}, value) != ERR_OK)
            return refuse(h, "no memory for the fields");
        p = lf + 1;
    }
    return step;
}

enum head_step head_line(struct head *h, struct slice line)
{
    h->bytes += line.n;
    if (h->bytes > LIMIT_RESPONSE_HEAD_BYTES)
        return refuse(h, "the head is too large");
    if (line.n > 0 && line.p[line.n - 1] == '\n')
        line.n--;
    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    if (memchr(line.n > 0 ? line.p : "", '\n', line.n) != NULL)
        return refuse(h, "two lines in one");
    if (!h->in_fields)
        return status_line(h, line);
    if (line.n > 0)
        return line.p[0] == ' ' || line.p[0] == '\t' ? continued(h, line) : field_line(h, line);
    if (h->status >= 200 || h->status == 101)
        return complete(h, HEAD_COMPLETE);
    h->in_fields = false; /* the interim head ends here, and its fields with it */
    return h->status == 100 ? HEAD_MORE : complete(h, HEAD_INTERIM);
}

/* All values of all lines must be the same number (RFC 9112 section 6.3, rule 5). */
static enum err content_length(const struct http_fields *f, bool *has, uint64_t *out)
{
    const struct http_field *at = http_fields_find(f, SLICE("content-length"));

    *has = at != NULL;
    for (bool first = true; at != NULL; at = http_fields_next(f, at)) {
        struct slice rest = at->value;

        do {
            size_t comma = slice_index(rest, ',');
            uint64_t v;

            /* libcurl counts in signed numbers, so larger ones would not be what it reads */
            if (!slice_to_u64(slice_trim(slice_head(rest, comma)), &v) || v > INT64_MAX)
                return ERR_INVALID;
            if (!first && v != *out)
                return ERR_INVALID;
            *out = v;
            first = false;
            if (comma == rest.n)
                break;
            rest = slice_from(rest, comma + 1);
        } while (true);
    }
    return ERR_OK;
}

enum err head_framing(struct head *h, bool is_answer_to_head, struct head_framing *out)
{
    const struct http_field *coding = http_fields_find(&h->fields, SLICE("transfer-encoding"));
    bool is_bodyless = h->status == 204 || h->status == 304;
    struct head_framing r = {.kind = UPSTREAM_TO_CLOSE, .may_reuse = true};
    bool has_length;

    CHECK(h->status >= 200);
    if (content_length(&h->fields, &has_length, &r.body_bytes) != ERR_OK) {
        h->complaint = "Content-Length is no number, or several";
        return ERR_INVALID;
    }
    if (coding != NULL && (!slice_eq_nocase(coding->value, SLICE("chunked")) ||
                           http_fields_next(&h->fields, coding) != NULL)) {
        h->complaint = "Transfer-Encoding is not chunked";
        return ERR_INVALID;
    }
    if (is_bodyless || is_answer_to_head) {
        r.kind = UPSTREAM_NO_BODY;
        /* Who announces a body with a 304 may well send it. */
        r.may_reuse = is_answer_to_head || (coding == NULL && r.body_bytes == 0);
        r.body_bytes = 0;
    } else if (coding != NULL) {
        r.kind = UPSTREAM_CHUNKED;
        r.body_bytes = 0;
        /* RFC 9112 section 6.3 rule 3, and section 6.1 about HTTP/1.0 */
        r.may_reuse = !has_length && h->minor > 0;
    } else if (has_length) {
        r.kind = UPSTREAM_LENGTH;
    }
    *out = r;
    return ERR_OK;
}

int64_t head_keep_alive_ms(const struct http_fields *f)
{
    struct slice rest = http_fields_value(f, SLICE("keep-alive")), member;
    const struct slice key = SLICE("timeout=");
    uint64_t s;

    while (rest.p != NULL && http_list_next(&rest, &member, NULL)) {
        if (slice_eq_nocase(slice_head(member, key.n), key) &&
            slice_to_u64(slice_from(member, key.n), &s))
            return s > INT_MAX ? INT64_C(1000) * INT_MAX : (int64_t)s * 1000;
    }
    return -1;
}
