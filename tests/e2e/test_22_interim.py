"""Interim responses (RFC 9110 section 15.2, RFC 8297): relayed at once, to the one who asked, and never stored."""
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

LINK = "</a.css>; rel=preload; as=style"
EARLY = f"HTTP/1.1 103 Early Hints\r\nLink: {LINK}\r\nX-Early: 1\r\n\r\n"
FINAL = "HTTP/1.1 200 OK\r\nCache-Control: public, max-age=60\r\nContent-Length: 4\r\n\r\nbody"


class Early:
    """A page that says `early` at once, and the rest when it is let go on; both together if it was before."""

    def __init__(self, origin, path, early=EARLY, final=FINAL):
        self.may_go_on = threading.Event()
        self.early, self.final = early, final
        self.page = origin.page(path, handler=self.answer)

    def answer(self, request, c):
        if self.may_go_on.is_set():  # all of it in one packet
            c.send((self.early + self.final).encode())
            return True
        c.send(self.early.encode())
        while not self.may_go_on.wait(0.02):
            c.check(request)
        c.send(self.final.encode())
        return True


@pytest.fixture
def early(origin):
    e = Early(origin, "/a")
    yield e
    e.may_go_on.set()


def is_early(interim):
    status, fields = interim
    return status == 103 and ("link", LINK) in fields and ("x-early", "1") in fields


def must_be_final(reply):
    assert (reply.status, reply.body, reply.field("link"), reply.field("x-early")) == (200, b"body", None, None)


def ask_slowly(c, early):
    """Over HTTP/1.1: the hint is there before the origin has said anything else."""
    c.send_request("/a")
    assert is_early(c.read_head(interim=True).interims[0])
    early.may_go_on.set()
    reply = c.read()
    assert reply.interims == []
    must_be_final(reply)


@pytest.mark.parametrize("plain", [False, True])
def test_a_103_is_relayed_at_once_and_not_stored(edge, early, plain):
    with edge.h1(plain=plain) as c:
        ask_slowly(c, early)
        edge.wait_idle()
        hit = c.request("/a")  # the connection goes on
        assert hit.is_hit and hit.interims == []
        must_be_final(hit)


def test_a_103_is_relayed_at_once_over_http2(edge, early):
    with edge.h2() as c:
        i = c.start("/a")
        c.wait(lambda: c.replies[i].interims)
        assert is_early(c.replies[i].interims[0]) and c.replies[i].status is None
        early.may_go_on.set()
        must_be_final(c.finish(i))
        edge.wait_idle()
        hit = c.request("/a")
        assert hit.is_hit and hit.interims == []
        must_be_final(hit)


def test_a_103_comes_through_a_shield(make_edge, fleet, origin, shield, early):
    edge = make_edge(origin, config={"node": "edge", "peer": fleet.peer("edge"), "upstream": {"shields": [[shield.url]]}})
    with edge.h1() as c:
        ask_slowly(c, early)


def test_several_in_a_row_and_passes_too(edge, origin):
    many = "".join(f"HTTP/1.1 {s} X\r\nX-N: {i}\r\n\r\n" for i, s in enumerate((102, 103, 103, 199)))
    e = Early(origin, "/p", "HTTP/1.1 100 Continue\r\n\r\n" + many)
    e.may_go_on.set()
    for ask in (edge.get, edge.get2):
        reply = ask("/p", "POST", body=b"x")
        must_be_final(reply)
        assert [(s, dict(f)["x-n"]) for s, f in reply.interims] == [(102, "0"), (103, "1"), (103, "2"), (199, "3")]


def test_nobody_is_flooded_with_interim_responses(edge, origin):
    e = Early(origin, "/p", EARLY * 100)
    e.may_go_on.set()
    for ask in (edge.get, edge.get2):
        reply = ask("/p", "POST", body=b"x")
        must_be_final(reply)
        assert len(reply.interims) == 16


def test_fields_of_the_hop_and_of_the_fleet_stay_behind(edge, origin):
    e = Early(origin, "/p", "HTTP/1.1 103 X\r\nConnection: x-hop\r\nX-Hop: 1\r\nSurrogate-Key: k\r\nSelvage-Error: y\r\n"
              "Age: 4\r\nLink: </x>\r\n\r\n")
    e.may_go_on.set()
    for ask in (edge.get, edge.get2):
        (_, fields), = ask("/p", "POST", body=b"x").interims
        assert [f for f in fields if f[0] != "date"] == [("link", "</x>")]


def test_those_who_wait_hear_the_answer_alone(edge, early):
    with edge.h1() as first, ThreadPoolExecutor() as pool:
        first.send_request("/a")
        assert first.read_head(interim=True).interims
        waiting = [pool.submit(ask, "/a") for ask in (edge.get, edge.get2)]
        edge.wait_for_metric("selvage_collapse_waiters", 2)
        early.may_go_on.set()
        for w in waiting:
            must_be_final(w.result())
            assert w.result().interims == []
        must_be_final(first.read())


def test_http_1_0_knows_no_interim_responses(edge, early):
    early.may_go_on.set()
    with edge.h1(plain=True) as c:
        c.send("GET /a HTTP/1.0\r\nHost: www.test\r\n\r\n")
        reply = c.read()
        assert reply.interims == []
        must_be_final(reply)


def test_a_client_that_leaves_after_the_hint_costs_nothing(edge, early):
    with edge.h1() as c:
        c.send_request("/a")
        assert c.read_head(interim=True).interims
    early.page.wait_gone()
    early.may_go_on.set()
    must_be_final(edge.get("/a"))
