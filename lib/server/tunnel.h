/*
 * tunnel: a WebSocket on its way through this node.
 *
 * A request for one goes through the cache, which passes it: so it gets the fields of all requests,
 * the ways round a failed hop, and if it is refused the answer of all answers.  When the upstream
 * agrees, the tunnel takes over both ends: libh2o's connection, and the upstream's fetch.
 *
 * Life of a tunnel
 *   ASKED      the request is on its way
 *   SWITCHING  the upstream has agreed; the 101 goes to the client
 *   OPEN       bytes go both ways, at most LIMIT_TUNNEL_BYTES wait in each; a side is read only
 * while there is room on the other ENDED      both ends are closed, and the line of the access log
 * is written From ASKED and SWITCHING it may end without having been open.
 *
 * A tunnel that is to end (a drain, an idle one) gets a Close frame with 1001 into both directions,
 * between two frames, and both ends have LIMIT_TUNNEL_CLOSE_MS to answer it.
 *
 * All on the worker's thread, but for struct tunnel_quota.
 */
#ifndef SERVER_TUNNEL_H
#define SERVER_TUNNEL_H

#include "server/request.h"

struct tunnel;

/* Does the request ask for a WebSocket? */
bool tunnel_is_asked(const struct server_request *r);

/*
 * Check the handshake of such a request, and take a place under the ceilings.  False: it was
 * refused, and has been answered.  True: r->tunnel is there, until tunnel_request_died().
 * r->fields are those that go to the next hop.
 */
bool tunnel_begin(struct server_request *r);

/* libh2o's request has ended.  True: it has become a tunnel, which will be logged as one. */
bool tunnel_request_died(struct tunnel *t);

/* ---- for the fetcher ---- */

struct tunnel *tunnel_ref(struct tunnel *t);
void tunnel_unref(struct tunnel *t); /* NULL is fine */

/*
 * The upstream has answered 101: take its fetch over, and end the exchange with the cache.  False:
 * the client has left, or the answer does not fit the request; then the fetch stays the caller's.
 */
bool tunnel_take(struct tunnel *t, struct upstream_fetch *f, const struct upstream_head *h);

/* ---- for the worker ---- */

/* Once in WORKER_TICK_MS.  While the worker drains, close some: all of them in a third of its time.
 */
void tunnels_tick(struct worker *w);

/* ---- how many there may be, of the process: any thread ---- */

void tunnel_quota_init(struct tunnel_quota *q, unsigned max);
void tunnel_quota_release(struct tunnel_quota *q);

#endif
