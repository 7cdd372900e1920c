"""What makes two requests the same: the query, Vary, and what nobody may smuggle past the key."""
import pytest

from testenv.wait import until


# ---- the query ----

@pytest.mark.parametrize("query, asked, upstream", [
    ({"drop": "tracking"}, "/p?utm_source=x&a=1&fbclid=y", "/p?a=1"),
    ({"drop": ["sid"]}, "/p?a=1&sid=9", "/p?a=1"),
    ({"keep": "none"}, "/p?a=1", "/p"),
    ({"keep": ["a", "p_*"]}, "/p?x=1&a=2&p_q=3&A=4", "/p?a=2&p_q=3"),
    ({"sort": True}, "/p?b=1&a=2&b=0", "/p?a=2&b=1&b=0"),
    ({"keep": ["a", "b"], "drop": ["b"], "sort": True}, "/p?b=1&a=2", "/p?a=2"),
    ({}, "/p?b=1&a=2;c=3&", "/p?b=1&a=2;c=3&"),
])
def test_what_leaves_the_key_leaves_the_wire(make_edge, origin, query, asked, upstream):
    edge = make_edge(origin, site={"query": query} if query else {})
    page = origin.page("/p", b"x", cache_control="max-age=60")
    edge.fill(asked)
    assert [r.target for r in page.requests] == [upstream]
    assert edge.get(asked).is_hit
    assert edge.get(upstream).is_hit


# ---- Vary ----

def test_an_answer_without_vary_orphans_no_variant(edge, origin):
    page = origin.page("/p", b"de", cache_control="max-age=60", fields=[("Vary", "Accept-Language")])
    edge.fill("/p", fields=[("Accept-Language", "de")])
    page.status, page.body, page.fields, page.cache_control = 404, b"none", [], "max-age=0"
    page.etag = '"1"'
    assert edge.get("/p", fields=[("Accept-Language", "fr")]).status == 404
    edge.wait_idle()
    page.status, page.body, page.etag = 200, b"fr", None
    page.fields, page.cache_control = [("Vary", "Accept-Language")], "max-age=60"
    assert edge.get("/p", fields=[("Accept-Language", "fr")]).body == b"fr"
    edge.wait_idle()
    r = edge.get("/p", fields=[("Accept-Language", "de")])
    assert (r.body, r.is_hit) == (b"de", True)


def echo(field):
    def answer(request, c):
        body = (request.field(field) or "").encode()
        c.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nVary: %s\r\nContent-Length: %d\r\n\r\n%s"
               % (field.encode(), len(body), body))
        return True
    return answer


@pytest.mark.parametrize("values", [300, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.limit(180)])])
def test_a_thousand_values_of_a_varied_field(edge, origin, values):
    """At most 64 are stored, the first ones are still hits, the others right, and memory stays."""
    page = origin.page("/p", handler=echo("X-Kind"))
    with edge.h1() as c:
        for i in range(64):
            assert c.request("/p", fields=[("X-Kind", str(i))]).body == str(i).encode()
        edge.wait_stored(64)
        edge.wait_idle()
        before = edge.rss()
        for i in range(64, values):
            assert c.request("/p", fields=[("X-Kind", str(i))]).body == str(i).encode()
        edge.wait_idle()
        hits = page.hits
        for i in range(60):
            r = c.request("/p", fields=[("X-Kind", str(i))])
            assert (r.is_hit, r.body) == (True, str(i).encode())
    assert page.hits == hits
    assert edge.metric("selvage_store_objects") <= 64
    assert edge.metric('selvage_not_stored_total{reason="variants"}') == values - 64
    until(lambda: edge.rss() < before + (10 << 20), f"at most 10 MiB more: {edge.rss() - before >> 20}")


@pytest.mark.parametrize("field, first, same, other", [
    ("Accept-Language", "en, de;q=0.5", "de; q=0.500 ,EN", "de, en;q=0.5"),
    ("Accept-Encoding", "gzip, br", "BR,gzip", "br"),
    ("X-Kind", "1,2", " 1 , 2 ", "2,1"),
    ("X-Kind", "a", " a ", "A"),
])
def test_values_that_mean_the_same_are_one_variant(edge, origin, field, first, same, other):
    origin.page("/p", b"x", cache_control="max-age=60", fields=[("Vary", field)])
    edge.fill("/p", fields=[(field, first)])
    assert edge.get("/p", fields=[(field, same)]).is_hit
    assert edge.get("/p", fields=[(field, other)]).fwd == "vary-miss"
    assert edge.get("/p").fwd == "vary-miss"


def test_who_is_asking_is_no_variant(edge, origin):
    """The origin varies by what we tell it of the client: nobody else gets that."""
    def answer(request, c):
        body = request.field("x-forwarded-for").encode()
        c.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nVary: X-Forwarded-For\r\n"
               b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        return True

    page = origin.page("/p", handler=answer)
    for n, source in enumerate(("127.0.0.2", "127.0.0.3", "127.0.0.2"), 1):
        with edge.h1(source=source) as c:
            assert c.request("/p").body == source.encode()
        edge.wait_idle()
        assert page.hits == n


# ---- web cache deception ----

def test_one_users_page_under_everybodys_name(make_edge, origin):
    page = origin.page("/account/x.css", b"secret", cache_control="public, max-age=600",
                       fields=[("Content-Type", "text/html")])
    edge = make_edge(origin)
    for _ in range(2):
        assert not edge.get("/account/x.css", fields=[("Cookie", "session=1")]).is_hit
    assert page.hits == 2
    assert edge.metric('selvage_not_stored_total{reason="deception"}') == 2
    assert "deception_guard" in edge.explain("https://www.test/account/x.css")
    page.fields = [("Content-Type", "text/css")]
    edge.fill("/account/x.css")
    assert edge.get("/account/x.css").is_hit
    open_edge = make_edge(origin, site={"deception_guard": False})
    page.fields = [("Content-Type", "text/html")]
    open_edge.fill("/account/x.css")
    assert open_edge.get("/account/x.css").is_hit


# ---- poisoning: the second client's body never changes ----

def acts_on(*names):
    """An origin that lets these fields, the query and a body choose what it says."""
    def answer(request, c):
        what = [request.target, request.body.decode("latin-1")]
        what += [f"{n}={v}" for n, v in request.fields if n.lower().replace("_", "-") in names]
        body = "\n".join(what).encode()
        c.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        return True
    return answer


FIELDS = ["X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Forwarded-Port", "X-Forwarded-Prefix",
          "X-Forwarded-For", "Forwarded", "X-Original-URL", "X-Rewrite-URL", "X-Original-Host", "X-Host",
          "X-HTTP-Host-Override", "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Real-IP",
          "X-Client-IP", "True-Client-IP", "CF-Connecting-IP", "X-Scheme", "X-URL-Scheme", "Front-End-Https", "Proxy",
          "X-Middleware-Subrequest", "X-Invoke-Path", "Base-Url", "Request-Uri", "X-Override-URL", "X-Backend-Host",
          "X_Forwarded_Host", "X-Forwarded_Host", "x_original_url", "Any_Thing", "Selvage-Position", "X-Request-Id"]
OURS = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-request-id"]


def test_a_post_may_say_put(edge, origin):
    """No answer to it is stored, so that field can poison nothing; the others are dropped all the same."""
    page = origin.page("/p", b"x")
    edge.get("/p", method="POST", body=b"a=b", fields=[("X-HTTP-Method-Override", "PUT"), ("X-Original-URL", "/evil")])
    assert (page.requests[0].field("x-http-method-override"), page.requests[0].field("x-original-url")) == ("PUT", None)


@pytest.mark.parametrize("get", ["get", "get2"])
def test_fields_that_the_key_does_not_hold(edge, origin, get):
    names = {n.lower().replace("_", "-") for n in FIELDS}
    origin.page("/p", handler=acts_on(*names.difference(OURS)))
    page = origin.pages["/p"]
    for i, name in enumerate(FIELDS):
        target = f"/p?{i}"
        getattr(edge, get)(target, fields=[(name, "evil.test/evil")])
        assert "evil" not in "".join(v for _, v in page.requests[-1].fields), name
        assert edge.get(target).body == f"{target}\n".encode(), name


POISON = {
    "another query": ("/p?x=evil", {}),
    "a parameter behind ;": ("/p?a=1;x=evil", {}),
    "a duplicate": ("/p?a=1&a=evil", {}),
    "an escaped name": ("/p?%61=evil", {}),
    "a tracking parameter": ("/p?a=1&utm_source=evil", {}),
    "behind a tracking parameter": ("/p?a=1&utm_source=1;a=evil", {}),
    "a body": ("/p?a=1", {"body": b"a=evil", "fields": [("Content-Type", "application/x-www-form-urlencoded")]}),
    "a HEAD": ("/p?a=1", {"method": "HEAD"}),
    "a method of its own": ("/p?a=1", {"method": "EVIL"}),
    "a POST": ("/p?a=1", {"method": "POST", "body": b"evil"}),
}


@pytest.mark.parametrize("name", POISON)
def test_what_another_request_brings(make_edge, origin, name):
    edge = make_edge(origin, site={"query": {"drop": "tracking"}})
    origin.page("/p", handler=acts_on())
    target, more = POISON[name]
    edge.get(target, **more)
    edge.wait_idle()
    r = edge.get("/p?a=1")
    assert r.body == b"/p?a=1\n"


def test_trailers_are_no_fields(edge, origin):
    origin.page("/p", handler=acts_on("x-evil", "x-original-url"))
    with edge.h1() as c:
        c.send("GET /p HTTP/1.1\r\nHost: www.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Original-URL\r\n\r\n"
               "0\r\nX-Original-URL: /evil\r\nX-Evil: evil\r\n\r\n")
        c.read()
    assert edge.get("/p").body == b"/p\n"


@pytest.mark.parametrize("host", ["www.test:443", "www.test.", "WWW.TEST", "www.test:8443"])
def test_hosts_that_are_the_same_share(edge, origin, host):
    origin.page("/p", handler=acts_on("host"))
    page = origin.pages["/p"]
    edge.get("/p", named=host)
    edge.wait_idle()
    assert edge.get("/p").is_hit
    assert page.requests[0].field("host") == "www.test"


# ---- crowds ----

def test_only_if_cached_of_what_a_rule_passes(make_edge, origin):
    edge = make_edge(origin, site={"rules": [{"path": "*", "cache": "off"}]})
    page = origin.page("/p", b"x")
    assert edge.get("/p", fields=[("Cache-Control", "only-if-cached")]).status == 504
    assert page.hits == 0


def test_no_cache_of_many_clients_costs_one_request_a_second(edge, origin):
    from concurrent.futures import ThreadPoolExecutor
    page = origin.page("/p", b"x", cache_control="max-age=600", etag='"1"')
    edge.fill("/p")
    page.hold()

    def reload(_):
        return edge.get("/p", fields=[("Cache-Control", "no-cache")], timeout=30).status

    with ThreadPoolExecutor(50) as pool:
        crowd = pool.map(reload, range(400))
        until(lambda: page.held >= 1 or page.hits == 1, "a validation or none")
        page.release()
        assert set(crowd) == {200}
    span = page.requests[-1].at - page.requests[0].at
    assert page.hits <= 2 + span
