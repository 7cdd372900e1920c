/*
 * choice: which of several servers, and which of several hops, gets a request.
 *
 * Pure: what is known of each is an argument.
 */
#ifndef UPSTREAM_CHOICE_H
#define UPSTREAM_CHOICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#define CHOICE_NONE SIZE_MAX

/* The name of a server or hop, as a number that all nodes agree on. */
uint64_t choice_id(struct slice name);

/*
 * Rendezvous (highest random weight): the candidate with the highest score has the key.  When one
 * leaves, its keys go to all others in equal parts, and no other key moves.  `weight` of at least
 * 1: how large a share of the keys.  O(weight).
 */
uint64_t choice_score(uint64_t key, uint64_t id, unsigned weight);

struct choice_server {
    uint64_t id;
    unsigned weight;  /* at least 1 */
    unsigned running; /* requests that it has now */
    bool is_fit;      /* up, does not rest, has room */
};

/* The fit server with the fewest requests for its weight; among equals the one whose turn it is,
 * each as often as its weight says.  CHOICE_NONE: none is fit. */
size_t choice_least(const struct choice_server *s, size_t n, uint64_t turn);

/* The fit server that has the key. */
size_t choice_hash(const struct choice_server *s, size_t n, uint64_t key);

struct choice_hop {
    uint64_t id;
    unsigned group; /* 0 is nearest; the origin's is the last */
    bool is_up;     /* neither down by its probes nor just failed */
    bool has_room;  /* less than it may have so soon after it came back */
    bool was_tried; /* by this request */
};

/* The nearest group with a hop that is up and was not tried; in it the one with room that has the
 * key, or, when none has room, the one that has the key.  CHOICE_NONE: none is left. */
size_t choice_route(const struct choice_hop *h, size_t n, uint64_t key);

#endif
