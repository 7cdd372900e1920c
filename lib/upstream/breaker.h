/*
 * breaker: an origin that fails every time is left alone for a while.
 *
 * After LIMIT_BREAKER_FAILURES in a row, none of them long after the one before, requests are
 * refused at once.  Every LIMIT_BREAKER_OPEN_MS one is let through to see; when it succeeds, all
 * are.
 *
 * Pure: time is an argument.  One thread, or a lock of the caller's.
 */
#ifndef UPSTREAM_BREAKER_H
#define UPSTREAM_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

struct breaker { /* zeroed before its first use: closed */
    unsigned failures;
    int64_t failed_at_ms;
    int64_t opens_until_ms; /* 0: closed; else when the next may try */
};

/* May a request go?  When it is the one that is let through to see, the next has to wait again. */
bool breaker_may_pass(struct breaker *b, int64_t now_ms);

/* No answer came.  True when that opened it. */
bool breaker_failed(struct breaker *b, int64_t now_ms);

/* An answer came.  True when that closed it. */
bool breaker_worked(struct breaker *b);

#endif
