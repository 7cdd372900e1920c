/*
 * Input: an entity tag, a Last-Modified, then lines of a request.  Strong equality implies weak,
 * both are symmetric; with If-None-Match nothing else counts and one more line of it never makes a
 * match go away; a weak tag never lets a range through.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "http/conditional.h"
#include "http/date.h"
#include "http_lines.h"

enum { INPUT_BYTES_MAX = 4096, ARENA_BYTES_MAX = 1 << 20 };

#define NOW_S INT64_C(1700000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check_tags(struct slice a, struct slice b)
{
    CHECK(etag_equal_weak(a, b) == etag_equal_weak(b, a));
    CHECK(etag_equal_strong(a, b) == etag_equal_strong(b, a));
    CHECK(!etag_equal_strong(a, b) || etag_equal_weak(a, b));
    CHECK(etag_equal_weak(a, a) == (a.n > 0));
    CHECK(etag_equal_strong(a, a) == etag_is_strong(a));
    CHECK(!(etag_is_weak(a) && etag_is_strong(a)));
}

static void check_none_match(const struct http_fields *f, const struct http_validators *v,
                             struct arena *a)
{
    struct http_fields more = {0};
    enum http_condition c = http_condition_evaluate(f, v, NOW_S);

    CHECK(c != HTTP_CONDITION_NONE);
    add_line(&more, a, SLICE("if-modified-since"), SLICE("Sun, 06 Nov 1994 08:49:37 GMT"));
    for (size_t i = 0; i < f->count; i++)
        if (!slice_eq(f->item[i].name, SLICE("if-modified-since")))
            add_line(&more, a, f->item[i].name, f->item[i].value);
    if (more.count == HTTP_LINES_MAX)
        return;
    CHECK(http_condition_evaluate(&more, v, NOW_S) == c);
    add_line(&more, a, SLICE("if-none-match"), v->etag);
    c = http_condition_evaluate(&more, v, NOW_S);
    CHECK(c == HTTP_CONDITION_NOT_MODIFIED || v->etag.n == 0);
}

static void check_request(const struct http_fields *f, const struct http_validators *v,
                          struct arena *a)
{
    struct slice if_range = http_fields_value(f, SLICE("if-range"));

    if (http_fields_find(f, SLICE("if-none-match")) != NULL)
        check_none_match(f, v, a);
    else if (http_fields_find(f, SLICE("if-modified-since")) == NULL)
        CHECK(http_condition_evaluate(f, v, NOW_S) == HTTP_CONDITION_NONE);
    CHECK(if_range.p != NULL || http_if_range_holds(f, v, NOW_S));
    if (if_range.p != NULL && (etag_is_weak(if_range) || if_range.n == 0))
        CHECK(!http_if_range_holds(f, v, NOW_S));
    for (size_t i = 0; i < f->count; i++)
        check_tags(v->etag, f->item[i].value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct slice rest = {(const char *)data, bytes};
    struct http_validators v = {.last_modified_s = -1, .date_s = NOW_S};
    struct http_fields f = {0};
    struct arena a;

    if (bytes > INPUT_BYTES_MAX || !next_line(&rest, &v.etag) ||
        !next_line(&rest, &v.last_modified))
        return 0;
    v.etag = slice_trim(v.etag);
    if (!http_is_field_value(v.etag))
        return 0;
    if (!http_date_parse(v.last_modified, NOW_S, &v.last_modified_s))
        v.last_modified_s = -1;
    arena_init(&a, NULL, 0, ARENA_BYTES_MAX);
    read_lines(rest, &a, &f);
    check_tags(v.etag, v.etag);
    check_request(&f, &v, &a);
    arena_release(&a);
    return 0;
}
