/*
 * region: where a client is, and whether a region nearer to it should answer.
 *
 * What counts is the address of the connection.  On a shield the edge has looked already: its word
 * is taken, since only nodes of the fleet get that far.
 */
#ifndef SERVER_REGION_H
#define SERVER_REGION_H

#include "server/request.h"

/* Open databases and take over regions for a snapshot whose `config` is set.  ERR_INVALID: `why`
 * says what to do. */
NODISCARD enum err region_load(struct snapshot *s, struct buf *why);
void region_unload(struct snapshot *s);

/*
 * A region's hostname of a site with geo: redirect is answered as the first of the site's hosts, so
 * that one copy and one purge hold for all: *host (as url_host() wrote it) is exchanged.
 */
void region_settle_host(struct server_request *r, struct slice *host);

/* X-Geo-* of r->fields: as we know it, never as a client says.  ERR_LIMIT. */
NODISCARD enum err region_settle_fields(struct server_request *r);

/*
 * Should a nearer region answer?  True: a redirect has been sent, the request may be gone.  False:
 * it is ours; r->region_location may have been set, for region_is_worth_it().
 */
bool region_redirects_request(struct server_request *r, struct slice host);

/* Is what the cache has found worth a redirect?  Then region_redirect() sends it in the answer's
 * place; the request may be gone afterwards. */
bool region_is_worth_it(const struct server_request *r, const struct cache_answer *a);
void region_redirect(struct server_request *r);

/* Of an answer under a region's hostname: search engines are told the site's own URL. */
void region_answer_fields(struct server_request *r, const struct cache_answer *a);

#endif
