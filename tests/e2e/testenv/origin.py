"""An origin that does as it is told: answers, waits, breaks off, lies.

Written on raw sockets, because most of what is asked of it no HTTP library would do.  Every
connection has a thread.  A request is in the log before its page is looked at, so a test can count
requests that never got an answer.
"""
import re
import select
import socket
import threading
import time
from email.utils import formatdate

from testenv.ports import Refusing
from testenv.wait import seconds, until

HEAD_MAX = 1 << 17


class Gone(Exception):
    """The other side has left."""


class Request:
    def __init__(self, method, target, version, fields, body, connection):
        self.method, self.target, self.version = method, target, version
        self.fields, self.body, self.connection = fields, body, connection
        self.at = time.monotonic()
        self.sent = 0  # bytes of the body that the kernel has taken
        self.gone_at = None  # when the other side left before the end

    @property
    def path(self):
        return self.target.split("?")[0]

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name.lower()]

    def field(self, name):
        values = self.all(name)
        return ", ".join(values) if values else None

    def __repr__(self):
        return f"{self.method} {self.target}"


class Page:
    """What the origin says to one path.  All of it may be changed at any time.

    framing  "length", "chunked" or "close"
    fault    None or one of FAULTS
    handler  called with (request, connection) in place of everything else
    """

    FAULTS = ("hang-before-head", "hang-in-head", "hang-in-body", "truncate", "truncate-chunked", "503",
              "garbage", "reset", "close", "endless-head", "endless-lines", "drip", "long-head", "bad-length")

    def __init__(self, origin, path, body=b"", status=200, fields=(), cache_control=None, framing="length",
                 fault=None, etag=None, last_modified=None, handler=None, ranges=False):
        self.origin, self.path = origin, path
        self.body = body.encode() if isinstance(body, str) else body
        self.status, self.framing, self.fault = status, framing, fault
        self.fields = list(fields)
        self.cache_control, self.etag, self.last_modified = cache_control, etag, last_modified
        self.handler = handler
        self.ranges = ranges  # answers one range of its body with a 206
        self.lock = threading.Condition()
        self.held_where = None
        self.held_after = 0
        self.held = 0

    # ---- what it has seen ----

    @property
    def requests(self):
        return [r for r in self.origin.requests if r.path == self.path]

    @property
    def hits(self):
        return len(self.requests)

    def wait_hits(self, n, timeout=10):
        until(lambda: self.hits >= n, f"{n} requests for {self.path}, there were {self.hits}", timeout)

    def wait_gone(self, n=1, timeout=10):
        """Until the other side has left n of the answers before their end."""
        return until(lambda: [r for r in self.requests if r.gone_at][n - 1:], f"{n} to leave {self.path}",
                     timeout)[0]

    # ---- holding ----

    def hold(self, where="head", after=0):
        """Let answers wait: before their "head", within it ("in-head"), in the "body" after so many
        bytes, or before they are "cut" off."""
        with self.lock:
            self.held_where, self.held_after = where, after

    def release(self):
        with self.lock:
            self.held_where = None
            self.lock.notify_all()

    def wait_held(self, n=1, timeout=10):
        until(lambda: self.held >= n, f"{n} answers to be held at {self.path}", timeout)

    def pause_at(self, where, request, connection):
        if self.held_where != where:
            return
        with self.lock:
            self.held += 1
            try:
                while self.held_where == where:
                    self.lock.wait(0.02)
                    connection.check(request)
            finally:
                self.held -= 1

    # ---- answering ----

    def validates(self, request):
        tags = request.field("if-none-match")
        if tags is not None:
            return self.etag is not None and self.etag in [t.strip() for t in tags.split(",")]
        since = request.field("if-modified-since")
        return since is not None and since == self.last_modified

    def head(self, request):
        status = 304 if self.status == 200 and self.validates(request) else self.status
        fields = [("Date", formatdate(usegmt=True))]
        if self.cache_control is not None:
            fields.append(("Cache-Control", self.cache_control))
        if self.etag is not None:
            fields.append(("ETag", self.etag))
        if self.last_modified is not None:
            fields.append(("Last-Modified", self.last_modified))
        return status, fields + [f for f in self.fields]

    def part(self, request, fields):
        m = re.fullmatch(r"bytes=(\d+)-(\d*)", request.field("range") or "")
        if m is None:
            return 200, self.body
        first, total = int(m[1]), len(self.body)
        if first >= total:
            fields.append(("Content-Range", f"bytes */{total}"))
            return 416, b""
        last = min(int(m[2] or total), total - 1)
        fields.append(("Content-Range", f"bytes {first}-{last}/{total}"))
        return 206, self.body[first:last + 1]

    def answer(self, request, c):
        if self.handler is not None:
            return self.handler(request, c)
        fault = self.fault or self.origin.fault
        if fault is not None:
            FAULTS[fault](self, request, c)
        self.pause_at("head", request, c)
        status, fields = self.head(request)
        has_body = request.method != "HEAD" and status not in (204, 304)
        body = self.body
        if self.ranges and status == 200:
            status, body = self.part(request, fields)
        if self.framing == "length" or not has_body:
            if status not in (204, 304):
                fields.append(("Content-Length", str(len(body))))
        elif self.framing == "chunked":
            fields.append(("Transfer-Encoding", "chunked"))
        else:
            fields.append(("Connection", "close"))
        text = head_text(status, fields)
        if self.held_where == "in-head":
            c.send(text[:20])
            self.pause_at("in-head", request, c)
            text = text[20:]
        c.send(text)
        if not has_body:
            return True
        send = c.send_chunk if self.framing == "chunked" else c.send
        if self.held_where == "body":
            send(body[:self.held_after], request)
            body = body[self.held_after:]
            self.pause_at("body", request, c)
        for i in range(0, len(body), 1 << 16):
            send(body[i:i + (1 << 16)], request)
        if self.framing == "chunked":
            c.send(b"0\r\n\r\n")
        return self.framing != "close"


def head_text(status, fields):
    lines = [f"HTTP/1.1 {status} Whatever"] + [f"{n}: {v}" for n, v in fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


# ---- what can be wrong with an origin; each of these ends the connection, or does not return ----

def hang(request, c):
    while True:
        c.wait_readable(0.02)
        c.check(request)


def hang_before_head(page, request, c):
    hang(request, c)


def hang_in_head(page, request, c):
    c.send(head_text(200, [("Content-Length", "10")])[:25])
    hang(request, c)


def half(page, request):
    status, fields = page.head(request)
    return status, fields, page.body[:len(page.body) // 2]


def hang_in_body(page, request, c):
    status, fields, body = half(page, request)
    c.send(head_text(200, fields + [("Content-Length", str(len(page.body)))]) + body)
    hang(request, c)


def truncate(page, request, c):
    status, fields, body = half(page, request)
    c.send(head_text(200, fields + [("Content-Length", str(len(page.body)))]) + body)
    page.pause_at("cut", request, c)
    raise Gone


def truncate_chunked(page, request, c):
    status, fields, body = half(page, request)
    c.send(head_text(200, fields + [("Transfer-Encoding", "chunked")]))
    c.send_chunk(body, request)
    page.pause_at("cut", request, c)
    raise Gone


def answer_503(page, request, c):
    c.send(head_text(503, [("Content-Length", "5"), ("Connection", "close")]) + b"later")
    raise Gone


def garbage(page, request, c):
    c.send(b"\x16\x03\x00 this is no HTTP\r\n\r\n" + bytes(range(256)))
    raise Gone


def reset(page, request, c):
    c.reset()
    raise Gone


def close(page, request, c):
    raise Gone


def endless_head(page, request, c):
    c.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        c.send(b"X-More: " + b"x" * 1000 + b"\r\n")


def endless_lines(page, request, c):
    c.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        c.send(b"X: y\r\n" * 100)


def drip(page, request, c):
    status, fields = page.head(request)
    c.send(head_text(200, fields + [("Content-Length", str(len(page.body)))]))
    for i in range(len(page.body)):
        c.send(page.body[i:i + 1], request)
        c.wait_readable(0.005)
        c.check(request)
    raise Gone


def long_head(page, request, c):
    c.send(head_text(200, [("Content-Length", "0")] + [(f"X-{i}", "y") for i in range(1000)]))
    raise Gone


def bad_length(page, request, c):
    c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345")
    raise Gone


FAULTS = {"hang-before-head": hang_before_head, "hang-in-head": hang_in_head, "hang-in-body": hang_in_body,
          "truncate": truncate, "truncate-chunked": truncate_chunked, "503": answer_503, "garbage": garbage,
          "reset": reset, "close": close, "endless-head": endless_head, "endless-lines": endless_lines,
          "drip": drip, "long-head": long_head, "bad-length": bad_length}


class Connection:
    def __init__(self, origin, sock, number):
        self.origin, self.socket, self.number = origin, sock, number
        self.buffer = b""

    def send(self, data, request=None):
        try:
            if request is None:
                self.socket.sendall(data)
            else:
                view = memoryview(data)
                while view:
                    n = self.socket.send(view[:1 << 16])
                    request.sent += n
                    view = view[n:]
        except OSError as e:
            raise Gone from e

    def send_chunk(self, data, request=None):
        if data:
            self.send(b"%x\r\n" % len(data))
            self.send(data, request)
            self.send(b"\r\n")

    def wait_readable(self, timeout):
        return bool(select.select([self.socket], [], [], timeout)[0])

    def check(self, request):
        """Has the other side left?"""
        if self.origin.closed.is_set():
            raise Gone
        if self.wait_readable(0):
            try:
                left = self.socket.recv(1, socket.MSG_PEEK) == b"" if self.origin.tls is None else True
            except OSError:
                left = True
            if left:
                raise Gone

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def read_more(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise Gone
        self.buffer += data

    def read_request(self):
        while b"\r\n\r\n" not in self.buffer:
            if len(self.buffer) > HEAD_MAX:
                raise Gone
            self.read_more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, target, version = lines[0].split(" ")
        fields = [(n, v.strip()) for n, _, v in (line.partition(":") for line in lines[1:])]
        names = {n.lower(): v for n, v in fields}
        body = b""
        if "content-length" in names:
            while len(self.buffer) < int(names["content-length"]):
                self.read_more()
            body = self.buffer[:int(names["content-length"])]
            self.buffer = self.buffer[len(body):]
        elif "transfer-encoding" in names:
            while True:
                while b"\r\n" not in self.buffer:
                    self.read_more()
                size, _, self.buffer = self.buffer.partition(b"\r\n")
                n = int(size, 16)
                while len(self.buffer) < n + 2:
                    self.read_more()
                body += self.buffer[:n]
                self.buffer = self.buffer[n + 2:]
                if n == 0:
                    break
        return Request(method, target, version, fields, body, self.number)

    def serve(self):
        request = None
        try:
            goes_on = True
            while goes_on:
                request = None
                request = self.read_request()
                page = self.origin.see(request)
                goes_on = page.answer(request, self) is not False
        except Gone:
            if request is not None:
                request.gone_at = time.monotonic()
        except OSError:
            pass
        finally:
            try:
                self.socket.close()
            except OSError:
                pass
            self.origin.connections.discard(self)


class Events(Page):
    """An event stream: send() gives an event to everyone who listens now."""

    def __init__(self, origin, path, fields=(), framing="chunked"):
        super().__init__(origin, path, fields=[("Content-Type", "text/event-stream"), *fields], framing=framing)
        self.handler = self.stream
        self.listening = {}

    def stream(self, request, c):
        fields = [("Cache-Control", "no-cache")] + self.fields
        fields.append(("Transfer-Encoding", "chunked") if self.framing == "chunked" else ("Connection", "close"))
        c.send(head_text(200, fields))
        with self.lock:
            self.listening[request] = c
        try:
            while request in self.listening:
                c.wait_readable(0.2)
                c.check(request)
            if self.framing == "chunked":
                c.send(b"0\r\n\r\n")
            return self.framing == "chunked"
        finally:
            with self.lock:
                self.listening.pop(request, None)

    def wait_listening(self, n=1, timeout=10):
        until(lambda: len(self.listening) >= n, f"{n} streams of {self.path}", timeout)

    def send(self, text):
        data = f"data: {text}\n\n".encode()
        with self.lock:
            for c in list(self.listening.values()):
                try:
                    (c.send_chunk if self.framing == "chunked" else c.send)(data)
                except Gone:
                    pass

    def end(self):
        with self.lock:
            self.listening.clear()


class Origin:
    def __init__(self, tls=None):
        self.tls = tls
        self.pages, self.requests = {}, []
        self.lock = threading.Lock()
        self.connections = set()
        self.accepted = 0
        self.fault = None  # of all pages
        self.closed = threading.Event()
        self.refusing = None
        self.listener = None
        self.port = 0
        self.listen()

    # ---- pages ----

    def page(self, path, body=b"", **more):
        self.pages[path] = Page(self, path, body, **more)
        return self.pages[path]

    def events(self, path, **more):
        self.pages[path] = Events(self, path, **more)
        return self.pages[path]

    def see(self, request):
        with self.lock:
            self.requests.append(request)
        page = self.pages.get(request.path)
        return page if page is not None else Page(self, request.path, b"there is no such page", status=404)

    @property
    def hits(self):
        return len(self.requests)

    def hits_of(self, path):
        return len([r for r in self.requests if r.path == path])

    # ---- the port ----

    @property
    def url(self):
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    def listen(self):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", self.port))
        s.listen(1024)
        self.listener, self.port = s, s.getsockname()[1]
        threading.Thread(target=self.accept, args=(s,), daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            if self.listener is not listener:
                sock.close()
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        with self.lock:
            self.accepted += 1
            number = self.accepted
        if self.tls is not None:
            try:
                sock.settimeout(seconds(20))
                sock = self.tls.wrap_socket(sock, server_side=True)
                sock.settimeout(None)
            except OSError:
                sock.close()
                return
        c = Connection(self, sock, number)
        self.connections.add(c)
        c.serve()

    def stop_listening(self):
        listener, self.listener = self.listener, None
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
            listener.close()

    def hang_up(self):
        """Close all connections, whatever goes on there."""
        for c in list(self.connections):
            try:
                c.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def refuse(self):
        """From now on refuse connections, and leave those that there are."""
        self.stop_listening()
        self.refusing = Refusing(self.port)
        self.hang_up()
        until(lambda: not self.connections, "connections to end")

    def accept_again(self):
        self.refusing.close()
        self.refusing = None
        self.listen()

    def close(self):
        self.closed.set()
        self.stop_listening()
        if self.refusing is not None:
            self.refusing.close()
        for p in list(self.pages.values()):
            p.release()
        self.hang_up()
