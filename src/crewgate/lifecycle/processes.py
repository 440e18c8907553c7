"""Processes as the kernel names them for good: a pid, when it began, under which boot and where.

Finds those below another one, or of one orchestrator, and sends signals that reach nobody else.
Knows no certificates. A zombie has ended: it runs nothing and holds nothing.
"""

import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from crewgate import limits
from crewgate.errors import AuthorityError

# What a child of `crewgate run`, and all below it, carry in their environment: no secret.
MARK = "CREWGATE_INSTANCE"
_PROC = Path("/proc")
_STATE, _PARENT, _BEGAN = 0, 1, 19  # of /proc/PID/stat, counted behind the name (proc(5))


class RunProcess(msgspec.Struct, frozen=True):
    """A process; `began` in clock ticks since the boot. A pid of 0 is nobody."""

    pid: int
    began: int
    boot: str


NOBODY = RunProcess(0, 0, "")


class _Row(msgspec.Struct, frozen=True):
    state: str
    parent: int
    began: int


def boot_id() -> str:
    """What tells this boot of the kernel, and this namespace of pids, from every other."""
    boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"


def this() -> RunProcess:
    """The process that asks."""
    row = _row(os.getpid())
    if row is None:
        raise AuthorityError("/proc: not there, or not this process's; mount it")
    return RunProcess(os.getpid(), row.began, boot_id())


def is_alive(process: RunProcess) -> bool:
    """Whether it still runs; another one with its pid is another one."""
    if process.pid <= 0 or process.boot != boot_id():
        return False
    row = _row(process.pid)
    return row is not None and row.began == process.began and row.state not in {"Z", "X"}


def send(process: RunProcess, number: signal.Signals) -> bool:
    """Send a signal; False if it has ended. AuthorityError if we may not."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        if not is_alive(process):  # asked after the descriptor is open: now both mean the same
            return False
        signal.pidfd_send_signal(descriptor, number)
        return True
    except ProcessLookupError:
        return False
    except PermissionError as error:
        raise AuthorityError(
            f"process {process.pid} cannot be ended: it is another user's; do this as root"
        ) from error
    finally:
        os.close(descriptor)


def has_ended_within(process: RunProcess, seconds: float) -> bool:
    """Wait for its end; whether that came. Blocks."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return True
    try:
        if not is_alive(process):
            return True
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(descriptor)


def parent_of(pid: int) -> RunProcess | None:
    """The process that started `pid`, if both run."""
    row, boot = _row(pid), boot_id()
    above = _row(row.parent) if row is not None else None
    again = _row(pid)  # both are of one moment
    if row is None or above is None or again is None:
        return None
    if (again.parent, again.began) != (row.parent, row.began):
        return None
    return RunProcess(row.parent, above.began, boot)


def user_of(process: RunProcess) -> int | None:
    """The effective uid of a process that runs. Its files in /proc may be root's: no core is left.

    See PR_SET_DUMPABLE in prctl(2).
    """
    try:
        text = (_PROC / str(process.pid) / "status").read_text()
    except OSError:
        return None
    line = next(line for line in text.splitlines() if line.startswith("Uid:"))
    return int(line.split()[2]) if is_alive(process) else None


def below(pid: int) -> list[RunProcess]:
    """All that descend from `pid` and run."""
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
    """Whether `pid` runs and descends from `ancestor`."""
    for _ in range(limits.run_tree_depth_max):
        row = _row(pid)
        if row is None or row.state in {"Z", "X"}:
            return False
        if row.parent == ancestor:
            return True
        pid = row.parent
    return False


def marked(instance: bytes, uid: int = -1) -> list[RunProcess]:
    """What runs with the mark of an orchestrator's instance, or under a uid that is its alone."""
    boot, mark = boot_id(), f"{MARK}={instance.hex()}".encode()
    return [
        RunProcess(pid, row.began, boot)
        for pid, row in _rows()
        if pid != os.getpid() and row.state not in {"Z", "X"} and _is_of(pid, mark, uid)
    ]


def kill_all(find: Callable[[], list[RunProcess]], seconds: float) -> list[RunProcess]:
    """SIGKILL whatever `find` finds, until it finds nothing; what is left after `seconds`. Blocks.

    Again and again, because who forks meanwhile has children that were not found.
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
    except OSError:  # it has ended, or is none of ours
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
    # The name may hold anything, parentheses too.
    fields = text.rpartition(b")")[2].split()
    return _Row(fields[_STATE].decode(), int(fields[_PARENT]), int(fields[_BEGAN]))
