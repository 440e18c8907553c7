"""Processes: who is meant, who is below, and that nobody else is ever signalled."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import msgspec
import pytest

from crewgate.lifecycle import processes
from crewgate.lifecycle.processes import MARK, NOBODY, RunProcess

SLEEP = [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"]


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        SLEEP, stdout=subprocess.PIPE, env=os.environ | {MARK: bytes(16).hex()}
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def of(child: "subprocess.Popen[bytes]") -> RunProcess:
    return next(each for each in processes.below(os.getpid()) if each.pid == child.pid)


def test_we_are_alive() -> None:
    """And nobody is not."""
    assert processes.is_alive(processes.this())
    assert not processes.is_alive(NOBODY)


@pytest.mark.parametrize("change", [{"began": 1}, {"boot": "another"}])
def test_another_process_with_the_same_pid_is_another(
    child: "subprocess.Popen[bytes]", change: dict[str, object]
) -> None:
    """It is neither alive nor signalled, and its end is not waited for."""
    other = msgspec.structs.replace(of(child), **change)
    assert not processes.is_alive(other)
    assert not processes.send(other, signal.SIGKILL)
    assert processes.has_ended_within(other, 600)
    assert child.poll() is None


def test_a_signal_reaches_the_one_that_is_meant(child: "subprocess.Popen[bytes]") -> None:
    """Its end is waited for; as a zombie it has ended, and nothing more is sent."""
    process = of(child)
    assert not processes.has_ended_within(process, 0)
    assert processes.send(process, signal.SIGTERM)
    assert processes.has_ended_within(process, 600)
    assert not processes.is_alive(process)
    assert not processes.send(process, signal.SIGTERM)
    assert process not in processes.below(os.getpid())
    assert child.wait() == -signal.SIGTERM


def test_descent_is_seen_at_any_depth() -> None:
    """A grandchild is below us, we are not below it, and init is below nobody."""
    code = f"import subprocess, sys; subprocess.run({SLEEP!r})"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        found = [of(parent), *processes.below(parent.pid)]
        assert len(found) == 2
        assert all(processes.is_below(each.pid, os.getpid()) for each in found)
        assert not processes.is_below(os.getpid(), parent.pid)
        assert not processes.is_below(1, os.getpid())
        left = processes.kill_all(lambda: [each for each in found if processes.is_alive(each)], 60)
        assert left == []


def test_a_sub_agent_does_not_descend_from_what_is_above_its_sidecar() -> None:
    """But from its sidecar, which has that name."""
    name = f"open('/proc/self/comm', 'wb').write({processes.SIDECAR_PROCESS_NAME!r})"
    code = f"import subprocess, sys; {name}; subprocess.run({SLEEP!r})"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as sidecar:
        assert sidecar.stdout is not None
        sidecar.stdout.readline()
        (program,) = processes.below(sidecar.pid)
        assert not processes.is_below(program.pid, os.getpid())
        assert processes.is_below(program.pid, sidecar.pid)
        processes.kill_all(lambda: processes.below(sidecar.pid), 60)


def test_a_younger_process_is_no_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the pid of the parent, which has ended after the first look."""
    rows = {10: (20, 1000), 20: (30, 1001)}

    def row(pid: int) -> object:
        parent, began = rows[pid]
        return SimpleNamespace(name=b"", state="S", parent=parent, began=began)

    monkeypatch.setattr(processes, "_row", row)
    assert not processes.is_below(10, 30)
    rows[20] = (30, 1000)
    assert processes.is_below(10, 30)


def test_the_mark_is_found(child: "subprocess.Popen[bytes]") -> None:
    """What carries it in its environment, and no other instance's."""
    wanted = of(child)
    assert processes.marked(bytes(16)) == [wanted]
    assert processes.marked(b"x" * 16) == []


def test_what_survives_is_returned(child: "subprocess.Popen[bytes]") -> None:
    """After the time that it is given, `kill_all` says what is left."""
    survivor = msgspec.structs.replace(of(child), began=1)
    assert processes.kill_all(lambda: [survivor], 0) == [survivor]
    assert child.poll() is None


def test_a_name_may_hold_anything(tmp_path: object) -> None:
    """The name in /proc/PID/stat may have parentheses and spaces (proc(5))."""
    code = (
        "import ctypes, time\n"
        "ctypes.CDLL(None).prctl(15, b'a) S 1 (b', 0, 0, 0)\n"
        "print(flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert processes.is_below(child.pid, os.getpid())
        child.kill()
