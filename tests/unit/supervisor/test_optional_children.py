"""How the supervisor ends the control process and the admin process."""

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from crewgate import limits
from crewgate.supervisor.child import Child
from crewgate.supervisor.optional_children import OptionalChildren

DEAF = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.kill(os.getppid(), signal.SIGCONT)
time.sleep(600)
"""


@pytest.fixture
def optional() -> Iterator[OptionalChildren]:
    """Its admin process ignores SIGTERM, and says by SIGCONT when it does so."""
    found = OptionalChildren(Path("crewgate.toml"), "control", "admin")
    found.admin._arguments[:] = [sys.executable, "-S", "-c", DEAF]
    yield found
    found.admin.send(signal.SIGKILL)
    found.admin.wait()


def started(child: Child) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCONT})
    child.start(0.0)
    assert signal.sigtimedwait({signal.SIGCONT}, 30) is not None
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCONT})


def ended(child: Child, seconds: float) -> int | None:
    """The exit status, if it ends within `seconds`."""
    until = time.monotonic() + seconds
    while (status := child.ended(0.0)) is None and time.monotonic() < until:
        time.sleep(0.01)
    return status


def test_one_that_does_not_end_is_killed_and_its_successor_is_not(
    optional: OptionalChildren,
) -> None:
    """The supervisor may start the next process before it asks again which ones are late."""
    admin = optional.admin
    started(admin)
    optional.end(admin, 0.0)
    optional.kill_late(limits.control_end_seconds)
    assert ended(admin, 0.2) is None
    assert optional.is_ending
    optional.kill_late(limits.control_end_seconds + 1)
    assert ended(admin, 30) == -signal.SIGKILL
    started(admin)
    optional.kill_late(limits.control_end_seconds + 2)
    assert not optional.is_ending
    assert ended(admin, 0.2) is None
