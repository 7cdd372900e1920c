#include "server/guards.h"

#include <dlfcn.h>

#include "base/check.h"

void guards_check(void)
{
    guard_h1_check();
    guard_h2_check();
    guard_chunked_check();
}

void *guard_original(const char *name)
{
    void *p = dlsym(RTLD_NEXT, name);

    CHECK(p != NULL);
    return p;
}

void guard_check_one(const char *name, void *ours)
{
    CHECK(dlsym(RTLD_DEFAULT, name) == ours);
}
