#include "server/memory.h"

#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"

/* Bytes in memory that are no file's; 0: not known. */
static uint64_t anonymous_bytes(void)
{
    FILE *f = fopen("/proc/self/statm", "re");
    unsigned long long size, resident = 0, shared = 0;

    if (f == NULL)
        return 0;
    if (fscanf(f, "%llu %llu %llu", &size, &resident, &shared) != 3 || shared > resident)
        resident = shared = 0;
    fclose(f);
    return (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t memory_kept(void)
{
    uint64_t there = anonymous_bytes();
    struct mallinfo2 info;
    uint64_t used;

    if (there < LIMIT_MEMORY_KEPT_BYTES)
        return 0; /* as most of the time: malloc need not be asked */
    info = mallinfo2();
    used = (uint64_t)info.uordblks + info.hblkhd;
    return there > used ? there - used : 0;
}

bool memory_is_due(const struct memory *m, int64_t now_ms)
{
    return now_ms - m->looked_ms >= LIMIT_MEMORY_LOOK_MS;
}

bool memory_look(struct memory *m, int64_t now_ms)
{
    uint64_t kept = memory_kept();
    int64_t began_us = clock_mono_us();

    m->looked_ms = now_ms;
    if (kept < LIMIT_MEMORY_KEPT_BYTES)
        return false;
    (void)malloc_trim(0);
    log_debug("memory: %llu MiB of freed memory were kept, and given back in %lld us",
              (unsigned long long)(kept / MIB), (long long)(clock_mono_us() - began_us));
    return true;
}
