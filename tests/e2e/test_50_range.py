"""Ranges from the store, and what happens to them when nothing is stored."""
import pytest

BODY = bytes(i * 31 % 251 for i in range(200_000))


@pytest.fixture
def page(edge, origin):
    p = origin.page("/r", BODY, cache_control="max-age=60", etag='"1"', last_modified="Tue, 24 Nov 2020 10:00:00 GMT")
    edge.fill("/r")
    return p


@pytest.mark.parametrize("spec, first, last", [
    ("0-0", 0, 0), ("0-99", 0, 99), ("65511-65512", 65511, 65512), ("131000-", 131000, 199_999),
    ("-1", 199_999, 199_999), ("-5000", 195_000, 199_999), ("-999999", 0, 199_999), ("199999-", 199_999, 199_999),
    ("100-99999999999999999999", 100, 199_999), ("0-", 0, 199_999),
])
@pytest.mark.parametrize("get", ["get", "get2"])
def test_a_range_of_a_stored_object(edge, page, spec, first, last, get):
    r = getattr(edge, get)("/r", fields=[("Range", f"bytes={spec}")])
    assert (r.status, r.complete) == (206, True)
    assert r.field("content-range") == f"bytes {first}-{last}/200000"
    assert r.field("content-length") == str(last - first + 1)
    assert r.body == BODY[first:last + 1]
    assert r.is_hit
    assert page.hits == 1


@pytest.mark.parametrize("spec", ["200000-", "200000-300000", "-0"])
def test_a_range_behind_the_end(edge, page, spec):
    r = edge.get("/r", fields=[("Range", f"bytes={spec}")])
    assert (r.status, r.field("content-range")) == (416, "bytes */200000")
    assert page.hits == 1


@pytest.mark.parametrize("value", ["bytes=5-4", "bytes=a-b", "bytes=", "lines=1-2", "bytes=-", "bytes=1", "bytes 0-1"])
def test_what_is_no_range_is_ignored(edge, page, value):
    r = edge.get("/r", fields=[("Range", value)])
    assert (r.status, r.body) == (200, BODY)


@pytest.mark.parametrize("value, status", [
    ('"1"', 206), ('"2"', 200), ('W/"1"', 200), ("Tue, 24 Nov 2020 10:00:00 GMT", 206),
    ("Tue, 24 Nov 2020 10:00:01 GMT", 200),
])
def test_if_range(edge, page, value, status):
    r = edge.get("/r", fields=[("Range", "bytes=0-9"), ("If-Range", value)])
    assert (r.status, r.body) == (status, BODY[:10] if status == 206 else BODY)


def test_a_range_on_a_miss_is_passed_and_not_stored(edge, origin):
    page = origin.page("/m", BODY[:10], status=206, cache_control="max-age=60",
                       fields=[("Content-Range", "bytes 0-9/200000")])
    for n in (1, 2):
        r = edge.get("/m", fields=[("Range", "bytes=0-9")])
        assert (r.status, r.body, r.is_hit) == (206, BODY[:10], False)
        assert page.requests[-1].field("range") == "bytes=0-9"
        assert page.hits == n
    page.status, page.body, page.fields = 200, BODY, []
    assert edge.get("/m").body == BODY


def test_a_range_that_brings_the_whole_stores_it(edge, origin):
    """An origin that knows no ranges."""
    page = origin.page("/m", BODY, cache_control="max-age=60")
    r = edge.fill("/m", fields=[("Range", "bytes=0-9")])
    assert (r.status, r.body) == (200, BODY)
    r = edge.get("/m", fields=[("Range", "bytes=0-9")])
    assert (r.status, r.body, r.is_hit) == (206, BODY[:10], True)
    assert page.hits == 1


@pytest.mark.parametrize("value, status", [('"1"', 206), ('"2"', 200)])
def test_if_range_of_what_has_been_validated(edge, origin, value, status):
    page = origin.page("/s", BODY, cache_control="no-cache", etag='"1"')
    edge.fill("/s")
    r = edge.get("/s", fields=[("Range", "bytes=0-9"), ("If-Range", value)])
    assert (r.status, r.body) == (status, BODY[:10] if status == 206 else BODY)
    q = page.requests[1]
    assert (q.field("if-none-match"), q.field("range"), q.field("if-range")) == ('"1"', None, None)


def parts_of(reply):
    """(Content-Type, Content-Range, bytes) of each part of a multipart/byteranges."""
    kind, _, boundary = reply.field("content-type").partition("; boundary=")
    assert kind == "multipart/byteranges"
    pieces = reply.body.split(b"\r\n--" + boundary.encode())
    assert pieces[0] == b"" and pieces[-1] == b"--\r\n", pieces
    parts = []
    for piece in pieces[1:-1]:
        head, _, body = piece.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().strip().split("\r\n"))
        parts.append((fields.get("Content-Type"), fields["Content-Range"], body))
    return parts


@pytest.mark.parametrize("get", ["get", "get2"])
def test_several_ranges(edge, page, get):
    page.fields = [("Content-Type", "image/x")]
    edge.purge(url="https://www.test/r")
    edge.fill("/r")
    r = getattr(edge, get)("/r", fields=[("Range", "bytes=199990-, 0-9,65500-65600, 400000-")])
    assert (r.status, r.complete, r.is_hit) == (206, True, True)
    assert r.field("content-range") is None
    assert r.field("content-length") == str(len(r.body))
    assert parts_of(r) == [
        ("image/x", "bytes 199990-199999/200000", BODY[199990:]),
        ("image/x", "bytes 0-9/200000", BODY[:10]),
        ("image/x", "bytes 65500-65600/200000", BODY[65500:65601])]
    assert page.hits == 2


@pytest.mark.parametrize("value", [
    "bytes=" + ",".join("0-0" for _ in range(17)),  # more than 16
    "bytes=0-,0-,0-",  # more than twice the body
])
def test_too_many_ranges_are_the_whole(edge, page, value):
    r = edge.get("/r", fields=[("Range", value)])
    assert (r.status, r.body) == (200, BODY)


def test_a_rule_may_fetch_the_whole_for_a_range(make_edge, origin):
    edge = make_edge(origin, site={"rules": [{"path": "*", "range": "whole"}]})
    small = origin.page("/small", BODY, cache_control="max-age=60", ranges=True)
    r = edge.fill("/small", fields=[("Range", "bytes=5-9")])
    assert (r.status, r.body) == (206, BODY[5:10])
    assert edge.get("/small").is_hit
    assert [q.field("range") for q in small.requests] == [None]
    large = origin.page("/large", bytes(9 << 20), cache_control="max-age=60", ranges=True)
    r = edge.get("/large", fields=[("Range", "bytes=5-9")])
    assert (r.status, r.body) == (206, bytes(5))
    assert [q.field("range") for q in large.requests] == [None, "bytes=5-9"]
    large.wait_gone()
    assert large.requests[0].sent < 9 << 20


@pytest.mark.parametrize("method, fields, status, length", [
    ("GET", [("Range", "bytes=0-9")], 206, 10), ("GET", [("Range", "bytes=300000-")], 416, 0),
    ("GET", [("If-None-Match", '"1"')], 304, 0), ("HEAD", [("Range", "bytes=0-9")], 200, 0),
    ("HEAD", [("If-None-Match", '"1"')], 304, 0), ("GET", [("Range", "bytes=0-9"), ("If-Range", '"2"')], 200, 200_000),
])
def test_an_old_client_asks_for_parts(edge, page, method, fields, status, length):
    """HTTP/1.0 knows none of it, and who sends the fields does: the answers are the same, and end where they end."""
    with edge.h1() as c:
        c.send(f"{method} /r HTTP/1.0\r\nHost: www.test\r\nConnection: keep-alive\r\n"
               + "".join(f"{n}: {v}\r\n" for n, v in fields) + "\r\n")
        r = c.read(method)
        assert (r.status, r.complete, r.body) == (status, True, BODY[:length])
        assert r.field("transfer-encoding") is None
        assert r.field("content-length") == (None if status == 304 else "200000" if method == "HEAD" else str(length))
        assert c.request("/r").body == BODY


def test_head_ignores_ranges(edge, page):
    r = edge.get("/r", method="HEAD", fields=[("Range", "bytes=0-9")])
    assert (r.status, r.field("content-length")) == (200, "200000")


def test_a_condition_comes_before_a_range(edge, page):
    r = edge.get("/r", fields=[("Range", "bytes=0-9"), ("If-None-Match", '"1"')])
    assert r.status == 304
