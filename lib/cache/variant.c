#include "cache/variant.h"

#include "base/check.h"
#include "base/digest.h"
#include "base/limits.h"

/*
 * The marker: version, counts, then each list with its length, then the hashes of the variants.  It is never longer
 * than LISTS * LIST_BYTES_MAX + VARIANTS * 8 and a bit, which fits a record.
 */
enum {
    VERSION = 2,
    LIST_BYTES_MAX = 4096,
    OLD_S = 3600,
    AGAIN_S = 600, /* who comes again is written down as new only then, so that markers are seldom rewritten */
};

struct fixed {
    uint8_t version, lists;
    uint16_t variants;
};

struct seen {
    uint64_t variant;
    uint32_t at_s;
    uint32_t pad;
};

_Static_assert(LIMIT_VARY_LISTS <= 8, "struct variant_lists holds them");

static bool take(struct slice *rest, size_t n, struct slice *out)
{
    if (n > rest->n)
        return false;
    *out = slice_head(*rest, n);
    *rest = slice_from(*rest, n);
    return true;
}

static enum err read_marker(struct slice marker, struct variant_lists *lists, struct slice *variants)
{
    struct slice part;
    struct fixed f;
    uint16_t n;

    if (!take(&marker, sizeof(f), &part))
        return ERR_CORRUPT;
    memcpy(&f, part.p, sizeof(f));
    if (f.version != VERSION || f.lists == 0 || f.lists > LIMIT_VARY_LISTS || f.variants > LIMIT_VARIANTS)
        return ERR_CORRUPT;
    lists->count = f.lists;
    for (size_t i = 0; i < f.lists; i++) {
        if (!take(&marker, sizeof(n), &part))
            return ERR_CORRUPT;
        memcpy(&n, part.p, sizeof(n));
        if (n > LIST_BYTES_MAX || !take(&marker, n, &lists->list[i]))
            return ERR_CORRUPT;
    }
    return take(&marker, f.variants * sizeof(struct seen), variants) && marker.n == 0 ? ERR_OK : ERR_CORRUPT;
}

enum err variant_lists_read(struct slice marker, struct variant_lists *out)
{
    struct slice variants;

    return read_marker(marker, out, &variants);
}

size_t variant_numbers_read(struct slice marker, uint64_t *out)
{
    struct variant_lists lists;
    struct slice variants;
    struct seen seen;
    size_t count = 0;

    if (read_marker(marker, &lists, &variants) != ERR_OK)
        return 0;
    for (; count < variants.n / sizeof(seen); count++) {
        memcpy(&seen, variants.p + count * sizeof(seen), sizeof(seen));
        out[count] = seen.variant;
    }
    return count;
}

/* A thread's last texts with their numbers: SHA-256 costs a tenth of a hit, and clients are of few kinds. */
struct known {
    uint64_t number;
    uint8_t bytes; /* 0: none yet */
    char text[119];
};

static uint64_t number_of(struct slice text)
{
    unsigned char sum[DIGEST_SHA256_BYTES];
    uint64_t number;

    /* The number is all that is compared later: with a hash for which values that meet can be made,
     * a stranger's field value would answer for everybody's. */
    digest_sha256(text, sum);
    memcpy(&number, sum, sizeof(number));
    return number == 0 ? 1 : number; /* 0 is the base row */
}

static uint64_t number_of_known(struct slice text)
{
    enum { SLOTS = 64 };
    static _Thread_local struct known known[SLOTS];
    struct known *k = &known[digest_64(text) % SLOTS];

    if (text.n == 0 || text.n > sizeof(k->text))
        return number_of(text);
    if (!slice_eq((struct slice){k->text, k->bytes}, text)) {
        k->number = number_of(text);
        k->bytes = (uint8_t)text.n;
        memcpy(k->text, text.p, text.n);
    }
    return k->number;
}

uint64_t variant_of(struct slice list, const struct http_fields *request, struct buf *scratch)
{
    scratch->n = 0;
    buf_add(scratch, list);
    buf_add_char(scratch, '\n');
    vary_selecting_text(list, request, scratch);
    return number_of_known(buf_slice(scratch));
}

/* Room for one more: the index of `variant`, of the first free place, or of one to be given up; LIMIT_VARIANTS at the cap. */
static size_t place_of(const struct seen *seen, size_t count, uint64_t variant, uint32_t now_s)
{
    size_t oldest = 0;

    for (size_t i = 0; i < count; i++) {
        if (seen[i].variant == variant)
            return i;
        if (seen[i].at_s < seen[oldest].at_s)
            oldest = i;
    }
    if (count < LIMIT_VARIANTS)
        return count;
    return now_s > seen[oldest].at_s && now_s - seen[oldest].at_s > OLD_S ? oldest : LIMIT_VARIANTS;
}

static char *put(char *at, const void *p, size_t n)
{
    if (n > 0)
        memcpy(at, p, n);
    return at + n;
}

static char *put_list(char *at, struct slice list)
{
    uint16_t n = (uint16_t)list.n;

    return put(put(at, &n, sizeof(n)), list.p, list.n);
}

/* Write the marker with `add` in front of the other lists. */
static size_t write_marker(const struct variant_lists *lists, struct slice add, const struct seen *seen, size_t count, char *out)
{
    struct fixed f = {.version = VERSION, .lists = 1, .variants = (uint16_t)count};
    char *at = put_list(out + sizeof(f), add);

    for (size_t i = 0; i < lists->count && f.lists < LIMIT_VARY_LISTS; i++) {
        if (slice_eq(lists->list[i], add))
            continue;
        at = put_list(at, lists->list[i]);
        f.lists++;
    }
    at = put(at, seen, count * sizeof(*seen));
    put(out, &f, sizeof(f));
    return (size_t)(at - out);
}

void variant_marker(struct slice list, int64_t now_s, struct buf *out)
{
    uint32_t at_s = (uint32_t)now_s;

    buf_add(out, (struct slice){(const char *)&at_s, sizeof(at_s)});
    buf_add(out, list);
}

bool variant_merge(struct slice old, struct slice add, uint64_t variant, char *out, size_t out_max, size_t *out_bytes)
{
    struct seen seen[LIMIT_VARIANTS] = {0};
    struct variant_lists lists = {0};
    struct slice variants = {0};
    size_t count, at;
    uint32_t now_s;

    CHECK(add.n >= sizeof(now_s));
    CHECK(out_max >= sizeof(struct fixed) + LIMIT_VARY_LISTS * (LIST_BYTES_MAX + 2) + sizeof(seen));
    memcpy(&now_s, add.p, sizeof(now_s));
    add = slice_from(add, sizeof(now_s));
    if (add.n > LIST_BYTES_MAX)
        return false;
    if (read_marker(old, &lists, &variants) != ERR_OK) { /* none yet, a whole object, or damaged: begin anew */
        lists.count = 0;
        variants.n = 0;
    }
    if (variants.n > 0)
        memcpy(seen, variants.p, variants.n);
    count = variants.n / sizeof(*seen);
    at = place_of(seen, count, variant, now_s);
    if (at == LIMIT_VARIANTS)
        return false;
    *out_bytes = 0;
    if (at < count && seen[at].variant == variant && slice_eq(lists.list[0], add) &&
        (now_s < seen[at].at_s || now_s - seen[at].at_s < AGAIN_S))
        return true; /* all of it is there */
    seen[at] = (struct seen){.variant = variant, .at_s = now_s};
    *out_bytes = write_marker(&lists, add, seen, at == count ? count + 1 : count, out);
    return true;
}
