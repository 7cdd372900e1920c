/* Nodes that are told otherwise than this one are named, and forgotten when they no longer differ.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/metrics.h"
#include "server/kin.h"

enum { NOW_MS = 1000000, MINUTE_MS = 60000 };

static struct kin *kin;

static int start(void **state)
{
    (void)state;
    return kin_new(&kin) == ERR_OK ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    kin_free(kin);
    return 0;
}

/* Lines that kin_say() has now, and whether one begins so. */
static size_t lines(int64_t now_ms, const char *begins)
{
    struct buf b;
    size_t n = 0;

    buf_init(&b, 1 << 16);
    kin_say(kin, now_ms, &b);
    buf_add_char(&b, '\0');
    assert_false(b.failed);
    for (const char *p = b.p; *p != '\0'; p = strchr(p, '\n') + 1)
        if (strncmp(p, begins, strlen(begins)) == 0)
            n++;
    buf_release(&b);
    return n;
}

static void test_each_matter_has_a_line(void **state)
{
    (void)state;
    assert_int_equal(lines(NOW_MS, ""), 0);
    kin_differs(kin, SLICE("edge-fra"), KIN_SITES, NOW_MS);
    kin_differs(kin, SLICE("edge-sin"), KIN_SITES | KIN_JOURNAL, NOW_MS);
    assert_int_equal(lines(NOW_MS, "edge-fra has other sites than this node"), 1);
    assert_int_equal(lines(NOW_MS, "edge-sin has other sites than this node"), 1);
    assert_int_equal(lines(NOW_MS, "edge-sin heeds another purge journal than this node"), 1);
    assert_int_equal(lines(NOW_MS, ""), 3);
}

static void test_what_was_put_right_is_forgotten(void **state)
{
    (void)state;
    kin_differs(kin, SLICE("edge-fra"), KIN_SITES, NOW_MS);
    assert_int_equal(lines(NOW_MS + MINUTE_MS, ""), 1);
    assert_int_equal(lines(NOW_MS + 2 * MINUTE_MS, ""), 0);
    kin_differs(kin, SLICE("edge-fra"), KIN_JOURNAL, NOW_MS + 2 * MINUTE_MS);
    assert_int_equal(lines(NOW_MS + 2 * MINUTE_MS, "edge-fra heeds"), 1);
    assert_int_equal(lines(NOW_MS + 2 * MINUTE_MS, ""), 1);
}

static void test_names_have_a_limit_in_length_and_number(void **state)
{
    char name[1000];

    (void)state;
    memset(name, 'x', sizeof(name));
    for (int i = 0; i < 600; i++) {
        name[0] = (char)('a' + i % 26);
        name[1] = (char)('a' + i / 26);
        kin_differs(kin, (struct slice){name, sizeof(name)}, KIN_SITES, NOW_MS + i);
    }
    assert_int_equal(lines(NOW_MS + 1000, ""), 64);
    assert_int_equal(lines(NOW_MS + 1000, "bxxx"), 1); /* the last is there, the first is not */
    assert_int_equal(lines(NOW_MS + 1000, "aaxx"), 0);
}

static void test_what_is_said_is_read_again(void **state)
{
    (void)state;
    for (unsigned matters = 1; matters <= (KIN_SITES | KIN_JOURNAL); matters++) {
        struct slice node;
        struct buf b;

        buf_init(&b, 128);
        kin_print(matters, SLICE("shield0"), &b);
        assert_int_equal(kin_parse(buf_slice(&b), &node), matters);
        assert_true(slice_eq(node, SLICE("shield0")));
        buf_release(&b);
    }
}

static void test_nonsense_says_nothing(void **state)
{
    static const char *const text[] = {"",    " ",       "sites",     "sites ",
                                       ", a", "other a", "sites a b", "sites a\x01"};
    struct slice node;

    (void)state;
    for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++)
        assert_int_equal(kin_parse(slice_of(text[i]), &node), 0);
    assert_int_equal(kin_parse((struct slice){0}, &node), 0);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_each_matter_has_a_line),
        TEST(test_what_was_put_right_is_forgotten),
        TEST(test_names_have_a_limit_in_length_and_number),
        TEST(test_what_is_said_is_read_again),
        TEST(test_nonsense_says_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
