/* upstream_world: a loop, an origin that is scripted, and a client that notes what it is told. */
#ifndef TESTS_UPSTREAM_WORLD_H
#define TESTS_UPSTREAM_WORLD_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "fake_origin.h"
#include "fake_reactor.h"
#include "upstream/upstream.h"

enum {
    PATIENCE_MS = 20000,       /* of a test, before it gives up: never asserted tighter */
    BODY_KEPT_BYTES = 4 << 20, /* of an answer's body; longer ones are only counted */
};

struct world {
    struct reactor *reactor;
    struct upstream *upstream;
    struct origin *origin;
    struct upstream_target_options opt;
    const char *servers[4];
    struct upstream_target *target; /* made from opt by the first ask() */
};

static struct world world;

static inline void world_start(origin_script *serve, void *user)
{
    signal(SIGPIPE, SIG_IGN); /* as the daemon does: OpenSSL writes to sockets that have ended */
    world = (struct world){.reactor = fake_reactor_new(FAKE_CLOCK_REAL)};
    assert_int_equal(upstream_new(world.reactor, &world.upstream), ERR_OK);
    world.opt = (struct upstream_target_options){
        .name = "www",
        .servers = world.servers,
        .servers_count = 1,
        .verify = true,
        .allow_local = true,
        .connections = 8,
        .queue = 8,
        .connect_ms = PATIENCE_MS,
        .first_byte_ms = PATIENCE_MS,
        .idle_ms = PATIENCE_MS,
    };
    if (serve != NULL) {
        world.origin = origin_start(serve, user, NULL, NULL);
        world.servers[0] = origin_url(world.origin);
    }
}

static inline void world_stop(void)
{
    upstream_free(world.upstream);
    fake_reactor_drain(world.reactor);
    upstream_target_unref(world.target);
    fake_reactor_free(world.reactor);
    if (world.origin != NULL)
        origin_stop(world.origin);
}

/* One fetch and what became of it. */
struct client {
    struct upstream_fetch *fetch;
    bool has_head, is_done;
    unsigned heads, dones;
    int status;
    enum upstream_framing framing;
    uint64_t body_bytes;
    struct buf fields;   /* "name: value\n" each */
    struct buf interims; /* "status\n", and their fields likewise */
    struct buf body;
    uint64_t received;
    enum upstream_failure failure;
    char text[700];

    /* what it does */
    bool cancels_in_interim, cancels_in_head, cancels_in_body, cancels_in_done;
    bool pauses; /* after each piece of the body */
    bool is_paused;
    bool is_broken_in_on; /* was told of a body while paused, or of anything after the end */
    void (*in_done)(struct client *c);
    bool *flag; /* set with each event */
};

static inline void client_event(struct client *c)
{
    if (c->dones > 0)
        c->is_broken_in_on = true;
    if (c->flag != NULL)
        *c->flag = true;
}

static inline void client_interim(void *user, int status, const struct http_fields *fields)
{
    struct client *c = user;

    client_event(c);
    if (c->has_head)
        c->is_broken_in_on = true;
    buf_addf(&c->interims, "%d\n", status);
    for (size_t i = 0; i < fields->count; i++) {
        buf_add(&c->interims, fields->item[i].name);
        buf_add(&c->interims, SLICE(": "));
        buf_add(&c->interims, fields->item[i].value);
        buf_add_char(&c->interims, '\n');
    }
    if (c->cancels_in_interim) {
        upstream_cancel(c->fetch);
        c->fetch = NULL;
    }
}

static inline void client_head(void *user, const struct upstream_head *h)
{
    struct client *c = user;

    client_event(c);
    c->heads++;
    c->has_head = true;
    c->status = h->status;
    c->framing = h->framing;
    c->body_bytes = h->body_bytes;
    for (size_t i = 0; i < h->fields.count; i++) {
        buf_add(&c->fields, h->fields.item[i].name);
        buf_add(&c->fields, SLICE(": "));
        buf_add(&c->fields, h->fields.item[i].value);
        buf_add_char(&c->fields, '\n');
    }
    if (c->cancels_in_head) {
        upstream_cancel(c->fetch);
        c->fetch = NULL;
    }
}

static inline enum upstream_flow client_body(void *user, const char *p, size_t n)
{
    struct client *c = user;

    client_event(c);
    if (c->is_paused || c->fetch == NULL)
        c->is_broken_in_on = true;
    c->received += n;
    if (c->received <= BODY_KEPT_BYTES)
        buf_add(&c->body, (struct slice){p, n});
    if (c->cancels_in_body) {
        upstream_cancel(c->fetch);
        c->fetch = NULL;
        return UPSTREAM_GO_ON;
    }
    c->is_paused = c->pauses;
    return c->pauses ? UPSTREAM_PAUSE : UPSTREAM_GO_ON;
}

static inline void client_done(void *user, enum upstream_failure f, const char *text)
{
    struct client *c = user;

    client_event(c);
    if (c->fetch == NULL)
        c->is_broken_in_on = true;
    c->dones++;
    c->failure = f;
    snprintf(c->text, sizeof(c->text), "%s", text);
    if (c->cancels_in_done)
        upstream_cancel(c->fetch);
    c->fetch = NULL;
    c->is_done = true;
    if (c->in_done != NULL)
        c->in_done(c);
}

static const struct upstream_events client_events = {client_head, client_body, client_done, NULL,
                                                     client_interim};

static inline void client_reset(struct client *c)
{
    buf_release(&c->fields);
    buf_release(&c->interims);
    buf_release(&c->body);
    memset(c, 0, sizeof(*c));
    buf_init(&c->fields, 1 << 20);
    buf_init(&c->interims, 1 << 16);
    buf_init(&c->body, BODY_KEPT_BYTES);
}

static inline struct upstream_request get_request(const char *target)
{
    return (struct upstream_request){.method = SLICE("GET"),
                                     .request_target = slice_of(target),
                                     .host = SLICE("www.example.com"),
                                     .is_idempotent = true};
}

/* `c` is zeroed, or has what it does; ends with client_release(). */
static inline enum err client_start(struct client *c, struct upstream_request rq)
{
    buf_init(&c->fields, 1 << 20);
    buf_init(&c->interims, 1 << 16);
    buf_init(&c->body, BODY_KEPT_BYTES);
    if (world.target == NULL)
        assert_int_equal(upstream_target_new(&world.opt, &world.target), ERR_OK);
    if (rq.target == NULL)
        rq.target = world.target;
    return upstream_fetch(world.upstream, &rq, &client_events, c, &c->fetch);
}

static inline void client_release(struct client *c)
{
    assert_false(c->is_broken_in_on);
    assert_true(c->dones <= 1 && c->heads <= 1);
    buf_release(&c->fields);
    buf_release(&c->interims);
    buf_release(&c->body);
}

static inline void client_wait(struct client *c)
{
    if (!fake_reactor_run_until(world.reactor, &c->is_done, PATIENCE_MS))
        fail_msg("no end of the fetch in time");
}

static inline void client_wait_head(struct client *c)
{
    if (!fake_reactor_run_until(world.reactor, &c->has_head, PATIENCE_MS))
        fail_msg("no head in time");
}

static inline void ask(struct client *c, struct upstream_request rq)
{
    assert_int_equal(client_start(c, rq), ERR_OK);
    client_wait(c);
}

static inline void must_be(const struct client *c, enum upstream_failure want)
{
    if (c->failure != want)
        fail_msg("%s, not %s: %s", upstream_failure_name(c->failure), upstream_failure_name(want),
                 c->text);
}

static inline void must_have_body(const struct client *c, const char *want)
{
    if (!slice_eq(buf_slice(&c->body), slice_of(want)))
        fail_msg("the body is \"%.*s\", not \"%s\"", (int)c->body.n, c->body.n ? c->body.p : "",
                 want);
}

static inline void must_have_field(const struct client *c, const char *line)
{
    if (c->fields.n == 0 || memmem(c->fields.p, c->fields.n, line, strlen(line)) == NULL)
        fail_msg("\"%s\" is not among\n%.*s", line, (int)c->fields.n,
                 c->fields.n ? c->fields.p : "");
}

/* Turn the loop for `ms`: for what must not happen. */
static inline void world_pass(int ms)
{
    bool never = false;

    fake_reactor_run_until(world.reactor, &never, ms);
}

/* Turn the loop until the origin has read `n` requests whole. */
static inline void world_wait_requests(unsigned n)
{
    for (int i = 0; origin_requests(world.origin) < n; i++) {
        if (i > PATIENCE_MS / 5)
            fail_msg("the origin has not read the request in time");
        world_pass(5);
    }
}

/* The usual script: the same answer to each request, for as long as the client likes. */
static inline void serve_text(struct origin_conn *c, void *text)
{
    while (origin_read(c) && origin_say(c, text))
        continue;
}

#endif
