/* Unit tests of WebSocket handshakes and frames (RFC 6455). */
#include "http_text.h"

#include "http/websocket.h"

#define KEY    "dGhlIHNhbXBsZSBub25jZQ==" /* section 1.3, and what it is answered with */
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

static void test_requests(void **state)
{
    static const struct {
        const char *fields;
        enum websocket_request want;
    } row[] = {
        {"sec-websocket-version: 13|sec-websocket-key: " KEY, WEBSOCKET_ASKED},
        {"sec-websocket-version: 8|sec-websocket-key: " KEY, WEBSOCKET_OTHER_VERSION},
        {"sec-websocket-version: 13, 8|sec-websocket-key: " KEY, WEBSOCKET_OTHER_VERSION},
        {"sec-websocket-version: 13|sec-websocket-version: 13|sec-websocket-key: " KEY,
         WEBSOCKET_OTHER_VERSION},
        {"sec-websocket-key: " KEY, WEBSOCKET_OTHER_VERSION},
        {"sec-websocket-version: 13", WEBSOCKET_NO_KEY},
        {"sec-websocket-version: 13|sec-websocket-key: " KEY "|sec-websocket-key: " KEY,
         WEBSOCKET_NO_KEY},
        {"sec-websocket-version: 13|sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=", WEBSOCKET_NO_KEY},
        {"sec-websocket-version: 13|sec-websocket-key: dGhlIHNhbXBsZSBub25jZR==",
         WEBSOCKET_NO_KEY}, /* bits that belong to no byte */
        {"sec-websocket-version: 13|sec-websocket-key: dGhlIHNhbXBsZSBub25j\"Q==",
         WEBSOCKET_NO_KEY},
        {"sec-websocket-version: 13|sec-websocket-key:", WEBSOCKET_NO_KEY},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(row); i++) {
        struct slice key = {0};
        struct http_fields f = fields_of(row[i].fields);

        if (websocket_read_request(&f, &key) != row[i].want)
            fail_msg("row %zu", i);
        if (row[i].want == WEBSOCKET_ASKED)
            assert_true(slice_eq(key, SLICE(KEY)));
    }
}

static void test_answers(void **state)
{
#define GOOD "upgrade: WebSocket|connection: keep-alive, Upgrade"
    static const struct {
        const char *fields;
        bool want;
    } row[] = {
        {GOOD "|sec-websocket-accept: " ACCEPT, true},
        {GOOD, false},
        {GOOD "|sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOO=", false},
        {GOOD "|sec-websocket-accept: S3PPLMBITXAQ9KYGZZHZRBK+XOO=", false},
        {GOOD "|sec-websocket-accept: " ACCEPT "|sec-websocket-accept: " ACCEPT, false},
        {GOOD "|sec-websocket-accept: " ACCEPT "|upgrade: h2c", false},
        {"upgrade: h2c|connection: upgrade|sec-websocket-accept: " ACCEPT, false},
        {"upgrade: websocket|sec-websocket-accept: " ACCEPT, false},
        {"upgrade: websocket|connection: close|sec-websocket-accept: " ACCEPT, false},
    };
    char accept[WEBSOCKET_ACCEPT_BYTES];

    (void)state;
    websocket_accept(SLICE(KEY), accept);
    assert_memory_equal(accept, ACCEPT, sizeof(accept));
    for (size_t i = 0; i < COUNT(row); i++) {
        struct http_fields f = fields_of(row[i].fields);

        if (websocket_is_accepted(&f, SLICE(KEY)) != row[i].want)
            fail_msg("row %zu", i);
    }
}

/* A frame with a payload of so many zeros; returns its bytes. */
static size_t frame(char *out, unsigned first, bool is_masked, uint64_t bytes)
{
    size_t more = bytes < 126 ? 0 : bytes < 65536 ? 2 : 8, n = 0;

    out[n++] = (char)first;
    out[n++] = (char)((is_masked ? 128 : 0) | (int)(more == 0 ? bytes : more == 2 ? 126 : 127));
    for (size_t i = more; i > 0; i--)
        out[n++] = (char)(bytes >> 8 * (i - 1));
    if (is_masked)
        for (int i = 0; i < 4; i++)
            out[n++] = (char)(i + 1);
    memset(out + n, 0, bytes);
    return n + bytes;
}

/* However the bytes are cut, frames end where they end. */
static void test_frames_in_pieces(void **state)
{
    static const uint64_t length[] = {0, 1, 125, 126, 127, 65535, 65536, 70000};
    static char text[600000];
    size_t end[16], bytes = 0, count = 0;

    (void)state;
    for (int is_masked = 0; is_masked < 2; is_masked++)
        for (size_t i = 0; i < COUNT(length); i++) {
            bytes += frame(text + bytes, 0x82, is_masked != 0, length[i]);
            end[count++] = bytes;
        }
    for (size_t piece = 1; piece < 100000; piece = piece * 3 + 1) {
        struct websocket_frames f = {.has_close = false};
        size_t at = 0, next = 0;

        while (at < bytes) {
            size_t n = bytes - at < piece ? bytes - at : piece;

            n = websocket_frames_pass(&f, text + at, n, true);
            at += n;
            assert_true(at <= end[next]);
            assert_int_equal(websocket_is_between(&f), at == end[next]);
            next += at == end[next];
        }
        assert_int_equal(next, count);
        assert_false(f.has_close);
    }
}

static void test_what_ends_nothing(void **state)
{
    struct websocket_frames f = {.has_close = false};
    char text[32];
    size_t n = frame(text, 0x88, true, 2); /* a Close */

    (void)state;
    assert_int_equal(websocket_frames_pass(&f, text, 1, false), 1);
    assert_false(f.has_close);
    assert_int_equal(websocket_frames_pass(&f, text + 1, n - 1, false), n - 1);
    assert_true(f.has_close && websocket_is_between(&f));

    /* a length that has no end: all passes, and nothing may ever be put in between */
    f = (struct websocket_frames){.has_close = false};
    assert_int_equal(
        websocket_frames_pass(&f, "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 10, true), 10);
    assert_true(f.is_broken && !websocket_is_between(&f));
    assert_int_equal(websocket_frames_pass(&f, text, n, true), n);
    assert_false(websocket_is_between(&f));
}

static void test_close_frames(void **state)
{
    char text[WEBSOCKET_CLOSE_BYTES];
    struct websocket_frames f = {.has_close = false};

    (void)state;
    assert_int_equal(websocket_close(text, WEBSOCKET_GOING_AWAY, false), 4);
    assert_memory_equal(text, "\x88\x02\x03\xe9", 4);
    assert_int_equal(websocket_close(text, WEBSOCKET_GOING_AWAY, true), 8);
    assert_memory_equal(text, "\x88\x82", 2);
    assert_int_equal((unsigned char)(text[6] ^ text[2]), 0x03);
    assert_int_equal((unsigned char)(text[7] ^ text[3]), 0xe9);
    assert_int_equal(websocket_frames_pass(&f, text, 8, true), 8);
    assert_true(f.has_close && websocket_is_between(&f));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(test_requests),          TEST(test_answers),      TEST(test_frames_in_pieces),
        TEST(test_what_ends_nothing), TEST(test_close_frames),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
