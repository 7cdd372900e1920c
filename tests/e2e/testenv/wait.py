"""Waiting for a state that can be seen, with a deadline.  Nothing here sleeps for a fixed time and
hopes."""
import os
import time

# Sanitized daemons are several times slower; deadlines are there to end a test that hangs, so they
# may be generous.
SLOWER = float(os.environ.get("SELVAGE_SLOWER", "1"))


def seconds(n):
    return n * SLOWER


def until(true, what, timeout=10.0, every=0.01):
    """Ask `true` until it returns something true, and return that."""
    deadline = time.monotonic() + seconds(timeout)
    while True:
        got = true()
        if got:
            return got
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds(timeout):g} s in vain for {what}")
        time.sleep(every)
