#include "base/clock.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static int64_t read_us(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

struct clock_moment clock_now(void)
{
    return (struct clock_moment){.wall_ms = read_us(CLOCK_REALTIME) / 1000,
                                 .mono_ms = read_us(CLOCK_BOOTTIME) / 1000};
}

int64_t clock_mono_us(void)
{
    return read_us(CLOCK_BOOTTIME);
}

int64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

static uint32_t boot;
static pthread_once_t boot_once = PTHREAD_ONCE_INIT;

static void read_boot(void)
{
    char text[9] = {0};
    unsigned v;
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    if (read(fd, text, 8) == 8 && sscanf(text, "%8x", &v) == 1)
        boot = v;
    close(fd);
}

uint32_t clock_boot(void)
{
    pthread_once(&boot_once, read_boot);
    return boot;
}
