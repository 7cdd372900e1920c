/*
 * fake_origin: an origin on 127.0.0.1 whose every byte the test decides.
 *
 * A script runs for each connection, on a thread of its own; when it returns the connection ends.
 * Reading and writing have a time limit, and origin_stop() ends whatever still waits.  What was
 * asked is kept.
 */
#ifndef TESTS_FAKE_ORIGIN_H
#define TESTS_FAKE_ORIGIN_H

#include <stdbool.h>
#include <stddef.h>

struct origin;
struct origin_conn;

typedef void origin_script(struct origin_conn *c, void *user);

/* `cert` and `key`: PEM files; NULL: without TLS.  Aborts when the machine refuses. */
struct origin *origin_start(origin_script *serve, void *user, const char *cert, const char *key);
void origin_stop(struct origin *o);

const char *origin_url(const struct origin *o); /* scheme://127.0.0.1:port */
int origin_port(const struct origin *o);
unsigned origin_connections(struct origin *o); /* accepted so far */
unsigned origin_requests(struct origin *o);    /* read whole so far */

/* The bytes of a request, head and body, ended by NUL; valid until origin_stop(). */
const char *origin_request(struct origin *o, unsigned number);

/* Let scripts pass that wait in origin_wait_gate(), now and later. */
void origin_open_gate(struct origin *o);

/* For scripts. */

unsigned origin_number(const struct origin_conn *c); /* of the connection, from 0 */
const char *origin_sni(const struct origin_conn *c); /* "" when the client named nobody */
bool origin_wait_gate(struct origin_conn *c);        /* false: the test is over */
bool origin_read(struct origin_conn *c);             /* one request whole; false at the end */
bool origin_say(struct origin_conn *c, const char *text);
bool origin_send(struct origin_conn *c, const char *p,
                 size_t n);                  /* false: nobody listens any more */
void origin_reset(struct origin_conn *c);    /* end with RST, now */
void origin_wait_end(struct origin_conn *c); /* until the other side ends it */

#endif
