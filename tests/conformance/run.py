#!/usr/bin/python3
"""The public suite of tests for HTTP caches, against real daemons of ours.

    tests/conformance/run.py [--suite DIR] [--ways WAY,...] [--id ID]

WAY is one of
    http1           HTTP/1.1, one edge
    https           HTTP/1.1 over TLS, one edge
    http2           HTTP/2, one edge: the suite's requests and checks with a fetch of ours
    http1-shield    HTTP/1.1, an edge behind a shield
    http2-shield    HTTP/2, the same
and the default is all of them.  All run at once: they mostly wait.

Many of the suite's tests count on a machine that answers within a second or two.  So a way in which something fails that
is not in allowed.tsv is run a second time, alone; what passes then has passed, and that is said.

Prints a table, what failed and why, and as its last line `required P/T optimal P/T`: a test counts as passed when it
passed in every way.  The ids of those that did not go to build/conformance/failed.txt.  Exit status: 0 when nothing
failed that is not in allowed.tsv, 1 when something did, 77 when the suite could not be had.
"""
import argparse
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests/e2e"))

from testenv.certs import Authority  # noqa: E402
from testenv.edge import HOSTS, Edge  # noqa: E402
from testenv.ports import free_ports  # noqa: E402
from testenv.shield import Fleet, Shield  # noqa: E402
from testenv.wait import seconds, until  # noqa: E402

PACKAGE, VERSION = "http-cache-tests", "0.4.5"
WORK = ROOT / "build/conformance"
WAYS = ("http1", "https", "http2", "http1-shield", "http2-shield")
SKIPPED = 77
INSTALL_S, RUN_S = 120, 600
HOST = "localhost"
# The suite wants a cache that follows the RFCs where ours is careful by default.
SITE = {"name": "suite", "hosts": [HOST], "set_cookie": "rfc"}


class Unavailable(Exception):
    """No suite, or nothing to run it with."""


# ---- the suite ----

def npm_install(folder, *what):
    """Into `folder`; nothing of what is installed is run."""
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("npm is not installed (Debian: apt-get install npm)")
    command = [npm, "install", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund",
               "--no-package-lock", "--omit=dev", "--fetch-timeout=20000", "--fetch-retries=1", *what]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, stdin=subprocess.DEVNULL,
                              cwd=folder, check=False)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"npm took longer than {INSTALL_S} s") from None
    if done.returncode != 0:
        raise Unavailable(f"npm could not install {' '.join(what) or folder}:\n{done.stderr.strip()[-500:]}")


def published_suite():
    """The package of the npm registry, installed once."""
    home = WORK / f"suite-{VERSION}"
    suite = home / "node_modules" / PACKAGE
    if not (home / "whole").exists():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        npm_install(home, f"{PACKAGE}@{VERSION}")
        (home / "whole").touch()
    return suite


def other_suite(folder):
    """A checkout.  One without its dependencies is copied, and gets them there."""
    folder = Path(folder).resolve()
    if not (folder / "package.json").exists():
        sys.exit(f"conformance: {folder} has no package.json: is it a checkout of the suite?")
    parents = [folder, *folder.parents]
    if any((p / "node_modules").is_dir() for p in parents) or folder.parent.name == "node_modules":
        return folder
    copy = WORK / "suite-other"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(".git", "build"))
    npm_install(copy)
    return copy


class Suite:
    def __init__(self, folder, node):
        self.folder, self.node = folder, node
        self.package = json.loads((folder / "package.json").read_text())
        text = self.run([node, str(HERE / "driver.mjs"), "list", str(folder)], {}, 60)
        # What the suite runs only in browsers is not for a cache in front of servers.
        self.tests = {t["id"]: {**t, "kind": t.get("kind", "required"), "group": s["name"]}
                      for s in json.loads(text) for t in s["tests"] if not t.get("browser_only")}

    def environment(self, **settings):
        """As npm would run it."""
        given = {f"npm_package_config_{k}": str(v) for k, v in self.package.get("config", {}).items()}
        return {**os.environ, **given, **{f"npm_config_{k}": str(v) for k, v in settings.items()}}

    def script(self, name, *before):
        """The command of a script of package.json, without a shell's `&`; with these options of node."""
        words = self.package["scripts"][name].replace("&", " ").split()
        return [self.node, *before, *words[1:]]

    def run(self, command, environment, limit):
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds(limit), cwd=self.folder,
                              env={**os.environ, **environment}, stdin=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            sys.exit(f"conformance: {' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
        return done.stdout

    def serve(self, directory):
        """Start its origin; (process, port)."""
        for _ in range(5):
            port, = free_ports(1)
            log = open(directory / "origin.log", "wb")
            process = subprocess.Popen(self.script("server"), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log,
                                       stderr=log, start_new_session=True, env=self.environment(
                                           port=port, protocol="http", pidfile=directory / "origin.pid"))
            said = directory / "origin.log"
            until(lambda: b"Listening on" in said.read_bytes() or process.poll() is not None, "the suite's origin", 30)
            if process.poll() is None:
                return process, port
        sys.exit(f"conformance: the suite's origin does not start:\n{said.read_text()[-2000:]}")


# ---- the daemons ----

def start_way(way, directory, authority, origin):
    """The daemons of one way; (what to stop, base URL)."""
    # All of its tests ask at once, and its origin is one thread of node.
    site = {**SITE, "origin": {"servers": [origin], "allow_local": True, "queue": 1024}}
    daemons = []
    directory.mkdir(parents=True)
    if way.endswith("-shield"):
        fleet = Fleet(directory / "pki")
        shield = Shield(directory / "shield", fleet, sites=[site]).start()
        daemons.append(shield)
        edge = Edge(directory / "edge", authority, sites=[site], config={
            "peer": fleet.peer("edge"), "node": "edge", "upstream": {"shields": [[shield.url]]}})
    else:
        edge = Edge(directory / "edge", authority, sites=[site])
    authority.copy_to(edge.tls_directory, HOST)
    daemons.insert(0, edge.start())
    if way.startswith("http1"):
        return daemons, f"http://{HOST}:{edge.plain_port}"
    return daemons, f"https://{HOST}:{edge.port}"


def run_way(way, suite, directory, authority, origin, only):
    """The suite's results: {id: True | [name, message]}."""
    daemons, base = start_way(way, directory, authority, origin)
    try:
        trust = {"NODE_EXTRA_CA_CERTS": str(authority.ca)}
        if way.startswith("http2"):
            text = suite.run([suite.node, str(HERE / "driver.mjs"), "http2", str(suite.folder), base], trust, RUN_S)
        else:
            text = suite.run(suite.script("cli", "--import", str(HERE / "interim.mjs")), {**suite.environment(base=base, id=only), **trust}, RUN_S)
            if only:
                print(text)
                return {}
        # Its server and its checks may say something first.
        return json.loads(text[text.index("{"):])
    finally:
        for d in daemons:
            d.close()


# ---- judging ----

def judge(tests, results):
    """{id: (passed, why)}: as the suite's own table, a test counts only if those that it depends on passed."""
    def passed(i):
        return results.get(i) is True and all(passed(d) for d in tests[i].get("depends_on", []) if d in tests)

    def why(i):
        r = results.get(i)
        if r is None:
            return "was not run"
        return ": ".join(map(str, r)) if r is not True else "depends on one that failed"

    return {i: (True, "") if passed(i) else (False, why(i)) for i in tests}


def unexpected(tests, results, allowed):
    verdict = judge(tests, results)
    return [i for i, t in tests.items() if t["kind"] != "check" and not verdict[i][0] and i not in allowed]


def read_allowed():
    """allowed.tsv: id, section, reason."""
    with open(HERE / "allowed.tsv", newline="") as f:
        rows = [r for r in csv.reader(f, delimiter="\t") if r and not r[0].startswith("#")]
    for r in rows:
        if len(r) != 3 or not all(r):
            sys.exit(f"conformance: allowed.tsv: a line has an id, a section and a reason, divided by tabs: {r}")
    return {r[0]: (r[1], r[2]) for r in rows}


def count(tests, verdicts, kind, group=None):
    mine = [i for i, t in tests.items() if t["kind"] == kind and group in (None, t["group"])]
    return sum(all(v[i][0] for v in verdicts) for i in mine), len(mine)


def print_table(tests, verdicts):
    print(f"{'':44}{'required':>10}{'optimal':>10}{'check':>10}")
    groups = list(dict.fromkeys(t["group"] for t in tests.values()))
    for name, group in [*((g, g) for g in groups), ("all", None)]:
        cells = (count(tests, verdicts.values(), kind, group) for kind in ("required", "optimal", "check"))
        print(f"{name[:43]:44}" + "".join(f"{f'{p}/{t}' if t else '':>10}" for p, t in cells))
    print()
    for way, verdict in verdicts.items():
        cells = (count(tests, [verdict], kind) for kind in ("required", "optimal", "check"))
        print(f"{way:44}" + "".join(f"{f'{p}/{t}':>10}" for p, t in cells))


def report(tests, results, verdicts, allowed):
    """Print all there is to say; False when something failed that may not."""
    print_table(tests, verdicts)
    bad = {i: {w: v[i][1] for w, v in verdicts.items() if not v[i][0]} for i, t in tests.items()
           if t["kind"] != "check" and not all(v[i][0] for v in verdicts.values())}
    # `check` tests have no right answer, but the same one over every protocol.
    for i, t in tests.items():
        failed = {w for w, v in verdicts.items() if not v[i][0]}
        if failed and len(failed) < len(verdicts):
            print(f"differs: {i} ({t['kind']}): passes not over {', '.join(sorted(failed))}: "
                  f"{next(v[i][1] for w, v in verdicts.items() if w in failed)}")
    for i in bad:
        reason = next(iter(bad[i].values()))
        if i in allowed:
            print(f"allowed: {i} ({tests[i]['kind']}): {allowed[i][0]}: {allowed[i][1]}")
        else:
            print(f"FAILED: {i} ({tests[i]['kind']}; {', '.join(bad[i])}): {reason}")
    for i in allowed:
        if i in tests and i not in bad:
            print(f"note: {i} passes, and stands in allowed.tsv")
    file = WORK / "failed.txt"
    file.write_text("".join(f"{i}\n" for i in bad))
    replayed = sum(i in results["http2"] for i in tests) if "http2" in results else 0
    if replayed:
        print(f"over HTTP/2: {replayed} of {len(tests)} tests")
    print(f"what did not pass: {file.relative_to(ROOT)}")
    required, optimal = (count(tests, verdicts.values(), kind) for kind in ("required", "optimal"))
    print(f"required {required[0]}/{required[1]} optimal {optimal[0]}/{optimal[1]}")
    return not set(bad) - set(allowed)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--suite", help="a checkout of the suite instead of the published one")
    p.add_argument("--ways", default=",".join(WAYS))
    p.add_argument("--id", default="", help="one test, told in full, over HTTP/1.1")
    a = p.parse_args()
    ways = ["http1"] if a.id else a.ways.split(",")
    if set(ways) - set(WAYS):
        p.error(f"ways are {', '.join(WAYS)}")
    node = shutil.which("node")
    WORK.mkdir(parents=True, exist_ok=True)
    try:
        if node is None:
            raise Unavailable("node is not installed (Debian: apt-get install nodejs npm)")
        suite = Suite(other_suite(a.suite) if a.suite else published_suite(), node)
    except Unavailable as e:
        print(f"conformance: {e}", file=sys.stderr)
        return SKIPPED
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    directory = Path(tempfile.mkdtemp(prefix="selvage-conformance-"))
    server = None
    try:
        authority = Authority(directory / "authority").issue(HOST, *HOSTS)
        server, port = suite.serve(directory)
        def run(way, place):
            return run_way(way, suite, directory / place / way, authority, f"http://127.0.0.1:{port}", a.id)

        with ThreadPoolExecutor(len(ways)) as pool:
            jobs = {w: pool.submit(run, w, "first") for w in ways}
            results = {w: j.result() for w, j in jobs.items()}
        if a.id:
            return 0
        allowed = read_allowed()
        for w in ways:
            failed = unexpected(suite.tests, results[w], allowed)
            if failed:
                again = run(w, "second")
                better = [i for i in failed if again.get(i) is True]
                print(f"{w}: passed only when run alone: {' '.join(better) or 'nothing'}")
                results[w].update({i: True for i in better})
            (WORK / f"results-{w}.json").write_text(json.dumps(results[w], indent=1))
        good = report(suite.tests, results, {w: judge(suite.tests, results[w]) for w in ways}, allowed)
        if good:
            shutil.rmtree(directory, ignore_errors=True)
        return 0 if good else 1
    finally:
        if server is not None:
            server.kill()
            server.wait(10)


if __name__ == "__main__":
    sys.exit(main())
