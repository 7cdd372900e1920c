/*
 * Input: lines of a message.  Members of lists are trimmed and not empty, and a list of them reads
 * the same; nothing that Connection nominated survives, and what survives kept its order.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"
#include "http_lines.h"

enum { INPUT_BYTES_MAX = 8192, ARENA_BYTES_MAX = 4 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check_list(struct slice value)
{
    struct slice rest = value, member, again;
    bool bad = false, bad_again = false;
    size_t members = 0, seen = 0;
    struct buf joined;

    buf_init(&joined, 3 * INPUT_BYTES_MAX);
    while (http_list_next(&rest, &member, &bad)) {
        CHECK(member.n > 0 && slice_eq(slice_trim(member), member));
        buf_add(&joined, members++ == 0 ? SLICE(", ,") : SLICE("\t, "));
        buf_add(&joined, member);
    }
    CHECK(rest.n == 0 && !joined.failed);
    for (rest = buf_slice(&joined); http_list_next(&rest, &again, &bad_again);)
        seen++;
    CHECK(seen == members && bad == bad_again);
    buf_release(&joined);
}

static void check_removal(struct http_fields *f, struct arena *a)
{
    struct http_field before[HTTP_LINES_MAX];
    struct http_fields connection = {0};
    size_t count = f->count, j = 0;

    for (size_t i = 0; i < count; i++) {
        before[i] = f->item[i];
        if (slice_eq(before[i].name, SLICE("connection")))
            add_line(&connection, a, before[i].name, before[i].value);
    }
    http_fields_remove_hop_by_hop(f);
    for (size_t i = 0; i < f->count; i++, j++) {
        while (j < count && before[j].value.p != f->item[i].value.p)
            j++;
        CHECK(j < count && slice_eq(before[j].name, f->item[i].name));
        CHECK(!slice_eq(f->item[i].name, SLICE("transfer-encoding")));
        CHECK(!http_fields_has_token(&connection, SLICE("connection"), f->item[i].name));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct slice text = {(const char *)data, bytes}, name, joined;
    struct http_fields f = {0};
    struct arena a;

    if (bytes > INPUT_BYTES_MAX)
        return 0;
    arena_init(&a, NULL, 0, ARENA_BYTES_MAX);
    check_list(text);
    CHECK(!http_is_token(text) || http_is_field_value(text));
    read_lines(text, &a, &f);
    for (size_t i = 0; i < f.count; i++) {
        check_list(f.item[i].value);
        joined = http_fields_joined(&f, &a, f.item[i].name);
        CHECK(joined.p != NULL && joined.n >= f.item[i].value.n);
    }
    check_removal(&f, &a);
    if (f.count > 0) {
        name = f.item[0].name;
        CHECK(http_fields_remove(&f, name) > 0 && http_fields_find(&f, name) == NULL);
    }
    arena_release(&a);
    return 0;
}
