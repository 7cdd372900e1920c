/* tunnel, inside: what tunnel.c, tunnel_flow.c and tunnel_quota.c share. */
#ifndef SERVER_TUNNEL_PRIV_H
#define SERVER_TUNNEL_PRIV_H

#include "http/websocket.h"
#include "server/accesslog.h"
#include "server/tunnel.h"

enum tunnel_state { TUNNEL_ASKED, TUNNEL_SWITCHING, TUNNEL_OPEN, TUNNEL_ENDED };

/* What ended it, or is to end it. */
enum tunnel_end { TUNNEL_BY_CLIENT, TUNNEL_BY_UPSTREAM, TUNNEL_BY_IDLENESS, TUNNEL_BY_DRAIN };

struct tunnel {
    unsigned refs; /* the request, the fetcher, and from SWITCHING on the tunnel itself */
    enum tunnel_state state;
    struct worker *worker;
    struct tunnel *next, *prev; /* of the worker's list; OPEN */
    struct snapshot *snapshot;  /* a reference */
    const struct site *site;
    char key[WEBSOCKET_KEY_BYTES];
    struct server_request *request; /* NULL once it has died */

    /* From SWITCHING on. */
    struct upstream_fetch *upstream; /* NULL: its end is closed */
    struct accesslog_line line;      /* its texts are in `texts` */
    char *texts;                     /* owned */
    int64_t began_us;

    /* OPEN. */
    struct conn *conn;
    h2o_socket_t *sock;
    struct reactor_timer timer;
    int64_t idle_ms, moved_ms;
    uint64_t up_bytes, down_bytes;

    /* Down: what came from the upstream, on its way to the client.  One piece at a time. */
    struct websocket_frames down;
    char *out; /* owned; NULL: nothing waits */
    size_t out_bytes;
    bool is_writing;

    /* Up: what waits is in libh2o's buffer, and in upstream_send()'s. */
    struct websocket_frames up;
    bool has_client_ended; /* no byte will come any more */

    /* The end. */
    bool is_closing;               /* Close frames are due, or sent */
    bool is_up_shut, is_down_shut; /* a Close has gone that way: what comes after it is dropped */
    enum tunnel_end end;
    int64_t close_by_ms; /* 0: no end is in sight */
};

/* tunnel.c */
void tunnel__end(struct tunnel *t, enum tunnel_end by); /* at once; the tunnel may be gone */
void tunnel__close_soon(struct tunnel *t); /* what is on its way may still arrive, for a while */

/* tunnel_flow.c */
extern const struct upstream_events tunnel__events; /* their user is the tunnel */
void tunnel__flow(
    struct tunnel *t); /* it has just opened, with `out` and libh2o's buffer as they are */
void tunnel__send_close(struct tunnel *t); /* into both directions, as soon as it can be */

/* tunnel_quota.c */
bool tunnel__quota_take(struct tunnel_quota *q, uint32_t site, uint64_t site_max);
void tunnel__quota_give(struct tunnel_quota *q, uint32_t site);

#endif
