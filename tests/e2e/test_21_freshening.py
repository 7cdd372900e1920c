"""What a 304 changes, and what it leaves alone (RFC 9111 sections 3.2 and 4.3.4)."""
import pytest


def stale(origin, **more):
    """A page that must be validated at each use."""
    return origin.page("/a", b"body", **{"cache_control": "public, no-cache", "etag": '"1"', "fields": [("X-A", "old")], **more})


def test_a_304_from_a_shield_brings_all_that_changed(make_edge, fleet, origin, shield):
    page = stale(origin)
    edge = make_edge(origin, config={"node": "edge", "peer": fleet.peer("edge"), "upstream": {"shields": [[shield.url]]}})
    assert edge.fill("/a").field("x-a") == "old"
    shield.wait_idle()
    page.fields = [("X-A", "new"), ("Content-Foo", "new")]
    reply = edge.get("/a")
    assert page.requests[-1].field("if-none-match") == '"1"'
    assert (reply.body, reply.field("x-a"), reply.field("content-foo")) == (b"body", "new", "new")


def test_the_age_of_a_304_from_a_shield_counts(make_edge, make_shield, fleet, origin):
    """Fresh at the shield by its rule, and older than max-age: what it validates is stale at the edge all the same."""
    page = origin.page("/a", b"body", cache_control="max-age=60", etag='"1"', fields=[("Age", "100")])
    shield = make_shield(origin, site={"rules": [{"path": "*", "ttl": "600s"}]})
    edge = make_edge(origin, config={"node": "edge", "peer": fleet.peer("edge"), "upstream": {"shields": [[shield.url]]}})
    assert edge.fill("/a").field("age") == "100"
    shield.wait_idle()
    for _ in range(2):
        reply = edge.get("/a")
        assert (reply.body, reply.fwd) == (b"body", "stale")
        assert int(reply.field("age")) >= 100
        edge.wait_idle()
    assert page.hits == 1


def test_a_date_of_the_client_is_answered_after_validation(edge, origin):
    then, later = "Mon, 01 Jan 2024 00:00:00 GMT", "Tue, 02 Jan 2024 00:00:00 GMT"
    page = stale(origin, etag=None, last_modified=then)
    edge.fill("/a")
    for since, status in ((then, 304), (later, 304), ("Sun, 31 Dec 2023 23:59:59 GMT", 200)):
        assert edge.get("/a", fields=[("If-Modified-Since", since)]).status == status
        assert page.requests[-1].all("if-modified-since") == [then]


def test_a_304_with_another_date_speaks_of_another_page(edge, origin):
    """A page that was set back: "not modified since", and yet not the one that is stored."""
    new, old = "Tue, 02 Jan 2024 00:00:00 GMT", "Mon, 01 Jan 2024 00:00:00 GMT"
    page = stale(origin, etag=None, last_modified=new)
    edge.fill("/a")
    page.body, page.last_modified = b"as before", old
    page.validates = lambda request: request.field("if-modified-since") == new
    assert edge.get("/a").body == b"as before"
    assert [r.field("if-modified-since") for r in page.requests] == [None, new, None]


def test_a_head_with_a_condition_where_nothing_is_stored(edge, origin):
    page = origin.page("/a", b"body", cache_control="max-age=60", etag='"1"')
    reply = edge.get("/a", method="HEAD", fields=[("If-None-Match", '"1"')])
    assert (reply.status, reply.body) == (304, b"")
    assert (page.requests[0].method, page.requests[0].field("if-none-match")) == ("HEAD", '"1"')
    edge.wait_idle()
    assert not edge.get("/a").is_hit


def test_a_cookie_that_came_with_a_304_is_for_the_one_who_asked(edge, origin):
    page = stale(origin)
    edge.fill("/a")
    page.fields = [("X-A", "new"), ("Set-Cookie", "session=1")]
    assert edge.get("/a").field("set-cookie") == "session=1"
    edge.wait_idle()
    page.fields = []
    reply = edge.get("/a")
    assert (reply.field("x-a"), reply.field("set-cookie")) == ("new", None)


def test_under_rfc_a_cookie_of_a_304_is_stored_like_any_field(make_edge, origin):
    edge = make_edge(origin, site={"set_cookie": "rfc"})
    page = stale(origin, fields=[("Set-Cookie", "session=0")])
    edge.fill("/a")
    page.fields = [("Set-Cookie", "session=1")]
    assert edge.get("/a").field("set-cookie") == "session=1"
    edge.wait_idle()
    page.fields = []
    assert edge.get("/a").field("set-cookie") == "session=1"


def test_the_origin_is_asked_about_ours_and_the_clients_tags(edge, origin):
    page = stale(origin)
    edge.fill("/a")
    assert edge.get("/a", fields=[("If-None-Match", '"x", "y"')]).status == 200  # ours is current, and not theirs
    assert page.requests[-1].all("if-none-match") == ['"1"', '"x", "y"']
    assert edge.get("/a", fields=[("If-None-Match", '"1"')]).status == 304


def test_a_304_for_what_the_client_alone_has_is_relayed_and_takes_ours_away(edge, origin):
    page = stale(origin)
    edge.fill("/a")
    page.body, page.etag = b"new", '"2"'
    assert edge.get("/a", fields=[("If-None-Match", '"2"')]).status == 304
    edge.wait_idle()
    assert edge.get("/a").body == b"new"
    assert page.requests[-1].field("if-none-match") is None


def test_where_nothing_is_stored_the_clients_condition_goes_on(edge, origin):
    page = origin.page("/a", b"body", cache_control="max-age=60", etag='"1"')
    mine = [("If-None-Match", '"1"'), ("If-Modified-Since", "x")]
    assert edge.get("/a", fields=mine).status == 304
    assert (page.requests[-1].field("if-none-match"), page.requests[-1].field("if-modified-since")) == ('"1"', "x")
    # one such answer is enough: what comes next is for everybody
    assert edge.fill("/a", fields=mine).status == 304
    assert page.requests[-1].field("if-none-match") is None
    assert edge.get("/a", fields=mine).is_hit
    assert page.hits == 2


def test_those_who_waited_for_a_304_of_another_ask_for_the_whole_once(edge, origin):
    page = origin.page("/a", b"body", cache_control="max-age=60", etag='"1"')
    page.hold()
    with edge.h2() as c:
        first = c.start("/a", fields=[("If-None-Match", '"1"')])
        page.wait_hits(1)
        others = [c.start("/a", fields=[("If-None-Match", '"1"')]) for _ in range(50)]
        edge.wait_for_metric("selvage_collapse_waiters", 50)
        page.release()
        assert c.finish(first).status == 304
        assert {c.finish(i).status for i in others} == {304}
    assert page.hits == 2


@pytest.mark.parametrize("last_modified, came", [("Mon, 01 Jan 2024 00:00:00 GMT", "fwd-status=304"), (None, "fwd=stale; ttl")])
def test_a_head_that_agrees_brings_the_stored_page_up_to_date(edge, origin, last_modified, came):
    """Validated by a 304, or described by a 200 whose length is that of what is stored."""
    page = origin.page("/a", b"body", cache_control="max-age=0, stale-if-error=60", fields=[("X-A", "old")], last_modified=last_modified)
    edge.fill("/a")
    page.cache_control, page.fields = "max-age=600", [("X-A", "new")]
    reply = edge.get("/a", method="HEAD")
    assert (reply.status, reply.field("x-a"), reply.field("content-length")) == (200, "new", "4")
    assert came in reply.cache_status
    edge.wait_idle()
    reply = edge.get("/a")
    assert reply.is_hit and (reply.body, reply.field("x-a")) == (b"body", "new")
    assert [r.method for r in page.requests] == ["GET", "HEAD"]


def test_a_head_that_differs_takes_the_stored_page_away(edge, origin):
    page = origin.page("/a", b"body", cache_control="max-age=0, stale-while-revalidate=600", etag='"1"')
    edge.fill("/a")
    page.body, page.etag, page.cache_control = b"longer", '"2"', "max-age=600"
    edge.get("/a", method="HEAD", fields=[("Cache-Control", "no-cache")])
    edge.wait_idle()
    assert edge.get("/a").body == b"longer"


def test_what_many_ask_for_is_validated_before_its_end(edge, origin):
    """Old when it comes: a second left of two.  In the last tenth of that second the ninth hit has it validated."""
    page = origin.page("/a", b"body", cache_control="max-age=12", etag='"1"', fields=[("Age", "10")])
    edge.fill("/a")
    page.fields = []

    def asked():
        reply = edge.get("/a")
        assert reply.body == b"body"
        return edge.metric("selvage_refresh_ahead_total") == 1

    with edge.h1() as c:
        for _ in range(8):
            assert c.request("/a").is_hit
    from testenv.wait import until
    until(asked, "a validation ahead of its time", 10, every=0.02)
    edge.wait_idle()
    assert page.requests[1].field("if-none-match") == '"1"'
    assert edge.get("/a").is_hit  # its new life of 12 s


def test_a_targeted_field_of_the_sites_own_name(make_edge, origin):
    edge = make_edge(origin, site={"targeted_fields": ["My-CDN-Cache-Control"]})
    origin.page("/a", b"body", cache_control="no-store",
                fields=[("My-CDN-Cache-Control", "max-age=60"), ("CDN-Cache-Control", "no-store")])
    assert edge.fill("/a").field("my-cdn-cache-control") == "max-age=60"
    assert edge.get("/a").is_hit


def test_a_304_that_changes_vary_is_not_found_by_the_wrong_ones(edge, origin):
    page = stale(origin)
    edge.fill("/a")
    page.fields, page.cache_control = [("Vary", "Foo")], "public, max-age=60"
    assert edge.get("/a", fields=[("Foo", "1")]).body == b"body"
    edge.wait_idle()
    page.body, page.etag = b"for 2", '"2"'
    assert edge.get("/a", fields=[("Foo", "2")]).body == b"for 2"
