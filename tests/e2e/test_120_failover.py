"""Edges in front of two shields and an origin: who is asked when somebody fails, and how often the origin is.

The first part is the README's table, a cell a test.  Each has an edge, a group of two shields, and
an origin that is given little time.
"""
import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from testenv.edge import ROOT
from testenv.origin_process import OriginProcess
from testenv.wait import SLOWER, until

BODY = b"0123456789" * 2000
CONNECT, FIRST_BYTE, IDLE = 500, 1500, 1500
DOWN = 3500 + FIRST_BYTE  # ms: three probes, and what the next hop takes
SITE_ORIGIN = {"connect_timeout": f"{CONNECT}ms", "first_byte_timeout": f"{FIRST_BYTE}ms",
               "idle_timeout": f"{IDLE}ms", "allow_local": True}
MOVED = "selvage_upstream_moved_total"
DIRECT = "selvage_upstream_direct_total"
SERVERS_DOWN = "selvage_upstream_servers_down"


def asked(shield, path):
    """How often, as its access log says, which may be behind."""
    return len([line for line in shield.access() if line["path"] == path])


class World:
    """`near` has the key of /x, `far` is the other one."""

    def __init__(self, make_edge, make_shield, fleet, origin, direct=True, edges=1, site=None):
        self.origin = origin
        self.site = {"origin": {"servers": [origin.url], **SITE_ORIGIN}, **(site or {})}
        first = make_shield(origin, name="shield0", site=self.site)
        self.shields = [first, make_shield(origin, name="shield1", site=self.site,
                                           config={"journal": {"owner": first.url}})]
        upstream = {"shields": [[s.url for s in self.shields]], "direct": "allowed" if direct else "refused"}
        self.edges = [make_edge(origin, site=self.site,
                                config={"upstream": upstream, "peer": fleet.peer(f"edge{i}"), "node": f"edge{i}",
                                        "workers": 1})  # so that the connection of the first request is there
                      for i in range(edges)]
        self.edge = self.edges[0]
        page = origin.page("/x", "where?", cache_control="no-store")
        # with a cookie, so that nobody remembers that it was not to be shared
        assert self.edge.get("/x", fields=[("cookie", "a=b")]).body == b"where?"
        assert page.hits == 1
        self.near = until(lambda: next((s for s in self.shields if asked(s, "/x")), None), "a line in an access log")
        self.far = next(s for s in self.shields if s is not self.near)
        self.before = 1

    def page(self, **more):
        """What is at /x from now on."""
        return self.origin.page("/x", BODY, **more)

    @property
    def requests(self):
        return self.origin.hits_of("/x") - self.before


@pytest.fixture
def make_world(make_edge, make_shield, fleet, origin):
    return lambda origin=origin, **more: World(make_edge, make_shield, fleet, origin, **more)


@pytest.fixture
def origin_process():
    made = []

    def make():
        made.append(OriginProcess())
        return made[-1]

    yield make
    for o in made:
        o.close()


# ---- the table ----

FAILURES = {
    "shield-stopped": "the key's shield is stopped (SIGSTOP)",
    "shield-killed": "the key's shield is killed with the request in it",
    "shield-refuses": "the key's shield refuses connections",
    "shield-slow": "the key's shield is slow",
    "shields-down": "both shields refuse connections",
    "origin-stopped": "the origin is stopped (SIGSTOP)",
    "origin-killed": "the origin is killed with the request in it",
    "origin-refuses": "the origin refuses connections",
    "origin-hangs": "the origin hangs before the head",
    "origin-hangs-in-head": "the origin hangs in the head",
    "origin-hangs-in-body": "the origin hangs in the body",
    "origin-503": "the origin answers 503",
    "all-down": "shields and origin refuse connections",
}
STATES = ["fresh", "stale", "nothing"]


class Cell:
    """What must come: status, what the edge adds to Cache-Status (but for the number of ttl), requests that reach
    the origin; within `ms` to the first byte, after so many moves to another hop."""

    def __init__(self, status, says, requests, ms, moves=0, whole=True):
        self.status, self.says, self.requests = status, says, requests
        self.ms, self.moves, self.whole = ms, moves, whole


def without_ttl(cache_status):
    return re.sub(r"ttl=-?\d+", "ttl=N", cache_status)


HIT = Cell(200, "edge0; hit; ttl=N", 0, 300)
VALIDATED = "edge0; fwd=stale; fwd-status=304; ttl=N; stored"
FETCHED = "edge0; fwd=uri-miss; ttl=N; stored"
STANDS_IN = "edge0; fwd=stale; ttl=N; detail=stale-if-error"
MISSED = "edge0; fwd=uri-miss; detail="
CELLS = {
    "shield-stopped": (HIT, Cell(200, VALIDATED, 1, DOWN, 1), Cell(200, FETCHED, 1, DOWN, 1)),
    "shield-killed": (HIT, Cell(200, VALIDATED, 2, 5000, 1), Cell(200, FETCHED, 2, 5000, 1)),
    "shield-refuses": (HIT, Cell(200, VALIDATED, 1, 1000, 1), Cell(200, FETCHED, 1, 1000, 1)),
    "shield-slow": (HIT, Cell(200, VALIDATED, 1, DOWN), Cell(200, FETCHED, 1, DOWN)),
    "shields-down": (HIT, Cell(200, VALIDATED, 1, 1000, 2), Cell(200, FETCHED, 1, 1000, 2)),
    "origin-stopped": (HIT, Cell(200, STANDS_IN, 1, FIRST_BYTE + 1000), Cell(504, MISSED + "timeout", 1, FIRST_BYTE + 1000)),
    # the second try, on a connection of its own, is refused: what counts is that the first was sent
    "origin-killed": (HIT, Cell(200, STANDS_IN, 1, 1000), Cell(503, MISSED + "closed", 1, 1000)),
    "origin-refuses": (HIT, Cell(200, STANDS_IN, 0, 1000), Cell(503, MISSED + "connect-refused", 0, 1000)),
    "origin-hangs": (HIT, Cell(200, STANDS_IN, 1, FIRST_BYTE + 1000), Cell(504, MISSED + "timeout", 1, FIRST_BYTE + 1000)),
    "origin-hangs-in-head": (HIT, Cell(200, STANDS_IN, 1, FIRST_BYTE + 1000),
                             Cell(504, MISSED + "timeout", 1, FIRST_BYTE + 1000)),
    # a 200 with the same entity tag is a 304 to the edge, and needs no body
    "origin-hangs-in-body": (HIT, Cell(200, VALIDATED, 1, 1000), Cell(200, FETCHED, 1, 1000, whole=False)),
    "origin-503": (HIT, Cell(503, "edge0; fwd=stale; fwd-status=503; detail=status", 1, 1000),
                   Cell(503, "edge0; fwd=uri-miss; fwd-status=503; detail=status", 1, 1000)),
    "all-down": (HIT, Cell(200, STANDS_IN, 0, 1000, 2), Cell(503, MISSED + "connect-refused", 0, 1000, 2)),
}
FAULTS = {"origin-hangs": "hang-before-head", "origin-hangs-in-head": "hang-in-head",
          "origin-hangs-in-body": "hang-in-body", "origin-503": "503"}
IN_A_PROCESS = ("origin-stopped", "origin-killed")


def stop_process(world, s):
    s.process.send_signal(signal.SIGSTOP)
    world.stopped = s


def fail(world, failure):
    if failure == "shield-refuses":
        world.near.kill()
    elif failure in ("shields-down", "all-down"):
        world.near.kill()
        world.far.kill()
    elif failure in ("shield-stopped", "shield-slow"):
        stop_process(world, world.near)
    elif failure == "origin-stopped":
        world.origin.stop()
    if failure in ("origin-refuses", "all-down"):
        world.origin.refuse()
    elif failure in FAULTS:
        world.origin.fault = FAULTS[failure]


def ask(world, page, failure, state):
    """The request that counts, and what has to happen while it runs."""
    if failure == "shield-killed" and state != "fresh":
        page.hold()
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(world.edge.get, "/x", timeout=20)
            page.wait_held(1)
            before = page.hits
            world.near.kill()
            page.wait_hits(before + 1)
            page.release()
            return running.result()
    if failure == "shield-slow" and state != "fresh":
        failed = world.edge.metric('selvage_upstream_probes_total{result="failed"}')
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(world.edge.get, "/x", timeout=20)
            world.edge.wait_for_metric('selvage_upstream_probes_total{result="failed"}', failed + 1)
            world.near.process.send_signal(signal.SIGCONT)
            return running.result()
    if failure == "origin-killed" and state != "fresh":
        page.hold()
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(world.edge.get, "/x", timeout=20)
            page.wait_held(1)
            assert page.hits > 0
            world.origin.kill()
            return running.result()
    if failure == "shield-killed":
        world.near.kill()
    elif failure == "origin-killed":
        world.origin.kill()
    return world.edge.get("/x", timeout=20)


def record(failure, state, r, requests):
    d = ROOT / os.environ.get("SELVAGE_BUILD", "build/release") / "failover-table"
    d.mkdir(parents=True, exist_ok=True)
    status = r.cache_status.split(", ")[-1].replace("|", "\\|")
    (d / f"{failure}.{state}").write_text(
        f"{r.status}{'' if r.complete else ', cut'}; `{status}`; {r.first_byte_s * 1000:.0f} ms; {requests}")
    write_table(d)


def write_table(d):
    cells = {f.name: f.read_text() for f in d.iterdir() if not f.name.startswith(".")}
    if any(f"{f}.{s}" not in cells for f in FAILURES for s in STATES):
        return
    lines = [f"Time-outs of the origin here: connection {CONNECT} ms, first byte {FIRST_BYTE} ms, body {IDLE} ms.  In "
             "each cell: status; what the edge adds to `Cache-Status`; time to the first byte; requests at the origin.", "",
             "| what fails | fresh copy | stale copy | nothing stored |", "|---|---|---|---|"]
    lines += [f"| {name} | " + " | ".join(cells[f"{f}.{s}"] for s in STATES) + " |" for f, name in FAILURES.items()]
    temporary = d / f".table-{os.getpid()}"
    temporary.write_text("\n".join(lines) + "\n")
    temporary.rename(d.parent / "failover-table.md")


@pytest.fixture
def world(request, make_world, origin_process):
    failure = getattr(request, "param", None)
    w = make_world(origin=origin_process()) if failure in IN_A_PROCESS else make_world()
    w.stopped = None
    yield w
    if w.stopped is not None:
        w.stopped.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("world, failure", [(f, f) for f in FAILURES], indirect=["world"], ids=FAILURES)
def test_failover_table(world, failure, state):
    cell = CELLS[failure][STATES.index(state)]
    page = world.page(cache_control="max-age=600" if state == "fresh" else "max-age=0", etag='"1"')
    if state != "nothing":
        world.edge.fill("/x")
        assert world.requests == 1
    world.before += world.requests
    fail(world, failure)
    r = ask(world, page, failure, state)
    if failure == "origin-stopped":
        world.origin.go_on()
        until(lambda: world.requests == cell.requests, f"{cell.requests} requests to have reached the origin")
    record(failure, state, r, world.requests)
    assert r.status == cell.status, r
    assert without_ttl(r.cache_status.split(", ")[-1]) == cell.says
    assert r.complete == cell.whole
    assert world.requests == cell.requests
    assert r.first_byte_s * 1000 <= cell.ms * SLOWER, r.first_byte_s
    assert world.edge.metric(MOVED) == cell.moves
    if r.complete and r.status == 200:
        assert r.body == BODY
    if r.status in (502, 503, 504) and failure != "origin-503":
        assert r.field("retry-after") is not None


def test_the_readme_shows_this_table():
    rows = {line.split(" | ")[0]: line.split(" | ")[1:] for line in
            (line.strip("| ") for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| "))}
    for failure, name in FAILURES.items():
        assert name in rows, f"the README says nothing of: {name}"
        assert len(rows[name]) == len(STATES)
        for cell, text in zip(CELLS[failure], rows[name]):
            m = re.fullmatch(r"(\d+)(, cut)?; `([^`]*)`; (\d+) ms; (\d+)", text)
            assert m, text
            assert (int(m[1]), m[2] is None, without_ttl(m[3]), int(m[5])) == \
                (cell.status, cell.whole, cell.says, cell.requests), (name, text)
            assert int(m[4]) <= cell.ms, (name, text)


# ---- beside it ----

def test_keys_are_spread_and_each_is_asked_for_once(make_world, origin):
    world = make_world(edges=2)
    pages = [origin.page(f"/{i}", f"page {i}", cache_control="max-age=600") for i in range(20)]
    for edge in world.edges:
        for i in range(20):
            assert edge.get(f"/{i}").body == f"page {i}".encode()
    assert [p.hits for p in pages] == [1] * 20
    each = [s.metric('selvage_requests_total{verdict="miss"}') for s in world.shields]
    assert min(each) >= 4, each


def test_a_slow_origin_costs_one_request_for_three_edges(make_world, origin):
    world = make_world(edges=3, site={"origin": {"servers": [origin.url], "allow_local": True}})
    page = world.page(cache_control="max-age=600")
    page.hold()
    with ThreadPoolExecutor(30) as pool:
        waiting = [pool.submit(e.get, "/x", timeout=30) for e in world.edges for _ in range(10)]
        for e in world.edges:
            e.wait_for_metric("selvage_collapse_waiters", 9)
        world.near.wait_for_metric("selvage_collapse_waiters", 2)
        page.release()
        replies = [w.result(timeout=30) for w in waiting]
    assert {(r.status, r.body) for r in replies} == {(200, BODY)}
    assert world.requests == 1


@pytest.mark.long
@pytest.mark.limit(120)
def test_an_origin_that_takes_20_s_is_asked_once_by_300_clients(make_world, origin):
    """With the time-outs that there are by default: nobody gives up, moves on, or asks again."""
    world = make_world(edges=3, site={"origin": {"servers": [origin.url], "allow_local": True}})
    page = world.page(cache_control="max-age=600")
    page.hold()
    with ThreadPoolExecutor(300) as pool:
        waiting = [pool.submit(e.get, "/x", timeout=60) for e in world.edges for _ in range(100)]
        page.wait_held(1)
        time.sleep(20)  # the origin's, which is what this test is about
        for e in world.edges:
            e.wait_for_metric("selvage_collapse_waiters", 99)
        page.release()
        replies = [w.result(timeout=60) for w in waiting]
    assert {(r.status, r.body) for r in replies} == {(200, BODY)}
    assert world.requests == 1
    assert [e.metric(MOVED) for e in world.edges] == [0, 0, 0]
    assert sum("collapsed" in r.cache_status.split(", ")[-1] for r in replies) == 297
    for e in world.edges:
        e.wait_idle()
        assert e.get("/x").is_hit


def test_a_shield_that_is_back_gets_its_keys_again(world):
    world.page(cache_control="no-store")
    stop_process(world, world.near)
    world.edge.wait_for_metric(SERVERS_DOWN, 1)
    assert world.edge.get("/x").status == 200
    assert world.near.process.poll() is None
    world.near.process.send_signal(signal.SIGCONT)
    world.edge.wait_for_metric_at_most(SERVERS_DOWN, 0)
    before = asked(world.near, "/x")
    assert world.edge.get("/x").status == 200
    until(lambda: asked(world.near, "/x") > before, "the shield to be asked again")


def test_a_post_is_not_sent_twice(world, origin):
    page = world.page(cache_control="no-store")
    page.hold()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(world.edge.get, "/x", "POST", body=b"once", timeout=20)
        page.wait_held(1)
        world.near.kill()
        r = running.result()
    page.release()
    assert r.status == 502 and r.cache_status.split(", ")[-1].endswith("detail=closed")
    assert world.requests == 1
    assert world.edge.metric(MOVED) == 0
    # one that has not left yet may go elsewhere
    assert world.edge.get("/x", "POST", body=b"once", timeout=20).status == 200
    assert world.requests == 2


def test_a_draining_shield_is_left(world):
    """What it has begun it finishes; what comes on a connection that is open goes to the other one."""
    page = world.page(cache_control="no-store")
    page.hold()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(world.edge.get, "/x", timeout=20)
        page.wait_held(1)
        world.near.process.send_signal(signal.SIGTERM)
        world.near.wait_said("draining")
        page.release()
        assert running.result().status == 200
    assert world.edge.get("/x").status == 200
    assert world.requests == 2


def test_a_draining_shield_says_so_on_open_connections(shield, origin):
    page = origin.page("/hold", "held")
    origin.page("/a", "a")
    page.hold()
    with shield.connect() as open_one, ThreadPoolExecutor(1) as pool:
        assert open_one.request("/a", host="www.test").status == 200
        running = pool.submit(shield.ask, "/hold")
        page.wait_held(1)
        shield.process.send_signal(signal.SIGTERM)
        shield.wait_said("draining")
        r = open_one.request("/a", host="www.test")
        assert (r.status, r.field("selvage-error")) in [(503, "draining")], r
        page.release()
        assert running.result().status == 200


def test_direct_refused_is_obeyed(make_world):
    world = make_world(direct=False)
    world.page(cache_control="max-age=0", etag='"1"')
    world.edge.fill("/x")
    world.before += world.requests
    for s in world.shields:
        s.kill()
    r = world.edge.get("/x")
    assert r.status == 200 and "fwd=stale" in r.cache_status and r.body == BODY
    world.edge.wait_for_metric(SERVERS_DOWN, 2)
    r = world.edge.get("/other")
    assert r.status == 503 and "detail=down" in r.cache_status
    assert world.requests == 0


def test_a_stand_in_is_passed_on_and_not_stored(world, origin):
    """The shield has a stale copy, the edge has none, and the origin is gone."""
    page = world.page(cache_control="max-age=0", etag='"1"')
    assert world.near.ask("/x").status == 200
    world.near.wait_stored(1)
    world.near.wait_idle()
    world.before += world.requests
    origin.refuse()
    for _ in range(2):
        r = world.edge.get("/x")
        assert r.status == 200 and r.body == BODY
        assert r.field("selvage-error") is None
        assert "stored" not in r.cache_status.split(", ")[-1]
    assert world.edge.metric("selvage_store_published_total") == 0
    assert page.hits == 2


def test_a_shield_marks_what_its_origin_did(shield, origin):
    page = origin.page("/a", "a", cache_control="max-age=0", etag='"1"')
    assert shield.ask("/a").field("selvage-error") is None
    shield.wait_stored(1)
    shield.wait_idle()
    page.fault = "503"
    assert shield.ask("/a").field("selvage-error") is None
    origin.refuse()
    r = shield.ask("/a")
    assert (r.status, r.field("selvage-error")) == (200, "origin-refused")
    r = shield.ask("/b")
    assert (r.status, r.field("selvage-error")) == (503, "origin-refused")
    for _ in range(9):
        shield.ask("/b")
    r = shield.ask("/b")
    assert (r.status, r.field("selvage-error")) == (503, "breaker-open")
    assert r.field("retry-after") is not None


def test_the_mark_of_a_stranger_means_nothing(make_edge, origin):
    edge = make_edge(origin)
    origin.page("/a", "a", status=503, fields=[("Selvage-Error", "origin-timeout")])
    r = edge.get("/a")
    assert r.status == 503 and r.body == b"a"
    assert r.field("selvage-error") is None


def test_fields_of_the_fleet_stay_in_it(world, origin):
    world.page(cache_control="no-store")
    assert world.edge.get("/x").status == 200
    for s in world.shields:
        s.kill()
    assert world.edge.get("/x").status == 200
    through, direct = origin.requests[-2:]
    for r in (through, direct):
        assert not [n for n, _ in r.fields if n.lower().startswith("selvage-")], r.fields
        assert len(r.all("cdn-loop")) == 1
    assert world.edge.metric(DIRECT) == 1


# ---- several servers of an origin ----

def test_a_server_that_is_down_by_its_probes_is_not_asked(make_edge, make_origin):
    good, bad = make_origin(), make_origin()
    for o in (good, bad):
        o.page("/up", "up")
        for i in range(20):
            o.page(f"/{i}", "x", cache_control="no-store")
    bad.page("/up", "ill", status=500)
    edge = make_edge(good, site={"origin": {"servers": [good.url, bad.url], "allow_local": True,
                                            "health": {"path": "/up", "every": "100ms"}}})
    edge.wait_for_metric(SERVERS_DOWN, 1)
    for i in range(20):
        assert edge.get(f"/{i}").status == 200
    assert len([r for r in bad.requests if r.path != "/up"]) <= 0
    assert {r.field("host") for r in good.requests if r.path == "/up"} == {"www.test"}
    bad.page("/up", "well")
    edge.wait_for_metric_at_most(SERVERS_DOWN, 0)
    edge.reload()
    assert edge.metric(SERVERS_DOWN) == 0


def test_weights_are_heeded(make_edge, make_origin):
    a, b = make_origin(), make_origin()
    for o in (a, b):
        for i in range(40):
            o.page(f"/{i}", "x", cache_control="no-store")
    edge = make_edge(a, site={"origin": {"servers": [a.url, b.url], "weights": [3, 1], "allow_local": True}})
    for i in range(40):
        assert edge.get(f"/{i}").status == 200
    assert (len(a.requests), len(b.requests)) == (30, 10)


def test_hash_keeps_each_object_at_one_server(make_edge, make_origin):
    a, b = make_origin(), make_origin()
    for o in (a, b):
        for i in range(20):
            o.page(f"/{i}", "x", cache_control="no-store")
    edge = make_edge(a, site={"origin": {"servers": [a.url, b.url], "balance": "hash", "allow_local": True}})
    for _ in range(3):
        for i in range(20):
            assert edge.get(f"/{i}").status == 200
    at = [{r.path for r in o.requests} for o in (a, b)]
    assert not at[0] & at[1] and min(len(x) for x in at) >= 4
