#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ_BYTES = 65536, HEAD_BYTES_MAX = 65536, SLOW_PERIOD_NS = 100 * 1000 * 1000 };
enum {
    FRAME_DATA,
    FRAME_HEADERS,
    FRAME_RESET = 3,
    FRAME_SETTINGS,
    FRAME_PING = 6,
    FRAME_GOAWAY,
    FRAME_WINDOW
};
enum {
    FLAG_END_STREAM = 1,
    FLAG_ACK = 1,
    FLAG_END_HEADERS = 4,
    FLAG_PADDED = 8,
    FLAG_PRIORITY = 32
};

static int epoll_fd = -1, listen_fd = -1;
static SSL_CTX *tls[2];
static struct load_client *clients, *dead_clients;
static struct load_origin_conn *dead_origins;
static const struct load_origin_events *origin_events;
static int status;
static char read_buffer[READ_BYTES];

/* epoll's data: the first word of these tells which it is */
enum { KIND_CLIENT = 1, KIND_ORIGIN, KIND_LISTEN };
#define TAG(p, kind) ((uint64_t)(uintptr_t)(p) | (kind))

/* ---- small things ---- */

void load_die(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(2);
}

void load_broken(const char *format, ...)
{
    va_list ap;

    fputs("BROKEN: ", stdout);
    va_start(ap, format);
    vprintf(format, ap);
    va_end(ap);
    fputc('\n', stdout);
    fflush(stdout);
    status = 1;
}

int load_status(void)
{
    return status;
}

int64_t load_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

const char *load_option(int argc, char **argv, const char *name, const char *otherwise)
{
    for (int i = 1; i + 1 < argc; i += 2)
        if (strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i] + 2, name) == 0)
            return argv[i + 1];
    if (otherwise == NULL)
        load_die("%s: --%s is missing", argv[0], name);
    return otherwise;
}

int load_number(int argc, char **argv, const char *name, int otherwise)
{
    const char *text = load_option(argc, argv, name, otherwise < 0 ? NULL : "");
    char *end;
    long n;

    if (*text == '\0')
        return otherwise;
    n = strtol(text, &end, 10);
    if (*end != '\0' || n < 0 || n > INT32_MAX)
        load_die("--%s: '%s' is no number", name, text);
    return (int)n;
}

size_t load_numbers(int argc, char **argv, const char *name, int *out, size_t max)
{
    const char *text = load_option(argc, argv, name, NULL);
    size_t n = 0;
    char *end;

    do {
        if (n == max)
            load_die("--%s: more than %zu", name, max);
        out[n++] = (int)strtol(text, &end, 10);
        if (end == text || (*end != '\0' && *end != ','))
            load_die("--%s: '%s' is no number", name, text);
        text = end + 1;
    } while (*end == ',');
    return n;
}

int load_compare_i64(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

int64_t load_quantile(int64_t *sorted, size_t n, double share)
{
    return n == 0 ? 0 : sorted[(size_t)((double)(n - 1) * share)];
}

struct load_memory load_memory(int pid)
{
    struct load_memory m = {0};
    char path[64], line[256];
    unsigned long long kib;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    f = fopen(path, "r");
    if (f == NULL)
        load_die("process %d is gone", pid);
    while (fgets(line, sizeof(line), f) != NULL) {
        if (sscanf(line, "VmRSS: %llu", &kib) == 1)
            m.rss = kib * 1024;
        if (sscanf(line, "RssAnon: %llu", &kib) == 1)
            m.anon = kib * 1024;
    }
    fclose(f);
    return m;
}

static void add(struct load_bytes *b, const void *p, size_t n)
{
    if (b->from > 0 && b->from == b->n)
        b->from = b->n = 0;
    if (b->n + n > b->capacity) {
        if (b->from > 0) {
            memmove(b->p, b->p + b->from, b->n - b->from);
            b->n -= b->from;
            b->from = 0;
        }
        while (b->n + n > b->capacity) {
            b->capacity = b->capacity == 0 ? 1024 : b->capacity * 2;
            b->p = realloc(b->p, b->capacity);
            if (b->p == NULL)
                load_die("out of memory");
        }
    }
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

static void arm(int fd, uint32_t *armed, uint32_t events, uint64_t tag)
{
    struct epoll_event e = {.events = events, .data.u64 = tag};
    int op = *armed == UINT32_MAX ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;

    if (*armed == events)
        return;
    *armed = events;
    if (epoll_ctl(epoll_fd, op, fd, &e) != 0)
        load_die("epoll_ctl: %s", strerror(errno));
}

static int make_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

    if (fd < 0)
        load_die("socket: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

void load_init(void)
{
    struct rlimit r;
    static const unsigned char *alpn[2] = {(const unsigned char *)"\x08http/1.1",
                                           (const unsigned char *)"\x02h2"};
    static const unsigned alpn_bytes[2] = {9, 3};

    signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < 2; i++) {
        tls[i] = SSL_CTX_new(TLS_client_method());
        if (tls[i] == NULL)
            load_die("no TLS");
        SSL_CTX_set_mode(tls[i], SSL_MODE_ENABLE_PARTIAL_WRITE |
                                     SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                     SSL_MODE_RELEASE_BUFFERS);
        SSL_CTX_set_ciphersuites(tls[i], "TLS_AES_128_GCM_SHA256");
        SSL_CTX_set_verify(tls[i], SSL_VERIFY_NONE, NULL); /* who it is, other tests look at */
        if (SSL_CTX_set_alpn_protos(tls[i], alpn[i], alpn_bytes[i]) != 0)
            load_die("ALPN");
    }
}

/* ---- clients: the connection ---- */

struct load_client *load_open(int port, const char *host, enum load_protocol protocol,
                              const struct load_events *events, void *user, int receive_buffer)
{
    struct load_client *c = calloc(1, sizeof(*c));
    struct sockaddr_in to = loopback(port);

    if (c == NULL)
        load_die("out of memory");
    *c = (struct load_client){.events = events,
                              .user = user,
                              .protocol = protocol,
                              .host = host,
                              .fd = make_socket(),
                              .ssl = SSL_new(tls[protocol]),
                              .stream_window = INT32_MAX,
                              .gives_windows = true,
                              .send_window = 65535,
                              .peer_stream_window = 65535,
                              .next_stream = 1,
                              .events_armed = UINT32_MAX};
    if (receive_buffer > 0)
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS)
        load_die("connect to port %d: %s", port, strerror(errno));
    SSL_set_fd(c->ssl, c->fd);
    /* the macro casts const away */
    SSL_ctrl(c->ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
             (void *)(uintptr_t)host);
    SSL_set_connect_state(c->ssl);
    arm(c->fd, &c->events_armed, EPOLLOUT, TAG(c, KIND_CLIENT));
    c->next = clients;
    if (clients != NULL)
        clients->previous = c;
    clients = c;
    return c;
}

void load_close(struct load_client *c)
{
    if (c == NULL || c->fd < 0)
        return;
    close(c->fd);
    c->fd = -1;
    if (c->previous != NULL)
        c->previous->next = c->next;
    else
        clients = c->next;
    if (c->next != NULL)
        c->next->previous = c->previous;
    c->next = dead_clients;
    dead_clients = c;
}

static void free_the_dead(void)
{
    while (dead_clients != NULL) {
        struct load_client *c = dead_clients;

        dead_clients = c->next;
        SSL_free(c->ssl);
        free(c->in.p);
        free(c->out.p);
        free(c);
    }
    while (dead_origins != NULL) {
        struct load_origin_conn *o = dead_origins;

        dead_origins = o->next;
        free(o->in.p);
        free(o->out.p);
        free(o);
    }
}

static void lose(struct load_client *c)
{
    void (*closed)(struct load_client *) = c->events->closed;

    if (c->fd < 0)
        return;
    load_close(c);
    if (closed != NULL)
        closed(c);
}

static void update_events(struct load_client *c)
{
    bool writes = !c->is_ready ? SSL_want_write(c->ssl) : c->out.n > c->out.from;
    bool reads = c->next_read_ns == 0;

    if (c->fd >= 0)
        arm(c->fd, &c->events_armed, (reads ? EPOLLIN : 0u) | (writes ? EPOLLOUT : 0u),
            TAG(c, KIND_CLIENT));
}

static void flush(struct load_client *c)
{
    while (c->fd >= 0 && c->is_ready && c->out.from < c->out.n) {
        size_t n = c->out.n - c->out.from;
        int sent = SSL_write(c->ssl, c->out.p + c->out.from, n > READ_BYTES ? READ_BYTES : (int)n);

        if (sent <= 0) {
            int e = SSL_get_error(c->ssl, sent);

            ERR_clear_error();
            if (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE)
                lose(c);
            break;
        }
        c->out.from += (size_t)sent;
    }
    update_events(c);
}

size_t load_unsent(const struct load_client *c)
{
    return c->out.n - c->out.from;
}

/* ---- HTTP/2 ---- */

static void frame(struct load_client *c, int type, int flags, uint32_t stream, const void *p,
                  size_t n)
{
    unsigned char h[9] = {
        (unsigned char)(n >> 16),      (unsigned char)(n >> 8),      (unsigned char)n,
        (unsigned char)type,           (unsigned char)flags,         (unsigned char)(stream >> 24),
        (unsigned char)(stream >> 16), (unsigned char)(stream >> 8), (unsigned char)stream};

    add(&c->out, h, sizeof(h));
    if (n > 0)
        add(&c->out, p, n);
}

static void put32(unsigned char *p, uint32_t v)
{
    p[0] = (unsigned char)(v >> 24);
    p[1] = (unsigned char)(v >> 16);
    p[2] = (unsigned char)(v >> 8);
    p[3] = (unsigned char)v;
}

static uint32_t get32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void give_window(struct load_client *c, uint32_t stream, uint32_t n)
{
    unsigned char p[4];

    put32(p, n);
    frame(c, FRAME_WINDOW, 0, stream, p, sizeof(p));
}

static void hello(struct load_client *c)
{
    /* HEADER_TABLE_SIZE 0, ENABLE_PUSH 0, INITIAL_WINDOW_SIZE */
    unsigned char s[18] = {0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 4};

    put32(s + 14, c->stream_window);
    add(&c->out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    frame(c, FRAME_SETTINGS, 0, 0, s, sizeof(s));
    give_window(c, 0, INT32_MAX - 65535);
}

/* A literal field without indexing whose name is `index` of the static table. */
static void literal(struct load_bytes *b, int index, const char *value)
{
    unsigned char h[4];
    size_t n = strlen(value), k = 0;

    if (index < 15) {
        h[k++] = (unsigned char)index;
    } else {
        h[k++] = 15;
        h[k++] = (unsigned char)(index - 15);
    }
    if (n >= 127 + 128)
        load_die("'%s' is too long", value);
    if (n < 127) {
        h[k++] = (unsigned char)n;
    } else {
        h[k++] = 127;
        h[k++] = (unsigned char)(n - 127);
    }
    add(b, h, k);
    add(b, value, n);
}

static uint32_t h2_request(struct load_client *c, bool is_post, const char *path,
                           uint64_t content_length)
{
    struct load_bytes b = {0};
    uint32_t stream = c->next_stream;
    char text[32];

    c->next_stream += 2;
    add(&b, is_post ? "\x83\x87" : "\x82\x87", 2); /* :method, :scheme https */
    literal(&b, 4, path);
    literal(&b, 1, c->host);
    if (is_post) {
        snprintf(text, sizeof(text), "%llu", (unsigned long long)content_length);
        literal(&b, 28, text);
    }
    frame(c, FRAME_HEADERS, FLAG_END_HEADERS | (is_post ? 0 : FLAG_END_STREAM), stream, b.p, b.n);
    free(b.p);
    return stream;
}

/* The status is the first field; libraries write it indexed, or literal with an indexed name. */
static int h2_status(const unsigned char *p, size_t n)
{
    static const int indexed[7] = {200, 204, 206, 304, 400, 404, 500};

    while (n > 0 && (p[0] & 0xe0) == 0x20) { /* size updates of the table */
        p++;
        n--;
    }
    if (n > 0 && p[0] >= 0x88 && p[0] <= 0x8e)
        return indexed[p[0] - 0x88];
    if (n > 4 && p[1] == 3)
        return (p[2] - '0') * 100 + (p[3] - '0') * 10 + p[4] - '0';
    if (n > 3 && p[1] == 0x82) /* Huffman: digits 0, 1, 2 have 5 bits, the others 6 */
        return (p[2] >> 3) <= 2 ? (p[2] >> 3) * 100 : ((p[2] >> 2) - 0x19 + 3) * 100;
    return 0;
}

static void h2_settings(struct load_client *c, const unsigned char *p, size_t n)
{
    for (; n >= 6; p += 6, n -= 6)
        if (p[0] == 0 && p[1] == 4)
            c->peer_stream_window = get32(p + 2);
    c->has_settings = true;
    frame(c, FRAME_SETTINGS, FLAG_ACK, 0, NULL, 0);
}

static void h2_frame(struct load_client *c, int type, int flags, uint32_t stream,
                     const unsigned char *p, size_t n)
{
    const struct load_events *ev = c->events;
    size_t whole = n;

    if ((flags & FLAG_PADDED) != 0 && (type == FRAME_DATA || type == FRAME_HEADERS) && n > 0) {
        n -= p[0] + 1u;
        p++;
    }
    if (type == FRAME_DATA) {
        if (n > 0 && ev->data != NULL)
            ev->data(c, stream, (const char *)p, n);
        if (c->fd >= 0 && c->gives_windows && whole > 0) {
            give_window(c, 0, (uint32_t)whole);
            if ((flags & FLAG_END_STREAM) == 0)
                give_window(c, stream, (uint32_t)whole);
        }
    } else if (type == FRAME_HEADERS) {
        if ((flags & FLAG_PRIORITY) != 0) {
            p += 5;
            n -= 5;
        }
        if (ev->head != NULL)
            ev->head(c, stream, h2_status(p, n));
    } else if (type == FRAME_RESET) {
        if (ev->reset != NULL)
            ev->reset(c, stream);
    } else if (type == FRAME_SETTINGS && (flags & FLAG_ACK) == 0) {
        h2_settings(c, p, n);
    } else if (type == FRAME_PING && (flags & FLAG_ACK) == 0) {
        frame(c, FRAME_PING, FLAG_ACK, 0, p, n);
    } else if (type == FRAME_GOAWAY) {
        c->goes_away = true;
    } else if (type == FRAME_WINDOW) {
        if (stream == 0)
            c->send_window += get32(p) & INT32_MAX;
        if (ev->window != NULL)
            ev->window(c, stream, get32(p) & INT32_MAX);
    }
    if (c->fd >= 0 && (type == FRAME_DATA || type == FRAME_HEADERS) &&
        (flags & FLAG_END_STREAM) != 0 && ev->end != NULL)
        ev->end(c, stream);
}

static void h2_parse(struct load_client *c)
{
    while (c->fd >= 0 && c->in.n - c->in.from >= 9) {
        const unsigned char *p = (const unsigned char *)c->in.p + c->in.from;
        size_t n = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];

        if (c->in.n - c->in.from < 9 + n)
            return;
        c->in.from += 9 + n;
        h2_frame(c, p[3], p[4], get32(p + 5) & INT32_MAX, p + 9, n);
    }
}

/* ---- HTTP/1 ---- */

static void h1_end(struct load_client *c)
{
    c->h1 = H1_HEAD;
    if (c->events->end != NULL)
        c->events->end(c, 1);
}

static bool h1_head(struct load_client *c)
{
    char *p = c->in.p + c->in.from, *end = memmem(p, c->in.n - c->in.from, "\r\n\r\n", 4), *line;
    int code;

    if (end == NULL) {
        if (c->in.n - c->in.from > HEAD_BYTES_MAX)
            load_die("a head that does not end");
        return false;
    }
    end[2] = '\0';
    c->in.from += (size_t)(end + 4 - p);
    code = atoi(p + 9);
    line = strcasestr(p, "\r\ncontent-length:");
    if (strcasestr(p, "\r\ntransfer-encoding: chunked") != NULL) {
        c->h1 = H1_CHUNK_HEAD;
    } else {
        c->h1 = H1_BODY;
        c->left = line == NULL ? UINT64_MAX : strtoull(line + 17, NULL, 10);
    }
    if (c->events->head != NULL)
        c->events->head(c, 1, code);
    if (c->fd >= 0 && c->h1 == H1_BODY && c->left == 0)
        h1_end(c);
    return true;
}

/* A line of chunk framing; NULL: not all there yet. */
static char *h1_line(struct load_client *c)
{
    char *p = c->in.p + c->in.from, *end = memmem(p, c->in.n - c->in.from, "\r\n", 2);

    if (end == NULL)
        return NULL;
    *end = '\0';
    c->in.from += (size_t)(end + 2 - p);
    return p;
}

static void h1_body(struct load_client *c)
{
    size_t n = c->in.n - c->in.from;
    const char *p = c->in.p + c->in.from;

    if (n > c->left)
        n = (size_t)c->left;
    c->in.from += n;
    c->left -= n;
    if (c->events->data != NULL)
        c->events->data(c, 1, p, n);
    if (c->fd < 0 || c->left > 0)
        return;
    if (c->h1 == H1_CHUNK)
        c->h1 = H1_CHUNK_END;
    else
        h1_end(c);
}

static void h1_parse(struct load_client *c)
{
    char *line;

    while (c->fd >= 0 && c->in.from < c->in.n) {
        switch (c->h1) {
        case H1_HEAD:
            if (!h1_head(c))
                return;
            break;
        case H1_BODY:
        case H1_CHUNK:
            h1_body(c);
            break;
        case H1_CHUNK_HEAD:
            line = h1_line(c);
            if (line == NULL)
                return;
            c->left = strtoull(line, NULL, 16);
            c->h1 = c->left == 0 ? H1_LAST : H1_CHUNK;
            break;
        case H1_CHUNK_END:
        case H1_LAST:
            line = h1_line(c);
            if (line == NULL)
                return;
            if (c->h1 == H1_LAST)
                h1_end(c);
            else
                c->h1 = H1_CHUNK_HEAD;
            break;
        }
    }
}

/* ---- clients: reading ---- */

static void parse(struct load_client *c, const char *p, size_t n)
{
    add(&c->in, p, n);
    if (c->protocol == LOAD_H2)
        h2_parse(c);
    else
        h1_parse(c);
}

static void receive(struct load_client *c)
{
    size_t budget = SIZE_MAX;

    if (c->slow_bytes_per_s > 0)
        budget = (size_t)(c->slow_bytes_per_s / (1000000000 / SLOW_PERIOD_NS));
    /* not more than a few records at once: others wait for their turn */
    for (int i = 0; i < 4 && c->fd >= 0 && budget > 0; i++) {
        int n = SSL_read(c->ssl, read_buffer, budget < READ_BYTES ? (int)budget : READ_BYTES);

        if (n <= 0) {
            int e = SSL_get_error(c->ssl, n);

            ERR_clear_error();
            if (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE)
                lose(c);
            break;
        }
        if (c->slow_bytes_per_s > 0)
            budget -= (size_t)n;
        parse(c, read_buffer, (size_t)n);
    }
    if (c->slow_bytes_per_s > 0)
        c->next_read_ns = load_now_ns() + SLOW_PERIOD_NS;
}

static void shake_hands(struct load_client *c)
{
    int r = SSL_do_handshake(c->ssl), e;
    const unsigned char *alpn;
    unsigned n;

    if (r != 1) {
        e = SSL_get_error(c->ssl, r);
        ERR_clear_error();
        if (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE)
            lose(c);
        return;
    }
    SSL_get0_alpn_selected(c->ssl, &alpn, &n);
    if ((c->protocol == LOAD_H2) != (n == 2))
        load_die("the server chose the other protocol");
    c->is_ready = true;
    if (c->protocol == LOAD_H2)
        hello(c);
    if (c->events->ready != NULL)
        c->events->ready(c);
}

static void on_client(struct load_client *c, uint32_t events)
{
    if (c->fd < 0)
        return;
    if (!c->is_ready)
        shake_hands(c);
    if (c->fd >= 0 && c->is_ready && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 &&
        c->next_read_ns == 0)
        receive(c);
    if (c->fd >= 0)
        flush(c);
}

uint32_t load_get(struct load_client *c, const char *path)
{
    char text[2048];
    uint32_t stream = 1;
    int n;

    if (c->fd < 0)
        return 0;
    if (c->protocol == LOAD_H2) {
        stream = h2_request(c, false, path, 0);
    } else {
        n = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, c->host);
        add(&c->out, text, (size_t)n);
    }
    flush(c);
    return stream;
}

uint32_t load_post(struct load_client *c, const char *path, uint64_t content_length)
{
    return h2_request(c, true, path, content_length);
}

void load_send_data(struct load_client *c, uint32_t stream, const char *p, size_t n)
{
    if (c->fd < 0)
        return;
    frame(c, FRAME_DATA, 0, stream, p, n);
    c->send_window -= (int64_t)n;
    if (load_unsent(c) > READ_BYTES)
        flush(c);
    else
        update_events(c);
}

static void wake_the_slow(int64_t now)
{
    for (struct load_client *c = clients, *next; c != NULL; c = next) {
        next = c->next;
        if (c->next_read_ns == 0 || c->next_read_ns > now)
            continue;
        c->next_read_ns = 0;
        if (SSL_pending(c->ssl) > 0)
            receive(c);
        update_events(c);
    }
}

/* ---- the origin ---- */

void load_origin_start(int port, const struct load_origin_events *events)
{
    struct sockaddr_in at = loopback(port);
    int one = 1;
    uint32_t armed = UINT32_MAX;

    origin_events = events;
    listen_fd = make_socket();
    setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listen_fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(listen_fd, 4096) != 0)
        load_die("port %d: %s", port, strerror(errno));
    arm(listen_fd, &armed, EPOLLIN, TAG(0, KIND_LISTEN));
}

static void accept_all(void)
{
    for (;;) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;
        struct load_origin_conn *o;

        if (fd < 0)
            return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        o = calloc(1, sizeof(*o));
        if (o == NULL)
            load_die("out of memory");
        o->fd = fd;
        o->events_armed = UINT32_MAX;
        arm(fd, &o->events_armed, EPOLLIN, TAG(o, KIND_ORIGIN));
    }
}

static void origin_lose(struct load_origin_conn *o)
{
    if (o->fd < 0)
        return;
    if (origin_events->closed != NULL)
        origin_events->closed(o);
    close(o->fd);
    o->fd = -1;
    o->next = dead_origins;
    dead_origins = o;
}

void load_origin_flush(struct load_origin_conn *o)
{
    while (o->fd >= 0 && o->out.from < o->out.n) {
        ssize_t n = send(o->fd, o->out.p + o->out.from, o->out.n - o->out.from, MSG_NOSIGNAL);

        if (n < 0) {
            if (errno != EAGAIN) {
                origin_lose(o);
                return;
            }
            break;
        }
        o->out.from += (size_t)n;
    }
    if (o->fd >= 0)
        arm(o->fd, &o->events_armed, EPOLLIN | (o->out.from < o->out.n ? EPOLLOUT : 0u),
            TAG(o, KIND_ORIGIN));
}

void load_origin_write(struct load_origin_conn *o, const void *p, size_t n)
{
    add(&o->out, p, n);
}

size_t load_origin_unsent(const struct load_origin_conn *o)
{
    return o->out.n - o->out.from;
}

static void origin_parse(struct load_origin_conn *o)
{
    char *p = o->in.p + o->in.from, *end;

    if (o->is_busy || o->in.n == o->in.from)
        return;
    end = memmem(p, o->in.n - o->in.from, "\r\n\r\n", 4);
    if (end == NULL)
        return;
    o->in.from += (size_t)(end + 4 - p);
    *end = '\0';
    if (sscanf(p, "%*s %1023s", o->path) != 1)
        load_die("the origin was asked '%s'", p);
    o->head = p;
    o->is_busy = true;
    o->sent = 0;
    origin_events->request(o);
}

void load_origin_done(struct load_origin_conn *o)
{
    o->is_busy = false;
    origin_parse(o);
}

static void on_origin(struct load_origin_conn *o, uint32_t events)
{
    ssize_t n;

    if (o->fd < 0)
        return;
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        n = recv(o->fd, read_buffer, sizeof(read_buffer), 0);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            origin_lose(o);
            return;
        }
        if (n > 0) {
            add(&o->in, read_buffer, (size_t)n);
            origin_parse(o);
        }
    }
    if (o->fd >= 0 && (events & EPOLLOUT) != 0) {
        load_origin_flush(o);
        if (o->fd >= 0 && o->is_busy && o->out.from == o->out.n && origin_events->writable != NULL)
            origin_events->writable(o);
    }
}

/* ---- the loop ---- */

bool load_run(bool (*done)(void), void (*tick)(void), int seconds)
{
    int64_t until = load_now_ns() + seconds * INT64_C(1000000000);
    struct epoll_event e[256];

    while (!done()) {
        int64_t now = load_now_ns();
        int n = epoll_wait(epoll_fd, e, sizeof(e) / sizeof(e[0]), 1);

        if (now > until)
            return false;
        for (int i = 0; i < n; i++) {
            void *p = (void *)(uintptr_t)(e[i].data.u64 & ~UINT64_C(7));

            if ((e[i].data.u64 & 7) == KIND_CLIENT)
                on_client(p, e[i].events);
            else if ((e[i].data.u64 & 7) == KIND_ORIGIN)
                on_origin(p, e[i].events);
            else
                accept_all();
            if (tick != NULL && i % 16 == 15)
                tick();
        }
        wake_the_slow(now);
        if (tick != NULL)
            tick();
        free_the_dead();
    }
    return true;
}
