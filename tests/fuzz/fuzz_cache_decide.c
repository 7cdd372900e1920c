/*
 * Any request and any response through both decisions, the way the engine goes: what may not be
 * kept is not kept, what is for one is not for all, a failure makes nothing fresh, and what is
 * stored answers only while it may.
 *
 * Input: a few bytes of circumstances, then the request's fields and, behind a NUL, the response's.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "cache/decide_request.h"
#include "cache/decide_response.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { CIRCUMSTANCES = 16, T = 1700000000 };

static struct http_fields read_fields(struct slice text, struct arena *a)
{
    struct http_fields f = {0};

    while (text.n > 0 && f.count < LIMIT_FIELDS) {
        struct slice line = slice_head(text, slice_index(text, '\n'));
        size_t colon = slice_index(line, ':');
        char *name = arena_text(a, slice_head(line, colon));
        struct slice value = slice_trim(slice_from(line, colon + 1));

        text = slice_from(text, line.n + 1);
        if (name == NULL || !http_is_token(slice_head(line, colon)) || !http_is_field_value(value))
            continue;
        http_lower(name, colon);
        if (http_fields_add(&f, a, LIMIT_FIELDS, (struct slice){name, colon}, value) != ERR_OK)
            break;
    }
    return f;
}

/* Said by hand, beside the code under test: is the directive there at all, in any line? */
static bool says(const struct http_fields *f, struct slice directive)
{
    struct http_field const *at = http_fields_find(f, SLICE("cache-control"));

    for (; at != NULL; at = http_fields_next(f, at)) {
        struct slice rest = at->value, member;

        while (http_list_next(&rest, &member, NULL))
            if (slice_eq_nocase(member, directive))
                return true;
    }
    return false;
}

static void check_response(const struct response_case *c, const struct http_fields *rq,
                           const struct http_fields *rs)
{
    const struct response_facts *r = c->response;
    struct response_decision d;

    decide_response(c, &d);
    CHECK(d.why.count <= REASONS_MAX);
    if (r == NULL) {
        CHECK(d.action == RESPONSE_STALE || d.action == RESPONSE_FAIL);
        CHECK(!d.drops_stored);
        CHECK((d.action == RESPONSE_FAIL) == (d.fail_status >= 502 && d.fail_status <= 504));
    }
    if (d.action == RESPONSE_STALE)
        CHECK(c->stored->present && !c->stored->forbids_stale && !c->was_pass);
    if (c->was_pass)
        CHECK(d.action != RESPONSE_STORE && d.action != RESPONSE_STALE && !d.drops_stored &&
              (r == NULL || !d.may_share || r->status == 304));
    if (d.action == RESPONSE_FRESHEN)
        CHECK(r->status == 304 && c->stored->present && c->was_conditional && !c->is_other_304);
    if (r != NULL && !r->is_targeted && d.action == RESPONSE_STORE) {
        CHECK(!says(rs, SLICE("no-store")) || says(rs, SLICE("must-understand")));
        CHECK(!says(rs, SLICE("private")));
    }
    if (r != NULL && !r->is_targeted &&
        (says(rs, SLICE("private")) ||
         (says(rs, SLICE("no-store")) && !says(rs, SLICE("must-understand")))))
        CHECK(d.action == RESPONSE_STALE || !d.may_share);
    if (d.action == RESPONSE_STORE) {
        CHECK(c->request->method == METHOD_GET);
        CHECK(r->status != 206 && r->status != 304 && !r->vary_star && !r->is_unframed &&
              !r->is_event_stream);
        CHECK(d.freshness.lifetime_s >= 0 && d.freshness.lifetime_s <= FRESHNESS_MAX_S);
        CHECK(!d.forbids_stale || (d.freshness.swr_s == 0 && d.freshness.sie_s == 0) ||
              c->rule->rule != NULL);
        if (http_fields_find(rq, SLICE("authorization")) != NULL && !r->is_targeted)
            CHECK(r->cc.is_public || r->cc.must_revalidate || r->cc.s_maxage_s >= 0);
        if (http_fields_find(rs, SLICE("set-cookie")) != NULL && !r->is_targeted &&
            !c->rule->site->set_cookie_rfc)
            CHECK(r->cc.is_public || r->cc.s_maxage_s >= 0);
    }
    if (d.drops_stored)
        CHECK(c->stored->present && r->status < 500);
}

static void check_request(const struct request_facts *rq, const struct stored_facts *stored,
                          const struct rule_facts *rule, bool may_serve_swr,
                          struct clock_moment now)
{
    struct request_decision d;
    enum freshness_state state;

    if (decide_pass(rq, rule, &d)) {
        CHECK(d.action == REQUEST_PASS || (d.action == REQUEST_REFUSE && rq->cc.only_if_cached));
        CHECK(d.fwd != FWD_NONE && !d.may_serve_stale);
        return;
    }
    CHECK(!rq->has_content && (rq->method == METHOD_GET || rq->method == METHOD_HEAD));
    decide_request(rq, stored, rule, may_serve_swr, &now, &d);
    CHECK((d.fwd == FWD_NONE) ==
          (d.action == REQUEST_ANSWER || d.action == REQUEST_ANSWER_REFRESH));
    if (d.action == REQUEST_VALIDATE)
        CHECK(stored->present && stored->has_validator);
    if (rq->cc.only_if_cached)
        CHECK(d.fwd == FWD_NONE || d.action == REQUEST_REFUSE);
    if (!stored->present) {
        CHECK(d.fwd != FWD_NONE);
        return;
    }
    state = freshness_state(&stored->freshness, &now);
    CHECK(!d.may_serve_stale || !stored->forbids_stale);
    if (d.fwd != FWD_NONE)
        return;
    CHECK(!stored->no_cache);
    if (state == FRESHNESS_FRESH && !stored->soft_purged)
        return;
    CHECK(!stored->forbids_stale);
    if (d.action == REQUEST_ANSWER_REFRESH)
        CHECK(may_serve_swr);
    else
        CHECK(!stored->soft_purged && (rq->cc.max_stale_any || rq->cc.max_stale_s >= 0));
}

static int64_t number_of(uint8_t v)
{
    static const int64_t s[] = {SITE_UNSET, 0, 1, 10, 60, 3600, 86400, FRESHNESS_MAX_S};

    return s[v % 8];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const char *const methods[] = {"GET", "GET", "GET", "HEAD", "POST", "OPTIONS"};
    static const int status[] = {200, 200, 304, 206, 404, 500, 503, 301, 599, 403, 204, 501};
    struct http_fields rq, rs;
    struct request_facts request;
    struct response_facts response;
    struct stored_facts stored;
    struct site site = {.name = "www"};
    struct site_rule rule = {.path = "*", .line = 1};
    struct rule_facts rules = {.site = &site};
    struct clock_moment now;
    struct response_case c;
    struct arena a;
    struct slice text;
    const uint8_t *v = data;
    size_t end;

    if (bytes < CIRCUMSTANCES)
        return 0;
    arena_init(&a, NULL, 0, 1 << 20);
    text = (struct slice){(const char *)data + CIRCUMSTANCES, bytes - CIRCUMSTANCES};
    end = slice_index(text, '\0');
    rq = read_fields(slice_head(text, end), &a);
    rs = read_fields(slice_from(text, end + 1), &a);

    site.negative_404_s = number_of(v[0]);
    site.negative_5xx_s = number_of((uint8_t)(v[0] >> 4));
    site.client_reload = (enum site_reload)(v[1] % 3);
    site.set_cookie_rfc = (v[1] & 8) != 0;
    rules.rule = (v[1] & 16) != 0 ? &rule : NULL;
    rules.bypass_cookie = (v[1] & 96) == 96;
    rule.cache_off = (v[2] & 15) == 15;
    rule.stream = (v[2] & 240) == 240;
    rule.ttl_s = number_of(v[3]);
    rule.default_ttl_s = number_of((uint8_t)(v[3] >> 4));
    rule.stale_while_revalidate_s = number_of(v[4]);
    rule.stale_if_error_s = number_of((uint8_t)(v[4] >> 4));
    now = (struct clock_moment){.wall_ms = (int64_t)T * 1000 + (int64_t)v[5] * 1000 - 10000 +
                                           (int64_t)v[6] * 3600000,
                                .mono_ms = 500000 + (int64_t)v[5] * 1000};
    stored = (struct stored_facts){
        .present = (v[7] & 1) != 0,
        .vary_missed = (v[7] & 2) != 0,
        .soft_purged = (v[7] & 4) != 0,
        .no_cache = (v[7] & 8) != 0,
        .forbids_stale = (v[7] & 24) != 0, /* no-cache implies it, as decide_response() writes it */
        .has_validator = (v[7] & 32) != 0,
        .is_immutable = (v[7] & 64) != 0,
        .status = 200,
        .freshness = {.received = {.wall_ms = (int64_t)T * 1000, .mono_ms = 500000},
                      .initial_age_ms = v[8] * 1000,
                      .lifetime_s = v[9],
                      .swr_s = v[10],
                      .sie_s = v[11]}};
    if (!stored.present)
        stored = (struct stored_facts){.vary_missed = stored.vary_missed};
    request_facts_read(&request, slice_of(methods[v[12] % 6]), &rq, (v[12] & 128) != 0);
    response_facts_read(&response, rules.site, status[v[13] % 12], &rs, (v[14] & 1) != 0,
                        SLICE("www.example.com"), SLICE("/a"), now, v[15]);
    c = (struct response_case){
        .request = &request,
        .stored = &stored,
        .rule = &rules,
        .response = (v[14] & 6) != 0 ? &response : NULL,
        .failure = (v[14] & 6) != 0 ? RESPONSE_CAME
                                    : (enum response_failure)(1 + v[13] % (RESPONSE_FAILURES - 1)),
        .was_pass = (v[14] & 24) == 24,
        .was_conditional = (v[14] & 32) != 0,
        .is_other_304 = (v[14] & 192) == 192,
        .alone = (v[14] & 64) != 0,
        .now = now};
    check_response(&c, &rq, &rs);
    check_request(&request, &stored, &rules, (v[2] & 1) != 0, now);
    arena_release(&a);
    return 0;
}
