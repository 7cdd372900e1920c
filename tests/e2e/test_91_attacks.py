"""A hostile client hurts only itself.

Each attack is tried on the daemon as it is shipped, and during or after it another client is served.
"""
import socket
import struct
import time

import pytest

from testenv.client import connect
from testenv.wait import seconds, until

OK = "GET /x HTTP/1.1\r\nHost: www.test\r\n\r\n"


@pytest.fixture
def page(origin):
    return origin.page("/x", b"x" * 1024, cache_control="max-age=600")


@pytest.fixture
def edge(make_edge, origin, page):
    edge = make_edge(origin, site={"max_request_body": "8MiB"})
    edge.fill("/x")
    return edge


def served(edge):
    """Is another client served, and soon?"""
    for ask in (edge.get, edge.get2):
        r = ask("/x")
        assert (r.status, r.is_hit) == (200, True)
        assert r.first_byte_s < seconds(2)


SMUGGLING = {
    "two lengths": "POST /x HTTP/1.1\r\nHost: www.test\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "two equal lengths": "POST /x HTTP/1.1\r\nHost: www.test\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": "POST /x HTTP/1.1\r\nHost: www.test\r\nContent-Length: 3, 3\r\n\r\nabc",
    "a signed length": "POST /x HTTP/1.1\r\nHost: www.test\r\nContent-Length: +3\r\n\r\nabc",
    "a length in hex": "POST /x HTTP/1.1\r\nHost: www.test\r\nContent-Length: 0x3\r\n\r\nabc",
    "a huge length": "POST /x HTTP/1.1\r\nHost: www.test\r\nContent-Length: 99999999999999999999\r\n\r\nabc",
    "length and chunks": "POST /x HTTP/1.1\r\nHost: www.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": "POST /x HTTP/1.1\r\nHost: www.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two codings": "POST /x HTTP/1.1\r\nHost: www.test\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": "POST /x HTTP/1.1\r\nHost: www.test\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "unknown coding": "POST /x HTTP/1.1\r\nHost: www.test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "coding with a tab": "POST /x HTTP/1.1\r\nHost: www.test\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "chunks in 1.0": "POST /x HTTP/1.0\r\nHost: www.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "space before the colon": "POST /x HTTP/1.1\r\nHost: www.test\r\nContent-Length : 3\r\n\r\nabc",
    "a fold": "GET /x HTTP/1.1\r\nHost: www.test\r\nX: a\r\n b\r\n\r\n",
    "a fold at the start": "GET /x HTTP/1.1\r\n X: a\r\nHost: www.test\r\n\r\n",
    "bare LF": "GET /x HTTP/1.1\nHost: www.test\n\n",
    "one bare LF": "GET /x HTTP/1.1\r\nHost: www.test\r\nX: a\nY: b\r\n\r\n",
    "a bare CR": "GET /x HTTP/1.1\r\nHost: www.test\r\nX: a\rb\r\n\r\n",
    "a NUL": "GET /x HTTP/1.1\r\nHost: www.test\r\nX: a\0b\r\n\r\n",
    "an empty name": "GET /x HTTP/1.1\r\nHost: www.test\r\n: a\r\n\r\n",
    "a strange name": "GET /x HTTP/1.1\r\nHost: www.test\r\nX(y): a\r\n\r\n",
    "no colon": "GET /x HTTP/1.1\r\nHost: www.test\r\nnonsense\r\n\r\n",
    "two hosts": "GET /x HTTP/1.1\r\nHost: www.test\r\nHost: other.test\r\n\r\n",
    "no host": "GET /x HTTP/1.1\r\nX: y\r\n\r\n",
    "a host with a path": "GET /x HTTP/1.1\r\nHost: www.test/x\r\n\r\n",
    "a host with a user": "GET /x HTTP/1.1\r\nHost: a@www.test\r\n\r\n",
    "two spaces": "GET  /x HTTP/1.1\r\nHost: www.test\r\n\r\n",
    "a space in the target": "GET /x y HTTP/1.1\r\nHost: www.test\r\n\r\n",
    "a control in the target": "GET /x\x01 HTTP/1.1\r\nHost: www.test\r\n\r\n",
    "a fragment": "GET /x#y HTTP/1.1\r\nHost: www.test\r\n\r\n",
    "no slash": "GET x HTTP/1.1\r\nHost: www.test\r\n\r\n",
    "lower case version": "GET /x http/1.1\r\nHost: www.test\r\n\r\n",
    "version 1.9": "GET /x HTTP/1.9\r\nHost: www.test\r\n\r\n",
    "version 2.0": "GET /x HTTP/2.0\r\nHost: www.test\r\n\r\n",
    "another absolute host": "GET https://other.test/x HTTP/1.1\r\nHost: www.test\r\n\r\n",
}
CHUNKS = {
    "a chunk without CR": "3\nabc\r\n0\r\n\r\n",
    "a chunk that goes on": "3\r\nabcd\r\n0\r\n\r\n",
    "a size with a sign": "+3\r\nabc\r\n0\r\n\r\n",
    "a size with 0x": "0x3\r\nabc\r\n0\r\n\r\n",
    "a size with a space": "3 \r\nabc\r\n0\r\n\r\n",
    "a huge size": "fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "an extension": "3;a=b\r\nabc\r\n0\r\n\r\n",
    "no size": "\r\nabc\r\n0\r\n\r\n",
    "an extension with a LF": "3;a\nb\r\nabc\r\n0\r\n\r\n",
    "an extension with a NUL": "3;a\0b\r\nabc\r\n0\r\n\r\n",
    "an end without CR": "3\r\nabc\r\n0\n\n",
}


@pytest.mark.parametrize("name", SMUGGLING)
def test_smuggling(edge, origin, name):
    """Refused and closed: what follows on the connection is nobody's request."""
    before = origin.hits
    with edge.h1(plain=True) as c:
        c.send(SMUGGLING[name] + "GET /smuggled HTTP/1.1\r\nHost: www.test\r\n\r\n")
        r = c.read()
        assert r.status in (400, 421, 431, 501, 505, None), r
        assert c.is_closed()
        assert not c.buffer
    assert origin.hits == before
    served(edge)


@pytest.mark.parametrize("name", CHUNKS)
def test_chunk_smuggling(edge, origin, name):
    before = origin.hits
    with edge.h1(plain=True) as c:
        c.send("POST /x HTTP/1.1\r\nHost: www.test\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS[name] +
               "GET /smuggled HTTP/1.1\r\nHost: www.test\r\n\r\n")
        r = c.read()
        assert r.status in (400, None), r
        assert c.is_closed()
    assert origin.hits == before


def test_an_absolute_target_of_our_own_is_fine(edge):
    with edge.h1(plain=True) as c:
        c.send("GET http://www.test/x HTTP/1.1\r\nHost: www.test\r\n\r\n")
        assert c.read().status == 200


# ---- HTTP/2: frames by hand ----

def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


DATA, HEADERS, RST, SETTINGS, PING, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4
# :method GET, :scheme https, :path /, :authority www.test as a literal without indexing
HEAD = b"\x82\x87\x84\x01\x08www.test"
POST = b"\x83\x87\x84\x01\x08www.test"


class Raw:
    def __init__(self, edge, settings=b"", read=True):
        self.s = connect(edge.port, edge.authority.client_context("h2"), "www.test")
        self.s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, settings))

    def send(self, data):
        """False when the server has closed."""
        self.s.settimeout(seconds(10))
        try:
            self.s.sendall(data)
            return True
        except OSError:
            return False

    def closed(self, timeout=10):
        """Read until the server closes; does it in time?  And what it sent."""
        self.seen = b""
        deadline = time.monotonic() + seconds(timeout)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self.s.settimeout(left)
            try:
                data = self.s.recv(1 << 18)
            except socket.timeout:
                return False
            except OSError:
                return True
            if not data:
                return True
            self.seen += data
            if len(self.seen) > 1 << 22:
                self.seen = self.seen[-1000:]


def guard(edge, name):
    return edge.metric(f'selvage_guard_total{{guard="{name}"}}')


def test_rapid_reset(edge, origin):
    before = origin.hits
    c = Raw(edge)
    for i in range(1, 4000, 2):
        # /other is not stored: each would cost a fetch
        if not c.send(frame(HEADERS, END_STREAM | END_HEADERS, i, HEAD) + frame(RST, 0, i, struct.pack(">I", 8))):
            break
    assert c.closed()
    assert guard(edge, "early_deaths") >= 1
    assert origin.hits - before <= 210
    served(edge)


def test_made_you_reset(edge, origin):
    before = origin.hits
    c = Raw(edge)
    for i in range(1, 4000, 2):
        if not c.send(frame(HEADERS, END_STREAM | END_HEADERS, i, HEAD) + frame(WINDOW, 0, i, struct.pack(">I", 0))):
            break
    assert c.closed()
    assert origin.hits - before <= 210
    served(edge)


@pytest.mark.parametrize("payload", [b"", b"\x82" * 1000])
def test_continuation_flood(edge, payload):
    rss = edge.rss()
    c = Raw(edge)
    c.send(frame(HEADERS, END_STREAM, 1, HEAD))
    for _ in range(3000):
        if not c.send(frame(CONTINUATION, 0, 1, payload) * 10):
            break
    assert c.closed()
    assert edge.rss() - rss < 20 << 20
    served(edge)


def test_hpack_bomb(edge):
    """A large entry put into the table once, and referred to by a byte each."""
    rss = edge.rss()
    for _ in range(3):
        c = Raw(edge)
        entry = b"\x40\x01a\x7f\xa1\x1e" + b"v" * 4000  # literal with indexing; 4000 = 127 + 0x1e21
        bomb = HEAD + entry + b"\xbe" * 12_000
        for i in range(1, 41, 2):
            first, rest = bomb[:16_000], bomb[16_000:]
            if not c.send(frame(HEADERS, END_STREAM, i, first) + frame(CONTINUATION, END_HEADERS, i, rest)):
                break
        assert c.closed()
    assert edge.rss() - rss < 30 << 20
    assert guard(edge, "h2_header_block") >= 3
    served(edge)


def test_many_tiny_fields(edge):
    rss = edge.rss()
    c = Raw(edge)
    for i in range(1, 101, 2):
        if not c.send(frame(HEADERS, END_STREAM | END_HEADERS, i, HEAD + b"\x90" * 10_000)):
            break
    assert c.closed()
    assert edge.rss() - rss < 20 << 20
    served(edge)


@pytest.mark.parametrize("kind", ["ping", "settings", "empty data", "priority"])
def test_floods_of_small_frames(edge, kind):
    one = {"ping": frame(PING, 0, 0, b"12345678"), "settings": frame(SETTINGS, 0, 0),
           "empty data": frame(DATA, 0, 1), "priority": frame(2, 0, 3, b"\0\0\0\0\x10")}[kind]
    rss = edge.rss()
    c = Raw(edge)
    c.send(frame(HEADERS, END_HEADERS, 1, POST))
    deadline = time.monotonic() + 2
    c.s.settimeout(1)
    while time.monotonic() < deadline:
        try:
            c.s.sendall(one * 200)  # and read nothing: answers pile up
        except OSError:
            break
    served(edge)
    assert edge.rss() - rss < 64 << 20
    c.s.close()


@pytest.mark.parametrize("name, block", {
    "no method": b"\x87\x84\x01\x08www.test",
    "no path": b"\x82\x87\x01\x08www.test",
    "two paths": b"\x82\x87\x84\x84\x01\x08www.test",
    "two methods": b"\x82\x83\x87\x84\x01\x08www.test",
    "pseudo after field": b"\x82\x87\x01\x08www.test\x00\x01a\x01b\x84",
    "unknown pseudo": b"\x82\x87\x84\x01\x08www.test\x00\x04:foo\x01b",
    "a name in capitals": b"\x82\x87\x84\x01\x08www.test\x00\x01A\x01b",
    "connection": b"\x82\x87\x84\x01\x08www.test\x00\x0aconnection\x01b",
    "transfer-encoding": b"\x82\x87\x84\x01\x08www.test\x00\x11transfer-encoding\x07chunked",
    "a line break in a value": b"\x82\x87\x84\x01\x08www.test\x00\x01a\x07b\r\nc: d",
    "a line break in the path": b"\x82\x87\x04\x0a/a\r\nb: c d\x01\x08www.test",
    "a space in the path": b"\x82\x87\x04\x04/a b\x01\x08www.test",
    "an empty path": b"\x82\x87\x04\x00\x01\x08www.test",
    "a path without slash": b"\x82\x87\x04\x01a\x01\x08www.test",
    "another host": b"\x82\x87\x84\x01\x08www.test\x00\x04host\x0aother.test",
    "an authority with a user": b"\x82\x87\x84\x01\x0aa@www.test",
    "scheme http": b"\x82\x86\x84\x01\x08www.test\x00\x04host\x01x",
}.items())
def test_malformed_requests_of_http2(edge, origin, name, block):
    before = origin.hits
    c = Raw(edge)
    c.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, block))
    with edge.h2() as good:  # after it, in the same or another worker
        assert good.request("/x").is_hit
    c.s.settimeout(seconds(5))
    seen, kinds = b"", []
    while not kinds:
        try:
            data = c.s.recv(1 << 16)
        except OSError:
            break
        if not data:
            break
        seen += data
        kinds = [(k, p) for k, s, p in frames(seen) if k in (RST, 7) or (k == HEADERS and s == 1)]
    if kinds and kinds[0][0] == HEADERS:
        assert kinds[0][1][:1] in (b"\x8c",) or b"4" in kinds[0][1][:8], kinds  # 400, or 4xx as a literal
    assert origin.hits == before
    c.s.close()


def frames(data):
    while len(data) >= 9:
        n = int.from_bytes(data[:3], "big")
        yield data[3], int.from_bytes(data[5:9], "big") & 0x7fffffff, data[9:9 + n]
        data = data[9 + n:]


def uploads(edge, connections, streams, size):
    """POSTs that are all but finished, and never will be."""
    block = b"x" * 16_384
    conns = []
    for _ in range(connections):
        c = Raw(edge)
        conns.append(c)
        for i in range(1, 2 * streams, 2):
            if not c.send(frame(HEADERS, END_HEADERS, i, POST)):
                break
            sent = 0
            while sent < size and c.send(frame(DATA, 0, i, block)):
                sent += len(block)
            else:
                if sent < size:
                    break
    return conns


def test_unfinished_uploads(edge):
    rss = edge.rss()
    conns = uploads(edge, 1, 20, 4 << 20)
    assert edge.rss() - rss < 100 << 20
    assert guard(edge, "open_uploads") >= 1
    served(edge)
    for c in conns:
        c.s.close()


def closed_windows(edge, origin, connections, streams):
    body = b"z" * (1 << 20)
    origin.page("/mb", body, cache_control="max-age=600")
    edge.fill("/mb")
    assert edge.get2("/mb").body == body
    rss = edge.rss()
    conns = []
    for _ in range(connections):
        c = edge.h2(windows=False, initial_window=0)
        for _ in range(streams):
            c.start("/mb")
        c.wait(lambda c=c: all(r.status == 200 for r in c.replies.values()))
        conns.append(c)
    grown = edge.rss() - rss
    served(edge)
    for c in conns:
        c.close()
    edge.wait_for_metric_at_most("selvage_connections", 0)
    return grown


def test_closed_windows(edge, origin):
    assert closed_windows(edge, origin, 10, 32) < 10 << 20


@pytest.mark.limit(90)
def test_a_reader_that_stops_is_cut(make_edge, origin):
    edge = make_edge(origin)
    origin.page("/big", b"z" * 20_000_000, cache_control="max-age=600")
    edge.fill("/big", timeout=30)
    with edge.h1(receive_buffer=4096) as c:
        c.send_request("/big")
        c.read_head()
        until(lambda: guard(edge, "slow_reader") >= 1, "the slow reader to be cut", 40)
    edge.wait_for_metric_at_most("selvage_connections", 0)


@pytest.mark.limit(90)
def test_a_body_that_does_not_come_is_cut(edge):
    with edge.h1() as a, edge.h2() as b:
        a.send_request("/x", "POST", [("Content-Length", "1000")])
        b.start("/x", "POST", end=False)
        until(lambda: guard(edge, "slow_body") >= 1, "the slow bodies to be cut", 40)
        assert a.is_closed(30)


@pytest.mark.limit(90)
def test_a_head_that_does_not_come_is_cut(edge):
    conns = [edge.h1(plain=True) for _ in range(50)]
    for c in conns:
        c.send("GET /x HTTP/1.1\r\nHost: ")
    served(edge)
    assert all(c.is_closed(30) for c in conns)
