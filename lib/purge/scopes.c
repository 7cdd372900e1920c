#include "purge/scopes.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

enum { FIRST_SLOTS = 1024, FULL_NUMERATOR = 2, FULL_DENOMINATOR = 3 };

struct scopes_table {
    struct scopes_table *old; /* owned */
    size_t mask;              /* slots less one; a power of two */
    size_t used;              /* writer only */
    struct scopes_slot slot[];
};

static struct scopes_table *table_new(size_t slots, struct scopes_table *old)
{
    struct scopes_table *t = calloc(1, sizeof(*t) + slots * sizeof(t->slot[0]));

    if (t != NULL) {
        t->mask = slots - 1;
        t->old = old;
    }
    return t;
}

enum err scopes_init(struct scopes *s)
{
    memset(s, 0, sizeof(*s));
    s->live = table_new(FIRST_SLOTS, NULL);
    return s->live == NULL ? ERR_NOMEM : ERR_OK;
}

void scopes_release(struct scopes *s)
{
    struct scopes_table *t = s->live;

    while (t != NULL) {
        struct scopes_table *old = t->old;

        free(t);
        t = old;
    }
    s->live = NULL;
}

static struct scopes_table *live(const struct scopes *s)
{
    /* Acquire: pairs with the release in scopes_reserve(); the slots of a new table are filled. */
    return atomic_load_explicit(&s->live, memory_order_acquire);
}

/* The slot of `id`, or the free one where it would stand.  Ids are mixed well: their low bits will
 * do. */
static struct scopes_slot *probe(struct scopes_table *t, uint64_t id, uint64_t *out_found)
{
    CHECK(id != 0);
    for (size_t at = (size_t)id & t->mask;; at = (at + 1) & t->mask) {
        /* Acquire: pairs with the release in claim() and in scopes_restart(). */
        uint64_t there = atomic_load_explicit(&t->slot[at].id, memory_order_acquire);

        if (there == id || there == 0) {
            *out_found = there;
            return &t->slot[at];
        }
    }
}

/* The slot of `id`, its own from now on.  Writer. */
static struct scopes_slot *claim(struct scopes_table *t, uint64_t id, bool *out_new)
{
    uint64_t found;
    struct scopes_slot *slot = probe(t, id, &found);

    *out_new = found == 0;
    if (found == 0) {
        CHECK(t->used < t->mask); /* one stays free, or a probe would never end */
        t->used++;
        atomic_store_explicit(&slot->id, id, memory_order_release);
    }
    return slot;
}

static bool has_room(const struct scopes_table *t, size_t more)
{
    return t->used + more <= (t->mask + 1) / FULL_DENOMINATOR * FULL_NUMERATOR;
}

static void copy_slots(struct scopes_table *to, struct scopes_table *from)
{
    for (size_t i = 0; i <= from->mask; i++) {
        struct scopes_slot *slot = &from->slot[i], *copy;
        uint64_t id = atomic_load_explicit(&slot->id, memory_order_relaxed);
        bool is_new;

        if (id == 0)
            continue;
        copy = claim(to, id, &is_new);
        CHECK(is_new);
        atomic_store_explicit(&copy->hard, atomic_load_explicit(&slot->hard, memory_order_relaxed),
                              memory_order_relaxed);
        atomic_store_explicit(&copy->soft, atomic_load_explicit(&slot->soft, memory_order_relaxed),
                              memory_order_relaxed);
    }
}

enum err scopes_reserve(struct scopes *s, size_t more)
{
    struct scopes_table *t = live(s), *bigger;
    size_t slots = t->mask + 1;

    if (has_room(t, more))
        return ERR_OK;
    do
        slots *= 2;
    while (t->used + more > slots / FULL_DENOMINATOR * FULL_NUMERATOR);
    bigger = table_new(slots, t);
    if (bigger == NULL)
        return ERR_NOMEM;
    copy_slots(bigger, t);
    /*
     * Release: whoever finds the new table finds it filled.  A reader still in the old one began
     * before anything is raised in the new one, and thus before that purge was acknowledged.
     */
    atomic_store_explicit(&s->live, bigger, memory_order_release);
    return ERR_OK;
}

/*
 * Release and acquire in raise() and scopes_mark_of(), beside those of the head: scopes_restart()
 * makes slots of one scope into those of another, and a reader that meets the other's mark must
 * find the moved floor afterwards.
 */
static void raise(_Atomic uint64_t *mark, uint64_t to)
{
    if (to > atomic_load_explicit(mark, memory_order_relaxed))
        atomic_store_explicit(mark, to, memory_order_release);
}

void scopes_raise_slot(struct scopes_slot *slot, struct scopes_mark m)
{
    raise(&slot->hard, m.hard);
    raise(&slot->soft, m.soft);
}

void scopes_raise(struct scopes *s, uint64_t id, struct scopes_mark m)
{
    bool is_new;

    scopes_raise_slot(claim(live(s), id, &is_new), m);
    if (is_new)
        atomic_fetch_add_explicit(&s->count, 1, memory_order_relaxed);
}

void scopes_add_length(struct scopes *s, uint64_t host_id, size_t bytes)
{
    bool is_new;
    struct scopes_slot *host = claim(live(s), host_id, &is_new);

    CHECK(bytes <= PURGE_TEXT_BYTES_MAX);
    atomic_fetch_or_explicit(&host->hard, UINT64_C(1) << bytes % 64, memory_order_release);
    atomic_fetch_or_explicit(&s->length[bytes / 64], UINT64_C(1) << bytes % 64,
                             memory_order_release);
}

void scopes_restart(struct scopes *s)
{
    struct scopes_table *t = live(s);

    /* Release: a reader that misses an id because of this finds the floor moved, which was stored
     * before. */
    for (size_t i = 0; i <= t->mask; i++) {
        atomic_store_explicit(&t->slot[i].id, 0, memory_order_release);
        atomic_store_explicit(&t->slot[i].hard, 0, memory_order_release);
        atomic_store_explicit(&t->slot[i].soft, 0, memory_order_release);
    }
    t->used = 0;
    for (size_t i = 0; i < SCOPES_LENGTH_WORDS; i++)
        atomic_store_explicit(&s->length[i], 0, memory_order_release);
    atomic_store_explicit(&s->any_tag.hard, 0, memory_order_release);
    atomic_store_explicit(&s->any_tag.soft, 0, memory_order_release);
    atomic_store_explicit(&s->count, 0, memory_order_relaxed);
}

struct scopes_mark scopes_mark_of(const struct scopes_slot *slot)
{
    return (struct scopes_mark){.hard = atomic_load_explicit(&slot->hard, memory_order_acquire),
                                .soft = atomic_load_explicit(&slot->soft, memory_order_acquire)};
}

struct scopes_mark scopes_find(const struct scopes *s, uint64_t id)
{
    uint64_t found;
    const struct scopes_slot *slot = probe(live(s), id, &found);

    return found == 0 ? (struct scopes_mark){0, 0} : scopes_mark_of(slot);
}

uint64_t scopes_count(const struct scopes *s)
{
    return atomic_load_explicit(&s->count, memory_order_relaxed);
}

uint64_t scopes_lengths(const struct scopes *s, uint64_t host_id)
{
    return scopes_find(s, host_id).hard;
}

size_t scopes_next_length(const struct scopes *s, uint64_t mask, size_t from, size_t max)
{
    if (max > PURGE_TEXT_BYTES_MAX)
        max = PURGE_TEXT_BYTES_MAX;
    for (size_t at = from + 1; at <= max; at = (at / 64 + 1) * 64) {
        uint64_t word = atomic_load_explicit(&s->length[at / 64], memory_order_acquire) & mask &
                        ~UINT64_C(0) << at % 64;

        if (word != 0) {
            size_t n = at / 64 * 64 + (size_t)__builtin_ctzll(word);

            return n <= max ? n : 0;
        }
    }
    return 0;
}
