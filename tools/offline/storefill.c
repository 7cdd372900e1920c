/*
 * storefill: fill the store of a node that does not run, for tests of size.
 *
 *   storefill --host HOST [--site NAME] [--count N] [--from N] [--bytes N] DIRECTORY
 *
 * DIRECTORY is store.directory of the node, made when missing.  Objects `from` to `from` + `count`
 * - 1 are https://HOST/o/NUMBER, as if an origin had answered each with `bytes` bytes and
 * max-age=31536000.  Bodies begin with the number, and a newline; the rest is 'x'.  What goes into
 * the store is decided and written by the engine's own functions.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/limits.h"
#include "cache/decide_response.h"
#include "cache/head.h"
#include "cache/judge.h"
#include "cache/variant.h"
#include "purge/purge.h"
#include "site/site.h"
#include "store/store.h"

enum { PATH_BYTES_MAX = 4096, TARGET_TEXT_BYTES = 32, ARENA_BYTES = 65536, FLUSH_EVERY = 10000 };

struct options {
    const char *host, *site, *dir;
    uint64_t count, from, bytes, size;
};

struct filler {
    const struct options *o;
    struct site site;
    struct purge *purge;
    struct store *store;
    struct block *body; /* of one object; the number is written into a copy */
    _Atomic uint64_t stored, failed;
};

static void fail(const char *what, enum err e)
{
    fprintf(stderr, "storefill: %s: %s%s%s\n", what, err_name(e), e == ERR_IO ? ": " : "",
            e == ERR_IO ? strerror(errno) : "");
    exit(1);
}

static uint64_t number(const char *text)
{
    char *end;
    unsigned long long v = strtoull(text, &end, 10);

    if (*text < '0' || *text > '9' || *end != '\0') {
        fprintf(stderr, "storefill: '%s' is no number\n", text);
        exit(2);
    }
    return v;
}

static void print_usage(FILE *to)
{
    fputs("usage: storefill --host HOST [--site NAME] [--count N] [--from N] [--bytes N] [--size "
          "BYTES] "
          "DIRECTORY\n",
          to);
}

static struct options read_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"host", required_argument, NULL, 'h'},  {"site", required_argument, NULL, 's'},
        {"count", required_argument, NULL, 'c'}, {"from", required_argument, NULL, 'f'},
        {"bytes", required_argument, NULL, 'b'}, {"size", required_argument, NULL, 'z'},
        {"help", no_argument, NULL, '?'},        {NULL, 0, NULL, 0},
    };
    struct options o = {.site = "www", .count = 1000, .bytes = 1024, .size = 16 * GIB};
    int c;

    while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (c) {
        case 'h':
            o.host = optarg;
            break;
        case 's':
            o.site = optarg;
            break;
        case 'c':
            o.count = number(optarg);
            break;
        case 'f':
            o.from = number(optarg);
            break;
        case 'b':
            o.bytes = number(optarg);
            break;
        case 'z':
            o.size = number(optarg);
            break;
        default:
            print_usage(optopt == 0 ? stdout : stderr);
            exit(optopt == 0 ? 0 : 2);
        }
    }
    if (o.host == NULL || optind + 1 != argc) {
        print_usage(stderr);
        exit(2);
    }
    o.dir = argv[optind];
    return o;
}

/* As the server opens them: ctl first, since it judges what the store holds. */
static void open_disk(struct filler *f)
{
    char path[PATH_BYTES_MAX];
    const char *emptied;
    struct store_options opt = {.dir = path, .bytes_max = f->o->size, .merge = variant_merge};
    enum err e = file_make_dir(f->o->dir);

    if (e != ERR_OK)
        fail(f->o->dir, e);
    if (snprintf(path, sizeof(path), "%s/store-0", f->o->dir) >= (int)sizeof(path))
        fail(f->o->dir, ERR_LIMIT);
    snprintf(path, sizeof(path), "%s/ctl", f->o->dir);
    e = purge_open(path, &f->purge);
    if (e != ERR_OK)
        fail(path, e);
    snprintf(path, sizeof(path), "%s/store-0", f->o->dir);
    opt.boot = purge_boot(f->purge);
    opt.ctl_id = purge_ctl_id(f->purge);
    opt.head = purge_head(f->purge);
    opt.judge = cache_judge(f->purge);
    e = store_open(&opt, &f->store, &emptied);
    if (e != ERR_OK)
        fail(path, e);
    if (emptied != NULL)
        fprintf(stderr, "storefill: begun anew: %s\n", emptied);
}

/* The head of what an origin said, as decided. */
static enum err make_head(const struct filler *f, struct slice host, struct slice target,
                          struct arena *a, struct buf *out)
{
    static const struct stored_facts nothing = {0};
    struct http_fields fields = {0}, request = {0};
    struct request_facts asked;
    struct rule_facts rule = {.site = &f->site};
    struct response_facts facts;
    struct response_decision d;
    struct response_case c = {.request = &asked,
                              .stored = &nothing,
                              .rule = &rule,
                              .response = &facts,
                              .alone = true,
                              .now = clock_now()};
    struct head h = {.status = 200};

    if (http_fields_add(&fields, a, 8, SLICE("content-type"), SLICE("application/octet-stream")) !=
            ERR_OK ||
        http_fields_add(&fields, a, 8, SLICE("cache-control"), SLICE("max-age=31536000")) !=
            ERR_OK ||
        http_fields_add(&fields, a, 8, SLICE("etag"), SLICE("\"storefill\"")) != ERR_OK)
        return ERR_LIMIT;
    request_facts_read(&asked, SLICE("GET"), &request, false);
    response_facts_read(&facts, c.rule->site, 200, &fields, false, host, target, c.now, 0);
    decide_response(&c, &d);
    if (d.action != RESPONSE_STORE)
        return ERR_INVALID;
    h.freshness = d.freshness;
    h.no_cache = d.no_cache;
    h.forbids_stale = d.forbids_stale;
    h.is_immutable = d.is_immutable;
    h.lifetime_by = d.lifetime_by;
    h.fields = fields;
    head_encode(&h, clock_boot(), out);
    return out->failed ? ERR_LIMIT : ERR_OK;
}

static void on_done(void *user, enum err e)
{
    struct filler *f = user;

    /* relaxed: read after store_flush(), which orders */
    atomic_fetch_add_explicit(e == ERR_OK ? &f->stored : &f->failed, 1, memory_order_relaxed);
}

static void on_committed(void *user, uint64_t body_bytes)
{
    (void)user;
    (void)body_bytes;
}

/* Begin, waiting for the writer when its queue is full. */
static struct store_put *begin(struct filler *f)
{
    static const struct store_put_events events = {.committed = on_committed, .done = on_done};
    struct store_put *p;
    enum err e = store_put_begin(f->store, &events, f, &p);

    if (e == ERR_LIMIT) {
        store_flush(f->store);
        e = store_put_begin(f->store, &events, f, &p);
    }
    if (e != ERR_OK)
        fail("the store takes nothing", e);
    return p;
}

/* The body in chunks that share one block, but for the first, which has the number in it. */
static void put_chunks(struct filler *f, struct store_put *p, const char *start, size_t start_bytes)
{
    for (uint64_t at = 0; at < f->o->bytes;) {
        uint64_t left = f->o->bytes - at;
        size_t n = left < LIMIT_CHUNK_BYTES ? (size_t)left : LIMIT_CHUNK_BYTES;
        struct block *b = f->body;

        if (at == 0) {
            b = block_new(n);
            if (b == NULL)
                fail("a chunk", ERR_NOMEM);
            memset(b->data, 'x', n);
            memcpy(b->data, start, start_bytes < n ? start_bytes : n);
        } else {
            block_ref(b);
        }
        store_put_chunk(p, &(struct store_piece){.block = b, .p = b->data, .n = n}, 1);
        block_unref(b);
        at += n;
    }
}

static void put_object(struct filler *f, uint64_t i)
{
    char memory[8192], target_text[TARGET_TEXT_BYTES], body[LIMIT_INLINE_BODY_BYTES];
    struct arena a;
    struct buf head;
    struct slice host = slice_of(f->o->host), target;
    struct store_record rec = {.stamp = {.birth = purge_head(f->purge), .site = f->site.id}};
    struct store_put *p;
    size_t n;
    enum err e;

    arena_init(&a, memory, sizeof(memory), ARENA_BYTES);
    buf_init(&head, LIMIT_RECORD_BYTES);
    target = (struct slice){target_text,
                            (size_t)snprintf(target_text, sizeof(target_text), "/o/%" PRIu64, i)};
    rec.key = (struct store_key){.host = host, .text = site_key(&f->site, true, host, target, &a)};
    rec.stamp.purge_url = site_purge_url(&f->site, host, target, &a);
    e = make_head(f, host, target, &a, &head);
    if (e == ERR_OK && (rec.key.text.p == NULL || rec.stamp.purge_url.p == NULL))
        e = ERR_LIMIT;
    if (e != ERR_OK)
        fail("an object", e);
    rec.head = buf_slice(&head);
    memset(body, 'x', sizeof(body));
    n = (size_t)snprintf(body, sizeof(body), "%" PRIu64 "\n", i);
    body[n] = 'x';
    p = begin(f);
    if (f->o->bytes <= LIMIT_INLINE_BODY_BYTES)
        rec.body = (struct slice){body, (size_t)f->o->bytes};
    else
        put_chunks(f, p, body, n);
    store_put_publish(&p, &rec, f->o->bytes);
    buf_release(&head);
    arena_release(&a);
}

int main(int argc, char **argv)
{
    struct options o = read_options(argc, argv);
    struct filler f = {.o = &o,
                       .site = {.name = o.site, .id = (uint32_t)digest_64(slice_of(o.site))},
                       .body = block_new(LIMIT_CHUNK_BYTES)};

    if (f.body == NULL)
        fail("the body", ERR_NOMEM);
    memset(f.body->data, 'x', LIMIT_CHUNK_BYTES);
    open_disk(&f);
    for (uint64_t i = 0; i < o.count; i++) {
        put_object(&f, o.from + i);
        if (i % FLUSH_EVERY == FLUSH_EVERY - 1)
            store_flush(
                f.store); /* small objects hardly fill the queue, and memory is not for them all */
    }
    store_flush(f.store);
    store_close(f.store);
    purge_close(f.purge);
    block_unref(f.body);
    printf("%" PRIu64 " objects stored, %" PRIu64 " not\n", (uint64_t)f.stored, (uint64_t)f.failed);
    return f.failed == 0 ? 0 : 1;
}
