/* Unit tests of opening: what is gone on with, what is begun anew, and what it costs. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "store/store_priv.h"
#include "store_dir.h"

enum { MAP_BYTES = 64 << 20 };

static uint64_t version_after_open(const struct store_options *opt, const char **why)
{
    struct store *s = store_must_open_with(opt, why);
    struct store_reader *r = store_must_read(s);
    uint64_t v = store_version(s, r, 1);

    store_reader_free(r);
    store_close(s);
    return v;
}

static void fill_one(void)
{
    struct store *s = store_must_open(MAP_BYTES);

    store_must_put(s, 1, 7, 100000);
    store_close(s);
}

/* Everything in the parent that is not the store: nothing may be left once it is closed. */
static unsigned siblings(void)
{
    DIR *d = opendir(store_root);
    struct dirent *e;
    unsigned n = 0;

    assert_non_null(d);
    while ((e = readdir(d)) != NULL)
        n += strncmp(e->d_name, "store-0.", 8) == 0;
    closedir(d);
    return n;
}

static void test_what_was_stored_is_there_after_reopening(void **state)
{
    struct store_options opt = store_options_of(MAP_BYTES);
    const char *why = "";

    (void)state;
    fill_one();
    assert_int_equal(version_after_open(&opt, &why), 7);
    assert_null(why);
    opt.boot = 2;
    assert_int_equal(version_after_open(&opt, &why), 7);
    assert_null(why);
}

static void assert_begun_anew(const struct store_options *opt)
{
    const char *why = NULL;

    assert_int_equal(version_after_open(opt, &why), 0);
    assert_non_null(why);
    assert_true(strlen(why) > 10);
    assert_int_equal(siblings(), 0);
    assert_int_equal(version_after_open(opt, &why), 0); /* once */
    assert_null(why);
}

static void test_a_store_of_another_journal_is_begun_anew(void **state)
{
    struct store_options opt = store_options_of(MAP_BYTES);

    (void)state;
    fill_one();
    opt.ctl_id++;
    assert_begun_anew(&opt);
}

static void test_a_store_with_births_beyond_the_head_is_begun_anew(void **state)
{
    struct store_options opt = store_options_of(MAP_BYTES);
    const char *why;

    (void)state;
    fill_one(); /* born at 100 */
    opt.head = 100;
    assert_int_equal(version_after_open(&opt, &why), 7);
    opt.head = 99;
    assert_begun_anew(&opt);
}

static void test_the_greatest_birth_counts_also_when_its_object_is_gone(void **state)
{
    struct store_options opt = store_options_of(MAP_BYTES);
    struct store *s = store_must_open(MAP_BYTES);
    struct store_what o = {.key = 1, .version = 1, .birth = 90, .body_bytes = 1};
    struct store_text t;
    struct store_key k = store_key_of(&t, 1, 0);
    uint64_t objid;

    (void)state;
    assert_int_equal(store_put_all(s, &o, &objid), ERR_OK);
    store_remove(s, &k, objid);
    o = (struct store_what){.key = 1, .version = 2, .birth = 80, .body_bytes = 1};
    assert_int_equal(store_put_all(s, &o, NULL), ERR_OK);
    store_close(s);
    opt.head = 85;
    assert_begun_anew(&opt);
}

/* Change the stored description with the table itself, as another version would have left it. */
static void write_format(size_t offset, char c)
{
    static const char *const names[] = {"meta", NULL};
    struct table_options opt = {.dir = store_path, .bytes_max = MAP_BYTES, .tables = names};
    struct table_write *w = NULL;
    struct table *t = NULL;
    struct slice v;
    char own[STORE_FORMAT_BYTES];

    assert_int_equal(table_open(&opt, &t), ERR_OK);
    assert_int_equal(table_write_begin(t, &w), ERR_OK);
    assert_int_equal(table_write_get(w, 0, SLICE("format"), &v), ERR_OK);
    assert_int_equal(v.n, sizeof(own));
    memcpy(own, v.p, v.n);
    own[offset] = (char)(own[offset] ^ c);
    assert_int_equal(table_put(w, 0, SLICE("format"), (struct slice){own, sizeof(own)}), ERR_OK);
    assert_int_equal(table_commit(&w), ERR_OK);
    table_close(t);
}

static void test_a_store_of_another_version_is_begun_anew(void **state)
{
    struct store_options opt = store_options_of(MAP_BYTES);

    (void)state;
    fill_one();
    write_format(0, 2);
    assert_begun_anew(&opt);
}

static void test_a_damaged_description_is_begun_anew(void **state)
{
    struct store_options opt = store_options_of(MAP_BYTES);

    (void)state;
    fill_one();
    write_format(30, 1); /* in the secret: no key would be found again */
    assert_begun_anew(&opt);
}

static void test_files_that_are_no_store_are_begun_anew(void **state)
{
    struct store_options opt = store_options_of(MAP_BYTES);
    char path[400];
    FILE *f;

    (void)state;
    assert_int_equal(mkdir(store_path, 0700), 0);
    snprintf(path, sizeof(path), "%s/data.mdb", store_path);
    f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 0; i < 8192; i++)
        fputc('x', f);
    fclose(f);
    assert_begun_anew(&opt);
}

static void test_a_store_marked_as_damaged_is_begun_anew(void **state)
{
    struct store_options opt = store_options_of(MAP_BYTES);

    (void)state;
    fill_one();
    store__mark_damaged(store_path);
    assert_begun_anew(&opt);
}

static void test_a_store_made_smaller_is_begun_anew(void **state)
{
    struct store_options opt = store_options_of(16 << 20);
    struct store *s = store_must_open(MAP_BYTES);

    (void)state;
    store_must_put(s, 1, 7, 30 << 20);
    store_close(s);
    assert_begun_anew(&opt);
}

static void test_what_a_crash_left_of_an_old_store_is_removed(void **state)
{
    char path[400];
    FILE *f;

    (void)state;
    fill_one();
    snprintf(path, sizeof(path), "%s.old-0123456789abcdef", store_path);
    assert_int_equal(mkdir(path, 0700), 0);
    strcat(path, "/data.mdb");
    f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
    assert_int_equal(siblings(), 1);
    store_close(store_must_open(MAP_BYTES));
    assert_int_equal(siblings(), 0);
}

static void test_a_second_process_is_told_who_has_it(void **state)
{
    struct store *s = store_must_open(MAP_BYTES);
    struct store_options opt = store_options_of(MAP_BYTES);
    char holder[256], want[64];
    int status = 0;
    pid_t child = fork();

    (void)state;
    if (child == 0) {
        struct store *again = NULL;
        const char *why;

        _exit((int)store_open(&opt, &again, &why));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), ERR_BUSY);
    table_holder(store_path, holder, sizeof(holder));
    snprintf(want, sizeof(want), "pid %ld on host ", (long)getpid());
    assert_memory_equal(holder, want, strlen(want));
    store_close(s);
}

static void test_a_directory_that_cannot_be_made_is_an_error(void **state)
{
    struct store_options opt = store_options_of(MAP_BYTES);
    struct store *s = NULL;
    const char *why;

    (void)state;
    opt.dir = "/nonexistent/store-0";
    assert_int_equal(store_open(&opt, &s, &why), ERR_IO);
    assert_null(s);
}

/* Pages of the file in memory after opening it cold: what opening reads. */
static void drop_from_memory(void)
{
    char path[400];
    int fd;

    snprintf(path, sizeof(path), "%s/data.mdb", store_path);
    fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(fsync(fd), 0);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    close(fd);
}

static uint64_t bytes_read(void)
{
    char text[1024];
    FILE *f = fopen("/proc/self/io", "r");
    unsigned long long n = 0;
    size_t got;

    assert_non_null(f);
    got = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[got] = '\0';
    assert_int_equal(sscanf(strstr(text, "rchar:"), "rchar: %llu", &n), 1);
    return n;
}

/* KiB of files that are mapped into this process: what it touched of the store, and what came
 * along. */
static uint64_t mapped_kib(void)
{
    static const char *const field[] = {"RssFile:", "RssShmem:"};
    unsigned long long sum = 0, n;
    char text[4096];
    FILE *f = fopen("/proc/self/status", "r");
    size_t got;

    assert_non_null(f);
    got = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[got] = '\0';
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(sscanf(strstr(text, field[i]) + strlen(field[i]), "%llu", &n), 1);
        sum += n;
    }
    return sum;
}

static void fill_many(struct store *s, uint64_t from, uint64_t to)
{
    static struct store_wait ignored = STORE_WAIT_INIT;

    for (uint64_t k = from; k < to; k++) {
        struct store_what o = {.key = k, .version = 1, .birth = 100, .body_bytes = 500};

        store_put_start(s, &o, &ignored, NULL);
    }
    store_flush(s);
}

static void test_opening_costs_the_same_however_much_there_is(void **state)
{
    struct store_options opt = store_options_of(MAP_BYTES);
    uint64_t read[2], mapped[2], used = 0;
    struct store_stat st;

    (void)state;
    for (int round = 0; round < 2; round++) {
        struct store *s = store_must_open(MAP_BYTES);
        const char *why;

        fill_many(s, round == 0 ? 0 : 100, round == 0 ? 100 : 20000);
        store_stat(s, &st);
        used = st.used_bytes;
        store_close(s);
        drop_from_memory();
        read[round] = bytes_read();
        mapped[round] = mapped_kib();
        s = store_must_open_with(&opt, &why);
        read[round] = bytes_read() - read[round];
        mapped[round] = mapped_kib() - mapped[round];
        store_close(s);
    }
    assert_in_range(read[1], 0, read[0] + 4096);
    /* the depth of a few trees, each page with its neighbours; the file has over 12 MB */
    assert_in_range(mapped[1], 0, mapped[0] + 4096);
    assert_true(used > 12u << 20);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, store_dir_make, store_dir_remove)
    const struct CMUnitTest tests[] = {
        T(test_what_was_stored_is_there_after_reopening),
        T(test_a_store_of_another_journal_is_begun_anew),
        T(test_a_store_with_births_beyond_the_head_is_begun_anew),
        T(test_the_greatest_birth_counts_also_when_its_object_is_gone),
        T(test_a_store_of_another_version_is_begun_anew),
        T(test_a_damaged_description_is_begun_anew),
        T(test_files_that_are_no_store_are_begun_anew),
        T(test_a_store_marked_as_damaged_is_begun_anew),
        T(test_a_store_made_smaller_is_begun_anew),
        T(test_what_a_crash_left_of_an_old_store_is_removed),
        T(test_a_second_process_is_told_who_has_it),
        T(test_a_directory_that_cannot_be_made_is_an_error),
        T(test_opening_costs_the_same_however_much_there_is),
    };

    return cmocka_run_group_tests_name("store/open", tests, NULL, NULL);
}
