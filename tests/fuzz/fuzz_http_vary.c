/*
 * Input: lines of a message, whose Vary lines are a response's and whose others are a request's.
 * The list is sorted, each name once, and its own list; the order of preferences, and how a list
 * is divided into lines, select nothing; absent differs from empty.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "http/vary.h"
#include "http_lines.h"

enum { INPUT_BYTES_MAX = 8192, ARENA_BYTES_MAX = 4 << 20, TEXT_BYTES_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static bool is_in_order(struct slice a, struct slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = memcmp(a.p, b.p, n);

    return order < 0 || (order == 0 && a.n < b.n);
}

static size_t check_list(struct slice list, struct arena *a)
{
    struct http_fields own = {0};
    struct slice rest = list, name, last = {0}, again;
    size_t names = 0;
    bool star;

    for (; http_list_next(&rest, &name, NULL); last = name, names++) {
        CHECK(http_is_token(name) && !slice_eq(name, SLICE("*")));
        CHECK(names == 0 || is_in_order(last, name));
    }
    add_line(&own, a, SLICE("vary"), list);
    CHECK(vary_list(&own, a, &again, &star) == ERR_OK && !star && slice_eq(list, again));
    return names;
}

static void select_by(struct slice list, const struct http_fields *f, struct buf *out)
{
    buf_init(out, TEXT_BYTES_MAX);
    vary_selecting_text(list, f, out);
    CHECK(!out->failed);
}

static void check_same(struct slice list, const struct http_fields *f, const struct http_fields *g)
{
    struct buf x, y;

    select_by(list, f, &x);
    select_by(list, g, &y);
    CHECK(slice_eq(buf_slice(&x), buf_slice(&y)));
    buf_release(&x);
    buf_release(&y);
}

/* The members of all preference fields as lines of their own, the last one first. */
static void turn_round(const struct http_fields *f, struct arena *a, struct http_fields *out)
{
    struct slice member[HTTP_LINES_MAX];
    struct slice names[] = {SLICE("accept-language"), SLICE("accept-encoding"), SLICE("accept")};

    for (size_t i = 0; i < 3; i++) {
        const struct http_field *at = http_fields_find(f, names[i]);
        bool is_there = at != NULL;
        size_t count = 0;

        for (; at != NULL; at = http_fields_next(f, at)) {
            struct slice rest = at->value;

            while (count < HTTP_LINES_MAX && http_list_next(&rest, &member[count], NULL))
                count++;
        }
        if (is_there && count == 0)
            add_line(out, a, names[i], SLICE(""));
        while (count > 0)
            add_line(out, a, names[i], member[--count]);
    }
}

static void check_preferences(const struct http_fields *f, struct arena *a)
{
    struct http_fields turned = {0};
    size_t members = 0;

    for (size_t i = 0; i < f->count; i++)
        for (size_t j = 0; j < f->item[i].value.n; j++)
            members += f->item[i].value.p[j] == ',';
    turn_round(f, a, &turned);
    if (members + f->count < HTTP_LINES_MAX && turned.count < HTTP_LINES_MAX)
        check_same(SLICE("accept,accept-encoding,accept-language"), f, &turned);
}

static void check_absent(struct slice name, const struct http_fields *f, struct arena *a)
{
    struct http_fields none = {0}, empty = {0};
    struct buf x, y, z;

    add_line(&empty, a, name, SLICE(""));
    select_by(name, &none, &x);
    select_by(name, &empty, &y);
    select_by(name, f, &z);
    CHECK(!slice_eq(buf_slice(&x), buf_slice(&y)));
    CHECK(slice_eq(buf_slice(&x), buf_slice(&z)) == (http_fields_find(f, name) == NULL));
    buf_release(&x);
    buf_release(&y);
    buf_release(&z);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct slice list, rest, name;
    struct http_fields f = {0};
    size_t names, lines = 0;
    struct arena a;
    struct buf text;
    enum err e;
    bool star;

    if (bytes > INPUT_BYTES_MAX)
        return 0;
    arena_init(&a, NULL, 0, ARENA_BYTES_MAX);
    read_lines((struct slice){(const char *)data, bytes}, &a, &f);
    e = vary_list(&f, &a, &list, &star);
    CHECK(e == ERR_OK || e == ERR_INVALID);
    CHECK(e != ERR_OK || star == http_fields_has_token(&f, SLICE("vary"), SLICE("*")));
    if (e == ERR_OK) {
        names = check_list(list, &a);
        select_by(list, &f, &text);
        for (size_t i = 0; i < text.n; i++)
            lines += text.p[i] == '\n';
        CHECK(lines == names);
        buf_release(&text);
        for (rest = list; http_list_next(&rest, &name, NULL);)
            check_absent(name, &f, &a);
        check_preferences(&f, &a);
    }
    arena_release(&a);
    return 0;
}
