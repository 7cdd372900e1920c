/* struct cache_fetcher over lib/upstream: the two know nothing of each other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/request.h"

enum { SAID_BYTES = 1024 };

struct fetch {
    struct upstream_fetch *upstream;
    const struct cache_fetch_events *events;
    void *fill;
    bool is_ending; /* done() is on the stack, and frees it */
};

static enum cache_framing framing_of(enum upstream_framing f)
{
    switch (f) {
    case UPSTREAM_NO_BODY:
        return CACHE_NO_BODY;
    case UPSTREAM_LENGTH:
        return CACHE_LENGTH;
    case UPSTREAM_CHUNKED:
        return CACHE_CHUNKED;
    case UPSTREAM_TO_CLOSE:
        break;
    }
    return CACHE_TO_CLOSE;
}

static enum response_failure failure_of(enum upstream_failure f)
{
    switch (f) {
    case UPSTREAM_OK:
        return RESPONSE_CAME;
    case UPSTREAM_FAILED_TIMEOUT:
        return RESPONSE_TIMED_OUT;
    case UPSTREAM_FAILED_OVERLOAD:
        return RESPONSE_OVERLOADED;
    case UPSTREAM_FAILED_RESOLVE:
    case UPSTREAM_FAILED_CONNECT:
    case UPSTREAM_FAILED_TLS:
    case UPSTREAM_FAILED_CLOSED:
    case UPSTREAM_FAILED_GARBAGE:
    case UPSTREAM_FAILED_TRUNCATED:
        break;
    }
    return RESPONSE_UNREACHABLE;
}

static void on_head(void *user, const struct upstream_head *h)
{
    struct fetch *f = user;
    struct cache_fetch_head head = {
        .status = h->status,
        .fields = &h->fields,
        .framing = framing_of(h->framing),
        .body_bytes = h->body_bytes,
        .sent_mono_ms = h->sent_mono_ms,
    };

    f->events->head(f->fill, &head); /* may cancel, and so free it */
}

static enum upstream_flow on_body(void *user, const char *p, size_t n)
{
    struct fetch *f = user;

    return f->events->body(f->fill, p, n) ? UPSTREAM_GO_ON : UPSTREAM_PAUSE;
}

static void on_done(void *user, enum upstream_failure failure, const char *text)
{
    struct fetch *f = user;
    const char *name = text == NULL ? NULL : strstr(text, ": ");
    char said[SAID_BYTES];

    /* for the log: whoever looks after the origin has to know what is wrong with it; the site's
     * name, which `text` begins with, stands there already */
    snprintf(said, sizeof(said), "%s%s", upstream_failure_name(failure), name == NULL ? "" : name);
    f->is_ending = true;
    f->events->done(f->fill, failure_of(failure), failure == UPSTREAM_OK, said);
    free(f);
}

static enum err start(void *user, const struct cache_fetch_request *rq,
                      const struct cache_fetch_events *events, void *fill, void **out_fetch)
{
    static const struct upstream_events ours = {on_head, on_body, on_done};
    struct worker *w = user;
    const struct snapshot_origin *origin = rq->site->user;
    struct upstream_request request = {
        .target = origin->target,
        .method = rq->method,
        .request_target = rq->target,
        .host = origin->host_header.p != NULL ? origin->host_header : rq->host,
        .fields = rq->fields,
        .body = rq->body,
        .has_body = rq->has_body,
        .stream = rq->is_stream,
        .is_idempotent = rq->is_idempotent,
    };
    struct fetch *f = calloc(1, sizeof(*f));
    enum err e;

    if (f == NULL)
        return ERR_NOMEM;
    f->events = events;
    f->fill = fill;
    e = upstream_fetch(w->upstream, &request, &ours, f, &f->upstream);
    if (e == ERR_OK)
        *out_fetch = f;
    else
        free(f);
    return e;
}

static void resume(void *fetch)
{
    struct fetch *f = fetch;

    upstream_resume(f->upstream);
}

static void cancel(void *fetch)
{
    struct fetch *f = fetch;

    if (f->is_ending)
        return;
    upstream_cancel(f->upstream);
    free(f);
}

void fetcher_init(struct cache_fetcher *f, struct worker *w)
{
    *f = (struct cache_fetcher){start, resume, cancel, w};
}
