/* decide_world: requests, responses and what is stored, as text, for tests of the two decisions. */
#ifndef TESTS_DECIDE_WORLD_H
#define TESTS_DECIDE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "cache/decide_request.h"
#include "cache/decide_response.h"

/* The second at which things arrive: Tue, 14 Nov 2023 22:13:20 GMT. */
enum { T = 1700000000, UP = 500 };
#define DATE_T         "Tue, 14 Nov 2023 22:13:20 GMT"
#define DATE_5MIN      "Tue, 14 Nov 2023 22:18:20 GMT" /* T + 300 */
#define DATE_5MIN_AGO  "Tue, 14 Nov 2023 22:08:20 GMT"
#define DATE_10DAY_AGO "Sat, 04 Nov 2023 22:13:20 GMT"
#define DATE_YEARS_AGO "Fri, 14 Nov 2003 22:13:20 GMT"

static struct arena decide_arena;

static inline int decide_begin(void **state)
{
    (void)state;
    arena_init(&decide_arena, NULL, 0, 1 << 20);
    return 0;
}

static inline int decide_end(void **state)
{
    (void)state;
    arena_release(&decide_arena);
    return 0;
}

static inline struct clock_moment moment(int64_t after_s)
{
    return (struct clock_moment){.wall_ms = (T + after_s) * 1000, .mono_ms = (UP + after_s) * 1000};
}

/* "Name: value\n" lines; names are folded as every reader does. */
static inline struct http_fields fields_of(const char *text)
{
    struct http_fields f = {0};

    while (text != NULL && *text != '\0') {
        size_t line = strcspn(text, "\n"), colon = strcspn(text, ":");
        char *name = arena_text(&decide_arena, (struct slice){text, colon});

        assert_true(colon < line);
        http_lower(name, colon);
        assert_int_equal(
            http_fields_add(&f, &decide_arena, 100, (struct slice){name, colon},
                            slice_trim((struct slice){text + colon + 1, line - colon - 1})),
            ERR_OK);
        text += line + (text[line] == '\n');
    }
    return f;
}

static inline struct site plain_site(void)
{
    return (struct site){.name = "www",
                         .negative_404_s = SITE_UNSET,
                         .negative_5xx_s = SITE_UNSET,
                         .client_reload = SITE_RELOAD_HONOUR};
}

static inline struct site_rule plain_rule(void)
{
    return (struct site_rule){.path = "*",
                              .ttl_s = SITE_UNSET,
                              .default_ttl_s = SITE_UNSET,
                              .stale_while_revalidate_s = SITE_UNSET,
                              .stale_if_error_s = SITE_UNSET,
                              .line = 7};
}

/* Something stored at T, fresh for `lifetime_s`. */
static inline struct stored_facts stored_for(int64_t lifetime_s)
{
    return (struct stored_facts){.present = true,
                                 .has_validator = true,
                                 .status = 200,
                                 .freshness = {.received = moment(0), .lifetime_s = lifetime_s}};
}

static inline const char *last_reason(const struct reasons *r)
{
    return r->count == 0 ? "" : reason_token(r->item[r->count - 1].id);
}

static inline void must_have_reason(const struct reasons *r, enum cache_reason id)
{
    struct buf b;

    if (reasons_have(r, id))
        return;
    buf_init(&b, 65536);
    reasons_format(r, &b);
    fail_msg("%s is not among\n%.*s", reason_token(id), (int)b.n, b.n ? b.p : "");
}

#endif
