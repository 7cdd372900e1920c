/*
 * fake_fetcher: an origin that answers piece by piece, when the test says so.
 *
 * One for each cache_worker, used on its thread.  A fetch begins when the engine asks, and then
 * nothing happens until one of the functions below is called: the engine's callbacks come from
 * inside those, and never from inside start().
 */
#ifndef TESTS_FAKE_FETCHER_H
#define TESTS_FAKE_FETCHER_H

#include "cache/cache.h"

struct fake_fetcher;
struct fake_fetch; /* lives as long as its fetcher, whatever becomes of it */

/* Owned by the caller; aborts when out of memory. */
struct fake_fetcher *fake_fetcher_new(void);
void fake_fetcher_free(struct fake_fetcher *f);

struct cache_fetcher fake_fetcher_face(struct fake_fetcher *f);

/* The next `n` starts say ERR_NOMEM. */
void fake_fetcher_refuse(struct fake_fetcher *f, unsigned n);

/* Called from inside start(), when there is something to observe at that moment. */
void fake_fetcher_on_start(struct fake_fetcher *f, void (*started)(void *user), void *user);

/* Requests so far, and the i-th of them (aborts when there is none). */
size_t fake_fetcher_count(const struct fake_fetcher *f);
struct fake_fetch *fake_fetcher_at(struct fake_fetcher *f, size_t i);

const char *fake_fetch_method(const struct fake_fetch *r);
const char *fake_fetch_target(const struct fake_fetch *r);
/* NULL: the request has no such field. */
const char *fake_fetch_field(const struct fake_fetch *r, const char *name);
bool fake_fetch_is_running(const struct fake_fetch *r); /* neither over nor cancelled */
bool fake_fetch_is_cancelled(const struct fake_fetch *r);
bool fake_fetch_is_paused(const struct fake_fetch *r);

/* What it says of the purges it knows; "" for nothing. */
const char *fake_fetch_position(const struct fake_fetch *r);
bool fake_fetch_is_direct(const struct fake_fetch *r); /* not from a peer */
void fake_fetch_is_from_peer(struct fake_fetch *r);    /* what comes is a peer's */

/* An interim response, as fake_fetch_head(). */
void fake_fetch_interim(struct fake_fetch *r, int status, const char *fields);

/* The head: fields as "name: value" lines, each ended by '\n'. */
void fake_fetch_head(struct fake_fetch *r, int status, const char *fields,
                     enum cache_framing framing, uint64_t body_bytes);
/* Body bytes; nothing when it has been cancelled. */
void fake_fetch_body(struct fake_fetch *r, const char *p, size_t n);
void fake_fetch_done(struct fake_fetch *r); /* whole */
void fake_fetch_fail(struct fake_fetch *r, enum response_failure f);

/* Head, body and end at once. */
void fake_fetch_answer(struct fake_fetch *r, int status, const char *fields, const char *body);

#endif
