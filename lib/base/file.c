#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FIRST_BYTES = 4096 };

/* What is worth telling is why the work failed, not how the cleaning up went. */
static void close_quietly(int fd)
{
    int why = errno;

    close(fd);
    errno = why;
}

/* Room for `n` bytes, one more to see that the file goes on, and the NUL. */
static bool grow(char **p, size_t *capacity, size_t n, size_t bytes_max)
{
    size_t want = *capacity == 0 ? FIRST_BYTES : *capacity;
    char *more;

    if (n + 2 <= *capacity)
        return true;
    while (want < n + 2)
        want *= 2;
    if (want > bytes_max + 2)
        want = bytes_max + 2;
    more = realloc(*p, want);
    if (more == NULL)
        return false;
    *p = more;
    *capacity = want;
    return true;
}

static enum err read_fd(int fd, size_t bytes_max, char **p, size_t *n)
{
    size_t capacity = 0;

    for (;;) {
        ssize_t got;

        if (!grow(p, &capacity, *n, bytes_max))
            return ERR_NOMEM;
        got = read(fd, *p + *n, capacity - 1 - *n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ERR_IO;
        if (got == 0)
            break;
        *n += (size_t)got;
        if (*n > bytes_max)
            return ERR_LIMIT;
    }
    (*p)[*n] = '\0';
    return ERR_OK;
}

enum err file_read_all(const char *path, size_t bytes_max, char **out, size_t *out_bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *p = NULL;
    size_t n = 0;
    enum err e;

    if (fd < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    e = read_fd(fd, bytes_max, &p, &n);
    close_quietly(fd);
    if (e != ERR_OK) {
        free(p);
        return e;
    }
    *out = p;
    *out_bytes = n;
    return ERR_OK;
}

static bool write_all(int fd, struct slice bytes)
{
    while (bytes.n > 0) {
        ssize_t put = write(fd, bytes.p, bytes.n);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return false;
        bytes = slice_from(bytes, (size_t)put);
    }
    return true;
}

enum err file_sync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok;

    if (fd < 0)
        return ERR_IO;
    ok = fsync(fd) == 0;
    close_quietly(fd);
    return ok ? ERR_OK : ERR_IO;
}

/* A name is on the disk only once the directory that holds it is. */
static enum err sync_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t n = slash == NULL ? 1 : slash == path ? 1 : (size_t)(slash - path);
    char *dir = strndup(slash == NULL ? "." : path, n);
    enum err e;

    if (dir == NULL)
        return ERR_NOMEM;
    e = file_sync_dir(dir);
    free(dir);
    return e;
}

enum err file_write_atomic(const char *path, struct slice bytes)
{
    char *temp = NULL;
    enum err e;
    bool ok;
    int fd;

    if (asprintf(&temp, "%s.XXXXXX", path) < 0)
        return ERR_NOMEM;
    fd = mkostemp(temp, O_CLOEXEC);
    if (fd < 0) {
        free(temp);
        return ERR_IO;
    }
    /* Bytes before the name: the other way round a crash could leave the new name on an empty file.
     */
    ok = write_all(fd, bytes) && fsync(fd) == 0;
    close_quietly(fd);
    ok = ok && rename(temp, path) == 0;
    if (!ok) {
        int why = errno;

        unlink(temp);
        errno = why;
    }
    e = ok ? sync_parent(path) : ERR_IO;
    free(temp);
    return e;
}

enum err file_make_dir(const char *path)
{
    struct stat st;

    if (mkdir(path, 0700) == 0)
        return sync_parent(path);
    if (errno != EEXIST || stat(path, &st) != 0)
        return ERR_IO;
    if (!S_ISDIR(st.st_mode)) {
        errno = ENOTDIR;
        return ERR_IO;
    }
    return ERR_OK;
}
