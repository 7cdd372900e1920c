"""The image, built and run by docker or podman.

SELVAGE_IMAGE_BASE: another image of Debian 12 to stand on; IMAGE_FLAGS: more words for the build.
"""
import json
import os
import resource
import shutil
import subprocess

import pytest

from testenv.edge import ROOT
from testenv.wait import seconds, until

BASE = os.environ.get("SELVAGE_IMAGE_BASE", "debian:12-slim")
IMAGE = "localhost/selvage-test"


def run(*words, timeout=120, **more):
    return subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=seconds(timeout), check=False, **more)


def limits():
    """podman asks for more than a machine may allow its root: what is enough for the daemons, and no more than there is."""
    for name, which, enough in (("nofile", resource.RLIMIT_NOFILE, 16384), ("nproc", resource.RLIMIT_NPROC, 4096)):
        hard = resource.getrlimit(which)[1]
        n = enough if hard == resource.RLIM_INFINITY else min(enough, hard)
        yield f"--ulimit={name}={n}:{n}"


def find_engine():
    """As tools/image.sh does."""
    if shutil.which("docker") and run("docker", "info").returncode == 0:
        return "docker"
    return "podman" if shutil.which("podman") else None


@pytest.fixture(scope="module")
def engine():
    name = find_engine()
    if name is None:
        pytest.skip("neither docker with its daemon nor podman is here")
    if run(name, "image", "inspect", BASE).returncode != 0:
        pulled = run(name, "pull", BASE, timeout=300)
        if pulled.returncode != 0:
            pytest.skip(f"{name} cannot get {BASE}: {pulled.stderr.strip().splitlines()[-1]}")
    built = run("make", "-C", ROOT, "-s", "image", f"IMAGE={IMAGE}", f"BASE={BASE}", timeout=1500)
    assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-3000:]
    return name


@pytest.fixture
def container(engine, directory):
    """container(NAME, folder of its configuration, word...): started, and gone at the end."""
    made = []

    def start(name, etc, *words):
        name = f"{directory.name}-{name}"
        store = directory / f"{name}-store"
        store.mkdir()
        os.chown(store, 10001, 10001)
        done = run(engine, "run", "-d", "--name", name, *limits(), "--network=host", "--read-only", "--cap-drop=all",
                   "--security-opt=no-new-privileges", "-v", f"{etc}:/etc/selvage:ro", "-v", f"{store}:/var/lib/selvage",
                   IMAGE, *words)
        assert done.returncode == 0, done.stderr
        made.append(name)
        return name

    yield start
    for name in made:
        run(engine, "rm", "-f", name)


def own(folder):
    for f in [folder, *folder.rglob("*")]:
        os.chown(f, 10001, 10001)


@pytest.mark.long
@pytest.mark.limit(1800)
def test_edge_and_shield_run_from_the_image(engine, container, make_edge, make_shield, origin, directory):
    if os.geteuid() != 0:
        pytest.skip("the folders must belong to the image's user, so this needs root")
    directory.chmod(0o755)
    origin.page("/x", b"from the origin", cache_control="max-age=60")
    shield = make_shield(origin, start=False)
    peer = shield.fleet.peer("edge")
    edge = make_edge(None, start=False, config={"upstream": {"shields": [[shield.url]], "direct": "refused"}, "peer": peer},
                     site={"origin": {"servers": [origin.url], "allow_local": True}})
    etc = {}
    for daemon in (edge, shield):  # as they are on this machine, with the paths of the container
        daemon.write_config()
        folder = directory / f"etc-{daemon.PROGRAM}"
        folder.mkdir()
        text = daemon.file.read_text().replace(str(daemon.store), "/var/lib/selvage")
        text = text.replace(str(daemon.directory / "access.log"), "'-'")
        for path in (shield.fleet.directory, daemon.directory):
            text = text.replace(str(path), "/etc/selvage")
        (folder / daemon.file.name).write_text(text)
        for f in [*shield.fleet.directory.glob("*.pem"), shield.fleet.secret, *daemon.directory.glob("*.yaml")]:
            if not (folder / f.name).exists():
                shutil.copy(f, folder / f.name)
        if daemon is edge:
            shutil.copytree(edge.tls_directory, folder / "tls")
        own(folder)
        etc[daemon.PROGRAM] = folder

    s = container("shield", etc["selvage-shield"], "selvage-shield")
    e = container("edge", etc["selvage-edge"])

    def serves():
        try:
            return edge.get("/x").body == b"from the origin"
        except OSError:
            return False

    def logs():
        return "".join(run(engine, "logs", n).stderr for n in (s, e))

    try:
        until(serves, "the containers to serve", timeout=60)
    except AssertionError as failure:
        raise AssertionError(logs()) from failure
    until(lambda: edge.get("/x").is_hit, "a hit")
    for name in (s, e):
        assert run(engine, "exec", name, "id", "-u").stdout.strip() == "10001"
        admin = edge.admin_port if name == e else shield.admin_port
        said = run(engine, "exec", name, "selvage", "--node", f"http://127.0.0.1:{admin}", "status")
        assert said.returncode == 0 and "serving" in said.stdout, said.stdout + said.stderr

    image = json.loads(run(engine, "image", "inspect", IMAGE).stdout)[0]
    assert image["Config"]["User"] == "selvage"
    check = image["Config"].get("Healthcheck") or image["Healthcheck"]  # docker's place, podman's
    assert check["Test"][0] == "CMD"
    for url, expected in ((f"http://127.0.0.1:{edge.plain_port}", 0), (f"https://127.0.0.1:{shield.port}", 0),
                          ("http://127.0.0.1:1", 1)):
        done = run(engine, "exec", "-e", f"SELVAGE_HEALTH=http://127.0.0.1:1 {url}/.well-known/selvage/health", e, *check["Test"][1:])
        assert done.returncode == expected, (url, done.stderr)

    for name in (e, s):
        run(engine, "stop", "-t", "20", name)
        state = json.loads(run(engine, "inspect", name).stdout)[0]["State"]
        assert state["ExitCode"] == 0, (state, logs())
