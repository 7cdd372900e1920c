#include <arpa/inet.h>
#include <netinet/in.h>

#include "config/config_priv.h"

enum {
    HOST_BYTES_MAX = 253,
    LABEL_BYTES_MAX = 63,
    NAME_BYTES_MAX = 64,
    SECRET_BYTES_MIN = 16,
    SECRET_BYTES_MAX = 256,
    GLOB_BYTES_MAX = 1024,
    SERIAL_BYTES_MAX = 40, /* 20 bytes, the most that X.509 allows */
};

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_all(struct slice s, const char *more)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_alnum(s.p[i]) && (s.p[i] == '\0' || strchr(more, s.p[i]) == NULL))
            return false;
    return s.n > 0;
}

static bool is_visible(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x21 || s.p[i] > 0x7e)
            return false;
    return s.n > 0;
}

static bool to_ip(int family, struct slice s, void *out)
{
    char text[INET6_ADDRSTRLEN];

    if (s.n >= sizeof(text))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return inet_pton(family, text, out) == 1;
}

/* An IPv6 address in brackets; `out` is the address. */
static bool to_ip6(struct slice s, struct in6_addr *out)
{
    return s.n > 2 && s.p[0] == '[' && s.p[s.n - 1] == ']' &&
           to_ip(AF_INET6, (struct slice){s.p + 1, s.n - 2}, out);
}

/* Letters, digits, '-' and '_' between dots; an IPv4 address is one by its form. */
static bool is_name(struct slice s)
{
    if (s.n == 0 || s.n > HOST_BYTES_MAX)
        return false;
    for (;;) {
        size_t dot = slice_index(s, '.');
        struct slice label = slice_head(s, dot);

        if (label.n > LABEL_BYTES_MAX || !is_all(label, "-_") || label.p[0] == '-' ||
            label.p[label.n - 1] == '-')
            return false;
        if (dot == s.n)
            return true;
        s = slice_from(s, dot + 1);
    }
}

static bool is_host(struct slice s)
{
    struct in6_addr ip6;

    return is_name(s) || to_ip6(s, &ip6);
}

static bool has_other_than_ascii(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] >= 0x80)
            return true;
    return false;
}

const char *config__check_host(struct slice s)
{
    if (has_other_than_ascii(s))
        return "is no host name; write it as DNS has it, with xn--";
    if (slice_eq(s, SLICE("*")))
        return "would be every host; write the names, or \"*.example.com\"";
    if (slice_starts_with(s, SLICE("*.")) && is_name(slice_from(s, 2)))
        return NULL;
    if (is_host(s))
        return NULL;
    if (slice_index(s, '/') < s.n)
        return "is no host name; write it without scheme and path, such as www.example.com";
    if (slice_index(s, ':') < s.n)
        return "is no host name; write it without a port";
    return "is no host name; write it as www.example.com or \"*.example.com\"";
}

const char *config__check_name(struct slice s)
{
    return is_name(s) ? NULL : "is no host name; write it as www.example.com";
}

/* Decimal, 1 to 5 digits; 0 only where the kernel may choose. */
static bool is_port(struct slice s, bool may_be_zero)
{
    uint64_t port;

    return s.n <= 5 && slice_to_u64(s, &port) && port <= UINT16_MAX && (port > 0 || may_be_zero);
}

/* Host and port of "host:port"; *port.p is NULL when there is none. */
static void split(struct slice s, struct slice *host, struct slice *port)
{
    size_t colon = s.n;

    while (colon > 0 && s.p[colon - 1] != ':' && s.p[colon - 1] != ']')
        colon--;
    *host = s;
    *port = (struct slice){0};
    if (colon > 0 && s.p[colon - 1] == ':') {
        *host = slice_head(s, colon - 1);
        *port = slice_from(s, colon);
    }
}

const char *config__check_authority(struct slice s)
{
    struct slice host, port;

    split(s, &host, &port);
    if (is_host(host) && (port.p == NULL || is_port(port, false)))
        return NULL;
    return "is no host name; write it as www.example.com or www.example.com:8080";
}

const char *config__check_address(struct slice s)
{
    struct slice host, port;
    struct in6_addr ip6;
    struct in_addr ip;

    split(s, &host, &port);
    if (port.p == NULL)
        return "has no port; write it as 0.0.0.0:443 or \"[::]:443\"";
    if (!is_port(port, true))
        return "has no valid port; write one of 1 to 65535, or 0 for any that is free";
    if (!to_ip(AF_INET, host, &ip) && !to_ip6(host, &ip6))
        return "is no IP address with port; write it as 0.0.0.0:443 or \"[::]:443\"";
    return NULL;
}

static bool cut_scheme(struct slice s, struct slice *rest)
{
    size_t scheme = slice_starts_with(s, SLICE("http://"))    ? 7
                    : slice_starts_with(s, SLICE("https://")) ? 8
                                                              : 0;

    *rest = slice_from(s, scheme);
    return scheme > 0;
}

const char *config__check_server(struct slice s)
{
    struct slice authority, host, port;

    if (!cut_scheme(s, &authority))
        return "does not begin with http:// or https://; write it as https://10.0.0.5:8443";
    if (slice_index(authority, '@') < authority.n)
        return "names a user; write it as https://10.0.0.5:8443";
    if (slice_index(authority, '/') < authority.n || slice_index(authority, '?') < authority.n)
        return "has a path; write scheme, host and port alone, such as https://10.0.0.5:8443";
    split(authority, &host, &port);
    if (!is_host(host) || (port.p != NULL && !is_port(port, false)))
        return "is no server; write it as https://10.0.0.5:8443";
    return NULL;
}

static bool is_local_ip4(uint32_t ip)
{
    return ip >> 24 == 127 || ip >> 16 == 0xa9fe || ip == 0; /* 127/8, 169.254/16, 0.0.0.0 */
}

static bool is_local_ip6(const struct in6_addr *ip)
{
    uint32_t ip4;

    if (IN6_IS_ADDR_V4MAPPED(ip)) {
        memcpy(&ip4, ip->s6_addr + 12, sizeof(ip4));
        return is_local_ip4(ntohl(ip4));
    }
    return IN6_IS_ADDR_LOOPBACK(ip) || IN6_IS_ADDR_LINKLOCAL(ip) || IN6_IS_ADDR_UNSPECIFIED(ip);
}

bool config__server_is_local(struct slice s)
{
    struct slice authority, host, port;
    struct in6_addr ip6;
    struct in_addr ip;

    cut_scheme(s, &authority);
    split(authority, &host, &port);
    if (to_ip(AF_INET, host, &ip))
        return is_local_ip4(ntohl(ip.s_addr));
    if (to_ip6(host, &ip6))
        return is_local_ip6(&ip6);
    return slice_eq_nocase(host, SLICE("localhost"));
}

bool config__address_is_loopback(struct slice s)
{
    struct slice host, port;
    struct in6_addr ip6;
    struct in_addr ip;

    split(s, &host, &port);
    if (to_ip(AF_INET, host, &ip))
        return ntohl(ip.s_addr) >> 24 == 127;
    return to_ip6(host, &ip6) && IN6_IS_ADDR_LOOPBACK(&ip6);
}

const char *config__check_label(struct slice s)
{
    if (s.n <= NAME_BYTES_MAX && is_all(s, "-_."))
        return NULL;
    return "is no name; write up to 64 letters, digits, '-', '_' and '.'";
}

const char *config__check_field(struct slice s)
{
    if (s.n > 0 && s.n <= NAME_BYTES_MAX && is_all(s, "!#$%&'*+-.^_`|~"))
        return NULL;
    return "is no name of a field; write it like CDN-Cache-Control";
}

const char *config__check_method(struct slice s)
{
    if (s.n > NAME_BYTES_MAX || !is_all(s, "!#$%&'*+-.^_`|~"))
        return "is no method; write it as GET";
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] >= 'a' && s.p[i] <= 'z')
            return "would never match; methods are written in capitals, as in GET";
    return NULL;
}

/* The value of an upper-case hex digit, or -1. */
static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Paths are matched in their normal form (RFC 3986 section 6.2.2): only what must be escaped is, in
 * upper-case. */
static bool has_normal_escapes(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c;

        if (s.p[i] != '%')
            continue;
        if (i + 2 >= s.n || hex(s.p[i + 1]) < 0 || hex(s.p[i + 2]) < 0)
            return false;
        c = (char)(hex(s.p[i + 1]) << 4 | hex(s.p[i + 2]));
        if (is_all((struct slice){&c, 1}, "-._~"))
            return false;
    }
    return true;
}

static bool has_dot_or_empty_segments(struct slice s)
{
    for (size_t i = 0; i + 1 < s.n; i++) {
        struct slice rest = slice_from(s, i);

        if (slice_starts_with(rest, SLICE("//")) || slice_starts_with(rest, SLICE("/./")) ||
            slice_starts_with(rest, SLICE("/../")))
            return true;
    }
    return slice_ends_with(s, SLICE("/.")) || slice_ends_with(s, SLICE("/.."));
}

const char *config__check_path_glob(struct slice s)
{
    if (s.n > GLOB_BYTES_MAX)
        return "is too long; at most 1024 bytes";
    if (s.p[0] != '/' && s.p[0] != '*')
        return "would never match; paths begin with '/' (or write \"*\")";
    if (!is_visible(s) || !has_normal_escapes(s))
        return "would never match; escape what is no visible ASCII, and only that, as in %C3%BC";
    if (has_dot_or_empty_segments(s))
        return "would never match; paths are compared without '//', '/./' and '/../'";
    return NULL;
}

const char *config__check_type_glob(struct slice s)
{
    if (s.n > GLOB_BYTES_MAX || !is_visible(s) || slice_index(s, ';') < s.n ||
        (slice_index(s, '/') == s.n && slice_index(s, '*') == s.n))
        return "is no content type; write it as text/html or \"image/*\", without parameters";
    return NULL;
}

const char *config__check_word_glob(struct slice s)
{
    if (s.n > GLOB_BYTES_MAX || !is_visible(s) || slice_index(s, ';') < s.n ||
        slice_index(s, '=') < s.n || slice_index(s, '&') < s.n)
        return "is no name; write it as sessionid or \"session_*\"";
    return NULL;
}

const char *config__check_secret(struct slice s)
{
    if (s.n < SECRET_BYTES_MIN)
        return "the secret is too short; at least 16 bytes, such as from `openssl rand -hex 24`";
    if (s.n > SECRET_BYTES_MAX)
        return "the secret is too long; at most 256 bytes";
    if (!is_visible(s))
        return "the secret must be one word of printable ASCII: it travels in a request field";
    return NULL;
}

const char *config__check_serial(struct slice s)
{
    bool is_hex = s.n > 0 && s.n <= SERIAL_BYTES_MAX && s.p[0] != '0';

    for (size_t i = 0; i < s.n; i++)
        is_hex = is_hex && ((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f'));
    return is_hex ? NULL
                  : "is no serial number; write its hex digits without leading zeros, as `selvage "
                    "pki node` and `openssl x509 -serial` print them";
}

const char *config__check_token(struct slice s)
{
    return is_visible(s) ? NULL : "the token must be one word of printable ASCII";
}

const char *config__check_node(struct slice s)
{
    while (slice_ends_with(s, SLICE("/")))
        s = slice_head(s, s.n - 1);
    return config__check_server(s);
}

const char *config__check_weight(struct slice s)
{
    uint64_t n;

    return slice_to_u64(s, &n) && n >= 1 && n <= 100 ? NULL
                                                     : "is no weight; at least 1, at most 100";
}

const char *config__check_probe_path(struct slice s)
{
    if (s.n > GLOB_BYTES_MAX)
        return "is too long; at most 1024 bytes";
    if (s.p[0] != '/' || !is_visible(s) || slice_index(s, '#') < s.n)
        return "is no path; write it as /up";
    return NULL;
}
