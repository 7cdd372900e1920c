"""Limits: what is refused, with which status, and that the next one is served."""
import socket
import ssl

import pytest

from testenv.wait import until


@pytest.fixture
def page(origin):
    return origin.page("/x", b"x", cache_control="max-age=60")


def test_a_long_target(edge, origin, page):
    for ask in (edge.get, edge.get2):
        assert ask("/x?" + "a" * 8000).status == 200
        assert ask("/x?" + "a" * 9000).status == 414
    assert page.hits == 1


def test_a_large_head(edge, page):
    r = edge.get("/x", fields=[("X-Large", "a" * 20_000)])
    assert r.status == 431
    assert edge.get("/x", fields=[("X-Large", "a" * 10_000)]).status == 200


def test_many_fields(edge, page):
    for ask in (edge.get, edge.get2):
        assert ask("/x", fields=[(f"X-{i}", "a") for i in range(80)]).status == 200
        r = ask("/x", fields=[(f"X-{i}", "a") for i in range(120)])
        assert r.status in (400, 431), r


def test_many_cookies_are_one_field(edge, page):
    with edge.h2() as c:
        i = c.start("/x", head=c.head("/x") + [("cookie", f"c{i}=1") for i in range(120)])
        assert c.finish(i).status == 200
    if page.requests[0].field("cookie"):
        assert page.requests[0].field("cookie").startswith("c0=1; c1=1")


def test_a_large_upload(make_edge, origin):
    page = origin.page("/up", b"thanks")
    edge = make_edge(origin, site={"max_request_body": "100KiB"})
    assert edge.get("/up", method="POST", body=b"x" * 102_400).status == 200
    assert edge.get2("/up", method="POST", body=b"x" * 102_401).status == 413
    with edge.h1() as c:
        c.send_request("/up", "POST", [("Content-Length", "102401")])
        assert c.read().status == 413
    with edge.h1() as c:
        c.send_request("/up", "POST", [("Transfer-Encoding", "chunked")])
        try:
            for _ in range(30):
                c.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        except OSError:
            pass
        assert c.read().status in (413, None)
    assert page.hits == 1


def test_what_a_guard_refuses_is_in_the_access_log(edge, page):
    """Who asks why a client got a 413 finds it there, with what is known of it."""
    before = edge.metric('selvage_requests_total{verdict="refused"}')
    assert edge.get2("/up?2", method="POST", body=b"x" * 1_100_000).status == 413
    with edge.h1() as c:
        c.send_request("/up?1", "POST", [("Content-Length", "1100000")])
        assert c.read().status == 413
    many = [(f"X-{i}", "a") for i in range(120)]
    assert edge.get2("/many?2", fields=many).status == 431
    assert edge.get("/many?1", fields=many).status == 431
    with edge.h1(plain=True) as c:
        c.send("GET /x HTTP/1.1\r\nHost: www.test\r\nHost: other.test\r\n\r\n")
        assert c.read().status == 400
    lines = until(lambda: (lambda found: found if len(found) >= 5 else None)(
        [l for l in edge.access() if l["verdict"] == "refused"]), "five lines in the access log")
    assert {l["client"] for l in lines} == {"127.0.0.0"}
    # each worker has its own way to the log
    assert sorted((l["status"], l["protocol"], l["method"], l["path"], l["reason"]) for l in lines) == [
        (400, "http/1.1", "GET", "/x", "malformed"), (413, "h2", "POST", "/up?2", "body-too-large"),
        (413, "http/1.1", "POST", "/up?1", "body-too-large"), (431, "h2", "GET", "/many?2", "too-many-fields"),
        (431, "http/1.1", "-", "-", "head-too-large")]
    assert edge.metric('selvage_requests_total{verdict="refused"}') == before + len(lines)


@pytest.mark.parametrize("plain", [True, False])
def test_a_refusal_is_not_lost_to_a_reset(edge, plain):
    """Who does not read before all is sent gets the answer nevertheless."""
    for head, status in (("POST /up HTTP/1.1\r\nHost: www.test\r\nContent-Length: 4000000\r\n\r\n", 413),
                         ("GET /x HTTP/1.1\r\nHost: www.test\r\nX-Long: ", 431)):
        for _ in range(5):
            with edge.h1(plain=plain) as c:
                c.send(head + "x" * 3_000_000)
                assert c.read().status == status


def refused_in_the_handshake(edge):
    """The answer to a request that stands in the same packet as the last message of the handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = edge.authority.client_context("http/1.1").wrap_bio(incoming, outgoing, server_hostname="www.test")
    with socket.create_connection(("127.0.0.1", edge.port), timeout=10) as s:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                s.sendall(outgoing.read())
                incoming.write(s.recv(65536))
        tls.write(b"POST /up HTTP/1.1\r\nHost: www.test\r\nContent-Length: 4000000\r\n\r\n" + b"x" * 3_000_000)
        s.sendall(outgoing.read())
        answer = b""
        while b"\r\n" not in answer:
            try:
                answer += tls.read()
            except ssl.SSLWantReadError:
                data = s.recv(65536)
                assert data, "closed without an answer"
                incoming.write(data)
    return answer


def test_a_refusal_of_what_came_with_the_handshake_is_not_lost_either(edge):
    for _ in range(40):  # a reset overtakes the answer in every fourth
        assert refused_in_the_handshake(edge).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_methods_that_are_not_allowed(edge, origin, method):
    with edge.h1() as c:
        c.send(f"{method} {'www.test:443' if method == 'CONNECT' else '/x'} HTTP/1.1\r\nHost: www.test\r\n\r\n")
        assert c.read().status in ((400, 405) if method == "CONNECT" else (405,))
    assert origin.hits == 0


def test_an_unknown_host(edge, origin):
    with edge.h1(plain=True) as c:
        r = c.request("/x", host="nobody.test")
        assert (r.status, r.body) == (421, b"")
    assert origin.hits == 0


def test_grpc_is_refused_with_a_sentence(edge, origin):
    r = edge.get2("/svc/Call", method="POST", body=b"\0\0\0\0\0", fields=[("content-type", "application/grpc"),
                                                                       ("te", "trailers")])
    assert r.status == 501
    assert r.body
    assert origin.hits == 0


def test_a_hundred_streams_at_once_on_one_connection(edge, origin):
    page = origin.page("/s", b"y" * 10_000, cache_control="no-store")
    with edge.h2() as c:
        streams = [c.start(f"/s?{i}") for i in range(100)]
        assert all(c.finish(i, 20).body == page.body for i in streams)


def test_many_connections(edge, page):
    edge.fill("/x", plain=True)
    conns = [edge.h1(plain=True) for _ in range(300)]
    edge.wait_for_metric("selvage_connections", 300)
    assert all(c.request("/x").is_hit for c in conns)
    for c in conns:
        c.close()
    edge.wait_for_metric_at_most("selvage_connections", 0)


def test_descriptors_run_out_and_come_back(make_edge, origin):
    import resource
    edge = make_edge(origin, start=False, preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400)))
    edge.start()
    origin.page("/x", b"x", cache_control="max-age=60")
    edge.fill("/x")
    edge.fill("/x", plain=True)
    conns = [edge.h1(plain=True, timeout=10) for _ in range(450)]
    conns[0].send_request("/x")
    assert conns[0].read().status == 200  # who is in is served
    edge.wait_said(r"client connections are open, and no more fit")
    for c in conns[1:]:
        c.close()
    until(lambda: edge.get("/x").is_hit, "new connections to be served")
    conns[0].close()
