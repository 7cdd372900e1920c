/*
 * request: one request of a client, from on_req to the death of libh2o's pool.
 *
 * request.c      refusals, redirects, health; the exchange with lib/cache begins and ends here
 * response.c     the answer on its way out: pulled, or pushed piece by piece
 * response_fields.c   what is added to an answer's fields
 * interim.c      what the upstream says before its answer (1xx)
 * fetcher.c      struct cache_fetcher over lib/upstream
 * tunnel.h       a WebSocket, once the upstream has agreed to it
 * accesslog.c    one line a request
 * release.c      files of releases
 *
 * A struct server_request hangs on the pool of its h2o_req_t: whatever ends the request runs the
 * pool's disposer, and that alone ends the exchange.  Once the final h2o_send() has been called,
 * libh2o may have freed all of it: nothing is touched after that.
 */
#ifndef SERVER_REQUEST_H
#define SERVER_REQUEST_H

#include "base/arena.h"
#include "base/digest.h"
#include "cache/cache.h"
#include "server/server_priv.h"

enum {
    REQUEST_ID_BYTES = 16,
    REQUEST_PIECES_MAX = 8,     /* pushed at once */
    REQUEST_ARENA_BYTES = 8192, /* an ordinary request asks malloc for no more */
    REQUEST_ARENA_MAX = 1024 * 1024,
};

/* Verdicts of the access log that lib/cache does not know. */
enum request_verdict { REQUEST_OF_CACHE, REQUEST_REFUSED, REQUEST_LOCAL };

struct local_answer { /* all static text, or in the pool */
    int status;
    const char *reason; /* for the access log */
    const char *text;   /* a line of plain text; NULL: no body */
    const char *allow, *location, *retry_after, *websocket_version;
    const char *peer_error; /* for Selvage-Error; NULL: none */
    bool is_not_kept;       /* a redirect that no cache may keep */
    bool is_for_any_origin; /* scripts and fonts of other origins follow it */
    enum request_verdict verdict;
};

/* Of HTTP/1: a write of an interim response is open, and libh2o takes one at a time. */
struct interim {
    unsigned count;    /* told so far */
    bool is_writing;
    struct slice next; /* what came meanwhile; in the arena */
    enum { INTERIM_BEFORE_NOTHING, INTERIM_BEFORE_ANSWER, INTERIM_BEFORE_LOCAL } before;
    struct local_answer local; /* of INTERIM_BEFORE_LOCAL */
};

struct server_request {
    h2o_generator_t generator; /* first: libh2o hands it back */
    h2o_req_t *req;
    struct conn *conn;
    struct worker *worker;
    struct snapshot *snapshot; /* a reference */
    const struct site *site;   /* NULL until found */
    struct cache_exchange *exchange;
    struct http_fields fields; /* of the request */
    struct release *release;   /* a reference; of a site with files; NULL: there is none */
    struct cache_file file;    /* which the request means; fields == NULL: none */
    struct http_fields file_fields;
    unsigned char file_sha256[DIGEST_SHA256_BYTES];
    char id[REQUEST_ID_BYTES];
    bool is_head;
    bool is_at_region;           /* asked for by a region's hostname */
    bool is_moved;               /* the answer is worth a redirect there: */
    const char *region_location; /* where a large answer is sent to; NULL: nowhere */
    bool is_peer;        /* a node of the fleet sent it: what it says of the client is believed */
    bool is_https;       /* between the client and the fleet */
    struct slice client; /* its address as text, and its network */
    struct slice client_network;

    unsigned differs;    /* in what the peer is told otherwise than this node: enum kin_matter */
    struct slice explanation; /* lines for Selvage-Explain; p == NULL: none was asked for */

    struct stream *journal_stream; /* of journal.c; NULL: it is no stream */
    struct tunnel *tunnel;         /* a WebSocket is asked for; NULL: none is */

    /* the answer */
    bool is_answered; /* by the cache */
    bool is_sent;     /* the head was handed to libh2o */
    bool is_over;     /* the final bytes were: early deaths come before */
    bool has_body, may_pull, is_stream;
    bool is_sending;                        /* pushed bytes not yet taken: proceed will come */
    bool is_broken;                         /* the body ended early: said at the next proceed */
    bool is_output;                         /* between conn_output_begin() and _end() */
    uint64_t left;                          /* bytes of the body to come; CACHE_BYTES_UNKNOWN */
    int64_t date_s;                         /* for Date; -1: now */
    struct block *held[REQUEST_PIECES_MAX]; /* references: what they hold is on its way */
    unsigned held_count;
    size_t held_bytes;
    struct interim interim;

    /* the access log */
    enum request_verdict verdict;
    enum cache_verdict cache_verdict;
    const char *reason; /* of a refusal or a local answer; static text */
    int status;         /* that was sent */
    uint64_t body_bytes;
    int64_t began_us, first_us; /* first_us: when the head was handed over; 0: never */

    struct arena arena;
    _Alignas(16) char lent[REQUEST_ARENA_BYTES]; /* last: not cleared */
};

/* What the files of request.h keep for a worker. */
struct request_worker {
    struct worker *worker;
    struct cache_fetcher fetcher;
    struct slice via; /* owned text: of the message that came to us, so of the upstream's version */
    uint64_t id_base, id_count;
    int64_t peer_told_ms;  /* when the log last named a peer that was refused; 0: never */
    uint64_t peers_untold; /* since then */
    /* Date of the last stored answer: libh2o's own kind of shared chunk */
    h2o_timestamp_string_t *date;
    int64_t date_s;
};

/* ---- response.c ---- */

extern const struct cache_client response_client; /* its user is the struct server_request */

/* The cache has answered from inside cache_start(): send it.  The request may be gone afterwards.
 */
void response_begin(struct server_request *r);

/* Answer without the cache.  The request may be gone afterwards. */
void response_local(struct server_request *r, const struct local_answer *a);

/* Cut a response whose head is out: reset or close, never a clean end. The request may be gone. */
void response_cut(struct server_request *r);

void response_release(struct server_request *r); /* from the disposer: what is on its way */

/* Bytes are handed to libh2o, or were taken: the client's pace is watched between them. */
void response_output_begin(struct server_request *r);
void response_output_end(struct server_request *r);

/* ---- interim.c ---- */

/* Relay it at once, to clients that know of interim responses. */
void interim_relay(void *request, int status, const struct http_fields *fields);

/* Is one being written?  Then the answer waits for that, and is begun again by interim.c. */
bool interim_holds_answer(struct server_request *r);
bool interim_holds_local(struct server_request *r, const struct local_answer *a);

/* ---- response_fields.c ---- */

/* Status, reason, length and fields of the cache's answer, into req->res. */
void response_fields_set(struct server_request *r, const struct cache_answer *a);
void response_field_add(h2o_req_t *req, struct slice name, struct slice value); /* not copied */
/* A 101 with these fields of the upstream's, and our own. */
void response_fields_switch(struct server_request *r, const struct http_fields *fields);
void response_fields_local(struct server_request *r); /* those of every answer that is made here */
const char *response_reason(int status);              /* never NULL */

/* ---- request.c ---- */

struct accesslog_line;

/* What the access log says of it, as of now; the texts are borrowed from it. */
void request_log_line(const struct server_request *r, struct accesslog_line *out);

/* ---- fetcher.c ---- */

void fetcher_init(struct cache_fetcher *f, struct worker *w);

#endif
