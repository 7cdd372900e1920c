/*
 * Input: a database.  It is refused with a sentence that names it, or answers every address with
 * what a place may be.
 */
#include <arpa/inet.h>
#include <math.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "geo/geo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void look_up(const struct geo *g, int family, const char *ip)
{
    struct sockaddr_storage sa = {.ss_family = (sa_family_t)family};
    struct geo_place p;

    CHECK(inet_pton(family, ip,
                    family == AF_INET
                        ? (void *)&((struct sockaddr_in *)(void *)&sa)->sin_addr
                        : (void *)&((struct sockaddr_in6 *)(void *)&sa)->sin6_addr) == 1);
    geo_find(g, (const struct sockaddr *)&sa, &p);
    CHECK(p.country == NULL || site_country_find(slice_of(p.country->code)) == p.country);
    if (p.has_point)
        CHECK(isfinite(p.latitude) && fabs(p.latitude) <= 90 && isfinite(p.longitude) &&
              fabs(p.longitude) <= 180);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    char path[64];
    const char *file = path;
    struct geo *g = NULL;
    struct buf why;

    CHECK(fd >= 0 && write(fd, data, bytes) == (ssize_t)bytes);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    buf_init(&why, 4096);
    if (geo_open(&file, 1, &g, &why) == ERR_OK) {
        look_up(g, AF_INET, "127.1.0.1");
        look_up(g, AF_INET, "0.0.0.0");
        look_up(g, AF_INET, "255.255.255.255");
        look_up(g, AF_INET6, "::ffff:127.1.0.1");
        look_up(g, AF_INET6, "2001:db8:1::1");
        look_up(g, AF_INET6, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
        geo_close(g);
    } else {
        CHECK(slice_starts_with(buf_slice(&why), slice_of(path)));
    }
    buf_release(&why);
    close(fd);
    return 0;
}
