"""Children: they die with us, and come back no faster than is useful."""

import os
import signal
import subprocess
import sys

import pytest

from crewgate import limits
from crewgate.metrics import families
from crewgate.metrics.memory import MetricsMemory
from crewgate.supervisor.child import Child, exit_text
from crewgate.supervisor.signals import Signals

FOREVER = [sys.executable, "-c", "import sys; sys.stdin.read(); import time; time.sleep(600)"]


def _ended(child: Child, now: float) -> int:
    """Its status once it has ended; waits for the kernel, not for a time."""
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    status = child.ended(now)
    assert status is not None
    return status


@pytest.mark.parametrize(
    ("code", "status"),
    [("", 0), ("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", -9)],
)
def test_how_it_ended_is_told(code: str, status: int) -> None:
    """Its exit status, or the signal as a negative number, once."""
    child = Child("x", [sys.executable, "-c", code])
    child.start(0)
    assert child.running
    assert _ended(child, 1) == status
    assert not child.running
    assert child.ended(2) is None


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "ended normally"),
        (3, "ended with status 3"),
        (-signal.SIGKILL, "was ended by SIGKILL"),
        (-signal.SIGRTMIN, "was ended by SIGRTMIN"),
        (-(signal.SIGRTMIN + 6), f"was ended by signal {signal.SIGRTMIN + 6}"),
    ],
)
def test_every_end_has_words(status: int, words: str) -> None:
    """A supervisor that finds none would end, and the gateway with it."""
    act = f"os._exit({status})" if status >= 0 else f"os.kill(os.getpid(), {-status})"
    child = Child("x", [sys.executable, "-c", f"import os; {act}"])
    child.start(0)
    assert exit_text(_ended(child, 1)) == words


def test_a_successor_that_is_not_ready_is_killed_by_name(log_lines: list[str]) -> None:
    """One that has ended by itself needs no kill, and no line."""
    slow, ended = Child("agent", FOREVER), Child("agent", [sys.executable, "-c", ""])
    for child in (slow, ended):
        child.start(0)
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    for child in (slow, ended):
        child.discard()
        assert not child.running
    assert log_lines == ["killing the new agent: it did not become ready"]


def test_short_lives_make_longer_waits_and_a_long_one_forgives() -> None:
    """At once, then doubling up to the bound; whoever lived long starts at once again."""
    child = Child("x", [sys.executable, "-c", ""])
    waits = []
    now = 0.0
    for _ in range(12):
        child.start(now)
        _ended(child, now)
        waits.append(child.due - now)
        now = child.due
    assert waits[:3] == pytest.approx(
        [0, limits.restart_seconds_min, 2 * limits.restart_seconds_min]
    )
    assert waits[-1] == pytest.approx(limits.restart_seconds_max)
    child.start(now)
    later = now + limits.restart_forgiven_seconds + 1
    _ended(child, later)
    assert child.due == later


def test_a_restart_is_counted_only_after_an_unexpected_end() -> None:
    """Not one after SIGTERM of `serve`, such as after a change of [admin]."""
    memory = MetricsMemory(3)
    child = Child("worker 0", FOREVER, memory)
    counted = memory.own.series(families.RESTARTS, "worker-0")
    for kill, count in ((child.send, 0), (lambda number: os.kill(child.pid, number), 1)):
        child.start(1)
        kill(signal.SIGKILL)
        _ended(child, 2)
        child.start(3)
        assert counted.value == count
        child.send(signal.SIGKILL)
        child.wait()
    os.close(memory.descriptor)


def test_a_child_dies_with_its_parent() -> None:
    """SIGKILL of the parent is SIGKILL of the child, also if the child is stopped."""
    code = (
        "import sys, os, signal\n"
        "from crewgate.supervisor.child import Child\n"
        f"child = Child('x', {FOREVER!r})\n"
        "child.start(0)\n"
        "child.send(signal.SIGSTOP)\n"
        "print(child.pid, flush=True)\n"
        "signal.pause()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
        watch = os.pidfd_open(pid)
        parent.kill()
        parent.wait()
        # Readable once the process has ended; a closed pipe would not prove it.
        os.set_blocking(watch, True)
        with Signals() as signals:
            signals.wait(10, (watch,))
        os.close(watch)
    state = ""
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            state = file.read().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return
    assert state == "Z"


def test_a_child_whose_parent_is_gone_already_does_not_start() -> None:
    """The window between fork and prctl: the wrong parent means nobody would send the signal."""
    code = (
        "import os\n"
        "from crewgate.supervisor.child import bind_to\n"
        "bind_to(1 if os.getppid() != 1 else 2)()\n"
        "print('lives')\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (found.returncode, found.stdout) == (1, b"")


def test_signals_are_heard_and_put_back() -> None:
    """Inside the `with` SIGTERM is an item of a set; afterwards it is what it was."""
    before = signal.getsignal(signal.SIGTERM)
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
        assert signals.wait(10) == {signal.SIGTERM, signal.SIGHUP}
        assert signals.wait(0) == set()
        ours, theirs = os.pipe()
        os.write(theirs, b"x")
        assert signals.wait(600, (ours,)) == set()
        os.close(ours)
        os.close(theirs)
    assert signal.getsignal(signal.SIGTERM) is before
