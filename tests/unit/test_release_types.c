/* Unit tests of content types: what browsers must be told, and what nobody knows. */
#include "release_dir.h"

#include "release/types.h"

static void test_by_extension(void **state)
{
    static const char *const known[][2] = {
        {"index.html", "text/html"},
        {"a/b/app.js", "text/javascript"},
        {"app.mjs", "text/javascript"},
        {"STYLE.CSS", "text/css"},
        {"x.svg", "image/svg+xml"},
        {"x.woff2", "font/woff2"},
        {"x.wasm", "application/wasm"},
        {"app.js.map", "application/json"},
        {"site.webmanifest", "application/manifest+json"},
        {"favicon.ico", "image/vnd.microsoft.icon"},
        {"x.avif", "image/avif"},
        {"x.webp", "image/webp"},
        {"x.jpeg", "image/jpeg"},
        {"x.png", "image/png"},
        {"x.pdf", "application/pdf"},
        {"x.xml", "application/xml"},
        {"x.mp4", "video/mp4"},
        {"a.tar.gz", "application/x-compressed-tar"},
        {"a.unknown.gz", "application/gzip"},
        {"v1.2.txt", "text/plain"},
        {"folder.js/file", "application/octet-stream"},
        {"README", "application/octet-stream"},
        {".htaccess", "application/octet-stream"},
        {"x.", "application/octet-stream"},
        {"", "application/octet-stream"},
        {"x.thisextensionislongerthananythingthatisknown", "application/octet-stream"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(types_of_path(slice_of(known[i][0])), known[i][1]) != 0)
            fail_msg("%s: %s", known[i][0], types_of_path(slice_of(known[i][0])));
}

static void test_the_table_is_sorted(void **state)
{
    static const struct {
        const char *extension, *type;
    } all[] = {
#include "release/types.inc"
    };

    (void)state;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        char name[64];

        assert_true(i == 0 || strcmp(all[i - 1].extension, all[i].extension) < 0);
        snprintf(name, sizeof(name), "x.%s", all[i].extension);
        assert_string_equal(types_of_path(slice_of(name)), all[i].type);
    }
}

static void test_charset(void **state)
{
    (void)state;
    assert_true(types_wants_charset("text/html"));
    assert_true(types_wants_charset("text/javascript"));
    assert_false(types_wants_charset("application/json"));
    assert_false(types_wants_charset("image/svg+xml"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_extension),
        cmocka_unit_test(test_the_table_is_sorted),
        cmocka_unit_test(test_charset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
