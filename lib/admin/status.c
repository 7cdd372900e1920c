/* GET /healthz, /readyz and /status. */
#include "admin/admin_priv.h"

enum { READY_BYTES_MAX = 65536, MS_PER_S = 1000 };

void admin__healthz(struct admin_call *c)
{
    buf_add(&c->response->body, SLICE("ok\n"));
}

void admin__readyz(struct admin_call *c)
{
    const struct admin_backend *b = &c->admin->opt.backend;

    c->response->status = b->ready(b->user, &c->response->body) ? 200 : 503;
}

void admin__members(struct admin_call *c)
{
    const struct admin_backend *b = &c->admin->opt.backend;

    c->response->content_type = "application/json";
    b->members(b->user, &c->response->body);
}

static void add_text(struct buf *out, const char *key, const char *text)
{
    buf_addf(out, "\"%s\":\"", key);
    buf_add_json(out, slice_of(text));
    buf_add(out, SLICE("\","));
}

static void add_flag(struct buf *out, const char *key, bool is_set)
{
    buf_addf(out, "\"%s\":%s", key, is_set ? "true" : "false");
}

static void add_positions(struct buf *out, struct purge *p)
{
    struct purge_stat stat;

    purge_stat(p, &stat);
    buf_addf(out, "\"positions\":{\"epoch\":%u,\"n\":%llu,\"first\":%llu},\"scopes\":%llu,",
             position_epoch(stat.head), (unsigned long long)position_n(stat.head),
             (unsigned long long)position_n(stat.first), (unsigned long long)stat.scopes);
}

static void add_store(struct buf *out, struct store *s)
{
    struct store_stat stat;

    store_stat(s, &stat);
    buf_addf(out, "\"store\":{\"objects\":%llu,\"used_bytes\":%llu,\"size_bytes\":%llu,",
             (unsigned long long)stat.objects, (unsigned long long)stat.used_bytes,
             (unsigned long long)stat.bytes_max);
    add_flag(out, "writable", stat.writable);
    buf_addf(out, ",\"queue_bytes\":%llu},", (unsigned long long)stat.queue_bytes);
}

static void add_ready(struct buf *out, const struct admin_backend *b)
{
    struct buf text;

    buf_init(&text, READY_BYTES_MAX);
    add_flag(out, "ready", b->ready(b->user, &text));
    buf_add(out, SLICE(",\"ready_text\":\""));
    buf_add_json(out, buf_slice(&text));
    buf_add(out, SLICE("\","));
    buf_release(&text);
}

/* The names of the sites that the caller may touch: others are none of a restricted token's
 * business. */
static void add_sites(struct buf *out, const struct admin_call *c)
{
    const struct config *config = c->admin->config;
    bool is_first = true;

    buf_add(out, SLICE("\"sites\":["));
    for (size_t i = 0; i < config->sites_count; i++) {
        if (!admin__may_touch_site(c, config->sites[i].name))
            continue;
        buf_add(out, is_first ? SLICE("\"") : SLICE(",\""));
        buf_add_json(out, slice_of(config->sites[i].name));
        buf_add_char(out, '"');
        is_first = false;
    }
    buf_add_char(out, ']');
}

void admin__status(struct admin_call *c)
{
    struct admin *a = c->admin;
    struct buf *out = &c->response->body;

    c->response->content_type = "application/json";
    buf_add_char(out, '{');
    add_text(out, "version", a->opt.version);
    add_text(out, "node", a->config->node);
    add_text(out, "config", a->config->file);
    buf_addf(out, "\"sites_hash\":\"%016llx\",", (unsigned long long)a->config->sites_hash);
    add_positions(out, a->opt.purge);
    add_flag(out, "follows", purge_follows(a->opt.purge));
    buf_add_char(out, ',');
    add_store(out, a->opt.store);
    add_ready(out, &a->opt.backend);
    buf_addf(out, "\"uptime_s\":%lld,", (long long)((a->now_ms() - a->started_ms) / MS_PER_S));
    add_sites(out, c);
    buf_add(out, SLICE("}\n"));
}
