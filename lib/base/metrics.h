/*
 * metrics: counters, declared once in metrics.def, counted per thread, summed when read.
 *
 * A thread that counts has called metrics_thread_start(); counts of other threads go to a shared block.  Counting is a
 * plain add in memory that only this thread writes: no lock, no shared cache line.
 */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"

enum metric {
#define COUNTER(id, name, labels, help) METRIC_##id,
#define GAUGE(id, name, labels, help)   METRIC_##id,
#include "base/metrics.def"
#undef COUNTER
#undef GAUGE
    METRIC_COUNT
};

extern _Thread_local _Atomic uint64_t *metrics_block; /* METRIC_COUNT values; never NULL after start */

/* Give this thread a block of its own; kept after the thread has ended, so that sums never fall. */
void metrics_thread_start(void);

void metrics_add_slow(enum metric m, int64_t n); /* for threads without a block */

/* Add to a counter, or change a gauge by `n` (which may be negative). */
static inline void metrics_add(enum metric m, int64_t n)
{
    if (metrics_block == NULL) {
        metrics_add_slow(m, n);
        return;
    }
    /* one writer, so load and store do; atomic only so that the reader sees whole values */
    atomic_store_explicit(&metrics_block[m],
                          atomic_load_explicit(&metrics_block[m], memory_order_relaxed) + (uint64_t)n,
                          memory_order_relaxed);
}

/* The sum over all threads. */
uint64_t metrics_get(enum metric m);

/* All counters and gauges in Prometheus text format, with HELP and TYPE; families with labels are grouped. */
void metrics_format(struct buf *out);

#endif
