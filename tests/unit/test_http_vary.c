/* Unit tests of Vary and what it selects by (RFC 9111 section 4.1). */
#include "http_text.h"

#include "http/vary.h"

static void test_lists(void **state)
{
    static const struct {
        const char *fields, *want;
        enum err e;
        bool star;
    } response[] = {
        {"", "", ERR_OK, false},
        {"vary:", "", ERR_OK, false},
        {"vary: ,, ", "", ERR_OK, false},
        {"vary: Foo", "foo", ERR_OK, false},
        {"vary: foo, Bar", "bar,foo", ERR_OK, false},
        {"vary: Bar,foo", "bar,foo", ERR_OK, false},
        {"vary: foo|x: y|vary: bar, FOO", "bar,foo", ERR_OK, false},
        {"vary: ab, a, a-b, abc", "a,a-b,ab,abc", ERR_OK, false},
        {"vary: *", "", ERR_OK, true},
        {"vary: *, *", "", ERR_OK, true},
        {"vary: *|vary: *", "", ERR_OK, true},
        {"vary: , *", "", ERR_OK, true},
        {"vary:|vary: *", "", ERR_OK, true},
        {"vary: *, Foo", "foo", ERR_OK, true},
        {"vary: Foo, *", "foo", ERR_OK, true},
        {"vary: f*o", "f*o", ERR_OK, false},
        {"vary: foo bar", "", ERR_INVALID, false},
        {"vary: \"foo\"", "", ERR_INVALID, false},
        {"vary: a, foo=1", "", ERR_INVALID, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(response); i++) {
        struct http_fields f = fields_of(response[i].fields);
        struct slice list;
        bool star = !response[i].star;

        assert_int_equal(vary_list(&f, &arena, &list, &star), response[i].e);
        if (response[i].e != ERR_OK)
            continue;
        assert_non_null(list.p);
        assert_text(list, response[i].want);
        assert_int_equal(star, response[i].star);
    }
}

static void test_a_full_arena_is_told(void **state)
{
    struct http_fields f = fields_of("vary: a, b"), none = {0};
    struct arena full;
    struct slice list;
    bool star;

    (void)state;
    arena_init(&full, NULL, 0, 0);
    assert_int_equal(vary_list(&f, &full, &list, &star), ERR_LIMIT);
    assert_int_equal(vary_list(&none, &full, &list, &star), ERR_OK);
}

static struct slice text_of(const char *list, const char *fields)
{
    struct http_fields f = fields_of(fields);
    struct slice text;
    struct buf b;

    buf_init(&b, 65536);
    vary_selecting_text(slice_of(list), &f, &b);
    assert_false(b.failed);
    text = arena_dup(&arena, buf_slice(&b));
    buf_release(&b);
    return text;
}

static void test_what_selects_the_same(void **state)
{
    static const struct {
        const char *list, *a, *b;
    } pair[] = {
        {"foo", "foo: 1,2", "foo:  1, 2 "},
        {"foo", "foo: 1, 2", "foo: 1|foo: 2"},
        {"foo", "foo: 1\t,\t2", "x: y|foo: 1|foo: 2|bar: 1"},
        {"foo", "", "bar: 1"},
        {"bar,foo", "foo: 1|bar: 2", "bar: 2|foo: 1"},
        {"accept-language", "accept-language: en, de", "accept-language: de, en"},
        {"accept-language", "accept-language: en, de", "accept-language:  eN ,   De "},
        {"accept-language", "accept-language: en, de", "accept-language: en|accept-language: de"},
        {"accept-language", "accept-language: en;q=0.5", "accept-language: en ; Q=0.500"},
        {"accept-language", "accept-language: en", "accept-language: en;q=1.000, ,en"},
        {"accept-encoding", "accept-encoding: gzip, br;q=0", "accept-encoding: BR;q=0.0, GZIP"},
        {"accept", "accept: a/b;level=1;q=0.3", "accept: a/b ; level=1 ; q=0.30"},
        {"accept-charset", "accept-charset: a, b", "accept-charset: b,a"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(pair); i++)
        if (!slice_eq(text_of(pair[i].list, pair[i].a), text_of(pair[i].list, pair[i].b)))
            fail_msg("%zu: '%s' and '%s' differ", i, pair[i].a, pair[i].b);
}

static void test_what_selects_something_else(void **state)
{
    static const struct {
        const char *list, *a, *b;
    } pair[] = {
        {"foo", "", "foo:"},
        {"foo", "foo: 1", ""},
        {"foo", "foo: a", "foo: A"},
        {"foo", "foo: 1, 2", "foo: 2, 1"},
        {"foo", "foo: 1, 1", "foo: 1"},
        {"foo", "foo: 1,,2", "foo: 1,2"},
        {"foo", "foo: 1 2", "foo: 12"},
        {"foo", "foo: \"1, 2\"", "foo: \"1,2\""},
        {"foo", "foo: \"\\\", 2\"", "foo: \"\\\",2\""},
        {"bar,foo", "foo: 1", "bar: 1"},
        {"bar,foo", "bar: 1|foo: 2", "bar: 2|foo: 1"},
        {"accept-language", "", "accept-language:"},
        {"accept-language", "accept-language: en", "accept-language: en;q=0.9"},
        {"accept-language", "accept-language: en;q=0.1", "accept-language: en;q=0.01"},
        {"accept-language", "accept-language: en;q=2", "accept-language: en"},
        {"accept-language", "accept-language: en;q=1.001", "accept-language: en"},
        {"accept-language", "accept-language: en;q=0.1234", "accept-language: en;q=0.123"},
        {"accept-language", "accept-language: en, de;q=0.5", "accept-language: en;q=0.5, de"},
        {"accept", "accept: a/b;p=\"X\"", "accept: a/b;p=\"x\""},
        {"accept", "accept: a/b;p=\";q=0.5\"", "accept: a/b;p=\"\";q=0.5"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(pair); i++)
        if (slice_eq(text_of(pair[i].list, pair[i].a), text_of(pair[i].list, pair[i].b)))
            fail_msg("%zu: '%s' and '%s' are the same", i, pair[i].a, pair[i].b);
}

static void test_a_very_long_list_is_compared_as_it_came(void **state)
{
    char a[1000] = "accept-language: x", b[1000] = "accept-language: ";

    (void)state;
    for (size_t i = 0; i < 100; i++) {
        strcat(a, ",y");
        strcat(b, "y,");
    }
    strcat(b, "x");
    assert_true(slice_eq(text_of("accept-language", a), text_of("accept-language", a)));
    assert_false(slice_eq(text_of("accept-language", a), text_of("accept-language", b)));
}

static void test_the_ceiling_of_the_buf_holds(void **state)
{
    struct http_fields f = fields_of("accept-language: en, de, fr, it|foo: 1, 2, 3, 4, 5, 6");

    (void)state;
    for (size_t max = 0; max < 60; max++) {
        struct buf b;

        buf_init(&b, max);
        vary_selecting_text(SLICE("accept-language,foo"), &f, &b);
        assert_true(b.failed);
        assert_true(b.n <= max);
        buf_release(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_lists),
        TEST(test_a_full_arena_is_told),
        TEST(test_what_selects_the_same),
        TEST(test_what_selects_something_else),
        TEST(test_a_very_long_list_is_compared_as_it_came),
        TEST(test_the_ceiling_of_the_buf_holds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
