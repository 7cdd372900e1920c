#include "http/url.h"

#include <arpa/inet.h>

#include "base/limits.h"
#include "http/fields.h"

enum { HOST_BYTES_MAX = 253, PORT_MAX = 65535 };

/* ---- bytes ---- */

static bool is_unreserved(unsigned char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

static bool is_sub_delimiter(unsigned char c)
{
    return c != '\0' && strchr("!$&'()*+,;=", c) != NULL;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Is there %XX at `s`?  Then *out is what it stands for. */
static bool escape_at(struct slice s, unsigned char *out)
{
    if (s.n < 3 || s.p[0] != '%' || hex_value(s.p[1]) < 0 || hex_value(s.p[2]) < 0)
        return false;
    *out = (unsigned char)(hex_value(s.p[1]) * 16 + hex_value(s.p[2]));
    return true;
}

/* ---- hosts ---- */

static bool is_ipv6(struct slice text)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr address;

    if (text.n >= sizeof(copy))
        return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    return strlen(copy) == text.n && inet_pton(AF_INET6, copy, &address) == 1;
}

/*
 * Names as they are used: escapes and sub-delimiters, which RFC 3986 would allow, could only be
 * other spellings of a name that we serve under this one.
 */
static bool is_name(struct slice host)
{
    bool is_label = false;

    for (size_t i = 0; i < host.n; i++) {
        if (!is_unreserved((unsigned char)host.p[i]) || (host.p[i] == '.' && !is_label))
            return false;
        is_label = host.p[i] != '.';
    }
    return is_label && host.n <= HOST_BYTES_MAX;
}

/* An empty port is the scheme's own (RFC 3986 section 3.2.3); `rest` is what follows the host. */
static bool read_port(struct slice rest, uint16_t *out)
{
    uint64_t port;

    *out = 0;
    if (rest.n == 0)
        return true;
    if (rest.p[0] != ':')
        return false;
    if (rest.n == 1)
        return true;
    if (!slice_to_u64(slice_from(rest, 1), &port) || port == 0 || port > PORT_MAX)
        return false;
    *out = (uint16_t)port;
    return true;
}

/* *out_host as written, with a trailing dot if there was one. */
static bool split_authority(struct slice authority, struct slice *out_host, uint16_t *out_port)
{
    size_t end;

    if (authority.n > 0 && authority.p[0] == '[') {
        end = slice_index(authority, ']');
        if (end == authority.n || !is_ipv6(slice_from(slice_head(authority, end), 1)))
            return false;
        *out_host = slice_head(authority, end + 1);
    } else {
        end = slice_index(authority, ':');
        *out_host = slice_head(authority, end);
        if (!is_name(slice_ends_with(*out_host, SLICE(".")) ? slice_head(*out_host, end - 1)
                                                            : *out_host))
            return false;
    }
    return read_port(slice_from(authority, out_host->n), out_port);
}

enum err url_host(struct slice authority, struct arena *a, struct slice *out_host,
                  uint16_t *out_port)
{
    struct slice host;
    char *p;

    if (!split_authority(authority, &host, out_port))
        return ERR_INVALID;
    if (slice_ends_with(host, SLICE(".")))
        host.n--;
    p = arena_text(a, host);
    if (p == NULL)
        return ERR_LIMIT;
    http_lower(p, host.n);
    *out_host = (struct slice){p, host.n};
    return ERR_OK;
}

/* ---- targets ---- */

bool url_target_is_valid(struct slice target)
{
    unsigned char ignored;

    if (target.n == 0 || target.p[0] != '/' || target.n > LIMIT_TARGET_BYTES)
        return false;
    for (size_t i = 0; i < target.n; i++) {
        unsigned char c = (unsigned char)target.p[i];

        if (c <= ' ' || c == 0x7f || strchr("\"#<>\\^`{|}", c) != NULL ||
            (c == '%' && !escape_at(slice_from(target, i), &ignored)))
            return false;
    }
    return true;
}

size_t url_path_bytes(struct slice target)
{
    return slice_index(target, '?');
}

static void add_escaped(struct buf *out, unsigned char c)
{
    static const char digit[] = "0123456789ABCDEF";

    buf_add_char(out, '%');
    buf_add_char(out, digit[c >> 4]);
    buf_add_char(out, digit[c & 15]);
}

/* RFC 3986 section 6.2.2: one spelling of each byte.  `also` may stand for themselves here. */
static void add_normal(struct buf *out, struct slice s, const char *also)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i], meant;

        if (escape_at(slice_from(s, i), &meant)) {
            if (is_unreserved(meant))
                buf_add_char(out, (char)meant);
            else
                add_escaped(out, meant);
            i += 2;
        } else if (is_unreserved(c) || is_sub_delimiter(c) ||
                   (c != '\0' && strchr(also, c) != NULL)) {
            buf_add_char(out, (char)c);
        } else {
            add_escaped(out, c);
        }
    }
}

/* Cut the last segment off: out ends with the '/' of its parent.  `root` is where the path begins.
 */
static void drop_segment(struct buf *out, size_t root)
{
    if (out->n > root + 1)
        out->n--; /* its own '/' */
    while (out->n > root + 1 && out->p[out->n - 1] != '/')
        out->n--;
}

/*
 * Segment by segment, because only a decoded one shows whether it is "..".  Empty segments go
 * first, as servers and file systems do it: /a//../b is /b.
 */
static void add_path(struct buf *out, struct slice path)
{
    size_t root = out->n;

    buf_add_char(out, '/');
    while (path.n > 0 && !out->failed) {
        size_t end = slice_index(path, '/'), from = out->n;
        bool is_last = end == path.n;
        struct slice segment;

        add_normal(out, slice_head(path, end), ":@");
        path = slice_from(path, end + 1);
        if (out->failed)
            return;
        segment = (struct slice){out->p + from, out->n - from};
        if (slice_eq(segment, SLICE(".")) || slice_eq(segment, SLICE("..")))
            out->n = from;
        if (slice_eq(segment, SLICE("..")))
            drop_segment(out, root);
        if (out->n > from && !is_last)
            buf_add_char(out, '/');
    }
}

void url_purge_form(struct slice host, struct slice target, struct buf *out)
{
    size_t path_bytes = url_path_bytes(target);

    buf_add(out, host);
    add_path(out, slice_head(target, path_bytes));
    if (path_bytes == target.n)
        return;
    buf_add_char(out, '?');
    add_normal(out, slice_from(target, path_bytes + 1), ":@/?");
}

/* ---- absolute URLs ---- */

static bool take_scheme(struct slice *url, struct slice scheme)
{
    if (!slice_eq_nocase(slice_head(*url, scheme.n), scheme))
        return false;
    *url = slice_from(*url, scheme.n);
    return true;
}

static size_t authority_bytes(struct slice s)
{
    size_t n = 0;

    while (n < s.n && s.p[n] != '/' && s.p[n] != '?' && s.p[n] != '#')
        n++;
    return n;
}

enum err url_parse_absolute(struct slice url, struct url_parts *out)
{
    bool is_https = take_scheme(&url, SLICE("https://"));
    struct url_parts parts = {.is_https = is_https};
    size_t end;

    if (!is_https && !take_scheme(&url, SLICE("http://")))
        return ERR_INVALID;
    end = authority_bytes(url);
    if (!split_authority(slice_head(url, end), &parts.host, &parts.port))
        return ERR_INVALID;
    parts.has_port = parts.port != 0;
    if (!parts.has_port)
        parts.port = is_https ? 443 : 80;
    parts.target = end == url.n ? SLICE("/") : slice_from(url, end);
    if (parts.target.p[0] != '/')
        return ERR_INVALID;
    for (size_t i = 0; i < parts.target.n; i++) {
        unsigned char c = (unsigned char)parts.target.p[i];

        if (c <= ' ' || c == 0x7f || c == '#')
            return ERR_INVALID;
    }
    *out = parts;
    return ERR_OK;
}

/* ---- references ---- */

/* RFC 3986 section 5.2.4, of the path; `path` begins with '/', `out` has room for one byte more. */
static size_t remove_dots(struct slice path, char *out)
{
    size_t n = 0;

    while (path.n > 0) {
        size_t end = 1 + slice_index(slice_from(path, 1), '/');
        struct slice name = slice_from(slice_head(path, end), 1);
        bool is_dot = slice_eq(name, SLICE(".")), is_up = slice_eq(name, SLICE(".."));

        if (!is_dot && !is_up) {
            memcpy(out + n, path.p, end);
            n += end;
        }
        while (is_up && n > 0 && out[--n] != '/')
            continue;
        path = slice_from(path, end);
        if ((is_dot || is_up) && path.n == 0)
            out[n++] = '/';
    }
    return n;
}

/* base and reference are what stands before each other; p == NULL when the arena is full. */
static struct slice target_of(struct slice base, struct slice reference, struct arena *a)
{
    size_t all = base.n + reference.n, path_bytes, n;
    char *joined, *out;
    struct slice target;

    if (base.n == 0 && slice_index(slice_head(reference, url_path_bytes(reference)), '.') ==
                           url_path_bytes(reference))
        return reference;
    joined = arena_alloc(a, all);
    out = arena_alloc(a, all + 1);
    if (joined == NULL || out == NULL)
        return (struct slice){0};
    if (base.n > 0)
        memcpy(joined, base.p, base.n);
    if (reference.n > 0)
        memcpy(joined + base.n, reference.p, reference.n);
    target = (struct slice){joined, all};
    path_bytes = url_path_bytes(target);
    n = remove_dots(slice_head(target, path_bytes), out);
    memcpy(out + n, joined + path_bytes, all - path_bytes);
    return (struct slice){out, n + all - path_bytes};
}

/* Up to the last '/', and with it. */
static struct slice folder_of(struct slice target)
{
    size_t n = url_path_bytes(target);

    while (n > 0 && target.p[n - 1] != '/')
        n--;
    return slice_head(target, n);
}

static bool has_scheme(struct slice reference)
{
    size_t n = slice_index(reference, ':');

    return n < reference.n && n < slice_index(reference, '/') && n < slice_index(reference, '?');
}

enum err url_resolve(struct slice reference, bool is_https, struct slice host, struct slice target,
                     struct arena *a, struct url_parts *out)
{
    struct slice scheme = is_https ? SLICE("https:") : SLICE("http:"), base = {0};
    enum err e;

    reference = slice_head(reference, slice_index(reference, '#'));
    *out = (struct url_parts){.is_https = is_https, .host = host, .port = is_https ? 443 : 80};
    if (has_scheme(reference) || slice_starts_with(reference, SLICE("//"))) {
        struct slice url = reference;

        if (!has_scheme(reference)) {
            char *p = arena_alloc(a, scheme.n + reference.n);

            if (p == NULL)
                return ERR_LIMIT;
            memcpy(p, scheme.p, scheme.n);
            memcpy(p + scheme.n, reference.p, reference.n);
            url = (struct slice){p, scheme.n + reference.n};
        }
        e = url_parse_absolute(url, out);
        if (e != ERR_OK)
            return e;
        reference = out->target;
    } else if (reference.n == 0) {
        reference = target;
    } else if (reference.p[0] == '?') {
        base = slice_head(target, url_path_bytes(target));
    } else if (reference.p[0] != '/') {
        base = folder_of(target);
    }
    out->target = target_of(base, reference, a);
    if (out->target.p == NULL)
        return ERR_LIMIT;
    return url_target_is_valid(out->target) ? ERR_OK : ERR_INVALID;
}

/* ---- globs ---- */

/* On a mismatch only the last '*' needs to take one byte more: what earlier ones took still fits.
 */
bool url_glob_matches(struct slice glob, struct slice path)
{
    size_t g = 0, p = 0, after_star = SIZE_MAX, star_end = 0;

    while (p < path.n) {
        if (g < glob.n && glob.p[g] == '*') {
            after_star = ++g;
            star_end = p;
        } else if (g < glob.n && (glob.p[g] == '?' || glob.p[g] == path.p[p])) {
            g++;
            p++;
        } else if (after_star != SIZE_MAX) {
            g = after_star;
            p = ++star_end;
        } else {
            return false;
        }
    }
    while (g < glob.n && glob.p[g] == '*')
        g++;
    return g == glob.n;
}
