/* The stored head: what goes in comes out, damaged bytes do no harm, a 304 brings it up to date. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/limits.h"
#include "cache/head.h"

enum { BOOT = 77 };

static struct arena arena;

static int begin(void **state)
{
    (void)state;
    arena_init(&arena, NULL, 0, 1 << 20);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static void add(struct http_fields *f, const char *name, const char *value)
{
    assert_int_equal(
        http_fields_add(f, &arena, LIMIT_RESPONSE_FIELDS, slice_of(name), slice_of(value)), ERR_OK);
}

static struct head sample(void)
{
    struct head h = {
        .status = 203,
        .freshness = {.received = {.wall_ms = 1700000000123, .mono_ms = 500123},
                      .initial_age_ms = 4321,
                      .lifetime_s = 3600,
                      .swr_s = 60,
                      .sie_s = 86400},
        .no_cache = true,
        .is_immutable = true,
        .lifetime_by = REASON_LIFETIME_MAX_AGE,
        .rule_line = 12,
        .vary = SLICE("accept,accept-language"),
    };

    add(&h.fields, "etag", "W/\"x\"");
    add(&h.fields, "x-empty", "");
    add(&h.fields, "set-cookie", "a=1");
    add(&h.fields, "set-cookie", "b=\xff");
    return h;
}

static void must_equal(const struct http_fields *a, const struct http_fields *b)
{
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++)
        assert_true(slice_eq(a->item[i].name, b->item[i].name) &&
                    slice_eq(a->item[i].value, b->item[i].value));
}

static struct slice encode(const struct head *h, uint32_t boot)
{
    struct slice s;
    struct buf b;

    buf_init(&b, LIMIT_RECORD_BYTES);
    head_encode(h, boot, &b);
    assert_false(b.failed);
    s = arena_dup(&arena, buf_slice(&b));
    assert_non_null(s.p);
    buf_release(&b);
    return s;
}

static void test_what_goes_in_comes_out(void **state)
{
    struct head in = sample(), out;

    (void)state;
    for (int flags = 0; flags < 8; flags++) {
        in.no_cache = (flags & 1) != 0;
        in.forbids_stale = (flags & 2) != 0;
        in.is_immutable = (flags & 4) != 0;
        assert_int_equal(head_decode(encode(&in, BOOT), BOOT, &arena, &out), ERR_OK);
        assert_int_equal(out.status, 203);
        assert_memory_equal(&out.freshness, &in.freshness, sizeof(in.freshness));
        assert_int_equal(out.no_cache, in.no_cache);
        assert_int_equal(out.forbids_stale, in.forbids_stale);
        assert_int_equal(out.is_immutable, in.is_immutable);
        assert_int_equal(out.lifetime_by, REASON_LIFETIME_MAX_AGE);
        assert_int_equal(out.rule_line, 12);
        assert_true(slice_eq(out.vary, in.vary));
        must_equal(&out.fields, &in.fields);
    }
}

static void test_nothing_at_all(void **state)
{
    struct head in = {.status = 200}, out;

    (void)state;
    assert_int_equal(head_decode(encode(&in, BOOT), BOOT, &arena, &out), ERR_OK);
    assert_int_equal(out.fields.count, 0);
    assert_int_equal(out.vary.n, 0);
}

/* The monotonic clock of another boot says nothing. */
static void test_another_boot(void **state)
{
    struct head in = sample(), out;

    (void)state;
    assert_int_equal(head_decode(encode(&in, BOOT), BOOT + 1, &arena, &out), ERR_OK);
    assert_int_equal(out.freshness.received.mono_ms, FRESHNESS_ABSENT);
    assert_int_equal(out.freshness.received.wall_ms, in.freshness.received.wall_ms);
}

/* What was decoded must be usable by everything that asks it. */
static void use(const struct head *h)
{
    struct clock_moment now = {.wall_ms = 1700000000000, .mono_ms = 400000};
    struct stored_facts facts;

    assert_true(h->status >= 100 && h->status <= 999);
    assert_true(h->lifetime_by < REASON_COUNT);
    assert_true(freshness_age_s(&h->freshness, &now) >= 0);
    assert_true(h->freshness.received.wall_ms >= 0 && h->freshness.received.wall_ms <= INT64_C(1)
                                                                                           << 53);
    assert_true(h->freshness.received.mono_ms >= FRESHNESS_ABSENT &&
                h->freshness.received.mono_ms <= INT64_C(1) << 53); /* so that no sum overflows */
    (void)freshness_state(&h->freshness, &now);
    head_facts(h, false, &facts);
}

static void test_damaged_bytes_do_no_harm(void **state)
{
    struct head in = sample(), out;
    struct slice good = encode(&in, BOOT);
    char *p = malloc(good.n);

    (void)state;
    assert_non_null(p);
    for (size_t at = 0; at < good.n; at++) {
        for (int v = 0; v < 256; v++) {
            struct arena a;

            arena_init(&a, NULL, 0, 1 << 20);
            memcpy(p, good.p, good.n);
            p[at] = (char)v;
            if (head_decode((struct slice){p, good.n}, BOOT, &a, &out) == ERR_OK)
                use(&out);
            arena_release(&a);
        }
    }
    free(p);
}

static void test_no_part_of_it_is_a_head(void **state)
{
    struct head in = sample(), out;
    struct slice good = encode(&in, BOOT);

    (void)state;
    for (size_t n = 0; n < good.n; n++) {
        char *p = malloc(n + 1); /* so that a sanitizer sees one byte too far */

        memcpy(p, good.p, n);
        assert_int_equal(head_decode((struct slice){p, n}, BOOT, &arena, &out), ERR_CORRUPT);
        free(p);
    }
    {
        char *p = malloc(good.n + 1);

        memcpy(p, good.p, good.n);
        p[good.n] = 'x';
        assert_int_equal(head_decode((struct slice){p, good.n + 1}, BOOT, &arena, &out),
                         ERR_CORRUPT);
        free(p);
    }
}

static void test_a_small_arena_is_a_limit(void **state)
{
    struct head in = sample(), out;
    struct slice good = encode(&in, BOOT);
    struct arena a;

    (void)state;
    arena_init(&a, NULL, 0, 8);
    assert_int_equal(head_decode(good, BOOT, &a, &out), ERR_LIMIT);
    arena_release(&a);
}

static void test_facts(void **state)
{
    struct head h = sample();
    struct stored_facts f;

    (void)state;
    head_facts(&h, true, &f);
    assert_true(f.present && f.soft_purged && f.no_cache && f.has_validator && f.is_immutable);
    assert_false(f.forbids_stale || f.vary_missed);
    assert_int_equal(f.status, 203);
    h.fields.count = 0;
    h.forbids_stale = true;
    head_facts(&h, false, &f);
    assert_false(f.has_validator || f.soft_purged);
    assert_true(f.forbids_stale);
    add(&h.fields, "last-modified", "Thu, 18 Aug 2050 02:01:18 GMT");
    head_facts(&h, false, &f);
    assert_true(f.has_validator);
}

/* ---- RFC 9111 section 3.2 ---- */

static void must_freshen(const char *const (*stored)[2], const char *const (*update)[2],
                         const char *const (*want)[2], bool takes_cookies)
{
    struct http_fields s = {0}, u = {0}, w = {0}, out;

    for (; (*stored)[0] != NULL; stored++)
        add(&s, (*stored)[0], (*stored)[1]);
    for (; (*update)[0] != NULL; update++)
        add(&u, (*update)[0], (*update)[1]);
    for (; (*want)[0] != NULL; want++)
        add(&w, (*want)[0], (*want)[1]);
    assert_int_equal(head_freshen(&s, &u, takes_cookies, &arena, &out), ERR_OK);
    must_equal(&out, &w);
}

static void test_a_304_replaces_what_it_names(void **state)
{
    static const char *const stored[][2] = {
        {"cache-control", "max-age=1"}, {"x-one", "a"},  {"x-one", "b"}, {"x-kept", "k"},
        {"content-foo", "1"},           {"date", "old"}, {NULL, NULL}};
    static const char *const update[][2] = {{"cache-control", "max-age=3600"},
                                            {"x-one", "c"},
                                            {"content-foo", "2"},
                                            {"x-new", "n"},
                                            {"x-new", "m"},
                                            {"date", "new"},
                                            {NULL, NULL}};
    static const char *const want[][2] = {{"x-kept", "k"}, {"cache-control", "max-age=3600"},
                                          {"x-one", "c"},  {"content-foo", "2"},
                                          {"x-new", "n"},  {"x-new", "m"},
                                          {"date", "new"}, {NULL, NULL}};

    (void)state;
    must_freshen(stored, update, want, false);
}

/* RFC 9110 section 6.6.1: what comes without a Date is from when it came, and so is what it makes
 * new. */
static void test_the_date_of_before_does_not_stay(void **state)
{
    static const char *const stored[][2] = {{"date", "old"}, {"expires", "old"}, {NULL, NULL}};
    static const char *const update[][2] = {{"expires", "new"}, {NULL, NULL}};

    (void)state;
    must_freshen(stored, update, update, false);
}

static void test_what_describes_the_stored_bytes_stays(void **state)
{
    static const char *const stored[][2] = {{"content-length", "5"}, {"content-encoding", "gzip"},
                                            {"content-range", "x"},  {"set-cookie", "a=1"},
                                            {"content-type", "old"}, {NULL, NULL}};
    static const char *const update[][2] = {{"content-length", "0"},
                                            {"content-encoding", "br"},
                                            {"content-range", "y"},
                                            {"set-cookie", "session=stolen"},
                                            {"transfer-encoding", "c"},
                                            {"content-type", "new"},
                                            {NULL, NULL}};
    static const char *const want[][2] = {{"content-length", "5"}, {"content-encoding", "gzip"},
                                          {"content-range", "x"},  {"set-cookie", "a=1"},
                                          {"content-type", "new"}, {NULL, NULL}};
    static const char *const nothing[][2] = {{NULL, NULL}};

    (void)state;
    must_freshen(stored, update, want, false);
    must_freshen(stored, nothing, stored, false);
    must_freshen(nothing, nothing, nothing, false);
}

static void test_a_cookie_of_a_304_only_where_it_is_wanted(void **state)
{
    static const char *const stored[][2] = {{"set-cookie", "a=1"}, {NULL, NULL}};
    static const char *const update[][2] = {
        {"set-cookie", "b=2"}, {"set-cookie", "c=3"}, {NULL, NULL}};

    (void)state;
    must_freshen(stored, update, update, true);
    must_freshen(stored, update, stored, false);
}

static void test_a_304_makes_no_head_without_end(void **state)
{
    struct http_fields s = {0}, u = {0}, out;
    char *name;

    (void)state;
    for (int i = 0; i < 200; i++) {
        name = arena_alloc(&arena, 16);
        snprintf(name, 16, "s-%d", i);
        add(&s, name, "v");
        name = arena_alloc(&arena, 16);
        snprintf(name, 16, "u-%d", i);
        add(&u, name, "v");
    }
    assert_int_equal(head_freshen(&s, &u, false, &arena, &out), ERR_LIMIT);
}

/* Section 4.3.4: a 304 with another validator speaks of another response. */
static void test_of_what_a_304_speaks(void **state)
{
    static const struct {
        const char *stored, *stored_modified, *update, *modified;
        bool want;
    } row[] = {
        {"\"a\"", NULL, "\"a\"", NULL, true},
        {"\"a\"", NULL, "\"b\"", NULL, false},
        {"W/\"a\"", NULL, "\"a\"", NULL, true},
        {"\"a\"", NULL, "W/\"a\"", NULL, true},
        {"\"a\"", NULL, NULL, NULL, true},
        {NULL, NULL, NULL, NULL, true},
        {"abc", NULL, "abc", NULL, true},
        {"abc", NULL, "abd", NULL, false},
        /* the tag stands above the date */
        {"\"a\"", "x", "\"a\"", "y", true},
        {"\"a\"", "x", "\"b\"", "x", false},
        {"\"a\"", "x", NULL, "x", true},
        {"\"a\"", "x", NULL, "y", false},
        {NULL, "x", NULL, "x", true},
        {NULL, "x", NULL, "y", false}, /* as after a restore: "not modified since", and another */
        {NULL, "x", NULL, NULL, true},
        {"\"a\"", NULL, NULL, "x", true},
        /* a tag that nothing stored has */
        {NULL, "x", "\"a\"", "x", true},
        {NULL, "x", "\"a\"", NULL, false},
        {NULL, "x", "\"a\"", "y", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct http_fields s = {0}, u = {0};

        if (row[i].stored != NULL)
            add(&s, "etag", row[i].stored);
        if (row[i].stored_modified != NULL)
            add(&s, "last-modified", row[i].stored_modified);
        if (row[i].update != NULL)
            add(&u, "etag", row[i].update);
        if (row[i].modified != NULL)
            add(&u, "last-modified", row[i].modified);
        if (head_is_meant(&s, &u) != row[i].want)
            fail_msg("row %zu", i);
    }
}

/* Section 4.3.5: what the answer to a HEAD has of these must be true of what is stored. */
static void test_of_what_a_head_speaks(void **state)
{
    static const struct {
        const char *name, *value;
        bool want;
    } row[] = {
        {"etag", "\"a\"", true},        {"etag", "W/\"a\"", true},
        {"etag", "\"b\"", false},       {"last-modified", "x", true},
        {"last-modified", "y", false},  {"content-length", "5", true},
        {"content-length", "6", false}, {"content-length", "five", false},
        {"x-other", "y", true},
    };
    struct http_fields stored = {0}, none = {0}, empty = {0};

    (void)state;
    add(&stored, "etag", "\"a\"");
    add(&stored, "last-modified", "x");
    assert_true(head_agrees(&stored, 5, &none));
    add(&empty, "last-modified", "");
    assert_false(head_agrees(&none, 5, &empty));
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct http_fields u = {0};

        add(&u, row[i].name, row[i].value);
        if (head_agrees(&stored, 5, &u) != row[i].want)
            fail_msg("row %zu", i);
        assert_true(!row[i].want || i >= 5 || !head_agrees(&none, 5, &u));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_goes_in_comes_out, begin, end),
        cmocka_unit_test_setup_teardown(test_nothing_at_all, begin, end),
        cmocka_unit_test_setup_teardown(test_another_boot, begin, end),
        cmocka_unit_test_setup_teardown(test_damaged_bytes_do_no_harm, begin, end),
        cmocka_unit_test_setup_teardown(test_no_part_of_it_is_a_head, begin, end),
        cmocka_unit_test_setup_teardown(test_a_small_arena_is_a_limit, begin, end),
        cmocka_unit_test_setup_teardown(test_facts, begin, end),
        cmocka_unit_test_setup_teardown(test_a_304_replaces_what_it_names, begin, end),
        cmocka_unit_test_setup_teardown(test_the_date_of_before_does_not_stay, begin, end),
        cmocka_unit_test_setup_teardown(test_what_describes_the_stored_bytes_stays, begin, end),
        cmocka_unit_test_setup_teardown(test_a_cookie_of_a_304_only_where_it_is_wanted, begin, end),
        cmocka_unit_test_setup_teardown(test_a_304_makes_no_head_without_end, begin, end),
        cmocka_unit_test_setup_teardown(test_of_what_a_304_speaks, begin, end),
        cmocka_unit_test_setup_teardown(test_of_what_a_head_speaks, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
