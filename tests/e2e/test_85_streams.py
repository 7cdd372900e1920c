"""Streams are streams: each event goes through at once, and whoever leaves is gone upstream."""
import selectors
import statistics
import time

import pytest

from testenv.wait import seconds


class Listener:
    """A client of an event stream, over either protocol."""

    def __init__(self, edge, target, protocol):
        self.c = edge.h1() if protocol == "h1" else edge.h2()
        if protocol == "h1":
            self.c.send_request(target)
            self.reply = self.c.read_head()
        else:
            self.stream = self.c.start(target)
            self.reply = self.c.wait_head(self.stream)
        self.protocol = protocol

    def wait_for(self, text, timeout=5):
        """Until the text has come; all that has come so far."""
        if self.protocol == "h2":
            self.c.wait(lambda: text in self.reply.body, timeout)
            assert text in self.reply.body
            return self.reply.body
        deadline = time.monotonic() + seconds(timeout)
        while text not in self.c.buffer:
            self.c.read_more(deadline)
        return self.c.buffer


@pytest.mark.parametrize("framing", ["chunked", "close"])
@pytest.mark.parametrize("protocol", ["h1", "h2"])
def test_each_event_comes_at_once(edge, origin, protocol, framing):
    stream = origin.events("/events", framing=framing)
    a = Listener(edge, "/events", protocol)
    stream.wait_listening()
    assert a.reply.status == 200
    assert a.reply.field("content-type") == "text/event-stream"
    assert not a.reply.is_hit
    took = []
    for i in range(20):
        start = time.monotonic()
        stream.send(f"event {i}")
        a.wait_for(b"data: event %d\n\n" % i)
        took.append(time.monotonic() - start)
    # The 50 ms of the promise are for a machine without other tests: test_37_storm.py.
    assert statistics.median(took) < seconds(0.25), took


@pytest.mark.parametrize("protocol", ["h1", "h2"])
def test_listeners_do_not_share(edge, origin, protocol):
    stream = origin.events("/events")
    stream.wait_hits(0)
    ears = [Listener(edge, "/events", protocol) for _ in range(3)]
    stream.wait_listening(3)
    stream.send("one")
    for e in ears:
        e.wait_for(b"one")
    assert stream.hits == 3


@pytest.mark.parametrize("protocol", ["h1", "h2"])
def test_the_client_leaves_and_the_origin_hears_within_a_second(edge, origin, protocol):
    stream = origin.events("/events")
    a = Listener(edge, "/events", protocol)
    stream.wait_listening()
    left = time.monotonic()
    a.c.close()
    gone = stream.wait_gone()
    assert gone.gone_at - left < seconds(1)


def test_a_reset_stream_is_cancelled_and_its_connection_goes_on(edge, origin):
    stream = origin.events("/events")
    origin.page("/x", b"x")
    a = Listener(edge, "/events", "h2")
    stream.wait_listening()
    left = time.monotonic()
    a.c.reset(a.stream)
    assert stream.wait_gone().gone_at - left < seconds(1)
    assert a.c.request("/x").status == 200


def test_a_client_that_leaves_before_the_head(edge, origin):
    """A long poll: nothing has come yet, and nobody waits any more."""
    page = origin.page("/poll", b"x", cache_control="no-store")
    page.hold()
    for open_one in (edge.h1, edge.h2):
        c = open_one()
        if open_one == edge.h1:
            c.send_request("/poll")
        else:
            c.start("/poll")
        page.wait_held()
        left = time.monotonic()
        before = len([r for r in page.requests if r.gone_at])
        c.close()
        gone = page.wait_gone(before + 1)
        assert gone is not None and time.monotonic() - left < seconds(2)


def test_the_end_of_a_stream_comes_through(edge, origin):
    stream = origin.events("/events")
    a, b = Listener(edge, "/events", "h1"), Listener(edge, "/events", "h2")
    stream.wait_listening(2)
    stream.send("last")
    stream.end()
    assert a.c.read_body(a.reply).complete
    assert b.c.finish(b.stream).complete
    assert a.reply.body == b.reply.body == b"data: last\n\n"


def test_a_rule_makes_a_stream_of_anything(make_edge, origin):
    """Tokens of an AI as plain JSON lines: passed as they come, and idle for longer than others may
    be."""
    from testenv.origin import head_text

    go = []

    def tokens(request, c):
        c.send(head_text(200, [("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")]))
        for i in range(3):
            while len(go) <= i:
                c.wait_readable(0.02)
                c.check(request)
            c.send_chunk(b'{"token": %d}\n' % i)
        c.send(b"0\r\n\r\n")
        return True

    page = origin.page("/ai", handler=tokens)
    edge = make_edge(origin, site={"rules": [{"path": "/ai", "cache": "off", "stream": True}], "origin": {
        "servers": [origin.url], "allow_local": True, "idle_timeout": "300ms"}})
    a = Listener(edge, "/ai", "h1")
    for i in range(3):
        # Nothing for twice the idle time of bodies: what is waited for is that nothing happens.
        deadline = time.monotonic() + (0.6 if i == 1 else 0)
        while time.monotonic() < deadline:
            assert not page.requests[0].gone_at
            selectors.DefaultSelector().select(0.05)
        go.append(i)
        a.wait_for(b'{"token": %d}\n' % i)
    assert a.c.read_body(a.reply).complete


def many(edge, origin, n, ticks):
    """n listeners, half of them over HTTP/2 with fifty to a connection; the times from sending to
    arriving, and those of 1 KiB hits meanwhile without and with the streams."""
    page = origin.page("/hit", b"x" * 1024, cache_control="max-age=600")
    edge.fill("/hit")
    asking = edge.h2(timeout=30)

    def hits(count):
        times = []
        for _ in range(count):
            start = time.monotonic()
            assert asking.request("/hit").is_hit
            times.append(time.monotonic() - start)
        return sorted(times)

    alone = hits(300)
    stream = origin.events("/events")
    selector = selectors.DefaultSelector()
    h1 = []
    for _ in range(n // 2):
        c = edge.h1(timeout=30)
        c.send_request("/events")
        h1.append(c)
    h2 = []
    for _ in range(max(1, n // 100)):
        c = edge.h2(timeout=30)
        for _ in range(min(50, n // 2)):
            c.start("/events")
        h2.append(c)
    stream.wait_listening(n // 2 + sum(len(c.replies) for c in h2), 30)
    total = len(stream.listening)
    for c in h1:
        c.read_head()
        selector.register(c.socket, selectors.EVENT_READ, c)
    for c in h2:
        for r in c.replies.values():
            c.wait(lambda r=r: r.status is not None)
        selector.register(c.socket, selectors.EVENT_READ, c)
    late, with_streams, plain = [], [], set(h1)
    for tick in range(ticks):
        word = b"data: tick %06d" % tick
        for c in h1:
            c.buffer = b""
        for c in h2:
            for r in c.replies.values():
                r.body = b""
        due = time.monotonic() + 0.1
        start = time.monotonic()
        stream.send(word[6:].decode())
        missing = total
        while missing:
            assert time.monotonic() - start < seconds(10), f"{missing} of {total} events are missing"
            for key, _ in selector.select(1):
                c = key.data
                if c in plain:
                    if word not in c.buffer:
                        c.read_more(time.monotonic() + 5)
                        if word in c.buffer:
                            missing -= 1
                            late.append(time.monotonic() - start)
                else:
                    before = sum(word in r.body for r in c.replies.values())
                    c.read_some(time.monotonic() + 5)
                    now = sum(word in r.body for r in c.replies.values()) - before
                    missing -= now
                    late += [time.monotonic() - start] * now
        with_streams += hits(10)
        while time.monotonic() < due:
            selector.select(0.005)
    assert page.hits == 1
    return sorted(late), alone, sorted(with_streams)


def test_sixty_streams_at_once(edge, origin):
    late, _, _ = many(edge, origin, 60, 10)
    # All of it is done by one thread of Python, on a machine with other tests.
    assert late[len(late) // 2] < seconds(0.25), late[-10:]
