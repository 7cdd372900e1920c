"""Crowds: a thousand clients on one cold object, a thousand event streams, floods, a million objects.

The drivers are programs of tests/load (`make load`): each prints its figures, and ends with 1 when a promise
is broken, each of which it tells in a line that begins with BROKEN."""
import re
import subprocess
import time
from pathlib import Path

import pytest

from testenv.client import H1, Closed
from testenv.edge import BUILD
from testenv.ports import free_ports
from testenv.priority import before_others
from testenv.wait import seconds

pytestmark = pytest.mark.long

MILLION = 1_000_000


def drive(program, *words, timeout):
    path = BUILD / program
    assert path.exists(), f"{path} is not there: make load"
    done = subprocess.run([path, *map(str, words)], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=seconds(timeout), check=False, stdin=subprocess.DEVNULL)
    print(done.stdout)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def crowd_edge(make_edge):
    """An edge whose origin is the driver, at `edge.origin_port`."""
    def make(**site):
        port = free_ports(1)[0]
        edge = make_edge(site={"origin": {"servers": [f"http://127.0.0.1:{port}"], "allow_local": True,
                                          "connections": 1200, "idle_timeout": "120s"}, **site},
                         config={"store": {"size": "2GiB"}})
        edge.origin_port = port
        return edge
    with before_others():
        yield make


@pytest.mark.limit(3000)
def test_a_thousand_clients_on_one_cold_object_twenty_times(crowd_edge):
    edge = crowd_edge()
    drive("tests/load/storm", "--edge", edge.port, "--origin", edge.origin_port, "--host", "www.test",
          "--pid", edge.pid, timeout=2900)


@pytest.mark.limit(200)
@pytest.mark.parametrize("protocol", ["h1", "h2"])
def test_a_thousand_event_streams(crowd_edge, protocol):
    edge = crowd_edge(rules=[{"path": "/ticks/*", "cache": "off", "stream": True}])
    drive("tests/load/ticks", "--edge", edge.port, "--origin", edge.origin_port, "--host", "www.test",
          "--protocol", protocol, timeout=180)


@pytest.mark.limit(200)
@pytest.mark.parametrize("protocol", ["h1", "h2"])
def test_event_streams_through_both_tiers(make_edge, make_shield, fleet, protocol):
    """Five hundred: two cores carry the origin, the clients and both daemons, whose hops are all in TLS."""
    port = free_ports(1)[0]
    site = {"origin": {"servers": [f"http://127.0.0.1:{port}"], "allow_local": True, "connections": 1200},
            "rules": [{"path": "/ticks/*", "cache": "off", "stream": True}]}
    with before_others():
        shield = make_shield(None, site=site)
        edge = make_edge(None, site=site, config={"node": "edge-a", "peer": fleet.peer("edge-a"), "upstream": {
            "shields": [[shield.url]], "direct": "refused"}})
        drive("tests/load/ticks", "--edge", edge.port, "--origin", port, "--host", "www.test",
              "--protocol", protocol, "--streams", 500, timeout=180)


def stored(edge, origin, target, size):
    body = b"w" * size
    origin.page(target, body, cache_control="max-age=600")
    assert edge.fill(target).body == body


@pytest.mark.limit(120)
@pytest.mark.parametrize("connections, limit", [(1, "1MiB"), (10, "1MiB"), (1, "8MiB")])
@pytest.mark.parametrize("size", [1_000_000, 8_388_000])
def test_uploads_that_never_end(make_edge, origin, connections, limit, size):
    edge = make_edge(origin, site={"max_request_body": limit})
    stored(edge, origin, "/1k", 1024)
    drive("tests/load/flood", "uploads", "--edge", edge.port, "--host", "www.test", "--pid", edge.pid,
          "--connections", connections, "--bytes", size, "--good", "/1k", timeout=100)


@pytest.mark.limit(120)
def test_3200_windows_that_never_open(edge, origin):
    stored(edge, origin, "/1k", 1024)
    stored(edge, origin, "/1m", 1 << 20)
    drive("tests/load/flood", "windows", "--edge", edge.port, "--host", "www.test", "--pid", edge.pid,
          "--path", "/1m", "--good", "/1k", timeout=100)


def first_hit_s(edge, target):
    """Start it and ask until it answers: seconds from the start to the answer, which must be a hit."""
    context = edge.authority.client_context("http/1.1")
    start = time.monotonic()
    edge.launch()
    while True:
        assert time.monotonic() - start < seconds(60)
        try:
            with H1(edge.port, context, "www.test") as c:
                r = c.request(target)
        except (ConnectionError, Closed):  # not yet; a probe of the port may have taken it and closed
            time.sleep(0.001)  # and leave the core to it
            continue
        took = time.monotonic() - start
        assert (r.status, r.is_hit, r.body.split(b"\n")[0]) == (200, True, target.rpartition("/")[2].encode())
        return took


READ = re.compile(r"\b(?:read|pread64|readv|preadv2?)\(\d+<(/[^>]*)>")


def reads_at_start(edge, target):
    """How many reads of files it takes to start, to answer one request, and to end."""
    log = edge.directory / "strace.log"
    edge.wrapper = ["strace", "-f", "-y", "-e", "trace=read,pread64,readv,preadv,preadv2", "-o", str(log)]
    first_hit_s(edge, target)
    edge.wrapper = []
    # the process that strace follows is the daemon: end that one, and strace ends with it
    child = Path(f"/proc/{edge.pid}/task/{edge.pid}/children").read_text().split()[0]
    subprocess.run(["kill", "-TERM", child], check=True, timeout=10)
    edge.process.wait(seconds(30))
    text = log.read_text(errors="replace")
    return len([m for m in READ.finditer(text) if not m[1].startswith(("/proc/", "/sys/", "/dev/"))])


@pytest.mark.limit(1800)
def test_a_million_objects_cost_nothing_at_the_start(make_edge, origin):
    count = {}
    for n in (1000, MILLION):
        edge = make_edge(origin, start=False, config={"store": {"size": "16GiB"}})
        edge.write_config()
        drive("storefill", "--host", "www.test", "--site", "www", "--count", n, edge.store, timeout=1500)
        last = f"/o/{n - 1}"
        took = {"SIGTERM": [], "kill -9": []}
        first_hit_s(edge, last)
        assert edge.status()["store"]["objects"] == n
        for k in range(3):  # the best counts: what else the machine does is not the daemon's
            edge.stop()
            with before_others():
                took["SIGTERM"].append(first_hit_s(edge, f"/o/{n // (k + 2)}"))
            edge.kill()
            with before_others():
                took["kill -9"].append(first_hit_s(edge, f"/o/{n // (k + 5)}"))
        edge.kill()
        count[n] = reads_at_start(edge, last)
        for how, times in took.items():
            print(f"{n} objects, after {how}: first hit in {' '.join(f'{t * 1000:.0f}' for t in times)} ms")
        print(f"{n} objects: {count[n]} reads of files")
        assert max(min(times) for times in took.values()) < seconds(0.2)
    assert origin.hits == 0
    assert count[1000] == count[MILLION]
