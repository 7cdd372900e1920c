"""One selvage-edge in a directory of its own, and what can be done to it."""
import json
import os
import re
import signal
import subprocess
from http.client import HTTPConnection
from pathlib import Path

import yaml

from testenv.client import H1, H2
from testenv.ports import free_ports
from testenv.wait import seconds, until

ROOT = Path(__file__).resolve().parents[3]
BUILD = ROOT / os.environ.get("SELVAGE_BUILD", "build/release")
SANITIZED = bool(os.environ.get("SELVAGE_SANITIZER"))
HOSTS = ("www.test", "other.test", "*.wild.test")
SANITIZER_SAYS = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|CHECK failed|Assertion")


class Dumper(yaml.SafeDumper):
    """Without anchors: the daemon knows none."""

    def ignore_aliases(self, data):
        return True


class NotStarted(Exception):
    """A daemon ended before it was ready; `status` and `said` tell how."""

    def __init__(self, status, said):
        super().__init__(f"the daemon ended with {status}:\n{said}")
        self.status, self.said = status, said


class Edge:
    PROGRAM = "selvage-edge"

    def __init__(self, directory, authority, origin=None, site=None, sites=None, config=None, tokens=None,
                 wrapper=(), environment=None, preexec=None):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.authority, self.origin = authority, origin
        self.wrapper, self.environment, self.preexec = list(wrapper), environment or {}, preexec
        self.store = self.directory / "store"
        self.tls_directory = self.directory / "tls"
        if authority is not None:
            authority.copy_to(self.tls_directory, *HOSTS)
        self.tokens, self.token = tokens, None
        if tokens:
            self.token = tokens[0]["secret"]
        self.site = {"name": "www", "hosts": ["www.test", "*.wild.test"]}
        if origin is not None:
            self.site["origin"] = {"servers": [origin.url], "allow_local": True}
        self.site.update(site or {})
        self.sites = sites if sites is not None else [self.site]
        config = dict(config or {})
        self.config = {"store": {"directory": str(self.store), "size": "256MiB", **config.pop("store", {})},
                       "workers": 2, "drain": "5s", "logs": {"access": str(self.directory / "access.log")}, **config}
        self.program = None  # where it is, if not among what was built
        self.redirect = {}  # more keys of the address that redirects
        self.process = None
        self.starts = 0
        self.ended_well = True  # the last process; kill() makes it unimportant
        self.pick_ports()

    # ---- configuration ----

    def pick_ports(self):
        self.port, self.plain_port, self.redirect_port, self.admin_port = free_ports(4)

    @property
    def file(self):
        return self.directory / "edge.yaml"

    def write_config(self):
        listen = [{"address": f"127.0.0.1:{self.plain_port}"}]
        if self.authority is not None:
            listen += [{"address": f"127.0.0.1:{self.port}", "tls": {"certificates": str(self.tls_directory)}},
                       {"address": f"127.0.0.1:{self.redirect_port}", "redirect": "https", **self.redirect}]
        admin = {"listen": f"127.0.0.1:{self.admin_port}"}
        if self.tokens:
            path = self.directory / "tokens.yaml"
            path.touch(mode=0o600)
            path.write_text(yaml.safe_dump({"tokens": self.tokens}))
            admin["tokens"] = str(path)
        whole = {"listen": listen, "admin": admin, "sites": self.sites, **self.config}
        self.file.write_text(yaml.dump(whole, Dumper=Dumper, sort_keys=False))

    # ---- life ----

    @property
    def error_log(self):
        return self.directory / f"error-{self.starts}.log"

    def said(self):
        """What the present process, or the last one, wrote to standard error."""
        return self.error_log.read_text(errors="replace") if self.error_log.exists() else ""

    def launch(self):
        """Start the process, and wait for nothing."""
        self.starts += 1
        command = [*self.wrapper, str(self.program or BUILD / self.PROGRAM), "--config", str(self.file)]
        if SANITIZED:
            command.append("--debug")  # what is not dumpable LeakSanitizer cannot look at
        with open(self.error_log, "wb") as err, open(self.directory / "out.log", "ab") as out:
            # In a group of its own: a SIGINT at the keyboard is for pytest.
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                            cwd=self.directory, start_new_session=True,
                                            env={**os.environ, **self.environment}, preexec_fn=self.preexec,
                                            restore_signals=self.preexec is None)

    def start(self, timeout=20, write=True):
        for _ in range(5):
            if write:
                self.write_config()
            self.launch()
            try:
                self.wait_ready(timeout)
                return self
            except NotStarted as e:
                if not re.search(r"in use|taken|is the admin address", e.said):
                    raise
                self.pick_ports()  # somebody was faster
        raise AssertionError("five times a port was taken")

    def wait_ready(self, timeout=20):
        def is_ready():
            status = self.process.poll()
            if status is not None:
                raise NotStarted(status, self.said())
            try:
                return self.admin("GET", "/readyz", timeout=2)[0] == 200 and self.is_at_its_port()
            except OSError:
                return False

        try:
            until(is_ready, "it to be ready", timeout)
        except AssertionError as e:
            raise AssertionError(f"{e}:\n{self.said()}") from None

    def is_at_its_port(self):
        """Is it this daemon that answers at the admin port, and not another that was faster to take it?"""
        status, text = self.admin("GET", "/status", timeout=2)
        return status == 200 and json.loads(text)["config"] == str(self.file)

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(seconds(10))

    def stop(self, timeout=20):
        """SIGTERM and wait; the exit status."""
        if self.is_running:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(seconds(timeout))
        if status not in (0, -signal.SIGKILL):
            self.ended_well = False
        return status

    def restart(self):
        self.stop()
        return self.start()

    def kill_and_start(self):
        self.kill()
        return self.start()

    def reload(self, ok=True):
        """SIGHUP, and wait until the counter of such reloads has moved."""
        name = f'selvage_reloads_total{{result="{"ok" if ok else "failed"}"}}'
        before = self.metric(name)
        self.process.send_signal(signal.SIGHUP)
        self.wait_for_metric(name, before + 1)

    def close(self):
        """The end of a test: stop, and complain about what should not have happened."""
        if self.process is None:
            return
        if self.is_running:
            self.stop()
        for log in sorted(self.directory.glob("error-*.log")):
            text = log.read_text(errors="replace")
            assert not SANITIZER_SAYS.search(text), f"{log}:\n{text}"
        assert self.ended_well, f"{self.PROGRAM} ended with {self.process.returncode}:\n{self.said()}"

    def destroy(self):
        if self.is_running:
            self.kill()

    def show(self):
        """Everything it wrote, for a test that failed."""
        lines = [f"---- {self.directory} (kept)"]
        for f in [self.file, *sorted(self.directory.glob("*.log"))]:
            if f.exists():
                text = f.read_text(errors="replace")
                lines += [f"---- {f.name}", text if len(text) < 20000 else f"...{text[-20000:]}"]
        return "\n".join(lines)

    @property
    def pid(self):
        return self.process.pid

    def rss(self):
        """Bytes of memory that are resident and not just pages of a file.  0 under a sanitizer, which keeps
        what was freed: what it holds says nothing of us."""
        if SANITIZED:
            return 0
        text = Path(f"/proc/{self.pid}/status").read_text()
        return sum(int(m[1]) << 10 for m in re.finditer(r"^(?:RssAnon|RssShmem):\s+(\d+) kB", text, re.M))

    # ---- the admin interface ----

    def admin(self, method, path, body=None, token=None, fields=None, timeout=10):
        """(status, body as text)."""
        c = HTTPConnection("127.0.0.1", self.admin_port, timeout=seconds(timeout))
        try:
            headers = dict(fields or {})
            token = token if token is not None else self.token
            if token:
                headers["Authorization"] = f"Bearer {token}"
            if body is not None and not isinstance(body, (bytes, str)):
                body = json.dumps(body)
            if body is not None:
                headers.setdefault("Content-Type", "application/json")
            c.request(method, path, body=body, headers=headers)
            r = c.getresponse()
            return r.status, r.read().decode(errors="replace")
        finally:
            c.close()

    def purge(self, *scopes, soft=False, expect=200, **scope):
        """purge(url="..."), purge(prefix=...), purge({"tag": "a"}, {"tag": "b"}); the position."""
        body = {"scopes": [*scopes, *({k: v} for k, v in scope.items())], "soft": soft}
        status, text = self.admin("POST", "/purge", body)
        assert status == expect, (status, text)
        return json.loads(text).get("position")

    def status(self):
        status, text = self.admin("GET", "/status")
        assert status == 200, text
        return json.loads(text)

    def ls(self, prefix="https://www.test/", limit=1000):
        from urllib.parse import quote
        status, text = self.admin("GET", f"/ls?prefix={quote(prefix, safe='')}&limit={limit}")
        assert status == 200, text
        return [json.loads(line) for line in text.splitlines()]

    def explain(self, url, *fields):
        status, text = self.admin("POST", "/explain", {"url": url, "fields": list(fields)})
        assert status == 200, text
        return text

    def metrics(self):
        status, text = self.admin("GET", "/metrics")
        assert status == 200, text
        return {name: float(value) for name, _, value in
                (line.rpartition(" ") for line in text.splitlines() if line and line[0] != "#")}

    def metric(self, name):
        """One row, or the sum of all rows of a name without labels."""
        rows = self.metrics()
        return rows[name] if name in rows else sum(v for n, v in rows.items() if n.split("{")[0] == name)

    def wait_for_metric(self, name, at_least, timeout=10):
        return until(lambda: self.metric(name) >= at_least, f"{name} >= {at_least:g}", timeout)

    def wait_for_metric_at_most(self, name, at_most, timeout=10):
        return until(lambda: self.metric(name) <= at_most, f"{name} <= {at_most:g}", timeout)

    def wait_stored(self, objects=1, timeout=10):
        """Until so many objects have been committed in the life of this process."""
        self.wait_for_metric("selvage_store_published_total", objects, timeout)

    def wait_idle(self, timeout=10):
        """Until no fetch runs and nothing waits for the disk."""
        until(lambda: (lambda m: m["selvage_fills"] == 0 and m["selvage_upstream_running"] == m["selvage_journal_following"]
                       and m["selvage_store_queue_bytes"] == 0)(self.metrics()), "fills to end", timeout)

    def access(self):
        """The lines of the access log; what is written in the background may be missing."""
        path = self.directory / "access.log"
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def wait_access(self, true, what="a line in the access log", timeout=10):
        return until(lambda: next((line for line in self.access() if true(line)), None), what, timeout)

    def wait_said(self, pattern, timeout=10):
        return until(lambda: re.search(pattern, self.said()), f"{pattern!r} on standard error", timeout)

    # ---- clients ----

    def h1(self, host="www.test", plain=False, **more):
        if plain:
            return H1(self.plain_port, None, host, **more)
        return H1(self.port, self.authority.client_context("http/1.1"), host, **more)

    def h2(self, host="www.test", **more):
        return H2(self.port, self.authority.client_context("h2"), host, **more)

    def get(self, target, method="GET", fields=(), body=None, host="www.test", timeout=10, plain=False, named=None):
        """One request on a connection of its own; `named`: a Host that is not the name in TLS."""
        with self.h1(host, plain, timeout=timeout) as c:
            return c.request(target, method, fields, body, named)

    def get2(self, target, method="GET", fields=(), body=None, host="www.test", timeout=10):
        with self.h2(host, timeout=timeout) as c:
            return c.request(target, method, fields, body)

    def fill(self, *targets, **more):
        """Fetch, and wait until all of it is committed.  The last answer."""
        before = self.metric("selvage_store_published_total")
        reply = None
        for t in targets:
            reply = self.get(t, **more)
            assert reply.complete and not reply.is_hit, reply
        self.wait_stored(before + len(targets))
        self.wait_idle()
        return reply
