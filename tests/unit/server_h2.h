/* A client of HTTP/2 that says exactly what a test wants said, sense or nonsense.  Over TLS,
 * blocking. */
#ifndef TESTS_SERVER_H2_H
#define TESTS_SERVER_H2_H

#include "server_certs.h"
#include "server_world.h"

enum {
    H2_DATA,
    H2_HEADERS,
    H2_PRIORITY,
    H2_RST_STREAM,
    H2_SETTINGS,
    H2_PUSH,
    H2_PING,
    H2_GOAWAY,
    H2_WINDOW_UPDATE,
    H2_CONTINUATION
};
enum { H2_END_STREAM = 1, H2_END_HEADERS = 4 };

struct h2 {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
    uint32_t next_stream;
};

struct h2_block {
    unsigned char p[40000];
    size_t n;
};

/* What came on a stream, or what ended the connection. */
struct h2_answer {
    unsigned type;   /* of the frame that ended it; 99: the connection was closed */
    unsigned error;  /* of RST_STREAM and GOAWAY */
    char status[4];  /* "" when there was no head */
    char body[4096]; /* the beginning */
    size_t body_bytes;
};

static inline void h2_open(struct h2 *h, size_t listener, const char *sni)
{
    static const char preface[] =
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"; /* and SETTINGS */

    h->ctx = SSL_CTX_new(TLS_client_method());
    h->ssl = SSL_new(h->ctx);
    h->fd = client_connect(listener);
    h->next_stream = 1;
    SSL_set_fd(h->ssl, h->fd);
    SSL_set_tlsext_host_name(h->ssl, sni);
    SSL_set_alpn_protos(h->ssl, (const unsigned char *)"\x02h2", 3);
    assert_int_equal(SSL_connect(h->ssl), 1);
    SSL_write(h->ssl, preface, sizeof(preface) - 1);
}

static inline void h2_close(struct h2 *h)
{
    SSL_free(h->ssl);
    SSL_CTX_free(h->ctx);
    close(h->fd);
}

/* Write a frame to memory; `p` NULL: zeroes. */
static inline size_t h2_put(char *to, unsigned type, unsigned flags, uint32_t stream, const void *p,
                            size_t bytes)
{
    unsigned char head[9] = {
        (unsigned char)(bytes >> 16),  (unsigned char)(bytes >> 8),  (unsigned char)bytes,
        (unsigned char)type,           (unsigned char)flags,         (unsigned char)(stream >> 24),
        (unsigned char)(stream >> 16), (unsigned char)(stream >> 8), (unsigned char)stream};

    memcpy(to, head, sizeof(head));
    if (p != NULL)
        memcpy(to + sizeof(head), p, bytes);
    else
        memset(to + sizeof(head), 0, bytes);
    return sizeof(head) + bytes;
}

static inline void h2_frame(struct h2 *h, unsigned type, unsigned flags, uint32_t stream,
                            const void *p, size_t bytes)
{
    static char frame[17000];

    SSL_write(h->ssl, frame,
              (int)h2_put(frame, type, flags, stream, p,
                          bytes)); /* may fail once the server has had enough */
}

static inline void h2_integer(struct h2_block *b, size_t v, unsigned bits, unsigned char first)
{
    size_t max = (1u << bits) - 1;

    if (v < max) {
        b->p[b->n++] = (unsigned char)(first | v);
        return;
    }
    b->p[b->n++] = (unsigned char)(first | max);
    for (v -= max; v >= 128; v >>= 7)
        b->p[b->n++] = (unsigned char)(v | 128);
    b->p[b->n++] = (unsigned char)v;
}

/* A literal without indexing. */
static inline void h2_field(struct h2_block *b, const char *name, const char *value)
{
    b->p[b->n++] = 0;
    h2_integer(b, strlen(name), 7, 0);
    memcpy(b->p + b->n, name, strlen(name));
    b->n += strlen(name);
    h2_integer(b, strlen(value), 7, 0);
    memcpy(b->p + b->n, value, strlen(value));
    b->n += strlen(value);
}

static inline void h2_request(struct h2_block *b, const char *method, const char *path)
{
    b->n = 0;
    h2_field(b, ":method", method);
    h2_field(b, ":scheme", "https");
    h2_field(b, ":authority", "a.test");
    h2_field(b, ":path", path);
}

/* Send it whole; the stream. */
static inline uint32_t h2_ask(struct h2 *h, const struct h2_block *b, unsigned flags)
{
    uint32_t stream = h->next_stream;

    h->next_stream += 2;
    h2_frame(h, H2_HEADERS, flags | H2_END_HEADERS, stream, b->p, b->n);
    return stream;
}

static inline bool h2_read(struct h2 *h, void *to, size_t bytes)
{
    char *at = to;

    while (bytes > 0) {
        int n = SSL_read(h->ssl, at, (int)bytes);

        if (n <= 0)
            return false;
        at += n;
        bytes -= (size_t)n;
    }
    return true;
}

static inline void h2_status(struct h2_answer *a, const unsigned char *p)
{
    static const char *const indexed[] = {"200", "204", "206", "304", "400", "404", "500"};

    if (p[0] >= 0x88 && p[0] <= 0x8e)
        strcpy(a->status, indexed[p[0] - 0x88]);
    else
        snprintf(a->status, sizeof(a->status), "%.3s",
                 p + 2); /* a literal value of the static name */
}

/* Read frames until `stream` has ended or the connection has. */
static inline void h2_wait(struct h2 *h, uint32_t stream, struct h2_answer *a)
{
    unsigned char head[9];
    static unsigned char p[20000];

    memset(a, 0, sizeof(*a));
    while (h2_read(h, head, sizeof(head))) {
        size_t bytes = ((size_t)head[0] << 16) | ((size_t)head[1] << 8) | head[2];
        uint32_t id = ((uint32_t)head[5] << 24) | ((uint32_t)head[6] << 16) |
                      ((uint32_t)head[7] << 8) | head[8];

        if (!h2_read(h, p, bytes))
            break;
        a->type = head[3];
        if (a->type == H2_GOAWAY && p[7] != 0) {
            a->error = p[7];
            return;
        }
        if (id != stream)
            continue;
        if (a->type == H2_RST_STREAM) {
            a->error = p[3];
            return;
        }
        if (a->type == H2_HEADERS) {
            h2_status(a, p);
        } else if (a->type == H2_DATA) {
            size_t room = sizeof(a->body) - 1 -
                          (a->body_bytes < sizeof(a->body) ? a->body_bytes : sizeof(a->body) - 1);

            memcpy(a->body + (a->body_bytes < sizeof(a->body) ? a->body_bytes : 0), p,
                   bytes < room ? bytes : room);
            a->body_bytes += bytes;
        }
        if ((a->type == H2_HEADERS || a->type == H2_DATA) && (head[4] & H2_END_STREAM) != 0)
            return;
    }
    a->type = 99;
}

/* A worker with a certificate, and a connection to it. */
static inline void h2_start(struct h2 *h)
{
    certs_write(certs_path("a.pem"), certs_path("a.pem"), "DNS:a.test", false);
    world_start(certs_path("a.pem"));
    h2_open(h, 1, "a.test");
}

static inline void h2_end(struct h2 *h)
{
    h2_close(h);
    world_end();
    unlink(certs_path("a.pem"));
}

#endif
