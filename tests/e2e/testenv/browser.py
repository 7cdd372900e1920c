"""A page in headless Chromium, steered through two pipes; nothing but the browser is needed.

load(url, port, certificate) -> for each time a sorted list of (path, status, protocol, Cache-Status).
Every load begins with an empty browser cache, so that hits are the edge's.
"""
import base64
import fcntl
import hashlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
import urllib.parse

from testenv.wait import seconds

PROGRAMS = ("chromium-headless-shell", "chromium")


def program():
    return next((p for p in map(shutil.which, PROGRAMS) if p), None)


def spki(pem):
    """Trust exactly this key: Chromium takes no file of authorities on the command line."""
    der = subprocess.run(["openssl", "x509", "-in", pem, "-pubkey", "-noout"], capture_output=True, check=True,
                         timeout=20).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "der"], input=der, capture_output=True,
                         check=True, timeout=20).stdout
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


class Browser:
    def __init__(self, arguments, timeout=60):
        self.deadline = time.monotonic() + seconds(timeout)
        self.profile = tempfile.mkdtemp(prefix="selvage-browser-")
        theirs_in, self.to = os.pipe()
        self.ours, theirs_out = os.pipe()

        def pipes():  # DevTools' protocol goes over 3 and 4; copies first, as either may be 3 or 4 itself
            a, b = (fcntl.fcntl(fd, fcntl.F_DUPFD, 5) for fd in (theirs_in, theirs_out))
            os.dup2(a, 3)
            os.dup2(b, 4)

        self.log = open(os.path.join(self.profile, "log"), "w+b")
        self.process = subprocess.Popen(
            [program(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--remote-debugging-pipe", f"--user-data-dir={self.profile}", *arguments, "about:blank"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, close_fds=False, preexec_fn=pipes)
        os.close(theirs_in)
        os.close(theirs_out)
        self.buffer, self.number, self.events = b"", 0, []

    def read(self):
        while b"\0" not in self.buffer:
            left = self.deadline - time.monotonic()
            if left <= 0 or not select.select([self.ours], [], [], left)[0]:
                raise TimeoutError("the browser says nothing")
            data = os.read(self.ours, 1 << 16)
            if not data:
                self.log.seek(0)
                raise AssertionError("the browser ended:\n" + self.log.read().decode(errors="replace")[-3000:])
            self.buffer += data
        text, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(text)

    def call(self, method, session=None, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            m = self.read()
            if m.get("id") == self.number:
                assert "error" not in m, m
                return m["result"]
            self.events.append(m)

    def event(self):
        return self.events.pop(0) if self.events else self.read()

    def close(self):
        self.process.kill()
        self.process.wait(20)
        for fd in (self.to, self.ours):
            os.close(fd)
        self.log.close()
        shutil.rmtree(self.profile, ignore_errors=True)


def load(url, port, certificate, times=2, timeout=60):
    host = urllib.parse.urlsplit(url).hostname
    b = Browser([f"--host-resolver-rules=MAP {host} 127.0.0.1:{port}",
                 f"--ignore-certificate-errors-spki-list={spki(certificate)}"], timeout)
    try:
        target = b.call("Target.createTarget", url="about:blank")["targetId"]
        s = b.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        b.call("Network.enable", s)
        b.call("Page.enable", s)
        loads = []
        for _ in range(times):
            got = []
            b.call("Network.clearBrowserCache", s)
            b.call("Page.navigate", s, url=url)
            while True:
                e = b.event()
                if e.get("method") == "Network.responseReceived":
                    r = e["params"]["response"]
                    fields = {n.lower(): v for n, v in r["headers"].items()}
                    got.append((urllib.parse.urlsplit(r["url"]).path, r["status"], r["protocol"],
                                fields.get("cache-status", "")))
                elif e.get("method") == "Network.loadingFailed":
                    got.append((e["params"].get("errorText"), 0, "", ""))
                elif e.get("method") == "Page.loadEventFired":
                    break
            loads.append(sorted(got))
        return loads
    finally:
        b.close()
