/*
 * head: the head of an HTTP/1 response, line by line, and what it says about the body.
 *
 * Heads of interim responses (1xx) are told one by one; 100 is nobody's business but ours.  Nothing
 * of what libcurl has understood is used: where the body ends is decided here, from the fields, and
 * what two readers could understand differently is refused.  Pure; one thread.
 */
#ifndef UPSTREAM_HEAD_H
#define UPSTREAM_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "http/fields.h"
#include "upstream/upstream.h"

enum { HEAD_LENT_BYTES = 2048 }; /* fields of an ordinary head need no malloc */

struct head {
    int status, minor;         /* HTTP/1.minor */
    struct http_fields fields; /* with HEAD_COMPLETE, until head_restart() or head_release(); with
                                  HEAD_INTERIM, until the next line */
    const char *complaint;     /* with HEAD_GARBAGE and ERR_INVALID: static text */

    bool takes_101;     /* asked for by the request: then it is a final answer; not touched by
                           head_restart() */
    bool in_fields;     /* the status line has been seen */
    size_t bytes;       /* of all lines, interim heads too */
    size_t lines;       /* field lines of this head */
    size_t last_at;     /* where the last field line begins in `text` */
    struct buf text;    /* field lines, each ended by LF, obs-fold undone */
    struct arena arena; /* of fields.item */
    char lent[HEAD_LENT_BYTES];
};

void head_init(struct head *h);
void head_release(struct head *h);

/* Forget everything but the memory; a head can be collected anew. */
void head_restart(struct head *h);

enum head_step {
    HEAD_MORE,
    HEAD_INTERIM, /* of status 102 to 199, whole; another head follows */
    HEAD_COMPLETE,
    HEAD_GARBAGE,
};

/* Take one line with its LF or CRLF; an empty one ends the head.  Not after HEAD_COMPLETE or
 * HEAD_GARBAGE. */
enum head_step head_line(struct head *h, struct slice line);

struct head_framing {
    enum upstream_framing kind;
    uint64_t body_bytes; /* with UPSTREAM_LENGTH */
    bool may_reuse;      /* the connection, as far as the framing goes */
};

/*
 * How the body of a complete head is delimited (RFC 9112 section 6.3).  ERR_INVALID: it cannot be
 * told, or two readers would tell differently.
 */
NODISCARD enum err head_framing(struct head *h, bool is_answer_to_head, struct head_framing *out);

/* N of `Keep-Alive: timeout=N`, in ms; -1 when the origin does not say. */
int64_t head_keep_alive_ms(const struct http_fields *f);

#endif
