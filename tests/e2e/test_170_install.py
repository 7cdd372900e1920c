"""What `make install` puts into place, and what a service manager does with it."""
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from testenv.edge import BUILD, ROOT
from testenv.wait import seconds, until

PREFIX = "/usr"  # not the default: what knows the prefix must have been told


# A make above us has words for its own children.
ENVIRONMENT = {n: v for n, v in os.environ.items() if n not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES")}


def run(*words, **more):
    return subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=seconds(60), check=False,
                          **{"env": ENVIRONMENT, **more})


def install(destination, prefix=PREFIX, goal="install"):
    done = run("make", "-C", ROOT, "-o", "all", goal, f"DESTDIR={destination}", f"prefix={prefix}", f"B={BUILD}")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    root = tmp_path_factory.mktemp("installed")
    install(root)
    return root


def files(root):
    return {str(f.relative_to(root)): f for f in root.rglob("*") if f.is_file()}


def test_what_is_installed_where(installed):
    have = files(installed)
    for name, mode in {"usr/sbin/selvage-edge": 0o755, "usr/sbin/selvage-shield": 0o755, "usr/bin/selvage": 0o755,
                       "usr/share/man/man1/selvage.1": 0o644, "usr/share/man/man8/selvage-shield.8": 0o644,
                       "usr/lib/systemd/system/selvage-edge.service": 0o644, "usr/lib/sysusers.d/selvage.conf": 0o644,
                       "etc/logrotate.d/selvage": 0o644, "etc/selvage/tokens.yaml": 0o600,
                       "etc/selvage/regions.yaml": 0o644}.items():
        assert name in have, (name, sorted(have))
        assert have[name].stat().st_mode & 0o777 == mode, name


def test_an_installation_keeps_the_configuration_that_is_there(tmp_path):
    install(tmp_path)
    mine = [tmp_path / "etc" / f for f in ("selvage/edge.yaml", "selvage/tokens.yaml", "logrotate.d/selvage")]
    for f in mine:
        f.write_text("# mine\n")
    install(tmp_path)
    assert {f.read_text() for f in mine} == {"# mine\n"}
    install(tmp_path, goal="uninstall")
    assert all(f.startswith("etc/") for f in files(tmp_path)), files(tmp_path)
    assert {f.read_text() for f in mine} == {"# mine\n"}


@pytest.mark.parametrize("program", ["selvage-edge", "selvage-shield"])
def test_the_unit_names_what_is_installed(installed, program):
    unit = (installed / f"usr/lib/systemd/system/{program}.service").read_text()
    for command in re.findall(r"^Exec\w+=(\S+)", unit, re.M):
        if command != "/bin/kill":
            assert command.startswith("/usr/") and (installed / command[1:]).exists(), command
    manual = re.search(r"^Documentation=man:(\S+)\((\d)\)", unit, re.M)
    assert (installed / f"usr/share/man/man{manual[2]}/{manual[1]}.{manual[2]}").exists()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize("program", ["selvage-edge", "selvage-shield"])
def test_the_sandbox_is_on(program):
    unit = ROOT / f"conf/systemd/{program}.service"
    done = run("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", unit)
    assert done.returncode == 0, done.stdout
    level = float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)[1])
    print(f"{program}: exposure {level}")
    assert level <= 2.0


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize("program", ["selvage-edge", "selvage-shield"])
def test_systemd_knows_every_key_of_the_unit(program, tmp_path):
    """Commands and manuals are looked for on this machine, where they need not be."""
    text = (ROOT / f"conf/systemd/{program}.service").read_text()
    text = re.sub(r"=/usr/local/s?bin/\S+", "=/bin/true", re.sub(r"^Documentation=.*\n", "", text, flags=re.M))
    unit = tmp_path / f"{program}.service"
    unit.write_text(text)
    done = run("systemd-analyze", "verify", unit)
    mine = [line for line in done.stderr.splitlines() if program in line and "Failed to prepare" not in line]
    assert not mine, mine


@pytest.mark.skipif(not shutil.which("systemd-sysusers"), reason="systemd-sysusers is not installed")
def test_the_user_is_made_and_owns_the_secrets(installed, tmp_path):
    for f in ("etc/passwd", "etc/group"):
        (tmp_path / f).parent.mkdir(exist_ok=True)
        (tmp_path / f).write_text("root:x:0:0::/root:/bin/sh\n" if f.endswith("passwd") else "root:x:0:\n")
    done = run("systemd-sysusers", f"--root={tmp_path}", installed / "usr/lib/sysusers.d/selvage.conf")
    assert done.returncode == 0, done.stderr
    user = re.search(r"^selvage:x:(\d+):", (tmp_path / "etc/passwd").read_text(), re.M)
    assert user and int(user[1]) > 0


def test_the_installed_tree_serves(installed, make_edge, make_shield, origin, directory):
    """The examples as they are, but for addresses, sizes and the folder they are in."""
    origin.page("/x", b"x", cache_control="max-age=60")
    edge = make_edge(origin, start=False)
    etc = directory / "etc"
    shutil.copytree(installed / "etc/selvage", etc, dirs_exist_ok=True)
    edge.authority.copy_to(etc / "tls", "www.test")
    tokens = (etc / "tokens.yaml").read_text()
    (etc / "tokens.yaml").write_text(tokens.replace("CHANGE-ME-TOO", "0123456789abcdef0").replace("CHANGE-ME", "0123456789abcdef1"))
    sites = (etc / "sites.yaml").read_text()
    sites = sites.replace("hosts: [www.example.com,", "hosts: [www.test,").replace("hosts: [https", "[https")
    sites = re.sub(r"servers: \[.*\]", f"servers: [\"{origin.url}\"]\n      allow_local: yes", sites)
    sites = re.sub(r"weights: .*|health: .*|host_header: .*", "# removed", sites)
    (etc / "sites.yaml").write_text(sites)
    text = (etc / "edge.yaml").read_text()
    text = text.replace("/etc/selvage/", "").replace("/var/lib/selvage", str(directory / "store")).replace("100GiB", "64MiB")
    text = text.replace("0.0.0.0:443", f"127.0.0.1:{edge.port}").replace("0.0.0.0:80", f"127.0.0.1:{edge.redirect_port}")
    text = re.sub(r"  - address: \"\[::\]:443\"\n.*\n", "", text)
    text = text.replace('# listen: "127.0.0.1:9180"', f'listen: "127.0.0.1:{edge.admin_port}"')
    edge.token = "0123456789abcdef0"
    edge.program = installed / "usr/sbin/selvage-edge"
    edge.directory = etc  # its file is edge.yaml there
    edge.file.write_text(text)
    done = run(installed / "usr/bin/selvage", "check", edge.file)
    assert done.returncode == 0, done.stdout + done.stderr
    edge.start(write=False)
    assert edge.fill("/x").status == 200
    assert edge.get("/x").is_hit
    (directory / "token").write_text(edge.token)
    done = run(installed / "usr/bin/selvage", "--node", f"http://127.0.0.1:{edge.admin_port}", "--token-file", directory / "token",
               "status")
    assert done.returncode == 0 and "serving" in done.stdout, done.stdout + done.stderr


@pytest.mark.skipif(not Path("/usr/sbin/logrotate").exists(), reason="logrotate is not installed")
def test_logrotate_renames_and_the_daemon_opens_anew(make_edge, origin, directory):
    """The file as it is, but for its folder and user; systemctl is what it asks to send the signal."""
    origin.page("/x", b"x")
    log, bin_ = directory / "log", directory / "bin"
    log.mkdir(mode=0o750)
    bin_.mkdir()
    edge = make_edge(origin, config={"logs": {"error": str(log / "error.log"), "access": str(log / "access.log")}})
    systemctl = bin_ / "systemctl"
    systemctl.write_text(f"#!/bin/sh\n[ \"$*\" = \"kill --kill-whom=main --signal=USR1 selvage-*.service\" ] && kill -USR1 {edge.pid}\n")
    systemctl.chmod(0o755)
    text = (ROOT / "conf/logrotate.d/selvage").read_text()
    assert "    su selvage selvage\n" in text
    conf = directory / "logrotate.conf"
    conf.write_text(text.replace("/var/log/selvage", str(log)).replace("    su selvage selvage\n", ""))
    conf.chmod(0o644)
    edge.get("/x?before")
    until(lambda: (log / "access.log").read_text().count("\n") == 1, "the first line")
    done = run("/usr/sbin/logrotate", "--force", "--state", directory / "state", conf, env={"PATH": f"{bin_}:/usr/bin:/bin"})
    assert done.returncode == 0, done.stderr
    until((log / "access.log").exists, "the new log")
    edge.get("/x?after")
    until(lambda: (log / "access.log").read_text().count("\n") == 1, "a line in the new log")
    assert "after" in (log / "access.log").read_text()
    assert "before" in (log / "access.log.1").read_text()
    edge.wait_idle()
