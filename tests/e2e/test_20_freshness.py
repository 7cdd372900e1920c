"""What is kept, for how long, and for whom (RFC 9111)."""
from email.utils import formatdate
from time import monotonic, time

import pytest

from testenv.wait import until

A, B = b"first body", b"second body!"


@pytest.mark.parametrize("control", ["no-store", "private", "max-age=0, no-cache", "private, max-age=60",
                                     "no-store, max-age=60", 'max-age=60, private="set-cookie'])
def test_what_may_not_be_reused_is_not(edge, origin, control):
    page = origin.page("/x", A, cache_control=control)
    for n in (1, 2):
        assert not edge.get("/x").is_hit
        edge.wait_idle()
        assert page.hits == n


@pytest.mark.parametrize("control, fields", [
    ("max-age=60", []), ("max-age=60, must-revalidate, proxy-revalidate", []), ("s-maxage=60, max-age=0", []), ("public, max-age=60", [("Set-Cookie", "a=1")]),
    (None, [("Expires", formatdate(time() + 600, usegmt=True))]),
    (None, [("Last-Modified", formatdate(time() - 864000, usegmt=True))]),
    ("MAX-AGE=60, foo, bar=\"x, no-store\"", []),
])
def test_what_may_be_reused_is(edge, origin, control, fields):
    page = origin.page("/x", A, cache_control=control, fields=fields)
    edge.fill("/x")
    assert edge.get("/x").is_hit
    assert page.hits == 1


def test_without_lifetime_and_validator_nothing_is_reused(edge, origin):
    page = origin.page("/x", A)
    edge.get("/x")
    assert not edge.get("/x").is_hit
    assert page.hits == 2


@pytest.mark.parametrize("control", ["no-store", "private", None])
def test_what_may_not_be_stored_takes_nothing_fresh_away(make_edge, origin, control):
    """An answer to somebody's reload: what is stored, and fresh, is not less fresh for it."""
    edge = make_edge(origin, site={"client_reload": "honour"})
    page = origin.page("/x", A, cache_control="max-age=60")
    edge.fill("/x")
    page.body, page.cache_control = B, control
    assert edge.get("/x", fields=RELOAD).body == B
    edge.wait_idle()
    reply = edge.get("/x")
    assert (reply.is_hit, reply.body) == (True, A)


@pytest.mark.parametrize("status", [404, 410, 403])
def test_an_error_takes_the_place_of_what_was_stale(edge, origin, status):
    page = origin.page("/x", A, cache_control="max-age=0, stale-if-error=600", etag='"1"')
    edge.fill("/x")
    page.status, page.body, page.etag, page.cache_control = status, B, None, "max-age=60"
    for _ in range(2):
        reply = edge.get("/x")
        assert (reply.status, reply.body) == (status, B)
        edge.wait_idle()
    assert page.hits == 2


def test_age_from_before_counts(edge, origin):
    page = origin.page("/x", A, cache_control="max-age=60", fields=[("Age", "100")])
    edge.get("/x")
    assert not edge.get("/x").is_hit
    assert page.hits == 2


def test_a_stale_object_is_validated_and_kept(edge, origin):
    page = origin.page("/x", A, cache_control="max-age=0", etag='"1"', fields=[("X-Old", "1")])
    edge.fill("/x")
    page.fields = [("X-New", "1")]
    r = edge.get("/x")
    assert (r.status, r.body) == (200, A)
    assert page.requests[1].field("if-none-match") == '"1"'
    assert r.fwd == "stale"
    assert r.field("x-new") == "1"  # section 3.2: the 304 brings the fields up to date
    page.body, page.etag = B, '"2"'
    edge.wait_idle()
    assert edge.get("/x").body == B


def test_last_modified_validates_too(edge, origin):
    page = origin.page("/x", A, cache_control="max-age=0", last_modified="Tue, 24 Nov 2020 10:00:00 GMT")
    edge.fill("/x")
    assert edge.get("/x").body == A
    assert page.requests[1].field("if-modified-since") == "Tue, 24 Nov 2020 10:00:00 GMT"


def test_no_cache_validates_each_time(edge, origin):
    page = origin.page("/x", A, cache_control="no-cache, max-age=60", etag='"1"')
    edge.fill("/x")
    for n in (2, 3):
        assert edge.get("/x").body == A
        assert page.hits == n


@pytest.mark.parametrize("fields, status", [
    ([("If-None-Match", '"1"')], 304), ([("If-None-Match", 'W/"1"')], 304), ([("If-None-Match", "*")], 304),
    ([("If-None-Match", '"2"')], 200), ([("If-None-Match", '"0", "1"')], 304),
    ([("If-Modified-Since", "Tue, 24 Nov 2020 10:00:00 GMT")], 304),
    ([("If-Modified-Since", "Tue, 24 Nov 2020 09:59:59 GMT")], 200),
    ([("If-Modified-Since", "nonsense")], 200),
    ([("If-None-Match", '"2"'), ("If-Modified-Since", "Tue, 24 Nov 2020 10:00:00 GMT")], 200),
])
def test_conditions_of_clients_are_answered_from_the_store(edge, origin, fields, status):
    page = origin.page("/x", A, cache_control="max-age=60", etag='"1"', last_modified="Tue, 24 Nov 2020 10:00:00 GMT")
    edge.fill("/x")
    for ask in (edge.get, edge.get2):
        r = ask("/x", fields=fields)
        assert (r.status, r.body, r.complete) == (status, A if status == 200 else b"", True)
        assert r.field("etag") == '"1"'
    assert page.hits == 1


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_a_304_carries(edge, origin, method):
    """RFC 9110 section 15.4.5: what guides caches, and nothing else that describes the page."""
    origin.page("/x", A, cache_control="max-age=60", etag='"1"', last_modified="Tue, 24 Nov 2020 10:00:00 GMT", fields=[
        ("Expires", "Thu, 01 Jan 2065 00:00:00 GMT"), ("Vary", "Foo"), ("Content-Location", "/y"), ("Age", "7"),
        ("Content-Type", "text/plain"), ("Content-Language", "de"), ("X-Own", "1"), ("Link", "<x>")])
    miss = edge.fill("/x")
    for ask in (edge.get, edge.get2):
        r = ask("/x", method=method, fields=[("If-None-Match", '"1"')])
        assert (r.status, r.body, r.complete, r.is_hit) == (304, b"", True, True)
        ours = {"server", "via", "x-request-id", "cache-status", "connection"}
        assert {n for n, _ in r.fields} - ours == {
            "etag", "cache-control", "expires", "vary", "content-location", "date", "age"}
        for name in ("etag", "cache-control", "expires", "vary", "content-location", "date"):
            assert r.all(name) == miss.all(name), name
        assert int(r.field("age")) >= 7


def test_an_old_client_gets_its_304_too(edge, origin):
    origin.page("/x", A, cache_control="max-age=60", etag='"1"')
    edge.fill("/x")
    with edge.h1() as c:
        c.send('GET /x HTTP/1.0\r\nHost: www.test\r\nConnection: keep-alive\r\nIf-None-Match: "1"\r\n\r\n')
        r = c.read()
        assert (r.status, r.field("content-length"), r.field("transfer-encoding")) == (304, None, None)
        assert c.request("/x").body == A


def test_vary_keeps_variants_apart(edge, origin):
    page = origin.page("/x", cache_control="max-age=60")

    def answer(request, c):
        language = request.field("accept-language") or "none"
        page.body, page.fields = language.encode(), [("Vary", "Accept-Language")]
        page.handler = None
        try:
            return page.answer(request, c)
        finally:
            page.handler = answer

    page.handler = answer
    for language in ("de", "fr"):
        edge.fill("/x", fields=[("Accept-Language", language)])
    for language in ("de", "fr"):
        r = edge.get("/x", fields=[("Accept-Language", language)])
        assert (r.is_hit, r.body) == (True, language.encode())
    r = edge.get("/x")
    assert (r.body, r.fwd) == (b"none", "vary-miss")
    assert page.hits == 3


def test_vary_star_matches_nobody(edge, origin):
    page = origin.page("/x", A, cache_control="max-age=60", fields=[("Vary", "*")])
    edge.get("/x")
    assert not edge.get("/x").is_hit
    assert page.hits == 2


def test_authorization_is_not_shared_unless_allowed(edge, origin):
    secret = [("Authorization", "Basic eDp5")]
    page = origin.page("/x", A, cache_control="max-age=60")
    edge.get("/x", fields=secret)
    assert not edge.get("/x").is_hit
    assert page.hits == 2
    shared = origin.page("/y", A, cache_control="s-maxage=60")
    edge.fill("/y", fields=secret)
    assert edge.get("/y").is_hit
    assert shared.hits == 1


def test_stale_while_revalidate_answers_at_once_and_asks_once(edge, origin):
    page = origin.page("/x", A, cache_control="max-age=0, stale-while-revalidate=60")
    edge.fill("/x")
    page.body = B
    page.hold()
    for _ in range(5):
        assert edge.get("/x").body == A
    page.wait_held()
    assert page.hits == 2
    page.cache_control = "max-age=60"
    page.release()
    edge.wait_stored(2)
    until(lambda: edge.get("/x").body == B, "the new body")
    assert page.hits == 2
    assert edge.metric("selvage_stale_while_revalidate_total") >= 5


def test_rules_speak_where_the_origin_is_silent(make_edge, origin):
    silent = origin.page("/blog/x", A)
    short = origin.page("/api/x", A, cache_control="max-age=0")
    never = origin.page("/api/never", A, cache_control="no-store")
    off = origin.page("/off/x", A, cache_control="max-age=60")
    cookies = origin.page("/c/x", A, cache_control="max-age=60")
    missing = origin.page("/404", A, status=404)
    edge = make_edge(origin, site={"negative_ttl": {404: "10s"}, "rules": [
        {"path": "/api/*", "ttl": "60s"}, {"path": "/blog/*", "default_ttl": "60s"},
        {"path": "/off/*", "cache": "off"}, {"path": "/c/*", "bypass_cookies": ["session*"]}]})
    edge.fill("/blog/x", "/api/x", "/404", "/c/x")
    for page in (silent, short, missing, cookies):
        assert edge.get(page.path).is_hit, page.path
        assert page.hits == 1
    assert edge.get("/api/x").field("cache-control") == "max-age=0"  # the ttl is the node's own
    for path in ("/api/never", "/off/x"):
        edge.get(path)
        assert not edge.get(path).is_hit
    assert (never.hits, off.hits) == (2, 2)
    assert not edge.get("/c/x", fields=[("Cookie", "a=b; sessionid=1")]).is_hit
    assert edge.get("/c/x", fields=[("Cookie", "a=b")]).is_hit


def test_a_write_makes_the_stored_answer_stale(edge, origin):
    page = origin.page("/x", A, cache_control="max-age=60")
    edge.fill("/x")
    page.body = B
    assert edge.get("/x", method="POST", body=b"x").status == 200
    assert edge.get("/x").body == B


@pytest.mark.parametrize("field, value, goes", [
    ("Location", "y", True), ("Content-Location", "../y#part", True), ("Location", "https://www.test:443/y", True),
    ("Location", "https://other.test/y", False), ("Location", "http://www.test/y", False)])
def test_a_write_makes_what_it_names_stale(edge, origin, field, value, goes):
    """RFC 9111 section 4.4; a reference is resolved as a browser would."""
    origin.page("/x/x", A, status=201, fields=[(field, value)])
    for path in ("/y", "/x/y"):
        origin.page(path, B, cache_control="max-age=60")
        edge.fill(path)
    edge.get("/x/x", method="POST", body=b"x")
    gone = [path for path in ("/y", "/x/y") if not edge.get(path).is_hit]
    assert gone == ([] if not goes else ["/x/y"] if value == "y" else ["/y"])


def test_a_query_changes_nothing(edge, origin):
    """The method QUERY is safe: it is passed with its body, and what is stored stays."""
    page = origin.page("/x", A, cache_control="max-age=60")
    edge.fill("/x")
    for n in (2, 3):
        assert not edge.get("/x", method="QUERY", body=b"q").is_hit
        assert (page.hits, page.requests[-1].body) == (n, b"q")
    assert edge.get("/x").is_hit


RELOAD = [("Cache-Control", "no-cache")]


def test_reloads_of_clients_cost_one_validation_a_second(edge, origin):
    page = origin.page("/x", A, cache_control="max-age=60", etag='"1"')
    edge.fill("/x")
    start = monotonic()
    until(lambda: edge.get("/x", fields=RELOAD).body == A and page.hits >= 2, "a validation")
    for _ in range(20):
        assert edge.get("/x", fields=RELOAD).body == A
    assert page.hits <= 2 + (monotonic() - start)


@pytest.mark.parametrize("reload, hits", [("honour", 6), ("ignore", 1)])
def test_reloads_where_the_site_says_otherwise(make_edge, origin, reload, hits):
    edge = make_edge(origin, site={"client_reload": reload})
    page = origin.page("/x", A, cache_control="max-age=60", etag='"1"')
    edge.fill("/x")
    for _ in range(5):
        assert edge.get("/x", fields=RELOAD).body == A
        edge.wait_idle()
    assert page.hits == hits


def test_only_if_cached(edge, origin):
    page = origin.page("/x", A, cache_control="max-age=60")
    assert edge.get("/x", fields=[("Cache-Control", "only-if-cached")]).status == 504
    assert page.hits == 0
    edge.fill("/x")
    assert edge.get("/x", fields=[("Cache-Control", "only-if-cached")]).is_hit


def test_keys_differ_where_requests_do(edge, origin):
    for target in ("/x", "/x?", "/x?a=1", "/X", "/y"):
        origin.page(target.split("?")[0], A, cache_control="max-age=60")
        edge.fill(target)
    assert edge.get("/x?a=2").is_hit is False
    assert origin.hits == 6
    assert edge.get("/x", named="WWW.Test.:443").is_hit


def test_hosts_do_not_share(make_edge, make_origin):
    a, b = make_origin(), make_origin()
    a.page("/", A, cache_control="max-age=60")
    b.page("/", B, cache_control="max-age=60")
    edge = make_edge(sites=[
        {"name": n, "hosts": [h], "origin": {"servers": [o.url], "allow_local": True}}
        for n, h, o in (("a", "www.test", a), ("b", "other.test", b))])
    for _ in range(2):
        assert edge.get("/").body == A
        assert edge.get("/", host="other.test").body == B


def test_a_redirect_to_itself_is_not_stored(edge, origin):
    page = origin.page("/r", status=301, cache_control="max-age=60", fields=[("Location", "https://www.test/r")])
    for n in (1, 2):
        assert edge.get("/r").status == 301
        assert page.hits == n
    assert edge.metric('selvage_not_stored_total{reason="redirect_loop"}') >= 1
    edge.wait_said("redirects to the same URL: let it look at X-Forwarded-Proto")


def test_a_redirect_to_what_has_the_same_key_is_not_stored(make_edge, origin):
    """/r?utm_source=x is /r to the origin, and to the key: stored, the answer would lead to itself."""
    edge = make_edge(origin, site={"query": {"drop": "tracking"}})
    page = origin.page("/r", status=301, cache_control="max-age=60", fields=[("Location", "/r?utm_medium=y")])
    for n in (1, 2):
        assert edge.get("/r?utm_source=x").status == 301
        edge.wait_idle()
        assert page.hits == n
