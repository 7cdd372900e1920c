/*
 * The decisions against a slow, literal model of the RFCs (tests/model): random requests,
 * responses, rules and times, and both must come to the same.
 *
 *   MODEL_CASES   how many cases; 100,000
 *   MODEL_SEED    where the random numbers begin; the case that fails tells its own
 *
 * A case is a request and its response, and then up to three more requests at later times, each
 * with what the origin says or does not say: stored, used, validated, freshened, served stale,
 * dropped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "cache/decide_request.h"
#include "cache/decide_response.h"
#include "cache/head.h"
#include "cache/variant.h"
#include "http/conditional.h"
#include "http/date.h"
#include "model/model.h"

enum { STEPS = 3, BODY_BYTES = 5 };
static const int64_t begin_ms = INT64_C(1700000000000); /* Tue, 14 Nov 2023 22:13:20 GMT */

/* ---- chance ---- */

static uint64_t state;

static uint64_t next_random(void)
{
    /* splitmix64 */
    uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static size_t below(size_t n)
{
    return (size_t)(next_random() % n);
}

static bool once_in(size_t n)
{
    return below(n) == 0;
}

#define PICK(array) ((array)[below(sizeof(array) / sizeof((array)[0]))])

/* ---- a case, as text ---- */

static struct arena arena;

struct pair {
    struct model_message text;
    struct http_fields fields; /* the same for the engine */
};

static const char *print(const char *format, ...) __attribute__((format(printf, 1, 2)));
static const char *print(const char *format, ...)
{
    char text[1024];
    va_list ap;
    int n;

    va_start(ap, format);
    n = vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    assert_true(n >= 0 && (size_t)n < sizeof(text));
    return arena_text(&arena, (struct slice){text, (size_t)n});
}

static void add(struct pair *m, const char *name, const char *value)
{
    char *lower = arena_text(&arena, slice_of(name));
    struct slice trimmed = slice_trim(slice_of(value));

    assert_true(m->text.count < MODEL_FIELDS_MAX);
    m->text.field[m->text.count++] = (struct model_field){name, arena_text(&arena, trimmed)};
    http_lower(lower, strlen(lower));
    assert_int_equal(
        http_fields_add(&m->fields, &arena, MODEL_FIELDS_MAX, slice_of(lower), trimmed), ERR_OK);
}

static const char *cased(const char *name)
{
    char *s = arena_text(&arena, slice_of(name));

    for (size_t i = 0; s[i] != '\0'; i++)
        if (once_in(2) && s[i] >= 'a' && s[i] <= 'z')
            s[i] = (char)(s[i] - 'a' + 'A');
    return s;
}

static const char *seconds(void)
{
    static const char *const odd[] = {"003600",     "2147483647",  "2147483648",
                                      "2147483649", "99999999999", "99999999999999999999999",
                                      "-3600",      "'3600'",      "\"3600\"",
                                      "3600.0",     "a3600",       "3600a",
                                      "",           "\"\"",        " 60",
                                      "\"60"};
    static const int usual[] = {0, 1, 2, 3, 5, 10, 60, 100, 3600};

    return once_in(6) ? PICK(odd) : print("%d", PICK(usual));
}

/* One directive of a response, or of a request. */
static const char *directive(bool of_request)
{
    static const char *const numbers[] = {
        "max-age", "max-age", "max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"};
    static const char *const request_numbers[] = {"max-age", "min-fresh", "max-stale",
                                                  "stale-if-error"};
    static const char *const flags[] = {"no-store",        "no-cache",        "private",
                                        "public",          "must-revalidate", "proxy-revalidate",
                                        "must-understand", "immutable",       "no-transform"};
    static const char *const request_flags[] = {"no-store", "no-cache", "max-stale",
                                                "only-if-cached", "nothing-to-see"};
    static const char *const others[] = {"foobar",
                                         "extension=\"max-age=3600\"",
                                         "x=\"a, no-store, \\\" b\"",
                                         "",
                                         "no-cache=\"a, b\"",
                                         "no-cache=a",
                                         "private=\"x\"",
                                         "private=\"\"",
                                         "max-age",
                                         "max-age =5",
                                         "public=yes",
                                         "\"no-store\"",
                                         "no-store=1",
                                         "x=\"never closed, no-store",
                                         "s-maxage=no",
                                         "no-cache=\"a\\\"b\"",
                                         "="};
    const char *name;

    switch (below(5)) {
    case 0:
    case 1:
        name = of_request ? PICK(request_numbers) : PICK(numbers);
        return print("%s=%s", once_in(5) ? cased(name) : name, seconds());
    case 2:
    case 3:
        name = of_request ? PICK(request_flags) : PICK(flags);
        return once_in(5) ? cased(name) : name;
    default:
        return PICK(others);
    }
}

static void add_directives(struct pair *m, const char *name, bool of_request)
{
    size_t lines = once_in(5) ? 2 : 1;

    for (size_t i = 0; i < lines; i++) {
        static const char *const between[] = {", ", ",", " , ", ",\t", ", ,"};
        const char *all = directive(of_request);

        for (size_t more = below(3); more > 0; more--)
            all = print("%s%s%s", all, PICK(between), directive(of_request));
        add(m, name, all);
    }
}

/* As Structured Fields, mostly well. */
static void add_targeted(struct pair *m)
{
    static const char *const member[] = {"max-age=10",
                                         "max-age=0",
                                         "max-age=3600",
                                         "s-maxage=60",
                                         "no-store",
                                         "no-cache",
                                         "private",
                                         "must-revalidate",
                                         "stale-while-revalidate=10",
                                         "stale-if-error=10",
                                         "public",
                                         "foo",
                                         "foo=\"bar\"",
                                         "must-understand",
                                         "no-store=?0",
                                         "private=?0",
                                         "max-age=\"10\"",
                                         "max-age=3600.5",
                                         "max-age=(1 2)",
                                         "no-cache=\"a, b\"",
                                         "max-age=-1",
                                         "max-age=2147483648",
                                         "max-age=99999999999",
                                         "max-age=10;a=1;b",
                                         "public=?0",
                                         "public=1",
                                         "no-store=1",
                                         "foo=?1"};
    static const char *const broken[] = {"MaX-aGe=3600", "max-age =100",
                                         "max-age= 100", "&&&&&",
                                         "max-age=10,",  ",",
                                         "a=1 b=2",      "max-age=1000000000000000",
                                         "s=\"open",     "a;;b",
                                         "max-age=1.",   "no-store=?2",
                                         "a=(1",         "\"a\"",
                                         "a=\x7f"};
    const char *name = once_in(4) ? "my-control" : "cdn-cache-control";
    size_t lines = once_in(5) ? 2 : 1;

    for (size_t i = 0; i < lines; i++) {
        const char *all = PICK(member);

        for (size_t more = below(3); more > 0; more--)
            all = print("%s%s%s", all, once_in(2) ? ", " : ",", PICK(member));
        if (once_in(6))
            all = print("%s, %s", PICK(broken), all);
        else if (once_in(6))
            all = print("%s, %s", all, PICK(broken));
        else if (once_in(20))
            all = "";
        add(m, cased(name), all);
    }
}

/* In each of the three forms. */
static const char *date(int64_t at_s)
{
    static const char *const day[] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
    static const char *const long_day[] = {"Thursday", "Friday",  "Saturday", "Sunday",
                                           "Monday",   "Tuesday", "Wednesday"};
    static const char *const month[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    char imf[HTTP_DATE_BYTES + 1] = "";
    int d, y, w = (int)((at_s / 86400) % 7);
    size_t m = 0;

    http_date_format(at_s, imf);
    imf[HTTP_DATE_BYTES] = '\0';
    if (!once_in(4))
        return print("%s", imf);
    while (strncmp(imf + 8, month[m], 3) != 0)
        m++;
    d = atoi(imf + 5);
    y = atoi(imf + 12);
    return once_in(2)
               ? print("%s, %02d-%s-%02d %.8s GMT", long_day[w], d, month[m], y % 100, imf + 17)
               : print("%s %s %2d %.8s %d", day[w], month[m], d, imf + 17, y);
}

static const char *odd_date(void)
{
    static const char *const odd[] = {"0",
                                      "-1",
                                      "",
                                      "foo",
                                      "Thu, 18 Aug 2050 02:01:18 UTC",
                                      "Thu, 18 Aug 2050 02:01:18 AEST",
                                      "Thu, 18 Aug 50 02:01:18 GMT",
                                      "Thu 18 Aug 2050 02:01:18 GMT",
                                      "Thu,  18 Aug 2050 02:01:18 GMT",
                                      "Thu, 18-Aug-2050 02:01:18 GMT",
                                      "Thu, 18 Aug 2050 02.01.18 GMT",
                                      "Thu, 18 Aug 2050 2:01:18 GMT",
                                      "Thu, 18 Aug 2050 02:01:18 GMT x",
                                      "Thu, 00 Aug 2050 02:01:18 GMT",
                                      "Thu, 32 Aug 2050 02:01:18 GMT",
                                      "Thu, 30 Feb 2023 02:01:18 GMT",
                                      "Thu, 18 Aug 2050 24:01:18 GMT",
                                      "Thu, 18 Aug 2050 02:01:61 GMT",
                                      "Mon, 18 Aug 2050 02:01:18 GMT",
                                      "THU, 18 AUG 2050 02:01:18 gMT",
                                      "Thursday, 18-Aug-50 02:01:18 GMT",
                                      "Sunday, 06-Nov-94 08:49:37 GMT",
                                      "Sun Nov  6 08:49:37 1994",
                                      "Tue, 19 Jan 2038 14:14:08 GMT",
                                      "Sun, 21 Nov 2286 04:46:39 GMT",
                                      "Tuesday, 14-Nov-73 22:13:20 GMT",
                                      "Monday, 01-Jan-74 00:00:00 GMT",
                                      "Thu, 29 Feb 2024 00:00:60 GMT",
                                      "Wed, 29 Feb 2023 00:00:00 GMT"};

    return PICK(odd);
}

static const char *date_near(int64_t now_s)
{
    static const int64_t away[] = {0,   0,    1,    -1,    5,       -5,      60,       -60,
                                   300, -300, 3600, -3600, -100000, -864000, -8640000, 400000};

    return once_in(8) ? odd_date() : date(now_s + PICK(away));
}

static const char *tag(void)
{
    static const char *const tags[] = {"\"a\"",   "\"a\"",   "\"b\"",    "\"c\"",
                                       "W/\"a\"", "W/\"b\"", "\"a,b\"",  "abcdef",
                                       "\"\\\"",  "w/\"a\"", "\"a\xff\""};

    return PICK(tags);
}

static void add_conditions(struct pair *m, int64_t now_s)
{
    if (once_in(4)) {
        const char *list = once_in(10) ? "*" : tag();

        for (size_t more = below(3); more > 0; more--)
            list = print("%s%s%s", list, once_in(2) ? ", " : ",", tag());
        add(m, "If-None-Match", list);
        if (once_in(5))
            add(m, "if-none-match", tag());
    }
    if (once_in(4))
        add(m, "If-Modified-Since", date_near(now_s));
    if (once_in(40))
        add(m, "If-Modified-Since", date_near(now_s));
    if (once_in(40))
        add(m, once_in(2) ? "If-Match" : "If-Unmodified-Since", tag());
}

static void add_selecting(struct pair *m)
{
    static const char *const foo[] = {"1",   "1",    "1",         "2",       "",  " 1, 2 ",
                                      "1,2", "1 ,2", "\"1 , 2\"", "\"1,2\"", "A", "a"};
    static const char *const language[] = {"en, de",     "de, en",       "eN, De",
                                           " en ,   de", "en;q=0.5, de", "de, en;q=0.50",
                                           "fr",         "de;q=1.0, en"};

    if (once_in(2))
        add(m, cased("foo"), PICK(foo));
    if (once_in(12))
        add(m, "Foo", PICK(foo));
    if (once_in(6))
        add(m, "Bar", PICK(foo));
    if (once_in(3))
        add(m, "Accept-Language", PICK(language));
}

static void make_request(struct pair *m, int64_t now_s)
{
    static const char *const methods[] = {"GET", "GET",  "GET",  "GET",  "GET",     "GET",
                                          "GET", "HEAD", "HEAD", "POST", "M-SEARCH"};
    static const char *const pragmas[] = {"no-cache", "No-Cache", "foo"};

    *m = (struct pair){0};
    m->text.method = once_in(2) ? "GET" : PICK(methods);
    if (once_in(4))
        add_directives(m, "Cache-Control", true);
    if (once_in(12))
        add(m, "Pragma", PICK(pragmas));
    if (once_in(10))
        add(m, "Authorization", "Basic eDp5");
    if (once_in(10))
        add(m, "Cookie", "a=b");
    if (once_in(12))
        add(m, "Range", "bytes=0-1");
    add_selecting(m);
    add_conditions(m, now_s);
}

static void add_freshness(struct pair *m, int64_t now_s)
{
    static const char *const ages[] = {
        "0",       "1",   "5",     "30",     "3600",     "7200",       "7200, 0",
        "0, 7200", "abc", "-7200", "7200.0", "7200;a=b", "2147483648", "99999999999999999999",
        "",        "007"};

    if (!once_in(5))
        add_directives(m, "Cache-Control", false);
    if (once_in(6))
        add_targeted(m);
    if (once_in(20))
        add_targeted(m);
    if (!once_in(4))
        add(m, "Date", date_near(now_s));
    if (once_in(3))
        add(m, "Expires", once_in(16) ? "Wed, 31 Dec 1969 23:59:59 GMT" : date_near(now_s));
    if (once_in(40))
        add(m, "Expires", date_near(now_s));
    if (once_in(5))
        add(m, "Age", PICK(ages));
    if (once_in(40))
        add(m, "Age", PICK(ages));
}

static void make_response(struct pair *m, int64_t now_s, bool may_be_304)
{
    static const int statuses[] = {200, 200, 200, 200, 200, 203, 204, 206, 299, 300,
                                   301, 302, 303, 307, 308, 400, 401, 403, 404, 405,
                                   410, 414, 429, 499, 500, 501, 502, 503, 504, 599};
    static const char *const varies[] = {"Foo",
                                         "foo",
                                         "Foo, Bar",
                                         "*",
                                         "Foo, *",
                                         ", ,Foo",
                                         "Accept-Language",
                                         "Bar",
                                         "",
                                         "Foo Bar",
                                         "Foo, x-forwarded-For"};

    *m = (struct pair){0};
    m->text.status = once_in(3) ? PICK(statuses) : 200;
    add_freshness(m, now_s);
    if (once_in(2))
        add(m, "ETag", tag());
    if (once_in(2))
        add(m, "Last-Modified", date_near(now_s - 1000));
    if (once_in(8))
        add(m, "Set-Cookie", print("a=%zu", below(9)));
    add(m, "X-A", print("%zu", below(9)));
    if (once_in(4))
        add(m, "Content-Length", once_in(4) ? "6" : "5");
    if (may_be_304 && once_in(2))
        m->text.status = 304;
    if (once_in(m->text.status == 304 ? 8 : 2))
        add(m, once_in(4) ? "vary" : "Vary", PICK(varies));
    if (once_in(20))
        add(m, "Vary", PICK(varies));
}

/* ---- both sides ---- */

struct world {
    struct model_rules rules;
    struct site site;
    struct site_rule rule;
    bool has_rule;

    struct model_stored model;

    /* the engine's */
    bool is_stored;
    struct head head;
    uint64_t variant;
};

static struct clock_moment moment(int64_t at_ms)
{
    return (struct clock_moment){.wall_ms = at_ms, .mono_ms = at_ms - begin_ms + INT64_C(1000000)};
}

static int64_t maybe(size_t n, int64_t a, int64_t b)
{
    return once_in(n) ? (once_in(2) ? a : b) : SITE_UNSET;
}

static const char *const more_targeted[] = {"my-control"};

static void make_world(struct world *w)
{
    static const enum site_reload reload[] = {SITE_RELOAD_HONOUR, SITE_RELOAD_LIMIT,
                                              SITE_RELOAD_IGNORE};
    static const enum model_reload same[] = {MODEL_RELOAD_HONOUR, MODEL_RELOAD_LIMIT,
                                             MODEL_RELOAD_IGNORE};
    size_t policy = below(3);

    *w = (struct world){.has_rule = once_in(3)};
    w->site = (struct site){.name = "www",
                            .negative_404_s = maybe(8, 10, 0),
                            .negative_5xx_s = maybe(8, 1, 30),
                            .client_reload = reload[policy],
                            .set_cookie_rfc = once_in(2)};
    w->rule = (struct site_rule){.path = "*",
                                 .ttl_s = maybe(4, 60, 5),
                                 .default_ttl_s = maybe(4, 60, 5),
                                 .stale_while_revalidate_s = maybe(4, 10, 0),
                                 .stale_if_error_s = maybe(4, 10, 0),
                                 .cache_off = once_in(20),
                                 .line = 7};
    w->rules =
        (struct model_rules){.set_cookie_rfc = w->site.set_cookie_rfc,
                             .client_reload = same[policy],
                             .ttl_s = w->has_rule ? w->rule.ttl_s : MODEL_UNSET,
                             .default_ttl_s = w->has_rule ? w->rule.default_ttl_s : MODEL_UNSET,
                             .swr_s = w->has_rule ? w->rule.stale_while_revalidate_s : MODEL_UNSET,
                             .sie_s = w->has_rule ? w->rule.stale_if_error_s : MODEL_UNSET,
                             .negative_404_s = w->site.negative_404_s,
                             .negative_5xx_s = w->site.negative_5xx_s,
                             .cache_off = w->has_rule && w->rule.cache_off,
                             .targeted = {"CDN-Cache-Control"},
                             .jitter_permille = once_in(2) ? (unsigned)below(51) : 0};
    if (once_in(4)) {
        w->site.targeted_fields = (struct site_strings){.item = more_targeted, .count = 1};
        w->rules.targeted[0] = "My-Control";
        w->rules.targeted[1] = "CDN-Cache-Control";
    }
}

static struct rule_facts rule_of(const struct world *w)
{
    return (struct rule_facts){.site = &w->site, .rule = w->has_rule ? &w->rule : NULL};
}

/* The list of Vary, and whether it matches nothing, as the engine reads them when a head comes. */
static bool read_vary(const struct http_fields *fields, struct slice *list)
{
    bool star = false;
    enum err e = vary_list(fields, &arena, list, &star);

    assert_true(e == ERR_OK || e == ERR_INVALID);
    if (e == ERR_INVALID)
        *list = SLICE("");
    return star || e == ERR_INVALID;
}

static uint64_t variant(struct slice list, const struct http_fields *request)
{
    struct buf scratch;
    uint64_t v;

    if (list.n == 0)
        return 0;
    buf_init(&scratch, 1 << 16);
    v = variant_of(list, request, &scratch);
    buf_release(&scratch);
    return v;
}

/* What of a response is kept beside its body. */
static struct http_fields kept(const struct http_fields *from)
{
    struct http_fields out = {0};

    for (size_t i = 0; i < from->count; i++)
        assert_int_equal(
            http_fields_add(&out, &arena, 200, from->item[i].name, from->item[i].value), ERR_OK);
    http_fields_remove(&out, SLICE("age"));
    http_fields_remove(&out, SLICE("content-length"));
    return out;
}

/* ---- telling ---- */

static const char *tell_of; /* the case so far */

static void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void tell(const char *format, ...)
{
    char *more = NULL, *all = NULL;
    va_list ap;

    va_start(ap, format);
    assert_true(vasprintf(&more, format, ap) >= 0);
    va_end(ap);
    assert_true(asprintf(&all, "%s%s\n", tell_of, more) >= 0);
    tell_of = arena_text(&arena, slice_of(all));
    free(more);
    free(all);
}

static void tell_message(const char *what, const struct model_message *m)
{
    tell("%s %s%d", what, m->method == NULL ? "" : m->method, m->status);
    for (size_t i = 0; i < m->count; i++)
        tell("    %s: %s", m->field[i].name, m->field[i].value);
}

/* The case again, told as it goes: only what fails is worth the time. */
static bool is_telling;
static bool differs;

static void same(const char *what, long long engine, long long model)
{
    if (engine == model)
        return;
    differs = true;
    if (is_telling)
        tell("!!! %s: engine %lld, model %lld", what, engine, model);
}

/* ---- one exchange ---- */

static const enum model_use use_of[] = {
    [REQUEST_ANSWER] = MODEL_ANSWER,     [REQUEST_ANSWER_REFRESH] = MODEL_ANSWER_REFRESH,
    [REQUEST_VALIDATE] = MODEL_VALIDATE, [REQUEST_FETCH] = MODEL_FETCH,
    [REQUEST_PASS] = MODEL_PASS,         [REQUEST_RANGE_PASS] = MODEL_RANGE_PASS,
    [REQUEST_REFUSE] = MODEL_REFUSE,
};

static const enum model_outcome outcome_of[] = {
    [RESPONSE_STORE] = MODEL_STORE,   [RESPONSE_FRESHEN] = MODEL_FRESHEN,
    [RESPONSE_RELAY] = MODEL_RELAY,   [RESPONSE_STALE] = MODEL_STALE,
    [RESPONSE_REPEAT] = MODEL_REPEAT, [RESPONSE_FAIL] = MODEL_FAIL,
};

struct exchange {
    struct pair request, response;
    struct request_facts facts;
    struct stored_facts stored;
    struct request_decision decision;
    bool matches; /* what is stored is for such a request */
    enum model_use use;
};

static void engine_request(struct world *w, struct exchange *x, bool may_serve_swr, unsigned hits,
                           int64_t now_ms)
{
    struct clock_moment now = moment(now_ms);
    struct rule_facts rule = rule_of(w);

    request_facts_read(&x->facts, slice_of(x->request.text.method), &x->request.fields, false);
    x->matches = w->is_stored && variant(w->head.vary, &x->request.fields) == w->variant;
    x->stored = (struct stored_facts){.vary_missed = w->is_stored && !x->matches};
    if (x->matches)
        head_facts(&w->head, false, &x->stored);
    x->stored.hits = hits;
    if (!decide_pass(&x->facts, &rule, &x->decision)) {
        decide_request(&x->facts, &x->stored, &rule, may_serve_swr, &now, &x->decision);
        return;
    }
    x->stored = (struct stored_facts){0}; /* nobody looks */
    x->matches = false;
}

static void same_answer(const struct world *w, const struct exchange *x, int64_t now_ms)
{
    struct clock_moment now = moment(now_ms);
    int64_t now_s = now_ms / 1000, at_s;
    const struct http_fields *f = &w->head.fields;
    struct slice day = http_fields_value(f, SLICE("date"));
    struct http_validators v = {
        .etag = http_fields_value(f, SLICE("etag")),
        .last_modified = http_fields_value(f, SLICE("last-modified")),
        .last_modified_s = -1,
        .date_s = day.p != NULL && http_date_parse(day, now_s, &at_s)
                      ? at_s
                      : w->head.freshness.received.wall_ms / 1000,
    };

    if (v.last_modified.p != NULL && http_date_parse(v.last_modified, now_s, &at_s))
        v.last_modified_s = at_s;
    same("condition", (long long)http_condition_evaluate(&x->request.fields, &v, now_s),
         (long long)model_evaluate(&w->model, &x->request.text, now_s));
    same("age", freshness_age_s(&w->head.freshness, &now),
         model_age_ms(&w->model, now_ms) / 1000 > FRESHNESS_MAX_S
             ? FRESHNESS_MAX_S
             : model_age_ms(&w->model, now_ms) / 1000);
}

/* True when something is to be asked of the origin. */
static bool ask(struct world *w, struct exchange *x, int64_t now_ms)
{
    static const struct model_stored nothing;
    bool may_serve_swr = !once_in(4);
    unsigned hits = once_in(2) ? 8 : (unsigned)below(8);

    engine_request(w, x, may_serve_swr, hits, now_ms);
    x->use = model_use(&w->rules, w->is_stored ? &w->model : &nothing, &x->request.text,
                       may_serve_swr, hits, now_ms);
    if (is_telling)
        tell("use %d, by the engine %d", (int)x->use, (int)use_of[x->decision.action]);
    same("use", use_of[x->decision.action], x->use);
    if (x->use == MODEL_ANSWER || x->use == MODEL_ANSWER_REFRESH) {
        if (!differs)
            same_answer(w, x, now_ms);
        return x->use == MODEL_ANSWER_REFRESH;
    }
    return x->use != MODEL_REFUSE;
}

static void same_fields(const struct http_fields *engine, const struct model_message *model)
{
    struct http_fields e = kept(engine);
    size_t count = 0, i = 0;

    for (size_t k = 0; k < model->count; k++) {
        if (strcasecmp(model->field[k].name, "age") == 0 ||
            strcasecmp(model->field[k].name, "content-length") == 0)
            continue;
        count++;
        if (i < e.count && (!slice_eq_nocase(e.item[i].name, slice_of(model->field[k].name)) ||
                            !slice_eq(e.item[i].value, slice_of(model->field[k].value))))
            same(model->field[k].name, 0, 1);
        i++;
    }
    same("number of fields", (long long)e.count, (long long)count);
}

/* The response is in: what is kept of it, on both sides. */
static void keep(struct world *w, const struct exchange *x, const struct response_decision *d,
                 const struct http_fields *fields, int64_t request_ms, int64_t response_ms)
{
    struct model_message text = x->response.text;

    if (d->action != RESPONSE_STORE && d->action != RESPONSE_FRESHEN) {
        if (d->drops_stored)
            w->is_stored = false;
        return;
    }
    if (d->action == RESPONSE_FRESHEN)
        model_freshen(&w->model, &x->response.text, w->rules.set_cookie_rfc, &text);
    same_fields(fields, &text);
    w->model = (struct model_stored){.present = true,
                                     .request = x->request.text,
                                     .response = text,
                                     .request_ms = request_ms,
                                     .response_ms = response_ms,
                                     .rules = w->rules};
    w->head.fields = kept(fields);
    w->head.freshness = d->freshness;
    w->head.no_cache = d->no_cache;
    w->head.forbids_stale = d->forbids_stale;
    w->head.is_immutable = d->is_immutable;
    if (d->action == RESPONSE_STORE) {
        w->head.status = x->response.text.status;
        (void)read_vary(&x->response.fields, &w->head.vary);
        w->variant = variant(w->head.vary, &x->request.fields);
    }
    w->is_stored = !d->drops_stored;
    same("lifetime", d->freshness.lifetime_s, model_lifetime_s(&w->model));
}

static void receive(struct world *w, struct exchange *x, enum model_failure failure, bool alone,
                    int64_t request_ms, int64_t response_ms)
{
    static const enum response_failure failures[] = {[MODEL_CAME] = RESPONSE_CAME,
                                                     [MODEL_UNREACHABLE] = RESPONSE_UNREACHABLE,
                                                     [MODEL_TIMED_OUT] = RESPONSE_TIMED_OUT,
                                                     [MODEL_OVERLOADED] = RESPONSE_OVERLOADED,
                                                     [MODEL_GARBAGE] = RESPONSE_GARBAGE};
    static const struct model_stored nothing;
    struct http_fields fields = x->response.fields;
    struct rule_facts rule = rule_of(w);
    struct response_facts facts;
    struct response_decision d;
    struct slice list;
    bool star;
    bool is_304 = failure == MODEL_CAME && x->response.text.status == 304;
    bool validates =
        x->use == MODEL_VALIDATE || (x->use == MODEL_ANSWER_REFRESH && x->stored.has_validator);
    bool is_head = failure == MODEL_CAME && x->facts.method == METHOD_HEAD &&
                   x->response.text.status == 200 && x->stored.present && w->head.status == 200 &&
                   x->use != MODEL_PASS && x->use != MODEL_RANGE_PASS;
    bool agrees = is_head && head_agrees(&w->head.fields, BODY_BYTES, &x->response.fields);
    struct model_verdict v;

    if ((is_304 && validates && x->stored.present) || agrees)
        assert_int_equal(head_freshen(&w->head.fields, &x->response.fields, w->site.set_cookie_rfc,
                                      &arena, &fields),
                         ERR_OK);
    response_facts_read(&facts, &w->site, x->response.text.status, &fields, false,
                        SLICE("www.test"), SLICE("/"), moment(response_ms),
                        response_ms - request_ms);
    star = read_vary(&fields, &list);
    facts.vary_star |= star;
    decide_response(
        &(struct response_case){
            .request = &x->facts,
            .stored = &x->stored,
            .rule = &rule,
            .response = failure == MODEL_CAME ? &facts : NULL,
            .failure = failures[failure],
            .was_pass = x->use == MODEL_PASS ||
                        (x->use == MODEL_RANGE_PASS &&
                         (x->facts.method != METHOD_GET || x->response.text.status != 200)),
            .was_conditional = validates,
            .is_other_304 =
                is_304 && x->stored.present && !head_is_meant(&w->head.fields, &x->response.fields),
            .is_clients_304 = is_304 && http_if_none_match_names(
                                            &x->request.fields,
                                            http_fields_value(&x->response.fields, SLICE("etag"))),
            .changes_vary = x->stored.present && (star || !slice_eq(list, w->head.vary)),
            .is_head_of_stored = is_head,
            .agrees = agrees,
            .jitter_permille = w->rules.jitter_permille,
            .alone = alone,
            .now = moment(response_ms)},
        &d);
    v = model_judge(
        &(struct model_case){.rules = &w->rules,
                             .request = &x->request.text,
                             .response = failure == MODEL_CAME ? &x->response.text : NULL,
                             .stored = x->matches ? &w->model : &nothing,
                             .use = validates                        ? MODEL_VALIDATE
                                    : x->use == MODEL_ANSWER_REFRESH ? MODEL_FETCH
                                                                     : x->use,
                             .failure = failure,
                             .alone = alone,
                             .body_bytes = BODY_BYTES,
                             .request_ms = request_ms,
                             .response_ms = response_ms});
    if (is_telling)
        tell("outcome %d, by the engine %d", (int)v.outcome, (int)outcome_of[d.action]);
    same("outcome", outcome_of[d.action], v.outcome);
    same("may share", d.may_share, v.may_share);
    same("drops stored", d.drops_stored, v.drops_stored);
    same("status of failure", d.action == RESPONSE_FAIL ? d.fail_status : 0, v.fail_status);
    if (!differs)
        keep(w, x, &d, &fields, request_ms, response_ms);
}

/* ---- a case ---- */

/* When to ask next: often just at an edge of something. */
static int64_t next_time(const struct world *w, int64_t now_ms)
{
    static const int64_t part[] = {0, 0, 0, 10, 10, 20}; /* of a hundred */
    static const int64_t edge_ms[] = {-1001, -1000, -999, -1, 0, 0, 1, 999, 1000, 1001, 2000, 5000};
    static const int64_t after_ms[] = {0,     1,     500,     999,   1000,  1001,  3000,
                                       10000, 90000, 4000000, -3000, -5000, -5001, 100000000};
    static const int64_t window_s[] = {0, 0, 0, 1, 2, 3, 5, 10, 60, 100, 3600, 86400};

    int64_t left_ms =
        w->is_stored ? model_lifetime_s(&w->model) * 1000 - model_age_ms(&w->model, now_ms) : 0;

    /* nobody waits for the end of what saturates, nor goes back to where it would still have been
     * fresh */
    if (!w->is_stored || once_in(3) || left_ms > 1000000000 || left_ms < -100000)
        return now_ms + PICK(after_ms);
    if (left_ms > 0 && once_in(4))
        left_ms -= left_ms * PICK(part) / 100;
    else
        left_ms += PICK(window_s) * 1000;
    left_ms += PICK(edge_ms);
    return now_ms + (left_ms > -6000 ? left_ms : 0);
}

/* As browsers do: with the Last-Modified that they were told. */
static void ask_as_if_it_had_that(struct pair *request, const struct model_message *stored)
{
    for (size_t i = 0; i < stored->count; i++)
        if (strcasecmp(stored->field[i].name, "last-modified") == 0)
            add(request, "If-Modified-Since", stored->field[i].value);
}

static void run_case(void)
{
    static const int64_t waits_ms[] = {0, 0, 0, 1, 999, 1500, 30000};
    struct world w;
    int64_t now_ms = begin_ms + (int64_t)below(2000);

    make_world(&w);
    for (int step = 0; step <= STEPS && !differs; step++) {
        struct exchange x = {0};
        int64_t wait_ms = PICK(waits_ms);
        enum model_failure failure =
            step > 0 && once_in(5) ? (enum model_failure)(1 + below(4)) : MODEL_CAME;

        if (step > 0)
            now_ms = next_time(&w, now_ms);
        make_request(&x.request, now_ms / 1000);
        if (w.is_stored && once_in(8))
            ask_as_if_it_had_that(&x.request, &w.model.response);
        make_response(&x.response, (now_ms + wait_ms) / 1000, step > 0);
        if (is_telling) {
            tell("-- at %lld ms, answered after %lld, failure %d", (long long)(now_ms - begin_ms),
                 (long long)wait_ms, (int)failure);
            tell_message("request", &x.request.text);
            tell_message("response", &x.response.text);
        }
        if (ask(&w, &x, now_ms) && !differs)
            receive(&w, &x, failure, once_in(2), now_ms, now_ms + wait_ms);
        now_ms += wait_ms;
    }
}

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *s = getenv(name);

    return s == NULL ? otherwise : strtoull(s, NULL, 0);
}

static void run_seed(uint64_t seed, bool telling)
{
    state = seed;
    is_telling = telling;
    differs = false;
    arena_init(&arena, NULL, 0, 64 << 20);
    tell_of = "";
    run_case();
    if (telling && differs) {
        fprintf(stderr, "%s", tell_of); /* longer than cmocka's messages may be */
        fail_msg("MODEL_SEED=%llu MODEL_CASES=1", (unsigned long long)seed);
    }
    arena_release(&arena);
}

static void test_the_engine_decides_as_the_model_does(void **unused)
{
    uint64_t cases = number("MODEL_CASES", 100000), seed = number("MODEL_SEED", 1);

    (void)unused;
    for (uint64_t i = 0; i < cases; i++) {
        run_seed(seed + i, false);
        if (differs) {
            print_message("case %llu of %llu\n", (unsigned long long)i + 1,
                          (unsigned long long)cases);
            run_seed(seed + i, true);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_engine_decides_as_the_model_does)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
