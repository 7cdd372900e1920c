/*
 * sfield: Dictionaries of Structured Fields (RFC 9651), strictly: one wrong byte and the whole
 * field is void.
 *
 * Members are checked in every detail; their parameters, and the items of an inner list, are
 * checked and forgotten, since nobody here reads them.  Pure.
 */
#ifndef HTTP_SFIELD_H
#define HTTP_SFIELD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum sfield_type {
    SFIELD_INTEGER,
    SFIELD_DECIMAL,
    SFIELD_STRING,
    SFIELD_TOKEN,
    SFIELD_BYTES,
    SFIELD_BOOLEAN,
    SFIELD_DATE,
    SFIELD_DISPLAY,
    SFIELD_INNER_LIST,
};

struct sfield_member {
    struct slice key;
    enum sfield_type type;
    int64_t integer;   /* SFIELD_INTEGER, SFIELD_DATE; 0 or 1 of SFIELD_BOOLEAN */
    struct slice text; /* SFIELD_TOKEN; SFIELD_STRING as it stands between the quotes */
};

/*
 * Take the next member off `*rest`, which starts as the value of one field line.  False at the end,
 * and at the first error, which sets *bad; members given out before are then void as well.  A
 * member split over two lines is an error, and so is an empty line among several: RFC 9651
 * section 4.2. Keys may repeat; the last one counts.
 */
bool sfield_dictionary_next(struct slice *rest, struct sfield_member *out, bool *bad);

#endif
