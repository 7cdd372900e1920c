"""A thousand WebSockets through two edges and a shield, one of them slow; then one edge drains."""
import asyncio
import multiprocessing
import time

import pytest

from testenv import websocket
from testenv.wait import seconds

pytestmark = pytest.mark.long

EACH = 500  # of an edge
ROUNDS = 10
OPEN_AT_ONCE = 50
RULES = [{"path": "/ws/*", "websocket": True}]


def serve(port):
    s = websocket.Server()
    port.send(s.port)
    port.recv()
    s.close()


@pytest.fixture
def server_url():
    """In a process of its own: what it takes of the time is not ours."""
    here, there = multiprocessing.Pipe()
    p = multiprocessing.get_context("fork").Process(target=serve, args=(there,), daemon=True)
    p.start()
    yield f"http://127.0.0.1:{here.recv()}"
    here.send("end")
    p.join(20)


async def open_all(edge):
    gate = asyncio.Semaphore(OPEN_AT_ONCE)

    async def one():
        async with gate:
            return await websocket.connect(edge, "/ws/echo", open_timeout=seconds(60))
    return await asyncio.gather(*(one() for _ in range(EACH)))


async def echoes(sockets, times):
    """All of them at once, ROUNDS times; each message its own."""
    async def one(i, ws):
        for n in range(ROUNDS):
            began, message = time.monotonic(), f"{i} {n} " + "x" * 100
            await ws.send(message)
            assert await asyncio.wait_for(ws.recv(), seconds(60)) == message
            times.append(time.monotonic() - began)
    await asyncio.gather(*(one(i, ws) for i, ws in enumerate(sockets)))


def show(what, times):
    times.sort()
    print(f"{what}: {len(times)} echoes, median {times[len(times) // 2] * 1000:.1f} ms, "
          f"99th percentile {times[len(times) * 99 // 100] * 1000:.1f} ms")
    return times[len(times) * 99 // 100]


@pytest.mark.limit(400)
def test_a_thousand_websockets(make_edge, make_shield, fleet, server_url):
    site = {"origin": {"servers": [server_url], "allow_local": True}, "rules": RULES, "tunnels": 2000}
    shield = make_shield(None, site=site)
    edges = [make_edge(None, site=site, config={
        "node": name, "peer": fleet.peer(name), "drain": "15s",
        "upstream": {"shields": [[shield.url]], "direct": "refused"}}) for name in ("edge-a", "edge-b")]
    before = {e: e.rss() for e in (*edges, shield)}

    async def crowd():
        leaving = await open_all(edges[0])
        staying = await open_all(edges[1])
        assert sum(e.metric("selvage_tunnels") for e in edges) == shield.metric("selvage_tunnels") == 2 * EACH
        times = []
        await echoes(leaving + staying, times)
        alone = show("a thousand at once", times)
        slow = websocket.open_raw(edges[1], "/ws/flood")  # and never reads
        times = []
        await echoes(leaving + staying, times)
        assert show("beside one that does not read", times) < 3 * alone + 0.1
        for e, was in before.items():
            print(f"{e.directory.name}: {(e.rss() - was) / 1024 / 1024:.0f} MiB more than before")

        edges[0].process.terminate()
        times = []
        closed = [asyncio.create_task(ws.wait_closed()) for ws in leaving]
        await echoes(staying, times)
        await asyncio.wait_for(asyncio.gather(*closed), seconds(60))
        assert {ws.close_code for ws in leaving} == {websocket.GOING_AWAY}
        await echoes(staying, times)
        show("while the other edge drained", times)
        assert all(ws.open for ws in staying)
        slow.close()
        await asyncio.gather(*(ws.close() for ws in staying))
        assert {ws.close_code for ws in staying} == {1000}

    websocket.run(crowd(), 390)
    assert edges[0].stop() == 0
    for node in (edges[1], shield):
        node.wait_for_metric_at_most("selvage_tunnels", 0)
    assert edges[0].process.returncode == 0
    lines = [line for line in edges[0].access() if line["path"] == "/ws/echo"]
    assert len(lines) == EACH and {line["reason"] for line in lines} == {"drain"}
