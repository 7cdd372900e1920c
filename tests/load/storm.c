/*
 * storm: many clients at once on one object that is not stored yet.
 *
 *   storm --edge PORT,... --origin PORT --host NAME --pid DAEMON,... [--rounds 20] [--clients 1000]
 *         [--slow 100] [--leave 100] [--tag TEXT]
 *
 * The clients are spread over the edges; the memory of each process that is named is watched.
 *
 * The origin is in here, at the port that the edge's configuration names.  It stops in the middle
 * of each body until every client that reads has that half: an edge that waits for the whole does
 * not get past it.  In each round some clients read 10 KB/s and some leave (the first, which made
 * the edge ask, among them); rounds without those two groups are measured between, and the others
 * must not be slower than 1.2 times.  A round in which all read, too. Two latecomers ask when the
 * last byte is out, and when the first client has it: before, while or after the object is
 * committed.
 *
 * Checked each round: one request at the origin; every body right, byte for byte; the slow ones
 * still there; the growth of RSS.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

enum {
    BODY_BYTES = 10 * 1024 * 1024,
    HALF_BYTES = BODY_BYTES / 2,
    WRITE_BYTES = 262144,
    ROUND_SECONDS = 120
};
enum { SLOW_BYTES_PER_S = 10240, SLOW_RECEIVE_BUFFER = 8192, LATECOMERS = 2, DAEMONS_MAX = 8 };
#define RSS_GROWTH_MAX (150ull * 1024 * 1024)
#define SLOWDOWN_MAX   1.2

enum role { READS, SLOW, LEAVES, LATE };

struct reader {
    struct load_client *client; /* NULL: gone */
    enum role role;
    size_t got, leaves_at;
    bool failed, has_half, is_whole;
};

static char *body;
static struct reader *readers;
static size_t readers_count, connected, halves, halves_wanted, whole, whole_wanted, late_whole,
    lost;
static struct load_origin_conn *held;
static bool is_held, last_byte_out, first_whole;
static unsigned late_asked;
static unsigned origin_requests;
static uint64_t rss_peak[DAEMONS_MAX], rss_start[DAEMONS_MAX], anon_start[DAEMONS_MAX];
static int64_t next_look_ns, half_ns;
static char path[256];
static int pid[DAEMONS_MAX], edge[DAEMONS_MAX];
static size_t pids, edges;
static const char *host;
static enum load_protocol protocol;

/* ---- the origin ---- */

static void feed(struct load_origin_conn *o)
{
    size_t end = is_held ? HALF_BYTES : BODY_BYTES, n = end - o->sent;

    if (n > WRITE_BYTES)
        n = WRITE_BYTES;
    if (n > 0) {
        load_origin_write(o, body + o->sent, n);
        o->sent += n;
        load_origin_flush(o);
    }
    if (o->fd >= 0 && o->sent == BODY_BYTES && load_origin_unsent(o) == 0 && o->is_busy) {
        last_byte_out = true;
        held = NULL;
        load_origin_done(o);
    }
}

static void feed_on(struct load_origin_conn *o)
{
    while (o->fd >= 0 && o->is_busy && load_origin_unsent(o) == 0 &&
           o->sent < (is_held ? HALF_BYTES : BODY_BYTES))
        feed(o);
    if (o->fd >= 0 && o->is_busy && o->sent == BODY_BYTES && load_origin_unsent(o) == 0)
        feed(o);
}

static void on_request(struct load_origin_conn *o)
{
    char head[256];
    int n = snprintf(
        head, sizeof(head),
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n"
        "Cache-Control: max-age=3600\r\n\r\n",
        BODY_BYTES);

    if (strcmp(o->path, path) != 0)
        load_broken("the origin was asked for %s", o->path);
    origin_requests++;
    held = o;
    load_origin_write(o, head, (size_t)n);
    load_origin_flush(o);
    feed_on(o);
}

static void on_origin_closed(struct load_origin_conn *o)
{
    if (o == held)
        held = NULL;
}

static const struct load_origin_events origin = {
    .request = on_request, .writable = feed_on, .closed = on_origin_closed};

/* ---- the clients ---- */

static void on_ready(struct load_client *c)
{
    (void)c;
    connected++;
}

static void fail(struct reader *r, const char *why)
{
    if (r->failed)
        return;
    r->failed = true;
    lost++;
    if (lost <= 5)
        load_broken("client %zd: %s after %zu bytes", r - readers, why, r->got);
}

static void on_head(struct load_client *c, uint32_t stream, int code)
{
    (void)stream;
    if (code != 200)
        fail(c->user, "status is not 200");
}

static void got_half(struct reader *r)
{
    r->has_half = true;
    if (r->role != READS)
        return;
    if (++halves == halves_wanted) {
        half_ns = load_now_ns();
        is_held = false;
        if (held != NULL)
            feed_on(held);
    }
}

static void on_data(struct load_client *c, uint32_t stream, const char *p, size_t n)
{
    struct reader *r = c->user;

    (void)stream;
    if (r->got + n > BODY_BYTES || memcmp(p, body + r->got, n) != 0)
        fail(r, "the body is wrong");
    r->got += n;
    if (!r->has_half && r->got >= HALF_BYTES)
        got_half(r);
    if (r->role == LEAVES && r->got >= r->leaves_at) {
        load_close(c);
        r->client = NULL;
    }
}

static void on_end(struct load_client *c, uint32_t stream)
{
    struct reader *r = c->user;

    (void)stream;
    if (r->got != BODY_BYTES)
        fail(r, "the body ended");
    if (r->is_whole)
        fail(r, "ended twice");
    r->is_whole = true;
    first_whole = true;
    if (r->role == READS)
        whole++;
    else if (r->role == LATE)
        late_whole++;
}

static void open_reader(struct reader *r, int receive_buffer);

static void on_closed(struct load_client *c)
{
    struct reader *r = c->user;

    r->client = NULL;
    if (r->role == LATE && r >= &readers[readers_count - LATECOMERS + late_asked])
        open_reader(r, 0); /* idle for too long, and not needed yet */
    else if (!r->is_whole)
        fail(r, "the connection was closed");
}

static void on_reset(struct load_client *c, uint32_t stream)
{
    (void)stream;
    fail(c->user, "the stream was reset");
}

static const struct load_events events = {.ready = on_ready,
                                          .head = on_head,
                                          .data = on_data,
                                          .end = on_end,
                                          .reset = on_reset,
                                          .closed = on_closed};

static void open_reader(struct reader *r, int receive_buffer)
{
    r->client =
        load_open(edge[(size_t)(r - readers) % edges], host, protocol, &events, r, receive_buffer);
}

/* ---- a round ---- */

static bool all_connected(void)
{
    return connected + lost >= readers_count;
}

static bool all_whole(void)
{
    return (whole >= whole_wanted && late_whole == LATECOMERS) || lost > 0;
}

static void look(void)
{
    int64_t now = load_now_ns();

    if ((late_asked == 0 && last_byte_out) || (late_asked == 1 && first_whole))
        load_get(readers[readers_count - LATECOMERS + late_asked++].client, path);
    if (now < next_look_ns)
        return;
    next_look_ns = now + 20 * 1000 * 1000;
    for (size_t i = 0; i < pids; i++) {
        uint64_t rss = load_memory(pid[i]).rss;

        if (rss > rss_peak[i])
            rss_peak[i] = rss;
    }
}

/* Of the process that has most: what is no file's. */
static uint64_t anon_most(void)
{
    uint64_t most = 0;

    for (size_t i = 0; i < pids; i++)
        if (load_memory(pid[i]).anon > most)
            most = load_memory(pid[i]).anon;
    return most;
}

/* Of the process that grew most. */
static uint64_t rss_growth(void)
{
    uint64_t most = 0;

    for (size_t i = 0; i < pids; i++)
        if (rss_peak[i] - rss_start[i] > most)
            most = rss_peak[i] - rss_start[i];
    return most;
}

static void open_all(size_t reading, size_t slow, size_t leaving)
{
    readers_count = reading + slow + leaving + LATECOMERS;
    readers = calloc(readers_count, sizeof(*readers));
    if (readers == NULL)
        load_die("out of memory");
    for (size_t i = 0; i < readers_count; i++) {
        struct reader *r = &readers[i];

        /* those that leave come first: one of them is whom the edge asks for */
        r->role = i < leaving                      ? LEAVES
                  : i < leaving + slow             ? SLOW
                  : i < readers_count - LATECOMERS ? READS
                                                   : LATE;
        r->leaves_at = (size_t)HALF_BYTES * (i + 1) / (leaving + 1);
        open_reader(r, r->role == SLOW ? SLOW_RECEIVE_BUFFER : 0);
        if (r->role == SLOW) {
            r->client->slow_bytes_per_s = SLOW_BYTES_PER_S;
            r->client->stream_window = 65535;
        }
    }
}

static void check_slow(void)
{
    for (size_t i = 0; i < readers_count; i++) {
        if (readers[i].role == SLOW && readers[i].client == NULL)
            fail(&readers[i], "slow, and was cut");
        load_close(readers[i].client);
    }
    free(readers);
    readers = NULL;
}

/* Seconds that the reading clients took, from the first request to the last byte; < 0: it went
 * wrong. */
static double run_round(size_t reading, size_t slow, size_t leaving)
{
    int64_t start;
    double s;
    bool ok;

    connected = halves = whole = late_whole = lost = 0;
    origin_requests = late_asked = 0;
    halves_wanted = whole_wanted = reading;
    is_held = true;
    last_byte_out = first_whole = false;
    open_all(reading, slow, leaving);
    if (!load_run(all_connected, NULL, ROUND_SECONDS) || lost > 0)
        load_die("%zu of %zu clients connected", connected, readers_count);
    for (size_t i = 0; i < pids; i++)
        rss_start[i] = rss_peak[i] = load_memory(pid[i]).rss;
    start = load_now_ns();
    for (size_t i = 0; i < readers_count - LATECOMERS; i++)
        load_get(readers[i].client, path);
    ok = load_run(all_whole, look, ROUND_SECONDS);
    s = (double)(load_now_ns() - start) / 1e9;
    if (!ok)
        load_broken("after %d s %zu of %zu clients had half the body (the origin went on: %s), %zu "
                    "all of it",
                    ROUND_SECONDS, halves, halves_wanted, is_held ? "no" : "yes", whole);
    if (origin_requests != 1)
        load_broken("the origin saw %u requests", origin_requests);
    if (rss_growth() >= RSS_GROWTH_MAX)
        load_broken("RSS grew by %llu MB", (unsigned long long)rss_growth() >> 20);
    printf("%s: %4zu read, %3zu slow, %3zu leave: half %.2f s, whole %.2f s, origin %u, RSS +%llu "
           "MB, anonymous then %llu MB\n",
           protocol == LOAD_H2 ? "h2" : "h1", reading, slow, leaving,
           (double)(half_ns - start) / 1e9, s, origin_requests,
           (unsigned long long)rss_growth() >> 20, (unsigned long long)anon_most() >> 20);
    fflush(stdout);
    check_slow();
    return ok && lost == 0 ? s : -1;
}

static void new_object(const char *tag, int round)
{
    unsigned x = (unsigned)round * 2654435761u + 1;

    snprintf(path, sizeof(path), "/storm/%s/%d", tag, round);
    for (size_t i = 0; i < BODY_BYTES; i += sizeof(x)) {
        x = x * 1664525u + 1013904223u;
        memcpy(body + i, &x, sizeof(x));
    }
}

int main(int argc, char **argv)
{
    int rounds = load_number(argc, argv, "rounds", 20);
    size_t clients = (size_t)load_number(argc, argv, "clients", 1000),
           slow = (size_t)load_number(argc, argv, "slow", 100),
           leaving = (size_t)load_number(argc, argv, "leave", 100),
           others = clients - slow - leaving;
    const char *tag = load_option(argc, argv, "tag", "0");
    int64_t *with = calloc((size_t)rounds + 1, sizeof(*with)),
            *without = calloc((size_t)rounds + 1, sizeof(*without));
    size_t n = 0, m = 0;
    long long anon_grown = 0;
    double ratio;

    if (with == NULL || without == NULL || slow + leaving >= clients)
        load_die("--clients must be more than --slow and --leave together");
    edges = load_numbers(argc, argv, "edge", edge, DAEMONS_MAX);
    host = load_option(argc, argv, "host", NULL);
    pids = load_numbers(argc, argv, "pid", pid, DAEMONS_MAX);
    body = malloc(BODY_BYTES);
    if (body == NULL)
        load_die("out of memory");
    load_init();
    load_origin_start(load_number(argc, argv, "origin", -1), &origin);
    for (size_t i = 0; i < pids; i++)
        anon_start[i] = load_memory(pid[i]).anon;
    for (int i = 0; i < rounds && load_status() == 0; i++) {
        protocol = i % 2 == 0 ? LOAD_H2 : LOAD_H1;

        new_object(tag, 3 * i);
        with[n++] = (int64_t)(run_round(others, slow, leaving) * 1e6);
        if (i % 4 < 2) { /* of each protocol, as the others */
            new_object(tag, 3 * i + 1);
            without[m++] = (int64_t)(run_round(others, 0, 0) * 1e6);
        }
        if (i < 2) {
            new_object(tag, 3 * i + 2);
            run_round(clients, 0, 0);
        }
    }
    qsort(with, n, sizeof(*with), load_compare_i64);
    qsort(without, m, sizeof(*without), load_compare_i64);
    for (size_t i = 0; i < pids; i++) {
        long long grown = (long long)load_memory(pid[i]).anon - (long long)anon_start[i];

        if (grown > anon_grown)
            anon_grown = grown;
    }
    ratio = (double)load_quantile(with, n, 0.5) / (double)load_quantile(without, m, 0.5);
    printf("medians: %.2f s with slow and leaving clients, %.2f s without: %.2f times; memory not "
           "of files +%lld MB\n",
           (double)load_quantile(with, n, 0.5) / 1e6, (double)load_quantile(without, m, 0.5) / 1e6,
           ratio, anon_grown / (1024 * 1024));
    if (load_status() == 0 && ratio > SLOWDOWN_MAX)
        load_broken("slow and leaving clients made the others %.2f times slower", ratio);
    return load_status();
}
