/* request.c and response.c on a real worker; the cache behind them is the one below, which answers
 * by path. */
#define WORLD_HAS_REQUESTS
#include "server_h2.h"

#include <errno.h>

#include "base/log.h"
#include "cache/cache.h"
#include "server/request.h"

/* ---- the cache ---- */

struct cache_exchange {
    struct cache_request rq;
    const struct cache_client *client;
    void *user;
    struct http_fields fields;
    unsigned pieces; /* given */
    uint64_t at;
    struct reactor_timer timer;
    bool is_waiting;
};

static struct {
    _Atomic unsigned started, ended;
    char method[20], host[40], target[200], client[50], body[20];
    bool has_body, is_https;
    _Atomic enum server_health health;
} seen;

static const struct role role = {.name = "edge", .faces_public = true, .strips_tags = true};
static char node[] = "unit";

enum { BIG_BYTES = 3 << 20, PIECES = 5 };

/* The exchange of /late: it is answered as soon as its client has been found to have left. */
static struct {
    struct reactor_message message;
    struct cache_exchange *x; /* NULL: it has ended */
} late;

static void on_turn(struct reactor_message *m)
{
    struct cache_exchange *x = late.x;

    if (x == NULL)
        return;
    if (((struct server_request *)x->user)->is_sent)
        x->client->answer(
            x->user,
            &(struct cache_answer){.status = 200, .fields = &x->fields, .age_s = -1, .date_s = -1});
    else
        reactor_post(world.worker.reactor, m); /* in the next turn, before sockets are looked at */
}

static bool path_is(const struct cache_exchange *x, const char *path)
{
    return slice_eq(x->rq.target, slice_of(path));
}

static void add(struct cache_exchange *x, const char *name, const char *value)
{
    assert_int_equal(http_fields_add(&x->fields, x->rq.arena, 20, slice_of(name), slice_of(value)),
                     ERR_OK);
}

static void on_more(void *user)
{
    struct cache_exchange *x = user;

    if (x->is_waiting) {
        x->is_waiting = false;
        x->client->ready(x->user);
    }
}

struct cache_exchange *cache_start(struct cache_worker *w, const struct cache_request *rq,
                                   const struct cache_client *client, void *user)
{
    struct cache_exchange *x = arena_zalloc(rq->arena, sizeof(*x));
    struct cache_answer a = {.status = 200, .age_s = -1, .date_s = -1, .verdict = VERDICT_HIT};

    (void)w;
    x->rq = *rq;
    x->client = client;
    x->user = user;
    x->timer = (struct reactor_timer){.fire = on_more, .user = x};
    snprintf(seen.method, sizeof(seen.method), "%.*s", (int)rq->method.n, rq->method.p);
    snprintf(seen.host, sizeof(seen.host), "%.*s", (int)rq->host.n, rq->host.p);
    snprintf(seen.target, sizeof(seen.target), "%.*s", (int)rq->target.n, rq->target.p);
    snprintf(seen.client, sizeof(seen.client), "%.*s", (int)rq->client.n, rq->client.p);
    snprintf(seen.body, sizeof(seen.body), "%.*s", (int)rq->body.n, rq->body.p);
    seen.has_body = rq->has_body;
    seen.is_https = rq->is_https;
    atomic_fetch_add(&seen.started, 1);
    a.fields = &x->fields;
    a.has_body = true;
    if (path_is(x, "/hold"))
        return x;
    if (path_is(x, "/late")) {
        late.message.run = on_turn;
        late.x = x;
        reactor_post(world.worker.reactor, &late.message);
        return x;
    }
    if (path_is(x, "/pulled")) {
        add(x, "surrogate-key", "secret");
        add(x, "cache-tag", "secret");
        add(x, "x-split", "a\r\nX-Injected: yes");
        add(x, "x-request-id", "theirs");
        add(x, "date", "theirs");
        add(x, "content-length", "77");
        add(x, "etag", "\"e\"");
        a.body_bytes = BIG_BYTES;
        a.may_pull = true;
        a.age_s = 7;
        a.date_s = 86400;
        a.has_status = true;
        a.cache_status = (struct cache_status){.name = SLICE("unit"), .ttl_s = 5};
    } else if (path_is(x, "/304")) {
        a.status = 304;
        a.has_body = false;
        a.body_bytes = CACHE_BYTES_UNKNOWN;
    } else if (path_is(x, "/short")) {
        a.body_bytes = 1000; /* and less comes */
    } else {
        a.body_bytes = CACHE_BYTES_UNKNOWN;
        a.is_stream = path_is(x, "/stream");
    }
    if (path_is(x, "/early")) {
        add(x, "x-early", "1");
        client->interim(user, 103, &x->fields);
        client->interim(user, 103, &x->fields);
        x->fields.count = 0;
    }
    client->answer(user, &a);
    return x;
}

enum cache_body cache_body_pull(struct cache_exchange *x, char *to, size_t bytes, size_t *out_bytes)
{
    size_t n = bytes < 60000 ? bytes : 60000;

    if (n > BIG_BYTES - x->at)
        n = (size_t)(BIG_BYTES - x->at);
    for (size_t i = 0; i < n; i++)
        to[i] = (char)('a' + (x->at + i) % 23);
    x->at += n;
    *out_bytes = n;
    return x->at == BIG_BYTES ? CACHE_BODY_END : CACHE_BODY_MORE;
}

/* Five pieces, each but the first after a wait. */
enum cache_body cache_body_next(struct cache_exchange *x, size_t max, struct cache_piece *out)
{
    assert_true(max >= 6);
    if (path_is(x, "/stream") ||
        (!x->is_waiting && x->timer.slot == 0 && x->pieces > 0 && x->pieces % 2 == x->at % 2)) {
        x->is_waiting = true;
        x->at++;
        if (!path_is(x, "/stream"))
            reactor_timer_start(world.worker.reactor, &x->timer, 1);
        return CACHE_BODY_WAIT;
    }
    if (x->pieces == 2 && path_is(x, "/broken"))
        return CACHE_BODY_BROKEN;
    if (x->pieces == 0 && path_is(x, "/broken-at-once"))
        return CACHE_BODY_BROKEN;
    out->block = block_new(6);
    memcpy(out->block->data, "piece\n", 6);
    out->p = out->block->data;
    out->n = 6;
    return ++x->pieces == PIECES ? CACHE_BODY_END : CACHE_BODY_MORE;
}

void cache_explain_request(struct cache_worker *w, const struct cache_request *rq, struct buf *out)
{
    (void)w;
    (void)rq;
    buf_add(out, SLICE("decision: none\n"));
}

void cache_end(struct cache_exchange *x)
{
    reactor_timer_stop(world.worker.reactor, &x->timer);
    late.x = late.x == x ? NULL : late.x;
    atomic_fetch_add(&seen.ended, 1);
}

const char *cache_verdict_name(enum cache_verdict v)
{
    return v == VERDICT_HIT ? "hit" : "other";
}

const char *cache_reason(const struct cache_exchange *x)
{
    (void)x;
    return "fresh";
}

enum err cache_new(const struct cache_options *opt, struct cache **out)
{
    (void)opt;
    (void)out;
    return ERR_NOMEM;
}

void cache_free(struct cache *c)
{
    (void)c;
}

enum err cache_worker_new(struct cache *c, struct reactor *r, const struct cache_fetcher *f,
                          struct cache_worker **out)
{
    (void)c;
    (void)r;
    (void)f;
    *out = NULL;
    return ERR_OK;
}

void cache_worker_free(struct cache_worker *w)
{
    (void)w;
}

enum err cache_look_file(struct cache_worker *w, const unsigned char *sha256, uint64_t *out_bytes)
{
    (void)w;
    (void)sha256;
    (void)out_bytes;
    return ERR_NOT_FOUND;
}

/* ---- the server ---- */

static struct config server_config_here = {.node = node};

struct journal *server_journal(struct server *s)
{
    (void)s;
    return NULL;
}

struct files *server_files(struct server *s)
{
    (void)s;
    return NULL;
}

struct releases *server_releases(struct server *s)
{
    (void)s;
    return NULL;
}

const struct config *server_config(const struct server *s)
{
    (void)s;
    return &server_config_here;
}

const struct role *server_role(const struct server *s)
{
    (void)s;
    return &role;
}

enum server_health server_health(const struct server *s)
{
    (void)s;
    return atomic_load(&seen.health);
}

struct purge *server_purge(struct server *s)
{
    (void)s;
    return NULL;
}

struct kin *server_kin(struct server *s)
{
    (void)s;
    return NULL;
}

struct store *server_store(struct server *s)
{
    (void)s;
    return NULL;
}

struct cache *server_cache(struct server *s)
{
    (void)s;
    return NULL;
}

struct geo_drains *server_drains(struct server *s)
{
    (void)s;
    return NULL;
}

void server_set_cache(struct server *s, struct cache *c)
{
    (void)s;
    (void)c;
}

/* ---- HTTP/1 ---- */

static char out[4 << 20];

static void start(void)
{
    memset(&seen, 0, sizeof(seen));
    world_start(NULL);
}

/* Every exchange has been ended by now. */
static void end(void)
{
    world_end();
    assert_int_equal(seen.started, seen.ended);
}

static void get(const char *target, const char *fields)
{
    char request[4096];

    snprintf(request, sizeof(request),
             "GET %s HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n%s\r\n", target, fields);
    ask(request, out, sizeof(out));
}

static void assert_says(const char *text)
{
    if (strcasestr(out, text) == NULL)
        fail_msg("no %s in: %.3000s", text, out);
}

static void assert_silent(const char *text)
{
    if (strcasestr(out, text) != NULL)
        fail_msg("%s in: %.3000s", text, out);
}

static void test_what_is_no_request_for_us_is_refused(void **state)
{
    static const struct {
        const char *request, *status, *says;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: b.test\r\n", "421", "\r\n\r\n"},
        {"GET / HTTP/1.1\r\nHost: a.test.evil\r\n", "421", "\r\n\r\n"},
        {"GET / HTTP/1.1\r\nHost: a b\r\n", "400", "Host field"},
        {"GET / HTTP/1.1\r\nHost: x@a.test\r\n", "400", "Host field"},
        {"GET / HTTP/1.0\r\n", "421", "\r\n\r\n"},
        {"TRACE / HTTP/1.1\r\nHost: a.test\r\n", "405", "\r\nallow: GET"},
        {"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n", "405", "\r\nallow: GET"},
        {"GET /a\\b HTTP/1.1\r\nHost: a.test\r\n", "400", "target"},
        {"GET /a#b HTTP/1.1\r\nHost: a.test\r\n", "400", "target"},
        {"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/grpc+proto\r\n", "501",
         "gRPC"},
        {"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX: ",
         "501", "WebSocket"},
    };
    char request[1000], want[40];

    (void)state;
    start();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(request, sizeof(request), "%sConnection: close\r\n\r\n", cases[i].request);
        ask(request, out, sizeof(out));
        snprintf(want, sizeof(want), "HTTP/1.1 %s ", cases[i].status);
        assert_says(want);
        assert_says(cases[i].says);
        assert_says("\r\nx-request-id: ");
        assert_silent("www");
    }
    assert_int_equal(seen.started, 0);
    end();
}

static void test_an_unknown_host_learns_nothing(void **state)
{
    char *body;

    (void)state;
    start();
    ask("GET / HTTP/1.1\r\nHost: b.test\r\nConnection: close\r\n\r\n", out, sizeof(out));
    body = strstr(out, "\r\n\r\n");
    assert_non_null(body);
    assert_string_equal(body, "\r\n\r\n");
    end();
}

static void test_a_target_of_over_8_kib_gets_a_414(void **state)
{
    static char request[20000], path[9000];

    (void)state;
    start();
    memset(path, 'a', 8193);
    path[0] = '/';
    for (size_t bytes = 8192; bytes <= 8193; bytes++) {
        snprintf(request, sizeof(request),
                 "GET %.*s HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", (int)bytes,
                 path);
        ask(request, out, sizeof(out));
        assert_says(bytes == 8192 ? "HTTP/1.1 200" : "HTTP/1.1 414");
    }
    end();
}

static void test_the_cache_gets_the_request_as_it_came(void **state)
{
    (void)state;
    start();
    ask("POST /x?b=1&a=%2f HTTP/1.1\r\nHost: A.Test.:8080\r\nContent-Length: 5\r\nConnection: "
        "close\r\n\r\nhello",
        out, sizeof(out));
    assert_says("HTTP/1.1 200");
    end();
    assert_string_equal(seen.method, "POST");
    assert_string_equal(seen.host, "a.test");
    assert_string_equal(seen.target, "/x?b=1&a=%2f");
    assert_string_equal(seen.client, "127.0.0.1");
    assert_string_equal(seen.body, "hello");
    assert_true(seen.has_body);
    assert_false(seen.is_https);
    start();
    get("/", "");
    end();
    assert_false(seen.has_body);
}

static void take_four_bytes(struct snapshot *s)
{
    s->site[0].max_request_body = 4;
}

static void test_a_site_may_take_smaller_bodies_than_its_neighbour(void **state)
{
    (void)state;
    world_prepare = take_four_bytes;
    start();
    world_prepare = NULL;
    ask("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
        out, sizeof(out));
    assert_says("HTTP/1.1 413");
    assert_says("limit of 4 bytes");
    ask("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\nConnection: close\r\n\r\nhell",
        out, sizeof(out));
    assert_says("HTTP/1.1 200");
    end();
}

static void test_health_comes_before_everything(void **state)
{
    static const char anywhere[] =
        "GET /.well-known/selvage/health HTTP/1.1\r\nHost: who.knows\r\nConnection: close\r\n\r\n";

    (void)state;
    for (int is_redirect = 0; is_redirect < 2; is_redirect++) {
        world_redirects = is_redirect;
        start();
        ask(anywhere, out, sizeof(out));
        assert_says("HTTP/1.1 200");
        assert_says("\r\n\r\nok\n");
        atomic_store(&seen.health, SERVER_DRAINING);
        ask(anywhere, out, sizeof(out));
        assert_says("HTTP/1.1 503");
        assert_says("\r\n\r\ndraining\n");
        atomic_store(&seen.health, SERVER_STUCK);
        ask(anywhere, out, sizeof(out));
        assert_says("\r\n\r\nstuck\n");
        get("/.well-known/selvage/healthy", "");
        assert_silent("stuck");
        end();
    }
    world_redirects = false;
}

static void test_port_80_redirects_to_known_hosts_only(void **state)
{
    (void)state;
    world_redirects = true;
    start();
    get("/x?y=1&z=%20", "");
    assert_says("HTTP/1.1 301");
    assert_says("\r\nlocation: https://a.test/x?y=1&z=%20\r\n");
    ask("POST /p HTTP/1.1\r\nHost: A.TEST:80\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx",
        out, sizeof(out));
    assert_says("HTTP/1.1 308");
    assert_says("\r\nlocation: https://a.test/p\r\n");
    ask("GET //evil.test/ HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", out, sizeof(out));
    assert_says("\r\nlocation: https://a.test//evil.test/\r\n");
    ask("GET / HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n", out, sizeof(out));
    assert_says("HTTP/1.1 421");
    assert_silent("location");
    assert_int_equal(seen.started, 0);
    end();
    world_redirects = false;
}

static void assert_pulled_body(const char *body)
{
    for (size_t i = 0; i < BIG_BYTES; i++)
        if (body[i] != (char)('a' + i % 23))
            fail_msg("wrong from byte %zu", i);
}

static void test_a_pulled_answer_is_whole_and_says_what_it_is(void **state)
{
    (void)state;
    start();
    get("/pulled", "");
    assert_says("HTTP/1.1 200 OK\r\n");
    assert_says("\r\nContent-Length: 3145728\r\n");
    assert_says("\r\nDate: Fri, 02 Jan 1970 00:00:00 GMT\r\n");
    assert_says("\r\nage: 7\r\n");
    assert_says("\r\nvia: 1.1 unit\r\n");
    assert_says("\r\ncache-status: unit; hit; ttl=5\r\n");
    assert_says("\r\netag: \"e\"\r\n");
    assert_silent("secret");
    assert_silent("injected");
    assert_silent("theirs");
    assert_silent("77\r\n");
    assert_pulled_body(strstr(out, "\r\n\r\n") + 4);
    get("/304", "");
    assert_says("HTTP/1.1 304");
    assert_silent("Date: Fri, 02 Jan 1970");
    assert_silent("content-length");
    end();
}

static void test_head_has_the_length_and_no_body(void **state)
{
    char *body;

    (void)state;
    start();
    ask("HEAD /pulled HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", out, sizeof(out));
    assert_says("\r\nContent-Length: 3145728\r\n");
    body = strstr(out, "\r\n\r\n");
    assert_string_equal(body, "\r\n\r\n");
    end();
}

static void test_a_pushed_answer_goes_on_after_each_wait(void **state)
{
    (void)state;
    start();
    get("/pushed", "");
    assert_says("\r\ntransfer-encoding: chunked\r\n");
    assert_non_null(strstr(out, "\r\n0\r\n\r\n"));
    ask("GET /pushed HTTP/1.0\r\nHost: a.test\r\n\r\n", out, sizeof(out));
    assert_string_equal(strstr(out, "\r\n\r\n"), "\r\n\r\npiece\npiece\npiece\npiece\npiece\n");
    end();
}

static void test_a_broken_body_never_ends_cleanly(void **state)
{
    int fd;

    (void)state;
    start();
    get("/broken", "");
    assert_says("HTTP/1.1 200");
    assert_null(strstr(out, "\r\n0\r\n\r\n"));
    get("/short", "");
    assert_says("\r\nContent-Length: 1000\r\n");
    get("/broken-at-once", "");
    assert_says("HTTP/1.1 502");
    /* HTTP/1.0 has only the reset to say it with */
    fd = client_connect(0);
    client_say(fd, "GET /broken HTTP/1.0\r\nHost: a.test\r\n\r\n");
    while (recv(fd, out, sizeof(out), 0) > 0)
        continue;
    assert_int_equal(errno, ECONNRESET);
    close(fd);
    end();
}

static void test_the_head_of_a_stream_comes_before_its_first_byte(void **state)
{
    int fd;

    (void)state;
    start();
    fd = client_connect(0);
    client_say(fd, "GET /stream HTTP/1.1\r\nHost: a.test\r\n\r\n");
    client_read(fd, out, sizeof(out), "\r\n\r\n");
    assert_says("HTTP/1.1 200");
    close(fd);
    end();
}

static void wait_for_end(const char *target, int64_t at_most_ms)
{
    int fd = client_connect(0);
    char request[200];
    int64_t since_ms;

    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: a.test\r\n\r\n", target);
    client_say(fd, request);
    WAIT_FOR(seen.started == 1);
    since_ms = clock_mono_ms();
    close(fd);
    WAIT_FOR(seen.ended == 1);
    if (clock_mono_ms() - since_ms > at_most_ms)
        fail_msg("%s: %lld ms", target, (long long)(clock_mono_ms() - since_ms));
}

static void test_a_stream_ends_soon_after_its_client_has_left(void **state)
{
    (void)state;
    start();
    wait_for_end("/stream", 1500); /* 1 s, and this machine may be busy */
    end();
}

static void test_who_leaves_before_the_answer_is_noticed_too(void **state)
{
    (void)state;
    start();
    wait_for_end("/hold", 9000);
    end();
}

static void test_an_answer_for_who_has_just_left_is_none(void **state)
{
    (void)state;
    start();
    wait_for_end("/late", 9000);
    end();
}

static void test_an_answer_waits_for_the_interim_responses_before_it(void **state)
{
    const char *at;

    (void)state;
    start();
    get("/early", "");
    for (int i = 0; i < 2; i++) {
        at = strstr(i == 0 ? out : at + 1, "HTTP/1.1 103 Early Hints\r\nx-early: 1\r\n\r\n");
        assert_non_null(at);
    }
    at = strstr(at, "\r\n\r\n");
    assert_ptr_equal(strstr(at, "HTTP/1.1 200"), at + 4);
    assert_null(strstr(at, "x-early"));
    assert_says("piece\n");
    end();
}

static void test_waiting_requests_do_not_hold_up_the_end(void **state)
{
    int fd;

    (void)state;
    start();
    fd = client_connect(0);
    client_say(fd, "GET /hold HTTP/1.1\r\nHost: a.test\r\n\r\n");
    WAIT_FOR(seen.started == 1);
    end();
    close(fd);
}

static void test_a_line_of_the_log_tells_nothing_it_should_not(void **state)
{
    char file[300];
    struct log_options opt = {.access_file = file, .level = LOG_LEVEL_ERROR};
    FILE *f;
    size_t n;

    (void)state;
    snprintf(file, sizeof(file), "%s", certs_path("access.log"));
    assert_int_equal(log_open(&opt), ERR_OK);
    start();
    get("/pushed?token=hunter2&q=1", "Cookie: c=hunter2\r\nAuthorization: hunter2\r\n");
    get("/a\\b", "");
    end();
    log_close();
    f = fopen(file, "r");
    assert_non_null(f);
    n = fread(out, 1, sizeof(out) - 1, f);
    out[n] = '\0';
    fclose(f);
    assert_silent("hunter2");
    assert_silent("127.0.0.1");
    assert_says("\"client\":\"127.0.0.0\"");
    assert_says("\"path\":\"/pushed?token=-&q=1\"");
    assert_says("\"verdict\":\"hit\",\"reason\":\"fresh\"");
    assert_says("\"status\":200,\"bytes\":30,");
    assert_says("\"status\":400,");
    assert_says("\"verdict\":\"refused\",\"reason\":\"malformed-target\"");
}

/* ---- HTTP/2 ---- */

static void h2_begin(struct h2 *h)
{
    static char cert[300];

    memset(&seen, 0, sizeof(seen));
    snprintf(cert, sizeof(cert), "%s", certs_path("request.pem"));
    certs_write(cert, cert, "DNS:a.test", false);
    world_start(cert);
    h2_open(h, 1, "a.test");
}

static void test_streams_of_http2_get_the_same_answers(void **state)
{
    struct h2 h;
    struct h2_block b;
    struct h2_answer a;

    (void)state;
    h2_begin(&h);
    h2_request(&b, "GET", "/pushed");
    h2_wait(&h, h2_ask(&h, &b, H2_END_STREAM), &a);
    assert_string_equal(a.status, "200");
    assert_string_equal(a.body, "piece\npiece\npiece\npiece\npiece\n");
    h2_request(&b, "GET", "/broken");
    h2_wait(&h, h2_ask(&h, &b, H2_END_STREAM), &a);
    assert_int_equal(a.type, H2_RST_STREAM);
    h2_request(&b, "GET", "/short");
    h2_wait(&h, h2_ask(&h, &b, H2_END_STREAM), &a);
    assert_int_equal(a.type, H2_RST_STREAM);
    h2_close(&h);
    end();
    assert_true(seen.is_https);
}

static void test_a_host_that_the_certificate_does_not_cover_gets_a_421(void **state)
{
    struct h2 h;
    struct h2_block b;
    struct h2_answer a;
    static char cert[300];

    (void)state;
    memset(&seen, 0, sizeof(seen));
    snprintf(cert, sizeof(cert), "%s", certs_path("other.pem"));
    certs_write(cert, cert, "DNS:other.test", false);
    world_start(cert);
    h2_open(&h, 1, "a.test");
    h2_request(&b, "GET", "/pushed");
    h2_wait(&h, h2_ask(&h, &b, H2_END_STREAM), &a);
    assert_string_equal(a.status, "421");
    assert_int_equal(a.body_bytes, 0);
    assert_int_equal(seen.started, 0);
    h2_close(&h);
    end();
}

static void test_a_reset_stream_ends_its_exchange(void **state)
{
    struct h2 h;
    struct h2_block b;
    uint32_t stream;

    (void)state;
    h2_begin(&h);
    h2_request(&b, "GET", "/hold");
    stream = h2_ask(&h, &b, H2_END_STREAM);
    WAIT_FOR(seen.started == 1);
    h2_frame(&h, H2_RST_STREAM, 0, stream, "\0\0\0\x08", 4);
    WAIT_FOR(seen.ended == 1);
    h2_close(&h);
    end();
}

static int always_end(void **state)
{
    (void)state;
    world_end();
    world_redirects = false;
    return 0;
}

int main(void)
{
#define TEST(f) cmocka_unit_test_teardown(f, always_end)
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_no_request_for_us_is_refused),
        TEST(test_an_unknown_host_learns_nothing),
        TEST(test_a_target_of_over_8_kib_gets_a_414),
        TEST(test_the_cache_gets_the_request_as_it_came),
        TEST(test_a_site_may_take_smaller_bodies_than_its_neighbour),
        TEST(test_health_comes_before_everything),
        TEST(test_port_80_redirects_to_known_hosts_only),
        TEST(test_a_pulled_answer_is_whole_and_says_what_it_is),
        TEST(test_head_has_the_length_and_no_body),
        TEST(test_a_pushed_answer_goes_on_after_each_wait),
        TEST(test_a_broken_body_never_ends_cleanly),
        TEST(test_the_head_of_a_stream_comes_before_its_first_byte),
        TEST(test_a_stream_ends_soon_after_its_client_has_left),
        TEST(test_who_leaves_before_the_answer_is_noticed_too),
        TEST(test_an_answer_for_who_has_just_left_is_none),
        TEST(test_an_answer_waits_for_the_interim_responses_before_it),
        TEST(test_waiting_requests_do_not_hold_up_the_end),
        TEST(test_a_line_of_the_log_tells_nothing_it_should_not),
        TEST(test_streams_of_http2_get_the_same_answers),
        TEST(test_a_host_that_the_certificate_does_not_cover_gets_a_421),
        TEST(test_a_reset_stream_ends_its_exchange),
    };

    return cmocka_run_group_tests(tests, certs_setup, certs_teardown);
}
