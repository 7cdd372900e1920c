#include "base/timers.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/check.h"

void timers_release(struct timers *t)
{
    for (size_t i = 1; i <= t->count; i++)
        t->heap[i]->slot = 0;
    free(t->heap);
    *t = (struct timers){0};
}

static void place(struct timers *t, size_t at, struct reactor_timer *timer)
{
    t->heap[at] = timer;
    timer->slot = at;
}

static void settle(struct timers *t, size_t at)
{
    struct reactor_timer *timer = t->heap[at];

    while (at > 1 && t->heap[at / 2]->due_ms > timer->due_ms) {
        place(t, at, t->heap[at / 2]);
        at /= 2;
    }
    for (;;) {
        size_t child = at * 2;

        if (child > t->count)
            break;
        if (child < t->count && t->heap[child + 1]->due_ms < t->heap[child]->due_ms)
            child++;
        if (t->heap[child]->due_ms >= timer->due_ms)
            break;
        place(t, at, t->heap[child]);
        at = child;
    }
    place(t, at, timer);
}

void timers_start(struct timers *t, struct reactor_timer *timer, int64_t due_ms)
{
    CHECK(timer->fire != NULL);
    timer->due_ms = due_ms;
    if (timer->slot == 0) {
        if (t->count + 1 >= t->capacity) {
            size_t capacity = t->capacity == 0 ? 64 : t->capacity * 2;
            struct reactor_timer **heap = realloc(t->heap, capacity * sizeof(struct reactor_timer *));

            CHECK(heap != NULL);
            t->heap = heap;
            t->capacity = capacity;
        }
        place(t, ++t->count, timer);
    }
    CHECK(t->heap[timer->slot] == timer);
    settle(t, timer->slot);
}

void timers_stop(struct timers *t, struct reactor_timer *timer)
{
    size_t at = timer->slot;

    if (at == 0)
        return;
    CHECK(t->heap[at] == timer);
    timer->slot = 0;
    if (at != t->count) {
        place(t, at, t->heap[t->count--]);
        settle(t, at);
    } else {
        t->count--;
    }
}

int64_t timers_wait_ms(const struct timers *t, int64_t now_ms, int64_t max_ms)
{
    int64_t wait;

    if (t->count == 0)
        return max_ms;
    wait = t->heap[1]->due_ms - now_ms;
    if (wait < 0)
        return 0;
    return wait < max_ms ? wait : max_ms;
}

void timers_fire(struct timers *t, int64_t now_ms)
{
    while (t->count > 0 && t->heap[1]->due_ms <= now_ms) {
        struct reactor_timer *timer = t->heap[1];

        timers_stop(t, timer);
        timer->fire(timer->user);
    }
}
