/* GET /ls?prefix=URL&limit=N: stored objects under a URL, one JSON object a line. */
#include "admin/admin_priv.h"
#include "admin/purge_body.h"
#include "base/arena.h"
#include "base/limits.h"

enum { NUMBER_BYTES_MAX = 64, ROWS_DEFAULT = 1000, ROWS_MAX = 100000, ARENA_BYTES_MAX = 128 << 10 };

struct listing {
    const struct admin_backend *backend;
    struct slice prefix; /* in purge form */
    uint64_t rows, rows_max;
    struct buf line; /* one row, so that the answer ends with a whole line */
    struct buf *out;
};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static enum err unescape(struct slice s, struct buf *out)
{
    for (size_t i = 0; i < s.n; i++) {
        int high, low;

        if (s.p[i] != '%') {
            buf_add_char(out, s.p[i]);
            continue;
        }
        if (s.n - i < 3)
            return ERR_INVALID;
        high = hex_digit(s.p[i + 1]);
        low = hex_digit(s.p[i + 2]);
        if (high < 0 || low < 0)
            return ERR_INVALID;
        buf_add_char(out, (char)(high * 16 + low));
        i += 2;
    }
    return out->failed ? ERR_INVALID : ERR_OK;
}

enum err admin__query_value(struct slice query, struct slice name, struct buf *out)
{
    while (query.n > 0) {
        struct slice pair = slice_head(query, slice_index(query, '&'));
        size_t equals = slice_index(pair, '=');

        if (slice_eq(slice_head(pair, equals), name))
            return unescape(slice_from(pair, equals + 1), out);
        query = slice_from(query, pair.n + 1);
    }
    return ERR_NOT_FOUND;
}

/* Cut the next word off `rest`, up to a space. */
static struct slice next_word(struct slice *rest)
{
    struct slice word = slice_head(*rest, slice_index(*rest, ' '));

    *rest = slice_from(*rest, word.n + 1);
    return word;
}

/*
 * The URL as it was asked for, out of the key: "version scheme host target", as site_key() writes
 * it, without the country.  A key of another form still has its purge URL, which lacks the scheme
 * alone.
 */
static void add_url(struct buf *out, const struct store_row *row)
{
    struct slice rest = site_key_of_all(row->key.text), scheme, host;

    (void)next_word(&rest);
    scheme = next_word(&rest);
    host = next_word(&rest);
    if (slice_starts_with(rest, SLICE("/")) && scheme.n > 0 && host.n > 0) {
        buf_add_json(out, scheme);
        buf_add(out, SLICE("://"));
        buf_add_json(out, host);
        buf_add_json(out, rest);
    } else {
        buf_add_json(out, row->stamp.purge_url);
    }
}

static const char *state_name(enum store_verdict v, int64_t ttl_s)
{
    if (v == STORE_DEAD)
        return "purged";
    return v == STORE_STALE || ttl_s <= 0 ? "stale" : "fresh";
}

bool admin__ls_line(const struct admin_backend *backend, const struct store_row *row,
                    struct buf *out)
{
    int64_t age_s, ttl_s;
    int status;

    if (row->is_marker || !backend->head_facts(backend->user, row->head, &age_s, &ttl_s, &status))
        return false;
    buf_add(out, SLICE("{\"url\":\""));
    add_url(out, row);
    buf_addf(out, "\",\"age_s\":%lld,\"ttl_s\":%lld,\"size\":%llu,\"status\":%d,\"state\":\"%s\",",
             (long long)age_s, (long long)ttl_s, (unsigned long long)row->body_bytes, status,
             state_name(row->verdict, ttl_s));
    if (row->key.variant == 0)
        buf_add(out, SLICE("\"variant\":null}\n"));
    else
        buf_addf(out, "\"variant\":\"%016llx\"}\n", (unsigned long long)row->key.variant);
    return !out->failed;
}

static bool on_row(void *user, const struct store_row *row)
{
    struct listing *l = user;

    if (!slice_starts_with(row->stamp.purge_url, l->prefix))
        return true;
    l->line.n = 0;
    l->line.failed = false;
    if (!admin__ls_line(l->backend, row, &l->line))
        return true;
    if (l->line.n > l->out->bytes_max - l->out->n)
        return false;
    buf_add(l->out, buf_slice(&l->line));
    l->rows++;
    return l->rows < l->rows_max && !l->out->failed;
}

static bool read_limit(struct admin_call *c, uint64_t *out)
{
    struct buf text;
    enum err e;

    buf_init(&text, NUMBER_BYTES_MAX);
    e = admin__query_value(c->request->query, SLICE("limit"), &text);
    if (e == ERR_NOT_FOUND)
        *out = ROWS_DEFAULT;
    else if (e == ERR_OK && (!slice_to_u64(buf_slice(&text), out) || *out < 1 || *out > ROWS_MAX))
        e = ERR_INVALID;
    buf_release(&text);
    if (e == ERR_INVALID)
        admin__refuse(c, 400, "limit must be a number from 1 to %d", ROWS_MAX);
    return e != ERR_INVALID;
}

static void list(struct admin_call *c, struct slice host, struct listing *l)
{
    enum err e;

    l->out = &c->response->body;
    l->out->bytes_max = ADMIN_LIST_BYTES_MAX;
    buf_init(&l->line, ADMIN_ANSWER_BYTES_MAX);
    c->response->content_type = "application/x-ndjson";
    e = store_walk(c->admin->reader, host, on_row, l);
    buf_release(&l->line);
    if (e != ERR_OK)
        admin__refuse(c, 503, "the store cannot be read (%s); look into the error log",
                      err_name(e));
}

void admin__ls(struct admin_call *c)
{
    struct listing l = {.backend = &c->admin->opt.backend};
    struct arena arena;
    struct slice host;
    struct buf url;

    if (!read_limit(c, &l.rows_max))
        return;
    arena_init(&arena, NULL, 0, ARENA_BYTES_MAX);
    buf_init(&url, 2 * LIMIT_TARGET_BYTES);
    if (admin__query_value(c->request->query, SLICE("prefix"), &url) != ERR_OK ||
        purge_body_url(buf_slice(&url), &arena, &host, &l.prefix) != ERR_OK)
        admin__refuse(c, 400,
                      "say what to list, as in /ls?prefix=https%%3A%%2F%%2Fexample.com%%2Fnews");
    else if (!admin__may_touch_host(c, host))
        admin__refuse(c, 403, "the token %s is not for this site; use one that is",
                      c->who.token->config->name);
    else
        list(c, host, &l);
    buf_release(&url);
    arena_release(&arena);
}
