/* GET /metrics: the counters of base/metrics, and what purge and store know by themselves. */
#include "base/metrics.h"

#include "admin/admin_priv.h"

static void add_gauge(struct buf *out, const char *name, const char *help, uint64_t value)
{
    buf_addf(out, "# HELP %s %s\n# TYPE %s gauge\n%s %llu\n", name, help, name, name,
             (unsigned long long)value);
}

void admin__metrics(struct admin_call *c)
{
    struct admin *a = c->admin;
    struct buf *out = &c->response->body;
    struct purge_stat purge;
    struct store_stat store;

    purge_stat(a->opt.purge, &purge);
    store_stat(a->opt.store, &store);
    c->response->content_type = "text/plain; version=0.0.4; charset=utf-8";
    metrics_format(out);
    add_gauge(out, "selvage_store_objects", "Objects in the store.", store.objects);
    add_gauge(out, "selvage_store_used_bytes", "Bytes of the store in use.", store.used_bytes);
    add_gauge(out, "selvage_store_size_bytes", "Bytes that the store may use.", store.bytes_max);
    add_gauge(out, "selvage_store_writable", "1 while the store can be written to.",
              store.writable);
    add_gauge(out, "selvage_purge_epoch", "Epoch of the purge journal.",
              position_epoch(purge.head));
    add_gauge(out, "selvage_purge_position_n", "Number of the last purge in its epoch.",
              position_n(purge.head));
    add_gauge(out, "selvage_purge_scopes", "Scopes in the table of purges.", purge.scopes);
    buf_add(out, SLICE("# HELP selvage_build_info The version that runs.\n"
                       "# TYPE selvage_build_info gauge\nselvage_build_info{version=\""));
    buf_add(out, slice_of(a->opt.version));
    buf_add(out, SLICE("\"} 1\n"));
}
