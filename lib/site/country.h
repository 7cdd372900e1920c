/*
 * country: the codes that stand for countries in keys and in X-Geo-Country.
 *
 * ISO 3166-1, and XK for Kosovo, which it does not assign.  A closed list: a database with other
 * codes, or a field with anything in it, makes no keys of its own.  Pure.
 */
#ifndef SITE_COUNTRY_H
#define SITE_COUNTRY_H

#include "base/slice.h"

enum { SITE_COUNTRIES = 250, SITE_COUNTRY_BYTES = 2 };

struct site_country {
    char code[3];      /* upper-case */
    char continent[3]; /* AF, AN, AS, EU, NA, OC or SA */
};

extern const struct site_country site_countries[SITE_COUNTRIES]; /* sorted by code */

/* NULL: there is no such country, also for lower-case. */
const struct site_country *site_country_find(struct slice code);

#endif
