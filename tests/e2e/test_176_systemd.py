"""The units under a systemd that is the first process of a container: with their sandbox, for real."""
import re

import pytest

from testenv.edge import BUILD, ROOT
from testenv.wait import until
import test_175_image
from test_175_image import IMAGE, limits, run

engine = test_175_image.engine  # a fixture

SYSTEMD = f"{IMAGE}-systemd"
DOCKERFILE = f"""FROM {IMAGE}
USER root
RUN userdel selvage && apt-get update && apt-get install -y --no-install-recommends systemd dbus logrotate openssl procps
COPY tree /
COPY certs.sh prepare.sh /root/
RUN systemd-sysusers selvage.conf && sh /root/prepare.sh
HEALTHCHECK NONE
CMD ["/lib/systemd/systemd"]
"""
PREPARE = """set -e
cd /root
sed -i "s/CHANGE-ME-TOO/$(openssl rand -hex 24)/; s/CHANGE-ME/$(openssl rand -hex 24)/" /etc/selvage/tokens.yaml
mkdir -p .config
sed -n 's/^ *secret: \\([0-9a-f]*\\).*/token: "\\1"/p' /etc/selvage/tokens.yaml | tail -n 1 >.config/selvage.yaml
cat >/etc/selvage/sites.yaml <<'END'
sites:
  - {name: www, hosts: [www.test], origin: {servers: ["http://127.0.0.1:9"], allow_local: yes}}
END
sh ./certs.sh ca www.test
cat ca/www.test.crt ca/www.test.key >/etc/selvage/tls/www.pem
selvage pki init --dir fleet
selvage pki node shield1 --dir fleet --host 127.0.0.1
install -m 644 fleet/fleet-ca.pem /etc/selvage/
install -m 600 fleet/shield1.pem /etc/selvage/peer.pem
cat >/etc/selvage/edge.yaml <<'END'
listen: [{address: "0.0.0.0:443", tls: {certificates: tls}}, {address: "0.0.0.0:80", redirect: https}]
admin: {tokens: tokens.yaml}
store: {directory: /var/lib/selvage, size: 1GiB}
logs: {error: /var/log/selvage/error.log, access: /var/log/selvage/access.log}
sites: sites.yaml
END
cat >/etc/selvage/shield.yaml <<'END'
listen: [{address: "127.0.0.1:8443", peers: certificate}]
peer: {certificate: peer.pem, ca: fleet-ca.pem, peers: peers.yaml}
admin: {tokens: tokens.yaml}
store: {directory: /var/lib/selvage, size: 1GiB}
logs: {error: /var/log/selvage/error.log}
sites: sites.yaml
END
systemd-tmpfiles --create selvage.conf
"""


@pytest.fixture
def inside(engine, directory):
    """inside(command): its output, in a container that has booted; ok=False: its exit status, too."""
    if engine != "podman":
        pytest.skip("systemd in a container is podman's --systemd")
    (directory / "Dockerfile").write_text(DOCKERFILE)
    (directory / "prepare.sh").write_text(PREPARE)
    (directory / "certs.sh").write_text((ROOT / "tools/certs.sh").read_text())
    made = run("make", "-s", "-C", ROOT, "-o", "all", "install", f"DESTDIR={directory}/tree", f"B={BUILD}")
    assert made.returncode == 0, made.stderr
    built = run("sh", "-c", f"podman build --format docker $IMAGE_FLAGS -t {SYSTEMD} {directory}", timeout=600)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    name = f"{directory.name}-systemd"

    def call(command, ok=True):
        done = run("podman", "exec", name, "sh", "-c", command)
        if not ok:
            return done.returncode, done.stdout + done.stderr
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    started = run("podman", "run", "-d", "--name", name, *limits(), "--systemd=always", "--privileged", "--network=none", SYSTEMD)
    try:
        if started.returncode != 0:
            pytest.skip(f"no container with systemd: {started.stderr}")
        until(lambda: call("systemctl is-system-running", ok=False)[1].strip() in ("running", "degraded"), "systemd to boot", timeout=60)
        yield call
    finally:
        run("podman", "rm", "-f", name)


def show(inside, unit, key):
    return inside(f"systemctl show --value -p {key} {unit}").strip()


@pytest.mark.long
@pytest.mark.limit(1800)
def test_the_units_run_as_they_are_written(inside):
    for unit, address, caps in (("selvage-edge", "http://127.0.0.1", 0x400), ("selvage-shield", "https://127.0.0.1:8443", 0)):
        inside(f"systemctl start {unit}")
        assert show(inside, unit, "StatusText") == "serving"
        assert inside(f"curl -sk {address}/.well-known/selvage/health") == "ok\n"
        pid = show(inside, unit, "MainPID")
        status = dict(line.split(":\t", 1) for line in inside(f"cat /proc/{pid}/status").splitlines() if ":\t" in line)
        assert "0" not in status["Uid"].split(), status["Uid"]
        assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
        assert all(int(status[c], 16) == caps for c in ("CapEff", "CapPrm", "CapBnd")), status

        inside(f"systemctl reload {unit}")
        config = f"/etc/selvage/{unit.removeprefix('selvage-')}.yaml"
        inside(f"cp {config} /root/good && echo 'x: y' >>{config}")
        assert inside(f"systemctl reload {unit}", ok=False)[0] != 0
        assert re.search(r"x: unknown key", inside(f"journalctl -u {unit} --no-pager"))
        inside(f"cp /root/good {config} && systemctl reload {unit}")
        assert show(inside, unit, "MainPID") == pid

        inside("logrotate --force /etc/logrotate.d/selvage")
        assert inside("ls /var/log/selvage").split().count("error.log.1") == 1
        until(lambda: inside("ls /var/log/selvage").split().count("error.log") == 1, "the new log")
        assert "serving" in inside("selvage status")

        # a node that does not move: systemd notices, and the next process serves
        inside(f"kill -STOP {pid}")
        until(lambda: show(inside, unit, "NRestarts") == "1", "the watchdog", timeout=60, every=1)
        until(lambda: show(inside, unit, "ActiveState") == "active", "the next process", timeout=30, every=0.2)
        assert show(inside, unit, "MainPID") != pid
        assert inside(f"curl -sk {address}/.well-known/selvage/health") == "ok\n"
        inside(f"systemctl stop {unit}")
        assert show(inside, unit, "Result") == "success"
