/* Unit tests of chunked bodies of answers (RFC 9112 section 7.1). */
#include "http_text.h"

#include <stdlib.h>

#include "base/buf.h"
#include "http/chunks.h"

static void check(const char *text, size_t piece, const char *want, const char *rest)
{
    struct slice all = slice_of(text);
    struct chunks c = {0};
    struct buf got;
    enum chunks_step step = CHUNKS_MORE;
    size_t at = 0, left = 0;

    buf_init(&got, 10000);
    while (at < all.n && step == CHUNKS_MORE) {
        struct slice in = slice_head(slice_from(all, at), piece), out;

        at += in.n;
        while ((step = chunks_next(&c, &in, &out)) == CHUNKS_DATA)
            buf_add(&got, out);
        left = in.n;
    }
    if (want == NULL) {
        if (step != CHUNKS_BROKEN)
            fail_msg("taken: %s", text);
    } else if (rest == NULL) {
        assert_int_equal(step, CHUNKS_MORE);
    } else {
        if (step != CHUNKS_END)
            fail_msg("not taken: %s", text);
        assert_string_equal(text + at - left, rest);
    }
    if (want != NULL)
        assert_true(slice_eq(buf_slice(&got), slice_of(want)));
    buf_release(&got);
}

static void test_bodies(void **state)
{
    static const struct {
        const char *text, *want, *rest; /* want NULL: broken; rest NULL: not at its end */
    } row[] = {
        {"5\r\nhello\r\n0\r\n\r\n", "hello", ""},
        {"5\r\nhello\r\n00000A\r\n, 0123456\r\n\r\n0\r\n\r\nHTTP", NULL, NULL},
        {"5\r\nhello\r\n00000A\r\n, 01234567\r\n0\r\n\r\nHTTP", "hello, 01234567", "HTTP"},
        {"0\r\n\r\n", "", ""},
        {"1;a=b;c=\"d\"\r\nx\r\n0 ;e\r\nTrailer: yes\r\nAnother: one\r\n\r\n", "x", ""},
        {"5\r\nhel", "hel", NULL},
        {"5\r\nhello\r\n0\r\n", "hello", NULL},
        {"5\nhello\r\n0\r\n\r\n", NULL, NULL},
        {"5\r\nhello0\r\n\r\n", NULL, NULL},
        {"5\r\nhello\n0\r\n\r\n", NULL, NULL},
        {"\r\n", NULL, NULL},
        {";a\r\n", NULL, NULL},
        {"-1\r\n", NULL, NULL},
        {"0x5\r\n", NULL, NULL},
        {"5\rx", NULL, NULL},
        {"1;\x01\r\n", NULL, NULL},
        {"0\r\nT\x01: x\r\n\r\n", NULL, NULL},
        {"1000000000000000\r\n", NULL, NULL}, /* 16 digits */
    };

    (void)state;
    for (size_t i = 0; i < COUNT(row); i++)
        for (size_t piece = 1; piece < 20; piece++)
            check(row[i].text, piece, row[i].want, row[i].rest);
}

static void test_extensions_and_trailers_have_an_end(void **state)
{
    struct chunks c = {0};
    struct slice in = SLICE("0\r\n"), out;
    enum chunks_step step = chunks_next(&c, &in, &out);
    size_t lines = 0;

    (void)state;
    for (; step == CHUNKS_MORE && lines < 10000; lines++) {
        in = SLICE("X: yyyyyyyy\r\n");
        step = chunks_next(&c, &in, &out);
    }
    assert_int_equal(step, CHUNKS_BROKEN);
    assert_in_range(lines, 500, 1000);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_bodies),
        TEST(test_extensions_and_trailers_have_an_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
