#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>

enum { ALIGN = 16, BLOCK_BYTES = 8192 };

struct arena_block {
    struct arena_block *next;
    uint64_t pad; /* keeps what follows 16-byte aligned */
};

_Static_assert(sizeof(struct arena_block) % ALIGN == 0, "blocks must keep the alignment");

void arena_init(struct arena *a, void *first, size_t first_bytes, size_t bytes_max)
{
    uintptr_t skew = (uintptr_t)first % ALIGN;
    size_t skip = skew == 0 ? 0 : ALIGN - skew;

    *a = (struct arena){.bytes_max = bytes_max};
    if (first != NULL && first_bytes > skip) {
        a->at = (char *)first + skip;
        a->end = (char *)first + first_bytes;
    }
}

static bool add_block(struct arena *a, size_t bytes)
{
    size_t whole = sizeof(struct arena_block) + (bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES);
    struct arena_block *b;

    if (whole > a->bytes_max - a->bytes)
        return false;
    b = malloc(whole);
    if (b == NULL)
        return false;
    b->next = a->more;
    a->more = b;
    a->bytes += whole;
    a->at = (char *)(b + 1);
    a->end = (char *)b + whole;
    return true;
}

void *arena_alloc(struct arena *a, size_t bytes)
{
    size_t room = (size_t)(a->end - a->at);
    void *p;

    if (bytes > SIZE_MAX - ALIGN)
        return NULL;
    if (bytes == 0)
        bytes = 1; /* a new arena's `at` is NULL, which would say that there is no room */
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (bytes > room && (bytes > a->bytes_max || !add_block(a, bytes)))
        return NULL;
    p = a->at;
    a->at += bytes;
    return p;
}

void *arena_zalloc(struct arena *a, size_t bytes)
{
    void *p = arena_alloc(a, bytes);

    return p == NULL ? NULL : memset(p, 0, bytes);
}

struct slice arena_dup(struct arena *a, struct slice s)
{
    char *p = arena_text(a, s);

    return (struct slice){p, p == NULL ? 0 : s.n};
}

char *arena_text(struct arena *a, struct slice s)
{
    char *p = arena_alloc(a, s.n + 1);

    if (p == NULL)
        return NULL;
    if (s.n > 0)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return p;
}

void arena_release(struct arena *a)
{
    struct arena_block *b = a->more;

    while (b != NULL) {
        struct arena_block *next = b->next;

        free(b);
        b = next;
    }
    *a = (struct arena){0};
}
