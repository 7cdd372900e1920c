/*
 * Input: a Dictionary.  Reading goes forward and ends; every member lies in the input and has a
 * key; a good field stays good with one more member behind it, and turns bad with a comma.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/check.h"
#include "http/fields.h"
#include "http/sfield.h"

enum { INPUT_BYTES_MAX = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check_member(const struct sfield_member *m, struct slice text)
{
    CHECK(m->key.n > 0 && m->key.p >= text.p && m->key.p + m->key.n <= text.p + text.n);
    CHECK(http_is_token(m->key));
    CHECK(m->text.n == 0 || (m->text.p > m->key.p && m->text.p + m->text.n <= text.p + text.n));
    if (m->type == SFIELD_BOOLEAN)
        CHECK(m->integer == 0 || m->integer == 1);
    if (m->type == SFIELD_INTEGER || m->type == SFIELD_DATE)
        CHECK(m->integer <= INT64_C(999999999999999) && m->integer >= -INT64_C(999999999999999));
    if (m->type == SFIELD_TOKEN)
        CHECK(m->text.n > 0);
}

static size_t read_all(struct slice text, bool *bad)
{
    struct slice rest = text;
    struct sfield_member m;
    size_t count = 0, left = text.n;

    *bad = false;
    while (sfield_dictionary_next(&rest, &m, bad)) {
        CHECK(rest.n < left);
        left = rest.n;
        check_member(&m, text);
        count++;
    }
    CHECK(*bad || rest.n == 0);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct slice text = {(const char *)data, bytes};
    struct buf more;
    size_t count;
    bool bad;

    if (bytes > INPUT_BYTES_MAX)
        return 0;
    count = read_all(text, &bad);
    if (bad || count == 0)
        return 0;
    buf_init(&more, INPUT_BYTES_MAX + 16);
    buf_add(&more, text);
    buf_add(&more, SLICE(" ,\t"));
    CHECK(!more.failed);
    read_all(buf_slice(&more), &bad);
    CHECK(bad);
    buf_add(&more, SLICE("zz=\"1\\\\\";a"));
    CHECK(read_all(buf_slice(&more), &bad) == count + 1 && !bad);
    buf_release(&more);
    return 0;
}
