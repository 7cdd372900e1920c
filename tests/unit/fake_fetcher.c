#include "fake_fetcher.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/limits.h"

struct fake_fetch {
    struct arena arena;
    char *method, *target, *position;
    struct http_fields fields;
    const struct cache_fetch_events *events;
    void *fill;
    bool is_over, is_cancelled, is_paused, is_direct, is_peer;
};

struct fake_fetcher {
    struct fake_fetch **fetch;
    size_t count;
    unsigned refuse;
    void (*started)(void *user);
    void *started_user;
};

struct fake_fetcher *fake_fetcher_new(void)
{
    struct fake_fetcher *f = calloc(1, sizeof(*f));

    CHECK(f != NULL);
    return f;
}

void fake_fetcher_free(struct fake_fetcher *f)
{
    for (size_t i = 0; i < f->count; i++) {
        arena_release(&f->fetch[i]->arena);
        free(f->fetch[i]);
    }
    free(f->fetch);
    free(f);
}

void fake_fetcher_refuse(struct fake_fetcher *f, unsigned n)
{
    f->refuse = n;
}

void fake_fetcher_on_start(struct fake_fetcher *f, void (*started)(void *user), void *user)
{
    f->started = started;
    f->started_user = user;
}

static void copy_fields(struct fake_fetch *r, const struct http_fields *from)
{
    for (size_t i = 0; i < from->count; i++) {
        struct slice name = arena_dup(&r->arena, from->item[i].name);
        struct slice value = arena_dup(&r->arena, from->item[i].value);

        CHECK(http_fields_add(&r->fields, &r->arena, 1000, name, value) == ERR_OK);
    }
}

static enum err start(void *user, const struct cache_fetch_request *rq,
                      const struct cache_fetch_events *ev, void *fill, void **out_fetch)
{
    struct fake_fetcher *f = user;
    struct fake_fetch *r;

    if (f->refuse > 0) {
        f->refuse--;
        return ERR_NOMEM;
    }
    r = calloc(1, sizeof(*r));
    f->fetch = realloc(f->fetch, (f->count + 1) * sizeof(*f->fetch));
    CHECK(r != NULL && f->fetch != NULL);
    arena_init(&r->arena, NULL, 0, 1 << 20);
    r->method = arena_text(&r->arena, rq->method);
    r->target = arena_text(&r->arena, rq->target);
    r->position = arena_text(&r->arena, rq->position);
    r->is_direct = rq->is_direct;
    copy_fields(r, rq->fields);
    r->events = ev;
    r->fill = fill;
    f->fetch[f->count++] = r;
    *out_fetch = r;
    if (f->started != NULL)
        f->started(f->started_user);
    return ERR_OK;
}

static void resume(void *fetch)
{
    struct fake_fetch *r = fetch;

    CHECK(!r->is_over && !r->is_cancelled);
    r->is_paused = false;
}

static void cancel(void *fetch)
{
    struct fake_fetch *r = fetch;

    CHECK(!r->is_over && !r->is_cancelled);
    r->is_cancelled = true;
}

struct cache_fetcher fake_fetcher_face(struct fake_fetcher *f)
{
    return (struct cache_fetcher){.start = start, .resume = resume, .cancel = cancel, .user = f};
}

size_t fake_fetcher_count(const struct fake_fetcher *f)
{
    return f->count;
}

struct fake_fetch *fake_fetcher_at(struct fake_fetcher *f, size_t i)
{
    CHECK(i < f->count);
    return f->fetch[i];
}

const char *fake_fetch_method(const struct fake_fetch *r)
{
    return r->method;
}

const char *fake_fetch_target(const struct fake_fetch *r)
{
    return r->target;
}

const char *fake_fetch_field(const struct fake_fetch *r, const char *name)
{
    return http_fields_value(&r->fields, slice_of(name)).p;
}

bool fake_fetch_is_running(const struct fake_fetch *r)
{
    return !r->is_over && !r->is_cancelled;
}

bool fake_fetch_is_cancelled(const struct fake_fetch *r)
{
    return r->is_cancelled;
}

bool fake_fetch_is_paused(const struct fake_fetch *r)
{
    return r->is_paused;
}

const char *fake_fetch_position(const struct fake_fetch *r)
{
    return r->position;
}

bool fake_fetch_is_direct(const struct fake_fetch *r)
{
    return r->is_direct;
}

void fake_fetch_is_from_peer(struct fake_fetch *r)
{
    r->is_peer = true;
}

static void parse_lines(struct slice text, struct arena *a, struct http_fields *out)
{
    while (text.n > 0) {
        struct slice line = slice_head(text, slice_index(text, '\n'));
        size_t colon = slice_index(line, ':');

        CHECK(colon < line.n);
        CHECK(http_fields_add(out, a, 1000, slice_head(line, colon),
                              slice_trim(slice_from(line, colon + 1))) == ERR_OK);
        text = slice_from(text, line.n + 1);
    }
}

void fake_fetch_head(struct fake_fetch *r, int status, const char *fields,
                     enum cache_framing framing, uint64_t body_bytes)
{
    struct http_fields list = {0};
    char *text = strdup(fields); /* gone after the call, as the real one's */
    struct arena arena;
    struct cache_fetch_head h = {.status = status,
                                 .fields = &list,
                                 .framing = framing,
                                 .body_bytes = body_bytes,
                                 .sent_mono_ms = clock_mono_ms(),
                                 .is_peer = r->is_peer};

    CHECK(text != NULL && fake_fetch_is_running(r));
    arena_init(&arena, NULL, 0, 1 << 20);
    parse_lines(slice_of(text), &arena, &list);
    r->events->head(r->fill, &h);
    memset(text, 'X', strlen(text));
    free(text);
    arena_release(&arena);
}

void fake_fetch_interim(struct fake_fetch *r, int status, const char *fields)
{
    struct http_fields list = {0};
    char *text = strdup(fields);
    struct arena arena;

    CHECK(text != NULL && fake_fetch_is_running(r));
    arena_init(&arena, NULL, 0, 1 << 20);
    parse_lines(slice_of(text), &arena, &list);
    r->events->interim(r->fill, status, &list);
    memset(text, 'X', strlen(text));
    free(text);
    arena_release(&arena);
}

void fake_fetch_body(struct fake_fetch *r, const char *p, size_t n)
{
    if (r->is_cancelled)
        return;
    CHECK(!r->is_over);
    r->is_paused = !r->events->body(r->fill, p, n) && !r->is_cancelled;
}

void fake_fetch_done(struct fake_fetch *r)
{
    if (r->is_cancelled)
        return;
    CHECK(!r->is_over);
    r->is_over = true;
    r->events->done(r->fill, RESPONSE_CAME, true, "");
}

void fake_fetch_fail(struct fake_fetch *r, enum response_failure f)
{
    CHECK(fake_fetch_is_running(r));
    r->is_over = true;
    r->events->done(r->fill, f, false, "failed for a test");
}

void fake_fetch_answer(struct fake_fetch *r, int status, const char *fields, const char *body)
{
    size_t n = strlen(body);

    fake_fetch_head(r, status, fields, n == 0 ? CACHE_NO_BODY : CACHE_LENGTH, n);
    if (n > 0)
        fake_fetch_body(r, body, n);
    fake_fetch_done(r);
}
