/* Input: a request target.  What is made of it leads to the hostname, and holds no byte that ends
 * it. */
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "geo/regions.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const struct slice begin = SLICE("https://sin.test:8443/");
    struct slice target = {(const char *)data, bytes}, url;
    struct arena a;

    arena_init(&a, NULL, 0, 1 << 20);
    url = geo_location("sin.test:8443", target, &a);
    if (url.p != NULL) {
        CHECK(slice_starts_with(url, begin) && url.n == begin.n - 1 + bytes);
        CHECK(url.n == begin.n || url.p[begin.n] != '/');
        CHECK(url.p[url.n] == '\0');
        for (size_t i = 0; i < url.n; i++)
            CHECK(url.p[i] > ' ' && url.p[i] < 0x7f && url.p[i] != '\\' && url.p[i] != '"' &&
                  url.p[i] != '>' && url.p[i] != '<');
    }
    arena_release(&a);
    return 0;
}
