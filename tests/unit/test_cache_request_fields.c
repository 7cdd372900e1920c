/* What the origin is told: the client's fields, less what is not to be believed, plus what we know.
 */
#include "decide_world.h"
#include "purge_dir.h"

#include "cache/cache_priv.h"

static struct purge *purge;

static int open_purge(void **state)
{
    if (purge_dir_make(state) != 0)
        return -1;
    purge = purge_open_small();
    return decide_begin(state);
}

static int close_purge(void **state)
{
    decide_end(state);
    purge_close(purge);
    return purge_dir_remove(state);
}

static const struct block_of all_of_it;
static const char *method = "GET";

static enum err make_with(const char *request, const char *stored,
                          enum request_conditions conditions, bool underscores,
                          struct http_fields *out)
{
    struct cache c = {.node = SLICE("edge-7"), .purge = purge};
    struct site site = plain_site();
    struct http_fields fields = fields_of(request);
    struct lookup l = {.found = stored != NULL, .head.fields = fields_of(stored)};
    struct cache_request rq = {.site = &site,
                               .method = slice_of(method),
                               .host = SLICE("www.example.com"),
                               .target = SLICE("/"),
                               .is_https = true,
                               .fields = &fields,
                               .client = SLICE("203.0.113.9"),
                               .id = SLICE("id-1"),
                               .via = "2"};

    site.underscores = underscores;
    return request_fields_make(&c, &rq, &l, &all_of_it, conditions, &decide_arena, out);
}

static enum err make(const char *request, const char *stored, bool is_pass, bool underscores,
                     struct http_fields *out)
{
    return make_with(request, stored,
                     is_pass          ? CONDITIONS_AS_THEY_CAME
                     : stored != NULL ? CONDITIONS_STORED
                                      : CONDITIONS_NONE,
                     underscores, out);
}

static char *text_of(const struct http_fields *f)
{
    char *p = arena_alloc(&decide_arena, 65536), *at = p;

    assert_non_null(p);
    for (size_t i = 0; i < f->count; i++)
        at += sprintf(at, "%.*s: %.*s\n", (int)f->item[i].name.n, f->item[i].name.p,
                      (int)f->item[i].value.n, f->item[i].value.p);
    return p;
}

static void must_make(const char *request, const char *stored, bool is_pass, const char *want)
{
    struct http_fields out;
    char ours[400], *got;

    assert_int_equal(make(request, stored, is_pass, false, &out), ERR_OK);
    got = text_of(&out);
    snprintf(ours, sizeof(ours),
             "%svia: 2 edge-7\ncdn-loop: %016llx\nx-forwarded-for: 203.0.113.9\nx-forwarded-proto: "
             "https\n"
             "x-forwarded-host: www.example.com\nx-request-id: id-1\n",
             want, (unsigned long long)purge_cluster_id(purge));
    assert_string_equal(got, ours);
}

static void test_what_passes_untouched(void **state)
{
    (void)state;
    must_make("", NULL, false, "");
    must_make("Accept: a\nX-Own: 1\nX-Own: 2\nCookie: a=1\nAuthorization: Basic x\nUser-Agent: "
              "u\nCache-Control: no-cache\n"
              "Origin: o\nReferer: r\nAccept-Language: de\n",
              NULL, false,
              "accept: a\nx-own: 1\nx-own: 2\ncookie: a=1\nauthorization: Basic x\nuser-agent: "
              "u\ncache-control: no-cache\n"
              "origin: o\nreferer: r\naccept-language: de\n");
}

static void test_what_is_not_believed(void **state)
{
    (void)state;
    must_make("Forwarded: for=x\nX-Forwarded-For: 6.6.6.6\nX-Forwarded-Host: "
              "evil\nX-Forwarded-Proto: http\nX-Forwarded-Port: 1\n"
              "X-Real-IP: 6.6.6.6\nTrue-Client-IP: 6\nCF-Connecting-IP: 6\nX-Request-Id: "
              "mine\nSelvage-Position: 9\nSelvage: 1\n"
              "X-Original-URL: /admin\nX-Rewrite-URL: /admin\nX-HTTP-Method-Override: "
              "DELETE\nX-Host: evil\nProxy: evil\n"
              "X_Forwarded_For: 6.6.6.6\nX-Under_score: 1\nA: b\n",
              NULL, false, "selvage: 1\na: b\n");
}

/* http-caching section 0: dropped where the answer could be stored. */
static void test_a_post_may_say_put(void **state)
{
    struct http_fields out;
    char *got;

    (void)state;
    method = "POST";
    assert_int_equal(
        make("X-HTTP-Method-Override: PUT\nX-Original-URL: /b\n", NULL, true, false, &out), ERR_OK);
    method = "GET";
    got = text_of(&out);
    assert_memory_equal(got, "x-http-method-override: PUT\nvia: ", 33);
}

/* With underscores allowed, those that mean the same as what we set stay out. */
static void test_underscores_where_the_site_allows_them(void **state)
{
    struct http_fields out;
    char *got;

    (void)state;
    assert_int_equal(
        make("X_Own: 1\nX_Forwarded_For: 6.6.6.6\nx-real_ip: 6\n", NULL, false, true, &out),
        ERR_OK);
    got = text_of(&out);
    assert_memory_equal(got, "x_own: 1\nvia: ", 14);
    assert_null(strstr(got, "6.6.6.6"));
    assert_null(strstr(got, "real_ip"));
}

static void test_what_belongs_to_one_hop(void **state)
{
    (void)state;
    must_make("Host: other\nContent-Length: 5\nExpect: 100-continue\nConnection: x-a, close\nX-A: "
              "1\nX-B: 2\nKeep-Alive: 5\n"
              "TE: trailers\nUpgrade: h2c\nTransfer-Encoding: chunked\nProxy-Authorization: "
              "secret\nProxy-Connection: x\n",
              NULL, false, "x-b: 2\n");
    /* nobody strips our own by naming them */
    must_make("Connection: x-forwarded-for, via, cdn-loop, x-request-id\nX-Forwarded-For: 6\n",
              NULL, false, "");
}

/* Via and CDN-Loop of those before us stay, ours come behind. */
static void test_lists_of_hops_grow(void **state)
{
    (void)state;
    must_make("Via: 1.1 a\nCDN-Loop: other\n", NULL, false, "via: 1.1 a\ncdn-loop: other\n");
}

static void test_what_is_shared_asks_for_the_whole(void **state)
{
    static const char *const own =
        "If-None-Match: \"c\"\nIf-Modified-Since: x\nRange: bytes=0-1\nIf-Range: \"c\"\nA: b\n";

    (void)state;
    must_make(own, NULL, false, "a: b\n");
    must_make(
        own, NULL, true,
        "if-none-match: \"c\"\nif-modified-since: x\nrange: bytes=0-1\nif-range: \"c\"\na: b\n");
}

static void test_validators_go_as_they_were_stored(void **state)
{
    (void)state;
    must_make("If-None-Match: \"client\"\nIf-Modified-Since: now\nRange: "
              "bytes=0-1\nAccept-Language: de\n",
              "ETag: W/\"s\"\nLast-Modified: Thu,  18 aug 2050 02:01:18 gMT\n", false,
              "accept-language: de\nif-none-match: W/\"s\"\nif-modified-since: Thu,  18 aug 2050 "
              "02:01:18 gMT\n");
    must_make("", "ETag: unquoted\n", false, "if-none-match: unquoted\n");
    must_make("", "Last-Modified: x\n", false, "if-modified-since: x\n");
}

static void must_begin(const char *request, const char *stored, enum request_conditions conditions,
                       const char *want)
{
    struct http_fields out;
    char *got;

    assert_int_equal(make_with(request, stored, conditions, false, &out), ERR_OK);
    got = text_of(&out);
    got[strlen(want)] = '\0';
    assert_string_equal(got, want);
}

/* RFC 9111 section 4.3.2: "send the union of the two lists as a replacement If-None-Match". */
static void test_both_are_asked_about_ours_first(void **state)
{
    (void)state;
    must_begin("If-None-Match: \"x\", \"y\"\nIf-None-Match: \"s\"\nIf-None-Match: *\n"
               "If-Modified-Since: now\nRange: bytes=0-1\n",
               "ETag: \"s\"\nLast-Modified: then\n", CONDITIONS_BOTH,
               "if-none-match: \"s\"\nif-none-match: \"x\", \"y\"\n"
               "if-modified-since: then\nvia: ");
    /* without a tag of ours theirs would be another question */
    must_begin("If-None-Match: \"x\"\n", "Last-Modified: then\n", CONDITIONS_BOTH,
               "if-modified-since: then\nvia: ");
}

static void test_where_nothing_is_stored_the_clients_conditions_go_on(void **state)
{
    (void)state;
    must_begin("If-None-Match: x\nIf-Modified-Since: y\nRange: bytes=0-1\nIf-Range: x\n", NULL,
               CONDITIONS_CLIENTS, "if-none-match: x\nif-modified-since: y\nvia: ");
}

static void test_no_room_is_no_half_request(void **state)
{
    struct http_fields fields = {0}, out;
    struct cache c = {.node = SLICE("edge-7"), .purge = purge};
    struct site site = plain_site();
    struct lookup l = {0};
    struct cache_request rq = {
        .site = &site, .fields = &fields, .via = "2", .client = SLICE("c"), .id = SLICE("i")};
    struct arena small;

    (void)state;
    arena_init(&small, NULL, 0, 32);
    assert_int_equal(request_fields_make(&c, &rq, &l, &all_of_it, CONDITIONS_NONE, &small, &out),
                     ERR_LIMIT);
    arena_release(&small);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_purge, close_purge)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_passes_untouched),
        TEST(test_what_is_not_believed),
        TEST(test_a_post_may_say_put),
        TEST(test_underscores_where_the_site_allows_them),
        TEST(test_what_belongs_to_one_hop),
        TEST(test_lists_of_hops_grow),
        TEST(test_what_is_shared_asks_for_the_whole),
        TEST(test_validators_go_as_they_were_stored),
        TEST(test_both_are_asked_about_ours_first),
        TEST(test_where_nothing_is_stored_the_clients_conditions_go_on),
        TEST(test_no_room_is_no_half_request),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
