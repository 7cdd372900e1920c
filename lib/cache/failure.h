/*
 * failure: how a fetch failed, and all that anybody is told of it: the client by status and text,
 * whoever looks at Cache-Status by detail=, and an edge by a shield's Selvage-Error.  Pure.
 */
#ifndef CACHE_FAILURE_H
#define CACHE_FAILURE_H

#include "base/slice.h"

enum response_failure {
    RESPONSE_CAME,              /* it did not */
    RESPONSE_UNREACHABLE,       /* the connection was refused */
    RESPONSE_CONNECT_TIMED_OUT, /* no connection in time */
    RESPONSE_UNRESOLVED,        /* its name has no address */
    RESPONSE_TLS,               /* it is not who it should be, or shakes hands with nobody */
    RESPONSE_CLOSED,            /* the connection ended before the head was whole */
    RESPONSE_GARBAGE,           /* what it says is no HTTP */
    RESPONSE_BROKEN,            /* the body broke off */
    RESPONSE_TIMED_OUT,
    RESPONSE_OVERLOADED, /* our own ceiling */
    RESPONSE_DOWN,       /* probes say so of all that may be asked */
    RESPONSE_TOO_MUCH,   /* larger than what was to be fetched for a range: ask for the range alone */
    RESPONSE_BREAKER,    /* it has failed so often that nobody was asked */
    RESPONSE_FAILURES
};

struct failure_words {
    const char *detail; /* a token */
    const char *mark;   /* to a peer; no other failure has the same */
    const char *text;   /* a line for the client */
    /*
     * 503: nobody has begun with the request, or nobody can be asked: it may be sent again.  504:
     * whoever was asked did not answer in time.  502: an answer came, and was none.
     */
    int status;
};

/* Static.  RESPONSE_CAME has words too: an answer that cannot be used for other reasons. */
const struct failure_words *failure_words(enum response_failure f);

/* What a peer means by its mark; one that is not known is a failure that cannot be told apart. */
enum response_failure failure_of_mark(struct slice mark);

#endif
