/* Unit tests of field lists, and of lists in a field. */
#include "http_text.h"

static void test_lines_of_one_name_stay_in_order(void **state)
{
    struct http_fields f = fields_of("a: 1|b: 2|a: 3|a:");
    const struct http_field *at = http_fields_find(&f, SLICE("a"));

    (void)state;
    assert_text(at->value, "1");
    at = http_fields_next(&f, at);
    assert_text(at->value, "3");
    at = http_fields_next(&f, at);
    assert_text(at->value, "");
    assert_null(http_fields_next(&f, at));
    assert_null(http_fields_find(&f, SLICE("A"))); /* names are folded by who adds */
    assert_text(http_fields_joined(&f, &arena, SLICE("a")), "1, 3, ");
    assert_text(http_fields_joined(&f, &arena, SLICE("b")), "2");
    assert_null(http_fields_joined(&f, &arena, SLICE("c")).p);
}

static void test_an_empty_value_is_not_an_absent_one(void **state)
{
    struct http_fields f = {0};

    (void)state;
    assert_int_equal(http_fields_add(&f, &arena, 1, SLICE("a"), (struct slice){0}), ERR_OK);
    assert_non_null(http_fields_value(&f, SLICE("a")).p);
    assert_null(http_fields_value(&f, SLICE("b")).p);
}

static void test_there_are_limits(void **state)
{
    struct http_fields f = {0}, g = {0};
    struct arena none;

    (void)state;
    for (size_t i = 0; i < 40; i++)
        assert_int_equal(http_fields_add(&f, &arena, 40, SLICE("a"), SLICE("1")), ERR_OK);
    assert_int_equal(http_fields_add(&f, &arena, 40, SLICE("a"), SLICE("1")), ERR_LIMIT);
    assert_int_equal(f.count, 40);
    arena_init(&none, NULL, 0, 0);
    assert_int_equal(http_fields_add(&g, &none, 40, SLICE("a"), SLICE("1")), ERR_LIMIT);
    assert_null(http_fields_joined(&f, &none, SLICE("a")).p);
}

static void test_members_of_a_list(void **state)
{
    static const struct {
        const char *value, *want; /* members with '|' behind each */
        bool bad;
    } list[] = {
        {"a,b", "a|b|", false},
        {" a ,\t, b\t,", "a|b|", false},
        {"", "", false},
        {" , ,", "", false},
        {"\"a,b\", c", "\"a,b\"|c|", false},
        {"\"a\\\",b\", c", "\"a\\\",b\"|c|", false},
        {"x=\"a, b\"; y, c", "x=\"a, b\"; y|c|", false},
        {"a, \"b, c", "a|\"b, c|", true},
        {"\"a\\", "\"a\\|", true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(list); i++) {
        struct slice rest = slice_of(list[i].value), member;
        char got[64];
        size_t n = 0;
        bool bad = false;

        while (http_list_next(&rest, &member, &bad)) {
            memcpy(got + n, member.p, member.n);
            n += member.n;
            got[n++] = '|';
        }
        assert_text((struct slice){got, n}, list[i].want);
        assert_int_equal(bad, list[i].bad);
    }
}

static void test_tokens_are_found_on_every_line(void **state)
{
    struct http_fields f = fields_of("a: x, Close|b: y|a: \"no, z\", keep-alive");

    (void)state;
    assert_true(http_fields_has_token(&f, SLICE("a"), SLICE("close")));
    assert_true(http_fields_has_token(&f, SLICE("a"), SLICE("KEEP-ALIVE")));
    assert_false(http_fields_has_token(&f, SLICE("a"), SLICE("y")));
    assert_false(http_fields_has_token(&f, SLICE("a"), SLICE("no")));
    assert_false(http_fields_has_token(&f, SLICE("c"), SLICE("x")));
}

static void test_what_belongs_to_a_connection_goes(void **state)
{
    struct http_fields f = fields_of(
        "x-a: 1|connection: X-A, close|keep-alive: 5|x-b: 2|connection: x-c|te: trailers|"
        "trailer: x|transfer-encoding: chunked|upgrade: h2c|proxy-connection: x|x-c: 3|"
        "proxy-authenticate: x|proxy-authorization: x|proxy-authentication-info: x|x-d: 4");

    (void)state;
    http_fields_remove_hop_by_hop(&f);
    assert_int_equal(f.count, 2);
    assert_text(f.item[0].name, "x-b");
    assert_text(f.item[1].name, "x-d");
}

static bool is_cache_control(const void *user, struct slice name)
{
    return slice_eq(name, *(const struct slice *)user);
}

static void test_what_may_stay_though_it_is_nominated(void **state)
{
    static const struct slice stays = {"cache-control", 13};
    struct http_fields f = fields_of("connection: Cache-Control, x-a, te|cache-control: 1|x-a: 2|"
                                     "te: 3|keep-alive: 4|cache-control: 5");

    (void)state;
    http_fields_remove_hop_by_hop_but(&f, is_cache_control, &stays);
    assert_int_equal(f.count, 2);
    assert_text(f.item[0].value, "1");
    assert_text(f.item[1].value, "5");
}

static void test_removal_keeps_the_order_of_the_rest(void **state)
{
    struct http_fields f = fields_of("a: 1|b: 2|a: 3|c: 4");

    (void)state;
    assert_int_equal(http_fields_remove(&f, SLICE("a")), 2);
    assert_int_equal(http_fields_remove(&f, SLICE("a")), 0);
    assert_int_equal(f.count, 2);
    assert_text(f.item[0].value, "2");
    assert_text(f.item[1].value, "4");
}

static void test_tokens_and_values(void **state)
{
    (void)state;
    assert_true(http_is_token(SLICE("!#$%&'*+-.^_`|~09azAZ")));
    for (const char *p = "\"(),/:;<=>?@[\\]{} \t\x7f\x80\xff"; *p != '\0'; p++)
        assert_false(http_is_token((struct slice){p, 1}));
    assert_false(http_is_token(SLICE("")));
    assert_false(http_is_token(SLICE("\0")));
    assert_true(http_is_field_value(SLICE("a\tb \x80\xff")));
    assert_true(http_is_field_value(SLICE("")));
    assert_false(http_is_field_value(SLICE("a\r")));
    assert_false(http_is_field_value(SLICE("a\nb")));
    assert_false(http_is_field_value(SLICE("a\0b")));
    assert_false(http_is_field_value(SLICE("\x7f")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_lines_of_one_name_stay_in_order),
        TEST(test_an_empty_value_is_not_an_absent_one),
        TEST(test_there_are_limits),
        TEST(test_members_of_a_list),
        TEST(test_tokens_are_found_on_every_line),
        TEST(test_what_belongs_to_a_connection_goes),
        TEST(test_what_may_stay_though_it_is_nominated),
        TEST(test_removal_keeps_the_order_of_the_rest),
        TEST(test_tokens_and_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
