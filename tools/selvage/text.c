#include "text.h"

#include <stdio.h>

void text_add_safe(struct buf *b, struct slice s, enum text_shape shape)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if ((c >= 0x20 && c < 0x7f) || (shape == TEXT_LINES && (c == '\n' || c == '\t')))
            buf_add_char(b, s.p[i]);
        else
            buf_addf(b, "\\x%02x", c);
    }
}

const char *text_size(char out[static TEXT_NUMBER_BYTES], uint64_t bytes)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double n = (double)bytes;
    size_t i = 0;

    /* 1023.5 would be printed as 1024. */
    while (n >= 1023.5 && i + 1 < sizeof(unit) / sizeof(unit[0])) {
        n /= 1024;
        i++;
    }
    /* A digit after the point where the number is short, as long as there is something to say. */
    snprintf(out, TEXT_NUMBER_BYTES, n < 9.95 && n != (double)(int)n ? "%.1f%s" : "%.0f%s", n,
             unit[i]);
    return out;
}

const char *text_duration(char out[static TEXT_NUMBER_BYTES], int64_t seconds)
{
    const char *sign = seconds < 0 ? "-" : "";
    uint64_t s = seconds < 0 ? 0 - (uint64_t)seconds : (uint64_t)seconds;
    uint64_t n = s < 120 ? s : s < 7200 ? s / 60 : s < 172800 ? s / 3600 : s / 86400;
    char unit = s < 120 ? 's' : s < 7200 ? 'm' : s < 172800 ? 'h' : 'd';

    snprintf(out, TEXT_NUMBER_BYTES, "%s%llu%c", sign, (unsigned long long)n, unit);
    return out;
}
