#!/usr/bin/python3
"""Stands in for systemctl where systemd is not the first process: what the units say is done, but for
the sandbox.  start, stop, restart, reload, enable --now, is-active, kill, daemon-reload.

Each unit that runs has a keeper, `systemctl keep UNIT`: it hears what the daemon notifies, and writes
into /run/units/UNIT.json what is known of it.
"""
import json
import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

FOLDERS = [Path("/etc/systemd/system"), Path("/usr/local/lib/systemd/system"), Path("/usr/lib/systemd/system")]
RUN = Path("/run/units")
WAIT_S = 60


def load(name):
    """The unit's keys; each a list, since some stand more than once."""
    for folder in FOLDERS:
        if (folder / f"{name}.service").exists():
            keys = {}
            for key, value in re.findall(r"^(\w+)=(.*)$", (folder / f"{name}.service").read_text(), re.M):
                keys.setdefault(key, []).append(value)
            return keys
    sys.exit(f"Unit {name}.service not found.")


def state(name):
    try:
        return json.loads((RUN / f"{name}.json").read_text())
    except FileNotFoundError:
        return {"pid": 0, "ready": 0, "status": ""}


def tell(name, **known):
    new = RUN / f".{name}.json"
    new.write_text(json.dumps({**state(name), **known}))
    new.rename(RUN / f"{name}.json")


def wait_for(name, true, what):
    deadline = time.monotonic() + WAIT_S
    while not true(state(name)):
        if time.monotonic() > deadline:
            sys.exit(f"{name}: waited in vain: {what}")
        time.sleep(0.01)


def as_user(keys, *command):
    """The command under the unit's user, with its capabilities and no others."""
    powers = " ".join(keys.get("AmbientCapabilities", [""])).lower().replace("cap_", "+")
    user = keys["User"][0]
    return ["setpriv", f"--reuid={user}", f"--regid={keys['Group'][0]}", "--init-groups", "--no-new-privs",
            f"--inh-caps=-all{',' + powers if powers else ''}", f"--ambient-caps=-all{',' + powers if powers else ''}",
            f"--bounding-set=-all{',' + powers if powers else ''}", *command]


def make_folders(keys):
    user = pwd.getpwnam(keys["User"][0])
    for key, parent in (("StateDirectory", "/var/lib"), ("LogsDirectory", "/var/log")):
        for name in keys.get(key, []):
            folder = Path(parent, name)
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(int(keys.get(f"{key}Mode", ["0755"])[0], 8))
            os.chown(folder, user.pw_uid, user.pw_gid)


def keep(name):
    """Runs the unit's daemon to its end."""
    keys = load(name)
    make_folders(keys)
    path = RUN / f"{name}.notify"
    path.unlink(missing_ok=True)
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.bind(str(path))
    path.chmod(0o777)
    heard.settimeout(0.05)
    os.umask(int(keys["UMask"][0], 8))
    log = open(RUN / f"{name}.log", "ab")
    daemon = subprocess.Popen(as_user(keys, *keys["ExecStart"][0].split()), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                              cwd="/", env={"PATH": os.environ["PATH"], "NOTIFY_SOCKET": str(path)})
    tell(name, pid=daemon.pid, ready=0)
    while daemon.poll() is None:
        try:
            said = dict(line.split("=", 1) for line in heard.recv(4096).decode().splitlines())
        except TimeoutError:
            continue
        if "READY" in said:
            tell(name, ready=state(name)["ready"] + 1)
        if "STATUS" in said:
            tell(name, status=said["STATUS"])
    tell(name, pid=0, exit=daemon.returncode)


def start(name):
    if state(name)["pid"]:
        return
    load(name)
    RUN.mkdir(exist_ok=True)
    tell(name, pid=-1, ready=0)
    subprocess.Popen([sys.executable, __file__, "keep", name], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                     stderr=open(RUN / f"{name}.log", "ab"), start_new_session=True)
    wait_for(name, lambda s: s["ready"] > 0 or s["pid"] == 0, "READY=1")
    if state(name)["pid"] == 0:
        sys.exit(f"Job for {name}.service failed.\n{(RUN / f'{name}.log').read_text()}")


def stop(name):
    load(name)
    pid = state(name)["pid"]
    if pid:
        os.kill(pid, signal.SIGTERM)
        wait_for(name, lambda s: s["pid"] == 0, "the end")


def reload(name):
    keys = load(name)
    before = state(name)
    if not before["pid"]:
        sys.exit(f"{name}.service is not active, cannot reload.")
    for command in keys["ExecReload"]:
        words = command.replace("$MAINPID", str(before["pid"])).split()
        done = subprocess.run(as_user(keys, *words), check=False)
        if done.returncode != 0:
            sys.exit(f"Job for {name}.service failed because the control process exited with error code.")
    wait_for(name, lambda s: s["ready"] > before["ready"], "READY=1 after the reload")
    if "failed" in state(name)["status"]:
        sys.exit(state(name)["status"])


def main():
    words = [w for w in sys.argv[1:] if not w.startswith("--")]
    verb, names = words[0], [w.removesuffix(".service") for w in words[1:]]
    if verb == "daemon-reload":
        return
    for name in names:
        if verb == "keep":
            keep(name)
        elif verb == "start" or verb == "enable" and "--now" in sys.argv:
            start(name)
        elif verb == "stop":
            stop(name)
        elif verb == "restart":
            stop(name)
            start(name)
        elif verb == "reload":
            reload(name)
        elif verb == "is-active":
            if state(name)["pid"] <= 0:
                sys.exit(3)
        else:
            sys.exit(f"Unknown command verb {verb}.")


if __name__ == "__main__":
    main()
