/* Unit tests of Dictionaries (RFC 9651 section 4.2.2). */
#include "http_text.h"

#include "http/sfield.h"

static size_t count_members(const char *text, struct sfield_member *last, bool *bad)
{
    struct slice rest = slice_of(text);
    size_t count = 0;

    *bad = false;
    while (sfield_dictionary_next(&rest, last, bad))
        count++;
    return count;
}

static void test_each_type_is_read(void **state)
{
    static const struct {
        const char *text;
        enum sfield_type type;
        int64_t integer;
        const char *inner;
    } field[] = {
        {"a=1", SFIELD_INTEGER, 1, ""},
        {"a=-042", SFIELD_INTEGER, -42, ""},
        {"a=999999999999999", SFIELD_INTEGER, 999999999999999, ""},
        {"a=1.125", SFIELD_DECIMAL, 0, ""},
        {"a=123456789012.1", SFIELD_DECIMAL, 0, ""},
        {"a=\"x \\\"y\\\\\"", SFIELD_STRING, 0, "x \\\"y\\\\"},
        {"a=\"\"", SFIELD_STRING, 0, ""},
        {"a=tok/en:x", SFIELD_TOKEN, 0, "tok/en:x"},
        {"a=*", SFIELD_TOKEN, 0, "*"},
        {"a=:aGVsbG8=:", SFIELD_BYTES, 0, ""},
        {"a=::", SFIELD_BYTES, 0, ""},
        {"a=?0", SFIELD_BOOLEAN, 0, ""},
        {"a", SFIELD_BOOLEAN, 1, ""},
        {"a;x=1;y", SFIELD_BOOLEAN, 1, ""},
        {"a=@-1659578233", SFIELD_DATE, -1659578233, ""},
        {"a=%\"f%c3%bc\"", SFIELD_DISPLAY, 0, ""},
        {"a=(1 \"b\";q  c )", SFIELD_INNER_LIST, 0, ""},
        {"a=()", SFIELD_INNER_LIST, 0, ""},
        {"  *k.e-y_1=1", SFIELD_INTEGER, 1, ""},
    };
    struct sfield_member m;
    bool bad;

    (void)state;
    for (size_t i = 0; i < COUNT(field); i++) {
        if (count_members(field[i].text, &m, &bad) != 1 || bad)
            fail_msg("refused: %s", field[i].text);
        assert_int_equal(m.type, field[i].type);
        if (m.type == SFIELD_INTEGER || m.type == SFIELD_DATE || m.type == SFIELD_BOOLEAN)
            assert_int_equal(m.integer, field[i].integer);
        assert_text(m.text, field[i].inner);
    }
}

static void test_one_wrong_byte_voids_all(void **state)
{
    static const char *const field[] = {
        "a=1,",
        "a=1 b",
        "a=1,,b",
        ",a",
        "A=1",
        "1a",
        "a =1",
        "a= 1",
        "a=",
        "a=-",
        "a=1.",
        "a=1.1234",
        "a=1234567890123.1",
        "a=1000000000000000",
        "a='1'",
        "a=\"x",
        "a=\"x\\y\"",
        "a=\"\x80\"",
        "a=\"\t\"",
        "a=:x",
        "a=:a:",
        "a=:YQ=:",
        "a=:Y%Q:",
        "a=?2",
        "a=?",
        "a=@1.5",
        "a=%\"%C3%BC\"",
        "a=%\"%c3\"",
        "a=%\"%ed%a0%80\"",
        "a=%x",
        "a=(1 2",
        "a=(1,2)",
        "a=((1))",
        "a=(\"b\"c)",
        "a;",
        "a;=1",
        "a;B",
        "\ta",
        "a=&&&&&",
    };
    struct sfield_member m;
    bool bad;

    (void)state;
    for (size_t i = 0; i < COUNT(field); i++) {
        count_members(field[i], &m, &bad);
        if (!bad)
            fail_msg("accepted: %s", field[i]);
    }
}

static void test_members_are_divided_by_commas_and_spaces(void **state)
{
    struct sfield_member m;
    bool bad;

    (void)state;
    assert_int_equal(count_members("a=1,b=2 \t,\t c;q=\",\"", &m, &bad), 3);
    assert_false(bad);
    assert_text(m.key, "c");
    assert_int_equal(count_members("a=1, a=2", &m, &bad), 2); /* which one counts the reader says */
    assert_int_equal(count_members("", &m, &bad), 0);
    assert_false(bad);
    assert_int_equal(count_members("   ", &m, &bad), 0);
    assert_false(bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_each_type_is_read),
        TEST(test_one_wrong_byte_voids_all),
        TEST(test_members_are_divided_by_commas_and_spaces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
