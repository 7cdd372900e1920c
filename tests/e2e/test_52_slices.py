"""Large objects in blocks (slice: 1MiB): a seek costs a block, and an answer is of one version."""
import hashlib

import pytest

from testenv.wait import until

BLOCK = 16 * 65512
BODY = b"".join(hashlib.sha256(str(i).encode()).digest() for i in range(5 * BLOCK // 32 + 1000))
SITE = {"rules": [{"path": "/v*", "slice": "1MiB"}]}


@pytest.fixture
def edge(make_edge, origin):
    return make_edge(origin, site=SITE)


@pytest.fixture
def video(origin):
    return origin.page("/v", BODY, cache_control="max-age=60", etag='"1"', ranges=True,
                       fields=[("Content-Type", "video/mp4")])


def asked(page):
    """The indexes of the blocks that the origin was asked for."""
    return [int(r.field("range").split("=")[1].split("-")[0]) // BLOCK for r in page.requests]


@pytest.mark.parametrize("get", ["get", "get2"])
def test_the_whole_in_blocks(edge, video, get):
    for n in (1, 2):
        r = getattr(edge, get)("/v")
        assert (r.status, r.complete, r.body == BODY) == (200, True, True)
        assert r.field("content-length") == str(len(BODY))
        assert r.field("content-range") is None
        assert r.is_hit == (n == 2)
        assert asked(video) == [0, 1, 2, 3, 4, 5]
        edge.wait_idle()


@pytest.mark.parametrize("get", ["get", "get2"])
def test_a_seek_costs_a_block(edge, video, get):
    first = 3 * BLOCK + 5
    r = getattr(edge, get)("/v", fields=[("Range", f"bytes={first}-{first + 99}")])
    assert (r.status, r.body) == (206, BODY[first:first + 100])
    assert r.field("content-range") == f"bytes {first}-{first + 99}/{len(BODY)}"
    assert asked(video) == [3]
    edge.wait_idle()
    assert edge.get("/v", fields=[("Range", f"bytes={3 * BLOCK}-{3 * BLOCK + 1}")]).is_hit
    assert asked(video) == [3]
    # over a border, to the end, a suffix, several
    assert edge.get("/v", fields=[("Range", f"bytes={4 * BLOCK - 2}-{4 * BLOCK + 1}")]).body == \
        BODY[4 * BLOCK - 2:4 * BLOCK + 2]
    assert edge.get("/v", fields=[("Range", f"bytes={5 * BLOCK}-")]).body == BODY[5 * BLOCK:]
    assert edge.get("/v", fields=[("Range", "bytes=-7")]).body == BODY[-7:]
    r = edge.get("/v", fields=[("Range", f"bytes={3 * BLOCK}-{3 * BLOCK}, 0-0")])
    assert r.status == 206 and r.field("content-type").startswith("multipart/byteranges; boundary=")
    assert sorted(asked(video)) == [0, 3, 4, 5]


def test_behind_the_end(edge, video):
    for _ in range(2):
        r = edge.get("/v", fields=[("Range", f"bytes={len(BODY)}-")])
        assert (r.status, r.field("content-range")) == (416, f"bytes */{len(BODY)}")


def test_blocks_survive_a_kill(edge, video):
    edge.get("/v", fields=[("Range", "bytes=0-9")])
    edge.wait_stored(1)
    edge.wait_idle()
    edge.kill_and_start()
    r = edge.get("/v", fields=[("Range", "bytes=5-9")])
    assert (r.status, r.body, r.is_hit) == (206, BODY[5:10], True)
    assert asked(video) == [0]


def test_another_version_cuts_the_answer_and_drops_all(edge, video):
    edge.get("/v", fields=[("Range", f"bytes=0-{2 * BLOCK - 1}")])
    edge.wait_idle()
    video.etag, video.body = '"2"', BODY[::-1]
    r = edge.get("/v")
    assert (r.status, r.complete) == (200, False)
    assert BODY.startswith(r.body) and len(r.body) <= 2 * BLOCK  # nothing of the new one
    assert edge.metric("selvage_slice_changes_total") == 1
    r = edge.get("/v")
    assert (r.complete, r.body == video.body, r.field("etag")) == (True, True, '"2"')


def test_a_purge_covers_all_blocks(edge, video):
    assert edge.get("/v").body == BODY
    edge.wait_idle()
    edge.purge(url="https://www.test/v")
    video.etag, video.body = '"2"', BODY[::-1]
    r = edge.get("/v", fields=[("Range", f"bytes={4 * BLOCK}-{4 * BLOCK + 9}")])
    assert r.body == video.body[4 * BLOCK:4 * BLOCK + 10]


def test_an_unsafe_method_invalidates_all_blocks(edge, video):
    assert edge.get("/v").body == BODY
    edge.wait_idle()
    edge.get("/v", method="POST", body=b"x")
    edge.wait_idle()
    before = video.hits
    for i in range(6):
        assert not edge.get("/v", fields=[("Range", f"bytes={i * BLOCK}-{i * BLOCK + 9}")]).is_hit
    assert video.hits == before + 6


def test_stale_blocks_are_validated(edge, video):
    assert edge.get("/v").body == BODY
    edge.wait_idle()
    edge.purge(url="https://www.test/v", soft=True)
    assert edge.get("/v", fields=[("Range", "bytes=0-9")]).body == BODY[:10]
    assert video.requests[-1].field("if-none-match") == '"1"'


@pytest.mark.parametrize("more", [{"etag": None}, {"etag": 'W/"1"'}, {"ranges": False}])
def test_what_cannot_be_sliced_is_served_as_it_is(edge, origin, more):
    page = origin.page("/v", BODY, cache_control="max-age=60", **{"etag": '"1"', "ranges": True, **more})
    r = edge.get("/v")
    assert (r.status, r.complete, r.body == BODY) == (200, True, True)
    edge.wait_idle()
    r = edge.get("/v", fields=[("Range", f"bytes={BLOCK}-{BLOCK + 9}")])
    assert (r.status, r.body, r.is_hit) == (206, BODY[BLOCK:BLOCK + 10], True)
    assert page.hits <= 2


def test_clients_of_one_block_cost_one_request(edge, video):
    from concurrent.futures import ThreadPoolExecutor
    video.hold()
    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(edge.get, "/v", fields=[("Range", f"bytes={n}-{n}")]) for n in range(20)]
        edge.wait_for_metric("selvage_collapse_waiters", 19)
        video.release()
        assert [w.result(timeout=20).body for w in waiting] == [BODY[n:n + 1] for n in range(20)]
    assert asked(video) == [0]


@pytest.mark.limit(120)
def test_memory_does_not_grow_with_the_object(edge, origin):
    """Many blocks for one client: each is given back before the next is asked for."""
    big = bytes(40 * BLOCK)
    origin.page("/v", big, cache_control="max-age=60", etag='"1"', ranges=True)
    before = edge.rss()
    r = edge.get("/v", timeout=100)
    assert (r.complete, len(r.body)) == (True, len(big))
    edge.wait_idle()
    until(lambda: edge.rss() < before + (24 << 20), f"memory to be given back: {edge.rss() - before >> 20} MiB")


def test_through_a_shield(make_edge, make_shield, fleet, origin, video):
    shield = make_shield(origin, site=SITE)
    edge = make_edge(origin, site=SITE, config={
        "upstream": {"shields": [[shield.url]], "direct": "refused"},
        "node": "edge-a", "peer": fleet.peer("edge-a")})
    r = edge.get("/v", fields=[("Range", f"bytes={2 * BLOCK + 7}-{2 * BLOCK + 16}")])
    assert (r.status, r.body) == (206, BODY[2 * BLOCK + 7:2 * BLOCK + 17])
    assert asked(video) == [2]
    assert edge.get("/v").body == BODY
    assert sorted(asked(video)) == [0, 1, 2, 3, 4, 5]
