"""Purges through the tiers: edges follow the shield's journal, whatever order things come in."""
import json
import signal
import time

import pytest

from testenv.wait import seconds, until

OLD, NEW = b"old", b"new and longer"
URL = "https://www.test"


def page_of(origin, path="/foo", **more):
    return origin.page(path, OLD, **{"cache_control": "max-age=600", "etag": '"old"', **more})


def renew(page):
    page.body, page.etag = NEW, '"new"'


@pytest.fixture
def make_follower(make_edge, fleet, origin):
    """An edge behind these shields; the first owns the journal."""
    def make(name, *shields, config=None, start=True, **more):
        return make_edge(origin, start=start, **more, config={
            "node": name, "peer": fleet.peer(name), "upstream": {"shields": [[s.url] for s in shields]},
            **(config or {})})
    return make


def place(node):
    p = node.status()["positions"]
    return p["epoch"], p["n"]


def wait_caught_up(edge, shield, timeout=10):
    until(lambda: place(edge) == place(shield), "the edge to have caught up", timeout)


def test_a_purge_at_the_shield_holds_at_every_edge(make_follower, shield, origin):
    a, b = make_follower("edge-a", shield), make_follower("edge-b", shield)
    page = page_of(origin)
    for e in (a, b):
        assert e.get("/foo").body == OLD
        e.wait_idle()
        assert e.get("/foo").is_hit
    assert page.hits == 1  # the second edge had it from the shield
    renew(page)
    shield.purge(url=f"{URL}/foo")
    for e in (a, b):
        wait_caught_up(e, shield)
        assert e.get("/foo").body == NEW
        e.wait_idle()
        assert e.get("/foo").is_hit
    assert page.hits == 2


def test_purges_are_sent_to_the_owner(make_follower, shield):
    a = make_follower("edge-a", shield)
    status, text = a.admin("POST", "/purge", {"scopes": [{"url": f"{URL}/"}], "soft": False})
    assert status == 421 and shield.url in text
    assert a.status()["follows"] and not shield.status()["follows"]


def test_an_edge_that_was_off_catches_up_before_it_serves(make_follower, shield, origin):
    edge = make_follower("edge-a", shield)
    page = page_of(origin)
    other = page_of(origin, "/other")
    edge.fill("/foo", "/other")
    edge.kill()
    for i in range(0, 1000, 100):
        shield.purge(*({"url": f"{URL}/{j}"} for j in range(i, i + 100)))
    shield.purge(url=f"{URL}/foo")
    renew(page)
    edge.start()
    assert place(edge) == place(shield)
    assert edge.get("/foo").body == NEW
    assert edge.get("/other").is_hit and other.hits == 1


def test_the_refill_race(make_follower, make_shield, fleet, origin):
    """The edge hears of the purge first; its shield, which follows too, is held back."""
    owner = make_shield(origin, name="owner")
    behind = make_shield(origin, name="behind", config={"journal": {"owner": owner.url}})
    edge = make_follower("edge-a", behind, config={"journal": {"owner": owner.url}})
    page = page_of(origin)
    edge.fill("/foo")
    assert page.hits == 1
    # a shield that cannot hear of purges, yet answers: its owner no longer lets it in
    owner.revoked = [{"name": "behind"}]
    owner.write_config()
    owner.reload()
    until(lambda: members(owner).get("behind", {}).get("connected") is not True, "the shield to be cut off")
    renew(page)
    owner.purge(url=f"{URL}/foo")
    wait_caught_up(edge, owner)
    assert place(behind) != place(owner)
    for _ in range(3):
        assert edge.get("/foo").body == NEW
    edge.wait_idle()
    assert edge.get("/foo").is_hit
    assert behind.metric("selvage_fence_total{event=\"alone\"}") >= 1


def members(owner):
    status, text = owner.admin("GET", "/members")
    assert status == 200, text
    return {m["node"]: m for m in json.loads(text)["members"]}


def test_a_stopped_owner_and_its_return(make_follower, shield, origin):
    edge = make_follower("edge-a", shield, config={"journal": {"grace": f"{seconds(2):g}s"}})
    page = page_of(origin)
    edge.fill("/foo")
    page.requests.clear()
    shield.kill()
    edge.wait_said("journal: .*trying again")
    until(lambda: "out of reach" in edge.admin("GET", "/readyz")[1], "the lease to end")
    # validated directly at the origin: once for each grace period, whatever is asked
    began = time.monotonic()
    for _ in range(50):
        reply = edge.get("/foo")
        assert reply.status == 200 and reply.body == OLD
    assert page.hits <= 2 + (time.monotonic() - began)
    shield.start()
    until(lambda: "out of reach" not in edge.admin("GET", "/readyz")[1], "the lease to come back", 20)
    renew(page)
    shield.purge(url=f"{URL}/foo")
    wait_caught_up(edge, shield)
    assert edge.get("/foo").body == NEW


@pytest.mark.parametrize("policy, status", [("serve", 200), ("fail", 503)])
def test_other_policies(make_follower, shield, origin, policy, status):
    edge = make_follower("edge-a", shield, config={"journal": {"grace": f"{seconds(2):g}s", "on_journal_lost": policy}})
    page = page_of(origin)
    edge.fill("/foo")
    before = page.hits
    shield.kill()
    until(lambda: "out of reach" in edge.admin("GET", "/readyz")[1], "the lease to end")
    assert edge.get("/foo").status == status
    assert page.hits == before


def test_a_receipt(make_follower, shield, selvage):
    edges = [make_follower(f"edge-{i}", shield) for i in range(3)]
    ask = ["--node", f"http://127.0.0.1:{shield.admin_port}"]
    done = selvage("purge", *ask, "--wait", f"{URL}/foo")
    assert done.returncode == 0, done
    for i in range(3):
        assert f"edge-{i}" in done.stdout
    assert done.stdout.count("applied") == 3
    edges[0].process.send_signal(signal.SIGSTOP)
    try:
        done = selvage("purge", *ask, "--wait=1", f"{URL}/foo")
        assert done.returncode == 1, done
        assert done.stdout.count("applied") == 2 and "fenced at +" in done.stdout
    finally:
        edges[0].process.send_signal(signal.SIGCONT)


def test_bad_positions_are_refused(shield):
    at = "0123456789abcdef-1-0000000000000001-{}-0000000000000005"
    page = shield.origin.page("/foo", OLD, cache_control="max-age=600")
    for n in (1 << 63, 1 << 48, -1):
        assert shield.ask("/foo", fields=[("Selvage-Position", at.format(n))]).status == 400
        reply = shield.ask(f"/_selvage/journal?id=0123456789abcdef&node=x&lost=fail&grace=1&position={at.format(n)}")
        assert reply.status == 400
    assert page.hits == 0
    assert shield.metric("selvage_journal_bad_positions_total") == 6
    # another cluster's, and a higher epoch: refused, nothing changes
    before = place(shield)
    query = "/_selvage/journal?id=0123456789abcdef&node=x&lost=fail&grace=1&position="
    assert shield.ask(query + at.format(5)).status == 409
    text = json.loads(shield.admin("GET", "/members")[1])["position"].split("-")
    text[1] = "7"
    assert shield.ask(query + "-".join(text)).status == 409
    assert place(shield) == before


def test_an_owner_that_was_set_back(make_follower, shield, origin, directory):
    """Its journal lacks what an edge has heard: another epoch begins, and nothing of before is used."""
    import shutil
    edge = make_follower("edge-a", shield)
    page = page_of(origin)
    shield.stop()
    shutil.copytree(shield.store / "ctl", directory / "ctl-before")
    shield.start()
    wait_caught_up(edge, shield)
    shield.purge(url=f"{URL}/other")
    wait_caught_up(edge, shield)
    edge.fill("/foo")
    shield.kill()
    shutil.rmtree(shield.store / "ctl")
    shutil.copytree(directory / "ctl-before", shield.store / "ctl")
    renew(page)
    shield.start()
    until(lambda: place(edge)[0] == 2 and place(edge) == place(shield), "the next epoch", 20)
    assert edge.get("/foo").body == NEW
