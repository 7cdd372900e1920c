/* What to do with a request, given what is stored: RFC 9111 sections 4 and 5.2.1, RFC 5861. */
#include "decide_world.h"

struct setup {
    const char *method, *request;
    bool has_body;
    struct site site;
    struct site_rule rule;
    bool has_rule, bypass_cookie;
    struct stored_facts stored;
    bool is_shield;
    int64_t after_s; /* receipt */
};

static struct setup setup_of(const char *request)
{
    return (struct setup){
        .request = request, .site = plain_site(), .rule = plain_rule(), .has_rule = true};
}

static struct request_facts facts_of(const struct setup *s)
{
    struct http_fields f = fields_of(s->request);
    struct request_facts out;

    request_facts_read(&out, slice_of(s->method == NULL ? "GET" : s->method), &f, s->has_body);
    return out;
}

/* As the engine asks: first whether to pass, then with what is stored. */
static struct request_decision run(const struct setup *s)
{
    struct rule_facts rule = {
        .site = &s->site, .rule = s->has_rule ? &s->rule : NULL, .bypass_cookie = s->bypass_cookie};
    struct request_facts rq = facts_of(s);
    struct clock_moment now = moment(s->after_s);
    struct request_decision d;

    if (!decide_pass(&rq, &rule, &d))
        decide_request(&rq, &s->stored, &rule, !s->is_shield, &now, &d);
    return d;
}

static void test_passes(void **state)
{
    static const struct {
        const char *method, *request;
        bool has_body, cache_off, stream, bypass;
        enum cache_status_fwd fwd;
        enum cache_reason why;
    } row[] = {
        {"POST", NULL, true, false, false, false, FWD_METHOD, REASON_METHOD},
        {"PUT", NULL, false, false, false, false, FWD_METHOD, REASON_METHOD},
        {"OPTIONS", NULL, false, false, false, false, FWD_METHOD, REASON_METHOD},
        {"M-SEARCH", NULL, false, false, false, false, FWD_METHOD, REASON_METHOD},
        {"QUERY", NULL, true, false, false, false, FWD_METHOD, REASON_METHOD},
        {"get", NULL, false, false, false, false, FWD_METHOD,
         REASON_METHOD}, /* methods have a case */
        {"GET", NULL, true, false, false, false, FWD_BYPASS, REASON_HAS_CONTENT},
        {"HEAD", NULL, true, false, false, false, FWD_BYPASS, REASON_HAS_CONTENT},
        {"GET", NULL, false, true, false, false, FWD_BYPASS, REASON_RULE_CACHE_OFF},
        {"GET", NULL, false, false, true, false, FWD_BYPASS, REASON_RULE_STREAM},
        {"GET", "Cookie: s=1\n", false, false, false, true, FWD_BYPASS, REASON_BYPASS_COOKIE},
        {"GET", "If-Match: \"x\"\n", false, false, false, false, FWD_REQUEST,
         REASON_ORIGIN_CONDITION},
        {"GET", "If-Unmodified-Since: " DATE_T "\n", false, false, false, false, FWD_REQUEST,
         REASON_ORIGIN_CONDITION},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct setup s = setup_of(row[i].request);
        struct request_decision d;

        s.method = row[i].method;
        s.has_body = row[i].has_body;
        s.rule.cache_off = row[i].cache_off;
        s.rule.stream = row[i].stream;
        s.bypass_cookie = row[i].bypass;
        s.stored = stored_for(60); /* even so */
        d = run(&s);
        if (d.action != REQUEST_PASS || d.fwd != row[i].fwd || !reasons_have(&d.why, row[i].why) ||
            d.may_serve_stale)
            fail_msg("row %zu: action %d, fwd %d, %s", i, (int)d.action, (int)d.fwd,
                     last_reason(&d.why));
    }
}

static void test_nothing_stored(void **state)
{
    struct setup s = setup_of(NULL);
    struct request_decision d = run(&s);

    (void)state;
    assert_int_equal(d.action, REQUEST_FETCH);
    assert_int_equal(d.fwd, FWD_URI_MISS);
    assert_true(d.ttl_s == CACHE_STATUS_NO_TTL);
    s.stored.vary_missed = true;
    assert_int_equal(run(&s).fwd, FWD_VARY_MISS);
    s.request = "Range: bytes=0-1\n"; /* fetching the whole for each small range is an attack */
    d = run(&s);
    assert_int_equal(d.action, REQUEST_RANGE_PASS);
    must_have_reason(&d.why, REASON_RANGE_ON_MISS);
    s.request = "Cache-Control: only-if-cached\n";
    assert_int_equal(run(&s).action, REQUEST_REFUSE);
    s.request = "Authorization: x\nCookie: y\nCache-Control: foo\nPragma: bar\n";
    assert_int_equal(run(&s).action, REQUEST_FETCH);
}

/* Of one stored response, fresh for 60 s: what each request meets after `after_s`. */
static void test_what_is_stored_and_the_clients_wishes(void **state)
{
    static const struct {
        const char *request;
        int64_t after_s;
        enum request_action want;
        enum cache_reason why;
    } row[] = {
        {NULL, 0, REQUEST_ANSWER, REASON_FRESH},
        {NULL, 59, REQUEST_ANSWER, REASON_FRESH},
        {NULL, 60, REQUEST_VALIDATE, REASON_STALE},
        {NULL, 100, REQUEST_VALIDATE, REASON_STALE},
        {NULL, -5, REQUEST_ANSWER, REASON_FRESH},
        {NULL, -6, REQUEST_VALIDATE, REASON_CLOCK_SET_BACK},
        {"Authorization: x\n", 0, REQUEST_ANSWER, REASON_FRESH},
        {"Cookie: x\n", 0, REQUEST_ANSWER, REASON_FRESH},
        {"Range: bytes=0-1\n", 0, REQUEST_ANSWER, REASON_FRESH},
        {"Range: bytes=0-1\n", 60, REQUEST_VALIDATE, REASON_STALE},
        {"If-None-Match: \"z\"\n", 0, REQUEST_ANSWER, REASON_FRESH},
        {"Cache-Control: no-cache\n", 0, REQUEST_VALIDATE, REASON_CLIENT_RELOAD},
        {"Cache-Control: No-Cache, foo\n", 0, REQUEST_VALIDATE, REASON_CLIENT_RELOAD},
        {"Cache-Control: max-age=0\n", 0, REQUEST_VALIDATE, REASON_CLIENT_RELOAD},
        {"Cache-Control: max-age=x\n", 0, REQUEST_VALIDATE, REASON_CLIENT_RELOAD},
        {"Pragma: no-cache\n", 0, REQUEST_VALIDATE, REASON_CLIENT_RELOAD},
        {"Pragma: foo\n", 0, REQUEST_ANSWER, REASON_FRESH},
        {"Pragma: no-cache\nCache-Control: foo\n", 0, REQUEST_ANSWER, REASON_FRESH},
        {"Cache-Control: max-age=10\n", 10, REQUEST_ANSWER, REASON_FRESH},
        {"Cache-Control: max-age=10\n", 11, REQUEST_VALIDATE, REASON_CLIENT_MAX_AGE},
        {"Cache-Control: min-fresh=30\n", 30, REQUEST_ANSWER, REASON_FRESH},
        {"Cache-Control: min-fresh=30\n", 31, REQUEST_VALIDATE, REASON_CLIENT_MIN_FRESH},
        {"Cache-Control: min-fresh=x\n", 31, REQUEST_ANSWER, REASON_FRESH},
        {"Cache-Control: max-stale=10\n", 70, REQUEST_ANSWER, REASON_CLIENT_MAX_STALE},
        {"Cache-Control: max-stale=10\n", 71, REQUEST_VALIDATE, REASON_STALE},
        {"Cache-Control: max-stale\n", 100000, REQUEST_ANSWER, REASON_CLIENT_MAX_STALE},
        {"Cache-Control: max-stale=x\n", 61, REQUEST_VALIDATE, REASON_STALE},
        {"Cache-Control: no-store\n", 0, REQUEST_ANSWER, REASON_FRESH},
        {"Cache-Control: only-if-cached\n", 0, REQUEST_ANSWER, REASON_FRESH},
        {"Cache-Control: only-if-cached\n", 60, REQUEST_REFUSE, REASON_ONLY_IF_CACHED},
        {"Cache-Control: only-if-cached, no-cache\n", 0, REQUEST_REFUSE, REASON_ONLY_IF_CACHED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct setup s = setup_of(row[i].request);
        struct request_decision d;

        s.stored = stored_for(60);
        if (row[i].after_s < 0)
            s.stored.freshness.received.mono_ms =
                FRESHNESS_ABSENT; /* before a restart of the machine */
        s.after_s = row[i].after_s;
        d = run(&s);
        if (d.action != row[i].want || !reasons_have(&d.why, row[i].why))
            fail_msg("row %zu: action %d, %s", i, (int)d.action, last_reason(&d.why));
        if ((d.action == REQUEST_ANSWER) != (d.fwd == FWD_NONE))
            fail_msg("row %zu: fwd %d", i, (int)d.fwd);
        if (row[i].after_s >= 0)
            assert_int_equal(d.ttl_s, 60 - row[i].after_s);
    }
}

static void test_without_a_validator_it_is_fetched(void **state)
{
    struct setup s = setup_of(NULL);
    struct request_decision d;

    (void)state;
    s.stored = stored_for(60);
    s.stored.has_validator = false;
    s.after_s = 60;
    d = run(&s);
    assert_int_equal(d.action, REQUEST_FETCH);
    assert_int_equal(d.fwd, FWD_STALE);
    assert_true(d.may_serve_stale);
}

static void test_reloads_by_the_sites_policy(void **state)
{
    static const struct {
        enum site_reload policy;
        const char *request;
        int64_t after_s;
        bool immutable;
        enum request_action want;
    } row[] = {
        {SITE_RELOAD_HONOUR, "Cache-Control: no-cache\n", 0, false, REQUEST_VALIDATE},
        {SITE_RELOAD_LIMIT, "Cache-Control: no-cache\n", 0, false, REQUEST_ANSWER},
        {SITE_RELOAD_LIMIT, "Cache-Control: no-cache\n", 1, false, REQUEST_VALIDATE},
        {SITE_RELOAD_LIMIT, "Cache-Control: max-age=0\n", 0, false, REQUEST_ANSWER},
        {SITE_RELOAD_LIMIT, "Pragma: no-cache\n", 1, false, REQUEST_VALIDATE},
        {SITE_RELOAD_IGNORE, "Cache-Control: no-cache\n", 50, false, REQUEST_ANSWER},
        {SITE_RELOAD_IGNORE, "Cache-Control: max-age=0\n", 50, false, REQUEST_ANSWER},
        {SITE_RELOAD_IGNORE, "Cache-Control: no-cache\n", 60, false, REQUEST_VALIDATE},
        /* RFC 8246: reloads, but not what is asked for by name */
        {SITE_RELOAD_HONOUR, "Cache-Control: max-age=0\n", 50, true, REQUEST_ANSWER},
        {SITE_RELOAD_HONOUR, "Cache-Control: no-cache\n", 50, true, REQUEST_VALIDATE},
        {SITE_RELOAD_HONOUR, "Cache-Control: max-age=0\n", 60, true, REQUEST_VALIDATE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct setup s = setup_of(row[i].request);
        struct request_decision d;

        s.site.client_reload = row[i].policy;
        s.stored = stored_for(60);
        s.stored.is_immutable = row[i].immutable;
        s.after_s = row[i].after_s;
        d = run(&s);
        if (d.action != row[i].want)
            fail_msg("row %zu: action %d, %s", i, (int)d.action, last_reason(&d.why));
    }
}

/* Not a stale byte, and nobody waits: http-caching.md section 14. */
static void test_what_is_asked_for_often_is_validated_ahead(void **state)
{
    static const struct {
        unsigned hits;
        bool has_validator;
        int64_t initial_age_s, after_s;
        enum request_action want;
    } row[] = {
        {8, true, 0, 90, REQUEST_ANSWER_REFRESH}, {8, true, 0, 99, REQUEST_ANSWER_REFRESH},
        {8, true, 0, 89, REQUEST_ANSWER},         {7, true, 0, 99, REQUEST_ANSWER},
        {8, false, 0, 99, REQUEST_ANSWER},        {8, true, 90, 8, REQUEST_ANSWER},
        {8, true, 90, 9, REQUEST_ANSWER_REFRESH}, {8, true, 0, 100, REQUEST_VALIDATE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct setup s = setup_of(NULL);
        struct request_decision d;

        s.stored = stored_for(100);
        s.stored.hits = row[i].hits;
        s.stored.has_validator = row[i].has_validator;
        s.stored.freshness.initial_age_ms = row[i].initial_age_s * 1000;
        s.after_s = row[i].after_s;
        d = run(&s);
        if (d.action != row[i].want)
            fail_msg("row %zu: %d", i, (int)d.action);
        if (d.action == REQUEST_ANSWER_REFRESH)
            must_have_reason(&d.why, REASON_AHEAD);
    }
}

static void test_stale_while_revalidate(void **state)
{
    static const struct {
        int64_t swr_s, rule_swr_s;
        bool forbids, no_cache, soft_purged, is_shield;
        const char *request;
        int64_t after_s;
        enum request_action want;
    } row[] = {
        {10, -1, false, false, false, false, NULL, 59, REQUEST_ANSWER},
        {10, -1, false, false, false, false, NULL, 60, REQUEST_ANSWER_REFRESH},
        {10, -1, false, false, false, false, NULL, 70, REQUEST_ANSWER_REFRESH},
        {10, -1, false, false, false, false, NULL, 71, REQUEST_VALIDATE},
        {0, -1, false, false, false, false, NULL, 60, REQUEST_VALIDATE},
        {0, 10, false, false, false, false, NULL, 70, REQUEST_ANSWER_REFRESH},
        {100, 10, false, false, false, false, NULL, 71, REQUEST_VALIDATE},
        {10, 10, true, false, false, false, NULL, 60, REQUEST_VALIDATE},
        {10, 10, true, true, false, false, NULL, 0, REQUEST_VALIDATE},
        {10, -1, false, false, false, true, NULL, 60,
         REQUEST_VALIDATE}, /* a shield validates instead */
        {10, -1, false, false, true, false, NULL, 0, REQUEST_ANSWER_REFRESH},
        {0, -1, false, false, true, false, NULL, 0, REQUEST_VALIDATE},
        {10, -1, false, false, false, false, "Cache-Control: no-cache\n", 60, REQUEST_VALIDATE},
        {10, -1, false, false, false, false, "Cache-Control: min-fresh=1\n", 60, REQUEST_VALIDATE},
        {10, -1, false, false, false, false, "Cache-Control: max-age=5\n", 60, REQUEST_VALIDATE},
        {10, -1, false, false, false, false, "Cache-Control: only-if-cached\n", 60,
         REQUEST_ANSWER_REFRESH},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct setup s = setup_of(row[i].request);
        struct request_decision d;

        s.stored = stored_for(60);
        s.stored.freshness.swr_s = row[i].swr_s;
        s.stored.forbids_stale = row[i].forbids;
        s.stored.no_cache = row[i].no_cache;
        s.stored.soft_purged = row[i].soft_purged;
        s.rule.stale_while_revalidate_s = row[i].rule_swr_s;
        s.is_shield = row[i].is_shield;
        s.after_s = row[i].after_s;
        d = run(&s);
        if (d.action != row[i].want)
            fail_msg("row %zu: action %d, %s", i, (int)d.action, last_reason(&d.why));
    }
}

/* Nothing lets an answer through that its origin wants validated. */
static void test_forbidden_is_forbidden(void **state)
{
    static const char *const wishes[] = {NULL, "Cache-Control: max-stale\n",
                                         "Cache-Control: max-stale=9999\n",
                                         "Cache-Control: stale-if-error=9999\n"};

    (void)state;
    for (int i = 0; i < 4 * 3; i++) {
        struct setup s = setup_of(wishes[i % 4]);
        struct request_decision d;

        s.stored = stored_for(60);
        s.stored.freshness.swr_s = 9999;
        s.rule.stale_while_revalidate_s = 9999;
        s.after_s = 61;
        s.stored.forbids_stale = true;
        s.stored.no_cache = i / 4 == 1;
        s.stored.soft_purged = i / 4 == 2;
        d = run(&s);
        if (d.action != REQUEST_VALIDATE || d.may_serve_stale)
            fail_msg("case %d: action %d, %s", i, (int)d.action, last_reason(&d.why));
    }
}

static void test_a_soft_purge_makes_it_stale(void **state)
{
    struct setup s = setup_of("Cache-Control: max-stale\n");
    struct request_decision d;

    (void)state;
    s.stored = stored_for(60);
    s.stored.soft_purged = true;
    d = run(&s);
    assert_int_equal(d.action, REQUEST_VALIDATE);
    assert_true(d.may_serve_stale);
    must_have_reason(&d.why, REASON_SOFT_PURGED);
}

static void test_facts_of_a_request(void **state)
{
    struct setup s =
        setup_of("Authorization: x\nCOOKIE: y\nRange: bytes=0-1\nIf-Match: *\nPragma: No-Cache\n");
    struct request_facts f = facts_of(&s);

    (void)state;
    assert_true(f.has_authorization && f.has_cookie && f.has_range && f.has_origin_condition &&
                f.pragma_no_cache);
    assert_false(f.cc.present || f.has_content);
    assert_int_equal(f.cc.max_age_s, CC_ABSENT);
    assert_int_equal(f.cc.max_stale_s, CC_ABSENT);
    assert_int_equal(f.cc.min_fresh_s, CC_ABSENT);
    s = setup_of("Ranges: x\nIf-None-Match: *\nX-Cookie: 1\n");
    f = facts_of(&s);
    assert_false(f.has_authorization || f.has_cookie || f.has_range || f.has_origin_condition ||
                 f.pragma_no_cache);
}

/* ---- reasons ---- */

static void test_every_reason_has_a_token_and_a_text(void **state)
{
    struct reasons r = {0};
    struct buf b;

    (void)state;
    buf_init(&b, 65536);
    for (unsigned i = 0; i < REASON_COUNT; i++) {
        const char *t = reason_token((enum cache_reason)i);

        assert_true(http_is_token(slice_of(t)));
        for (const char *p = t; *p != '\0'; p++)
            assert_true((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '-');
        r.count = 0;
        reasons_add(&r, (enum cache_reason)i, -42);
        b.n = 0;
        reasons_format(&r, &b);
        buf_add_char(&b, '\0');
        assert_null(strstr(b.p, "%"));
        assert_non_null(strstr(b.p, ")\n"));
    }
    assert_string_equal(reason_token(REASON_NO_STORE), "no-store");
    r.count = 0;
    reasons_add(&r, REASON_STALE, 17);
    reasons_add(&r, REASON_RULE_STREAM, 3);
    b.n = 0;
    reasons_format(&r, &b);
    buf_add_char(&b, '\0');
    assert_string_equal(b.p, "  stale since 17 s (RFC 9111 section 4.2)\n"
                             "  the rule in line 3 says stream: yes (rules.stream)\n");
    for (unsigned i = 0; i < 3 * REASONS_MAX; i++)
        reasons_add(&r, REASON_FRESH, i);
    assert_int_equal(r.count, REASONS_MAX);
    assert_false(reasons_have(&r, REASON_PRIVATE));
    buf_release(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, decide_begin, decide_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_passes),
        TEST(test_nothing_stored),
        TEST(test_what_is_stored_and_the_clients_wishes),
        TEST(test_without_a_validator_it_is_fetched),
        TEST(test_reloads_by_the_sites_policy),
        TEST(test_what_is_asked_for_often_is_validated_ahead),
        TEST(test_stale_while_revalidate),
        TEST(test_forbidden_is_forbidden),
        TEST(test_a_soft_purge_makes_it_stale),
        TEST(test_facts_of_a_request),
        TEST(test_every_reason_has_a_token_and_a_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
