/*
 * replay: feeds files to a fuzzer, so that corpora and regression inputs run without libFuzzer, in
 * every build.  `fuzz_x FOLDER...`: every file of the folders, in the order of their names; a
 * folder that is not there holds none.  Exit 1 when a file cannot be read; what the fuzzer finds
 * ends the process.
 */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { PATH_BYTES_MAX = 4096, INPUT_BYTES_MAX = 16 << 20 };

/* Into memory of just that size, so that a sanitizer sees the first byte too many. */
static bool run_file(const char *path, size_t bytes)
{
    uint8_t *data = malloc(bytes == 0 ? 1 : bytes);
    FILE *f = fopen(path, "rb");
    bool ok = data != NULL && f != NULL && fread(data, 1, bytes, f) == bytes;

    if (f != NULL)
        fclose(f);
    if (ok)
        LLVMFuzzerTestOneInput(data, bytes);
    else
        fprintf(stderr, "replay: cannot read %s: %s\n", path, strerror(errno));
    free(data);
    return ok;
}

static bool run_entry(const char *folder, const char *name, size_t *count)
{
    char path[PATH_BYTES_MAX];
    struct stat st;
    int n = snprintf(path, sizeof(path), "%s/%s", folder, name);

    if (n < 0 || (size_t)n >= sizeof(path) || stat(path, &st) != 0) {
        fprintf(stderr, "replay: cannot look at %s/%s\n", folder, name);
        return false;
    }
    if (!S_ISREG(st.st_mode))
        return true;
    if (st.st_size > INPUT_BYTES_MAX) {
        fprintf(stderr, "replay: %s is larger than %d bytes\n", path, INPUT_BYTES_MAX);
        return false;
    }
    (*count)++;
    return run_file(path, (size_t)st.st_size);
}

static bool run_folder(const char *folder, size_t *count)
{
    struct dirent **entry;
    int entries = scandir(folder, &entry, NULL, alphasort);
    bool ok = entries >= 0 || errno == ENOENT;

    if (!ok)
        fprintf(stderr, "replay: cannot read %s: %s\n", folder, strerror(errno));
    for (int i = 0; i < entries; i++) {
        ok = run_entry(folder, entry[i]->d_name, count) && ok;
        free(entry[i]);
    }
    if (entries >= 0)
        free(entry);
    return ok;
}

int main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/');
    size_t count = 0;
    bool ok = true;

    for (int i = 1; i < argc; i++)
        ok = run_folder(argv[i], &count) && ok;
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0); /* the one input that no folder need hold */
    printf("%s: %zu inputs\n", slash == NULL ? argv[0] : slash + 1, count);
    return ok ? 0 : 1;
}
