#include "purge/position.h"

#include <inttypes.h>
#include <stdio.h>

enum { HEX_DIGITS = 16 };

void purge_position_print(const struct purge_position *p, char out[PURGE_POSITION_TEXT_BYTES])
{
    snprintf(out, PURGE_POSITION_TEXT_BYTES, "%016" PRIx64 "-%u-%016" PRIx64 "-%llu-%016" PRIx64,
             p->cluster, p->epoch, p->epoch_tag, (unsigned long long)(p->n & POSITION_N_MAX),
             p->id);
}

/* Exactly as printed: upper case, signs and leading zeros would give one position several texts. */
static bool is_hex(struct slice s, uint64_t *out)
{
    *out = 0;
    if (s.n != HEX_DIGITS)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
            return false;
        *out = *out << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return true;
}

static bool is_number(struct slice s, uint64_t max, uint64_t *out)
{
    return (s.n == 1 || (s.n > 1 && s.p[0] != '0')) && slice_to_u64(s, out) && *out <= max;
}

static struct slice take_part(struct slice *rest)
{
    struct slice part = slice_head(*rest, slice_index(*rest, '-'));

    *rest = slice_from(*rest, part.n + 1);
    return part;
}

enum err purge_position_parse(struct slice text, struct purge_position *out)
{
    struct purge_position p;
    uint64_t epoch;

    if (text.n >= PURGE_POSITION_TEXT_BYTES || !is_hex(take_part(&text), &p.cluster) ||
        !is_number(take_part(&text), UINT16_MAX, &epoch) ||
        !is_hex(take_part(&text), &p.epoch_tag) ||
        !is_number(take_part(&text), POSITION_N_MAX, &p.n) || !is_hex(text, &p.id) ||
        (p.n == 0 && p.id != 0) || (epoch == 0 && p.n != 0))
        return ERR_INVALID;
    p.epoch = (uint16_t)epoch;
    *out = p;
    return ERR_OK;
}
