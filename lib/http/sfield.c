#include "http/sfield.h"

#include "http/fields.h"

/* RFC 9651 sections 4.2.4 and 4.2.5. */
enum { INTEGER_DIGITS_MAX = 15, DECIMAL_DIGITS_MAX = 12, FRACTION_DIGITS_MAX = 3 };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_alpha(char c)
{
    return is_lower((char)(c | 0x20));
}

static bool starts(const struct slice *s, char c)
{
    return s->n > 0 && s->p[0] == c;
}

static void skip(struct slice *s, size_t bytes)
{
    s->p += bytes;
    s->n -= bytes;
}

static bool take(struct slice *s, char c)
{
    if (!starts(s, c))
        return false;
    skip(s, 1);
    return true;
}

static void skip_spaces(struct slice *s)
{
    while (take(s, ' '))
        continue;
}

static void skip_ows(struct slice *s)
{
    while (starts(s, ' ') || starts(s, '\t'))
        skip(s, 1);
}

static struct slice take_bytes(struct slice *s, size_t bytes)
{
    struct slice head = slice_head(*s, bytes);

    skip(s, bytes);
    return head;
}

static bool take_key(struct slice *s, struct slice *out)
{
    size_t n = 0;

    if (s->n == 0 || !(is_lower(s->p[0]) || s->p[0] == '*'))
        return false;
    while (n < s->n && (is_lower(s->p[n]) || is_digit(s->p[n]) || s->p[n] == '_' ||
                        s->p[n] == '-' || s->p[n] == '.' || s->p[n] == '*'))
        n++;
    *out = take_bytes(s, n);
    return true;
}

static size_t digits_at(struct slice s, int64_t *value)
{
    size_t n = 0;

    *value = 0;
    while (n < s.n && n <= INTEGER_DIGITS_MAX && is_digit(s.p[n]))
        *value = *value * 10 + (s.p[n++] - '0');
    return n;
}

static bool take_number(struct slice *s, struct sfield_member *out)
{
    bool is_negative = take(s, '-');
    int64_t value, fraction;
    size_t n = digits_at(*s, &value);

    if (n == 0 || n > INTEGER_DIGITS_MAX)
        return false;
    skip(s, n);
    out->type = SFIELD_INTEGER;
    out->integer = is_negative ? -value : value;
    if (!take(s, '.'))
        return true;
    out->type = SFIELD_DECIMAL;
    out->integer = 0;
    if (n > DECIMAL_DIGITS_MAX)
        return false;
    n = digits_at(*s, &fraction);
    if (n == 0 || n > FRACTION_DIGITS_MAX)
        return false;
    skip(s, n);
    return true;
}

static bool take_date(struct slice *s, struct sfield_member *out)
{
    if (!take(s, '@') || !take_number(s, out) || out->type != SFIELD_INTEGER)
        return false;
    out->type = SFIELD_DATE;
    return true;
}

static bool take_string(struct slice *s, struct sfield_member *out)
{
    size_t n = 1;

    for (; n < s->n && s->p[n] != '"'; n++) {
        if (s->p[n] < 0x20 || s->p[n] > 0x7e) /* bytes >= 0x80 too, where char is signed or not */
            return false;
        if (s->p[n] == '\\' && (++n >= s->n || (s->p[n] != '"' && s->p[n] != '\\')))
            return false;
    }
    if (n >= s->n)
        return false;
    out->type = SFIELD_STRING;
    out->text = (struct slice){s->p + 1, n - 1};
    skip(s, n + 1);
    return true;
}

static bool take_token(struct slice *s, struct sfield_member *out)
{
    size_t n = 1;

    while (n < s->n &&
           (s->p[n] == ':' || s->p[n] == '/' || http_is_token((struct slice){s->p + n, 1})))
        n++;
    out->type = SFIELD_TOKEN;
    out->text = take_bytes(s, n);
    return true;
}

/* Base64 whose padding may be missing (section 4.2.7). */
static bool take_binary(struct slice *s, struct sfield_member *out)
{
    size_t n = 0, end, pads;

    skip(s, 1);
    end = slice_index(*s, ':');
    if (end == s->n)
        return false;
    while (n < end && (is_alpha(s->p[n]) || is_digit(s->p[n]) || s->p[n] == '+' || s->p[n] == '/'))
        n++;
    for (pads = 0; n + pads < end; pads++)
        if (s->p[n + pads] != '=')
            return false;
    if (n % 4 == 1 || (pads > 0 && (n + pads) % 4 != 0) || pads > 2)
        return false;
    out->type = SFIELD_BYTES;
    skip(s, end + 1);
    return true;
}

static bool take_boolean(struct slice *s, struct sfield_member *out)
{
    skip(s, 1);
    out->type = SFIELD_BOOLEAN;
    out->integer = starts(s, '1');
    return take(s, '1') || take(s, '0');
}

/* What UTF-8 lets come next (RFC 3629 section 4). */
struct utf8 {
    unsigned more;           /* bytes that must follow */
    unsigned char low, high; /* bounds of the first of them */
};

static bool utf8_feed(struct utf8 *u, unsigned char c)
{
    if (u->more > 0) {
        bool ok = c >= u->low && c <= u->high;

        *u = (struct utf8){u->more - 1, 0x80, 0xbf};
        return ok;
    }
    if (c < 0x80)
        return true;
    if (c < 0xc2 || c > 0xf4)
        return false;
    u->more = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    u->low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    u->high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    return true;
}

static int lower_hex(char c)
{
    if (is_digit(c))
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool take_display(struct slice *s, struct sfield_member *out)
{
    struct utf8 u = {0};

    skip(s, 1);
    if (!take(s, '"'))
        return false;
    while (s->n > 0 && s->p[0] != '"') {
        unsigned char c = (unsigned char)s->p[0];

        if (c < 0x20 || c > 0x7e)
            return false;
        if (c == '%') {
            if (s->n < 3 || lower_hex(s->p[1]) < 0 || lower_hex(s->p[2]) < 0)
                return false;
            c = (unsigned char)(lower_hex(s->p[1]) * 16 + lower_hex(s->p[2]));
            skip(s, 2);
        }
        skip(s, 1);
        if (!utf8_feed(&u, c))
            return false;
    }
    out->type = SFIELD_DISPLAY;
    return u.more == 0 && take(s, '"');
}

static bool take_bare_item(struct slice *s, struct sfield_member *out)
{
    if (s->n == 0)
        return false;
    switch (s->p[0]) {
    case '"':
        return take_string(s, out);
    case ':':
        return take_binary(s, out);
    case '?':
        return take_boolean(s, out);
    case '@':
        return take_date(s, out);
    case '%':
        return take_display(s, out);
    case '*':
        return take_token(s, out);
    default:
        return is_alpha(s->p[0]) ? take_token(s, out) : take_number(s, out);
    }
}

static bool take_parameters(struct slice *s)
{
    struct sfield_member ignored;

    while (take(s, ';')) {
        skip_spaces(s);
        if (!take_key(s, &ignored.key))
            return false;
        if (take(s, '=') && !take_bare_item(s, &ignored))
            return false;
    }
    return true;
}

static bool take_inner_list(struct slice *s, struct sfield_member *out)
{
    struct sfield_member ignored;

    skip(s, 1);
    out->type = SFIELD_INNER_LIST;
    for (;;) {
        skip_spaces(s);
        if (take(s, ')'))
            return true;
        if (!take_bare_item(s, &ignored) || !take_parameters(s))
            return false;
        if (!starts(s, ' ') && !starts(s, ')'))
            return false;
    }
}

static bool take_member(struct slice *s, struct sfield_member *out)
{
    *out = (struct sfield_member){.type = SFIELD_BOOLEAN, .integer = 1};
    if (!take_key(s, &out->key))
        return false;
    if (take(s, '=') && !(starts(s, '(') ? take_inner_list(s, out) : take_bare_item(s, out)))
        return false;
    if (!take_parameters(s))
        return false;
    skip_ows(s);
    if (s->n == 0)
        return true;
    if (!take(s, ','))
        return false;
    skip_ows(s);
    return s->n > 0; /* a comma at the end promises a member that is not there */
}

bool sfield_dictionary_next(struct slice *rest, struct sfield_member *out, bool *bad)
{
    skip_spaces(rest); /* before the first member; behind a comma there are none left */
    if (rest->n == 0)
        return false;
    if (take_member(rest, out))
        return true;
    *bad = true;
    return false;
}
