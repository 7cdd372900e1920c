"""The shield: who may ask it, what it believes, and how it answers edges."""
import re
import ssl
import subprocess
import time

import pytest

from testenv.certs import Authority
from testenv.client import H1, Closed
from testenv.edge import NotStarted
from testenv.shield import SECRET, Fleet
from testenv.wait import until

REFUSED = "selvage_peers_refused_total"


def body_of(reply):
    return reply.body.decode()


# ---- who may ask ----


def test_an_edge_is_served_from_the_cache(shield, origin):
    page = origin.page("/a", "hello", cache_control="max-age=60")
    first = shield.ask("/a")
    shield.wait_idle()
    second = shield.ask("/a")
    assert first.status == 200 and first.fwd == "uri-miss" and body_of(first) == "hello"
    assert second.is_hit and body_of(second) == "hello"
    assert page.hits == 1


def test_who_shows_no_certificate_is_told(shield, origin):
    reply = shield.ask("/a", node=None)
    assert reply.status == 403 and "certificate" in body_of(reply)
    assert reply.field("connection") == "close"
    assert origin.hits == 0 and shield.metric(REFUSED) == 1
    assert shield.wait_access(lambda line: line["status"] == 403)["reason"] == "peer-no-certificate"


def test_a_certificate_of_another_fleet_is_refused(shield, origin, directory):
    other = Fleet(directory / "other")
    ctx = shield.fleet.client_context()
    ctx.load_cert_chain(other.node("edge1")["file"])
    with H1(shield.port, ctx, "shield.test") as c:
        reply = c.request("/a", host="www.test")
    assert reply.status == 403 and "not from the CA of this fleet" in body_of(reply)
    assert origin.hits == 0 and shield.metric(REFUSED) == 1
    shield.wait_said("peer-foreign: name edge1")


def test_strangers_do_not_fill_the_log(shield):
    with shield.connect(None) as c:
        for _ in range(2):  # the first closes it
            try:
                c.request("/a", host="www.test")
            except (Closed, ConnectionError):
                pass
    for _ in range(30):
        assert shield.ask("/a", node=None).status == 403
    assert shield.metric(REFUSED) == 31
    assert 1 <= len(re.findall("peer-no-certificate", shield.said())) <= 20


def test_a_certificate_for_servers_only_is_refused(shield, directory):
    """What the CA may have signed for another purpose opens nothing."""
    ca = directory / "as-tool"
    ca.mkdir()
    (ca / "ca.pem").write_bytes(shield.fleet.ca.read_bytes())
    (ca / "ca.key").write_bytes((shield.fleet.directory / "fleet-ca.key").read_bytes())
    server = Authority(ca).issue("www.test").file("www.test")
    ctx = shield.fleet.client_context()
    ctx.load_cert_chain(server, server.with_suffix(".key"))
    with H1(shield.port, ctx, "shield.test") as c:
        assert c.request("/a", host="www.test").status == 403


def test_the_health_check_is_for_anyone(shield):
    assert shield.ask("/.well-known/selvage/health", node=None).status == 200


def test_the_secret_of_a_private_network(shield, origin):
    origin.page("/a", "hello")
    for fields, status in [((), 403), ([("Selvage-Secret", SECRET[:-1])], 403), ([("Selvage-Secret", SECRET + "x")], 403),
                           ([("Selvage-Secret", SECRET)], 200)]:
        reply = shield.get("/a", fields=fields, plain=True)
        assert reply.status == status, fields
    assert origin.hits == 1 and shield.metric(REFUSED) == 3
    assert not [r for r in origin.requests if r.field("selvage-secret")], "the secret went to the origin"


def test_the_secret_is_no_certificate(shield):
    assert shield.ask("/a", node=None, fields=[("Selvage-Secret", SECRET)]).status == 403


def test_a_certificate_for_some_sites_opens_those(make_shield, origin):
    sites = [{"name": n, "hosts": [f"{n}.test"], "origin": {"servers": [origin.url], "allow_local": True}}
             for n in ("www", "shop")]
    shield = make_shield(origin, sites=sites)
    shield.fleet.node("edge7", "--site", "shop")
    origin.page("/a", "hello")
    assert shield.ask("/a", node="edge7", named="shop.test").status == 200
    reply = shield.ask("/a", node="edge7", named="www.test")
    assert reply.status == 403 and "other sites" in body_of(reply)
    assert shield.ask("/a", node="edge1", named="www.test").status == 200


@pytest.mark.parametrize("by", ["name", "serial"])
def test_a_revoked_certificate_loses_its_connections(make_shield, origin, by):
    shield = make_shield(origin)
    serial = shield.fleet.node("edge1")["serial"]
    held = origin.page("/held", "x" * 100, cache_control="max-age=60")
    origin.page("/a", "hello", cache_control="max-age=60")
    held.hold("body", after=50)
    with shield.connect("edge1") as idle, shield.connect("edge1") as busy, shield.connect("edge2") as other:
        assert idle.request("/a", host="www.test").status == 200
        assert other.request("/a", host="www.test").status == 200
        busy.send_request("/held", host="www.test")
        assert busy.read_head().status == 200
        shield.revoked = [{by: "edge1" if by == "name" else serial}]
        shield.write_config()
        shield.reload()
        with pytest.raises(Closed):
            idle.send_request("/a", host="www.test")
            idle.read_head()
        with pytest.raises(Closed):
            while True:
                busy.read_more(busy.sent_at + 20)
        assert other.request("/a", host="www.test").is_hit
    reply = shield.ask("/a", node="edge1")
    assert reply.status == 403 and "revoked" in body_of(reply)
    if by == "serial":
        shield.fleet.node("edge1")  # the same name, another certificate
        assert shield.ask("/a", node="edge1").is_hit
    held.release()


def test_a_bad_list_of_revoked_ones_leaves_the_old_one_in_force(make_shield, origin):
    shield = make_shield(origin)
    origin.page("/a", "hello", cache_control="max-age=60")
    shield.revoked = [{"name": "edge1"}]
    shield.write_config()
    shield.reload()
    (shield.directory / "peers.yaml").write_text("revoked: [{serial: not-hex}]\n")
    shield.reload(ok=False)
    assert re.search(r"peers.yaml:1:\d+: revoked\[0\].serial: .*no serial number", shield.said())
    assert shield.ask("/a", node="edge1").status == 403
    assert shield.ask("/a", node="edge2").status == 200


def test_no_session_is_resumed(shield, origin):
    """One that was resumed has shown no certificate."""
    origin.page("/a", "hello")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        ctx = shield.fleet.client_context("edge1")
        ctx.minimum_version = ctx.maximum_version = version
        with H1(shield.port, ctx, "shield.test") as c:
            assert c.request("/a", host="www.test").status == 200
            session = c.socket.session
        assert session is None or not session.has_ticket, version
        if session is not None:
            with H1(shield.port, ctx, "shield.test") as c:
                assert not c.socket.session_reused


def test_edges_speak_http_1_1(shield):
    ctx = shield.fleet.client_context("edge1")
    ctx.set_alpn_protocols(["h2"])
    with pytest.raises((ssl.SSLError, ConnectionError)):
        H1(shield.port, ctx, "shield.test").close()


def test_the_end_of_its_certificate_is_shown(make_shield, origin):
    shield = make_shield(origin, start=False)
    told = shield.fleet.node("shield", "--days", "20")
    shield.start()
    day = time.strftime("%Y-%m-%d", time.gmtime(shield.metric("selvage_peer_certificate_ends_seconds")))
    assert day == told["until"]
    shield.wait_said("expires in less than 30 days")
    told = shield.fleet.node("shield", "--days", "300")
    shield.reload()
    day = time.strftime("%Y-%m-%d", time.gmtime(shield.metric("selvage_peer_certificate_ends_seconds")))
    assert day == told["until"]


# ---- what it believes ----


def test_what_a_peer_says_of_the_client_is_believed(shield, origin):
    page = origin.page("/a", "hello")
    told = [("X-Forwarded-For", "203.0.113.77"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "www.test"),
            ("X-Request-Id", "0123456789abcdef"), ("X-Real-IP", "198.51.100.1"), ("Selvage-Anything", "x")]
    # the edge may have called it by the name of the origin
    reply = shield.ask("/a", fields=told, named="origin.internal")
    assert reply.status == 200 and reply.field("x-request-id") == "0123456789abcdef"
    r = page.requests[0]
    assert r.field("x-forwarded-for") == "203.0.113.77"
    assert r.field("x-forwarded-proto") == "https"
    assert r.field("x-forwarded-host") == "www.test" and r.field("host") == "www.test"
    assert r.field("x-request-id") == "0123456789abcdef"
    assert r.field("x-real-ip") is None and r.field("selvage-anything") is None
    line = shield.wait_access(lambda line: line["path"] == "/a")
    assert line["client"] == "203.0.113.0" and line["id"] == "0123456789abcdef"


def test_what_is_malformed_is_not_believed(shield, origin):
    page = origin.page("/a", "hello")
    reply = shield.ask("/a", fields=[("X-Forwarded-For", "203.0.113.77, 10.0.0.1"), ("X-Request-Id", "../../etc")])
    assert reply.status == 200 and re.fullmatch(r"[0-9a-f]{16}", reply.field("x-request-id"))
    assert page.requests[0].field("x-forwarded-for") == "127.0.0.1"
    assert page.requests[0].field("x-request-id") == reply.field("x-request-id")


def test_http_and_https_are_two_objects(shield, origin):
    page = origin.page("/a", "hello", cache_control="max-age=60")
    for proto, hit in (("http", False), ("https", False), ("http", True), ("https", True)):
        assert shield.ask("/a", fields=[("X-Forwarded-Proto", proto)]).is_hit == hit, proto
        shield.wait_idle()
    assert [r.field("x-forwarded-proto") for r in page.requests] == ["http", "https"]


def test_strangers_are_not_believed(make_edge, origin):
    page = origin.page("/a", "hello")
    edge = make_edge(origin)
    edge.get("/a", fields=[("X-Forwarded-For", "203.0.113.77"), ("X-Forwarded-Host", "other.test"),
                           ("X-Request-Id", "0123456789abcdef"), ("Selvage-Secret", SECRET)])
    r = page.requests[0]
    assert r.field("x-forwarded-for") == "127.0.0.1" and r.field("x-forwarded-host") == "www.test"
    assert r.field("x-request-id") != "0123456789abcdef" and r.field("selvage-secret") is None


def test_a_peer_that_shares_the_cluster_is_no_loop(shield, origin):
    page = origin.page("/a", "hello")
    shield.ask("/a")
    mark = page.requests[0].field("cdn-loop")
    assert shield.ask("/a?2", fields=[("CDN-Loop", mark)]).status == 200


# ---- how it answers ----


def test_it_validates_where_an_edge_would_serve_stale(shield, make_edge, origin):
    page = origin.page("/a", "hello", cache_control="max-age=0, stale-while-revalidate=600", etag='"1"')
    edge = make_edge(origin)
    for ask in (shield.ask, edge.get):
        assert ask("/a").status == 200
    until(lambda: shield.ls() and edge.ls(), "both to have it")
    before = page.hits
    reply = shield.ask("/a")
    assert reply.status == 200 and not reply.is_hit and reply.fwd == "stale", reply
    assert page.hits == before + 1 and page.requests[-1].field("if-none-match") == '"1"'
    assert edge.get("/a").is_hit


def test_tags_stay_within_the_fleet(shield, make_edge, origin):
    origin.page("/a", "hello", cache_control="max-age=60", fields=[("Surrogate-Key", "one two"), ("Cache-Tag", "three")])
    for _ in range(2):
        reply = shield.ask("/a")
        assert reply.field("surrogate-key") == "one two" and reply.field("cache-tag") == "three"
    shield.wait_stored()
    shield.purge(tag="two")
    assert not shield.ask("/a").is_hit
    reply = make_edge(origin).get("/a")
    assert reply.field("surrogate-key") is None and reply.field("cache-tag") is None


def test_a_failed_origin_is_answered_with_the_last_good_copy(shield, origin):
    page = origin.page("/a", "hello", cache_control="max-age=0", etag='"1"')
    shield.ask("/a")
    until(shield.ls, "the copy to be stored")
    page.fault = "close"
    reply = shield.ask("/a")
    assert reply.status == 200 and body_of(reply) == "hello" and "stale" in reply.cache_status, reply


def test_requests_of_many_edges_are_one(shield, origin):
    page = origin.page("/big", "x" * 300000, cache_control="max-age=60")
    page.hold("head")
    waiting = [shield.connect(f"edge{i % 3}", timeout=20) for i in range(30)]
    try:
        for c in waiting:
            c.send_request("/big", host="www.test")
        page.wait_hits(1)
        until(lambda: shield.metric("selvage_collapse_waiters") >= 29, "all to wait")
        page.release()
        for c in waiting:
            reply = c.read_head()
            c.read_body(reply)
            assert len(reply.body) == 300000
    finally:
        for c in waiting:
            c.close()
    assert page.hits == 1


# ---- bad input ----


def refused(daemon, says):
    with pytest.raises(NotStarted) as e:
        daemon.start()
    assert e.value.status == 1 and re.search(says, e.value.said), e.value.said


def test_each_daemon_refuses_the_other_ones_listeners(make_shield, make_edge, origin):
    shield = make_shield(origin, start=False)
    shield.write_config()
    shield.PROGRAM = "selvage-edge"
    shield.launch()
    assert shield.process.wait(20) == 1 and "this is an edge" in shield.said()
    edge = make_edge(origin, start=False)
    edge.PROGRAM = "selvage-shield"
    refused(edge, "is for clients, and this is a shield")
    for d in (shield, edge):
        d.ended_well = True
        d.process = None


@pytest.mark.parametrize("change, says", [
    (lambda s: s.peer.pop("ca"), "peers: needs peer.certificate and peer.ca"),
    (lambda s: s.peer.pop("secret"), "peers: needs peer.secret"),
    (lambda s: s.peer.update(ca="/nowhere.pem"), "peer.ca: .*cannot be read"),
    (lambda s: s.peer.update(ca=str(s.fleet.secret)), "peer.ca: .*cannot read a certificate"),
    (lambda s: s.peer.update(certificate=str(s.fleet.ca)), "cannot read the private key"),
    (lambda s: s.fleet.secret.chmod(0o644), "peer.secret: .*open to others"),
    (lambda s: s.fleet.secret.write_text("short"), "peer.secret: .*too short"),
    (lambda s: setattr(s, "revoked", [{}]), "entry 1 of revoked"),
    (lambda s: setattr(s, "revoked", [{"name": "a", "serial": "1"}]), "entry 1 of revoked"),
    (lambda s: setattr(s, "revoked", [{"nam": "a"}]), "nam: unknown key; did you mean 'name'"),
])
def test_what_is_wrong_with_peer_is_told(make_shield, origin, change, says):
    shield = make_shield(origin, start=False)
    change(shield)
    refused(shield, says)
    shield.process = None


def test_pki_makes_each_thing_once_and_refuses_bad_names(fleet, selvage):
    ca = fleet.ca.read_bytes()
    again = selvage("pki", "init", "--dir", fleet.directory)
    assert again.returncode == 1 and "is there" in again.stderr and fleet.ca.read_bytes() == ca
    for words in (["node"], ["node", "../x"], ["node", "a,b"], ["node", "a", "--host", "x,URI:urn:selvage:site:y"],
                  ["node", "fleet-ca"], ["node", "a", "--site", "a b"], ["node", "a", "--days", "0"], ["init", "a"], []):
        done = selvage("pki", *words, "--dir", fleet.directory)
        assert done.returncode == 2, (words, done)
    assert selvage("pki", "node", "a", "--dir", fleet.directory / "nowhere").returncode == 1
    made = fleet.node("edge1", "--region", "fra", "--site", "www")
    assert (fleet.directory / "edge1.pem").stat().st_mode & 0o777 == 0o600
    assert (fleet.directory / "fleet-ca.key").stat().st_mode & 0o777 == 0o600
    told = subprocess.run(["openssl", "x509", "-in", made["file"], "-noout", "-serial", "-ext", "subjectAltName"],
                          capture_output=True, text=True, timeout=20, check=True).stdout
    assert f"serial={made['serial'].upper()}" in told
    assert "urn:selvage:region:fra" in told and "urn:selvage:site:www" in told and "IP Address:127.0.0.1" in told
