"""How the supervisor ends the control, the admin, the export, the alerts and the page process."""

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

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


def test_a_change_ends_those_that_do_not_load_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control process loads its own; one whose section is gone ends in any case."""
    optional = OptionalChildren(Path("crewgate.toml"), "control", "admin")
    ended: list[str] = []
    monkeypatch.setattr(optional, "end", lambda child, _: ended.append(child.name))
    audit = SimpleNamespace(folder="a")
    before = SimpleNamespace(
        ca=1,
        admin=1,
        exports=(1,),
        alerts=(1,),
        audit=audit,
        name="gw-1",
        crews=(),
        cluster=None,
        ui=SimpleNamespace(url="https://a"),
    )
    for changed, names in (
        ({}, []),
        ({"ca": 2}, []),
        ({"ca": None}, ["control"]),
        ({"admin": 2}, ["admin"]),
        ({"exports": (2,)}, ["export"]),
        ({"alerts": (2,)}, ["alerts"]),
        ({"crews": (1,)}, ["alerts"]),
        ({"audit": SimpleNamespace(folder="b")}, ["export", "alerts"]),
        ({"admin": None, "exports": ()}, ["admin", "export"]),
        ({"alerts": ()}, ["alerts"]),
        ({"ui": SimpleNamespace(url="https://a", port=1)}, []),
        ({"ui": SimpleNamespace(url="https://b")}, ["alerts"]),
        ({"ui": None}, ["alerts", "ui"]),
    ):
        after: Any = SimpleNamespace(**(vars(before) | changed))
        optional.follow(cast("Any", before), after, 0.0)
        assert ended == names
        ended.clear()
        wanted = [each.name for each in optional.present(after)]
        assert ("control" in wanted) == bool(after.ca)
        assert ("export" in wanted) == bool(after.exports)
        assert ("alerts" in wanted) == bool(after.alerts)
        assert ("ui" in wanted) == bool(after.ui)


def _kill(process: int) -> None:
    """Kill a child, and wait until it has ended; its status can still be asked for."""
    os.kill(process, signal.SIGKILL)
    os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
