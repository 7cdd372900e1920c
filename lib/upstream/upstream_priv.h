/* upstream, inside: what the files of this folder share. */
#ifndef UPSTREAM_UPSTREAM_PRIV_H
#define UPSTREAM_UPSTREAM_PRIV_H

#include <curl/curl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/limits.h"
#include "base/reactor.h"
#include "http/chunks.h"
#include "upstream/breaker.h"
#include "upstream/choice.h"
#include "upstream/head.h"
#include "upstream/health.h"
#include "upstream/retry.h"
#include "upstream/upstream.h"

/* target.c: servers, the ceiling with its queue, the budget of retries. */

/*
 * So many at once, and the others wait in a queue.  Under the lock of the target it belongs to.
 * A target has one for requests, its ceiling; and each server one for connections being made: a
 * thousand handshakes at once are a thousand that take too long, and then it looks broken.
 */
struct upstream_gate {
    unsigned running, running_max, queued, queue_max;
    TAILQ_HEAD(, upstream_ticket) queue;
};

struct upstream_server {
    /* Fixed at birth, any thread may read. */
    char *url;  /* owned; scheme://host:port, for libcurl and for people */
    char *port; /* inside url */
    bool is_tls;
    struct curl_slist
        connect_to; /* "::host:port": where to connect, whatever the certificate is for */
    uint64_t id;    /* of the URL: choice_id() */
    unsigned weight;

    /* 0: in use.  Else nobody tries it before; the first to come then moves it on, and tries. */
    _Atomic int64_t rests_until_ms;

    /* Written by the prober; each a fact by itself, so relaxed. */
    _Atomic bool is_down;
    _Atomic int64_t up_since_ms; /* 0: it was never down */

    atomic_uint running;          /* attempts that it has now; a number to go by, so relaxed */
    _Atomic int64_t connected_ms; /* when a connection was last made; the same */

    struct upstream_gate connecting; /* under the target's lock */
};

/* A place in the queue of a gate. */
struct upstream_ticket {
    struct reactor_message message; /* "it is your turn"; first member */
    struct upstream_target *target; /* counted */
    struct upstream_gate *gate;     /* inside */
    struct reactor *reactor;        /* of the fetch; lives until the message has run */
    struct upstream_fetch *fetch;   /* NULL: it does not wait any more; its worker only */

    /* Under the target's lock. */
    TAILQ_ENTRY(upstream_ticket) link;
    bool is_called;                /* out of the queue, the message is under way */
    enum upstream_failure failure; /* then: not OK: there will be no turn, this is why */
};

struct upstream_target {
    /* Fixed at birth, any thread may read. */
    char *name, *sni, *ca, *certificate; /* owned; all but name may be NULL */
    bool verify, allow_local, is_peer;
    enum upstream_balance balance;
    struct upstream_probe probe; /* its texts are owned */
    unsigned connections_max;
    int64_t connect_ms, first_byte_ms, idle_ms;
    size_t servers_count;
    struct upstream_server *server; /* owned */

    atomic_size_t refs;
    atomic_size_t turn;  /* which server is next; order does not matter, so relaxed */
    atomic_long sockets; /* open to its servers, idle ones too; a number to go by, so relaxed */

    /* Shared, under `lock`. */
    pthread_mutex_t lock;
    struct upstream_gate places; /* connections_max of them */
    struct retry_budget budget;
    bool is_unbroken;       /* without a breaker: of probes, which are to find out */
    struct breaker breaker; /* of an origin; shields have their probes */
    atomic_bool
        has_failed; /* since it last answered: then the breaker wants to hear of an answer */
};

enum upstream_turn {
    UPSTREAM_TURN_NOW,
    UPSTREAM_TURN_LATER,
    UPSTREAM_TURN_NEVER,
    UPSTREAM_TURN_BREAKER
};

/*
 * Ask for a place under the ceiling, for one fetch.  LATER: *out is the fetch's ticket; when its
 * turn has come, upstream__fetch_turn() is called on its worker.  The place is given back with
 * upstream__target_leave().
 */
enum upstream_turn upstream__target_enter(struct upstream_target *t, struct upstream_fetch *f,
                                          struct reactor *r, struct upstream_ticket **out);
void upstream__target_leave(struct upstream_target *t);

/*
 * The same for the connection that an attempt at `s` will make, if none is at hand; without
 * BREAKER.  Whoever waits is told of a failure in place of a turn when one failed to connect, and
 * nobody has been able to since it began.
 */
enum upstream_turn upstream__connect_enter(struct upstream_target *t, struct upstream_server *s,
                                           struct upstream_fetch *f, struct reactor *r,
                                           struct upstream_ticket **out);
void upstream__connect_leave(struct upstream_target *t, struct upstream_server *s);
void upstream__ticket_drop(struct upstream_ticket *k); /* the fetch does not wait any more */

bool upstream__target_take_retry(struct upstream_target *t, int64_t now_ms);

/*
 * The server for a request, by the target's balance, among those that are up and do not rest; not
 * `failed` (may be NULL), when there is another.  NULL: all are down.
 */
struct upstream_server *upstream__target_pick(struct upstream_target *t,
                                              const struct upstream_server *failed, uint64_t key,
                                              int64_t now_ms);
/* No connection could be made, by an attempt that began at `since_ms`. */
void upstream__server_failed(struct upstream_target *t, struct upstream_server *s,
                             enum upstream_failure failure, int64_t since_ms, int64_t now_ms);
void upstream__server_connected(struct upstream_server *s, int64_t now_ms);
void upstream__server_works(struct upstream_server *s);

/* An answer came, or none did, as far as that is the target's fault: for its breaker. */
void upstream__target_worked(struct upstream_target *t);
void upstream__target_failed(struct upstream_target *t, int64_t now_ms);

bool upstream__target_is_down(const struct upstream_target *t); /* all of its servers */

/* As a hop: `may_rest`: one whose connection failed just now counts as up too. */
struct choice_hop upstream__target_as_hop(struct upstream_target *t, unsigned group, bool may_rest,
                                          int64_t now_ms);

/* route.c: which target is next. */

struct upstream_route {
    atomic_size_t refs;
    size_t count;
    struct upstream_hop hop[]; /* counted targets */
};

/* CHOICE_NONE: no hop is left that is not in the set `tried`, or all are down. */
size_t upstream__route_next(const struct upstream_route *r, uint64_t key, uint64_t tried,
                            int64_t now_ms);

/* sockets.c: what we must know of a connection and libcurl does not tell. */

struct upstream_socket {
    int fd;
    struct upstream_target *target; /* that opened it; counted */
    struct upstream_fetch *opener;  /* whose it is until it has a name; then NULL */
    struct upstream_fetch *fetch;   /* that uses it; NULL while idle */
    bool was_used, is_local;
    bool is_tunnel;                 /* the target does not count it any more */
    int64_t idle_since_ms, keep_ms; /* keep_ms: what the origin allows */
    int local_port, peer_port;      /* 0: not known yet */
    char local_ip[INET6_ADDRSTRLEN + 16], peer_ip[INET6_ADDRSTRLEN + 16]; /* room for %zone */
    struct upstream_socket *next_fd, *next_port;
};

enum { SOCKET_BUCKETS = 256 };

struct upstream_sockets {
    struct upstream_socket *by_fd[SOCKET_BUCKETS], *by_port[SOCKET_BUCKETS]; /* owned by by_fd */
};

/* The two ends of a connection, as libcurl names them. */
struct upstream_ends {
    const char *local_ip, *peer_ip;
    int local_port, peer_port;
};

/* Open one for `f`; -1 when it cannot be had, or the address is local and must not be. */
int upstream__socket_open(struct upstream_sockets *all, struct upstream_fetch *f,
                          const struct curl_sockaddr *to);
void upstream__socket_close(struct upstream_sockets *all, int fd);

/* The socket of that number; NULL: none of ours. */
struct upstream_socket *upstream__socket_by_fd(const struct upstream_sockets *all, int fd);

/* The socket between these ends: one in use before, or one that `f` has opened.  NULL: none. */
struct upstream_socket *upstream__socket_find(struct upstream_sockets *all,
                                              struct upstream_fetch *f,
                                              const struct upstream_ends *ends);

/*
 * `f` is not with libcurl any more: what it opened and never used is closed.  libcurl 7.88.1 does
 * not tell when it closes a socket that was never connected, so they are forgotten here.
 */
void upstream__sockets_leave(struct upstream_sockets *all, struct upstream_fetch *f);

/* May an idle connection carry another request: has the peer neither ended it nor sent anything,
 * nor will it soon? */
bool upstream__socket_is_fit(const struct upstream_socket *s, bool is_idempotent, int64_t now_ms);

/* fetch.c */

/*
 * Life of a fetch
 *   WAITING    for its turn under the target's ceiling; has a ticket
 *   FAILING    the queue was full; the loop will say so
 *   STARTING   has its turn; the loop will give it to libcurl
 *   GATED      too many connections to its server are being made; has a ticket
 *   RUNNING    libcurl has it
 *   DEAD       cancelled from inside libcurl; the loop takes it out
 *   ENDING     done() is being called
 *   SPARE      its memory and easy handle wait for the next
 * WAITING | FAILING | STARTING -> STARTING -> RUNNING -> ENDING -> SPARE; STARTING -> GATED ->
 * STARTING; RUNNING -> STARTING for another attempt; cancelling leads to SPARE from everywhere but
 * ENDING.
 */
enum fetch_state {
    FETCH_SPARE,
    FETCH_WAITING,
    FETCH_FAILING,
    FETCH_STARTING,
    FETCH_GATED,
    FETCH_RUNNING,
    FETCH_DEAD,
    FETCH_ENDING,
};

enum { FETCH_LENT_BYTES = 2048 };

/*
 * A request for another protocol (tunnel.c).
 *   CONNECTING  libcurl makes the connection
 *   ASKING      the request goes out, the head comes in
 *   ANSWER      it was refused: an answer like others, whose body comes
 *   OPEN        a tunnel
 * Its fetch is RUNNING in all of them.
 */
enum tunnel_phase { TUNNEL_CONNECTING, TUNNEL_ASKING, TUNNEL_ANSWER, TUNNEL_OPEN };

struct upstream_tunnel {
    enum tunnel_phase phase;
    int fd;          /* libcurl's; from ASKING on */
    uint32_t events; /* for which it stands in the epoll set; 0: it does not */

    /* Of the request, then upward; owned, NULL: nothing waits.  Bytes that OpenSSL has seen and not
     * sent stay where they are: it wants them again at the same place. */
    char *out;
    size_t out_from, out_to, out_capacity;

    struct buf in; /* came, and waits: of the head, or of a body while that is paused */
    size_t in_from;
    struct chunks chunks;
    bool wants_room; /* room() is due once all of `out` has gone */
};

struct upstream_fetch {
    struct upstream *upstream;
    CURL *easy; /* owned; as long as the fetch's memory */
    enum fetch_state state;
    TAILQ_ENTRY(upstream_fetch) all, todo;
    bool is_in_todo;
    struct upstream_events events;
    void *user;
    struct upstream_ticket *ticket; /* owned while WAITING or GATED */
    bool has_place;                 /* under the target's ceiling */
    bool may_connect;               /* counts among the connections being made to `server` */

    /* The request. */
    struct upstream_target *target; /* counted; the present hop's */
    struct upstream_route *route;   /* counted; NULL: one target and no other */
    uint64_t key, tried;            /* tried: a set of hops */
    struct arena arena;
    char *method, *request_target, *host_name; /* of the arena; host_name: Host without its port, of
                                                  an origin */
    struct curl_slist *origin_fields, *peer_fields; /* of the arena; peer_fields NULL: no peer is
                                                       asked */
    char *body;                                     /* owned */
    size_t body_bytes;
    bool has_body, is_head, is_stream, is_idempotent;
    int64_t peer_first_byte_ms, peer_idle_ms;
    bool is_upgrade;
    char *upgrade; /* of the arena */

    /* The attempt. */
    struct upstream_server *server;
    struct upstream_server *loaded; /* whose `running` counts this */
    struct upstream_socket *socket; /* once the request is on a connection */
    unsigned unnamed;               /* sockets it has opened that have no name yet */
    bool wants_fresh;               /* a new connection */
    bool is_refused; /* this connection is not fit, or an attempt is one too many: on_request() said
                        no */
    unsigned sent, sends_granted, retries;
    curl_off_t uploaded;

    /* The answer. */
    struct head head;
    struct head_framing framing;
    bool has_head, is_whole; /* is_whole: all there is to know, though libcurl would go on */
    bool is_paused, wants_resume;
    uint64_t body_received;
    enum upstream_failure failure; /* what a callback found out; UPSTREAM_OK: ask libcurl */
    const char *complaint;         /* static text */

    struct upstream_tunnel tunnel; /* with is_upgrade */

    /* Time. */
    struct reactor_timer timer;
    int64_t timer_due_ms; /* 0: not running */
    int64_t started_ms, sent_ms, moved_ms;

    char error[CURL_ERROR_SIZE];
    char lent[FETCH_LENT_BYTES];
};

NODISCARD enum err upstream__fetch_new(struct upstream *u, struct upstream_fetch **out);
void upstream__fetch_free(struct upstream_fetch *f); /* a SPARE one */

/* Outside of libcurl only. */
void upstream__fetch_work(struct upstream_fetch *f); /* what it is in `todo` for */
void upstream__fetch_ended(struct upstream_fetch *f,
                           CURLcode result);         /* libcurl is through with it */
void upstream__fetch_drop(struct upstream_fetch *f); /* without a callback */
void upstream__fetch_turn(struct upstream_fetch *f,
                          enum upstream_failure failure); /* its ticket has come up */
void upstream__fetch_connected(struct upstream_fetch *f); /* it needs none any more */

/* request.c: put the request into f's arena.  ERR_INVALID, ERR_NOMEM. */
NODISCARD enum err upstream__request_copy(struct upstream_fetch *f,
                                          const struct upstream_request *rq);

/* The head is complete: judge it and tell the user.  False: nothing more of it is wanted; the
 * failure stands in f->failure, or f->is_whole. */
bool upstream__fetch_head(struct upstream_fetch *f);
/* Give back what others of its target wait for: a tunnel may last for hours. */
void upstream__fetch_settle(struct upstream_fetch *f);

/* tunnel.c: what libcurl has connected, and does nothing more for.  Outside of libcurl only. */
void upstream__tunnel_connected(struct upstream_fetch *f);
void upstream__tunnel_ready(struct upstream_fetch *f, uint32_t events);
void upstream__tunnel_work(struct upstream_fetch *f); /* what it is in `todo` for */
void upstream__tunnel_release(
    struct upstream_fetch *f); /* its memory, and its place in the epoll set */

/* loop.c */

enum { SPARE_MAX = 64 }; /* fetches kept for the next: about 12 KiB each, 0.8 MiB a worker */

TAILQ_HEAD(upstream_list, upstream_fetch);

/*
 * Tunnels stand apart: among the connections that libcurl keeps for reuse they would push out those
 * that can be reused.
 */
enum upstream_which { UPSTREAM_FETCHES, UPSTREAM_TUNNELS, UPSTREAM_MULTIS };

struct upstream_multi {
    struct upstream *upstream;
    enum upstream_which which;
    CURLM *multi; /* owned */
    bool is_due;  /* libcurl asked to be called at once */
};

/* What stands beside a descriptor in the epoll set. */
enum upstream_watcher { WATCHER_FETCHES, WATCHER_TUNNELS, WATCHER_TIMER, WATCHER_OPEN_TUNNEL };

static inline uint64_t upstream__epoll_tag(enum upstream_watcher w, int fd)
{
    return (uint64_t)w << 32 | (uint32_t)fd;
}

struct upstream {
    struct reactor *reactor;
    struct reactor_watch *watch; /* on `epoll` */
    struct reactor_timer kick;
    bool is_kicked;
    int epoll, timer; /* owned; -1: not open */
    struct upstream_multi multi[UPSTREAM_MULTIS];
    char *scratch;  /* owned, LIMIT_TUNNEL_BYTES: what a tunnel reads; NULL before the first one */
    CURLSH *share;  /* owned; TLS sessions */
    const char *ca; /* the system's; may be NULL */

    bool in_curl;     /* libcurl is on the stack: no call into it */
    bool is_running;  /* run() is on the stack: no kick needed */
    int64_t armed_us; /* when `timer` fires; 0: it does not */

    struct upstream_list running, todo, spare; /* `running`: all but spare ones */
    size_t spare_count, todo_count;
    struct upstream_sockets sockets;
};

void upstream__todo(struct upstream_fetch *f); /* the loop will call upstream__fetch_work() */
void upstream__undo(struct upstream_fetch *f); /* no more */

#endif
