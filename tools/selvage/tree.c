#include "tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "release/types.h"
#include "text.h"

enum { READ_BYTES = 256 << 10, DEPTH_MAX = 64, TOLD_MAX = 20, SHOWN_BYTES = 512 };

struct walk {
    const struct cli *cli;
    struct tree *tree;
    char *root; /* real name of the folder; owned */
    unsigned faults;
};

/* One line; what is wrong with twenty files is wrong with more. */
static void tell(struct walk *w, const char *name, const char *what)
{
    struct buf safe;

    if (w->faults++ >= TOLD_MAX)
        return;
    buf_init(&safe, TEXT_SAFE_BYTES(SHOWN_BYTES) + 1);
    text_add_safe(&safe, slice_head(slice_of(name), SHOWN_BYTES), TEXT_ONE_LINE);
    buf_add_char(&safe, '\0');
    fprintf(stderr, "selvage publish: %s %s\n", safe.failed ? "?" : safe.p, what);
    buf_release(&safe);
}

static void tell_errno(struct walk *w, const char *name)
{
    char what[128];

    snprintf(what, sizeof(what), "cannot be read: %s", strerror(errno));
    tell(w, name, what);
}

static char *join(const char *a, const char *b)
{
    char *out = NULL;

    if (asprintf(&out, "%s%s%s", a, a[0] == '\0' ? "" : "/", b) < 0)
        return NULL;
    return out;
}

/* ---- contents ---- */

/* Is what has come so far UTF-8?  A character may end in the next piece. */
struct utf8 {
    unsigned left;           /* bytes of the character to come */
    unsigned char low, high; /* of the next one */
    bool is_broken;
};

static void utf8_add(struct utf8 *u, unsigned char c)
{
    if (u->left > 0) {
        u->is_broken = u->is_broken || c < u->low || c > u->high;
        u->left--;
        u->low = 0x80;
        u->high = 0xbf;
        return;
    }
    u->left = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    u->low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    u->high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    u->is_broken = u->is_broken || (c >= 0x80 && c < 0xc2) || c > 0xf4;
}

static bool utf8_end(const struct utf8 *u)
{
    return !u->is_broken && u->left == 0;
}

/* Its hash and length; as it is now. */
static bool hash_file(struct walk *w, struct tree_file *f, bool *is_utf8)
{
    static unsigned char piece[READ_BYTES];
    struct digest_run *run = digest_run_new();
    struct utf8 u = {0};
    int fd = open(f->from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = -1;

    while (run != NULL && fd >= 0 && (n = read(fd, piece, sizeof(piece))) > 0) {
        digest_run_add(run, (struct slice){(const char *)piece, (size_t)n});
        f->bytes += (uint64_t)n;
        for (ssize_t i = 0; i < n; i++)
            utf8_add(&u, piece[i]);
    }
    if (run == NULL)
        tell(w, f->path, "cannot be read: out of memory");
    else if (n < 0)
        tell_errno(w, f->path);
    if (fd >= 0)
        close(fd);
    digest_run_end(run, f->sha256);
    *is_utf8 = utf8_end(&u);
    return run != NULL && n == 0;
}

static char *type_of(const struct tree_file *f, bool is_utf8)
{
    const char *type = types_of_path(slice_of(f->path));
    char *out = NULL;

    if (asprintf(&out, "%s%s", type,
                 is_utf8 && types_wants_charset(type) ? "; charset=utf-8" : "") < 0)
        return NULL;
    return out;
}

static void file_release(struct tree_file *f)
{
    free(f->path);
    free(f->from);
    free(f->type);
}

static bool keep(struct tree *t, const struct tree_file *f)
{
    if (t->count == t->capacity) {
        size_t capacity = t->capacity == 0 ? 64 : 2 * t->capacity;
        struct tree_file *more = realloc(t->file, capacity * sizeof(*more));

        if (more == NULL)
            return false;
        t->file = more;
        t->capacity = capacity;
    }
    t->file[t->count++] = *f;
    t->bytes += f->bytes;
    return true;
}

/* `from` is taken. */
static void add_file(struct walk *w, const char *path, char *from)
{
    struct tree_file f = {.path = strdup(path), .from = from};
    const char *fault = manifest_path_fault(slice_of(path));
    bool is_utf8 = false, ok = f.path != NULL && from != NULL;

    if (!ok)
        tell(w, path, "cannot be read: out of memory");
    if (ok && fault != NULL) {
        tell(w, path, fault);
        ok = false;
    }
    if (ok && w->tree->count == LIMIT_RELEASE_FILES) {
        tell(w, path, "is one too many: a release has at most 100000 files");
        ok = false;
    }
    ok = ok && hash_file(w, &f, &is_utf8);
    if (ok && f.bytes > LIMIT_RELEASE_FILE_BYTES) {
        tell(w, path, "is larger than 1 GiB");
        ok = false;
    }
    if (ok) {
        f.type = type_of(&f, is_utf8);
        ok = f.type != NULL && keep(w->tree, &f);
        if (!ok)
            tell(w, path, "cannot be read: out of memory");
    }
    if (!ok)
        file_release(&f);
}

/* ---- folders ---- */

static bool is_inside(const struct walk *w, const char *real)
{
    size_t n = strlen(w->root);

    return strncmp(real, w->root, n) == 0 && (real[n] == '/' || strcmp(w->root, "/") == 0);
}

/* A link counts as the file that it leads to, when that is in the folder too. */
static void add_link(struct walk *w, const char *path, const char *from)
{
    char *real = realpath(from, NULL);
    struct stat st;

    if (real == NULL) {
        tell(w, path, "is a link that leads nowhere");
    } else if (!is_inside(w, real)) {
        tell(w, path, "is a link that leads out of the folder; copy the file into it");
    } else if (stat(real, &st) != 0 || !S_ISREG(st.st_mode)) {
        tell(w, path, "is a link to a folder; links to files are followed, others are not");
    } else {
        add_file(w, path, real);
        real = NULL;
    }
    free(real);
}

static void add_folder(struct walk *w, const char *path, const char *from, unsigned depth);

static void add_entry(struct walk *w, const char *path, char *from, unsigned depth)
{
    struct stat st;

    if (lstat(from, &st) != 0) {
        tell_errno(w, path);
    } else if (S_ISREG(st.st_mode)) {
        add_file(w, path, from);
        return;
    } else if (S_ISLNK(st.st_mode)) {
        add_link(w, path, from);
    } else if (S_ISDIR(st.st_mode)) {
        add_folder(w, path, from, depth + 1);
    } else {
        tell(w, path, "is neither a file nor a folder");
    }
    free(from);
}

static void add_folder(struct walk *w, const char *path, const char *from, unsigned depth)
{
    DIR *d = depth > DEPTH_MAX ? NULL : opendir(from);
    struct dirent *e;

    if (d == NULL) {
        if (depth > DEPTH_MAX)
            tell(w, path, "is nested more than 64 folders deep");
        else
            tell_errno(w, path[0] == '\0' ? from : path);
        return;
    }
    while ((e = readdir(d)) != NULL) {
        char *name, *file;

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (strcmp(e->d_name, ".git") == 0) { /* a history with all its secrets */
            fprintf(stderr, "selvage publish: .git is left out\n");
            continue;
        }
        name = join(path, e->d_name);
        file = join(from, e->d_name);
        if (name != NULL && file != NULL) {
            add_entry(w, name, file, depth);
        } else {
            tell(w, e->d_name, "cannot be read: out of memory");
            free(file);
        }
        free(name);
    }
    closedir(d);
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct tree_file *)a)->path, ((const struct tree_file *)b)->path);
}

bool tree_read(const struct cli *cli, const char *dir, struct tree *out)
{
    struct walk w = {.cli = cli, .tree = out, .root = realpath(dir, NULL)};

    *out = (struct tree){0};
    if (w.root == NULL) {
        tell_errno(&w, dir);
        return false;
    }
    add_folder(&w, "", w.root, 0);
    free(w.root);
    if (w.faults > TOLD_MAX)
        fprintf(stderr, "selvage publish: and %u more like these\n", w.faults - TOLD_MAX);
    if (w.faults == 0 && out->count == 0)
        tell(&w, dir, "has no files in it");
    if (w.faults > 0) {
        tree_release(out);
        return false;
    }
    qsort(out->file, out->count, sizeof(*out->file), by_path);
    return true;
}

void tree_release(struct tree *t)
{
    for (size_t i = 0; i < t->count; i++)
        file_release(&t->file[i]);
    free(t->file);
    *t = (struct tree){0};
}

bool tree_manifest(const struct tree *t, struct buf *out)
{
    manifest_put_head(out);
    for (size_t i = 0; i < t->count; i++) {
        const struct tree_file *f = &t->file[i];
        struct manifest_entry e = {
            .path = slice_of(f->path), .type = slice_of(f->type), .bytes = f->bytes};

        memcpy(e.sha256, f->sha256, sizeof(e.sha256));
        manifest_put(out, &e);
    }
    return !out->failed;
}

/* ---- reading again ---- */

/* `why` may be NULL: errno says. */
static bool has_failed(const struct cli *cli, const struct tree_file *f, const char *why)
{
    struct walk w = {.cli = cli};

    if (why == NULL)
        tell_errno(&w, f->path);
    else
        tell(&w, f->path, why);
    return false;
}

static bool has_changed(const struct cli *cli, const struct tree_file *f)
{
    return has_failed(cli, f, "has changed while it was published; publish again");
}

/* As many as there are, up to `bytes`. */
static ssize_t read_full(int fd, char *to, size_t bytes)
{
    size_t got = 0;
    ssize_t n = 1;

    while (got < bytes && (n = read(fd, to + got, bytes - got)) > 0)
        got += (size_t)n;
    return n < 0 ? -1 : (ssize_t)got;
}

static bool read_pieces(const struct cli *cli, const struct tree_file *f, int fd, char *piece,
                        size_t bytes, struct digest_run *run,
                        bool (*each)(void *user, uint64_t offset, struct slice piece), void *user,
                        bool *is_last)
{
    unsigned char is[DIGEST_SHA256_BYTES];

    for (uint64_t at = 0;;) {
        ssize_t n = read_full(fd, piece, bytes);
        struct slice s = {piece, n < 0 ? 0 : (size_t)n};

        if (n < 0)
            return has_failed(cli, f, NULL);
        digest_run_add(run, s);
        if (at + s.n > f->bytes || (s.n < bytes && at + s.n < f->bytes))
            return has_changed(cli, f);
        if (at + s.n == f->bytes) {
            char more;

            *is_last = true;
            digest_run_end(run, is);
            if (read(fd, &more, 1) != 0 || memcmp(is, f->sha256, sizeof(is)) != 0)
                return has_changed(cli, f);
            return each(user, at, s);
        }
        if (!each(user, at, s))
            return false;
        at += s.n;
    }
}

bool tree_read_file(const struct cli *cli, const struct tree_file *f, size_t bytes,
                    bool (*each)(void *user, uint64_t offset, struct slice piece), void *user)
{
    struct digest_run *run = digest_run_new();
    char *piece = malloc(bytes);
    int fd = open(f->from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool ok = false, is_last = false;

    if (fd < 0)
        has_failed(cli, f, NULL);
    else if (run == NULL || piece == NULL)
        has_failed(cli, f, "cannot be read: out of memory");
    else
        ok = read_pieces(cli, f, fd, piece, bytes, run, each, user, &is_last);
    if (!is_last)
        digest_run_end(run, NULL);
    if (fd >= 0)
        close(fd);
    free(piece);
    return ok;
}
