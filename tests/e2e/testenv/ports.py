"""Ports from the kernel."""
import socket


def free_port():
    """A port that was free a moment ago: who binds it must be ready to try another."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Refusing:
    """A port where connections are refused for as long as this lives: bound, and never listening."""

    def __init__(self, port=0):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", port))
        self.port = self.socket.getsockname()[1]

    def close(self):
        self.socket.close()
