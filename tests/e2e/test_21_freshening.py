"""What a 304 changes, and what it leaves alone (RFC 9111 sections 3.2 and 4.3.4)."""


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
