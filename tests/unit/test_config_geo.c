/* Unit tests of geo, regions.yaml and geo_redirect. */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/limits.h"
#include "config/config.h"

#define NODE                                                                                       \
    "listen: [{address: \"127.0.0.1:1\"}]\nstore: {directory: s, size: 64MiB}\n"                   \
    "sites: sites.yaml\n"
#define GEO     "geo: {database: db, regions: regions.yaml, here: fra}\n"
#define REGIONS "regions:\n- {name: fra, hostname: FRA.cdn.test, latitude: 50.5, longitude: -8}\n"
#define SITES(hosts, more)                                                                         \
    "sites:\n- name: www\n  hosts: [" hosts "]\n  origin: {servers: [http://192.0.2.1]}\n" more

static char dir[64];

static int enter_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/config-test-XXXXXX");
    return mkdtemp(dir) == NULL || chdir(dir) != 0 || file_write_atomic("db", SLICE("x")) != ERR_OK
               ? -1
               : 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static int leave_dir(void **state)
{
    (void)state;
    return chdir("/") != 0 ? -1 : nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static enum err load(const char *node, const char *sites, const char *regions, struct config **out,
                     struct buf *errors)
{
    assert_int_equal(file_write_atomic("edge.yaml", slice_of(node)), ERR_OK);
    assert_int_equal(file_write_atomic("sites.yaml", slice_of(sites)), ERR_OK);
    assert_int_equal(file_write_atomic("regions.yaml", slice_of(regions)), ERR_OK);
    buf_init(errors, 1 << 20);
    return config_load("edge.yaml", out, errors);
}

static void test_what_is_written_is_what_is_read(void **state)
{
    struct config *c = NULL;
    struct buf errors;

    (void)state;
    if (load(NODE GEO,
             SITES("www.test, \"*.cdn.test\"",
                   "  geo: redirect\n  geo_redirect: {min_size: 2MiB, paths: [/a/*], credentials: "
                   "yes}\n"),
             REGIONS "- {name: sin, hostname: \"sin.cdn.test:8443\", latitude: -1.25, longitude: "
                     "103, addresses: [192.0.2.1, \"2001:db8::1\"], drain: yes}\n",
             &c, &errors) != ERR_OK)
        fail_msg("%.*s", (int)errors.n, errors.p);
    assert_string_equal(c->geo_database, "db");
    assert_null(c->geo_database6);
    assert_string_equal(c->geo_here, "fra");
    assert_int_equal(c->regions_count, 2);
    assert_string_equal(c->regions[0].hostname, "fra.cdn.test");
    assert_true(c->regions[0].latitude == 50.5 && c->regions[0].longitude == -8);
    assert_string_equal(c->regions[1].hostname, "sin.cdn.test:8443");
    assert_true(c->regions[1].latitude == -1.25 && c->regions[1].longitude == 103);
    assert_int_equal(c->regions[1].addresses.count, 2);
    assert_true(!c->regions[0].drain && c->regions[1].drain);
    assert_int_equal(c->sites[0].geo, CONFIG_GEO_REDIRECT);
    assert_int_equal(c->sites[0].geo_min_size, 2 * MIB);
    assert_string_equal(c->sites[0].geo_paths.item[0], "/a/*");
    assert_true(c->sites[0].geo_credentials);
    buf_release(&errors);
    config_unref(c);
}

static void test_without_a_word_nothing_happens(void **state)
{
    struct config *c = NULL;
    struct buf errors;

    (void)state;
    assert_int_equal(load(NODE, SITES("www.test", ""), "", &c, &errors), ERR_OK);
    assert_null(c->geo_database);
    assert_int_equal(c->sites[0].geo, CONFIG_GEO_OFF);
    assert_int_equal(c->sites[0].geo_min_size, LIMIT_GEO_REDIRECT_BYTES);
    assert_false(c->sites[0].geo_credentials);
    buf_release(&errors);
    config_unref(c);
}

static void test_what_is_wrong_is_told(void **state)
{
    static const char region[] = REGIONS, ok_site[] = SITES("www.test", "");
    static const char redirects[] = SITES("www.test, \"*.cdn.test\"", "  geo: redirect\n");
    static const struct {
        const char *node, *sites, *regions, *says;
    } wrong[] = {
        {NODE "geo: {database: none}\n", ok_site, "",
         "edge.yaml:4:17: geo.database: 'none' cannot be read: No such file or directory\n"},
        {NODE "geo: {database: db, regions: nowhere.yaml}\n", ok_site, "",
         "geo.regions: 'nowhere.yaml' cannot be read"},
        {NODE, SITES("www.test", "  geo: header\n"), "",
         "sites.yaml:5:8: sites[0].geo: header needs geo: {database} in the node's file\n"},
        {NODE, redirects, "", "geo: redirect needs geo: {database, regions, here}"},
        {NODE "geo: {database: db, regions: regions.yaml}\n", redirects, region,
         "geo: redirect needs geo: {database, regions, here}"},
        {NODE GEO, SITES("www.test", "  geo: redirect\n"), region, "'fra.cdn.test' is not\n"},
        {NODE GEO, SITES("\"*.cdn.test\"", "  geo: redirect\n"), region,
         "it is a whole name; put '*.cdn.test' behind one\n"},
        {NODE GEO, SITES("www.test", "  geo: everywhere\n"), region,
         "'everywhere' is not known here; write off or header or redirect\n"},
        {NODE "geo: {database: db, regions: regions.yaml, here: sin}\n", ok_site, region,
         "edge.yaml:4:50: geo.here: 'sin' is the name of no region in regions.yaml\n"},
        {NODE GEO, ok_site,
         "regions: [{name: fra, hostname: f.test, latitude: 90.1, longitude: 0}]\n",
         "regions.yaml:1:51: regions[0].latitude: '90.1' is beyond the globe; write -90 to 90\n"},
        {NODE GEO, ok_site,
         "regions: [{name: fra, hostname: f.test, latitude: 0, longitude: -180.5}]\n",
         "'-180.5' is beyond the globe; write -180 to 180\n"},
        {NODE GEO, ok_site,
         "regions: [{name: fra, hostname: f.test, latitude: nan, longitude: 1e2}]\n",
         "'nan' is no number of degrees; write it as 50.11 or -8.68\n"},
        {NODE GEO, ok_site,
         "regions: [{name: fra, hostname: f.test, latitude: 1e1, longitude: 0}]\n",
         "'1e1' is no number of degrees"},
        {NODE GEO, ok_site,
         "regions: [{name: fra, hostname: f.test, latitude: \"1 \", longitude: 0}]\n",
         "'1 ' is no number of degrees"},
        {NODE GEO, ok_site,
         "regions: [{name: fra, hostname: f.test, latitude: 1-1, longitude: 0}]\n",
         "'1-1' is no number of degrees"},
        {NODE GEO, ok_site, "regions: [{name: fra, hostname: f.test, longitude: 0}]\n",
         "regions[0].latitude: is missing"},
        {NODE GEO, ok_site,
         "regions: [{name: fra, hostname: \"f.test/x\", latitude: 0, longitude: 0}]\n",
         "'f.test/x' is no host name"},
        {NODE GEO, ok_site,
         "regions: [{name: fra, hostname: \"[::1]:80\", latitude: 0, longitude: 0}]\n",
         "'[::1]:80' is no host name"},
        {NODE GEO, ok_site,
         "regions: [{name: fra, hostname: f.test, latitude: 0, longitude: 0, addresses: "
         "[f.test]}]\n",
         "'f.test' is no IP address\n"},
        {NODE GEO, ok_site, "regions: []\n", "at least one region"},
        {NODE GEO, ok_site, REGIONS "- {name: fra, hostname: b.test, latitude: 0, longitude: 0}\n",
         "'fra' is the name of another region too\n"},
        {NODE GEO, ok_site,
         REGIONS "- {name: b, hostname: fra.CDN.test, latitude: 0, longitude: 0}\n",
         "'fra.cdn.test' is the hostname of another region too\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct config *c = NULL;
        struct buf errors;

        assert_int_equal(load(wrong[i].node, wrong[i].sites, wrong[i].regions, &c, &errors),
                         ERR_INVALID);
        buf_add_char(&errors, '\0');
        if (strstr(errors.p, wrong[i].says) == NULL)
            fail_msg("wanted: %s\ngot: %s", wrong[i].says, errors.p);
        buf_release(&errors);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, enter_dir, leave_dir)
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_written_is_what_is_read),
        TEST(test_without_a_word_nothing_happens),
        TEST(test_what_is_wrong_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
