"""Releases in a fleet: published at the shield that owns the journal, served by every edge."""
import hashlib
import json
import os
import shutil
import socket
import threading
import time

import pytest

from testenv.wait import seconds, until

FILES = {"index.html": b"<h1>home</h1>", "app.8f3c2a1b.js": b"js" * 40_000,
         "big.bin": bytes(i * 7 & 255 for i in range(3_000_000))}
SITE = {"files": True}


def write(folder, files):
    for name, body in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(body)
    return folder


@pytest.fixture
def folder(directory):
    return write(directory / "site", FILES)


@pytest.fixture
def owner(make_shield):
    return make_shield(name="owner", site=SITE)


@pytest.fixture
def make_follower(make_edge, fleet):
    def make(name, *shields, config=None, start=True, **more):
        return make_edge(start=start, site=SITE, **more, config={
            "node": name, "peer": fleet.peer(name), "upstream": {"shields": [[s.url] for s in shields]},
            **(config or {})})
    return make


@pytest.fixture
def command(selvage):
    def run(node, *words, ok=True):
        done = selvage("--node", f"http://127.0.0.1:{node.admin_port}", *words)
        assert (done.returncode == 0) == ok, (done.stdout, done.stderr)
        return done.stdout + done.stderr
    return run


@pytest.fixture
def publish(command):
    def run(node, folder, release="one", **more):
        return command(node, "publish", folder, "--site", "www", "--release", release, **more)
    return run


def in_use(node):
    status, text = node.admin("GET", "/releases")
    assert status == 200, text
    return [r["release"] for r in json.loads(text)["releases"] if r["in_use"]]


def asked(node):
    """Contents that edges had from this node, but for manifests."""
    manifests = {f"/_selvage/files/{r['manifest']}" for r in json.loads(node.admin("GET", "/releases")[1])["releases"]}
    return [line["path"] for line in node.access() if line["path"].startswith("/_selvage/files/")
            and line["path"] not in manifests]


def wait_release(node, release):
    until(lambda: in_use(node) == [release], f"{release} to be in use")


@pytest.fixture
def edge(owner, make_follower, folder, publish):
    """It has heard that release one is in use, and has none of its files."""
    edge = make_follower("edge-a", owner)
    publish(owner, folder)
    wait_release(edge, "one")
    return edge


def test_every_edge_serves_it(owner, make_follower, folder, publish, command):
    a, b = make_follower("edge-a", owner), make_follower("edge-b", owner)
    assert a.get("/").status == 503  # nothing is known yet
    publish(owner, folder)
    for e in (a, b):
        wait_release(e, "one")
        for name, body in FILES.items():
            for _ in range(2):
                reply = e.get("/" + name)
                assert reply.status == 200 and reply.body == body
                assert reply.field("etag") == f'"{hashlib.sha256(body).hexdigest()}"'
                e.wait_idle()
            assert reply.is_hit
        assert e.get("/app.8f3c2a1b.js").field("cache-control") == "public, max-age=31536000, immutable"
        assert e.get("/").field("content-type") == "text/html; charset=utf-8"
        assert e.get("/nothing").status == 404
    command(owner, "publish", write(folder.parent / "two", {"index.html": b"two"}), "--site", "www", "--release", "two")
    for e in (a, b):
        wait_release(e, "two")
        assert e.get("/").body == b"two" and e.get("/big.bin").status == 404
    command(owner, "rollback", "--site", "www")
    for e in (a, b):
        wait_release(e, "one")
        assert e.get("/").body == FILES["index.html"]


def test_ranges_heads_and_conditions_of_what_is_not_here_yet(owner, edge):
    body = FILES["big.bin"]
    before = asked(owner)
    head = edge.get("/big.bin", "HEAD")
    assert head.status == 200 and head.field("content-length") == str(len(body))
    assert edge.get("/big.bin", fields=[("If-None-Match", head.field("etag"))]).status == 304
    assert asked(owner) == before == []  # its release says all of that
    part = edge.get("/big.bin", fields=[("Range", "bytes=2000000-2000009")])
    assert part.status == 206 and part.body == body[2000000:2000010]
    edge.wait_idle()
    assert edge.get("/big.bin").is_hit and edge.get("/big.bin").body == body
    part = edge.get("/big.bin", fields=[("Range", "bytes=5-9"), ("Cache-Control", "no-cache")])
    assert part.status == 206 and part.is_hit


def test_a_purge_between_publish_and_request(owner, edge):
    for _ in range(2):
        owner.purge(all=True)
        until(lambda: edge.status()["positions"] == owner.status()["positions"], "the purge to hold at the edge")
        reply = edge.get("/big.bin")
        assert reply.status == 200 and reply.body == FILES["big.bin"] and not reply.is_hit
        edge.wait_idle()
        assert edge.get("/big.bin").is_hit


def test_an_edges_directory_is_deleted(edge):
    assert edge.get("/big.bin").body == FILES["big.bin"]
    edge.wait_idle()
    edge.kill()
    shutil.rmtree(edge.store)
    edge.start()  # ready means: it has learned the release
    assert edge.get("/").status == 200
    for name, body in FILES.items():
        assert edge.get("/" + name).body == body


def test_an_edge_that_was_off_serves_the_new_one(owner, edge, publish, directory):
    edge.kill()
    publish(owner, write(directory / "two", {"index.html": b"two"}), "two")
    edge.start()
    assert edge.get("/").body == b"two"


def test_the_owner_is_gone(owner, edge):
    assert edge.get("/").body == FILES["index.html"]
    edge.wait_idle()
    owner.kill()
    assert edge.get("/").body == FILES["index.html"]
    reply = edge.get("/app.8f3c2a1b.js")  # never asked for before
    assert reply.status in (502, 503, 504) and reply.field("retry-after")
    edge.restart()
    assert edge.get("/").body == FILES["index.html"]
    owner.start()
    until(lambda: edge.get("/app.8f3c2a1b.js").status == 200, "the owner to be asked again")


def test_contents_are_for_peers(owner, folder, publish):
    publish(owner, folder)
    digest = hashlib.sha256(FILES["index.html"]).hexdigest()
    path = f"/_selvage/files/{digest}"
    reply = owner.ask(path)
    assert reply.status == 200 and reply.body == FILES["index.html"]
    assert reply.field("etag") == f'"{digest}"' and "immutable" in reply.field("cache-control")
    assert owner.ask(path, fields=[("If-None-Match", f'"{digest}"')]).status == 304
    assert owner.ask(path, node=None).status == 403
    assert owner.ask("/_selvage/files/" + "0" * 64).status == 404
    for bad in ("/_selvage/files/", "/_selvage/files/x", f"{path}0", f"/_selvage/files/{digest.upper()}"):
        assert owner.ask(bad).status == 400, bad
    assert owner.ask(path, "DELETE").status == 405


def test_an_edge_gives_no_contents_by_hash(edge):
    digest = hashlib.sha256(FILES["index.html"]).hexdigest()
    assert edge.get(f"/_selvage/files/{digest}").status == 404


def test_publishing_is_the_owners(owner, make_follower, folder, publish, selvage):
    edge = make_follower("edge-a", owner)
    said = publish(edge, folder, ok=False)
    assert owner.url in said and "421" in said
    # with both named, the one that owns it takes it
    both = selvage("--node", f"http://127.0.0.1:{edge.admin_port}", "--node", f"http://127.0.0.1:{owner.admin_port}",
                   "publish", folder, "--site", "www", "--release", "one")
    assert both.returncode == 0, both.stderr
    wait_release(edge, "one")


def test_a_shield_that_follows_relays(owner, make_shield, make_follower, folder, publish):
    relay = make_shield(name="relay", site=SITE, config={"journal": {"owner": owner.url}})
    edge = make_follower("edge-a", relay)
    publish(owner, folder)
    wait_release(edge, "one")
    assert edge.get("/big.bin").body == FILES["big.bin"]
    for node in (edge, relay):
        node.wait_idle()
    owner.kill()
    assert relay.ask(f"/_selvage/files/{hashlib.sha256(FILES['big.bin']).hexdigest()}").body == FILES["big.bin"]


def test_a_private_network(make_edge, owner, fleet, folder, publish):
    edge = make_edge(site=SITE, config={"node": "edge-a", "peer": {"secret": str(fleet.secret)}, "upstream": {
        "shields": [[f"http://127.0.0.1:{owner.plain_port}"]], "direct": "refused"}})
    publish(owner, folder)
    wait_release(edge, "one")
    assert edge.get("/big.bin").body == FILES["big.bin"]


def test_many_clients_of_one_file_ask_the_owner_once(owner, edge):
    bodies = []
    threads = [threading.Thread(target=lambda: bodies.append(edge.get("/big.bin", timeout=40).body), daemon=True)
               for _ in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(seconds(40))
    assert len(bodies) == 20 and set(bodies) == {FILES["big.bin"]}
    assert asked(owner) == [f"/_selvage/files/{hashlib.sha256(FILES['big.bin']).hexdigest()}"]


def test_damage_at_the_owner_is_cut(owner, edge):
    owner.kill()
    body = FILES["big.bin"]
    flip = owner.store / "files" / "data.mdb"
    data = flip.read_bytes()
    at = data.find(body[1_000_000:1_000_064])
    assert at > 0
    flip.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])
    owner.start()
    until(lambda: edge.get("/").status == 200, "the owner to be back")
    reply = edge.get("/big.bin")
    assert reply.status != 200 or not reply.complete
    edge.wait_idle()
    assert not edge.get("/big.bin").is_hit
    assert edge.get("/").body == FILES["index.html"]


class Liar:
    """Stands before a node's port for the secret, and replaces bytes of what it says."""

    def __init__(self, port, find, replace):
        self.target, self.find, self.replace = port, find, replace
        self.lies = 0
        self.is_on = True
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target), timeout=5)
            except OSError:  # the node is not there yet, or any more
                client.close()
                continue
            server.settimeout(None)
            threading.Thread(target=self.pump, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self.pump, args=(server, client, True), daemon=True).start()

    def pump(self, source, to, lies):
        try:
            while data := source.recv(1 << 16):
                if lies and self.is_on and self.find in data:
                    self.lies += 1
                    data = data.replace(self.find, self.replace)
                to.sendall(data)
            to.shutdown(socket.SHUT_WR)
        except OSError:
            for s in (source, to):
                s.close()


@pytest.fixture
def make_liar():
    made = []

    def make(*words):
        made.append(Liar(*words))
        return made[-1]

    yield make
    for liar in made:
        liar.socket.close()


@pytest.fixture
def make_behind_liar(make_edge, owner, fleet):
    def make(liar):
        return make_edge(site=SITE, config={"node": "edge-a", "peer": {"secret": str(fleet.secret)}, "upstream": {
            "shields": [[f"http://127.0.0.1:{liar.port}"]], "direct": "refused"}})
    return make


@pytest.mark.parametrize("kind", ["small", "large"])
def test_a_content_with_another_hash_is_never_served(make_liar, make_behind_liar, owner, publish, directory, kind):
    """One piece: nobody gets a byte.  Many: whoever reads is cut before the end."""
    body = b"truth " * (1000 if kind == "small" else 400_000)
    liar = make_liar(owner.plain_port, b"truth", b"wrong")
    edge = make_behind_liar(liar)
    publish(owner, write(directory / "lies", {"f.txt": body, "other.txt": b"unharmed"}))
    wait_release(edge, "one")
    for get in (edge.get, edge.get2):
        reply = get("/f.txt")
        assert not (reply.status == 200 and reply.complete), reply
        if kind == "small":
            assert reply.status == 502 and b"wrong" not in reply.body
        edge.wait_idle()
    assert liar.lies >= 2
    assert edge.metric('selvage_files_bad_total{from="peer"}') >= 2
    assert edge.get("/other.txt").body == b"unharmed"
    liar.is_on = False
    assert edge.get("/f.txt").body == body
    edge.wait_idle()
    assert edge.get("/f.txt").is_hit


def test_a_manifest_with_another_hash_is_never_used(make_liar, make_behind_liar, owner, publish, directory):
    liar = make_liar(owner.plain_port, b"text/plain", b"text/false")
    edge = make_behind_liar(liar)
    publish(owner, write(directory / "lies", {"f.txt": b"x"}))
    edge.wait_for_metric('selvage_files_bad_total{from="peer"}', 1)
    assert in_use(edge) == [] and edge.get("/f.txt").status == 503
    liar.is_on = False
    wait_release(edge, "one")
    assert edge.get("/f.txt").field("content-type").startswith("text/plain")


def test_without_the_owner_for_longer_than_the_grace_period(owner, make_follower, folder, publish):
    """What a hash names is the same whatever has been purged since: no validation is needed."""
    edge = make_follower("edge-a", owner, config={"journal": {"grace": "1s"}})
    publish(owner, folder)
    wait_release(edge, "one")
    assert edge.get("/").status == 200
    fetched = time.monotonic()
    edge.wait_idle()
    owner.kill()
    until(lambda: "out of reach" in edge.admin("GET", "/readyz")[1], "the lease to end")
    until(lambda: time.monotonic() > fetched + 1.1, "the fetch to be longer ago than that")
    reply = edge.get("/")
    assert reply.body == FILES["index.html"] and reply.is_hit


@pytest.mark.limit(120)
def test_kill_9_of_the_owner_in_the_middle(owner, make_follower, directory, selvage):
    import random
    rng = random.Random(5)
    edge = make_follower("edge-a", owner)
    sets = {}
    for i in range(6):
        name = f"r{i}"
        sets[name] = {"index.html": name.encode(), "data": os.urandom(rng.randint(1000, 2_000_000))}
        folder = write(directory / name, sets[name])
        killer = threading.Timer(rng.random() * 0.15, owner.kill)
        killer.start()
        selvage("--node", f"http://127.0.0.1:{owner.admin_port}", "publish", folder, "--site", "www", "--release", name)
        killer.join()
        owner.start()
        used = in_use(owner)
        if not used:
            continue
        until(lambda: in_use(edge) == used, "the edge to have the owner's release", 20)
        for path, body in sets[used[0]].items():
            until(lambda: edge.get("/" + path).body == body, "the file", 20)
