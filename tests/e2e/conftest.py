"""Fixtures.  A test that fails shows what its daemons wrote, and keeps their directories."""
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from testenv.certs import Authority
from testenv.edge import BUILD, HOSTS, Edge
from testenv.origin import Origin
from testenv.shield import Fleet, Shield
from testenv.wait import seconds


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes more than seconds; make check-long runs it")
    config.addinivalue_line("markers", "limit(seconds): a test that may take longer than the others")


def pytest_collection_modifyitems(config, items):
    if os.environ.get("SELVAGE_LONG") or config.option.markexpr:
        return
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="long: make check-long runs it"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        item.has_failed = True
        for e in getattr(item, "edges", []):
            report.sections.append((f"{e.PROGRAM} in {e.directory}", e.show()))


@pytest.fixture(autouse=True)
def time_limit(request):
    """A test that hangs fails, and the others go on."""
    marker = request.node.get_closest_marker("limit")
    limit = seconds(marker.args[0] if marker else 60)

    def over(*_):
        raise TimeoutError(f"the test takes longer than {limit:g} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(int(limit))
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority")).issue(*HOSTS)


@pytest.fixture
def directory(request):
    """Under /tmp and short: kept when the test fails."""
    d = Path(tempfile.mkdtemp(prefix="selvage-e2e-"))
    yield d
    if not getattr(request.node, "has_failed", False):
        shutil.rmtree(d, ignore_errors=True)


@pytest.fixture
def make_origin():
    made = []

    def make(**more):
        made.append(Origin(**more))
        return made[-1]

    yield make
    for o in made:
        o.close()


@pytest.fixture
def origin(make_origin):
    return make_origin()


@pytest.fixture
def daemons(request, directory):
    """All that a test has started; stopped in the order of their start, edges and shields alike."""
    request.node.edges = edges = []
    yield edges
    try:
        for e in edges:
            e.close()
    except BaseException:
        request.node.has_failed = True
        raise
    finally:
        for e in edges:
            e.destroy()


@pytest.fixture
def make_edge(daemons, directory, authority):
    """make_edge(origin, site={...}, config={...}): a daemon that is ready; start=False: one that is
    not started yet."""
    def make(origin=None, start=True, authority=authority, **more):
        e = Edge(directory / f"edge-{len(daemons)}", authority, origin, **more)
        daemons.append(e)
        return e.start() if start else e
    return make


@pytest.fixture
def fleet(directory):
    """A CA, and certificates of nodes."""
    return Fleet(directory / "pki")


@pytest.fixture
def make_shield(daemons, directory, fleet):
    """make_shield(origin, name="shield", site={...}, config={...}): as make_edge()."""
    def make(origin=None, start=True, **more):
        s = Shield(directory / f"shield-{len(daemons)}", fleet, origin, **more)
        daemons.append(s)
        return s.start() if start else s
    return make


@pytest.fixture
def shield(make_shield, origin):
    """A shield with one site, www.test, in front of `origin`."""
    return make_shield(origin)


@pytest.fixture
def edge(make_edge, origin):
    """A daemon with one site, www.test, in front of `origin`."""
    return make_edge(origin)


@pytest.fixture
def selvage(directory):
    """The command line tool, with a home of its own."""
    def run(*words, env=None, timeout=30):
        keep = {n: v for n, v in os.environ.items() if n == "PATH" or n.endswith("SAN_OPTIONS")}
        return subprocess.run([BUILD / "selvage", *map(str, words)], env={**keep, "HOME": str(directory), **(env or {})},
                              text=True, capture_output=True, timeout=seconds(timeout), check=False,
                              stdin=subprocess.DEVNULL)
    return run
