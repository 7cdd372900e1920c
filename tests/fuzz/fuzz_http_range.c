/*
 * Input: 8 bytes of length, a Range or Content-Range.  Parts lie inside the body and are, together,
 * at most twice as long; what is formatted reads as what it was.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "http/range.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check_formats(struct http_range r, uint64_t length)
{
    char text[HTTP_CONTENT_RANGE_BYTES];
    struct http_range again;
    uint64_t length_again;
    size_t n = http_content_range_format(r, length, text);

    CHECK(n < sizeof(text));
    CHECK(http_content_range_parse((struct slice){text, n}, &again, &length_again));
    CHECK(again.first == r.first && again.last == r.last && length_again == length);
}

static void check_range(struct slice value, uint64_t length)
{
    struct http_range part[HTTP_RANGES_MAX];
    size_t count = 99;
    double sum = 0; /* 16 times 2^64 */
    enum http_range_result r = http_range_parse(value, length, part, &count);

    CHECK((r == HTTP_RANGE_OK) == (count > 0) && count <= HTTP_RANGES_MAX);
    for (size_t i = 0; i < count; i++) {
        CHECK(part[i].first <= part[i].last && part[i].last < length);
        check_formats(part[i], length);
        check_formats(part[i], UINT64_MAX);
        sum += (double)(part[i].last - part[i].first) + 1;
    }
    CHECK(sum <= 2.001 * (double)length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char text[HTTP_CONTENT_RANGE_BYTES];
    struct http_range r;
    struct slice value;
    uint64_t length;

    if (bytes < sizeof(length))
        return 0;
    memcpy(&length, data, sizeof(length));
    value = slice_from((struct slice){(const char *)data, bytes}, sizeof(length));
    if (length == UINT64_MAX)
        length--;
    check_range(value, length);
    check_range(value, length % 1000);
    if (http_content_range_parse(value, &r, &length)) {
        CHECK(r.first <= r.last && r.last < length);
        check_formats(r, length);
    }
    CHECK(!http_content_range_parse((struct slice){text, http_content_range_unsatisfied(7, text)},
                                    &r, &length));
    return 0;
}
