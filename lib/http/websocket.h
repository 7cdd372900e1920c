/*
 * websocket: what a node in the middle must know of RFC 6455.
 *
 * The handshake: whether a request asks for it as it should, and whether an answer agrees.  And as
 * much of the frames as it takes to know where one ends, since a Close may only stand between two.
 * Payloads, extensions and subprotocols are the ends' business.  Pure but for the mask of a Close
 * frame, which is random; one thread.
 */
#ifndef HTTP_WEBSOCKET_H
#define HTTP_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "http/fields.h"

enum {
    WEBSOCKET_KEY_BYTES = 24,    /* of Sec-WebSocket-Key: 16 bytes in base64 */
    WEBSOCKET_ACCEPT_BYTES = 28, /* of Sec-WebSocket-Accept: 20 bytes in base64 */
    WEBSOCKET_CLOSE_BYTES = 8,   /* the longest frame that websocket_close() writes */
    WEBSOCKET_GOING_AWAY = 1001,
};

enum websocket_request {
    WEBSOCKET_ASKED,
    WEBSOCKET_OTHER_VERSION, /* than 13, the only one there is: 426 */
    WEBSOCKET_NO_KEY,        /* none, several, or not 16 bytes in base64: 400 */
};

/* The fields of a request with `Upgrade: websocket` (section 4.2.1).  ASKED: *out_key is its key,
 * borrowed. */
enum websocket_request websocket_read_request(const struct http_fields *f, struct slice *out_key);

/* What Sec-WebSocket-Accept must say for this key. */
void websocket_accept(struct slice key, char out[WEBSOCKET_ACCEPT_BYTES]);

/* Does a 101 with these fields agree to what was asked with `key` (section 4.1)? */
bool websocket_is_accepted(const struct http_fields *f, struct slice key);

/* Where one direction of a connection stands among its frames.  Zeroed at its beginning. */
struct websocket_frames {
    unsigned char head[14]; /* of the frame that is coming */
    uint8_t head_bytes;     /* so many of it are here */
    uint64_t left;          /* of its payload; with a whole head */
    bool in_payload;
    bool has_close; /* a Close frame has begun: nothing of worth comes after it */
    bool is_broken; /* a length that nobody may send: where frames end is unknown from here on */
};

/* Pass over up to `n` bytes; with `stops`, only to the end of a frame.  Returns how many. */
size_t websocket_frames_pass(struct websocket_frames *f, const char *p, size_t n, bool stops);

/* May another frame be put in here? */
bool websocket_is_between(const struct websocket_frames *f);

/* A Close frame with this code; `is_masked`: as a client sends it.  Returns its bytes. */
size_t websocket_close(char out[WEBSOCKET_CLOSE_BYTES], unsigned code, bool is_masked);

#endif
