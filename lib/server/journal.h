/*
 * journal: this node's purge journal for the nodes that follow it, and who they are.
 *
 * On the listener for peers:
 *   GET /_selvage/journal?id=ID&node=NAME&lost=POLICY&grace=MS&position=P
 *       a stream (purge/stream.h) from position P on, until one side ends it
 *   POST /_selvage/journal/applied?id=ID&...&position=P
 *       the follower has applied all up to P: 204
 * ID are 16 hexadecimal digits that a node draws once; a node is a member from its first stream
 * until it was silent for ten grace periods, over restarts of this one: a receipt must not leave
 * out who has not come back yet.
 *
 * Threads: streams belong to their workers; journal_tell() is called by the thread that appends.
 * Members may be listed from any thread.
 */
#ifndef SERVER_JOURNAL_H
#define SERVER_JOURNAL_H

#include "purge/purge.h"
#include "server/server_priv.h"

struct journal;
struct server_request;

#define JOURNAL_PATH "/_selvage/journal"

struct journal_options {
    struct purge *purge;       /* borrowed */
    struct releases *releases; /* borrowed; told to followers.  NULL: none */
    struct worker *workers;
    unsigned workers_count;
    /*
     * A follower has records of epoch `epoch` that this journal does not: another one must begin.
     * Any thread.
     */
    void (*diverged)(void *user, uint16_t epoch);
    /* There is a new member: journal_keep() is to be called soon.  Any thread. */
    void (*joined)(void *user);
    const char *members_file; /* borrowed: who was a member before; made when missing */
    void *user;
};

NODISCARD enum err journal_new(const struct journal_options *opt, struct journal **out);
void journal_free(struct journal *j); /* when the workers have ended; NULL is fine */

/* The head has moved, or a site has another release: streams go on.  The thread that appends. */
void journal_tell(void *journal);

/* Is it for the journal?  Then it is answered.  Of an authenticated peer; on the worker's thread.
 */
bool journal_takes(struct journal *j, struct server_request *r);

/* Write down who the members are.  The ctl thread: blocks on the disk. */
void journal_keep(struct journal *j);

/* {"position":"...","members":[...]} */
void journal_list(struct journal *j, struct buf *out);

#endif
