"""The examples in conf/, as `selvage check` sees them: as they are, and with all that is commented out."""
import re
import subprocess
import sys

import pytest

from testenv.edge import BUILD, ROOT
from testenv.shield import Fleet

sys.path.insert(0, str(ROOT / "tests" / "geo"))
import build  # noqa: E402

KEY = re.compile(r"^(\s*)# ((?:  )*(?:- )?[a-z_0-9]+:(?: .*)?)$")


NODES = ("edge.yaml", "shield.yaml")  # the others also have prose with colons in it


def uncommented(text):
    """Keys stand behind '# ', as far in as they belong."""
    return "".join(KEY.sub(r"\1\2", line) + "\n" for line in text.splitlines())


@pytest.fixture
def etc(directory, authority):
    """/etc/selvage as the examples name it, with a fleet's certificates and a geo database."""
    (directory / "etc").mkdir()
    authority.copy_to(directory / "etc/tls", "www.test")
    fleet = Fleet(directory / "etc")
    fleet.node("peer")
    (directory / "etc/origin-ca.pem").write_bytes(authority.ca.read_bytes())
    for n in ("peer.secret", "explain.secret"):
        (directory / "etc" / n).touch(mode=0o600)
        (directory / "etc" / n).write_text("0123456789abcdef0123456789abcdef\n")
    for n in ("city.mmdb", "city6.mmdb"):
        build.write(directory / n, build.build(build.read(ROOT / "tests/geo/places.tsv"), False))

    def put(with_all=False):
        for f in (ROOT / "conf").glob("*.yaml"):
            text = uncommented(f.read_text()) if with_all and f.name in NODES else f.read_text()
            text = text.replace("/etc/selvage/", "").replace("/usr/share/GeoIP", str(directory))
            text = text.replace("/var/l", f"{directory}/l")
            text = text.replace("CHANGE-ME-TOO", "0123456789abcdef0").replace("CHANGE-ME", "0123456789abcdef1")
            to = directory / "etc" / f.name
            to.touch(mode=0o600)
            to.write_text(text)
        return directory / "etc"

    return put


@pytest.mark.parametrize("name", sorted(f.name for f in (ROOT / "conf").glob("*.yaml")
                                        if f.name not in ("tokens.yaml", "regions.yaml", "peers.yaml")))
def test_an_example_is_good(selvage, etc, name):
    done = selvage("check", etc() / name)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", NODES)
def test_an_example_is_good_with_all_that_is_commented_out(selvage, etc, name):
    """So the other files are named, and read."""
    file = etc(with_all=True) / name
    assert not re.search(r"^# (geo|journal|logs|workers):", file.read_text(), re.M), file.read_text()
    for other in ("tokens.yaml", "regions.yaml" if name == "edge.yaml" else "peers.yaml"):
        assert f": {other}" in file.read_text()
    done = selvage("check", file)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", NODES)
def test_the_secrets_of_the_example_stop_a_node(selvage, etc, name):
    folder = etc()
    (folder / "tokens.yaml").write_text((ROOT / "conf/tokens.yaml").read_text())
    done = selvage("check", folder / name)
    assert done.returncode == 1 and "tokens.yaml" in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["edge", "shield"])
def test_a_reload_fails_for_a_certificate_that_cannot_be_used(etc, name):
    """What ExecReload asks before the daemon gets its signal."""
    folder = etc()
    unit = (ROOT / f"conf/systemd/selvage-{name}.service").read_text()
    words = re.search(r"^ExecReload=/usr/local/sbin/(.*)$", unit, re.M)[1].replace("/etc/selvage/", f"{folder}/").split()
    ask = [BUILD / words[0], *words[1:]]
    done = subprocess.run(ask, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    file = folder / ("tls/www.test.crt" if name == "edge" else "peer.pem")
    file.write_text("-----BEGIN NONSENSE-----\n")
    done = subprocess.run(ask, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert str(file) in done.stderr
