"""What a client gets when the origin fails: the table of the README, and what is beside it.

Each cell is a daemon with short time-outs, one request to warm up where something is to be stored,
the failure, and the request that counts.
"""
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from testenv.edge import ROOT
from testenv.wait import SLOWER, until

BODY = b"0123456789" * 2000
CONNECT, FIRST_BYTE, IDLE = 500, 600, 700
FAILURES = ["refuses", "hang-before-head", "hang-in-head", "hang-in-body", "truncate", "503", "garbage"]
NAMES = {"refuses": "refuses connections", "hang-before-head": "hangs before the head", "hang-in-head": "hangs in the head",
         "hang-in-body": "hangs in the body", "truncate": "truncates the body", "503": "answers 503",
         "garbage": "sends garbage"}
STATES = ["fresh", "stale", "nothing"]
# (status, what Cache-Status says, most requests at the origin, is it whole)
HIT = (200, "hit", 0, True)
STALE = (200, "fwd=stale", 2, True)
CELLS = {
    "refuses": (HIT, STALE, (503, "fwd=uri-miss; detail=connect-refused", 0, True)),
    "hang-before-head": (HIT, STALE, (504, "fwd=uri-miss; detail=timeout", 1, True)),
    "hang-in-head": (HIT, STALE, (504, "fwd=uri-miss; detail=timeout", 1, True)),
    "hang-in-body": (HIT, (200, "fwd=stale", 1, False), (200, "fwd=uri-miss", 1, False)),
    "truncate": (HIT, (200, "fwd=stale", 1, False), (200, "fwd=uri-miss", 1, False)),
    "503": (HIT, (503, "fwd=stale; fwd-status=503", 1, True), (503, "fwd=uri-miss; fwd-status=503", 1, True)),
    "garbage": (HIT, STALE, (502, "fwd=uri-miss; detail=garbage", 2, True)),
}
# When the first byte must have come, in ms.
FIRST = {"hang-before-head": FIRST_BYTE, "hang-in-head": FIRST_BYTE}


def site(origin, **more):
    return {"origin": {"servers": [origin.url], "allow_local": True, "connect_timeout": f"{CONNECT}ms",
                       "first_byte_timeout": f"{FIRST_BYTE}ms", "idle_timeout": f"{IDLE}ms"}, **more}


@pytest.fixture
def edge(make_edge, origin):
    return make_edge(origin, site=site(origin))


def prepare(edge, origin, failure, state, **more):
    page = origin.page("/x", BODY, **{"cache_control": "max-age=600" if state == "fresh" else "max-age=0",
                                      "etag": '"1"', **more})
    if state != "nothing":
        edge.fill("/x")
        assert page.hits == 1
    fail(origin, failure)
    return page, page.hits


def fail(origin, failure):
    if failure == "refuses":
        origin.refuse()
    else:
        origin.fault = failure


def record(failure, state, r, requests):
    """A cell for the README, in a file of its own: tests run in several processes."""
    d = ROOT / os.environ.get("SELVAGE_BUILD", "build/release") / "failure-table"
    d.mkdir(parents=True, exist_ok=True)
    status = r.cache_status.replace("|", "\\|")
    (d / f"{failure}.{state}").write_text(
        f"{r.status}{'' if r.complete else ', cut'}; `{status}`; {r.first_byte_s * 1000:.0f} ms; {requests}")
    write_table(d)


def write_table(d):
    cells = {f.name: f.read_text() for f in d.iterdir() if not f.name.startswith(".")}
    if any(f"{f}.{s}" not in cells for f in FAILURES for s in STATES):
        return
    lines = [f"Time-outs here: connection {CONNECT} ms, first byte {FIRST_BYTE} ms, body {IDLE} ms.  In each cell: status; "
             "`Cache-Status`; time to the first byte; requests at the origin.", "",
             "| the origin | fresh copy | stale copy | nothing stored |", "|---|---|---|---|"]
    lines += [f"| {NAMES[f]} | " + " | ".join(cells[f"{f}.{s}"] for s in STATES) + " |" for f in FAILURES]
    new = d.parent / f".failure-table.{os.getpid()}"
    new.write_text("\n".join(lines) + "\n")
    new.rename(ROOT / "build/failure-table.md")


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("failure", FAILURES)
def test_the_table(edge, origin, failure, state):
    page, before = prepare(edge, origin, failure, state)
    page.hold("cut")  # what is cut off in its middle is so after the client has its beginning
    with edge.h1() as c:
        c.send_request("/x")
        r = c.read_head()
        page.release()
        c.read_body(r)
    requests = page.hits - before
    status, says, most, whole = CELLS[failure][STATES.index(state)]
    assert r.status == status, r
    assert r.complete == whole, r
    assert says in r.cache_status, r
    assert requests <= most
    if whole and status == 200:
        assert r.body == BODY
    if not whole:
        assert BODY.startswith(r.body) and len(r.body) <= len(BODY) // 2
    if status >= 500 and failure != "503":
        assert r.field("retry-after")
    wait = 0 if state == "fresh" else FIRST.get(failure, 0)
    assert wait * 0.9 <= r.first_byte_s * 1000 <= (wait + 1500) * SLOWER, r.first_byte_s
    record(failure, state, r, requests)


@pytest.mark.parametrize("failure", FAILURES)
def test_http2_clients_fare_the_same(edge, origin, failure):
    page, _ = prepare(edge, origin, failure, "nothing")
    page.hold("cut")
    with edge.h2() as c:
        i = c.start("/x")
        c.wait_head(i)
        page.release()
        r = c.finish(i)
    status, _, _, whole = CELLS[failure][2]
    assert (r.status, r.complete) == (status, whole)
    assert whole or r.reset is not None


def test_when_the_origin_says_so_its_503_is_covered_too(edge, origin):
    page, _ = prepare(edge, origin, "503", "stale", cache_control="max-age=0, stale-if-error=600")
    r = edge.get("/x")
    assert (r.status, r.body) == (200, BODY)
    assert page.hits == 2
    assert edge.metric("selvage_stale_on_error_total") == 1


def test_when_a_rule_says_so_its_503_is_covered_too(make_edge, origin):
    edge = make_edge(origin, site=site(origin, rules=[{"path": "*", "stale_if_error": "1h"}]))
    prepare(edge, origin, "503", "stale")
    assert edge.get("/x").body == BODY


@pytest.mark.parametrize("control", ["max-age=0, must-revalidate", "max-age=0, proxy-revalidate", "s-maxage=0"])
def test_must_revalidate_forbids_stale_answers(edge, origin, control):
    prepare(edge, origin, "refuses", "stale", cache_control=control)
    r = edge.get("/x")
    assert r.status in (502, 503, 504) and r.body != BODY


def test_the_copy_is_fresh_again_when_the_origin_is_back(edge, origin):
    page, _ = prepare(edge, origin, "refuses", "stale")
    for _ in range(3):
        assert edge.get("/x").body == BODY
    origin.accept_again()
    page.body, page.etag = b"back", '"2"'
    assert edge.get("/x").body == b"back"


@pytest.mark.parametrize("fault", ["truncate", "truncate-chunked", "hang-in-body", "bad-length"])
def test_half_a_body_is_never_stored(edge, origin, fault):
    page = origin.page("/x", BODY, cache_control="max-age=600", fault=fault)
    r = edge.get("/x")
    assert not r.complete or r.status == 502
    edge.wait_idle()
    page.fault = None
    r = edge.get("/x")
    assert (r.is_hit, r.complete, r.body) == (False, True, BODY)


@pytest.mark.parametrize("fault", ["endless-head", "endless-lines", "long-head"])
def test_a_head_has_an_end(edge, origin, fault):
    origin.page("/x", BODY, fault=fault)
    before = edge.rss()
    r = edge.get("/x")
    assert r.status in (502, 504)
    assert edge.rss() - before < 30 << 20
    assert edge.metric("selvage_upstream_failures_total") >= 1


@pytest.mark.parametrize("fault, words", [("garbage", "garbage: http://"), ("truncate", "bytes remaining"),
                                          ("bad-length", "Content-Length")])
def test_the_log_says_what_is_wrong_with_the_origin(edge, origin, fault, words):
    origin.page("/x", BODY, fault=fault)
    edge.get("/x?token=hidden")
    until(lambda: any("/x: " in line and words in line and origin.url in line for line in edge.said().splitlines()),
          f"a line with {words!r}: {edge.said()}")
    assert "hidden" not in edge.said()


def a_hundred(edge, page):
    """Connect first: then all requests are there before the first time-out."""
    conns = [edge.h1(timeout=20) for _ in range(100)]
    for c in conns:
        c.send_request("/x")
    replies = [c.read() for c in conns]
    for c in conns:
        c.close()
    return replies


def test_a_hundred_waiters_share_one_failure(edge, origin):
    page, _ = prepare(edge, origin, "hang-before-head", "nothing")
    replies = a_hundred(edge, page)
    assert {r.status for r in replies} == {504}
    assert page.hits <= 2


def test_a_hundred_waiters_share_one_stale_copy(edge, origin):
    page, _ = prepare(edge, origin, "hang-in-head", "stale")
    replies = a_hundred(edge, page)
    assert all(r.status == 200 and r.body == BODY for r in replies)
    assert page.hits <= 1 + 2


def test_an_unsafe_request_is_never_sent_twice(edge, origin):
    page = origin.page("/x", BODY)
    assert edge.get("/x").status == 200  # the connection is kept
    page.fault = "close"
    before = page.hits
    assert edge.get("/x", method="POST", body=b"pay").status in (502, 503)
    assert page.hits == before + 1


def test_the_queue_has_an_end(make_edge, origin):
    edge = make_edge(origin, site={"origin": {"servers": [origin.url], "allow_local": True, "connections": 2, "queue": 2}})
    page = origin.page("/x", BODY, cache_control="no-store")
    page.hold()
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(edge.get, f"/x?{i}", timeout=20) for i in range(20)]
        edge.wait_for_metric('selvage_upstream_failures_total{reason="overload"}', 12)
        page.release()
        replies = [a.result(timeout=30) for a in asked]
    statuses = [r.status for r in replies]
    assert set(statuses) == {200, 503}
    assert all(r.field("retry-after") for r in replies if r.status == 503)
    assert 2 <= statuses.count(200) <= 8


def test_one_dead_server_of_two_costs_nothing(make_edge, make_origin, origin):
    dead = make_origin()
    dead.refuse()
    origin.page("/x", BODY)
    edge = make_edge(origin, site={"origin": {"servers": [dead.url, origin.url], "allow_local": True}})
    for _ in range(6):
        assert edge.get("/x").body == BODY


def test_an_origin_that_loops_back_is_refused(make_edge, origin):
    edge = make_edge(origin, start=False)
    edge.sites = [{"name": "www", "hosts": ["www.test"],
                   "origin": {"servers": [f"http://127.0.0.1:{edge.plain_port}"], "allow_local": True}}]
    edge.start()
    assert edge.get("/x").status == 508
    assert edge.metric("selvage_loops_total") >= 1


def test_a_client_has_left_when_its_answer_comes(make_edge, origin):
    """Both are found in one turn of the loop: the edge is stopped until the origin's time is over."""
    page = origin.page("/slow", b"hello")
    page.hold("head")
    edge = make_edge(origin, site={"origin": {"servers": [origin.url], "allow_local": True, "first_byte_timeout": "1500ms"},
                                   "rules": [{"path": "/slow", "cache": "off", "stream": True}]},
                     config={"workers": 1})
    for _ in range(3):
        before = page.hits
        clients = [edge.h1() for _ in range(4)]
        for c in clients:
            c.send_request("/slow")
        page.wait_hits(before + len(clients))
        for c in clients:
            c.close()
        edge.process.send_signal(signal.SIGSTOP)
        time.sleep(1.7)  # past the time-out, which is its own: of a stopped process nothing shows it
        edge.process.send_signal(signal.SIGCONT)
        edge.wait_idle()
    assert edge.get("/.well-known/selvage/health").status == 200
    page.release()
