#include "http/websocket.h"

#include <string.h>

#include "base/check.h"
#include "base/digest.h"

enum { HEAD_BYTES_MIN = 2, MASK_BYTES = 4, LENGTH_16 = 126, LENGTH_64 = 127, OPCODE_CLOSE = 8 };

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* ---- the handshake ---- */

/* 16 bytes are 22 letters, of which the last carries two bits, and "==". */
static bool is_key(struct slice s)
{
    if (s.n != WEBSOCKET_KEY_BYTES || !slice_ends_with(s, SLICE("==")))
        return false;
    for (size_t i = 0; i < s.n - 2; i++)
        if (memchr(base64, s.p[i], sizeof(base64) - 1) == NULL)
            return false;
    return strchr("AQgw", s.p[s.n - 3]) != NULL;
}

enum websocket_request websocket_read_request(const struct http_fields *f, struct slice *out_key)
{
    const struct http_field *key = http_fields_find(f, SLICE("sec-websocket-key"));
    const struct http_field *version = http_fields_find(f, SLICE("sec-websocket-version"));

    if (version == NULL || http_fields_next(f, version) != NULL ||
        !slice_eq(version->value, SLICE("13")))
        return WEBSOCKET_OTHER_VERSION;
    if (key == NULL || http_fields_next(f, key) != NULL || !is_key(key->value))
        return WEBSOCKET_NO_KEY;
    *out_key = key->value;
    return WEBSOCKET_ASKED;
}

void websocket_accept(struct slice key, char out[WEBSOCKET_ACCEPT_BYTES])
{
    static const char id[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455 section 1.3 */
    char text[WEBSOCKET_KEY_BYTES + sizeof(id) - 1];
    unsigned char hash[DIGEST_SHA1_BYTES + 1] = {0};

    CHECK(key.n == WEBSOCKET_KEY_BYTES);
    memcpy(text, key.p, key.n);
    memcpy(text + key.n, id, sizeof(id) - 1);
    digest_sha1((struct slice){text, sizeof(text)}, hash);
    for (size_t i = 0; i < sizeof(hash) / 3; i++, out += 4) {
        uint32_t v = (uint32_t)(hash[3 * i] << 16 | hash[3 * i + 1] << 8 | hash[3 * i + 2]);

        out[0] = base64[v >> 18];
        out[1] = base64[v >> 12 & 63];
        out[2] = base64[v >> 6 & 63];
        out[3] = base64[v & 63];
    }
    out[-1] = '='; /* of the last three bytes one is none of the hash */
}

bool websocket_is_accepted(const struct http_fields *f, struct slice key)
{
    const struct http_field *accept = http_fields_find(f, SLICE("sec-websocket-accept"));
    const struct http_field *upgrade = http_fields_find(f, SLICE("upgrade"));
    char want[WEBSOCKET_ACCEPT_BYTES];

    websocket_accept(key, want);
    return upgrade != NULL && http_fields_next(f, upgrade) == NULL &&
           slice_eq_nocase(upgrade->value, SLICE("websocket")) &&
           http_fields_has_token(f, SLICE("connection"), SLICE("upgrade")) && accept != NULL &&
           http_fields_next(f, accept) == NULL &&
           slice_eq(accept->value, (struct slice){want, sizeof(want)});
}

/* ---- frames (section 5.2) ---- */

/* How many bytes the head has, as far as that is known from those that are here. */
static size_t head_bytes(const struct websocket_frames *f)
{
    size_t bytes = HEAD_BYTES_MIN;

    if (f->head_bytes < HEAD_BYTES_MIN)
        return bytes;
    if ((f->head[1] & 127) == LENGTH_16)
        bytes += 2;
    else if ((f->head[1] & 127) == LENGTH_64)
        bytes += 8;
    return bytes + ((f->head[1] & 128) != 0 ? MASK_BYTES : 0);
}

static uint64_t payload_bytes(const struct websocket_frames *f)
{
    unsigned short_length = f->head[1] & 127;
    size_t more = short_length == LENGTH_16 ? 2 : short_length == LENGTH_64 ? 8 : 0;
    uint64_t bytes = more == 0 ? short_length : 0;

    for (size_t i = 0; i < more; i++)
        bytes = bytes << 8 | f->head[HEAD_BYTES_MIN + i];
    return bytes;
}

/* The head is whole. */
static void begin_payload(struct websocket_frames *f)
{
    f->left = payload_bytes(f);
    f->in_payload = f->left > 0;
    f->head_bytes = 0;
    f->has_close = f->has_close || (f->head[0] & 15) == OPCODE_CLOSE;
    f->is_broken = f->left > INT64_MAX; /* the most significant bit must be 0 */
}

size_t websocket_frames_pass(struct websocket_frames *f, const char *p, size_t n, bool stops)
{
    size_t at = 0;

    while (at < n && !f->is_broken) {
        if (f->in_payload) {
            size_t piece = f->left < n - at ? (size_t)f->left : n - at;

            at += piece;
            f->left -= piece;
            f->in_payload = f->left > 0;
        } else {
            f->head[f->head_bytes++] = (unsigned char)p[at++];
            if (f->head_bytes < head_bytes(f))
                continue;
            begin_payload(f);
        }
        if (stops && websocket_is_between(f))
            return at;
    }
    return n;
}

bool websocket_is_between(const struct websocket_frames *f)
{
    return f->head_bytes == 0 && !f->in_payload && !f->is_broken;
}

size_t websocket_close(char out[WEBSOCKET_CLOSE_BYTES], unsigned code, bool is_masked)
{
    unsigned char mask[MASK_BYTES] = {0};
    size_t at = 0;

    if (is_masked)
        digest_random(mask, sizeof(mask));
    out[at++] = (char)(128 | OPCODE_CLOSE);
    out[at++] = (char)((is_masked ? 128 : 0) | 2);
    if (is_masked) {
        memcpy(out + at, mask, sizeof(mask));
        at += sizeof(mask);
    }
    out[at++] = (char)(code >> 8 ^ mask[0]);
    out[at++] = (char)((code & 255) ^ mask[1]);
    return at;
}
