/* date: HTTP dates, the three forms (RFC 9110 section 5.6.7).  Pure. */
#ifndef HTTP_DATE_H
#define HTTP_DATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum { HTTP_DATE_BYTES = 29 };

/*
 * Seconds since the epoch, 64 bits.  Exactly the three forms, names without case; the weekday is
 * not compared with the date.  `now_s` decides the century of a two-digit year (more than 50 years
 * ahead is the past).  False on anything else.
 */
bool http_date_parse(struct slice s, int64_t now_s, int64_t *out_s);

/* IMF-fixdate, HTTP_DATE_BYTES bytes and no NUL.  Years 0 to 9999; others are clamped. */
void http_date_format(int64_t at_s, char out[HTTP_DATE_BYTES]);

#endif
