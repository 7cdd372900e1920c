#include "server/accesslog.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <time.h>

#include "base/check.h"

enum {
    TARGET_BYTES_MAX = 2048, /* of the line: longer ones are cut */
    HOST_BYTES_MAX = 512,
    WORD_BYTES_MAX = 256,
    NETWORK_BYTES_4 = 3, /* /24 */
    NETWORK_BYTES_6 = 6, /* /48 */
};

struct out {
    char *at;
    char *end; /* of the room for the value that is being written */
};

static void put(struct out *o, const char *p, size_t n)
{
    memcpy(o->at, p, n);
    o->at += n;
}

#define PUT(o, literal) put(o, literal, sizeof(literal) - 1)

static void put_u64(struct out *o, uint64_t v)
{
    char digits[20];
    size_t n = 0;

    do {
        digits[n++] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    while (n > 0)
        *o->at++ = digits[--n];
}

static void put_two(char *to, int v)
{
    to[0] = (char)('0' + v / 10 % 10);
    to[1] = (char)('0' + v % 10);
}

/* Milliseconds with three places. */
static void put_ms(struct out *o, int64_t us)
{
    int rest = (int)(us % 1000);

    put_u64(o, (uint64_t)us / 1000);
    *o->at++ = '.';
    *o->at++ = (char)('0' + rest / 100);
    put_two(o->at, rest % 100);
    o->at += 2;
}

/* The calendar is asked for once a second. */
static void put_time(struct out *o, int64_t wall_ms)
{
    static _Thread_local int64_t known_s = -1;
    static _Thread_local char known[20]; /* "2026-11-25T23:38:48" */
    int rest = (int)(wall_ms % 1000);

    if (wall_ms / 1000 != known_s) {
        time_t at = (time_t)(wall_ms / 1000);
        struct tm tm;

        known_s = wall_ms / 1000;
        gmtime_r(&at, &tm);
        strftime(known, sizeof(known), "%Y-%m-%dT%H:%M:%S", &tm);
    }
    put(o, known, sizeof(known) - 1);
    *o->at++ = '.';
    *o->at++ = (char)('0' + rest / 100);
    put_two(o->at, rest % 100);
    o->at += 2;
    *o->at++ = 'Z';
}

enum { ESCAPED_BYTES = 6 };

/* One byte as the inside of a JSON string; false when there is no room for it. */
static bool put_byte(struct out *o, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";

    if (o->end - o->at < ESCAPED_BYTES)
        return false;
    if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
        *o->at++ = (char)c;
    } else {
        /* a byte stands for the code point of its number: strangers need not send UTF-8 */
        PUT(o, "\\u00");
        *o->at++ = hex[c >> 4];
        *o->at++ = hex[c & 15];
    }
    return true;
}

static bool put_bytes(struct out *o, struct slice s)
{
    if (o->end - o->at >= (ptrdiff_t)s.n + ESCAPED_BYTES && slice_is_plain(s)) {
        if (s.n > 0)
            put(o, s.p, s.n);
        return true; /* as nearly always */
    }
    for (size_t i = 0; i < s.n; i++)
        if (!put_byte(o, (unsigned char)s.p[i]))
            return false;
    return true;
}

static void put_text(struct out *o, struct slice s, size_t bytes_max)
{
    *o->at++ = '"';
    o->end = o->at + bytes_max;
    if (!put_bytes(o, s))
        PUT(o, "...");
    *o->at++ = '"';
}

/* A word of our own, which needs no escapes. */
static void put_word(struct out *o, struct slice s)
{
    *o->at++ = '"';
    if (s.n > 0)
        put(o, s.p, s.n < WORD_BYTES_MAX ? s.n : WORD_BYTES_MAX);
    *o->at++ = '"';
}

bool accesslog_is_secret(struct slice name)
{
    static const struct slice words[] = {
        {"token", 5}, {"sig", 3},      {"signature", 9}, {"key", 3},
        {"code", 4},  {"password", 8}, {"email", 5},
    };

    if (slice_ends_with(name, SLICE("]")))
        name.n--; /* user[email] */
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        size_t n = words[i].n;

        if (name.n < n || !slice_eq_nocase(slice_from(name, name.n - n), words[i]))
            continue;
        /* access_token and X-Amz-Signature too, but not "monkey" */
        if (name.n == n || strchr("_-.[", name.p[name.n - n - 1]) != NULL)
            return true;
    }
    return false;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A name as the origin will understand it: a secret with a byte written as %XX is one as well. */
static bool is_secret_name(struct slice name)
{
    char plain[64];
    size_t n = 0;

    if (slice_index(name, '%') == name.n)
        return accesslog_is_secret(name);
    for (size_t i = 0; i < name.n && n < sizeof(plain); i++) {
        int high = i + 2 < name.n && name.p[i] == '%' ? hex_digit(name.p[i + 1]) : -1;
        int low = high < 0 ? -1 : hex_digit(name.p[i + 2]);

        plain[n++] = low < 0 ? name.p[i] : (char)(high << 4 | low);
        i += low < 0 ? 0 : 2;
    }
    return accesslog_is_secret((struct slice){plain, n});
}

/* The query, each secret value replaced by '-'.  False when there was no room for all of it. */
static bool put_query(struct out *o, struct slice query)
{
    while (query.n > 0) {
        size_t end = 0, equals;
        struct slice part;

        while (end < query.n && query.p[end] != '&' && query.p[end] != ';')
            end++;
        part = slice_head(query, end);
        equals = slice_index(part, '=');
        if (equals < part.n && is_secret_name(slice_head(part, equals))) {
            if (!put_bytes(o, slice_head(part, equals + 1)) || !put_byte(o, '-'))
                return false;
        } else if (!put_bytes(o, part)) {
            return false;
        }
        if (end < query.n && !put_byte(o, (unsigned char)query.p[end]))
            return false;
        query = slice_from(query, end + 1);
    }
    return true;
}

static void put_target(struct out *o, const struct accesslog_line *l)
{
    size_t path = slice_index(l->target, '?');
    struct slice query = slice_from(l->target, path + 1);

    if (l->is_full || query.n == 0) {
        put_text(o, l->target, TARGET_BYTES_MAX);
        return;
    }
    *o->at++ = '"';
    o->end = o->at + TARGET_BYTES_MAX;
    if (!put_bytes(o, slice_head(l->target, path + 1)) || !put_query(o, query))
        PUT(o, "...");
    *o->at++ = '"';
}

size_t accesslog_format(const struct accesslog_line *l, char out[ACCESSLOG_BYTES])
{
    struct out o = {out, out};

    PUT(&o, "{\"time\":\"");
    put_time(&o, l->wall_ms);
    PUT(&o, "\",\"client\":");
    put_text(&o, l->client, WORD_BYTES_MAX);
    PUT(&o, ",\"site\":");
    put_text(&o, l->site, WORD_BYTES_MAX);
    PUT(&o, ",\"protocol\":");
    put_word(&o, slice_of(l->protocol));
    PUT(&o, ",\"method\":");
    put_text(&o, l->method, WORD_BYTES_MAX);
    PUT(&o, ",\"host\":");
    put_text(&o, l->host, HOST_BYTES_MAX);
    PUT(&o, ",\"path\":");
    put_target(&o, l);
    PUT(&o, ",\"status\":");
    put_u64(&o, (uint64_t)l->status);
    PUT(&o, ",\"bytes\":");
    put_u64(&o, l->bytes);
    if (l->is_tunnel) {
        PUT(&o, ",\"received\":");
        put_u64(&o, l->received);
    }
    PUT(&o, ",\"verdict\":");
    put_word(&o, slice_of(l->verdict));
    PUT(&o, ",\"reason\":");
    put_word(&o, slice_of(l->reason));
    if (l->first_us >= 0) {
        PUT(&o, ",\"first_ms\":");
        put_ms(&o, l->first_us);
    }
    PUT(&o, ",\"ms\":");
    put_ms(&o, l->total_us < 0 ? 0 : l->total_us);
    PUT(&o, ",\"id\":");
    put_text(&o, l->id, WORD_BYTES_MAX);
    PUT(&o, "}\n");
    CHECK((size_t)(o.at - out) <= ACCESSLOG_BYTES);
    return (size_t)(o.at - out);
}

static size_t print_address(int family, const void *address, char out[ACCESSLOG_ADDRESS_BYTES])
{
    if (inet_ntop(family, address, out, ACCESSLOG_ADDRESS_BYTES) == NULL) {
        out[0] = '-';
        return 1;
    }
    return strlen(out);
}

static size_t print(const struct sockaddr *sa, bool is_cut, char out[ACCESSLOG_ADDRESS_BYTES])
{
    unsigned char bytes[16] = {0};

    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)sa;

        memcpy(bytes, &v4->sin_addr, is_cut ? NETWORK_BYTES_4 : sizeof(v4->sin_addr));
    } else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)sa;

        memcpy(bytes, &v6->sin6_addr, is_cut ? NETWORK_BYTES_6 : sizeof(v6->sin6_addr));
    }
    return print_address(sa->sa_family, bytes, out);
}

size_t accesslog_address(const struct sockaddr *sa, char out[ACCESSLOG_ADDRESS_BYTES])
{
    return print(sa, false, out);
}

size_t accesslog_network(const struct sockaddr *sa, char out[ACCESSLOG_ADDRESS_BYTES])
{
    return print(sa, true, out);
}

bool accesslog_parse(struct slice text, struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)out;
    char copy[ACCESSLOG_ADDRESS_BYTES];

    if (text.n == 0 || text.n >= sizeof(copy))
        return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    memset(out, 0, sizeof(*out));
    v4->sin_family = AF_INET;
    if (inet_pton(AF_INET, copy, &v4->sin_addr) == 1)
        return true;
    memset(out, 0, sizeof(*out));
    v6->sin6_family = AF_INET6;
    return inet_pton(AF_INET6, copy, &v6->sin6_addr) == 1;
}
