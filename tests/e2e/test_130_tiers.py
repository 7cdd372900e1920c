"""Purges through the tiers: edges follow the shield's journal, whatever order things come in."""
import json
import re
import shutil
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from testenv.client import Closed
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
    assert status == 421 and f"({shield.url})" in text and f"--node http://127.0.0.1:{shield.admin_port}" in text
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


def ask_until_answered(edge, target, timeout=20):
    """The first answer of a daemon that was launched a moment ago."""
    def ask():
        try:
            return edge.get(target, timeout=10)
        except (OSError, Closed):
            return None
    return until(ask, "the first answer", timeout)


def test_the_first_answer_knows_of_1000_purges(make_follower, shield, origin):
    """The origin's entity tags are of no use here: they stay what they were."""
    edge = make_follower("edge-a", shield)
    page = page_of(origin, etag='"same"')
    edge.fill("/foo")
    edge.kill()
    for i in range(0, 900, 100):
        shield.purge(*({"url": f"{URL}/{j}"} for j in range(i, i + 100)))
    shield.purge({"url": f"{URL}/foo"}, *({"url": f"{URL}/{j}"} for j in range(900, 999)))
    page.body = NEW
    edge.write_config()
    edge.launch()
    r = ask_until_answered(edge, "/foo")
    assert (r.status, r.body) == (200, NEW), r
    edge.wait_ready()
    assert place(edge) == place(shield) == (1, 1000)


def test_the_first_answer_where_nobody_can_be_asked(make_follower, shield, origin):
    """Neither owner nor origin: the last good copy, though nobody knows what was purged meanwhile."""
    edge = make_follower("edge-a", shield)
    page_of(origin)
    edge.fill("/foo")
    edge.kill()
    shield.kill()
    origin.refuse()
    edge.write_config()
    edge.launch()
    r = ask_until_answered(edge, "/foo")
    assert (r.status, r.body) == (200, OLD), r


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


def test_the_refill_race_with_a_fetch_in_flight(make_follower, make_shield, origin):
    """The shield that is held back is just fetching the old one for somebody else."""
    owner = make_shield(origin, name="owner")
    behind = make_shield(origin, name="behind", config={"journal": {"owner": owner.url}})
    edge, other = (make_follower(n, behind, config={"journal": {"owner": owner.url}}) for n in ("edge-a", "edge-b"))
    page = page_of(origin)
    owner.revoked = [{"name": "behind"}]
    owner.write_config()
    owner.reload()
    until(lambda: members(owner).get("behind", {}).get("connected") is not True, "the shield to be cut off")
    page.hold("body", after=1)
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(other.get, "/foo", timeout=20)
        page.wait_held(1)
        renewed = origin.page("/foo", NEW, cache_control="max-age=600", etag='"new"')
        owner.purge(url=f"{URL}/foo")
        wait_caught_up(edge, owner)
        wait_caught_up(other, owner)
        assert edge.get("/foo").body == NEW
        page.release()
        slow.result(timeout=20)
    assert renewed.hits == 2  # with the first: pages are counted by their path
    for e in (edge, other):
        e.wait_idle()
        r = e.get("/foo")
        assert r.body == NEW, r


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


def test_a_receipt_leaves_out_nobody_after_a_restart_of_the_owner(make_follower, shield, selvage):
    """Who was there and has not come back has not applied it."""
    edges = [make_follower(f"edge-{i}", shield) for i in range(2)]
    until(lambda: all(members(shield).get(f"edge-{i}", {}).get("connected") for i in range(2)), "both to follow")
    until(lambda: (shield.store / "members").exists(), "them to be written down")
    ask = ["--node", f"http://127.0.0.1:{shield.admin_port}"]
    edges[0].process.send_signal(signal.SIGSTOP)
    try:
        shield.kill()
        shield.start()
        done = selvage("purge", *ask, "--wait=1", f"{URL}/foo")
        assert done.returncode == 1, done
        assert re.search(r"edge-0  fenced at \+\d+ s, not connected", done.stdout), done
    finally:
        edges[0].process.send_signal(signal.SIGCONT)
    done = selvage("purge", *ask, "--wait", f"{URL}/foo")
    assert done.returncode == 0 and done.stdout.count("applied") == 2, done


class Relay:
    """Between a node and a shield, byte for byte; refuses all but the first connection when told to."""

    def __init__(self, port):
        self.target, self.refuses, self.pairs = port, False, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            if self.refuses:
                client.close()
                continue
            ends = client, socket.create_connection(("127.0.0.1", self.target), timeout=10)
            self.pairs.append(ends)
            for a, b in (ends, ends[::-1]):
                a.settimeout(60)
                threading.Thread(target=self.pump, args=(a, b), daemon=True).start()

    @staticmethod
    def pump(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def refuse(self):
        self.refuses = True
        for ends in self.pairs[1:]:
            for s in ends:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self):
        self.listener.close()
        self.refuse()


def test_what_was_applied_is_told_until_it_is_heard(make_follower, shield):
    """Else a receipt would wait for a node that has had the purge long ago."""
    relay = Relay(int(shield.url.rpartition(":")[2]))
    try:
        edge = make_follower("edge-a", shield, config={"journal": {"owner": relay.url}})
        until(lambda: members(shield).get("edge-a", {}).get("connected"), "the edge to follow")
        relay.refuse()
        shield.purge(url=f"{URL}/foo")
        wait_caught_up(edge, shield)
        until(lambda: edge.metric('selvage_upstream_failures_total{reason="closed"}') +
              edge.metric('selvage_upstream_failures_total{reason="tls"}') > 0, "telling it to fail")
        assert members(shield)["edge-a"]["n"] < place(shield)[1]
        relay.refuses = False
        until(lambda: members(shield)["edge-a"]["n"] == place(shield)[1], "the owner to hear of it", 10)
    finally:
        relay.close()


def test_heads_of_before_give_no_lease(make_follower, shield, origin):
    """A node was stopped; what its kernel kept for it tells of an owner of long ago."""
    grace_s = seconds(2)
    edge = make_follower("edge-a", shield, config={"journal": {"grace": f"{grace_s:g}s"}})
    page = page_of(origin)
    edge.fill("/foo")
    edge.process.send_signal(signal.SIGSTOP)
    try:
        until(lambda: members(shield)["edge-a"]["silent_ms"] > 1000 * grace_s + 2000, "its lease to end",
              4 * grace_s + 10)
        shield.kill()
        shield.start()
        shield.purge(url=f"{URL}/foo")
        shield.kill()
        renew(page)
    finally:
        edge.process.send_signal(signal.SIGCONT)
    edge.wait_said("journal: .*trying again")
    assert edge.get("/foo").body == NEW


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


def test_a_node_of_a_higher_epoch_than_the_fleets(make_follower, shield, origin, directory):
    """The owner is set back to before the epoch that an edge has seen: it refuses the edge in words, and the edge
    serves on, as without its journal; neither goes back or forth.  The owner's disk as it was cures it."""
    edge = make_follower("edge-a", shield, config={"journal": {"grace": "1s"}})
    page = page_of(origin)
    shield.stop()
    shutil.copytree(shield.store / "ctl", directory / "ctl-of-epoch-1")
    shield.start()
    wait_caught_up(edge, shield)
    shield.purge(url=f"{URL}/other")
    wait_caught_up(edge, shield)
    shield.kill()
    set_back(shield, directory / "ctl-of-epoch-1")
    shield.start()
    until(lambda: place(edge)[0] == 2 and place(edge) == place(shield), "the next epoch", 20)
    edge.fill("/foo")
    shield.kill()
    shutil.copytree(shield.store / "ctl", directory / "ctl-of-epoch-2")
    set_back(shield, directory / "ctl-of-epoch-1")
    shield.start()
    shield.wait_said("edge-a has seen epoch 2, and this node's is smaller")
    edge.wait_said("it refuses this node: .*smaller epoch")
    assert shield.metric("selvage_journal_bad_positions_total") >= 1
    assert edge.metric('selvage_journal_failures_total{reason="refused"}') >= 1
    assert (place(edge)[0], place(shield)[0]) == (2, 1)
    assert edge.get("/foo").body == OLD and edge.is_running
    shield.kill()
    set_back(shield, directory / "ctl-of-epoch-2")
    renew(page)
    shield.start()
    shield.purge(url=f"{URL}/foo")
    wait_caught_up(edge, shield, 20)
    assert edge.get("/foo").body == NEW


def set_back(node, ctl):
    shutil.rmtree(node.store / "ctl")
    shutil.copytree(ctl, node.store / "ctl")


def test_an_owner_of_another_cluster_is_not_followed(make_follower, make_shield, origin):
    """As when its disk was lost: what the edge holds stays, and both say what is wrong."""
    shield = make_shield(origin)
    edge = make_follower("edge-a", shield, config={"journal": {"grace": "1s"}})
    page_of(origin)
    edge.fill("/foo")
    before = place(edge)
    shield.kill()
    shutil.rmtree(shield.store)
    shield.start()
    edge.wait_said("it refuses this node: it is of another cluster")
    assert edge.get("/foo").body == OLD
    assert place(edge) == before
    assert shield.metric('selvage_journal_failures_total{reason="refused"}') >= 1


# ---- nodes that are told different things ----

DIFFERS = 'selvage_fleet_differs_total{what="%s"}'


def test_other_sites_than_the_shields_are_told_at_both_ends(make_follower, shield, origin, selvage):
    edge = make_follower("edge-a", shield)
    page_of(origin)
    assert edge.get("/foo").field("selvage-differs") is None
    for node in (edge, shield):
        assert node.metric(DIFFERS % "sites") == 0
    edge.site["rules"] = [{"path": "*", "ttl": "1h"}]
    edge.write_config()
    edge.reload()
    r = edge.get("/bar")
    assert r.status == 404 and r.field("selvage-differs") is None
    for node, other in ((shield, "edge-a"), (edge, "shield")):
        node.wait_said(f"{other} has other sites than this node.*give all nodes the same")
        assert node.metric(DIFFERS % "sites") == 1
        assert f"{other} has other sites" in node.admin("GET", "/readyz")[1]
        assert "has other sites" in selvage("--node", f"http://127.0.0.1:{node.admin_port}", "status").stdout
        assert node.metric(DIFFERS % "journal") == 0
    assert edge.status()["sites_hash"] != shield.status()["sites_hash"]
    for node, status, what in ((edge, 0, "has the same sites"), (shield, 1, "has OTHER sites")):
        done = selvage("check", edge.file, "--against", f"http://127.0.0.1:{node.admin_port}")
        assert done.returncode == status and what in done.stdout, done
    shield.site["rules"] = edge.site["rules"]
    shield.write_config()
    shield.reload()
    assert edge.status()["sites_hash"] == shield.status()["sites_hash"]
    assert edge.get("/baz").status == 404
    assert edge.metric(DIFFERS % "sites") == 1


def test_two_shields_that_own_a_journal_each_are_told_of(make_follower, make_shield, origin):
    """journal.owner was forgotten on the second: nothing of what it answers can be kept."""
    first = make_shield(origin, name="first")
    second = make_shield(origin, name="second")
    first.wait_said("this node owns the journal of purges")
    edge = make_follower("edge-a", second, config={"journal": {"owner": first.url}})
    page = page_of(origin)
    for _ in range(2):
        assert edge.get("/foo").body == OLD
        edge.wait_idle()
    assert page.hits == 2  # asked for anew each time
    for node, other in ((second, "edge-a"), (edge, "second")):
        node.wait_said(f"{other} heeds another purge journal than this node.*name the same journal.owner")
        assert node.metric(DIFFERS % "journal") == 2
        assert f"{other} heeds another purge journal" in node.admin("GET", "/readyz")[1]
    assert first.metric(DIFFERS % "journal") == 0


def test_a_file_with_several_shields_and_no_owner_warns(make_follower, make_shield, origin, selvage):
    a = make_shield(origin, name="a")
    b = make_shield(origin, name="b", config={"journal": {"owner": a.url}})
    edge = make_follower("edge-a", a, b)
    edge.wait_said("upstream.shields: warning: several shields, and no journal.owner: this node takes the first")
    done = selvage("check", edge.file)
    assert done.returncode == 0 and "warning: several shields" in done.stderr
    edge.config["journal"] = {"owner": a.url}
    edge.write_config()
    done = selvage("check", edge.file)
    assert done.returncode == 0 and done.stderr == ""
