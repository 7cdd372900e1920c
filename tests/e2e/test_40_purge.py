"""A purge that was acknowledged holds: at once, for all variants, for what is in flight, after a
crash."""
from concurrent.futures import ThreadPoolExecutor

import pytest

OLD, NEW = b"old", b"new and longer"
URL = "https://www.test"


def page_of(origin, path="/foo", **more):
    return origin.page(path, OLD, **{"cache_control": "max-age=600", "etag": '"old"',
                                     "fields": [("Surrogate-Key", "red green"), ("Cache-Tag", "blue, dark green")],
                                     **more})


def renew(page):
    page.body, page.etag = NEW, '"new"'


@pytest.mark.parametrize("scope", [
    {"url": f"{URL}/foo"}, {"url": f"{URL}/%66oo"}, {"url": f"{URL}:443/foo"}, {"url": "HTTPS://WWW.test/x/../foo"},
    {"prefix": f"{URL}/fo"}, {"prefix": f"{URL}/"}, {"prefix": f"{URL}/%66"},
    {"tag": "red"}, {"tag": "green"}, {"tag": "blue"}, {"tag": "dark green"}, {"host": "www.test"},
    {"host": "WWW.test."}, {"all": True},
])
def test_every_kind_of_purge_holds(edge, origin, scope):
    page = page_of(origin)
    edge.fill("/foo")
    renew(page)
    assert edge.get("/foo").body == OLD
    edge.purge(scope)
    for ask in (edge.get, edge.get2):
        assert ask("/foo").body == NEW
    # What was purged is no validator either.
    assert page.requests[-1].field("if-none-match") is None
    edge.wait_idle()
    assert edge.get("/foo").is_hit


@pytest.mark.parametrize("scope", [
    {"url": f"{URL}/fo"}, {"url": f"{URL}/foo/"}, {"url": f"{URL}/foo?"}, {"url": f"{URL}/FOO"},
    {"url": "https://other.test/foo"}, {"prefix": f"{URL}/foo/"}, {"prefix": "https://other.test/"},
    {"tag": "re"}, {"tag": "Red"}, {"tag": "red green"}, {"host": "x.wild.test"},
])
def test_others_stay(make_edge, make_origin, scope):
    origin = make_origin()
    edge = make_edge(sites=[
        {"name": "www", "hosts": ["www.test", "*.wild.test"],
         "origin": {"servers": [origin.url], "allow_local": True}},
        {"name": "other", "hosts": ["other.test"], "origin": {"servers": [origin.url], "allow_local": True}}])
    page = page_of(origin)
    edge.fill("/foo")
    renew(page)
    edge.purge(scope)
    assert edge.get("/foo").is_hit
    assert page.hits == 1


@pytest.mark.parametrize("target", ["/foo", "/%66oo", "/./foo", "/a/../foo", "/%66%6F%6f"])
def test_the_purged_url_is_purged_in_every_spelling(edge, origin, target):
    page = origin.page(target, OLD, cache_control="max-age=600")
    edge.fill(target)
    page.body = NEW
    edge.purge(url=f"{URL}/foo")
    assert edge.get(target).body == NEW


def test_all_variants_go(edge, origin):
    page = page_of(origin, fields=[("Vary", "Accept-Language, X-More")])
    languages = ["de", "fr", "en", None]
    for language in languages:
        edge.fill("/foo", fields=[("Accept-Language", language)] if language else [])
    assert page.hits == 4
    renew(page)
    edge.purge(url=f"{URL}/foo")
    for language in languages:
        assert edge.get("/foo", fields=[("Accept-Language", language)] if language else []).body == NEW


def test_both_schemes_go(edge, origin):
    page = page_of(origin)
    edge.fill("/foo")
    edge.fill("/foo", plain=True)
    renew(page)
    edge.purge(url=f"{URL}/foo")
    assert edge.get("/foo").body == edge.get("/foo", plain=True).body == NEW


@pytest.mark.parametrize("where", ["head", "body"])
def test_a_fetch_in_flight_is_covered(edge, origin, where):
    """What was asked for before the purge and comes after it is given to those who waited for it,
    and to nobody after."""
    page = page_of(origin)
    page.body = OLD * 20_000
    page.hold(where, 1000)
    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(edge.get, "/foo")
        page.wait_held()
        edge.purge(url=f"{URL}/foo")
        old, page.held_where = page, None  # the next request is answered at once
        later = origin.page("/foo", NEW, cache_control="max-age=600")
        assert edge.get("/foo").body == NEW
        old.release()
        assert early.result(timeout=20).status == 200
    edge.wait_idle()
    assert later.hits == 2
    for _ in range(3):
        assert edge.get("/foo").body == NEW
    assert later.hits == 2


def test_a_fetch_in_flight_is_not_stored_after_the_purge(edge, origin):
    page = page_of(origin)
    page.hold()
    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(edge.get, "/foo")
        page.wait_held()
        edge.purge(tag="red")  # nobody knows yet that it has this tag
        page.release()
        assert early.result(timeout=20).body == OLD
    edge.wait_idle()
    renew(page)
    assert edge.get("/foo").body == NEW


def test_a_background_refresh_in_flight_is_covered(edge, origin):
    page = page_of(origin, cache_control="max-age=0, stale-while-revalidate=600")
    edge.fill("/foo")
    page.hold()
    assert edge.get("/foo").body == OLD
    page.wait_held()
    edge.purge(url=f"{URL}/foo")
    later = origin.page("/foo", NEW, cache_control="max-age=600")
    assert edge.get("/foo").body == NEW
    page.release()  # "not modified" of what is dead
    edge.wait_idle()
    assert edge.get("/foo").body == NEW
    assert later.hits >= 1


def test_a_purged_copy_is_no_last_good_copy(edge, origin):
    page = page_of(origin)
    edge.fill("/foo")
    edge.purge(url=f"{URL}/foo")
    page.fault = "close"
    r = edge.get("/foo")
    assert r.status in (502, 503) and OLD not in r.body[:3]


def test_a_soft_purge_makes_stale(edge, origin):
    page = page_of(origin)
    edge.fill("/foo")
    edge.purge(url=f"{URL}/foo", soft=True)
    r = edge.get("/foo")  # validated: 304
    assert r.body == OLD and not r.field("x-none")
    assert page.requests[-1].field("if-none-match") == '"old"'
    edge.wait_idle()
    assert edge.get("/foo").is_hit  # fresh again
    renew(page)
    edge.purge(url=f"{URL}/foo", soft=True)
    assert edge.get("/foo").body == NEW


def test_a_soft_purged_copy_serves_when_the_origin_fails(edge, origin):
    page = page_of(origin)
    edge.fill("/foo")
    edge.purge(tag="blue", soft=True)
    origin.refuse()
    assert edge.get("/foo").body == OLD
    assert page.hits == 1


def test_positions_grow_by_one_a_scope(edge, origin):
    a = edge.purge(url=f"{URL}/a")
    b = edge.purge({"url": f"{URL}/a"}, {"tag": "t"}, {"prefix": f"{URL}/p"})
    assert (a["epoch"], a["n"] + 3) == (b["epoch"], b["n"])
    assert edge.status()["positions"]["n"] == b["n"]


def test_an_id_is_carried_out_once(edge):
    body = {"scopes": [{"url": f"{URL}/a"}], "id": "deploy-17"}
    first, second = (edge.admin("POST", "/purge", body) for _ in range(2))
    assert first[0] == second[0] == 200
    assert first[1] == second[1]


def test_purges_hold_after_a_restart(edge, origin):
    page = page_of(origin)
    edge.fill("/foo")
    position = edge.purge(url=f"{URL}/foo")
    renew(page)
    edge.restart()
    assert edge.status()["positions"]["n"] == position["n"]
    assert edge.get("/foo").body == NEW


def rounds(edge, origin, n):
    kinds = [lambda i: {"url": f"{URL}/foo"}, lambda i: {"prefix": f"{URL}/"}, lambda i: {"tag": "v"},
             lambda i: {"host": "www.test"}, lambda i: {"all": True}]
    page = origin.page("/foo", cache_control="max-age=600", fields=[("Cache-Tag", "v")])
    for i in range(n):
        page.body = b"body of round %d" % i
        r = edge.get("/foo")
        assert r.body == page.body, f"round {i}: an old body"
        edge.wait_stored()
        assert edge.get("/foo").is_hit
        edge.purge(kinds[i % len(kinds)](i))
        edge.kill()  # at once after the acknowledgement
        edge.start()


def test_acknowledge_kill_start_ask(edge, origin):
    rounds(edge, origin, 10)


@pytest.mark.long
@pytest.mark.limit(600)
def test_acknowledge_kill_start_ask_200_times(edge, origin):
    rounds(edge, origin, 200)


@pytest.mark.parametrize("body, says", [
    ({"scopes": []}, "scope"), ({"scopes": [{"url": "/foo"}]}, "url"), ({"scopes": [{"urls": "x"}]}, ""),
    ({"scopes": [{"tag": ""}]}, ""), ({"scopes": [{"all": False}]}, ""), ({}, "scopes"), ("[]", ""), ("{", ""),
    ({"scopes": [{"url": f"{URL}/a", "tag": "b"}]}, ""), ({"scopes": [{"tag": "a"}] * 1001}, "1000"),
    ({"scopes": [{"url": "ftp://www.test/"}]}, ""), ({"scopes": [{"url": f"{URL}/foo#part"}]}, "no URL"), ({"scopes": [{"tag": "a"}], "id": "a b"}, "id"),
])
def test_a_purge_that_makes_no_sense_is_refused(edge, body, says):
    status, text = edge.admin("POST", "/purge", body)
    assert status == 400, text
    assert says in text
    assert edge.status()["positions"]["n"] == 0


@pytest.mark.parametrize("query, asked, named", [
    ({"sort": True}, "/p?b=1&a=2", "/p?b=1&a=2"),
    ({"sort": True}, "/p?%62=1&a=2", "/p?b=1&a=2"),
    ({"drop": "tracking"}, "/p?a=1", "/p?utm_source=x&a=1&fbclid=y"),
    ({"keep": "none"}, "/p?a=1", "/p?b=2"),
    ({"keep": ["a"], "sort": True}, "/p?x=1&a=1", "/p?a=1&x=2"),
])
def test_a_url_is_purged_by_any_name_that_the_site_makes_one(make_edge, origin, query, asked, named):
    """What a person copies from a browser has parameters that the key lacks, or has in another order."""
    edge = make_edge(origin, site={"query": query})
    page = origin.page("/p", b"old", cache_control="max-age=600")
    edge.fill(asked)
    page.body = b"new"
    edge.purge({"url": "https://www.test" + named})
    assert edge.get(asked).body == b"new"
