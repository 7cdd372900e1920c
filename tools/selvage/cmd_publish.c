/* selvage publish: a folder becomes the release of a site; only what the node lacks is sent. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "cli.h"
#include "release/pack.h"
#include "release/record.h"
#include "report.h"
#include "tree.h"

enum {
    ASK_MAX = 10000, /* hashes in one question */
    PIECE_BYTES = PACK_PIECE_CHUNKS * LIMIT_CHUNK_BYTES,
    PACK_BYTES_MAX = PIECE_BYTES + PACK_HEAD_BYTES,
    ID_DIGITS = 12,
    MISDIRECTED = 421,
};

#define PACK_TYPE "application/vnd.selvage.files"

/* One node that is published to. */
struct publish {
    struct cli cli; /* a copy, with this node alone */
    const struct tree *tree;
    struct buf manifest;
    unsigned char manifest_sha256[DIGEST_SHA256_BYTES];
    const char *site, *release;

    struct buf pack;              /* not sent yet */
    const struct tree_file *file; /* being read */
    size_t sent_files;
    uint64_t sent_bytes;
    bool is_misdirected; /* the node follows another */
};

/* False: the failure has been told, or the node is not the one. */
static bool ask(struct publish *p, const struct client_request *rq, json_t **out)
{
    struct client_answer *answer;
    bool ok;

    if (client_ask(&p->cli, rq, &answer) != ERR_OK) {
        fprintf(stderr, "selvage publish: out of memory\n");
        return false;
    }
    p->is_misdirected = answer->status == MISDIRECTED;
    ok = answer->ok;
    if (ok && out != NULL) {
        *out = report_object(answer);
        ok = *out != NULL;
    }
    if (!ok)
        fprintf(stderr, "selvage publish: %s: %s\n", answer->node,
                answer->ok ? "the answer makes no sense" : answer->error);
    client_free(&p->cli, answer);
    return ok;
}

/* ---- what is lacking ---- */

static bool send_pack(struct publish *p)
{
    struct client_request rq = {.path = "/releases/files",
                                .answer_bytes_max = CLIENT_ANSWER_BYTES_MAX,
                                .data = buf_slice(&p->pack),
                                .data_type = PACK_TYPE};
    bool ok = p->pack.n == 0 || ask(p, &rq, NULL);

    p->pack.n = 0;
    return ok;
}

static bool add_piece(struct publish *p, const struct pack_piece *piece)
{
    if (p->pack.n + PACK_HEAD_BYTES + piece->data.n > PACK_BYTES_MAX && !send_pack(p))
        return false;
    pack_put(&p->pack, piece);
    if (p->pack.failed)
        fprintf(stderr, "selvage publish: out of memory\n");
    return !p->pack.failed;
}

static bool on_piece(void *user, uint64_t offset, struct slice data)
{
    struct publish *p = user;
    struct pack_piece piece = {.bytes = p->file->bytes, .offset = offset, .data = data};

    memcpy(piece.sha256, p->file->sha256, sizeof(piece.sha256));
    return add_piece(p, &piece);
}

static bool send_file(struct publish *p, const struct tree_file *f)
{
    p->file = f;
    if (!tree_read_file(&p->cli, f, PIECE_BYTES, on_piece, p))
        return false;
    p->sent_files++;
    p->sent_bytes += f->bytes;
    return true;
}

static bool send_manifest(struct publish *p)
{
    struct slice rest = buf_slice(&p->manifest);
    struct pack_piece piece = {.bytes = rest.n};

    memcpy(piece.sha256, p->manifest_sha256, sizeof(piece.sha256));
    for (; rest.n > 0; rest = slice_from(rest, PIECE_BYTES)) {
        piece.data = slice_head(rest, PIECE_BYTES);
        if (!add_piece(p, &piece))
            return false;
        piece.offset += piece.data.n;
    }
    return true;
}

/* The first file of this content, by its digits; the same one for all that have it. */
static const struct tree_file *file_of(const struct publish *p, const struct tree_file *const *by,
                                       const char *digits)
{
    unsigned char sha256[DIGEST_SHA256_BYTES];
    size_t low = 0, high = p->tree->count;

    if (digits == NULL || !manifest_sha256_parse(slice_of(digits), sha256))
        return NULL;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int c = memcmp(by[middle]->sha256, sha256, sizeof(sha256));

        if (c == 0)
            return by[middle];
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static json_t *question(const struct tree_file *const *by, size_t *at, size_t count)
{
    json_t *list = json_array();

    for (size_t n = 0; n < ASK_MAX && *at < count; ++*at) {
        char digits[MANIFEST_SHA256_DIGITS + 1];

        if (*at > 0 && memcmp(by[*at]->sha256, by[*at - 1]->sha256, DIGEST_SHA256_BYTES) == 0)
            continue; /* one question a content */
        manifest_sha256_print(by[*at]->sha256, digits);
        json_array_append_new(list, json_string(digits));
        n++;
    }
    return json_pack("{s:o}", "sha256", list);
}

/* Ask for some, and send what is missing of them. */
static bool send_some(struct publish *p, const struct tree_file *const *by, size_t *at)
{
    json_t *root = question(by, at, p->tree->count), *answer = NULL, *missing, *one;
    char *body = root == NULL ? NULL : json_dumps(root, JSON_COMPACT);
    struct client_request rq = {
        .path = "/releases/missing", .body = body, .answer_bytes_max = CLIENT_ANSWER_BYTES_MAX};
    bool ok = body != NULL && ask(p, &rq, &answer);
    size_t i;

    missing = json_object_get(answer, "missing");
    json_array_foreach(missing, i, one)
    {
        const struct tree_file *f = file_of(p, by, json_string_value(one));

        ok = ok && f != NULL && send_file(p, f);
    }
    json_decref(answer);
    json_decref(root);
    free(body);
    return ok;
}

static int by_hash(const void *a, const void *b)
{
    const struct tree_file *const *f = a, *const *g = b;

    return memcmp((*f)->sha256, (*g)->sha256, DIGEST_SHA256_BYTES);
}

static bool send_all(struct publish *p)
{
    size_t count = p->tree->count, at = 0;
    const struct tree_file **by = calloc(count, sizeof(struct tree_file *));
    bool ok = by != NULL;

    for (size_t i = 0; ok && i < count; i++)
        by[i] = &p->tree->file[i];
    if (ok)
        qsort(by, count, sizeof(struct tree_file *), by_hash);
    while (ok && at < count)
        ok = send_some(p, by, &at);
    free(by);
    return ok && send_manifest(p) && send_pack(p);
}

/* ---- the switch ---- */

static bool publish(struct publish *p)
{
    char digits[MANIFEST_SHA256_DIGITS + 1], *body;
    json_t *root, *answer = NULL;
    struct client_request rq = {.path = "/releases/publish",
                                .answer_bytes_max = CLIENT_ANSWER_BYTES_MAX};
    bool ok;

    manifest_sha256_print(p->manifest_sha256, digits);
    root = json_pack("{s:s, s:s, s:s}", "site", p->site, "release", p->release, "manifest", digits);
    rq.body = body = root == NULL ? NULL : json_dumps(root, JSON_COMPACT);
    ok = body != NULL && ask(p, &rq, &answer);
    json_decref(root);
    json_decref(answer);
    free(body);
    return ok;
}

static void print_done(const struct publish *p)
{
    char all[TEXT_NUMBER_BYTES], sent[TEXT_NUMBER_BYTES];

    if (p->cli.json)
        printf("{\"admin\":\"%s\",\"site\":\"%s\",\"release\":\"%s\",\"files\":%zu,\"bytes\":%llu,"
               "\"sent_files\":%zu,\"sent_bytes\":%llu}\n",
               p->cli.nodes[0], p->site, p->release, p->tree->count,
               (unsigned long long)p->tree->bytes, p->sent_files,
               (unsigned long long)p->sent_bytes);
    else
        printf("%s  %s serves %s: %zu files, %s; %zu of them sent, %s\n", p->cli.nodes[0], p->site,
               p->release, p->tree->count, text_size(all, p->tree->bytes), p->sent_files,
               text_size(sent, p->sent_bytes));
}

/* *misdirected: it follows another, and hears of it there. */
static bool publish_to(const struct cli *cli, size_t node, const struct tree *tree,
                       const char *site, const char *release, bool *misdirected)
{
    char digits[MANIFEST_SHA256_DIGITS + 1], id[ID_DIGITS + 3];
    struct publish p = {.cli = *cli, .tree = tree, .site = site, .release = release};
    bool ok;

    p.cli.nodes[0] = cli->nodes[node];
    p.cli.nodes_count = 1;
    buf_init(&p.manifest, LIMIT_MANIFEST_BYTES);
    buf_init(&p.pack, PACK_BYTES_MAX);
    ok = tree_manifest(tree, &p.manifest);
    if (!ok)
        fprintf(stderr, "selvage publish: the names are too many or too long: the list of files "
                        "would be larger than 16 MiB\n");
    digest_sha256(buf_slice(&p.manifest), p.manifest_sha256);
    if (release == NULL) { /* the same files, the same name */
        manifest_sha256_print(p.manifest_sha256, digits);
        snprintf(id, sizeof(id), "r-%.*s", ID_DIGITS, digits);
        p.release = id;
    }
    ok = ok && send_all(&p) && publish(&p);
    if (ok)
        print_done(&p);
    *misdirected = p.is_misdirected;
    buf_release(&p.manifest);
    buf_release(&p.pack);
    return ok;
}

/* Every node that publishes: one in a fleet, each of those that stand alone. */
static int publish_everywhere(const struct cli *cli, const struct tree *tree, const char *site,
                              const char *release)
{
    size_t done = 0, failed = 0;

    for (size_t i = 0; i < cli->nodes_count; i++) {
        bool misdirected;

        if (publish_to(cli, i, tree, site, release, &misdirected))
            done++;
        else if (!misdirected)
            failed++;
    }
    return done > 0 && failed == 0 ? CLI_DONE : CLI_FAILED;
}

static int run(struct cli *cli, int argc, char **argv)
{
    enum { OPTION_SITE = 400, OPTION_RELEASE };
    static const struct option longs[] = {{"site", required_argument, NULL, OPTION_SITE},
                                          {"release", required_argument, NULL, OPTION_RELEASE},
                                          {0}};
    const char *dir = NULL, *site = NULL, *release = NULL;
    struct tree tree;
    int c, status = CLI_FAILED;

    while ((c = cli_next(cli, argc, argv, "", longs)) != CLI_END) {
        if (c == CLI_WRONG)
            return CLI_USAGE;
        if (c == OPTION_SITE)
            site = optarg;
        else if (c == OPTION_RELEASE)
            release = optarg;
        else if (dir != NULL)
            return cli_wrong(cli, "`%s`: one folder at a time", optarg);
        else
            dir = optarg;
    }
    if (dir == NULL)
        return cli_wrong(cli, "which folder?");
    if (site == NULL)
        return cli_wrong(cli, "for which site? Write --site NAME, as in the sites file");
    if (!release_name_is_valid(slice_of(site)))
        return cli_wrong(cli, "`%s` is no name of a site", site);
    if (release != NULL && !release_name_is_valid(slice_of(release)))
        return cli_wrong(cli, "`%s` is no name; write up to 64 letters, digits, '-', '_' and '.'",
                         release);
    if (!cli_connect_settings(cli))
        return CLI_USAGE;
    if (tree_read(cli, dir, &tree)) {
        status = publish_everywhere(cli, &tree, site, release);
        tree_release(&tree);
    }
    return status;
}

const struct cli_command cmd_publish = {
    .name = "publish",
    .summary = "publish a folder as the release of a site",
    .synopsis = "publish DIR --site NAME [--release ID]",
    .help =
        "Sends the files of DIR that the node does not have, and lets the site switch to them,\n"
        "all at once.  The site needs `files: yes`.  In a fleet the node is the one that owns\n"
        "the journal; the others hear of it there.\n"
        "\n"
        "  --site NAME    the site, as in the sites file\n"
        "  --release ID   what the release is called; default: made of its files' hashes\n"
        "\n"
        "Links to files inside DIR are followed; .git is left out.  Nothing changes for clients\n"
        "when anything fails.\n",
    .run = run,
};
