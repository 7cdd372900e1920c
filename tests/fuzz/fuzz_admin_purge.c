/*
 * Any body of POST /purge: it is refused with a sentence that fits, or it gives scopes that
 * purge_append() takes; and what was put into purge form stays so when it is put there again.
 */
#include <stddef.h>
#include <stdint.h>

#include "admin/purge_body.h"
#include "base/check.h"
#include "http/url.h"
#include "purge/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check_scope(const struct purge_scope *s)
{
    struct slice host = purge_host_of(s->text);
    struct buf again;

    CHECK(purge_scope_is_valid(s));
    if (s->kind != PURGE_URL && s->kind != PURGE_PREFIX)
        return;
    buf_init(&again, PURGE_TEXT_BYTES_MAX);
    url_purge_form(host, slice_from(s->text, host.n), &again);
    CHECK(!again.failed);
    CHECK(slice_eq(buf_slice(&again), s->text));
    buf_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct purge_body body;
    struct arena arena;
    struct buf why;
    enum err e;

    arena_init(&arena, NULL, 0, 8 << 20);
    buf_init(&why, 1024);
    e = purge_body_parse((struct slice){(const char *)data, bytes}, &arena, &body, &why);
    CHECK(e == ERR_OK || e == ERR_INVALID || e == ERR_LIMIT);
    CHECK(e != ERR_INVALID || (why.n > 0 && !why.failed));
    if (e == ERR_OK) {
        CHECK(body.count >= 1 && body.count <= PURGE_SCOPES_MAX);
        CHECK(body.id.n <= PURGE_REQUEST_ID_BYTES_MAX);
        for (size_t i = 0; i < body.count; i++)
            check_scope(&body.scopes[i]);
    }
    buf_release(&why);
    arena_release(&arena);
    return 0;
}
