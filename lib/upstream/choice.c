#include "upstream/choice.h"

#include "base/digest.h"

uint64_t choice_id(struct slice name)
{
    return digest_64(name);
}

/* Both are hashes, but related names must not be neighbours in what comes out (splitmix64). */
static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* A server of weight 3 is three servers of weight 1 in one place. */
uint64_t choice_score(uint64_t key, uint64_t id, unsigned weight)
{
    uint64_t most = 0;

    for (unsigned i = 0; i < weight; i++) {
        uint64_t score = mix(key ^ mix(id + i));

        most = score > most ? score : most;
    }
    return most;
}

size_t choice_least(const struct choice_server *s, size_t n, uint64_t turn)
{
    uint64_t weights = 0;
    size_t first = 0, best = CHOICE_NONE;

    for (size_t i = 0; i < n; i++)
        weights += s[i].is_fit ? s[i].weight : 0;
    if (weights == 0)
        return CHOICE_NONE;
    for (turn %= weights; !s[first].is_fit || turn >= s[first].weight; first++)
        turn -= s[first].is_fit ? s[first].weight : 0;
    for (size_t i = 0; i < n; i++) {
        const struct choice_server *c = &s[(first + i) % n];

        if (c->is_fit && (best == CHOICE_NONE || (uint64_t)c->running * s[best].weight <
                                                     (uint64_t)s[best].running * c->weight))
            best = (first + i) % n;
    }
    return best;
}

size_t choice_hash(const struct choice_server *s, size_t n, uint64_t key)
{
    uint64_t most = 0;
    size_t best = CHOICE_NONE;

    for (size_t i = 0; i < n; i++) {
        uint64_t score = s[i].is_fit ? choice_score(key, s[i].id, s[i].weight) : 0;

        if (s[i].is_fit && (best == CHOICE_NONE || score > most)) {
            most = score;
            best = i;
        }
    }
    return best;
}

/* Is `a` the better one of two that are up? */
static bool is_better(const struct choice_hop *a, const struct choice_hop *b, uint64_t key)
{
    if (a->group != b->group)
        return a->group < b->group;
    if (a->has_room != b->has_room)
        return a->has_room;
    return choice_score(key, a->id, 1) > choice_score(key, b->id, 1);
}

size_t choice_route(const struct choice_hop *h, size_t n, uint64_t key)
{
    size_t best = CHOICE_NONE;

    for (size_t i = 0; i < n; i++)
        if (h[i].is_up && !h[i].was_tried &&
            (best == CHOICE_NONE || is_better(&h[i], &h[best], key)))
            best = i;
    return best;
}
