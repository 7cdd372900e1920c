"""A shield, three edges and a crowd: one request at the origin, receipts of purges, ten minutes without an owner.

The drivers are programs of tests/load (`make load`).  SELVAGE_STORM_ROUNDS=2,
SELVAGE_STORM_CLIENTS=300 and SELVAGE_OWNER_DEAD_S=120 are short forms for trying by hand.
"""
import contextlib
import os
import re
import select
import subprocess
import time

import pytest

from testenv.edge import BUILD
from testenv.ports import free_ports
from testenv.priority import before_others
from testenv.wait import seconds, until

pytestmark = pytest.mark.long

EDGES = 3
PURGES = 300
RECEIPT_MS = 150
OBJECTS = 1000
ROUNDS = int(os.environ.get("SELVAGE_STORM_ROUNDS", "20"))
CLIENTS = int(os.environ.get("SELVAGE_STORM_CLIENTS", "1000"))
OWNER_DEAD_S = int(os.environ.get("SELVAGE_OWNER_DEAD_S", "600"))
GRACE_S = 60


class Crowd:
    """Their origin is a driver, at `origin_port`."""

    def __init__(self, make_edge, make_shield, fleet, **origin):
        self.origin_port = free_ports(1)[0]
        site = {"origin": {"servers": [f"http://127.0.0.1:{self.origin_port}"], "allow_local": True,
                           "idle_timeout": "120s", **origin}}
        size = {"store": {"size": "2GiB"}}
        self.shield = make_shield(site=site, config=size)
        self.edges = [make_edge(site=site, config={
            **size, "node": f"edge-{i}", "peer": fleet.peer(f"edge-{i}"),
            "upstream": {"shields": [[self.shield.url]], "direct": "allowed"}}) for i in range(EDGES)]

    @property
    def words(self):
        """For a driver."""
        return ["--edge", ",".join(str(e.port) for e in self.edges), "--origin", self.origin_port, "--host", "www.test"]


@pytest.fixture
def make_crowd(make_edge, make_shield, fleet):
    return lambda **origin: Crowd(make_edge, make_shield, fleet, **origin)


@contextlib.contextmanager
def hits(crowd, *words):
    """The driver, from its beginning; when the block ends it ends, and must have nothing to complain of."""
    path = BUILD / "tests/load/hits"
    assert path.exists(), f"{path} is not there: make load"
    p = subprocess.Popen([path, *map(str, [*crowd.words, *words])], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True)
    try:
        assert select.select([p.stdout], [], [], seconds(90))[0], "the driver says nothing"
        line = p.stdout.readline()
        assert line == "filled\n", line + p.stdout.read()
        for node in (*crowd.edges, crowd.shield):
            node.wait_idle()
        p.stdin.write("begin\n")
        p.stdin.flush()
        yield p
        p.stdin.close()
        said = p.stdout.read()
        print(said)
        assert p.wait(seconds(30)) == 0, said
    finally:
        p.kill()
        p.wait(10)


@pytest.mark.limit(3000)
def test_a_thousand_clients_over_three_edges_on_one_cold_object(make_crowd):
    """Twenty times: one request at the origin, which stops in the middle until everybody has half of the body."""
    crowd = make_crowd()
    pids = ",".join(str(n.pid) for n in (*crowd.edges, crowd.shield))
    words = [*crowd.words, "--pid", pids, "--rounds", ROUNDS, "--clients", CLIENTS, "--slow", CLIENTS // 10,
             "--leave", CLIENTS // 10]
    done = subprocess.run([BUILD / "tests/load/storm", *map(str, words)], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=seconds(2900), check=False, stdin=subprocess.DEVNULL)
    print(done.stdout)
    assert done.returncode == 0, done.stdout


def share(values, part):
    return sorted(values)[int((len(values) - 1) * part)]


TOOK = re.compile(r"\((\d+) ms\)")


@pytest.mark.limit(600)
def test_receipts_of_purges_under_load(make_crowd, selvage):
    """`selvage purge --wait`, as it says itself: from sending the purge to the last edge's word."""
    took, waited = [], []
    with before_others():
        crowd = make_crowd()
        with hits(crowd, "--rate", 1000, "--objects", OBJECTS):
            for i in range(PURGES):
                began = time.monotonic()
                done = selvage("--node", f"http://127.0.0.1:{crowd.shield.admin_port}", "purge", "--wait",
                               f"https://www.test/o/{i * 7 % OBJECTS}")
                waited.append((time.monotonic() - began) * 1000)
                lines = done.stdout.splitlines()
                assert done.returncode == 0 and len(lines) == 1 + EDGES, done
                assert all(re.match(r"  edge-\d  applied ", line) for line in lines[1:]), done
                times = [int(TOOK.search(line)[1]) for line in lines]
                took.append(times[0] + max(times[1:]))
    print(f"{PURGES} purges, ms from sending it to the receipt: p50 {share(took, .5)}, p99 {share(took, .99)}, "
          f"most {max(took)}; with the start of the tool: p50 {share(waited, .5):.0f}, p99 {share(waited, .99):.0f}")
    assert share(took, .99) <= seconds(RECEIPT_MS)


@pytest.mark.limit(OWNER_DEAD_S + 200)
def test_an_owner_that_is_dead_for_long(make_crowd):
    """1,000 hits a second on 1,000 objects: each edge asks the origin for each of them once a minute at most."""
    crowd = make_crowd()
    with hits(crowd, "--rate", 1000, "--objects", OBJECTS, "--apart", GRACE_S * 1000 - 500):
        crowd.shield.kill()
        ends = time.monotonic() + OWNER_DEAD_S
        until(lambda: all("out of reach" in e.admin("GET", "/readyz")[1] for e in crowd.edges), "the leases to end", 90)
        while time.monotonic() < ends:  # the time is what this test is about
            time.sleep(1)
            assert all(e.is_running for e in crowd.edges)
        crowd.shield.start()
        until(lambda: all("out of reach" not in e.admin("GET", "/readyz")[1] for e in crowd.edges),
              "the leases to come back", 20)
        position = crowd.shield.purge(url="https://www.test/o/1")
        until(lambda: all(e.status()["positions"]["n"] == position["n"] for e in crowd.edges), "the purge to arrive")
