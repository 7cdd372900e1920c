"""SIGHUP: the new configuration or the old one, never neither.  SIGTERM: what runs is finished."""
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from testenv.wait import until


def test_a_good_file_comes_into_force(edge, origin):
    page = origin.page("/x", b"x")
    edge.get("/x")
    assert not edge.get("/x").is_hit
    edge.site["rules"] = [{"path": "*", "default_ttl": "60s"}]
    edge.write_config()
    edge.reload()
    edge.wait_idle()
    edge.get("/x")
    edge.wait_idle()
    assert edge.get("/x").is_hit
    assert page.hits == 3


def test_connections_stay_open_over_a_reload(edge, origin):
    origin.page("/x", b"x")
    with edge.h1() as a, edge.h2() as b:
        assert a.request("/x").status == b.request("/x").status == 200
        edge.reload()
        assert a.request("/x").status == b.request("/x").status == 200


@pytest.mark.parametrize("spoil, says", [
    (lambda e: e.file.write_text(e.file.read_text().replace("hosts:", "hots:")), "hots"),
    (lambda e: e.file.write_text("{"), r"edge.yaml:\d"),
    (lambda e: e.file.unlink(), "edge.yaml"),
    (lambda e: next(e.tls_directory.glob("*.key")).write_text("no key"), "key"),
    (lambda e: next(e.tls_directory.glob("*.crt")).write_text("no certificate"), "certificate"),
    (lambda e: next(e.tls_directory.glob("*.key")).unlink(), "key"),
])
def test_a_bad_file_changes_nothing(edge, origin, spoil, says):
    origin.page("/x", b"x", cache_control="max-age=60")
    edge.fill("/x")
    spoil(edge)
    edge.reload(ok=False)
    edge.wait_said(says)
    for ask in (edge.get, edge.get2):
        assert ask("/x").is_hit
    assert edge.admin("GET", "/readyz")[0] == 200


def test_many_reloads_under_load(edge, origin):
    origin.page("/x", b"x" * 5000, cache_control="max-age=60")
    edge.fill("/x")
    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(lambda: [edge.get("/x").body for _ in range(40)]) for _ in range(4)]
        for _ in range(15):
            edge.reload()
        for w in work:
            assert set(w.result(timeout=30)) == {b"x" * 5000}


def test_the_drain_finishes_what_runs(edge, origin):
    page = origin.page("/x", b"x" * 1000)
    page.hold()
    with edge.h1() as a, edge.h2() as b:
        a.send_request("/x")
        i = b.start("/x?2")
        page.wait_held(2)
        edge.process.send_signal(signal.SIGTERM)
        b.wait(lambda: b.goaway is not None)
        until(lambda: not accepts(edge), "the listener to close")
        page.release()
        assert a.read().body == b.finish(i).body == b"x" * 1000
        assert a.is_closed()
    assert edge.process.wait(20) == 0


def accepts(edge):
    try:
        edge.h1(plain=True, timeout=2).close()
        return True
    except OSError:
        return False


def test_the_drain_has_a_deadline(make_edge, origin):
    edge = make_edge(origin, config={"drain": "300ms"}, start=False)
    # ended by force, nothing is freed
    edge.environment["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
    edge.start()
    page = origin.page("/x", b"x")
    page.hold()
    with edge.h1() as c:
        c.send_request("/x")
        page.wait_held()
        assert edge.stop(timeout=10) == 0
        assert not c.read().complete


def test_health_says_draining(make_edge, origin):
    edge = make_edge(origin, config={"drain": "10s"})
    page = origin.page("/x", b"x")
    page.hold()
    with edge.h1() as held, edge.h1() as c:
        held.send_request("/x")
        page.wait_held()
        assert c.request("/.well-known/selvage/health").status == 200
        edge.process.send_signal(signal.SIGTERM)
        edge_ready = until(lambda: ready(edge) != 200, "/readyz to change")
        assert edge_ready
        page.release()
        assert held.read().body == b"x"
    assert edge.process.wait(20) == 0


def ready(edge):
    try:
        return edge.admin("GET", "/readyz", timeout=2)[0]
    except OSError:
        return None


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_daemon_ends_at_once(edge, sig):
    with edge.h1() as a, edge.h2() as b:
        edge.process.send_signal(sig)
        assert edge.process.wait(5) == 0
        assert a.is_closed() and b.is_closed()


def test_logs_are_opened_anew(edge, origin):
    origin.page("/x", b"x")
    edge.get("/x")
    edge.wait_access(lambda line: True)
    log = edge.directory / "access.log"
    log.rename(edge.directory / "access.log.1")
    edge.process.send_signal(signal.SIGUSR1)
    until(log.exists, "a new access log")
    edge.get("/x?new")
    edge.wait_access(lambda line: "new" in str(line))


def test_what_needs_a_restart_is_said(edge):
    edge.config["workers"] = 1
    edge.write_config()
    edge.process.send_signal(signal.SIGHUP)
    edge.wait_said(r"(?i)restart")
