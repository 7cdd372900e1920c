#include "fake_origin.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "base/check.h"

enum { CONNECTIONS_MAX = 256, REQUESTS_MAX = 256, REQUEST_BYTES_MAX = 8 << 20, TIMEOUT_S = 20 };

struct origin_conn {
    struct origin *origin;
    unsigned number;
    pthread_t thread;
    int fd; /* -1: closed; under the origin's lock */
    SSL *ssl;
    char sni[256];
    char *have; /* read and not used yet */
    size_t have_bytes, have_capacity;
};

struct origin {
    origin_script *serve;
    void *user;
    SSL_CTX *tls;
    int fd, port;
    char url[64];
    pthread_t thread;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_open, is_over;
    struct origin_conn *conn[CONNECTIONS_MAX];
    unsigned connections, requests;
    char *request[REQUESTS_MAX];
};

static void finish_socket(struct origin_conn *c, bool reset)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    if (c->ssl != NULL && !reset)
        SSL_shutdown(c->ssl);
    pthread_mutex_lock(&c->origin->lock);
    if (c->fd >= 0) {
        if (reset)
            setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        close(c->fd);
    }
    c->fd = -1;
    pthread_mutex_unlock(&c->origin->lock);
}

static bool start_tls(struct origin_conn *c)
{
    const char *name;

    if (c->origin->tls == NULL)
        return true;
    c->ssl = SSL_new(c->origin->tls);
    CHECK(c->ssl != NULL);
    SSL_set_fd(c->ssl, c->fd);
    if (SSL_accept(c->ssl) != 1)
        return false;
    name = SSL_get_servername(c->ssl, TLSEXT_NAMETYPE_host_name);
    snprintf(c->sni, sizeof(c->sni), "%s", name == NULL ? "" : name);
    return true;
}

static void *run_connection(void *user)
{
    struct origin_conn *c = user;

    if (start_tls(c))
        c->origin->serve(c, c->origin->user);
    finish_socket(c, false);
    SSL_free(c->ssl);
    c->ssl = NULL;
    return NULL;
}

static void *run_listener(void *user)
{
    struct timeval limit = {.tv_sec = TIMEOUT_S};
    struct origin *o = user;
    int fd, yes = 1;

    while ((fd = accept(o->fd, NULL, NULL)) >= 0) {
        struct origin_conn *c = calloc(1, sizeof(*c));

        CHECK(c != NULL);
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
        c->origin = o;
        c->fd = fd;
        pthread_mutex_lock(&o->lock);
        CHECK(o->connections < CONNECTIONS_MAX);
        c->number = o->connections;
        o->conn[o->connections++] = c;
        CHECK(pthread_create(&c->thread, NULL, run_connection, c) == 0);
        pthread_mutex_unlock(&o->lock);
    }
    return NULL;
}

struct origin *origin_start(origin_script *serve, void *user, const char *cert, const char *key)
{
    struct origin *o = calloc(1, sizeof(*o));
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof(at);

    CHECK(o != NULL);
    o->serve = serve;
    o->user = user;
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->changed, NULL);
    if (cert != NULL) {
        o->tls = SSL_CTX_new(TLS_server_method());
        CHECK(SSL_CTX_use_certificate_chain_file(o->tls, cert) == 1);
        CHECK(SSL_CTX_use_PrivateKey_file(o->tls, key, SSL_FILETYPE_PEM) == 1);
    }
    o->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(o->fd >= 0);
    CHECK(bind(o->fd, (struct sockaddr *)&at, bytes) == 0);
    CHECK(listen(o->fd, 64) == 0);
    CHECK(getsockname(o->fd, (struct sockaddr *)&at, &bytes) == 0);
    o->port = ntohs(at.sin_port);
    snprintf(o->url, sizeof(o->url), "http%s://127.0.0.1:%d", cert != NULL ? "s" : "", o->port);
    CHECK(pthread_create(&o->thread, NULL, run_listener, o) == 0);
    return o;
}

void origin_stop(struct origin *o)
{
    pthread_mutex_lock(&o->lock);
    o->is_over = true;
    pthread_cond_broadcast(&o->changed);
    pthread_mutex_unlock(&o->lock);
    shutdown(o->fd, SHUT_RDWR); /* accept() returns */
    pthread_join(o->thread, NULL);
    close(o->fd);
    for (unsigned i = 0; i < o->connections; i++) {
        struct origin_conn *c = o->conn[i];

        pthread_mutex_lock(&o->lock);
        if (c->fd >= 0)
            shutdown(c->fd, SHUT_RDWR);
        pthread_mutex_unlock(&o->lock);
        pthread_join(c->thread, NULL);
        free(c->have);
        free(c);
    }
    for (unsigned i = 0; i < o->requests; i++)
        free(o->request[i]);
    SSL_CTX_free(o->tls);
    pthread_cond_destroy(&o->changed);
    pthread_mutex_destroy(&o->lock);
    free(o);
}

const char *origin_url(const struct origin *o)
{
    return o->url;
}

int origin_port(const struct origin *o)
{
    return o->port;
}

unsigned origin_connections(struct origin *o)
{
    unsigned n;

    pthread_mutex_lock(&o->lock);
    n = o->connections;
    pthread_mutex_unlock(&o->lock);
    return n;
}

unsigned origin_requests(struct origin *o)
{
    unsigned n;

    pthread_mutex_lock(&o->lock);
    n = o->requests;
    pthread_mutex_unlock(&o->lock);
    return n;
}

const char *origin_request(struct origin *o, unsigned number)
{
    const char *text;

    pthread_mutex_lock(&o->lock);
    CHECK(number < o->requests);
    text = o->request[number];
    pthread_mutex_unlock(&o->lock);
    return text;
}

void origin_open_gate(struct origin *o)
{
    pthread_mutex_lock(&o->lock);
    o->is_open = true;
    pthread_cond_broadcast(&o->changed);
    pthread_mutex_unlock(&o->lock);
}

unsigned origin_number(const struct origin_conn *c)
{
    return c->number;
}

const char *origin_sni(const struct origin_conn *c)
{
    return c->sni;
}

bool origin_wait_gate(struct origin_conn *c)
{
    struct origin *o = c->origin;
    bool is_over;

    pthread_mutex_lock(&o->lock);
    while (!o->is_open && !o->is_over)
        pthread_cond_wait(&o->changed, &o->lock);
    is_over = o->is_over;
    pthread_mutex_unlock(&o->lock);
    return !is_over;
}

/* Read once more into `have`; false at the end. */
static bool read_more(struct origin_conn *c)
{
    ssize_t n;

    if (c->have_capacity < c->have_bytes + 65536 + 1) {
        c->have_capacity = 2 * c->have_bytes + 65536 + 1;
        c->have = realloc(c->have, c->have_capacity);
        CHECK(c->have != NULL);
    }
    n = c->ssl != NULL ? SSL_read(c->ssl, c->have + c->have_bytes, 65536)
                       : recv(c->fd, c->have + c->have_bytes, 65536, 0);
    if (n <= 0)
        return false;
    c->have_bytes += (size_t)n;
    c->have[c->have_bytes] = '\0';
    CHECK(c->have_bytes < REQUEST_BYTES_MAX);
    return true;
}

static size_t body_bytes(const char *head)
{
    const char *at = strcasestr(head, "\r\nContent-Length:");

    return at == NULL ? 0 : (size_t)strtoul(at + strlen("\r\nContent-Length:"), NULL, 10);
}

bool origin_read(struct origin_conn *c)
{
    struct origin *o = c->origin;
    size_t bytes;
    char *end;

    while (c->have_bytes == 0 || (end = strstr(c->have, "\r\n\r\n")) == NULL)
        if (!read_more(c))
            return false;
    bytes = (size_t)(end - c->have) + 4;
    bytes += body_bytes(c->have);
    while (c->have_bytes < bytes)
        if (!read_more(c))
            return false;
    pthread_mutex_lock(&o->lock);
    CHECK(o->requests < REQUESTS_MAX);
    o->request[o->requests] = malloc(bytes + 1);
    CHECK(o->request[o->requests] != NULL);
    memcpy(o->request[o->requests], c->have, bytes);
    o->request[o->requests++][bytes] = '\0';
    pthread_mutex_unlock(&o->lock);
    c->have_bytes -= bytes;
    memmove(c->have, c->have + bytes, c->have_bytes + 1);
    return true;
}

bool origin_send(struct origin_conn *c, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t sent =
            c->ssl != NULL ? SSL_write(c->ssl, p, (int)n) : send(c->fd, p, n, MSG_NOSIGNAL);

        if (sent <= 0)
            return false;
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

bool origin_say(struct origin_conn *c, const char *text)
{
    return origin_send(c, text, strlen(text));
}

void origin_reset(struct origin_conn *c)
{
    finish_socket(c, true);
}

void origin_wait_end(struct origin_conn *c)
{
    while (read_more(c))
        c->have_bytes = 0;
}
