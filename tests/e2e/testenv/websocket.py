"""WebSockets: a real server and real clients (python3-websockets), and ends that are written by hand."""
import asyncio
import base64
import hashlib
import os
import struct
import threading

import websockets

from testenv.client import Closed
from testenv.wait import seconds, until

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
GOING_AWAY = 1001


class Server:
    """By path: .../echo says what it hears, .../flood sends 64 KiB messages for ever, .../quiet
    neither hears nor says, all others hear only."""

    def __init__(self, tls=None):
        self.tls = tls
        self.opened = []  # (path, fields) of each
        self.codes = []  # with which they were closed by the other side
        self.sent = 0  # messages of floods
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        assert self.ready.wait(10)

    @property
    def url(self):
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    async def serve(self, ws):
        self.opened.append((ws.path, ws.request_headers))
        try:
            if ws.path.endswith("/flood"):
                while True:
                    await ws.send(bytes(65536))
                    self.sent += 1
            elif ws.path.endswith("/quiet"):
                ws.transport.pause_reading()
                await asyncio.Future()
            async for message in ws:
                if ws.path.endswith("/echo"):
                    await ws.send(message)
        except websockets.ConnectionClosed:
            pass
        finally:
            self.codes.append(ws.close_code)

    def run(self):
        async def main():
            self.ended = asyncio.Event()
            async with websockets.serve(self.serve, "127.0.0.1", 0, subprotocols=["chat"], max_size=None,
                                        ping_interval=None, close_timeout=2, ssl=self.tls, backlog=1024) as s:
                self.port = s.sockets[0].getsockname()[1]
                self.ready.set()
                await self.ended.wait()
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(main())

    def wait_codes(self, n, timeout=10):
        until(lambda: len(self.codes) >= n, f"{n} WebSockets to end at the server", timeout)
        return self.codes

    def close(self):
        self.loop.call_soon_threadsafe(self.ended.set)
        self.thread.join(10)


def connect(edge, path, host="www.test", **more):
    """A real client, to be awaited."""
    return websockets.connect(f"wss://{host}{path}", host="127.0.0.1", port=edge.port,
                              ssl=edge.authority.client_context(), server_hostname=host, compression=None,
                              **{"ping_interval": None, "max_size": None, "close_timeout": seconds(2), **more})


def run(coroutine, timeout=30):
    async def limited():
        return await asyncio.wait_for(coroutine, seconds(timeout))
    return asyncio.run(limited())


# ---- by hand ----

def accept_of(key):
    return base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()


def handshake(key=None, **changes):
    """The fields of a request; a value of None leaves one out."""
    fields = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
              "Sec-WebSocket-Key": key or base64.b64encode(os.urandom(16)).decode()}
    fields.update({n.replace("_", "-"): v for n, v in changes.items()})
    return [(n, v) for n, v in fields.items() if v is not None]


def frame(payload, opcode=TEXT, masked=True, fin=True):
    payload = payload.encode() if isinstance(payload, str) else payload
    n = len(payload)
    short = n if n < 126 else 126 if n < 65536 else 127
    head = bytes([(128 if fin else 0) | opcode, (128 if masked else 0) | short])
    head += b"" if n < 126 else struct.pack(">H", n) if n < 65536 else struct.pack(">Q", n)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(b ^ mask[i & 3] for i, b in enumerate(payload))


class Frame:
    def __init__(self, opcode, payload, masked):
        self.opcode, self.payload, self.masked = opcode, payload, masked

    @property
    def code(self):
        return struct.unpack(">H", self.payload[:2])[0]

    def __repr__(self):
        return f"<{self.opcode} {self.payload[:40]!r}>"


def take_frame(buffer, more):
    """The next frame and the rest of the buffer; more(buffer) reads on."""
    def need(n):
        nonlocal buffer
        while len(buffer) < n:
            buffer = more(buffer)

    need(2)
    masked, short, at = buffer[1] & 128, buffer[1] & 127, 2
    if short > 125:
        at += 2 if short == 126 else 8
        need(at)
        short = int.from_bytes(buffer[2:at], "big")
    mask = bytes(4)
    if masked:
        need(at + 4)
        mask = buffer[at:at + 4]
        at += 4
    need(at + short)
    payload = bytes(b ^ mask[i & 3] for i, b in enumerate(buffer[at:at + short])) if masked else buffer[at:at + short]
    return Frame(buffer[0] & 15, payload, bool(masked)), buffer[at + short:]


def read_frame(c, timeout=10):
    """The next frame that a client of testenv.client.H1 gets."""
    import time
    deadline = time.monotonic() + seconds(timeout)

    def more(_):
        c.read_more(deadline)
        return c.buffer
    f, c.buffer = take_frame(c.buffer, more)
    return f


def open_raw(edge, path, plain=False, **changes):
    """A client by hand, whose handshake has been answered with 101."""
    c = edge.h1(plain=plain)
    fields = handshake(**changes)
    c.send_request(path, fields=fields)
    reply = c.read_head()
    assert reply.status == 101, reply
    assert reply.field("sec-websocket-accept") == accept_of(dict(fields)["Sec-WebSocket-Key"])
    return c


class Raw:
    """What an origin's page does with a connection, when it is a WebSocket: give(page) makes `page`
    agree to each handshake and hand its connection to the test."""

    def __init__(self, page, early=b"", **fields):
        self.early, self.fields, self.connections = early, fields, []
        self.over = threading.Event()
        page.handler = self.handle

    def handle(self, request, c):
        answer = {"Upgrade": "websocket", "Connection": "Upgrade",
                  "Sec-WebSocket-Accept": accept_of(request.field("sec-websocket-key") or "")}
        answer.update({n.replace("_", "-"): v for n, v in self.fields.items()})
        lines = "".join(f"{n}: {v}\r\n" for n, v in answer.items() if v is not None)
        c.send(b"HTTP/1.1 101 Switching Protocols\r\n" + lines.encode() + b"\r\n" + self.early)
        self.connections.append(c)
        self.over.wait(seconds(60))
        return False

    def one(self, i=0):
        until(lambda: len(self.connections) > i, "the origin to have the WebSocket")
        return self.connections[i]

    def read(self, c, timeout=10):
        c.socket.settimeout(seconds(timeout))

        def more(buffer):
            data = c.socket.recv(65536)
            if not data:
                raise Closed
            return buffer + data
        f, c.buffer = take_frame(c.buffer, more)
        return f
