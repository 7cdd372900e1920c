/* Unit tests of places by address: both forms of database, and bad ones. */
#include "geo_file.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <sys/stat.h>

#include "geo/geo.h"

static struct sockaddr_storage address(const char *text)
{
    struct sockaddr_storage sa = {0};
    struct sockaddr_in *v4 = (void *)&sa;
    struct sockaddr_in6 *v6 = (void *)&sa;

    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        sa.ss_family = AF_INET;
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
        sa.ss_family = AF_INET6;
    }
    return sa;
}

static struct geo_place find(const struct geo *g, const char *text)
{
    struct sockaddr_storage sa = address(text);
    struct geo_place p;

    geo_find(g, (void *)&sa, &p);
    return p;
}

static struct geo *open_files(const char *a, const char *b)
{
    const char *files[] = {a, b};
    struct geo *g = NULL;
    struct buf why;

    buf_init(&why, 4096);
    if (geo_open(files, b == NULL ? 1 : 2, &g, &why) != ERR_OK)
        fail_msg("%.*s", (int)why.n, why.p);
    assert_int_equal(why.n, 0);
    buf_release(&why);
    return g;
}

static void check_place(const struct geo *g, const char *ip, const char *country, double latitude,
                        double longitude)
{
    struct geo_place p = find(g, ip);

    assert_non_null(p.country);
    assert_string_equal(p.country->code, country);
    assert_true(p.has_point);
    assert_true(p.latitude > latitude - 1e-4 && p.latitude < latitude + 1e-4);
    assert_true(p.longitude > longitude - 1e-4 && p.longitude < longitude + 1e-4);
}

static void check_unknown(const struct geo *g, const char *ip)
{
    struct geo_place p = find(g, ip);

    assert_null(p.country);
    assert_false(p.has_point);
}

static void test_both_forms_say_the_same(void **state)
{
    const char *file[] = {geo_nested, geo_flat};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct geo *g = open_files(file[i], NULL);

        check_place(g, "127.1.2.3", "DE", 50.1109, 8.6821);
        check_place(g, "127.5.0.1", "BR", -23.5505, -46.6333);
        check_place(g, "127.12.255.255", "WS", -13.7590, -172.1046);
        check_place(g, "127.15.128.0", "IS", 64.1466, -21.9426);
        check_place(g, "203.0.113.127", "KR", 37.5665, 126.9780);
        check_place(g, "203.0.113.128", "NZ", -36.8509, 174.7645);
        check_place(g, "2001:db8:2::1", "SG", 1.3521, 103.8198);
        check_unknown(g, "127.0.0.1");
        check_unknown(g, "127.15.127.255");
        check_unknown(g, "8.8.8.8");
        check_unknown(g, "::1");
        geo_close(g);
    }
}

static void test_ipv4_in_ipv6_form_is_ipv4(void **state)
{
    struct geo *g = open_files(geo_flat, NULL); /* the one that has no alias for it */

    (void)state;
    check_place(g, "::ffff:127.2.0.1", "SG", 1.3521, 103.8198);
    check_unknown(g, "::ffff:127.0.0.1");
    geo_close(g);
}

static void test_what_is_no_address_is_nowhere(void **state)
{
    struct geo *g = open_files(geo_nested, NULL);
    struct sockaddr unix_peer = {.sa_family = AF_UNIX};
    struct geo_place p;

    (void)state;
    geo_find(g, &unix_peer, &p);
    assert_null(p.country);
    assert_false(p.has_point);
    geo_close(g);
}

static void test_the_second_file_answers_where_the_first_is_silent(void **state)
{
    struct geo *g;

    (void)state;
    assert_int_equal(file_write_atomic(geo_bad, SLICE("127.0.0.0/16 FI EU 60.2 24.9 Helsinki\n")),
                     ERR_OK);
    {
        char command[256];

        snprintf(command, sizeof(command), "timeout 60 python3 tests/geo/build.py %s %s.2 --flat",
                 geo_bad, geo_bad);
        assert_int_equal(system(command), 0);
        snprintf(command, sizeof(command), "%s.2", geo_bad);
        g = open_files(geo_nested, command);
        unlink(command);
    }
    check_place(g, "127.0.0.1", "FI", 60.2, 24.9);
    check_place(g, "127.1.0.1", "DE", 50.1109, 8.6821);
    geo_close(g);
}

/* Ten reloads under an event stream held ten copies of the same file. */
static void test_a_file_is_in_memory_once_until_it_changes(void **state)
{
    struct geo *a, *b, *c, *d;
    char other[120];

    (void)state;
    snprintf(other, sizeof(other), "%s.new", geo_bad);
    assert_int_equal(geo_build(geo_bad, ""), 0);
    a = open_files(geo_bad, NULL);
    b = open_files(geo_bad, NULL);
    assert_true(a == b && geo_serial(a) != 0);
    c = open_files(geo_bad, geo_nested); /* not the same, though the first file is */
    assert_true(c != a && geo_serial(c) != geo_serial(a));
    geo_close(a);
    check_place(b, "127.1.2.3", "DE", 50.1109, 8.6821);
    assert_int_equal(geo_build(other, ""), 0);
    assert_int_equal(rename(other, geo_bad), 0);
    d = open_files(geo_bad, NULL);
    assert_true(d != b && geo_serial(d) != geo_serial(b));
    geo_close(b);
    geo_close(c);
    geo_close(d);
    a = open_files(geo_bad, NULL); /* nobody has it any more */
    check_place(a, "127.1.2.3", "DE", 50.1109, 8.6821);
    geo_close(a);
}

static void test_a_file_that_is_cut_later_harms_nobody(void **state)
{
    struct geo *g;

    (void)state;
    assert_int_equal(geo_build(geo_bad, ""), 0);
    g = open_files(geo_bad, NULL);
    assert_int_equal(truncate(geo_bad, 0), 0);
    check_place(g, "127.1.2.3", "DE", 50.1109, 8.6821);
    geo_close(g);
}

/* ---- bad files: refused with a sentence, or answering; never a crash ---- */

static enum err open_bad(const char *file, const char *says)
{
    struct geo *g = NULL;
    struct buf why;
    enum err e;

    buf_init(&why, 4096);
    e = geo_open(&file, 1, &g, &why);
    buf_add_char(&why, '\0');
    if (says != NULL && strstr(why.p, says) == NULL)
        fail_msg("wanted: %s\ngot: %s", says, why.p);
    if (e == ERR_OK) {
        static const char *const ip[] = {"1.1.1.1",       "127.1.0.1",  "81.2.69.142",
                                         "2001:db8:1::1", "::1",        "255.255.255.255",
                                         "0.0.0.0",       "2001:220::1"};

        for (size_t i = 0; i < sizeof(ip) / sizeof(ip[0]); i++) {
            struct geo_place p = find(g, ip[i]);

            if (p.has_point)
                assert_true(p.latitude >= -90 && p.latitude <= 90 && p.longitude >= -180 &&
                            p.longitude <= 180);
        }
    } else {
        assert_true(strstr(why.p, file) == why.p);
        assert_null(g);
    }
    buf_release(&why);
    geo_close(g);
    return e;
}

static void test_what_is_no_database_is_refused(void **state)
{
    char big[4096] = {0};

    (void)state;
    assert_int_equal(open_bad("/nonexistent/x", "cannot be read: No such file"), ERR_INVALID);
    assert_int_equal(open_bad("/tmp", "cannot be read: Is a directory"), ERR_INVALID);
    unlink(geo_bad);
    assert_int_equal(mkfifo(geo_bad, 0600), 0); /* nobody writes to it */
    assert_int_equal(open_bad(geo_bad, "cannot be read: Invalid argument"), ERR_INVALID);
    assert_int_equal(unlink(geo_bad), 0);
    assert_int_equal(file_write_atomic(geo_bad, (struct slice){0}), ERR_OK);
    assert_int_equal(open_bad(geo_bad, "no MaxMind DB file"), ERR_INVALID);
    assert_int_equal(file_write_atomic(geo_bad, (struct slice){big, sizeof(big)}), ERR_OK);
    assert_int_equal(open_bad(geo_bad, "no MaxMind DB file"), ERR_INVALID);
}

static void test_a_database_without_places_is_refused(void **state)
{
    char command[256];

    (void)state;
    assert_int_equal(file_write_atomic(geo_bad, SLICE("192.0.2.0/24 ZZ EU 95 200 Nowhere\n")),
                     ERR_OK);
    snprintf(command, sizeof(command), "timeout 60 python3 tests/geo/build.py %s %s", geo_bad,
             geo_bad);
    assert_int_equal(system(command), 0);
    assert_int_equal(open_bad(geo_bad, "knows no places"), ERR_INVALID);
}

/* Any byte wrong, one after the other, and any length. */
static void test_a_damaged_file_is_refused_or_answers(void **state)
{
    char *whole;
    size_t bytes;
    unsigned refused = 0;

    (void)state;
    assert_int_equal(file_read_all(geo_nested, 1 << 20, &whole, &bytes), ERR_OK);
    for (size_t i = 0; i < bytes; i += 7) {
        char was = whole[i];
        FILE *f = fopen(geo_bad, "w");

        whole[i] = (char)(i % 2 == 0 ? 0xff : was ^ 0x55);
        assert_int_equal(fwrite(whole, 1, bytes, f), bytes);
        fclose(f);
        refused += open_bad(geo_bad, NULL) != ERR_OK;
        whole[i] = was;
    }
    assert_true(refused > 0);
    for (size_t n = 0; n < bytes; n += 61) {
        FILE *f = fopen(geo_bad, "w");

        assert_int_equal(fwrite(whole, 1, n, f), n);
        fclose(f);
        assert_int_equal(open_bad(geo_bad, NULL), ERR_INVALID);
    }
    free(whole);
}

/* GEO_BAD_FILES names a folder of databases, such as MaxMind's own bad-data. */
static void test_a_folder_of_bad_files(void **state)
{
    const char *folder = getenv("GEO_BAD_FILES");
    DIR *d = folder == NULL ? NULL : opendir(folder);
    struct dirent *e;
    char path[512];
    unsigned good = 0, bad = 0;

    (void)state;
    if (d == NULL)
        skip();
    while ((e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
        if (open_bad(path, NULL) == ERR_OK)
            good++;
        else
            bad++;
    }
    closedir(d);
    print_message("%u answer, %u are refused\n", good, bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_forms_say_the_same),
        cmocka_unit_test(test_ipv4_in_ipv6_form_is_ipv4),
        cmocka_unit_test(test_what_is_no_address_is_nowhere),
        cmocka_unit_test(test_the_second_file_answers_where_the_first_is_silent),
        cmocka_unit_test(test_a_file_is_in_memory_once_until_it_changes),
        cmocka_unit_test(test_a_file_that_is_cut_later_harms_nobody),
        cmocka_unit_test(test_what_is_no_database_is_refused),
        cmocka_unit_test(test_a_database_without_places_is_refused),
        cmocka_unit_test(test_a_damaged_file_is_refused_or_answers),
        cmocka_unit_test(test_a_folder_of_bad_files),
    };

    return cmocka_run_group_tests(tests, geo_files_make, geo_files_remove);
}
