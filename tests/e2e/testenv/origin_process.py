"""An origin in a process of its own, so that it can be stopped and killed as processes are.

It knows less than testenv.origin, which it is made of: pages that answer, and wait.  Commands go in
and answers come out as lines of JSON.
"""
import json
import select
import signal
import subprocess
import sys
from pathlib import Path

from testenv.wait import seconds, until


class Page:
    def __init__(self, origin, path):
        self.origin, self.path = origin, path

    @property
    def hits(self):
        return self.origin.hits_of(self.path)

    def hold(self):
        self.origin.tell("hold", self.path)

    def wait_held(self, n=1):
        until(lambda: self.origin.tell("held", self.path) >= n, f"{n} answers to be held at {self.path}")


class OriginProcess:
    def __init__(self):
        self.process = subprocess.Popen([sys.executable, "-m", "testenv.origin_process"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, cwd=Path(__file__).parents[1], start_new_session=True)
        self.is_stopped = False
        self.port = self.hear()
        self.hits = {}  # of paths, when it was last asked

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def hear(self):
        assert select.select([self.process.stdout], [], [], seconds(10))[0], "the origin says nothing"
        return json.loads(self.process.stdout.readline())

    def tell(self, *words):
        self.process.stdin.write(json.dumps(words).encode() + b"\n")
        self.process.stdin.flush()
        return self.hear()

    def page(self, path, body=b"", **more):
        self.tell("page", path, body if isinstance(body, str) else body.decode(), more)
        return Page(self, path)

    def hits_of(self, path):
        """So far, or until it ended."""
        if self.process.poll() is None:
            self.hits[path] = self.tell("hits", path)
        return self.hits.get(path, 0)

    def stop(self):
        self.process.send_signal(signal.SIGSTOP)
        self.is_stopped = True

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)
        self.is_stopped = False

    def kill(self):
        self.process.kill()
        self.process.wait(seconds(10))

    def close(self):
        if self.process.poll() is None:
            self.kill()
        self.process.stdin.close()
        self.process.stdout.close()


def main():
    from testenv.origin import Origin
    origin = Origin()

    def page(path, body, more):
        origin.page(path, body, **more)

    does = {"page": page, "hold": lambda path: origin.pages[path].hold(), "held": lambda path: origin.pages[path].held,
            "hits": origin.hits_of}
    print(origin.port, flush=True)
    for line in sys.stdin:
        word, *arguments = json.loads(line)
        print(json.dumps(does[word](*arguments)), flush=True)


if __name__ == "__main__":
    main()
