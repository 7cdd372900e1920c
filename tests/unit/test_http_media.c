/* Content types beside what a path's extension promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/media.h"

static void test_which_types_fit_which_paths(void **state)
{
    static const struct {
        const char *path, *type;
        bool fits;
    } row[] = {
        {"/a.css", "text/css", true},
        {"/a.css", "text/css; charset=utf-8", true},
        {"/a.css", "Text/CSS", true},
        {"/a.css", "text/html", false},
        {"/account/x.css", "text/html; charset=utf-8", false},
        {"/account/x.CSS", "text/html", false},
        {"/account;x.css", "text/html", false},
        {"/account%2Fx.css", "text/html", false},
        {"/account%00.css", "text/html", false},
        {"/account/x%2Ecss", "text/html", false},
        {"/account/x%2ecss", "text/html", false},
        {"/account/.css", "text/html", false},
        {"/account/x.js", "application/json", false},
        {"/a.js", "application/javascript", true},
        {"/a.js", "text/javascript", true},
        {"/a.js", "text/plain", true},
        {"/a.png", "image/webp", true}, /* what an image service made of it */
        {"/a.png", "text/html", false},
        {"/a.png", "text/plain", false},
        {"/a.png", "application/json", false},
        {"/a.woff2", "font/woff2", true},
        {"/a.woff2", "application/font-woff2", true},
        {"/a.mp4", "video/mp4", true},
        {"/a.mp4", "text/html", false},
        {"/a.zip", "application/x-zip-compressed", true},
        {"/a.zip", "text/html", false},
        {"/a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
         true},
        {"/a.pdf", "application/pdf", true},
        {"/a.pdf", "text/html", false},
        {"/a.txt", "text/plain", true},
        {"/a.css", "application/octet-stream", true},
        {"/a.css", "", true},
        {"/a.css", "nonsense", false},
        {"/a.html", "text/html", true},
        {"/a.php", "text/html", true},
        {"/a", "text/html", true},
        {"/a.", "text/html", true},
        {"/", "text/html", true},
        {"", "text/html", true},
        {"/css", "text/html", true},
        {"/a.css/", "text/html", true},
        {"/a.css/b", "text/html", true},
        {"/v1.2", "text/html", true},
        {"css", "text/html", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++)
        if (http_type_fits_path(slice_of(row[i].path), slice_of(row[i].type)) != row[i].fits)
            fail_msg("%s as %s: %d", row[i].path, row[i].type, !row[i].fits);
    assert_true(http_type_fits_path(SLICE("/a.css"), (struct slice){0}));
}

static void test_a_type_beyond_measure_fits_nothing(void **state)
{
    static char type[400];

    (void)state;
    for (size_t i = 0; i < sizeof(type) - 1; i++)
        type[i] = 'a';
    assert_false(http_type_fits_path(SLICE("/a.css"), slice_of(type)));
    assert_true(http_type_fits_path(SLICE("/a"), slice_of(type)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_which_types_fit_which_paths),
        cmocka_unit_test(test_a_type_beyond_measure_fits_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
