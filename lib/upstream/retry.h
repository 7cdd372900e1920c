/*
 * retry: may this request be sent once more, and does its target still have retries left?
 *
 * A target that fails must not get twice the load because of it: retries are a small part of the
 * requests of the last 10 s.  Pure: time is an argument.  One thread, or a lock of the caller's.
 */
#ifndef UPSTREAM_RETRY_H
#define UPSTREAM_RETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "upstream/upstream.h"

enum {
    RETRY_WINDOW_S = 10,
    RETRY_ALWAYS = 3, /* in a window, however few requests there are: a quiet site may retry too */
};

struct retry_budget { /* zeroed before its first use */
    struct {
        int64_t at_s;
        uint64_t requests, retries;
    } second[RETRY_WINDOW_S];
};

void retry_count_request(struct retry_budget *b, int64_t now_ms);

/* Take one retry; false when there is none left. */
bool retry_take(struct retry_budget *b, int64_t now_ms);

struct retry_facts {
    enum upstream_failure failure;
    bool is_idempotent;
    bool was_sent;    /* a byte of the request may have reached a server */
    bool has_answer;  /* a byte of an answer has come */
    unsigned retries; /* so far */
    size_t servers_count;
};

/*
 * RFC 9110 section 9.2.2.  A connection that failed is worth a retry only elsewhere; one that ended
 * without a byte was most likely idle for too long, so the same server may be asked again.
 */
bool retry_may(const struct retry_facts *f);

#endif
