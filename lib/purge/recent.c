#include "purge/recent.h"

#include "base/check.h"

void recent_add(struct recent *r, struct slice id, uint64_t fingerprint, uint64_t answer)
{
    struct recent_entry *e = &r->ring[r->at];

    CHECK(id.n <= sizeof(e->id));
    e->fingerprint = fingerprint;
    e->answer = answer;
    e->id_bytes = id.n;
    if (id.n > 0)
        memcpy(e->id, id.p, id.n);
    r->at = (r->at + 1) % RECENT_RECORDS;
}

bool recent_find(const struct recent *r, struct slice id, uint64_t fingerprint,
                 uint64_t *out_answer)
{
    if (id.n == 0)
        return false;
    for (size_t i = 0; i < RECENT_RECORDS; i++) {
        const struct recent_entry *e = &r->ring[i];

        if (e->fingerprint == fingerprint && slice_eq((struct slice){e->id, e->id_bytes}, id)) {
            *out_answer = e->answer;
            return true;
        }
    }
    return false;
}
