/*
 * Several workers, each a thread of its own, one of which purges: clients come and go, origins
 * answer in pieces, break off, say 304.  Every body must be one that the origin gave for that
 * request, and none older than the last purge that was acknowledged before the request began.  For
 * ThreadSanitizer as much as for itself.
 */
#include <pthread.h>

#include "base/check.h"
#include "cache_world.h"

enum { THREADS = 3, SLOTS = 12, ROUNDS = 2000, TARGETS = 6, FETCHES_MAX = 200000 };

static struct world world;
static _Atomic unsigned generation = 1; /* what the origin serves */
static _Atomic unsigned purged_up_to = 1;
static _Atomic unsigned answers, hits, collapsed, revalidated;
static pthread_barrier_t barrier;

struct client {
    struct asker asker;
    unsigned floor; /* no older generation may be seen */
    int target, lang;
    unsigned id;
};

struct origin_state {
    bool has_head;
    size_t sent;
    char unit[64];
    size_t bytes;
};

struct thread {
    unsigned index, random, next_id;
    struct client client[SLOTS];
    struct origin_state *origin; /* of each fetch */
    size_t first_running;
    pthread_t handle;
};

static unsigned rnd(struct thread *t, unsigned n)
{
    t->random = t->random * 1103515245u + 12345u;
    return (t->random >> 16) % n;
}

/* Targets 0, 1: everybody's.  2, 3: by language.  4: each client's own.  5: stale at once,
 * validated each time. */
static size_t bytes_of(int target)
{
    static const size_t bytes[TARGETS] = {30, 150000, 70000, 900, 5000, 40000};

    return bytes[target];
}

static void begin(struct thread *t, struct client *c)
{
    char target[16], fields[100];
    static const char *const lang[] = {"", "accept-language: de\n", "accept-language: en\n"};

    c->target = (int)rnd(t, TARGETS);
    c->lang = (int)rnd(t, 3);
    c->id = t->index * 1000000 + t->next_id++;
    c->floor = atomic_load(&purged_up_to);
    snprintf(target, sizeof(target), "/%d", c->target);
    snprintf(fields, sizeof(fields), "%sx-id: %u\n", lang[c->lang], c->id);
    ask(&world, t->index, &c->asker, "GET", target, fields);
}

/* The body is whole: which is it? */
static void judge(struct client *c)
{
    struct asker *a = &c->asker;
    unsigned seen = 0, id = 0;
    int target = -1, lang = -1, n = 0;
    char start[64];

    if (a->answer.status != 200)
        return;
    CHECK(a->body.n == bytes_of(c->target));
    snprintf(start, sizeof(start), "%.*s", (int)(a->body.n < 60 ? a->body.n : 60), a->body.p);
    CHECK(sscanf(start, "%d|%d|%u|%u|%n", &target, &lang, &id, &seen, &n) == 4 && n > 0);
    CHECK(target == c->target);
    CHECK(lang == (c->target == 2 || c->target == 3 ? c->lang : 0));
    CHECK(id == (c->target == 4 ? c->id : 0));
    CHECK(seen >= c->floor);
    CHECK(memcmp(a->body.p, a->body.p + n, a->body.n - (size_t)n) == 0); /* the same all along */
    atomic_fetch_add(&answers, 1);
    atomic_fetch_add(&hits, a->answer.verdict == VERDICT_HIT);
    atomic_fetch_add(&collapsed, a->answer.verdict == VERDICT_COLLAPSED);
    atomic_fetch_add(&revalidated, a->answer.verdict == VERDICT_REVALIDATED);
}

static void turn_client(struct thread *t, struct client *c, bool may_begin)
{
    struct asker *a = &c->asker;

    if (a->world == NULL) {
        if (may_begin)
            begin(t, c);
        return;
    }
    if (a->has_answer && a->answer.has_body && !a->is_over && rnd(t, 3) > 0)
        asker_read_some(a, 1 + rnd(t, 60000));
    if (a->has_answer && (!a->answer.has_body || a->is_over)) {
        if (!a->answer.has_body || a->end == CACHE_BODY_END)
            judge(c);
    } else if (rnd(t, 100) > 0) {
        return; /* else it leaves, wherever it is */
    }
    asker_release(a);
    a->world = NULL;
}

static void send_head(struct thread *t, struct fake_fetch *f, struct origin_state *o)
{
    int target = atoi(fake_fetch_target(f) + 1);
    const char *language = fake_fetch_field(f, "accept-language");
    const char *tag = fake_fetch_field(f, "if-none-match");
    int lang = language == NULL ? 0 : strcmp(language, "de") == 0 ? 1 : 2;
    unsigned now = atomic_load(&generation);
    char fields[200], etag[20];
    int n;

    o->has_head = true;
    snprintf(etag, sizeof(etag), "\"%u\"", now);
    if (tag != NULL && strcmp(tag, etag) == 0) {
        fake_fetch_head(f, 304, "x: y\n", CACHE_NO_BODY, 0);
        o->bytes = 0;
        return;
    }
    n = snprintf(o->unit, sizeof(o->unit), "%d|%d|%s|%u|", target,
                 target == 2 || target == 3 ? lang : 0,
                 target == 4 ? fake_fetch_field(f, "x-id") : "0", now);
    CHECK(n > 0);
    o->bytes = bytes_of(target);
    snprintf(fields, sizeof(fields), "cache-control: %s\netag: %s\n%s",
             target == 4   ? "private, max-age=60"
             : target == 5 ? "max-age=0"
                           : "max-age=60",
             etag, target == 2 || target == 3 ? "vary: accept-language\ncache-tag: t\n" : "");
    fake_fetch_head(f, 200, fields, rnd(t, 2) ? CACHE_LENGTH : CACHE_CHUNKED, o->bytes);
}

static void send_body(struct thread *t, struct fake_fetch *f, struct origin_state *o)
{
    static _Thread_local char piece[70000];
    size_t n = 1 + rnd(t, 65000), unit = strlen(o->unit);

    n = n < o->bytes - o->sent ? n : o->bytes - o->sent;
    for (size_t i = 0; i < n && i < unit; i++)
        piece[i] = o->unit[(o->sent + i) % unit];
    for (size_t done = unit; done < n; done *= 2)
        memcpy(piece + done, piece, done < n - done ? done : n - done);
    o->sent += n;
    fake_fetch_body(f, piece, n);
}

static void turn_origin(struct thread *t)
{
    struct fake_fetcher *o = world.origin[t->index];
    size_t count = fake_fetcher_count(o);

    CHECK(count < FETCHES_MAX);
    while (t->first_running < count && !fake_fetch_is_running(fake_fetcher_at(o, t->first_running)))
        t->first_running++;
    for (size_t i = t->first_running; i < count; i++) {
        struct fake_fetch *f = fake_fetcher_at(o, i);
        struct origin_state *s = &t->origin[i];

        if (!fake_fetch_is_running(f) || fake_fetch_is_paused(f) || rnd(t, 3) == 0)
            continue;
        if (rnd(t, 300) == 0)
            fake_fetch_fail(f, RESPONSE_UNREACHABLE);
        else if (!s->has_head)
            send_head(t, f, s);
        else if (s->sent < s->bytes)
            send_body(t, f, s);
        else
            fake_fetch_done(f);
    }
}

static bool is_idle(const struct thread *t)
{
    for (int i = 0; i < SLOTS; i++)
        if (t->client[i].asker.world != NULL)
            return false;
    return true;
}

/* The origin changes, then what it was is purged; from the acknowledgement on nobody may see it. */
static void change_and_purge(unsigned round)
{
    unsigned now = atomic_fetch_add(&generation, 1) + 1;

    if (round % 3 == 0) {
        world_purge(&world, PURGE_ALL, "", false);
    } else {
        world_purge(&world, PURGE_TAG, "t", false);
        world_purge(&world, PURGE_PREFIX, HOST "/", false);
    }
    atomic_store(&purged_up_to, now);
}

static void *run(void *user)
{
    struct thread *t = user;

    for (unsigned round = 0; round < ROUNDS || !is_idle(t); round++) {
        CHECK(round < 200 * ROUNDS);
        for (int i = 0; i < SLOTS; i++)
            turn_client(t, &t->client[i], round < ROUNDS);
        turn_origin(t);
        if (t->index == 0 && round % 40 == 0 && round < ROUNDS)
            change_and_purge(round);
        /* or a slow disk stores nothing between two purges */
        if (t->index == 0 && round % 40 == 20)
            store_flush(world.store);
        fake_reactor_drain(world.reactor[t->index]);
    }
    /* a worker leaves while others still run; its loop goes on for messages */
    cache_worker_free(world.worker[t->index]);
    fake_reactor_drain(world.reactor[t->index]);
    pthread_barrier_wait(&barrier);
    fake_reactor_drain(world.reactor[t->index]);
    return NULL;
}

static void test_workers_clients_purges(void **state)
{
    static struct thread thread[THREADS];
    (void)state;
    world_open(&world, THREADS, 256ull << 20);
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (unsigned i = 0; i < THREADS; i++) {
        thread[i] = (struct thread){.index = i, .random = 77 + i};
        thread[i].origin = calloc(FETCHES_MAX, sizeof(*thread[i].origin));
        assert_non_null(thread[i].origin);
        assert_int_equal(pthread_create(&thread[i].handle, NULL, run, &thread[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(thread[i].handle, NULL);
        free(thread[i].origin);
        world.worker[i] = NULL;
    }
    print_message("%u answers: %u hits, %u collapsed, %u revalidated; %u generations\n", answers,
                  hits, collapsed, revalidated, generation);
    assert_true(answers > 1000 && hits > 0 && collapsed > 0 && revalidated > 0);
    pthread_barrier_destroy(&barrier);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_workers_clients_purges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
