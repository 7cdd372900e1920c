"""Published releases at a node that stands alone: put there, served, rolled back."""
import hashlib
import json
import os
import struct

import pytest

from testenv.wait import seconds, until

FILES = {
    "index.html": b"<h1>home</h1>",
    "app.8f3c2a1b.js": b"console.log(1)",
    "blog/index.html": b"<h1>blog</h1>",
    "img/logo.png": bytes(range(256)) * 10,
    "big.bin": bytes(i * 7 & 255 for i in range(200_000)),
    "empty.txt": b"",
    "name with space \u00e9.txt": b"unicode",
}
CHUNK = 65512


def write(folder, files):
    for name, body in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return folder


@pytest.fixture
def folder(directory):
    return write(directory / "site", FILES)


@pytest.fixture
def node(make_edge):
    """An edge alone, whose one site has releases and no origin."""
    return make_edge(site={"files": True})


@pytest.fixture
def publish(selvage):
    def run(node, folder, *more, ok=True):
        done = selvage("--node", f"http://127.0.0.1:{node.admin_port}", "publish", folder, "--site", "www", *more)
        assert (done.returncode == 0) == ok, (done.stdout, done.stderr)
        return done.stdout + done.stderr
    return run


@pytest.fixture
def rollback(selvage):
    def run(node, *more, ok=True):
        done = selvage("--node", f"http://127.0.0.1:{node.admin_port}", "rollback", "--site", "www", *more)
        assert (done.returncode == 0) == ok, (done.stdout, done.stderr)
        return done.stdout + done.stderr
    return run


def sha(body):
    return hashlib.sha256(body).hexdigest()


def manifest(files, kind="text/plain"):
    lines = [f"{sha(b)}\t{len(b)}\t{kind}\t{n}\n" for n, b in sorted(files.items(), key=lambda f: f[0].encode())]
    return ("selvage-manifest 1\n" + "".join(lines)).encode()


def pack(*bodies, named=None):
    out = b""
    for body in bodies:
        digest = hashlib.sha256(named if named is not None else body).digest()
        out += digest + struct.pack("<QQI", len(body), 0, len(body)) + body
    return out


def upload(node, *bodies, **more):
    return node.admin("POST", "/releases/files", pack(*bodies, **more),
                      fields={"Content-Type": "application/vnd.selvage.files"})


def publish_raw(node, text, release="r1", site="www"):
    assert upload(node, text)[0] == 200
    return node.admin("POST", "/releases/publish", {"site": site, "release": release, "manifest": sha(text)})


# ---- serving ----

def test_a_folder_is_served_as_it_was_published(node, folder, publish):
    assert node.get("/").status == 404
    said = publish(node, folder, "--release", "one")
    assert "www serves one: 7 files" in said
    for name, body in FILES.items():
        path = "/" + name.encode().decode("latin-1").replace(" ", "%20").replace("\u00c3\u00a9", "%C3%A9")
        for get in (node.get, node.get2):
            reply = get(path)
            assert reply.status == 200 and reply.complete and reply.body == body, (path, reply)
            assert reply.field("etag") == f'"{sha(body)}"'
            assert reply.is_hit and "detail=released" in reply.cache_status
    assert node.get("/").body == FILES["index.html"]
    assert node.get("/blog/").body == FILES["blog/index.html"]
    assert node.get("/?a=b").body == FILES["index.html"]
    assert node.get("/nothing").status == 404
    assert node.metric('selvage_requests_total{verdict="hit"}') >= 2 * len(FILES)
    line = node.wait_access(lambda line: line["path"] == "/big.bin")
    assert (line["verdict"], line["reason"]) == ("hit", "released")


def test_types_and_lifetimes(node, folder, publish):
    publish(node, folder)
    kinds = {"/": "text/html; charset=utf-8", "/app.8f3c2a1b.js": "text/javascript; charset=utf-8",
             "/img/logo.png": "image/png", "/big.bin": "application/octet-stream",
             "/empty.txt": "text/plain; charset=utf-8"}
    for path, kind in kinds.items():
        assert node.get(path).field("content-type") == kind
    assert node.get("/app.8f3c2a1b.js").field("cache-control") == "public, max-age=31536000, immutable"
    assert node.get("/").field("cache-control") == "no-cache"


def test_lifetimes_are_the_operators(make_edge, folder, publish):
    node = make_edge(site={"files": True, "files_lifetime": {"hashed": "10d", "others": "5m", "names": ["/img/*"]}})
    publish(node, folder)
    assert node.get("/app.8f3c2a1b.js").field("cache-control") == "public, max-age=864000, immutable"
    assert node.get("/img/logo.png").field("cache-control") == "public, max-age=864000, immutable"
    assert node.get("/").field("cache-control") == "public, max-age=300"


def test_head_conditions_and_ranges(node, folder, publish):
    publish(node, folder)
    body = FILES["big.bin"]
    head = node.get("/big.bin", "HEAD")
    assert head.status == 200 and head.body == b"" and head.field("content-length") == str(len(body))
    etag = head.field("etag")
    for method in ("GET", "HEAD"):
        assert node.get("/big.bin", method, [("If-None-Match", etag)]).status == 304
    reply = node.get("/big.bin", fields=[("If-None-Match", '"other"')])
    assert reply.status == 200 and reply.body == body
    for first, last in ((0, 0), (65511, 65512), (100, 150_000), (199_999, 199_999)):
        part = node.get("/big.bin", fields=[("Range", f"bytes={first}-{last}")])
        assert part.status == 206 and part.body == body[first:last + 1]
        assert part.field("content-range") == f"bytes {first}-{last}/{len(body)}"
    assert node.get("/big.bin", fields=[("Range", "bytes=-5")]).body == body[-5:]
    assert node.get("/big.bin", fields=[("Range", "bytes=200000-")]).status == 416
    assert node.get("/big.bin", fields=[("Range", "bytes=0-9"), ("If-Range", '"other"')]).status == 200
    assert node.get("/big.bin", fields=[("Range", "bytes=0-9"), ("If-Range", etag)]).status == 206
    assert node.get("/big.bin", fields=[("Cache-Control", "no-cache")]).is_hit


def test_a_large_file(node, directory, publish):
    body = os.urandom(1 << 20) * 9  # above what is pulled
    publish(node, write(directory / "large", {"large.bin": body}))
    assert node.get("/large.bin", plain=True, timeout=40).body == body
    assert node.get("/large.bin", fields=[("Range", "bytes=8000000-9000000")]).body == body[8000000:9000001]


def test_a_folder_without_its_slash_is_redirected(node, folder, publish):
    publish(node, folder)
    reply = node.get("/blog?x=1")
    assert reply.status == 308 and reply.field("location") == "/blog/?x=1"
    for path in ("//blog", "/blog%2F", "/%2e%2e/blog", "//evil.test/blog", "/blog/index.html/"):
        reply = node.get(path)
        assert reply.status in (400, 404), (path, reply)


def test_other_methods_are_refused_where_there_is_no_origin(node, folder, publish):
    publish(node, folder)
    reply = node.get("/", "POST", body=b"x")
    assert reply.status == 405 and reply.field("allow") == "GET, HEAD"


def test_what_the_release_lacks_is_the_origins(make_edge, origin, folder, publish):
    node = make_edge(origin, site={"files": True, "rules": [{"path": "*", "cache": "off"}]})
    page = origin.page("/other", b"of the origin")
    mine = origin.page("/index.html", b"not this one")
    publish(node, folder)
    assert node.get("/other").body == b"of the origin"
    assert node.get("/index.html").body == FILES["index.html"] and mine.hits == 0
    posted = node.get("/index.html", "POST", body=b"x")
    assert posted.status == 200 and mine.hits == 1 and page.hits == 1


def test_explain_says_so(node, folder, publish):
    publish(node, folder, "--release", "one")
    said = node.explain("https://www.test/app.8f3c2a1b.js?v=1")
    assert "release: one" in said and "answer from the release" in said and sha(FILES["app.8f3c2a1b.js"]) in said


def test_a_slow_client_reads_what_it_began_with(node, directory, publish):
    old = os.urandom(1 << 20) * 16  # more than sockets hold
    publish(node, write(directory / "a", {"f": old}), "--release", "a")
    with node.h1(plain=True, timeout=40) as c:
        c.send_request("/f")
        reply = c.read_head()
        publish(node, write(directory / "b", {"f": b"new"}), "--release", "b")
        assert node.get("/f").body == b"new"
        pieces, got = [c.buffer], len(c.buffer)
        while got < len(old) and (data := c.socket.recv(1 << 20)):
            pieces.append(data)
            got += len(data)
        assert b"".join(pieces) == old and reply.status == 200


# ---- switching ----

def test_the_site_switches_and_goes_back(node, directory, publish, rollback, selvage):
    first = write(directory / "a", {"index.html": b"one", "same.txt": b"same"})
    second = write(directory / "b", {"index.html": b"two", "same.txt": b"same"})
    assert "2 of them sent" in publish(node, first, "--release", "a")
    assert "1 of them sent" in publish(node, second, "--release", "b")
    assert node.get("/").body == b"two"
    assert "serves a" in rollback(node)
    assert node.get("/").body == b"one" and node.get("/same.txt").body == b"same"
    assert "no release from before a" in rollback(node, ok=False)
    assert "serves b" in rollback(node, "b")
    assert node.get("/").body == b"two"
    assert "no release nope" in rollback(node, "nope", ok=False)
    listed = selvage("--node", f"http://127.0.0.1:{node.admin_port}", "releases").stdout
    assert [line.split()[:-4] for line in listed.splitlines()] and "* www  b" in listed and "  www  a" in listed
    # the same again is no new release, and the same name for other files is refused
    assert "0 of them sent" in publish(node, second, "--release", "b")
    assert "already" in publish(node, first, "--release", "b", ok=False)
    assert node.get("/").body == b"two"


def test_it_survives_restarts_and_purges(node, folder, publish):
    publish(node, folder, "--release", "one")
    node.purge(all=True)
    assert node.get("/").body == FILES["index.html"]
    node.restart()
    assert node.get("/big.bin").body == FILES["big.bin"]
    node.kill_and_start()
    node.purge({"host": "www.test"}, {"url": "https://www.test/"})
    assert node.get("/").body == FILES["index.html"]


def test_the_cache_does_not_push_it_out(make_edge, origin, folder, publish):
    node = make_edge(origin, site={"files": True}, config={"store": {"size": "16MiB"}})
    publish(node, folder)
    for i in range(30):
        origin.page(f"/o{i}", os.urandom(1 << 20), cache_control="max-age=600")
        assert node.get(f"/o{i}").status == 200
    node.wait_idle()
    assert node.metric("selvage_store_evicted_total") > 0
    assert node.get("/big.bin").body == FILES["big.bin"]


def test_two_sites_share_contents_and_nothing_else(make_edge, directory, folder, selvage):
    node = make_edge(sites=[{"name": "www", "hosts": ["www.test"], "files": True},
                            {"name": "other", "hosts": ["other.test"], "files": True}])

    def publish(site, folder):
        done = selvage("--json", "--node", f"http://127.0.0.1:{node.admin_port}", "publish", folder, "--site", site)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert publish("www", folder)["sent_files"] == len(FILES)
    assert node.get("/", host="other.test").status == 404
    assert publish("other", folder)["sent_files"] == 0
    publish("www", write(directory / "new", {"index.html": b"new"}))
    assert node.get("/", host="other.test").body == FILES["index.html"] and node.get("/").body == b"new"


# ---- bad input ----

def test_bad_manifests(node):
    good = {"a.txt": b"a"}
    assert upload(node, b"a")[0] == 200
    refused = {
        "..": "leads out", "../a": "leads out", "a/../../b": "leads out", "/etc/passwd": "absolute", "a//b": "empty",
        "./a": "`.`", "": "empty", "a\x01b": "control",
    }
    for name, why in refused.items():
        status, text = publish_raw(node, manifest({name: b"a"}))
        assert status == 400 and why in text, (name, status, text)
    for raw, why in ((b"selvage-manifest 1\n" + f"{sha(b'a')}\t1\ttext/plain\t".encode() + b"\xff\xfe\n", "not UTF-8"),
                     (manifest(good)[:-1], "does not end"), (b"hello\n", "no manifest"),
                     (manifest(good) + manifest(good)[19:], "not behind"),
                     (manifest(good).replace(b"\t1\t", b"\t01\t"), "number of bytes"),
                     (manifest(good).replace(b"text/plain", b"text"), "content type"),
                     (manifest(good).replace(sha(b"a").encode(), b"A" * 64), "SHA-256")):
        status, text = publish_raw(node, raw)
        assert status == 400 and why in text, (raw, status, text)
    before = node.metric('selvage_releases_total{event="refused"}')
    assert before >= len(refused) + 7
    assert node.get("/a.txt").status == 404
    assert publish_raw(node, manifest(good))[0] == 200 and node.get("/a.txt").body == b"a"


def test_contents_must_be_there_and_have_their_hash(node):
    text = manifest({"a.txt": b"a", "b.txt": b"never sent"})
    status, said = upload(node, b"a", named=b"not this")
    assert status == 400 and "SHA-256" in said
    assert node.metric('selvage_files_bad_total{from="upload"}') == 1
    assert upload(node, b"a")[0] == 200
    status, said = publish_raw(node, text)
    assert status == 404 and "b.txt" in said and "not been uploaded" in said
    status, said = node.admin("POST", "/releases/publish", {"site": "www", "release": "r", "manifest": "0" * 64})
    assert status == 404 and "manifest" in said
    wrong = manifest({"a.txt": b"a"}).replace(b"\t1\t", b"\t2\t")
    assert publish_raw(node, wrong)[0] == 404
    assert publish_raw(node, manifest({"a.txt": b"a"}))[0] == 200


def test_pieces(node):
    body = os.urandom(3 * CHUNK + 5)
    digest = hashlib.sha256(body).digest()

    def piece(offset, data, length=len(body), sha256=digest):
        raw = sha256 + struct.pack("<QQI", length, offset, len(data)) + data
        return node.admin("POST", "/releases/files", raw, fields={"Content-Type": "application/vnd.selvage.files"})

    assert piece(CHUNK, body[CHUNK:2 * CHUNK])[0] == 400  # not from its begin
    assert piece(0, body[:CHUNK])[0] == 200
    assert piece(0, body[:2 * CHUNK])[0] == 200  # begun anew
    assert piece(3 * CHUNK, body[3 * CHUNK:])[0] == 400  # one is missing
    assert piece(2 * CHUNK, body[2 * CHUNK:], len(body) + CHUNK)[0] == 400  # another length
    for bad in (piece(1, body[:CHUNK]), piece(0, body[:5]), piece(0, body[:CHUNK], 1 << 40),
                node.admin("POST", "/releases/files", b"short", fields={"Content-Type": "x/y"})):
        assert bad[0] == 400, bad
    assert piece(2 * CHUNK, body[2 * CHUNK:])[0] == 200
    _, text = node.admin("POST", "/releases/missing", {"sha256": [digest.hex(), "0" * 64]})
    assert json.loads(text) == {"missing": ["0" * 64]}
    # a wrong byte in the last piece: all of it is gone, and may come again
    other = bytes([body[0] ^ 1]) + body[1:]
    named = hashlib.sha256(other).digest()
    assert piece(0, body[:3 * CHUNK], sha256=named)[0] == 200
    assert piece(3 * CHUNK, body[3 * CHUNK:], sha256=named)[0] == 400
    assert piece(0, other[:3 * CHUNK], sha256=named)[0] == 200
    assert piece(3 * CHUNK, other[3 * CHUNK:], sha256=named)[0] == 200
    assert publish_raw(node, manifest({"f": other}))[0] == 200 and node.get("/f").body == other


def test_requests_that_are_none(node):
    for path, body in (("/releases/publish", {"site": "www"}), ("/releases/publish", [1]),
                       ("/releases/publish", {"site": "../x", "release": "r", "manifest": "0" * 64}),
                       ("/releases/publish", {"site": "www", "release": "r", "manifest": "x"}),
                       ("/releases/rollback", {}), ("/releases/rollback", {"site": "www", "release": 1}),
                       ("/releases/missing", {"sha256": "x"}), ("/releases/missing", {"sha256": ["x"]}),
                       ("/releases/missing", {"sha256": ["0" * 64] * 10001})):
        assert node.admin("POST", path, body)[0] == 400, (path, body)
    assert node.admin("POST", "/releases/rollback", {"site": "nobody"})[0] == 404
    assert node.admin("GET", "/releases?site=a/b")[0] == 400
    assert node.admin("GET", "/releases/publish")[0] == 405


def test_a_site_that_has_no_files(make_edge, origin, folder, publish):
    node = make_edge(origin)
    assert "files: yes" in publish(node, folder, ok=False)


def test_tokens(make_edge, directory, folder, selvage):
    tokens = [{"name": "ops", "secret": "ops-secret-0123456789", "kinds": ["read", "purge"]},
              {"name": "ci", "secret": "ci-secret-01234567890", "kinds": ["publish"], "sites": ["www"]}]
    node = make_edge(sites=[{"name": "www", "hosts": ["www.test"], "files": True},
                            {"name": "other", "hosts": ["other.test"], "files": True}], tokens=tokens)

    def publish(site, token):
        file = directory / "token"
        file.touch(mode=0o600)
        file.write_text(token)
        return selvage("--node", f"http://127.0.0.1:{node.admin_port}", "--token-file", file, "publish", folder,
                       "--site", site)

    assert "publish" in publish("www", tokens[0]["secret"]).stderr
    assert "token" in publish("www", "wrong-secret-0123456789").stderr
    assert "not for the site other" in publish("other", tokens[1]["secret"]).stderr
    assert node.get("/").status == 404
    assert publish("www", tokens[1]["secret"]).returncode == 0
    assert node.get("/").body == FILES["index.html"]


def test_folders_that_cannot_be_published(node, directory, publish):
    folder = write(directory / "bad", {"ok.txt": b"ok"})
    secret = directory / "secret"
    secret.write_text("not for the public")
    (folder / "out").symlink_to(secret)
    (folder / "away").symlink_to("/etc")
    (folder / "dangling").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    with open(os.fsencode(folder) + b"/\xff\xfe", "wb") as f:
        f.write(b"x")
    (folder / "a\nb").write_bytes(b"x")
    said = publish(node, folder, ok=False)
    for what in ("out is a link that leads out", "away is a link that leads out", "dangling is a link that leads nowhere",
                 "pipe is neither", "\\xff\\xfe is not UTF-8", "has control characters"):
        assert what in said, said
    assert "no files" in publish(node, (directory / "none").mkdir() or directory / "none", ok=False)
    assert "No such file" in publish(node, directory / "nothing-here", ok=False)
    assert node.get("/ok.txt").status == 404
    assert json.loads(node.admin("GET", "/releases")[1])["releases"] == []


def test_links_inside_and_git(node, directory, publish):
    folder = write(directory / "good", {"a.txt": b"a", ".git/config": b"secret", ".well-known/x": b"x"})
    (folder / "b.txt").symlink_to("a.txt")
    assert ".git is left out" in publish(node, folder)
    assert node.get("/b.txt").body == b"a" and node.get("/.well-known/x").body == b"x"
    assert node.get("/.git/config").status == 404


def test_a_file_that_changes_while_it_is_published(make_edge, directory, selvage):
    """It changes between the two readings: held there by the question which contents are missing."""
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    folder = write(directory / "moving", {"a.txt": b"before"})
    asked = []

    class Node(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.path)
            (folder / "a.txt").write_bytes(b"after!")
            answer = json.dumps({"missing": json.loads(body)["sha256"]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Node)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        done = selvage("--node", f"http://127.0.0.1:{server.server_port}", "publish", folder, "--site", "www")
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 1 and "a.txt has changed" in done.stderr
    assert asked == ["/releases/missing"]  # nothing of it was sent


def test_no_room(make_edge, directory, folder, publish):
    node = make_edge(site={"files": True}, config={"store": {"files": "16MiB"}})
    publish(node, folder, "--release", "one")
    big = write(directory / "big", {f"f{i}": os.urandom(1 << 20) for i in range(20)})
    assert "no room" in publish(node, big, "--release", "two", ok=False)
    assert node.metric('selvage_releases_total{event="refused"}') >= 1
    for _ in range(2):
        assert node.get("/big.bin").body == FILES["big.bin"]
        node.restart()
    publish(node, folder, "--release", "three")  # switching goes on


def test_a_full_disk(make_edge, directory, folder, publish):
    """A limit on the size of files: what the disk refuses is refused, and the old release stays."""
    import resource
    import signal

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, 8 << 20))

    node = make_edge(site={"files": True}, preexec=limit, config={"store": {"size": "16MiB"}})
    publish(node, folder, "--release", "one")
    big = write(directory / "big", {f"f{i}": os.urandom(1 << 20) for i in range(12)})
    assert "disk" in publish(node, big, "--release", "two", ok=False)
    assert node.get("/big.bin").body == FILES["big.bin"]
    assert json.loads(node.admin("GET", "/releases")[1])["releases"][0]["release"] == "one"


# ---- kill -9 ----

@pytest.mark.limit(180)
def test_kill_9_at_any_moment_leaves_one_release_whole(make_edge, directory, selvage):
    import random
    import threading

    rng = random.Random(150)
    node = make_edge(site={"files": True})
    sets = {n: {f"f{i}": f"{n} {i} ".encode() * rng.randint(1, 20000) for i in range(8)} for n in ("a", "b")}
    folders = {n: write(directory / n, files) for n, files in sets.items()}

    def command(*words):
        return selvage("--node", f"http://127.0.0.1:{node.admin_port}", *words, timeout=60)

    assert command("publish", folders["a"], "--site", "www", "--release", "a").returncode == 0
    for round_ in range(12):
        # anew each time, so that uploads are cut too
        name = f"n{round_}"
        sets[name] = {f"f{i}": f"{name} {i} ".encode() * rng.randint(1, 30000) for i in range(8)}
        folder = write(directory / name, sets[name])
        words = (("publish", folder, "--site", "www", "--release", name), ("rollback", "--site", "www"),
                 ("publish", folders["b"], "--site", "www", "--release", "b"))[round_ % 3]
        killer = threading.Timer(rng.random() * 0.12, node.kill)
        before = json.loads(node.admin("GET", "/releases")[1])["releases"]
        killer.start()
        done = command(*words)
        killer.join()
        node.start()
        now = json.loads(node.admin("GET", "/releases")[1])["releases"]
        used = [r["release"] for r in now if r["in_use"]]
        assert len(used) == 1 and {r["release"] for r in before} <= {r["release"] for r in now}
        if done.returncode == 0:
            assert words[-1] == used[0] or words[0] == "rollback"
        for path, body in sets[used[0]].items():
            reply = node.get("/" + path)
            assert reply.status == 200 and reply.body == body, (round_, used, path)
        for r in now:  # those that are listed can all be had
            assert command("rollback", "--site", "www", r["release"]).returncode == 0
            assert node.get("/f7").body == sets[r["release"]]["f7"]
        assert command("rollback", "--site", "www", used[0]).returncode == 0


def test_readers_see_the_old_or_the_new(node, directory, publish, rollback):
    """A page and what it names, over and over while the site switches."""
    import threading

    def files(n):
        return {"index.html": f"release {n}".encode(), "data.txt": f"release {n}".encode() * 5000}

    for n in ("a", "b"):
        publish(node, write(directory / n, files(n)), "--release", n)
    seen, stop = set(), threading.Event()

    def read():
        with node.h2() as c:
            while not stop.is_set():
                for path in ("/index.html", "/data.txt"):
                    reply = c.request(path)
                    assert reply.status == 200
                    n = reply.body[:9].decode()
                    assert reply.body == files(n[-1])[path[1:]]
                    seen.add(n)

    readers = [threading.Thread(target=read, daemon=True) for _ in range(3)]
    for r in readers:
        r.start()
    for i in range(20):
        status, text = node.admin("POST", "/releases/rollback", {"site": "www", "release": "ab"[i % 2]})
        assert status == 200, text
    until(lambda: len(seen) == 2, "both to be seen")
    stop.set()
    for r in readers:
        r.join(seconds(20))
        assert not r.is_alive()
