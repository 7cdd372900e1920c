"""docs/two-vms.md: every command in it is run, on two machines and one at home, in namespaces.

What stands in for the world outside: `scp` (copies between the machines), `certbot` (an authority of the
test's own; it does take port 80, and runs the hooks), `apt-get`, and `systemctl` (testenv/systemctl.py,
which does what the installed units say).
"""
import os
import re
import shutil

import pytest

from testenv.edge import BUILD, ROOT
from testenv.machines import Machine, NotPermitted, connect, make_hub, missing_tools
from testenv.wait import until

GUIDE = ROOT / "docs/two-vms.md"
HOSTS = {"home": ["home"], "shield1": ["shield1"], "edge1": ["edge1"], "both": ["shield1", "edge1"]}

SCP = """#!/bin/sh
# scp FILE... root@ADDRESS:
set -eu
for to in "$@"; do :; done
case $to in
root@10.0.0.1:) home=/srv/homes/shield1 ;;
root@10.0.0.2:) home=/srv/homes/edge1 ;;
*) echo "scp: no route to $to" >&2; exit 1 ;;
esac
while [ $# -gt 1 ]; do cp -p "$1" "$home/"; shift; done
"""

CERTBOT = """#!/usr/bin/python3
import argparse, json, os, shutil, socket, subprocess, sys
memory = "/etc/letsencrypt/arguments"
words = sys.argv[1:]
if words == ["renew"]:
    words = json.load(open(memory))
p = argparse.ArgumentParser()
p.add_argument("verb", choices=["certonly"])
for flag in ("--standalone", "--non-interactive", "--agree-tos"):
    p.add_argument(flag, action="store_true", required=True)
for option in ("--pre-hook", "--deploy-hook", "--post-hook", "-m", "-d"):
    p.add_argument(option, required=True)
o = p.parse_args(words)
os.makedirs("/etc/letsencrypt", exist_ok=True)
json.dump(words, open(memory, "w"))
subprocess.run(o.pre_hook, shell=True, check=True)
with socket.socket() as s:  # where the challenge is answered
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("0.0.0.0", 80))
    s.listen()
live = f"/etc/letsencrypt/live/{o.d}"
os.makedirs(live, exist_ok=True)
subprocess.run(["/srv/home/selvage/tools/certs.sh", "/srv/authority", o.d], check=True)
shutil.copy(f"/srv/authority/{o.d}.crt", f"{live}/fullchain.pem")
shutil.copy(f"/srv/authority/{o.d}.key", f"{live}/privkey.pem")
subprocess.run(o.deploy_hook, shell=True, check=True, env={**os.environ, "RENEWED_LINEAGE": live, "RENEWED_DOMAINS": o.d})
subprocess.run(o.post_hook, shell=True, check=True)
"""

APT_GET = """#!/bin/sh
[ "$*" = 'install -y certbot' ] || { echo "apt-get: this test has no network: $*" >&2; exit 1; }
"""


def blocks():
    """(machine, commands), in their order.  Commands elsewhere than in blocks are for reading."""
    text = GUIDE.read_text()
    fences = re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.M | re.S)
    for info, body in fences:
        if info.startswith("sh"):
            yield info.split()[1], body


def test_every_block_of_the_guide_says_where_it_is_run():
    assert [h for h, _ in blocks() if h not in HOSTS] == []
    assert len(list(blocks())) > 10


@pytest.fixture
def world(directory):
    """The three machines; home is also the network between them, the origin and where visitors are."""
    if os.geteuid() != 0:
        pytest.skip("namespaces and users of machines need root")
    if BUILD != ROOT / "build/release":
        pytest.skip("the guide's commands name build/release")
    if missing_tools():
        pytest.skip(f"not installed: {', '.join(missing_tools())}")
    for folder in ("stubs", "authority", "www"):
        (directory / folder).mkdir()
    for name, text in {"scp": SCP, "certbot": CERTBOT, "apt-get": APT_GET}.items():
        (directory / "stubs" / name).write_text(text)
    shutil.copy(ROOT / "tests/e2e/testenv/systemctl.py", directory / "stubs/systemctl")
    for f in (directory / "stubs").iterdir():
        f.chmod(0o755)
    machines = {}
    try:
        for name in ("home", "shield1", "edge1"):
            machines[name] = Machine(directory, name)
        make_hub(machines["home"], "10.0.0.80/24", "203.0.113.99/24")
        connect(machines["home"], machines["shield1"], "10.0.0.1/24")
        connect(machines["home"], machines["edge1"], "10.0.0.2/24", "203.0.113.10/24")
        machines["home"].run("echo '203.0.113.10 www.example.com' >>/etc/hosts")
        yield machines
    except NotPermitted as e:
        pytest.skip(f"namespaces or overlays are not permitted: {e}")
    finally:
        for m in machines.values():
            m.close()


def write_page(directory, text):
    """As old as it must be for a lifetime by the tenth of its age (RFC 9111 section 4.2.2)."""
    page = directory / "www/index.html"
    page.write_text(text)
    os.utime(page, (10**9, 10**9))


def visit(home, url="https://www.example.com/"):
    return home.run(f"curl -sS --max-time 20 -i {url}", CURL_CA_BUNDLE="/srv/authority/ca.pem")


@pytest.mark.limit(400)  # programs that are older than their sources are built, on each machine
def test_the_guide_from_its_first_to_its_last_command(world, directory):
    home, shield, edge = world["home"], world["shield1"], world["edge1"]
    write_page(directory, "the first edition")
    home.start("/usr/bin/python3", "-m", "http.server", "8080", "--bind", "10.0.0.80", "--directory", directory / "www")
    until(lambda: "first" in home.run("curl -s http://10.0.0.80:8080/ || :"), "the origin", timeout=30)

    said = []
    for where, commands in blocks():
        for name in HOSTS[where]:
            out = world[name].run(commands, timeout=300, CURL_CA_BUNDLE="/srv/authority/ca.pem")
            said.append((name, commands, out))
        if "curl" in commands:  # a person is slower than the commit
            assert "edge1; fwd=uri-miss" in out and "stored" in out, out
            assert "https://www.example.com/" in out.splitlines()[-1] and out.splitlines()[-1][:3] in ("301", "308"), out
            until(lambda: "edge1; hit" in visit(home), "a hit")
            write_page(directory, "the second edition")
            assert "the first edition" in visit(home)
        if "--wait" in commands:
            assert re.search(r"^  edge1 +applied", out, re.M), out
            assert "the second edition" in visit(home)

    def of(words):
        return [out for _, commands, out in said if words in commands]

    assert all("serving" in out for out in of("selvage status")) and len(of("selvage status")) == 2
    assert "fresh" in of("selvage explain")[0]
    assert said[-1][0] == "shield1" and "revoked" in said[-1][1], "the guide ends with a revoked machine"
    until(lambda: re.search(r"peer 10\.0\.0\.\d+: .*revoked", shield.run("cat /var/log/selvage/error.log")), "the edge to be refused",
          timeout=20)
    assert "the second edition" in visit(home, "https://www.example.com/?after")  # past the shield

    # what nobody sees in the guide: who they run as, whose the files are, and that a renewal works
    for machine, program in ((shield, "selvage-shield"), (edge, "selvage-edge")):
        user = machine.run("id -u selvage").strip()
        assert user != "0"
        assert machine.run(f"ps -o uid= -C {program}").split() == [user]
        assert machine.run("stat -c '%U %a' /etc/selvage/tokens.yaml /etc/selvage/peer.pem").split("\n")[:2] == ["selvage 600"] * 2
        assert machine.run("stat -c '%U %a' /var/lib/selvage").strip() == "selvage 700"
    before = edge.run("openssl x509 -noout -serial </etc/selvage/tls/www.example.com.pem")
    assert edge.run("stat -c '%U %G %a' /etc/selvage/tls/www.example.com.pem").strip() == "root selvage 640"
    edge.run("certbot renew")
    after = edge.run("openssl x509 -noout -serial </etc/selvage/tls/www.example.com.pem")
    shown = home.run("openssl s_client -connect www.example.com:443 -servername www.example.com </dev/null 2>/dev/null | openssl x509 -noout -serial")
    assert after == shown != before
    assert "edge1; hit" in visit(home)  # the store came along
    assert "10.0.0.2" in edge.run("ip -4 address show eth0")
    for machine, program in ((edge, "selvage-edge"), (shield, "selvage-shield")):
        machine.run(f"systemctl stop {program}")
        assert '"exit": 0' in machine.run(f"cat /run/units/{program}.json")
