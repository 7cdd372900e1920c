/*
 * clock: the time, on both clocks; and which boot this is.
 *
 * The wall clock may be stepped; the monotonic one starts anew at each boot.  Code
 * that decides takes a struct clock_moment as an argument and reads no clock.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

struct clock_moment {
    int64_t wall_ms; /* since the epoch */
    int64_t mono_ms; /* since this boot (CLOCK_BOOTTIME) */
};

struct clock_moment clock_now(void);
int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);

/* A number that differs from boot to boot: the first 4 bytes of the kernel's boot id; 0 when unknown. */
uint32_t clock_boot(void);

#endif
