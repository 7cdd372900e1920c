#include "cache/judge.h"

struct purge_subject cache_subject(const struct store_stamp *stamp)
{
    return (struct purge_subject){.birth = stamp->birth,
                                  .site = stamp->site,
                                  .purge_url = stamp->purge_url,
                                  .tags = stamp->tags,
                                  .tags_count = stamp->tags_count,
                                  .tags_overflow = stamp->tags_overflow};
}

static enum store_verdict judge(void *user, const struct store_stamp *stamp)
{
    struct purge_subject s = cache_subject(stamp);

    switch (purge_judge(user, &s)) {
    case PURGE_USABLE:
        return STORE_USABLE;
    case PURGE_SOFT:
        return STORE_STALE;
    case PURGE_DEAD:
        break;
    }
    return STORE_DEAD;
}

static uint64_t floor_of(void *user)
{
    return purge_floor(user);
}

static uint64_t head_of(void *user)
{
    return purge_head(user);
}

struct store_judge cache_judge(struct purge *p)
{
    return (struct store_judge){.judge = judge, .floor = floor_of, .head = head_of, .user = p};
}
