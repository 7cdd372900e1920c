/* Unit tests of appending, and of what a restart finds. */
#include "purge_dir.h"

#include <sys/stat.h>

#define BASE  position_make(1, 0)
#define NO_ID ((struct slice){NULL, 0})

static void test_identity_survives_and_boots_are_counted(void **state)
{
    struct purge *p = purge_open_small();
    uint64_t cluster = purge_cluster_id(p), ctl = purge_ctl_id(p);

    (void)state;
    assert_int_equal(purge_boot(p), 1);
    purge_close(p);
    p = purge_open_small();
    assert_int_equal(purge_cluster_id(p), cluster);
    assert_int_equal(purge_ctl_id(p), ctl);
    assert_int_equal(purge_boot(p), 2);
    purge_close(p);
}

static void test_two_nodes_are_not_one(void **state)
{
    struct purge *p = purge_open_small();
    uint64_t cluster = purge_cluster_id(p), ctl = purge_ctl_id(p);

    purge_close(p);
    assert_int_equal(purge_dir_remove(state), 0);
    assert_int_equal(purge_dir_make(state), 0);
    p = purge_open_small();
    assert_true(purge_cluster_id(p) != cluster && purge_ctl_id(p) != ctl);
    purge_close(p);
}

/* Object ids have room for so many; then the store must begin anew, which the ctl id tells it. */
static void test_a_boot_counter_that_ran_out_starts_again_under_another_ctl_id(void **state)
{
    struct purge_limits limits = purge_small_limits();
    struct purge *p;
    uint64_t ctl, cluster;

    (void)state;
    limits.boots_max = 1;
    p = purge_must_open(&limits);
    ctl = purge_ctl_id(p);
    cluster = purge_cluster_id(p);
    purge_one(p, PURGE_URL, "h/a", false);
    purge_close(p);
    p = purge_must_open(&limits);
    assert_int_equal(purge_boot(p), 1);
    assert_true(purge_ctl_id(p) != ctl);
    assert_int_equal(purge_cluster_id(p), cluster);
    assert_int_equal(purge_ask(p, BASE, "h/a"), PURGE_DEAD);
    purge_close(p);
}

static void test_positions_are_contiguous_over_restarts(void **state)
{
    uint64_t n = 0;

    (void)state;
    for (int round = 0; round < 4; round++) {
        struct purge *p = purge_open_small();
        struct purge_stat stat;

        assert_int_equal(purge_head(p), position_make(1, n));
        for (int i = 0; i < 3; i++)
            assert_int_equal(purge_one(p, PURGE_URL, "h/a", i == 1), position_make(1, ++n));
        assert_int_equal(purge_head(p), position_make(1, n));
        purge_stat(p, &stat);
        assert_int_equal(stat.head, position_make(1, n));
        assert_int_equal(stat.first, position_make(1, 1));
        assert_int_equal(stat.scopes, 1);
        purge_close(p);
    }
}

static void test_scopes_of_one_request_get_positions_of_their_own(void **state)
{
    struct purge_scope scope[] = {
        {PURGE_URL, SLICE("h/a")}, {PURGE_TAG, SLICE("t")}, {PURGE_URL, SLICE("h/b")}};
    struct purge *p = purge_open_small();
    uint64_t head;

    (void)state;
    assert_int_equal(purge_append(p, scope, 3, false, NO_ID, &head), ERR_OK);
    assert_int_equal(head, BASE + 3);
    assert_int_equal(purge_ask(p, BASE, "h/a"), PURGE_DEAD);
    assert_int_equal(purge_ask(p, BASE + 1, "h/a"), PURGE_USABLE);
    assert_int_equal(purge_ask(p, BASE + 2, "h/b"), PURGE_DEAD);
    purge_close(p);
}

static void test_every_kind_is_in_force_after_a_restart(void **state)
{
    struct purge *p = purge_open_small();
    uint64_t tag = purge_tag_hash(SLICE("t"));
    struct purge_subject s = {
        .birth = BASE + 4, .purge_url = SLICE("z/"), .tags = &tag, .tags_count = 1};

    (void)state;
    purge_one(p, PURGE_ALL, "", true);
    purge_one(p, PURGE_URL, "h/a", false);
    purge_one(p, PURGE_PREFIX, "i/a/", false);
    purge_one(p, PURGE_HOST, "j", false);
    purge_one(p, PURGE_TAG, "t", false);
    purge_close(p);
    p = purge_open_small();
    assert_int_equal(purge_ask(p, BASE, "z/"), PURGE_SOFT);
    assert_int_equal(purge_ask(p, BASE + 1, "h/a"), PURGE_DEAD);
    assert_int_equal(purge_ask(p, BASE + 2, "i/a/b"), PURGE_DEAD);
    assert_int_equal(purge_ask(p, BASE + 2, "i/a"), PURGE_USABLE);
    assert_int_equal(purge_ask(p, BASE + 3, "j/b"), PURGE_DEAD);
    assert_int_equal(purge_judge(p, &s), PURGE_DEAD);
    s.birth++;
    assert_int_equal(purge_judge(p, &s), PURGE_USABLE);
    purge_close(p);
}

static void test_a_request_sent_again_counts_once_even_over_a_restart(void **state)
{
    struct purge_scope scope = {PURGE_URL, SLICE("h/a")};
    struct purge *p = purge_open_small();
    uint64_t first, again, head;

    (void)state;
    assert_int_equal(purge_append(p, &scope, 1, false, SLICE("id-1"), &first), ERR_OK);
    for (int i = 0; i < 998; i++)
        head = purge_one(p, PURGE_URL, "h/b", false);
    assert_int_equal(purge_append(p, &scope, 1, false, SLICE("id-1"), &again), ERR_OK);
    assert_int_equal(again, first);
    assert_int_equal(purge_head(p), head);
    purge_close(p);

    p = purge_open_small();
    assert_int_equal(purge_append(p, &scope, 1, false, SLICE("id-1"), &again), ERR_OK);
    assert_int_equal(again, first);
    purge_one(p, PURGE_URL, "h/b", false);
    purge_one(p, PURGE_URL, "h/b", false); /* now it is older than the last 1,000 */
    assert_int_equal(purge_append(p, &scope, 1, false, SLICE("id-1"), &again), ERR_OK);
    assert_int_equal(again, first + 1001);
    purge_close(p);
}

/* Whoever uses one id for two purges means both: the second must hold as well. */
static void test_an_id_with_other_scopes_is_another_request(void **state)
{
    struct purge_scope scope[] = {{PURGE_URL, SLICE("h/a")}, {PURGE_URL, SLICE("h/b")}};
    struct purge *p = purge_open_small();
    uint64_t a, b, soft;

    (void)state;
    assert_int_equal(purge_append(p, &scope[0], 1, false, SLICE("id"), &a), ERR_OK);
    assert_int_equal(purge_append(p, &scope[1], 1, false, SLICE("id"), &b), ERR_OK);
    assert_int_equal(b, a + 1);
    assert_int_equal(purge_append(p, &scope[1], 1, true, SLICE("id"), &soft), ERR_OK);
    assert_int_equal(soft, b + 1);
    assert_int_equal(purge_append(p, &scope[0], 1, false, SLICE("id"), &b), ERR_OK);
    assert_int_equal(b, a);
    purge_close(p);
}

static void test_a_scope_without_form_is_refused_and_nothing_of_the_request_holds(void **state)
{
    struct purge_scope scope[] = {{PURGE_URL, SLICE("h/a")}, {PURGE_URL, SLICE("no-path")}};
    struct purge *p = purge_open_small();
    char long_id[65];
    uint64_t head = 77;

    (void)state;
    memset(long_id, 'i', sizeof(long_id));
    assert_int_equal(purge_append(p, scope, 2, false, NO_ID, &head), ERR_INVALID);
    assert_int_equal(purge_append(p, scope, 0, false, NO_ID, &head), ERR_INVALID);
    assert_int_equal(
        purge_append(p, scope, 1, false, (struct slice){long_id, sizeof(long_id)}, &head),
        ERR_INVALID);
    assert_int_equal(head, 77);
    assert_int_equal(purge_head(p), BASE);
    assert_int_equal(purge_ask(p, BASE, "h/a"), PURGE_USABLE);
    purge_close(p);
}

static void test_the_journal_is_trimmed_and_the_scopes_stay(void **state)
{
    struct purge_limits limits = purge_small_limits();
    struct purge *p;
    struct purge_stat stat;

    (void)state;
    limits.records_max = 10;
    p = purge_must_open(&limits);
    for (int i = 0; i < 50; i++) {
        char url[16];

        snprintf(url, sizeof(url), "h/%d", i);
        purge_one(p, PURGE_URL, url, false);
    }
    purge_stat(p, &stat);
    assert_int_equal(stat.first, BASE + 41);
    assert_int_equal(stat.scopes, 50);
    purge_close(p);
    p = purge_must_open(&limits);
    purge_stat(p, &stat);
    assert_int_equal(stat.first, BASE + 41);
    assert_int_equal(purge_ask(p, BASE, "h/0"), PURGE_DEAD);
    assert_int_equal(purge_one(p, PURGE_URL, "h/0", false), BASE + 51);
    purge_close(p);
}

/* A smaller limit than before, as after an upgrade: the excess goes in steps, not in one pause. */
static void test_trimming_goes_in_small_steps(void **state)
{
    struct purge_limits limits = purge_small_limits();
    struct purge_scope scope[100];
    struct purge *p = purge_open_small();
    struct purge_stat stat;
    uint64_t head, before;

    (void)state;
    for (size_t i = 0; i < 100; i++)
        scope[i] = (struct purge_scope){PURGE_URL, SLICE("h/a")};
    for (int i = 0; i < 5; i++)
        assert_int_equal(purge_append(p, scope, 100, false, NO_ID, &head), ERR_OK);
    purge_close(p);
    limits.records_max = 10;
    p = purge_must_open(&limits);
    for (int i = 0; i < 10; i++) {
        purge_stat(p, &stat);
        before = stat.first;
        purge_one(p, PURGE_URL, "h/a", false);
        purge_stat(p, &stat);
        assert_in_range(stat.first - before, 1, 65);
    }
    assert_int_equal(stat.head - stat.first + 1, 10);
    purge_close(p);
}

/* Long texts must not fill the file before the number of records is reached. */
static void test_the_journal_has_a_ceiling_in_bytes_too(void **state)
{
    struct purge_limits limits = purge_small_limits();
    static char text[8000];
    struct purge_scope scope[100];
    struct purge *p;
    struct purge_stat stat;
    uint64_t head;

    (void)state;
    memset(text, 'a', sizeof(text));
    text[1] = '/';
    for (size_t i = 0; i < 100; i++)
        scope[i] = (struct purge_scope){PURGE_URL, {text, sizeof(text)}};
    limits.journal_bytes_max = 1 << 20;
    limits.map_bytes = 8 << 20; /* 100 × 8 KiB × 20 would be twice that */
    p = purge_must_open(&limits);
    for (int i = 0; i < 20; i++)
        assert_int_equal(purge_append(p, scope, 100, false, NO_ID, &head), ERR_OK);
    purge_stat(p, &stat);
    assert_true(stat.head - stat.first + 1 < 300);
    purge_close(p);
}

static void
test_above_the_limit_of_scopes_everything_is_purged_and_the_table_starts_anew(void **state)
{
    struct purge_limits limits = purge_small_limits();
    struct purge_scope two[] = {{PURGE_URL, SLICE("h/new-1")}, {PURGE_URL, SLICE("h/new-2")}};
    struct purge_stat stat;
    struct purge *p;
    uint64_t head, again;
    char url[16];

    (void)state;
    limits.scopes_max = 20;
    p = purge_must_open(&limits);
    for (int i = 0; i < 19; i++) {
        snprintf(url, sizeof(url), "h/%d", i);
        purge_one(p, PURGE_URL, url, false);
    }
    purge_one(p, PURGE_URL, "h/3", true); /* an old one more: no reason to start anew */
    assert_int_equal(purge_ask(p, BASE, "other/"), PURGE_USABLE);

    assert_int_equal(purge_append(p, two, 2, true, SLICE("id"), &head),
                     ERR_OK);          /* soft, and still hard for all */
    assert_int_equal(head, BASE + 21); /* one record */
    for (int round = 0; round < 2; round++) {
        purge_stat(p, &stat);
        assert_int_equal(stat.scopes, 1);
        assert_int_equal(purge_floor(p), head);
        assert_int_equal(purge_ask(p, head - 1, "other/"), PURGE_DEAD);
        assert_int_equal(purge_ask(p, head - 1, "h/new-1"), PURGE_DEAD);
        assert_int_equal(purge_ask(p, BASE, "h/3"), PURGE_DEAD);
        assert_int_equal(purge_ask(p, head, "h/3"), PURGE_USABLE);
        assert_int_equal(purge_append(p, two, 2, true, SLICE("id"), &again), ERR_OK);
        assert_int_equal(again, head);
        purge_close(p);
        p = purge_must_open(&limits);
    }
    purge_one(p, PURGE_URL, "h/3", false); /* and goes on as ever */
    assert_int_equal(purge_ask(p, head, "h/3"), PURGE_DEAD);
    assert_int_equal(purge_ask(p, head, "h/4"), PURGE_USABLE);
    purge_close(p);
}

static void test_rows_of_the_old_table_are_deleted_in_the_background(void **state)
{
    struct purge_limits limits = purge_small_limits();
    struct purge_scope scope[200];
    char text[200][16];
    struct purge *p;
    struct table_stat before, after;
    uint64_t head;

    (void)state;
    p = purge_must_open(&limits);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 200; i++) {
            snprintf(text[i], sizeof(text[i]), "h/%d-%d", round, i);
            scope[i] = (struct purge_scope){PURGE_URL, slice_of(text[i])};
        }
        assert_int_equal(purge_append(p, scope, 200, false, NO_ID, &head), ERR_OK);
    }
    purge_one(p, PURGE_URL, "h/x", false); /* starts anew */
    table_stat(p->table, &before);
    for (int i = 0; i < 5; i++)
        purge_one(p, PURGE_URL, "h/x", false);
    table_stat(p->table, &after);
    assert_in_range(before.entries - after.entries, 700, 1000);
    purge_close(p);
}

/* Change what is on the disk as only a bug or a bad disk would; then open must refuse. */
static void damage(unsigned which, struct slice key, struct slice value)
{
    static const char *const names[] = {"state", "journal", "rows", NULL};
    struct table_options opt = {
        .dir = purge_dir, .bytes_max = 64 << 20, .tables = names, .sync = TABLE_DURABLE};
    struct table_write *w = NULL;
    struct table *t = NULL;

    assert_int_equal(table_open(&opt, &t), ERR_OK);
    assert_int_equal(table_write_begin(t, &w), ERR_OK);
    if (value.p == NULL)
        assert_int_equal(table_delete(w, which, key), ERR_OK);
    else
        assert_int_equal(table_put(w, which, key, value), ERR_OK);
    assert_int_equal(table_commit(&w), ERR_OK);
    table_close(t);
}

static void must_be_corrupt(void)
{
    struct purge_limits limits = purge_small_limits();
    struct purge *p = NULL;

    for (int i = 0; i < 2; i++) /* and it stays so: nothing is recreated */
        assert_int_equal(purge__open(purge_dir, &limits, &p), ERR_CORRUPT);
    assert_null(p);
}

static void test_damage_of_any_table_is_reported_and_never_repaired(void **state)
{
    unsigned char journal_key[PURGE_JOURNAL_KEY_BYTES], row_key[PURGE_ROW_KEY_BYTES];
    struct slice none = {NULL, 0}, junk = SLICE("not ours"), empty = SLICE("");

    for (int i = 0; i < 9; i++) {
        struct purge *p;
        struct slice record_1, record_3, row;

        assert_int_equal(purge_dir_make(state), 0);
        p = purge_open_small();
        for (int n = 0; n < 3; n++)
            purge_one(p, PURGE_URL, "h/a", false);
        row = purge_row_key(0, purge__scope_id(p, PURGE_URL, SLICE("h/a")), row_key);
        purge_close(p);
        record_1 = purge_journal_key(BASE + 1, journal_key);
        switch (i) {
        case 0:
            damage(PURGE_TABLE_STATE, SLICE("identity"), junk);
            break;
        case 1:
            damage(PURGE_TABLE_STATE, SLICE("identity"), none);
            break;
        case 2:
            damage(PURGE_TABLE_STATE, SLICE("clock"), none);
            break;
        case 3:
            damage(PURGE_TABLE_STATE, SLICE("clock"), empty);
            break;
        case 4:
            damage(PURGE_TABLE_ROWS, row, junk);
            break;
        case 5:
            damage(PURGE_TABLE_JOURNAL, record_1, junk);
            break;
        case 6: /* a gap */
            damage(PURGE_TABLE_JOURNAL, record_1, none);
            break;
        case 7: /* the head's record is missing */
            record_3 = purge_journal_key(BASE + 3, journal_key);
            damage(PURGE_TABLE_JOURNAL, record_3, none);
            break;
        default: /* a record behind the head */
            record_3 = purge_journal_key(BASE + 4, journal_key);
            damage(PURGE_TABLE_JOURNAL, record_3, junk);
            break;
        }
        must_be_corrupt();
        assert_int_equal(purge_dir_remove(state), 0);
    }
}

static void test_a_second_opener_is_told_that_it_is_busy(void **state)
{
    struct purge_limits limits = purge_small_limits();
    struct purge *p = purge_open_small(), *second = NULL;

    (void)state;
    assert_int_equal(purge__open(purge_dir, &limits, &second), ERR_BUSY);
    assert_null(second);
    purge_close(p);
}

static void test_a_parent_that_is_missing_is_an_error(void **state)
{
    struct purge *p = NULL;

    (void)state;
    assert_int_equal(purge_open("/nonexistent/ctl", &p), ERR_IO);
    assert_null(p);
}

static void test_the_ordinary_open_works_and_only_its_owner_may_read(void **state)
{
    struct purge *p = NULL;
    struct stat st;

    (void)state;
    assert_int_equal(purge_open(purge_dir, &p), ERR_OK);
    assert_int_equal(stat(purge_dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    purge_close(p);
}

#define WITH_DIR(test) cmocka_unit_test_setup_teardown(test, purge_dir_make, purge_dir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_DIR(test_identity_survives_and_boots_are_counted),
        WITH_DIR(test_two_nodes_are_not_one),
        WITH_DIR(test_a_boot_counter_that_ran_out_starts_again_under_another_ctl_id),
        WITH_DIR(test_positions_are_contiguous_over_restarts),
        WITH_DIR(test_scopes_of_one_request_get_positions_of_their_own),
        WITH_DIR(test_every_kind_is_in_force_after_a_restart),
        WITH_DIR(test_a_request_sent_again_counts_once_even_over_a_restart),
        WITH_DIR(test_an_id_with_other_scopes_is_another_request),
        WITH_DIR(test_a_scope_without_form_is_refused_and_nothing_of_the_request_holds),
        WITH_DIR(test_the_journal_is_trimmed_and_the_scopes_stay),
        WITH_DIR(test_trimming_goes_in_small_steps),
        WITH_DIR(test_the_journal_has_a_ceiling_in_bytes_too),
        WITH_DIR(test_above_the_limit_of_scopes_everything_is_purged_and_the_table_starts_anew),
        WITH_DIR(test_rows_of_the_old_table_are_deleted_in_the_background),
        cmocka_unit_test(test_damage_of_any_table_is_reported_and_never_repaired),
        WITH_DIR(test_a_second_opener_is_told_that_it_is_busy),
        cmocka_unit_test(test_a_parent_that_is_missing_is_an_error),
        WITH_DIR(test_the_ordinary_open_works_and_only_its_owner_may_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
