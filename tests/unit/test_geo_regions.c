/* Unit tests of regions: the nearest, whether it is worth it, the URL there, and drains. */
#include "geo_file.h"

#include <math.h>

#include "geo/fields.h"
#include "geo/regions.h"

static struct arena arena;

static int open_arena(void **state)
{
    (void)state;
    arena_init(&arena, NULL, 0, 1 << 20);
    return 0;
}

static int close_arena(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static const struct geo_region world[] = {
    {.name = "fra", .hostname = "fra.test", .latitude = 50.11, .longitude = 8.68},
    {.name = "iad", .hostname = "iad.test", .latitude = 39.04, .longitude = -77.49},
    {.name = "sin", .hostname = "sin.test", .latitude = 1.35, .longitude = 103.82},
    {.name = "syd", .hostname = "syd.test", .latitude = -33.87, .longitude = 151.21},
    {.name = "gru", .hostname = "gru.test", .latitude = -23.55, .longitude = -46.63},
    {.name = "suv", .hostname = "suv.test", .latitude = -17.7, .longitude = 178.07},
};
enum { WORLD = sizeof(world) / sizeof(world[0]) };

/* The angle between vectors, which shares nothing with haversines. */
static double other_km(double lat_a, double lon_a, double lat_b, double lon_b)
{
    const double d = M_PI / 180;
    double a[3] = {cos(lat_a * d) * cos(lon_a * d), cos(lat_a * d) * sin(lon_a * d),
                   sin(lat_a * d)};
    double b[3] = {cos(lat_b * d) * cos(lon_b * d), cos(lat_b * d) * sin(lon_b * d),
                   sin(lat_b * d)};
    double x = a[1] * b[2] - a[2] * b[1], y = a[2] * b[0] - a[0] * b[2],
           z = a[0] * b[1] - a[1] * b[0];

    return 6371 * atan2(sqrt(x * x + y * y + z * z), a[0] * b[0] + a[1] * b[1] + a[2] * b[2]);
}

static void test_distances_that_are_known(void **state)
{
    (void)state;
    assert_true(fabs(geo_distance_km(0, 0, 0, 180) - M_PI * 6371) < 0.001);
    assert_true(fabs(geo_distance_km(90, 17, -90, -99) - M_PI * 6371) < 0.001);
    assert_true(fabs(geo_distance_km(0, 179.5, 0, -179.5) - 111.195) < 0.01);
    assert_true(geo_distance_km(50.11, 8.68, 50.11, 8.68) == 0);
    /* Johannesburg is nearer to Singapore than to Frankfurt, by 40 km of 8,700 */
    assert_true(geo_distance_km(-26.2041, 28.0473, 1.3521, 103.8198) <
                geo_distance_km(-26.2041, 28.0473, 50.1109, 8.6821));
}

static void test_ten_thousand_points_reach_the_region_of_another_calculation(void **state)
{
    unsigned seen[WORLD] = {0};

    (void)state;
    srand48(1);
    for (int i = 0; i < 10000; i++) {
        double lat = asin(2 * drand48() - 1) * 180 / M_PI, lon = drand48() * 360 - 180, km, want_km;
        size_t got = geo_nearest(world, WORLD, NULL, lat, lon, &km), want = 0;

        for (size_t j = 1; j < WORLD; j++)
            if (other_km(lat, lon, world[j].latitude, world[j].longitude) <
                other_km(lat, lon, world[want].latitude, world[want].longitude))
                want = j;
        want_km = other_km(lat, lon, world[want].latitude, world[want].longitude);
        assert_int_equal(got, want);
        assert_true(fabs(km - want_km) < 0.001);
        seen[got]++;
    }
    for (size_t j = 0; j < WORLD; j++)
        assert_true(seen[j] > 100);
}

static void test_the_date_line_is_no_border(void **state)
{
    double km;

    (void)state;
    assert_string_equal(world[geo_nearest(world, WORLD, NULL, -13.76, -172.1, &km)].name, "suv");
}

static void test_who_is_drained_is_nobodys_nearest(void **state)
{
    struct geo_region two[] = {world[0], world[1]};
    double km;

    (void)state;
    two[0].drained = true;
    assert_int_equal(geo_nearest(two, 2, NULL, 50, 8, &km), 1);
    two[1].drained = true;
    assert_true(geo_nearest(two, 2, NULL, 50, 8, &km) == SIZE_MAX);
    assert_true(geo_nearest(two, 0, NULL, 50, 8, &km) == SIZE_MAX);
}

static void test_only_a_clear_difference_is_worth_it(void **state)
{
    (void)state;
    assert_true(geo_is_worth(10000, 100));
    assert_true(geo_is_worth(2600, 1550));
    assert_false(geo_is_worth(2600, 1570)); /* 0.6 */
    assert_false(geo_is_worth(1100, 100));  /* 1000 km */
    assert_true(geo_is_worth(1101, 100));
    assert_false(geo_is_worth(100, 10000));
    assert_false(geo_is_worth(0, 0));
}

static void test_a_location_is_the_hostname_and_the_target(void **state)
{
    static const char *const good[] = {"/",         "/a?b=c", "/%0d%0aX:y", "/a//b",
                                       "/..//evil", "/@evil", "/a:80",      "/;x?//evil"};
    static const char *const bad[] = {"",        "//evil",  "*",       "evil",     "http://evil/",
                                      "/a\r\nb", "/a b",    "/\\evil", "/a\\b",    "/\x7f",
                                      "/\xc3",   "/<x>",    "/\"",     "/a#b",     "/a\tb",
                                      "@evil/",  ".evil/x", ":80/",    "/a\nX: y", "/{x}"};

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        char want[128];

        snprintf(want, sizeof(want), "https://sin.test:8443%s", good[i]);
        assert_string_equal(geo_location("sin.test:8443", slice_of(good[i]), &arena).p, want);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_null(geo_location("sin.test", slice_of(bad[i]), &arena).p);
    assert_null(geo_location("sin.test", (struct slice){"/a\0b", 4}, &arena).p);
}

/* ---- drains ---- */

static struct geo_drains *open_drains(const char *path)
{
    struct geo_drains *d = NULL;
    struct buf why;

    buf_init(&why, 4096);
    if (geo_drains_open(path, &d, &why) != ERR_OK)
        fail_msg("%.*s", (int)why.n, why.p);
    buf_release(&why);
    return d;
}

static void test_drains_outlive_the_process(void **state)
{
    struct geo_drains *d = open_drains(geo_bad);
    double km;

    (void)state;
    assert_false(geo_drains_has(d, "fra"));
    assert_int_equal(geo_drains_set(d, "fra", true), ERR_OK);
    assert_int_equal(geo_drains_set(d, "sin", true), ERR_OK);
    assert_int_equal(geo_drains_set(d, "fra", true), ERR_OK);
    assert_int_equal(geo_nearest(world, WORLD, d, 50, 8, &km), 1);
    geo_drains_free(d);
    d = open_drains(geo_bad);
    assert_true(geo_drains_has(d, "fra") && geo_drains_has(d, "sin") && !geo_drains_has(d, "fr"));
    assert_int_equal(geo_drains_set(d, "fra", false), ERR_OK);
    assert_false(geo_drains_has(d, "fra"));
    geo_drains_free(d);
    d = open_drains(geo_bad);
    assert_true(!geo_drains_has(d, "fra") && geo_drains_has(d, "sin"));
    assert_int_equal(geo_drains_set(d, "sin", false), ERR_OK);
    geo_drains_free(d);
    unlink(geo_bad);
}

static void test_a_drain_that_is_not_on_the_disk_is_none(void **state)
{
    struct geo_drains *d = open_drains("/nonexistent/drains");

    (void)state;
    assert_int_equal(geo_drains_set(d, "fra", true), ERR_IO);
    assert_false(geo_drains_has(d, "fra"));
    geo_drains_free(d);
}

static void test_drains_have_limits(void **state)
{
    struct geo_drains *d = open_drains(geo_bad);
    struct buf why;
    char name[80];

    (void)state;
    memset(name, 'a', sizeof(name));
    name[79] = '\0';
    assert_int_equal(geo_drains_set(d, name, true), ERR_INVALID);
    geo_drains_free(d);
    buf_init(&why, 4096);
    assert_int_equal(file_write_atomic(geo_bad, slice_of(name)), ERR_OK);
    assert_int_equal(geo_drains_open(geo_bad, &d, &why), ERR_INVALID);
    assert_true(why.n > 0);
    buf_release(&why);
    unlink(geo_bad);
}

/* ---- fields ---- */

static void add(struct http_fields *f, const char *name, const char *value)
{
    assert_int_equal(http_fields_add(f, &arena, 100, slice_of(name), slice_of(value)), ERR_OK);
}

static void test_fields_are_ours_alone(void **state)
{
    struct http_fields f = {0};
    struct geo_place place = {.country = site_country_find(SLICE("DE"))};

    (void)state;
    add(&f, "x-geo-country", "US");
    add(&f, "accept", "*/*");
    add(&f, "x_geo-city", "Nowhere");
    add(&f, "x-geo_country", "US");
    add(&f, "x-geometry", "round");
    assert_int_equal(geo_fields_set(&f, &arena, 100, &place), ERR_OK);
    assert_int_equal(f.count, 4);
    assert_true(slice_eq(f.item[1].name, SLICE("x-geometry")));
    assert_true(slice_eq(http_fields_value(&f, SLICE("x-geo-country")), SLICE("DE")));
    assert_true(slice_eq(http_fields_value(&f, SLICE("x-geo-continent")), SLICE("EU")));
    assert_int_equal(geo_fields_set(&f, &arena, 100, NULL), ERR_OK);
    assert_int_equal(f.count, 2);
    place.country = NULL;
    assert_int_equal(geo_fields_set(&f, &arena, 100, &place), ERR_OK);
    assert_int_equal(f.count, 2);
}

static void test_a_node_of_ours_is_believed_if_it_names_a_country(void **state)
{
    static const char *const said[] = {"SG", "sg", "XX", "DE, US", ""};

    (void)state;
    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
        struct http_fields f = {0};

        add(&f, "x-geo-country", said[i]);
        add(&f, "x-geo-continent", "EU");
        assert_int_equal(geo_fields_keep(&f, &arena, 100), ERR_OK);
        assert_int_equal(f.count, i == 0 ? 2 : 0);
        if (i == 0)
            assert_true(slice_eq(http_fields_value(&f, SLICE("x-geo-continent")), SLICE("AS")));
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_arena, close_arena)
    const struct CMUnitTest tests[] = {
        TEST(test_distances_that_are_known),
        TEST(test_ten_thousand_points_reach_the_region_of_another_calculation),
        TEST(test_the_date_line_is_no_border),
        TEST(test_who_is_drained_is_nobodys_nearest),
        TEST(test_only_a_clear_difference_is_worth_it),
        TEST(test_a_location_is_the_hostname_and_the_target),
        TEST(test_drains_outlive_the_process),
        TEST(test_a_drain_that_is_not_on_the_disk_is_none),
        TEST(test_drains_have_limits),
        TEST(test_fields_are_ours_alone),
        TEST(test_a_node_of_ours_is_believed_if_it_names_a_country),
    };

    return cmocka_run_group_tests(tests, geo_files_make, geo_files_remove);
}
