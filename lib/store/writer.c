/*
 * The writer thread: takes messages from the queue, puts as many into a transaction as fit,
 * commits, and tells.
 *
 * A message stays in `pending` until its transaction is committed: when the map was full the same
 * messages are put again into a smaller one, after room has been made.
 */
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "store/store_priv.h"

enum {
    IDLE_MS = 2,            /* nothing came for so long: commit what there is */
    HOUSEKEEP_MS = 1000,    /* how often parked bodies and a refusing disk are looked at again */
    FULL_TRIES_PATIENT = 6, /* with smaller transactions; then with less in the store */
    FULL_TRIES_MAX = 12,
    CALM_COMMITS = 1000, /* then more of the map is used again */
    PRESSED_PERCENT = 5, /* of the map: how much less is used after it was full in spite of all */
    PRESSED_EVICTIONS = 64,
    FULL_DISK_BYTES = 8 << 20, /* no more is free: LMDB writes up to 4 MiB at a time */
    BATCH_LEAST = 65536,
    BATCH_SCATTERED = 1 << 20, /* frees fewer pages than one page can list */
    FULL_LOSSES_MAX = 8,
};

/* ---- the queue's other end ---- */

static void wait_until(struct store *s, int64_t wait_ms)
{
    struct timespec at;

    if (wait_ms < 0) {
        pthread_cond_wait(&s->wake, &s->lock);
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += wait_ms / 1000;
    at.tv_nsec += wait_ms % 1000 * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&s->wake, &s->lock, &at);
}

/* Move what has come to `pending`, waiting once for at most `wait_ms` (-1: for ever).  False:
 * nothing came. */
static bool take(struct store *s, int64_t wait_ms, bool *out_stopping)
{
    bool came;

    pthread_mutex_lock(&s->lock);
    if (s->first == NULL && !s->is_stopping && wait_ms != 0) {
        s->is_waiting = true;
        wait_until(s, wait_ms);
        s->is_waiting = false;
    }
    came = s->first != NULL;
    if (came) {
        *s->pending_last = s->first;
        s->pending_last = s->last;
        s->first = NULL;
        s->last = &s->first;
    }
    *out_stopping = s->is_stopping;
    pthread_mutex_unlock(&s->lock);
    return came;
}

/* ---- telling ---- */

static void tell_done(struct store_put *p, enum err e)
{
    pthread_mutex_lock(&p->lock);
    if (!p->is_aborted && !p->is_done)
        p->events->done(p->user, e);
    p->is_done = true;
    pthread_mutex_unlock(&p->lock);
}

static void tell_committed(struct store_put *p)
{
    pthread_mutex_lock(&p->lock);
    if (!p->is_aborted && !p->is_done && p->events->committed != NULL)
        p->events->committed(p->user, p->body_bytes);
    pthread_mutex_unlock(&p->lock);
}

static void tell(struct store *s, struct store_message *m)
{
    struct store_put *p = m->put;

    switch (m->kind) {
    case STORE_CHUNK:
        /* early, when it failed: its readers must not wait for what will not come */
        if (p->failed != ERR_OK)
            tell_done(p, p->failed);
        else if (p->last_chunk == m)
            tell_committed(p);
        break;
    case STORE_PUBLISH:
        tell_done(p, m->result);
        break;
    case STORE_REFRESH:
    case STORE_FLUSH:
        if (m->done != NULL)
            m->done(m->user, m->result);
        break;
    case STORE_REMOVE: {
        uint64_t id = m->objid;

        atomic_compare_exchange_strong_explicit(&s->asked[id % STORE_ASKED_SLOTS], &id, 0,
                                                memory_order_relaxed, memory_order_relaxed);
        atomic_fetch_sub_explicit(&s->queue_removals, 1, memory_order_relaxed);
        break;
    }
    case STORE_ABORT:
        break;
    }
}

/* Nothing of it waits for the disk any more. */
static void uncount(struct store *s, struct store_message *m)
{
    atomic_fetch_sub_explicit(&s->queue_bytes, m->bytes, memory_order_relaxed);
    metrics_add(METRIC_STORE_QUEUE_BYTES, -(int64_t)m->bytes);
    m->bytes = 0;
}

static void finish(struct store *s, struct store_message *m)
{
    uncount(s, m);
    tell(s, m);
    store__message_free(m);
}

static struct store_message *shift(struct store *s)
{
    struct store_message *m = s->pending;

    s->pending = m->next;
    if (s->pending == NULL)
        s->pending_last = &s->pending;
    return m;
}

/* ---- transactions ---- */

static enum err begin(struct store *s)
{
    struct store_tx *tx = s->tx;
    enum err e;

    *tx = (struct store_tx){.store = s, .state = s->state, .began_ms = clock_mono_ms()};
    e = table_write_begin(s->table, &tx->w);
    if (e == ERR_OK)
        e = store__collect(tx); /* before anything is parked in this one */
    if (e == ERR_OK)
        e = store__take_leftovers(tx);
    return e;
}

static enum err commit(struct store *s)
{
    struct store_tx *tx = s->tx;
    char state[STORE_STATE_BYTES];
    struct table_stat st;
    enum err e;

    tx->state.next_objid = atomic_load_explicit(&s->next_objid, memory_order_relaxed);
    store_state_encode(&tx->state, state);
    e = table_put(tx->w, STORE_TABLE_META, STORE_KEY_STATE, (struct slice){state, sizeof(state)});
    if (e == ERR_OK)
        e = table_commit(&tx->w);
    if (e != ERR_OK) {
        table_abort(&tx->w);
        return e;
    }
    s->state = tx->state;
    table_stat(s->table, &st);
    atomic_store_explicit(&s->used_bytes, st.used_bytes, memory_order_relaxed);
    atomic_store_explicit(&s->objects, s->state.objects, memory_order_relaxed);
    metrics_add(METRIC_STORE_COMMITS, 1);
    metrics_add(METRIC_STORE_PUBLISHED, tx->published);
    metrics_add(METRIC_STORE_EVICTED, tx->evicted);
    metrics_add(METRIC_STORE_REMOVED, tx->removed);
    metrics_add(METRIC_STORE_CORRUPT, tx->corrupt);
    return ERR_OK;
}

/* The puts of messages up to `end` keep, or lose, what the transaction did to them. */
static void settle(struct store_message *m, const struct store_message *end, bool is_committed)
{
    for (; m != end; m = m->next) {
        struct store_put *p = m->put;

        if (p == NULL)
            continue;
        if (is_committed) {
            p->pages_bytes = p->tx_pages_bytes;
            p->body_bytes = p->tx_body_bytes;
            p->chunks = p->tx_chunks;
        } else {
            p->tx_pages_bytes = p->pages_bytes;
            p->tx_body_bytes = p->body_bytes;
            p->tx_chunks = p->chunks;
        }
    }
}

/* ---- when it fails ---- */

/* A message that no transaction will take: what is only tidying stays for later. */
static bool refuse(struct store *s, struct store_message *m, enum err e)
{
    switch (m->kind) {
    case STORE_CHUNK:
        if (m->put->failed == ERR_OK)
            m->put->failed = e;
        break;
    case STORE_PUBLISH:
        if (!m->is_failed)
            m->result = e;
        if (m->put->pages_bytes > 0) {
            /* what of it is in the table has still to be taken out */
            tell_done(m->put, m->result);
            uncount(s, m);
            m->kind = STORE_ABORT;
            return false;
        }
        break;
    case STORE_REFRESH:
        if (!m->is_failed)
            m->result = e;
        break;
    case STORE_FLUSH:
        m->result = e;
        break;
    case STORE_ABORT:
        if (m->put->pages_bytes > 0)
            return false;
        break;
    case STORE_REMOVE:
        return false;
    }
    finish(s, m);
    return true;
}

static void refuse_pending(struct store *s, enum err e)
{
    struct store_message *m = s->pending, *next;

    s->pending = NULL;
    s->pending_last = &s->pending;
    for (; m != NULL; m = next) {
        next = m->next;
        if (refuse(s, m, e))
            continue;
        m->next = NULL;
        *s->pending_last = m;
        s->pending_last = &m->next;
    }
}

/* LMDB says EIO of a write that came out short, which is what the last one before a full disk does.
 */
static bool is_disk_full(const struct store *s, int why)
{
    struct statvfs fs;

    return why == ENOSPC || why == EDQUOT ||
           (why == EIO && statvfs(s->dir, &fs) == 0 && fs.f_bavail * fs.f_frsize < FULL_DISK_BYTES);
}

static const char *reason(const struct store *s, enum err e, int why)
{
    if (e != ERR_IO)
        return err_name(e);
    return is_disk_full(s, why) ? "the disk is full" : strerror(why);
}

/*
 * The disk holds no more than what is in the store now.  From here on less is kept, so that what
 * comes takes the place of the oldest: else nothing would ever be stored again.  In steps that find
 * the few pages that they need in a file that cannot grow.
 */
static void fit_disk(struct store *s)
{
    uint64_t used = atomic_load_explicit(&s->used_bytes, memory_order_relaxed);
    uint64_t less = used / 100 * (100 - PRESSED_PERCENT);

    s->calm = 0;
    s->is_scattered = true;
    s->batch_now = BATCH_LEAST;
    if (less < s->limit_bytes)
        s->limit_bytes = less;
}

static void stop_writing(struct store *s, enum err e)
{
    int why = errno;

    metrics_add(METRIC_STORE_ERRORS, 1);
    if (atomic_exchange_explicit(&s->is_writable, false, memory_order_relaxed))
        log_error("store: %s: cannot write: %s: objects are served without being stored; trying "
                  "again every second",
                  s->dir, reason(s, e, why));
    if (e == ERR_IO && is_disk_full(s, why))
        fit_disk(s);
    if (e == ERR_CORRUPT)
        store__mark_damaged(s->dir); /* the next start begins anew */
    s->probe_at_ms = clock_mono_ms() + HOUSEKEEP_MS;
    refuse_pending(s, e);
}

/*
 * Less in the store for a while, and room made in transactions so small that they find a page for
 * each that they change.
 */
static void press(struct store *s)
{
    uint64_t least = s->opt.bytes_max / 2;
    uint64_t less = s->opt.bytes_max / 100 * PRESSED_PERCENT;

    if (s->limit_bytes > least + less)
        s->limit_bytes -= less;
    for (int evictions = PRESSED_EVICTIONS; evictions > 0; evictions /= 2) {
        enum err e = begin(s);

        for (int i = 0; e == ERR_OK && i < evictions; i++)
            e = store__evict_one(s->tx);
        if (e == ERR_OK || e == ERR_NOT_FOUND)
            e = commit(s);
        table_abort(&s->tx->w);
        if (e != ERR_OK && e != ERR_LIMIT)
            return;
    }
}

/* Not even alone, and with room made for it: the first message is given up, the others go on. */
static void give_up_first(struct store *s)
{
    struct store_message *m = s->pending;

    s->full_tries = 0;
    if (m == NULL || ++s->full_losses > FULL_LOSSES_MAX ||
        (m->kind != STORE_CHUNK && m->kind != STORE_PUBLISH && m->kind != STORE_REFRESH)) {
        s->full_losses = 0;
        stop_writing(s, ERR_LIMIT);
        return;
    }
    if (m->kind == STORE_CHUNK)
        m->put->failed = ERR_LIMIT;
    m->is_failed = true;
    m->result = ERR_LIMIT;
}

/* Nobody tells when a reader has woken up; its call then ends within microseconds. */
static void pause_ms(int ms)
{
    struct timespec t = {.tv_nsec = ms * 1000000L};

    nanosleep(&t, NULL);
}

/*
 * The map was full though less than its share was used.  Either freed pages cannot be used again
 * yet, because a reader that was put to sleep still sees them; or they are too scattered for what
 * wants several in a row: chunks, and lists of freed pages.  So: smaller transactions, chunks by
 * parts, and then less in the store.
 */
static void on_full(struct store *s)
{
    s->calm = 0;
    s->is_scattered = true;
    s->batch_now = s->batch_now / 4 > BATCH_LEAST ? s->batch_now / 4 : BATCH_LEAST;
    pause_ms(s->full_tries < 6 ? 1 << s->full_tries : 64);
    if (++s->full_tries <= FULL_TRIES_PATIENT)
        return;
    if (s->full_tries <= FULL_TRIES_MAX)
        press(s);
    else
        give_up_first(s);
}

/* Pressure passes. */
static void relax(struct store *s)
{
    uint64_t whole = store__limit_bytes(s);
    uint64_t batch = s->batch_bytes;

    s->full_tries = s->full_losses = 0;
    if (s->is_scattered && batch > BATCH_SCATTERED)
        batch = BATCH_SCATTERED;
    if (s->batch_now < batch)
        s->batch_now = s->batch_now * 2 < batch ? s->batch_now * 2 : batch;
    if ((s->limit_bytes == whole && !s->is_scattered) || ++s->calm < CALM_COMMITS)
        return;
    s->calm = 0;
    s->is_scattered = false;
    s->limit_bytes += s->opt.bytes_max / 100 * PRESSED_PERCENT;
    if (s->limit_bytes > whole)
        s->limit_bytes = whole;
}

static void on_failure(struct store *s, const struct store_message *end, enum err e)
{
    int why = errno;

    table_abort(&s->tx->w);
    settle(s->pending, end, false);
    errno = why;
    if (e == ERR_LIMIT)
        on_full(s);
    else
        stop_writing(s, e);
}

static void on_success(struct store *s, const struct store_message *end)
{
    if (!atomic_exchange_explicit(&s->is_writable, true, memory_order_relaxed))
        log_info("store: %s: can be written again", s->dir);
    relax(s);
    settle(s->pending, end, true);
    while (s->pending != end)
        finish(s, shift(s));
}

/* ---- the loop ---- */

static bool is_full_batch(const struct store *s)
{
    return s->tx->cost >= s->batch_now ||
           clock_mono_ms() - s->tx->began_ms >= LIMIT_STORE_COMMIT_MS;
}

/* Put messages into the transaction until it is full or nothing comes; *out_end: the first that is
 * not in it. */
static enum err fill(struct store *s, struct store_message **out_end)
{
    struct store_message *m = s->pending;
    bool stopping = false, flush = false;
    enum err e = ERR_OK;

    for (;;) {
        *out_end = m;
        if (m == NULL) {
            bool is_idle = s->pending == NULL; /* only tidying up */

            if (is_idle || flush || stopping || is_full_batch(s))
                return ERR_OK;
            if (!take(s, IDLE_MS, &stopping))
                return ERR_OK;
            /* the list was walked to its end: find where the new ones begin */
            m = s->filled == NULL ? s->pending : s->filled->next;
            continue;
        }
        switch (store__apply(s->tx, m, &e)) {
        case STEP_DONE:
            flush |= m->kind == STORE_FLUSH;
            s->filled = m;
            m = m->next;
            *out_end = m;
            if (is_full_batch(s))
                return ERR_OK;
            break;
        case STEP_FULL:
            return ERR_OK;
        case STEP_FAILED:
            *out_end = m->next; /* it may have been half done */
            return e;
        }
    }
}

static void run_one(struct store *s)
{
    struct store_message *end = s->pending;
    enum err e = begin(s);

    s->filled = NULL;
    if (e == ERR_OK)
        e = fill(s, &end);
    if (e == ERR_OK && s->pending == end && !s->tx->is_changed) {
        table_abort(&s->tx->w); /* a look, and nothing to do */
        return;
    }
    if (e == ERR_OK && !s->tx->is_changed) {
        /* refusals and the like: nothing that the disk need wait for */
        table_abort(&s->tx->w);
        on_success(s, end);
        return;
    }
    if (e == ERR_OK)
        e = commit(s);
    if (e == ERR_OK)
        on_success(s, end);
    else
        on_failure(s, end, e);
}

/* How long may the writer sleep?  -1: until something comes. */
static int64_t sleep_ms(const struct store *s)
{
    bool writable = atomic_load_explicit(&s->is_writable, memory_order_relaxed);

    if (writable && (s->pending != NULL || s->gc_is_busy || s->has_leftovers))
        return 0;
    if (!writable || s->state.gc_bytes > 0)
        return HOUSEKEEP_MS;
    return -1;
}

/* While the disk refuses: nothing waits for it, and once a second it is asked again. */
static void run_refusing(struct store *s)
{
    refuse_pending(s, ERR_IO);
    if (clock_mono_ms() < s->probe_at_ms)
        return;
    if (begin(s) == ERR_OK) {
        s->tx->is_changed = true;
        if (commit(s) == ERR_OK) {
            on_success(s, s->pending);
            return;
        }
    }
    table_abort(&s->tx->w);
    stop_writing(s, ERR_IO);
}

void *store__writer_run(void *user)
{
    struct store *s = user;
    bool stopping = false;

    metrics_thread_start();
    for (;;) {
        bool came = take(s, sleep_ms(s), &stopping);

        if (stopping && !came && s->pending == NULL)
            break;
        if (atomic_load_explicit(&s->is_writable, memory_order_relaxed)) {
            run_one(s);
        } else if (stopping) {
            refuse_pending(s, ERR_IO);
            break;
        } else {
            run_refusing(s);
        }
    }
    /* ids that were given out and came to nothing are not given again, whoever opens it next */
    if (begin(s) == ERR_OK)
        (void)!commit(s);
    table_abort(&s->tx->w);
    while (s->pending != NULL)
        finish(s, shift(s));
    return NULL;
}
