/* Unit tests of what each kind of purge covers. */
#include "purge_dir.h"

#define BASE position_make(1, 0)

static void test_a_new_node_purges_nothing(void **state)
{
    struct purge *p = purge_open_small();

    (void)state;
    assert_int_equal(purge_head(p), BASE);
    assert_int_equal(purge_floor(p), 0);
    assert_int_equal(purge_ask(p, BASE, "h/"), PURGE_USABLE);
    purge_close(p);
}

/* Each kind against what it must cover, and against its neighbours that it must not. */
static void test_each_kind_covers_what_it_names_and_nothing_else(void **state)
{
    static const struct {
        enum purge_kind kind;
        const char *text;
        const char *covered[3], *other[5];
    } scope[] = {
        {PURGE_URL, "h/a?x", {"h/a?x"}, {"h/a", "h/a?xy", "h/a?", "g/a?x", "h/b"}},
        {PURGE_PREFIX, "h/a", {"h/a", "h/ab", "h/a/b?c"}, {"h/b", "g/a", "h/", "gh/a", "h/A"}},
        {PURGE_PREFIX, "h/", {"h/", "h/a", "h/?q"}, {"g/", "hh/", "g/h/", "i/a", "x.h/"}},
        {PURGE_HOST, "h", {"h/", "h/a", "h/b?c"}, {"g/", "x.h/", "h.x/a", "hh/", "g/h"}},
        {PURGE_ALL, "", {"h/", "g/a", "i/b?c"}, {0}},
        {PURGE_TAG, "t", {0}, {"t/", "h/t", "t/t", "h/", "g/"}},
    };

    for (size_t i = 0; i < sizeof(scope) / sizeof(scope[0]); i++) {
        for (int soft = 0; soft < 2; soft++) {
            enum purge_verdict want = soft ? PURGE_SOFT : PURGE_DEAD;
            struct purge *p;
            uint64_t head;

            assert_int_equal(purge_dir_make(state), 0);
            p = purge_open_small();
            head = purge_one(p, scope[i].kind, scope[i].text, soft);
            for (size_t c = 0; c < 3 && scope[i].covered[c] != NULL; c++) {
                assert_int_equal(purge_ask(p, BASE, scope[i].covered[c]), want);
                assert_int_equal(purge_ask(p, head, scope[i].covered[c]), PURGE_USABLE);
            }
            for (size_t o = 0; o < 5 && scope[i].other[o] != NULL; o++)
                assert_int_equal(purge_ask(p, BASE, scope[i].other[o]), PURGE_USABLE);
            purge_close(p);
            assert_int_equal(purge_dir_remove(state), 0);
        }
    }
}

static void test_a_tag_covers_those_who_carry_it(void **state)
{
    struct purge *p = purge_open_small();
    uint64_t with[] = {purge_tag_hash(SLICE("x")), purge_tag_hash(SLICE("t"))};
    uint64_t without[] = {purge_tag_hash(SLICE("x")), purge_tag_hash(SLICE("tt"))};
    struct purge_subject s = {
        .birth = BASE, .purge_url = SLICE("h/"), .tags = with, .tags_count = 2};

    (void)state;
    purge_one(p, PURGE_TAG, "t", false);
    assert_int_equal(purge_judge(p, &s), PURGE_DEAD);
    s.tags_count = 1;
    assert_int_equal(purge_judge(p, &s), PURGE_USABLE);
    s.tags = without;
    s.tags_count = 2;
    assert_int_equal(purge_judge(p, &s), PURGE_USABLE);
    purge_close(p);
}

static void test_more_tags_than_are_kept_are_covered_by_every_tag(void **state)
{
    struct purge_subject s = {.birth = BASE, .purge_url = SLICE("h/"), .tags_overflow = true};

    (void)state;
    for (int round = 0; round < 2; round++) { /* and still so after a restart */
        struct purge *p = purge_open_small();

        if (round == 0) {
            purge_one(p, PURGE_URL, "h/other", false);
            assert_int_equal(purge_judge(p, &s), PURGE_USABLE);
            purge_one(p, PURGE_TAG, "one", true);
            assert_int_equal(purge_judge(p, &s), PURGE_SOFT);
            purge_one(p, PURGE_TAG, "two", false);
        }
        assert_int_equal(purge_judge(p, &s), PURGE_DEAD);
        purge_close(p);
    }
}

static void test_a_hard_purge_outweighs_a_soft_one_wherever_it_is_found(void **state)
{
    struct purge *p = purge_open_small();

    (void)state;
    purge_one(p, PURGE_HOST, "h", false);
    purge_one(p, PURGE_URL, "h/a", true);
    assert_int_equal(purge_ask(p, BASE, "h/a"), PURGE_DEAD);
    assert_int_equal(purge_ask(p, BASE + 1, "h/a"), PURGE_SOFT);
    purge_one(p, PURGE_ALL, "", true);
    purge_one(p, PURGE_PREFIX, "h/a", false);
    assert_int_equal(purge_ask(p, BASE + 2, "h/ab"), PURGE_DEAD);
    assert_int_equal(purge_ask(p, BASE + 2, "h/b"), PURGE_SOFT);
    purge_close(p);
}

static void test_a_soft_purge_does_not_take_back_a_hard_one(void **state)
{
    struct purge *p = purge_open_small();

    (void)state;
    purge_one(p, PURGE_URL, "h/a", false);
    purge_one(p, PURGE_URL, "h/a", true);
    assert_int_equal(purge_ask(p, BASE, "h/a"), PURGE_DEAD);
    assert_int_equal(purge_ask(p, BASE + 1, "h/a"), PURGE_SOFT);
    purge_close(p);
    p = purge_open_small();
    assert_int_equal(purge_ask(p, BASE, "h/a"), PURGE_DEAD);
    assert_int_equal(purge_ask(p, BASE + 1, "h/a"), PURGE_SOFT);
    purge_close(p);
}

static void test_a_birth_of_a_lower_epoch_is_dead(void **state)
{
    struct purge *p = purge_open_small();

    (void)state;
    assert_int_equal(purge_ask(p, position_make(0, POSITION_N_MAX), "h/"), PURGE_DEAD);
    purge_close(p);
}

static void test_prefixes_of_many_lengths_are_all_found(void **state)
{
    char text[300] = "h/";
    struct purge *p = purge_open_small();

    memset(text + 2, 'a', sizeof(text) - 3);
    (void)state;
    for (size_t n = 3; n < sizeof(text) - 1; n += 7) {
        char prefix[300];

        snprintf(prefix, sizeof(prefix), "%.*sX", (int)n, text);
        purge_one(p, PURGE_PREFIX, prefix, false);
    }
    for (size_t n = 3; n < sizeof(text) - 1; n++) {
        char url[310];

        snprintf(url, sizeof(url), "%.*sXyz", (int)n, text);
        assert_int_equal(purge_ask(p, BASE, url), (n - 3) % 7 == 0 ? PURGE_DEAD : PURGE_USABLE);
    }
    purge_close(p);
}

static void check_explained(struct purge *p, const struct purge_subject *s, enum purge_kind kind,
                            const char *text, uint64_t position, bool soft)
{
    enum purge_kind got_kind;
    uint64_t got_position;
    char got_text[128];
    bool got_soft;

    assert_true(
        purge_explain(p, s, &got_kind, got_text, sizeof(got_text), &got_position, &got_soft));
    assert_int_equal(got_kind, kind);
    assert_string_equal(got_text, text);
    assert_int_equal(got_position, position);
    assert_int_equal(got_soft, soft);
}

static void test_explain_names_the_scope(void **state)
{
    struct purge *p = purge_open_small();
    uint64_t tag = purge_tag_hash(SLICE("article-17"));
    struct purge_subject s = {
        .birth = BASE, .purge_url = SLICE("h/a/b"), .tags = &tag, .tags_count = 1};
    enum purge_kind kind;
    uint64_t position;
    char text[128];
    bool soft;

    (void)state;
    assert_false(purge_explain(p, &s, &kind, text, sizeof(text), &position, &soft));
    position = purge_one(p, PURGE_TAG, "article-17", true);
    check_explained(p, &s, PURGE_TAG, "article-17", position, true);
    position = purge_one(p, PURGE_PREFIX, "h/a", false);
    check_explained(p, &s, PURGE_PREFIX, "h/a", position, false);
    position = purge_one(p, PURGE_HOST, "h", false);
    check_explained(p, &s, PURGE_HOST, "h", position, false);
    s.birth = 0;
    check_explained(p, &s, PURGE_ALL, "", BASE, false);
    purge_close(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_new_node_purges_nothing, purge_dir_make,
                                        purge_dir_remove),
        cmocka_unit_test(test_each_kind_covers_what_it_names_and_nothing_else),
        cmocka_unit_test_setup_teardown(test_a_tag_covers_those_who_carry_it, purge_dir_make,
                                        purge_dir_remove),
        cmocka_unit_test_setup_teardown(test_more_tags_than_are_kept_are_covered_by_every_tag,
                                        purge_dir_make, purge_dir_remove),
        cmocka_unit_test_setup_teardown(test_a_hard_purge_outweighs_a_soft_one_wherever_it_is_found,
                                        purge_dir_make, purge_dir_remove),
        cmocka_unit_test_setup_teardown(test_a_soft_purge_does_not_take_back_a_hard_one,
                                        purge_dir_make, purge_dir_remove),
        cmocka_unit_test_setup_teardown(test_a_birth_of_a_lower_epoch_is_dead, purge_dir_make,
                                        purge_dir_remove),
        cmocka_unit_test_setup_teardown(test_prefixes_of_many_lengths_are_all_found, purge_dir_make,
                                        purge_dir_remove),
        cmocka_unit_test_setup_teardown(test_explain_names_the_scope, purge_dir_make,
                                        purge_dir_remove),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
