/* Does a purge cover it?  Any thread, without locks. */
#include "purge/purge.h"

#include <stdio.h>

#include "base/check.h"
#include "base/digest.h"
#include "purge/purge_priv.h"

/* Ids that are no scopes, beside those of the kinds. */
enum { ID_HOST_PREFIXES = PURGE_KINDS };

/* Spread a hash over all 64 bits, differently for each kind: the finaliser of splitmix64. */
static uint64_t mix(uint64_t hash, unsigned kind)
{
    hash += (kind + 1) * UINT64_C(0x9e3779b97f4a7c15);
    hash = (hash ^ hash >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    hash = (hash ^ hash >> 27) * UINT64_C(0x94d049bb133111eb);
    hash ^= hash >> 31;
    return hash == 0 ? 1 : hash;
}

uint64_t purge_tag_hash(struct slice tag)
{
    return digest_64(tag);
}

uint64_t purge__tag_id(uint64_t tag_hash)
{
    return mix(tag_hash, PURGE_TAG);
}

uint64_t purge__scope_id(const struct purge *p, enum purge_kind kind, struct slice text)
{
    if (kind == PURGE_TAG)
        return purge__tag_id(purge_tag_hash(text));
    return mix(digest_64_secret(&p->identity.secret, text), kind);
}

uint64_t purge__host_prefixes_id(const struct purge *p, struct slice host)
{
    return mix(digest_64_secret(&p->identity.secret, host), ID_HOST_PREFIXES);
}

/* The hard scope that was found first, else the soft one that was found last. */
struct cover {
    enum purge_verdict verdict;
    enum purge_kind kind;
    uint64_t position;
    struct slice text; /* but of a tag */
    uint64_t tag_hash; /* of a tag; 0: of any */
};

/* Returns true when nothing worse can be found. */
static bool meet(struct cover *c, uint64_t birth, enum purge_kind kind, struct slice text,
                 uint64_t tag_hash, struct scopes_mark m)
{
    bool is_hard = m.hard > birth;

    if (is_hard || m.soft > birth)
        *c = (struct cover){.verdict = is_hard ? PURGE_DEAD : PURGE_SOFT,
                            .kind = kind,
                            .position = is_hard ? m.hard : m.soft,
                            .text = text,
                            .tag_hash = tag_hash};
    return is_hard;
}

static bool meet_prefixes(const struct purge *p, const struct purge_subject *s, struct slice host,
                          struct cover *c)
{
    uint64_t mask = scopes_lengths(&p->scopes, purge__host_prefixes_id(p, host));
    size_t n = 0;

    if (mask == 0)
        return false;
    while ((n = scopes_next_length(&p->scopes, mask, n, s->purge_url.n)) > 0) {
        struct slice prefix = slice_head(s->purge_url, n);

        if (meet(c, s->birth, PURGE_PREFIX, prefix, 0,
                 scopes_find(&p->scopes, purge__scope_id(p, PURGE_PREFIX, prefix))))
            return true;
    }
    return false;
}

static bool meet_tags(const struct purge *p, const struct purge_subject *s, struct cover *c)
{
    for (size_t i = 0; i < s->tags_count; i++)
        if (meet(c, s->birth, PURGE_TAG, (struct slice){NULL, 0}, s->tags[i],
                 scopes_find(&p->scopes, purge__tag_id(s->tags[i]))))
            return true;
    /* More tags than are kept: nobody knows which, so each purge of a tag may have meant it. */
    return s->tags_overflow && meet(c, s->birth, PURGE_TAG, (struct slice){NULL, 0}, 0,
                                    scopes_mark_of(&p->scopes.any_tag));
}

static void probe(const struct purge *p, const struct purge_subject *s, struct cover *c)
{
    struct slice host = purge_host_of(s->purge_url), none = {NULL, 0};

    *c = (struct cover){.verdict = PURGE_USABLE};
    if (meet(c, s->birth, PURGE_ALL, none, 0, scopes_mark_of(&p->scopes.all)) ||
        meet(c, s->birth, PURGE_HOST, host, 0,
             scopes_find(&p->scopes, purge__scope_id(p, PURGE_HOST, host))) ||
        meet(c, s->birth, PURGE_URL, s->purge_url, 0,
             scopes_find(&p->scopes, purge__scope_id(p, PURGE_URL, s->purge_url))) ||
        meet_prefixes(p, s, host, c))
        return;
    (void)meet_tags(p, s, c);
}

static void cover(const struct purge *p, const struct purge_subject *s, struct cover *c)
{
    uint64_t head = purge_head(p); /* before the table: rule 5 */
    uint64_t floor;

    *c = (struct cover){.verdict = PURGE_USABLE};
    if (s->birth >= head)
        return;
    if (position_epoch(s->birth) < position_epoch(head)) {
        *c = (struct cover){.verdict = PURGE_DEAD,
                            .kind = PURGE_ALL,
                            .position = position_make(position_epoch(head), 0)};
        return;
    }
    /*
     * A table that starts anew under our hands has nothing to find.  The floor is moved before
     * anything is taken out, so an unmoved floor after probing says that all was still there.  (The
     * purge of everything that moved it is never taken out: what was born below the floor meets
     * that.)
     */
    do {
        floor = purge_floor(p);
        probe(p, s, c);
    } while (floor != purge_floor(p));
}

enum purge_verdict purge_judge(const struct purge *p, const struct purge_subject *s)
{
    struct cover c;

    cover(p, s, &c);
    return c.verdict;
}

/* The text of a tag's row: its first bytes. */
static void read_label(struct purge *p, uint64_t tag_hash, char *text, size_t text_bytes)
{
    unsigned char key[PURGE_ROW_KEY_BYTES], bytes[PURGE_ROW_BYTES_MAX];
    struct table_reader *r = NULL;
    uint32_t generation = atomic_load_explicit(&p->generation, memory_order_relaxed);
    struct purge_row row;
    struct slice value;

    if (table_reader_new(p->table, &r) != ERR_OK || table_read_begin(r) != ERR_OK) {
        table_reader_free(r);
        return;
    }
    if (table_get(r, PURGE_TABLE_ROWS, purge_row_key(generation, purge__tag_id(tag_hash), key),
                  &value) == ERR_OK &&
        value.n <= sizeof(bytes) && table_copy(bytes, value) == ERR_OK &&
        purge_row_decode((struct slice){(const char *)bytes, value.n}, &row) == ERR_OK)
        snprintf(text, text_bytes, "%.*s%s", (int)row.label.n, row.label.p,
                 row.label.n < row.text_bytes ? "..." : "");
    table_read_end(r);
    table_reader_free(r);
}

bool purge_explain(struct purge *p, const struct purge_subject *s, enum purge_kind *kind,
                   char *text, size_t text_bytes, uint64_t *position, bool *soft)
{
    struct cover c;

    CHECK(text_bytes > 0);
    cover(p, s, &c);
    if (c.verdict == PURGE_USABLE)
        return false;
    *kind = c.kind;
    *position = c.position;
    *soft = c.verdict == PURGE_SOFT;
    text[0] = '\0';
    if (c.kind != PURGE_TAG)
        snprintf(text, text_bytes, "%.*s", (int)c.text.n, c.text.n == 0 ? "" : c.text.p);
    else if (c.tag_hash == 0)
        snprintf(text, text_bytes, "(any: it has more tags than are kept)");
    else
        read_label(p, c.tag_hash, text, text_bytes);
    return true;
}
