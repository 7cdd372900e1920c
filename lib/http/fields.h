/*
 * fields: an ordered list of HTTP fields over borrowed bytes (RFC 9110 section 5).
 *
 * Names are lower-case: whoever adds a field has folded it.  Values are as they
 * came, without surrounding OWS, any byte but CR, LF and NUL.  Several lines of one
 * name stay several entries, in order.  Pure; one thread.
 */
#ifndef HTTP_FIELDS_H
#define HTTP_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"

struct http_field {
    struct slice name;  /* lower-case */
    struct slice value; /* trimmed */
};

struct http_fields {
    struct http_field *item; /* in the arena */
    size_t count, capacity;
};

/* Append.  ERR_LIMIT when there are `max` already or the arena is full.  Bytes are borrowed: they
 * live as long as the list. */
NODISCARD enum err http_fields_add(struct http_fields *f, struct arena *a, size_t max,
                                   struct slice name, struct slice value);

/* The first field of that name, or NULL. */
const struct http_field *http_fields_find(const struct http_fields *f, struct slice name);

/* The next field of the same name after `at`, or NULL. */
const struct http_field *http_fields_next(const struct http_fields *f, const struct http_field *at);

/* The value of the first field of that name; p == NULL when there is none. */
struct slice http_fields_value(const struct http_fields *f, struct slice name);

/* All values of that name joined with ", " (in the arena when there are several); p == NULL when
 * there is none or no room. */
struct slice http_fields_joined(const struct http_fields *f, struct arena *a, struct slice name);

/* Remove all fields of that name; how many there were. */
size_t http_fields_remove(struct http_fields *f, struct slice name);

/* Does the list field `name` (all lines) hold this token, without case? (RFC 9110 section 5.6.1) */
bool http_fields_has_token(const struct http_fields *f, struct slice name, struct slice token);

/*
 * Remove what belongs to one connection: Connection and what it nominates, Keep-Alive,
 * Proxy-Connection, TE, Trailer, Transfer-Encoding, Upgrade, Proxy-Authenticate,
 * Proxy-Authentication-Info, Proxy-Authorization (RFC 9110 section 7.6.1). Nominations of fields
 * that caching depends on are honoured too, so decide about storing before.
 */
void http_fields_remove_hop_by_hop(struct http_fields *f);

/* The same, but of what Connection nominates that stays for which `stays` says so. */
void http_fields_remove_hop_by_hop_but(struct http_fields *f,
                                       bool (*stays)(const void *user, struct slice name),
                                       const void *user);

/* Is it a token (RFC 9110 section 5.6.2)? a field value without control bytes (section 5.5)? */
bool http_is_token(struct slice s);
bool http_is_field_value(struct slice s);

/* Fold to lower-case in place. */
void http_lower(char *p, size_t bytes);

/*
 * Walk the members of a comma-separated list in one value: commas inside quoted strings do not
 * divide, OWS is trimmed, empty members are skipped.  `*rest` starts as the value; returns false at
 * the end. An unterminated quote makes the rest one member and sets *bad (may be NULL).
 */
bool http_list_next(struct slice *rest, struct slice *member, bool *bad);

#endif
