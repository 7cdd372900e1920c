/* What to do with what the upstream answered, or failed to: RFC 9111 sections 3, 4.2, 4.3, RFC
 * 5861, RFC 9213. */
#include "decide_world.h"

struct setup {
    const char *method, *request; /* NULL: GET without fields */
    int status;                   /* 0: 200 */
    const char *response;
    struct site site;
    struct site_rule rule;
    bool has_rule, is_unframed;
    struct stored_facts stored;
    enum response_failure failure;
    bool was_pass, was_conditional, alone, is_other_304, is_clients_304;
    bool is_head_of_stored, agrees, changes_vary;
    unsigned jitter_permille;
    int64_t now_s; /* after T, with a stored response */
};

static struct setup setup_of(const char *response)
{
    return (struct setup){.response = response, .site = plain_site(), .rule = plain_rule()};
}

static struct response_decision run(const struct setup *s)
{
    struct http_fields rq = fields_of(s->request), rs = fields_of(s->response);
    struct rule_facts rule = {.site = &s->site, .rule = s->has_rule ? &s->rule : NULL};
    struct request_facts request;
    struct response_facts response;
    struct response_decision d;
    struct response_case c = {.request = &request,
                              .stored = &s->stored,
                              .rule = &rule,
                              .response = s->failure == RESPONSE_CAME ? &response : NULL,
                              .failure = s->failure,
                              .was_pass = s->was_pass,
                              .was_conditional = s->was_conditional,
                              .is_other_304 = s->is_other_304,
                              .is_clients_304 = s->is_clients_304,
                              .is_head_of_stored = s->is_head_of_stored,
                              .agrees = s->agrees,
                              .changes_vary = s->changes_vary,
                              .jitter_permille = s->jitter_permille,
                              .alone = s->alone,
                              .now = moment(s->now_s)};

    request_facts_read(&request, slice_of(s->method == NULL ? "GET" : s->method), &rq, false);
    response_facts_read(&response, rule.site, s->status == 0 ? 200 : s->status, &rs, s->is_unframed,
                        SLICE("www.example.com"), SLICE("/a?b"), moment(s->now_s), 0);
    decide_response(&c, &d);
    return d;
}

/* ---- lifetimes (sections 4.2.1, 4.2.2, 5.2.2, 5.3; RFC 9213) ---- */

static void test_lifetimes(void **state)
{
    static const struct {
        const char *response;
        int64_t want_s; /* -1: not stored */
        enum cache_reason by;
    } row[] = {
        {"Cache-Control: max-age=3600\n", 3600, REASON_LIFETIME_MAX_AGE},
        {"Cache-Control: max-age=3600, s-maxage=1\n", 1, REASON_LIFETIME_S_MAXAGE},
        {"Cache-Control: s-maxage=1\nCache-Control: max-age=3600\n", 1, REASON_LIFETIME_S_MAXAGE},
        {"Cache-Control: max-age=1, s-maxage=3600\n", 3600, REASON_LIFETIME_S_MAXAGE},
        {"Cache-Control: max-age=0, s-maxage=3600\nExpires: " DATE_5MIN_AGO "\n", 3600,
         REASON_LIFETIME_S_MAXAGE},
        {"Date: " DATE_T "\nExpires: " DATE_5MIN "\n", 300, REASON_LIFETIME_EXPIRES},
        {"Expires: " DATE_5MIN "\n", 300, REASON_LIFETIME_EXPIRES},
        {"Date: foo\nExpires: " DATE_5MIN "\n", 300, REASON_LIFETIME_EXPIRES},
        {"Date: " DATE_5MIN_AGO "\nExpires: " DATE_5MIN "\n", 600, REASON_LIFETIME_EXPIRES},
        {"Date: " DATE_5MIN "\nExpires: " DATE_5MIN "\nETag: x\n", 0, REASON_LIFETIME_EXPIRES},
        {"Expires: 0\nETag: \"x\"\nLast-Modified: " DATE_10DAY_AGO "\n", 0,
         REASON_LIFETIME_EXPIRES},
        /* the second before the epoch, which many programs send for "-1" */
        {"Expires: Wed, 31 Dec 1969 23:59:59 GMT\nLast-Modified: " DATE_10DAY_AGO "\n", 0,
         REASON_LIFETIME_EXPIRES},
        {"Expires: 0\nExpires: " DATE_5MIN "\nETag: \"x\"\n", 0, REASON_LIFETIME_EXPIRES},
        {"Expires: " DATE_5MIN "\nExpires: 0\n", 300, REASON_LIFETIME_EXPIRES},
        {"Expires: 0\nCache-Control: max-age=3600\n", 3600, REASON_LIFETIME_MAX_AGE},
        {"Cache-Control: s-maxage=abc, max-age=60\nETag: \"x\"\n", 0, REASON_LIFETIME_S_MAXAGE},
        {"Expires: " DATE_5MIN "\nCache-Control: max-age=0\nETag: \"x\"\n", 0,
         REASON_LIFETIME_MAX_AGE},
        {"Cache-Control: max-age=abc\nExpires: " DATE_5MIN "\nETag: \"x\"\n", 0,
         REASON_LIFETIME_MAX_AGE},
        {"Cache-Control: max-age=-3600\nETag: \"x\"\n", 0, REASON_LIFETIME_MAX_AGE},
        {"Cache-Control: max-age=99999999999\n", FRESHNESS_MAX_S, REASON_LIFETIME_MAX_AGE},
        {"Cache-Control: extension=\"max-age=3600\", max-age=1\n", 1, REASON_LIFETIME_MAX_AGE},
        {"Date: " DATE_T "\nLast-Modified: " DATE_10DAY_AGO "\n", 86400, REASON_LIFETIME_HEURISTIC},
        {"Date: " DATE_T "\nLast-Modified: " DATE_5MIN_AGO "\n", 30, REASON_LIFETIME_HEURISTIC},
        {"Date: " DATE_T "\nLast-Modified: " DATE_YEARS_AGO "\n", 86400, REASON_LIFETIME_HEURISTIC},
        {"Date: " DATE_T "\nLast-Modified: " DATE_5MIN "\n", 0, REASON_LIFETIME_HEURISTIC},
        {"Pragma: no-cache\nLast-Modified: " DATE_5MIN_AGO "\n", 30, REASON_LIFETIME_HEURISTIC},
        {"Content-Disposition: attachment\nLast-Modified: " DATE_5MIN_AGO "\n", 30,
         REASON_LIFETIME_HEURISTIC},
        {"ETag: \"x\"\n", 0, REASON_LIFETIME_NONE},
        {"X: y\n", -1, REASON_NO_LIFETIME},
        {"Cache-Control: max-age=0\n", -1, REASON_NO_LIFETIME},
        {"Cache-Control: no-cache\nETag: \"x\"\n", 0, REASON_LIFETIME_NONE},
        /* the targeted field stands above all of it */
        {"CDN-Cache-Control: max-age=10000\nCache-Control: no-store\n", 10000,
         REASON_LIFETIME_TARGETED},
        {"CDN-Cache-Control: max-age=1\nCache-Control: max-age=3600\nExpires: " DATE_5MIN "\n", 1,
         REASON_LIFETIME_TARGETED},
        {"CDN-Cache-Control: max-age=0\nExpires: " DATE_5MIN "\nETag: \"x\"\n", 0,
         REASON_LIFETIME_TARGETED},
        {"CDN-Cache-Control: max-age=10000, &&&&&\nCache-Control: max-age=3\n", 3,
         REASON_LIFETIME_MAX_AGE},
        {"CDN-Cache-Control: MaX-aGe=3600\nCache-Control: max-age=3\n", 3, REASON_LIFETIME_MAX_AGE},
        {"CDN-Cache-Control: max-age=\"10000\"\nCache-Control: max-age=30\nETag: \"x\"\n", 0,
         REASON_LIFETIME_TARGETED},
        {"CDN-Cache-Control: foobar, max-age=3600\n", 3600, REASON_LIFETIME_TARGETED},
        {"CDN-Cache-Control: foo\nCache-Control: max-age=3600\n", -1, REASON_NO_LIFETIME},
        {"CDN-Cache-Control:\nCache-Control: max-age=30\n", 30, REASON_LIFETIME_MAX_AGE},
        {"CDN-Cache-Control: no-store\nCache-Control: max-age=3600\n", -1, REASON_NO_STORE},
        {"CDN-Cache-Control: private\nCache-Control: max-age=3600\n", -1, REASON_PRIVATE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct setup s = setup_of(row[i].response);
        struct response_decision d = run(&s);

        if ((d.action == RESPONSE_STORE) != (row[i].want_s >= 0) ||
            (row[i].want_s >= 0 && d.freshness.lifetime_s != row[i].want_s) ||
            !reasons_have(&d.why, row[i].by))
            fail_msg("row %zu: action %d, %lld s, %s: %s", i, (int)d.action,
                     (long long)d.freshness.lifetime_s, last_reason(&d.why), row[i].response);
    }
}

static void test_statuses(void **state)
{
    static const int heuristic[] = {200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501};
    static const int explicit_only[] = {201, 202, 299, 302, 303, 307, 400, 403, 416,
                                        429, 499, 500, 502, 503, 504, 599, 999};
    static const char *const by_age = "Date: " DATE_T "\nLast-Modified: " DATE_10DAY_AGO "\n",
                             *const by_age_public = "Cache-Control: public\nDate: " DATE_T
                                                    "\nLast-Modified: " DATE_10DAY_AGO "\n",
                             *const said = "Cache-Control: max-age=60\n";

    (void)state;
    for (int i = 0; i < 2 * 11 + 3 * 17; i++) {
        bool is_heuristic = i < 22;
        int n = is_heuristic ? i / 2 : (i - 22) / 3, how = is_heuristic ? i % 2 : (i - 22) % 3;
        struct setup s = setup_of(how == 0 ? said : how == 1 ? by_age : by_age_public);
        bool want = is_heuristic || how != 1;
        struct response_decision d;

        s.status = is_heuristic ? heuristic[n] : explicit_only[n];
        d = run(&s);
        if ((d.action == RESPONSE_STORE) != want)
            fail_msg("%d with %s: %s", s.status, s.response, last_reason(&d.why));
        if (!want)
            must_have_reason(&d.why, REASON_STATUS);
    }
}

/* ---- who may have it, and what may be kept (section 3) ---- */

static void test_what_is_never_stored(void **state)
{
    static const struct {
        const char *method, *request;
        int status;
        const char *response;
        enum cache_reason why;
    } row[] = {
        {NULL, NULL, 200, "Cache-Control: no-store, max-age=60\n", REASON_NO_STORE},
        {NULL, NULL, 200, "Cache-Control: max-age=60\ncache-control: No-StOrE\n", REASON_NO_STORE},
        {NULL, NULL, 200, "Cache-Control: public, no-store, s-maxage=60\n", REASON_NO_STORE},
        {NULL, NULL, 200, "Cache-Control: max-age=60, x=\"open\n", REASON_NO_STORE},
        {NULL, NULL, 200, "Cache-Control: private, max-age=60\n", REASON_PRIVATE},
        {NULL, NULL, 200, "Cache-Control: private=\"set-cookie\", max-age=60\n", REASON_PRIVATE},
        {NULL, NULL, 200, "Cache-Control: public, private, s-maxage=60\n", REASON_PRIVATE},
        {NULL, NULL, 599, "Cache-Control: max-age=60, must-understand\n", REASON_MUST_UNDERSTAND},
        {NULL, NULL, 599, "Cache-Control: max-age=60, no-store, must-understand\n",
         REASON_NO_STORE},
        {NULL, "Authorization: x\n", 200, "Cache-Control: max-age=60\n", REASON_AUTHORIZATION},
        {NULL, "Authorization: x\n", 200, "Cache-Control: max-age=60, s-maxage=abc\n",
         REASON_AUTHORIZATION},
        {NULL, "Authorization: x\n", 200, "Cache-Control: public, private\n", REASON_PRIVATE},
        {NULL, NULL, 200, "Set-Cookie: a=1\nCache-Control: max-age=60\n", REASON_SET_COOKIE},
        {NULL, NULL, 200, "Set-Cookie: a=1\nCache-Control: max-age=60, must-revalidate\n",
         REASON_SET_COOKIE},
        {NULL, "Cookie: a=1\n", 200, "Last-Modified: " DATE_10DAY_AGO "\n",
         REASON_COOKIE_HEURISTIC},
        {NULL, NULL, 200, "Vary: *\nCache-Control: max-age=60\n", REASON_VARY_STAR},
        {NULL, NULL, 200, "Vary: Foo\nVary: , *\nCache-Control: max-age=60\n", REASON_VARY_STAR},
        {NULL, NULL, 206, "Content-Range: bytes 0-1/2\nCache-Control: max-age=60\n",
         REASON_PARTIAL},
        {NULL, NULL, 200,
         "Content-Type: Text/Event-Stream; charset=utf-8\nCache-Control: max-age=60\n",
         REASON_EVENT_STREAM},
        {"HEAD", NULL, 200, "Cache-Control: max-age=60\n", REASON_NOT_GET},
        {"POST", NULL, 200, "Cache-Control: max-age=60\n", REASON_NOT_GET},
        {NULL, NULL, 301, "Location: https://www.example.com/a?b\nCache-Control: max-age=60\n",
         REASON_REDIRECT_LOOP},
        {NULL, NULL, 302, "Location: http://WWW.example.com/a?b\nCache-Control: max-age=60\n",
         REASON_REDIRECT_LOOP},
        {NULL, NULL, 308, "Location: /a?b\nCache-Control: max-age=60\n", REASON_REDIRECT_LOOP},
        {NULL, NULL, 301,
         "Location: https://www.example.com:443/a?b#top\nCache-Control: max-age=60\n",
         REASON_REDIRECT_LOOP},
        {NULL, NULL, 301, "Location: //www.example.com./x/../a?b\nCache-Control: max-age=60\n",
         REASON_REDIRECT_LOOP},
        {NULL, NULL, 303, "Location: ?b\nCache-Control: max-age=60\n", REASON_REDIRECT_LOOP},
        {NULL, NULL, 307, "Location: ./a?b\nCache-Control: max-age=60\n", REASON_REDIRECT_LOOP},
        {NULL, NULL, 301, "Location: #top\nCache-Control: max-age=60\n", REASON_REDIRECT_LOOP},
        /* what nobody else's request can have: we say it anew for each */
        {NULL, NULL, 200, "Vary: Foo, X-Forwarded-For\nCache-Control: max-age=60\n",
         REASON_VARY_STAR},
        {NULL, NULL, 200, "Vary: Foo\nVary: x-request-id\nCache-Control: max-age=60\n",
         REASON_VARY_STAR},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct setup s = setup_of(row[i].response);
        struct response_decision d;

        s.method = row[i].method;
        s.request = row[i].request;
        s.status = row[i].status;
        d = run(&s);
        if (d.action != RESPONSE_RELAY || d.may_share || !reasons_have(&d.why, row[i].why))
            fail_msg("row %zu: action %d, shared %d, %s: %s", i, (int)d.action, d.may_share,
                     last_reason(&d.why), row[i].response);
    }
}

/* What differs in dropped parameters alone has one key: stored, it would lead to itself. */
static void test_a_redirect_to_what_has_the_same_key(void **state)
{
    static const char *const drops[] = {"b"};
    struct setup s = setup_of("Location: /a\nCache-Control: max-age=60\n");
    struct response_decision d;

    (void)state;
    s.status = 301;
    assert_int_equal(run(&s).action, RESPONSE_STORE);
    s.site.query_drop_names = (struct site_strings){drops, 1};
    d = run(&s);
    assert_int_equal(d.action, RESPONSE_RELAY);
    must_have_reason(&d.why, REASON_REDIRECT_LOOP);
}

/* A shield's stale copy, given because the origin failed: it is passed on, to all who wait, and
 * says nothing about what is stored here. */
static void test_what_stands_in_is_not_stored(void **state)
{
    static const char *const row[] = {
        "Selvage-Error: origin-timeout\nCache-Control: max-age=60\nAge: 10\n",
        "Selvage-Error: origin-refused\nCache-Control: max-age=60\nAge: 1000\nETag: \"1\"\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct setup s = setup_of(row[i]);
        struct response_decision d = run(&s);

        assert_int_equal(d.action, RESPONSE_RELAY);
        assert_true(d.may_share);
        assert_false(d.drops_stored);
        assert_true(reasons_have(&d.why, REASON_STAND_IN));
    }
}

static void test_what_is_stored_all_the_same(void **state)
{
    static const struct {
        const char *request;
        int status;
        const char *response;
    } row[] = {
        {"Authorization: x\n", 200, "Cache-Control: public, max-age=60\n"},
        {"Authorization: x\n", 200, "Cache-Control: must-revalidate, max-age=60\n"},
        {"Authorization: x\n", 200, "Cache-Control: s-maxage=60\n"},
        {NULL, 200, "Set-Cookie: a=1\nCache-Control: public, max-age=60\n"},
        {NULL, 200, "Set-Cookie: a=1\nCache-Control: s-maxage=60\n"},
        {NULL, 200, "Set-Cookie: a=1\nCDN-Cache-Control: max-age=60\n"},
        {"Cookie: a=1\n", 200, "Cache-Control: max-age=60\n"},
        {"Cookie: a=1\n", 200, "Expires: " DATE_5MIN "\n"},
        {NULL, 200, "Cache-Control: no-store, must-understand, max-age=60\n"},
        {"Range: bytes=0-1\n", 200, "Cache-Control: max-age=60\n"},
        {NULL, 200, "Vary: Foo, Bar\nCache-Control: max-age=60\n"},
        {NULL, 200, "Cache-Control: foobar, max-age=60\n"},
        {NULL, 301, "Location: https://www.example.com/a?c\nCache-Control: max-age=60\n"},
        {NULL, 301, "Location: https://example.com/a?b\nCache-Control: max-age=60\n"},
        {NULL, 301, "Location: //example.com/a?b\nCache-Control: max-age=60\n"},
        {NULL, 301, "Location: ?c\nCache-Control: max-age=60\n"},
        {NULL, 301, "Location: a\nCache-Control: max-age=60\n"},
        {NULL, 301, "Location: mailto:a\nCache-Control: max-age=60\n"},
        {NULL, 200, "Vary: X-Forwarded-Proto, X-Forwarded-Host\nCache-Control: max-age=60\n"},
        {NULL, 200, "Location: https://www.example.com/a?b\nCache-Control: max-age=60\n"},
        {"Cache-Control: nothing-to-see-here\nPragma: foo\n", 200, "Cache-Control: max-age=60\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct setup s = setup_of(row[i].response);
        struct response_decision d;

        s.request = row[i].request;
        s.status = row[i].status;
        d = run(&s);
        if (d.action != RESPONSE_STORE || !d.may_share)
            fail_msg("row %zu: action %d, shared %d, %s: %s", i, (int)d.action, d.may_share,
                     last_reason(&d.why), row[i].response);
    }
}

static void test_set_cookie_by_the_rfc_when_the_site_says_so(void **state)
{
    struct setup s = setup_of("Set-Cookie: a=1\nCache-Control: max-age=60\n");
    struct response_decision d;

    (void)state;
    s.site.set_cookie_rfc = true;
    d = run(&s);
    assert_int_equal(d.action, RESPONSE_STORE);
}

static void test_a_body_to_close_is_not_stored(void **state)
{
    struct setup s = setup_of("Cache-Control: max-age=60\n");
    struct response_decision d;

    (void)state;
    s.is_unframed = true;
    d = run(&s);
    assert_int_equal(d.action, RESPONSE_RELAY);
    must_have_reason(&d.why, REASON_UNFRAMED);
}

/* A stranger's field keeps nothing out of the store that others wait for. */
static void test_a_request_that_says_no_store(void **state)
{
    struct setup s = setup_of("Cache-Control: max-age=60\n");

    (void)state;
    s.request = "Cache-Control: no-store\n";
    s.alone = true;
    assert_int_equal(run(&s).action, RESPONSE_RELAY);
    s.alone = false;
    assert_int_equal(run(&s).action, RESPONSE_STORE);
}

static void test_a_pass_is_never_stored_or_shared(void **state)
{
    static const int status[] = {200, 304, 500, 404};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct setup s =
            setup_of("Cache-Control: public, max-age=60, s-maxage=60, stale-if-error=60\n");
        struct response_decision d;

        s.status = status[i];
        s.was_pass = true;
        s.stored = stored_for(0);
        s.stored.freshness.sie_s = 60;
        s.now_s = 1;
        d = run(&s);
        assert_int_equal(d.action, RESPONSE_RELAY);
        assert_false(d.may_share || d.drops_stored);
    }
}

/* Waiters get only what needs no further question. */
static void test_what_is_shared_with_waiters(void **state)
{
    static const struct {
        int status;
        const char *response;
        bool want;
    } row[] = {
        {200, "Cache-Control: max-age=60\n", true},
        {200, "Cache-Control: max-age=60\nAge: 59\n", true},
        {200, "Cache-Control: max-age=60\nAge: 60\n", false},
        {200, "Cache-Control: max-age=60\nAge: 7200, 0\n", false},
        {200, "Cache-Control: max-age=60\nAge: abc\n", true},
        {200, "Cache-Control: max-age=60, no-cache\nETag: \"x\"\n", false},
        {200, "Cache-Control: max-age=0\nETag: \"x\"\n", false},
        {200, "ETag: \"x\"\n", false},
        {503, "X: y\n", true}, /* an error costs the origin one request, however many wait */
        {503, "Set-Cookie: a=1\n", false},
        {503, "Cache-Control: private\n", false},
        {404, "Cache-Control: max-age=60\n", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct setup s = setup_of(row[i].response);

        s.status = row[i].status;
        if (run(&s).may_share != row[i].want)
            fail_msg("row %zu: %s", i, row[i].response);
    }
}

/* ---- rules ---- */

static void test_rules_speak_where_they_may(void **state)
{
    static const struct {
        const char *request;
        int status;
        const char *response;
        int64_t ttl_s, default_ttl_s;
        int64_t want_s; /* -1: not stored */
    } row[] = {
        {NULL, 200, "Cache-Control: max-age=60\n", 5, SITE_UNSET, 5},
        {NULL, 200, "Cache-Control: max-age=0\n", 5, SITE_UNSET, 5},
        {NULL, 200, "Expires: 0\n", 5, SITE_UNSET, 5},
        {NULL, 200, "X: y\n", 5, SITE_UNSET, 5},
        {NULL, 200, "Cache-Control: no-store\n", 5, 5, -1},
        {NULL, 200, "Cache-Control: private\n", 5, 5, -1},
        {NULL, 200, "Cache-Control: private=\"a\"\n", 5, 5, -1},
        {NULL, 200, "Set-Cookie: a=1\n", 5, 5, -1},
        {NULL, 200, "Set-Cookie: a=1\nCache-Control: public\n", 5, SITE_UNSET, 5},
        {NULL, 200, "Set-Cookie: a=1\nCache-Control: s-maxage=60\n", 5, SITE_UNSET, 60},
        {"Authorization: x\n", 200, "X: y\n", 5, 5, -1},
        {"Authorization: x\n", 200, "Cache-Control: max-age=60\n", 5, 5, -1},
        {"Authorization: x\n", 200, "Cache-Control: public, max-age=60\n", 5, 5, 60},
        {NULL, 206, "X: y\n", 5, 5, -1},
        {NULL, 200, "Vary: *\n", 5, 5, -1},
        {"Cookie: a=1\n", 200, "X: y\n", 5, SITE_UNSET, 5},
        {NULL, 200, "X: y\n", SITE_UNSET, 5, 5},
        {NULL, 200, "Last-Modified: " DATE_10DAY_AGO "\n", SITE_UNSET, 5, 5},
        {NULL, 200, "Cache-Control: max-age=60\n", SITE_UNSET, 5, 60},
        {NULL, 200, "Cache-Control: max-age=0\nETag: \"x\"\n", SITE_UNSET, 5, 0},
        {NULL, 200, "Cache-Control: no-store\n", SITE_UNSET, 5, -1},
        {NULL, 200, "Cache-Control: private\n", SITE_UNSET, 5, -1},
        {NULL, 200, "Set-Cookie: a=1\n", SITE_UNSET, 5, -1},
        {"Authorization: x\n", 200, "X: y\n", SITE_UNSET, 5, -1},
        {"Cookie: a=1\n", 200, "X: y\n", SITE_UNSET, 5, 5},
        {NULL, 403, "X: y\n", SITE_UNSET, 5, -1},
        {NULL, 500, "X: y\n", SITE_UNSET, 5, -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct setup s = setup_of(row[i].response);
        struct response_decision d;

        s.request = row[i].request;
        s.status = row[i].status;
        s.has_rule = true;
        s.rule.ttl_s = row[i].ttl_s;
        s.rule.default_ttl_s = row[i].default_ttl_s;
        d = run(&s);
        if ((d.action == RESPONSE_STORE) != (row[i].want_s >= 0) ||
            (row[i].want_s >= 0 && d.freshness.lifetime_s != row[i].want_s))
            fail_msg("row %zu: action %d, %lld s, %s: %s", i, (int)d.action,
                     (long long)d.freshness.lifetime_s, last_reason(&d.why), row[i].response);
    }
}

/* no-cache is the origin's word on each use: a rule's lifetime does not silence it. */
static void test_a_rule_does_not_silence_no_cache(void **state)
{
    struct setup s = setup_of("Cache-Control: no-cache\nETag: \"x\"\n");
    struct response_decision d;

    (void)state;
    s.has_rule = true;
    s.rule.ttl_s = 60;
    d = run(&s);
    assert_int_equal(d.action, RESPONSE_STORE);
    assert_true(d.no_cache && d.forbids_stale && !d.may_share);
}

static void test_negative_lifetimes(void **state)
{
    static const struct {
        const char *request;
        int status;
        const char *response;
        int64_t want_s;
    } row[] = {
        {NULL, 404, "X: y\n", 10},
        {NULL, 500, "X: y\n", 1},
        {NULL, 503, "X: y\n", 1},
        {NULL, 599, "X: y\n", 1},
        {NULL, 410, "X: y\n", -1},
        {NULL, 403, "X: y\n", -1},
        {NULL, 404, "Cache-Control: max-age=3\n", 3},
        {NULL, 404, "Cache-Control: no-store\n", -1},
        {NULL, 404, "Set-Cookie: a=1\n", -1},
        {"Authorization: x\n", 404, "X: y\n", -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct setup s = setup_of(row[i].response);
        struct response_decision d;

        s.request = row[i].request;
        s.status = row[i].status;
        s.site.negative_404_s = 10;
        s.site.negative_5xx_s = 1;
        d = run(&s);
        if ((d.action == RESPONSE_STORE) != (row[i].want_s >= 0) ||
            (row[i].want_s >= 0 && d.freshness.lifetime_s != row[i].want_s))
            fail_msg("row %zu: action %d, %lld s, %s", i, (int)d.action,
                     (long long)d.freshness.lifetime_s, last_reason(&d.why));
    }
}

/* ---- stale windows (RFC 5861; RFC 9111 section 4.2.4) ---- */

static void test_stale_windows(void **state)
{
    static const struct {
        const char *response;
        int64_t rule_swr_s, rule_sie_s;
        int64_t swr_s, sie_s;
        bool forbids;
    } row[] = {
        {"Cache-Control: max-age=1\n", -1, -1, 0, 0, false},
        {"Cache-Control: max-age=1, stale-while-revalidate=4, stale-if-error=9\n", -1, -1, 4, 9,
         false},
        {"Cache-Control: max-age=1, stale-while-revalidate=x\n", -1, -1, 0, 0, false},
        {"Cache-Control: max-age=1, stale-while-revalidate=4, must-revalidate\n", -1, -1, 0, 0,
         true},
        {"Cache-Control: max-age=1, stale-if-error=4, proxy-revalidate\n", -1, -1, 0, 0, true},
        {"Cache-Control: no-cache, stale-while-revalidate=4\nETag: \"x\"\n", -1, -1, 0, 0, true},
        {"Cache-Control: s-maxage=1\n", -1, -1, 0, 0, true},
        {"Cache-Control: s-maxage=1, stale-while-revalidate=4\n", -1, -1, 4, 0, false},
        {"Cache-Control: s-maxage=1, stale-if-error=9\n", -1, -1, 0, 9, false},
        {"Cache-Control: max-age=1\n", 10, 20, 10, 20, false},
        {"Cache-Control: max-age=1, stale-while-revalidate=4\n", 10, -1, 10, 0, false},
        {"Cache-Control: max-age=1, must-revalidate\n", 10, 20, 0, 0, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct setup s = setup_of(row[i].response);
        struct response_decision d;

        s.has_rule = true;
        s.rule.stale_while_revalidate_s = row[i].rule_swr_s;
        s.rule.stale_if_error_s = row[i].rule_sie_s;
        d = run(&s);
        if (d.action != RESPONSE_STORE || d.freshness.swr_s != row[i].swr_s ||
            d.freshness.sie_s != row[i].sie_s || d.forbids_stale != row[i].forbids)
            fail_msg("row %zu: action %d, %lld, %lld, %d", i, (int)d.action,
                     (long long)d.freshness.swr_s, (long long)d.freshness.sie_s, d.forbids_stale);
    }
}

/* ---- the ladder of failures ---- */

static void test_failures(void **state)
{
    enum { STALE_FOR = 100, DAY = 86400 };
    static const struct {
        enum response_failure failure;
        int status; /* with RESPONSE_CAME */
        bool present, forbids;
        int64_t sie_s, rule_sie_s, stale_for_s;
        const char *request;
        enum response_action want;
        int want_status;
    } row[] = {
        {RESPONSE_UNREACHABLE, 0, false, false, 0, -1, 0, NULL, RESPONSE_FAIL, 503},
        {RESPONSE_CLOSED, 0, false, false, 0, -1, 0, NULL, RESPONSE_FAIL, 503},
        {RESPONSE_GARBAGE, 0, false, false, 0, -1, 0, NULL, RESPONSE_FAIL, 502},
        {RESPONSE_TIMED_OUT, 0, false, false, 0, -1, 0, NULL, RESPONSE_FAIL, 504},
        {RESPONSE_OVERLOADED, 0, false, false, 0, -1, 0, NULL, RESPONSE_FAIL, 503},
        {RESPONSE_BREAKER, 0, false, false, 0, -1, 0, NULL, RESPONSE_FAIL, 503},
        /* the last good copy, for a day */
        {RESPONSE_UNREACHABLE, 0, true, false, 0, -1, STALE_FOR, NULL, RESPONSE_STALE, 0},
        {RESPONSE_TIMED_OUT, 0, true, false, 0, -1, STALE_FOR, NULL, RESPONSE_STALE, 0},
        {RESPONSE_OVERLOADED, 0, true, false, 0, -1, STALE_FOR, NULL, RESPONSE_STALE, 0},
        {RESPONSE_BREAKER, 0, true, false, 0, -1, STALE_FOR, NULL, RESPONSE_STALE, 0},
        {RESPONSE_UNREACHABLE, 0, true, false, 0, -1, DAY, NULL, RESPONSE_STALE, 0},
        {RESPONSE_UNREACHABLE, 0, true, false, 0, -1, DAY + 1, NULL, RESPONSE_FAIL, 504},
        {RESPONSE_UNREACHABLE, 0, true, false, 2 * DAY, -1, DAY + 1, NULL, RESPONSE_STALE, 0},
        /* the operator's word counts alone */
        {RESPONSE_UNREACHABLE, 0, true, false, 0, 50, STALE_FOR, NULL, RESPONSE_FAIL, 504},
        {RESPONSE_UNREACHABLE, 0, true, false, 0, 0, 1, NULL, RESPONSE_FAIL, 504},
        {RESPONSE_UNREACHABLE, 0, true, false, 0, 3 * DAY, 2 * DAY, NULL, RESPONSE_STALE, 0},
        /* forbidden is forbidden */
        {RESPONSE_UNREACHABLE, 0, true, true, 0, -1, 1, NULL, RESPONSE_FAIL, 504},
        {RESPONSE_UNREACHABLE, 0, true, true, 9999, 9999, 1, "Cache-Control: stale-if-error=9999\n",
         RESPONSE_FAIL, 504},
        /* an error is the origin's word: stale only where it or a rule allows it */
        {RESPONSE_CAME, 503, true, false, 0, -1, STALE_FOR, NULL, RESPONSE_RELAY, 0},
        {RESPONSE_CAME, 503, true, false, STALE_FOR, -1, STALE_FOR, NULL, RESPONSE_STALE, 0},
        {RESPONSE_CAME, 503, true, false, STALE_FOR - 1, -1, STALE_FOR, NULL, RESPONSE_RELAY, 0},
        {RESPONSE_CAME, 503, true, false, 0, STALE_FOR, STALE_FOR, NULL, RESPONSE_STALE, 0},
        {RESPONSE_CAME, 500, true, false, STALE_FOR, -1, STALE_FOR, NULL, RESPONSE_STALE, 0},
        {RESPONSE_CAME, 502, true, false, STALE_FOR, -1, STALE_FOR, NULL, RESPONSE_STALE, 0},
        {RESPONSE_CAME, 504, true, false, STALE_FOR, -1, STALE_FOR, NULL, RESPONSE_STALE, 0},
        {RESPONSE_CAME, 501, true, false, STALE_FOR, -1, STALE_FOR, NULL, RESPONSE_RELAY, 0},
        {RESPONSE_CAME, 404, true, false, STALE_FOR, -1, STALE_FOR, NULL, RESPONSE_RELAY, 0},
        {RESPONSE_CAME, 503, true, true, STALE_FOR, STALE_FOR, STALE_FOR, NULL, RESPONSE_RELAY, 0},
        {RESPONSE_CAME, 503, true, false, 0, -1, STALE_FOR, "Cache-Control: stale-if-error=100\n",
         RESPONSE_STALE, 0},
        {RESPONSE_CAME, 503, false, false, 0, 9999, 0, NULL, RESPONSE_RELAY, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct setup s = setup_of("X: y\n");
        struct response_decision d;

        s.failure = row[i].failure;
        s.status = row[i].status;
        s.request = row[i].request;
        s.has_rule = true;
        s.rule.stale_if_error_s = row[i].rule_sie_s;
        s.was_conditional = row[i].present;
        s.now_s = 60 + row[i].stale_for_s;
        if (row[i].present) {
            s.stored = stored_for(60);
            s.stored.forbids_stale = row[i].forbids;
            s.stored.freshness.sie_s = row[i].sie_s;
        }
        d = run(&s);
        if (d.action != row[i].want ||
            (d.action == RESPONSE_FAIL && d.fail_status != row[i].want_status))
            fail_msg("row %zu: action %d, %d, %s", i, (int)d.action, d.fail_status,
                     last_reason(&d.why));
        assert_int_equal(d.drops_stored, s.status == 404); /* a failure takes nothing away */
    }
}

/* ---- 304 ---- */

static void test_304(void **state)
{
    struct setup s = setup_of("Cache-Control: max-age=60\nETag: \"x\"\n");
    struct response_decision d;

    (void)state;
    s.status = 304;
    d = run(&s); /* to a condition of the client's own */
    assert_int_equal(d.action, RESPONSE_RELAY);
    assert_false(d.may_share);

    s.was_conditional = true; /* ours, and what it speaks of has gone meanwhile */
    d = run(&s);
    assert_int_equal(d.action, RESPONSE_REPEAT);

    s.stored = stored_for(1);
    s.now_s = 10;
    d = run(&s);
    assert_int_equal(d.action, RESPONSE_FRESHEN);
    assert_int_equal(d.freshness.lifetime_s, 60);
    assert_int_equal(d.freshness.received.wall_ms, moment(10).wall_ms); /* age begins anew */
    assert_true(d.may_share);
    assert_false(d.drops_stored);

    s.is_other_304 = true; /* of another response than ours (section 4.3.4) */
    d = run(&s);
    assert_int_equal(d.action, RESPONSE_REPEAT);
    must_have_reason(&d.why, REASON_NOT_OURS_304);
}

/* Of the union of ours and the client's: the origin has what the client has (section 4.3.2). */
static void test_a_304_for_the_clients_own_copy(void **state)
{
    struct setup s = setup_of("ETag: \"theirs\"\n");
    struct response_decision d;

    (void)state;
    s.status = 304;
    s.was_conditional = s.is_other_304 = s.is_clients_304 = true;
    s.stored = stored_for(5);
    s.now_s = 10;
    d = run(&s);
    assert_int_equal(d.action, RESPONSE_RELAY);
    assert_true(d.drops_stored);
    assert_false(d.may_share);
    s.now_s = 1; /* what is fresh stays, whatever a reload brings */
    assert_false(run(&s).drops_stored);
    s.is_clients_304 = false;
    assert_int_equal(run(&s).action, RESPONSE_REPEAT);
}

/* What it freshens was stored under a status of its own: 304 has neither heuristic nor meaning. */
static void test_a_304_keeps_the_status_that_is_stored(void **state)
{
    struct setup s = setup_of("Date: " DATE_T "\nLast-Modified: " DATE_10DAY_AGO "\n");
    struct response_decision d;

    (void)state;
    s.status = 304;
    s.was_conditional = true;
    s.stored = stored_for(5);
    s.now_s = 10;
    d = run(&s);
    assert_int_equal(d.freshness.lifetime_s, 86400);
    s.response = "Cache-Control: max-age=60, must-understand, no-store\n";
    assert_false(run(&s).drops_stored);
    s.stored.status = 599;
    assert_true(run(&s).drops_stored);
}

static void test_a_304_that_changes_vary_is_for_the_one_who_asked(void **state)
{
    struct setup s = setup_of("Cache-Control: max-age=60\nVary: Foo\n");
    struct response_decision d;

    (void)state;
    s.status = 304;
    s.was_conditional = s.changes_vary = true;
    s.stored = stored_for(5);
    s.now_s = 10;
    d = run(&s);
    assert_int_equal(d.action, RESPONSE_FRESHEN);
    assert_true(d.drops_stored);
    assert_false(d.may_share);
    must_have_reason(&d.why, REASON_VARY_CHANGED);
}

/* Section 4.3.5. */
static void test_a_head_freshens_or_outdates(void **state)
{
    struct setup s = setup_of("Cache-Control: max-age=1000\n");
    struct response_decision d;

    (void)state;
    s.method = "HEAD";
    s.stored = stored_for(5);
    s.now_s = 10;
    s.is_head_of_stored = s.agrees = true;
    d = run(&s);
    assert_int_equal(d.action, RESPONSE_FRESHEN);
    assert_int_equal(d.freshness.lifetime_s, 1000);
    assert_false(d.drops_stored);
    s.agrees = false;
    d = run(&s);
    assert_int_equal(d.action, RESPONSE_RELAY);
    assert_true(d.drops_stored);
    s.is_head_of_stored = false; /* such as a 410, or with nothing stored */
    d = run(&s);
    assert_int_equal(d.action, RESPONSE_RELAY);
    assert_false(d.drops_stored);
}

/* http-caching.md section 14: the herd at expiry. */
static void test_long_lifetimes_are_shortened(void **state)
{
    struct setup s = setup_of("Cache-Control: max-age=1000\n");
    struct response_decision d;

    (void)state;
    s.jitter_permille = 50;
    d = run(&s);
    assert_int_equal(d.freshness.lifetime_s, 950);
    must_have_reason(&d.why, REASON_JITTER);
    s.response = "Cache-Control: max-age=60\n";
    assert_int_equal(run(&s).freshness.lifetime_s, 60);
    s.response = "Cache-Control: max-age=61\n";
    assert_int_equal(run(&s).freshness.lifetime_s, 58);
    /* of what is left when it comes */
    s.response = "Cache-Control: max-age=1000\nAge: 900\n";
    assert_int_equal(run(&s).freshness.lifetime_s, 995);
    s.response = "Cache-Control: max-age=1000\nAge: 950\n";
    assert_int_equal(run(&s).freshness.lifetime_s, 1000);
}

/* RFC 9213 section 2: a list of names, and the first that is there and valid decides. */
static void test_the_first_targeted_field_that_is_valid_decides(void **state)
{
    static const char *const names[] = {"my-cdn-cache-control", "other-control"};
    static const struct {
        const char *response;
        int64_t lifetime_s;
    } row[] = {
        {"My-CDN-Cache-Control: max-age=1\nOther-Control: max-age=2\nCDN-Cache-Control: "
         "max-age=3\nCache-Control: max-age=4\n",
         1},
        {"Other-Control: max-age=2\nCDN-Cache-Control: max-age=3\nCache-Control: max-age=4\n", 2},
        {"My-CDN-Cache-Control: Max-Age=1\nCDN-Cache-Control: max-age=3\nCache-Control: "
         "max-age=4\n",
         3},
        {"My-CDN-Cache-Control: \nCache-Control: max-age=4\n", 4},
        {"Unknown-Cache-Control: max-age=1\nCache-Control: max-age=4\n", 4},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct setup s = setup_of(row[i].response);

        s.site.targeted_fields = (struct site_strings){.item = names, .count = 2};
        assert_int_equal(run(&s).freshness.lifetime_s, row[i].lifetime_s);
    }
}

static void test_a_304_that_takes_the_permission_away(void **state)
{
    static const char *const row[] = {"Cache-Control: no-store\n", "Cache-Control: private\n"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct setup s = setup_of(row[i]);
        struct response_decision d;

        s.status = 304;
        s.was_conditional = true;
        s.stored = stored_for(1);
        s.now_s = 10;
        d = run(&s);
        assert_int_equal(d.action, RESPONSE_FRESHEN); /* for who asked */
        assert_true(d.drops_stored);
        assert_false(d.may_share);
    }
}

/* ---- what makes the stored one go ---- */

static void test_what_outdates_the_stored_one(void **state)
{
    static const struct {
        const char *method, *request;
        int status;
        const char *response;
        bool was_conditional;
        int64_t now_s; /* it is fresh for 60 s */
        bool want;
    } row[] = {
        {NULL, NULL, 200, "Cache-Control: no-store\n", true, 100, true},
        {NULL, NULL, 200, "Cache-Control: no-store\n", false, 100, true},
        {NULL, NULL, 200, "Cache-Control: private\n", true, 100, true},
        {NULL, NULL, 200, "X: y\n", true, 100, true},
        {NULL, NULL, 200, "X: y\n", false, 100, true},
        {NULL, NULL, 404, "X: y\n", true, 100, true},
        {NULL, NULL, 410, "Cache-Control: no-store\n", true, 100, true},
        {NULL, NULL, 301, "Cache-Control: no-store\n", true, 100, true},
        /* still fresh: a client's reload does not take it from the others */
        {NULL, "Cache-Control: no-cache\n", 200, "Cache-Control: no-store\n", true, 10, false},
        {NULL, "Cache-Control: no-cache\n", 200, "Cache-Control: private\n", true, 10, false},
        /* an answer to this user alone */
        {NULL, "Authorization: x\n", 401, "X: y\n", true, 100, false},
        {NULL, "Authorization: x\n", 403, "Cache-Control: no-store\n", true, 100, false},
        {NULL, NULL, 403, "X: y\n", true, 100, false},
        {NULL, NULL, 429, "Cache-Control: no-store\n", true, 100, false},
        /* no answer at all */
        {NULL, NULL, 500, "Cache-Control: no-store\n", true, 100, false},
        {NULL, NULL, 503, "X: y\n", true, 100, false},
        {NULL, NULL, 501, "Cache-Control: no-store\n", true, 100, false},
        /* a HEAD that did not ask about it says nothing about it */
        {"HEAD", NULL, 200, "X: y\n", false, 100, false},
        {"HEAD", NULL, 200, "X: y\n", true, 100, true},
        /* what is stored in its place needs no removing */
        {NULL, NULL, 200, "Cache-Control: max-age=60\n", true, 100, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct setup s = setup_of(row[i].response);

        s.method = row[i].method;
        s.request = row[i].request;
        s.status = row[i].status;
        s.was_conditional = row[i].was_conditional;
        s.stored = stored_for(60);
        s.now_s = row[i].now_s;
        if (run(&s).drops_stored != row[i].want)
            fail_msg("row %zu", i);
        s.stored = (struct stored_facts){0}; /* nothing there: nothing goes */
        s.was_conditional = false;
        if (run(&s).drops_stored)
            fail_msg("row %zu, nothing stored", i);
    }
}

static void test_age_counts_from_the_first_hop(void **state)
{
    struct setup s = setup_of("Cache-Control: max-age=60\nAge: 30\n");
    struct response_decision d = run(&s);

    (void)state;
    assert_int_equal(d.freshness.initial_age_ms, 30000);
    s.response = "Cache-Control: max-age=60\nAge: 7200.0\n";
    assert_int_equal(run(&s).freshness.initial_age_ms, 0);
    s.response = "Cache-Control: max-age=60\nAge: -5\n";
    assert_int_equal(run(&s).freshness.initial_age_ms, 0);
    s.response = "Cache-Control: max-age=60\nAge: 99999999999999999999999\n";
    assert_int_equal(run(&s).freshness.initial_age_ms, FRESHNESS_MAX_S * 1000);
    s.response = "Cache-Control: max-age=60\nAge: 0\nAge: 7200\n";
    assert_int_equal(run(&s).freshness.initial_age_ms, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, decide_begin, decide_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_lifetimes),
        TEST(test_statuses),
        TEST(test_what_is_never_stored),
        TEST(test_a_redirect_to_what_has_the_same_key),
        TEST(test_what_stands_in_is_not_stored),
        TEST(test_what_is_stored_all_the_same),
        TEST(test_set_cookie_by_the_rfc_when_the_site_says_so),
        TEST(test_a_body_to_close_is_not_stored),
        TEST(test_a_request_that_says_no_store),
        TEST(test_a_pass_is_never_stored_or_shared),
        TEST(test_what_is_shared_with_waiters),
        TEST(test_rules_speak_where_they_may),
        TEST(test_a_rule_does_not_silence_no_cache),
        TEST(test_negative_lifetimes),
        TEST(test_stale_windows),
        TEST(test_failures),
        TEST(test_304),
        TEST(test_a_304_for_the_clients_own_copy),
        TEST(test_a_304_keeps_the_status_that_is_stored),
        TEST(test_a_304_that_changes_vary_is_for_the_one_who_asked),
        TEST(test_a_head_freshens_or_outdates),
        TEST(test_long_lifetimes_are_shortened),
        TEST(test_the_first_targeted_field_that_is_valid_decides),
        TEST(test_a_304_that_takes_the_permission_away),
        TEST(test_what_outdates_the_stored_one),
        TEST(test_age_counts_from_the_first_hop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
