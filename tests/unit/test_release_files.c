/* Unit tests of files/: contents and their hashes, releases, switches, followers, kill -9. */
#include <signal.h>
#include <sys/wait.h>

#include "release_dir.h"

#include "release/files_priv.h"

enum { MAP_BYTES = 64 << 20, ROUNDS = 20 };

static char body[3 * LIMIT_CHUNK_BYTES];

static bool has(struct files *f, struct slice content)
{
    unsigned char sha256[DIGEST_SHA256_BYTES];
    uint64_t bytes = 0;
    enum err e;

    release_sha(content, sha256);
    e = files_find(f, sha256, &bytes);
    assert_true(e == ERR_NOT_FOUND || (e == ERR_OK && bytes == content.n));
    return e == ERR_OK;
}

static void assert_reads(struct files *f, struct slice content, size_t step)
{
    unsigned char sha256[DIGEST_SHA256_BYTES];
    struct files_reader *r = NULL;
    char *got = malloc(content.n + 1);

    assert_non_null(got);
    release_sha(content, sha256);
    assert_int_equal(files_reader_new(f, &r), ERR_OK);
    for (size_t at = 0; at < content.n;) {
        size_t n = 0;

        assert_int_equal(
            files_read(r, sha256, at, got + at, step < content.n - at ? step : content.n - at, &n),
            ERR_OK);
        assert_in_range(n, 1, step);
        at += n;
    }
    assert_memory_equal(got, content.p, content.n);
    assert_true(content.n == 0 || files_is_resident(r, sha256, 0, content.n));
    files_reader_free(r);
    free(got);
}

static void test_contents_come_back(void **state)
{
    static const size_t sizes[] = {0, 1, 65511, 65512, 65513, 3 * LIMIT_CHUNK_BYTES};
    struct files *f = release_must_open(MAP_BYTES);

    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        struct slice content = release_body(body, sizes[i], i);

        assert_false(has(f, content));
        release_must_add(f, content);
        release_must_add(f, content); /* again: passed over */
        assert_true(has(f, content));
        assert_reads(f, content, 1000);
        assert_reads(f, content, LIMIT_CHUNK_BYTES);
    }
    files_close(f);
    f = release_must_open(MAP_BYTES);
    for (unsigned i = 0; i < 6; i++)
        assert_reads(f, release_body(body, sizes[i], i), 70000);
    files_close(f);
}

static enum err add_named(struct files *f, struct slice content, uint64_t offset, struct slice data,
                          unsigned char flip)
{
    struct pack_piece p = {.bytes = content.n, .offset = offset, .data = data};
    struct buf pack, why;
    enum err e;

    release_sha(content, p.sha256);
    p.sha256[0] ^= flip;
    buf_init(&pack, 1 << 20);
    buf_init(&why, 1024);
    pack_put(&pack, &p);
    e = files_add(f, buf_slice(&pack), &why);
    assert_true(e == ERR_OK || why.n > 0);
    buf_release(&pack);
    buf_release(&why);
    return e;
}

static void test_a_wrong_hash_leaves_nothing(void **state)
{
    struct files *f = release_must_open(MAP_BYTES);
    struct slice content = release_body(body, 2 * LIMIT_CHUNK_BYTES + 7, 1);
    struct files_stat before, after;

    (void)state;
    files_stat(f, &before);
    assert_int_equal(add_named(f, content, 0, content, 1), ERR_CORRUPT);
    assert_int_equal(add_named(f, content, 0, slice_head(content, LIMIT_CHUNK_BYTES), 1), ERR_OK);
    assert_int_equal(
        add_named(f, content, LIMIT_CHUNK_BYTES, slice_from(content, LIMIT_CHUNK_BYTES), 1),
        ERR_CORRUPT);
    files_stat(f, &after);
    assert_true(after.used_bytes <= before.used_bytes + 8 * 4096);
    assert_false(has(f, content));
    release_must_add(f, content);
    assert_reads(f, content, LIMIT_CHUNK_BYTES);
    files_close(f);
}

static void test_pieces_must_follow(void **state)
{
    struct files *f = release_must_open(MAP_BYTES);
    struct slice content = release_body(body, 2 * LIMIT_CHUNK_BYTES + 7, 2);
    struct slice first = slice_head(content, LIMIT_CHUNK_BYTES);
    struct slice second = slice_head(slice_from(content, LIMIT_CHUNK_BYTES), LIMIT_CHUNK_BYTES);
    struct slice third = slice_from(content, 2 * LIMIT_CHUNK_BYTES);

    (void)state;
    assert_int_equal(add_named(f, content, LIMIT_CHUNK_BYTES, second, 0), ERR_INVALID);
    assert_int_equal(add_named(f, content, 0, first, 0), ERR_OK);
    assert_int_equal(add_named(f, content, 2 * LIMIT_CHUNK_BYTES, third, 0), ERR_INVALID);
    assert_int_equal(add_named(f, content, LIMIT_CHUNK_BYTES, second, 0), ERR_OK);
    assert_false(has(f, content));
    files_close(f);
    f = release_must_open(MAP_BYTES); /* a restart between two pieces */
    assert_int_equal(add_named(f, content, 2 * LIMIT_CHUNK_BYTES, third, 0), ERR_OK);
    assert_true(has(f, content));
    assert_reads(f, content, LIMIT_CHUNK_BYTES);
    files_close(f);
}

static void test_a_full_map_still_switches(void **state)
{
    struct files *f = release_must_open(16 << 20);
    struct release_what what[] = {{"a", SLICE("one")}};
    struct release_row row;
    struct buf why;
    enum err e = ERR_OK;
    unsigned i = 0;

    (void)state;
    assert_int_equal(release_publish(f, "www", "one", what, 1, &row), ERR_OK);
    what[0].content = SLICE("two");
    assert_int_equal(release_publish(f, "www", "two", what, 1, &row), ERR_OK);
    buf_init(&why, 1024);
    for (; e == ERR_OK; i++)
        e = release_add(f, release_body(body, sizeof(body), 100 + i), &why);
    assert_int_equal(e, ERR_LIMIT);
    assert_in_range(i, 40, 90);
    assert_non_null(strstr(why.p, "store.files"));
    for (unsigned n = 0; n < 200; n++)
        assert_int_equal(files_activate(f, "www", n % 2 == 0 ? "one" : "two", &row, &why), ERR_OK);
    buf_release(&why);
    files_close(f);
}

static bool list(void *user, const char *site, const struct release_row *row, bool is_in_use)
{
    char *at = user;

    snprintf(at + strlen(at), 512 - strlen(at), "%s%s/%s ", is_in_use ? "*" : "", site, row->id);
    return true;
}

static const char *listed(struct files *f, const char *site)
{
    static char text[512];

    text[0] = '\0';
    assert_int_equal(files_walk(f, site, list, text), ERR_OK);
    return text;
}

static void test_publish_switch_and_back(void **state)
{
    struct files *f = release_must_open(MAP_BYTES);
    struct release_what a[] = {{"a.txt", SLICE("one")}, {"b.txt", SLICE("same")}};
    struct release_what b[] = {{"a.txt", SLICE("two")}, {"b.txt", SLICE("same")}};
    struct release_row row;
    struct buf why;

    (void)state;
    buf_init(&why, 1024);
    assert_int_equal(files_activate(f, "www", NULL, &row, &why), ERR_NOT_FOUND);
    assert_int_equal(release_publish(f, "www", "a", a, 2, &row), ERR_OK);
    assert_int_equal(row.files, 2);
    assert_int_equal(files_activate(f, "www", NULL, &row, &why), ERR_NOT_FOUND);
    assert_int_equal(release_publish(f, "www", "b", b, 2, &row), ERR_OK);
    assert_int_equal(release_publish(f, "www2", "b", b, 2, &row), ERR_OK);
    assert_string_equal(listed(f, NULL), "www/a *www/b *www2/b ");
    assert_string_equal(listed(f, "www"), "www/a *www/b ");
    assert_string_equal(listed(f, "ww"), "");
    assert_int_equal(files_activate(f, "www", NULL, &row, &why), ERR_OK);
    assert_string_equal(row.id, "a");
    assert_string_equal(listed(f, "www"), "*www/a www/b ");
    assert_int_equal(files_activate(f, "www", "nope", &row, &why), ERR_NOT_FOUND);
    /* the same again switches and makes no new one; another of that name is refused */
    assert_int_equal(release_publish(f, "www", "b", b, 2, &row), ERR_OK);
    assert_int_equal(release_publish(f, "www", "b", a, 2, &row), ERR_BUSY);
    assert_string_equal(listed(f, "www"), "www/a *www/b ");
    files_close(f);
    f = release_must_open(MAP_BYTES);
    assert_string_equal(listed(f, NULL), "www/a *www/b *www2/b ");
    files_close(f);
    buf_release(&why);
}

static void test_what_lacks_a_content_is_not_published(void **state)
{
    struct files *f = release_must_open(MAP_BYTES);
    struct release_what what[] = {{"a", SLICE("here")}, {"b", SLICE("not here")}};
    unsigned char sha256[DIGEST_SHA256_BYTES];
    struct release_row row;
    struct buf text, why;

    (void)state;
    buf_init(&text, 4096);
    buf_init(&why, 1024);
    release_manifest(what, 2, &text);
    release_sha(buf_slice(&text), sha256);
    assert_int_equal(files_publish(f, "www", "r", sha256, &row, &why), ERR_NOT_FOUND);
    release_must_add(f, buf_slice(&text));
    release_must_add(f, what[0].content);
    why.n = 0;
    assert_int_equal(files_publish(f, "www", "r", sha256, &row, &why), ERR_NOT_FOUND);
    assert_non_null(strstr(why.p, "b: its content"));
    assert_string_equal(listed(f, NULL), "");
    release_must_add(f, what[1].content);
    assert_int_equal(files_publish(f, "www", "r", sha256, &row, &why), ERR_OK);
    buf_release(&text);
    buf_release(&why);
    files_close(f);
}

static struct file_row row_of(struct files *f, struct slice content)
{
    unsigned char sha256[DIGEST_SHA256_BYTES];
    struct file_row row = {0};
    struct table_write *w;

    release_sha(content, sha256);
    assert_int_equal(table_write_begin(f->table, &w), ERR_OK);
    assert_int_equal(files__get(w, sha256, &row), ERR_OK);
    table_abort(&w);
    return row;
}

static void test_references_are_counted_and_loose_ones_go(void **state)
{
    struct files *f = release_must_open(MAP_BYTES);
    struct release_what what[] = {
        {"a", SLICE("twice")}, {"b", SLICE("twice")}, {"c", SLICE("once")}};
    struct slice loose = release_body(body, 2 * LIMIT_CHUNK_BYTES, 9);
    struct release_row row;
    struct table_write *w;
    bool more = true;

    (void)state;
    release_must_add(f, loose);
    assert_int_equal(release_publish(f, "www", "r", what, 3, &row), ERR_OK);
    assert_int_equal(row_of(f, what[0].content).refs, 2);
    assert_int_equal(row_of(f, what[2].content).refs, 1);
    assert_int_equal(row_of(f, loose).refs, 0);
    while (more) { /* as if a day had passed */
        assert_int_equal(table_write_begin(f->table, &w), ERR_OK);
        assert_int_equal(files__sweep(w, INT64_MAX, &more), ERR_OK);
        assert_int_equal(table_commit(&w), ERR_OK);
    }
    assert_false(has(f, loose));
    assert_true(has(f, what[0].content) && has(f, what[2].content));
    assert_string_equal(listed(f, NULL), "*www/r ");
    files_close(f);
}

static void test_a_follower_keeps_one_manifest(void **state)
{
    struct files *f = release_must_open(MAP_BYTES);
    struct release_what what[] = {{"own", SLICE("never here")}};
    struct release_row row = {.serial = 3, .files = 1}, own;
    struct buf text[2];

    (void)state;
    assert_int_equal(release_publish(f, "other", "mine", what, 1, &own), ERR_OK);
    for (unsigned i = 0; i < 2; i++) {
        buf_init(&text[i], 4096);
        what[0].path = i == 0 ? "a" : "b";
        release_manifest(what, 1, &text[i]);
        release_sha(buf_slice(&text[i]), row.manifest);
        row.manifest_bytes = text[i].n;
        snprintf(row.id, sizeof(row.id), "r%u", i);
        assert_int_equal(files_follow(f, "www", &row, buf_slice(&text[i])), ERR_OK);
        assert_int_equal(files_follow(f, "www", &row, buf_slice(&text[i])), ERR_OK);
    }
    assert_string_equal(listed(f, NULL), "*other/mine *www/r1 ");
    assert_false(has(f, buf_slice(&text[0])));
    assert_true(has(f, buf_slice(&text[1])));
    assert_int_equal(row_of(f, buf_slice(&text[1])).refs, 1);
    buf_release(&text[0]);
    buf_release(&text[1]);
    files_close(f);
}

static void test_damage_is_noticed(void **state)
{
    struct files *f = release_must_open(MAP_BYTES);
    struct slice content = release_body(body, LIMIT_CHUNK_BYTES, 5);
    unsigned char sha256[DIGEST_SHA256_BYTES], key[RELEASE_CHUNK_KEY_BYTES];
    struct files_reader *r = NULL;
    struct table_write *w;
    struct slice value;
    char *copy = malloc(LIMIT_CHUNK_VALUE_BYTES);
    size_t n;

    (void)state;
    release_must_add(f, content);
    release_sha(content, sha256);
    assert_int_equal(table_write_begin(f->table, &w), ERR_OK);
    assert_int_equal(table_write_get(w, FILES_CHUNK, release_chunk_key(sha256, 0, key), &value),
                     ERR_OK);
    memcpy(copy, value.p, value.n);
    copy[value.n - 1] ^= 1;
    assert_int_equal(
        table_put(w, FILES_CHUNK, release_chunk_key(sha256, 0, key), (struct slice){copy, value.n}),
        ERR_OK);
    assert_int_equal(table_commit(&w), ERR_OK);
    assert_int_equal(files_reader_new(f, &r), ERR_OK);
    assert_int_equal(files_read(r, sha256, 0, copy, LIMIT_CHUNK_BYTES, &n), ERR_CORRUPT);
    assert_int_equal(files_read(r, sha256, 10, copy, 10, &n), ERR_CORRUPT);
    files_reader_free(r);
    free(copy);
    files_close(f);
}

static void test_a_second_process_is_refused(void **state)
{
    struct files *f = release_must_open(MAP_BYTES), *other = NULL;
    struct files_options opt = {.dir = release_dir, .bytes_max = MAP_BYTES};

    (void)state;
    assert_int_equal(files_open(&opt, &other), ERR_BUSY);
    files_close(f);
}

/* ---- kill -9 ---- */

static struct slice content_of(unsigned round, unsigned i)
{
    static char room[4 * LIMIT_CHUNK_BYTES];

    return release_body(room, (round * 7919 + i * 104729) % sizeof(room), round * 16 + i);
}

/* Publishes and rolls back, over and over, and tells the parent what was acknowledged. */
static void child(unsigned round, int fd)
{
    struct files *f = release_must_open(MAP_BYTES);

    for (unsigned i = 0;; i++) {
        struct release_row row;
        struct buf why;
        enum err e;

        buf_init(&why, 1024);
        if (i % 3 == 2) {
            e = files_activate(f, "www", NULL, &row, &why);
        } else {
            struct release_what what[] = {{"a", content_of(round, i % 16)}, {"b", SLICE("same")}};
            char id[32];

            snprintf(id, sizeof(id), "r%u-%u", round, i % 16);
            e = release_publish(f, "www", id, what, 2, &row);
        }
        buf_release(&why);
        if (e == ERR_OK && write(fd, row.id, sizeof(row.id)) != (ssize_t)sizeof(row.id))
            _exit(1);
    }
}

/* Each that is listed has all of its contents; the one in use is what was acknowledged last, or the
 * next one. */
static bool check_one(void *user, const char *site, const struct release_row *row, bool is_in_use)
{
    struct files *f = user;
    struct manifest *m = NULL;
    struct buf text, why;

    (void)site;
    (void)is_in_use;
    buf_init(&text, 1 << 20);
    buf_init(&why, 1024);
    assert_int_equal(files_read_all(f->reader, row->manifest, 1 << 20, &text), ERR_OK);
    assert_int_equal(manifest_parse(buf_slice(&text), &m, &why), ERR_OK);
    for (size_t i = 0; i < manifest_count(m); i++) {
        unsigned char is[DIGEST_SHA256_BYTES];
        struct manifest_entry e;

        manifest_at(m, i, &e);
        text.n = 0;
        assert_int_equal(files_read_all(f->reader, e.sha256, 1 << 20, &text), ERR_OK);
        release_sha(buf_slice(&text), is);
        assert_memory_equal(is, e.sha256, sizeof(is));
    }
    manifest_free(m);
    buf_release(&text);
    buf_release(&why);
    return true;
}

static void test_kill_9(void **state)
{
    unsigned acknowledged = 0;

    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        char id[RELEASE_NAME_BYTES], last[RELEASE_NAME_BYTES] = "";
        struct files *f;
        int fd[2], status;
        pid_t pid;

        assert_int_equal(pipe(fd), 0);
        pid = fork();
        if (pid == 0) {
            close(fd[0]);
            child(round, fd[1]);
        }
        close(fd[1]);
        /* not after a time, but after some have been acknowledged: and then anywhere */
        for (unsigned i = 0;
             i < 1 + round % 5 && read(fd[0], id, sizeof(id)) == (ssize_t)sizeof(id); i++) {
            memcpy(last, id, sizeof(last));
            acknowledged++;
        }
        usleep(round * 137 % 3000);
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        assert_true(WIFSIGNALED(status));
        while (read(fd[0], id, sizeof(id)) == (ssize_t)sizeof(id))
            memcpy(last, id, sizeof(last));
        close(fd[0]);
        f = release_must_open(MAP_BYTES);
        assert_int_equal(files_walk(f, NULL, check_one, f), ERR_OK);
        assert_non_null(strchr(listed(f, "www"), '*'));
        assert_non_null(strstr(listed(f, "www"), last));
        files_close(f);
    }
    assert_true(acknowledged >= ROUNDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_contents_come_back, release_dir_make,
                                        release_dir_remove),
        cmocka_unit_test_setup_teardown(test_a_wrong_hash_leaves_nothing, release_dir_make,
                                        release_dir_remove),
        cmocka_unit_test_setup_teardown(test_pieces_must_follow, release_dir_make,
                                        release_dir_remove),
        cmocka_unit_test_setup_teardown(test_a_full_map_still_switches, release_dir_make,
                                        release_dir_remove),
        cmocka_unit_test_setup_teardown(test_publish_switch_and_back, release_dir_make,
                                        release_dir_remove),
        cmocka_unit_test_setup_teardown(test_what_lacks_a_content_is_not_published,
                                        release_dir_make, release_dir_remove),
        cmocka_unit_test_setup_teardown(test_references_are_counted_and_loose_ones_go,
                                        release_dir_make, release_dir_remove),
        cmocka_unit_test_setup_teardown(test_a_follower_keeps_one_manifest, release_dir_make,
                                        release_dir_remove),
        cmocka_unit_test_setup_teardown(test_damage_is_noticed, release_dir_make,
                                        release_dir_remove),
        cmocka_unit_test_setup_teardown(test_a_second_process_is_refused, release_dir_make,
                                        release_dir_remove),
        cmocka_unit_test_setup_teardown(test_kill_9, release_dir_make, release_dir_remove),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
