#include "base/metrics.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

enum kind { KIND_COUNTER, KIND_GAUGE };

static const struct {
    const char *name, *labels, *help;
    enum kind kind;
} metric[METRIC_COUNT] = {
#define COUNTER(id, name, labels, help) {name, labels, help, KIND_COUNTER},
#define GAUGE(id, name, labels, help)   {name, labels, help, KIND_GAUGE},
#include "base/metrics.def"
#undef COUNTER
#undef GAUGE
};

struct thread_block {
    struct thread_block *next;
    _Atomic uint64_t value[METRIC_COUNT];
};

_Thread_local _Atomic uint64_t *metrics_block;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct thread_block *blocks;         /* under `lock`; never freed, so sums never fall */
static _Atomic uint64_t shared[METRIC_COUNT];

void metrics_thread_start(void)
{
    struct thread_block *b = calloc(1, sizeof(*b));

    CHECK(b != NULL);
    pthread_mutex_lock(&lock);
    b->next = blocks;
    blocks = b;
    pthread_mutex_unlock(&lock);
    metrics_block = b->value;
}

void metrics_add_slow(enum metric m, int64_t n)
{
    atomic_fetch_add_explicit(&shared[m], (uint64_t)n, memory_order_relaxed);
}

uint64_t metrics_get(enum metric m)
{
    uint64_t sum = atomic_load_explicit(&shared[m], memory_order_relaxed);

    pthread_mutex_lock(&lock);
    for (struct thread_block *b = blocks; b != NULL; b = b->next)
        sum += atomic_load_explicit(&b->value[m], memory_order_relaxed);
    pthread_mutex_unlock(&lock);
    return sum;
}

void metrics_format(struct buf *out)
{
    for (enum metric m = 0; m < METRIC_COUNT; m++) {
        uint64_t sum = metrics_get(m);

        if (m == 0 || strcmp(metric[m].name, metric[m - 1].name) != 0)
            buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", metric[m].name, metric[m].help,
                     metric[m].name, metric[m].kind == KIND_GAUGE ? "gauge" : "counter");
        buf_add(out, slice_of(metric[m].name));
        if (metric[m].labels[0] != '\0')
            buf_addf(out, "{%s}", metric[m].labels);
        buf_add_char(out, ' ');
        if (metric[m].kind == KIND_GAUGE)
            buf_add_i64(out, (int64_t)sum);
        else
            buf_add_u64(out, sum);
        buf_add_char(out, '\n');
    }
}
