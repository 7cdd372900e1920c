"""WebSockets through an edge, and through edge and shield."""
import os

import pytest
import websockets

from testenv import websocket
from testenv.client import Closed
from testenv.wait import until
from testenv.websocket import BINARY, CLOSE, GOING_AWAY, PING, Raw, frame, handshake, read_frame

RULES = [{"path": "/ws/*", "websocket": True}]
OPEN = "selvage_tunnels"
REFUSED = "selvage_tunnels_refused_total"


def ended(reason):
    return f'selvage_tunnels_ended_total{{reason="{reason}"}}'


@pytest.fixture
def server():
    s = websocket.Server()
    yield s
    s.close()


@pytest.fixture
def make_fleet(make_edge, make_shield, fleet):
    """make_fleet(url): an edge behind a shield, in front of that origin."""
    def make(url, shields=1, site=None, shield_site=None, direct="refused", **config):
        site = {"origin": {"servers": [url], "allow_local": True}, "rules": RULES, **(site or {})}
        at = [make_shield(None, site={**site, **(shield_site or {})}, name=f"shield{i}", config=dict(config))
              for i in range(shields)]
        return make_edge(None, site=site, config={
            "node": "edge-a", "peer": fleet.peer("edge-a"),
            "upstream": {"shields": [[s.url for s in at]], "direct": direct}, **config}), *at
    return make


@pytest.fixture
def tunnel_edge(make_edge):
    """tunnel_edge(origin): one edge in front of it."""
    def make(origin, site=None, **config):
        return make_edge(None, site={"origin": {"servers": [origin.url], "allow_local": True}, "rules": RULES,
                                     **(site or {})}, config=config)
    return make


@pytest.fixture
def raw(origin, tunnel_edge):
    """An edge in front of an origin by hand, which agrees to WebSockets at /ws/raw."""
    made = []

    def make(early=b"", site=None, fields=None, **config):
        page = origin.page("/ws/raw")
        made.append(Raw(page, early, **(fields or {})))
        return tunnel_edge(origin, site, **config), made[-1], page
    yield make
    for r in made:
        r.over.set()


# ---- real ends ----

async def talk(edge, path):
    async with websocket.connect(edge, path, subprotocols=["chat", "other"], origin="https://www.test") as ws:
        assert ws.subprotocol == "chat"
        for message in ("hello", os.urandom(5), "", os.urandom(70000), os.urandom(3 << 20), "x" * 65536):
            await ws.send(message)
            assert await ws.recv() == message
        for i in range(200):
            await ws.send(f"{i}")
        for i in range(200):
            assert await ws.recv() == f"{i}"
        await (await ws.ping(b"are you there"))
    return ws.close_code


def test_a_conversation(server, tunnel_edge):
    edge = tunnel_edge(server)
    assert websocket.run(talk(edge, "/ws/echo")) == 1000
    _, fields = server.opened[0]
    assert fields["Host"] == "www.test" and fields["Origin"] == "https://www.test"
    assert fields["X-Forwarded-For"] == "127.0.0.1" and fields["X-Forwarded-Proto"] == "https"
    assert fields["Upgrade"] == "websocket" and fields["Connection"] == "Upgrade"
    assert len(fields.get_all("Sec-WebSocket-Key")) == 1
    line = edge.wait_access(lambda line: line["path"] == "/ws/echo")
    assert (line["status"], line["verdict"]) == (101, "tunnel") and line["reason"] in ("client", "upstream")
    assert line["bytes"] > 3 << 20 and line["received"] > 3 << 20 and line["ms"] > 0, line
    assert fields["X-Request-Id"] == line["id"]
    assert edge.metric(OPEN) == 0
    assert edge.metric('selvage_tunnel_bytes_total{direction="up"}') == line["received"]
    assert edge.metric('selvage_tunnel_bytes_total{direction="down"}') == line["bytes"]
    assert edge.metric('selvage_requests_total{verdict="tunnel"}') == 1


def test_a_conversation_through_edge_and_shield(server, make_fleet):
    edge, shield = make_fleet(server.url)
    assert websocket.run(talk(edge, "/ws/echo")) == 1000
    _, fields = server.opened[0]
    assert fields["Host"] == "www.test" and fields["X-Forwarded-For"] == "127.0.0.1"
    assert ", ".join(fields.get_all("Via")) == "1.1 edge-a, 1.1 shield0"
    assert not [n for n in fields if n.lower().startswith("selvage-")]
    lines = [node.wait_access(lambda line: line["path"] == "/ws/echo") for node in (edge, shield)]
    assert {line["verdict"] for line in lines} == {"tunnel"} and len({line["id"] for line in lines}) == 1


def test_nothing_of_it_is_stored_or_shared(server, make_fleet):
    edge, shield = make_fleet(server.url)

    async def many():
        sockets = [await websocket.connect(edge, "/ws/echo") for _ in range(10)]
        for i, ws in enumerate(sockets):
            await ws.send(f"{i}")
        for i, ws in enumerate(sockets):
            assert await ws.recv() == f"{i}"
        for ws in sockets:
            await ws.close()
    websocket.run(many())
    assert len(server.opened) == 10
    assert edge.ls() == [] and shield.ls() == []


# ---- the handshake ----

@pytest.mark.parametrize("changes, status, says", [
    ({"Sec_WebSocket_Key": None}, 400, b"Sec-WebSocket-Key"),
    ({"Sec_WebSocket_Key": "dG9vIHNob3J0"}, 400, b"Sec-WebSocket-Key"),
    ({"Sec_WebSocket_Key": "x" * 24}, 400, b"Sec-WebSocket-Key"),
    ({"Sec_WebSocket_Version": "8"}, 400, b"Sec-WebSocket-Version"),
    ({"Sec_WebSocket_Version": None}, 400, b"Sec-WebSocket-Version"),
    ({"Connection": "Upgrade, Sec-WebSocket-Key"}, 400, b"Sec-WebSocket-Key"),
    ({"Content_Length": "5"}, 400, b"without content"),
])
def test_a_handshake_that_is_none_goes_no_further(raw, changes, status, says):
    edge, _, page = raw()
    with edge.h1() as c:
        c.send_request("/ws/raw", fields=handshake(**changes))
        if "Content_Length" in changes:
            c.send(b"hello")
        reply = c.read()
        assert reply.status == status and says in reply.body, (reply, reply.body)
        assert reply.field("sec-websocket-version") == "13"
        assert c.is_closed()
    assert page.hits == 0
    assert edge.wait_access(lambda line: line["path"] == "/ws/raw")["reason"] == "websocket-handshake"


def test_only_where_a_rule_allows_it(raw, origin):
    edge, _, _ = raw(site={"rules": [*RULES, {"path": "/ruled/*", "default_ttl": "1s"}]})
    for path in ("/other", "/ruled/other"):  # by no rule at all, and by one that says nothing of it
        page = origin.page(path)
        with edge.h1() as c:
            c.send_request(path, fields=handshake())
            reply = c.read()
            assert reply.status == 501 and b"WebSocket" in reply.body
        assert page.hits == 0


def test_what_asks_for_nothing_is_an_ordinary_request(raw, origin):
    """Upgrade without Connection is no wish; nor is one for a protocol that nobody knows."""
    edge, _, _ = raw()
    page = origin.page("/ws/page", b"hello", cache_control="max-age=60")
    assert edge.get("/ws/page", fields=[("Upgrade", "websocket")]).body == b"hello"
    assert edge.get("/ws/page", fields=[("Upgrade", "h2c"), ("Connection", "Upgrade")]).body == b"hello"
    assert page.requests[0].field("upgrade") is None and page.requests[0].field("connection") is None


def test_http_2_has_no_websockets(raw):
    edge, _, page = raw()
    with edge.h2() as c:
        head = [(":method", "CONNECT"), (":scheme", "https"), (":authority", "www.test"), (":path", "/ws/raw"),
                (":protocol", "websocket"), ("sec-websocket-version", "13")]
        try:
            i = c.start("/ws/raw", head=head)
            reply = c.finish(i)
            assert reply.status != 200
        except Closed:
            pass
    assert page.hits == 0


@pytest.mark.parametrize("fields", [
    {"Sec_WebSocket_Accept": None},
    {"Sec_WebSocket_Accept": websocket.accept_of("another")},
    {"Upgrade": "h2c"},
    {"Upgrade": None},
    {"Connection": "close"},
])
def test_a_101_that_does_not_agree_is_a_bad_gateway(raw, fields):
    edge, _, page = raw(fields=fields)
    with edge.h1() as c:
        c.send_request("/ws/raw", fields=handshake())
        reply = c.read()
        assert reply.status == 502, reply
    assert page.hits == 1
    assert edge.metric(OPEN) == 0


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("status", [200, 302, 401, 403, 426, 503])
def test_another_answer_is_relayed(raw, origin, status, framing):
    edge, _, _ = raw()
    body = b"not for you, " * 20000
    page = origin.page("/ws/no", body, status=status, framing=framing, cache_control="max-age=60",
                       fields=[("Location", "/login"), ("WWW-Authenticate", "Basic"), ("Set-Cookie", "a=b")])
    for connection in ("Upgrade", "keep-alive, Upgrade"):
        with edge.h1() as c:
            c.send_request("/ws/no", fields=handshake(Connection=connection))
            reply = c.read()
            assert reply.status == status and reply.complete and reply.body == body, reply
            assert reply.field("location") == "/login" and reply.field("set-cookie") == "a=b"
            assert reply.fwd == "bypass"
            assert c.is_closed(), "what follows a refused handshake are no requests"
    assert page.hits == 2, "nothing of it is stored"
    assert edge.ls() == []


def test_a_refusal_through_both_tiers(make_fleet, origin):
    edge, shield = make_fleet(origin.url)
    page = origin.page("/ws/no", b"who are you?", status=401, framing="chunked", fields=[("WWW-Authenticate", "Basic")])
    with edge.h1() as c:
        c.send_request("/ws/no", fields=handshake())
        reply = c.read()
    assert (reply.status, reply.body) == (401, b"who are you?") and reply.field("www-authenticate") == "Basic"
    assert page.hits == 1


@pytest.mark.parametrize("fault, status", [("close", 503), ("reset", 503), ("garbage", 502), ("hang-before-head", 504),
                                           ("hang-in-head", 504), ("endless-head", 502)])
def test_an_origin_that_fails(raw, origin, fault, status):
    edge, _, _ = raw(site={"origin": {"servers": [origin.url], "allow_local": True, "first_byte_timeout": "700ms"}})
    page = origin.page("/ws/bad", b"x" * 1000, fault=fault)
    with edge.h1() as c:
        c.send_request("/ws/bad", fields=handshake())
        reply = c.read()
    assert reply.status == status, reply
    assert page.hits <= 2


@pytest.mark.parametrize("fault", ["truncate", "truncate-chunked"])
def test_a_refusal_that_breaks_off_does_not_look_whole(raw, origin, fault):
    edge, _, _ = raw()
    origin.page("/ws/bad", b"x" * 100000, status=403, fault=fault)
    with edge.h1() as c:
        c.send_request("/ws/bad", fields=handshake())
        reply = c.read()
        assert not reply.complete or reply.status == 502, reply


# ---- what goes through ----

def test_what_comes_right_behind_the_heads_is_not_lost(raw):
    """Frames in the origin's first packet; and what an impatient client sends before its 101."""
    edge, ends, _ = raw(early=frame("first", masked=False) + frame("second", masked=False))
    with edge.h1() as c:
        c.send_request("/ws/raw", fields=handshake())
        c.send(frame("impatient"))
        assert c.read_head().status == 101
        assert read_frame(c).payload == b"first" and read_frame(c).payload == b"second"
        assert ends.read(ends.one()).payload == b"impatient"


def test_bytes_pass_untouched(raw):
    """Reserved bits, unknown opcodes, fragments: the ends' business."""
    edge, ends, _ = raw()
    strange = bytes([0x75, 0x83]) + os.urandom(4) + b"abc" + frame("one ", fin=False) + frame("two", opcode=0)
    with websocket.open_raw(edge, "/ws/raw") as c:
        o = ends.one()
        c.send(strange)
        until(lambda: len(o.buffer) >= len(strange) or o.read_more(), "the bytes to come up")
        assert o.buffer == strange
        for i in range(0, len(strange), 3):
            o.send(strange[i:i + 3])
        until(lambda: len(c.buffer) >= len(strange) or c.read_more(c.sent_at + 20), "the bytes to come down")
        assert c.buffer == strange


def test_who_does_not_read_is_not_read_from(server, tunnel_edge):
    """64 KiB wait in each direction, and what the sockets hold; the others go on."""
    edge = tunnel_edge(server, workers=1)
    before = edge.rss()
    slow = [websocket.open_raw(edge, "/ws/flood") for _ in range(5)]
    stuck = [websocket.open_raw(edge, "/ws/quiet", plain=True) for _ in range(5)]
    echo = websocket.open_raw(edge, "/ws/echo")
    piece = frame(bytes(65536), BINARY)
    for c in stuck:
        c.socket.settimeout(0.5)
        for _ in range(1000):
            try:
                c.socket.send(piece)
            except TimeoutError:
                break
        else:
            raise AssertionError("64 MB went to an origin that reads nothing")

    def moved():
        return server.sent, edge.metric('selvage_tunnel_bytes_total{direction="up"}')

    def is_still():
        was = moved()
        echo.send(frame("hello"))
        assert read_frame(echo).payload == b"hello"
        sent, up = moved()
        return sent == was[0] and up == was[1] + len(frame("hello"))
    until(is_still, "the floods to stand still", 30)
    if not os.environ.get("SELVAGE_SANITIZER"):
        assert edge.rss() - before < 16 << 20
    for c in (*slow, *stuck, echo):
        c.close()
    # of those that are stuck the end stands behind bytes that the origin does not read
    edge.wait_for_metric_at_most(OPEN, len(stuck))


@pytest.mark.parametrize("who", ["client", "upstream"])
def test_an_end_without_a_goodbye_ends_the_other(raw, who):
    edge, ends, _ = raw()
    c = websocket.open_raw(edge, "/ws/raw")
    o = ends.one()
    if who == "client":
        c.send(frame("last words"))
        c.close()
        assert ends.read(o).payload == b"last words"
        with pytest.raises((Closed, ConnectionError)):
            ends.read(o)
    else:
        o.send(frame("last words", masked=False))
        o.socket.close()
        assert read_frame(c).payload == b"last words"
        assert c.is_closed()
    edge.wait_for_metric(ended(who), 1)
    assert edge.wait_access(lambda line: line["path"] == "/ws/raw")["reason"] == who
    assert edge.metric(OPEN) == 0


def test_a_goodbye_passes_and_its_code_with_it(server, make_fleet):
    edge, _ = make_fleet(server.url)

    async def leave():
        async with websocket.connect(edge, "/ws/echo") as ws:
            await ws.close(4321, "enough")
    websocket.run(leave())
    assert server.wait_codes(1) == [4321]


# ---- ceilings and time ----

def test_the_ceiling_of_a_site(server, tunnel_edge):
    edge = tunnel_edge(server, site={"tunnels": 3})
    held = [websocket.open_raw(edge, "/ws/echo") for _ in range(3)]
    with edge.h1() as c:
        c.send_request("/ws/echo", fields=handshake())
        reply = c.read()
    assert reply.status == 503 and reply.field("retry-after") == "10" and b"too many WebSockets" in reply.body
    assert edge.metric(REFUSED) == 1 and edge.metric(OPEN) == 3
    edge.reload()
    with edge.h1() as c:
        c.send_request("/ws/echo", fields=handshake())
        assert c.read().status == 503, "a reload has forgotten those that are open"
    held.pop().close()
    edge.wait_for_metric_at_most(OPEN, 2)
    websocket.open_raw(edge, "/ws/echo").close()
    for c in held:
        c.close()


def test_a_shield_that_has_too_many_is_left(server, make_fleet):
    edge, first, second = make_fleet(server.url, shields=2, shield_site={"tunnels": 2})
    held = [websocket.open_raw(edge, "/ws/echo") for _ in range(4)]
    for shield in (first, second):  # it is counted when the 101 is out
        shield.wait_for_metric(OPEN, 2)
    with edge.h1() as c:
        c.send_request("/ws/echo", fields=handshake())
        assert c.read().status == 503
    for c in held:
        c.close()


def test_tunnels_leave_the_origin_its_connections(origin, raw):
    """They hold no place under origin.connections."""
    edge, ends, _ = raw(site={"origin": {"servers": [origin.url], "allow_local": True, "connections": 2, "queue": 0}})
    held = [websocket.open_raw(edge, "/ws/raw") for _ in range(6)]
    origin.page("/page", b"hello")
    assert edge.get("/page").body == b"hello" and edge.get("/page").body == b"hello"
    assert edge.metric("selvage_upstream_running") == 0
    for c in held:
        c.close()


def test_an_idle_one_is_closed_with_1001(raw):
    edge, ends, _ = raw(site={"tunnel_idle": "1s"})
    with websocket.open_raw(edge, "/ws/raw") as c:
        o = ends.one()
        for _ in range(6):  # whoever says something is not idle
            o.send(frame(b"", PING, masked=False))
            assert read_frame(c).opcode == PING
        for f in (read_frame(c), ends.read(o)):
            assert (f.opcode, f.code) == (CLOSE, GOING_AWAY)
        c.send(frame(b"\x03\xe9", CLOSE))
        o.send(frame(b"\x03\xe9", CLOSE, masked=False))
        assert c.is_closed()
    assert edge.wait_access(lambda line: line["path"] == "/ws/raw")["reason"] == "idle"


# ---- the drain ----

def drain(edge):
    edge.process.terminate()


def test_a_drain_says_goodbye_to_both_ends(raw):
    edge, ends, _ = raw()
    with websocket.open_raw(edge, "/ws/raw") as c:
        o = ends.one()
        c.send(frame("hello"))
        assert ends.read(o).payload == b"hello"
        drain(edge)
        down, up = read_frame(c), ends.read(o)
        assert (down.opcode, down.code, down.masked) == (CLOSE, GOING_AWAY, False)
        assert (up.opcode, up.code, up.masked) == (CLOSE, GOING_AWAY, True)
        c.send(frame(b"\x03\xe9", CLOSE))
        o.send(frame(b"\x03\xe9", CLOSE, masked=False))
        assert c.is_closed()
        assert edge.stop(10) == 0
    line = edge.wait_access(lambda line: line["path"] == "/ws/raw")
    assert line["reason"] == "drain" and line["ms"] < 4000, "both ends have answered: nothing was to wait for"


def test_a_goodbye_waits_for_the_end_of_a_frame(raw):
    edge, ends, _ = raw(workers=1)
    with websocket.open_raw(edge, "/ws/raw") as older, websocket.open_raw(edge, "/ws/raw") as c:
        o = ends.one(1)
        long_up, long_down = frame(b"u" * 200000, BINARY), frame(b"d" * 200000, BINARY, masked=False)
        c.send(long_up[:70000])
        o.send(long_down[:70000])
        until(lambda: len(o.buffer) >= 70000 or o.read_more(), "the first part to come up")
        until(lambda: len(c.buffer) >= 70000 or c.read_more(c.sent_at + 20), "the first part to come down")
        drain(edge)
        assert read_frame(older).opcode == CLOSE, "the newest are closed first"
        c.send(long_up[70000:] + frame("too late"))
        o.send(long_down[70000:] + frame("too late", masked=False))
        assert read_frame(c).payload == b"d" * 200000 and ends.read(o).payload == b"u" * 200000
        for f in (read_frame(c), ends.read(o)):
            assert (f.opcode, f.code) == (CLOSE, GOING_AWAY)
        c.close()
        o.socket.close()
        assert edge.stop(10) == 0


def test_a_drain_does_not_wait_for_who_says_nothing(server, tunnel_edge):
    """In the middle of a frame, without an answer, or not reading: 5 s, and the drain's deadline."""
    edge = tunnel_edge(server)
    held = [websocket.open_raw(edge, path) for path in ("/ws/quiet", "/ws/flood", "/ws/echo")]
    held[2].send(frame(bytes(1000), BINARY)[:500])
    assert edge.stop(20) == 0
    for c in held:
        c.close()


def test_no_new_ones_while_it_drains(raw):
    edge, ends, _ = raw()
    c, idle = websocket.open_raw(edge, "/ws/raw"), edge.h1()
    assert idle.request("/.well-known/selvage/health").status == 200
    drain(edge)
    edge.wait_said("draining")
    try:
        idle.send_request("/ws/raw", fields=handshake())
        assert idle.read().status in (503, None)
    except (Closed, ConnectionError):
        pass
    c.close()
    idle.close()


def test_the_shield_s_drain_reaches_the_client(server, make_fleet):
    edge, shield = make_fleet(server.url)

    async def until_closed():
        async with websocket.connect(edge, "/ws/echo") as ws:
            await ws.send("hello")
            assert await ws.recv() == "hello"
            drain(shield)
            with pytest.raises(websockets.ConnectionClosed):
                await ws.recv()
            return ws.close_code
    assert websocket.run(until_closed()) == GOING_AWAY
    assert server.wait_codes(1) == [GOING_AWAY]
    assert shield.stop() == 0


# ---- failover before the 101 ----

def test_the_next_hop_when_a_shield_is_away(server, make_fleet):
    edge, first, second = make_fleet(server.url, shields=2, direct="allowed")
    assert websocket.run(talk(edge, "/ws/echo")) == 1000
    first.kill()
    assert websocket.run(talk(edge, "/ws/echo")) == 1000
    second.kill()
    assert websocket.run(talk(edge, "/ws/echo")) == 1000
    assert ", ".join(server.opened[-1][1].get_all("Via")) == "1.1 edge-a"


def test_a_revoked_edge_loses_its_tunnels(server, make_fleet):
    edge, shield = make_fleet(server.url)
    c = websocket.open_raw(edge, "/ws/echo")
    shield.revoked = [{"name": "edge-a"}]
    shield.write_config()
    shield.reload()
    assert c.is_closed(), "the tunnel outlives its edge's certificate"
    c.close()
