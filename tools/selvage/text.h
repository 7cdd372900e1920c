/* text: numbers and foreign words as a terminal should see them.  Pure. */
#ifndef SELVAGE_TEXT_H
#define SELVAGE_TEXT_H

#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum text_shape { TEXT_ONE_LINE, TEXT_LINES /* line breaks and tabs stay */ };

/*
 * Words that a node or an origin chose: everything but printable ASCII becomes \xNN, so that nobody
 * can write to the operator's terminal.  Needs a buf of at most TEXT_SAFE_BYTES(s.n).
 */
#define TEXT_SAFE_BYTES(n) ((n)*4 + 1)
void text_add_safe(struct buf *b, struct slice s, enum text_shape shape);

enum { TEXT_NUMBER_BYTES = 32 };

/* "0B", "999B", "1.5KiB", "12GiB". */
const char *text_size(char out[static TEXT_NUMBER_BYTES], uint64_t bytes);

/* "45s", "12m", "5h", "3d"; what is past has a minus before it. */
const char *text_duration(char out[static TEXT_NUMBER_BYTES], int64_t seconds);

#endif
