"""One hop through: what goes to the origin, what comes back, what is kept."""
import re

import pytest

TEXT = b"hello, world\n" * 10


@pytest.fixture
def page(origin):
    return origin.page("/a.txt", TEXT, cache_control="max-age=60", fields=[("Content-Type", "text/plain")])


@pytest.mark.parametrize("get", ["get", "get2"])
def test_a_miss_then_a_hit(edge, page, get):
    ask = getattr(edge, get)
    first = ask("/a.txt")
    assert (first.status, first.body, first.complete) == (200, TEXT, True)
    assert first.fwd == "uri-miss" and not first.is_hit
    edge.wait_stored()
    second = ask("/a.txt")
    assert (second.status, second.body, second.complete) == (200, TEXT, True)
    assert second.is_hit
    assert page.hits == 1


def test_a_hit_is_like_the_miss(edge, page):
    page.fields += [("X-Thing", "a b"), ("Link", "<x>"), ("Link", "<y>"), ("Warning", '199 - "x"')]
    miss = edge.fill("/a.txt")
    hit = edge.get("/a.txt")
    assert hit.is_hit
    for name in ("content-type", "content-length", "date", "cache-control", "x-thing", "warning", "via"):
        assert hit.field(name) == miss.field(name) is not None, name
    assert re.split(r",\s*", hit.field("link")) == ["<x>", "<y>"]
    assert int(hit.field("age")) >= 0
    assert re.match(r"1\.1 selvage", hit.field("via"))
    assert re.match(r"selvage;\s*hit;\s*ttl=(5\d|60)", hit.cache_status)


def test_protocols_share_objects(edge, page):
    edge.fill("/a.txt")
    assert edge.get2("/a.txt").is_hit
    assert page.hits == 1


def test_head_is_answered_from_a_stored_get(edge, page):
    edge.fill("/a.txt")
    for ask in (edge.get, edge.get2):
        r = ask("/a.txt", method="HEAD")
        assert (r.status, r.body, r.is_hit) == (200, b"", True)
        assert r.field("content-length") == str(len(TEXT))
    assert page.hits == 1


def test_head_on_a_miss_asks_the_origin_for_a_head(edge, page):
    r = edge.get("/a.txt", method="HEAD")
    assert (r.status, r.body) == (200, b"")
    assert page.requests[0].method == "HEAD"
    assert edge.get("/a.txt").body == TEXT


@pytest.mark.parametrize("target", [
    "/", "/%61%2F%2f?", "/a?b=%20&c=d+e", "/a//b/./../c;x=1?q", "/~!$&'()*+,;=:@-._", "/%C3%A4?%C3%A4=%00x",
    '/a?family=A|B&q={"a":[1]}&r=^`<>&s=100%',  # no URI, and sent by browsers all the same
])
def test_the_target_arrives_byte_for_byte(edge, origin, target):
    edge.get(target)
    assert origin.requests[0].target == target
    edge.get2(target)
    assert {r.target for r in origin.requests} == {target}


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 65511, 65512, 65513, 131024, 1_000_000])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_bodies_of_every_size_are_right(edge, origin, size, framing):
    body = bytes(i * 7 % 251 for i in range(size))
    origin.page("/b", body, cache_control="max-age=60", framing=framing)
    assert edge.fill("/b").body == body
    for ask in (edge.get, edge.get2):
        r = ask("/b")
        assert (r.is_hit, r.complete, r.body) == (True, True, body)


def test_a_body_that_only_the_close_ends_is_relayed_and_not_stored(edge, origin):
    page = origin.page("/b", TEXT, cache_control="max-age=60", framing="close")
    for n in (1, 2):
        r = edge.get("/b")
        assert (r.status, r.body, r.complete, r.is_hit) == (200, TEXT, True, False)
        assert page.hits == n
    assert edge.metric('selvage_not_stored_total{reason="unframed"}') == 2


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "PROPFIND", "M-SEARCH"])
def test_other_methods_pass_with_their_bodies(edge, origin, method):
    page = origin.page("/form", TEXT, cache_control="max-age=60")
    for ask in (edge.get, edge.get2):
        r = ask("/form", method=method, body=b"a=b" * 1000)
        assert (r.status, r.body, r.is_hit) == (200, TEXT, False)
    assert [(q.method, q.body) for q in page.requests] == [(method, b"a=b" * 1000)] * 2
    assert page.requests[0].field("content-length") == "3000"


def test_a_chunked_upload_passes(edge, origin):
    page = origin.page("/form", TEXT)
    with edge.h1() as c:
        c.send_request("/form", "POST", [("Transfer-Encoding", "chunked")])
        c.send(b"5\r\nhello\r\n6\r\n, you!\r\n0\r\n\r\n")
        assert c.read().status == 200
    assert page.requests[0].body == b"hello, you!"


def test_max_forwards_counts_the_hops_of_options(edge, origin):
    """RFC 9110 section 7.6.2."""
    page = origin.page("/o", TEXT)
    for ask in (edge.get, edge.get2):
        here = ask("/o", "OPTIONS", [("Max-Forwards", "0")])
        assert (here.status, "GET" in here.field("allow")) == (204, True)
    assert page.hits == 0
    for sent, arrives in (("1", "0"), ("10", "9"), ("x", "x")):
        assert edge.get("/o", "OPTIONS", [("Max-Forwards", sent)]).status == 200
        assert page.requests[-1].field("max-forwards") == arrives
    edge.get("/o", fields=[("Max-Forwards", "0")])  # of other methods it is nobody's business
    assert page.requests[-1].field("max-forwards") == "0"


ODD = "".join(chr(i) for i in range(0x80, 0x100)) + '\t"\\;,=,, \'' + "'"


def test_values_arrive_byte_for_byte(edge, origin):
    page = origin.page("/v", TEXT, cache_control="max-age=60", fields=[("X-Odd", ODD), ("X-Empty", "")])
    for reply in (edge.fill("/v", fields=[("X-Odd", ODD)]), edge.get("/v"), edge.get2("/v")):
        assert (reply.all("x-odd"), reply.all("x-empty")) == ([ODD], [""])
    assert page.requests[0].all("x-odd") == [ODD]
    assert page.hits == 1


def test_expect_is_answered_here(edge, origin):
    page = origin.page("/form", TEXT)
    with edge.h1() as c:
        c.send_request("/form", "POST", [("Expect", "100-continue"), ("Content-Length", "5")])
        c.send(b"hello")
        assert c.read().status == 200
    assert page.requests[0].field("expect") is None


@pytest.mark.parametrize("status", [201, 204, 206, 299, 301, 304, 400, 401, 404, 410, 418, 451, 499, 500, 501, 599,
                                    999])
def test_any_status_is_relayed(edge, origin, status):
    origin.page("/s", TEXT, status=status, fields=[("Location", "/x")])
    for ask in (edge.get, edge.get2):
        r = ask("/s")
        assert (r.status, r.complete) == (status, True)
        assert r.body == (b"" if status in (204, 304) else TEXT)


def test_what_the_origin_is_told(edge, page):
    edge.get("/a.txt", fields=[
        ("X-Forwarded-For", "6.6.6.6"), ("Forwarded", "for=6.6.6.6"), ("X-Real-IP", "6.6.6.6"),
        ("Selvage-Error", "draining"), ("X_Under", "score"), ("Proxy", "evil"), ("X-Original-URL", "/admin"),
        ("X-HTTP-Method-Override", "DELETE"), ("TE", "trailers"), ("Connection", "x-hop"), ("X-Hop", "1"),
        ("Keep-Alive", "5"), ("Authorization", "Basic eDp5"), ("X-Custom", "stays"), ("User-Agent", "me"),
    ])
    r = page.requests[0]
    assert r.all("host") == ["www.test"]
    assert r.field("x-forwarded-for") == "127.0.0.1"
    assert r.field("x-forwarded-proto") == "https"
    assert r.field("x-forwarded-host") == "www.test"
    assert r.field("x-request-id")
    assert r.field("authorization") == "Basic eDp5"
    assert r.field("x-custom") == "stays"
    assert r.field("user-agent") == "me"
    assert r.field("via")
    for name in ("forwarded", "x-real-ip", "selvage-error", "x_under", "proxy", "x-original-url",
                 "x-http-method-override", "te", "x-hop", "keep-alive"):
        assert r.field(name) is None, name


def test_host_header_and_query_rules_reach_the_origin(make_edge, origin):
    origin.page("/a", TEXT, cache_control="max-age=60")
    edge = make_edge(origin, site={"query": {"drop": "tracking"}, "origin": {
        "servers": [origin.url], "allow_local": True, "host_header": "origin.test"}})
    edge.fill("/a?utm_source=x&b=1&gclid=2")
    assert origin.requests[0].target == "/a?b=1"
    assert origin.requests[0].all("host") == ["origin.test"]
    assert edge.get("/a?b=1&fbclid=9").is_hit


def test_set_cookie_stays_apart_and_is_not_stored(edge, origin):
    page = origin.page("/c", TEXT, cache_control="max-age=60", fields=[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    for _ in range(2):
        r = edge.get("/c")
        assert r.all("set-cookie") == ["a=1", "b=2"]
        assert not r.is_hit
    assert page.hits == 2


def test_tags_are_for_us_alone(edge, origin):
    origin.page("/t", TEXT, cache_control="max-age=60", fields=[("Surrogate-Key", "a b"), ("Cache-Tag", "c,d")])
    for r in (edge.fill("/t"), edge.get("/t")):
        assert r.field("surrogate-key") is None and r.field("cache-tag") is None


@pytest.mark.parametrize("protocol", ["h1", "h2"])
def test_what_is_answered_here_has_no_cache_status(edge, origin, protocol):
    """RFC 9211 section 2: it is about what a cache did for a request, not about errors of ours."""
    def ask(*words, **more):
        with getattr(edge, protocol)() as c:
            return c.request(*words, **more)

    replies = [ask("/a", fields=[("Cache-Control", "only-if-cached")]), ask("/a", host="other.test"),
               ask("/a" * 5000), ask("/a", method="TRACE")]
    assert [r.status for r in replies] == [504, 421, 414, 405]
    assert [r.field("cache-status") for r in replies] == [None] * 4
    assert [r.field("cache-control") for r in replies] == ["no-store"] * 4
    assert origin.hits == 0


def test_what_an_origins_connection_nominates_goes(edge, origin):
    page = origin.page("/a", TEXT, cache_control="max-age=60", fields=[
        ("Connection", "X-A, cache-control"), ("Connection", "x-b"), ("X-A", "1"), ("X-B", "2"), ("X-C", "3"),
        ("Keep-Alive", "timeout=5"), ("Proxy-Authenticate", "Basic"), ("Upgrade", "h2c")])
    edge.fill("/a")
    for ask in (edge.get, edge.get2):
        r = ask("/a")
        assert r.is_hit and r.field("x-c") == "3"  # by the lifetime that nobody is told of
        for name in ("x-a", "x-b", "cache-control", "keep-alive", "proxy-authenticate", "upgrade"):
            assert r.field(name) is None, name
    assert page.hits == 1


@pytest.mark.parametrize("get", ["get", "get2"])
def test_of_two_framings_of_the_origin_one_goes_on(edge, origin, get):
    """RFC 9112 section 6.3: chunks count, the length beside them is dropped, and the connection ends."""
    def answer(request, c):
        c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n"
               b"5\r\nhello\r\n0\r\nX-Late: 1\r\n\r\n")
        return True

    origin.page("/a", handler=answer)
    for n in (1, 2):
        r = getattr(edge, get)("/a")
        assert (r.status, r.complete, r.body) == (200, True, b"hello")
        assert r.field("content-length") is None and r.field("x-late") is None and r.field("trailer") is None
        assert origin.accepted == n


def test_connections_to_the_origin_are_kept(edge, origin):
    origin.page("/p", TEXT)
    with edge.h1() as c:
        for _ in range(20):
            assert c.request("/p").status == 200
    assert origin.accepted == 1


def test_a_kept_connection_that_died_costs_the_client_nothing(edge, origin):
    origin.page("/p", TEXT)
    for n in range(5):
        assert edge.get("/p").status == 200
        origin.hang_up()
    assert origin.hits == 5


def test_an_origin_with_tls_is_verified(make_edge, make_origin, authority):
    origin = make_origin(tls=authority.server_context("other.test"))
    origin.page("/s", TEXT, cache_control="max-age=60")
    site = {"servers": [origin.url], "allow_local": True}
    strict = make_edge(origin, site={"origin": site})
    assert strict.get("/s").status in (502, 503)
    assert origin.hits == 0
    assert strict.metric('selvage_upstream_failures_total{reason="tls"}') >= 1
    wrong_name = make_edge(origin, site={"origin": {**site, "ca": str(authority.ca)}})
    assert wrong_name.get("/s").status in (502, 503)
    assert origin.hits == 0
    right = make_edge(origin, site={"origin": {**site, "ca": str(authority.ca), "sni": "other.test"}})
    assert right.get("/s").body == TEXT
    careless = make_edge(origin, site={"origin": {**site, "verify": False}})
    assert careless.get("/s").body == TEXT


def test_pipelined_requests_are_answered_in_order(edge, origin):
    for i in range(5):
        origin.page(f"/{i}", str(i), cache_control="max-age=60")
    with edge.h1() as c:
        c.send("".join(f"GET /{i} HTTP/1.1\r\nHost: www.test\r\n\r\n" for i in range(5)))
        assert [c.read().body for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize("framing, method, ends", [
    ("chunked", "GET", True), ("close", "GET", True), ("length", "GET", False), ("chunked", "HEAD", False)])
def test_an_old_client_that_keeps_its_connection_sees_where_the_body_ends(edge, origin, framing, method, ends):
    """HTTP/1.0 has no chunks: without a length the end of the connection is the only end."""
    origin.page("/a", b"hello", framing=framing)
    with edge.h1() as c:
        c.send(f"{method} /a HTTP/1.0\r\nHost: www.test\r\nConnection: keep-alive\r\n\r\n")
        r = c.read(method)
        assert (r.status, r.complete, r.body) == (200, True, b"" if method == "HEAD" else b"hello")
        assert r.field("connection") == ("close" if ends else "keep-alive")
        assert r.field("transfer-encoding") is None
        if not ends:
            assert c.request("/a").complete


def test_the_access_log_tells_the_verdict_and_keeps_secrets(edge, page):
    page.cache_control = "s-maxage=60"  # shared in spite of Authorization
    edge.fill("/a.txt?token=hunter2&x=1", fields=[("Cookie", "c=hunter3"), ("Authorization", "Bearer hunter4")])
    edge.get("/a.txt?token=hunter2&x=1")
    edge.wait_access(lambda line: line.get("verdict") == "hit")
    edge.wait_access(lambda line: line.get("verdict") == "miss")
    text = (edge.directory / "access.log").read_text()
    assert "hunter" not in text
    assert "127.0.0.1" not in text  # cut to its network
    # in any order: the two may have met different workers
    assert sorted(line["verdict"] for line in edge.access()) == ["hit", "miss"]


def test_health_is_public_and_ready_is_not(edge):
    for reply in (edge.get("/.well-known/selvage/health"), edge.get2("/.well-known/selvage/health"),
                  edge.get("/.well-known/selvage/health", plain=True, host="no.such.host")):
        assert reply.status == 200
    with edge.h1(plain=True) as c:
        assert c.request("/readyz").status == 404  # the origin's
    assert edge.admin("GET", "/readyz")[0] == 200
    assert edge.admin("GET", "/healthz")[0] == 200
