#!/usr/bin/python3
"""An endpoint that streams: server-sent events, one every half second, on a port of the kernel's.

The first line of its output is that port.  Each event holds the time at which it was sent, so that
whoever receives it can tell how long it was on its way.  It ends when its client leaves, or when
its standard input ends: then the demo that started it is gone.
"""
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TICK_S = 0.5


class Clock(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        ticks = threading.Event()
        n = 0
        try:
            while True:
                n += 1
                event = f"id: {n}\ndata: {time.time():.6f}\n\n".encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
                self.wfile.flush()
                ticks.wait(TICK_S)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, *_):
        pass


def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Clock)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
