/*
 * guards: what stands between libh2o 2.2.5 and strangers.
 *
 * libh2o calls its parsers through the dynamic linker, so functions of the same names in this
 * program come first: each looks at the bytes, and then calls the original or refuses.  guard_h1.c:
 * request heads of HTTP/1; guard_chunked.c: chunked bodies; guard_h2.c: frames, header blocks and
 * pseudo-fields.  They must be linked as objects: out of an archive the linker would take libh2o's
 * own, silently, which is what guards_check() is for.
 *
 * refusal.c: what they refuse, in the access log.
 *
 * conn.c, their memory: what one connection has open, how fast it moves, how often it gave up.
 */
#ifndef SERVER_GUARDS_H
#define SERVER_GUARDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/server_priv.h"

/* Are all guards in force?  Aborts when one is not.  Main thread, before the first worker: it also
 * finds the originals. */
void guards_check(void);

void guard_h1_check(void);
void guard_h2_check(void);
void guard_chunked_check(void);

/* The next function of that name behind ours; never NULL. */
void *guard_original(const char *name);

/* CHECK that calls of `name` from anywhere in the process arrive at `ours`. */
void guard_check_one(const char *name, void *ours);

/* ---- refusal.c ---- */

struct accesslog_line;

/* One line of the access log, and the counter.  `line` says what is known: method, host, target,
 * protocol, status, bytes and reason. */
void guard_log_refusal(struct conn *c, struct accesslog_line *line);

void conn_know_address(struct conn *c); /* fills `address` and `network`, the first time */

/* ---- conn.c, for the guards ---- */

/* The connection whose bytes this thread is parsing now; NULL: none of a worker's. */
struct conn *conn_reading(void);

/* It will be closed though bytes of a request may still come: the answer must not be lost to a
 * reset (linger.c). */
void conn_linger(struct conn *c);

/* The protocol of this socket has been chosen: bytes that came with the handshake are parsed until
 * conn_read_end().  NULL when it is none of a worker's. */
struct conn *conn_accept_begin(h2o_socket_t *sock, bool is_h2);
void conn_read_end(struct conn *c);

enum conn_frame {
    CONN_FRAME_TAKE,
    CONN_FRAME_TOO_LARGE, /* the header block is too long, or in too many pieces: end the connection
                           */
    CONN_FRAME_SWALLOW, /* DATA of a request that has been answered: libh2o would reset its stream,
                           and the answer be lost */
    CONN_FRAME_END, /* DATA beyond the limit: end the body here, the handler's guard answers 413 */
};

/* A frame of `bytes` has been read whole. */
enum conn_frame conn_h2_frame(struct conn *c, unsigned type, unsigned flags, uint32_t stream_id,
                              size_t bytes);

/*
 * Bytes of DATA that were swallowed, of streams now closed: libh2o must hear of them as late DATA
 * of that stream, or the connection's window stays so much smaller for ever.  0: none, or not now.
 */
size_t conn_h2_owed(struct conn *c, uint32_t *out_stream_id);

/*
 * The head of a request has been decoded.  When it does not end its stream, an upload begins.
 *
 *   is_refused   it is being answered at once, and its body is thrown away
 */
void conn_h2_head(struct conn *c, h2o_req_t *req, bool is_refused);

/* In front of request_on_req(): was the body cut because it is too large? */
bool conn_body_is_refused(struct conn *c, const h2o_req_t *req);

#endif
