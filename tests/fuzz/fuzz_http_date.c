/* Input: 8 bytes of now, a date.  What is read and written again reads the same; so does any time.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "http/date.h"

#define YEAR_0_S    INT64_C(-62167219200)
#define YEAR_9999_S INT64_C(253402300799)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check_time(int64_t at_s)
{
    char text[HTTP_DATE_BYTES];
    int64_t again_s = 0, want_s = at_s;

    http_date_format(at_s, text);
    if (want_s < YEAR_0_S)
        want_s = YEAR_0_S;
    if (want_s > YEAR_9999_S)
        want_s = YEAR_9999_S;
    CHECK(http_date_parse((struct slice){text, sizeof(text)}, 0, &again_s) && again_s == want_s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    int64_t now_s, at_s = 0;
    struct slice text;

    if (bytes < sizeof(now_s))
        return 0;
    memcpy(&now_s, data, sizeof(now_s));
    text = slice_from((struct slice){(const char *)data, bytes}, sizeof(now_s));
    check_time(now_s);
    if (http_date_parse(text, now_s, &at_s))
        check_time(at_s);
    if (http_date_parse(text, now_s % (YEAR_9999_S / 2), &at_s))
        check_time(at_s);
    return 0;
}
