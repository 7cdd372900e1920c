"""Where the time that something takes is what a test is about."""
import contextlib
import os


@contextlib.contextmanager
def before_others():
    """This process and what it starts, daemon and all: what else the machine runs is not to be
    measured, if we may say so."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
