#include "upstream/breaker.h"

#include "base/limits.h"

bool breaker_may_pass(struct breaker *b, int64_t now_ms)
{
    if (b->opens_until_ms == 0)
        return true;
    if (now_ms < b->opens_until_ms)
        return false;
    b->opens_until_ms = now_ms + LIMIT_BREAKER_OPEN_MS;
    return true;
}

bool breaker_failed(struct breaker *b, int64_t now_ms)
{
    bool was_open = b->opens_until_ms != 0;

    if (b->failures > 0 && now_ms - b->failed_at_ms > LIMIT_BREAKER_WINDOW_MS)
        b->failures = 0;
    b->failed_at_ms = now_ms;
    b->failures++;
    if (!was_open && b->failures < LIMIT_BREAKER_FAILURES)
        return false;
    /* those that were under way when it opened do not prolong it */
    if (!was_open)
        b->opens_until_ms = now_ms + LIMIT_BREAKER_OPEN_MS;
    return !was_open;
}

bool breaker_worked(struct breaker *b)
{
    bool was_open = b->opens_until_ms != 0;

    *b = (struct breaker){0};
    return was_open;
}
