#include "upstream/retry.h"

#include "base/limits.h"

/* The workers' clocks may be a turn apart: a time that lies before the slot's counts as the slot's.
 */
static size_t slot_of(struct retry_budget *b, int64_t now_ms)
{
    int64_t now_s = now_ms / 1000;
    size_t i = (size_t)(now_s % RETRY_WINDOW_S);

    if (b->second[i].at_s < now_s) {
        b->second[i].at_s = now_s;
        b->second[i].requests = b->second[i].retries = 0;
    }
    return i;
}

void retry_count_request(struct retry_budget *b, int64_t now_ms)
{
    b->second[slot_of(b, now_ms)].requests++;
}

bool retry_take(struct retry_budget *b, int64_t now_ms)
{
    size_t now = slot_of(b, now_ms);
    uint64_t requests = 0, retries = 0, most;

    for (size_t i = 0; i < RETRY_WINDOW_S; i++) {
        if (b->second[i].at_s <= now_ms / 1000 - RETRY_WINDOW_S)
            continue;
        requests += b->second[i].requests;
        retries += b->second[i].retries;
    }
    most = requests * LIMIT_RETRY_PERCENT / 100;
    if (retries >= (most > RETRY_ALWAYS ? most : RETRY_ALWAYS))
        return false;
    b->second[now].retries++;
    return true;
}

bool retry_may(const struct retry_facts *f)
{
    if (f->retries > 0 || f->has_answer || (f->was_sent && !f->is_idempotent))
        return false;
    switch (f->failure) {
    case UPSTREAM_FAILED_RESOLVE:
    case UPSTREAM_FAILED_CONNECT:
    case UPSTREAM_FAILED_CONNECT_TIME:
    case UPSTREAM_FAILED_TLS:
    case UPSTREAM_FAILED_DOWN:
        return f->servers_count > 1;
    case UPSTREAM_FAILED_CLOSED:
        return true;
    case UPSTREAM_OK:
    case UPSTREAM_FAILED_TIMEOUT: /* it may be working on the request still */
    case UPSTREAM_FAILED_GARBAGE:
    case UPSTREAM_FAILED_TRUNCATED:
    case UPSTREAM_FAILED_OVERLOAD:
    case UPSTREAM_FAILED_BREAKER:
    case UPSTREAM_FAILED_AWAY:
        break;
    }
    return false;
}
