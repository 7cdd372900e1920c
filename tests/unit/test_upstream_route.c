/* Routes over shields to the origin, probes of both, and the breaker, over real sockets. */
#include "upstream_world.h"

#include "base/limits.h"
#include "base/metrics.h"
#include "upstream/upstream_priv.h"

enum { NEAR = 0, FAR = 1, ORIGIN = 2, PLACES = 3 };

static const char *const yes[PLACES] = {
    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnear",
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nfar",
    "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\norigin",
};
static const char *const body[PLACES] = {"near", "far", "origin"};

static struct {
    struct origin *place[PLACES];
    struct upstream_target *target[PLACES];
    struct upstream_route *route;
    struct upstream_prober *prober;
} net;

/* Nobody listens where a script is NULL. */
static struct upstream_target *make_target(int at, struct upstream_probe probe)
{
    static const char *nobody = "http://127.0.0.1:1";
    const char *url = net.place[at] != NULL ? origin_url(net.place[at]) : nobody;
    struct upstream_target_options opt = world.opt;
    struct upstream_target *t;

    opt.name = body[at];
    opt.servers = &url;
    opt.is_peer = at != ORIGIN;
    opt.probe = probe;
    assert_int_equal(upstream_target_new(&opt, &t), ERR_OK);
    return t;
}

static void net_start(origin_script *const script[PLACES], struct upstream_probe probe)
{
    struct upstream_hop hop[PLACES];

    world_start(NULL, NULL);
    memset(&net, 0, sizeof(net));
    for (int i = 0; i < PLACES; i++) {
        if (script[i] != NULL)
            net.place[i] = origin_start(script[i], (void *)(uintptr_t)yes[i], NULL, NULL);
        net.target[i] = make_target(i, i == ORIGIN ? (struct upstream_probe){.path = NULL} : probe);
        hop[i] = (struct upstream_hop){net.target[i], (unsigned)i}; /* groups of one */
    }
    assert_int_equal(upstream_route_new(hop, PLACES, &net.route), ERR_OK);
    world.target = upstream_target_ref(net.target[ORIGIN]); /* for who asks without a route */
    assert_int_equal(upstream_prober_new(world.upstream, &net.prober), ERR_OK);
}

static void net_stop(void)
{
    upstream_prober_free(net.prober);
    upstream_route_unref(net.route);
    world_stop();
    for (int i = 0; i < PLACES; i++) {
        upstream_target_unref(net.target[i]);
        if (net.place[i] != NULL)
            origin_stop(net.place[i]);
    }
}

static const struct upstream_probe none = {.path = NULL};

static struct upstream_request routed(const char *target)
{
    struct upstream_request rq = get_request(target);

    rq.route = net.route;
    return rq;
}

static unsigned asked(int at)
{
    return net.place[at] == NULL ? 0 : origin_requests(net.place[at]);
}

/* ---- scripts ---- */

static void end_without_a_byte(struct origin_conn *c, void *user)
{
    (void)user;
    (void)origin_read(c);
}

static void say_draining(struct origin_conn *c, void *user)
{
    (void)user;
    while (origin_read(c) && origin_say(c, "HTTP/1.1 503 No\r\nSelvage-Error: draining\r\n"
                                           "Content-Length: 2\r\n\r\nno"))
        continue;
}

static void say_503(struct origin_conn *c, void *user)
{
    (void)user;
    while (origin_read(c) && origin_say(c, "HTTP/1.1 503 No\r\nSelvage-Error: origin-timeout\r\n"
                                           "Content-Length: 2\r\n\r\nno"))
        continue;
}

static void say_half(struct origin_conn *c, void *user)
{
    (void)user;
    if (origin_read(c))
        origin_say(c, "HTTP/1.1 200 OK\r\nContent-Le");
}

static void say_nothing(struct origin_conn *c, void *user)
{
    (void)user;
    if (origin_read(c))
        origin_wait_end(c);
}

/* ---- leaving ---- */

static void test_what_is_left_and_what_is_not(void **state)
{
    static const struct {
        const char *what;
        origin_script *near, *far;
        const char *method;
        enum upstream_failure failure;
        int from; /* whose answer it is */
    } row[] = {
        {"both are well", serve_text, serve_text, "GET", UPSTREAM_OK, NEAR},
        {"nobody listens", NULL, serve_text, "GET", UPSTREAM_OK, FAR},
        {"nobody listens, for a POST too", NULL, serve_text, "POST", UPSTREAM_OK, FAR},
        {"nobody listens anywhere", NULL, NULL, "POST", UPSTREAM_OK, ORIGIN},
        {"it ends without a byte", end_without_a_byte, serve_text, "GET", UPSTREAM_OK, FAR},
        {"a POST was sent", end_without_a_byte, serve_text, "POST", UPSTREAM_FAILED_CLOSED, -1},
        {"only one more after it was sent", end_without_a_byte, end_without_a_byte, "GET",
         UPSTREAM_FAILED_CLOSED, -1},
        {"sent, and then nobody listens", end_without_a_byte, NULL, "GET", UPSTREAM_OK, ORIGIN},
        {"it drains", say_draining, serve_text, "GET", UPSTREAM_OK, FAR},
        {"it drains, for a POST too", say_draining, serve_text, "POST", UPSTREAM_OK, FAR},
        {"both drain", say_draining, say_draining, "POST", UPSTREAM_OK, ORIGIN},
        {"its origin failed", say_503, serve_text, "GET", UPSTREAM_OK, NEAR},
        {"a byte has come", say_half, serve_text, "GET", UPSTREAM_FAILED_CLOSED, -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        origin_script *const script[] = {row[i].near, row[i].far, serve_text};
        struct client c = {0};
        struct upstream_request rq;

        net_start(script, none);
        rq = routed("/");
        rq.method = slice_of(row[i].method);
        rq.is_idempotent = slice_eq(rq.method, SLICE("GET"));
        ask(&c, rq);
        if (c.failure != row[i].failure)
            fail_msg("%s: %s", row[i].what, c.text);
        for (int at = 0; at < PLACES; at++) /* nobody behind the one that answers is asked */
            if (row[i].from >= 0 && at > row[i].from && asked(at) != 0)
                fail_msg("%s: %s was asked", row[i].what, body[at]);
        if (row[i].from >= 0 && row[i].near != say_503)
            must_have_body(&c, body[row[i].from]);
        if (row[i].from < 0)
            assert_int_equal(asked(ORIGIN), 0);
        client_release(&c);
        net_stop();
    }
}

/* The last one drains too: that is overload, and not an answer. */
static void test_no_hop_is_left(void **state)
{
    origin_script *const script[] = {say_draining, say_draining, NULL};
    struct upstream_hop hop[2];
    struct client c = {0};
    struct upstream_request rq;
    struct upstream_route *r;

    (void)state;
    net_start(script, none);
    hop[0] = (struct upstream_hop){net.target[NEAR], 0};
    hop[1] = (struct upstream_hop){net.target[FAR], 1};
    assert_int_equal(upstream_route_new(hop, 2, &r), ERR_OK);
    rq = routed("/");
    rq.route = r;
    ask(&c, rq);
    must_be(&c, UPSTREAM_FAILED_AWAY);
    assert_false(c.has_head);
    client_release(&c);
    upstream_route_unref(r);
    net_stop();
}

static void test_time_passes_before_a_slow_shield_is_left(void **state)
{
    origin_script *const script[] = {say_nothing, serve_text, serve_text};
    struct client c = {0};

    (void)state;
    net_start(script, none);
    net.target[NEAR]->first_byte_ms = 100;
    ask(&c, routed("/"));
    must_be(&c, UPSTREAM_FAILED_TIMEOUT);
    assert_int_equal(asked(FAR) + asked(ORIGIN), 0);
    client_release(&c);
    net_stop();
}

static void test_each_kind_of_target_gets_its_own_fields(void **state)
{
    struct http_field peer_item[] = {{SLICE("selvage-position"), SLICE("1-2-3")}},
                      origin_item[] = {{SLICE("cdn-loop"), SLICE("me")}},
                      all_item[] = {{SLICE("x-all"), SLICE("yes")}};
    struct http_fields peer = {.item = peer_item, .count = 1},
                       own = {.item = origin_item, .count = 1},
                       all = {.item = all_item, .count = 1};
    origin_script *const script[] = {end_without_a_byte, NULL, serve_text};
    struct client c = {0};
    struct upstream_request rq;
    const char *to_peer, *to_origin;

    (void)state;
    net_start(script, none);
    rq = routed("/");
    rq.fields = &all;
    rq.peer_fields = &peer;
    rq.origin_fields = &own;
    rq.origin_host = SLICE("origin.example.com");
    ask(&c, rq);
    must_be(&c, UPSTREAM_OK);
    must_have_body(&c, "origin");
    to_peer = origin_request(net.place[NEAR], 0);
    to_origin = origin_request(net.place[ORIGIN], 0);
    assert_non_null(strstr(to_peer, "Host: www.example.com\r\n"));
    assert_non_null(strstr(to_peer, "selvage-position: 1-2-3\r\n"));
    assert_non_null(strstr(to_peer, "x-all: yes\r\n"));
    assert_null(strstr(to_peer, "cdn-loop"));
    assert_non_null(strstr(to_origin, "Host: origin.example.com\r\n"));
    assert_non_null(strstr(to_origin, "cdn-loop: me\r\n"));
    assert_non_null(strstr(to_origin, "x-all: yes\r\n"));
    assert_null(strstr(to_origin, "selvage"));
    client_release(&c);
    net_stop();
}

/* ---- probes ---- */

static const struct upstream_probe often = {
    .path = "/up", .host = "up.test", .every_ms = 10, .timeout_ms = 200};

static bool is_down(int at)
{
    return atomic_load(&net.target[at]->server[0].is_down);
}

static void wait_down(int at, bool want)
{
    for (int i = 0; is_down(at) != want; i++) {
        if (i > PATIENCE_MS / 5)
            fail_msg("%s has not changed in time", body[at]);
        world_pass(5);
    }
}

/* Up as long as the gate is open. */
static void serve_gate(struct origin_conn *c, void *text)
{
    if (!origin_read(c))
        return;
    if (origin_wait_gate(c))
        origin_say(c, text);
}

static void test_what_is_down_is_left_without_a_byte(void **state)
{
    origin_script *const script[] = {serve_gate, serve_text, serve_text};
    struct client get = {0}, post = {0}, later = {0};
    struct upstream_request rq;

    (void)state;
    net_start(script, often);
    assert_int_equal(client_start(&get, routed("/get")), ERR_OK);
    rq = routed("/post");
    rq.method = SLICE("POST");
    rq.is_idempotent = false;
    assert_int_equal(client_start(&post, rq), ERR_OK);
    while (asked(NEAR) < 2)
        world_pass(5);
    assert_int_equal(upstream_prober_use(net.prober, net.target, PLACES), ERR_OK);
    client_wait(&get);
    assert_true(is_down(NEAR));
    must_be(&get, UPSTREAM_OK);
    must_have_body(&get, "far");
    assert_int_equal(metrics_get(METRIC_UPSTREAM_SERVERS_DOWN), 1);
    assert_false(post.is_done); /* it may have been heeded already */
    ask(&later, routed("/later"));
    must_have_body(&later, "far");
    origin_open_gate(net.place[NEAR]);
    client_wait(&post);
    must_have_body(&post, "near");
    wait_down(NEAR, false);
    assert_int_equal(metrics_get(METRIC_UPSTREAM_SERVERS_DOWN), 0);
    assert_true(atomic_load(&net.target[NEAR]->server[0].up_since_ms) > 0);
    client_release(&get);
    client_release(&post);
    client_release(&later);
    net_stop();
}

static void test_a_status_decides(void **state)
{
    origin_script *const script[] = {say_503, serve_text, serve_text};

    (void)state;
    net_start(script, often);
    assert_int_equal(upstream_prober_use(net.prober, net.target, PLACES), ERR_OK);
    wait_down(NEAR, true);
    assert_false(is_down(FAR));
    assert_true(asked(NEAR) >= LIMIT_HEALTH_DOWN);
    assert_int_equal(strncmp(origin_request(net.place[NEAR], 0), "GET /up HTTP/1.1\r\n", 18), 0);
    assert_non_null(strstr(origin_request(net.place[NEAR], 0), "Host: up.test\r\n"));
    assert_int_equal(asked(ORIGIN), 0);
    net_stop();
}

/* A reload makes new targets: nobody has to find out again. */
static void test_what_is_known_holds_for_the_next_configuration(void **state)
{
    origin_script *const script[] = {NULL, serve_text, serve_text};
    struct upstream_target *next;

    (void)state;
    net_start(script, often);
    assert_int_equal(upstream_prober_use(net.prober, net.target, PLACES), ERR_OK);
    wait_down(NEAR, true);
    next = make_target(NEAR, often);
    assert_int_equal(upstream_prober_use(net.prober, &next, 1), ERR_OK);
    assert_true(atomic_load(&next->server[0].is_down));
    assert_int_equal(metrics_get(METRIC_UPSTREAM_SERVERS_DOWN), 1);
    upstream_target_unref(next);
    assert_int_equal(upstream_prober_use(net.prober, NULL, 0), ERR_OK);
    assert_int_equal(metrics_get(METRIC_UPSTREAM_SERVERS_DOWN), 0);
    net_stop();
}

static void test_all_down_fails_at_once(void **state)
{
    origin_script *const script[] = {NULL, NULL, NULL};
    struct upstream_hop hop[2];
    struct client c = {0};
    struct upstream_request rq;
    struct upstream_route *r;
    uint64_t sent;

    (void)state;
    net_start(script, often);
    hop[0] = (struct upstream_hop){net.target[NEAR], 0};
    hop[1] = (struct upstream_hop){net.target[FAR], 1};
    assert_int_equal(upstream_route_new(hop, 2, &r), ERR_OK);
    assert_int_equal(upstream_prober_use(net.prober, net.target, PLACES), ERR_OK);
    wait_down(NEAR, true);
    wait_down(FAR, true);
    sent = (uint64_t)metrics_get(METRIC_UPSTREAM_REQUESTS);
    rq = routed("/");
    rq.route = r;
    ask(&c, rq);
    must_be(&c, UPSTREAM_FAILED_DOWN);
    assert_int_equal(metrics_get(METRIC_UPSTREAM_REQUESTS), sent);
    client_release(&c);
    upstream_route_unref(r);
    net_stop();
}

/* ---- servers of one target ---- */

static void test_a_server_that_came_back_begins_slowly(void **state)
{
    static const char *const url[] = {"http://127.0.0.1:1", "http://127.0.0.1:2"};
    struct upstream_target_options opt;
    struct upstream_target *t;
    int64_t now_ms = 1000000;
    unsigned first = 0;

    (void)state;
    world_start(NULL, NULL);
    opt = world.opt;
    opt.servers = url;
    opt.servers_count = 2;
    assert_int_equal(upstream_target_new(&opt, &t), ERR_OK);
    atomic_store(&t->server[0].up_since_ms, now_ms);
    atomic_store(&t->server[0].running, 1); /* all that it may have now */
    atomic_store(&t->server[1].running, 7);
    for (int i = 0; i < 10; i++)
        assert_ptr_equal(upstream__target_pick(t, NULL, 0, now_ms), &t->server[1]);
    for (int i = 0; i < 10; i++)
        first += upstream__target_pick(t, NULL, 0, now_ms + LIMIT_SLOW_START_MS) == &t->server[0];
    assert_int_equal(first, 10);
    atomic_store(&t->server[0].is_down, true);
    assert_ptr_equal(upstream__target_pick(t, &t->server[1], 0, now_ms), &t->server[1]);
    atomic_store(&t->server[1].is_down, true);
    assert_null(upstream__target_pick(t, NULL, 0, now_ms));
    atomic_store(&t->server[0].running, 0);
    atomic_store(&t->server[1].running, 0);
    upstream_target_unref(t);
    world_stop();
}

static void test_running_requests_are_counted(void **state)
{
    struct client c = {0}, d = {0};

    (void)state;
    world_start(say_nothing, NULL);
    assert_int_equal(client_start(&c, get_request("/1")), ERR_OK);
    assert_int_equal(client_start(&d, get_request("/2")), ERR_OK);
    world_wait_requests(2);
    assert_int_equal(atomic_load(&world.target->server[0].running), 2);
    upstream_cancel(c.fetch);
    assert_int_equal(atomic_load(&world.target->server[0].running), 1);
    upstream_cancel(d.fetch);
    assert_int_equal(atomic_load(&world.target->server[0].running), 0);
    client_release(&c);
    client_release(&d);
    world_stop();
}

/* ---- the breaker ---- */

static void test_an_origin_that_fails_every_time_is_left_alone(void **state)
{
    unsigned before;

    (void)state;
    world_start(end_without_a_byte, NULL);
    for (int i = 0; i < LIMIT_BREAKER_FAILURES; i++) {
        struct upstream_request rq = get_request("/");
        struct client c = {0};

        rq.is_idempotent = false;
        ask(&c, rq);
        must_be(&c, UPSTREAM_FAILED_CLOSED);
        client_release(&c);
    }
    before = origin_requests(world.origin);
    assert_int_equal(before, LIMIT_BREAKER_FAILURES);
    for (int i = 0; i < 5; i++) {
        struct client c = {0};

        ask(&c, get_request("/"));
        must_be(&c, UPSTREAM_FAILED_BREAKER);
        client_release(&c);
    }
    assert_int_equal(origin_requests(world.origin), before);
    world_stop();
}

static void test_errors_of_its_own_leave_it_closed(void **state)
{
    (void)state;
    world_start(say_503, NULL);
    for (int i = 0; i < 3 * LIMIT_BREAKER_FAILURES; i++) {
        struct client c = {0};

        ask(&c, get_request("/"));
        must_be(&c, UPSTREAM_OK);
        assert_int_equal(c.status, 503);
        client_release(&c);
    }
    world_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_left_and_what_is_not),
        cmocka_unit_test(test_no_hop_is_left),
        cmocka_unit_test(test_time_passes_before_a_slow_shield_is_left),
        cmocka_unit_test(test_each_kind_of_target_gets_its_own_fields),
        cmocka_unit_test(test_what_is_down_is_left_without_a_byte),
        cmocka_unit_test(test_a_status_decides),
        cmocka_unit_test(test_what_is_known_holds_for_the_next_configuration),
        cmocka_unit_test(test_all_down_fails_at_once),
        cmocka_unit_test(test_a_server_that_came_back_begins_slowly),
        cmocka_unit_test(test_running_requests_are_counted),
        cmocka_unit_test(test_an_origin_that_fails_every_time_is_left_alone),
        cmocka_unit_test(test_errors_of_its_own_leave_it_closed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
