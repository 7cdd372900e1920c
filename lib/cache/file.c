/*
 * Files of releases: answered out of what is published here, or by way of the store out of what the
 * publishing node has.
 *
 * A content is an object like others there, under a name made of its hash: one for all sites and
 * releases that have it, purged and evicted as any other, and fetched again.
 */
#include "base/clock.h"
#include "cache/fill.h"
#include "release/manifest.h"

#define FILES_HOST   SLICE("releases.internal")
#define FILES_TARGET "/_selvage/files/"

/* Is it here, whole?  A length that is another is a file of another node's making. */
static bool is_here(struct cache_exchange *x)
{
    const struct cache_file *file = x->rq.file;
    uint64_t bytes;

    return x->worker->files != NULL &&
           files_look(x->worker->files, file->sha256, &bytes) == ERR_OK && bytes == file->bytes;
}

enum err cache_look_file(struct cache_worker *w, const unsigned char *sha256, uint64_t *out_bytes)
{
    return w->files == NULL ? ERR_NOT_FOUND : files_look(w->files, sha256, out_bytes);
}

/* From here on the request is one for the content, whatever name it was asked for by. */
static void fetch(struct cache_exchange *x)
{
    static const struct http_fields none = {0};
    char text[sizeof(FILES_TARGET) + MANIFEST_SHA256_DIGITS] = FILES_TARGET;
    struct slice target;

    manifest_sha256_print(x->rq.file->sha256, text + sizeof(FILES_TARGET) - 1);
    target = arena_dup(x->rq.arena, slice_of(text));
    if (target.p == NULL) {
        answer_error(x, 503, "No room for this request.\n", NULL);
        return;
    }
    x->rq.site = x->rq.file->from;
    x->rq.method = SLICE("GET");
    x->rq.host = FILES_HOST;
    x->rq.target = target;
    x->rq.is_https = true;
    x->rq.fields = &none;
    x->rq.body = (struct slice){0};
    x->rq.has_body = false;
    x->rule = (struct rule_facts){.site = x->rq.site};
    request_facts_read(&x->facts, x->rq.method, x->rq.fields, false);
    /* a hash names one content, before and after every purge */
    x->fence.is_alone = x->fence.is_lagging = false;
    engine_begin(x);
}

void file_begin(struct cache_exchange *x)
{
    const struct cache_file *file = x->rq.file;
    bool is_head = x->facts.method == METHOD_HEAD;

    x->file_head = (struct head){.status = 200, .fields = *file->fields};
    x->file_head.freshness.received = clock_now();
    if (file->bytes == 0 || (is_head && file->bytes != CACHE_BYTES_UNKNOWN) ||
        answer_is_not_modified(x, &x->file_head))
        answer_from_file(x, false);
    else if (is_here(x))
        answer_from_file(x, true);
    else if (file->from != NULL)
        fetch(x);
    else
        answer_error(x, 500, "The content of this file is not here.\n", NULL);
}

void file_failed(struct cache_exchange *x)
{
    struct cache_status status = {.fwd = x->decision.fwd,
                                  .ttl_s = CACHE_STATUS_NO_TTL,
                                  .detail = SLICE("release-incomplete")};

    engine_leave_fill(x);
    answer_error(x, 502, "The node that publishes does not give the content of this file.\n",
                 x->decision.fwd == FWD_NONE ? NULL : &status);
}
