/*
 * debug_field: the request field by which an operator has one answer explain
 * itself.
 *
 *     Selvage-Debug: EXPIRY.HMAC
 *
 * EXPIRY is a second of the Unix clock in decimal, HMAC 64 hex digits:
 * HMAC-SHA256, keyed by the node's secret, of the line "selvage-debug EXPIRY
 * PATH", PATH as requested and without the query. Pure.
 */
#ifndef HTTP_DEBUG_FIELD_H
#define HTTP_DEBUG_FIELD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum { HTTP_DEBUG_FIELD_BYTES = 96, HTTP_DEBUG_DAYS_MAX = 7 };

/* May who sent `value` with a request for `path` see why it is answered so? Not
 * after EXPIRY, nor more than HTTP_DEBUG_DAYS_MAX days before it.  Takes as
 * long whatever digit is wrong. */
bool http_debug_field_is_valid(struct slice value, struct slice path, struct slice secret,
                               int64_t now_s);

/* Make the value; bytes written, without a NUL.  `expiry_s` is not negative. */
size_t http_debug_field_make(struct slice path, struct slice secret, int64_t expiry_s,
                             char out[HTTP_DEBUG_FIELD_BYTES]);

#endif
