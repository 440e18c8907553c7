"""How the supervisor ends the control process and the admin process."""

import os
import signal
from pathlib import Path

import pytest

from crewgate import limits
from crewgate.supervisor.optional_children import OptionalChildren


def test_one_that_does_not_end_is_killed_and_its_successor_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The supervisor may start the next process before it asks again which ones are late."""
    optional = OptionalChildren(Path("crewgate.toml"), "control", "admin")
    admin = optional.admin
    admin._arguments[:] = ["sleep", "600"]
    sent: list[int] = []
    monkeypatch.setattr(admin, "send", sent.append)
    admin.start(0.0)
    optional.end(admin, 0.0)
    optional.kill_late(limits.control_end_seconds)
    assert sent == [signal.SIGTERM]
    assert optional.is_ending
    optional.kill_late(limits.control_end_seconds + 1)
    assert sent == [signal.SIGTERM, signal.SIGKILL]
    _kill(admin.pid)
    assert admin.ended(0.0) == -signal.SIGKILL
    admin.start(0.0)
    try:
        optional.kill_late(limits.control_end_seconds + 2)
        assert sent == [signal.SIGTERM, signal.SIGKILL]
        assert not optional.is_ending
    finally:
        _kill(admin.pid)
        admin.wait()


def _kill(process: int) -> None:
    """Kill a child, and wait until it has ended; its status can still be asked for."""
    os.kill(process, signal.SIGKILL)
    os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
