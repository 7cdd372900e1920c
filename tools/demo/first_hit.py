#!/usr/bin/python3
"""How long after its start a daemon answers: first_hit.py PID LOG CA HOST PATH.

Waits for the port in LOG and until its health is ok (it has caught up with the purges of the fleet),
asks once over TLS, and prints the milliseconds from the start of process PID to the end of the answer,
and its Cache-Status.
"""
import http.client
import re
import socket
import ssl
import sys
import time

WAIT_S = 20


def started_s(pid):
    """On the clock that counts from the boot of the machine, to a hundredth."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        return int(f.read().rpartition(")")[2].split()[19]) / 100


def port_in(log):
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            with open(log, encoding="utf-8") as f:
                found = re.search(r"listening on \S+ \(port (\d+)\)", f.read())
        except FileNotFoundError:
            found = None
        if found:
            return int(found[1])
        time.sleep(0.002)
    sys.exit(f"no port in {log} after {WAIT_S} s")


def ask(client, path):
    client.request("GET", path)
    answer = client.getresponse()
    answer.read()
    return answer


def main():
    pid, log, ca, host, path = sys.argv[1:]
    start = started_s(pid)
    context = ssl.create_default_context(cafile=ca)
    plain = socket.create_connection(("127.0.0.1", port_in(log)), timeout=WAIT_S)
    client = http.client.HTTPConnection(host)
    client.sock = context.wrap_socket(plain, server_hostname=host)
    deadline = time.monotonic() + WAIT_S
    while ask(client, "/.well-known/selvage/health").status != 200:
        if time.monotonic() > deadline:
            sys.exit(f"not healthy after {WAIT_S} s")
        time.sleep(0.002)
    answer = ask(client, path)
    ms = 1000 * (time.clock_gettime(time.CLOCK_BOOTTIME) - start)
    print(f"{ms:.0f} {answer.getheader('cache-status')}")


if __name__ == "__main__":
    main()
