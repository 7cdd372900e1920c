#include "upstream/health.h"

#include "base/limits.h"

bool health_probed(struct health *h, bool is_good)
{
    if (is_good != h->is_down) { /* as expected */
        h->in_a_row = 0;
        return false;
    }
    h->in_a_row++;
    if (h->in_a_row < (h->is_down ? LIMIT_HEALTH_UP : LIMIT_HEALTH_DOWN))
        return false;
    h->is_down = !h->is_down;
    h->in_a_row = 0;
    return true;
}

unsigned health_room(unsigned most, int64_t up_since_ms, int64_t now_ms)
{
    int64_t since_ms = now_ms - up_since_ms;
    unsigned steps = 0, done;

    if (up_since_ms == 0 || since_ms >= LIMIT_SLOW_START_MS)
        return most;
    while (steps < 31 && (1u << steps) < most)
        steps++;
    if (since_ms < 0) /* the workers' clocks may be a turn apart */
        since_ms = 0;
    done = (unsigned)(since_ms * steps / LIMIT_SLOW_START_MS);
    return (1u << done) < most ? 1u << done : most;
}
