/* What the files of this folder share. */
#ifndef STORE_STORE_PRIV_H
#define STORE_STORE_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/pins.h"
#include "store/record.h"
#include "table/table.h"

enum {
    STORE_TABLE_META,     /* "format", "state" */
    STORE_TABLE_OBJ,      /* row key -> object */
    STORE_TABLE_CHUNK,    /* objid, n -> checksum and bytes; or the same in parts: objid, n, part */
    STORE_TABLE_QUEUE,    /* objid -> where it stands: the order of eviction */
    STORE_TABLE_INFLIGHT, /* objid -> bytes: chunks whose object is not published yet */
    STORE_TABLE_GC,       /* objid -> bytes: chunks to be deleted */
};

#define STORE_KEY_FORMAT SLICE("format")
#define STORE_KEY_STATE  SLICE("state")

enum { STORE_ASKED_SLOTS = 1024 };

/* ---- messages to the writer ---- */

enum store_message_kind {
    STORE_CHUNK,
    STORE_PUBLISH,
    STORE_ABORT,
    STORE_REFRESH,
    STORE_REMOVE,
    STORE_FLUSH,
};

struct store_message {
    struct store_message *next;
    enum store_message_kind kind;
    size_t bytes;    /* counted in queue_bytes */
    enum err result; /* told by done() */
    bool is_failed;  /* not to be tried again */
    struct store_put *put;

    /* STORE_CHUNK */
    size_t body_bytes, pieces_count;
    struct store_piece *pieces; /* behind the message; a reference of each block is ours */

    /* STORE_PUBLISH, STORE_REFRESH: encoded, owned; a refresh leaves the body out */
    char *object;
    size_t object_bytes;
    struct slice marker; /* owned with `object`, behind it */
    char base_row[STORE_ROW_KEY_BYTES];

    /* All but chunks. */
    char row[STORE_ROW_KEY_BYTES];
    uint64_t objid;
    bool has_row; /* a removal by id alone has none */

    /* STORE_REFRESH, STORE_FLUSH */
    void (*done)(void *user, enum err e);
    void *user;
};

struct store_put {
    /* Fixed at birth. */
    struct store *store;
    uint64_t objid;
    const struct store_put_events *events;
    void *user;

    /* The owner's: whoever puts. */
    uint64_t bytes_in;
    bool is_out_of_memory;

    /* Shared: callbacks run under it, so that none runs once an abort has returned. */
    pthread_mutex_t lock;
    bool is_aborted, is_done;

    /* The writer's.  The first of each pair is committed, the second has the open transaction on
     * top. */
    uint64_t pages_bytes, tx_pages_bytes; /* of the chunks in the table */
    uint64_t body_bytes, tx_body_bytes;
    uint32_t chunks, tx_chunks;
    enum err failed; /* what follows is thrown away */
    const struct store_message *last_chunk;

    struct store_message end; /* publish or abort: no memory is needed to end a put */
};

/* ---- the store ---- */

struct store {
    /* Fixed after store_open(). */
    struct table *table;
    struct pins *pins;
    char *dir;
    struct store_options opt;
    struct digest_secret secret;
    uint64_t first_objid; /* rows of lower ids in `inflight` are of a process that died */
    pthread_t writer, remover;
    bool has_writer, has_remover;

    /* Any thread. */
    _Atomic uint64_t next_objid;
    _Atomic uint64_t queue_bytes;
    _Atomic unsigned queue_removals;
    _Atomic uint64_t objects, used_bytes;
    _Atomic bool is_writable;
    _Atomic uint64_t asked[STORE_ASKED_SLOTS]; /* ids whose removal is queued */

    /* Shared, under `lock`. */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct store_message *first, **last;
    bool is_waiting, is_stopping;

    /* The writer's. */
    struct store_message *pending, **pending_last; /* taken from the queue, not yet committed */
    struct store_message *filled;                  /* the last of them that is in the transaction */
    struct store_state state;                      /* committed */
    uint64_t limit_bytes;                          /* used bytes stay below */
    uint64_t batch_bytes, batch_now;               /* of a transaction; less after a full map */
    uint64_t gc_at;                                /* where the next look into `gc` begins */
    bool has_leftovers;                            /* rows of a process that died may be left */
    bool gc_is_busy;                               /* there is more to delete than fitted */
    int64_t probe_at_ms;                           /* while not writable: when to try again */
    unsigned full_tries, calm;
    unsigned full_losses; /* messages given up in a row because the map was full */
    bool is_scattered;    /* free pages do not stand in rows: chunks go in by parts */
    struct store_tx *tx;
    char *old_row, *old_base, *scratch; /* LIMIT_RECORD_BYTES each */
};

/* One transaction of the writer. */
struct store_tx {
    struct store *store;
    struct table_write *w;
    struct store_state state;
    uint64_t cost;   /* bytes of pages made dirty, about */
    uint64_t freed;  /* bytes of pages freed, about */
    uint64_t pinned; /* bytes in `gc` that somebody still reads */
    unsigned evicted, published, removed, corrupt;
    bool is_changed;
    bool has_progress; /* room was made, or is about to be */
    int64_t began_ms;
};

enum store_step {
    STEP_DONE,
    STEP_FULL,   /* commit, and come again */
    STEP_FAILED, /* the transaction is lost */
};

/* Pages that `body_bytes` in chunks take. */
static inline uint64_t store__pages_bytes(uint64_t body_bytes)
{
    uint64_t whole = body_bytes / LIMIT_CHUNK_BYTES, rest = body_bytes % LIMIT_CHUNK_BYTES;

    return whole * 65536 +
           (rest == 0 ? 0 : (rest + STORE_CHECKSUM_BYTES + 16 + 4095) / 4096 * 4096);
}

/* How much of the map may be used. */
static inline uint64_t store__limit_bytes(const struct store *s)
{
    return s->opt.bytes_max / 100 * LIMIT_STORE_USE_PERCENT;
}

/* store.c, judging: dead also below the floor.  `floor` was read before the object was. */
enum store_verdict store__verdict(const struct store *s, const struct store_stamp *stamp);

/* aside.c */
NODISCARD enum err store__move_aside(const char *dir);
NODISCARD bool store__has_leftovers(const char *dir);
void store__remove_leftovers(const char *dir);
/* LMDB found its own pages wrong: it goes on serving what can be read, and the next open begins
 * anew. */
void store__mark_damaged(const char *dir);
NODISCARD bool store__is_damaged(const char *dir);

/* queue.c */
void store__send(struct store *s, struct store_message *m);
void store__ask_removal(struct store *s, const char *row,
                        uint64_t objid);                         /* row NULL: by id alone */
NODISCARD bool store__is_asked(struct store *s, uint64_t objid); /* its removal is queued */
void store__message_free(struct store_message *m);

/* writer.c */
void *store__writer_run(void *user);

/* apply.c: one message into a transaction.  *out_err: of STEP_FAILED. */
enum store_step store__apply(struct store_tx *tx, struct store_message *m, enum err *out_err);

/* room.c */
/* Make room for `need` bytes; STEP_FULL when there is none yet.  ERR_LIMIT: and there never will
 * be. */
enum store_step store__make_room(struct store_tx *tx, uint64_t need, enum err *out_err);
NODISCARD enum err store__evict_one(struct store_tx *tx); /* ERR_NOT_FOUND: empty */
NODISCARD enum err store__collect(struct store_tx *tx);   /* first of all in a transaction */
NODISCARD enum err store__take_leftovers(struct store_tx *tx);
/* Take `objid` out of the queue, and its chunks with it. */
NODISCARD enum err store__drop(struct store_tx *tx, uint64_t objid);
NODISCARD enum err store__park(struct store_tx *tx, uint64_t objid, uint64_t bytes);
/* The object of a row, copied into `buffer`.  ERR_NOT_FOUND, ERR_CORRUPT: a row that cannot be
 * read. */
NODISCARD enum err store__read_row(struct store_tx *tx, struct slice row, char *buffer,
                                   struct store_object *out);

#endif
