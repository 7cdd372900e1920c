/*
 * Any bytes as the head of a response: never more than the limits, never a field that could not be
 * sent on, and a framing that follows from the fields alone.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "upstream/head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check_fields(const struct head *h)
{
    CHECK(h->fields.count <= LIMIT_RESPONSE_FIELDS);
    for (size_t i = 0; i < h->fields.count; i++) {
        struct http_field f = h->fields.item[i];

        CHECK(http_is_token(f.name));
        CHECK(http_is_field_value(f.value));
        CHECK(slice_eq(slice_trim(f.value), f.value));
        for (size_t j = 0; j < f.name.n; j++)
            CHECK(f.name.p[j] < 'A' || f.name.p[j] > 'Z');
    }
}

/* As libcurl hands it over: up to each LF. */
static enum head_step feed(struct head *h, struct slice text)
{
    enum head_step step = HEAD_MORE;

    while (text.n > 0 && (step == HEAD_MORE || step == HEAD_INTERIM)) {
        size_t n = slice_index(text, '\n');

        n = n < text.n ? n + 1 : n;
        step = head_line(h, slice_head(text, n));
        text = slice_from(text, n);
        if (step == HEAD_INTERIM) {
            CHECK(h->status > 101 && h->status < 200);
            check_fields(h);
        }
    }
    return step;
}

static void check_framing(struct head *h, bool is_head)
{
    struct http_field const *coding = http_fields_find(&h->fields, SLICE("transfer-encoding"));
    struct slice length = http_fields_value(&h->fields, SLICE("content-length"));
    struct head_framing f;

    if (head_framing(h, is_head, &f) != ERR_OK) {
        CHECK(h->complaint != NULL);
        CHECK(coding != NULL || length.p != NULL);
        return;
    }
    CHECK(coding == NULL || slice_eq_nocase(coding->value, SLICE("chunked")));
    switch (f.kind) {
    case UPSTREAM_NO_BODY:
        CHECK(is_head || h->status == 204 || h->status == 304);
        break;
    case UPSTREAM_CHUNKED:
        CHECK(coding != NULL);
        CHECK(!f.may_reuse || length.p == NULL);
        break;
    case UPSTREAM_LENGTH:
        CHECK(coding == NULL && length.p != NULL);
        CHECK(f.body_bytes <= INT64_MAX);
        break;
    case UPSTREAM_TO_CLOSE:
        CHECK(coding == NULL && length.p == NULL);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct slice text = {(const char *)data, bytes};
    enum head_step first, second;
    struct head h;
    int status;

    head_init(&h);
    first = feed(&h, text);
    status = h.status;
    if (first == HEAD_COMPLETE) {
        CHECK(h.status >= 200 && h.status <= 999);
        CHECK(h.bytes <= LIMIT_RESPONSE_HEAD_BYTES);
        check_fields(&h);
        check_framing(&h, false);
        check_framing(&h, true);
        CHECK(head_keep_alive_ms(&h.fields) >= -1);
    }
    if (first == HEAD_GARBAGE)
        CHECK(h.complaint != NULL);
    head_restart(&h); /* nothing of the first may be left */
    second = feed(&h, text);
    CHECK(first == second && status == h.status);
    head_release(&h);
    return 0;
}
