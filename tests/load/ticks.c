/*
 * ticks: event streams through the edge, each event on its way at once; and hits beside them.
 *
 *   ticks --edge PORT --origin PORT --host NAME --protocol h1|h2 [--streams 1000] [--seconds 10]
 * [--hits 500]
 *
 * The origin is in here: each stream sends an event ten times a second, spread evenly, with the
 * time at which it was written.  Every event must arrive within 50 ms, in order, none lost.  A
 * process of its own asks for an object of 1 KiB that is stored, `hits` times a second, once
 * without the streams and once beside them: the 99th percentile may double.  The edge's site passes
 * /ticks/ as a stream and allows enough connections.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"

enum {
    PERIOD_NS = 100 * 1000 * 1000,
    LATE_NS = 50 * 1000 * 1000,
    EVENT_BYTES = 64,
    STREAMS_A_CONNECTION = 50
};
enum { HIT_BYTES = 1024, HIT_CONNECTIONS = 8, HIT_STREAMS = 4096 };
#define SLOWER_MAX 2.0

struct stream {
    struct load_client *client;
    uint32_t id;
    uint64_t next; /* number of the event that is due */
    char part[EVENT_BYTES];
    size_t part_bytes;
};

static struct stream *streams;
static struct load_origin_conn **sources;
static uint64_t *source_next;
static size_t count, connected, clients_count, opened, sources_count, cursor;
static int64_t turn_ns, started_ns, stop_ns, *latency;
static size_t latency_count, latency_max;
static bool fails, measures;
static uint64_t lost_events;
static int64_t last_late_ns; /* when the last event was sent that came late */

/* ---- the origin ---- */

/* An event is a chunk of its own: "%02x\r\n" and 64 bytes with the number and the time. */
static void send_event(size_t i)
{
    char text[EVENT_BYTES + 16], event[EVENT_BYTES + 1];
    int n = snprintf(event, sizeof(event), "id: %010llu\ndata: %020lld",
                     (unsigned long long)source_next[i]++, (long long)load_now_ns());

    memset(event + n, ' ', (size_t)(EVENT_BYTES - n));
    memcpy(event + EVENT_BYTES - 2, "\n\n", 2);
    n = snprintf(text, sizeof(text), "%x\r\n%.*s\r\n", EVENT_BYTES, EVENT_BYTES, event);
    load_origin_write(sources[i], text, (size_t)n);
    load_origin_flush(sources[i]);
}

static void on_request(struct load_origin_conn *o)
{
    static const char stream_head[] =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
        "Transfer-Encoding: chunked\r\n\r\n";
    char head[256], hit[HIT_BYTES];

    if (strncmp(o->path, "/ticks/", 7) == 0) {
        load_origin_write(o, stream_head, sizeof(stream_head) - 1);
        o->user = o;
        sources[sources_count] = o;
        send_event(sources_count++); /* proxies may hold a head back until there is a body */
    } else {
        memset(hit, 'h', sizeof(hit));
        load_origin_write(
            o, head,
            (size_t)snprintf(
                head, sizeof(head),
                "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nCache-Control: max-age=3600\r\n\r\n",
                HIT_BYTES));
        load_origin_write(o, hit, sizeof(hit));
    }
    load_origin_flush(o);
    if (o->user == NULL)
        load_origin_done(o);
}

static void on_origin_closed(struct load_origin_conn *o)
{
    if (o->user != NULL && !fails)
        load_broken("the edge closed a stream towards the origin");
    fails |= o->user != NULL;
    for (size_t i = 0; i < sources_count; i++)
        if (sources[i] == o)
            sources[i] = NULL;
}

static const struct load_origin_events origin = {.request = on_request, .closed = on_origin_closed};

static void tick(void)
{
    int64_t now = load_now_ns();

    while (sources_count == count &&
           now >= turn_ns + (int64_t)cursor * PERIOD_NS / (int64_t)count) {
        if (sources[cursor] != NULL)
            send_event(cursor);
        if (++cursor == count) {
            cursor = 0;
            turn_ns += PERIOD_NS;
        }
    }
}

/* ---- the clients ---- */

static void on_ready(struct load_client *c)
{
    (void)c;
    connected++;
}

static void on_head(struct load_client *c, uint32_t stream, int code)
{
    (void)c;
    (void)stream;
    if (code != 200 && !fails) {
        fails = true;
        load_broken("a stream was answered by %d", code);
    }
    opened++;
}

static void got_event(struct stream *s)
{
    unsigned long long number;
    long long sent;
    int64_t now = load_now_ns();

    if (sscanf(s->part, "id: %llu data: %lld", &number, &sent) != 2)
        load_die("an event that is none: %.*s", EVENT_BYTES, s->part);
    if (number != s->next)
        lost_events++;
    s->next = number + 1;
    if (measures && sent >= started_ns && latency_count < latency_max)
        latency[latency_count++] = now - sent;
    if (measures && sent >= started_ns && now - sent > LATE_NS && sent > last_late_ns)
        last_late_ns = sent;
}

static void on_data(struct load_client *c, uint32_t id, const char *p, size_t n)
{
    struct stream *s = c->user;

    if (c->protocol == LOAD_H2)
        s += (id - 1) / 2;
    while (n > 0) {
        size_t part = EVENT_BYTES - s->part_bytes < n ? EVENT_BYTES - s->part_bytes : n;

        memcpy(s->part + s->part_bytes, p, part);
        s->part_bytes += part;
        p += part;
        n -= part;
        if (s->part_bytes == EVENT_BYTES) {
            s->part_bytes = 0;
            got_event(s);
        }
    }
}

static void on_cut(struct load_client *c, uint32_t id)
{
    (void)c;
    if (!fails)
        load_broken("stream %u ended", id);
    fails = true;
}

static void on_closed(struct load_client *c)
{
    on_cut(c, 0);
}

static const struct load_events events = {.ready = on_ready,
                                          .head = on_head,
                                          .data = on_data,
                                          .end = on_cut,
                                          .reset = on_cut,
                                          .closed = on_closed};

static bool all_connected(void)
{
    return connected == clients_count || fails;
}

static bool all_open(void)
{
    return (opened == count && sources_count == count) || fails;
}

static bool is_over(void)
{
    return load_now_ns() >= stop_ns || fails;
}

/* ---- hits, in a process of their own ---- */

struct hit_client {
    struct load_client *client;
    int64_t asked[HIT_STREAMS]; /* by stream, round and round */
};

static struct hit_client hit_clients[HIT_CONNECTIONS];
static int hits_per_s;
static size_t hits_asked;

static void hit_end(struct load_client *c, uint32_t id)
{
    struct hit_client *h = c->user;

    if (latency_count < latency_max)
        latency[latency_count++] = load_now_ns() - h->asked[id / 2 % HIT_STREAMS];
}

static void hit_head(struct load_client *c, uint32_t id, int code)
{
    (void)c;
    (void)id;
    if (code != 200)
        load_die("a hit was answered by %d", code);
}

static void hit_closed(struct load_client *c)
{
    (void)c;
    load_die("a connection for hits was closed");
}

static const struct load_events hit_events = {
    .ready = on_ready, .head = hit_head, .end = hit_end, .closed = hit_closed};

static void ask_hits(void)
{
    int64_t now = load_now_ns();

    while (connected == clients_count && now < stop_ns &&
           now >= turn_ns + (int64_t)hits_asked * 1000000000 / hits_per_s) {
        struct hit_client *h = &hit_clients[hits_asked++ % HIT_CONNECTIONS];
        uint32_t id = h->client->next_stream;

        h->asked[id / 2 % HIT_STREAMS] = load_now_ns();
        load_get(h->client, "/hit");
    }
}

static bool hits_over(void)
{
    return load_now_ns() >= stop_ns && latency_count == hits_asked;
}

/* The 99th percentile in ns, sent through `to`. */
static void hits_process(int edge, const char *host, int seconds, int to)
{
    int64_t p99;

    connected = latency_count = 0;
    clients_count = HIT_CONNECTIONS;
    for (int i = 0; i < HIT_CONNECTIONS; i++)
        hit_clients[i].client = load_open(edge, host, LOAD_H2, &hit_events, &hit_clients[i], 0);
    fails = false;
    if (!load_run(all_connected, NULL, 10))
        load_die("no connection for hits");
    turn_ns = load_now_ns();
    stop_ns = turn_ns + seconds * INT64_C(1000000000);
    if (!load_run(hits_over, ask_hits, seconds + 10))
        load_die("%zu of %zu hits were answered", latency_count, hits_asked);
    qsort(latency, latency_count, sizeof(*latency), load_compare_i64);
    p99 = load_quantile(latency, latency_count, 0.99);
    printf("%zu hits: p50 %.2f ms, p99 %.2f ms\n", latency_count,
           (double)load_quantile(latency, latency_count, 0.5) / 1e6, (double)p99 / 1e6);
    fflush(stdout);
    if (write(to, &p99, sizeof(p99)) != sizeof(p99))
        load_die("pipe");
}

struct hits {
    pid_t child;
    int go, result;
};

/* The process is made while we are small: once a thousand connections have touched their memory, a
 * fork makes each of its pages fault anew, and events come late for it. */
static void hits_prepare(struct hits *h, int edge, const char *host, int seconds)
{
    int go[2], result[2];
    char byte;

    fflush(stdout);
    if (pipe(go) != 0 || pipe(result) != 0 || (h->child = fork()) < 0)
        load_die("no process for hits");
    if (h->child == 0) {
        close(go[1]);
        if (read(go[0], &byte, 1) != 1)
            _exit(1);
        load_init(); /* a loop of its own */
        hits_process(edge, host, seconds, result[1]);
        _exit(0);
    }
    close(go[0]);
    close(result[1]);
    h->go = go[1];
    h->result = result[0];
}

static void hits_begin(struct hits *h)
{
    if (write(h->go, "", 1) != 1)
        load_die("pipe");
}

static double hits_end(struct hits *h)
{
    int64_t p99;
    int how;

    if (read(h->result, &p99, sizeof(p99)) != sizeof(p99))
        load_die("the process for hits failed");
    close(h->result);
    close(h->go);
    waitpid(h->child, &how, 0);
    return (double)p99 / 1e6;
}

/* ---- ---- */

static void open_streams(int edge, const char *host, enum load_protocol protocol)
{
    size_t each = protocol == LOAD_H2 ? STREAMS_A_CONNECTION : 1;
    char path[64];

    clients_count = (count + each - 1) / each;
    connected = 0;
    for (size_t i = 0; i < count; i++)
        streams[i].client = i % each == 0 ? load_open(edge, host, protocol, &events, &streams[i], 0)
                                          : streams[i - 1].client;
    if (!load_run(all_connected, NULL, 60))
        load_die("%zu of %zu connections", connected, clients_count);
    for (size_t i = 0; i < count; i++) {
        snprintf(path, sizeof(path), "/ticks/%zu", i);
        streams[i].id = load_get(streams[i].client, path);
    }
    if (!load_run(all_open, NULL, 60))
        load_broken("%zu of %zu streams were opened, %zu at the origin", opened, count,
                    sources_count);
}

static void report_events(int seconds)
{
    uint64_t late = 0, expected = count * 10ull * (unsigned)seconds;

    for (size_t i = 0; i < latency_count; i++)
        late += latency[i] > LATE_NS;
    qsort(latency, latency_count, sizeof(*latency), load_compare_i64);
    printf("%zu events on %zu streams: p50 %.2f ms, p99 %.2f ms, most %.2f ms\n", latency_count,
           count, (double)load_quantile(latency, latency_count, 0.5) / 1e6,
           (double)load_quantile(latency, latency_count, 0.99) / 1e6,
           (double)load_quantile(latency, latency_count, 1) / 1e6);
    if (late > 0)
        load_broken(
            "%llu events came after 50 ms, the last of them sent %.2f s after the beginning",
            (unsigned long long)late, (double)(last_late_ns - started_ns) / 1e9);
    if (lost_events > 0)
        load_broken("%llu events were lost or out of order", (unsigned long long)lost_events);
    if (latency_count < expected * 9 / 10)
        load_broken("%zu events came instead of %llu", latency_count, (unsigned long long)expected);
}

int main(int argc, char **argv)
{
    int edge = load_number(argc, argv, "edge", -1),
        seconds = load_number(argc, argv, "seconds", 10);
    const char *host = load_option(argc, argv, "host", NULL),
               *protocol = load_option(argc, argv, "protocol", NULL);
    struct hits hits;
    double alone, beside;

    count = (size_t)load_number(argc, argv, "streams", 1000);
    hits_per_s = load_number(argc, argv, "hits", 500);
    latency_max = (count * 10 + (size_t)hits_per_s) * (size_t)(seconds + 2);
    streams = calloc(count, sizeof(*streams));
    sources = calloc(count + 1, sizeof(*sources));
    source_next = calloc(count, sizeof(*source_next));
    latency = calloc(latency_max, sizeof(*latency));
    if (streams == NULL || sources == NULL || source_next == NULL || latency == NULL)
        load_die("out of memory");
    load_init();
    load_origin_start(load_number(argc, argv, "origin", -1), &origin);

    started_ns = load_now_ns();
    stop_ns = started_ns +
              (seconds + 1) * INT64_C(1000000000); /* the first of the hits fills the store */
    hits_prepare(&hits, edge, host, seconds);
    hits_begin(&hits);
    load_run(is_over, NULL, seconds + 5);
    alone = hits_end(&hits);

    hits_prepare(&hits, edge, host, seconds);
    open_streams(edge, host, strcmp(protocol, "h2") == 0 ? LOAD_H2 : LOAD_H1);
    turn_ns = load_now_ns();
    started_ns = turn_ns + PERIOD_NS;
    stop_ns = turn_ns + (seconds + 1) * INT64_C(1000000000);
    measures = true;
    hits_begin(&hits);
    load_run(is_over, tick, seconds + 5);
    beside = hits_end(&hits);
    report_events(seconds);
    printf("p99 of hits: %.2f ms alone, %.2f ms beside the streams: %.2f times\n", alone, beside,
           beside / alone);
    if (beside > SLOWER_MAX * alone)
        load_broken("the p99 of hits is %.2f times what it was", beside / alone);
    return load_status();
}
