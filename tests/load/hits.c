/*
 * hits: clients that ask for stored objects at a steady rate, at several edges; and their origin.
 *
 *   hits --edge PORT,... --origin PORT --host NAME [--rate 1000] [--objects 1000]
 *        [--connections 4] [--apart MS]
 *
 * First every edge is asked once for every object; then "filled" is written, and after a line on
 * standard input --rate requests a second go out, over HTTP/2, spread over edges and objects, until
 * standard input ends.  Times count from when a request was due.
 *
 * The origin is in here.  It knows the edge that asks by the first name in Via.  With --apart two
 * requests of one edge for one object must be at least so many ms apart, from the line on standard
 * input on.  Any answer but 200 with the object's own body is a broken promise, and so is a closed
 * connection.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "load.h"

enum {
    EDGES_MAX = 8,
    CONNECTIONS_MAX = 16,
    BODY_BYTES = 1024,
    STREAMS = 8192, /* open at once on a connection, at most: a power of two */
    LATENCIES_MAX = 4 << 20,
    FILL_AT_ONCE = 8, /* on a connection */
    FILL_SECONDS = 60,
    RUN_SECONDS = 7200, /* somebody ends it sooner */
    NAME_BYTES = 64,
    SHOWN = 5, /* of broken promises of one kind */
};

struct flight {
    uint32_t stream; /* 0: free */
    int object;
    int64_t due_ns;
    bool has_begun; /* of its body */
};

struct connection {
    struct load_client *client;
    size_t edge;
    bool is_ready;
    struct flight flight[STREAMS];
    size_t flying;
};

static struct connection *connections;
static size_t connections_count, edges, per_edge, ready;
static int edge[EDGES_MAX], objects, rate;
static const char *host;
static size_t filled, fill_next[EDGES_MAX], wanted_fill;
static bool is_running, is_over;
static uint64_t random_state = 88172645463325252ull;
static int64_t *latency;
static size_t latencies;
static uint64_t sent, answered, wrong, origin_requests, validations, too_soon;
static int64_t begun_ns, apart_ns, closest_ns = INT64_MAX;

/* What the origin has seen of each edge. */
static struct {
    char name[NAME_BYTES];
    int64_t *asked_ns; /* of each object; 0: never since it began */
    uint64_t requests;
} asker[EDGES_MAX];
static size_t askers;

/* ---- the origin ---- */

static size_t asker_of(const char *head)
{
    const char *via = strcasestr(head, "\r\nvia:");
    char name[NAME_BYTES] = "";

    if (via == NULL || sscanf(via + 6, " %*s %63[^, \r\n]", name) != 1)
        load_die("a request without Via");
    for (size_t i = 0; i < askers; i++)
        if (strcmp(asker[i].name, name) == 0)
            return i;
    if (askers == EDGES_MAX)
        load_die("more edges ask the origin than there are");
    memcpy(asker[askers].name, name, sizeof(name));
    asker[askers].asked_ns = calloc((size_t)objects, sizeof(int64_t));
    if (asker[askers].asked_ns == NULL)
        load_die("out of memory");
    return askers++;
}

static void note(const char *head, int object)
{
    size_t a = asker_of(head);
    int64_t now = load_now_ns(), *last = &asker[a].asked_ns[object];

    origin_requests++;
    asker[a].requests++;
    if (*last != 0 && now - *last < closest_ns)
        closest_ns = now - *last;
    if (*last != 0 && now - *last < apart_ns && too_soon++ < SHOWN)
        load_broken("%s asked for /o/%d again after %.3f s", asker[a].name, object,
                    (double)(now - *last) / 1e9);
    *last = now;
}

static void on_request(struct load_origin_conn *o)
{
    char text[512], body[BODY_BYTES];
    bool is_validation = strcasestr(o->head, "\r\nif-none-match:") != NULL;
    int object = 0, n;

    if (sscanf(o->path, "/o/%d", &object) != 1 || object < 0 || object >= objects)
        load_die("the origin was asked for %s", o->path);
    if (is_running)
        note(o->head, object);
    validations += is_validation && is_running;
    n = snprintf(text, sizeof(text),
                 "HTTP/1.1 %s\r\nCache-Control: max-age=86400\r\nETag: \"%d\"\r\n%s\r\n",
                 is_validation ? "304 Not Modified" : "200 OK", object,
                 is_validation ? "" : "Content-Length: 1024\r\n");
    load_origin_write(o, text, (size_t)n);
    if (!is_validation) {
        memset(body, '.', sizeof(body));
        n = snprintf(text, sizeof(text), "/o/%d ", object);
        memcpy(body, text, (size_t)n);
        load_origin_write(o, body, sizeof(body));
    }
    load_origin_flush(o);
    load_origin_done(o);
}

static const struct load_origin_events origin = {.request = on_request};

/* ---- the clients ---- */

static struct flight *flight_of(struct connection *c, uint32_t stream)
{
    struct flight *f = &c->flight[stream / 2 % STREAMS];

    if (f->stream != stream)
        load_die("an answer to a request that was not sent");
    return f;
}

static void complain(const char *what, int number, const struct connection *c)
{
    if (wrong++ < SHOWN)
        load_broken("edge %zu: %s %d", c->edge, what, number);
}

static void ask(struct connection *c, int object, int64_t due_ns)
{
    char path[64];
    uint32_t stream;
    struct flight *f;

    snprintf(path, sizeof(path), "/o/%d", object);
    stream = load_get(c->client, path);
    if (stream == 0)
        return;
    f = &c->flight[stream / 2 % STREAMS];
    if (f->stream != 0)
        load_die("%d requests wait at edge %zu: it does not keep up", STREAMS, c->edge);
    *f = (struct flight){.stream = stream, .object = object, .due_ns = due_ns};
    c->flying++;
    sent++;
}

static void fill_on(struct connection *c)
{
    while (c->is_ready && c->flying < FILL_AT_ONCE && fill_next[c->edge] < (size_t)objects)
        ask(c, (int)fill_next[c->edge]++, load_now_ns());
}

static void on_ready(struct load_client *client)
{
    struct connection *c = client->user;

    c->is_ready = true;
    ready++;
    fill_on(c);
}

static void on_head(struct load_client *client, uint32_t stream, int code)
{
    (void)stream;
    if (code != 200)
        complain("status", code, client->user);
}

static void on_data(struct load_client *client, uint32_t stream, const char *p, size_t n)
{
    struct connection *c = client->user;
    struct flight *f = flight_of(c, stream);
    char want[32];
    size_t bytes = (size_t)snprintf(want, sizeof(want), "/o/%d ", f->object);

    if (!f->has_begun && (n < bytes || memcmp(p, want, bytes) != 0))
        complain("the body is not that of object", f->object, c);
    f->has_begun = true;
}

static void on_end(struct load_client *client, uint32_t stream)
{
    struct connection *c = client->user;
    struct flight *f = flight_of(c, stream);

    if (is_running && latencies < LATENCIES_MAX)
        latency[latencies++] = load_now_ns() - f->due_ns;
    f->stream = 0;
    c->flying--;
    answered++;
    if (!is_running) {
        filled++;
        fill_on(c);
    }
}

static void on_reset(struct load_client *client, uint32_t stream)
{
    complain("a stream was reset:", (int)stream, client->user);
    flight_of(client->user, stream)->stream = 0;
}

static void on_closed(struct load_client *client)
{
    struct connection *c = client->user;

    complain("closed the connection with requests open:", (int)c->flying, c);
    c->is_ready = false;
    is_over = true;
}

static const struct load_events events = {.ready = on_ready,
                                          .head = on_head,
                                          .data = on_data,
                                          .end = on_end,
                                          .reset = on_reset,
                                          .closed = on_closed};

/* ---- the run ---- */

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static bool is_filled(void)
{
    return filled >= wanted_fill || is_over;
}

static bool is_told_to_begin(void)
{
    char line[64];
    ssize_t n = read(STDIN_FILENO, line, sizeof(line));

    is_over = is_over || n == 0;
    return n > 0 || is_over;
}

static bool is_told_to_end(void)
{
    char line[64];

    is_over = is_over || read(STDIN_FILENO, line, sizeof(line)) == 0;
    return is_over && answered + wrong >= sent;
}

static void send_what_is_due(void)
{
    static int64_t number;
    int64_t now = load_now_ns();

    for (;;) {
        int64_t due_ns = begun_ns + number * 1000000000 / rate;
        uint64_t r = next_random();

        if (is_over || due_ns > now)
            return;
        ask(&connections[r % connections_count], (int)(r / connections_count % (uint64_t)objects),
            due_ns);
        number++;
    }
}

static void say(void)
{
    double s = (double)(load_now_ns() - begun_ns) / 1e9;

    qsort(latency, latencies, sizeof(*latency), load_compare_i64);
    printf("%llu answers in %.1f s, %llu wrong; ms: p50 %.2f, p99 %.2f, p99.9 %.2f, most %.2f\n",
           (unsigned long long)latencies, s, (unsigned long long)wrong,
           (double)load_quantile(latency, latencies, 0.5) / 1e6,
           (double)load_quantile(latency, latencies, 0.99) / 1e6,
           (double)load_quantile(latency, latencies, 0.999) / 1e6,
           (double)load_quantile(latency, latencies, 1) / 1e6);
    printf("origin: %llu requests, %llu of them validations; %.2f for each object, edge and minute",
           (unsigned long long)origin_requests, (unsigned long long)validations,
           (double)origin_requests / (double)objects / (double)edges / (s / 60));
    if (closest_ns != INT64_MAX)
        printf("; two of the same at least %.3f s apart", (double)closest_ns / 1e9);
    printf("\n");
    for (size_t i = 0; i < askers; i++)
        printf("  %s: %llu\n", asker[i].name, (unsigned long long)asker[i].requests);
}

int main(int argc, char **argv)
{
    edges = load_numbers(argc, argv, "edge", edge, EDGES_MAX);
    host = load_option(argc, argv, "host", NULL);
    rate = load_number(argc, argv, "rate", 1000);
    objects = load_number(argc, argv, "objects", 1000);
    per_edge = (size_t)load_number(argc, argv, "connections", 4);
    apart_ns = load_number(argc, argv, "apart", 0) * INT64_C(1000000);
    connections_count = edges * per_edge;
    wanted_fill = edges * (size_t)objects;
    connections = calloc(connections_count, sizeof(*connections));
    latency = calloc(LATENCIES_MAX, sizeof(*latency));
    if (connections == NULL || latency == NULL || rate < 1 || objects < 1)
        load_die("out of memory, or nothing to do");
    load_init();
    load_origin_start(load_number(argc, argv, "origin", -1), &origin);
    for (size_t i = 0; i < connections_count; i++) {
        connections[i].edge = i % edges;
        connections[i].client =
            load_open(edge[i % edges], host, LOAD_H2, &events, &connections[i], 0);
    }
    if (!load_run(is_filled, NULL, FILL_SECONDS) || ready < connections_count)
        load_die("%zu of %zu objects after %d s", filled, wanted_fill, FILL_SECONDS);
    printf("filled\n");
    fflush(stdout);
    fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
    load_run(is_told_to_begin, NULL, RUN_SECONDS);
    begun_ns = load_now_ns();
    is_running = true;
    if (!load_run(is_told_to_end, send_what_is_due, RUN_SECONDS))
        load_broken("%llu requests were not answered", (unsigned long long)(sent - answered));
    say();
    return load_status();
}
