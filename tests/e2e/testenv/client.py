"""Clients: HTTP/1.1 written out by hand, HTTP/2 over python3-h2.  Every call has a time limit.

An answer that was cut is an answer too: `complete` tells, and nothing is raised.
"""
import re
import socket
import ssl
import time

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from testenv.wait import seconds


GOAWAY = 7


class Reply:
    def __init__(self):
        self.status = None  # None: no head came
        self.fields = []
        self.interims = []  # (status, fields) of each 1xx before it
        self.body = b""
        self.complete = False
        self.first_byte_s = None  # from the request's last byte to the answer's first
        self.total_s = None
        self.reset = None  # HTTP/2: the code of RST_STREAM

    def all(self, name):
        return [v for n, v in self.fields if n == name.lower()]

    def field(self, name):
        values = self.all(name)
        return ", ".join(values) if values else None

    @property
    def cache_status(self):
        return self.field("cache-status") or ""

    @property
    def is_hit(self):
        return bool(re.search(r";\s*hit\b", self.cache_status))

    @property
    def fwd(self):
        m = re.search(r";\s*fwd=([a-z-]+)", self.cache_status)
        return m[1] if m else None

    def __repr__(self):
        return (f"<{self.status} {len(self.body)} bytes{'' if self.complete else ' CUT'} "
                f"{self.cache_status!r}{'' if self.reset is None else f' reset {self.reset}'}>")


class Closed(Exception):
    """The server closed the connection."""


def connect(port, context=None, sni=None, timeout=10, source=None, receive_buffer=None):
    s = socket.socket()
    if receive_buffer:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    s.settimeout(seconds(timeout))
    if source:
        s.bind((source, 0))
    s.connect(("127.0.0.1", port))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context is not None:
        s = context.wrap_socket(s, server_hostname=sni)
    return s


class H1:
    """One connection of HTTP/1.1."""

    def __init__(self, port, context=None, host="www.test", timeout=10, **more):
        self.host, self.timeout = host, timeout
        self.socket = connect(port, context, host, timeout, **more)
        self.buffer = b""

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- sending ----

    def send(self, data):
        self.socket.sendall(data.encode("latin-1") if isinstance(data, str) else data)
        self.sent_at = time.monotonic()

    def send_request(self, target, method="GET", fields=(), body=None, host=None):
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host or self.host}"]
        lines += [f"{n}: {v}" for n, v in (fields.items() if isinstance(fields, dict) else fields)]
        if body is not None and not any(line.lower().startswith("transfer-encoding:") for line in lines):
            lines.append(f"Content-Length: {len(body)}")
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b""))

    # ---- reading ----

    def read_more(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no more bytes came in time")
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(1 << 18)
        except (ConnectionError, ssl.SSLError) as e:
            if isinstance(e, ssl.SSLError) and "timed out" in str(e):
                raise TimeoutError from e
            raise Closed from e
        if not data:
            raise Closed
        self.buffer += data

    def take(self, n):
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def read_head(self, timeout=None, interim=False):
        """The head of the next answer that is not 1xx; with `interim` also of one that is."""
        deadline = time.monotonic() + seconds(timeout or self.timeout)
        r = Reply()
        while True:
            while b"\r\n\r\n" not in self.buffer:
                if self.buffer and r.first_byte_s is None:
                    r.first_byte_s = time.monotonic() - self.sent_at
                self.read_more(deadline)
            if r.first_byte_s is None:
                r.first_byte_s = time.monotonic() - self.sent_at
            head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            m = re.fullmatch(r"HTTP/1\.1 (\d{3}) .*", lines[0])
            assert m, f"not a status line: {lines[0]!r}"
            fields = []
            for line in lines[1:]:
                n, colon, v = line.partition(":")
                assert colon and n == n.strip(), f"not a field line: {line!r}"
                fields.append((n.lower(), v.strip()))
            if m[1][0] != "1" or m[1] == "101":
                break
            r.interims.append((int(m[1]), fields))
            if interim:
                return r
        r.status, r.fields = int(m[1]), fields
        return r

    def read_body(self, r, method="GET", timeout=None):
        deadline = time.monotonic() + seconds(timeout or self.timeout)
        try:
            if method == "HEAD" or r.status in (204, 304):
                pass
            elif r.field("transfer-encoding"):
                while self.read_chunk(r, deadline):
                    pass
            elif r.field("content-length") is not None:
                n = int(r.field("content-length"))
                pieces, got = [], 0
                try:
                    while got < n:
                        if not self.buffer:
                            self.read_more(deadline)
                        pieces.append(self.take(n - got))
                        got += len(pieces[-1])
                finally:
                    r.body = b"".join(pieces)
            else:
                try:
                    while True:
                        self.read_more(deadline)
                except Closed:
                    r.body = self.take(len(self.buffer))
            r.complete = True
        except Closed:
            pass
        r.total_s = time.monotonic() - self.sent_at
        return r

    def read_chunk(self, r, deadline):
        while b"\r\n" not in self.buffer:
            self.read_more(deadline)
        size, _, self.buffer = self.buffer.partition(b"\r\n")
        n = int(size, 16)
        while len(self.buffer) < n + 2:
            try:
                self.read_more(deadline)
            except Closed:
                r.body += self.take(n)
                raise
        r.body += self.take(n)
        assert self.take(2) == b"\r\n"
        return n > 0

    def read(self, method="GET", timeout=None):
        try:
            r = self.read_head(timeout)
        except Closed:
            return Reply()
        return self.read_body(r, method, timeout)

    def request(self, target, method="GET", fields=(), body=None, host=None, timeout=None):
        self.send_request(target, method, fields, body, host)
        return self.read(method, timeout)

    def is_closed(self, timeout=5):
        """Does the server close within that time?"""
        deadline = time.monotonic() + seconds(timeout)
        try:
            while True:
                self.read_more(deadline)
        except Closed:
            return True
        except TimeoutError:
            return False


class H2:
    """One connection of HTTP/2.  With `windows` false nothing is given back to flow control."""

    def __init__(self, port, context, host="www.test", timeout=10, windows=True, initial_window=None,
                 checks=True, **more):
        self.host, self.timeout, self.windows = host, timeout, windows
        self.socket = connect(port, context, host, timeout, **more)
        assert self.socket.selected_alpn_protocol() == "h2", self.socket.selected_alpn_protocol()
        self.h2 = h2.connection.H2Connection(config=h2.config.H2Configuration(
            header_encoding="latin-1", validate_outbound_headers=checks, normalize_outbound_headers=checks,
            validate_inbound_headers=True))
        if initial_window is not None:
            self.h2.local_settings = h2.settings.Settings(client=True, initial_values={
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: initial_window,
                h2.settings.SettingCodes.ENABLE_PUSH: 0})
        self.h2.initiate_connection()
        if windows:
            self.h2.increment_flow_control_window(1 << 24)
        self.replies, self.sent_at = {}, {}
        self.buffer = b""
        self.goaway = None
        self.closed = False
        self.flush()

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.socket.settimeout(seconds(self.timeout))
            try:
                self.socket.sendall(data)
            except (ConnectionError, ssl.SSLError) as e:
                self.closed = True
                raise Closed from e

    def head(self, target, method="GET", fields=(), host=None, scheme="https"):
        return [(":method", method), (":scheme", scheme), (":authority", host or self.host), (":path", target),
                *((n.lower(), str(v)) for n, v in (fields.items() if isinstance(fields, dict) else fields))]

    def start(self, target, method="GET", fields=(), body=None, host=None, end=True, head=None):
        """Begin a request; its stream's number."""
        i = self.h2.get_next_available_stream_id()
        self.h2.send_headers(i, head or self.head(target, method, fields, host),
                             end_stream=end and body is None)
        self.replies[i], self.sent_at[i] = Reply(), time.monotonic()
        self.flush()
        if body is not None:
            self.upload(i, body, end)
        return i

    def upload(self, i, body, end=True):
        view, deadline = memoryview(body), time.monotonic() + seconds(self.timeout)
        while view:
            room = min(self.h2.local_flow_control_window(i), self.h2.max_outbound_frame_size, len(view))
            if room == 0:
                self.read_some(deadline)
                continue
            if self.replies[i].reset is not None or self.replies[i].complete:
                return
            self.h2.send_data(i, view[:room].tobytes(), end_stream=end and room == len(view))
            view = view[room:]
            self.flush()
        if not body and end:
            self.h2.end_stream(i)
            self.flush()

    def reset(self, i, code=8):
        self.h2.reset_stream(i, code)
        self.flush()

    def read_some(self, deadline):
        """Take what comes next; False when the connection has ended."""
        if self.closed:
            return False
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("nothing came in time")
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(1 << 18)
        except (ConnectionError, ssl.SSLError) as e:
            if "timed out" in str(e):
                raise TimeoutError from e
            data = b""
        if not data:
            self.closed = True
            return False
        self.buffer += data
        while len(self.buffer) >= 9:
            n = 9 + int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < n:
                break
            frame, self.buffer = self.buffer[:n], self.buffer[n:]
            if frame[3] == GOAWAY:  # python3-h2 takes nothing after it, though streams go on
                self.goaway = int.from_bytes(frame[13:17], "big")
                continue
            for e in self.h2.receive_data(frame):
                self.on(e)
        try:
            self.flush()
        except Closed:
            return False
        return True

    def on(self, e):
        r = self.replies.get(getattr(e, "stream_id", None))
        if isinstance(e, h2.events.ResponseReceived) and r is not None:
            r.first_byte_s = time.monotonic() - self.sent_at[e.stream_id]
            r.fields = [(n, v) for n, v in e.headers if n != ":status"]
            r.status = int(dict(e.headers)[":status"])
        elif isinstance(e, h2.events.InformationalResponseReceived) and r is not None:
            r.interims.append((int(dict(e.headers)[":status"]), [(n, v) for n, v in e.headers if n != ":status"]))
        elif isinstance(e, h2.events.DataReceived):
            if r is not None:
                r.body += e.data
            if self.windows and e.flow_controlled_length:
                try:
                    self.h2.acknowledge_received_data(e.flow_controlled_length, e.stream_id)
                except h2.exceptions.ProtocolError:
                    pass
        elif isinstance(e, h2.events.StreamEnded) and r is not None:
            r.complete = True
            r.total_s = time.monotonic() - self.sent_at[e.stream_id]
        elif isinstance(e, h2.events.StreamReset) and r is not None:
            r.reset = int(e.error_code)

    def wait(self, true, timeout=None):
        """Read until `true` is; False when the connection ended first."""
        deadline = time.monotonic() + seconds(timeout or self.timeout)
        while not true():
            if not self.read_some(deadline):
                return bool(true())
        return True

    def finish(self, i, timeout=None):
        """The whole answer, or what came of it."""
        r = self.replies[i]
        self.wait(lambda: r.complete or r.reset is not None, timeout)
        return r

    def wait_head(self, i, timeout=None):
        r = self.replies[i]
        self.wait(lambda: r.status is not None or r.reset is not None, timeout)
        return r

    def request(self, target, method="GET", fields=(), body=None, host=None, timeout=None):
        return self.finish(self.start(target, method, fields, body, host), timeout)

    def is_closed(self, timeout=5):
        try:
            self.wait(lambda: False, timeout)
        except TimeoutError:
            return False
        except h2.exceptions.ProtocolError:
            return True
        return True
