/* multipart/byteranges: texts of our own, and between them ranges of one body. */
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "cache/cache_priv.h"
#include "http/range.h"

enum {
    BOUNDARY_BYTES = 16, /* nobody can guess it, so no body is made to hold it */
    PART_HEAD_BYTES = HTTP_CONTENT_RANGE_BYTES + 128,
};

struct part {
    struct slice text;   /* goes before the bytes */
    uint64_t first, end; /* of the whole body; the last part has none */
};

struct parts {
    size_t count, at;
    size_t text_given;
    struct part item[];
};

static void make_boundary(char out[BOUNDARY_BYTES])
{
    static const char hex[] = "0123456789abcdef";
    uint64_t x;

    digest_random(&x, sizeof(x));
    for (int i = 0; i < BOUNDARY_BYTES; i++, x >>= 4)
        out[i] = hex[x & 15];
}

static struct slice part_head(struct arena *a, const char *boundary, struct slice type,
                              struct http_range r, uint64_t bytes)
{
    char range[HTTP_CONTENT_RANGE_BYTES];
    size_t n = http_content_range_format(r, bytes, range), room = type.n + PART_HEAD_BYTES;
    char *text = arena_alloc(a, room);
    int written;

    if (text == NULL)
        return (struct slice){0};
    written = snprintf(text, room, "\r\n--%.*s\r\n%s%.*s%sContent-Range: %.*s\r\n\r\n",
                       BOUNDARY_BYTES, boundary, type.n > 0 ? "Content-Type: " : "", (int)type.n,
                       type.n > 0 ? type.p : "", type.n > 0 ? "\r\n" : "", (int)n, range);
    return (struct slice){text, (size_t)written};
}

static struct slice print(struct arena *a, const char *before, const char *boundary,
                          const char *after)
{
    size_t room = strlen(before) + BOUNDARY_BYTES + strlen(after) + 1;
    char *text = arena_alloc(a, room);

    if (text == NULL)
        return (struct slice){0};
    return (struct slice){
        text, (size_t)snprintf(text, room, "%s%.*s%s", before, BOUNDARY_BYTES, boundary, after)};
}

struct parts *parts_new(struct arena *a, const struct http_range *range, size_t count,
                        uint64_t bytes, struct slice part_type, struct slice *type,
                        uint64_t *out_bytes)
{
    struct parts *p = arena_zalloc(a, sizeof(*p) + (count + 1) * sizeof(p->item[0]));
    char boundary[BOUNDARY_BYTES];
    bool ok = p != NULL;

    if (!ok)
        return NULL;
    make_boundary(boundary);
    *type = print(a, "multipart/byteranges; boundary=", boundary, "");
    p->count = count + 1;
    p->item[count].text = print(a, "\r\n--", boundary, "--\r\n");
    ok = type->p != NULL && p->item[count].text.p != NULL;
    *out_bytes = p->item[count].text.n;
    for (size_t i = 0; ok && i < count; i++) {
        p->item[i] = (struct part){part_head(a, boundary, part_type, range[i], bytes),
                                   range[i].first, range[i].last + 1};
        ok = p->item[i].text.p != NULL;
        *out_bytes += p->item[i].text.n + p->item[i].end - p->item[i].first;
    }
    return ok ? p : NULL;
}

static enum cache_body give_text(struct cache_exchange *x, size_t max, struct cache_piece *out)
{
    struct parts *p = x->parts;
    const struct part *part = &p->item[p->at];
    size_t left = part->text.n - p->text_given, n = left < max ? left : max;
    struct block *b = block_new(n);

    if (b == NULL)
        return CACHE_BODY_BROKEN;
    memcpy(b->data, part->text.p + p->text_given, n);
    *out = (struct cache_piece){.block = b, .p = b->data, .n = n};
    p->text_given += n;
    if (p->text_given < part->text.n)
        return CACHE_BODY_MORE;
    x->at = part->first;
    x->end = part->end;
    return p->at + 1 == p->count ? CACHE_BODY_END : CACHE_BODY_MORE;
}

enum cache_body parts_next(struct cache_exchange *x, size_t max, struct cache_piece *out)
{
    struct parts *p = x->parts;
    enum cache_body b;

    if (p->text_given < p->item[p->at].text.n)
        return give_text(x, max, out);
    if (p->at + 1 == p->count)
        return CACHE_BODY_END;
    b = body_next_of_source(x, max, out);
    if (b != CACHE_BODY_END)
        return b;
    p->at++;
    p->text_given = 0;
    return CACHE_BODY_MORE;
}
