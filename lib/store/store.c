/* Opening and closing.  What is read, written and thrown away lives in read.c, queue.c, writer.c,
 * apply.c, room.c. */
#include "store/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/file.h"
#include "store/store_priv.h"

enum {
    PATH_BYTES_MAX = 4096,
    BOOT_SHIFT = 40, /* an id is boot 24 | sequence 40 */
    /*
     * What a transaction writes and frees cannot be used again by the next two, or for longer while
     * a reader sleeps: all that has to fit into the part of the map that is never used.
     */
    BATCHES_OF_A_MAP = 128,
};

#define BATCH_BYTES_MIN (128 * KIB)

static const char *const table_names[] = {"meta", "obj", "chunk", "queue", "inflight", "gc", NULL};

enum store_verdict store__verdict(const struct store *s, const struct store_stamp *stamp)
{
    const struct store_judge *j = &s->opt.judge;
    enum store_verdict v;
    uint64_t floor;

    /* what retires purges moves the floor first: unequal means that the table may have been emptied
     * under us */
    do {
        floor = j->floor(j->user);
        if (stamp->birth < floor)
            return STORE_DEAD;
        v = stamp->birth >= j->head(j->user) ? STORE_USABLE : j->judge(j->user, stamp);
    } while (floor != j->floor(j->user));
    return v;
}

/* ---- what is on the disk: is it ours to go on with? ---- */

static enum err put_meta(struct store *s, struct table_write *w, const struct store_format *f)
{
    char format[STORE_FORMAT_BYTES], state[STORE_STATE_BYTES];
    enum err e;

    store_format_encode(f, format);
    store_state_encode(&s->state, state);
    e = table_put(w, STORE_TABLE_META, STORE_KEY_FORMAT, (struct slice){format, sizeof(format)});
    if (e == ERR_OK)
        e = table_put(w, STORE_TABLE_META, STORE_KEY_STATE, (struct slice){state, sizeof(state)});
    return e;
}

static enum err begin_new(struct store *s, struct table_write *w)
{
    struct store_format f = {.ctl_id = s->opt.ctl_id};

    digest_random(&f.secret, sizeof(f.secret));
    s->secret = f.secret;
    return put_meta(s, w, &f);
}

/* *out_why: it is no use.  Two look-ups, however much there is. */
static enum err read_meta(struct store *s, struct table_write *w, const char **out_why)
{
    struct slice key, value;
    struct store_format f;
    enum err e = table_write_get(w, STORE_TABLE_META, STORE_KEY_FORMAT, &value);

    if (e == ERR_NOT_FOUND) {
        e = table_write_seek(w, STORE_TABLE_OBJ, (struct slice){NULL, 0}, &key, &value);
        if (e == ERR_NOT_FOUND)
            return begin_new(s, w);
        *out_why = "its description is missing";
        return e;
    }
    if (e != ERR_OK)
        return e;
    switch (store_format_decode(value, &f)) {
    case ERR_OK:
        break;
    case ERR_INVALID:
        *out_why = "it was written by another version";
        return ERR_OK;
    default:
        *out_why = "its description is damaged";
        return ERR_OK;
    }
    e = table_write_get(w, STORE_TABLE_META, STORE_KEY_STATE, &value);
    if (e != ERR_OK && e != ERR_NOT_FOUND)
        return e;
    s->secret = f.secret;
    if (e == ERR_NOT_FOUND || store_state_decode(value, &s->state) != ERR_OK)
        *out_why = "its description is damaged";
    else if (f.ctl_id != s->opt.ctl_id)
        *out_why = "it belongs to another purge journal";
    else if (s->state.birth > s->opt.head)
        *out_why = "it has objects born after the purge journal's end: the journal was set back";
    return ERR_OK;
}

static enum err use_table(struct store *s, const char **out_why)
{
    struct table_write *w = NULL;
    enum err e = table_write_begin(s->table, &w);

    if (e == ERR_OK)
        e = read_meta(s, w, out_why);
    if (e == ERR_OK && *out_why == NULL)
        return table_commit(&w);
    table_abort(&w);
    return e;
}

/* A map cannot be made smaller than the file that it maps. */
static bool is_larger(const char *dir, uint64_t bytes_max)
{
    char path[PATH_BYTES_MAX];
    struct stat st;

    snprintf(path, sizeof(path), "%s/data.mdb", dir);
    return stat(path, &st) == 0 && (uint64_t)st.st_size > bytes_max;
}

static enum err open_once(struct store *s, const char **out_why)
{
    struct table_options opt = {.dir = s->dir,
                                .bytes_max = s->opt.bytes_max,
                                .tables = table_names,
                                .sync = TABLE_MAY_LOSE_ONE};
    bool larger = is_larger(s->dir, s->opt.bytes_max);
    enum err e = file_make_dir(s->dir);

    *out_why = NULL;
    s->state = (struct store_state){0};
    if (e == ERR_OK)
        e = table_open(&opt, &s->table);
    if (e == ERR_OK && store__is_damaged(s->dir))
        *out_why = "its files were found damaged";
    else if (e == ERR_OK && larger)
        *out_why = "store.size was made smaller than its file";
    else if (e == ERR_OK)
        e = use_table(s, out_why);
    if (e == ERR_CORRUPT) {
        *out_why = "its files are damaged or of another format";
        e = ERR_OK;
    }
    return e;
}

/*
 * What is of no use is renamed while it is still locked, so that a second process cannot take it
 * for its own; the one that LMDB cannot read is not, but the journal beside it, opened before, is.
 */
static enum err open_table(struct store *s, const char **out_why)
{
    const char *why;
    enum err e = open_once(s, out_why);

    if (e != ERR_OK || *out_why == NULL)
        return e;
    e = store__move_aside(s->dir);
    table_close(s->table);
    s->table = NULL;
    if (e == ERR_OK)
        e = open_once(s, &why);
    if (e == ERR_OK && why != NULL) {
        errno = EIO; /* a disk that gives back other bytes than it was given */
        e = ERR_IO;
    }
    return e;
}

/* ---- threads ---- */

static void *remove_leftovers(void *user)
{
    struct store *s = user;

    store__remove_leftovers(s->dir);
    return NULL;
}

static void set_sizes(struct store *s)
{
    struct table_stat st;
    uint64_t first = (uint64_t)s->opt.boot << BOOT_SHIFT | 1;

    s->limit_bytes = store__limit_bytes(s);
    s->batch_bytes = s->opt.bytes_max / BATCHES_OF_A_MAP;
    if (s->batch_bytes > LIMIT_STORE_COMMIT_BYTES)
        s->batch_bytes = LIMIT_STORE_COMMIT_BYTES;
    if (s->batch_bytes < BATCH_BYTES_MIN)
        s->batch_bytes = BATCH_BYTES_MIN;
    s->batch_now = s->batch_bytes;
    /* a store that is opened twice within one boot goes on where it was */
    s->first_objid = s->state.next_objid > first ? s->state.next_objid : first;
    s->next_objid = s->first_objid;
    s->has_leftovers = true;
    table_stat(s->table, &st);
    s->used_bytes = st.used_bytes;
    s->objects = s->state.objects;
    s->is_writable = true;
}

static enum err start(struct store *s)
{
    enum err e = pins_new(&s->pins);

    if (e != ERR_OK)
        return e;
    s->tx = calloc(1, sizeof(*s->tx));
    s->old_row = malloc(LIMIT_RECORD_BYTES);
    s->old_base = malloc(LIMIT_RECORD_BYTES);
    s->scratch = malloc(LIMIT_RECORD_BYTES);
    if (s->tx == NULL || s->old_row == NULL || s->old_base == NULL || s->scratch == NULL)
        return ERR_NOMEM;
    set_sizes(s);
    if (pthread_create(&s->writer, NULL, store__writer_run, s) != 0)
        return ERR_NOMEM;
    s->has_writer = true;
    if (store__has_leftovers(s->dir))
        s->has_remover = pthread_create(&s->remover, NULL, remove_leftovers, s) == 0;
    return ERR_OK;
}

enum err store_open(const struct store_options *opt, struct store **out_store, const char **out_why)
{
    struct store *s;
    pthread_condattr_t attr;
    enum err e;

    CHECK(opt->dir != NULL && opt->bytes_max > 0 && opt->boot < 1u << 24);
    CHECK(opt->judge.judge != NULL && opt->judge.floor != NULL && opt->judge.head != NULL);
    s = calloc(1, sizeof(*s));
    if (s == NULL)
        return ERR_NOMEM;
    s->opt = *opt;
    s->last = &s->first;
    s->pending_last = &s->pending;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &attr);
    pthread_condattr_destroy(&attr);
    s->dir = strdup(opt->dir);
    e = s->dir == NULL ? ERR_NOMEM : open_table(s, out_why);
    if (e == ERR_OK)
        e = start(s);
    if (e != ERR_OK) {
        int why = errno;

        store_close(s);
        errno = why;
        return e;
    }
    *out_store = s;
    return ERR_OK;
}

void store_close(struct store *s)
{
    if (s == NULL)
        return;
    if (s->has_writer) {
        pthread_mutex_lock(&s->lock);
        s->is_stopping = true;
        pthread_cond_signal(&s->wake);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->writer, NULL);
    }
    if (s->has_remover)
        pthread_join(s->remover, NULL);
    table_close(s->table);
    pins_free(s->pins);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    free(s->tx);
    free(s->old_row);
    free(s->old_base);
    free(s->scratch);
    free(s->dir);
    free(s);
}

void store_stat(struct store *s, struct store_stat *out)
{
    *out = (struct store_stat){
        .objects = atomic_load_explicit(&s->objects, memory_order_relaxed),
        .used_bytes = atomic_load_explicit(&s->used_bytes, memory_order_relaxed),
        .bytes_max = s->opt.bytes_max,
        .queue_bytes = atomic_load_explicit(&s->queue_bytes, memory_order_relaxed),
        .writable = atomic_load_explicit(&s->is_writable, memory_order_relaxed),
    };
}
