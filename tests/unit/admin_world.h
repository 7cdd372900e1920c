/* admin_world: an admin over a real purge and a real store, with a configuration made by hand. */
#ifndef TESTS_ADMIN_WORLD_H
#define TESTS_ADMIN_WORLD_H

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "admin/admin_priv.h"

static struct {
    char root[64], ctl[80], store_dir[80];
    struct purge *purge;
    struct store *store;
    struct admin *admin;
    struct admin_response answer;
    struct config config[2]; /* the one in use and the one before, as in a reload */
    unsigned configured;
    int64_t now_ms;
    bool ready;
    const char *owner_node, *owner_admin; /* what it has said; NULL: nothing */
    char explained[512];                  /* what the backend was asked: URL, a '|', the fields */
    enum err explain_result;              /* what it answers */
} world;

static char *world_hosts_one[] = {(char[]){"www.one.example"}, (char[]){"*.one.example"}};
static char *world_hosts_two[] = {(char[]){"two.example"}, (char[]){"two.one.example"}};
static struct config_site world_sites[] = {
    {.name = (char[]){"one"}, .id = 1, .hosts = {world_hosts_one, 2}},
    {.name = (char[]){"two"}, .id = 2, .hosts = {world_hosts_two, 2}},
};
static char *world_only_one[] = {(char[]){"one"}};
static struct config_token world_tokens[] = {
    {.name = (char[]){"everything"},
     .secret = (char[]){"secret-of-everything"},
     .may_purge = true,
     .may_read = true,
     .may_purge_wide = true},
    {.name = (char[]){"purger"}, .secret = (char[]){"secret-of-purger"}, .may_purge = true},
    {.name = (char[]){"reader"}, .secret = (char[]){"secret-of-reader"}, .may_read = true},
    {.name = (char[]){"one-only"},
     .secret = (char[]){"secret-of-one-only"},
     .may_purge = true,
     .may_read = true,
     .may_purge_wide = true,
     .sites = {world_only_one, 1}},
};

static inline int64_t world_now_ms(void)
{
    return world.now_ms;
}

static inline bool world_ready(void *user, struct buf *out)
{
    (void)user;
    buf_add(out, world.ready ? SLICE("ready\n") : SLICE("draining\n"));
    return world.ready;
}

static inline enum err world_explain(void *user, struct slice url, struct slice fields,
                                     struct buf *out)
{
    (void)user;
    snprintf(world.explained, sizeof(world.explained), "%.*s|%.*s", (int)url.n, url.p,
             (int)fields.n, fields.n == 0 ? "" : fields.p);
    buf_add(out, SLICE("because\n"));
    return world.explain_result;
}

/* Heads in these tests are "AGE TTL STATUS". */
static inline bool world_head_facts(void *user, struct slice head, int64_t *age_s, int64_t *ttl_s,
                                    int *status)
{
    char text[64] = "";
    long long age, ttl;

    (void)user;
    if (head.n >= sizeof(text))
        return false;
    memcpy(text, head.p, head.n);
    if (sscanf(text, "%lld %lld %d", &age, &ttl, status) != 3)
        return false;
    *age_s = age;
    *ttl_s = ttl;
    return true;
}

static inline void world_members(void *user, struct buf *out)
{
    (void)user;
    buf_add(out, SLICE("{\"members\":[]}\n"));
}

static inline void world_owner(void *user, struct slice *node, struct slice *admin)
{
    (void)user;
    *node = slice_of(world.owner_node == NULL ? "" : world.owner_node);
    *admin = slice_of(world.owner_admin == NULL ? "" : world.owner_admin);
}

static inline enum store_verdict world_judge(void *user, const struct store_stamp *stamp)
{
    struct purge_subject s = {.birth = stamp->birth,
                              .purge_url = stamp->purge_url,
                              .tags = stamp->tags,
                              .tags_count = stamp->tags_count};
    enum purge_verdict v = purge_judge(user, &s);

    return v == PURGE_DEAD ? STORE_DEAD : v == PURGE_SOFT ? STORE_STALE : STORE_USABLE;
}

static inline uint64_t world_floor(void *user)
{
    return purge_floor(user);
}

static inline uint64_t world_head(void *user)
{
    return purge_head(user);
}

static inline bool world_merge(struct slice old, struct slice add, uint64_t variant, char *out,
                               size_t out_max, size_t *out_bytes)
{
    (void)old;
    (void)add;
    (void)variant;
    memcpy(out, "marker", out_max < 6 ? 0 : 6);
    *out_bytes = 6;
    return true;
}

static inline void world_open_store(void)
{
    struct store_options opt = {.dir = world.store_dir,
                                .bytes_max = 32 << 20,
                                .boot = purge_boot(world.purge),
                                .ctl_id = purge_ctl_id(world.purge),
                                .head = purge_head(world.purge),
                                .judge = {world_judge, world_floor, world_head, world.purge},
                                .merge = world_merge};
    const char *why;

    assert_int_equal(store_open(&opt, &world.store, &why), ERR_OK);
}

/* Use the first `tokens` of world_tokens; none: everything is allowed. */
static inline void world_configure(size_t tokens)
{
    static char file[] = "/etc/selvage/edge.yaml", node[] = "edge \"7\"";
    struct config *c = &world.config[world.configured++ % 2];

    *c = (struct config){.refs = 1,
                         .file = file,
                         .node = node,
                         .tokens = world_tokens,
                         .tokens_count = tokens,
                         .sites = world_sites,
                         .sites_count = 2};
    admin_set_config(world.admin, c);
}

static inline int world_make(void **state)
{
    struct admin_options opt;

    (void)state;
    memset(&world, 0, sizeof(world));
    snprintf(world.root, sizeof(world.root), "/tmp/admin-test-XXXXXX");
    if (mkdtemp(world.root) == NULL)
        return -1;
    snprintf(world.ctl, sizeof(world.ctl), "%s/ctl", world.root);
    snprintf(world.store_dir, sizeof(world.store_dir), "%s/store", world.root);
    world.now_ms = 1000000;
    world.ready = true;
    if (purge_open(world.ctl, &world.purge) != ERR_OK)
        return -1;
    world_open_store();
    opt = (struct admin_options){.purge = world.purge,
                                 .store = world.store,
                                 .backend = {.ready = world_ready,
                                             .explain = world_explain,
                                             .head_facts = world_head_facts,
                                             .members = world_members,
                                             .owner = world_owner},
                                 .version = "1.2.3"};
    if (admin_new(&opt, &world.admin) != ERR_OK)
        return -1;
    world.admin->now_ms = world_now_ms;
    world.admin->started_ms = world.now_ms;
    return 0;
}

static inline int world_remove_one(const char *path, const struct stat *st, int type,
                                   struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

static inline int world_drop(void **state)
{
    (void)state;
    buf_release(&world.answer.body);
    admin_free(world.admin);
    store_close(world.store);
    purge_close(world.purge);
    return nftw(world.root, world_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Ask with the secret of a token, or NULL; the answer is in world.answer until the next. */
static inline int world_ask(const char *secret, const char *method, const char *path,
                            const char *body)
{
    char authorization[128];
    struct admin_request rq = {.method = slice_of(method),
                               .path = slice_head(slice_of(path), slice_index(slice_of(path), '?')),
                               .host = SLICE("127.0.0.1:9180"),
                               .body = slice_of(body)};

    rq.query = slice_from(slice_of(path), rq.path.n + 1);
    if (body != NULL)
        rq.content_type = SLICE("application/json");
    if (secret != NULL) {
        snprintf(authorization, sizeof(authorization), "Bearer %s", secret);
        rq.authorization = slice_of(authorization);
    }
    buf_release(&world.answer.body);
    admin_handle(world.admin, &rq, &world.answer);
    return world.answer.status;
}

static inline bool world_says(const char *text)
{
    return memmem(world.answer.body.p == NULL ? "" : world.answer.body.p, world.answer.body.n, text,
                  strlen(text)) != NULL;
}

static inline void world_must_say_all(const char *text)
{
    if (!slice_eq(buf_slice(&world.answer.body), slice_of(text)))
        fail_msg("said %.*s", (int)world.answer.body.n, world.answer.body.p);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, world_make, world_drop)

#endif
