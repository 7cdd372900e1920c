"""A thousand clients at once on one URL: what they cost the origin."""
import contextlib
import time

import pytest

CLIENTS = 1000


@pytest.fixture
def crowd(edge):
    """crowd(target, fields): a thousand connections that have each sent this request."""
    with contextlib.ExitStack() as stack:
        connections = []

        def send(target, fields=(), method="GET"):
            while len(connections) < CLIENTS:
                connections.append(stack.enter_context(edge.h1(plain=True, timeout=30)))
            for c in connections:
                c.send_request(target, method, fields)
            return connections

        yield send


def replies(connections, is_head=False):
    return [c.read("HEAD" if is_head else "GET") for c in connections]


@pytest.mark.limit(120)
def test_an_expired_object_is_validated_once(edge, origin, crowd):
    page = origin.page("/p", b"x" * 1000, cache_control="max-age=600", etag='"1"')
    edge.fill("/p", plain=True)
    for n in (1, 2, 3):
        edge.purge(url="https://www.test/p", soft=True)
        page.hold()
        connections = crowd("/p")
        edge.wait_for_metric("selvage_collapse_waiters", CLIENTS - 1, timeout=30)
        page.release()
        assert {(r.status, r.body) for r in replies(connections)} == {(200, page.body)}
        assert page.hits == 1 + n
        edge.wait_idle()


@pytest.mark.limit(120)
@pytest.mark.parametrize("cache_control", ["max-age=600", "max-age=600, stale-while-revalidate=60"])
def test_reloads_cost_one_request_a_second(edge, origin, crowd, cache_control):
    page = origin.page("/p", b"x", cache_control=cache_control, etag='"1"')
    began = time.monotonic()
    for _ in range(3):
        assert {r.status for r in replies(crowd("/p", [("Cache-Control", "no-cache")]))} == {200}
    assert page.hits <= 2 + time.monotonic() - began
    for a, b in zip(page.requests[1:], page.requests[2:]):
        assert b.at - a.at > 0.9


@pytest.mark.limit(120)
def test_heads_of_what_is_not_there_share_one(edge, origin, crowd):
    page = origin.page("/p", b"x" * 1000, cache_control="max-age=600")
    page.hold()
    connections = crowd("/p", method="HEAD")
    edge.wait_for_metric("selvage_collapse_waiters", CLIENTS - 1, timeout=30)
    page.release()
    assert {(r.status, r.field("content-length")) for r in replies(connections, True)} == {(200, "1000")}
    assert [r.method for r in page.requests] == ["HEAD"]
    assert edge.get("/p", method="HEAD", plain=True).status == 200  # remembered for a second, for HEADs
    assert edge.get("/p", plain=True).body == page.body
    assert [r.method for r in page.requests][-1] == "GET"


@pytest.mark.limit(120)
def test_what_cannot_be_shared_is_fetched_for_each_at_once(make_edge, origin):
    """Hit-for-miss: nobody stands in a queue for somebody else's answer."""
    edge = make_edge(origin, site={"origin": {"servers": [origin.url], "allow_local": True, "connections": 64}})
    page = origin.page("/p", b"x", cache_control="private")
    edge.get("/p", plain=True)
    for worker in range(8):  # each worker has a memory of its own
        edge.get("/p", plain=True)
    page.hold()
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(edge.h1(plain=True)) for _ in range(20)]
        for c in connections:
            c.send_request("/p")
        page.wait_held(20)
        page.release()
        assert {c.read().status for c in connections} == {200}
    assert edge.metric("selvage_hit_for_miss_total") >= 20
