"""What the service manager hears: readiness, reloads, the end, and signs of life for its watchdog."""
import ctypes
import os
import signal
import socket
from pathlib import Path

import pytest

from testenv.wait import seconds, until


class Manager:
    """The service manager's end: a local socket for datagrams."""

    def __init__(self, directory):
        self.path = directory / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))

    def hear(self, timeout=10):
        """The next message, as a dictionary; None when there is none in time."""
        self.socket.settimeout(seconds(timeout))
        try:
            text = self.socket.recv(4096).decode()
        except TimeoutError:
            return None
        return dict(line.split("=", 1) for line in text.splitlines())

    def hear_but_life(self):
        while True:
            message = self.hear()
            if message is None or "WATCHDOG" not in message:
                return message


@pytest.fixture
def manager(directory):
    m = Manager(directory)
    yield m
    m.socket.close()


@pytest.fixture
def told(make_edge, origin, manager):
    """An edge whose manager wants to know."""
    return make_edge(origin, environment={"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "1000000"})


def test_ready_means_that_it_serves(make_edge, origin, manager):
    origin.page("/x", b"x")
    edge = make_edge(origin, start=False, environment={"NOTIFY_SOCKET": str(manager.path)})
    edge.write_config()
    edge.launch()
    assert manager.hear(20) == {"READY": "1", "STATUS": "serving"}
    assert edge.get("/x").status == 200


def test_reloads_good_and_bad(told, manager):
    assert manager.hear_but_life()["READY"] == "1"
    told.reload()
    assert manager.hear_but_life()["RELOADING"] == "1"
    assert manager.hear_but_life() == {"READY": "1", "STATUS": "serving"}
    told.file.write_text("{")
    told.reload(ok=False)
    assert manager.hear_but_life()["RELOADING"] == "1"
    message = manager.hear_but_life()
    assert message["READY"] == "1" and "has failed" in message["STATUS"]


def test_the_end_asks_for_the_time_that_the_drain_may_take(make_edge, origin, manager):
    edge = make_edge(origin, config={"drain": "100s"}, environment={"NOTIFY_SOCKET": str(manager.path)})
    assert manager.hear_but_life()["READY"] == "1"
    edge.process.send_signal(signal.SIGTERM)
    message = manager.hear_but_life()
    assert message["STOPPING"] == "1"
    assert int(message["EXTEND_TIMEOUT_USEC"]) > 100_000_000
    assert edge.process.wait(seconds(20)) == 0


class Stopped:
    """One thread of a process that does not move, as a worker would that has lost its way."""

    SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000

    def __init__(self, thread):
        self.thread = thread
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

    def ptrace(self, request):
        return self.libc.ptrace(request, self.thread, None, None)

    def __enter__(self):
        if self.ptrace(self.SEIZE) != 0:
            pytest.skip(f"ptrace is not permitted: {os.strerror(ctypes.get_errno())}")
        assert self.ptrace(self.INTERRUPT) == 0
        os.waitpid(self.thread, self.WALL)
        return self

    def __exit__(self, *_):
        self.ptrace(self.DETACH)


def worker(edge):
    for task in Path(f"/proc/{edge.pid}/task").iterdir():
        if "worker" in (task / "comm").read_text():
            return int(task.name)
    raise AssertionError("no thread is named worker")


def test_the_watchdog_hears_nothing_of_a_node_with_a_stuck_worker(told, manager):
    until(lambda: "WATCHDOG" in (manager.hear() or {}), "a sign of life")
    with Stopped(worker(told)):
        told.wait_said("a worker has not moved", timeout=20)
        while manager.hear(0.2) is not None:
            pass  # what was sent before
        assert manager.hear(2) is None, "a sign of life every half second, though a worker is stuck"
    told.wait_said("all workers move again")
    assert manager.hear()["WATCHDOG"] == "1"
