/*
 * flood: clients that cost memory on purpose: uploads that never end, and windows that never open.
 *
 *   flood uploads --edge PORT --host NAME --pid EDGE [--connections 1] [--posts 100]
 *         [--bytes 8388000] [--seconds 10]
 *   flood windows --edge PORT --host NAME --pid EDGE [--connections 100] [--streams 32]
 *         [--path /1m] [--seconds 5]
 *
 * Both: --grow-mib N is what RSS may grow by at most (100; 50), --good PATH an object that another
 * client asks for all the while and must get, each time within five seconds: the flood's own work
 * is in this process too.
 *
 * uploads: HTTP/2 connections with `posts` POSTs each, whose bodies are sent as far as the windows
 * allow, but for the last byte.  The edge may refuse, reset and close as it likes; not grow.
 * windows: connections with `streams` GETs each and no window at all: heads come, bodies cannot.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

enum { FRAME_BYTES = 16384, UNSENT_MAX = 4 * 1024 * 1024, GOOD_LATE_MS = 5000 };

struct upload {
    uint32_t id;
    uint64_t left;
    int64_t window;
    bool over;
};

struct attacker {
    struct load_client *client;
    struct upload *upload;
    size_t count, turn;
    bool closed;
};

static struct attacker *attackers;
static size_t attackers_count, closed_count, heads, wanted_heads, resets, refused;
static uint64_t sent_bytes, post_bytes;
static uint64_t rss_start, rss_peak, grow_max;
static int64_t stop_ns, next_look_ns, good_asked_ns, good_worst_ns;
static struct load_client *good;
static const char *good_path;
static size_t good_count;
static int pid;
static char zeros[FRAME_BYTES];

static void on_head(struct load_client *c, uint32_t stream, int code)
{
    (void)c;
    (void)stream;
    heads++;
    refused += code >= 400;
}

static struct upload *upload_of(struct load_client *c, uint32_t stream)
{
    struct attacker *a = c->user;
    size_t i = (stream - 1) / 2;

    return a->upload != NULL && i < a->count ? &a->upload[i] : NULL;
}

static void on_over(struct load_client *c, uint32_t stream)
{
    struct upload *u = upload_of(c, stream);

    if (u != NULL)
        u->over = true;
}

static void on_reset(struct load_client *c, uint32_t stream)
{
    resets++;
    on_over(c, stream);
}

static void on_window(struct load_client *c, uint32_t stream, uint32_t n)
{
    struct upload *u = stream == 0 ? NULL : upload_of(c, stream);

    if (u != NULL)
        u->window += n;
}

static void on_closed(struct load_client *c)
{
    struct attacker *a = c->user;

    a->closed = true;
    closed_count++;
}

static const struct load_events attack_events = {
    .head = on_head, .end = on_over, .reset = on_reset, .closed = on_closed, .window = on_window};

/* ---- somebody who behaves ---- */

static void good_ready(struct load_client *c)
{
    good_asked_ns = load_now_ns();
    load_get(c, good_path);
}

static void good_head(struct load_client *c, uint32_t stream, int code)
{
    (void)c;
    (void)stream;
    if (code != 200)
        load_broken("another client was answered by %d", code);
}

static void good_end(struct load_client *c, uint32_t stream)
{
    int64_t took = load_now_ns() - good_asked_ns;

    (void)stream;
    good_count++;
    if (took > good_worst_ns)
        good_worst_ns = took;
    good_ready(c);
}

static void good_closed(struct load_client *c)
{
    (void)c;
    load_broken("another client's connection was closed");
    good = NULL;
}

static const struct load_events good_events = {
    .ready = good_ready, .head = good_head, .end = good_end, .closed = good_closed};

static bool good_begun(void)
{
    return good_count >= 10 || load_status() != 0;
}

/* ---- ---- */

static void look(void)
{
    int64_t now = load_now_ns();
    struct load_memory m;

    if (now < next_look_ns)
        return;
    next_look_ns = now + 10 * 1000 * 1000;
    m = load_memory(pid);
    if (m.rss > rss_peak)
        rss_peak = m.rss;
}

static bool all_ready(void)
{
    size_t n = 0;

    for (size_t i = 0; i < attackers_count; i++)
        n += attackers[i].closed || attackers[i].client->has_settings;
    return n == attackers_count;
}

static bool all_heads(void)
{
    return heads >= wanted_heads || closed_count > 0;
}

static bool is_over(void)
{
    return load_now_ns() >= stop_ns;
}

/* A frame of each upload in turn, as long as windows and our own queue allow. */
static void push(struct attacker *a)
{
    size_t idle = 0;

    while (!a->closed && idle < a->count && load_unsent(a->client) < UNSENT_MAX) {
        struct upload *u = &a->upload[a->turn++ % a->count];
        uint64_t n = u->left - 1; /* never the last byte */

        if (n > FRAME_BYTES)
            n = FRAME_BYTES;
        if (n == 0 || u->over || u->window < (int64_t)n || a->client->send_window < (int64_t)n) {
            idle++;
            continue;
        }
        idle = 0;
        u->left -= n;
        u->window -= (int64_t)n;
        sent_bytes += n;
        load_send_data(a->client, u->id, zeros, (size_t)n);
    }
}

static void push_all(void)
{
    for (size_t i = 0; i < attackers_count; i++)
        push(&attackers[i]);
    look();
}

static void connect_all(int edge, const char *host, uint32_t window)
{
    attackers = calloc(attackers_count, sizeof(*attackers));
    if (attackers == NULL)
        load_die("out of memory");
    for (size_t i = 0; i < attackers_count; i++) {
        attackers[i].client = load_open(edge, host, LOAD_H2, &attack_events, &attackers[i], 0);
        attackers[i].client->stream_window = window;
    }
    if (!load_run(all_ready, look, 30))
        load_die("not all of %zu connections came about", attackers_count);
}

static void upload_flood(int edge, const char *host, size_t posts, int seconds)
{
    connect_all(edge, host, 65535);
    for (size_t i = 0; i < attackers_count; i++) {
        struct attacker *a = &attackers[i];

        a->count = posts;
        a->upload = calloc(posts, sizeof(*a->upload));
        if (a->upload == NULL)
            load_die("out of memory");
        for (size_t k = 0; k < posts && !a->closed; k++)
            a->upload[k] = (struct upload){.id = load_post(a->client, "/upload", post_bytes),
                                           .left = post_bytes,
                                           .window = a->client->peer_stream_window};
    }
    stop_ns = load_now_ns() + seconds * INT64_C(1000000000);
    load_run(is_over, push_all, seconds + 5);
    printf("%zu connections, %zu POSTs each: %llu MB sent, %zu answers (%zu of them refusals), %zu "
           "resets, %zu connections closed\n",
           attackers_count, posts, (unsigned long long)sent_bytes >> 20, heads, refused, resets,
           closed_count);
}

static void window_flood(int edge, const char *host, size_t count, const char *path, int seconds)
{
    connect_all(edge, host, 0);
    wanted_heads = count * attackers_count;
    for (size_t i = 0; i < attackers_count; i++)
        for (size_t k = 0; k < count; k++)
            load_get(attackers[i].client, path);
    if (!load_run(all_heads, look, 30))
        load_broken("%zu of %zu heads came", heads, wanted_heads);
    stop_ns = load_now_ns() + seconds * INT64_C(1000000000);
    load_run(is_over, look, seconds + 5);
    printf("%zu connections, %zu streams each: %zu heads, %zu connections closed\n",
           attackers_count, count, heads, closed_count);
    if (refused > 0)
        load_broken("%zu requests were refused", refused);
}

int main(int argc, char **argv)
{
    bool uploads = argc > 1 && strcmp(argv[1], "uploads") == 0,
         windows = argc > 1 && strcmp(argv[1], "windows") == 0;
    const char *host;
    int edge;

    if (!uploads && !windows)
        load_die("usage: flood uploads|windows --edge PORT --host NAME --pid EDGE ...");
    argc--;
    argv++;
    edge = load_number(argc, argv, "edge", -1);
    host = load_option(argc, argv, "host", NULL);
    pid = load_number(argc, argv, "pid", -1);
    good_path = load_option(argc, argv, "good", "");
    post_bytes = (uint64_t)load_number(argc, argv, "bytes", 8388000);
    grow_max = (uint64_t)load_number(argc, argv, "grow-mib", uploads ? 100 : 50) << 20;
    attackers_count = (size_t)load_number(argc, argv, "connections", uploads ? 1 : 100);
    load_init();
    if (*good_path != '\0') {
        good = load_open(edge, host, LOAD_H2, &good_events, NULL, 0);
        if (!load_run(good_begun, NULL, 30))
            load_die("%s does not come", good_path);
        good_worst_ns = 0;
    }
    rss_start = rss_peak = load_memory(pid).rss;
    if (uploads)
        upload_flood(edge, host, (size_t)load_number(argc, argv, "posts", 100),
                     load_number(argc, argv, "seconds", 10));
    else
        window_flood(edge, host, (size_t)load_number(argc, argv, "streams", 32),
                     load_option(argc, argv, "path", "/1m"), load_number(argc, argv, "seconds", 5));
    printf("RSS %llu MiB, +%.1f MiB at most", (unsigned long long)rss_start >> 20,
           (double)(rss_peak - rss_start) / 1048576.0);
    if (good != NULL)
        printf("; another client: %zu answers, the slowest in %.1f ms", good_count,
               (double)good_worst_ns / 1e6);
    putchar('\n');
    if (rss_peak - rss_start >= grow_max)
        load_broken("RSS grew by more than %llu MiB", (unsigned long long)grow_max >> 20);
    if (good != NULL && (good_worst_ns > GOOD_LATE_MS * INT64_C(1000000) ||
                         load_now_ns() - good_asked_ns > GOOD_LATE_MS * INT64_C(1000000)))
        load_broken("another client waited %.1f ms",
                    (double)(load_now_ns() - good_asked_ns > good_worst_ns
                                 ? load_now_ns() - good_asked_ns
                                 : good_worst_ns) /
                        1e6);
    return load_status();
}
