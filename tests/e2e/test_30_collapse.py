"""Many clients asking for one missing object cost the origin one request."""
import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from testenv.wait import until

CLIENTS = 50
TEN_MB = hashlib.shake_128(b"seed").digest(10_000_000)


def test_one_fetch_serves_everyone_who_waits(edge, origin):
    body = b"x" * 100_000
    page = origin.page("/slow.bin", body, cache_control="max-age=60")
    page.hold()
    with ThreadPoolExecutor(CLIENTS) as pool:
        waiting = [pool.submit(edge.get, "/slow.bin") for _ in range(CLIENTS)]
        edge.wait_for_metric("selvage_collapse_waiters", CLIENTS - 1)
        page.release()
        replies = [w.result(timeout=20) for w in waiting]
    assert page.hits == 1
    assert {r.status for r in replies} == {200}
    assert all(r.complete and r.body == body for r in replies)
    assert sum("collapsed" in r.cache_status for r in replies) == CLIENTS - 1


def test_waiters_over_http2_too(edge, origin):
    page = origin.page("/slow", TEN_MB[:200_000], cache_control="max-age=60")
    page.hold()
    with edge.h2() as a, edge.h2() as b:
        streams = [(c, c.start("/slow")) for c in (a, b) for _ in range(20)]
        edge.wait_for_metric("selvage_collapse_waiters", 39)
        page.release()
        for c, i in streams:
            assert c.finish(i).body == page.body
    assert page.hits == 1


def test_readers_get_what_has_come_and_the_origin_waits_for_nobody(edge, origin):
    """Streaming, not buffering: everyone has the first half before the second is sent."""
    clients = 30
    page = origin.page("/big", TEN_MB, cache_control="max-age=60")
    page.hold("body", 5_000_000)
    with ThreadPoolExecutor(clients) as pool:
        conns = [edge.h1() for _ in range(clients)]

        def first_half(c):
            c.send_request("/big")
            r = c.read_head()
            while len(c.buffer) < 5_000_000:
                c.read_more(c.sent_at + 30)
            return r

        heads = [f.result(timeout=40) for f in [pool.submit(first_half, c) for c in conns]]
        assert all(len(c.buffer) == 5_000_000 for c in conns)
        assert page.hits == 1
        page.release()
        replies = [f.result(timeout=40) for f in [pool.submit(c.read_body, r) for c, r in zip(conns, heads)]]
        for c in conns:
            c.close()
    assert all(r.complete and r.body == TEN_MB for r in replies)
    assert page.hits == 1


def test_whoever_comes_between_the_last_byte_and_the_commit_joins(edge, origin):
    page = origin.page("/x", b"y" * 3000, cache_control="max-age=60")
    for i in range(30):
        with edge.h1() as a, edge.h1() as b:
            assert a.request(f"/x?{i}").complete
            assert b.request(f"/x?{i}").complete
    assert page.hits == 30


def test_the_leader_leaves_and_waiters_stay(edge, origin):
    page = origin.page("/x", TEN_MB[:300_000], cache_control="max-age=60")
    page.hold("body", 100_000)
    with edge.h2() as waiter:
        with edge.h2() as leader:
            first = leader.start("/x")
            leader.wait(lambda: len(leader.replies[first].body) >= 100_000)
            i = waiter.start("/x")
            waiter.wait(lambda: len(waiter.replies[i].body) >= 100_000)
        page.release()
        r = waiter.finish(i)
    assert (r.complete, r.body) == (True, page.body)
    assert page.hits == 1


def test_nobody_waits_any_more_so_the_fetch_ends(edge, origin):
    page = origin.page("/x", TEN_MB, cache_control="max-age=60")
    page.hold("body", 100_000)  # far less than half, and more than 1 MiB missing
    with edge.h2() as c:
        i = c.start("/x")
        c.wait(lambda: len(c.replies[i].body) >= 100_000)
    page.wait_gone()
    edge.wait_for_metric_at_most("selvage_fills", 0)


def test_more_than_half_is_fetched_to_the_end(edge, origin):
    page = origin.page("/x", TEN_MB, cache_control="max-age=60")
    page.hold("body", 6_000_000)
    with edge.h2(timeout=20) as c:
        i = c.start("/x")
        c.wait(lambda: len(c.replies[i].body) >= 6_000_000)
    page.release()
    edge.wait_stored()
    r = edge.get("/x", timeout=20)
    assert (r.is_hit, r.body) == (True, TEN_MB)
    assert page.hits == 1


def test_a_private_answer_is_not_given_to_waiters(edge, origin):
    page = origin.page("/me", cache_control="private")

    def answer(request, c):
        page.body = (request.field("cookie") or "").encode()
        page.handler = None
        try:
            page.pause_at("head", request, c)
            page.body = (request.field("cookie") or "").encode()
            return page.answer(request, c)
        finally:
            page.handler = answer

    page.handler = answer
    page.hold()
    with ThreadPoolExecutor(10) as pool:
        waiting = {f"id={i}": pool.submit(edge.get, "/me", fields=[("Cookie", f"id={i}")]) for i in range(10)}
        page.wait_held()
        until(lambda: edge.metric("selvage_collapse_waiters") + page.held >= 10, "everyone to be there")
        page.release()
        for cookie, w in waiting.items():
            assert w.result(timeout=20).status == 200
    assert page.hits == 10


@pytest.mark.parametrize("vary", ["Accept-Language", "X-Who"])
def test_a_waiter_of_another_variant_does_not_share(edge, origin, vary):
    page = origin.page("/x", cache_control="max-age=60")
    name = vary.lower()

    def answer(request, c):
        page.pause_at("head", request, c)
        body = (request.field(name) or "").encode()
        from testenv.origin import head_text
        c.send(head_text(200, [("Cache-Control", "max-age=60"), ("Vary", vary), ("Content-Length", len(body))]) + body)
        return True

    page.handler = answer
    page.hold()
    with ThreadPoolExecutor(20) as pool:
        waiting = [(f"v{i % 4}", pool.submit(edge.get, "/x", fields=[(vary, f"v{i % 4}")])) for i in range(20)]
        page.wait_held()
        until(lambda: edge.metric("selvage_collapse_waiters") + page.held >= 20, "everyone to be there")
        page.release()
        for value, w in waiting:
            assert w.result(timeout=20).body == value.encode()
    assert page.hits <= 8


def test_when_the_fetch_fails_waiters_share_the_failure(edge, origin):
    page = origin.page("/x", b"x" * 1000, cache_control="max-age=60")
    page.hold()
    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(edge.get, "/x") for _ in range(20)]
        edge.wait_for_metric("selvage_collapse_waiters", 19)
        page.fault = "garbage"
        origin.hang_up()
        page.release()
        replies = [w.result(timeout=20) for w in waiting]
    assert all(r.status in (502, 503) for r in replies)
    assert page.hits <= 3


def test_a_slow_reader_does_not_slow_the_others(edge, origin):
    page = origin.page("/big", TEN_MB, cache_control="max-age=60")
    page.hold("body", 1000)
    slow = edge.h1(receive_buffer=4096)
    slow.send_request("/big")
    slow.read_head()
    with ThreadPoolExecutor(5) as pool:
        others = [pool.submit(edge.get, "/big", timeout=30) for _ in range(5)]
        edge.wait_for_metric("selvage_collapse_waiters", 5)
        page.release()
        assert all(o.result(timeout=40).body == TEN_MB for o in others)
    slow.close()
    assert page.hits == 1
