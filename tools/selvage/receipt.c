#include "receipt.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "report.h"

enum { LOOK_MS = 10, MEMBERS_MAX = 1024, ID_BYTES = 17, MS_PER_S = 1000 };

struct member {
    char id[ID_BYTES];
    int64_t applied_ms; /* after the purge was confirmed */
};

struct position {
    bool is_known;
    json_int_t epoch, n;
};

struct receipt {
    struct position at[CLI_NODES_MAX];
    int64_t began_ms;
    struct member member[MEMBERS_MAX]; /* those that have applied it */
    size_t members;
};

struct receipt *receipt_new(const struct cli *cli)
{
    (void)cli;
    return calloc(1, sizeof(struct receipt));
}

void receipt_free(struct receipt *r)
{
    free(r);
}

static size_t index_of(const struct cli *cli, const struct client_answer *a)
{
    size_t i = 0;

    while (cli->nodes[i] != a->node)
        i++;
    return i;
}

void receipt_note(const struct cli *cli, const struct client_answer *a, void *receipt)
{
    struct receipt *r = receipt;
    struct position *p = &r->at[index_of(cli, a)];
    json_t *root = report_object(a);

    p->is_known =
        json_unpack(root, "{s:{s:I,s:I}}", "position", "epoch", &p->epoch, "n", &p->n) == 0;
    json_decref(root);
    r->began_ms = clock_mono_ms();
}

/* What a node says of one that follows it. */
struct said {
    const char *node, *id, *lost;
    json_int_t n, grace_ms;
    int connected, same_epoch;
};

static bool read_member(json_t *row, struct said *out)
{
    return json_unpack(row, "{s:s,s:s,s:s,s:I,s:I,s:b,s:b}", "node", &out->node, "id", &out->id,
                       "on_journal_lost", &out->lost, "n", &out->n, "grace_ms", &out->grace_ms,
                       "connected", &out->connected, "same_epoch", &out->same_epoch) == 0 &&
           strlen(out->id) < ID_BYTES;
}

/* In a later epoch everything of before is dead. */
static bool has_applied(const struct position *p, json_int_t epoch, const struct said *m)
{
    return m->same_epoch && (epoch > p->epoch || (epoch == p->epoch && m->n >= p->n));
}

static struct member *find(struct receipt *r, const char *id)
{
    for (size_t i = 0; i < r->members; i++)
        if (strcmp(r->member[i].id, id) == 0)
            return &r->member[i];
    return NULL;
}

static void note_applied(struct receipt *r, const char *id)
{
    struct member *m = find(r, id);

    if (m != NULL || r->members == MEMBERS_MAX)
        return;
    m = &r->member[r->members++];
    snprintf(m->id, sizeof(m->id), "%s", id);
    m->applied_ms = clock_mono_ms() - r->began_ms;
}

/* ---- printing ---- */

static bool print_member(const struct cli *cli, const struct client_answer *a, struct receipt *r,
                         const struct said *said)
{
    const struct member *m = find(r, said->id);
    json_int_t fenced_s = 2 * said->grace_ms / MS_PER_S;
    char what[96];
    json_t *row;
    bool ok;

    if (m != NULL)
        snprintf(what, sizeof(what), "applied");
    else if (strcmp(said->lost, "serve") == 0)
        snprintf(what, sizeof(what), "unknown (policy serve)");
    else
        snprintf(what, sizeof(what), "fenced at +%lld s", (long long)fenced_s);
    if (!cli->json) {
        printf("  ");
        ok = report_safe(slice_of(said->node), TEXT_ONE_LINE);
        if (m != NULL)
            printf("  applied (%lld ms)\n", (long long)m->applied_ms);
        else
            printf("  %s%s\n", what, said->connected ? "" : ", not connected");
        return ok;
    }
    row = m != NULL ? json_pack("{s:s,s:s,s:I}", "member", said->node, "state", what, "ms",
                                (json_int_t)m->applied_ms)
                    : json_pack("{s:s,s:s}", "member", said->node, "state", what);
    ok = report_json_row(a, row);
    json_decref(row);
    return ok;
}

/* ---- waiting ---- */

/* One node's members: all applied?  With `print`, a line for each.  -1: no answer that makes sense.
 */
static int look_at(const struct cli *cli, struct receipt *r, const struct client_answer *a,
                   bool print)
{
    const struct position *p = &r->at[index_of(cli, a)];
    json_t *root = a->ok ? report_object(a) : NULL, *rows, *row;
    json_int_t epoch;
    int all = 1;
    size_t i;

    if (json_unpack(root, "{s:I,s:o}", "epoch", &epoch, "members", &rows) != 0 ||
        !json_is_array(rows)) {
        json_decref(root);
        return -1;
    }
    if (print && cli->nodes_count > 1 && !cli->json)
        printf("%s\n", a->node);
    json_array_foreach(rows, i, row)
    {
        struct said said;

        if (!read_member(row, &said)) {
            all = -1;
            break;
        }
        if (has_applied(p, epoch, &said))
            note_applied(r, said.id);
        if (find(r, said.id) == NULL)
            all = 0;
        if (print && !print_member(cli, a, r, &said))
            all = -1;
    }
    if (print && json_array_size(rows) == 0 && !cli->json)
        printf("  no node follows it\n");
    json_decref(root);
    return all;
}

/* All nodes once.  1: it holds everywhere; 0: not yet; -1: it cannot be told. */
static int look(struct cli *cli, struct receipt *r, bool print)
{
    struct client_request request = {
        .path = "/members", .body = NULL, .answer_bytes_max = CLIENT_ANSWER_BYTES_MAX};
    struct client_answer *answers = NULL;
    int all = 1;

    if (client_ask(cli, &request, &answers) != ERR_OK)
        return -1;
    for (size_t i = 0; i < cli->nodes_count; i++) {
        int one = r->at[i].is_known ? look_at(cli, r, &answers[i], print) : 1;

        if (one < all)
            all = one;
        if (one < 0 && print)
            fprintf(stderr, "%s  FAILED: %s\n", answers[i].node,
                    answers[i].ok ? "its answer cannot be understood; is it the same version?"
                                  : answers[i].error);
    }
    client_free(cli, answers);
    return all;
}

int receipt_wait(struct cli *cli, struct receipt *r, int64_t timeout_ms)
{
    struct timespec pause = {.tv_nsec = LOOK_MS * 1000000};
    int64_t until_ms = clock_mono_ms() + timeout_ms;

    while (look(cli, r, false) == 0 && clock_mono_ms() < until_ms)
        nanosleep(&pause, NULL);
    return look(cli, r, true) == 1 ? CLI_DONE : CLI_FAILED;
}
