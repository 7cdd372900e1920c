#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"
#include "cli.h"
#include "receipt.h"
#include "report.h"
#include "text.h"

/* What a node takes in one request; it would refuse more only after reading all of it. */
enum { SCOPES_MAX = 1000, ID_BYTES_MAX = 64, ID_RANDOM_BYTES = 16, HOST_BYTES = 256 };

enum {
    OPTION_PREFIX = 512,
    OPTION_TAG,
    OPTION_HOST,
    OPTION_ALL,
    OPTION_SOFT,
    OPTION_ID,
    OPTION_WAIT
};

enum { WAIT_DEFAULT_S = 10, WAIT_MAX_S = 3600 };

static const struct option options[] = {
    {"prefix", required_argument, NULL, OPTION_PREFIX},
    {"tag", required_argument, NULL, OPTION_TAG},
    {"host", required_argument, NULL, OPTION_HOST},
    {"all", no_argument, NULL, OPTION_ALL},
    {"soft", no_argument, NULL, OPTION_SOFT},
    {"id", required_argument, NULL, OPTION_ID},
    {"wait", optional_argument, NULL, OPTION_WAIT},
    {0},
};

struct purge_words {
    json_t *scopes; /* owned */
    bool all, soft;
    const char *kind; /* of the next operand */
    char id[ID_BYTES_MAX + 1];
    uint64_t wait_s; /* for the receipt; 0: not */
};

static bool add_scope(const struct cli *cli, struct purge_words *w, const char *text)
{
    json_t *scope;

    if (json_array_size(w->scopes) == SCOPES_MAX) {
        cli_wrong(cli, "more than %d scopes; purge in several steps, or by tag or prefix",
                  SCOPES_MAX);
        return false;
    }
    if (text[0] == '\0') {
        cli_wrong(cli, "an empty %s", w->kind);
        return false;
    }
    if ((strcmp(w->kind, "url") == 0 || strcmp(w->kind, "prefix") == 0) && !cli_is_url(cli, text))
        return false;
    scope = json_pack("{s:s}", w->kind, text);
    if (scope == NULL || json_array_append_new(w->scopes, scope) != 0) {
        cli_wrong(cli, "`%s` is not UTF-8; write other bytes as %%XX", text);
        return false;
    }
    return true;
}

static bool set_id(const struct cli *cli, struct purge_words *w, const char *text)
{
    size_t n = strlen(text);

    if (n == 0 || n > ID_BYTES_MAX) {
        cli_wrong(cli, "--id must be 1 to %d letters, digits, '-', '_' or '.'", ID_BYTES_MAX);
        return false;
    }
    for (size_t i = 0; i < n; i++)
        if (strchr("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_.", text[i]) ==
            NULL) {
            cli_wrong(cli, "--id must be 1 to %d letters, digits, '-', '_' or '.'", ID_BYTES_MAX);
            return false;
        }
    memcpy(w->id, text, n + 1);
    return true;
}

/* A retry with the same id counts once, so every purge has one, and no two share it. */
static bool make_id(struct purge_words *w)
{
    unsigned char random[ID_RANDOM_BYTES];

    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
        fprintf(stderr, "selvage purge: no random bytes: %s; give an --id of your own\n",
                strerror(errno));
        return false;
    }
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(w->id + 2 * i, 3, "%02x", random[i]);
    return true;
}

static bool set_wait(const struct cli *cli, struct purge_words *w, const char *text)
{
    w->wait_s = WAIT_DEFAULT_S;
    if (text == NULL)
        return true;
    if (slice_to_u64(slice_of(text), &w->wait_s) && w->wait_s >= 1 && w->wait_s <= WAIT_MAX_S)
        return true;
    cli_wrong(cli, "--wait=SECONDS must be 1 to %d", WAIT_MAX_S);
    return false;
}

static bool take_word(const struct cli *cli, struct purge_words *w, int c)
{
    switch (c) {
    case CLI_OPERAND:
        return add_scope(cli, w, optarg);
    case OPTION_PREFIX:
        w->kind = "prefix";
        return add_scope(cli, w, optarg);
    case OPTION_TAG:
        w->kind = "tag";
        return add_scope(cli, w, optarg);
    case OPTION_HOST:
        w->kind = "host";
        return add_scope(cli, w, optarg);
    case OPTION_ALL:
        w->all = true;
        return true;
    case OPTION_SOFT:
        w->soft = true;
        return true;
    case OPTION_ID:
        return set_id(cli, w, optarg);
    case OPTION_WAIT:
        return set_wait(cli, w, optarg);
    default:
        CHECK(c == CLI_WRONG);
        return false;
    }
}

static bool read_words(struct cli *cli, int argc, char **argv, struct purge_words *w)
{
    int c;

    while ((c = cli_next(cli, argc, argv, "", options)) != CLI_END)
        if (!take_word(cli, w, c))
            return false;
    if (w->all && json_array_size(w->scopes) > 0) {
        cli_wrong(cli, "--all purges everything; name nothing beside it");
        return false;
    }
    if (!w->all && json_array_size(w->scopes) == 0) {
        cli_wrong(cli, "what is to be purged? Give URLs, --prefix, --tag, --host or --all");
        return false;
    }
    return !w->all || json_array_append_new(w->scopes, json_pack("{s:b}", "all", 1)) == 0;
}

/* To standard error: what was purged cannot have been meant. */
static void warn_of_hosts(const struct client_answer *a, const json_t *hosts)
{
    const json_t *host;
    size_t i;

    json_array_foreach(hosts, i, host)
    {
        struct buf safe;

        if (!json_is_string(host))
            continue;
        buf_init(&safe, TEXT_SAFE_BYTES(HOST_BYTES) + 1);
        text_add_safe(&safe, slice_head(slice_of(json_string_value(host)), HOST_BYTES),
                      TEXT_ONE_LINE);
        buf_add_char(&safe, '\0');
        fprintf(stderr, "%s  no site has the host %s; is it spelt right?\n", a->node,
                safe.failed ? "?" : safe.p);
        buf_release(&safe);
    }
}

static bool print_position(const struct cli *cli, const struct client_answer *a, const void *user)
{
    json_t *root = report_object(a);
    json_int_t epoch, n;
    bool ok = json_unpack(root, "{s:{s:I,s:I}}", "position", "epoch", &epoch, "n", &n) == 0;

    (void)cli;
    (void)user;
    if (ok)
        printf("%s  purged up to %lld-%lld (%lld ms)\n", a->node, (long long)epoch, (long long)n,
               (long long)a->ms);
    if (ok)
        warn_of_hosts(a, json_object_get(root, "no_site_has"));
    json_decref(root);
    return ok;
}

static int send_purge(struct cli *cli, const struct purge_words *w, struct receipt *receipt)
{
    struct report report = {.print = print_position};
    json_t *root = json_pack("{s:O,s:b,s:s}", "scopes", w->scopes, "soft", w->soft, "id", w->id);
    char *body = root == NULL ? NULL : json_dumps(root, JSON_COMPACT);
    struct client_request request = {
        .path = "/purge", .body = body, .answer_bytes_max = CLIENT_ANSWER_BYTES_MAX};
    int status = CLI_FAILED;

    if (receipt != NULL) {
        report.seen = receipt_note;
        report.seen_user = receipt;
    }
    if (body == NULL)
        fprintf(stderr, "selvage purge: out of memory; nothing was asked\n");
    else
        status = report_ask(cli, &request, &report);
    if (body != NULL && status == CLI_FAILED)
        fprintf(stderr,
                "selvage purge: not every node has confirmed; repeat it with --id %s, which "
                "counts once where it has\n",
                w->id);
    free(body);
    json_decref(root);
    return status;
}

/* A purge that not every node took is not waited for. */
static int purge_and_wait(struct cli *cli, const struct purge_words *w)
{
    struct receipt *r;
    int status;

    if (w->wait_s == 0)
        return send_purge(cli, w, NULL);
    r = receipt_new(cli);
    if (r == NULL) {
        fprintf(stderr, "selvage purge: out of memory; nothing was asked\n");
        return CLI_FAILED;
    }
    status = send_purge(cli, w, r);
    if (status == CLI_DONE)
        status = receipt_wait(cli, r, (int64_t)w->wait_s * 1000);
    receipt_free(r);
    return status;
}

static int run_purge(struct cli *cli, int argc, char **argv)
{
    struct purge_words w = {.scopes = json_array(), .kind = "url"};
    int status = CLI_USAGE;

    if (w.scopes != NULL && read_words(cli, argc, argv, &w) && cli_connect_settings(cli)) {
        status = CLI_FAILED;
        if (w.id[0] != '\0' || make_id(&w))
            status = purge_and_wait(cli, &w);
    }
    json_decref(w.scopes);
    return status;
}

const struct cli_command cmd_purge = {
    .name = "purge",
    .summary = "make nodes forget URLs, prefixes, tags, hosts or everything",
    .synopsis = "purge URL ... | --prefix URL ... | --tag TAG ... | --host HOST ... | --all\n"
                "               [--soft] [--id ID] [--wait[=SECONDS]]",
    .help =
        "Purges what is named, on every node.  When a node confirms, the purge holds there: it\n"
        "is on its disk, and nothing that was fetched before will be served again.\n"
        "\n"
        "  URL ...        these URLs, with all their variants\n"
        "  --prefix URL   all URLs that begin so; further words are prefixes too\n"
        "  --tag TAG      all objects with this tag (Surrogate-Key, Cache-Tag); further\n"
        "                 words are tags too\n"
        "  --host HOST    all objects of this host; further words are hosts too\n"
        "  --all          everything\n"
        "  --soft         do not forget it, but treat it as stale from now on\n"
        "  --id ID        the purge's id; one that was confirmed counts only once\n"
        "  --wait[=SECONDS]\n"
        "                 wait, 10 seconds or so many, until every node that follows has applied\n"
        "                 it, and print each: applied; fenced at +N s (it cannot be reached, and\n"
        "                 by then serves nothing that it has not validated); or unknown (told to\n"
        "                 serve without its journal).  Status 0: it holds everywhere\n",
    .run = run_purge,
};
