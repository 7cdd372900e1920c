/*
 * health: is a server up, and how much of it may be used so soon after it came back?
 *
 * A server counts as up until LIMIT_HEALTH_DOWN probes in a row have failed, and as down until
 * LIMIT_HEALTH_UP in a row have succeeded: one lost packet moves nobody.  One that came back gets
 * 1, 2, 4 … of its connections over LIMIT_SLOW_START_MS, so that a cold one is not drowned.
 *
 * Pure: time is an argument.  One thread, or a lock of the caller's.
 */
#ifndef UPSTREAM_HEALTH_H
#define UPSTREAM_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

struct health {
    bool is_down;
    unsigned in_a_row; /* probes that contradict the present state */
};

/* One probe's result.  True when the state has changed by it. */
bool health_probed(struct health *h, bool is_good);

/*
 * How many of `most` connections (at least 1) a server may have now that came back at `up_since_ms`
 * (0: it was never down).  At least 1.
 */
unsigned health_room(unsigned most, int64_t up_since_ms, int64_t now_ms);

#endif
