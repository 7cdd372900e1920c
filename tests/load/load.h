/*
 * load: what the drivers of tests/load share: many clients over TLS in one loop, and an origin in
 * the same loop.
 *
 * Clients speak HTTP/1.1 or HTTP/2, of which just as much as is needed to ask and to misbehave:
 * windows and unfinished bodies are the driver's to choose.  The server's fields are not looked at,
 * but for :status, so SETTINGS forbids it the dynamic table.  One thread.  Whatever fails in the
 * driver itself ends the process with status 2; a broken promise is status 1.
 */
#ifndef LOAD_LOAD_H
#define LOAD_LOAD_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum load_protocol { LOAD_H1, LOAD_H2 };

struct load_bytes {
    char *p;
    size_t n, capacity, from; /* bytes before `from` are gone */
};

struct load_client;

/* Told in the loop; any of them may be NULL.  `stream` is 1 over HTTP/1. */
struct load_events {
    void (*ready)(struct load_client *c); /* the handshake is over */
    void (*head)(struct load_client *c, uint32_t stream, int status);
    void (*data)(struct load_client *c, uint32_t stream, const char *p, size_t n);
    void (*end)(struct load_client *c, uint32_t stream);   /* a response is whole */
    void (*reset)(struct load_client *c, uint32_t stream); /* one stream was cut */
    void (*closed)(
        struct load_client *c); /* by the other side, or it broke; not after load_close() */
    void (*window)(struct load_client *c, uint32_t stream,
                   uint32_t n); /* so much more may be sent; 0: in all */
};

struct load_client {
    /* Set by load_open(). */
    const struct load_events *events;
    void *user;
    enum load_protocol protocol;
    const char *host;
    int fd; /* -1: closed */
    SSL *ssl;
    bool is_ready, has_settings, goes_away; /* has_settings: the server's have come */

    /* To be set before it is ready. */
    uint32_t stream_window; /* SETTINGS_INITIAL_WINDOW_SIZE */
    bool gives_windows;     /* give back what was read; on by default */

    /* Sending bodies over HTTP/2: what the server allows now. */
    int64_t send_window;
    uint32_t peer_stream_window;

    uint64_t slow_bytes_per_s; /* 0: reads as fast as it can */
    int64_t next_read_ns;

    struct load_bytes in, out;
    uint32_t next_stream;
    /* HTTP/1 */
    enum { H1_HEAD, H1_BODY, H1_CHUNK_HEAD, H1_CHUNK, H1_CHUNK_END, H1_LAST } h1;
    uint64_t left;
    uint32_t events_armed;
    struct load_client *previous, *next;
};

/* One connection to the origin, plain HTTP/1.1. */
struct load_origin_conn {
    int fd;
    struct load_bytes in, out;
    char path[1024];
    const char *head; /* of the request, ended by NUL; during the call of request() */
    bool is_busy;     /* a response is under way */
    void *user;
    uint64_t sent; /* body bytes handed over */
    uint32_t events_armed;
    struct load_origin_conn *next, *previous;
};

struct load_origin_events {
    void (*request)(struct load_origin_conn *o);  /* path is set */
    void (*writable)(struct load_origin_conn *o); /* all that was handed over is out */
    void (*closed)(struct load_origin_conn *o);
};

void load_init(void);
int64_t load_now_ns(void); /* CLOCK_MONOTONIC */

/* Turn the loop until `done` says so: true, or the time is over: false.  `tick`, called at least
 * every millisecond, may be NULL. */
bool load_run(bool (*done)(void), void (*tick)(void), int seconds);

/* Begin to connect to 127.0.0.1:`port`.  `receive_buffer` bytes of the socket, 0: the system's.
 * Ends with load_close(). */
struct load_client *load_open(int port, const char *host, enum load_protocol protocol,
                              const struct load_events *events, void *user, int receive_buffer);
void load_close(struct load_client
                    *c); /* at once, without a goodbye; NULL is fine.  Freed by the loop later. */

uint32_t load_get(struct load_client *c, const char *path);
/* HTTP/2: a POST whose body is sent by load_send_data(). */
uint32_t load_post(struct load_client *c, const char *path, uint64_t content_length);
void load_send_data(struct load_client *c, uint32_t stream, const char *p,
                    size_t n); /* n <= 16,384; counts against send_window */
size_t load_unsent(const struct load_client *c);

void load_origin_start(int port, const struct load_origin_events *events);
void load_origin_write(struct load_origin_conn *o, const void *p, size_t n);
size_t load_origin_unsent(const struct load_origin_conn *o);
void load_origin_flush(struct load_origin_conn *o);
void load_origin_done(
    struct load_origin_conn *o); /* the response is whole: the next request may come */

/* Memory of process `pid`, bytes. */
struct load_memory {
    uint64_t rss, anon;
};
struct load_memory load_memory(int pid);

/* The value of `--name`, or `otherwise`; with NULL as that it is required. */
const char *load_option(int argc, char **argv, const char *name, const char *otherwise);
int load_number(int argc, char **argv, const char *name, int otherwise);

/* The numbers of `--name 1,2,3`, which is required; how many. */
size_t load_numbers(int argc, char **argv, const char *name, int *out, size_t max);

/* Value at a share (0..1) of n sorted values. */
int load_compare_i64(const void *a, const void *b);
int64_t load_quantile(int64_t *sorted, size_t n, double share);

void load_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Say that a promise is broken; load_status() is 1 from then on. */
void load_broken(const char *format, ...) __attribute__((format(printf, 1, 2)));
int load_status(void);

#endif
