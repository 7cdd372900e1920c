"""What an operator can do wrong: each gets a clear sentence, and nothing is lost."""
import os
import re
import subprocess
import time

import pytest

from testenv.edge import BUILD, NotStarted
from testenv.wait import seconds


def start_fails(edge, *words, write=True):
    """Start what cannot start; what it said."""
    began = time.monotonic()
    if write:
        edge.write_config()
    edge.launch()
    status = edge.process.wait(seconds(10))
    said = edge.said()
    assert status == 1, said
    assert time.monotonic() - began < seconds(10)
    for w in words:
        assert re.search(w, said), (w, said)
    edge.process = None
    return said


@pytest.fixture
def cold(make_edge, origin):
    return make_edge(origin, start=False)


def test_a_missing_certificate(cold):
    for f in cold.tls_directory.iterdir():
        f.unlink()
    start_fails(cold, r"certificate", r"tls")


def test_a_certificate_folder_that_is_not_there(cold):
    for f in cold.tls_directory.iterdir():
        f.unlink()
    cold.tls_directory.rmdir()
    start_fails(cold, r"edge\.yaml:\d+", r"No such file")


def test_a_certificate_without_its_key(cold):
    (cold.tls_directory / "www.test.key").unlink()
    start_fails(cold, r"www\.test\.key")


def self_signed(crt, key, days):
    """Of www.test, from two days ago on."""
    folder = crt.parent.parent / "own-ca"
    folder.mkdir()
    (folder / "index").touch()
    (folder / "config").write_text("""[ca]
default_ca = own
[own]
database = index
new_certs_dir = .
default_md = sha256
rand_serial = yes
policy = any
x509_extensions = names
[any]
commonName = supplied
[names]
subjectAltName = DNS:www.test
""")
    begin, end = (time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + d * 86400)) for d in (-2, days))
    for words in (["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-subj", "/CN=www.test",
                   "-keyout", key, "-out", "request"],
                  ["ca", "-batch", "-config", "config", "-selfsign", "-keyfile", key, "-in", "request", "-notext",
                   "-startdate", begin, "-enddate", end, "-out", crt]):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize("days, says", [(-1, "this certificate has expired"), (0.3, "this certificate expires in 0 days"),
                                        (30, None)])
def test_a_certificate_that_ends_is_told_of(cold, days, says):
    crt = cold.tls_directory / "www.test.crt"
    self_signed(crt, crt.with_suffix(".key"), days)
    cold.start()
    cold.wait_said("serving with")  # the log's last line of the start
    assert (f"{crt}: {says}" in cold.said()) if says else ("certificate" not in cold.said())
    left = cold.metric("selvage_certificate_ends_seconds") - time.time()
    assert abs(left - days * 86400) < 3600, left
    check = subprocess.run([BUILD / "selvage-edge", "--check", "--config", cold.file], capture_output=True, text=True,
                           timeout=20)
    assert check.returncode == 0
    assert (says or "certificate") in check.stderr or not says


def test_a_key_of_another_certificate(cold):
    (cold.tls_directory / "www.test.key").write_bytes((cold.tls_directory / "other.test.key").read_bytes())
    start_fails(cold, r"www\.test", r"key")


def test_an_unreadable_certificate(cold, authority):
    if os.geteuid() == 0:
        # Root reads everything: a folder of that name is as unreadable as it gets.
        (cold.tls_directory / "www.test.crt").unlink()
        (cold.tls_directory / "www.test.crt").mkdir()
    else:
        (cold.tls_directory / "www.test.crt").chmod(0)
    start_fails(cold, r"www\.test\.crt")


def test_a_key_that_everybody_can_read(cold):
    key = cold.tls_directory / "www.test.key"
    key.chmod(0o640)
    cold.start()
    assert "can read this private key" not in cold.said()
    cold.stop()
    key.chmod(0o644)
    cold.start()
    assert f"{key}: every user of this machine can read this private key" in cold.said()


def test_a_certificate_of_garbage(cold):
    (cold.tls_directory / "www.test.crt").write_text("-----BEGIN NONSENSE-----\n")
    start_fails(cold, r"www\.test\.crt")


def test_a_misspelt_key(cold):
    cold.write_config()
    cold.file.write_text(cold.file.read_text().replace("workers:", "worker:"))
    start_fails(cold, r"edge\.yaml:\d+:\d+: ", r"worker", r"workers", write=False)


def test_a_file_that_is_not_there(cold):
    start_fails(cold, r"edge\.yaml", r"No such file", write=False)


@pytest.mark.parametrize("text, says", [("", "edge.yaml:1"), ("listen: [", "edge.yaml:"), ("\x00", "edge.yaml"),
                                        ("listen: 7\n", "listen"), ("a: &a [*a]\n", "edge.yaml:1")])
def test_a_file_of_garbage(cold, text, says):
    cold.file.write_text(text)
    start_fails(cold, says, write=False)


def test_a_store_directory_that_is_a_file(cold):
    cold.store.write_text("I was here first")
    start_fails(cold, re.escape(str(cold.store)))
    assert cold.store.read_text() == "I was here first"


def test_a_store_directory_that_is_not_writable(cold):
    """For root only a file system knows no mercy."""
    if os.geteuid() == 0:
        cold.config["store"]["directory"] = "/proc/selvage"
        start_fails(cold, r"/proc/selvage", r"No such file|not permitted|denied|[Rr]ead-only|cannot")
        return
    cold.store.mkdir(mode=0o500)
    start_fails(cold, re.escape(str(cold.store)), r"[Pp]ermission")


def test_a_disk_that_is_full_before_the_start(cold):
    """LMDB writes into a mapping of a file that has no room yet: that must be an error, and no SIGBUS."""
    cold.store.mkdir()
    script = f'mount -t tmpfs -o size=2m tmpfs {cold.store} && {{ cat /dev/zero >{cold.store}/full || :; }} 2>/dev/null && exec "$@"'
    cold.wrapper = ["unshare", "-m", "sh", "-c", script, "sh"]
    if subprocess.run([*cold.wrapper, "true"], capture_output=True, timeout=20).returncode != 0:
        pytest.skip("no file system of our own to be had")
    start_fails(cold, re.escape(str(cold.store)), r"No space left on device: make room")


def test_a_log_without_its_folder(cold):
    cold.config["logs"]["access"] = str(cold.directory / "nowhere" / "access.log")
    start_fails(cold, r"edge\.yaml: logs: ", re.escape(cold.config["logs"]["access"]), r"No such file")


def test_a_store_held_by_another_process(make_edge, origin):
    first = make_edge(origin)
    second = make_edge(origin, start=False, config={"store": {"directory": str(first.store)}})
    start_fails(second, re.escape(str(first.store)), rf"\b{first.pid}\b")
    assert first.get("/x").status == 404
    first.stop()
    second.start()


def test_a_store_of_another_version(make_edge, origin):
    """Something that is no store of ours: never deleted, never misread."""
    edge = make_edge(origin)
    page = origin.page("/x", b"x", cache_control="max-age=600")
    edge.fill("/x")
    edge.stop()
    data = edge.store / "ctl" / "data.mdb"
    before = bytearray(data.read_bytes())
    # The version of LMDB's own format: byte 4 after the magic number of both meta pages.
    for at in (16, 4096 + 16):
        assert before[at:at + 4] == b"\xde\xc0\xef\xbe"
        before[at + 4] = 9
    data.write_bytes(before)
    start_fails(edge, r"ctl", r"(?i)version")
    assert data.read_bytes() == before
    assert page.hits == 1


@pytest.mark.parametrize("which", ["port", "plain_port", "admin_port"])
def test_a_port_that_is_taken(make_edge, origin, which):
    first = make_edge(origin)
    second = make_edge(origin, start=False)
    setattr(second, which, getattr(first, which))
    start_fails(second, rf"{getattr(first, which)}", r"in use|taken")
    assert first.get("/x").status == 404
    assert first.admin("GET", "/healthz")[0] == 200


def test_a_public_admin_address_without_a_token(cold):
    cold.write_config()
    cold.file.write_text(cold.file.read_text().replace(f"127.0.0.1:{cold.admin_port}", f"0.0.0.0:{cold.admin_port}"))
    start_fails(cold, r"admin", r"token", write=False)


def test_tokens_that_others_can_read(make_edge, origin):
    edge = make_edge(origin, start=False,
                     tokens=[{"name": "a", "secret": "0123456789abcdef0123", "kinds": ["read"]}])
    edge.write_config()
    (edge.directory / "tokens.yaml").chmod(0o644)
    said = start_fails(edge, r"tokens\.yaml", r"600", write=False)
    assert "0123456789abcdef" not in said


def test_a_local_origin_must_be_allowed(make_edge, origin):
    edge = make_edge(origin, start=False)
    edge.sites = [{"name": "www", "hosts": ["www.test"], "origin": {"servers": [origin.url]}}]
    try:
        edge.start()
    except NotStarted as e:
        assert "allow_local" in e.said
        edge.process = None
        return
    assert edge.get("/x").status in (502, 503)
    assert origin.hits == 0


def test_an_origin_that_has_no_address(make_edge):
    edge = make_edge(sites=[{"name": "www", "hosts": ["www.test"], "origin": {"servers": ["http://no.such.host.invalid"]}}])
    r = edge.get("/x", timeout=20)
    assert r.status in (502, 503, 504)
    assert r.field("retry-after")


def test_a_purge_with_a_bad_token_changes_nothing(make_edge, origin):
    edge = make_edge(origin, tokens=[{"name": "a", "secret": "0123456789abcdef0123", "kinds": ["purge", "wide", "read"]}])
    origin.page("/x", b"x", cache_control="max-age=600")
    edge.fill("/x")
    for token in ("wrong", "0123456789abcdef012", "0123456789abcdef01234", "", "0123456789abcdef0123, x"):
        status, text = edge.admin("POST", "/purge", {"scopes": [{"all": True}]}, token=token or "x")
        assert status == 401, text
    assert edge.get("/x").is_hit
    assert edge.status()["positions"]["n"] == 0


@pytest.mark.parametrize("words, status", [(["--nonsense"], 2), (["extra"], 2), (["--version"], 0), (["--help"], 0)])
def test_the_command_line_of_the_daemon(words, status):
    r = subprocess.run([BUILD / "selvage-edge", *words], capture_output=True, text=True, timeout=20)
    assert r.returncode == status
    assert "Usage" in r.stderr + r.stdout or "usage" in r.stderr + r.stdout or "selvage-edge" in r.stdout
