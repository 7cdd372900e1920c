/*
 * geo: from an address to a place.
 *
 * Reads MaxMind DB files of both common forms: nested (country.iso_code, location.latitude) and
 * flat (country_code, latitude).  What a database does not say, says wrongly or cannot be read is
 * unknown, never 0,0: a file that opened may still be damaged, which shows at look-up.  A place is
 * good for headers and for choosing a region; databases disagree about countries, so it is no
 * security boundary.
 *
 * geo_open() copies the files into memory of its own (memfd): what happens to a file afterwards,
 * truncation included, touches nobody.  Files that have not changed are open once, however many
 * have opened them.
 */
#ifndef GEO_GEO_H
#define GEO_GEO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/err.h"
#include "site/country.h"

enum { GEO_FILES_MAX = 2 };

struct geo_place {
    const struct site_country *country; /* static; NULL: unknown */
    bool has_point;
    double latitude, longitude; /* degrees, in range, when has_point */
};

struct geo;

/*
 * Open one database, or two: the first that knows an address answers for it (free city databases
 * come as one file for each version of IP).  Each is probed: some record must hold a country or a
 * point.  Blocks on the disk; memory of the size of the files.
 *
 *   why   gets one line for a person, beginning with the file's name
 *
 * ERR_INVALID: missing, damaged, or a database of something else.  ERR_NOMEM.
 */
NODISCARD enum err geo_open(const char *const *files, size_t count, struct geo **out,
                            struct buf *why);
void geo_close(struct geo *g); /* one for each open; NULL is fine; no look-up may be running */

/* The same only where the files are, never 0: who keeps a place keeps this beside it. */
uint64_t geo_serial(const struct geo *g);

/*
 * The place of an address, about 1 us; IPv4 in IPv6 form (::ffff:a.b.c.d) is looked up as IPv4. Any
 * thread.
 */
void geo_find(const struct geo *g, const struct sockaddr *address, struct geo_place *out);

#endif
