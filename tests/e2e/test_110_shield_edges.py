"""Edges in front of a shield: what passes between them, and what comes out at both ends."""
import re
import threading

import pytest

from testenv.shield import Fleet
from testenv.wait import seconds, until


@pytest.fixture
def make_behind(make_edge, fleet, origin):
    """make_behind("edge-a", shield): an edge of the fleet, whose upstream is that shield."""
    def make(name, *shields, direct="allowed", config=None, **more):
        return make_edge(origin, **more, config={
            "node": name, "peer": fleet.peer(name),
            "upstream": {"shields": [[s.url for s in shields]], "direct": direct}, **(config or {})})
    return make


def test_the_client_is_known_at_the_origin(make_behind, shield, origin):
    page = origin.page("/a", "hello")
    edge = make_behind("edge-a", shield)
    reply = edge.get("/a", fields=[("X-Forwarded-For", "203.0.113.7"), ("Selvage-Anything", "x")])
    assert reply.status == 200 and reply.body == b"hello"
    r = page.requests[0]
    assert r.field("host") == "www.test" and r.field("x-forwarded-host") == "www.test"
    assert r.field("x-forwarded-proto") == "https"
    assert r.field("x-forwarded-for") == "127.0.0.1", "the client's own claim, or one address a tier"
    assert r.field("via") == "1.1 edge-a, 1.1 shield"
    assert not [n for n, _ in r.fields if n.lower().startswith("selvage-")]
    assert reply.field("via").split(", ") == ["1.1 shield", "1.1 edge-a"]
    # one request, one identifier
    ids = {reply.field("x-request-id"), r.field("x-request-id")}
    for node in (edge, shield):
        ids.add(node.wait_access(lambda line: line["path"] == "/a")["id"])
    assert len(ids) == 1


def test_each_cache_adds_its_member_behind_the_others(make_behind, shield, origin):
    """RFC 9211: a list, from the origin on; what is stored are the members of those before, never one's own."""
    origin.page("/a", "hello", cache_control="max-age=600", fields=[("Cache-Status", "Origin; hit")])
    edge = make_behind("edge-a", shield)

    def members():
        return re.sub(r"; ttl=\d+", "", edge.get("/a").field("cache-status")).split(", ")

    miss = "shield; fwd=uri-miss; stored"
    assert members() == ["Origin; hit", miss, "edge-a; fwd=uri-miss; stored"]
    edge.wait_idle()
    assert members() == ["Origin; hit", miss, "edge-a; hit"]
    edge = make_behind("edge-b", shield)
    assert members() == ["Origin; hit", "shield; hit", "edge-b; fwd=uri-miss; stored"]


def test_what_connection_hides_is_heeded_at_the_edge_too(make_behind, shield, origin):
    """What an origin's Connection nominates counts for the decision, and the shield's answer is all that an edge sees."""
    page = origin.page("/a", "mine", cache_control="private, max-age=600",
                       fields=[("Connection", "cache-control"), ("Expires", "Fri, 01 Jan 2100 00:00:00 GMT")])
    edge = make_behind("edge-a", shield)
    for n in (1, 2):
        assert not edge.get("/a").is_hit
        edge.wait_idle()
        assert page.hits == n


def test_clients_of_port_80_have_objects_of_their_own(make_behind, shield, origin):
    page = origin.page("/a", "hello", cache_control="max-age=60")
    edge = make_behind("edge-a", shield)
    assert edge.get("/a", plain=True).status == 200
    assert edge.get("/a").status == 200
    assert [r.field("x-forwarded-proto") for r in page.requests] == ["http", "https"]


def test_tags_end_at_the_edge(make_behind, shield, origin):
    origin.page("/a", "hello", cache_control="max-age=60", fields=[("Surrogate-Key", "one"), ("Cache-Tag", "two")])
    edge = make_behind("edge-a", shield)
    for _ in range(2):
        reply = edge.get("/a")
        assert reply.field("surrogate-key") is None and reply.field("cache-tag") is None
    edge.wait_idle()
    shield.purge(tag="one")
    until(lambda: not edge.get("/a").is_hit, "the purge by a tag to hold at the edge")


def test_a_private_network_needs_no_certificates(make_edge, shield, fleet, origin):
    page = origin.page("/a", "hello", cache_control="max-age=600")
    edge = make_edge(origin, config={"node": "edge-a", "peer": {"secret": str(fleet.secret)}, "upstream": {
        "shields": [[f"http://127.0.0.1:{shield.plain_port}"]], "direct": "refused"}})
    assert edge.get("/a").body == b"hello"
    assert page.requests[0].field("via") == "1.1 edge-a, 1.1 shield"
    edge.wait_idle()
    page.body = b"new"
    shield.purge(url="https://www.test/a")
    until(lambda: edge.get("/a").body == b"new", "the purge to hold at the edge")


def test_many_clients_of_three_edges_are_one_request(make_behind, shield, origin):
    body = bytes(range(256)) * 8192  # 2 MiB
    page = origin.page("/big", body, cache_control="max-age=60")
    edges = [make_behind(f"edge-{n}", shield) for n in "abc"]
    page.hold("body", after=len(body) // 2)
    replies = []

    def one(edge):
        replies.append(edge.get("/big", timeout=40))

    threads = [threading.Thread(target=one, args=(e,), daemon=True) for e in edges for _ in range(8)]
    for t in threads:
        t.start()
    page.wait_hits(1)
    until(lambda: sum(e.metric("selvage_collapse_waiters") for e in edges) >= len(threads) - len(edges),
          "all clients to wait for their edge's fetch")
    page.release()
    for t in threads:
        t.join(seconds(40))
    assert len(replies) == len(threads) and all(r.complete and r.body == body for r in replies)
    assert page.hits == 1
    until(lambda: len([line for line in shield.access() if line["path"] == "/big"]) >= 3, "three lines of the shield's log")
    assert len([line for line in shield.access() if line["path"] == "/big"]) == 3, "one request of each edge"


def test_a_ceiling_of_connections_to_the_shield(make_behind, make_edge, fleet, shield, origin):
    """Who finds it full waits, is counted while he does, and gets the place that becomes free."""
    first, second = origin.page("/first", b"1" * 1000), origin.page("/second", b"2" * 1000)
    edge = make_edge(origin, config={"node": "edge-a", "peer": fleet.peer("edge-a"), "upstream": {
        "shields": [[shield.url]], "direct": "refused", "connections": 1}})
    first.hold("body", after=10)
    with edge.h1() as a, edge.h1() as b:
        a.send_request("/first")
        reply = a.read_head()
        b.send_request("/second")
        edge.wait_for_metric("selvage_upstream_queued", 1)
        assert second.hits == 0
        first.release()
        assert a.read_body(reply).body == b"1" * 1000
        assert b.read().body == b"2" * 1000
    assert edge.metric("selvage_upstream_queued") == 0


@pytest.mark.parametrize("direct, status", [("allowed", 200), ("refused", 503)])
def test_an_edge_whose_certificate_is_revoked_goes_past_the_shield(make_behind, shield, origin, direct, status):
    page = origin.page("/a", "hello")
    edge = make_behind("edge-a", shield, direct=direct)
    assert edge.get("/a").status == 200
    shield.revoked = [{"name": "edge-a"}]
    shield.write_config()
    shield.reload()
    for method, body in (("GET", None), ("POST", b"once"), ("HEAD", None)):
        before = page.hits
        reply = edge.get("/a", method, body=body)
        assert reply.status == status, (method, reply)
        assert page.hits == before + (status == 200)
    assert shield.metric("selvage_peers_refused_total") >= 1


def test_an_edge_does_not_talk_to_a_shield_of_another_fleet(make_edge, make_shield, origin, directory):
    """Nor does it tell it what its clients ask for."""
    other = Fleet(directory / "other")
    shield = make_shield(origin)
    origin.page("/a", "hello")
    edge = make_edge(origin, config={"node": "edge-a", "peer": other.peer("edge-a"),
                                     "upstream": {"shields": [[shield.url]], "direct": "allowed"}})
    assert edge.get("/a").status == 200
    assert not [line for line in shield.access() if line["path"] == "/a"]
    assert origin.requests[-1].field("via") == "1.1 edge-a"


def test_the_answers_of_a_failed_origin_keep_their_age(make_behind, shield, origin):
    page = origin.page("/a", "hello", cache_control="max-age=1", etag='"1"')
    edge = make_behind("edge-a", shield, direct="refused")
    assert edge.get("/a").status == 200
    edge.wait_idle()
    page.fault = "close"
    asked = page.hits

    def stale():
        r = edge.get("/a")
        return r if page.hits > asked and int(r.field("age") or 0) >= 1 else None

    # it may be asked for ahead of that, and then the answer is fresh
    reply = until(stale, "the object to be stale")
    assert reply.status == 200 and reply.body == b"hello", reply
    assert reply.field("selvage-error") is None
