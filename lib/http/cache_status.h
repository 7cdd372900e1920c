/* cache_status: our member of Cache-Status (RFC 9211).  Pure. */
#ifndef HTTP_CACHE_STATUS_H
#define HTTP_CACHE_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum cache_status_fwd {
    FWD_NONE, /* a hit */
    FWD_BYPASS,
    FWD_METHOD,
    FWD_URI_MISS,
    FWD_VARY_MISS,
    FWD_MISS,
    FWD_REQUEST,
    FWD_STALE,
    FWD_PARTIAL,
};

#define CACHE_STATUS_NO_TTL INT64_MIN

enum { CACHE_STATUS_BYTES = 256 };

struct cache_status {
    struct slice name; /* a token, or text that is quoted */
    enum cache_status_fwd fwd;
    int fwd_status;      /* 0: not said; only with fwd */
    int64_t ttl_s;       /* CACHE_STATUS_NO_TTL: not said; negative when stale */
    bool stored;         /* only with fwd */
    bool collapsed;      /* only with fwd */
    bool waited_in_vain; /* and not collapsed, though it was tried; only with fwd */
    struct slice detail; /* a token, or text that is quoted; empty: not said */
};

/* The name of a fwd value in the field, the access log and explain; "hit" for FWD_NONE. */
const char *cache_status_fwd_name(enum cache_status_fwd f);

/* Write the member; returns the bytes written, at most CACHE_STATUS_BYTES: a name or detail that
 * does not fit is cut. No NUL. */
size_t cache_status_format(const struct cache_status *s, char out[CACHE_STATUS_BYTES]);

#endif
