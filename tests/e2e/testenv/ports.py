"""Ports from the kernel."""
import socket


def free_ports(n):
    """n ports that were free a moment ago: who binds them must be ready to try others."""
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Refusing:
    """A port where connections are refused for as long as this lives: bound, and never listening."""

    def __init__(self, port=0):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", port))
        self.port = self.socket.getsockname()[1]

    def close(self):
        self.socket.close()
