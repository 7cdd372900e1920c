/* Unit tests of what goes wrong around the store: kill -9 in mid-write, bytes that flip, a disk
 * that refuses. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "store_dir.h"

enum { MAP_BYTES = 32 << 20, KEYS = 64, ROUNDS = 25 };

/* ---- kill -9 ---- */

static uint64_t size_of(uint64_t key, uint64_t version)
{
    return store_mix(key * 77 + version) % (key % 4 == 0 ? 400000 : 3000);
}

struct told {
    uint64_t key, version;
};

struct one_put {
    struct told told;
    int fd;
};

/* In the child: what was said to be stored is told to the parent. */
static void on_child_done(void *user, enum err e)
{
    struct one_put *p = user;

    if (e == ERR_OK && write(p->fd, &p->told, sizeof(p->told)) != sizeof(p->told))
        _exit(2);
    free(p);
}

static const struct store_put_events child_events = {.done = on_child_done};

static void child_writes(const struct store_options *opt, uint64_t version, int fd)
{
    struct store *s = NULL;
    const char *why;

    if (store_open(opt, &s, &why) != ERR_OK || why != NULL)
        _exit(3);
    for (uint64_t i = 0;; i++) {
        struct store_what o = {.key = i % KEYS, .version = version + i / KEYS, .birth = 100};
        struct one_put *user = malloc(sizeof(*user));
        struct store_put *p = NULL;

        o.body_bytes = size_of(o.key, o.version);
        if (user == NULL)
            _exit(4);
        *user = (struct one_put){.told = {o.key, o.version}, .fd = fd};
        while (store_put_begin(s, &child_events, user, &p) == ERR_LIMIT)
            store_flush(s);
        if (p == NULL)
            _exit(5);
        if (!store_is_inline(&o))
            store_put_bytes(p, o.key, o.version, 0, o.body_bytes);
        store_publish(&p, &o);
    }
}

static uint64_t read_told(int fd, uint64_t newest[KEYS], unsigned enough)
{
    struct told t;
    uint64_t n = 0;

    for (; enough == 0 || n < enough; n++) {
        if (read(fd, &t, sizeof(t)) != sizeof(t))
            break;
        if (t.version > newest[t.key])
            newest[t.key] = t.version;
    }
    return n;
}

static void test_kill_9_in_mid_write_loses_nothing_that_was_told(void **state)
{
    uint64_t newest[KEYS] = {0}, version = 1, used_max = 0;

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct store_options opt = store_options_of(MAP_BYTES);
        const char *why = "";
        struct store *s;
        struct store_reader *r;
        struct store_stat st;
        int fd[2], status;
        pid_t child;

        opt.boot = 1 + 2 * (uint32_t)round;
        assert_int_equal(pipe(fd), 0);
        child = fork();
        if (child == 0) {
            close(fd[0]);
            child_writes(&opt, version, fd[1]);
        }
        close(fd[1]);
        /* not at the same moment each time */
        assert_true(read_told(fd[0], newest, 1 + (unsigned)(store_mix((uint64_t)round) % 300)) > 0);
        assert_int_equal(kill(child, SIGKILL), 0);
        read_told(fd[0], newest, 0);
        close(fd[0]);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));

        opt.boot++;
        s = store_must_open_with(&opt, &why);
        assert_null(why);
        r = store_must_read(s);
        for (uint64_t k = 0; k < KEYS; k++) {
            uint64_t v = store_version(s, r, k); /* and every byte of it */

            assert_true(v >= newest[k]);
            newest[k] = v;
            if (v > version)
                version = v;
        }
        version++;
        store_must_put(s, KEYS + 1, 1, 1);
        store_must_put(s, KEYS + 1, 2, 1);
        store_flush(s);
        store_stat(s, &st);
        if (round == 5)
            used_max = st.used_bytes;
        store_reader_free(r);
        store_close(s);
        if (round == ROUNDS - 1) /* what the dead left half written has been collected */
            assert_in_range(st.used_bytes, 0, used_max + (6 << 20));
    }
}

static void test_what_a_dead_process_was_putting_is_collected(void **state)
{
    struct store_options opt = store_options_of(MAP_BYTES);
    struct store_stat st;
    struct store *s;
    const char *why;
    int status;
    pid_t child = fork();

    (void)state;
    if (child == 0) {
        struct store_wait w = STORE_WAIT_INIT;
        struct store_put *p;

        s = store_must_open(MAP_BYTES);
        p = store_must_begin(s, &w, NULL);
        store_put_bytes(p, 1, 1, 0, 100 * LIMIT_CHUNK_BYTES);
        store_wait_committed(&w, 100 * LIMIT_CHUNK_BYTES);
        kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    opt.boot = 2;
    s = store_must_open_with(&opt, &why);
    for (uint64_t v = 1; v < 40; v++)
        store_must_put(s, 2, v, 1);
    store_stat(s, &st);
    assert_in_range(st.used_bytes, 0, 1 << 20);
    store_close(s);
}

/* ---- flipped bytes ---- */

/* The first place of `text` in the file, as an offset. */
static off_t find_in_file(const char *path, const char *text, size_t n)
{
    int fd = open(path, O_RDONLY);
    struct stat st;
    char *p, *at;
    off_t off;

    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(p != MAP_FAILED);
    at = memmem(p, (size_t)st.st_size, text, n);
    assert_non_null(at);
    off = at - p;
    munmap(p, (size_t)st.st_size);
    close(fd);
    return off;
}

/* Through the page cache: the map sees it at once. */
static void flip(const char *path, off_t at)
{
    int fd = open(path, O_RDWR);
    char c;

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &c, 1, at), 1);
    c = (char)(c ^ 4);
    assert_int_equal(pwrite(fd, &c, 1, at), 1);
    close(fd);
}

static void data_path(char *path, size_t n)
{
    snprintf(path, n, "%s/data.mdb", store_path);
}

static void test_a_flipped_byte_of_a_body_is_never_served(void **state)
{
    static const size_t piece[] = {LIMIT_CHUNK_BYTES, 5000};
    char path[400], body[64];

    (void)state;
    data_path(path, sizeof(path));
    for (size_t i = 0; i < 2; i++) {
        struct store *s = store_must_open(MAP_BYTES);
        struct store_reader *r = store_must_read(s);
        uint64_t version;

        store_must_put(s, i, 1, 200000);
        store_body_fill(body, i, 1, 150000, sizeof(body)); /* in the third chunk */
        flip(path, find_in_file(path, body, sizeof(body)) + 7);
        assert_int_equal(store_get_and_check(s, r, i, piece[i], &version), ERR_CORRUPT);
        store_flush(s); /* queued for removal, it is gone */
        assert_int_equal(store_get_and_check(s, r, i, piece[i], &version), ERR_NOT_FOUND);
        store_must_put(s, i, 2, 200000);
        assert_int_equal(store_version(s, r, i), 2);
        store_reader_free(r);
        store_close(s);
    }
}

struct gate {
    pthread_barrier_t reached, left;
};

static void hold_writer(void *user, enum err e)
{
    struct gate *g = user;

    (void)e;
    pthread_barrier_wait(&g->reached);
    pthread_barrier_wait(&g->left);
}

static void test_what_was_found_broken_is_not_met_again_before_it_is_gone(void **state)
{
    struct store *s = store_must_open(MAP_BYTES);
    struct store_reader *r = store_must_read(s);
    char path[400], body[64];
    struct store_stamp stamp = {0};
    struct store_text t;
    struct store_key key = store_key_of(&t, 7, 0);
    struct gate g;
    uint64_t version;

    (void)state;
    data_path(path, sizeof(path));
    store_must_put(s, 1, 1, 200000);
    store_body_fill(body, 1, 1, 150000, sizeof(body));
    flip(path, find_in_file(path, body, sizeof(body)) + 7);
    pthread_barrier_init(&g.reached, NULL, 2);
    pthread_barrier_init(&g.left, NULL, 2);
    store_refresh(s, &key, 1, &stamp, SLICE("head"), hold_writer, &g);
    pthread_barrier_wait(&g.reached); /* the writer stands still: nothing is removed */
    assert_int_equal(store_get_and_check(s, r, 1, LIMIT_CHUNK_BYTES, &version), ERR_CORRUPT);
    assert_int_equal(store_get_and_check(s, r, 1, LIMIT_CHUNK_BYTES, &version), ERR_NOT_FOUND);
    pthread_barrier_wait(&g.left);
    store_flush(s);
    store_must_put(s, 1, 2, 200000);
    assert_int_equal(store_version(s, r, 1), 2);
    pthread_barrier_destroy(&g.reached);
    pthread_barrier_destroy(&g.left);
    store_reader_free(r);
    store_close(s);
}

static void test_what_is_to_be_removed_is_not_met_before_it_is_gone(void **state)
{
    struct store *s = store_must_open(MAP_BYTES);
    struct store_reader *r = store_must_read(s);
    struct store_stamp stamp = {0};
    struct store_text t, other;
    struct store_key key = store_key_of(&t, 1, 0), none = store_key_of(&other, 7, 0);
    struct store_hit h;
    struct arena a;
    struct gate g;

    (void)state;
    arena_init(&a, NULL, 0, 65536);
    store_must_put(s, 1, 1, 900);
    assert_int_equal(store_get(r, &key, &a, &h), ERR_OK);
    pthread_barrier_init(&g.reached, NULL, 2);
    pthread_barrier_init(&g.left, NULL, 2);
    store_refresh(s, &none, 1, &stamp, SLICE("head"), hold_writer, &g);
    pthread_barrier_wait(&g.reached); /* the writer stands still: nothing is removed */
    store_remove(s, &key, h.objid);
    assert_int_equal(store_get(r, &key, &a, &h), ERR_NOT_FOUND);
    pthread_barrier_wait(&g.left);
    store_flush(s);
    assert_int_equal(store_get(r, &key, &a, &h), ERR_NOT_FOUND);
    store_must_put(s, 1, 2, 900);
    assert_int_equal(store_version(s, r, 1), 2);
    pthread_barrier_destroy(&g.reached);
    pthread_barrier_destroy(&g.left);
    arena_release(&a);
    store_reader_free(r);
    store_close(s);
}

static void test_a_flipped_byte_of_a_record_is_never_served(void **state)
{
    char path[400];

    (void)state;
    data_path(path, sizeof(path));
    /* in the id, the head, the inline body */
    for (uint64_t i = 0; i < 3; i++) {
        struct store *s = store_must_open(MAP_BYTES);
        struct store_reader *r = store_must_read(s);
        struct store_text t;
        char body[64];
        uint64_t version;
        off_t at;

        store_must_put(s, i, 1, 900);
        store_key_of(&t, i, 0);
        store_body_fill(body, i, 1, 0, sizeof(body));
        at = find_in_file(path, i == 2 ? body : t.text, i == 2 ? sizeof(body) : strlen(t.text));
        flip(path, i == 0 ? at - 50 : at + 2);
        assert_int_equal(store_get_and_check(s, r, i, 1000, &version), ERR_CORRUPT);
        store_flush(s);
        assert_int_equal(store_get_and_check(s, r, i, 1000, &version), ERR_NOT_FOUND);
        store_must_put(s, i, 2, 900);
        assert_int_equal(store_version(s, r, i), 2);
        store_reader_free(r);
        store_close(s);
    }
}

/* ---- a disk that refuses ---- */

static struct rlimit old_limit;

static void let_files_grow_to(uint64_t bytes)
{
    struct rlimit l = {.rlim_cur = bytes, .rlim_max = old_limit.rlim_max};

    assert_int_equal(setrlimit(RLIMIT_FSIZE, bytes == 0 ? &old_limit : &l), 0);
}

static bool is_writable(struct store *s)
{
    struct store_stat st;

    store_stat(s, &st);
    return st.writable;
}

/* Until it is so; the writer tries once a second. */
static void wait_writable(struct store *s)
{
    struct timespec pause = {.tv_nsec = 20000000};

    for (int i = 0; i < 1000 && !is_writable(s); i++)
        nanosleep(&pause, NULL);
    assert_true(is_writable(s));
}

static void test_while_the_disk_refuses_reads_go_on_and_puts_come_back(void **state)
{
    struct store *s = store_must_open(MAP_BYTES);
    struct store_reader *r = store_must_read(s);
    struct store_what large = {.key = 2, .version = 1, .birth = 100, .body_bytes = 8 << 20};
    struct store_wait w = STORE_WAIT_INIT, streaming = STORE_WAIT_INIT;
    struct store_stat st;
    struct store_put *p, *refused = NULL;
    enum err e;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
    store_must_put(s, 1, 1, 100000);
    p = store_must_begin(s, &streaming, NULL);
    store_put_bytes(p, 3, 1, 0, LIMIT_CHUNK_BYTES);
    store_wait_committed(&streaming, LIMIT_CHUNK_BYTES);

    let_files_grow_to(1 << 20);
    e = store_put_all(s, &large, NULL);
    assert_int_equal(e, ERR_IO);
    assert_int_equal(store_put_begin(s, &store_events, &w, &refused), ERR_IO);
    assert_false(is_writable(s));
    assert_int_equal(store_version(s, r, 1), 1);
    /* one that had begun before is told at once, and may still end as it likes */
    store_put_bytes(p, 3, 1, LIMIT_CHUNK_BYTES, LIMIT_CHUNK_BYTES);
    assert_int_equal(store_wait_done(&streaming), ERR_IO);
    store_publish(&p,
                  &(struct store_what){
                      .key = 3, .version = 1, .birth = 100, .body_bytes = 2 * LIMIT_CHUNK_BYTES});
    store_flush(s);

    let_files_grow_to(0);
    wait_writable(s);
    assert_int_equal(store_put_all(s, &large, NULL), ERR_OK);
    assert_int_equal(store_version(s, r, 2), 1);
    assert_int_equal(store_version(s, r, 3), 0);
    assert_int_equal(streaming.dones, 1);
    store_must_put(s, 4, 1, 1);
    store_must_put(s, 4, 2, 1);
    store_stat(s, &st);
    assert_in_range(st.used_bytes, 8 << 20, 10 << 20);
    assert_int_equal(st.queue_bytes, 0);
    store_reader_free(r);
    store_close(s);
}

static void test_a_store_that_cannot_write_closes_all_the_same(void **state)
{
    struct store *s = store_must_open(MAP_BYTES);
    struct store_what large = {.key = 2, .version = 1, .birth = 100, .body_bytes = 8 << 20};

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
    let_files_grow_to(1 << 20);
    assert_int_equal(store_put_all(s, &large, NULL), ERR_IO);
    store_close(s);
    let_files_grow_to(0);
    s = store_must_open(MAP_BYTES);
    assert_int_equal(store_put_all(s, &large, NULL), ERR_OK);
    store_close(s);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, store_dir_make, store_dir_remove)
    const struct CMUnitTest tests[] = {
        T(test_kill_9_in_mid_write_loses_nothing_that_was_told),
        T(test_what_a_dead_process_was_putting_is_collected),
        T(test_a_flipped_byte_of_a_body_is_never_served),
        T(test_what_was_found_broken_is_not_met_again_before_it_is_gone),
        T(test_what_is_to_be_removed_is_not_met_before_it_is_gone),
        T(test_a_flipped_byte_of_a_record_is_never_served),
        T(test_while_the_disk_refuses_reads_go_on_and_puts_come_back),
        T(test_a_store_that_cannot_write_closes_all_the_same),
    };

    return cmocka_run_group_tests_name("store/crash", tests, NULL, NULL);
}
