/* Stores that are of no use any more: renamed, so that a new one can begin at once, and removed in
 * the background. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "store/store_priv.h"

enum { PATH_BYTES_MAX = 4096 };

#define ASIDE   ".old-"
#define DAMAGED "/DAMAGED"

enum err store__move_aside(const char *dir)
{
    char to[PATH_BYTES_MAX];
    uint64_t name;
    int n;

    digest_random(&name, sizeof(name));
    n = snprintf(to, sizeof(to), "%s" ASIDE "%016llx", dir, (unsigned long long)name);
    if (n < 0 || (size_t)n >= sizeof(to)) {
        errno = ENAMETOOLONG;
        return ERR_IO;
    }
    return rename(dir, to) == 0 ? ERR_OK : ERR_IO;
}

/* A store has files only: whatever else is in there was not put by us, and stays. */
static void remove_one(int parent, const char *name)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;

    if (d == NULL) {
        if (fd >= 0)
            close(fd);
        return;
    }
    while ((e = readdir(d)) != NULL)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            (void)unlinkat(fd, e->d_name, 0);
    closedir(d);
    if (unlinkat(parent, name, AT_REMOVEDIR) != 0)
        log_warn("store: cannot remove the old %s: %s", name, strerror(errno));
}

/* Each sibling of `dir` that was renamed aside, to `f`, which may be NULL; true when there was one.
 */
static bool each(const char *dir, void (*f)(int parent, const char *name))
{
    const char *slash = strrchr(dir, '/');
    const char *base = slash == NULL ? dir : slash + 1;
    char *parent =
        slash == NULL ? strdup(".") : strndup(dir, slash == dir ? 1 : (size_t)(slash - dir));
    DIR *d = parent == NULL ? NULL : opendir(parent);
    size_t n = strlen(base);
    bool found = false;
    struct dirent *e;

    free(parent);
    if (d == NULL)
        return false;
    while ((e = readdir(d)) != NULL) {
        if (strncmp(e->d_name, base, n) != 0 || strncmp(e->d_name + n, ASIDE, strlen(ASIDE)) != 0)
            continue;
        found = true;
        if (f != NULL)
            f(dirfd(d), e->d_name);
    }
    closedir(d);
    return found;
}

bool store__has_leftovers(const char *dir)
{
    return each(dir, NULL);
}

void store__remove_leftovers(const char *dir)
{
    each(dir, remove_one);
}

static bool damaged_path(const char *dir, char path[PATH_BYTES_MAX])
{
    int n = snprintf(path, PATH_BYTES_MAX, "%s" DAMAGED, dir);

    return n > 0 && n < PATH_BYTES_MAX;
}

void store__mark_damaged(const char *dir)
{
    char path[PATH_BYTES_MAX];
    int fd = damaged_path(dir, path) ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;

    if (fd >= 0)
        close(fd);
}

bool store__is_damaged(const char *dir)
{
    char path[PATH_BYTES_MAX];

    return damaged_path(dir, path) && access(path, F_OK) == 0;
}
