#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/file.h"
#include "config/config_priv.h"

enum { NEAR = 2, WORD_BYTES_MAX = 40 };

struct unit {
    const char *name; /* NULL ends the table */
    uint64_t factor;
};

static const struct unit time_units[] = {
    {"ms", 1},       {"s", 1000},      {"m", 60000},          {"h", 3600000},
    {"d", 86400000}, {"w", 604800000}, {"y", 31536000000ull}, {NULL, 0},
};
static const struct unit size_units[] = {
    {"B", 1},  {"KiB", 1ull << 10}, {"MiB", 1ull << 20}, {"GiB", 1ull << 30}, {"TiB", 1ull << 40},
    {NULL, 0},
};
static const struct unit no_units[] = {{"", 1}, {NULL, 0}};

/* What is written where `kind` is wanted, as the end of a sentence. */
static const char *example_of(enum config_kind kind)
{
    switch (kind) {
    case CONFIG_MS:
    case CONFIG_SECONDS:
        return "a duration, such as 500ms, 10s, 5m, 1h, 7d";
    case CONFIG_BYTES:
        return "a size, such as 64KiB, 10MiB, 100GiB";
    case CONFIG_COUNT:
        return "a whole number";
    case CONFIG_TEXTS:
        return "a list, such as [a, b]";
    case CONFIG_LIST:
        return "a list: '- ' lines with blocks of keys";
    case CONFIG_BLOCK:
        return "a block of keys: 'key: value' lines or {key: value}";
    case CONFIG_PATH:
        return "the name of a file";
    default:
        return "one word or text";
    }
}

void *config__alloc(struct config_loader *l, size_t count, size_t each)
{
    void *p = count > CONFIG_ARENA_BYTES_MAX / each ? NULL : arena_zalloc(l->arena, count * each);

    l->is_out_of_memory = l->is_out_of_memory || p == NULL;
    return p;
}

void config__remember(struct config_loader *l, const void *field, const struct config_node *n)
{
    if (l->places_count == l->places_capacity) {
        size_t capacity = l->places_capacity == 0 ? 64 : 2 * l->places_capacity;
        struct config_place *more = arena_alloc(&l->scratch, capacity * sizeof(*more));

        if (more == NULL) {
            l->is_out_of_memory = true;
            return;
        }
        if (l->places_count > 0)
            memcpy(more, l->places, l->places_count * sizeof(*more));
        l->places = more;
        l->places_capacity = capacity;
    }
    l->places[l->places_count++] = (struct config_place){field, n};
}

static int compare_places(const void *a, const void *b)
{
    uintptr_t p = (uintptr_t)((const struct config_place *)a)->field;
    uintptr_t q = (uintptr_t)((const struct config_place *)b)->field;

    return (p > q) - (p < q);
}

void config__sort_places(struct config_loader *l)
{
    if (l->places_count > 0)
        qsort(l->places, l->places_count, sizeof(*l->places), compare_places);
    l->is_sorted = true;
}

const struct config_node *config__place(const struct config_loader *l, const void *field)
{
    struct config_place wanted = {.field = field}, *found = NULL;

    CHECK(l->is_sorted);
    if (l->places_count > 0)
        found = bsearch(&wanted, l->places, l->places_count, sizeof(*l->places), compare_places);
    return found == NULL ? NULL : found->node;
}

/* Edits that make one of the other: insertions, removals, changes (Levenshtein). */
static unsigned distance(struct slice a, struct slice b)
{
    unsigned row[WORD_BYTES_MAX + 1];

    if (a.n > WORD_BYTES_MAX || b.n > WORD_BYTES_MAX)
        return WORD_BYTES_MAX;
    for (unsigned j = 0; j <= b.n; j++)
        row[j] = j;
    for (size_t i = 0; i < a.n; i++) {
        unsigned corner = row[0]++;

        for (size_t j = 1; j <= b.n; j++) {
            unsigned above = row[j], best = corner + (a.p[i] != b.p[j - 1]);

            best = above + 1 < best ? above + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            corner = above;
            row[j] = best;
        }
    }
    return row[b.n];
}

static const struct config_key *nearest(struct slice name, const struct config_key *keys)
{
    const struct config_key *best = NULL;
    unsigned best_distance = NEAR + 1;

    for (const struct config_key *k = keys; k->name != NULL; k++) {
        unsigned d = distance(name, slice_of(k->name));

        if (d < best_distance && 2 * d <= name.n) {
            best = k;
            best_distance = d;
        }
    }
    return best;
}

static void tell_unknown(struct config_loader *l, const struct config_node *n,
                         const struct config_key *keys, const struct config_key *near)
{
    char list[512] = "";
    size_t at = 0;

    if (near != NULL) {
        config__key_error(l, n, "unknown key; did you mean '%s'?", near->name);
        return;
    }
    for (const struct config_key *k = keys; k->name != NULL; k++)
        if (k->kind != CONFIG_LATER && at + strlen(k->name) + 3 < sizeof(list)) {
            memcpy(list + at, at == 0 ? "" : ", ", at == 0 ? 0 : 2);
            at += at == 0 ? 0 : 2;
            memcpy(list + at, k->name, strlen(k->name) + 1);
            at += strlen(k->name);
        }
    config__key_error(l, n, "unknown key; known here are %s", list);
}

static const struct config_node *earlier(const struct config_node *n)
{
    for (const struct config_node *e = n->parent->first; e != n; e = e->next)
        if (slice_eq(e->key, n->key))
            return e;
    return NULL;
}

static bool has_key(const struct config_node *block, const char *name)
{
    const struct config_node *n = block->first;

    while (n != NULL && !slice_eq(n->key, slice_of(name)))
        n = n->next;
    return n != NULL;
}

void config__load_block(struct config_loader *l, const struct config_node *n,
                        const struct config_key *keys, void *base)
{
    uint64_t seen = 0;

    if (n->type != CONFIG_NODE_BLOCK) {
        config__error(l, n, "expected %s", example_of(CONFIG_BLOCK));
        return;
    }
    for (const struct config_node *v = n->first; v != NULL; v = v->next) {
        const struct config_key *k = keys, *near;

        while (k->name != NULL && !slice_eq(slice_of(k->name), v->key))
            k++;
        if (k->name == NULL) {
            near = l->errors_count < CONFIG_ERRORS_MAX ? nearest(v->key, keys) : NULL;
            tell_unknown(l, v, keys, near);
            if (near != NULL)
                seen |= UINT64_C(1)
                        << (near - keys); /* misspelt: that it is missing goes without saying */
            continue;
        }
        CHECK(k - keys < 64);
        if (earlier(v) != NULL)
            config__key_error(l, v, "is written twice; the first is in line %u",
                              earlier(v)->key_line);
        else
            config__load_value(l, v, k, base);
        seen |= UINT64_C(1) << (k - keys);
    }
    for (const struct config_key *k = keys; k->name != NULL; k++)
        if (k->is_required && (seen & UINT64_C(1) << (k - keys)) == 0 &&
            !(k->unless != NULL && has_key(n, k->unless)))
            config__missing_error(l, n, k->name, k->means);
}

/* YAML's words for nothing are no text, unless quoted. */
static bool is_nothing(const struct config_node *n)
{
    return n->is_plain && (n->text.n == 0 || slice_eq(n->text, SLICE("~")) ||
                           slice_eq_nocase(n->text, SLICE("null")));
}

static bool is_text(struct config_loader *l, const struct config_node *n, enum config_kind kind)
{
    if (n->type != CONFIG_NODE_TEXT)
        config__error(l, n, "expected %s", example_of(kind));
    else if (is_nothing(n))
        config__error(l, n, "has no value; write %s, or leave the key out", example_of(kind));
    else if (n->text.n == 0)
        config__error(l, n, "is empty; write %s, or leave the key out", example_of(kind));
    else
        return true;
    return false;
}

/* One text; NULL when it is not fit (told) or memory is short. */
static char *load_text(struct config_loader *l, const struct config_node *n,
                       const struct config_key *k)
{
    const char *why;
    char *p;

    if (!is_text(l, n, CONFIG_TEXT))
        return NULL;
    p = arena_text(l->arena, n->text);
    if (p == NULL) {
        l->is_out_of_memory = true;
        return NULL;
    }
    for (size_t i = 0; k->is_lower && i < n->text.n; i++)
        if (p[i] >= 'A' && p[i] <= 'Z')
            p[i] = (char)(p[i] | 0x20);
    why = k->check == NULL ? NULL : k->check((struct slice){p, n->text.n});
    if (why == NULL)
        return p;
    if (k->is_secret)
        config__error(l, n, "%s", why);
    else
        config__error(l, n, "%s %s", config__quote(n->text).text, why);
    return NULL;
}

static bool count_is_fit(struct config_loader *l, const struct config_node *n,
                         const struct config_key *k)
{
    if (n->type != CONFIG_NODE_LIST)
        config__error(l, n, "expected %s", example_of(k->kind));
    else if (n->count < k->min)
        config__error(l, n, "is empty; %s", k->means);
    else if (n->count > k->max)
        config__error(l, n, "has %zu entries; at most %llu", n->count, (unsigned long long)k->max);
    else
        return true;
    return false;
}

static void load_texts(struct config_loader *l, const struct config_node *n,
                       const struct config_key *k, struct config_strings *to)
{
    if (!count_is_fit(l, n, k))
        return;
    to->item = config__alloc(l, n->count + 1, sizeof(*to->item));
    if (to->item == NULL)
        return;
    for (const struct config_node *v = n->first; v != NULL; v = v->next) {
        char *text = load_text(l, v, k);

        if (text == NULL)
            continue;
        config__remember(l, &to->item[to->count], v);
        to->item[to->count++] = text;
    }
}

static void load_list(struct config_loader *l, const struct config_node *n,
                      const struct config_key *k, void *base)
{
    size_t *count = (size_t *)(void *)((char *)base + k->count_offset);
    char *items;

    if (!count_is_fit(l, n, k))
        return;
    items = config__alloc(l, n->count + 1, k->item_bytes);
    if (items == NULL)
        return;
    for (const struct config_node *v = n->first; v != NULL; v = v->next) {
        void *item = items + v->index * k->item_bytes;

        if (k->begin != NULL)
            k->begin(item, v);
        config__load_block(l, v, k->inside, item);
    }
    *count = n->count;
    memcpy((char *)base + k->offset, &items, sizeof(items)); /* a pointer to structs of any type */
}

static void load_word(struct config_loader *l, const struct config_node *n,
                      const struct config_key *k, void *to)
{
    char list[256] = "";
    size_t at = 0;

    if (!is_text(l, n, k->kind))
        return;
    for (const struct config_word *w = k->words; w->word != NULL; w++) {
        if (!slice_eq(slice_of(w->word), n->text))
            continue;
        if (k->kind == CONFIG_BOOL)
            *(bool *)to = w->value != 0;
        else
            *(int *)to = w->value;
        return;
    }
    for (const struct config_word *w = k->words; w->word != NULL; w++)
        if (!w->is_unsaid)
            at += (size_t)snprintf(list + at, sizeof(list) - at, "%s%s", at == 0 ? "" : " or ",
                                   w->word);
    config__error(l, n, "%s is not known here; write %s", config__quote(n->text).text, list);
}

/* Digits and a unit of the table; 0 needs none. */
static bool parse_amount(struct slice s, const struct unit *units, uint64_t *out)
{
    size_t digits = 0;
    uint64_t v;

    while (digits < s.n && s.p[digits] >= '0' && s.p[digits] <= '9')
        digits++;
    if (!slice_to_u64(slice_head(s, digits), &v))
        return false;
    *out = v;
    if (v == 0 && digits == s.n)
        return true;
    for (const struct unit *u = units; u->name != NULL; u++)
        if (slice_eq(slice_from(s, digits), slice_of(u->name)) && v <= UINT64_MAX / u->factor) {
            *out = v * u->factor;
            return true;
        }
    return false;
}

/* `v` with the largest unit that divides it. */
static const char *show_amount(char *to, size_t bytes, uint64_t v, const struct unit *units)
{
    const struct unit *best = units;

    for (const struct unit *u = units; u->name != NULL; u++)
        if (v % u->factor == 0 && v > 0)
            best = u;
    snprintf(to, bytes, "%llu%s", (unsigned long long)(v / best->factor), best->name);
    return to;
}

static const struct unit *units_of(enum config_kind kind)
{
    return kind == CONFIG_COUNT ? no_units : kind == CONFIG_BYTES ? size_units : time_units;
}

static void load_amount(struct config_loader *l, const struct config_node *n,
                        const struct config_key *k, uint64_t *to)
{
    const struct unit *units = units_of(k->kind);
    uint64_t scale = k->kind == CONFIG_SECONDS ? 1000 : 1, v;
    char limit[32];

    if (!is_text(l, n, k->kind))
        return;
    if (!parse_amount(n->text, units, &v))
        config__error(l, n, "%s is not %s", config__quote(n->text).text, example_of(k->kind));
    else if (v % scale != 0)
        config__error(l, n, "%s is not a whole number of seconds", config__quote(n->text).text);
    else if (v / scale < k->min)
        config__error(l, n, "%s is too small; at least %s", config__quote(n->text).text,
                      show_amount(limit, sizeof(limit), k->min * scale, units));
    else if (v / scale > k->max)
        config__error(l, n, "%s is too large; at most %s", config__quote(n->text).text,
                      show_amount(limit, sizeof(limit), k->max * scale, units));
    else
        *to = v / scale; /* of CONFIG_SECONDS too: an int64_t may be written as its unsigned twin */
}

char *config__load_path(struct config_loader *l, const struct config_node *n)
{
    const char *slash = strrchr(n->file, '/');
    size_t folder;
    char *p;

    if (!is_text(l, n, CONFIG_PATH))
        return NULL;
    folder = n->text.p[0] == '/' || slash == NULL ? 0 : (size_t)(slash + 1 - n->file);
    p = config__alloc(l, folder + n->text.n + 1, 1);
    if (p != NULL) {
        memcpy(p, n->file, folder);
        memcpy(p + folder, n->text.p, n->text.n);
    }
    return p;
}

void config__load_value(struct config_loader *l, const struct config_node *n,
                        const struct config_key *k, void *base)
{
    void *at = (char *)base + k->offset;

    if (k->kind != CONFIG_BLOCK && k->kind != CONFIG_CUSTOM && k->kind != CONFIG_LATER)
        config__remember(l, at, n);
    switch (k->kind) {
    case CONFIG_TEXT:
        *(char **)at = load_text(l, n, k);
        break;
    case CONFIG_PATH:
        *(char **)at = config__load_path(l, n);
        break;
    case CONFIG_TEXTS:
        load_texts(l, n, k, at);
        break;
    case CONFIG_WORD:
    case CONFIG_BOOL:
        load_word(l, n, k, at);
        break;
    case CONFIG_COUNT:
    case CONFIG_MS:
    case CONFIG_SECONDS:
    case CONFIG_BYTES:
        load_amount(l, n, k, at);
        break;
    case CONFIG_BLOCK:
        config__load_block(l, n, k->inside, at);
        break;
    case CONFIG_LIST:
        load_list(l, n, k, base);
        break;
    case CONFIG_CUSTOM:
        k->load(l, n, base);
        break;
    case CONFIG_LATER:
        config__key_error(l, n, "not supported by this version; remove the key");
        break;
    }
}

static void tell_unreadable(struct config_loader *l, const char *file,
                            const struct config_node *from, const char *why)
{
    char text[128];

    if (from != NULL) {
        config__error(l, from, "%s cannot be read: %s", config__quote(slice_of(file)).text, why);
        return;
    }
    snprintf(text, sizeof(text), "cannot be read: %s", why);
    config__file_error(l, file, text);
}

struct config_node *config__read_file(struct config_loader *l, const char *file,
                                      const struct config_node *from)
{
    struct config_node *root;
    char *text = NULL;
    size_t n = 0;
    enum err e = file_read_all(file, CONFIG_FILE_BYTES_MAX, &text, &n);

    if (e == ERR_NOMEM)
        l->is_out_of_memory = true;
    else if (e == ERR_LIMIT)
        tell_unreadable(l, file, from, "it is larger than 4MiB");
    else if (e != ERR_OK)
        tell_unreadable(l, file, from, strerror(errno));
    if (e != ERR_OK)
        return NULL;
    root = config__tree_parse(l, file, (struct slice){text, n});
    free(text);
    return root;
}
