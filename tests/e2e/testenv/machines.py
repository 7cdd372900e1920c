"""Machines of a small network: namespaces of their own for mounts, processes and the network, and a copy
of this machine's files that may be written to.  For root."""
import os
import shutil
import subprocess
from pathlib import Path

from testenv.edge import ROOT
from testenv.wait import seconds, until

# Writable layers are in memory; a layer beside what it covers is refused by the kernel.
BOOT = """set -e
exec 2>&1
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$1"
cd "$1"
mkdir upper work root tree tree-work
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
mount --rbind /dev root/dev
mount -t proc proc root/proc
mount -t tmpfs -o mode=755 tmpfs root/run
mkdir -p root/srv/home root/srv/homes root/srv/stubs root/srv/authority
mount --bind "$2/homes/$3" root/srv/home
mount --bind "$2/homes" root/srv/homes
mount --bind "$2/stubs" root/srv/stubs
mount --bind "$2/authority" root/srv/authority
mkdir -p root/srv/home/selvage
mount -t overlay overlay -o lowerdir="$4",upperdir=tree,workdir=tree-work root/srv/home/selvage
ip link set lo up
echo ready
exec sleep infinity
"""


class NotPermitted(Exception):
    """This machine does not let us make others."""


class Machine:
    """`name` is its folder in `world`; `address` where the others reach it."""

    def __init__(self, world, name):
        self.name = name
        self.folder = world / "machines" / name
        self.folder.mkdir(parents=True)
        (world / "homes" / name).mkdir(parents=True)
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", BOOT, "boot", str(self.folder),
             str(world), name, str(ROOT)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        line = self.holder.stdout.readline()
        if line != "ready\n":
            rest = line + self.holder.stdout.read()
            self.holder.wait(10)
            raise NotPermitted(rest.strip())
        self.pid = int(until(Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children").read_text, "its first process"))

    def enter(self, *words, network_only=False):
        if network_only:  # process numbers are those of outside
            return ["nsenter", "-t", str(self.pid), "-n", *words]
        return ["nsenter", "-t", str(self.pid), "-m", "-n", "-p", "chroot", str(self.folder / "root"), *words]

    def ip(self, *words):
        subprocess.run(self.enter("ip", *map(str, words), network_only=True), check=True, timeout=seconds(10))

    def environment(self):
        """As after a login of root."""
        return {"PATH": "/srv/stubs:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/srv/home",
                "USER": "root", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive",
                **{n: v for n, v in os.environ.items() if n.endswith("SAN_OPTIONS")}}

    def run(self, text, timeout=60, **environment):
        """A shell at home: each line has to succeed.  What it said, both streams as they came."""
        done = subprocess.run(self.enter("sh", "-e", "-c", f"cd\n{text}"), env={**self.environment(), **environment},
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=seconds(timeout), check=False)
        assert done.returncode == 0, f"{self.name} ended with {done.returncode}:\n{text}\n----\n{done.stdout}"
        return done.stdout

    def start(self, *words):
        """In the background, until the machine ends."""
        return subprocess.Popen(self.enter(*map(str, words)), env=self.environment(), stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def close(self):
        """Ends all that runs on it."""
        self.holder.kill()
        self.holder.wait(10)
        self.holder.stdout.close()


def connect(hub, machine, *addresses):
    """A cable from the hub's bridge br0 to the machine's eth0."""
    hub.ip("link", "add", f"to-{machine.name}", "type", "veth", "peer", "name", "eth0", "netns", machine.pid)
    hub.ip("link", "set", f"to-{machine.name}", "master", "br0", "up")
    for a in addresses:
        machine.ip("address", "add", a, "dev", "eth0")
    machine.ip("link", "set", "eth0", "up")


def make_hub(machine, *addresses):
    machine.ip("link", "add", "br0", "type", "bridge")
    for a in addresses:
        machine.ip("address", "add", a, "dev", "br0")
    machine.ip("link", "set", "br0", "up")


def missing_tools():
    return [t for t in ("unshare", "nsenter", "ip", "setpriv", "systemd-sysusers", "systemd-tmpfiles") if not shutil.which(t)]
