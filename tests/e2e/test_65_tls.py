"""TLS: who is who, which versions, which protocol; and port 80."""
import socket
import ssl

import pytest

from testenv.client import H1, connect


def certificate_of(edge, sni, **more):
    ctx = edge.authority.client_context()
    ctx.check_hostname = False
    with connect(edge.port, ctx, sni, **more) as s:
        return s.getpeercert()["subjectAltName"][0][1]


@pytest.mark.parametrize("sni, name", [("www.test", "www.test"), ("other.test", "other.test"),
                                       ("WWW.TEST", "www.test"), ("a.wild.test", "*.wild.test")])
def test_the_name_chooses_the_certificate(edge, sni, name):
    assert certificate_of(edge, sni) == name


@pytest.mark.parametrize("offer, got", [(["h2", "http/1.1"], "h2"), (["http/1.1", "h2"], "h2"), (["http/1.1"], "http/1.1"),
                                        ([], None)])
def test_alpn(edge, offer, got):
    with connect(edge.port, edge.authority.client_context(*offer), "www.test") as s:
        assert s.selected_alpn_protocol() == got


def test_an_unknown_protocol_gets_no_http(edge):
    try:
        with connect(edge.port, edge.authority.client_context("smtp"), "www.test") as s:
            assert s.selected_alpn_protocol() is None
    except ssl.SSLError:
        pass  # the alert no_application_protocol is as good


def context(edge, low, high, ciphers=None):
    ctx = edge.authority.client_context()
    ctx.minimum_version, ctx.maximum_version = low, high
    if ciphers:
        ctx.set_ciphers(ciphers)
    return ctx


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_versions(edge):
    v = ssl.TLSVersion
    for version, name in ((v.TLSv1_2, "TLSv1.2"), (v.TLSv1_3, "TLSv1.3")):
        with connect(edge.port, context(edge, version, version), "www.test") as s:
            assert s.version() == name
    with pytest.raises(OSError):
        connect(edge.port, context(edge, v.TLSv1, v.TLSv1_1, "DEFAULT@SECLEVEL=0"), "www.test")


@pytest.mark.parametrize("ciphers", ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256", "AES256-SHA"])
def test_weak_ciphers_are_refused(edge, ciphers):
    v = ssl.TLSVersion.TLSv1_2
    with pytest.raises(OSError):
        connect(edge.port, context(edge, v, v, ciphers), "www.test")


def test_sessions_are_resumed(edge, origin):
    origin.page("/", b"x")
    v = ssl.TLSVersion.TLSv1_2
    ctx = context(edge, v, v)
    with connect(edge.port, ctx, "www.test") as s:
        session = s.session
    raw = socket.create_connection(("127.0.0.1", edge.port), 10)
    with ctx.wrap_socket(raw, server_hostname="www.test", session=session) as s:
        assert s.session_reused


def test_authority_and_certificate_must_agree(make_edge, make_origin):
    a = make_origin()
    a.page("/", b"x")
    origin = {"servers": [a.url], "allow_local": True}
    edge = make_edge(sites=[{"name": "a", "hosts": ["www.test"], "origin": origin},
                            {"name": "b", "hosts": ["other.test"], "origin": origin}])
    for ask in (edge.h1, edge.h2):
        with ask() as c:
            assert c.request("/", host="other.test").status == 421
            assert c.request("/", host="nobody.test").status == 421
    assert a.hits == 0
    with edge.h2() as c:
        r = c.finish(c.start("/", head=c.head("/", host="nobody.test")))
        assert (r.status, r.body) == (421, b"")


@pytest.mark.parametrize("host", ["www.test", "a.wild.test", "other.test"])
def test_port_80_redirects(edge, host):
    with H1(edge.redirect_port, None, host) as c:
        r = c.request("/a/%20b?c=d")
        if host == "other.test":  # no site: nobody is sent to where nothing is
            assert r.status in (301, 308, 421)
            return
        assert r.status in (301, 308)
        assert r.field("location").startswith(f"https://{host}")
        assert r.field("location").endswith("/a/%20b?c=d")


def test_port_80_redirects_to_the_port_that_clients_see(make_edge, origin):
    edge = make_edge(origin)
    where = {}
    for port in (None, 443, 8443):
        edge.redirect = {"redirect_port": port} if port else {}
        edge.restart()
        with H1(edge.redirect_port, None, "www.test") as c:
            where[port] = c.request("/a?b=c").field("location")
    assert where == {None: f"https://www.test:{edge.port}/a?b=c", 443: "https://www.test/a?b=c",
                     8443: "https://www.test:8443/a?b=c"}


def test_hsts(make_edge, origin):
    origin.page("/", b"x")
    edge = make_edge(origin, site={"hsts": "1y"})
    assert edge.get("/").field("strict-transport-security") == "max-age=31536000"
    assert edge.get("/", plain=True).field("strict-transport-security") is None


def test_a_certificate_is_changed_without_a_restart(make_edge, origin, authority, tmp_path):
    from testenv.certs import Authority
    from testenv.edge import HOSTS

    edge = make_edge(origin)
    origin.page("/", b"x", cache_control="max-age=60")
    with edge.h1() as before:
        assert before.request("/").status == 200
        other = Authority(tmp_path / "other").issue(*HOSTS)
        other.copy_to(edge.tls_directory, *HOSTS)
        edge.reload()
        with H1(edge.port, other.client_context(), "www.test") as c:
            assert c.request("/").status == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            edge.get("/")
        assert before.request("/").status == 200  # what was open stays open


def test_half_handshakes_do_not_keep_others_waiting(edge, origin):
    origin.page("/", b"x")
    halves = [connect(edge.port) for _ in range(100)]
    for s in halves[:50]:
        s.sendall(b"\x16\x03\x01\x02\x00")
    for s in halves[50:]:
        s.sendall(b"GET / HTTP/1.1\r\nHost: www.test\r\n\r\n")
    assert edge.get("/").status == 200
    for s in halves:
        s.close()
    edge.wait_for_metric_at_most("selvage_connections", 1)


def test_plain_text_on_the_tls_port_is_no_http(edge):
    with H1(edge.port, None, "www.test") as c:
        c.send("GET / HTTP/1.1\r\nHost: www.test\r\n\r\n")
        assert c.is_closed()
