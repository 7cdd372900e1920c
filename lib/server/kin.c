#include "server/kin.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/metrics.h"

enum {
    NODES_MAX = 64, /* told by name; of more the one that was heard of longest ago is forgotten */
    NAME_BYTES = 65,
    LOG_EVERY_MS = 60000,
    SAID_FOR_MS = 120000, /* what was seen last so long ago may have been put right */
};

struct relative {
    char name[NAME_BYTES];
    unsigned matters;
    int64_t seen_ms, logged_ms; /* monotonic; logged_ms 0: never */
};

struct kin {
    pthread_mutex_t lock; /* a leaf */
    struct relative node[NODES_MAX];
    size_t count;
};

static const struct matter {
    enum kin_matter bit;
    enum metric metric;
    const char *word, *text;
} matters_known[] = {
    {KIN_SITES, METRIC_KIN_SITES, "sites",
     "has other sites than this node, so keys and lifetimes may differ: give all nodes the same "
     "sites.yaml"},
    {KIN_JOURNAL, METRIC_KIN_JOURNAL, "journal",
     "heeds another purge journal than this node, so purges do not reach both, and nothing that "
     "passes between the two is stored: name the same journal.owner on all nodes but the owner"},
};
enum { MATTERS = sizeof(matters_known) / sizeof(matters_known[0]) };

enum err kin_new(struct kin **out)
{
    struct kin *k = calloc(1, sizeof(*k));

    if (k == NULL)
        return ERR_NOMEM;
    pthread_mutex_init(&k->lock, NULL);
    *out = k;
    return ERR_OK;
}

void kin_free(struct kin *k)
{
    if (k == NULL)
        return;
    pthread_mutex_destroy(&k->lock);
    free(k);
}

/* Under the lock. */
static struct relative *find(struct kin *k, const char *name)
{
    struct relative *oldest = &k->node[0];

    for (size_t i = 0; i < k->count; i++) {
        if (strcmp(k->node[i].name, name) == 0)
            return &k->node[i];
        if (k->node[i].seen_ms < oldest->seen_ms)
            oldest = &k->node[i];
    }
    if (k->count < NODES_MAX)
        oldest = &k->node[k->count++];
    *oldest = (struct relative){0};
    memcpy(oldest->name, name, strlen(name) + 1);
    return oldest;
}

void kin_differs(struct kin *k, struct slice node, unsigned matters, int64_t now_ms)
{
    struct relative *r;
    char name[NAME_BYTES];
    bool is_told;

    node = slice_head(node, NAME_BYTES - 1);
    memcpy(name, node.p, node.n);
    name[node.n] = '\0';
    pthread_mutex_lock(&k->lock);
    r = find(k, name);
    is_told =
        r->logged_ms != 0 && now_ms - r->logged_ms < LOG_EVERY_MS && (matters & ~r->matters) == 0;
    r->matters = matters;
    r->seen_ms = now_ms;
    if (!is_told)
        r->logged_ms = now_ms;
    pthread_mutex_unlock(&k->lock);
    for (size_t i = 0; i < MATTERS; i++) {
        const struct matter *m = &matters_known[i];

        if ((matters & m->bit) == 0)
            continue;
        metrics_add(m->metric, 1);
        if (!is_told)
            log_warn("%s %s", name, m->text);
    }
}

void kin_say(struct kin *k, int64_t now_ms, struct buf *out)
{
    pthread_mutex_lock(&k->lock);
    for (size_t i = 0; i < k->count; i++) {
        const struct relative *r = &k->node[i];

        for (size_t j = 0; j < MATTERS && now_ms - r->seen_ms < SAID_FOR_MS; j++)
            if ((r->matters & matters_known[j].bit) != 0)
                buf_addf(out, "%s %s (seen %lld s ago)\n", r->name, matters_known[j].text,
                         (long long)(now_ms - r->seen_ms) / 1000);
    }
    pthread_mutex_unlock(&k->lock);
}

void kin_print(unsigned matters, struct slice node, struct buf *out)
{
    bool is_first = true;

    for (size_t i = 0; i < MATTERS; i++) {
        if ((matters & matters_known[i].bit) == 0)
            continue;
        buf_addf(out, "%s%s", is_first ? "" : ",", matters_known[i].word);
        is_first = false;
    }
    buf_add_char(out, ' ');
    buf_add(out, node);
}

unsigned kin_parse(struct slice value, struct slice *out_node)
{
    struct slice words = slice_head(value, slice_index(value, ' '));
    unsigned matters = 0;

    *out_node = slice_from(value, words.n + 1);
    while (words.n > 0) {
        struct slice word = slice_head(words, slice_index(words, ','));

        words = slice_from(words, word.n + 1);
        for (size_t i = 0; i < MATTERS; i++)
            if (slice_eq(word, slice_of(matters_known[i].word)))
                matters |= matters_known[i].bit;
    }
    for (size_t i = 0; i < out_node->n; i++)
        if (out_node->p[i] <= ' ' || out_node->p[i] >= 0x7f)
            return 0;
    return out_node->n > 0 ? matters : 0;
}
