/* judge: the purge table's answer in the store's words (the store knows no purges, and purge knows
 * no store). */
#ifndef CACHE_JUDGE_H
#define CACHE_JUDGE_H

#include "purge/purge.h"
#include "store/store.h"

/* What store_options.judge wants; `p` is borrowed as long as the store lives. */
struct store_judge cache_judge(struct purge *p);

/* The same subject, for explain. */
struct purge_subject cache_subject(const struct store_stamp *stamp);

#endif
