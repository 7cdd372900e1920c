/*
 * accesslog: one line of JSON a request, formatted in place, without malloc.
 *
 * What is logged of a client follows from its site: by default the network of its address alone
 * (/24, /48) and no values of parameters that are secrets; with `log: full` all of both.  Fields of
 * requests and responses are never logged.  Pure.
 */
#ifndef SERVER_ACCESSLOG_H
#define SERVER_ACCESSLOG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/slice.h"

enum {
    ACCESSLOG_BYTES = 8192,       /* the longest line */
    ACCESSLOG_ADDRESS_BYTES = 46, /* INET6_ADDRSTRLEN */
};

struct accesslog_line {
    int64_t wall_ms;     /* when the request began */
    struct slice client; /* as accesslog_network() or accesslog_address() wrote it */
    struct slice method, host, target, site, id;
    const char *protocol, *verdict, *reason; /* words of our own, without quotes */
    int status;                              /* 0: none was sent */
    uint64_t bytes;                          /* of the body, or down a tunnel */
    uint64_t received;                       /* up a tunnel */
    bool is_tunnel;
    int64_t total_us;
    int64_t first_us; /* to the response's head; -1: none */
    bool is_full;     /* log: full */
};

/* Write the line, with its newline; returns the bytes written.  What is too long is cut. */
size_t accesslog_format(const struct accesslog_line *l, char out[ACCESSLOG_BYTES]);

/* The address as text, whole or cut to its network; returns the bytes written.  "-" for what is
 * none. */
size_t accesslog_address(const struct sockaddr *sa, char out[ACCESSLOG_ADDRESS_BYTES]);
size_t accesslog_network(const struct sockaddr *sa, char out[ACCESSLOG_ADDRESS_BYTES]);

/* The other way, for what accesslog_address() wrote; false for what is no address. */
bool accesslog_parse(struct slice text, struct sockaddr_storage *out);

/* Is the value of a query parameter of this name a secret? */
bool accesslog_is_secret(struct slice name);

#endif
