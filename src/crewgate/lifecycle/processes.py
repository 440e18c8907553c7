"""Identifies processes beyond the reuse of pids, finds descendants, and sends them signals.

A process is identified by its pid, its start time, the boot and the pid namespace, so a signal
never reaches another process. A zombie counts as ended: it runs nothing and holds nothing.
"""

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from crewgate import limits
from crewgate.errors import CAError
from crewgate.runtime.cleanup import lent

# The environment variable of a child of `crewgate run` and its descendants; it is not a secret.
MARK = "CREWGATE_INSTANCE"
# The name of the sidecar of a sub-agent in /proc/PID/comm, which no other process can change. A
# program has the name of its file there, and a file hardly has a colon in its name.
SIDECAR_PROCESS_NAME = b"crewgate:agent"
_PROC = Path("/proc")
# Positions in /proc/PID/stat, counted after the name (proc(5)).
_STATE, _PARENT, _BEGAN = 0, 1, 19


class RunProcess(msgspec.Struct, frozen=True):
    """A process; `began` is in clock ticks since the boot. A pid of 0 means no process."""

    pid: int
    began: int
    boot: str

    @property
    def claim(self) -> str:
        """The name of the process for the claim `process_id` of a token."""
        boot, _, namespace = self.boot.partition(" ")
        number = namespace.strip("pid:[]")
        return f"pid_{self.pid}/start_{self.began}/boot_{boot}/ns_{number}"


NOBODY = RunProcess(0, 0, "")


class _Row(msgspec.Struct, frozen=True):
    name: bytes
    state: str
    parent: int
    began: int


def boot_id() -> str:
    """Return an id of this boot of the kernel and this pid namespace."""
    boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"


def this() -> RunProcess:
    """Return this process. Raises CAError without a usable /proc."""
    row = _row(os.getpid())
    if row is None:
        raise CAError("/proc is missing, or of another pid namespace; mount it")
    return RunProcess(os.getpid(), row.began, boot_id())


def process_of(pid: int) -> RunProcess:
    """Return the process with a pid, which must be a child of this process. Raises CAError."""
    row = _row(pid)
    if row is None or row.parent != os.getpid():
        raise CAError(f"process {pid} is no child of this process, or /proc is missing; mount it")
    return RunProcess(pid, row.began, boot_id())


def is_alive(process: RunProcess) -> bool:
    """Return whether a process still runs; a new process with its pid does not count."""
    if process.pid <= 0 or process.boot != boot_id():
        return False
    row = _row(process.pid)
    return row is not None and row.began == process.began and row.state not in {"Z", "X"}


@contextmanager
def _opened(process: RunProcess) -> Iterator[int | None]:
    """Lend a pidfd of a process; None if the process has ended."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        yield None
        return
    with lent(descriptor):
        # Checked after the pidfd is open, so that both are about the same process.
        yield descriptor if is_alive(process) else None


def send(process: RunProcess, number: signal.Signals) -> bool:
    """Send a signal; return False if the process has ended. Raises CAError if forbidden."""
    with _opened(process) as descriptor:
        if descriptor is None:
            return False
        try:
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        except PermissionError as error:
            raise CAError(
                f"cannot stop process {process.pid}: it belongs to another user; run this as root"
            ) from error
        return True


def has_ended_within(process: RunProcess, seconds: float) -> bool:
    """Wait for the end of a process; return whether it has ended. Blocks."""
    with _opened(process) as descriptor:
        if descriptor is None:
            return True
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))


def parent_of(pid: int) -> RunProcess | None:
    """Return the parent process of `pid`, if both run."""
    row, boot = _row(pid), boot_id()
    parent = _row(row.parent) if row is not None else None
    # Read again: if nothing has changed, both rows are of one moment.
    again = _row(pid)
    if row is None or parent is None or again is None:
        return None
    if (again.parent, again.began) != (row.parent, row.began):
        return None
    return RunProcess(row.parent, parent.began, boot)


def user_of(process: RunProcess) -> int | None:
    """Return the effective uid of a running process.

    The owner of its files in /proc does not tell: they belong to root if the process is not
    dumpable (PR_SET_DUMPABLE in prctl(2)).
    """
    try:
        text = (_PROC / str(process.pid) / "status").read_text()
    except OSError:
        return None
    line = next(line for line in text.splitlines() if line.startswith("Uid:"))
    return int(line.split()[2]) if is_alive(process) else None


def below(pid: int) -> list[RunProcess]:
    """Return all running descendants of `pid`."""
    boot, rows = boot_id(), dict(_rows())
    children: dict[int, list[int]] = {}
    for number, row in rows.items():
        children.setdefault(row.parent, []).append(number)
    found, waiting = [], [pid]
    while waiting:
        for number in children.get(waiting.pop(), ()):
            waiting.append(number)
            if rows[number].state not in {"Z", "X"}:
                found.append(RunProcess(number, rows[number].began, boot))
    return found


def is_below(pid: int, ancestor: int) -> bool:
    """Return whether `pid` runs and descends from `ancestor`, and not from a sub-agent below it.

    A sub-agent that has a sidecar has that one alone, also where the processes of its orchestrator
    have another one above.
    """
    child_began = sys.maxsize
    for _ in range(limits.run_tree_depth_max):
        row = _row(pid)
        if row is None or row.state in {"Z", "X"} or row.name == SIDECAR_PROCESS_NAME:
            return False
        if row.began > child_began:  # the parent has ended meanwhile, and this one has its pid
            return False
        if row.parent == ancestor:
            return True
        pid, child_began = row.parent, row.began
    return False


def marked(instance: bytes, uid: int = -1) -> list[RunProcess]:
    """Return the processes with the mark of an instance, or with a uid that only it has."""
    boot, mark = boot_id(), f"{MARK}={instance.hex()}".encode()
    return [
        RunProcess(pid, row.began, boot)
        for pid, row in _rows()
        if pid != os.getpid() and row.state not in {"Z", "X"} and _is_of(pid, mark, uid)
    ]


def kill_all(find: Callable[[], list[RunProcess]], seconds: float) -> list[RunProcess]:
    """Send SIGKILL to all that `find` returns; return what is left after `seconds`. Blocks.

    It repeats until `find` returns nothing, because a process may fork in the meantime.
    """
    deadline = time.monotonic() + seconds
    while left := find():
        if time.monotonic() > deadline:
            break
        for process in left:
            send(process, signal.SIGKILL)
        time.sleep(limits.run_look_seconds)
    return left


def _is_of(pid: int, mark: bytes, uid: int) -> bool:
    try:
        if uid >= 0 and (_PROC / str(pid)).stat().st_uid == uid:
            return True
        return mark in (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    # It has ended, or is of another user.
    except OSError:
        return False


def _rows() -> Iterator[tuple[int, _Row]]:
    for entry in os.listdir(_PROC):  # noqa: PTH208 - half the time of Path.iterdir
        if entry.isdigit():
            pid = int(entry)
            row = _row(pid)
            if row is not None:
                yield pid, row


def _row(pid: int) -> _Row | None:
    try:
        text = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # The name may have any characters, also parentheses.
    start, _, rest = text.rpartition(b")")
    name, fields = start.partition(b"(")[2], rest.split()
    return _Row(name, fields[_STATE].decode(), int(fields[_PARENT]), int(fields[_BEGAN]))
